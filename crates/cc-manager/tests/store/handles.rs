//! Several managers, several handles and several threads on one store.

use super::*;

/// Whichever of two threads commits first goes on; nothing that the other handed out shares a key.
#[test]
fn of_two_threads_with_one_manager_each_only_one_goes_on() {
    let [mut alice, mut bob, _] = three();
    for round in 0..30 {
        let twins = [alice.opened(), alice.opened()];
        let start = Barrier::new(2);
        let sent: Vec<Vec<Vec<u8>>> = thread::scope(|scope| {
            let threads = twins.map(|mut twin| {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    let mut sent = Vec::new();
                    for number in 0..5 {
                        match twin.encrypt(format!("{round}, {number}")) {
                            Ok(wire) => sent.push(wire),
                            Err(Error::Store(StoreError::Locked)) => break,
                            Err(error) => panic!("{error}"),
                        }
                    }
                    sent
                })
            });
            threads.map(|thread| thread.join().unwrap()).into()
        });
        let mut counts: Vec<usize> = sent.iter().map(Vec::len).collect();
        counts.sort_unstable();
        assert_eq!(counts[1], 5, "nobody goes on: {counts:?}");
        for wire in sent.concat() {
            bob.manager.decrypt(&wire).unwrap();
        }
        alice.restart();
        alice.manager.sent(sent.concat()).unwrap();
    }
    let inbox = bob.manager.inbox().unwrap();
    bob.manager.acknowledge(inbox.iter().filter_map(cc_manager::Message::id)).unwrap();
    all_read_all(&mut [alice, bob]);
}

#[test]
fn of_two_managers_under_one_name_only_one_goes_on() {
    let [mut alice, mut bob, _] = three();
    let mut twin = alice.opened();
    let first = alice.manager.encrypt("first").unwrap();
    for _ in 0..2 {
        let error = twin.encrypt("with the same key").unwrap_err();
        assert!(matches!(error, Error::Store(StoreError::Locked)), "{error}");
        assert!(matches!(twin.inbox(), Err(Error::Store(StoreError::Locked))));
    }
    drop(twin);
    let second = alice.manager.encrypt("second").unwrap();
    for (wire, text) in [(first, "first"), (second, "second")] {
        assert_eq!(bob.manager.decrypt(&wire).unwrap(), text);
    }
}

/// What has the name now is another manager, whatever its counters are.
#[test]
fn a_handle_from_before_an_erasure_changes_nothing() {
    let store = Shared::default();
    let create = || {
        CascadingCipherManager::builder()
            .layer(AesLayer::generate().unwrap())
            .create(Arc::clone(&store), NAME)
            .unwrap()
    };
    let first = create();
    let open = || CascadingCipherManager::open(Arc::clone(&store), NAME, &catalog()).unwrap();
    let [mut old, erasing] = [open(), open()];
    first.erase().unwrap();
    let locked = |error: Error| {
        assert!(matches!(error, Error::Store(StoreError::Locked)), "{error}");
    };
    locked(old.inbox().unwrap_err());
    let mut second = create();
    locked(old.encrypt("of the first").unwrap_err());
    let wire = second.encrypt("of the second").unwrap();
    let mut reading = open();
    locked(old.inbox().unwrap_err());
    locked(old.outbox().unwrap_err());
    locked(old.add_layer(AesLayer::generate().unwrap()).unwrap_err());
    locked(erasing.erase().unwrap_err());
    assert_eq!(common::wires(second.outbox().unwrap()), std::slice::from_ref(&wire));
    assert_eq!(reading.decrypt(&wire).unwrap(), "of the second");
}

#[test]
fn a_store_has_many_managers_by_name() {
    let store = Shared::default();
    let create = |name: &str| full("Alice", true).create(Arc::clone(&store), name);
    let open = |name: &str| CascadingCipherManager::open(Arc::clone(&store), name, &catalog());
    let names = || CascadingCipherManager::stored(&store).unwrap();
    assert!(names().is_empty());
    let first = create("a").unwrap();
    drop(create("b").unwrap());
    drop(create("").unwrap());
    assert_eq!(names(), ["", "a", "b"]);
    assert!(matches!(create("a"), Err(Error::Store(StoreError::Exists))));
    assert!(matches!(open("c"), Err(Error::Store(StoreError::Missing))));
    open("").unwrap();
    let with_a = store.lock().unwrap().len();
    first.erase().unwrap();
    assert_eq!(names(), ["", "b"]);
    assert!(store.lock().unwrap().len() < with_a);
    assert!(matches!(open("a"), Err(Error::Store(StoreError::Missing))));
    open("b").unwrap().erase().unwrap();
    open("").unwrap().erase().unwrap();
    assert!(store.lock().unwrap().is_empty(), "nothing stays behind");
    create("a").unwrap();
}
