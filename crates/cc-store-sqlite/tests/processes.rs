//! Other processes: one that has the store open, one that is killed, one that cannot write.
//!
//! The other process is this program again, told by the environment to play a part.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use cc_core::{
    Secret, SecretBytes,
    store::{Batch, Scope, Store, StoreError},
};
use cc_store_sqlite::{Credential, SqliteStore};
use tempfile::TempDir;

const PART: &str = "CC_STORE_TEST_PART";
const STORE: &str = "CC_STORE_TEST_STORE";

/// Records that every numbered batch writes.
const WIDTH: u64 = 7;
/// Batches whose own record is still there.
const RECENT: u64 = 200;

#[test]
fn another_process_is_kept_out() {
    let _alone = alone();
    let (_directory, path) = directory();
    drop(SqliteStore::create(&path, key()).unwrap());
    let mut child = play("hold", &path, None);
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    wait_for(&mut said, "open");
    assert!(matches!(open(&path), Err(StoreError::Locked)));
    assert!(matches!(SqliteStore::create(&path, key()), Err(StoreError::Locked)));
    // Also by another name, and with the lock file gone: SQLite's own lock holds too.
    let dotted = path.parent().unwrap().join(".").join(path.file_name().unwrap());
    assert!(matches!(open(&dotted), Err(StoreError::Locked)));
    std::fs::remove_file(lock_of(&path)).unwrap();
    assert!(matches!(open(&path), Err(StoreError::Locked)));
    child.kill().unwrap();
    child.wait().unwrap();
    open(&path).unwrap();
}

#[test]
fn this_process_is_kept_out_too() {
    let _alone = alone();
    let (_directory, path) = directory();
    let held = SqliteStore::create(&path, key()).unwrap();
    assert!(matches!(open(&path), Err(StoreError::Locked)));
    // Looking at it did not cost the holder its lock.
    let mut child = play("hold", &path, None);
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    wait_for(&mut said, "locked");
    child.wait().unwrap();
    drop(held);
    open(&path).unwrap();
}

/// The lock file is gone, and the process that has the store open tries to open it again: SQLite's own
/// lock still keeps everybody else out.
#[test]
fn looking_at_a_store_does_not_let_go_of_it() {
    let _alone = alone();
    let (_directory, path) = directory();
    drop(SqliteStore::create(&path, key()).unwrap());
    let mut child = play("hold twice", &path, None);
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    wait_for(&mut said, "locked");
    std::fs::remove_file(lock_of(&path)).unwrap();
    assert!(matches!(open(&path), Err(StoreError::Locked)));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(open(&path).unwrap().generation(), 1);
}

/// What was acknowledged is there, and every batch is there entirely or not at all.
#[test]
fn a_killed_process_loses_nothing_it_acknowledged() {
    let _alone = alone();
    let kills: u32 = env::var("CC_STORE_TEST_KILLS").map_or(50, |kills| kills.parse().unwrap());
    let (_directory, path) = directory();
    drop(SqliteStore::create(&path, key()).unwrap());
    let started = Instant::now();
    let mut last = 0;
    for round in 0..kills {
        let mut child = play("commit", &path, None);
        let said = BufReader::new(child.stdout.take().unwrap());
        let listener = thread::spawn(move || {
            let numbers = said.lines().map_while(Result::ok);
            numbers.filter_map(|line| line.strip_prefix("ack ")?.parse::<u64>().ok()).last()
        });
        // From before it has opened the store to well into its work.
        thread::sleep(Duration::from_micros(
            u64::from(round % 10) * 7_000 + u64::from(round) * 331,
        ));
        child.kill().unwrap();
        child.wait().unwrap();
        let acknowledged = listener.join().unwrap().unwrap_or(last);
        let store = open(&path).unwrap();
        let found = whole(&store).expect("a batch is there in part");
        assert!(found >= acknowledged, "{acknowledged} was acknowledged, {found} is there");
        assert!(found <= acknowledged + 1, "{found} is there, but only {acknowledged} was said");
        assert_eq!(store.generation(), found, "one generation per batch");
        last = found;
    }
    open(&path).unwrap().verify().unwrap();
    assert!(last > 0, "nothing was ever committed");
    println!("{kills} kills, {last} batches, {:?}", started.elapsed());
}

/// The file may grow to so many blocks and no further: SQLite's writes fail at every place in turn.
/// What failed is not there, or is in doubt and there entirely or not at all.
#[test]
#[cfg(target_os = "linux")]
fn writes_that_fail_leave_the_old_state() {
    let _alone = alone();
    let (mut failures, mut doubts, mut kept) = (0, 0, 0);
    for blocks in (0..200).step_by(4) {
        let (_directory, path) = directory();
        drop(SqliteStore::create(&path, key()).unwrap());
        let child = play("commit", &path, Some(blocks));
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let acknowledged = said.lines().filter_map(|line| line.strip_prefix("ack ")).count();
        let acknowledged = u64::try_from(acknowledged).unwrap();
        let store = open(&path).unwrap();
        let found = whole(&store).expect("a batch is there in part");
        assert_eq!(store.generation(), found);
        store.verify().unwrap();
        if said.contains("in doubt") {
            assert!(found == acknowledged || found == acknowledged + 1, "{said}");
            doubts += 1;
            kept += found - acknowledged;
        } else if said.contains("failed") {
            assert_eq!(found, acknowledged, "{said}");
            failures += 1;
        } else {
            panic!("with {blocks} blocks: {said}");
        }
    }
    println!("{failures} failures, {doubts} in doubt, {kept} of them in force");
    assert!(failures + doubts == 50);
}

