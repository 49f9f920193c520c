//! Both sides begin at once, or begin anew.

use super::{Party, acquainted, strangers};
use crate::{Limits, Sessions};

/// One message each way, the second after the first has arrived.
fn exchange(alice: &mut Party, bob: &mut Party) {
    let message = alice.encrypt(b"ping");
    assert_eq!(bob.decrypt(&message).unwrap(), b"ping");
    let message = bob.encrypt(b"pong");
    assert_eq!(alice.decrypt(&message).unwrap(), b"pong");
}

#[test]
fn both_begin_and_nothing_is_lost() {
    // The newer one is Alice's in half of the runs.
    for run in 0..8 {
        let (mut alice, mut bob) = strangers();
        if run % 2 == 0 {
            alice.begin(&mut bob);
            bob.begin(&mut alice);
        } else {
            bob.begin(&mut alice);
            alice.begin(&mut bob);
        }
        let from_alice = [alice.encrypt(b"a0"), alice.encrypt(b"a1")];
        let from_bob = [bob.encrypt(b"b0"), bob.encrypt(b"b1")];
        assert_eq!(bob.decrypt(&from_alice[1]).unwrap(), b"a1");
        assert_eq!(alice.decrypt(&from_bob[0]).unwrap(), b"b0");
        // Both know both sessions, and prefer the same one at once.
        assert_eq!(alice.active_id(), bob.active_id());
        assert_eq!(bob.decrypt(&from_alice[0]).unwrap(), b"a0");
        assert_eq!(alice.decrypt(&from_bob[1]).unwrap(), b"b1");
        assert_eq!(alice.active_id(), bob.active_id());
        exchange(&mut alice, &mut bob);
        assert!(alice.sessions.active().unwrap().is_acknowledged());
        assert!(bob.sessions.active().unwrap().is_acknowledged());
    }
}

#[test]
fn crossing_messages_do_not_swap_sessions_for_ever() {
    for _ in 0..8 {
        let (mut alice, mut bob) = strangers();
        alice.begin(&mut bob);
        bob.begin(&mut alice);
        let mut last = None;
        for round in 0..6 {
            let (a, b) = (alice.encrypt(b"from alice"), bob.encrypt(b"from bob"));
            assert_eq!(bob.decrypt(&a).unwrap(), b"from alice");
            assert_eq!(alice.decrypt(&b).unwrap(), b"from bob");
            assert_eq!(alice.active_id(), bob.active_id(), "round {round}");
            assert!(last.is_none_or(|last| last == alice.active_id()));
            last = Some(alice.active_id());
        }
    }
}

#[test]
fn a_delayed_beginning_converges() {
    for _ in 0..8 {
        let (mut alice, mut bob) = strangers();
        alice.begin(&mut bob);
        bob.begin(&mut alice);
        let delayed = bob.encrypt(b"delayed");
        let hello = alice.encrypt(b"hello");
        bob.decrypt(&hello).unwrap();
        let answer = bob.encrypt(b"answer");
        alice.decrypt(&answer).unwrap();
        alice.decrypt(&delayed).unwrap();
        for _ in 0..3 {
            let (a, b) = (alice.encrypt(b"from alice"), bob.encrypt(b"from bob"));
            bob.decrypt(&a).unwrap();
            alice.decrypt(&b).unwrap();
        }
        assert_eq!(alice.active_id(), bob.active_id());
        exchange(&mut alice, &mut bob);
        assert_eq!(alice.active_id(), bob.active_id());
    }
}

#[test]
fn a_peer_that_lost_its_sessions_is_followed() {
    for _ in 0..8 {
        let (mut alice, mut bob) = acquainted();
        let late = bob.encrypt(b"late");
        bob.sessions = Sessions::new(*alice.account.identity(), Limits::default());
        bob.begin(&mut alice);
        let hello = bob.encrypt(b"me again");
        assert_eq!(alice.decrypt(&hello).unwrap(), b"me again");
        exchange(&mut alice, &mut bob);
        // What is late from the old session opens, and at the latest a few messages later
        // Alice is back in the session that Bob has.
        assert_eq!(alice.decrypt(&late).unwrap(), b"late");
        for _ in 0..crate::sessions::PATIENCE {
            let message = bob.encrypt(b"here");
            alice.decrypt(&message).unwrap();
        }
        exchange(&mut alice, &mut bob);
    }
}

#[test]
fn a_beginning_that_never_arrives_is_given_up() {
    for _ in 0..8 {
        let (mut alice, mut bob) = strangers();
        // Alice's session is the newer one.
        bob.begin(&mut alice);
        alice.begin(&mut bob);
        // Bob can no longer accept Alice's session.
        bob.account.rotate_prekeys().unwrap();
        bob.account.rotate_prekeys().unwrap();
        let hello = alice.encrypt(b"hello");
        assert!(bob.decrypt(&hello).is_err());
        for _ in 0..=crate::sessions::PATIENCE {
            let message = bob.encrypt(b"anybody there?");
            alice.decrypt(&message).unwrap();
        }
        exchange(&mut alice, &mut bob);
        assert_eq!(alice.active_id(), bob.active_id());
    }
}

#[test]
fn the_newer_of_our_own_sessions_is_kept() {
    let (mut alice, mut bob) = acquainted();
    let old = alice.active_id();
    alice.begin(&mut bob);
    let new = alice.active_id();
    assert_ne!(old, new);
    let crossing = bob.encrypt(b"in the old session");
    alice.decrypt(&crossing).unwrap();
    assert_eq!(alice.active_id(), new);
    exchange(&mut alice, &mut bob);
    assert_eq!(bob.active_id(), new);
}

#[test]
fn the_number_of_sessions_is_bounded() {
    let (mut alice, mut bob) = strangers();
    alice.sessions = Sessions::new(*bob.account.identity(), Limits::default().with_max_sessions(3));
    bob.account.replenish(20).unwrap();
    let mut last = None;
    for _ in 0..20 {
        alice.begin(&mut bob);
        last = Some(alice.encrypt(b"hello"));
        bob.decrypt(last.as_ref().unwrap()).unwrap();
    }
    assert_eq!(alice.sessions.len(), 3);
    assert_eq!(bob.sessions.len(), Limits::default().max_sessions());
    assert_eq!(alice.active_id(), bob.active_id());
    assert!(last.is_some());
    exchange(&mut alice, &mut bob);
}
