//! Everything an attacker on the network can do to a message, a bundle, a welcome or a commit.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::common;

use cc_aes_layer::{AesKey, AesLayer};
use cc_core::{Bundle, Header, Hint, Kind, Part, PartList, StackId};
use cc_manager::{CascadingCipherManager, DecodeError, Error, MemberId};
use common::{Follow as _, all_read_all, dh, founder, full, group, joiner, mls, settle, stack_id};

#[test]
fn every_bit_flip_and_truncation_is_refused_and_costs_nothing() {
    let mut all = group(&["a", "b"]);
    let wire = all[0].encrypt("short").unwrap();
    for bit in 0..wire.len() * 8 {
        let mut flipped = wire.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(all[1].decrypt(&flipped).is_err(), "bit {bit}");
    }
    for len in 0..wire.len() {
        assert!(all[1].decrypt(&wire[..len]).is_err(), "{len} bytes");
    }
    let mut longer = wire.clone();
    longer.push(0);
    assert!(all[1].decrypt(&longer).is_err());
    assert_eq!(all[1].decrypt(&wire).unwrap(), "short");
    assert!(all[1].decrypt(&wire).unwrap_err().is_rejected(), "a replay");
    all_read_all(&mut all);
}

#[test]
fn damaged_commits_and_welcomes_are_refused_and_cost_nothing() {
    let mut all = group(&["a", "b"]);
    let mut c = joiner("c");
    let change = all[0].add_members([c.key_package().unwrap()]).unwrap();
    let welcome = all[0].confirm(change.id()).unwrap().welcome.unwrap();
    for at in (0..change.commit.len()).step_by(7) {
        let mut flipped = change.commit.clone();
        flipped[at] ^= 0x10;
        assert!(all[1].process(&flipped).is_err(), "byte {at}");
        assert!(all[1].process(&change.commit[..at]).is_err(), "{at} bytes");
    }
    for at in (0..welcome.len()).step_by(7) {
        let mut flipped = welcome.clone();
        flipped[at] ^= 0x10;
        assert!(c.join(&flipped).is_err(), "byte {at}");
        assert!(c.join(&welcome[..at]).is_err(), "{at} bytes");
    }
    all[1].process(&change.commit).unwrap();
    c.join(&welcome).unwrap();
    all.push(c);
    all_read_all(&mut all);
}

#[test]
fn envelopes_cannot_be_spliced() {
    let mut all = group(&["a", "b"]);
    let first = all[0].encrypt("first message").unwrap();
    let update = all[0].update().unwrap();
    settle(&mut all, 0, &update, &[]);
    let second = all[0].encrypt("second message").unwrap();
    assert_eq!(first.len(), second.len());
    for at in 1..first.len() {
        let spliced: Vec<u8> = first[..at].iter().chain(&second[at..]).copied().collect();
        if spliced != first && spliced != second {
            assert!(all[1].decrypt(&spliced).is_err(), "at {at}");
        }
    }
    assert_eq!(all[1].decrypt(&first).unwrap(), "first message");
    assert_eq!(all[1].decrypt(&second).unwrap(), "second message");
}

#[test]
fn associated_data_is_authenticated() {
    let mut all = group(&["a", "b"]);
    let wire = all[0].encrypt_with("text", "channel 1").unwrap();
    assert!(all[1].decrypt_with(&wire, "channel 2").is_err());
    assert!(all[1].decrypt(&wire).is_err());
    assert_eq!(all[1].decrypt_with(&wire, "channel 1").unwrap(), "text");
}

#[test]
fn a_commit_is_no_message_and_a_message_no_commit() {
    let mut all = group(&["a", "b"]);
    let wire = all[0].encrypt("text").unwrap();
    let update = all[0].update().unwrap();
    let error = all[1].decrypt(&update.commit).unwrap_err();
    assert!(matches!(error, Error::Decode(DecodeError::Kind(Kind::Commit))));
    let mut relabelled = update.commit.clone();
    relabelled[2] = Kind::Application as u8;
    assert!(all[1].decrypt(&relabelled).is_err());
    let mut relabelled = wire.clone();
    relabelled[2] = Kind::Commit as u8;
    assert!(all[1].process(&relabelled).is_err());
    assert_eq!(all[1].decrypt(&wire).unwrap(), "text");
    settle(&mut all, 0, &update, &[]);
    all_read_all(&mut all);
}

fn keys() -> [AesKey; 3] {
    [1, 2, 3].map(|byte| AesKey::copy_from(&[byte; 32]).unwrap())
}

