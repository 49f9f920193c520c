//! The contract, and everything that can be wrong with a file.

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

#[test]
fn foreign_files_are_refused() {
    let (directory, path) = directory();
    assert!(matches!(SqliteStore::open(&path, key(1)), Err(StoreError::Missing)));
    assert!(fs::read_dir(directory.path()).unwrap().next().is_none(), "a lock for nothing");
    for bytes in [&b""[..], b"hello", &[0; 8192], b"SQLite format 3\0"] {
        fs::write(&path, bytes).unwrap();
        assert!(matches!(refused(&path, key(1)), StoreError::Foreign), "{} bytes", bytes.len());
        assert!(matches!(SqliteStore::create(&path, key(1)), Err(StoreError::Exists)));
        assert!(matches!(SqliteStore::open_or_create(&path, key(1)), Err(StoreError::Foreign)));
    }
    fs::remove_file(&path).unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (1);").unwrap();
    drop(other);
    assert!(matches!(refused(&path, key(1)), StoreError::Foreign));
    assert!(matches!(SqliteStore::open(directory.path(), key(1)), Err(StoreError::Foreign)));
    let nowhere = directory.path().join("no such directory").join("store.sqlite");
    assert!(matches!(SqliteStore::create(nowhere, key(1)), Err(StoreError::Io(_))));
}

#[test]
fn a_log_without_its_database_is_in_the_way() {
    let (_directory, path) = directory();
    fs::write(path.with_extension("sqlite-wal"), "somebody's").unwrap();
    assert!(matches!(SqliteStore::create(&path, key(1)), Err(StoreError::Exists)));
}

#[test]
fn half_a_creation_is_no_obstacle() {
    let (_directory, path) = directory();
    fs::write(path.with_extension("sqlite.new"), "half a store").unwrap();
    let mut store = SqliteStore::create(&path, key(1)).unwrap();
    put(&mut store, "a", "1").unwrap();
    assert!(!path.with_extension("sqlite.new").exists());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_newer_format_is_refused() {
    let (_directory, path) = directory();
    sample(&path);
    let mut bytes = fs::read(&path).unwrap();
    bytes[60..64].copy_from_slice(&7u32.to_be_bytes());
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(refused(&path, key(1)), StoreError::Newer { version: 7 }));
    bytes[60..64].copy_from_slice(&[0; 4]);
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(refused(&path, key(1)), StoreError::Corrupt(_)));
}

#[test]
fn a_newer_format_in_the_log_is_refused() {
    let (_directory, path) = directory();
    sample(&path);
    let newer = rusqlite::Connection::open(&path).unwrap();
    newer.execute_batch("PRAGMA user_version=4").unwrap();
    let (_elsewhere, crashed) = directory_with_copy(&path);
    drop(newer);
    fs::remove_file(crashed.with_extension("sqlite-shm")).unwrap();
    assert!(matches!(refused(&crashed, key(1)), StoreError::Newer { version: 4 }));
}

/// Every page but the first in turn is overwritten: opening or reading says so, and nothing else
/// happens.
#[test]
fn a_damaged_page_is_reported() {
    let (_directory, path) = directory();
    sample(&path);
    let good = fs::read(&path).unwrap();
    for page in 1..good.len() / 4096 {
        let mut bytes = good.clone();
        bytes[page * 4096..(page + 1) * 4096].fill(0x5a);
        fs::write(&path, &bytes).unwrap();
        damaged(&path, &format!("page {page}"));
    }
}

/// Single bits, everywhere: never a panic, never a value that was not put there.
#[test]
fn a_flipped_bit_never_changes_a_value() {
    let (_directory, path) = directory();
    sample(&path);
    let good = fs::read(&path).unwrap();
    let mut noticed = 0;
    let positions = (100..good.len()).step_by(307);
    let all = positions.clone().count();
    for (round, at) in positions.enumerate() {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (round % 8);
        fs::write(&path, &bytes).unwrap();
        let read = SqliteStore::open(&path, key(1)).and_then(|store| {
            for number in 0..40 {
                let found = store.get(&Scope::new("s"), format!("record {number}").as_bytes())?;
                if let Some(found) = found {
                    assert!(found.expose() == "x".repeat(number * 100).as_bytes());
                }
            }
            store.verify()
        });
        match read {
            Ok(()) => {} // a byte that nothing lives in
            Err(StoreError::Corrupt(_)) => noticed += 1,
            Err(error) => panic!("byte {at}: {error}"),
        }
    }
    // The pages that the journal had are empty now.
    assert!(noticed * 5 > all * 2, "{noticed} of {all} flipped bits were noticed");
}

