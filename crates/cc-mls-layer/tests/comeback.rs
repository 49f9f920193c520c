//! Members that fell out of step come back: removed and added in one change, with new keys.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use crate::common;

use cc_core::{CipherLayer, GroupLayer, LayerErrorKind, Standing};
use common::{Peer, Staged, all_read_all, chain, context, group, scope, settle};

/// Everybody but `who` takes a commit of `by` that `who` never sees.
fn leave_behind(peers: &mut [Peer], by: usize, who: usize) {
    let staged = peers[by].stage(&[], &[]).unwrap();
    settle(peers, by, &staged, &[who]);
}

/// `by` brings `who` back; all others see it in both lists. Gives the change with the welcome.
fn bring_back(peers: &mut [Peer], by: usize, who: usize) -> Staged {
    let id = peers[who].id;
    let package = peers[who].key_package();
    let staged = peers[by].stage(&[package], &[id]).unwrap();
    for (at, peer) in peers.iter_mut().enumerate() {
        if at == by {
            peer.confirm();
        } else if at != who {
            let outcome = peer.process(&staged).unwrap();
            assert_eq!((outcome.added, outcome.removed), (vec![id], vec![id]));
            assert!(!outcome.removed_self);
        }
    }
    staged
}

#[test]
fn who_missed_commits_comes_back() {
    let mut peers = group(&["Alice", "Bob", "Charlie"]);
    peers[2] = std::mem::replace(&mut peers[2], Peer::joiner("nobody")).stored();
    for _ in 0..5 {
        leave_behind(&mut peers, 0, 2);
    }
    let unread = peers[0].seal(b"not for the old Charlie");
    assert_eq!(peers[2].open(&unread), Err(LayerErrorKind::Early));
    // A change that it had staged where it was goes with the old group.
    let _lost = peers[2].stage(&[], &[]).unwrap();
    let staged = bring_back(&mut peers, 1, 2);
    assert_eq!(peers[2].epoch(), 1, "until it joins, it is where it was");
    let by = peers[1].id;
    assert_eq!(peers[2].join(&staged), Ok(Some(by)));
    assert_eq!(peers[2].transact(GroupLayer::confirm_change), Err(LayerErrorKind::NotReady));
    all_read_all(&mut peers);
    peers[2].restart();
    all_read_all(&mut peers);
    for by in [2, 0] {
        leave_behind(&mut peers, by, 3);
        all_read_all(&mut peers);
    }
}

#[test]
fn who_went_back_to_an_old_copy_comes_back() {
    let mut peers = group(&["Alice", "Bob", "Charlie"]);
    peers[2] = std::mem::replace(&mut peers[2], Peer::joiner("nobody")).stored();
    let backup = peers[2].store.as_ref().unwrap().reopened();
    all_read_all(&mut peers);
    leave_behind(&mut peers, 0, 3);
    all_read_all(&mut peers);
    leave_behind(&mut peers, 1, 3);

    peers[2].restart_from(backup);
    assert_eq!(peers[2].epoch(), 1);
    let staged = bring_back(&mut peers, 0, 2);
    peers[2].join(&staged).unwrap();
    all_read_all(&mut peers);
    peers[2].restart();
    all_read_all(&mut peers);
}

#[test]
fn who_sees_its_own_removal_comes_back_by_the_same_change() {
    let mut peers = group(&["Alice", "Bob"]);
    let id = peers[1].id;
    let package = peers[1].key_package();
    let staged = peers[0].stage(&[package], &[id]).unwrap();
    peers[0].confirm();
    let outcome = peers[1].process(&staged).unwrap();
    assert!(outcome.removed_self);
    assert_eq!((outcome.added, outcome.removed), (vec![id], vec![id]));
    assert_eq!(peers[1].layer.standing(), Standing::Removed);
    peers[1].join(&staged).unwrap();
    all_read_all(&mut peers);
}

#[test]
fn who_sees_its_own_removal_comes_back_by_a_last_resort_key_package() {
    let mut peers = group(&["Alice", "Bob"]);
    let id = peers[1].id;
    peers[1].layer.set_last_resort(true);
    let package = peers[1].key_package();
    let mut over = Vec::new();
    for _ in 0..2 {
        let staged = peers[0].stage(std::slice::from_ref(&package), &[id]).unwrap();
        peers[0].confirm();
        assert!(peers[1].process(&staged).unwrap().removed_self);
        for old in &over {
            assert_eq!(peers[1].join(old), Err(LayerErrorKind::Rejected));
        }
        peers[1].join(&staged).unwrap();
        assert_eq!(peers[1].join(&staged), Err(LayerErrorKind::Rejected), "it is in that epoch");
        all_read_all(&mut peers);
        over.push(staged);
    }
}

