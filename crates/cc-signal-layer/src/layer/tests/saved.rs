//! Layers that were saved and restored: at rest, in the middle of things, and damaged.

use std::collections::HashSet;

use cc_core::{SecretBytes, store::Failure};
use proptest::{prelude::*, sample::Index};

use super::{pairwise::strangers, *};
use crate::{
    chain_key::ChainKey,
    message_key::tests::{forget, keys, ratchet_keys, used},
};

/// Two with stores.
fn pair() -> (Kept, Kept) {
    let (alice, bob) = strangers();
    (Kept::new(alice), Kept::new(bob))
}

#[test]
fn two_go_on_after_every_message() {
    let (mut alice, mut bob) = pair();
    let early = alice.seal(b"early");
    for round in 0..6u8 {
        alice.restart();
        bob.restart();
        let missing = alice.seal(b"missing");
        alice.restart();
        let wire = alice.seal(&[round]);
        assert_eq!(bob.open_kept(&wire).unwrap().0, [round]);
        bob.restart();
        assert_eq!(kind(bob.open_kept(&wire)), LayerErrorKind::Duplicate);
        assert_eq!(bob.open_kept(&missing).unwrap().0, b"missing");
        bob.restart();
        assert_eq!(kind(bob.open_kept(&missing)), LayerErrorKind::Duplicate);
        let wire = bob.seal(b"answer");
        assert_eq!(alice.open_kept(&wire).unwrap().0, b"answer");
    }
    bob.restart();
    assert_eq!(bob.open_kept(&early).unwrap().0, b"early");
    assert_eq!(alice.layer.safety_number(b"a", b"b"), bob.layer.safety_number(b"b", b"a"));
}

/// Bytes that a failed commit kept back are not repeated, and what was opened opens again.
#[test]
fn a_store_that_fails() {
    let (mut alice, mut bob) = pair();
    let before = used();
    for failure in [Failure::Full, Failure::Lost, Failure::Kept] {
        for _ in 0..2 {
            alice.store.fail_after(0, Failure::Full);
            let sealed = seal_staged(&mut alice.layer, b"same text");
            assert_eq!(kind(alice.settle(sealed)), LayerErrorKind::Storage);
        }
        let wire = alice.seal(b"same text");
        bob.store.fail_after(0, failure);
        assert_eq!(kind(bob.open_kept(&wire)), LayerErrorKind::Storage);
        if failure != Failure::Full {
            bob.restart();
        }
        let again = bob.open_kept(&wire);
        if failure == Failure::Kept {
            assert_eq!(kind(again), LayerErrorKind::Duplicate);
        } else {
            assert_eq!(again.unwrap().0, b"same text");
            assert_eq!(kind(bob.open_kept(&wire)), LayerErrorKind::Duplicate);
        }
    }
    assert_eq!(used(), before + 9);
}

/// The session that a message begins takes a one-time prekey, and gives it back if the store fails.
#[test]
fn a_prekey_is_spent_when_the_store_knows() {
    let (alice, mut bob) = (Account::generate().unwrap(), Account::generate().unwrap());
    bob.replenish(2).unwrap();
    let (a, limits) = (*alice.identity(), Limits::default());
    let one_time = bob.one_time_bundles(1).pop().unwrap();
    for (bundle, keys) in [(one_time, 2), (bob.bundle(), 4)] {
        let alice = Account::load(alice.export().expose()).unwrap();
        let account = Account::load(bob.export().expose()).unwrap();
        let mut alice = SignalLayer::initiate(alice, &bundle, Agree::Pqxdh, limits).unwrap();
        let mut bob = Kept::new(SignalLayer::respond(account, a, limits));
        let one_time = |bob: &Kept| bob.stored().keys().filter(|n| n.starts_with(b"ak")).count();
        let seen = |bob: &Kept| bob.stored().keys().filter(|n| n.starts_with(b"ae")).count();
        assert_eq!((one_time(&bob), seen(&bob)), (4, 0));
        let before = bob.stored();
        let hello = seal(&mut alice, b"hello").unwrap();
        for _ in 0..2 {
            bob.store.fail_after(0, Failure::Full);
            assert_eq!(kind(bob.open_kept(&hello)), LayerErrorKind::Storage);
            assert_eq!(everything(&bob.layer), before);
        }
        assert_eq!(bob.open_kept(&hello).unwrap().0, b"hello");
        assert_eq!((one_time(&bob), seen(&bob)), (keys, usize::from(keys == 4)));
        bob.restart();
        assert_eq!(kind(bob.open_kept(&hello)), LayerErrorKind::Duplicate);
    }
}

