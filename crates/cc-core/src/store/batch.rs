//! Changes that come into force together.

use alloc::{collections::BTreeMap, vec::Vec};

use super::{MAX_NAME_LEN, MAX_VALUE_LEN, Scope, ScopeWriter, Store, StoreError};
use crate::SecretBytes;

/// Changes that come into force together, at most one per record: the last one counts.
#[derive(Debug, Default)]
pub struct Batch {
    scopes: Records,
    required: Records,
}

/// `None` for a record that goes, or that is not there.
type Records = BTreeMap<Scope, BTreeMap<Vec<u8>, Option<SecretBytes>>>;

/// What becomes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<'a> {
    /// It gets this value, whether or not it had one.
    Put(&'a SecretBytes),
    /// It goes, if it was there.
    Delete,
}

impl Batch {
    /// No changes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the record this value.
    pub fn put(&mut self, scope: &Scope, key: impl Into<Vec<u8>>, value: SecretBytes) {
        self.change(scope, key.into(), Some(value));
    }

    /// Takes the record away.
    pub fn delete(&mut self, scope: &Scope, key: impl Into<Vec<u8>>) {
        self.change(scope, key.into(), None);
    }

    /// The changes rest on the record having this value, `None` for not being there: where it has
    /// another, the commit is refused with [`StoreError::Overtaken`].
    pub fn require(&mut self, scope: &Scope, key: impl Into<Vec<u8>>, value: Option<SecretBytes>) {
        insert(&mut self.required, scope, key.into(), value);
    }

    /// This batch, as it looks from within `scope`.
    pub fn scope(&mut self, scope: Scope) -> ScopeWriter<'_> {
        ScopeWriter { batch: self, scope, new: false }
    }

    /// As [`scope`](Self::scope), for a scope that the store has no records of yet.
    pub fn new_scope(&mut self, scope: Scope) -> ScopeWriter<'_> {
        ScopeWriter { batch: self, scope, new: true }
    }

    /// Adds all changes of `later`; where both change a record, `later` counts. What `later` requires
    /// is not added: it may be what this batch changes.
    pub fn extend(&mut self, later: Self) {
        for (scope, records) in later.scopes {
            self.scopes.entry(scope).or_default().extend(records);
        }
    }

    /// What becomes of a record, `None` where the batch does not touch it.
    #[must_use]
    pub fn get(&self, scope: &Scope, key: &[u8]) -> Option<Change<'_>> {
        self.scopes.get(scope)?.get(key).map(Change::of)
    }

    /// All changes, each record once, in the order of scopes and keys.
    pub fn changes(&self) -> impl Iterator<Item = (&Scope, &[u8], Change<'_>)> {
        self.scopes.iter().flat_map(|(scope, records)| {
            records.iter().map(move |(key, value)| (scope, key.as_slice(), Change::of(value)))
        })
    }

    /// The changes in one scope, in the order of keys. Finds them without looking at other scopes.
    pub fn changes_in(&self, scope: &Scope) -> impl Iterator<Item = (&[u8], Change<'_>)> {
        let records = self.scopes.get(scope).into_iter().flatten();
        records.map(|(key, value)| (key.as_slice(), Change::of(value)))
    }

    /// How many records change.
    #[must_use]
    pub fn len(&self) -> usize {
        self.scopes.values().map(BTreeMap::len).sum()
    }

    /// Whether no record changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.scopes.is_empty()
    }

    /// What every [`commit`](super::Store::commit) begins with. Nobody may commit between this and the
    /// rest of the commit: a database that others use too needs it within a transaction.
    ///
    /// # Errors
    /// As [`fits`](Self::fits). [`StoreError::Overtaken`] where `store` has something else than is
    /// [required](Self::require). As [`Store::get`].
    pub fn check(&self, store: &(impl Store + ?Sized)) -> Result<(), StoreError> {
        self.fits()?;
        for (scope, records) in &self.required {
            for (key, value) in records {
                if store.get(scope, key)? != *value {
                    return Err(StoreError::Overtaken);
                }
            }
        }
        Ok(())
    }

    /// Whether a store takes its names and values.
    ///
    /// # Errors
    /// [`StoreError::TooLong`] where a scope, key or value is over [`MAX_NAME_LEN`] or
    /// [`MAX_VALUE_LEN`].
    pub fn fits(&self) -> Result<(), StoreError> {
        let fits = self.changes().all(|(scope, key, change)| {
            scope.as_bytes().len() <= MAX_NAME_LEN
                && key.len() <= MAX_NAME_LEN
                && match change {
                    Change::Put(value) => value.expose().len() <= MAX_VALUE_LEN,
                    Change::Delete => true,
                }
        });
        if fits { Ok(()) } else { Err(StoreError::TooLong) }
    }

    fn change(&mut self, scope: &Scope, key: Vec<u8>, value: Option<SecretBytes>) {
        insert(&mut self.scopes, scope, key, value);
    }
}

fn insert(records: &mut Records, scope: &Scope, key: Vec<u8>, value: Option<SecretBytes>) {
    match records.get_mut(scope) {
        Some(records) => records.insert(key, value),
        None => records.entry(scope.clone()).or_default().insert(key, value),
    };
}

impl<'a> Change<'a> {
    fn of(value: &'a Option<SecretBytes>) -> Self {
        match value {
            Some(value) => Self::Put(value),
            None => Self::Delete,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn value(byte: u8) -> SecretBytes {
        SecretBytes::new(vec![byte])
    }

    #[test]
    fn the_last_change_counts() {
        let scope = Scope::new("s");
        let mut batch = Batch::new();
        assert!(batch.is_empty());
        batch.put(&scope, "a", value(1));
        batch.delete(&scope, "a");
        batch.delete(&scope, "b");
        let mut later = Batch::new();
        later.scope(scope.clone()).put("b", value(2));
        later.scope(Scope::new("").child("t")).put("a", value(3));
        batch.extend(later);
        assert_eq!(batch.len(), 3);
        assert_eq!(batch.get(&scope, b"a"), Some(Change::Delete));
        assert_eq!(batch.get(&scope, b"b"), Some(Change::Put(&value(2))));
        assert_eq!(batch.get(&scope, b"c"), None);
        let inner = Scope::new("").child("t");
        assert_eq!(batch.get(&inner, b"a"), Some(Change::Put(&value(3))));
        let here = [(&b"a"[..], Change::Delete), (b"b", Change::Put(&value(2)))];
        assert!(batch.changes_in(&scope).eq(here));
        assert_eq!(batch.changes_in(&Scope::new("t")).count(), 0);
    }

    #[test]
    fn names_have_a_limit() {
        let mut batch = Batch::new();
        batch.delete(&Scope::new("s"), vec![0; MAX_NAME_LEN]);
        batch.fits().unwrap();
        batch.delete(&Scope::new("s"), vec![0; MAX_NAME_LEN + 1]);
        assert!(matches!(batch.fits(), Err(StoreError::TooLong)));
        let mut batch = Batch::new();
        batch.delete(&Scope::new(vec![0; MAX_NAME_LEN]), "");
        assert!(matches!(batch.fits(), Err(StoreError::TooLong)));
    }
}
