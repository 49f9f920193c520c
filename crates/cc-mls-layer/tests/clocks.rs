//! Clocks that are off: what is added is judged by the clock of who adds, and who follows needs none.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use crate::common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use cc_core::{ChangeRequest, GroupLayer, LayerErrorKind};
use cc_mls_layer::{MlsConfig, UpdatePolicy};
use common::{Peer, all_read_all, chain, context, group, news, settle};

const DAY: u64 = 24 * 3600;
const YEAR: u64 = 365 * DAY;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Those who add live a year before or after the system's clock, by which openmls and the followers live.
#[test]
fn who_follows_and_joins_may_be_a_year_off_either_way() {
    for theirs in [now() - YEAR, now() + YEAR, now() + 61 * 60, now() - 2 * 3600] {
        let mut peers = group(&["Alice", "Bob", "Charlie"]);
        let mut dora = Peer::joiner("Dora");
        for peer in peers[..2].iter_mut().chain([&mut dora]) {
            peer.layer.set_clock(move || theirs);
        }
        let package = dora.key_package();
        let expires = peers[2].layer.inspect_key_package(&package.part).unwrap().expires.unwrap();
        assert!(expires.abs_diff(theirs) < 85 * DAY);
        let staged = peers[0].stage(&[package], &[]).unwrap();
        settle(&mut peers, 0, &staged, &[]);
        // And whoever joins reads the clock of nobody who is in the tree already.
        assert_eq!(dora.join(&staged), Ok(Some(peers[0].id)));
        peers.push(dora);
        let mut eve = Peer::joiner("Eve");
        eve.layer.set_clock(move || theirs);
        let staged = peers[1].stage(&[eve.key_package()], &[]).unwrap();
        settle(&mut peers, 1, &staged, &[]);
        let far = if theirs > now() { 1 } else { now() + 10 * YEAR };
        eve.layer.set_clock(move || far);
        eve.join(&staged).unwrap();
        peers.push(eve);
        all_read_all(&mut peers);
    }
}

/// A key package in its last hour is added; who was offline for years follows.
#[test]
fn an_expired_key_package_in_a_commit_keeps_nobody_out() {
    let mut peers = group(&["Alice", "Bob", "Charlie"]);
    let config = MlsConfig::default().with_key_package_lifetime(3600);
    let mut dora = Peer::with("Dora", false, config);
    // As if Dora had made it three years ago, Alice added her within the hour, and all others were away since.
    let then = now() - 3 * YEAR;
    dora.layer.set_clock(move || then);
    peers[0].layer.set_clock(move || then);
    let staged = peers[0].stage(&[dora.key_package()], &[]).unwrap();
    peers[0].confirm();
    let next = peers[0].stage(&[], &[]).unwrap();
    peers[0].confirm();
    for peer in &mut peers[1..] {
        let _ = peer.process(&staged).unwrap();
        let _ = peer.process(&next).unwrap();
    }
    dora.join(&staged).unwrap();
    let _ = dora.process(&next).unwrap();
    peers.push(dora);
    all_read_all(&mut peers);
}

#[test]
fn the_time_of_the_context_comes_before_the_clock() {
    let mut peers = group(&["Alice", "Bob"]);
    let mut dora = Peer::joiner("Dora");
    let package = dora.key_package();
    let below = chain(7);
    let stage = |peer: &mut Peer, now| {
        let added = news(std::slice::from_ref(&package));
        let request = ChangeRequest { added: &added, removed: &[] };
        let context = cc_core::PartContext { now, ..context([1; 32], Some(7), Some(&below)) };
        let staged = peer.transact(|layer| layer.stage_change(&request, &context)).map(|_| ());
        let _ = peer.transact(GroupLayer::discard_change);
        staged
    };
    assert_eq!(stage(&mut peers[0], None), Ok(()));
    assert_eq!(stage(&mut peers[0], Some(now() + YEAR)), Err(LayerErrorKind::Rejected));
    assert_eq!(stage(&mut peers[0], Some(now() - YEAR)), Err(LayerErrorKind::Rejected));
    peers[0].layer.set_clock(|| 1);
    assert_eq!(stage(&mut peers[0], None), Err(LayerErrorKind::Rejected));
    assert_eq!(stage(&mut peers[0], Some(now())), Ok(()));
}

#[test]
fn an_update_is_due_by_the_clock_that_was_set() {
    let clock = Arc::new(AtomicU64::new(1_000));
    let mut peers = group(&["Alice", "Bob"]);
    let read = Arc::clone(&clock);
    peers[0].layer.set_clock(move || read.load(Ordering::Relaxed));
    let update = peers[0].stage(&[], &[]).unwrap();
    settle(&mut peers, 0, &update, &[]);
    let policy = UpdatePolicy::default().with_min_gap(None);
    assert!(!peers[0].layer.update_due(&policy));
    clock.store(1_000 + 2 * DAY, Ordering::Relaxed);
    assert!(peers[0].layer.update_due(&policy));
    let age = peers[0].layer.update_age(&policy).unwrap();
    assert_eq!((age.time.as_secs(), age.epoch_time.as_secs()), (2 * DAY, 2 * DAY));
}
