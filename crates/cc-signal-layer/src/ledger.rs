//! What the store has of a layer, so that a save writes what changed and nothing else.
//!
//! The layer says which *parts* of its state may have changed, each a prefix of names. Of these all
//! records are made and compared with what the store has, by digest: so a part that is named in vain
//! costs time and no write, and a record that is gone is deleted without anybody keeping count.

use alloc::{collections::BTreeMap, vec::Vec};

use cc_core::{SecretBytes, store::ScopeWriter};
use sha2::{Digest as _, Sha256};

use crate::state::Records;

/// The names and digests of the records in the store.
#[derive(Default)]
pub(crate) struct Ledger {
    stored: BTreeMap<Vec<u8>, Digest>,
    /// What was saved since, and is not applied.
    pending: Option<Pending>,
}

struct Pending {
    /// Whether the store has nothing but this.
    anew: bool,
    changes: BTreeMap<Vec<u8>, Option<Digest>>,
}

/// One save on its way.
pub(crate) struct Saving<'a, 'b> {
    to: &'a mut ScopeWriter<'b>,
    stored: &'a BTreeMap<Vec<u8>, Digest>,
    pending: &'a mut Pending,
}

type Digest = [u8; 32];

impl Ledger {
    /// Of a store with these records.
    pub(crate) fn of(records: &[(Vec<u8>, SecretBytes)]) -> Self {
        let stored = records.iter().map(|(name, value)| (name.clone(), digest(value))).collect();
        Self { stored, pending: None }
    }

    pub(crate) fn begin<'a, 'b>(&'a mut self, to: &'a mut ScopeWriter<'b>) -> Saving<'a, 'b> {
        let anew = to.is_new() || self.stored.is_empty();
        let pending = self.pending.insert(Pending { anew, changes: BTreeMap::new() });
        Saving { to, stored: &self.stored, pending }
    }

    /// The store has what was saved, if anything was: then `true`.
    pub(crate) fn apply(&mut self) -> bool {
        let Some(Pending { anew, changes }) = self.pending.take() else { return false };
        if anew {
            self.stored.clear();
        }
        for (name, change) in changes {
            match change {
                Some(digest) => self.stored.insert(name, digest),
                None => self.stored.remove(&name),
            };
        }
        true
    }

    /// The store does not have it.
    pub(crate) fn revert(&mut self) {
        self.pending = None;
    }
}

impl Saving<'_, '_> {
    /// Whether the store has nothing of the layer yet, so that every part is to be saved.
    pub(crate) fn is_anew(&self) -> bool {
        self.pending.anew
    }

    /// Makes the records whose names begin with `prefix` what `write` writes, and none else.
    pub(crate) fn part(&mut self, prefix: &[u8], write: impl FnOnce(&mut Records)) {
        let mut records = Records::at(prefix);
        write(&mut records);
        let records = records.into_map();
        let Pending { anew, changes } = self.pending;
        if !*anew {
            let known = self.stored.range(Vec::from(prefix)..).map(|(name, _)| name);
            for name in known.take_while(|name| name.starts_with(prefix)) {
                if !records.contains_key(name) {
                    changes.insert(name.clone(), None);
                    self.to.delete(&name[..]);
                }
            }
        }
        for (name, value) in records {
            let digest = digest(&value);
            if *anew || self.stored.get(&name) != Some(&digest) {
                changes.insert(name.clone(), Some(digest));
                self.to.put(name, value);
            }
        }
    }
}

fn digest(value: &SecretBytes) -> Digest {
    Sha256::digest(value.expose()).into()
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use cc_core::store::{Batch, Change, Scope};

    use super::*;

    /// Saves a part with these records, and gives what was put and what was deleted.
    fn save(ledger: &mut Ledger, new: bool, names: &[(&[u8], u8)]) -> (Vec<u8>, Vec<Vec<u8>>) {
        let scope = Scope::new("s");
        let mut batch = Batch::new();
        let mut to = if new { batch.new_scope(scope) } else { batch.scope(scope) };
        ledger.begin(&mut to).part(b"p", |records| {
            for (name, value) in names {
                records.put(name, |writer| writer.u8(*value));
            }
        });
        let (mut put, mut deleted) = (Vec::new(), Vec::new());
        for (_, name, change) in batch.changes() {
            match change {
                Change::Put(value) => put.extend_from_slice(value.expose()),
                Change::Delete => deleted.push(Vec::from(name)),
            }
        }
        (put, deleted)
    }

    #[test]
    fn only_what_changed_is_written() {
        let mut ledger = Ledger::default();
        let both: [(&[u8], u8); 2] = [(b"a", 1), (b"b", 2)];
        for _ in 0..2 {
            assert_eq!(save(&mut ledger, false, &both), (vec![1, 2], vec![]), "never applied");
            ledger.revert();
        }
        save(&mut ledger, true, &both);
        assert!(ledger.apply());
        assert!(!ledger.apply());
        assert_eq!(save(&mut ledger, false, &both), (vec![], vec![]));
        for _ in 0..2 {
            let one = save(&mut ledger, false, &[(b"a", 3)]);
            assert_eq!(one, (vec![3], vec![b"pb".to_vec()]));
            ledger.revert();
        }
        save(&mut ledger, false, &[(b"a", 3)]);
        ledger.apply();
        assert_eq!(save(&mut ledger, false, &both), (vec![1, 2], vec![]));
        assert_eq!(save(&mut ledger, true, &[(b"a", 3)]), (vec![3], vec![]), "another scope");
        ledger.apply();
        assert_eq!(save(&mut ledger, false, &[]), (vec![], vec![b"pa".to_vec()]));
    }
}
