//! Layers that break the contract, and calls that fail half-way: the manager answers with an error and
//! everything stays as it was.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::common;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use cc_aes_layer::{AesKey, AesLayer};
use cc_core::{
    Attachment, Buffer, CipherLayer, Contribution, Header, Hint, Kind, LayerContext,
    LayerDescriptor, LayerError, LayerErrorKind, Opened, Properties, Recalled, Secret, StackId,
};
use cc_dh_layer::{Curve, DhKeyPair, DhLayer};
use cc_manager::{
    CascadingCipherManager, DecodeError, Error, Incoming, IncomingWelcome, StackProblem,
};
use common::{
    Follow as _, all_read_all, dh, founder, full, group, joiner, mls, settle,
    wrapped::{Wishes, Wrapped},
};

/// A layer that encrypts nothing, and whose words and deeds the test chooses.
#[derive(Clone, Default)]
struct Puppet {
    says_it_contributes: bool,
    contributes: bool,
    hint: usize,
    early: bool,
    refuses_its_place: Arc<AtomicBool>,
}

impl CipherLayer for Puppet {
    fn descriptor(&self) -> LayerDescriptor {
        LayerDescriptor { id: "test.puppet", version: 1, parameters: vec![] }
    }

    fn properties(&self) -> Properties {
        Properties { contributes: self.says_it_contributes, ..Properties::plain("puppet") }
    }

    fn attach(&mut self, _: &Attachment) -> Result<(), LayerError> {
        if self.refuses_its_place.load(Relaxed) {
            return Err(LayerError::misuse("the test wants this"));
        }
        Ok(())
    }

    fn contribute(&mut self) -> Result<Option<Contribution>, LayerError> {
        let secret = Secret::copy_from(&[7; 32]).unwrap();
        Ok(self.contributes.then(|| Contribution { hint: vec![1; self.hint], secret }))
    }

    fn recall(&mut self, _: &[u8]) -> Result<Recalled, LayerError> {
        if self.early {
            return Err(LayerError::early(None));
        }
        let secret = Secret::copy_from(&[7; 32]).unwrap();
        Ok(Recalled { secret, epoch: None })
    }

    fn seal(&mut self, _: &LayerContext<'_>, _: &mut Buffer) -> Result<(), LayerError> {
        Ok(())
    }

    fn open(&mut self, _: &LayerContext<'_>, _: &mut Buffer) -> Result<Opened, LayerError> {
        Ok(Opened::default())
    }
}

fn aes(byte: u8) -> AesLayer {
    AesLayer::new(AesKey::copy_from(&[byte; 32]).unwrap())
}

fn on_aes(puppet: Puppet) -> CascadingCipherManager {
    CascadingCipherManager::builder().layer(aes(1)).layer(puppet).build().unwrap()
}

fn pairwise() -> DhLayer {
    let keys = || DhKeyPair::generate(Curve::X25519).unwrap();
    DhLayer::pairwise(keys(), *keys().public_key()).unwrap()
}

#[test]
fn a_layer_that_lies_about_contributing_seals_nothing() {
    for says_it_contributes in [false, true] {
        let puppet =
            Puppet { says_it_contributes, contributes: !says_it_contributes, ..Puppet::default() };
        let error = on_aes(puppet).encrypt("text").unwrap_err();
        let Error::Layer { position: 1, layer: "puppet", source } = error else {
            panic!("{error}")
        };
        assert_eq!(source.kind(), LayerErrorKind::Internal);
    }
}

#[test]
fn a_layer_that_lies_about_contributing_changes_no_group() {
    let puppet = Puppet { says_it_contributes: true, ..Puppet::default() };
    let mut alice = full("a", true).layer(puppet).build().unwrap();
    let error = alice.update().unwrap_err();
    assert!(matches!(error, Error::Layer { position: 3, .. }), "{error}");
    assert_eq!(alice.staged_change(), None);
    assert_eq!(alice.epoch(), Some(0));
    // Without the liar the group goes on.
    alice.remove_layer(3).unwrap();
    let mut bob = joiner("b");
    let change = alice.add_members([bob.key_package().unwrap()]).unwrap();
    let welcome = alice.confirm(change.id()).unwrap().welcome.unwrap();
    bob.join(&welcome).unwrap();
    all_read_all(&mut [alice, bob]);
}

