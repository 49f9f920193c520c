//! Two people.

use super::*;
use crate::message_key::tests::used;

pub(super) fn strangers() -> (SignalLayer, SignalLayer) {
    let (alice, bob) = (Account::generate().unwrap(), Account::generate().unwrap());
    let (a, bundle) = (*alice.identity(), bob.bundle());
    let limits = Limits::default();
    (
        SignalLayer::initiate(alice, &bundle, Agree::Pqxdh, limits).unwrap(),
        SignalLayer::respond(bob, a, limits),
    )
}

#[test]
fn both_ways() {
    let (mut alice, mut bob) = strangers();
    assert_eq!(kind(seal(&mut bob, b"x")), LayerErrorKind::NotReady);
    for round in 0..3u8 {
        let wire = seal(&mut alice, &[round; 100]).unwrap();
        assert_eq!(open(&mut bob, &wire).unwrap(), [round; 100]);
        assert_eq!(kind(open(&mut bob, &wire)), LayerErrorKind::Duplicate);
        let wire = seal(&mut bob, b"answer").unwrap();
        assert_eq!(wire.len(), 6 + 129);
        assert_eq!(open(&mut alice, &wire).unwrap(), b"answer");
    }
    assert_eq!(alice.safety_number(b"a", b"b"), bob.safety_number(b"b", b"a"));
    assert!(alice.safety_number_with(MemberId::from_bytes([0; 32]), b"a", b"b").is_none());
    assert!(alice.properties().pairwise && alice.properties().refuses_replays);
    assert!(alice.group().is_none());
    assert_ne!(alice.descriptor(), person(false).layer.descriptor());
}

/// A layer that has come to its end leaves an account without the one-time prekey that it used up.
#[test]
fn an_account_goes_from_one_layer_to_the_next() {
    let (alice, mut bob) = (Account::generate().unwrap(), Account::generate().unwrap());
    bob.replenish(1).unwrap();
    let (a, bundle) = (*alice.identity(), bob.one_time_bundles(1).pop().unwrap());
    let limits = Limits::default();
    let mut first = SignalLayer::initiate(alice, &bundle, Agree::Pqxdh, limits).unwrap();
    let hello = seal(&mut first, b"hello").unwrap();
    let mut second = SignalLayer::respond(bob, a, limits);
    assert_eq!(open(&mut second, &hello).unwrap(), b"hello");
    let bob = second.into_account();
    assert_eq!(bob.published(), 0);
    let mut third = SignalLayer::respond(bob, a, limits);
    assert_eq!(kind(open(&mut third, &hello)), LayerErrorKind::Rejected);
}

/// What one account refuses, two that were loaded from one export take, each once: the same initial message with the
/// same one-time prekey.
#[test]
fn two_accounts_of_one_export_spend_the_same_prekey() {
    let (alice, mut bob) = (Account::generate().unwrap(), Account::generate().unwrap());
    bob.replenish(1).unwrap();
    let (a, bundle) = (*alice.identity(), bob.one_time_bundles(1).pop().unwrap());
    let limits = Limits::default();
    let export = bob.export();
    let mut initiated = SignalLayer::initiate(alice, &bundle, Agree::Pqxdh, limits).unwrap();
    let hello = seal(&mut initiated, b"hello").unwrap();
    for _ in 0..2 {
        let copy = Account::load(export.expose()).unwrap();
        let mut layer = SignalLayer::respond(copy, a, limits);
        assert_eq!(open(&mut layer, &hello).unwrap(), b"hello");
        assert!(open(&mut layer, &hello).is_err());
    }
}

