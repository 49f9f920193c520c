//! A store that lasts as long as the process, for tests.

use alloc::{collections::BTreeMap, vec::Vec};
use core::ops::ControlFlow;

use super::{Batch, Change, Scope, Store, StoreError};
use crate::SecretBytes;

/// A store in memory, which can be told to fail.
///
/// For tests, and for stacks whose state need not survive. [`reopened`](Self::reopened) stands for a
/// crash and a restart: it has what was committed and nothing else.
#[derive(Debug, Default)]
pub struct MemoryStore {
    scopes: BTreeMap<Scope, BTreeMap<Vec<u8>, SecretBytes>>,
    commits: u64,
    /// Commits that still succeed, and what the one after them does.
    failure: Option<(u64, Failure)>,
    in_doubt: bool,
}

/// How a commit fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// [`StoreError::Full`]; nothing is in force, and the store goes on.
    Full,
    /// [`StoreError::InDoubt`]; nothing is in force once the store is reopened.
    Lost,
    /// [`StoreError::InDoubt`]; all of it is in force once the store is reopened.
    Kept,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets `successes` more commits succeed and the one after them fail. Commits after that one
    /// succeed again, unless it left the store in doubt.
    pub fn fail_after(&mut self, successes: u64, failure: Failure) {
        self.failure = Some((successes, failure));
    }

    /// The store after a crash and a restart: a copy of what is in force.
    #[must_use]
    pub fn reopened(&self) -> Self {
        let copy = |records: &BTreeMap<Vec<u8>, SecretBytes>| {
            records.iter().map(|(key, value)| (key.clone(), value.duplicate())).collect()
        };
        Self {
            scopes: self
                .scopes
                .iter()
                .map(|(scope, records)| (scope.clone(), copy(records)))
                .collect(),
            commits: self.commits,
            ..Self::default()
        }
    }

    /// How many commits came into force.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.commits
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.scopes.values().map(BTreeMap::len).sum()
    }

    /// Whether there are no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn usable(&self) -> Result<(), StoreError> {
        if self.in_doubt { Err(injected()) } else { Ok(()) }
    }

    fn injected_failure(&mut self) -> Option<Failure> {
        let (successes, failure) = self.failure.take()?;
        match successes.checked_sub(1) {
            Some(left) => {
                self.failure = Some((left, failure));
                None
            }
            None => Some(failure),
        }
    }

    fn apply(&mut self, batch: &Batch) {
        for (scope, key, change) in batch.changes() {
            match change {
                Change::Put(value) => {
                    let records = self.scopes.entry(scope.clone()).or_default();
                    records.insert(key.to_vec(), value.duplicate());
                }
                Change::Delete => {
                    self.scopes.get_mut(scope).map(|records| records.remove(key));
                }
            }
        }
        self.commits += 1;
    }
}

impl Store for MemoryStore {
    fn get(&self, scope: &Scope, key: &[u8]) -> Result<Option<SecretBytes>, StoreError> {
        self.usable()?;
        let records = self.scopes.get(scope);
        Ok(records.and_then(|records| records.get(key)).map(SecretBytes::duplicate))
    }

    fn scan(
        &self,
        scope: &Scope,
        prefix: &[u8],
        visit: &mut dyn FnMut(&[u8], SecretBytes) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.usable()?;
        let Some(records) = self.scopes.get(scope) else { return Ok(()) };
        for (key, value) in records.range(prefix.to_vec()..) {
            if !key.starts_with(prefix) || visit(key, value.duplicate()).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.usable()?;
        batch.check(self)?;
        if batch.is_empty() {
            return Ok(());
        }
        match self.injected_failure() {
            None => self.apply(batch),
            Some(Failure::Full) => return Err(StoreError::Full),
            Some(failure) => {
                self.in_doubt = true;
                if failure == Failure::Kept {
                    self.apply(batch);
                }
                return Err(injected());
            }
        }
        Ok(())
    }
}

fn injected() -> StoreError {
    StoreError::in_doubt("a failure that a test asked for")
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn put(store: &mut MemoryStore, key: &str) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        batch.put(&Scope::new("s"), key, SecretBytes::new(vec![1]));
        store.commit(&batch)
    }

    fn has(store: &MemoryStore, key: &str) -> bool {
        store.get(&Scope::new("s"), key.as_bytes()).unwrap().is_some()
    }

    #[test]
    fn the_nth_commit_fails() {
        let mut store = MemoryStore::new();
        store.fail_after(1, Failure::Full);
        put(&mut store, "a").unwrap();
        assert!(matches!(put(&mut store, "b"), Err(StoreError::Full)));
        put(&mut store, "c").unwrap();
        assert_eq!(store.commits(), 2);
        assert_eq!([has(&store, "a"), has(&store, "b"), has(&store, "c")], [true, false, true]);
    }

    #[test]
    fn doubt_lasts_until_the_store_is_reopened() {
        for (failure, kept) in [(Failure::Lost, false), (Failure::Kept, true)] {
            let mut store = MemoryStore::new();
            store.fail_after(0, failure);
            assert!(put(&mut store, "a").unwrap_err().is_in_doubt());
            assert!(put(&mut store, "b").unwrap_err().is_in_doubt());
            assert!(store.get(&Scope::new("s"), b"a").unwrap_err().is_in_doubt());
            assert_eq!(has(&store.reopened(), "a"), kept);
        }
    }

    #[cfg(feature = "store-tests")]
    #[test]
    fn conforms() {
        crate::store::tests::conformance_persistent(MemoryStore::new, |store| store.reopened());
    }

    #[cfg(all(feature = "store-tests", feature = "std"))]
    #[test]
    fn conforms_when_shared() {
        use alloc::{boxed::Box, sync::Arc};
        use std::sync::Mutex;

        crate::store::tests::conformance(|| Arc::new(Mutex::new(MemoryStore::new())));
        crate::store::tests::conformance(|| -> Box<dyn Store> { Box::new(MemoryStore::new()) });
    }
}
