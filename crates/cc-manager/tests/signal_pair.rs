//! Two people through AES -> Signal -> AES: the pair ratchet between two ciphers.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::common;

use std::sync::{Arc, Mutex};

use cc_aes_layer::{AesKey, AesLayer};
use cc_core::store::{Failure, MemoryStore, Scope};
use cc_manager::{CascadingCipherManager, Catalog};
use cc_signal_layer::{Account, Agree, Limits, SignalLayer};
use common::Follow as _;

fn stack(signal: SignalLayer) -> CascadingCipherManager {
    let key = |byte| AesLayer::new(AesKey::copy_from(&[byte; 32]).unwrap());
    let builder = CascadingCipherManager::builder().layer(key(1)).layer(signal).layer(key(2));
    builder.build().unwrap()
}

fn pair() -> (CascadingCipherManager, CascadingCipherManager) {
    let (alice, bob) = (Account::generate().unwrap(), Account::generate().unwrap());
    let (of_alice, of_bob) = (*alice.identity(), bob.bundle());
    let initiator = SignalLayer::initiate(alice, &of_bob, Agree::Pqxdh, Limits::default()).unwrap();
    let responder = SignalLayer::respond(bob, of_alice, Limits::default());
    (stack(initiator), stack(responder))
}

#[test]
fn a_conversation_of_two_survives_loss_reordering_and_replay() {
    let (mut alice, mut bob) = pair();
    let hello = alice.encrypt("hello").unwrap();
    assert_eq!(bob.decrypt(&hello).unwrap(), "hello");
    assert!(bob.decrypt(&hello).unwrap_err().is_rejected(), "a replay");
    for round in 0..5 {
        let sent: Vec<_> = (0..4).map(|i| bob.encrypt(format!("{round} {i}")).unwrap()).collect();
        for i in [2, 0, 3] {
            assert_eq!(alice.decrypt(&sent[i]).unwrap(), format!("{round} {i}"));
            assert!(alice.decrypt(&sent[i]).is_err(), "a replay");
        }
        let answer = alice.encrypt("answer").unwrap();
        assert_eq!(bob.decrypt(&answer).unwrap(), "answer");
    }
    assert!(alice.stack_report().refuses_replays && alice.stack_report().pairwise);
}

/// Both programs end and start again between any two messages.
#[test]
fn a_pair_goes_on_after_restarts() {
    let (alice, bob) = (Account::generate().unwrap(), Account::generate().unwrap());
    let (of_alice, of_bob) = (*alice.identity(), bob.bundle());
    let initiator = SignalLayer::initiate(alice, &of_bob, Agree::Pqxdh, Limits::default()).unwrap();
    let responder = SignalLayer::respond(bob, of_alice, Limits::default());
    let key = || AesLayer::new(AesKey::copy_from(&[1; 32]).unwrap());
    let [mut alice, mut bob] = [initiator, responder].map(|signal| {
        let store = Arc::new(Mutex::new(MemoryStore::new()));
        let builder = CascadingCipherManager::builder().layer(key()).layer(signal);
        (builder.create(Arc::clone(&store), "pair").unwrap(), store)
    });
    let catalog = Catalog::new().with::<AesLayer>().with::<SignalLayer>();
    let restart = |end: &mut (CascadingCipherManager, Arc<Mutex<MemoryStore>>)| {
        let store = Arc::new(Mutex::new(end.1.lock().unwrap().reopened()));
        let manager = CascadingCipherManager::open(Arc::clone(&store), "pair", &catalog).unwrap();
        *end = (manager, store);
    };
    for round in 0..4 {
        for _ in 0..2 {
            restart(&mut alice);
            let wires = ["one", "two", "three"].map(|text| alice.0.encrypt(text).unwrap());
            restart(&mut alice);
            for (at, text) in [(2, "three"), (0, "one")] {
                restart(&mut bob);
                assert_eq!(bob.0.decrypt(&wires[at]).unwrap(), text, "round {round}");
                restart(&mut bob);
                assert!(bob.0.decrypt(&wires[at]).unwrap_err().is_rejected(), "a replay");
            }
            assert_eq!(bob.0.decrypt(&wires[1]).unwrap(), "two");
            std::mem::swap(&mut alice, &mut bob);
        }
    }
}

