//! Forward secrecy and post-compromise security.

use super::acquainted;

/// What holds secrets here is a `Secret`, `SecretBytes` or `Zeroizing`, or one of these of a library, which
/// overwrite theirs only with the right features.
#[test]
fn libraries_overwrite_what_they_drop() {
    fn on_drop<T: zeroize::ZeroizeOnDrop>() {}
    // HMAC is made of these, and has no mark of its own.
    on_drop::<sha2::Sha256>();
}

/// What is sent from a copy that was put back is sealed under another key than what was sent before, and
/// tells nothing of it, although the message keys repeat.
#[test]
fn a_copy_that_was_put_back_repeats_no_key_and_nonce() {
    let (mut alice, mut bob) = acquainted();
    let message = alice.encrypt(b"so that there is a chain");
    bob.decrypt(&message).unwrap();
    let copies = [alice.stolen(), alice.stolen(), alice];
    cc_core::key_use::start();
    let mut sent = alloc::vec::Vec::new();
    for mut copy in copies {
        for _ in 0..3 {
            sent.push(copy.encrypt(b"the same text"));
        }
        // They do repeat, which the collector of message keys refuses.
        crate::message_key::tests::forget();
    }
    let uses = cc_core::key_use::take();
    assert_eq!(uses.len(), 2 * sent.len(), "a header and a text each");
    let different: std::collections::HashSet<_> = uses.iter().collect();
    assert_eq!(different.len(), uses.len());
    let texts: std::collections::HashSet<_> =
        sent.iter().map(|message| &message[crate::ratchet::PREFIX_LEN..]).collect();
    assert_eq!(texts.len(), sent.len());
    // All of one number are good messages; the first one that arrives is the one that counts.
    bob.decrypt(&sent[3]).unwrap();
    assert_eq!(bob.decrypt(&sent[0]), Err(crate::Error::Duplicate));
}

#[test]
fn stolen_state_opens_nothing_from_before() {
    let (mut alice, mut bob) = acquainted();
    let mut old = alloc::vec::Vec::new();
    for _ in 0..3 {
        let message = alice.encrypt(b"to bob");
        bob.decrypt(&message).unwrap();
        old.push(message);
        let message = bob.encrypt(b"to alice");
        alice.decrypt(&message).unwrap();
        old.push(message);
    }
    for message in &old {
        // Neither side's copy opens what either side has sent.
        assert!(alice.stolen().decrypt(message).is_err());
        assert!(bob.stolen().decrypt(message).is_err());
    }
}

#[test]
fn stolen_state_opens_nothing_after_the_next_round_trip() {
    let (mut alice, mut bob) = acquainted();
    let at_rest = alice.encrypt(b"so that both have a chain");
    bob.decrypt(&at_rest).unwrap();

    let mut thief = bob.stolen();
    // What is sent in the chains of that time the thief reads: the test can fail.
    let message = alice.encrypt(b"in the old chain");
    assert_eq!(thief.decrypt(&message).unwrap(), b"in the old chain");
    bob.decrypt(&message).unwrap();

    // One full round trip: Bob's new key, and an answer to it. The thief does all that Bob does, with a key of its
    // own.
    let message = bob.encrypt(b"bob heals");
    thief.encrypt(b"thief follows");
    alice.decrypt(&message).unwrap();
    let message = alice.encrypt(b"alice answers");
    assert!(thief.decrypt(&message).is_err());
    bob.decrypt(&message).unwrap();
    let message = bob.encrypt(b"and so on");
    assert!(thief.decrypt(&message).is_err());
    alice.decrypt(&message).unwrap();

    // A copy of Alice's state is as useless against what Alice is sent.
    let mut thief = alice.stolen();
    thief.encrypt(b"thief follows");
    for _ in 0..2 {
        let message = alice.encrypt(b"round");
        bob.decrypt(&message).unwrap();
        let message = bob.encrypt(b"trip");
        alice.decrypt(&message).unwrap();
    }
    let message = bob.encrypt(b"private again");
    assert!(thief.decrypt(&message).is_err());
    assert!(alice.decrypt(&message).is_ok());
}

#[test]
fn an_initial_message_stays_closed_once_its_one_time_keys_are_gone() {
    let (mut alice, mut bob) = super::strangers();
    alice.begin(&mut bob);
    let hello = alice.encrypt(b"hello");
    let mut early = bob.stolen();
    bob.decrypt(&hello).unwrap();
    assert!(early.decrypt(&hello).is_ok());
    let thief = bob.stolen();
    // Without the session, from the account alone.
    assert!(thief.account.open_initial(super::AD, &hello, crate::Limits::default()).is_err());
}
