//! How fast commits are here: `cargo run --release -p cc-store-sqlite --example commit_rate [directory]`.
//!
//! One message's change stands for three records of 200 bytes in one group of many.

use std::{error::Error, fs, path::Path, time::Instant};

use cc_core::{
    Secret, SecretBytes,
    store::{Batch, Scope, Store},
};
use cc_store_sqlite::{Credential, Durability, SqliteStore};

const GROUPS: u32 = 1000;
const RECORDS: u32 = 100;

fn main() -> Result<(), Box<dyn Error>> {
    let parent = std::env::args().nth(1).unwrap_or_else(|| ".".into());
    for durability in [Durability::PowerLoss, Durability::ProcessEnd] {
        let directory = tempfile::tempdir_in(&parent)?;
        let path = directory.path().join("store.sqlite");
        let credential = || Credential::key(Secret::take(&mut [1; 32]));
        let options = SqliteStore::options().durability(durability);
        let mut store = options.create(&path, credential())?;
        for groups in [1, GROUPS] {
            fill(&mut store, groups)?;
            for changes in [1, 100] {
                measure(&mut store, durability, groups, changes)?;
            }
        }
        drop(store);
        let started = Instant::now();
        let store = options.open(&path, credential())?;
        let opened = started.elapsed();
        let started = Instant::now();
        let found = Scope::new("group").indexed(7).of(&store).list(b"")?.len();
        println!(
            "{} bytes in the file; opened in {opened:?}, a scope of {found} records read in {:?}",
            fs::metadata(&path)?.len(),
            started.elapsed()
        );
        println!("resident after that: {}", resident());
    }
    Ok(())
}

fn fill(store: &mut SqliteStore, groups: u32) -> Result<(), Box<dyn Error>> {
    for group in 0..groups {
        let mut batch = Batch::new();
        for record in 0..RECORDS {
            put(&mut batch, group, record, 0);
        }
        store.commit(&batch)?;
    }
    Ok(())
}

fn measure(
    store: &mut SqliteStore,
    durability: Durability,
    groups: u32,
    changes: u32,
) -> Result<(), Box<dyn Error>> {
    let commits = 2000 / changes.min(20);
    let written = written();
    let mut slowest = std::time::Duration::ZERO;
    let started = Instant::now();
    for number in 0..commits {
        let mut batch = Batch::new();
        for change in 0..changes {
            let one = number * changes + change;
            let group = one.wrapping_mul(2_654_435_761) % groups;
            put(&mut batch, group, 0, one);
            put(&mut batch, group, 1, one);
            put(&mut batch, group, 2 + one % (RECORDS - 2), one);
        }
        let before = Instant::now();
        store.commit(&batch)?;
        slowest = slowest.max(before.elapsed());
    }
    let took = started.elapsed();
    let messages = f64::from(commits * changes);
    println!(
        "{durability:?}, {groups} groups, {changes} changes a commit: {:.0} us a commit (slowest {:.1} ms), \
         {:.0} changes/s, {:.0} bytes written a change",
        took.as_secs_f64() * 1e6 / f64::from(commits),
        slowest.as_secs_f64() * 1e3,
        messages / took.as_secs_f64(),
        (self::written() - written) / messages,
    );
    Ok(())
}

fn put(batch: &mut Batch, group: u32, record: u32, number: u32) {
    let mut value = vec![0; 200];
    value[..4].copy_from_slice(&number.to_be_bytes());
    let scope = Scope::new("group").indexed(group);
    batch.put(&scope, record.to_be_bytes(), SecretBytes::new(value));
}

/// Bytes this process handed to the file system so far, where the system tells (Linux).
fn written() -> f64 {
    field(Path::new("/proc/self/io"), "wchar:").and_then(|n| n.parse().ok()).unwrap_or(f64::NAN)
}

fn resident() -> String {
    field(Path::new("/proc/self/status"), "VmRSS:").unwrap_or_else(|| "unknown".into())
}

fn field(path: &Path, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().to_owned())
}
