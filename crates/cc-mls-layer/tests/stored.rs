//! The stored state: what damage to it does, and what a thief gets from it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

use crate::common;

use cc_core::{
    CipherLayer as _, LayerErrorKind, Restore as _, SecretBytes,
    store::{Batch, MemoryStore, Store as _},
};
use cc_mls_layer::{MlsConfig, MlsLayer};
use common::{Peer, Wire, all_read_all, assemble, group, scope};

type Records = Vec<(Vec<u8>, Vec<u8>)>;

/// Kinds of records, as the first byte of a key says.
const MESSAGE_SECRETS: u8 = 9;
const KEY_PACKAGE: u8 = 16;
const SENT: u8 = 35;
const RECEIVED: u8 = 37;
const LAYER: u8 = 38;
const SECRETS_PIECE: u8 = 40;

fn records(peer: &Peer) -> Records {
    let store = peer.store.as_ref().unwrap();
    let records = scope().of(store).list(b"").unwrap();
    records.into_iter().map(|(key, value)| (key, value.expose().to_vec())).collect()
}

fn store(records: &Records) -> MemoryStore {
    let mut batch = Batch::new();
    for (key, value) in records {
        batch.put(&scope(), key.clone(), SecretBytes::new(value.clone()));
    }
    let mut store = MemoryStore::new();
    store.commit(&batch).unwrap();
    store
}

/// `None` for a layer, and what the error says otherwise.
fn restore(records: &Records) -> Option<String> {
    match MlsLayer::restore(&scope().of(&store(records))) {
        Ok(_) => None,
        Err(error) => {
            assert_eq!(error.kind(), LayerErrorKind::Storage);
            Some(cc_core::error_chain(&error).to_string())
        }
    }
}

/// States with all kinds of records: in a group with messages read, sent and late and a change
/// staged, removed, and outside with a key package.
fn states() -> Vec<Records> {
    let config = MlsConfig::default().with_ciphersuite(MlsConfig::ciphersuites()[1]);
    let mut states = Vec::new();
    for config in [MlsConfig::default(), config] {
        let peer = |name, founder| Peer::with(name, founder, config.clone()).stored();
        let mut peers =
            assemble(peer("Alice", true), vec![peer("Bob", false), peer("Carol", false)]);
        all_read_all(&mut peers);
        let staged = peers[0].stage(&[], &[]).unwrap();
        common::settle(&mut peers, 0, &staged, &[]);
        all_read_all(&mut peers);
        let _staged = peers[1].stage(&[], &[]).unwrap();
        peers[1].key_package();
        states.push(records(&peers[1]));
        let bob = peers[1].id;
        let staged = peers[0].stage(&[], &[bob]).unwrap();
        assert!(peers[1].process(&staged).unwrap().removed_self);
        states.push(records(&peers[1]));
        let mut outside = peer("Dora", false);
        outside.key_package();
        states.push(records(&outside));
    }
    states
}

#[test]
fn every_damaged_record_gives_an_error_or_a_layer() {
    for good in states() {
        assert_eq!(restore(&good), None);
        for at in 0..good.len() {
            let (kind, len) = (good[at].0[0], good[at].1.len());
            // All of a short record, and some of a long one.
            let step = (len / 60).max(1);
            for place in (0..len).step_by(step).chain(len.saturating_sub(4)..len) {
                let mut cut = good.clone();
                cut[at].1.truncate(place);
                let mut flipped = good.clone();
                flipped[at].1[place] ^= 1 << (place % 8);
                let mut high = good.clone();
                high[at].1[place] ^= 0x80;
                // The private keys of others are read when they are used.
                let read = ![14, 15, KEY_PACKAGE].contains(&kind) || place == 0;
                assert!(restore(&cut).is_some() || !read, "kind {kind}, {place} of {len} bytes");
                // A flipped bit of a key makes another key, but where there is a digest.
                let digest = [MESSAGE_SECRETS, SECRETS_PIECE].contains(&kind);
                for damaged in [flipped, high] {
                    let error = restore(&damaged).is_some();
                    assert!(error || place > 0 && !digest, "kind {kind}, {place} of {len} bytes");
                }
            }
        }
    }
}

