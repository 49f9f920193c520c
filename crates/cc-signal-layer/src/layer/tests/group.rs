//! Groups whose members keep to the rules.

use super::*;
use crate::message_key::tests::used;

/// What a message is longer than its text.
const OVERHEAD: usize = 128;

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
    // She has nothing of an epoch before hers.
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
        assert_eq!(kind(charlie.open(&wire)), LayerErrorKind::Early);
    }
    alice.reads(&late, b"late", charlie.id);
    all_to_all(&mut [&mut alice, &mut bob, &mut dora]);
}

#[test]
fn a_message_costs_the_same_in_any_group_and_at_any_time() {
    let [mut alice, mut bob, mut charlie] = three();
    assert_eq!(charlie.seal(b"").len(), OVERHEAD);
    all_to_all(&mut [&mut alice, &mut bob, &mut charlie]);
    let mut dora = person(false);
    for (added, removed) in [(true, false), (false, true), (false, false)] {
        let mut newcomers: Vec<_> = added.then_some(&mut dora).into_iter().collect();
        let removed: Vec<_> = removed.then_some(bob.id).into_iter().collect();
        let _ = alice.stage(&mut newcomers, &removed, 3);
        alice.confirm();
        assert_eq!(alice.seal(b"first").len(), OVERHEAD + 5);
    }
}

#[test]
fn nothing_is_lost_with_the_first_messages() {
    let [mut alice, mut bob, mut charlie] = three();
    let first = alice.seal(b"first");
    let second = alice.seal(b"second");
    let third = alice.seal(b"third");
    for (wire, text) in [(&second, &b"second"[..]), (&third, b"third"), (&first, b"first")] {
        bob.reads(wire, text, alice.id);
    }
    for wire in [&first, &second, &third] {
        assert_eq!(kind(bob.open(wire)), LayerErrorKind::Duplicate);
    }
    // Charlie loses many of them.
    for _ in 0..10 {
        alice.seal(b"lost");
    }
    let later = alice.seal(b"later");
    charlie.reads(&later, b"later", alice.id);
    charlie.reads(&first, b"first", alice.id);

    let change = alice.stage(&mut [], &[], 3);
    assert!(change.welcome.is_empty());
    alice.confirm();
    assert_eq!(bob.process(&change.commit, 3).unwrap().committer, Some(alice.id));
    let _ = charlie.process(&change.commit, 3).unwrap();
    all_to_all(&mut [&mut alice, &mut bob, &mut charlie]);
}

/// More than a thousand lost messages kill no chain.
#[test]
fn a_chain_goes_on_after_any_loss() {
    let [mut alice, mut bob, mut charlie] = three();
    let first = alice.seal(b"first");
    let wires: Vec<_> =
        (0..3000u32).map(|n| seal(&mut alice.layer, &n.to_be_bytes()).unwrap()).collect();
    bob.reads(&wires[2999], &2999u32.to_be_bytes(), alice.id);
    bob.restart();
    // Of the latest thousand the keys are kept.
    bob.reads(&wires[1999], &1999u32.to_be_bytes(), alice.id);
    let stale = bob.open(&wires[1998]).unwrap_err();
    assert_eq!((stale.kind(), stale.epoch()), (LayerErrorKind::Stale, Some(2)));
    assert_eq!(kind(bob.open(&first)), LayerErrorKind::Stale);
    charlie.reads(&first, b"first", alice.id);
    all_to_all(&mut [&mut alice, &mut bob, &mut charlie]);
}

