//! One call for whatever comes: each thing that can happen to a message has a name of its own, and only
//! one of the names means an attack.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::common;

use std::sync::{Arc, Mutex};

use cc_aes_layer::{AesKey, AesLayer};
use cc_core::{
    Buffer, CipherLayer, Header, Hint, LayerContext, LayerDescriptor, LayerError, LayerErrorKind,
    Opened, Properties, store::MemoryStore,
};
use cc_dh_layer::{Curve, DhKeyPair, DhLayer};
use cc_manager::{
    CascadingCipherManager, DecodeError, Error, Incoming, IncomingWelcome, Kind, MAX_EPOCHS_AHEAD,
    Recipients,
};
use cc_signal_layer::{Account, SignalLayer};
use common::{
    all_read_all, dh, founder, full, group, joiner, mls, settle, stack_id,
    wrapped::{Wishes, Wrapped},
};

fn aes() -> AesLayer {
    AesLayer::new(AesKey::copy_from(&[1; 32]).unwrap())
}

type Refusal = fn() -> LayerError;

/// Opens nothing, for a reason that the test chooses.
struct Refuses(Arc<Mutex<Option<Refusal>>>);

impl CipherLayer for Refuses {
    fn descriptor(&self) -> LayerDescriptor {
        LayerDescriptor { id: "test.refuses", version: 1, parameters: vec![] }
    }

    fn properties(&self) -> Properties {
        Properties::plain("refuses")
    }

    fn seal(&mut self, _: &LayerContext<'_>, _: &mut Buffer) -> Result<(), LayerError> {
        Ok(())
    }

    fn open(&mut self, _: &LayerContext<'_>, _: &mut Buffer) -> Result<Opened, LayerError> {
        match *self.0.lock().unwrap() {
            Some(reason) => Err(reason()),
            None => Ok(Opened::default()),
        }
    }
}

#[test]
fn what_a_layer_says_is_what_the_application_is_told() {
    let reason = Arc::new(Mutex::new(None));
    let refuses = Refuses(Arc::clone(&reason));
    let mut manager =
        CascadingCipherManager::builder().layer(aes()).layer(refuses).build().unwrap();
    let wire = manager.encrypt("text").unwrap();
    let mut because = |why: fn() -> LayerError| {
        *reason.lock().unwrap() = Some(why);
        manager.receive(&wire)
    };
    let says = because(LayerError::own).unwrap();
    assert!(matches!(says, Incoming::Own { change: None }));
    assert!(matches!(because(LayerError::duplicate).unwrap(), Incoming::Duplicate));
    let says = because(|| LayerError::stale(Some(3))).unwrap();
    assert!(matches!(says, Incoming::Stale { epoch: Some(3) }));
    let says = because(|| LayerError::early(Some(9))).unwrap();
    assert!(matches!(says, Incoming::Early { epoch: Some(9) }));
    let says = because(LayerError::rejected).unwrap();
    assert!(matches!(&says, Incoming::Forged(Error::Layer { position: 1, .. })), "{says:?}");
    // What is wrong at this end is no answer about the bytes.
    for local in [
        || LayerError::misuse("test"),
        || LayerError::not_ready("test"),
        || LayerError::storage("test"),
        || LayerError::local(LayerErrorKind::Internal, "test"),
    ] {
        assert!(matches!(because(local), Err(Error::Layer { position: 1, .. })));
    }
    *reason.lock().unwrap() = None;
    assert!(matches!(manager.receive(&wire).unwrap(), Incoming::Message(m) if m == "text"));
}

/// A message of that epoch, as far as anybody can see.
fn claiming(epoch: u64) -> Vec<u8> {
    let value = || epoch.to_be_bytes()[..].into();
    let hints = (0..2).map(|position| Hint { position, value: value() }).collect();
    let header = Header::new(Kind::Application, &stack_id(), hints);
    [header.encode().unwrap(), vec![0; 100]].concat()
}