/// A store as a crash leaves it: three commits in the journal, in the database file.
fn crashed() -> (TempDir, PathBuf) {
    let (_directory, path) = directory();
    let mut store = SqliteStore::create(&path, key(1)).unwrap();
    for (key, value) in [("a", "1"), ("b", "2"), ("a", "3")] {
        put(&mut store, key, value).unwrap();
    }
    let (elsewhere, copy) = directory_with_copy(&path);
    edit(&copy, "PRAGMA user_version");
    (elsewhere, copy)
}

/// Lets SQLite move the log into the database, and does more.
fn edit(path: &Path, sql: &str) {
    let file = rusqlite::Connection::open(path).unwrap();
    file.execute_batch(sql).unwrap();
    file.close().unwrap();
}

#[test]
fn a_commit_in_the_journal_is_there() {
    let (_directory, path) = crashed();
    let store = SqliteStore::open_expecting(&path, key(1), 3).unwrap();
    assert_eq!((store.generation(), get(&store, "a"), get(&store, "b")), {
        (3, Some("3".into()), Some("2".into()))
    });
    let listed = Scope::new("s").of(&store).list(b"").unwrap();
    assert_eq!(listed.len(), 2);
    store.verify().unwrap();
    drop(store);
    let file = rusqlite::Connection::open(&path).unwrap();
    let rows: u32 = file.query_row("SELECT count(*) FROM journal", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 0, "closing did not fold");
    drop(file);
    let store = SqliteStore::open(&path, key(1)).unwrap();
    assert_eq!((store.generation(), get(&store, "a").unwrap()), (3, "3".into()));
}

#[test]
fn commits_in_the_journal_cannot_be_moved() {
    for sql in [
        "DELETE FROM journal WHERE number = 1",
        "DELETE FROM journal WHERE number = 2",
        "UPDATE journal SET number = number + 1 WHERE number = 3",
        "UPDATE journal SET number = number - 1",
        "UPDATE journal SET sealed = (SELECT sealed FROM journal WHERE number = 1)",
        "INSERT INTO journal SELECT 4, sealed FROM journal WHERE number = 3",
        "UPDATE journal SET sealed = x''",
    ] {
        let (_directory, path) = crashed();
        edit(&path, sql);
        assert!(matches!(refused(&path, key(1)), StoreError::Corrupt(_)), "{sql}");
    }
    // Without its last commits it is an old copy, like any other.
    let (_directory, path) = crashed();
    edit(&path, "DELETE FROM journal WHERE number = 3");
    assert!(matches!(
        SqliteStore::open_expecting(&path, key(1), 3),
        Err(StoreError::RolledBack { found: 2, expected: 3 })
    ));
    // Somebody else's commit.
    let (_directory, path) = crashed();
    let (_other_directory, other) = crashed();
    let other = other.to_str().unwrap();
    edit(
        &path,
        &format!(
            "ATTACH '{other}' AS other; UPDATE journal SET sealed = (SELECT sealed FROM other.journal AS theirs WHERE theirs.number = journal.number)"
        ),
    );
    assert!(matches!(refused(&path, key(1)), StoreError::Corrupt(_)));
    // One that was folded since.
    let (_directory, path) = crashed();
    let (_elsewhere, before) = directory_with_copy(&path);
    let mut store = SqliteStore::open(&path, key(1)).unwrap();
    store.checkpoint().unwrap();
    drop(store);
    let before = before.to_str().unwrap();
    edit(
        &path,
        &format!("ATTACH '{before}' AS old; INSERT INTO journal SELECT * FROM old.journal"),
    );
    assert!(matches!(refused(&path, key(1)), StoreError::Corrupt(_)));
}

