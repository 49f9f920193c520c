//! Groups whose members keep to the rules.

use super::*;
use crate::message_key::tests::used;

/// A message when nobody owes or acknowledges anything.
const STEADY: usize = 107;

#[test]
fn three_talk_one_joins_and_one_goes() {
    let [mut alice, mut bob, mut charlie] = three();
    for _ in 0..2 {
        all_to_all(&mut [&mut alice, &mut bob, &mut charlie]);
    }
    let mut dora = person(false);
    let before = alice.seal(b"before dora");
    let change = alice.stage(&mut [&mut dora], &[], 3);
    alice.confirm();
    for other in [&mut bob, &mut charlie] {
        let outcome = other.process(&change.commit, 3).unwrap();
        assert_eq!((&outcome.added[..], outcome.removed_self), (&[dora.id][..], false));
    }
    assert_eq!(kind(dora.open(&before)), LayerErrorKind::NotReady);
    dora.join(&change.welcome, 3).unwrap();
    all_to_all(&mut [&mut alice, &mut bob, &mut charlie, &mut dora]);
    // She has Alice's chain by now, from a later state on.
    assert_eq!(kind(dora.open(&before)), LayerErrorKind::Stale);
    bob.reads(&before, b"before dora", alice.id);

    let late = charlie.seal(b"late");
    let to_charlie = bob.seal(b"sent before the removal");
    let change = dora.stage(&mut [], &[charlie.id], 4);
    dora.confirm();
    for other in [&mut alice, &mut bob] {
        let outcome = other.process(&change.commit, 4).unwrap();
        assert_eq!((outcome.committer, &outcome.removed[..]), (Some(dora.id), &[charlie.id][..]));
        assert_eq!(other.layer.members().len(), 3);
        assert_eq!(other.epoch(), 4);
    }
    let outcome = charlie.process(&change.commit, 4).unwrap();
    assert!(outcome.removed_self);
    assert_eq!(charlie.layer.standing(), Standing::Removed);
    assert!(charlie.layer.members().is_empty());
    assert_eq!(kind(seal(&mut charlie.layer, b"x")), LayerErrorKind::NotReady);
    charlie.reads(&to_charlie, b"sent before the removal", bob.id);
    for sender in [&mut alice, &mut bob, &mut dora] {
        let wire = sender.seal(b"without charlie");
        assert_eq!(kind(charlie.open(&wire)), LayerErrorKind::Rejected);
    }
    assert!(alice.open(&late).is_err(), "a former member's chain is forgotten");
    all_to_all(&mut [&mut alice, &mut bob, &mut dora]);
}

#[test]
fn in_the_steady_state_a_message_costs_the_same_in_any_group() {
    let [mut alice, mut bob, mut charlie] = three();
    // The README's numbers. Charlie has a pair session with Bob, who invited him, and begins one with
    // Alice.
    assert_eq!(charlie.seal(b"").len(), STEADY + 36 + 178 + 1924);
    for _ in 0..3 {
        all_to_all(&mut [&mut alice, &mut bob, &mut charlie]);
    }
    assert_eq!(alice.seal(b"").len(), STEADY);
    // An update is owed to two who answer in pair sessions already.
    let _ = alice.stage(&mut [], &[], 2);
    alice.confirm();
    let established = alice.seal(b"").len() - STEADY;
    assert_eq!(established - 36, 2 * 178);
    // Nobody answers, and the repeats stop all the same.
    let mut dora = person(false);
    let _ = alice.stage(&mut [&mut dora], &[], 3);
    alice.confirm();
    for _ in 0..DISTRIBUTION_REPEATS {
        assert!(alice.seal(b"").len() > STEADY);
    }
    assert_eq!(alice.seal(b"").len(), STEADY);
    alice.redistribute();
    assert!(alice.seal(b"").len() > STEADY);
    assert_eq!(kind(dora.layer.redistribute()), LayerErrorKind::NotReady);
}

#[test]
fn acknowledgements_stop() {
    let [mut alice, mut bob, mut charlie] = three();
    all_to_all(&mut [&mut alice, &mut bob, &mut charlie]);
    // Charlie wrote once with his chain, and says nothing more.
    let sizes: Vec<_> = (0..2 * DISTRIBUTION_REPEATS).map(|_| alice.seal(b"").len()).collect();
    assert_eq!(sizes.last(), Some(&STEADY));
}

