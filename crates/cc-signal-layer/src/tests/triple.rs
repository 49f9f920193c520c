//! The post-quantum ratchet within whole sessions: what is lost, what is stolen, what is a lie.

use alloc::vec::Vec;

use proptest::{prelude::*, sample::Index};

use super::{AD, session_pair};
use crate::{
    Error, Limits, Session,
    message_key::tests::{forget, used},
};

fn copy(session: &Session) -> Session {
    Session::load(session.export().expose(), Limits::default()).unwrap()
}

/// `sender` says something and `reader` reads it. The message.
fn say(sender: &mut Session, reader: &mut Session) -> Vec<u8> {
    let message = sender.encrypt(AD, b"text").unwrap();
    assert_eq!(reader.decrypt(AD, &message).unwrap(), b"text");
    message
}

/// Every message of two exchanges of keys is as long as every other, and the state stays small.
#[test]
fn a_message_and_a_state_have_one_size() {
    let (mut alice, mut bob) = session_pair(Limits::default());
    let (mut messages, mut largest) = (0, 0);
    while alice.ratchet_mut().spqr_mut().epoch() < 4 {
        assert_eq!(say(&mut alice, &mut bob).len(), 4 + Session::OVERHEAD);
        assert_eq!(say(&mut bob, &mut alice).len(), 4 + Session::OVERHEAD);
        messages += 2;
        largest = largest.max(alice.export().expose().len()).max(bob.export().expose().len());
    }
    std::println!("4 epochs take {messages} messages; the largest state has {largest} bytes");
    assert!((240..300).contains(&messages), "{messages}");
    assert!(largest < 3500, "{largest}");
}

/// One side is silent: the other one's chunks go round, and nothing else happens.
#[test]
fn silence_ends_no_exchange_and_breaks_none() {
    let (mut alice, mut bob) = session_pair(Limits::default());
    for talker in [0, 1, 0, 1, 0] {
        for _ in 0..700 {
            match talker {
                0 => say(&mut alice, &mut bob),
                _ => say(&mut bob, &mut alice),
            };
        }
        assert!(alice.export().expose().len() < 3500);
    }
    let epoch = alice.ratchet_mut().spqr_mut().epoch();
    assert!(epoch < 3, "{epoch}");
    for _ in 0..100 {
        say(&mut alice, &mut bob);
        say(&mut bob, &mut alice);
    }
    assert!(alice.ratchet_mut().spqr_mut().epoch() > epoch);
}

/// A message is sealed under both ratchets: the key of one alone, and with any other key of the other ratchet,
/// does not open it. In every message of an exchange.
#[test]
fn neither_ratchet_alone_opens_a_message() {
    let (mut alice, mut bob) = session_pair(Limits::default());
    for _ in 0..100 {
        for _ in 0..2 {
            let message = alice.encrypt(AD, b"secret").unwrap();
            // Everything but the post-quantum secrets, and everything but the classical ones.
            let mut classical = copy(&bob);
            classical.ratchet_mut().spqr_mut().replace_chain_keys();
            assert!(classical.decrypt(AD, &message).is_err());
            let mut post_quantum = copy(&bob);
            post_quantum.ratchet_mut().replace_chain_keys();
            assert_eq!(post_quantum.decrypt(AD, &message), Err(Error::Undecryptable));
            assert_eq!(bob.decrypt(AD, &message).unwrap(), b"secret");
            core::mem::swap(&mut alice, &mut bob);
        }
    }
    assert!(alice.ratchet_mut().spqr_mut().epoch() > 1);
}

/// A thief takes everything there is of one side, at any point of an exchange, and from then on breaks every
/// curve: it knows whatever is classical at any time. It follows the post-quantum ratchet as long as it can.
/// When a whole exchange has begun and ended after the theft, it reads nothing.
#[test]
fn a_thief_that_breaks_every_curve_is_shut_out_by_one_exchange() {
    for stolen_at in (0..180).step_by(7) {
        forget();
        let (mut alice, mut bob) = session_pair(Limits::default());
        for _ in 0..stolen_at {
            say(&mut alice, &mut bob);
            core::mem::swap(&mut alice, &mut bob);
        }
        // The victim is the one that is about to read.
        let mut thief = copy(&bob);
        let stolen_in = thief.ratchet_mut().spqr_mut().epoch();
        let (mut read, mut shut_out) = (0, None);
        for turn in 0..280 {
            if turn % 2 == 0 {
                let message = alice.encrypt(AD, b"secret").unwrap();
                thief.ratchet_mut().replace_double(bob.ratchet_mut());
                let opened = thief.read_as_thief(AD, &message);
                read += usize::from(opened);
                let epoch = bob.ratchet_mut().spqr_mut().epoch();
                assert!(opened || turn > 0, "the test can fail");
                match shut_out {
                    None if !opened => shut_out = Some(epoch),
                    None => assert!(epoch <= stolen_in + 2, "{stolen_at}: still reads"),
                    Some(_) => assert!(!opened, "{stolen_at}: reads again"),
                }
                assert_eq!(bob.decrypt(AD, &message).unwrap(), b"secret");
            } else {
                // The thief draws bytes of its own where the victim draws its own.
                let _ = thief.ratchet_mut().spqr_mut().send(&mut crate::entropy::System);
                say(&mut bob, &mut alice);
            }
        }
        assert!(shut_out.is_some() && read > 0, "{stolen_at}");
    }
}

