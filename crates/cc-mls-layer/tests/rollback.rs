//! What a revert undoes, and what it must not: a key that was used stays used.

use crate::common;

use std::collections::HashSet;

use cc_core::{ChangeRequest, CipherLayer, GroupLayer, LayerErrorKind, Standing};
use cc_mls_layer::MlsConfig;
use common::{Peer, Wire, all_read_all, assemble, chain, context, group, news, settle};

#[test]
fn a_message_whose_opening_was_reverted_opens_again() {
    let mut peers = group(&["Alice", "Bob"]);
    let wires: Vec<_> = (0u8..5).map(|i| peers[0].seal(&[i])).collect();
    for (i, wire) in (0u8..).zip(&wires) {
        for _ in 0..3 {
            assert_eq!(peers[1].open_only(wire).unwrap().1, [i]);
            peers[1].layer.revert();
        }
        assert_eq!(peers[1].open(wire).unwrap().1, [i]);
        assert_eq!(peers[1].open(wire), Err(LayerErrorKind::Duplicate));
    }
    // Reverts loaded the group again from before all of them; still none opens twice.
    let more = peers[0].seal(b"more");
    peers[1].open_only(&more).unwrap();
    peers[1].layer.revert();
    for wire in &wires {
        assert_eq!(peers[1].open(wire), Err(LayerErrorKind::Duplicate));
    }
    all_read_all(&mut peers);
}

#[test]
fn nothing_opens_twice_after_a_load_and_a_checkpoint() {
    let config = MlsConfig::default().with_checkpoint_interval(4);
    let peer = |name, founder| Peer::with(name, founder, config.clone());
    let mut peers = assemble(peer("Alice", true), vec![peer("Bob", false)]);
    let mut read = Vec::new();
    for i in 0u8..30 {
        let wire = peers[0].seal(&[i]);
        if i % 7 == 3 {
            peers[1].open_only(&wire).unwrap();
            peers[1].layer.revert();
        }
        peers[1].open(&wire).unwrap();
        read.push(wire);
        for wire in &read {
            assert_eq!(peers[1].open(wire), Err(LayerErrorKind::Duplicate));
        }
    }
}

/// The generation is inside the encrypted sender data, so it does not show. But every generation that
/// was used up can be told from the receiver's side: both messages open.
#[test]
fn a_reverted_seal_never_gives_its_key_again() {
    for interval in [0, 1, 2, 3, 64] {
        let config = MlsConfig::default().with_checkpoint_interval(interval);
        let peer = |name, founder| Peer::with(name, founder, config.clone());
        let mut peers =
            assemble(peer("Alice", true), vec![peer("Bob", false), peer("Charlie", false)]);
        let mut wires: Vec<Wire> = Vec::new();
        for i in 0u8..24 {
            let wire = peers[0].seal_only(&[i]).unwrap();
            match i % 4 {
                0 => peers[0].layer.revert(),
                1 => {
                    // Together with an open, so that the group is loaded again.
                    let other = peers[1].seal(b"x");
                    peers[0].open_only(&other).unwrap();
                    peers[0].layer.revert();
                }
                _ => peers[0].layer.apply(),
            }
            wires.push(wire);
        }
        // Each opens exactly once: no two have the same generation.
        for (i, wire) in (0u8..).zip(&wires) {
            assert_eq!(peers[2].open(wire).unwrap().1, [i], "interval {interval}");
        }
        let different: HashSet<_> = wires.iter().map(|wire| wire.body.clone()).collect();
        assert_eq!(different.len(), wires.len());
        let next = peers[0].seal(b"next");
        peers[2].open(&next).unwrap();
    }
}

#[test]
fn a_staged_change_and_its_envelope_are_reverted_together() {
    let mut peers = group(&["Alice", "Bob", "Charlie"]);
    let mut dora = Peer::joiner("Dora");
    let package = dora.key_package();
    let below = chain(7);
    let mut commits = Vec::new();
    let mut envelopes = Vec::new();
    for round in 0u8..3 {
        let context = context([round; 32], Some(7), Some(&below));
        let packages = [package.clone()];
        let request = ChangeRequest { added: &news(&packages), removed: &[] };
        let parts = peers[0].layer.stage_change(&request, &context).unwrap();
        envelopes.push(peers[0].seal_only(&parts.commit).unwrap());
        commits.push(parts.commit);
        peers[0].layer.revert();
        assert_eq!(peers[0].epoch(), 1);
        assert!(peers[0].layer.next_contribution().is_err());
    }
    for envelope in &envelopes {
        peers[1].open(envelope).unwrap();
    }
    // The handshake generations went as well: each commit has its own, and the newest one applies.
    let staged = peers[0].stage(&[package], &[]).unwrap();
    peers[0].confirm();
    for peer in &mut peers[1..] {
        let _ = peer.process(&staged).unwrap();
    }
    dora.join(&staged).unwrap();
    peers.push(dora);
    all_read_all(&mut peers);
}

#[test]
fn a_reverted_confirmation_leaves_the_change_staged_and_burns_what_was_sent() {
    let mut peers = group(&["Alice", "Bob"]);
    let staged = peers[0].stage(&[], &[]).unwrap();
    let mut wires = Vec::new();
    for _ in 0..3 {
        peers[0].layer.confirm_change().unwrap();
        wires.push(peers[0].seal_only(b"in the new epoch").unwrap());
        peers[0].layer.revert();
        assert_eq!(peers[0].epoch(), 1);
        all_read_all(&mut peers);
    }
    settle(&mut peers, 0, &staged, &[]);
    wires.push(peers[0].seal(b"in the new epoch"));
    for wire in &wires {
        peers[1].open(wire).unwrap();
    }
    all_read_all(&mut peers);
}

#[test]
fn a_reverted_commit_or_join_can_be_processed_again() {
    let mut peers = group(&["Alice", "Bob"]);
    let mut charlie = Peer::joiner("Charlie");
    let package = charlie.key_package();
    let staged = peers[0].stage(&[package], &[]).unwrap();
    let below = chain(7);
    let context = context(staged.binding, Some(7), Some(&below));
    let pending = peers[1].stage(&[], &[]).unwrap();
    for _ in 0..2 {
        let _ = peers[1].layer.process_commit(&staged.parts.commit, &context).unwrap();
        peers[1].layer.revert();
        assert_eq!(peers[1].epoch(), 1);
        charlie.layer.join(&staged.parts.welcome, &context).unwrap();
        charlie.seal_only(b"hello").unwrap();
        charlie.layer.revert();
        assert_eq!(charlie.layer.standing(), Standing::Outside);
    }
    // Bob's own change survived the reverts, and goes when the other one is taken.
    assert!(peers[1].layer.next_contribution().unwrap().is_some());
    drop(pending);
    settle(&mut peers, 0, &staged, &[]);
    assert_eq!(peers[1].transact(GroupLayer::confirm_change), Err(LayerErrorKind::NotReady));
    charlie.join(&staged).unwrap();
    peers.push(charlie);
    all_read_all(&mut peers);
}

#[test]
fn a_key_package_that_was_reverted_is_gone() {
    let mut peers = group(&["Alice"]);
    let mut bob = Peer::joiner("Bob");
    let part = bob.layer.key_package(&context([1; 32], None, None)).unwrap();
    bob.layer.revert();
    let package = common::KeyPackage { id: bob.id, part, binding: [1; 32] };
    let staged = peers[0].stage(&[package], &[]).unwrap();
    assert_eq!(bob.join(&staged), Err(LayerErrorKind::Rejected));
}