#[test]
fn a_hint_over_the_limit_is_not_sent() {
    let puppet =
        |hint| Puppet { says_it_contributes: true, contributes: true, hint, ..Puppet::default() };
    on_aes(puppet(64)).encrypt("text").unwrap();
    let error = on_aes(puppet(65)).encrypt("text").unwrap_err();
    assert!(matches!(error, Error::Decode(DecodeError::TooLong)), "{error}");
}

/// `wire` with other hints in front of the same body.
fn with_hints(wire: &[u8], stack: &StackId, hints: &[(u16, &[u8])]) -> Vec<u8> {
    let (_, kind, len) = Header::decode(wire, stack).unwrap();
    let hints =
        hints.iter().map(|&(position, value)| Hint { position, value: value.into() }).collect();
    let mut forged = Header::new(kind, stack, hints).encode().unwrap();
    forged.extend_from_slice(&wire[len..]);
    forged
}

#[test]
fn hints_are_for_the_layers_that_contribute_and_no_others() {
    let stack = common::stack_id();
    let mut all = group(&["a", "b"]);
    let wire = all[0].encrypt("text").unwrap();
    let (header, ..) = Header::decode(&wire, &stack).unwrap();
    let (of_dh, of_mls) = (header.hint(0).unwrap(), header.hint(1).unwrap());
    assert_eq!(with_hints(&wire, &stack, &[(0, of_dh), (1, of_mls)]), wire);

    // For the layer that contributes nothing.
    let forged = with_hints(&wire, &stack, &[(0, of_dh), (1, of_mls), (2, b"")]);
    let error = all[1].decrypt(forged).unwrap_err();
    assert!(matches!(error, Error::Layer { position: 2, .. }) && error.is_rejected(), "{error}");
    // For a position that the stack does not have.
    for position in [3, 15, u16::MAX] {
        let forged = with_hints(&wire, &stack, &[(0, of_dh), (1, of_mls), (position, b"")]);
        let error = all[1].decrypt(forged).unwrap_err();
        assert!(matches!(error, Error::Decode(DecodeError::Malformed)), "{error}");
    }
    // One too few, for either layer, and none.
    for (hints, at) in [(&[(1, of_mls)][..], 0), (&[(0, of_dh)], 1), (&[], 0)] {
        let error = all[1].decrypt(with_hints(&wire, &stack, hints)).unwrap_err();
        assert!(
            matches!(error, Error::Layer { position, .. } if position == at) && error.is_rejected()
        );
    }
    // Of the wrong length, and one for the other.
    for hint in [&b""[..], &[0; 7], &[0; 9], &[0xff; 64]] {
        assert!(all[1].decrypt(with_hints(&wire, &stack, &[(0, hint), (1, of_mls)])).is_err());
        assert!(all[1].decrypt(with_hints(&wire, &stack, &[(0, of_dh), (1, hint)])).is_err());
    }
    assert_eq!(all[1].decrypt(&wire).unwrap(), "text");
}

#[test]
fn each_layer_tells_what_is_early() {
    let stack = common::stack_id();
    let mut all = group(&["a", "b"]);
    let wire = all[0].encrypt("text").unwrap();
    let (header, ..) = Header::decode(&wire, &stack).unwrap();
    let (of_dh, of_mls) = (header.hint(0).unwrap(), header.hint(1).unwrap());
    let later = u64::MAX.to_be_bytes();
    for (hints, at) in [([(0, &later[..]), (1, of_mls)], 0), ([(0, of_dh), (1, &later)], 1)] {
        let error = all[1].decrypt(with_hints(&wire, &stack, &hints)).unwrap_err();
        assert!(matches!(error, Error::Layer { position, .. } if position == at), "{error}");
        assert!(error.is_early() && !error.is_rejected(), "{error}");
    }
    assert_eq!(all[1].decrypt(&wire).unwrap(), "text");
    // A layer of one's own, with a commit as with a message.
    let puppet =
        |early| Puppet { says_it_contributes: true, contributes: true, early, ..Puppet::default() };
    let sealed = on_aes(puppet(false)).encrypt("text").unwrap();
    assert!(on_aes(puppet(true)).decrypt(&sealed).unwrap_err().is_early());
    assert_eq!(on_aes(puppet(false)).decrypt(&sealed).unwrap(), "text");
    // What is not a message of this stack is not early.
    assert!(!all[1].decrypt(&sealed).unwrap_err().is_early());
}

