//! The contract; and, by subject, everything that can be wrong with a file.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use cc_aes_layer::Argon2Params;
use cc_core::{
    Secret, SecretBytes,
    store::{Batch, Scope, Store, StoreError, tests::conformance_persistent},
};
use cc_store_sqlite::{Credential, Durability, SqliteStore};
use proptest::{collection::vec, option, prelude::*};
use tempfile::TempDir;

mod damage;
mod foreign;
mod room;
mod secrecy;

fn key(byte: u8) -> Credential {
    Credential::key(Secret::take(&mut [byte; 32]))
}

fn passphrase(passphrase: &str) -> Credential {
    Credential::passphrase_with(passphrase, Argon2Params::LEAST).unwrap()
}

fn directory() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.sqlite");
    (directory, path)
}

fn put(store: &mut SqliteStore, key: &str, value: &str) -> Result<(), StoreError> {
    let mut batch = Batch::new();
    batch.put(&Scope::new("s"), key, SecretBytes::new(value.into()));
    store.commit(&batch)
}

fn get(store: &SqliteStore, key: &str) -> Option<String> {
    let value = store.get(&Scope::new("s"), key.as_bytes()).unwrap()?;
    Some(String::from_utf8(value.expose().to_vec()).unwrap())
}

/// A closed store with a few records, some of them large.
fn sample(path: &Path) {
    let mut store = SqliteStore::create(path, key(1)).unwrap();
    for number in 0..40 {
        put(&mut store, &format!("record {number}"), &"x".repeat(number * 100)).unwrap();
    }
}

/// What the files hold, all but the empty lock.
fn contents(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().unwrap() != "lock")
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

/// The error on opening, after which all files are as they were.
fn refused(path: &Path, credential: Credential) -> StoreError {
    let before = contents(path);
    let error = SqliteStore::open(path, credential).unwrap_err();
    assert!(contents(path) == before, "a file was touched: {error}");
    error
}

#[test]
fn conforms() {
    let (directory, _) = directory();
    let mut number = 0;
    // The suite commits thousands of times; what `fsync` adds is not in question here.
    let options = SqliteStore::options().durability(Durability::ProcessEnd);
    let path_of = |store: &SqliteStore| {
        let debug = format!("{store:?}");
        PathBuf::from(debug.split('"').nth(1).unwrap())
    };
    conformance_persistent(
        || {
            number += 1;
            options.create(directory.path().join(format!("{number}.sqlite")), key(1)).unwrap()
        },
        |store| {
            let path = path_of(&store);
            drop(store);
            options.open(path, key(1)).unwrap()
        },
    );
}

#[test]
fn passphrases_open_and_change() {
    let (_directory, path) = directory();
    let mut store = SqliteStore::create(&path, passphrase("first")).unwrap();
    put(&mut store, "a", "1").unwrap();
    assert!(matches!(SqliteStore::open(&path, passphrase("first")), Err(StoreError::Locked)));
    store.change_credential(passphrase("second")).unwrap();
    put(&mut store, "b", "2").unwrap();
    drop(store);
    assert!(matches!(refused(&path, passphrase("first")), StoreError::WrongKey));
    assert!(matches!(refused(&path, key(1)), StoreError::WrongKey));
    let mut store = SqliteStore::open(&path, passphrase("second")).unwrap();
    assert_eq!((get(&store, "a").unwrap(), get(&store, "b").unwrap()), ("1".into(), "2".into()));
    store.change_credential(key(2)).unwrap();
    drop(store);
    assert!(matches!(refused(&path, passphrase("second")), StoreError::WrongKey));
    SqliteStore::open(&path, key(2)).unwrap().verify().unwrap();
}