#[test]
fn what_claims_to_be_far_ahead_is_forged() {
    let mut all = group(&["a", "b"]);
    let present = all[1].epoch().unwrap();
    let incoming = all[1].receive(claiming(present + 1)).unwrap();
    assert!(matches!(incoming, Incoming::Early { epoch } if epoch == Some(present + 1)));
    let last = present + MAX_EPOCHS_AHEAD;
    let incoming = all[1].receive(claiming(last)).unwrap();
    assert!(matches!(incoming, Incoming::Early { epoch } if epoch == Some(last)));
    for forged in [last + 1, u64::MAX] {
        assert!(matches!(all[1].receive(claiming(forged)).unwrap(), Incoming::Forged(_)));
    }
    assert!(matches!(all[1].receive(claiming(present)).unwrap(), Incoming::Forged(_)));
    all_read_all(&mut all);
}

#[test]
fn a_member_outside_keeps_what_comes_before_its_welcome() {
    let mut alice = founder("alice");
    let mut bob = joiner("bob");
    let change = alice.add_members([bob.key_package().unwrap()]).unwrap();
    let welcome = alice.confirm(change.id()).unwrap().welcome.unwrap();
    let hello = alice.encrypt("hello").unwrap();
    let kept = bob.receive(&hello).unwrap();
    assert!(matches!(kept, Incoming::Early { .. }), "{kept:?}");
    assert!(matches!(bob.receive(&change.commit).unwrap(), Incoming::Early { .. }));
    assert!(matches!(bob.receive_welcome(&welcome).unwrap(), IncomingWelcome::Joined(_)));
    let Incoming::Message(message) = bob.receive(&hello).unwrap() else { panic!() };
    assert_eq!(message, "hello");
    assert_eq!((message.sender(), message.epoch()), (alice.member_id(), Some(1)));
}

#[test]
fn a_commit_is_known_when_it_comes_again() {
    let mut all = group(&["a", "b", "c"]);
    let by_a = all[0].update().unwrap();
    let by_b = all[1].update().unwrap();
    // The delivery service accepts a's, and delivers everything to everybody, twice.
    let incoming = all[0].receive(&by_a.commit).unwrap();
    assert!(matches!(incoming, Incoming::Own { change: Some(id) } if id == by_a.id()));
    all[0].confirm(by_a.id()).unwrap();
    for member in &mut all[1..] {
        assert!(matches!(member.receive(&by_a.commit).unwrap(), Incoming::Commit(_)));
    }
    let incoming = all[0].receive(&by_a.commit).unwrap();
    assert!(matches!(incoming, Incoming::Own { change: None }), "it is in force");
    let incoming = all[1].receive(&by_b.commit).unwrap();
    assert!(matches!(incoming, Incoming::Own { change: None }), "it was overtaken");
    for member in &mut all[1..] {
        assert!(matches!(member.receive(&by_a.commit).unwrap(), Incoming::Duplicate));
    }
    // It lost, and nobody processed it.
    for at in [0, 2] {
        let incoming = all[at].receive(&by_b.commit).unwrap();
        assert!(!matches!(incoming, Incoming::Own { .. } | Incoming::Duplicate), "{incoming:?}");
    }
    all_read_all(&mut all);
}

