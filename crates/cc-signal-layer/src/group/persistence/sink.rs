//! Writing pieces of the state that are not the stored ones.

use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};

use crate::{ledger::Saving, state::Records};

/// Where records go.
pub(super) trait Sink {
    /// Makes the records whose names begin with `name` what `write` writes, and none else.
    fn part(&mut self, name: &[u8], write: impl FnOnce(&mut Records));
}

impl Sink for Records {
    fn part(&mut self, name: &[u8], write: impl FnOnce(&mut Records)) {
        self.within(name, write);
    }
}

impl Sink for Saving<'_, '_> {
    fn part(&mut self, name: &[u8], write: impl FnOnce(&mut Records)) {
        Saving::part(self, name, write);
    }
}

/// A piece that is one part, where it is not the stored one.
pub(super) fn write_piece<T>(
    new: Option<&Arc<T>>,
    old: Option<&Arc<T>>,
    to: &mut impl Sink,
    name: &[u8],
    write: impl FnOnce(&T, &mut Records),
) {
    let same = match (new, old) {
        (Some(new), Some(old)) => Arc::ptr_eq(new, old),
        (None, None) => true,
        _ => false,
    };
    if !same {
        to.part(name, |to| {
            if let Some(new) = new {
                write(new, to);
            }
        });
    }
}

/// Pieces by their keys, each a part.
pub(super) fn write_map<K: Ord, T>(
    new: Option<&BTreeMap<K, Arc<T>>>,
    old: Option<&BTreeMap<K, Arc<T>>>,
    to: &mut impl Sink,
    name: impl Fn(&K) -> Vec<u8>,
    write: impl Fn(&T, &mut Records),
) {
    if new.zip(old).is_some_and(|(new, old)| core::ptr::eq(new, old)) {
        return;
    }
    let find =
        |map: Option<&BTreeMap<K, Arc<T>>>, key: &K| map.and_then(|map| map.get(key)).cloned();
    for key in new.into_iter().flat_map(BTreeMap::keys) {
        write_piece(find(new, key).as_ref(), find(old, key).as_ref(), to, &name(key), &write);
    }
    for key in old.into_iter().flat_map(BTreeMap::keys) {
        if find(new, key).is_none() {
            to.part(&name(key), |_| ());
        }
    }
}
