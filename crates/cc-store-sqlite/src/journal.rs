//! What was committed and the record table does not have yet.
//!
//! A commit is one row of the journal, sealed as a whole: that touches one page of the file, where its
//! records would touch one each, and a page costs more than all the cryptography of a small commit.
//! What the rows change is in memory too, so that reading finds it. When the rows have come to
//! [`MOST`] bytes, the commit that would go beyond folds them: it writes the newest value of every
//! record to the record table and empties the journal; or where that finds no room, deletes there what
//! goes and leaves the rest in the journal, as one row.
//!
//! A row holds the changes in the order of scopes and keys:
//!
//! ```text
//! change = bytes shared with the scope before (2) || length of the rest (2) || rest of the scope
//!          || length of the key (2) || key || 0                                 it goes
//!                                          || 1 || length of the value (4) || value
//! ```

use cc_core::{
    SecretBytes,
    store::{Batch, Change, MAX_NAME_LEN, Scope, StoreError},
};

/// Bytes of changes that are folded at the latest: some hundred messages. What was overwritten or
/// deleted stays in the file for that long.
const MOST: usize = 128 << 10;

#[derive(Default)]
pub(crate) struct Journal {
    changes: Batch,
    rows: i64,
    len: usize,
}

impl Journal {
    pub(crate) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// How many rows there are: they are numbered from 1.
    pub(crate) fn rows(&self) -> i64 {
        self.rows
    }

    /// Whether another row of this length fits.
    pub(crate) fn has_room(&self, len: usize) -> bool {
        self.len + len <= MOST
    }

    /// What became of the record since the last fold.
    pub(crate) fn get(&self, scope: &Scope, key: &[u8]) -> Option<Change<'_>> {
        self.changes.get(scope, key)
    }

    /// The changes of the journal and of `later`, each record once: where both change one, `later`
    /// counts.
    pub(crate) fn newest<'a>(
        &'a self,
        later: &'a Batch,
    ) -> impl Iterator<Item = (&'a Scope, &'a [u8], Change<'a>)> {
        let earlier =
            self.changes.changes().filter(|(scope, key, _)| later.get(scope, key).is_none());
        earlier.chain(later.changes())
    }

    /// A journal of one row, with the values but not the deletions of this one and `later`; `None` where
    /// it would be too long.
    pub(crate) fn rest(&self, later: &Batch) -> Option<Self> {
        let values = || {
            self.newest(later).filter_map(|(scope, key, change)| match change {
                Change::Put(value) => Some((scope, key, value)),
                Change::Delete => None,
            })
        };
        // Large ones are not copied in vain.
        if values().map(|(.., value)| value.expose().len()).sum::<usize>() > MOST {
            return None;
        }
        let mut changes = Batch::new();
        for (scope, key, value) in values() {
            changes.put(scope, key, value.duplicate());
        }
        let len = encoded_len(&changes);
        (len <= MOST).then_some(Self { changes, rows: 1, len })
    }

    /// The row of a journal that has only one.
    pub(crate) fn encode(&self) -> Result<SecretBytes, StoreError> {
        encode(&self.changes, self.len)
    }

    /// The changes in one scope.
    pub(crate) fn changes_in(&self, scope: &Scope) -> impl Iterator<Item = (&[u8], Change<'_>)> {
        self.changes.changes_in(scope)
    }

    /// A row of `len` bytes was written.
    pub(crate) fn add(&mut self, batch: &Batch, len: usize) {
        for (scope, key, change) in batch.changes() {
            match change {
                Change::Put(value) => self.changes.put(scope, key, value.duplicate()),
                Change::Delete => self.changes.delete(scope, key),
            }
        }
        self.rows += 1;
        self.len += len;
    }

    /// As [`add`](Self::add), of a row that was read.
    pub(crate) fn replay(&mut self, row: &[u8]) -> Result<(), StoreError> {
        let batch = decode(row).ok_or_else(|| StoreError::corrupt("a malformed commit"))?;
        self.changes.extend(batch);
        self.rows += 1;
        self.len += row.len();
        Ok(())
    }
}

/// Bytes that [`encode`] makes of `batch`.
pub(crate) fn encoded_len(batch: &Batch) -> usize {
    let mut before: &[u8] = &[];
    batch
        .changes()
        .map(|(scope, key, change)| {
            let scope = scope.as_bytes();
            let shared = shared(before, scope);
            before = scope;
            let value = match change {
                Change::Put(value) => 4 + value.expose().len(),
                Change::Delete => 0,
            };
            2 + 2 + (scope.len() - shared) + 2 + key.len() + 1 + value
        })
        .sum()
}