#[test]
fn what_is_known_survives_a_restart() {
    let store = Arc::new(Mutex::new(MemoryStore::new()));
    let mut alice = full("alice", true).create(Arc::clone(&store), "group").unwrap();
    let mut bob = joiner("bob");
    let change = alice.add_members([bob.key_package().unwrap()]).unwrap();
    let welcome = alice.confirm(change.id()).unwrap().welcome.unwrap();
    bob.receive_welcome(&welcome).unwrap();
    let update = bob.update().unwrap();
    bob.confirm(update.id()).unwrap();
    alice.receive(&update.commit).unwrap();
    let staged = alice.update().unwrap();
    let leave = alice.leave().unwrap();
    let message = alice.encrypt("text").unwrap();
    drop(alice);
    let catalog = cc_manager::Catalog::new()
        .with::<AesLayer>()
        .with::<DhLayer>()
        .with::<cc_mls_layer::MlsLayer>();
    let mut alice = CascadingCipherManager::open(store, "group", &catalog).unwrap();
    assert!(matches!(alice.receive(&update.commit).unwrap(), Incoming::Duplicate));
    let incoming = alice.receive(&staged.commit).unwrap();
    assert!(matches!(incoming, Incoming::Own { change: Some(id) } if id == staged.id()));
    assert!(matches!(alice.receive(&leave).unwrap(), Incoming::Own { change: None }));
    // Whatever the layers can tell: it is in the outbox.
    assert!(matches!(alice.receive(&message).unwrap(), Incoming::Own { change: None }));
    let outbox = alice.outbox().unwrap();
    let kinds: Vec<_> = outbox.iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [Kind::Welcome, Kind::Proposal, Kind::Application]);
    assert_eq!(outbox[0].recipients, Recipients::Members(vec![bob.member_id().unwrap()]));
    assert_eq!(
        outbox.iter().map(|entry| entry.epoch).collect::<Vec<_>>(),
        [Some(1), Some(2), Some(2)]
    );
}

#[test]
fn a_removed_member_is_told_that_it_comes_too_late() {
    let mut all = group(&["a", "b", "c"]);
    let id = all[2].member_id().unwrap();
    let removal = all[0].remove_members([id]).unwrap();
    settle(&mut all, 0, &removal, &[]);
    let wire = all[0].encrypt("without c").unwrap();
    let incoming = all[2].receive(&wire).unwrap();
    assert!(matches!(incoming, Incoming::Early { .. } | Incoming::Stale { .. }), "{incoming:?}");
    assert!(matches!(all[2].receive(&removal.commit).unwrap(), Incoming::Duplicate));
}

#[test]
fn what_is_not_for_this_stack_is_foreign() {
    let mut all = group(&["a", "b"]);
    let mut plain = CascadingCipherManager::builder().layer(aes()).build().unwrap();
    let other = plain.encrypt("text").unwrap();
    let incoming = all[1].receive(&other).unwrap();
    assert!(matches!(incoming, Incoming::Foreign(DecodeError::Stack)));
    let mut later = other.clone();
    later[1] = 2;
    let incoming = all[1].receive(&later).unwrap();
    assert!(matches!(incoming, Incoming::Foreign(DecodeError::Version(2))));
    assert!(matches!(all[1].receive("").unwrap(), Incoming::Forged(_)));
    let incoming = all[1].receive_welcome(&other).unwrap();
    assert!(matches!(incoming, IncomingWelcome::Foreign(DecodeError::Kind(Kind::Application))));
}

/// The documented exception.
#[test]
fn without_replay_state_every_time_is_a_message() {
    let mut manager = CascadingCipherManager::builder().layer(aes()).build().unwrap();
    assert!(!manager.stack_report().refuses_replays);
    let wire = manager.encrypt("text").unwrap();
    for _ in 0..2 {
        assert!(matches!(manager.receive(&wire).unwrap(), Incoming::Message(m) if m == "text"));
    }
}

#[test]
fn associated_data_belongs_to_messages() {
    let mut all = group(&["a", "b"]);
    let wire = all[0].encrypt_with("text", "room 1").unwrap();
    assert!(matches!(all[1].receive(&wire).unwrap(), Incoming::Forged(_)));
    let mut asked = 0;
    let declined = all[1].receive_if(&wire, "room 1", |incoming| {
        asked += 1;
        !matches!(incoming, Incoming::Message(_))
    });
    assert!(matches!(declined.unwrap(), Err(Incoming::Message(m)) if m.id().is_none()));
    assert_eq!(asked, 1);
    let incoming = all[1].receive_with(&wire, "room 1").unwrap();
    assert!(matches!(incoming, Incoming::Message(m) if m == "text"));
}

