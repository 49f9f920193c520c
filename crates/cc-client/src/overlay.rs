//! One commit for everything that one input causes.
//!
//! The managers of all groups share this store. While a transaction is open their commits, and the
//! client's own records, collect in memory, where they are read again; then all of it is committed at
//! once, or none of it is.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{Arc, Mutex, MutexGuard},
};

use cc_core::{
    SecretBytes,
    store::{Batch, Change, Scope, Store, StoreError},
};

/// The store that a client and its managers share.
pub(crate) type SharedStore = Arc<Mutex<Overlay>>;

/// A store with the changes of an open transaction over it.
pub(crate) struct Overlay {
    base: Box<dyn Store>,
    /// The changes, while a transaction is open.
    open: Option<Batch>,
}

impl Overlay {
    pub(crate) fn shared(base: impl Store + 'static) -> SharedStore {
        Arc::new(Mutex::new(Self { base: Box::new(base), open: None }))
    }

    /// Opens a transaction; one that was left open by a panic is dropped.
    pub(crate) fn begin(&mut self) {
        self.open = Some(Batch::new());
    }

    /// What the open transaction changes.
    pub(crate) fn changes(&mut self) -> Result<&mut Batch, StoreError> {
        self.open.as_mut().ok_or_else(|| StoreError::in_doubt("no transaction is open"))
    }

    /// The store without the open transaction.
    pub(crate) fn committed(&self) -> &dyn Store {
        &*self.base
    }

    /// Whether the open transaction changed anything.
    pub(crate) fn has_changes(&self) -> bool {
        self.open.as_ref().is_some_and(|open| !open.is_empty())
    }

    /// Whether it changed anything in this scope.
    pub(crate) fn has_changes_in(&self, scope: &Scope) -> bool {
        self.open.as_ref().is_some_and(|open| open.changes_in(scope).next().is_some())
    }

    /// Drops what the open transaction changed.
    pub(crate) fn roll_back(&mut self) {
        self.open = None;
    }

    /// Commits what the open transaction changed, with what `last` requires and changes beside it.
    pub(crate) fn commit_all(&mut self, mut last: Batch) -> Result<(), StoreError> {
        last.extend(self.open.take().unwrap_or_default());
        self.base.commit(&last)
    }
}

/// The store, unless a thread panicked within it.
pub(crate) fn lock(store: &SharedStore) -> Result<MutexGuard<'_, Overlay>, StoreError> {
    store.lock().map_err(|_| StoreError::in_doubt("a thread panicked while it used the store"))
}

fn copy(batch: &mut Batch, scope: &Scope, key: &[u8], change: Change<'_>) {
    match change {
        Change::Put(value) => batch.put(scope, key, value.duplicate()),
        Change::Delete => batch.delete(scope, key),
    }
}

/// Visits the record that a change put.
fn put_only(
    key: &[u8],
    change: Change<'_>,
    visit: &mut dyn FnMut(&[u8], SecretBytes) -> ControlFlow<()>,
) -> ControlFlow<()> {
    match change {
        Change::Put(value) => visit(key, value.duplicate()),
        Change::Delete => ControlFlow::Continue(()),
    }
}

impl Store for Overlay {
    fn get(&self, scope: &Scope, key: &[u8]) -> Result<Option<SecretBytes>, StoreError> {
        match self.open.as_ref().and_then(|open| open.get(scope, key)) {
            Some(Change::Put(value)) => Ok(Some(value.duplicate())),
            Some(Change::Delete) => Ok(None),
            None => self.base.get(scope, key),
        }
    }

    fn scan(
        &self,
        scope: &Scope,
        prefix: &[u8],
        visit: &mut dyn FnMut(&[u8], SecretBytes) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut changed = BTreeMap::new();
        if let Some(open) = &self.open {
            let here = open.changes_in(scope).filter(|(key, _)| key.starts_with(prefix));
            changed.extend(here.map(|(key, change)| (key.to_vec(), change)));
        }
        // Both are in the order of keys: merged, and no record is read that is not asked for.
        let mut changed = changed.into_iter().peekable();
        let mut flow = ControlFlow::Continue(());
        self.base.scan(scope, prefix, &mut |key, value| {
            while let Some((new, change)) = changed.next_if(|(new, _)| new.as_slice() < key) {
                flow = put_only(&new, change, visit);
                if flow.is_break() {
                    return flow;
                }
            }
            flow = match changed.next_if(|(new, _)| new.as_slice() == key) {
                Some((new, change)) => put_only(&new, change, visit),
                None => visit(key, value),
            };
            flow
        })?;
        for (key, change) in changed {
            if flow.is_continue() {
                flow = put_only(&key, change, visit);
            }
        }
        Ok(())
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        batch.check(self)?;
        match &mut self.open {
            None => self.base.commit(batch),
            Some(open) => {
                for (scope, key, change) in batch.changes() {
                    copy(open, scope, key, change);
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use cc_core::store::MemoryStore;
    use proptest::prelude::*;

    use super::*;

    fn scanned(store: &impl Store, prefix: &[u8], limit: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut found = Vec::new();
        if limit == 0 {
            return found;
        }
        let scope = Scope::new("test");
        store
            .scan(&scope, prefix, &mut |key, value| {
                found.push((key.to_vec(), value.expose().to_vec()));
                if found.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })
            .unwrap();
        found
    }

    fn batch(changes: &[(Vec<u8>, Option<u8>)]) -> Batch {
        let (mut batch, scope) = (Batch::new(), Scope::new("test"));
        for (key, value) in changes {
            match value {
                Some(value) => batch.put(&scope, key.clone(), SecretBytes::new(vec![*value])),
                None => batch.delete(&scope, key.clone()),
            }
        }
        batch
    }

    fn changes() -> impl Strategy<Value = Vec<(Vec<u8>, Option<u8>)>> {
        let key = proptest::collection::vec(0u8..3, 1..4);
        proptest::collection::vec((key, any::<Option<u8>>()), 0..20)
    }

    proptest! {
        /// An open transaction reads as if it were committed.
        #[test]
        fn a_scan_sees_the_open_transaction(
            before in changes(),
            open in changes(),
            prefix in proptest::collection::vec(0u8..3, 0..2),
            limit in 0usize..10,
        ) {
            let (mut base, mut model) = (MemoryStore::new(), MemoryStore::new());
            for store in [&mut base, &mut model] {
                store.commit(&batch(&before)).unwrap();
            }
            model.commit(&batch(&open)).unwrap();
            let mut overlay = Overlay { base: Box::new(base), open: None };
            overlay.begin();
            overlay.commit(&batch(&open)).unwrap();
            prop_assert_eq!(scanned(&overlay, &prefix, limit), scanned(&model, &prefix, limit));
        }
    }
}
