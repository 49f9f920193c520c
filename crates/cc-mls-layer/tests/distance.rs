//! How many messages of one sender may be lost on the way to its next one, or to its commit.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod common;

use std::time::Instant;

use cc_core::LayerErrorKind;
use cc_mls_layer::MlsConfig;
use common::{Peer, assemble, group};

/// In a stack a commit is sealed as a message of its sender, so it is the messages before that count.
#[test]
fn who_missed_thousands_of_messages_of_one_sender_follows() {
    let mut peers = group(&["Alice", "Bob"]);
    let lost = peers[0].seal(b"lost");
    let mut recent = lost.clone();
    for _ in 0..4_000 {
        recent = peers[0].seal(b"lost, too");
    }
    let commit = peers[0].seal(b"a commit");
    let update = peers[0].stage(&[], &[]).unwrap();
    assert!(peers[1].open(&commit).is_ok());
    let _ = peers[1].process(&update).unwrap();
    // Of what was skipped, the last thousand are kept.
    assert!(peers[1].open(&recent).is_ok());
    let error = peers[1].open_only(&lost).unwrap_err();
    assert_eq!((error.kind(), error.epoch()), (LayerErrorKind::Stale, Some(1)));
}

/// What it costs, in a release build: some microseconds a generation, however many are kept.
#[test]
#[ignore = "a measurement"]
fn what_a_distance_costs() {
    for skipped in [1_000u32, 10_000, 20_000, 100_000] {
        let config = MlsConfig::default().with_max_forward_distance(skipped + 1);
        let peer = |name, founder| Peer::with(name, founder, config.clone());
        let mut peers = assemble(peer("Alice", true), vec![peer("Bob", false)]);
        for _ in 0..skipped {
            peers[0].seal(b"");
        }
        let wire = peers[0].seal(b"");
        let start = Instant::now();
        peers[1].open(&wire).unwrap();
        let time = start.elapsed();
        println!("{skipped} skipped: {time:?}, {:?} each", time / skipped);
    }
}