#[test]
fn a_damaged_layer_gives_errors_when_it_is_used() {
    let mut peers: Vec<Peer> = group(&["Alice", "Bob"]).into_iter().map(Peer::stored).collect();
    all_read_all(&mut peers);
    let wire = peers[0].seal(b"hello");
    let update = peers[0].stage(&[], &[]).unwrap();
    let good = records(&peers[1]);
    let mut used = 0;
    for at in 0..good.len() {
        let len = good[at].1.len();
        for place in (1..len).step_by((len / 40).max(1)) {
            for bit in [0, 4, 7] {
                let mut damaged = good.clone();
                damaged[at].1[place] ^= 1 << bit;
                if restore(&damaged).is_none() {
                    peers[1].restart_from(store(&damaged));
                    let bob = &mut peers[1];
                    let _ = bob.open(&wire);
                    let _ = bob.transact(|layer| layer.contribute());
                    let _ = bob.seal_only(b"hello").map(|_| bob.keep());
                    let _ = bob.stage(&[], &[]);
                    let _ = bob.process(&update);
                    used += 1;
                }
            }
        }
    }
    assert!(used > 0);
}

#[test]
fn a_missing_record_is_an_error_where_it_is_of_the_state() {
    for good in states() {
        for at in 0..good.len() {
            let mut less = good.clone();
            let (key, _) = less.remove(at);
            let error = restore(&less);
            match key[0] {
                // Losing these loses what can be lost: a message key, a key package, an epoch.
                // 33 is the digest of a staged change, 34 a past epoch.
                14 | KEY_PACKAGE | 33 | 34 | SENT | RECEIVED => {}
                kind => assert!(error.is_some(), "kind {kind}"),
            }
        }
        assert!(restore(&Records::new()).unwrap().contains("missing"));
    }
}

#[test]
fn pieces_of_two_times_do_not_mix() {
    let mut peers = watched(1);
    let mut times = vec![records(&peers[1])];
    for _ in 0..8 {
        let wire = peers[0].seal(b"hello");
        peers[1].open(&wire).unwrap();
        times.push(records(&peers[1]));
    }
    let good = times.pop().unwrap();
    assert_eq!(restore(&good), None);
    let is_piece = |(key, _): &&(Vec<u8>, Vec<u8>)| key[0] == SECRETS_PIECE;
    let refused = |records: &Records| {
        let error = restore(records).unwrap();
        assert!(error.contains("damaged"), "{error}");
    };
    let at: Vec<usize> = (0..good.len()).filter(|at| is_piece(&&good[*at])).collect();
    assert!(at.len() > 1);
    // A piece as it was, or all of them, or what tells what they are.
    let mut changed = [0, 0];
    for before in &times {
        for (key, value) in before {
            let kind = [MESSAGE_SECRETS, SECRETS_PIECE].iter().position(|kind| *kind == key[0]);
            let mut mixed = good.clone();
            let now = mixed.iter_mut().find(|(now, _)| now == key);
            if let (Some(kind), Some(now)) = (kind, now.filter(|now| now.1 != *value)) {
                now.1.clone_from(value);
                refused(&mixed);
                changed[kind] += 1;
            }
        }
        let old = before.iter().filter(is_piece);
        refused(&good.iter().filter(|record| !is_piece(record)).chain(old).cloned().collect());
    }
    assert!(changed.into_iter().all(|changed| changed > 0), "{changed:?}");
    // Two that took each other's place, and one more than there are.
    for pair in at.windows(2) {
        let mut swapped = good.clone();
        (swapped[pair[0]].1, swapped[pair[1]].1) =
            (good[pair[1]].1.clone(), good[pair[0]].1.clone());
        refused(&swapped);
        let mut more = good.clone();
        let (mut key, value) = good[pair[0]].clone();
        *key.last_mut().unwrap() ^= 1;
        more.push((key, value));
        refused(&more);
    }
    // Of another group, of none, or without a byte.
    let (key, value) = &good[at[0]];
    for (key, value) in [
        ([&[SECRETS_PIECE, 1, 7], &key[key.len() - 8..]].concat(), value.clone()),
        (key[..8].to_vec(), value.clone()),
        (vec![SECRETS_PIECE], value.clone()),
        ([&key[..key.len() - 1], &[9]].concat(), value[..1].to_vec()),
    ] {
        let mut more = good.clone();
        more.push((key, value));
        refused(&more);
    }
    refused(&good.iter().filter(|(key, _)| key[0] != MESSAGE_SECRETS).cloned().collect());
}

#[test]
fn a_newer_format_is_named() {
    for good in states() {
        for at in 0..good.len() {
            let mut newer = good.clone();
            newer[at].1[0] = 2;
            let error = restore(&newer).unwrap();
            assert!(error.contains("format 2, newer than 1"), "{error}");
        }
        let mut unknown = good.clone();
        unknown.push((vec![200], vec![1]));
        assert!(restore(&unknown).unwrap().contains("unknown kind"));
    }
}

