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

    /// Whether the open transaction changed anything.
    pub(crate) fn has_changes(&self) -> bool {
        self.open.as_ref().is_some_and(|open| !open.is_empty())
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
            let here =
                open.changes().filter(|(other, key, _)| *other == scope && key.starts_with(prefix));
            changed.extend(here.map(|(_, key, change)| (key.to_vec(), change)));
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
