//! The keys and nonces under which members sealed what they handed out: none may come twice.
//!
//! A member writes them into a log beside its store, so that a kill loses nothing that was written. The
//! lines, each with the uses since the one before:
//!
//! - `opened G`, by a process that found its store at generation `G`;
//! - `commit G`, before a commit that brings the store to generation `G`;
//! - `handed`, before anything is handed out.
//!
//! A use counts once a `handed` follows, or an `opened` that finds its commit in force: what it sealed is in
//! the store then, and is handed out from there. If neither follows, what it sealed went with the process,
//! and the key may be used again.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::Write as _,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use cc_core::{
    SecretBytes,
    key_use::{self, KeyUse},
    store::{Batch, Scope, Store, StoreError},
};
use cc_store_sqlite::SqliteStore;

/// The end of each line. One without it was never finished.
const END: &str = ".";

/// A member's store and log.
pub(crate) struct Logged {
    store: SqliteStore,
    log: File,
}

impl Logged {
    /// The store at `path`, as `open` opens it. From here on the thread records.
    pub(crate) fn open(path: &Path, open: impl FnOnce(&Path) -> SqliteStore) -> Self {
        key_use::start();
        let store = open(path);
        let log = OpenOptions::new().append(true).create(true).open(log_of(path)).unwrap();
        let mut logged = Self { store, log };
        // A kill may have left a line unfinished.
        logged.write(&format!("\nopened {}", logged.store.generation()), &[]);
        logged
    }

    /// To be called when the member is back from its store. Whatever sealed to that end was thrown away:
    /// MLS uses the keys up under which it sent since its last checkpoint.
    pub(crate) fn restored(&self) {
        key_use::start();
    }

    /// To be called before anything is handed out.
    pub(crate) fn hand_out(&mut self) {
        self.write("handed", &recorded());
    }

    fn write(&mut self, what: &str, uses: &[KeyUse]) {
        let mut words = vec![what.to_string()];
        let word = |one: &KeyUse| one.what().replace(' ', "-") + ":" + &hex::encode(one.digest());
        words.extend(uses.iter().map(word));
        words.push(format!("{END}\n"));
        // At once: nothing here is buffered.
        self.log.write_all(words.join(" ").as_bytes()).unwrap();
    }
}

fn recorded() -> Vec<KeyUse> {
    let uses = key_use::take();
    key_use::start();
    uses
}

impl Store for Logged {
    fn get(&self, scope: &Scope, key: &[u8]) -> Result<Option<SecretBytes>, StoreError> {
        self.store.get(scope, key)
    }

    fn scan(
        &self,
        scope: &Scope,
        prefix: &[u8],
        visit: &mut dyn FnMut(&[u8], SecretBytes) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.store.scan(scope, prefix, visit)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.write(&format!("commit {}", self.store.generation() + 1), &recorded());
        self.store.commit(batch)
    }
}

/// Compares all uses that count in the logs beside `stores`; gives how many there were, by cipher.
pub(crate) fn compare<'a>(stores: impl Iterator<Item = &'a Path>) -> BTreeMap<String, usize> {
    let mut seen = BTreeMap::new();
    let mut counts = BTreeMap::new();
    for store in stores {
        for one in counted(&std::fs::read_to_string(log_of(store)).unwrap()) {
            let cipher = one.split(':').next().unwrap().to_string();
            *counts.entry(cipher).or_default() += 1;
            let before = seen.insert(one.clone(), store);
            assert_eq!(before, None, "{one} was used twice, the second time in {store:?}");
        }
    }
    counts
}

fn counted(log: &str) -> Vec<String> {
    let mut counted = Vec::new();
    // With the generation at which they came into force, where a commit followed.
    let mut pending: Vec<(u64, String)> = Vec::new();
    for line in log.lines() {
        let words: Vec<_> = line.split(' ').collect();
        let [what, uses @ .., END] = words.as_slice() else { continue };
        let owned = |uses: &[&str], generation| {
            uses.iter().map(|one| (generation, (*one).to_string())).collect::<Vec<_>>()
        };
        match (*what, uses) {
            ("opened", [generation]) => {
                let generation: u64 = generation.parse().unwrap();
                pending.retain(|(needed, _)| *needed <= generation);
                counted.extend(pending.drain(..).map(|(_, one)| one));
            }
            ("commit", [generation, uses @ ..]) => {
                pending.extend(owned(uses, generation.parse().unwrap()));
            }
            ("handed", uses) => {
                pending.extend(owned(uses, 0));
                counted.extend(pending.drain(..).map(|(_, one)| one));
            }
            _ => panic!("not a line of a log: {line}"),
        }
    }
    counted
}

fn log_of(store: &Path) -> PathBuf {
    store.with_extension("uses")
}

#[test]
fn a_use_counts_when_it_was_handed_out_or_its_commit_is_in_force() {
    let counted = |log: &str| counted(log).join(" ");
    assert_eq!(counted("\nopened 0 .\ncommit 1 a:1 a:2 .\nhanded b:3 .\n"), "a:1 a:2 b:3");
    assert_eq!(counted("\nopened 0 .\nhanded a:1 .\n\nopened 0 .\n"), "a:1", "without a commit");
    // Killed before the commit, after it, and at the next one.
    assert_eq!(counted("\nopened 0 .\ncommit 1 a:1 .\n\nopened 0 .\nhanded .\n"), "");
    assert_eq!(counted("\nopened 0 .\ncommit 1 a:1 .\n\nopened 1 .\nhanded .\n"), "a:1");
    assert_eq!(counted("\nopened 0 .\ncommit 1 a:1 .\ncommit 2 a:2 .\n\nopened 1 .\n"), "a:1");
    // Killed at the end, or while it wrote.
    assert_eq!(counted("\nopened 0 .\ncommit 1 a:1 .\n"), "");
    assert_eq!(counted("\nopened 0 .\ncommit 1 a:1 a:\nopened 0 .\nhanded a:1 .\n"), "a:1");
}

#[test]
#[should_panic(expected = "a:1 was used twice")]
fn a_use_that_counts_twice_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let stores = ["one", "two"].map(|name| directory.path().join(name));
    std::fs::write(log_of(&stores[0]), "\nopened 0 .\nhanded a:1 a:2 .\n").unwrap();
    std::fs::write(log_of(&stores[1]), "\nopened 0 .\nhanded a:3 a:1 .\n").unwrap();
    compare(stores.iter().map(PathBuf::as_path));
}
