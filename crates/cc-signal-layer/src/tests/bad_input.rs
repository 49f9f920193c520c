//! Everything an attacker can send, and everything a peer can lie about.

use super::{AD, acquainted, session_pair, strangers};
use alloc::vec::Vec;

use crate::{Error, Limits, Session, message_key::tests::forget, ratchet::Ratchet};

/// `message` does not open, and nothing changes.
fn refused(session: &mut Session, ad: &[u8], message: &[u8]) {
    refused_as(session, ad, message, Error::Undecryptable);
}

fn refused_as(session: &mut Session, ad: &[u8], message: &[u8], error: Error) {
    let before = session.export();
    let mut buffer = message.to_vec();
    assert_eq!(session.open_in_place(ad, &mut buffer).unwrap_err(), error);
    assert!(is_message_or_zeros(&buffer, message), "something was decrypted");
    assert_eq!(session.decrypt(ad, message), Err(error));
    assert_eq!(session.export(), before);
}

/// Whether every byte is what it was, or overwritten.
pub(super) fn is_message_or_zeros(buffer: &[u8], message: &[u8]) -> bool {
    buffer.len() == message.len()
        && buffer.iter().zip(message).all(|(now, before)| now == before || *now == 0)
}

#[test]
fn every_flipped_bit_and_every_truncation() {
    let (mut alice, mut bob) = session_pair(Limits::default());
    // One message of the current chain, one that needs a ratchet step, one that was skipped.
    let skipped = alice.encrypt(AD, b"skipped").unwrap();
    let step = alice.encrypt(AD, b"step").unwrap();
    for message in [&step, &skipped] {
        for bit in 0..message.len() * 8 {
            let mut flipped = message.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            refused(&mut bob, AD, &flipped);
        }
        for len in 0..message.len() {
            refused(&mut bob, AD, &message[..len]);
        }
        let mut longer = message.clone();
        longer.push(0);
        refused(&mut bob, AD, &longer);
        refused(&mut bob, b"other data", message);
        assert!(bob.decrypt(AD, message).is_ok(), "the good one still opens");
        refused_as(&mut bob, AD, message, Error::Duplicate);
    }
    let current = alice.encrypt(AD, b"").unwrap();
    assert_eq!(current.len(), Session::OVERHEAD);
    for bit in 0..current.len() * 8 {
        let mut flipped = current.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        refused(&mut bob, AD, &flipped);
    }
    assert_eq!(bob.decrypt(AD, &current).unwrap(), b"");
}

#[test]
fn every_flipped_byte_of_an_initial_message() {
    let (mut alice, mut bob) = strangers();
    alice.begin(&mut bob);
    let hello = alice.encrypt(b"hello");
    let before = bob.snapshot();
    for index in 0..hello.len() {
        let mut flipped = hello.clone();
        flipped[index] ^= 1 << (index % 8);
        assert_eq!(bob.decrypt(&flipped), Err(Error::Undecryptable), "byte {index}");
    }
    for len in (0..hello.len()).step_by(13) {
        assert_eq!(bob.decrypt(&hello[..len]), Err(Error::Undecryptable));
    }
    assert_eq!(bob.snapshot(), before);
    assert_eq!(bob.decrypt(&hello).unwrap(), b"hello");

    // The handshake of an acknowledged session is not accepted in front of another message.
    let message = {
        let answer = bob.encrypt(b"answer");
        alice.decrypt(&answer).unwrap();
        alice.encrypt(b"plain")
    };
    let (handshake, _) = crate::initial_message::split(&hello).unwrap();
    let mut other = handshake.to_vec();
    other[5] ^= 1;
    other.extend_from_slice(&message);
    assert!(bob.decrypt(&other).is_err());
    assert!(bob.decrypt(&message).is_ok());
}

#[test]
fn low_order_ephemeral_keys() {
    let (mut alice, mut bob) = strangers();
    alice.begin(&mut bob);
    let mut hello = alice.encrypt(b"hello");
    hello[129..161].fill(0);
    assert_eq!(bob.decrypt(&hello), Err(Error::Undecryptable));
}

#[test]
fn a_foreign_session() {
    let (mut alice, _) = session_pair(Limits::default());
    let (mut other, mut bob) = session_pair(Limits::default());
    let foreign = alice.encrypt(AD, b"for somebody else").unwrap();
    refused(&mut bob, AD, &foreign);
    let own = other.encrypt(AD, b"own").unwrap();
    refused_as(&mut other, AD, &own, Error::Own);
    assert!(bob.decrypt(AD, &own).is_ok());
}

/// A message from a copy of `session` that was tampered with.
fn lie(session: &Session, tamper: impl FnOnce(&mut Ratchet)) -> Result<Vec<u8>, Error> {
    let mut copy = Session::load(session.export().expose(), Limits::default()).unwrap();
    // The sending half of a ratchet step that is due resets the number, so take it first.
    copy.encrypt(AD, b"").unwrap();
    tamper(copy.ratchet_mut());
    let message = copy.encrypt(AD, b"lie");
    // The copy has used keys that the session will use in earnest.
    forget();
    message
}

#[test]
fn a_gap_of_2_to_the_32() {
    for number in [u32::MAX, u32::MAX - 1, 1 << 31, 10_001] {
        let far = |session: &Session| lie(session, |ratchet| ratchet.set_sending_number(number));
        let (mut alice, mut bob) = session_pair(Limits::default());
        for text in [b"with a ratchet step", b"within the chain   "] {
            match far(&alice) {
                Ok(message) => refused_as(&mut bob, AD, &message, Error::TooFarAhead),
                Err(error) => assert_eq!((error, number), (Error::ChainExhausted, u32::MAX)),
            }
            let good = alice.encrypt(AD, text).unwrap();
            assert_eq!(bob.decrypt(AD, &good).unwrap(), text);
        }
    }
}