#[test]
fn many_at_once_are_one_commit_of_the_store() {
    let store = Arc::new(Mutex::new(MemoryStore::new()));
    let mut alice = founder("alice");
    let mut bob = full("bob", false).create(Arc::clone(&store), "group").unwrap();
    let change = alice.add_members([bob.key_package().unwrap()]).unwrap();
    let welcome = alice.confirm(change.id()).unwrap().welcome.unwrap();
    bob.receive_welcome(&welcome).unwrap();
    let mut log = alice.encrypt_all(["one", "two"]).unwrap();
    let update = alice.update().unwrap();
    alice.confirm(update.id()).unwrap();
    log.push(update.commit);
    log.push(alice.encrypt("three").unwrap());
    log.push(b"\0\x01\x01noise".to_vec());
    let before = store.lock().unwrap().commits();
    let received = bob.receive_all(&log).unwrap();
    assert_eq!(store.lock().unwrap().commits(), before + 1);
    let received: Vec<_> = received.into_iter().map(Result::unwrap).collect();
    let [
        Incoming::Message(one),
        Incoming::Message(two),
        Incoming::Commit(_),
        Incoming::Message(three),
        Incoming::Forged(_),
    ] = &received[..]
    else {
        panic!("{received:?}")
    };
    assert_eq!([one.epoch(), two.epoch(), three.epoch()], [Some(1), Some(1), Some(2)]);
    let inbox = bob.inbox().unwrap();
    assert_eq!(inbox.len(), 3);
    for (message, kept) in [one, two, three].into_iter().zip(&inbox) {
        assert_eq!(
            (message.id(), message.sender(), message.epoch(), message.sender_name()),
            (kept.id(), kept.sender(), kept.epoch(), kept.sender_name())
        );
        assert_eq!(message, kept);
    }
}

/// Names the sender of every message.
struct Names(cc_core::MemberId);

impl CipherLayer for Names {
    fn descriptor(&self) -> LayerDescriptor {
        LayerDescriptor { id: "test.names", version: 1, parameters: vec![] }
    }

    fn properties(&self) -> Properties {
        Properties::plain("names")
    }

    fn seal(&mut self, _: &LayerContext<'_>, _: &mut Buffer) -> Result<(), LayerError> {
        Ok(())
    }

    fn open(&mut self, _: &LayerContext<'_>, _: &mut Buffer) -> Result<Opened, LayerError> {
        Ok(Opened::by(self.0).in_epoch(7).named(Some("Zoë".into())))
    }

    fn save(&mut self, to: &mut cc_core::store::ScopeWriter<'_>) -> Result<(), LayerError> {
        if to.is_new() {
            to.put("id", cc_core::SecretBytes::new(self.0.as_bytes().to_vec()));
        }
        Ok(())
    }
}

#[test]
fn a_message_says_who_sent_it_and_in_which_epoch_also_from_the_inbox() {
    let id = cc_core::MemberId::from_bytes([5; 32]);
    let builder = CascadingCipherManager::builder().layer(aes()).layer(Names(id));
    let mut manager = builder.create(MemoryStore::new(), "pair").unwrap();
    let wire = manager.encrypt("text").unwrap();
    let Incoming::Message(message) = manager.receive(&wire).unwrap() else { panic!() };
    let kept = manager.inbox().unwrap().pop().unwrap();
    for message in [message, kept] {
        assert_eq!(message, "text");
        assert_eq!(message.sender(), Some(id));
        assert_eq!(message.sender_name(), Some("Zoë"));
        assert_eq!(message.epoch(), Some(7));
    }
}

