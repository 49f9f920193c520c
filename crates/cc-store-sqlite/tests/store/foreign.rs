//! Files that are no store, not this one, or of a later version.

use super::*;

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
fn a_read_only_file_is_refused() {
    let (_directory, path) = directory();
    sample(&path);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    if OpenOptions::new().write(true).open(&path).is_ok() {
        return; // Permissions mean nothing to root.
    }
    assert!(matches!(refused(&path, key(1)), StoreError::Io(_)));
}
