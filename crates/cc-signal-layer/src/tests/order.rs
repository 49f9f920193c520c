//! Which of several sessions sends, with a network that holds messages back.

use alloc::vec::Vec;

use super::{AD, Party, acquainted, strangers};
use crate::{Limits, Sessions, sessions::PATIENCE};

/// Alice begins a session that Bob does not hear of, and says so much in it.
fn held_back(alice: &mut Party, bob: &mut Party, messages: usize) -> Vec<Vec<u8>> {
    alice.begin(bob);
    (0..messages).map(|_| alice.encrypt(b"held back")).collect()
}

#[test]
fn a_held_back_initial_message_makes_no_old_session_active() {
    let (mut alice, mut bob) = strangers();
    let old = held_back(&mut alice, &mut bob, 10);
    let mut thief = alice.stolen();
    alice.begin(&mut bob);
    let new = alice.active_id();
    let hello = alice.encrypt(b"hello");
    bob.decrypt(&hello).unwrap();
    for message in &old {
        assert_eq!(bob.decrypt(message).unwrap(), b"held back", "it is received");
        assert_eq!(bob.active_id(), new, "and that is all");
        bob.restart();
    }
    let private = bob.encrypt(b"private");
    assert!(thief.decrypt(&private).is_err());
    assert_eq!(alice.decrypt(&private).unwrap(), b"private");
}

/// The peer has lost the session that is active, or begins anew to heal: no message of an old one goes back.
#[test]
fn beginning_anew_leaves_what_was_there_for_receiving_only() {
    let (mut alice, mut bob) = acquainted();
    let old: Vec<_> = (0..10).map(|_| bob.encrypt(b"old")).collect();
    let mut thief = bob.stolen();
    alice.begin(&mut bob);
    let new = alice.active_id();
    for message in &old {
        assert_eq!(alice.decrypt(message).unwrap(), b"old");
        assert_eq!(alice.active_id(), new);
        alice.restart();
    }
    let hello = alice.encrypt(b"in the new session");
    assert!(thief.decrypt(&hello).is_err(), "the prekey was not in what the thief has");
    assert_eq!(bob.decrypt(&hello).unwrap(), b"in the new session");
    assert_eq!(bob.active_id(), new);
}

#[test]
fn a_held_back_session_does_not_replace_one_of_the_other_side() {
    let (mut alice, mut bob) = strangers();
    let old = held_back(&mut alice, &mut bob, usize::from(PATIENCE) + 2);
    bob.begin(&mut alice);
    let hello = bob.encrypt(b"hello");
    alice.decrypt(&hello).unwrap();
    let answer = alice.encrypt(b"answer");
    bob.decrypt(&answer).unwrap();
    let active = bob.active_id();
    for message in &old {
        bob.decrypt(message).unwrap();
        assert_eq!(bob.active_id(), active);
    }
}

#[test]
fn a_wrong_clock_does_not_stop_the_next_session() {
    let (mut alice, mut bob) = acquainted();
    // Alice's clock is ahead, and then right again.
    let bundle = bob.account.bundle();
    let far = 1 << 60;
    alice.sessions.begin_at(&alice.account, &bundle, crate::Agree::Pqxdh, far).unwrap();
    for _ in 0..2 {
        let hello = alice.encrypt(b"hello");
        bob.decrypt(&hello).unwrap();
        assert_eq!(alice.active_id(), bob.active_id());
        alice.begin(&mut bob);
        assert!(alice.sessions.active().unwrap().number() > far);
    }
    // So does Bob, who has only heard of it; and a peer that claims the end of time.
    bob.begin(&mut alice);
    assert!(bob.sessions.active().unwrap().number() > far);
    alice.sessions.begin_at(&alice.account, &bundle, crate::Agree::Pqxdh, u64::MAX).unwrap();
    let hello = alice.encrypt(b"hello");
    bob.decrypt(&hello).unwrap();
    bob.begin(&mut alice);
    let hello = bob.encrypt(b"hello");
    alice.decrypt(&hello).unwrap();
}

/// One member of a circle of peers fills its own share of the record of initial messages, not all of it.
#[test]
fn a_peer_that_begins_without_end_keeps_nobody_out() {
    let (mut eve, mut bob) = strangers();
    let bundle = bob.account.bundle();
    let mut kept = Vec::new();
    for n in 0..200 {
        eve.sessions.begin(&eve.account, &bundle, crate::Agree::Pqxdh).unwrap();
        let hello = eve.encrypt(b"hello");
        bob.decrypt(&hello).unwrap();
        if n % 20 == 0 {
            kept.push(hello);
        }
    }
    let (mut alice, _) = strangers();
    alice.sessions = Sessions::new(*bob.account.identity(), Limits::default());
    alice.sessions.begin(&alice.account, &bundle, crate::Agree::Pqxdh).unwrap();
    let hello = alice.encrypt(b"hello");
    let mut to_alice = Sessions::new(*alice.account.identity(), Limits::default());
    to_alice.decrypt(&mut bob.account, AD, &hello).unwrap();
    // None of Eve's opens again, in the record or not, and not after a restart.
    for _ in 0..2 {
        let mut forgotten = Sessions::new(*eve.account.identity(), Limits::default());
        for hello in &kept {
            assert!(forgotten.decrypt(&mut bob.account, AD, hello).is_err());
        }
        bob.restart();
    }
}
