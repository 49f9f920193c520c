//! Stores written by earlier versions open in this one.
//!
//! A fixture is never written again. One for a new format is made by
//! `cargo test -p cc-store-sqlite --test format -- --ignored`, under its own name. Since version 2 it
//! is what a crash leaves, with commits in the journal.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use cc_aes_layer::Argon2Params;
use cc_core::{
    SecretBytes,
    store::{Batch, Scope, Store},
};
use cc_store_sqlite::{Credential, SqliteStore};

const PASSPHRASE: &str = "format fixture";

#[test]
fn version_1_opens() {
    opens(1);
}

#[test]
fn version_2_opens() {
    opens(2);
}

#[test]
fn version_3_opens() {
    opens(3);
}

fn opens(version: u32) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.sqlite");
    fs::copy(fixture(version), &path).unwrap();
    let mut store = SqliteStore::open(&path, credential()).unwrap();
    store.verify().unwrap();
    assert_eq!(store.generation(), 2);
    let group = Scope::new("friends");
    assert_eq!(store.get(&group, b"name").unwrap().unwrap().expose(), b"Friends of fixtures");
    assert_eq!(store.get(&group, b"").unwrap().unwrap().expose(), b"");
    assert_eq!(store.get(&group, b"gone").unwrap(), None);
    let layer = group.indexed(3);
    let records = layer.of(&store).list(b"epoch ").unwrap();
    assert_eq!(records.len(), 5);
    for (number, (key, value)) in (0u8..).zip(records) {
        assert_eq!(key, format!("epoch {number}").as_bytes());
        assert_eq!(value.expose(), vec![number; 900 * usize::from(number)]);
    }
    // And goes on.
    let mut batch = Batch::new();
    batch.put(&group, "name", SecretBytes::new(b"new".to_vec()));
    store.commit(&batch).unwrap();
    drop(store);
    let store = SqliteStore::open_expecting(&path, credential(), 3).unwrap();
    assert_eq!(store.get(&group, b"name").unwrap().unwrap().expose(), b"new");
}

#[test]
#[ignore = "writes the fixture of a new format"]
fn write_fixture() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.sqlite");
    let mut store = SqliteStore::create(&path, credential()).unwrap();
    let group = Scope::new("friends");
    let mut batch = Batch::new();
    batch.put(&group, "name", SecretBytes::new(b"Friends of fixtures".to_vec()));
    batch.put(&group, "gone", SecretBytes::new(b"soon".to_vec()));
    for number in 0u8..5 {
        let value = SecretBytes::new(vec![number; 900 * usize::from(number)]);
        batch.put(&group.indexed(3), format!("epoch {number}"), value);
    }
    store.commit(&batch).unwrap();
    let mut batch = Batch::new();
    batch.put(&group, "", SecretBytes::new(Vec::new()));
    batch.delete(&group, "gone");
    store.commit(&batch).unwrap();
    let fixture = fixture(3);
    assert!(!fixture.exists(), "{} is there, and stays as it is", fixture.display());
    let wal = |path: &Path| path.with_extension("sqlite-wal");
    fs::copy(wal(&path), wal(&fixture)).unwrap();
    fs::copy(&path, &fixture).unwrap();
    // Moves the log into the database.
    rusqlite::Connection::open(&fixture).unwrap().execute_batch("PRAGMA user_version").unwrap();
}

fn fixture(version: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/store-v{version}.sqlite"))
}

fn credential() -> Credential {
    Credential::passphrase_with(PASSPHRASE, Argon2Params::LEAST).unwrap()
}
