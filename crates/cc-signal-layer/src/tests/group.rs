//! Sender Keys.

use alloc::vec::Vec;

use super::AD;
use crate::{Error, Limits, ReceiverChain, SenderChain, SenderKeys, message_key::tests::used};

fn pair(limits: Limits) -> (SenderChain, ReceiverChain) {
    let sender = SenderChain::generate(b"sender").unwrap();
    let distribution = sender.distribution();
    let receiver = ReceiverChain::from_distribution(b"sender", distribution.expose(), limits);
    (sender, receiver.unwrap())
}

fn refused(receiver: &mut ReceiverChain, ad: &[u8], message: &[u8]) {
    refused_as(receiver, ad, message, Error::Undecryptable);
}

fn refused_as(receiver: &mut ReceiverChain, ad: &[u8], message: &[u8], error: Error) {
    let mut buffer = message.to_vec();
    assert_eq!(receiver.open_in_place(ad, &mut buffer).unwrap_err(), error);
    assert_eq!(buffer, message);
    assert_eq!(receiver.decrypt(ad, message), Err(error));
}

#[test]
fn any_order_each_once() {
    let (mut sender, mut receiver) = pair(Limits::default());
    let messages: Vec<_> = (0..5).map(|n| sender.encrypt(AD, &[n]).unwrap()).collect();
    assert_eq!(messages[0].len(), 1 + SenderChain::OVERHEAD);
    for n in [3, 0, 4, 1, 2] {
        let message = &messages[usize::from(n)];
        assert_eq!(receiver.decrypt(AD, message).unwrap(), [n]);
        refused_as(&mut receiver, AD, message, Error::Duplicate);
    }
    assert_eq!(used(), 5);
}

#[test]
fn every_flipped_bit_and_every_truncation() {
    let (mut sender, mut receiver) = pair(Limits::default());
    let message = sender.encrypt(AD, b"text").unwrap();
    for bit in 0..message.len() * 8 {
        let mut flipped = message.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        refused(&mut receiver, AD, &flipped);
    }
    for len in 0..message.len() {
        refused(&mut receiver, AD, &message[..len]);
    }
    refused(&mut receiver, b"other", &message);
    assert_eq!(receiver.decrypt(AD, &message).unwrap(), b"text");
}

#[test]
fn a_member_cannot_forge() {
    let (mut sender, mut receiver) = pair(Limits::default());
    // Mallory is in the group, so she has the chain key; her own signing key is another.
    let mut distribution = sender.distribution().expose().to_vec();
    let (mallory, _) = pair(Limits::default());
    let theirs = mallory.distribution().expose().to_vec();
    distribution[37..].copy_from_slice(&theirs[37..]);
    let forged = {
        let mut keys = mallory.export().expose().to_vec();
        keys[46..78].copy_from_slice(&distribution[5..37]);
        let mut forger = SenderChain::load(&keys).unwrap();
        let mut message = forger.encrypt(AD, b"forged").unwrap();
        message[1..9].copy_from_slice(&sender.id());
        message
    };
    refused(&mut receiver, AD, &forged);
    crate::message_key::tests::forget();
    let good = sender.encrypt(AD, b"good").unwrap();
    assert_eq!(receiver.decrypt(AD, &good).unwrap(), b"good");
}

#[test]
fn gaps_are_bounded() {
    let limits = Limits::default().with_max_skip(5).with_max_skipped(3);
    let (mut sender, mut receiver) = pair(limits);
    let messages: Vec<_> = (0..8).map(|n| sender.encrypt(AD, &[n]).unwrap()).collect();
    refused_as(&mut receiver, AD, &messages[6], Error::TooFarAhead);
    assert_eq!(receiver.decrypt(AD, &messages[5]).unwrap(), [5]);
    assert_eq!(receiver.decrypt(AD, &messages[6]).unwrap(), [6], "it can be reached now");
    refused_as(&mut receiver, AD, &messages[1], Error::Expired);
    assert_eq!(receiver.decrypt(AD, &messages[2]).unwrap(), [2]);
    sender.set_number(u32::MAX - 1);
    let far = sender.encrypt(AD, b"far").unwrap();
    refused_as(&mut receiver, AD, &far, Error::TooFarAhead);
    assert_eq!(sender.encrypt(AD, b"end"), Err(Error::ChainExhausted));
}