#[test]
fn a_lie_about_the_chain_before() {
    let (mut alice, mut bob) = session_pair(Limits::default());
    for n in 0..2 {
        let message = alice.encrypt(AD, &[n]).unwrap();
        bob.decrypt(AD, &message).unwrap();
    }
    let answer = bob.encrypt(AD, b"answer").unwrap();
    alice.decrypt(AD, &answer).unwrap();
    // Two messages have arrived: fewer there cannot have been.
    for previous in [0, 1] {
        let message = lie(&alice, |ratchet| ratchet.set_previous(previous)).unwrap();
        refused(&mut bob, AD, &message);
    }
    let good = alice.encrypt(AD, b"good").unwrap();
    assert_eq!(bob.decrypt(AD, &good).unwrap(), b"good");
}

#[test]
fn the_window_is_what_the_limits_say() {
    let limits = Limits::default().with_max_skip(10).with_max_skipped(15);
    let (mut alice, mut bob) = session_pair(limits);
    let messages: Vec<_> = (0..40).map(|n| alice.encrypt(AD, &[n]).unwrap()).collect();
    assert_eq!(bob.decrypt(AD, &messages[10]).unwrap(), [10]);
    assert_eq!(bob.ratchet_mut().skipped_len(), 10);
    refused_as(&mut bob, AD, &messages[22], Error::TooFarAhead);
    assert_eq!(bob.decrypt(AD, &messages[21]).unwrap(), [21]);
    assert_eq!(bob.ratchet_mut().skipped_len(), 15);
    // 0 to 4 are the oldest of the 20 missing ones, and were dropped.
    refused_as(&mut bob, AD, &messages[4], Error::Expired);
    for n in (5..10).chain(11..21) {
        assert_eq!(bob.decrypt(AD, &messages[usize::from(n)]).unwrap(), [n]);
    }
    assert_eq!(bob.ratchet_mut().skipped_len(), 0);

    // Loading with smaller limits drops the oldest as well.
    assert!(bob.decrypt(AD, &messages[30]).is_ok());
    let small = limits.with_max_skipped(2);
    let mut bob = Session::load(bob.export().expose(), small).unwrap();
    refused_as(&mut bob, AD, &messages[25], Error::Expired);
    assert!(bob.decrypt(AD, &messages[29]).is_ok());
}

#[test]
fn skipped_keys_of_many_chains_are_found_and_bounded() {
    let limits = Limits::default().with_max_skipped(20);
    let (mut alice, mut bob) = session_pair(limits);
    let mut lost = Vec::new();
    for n in 0..30 {
        lost.push(alice.encrypt(AD, &[n]).unwrap());
        let message = alice.encrypt(AD, b"seen").unwrap();
        bob.decrypt(AD, &message).unwrap();
        let answer = bob.encrypt(AD, b"answer").unwrap();
        alice.decrypt(AD, &answer).unwrap();
    }
    for message in &lost[..10] {
        refused_as(&mut bob, AD, message, Error::Undecryptable);
    }
    for (n, message) in lost.iter().enumerate().skip(10) {
        assert_eq!(usize::from(bob.decrypt(AD, message).unwrap()[0]), n);
        let gone = if n < 25 { Error::Undecryptable } else { Error::Duplicate };
        refused_as(&mut bob, AD, message, gone);
    }
}

#[test]
fn a_stale_change_is_refused() {
    let (mut alice, mut bob) = session_pair(Limits::default());
    let message = alice.encrypt(AD, b"text").unwrap();
    let (_, first) = bob.open(AD, &message).unwrap();
    let (_, second) = bob.open(AD, &message).unwrap();
    bob.apply(first).unwrap();
    let before = bob.export();
    assert_eq!(bob.apply(second), Err(Error::Stale));
    assert_eq!(bob.export(), before);

    // Sending in between makes it stale as well, and the message opens again afterwards.
    let message = alice.encrypt(AD, b"more").unwrap();
    let (_, staged) = bob.open(AD, &message).unwrap();
    bob.encrypt(AD, b"meanwhile").unwrap();
    assert_eq!(bob.apply(staged), Err(Error::Stale));
    assert_eq!(bob.decrypt(AD, &message).unwrap(), b"more");

    // And so does another session.
    let (mut other, theirs) = session_pair(Limits::default());
    let message = other.encrypt(AD, b"text").unwrap();
    let (_, staged) = theirs.open(AD, &message).unwrap();
    assert_eq!(bob.apply(staged), Err(Error::Stale));
}

#[test]
fn a_dropped_change_loses_nothing() {
    let (mut alice, mut bob) = acquainted();
    let message = alice.encrypt(b"text");
    let before = bob.snapshot();
    drop(bob.sessions.open(&bob.account, AD, &message).unwrap());
    assert_eq!(bob.snapshot(), before);
    assert_eq!(bob.decrypt(&message).unwrap(), b"text");
}

#[test]
fn in_place_and_copying_give_the_same() {
    let (mut alice, mut bob) = session_pair(Limits::default());
    let mut body = *b"in place";
    let framing = alice.encrypt_in_place(AD, &mut body).unwrap();
    let mut message = framing.head;
    message.extend_from_slice(&body);
    message.extend_from_slice(&framing.tag);
    let (range, staged) = bob.open_in_place(AD, &mut message).unwrap();
    assert_eq!(&message[range], b"in place");
    bob.apply(staged).unwrap();
}