#[test]
fn what_the_own_records_know_is_told() {
    let (mut alice, mut bob) = strangers();
    let hello = seal(&mut alice, b"hello").unwrap();
    assert_eq!(open(&mut bob, &hello).unwrap(), b"hello");
    let wire = seal(&mut bob, b"answer").unwrap();
    assert_eq!(kind(open(&mut bob, &wire)), LayerErrorKind::Own);
    assert_eq!(open(&mut alice, &wire).unwrap(), b"answer");
    assert_eq!(kind(open(&mut alice, &wire)), LayerErrorKind::Duplicate);
    // Bytes that prove nothing are an attack, whatever they look like.
    let mut forged = wire.clone();
    forged[40] ^= 1;
    assert_eq!(kind(open(&mut alice, &forged)), LayerErrorKind::Rejected);
    assert_eq!(kind(open(&mut bob, &forged)), LayerErrorKind::Rejected);
    let next = seal(&mut alice, b"next").unwrap();
    open(&mut bob, &next).unwrap();
    let late: Vec<_> = (0..3000).map(|_| seal(&mut alice, b"late").unwrap()).collect();
    assert_eq!(kind(open(&mut bob, &late[2999])), LayerErrorKind::Early);
    for n in [1000, 2000, 2999] {
        open(&mut bob, &late[n]).unwrap();
    }
    assert_eq!(kind(open(&mut bob, &late[1])), LayerErrorKind::Stale);
}

#[test]
fn both_begin() {
    let (alice, bob) = (Account::generate().unwrap(), Account::generate().unwrap());
    let (for_bob, for_alice) = (alice.bundle(), bob.bundle());
    let limits = Limits::default();
    let mut alice = SignalLayer::initiate(alice, &for_alice, Agree::Pqxdh, limits).unwrap();
    let mut bob = SignalLayer::initiate(bob, &for_bob, Agree::Pqxdh, limits).unwrap();
    for _ in 0..3 {
        let (a, b) = (seal(&mut alice, b"a").unwrap(), seal(&mut bob, b"b").unwrap());
        assert_eq!(open(&mut bob, &a).unwrap(), b"a");
        assert_eq!(open(&mut alice, &b).unwrap(), b"b");
    }
    assert_eq!(seal(&mut alice, b"").unwrap().len(), 129, "acknowledged");
}

#[test]
fn a_reverted_open_opens_again_and_a_reverted_seal_is_a_gap() {
    let (mut alice, mut bob) = strangers();
    let hello = seal(&mut alice, b"hello").unwrap();
    for _ in 0..2 {
        assert_eq!(open_staged(&mut bob, &hello, b"ad").unwrap().0, b"hello");
        // One message at a time, and nothing sealed in between.
        assert_eq!(kind(open_staged(&mut bob, &hello, b"ad")), LayerErrorKind::Misuse);
        assert_eq!(kind(seal_staged(&mut bob, b"x")), LayerErrorKind::Misuse);
        bob.revert();
    }
    assert_eq!(kind(seal(&mut bob, b"x")), LayerErrorKind::NotReady);
    assert_eq!(open(&mut bob, &hello).unwrap(), b"hello");
    // The collector of message keys fails the test if one is used twice.
    let before = used();
    for _ in 0..3 {
        seal_staged(&mut alice, b"same text").unwrap();
        alice.revert();
    }
    let wire = seal(&mut alice, b"same text").unwrap();
    assert_eq!(used(), before + 4);
    assert_eq!(open(&mut bob, &wire).unwrap(), b"same text");
}

#[test]
fn damage_and_other_associated_data_are_refused() {
    let (mut alice, mut bob) = strangers();
    let hello = seal(&mut alice, b"hello").unwrap();
    for at in (0..hello.len()).step_by(7).chain(hello.len() - 120..hello.len()) {
        let mut flipped = hello.clone();
        flipped[at] ^= 1 << (at % 8);
        assert_eq!(kind(open(&mut bob, &flipped)), LayerErrorKind::Rejected, "{at}");
        assert_eq!(kind(open(&mut bob, &hello[..at])), LayerErrorKind::Rejected);
    }
    assert_eq!(kind(open_staged(&mut bob, &hello, b"other")), LayerErrorKind::Rejected);
    assert_eq!(open(&mut bob, &hello).unwrap(), b"hello");
}