#[test]
fn the_records_of_two_members_do_not_mix() {
    let mut peers: Vec<Peer> = group(&["Alice", "Bob"]).into_iter().map(Peer::stored).collect();
    all_read_all(&mut peers);
    let (alice, bob) = (records(&peers[0]), records(&peers[1]));
    let mixed = bob
        .iter()
        .filter(|(key, _)| key[0] != LAYER)
        .chain(alice.iter().filter(|(key, _)| key[0] == LAYER))
        .cloned()
        .collect();
    assert!(restore(&mixed).unwrap().contains("another member's"));
}

#[test]
fn nothing_secret_shows() {
    let mut peers: Vec<Peer> = group(&["Alice", "Bob"]).into_iter().map(Peer::stored).collect();
    all_read_all(&mut peers);
    peers[1].restart();
    let shown = format!("{:?} {:?}", peers[1].layer, peers[1].layer.identity());
    let own = records(&peers[1]).into_iter().find(|(key, _)| key[0] == LAYER).unwrap().1;
    let public = peers[1].layer.identity().signature_key();
    let at = own.windows(32).position(|window| window == public).unwrap();
    // The private key stands right before the public one and its length.
    let private = format!("{:?}", &own[at - 33..at - 1]);
    assert!(shown.contains(&format!("{public:?}")));
    assert!(!shown.contains(private.trim_matches(['[', ']'])));
}

/// What a thief restores: the records without this crate's own refusal of what is known, for the
/// thief leaves that out.
fn stolen(peer: &Peer) -> Peer {
    let mut stolen = records(peer);
    stolen.retain(|(key, _)| ![SENT, RECEIVED].contains(&key[0]));
    let mut thief = Peer::joiner("thief");
    thief.id = peer.id;
    thief.stack = peer.stack;
    thief.restart_from(store(&stolen));
    thief
}

/// Alice, who watches, and Bob and Charlie, whose state is kept with this interval.
fn watched(interval: u32) -> Vec<Peer> {
    let config = MlsConfig::default().with_checkpoint_interval(interval);
    let peer = |name, founder| Peer::with(name, founder, config.clone()).stored();
    let mut peers = assemble(peer("Alice", true), vec![peer("Bob", false), peer("Charlie", false)]);
    all_read_all(&mut peers);
    peers
}

#[test]
fn with_a_checkpoint_for_every_message_the_store_opens_nothing_old() {
    for interval in [0, 1] {
        let mut peers = watched(interval);
        let mut read: Vec<Wire> = Vec::new();
        let mut sent = 0;
        for round in 0u8..6 {
            let wire = peers[0].seal(&[round]);
            peers[1].open(&wire).unwrap();
            read.push(wire);
            for old in &read {
                assert_eq!(stolen(&peers[1]).open(old), Err(LayerErrorKind::Duplicate));
            }
            // Charlie has not read it: no stolen state of Bob's tells, and his own still opens it.
            assert!(stolen(&peers[2]).open(&read[usize::from(round)]).is_ok());

            let wire = peers[1].seal(&[round]);
            peers[0].open(&wire).unwrap();
            sent += 1;
            // A message key that was used would be refused by Alice as a replay.
            let next = stolen(&peers[1]).seal_only(b"with the next key").unwrap();
            assert!(peers[0].open_only(&next).is_ok(), "after {sent} messages");
            peers[0].layer.revert();
        }
    }
}

#[test]
fn between_checkpoints_the_store_opens_what_came_since() {
    let mut peers = watched(4);
    // Both ends at a checkpoint: a change writes one.
    let staged = peers[0].stage(&[], &[]).unwrap();
    common::settle(&mut peers, 0, &staged, &[]);
    let mut read: Vec<Wire> = Vec::new();
    for round in 1u8..=8 {
        let wire = peers[0].seal(&[round]);
        peers[1].open(&wire).unwrap();
        read.push(wire);
        let checkpoint = usize::from(round / 4 * 4);
        for (at, old) in read.iter().enumerate() {
            assert_eq!(stolen(&peers[1]).open(old).is_ok(), at >= checkpoint, "{at} of {round}");
        }
    }
    let wire = peers[1].seal(b"sent");
    peers[0].open(&wire).unwrap();
    let again = stolen(&peers[1]).seal_only(b"with a key that was used").unwrap();
    assert_eq!(peers[0].open(&again), Err(LayerErrorKind::Duplicate));
}

