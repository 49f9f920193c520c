//! What a member achieves who shows others different things.

use super::*;
use crate::message_key::tests::forget;

fn authenticator(person: &Person) -> [u8; 32] {
    person.layer.epoch_authenticator().unwrap()
}

#[test]
fn all_members_have_one_authenticator_an_epoch() {
    let [mut alice, mut bob, mut charlie] = three();
    let mut seen = BTreeMap::new();
    for binding in 3..6 {
        let change = alice.stage(&mut [], &[], binding);
        alice.confirm();
        for other in [&mut bob, &mut charlie] {
            let _ = other.process(&change.commit, binding).unwrap();
            other.restart();
        }
        for person in [&alice, &bob, &charlie] {
            assert_eq!(authenticator(person), authenticator(&alice));
        }
        assert_eq!(seen.insert(authenticator(&alice), ()), None);
    }
    let removal = alice.stage(&mut [], &[charlie.id], 6);
    assert_eq!(authenticator(&alice), authenticator(&bob), "not confirmed yet");
    assert!(charlie.process(&removal.commit, 6).unwrap().removed_self);
    assert_eq!(charlie.layer.epoch_authenticator(), None);
    assert_eq!(person(false).layer.epoch_authenticator(), None);
}

/// Mallory adds Eve before Bob and updates before Alice. Nobody is in one group with Eve unknowingly:
/// Alice and Bob do not read each other, and the answer says so.
#[test]
fn two_changes_for_two_members() {
    let [mut alice, mut bob, mut mallory] = three();
    let mut other_mallory = Person { id: mallory.id, kept: mallory.copy() };
    let mut eve = person(false);
    let addition = mallory.stage(&mut [&mut eve], &[], 3);
    mallory.confirm();
    // She seals twice in one place of her chain, which nobody else does.
    forget();
    let update = other_mallory.stage(&mut [], &[], 3);
    other_mallory.confirm();
    let _ = bob.process(&addition.commit, 3).unwrap();
    let _ = alice.process(&update.commit, 3).unwrap();
    eve.join(&addition.welcome, 3).unwrap();
    assert_eq!((alice.epoch(), bob.epoch(), eve.epoch()), (3, 3, 3));
    assert_ne!(authenticator(&alice), authenticator(&bob));
    assert_eq!(authenticator(&eve), authenticator(&bob));
    let (from_alice, from_bob) = (alice.seal(b"to all"), bob.seal(b"to all"));
    assert_eq!(kind(bob.open(&from_alice)), LayerErrorKind::Rejected);
    assert_eq!(kind(eve.open(&from_alice)), LayerErrorKind::Rejected);
    assert_eq!(kind(alice.open(&from_bob)), LayerErrorKind::Rejected);
    // Neither follows the other's history from here on.
    let change = bob.stage(&mut [], &[mallory.id], 4);
    bob.confirm();
    assert_eq!(kind(alice.process(&change.commit, 4)), LayerErrorKind::Rejected);
    assert_eq!(alice.layer.members().len(), 3);
    // And Eve does not outlive her removal among those who know her.
    let change = bob.stage(&mut [], &[eve.id], 5);
    bob.confirm();
    let text = bob.seal(b"without eve");
    assert!(eve.open(&text).is_err());
    assert!(eve.process(&change.commit, 5).is_err());
}

/// Two updates of one member that agree in all but the secret: whoever gets another one than the commit
/// commits to refuses it.
#[test]
fn two_secrets_for_two_members() {
    for victim in 0..2 {
        let [mut alice, mut bob, mut mallory] = three();
        let mut stage = || {
            let change = mallory.layer.stage_change(&ChangeRequest::default(), &parts(3)).unwrap();
            mallory.layer.revert();
            change.commit
        };
        let (first, second) = (stage(), stage());
        let from = first.len() - 2 * 1648 + victim * 1648;
        let mixed = [&first[..from], &second[from..from + 1648], &first[from + 1648..]].concat();
        let wire = mallory.seal(&mixed);
        let results = [&mut alice, &mut bob].map(|person| person.process(&wire, 3).map(drop));
        let refused = results.into_iter().filter_map(Result::err);
        let kinds: Vec<_> = refused.map(|error| error.kind()).collect();
        assert_eq!(kinds, [LayerErrorKind::Rejected]);
        // As if nothing had been.
        let other = if alice.epoch() == 2 { &mut alice } else { &mut bob };
        assert_eq!(other.epoch(), 2);
        let change = mallory.stage(&mut [], &[], 4);
        let _ = other.process(&change.commit, 4).unwrap();
    }
}

/// A newcomer who is shown another roster or history than the members have shares no key with them.
#[test]
fn a_welcome_is_bound_to_its_commit() {
    let [mut alice, mut bob, mut mallory] = three();
    let mut other_mallory = Person { id: mallory.id, kept: mallory.copy() };
    let mut eve = person(false);
    let package = (eve.id, eve.package());
    // Two commits that add Eve, one of them without Bob.
    let honest = mallory.try_stage(core::slice::from_ref(&package), &[], 3).unwrap();
    mallory.confirm();
    forget();
    let without_bob = other_mallory.try_stage(&[package], &[bob.id], 3).unwrap();
    for other in [&mut alice, &mut bob] {
        let _ = other.process(&honest.commit, 3).unwrap();
    }
    eve.join(&without_bob.welcome, 3).unwrap();
    assert_ne!(authenticator(&eve), authenticator(&alice));
    let wire = alice.seal(b"to the group");
    assert_eq!(kind(eve.open(&wire)), LayerErrorKind::Rejected);
    let wire = eve.seal(b"to the group");
    for other in [&mut alice, &mut bob] {
        assert_eq!(kind(other.open(&wire)), LayerErrorKind::Rejected);
    }
}

/// Old keys of a member in a commit or in the roster of another are not taken for its present ones.
#[test]
fn a_commit_of_another_history_is_refused() {
    let [mut alice, mut bob, mut charlie] = three();
    let part = charlie.layer.stage_change(&ChangeRequest::default(), &parts(4)).unwrap().commit;
    charlie.layer.revert();
    let change = alice.stage(&mut [], &[], 3);
    alice.confirm();
    for other in [&mut bob, &mut charlie] {
        let _ = other.process(&change.commit, 3).unwrap();
    }
    // Made in epoch 2, sealed in epoch 3.
    let wire = charlie.seal(&part);
    for other in [&mut alice, &mut bob] {
        assert_eq!(kind(other.process(&wire, 4)), LayerErrorKind::Rejected);
    }
    all_to_all(&mut [&mut alice, &mut bob, &mut charlie]);
}
