//! Files that were damaged or rearranged, the journal of a crash among them.

use super::*;

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
