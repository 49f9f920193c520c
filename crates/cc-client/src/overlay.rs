//! One commit for everything that one input causes.
//!
//! The managers of all groups share this store. While a transaction is open their commits, and the
//! client's own records, collect in memory, where they are read again; then all of it is committed at
//! once, or none of it is. What a log gives again may be [kept](Overlay::keep) for the next commit.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{Arc, Mutex, MutexGuard},
};

use cc_core::{
    SecretBytes,
    store::{Batch, Change, Scope, Store, StoreError},
};

use crate::records;

/// The store that a client and its managers share.
pub(crate) type SharedStore = Arc<Mutex<Overlay>>;

/// A store with the changes of an open transaction over it.
pub(crate) struct Overlay {
    base: Box<dyn Store>,
    /// [`META`](records::META) as the store has it: a commit is refused where it is another.
    meta: SecretBytes,
    /// The changes of transactions that wait for the next commit, and `META` after them.
    kept: Batch,
    /// Somebody else committed, and what was kept is dropped: memory is not what the store has.
    overtaken: bool,
    /// The changes, while a transaction is open.
    open: Option<Batch>,
}

/// Records that wait for the next commit, at the most.
const MAX_KEPT: usize = 64;

impl Overlay {
    /// # Errors
    /// [`StoreError::Missing`] where the store has no client.
    pub(crate) fn shared(base: impl Store + 'static) -> Result<SharedStore, StoreError> {
        let (meta, kept) = (SecretBytes::new(Vec::new()), Batch::new());
        let mut overlay = Self { base: Box::new(base), meta, kept, overtaken: false, open: None };
        overlay.read_meta()?;
        Ok(Arc::new(Mutex::new(overlay)))
    }