/// The row of a batch whose names and values are within their limits.
pub(crate) fn encode(batch: &Batch, len: usize) -> Result<SecretBytes, StoreError> {
    // Never grows, and so leaves no copy behind.
    let mut row = Vec::with_capacity(len);
    let mut before: &[u8] = &[];
    for (scope, key, change) in batch.changes() {
        let scope = scope.as_bytes();
        let shared = shared(before, scope);
        let rest = scope.get(shared..).unwrap_or_default();
        row.extend_from_slice(&short(shared)?);
        row.extend_from_slice(&short(rest.len())?);
        row.extend_from_slice(rest);
        row.extend_from_slice(&short(key.len())?);
        row.extend_from_slice(key);
        match change {
            Change::Delete => row.push(0),
            Change::Put(value) => {
                let value = value.expose();
                let len = u32::try_from(value.len()).map_err(|_| StoreError::TooLong)?;
                row.push(1);
                row.extend_from_slice(&len.to_be_bytes());
                row.extend_from_slice(value);
            }
        }
        before = scope;
    }
    Ok(SecretBytes::new(row))
}

fn decode(mut row: &[u8]) -> Option<Batch> {
    let mut batch = Batch::new();
    let mut scope = Vec::new();
    while !row.is_empty() {
        let shared = take_len(&mut row)?;
        let rest = take_len(&mut row)?;
        if shared > scope.len() || shared + rest > MAX_NAME_LEN {
            return None;
        }
        scope.truncate(shared);
        scope.extend_from_slice(take(&mut row, rest)?);
        let key_len = take_len(&mut row)?;
        let key = take(&mut row, key_len)?;
        let name = Scope::from_bytes(&scope)?;
        match take(&mut row, 1)? {
            [0] => batch.delete(&name, key),
            [1] => {
                let (len, rest) = row.split_first_chunk()?;
                row = rest;
                let len = u32::from_be_bytes(*len);
                let value = take(&mut row, usize::try_from(len).ok()?)?;
                batch.put(&name, key, SecretBytes::new(value.to_vec()));
            }
            _ => return None,
        }
    }
    Some(batch)
}

fn shared(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

fn short(len: usize) -> Result<[u8; 2], StoreError> {
    u16::try_from(len).map(u16::to_be_bytes).map_err(|_| StoreError::TooLong)
}

fn take<'a>(row: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = row.split_at_checked(len)?;
    *row = rest;
    Some(taken)
}

fn take_len(row: &mut &[u8]) -> Option<usize> {
    let (len, rest) = row.split_first_chunk()?;
    *row = rest;
    Some(u16::from_be_bytes(*len).into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::{collection::vec, option, prelude::*};

    use super::*;

    fn batches() -> impl Strategy<Value = Batch> {
        let name = || vec(any::<u8>(), 0..20);
        vec((vec(name(), 1..4), name(), option::of(vec(any::<u8>(), 0..300))), 0..20).prop_map(
            |changes| {
                let mut batch = Batch::new();
                for (path, key, value) in changes {
                    let (first, rest) = path.split_first().unwrap();
                    let scope =
                        rest.iter().fold(Scope::new(first), |scope, part| scope.child(part));
                    match value {
                        Some(value) => batch.put(&scope, key, SecretBytes::new(value)),
                        None => batch.delete(&scope, key),
                    }
                }
                batch
            },
        )
    }

    fn changes(batch: &Batch) -> Vec<(&Scope, &[u8], Change<'_>)> {
        batch.changes().collect()
    }

    proptest! {
        #[test]
        fn a_row_gives_its_batch_back(batch in batches()) {
            let len = encoded_len(&batch);
            let row = encode(&batch, len).unwrap();
            prop_assert_eq!(row.expose().len(), len);
            let decoded = decode(row.expose()).unwrap();
            prop_assert_eq!(changes(&decoded), changes(&batch));
        }

        #[test]
        fn no_other_row_panics(batch in batches(), at in any::<usize>(), to in any::<u8>()) {
            let row = encode(&batch, encoded_len(&batch)).unwrap();
            let mut row = row.expose().to_vec();
            if !row.is_empty() {
                let at = at % row.len();
                let _ = decode(&row[..at]);
                row[at] = to;
                let _ = decode(&row);
            }
        }
    }

    #[test]
    fn malformed_rows_are_refused() {
        let row = |parts: &[&[u8]]| decode(&parts.concat()).is_some();
        let (scope, key): (&[u8], &[u8]) = (b"\0\0\0\x05\0\0\0\x01s", b"\0\x01k");
        assert!(row(&[scope, key, b"\0"]));
        assert!(row(&[scope, key, b"\x01\0\0\0\x02ab"]));
        for rest in [&b""[..], b"\x02", b"\0\0", b"\x01\0\0\0\x02a", b"\x01\0\0\0\x02abc"] {
            assert!(!row(&[scope, key, rest]), "{rest:?}");
        }
        // More shared than there was, and a path that is none.
        assert!(!row(&[b"\0\x01\0\x04\0\0\0\x01", key, b"\0"]));
        assert!(!row(&[b"\0\0\0\x04\0\0\0\x01", key, b"\0"]));
        assert!(!row(&[b"\0\0\0\0", key, b"\0"]));
    }
}
