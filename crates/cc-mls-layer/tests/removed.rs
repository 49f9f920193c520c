//! What a member who was removed still reads, and what it is told of the rest.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

use crate::common;

use cc_core::{CipherLayer, GroupLayer, LayerErrorKind, Standing};
use cc_mls_layer::{MlsConfig, MlsError};
use common::{Peer, Wire, all_read_all, assemble, group, settle};

/// Removes the last of `peers`, who learns it; what the others wrote before, some epochs back and in the last.
fn remove_last(peers: &mut [Peer]) -> Vec<(u64, Wire)> {
    let last = peers.len() - 1;
    let mut wires = Vec::new();
    for _ in 0..5 {
        wires.push((peers[0].epoch(), peers[0].seal(b"sent before")));
        let update = peers[1].stage(&[], &[]).unwrap();
        settle(peers, 1, &update, &[]);
    }
    wires.push((peers[0].epoch(), peers[0].seal(b"sent before")));
    let id = peers[last].id;
    let removal = peers[0].stage(&[], &[id]).unwrap();
    settle(peers, 0, &removal, &[]);
    assert_eq!(peers[last].layer.standing(), Standing::Removed);
    // It comes again, and is no attack.
    assert_eq!(peers[last].process(&removal).map(|_| ()), Err(LayerErrorKind::Duplicate));
    wires
}

#[test]
fn what_was_sent_before_opens_once_within_the_window() {
    for restarted in [false, true] {
        let mut peers: Vec<Peer> =
            group(&["Alice", "Bob", "Charlie"]).into_iter().map(Peer::stored).collect();
        let wires = remove_last(&mut peers);
        let charlie = &mut peers[2];
        if restarted {
            charlie.restart();
        }
        // The last epoch was 6: three before it are kept.
        for (epoch, wire) in wires.iter().rev() {
            if *epoch < 3 {
                assert_eq!(charlie.open(wire), Err(LayerErrorKind::Stale), "{epoch}");
                assert!(charlie.layer.recall(&epoch.to_be_bytes()).is_err());
                continue;
            }
            let recalled = charlie.layer.recall(&epoch.to_be_bytes()).unwrap();
            assert_eq!(recalled.epoch, Some(*epoch));
            // A revert, as ever, keeps it readable.
            assert!(charlie.open_only(wire).is_ok());
            charlie.layer.revert();
            let (opened, text) = charlie.open(wire).unwrap();
            assert_eq!((&text[..], opened.epoch), (&b"sent before"[..], Some(*epoch)));
            assert_eq!(opened.sender_name.as_deref(), Some("Alice"));
            assert_eq!(charlie.open(wire), Err(LayerErrorKind::Duplicate));
            if restarted {
                charlie.restart();
                assert_eq!(charlie.open(wire), Err(LayerErrorKind::Duplicate));
            }
        }
    }
}

#[test]
fn it_is_in_no_group_any_more() {
    let mut peers = group(&["Alice", "Bob", "Charlie"]);
    remove_last(&mut peers);
    let alice = peers[0].id;
    let charlie = &mut peers[2];
    assert!(charlie.layer.members().is_empty() && charlie.layer.mls_members().is_empty());
    assert_eq!(GroupLayer::epoch_authenticator(&charlie.layer), None);
    assert_eq!(charlie.layer.epoch_authenticator(), None);
    let not_ready = LayerErrorKind::NotReady;
    assert_eq!(charlie.layer.contribute().unwrap_err().kind(), not_ready);
    assert_eq!(charlie.seal_only(b"x").map(|_| ()).unwrap_err().kind(), not_ready);
    assert_eq!(charlie.stage(&[], &[]).map(|_| ()), Err(not_ready));
    assert_eq!(charlie.stage(&[], &[alice]).map(|_| ()), Err(not_ready));
    assert_eq!(charlie.transact(GroupLayer::confirm_change), Err(not_ready));
    let secret = charlie.layer.export_secret("x", b"", 32);
    assert!(matches!(secret, Err(MlsError::NoGroup)));
    assert!(charlie.layer.rename_group("New").is_err());
    // A revert takes the removal back as a whole.
    let mut peers = group(&["Alice", "Bob"]);
    let bob = peers[1].id;
    let removal = peers[0].stage(&[], &[bob]).unwrap();
    let below = common::chain(7);
    let context = common::context(removal.binding, Some(7), Some(&below));
    let outcome = peers[1].layer.process_commit(&removal.parts.commit, &context).unwrap();
    assert!(outcome.removed_self);
    assert!(peers[1].layer.next_contribution().unwrap().is_none());
    peers[1].layer.revert();
    assert_eq!(peers[1].epoch(), 1);
    all_read_all(&mut peers);
}