#[test]
fn a_reverted_seal_is_in_the_next_save() {
    let [mut alice, mut bob, mut charlie] = three();
    let before = used();
    let mut wires = Vec::new();
    for _ in 0..5 {
        wires.push(seal_staged(&mut alice.layer, b"same text").unwrap());
        alice.layer.revert();
        let nothing = Ok(());
        alice.settle(nothing).unwrap();
        alice.restart();
    }
    wires.push(alice.seal(b"same text"));
    assert_eq!(used(), before + 6);
    // Each has its own place in the chain.
    for other in [&mut bob, &mut charlie] {
        for wire in &wires {
            other.reads(wire, b"same text", alice.id);
        }
    }
}

#[test]
fn every_step_can_fail_in_the_store() {
    let [mut alice, mut bob, mut charlie] = three();
    all_to_all(&mut [&mut alice, &mut bob, &mut charlie]);
    let mut dora = person(false);
    fn fails<T>(person: &mut Person, step: impl Fn(&mut Person) -> Result<T, LayerError>) -> T {
        for _ in 0..2 {
            let before = everything(&person.layer);
            let (standing, members) = (person.layer.standing(), person.layer.members());
            person.store.fail_after(0, Failure::Full);
            assert_eq!(kind(step(person)), LayerErrorKind::Storage);
            assert_eq!((person.layer.standing(), person.layer.members()), (standing, members));
            // But for keys that were used up.
            let steady: &[&[u8]] = &[b"b", b"c", b"e", b"g", b"n", b"p", b"s"];
            let after = everything(&person.layer);
            let steady = |name: &[u8]| steady.iter().any(|start| name.starts_with(start));
            assert!(
                before
                    .keys()
                    .chain(after.keys())
                    .all(|name| { !steady(name) || before.get(name) == after.get(name) })
            );
        }
        step(person).unwrap()
    }
    let package = fails(&mut dora, |dora| {
        let part = dora.layer.key_package(&parts(0));
        dora.settle(part)
    });
    let packages = [(dora.id, package)];
    let gone = [charlie.id];
    let change = fails(&mut alice, |alice| alice.try_stage(&packages, &gone, 3));
    fails(&mut alice, |alice| {
        let result = alice.layer.discard_change();
        alice.settle(result)
    });
    assert_eq!(kind(alice.layer.confirm_change()), LayerErrorKind::NotReady);
    let change_again = fails(&mut alice, |alice| alice.try_stage(&packages, &gone, 3));
    assert_ne!(change.welcome, change_again.welcome);
    let change = change_again;
    fails(&mut alice, |alice| {
        let result = alice.layer.confirm_change();
        alice.settle(result)
    });
    // Bob has a change of his own, which a failure does not take away.
    let _ = bob.stage(&mut [], &[], 9);
    let _ = fails(&mut bob, |bob| bob.process(&change.commit, 3));
    assert!(fails(&mut charlie, |charlie| charlie.process(&change.commit, 3)).removed_self);
    fails(&mut dora, |dora| dora.join(&change.welcome, 3));
    let wire = alice.seal(b"hi");
    assert_eq!(fails(&mut dora, |dora| dora.open(&wire)).0, b"hi");
    for person in [&mut alice, &mut bob, &mut charlie, &mut dora] {
        person.restart();
    }
    all_to_all(&mut [&mut alice, &mut bob, &mut dora]);
}

/// Nobody has to save at every step: what was applied without is in the next save.
#[test]
fn what_was_applied_unsaved_is_saved_later() {
    let [mut alice, mut bob, _] = three();
    let (mut first, mut second) = pair();
    let wire = first.seal(b"x");
    open(&mut second.layer, &wire).unwrap();
    second.settle(Ok(())).unwrap();
    second.restart();
    assert_eq!(kind(second.open_kept(&wire)), LayerErrorKind::Duplicate);
    let wire = alice.seal(b"x");
    open(&mut bob.layer, &wire).unwrap();
    bob.settle(Ok(())).unwrap();
    bob.restart();
    assert_eq!(kind(bob.open(&wire)), LayerErrorKind::Duplicate);
}

