//! What outsiders and members without the right to it try.

use super::*;

fn refused<T>(result: Result<T, LayerError>) {
    assert_eq!(kind(result), LayerErrorKind::Rejected);
}

#[test]
fn a_damaged_message_is_refused_by_everybody() {
    let [mut alice, mut bob, mut charlie] = three();
    let wire = alice.seal(b"text");
    for reader in [&mut bob, &mut charlie] {
        for bit in 0..wire.len() * 8 {
            let mut flipped = wire.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(reader.open(&flipped).is_err(), "{bit}");
        }
        for at in 0..wire.len() {
            assert!(reader.open(&wire[..at]).is_err(), "{at}");
        }
        let mut longer = wire.clone();
        longer.push(0);
        refused(reader.open(&longer));
        assert!(open_staged(&mut reader.layer, &wire, b"other").is_err());
        reader.layer.revert();
        reader.reads(&wire, b"text", alice.id);
    }
}

/// Noise is no message of a later epoch, and costs one hash to tell.
#[test]
fn noise_is_not_early() {
    let [_, mut bob, _] = three();
    for len in 0..300 {
        let mut noise = vec![0; len];
        cc_core::random::fill(&mut noise).unwrap();
        refused(bob.open(&noise));
    }
}

#[test]
fn a_damaged_or_spliced_key_package_is_refused() {
    let mut alice = person(true);
    let (mut bob, mut eve) = (person(false), person(false));
    let (first, second, of_eve) = (bob.package(), bob.package(), eve.package());
    let mut stage = |id: MemberId, part: &[u8], binding: [u8; 32]| {
        let added = [NewMember { id, part, binding }];
        let request = ChangeRequest { added: &added, removed: &[] };
        let result = alice.layer.stage_change(&request, &parts(1));
        alice.layer.revert();
        assert!(result.as_ref().err().is_none_or(|error| error.member() == Some(id)));
        result
    };
    for at in (0..first.len()).step_by(53).chain(first.len() - 70..first.len()) {
        let mut flipped = first.clone();
        flipped[at] ^= 1 << (at % 8);
        refused(stage(bob.id, &flipped, [0; 32]));
        refused(stage(bob.id, &first[..at], [0; 32]));
    }
    refused(stage(bob.id, &first, [1; 32]));
    refused(stage(eve.id, &first, [0; 32]));
    refused(stage(bob.id, &of_eve, [0; 32]));
    // Of two good ones: the keys of one beside the signature of the other, and keys exchanged.
    let (keys, end) = (1824, first.len() - 64);
    assert_eq!(first.len(), second.len());
    for other in [&second, &of_eve] {
        refused(stage(bob.id, &[&first[..end], &other[end..]].concat(), [0; 32]));
        refused(stage(bob.id, &[&other[..keys], &first[keys..]].concat(), [0; 32]));
        let welcome = [&first[..keys], &other[keys..end], &first[end..]].concat();
        refused(stage(bob.id, &welcome, [0; 32]));
    }
    let mut longer = first.clone();
    longer.push(0);
    refused(stage(bob.id, &longer, [0; 32]));
    let _ = stage(bob.id, &first, [0; 32]).unwrap();
    assert_eq!(alice.layer.inspect_key_package(&first).unwrap().commitment, bob.layer.commitment());
    refused(alice.layer.inspect_key_package(&first[..first.len() - 1]));
}

#[test]
fn a_damaged_welcome_is_refused() {
    let mut alice = person(true);
    let (mut bob, mut charlie) = (person(false), person(false));
    let change = alice.stage(&mut [&mut bob, &mut charlie], &[], 1);
    alice.confirm();
    let welcome = &change.welcome;
    for at in (0..welcome.len()).step_by(101) {
        let mut flipped = welcome.clone();
        flipped[at] ^= 1 << (at % 8);
        if at < 16 {
            // The salt of the tags: it might be for somebody else.
            assert_eq!(kind(bob.join(&flipped, 1)), LayerErrorKind::Stale);
        } else {
            refused(bob.join(&flipped, 1));
        }
        refused(bob.join(&welcome[..at], 1));
        assert_eq!(bob.layer.standing(), Standing::Outside);
    }
    refused(bob.join(welcome, 2));
    bob.join(welcome, 1).unwrap();
    charlie.join(welcome, 1).unwrap();
    all_to_all(&mut [&mut alice, &mut bob, &mut charlie]);
}

