//! Changes that are staged, confirmed, discarded, superseded and refused, and members that come and return.

use alloc::{vec, vec::Vec};

use super::*;
use crate::restarts::written;

#[test]
fn a_staged_change_leaves_the_group_as_it_is() {
    let [mut alice, mut bob, mut charlie] = three(Curve::X25519);
    let before = alice.secret().secret;
    let lost = alice.change(&mut [], &[charlie.id], 3);
    assert_eq!(alice.secret().secret, before);
    let next = alice.layer.next_contribution().unwrap().unwrap();
    assert_eq!(next.hint, 3u64.to_be_bytes());
    let wire = alice.seal(b"still in the old one").unwrap();
    assert!(bob.open(&wire).is_ok() && charlie.open(&wire).is_ok());
    assert_eq!(kind(alice.try_change(&mut [], &[], 4)), LayerErrorKind::Misuse);

    // Bob's commit wins: Alice's is discarded by processing it, and too late for everyone else.
    let won = bob.change(&mut [], &[], 4);
    bob.confirm();
    assert_eq!(alice.process(&won.commit, 4).unwrap(), CommitOutcome::default());
    let _ = charlie.process(&won.commit, 4).unwrap();
    assert_eq!(kind(alice.layer.confirm_change()), LayerErrorKind::NotReady);
    assert_eq!(kind(bob.process(&lost.commit, 3)), LayerErrorKind::Stale);
    assert_eq!(alice.secret().secret, charlie.secret().secret);

    // Discarded by hand.
    let lost = alice.change(&mut [], &[], 5);
    alice.layer.discard_change().unwrap();
    alice.layer.apply();
    assert_eq!(kind(alice.layer.confirm_change()), LayerErrorKind::NotReady);
    assert_eq!(kind(alice.layer.next_contribution()), LayerErrorKind::NotReady);
    let change = alice.change(&mut [], &[charlie.id], 6);
    alice.confirm();
    let _ = bob.process(&change.commit, 6).unwrap();
    assert_eq!(kind(charlie.process(&lost.commit, 6)), LayerErrorKind::Rejected);
    assert!(charlie.process(&change.commit, 6).unwrap().removed_self);
    assert_eq!(alice.epoch(), 4);
    assert_eq!(alice.secret().secret, bob.secret().secret);
}

#[test]
fn a_revert_brings_the_old_state_back() {
    let [mut alice, mut bob, charlie] = three(Curve::X25519);
    let mut dora = person(Curve::X25519, false);
    let before = (bob.epoch(), bob.secret().secret, bob.layer.members());
    let change = alice.change(&mut [&mut dora], &[charlie.id], 3);

    let outcome = bob.layer.process_commit(&change.commit, &parts(3)).unwrap();
    assert_eq!((outcome.added, outcome.removed), (vec![dora.id], vec![charlie.id]));
    let next = bob.layer.next_contribution().unwrap().unwrap().secret;
    bob.layer.revert();
    assert_eq!(before, (bob.epoch(), bob.secret().secret, bob.layer.members()));
    assert_eq!(kind(bob.layer.next_contribution()), LayerErrorKind::NotReady);

    assert_eq!(dora.layer.join(&change.welcome, &parts(3)).unwrap(), Some(alice.id));
    dora.layer.revert();
    assert_eq!(dora.layer.standing(), Standing::Outside);

    alice.layer.confirm_change().unwrap();
    alice.layer.revert();
    assert_eq!(alice.epoch(), 2);
    alice.confirm();
    assert_eq!(alice.epoch(), 3);
    let _ = bob.process(&change.commit, 3).unwrap();
    dora.join(&change.welcome, 3).unwrap();
    assert_eq!(bob.secret().secret, next);
    assert_eq!(dora.secret().secret, alice.secret().secret);
}

#[test]
fn who_adds_the_first_member_founds_the_group() {
    let (mut alice, mut bob) = (person(Curve::P256, false), person(Curve::P256, false));
    assert_eq!(kind(alice.seal(b"x")), LayerErrorKind::NotReady);
    assert_eq!(kind(alice.layer.contribute()), LayerErrorKind::NotReady);
    let _ = alice.change(&mut [&mut bob], &[], 1);
    assert_eq!(alice.epoch(), 0);
    assert!(alice.seal(b"the commit is sealed in generation 0").is_ok());
    alice.layer.discard_change().unwrap();
    alice.layer.apply();
    assert_eq!(alice.layer.standing(), Standing::Outside);
    let change = alice.change(&mut [&mut bob], &[], 2);
    alice.confirm();
    bob.join(&change.welcome, 2).unwrap();
    assert_eq!(alice.secret().secret, bob.secret().secret);
}

#[test]
fn attaching_again_changes_nothing() {
    let mut alice = person(Curve::X25519, true);
    assert_eq!(alice.epoch(), 0);
    let before = alice.secret().secret;
    let mut place =
        Attachment { stack: StackId::of(&[]), position: 3, member: Some(alice.id), founding: true };
    alice.layer.attach(&place).unwrap();
    alice.layer.apply();
    assert_eq!(alice.secret().secret, before);

    // Another id is another group, which is only possible alone. Another layer may refuse the place.
    place.member = Some(MemberId::from_bytes([9; 32]));
    alice.layer.attach(&place).unwrap();
    alice.layer.revert();
    assert_eq!(alice.secret().secret, before);
    alice.layer.attach(&place).unwrap();
    alice.layer.apply();
    assert_ne!(alice.secret().secret, before);
    let [mut alice, ..] = three(Curve::X25519);
    assert_eq!(kind(alice.layer.attach(&place)), LayerErrorKind::Misuse);
    place.member = None;
    assert_eq!(kind(alice.layer.attach(&place)), LayerErrorKind::Misuse);
}