/// The other way about: a thief that breaks ML-KEM, at any time, and has stolen the classical secrets once.
#[test]
fn a_thief_that_breaks_ml_kem_is_shut_out_by_a_round_trip() {
    let (mut alice, mut bob) = session_pair(Limits::default());
    for _ in 0..50 {
        say(&mut alice, &mut bob);
        say(&mut bob, &mut alice);
        let mut thief = copy(&bob);
        let message = alice.encrypt(AD, b"read").unwrap();
        assert!(thief.decrypt(AD, &message).is_ok(), "the test can fail");
        bob.decrypt(AD, &message).unwrap();
        say(&mut bob, &mut alice);
        // Where Bob draws a key, it draws one of its own.
        thief.encrypt(AD, b"follows").unwrap();
        let message = alice.encrypt(AD, b"closed").unwrap();
        thief.ratchet_mut().replace_spqr(bob.ratchet_mut());
        assert!(thief.decrypt(AD, &message).is_err());
        assert_eq!(bob.decrypt(AD, &message).unwrap(), b"closed");
    }
}

/// Whoever comes back with a copy after one exchange, and has all traffic, opens nothing of it that the owner
/// has read, before or after.
#[test]
fn a_thief_that_returns_after_one_exchange_reads_nothing() {
    let (mut alice, mut bob) = session_pair(Limits::default());
    let mut before = Vec::new();
    for _ in 0..20 {
        before.push(say(&mut alice, &mut bob));
        before.push(say(&mut bob, &mut alice));
    }
    let early = copy(&bob);
    for _ in 0..100 {
        say(&mut alice, &mut bob);
        say(&mut bob, &mut alice);
    }
    let after: Vec<_> = (0..5).map(|_| say(&mut alice, &mut bob)).collect();
    let late = copy(&bob);
    for message in before.iter().chain(&after) {
        assert!(copy(&early).decrypt(AD, message).is_err());
        assert!(copy(&late).decrypt(AD, message).is_err());
    }
    // The classical secrets of now do not help the early copy either.
    let message = alice.encrypt(AD, b"now").unwrap();
    let mut thief = copy(&late);
    thief.ratchet_mut().replace_spqr(copy(&early).ratchet_mut());
    assert!(thief.decrypt(AD, &message).is_err());
    assert!(copy(&late).decrypt(AD, &message).is_ok(), "the test can fail");
}

/// A peer that sends a wrong chunk is found out when the value is whole: the message is refused, its text is
/// overwritten, nothing has changed, and the good message opens.
#[test]
fn a_lie_in_a_chunk_is_refused_and_changes_nothing() {
    let (mut alice, mut bob) = session_pair(Limits::default());
    let mut refused = 0;
    for _ in 0..400 {
        let mut liar = copy(&alice);
        // The bytes of the header that come before the key pair of the liar is made.
        if liar.ratchet_mut().spqr_mut().braid_mut().damage_chunks() {
            let lie = liar.encrypt(AD, b"a text that opens").unwrap();
            forget();
            let mut buffer = lie.clone();
            match bob.open_in_place(AD, &mut buffer) {
                Ok((range, _)) => assert_eq!(buffer[range], b"a text that opens"[..]),
                Err(error) => {
                    let before = bob.export();
                    assert_eq!(error, Error::Undecryptable);
                    assert!(!buffer.windows(4).any(|bytes| bytes == b"text"));
                    assert_ne!(buffer, lie);
                    assert_eq!(bob.decrypt(AD, &lie), Err(Error::Undecryptable));
                    assert_eq!(bob.export(), before);
                    refused += 1;
                }
            }
        }
        say(&mut alice, &mut bob);
        core::mem::swap(&mut alice, &mut bob);
    }
    // Header, key and ciphertext of every epoch.
    assert!(refused >= 3 * 3, "{refused}");
}

/// A session has both ratchets or does not exist: no message without the second one, no state without it.
#[test]
fn there_is_no_way_back() {
    let (mut alice, mut bob) = session_pair(Limits::default());
    let message = say(&mut alice, &mut bob);
    // A message as it was without the second ratchet, 40 bytes shorter.
    let mut shorter = message;
    shorter.drain(57..97);
    assert_eq!(bob.decrypt(AD, &shorter), Err(Error::Undecryptable));
    // A peer that goes back to an epoch, or claims one to come.
    for change in [-1_i32, 1, 2] {
        let mut liar = copy(&alice);
        let epoch = liar.ratchet_mut().spqr_mut().braid_mut().epoch_mut();
        *epoch = epoch.wrapping_add_signed(change);
        // There is no chain to speak in.
        assert!(liar.encrypt(AD, b"lie").is_err());
    }
}

