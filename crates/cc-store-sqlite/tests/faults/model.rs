//! What a store should hold, what is done to it, and whether it holds that.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use cc_core::{
    Secret, SecretBytes,
    store::{Batch, Scope, Store as _, StoreError},
};
use cc_store_sqlite::{Credential, Durability, SqliteStore};
use tempfile::TempDir;

use crate::random::Random;

/// Scopes and keys that are ever used.
const SCOPES: usize = 4;
const KEYS: usize = 24;

/// Something done to a store.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Records by scope and key, and the length of the value, or none to delete it. The values are of
    /// the bytes of the generation that they come with.
    Commit(Vec<(usize, usize, Option<usize>)>),
    Checkpoint,
    ChangeCredential,
    Reopen,
}

impl Step {
    pub(crate) fn any(random: &mut Random) -> Self {
        match random.below(16) {
            0 => Self::Checkpoint,
            1 => Self::ChangeCredential,
            2 => Self::Reopen,
            _ => {
                let longest = [100, 100, 100, 2000, 20_000, 200_000][random.below(6)];
                let changes = [1, 3, 8, 40][random.below(4)];
                let change = |_| {
                    let length = (random.below(4) > 0).then(|| random.below(longest));
                    (random.below(SCOPES), random.below(KEYS), length)
                };
                Self::Commit((0..changes).map(change).collect())
            }
        }
    }
}

/// What a store should hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Model {
    records: BTreeMap<(usize, usize), Vec<u8>>,
    credential: u8,
    pub(crate) generation: u64,
}

impl Model {
    /// What a new store should hold.
    pub(crate) fn new() -> Self {
        Self { records: BTreeMap::new(), credential: 1, generation: 0 }
    }

    pub(crate) fn create(path: &Path) -> Result<SqliteStore, StoreError> {
        SqliteStore::create(path, credential(Self::new().credential))
    }

    /// What it should hold after `step`.
    pub(crate) fn after(&self, step: &Step) -> Self {
        let mut after = self.clone();
        match step {
            Step::Commit(changes) => {
                after.generation += 1;
                for &(scope, key, length) in changes {
                    match length {
                        Some(length) => {
                            let mut value = after.generation.to_be_bytes().to_vec();
                            value.resize(8 + length, after.generation.to_be_bytes()[7]);
                            after.records.insert((scope, key), value);
                        }
                        None => drop(after.records.remove(&(scope, key))),
                    }
                }
            }
            Step::ChangeCredential => {
                after.generation += 1;
                after.credential ^= 0xff;
            }
            Step::Checkpoint | Step::Reopen => {}
        }
        after
    }

    /// Does `step`, which is not to reopen it, to a store that holds this.
    pub(crate) fn perform(&self, step: &Step, store: &mut SqliteStore) -> Result<(), StoreError> {
        let after = self.after(step);
        match step {
            Step::Commit(changes) => {
                let mut batch = Batch::new();
                for &(scope, key, _) in changes {
                    match after.records.get(&(scope, key)) {
                        Some(value) => {
                            let value = SecretBytes::new(value.clone());
                            batch.put(&self::scope(scope), self::key(key), value);
                        }
                        None => batch.delete(&self::scope(scope), self::key(key)),
                    }
                }
                store.commit(&batch)
            }
            Step::Checkpoint => store.checkpoint(),
            Step::ChangeCredential => store.change_credential(credential(after.credential)),
            Step::Reopen => panic!("the store is to be closed for that"),
        }
    }

    pub(crate) fn open(&self, path: &Path) -> Result<SqliteStore, StoreError> {
        self.open_with(path, Durability::PowerLoss)
    }

    pub(crate) fn open_with(
        &self,
        path: &Path,
        durability: Durability,
    ) -> Result<SqliteStore, StoreError> {
        SqliteStore::options().durability(durability).open(path, credential(self.credential))
    }

