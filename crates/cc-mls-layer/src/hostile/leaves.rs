//! Leaves that openmls takes and nobody could join beside: they come in by no way.

use cc_core::{ChangeRequest, CipherLayer as _, GroupLayer as _};
use openmls::prelude::{
    Capabilities, ExtensionType, Extensions, LeafNode, LeafNodeParameters, UnknownExtension,
};

use super::{
    BINDING, Extension, context, forge,
    forged::Forged,
    keys::{group, id, key_package, member, new, refused},
};
use crate::{MlsConfig, reader::Reader, transaction::Progress};

/// Leaves of the first member, with its own id, credential and keys: with more capabilities than are read in a
/// tree, and with a large extension.
fn leaves(config: &MlsConfig) -> Vec<LeafNodeParameters> {
    let known = || config.capabilities().extensions().to_vec();
    let with = |extensions: Vec<ExtensionType>| {
        Capabilities::new(None, Some(&[config.ciphersuite()]), Some(&extensions), None, None)
    };
    let many = (0x8000..0x8101).map(ExtensionType::Unknown).chain(known()).collect();
    let large = ExtensionType::Unknown(0x8000);
    let own_id = crate::key_package::leaf_extensions(&id(1), crate::roster::Ids::ApplicationId);
    let mut extensions: Extensions<LeafNode> = own_id.unwrap();
    extensions.add(Extension::Unknown(0x8000, UnknownExtension(vec![7; 70_000]))).unwrap();
    vec![
        LeafNodeParameters::builder().with_capabilities(with(many)).build(),
        LeafNodeParameters::builder()
            .with_capabilities(with(known().into_iter().chain([large]).collect()))
            .with_extensions(extensions)
            .build(),
    ]
}

#[test]
fn nobody_keeps_others_from_joining_by_its_own_leaf() {
    let config = MlsConfig::default();
    for leaf in leaves(&config) {
        let mut members = group(&config, 3);
        let commit = forge(&mut members[0], vec![], leaf);
        for member in &mut members[1..] {
            refused(member.process_commit(&commit, &context(BINDING, false)), 1);
            member.revert();
        }
        members[0].transaction.reach(Progress::Ahead);
        members[0].revert();

        // Nothing of that leaf is in the way of who is added.
        let mut joiner = member(9, &config);
        let part = key_package(&mut joiner);
        let added = [new(9, &part)];
        let request = ChangeRequest { added: &added, removed: &[] };
        let change = members[1].stage_change(&request, &context(BINDING, false)).unwrap();
        joiner.join(&change.welcome, &context(BINDING, false)).unwrap();
    }
}

/// Each of the two could be added alone, so only the change that adds both can tell.
#[test]
fn of_two_key_packages_with_a_key_in_common_the_second_is_named() {
    let config = MlsConfig::default();
    let mut members = group(&config, 2);
    let (mut eve, mut carol) = (member(9, &config), member(8, &config));
    let (part, other) = (key_package(&mut eve), key_package(&mut carol));
    let mut reader = Reader::new(&part[8..]);
    let (_init_key, leaf_key) = (reader.vector().unwrap(), reader.vector().unwrap());
    let same = Forged { leaf_key: Some(leaf_key.to_vec()), ..Default::default() };
    let same = same.sign(&carol, &other);
    for added in [[new(9, &part), new(8, &same)], [new(8, &same), new(9, &part)]] {
        for one in &added {
            assert!(members[0].verify_key_package(one, None).is_ok());
        }
        let second = added[1].id.as_bytes()[0];
        let request = ChangeRequest { added: &added, removed: &[] };
        refused(members[0].stage_change(&request, &context(BINDING, false)), second);
        members[0].revert();
    }
}
