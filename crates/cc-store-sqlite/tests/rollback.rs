//! Somebody who can write the file, and kept older copies of it.

#![cfg(unix)]
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

use cc_core::{
    Secret, SecretBytes,
    store::{Batch, Scope, Store, StoreError},
};
use cc_store_sqlite::{Credential, SqliteStore};
use tempfile::TempDir;

fn key() -> Credential {
    Credential::key(Secret::take(&mut [1; 32]))
}

fn scope() -> Scope {
    Scope::new("s")
}

fn put(store: &mut SqliteStore, records: &[(&str, &str)]) {
    let mut batch = Batch::new();
    for (key, value) in records {
        batch.put(&scope(), *key, SecretBytes::new(value.as_bytes().to_vec()));
    }
    store.commit(&batch).unwrap();
}

fn get(store: &SqliteStore, key: &str) -> Option<Vec<u8>> {
    store.get(&scope(), key.as_bytes()).unwrap().map(|value| value.expose().to_vec())
}

/// A directory with a copy of the store and its log, as they are on the disk just now.
struct Copy {
    _directory: TempDir,
    path: PathBuf,
}

fn copy(path: &Path) -> Copy {
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().join("store.sqlite");
    fs::copy(path, &to).unwrap();
    let log = |path: &Path| path.with_extension("sqlite-wal");
    if log(path).exists() {
        fs::copy(log(path), log(&to)).unwrap();
    }
    let copy = Copy { _directory: directory, path: to };
    edit(&copy, None, "PRAGMA user_version");
    copy
}

/// Changes the file with the means of SQLite, `other` being another copy.
fn edit(file: &Copy, other: Option<&Copy>, sql: &str) {
    let connection = rusqlite::Connection::open(&file.path).unwrap();
    if let Some(other) = other {
        connection.execute("ATTACH ?1 AS other", [other.path.to_str().unwrap()]).unwrap();
    }
    connection.execute_batch(sql).unwrap();
    connection.close().map_err(|(_, error)| error).unwrap();
}

/// Copies of one store, of generation 2 and 6: folded, and as a crash leaves them with a journal.
struct Copies {
    old: Copy,
    old_journal: Copy,
    new: Copy,
    new_journal: Copy,
}

const OLD: u64 = 2;
const NEW: u64 = 6;

fn copies() -> Copies {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.sqlite");
    let mut store = SqliteStore::create(&path, key()).unwrap();
    put(&mut store, &[("a", "a1"), ("b", "b1")]);
    put(&mut store, &[("a", "a2"), ("c", "c2")]);
    let old_journal = copy(&path);
    store.checkpoint().unwrap();
    let old = copy(&path);
    put(&mut store, &[("a", "a3"), ("d", "d3")]);
    put(&mut store, &[("b", "b4")]);
    let mut batch = Batch::new();
    batch.delete(&scope(), "c");
    store.commit(&batch).unwrap();
    put(&mut store, &[("d", "d6")]);
    let new_journal = copy(&path);
    store.checkpoint().unwrap();
    let new = copy(&path);
    Copies { old, old_journal, new, new_journal }
}

fn expecting(file: &Copy, generation: u64) -> Result<SqliteStore, StoreError> {
    SqliteStore::open_expecting(&file.path, key(), generation)
}

fn refused(file: &Copy, what: &str) {
    let before = fs::read(&file.path).unwrap();
    match expecting(file, NEW) {
        Err(StoreError::Corrupt(_) | StoreError::RolledBack { .. }) => {}
        result => panic!("{what}: {result:?}"),
    }
    assert!(fs::read(&file.path).unwrap() == before, "{what}: the file was touched");
}

#[test]
fn untouched_copies_open() {
    let copies = copies();
    for file in [&copies.new, &copies.new_journal] {
        let store = expecting(file, NEW).unwrap();
        store.verify().unwrap();
        assert_eq!(store.generation(), NEW);
        let found = ["a", "b", "c", "d"].map(|key| get(&store, key));
        let expected = [Some("a3"), Some("b4"), None, Some("d6")];
        assert_eq!(found, expected.map(|value| value.map(|value| value.as_bytes().to_vec())));
    }
    for file in [&copies.old, &copies.old_journal] {
        assert!(matches!(
            expecting(file, NEW),
            Err(StoreError::RolledBack { found: OLD, expected: NEW })
        ));
        expecting(file, OLD).unwrap().verify().unwrap();
    }
}

