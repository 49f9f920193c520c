//! Managers in an encrypted SQLite file.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::common;

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use cc_aes_layer::AesLayer;
use cc_core::{Secret, key_use, store::StoreError};
use cc_dh_layer::DhLayer;
use cc_manager::{CascadingCipherManager, Catalog, Error};
use cc_mls_layer::MlsLayer;
use cc_store_sqlite::{Credential, Options, SqliteStore};
use common::{Follow as _, full};

type Shared = Arc<Mutex<SqliteStore>>;

fn credential() -> Credential {
    Credential::key(Secret::copy_from(&[1; 32]).unwrap())
}

fn open(store: &Shared, name: &str) -> CascadingCipherManager {
    let catalog = Catalog::new().with::<AesLayer>().with::<DhLayer>().with::<MlsLayer>();
    CascadingCipherManager::open(Arc::clone(store), name, &catalog).unwrap()
}

/// Alice and Bob, each in their own store in `directory`.
fn two(directory: &Path) -> [(CascadingCipherManager, Shared); 2] {
    let [mut alice, mut bob] = [("Alice", true), ("Bob", false)].map(|(name, founder)| {
        let store = SqliteStore::create(directory.join(name), credential()).unwrap();
        let store = Arc::new(Mutex::new(store));
        (full(name, founder).create(Arc::clone(&store), "chat").unwrap(), store)
    });
    let change = alice.0.add_members([bob.0.key_package().unwrap()]).unwrap();
    let welcome = alice.0.confirm(change.id()).unwrap().welcome.unwrap();
    bob.0.join(&welcome).unwrap();
    alice.0.sent([&welcome]).unwrap();
    [alice, bob]
}

fn reopen(directory: &Path, name: &str, options: &Options) -> Shared {
    Arc::new(Mutex::new(options.open(directory.join(name), credential()).unwrap()))
}

/// What was handed out before the disk was full is read, what was not is as if it had not been tried,
/// and with room again everything goes on.
#[test]
fn a_full_disk_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let [(alice, store), (mut bob, _)] = two(directory.path());
    drop((alice, store));
    let size = std::fs::metadata(directory.path().join("Alice")).unwrap().len();
    let limited = SqliteStore::options().max_bytes(size + 100_000);
    let store = reopen(directory.path(), "Alice", &limited);
    let mut alice = open(&store, "chat");
    let mut sent = Vec::new();
    let error = loop {
        match alice.encrypt(vec![7; 5000]) {
            Ok(wire) => sent.push(wire),
            Err(error) => break error,
        }
        assert!(sent.len() < 100, "the limit is not kept");
    };
    assert!(matches!(error, Error::Store(StoreError::Full)), "{error}");
    assert!(sent.len() > 3);
    assert_eq!(common::wires(alice.outbox().unwrap()), sent);
    assert!(matches!(alice.update(), Err(Error::Store(StoreError::Full))));
    assert!(alice.staged_change().is_none());
    // Room again, by what need not be kept.
    alice.sent(&sent).unwrap();
    sent.push(alice.encrypt("small again").unwrap());
    drop((alice, store));
    let store = reopen(directory.path(), "Alice", &SqliteStore::options());
    let mut alice = open(&store, "chat");
    sent.push(alice.encrypt("and after a restart").unwrap());
    for wire in &sent {
        bob.decrypt(wire).unwrap();
    }
    let wire = bob.encrypt("all of it").unwrap();
    assert_eq!(alice.decrypt(&wire).unwrap(), "all of it");
}