/// Whose message it is, and of which epoch; and what is not for this member.
#[test]
fn a_message_tells_its_sender_and_its_epoch() {
    let [mut alice, mut bob, mut charlie] = three();
    let wires: Vec<_> = (0..2).map(|_| alice.seal(b"x")).collect();
    let (_, opened) = bob.open_kept(&wires[0]).unwrap();
    assert_eq!(opened, Opened::by(alice.id).in_epoch(2));
    assert_eq!(kind(alice.open(&wires[0])), LayerErrorKind::Own);
    for binding in 3..6 {
        let change = charlie.stage(&mut [], &[], binding);
        charlie.confirm();
        for other in [&mut alice, &mut bob] {
            let _ = other.process(&change.commit, binding).unwrap();
        }
    }
    // Of an epoch that is past.
    let (_, opened) = bob.open_kept(&wires[1]).unwrap();
    assert_eq!(opened, Opened::by(alice.id).in_epoch(2));
    assert_eq!(kind(bob.open(&wires[1])), LayerErrorKind::Duplicate);
    assert_eq!(kind(alice.open(&wires[1])), LayerErrorKind::Own);
    let early = charlie.seal(b"of epoch 5");
    let change = charlie.stage(&mut [], &[], 6);
    charlie.confirm();
    let ahead = charlie.seal(b"of epoch 6");
    let error = bob.open(&ahead).unwrap_err();
    assert_eq!((error.kind(), error.epoch()), (LayerErrorKind::Early, Some(6)));
    bob.reads(&early, b"of epoch 5", charlie.id);
    let _ = bob.process(&change.commit, 6).unwrap();
    bob.reads(&ahead, b"of epoch 6", charlie.id);
    // Epoch 2 is out of the window now, for good.
    for person in [&mut bob, &mut charlie] {
        let error = person.open(&wires[1]).unwrap_err();
        assert_eq!((error.kind(), error.epoch()), (LayerErrorKind::Stale, Some(2)));
    }
}

/// Its author was removed, or came back, since it was sent.
#[test]
fn a_message_outlives_its_author() {
    let [mut alice, mut bob, mut charlie] = three();
    let (late, too_late) = (charlie.seal(b"late"), charlie.seal(b"too late"));
    let package = (charlie.id, charlie.package());
    let change = alice.try_stage(&[package], &[charlie.id], 3).unwrap();
    alice.confirm();
    let _ = bob.process(&change.commit, 3).unwrap();
    charlie.join(&change.welcome, 3).unwrap();
    alice.reads(&late, b"late", charlie.id);
    assert_eq!(kind(charlie.open(&late)), LayerErrorKind::Stale);
    let change = alice.stage(&mut [], &[charlie.id], 4);
    alice.confirm();
    let _ = bob.process(&change.commit, 4).unwrap();
    bob.restart();
    bob.reads(&late, b"late", charlie.id);
    for binding in 5..7 {
        let change = alice.stage(&mut [], &[], binding);
        alice.confirm();
        let _ = bob.process(&change.commit, binding).unwrap();
    }
    bob.restart();
    for other in [&mut alice, &mut bob] {
        let error = other.open(&too_late).unwrap_err();
        assert_eq!((error.kind(), error.epoch()), (LayerErrorKind::Stale, Some(2)));
    }
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
    assert_eq!(kind(dora.open(&own)), LayerErrorKind::Own);
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
    // Her chain moved on with the new epoch, so it opens; but it is of the epoch before.
    assert_eq!(kind(bob.process(&lost.commit, 3)), LayerErrorKind::Stale);

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

/// Neither a key nor a place in the chain.
#[test]
fn a_reverted_seal_repeats_nothing() {
    let [mut alice, mut bob, _] = three();
    let before = used();
    let mut wires = Vec::new();
    for staged in [false, true, false] {
        if staged {
            let _ = alice.layer.stage_change(&ChangeRequest::default(), &parts(3)).unwrap();
        }
        for _ in 0..3 {
            wires.push(seal_staged(&mut alice.layer, b"same text").unwrap());
        }
        alice.layer.revert();
    }
    wires.push(alice.seal(b"same text"));
    assert!(used() >= before + 10);
    for wire in &wires {
        bob.reads(wire, b"same text", alice.id);
    }
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