#[test]
fn changes_that_cannot_be_made_are_refused() {
    let curve = Curve::X25519;
    let [mut alice, bob, _] = three(curve);
    let (alice_id, stranger) = (alice.id, MemberId::from_bytes([1; 32]));
    for removed in [vec![stranger], vec![bob.id, bob.id], vec![alice.id]] {
        assert_eq!(kind(alice.try_change(&mut [], &removed, 3)), LayerErrorKind::Misuse);
    }
    let of_dora = person(curve, false).package();
    let p256 = person(Curve::P256, false).package();
    let new = |id, part| NewMember { id, part, binding: [0; 32] };
    let mut stage = |added: &[NewMember<'_>], removed: &[MemberId]| {
        kind(alice.layer.stage_change(&ChangeRequest { added, removed }, &parts(3)))
    };
    use LayerErrorKind::{Misuse, Rejected};
    assert_eq!(stage(&[new(bob.id, &of_dora)], &[]), Misuse, "an id that is there already");
    assert_eq!(stage(&[new(alice_id, &of_dora)], &[alice_id]), Misuse, "oneself");
    assert_eq!(stage(&[new(stranger, &p256)], &[]), Misuse, "the other curve");
    assert_eq!(stage(&[new(stranger, &[1, 2, 3])], &[]), Rejected);
    let twice = [new(stranger, &of_dora), new(stranger, &of_dora)];
    assert_eq!(stage(&twice, &[]), Misuse);
    assert_eq!(alice.epoch(), 2);
    let _ = alice.change(&mut [], &[], 3);
}

/// A member that lost its way is removed and added in one change, and takes the group anew.
#[test]
fn who_fell_out_of_step_comes_back() {
    for curve in CURVES {
        let [mut alice, mut bob, mut charlie] = three(curve);
        let lost = alice.change(&mut [], &[], 3);
        alice.confirm();
        let _ = bob.process(&lost.commit, 3).unwrap();
        // Charlie never sees it, and has a change of its own staged.
        let _ = charlie.change(&mut [], &[], 9);
        let before = charlie.secret().secret;
        let id = charlie.id;
        let change = alice.change(&mut [&mut charlie], &[id], 4);
        alice.confirm();
        let outcome = bob.process(&change.commit, 4).unwrap();
        assert_eq!((outcome.added, outcome.removed), (vec![charlie.id], vec![charlie.id]));
        assert!(!outcome.removed_self);
        assert_eq!(kind(charlie.process(&change.commit, 4)), LayerErrorKind::Early);

        charlie.layer.join(&change.welcome, &parts(4)).unwrap();
        charlie.layer.revert();
        assert_eq!((charlie.epoch(), charlie.secret().secret), (2, before));
        assert!(charlie.layer.next_contribution().is_ok(), "the staged change is still there");
        charlie.join(&change.welcome, 4).unwrap();
        assert_eq!(kind(charlie.layer.next_contribution()), LayerErrorKind::NotReady);
        assert_eq!(kind(charlie.layer.confirm_change()), LayerErrorKind::NotReady);
        assert_eq!(charlie.layer.members(), alice.layer.members());
        let wire = charlie.seal(b"back").unwrap();
        assert!(alice.open(&wire).is_ok() && bob.open(&wire).is_ok());
        // What it knew of the group before is forgotten.
        assert_eq!(kind(charlie.layer.recall(&2u64.to_be_bytes())), LayerErrorKind::Stale);

        // Had it been in step, it would see that it went, and that it comes again.
        let change = bob.change(&mut [&mut charlie], &[id], 5);
        bob.confirm();
        let outcome = charlie.process(&change.commit, 5).unwrap();
        assert_eq!((outcome.added, outcome.removed), (vec![charlie.id], vec![charlie.id]));
        assert!(outcome.removed_self);
        charlie.join(&change.welcome, 5).unwrap();
        assert_eq!(charlie.secret().secret, bob.secret().secret);
    }
}

/// An addition or an update costs those who are in the same bytes in any group, on the wire and in the
/// store.
#[test]
fn without_a_removal_a_change_is_as_short_in_a_large_group() {
    let curve = Curve::X25519;
    let mut costs = vec![];
    for size in [3, 600] {
        let mut alice = person(curve, true);
        let mut bob = person(curve, false);
        let mut people: Vec<_> = (2..size).map(|_| person(curve, false)).collect();
        let mut all: Vec<_> = people.iter_mut().chain([&mut bob]).collect();
        let change = alice.change(&mut all, &[], 1);
        alice.confirm();
        bob.join(&change.welcome, 1).unwrap();
        let mut dora = person(curve, false);
        written(&mut bob.layer, true);
        bob.layer.apply();
        for (binding, added) in [(2, vec![&mut dora]), (3, vec![])] {
            let mut added = added;
            let change = alice.change(&mut added, &[], binding);
            alice.confirm();
            let _ = bob.layer.process_commit(&change.commit, &parts(binding)).unwrap();
            costs.push((change.commit.len(), written(&mut bob.layer, false)));
            bob.layer.apply();
        }
        assert_eq!(alice.secret().secret, bob.secret().secret);
    }
    let [(add, stored), (update, update_stored), large @ ..] = &costs[..] else { panic!() };
    assert_eq!([large[0].0, large[1].0], [*add, *update]);
    assert!(*add < 200 && *update < 130, "{add} {update}");
    // The shard that the new member is in has a few others in the large group.
    assert!(large[0].1 < stored + 700 && large[1].1 <= update_stored + 100, "{costs:?}");
}