#[test]
fn the_first_message_with_a_chain_is_lost_or_late() {
    let [mut alice, mut bob, mut charlie] = three();
    let first = alice.seal(b"first");
    let second = alice.seal(b"second");
    let third = alice.seal(b"third");
    bob.reads(&second, b"second", alice.id);
    bob.reads(&third, b"third", alice.id);
    bob.reads(&first, b"first", alice.id);
    for wire in [&first, &second, &third] {
        assert_eq!(kind(bob.open(wire)), LayerErrorKind::Duplicate);
    }
    // Charlie loses everything that carries it.
    for _ in 3..DISTRIBUTION_REPEATS {
        alice.seal(b"lost");
    }
    let without = alice.seal(b"without the chain");
    assert_eq!(kind(charlie.open(&without)), LayerErrorKind::Early);
    alice.redistribute();
    let again = alice.seal(b"again");
    charlie.reads(&again, b"again", alice.id);
    assert_eq!(kind(charlie.open(&without)), LayerErrorKind::Stale, "older than the chain");
    bob.reads(&again, b"again", alice.id);

    // An update does it as well.
    let change = alice.stage(&mut [], &[], 3);
    assert!(change.welcome.is_empty());
    alice.confirm();
    assert_eq!(bob.process(&change.commit, 3).unwrap().committer, Some(alice.id));
    let _ = charlie.process(&change.commit, 3).unwrap();
    all_to_all(&mut [&mut alice, &mut bob, &mut charlie]);
}

#[test]
fn a_newcomers_message_before_its_commit_is_early() {
    let [mut alice, mut bob, mut charlie] = three();
    let mut dora = person(false);
    let change = alice.stage(&mut [&mut dora], &[], 3);
    dora.join(&change.welcome, 3).unwrap();
    let hello = dora.seal(b"hello");
    assert_eq!(kind(alice.open(&hello)), LayerErrorKind::Early);
    assert_eq!(kind(bob.open(&hello)), LayerErrorKind::Early);
    alice.confirm();
    let _ = bob.process(&change.commit, 3).unwrap();
    let _ = charlie.process(&change.commit, 3).unwrap();
    for other in [&mut alice, &mut bob, &mut charlie] {
        other.reads(&hello, b"hello", dora.id);
    }
    all_to_all(&mut [&mut alice, &mut bob, &mut charlie, &mut dora]);
    // Its own message comes back.
    let own = dora.seal(b"echo");
    assert_eq!(kind(dora.open(&own)), LayerErrorKind::Rejected);
}

#[test]
fn a_staged_change_leaves_the_group_as_it_is() {
    let [mut alice, mut bob, mut charlie] = three();
    let lost = alice.stage(&mut [], &[charlie.id], 3);
    assert_eq!((alice.epoch(), alice.layer.members().len()), (2, 3));
    assert_eq!(alice.layer.next_contribution().unwrap().map(|c| c.hint), None);
    assert_eq!(kind(alice.try_stage(&[], &[], 4)), LayerErrorKind::Misuse);
    let wire = alice.seal(b"still here");
    charlie.reads(&wire, b"still here", alice.id);

    // Bob's commit wins.
    let won = bob.stage(&mut [], &[], 4);
    bob.confirm();
    for other in [&mut alice, &mut charlie] {
        assert_eq!(other.process(&won.commit, 4).unwrap().committer, Some(bob.id));
    }
    assert_eq!(kind(alice.layer.confirm_change()), LayerErrorKind::NotReady);
    assert_eq!(kind(alice.layer.next_contribution()), LayerErrorKind::NotReady);
    assert_eq!(kind(bob.process(&lost.commit, 3)), LayerErrorKind::Rejected);

    // Discarded by hand.
    let _ = alice.stage(&mut [], &[charlie.id], 5);
    alice.discard();
    assert_eq!(kind(alice.layer.confirm_change()), LayerErrorKind::NotReady);
    all_to_all(&mut [&mut alice, &mut bob, &mut charlie]);
    assert_eq!(alice.epoch(), 3);
}