#[test]
fn a_newcomer_reads_nothing_older_and_a_leaver_nothing_newer() {
    let mut alice = SenderKeys::generate(b"alice", Limits::default()).unwrap();
    let mut bob = SenderKeys::generate(b"bob", Limits::default()).unwrap();
    let distribution = alice.sender_chain().distribution();
    bob.insert(b"alice", distribution.expose()).unwrap();
    let early = alice.sender_chain_mut().encrypt(AD, b"early").unwrap();

    let mut carol = SenderKeys::generate(b"carol", Limits::default()).unwrap();
    let distribution = alice.sender_chain().distribution();
    carol.insert(b"alice", distribution.expose()).unwrap();
    assert!(carol.open(AD, &early).is_err());
    let both = alice.sender_chain_mut().encrypt(AD, b"both").unwrap();
    for keys in [&mut bob, &mut carol] {
        let (sender, text, staged) = keys.open(AD, &both).unwrap();
        assert_eq!((sender, &text[..]), (&b"alice"[..], &b"both"[..]));
        keys.apply(staged).unwrap();
        assert!(keys.open(AD, &both).is_err());
    }

    // Carol leaves. What was under way to Bob still opens after the rotation.
    let late = alice.sender_chain_mut().encrypt(AD, b"late").unwrap();
    alice.sender_chain_mut().rotate().unwrap();
    let distribution = alice.sender_chain().distribution();
    bob.insert(b"alice", distribution.expose()).unwrap();
    let private = alice.sender_chain_mut().encrypt(AD, b"private").unwrap();
    assert!(carol.open(AD, &private).is_err());
    for message in [&private, &late, &early] {
        let (_, _, staged) = bob.open(AD, message).unwrap();
        bob.apply(staged).unwrap();
    }

    // Alice leaves.
    bob.remove(b"alice");
    assert!(!bob.contains(b"alice"));
    let gone = alice.sender_chain_mut().encrypt(AD, b"gone").unwrap();
    assert!(bob.open(AD, &gone).is_err());
}

#[test]
fn a_repeated_distribution_opens_nothing_again() {
    let mut sender = SenderChain::generate(b"s").unwrap();
    let mut keys = SenderKeys::generate(b"reader", Limits::default()).unwrap();
    let distribution = sender.distribution();
    keys.insert(b"s", distribution.expose()).unwrap();
    let message = sender.encrypt(AD, b"once").unwrap();
    let (_, _, staged) = keys.open(AD, &message).unwrap();
    let (_, _, stale) = keys.open(AD, &message).unwrap();
    keys.apply(staged).unwrap();
    assert_eq!(keys.apply(stale), Err(Error::Stale));
    keys.insert(b"s", distribution.expose()).unwrap();
    assert!(keys.open(AD, &message).is_err());
    assert_eq!(keys.claimed_sender(&message), Some(&b"s"[..]));
}

/// Eve has Alice's distribution, as every member, and gives it to Bob as her own.
#[test]
fn nobody_passes_another_members_chain_on_as_its_own() {
    for eve_first in [true, false] {
        let mut alice = SenderKeys::generate(b"alice", Limits::default()).unwrap();
        let mut bob = SenderKeys::generate(b"bob", Limits::default()).unwrap();
        let distribution = alice.sender_chain().distribution();
        let names: [&[u8]; 2] = if eve_first { [b"eve", b"alice"] } else { [b"alice", b"eve"] };
        for name in names {
            bob.insert(name, distribution.expose()).unwrap();
        }
        let message = alice.sender_chain_mut().encrypt(AD, b"from alice").unwrap();
        assert_eq!(bob.claimed_sender(&message), Some(&b"alice"[..]));
        let (sender, text, _) = bob.open(AD, &message).unwrap();
        assert_eq!((sender, &text[..]), (&b"alice"[..], &b"from alice"[..]));

        // Nor with the chain's id changed to that of the chain as Eve's, or for who knows Eve alone.
        let chain =
            ReceiverChain::from_distribution(b"eve", distribution.expose(), Limits::default());
        let mut as_eve = message.clone();
        as_eve[1..9].copy_from_slice(&chain.unwrap().id());
        assert_eq!(bob.claimed_sender(&as_eve), Some(&b"eve"[..]));
        assert_eq!(bob.open(AD, &as_eve).unwrap_err(), Error::Undecryptable);
        let mut carol = SenderKeys::generate(b"carol", Limits::default()).unwrap();
        carol.insert(b"eve", distribution.expose()).unwrap();
        for message in [&message, &as_eve] {
            assert_eq!(carol.open(AD, message).unwrap_err(), Error::Undecryptable);
        }
    }
    let long = [0; crate::sender_key::MAX_NAME_LEN + 1];
    assert_eq!(SenderChain::generate(&long).unwrap_err(), Error::LimitExceeded);
}