    /// Opens the store at `path`, which should hold one of these, and gives which one it says it does.
    pub(crate) fn open_one_of(
        models: &[Self],
        path: &Path,
        durability: Durability,
    ) -> Result<(Self, SqliteStore), StoreError> {
        let mut refused = Vec::new();
        for model in models {
            if refused.contains(&model.credential) {
                continue;
            }
            match model.open_with(path, durability) {
                Ok(store) => {
                    let found = models.iter().find(|model| model.generation == store.generation());
                    let Some(found) = found else {
                        panic!("the store is at generation {}", store.generation())
                    };
                    assert_eq!(found.credential, model.credential, "of another generation");
                    return Ok((found.clone(), store));
                }
                Err(StoreError::WrongKey) => refused.push(model.credential),
                Err(error) => return Err(error),
            }
        }
        panic!("no credential opens the store");
    }

    /// Whether the store holds this and nothing else.
    pub(crate) fn check(&self, store: &SqliteStore) {
        let found = self.read(store).unwrap();
        assert!(found == self.records, "{}", self.difference(&found));
        assert_eq!(store.generation(), self.generation);
        store.verify().unwrap();
    }

    /// All that the store holds, by both ways to read it. What it gives before it fails is right.
    pub(crate) fn read(
        &self,
        store: &SqliteStore,
    ) -> Result<BTreeMap<(usize, usize), Vec<u8>>, StoreError> {
        let mut found = BTreeMap::new();
        for scope in 0..SCOPES {
            for key in 0..KEYS {
                let value = store.get(&self::scope(scope), self::key(key).as_bytes())?;
                let value = value.map(|value| value.expose().to_vec());
                assert!(value.as_ref() == self.records.get(&(scope, key)), "{scope}, {key}");
                found.extend(value.map(|value| ((scope, key), value)));
            }
        }
        let mut listed = BTreeMap::new();
        for scope in 0..SCOPES {
            for (key, value) in self::scope(scope).of(store).list(b"")? {
                let key = String::from_utf8(key).unwrap().parse().unwrap();
                listed.insert((scope, key), value.expose().to_vec());
            }
        }
        assert!(listed == found, "get and scan differ");
        Ok(found)
    }

    fn difference(&self, found: &BTreeMap<(usize, usize), Vec<u8>>) -> String {
        let names = |records: &BTreeMap<(usize, usize), Vec<u8>>| {
            let name = |(name, value): (&(usize, usize), &Vec<u8>)| {
                format!("{name:?}: {:?}, {}", value.first_chunk::<8>(), value.len())
            };
            records.iter().map(name).collect::<Vec<_>>().join("; ")
        };
        format!("expected {}\nfound {}", names(&self.records), names(found))
    }
}

/// A store to begin with, closed, of which each run gets a copy: the same names under the same key, so
/// that every run asks the same of the disk.
pub(crate) struct Template {
    pub(crate) model: Model,
    bytes: Vec<u8>,
    directory: TempDir,
}

impl Template {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("template.sqlite");
        let mut model = Model::new();
        let mut store = Model::create(&path).unwrap();
        for number in 0..3 {
            let changes = (0..KEYS).map(|key| (key % SCOPES, key, Some(40 * key * number)));
            let step = Step::Commit(changes.collect());
            model.perform(&step, &mut store).unwrap();
            model = model.after(&step);
        }
        model.check(&store);
        drop(store);
        let bytes = fs::read(&path).unwrap();
        Self { model, bytes, directory }
    }

    /// A new copy, in the place of the one before.
    pub(crate) fn copy(&self) -> PathBuf {
        let path = self.directory.path().canonicalize().unwrap().join("store.sqlite");
        for entry in fs::read_dir(self.directory.path()).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        fs::write(&path, &self.bytes).unwrap();
        path
    }
}

fn credential(byte: u8) -> Credential {
    Credential::key(Secret::take(&mut [byte; 32]))
}

fn scope(number: usize) -> Scope {
    Scope::new("s").child(number.to_string())
}

fn key(number: usize) -> String {
    number.to_string()
}
