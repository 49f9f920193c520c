//! An account for pairs in the store.

use alloc::{boxed::Box, string::String, vec::Vec};

use cc_core::{
    LayerDescriptor, PairKeys, random,
    store::{Batch, Store, StoreError},
};

use crate::{
    Catalog, Error,
    place::Place,
    records::{AcceptedPairs, Counters, LayerRecord, Shape},
};

/// The store of an account, which its pairs share.
pub(super) struct AccountStore {
    store: Box<dyn Store>,
    /// Another handle of the same store, for a pair.
    handle: Box<dyn Fn() -> Box<dyn Store> + Send>,
    place: Place,
    /// What the store has of this account; `None` before the first commit.
    stored: Option<Counters>,
    /// Of this account, and of none that had or will have its name.
    instance: [u8; 16],
    /// It is not known what is in force.
    in_doubt: bool,
}

/// What the store has of an account.
pub(super) struct Stored {
    pub(super) keys: Vec<Box<dyn PairKeys>>,
    /// The pairs that it accepted lately.
    pub(super) accepted: AcceptedPairs,
}

impl AccountStore {
    /// A place for a new account.
    ///
    /// # Errors
    /// [`StoreError::Exists`] where there is one of that name.
    pub(super) fn create(
        store: impl Store + Clone + 'static,
        name: &str,
    ) -> Result<Self, StoreError> {
        let place = Place::of_account(name);
        if Shape::exists(&place.root().of(&store))? {
            return Err(StoreError::Exists);
        }
        Ok(Self::new(store, place, None, random::array()?))
    }

    /// The account of that name.
    ///
    /// # Errors
    /// [`StoreError::Missing`] where there is none of that name.
    pub(super) fn open(
        store: impl Store + Clone + 'static,
        name: &str,
        catalog: &Catalog,
    ) -> Result<(Self, Stored), Error> {
        let place = Place::of_account(name);
        let root = place.root().of(&store);
        let counters = Counters::read(&root)?;
        let shape = Shape::read(&root)?;
        let counters = counters.ok_or_else(|| StoreError::corrupt("an account has no counters"))?;
        let accepted = AcceptedPairs::read(&root)?;
        drop(root);
        let mut keys = Vec::new();
        for (position, record) in shape.layers.iter().enumerate() {
            let (name, restore) =
                catalog.find_pair_keys(record.id()).ok_or_else(|| Error::UnknownLayer {
                    position,
                    id: String::from_utf8_lossy(record.id()).into_owned(),
                })?;
            let restored = restore(&place.layer(record.slot).of(&store))
                .map_err(|source| Error::Layer { position, layer: name, source })?;
            if !record.describes(&restored.descriptor()) {
                return Err(StoreError::corrupt("keys are not those that were stored").into());
            }
            keys.push(restored);
        }
        let account = Self::new(store, place, Some(counters), counters.instance);
        Ok((account, Stored { keys, accepted }))
    }

    fn new(
        store: impl Store + Clone + 'static,
        place: Place,
        stored: Option<Counters>,
        instance: [u8; 16],
    ) -> Self {
        let first: Box<dyn Store> = Box::new(store.clone());
        let handle = Box::new(move || -> Box<dyn Store> { Box::new(store.clone()) });
        Self { store: first, handle, place, stored, instance, in_doubt: false }
    }

    /// The store, for a pair.
    pub(super) fn handle(&self) -> Box<dyn Store> {
        (self.handle)()
    }

    /// # Errors
    /// [`StoreError::InDoubt`] after a commit of which that is true.
    pub(super) fn usable(&self) -> Result<(), StoreError> {
        if self.in_doubt {
            return Err(StoreError::in_doubt("an earlier change may or may not be in force"));
        }
        Ok(())
    }

    /// Puts what changed into `batch`, which rests on nobody else having changed the account. Gives what
    /// [`settle`](Self::settle) takes.
    pub(super) fn write(
        &self,
        keys: &mut [Box<dyn PairKeys>],
        descriptors: &[LayerDescriptor],
        accepted: Option<&AcceptedPairs>,
        batch: &mut Batch,
    ) -> Result<Counters, Error> {
        let new = self.stored.is_none();
        if new {
            let layers = (0..).zip(descriptors);
            let layers = layers.map(|(slot, layer)| LayerRecord::new(slot, layer)).collect();
            let next_slot = u32::try_from(descriptors.len()).unwrap_or(u32::MAX);
            Shape { next_slot, layers }.write(batch, &self.place)?;
        }
        for ((position, keys), slot) in keys.iter_mut().enumerate().zip(0..) {
            let scope = self.place.layer(slot);
            let mut writer = if new { batch.new_scope(scope) } else { batch.scope(scope) };
            keys.save(&mut writer).map_err(|source| super::failed(position, &**keys, source))?;
        }
        if let Some(accepted) = accepted {
            accepted.write(batch, &self.place)?;
        }
        Counters::require(self.stored.as_ref(), batch, &self.place)?;
        let commits = self.stored.map_or(0, |stored| stored.commits) + 1;
        let counters = Counters { instance: self.instance, commits, next_entry: 0 };
        counters.write(batch, &self.place)?;
        Ok(counters)
    }

    /// Commits what is about the account alone.
    pub(super) fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.in_doubt = true;
        self.store.commit(batch).map_err(|error| match error {
            StoreError::Overtaken => StoreError::Locked,
            error => error,
        })
    }

    /// What became of a commit that had these counters.
    pub(super) fn settle<T>(&mut self, counters: Option<Counters>, outcome: &Result<T, Error>) {
        let in_doubt = matches!(outcome, Err(Error::Store(error)) if error.is_in_doubt());
        self.in_doubt = in_doubt;
        if outcome.is_ok() && counters.is_some() {
            self.stored = counters;
        }
    }
}