/// Numbers of the post-quantum chain that no sender says, and one that is too far.
#[test]
fn lies_about_the_number_in_the_epoch() {
    let (mut alice, mut bob) = session_pair(Limits::default());
    say(&mut alice, &mut bob);
    say(&mut bob, &mut alice);
    for (number, error) in
        [(0, Error::Undecryptable), (1 << 27, Error::TooFarAhead), (u32::MAX, Error::TooFarAhead)]
    {
        let mut liar = copy(&alice);
        liar.ratchet_mut().spqr_mut().set_next_number(number);
        match liar.encrypt(AD, b"lie") {
            Ok(lie) => assert_eq!(bob.decrypt(AD, &lie), Err(error), "{number}"),
            Err(error) => assert_eq!((error, number), (Error::ChainExhausted, u32::MAX)),
        }
        forget();
        say(&mut alice, &mut bob);
    }
}

#[derive(Debug, Clone)]
enum Event {
    Send(usize),
    Burst(usize, usize),
    Deliver(usize, Index),
    Lose(usize, Index),
    Repeat(usize, Index),
    Damage(usize, Index, Index),
}

fn event() -> impl Strategy<Value = Event> {
    let side = || 0..2_usize;
    prop_oneof![
        20 => side().prop_map(Event::Send),
        1 => (side(), 2..60_usize).prop_map(|(side, count)| Event::Burst(side, count)),
        26 => (side(), any::<Index>()).prop_map(|(side, index)| Event::Deliver(side, index)),
        2 => (side(), any::<Index>()).prop_map(|(side, index)| Event::Lose(side, index)),
        1 => (side(), any::<Index>()).prop_map(|(side, index)| Event::Repeat(side, index)),
        1 => (side(), any::<Index>(), any::<Index>())
            .prop_map(|(side, index, bit)| Event::Damage(side, index, bit)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Over several epochs, with a restart from saved state after every step: loss, another order, duplicates,
    /// bursts while the other side is silent. Every message that arrives opens exactly once.
    #[test]
    fn every_message_opens_once_over_many_epochs(
        events in prop::collection::vec(event(), 100..700),
        straight in 0..120_usize,
    ) {
        forget();
        let (alice, bob) = session_pair(Limits::default());
        let before = used();
        let mut sides = [alice, bob];
        for _ in 0..straight {
            let [alice, bob] = &mut sides;
            say(alice, bob);
            say(bob, alice);
        }
        let mut sent = 2 * straight;
        let mut under_way: [Vec<Vec<u8>>; 2] = [Vec::new(), Vec::new()];
        let mut received: [Vec<Vec<u8>>; 2] = [Vec::new(), Vec::new()];
        for event in events {
            match event {
                Event::Send(side) | Event::Burst(side, _) => {
                    let count = if let Event::Burst(_, count) = event { count } else { 1 };
                    for _ in 0..count {
                        under_way[1 - side].push(sides[side].encrypt(AD, b"text").unwrap());
                    }
                    sent += count;
                }
                Event::Deliver(side, index) => {
                    if !under_way[side].is_empty() {
                        // Mostly in order.
                        let len = under_way[side].len();
                        let index = if index.index(4) > 0 { 0 } else { index.index(len) };
                        let message = under_way[side].remove(index);
                        prop_assert_eq!(sides[side].decrypt(AD, &message).unwrap(), b"text");
                        received[side].push(message);
                    }
                }
                Event::Lose(side, index) => {
                    if !under_way[side].is_empty() {
                        let index = index.index(under_way[side].len());
                        under_way[side].remove(index);
                    }
                }
                Event::Repeat(side, index) => {
                    if !received[side].is_empty() {
                        let message = &received[side][index.index(received[side].len())];
                        prop_assert!(sides[side].decrypt(AD, message).is_err());
                    }
                }
                Event::Damage(side, index, bit) => {
                    if !under_way[side].is_empty() {
                        let index = index.index(under_way[side].len());
                        let mut message = under_way[side][index].clone();
                        let bit = bit.index(message.len() * 8);
                        message[bit / 8] ^= 1 << (bit % 8);
                        let state = sides[side].export();
                        prop_assert!(sides[side].decrypt(AD, &message).is_err());
                        prop_assert!(sides[side].export() == state);
                    }
                }
            }
            for side in &mut sides {
                let restarted = copy(side);
                prop_assert!(restarted.export() == side.export());
                *side = restarted;
            }
        }
        // Whatever is still under way arrives in the end, last first.
        for side in 0..2 {
            while let Some(message) = under_way[side].pop() {
                prop_assert_eq!(sides[side].decrypt(AD, &message).unwrap(), b"text");
            }
        }
        prop_assert_eq!(used(), before + sent);
        let [alice, bob] = &mut sides;
        let epoch = alice.ratchet_mut().spqr_mut().epoch();
        for _ in 0..110 {
            say(alice, bob);
            say(bob, alice);
        }
        prop_assert!(alice.ratchet_mut().spqr_mut().epoch() > epoch);
        // Nothing is missing on either side, so nothing is kept for what is late.
        for side in &mut sides {
            let ratchet = side.ratchet_mut();
            prop_assert!(ratchet.skipped_len() > 0 || ratchet.spqr_mut().skipped_len() == 0);
        }
    }
}