/// The ratchets as the last checkpoint wrote them.
fn checkpoint(peer: &Peer) -> Vec<u8> {
    records(peer).into_iter().find(|(key, _)| key[0] == MESSAGE_SECRETS).unwrap().1
}

#[test]
fn a_refused_message_makes_no_checkpoint() {
    let mut peers = watched(64);
    let before = checkpoint(&peers[1]);
    for round in 0u8..3 {
        let wire = peers[0].seal(&[round]);
        let garbage = Wire { body: vec![round; 9], ..wire.clone() };
        assert_eq!(peers[1].open(&garbage), Err(LayerErrorKind::Rejected));
        peers[1].open(&wire).unwrap();
        assert_eq!(checkpoint(&peers[1]), before);
    }
}

#[test]
fn a_checkpoint_that_is_undone_is_made_by_the_next_message() {
    let mut peers = watched(4);
    let staged = peers[0].stage(&[], &[]).unwrap();
    common::settle(&mut peers, 0, &staged, &[]);
    let before = checkpoint(&peers[1]);
    for _ in 0..3 {
        peers[1].seal(b"kept");
    }
    peers[1].seal_only(b"undone").unwrap();
    peers[1].layer.revert();
    peers[1].keep().unwrap();
    assert_eq!(checkpoint(&peers[1]), before);
    peers[1].seal(b"the next");
    assert_ne!(checkpoint(&peers[1]), before);
}

#[test]
fn messages_before_a_restart_stay_readable_until_the_window_is_over() {
    let mut peers = watched(4);
    let staged = peers[0].stage(&[], &[]).unwrap();
    common::settle(&mut peers, 0, &staged, &[]);
    let old = peers[0].seal(b"before the restart");
    peers[1].open(&old).unwrap();
    peers[1].restart();
    let before = checkpoint(&peers[1]);
    for _ in 0..4 {
        let wire = peers[0].seal(b"after it");
        peers[1].open(&wire).unwrap();
    }
    assert_ne!(checkpoint(&peers[1]), before);
    // A checkpoint alone does not end it, as it does without a restart. Bob still refuses the message.
    assert!(stolen(&peers[1]).open(&old).is_ok());
    assert_eq!(peers[1].open(&old), Err(LayerErrorKind::Duplicate));
    for _ in 0..=MlsConfig::default().max_past_epochs() {
        let staged = peers[2].stage(&[], &[]).unwrap();
        common::settle(&mut peers, 2, &staged, &[]);
    }
    assert_eq!(stolen(&peers[1]).open(&old), Err(LayerErrorKind::Stale));
    assert!(records(&peers[1]).iter().all(|(key, _)| key[0] != RECEIVED));
}

#[test]
fn restarts_do_not_pile_up_records() {
    let mut peers = watched(4);
    let mut read = Vec::new();
    let mut most = 0;
    for _ in 0..100 {
        for _ in 0..2 {
            let wire = peers[0].seal(b"hello");
            peers[1].open(&wire).unwrap();
            read.push(wire);
        }
        most = most.max(records(&peers[1]).iter().filter(|(key, _)| key[0] == RECEIVED).count());
        peers[1].restart();
    }
    assert!(most <= 4 * 16, "{most} records");
    for old in &read {
        assert_eq!(peers[1].open(old), Err(LayerErrorKind::Duplicate));
    }
}

#[test]
fn a_change_of_the_group_is_a_checkpoint() {
    let mut peers = watched(64);
    let wire = peers[0].seal(b"old");
    peers[1].open(&wire).unwrap();
    assert!(stolen(&peers[1]).open(&wire).is_ok());
    let staged = peers[2].stage(&[], &[]).unwrap();
    common::settle(&mut peers, 2, &staged, &[]);
    assert_eq!(stolen(&peers[1]).open(&wire), Err(LayerErrorKind::Duplicate));
    assert!(records(&peers[1]).iter().any(|(key, _)| key[0] == MESSAGE_SECRETS));
}

#[test]
fn a_welcome_that_was_used_is_worth_nothing_to_a_thief() {
    let mut peers = group(&["Alice"]);
    let mut bob = Peer::joiner("Bob").stored();
    let package = bob.key_package();
    let staged = peers[0].stage(&[package], &[]).unwrap();
    peers[0].confirm();
    assert!(stolen(&bob).join(&staged).is_ok(), "not used yet");
    bob.join(&staged).unwrap();
    assert_eq!(stolen(&bob).join(&staged), Err(LayerErrorKind::Rejected));
    assert!(records(&bob).iter().all(|(key, _)| key[0] != KEY_PACKAGE));
}