/// Of a welcome that names no key package of this member, or one that was used, that is what is told.
#[test]
fn a_welcome_for_somebody_else_is_no_forgery() {
    let (mut alice, mut bob, mut dora) = (person(true), person(false), person(false));
    let change = alice.stage(&mut [&mut bob], &[], 1);
    alice.confirm();
    let welcome = &change.welcome;
    dora.package();
    let invited = |person: &Person| person.layer.is_invited(welcome);
    assert_eq!([&alice, &bob, &dora].map(invited), [Some(false), Some(true), Some(false)]);
    assert_eq!(bob.layer.is_invited(&welcome[..100]), None);
    assert_eq!(kind(dora.join(welcome, 1)), LayerErrorKind::Stale);
    bob.join(welcome, 1).unwrap();
    assert_eq!(bob.layer.is_invited(welcome), Some(false));
    assert_eq!(kind(bob.join(welcome, 1)), LayerErrorKind::Stale);
    // The tags of two welcomes have nothing in common but for who knows the key package.
    let package = (dora.id, dora.package());
    let tags = [2, 3].map(|binding| {
        let change = alice.try_stage(core::slice::from_ref(&package), &[], binding).unwrap();
        alice.discard();
        assert_eq!(dora.layer.is_invited(&change.welcome), Some(true));
        change.welcome[20..28].to_vec()
    });
    assert_ne!(tags[0], tags[1]);
}

#[test]
fn a_one_time_prekey_is_used_once() {
    let (mut alice, mut dora, mut bob) = (person(true), person(true), person(false));
    let package = (bob.id, bob.package());
    let first = alice.try_stage(core::slice::from_ref(&package), &[], 1).unwrap();
    alice.confirm();
    let second = dora.try_stage(&[package], &[], 1).unwrap();
    bob.join(&first.welcome, 1).unwrap();
    let removal = alice.stage(&mut [], &[bob.id], 2);
    assert!(bob.process(&removal.commit, 2).unwrap().removed_self);
    for welcome in [&first.welcome, &second.welcome] {
        assert_eq!(kind(bob.join(welcome, 1)), LayerErrorKind::Stale);
    }
    dora.discard();
    let third = dora.stage(&mut [&mut bob], &[], 2);
    dora.confirm();
    bob.join(&third.welcome, 2).unwrap();
    all_to_all(&mut [&mut dora, &mut bob]);
}

#[test]
fn only_who_sealed_a_commit_has_made_it() {
    let [mut alice, mut bob, mut charlie] = three();
    all_to_all(&mut [&mut alice, &mut bob, &mut charlie]);
    let change = alice.layer.stage_change(&ChangeRequest::default(), &parts(3)).unwrap();
    alice.layer.revert();
    // Not inside a message at all.
    refused(bob.layer.process_commit(&change.commit, &parts(3)));
    bob.layer.revert();
    // Bound to other parts.
    let wire = alice.seal(&change.commit);
    refused(bob.process(&wire, 4));
    // Sealed by another than who made it: no key in it is the other's.
    let wire_of_charlie = charlie.seal(&change.commit);
    refused(bob.process(&wire_of_charlie, 3));
    let _ = bob.process(&wire, 3).unwrap();

    let [mut alice, mut bob, mut charlie] = three();
    // A commit that removes its own sender.
    let part =
        charlie.layer.stage_change(&ChangeRequest { added: &[], removed: &[bob.id] }, &parts(3));
    let part = part.unwrap().commit;
    charlie.layer.revert();
    let wire = bob.seal(&part);
    refused(alice.process(&wire, 3));
    // Damaged parts that a member has sealed.
    for at in (0..part.len()).step_by(7) {
        let mut flipped = part.clone();
        flipped[at] ^= 1 << (at % 8);
        let wire = charlie.seal(&flipped);
        refused(alice.process(&wire, 3));
        let wire = charlie.seal(&part[..at]);
        refused(alice.process(&wire, 3));
    }
    let mut longer = part.clone();
    longer.push(0);
    let wire = charlie.seal(&longer);
    refused(alice.process(&wire, 3));
    assert_eq!((alice.epoch(), bob.epoch()), (2, 2));
    let wire = charlie.seal(&part);
    assert_eq!(alice.process(&wire, 3).unwrap().removed, [bob.id]);
}