/// A program that does not give up while the disk is full uses no keys up, and what it acknowledges
/// makes room, one message after another.
#[test]
fn a_full_disk_is_freed_message_by_message() {
    for (room, len, tries) in [(30_000, 700, 5000), (200_000, 10, 30)] {
        let directory = tempfile::tempdir().unwrap();
        let [(alice, store), (mut bob, _)] = two(directory.path());
        drop((alice, store));
        let size = std::fs::metadata(directory.path().join("Alice")).unwrap().len();
        let limited = SqliteStore::options().max_bytes(size + room);
        let store = reopen(directory.path(), "Alice", &limited);
        let mut alice = open(&store, "chat");
        let mut sent = Vec::new();
        while let Ok(wire) = alice.encrypt(vec![7; len]) {
            sent.push(wire);
        }
        key_use::start();
        for _ in 0..tries {
            let error = alice.encrypt(vec![7; len]).unwrap_err();
            assert!(matches!(error, Error::Store(StoreError::Full)), "{error}");
        }
        let used = key_use::take();
        assert!(used.iter().all(|used| used.what() != "mls"), "{used:?}");
        for wire in &sent {
            alice.sent([wire]).unwrap();
        }
        sent.push(alice.encrypt("there is room").unwrap());
        for wire in &sent {
            bob.decrypt(wire).unwrap();
        }
    }
}

#[test]
fn what_a_full_disk_does_not_take_is_no_obstacle_to_erasing_all() {
    let directory = tempfile::tempdir().unwrap();
    let [(mut alice, _), (bob, store)] = two(directory.path());
    drop((bob, store));
    let size = std::fs::metadata(directory.path().join("Bob")).unwrap().len();
    let limited = SqliteStore::options().max_bytes(size + 50_000);
    let store = reopen(directory.path(), "Bob", &limited);
    let mut bob = open(&store, "chat");
    let wires = alice.encrypt_all([vec![7; 100_000], vec![8; 100]]).unwrap();
    for _ in 0..2 {
        let error = bob.receive_all(&wires).unwrap_err();
        assert!(matches!(error, Error::Store(StoreError::Full)), "{error}");
    }
    bob.erase().unwrap();
    assert!(CascadingCipherManager::stored(&store).unwrap().is_empty());
}

#[test]
fn an_old_copy_is_noticed_and_comes_back_without_a_new_group() {
    let directory = tempfile::tempdir().unwrap();
    let [(alice, store), (mut bob, _)] = two(directory.path());
    store.lock().unwrap().checkpoint().unwrap();
    drop((alice, store));
    std::fs::copy(directory.path().join("Alice"), directory.path().join("backup")).unwrap();
    let store = reopen(directory.path(), "Alice", &SqliteStore::options());
    let mut alice = open(&store, "chat");
    let id = alice.member_id();
    let wire = alice.encrypt("not in the backup").unwrap();
    assert_eq!(bob.decrypt(&wire).unwrap(), "not in the backup");
    let generation = store.lock().unwrap().generation();
    drop((alice, store));

    let expecting = SqliteStore::options().expecting(generation);
    let error = expecting.open(directory.path().join("backup"), credential()).unwrap_err();
    assert!(matches!(error, StoreError::RolledBack { .. }), "{error}");
    let store = reopen(directory.path(), "backup", &SqliteStore::options());
    let mut alice = open(&store, "chat");
    let package = alice.rejoin_package().unwrap();
    let change = bob.readmit_members([package]).unwrap();
    let welcome = bob.confirm(change.id()).unwrap().welcome.unwrap();
    alice.join(&welcome).unwrap();
    assert_eq!(alice.member_id(), id);
    let wire = alice.encrypt("with new keys").unwrap();
    assert_eq!(bob.decrypt(&wire).unwrap(), "with new keys");
}

#[test]
fn one_file_holds_many_groups() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("all");
    let store = Arc::new(Mutex::new(SqliteStore::create(&path, credential()).unwrap()));
    let names: Vec<_> = (0..20).map(|n| format!("group {n:02}")).collect();
    for name in &names {
        drop(full("Alice", true).create(Arc::clone(&store), name).unwrap());
    }
    drop(store);
    let store = reopen(directory.path(), "all", &SqliteStore::options());
    assert_eq!(CascadingCipherManager::stored(&store).unwrap(), names);
    for name in &names {
        assert_eq!(open(&store, name).epoch(), Some(0));
    }
    // Neither the names nor who is in them can be read off the file.
    store.lock().unwrap().checkpoint().unwrap();
    let bytes = std::fs::read(&path).unwrap();
    for secret in ["group 0", "Alice", "Dev Team", "cc.mls"] {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret}");
    }
}