fn plain(order: &[usize]) -> CascadingCipherManager {
    let mut builder = CascadingCipherManager::builder();
    for &index in order {
        let [a, b, c] = keys();
        builder = builder.layer(AesLayer::new([a, b, c].into_iter().nth(index).unwrap()));
    }
    builder.build().unwrap()
}

/// The same three layers in another order have the same stack id, for their parameters are equal; the
/// position that each layer authenticates tells them apart, and so does the key.
#[test]
fn layers_swapped_dropped_or_reordered_open_nothing() {
    let wire = plain(&[0, 1, 2]).encrypt("text").unwrap();
    for order in [&[0, 2, 1][..], &[1, 0, 2], &[2, 1, 0], &[1, 2, 0], &[0, 1], &[1, 2], &[0], &[2]]
    {
        assert!(plain(order).decrypt(&wire).is_err(), "{order:?}");
    }
    assert_eq!(plain(&[0, 1, 2]).decrypt(&wire).unwrap(), "text");
}

#[test]
fn another_stack_is_named_as_such() {
    let wire = plain(&[0]).encrypt("text").unwrap();
    let other = |error| matches!(error, Error::Decode(DecodeError::Stack));
    assert!(other(plain(&[0, 1]).decrypt(&wire).unwrap_err()));
    let mut all = group(&["a", "b"]);
    assert!(other(all[0].decrypt(&wire).unwrap_err()));
    let mut without_aes =
        CascadingCipherManager::builder().layer(dh()).layer(mls("c", false)).build().unwrap();
    let bundle = without_aes.key_package().unwrap();
    let error = all[0].add_members([bundle]).unwrap_err();
    let Error::KeyPackage { index: 0, member: None, source } = error else { panic!("{error}") };
    assert!(other(*source));
    let mut unknown = plain(&[0]).encrypt("text").unwrap();
    unknown[1] = 2;
    assert!(matches!(
        plain(&[0]).decrypt(&unknown).unwrap_err(),
        Error::Decode(DecodeError::Version(2))
    ));
}

#[test]
fn empty_and_large_messages() {
    let mut all = group(&["a", "b"]);
    let wire = all[0].encrypt("").unwrap();
    assert!(all[1].decrypt(&wire).unwrap().is_empty());
    let large: Vec<u8> = (0..16 << 20).map(|i: u32| i.to_le_bytes()[1]).collect();
    let wire = all[0].encrypt(&large).unwrap();
    assert_eq!(all[1].decrypt(&wire).unwrap(), large);
    assert!(matches!(
        plain(&[0]).encrypt(vec![0; (256 << 20) + 1]).unwrap_err(),
        Error::Decode(DecodeError::TooLong)
    ));
}

#[test]
fn counts_and_lengths_from_the_wire_are_checked_first() {
    let mut a = plain(&[0]);
    let wire = a.encrypt("text").unwrap();
    let hints = 3 + StackId::WIRE_LEN;
    for count in [&[0x01][..], &[0x3f], &[0x7f, 0xff], &[0xbf, 0xff, 0xff, 0xff], &[0xff; 8]] {
        let mut oversized = wire[..hints].to_vec();
        oversized.extend(count);
        oversized.extend(&wire[hints + 1..]);
        assert!(a.decrypt(&oversized).is_err(), "{count:x?}");
    }
    assert_eq!(a.decrypt(&wire).unwrap(), "text");
}

/// Takes part `position` of `b` into `a`.
fn splice(kind: Kind, a: &[u8], b: &[u8], position: u16, change_of_b: bool) -> Vec<u8> {
    let read = |bytes| Bundle::decode(bytes, kind, &stack_id()).unwrap().into_parts();
    let (a, b): (PartList, PartList) = (read(a), read(b));
    let pick = |part: &cc_core::Part| if part.position == position { &b } else { &a };
    let parts = (0..a.parts.len()).map(|i| pick(&a.parts[i]).parts[i].clone()).collect();
    let change = if change_of_b { b.change } else { a.change };
    Bundle::new(kind, &stack_id(), PartList { change, parts }).encode().unwrap()
}

#[test]
fn a_key_package_bundle_of_two_people_is_refused() {
    let mut alice = founder("alice");
    let (mut bob, mut eve) = (joiner("bob"), joiner("eve"));
    let (of_bob, of_eve) = (bob.key_package().unwrap(), eve.key_package().unwrap());
    for position in [0, 1] {
        let spliced = splice(Kind::KeyPackage, &of_bob, &of_eve, position, false);
        assert_ne!(spliced, of_bob);
        assert!(alice.add_members([spliced]).unwrap_err().is_rejected());
    }
    for at in (0..of_bob.len()).step_by(3) {
        let mut flipped = of_bob.clone();
        flipped[at] ^= 4;
        assert!(alice.add_members([flipped]).is_err(), "byte {at}");
        assert!(alice.add_members([&of_bob[..at]]).is_err(), "{at} bytes");
    }
    assert_eq!(alice.staged_change(), None);
    let change = alice.add_members([of_bob]).unwrap();
    let welcome = alice.confirm(change.id()).unwrap().welcome.unwrap();
    bob.join(&welcome).unwrap();
    all_read_all(&mut [alice, bob]);
}