#[test]
fn welcomes_have_names_too() {
    let dh_only = || CascadingCipherManager::builder().layer(dh()).layer(AesLayer::inherited());
    let mut alice = dh_only().build().unwrap();
    let mut bob = dh_only().build().unwrap();
    let package = bob.key_package().unwrap();
    let change = alice.add_members([&package]).unwrap();
    let welcome = alice.confirm(change.id()).unwrap().welcome.unwrap();
    let mut damaged = welcome.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let incoming = bob.receive_welcome(&damaged).unwrap();
    assert!(matches!(incoming, IncomingWelcome::Forged(_)), "{incoming:?}");
    assert!(matches!(bob.receive_welcome(&welcome).unwrap(), IncomingWelcome::Joined(_)));
    assert!(matches!(bob.receive_welcome(&welcome).unwrap(), IncomingWelcome::AlreadyUsed));
    let mut mallory = dh_only().build().unwrap();
    let change = mallory.add_members([&package]).unwrap();
    let elsewhere = mallory.confirm(change.id()).unwrap().welcome.unwrap();
    assert!(matches!(bob.receive_welcome(&elsewhere).unwrap(), IncomingWelcome::Unasked));
    bob.rejoin_package().unwrap();
    assert!(matches!(bob.receive_welcome(&welcome).unwrap(), IncomingWelcome::AlreadyUsed));
    let declined = bob.receive_welcome_if(&elsewhere, |joined| {
        joined.inviter.is_some() && joined.inviter == alice.member_id()
    });
    assert!(matches!(declined.unwrap(), Err(IncomingWelcome::Joined(_))));
    all_read_all_unsigned(&mut [alice, bob]);
}

#[test]
fn what_a_layer_says_of_a_welcome_is_what_the_application_is_told() {
    let wishes = Wishes::default();
    let person = |founder: bool| {
        let name = if founder { "a" } else { "b" };
        let layer = Wrapped::new(mls(name, founder), &wishes);
        CascadingCipherManager::builder().layer(layer).build().unwrap()
    };
    let (mut alice, mut bob) = (person(true), person(false));
    let change = alice.add_members([bob.key_package().unwrap()]).unwrap();
    let welcome = alice.confirm(change.id()).unwrap().welcome.unwrap();
    let mut because = |why: fn() -> LayerError| {
        *wishes.joins_not.lock().unwrap() = Some(why);
        bob.receive_welcome(&welcome)
    };
    let says = because(|| LayerError::stale(None)).unwrap();
    assert!(matches!(says, IncomingWelcome::NotForMe), "no key package of this member");
    assert!(matches!(because(LayerError::duplicate).unwrap(), IncomingWelcome::AlreadyUsed));
    let says = because(|| LayerError::early(Some(4))).unwrap();
    assert!(matches!(says, IncomingWelcome::Early { epoch: Some(4) }));
    assert!(matches!(because(LayerError::rejected).unwrap(), IncomingWelcome::Forged(_)));
    let says = because(|| LayerError::storage("test"));
    assert!(matches!(says, Err(Error::Layer { position: 0, .. })));
    *wishes.joins_not.lock().unwrap() = None;
    assert!(matches!(bob.receive_welcome(&welcome).unwrap(), IncomingWelcome::Joined(_)));
}

/// The delivery service gives every welcome to everybody who waits for one.
#[test]
fn a_welcome_for_somebody_else_is_no_attack() {
    let mut alice = founder("alice");
    let (mut bob, mut charlie) = (joiner("bob"), joiner("charlie"));
    let package = charlie.key_package().unwrap();
    let for_bob = alice.add_members([bob.key_package().unwrap()]).unwrap();
    let for_bob = alice.confirm(for_bob.id()).unwrap().welcome.unwrap();
    let incoming = charlie.receive_welcome(&for_bob).unwrap();
    assert!(matches!(incoming, IncomingWelcome::NotForMe), "{incoming:?}");
    let change = alice.add_members([package]).unwrap();
    let welcome = alice.confirm(change.id()).unwrap().welcome.unwrap();
    let incoming = bob.receive_welcome(&welcome).unwrap();
    assert!(matches!(incoming, IncomingWelcome::NotForMe), "{incoming:?}");
    assert!(matches!(charlie.receive_welcome(&welcome).unwrap(), IncomingWelcome::Joined(_)));
}