#[test]
fn what_the_own_records_know_is_told_of_signed_messages_only() {
    let mut alice = SenderKeys::generate(b"alice", Limits::default()).unwrap();
    let mut bob = SenderKeys::generate(b"bob", Limits::default()).unwrap();
    bob.insert(b"alice", alice.sender_chain().distribution().expose()).unwrap();
    let message = alice.sender_chain_mut().encrypt(AD, b"text").unwrap();
    assert_eq!(alice.open(AD, &message).unwrap_err(), Error::Own);
    let (_, _, staged) = bob.open(AD, &message).unwrap();
    bob.apply(staged).unwrap();
    assert_eq!(bob.open(AD, &message).unwrap_err(), Error::Duplicate);
    for index in [9, 13, 25, message.len() - 1] {
        let mut forged = message.clone();
        forged[index] ^= 1;
        assert_eq!(alice.open(AD, &forged).unwrap_err(), Error::Undecryptable);
        assert_eq!(bob.open(AD, &forged).unwrap_err(), Error::Undecryptable);
    }
}

#[test]
fn skipped_keys_of_a_chain_expire() {
    let limits = Limits::default().with_skipped_lifetime(10);
    let (mut sender, mut receiver) = pair(limits);
    let missing: Vec<_> = (0..2).map(|_| sender.encrypt(AD, b"missing").unwrap()).collect();
    for _ in 0..8 {
        let message = sender.encrypt(AD, b"seen").unwrap();
        receiver.decrypt(AD, &message).unwrap();
    }
    assert!(receiver.open(AD, &missing[0]).is_ok(), "the test can fail");
    let message = sender.encrypt(AD, b"seen").unwrap();
    receiver.decrypt(AD, &message).unwrap();
    refused_as(&mut receiver, AD, &missing[0], Error::Expired);
    assert!(receiver.decrypt(AD, &missing[1]).is_ok());
}

/// Two members send from copies of one chain, as after an old copy of a store was put back.
#[test]
fn a_copy_of_a_chain_repeats_no_key_and_nonce() {
    let (mut sender, receiver) = pair(Limits::default());
    let mut copy = SenderChain::load(sender.export().expose()).unwrap();
    cc_core::key_use::start();
    let messages = [&mut sender, &mut copy].map(|chain| {
        let message = chain.encrypt(AD, b"same text").unwrap();
        crate::message_key::tests::forget();
        message
    });
    let uses = cc_core::key_use::take();
    assert_eq!(uses.len(), 2);
    assert_ne!(uses[0], uses[1]);
    assert_ne!(
        messages[0][25..34],
        messages[1][25..34],
        "the same text under the same message key"
    );
    for message in &messages {
        assert!(receiver.open(AD, message).is_ok());
    }
}

#[test]
fn distributions_are_strict() {
    let sender = SenderChain::generate(b"s").unwrap();
    let bytes = sender.distribution().expose().to_vec();
    let read =
        |bytes: &[u8]| ReceiverChain::from_distribution(b"s", bytes, Limits::default()).map(drop);
    assert_eq!(read(&bytes), Ok(()));
    assert_eq!(read(&bytes[..68]), Err(Error::Malformed));
    let mut other = bytes.clone();
    other.push(0);
    assert_eq!(read(&other), Err(Error::Malformed));
    other[0] = 0x25;
    assert_eq!(read(&other), Err(Error::UnknownVersion(2)));
    let mut weak = bytes;
    weak[37..].fill(0);
    assert_eq!(read(&weak), Err(Error::InvalidKey));
}
