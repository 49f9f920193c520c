//! A member who seals another tree than the group's under the genuine key.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use cc_core::{
    Attachment, ChangeRequest, CipherLayer as _, GroupLayer as _, LayerErrorKind, MemberId,
    NewMember, PartContext, StackId, Standing,
};

use super::*;
use crate::{MlsIdentity, MlsLayer, layer::Parts, tree_nodes::MAX_NODES};

const BINDING: [u8; 32] = [4; 32];

fn context() -> PartContext<'static> {
    PartContext { binding: BINDING, position: 0, chain: None, group_below: false, now: None }
}

fn attached(id: u8, mut layer: MlsLayer) -> MlsLayer {
    let member = Some(MemberId::from_bytes([id; 32]));
    let founding = layer.founds();
    let stack = StackId::of(&[]);
    layer.attach(&Attachment { stack, position: 0, member, founding }).unwrap();
    layer.apply();
    layer
}

fn identity(name: &str) -> MlsIdentity {
    MlsIdentity::generate(name).unwrap()
}

/// Mallory has staged a change that adds Bob.
fn staged() -> (MlsLayer, MlsLayer, Vec<u8>) {
    let mut mallory = attached(1, MlsLayer::create("", identity("Mallory")).unwrap());
    let mut bob = attached(2, MlsLayer::member(identity("Bob")).unwrap());
    let part = bob.key_package(&context()).unwrap();
    bob.apply();
    let added = [NewMember { id: MemberId::from_bytes([2; 32]), part: &part, binding: BINDING }];
    let request = ChangeRequest { added: &added, removed: &[] };
    let welcome = mallory.stage_change(&request, &context()).unwrap().welcome;
    mallory.apply();
    (mallory, bob, welcome)
}

/// The welcome with this tree in place of the genuine one.
fn reseal(mallory: &mut MlsLayer, welcome: &[u8], tree: &[u8]) -> Vec<u8> {
    let Parts { group, provider, config, .. } = mallory.parts().unwrap();
    let sealed = seal(tree, &group.mls, provider, &BINDING).unwrap();
    encode(WelcomePart::read(welcome, config).unwrap().welcome, &sealed).unwrap()
}

fn genuine_tree(mallory: &mut MlsLayer) -> Vec<u8> {
    let Parts { group, provider, .. } = mallory.parts().unwrap();
    staged_tree(&group.mls, provider).unwrap().unwrap()
}

#[test]
fn a_tree_that_is_not_the_groups_is_refused_though_a_member_sealed_it() {
    let (mut mallory, mut bob, welcome) = staged();
    let tree = genuine_tree(&mut mallory);
    assert_eq!(check_nodes(&tree), Some(3));
    let mut trees = vec![
        // Of somebody else's group, with as many members.
        genuine_tree(&mut staged().0),
        // Of the epoch before, without Bob.
        mallory.parts().unwrap().group.mls.export_ratchet_tree().tls_serialize_detached().unwrap(),
        // Nobody.
        vec![0],
        Vec::new(),
        // Something after it.
        [&tree[..], &[0]].concat(),
        // More nodes than any group has.
        encoded_blanks(MAX_NODES + 1),
    ];
    trees.extend((0..tree.len() * 8).step_by(3).map(|bit| {
        let mut tree = tree.clone();
        tree[bit / 8] ^= 1 << (bit % 8);
        tree
    }));
    trees.extend((0..tree.len()).step_by(7).map(|len| tree[..len].to_vec()));
    for tree in trees {
        let forged = reseal(&mut mallory, &welcome, &tree);
        let refused = bob.join(&forged, &context()).map_err(|error| error.kind());
        assert_eq!(refused, Err(LayerErrorKind::Rejected));
        bob.revert();
        assert_eq!(bob.standing(), Standing::Outside);
    }
    let same = reseal(&mut mallory, &welcome, &tree);
    assert!(bob.join(&same, &context()).is_ok());
    assert_eq!(same, welcome, "the same tree under the same key");
}

#[test]
fn more_nodes_than_any_group_has_are_not_decoded() {
    assert!(read_tree(&encoded_blanks(MAX_NODES + 1)).is_err());
    assert_eq!(check_nodes(&encoded_blanks(MAX_NODES)), Some(MAX_NODES));
}

#[test]
fn nodes_are_counted_as_openmls_writes_them() {
    // Leaves from a key package, an update path and blank ones; parents of a path.
    let mut founder = attached(1, MlsLayer::create("", identity("founder")).unwrap());
    for joiners in [1u8, 4, 11] {
        let packages: Vec<_> = (0..joiners)
            .map(|i| {
                let id = 10 * joiners + i;
                let mut layer = attached(id, MlsLayer::member(identity("joiner")).unwrap());
                (MemberId::from_bytes([id; 32]), layer.key_package(&context()).unwrap())
            })
            .collect();
        let added: Vec<_> = packages
            .iter()
            .map(|(id, part)| NewMember { id: *id, part, binding: BINDING })
            .collect();
        let request = ChangeRequest { added: &added, removed: &[] };
        let _ = founder.stage_change(&request, &context()).unwrap();
        let tree = genuine_tree(&mut founder);
        let nodes = check_nodes(&tree).unwrap();
        let decoded = serde_json::to_value(read_tree(&tree).unwrap()).unwrap();
        assert_eq!(Some(nodes), decoded.as_array().map(Vec::len));
        founder.confirm_change().unwrap();
        founder.apply();
        let removed = [packages[0].0];
        let request = ChangeRequest { added: &[], removed: &removed };
        let _ = founder.stage_change(&request, &context()).unwrap();
        founder.confirm_change().unwrap();
        founder.apply();
    }
}

fn encoded_blanks(count: usize) -> Vec<u8> {
    VLByteSlice(&vec![0; count]).tls_serialize_detached().unwrap()
}