    /// Drops all that is not in the store, and gives `META` as the store has it now.
    pub(crate) fn read_meta(&mut self) -> Result<&SecretBytes, StoreError> {
        self.roll_back();
        self.overtaken = false;
        let meta = self.base.get(records::root(), records::META)?;
        self.meta = meta.ok_or(StoreError::Missing)?;
        Ok(&self.meta)
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

    /// Drops what the open transaction changed, and what was kept.
    pub(crate) fn roll_back(&mut self) {
        (self.open, self.kept) = (None, Batch::new());
    }

    /// Commits what the open transaction changed, what was kept before it, and `META`, on which the next
    /// commit rests.
    ///
    /// # Errors
    /// As [`Store::commit`]; what was kept is dropped as well.
    pub(crate) fn commit_all(&mut self, meta: SecretBytes) -> Result<(), StoreError> {
        self.keep(meta);
        self.flush().inspect_err(|_| self.roll_back())
    }

    /// Ends the open transaction, whose changes are read again from now on, and are in the store with the
    /// next commit.
    pub(crate) fn keep(&mut self, meta: SecretBytes) {
        self.kept.extend(self.open.take().unwrap_or_default());
        self.kept.put(records::root(), records::META, meta);
    }

    /// Commits what was kept.
    ///
    /// # Errors
    /// As [`Store::commit`]; it is kept as before, but for [`StoreError::Overtaken`].
    pub(crate) fn flush(&mut self) -> Result<(), StoreError> {
        let root = records::root();
        let Some(Change::Put(meta)) = self.kept.get(root, records::META) else { return Ok(()) };
        let meta = meta.duplicate();
        self.kept.require(root, records::META, Some(self.meta.duplicate()));
        if let Err(error) = self.base.commit(&self.kept) {
            if matches!(error, StoreError::Overtaken) {
                (self.overtaken, self.kept) = (true, Batch::new());
            }
            return Err(error);
        }
        (self.meta, self.kept) = (meta, Batch::new());
        Ok(())
    }

    /// Whether somebody else committed, and the client has not been [read](Self::read_meta) again.
    pub(crate) const fn is_overtaken(&self) -> bool {
        self.overtaken
    }

    /// Whether the open transaction changed nothing but what the client notes when a log shows its own
    /// messages, and there is room to keep that: where it is lost, the log shows them again.
    pub(crate) fn may_keep(&self) -> bool {
        let scopes = [records::groups(), records::flights(), records::events(), records::settled()];
        let noted = |(scope, _, change): (&Scope, &[u8], Change<'_>)| {
            // What is on its way is durable before it goes.
            let known = scopes.contains(&scope);
            known && (*scope != *records::flights() || change == Change::Delete)
        };
        let fits = |open: &Batch| open.len() + self.kept.len() <= MAX_KEPT;
        self.open.as_ref().is_some_and(|open| fits(open) && open.changes().all(noted))
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
        let open = self.open.as_ref().and_then(|open| open.get(scope, key));
        match open.or_else(|| self.kept.get(scope, key)) {
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
        for changes in core::iter::once(&self.kept).chain(&self.open) {
            let here = changes.changes_in(scope).filter(|(key, _)| key.starts_with(prefix));
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

    fn empty() -> Overlay {
        let mut base = MemoryStore::new();
        let mut meta = Batch::new();
        meta.put(records::root(), records::META, SecretBytes::new(vec![0]));
        base.commit(&meta).unwrap();
        let meta = SecretBytes::new(vec![0]);
        Overlay { base: Box::new(base), meta, kept: Batch::new(), overtaken: false, open: None }
    }

    proptest! {
        /// What is kept, and an open transaction over it, read as if they were committed.
        #[test]
        fn a_scan_sees_what_is_kept_and_the_open_transaction(
            before in changes(),
            kept in changes(),
            open in changes(),
            prefix in proptest::collection::vec(0u8..3, 0..2),
            limit in 0usize..10,
        ) {
            let (mut overlay, mut model) = (empty(), MemoryStore::new());
            overlay.commit(&batch(&before)).unwrap();
            for all in [&before, &kept, &open] {
                model.commit(&batch(all)).unwrap();
            }
            overlay.begin();
            overlay.commit(&batch(&kept)).unwrap();
            overlay.keep(SecretBytes::new(vec![1]));
            overlay.begin();
            overlay.commit(&batch(&open)).unwrap();
            let expected = scanned(&model, &prefix, limit);
            prop_assert_eq!(scanned(&overlay, &prefix, limit), &expected[..]);
            for (key, _) in before.iter().chain(&kept).chain(&open) {
                let of = |store: &dyn Store| store.get(&Scope::new("test"), key).unwrap();
                prop_assert_eq!(of(&overlay), of(&model));
            }
            overlay.commit_all(SecretBytes::new(vec![2])).unwrap();
            prop_assert_eq!(scanned(&overlay.base, &prefix, limit), &expected[..]);
        }
    }

    #[test]
    fn what_is_kept_is_in_the_store_with_the_next_commit_or_not_at_all() {
        let mut overlay = empty();
        let keep = |overlay: &mut Overlay| {
            overlay.begin();
            overlay.commit(&batch(&[(vec![1], Some(1))])).unwrap();
            overlay.keep(SecretBytes::new(vec![1]));
        };
        keep(&mut overlay);
        assert_eq!(scanned(&overlay.base, b"", 9), []);
        // Dropped, as with the process.
        overlay.read_meta().unwrap();
        assert_eq!(scanned(&overlay, b"", 9), []);
        keep(&mut overlay);
        overlay.begin();
        overlay.commit(&batch(&[(vec![2], Some(2))])).unwrap();
        overlay.commit_all(SecretBytes::new(vec![2])).unwrap();
        assert_eq!(scanned(&overlay.base, b"", 9), [(vec![1], vec![1]), (vec![2], vec![2])]);
        // Somebody else was there: nothing of it is in force.
        keep(&mut overlay);
        let mut other = Batch::new();
        other.put(records::root(), records::META, SecretBytes::new(vec![9]));
        overlay.base.commit(&other).unwrap();
        assert!(matches!(overlay.flush(), Err(StoreError::Overtaken)));
        assert!(overlay.is_overtaken());
        overlay.begin();
        let meta = SecretBytes::new(vec![3]);
        assert!(matches!(overlay.commit_all(meta), Err(StoreError::Overtaken)));
        assert_eq!(overlay.read_meta().unwrap().expose(), [9]);
        assert!(!overlay.is_overtaken());
    }

    #[test]
    fn only_what_a_log_shows_again_may_be_kept() {
        let mut overlay = empty();
        let mut may = |scope: &Scope, put: bool, count: u8| {
            overlay.begin();
            for key in 0..count {
                let changes = overlay.changes().unwrap();
                match put {
                    true => changes.put(scope, [key], SecretBytes::new(vec![1])),
                    false => changes.delete(scope, [key]),
                }
            }
            overlay.may_keep()
        };
        for scope in [records::groups(), records::events(), records::settled()] {
            assert!(may(scope, true, 1) && may(scope, false, 1));
            assert!(!may(scope, true, 65), "without bounds");
        }
        assert!(may(records::flights(), false, 1));
        assert!(!may(records::flights(), true, 1), "it goes out before it is durable");
        let group = crate::GroupId::from_bytes([1; 32]);
        let stack = Scope::new("cascade").child("seat 0");
        for scope in [records::queue(&group), records::requests(), records::root().clone(), stack] {
            assert!(!may(&scope, true, 1) && !may(&scope, false, 1), "{scope:?}");
        }
    }
}
