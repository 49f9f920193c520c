//! Messages that never arrive: however many there are, a conversation goes on, and late ones open as
//! long as the limits say.

use alloc::vec::Vec;

use proptest::prelude::*;

use super::{AD, session_pair};
use crate::{Error, Limits, Session, message_key::tests::forget};

fn lose(session: &mut Session, count: u32) -> Vec<Vec<u8>> {
    (0..count).map(|_| session.encrypt(AD, b"lost").unwrap()).collect()
}

/// One message each way.
fn exchange(a: &mut Session, b: &mut Session) {
    for _ in 0..2 {
        let message = a.encrypt(AD, b"ping").unwrap();
        assert_eq!(b.decrypt(AD, &message).unwrap(), b"ping");
        let message = b.encrypt(AD, b"pong").unwrap();
        assert_eq!(a.decrypt(AD, &message).unwrap(), b"pong");
    }
}

#[test]
fn the_rest_of_a_chain_may_be_lost_and_the_next_one_opens() {
    let limits = Limits::default().with_skipped_lifetime(Limits::SKIPPED_LIFETIME_CAP);
    let (mut alice, mut bob) = session_pair(limits);
    let first = alice.encrypt(AD, b"first").unwrap();
    bob.decrypt(AD, &first).unwrap();
    let lost = lose(&mut alice, 3000);
    // Within the chain it is too far, and nothing has changed.
    let far = alice.encrypt(AD, b"far").unwrap();
    let before = bob.export();
    assert_eq!(bob.decrypt(AD, &far), Err(Error::TooFarAhead));
    assert_eq!(bob.export(), before);
    // Bob speaks, Alice answers in a new chain: that opens.
    let message = bob.encrypt(AD, b"are you there?").unwrap();
    alice.decrypt(AD, &message).unwrap();
    let next = alice.encrypt(AD, b"yes").unwrap();
    assert_eq!(bob.decrypt(AD, &next).unwrap(), b"yes");
    // Of the old chain what the limit allows, and no more.
    assert_eq!(bob.ratchet_mut().skipped_len(), 1000);
    for n in [0, 500, 999] {
        assert_eq!(bob.decrypt(AD, &lost[n]).unwrap(), b"lost");
    }
    for message in [&lost[1000], &lost[2999], &far] {
        assert_eq!(bob.decrypt(AD, message), Err(Error::Expired));
    }
    exchange(&mut alice, &mut bob);
}

#[test]
fn a_chain_of_which_nothing_arrived_is_reached_from_far() {
    let (mut alice, mut bob) = session_pair(Limits::default());
    let lost = lose(&mut alice, 5000);
    let message = alice.encrypt(AD, b"at last").unwrap();
    assert_eq!(bob.decrypt(AD, &message).unwrap(), b"at last");
    assert_eq!(bob.ratchet_mut().skipped_len(), 1000);
    assert_eq!(bob.decrypt(AD, &lost[3999]), Err(Error::Expired));
    for n in [4000, 4999] {
        assert_eq!(bob.decrypt(AD, &lost[n]).unwrap(), b"lost");
    }
    exchange(&mut alice, &mut bob);
}

#[test]
fn skipped_keys_expire_after_later_messages() {
    let limits = Limits::default().with_skipped_lifetime(20);
    let (mut alice, mut bob) = session_pair(limits);
    let missing = lose(&mut alice, 2);
    let message = alice.encrypt(AD, b"seen").unwrap();
    bob.decrypt(AD, &message).unwrap();
    for _ in 0..6 {
        exchange(&mut alice, &mut bob);
    }
    // 15 keys were derived since those of the missing two.
    let message = lose(&mut alice, 4).pop().unwrap();
    bob.decrypt(AD, &message).unwrap();
    // A thief has what was there before, and nothing that has expired.
    let mut thief = Session::load(bob.export().expose(), limits).unwrap();
    assert!(thief.decrypt(AD, &missing[1]).is_ok());
    for _ in 0..3 {
        let message = alice.encrypt(AD, b"seen").unwrap();
        bob.decrypt(AD, &message).unwrap();
    }
    let mut thief = Session::load(bob.export().expose(), limits).unwrap();
    for session in [&mut bob, &mut thief] {
        for message in &missing {
            assert!(session.decrypt(AD, message).is_err());
        }
    }
    // And so they do after so many chains.
    let (mut alice, mut bob) = session_pair(Limits::default());
    let missing = lose(&mut alice, 1).pop().unwrap();
    for _ in 0..Limits::MAX_CHAINS / 2 {
        exchange(&mut alice, &mut bob);
    }
    let mut early = Session::load(bob.export().expose(), limits).unwrap();
    assert!(early.decrypt(AD, &missing).is_err(), "the limits of the loaded session");
    let mut early = Session::load(bob.export().expose(), Limits::default()).unwrap();
    assert!(early.decrypt(AD, &missing).is_ok());
    exchange(&mut alice, &mut bob);
    assert!(bob.decrypt(AD, &missing).is_err());
}

