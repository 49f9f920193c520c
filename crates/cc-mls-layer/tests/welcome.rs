//! The ratchet tree beside the Welcome: it travels once, only the genuine one opens, and a refusal changes
//! nothing.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use crate::common;

use cc_core::{GroupLayer as _, LayerErrorKind, Standing, limits::MAX_PART_LEN};
use cc_mls_layer::MlsConfig;
use common::{KeyPackage, Peer, Staged, all_read_all, flip, group, settle};

/// The two vectors of a welcome part: the MLSMessage and the sealed tree, without their lengths.
fn split(part: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (welcome, rest) = vector(part);
    let (tree, rest) = vector(rest);
    assert!(rest.is_empty());
    (welcome.to_vec(), tree.to_vec())
}

fn join(welcome: &[u8], tree: &[u8]) -> Vec<u8> {
    [length(welcome.len()), welcome.to_vec(), length(tree.len()), tree.to_vec()].concat()
}

fn vector(bytes: &[u8]) -> (&[u8], &[u8]) {
    let width = 1 << (bytes[0] >> 6);
    let front = usize::from(bytes[0] & 0x3f);
    let len = bytes[1..width].iter().fold(front, |len, byte| len << 8 | usize::from(*byte));
    bytes[width..].split_at(len)
}

fn length(len: usize) -> Vec<u8> {
    (u32::try_from(len).unwrap() | 2 << 30).to_be_bytes().to_vec()
}

fn with_welcome(staged: &Staged, welcome: Vec<u8>) -> Staged {
    let mut other = staged.clone();
    other.parts.welcome = welcome;
    other
}

fn staged(peers: &mut [Peer], joiners: usize) -> (Vec<Peer>, Staged) {
    let mut joiners: Vec<_> = (0..joiners).map(|i| Peer::joiner(&format!("joiner {i}"))).collect();
    let packages: Vec<KeyPackage> = joiners.iter_mut().map(Peer::key_package).collect();
    let staged = peers[0].stage(&packages, &[]).unwrap();
    (joiners, staged)
}

#[test]
fn a_welcome_grows_by_the_same_for_every_joiner() {
    let mut lens = Vec::new();
    for joiners in [40, 80, 160] {
        let mut founder = [Peer::founder("Alice")];
        let (_, staged) = staged(&mut founder, joiners);
        let (welcome, tree) = split(&staged.parts.welcome);
        // What each joiner's group secrets are encrypted with holds no leaf.
        let name = b"joiner 7".as_slice();
        assert!(!staged.parts.welcome.windows(name.len()).any(|window| window == name));
        lens.push((welcome.len(), tree.len()));
    }
    let per_joiner = |from: (usize, usize), to: (usize, usize), more| {
        ((to.0 - from.0) / more, (to.1 - from.1) / more)
    };
    let (first, second) = (per_joiner(lens[0], lens[1], 40), per_joiner(lens[1], lens[2], 80));
    assert!(first.0.abs_diff(second.0) <= 2 && first.1.abs_diff(second.1) <= 8, "{lens:?}");
    // The encrypted group info is the rest of the welcome: it does not grow.
    let fixed = lens[0].0 - 40 * first.0;
    assert!(fixed < 600, "{lens:?}");
}

#[test]
fn every_damaged_tree_is_refused_and_the_genuine_one_joins_afterwards() {
    let mut peers = group(&["Alice", "Bob"]);
    let (mut joiners, staged) = staged(&mut peers, 2);
    let joiner = &mut joiners[0];
    let (welcome, tree) = split(&staged.parts.welcome);
    assert_eq!(join(&welcome, &tree).len(), 8 + welcome.len() + tree.len());
    let mut bad: Vec<_> = (0..tree.len() * 8).step_by(53).map(|bit| flip(&tree, bit)).collect();
    bad.extend((0..tree.len()).step_by(29).map(|len| tree[..len].to_vec()));
    bad.push([&tree[..], &[0]].concat());
    bad.push(Vec::new());
    for tree in bad {
        let refused = joiner.join(&with_welcome(&staged, join(&welcome, &tree)));
        assert_eq!(refused, Err(LayerErrorKind::Rejected));
        assert_eq!(joiner.layer.standing(), Standing::Outside);
    }
    // Without a tree, without a welcome, the other way around, with something after it.
    for part in [
        welcome.clone(),
        [length(welcome.len()), welcome.clone()].concat(),
        [length(tree.len()), tree.clone()].concat(),
        join(&tree, &welcome),
        [staged.parts.welcome.clone(), vec![0]].concat(),
    ] {
        let refused = joiner.join(&with_welcome(&staged, part));
        assert_eq!(refused, Err(LayerErrorKind::Rejected));
    }
    assert_eq!(joiner.layer.key_packages().unwrap().len(), 1);
    settle(&mut peers, 0, &staged, &[]);
    for mut joiner in joiners {
        assert_eq!(joiner.join(&staged), Ok(Some(peers[0].id)));
        peers.push(joiner);
    }
    all_read_all(&mut peers);
}

