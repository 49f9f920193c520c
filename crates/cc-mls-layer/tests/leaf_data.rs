//! What a program says of a member in its leaf.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

use crate::common;

use cc_mls_layer::{MlsConfig, MlsError, MlsIdentity, MlsLayer};
use common::{Peer, all_read_all, settle};

/// What each peer has of each member.
fn said(peers: &[Peer], of: &Peer) -> Option<Vec<u8>> {
    let views = peers.iter().map(|peer| peer.layer.leaf_data(&of.id).map(<[u8]>::to_vec));
    let mut views: Vec<_> = views.collect();
    views.dedup();
    assert_eq!(views.len(), 1, "all have the same");
    views.remove(0)
}

fn says(bytes: &[u8]) -> Option<Vec<u8>> {
    Some(bytes.to_vec())
}

/// A founder that says `alice`, and a member that says nothing.
fn pair() -> Vec<Peer> {
    let mut layer = MlsLayer::create("Dev Team", MlsIdentity::generate("Alice").unwrap()).unwrap();
    layer.set_leaf_data("alice").unwrap();
    let mut peers = vec![Peer::new(layer).stored(), Peer::joiner("Bob").stored()];
    let package = peers[1].key_package();
    let staged = peers[0].stage(&[package], &[]).unwrap();
    peers[0].confirm();
    peers[1].join(&staged).unwrap();
    peers
}

#[test]
fn all_have_what_a_member_says_and_newcomers_as_well() {
    let mut peers = pair();
    assert_eq!(said(&peers, &peers[0]), says(b"alice"));
    assert_eq!(said(&peers, &peers[1]), None);
    assert_eq!(Peer::joiner("Nobody").layer.leaf_data(&peers[0].id), None);

    peers[1].layer.set_leaf_data("bob").unwrap();
    assert_eq!(said(&peers, &peers[1]), None, "not before it changes the group");
    let staged = peers[1].stage(&[], &[]).unwrap();
    settle(&mut peers, 1, &staged, &[]);
    assert_eq!(said(&peers, &peers[1]), says(b"bob"));

    let mut charlie = Peer::joiner("Charlie");
    charlie.layer.set_leaf_data(vec![3; 256]).unwrap();
    let staged = peers[0].stage(&[charlie.key_package()], &[]).unwrap();
    settle(&mut peers, 0, &staged, &[]);
    charlie.join(&staged).unwrap();
    peers.push(charlie);
    for (at, expected) in [&b"alice"[..], b"bob", &[3; 256]].into_iter().enumerate() {
        assert_eq!(said(&peers, &peers[at]), says(expected));
    }
    all_read_all(&mut peers);

    peers[1].layer.set_leaf_data([]).unwrap();
    let staged = peers[1].stage(&[], &[]).unwrap();
    settle(&mut peers, 1, &staged, &[]);
    assert_eq!(said(&peers, &peers[1]), None);
    let long = peers[1].layer.set_leaf_data([0; 257]);
    assert!(matches!(long, Err(MlsError::LeafData { max: 256, len: 257 })));
}

#[test]
fn a_leaf_says_it_until_another_one_takes_its_place() {
    let mut peers = pair();
    // Another change comes first.
    peers[0].layer.set_leaf_data("second").unwrap();
    let _ = peers[0].stage(&[], &[]).unwrap();
    let staged = peers[1].stage(&[], &[]).unwrap();
    assert!(peers[0].process(&staged).is_ok());
    peers[1].confirm();
    assert_eq!(said(&peers, &peers[0]), says(b"alice"));
    // What was wished for is for the next one, unless the process dies before it.
    for (dies, expected) in [(true, b"alice"), (false, b"third")] {
        peers[0].layer.set_leaf_data("third").unwrap();
        if dies {
            peers[0].restart();
        }
        let staged = peers[0].stage(&[], &[]).unwrap();
        settle(&mut peers, 0, &staged, &[]);
        assert_eq!(said(&peers, &peers[0]), says(expected));
    }
    let package = peers[0].key_package();
    peers[0].restart();
    assert_eq!(said(&peers, &peers[0]), says(b"third"));
    assert_ne!(
        package.part.len(),
        peers[0].key_package().part.len(),
        "of a key package it does not"
    );
}

#[test]
fn with_plain_peers_a_proposed_update_says_it() {
    let config = || MlsConfig::default().with_plain_peers(true);
    let mut peers = vec![
        Peer::with("Alice", true, config()).alone(),
        Peer::with("Bob", false, config()).alone(),
    ];
    let package = peers[1].key_package();
    let staged = peers[0].stage(&[package], &[]).unwrap();
    peers[0].confirm();
    peers[1].join(&staged).unwrap();
    peers[1].layer.set_leaf_data("bob").unwrap();
    let proposal = peers[1].transact(MlsLayer::propose_update).unwrap();
    let _ = peers[0].transact(|layer| layer.process_proposal(&proposal)).unwrap();
    let staged = peers[0].stage(&[], &[]).unwrap();
    settle(&mut peers, 0, &staged, &[]);
    assert_eq!(said(&peers, &peers[1]), says(b"bob"));
}
