//! X3DH and PQXDH, prekeys, and the replay of initial messages.

use alloc::vec::Vec;

use super::{AD, acquainted, strangers};
use crate::{
    Account, Agree, Bundle, Error, IdentityKeyPair, Limits, Role, Sessions, claimed_sender,
    curve::KeyPair,
    entropy::{Fixed, System},
    pqxdh,
    x3dh::Agreement,
};

#[test]
fn x3dh_only_where_both_sides_ask_for_it() {
    let alice = Account::generate().unwrap();
    let mut bob = Account::generate().unwrap();
    let mut bundle = bob.bundle();
    bundle.kem_prekey = None;
    let bundle = Bundle::from_bytes(&bundle.to_bytes()).unwrap();
    assert_eq!(
        alice.begin(&bundle, Agree::Pqxdh, Limits::default()).unwrap_err(),
        Error::NoPostQuantumPrekey
    );
    let mut session = alice.begin(&bundle, Agree::X3dh, Limits::default()).unwrap();
    let message = session.encrypt(AD, b"classical").unwrap();
    assert!(
        bob.open_initial(AD, &message, Limits::default()).is_err(),
        "a downgrade is refused by default"
    );
    bob.accept_x3dh(true);
    let (text, staged) = bob.open_initial(AD, &message, Limits::default()).unwrap();
    assert_eq!(text, b"classical");
    let mut theirs = bob.apply(staged).unwrap();
    let answer = theirs.encrypt(AD, b"yes").unwrap();
    assert_eq!(session.decrypt(AD, &answer).unwrap(), b"yes");
    assert_eq!(theirs.role(), Role::Responder);
    assert_eq!(theirs.id(), session.id());
    assert_eq!(theirs.peer(), &alice.identity().keys());
    assert_eq!(session.peer(), &bob.identity().keys());
}

/// Every agreement goes into the key of a session, and the secret of ML-KEM with them: with another key in the place
/// of one of them, or without the one-time prekey, it is another.
#[test]
fn the_key_of_a_session_needs_every_secret() {
    let bundle = || {
        let mut account = Account::generate().unwrap();
        account.replenish(1).unwrap();
        account.one_time_bundles(1).pop().unwrap()
    };
    let (bob, other) = (bundle(), bundle());
    let [alice, eve] = [(); 2].map(|()| IdentityKeyPair::generate().unwrap());
    let [ephemeral, other_ephemeral] = [(); 2].map(|()| KeyPair::generate().unwrap());
    let agreement = |from: &IdentityKeyPair, ephemeral: &KeyPair, to: &Bundle| {
        Agreement::initiator(from, ephemeral, to).unwrap()
    };
    let key = |from, ephemeral, to: Bundle| agreement(from, ephemeral, &to).finish().unwrap();
    let prekey = |one_time_prekey| Bundle { one_time_prekey, ..bob.clone() };
    let signed_prekey = other.signed_prekey.clone();
    let keys = [
        key(&alice, &ephemeral, bob.clone()),
        key(&eve, &ephemeral, bob.clone()),
        key(&alice, &other_ephemeral, bob.clone()),
        key(&alice, &ephemeral, Bundle { identity: other.identity, ..bob.clone() }),
        key(&alice, &ephemeral, Bundle { signed_prekey, ..bob.clone() }),
        key(&alice, &ephemeral, prekey(other.one_time_prekey)),
        key(&alice, &ephemeral, prekey(None)),
    ];
    let different: std::collections::HashSet<_> = keys.iter().map(|key| *key.expose()).collect();
    assert_eq!(different.len(), keys.len());

    // All else being equal, ML-KEM makes another secret each time.
    let hybrid = || {
        let prekey = &bob.kem_prekey.as_ref().unwrap().key;
        pqxdh::initiator(agreement(&alice, &ephemeral, &bob), prekey, &mut System).unwrap().1
    };
    assert!(hybrid() != hybrid());
}

#[test]
fn x3dh_with_a_one_time_prekey() {
    let alice = Account::generate().unwrap();
    let mut bob = Account::generate().unwrap();
    bob.replenish(1).unwrap();
    bob.accept_x3dh(true);
    let bundle = bob.one_time_bundles(9).pop().unwrap();
    assert!(bundle.is_one_time() && bundle.is_post_quantum());
    let mut session = alice.begin(&bundle, Agree::X3dh, Limits::default()).unwrap();
    let message = session.encrypt(AD, b"text").unwrap();
    let (_, staged) = bob.open_initial(AD, &message, Limits::default()).unwrap();
    bob.apply(staged).unwrap();
    assert!(bob.open_initial(AD, &message, Limits::default()).is_err());
}

