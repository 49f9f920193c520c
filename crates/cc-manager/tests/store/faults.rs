//! Stores that are full, fail, or leave in doubt whether they did.

use super::*;

/// A crash may come between the proof that there is room and its removal.
#[test]
fn a_proof_of_room_that_a_crash_left_is_removed() {
    let [mut alice, ..] = three();
    let root = Scope::new("cascade").child(NAME);
    let mut batch = Batch::new();
    batch.put(&root, "room", SecretBytes::new(vec![0; 100]));
    alice.store.lock().unwrap().commit(&batch).unwrap();
    alice.restart();
    alice.manager.inbox().unwrap();
    assert!(root.of(&alice.store).get(b"room").unwrap().is_none());
}

/// A program that does not give up while the store is full can still be understood afterwards.
#[test]
fn a_store_that_stays_full_uses_no_keys_up() {
    let [mut alice, mut bob, _] = three();
    for _ in 0..1500 {
        alice.fail_after(0, Failure::Full);
        let error = alice.manager.encrypt("again").unwrap_err();
        assert!(matches!(error, Error::Store(StoreError::Full)), "{error}");
    }
    let records = alice.store.lock().unwrap().len();
    let wire = alice.manager.encrypt("at last").unwrap();
    assert_eq!(bob.manager.decrypt(&wire).unwrap(), "at last");
    assert_eq!(alice.store.lock().unwrap().len(), records + 1, "the entry in the outbox");
    let change = alice.manager.update().unwrap();
    alice.manager.confirm(change.id()).unwrap();
    bob.manager.process(&change.commit).unwrap();
}

#[test]
fn a_batch_that_the_store_refuses_is_not_handed_out() {
    let [mut alice, mut bob, _] = three();
    alice.fail_after(0, Failure::Full);
    let error = alice.manager.encrypt_all(["lost", "too"]).unwrap_err();
    assert!(matches!(error, Error::Store(StoreError::Full)), "{error}");
    let wires = alice.manager.encrypt_all(["one", "two"]).unwrap();
    assert_eq!(common::wires(alice.manager.outbox().unwrap()), wires, "nothing of what was lost");
    bob.fail_after(0, Failure::Full);
    let error = bob.manager.receive_all(&wires).unwrap_err();
    assert!(matches!(error, Error::Store(StoreError::Full)), "{error}");
    assert_eq!(bob.texts(), ["one", "two"], "as soon as the store works again");
    bob.restart();
    assert_eq!(bob.texts(), ["one", "two"]);
    // A plaintext that no message holds spoils the batch, and nothing else.
    let long = vec![0; cc_core::limits::MAX_MESSAGE_LEN + 1];
    assert!(alice.manager.encrypt_all([b"short".as_slice(), &long]).is_err());
    assert_eq!(common::wires(alice.manager.outbox().unwrap()), wires);
    let wire = alice.manager.encrypt("three").unwrap();
    assert_eq!(bob.manager.decrypt(&wire).unwrap(), "three");
}

/// Every write of a conversation fails once, in each way. What failed did not happen; where it may
/// have, opening the store tells.
#[test]
fn every_write_may_fail() {
    let plain = conversation(&mut three(), None);
    assert!(plain > 20, "{plain} writes");
    for failure in [Failure::Full, Failure::Lost, Failure::Kept] {
        for nth in 0..plain {
            conversation(&mut three(), Some((nth, failure)));
        }
    }
}

/// Lets people talk, and gives the number of writes. The `nth` of them fails.
fn conversation(people: &mut [Person; 3], fault: Option<(u64, Failure)>) -> u64 {
    let mut writes = 0;
    let mut act = |person: &mut Person,
                   done: &dyn Fn(&mut Person) -> bool,
                   act: &dyn Fn(&mut Person) -> Result<(), Error>| {
        let before = person.commits();
        if let Some((nth, failure)) = fault
            && nth >= writes
        {
            person.fail_after(nth - writes, failure);
        }
        if let Err(error) = act(person) {
            let Error::Store(store) = &error else { panic!("{error}") };
            if store.is_in_doubt() {
                // Nothing more until it is opened anew.
                assert!(matches!(act(person), Err(Error::Store(error)) if error.is_in_doubt()));
                person.restart();
            }
            if !done(person) {
                act(person).unwrap();
            }
        }
        person.store.lock().unwrap().fail_after(u64::MAX, Failure::Full);
        assert!(done(person));
        writes += person.commits() - before;
    };
    let epoch = |wanted| move |person: &mut Person| person.manager.epoch() == Some(wanted);
    for (round, text) in ["one", "two"].into_iter().enumerate() {
        let [alice, bob, charlie] = people;
        let reached = u64::try_from(round).unwrap() + 1;
        act(alice, &|p| !p.manager.outbox().unwrap().is_empty(), &|p| {
            p.manager.encrypt(text).map(drop)
        });
        let wire = alice.manager.outbox().unwrap().pop().unwrap();
        act(alice, &|p| p.manager.outbox().unwrap().is_empty(), &|p| p.manager.sent([&wire]));
        for reader in [&mut *bob, &mut *charlie] {
            act(reader, &|p| p.texts() == [text], &|p| p.manager.decrypt(&wire).map(drop));
            let id = reader.manager.inbox().unwrap()[0].id();
            act(reader, &|p| p.texts().is_empty(), &|p| p.manager.acknowledge(id));
        }
        act(bob, &|p| p.manager.staged_change().is_some(), &|p| p.manager.update().map(drop));
        let change = bob.manager.staged_change().unwrap().clone();
        act(alice, &|p| p.manager.staged_change().is_some(), &|p| p.manager.update().map(drop));
        act(bob, &epoch(reached + 1), &|p| p.manager.confirm(change.id()).map(drop));
        for other in [&mut *alice, &mut *charlie] {
            act(other, &epoch(reached + 1), &|p| p.manager.receive(&change.commit).map(drop));
        }
        assert!(alice.manager.staged_change().is_none());
        act(alice, &|p| p.manager.staged_change().is_some(), &|p| p.manager.restage().map(drop));
        let change = alice.manager.staged_change().unwrap().clone();
        act(alice, &|p| p.manager.staged_change().is_none(), &|p| p.manager.discard(change.id()));
    }
    all_read_all(people);
    people.iter_mut().for_each(Person::restart);
    all_read_all(people);
    writes
}