#[test]
fn each_call_takes_its_own_kinds() {
    let mut all = group(&["a", "b"]);
    let mut c = joiner("c");
    let bundle = c.key_package().unwrap();
    let message = all[0].encrypt("text").unwrap();
    let leave = all[1].leave().unwrap();
    let change = all[0].add_members([&bundle]).unwrap();
    let wrong = |error: Error, kind| {
        assert!(matches!(error, Error::Decode(DecodeError::Kind(k)) if k == kind))
    };
    let mut elsewhere = founder("x");
    let other = elsewhere.add_members([joiner("y").key_package().unwrap()]).unwrap();
    let welcome = elsewhere.confirm(other.id()).unwrap().welcome.unwrap();
    for (wire, kind) in [
        (&message, Kind::Application),
        (&leave, Kind::Proposal),
        (&change.commit, Kind::Commit),
        (&welcome, Kind::Welcome),
        (&bundle, Kind::KeyPackage),
    ] {
        let foreign = |why| matches!(why, DecodeError::Kind(k) if k == kind);
        if kind != Kind::Application {
            wrong(all[1].decrypt(wire).unwrap_err(), kind);
        }
        if matches!(kind, Kind::Welcome | Kind::KeyPackage) {
            let incoming = all[1].receive(wire).unwrap();
            assert!(matches!(incoming, Incoming::Foreign(why) if foreign(why)));
        }
        if kind != Kind::Welcome {
            let incoming = c.receive_welcome(wire).unwrap();
            assert!(matches!(incoming, IncomingWelcome::Foreign(why) if foreign(why)));
        }
        if kind != Kind::KeyPackage {
            let error = all[1].add_members([wire]).unwrap_err();
            let Error::KeyPackage { index: 0, member: None, source } = error else { panic!() };
            wrong(*source, kind);
        }
    }
    for short in [&b""[..], &[0], &[0, 1]] {
        assert!(matches!(all[1].receive(short).unwrap(), Incoming::Forged(_)));
        assert!(matches!(c.receive_welcome(short).unwrap(), IncomingWelcome::Forged(_)));
    }
    assert_eq!(all[1].staged_change(), None);
    let welcome = settle(&mut all, 0, &change, &[]).unwrap();
    c.join(&welcome).unwrap();
    assert_eq!(all[1].decrypt(&message).unwrap(), "text");
    all.push(c);
    all_read_all(&mut all);
}

#[test]
fn a_layer_that_no_longer_takes_its_place_undoes_every_edit() {
    let refuses = Arc::new(AtomicBool::new(false));
    let puppet = Puppet { refuses_its_place: refuses.clone(), ..Puppet::default() };
    let mut all = group(&["a", "b"]);
    for member in &mut all {
        member.add_layer(puppet.clone()).unwrap();
        member.add_layer(aes(1)).unwrap();
    }
    let before = all[0].stack_report();
    refuses.store(true, Relaxed);
    let at_puppet = |result: Result<(), Error>, position| {
        assert!(matches!(result, Err(Error::Layer { position: at, .. }) if at == position));
    };
    at_puppet(all[0].add_layer(aes(2)), 3);
    at_puppet(all[0].insert_layer(0, aes(2)), 4);
    at_puppet(all[0].remove_layer(4).map(drop), 3);
    at_puppet(all[0].replace_layer(4, aes(2)).map(drop), 3);
    at_puppet(all[0].replace_layer(2, aes(2)).map(drop), 3);
    assert!(all[0].find_at::<AesLayer>(2).unwrap().key().is_none(), "the old layer is back");
    assert!(matches!(all[0].insert_layer(9, aes(2)), Err(Error::NoSuchLayer(9))));
    assert!(matches!(all[0].remove_layer(9), Err(Error::NoSuchLayer(9))));
    assert!(matches!(all[0].replace_layer(9, aes(2)), Err(Error::NoSuchLayer(9))));
    assert!(matches!(all[0].insert_layer(0, AesLayer::inherited()), Err(Error::Stack(_))));
    assert_eq!(all[0].stack_report(), before);
    all_read_all(&mut all);
    refuses.store(false, Relaxed);
    for member in &mut all {
        member.remove_layer(3).unwrap();
    }
    all_read_all(&mut all);
}