/// Whoever has two identities can begin with one ephemeral key twice. What is saved then loads again.
#[test]
fn two_peers_with_one_ephemeral_key_do_not_spoil_the_account() {
    let mut bob = Account::generate().unwrap();
    let (bundle, limits) = (bob.bundle(), Limits::default());
    let hellos = [(); 2].map(|()| {
        let eve = Account::generate().unwrap();
        let entropy = &mut Fixed::new(b"the same for both");
        let mut session = eve.begin_from(&bundle, Agree::Pqxdh, limits, 7, entropy).unwrap();
        session.encrypt(AD, b"hello").unwrap()
    });
    assert_eq!(hellos[0][129..161], hellos[1][129..161], "the ephemeral key");
    for hello in &hellos {
        let (_, staged) = bob.open_initial(AD, hello, limits).unwrap();
        bob.apply(staged).unwrap();
    }
    let bob = Account::load(bob.export().expose()).unwrap();
    for hello in &hellos {
        assert_eq!(bob.open_initial(AD, hello, limits).unwrap_err(), Error::Expired);
    }
}

#[test]
fn every_initial_message_is_accepted_once() {
    for one_time in [true, false] {
        let (mut alice, mut bob) = strangers();
        let bundle = if one_time {
            bob.account.one_time_bundles(1).pop().unwrap()
        } else {
            bob.account.bundle()
        };
        alice.sessions.begin(&alice.account, &bundle, Agree::Pqxdh).unwrap();
        let hello = alice.encrypt(b"hello");
        let second = alice.encrypt(b"second");
        bob.decrypt(&hello).unwrap();
        let before = bob.snapshot();
        assert_eq!(bob.decrypt(&hello), Err(Error::Duplicate));
        assert_eq!(bob.snapshot(), before);

        // Also when the session has been forgotten, after a restart, and after a rotation.
        bob.sessions = Sessions::new(*alice.account.identity(), Limits::default());
        assert!(bob.decrypt(&hello).is_err(), "one time: {one_time}");
        assert!(bob.decrypt(&second).is_err(), "one time: {one_time}");
        bob.restart();
        assert!(bob.decrypt(&hello).is_err());
        bob.account.rotate_prekeys().unwrap();
        assert!(bob.decrypt(&hello).is_err());
        bob.account.rotate_prekeys().unwrap();
        assert!(bob.decrypt(&hello).is_err());
    }
}

#[test]
fn a_one_time_bundle_makes_one_session() {
    let (mut alice, mut bob) = strangers();
    let bundle = bob.account.one_time_bundles(1).pop().unwrap();
    let published = bob.account.published();
    let mut messages = Vec::new();
    for _ in 0..2 {
        alice.sessions.begin(&alice.account, &bundle, Agree::Pqxdh).unwrap();
        messages.push(alice.encrypt(b"hello"));
    }
    bob.decrypt(&messages[0]).unwrap();
    assert_eq!(bob.account.published(), published - 1);
    let before = bob.snapshot();
    assert!(bob.decrypt(&messages[1]).is_err());
    assert_eq!(bob.snapshot(), before);
}

#[test]
fn nothing_is_used_up_until_it_is_applied_and_two_cannot_be() {
    let (mut alice, mut bob) = strangers();
    alice.begin(&mut bob);
    let hello = alice.encrypt(b"hello");
    let before = bob.snapshot();
    let (text, first) = bob.sessions.open(&bob.account, AD, &hello).unwrap();
    assert_eq!(text, b"hello");
    let (_, second) = bob.sessions.open(&bob.account, AD, &hello).unwrap();
    assert_eq!(bob.snapshot(), before);
    bob.sessions.apply(&mut bob.account, first).unwrap();
    let after = bob.snapshot();
    assert_eq!(bob.sessions.apply(&mut bob.account, second), Err(Error::Stale));
    assert_eq!(bob.snapshot(), after);
}

#[test]
fn a_rotation_spares_what_is_under_way_and_no_more() {
    let (mut alice, mut bob) = strangers();
    let bundle = bob.account.bundle();
    let mut messages = Vec::new();
    for _ in 0..2 {
        alice.sessions.begin(&alice.account, &bundle, Agree::Pqxdh).unwrap();
        messages.push(alice.encrypt(b"hello"));
    }
    bob.account.rotate_prekeys().unwrap();
    assert!(bob.decrypt(&messages[0]).is_ok());
    bob.account.rotate_prekeys().unwrap();
    assert!(bob.decrypt(&messages[1]).is_err());
}