/// No message key that was used, at either end, late or in order, and no one-time prekey.
#[test]
fn what_was_used_is_not_in_the_store() {
    fn holds(kept: &Kept, secrets: &HashSet<Vec<u8>>) -> bool {
        kept.stored().values().any(|value| value.windows(32).any(|w| secrets.contains(w)))
    }
    forget();
    let (alice, mut bob) = (Account::generate().unwrap(), Account::generate().unwrap());
    bob.replenish(1).unwrap();
    let (a, limits) = (*alice.identity(), Limits::default());
    let bundle = bob.one_time_bundles(1).pop().unwrap();
    let alice = SignalLayer::initiate(alice, &bundle, Agree::Pqxdh, limits).unwrap();
    let (mut alice, mut bob) = (Kept::new(alice), Kept::new(SignalLayer::respond(bob, a, limits)));
    let prekeys = bob.stored().into_iter().filter(|(name, _)| name.starts_with(b"ak"));
    let mut used: HashSet<_> = prekeys.map(|(_, value)| value[2..34].to_vec()).collect();
    assert_eq!(used.len(), 2);
    assert!(holds(&bob, &used));
    for round in 0..3 {
        let wires: Vec<_> = (0..3).map(|_| alice.seal(b"x")).collect();
        used.extend(keys().into_iter().chain(ratchet_keys()).map(Vec::from));
        assert!(!holds(&alice, &used));
        bob.open_kept(&wires[2]).unwrap();
        assert!(holds(&bob, &used), "two are missing");
        if round == 1 {
            bob.restart();
        }
        let answer = bob.seal(b"answer");
        alice.open_kept(&answer).unwrap();
        for late in [0, 1] {
            bob.open_kept(&wires[late]).unwrap();
        }
        used.extend(keys().into_iter().chain(ratchet_keys()).map(Vec::from));
        assert!(!holds(&alice, &used) && !holds(&bob, &used));
    }

    let mut people = three();
    for sender in [0, 1, 2, 0, 1] {
        let before = people[sender].copy();
        let wires = [people[sender].seal(b"early"), people[sender].seal(b"late")];
        let used = chain_keys(&before, 2);
        assert!(!holds(&people[sender], &used));
        for reader in (0..3).filter(|reader| *reader != sender) {
            people[reader].open(&wires[1]).unwrap();
            assert!(holds(&people[reader], &used));
            people[reader].open(&wires[0]).unwrap();
            assert!(!holds(&people[reader], &used));
        }
    }
}

/// The keys of the next messages of a member of a group, and of the chain before each.
fn chain_keys(kept: &Kept, count: usize) -> HashSet<Vec<u8>> {
    let mut chain = ChainKey::new(Secret::copy_from(&kept.stored()[&b"o"[..]][..32]).unwrap());
    let mut keys = HashSet::new();
    for _ in 0..count {
        let (next, key) = chain.step();
        keys.extend([chain.secret().expose().to_vec(), key.secret().expose().to_vec()]);
        chain = next;
    }
    keys
}

#[test]
fn saved_and_not_applied_takes_nothing_more() {
    let [mut alice, mut bob, _] = three();
    let wire = alice.seal(b"x");
    open_staged(&mut bob.layer, &wire, b"ad").unwrap();
    bob.save().unwrap();
    assert_eq!(kind(open_staged(&mut bob.layer, &wire, b"ad")), LayerErrorKind::Misuse);
    assert_eq!(kind(seal_staged(&mut bob.layer, b"x")), LayerErrorKind::Misuse);
    bob.layer.apply();
    let (mut alice, mut bob) = pair();
    let wire = alice.seal(b"x");
    open_staged(&mut bob.layer, &wire, b"ad").unwrap();
    bob.save().unwrap();
    assert_eq!(kind(open_staged(&mut bob.layer, &wire, b"ad")), LayerErrorKind::Misuse);
    assert_eq!(kind(seal_staged(&mut bob.layer, b"x")), LayerErrorKind::Misuse);
    bob.layer.revert();
    assert_eq!(open(&mut bob.layer, &wire).unwrap(), b"x");
}

#[test]
fn a_new_scope_gets_everything() {
    let [mut alice, mut bob, _] = three();
    let wire = alice.seal(b"x");
    bob.store = MemoryStore::new();
    bob.reads(&wire, b"x", alice.id);
    bob.restart();
    assert_eq!(kind(bob.open(&wire)), LayerErrorKind::Duplicate);
}

