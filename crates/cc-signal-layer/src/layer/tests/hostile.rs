//! What outsiders and members without the right to it try.

use super::*;

fn refused<T>(result: Result<T, LayerError>) {
    assert_eq!(kind(result), LayerErrorKind::Rejected);
}

#[test]
fn a_damaged_message_is_refused_by_everybody() {
    let [mut alice, mut bob, mut charlie] = three();
    let with_block = alice.seal(b"with a chain");
    let damage = |wire: &[u8], step: usize, reader: &mut Person| {
        for at in (0..wire.len()).step_by(step).chain(wire.len() - 90..wire.len()) {
            let mut flipped = wire.to_vec();
            flipped[at] ^= 1 << (at % 8);
            assert!(reader.open(&flipped).is_err(), "{at}");
            assert!(reader.open(&wire[..at]).is_err(), "{at}");
        }
        let mut longer = wire.to_vec();
        longer.push(0);
        assert!(reader.open(&longer).is_err());
    };
    // Also where the other one's entry is hit.
    damage(&with_block, 41, &mut bob);
    damage(&with_block, 41, &mut charlie);
    bob.reads(&with_block, b"with a chain", alice.id);
    charlie.reads(&with_block, b"with a chain", alice.id);
    all_to_all(&mut [&mut alice, &mut bob, &mut charlie]);
    all_to_all(&mut [&mut alice, &mut bob, &mut charlie]);
    let steady = alice.seal(b"steady");
    for bit in 0..steady.len() * 8 {
        let mut flipped = steady.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(bob.open(&flipped).is_err(), "{bit}");
    }
    damage(&steady, 1, &mut bob);
    assert!(open_staged(&mut bob.layer, &steady, b"other").is_err());
    bob.reads(&steady, b"steady", alice.id);
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
    // Of two good ones: the bundles of one beside the signature of the other, and bundles exchanged.
    let reusable = 4 + u32::from_be_bytes(first[..4].try_into().unwrap()) as usize;
    let end = first.len() - 64;
    assert_eq!(first.len(), second.len());
    refused(stage(bob.id, &[&first[..end], &second[end..]].concat(), [0; 32]));
    refused(stage(
        bob.id,
        &[&first[..reusable], &second[reusable..end], &first[end..]].concat(),
        [0; 32],
    ));
    refused(stage(bob.id, &[&of_eve[..reusable], &first[reusable..]].concat(), [0; 32]));
    refused(stage(
        bob.id,
        &[&first[..reusable], &of_eve[reusable..end], &first[end..]].concat(),
        [0; 32],
    ));
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
        refused(bob.join(&flipped, 1));
        refused(bob.join(&welcome[..at], 1));
        assert_eq!(bob.layer.standing(), Standing::Outside);
    }
    refused(bob.join(welcome, 2));
    refused(person(false).join(welcome, 1));
    bob.join(welcome, 1).unwrap();
    refused(bob.join(welcome, 1));
    charlie.join(welcome, 1).unwrap();
    all_to_all(&mut [&mut alice, &mut bob, &mut charlie]);
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
    refused(bob.join(&first.welcome, 1));
    refused(bob.join(&second.welcome, 1));
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
    let _ = bob.process(&wire, 3).unwrap();

    // A commit that removes its own sender.
    let part =
        charlie.layer.stage_change(&ChangeRequest { added: &[], removed: &[bob.id] }, &parts(3));
    let part = part.unwrap().commit;
    charlie.layer.revert();
    let wire = bob.seal(&part);
    refused(alice.process(&wire, 3));
    // Damaged parts that a member has sealed.
    for at in 0..part.len() {
        let mut flipped = part.clone();
        flipped[at] ^= 1 << (at % 8);
        let wire = charlie.seal(&flipped);
        assert!(alice.process(&wire, 3).is_err(), "{at}");
        let wire = charlie.seal(&part[..at]);
        refused(alice.process(&wire, 3));
    }
    let wire = charlie.seal(&part);
    assert_eq!(alice.process(&wire, 3).unwrap().removed, [bob.id]);
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

/// A chain that is handed over again after it was forgotten would open its messages a second time.
#[test]
fn a_withheld_message_brings_no_forgotten_chain_back() {
    let [mut alice, mut bob, _] = three();
    let seen = alice.seal(b"seen");
    let withheld = alice.seal(b"withheld");
    let later = alice.seal(b"later");
    bob.reads(&seen, b"seen", alice.id);
    bob.reads(&later, b"later", alice.id);
    for binding in 10..10 + CHAINS {
        let change = alice.stage(&mut [], &[], binding);
        alice.confirm();
        let _ = bob.process(&change.commit, binding).unwrap();
        let wire = alice.seal(b"in the new chain");
        bob.reads(&wire, b"in the new chain", alice.id);
        bob.restart();
    }
    for wire in [&withheld, &seen, &later] {
        assert!(bob.open(wire).is_err());
    }
}

const CHAINS: u8 = {
    assert!(crate::sender_keys::CHAINS_PER_SENDER == 3);
    3
};

#[test]
fn nobody_speaks_for_another() {
    let [mut alice, mut bob, mut charlie] = three();
    let mut wire = charlie.seal(b"charlie's");
    assert_eq!(wire[1..33], *charlie.id.as_bytes());
    wire[1..33].copy_from_slice(bob.id.as_bytes());
    refused(alice.open(&wire));
    let other = bob.seal(b"bob's");
    alice.reads(&other, b"bob's", bob.id);
}
