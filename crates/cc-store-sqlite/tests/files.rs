//! Other names of the files, the lock file, and what a derivation may cost.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use cc_aes_layer::Argon2Params;
use cc_core::{Secret, store::StoreError};
use cc_store_sqlite::{Credential, SqliteStore};
use tempfile::TempDir;

fn key() -> Credential {
    Credential::key(Secret::take(&mut [1; 32]))
}

fn directory() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.sqlite");
    (directory, path)
}

fn lock_of(path: &Path) -> PathBuf {
    path.with_extension("sqlite.lock")
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn io_error(path: &Path) -> String {
    match SqliteStore::open(path, key()) {
        Err(StoreError::Io(cause)) => cause.to_string(),
        result => panic!("{result:?}"),
    }
}

#[test]
fn nobody_else_can_open_the_lock_file() {
    let (_directory, path) = directory();
    drop(SqliteStore::create(&path, key()).unwrap());
    assert_eq!(mode(&lock_of(&path)), 0o600);
    // Also where it was there before, with more rights.
    fs::set_permissions(lock_of(&path), Permissions::from_mode(0o666)).unwrap();
    drop(SqliteStore::open(&path, key()).unwrap());
    assert_eq!(mode(&lock_of(&path)), 0o600);
}

#[test]
fn a_symbolic_link_in_the_place_of_the_lock_file_is_not_followed() {
    let (directory, path) = directory();
    drop(SqliteStore::create(&path, key()).unwrap());
    let target = directory.path().join("target");
    for exists in [false, true] {
        if exists {
            fs::write(&target, b"theirs").unwrap();
            fs::set_permissions(&target, Permissions::from_mode(0o644)).unwrap();
        }
        fs::remove_file(lock_of(&path)).unwrap();
        symlink(&target, lock_of(&path)).unwrap();
        assert!(io_error(&path).contains("symbolic link"));
        assert_eq!(target.exists(), exists);
    }
    assert_eq!((fs::read(&target).unwrap(), mode(&target)), (b"theirs".to_vec(), 0o644));
    let other = directory.path().join("other.sqlite");
    symlink(&target, lock_of(&other)).unwrap();
    assert!(matches!(SqliteStore::create(&other, key()), Err(StoreError::Io(_))));
    fs::remove_file(lock_of(&path)).unwrap();
    SqliteStore::open(&path, key()).unwrap();
}

#[test]
fn a_lock_file_with_a_second_name_is_refused() {
    let (directory, path) = directory();
    drop(SqliteStore::create(&path, key()).unwrap());
    let target = directory.path().join("target");
    fs::write(&target, b"theirs").unwrap();
    fs::set_permissions(&target, Permissions::from_mode(0o644)).unwrap();
    fs::remove_file(lock_of(&path)).unwrap();
    fs::hard_link(&target, lock_of(&path)).unwrap();
    assert!(io_error(&path).contains("second name"));
    assert_eq!(mode(&target), 0o644);
}

#[test]
fn a_store_with_a_second_name_is_refused() {
    let (directory, path) = directory();
    let held = SqliteStore::create(&path, key()).unwrap();
    let second = directory.path().join("second.sqlite");
    fs::hard_link(&path, &second).unwrap();
    assert!(io_error(&second).contains("second name"));
    drop(held);
    for name in [&path, &second] {
        assert!(io_error(name).contains("second name"));
    }
    fs::remove_file(&second).unwrap();
    SqliteStore::open(&path, key()).unwrap();
}

/// A symbolic link to the store leads to the lock of the store.
#[test]
fn another_path_is_the_same_store() {
    let (directory, path) = directory();
    let held = SqliteStore::create(&path, key()).unwrap();
    let link = directory.path().join("link.sqlite");
    symlink(&path, &link).unwrap();
    assert!(matches!(SqliteStore::open(&link, key()), Err(StoreError::Locked)));
    // Without the lock file too.
    fs::remove_file(lock_of(&path)).unwrap();
    assert!(matches!(SqliteStore::open(&link, key()), Err(StoreError::Locked)));
    assert!(matches!(SqliteStore::open(&path, key()), Err(StoreError::Locked)));
    drop(held);
    SqliteStore::open(&link, key()).unwrap();
}

/// Looking at a pipe does not wait for somebody to write into it.
#[test]
fn what_is_no_file_is_foreign() {
    let (directory, path) = directory();
    fs::create_dir(&path).unwrap();
    assert!(matches!(SqliteStore::open(&path, key()), Err(StoreError::Foreign)));
    let pipe = directory.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert!(matches!(SqliteStore::open(&pipe, key()), Err(StoreError::Foreign)));
    let (_elsewhere, path) = self::directory();
    drop(SqliteStore::create(&path, key()).unwrap());
    fs::remove_file(lock_of(&path)).unwrap();
    assert!(Command::new("mkfifo").arg(lock_of(&path)).status().unwrap().success());
    assert!(io_error(&path).contains("no file"));
}

/// Whoever writes the file cannot make its owner derive for a minute, or ask for 4 TiB of memory.
#[test]
fn the_file_does_not_say_what_a_derivation_may_cost() {
    let (_directory, path) = directory();
    let passphrase = || Credential::passphrase_with("p", Argon2Params::LEAST).unwrap();
    drop(SqliteStore::create(&path, passphrase()).unwrap());
    let genuine = read_header(&path);
    let opened = |at: usize, value: &[u8]| {
        let mut header = genuine.clone();
        header.2[at..at + value.len()].copy_from_slice(value);
        write_header(&path, &header);
        SqliteStore::open(&path, passphrase())
    };
    for (at, value) in [(16, &(1u32 << 20).to_be_bytes()[..]), (20, &[16])] {
        let refused = opened(at, value);
        assert!(matches!(refused, Err(StoreError::TooCostly { .. })), "{refused:?}");
    }
    // What no store asks for is not derived either: there is no such memory.
    let refused = opened(16, &u32::MAX.to_be_bytes());
    assert!(matches!(refused, Err(StoreError::WrongKey)), "{refused:?}");
    write_header(&path, &genuine);
    drop(SqliteStore::open(&path, passphrase()).unwrap());
}

#[test]
fn a_costlier_passphrase_is_accepted_by_who_says_so() {
    let (_directory, path) = directory();
    let costly = Argon2Params::new(19 << 10, 9, 1).unwrap();
    let set = || Credential::passphrase_with("p", costly).unwrap();
    drop(SqliteStore::create(&path, set()).unwrap());
    // What one sets, one opens.
    drop(SqliteStore::open(&path, set()).unwrap());
    let other = || Credential::passphrase("p").unwrap();
    assert!(matches!(
        SqliteStore::open(&path, other()),
        Err(StoreError::TooCostly { memory_kib: 19_456, passes: 9 })
    ));
    drop(SqliteStore::open(&path, other().accept_at_most(costly)).unwrap());
}

type Header = (Vec<u8>, u8, Vec<u8>);

fn read_header(path: &Path) -> Header {
    let file = rusqlite::Connection::open(path).unwrap();
    file.query_row("SELECT store, kind, wrapped FROM header", [], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    })
    .unwrap()
}

/// As the store writes it, checksum included.
fn write_header(path: &Path, (store, kind, wrapped): &Header) {
    use sha2::{Digest as _, Sha256};
    let checksum = Sha256::new()
        .chain_update(b"cascading-cipher/1 store header")
        .chain_update(1u32.to_be_bytes())
        .chain_update(store)
        .chain_update([*kind])
        .chain_update(wrapped)
        .finalize();
    let file = rusqlite::Connection::open(path).unwrap();
    file.execute(
        "UPDATE header SET wrapped = ?1, checksum = ?2",
        rusqlite::params![wrapped, checksum.as_slice()],
    )
    .unwrap();
}