#[test]
fn a_layer_for_two_is_not_put_into_a_group_of_three() {
    let mut all = group(&["a", "b", "c"]);
    let refused = |result: Result<(), Error>| {
        assert!(matches!(result, Err(Error::PairwiseInGroup { position: 0, members: 3 })));
    };
    refused(all[0].insert_layer(0, pairwise()));
    assert_eq!(all[0].layer_count(), 3);
    for member in &mut all {
        member.insert_layer(0, aes(1)).unwrap();
    }
    refused(all[0].replace_layer(0, pairwise()).map(drop));
    all_read_all(&mut all);
    let mut two = group(&["a", "b"]);
    two[0].insert_layer(0, pairwise()).unwrap();
}

#[test]
fn a_refused_commit_changes_nothing_and_can_be_processed_again() {
    let mut all = group(&["a", "b", "c"]);
    let by_a = all[0].update().unwrap();
    let by_b = all[1].update().unwrap();
    all[0].confirm(by_a.id()).unwrap();
    for _ in 0..2 {
        let refused = all[1].receive_if(&by_a.commit, [], |_| false).unwrap().unwrap_err();
        let Incoming::Commit(summary) = refused else { panic!() };
        assert_eq!(summary.superseded, Some(by_b.id()));
        assert_eq!(all[1].staged_change(), Some(&by_b), "still staged");
    }
    // Nobody is asked about what does not open.
    let mut damaged = by_a.commit.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let incoming = all[1].receive_if(&damaged, [], |_| panic!()).unwrap();
    assert!(matches!(incoming, Ok(Incoming::Forged(_))));
    // A request to leave is forgotten when it is refused.
    let leave = all[2].leave().unwrap();
    all[1].receive_if(&leave, [], |_| false).unwrap().unwrap_err();
    assert_eq!(all[1].leaving().count(), 0);
    all[1].process(&leave).unwrap();
    assert_eq!(all[1].leaving().count(), 1);
    for member in &mut all[1..] {
        member.process(&by_a.commit).unwrap();
    }
    assert_eq!(all[1].staged_change(), None);
    all_read_all(&mut all);
}

#[test]
fn commits_and_welcomes_of_another_group_of_the_same_stack_are_refused() {
    let mut ours = group(&["a", "b"]);
    let mut theirs = group(&["x", "y"]);
    let mut c = joiner("c");
    let change = theirs[0].add_members([joiner("z").key_package().unwrap()]).unwrap();
    assert!(ours[1].process(&change.commit).is_err());
    assert!(matches!(ours[0].confirm(change.id()), Err(Error::NoSuchChange(_))));
    assert!(matches!(ours[0].discard(change.id()), Err(Error::NoSuchChange(_))));
    let leave = theirs[1].leave().unwrap();
    assert!(ours[0].process(&leave).is_err());
    assert_eq!(ours[0].leaving().count(), 0);
    let welcome = settle(&mut theirs, 0, &change, &[]).unwrap();
    assert!(c.join(&welcome).is_err());
    let change = ours[0].add_members([c.key_package().unwrap()]).unwrap();
    let welcome = settle(&mut ours, 0, &change, &[]).unwrap();
    c.join(&welcome).unwrap();
    ours.push(c);
    all_read_all(&mut ours);
    all_read_all(&mut theirs);
}