#[test]
fn what_it_does_not_read_yet_is_early_and_opens_once_it_is_back() {
    let mut peers = group(&["Alice", "Bob", "Charlie"]);
    remove_last(&mut peers);
    let package = peers[2].key_package();
    let back = peers[0].stage(&[package], &[]).unwrap();
    let mut charlie = peers.pop().unwrap();
    settle(&mut peers, 0, &back, &[]);
    let later = peers[1].stage(&[], &[]).unwrap();
    let wire = peers[0].seal(b"after the return");
    settle(&mut peers, 1, &later, &[]);
    // All of this reaches Charlie before its welcome.
    assert_eq!(charlie.process(&back).map(|_| ()), Err(LayerErrorKind::Early));
    assert_eq!(charlie.process(&later).map(|_| ()), Err(LayerErrorKind::Early));
    assert_eq!(charlie.open(&wire), Err(LayerErrorKind::Early));
    let hint = charlie.layer.recall(&charlie.layer.epoch().unwrap().wrapping_add(2).to_be_bytes());
    assert_eq!(hint.unwrap_err().kind(), LayerErrorKind::Early);
    charlie.join(&back).unwrap();
    assert!(charlie.open(&wire).is_ok());
    let _ = charlie.process(&later).unwrap();
    peers.push(charlie);
    all_read_all(&mut peers);
}

#[test]
fn where_nothing_past_is_kept_nothing_opens_after_a_removal() {
    let config = MlsConfig::default().with_max_past_epochs(0);
    let peer = |name, founder| Peer::with(name, founder, config.clone());
    let mut peers =
        assemble(peer("Alice", true), vec![peer("Bob", false), peer("Charlie", false).stored()]);
    let wires = remove_last(&mut peers);
    for restarted in [false, true] {
        if restarted {
            peers[2].restart();
        }
        for (_, wire) in &wires {
            assert_eq!(peers[2].open(wire), Err(LayerErrorKind::Stale));
        }
        assert!(peers[2].layer.members().is_empty());
    }
    // What is to come is early all the same, and it comes back.
    let update = peers[0].stage(&[], &[]).unwrap();
    let wire = peers[0].seal(b"of the epoch that the removal began");
    assert_eq!(peers[2].open(&wire), Err(LayerErrorKind::Early));
    assert_eq!(peers[2].process(&update).map(|_| ()), Err(LayerErrorKind::Early));
    settle(&mut peers, 0, &update, &[2]);
    let package = peers[2].key_package();
    let back = peers[0].stage(&[package], &[]).unwrap();
    settle(&mut peers, 0, &back, &[2]);
    peers[2].join(&back).unwrap();
    all_read_all(&mut peers);
}

/// A thief of what a removed member keeps reads what the member itself could still read, and no later epoch.
#[test]
fn a_thief_of_its_state_reads_what_it_could_still_read() {
    let mut peers: Vec<Peer> =
        group(&["Alice", "Bob", "Charlie"]).into_iter().map(Peer::stored).collect();
    let wires = remove_last(&mut peers);
    let opened = wires.len() - 2;
    peers[2].open(&wires[opened].1).unwrap();
    let update = peers[0].stage(&[], &[]).unwrap();
    settle(&mut peers, 0, &update, &[2]);
    let later = peers[0].seal(b"after the removal");
    let mut thief = Peer::joiner("nobody");
    (thief.stack, thief.id) = (peers[2].stack, peers[2].id);
    thief.restart_from(peers[2].store.as_ref().unwrap().reopened());
    assert_eq!(thief.open(&later), Err(LayerErrorKind::Early));
    assert!(thief.open(&wires[wires.len() - 1].1).is_ok());
    assert_eq!(thief.open(&wires[0].1), Err(LayerErrorKind::Stale));
    assert_eq!(thief.process(&update).map(|_| ()), Err(LayerErrorKind::Early));
}