#[test]
fn a_staged_change_survives() {
    let [mut alice, mut bob, mut charlie] = three();
    let mut dora = person(false);
    let package = dora.package();
    for person in [&mut alice, &mut bob, &mut charlie, &mut dora] {
        person.restart();
    }
    let change = alice.try_stage(&[(dora.id, package)], &[charlie.id], 3).unwrap();
    alice.restart();
    // Neither entered nor forgotten.
    assert_eq!((alice.epoch(), alice.layer.members().len()), (2, 3));
    assert_eq!(kind(alice.try_stage(&[], &[], 4)), LayerErrorKind::Misuse);
    alice.confirm();
    let _ = bob.process(&change.commit, 3).unwrap();
    let _ = charlie.process(&change.commit, 3).unwrap();
    dora.join(&change.welcome, 3).unwrap();
    for person in [&mut alice, &mut bob, &mut charlie, &mut dora] {
        person.restart();
    }
    all_to_all(&mut [&mut alice, &mut bob, &mut dora]);
    assert_eq!(charlie.layer.standing(), Standing::Removed);

    let (mut alice, mut bob) = (person(false), person(false));
    let _ = alice.stage(&mut [&mut bob], &[], 1);
    alice.restart();
    alice.discard();
    assert_eq!(alice.layer.standing(), Standing::Outside);
    alice.restart();
    let change = alice.stage(&mut [&mut bob], &[], 2);
    alice.restart();
    alice.confirm();
    bob.join(&change.welcome, 2).unwrap();
    all_to_all(&mut [&mut alice, &mut bob]);
}

#[test]
fn a_state_opens_nothing_that_was_opened_before_it() {
    let (mut alice, mut bob) = pair();
    for _ in 0..2 {
        let wire = alice.seal(b"hello");
        bob.open_kept(&wire).unwrap();
        assert_eq!(kind(bob.copy().open_kept(&wire)), LayerErrorKind::Duplicate);
        let answer = bob.seal(b"answer");
        alice.open_kept(&answer).unwrap();
        assert_eq!(kind(alice.copy().open_kept(&answer)), LayerErrorKind::Duplicate);
    }
    let mut people = three();
    for _ in 0..3 {
        for sender in 0..3 {
            let wire = people[sender].seal(b"x");
            for reader in (0..3).filter(|reader| *reader != sender) {
                people[reader].open(&wire).unwrap();
                assert!(people[reader].copy().open_kept(&wire).is_err());
            }
        }
    }
    // A state of before it opens it: this is what the applied state is there to replace.
    let [alice, bob, _] = &mut people;
    let wire = alice.seal(b"x");
    assert_eq!(bob.copy().open_kept(&wire).unwrap().0, b"x");
}

#[test]
fn limits_are_kept() {
    let (alice, bob) = (Account::generate().unwrap(), Account::generate().unwrap());
    let limits = Limits::default().with_max_skip(2);
    let (a, bundle) = (*alice.identity(), bob.bundle());
    let mut alice = SignalLayer::initiate(alice, &bundle, Agree::Pqxdh, Limits::default()).unwrap();
    let mut bob = Kept::new(SignalLayer::respond(bob, a, limits));
    bob.restart();
    let wires: Vec<_> = (0..5).map(|_| seal(&mut alice, b"x").unwrap()).collect();
    bob.open_kept(&wires[0]).unwrap();
    assert_eq!(kind(bob.open_kept(&wires[4])), LayerErrorKind::Early);
    bob.open_kept(&wires[3]).unwrap();

    for (at, cap) in [
        (2, Limits::MAX_SKIP_CAP as usize),
        (6, Limits::MAX_SKIPPED_CAP),
        (10, Limits::SKIPPED_LIFETIME_CAP as usize),
        (14, Limits::MAX_SESSIONS_CAP),
    ] {
        for (limit, restores) in [(cap, true), (cap + 1, false)] {
            let mut head = bob.stored()[HEAD].clone();
            head[at..at + 4].copy_from_slice(&u32::try_from(limit).unwrap().to_be_bytes());
            assert_eq!(with(&bob, HEAD, Some(head)).is_ok(), restores);
        }
    }
}

#[test]
fn versions_and_modes_are_told_apart() {
    let (alice, _) = pair();
    let head = alice.stored()[HEAD].clone();
    let error = |at: usize, value: u8| {
        let mut head = head.clone();
        head[at] = value;
        let error = with(&alice, HEAD, Some(head)).unwrap_err();
        assert_eq!(error.kind(), LayerErrorKind::Storage);
        std::string::ToString::to_string(core::error::Error::source(&error).unwrap())
    };
    assert!(error(0, 2).contains("version 2"));
    for wrong in [error(1, GROUP), error(1, 3)] {
        assert!(wrong.contains("not valid"), "{wrong}");
    }
    let empty = MemoryStore::new();
    assert_eq!(kind(SignalLayer::restore(&scope().of(&empty))), LayerErrorKind::Storage);
    assert_eq!(SignalLayer::ID, alice.layer.descriptor().id);
}

