//! Leaves that openmls takes and nobody could join beside: they come in by no way.

use cc_core::{ChangeRequest, CipherLayer as _, GroupLayer as _};
use openmls::prelude::{
    Capabilities, ExtensionType, Extensions, LeafNode, LeafNodeParameters, UnknownExtension,
};

use super::{
    BINDING, Extension, context, forge,
    forged::{Forged, extension, vector},
    keys::{group, id, key_package, member, new, refused},
};
use crate::{
    MlsConfig, MlsError, config::LEAF_DATA_EXTENSION, leaf_data::MAX_LEAF_DATA_LEN, reader::Reader,
    transaction::Progress,
};

/// Leaves of the first member, with its own id, credential and keys: with more capabilities than are read in a
/// tree, with a large extension, and that say more than they may, or nothing where they say something.
fn leaves(config: &MlsConfig) -> Vec<LeafNodeParameters> {
    let known = || config.capabilities().extensions().to_vec();
    let with = |extensions: Vec<ExtensionType>| {
        Capabilities::new(None, Some(&[config.ciphersuite()]), Some(&extensions), None, None)
    };
    let many = (0x8000..0x8101).map(ExtensionType::Unknown).chain(known()).collect();
    let large = ExtensionType::Unknown(0x8000);
    let own_id = crate::key_package::leaf_extensions(&id(1), crate::roster::Ids::ApplicationId);
    let own_id: Extensions<LeafNode> = own_id.unwrap();
    let extended = |kind, len| {
        let mut extensions = own_id.clone();
        extensions.add(Extension::Unknown(kind, UnknownExtension(vec![7; len]))).unwrap();
        LeafNodeParameters::builder().with_extensions(extensions)
    };
    vec![
        extended(LEAF_DATA_EXTENSION, MAX_LEAF_DATA_LEN + 1).build(),
        extended(LEAF_DATA_EXTENSION, 0).build(),
        LeafNodeParameters::builder().with_capabilities(with(many)).build(),
        extended(0x8000, 70_000)
            .with_capabilities(with(known().into_iter().chain([large]).collect()))
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

/// A key package that says as much as it may is taken, and one that says more is not.
#[test]
fn a_key_package_that_says_too_much_is_refused() {
    let config = MlsConfig::default();
    let mut members = group(&config, 2);
    let mut eve = member(9, &config);
    eve.set_leaf_data([7; MAX_LEAF_DATA_LEN]).unwrap();
    let part = key_package(&mut eve);
    for (len, is_taken) in [(MAX_LEAF_DATA_LEN + 1, false), (0, false), (MAX_LEAF_DATA_LEN, true)] {
        let extensions = [
            extension(1, &vector(id(9).as_bytes())),
            extension(LEAF_DATA_EXTENSION, &vec![8; len]),
        ];
        let said = Forged { leaf_extensions: Some(extensions.concat()), ..Default::default() };
        let said = said.sign(&eve, &part);
        let added = [new(9, &said)];
        let request = ChangeRequest { added: &added, removed: &[] };
        let staged = members[0].stage_change(&request, &context(BINDING, false));
        if is_taken {
            assert!(staged.is_ok());
        } else {
            refused(staged, 9);
            members[0].revert();
        }
    }
    assert!(matches!(
        eve.set_leaf_data([7; MAX_LEAF_DATA_LEN + 1]),
        Err(MlsError::LeafData { .. })
    ));
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
