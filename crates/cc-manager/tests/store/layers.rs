//! The records of layers.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::common::observed::Observed;

#[test]
fn layers_come_and_go_in_the_store() {
    let store = Shared::default();
    let mut alice = CascadingCipherManager::builder()
        .layer(AesLayer::generate().unwrap())
        .layer(AesLayer::generate().unwrap())
        .create(Arc::clone(&store), NAME)
        .unwrap();
    let open = |store: &Shared| {
        let copy = store.lock().unwrap().reopened();
        CascadingCipherManager::open(copy, NAME, &catalog()).unwrap()
    };
    let works = |alice: &mut CascadingCipherManager, store: &Shared| {
        let wire = alice.encrypt("text").unwrap();
        assert_eq!(open(store).decrypt(&wire).unwrap(), "text");
        alice.sent([&wire]).unwrap();
    };
    works(&mut alice, &store);
    let size = store.lock().unwrap().len();
    alice.add_layer(AesLayer::generate().unwrap()).unwrap();
    works(&mut alice, &store);
    let removed = alice.remove_layer(0).unwrap();
    works(&mut alice, &store);
    alice.insert_layer(1, AesLayer::generate().unwrap()).unwrap();
    works(&mut alice, &store);
    alice.replace_layer(0, AesLayer::generate().unwrap()).unwrap();
    works(&mut alice, &store);
    alice.remove_layer(2).unwrap();
    works(&mut alice, &store);
    assert_eq!(store.lock().unwrap().len(), size, "records of layers that went");
    drop(removed);

    // A store that fails leaves the stack as it was, in memory and on disk.
    for failure in [Failure::Full, Failure::Lost] {
        let before = alice.stack_report().stack_id;
        store.lock().unwrap().fail_after(0, failure);
        assert!(matches!(alice.add_layer(AesLayer::generate().unwrap()), Err(Error::Store(_))));
        assert_eq!(alice.stack_report().stack_id, before);
        assert_eq!(alice.layer_count(), 2);
        if failure == Failure::Full {
            works(&mut alice, &store);
            alice.remove_layer(1).unwrap();
            works(&mut alice, &store);
            alice.add_layer(AesLayer::generate().unwrap()).unwrap();
            works(&mut alice, &store);
        } else {
            assert!(alice.encrypt("text").is_err(), "in doubt");
            assert_eq!(open(&store).layer_count(), 2);
        }
    }
}

#[test]
fn a_layer_that_cannot_be_kept_is_refused() {
    let store = Shared::default();
    let (tripwire, _) = Tripwire::new();
    let result = CascadingCipherManager::builder()
        .layer(AesLayer::generate().unwrap())
        .layer(tripwire)
        .create(Arc::clone(&store), NAME);
    let Err(Error::Layer { position: 1, source, .. }) = result else { panic!() };
    assert_eq!(source.kind(), LayerErrorKind::Misuse);
    assert!(store.lock().unwrap().is_empty());
}

/// Removed layers leave nothing in a batch but deletions.
#[test]
fn a_message_writes_little() {
    let bytes_of = |batch: &Batch| -> usize {
        let changes = batch.changes().map(|(scope, key, change)| {
            let value = match change {
                RecordChange::Put(value) => value.expose().len(),
                RecordChange::Delete => 0,
            };
            scope.as_bytes().len() + key.len() + value
        });
        changes.sum()
    };
    let mut written = Vec::new();
    for size in [2, 60] {
        let last = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&last);
        let observe = Box::new(move |batch: &Batch| seen.store(bytes_of(batch), Ordering::Relaxed));
        let store = Observed { store: MemoryStore::new(), observe };
        let mut alice = full("Alice", true).create(store, NAME).unwrap();
        let mut others: Vec<_> = (1..size).map(|_| common::joiner("Other")).collect();
        let packages: Vec<_> =
            others.iter_mut().map(|other| other.key_package().unwrap()).collect();
        let change = alice.add_members(packages).unwrap();
        let welcome = alice.confirm(change.id()).unwrap().welcome.unwrap();
        others[0].join(&welcome).unwrap();
        let wire = others[0].encrypt([0; 100]).unwrap();
        alice.encrypt([0; 100]).unwrap();
        let sent = last.load(Ordering::Relaxed);
        alice.decrypt(&wire).unwrap();
        let received = last.load(Ordering::Relaxed);
        println!("{size} members: {sent} bytes to send, {received} to receive");
        written.push((sent, received));
    }
    assert_eq!(written[0], written[1], "independent of the size of the group");
    assert!(written[0].0 < 1200 && written[0].1 < 600, "{written:?}");
}