/// Also where Signal alone knows who is invited.
#[test]
fn a_welcome_of_signal_for_somebody_else_is_no_attack() {
    let person = || {
        let signal = SignalLayer::group(Account::generate().unwrap());
        CascadingCipherManager::builder().layer(aes()).layer(signal).build().unwrap()
    };
    let [mut alice, mut bob, mut charlie] = [person(), person(), person()];
    charlie.key_package().unwrap();
    let change = alice.add_members([bob.key_package().unwrap()]).unwrap();
    let welcome = alice.confirm(change.id()).unwrap().welcome.unwrap();
    let incoming = charlie.receive_welcome(&welcome).unwrap();
    assert!(matches!(incoming, IncomingWelcome::NotForMe), "{incoming:?}");
    let mut damaged = welcome.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let incoming = bob.receive_welcome(&damaged).unwrap();
    assert!(matches!(incoming, IncomingWelcome::Forged(_)), "{incoming:?}");
    assert!(matches!(bob.receive_welcome(&welcome).unwrap(), IncomingWelcome::Joined(_)));
}

fn all_read_all_unsigned(members: &mut [CascadingCipherManager]) {
    let wire = members[0].encrypt("text").unwrap();
    assert_eq!(members[1].decrypt(&wire).unwrap(), "text");
}

/// Nothing that anybody sends is an error of this end, or a panic.
#[test]
fn whatever_comes_is_an_incoming() {
    let mut all = group(&["a", "b"]);
    let wires =
        [all[0].encrypt("text").unwrap(), all[0].leave().unwrap(), all[0].update().unwrap().commit];
    for wire in &wires {
        for at in 0..wire.len().min(200) {
            let mut damaged = wire.clone();
            damaged[at] ^= 0x55;
            let incoming = all[1].receive(&damaged).unwrap();
            assert!(
                !matches!(
                    incoming,
                    Incoming::Message(_) | Incoming::Commit(_) | Incoming::Proposal(_)
                ),
                "byte {at}: {incoming:?}"
            );
            all[1].receive(&wire[..at]).unwrap();
            all[1].receive_welcome(&damaged).unwrap();
        }
    }
    for wire in wires {
        let incoming = all[1].receive(wire).unwrap();
        assert!(
            matches!(incoming, Incoming::Message(_) | Incoming::Proposal(_) | Incoming::Commit(_)),
            "{incoming:?}"
        );
    }
}

#[test]
fn a_pair_receives_as_well() {
    let [alice, bob] = [(); 2].map(|()| DhKeyPair::generate(Curve::X25519).unwrap());
    let (of_alice, of_bob) = (*alice.public_key(), *bob.public_key());
    let stack = |keys, peer| {
        let dh = DhLayer::pairwise(keys, peer).unwrap();
        CascadingCipherManager::builder().layer(dh).layer(AesLayer::inherited()).build().unwrap()
    };
    let (mut alice, mut bob) = (stack(alice, of_bob), stack(bob, of_alice));
    let wire = alice.encrypt("text").unwrap();
    let Incoming::Message(message) = bob.receive(&wire).unwrap() else { panic!() };
    assert_eq!((message.sender(), message.epoch()), (None, None));
}

/// Whoever kept an old key package of a member can have it readmitted. The member sees that, and returns.
#[test]
fn who_was_readmitted_unasked_comes_back_by_the_same_welcome() {
    let mut all = group(&["a", "b", "c"]);
    let old = all[2].rejoin_package().unwrap();
    all[2].cancel_rejoin().unwrap();
    let change = all[0].readmit_members([old]).unwrap();
    let welcome = settle(&mut all, 0, &change, &[2]).unwrap();
    let Incoming::Commit(summary) = all[2].receive(&change.commit).unwrap() else { panic!() };
    assert!(summary.removed_self && summary.added == [all[2].member_id().unwrap()]);
    let incoming = all[2].receive_welcome(&welcome).unwrap();
    assert!(matches!(incoming, IncomingWelcome::Unasked), "{incoming:?}");
    all[2].rejoin_package().unwrap();
    let incoming = all[2].receive_welcome(&welcome).unwrap();
    assert!(matches!(incoming, IncomingWelcome::Joined(_)), "{incoming:?}");
    all_read_all(&mut all);
}
