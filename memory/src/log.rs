//! What the other process writes down: masked, so that it does not hold it itself.

use std::{
    fs,
    ops::Range,
    path::Path,
    sync::{Arc, Mutex},
};

use cc_core::SecretBytes;
use cc_core::store::{Batch, Change, MemoryStore, Scope, Store, StoreError};

const MASK: u8 = 0xa7;
const SECRET: u8 = 1;
const PUBLIC: u8 = 2;
const TEXT: u8 = 3;

/// Bytes of a record, by the beginning of its key, that are no secret: the whole group knows them, or
/// anybody, or they are a name or a digest.
#[derive(Debug, Clone)]
pub struct Known {
    pub kind: &'static [u8],
    pub bytes: Range<usize>,
    /// Only where this byte has this value.
    pub only_if: Option<(usize, u8)>,
}

/// The whole of a record.
pub const fn all(kind: &'static [u8]) -> Known {
    part(kind, 0..usize::MAX)
}

pub const fn part(kind: &'static [u8], bytes: Range<usize>) -> Known {
    Known { kind, bytes, only_if: None }
}

impl Known {
    /// What of the record it is.
    fn of<'a>(&self, key: &[u8], value: &'a [u8]) -> Option<&'a [u8]> {
        let applies = key.starts_with(self.kind)
            && self.only_if.is_none_or(|(at, byte)| value.get(at) == Some(&byte));
        let end = self.bytes.end.min(value.len());
        if applies { value.get(self.bytes.start..end) } else { None }
    }
}

/// What is public of a record, by its key and value.
pub type Public = fn(&[u8], &[u8]) -> Vec<Vec<u8>>;

/// What these say of a record.
pub fn public_of(known: &[Known], key: &[u8], value: &[u8]) -> Vec<Vec<u8>> {
    known.iter().filter_map(|known| known.of(key, value)).map(<[u8]>::to_vec).collect()
}

/// The name of the instance, what its stack is made of, digests of what was sent and received, and the change that the
/// others get.
const MANAGER: &[Known] = &[all(b"counters"), all(b"history"), all(b"shape"), all(b"staged")];

/// Bytes, and a name for people.
#[derive(Debug)]
pub struct Entry {
    pub name: String,
    pub bytes: Vec<u8>,
    pub is_secret: bool,
    /// Its secrets are letters and digits. Elsewhere text is none.
    pub is_text: bool,
}

#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub fn secret(&self, name: &str, bytes: &[u8]) {
        self.add(SECRET, name, bytes);
    }

    /// A secret in letters and digits.
    pub fn text(&self, name: &str, text: &str) {
        self.add(TEXT, name, text.as_bytes());
    }

    /// What others see too.
    pub fn public(&self, bytes: &[u8]) {
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

    pub fn write(&self, path: &Path) {
        fs::write(path, &*self.0.lock().unwrap()).unwrap();
    }

    /// The other end of [`write`](Self::write).
    pub fn read(path: &Path) -> Vec<Entry> {
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
            let (is_secret, is_text) = (*kind != PUBLIC, *kind == TEXT);
            entries.push(Entry { name, bytes, is_secret, is_text });
        }
        entries
    }

    /// A store whose records are secrets, but for what is public.
    pub fn store(&self, name: &'static str, public: Public) -> LoggedStore {
        LoggedStore {
            store: MemoryStore::new(),
            log: self.clone(),
            name,
            public,
            is_secret: |_, _| true,
        }
    }
}

/// A store in memory whose records are all written down.
#[derive(Debug)]
pub struct LoggedStore {
    store: MemoryStore,
    log: Log,
    name: &'static str,
    public: Public,
    is_secret: fn(&Scope, &[u8]) -> bool,
}

impl LoggedStore {
    /// Only these records are of interest.
    #[must_use]
    pub fn only(mut self, is_secret: fn(&Scope, &[u8]) -> bool) -> Self {
        self.is_secret = is_secret;
        self
    }
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
            let Change::Put(value) = change else { continue };
            if !(self.is_secret)(scope, key) {
                continue;
            }
            for bytes in public_of(MANAGER, key, value.expose()) {
                self.log.public(&bytes);
            }
            if !is_mail(scope) {
                for bytes in (self.public)(key, value.expose()) {
                    self.log.public(&bytes);
                }
            }
            // Keys begin with the kind of their record.
            let kind = key.escape_ascii().take(8).collect::<Vec<_>>();
            let kind = String::from_utf8(kind).unwrap();
            let name = format!("{} {kind} of {}", self.name, scope.as_bytes().len());
            self.log.secret(&name, value.expose());
        }
        self.store.commit(batch)
    }
}

/// The manager's inbox and outbox: keys there are ids of messages, and begin with any byte.
fn is_mail(scope: &Scope) -> bool {
    let has = |name: &[u8]| scope.as_bytes().windows(name.len()).any(|part| part == name);
    has(b"inbox") || has(b"outbox")
}
