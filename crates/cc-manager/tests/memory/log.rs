//! What the other process writes down: masked, so that it does not hold it itself.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
};

use cc_core::SecretBytes;
use cc_core::store::{Batch, Change, MemoryStore, Scope, Store, StoreError};

const MASK: u8 = 0xa7;
const SECRET: u8 = 1;
const PUBLIC: u8 = 2;

/// Bytes, and a name for people.
#[derive(Debug)]
pub(crate) struct Entry {
    pub name: String,
    pub bytes: Vec<u8>,
    pub is_secret: bool,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn secret(&self, name: &str, bytes: &[u8]) {
        self.add(SECRET, name, bytes);
    }

    /// What others see too.
    pub(crate) fn public(&self, bytes: &[u8]) {
        self.add(PUBLIC, "", bytes);
    }

    fn add(&self, kind: u8, name: &str, bytes: &[u8]) {
        let mut log = self.0.lock().unwrap();
        log.push(kind);
        for part in [name.as_bytes(), bytes] {
            log.extend_from_slice(&u32::try_from(part.len()).unwrap().to_be_bytes());
            log.extend(part.iter().map(|byte| byte ^ MASK));
        }
    }

    pub(crate) fn write(&self, path: &Path) {
        fs::write(path, &*self.0.lock().unwrap()).unwrap();
    }

    /// The other end of [`write`](Self::write).
    pub(crate) fn read(path: &Path) -> Vec<Entry> {
        let bytes = fs::read(path).unwrap();
        let mut rest = bytes.as_slice();
        let mut entries = Vec::new();
        while let Some((kind, after)) = rest.split_first() {
            rest = after;
            let [name, bytes] = [(); 2].map(|()| {
                let (len, after) = rest.split_first_chunk().unwrap();
                let (part, after) = after.split_at(u32::from_be_bytes(*len).try_into().unwrap());
                rest = after;
                part.iter().map(|byte| byte ^ MASK).collect::<Vec<_>>()
            });
            let name = String::from_utf8(name).unwrap();
            entries.push(Entry { name, bytes, is_secret: *kind == SECRET });
        }
        entries
    }

    pub(crate) fn store(&self, name: &'static str) -> LoggedStore {
        LoggedStore { store: MemoryStore::new(), log: self.clone(), name }
    }
}

/// A store in memory whose records are all written down.
#[derive(Debug)]
pub(crate) struct LoggedStore {
    store: MemoryStore,
    log: Log,
    name: &'static str,
}

impl Store for LoggedStore {
    fn get(&self, scope: &Scope, key: &[u8]) -> Result<Option<SecretBytes>, StoreError> {
        self.store.get(scope, key)
    }

    fn scan(
        &self,
        scope: &Scope,
        prefix: &[u8],
        visit: &mut dyn FnMut(&[u8], SecretBytes) -> std::ops::ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.store.scan(scope, prefix, visit)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        for (scope, key, change) in batch.changes() {
            if let Change::Put(value) = change {
                let key = key
                    .iter()
                    .map(|byte| if byte.is_ascii_graphic() { char::from(*byte) } else { '.' });
                let depth = scope.as_bytes().len();
                let name = format!("{} ({depth}) {}", self.name, key.take(8).collect::<String>());
                self.log.secret(&name, value.expose());
            }
        }
        self.store.commit(batch)
    }
}