#[test]
fn a_reverted_or_refused_return_leaves_the_old_group() {
    let mut peers = group(&["Alice", "Bob", "Charlie"]);
    let late = peers[0].seal(b"of the first epoch");
    leave_behind(&mut peers, 0, 2);
    let pending = peers[2].stage(&[], &[]).unwrap();
    let exporter = peers[2].exporter();
    let staged = bring_back(&mut peers, 0, 2);

    let below = chain(7);
    for _ in 0..2 {
        let joining = context(staged.binding, Some(7), Some(&below));
        peers[2].layer.join(&staged.parts.welcome, &joining).unwrap();
        assert!(peers[2].layer.next_contribution().unwrap().is_some());
        peers[2].layer.revert();
        assert_eq!(peers[2].epoch(), 1);
        assert_eq!(peers[2].exporter(), exporter);
        // Of another binding: refused, and nothing has changed.
        let other = Staged { binding: [9; 32], ..staged.clone() };
        assert_eq!(peers[2].join(&other), Err(LayerErrorKind::Rejected));
        assert_eq!(peers[2].epoch(), 1);
    }
    assert!(peers[2].open(&late).is_ok(), "the old group is whole");
    // Its staged change too: it can be confirmed, though to no avail.
    assert!(!pending.parts.commit.is_empty());
    peers[2].layer.confirm_change().unwrap();
    peers[2].layer.revert();
    peers[2].join(&staged).unwrap();
    all_read_all(&mut peers);
}

#[test]
fn who_went_astray_alone_comes_back() {
    let mut peers = group(&["Alice", "Bob", "Charlie"]);
    // Commits that the delivery service never took.
    for _ in 0..5 {
        let _lost = peers[2].stage(&[], &[]).unwrap();
        peers[2].confirm();
    }
    let staged = bring_back(&mut peers, 0, 2);
    peers[2].join(&staged).unwrap();
    assert_eq!(peers[2].epoch(), 2);
    all_read_all(&mut peers);
    let update = peers[1].stage(&[], &[]).unwrap();
    settle(&mut peers, 1, &update, &[]);
    all_read_all(&mut peers);
}

#[test]
fn an_old_welcome_works_once() {
    let mut peers = group(&["Alice", "Bob"]);
    let staged = bring_back(&mut peers, 0, 1);
    peers[1].join(&staged).unwrap();
    leave_behind(&mut peers, 0, 2);
    assert_eq!(peers[1].join(&staged), Err(LayerErrorKind::Rejected));
    all_read_all(&mut peers);
}

#[test]
fn nothing_of_the_old_group_is_left_in_the_store() {
    let mut peers: Vec<Peer> =
        group(&["Alice", "Bob", "Charlie"]).into_iter().map(Peer::stored).collect();
    for _ in 0..3 {
        leave_behind(&mut peers, 0, 3);
        all_read_all(&mut peers);
    }
    let mut records = Vec::new();
    for _ in 0..3 {
        leave_behind(&mut peers, 0, 2);
        let _lost = peers[2].stage(&[], &[]).unwrap();
        let staged = bring_back(&mut peers, 0, 2);
        peers[2].join(&staged).unwrap();
        records.push(peers[2].store.as_ref().unwrap().len());
    }
    assert_eq!(records[0], records[1]);
    assert_eq!(records[1], records[2]);
}

#[test]
fn nothing_of_before_a_removal_is_left_in_the_store() {
    let mut peers: Vec<Peer> = group(&["Alice", "Bob"]).into_iter().map(Peer::stored).collect();
    let id = peers[1].id;
    let mut records = Vec::new();
    for round in 0..6 {
        let package = peers[1].key_package();
        let staged = peers[0].stage(&[package], &[id]).unwrap();
        peers[0].confirm();
        assert!(peers[1].process(&staged).unwrap().removed_self);
        peers[1].join(&staged).unwrap();
        all_read_all(&mut peers);
        // Kind 15 is an epoch's private keys.
        let keys = scope().of(peers[1].store.as_ref().unwrap()).list(&[15]).unwrap();
        assert_eq!(keys.len(), 1, "round {round}");
        let update = peers[1].stage(&[], &[]).unwrap();
        settle(&mut peers, 1, &update, &[]);
        records.push(peers[1].store.as_ref().unwrap().len());
    }
    assert!(records.iter().all(|len| *len == records[0]), "{records:?}");
}