#[test]
fn the_tree_of_another_change_is_refused() {
    let mut peers = group(&["Alice", "Bob", "Charlie"]);
    let mut joiner = Peer::joiner("Dora");
    let package = joiner.key_package();
    // Two members add her at once, to one epoch and with the same members after it.
    let by_alice = peers[0].stage(std::slice::from_ref(&package), &[]).unwrap();
    let by_bob = peers[1].stage(std::slice::from_ref(&package), &[]).unwrap();
    // And Alice takes hers back, and does it again.
    peers[0].transact(cc_core::GroupLayer::discard_change).unwrap();
    let again = peers[0].stage(&[package], &[]).unwrap();
    let parts = [by_alice, by_bob, again.clone()].map(|staged| split(&staged.parts.welcome));
    for (at, (_, tree)) in parts[..2].iter().enumerate() {
        let refused = joiner.join(&with_welcome(&again, join(&parts[2].0, tree)));
        assert_eq!(refused, Err(LayerErrorKind::Rejected), "{at}");
    }
    peers[1].transact(cc_core::GroupLayer::discard_change).unwrap();
    settle(&mut peers, 0, &again, &[]);
    assert_eq!(joiner.join(&again), Ok(Some(peers[0].id)));
    peers.push(joiner);
    all_read_all(&mut peers);
}

#[test]
fn a_tree_is_bound_to_the_parts_below() {
    // Nothing is below, so that no pre-shared key tells bindings apart.
    let mut alice = Peer::founder("Alice").alone();
    let mut joiner = Peer::joiner("Bob").alone();
    let staged = alice.stage(&[joiner.key_package()], &[]).unwrap();
    let other = Staged { binding: [9; 32], ..staged.clone() };
    assert_eq!(joiner.join(&other), Err(LayerErrorKind::Rejected));
    assert_eq!(joiner.join(&staged), Ok(Some(alice.id)));
}

#[test]
fn a_welcome_of_one_kind_is_refused_by_members_of_the_other() {
    let plain = || MlsConfig::default().with_plain_peers(true);
    let mut alice = Peer::founder("Alice").alone();
    let mut plain_alice = Peer::with("Alice", true, plain()).alone();
    let mut bob = Peer::joiner("Bob").alone();
    let mut plain_bob = Peer::with("Bob", false, plain()).alone();
    let for_bob = alice.stage(&[bob.key_package()], &[]).unwrap();
    let for_plain_bob = plain_alice.stage(&[plain_bob.key_package()], &[]).unwrap();
    assert_eq!(bob.join(&for_plain_bob), Err(LayerErrorKind::Rejected));
    assert_eq!(plain_bob.join(&for_bob), Err(LayerErrorKind::Rejected));
    // A plain welcome put into the other form still is for the other.
    let put = with_welcome(&for_plain_bob, join(&for_plain_bob.parts.welcome, &[]));
    assert_eq!(bob.join(&put), Err(LayerErrorKind::Rejected));
    let bare = with_welcome(&for_bob, split(&for_bob.parts.welcome).0);
    assert_eq!(plain_bob.join(&bare), Err(LayerErrorKind::Rejected));
    assert!(bob.join(&for_bob).is_ok());
    assert!(plain_bob.join(&for_plain_bob).is_ok());
}

#[test]
fn a_part_that_is_too_long_is_refused_before_it_is_read() {
    let mut peers = group(&["Alice"]);
    let (mut joiners, staged) = staged(&mut peers, 1);
    let (welcome, tree) = split(&staged.parts.welcome);
    let long = join(&welcome, &[&tree[..], &vec![0; MAX_PART_LEN]].concat());
    let refused = joiners[0].join(&with_welcome(&staged, long));
    assert_eq!(refused, Err(LayerErrorKind::Rejected));
    assert!(joiners[0].join(&staged).is_ok());
}