#[test]
fn bundles_are_strict() {
    let mut account = Account::generate().unwrap();
    account.replenish(1).unwrap();
    let bundle = account.one_time_bundles(1).pop().unwrap();
    let bytes = bundle.to_bytes();
    assert_eq!(bytes.len(), Bundle::MAX_LEN);
    assert_eq!(Bundle::from_bytes(&bytes).unwrap(), bundle);
    // The one-time key at the end is not signed; every other bit is covered by something.
    let signed = bytes.len() - 36;
    for index in 0..signed {
        let mut flipped = bytes.clone();
        flipped[index] ^= 1 << (index % 8);
        assert!(Bundle::from_bytes(&flipped).is_err(), "byte {index}");
    }
    for len in (0..bytes.len()).step_by(7) {
        assert!(Bundle::from_bytes(&bytes[..len]).is_err(), "length {len}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(Bundle::from_bytes(&longer), Err(Error::Malformed));
    let mut newer = bytes.clone();
    newer[0] = 0x24;
    assert_eq!(Bundle::from_bytes(&newer), Err(Error::UnknownVersion(2)));
    // A low-order one-time key.
    let mut low = bytes;
    let start = low.len() - 32;
    low[start..].fill(0);
    assert_eq!(Bundle::from_bytes(&low), Err(Error::InvalidKey));
}

#[test]
fn a_prekey_signed_by_somebody_else_is_refused() {
    let bob = Account::generate().unwrap().bundle();
    let mut mixed = Account::generate().unwrap().bundle();
    mixed.signed_prekey = bob.signed_prekey;
    assert_eq!(Bundle::from_bytes(&mixed.to_bytes()), Err(Error::InvalidSignature));
    let mut mixed = Account::generate().unwrap().bundle();
    mixed.kem_prekey = bob.kem_prekey;
    assert_eq!(Bundle::from_bytes(&mixed.to_bytes()), Err(Error::InvalidSignature));
}

#[test]
fn identities_are_not_mixed_up() {
    let (mut alice, mut bob) = strangers();
    let eve = Account::generate().unwrap();
    assert_eq!(
        alice.sessions.begin(&alice.account, &eve.bundle(), Agree::Pqxdh),
        Err(Error::WrongIdentity)
    );
    assert_eq!(
        eve.begin(&eve.bundle(), Agree::Pqxdh, Limits::default()).unwrap_err(),
        Error::WrongIdentity
    );
    // Eve's initial message does not open as Alice's.
    let mut session = eve.begin(&bob.account.bundle(), Agree::Pqxdh, Limits::default()).unwrap();
    let message = session.encrypt(AD, b"I am Alice").unwrap();
    assert_eq!(claimed_sender(&message).unwrap().as_ref(), Some(eve.identity()));
    assert!(bob.decrypt(&message).is_err());
    // Nor does Alice's name on Eve's message make it Alice's.
    let mut renamed = message;
    renamed[1..129].copy_from_slice(&alice.account.identity().to_bytes());
    assert!(bob.decrypt(&renamed).is_err());
}

#[test]
fn claimed_senders() {
    let (mut alice, mut bob) = acquainted();
    assert_eq!(claimed_sender(&alice.encrypt(b"")), Ok(None));
    assert_eq!(claimed_sender(b""), Err(Error::Undecryptable));
    assert_eq!(claimed_sender(&[0x23; 3000]), Err(Error::Undecryptable));
    bob.begin(&mut alice);
    assert_eq!(claimed_sender(&bob.encrypt(b"")).unwrap(), Some(*bob.account.identity()));
}

#[test]
fn one_time_keys_are_published_once() {
    let mut account = Account::generate().unwrap();
    account.replenish(5).unwrap();
    assert_eq!((account.unpublished(), account.published()), (5, 0));
    let bundles = account.one_time_bundles(3);
    let more = account.one_time_bundles(9);
    assert_eq!((bundles.len(), more.len()), (3, 2));
    for a in &bundles {
        for b in &more {
            assert_ne!(a.one_time_prekey, b.one_time_prekey);
            assert_ne!(a.kem_prekey, b.kem_prekey);
        }
    }
    assert_eq!((account.unpublished(), account.published()), (0, 5));
    assert!(!account.is_rotation_due());
}

#[test]
fn everything_can_move_between_threads() {
    fn is_send<T: Send>() {}
    is_send::<Account>();
    is_send::<Sessions>();
    is_send::<crate::Staged>();
    is_send::<crate::Session>();
    is_send::<crate::SenderKeys>();
}

#[test]
fn a_refused_initial_message_shows_nothing() {
    let (mut alice, mut bob) = strangers();
    alice.begin(&mut bob);
    let hello = alice.encrypt(b"hello");
    let mut buffer = hello.clone();
    let (range, staged) = bob.sessions.open_in_place(&bob.account, AD, &mut buffer).unwrap();
    assert_eq!(&buffer[range], b"hello");
    drop(staged);
    // With other data, and for somebody who expects another sender.
    let stranger = Account::generate().unwrap();
    let other = Sessions::new(*stranger.identity(), Limits::default());
    for (sessions, ad) in [(&bob.sessions, &b"other"[..]), (&other, AD)] {
        let mut buffer = hello.clone();
        assert!(sessions.open_in_place(&bob.account, ad, &mut buffer).is_err());
        assert!(super::bad_input::is_message_or_zeros(&buffer, &hello));
    }
}