/// What docs/security.md says of removed members: they speak in the epochs they were in, and no others.
#[test]
fn a_removed_member_speaks_only_in_epochs_that_it_was_in() {
    let mut all = group(&["a", "b", "c"]);
    let c = all[2].member_id().unwrap();
    let change = all[0].remove_members([c]).unwrap();
    settle(&mut all, 0, &change, &[2]);
    // c has not heard of it, or does not care.
    let wire = all[2].encrypt("still here").unwrap();
    let message = all[1].decrypt(&wire).unwrap();
    assert_eq!(message.sender(), Some(c));
    assert!(all[1].members().iter().all(|member| member.id != c), "the application can tell");
    // It changes nothing in the group.
    let update = all[2].update().unwrap();
    assert!(all[1].process(&update.commit).is_err());
    let leave = all[2].leave().unwrap();
    assert!(all[1].process(&leave).is_err());
    // And it ends with the window.
    for _ in 0..4 {
        let update = all[0].update().unwrap();
        settle(&mut all, 0, &update, &[2]);
    }
    let wire = all[2].encrypt("still here").unwrap();
    assert!(all[1].decrypt(&wire).unwrap_err().is_rejected());
    all.pop();
    all_read_all(&mut all);
}

/// Who asked itself to leave could never stage a change again: nobody commits its own removal.
#[test]
fn nobody_processes_its_own_request_to_leave() {
    let mut all = group(&["a", "b"]);
    let leave = all[0].leave().unwrap();
    assert!(all[0].process(&leave).is_err());
    assert_eq!(all[0].leaving().count(), 0);
    let update = all[0].update().unwrap();
    settle(&mut all, 0, &update, &[]);
    all_read_all(&mut all);
}

/// Nothing authenticates a part that lies above all group layers, so there must be none: whatever is in a
/// welcome counts.
#[test]
fn every_byte_of_a_welcome_counts_also_below_a_contributing_layer() {
    let puppet =
        || Puppet { says_it_contributes: true, contributes: true, hint: 8, ..Puppet::default() };
    let mut alice = full("a", true).layer(puppet()).build().unwrap();
    let mut bob = full("b", false).layer(puppet()).build().unwrap();
    let change = alice.add_members([bob.key_package().unwrap()]).unwrap();
    let welcome = alice.confirm(change.id()).unwrap().welcome.unwrap();
    for at in 0..welcome.len() {
        let mut flipped = welcome.clone();
        flipped[at] ^= 0x10;
        assert!(bob.join(&flipped).is_err(), "byte {at} of {}", flipped.len());
    }
    bob.join(&welcome).unwrap();
    let update = bob.update().unwrap();
    bob.confirm(update.id()).unwrap();
    alice.process(&update.commit).unwrap();
    all_read_all(&mut [alice, bob]);
}

/// What docs/security.md says of shared keys and of a DH group without past generations.
#[test]
fn what_a_shared_key_does_not_tell() {
    let mut plain = CascadingCipherManager::builder().layer(aes(1)).build().unwrap();
    let wire = plain.encrypt("text").unwrap();
    assert_eq!(plain.decrypt(&wire).unwrap(), "text", "given back to its sender");
    let mut all = group(&["a", "b"]);
    let wire = all[0].encrypt("text").unwrap();
    assert!(all[0].decrypt(&wire).unwrap_err().is_rejected());

    for (past, opens) in [(0, false), (1, true)] {
        let build = || {
            CascadingCipherManager::builder()
                .layer(dh().keep_past_generations(past))
                .build()
                .unwrap()
        };
        let (mut alice, mut bob, mut charlie) = (build(), build(), build());
        let bundles = [bob.key_package().unwrap(), charlie.key_package().unwrap()];
        let change = alice.add_members(bundles).unwrap();
        let welcome = alice.confirm(change.id()).unwrap().welcome.unwrap();
        bob.join(&welcome).unwrap();
        charlie.join(&welcome).unwrap();
        let removal = alice.remove_members([charlie.member_id().unwrap()]).unwrap();
        alice.confirm(removal.id()).unwrap();
        bob.process(&removal.commit).unwrap();
        let wire = charlie.encrypt("still here").unwrap();
        assert_eq!(bob.decrypt(&wire).is_ok(), opens, "{past}");
    }
}