#[test]
fn a_flipped_bit_in_the_journal_is_noticed() {
    let (_directory, path) = crashed();
    let good = fs::read(&path).unwrap();
    let file = rusqlite::Connection::open(&path).unwrap();
    let sealed: Vec<u8> = file
        .query_row("SELECT sealed FROM journal WHERE number = 2", [], |row| row.get(0))
        .unwrap();
    drop(file);
    let at = good.windows(sealed.len()).position(|window| window == sealed).unwrap();
    for offset in 0..sealed.len() {
        let mut bytes = good.clone();
        bytes[at + offset] ^= 1 << (offset % 8);
        fs::write(&path, &bytes).unwrap();
        assert!(matches!(refused(&path, key(1)), StoreError::Corrupt(_)), "byte {offset}");
    }
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

fn damaged(path: &Path, what: &str) {
    let before = contents(path);
    let result = SqliteStore::open(path, key(1)).and_then(|store| store.verify());
    assert!(matches!(result, Err(StoreError::Corrupt(_))), "{what}: {result:?}");
    assert!(contents(path) == before, "{what}: a file was touched");
}

#[test]
fn records_cannot_be_moved() {
    let (_directory, path) = directory();
    let mut store = SqliteStore::create(&path, key(1)).unwrap();
    put(&mut store, "a", "1").unwrap();
    put(&mut store, "b", "2").unwrap();
    drop(store);
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute_batch(
        "CREATE TEMP TABLE old AS SELECT id, sealed FROM record;
         UPDATE record SET sealed = (SELECT sealed FROM old WHERE old.id != record.id);",
    )
    .unwrap();
    drop(file);
    let store = SqliteStore::open(&path, key(1)).unwrap();
    for key in ["a", "b"] {
        let read = store.get(&Scope::new("s"), key.as_bytes());
        assert!(matches!(read, Err(StoreError::Corrupt(_))), "{read:?}");
    }
    assert!(matches!(Scope::new("s").of(&store).list(b""), Err(StoreError::Corrupt(_))));
    assert!(matches!(store.verify(), Err(StoreError::Corrupt(_))));
}

#[test]
fn a_header_of_another_store_is_refused() {
    let (_directory, path) = directory();
    let (_other_directory, other) = directory();
    sample(&path);
    sample(&other);
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute("ATTACH ?1 AS other", [other.to_str().unwrap()]).unwrap();
    file.execute_batch("DELETE FROM header; INSERT INTO header SELECT * FROM other.header;")
        .unwrap();
    drop(file);
    assert!(matches!(refused(&path, key(1)), StoreError::Corrupt(_)));
}

#[test]
fn an_old_copy_is_noticed() {
    let (_directory, path) = directory();
    let mut store = SqliteStore::create(&path, key(1)).unwrap();
    assert_eq!(store.generation(), 0);
    put(&mut store, "a", "1").unwrap();
    store.commit(&Batch::new()).unwrap();
    assert_eq!(store.generation(), 1, "an empty batch is no generation");
    let (_elsewhere, backup) = directory_with_copy(&path);
    put(&mut store, "a", "2").unwrap();
    let seen = store.generation();
    drop(store);
    assert_eq!(SqliteStore::open_expecting(&path, key(1), seen).unwrap().generation(), 2);
    let before = contents(&backup);
    assert!(matches!(
        SqliteStore::open_expecting(&backup, key(1), seen),
        Err(StoreError::RolledBack { found: 1, expected: 2 })
    ));
    assert!(contents(&backup) == before);
    assert_eq!(get(&SqliteStore::open(&backup, key(1)).unwrap(), "a").unwrap(), "1");
}

#[test]
fn a_full_store_keeps_what_it_had() {
    let (_directory, path) = directory();
    sample(&path);
    let room = fs::metadata(&path).unwrap().len() + 16 * 4096;
    let mut store = SqliteStore::options().max_bytes(room).open(&path, key(1)).unwrap();
    let generation = store.generation();
    let mut batch = Batch::new();
    batch.put(&Scope::new("s"), "record 1", SecretBytes::new(b"new".to_vec()));
    batch.delete(&Scope::new("s"), "record 2");
    // More than there is room for, with the pages that the file has to spare: how many depends on where the random
    // names of records lie.
    batch.put(&Scope::new("s"), "too large", SecretBytes::new(vec![0; 40 * 4096]));
    for _ in 0..3 {
        assert!(matches!(store.commit(&batch), Err(StoreError::Full)));
        assert_eq!(get(&store, "record 1").unwrap(), "x".repeat(100));
        assert_eq!(get(&store, "record 2").unwrap(), "x".repeat(200));
        assert_eq!(get(&store, "too large"), None);
        assert_eq!(store.generation(), generation);
    }
    put(&mut store, "small", "fits").unwrap();
    store.verify().unwrap();
    drop(store);
    // The same batch, where there is room.
    let mut store = SqliteStore::open(&path, key(1)).unwrap();
    store.commit(&batch).unwrap();
    assert_eq!(get(&store, "record 1").unwrap(), "new");
    assert_eq!(get(&store, "record 2"), None);
    store.verify().unwrap();
}

/// Whatever a full store holds, it can be deleted, one record after another.
#[test]
fn a_full_store_lets_go_of_one_record_after_another() {
    let scope = Scope::new("s");
    for (len, pages) in
        [(0, 0), (0, 8), (8, 4), (8, 40), (100, 0), (100, 50), (1000, 4), (1000, 60)]
    {
        let (_directory, path) = directory();
        drop(SqliteStore::create(&path, key(1)).unwrap());
        let room = fs::metadata(&path).unwrap().len() + pages * 4096;
        let open = || SqliteStore::options().max_bytes(room).open(&path, key(1)).unwrap();
        let mut store = open();
        let mut left: BTreeMap<Vec<u8>, SecretBytes> = BTreeMap::new();
        let error = loop {
            let name = left.len().to_string();
            // As a manager, who counts.
            let mut batch = Batch::new();
            batch.put(&scope, name.as_str(), SecretBytes::new(vec![7; len]));
            batch.put(&scope, "count", SecretBytes::new(name.clone().into()));
            if let Err(error) = store.commit(&batch) {
                break error;
            }
            left.insert(name.into(), SecretBytes::new(vec![7; len]));
        };
        assert!(matches!(error, StoreError::Full), "{error}");
        let names: Vec<_> = left.keys().cloned().collect();
        for (at, name) in names.into_iter().enumerate() {
            let mut batch = Batch::new();
            batch.delete(&scope, name.as_slice());
            batch.put(&scope, "count", SecretBytes::new(b"9".to_vec()));
            let before = store.generation();
            store.commit(&batch).unwrap_or_else(|error| panic!("{len}, {pages}: {at}: {error}"));
            assert_eq!(store.generation(), before + 1);
            left.remove(&name);
            if at % 31 == 0 {
                match at % 3 {
                    0 => store.checkpoint().unwrap(),
                    1 => store.change_credential(key(1)).unwrap(),
                    _ => {
                        let before = store.generation();
                        drop(store);
                        store = open();
                        assert_eq!(store.generation(), before);
                    }
                }
                store.verify().unwrap();
                let mut all: BTreeMap<_, _> =
                    scope.of(&store).list(b"").unwrap().into_iter().collect();
                assert_eq!(all.remove(b"count".as_slice()).unwrap().expose(), b"9");
                assert!(all == left, "{len}, {pages}: {at}");
            }
        }
        put(&mut store, "again", "there is room").unwrap();
    }
}

#[test]
fn a_read_only_file_is_refused() {
    let (_directory, path) = directory();
    sample(&path);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    if OpenOptions::new().write(true).open(&path).is_ok() {
        return; // Permissions mean nothing to root.
    }
    assert!(matches!(refused(&path, key(1)), StoreError::Io(_)));
}

#[test]
fn nothing_in_the_files_tells_names_or_values() {
    let (_directory, path) = directory();
    let mut store = SqliteStore::create(&path, key(0x42)).unwrap();
    let mut batch = Batch::new();
    let scope = Scope::new("the group of friends").child("the ratchet with bob");
    batch.put(&scope, "the key of bob", SecretBytes::new(b"the value of bob".to_vec()));
    store.commit(&batch).unwrap();
    assert_eq!(scope.of(&store).list(b"the key").unwrap().len(), 1);
    let open = contents(&path);
    drop(store);
    for (file, bytes) in open.into_iter().chain(contents(&path)) {
        for needle in ["friends", "ratchet", "of bob", "the ", "BBBBBBBB"] {
            let found = bytes.windows(needle.len()).any(|window| window == needle.as_bytes());
            assert!(!found, "{needle:?} in {}", file.display());
        }
    }
}

#[test]
fn nothing_deleted_is_left_in_the_database() {
    let (_directory, path) = directory();
    let mut store = SqliteStore::create(&path, key(1)).unwrap();
    put(&mut store, "a", &"secret".repeat(20)).unwrap();
    put(&mut store, "large", &"secret".repeat(5000)).unwrap();
    store.checkpoint().unwrap();
    let sealed: Vec<Vec<u8>> = {
        let (_elsewhere, copy) = directory_with_copy(&path);
        let file = rusqlite::Connection::open(&copy).unwrap();
        let mut statement = file.prepare("SELECT sealed FROM record").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let left = |path: &Path| {
        let all: Vec<u8> = contents(path).into_iter().flat_map(|(_, bytes)| bytes).collect();
        sealed
            .iter()
            .flat_map(|sealed| [&sealed[..32], &sealed[sealed.len() - 32..]])
            .filter(|part| all.windows(32).any(|window| window == *part))
            .count()
    };
    assert_eq!(left(&path), 4);
    let mut batch = Batch::new();
    batch.put(&Scope::new("s"), "a", SecretBytes::new(b"other".to_vec()));
    batch.delete(&Scope::new("s"), "large");
    store.commit(&batch).unwrap();
    store.checkpoint().unwrap();
    assert_eq!(left(&path), 0);
}

#[test]
fn a_log_that_grew_is_cut() {
    let (_directory, path) = directory();
    let mut store = SqliteStore::create(&path, key(1)).unwrap();
    let log = || fs::metadata(path.with_extension("sqlite-wal")).unwrap().len();
    put(&mut store, "large", &"x".repeat(3 << 20)).unwrap();
    assert!(log() > 3 << 20);
    put(&mut store, "small", "x").unwrap();
    assert!(log() <= 1 << 20, "{}", log());
}