/// The attack: an old file says that it is of the newest generation.
#[test]
fn the_newest_generation_does_not_fit_into_an_old_file() {
    let state = "UPDATE state SET generation = (SELECT generation FROM other.state);";
    for (what, sql) in [
        ("alone", state.to_owned()),
        ("without the journal", format!("{state} DELETE FROM journal")),
        (
            "with the newest journal",
            format!("{state} DELETE FROM journal; INSERT INTO journal SELECT * FROM other.journal"),
        ),
        (
            "with the newest header",
            format!("{state} DELETE FROM header; INSERT INTO header SELECT * FROM other.header"),
        ),
    ] {
        for from_journal in [false, true] {
            for to_journal in [false, true] {
                let Copies { old, old_journal, new, new_journal } = copies();
                let from = if from_journal { &new_journal } else { &new };
                let to = if to_journal { &old_journal } else { &old };
                // The last state of a file that was not folded, its journal and the same records are
                // the new file itself.
                if from_journal && sql.contains("other.journal") && !to_journal {
                    edit(to, Some(from), &sql);
                    let store = expecting(to, NEW).unwrap();
                    assert_eq!(get(&store, "a").unwrap(), b"a3");
                    continue;
                }
                edit(to, Some(from), &sql);
                refused(to, what);
            }
        }
    }
}

/// Each record in turn is put back to what it was, taken away, or brought back.
#[test]
fn no_single_record_is_older_than_the_rest() {
    let count = |file: &Copy| -> i64 {
        let connection = rusqlite::Connection::open(&file.path).unwrap();
        connection.query_row("SELECT count(*) FROM record", [], |row| row.get(0)).unwrap()
    };
    let reference = copies();
    let (old_records, new_records) = (count(&reference.old), count(&reference.new));
    assert_eq!((old_records, new_records), (3, 3));
    let mut changed = 0;
    for at in 0..old_records {
        let Copies { old, new, .. } = copies();
        let before = fs::read(&new.path).unwrap();
        let sql = format!(
            "INSERT OR REPLACE INTO record SELECT * FROM other.record ORDER BY id LIMIT 1 OFFSET {at}"
        );
        edit(&new, Some(&old), &sql);
        if fs::read(&new.path).unwrap() != before {
            changed += 1;
            refused(&new, &sql);
            // Who does not ask for a generation is told by `verify`.
            let store = SqliteStore::open(&new.path, key()).unwrap();
            assert!(matches!(store.verify(), Err(StoreError::Corrupt(_))));
        }
    }
    assert_eq!(changed, old_records);
    for at in 0..new_records {
        let Copies { new, .. } = copies();
        let sql = format!(
            "DELETE FROM record WHERE id = (SELECT id FROM record ORDER BY id LIMIT 1 OFFSET {at})"
        );
        edit(&new, None, &sql);
        refused(&new, &sql);
    }
    let Copies { old, new, .. } = copies();
    edit(&new, Some(&old), "DELETE FROM record; INSERT INTO record SELECT * FROM other.record");
    refused(&new, "all records");
}

/// A digest that is a sum does not see what it has twice: old records, each two times, beside the new ones.
#[test]
fn two_records_do_not_stand_in_one_place() {
    let columns = "(scope BLOB NOT NULL, id BLOB NOT NULL, sealed BLOB NOT NULL) STRICT";
    let twice = "INSERT INTO record SELECT * FROM other.record;".repeat(2);
    let sql = format!(
        "CREATE TABLE kept AS SELECT * FROM record; DROP TABLE record;
         CREATE TABLE record {columns}; {twice}
         INSERT INTO record SELECT * FROM kept; DROP TABLE kept;"
    );
    let Copies { old, new, .. } = copies();
    edit(&new, Some(&old), &sql);
    refused(&new, "a table without a key");
    // The same under the name of the right table.
    let right = "CREATE TABLE record (
        scope BLOB NOT NULL,
        id BLOB NOT NULL,
        sealed BLOB NOT NULL,
        PRIMARY KEY (scope, id)
    ) STRICT, WITHOUT ROWID";
    let Copies { old, new, .. } = copies();
    edit(&new, Some(&old), &sql);
    edit(
        &new,
        None,
        &format!(
            "PRAGMA writable_schema=ON;
             UPDATE sqlite_schema SET sql = '{right}' WHERE name = 'record';
             PRAGMA writable_schema=RESET;"
        ),
    );
    refused(&new, "a table with the key of another");
    // An index of somebody else's, which would be read in the table's place.
    let Copies { new, .. } = copies();
    edit(&new, None, "CREATE INDEX other ON record (id, scope, sealed)");
    refused(&new, "an index");
}