#[test]
fn a_welcome_of_two_changes_is_refused() {
    let mut alice = founder("alice");
    let mut bob = joiner("bob");
    // Of another group: a welcome is only given for a change that is in force.
    let mut elsewhere = founder("alice");
    let first = elsewhere.add_members([bob.key_package().unwrap()]).unwrap();
    let other = elsewhere.confirm(first.id()).unwrap().welcome.unwrap();
    let second = alice.add_members([bob.key_package().unwrap()]).unwrap();
    let welcome = alice.confirm(second.id()).unwrap().welcome.unwrap();
    for position in [0, 1] {
        for change_of_b in [false, true] {
            let spliced = splice(Kind::Welcome, &welcome, &other, position, change_of_b);
            assert!(bob.join(spliced).is_err(), "{position} {change_of_b}");
        }
    }
    bob.join(&welcome).unwrap();
    all_read_all(&mut [alice, bob]);
}

#[test]
fn a_member_id_is_the_digest_of_all_keys() {
    let (a, b) = (full("a", true).build().unwrap(), full("a", true).build().unwrap());
    assert_ne!(a.member_id(), b.member_id());
    let id: MemberId = a.member_id().unwrap();
    assert_eq!(a.members()[0].id, id);
}

/// Whoever sends noise costs the receiver no more than a few passes over it, at every door: a hash and a cipher, which is
/// as fast as the processor's primitives are.
#[test]
fn refusing_noise_costs_a_few_passes_over_it() {
    const LEN: usize = 8 << 20;
    let mut all = group(&["a", "b"]);
    let mut outsider = joiner("c");
    let stack = stack_id();
    let noise: Vec<u8> = (0..LEN).map(|i| i.to_le_bytes()[0] ^ 0x5a).collect();
    let message = all[0].encrypt("text").unwrap();
    let (header, _, len) = Header::decode(&message, &stack).unwrap();
    let hints: Vec<_> = (0..2)
        .map(|position| Hint { position, value: header.hint(position).unwrap().into() })
        .collect();
    assert!(message.len() > len);
    let sealed =
        |kind| [Header::new(kind, &stack, hints.clone()).encode().unwrap(), noise.clone()].concat();
    let bundle = |kind, change| {
        let part =
            |position| Part { position, value: noise[..LEN / 2].into(), counterpart: [0; 32] };
        let parts = PartList { change, parts: vec![part(0), part(1)] };
        Bundle::new(kind, &stack, parts).encode().unwrap()
    };
    let (application, commit, proposal) =
        (sealed(Kind::Application), sealed(Kind::Commit), sealed(Kind::Proposal));
    let (welcome, package) = (bundle(Kind::Welcome, [1; 16]), bundle(Kind::KeyPackage, [0; 16]));
    let best = |f: &mut dyn FnMut()| {
        let time = |f: &mut dyn FnMut()| {
            let start = std::time::Instant::now();
            f();
            start.elapsed()
        };
        (0..5).map(|_| time(f)).min().unwrap()
    };
    let key = cc_aes_layer::AesKey::generate().unwrap();
    let pass = best(&mut || {
        std::hint::black_box(cc_core::part_digest(&noise));
        assert!(key.open(b"", &noise).is_err());
    });
    let door = |name: &str, f: &mut dyn FnMut() -> bool| {
        let spent = best(&mut || assert!(f(), "{name} lets it in"));
        println!("{name}: {spent:?}, a pass {pass:?}");
        assert!(spent < 10 * pass, "{name}: {spent:?}, a pass takes {pass:?}");
    };
    let [a, b] = &mut all[..] else { panic!() };
    door("a message", &mut || b.decrypt(&application).is_err());
    door("a commit", &mut || b.process(&commit).is_err());
    door("a proposal", &mut || b.process(&proposal).is_err());
    door("a welcome", &mut || outsider.join(&welcome).is_err());
    door("a key package", &mut || a.add_members([&package]).is_err());
    door("a proposed key package", &mut || a.propose_add(&package).is_err());
    door("plain noise", &mut || b.process(&noise).is_err() && b.decrypt(&noise).is_err());
    assert_eq!(b.decrypt(&message).unwrap(), "text");
}