/// In a chain that goes on, for nobody answers.
#[test]
fn skipped_keys_of_the_present_chain_expire() {
    let limits = Limits::default().with_skipped_lifetime(20);
    let (mut alice, mut bob) = session_pair(limits);
    let missing = lose(&mut alice, 2);
    let mut read = |bob: &mut Session, count| {
        for _ in 0..count {
            let message = alice.encrypt(AD, b"seen").unwrap();
            bob.decrypt(AD, &message).unwrap();
        }
    };
    let copy = |session: &Session| Session::load(session.export().expose(), limits).unwrap();
    read(&mut bob, 18);
    assert!(missing.iter().all(|message| copy(&bob).decrypt(AD, message).is_ok()));
    read(&mut bob, 1);
    assert_eq!(copy(&bob).decrypt(AD, &missing[0]), Err(Error::Expired));
    assert!(copy(&bob).decrypt(AD, &missing[1]).is_ok());
    read(&mut bob, 1);
    assert_eq!(bob.ratchet_mut().skipped_len(), 0);
    assert_eq!(bob.decrypt(AD, &missing[1]), Err(Error::Expired));
}

#[test]
fn own_messages_and_duplicates_are_known_across_chains() {
    let (mut alice, mut bob) = session_pair(Limits::default());
    let mut from_alice = Vec::new();
    for round in 0..6 {
        let message = alice.encrypt(AD, b"a").unwrap();
        assert_eq!(alice.decrypt(AD, &message), Err(Error::Own), "{round}");
        bob.decrypt(AD, &message).unwrap();
        from_alice.push(message);
        let answer = bob.encrypt(AD, b"b").unwrap();
        alice.decrypt(AD, &answer).unwrap();
        assert_eq!(bob.decrypt(AD, &answer), Err(Error::Own));
        assert_eq!(alice.decrypt(AD, &answer), Err(Error::Duplicate));
        // Alice's chain has ended with Bob's answer.
        assert_eq!(alice.decrypt(AD, from_alice.last().unwrap()), Err(Error::Own));
        let limits = Limits::default();
        for session in [&mut alice, &mut bob] {
            *session = Session::load(session.export().expose(), limits).unwrap();
        }
        for (age, message) in from_alice.iter().rev().enumerate() {
            let known = if age <= 4 { Error::Duplicate } else { Error::Undecryptable };
            assert_eq!(bob.decrypt(AD, message), Err(known), "{round}");
        }
    }
    // Of a message that does not prove where it is from, nothing is told.
    for index in 1..crate::ratchet::PREFIX_LEN {
        let mut forged = from_alice[0].clone();
        forged[index] ^= 1;
        assert_eq!(bob.decrypt(AD, &forged), Err(Error::Undecryptable));
    }
}

/// Mostly few, or about as many as may be missing; now and then far more.
fn lost() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 0..60_u32, 2 => 980..1020_u32, 1 => 0..4000_u32]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Whatever is lost, and however much, each side's next message after the other has spoken opens, and
    /// what a session keeps is bounded.
    #[test]
    fn a_conversation_survives_any_loss(
        rounds in prop::collection::vec((lost(), any::<bool>(), lost()), 1..4),
    ) {
        forget();
        let (mut alice, mut bob) = session_pair(Limits::default());
        for (before, seen, after) in rounds {
            for turn in 0..2 {
                let (sender, reader) =
                    if turn == 0 { (&mut alice, &mut bob) } else { (&mut bob, &mut alice) };
                lose(sender, before);
                if seen {
                    let message = sender.encrypt(AD, b"seen").unwrap();
                    prop_assert_eq!(reader.decrypt(AD, &message).unwrap(), b"seen");
                    lose(sender, after);
                }
                let message = sender.encrypt(AD, b"last").unwrap();
                match reader.decrypt(AD, &message) {
                    Ok(text) => prop_assert_eq!(text, b"last"),
                    Err(error) => {
                        prop_assert!(seen && after > 1000);
                        prop_assert_eq!(error, Error::TooFarAhead);
                    }
                }
                prop_assert!(reader.ratchet_mut().skipped_len() <= 2000);
            }
        }
        exchange(&mut alice, &mut bob);
    }
}