/// Two copies of one generation went on, each its own way: their commits do not mix.
#[test]
fn commits_of_another_history_do_not_fit() {
    let Copies { old, .. } = copies();
    let (ours, theirs) = (copy(&old.path), copy(&old.path));
    let crashed = |file: &Copy, values: [&str; 2]| {
        let mut store = SqliteStore::open(&file.path, key()).unwrap();
        for value in values {
            put(&mut store, &[("a", value)]);
        }
        copy(&file.path)
    };
    let ours = crashed(&ours, ["x3", "x4"]);
    let theirs = crashed(&theirs, ["y3", "y4"]);
    edit(&ours, Some(&theirs), "DELETE FROM journal WHERE number = 2");
    edit(
        &ours,
        Some(&theirs),
        "INSERT INTO journal SELECT * FROM other.journal AS theirs WHERE theirs.number = 2",
    );
    assert!(matches!(SqliteStore::open(&ours.path, key()), Err(StoreError::Corrupt(_))));
}

/// The header of before a new passphrase does not come back alone.
#[test]
fn an_old_credential_does_not_come_back() {
    let Copies { old, .. } = copies();
    let before = copy(&old.path);
    let mut store = SqliteStore::open(&old.path, key()).unwrap();
    store.change_credential(Credential::key(Secret::take(&mut [2; 32]))).unwrap();
    drop(store);
    edit(&old, Some(&before), "DELETE FROM header; INSERT INTO header SELECT * FROM other.header");
    assert!(matches!(SqliteStore::open(&old.path, key()), Err(StoreError::Corrupt(_))));
}

/// Also while the store is open: the log is empty, and a copy of the database does not know the old one.
#[test]
fn a_credential_that_was_changed_is_nowhere_in_the_files() {
    let Copies { old, .. } = copies();
    let mut store = SqliteStore::open(&old.path, key()).unwrap();
    let new = || Credential::key(Secret::take(&mut [2; 32]));
    store.change_credential(new()).unwrap();
    let log = old.path.with_file_name(format!("{}-wal", old.path.file_name().unwrap().display()));
    assert_eq!(fs::metadata(log).unwrap().len(), 0);
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("store.sqlite");
    fs::copy(&old.path, &database).unwrap();
    assert!(matches!(SqliteStore::open(&database, key()), Err(StoreError::WrongKey)));
    assert!(SqliteStore::open(&database, new()).is_ok());
    drop(store);
}

/// A store without room deletes at once and leaves the rest in one commit of the journal. Without that
/// commit the records are of no generation.
#[test]
fn a_full_store_does_not_lose_the_commit_that_makes_it_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.sqlite");
    drop(SqliteStore::create(&path, key()).unwrap());
    let room = fs::metadata(&path).unwrap().len();
    let mut store = SqliteStore::options().max_bytes(room).open(&path, key()).unwrap();
    for name in 0.. {
        let mut batch = Batch::new();
        batch.put(&scope(), name.to_string(), SecretBytes::new(vec![7; 8]));
        match store.commit(&batch) {
            Ok(()) => {}
            Err(StoreError::Full) => break,
            Err(error) => panic!("{error}"),
        }
    }
    let before = store.generation();
    let mut rests = 0;
    for name in 0..4 {
        let mut batch = Batch::new();
        batch.delete(&scope(), name.to_string());
        store.commit(&batch).unwrap();
        let (whole, cut) = (copy(&path), copy(&path));
        assert_eq!(expecting(&whole, before).unwrap().generation(), before + name + 1);
        let connection = rusqlite::Connection::open(&cut.path).unwrap();
        let rows: i64 =
            connection.query_row("SELECT count(*) FROM journal", [], |row| row.get(0)).unwrap();
        drop(connection);
        if rows == 0 {
            continue;
        }
        rests += u64::from(rows == 1);
        edit(&cut, None, "DELETE FROM journal");
        let result = expecting(&cut, before);
        assert!(
            matches!(result, Err(StoreError::Corrupt(_) | StoreError::RolledBack { .. })),
            "{name}: {result:?}"
        );
    }
    assert!(rests > 0, "the store was never without room");
}