/// A commit brings new keys of its maker, and no other identity: the safety numbers that people compared stay true.
#[test]
fn a_member_does_not_change_its_identity_by_a_commit() {
    let [mut alice, mut bob, mut charlie] = three();
    let part = alice.layer.stage_change(&ChangeRequest::default(), &parts(3)).unwrap().commit;
    alice.layer.revert();
    let keys = crate::group::tests::keys_of_a_new_identity(&alice.id);
    let of_another = [&part[..104], &keys, &part[104 + keys.len()..]].concat();
    let wire = alice.seal(&of_another);
    refused(bob.process(&wire, 3));
    refused(charlie.process(&wire, 3));
    let wire = alice.seal(&part);
    let _ = bob.process(&wire, 3).unwrap();
}

#[test]
fn changes_that_cannot_be_made_are_refused() {
    let [mut alice, bob, charlie] = three();
    let stranger = MemberId::from_bytes([1; 32]);
    for removed in [vec![stranger], vec![bob.id, bob.id], vec![alice.id]] {
        assert_eq!(kind(alice.try_stage(&[], &removed, 3)), LayerErrorKind::Misuse);
    }
    let mut dora = person(false);
    let package = (dora.id, dora.package());
    let twice = [package.clone(), package];
    assert_eq!(kind(alice.try_stage(&twice, &[], 3)), LayerErrorKind::Misuse);
    let change = alice.stage(&mut [&mut dora], &[charlie.id], 3);
    assert!(!change.welcome.is_empty());
}

/// The keys of an epoch that is out of the window come back in no way.
#[test]
fn nothing_brings_a_forgotten_epoch_back() {
    let [mut alice, mut bob, _] = three();
    let seen = alice.seal(b"seen");
    let withheld = alice.seal(b"withheld");
    bob.reads(&seen, b"seen", alice.id);
    for binding in 10..=10 + u8::try_from(PAST_EPOCHS).unwrap() {
        let change = alice.stage(&mut [], &[], binding);
        alice.confirm();
        let _ = bob.process(&change.commit, binding).unwrap();
        bob.restart();
        assert_eq!(kind(bob.open(&change.commit)), LayerErrorKind::Duplicate);
    }
    for wire in [&withheld, &seen] {
        assert_eq!(kind(bob.open(wire)), LayerErrorKind::Stale);
    }
    let stored = bob.stored();
    let of_epoch_2 =
        |name: &&Vec<u8>| matches!(name[..], [b'e' | b'c', 0, 0, 0, 0, 0, 0, 0, 2, ..]);
    assert_eq!(stored.keys().filter(of_epoch_2).count(), 0);
}

/// Who has the secrets of the epoch can make a header for any other member, but not the signature.
#[test]
fn nobody_speaks_for_another() {
    let [mut alice, mut bob, mut charlie] = three();
    // Charlie as he would be with Bob's place in the epoch.
    let mut liar = charlie.copy();
    let Mode::Group(group) = &mut liar.layer.mode else { panic!() };
    group.pretend_to_be(bob.id);
    let wire = seal_staged(&mut liar.layer, b"charlie's").unwrap();
    refused(alice.open(&wire));
    refused(bob.open(&wire));
    crate::message_key::tests::forget();
    let wire = charlie.seal(b"charlie's");
    alice.reads(&wire, b"charlie's", charlie.id);
    let wire = bob.seal(b"bob's");
    alice.reads(&wire, b"bob's", bob.id);
}