#[test]
fn a_commit_of_a_later_epoch_is_early() {
    let [mut alice, mut bob, charlie] = three();
    let first = alice.stage(&mut [], &[], 3);
    alice.confirm();
    let second = alice.stage(&mut [], &[], 4);
    alice.confirm();
    assert_eq!(kind(bob.process(&second.commit, 4)), LayerErrorKind::Early);
    let _ = bob.process(&first.commit, 3).unwrap();
    let _ = bob.process(&second.commit, 4).unwrap();
    assert_eq!(bob.epoch(), 4);
    assert_eq!(charlie.epoch(), 2);
}

#[test]
fn a_revert_brings_the_old_state_back() {
    let [mut alice, mut bob, charlie] = three();
    let mut dora = person(false);
    let change = alice.stage(&mut [&mut dora], &[charlie.id], 3);

    let (part, _) = open_staged(&mut bob.layer, &change.commit, b"ad").unwrap();
    let outcome = bob.layer.process_commit(&part, &parts(3)).unwrap();
    assert_eq!((outcome.added, outcome.removed), (vec![dora.id], vec![charlie.id]));
    // The manager looks at the roster before it applies.
    let ids: Vec<_> = bob.layer.members().iter().map(|member| member.id).collect();
    assert!(ids.contains(&dora.id) && !ids.contains(&charlie.id) && ids.len() == 3);
    bob.layer.revert();
    assert_eq!((bob.epoch(), bob.layer.members().len()), (2, 3));
    assert!(bob.layer.members().iter().any(|member| member.id == charlie.id));

    assert_eq!(dora.layer.join(&change.welcome, &parts(3)).unwrap(), Some(alice.id));
    assert_eq!(dora.layer.members().len(), 3);
    dora.layer.revert();
    assert_eq!(dora.layer.standing(), Standing::Outside);

    alice.layer.confirm_change().unwrap();
    assert_eq!(alice.epoch(), 3);
    alice.layer.revert();
    assert_eq!(alice.epoch(), 2);
    alice.confirm();
    let _ = bob.process(&change.commit, 3).unwrap();
    dora.join(&change.welcome, 3).unwrap();
    all_to_all(&mut [&mut alice, &mut bob, &mut dora]);
}

#[test]
fn a_reverted_seal_repeats_no_key_and_still_owes_the_chain() {
    let [mut alice, mut bob, _] = three();
    let before = used();
    for _ in 0..10 {
        seal_staged(&mut alice.layer, b"same text").unwrap();
        alice.layer.revert();
    }
    // Two pair messages and the message itself, each time.
    assert_eq!(used(), before + 30);
    let wire = alice.seal(b"same text");
    bob.reads(&wire, b"same text", alice.id);
}

#[test]
fn who_adds_the_first_member_founds_the_group() {
    let (mut alice, mut bob) = (person(false), person(false));
    assert_eq!(kind(seal(&mut alice.layer, b"x")), LayerErrorKind::NotReady);
    let package = bob.package();
    let _ = alice.try_stage(&[(bob.id, package.clone())], &[], 1).unwrap();
    assert_eq!(alice.epoch(), 0);
    alice.discard();
    assert_eq!(alice.layer.standing(), Standing::Outside);
    let change = alice.try_stage(&[(bob.id, package)], &[], 2).unwrap();
    alice.confirm();
    bob.join(&change.welcome, 2).unwrap();
    all_to_all(&mut [&mut alice, &mut bob]);
    assert_eq!(
        alice.layer.safety_number_with(bob.id, b"a", b"b"),
        bob.layer.safety_number_with(alice.id, b"b", b"a")
    );
}

#[test]
fn attaching_again_changes_nothing() {
    let mut alice = person(true);
    let stack = StackId::of(&[]);
    let mut place = Attachment { stack, position: 3, member: Some(alice.id), founding: true };
    alice.layer.attach(&place).unwrap();
    alice.layer.apply();
    assert_eq!((alice.epoch(), alice.layer.members().len()), (0, 1));
    let [mut alice, mut bob, mut charlie] = three();
    place.member = Some(alice.id);
    alice.layer.attach(&place).unwrap();
    alice.layer.apply();
    assert_eq!(alice.epoch(), 2);
    all_to_all(&mut [&mut alice, &mut bob, &mut charlie]);
    place.member = Some(MemberId::from_bytes([9; 32]));
    assert_eq!(kind(alice.layer.attach(&place)), LayerErrorKind::Misuse);
}