#[test]
fn the_same_key_pair_makes_one_layer_only() {
    let own = || {
        DhKeyPair::from_private_key(Curve::X25519, Secret::copy_from(&[7; 32]).unwrap()).unwrap()
    };
    let peer = *DhKeyPair::generate(Curve::X25519).unwrap().public_key();
    let twice = CascadingCipherManager::builder()
        .layer(DhLayer::pairwise(own(), peer).unwrap())
        .layer(aes(1))
        .layer(DhLayer::pairwise(own(), peer).unwrap())
        .build();
    assert!(matches!(twice, Err(Error::Stack(StackProblem::SharedKey(0, 2)))));
    let twice = CascadingCipherManager::builder()
        .layer(DhLayer::group(own()))
        .layer(aes(1))
        .layer(DhLayer::group(own()))
        .build();
    assert!(matches!(twice, Err(Error::Stack(StackProblem::SharedKey(0, 2)))));
}

#[test]
fn a_panic_of_the_application_while_it_is_asked_changes_nothing() {
    let mut all = group(&["a", "b"]);
    let update = all[0].update().unwrap();
    let b = &mut all[1];
    let asked = std::panic::AssertUnwindSafe(|| {
        b.receive_if(&update.commit, [], |_| {
            std::panic::resume_unwind(Box::new("the test wants this"))
        })
    });
    assert!(std::panic::catch_unwind(asked).is_err());
    assert_eq!(all[1].epoch(), all[0].epoch());
    all_read_all(&mut all);
    settle(&mut all, 0, &update, &[]);
    all_read_all(&mut all);
}

/// One view of the group has one authenticator: of the epoch, and of what each layer has.
#[test]
fn the_epoch_authenticator_tells_views_apart() {
    let wishes = Wishes::default();
    let said = |digest| *wishes.authenticator.lock().unwrap() = digest;
    let person = |name, founder| {
        CascadingCipherManager::builder()
            .layer(Wrapped::new(dh(), &wishes))
            .layer(mls(name, founder))
            .build()
            .unwrap()
    };
    let mut all = vec![person("a", true), person("b", false)];
    assert_eq!(all[1].epoch_authenticator(), None, "outside");
    let package = all[1].key_package().unwrap();
    let change = all[0].add_members([package]).unwrap();
    let welcome = all[0].confirm(change.id()).unwrap().welcome.unwrap();
    all[1].join(&welcome).unwrap();
    said(Some([1; 32]));
    let first = all[0].epoch_authenticator();
    assert!(first.is_some());
    assert_eq!(all[1].epoch_authenticator(), first);
    // Another view in one layer.
    said(Some([2; 32]));
    assert_ne!(all[1].epoch_authenticator(), first);
    // Another epoch.
    said(Some([1; 32]));
    let update = all[0].update().unwrap();
    settle(&mut all, 0, &update, &[]);
    let second = all[0].epoch_authenticator();
    assert_ne!(second, first);
    assert_eq!(all[1].epoch_authenticator(), second);
}

#[test]
fn the_layers_are_told_the_time() {
    let wishes = Wishes::default();
    let mut a = CascadingCipherManager::builder()
        .layer(Wrapped::new(mls("a", true), &wishes))
        .build()
        .unwrap();
    let mut b = CascadingCipherManager::builder()
        .layer(Wrapped::new(mls("b", false), &wishes))
        .build()
        .unwrap();
    let package = b.key_package().unwrap();
    a.set_time(Some(1_800_000_000));
    a.propose_add(&package).unwrap();
    let _staged = a.commit_proposals().unwrap();
    let times = wishes.times.lock().unwrap().clone();
    assert_eq!(times, [None, Some(1_800_000_000), Some(1_800_000_000)]);
}