/// A batch that the store had no room for is still in memory when its layer goes.
#[test]
fn a_layer_that_goes_leaves_nothing_in_the_store() {
    let (alice, bob) = (Account::generate().unwrap(), Account::generate().unwrap());
    let (of_alice, of_bob) = (*alice.identity(), bob.bundle());
    let initiator = SignalLayer::initiate(alice, &of_bob, Agree::Pqxdh, Limits::default()).unwrap();
    let responder = SignalLayer::respond(bob, of_alice, Limits::default());
    let key = || AesLayer::new(AesKey::copy_from(&[1; 32]).unwrap());
    let builder = CascadingCipherManager::builder().layer(key()).layer(initiator);
    let wire = builder.build().unwrap().encrypt("first").unwrap();
    let store = Arc::new(Mutex::new(MemoryStore::new()));
    let builder = CascadingCipherManager::builder().layer(key()).layer(responder);
    let mut bob = builder.create(Arc::clone(&store), "pair").unwrap();
    store.lock().unwrap().fail_after(0, Failure::Full);
    bob.receive_all([&wire]).unwrap_err();
    bob.remove_layer(1).unwrap();
    let left = Scope::new("cascade").child("pair").child("layer").indexed(1);
    assert!(left.of(&store).list(b"").unwrap().is_empty());
    assert_eq!(bob.inbox().unwrap().len(), 1, "what was opened is not lost");
    bob.erase().unwrap();
    assert!(store.lock().unwrap().is_empty());
}

#[test]
fn every_flip_is_refused_and_costs_nothing() {
    let (mut alice, mut bob) = pair();
    let hello = alice.encrypt("hello").unwrap();
    bob.decrypt(&hello).unwrap();
    let wire = bob.encrypt("text").unwrap();
    for bit in 0..wire.len() * 8 {
        let mut flipped = wire.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(alice.decrypt(&flipped).is_err(), "bit {bit}");
    }
    assert_eq!(alice.decrypt(&wire).unwrap(), "text");
}

#[test]
fn somebody_else_with_the_aes_keys_reads_nothing() {
    let (mut alice, mut bob) = pair();
    let (_, mut eve) = pair();
    let hello = alice.encrypt("hello").unwrap();
    assert!(eve.decrypt(&hello).is_err());
    assert_eq!(bob.decrypt(&hello).unwrap(), "hello");
}

#[test]
fn a_message_given_back_to_its_sender_is_refused() {
    let (mut alice, mut bob) = pair();
    let hello = alice.encrypt("hello").unwrap();
    assert!(alice.decrypt(&hello).unwrap_err().is_rejected());
    assert_eq!(bob.decrypt(&hello).unwrap(), "hello");
    let answer = bob.encrypt("answer").unwrap();
    assert!(bob.decrypt(&answer).unwrap_err().is_rejected());
    assert_eq!(alice.decrypt(&answer).unwrap(), "answer");
}

#[test]
fn a_group_refuses_what_is_given_back_to_its_sender() {
    let person = || {
        let signal = SignalLayer::group(Account::generate().unwrap());
        CascadingCipherManager::builder().layer(common::dh()).layer(signal).build().unwrap()
    };
    let (mut alice, mut bob) = (person(), person());
    let change = alice.add_members([bob.key_package().unwrap()]).unwrap();
    let welcome = alice.confirm(change.id()).unwrap().welcome.unwrap();
    bob.join(&welcome).unwrap();
    for text in ["first", "second"] {
        let wire = alice.encrypt(text).unwrap();
        assert!(alice.decrypt(&wire).is_err());
        assert_eq!(bob.decrypt(&wire).unwrap(), text);
    }
    let leave = alice.leave().unwrap();
    assert!(alice.process(&leave).is_err());
    bob.process(&leave).unwrap();
}