/// The layer from the same store with one record that is another, or missing.
fn with(kept: &Kept, name: &[u8], value: Option<Vec<u8>>) -> Result<SignalLayer, LayerError> {
    let mut store = kept.store.reopened();
    let mut batch = Batch::new();
    match value {
        Some(value) => batch.put(&scope(), name, SecretBytes::new(value)),
        None => batch.delete(&scope(), name),
    }
    store.commit(&batch).unwrap();
    SignalLayer::restore(&scope().of(&store))
}

/// A layer with everything in it, and a message it has not seen.
fn full() -> [(Kept, Vec<u8>); 2] {
    let (alice, mut bob) = (Account::generate().unwrap(), Account::generate().unwrap());
    bob.replenish(2).unwrap();
    bob.rotate_prekeys().unwrap();
    let _ = bob.one_time_bundles(1);
    let (a, bundle) = (*alice.identity(), bob.bundle());
    let mut alice = SignalLayer::initiate(alice, &bundle, Agree::Pqxdh, Limits::default()).unwrap();
    let mut pairwise = Kept::new(SignalLayer::respond(bob, a, Limits::default()));
    // Skipped keys of a former chain and of the present one.
    for _ in 0..2 {
        for _ in 0..40 {
            seal(&mut alice, b"missing").unwrap();
        }
        let wire = seal(&mut alice, b"x").unwrap();
        pairwise.open_kept(&wire).unwrap();
        let wire = pairwise.seal(b"x");
        open(&mut alice, &wire).unwrap();
    }
    let in_pair = seal(&mut alice, b"x").unwrap();

    let [mut alice, mut bob, mut charlie] = three();
    let wire = alice.seal(b"x");
    bob.open(&wire).unwrap();
    let wire = charlie.seal(b"x");
    bob.open(&wire).unwrap();
    let mut dora = person(false);
    // A past epoch, a change, a key package and skipped keys.
    let change = alice.stage(&mut [], &[], 3);
    alice.confirm();
    let _ = bob.process(&change.commit, 3).unwrap();
    let _ = bob.package();
    let _ = bob.stage(&mut [&mut dora], &[charlie.id], 4);
    for _ in 0..3 {
        alice.seal(b"missing");
    }
    let wire = alice.seal(b"x");
    bob.open(&wire).unwrap();
    let in_group = alice.seal(b"x");
    [(pairwise, in_pair), (bob.kept, in_group)]
}

#[test]
fn no_record_may_be_missing_cut_or_added() {
    for (kept, _) in full() {
        let refused = |name: &[u8], value: Option<Vec<u8>>| {
            let error = with(&kept, name, value).unwrap_err();
            assert_eq!(error.kind(), LayerErrorKind::Storage, "{}", name.escape_ascii());
        };
        for (name, value) in kept.stored() {
            refused(&name, None);
            for len in (0..value.len()).step_by(1 + value.len() / 50) {
                refused(&name, Some(value[..len].to_vec()));
            }
            refused(&name, Some([&value[..], &[0]].concat()));
            let mut other = name.clone();
            other.push(0);
            refused(&other, Some(value.clone()));
            *other.last_mut().unwrap() = 1;
            other[0] ^= 0x80;
            refused(&other, Some(value));
        }
        refused(b"", Some(vec![]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// What restores all the same is used, and must not panic.
    #[test]
    fn damage_is_refused_or_harmless(
        damage in proptest::collection::vec((any::<Index>(), any::<Index>(), 1u8..=255), 200),
    ) {
        for (kept, wire) in full() {
            let stored = kept.stored();
            for (record, byte, flip) in &damage {
                let (name, value) = stored.iter().nth(record.index(stored.len())).unwrap();
                if value.is_empty() {
                    continue;
                }
                let mut value = value.clone();
                let at = byte.index(value.len());
                value[at] ^= flip;
                match with(&kept, name, Some(value)) {
                    Ok(mut layer) => {
                        let _ = open(&mut layer, &wire);
                        let _ = seal(&mut layer, b"x");
                        let _ = layer.confirm_change();
                        layer.apply();
                        // A copy of one state after the other seals here.
                        forget();
                    }
                    Err(error) => prop_assert_eq!(error.kind(), LayerErrorKind::Storage),
                }
            }
        }
    }
}
