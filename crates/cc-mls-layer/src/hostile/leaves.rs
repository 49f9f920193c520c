//! Leaves that openmls takes and nobody could join beside: they come in by no way.

use cc_core::{ChangeRequest, CipherLayer as _, GroupLayer as _};
use openmls::prelude::{
    Capabilities, ExtensionType, Extensions, LeafNode, LeafNodeParameters, UnknownExtension,
};

use super::{
    BINDING, Extension, context, forge,
    keys::{group, id, key_package, member, new, refused},
};
use crate::{MlsConfig, transaction::Progress};

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
