//! Where a manager has its records in the store.

use alloc::{string::String, vec::Vec};
use core::ops::ControlFlow;

use cc_core::{
    SecretBytes,
    store::{Batch, Scope, Store, StoreError},
};

/// Where the records of one manager are.
#[derive(Clone)]
pub(crate) struct Place(Scope);

impl Place {
    pub(crate) fn of(name: &str) -> Self {
        Self(index().child(name))
    }

    /// Of an account for pairs: its names have nothing to do with those of managers.
    pub(crate) fn of_account(name: &str) -> Self {
        Self(Scope::new("cascade accounts").child(name))
    }

    pub(crate) fn root(&self) -> &Scope {
        &self.0
    }

    pub(crate) fn layer(&self, slot: u32) -> Scope {
        self.0.child("layer").indexed(slot)
    }

    /// Has one record for each proposal of the epoch.
    pub(crate) fn proposals(&self) -> Scope {
        self.0.child("proposals")
    }

    pub(crate) fn inbox(&self) -> Scope {
        self.0.child("inbox")
    }

    pub(crate) fn outbox(&self) -> Scope {
        self.0.child("outbox")
    }
}

/// Has one empty record for each manager, under its name.
pub(crate) fn index() -> Scope {
    Scope::new("cascade")
}

/// The names of all managers in the store, in the order of their bytes.
pub(crate) fn names(store: &dyn Store) -> Result<Vec<String>, StoreError> {
    let names = index().of(store).list(b"")?;
    names
        .into_iter()
        .map(|(name, _)| {
            String::from_utf8(name).map_err(|_| StoreError::corrupt("a name is not UTF-8"))
        })
        .collect()
}

/// There is a manager of this name.
pub(crate) fn register(batch: &mut Batch, name: &str) {
    batch.put(&index(), name, SecretBytes::new(Vec::new()));
}

/// Deletes everything of a manager with these layers.
pub(crate) fn erase(
    store: &dyn Store,
    place: &Place,
    slots: impl IntoIterator<Item = u32>,
    batch: &mut Batch,
) -> Result<(), StoreError> {
    let layers = slots.into_iter().map(|slot| place.layer(slot));
    for scope in
        layers.chain([place.inbox(), place.outbox(), place.proposals(), place.root().clone()])
    {
        erase_scope(store, &scope, batch)?;
    }
    Ok(())
}

/// Copies everything of a manager with these layers to another place, but for what `left_out` says of the
/// keys beside the layers.
pub(crate) fn copy(
    store: &dyn Store,
    from: &Place,
    to: &Place,
    slots: impl IntoIterator<Item = u32>,
    left_out: impl Fn(&[u8]) -> bool,
    batch: &mut Batch,
) -> Result<(), StoreError> {
    let layers = slots.into_iter().map(|slot| (from.layer(slot), to.layer(slot)));
    let root = (from.root().clone(), to.root().clone());
    for (from, to) in layers.chain([(from.proposals(), to.proposals()), root.clone()]) {
        let is_root = from == root.0;
        store.scan(&from, b"", &mut |key, record| {
            if !(is_root && left_out(key)) {
                batch.put(&to, key, record);
            }
            ControlFlow::Continue(())
        })?;
    }
    Ok(())
}

pub(crate) fn erase_scope(
    store: &dyn Store,
    scope: &Scope,
    batch: &mut Batch,
) -> Result<(), StoreError> {
    store.scan(scope, b"", &mut |key, _| {
        batch.delete(scope, key);
        ControlFlow::Continue(())
    })
}