/// One test at a time: a process that one starts has the files of all others until it is its own
/// program, and with them their locks.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Not a test: the other process.
#[test]
fn part() {
    let (Ok(part), Ok(path)) = (env::var(PART), env::var(STORE)) else { return };
    let path = PathBuf::from(path);
    match part.as_str() {
        "hold" => {
            let held = open(&path);
            say(match &held {
                Ok(_) => "open",
                Err(StoreError::Locked) => return say("locked"),
                Err(_) => "failed",
            });
            thread::sleep(Duration::from_secs(60));
        }
        "hold twice" => {
            let mut held = open(&path).unwrap();
            std::fs::remove_file(lock_of(&path)).unwrap();
            let again = open(&path);
            let mut batch = Batch::new();
            batch.put(&scope(), "a", SecretBytes::new(vec![1]));
            held.commit(&batch).unwrap();
            say(if matches!(again, Err(StoreError::Locked)) { "locked" } else { "failed" });
            thread::sleep(Duration::from_secs(60));
        }
        "commit" => match open(&path).map_err(|error| format!("failed to open: {error}")) {
            Ok(store) => commit_until_it_fails(store),
            Err(error) => say(&error),
        },
        other => panic!("no such part: {other}"),
    }
}

fn commit_until_it_fails(mut store: SqliteStore) {
    for number in store.generation() + 1.. {
        let mut batch = Batch::new();
        for index in 0..WIDTH {
            // Of lengths that differ, so that pages fill, split and overflow.
            let mut value = number.to_be_bytes().to_vec();
            value.resize(8 + usize::try_from((number * 37 + index * 1009) % 6000).unwrap(), 0);
            batch.put(&scope(), index.to_be_bytes(), SecretBytes::new(value));
        }
        // And one more that stays for a while, so that records come and go.
        let recent = scope().child("recent");
        batch.put(&recent, number.to_be_bytes(), SecretBytes::new(vec![1; 100]));
        batch.delete(&recent, number.saturating_sub(RECENT).to_be_bytes());
        match store.commit(&batch) {
            Ok(()) => say(&format!("ack {number}")),
            Err(error) => {
                let doubt = if error.is_in_doubt() { "in doubt" } else { "failed" };
                say(&format!("{doubt}: {error}"));
                let again = store.get(&scope(), &0u64.to_be_bytes());
                assert_eq!(again.is_err(), error.is_in_doubt());
                // Without SQLite's tidying up when it closes: the process ends as if it were killed.
                std::process::abort();
            }
        }
    }
}

/// The number of the batch that is there, if it is there entirely.
fn whole(store: &SqliteStore) -> Option<u64> {
    let numbers: Vec<u64> = (0..WIDTH)
        .map(|index| match store.get(&scope(), &index.to_be_bytes()).unwrap() {
            Some(value) => u64::from_be_bytes(*value.expose().first_chunk().unwrap()),
            None => 0,
        })
        .collect();
    let number = *numbers.first()?;
    let same = numbers.iter().all(|other| *other == number);
    let recent: Vec<u64> = scope()
        .child("recent")
        .of(store)
        .list(b"")
        .unwrap()
        .into_iter()
        .map(|(key, _)| u64::from_be_bytes(key.try_into().unwrap()))
        .collect();
    let expected = number.saturating_sub(RECENT) + 1..=number;
    (same && recent.into_iter().eq(expected)).then_some(number)
}

fn play(part: &str, path: &Path, blocks: Option<u32>) -> Child {
    let program = env::current_exe().unwrap();
    let mut command = match blocks {
        None => Command::new(program),
        Some(blocks) => {
            // With the signal ignored, a write beyond the limit is an error and not the end.
            let mut shell = Command::new("sh");
            let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
            shell.arg("-c").arg(script).arg(program);
            shell
        }
    };
    command
        .args(["part", "--exact", "--nocapture", "--test-threads=1"])
        .env(PART, part)
        .env(STORE, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn say(line: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "\n{line}").unwrap();
    out.flush().unwrap();
}

fn wait_for(said: &mut impl Iterator<Item = std::io::Result<String>>, what: &str) {
    assert!(said.map_while(Result::ok).any(|line| line == what), "it never said {what:?}");
}

fn directory() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.sqlite");
    (directory, path)
}

fn lock_of(path: &Path) -> PathBuf {
    path.with_extension("sqlite.lock")
}

fn key() -> Credential {
    Credential::key(Secret::take(&mut [7; 32]))
}

fn open(path: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(path, key())
}

fn scope() -> Scope {
    Scope::new("numbered")
}