#[test]
fn a_wrong_key_leaves_the_log_of_a_crash_alone() {
    let (_directory, path) = directory();
    let mut store = SqliteStore::create(&path, key(1)).unwrap();
    put(&mut store, "a", "1").unwrap();
    // What a crash at this moment would leave.
    let (_elsewhere, crashed) = directory_with_copy(&path);
    drop(store);
    assert!(contents(&crashed).len() == 2, "the log was copied too");
    assert!(matches!(refused(&crashed, key(2)), StoreError::WrongKey));
    assert_eq!(get(&SqliteStore::open(&crashed, key(1)).unwrap(), "a").unwrap(), "1");
}

fn directory_with_copy(path: &Path) -> (TempDir, PathBuf) {
    let (elsewhere, copy) = directory();
    for (from, bytes) in contents(path) {
        fs::write(elsewhere.path().join(from.file_name().unwrap()), bytes).unwrap();
    }
    (elsewhere, copy)
}

/// Random commits, small and large, and between them everything that ends a store or moves its
/// records: it always has what a map has, also where it takes no more.
#[test]
fn a_store_is_a_map() {
    let config = ProptestConfig { cases: 48, ..ProptestConfig::default() };
    let change = (0..4u8, 0..12u8, option::weighted(0.7, 0..9_000usize));
    let step = prop_oneof![
        12 => vec(change, 1..6).prop_map(Step::Commit),
        3 => vec((0..4u8, 0..12u8, Just(None)), 1..3).prop_map(Step::Commit),
        1 => Just(Step::Commit((0..12).map(|key| (0, key, Some(20_000))).collect())),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
        1 => Just(Step::Checkpoint),
    ];
    let limit = option::of(0..60u64);
    proptest!(config, |(steps in vec(step, 1..60), limit in limit)| {
        let (mut directory, mut path) = directory();
        let mut options = SqliteStore::options().durability(Durability::ProcessEnd);
        if let Some(pages) = limit {
            options = options.max_bytes(pages * 4096);
        }
        let mut store = options.create(&path, key(1)).unwrap();
        let mut model = BTreeMap::new();
        let mut commits = 0;
        for (number, step) in (0u8..).zip(steps) {
            match step {
                Step::Commit(changes) => {
                    let mut batch = Batch::new();
                    let mut after = model.clone();
                    let deletes = changes.iter().all(|(.., len)| len.is_none());
                    for (scope, key, len) in changes {
                        let scope = Scope::new("s").indexed(scope.into());
                        let value = len.map(|len| vec![number; len]);
                        match value.clone() {
                            Some(value) => batch.put(&scope, [key], SecretBytes::new(value)),
                            None => batch.delete(&scope, [key]),
                        }
                        after.insert((scope, key), value);
                    }
                    match store.commit(&batch) {
                        Err(StoreError::Full) if limit.is_some() && !deletes => {}
                        result => {
                            result.unwrap();
                            model = after;
                            commits += 1;
                        }
                    }
                }
                Step::Reopen => {
                    drop(store);
                    store = options.open(&path, key(1)).unwrap();
                }
                Step::Crash => {
                    let (elsewhere, copy) = directory_with_copy(&path);
                    drop(store);
                    store = options.open(&copy, key(1)).unwrap();
                    (directory, path) = (elsewhere, copy);
                }
                Step::Checkpoint => store.checkpoint().unwrap(),
            }
            prop_assert_eq!(store.generation(), commits);
            for scope in (0..4).map(|scope| Scope::new("s").indexed(scope)) {
                let mut expected = Vec::new();
                for key in 0..12 {
                    let value = model.get(&(scope.clone(), key)).cloned().flatten();
                    let found = store.get(&scope, &[key]).unwrap();
                    prop_assert_eq!(found.as_ref().map(SecretBytes::expose), value.as_deref());
                    expected.extend(value.map(|value| (vec![key], SecretBytes::new(value))));
                }
                prop_assert_eq!(scope.of(&store).list(b"").unwrap(), expected);
            }
        }
        store.verify().unwrap();
        drop(directory);
    });
}

#[derive(Debug, Clone)]
enum Step {
    Commit(Vec<(u8, u8, Option<usize>)>),
    Reopen,
    Crash,
    Checkpoint,
}
