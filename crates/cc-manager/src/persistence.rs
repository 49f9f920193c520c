//! One batch for each operation: what the layers and the manager changed goes to the store before
//! anything is handed out.

use alloc::{
    boxed::Box,
    string::{String, ToString as _},
    vec,
    vec::Vec,
};

use cc_core::{
    SecretBytes,
    store::{Batch, Change, MAX_VALUE_LEN, Scope, Store, StoreError},
};

use crate::{
    Error,
    records::{self, Counters, Entries, LayerRecord, Place, Shape},
    stack::Stack,
    state::{Draft, State},
};

/// When an operation becomes durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// Before it ends.
    Now,
    /// With the next [`Persistence::flush`], which comes before anything is handed out.
    Flushed,
}

/// The store, and what this manager has there.
pub(crate) struct Persistence {
    store: Box<dyn Store>,
    name: String,
    place: Place,
    /// Where each layer has its records, bottom first. A number is never used for a second layer.
    slots: Vec<Slot>,
    next_slot: u32,
    /// What the store has, unless somebody else commits there as this manager.
    counters: Counters,
    /// In force here but not yet in the store, and the number of the next entry after it.
    pending: Batch,
    next_entry: u64,
    /// Bytes of a commit that found no room: nothing is sealed until there is.
    refused: Option<usize>,
    ended: Option<Ended>,
}

/// Why nothing more is done until the store is opened anew.
#[derive(Clone, Copy)]
enum Ended {
    /// It is not known whether a commit is in force.
    InDoubt,
    /// Another manager of this name committed.
    Overtaken,
}

#[derive(Clone, Copy)]
pub(crate) struct Slot {
    number: u32,
    /// The store has nothing of this layer yet.
    new: bool,
}

impl Persistence {
    /// A place for a new manager with this many layers.
    ///
    /// # Errors
    /// [`StoreError::Exists`] where there is one of that name.
    pub(crate) fn create(
        store: Box<dyn Store>,
        name: &str,
        layers: usize,
    ) -> Result<Self, StoreError> {
        let place = Place::of(name);
        if Shape::exists(&place.root().of(&*store))? {
            return Err(StoreError::Exists);
        }
        let mut persistence = Self {
            store,
            name: name.to_string(),
            place,
            slots: Vec::new(),
            next_slot: 0,
            counters: Counters::default(),
            pending: Batch::new(),
            next_entry: 0,
            refused: None,
            ended: None,
        };
        for position in 0..layers {
            persistence.insert_slot(position);
        }
        Ok(persistence)
    }

    /// The place of a manager that is there.
    ///
    /// # Errors
    /// [`StoreError::Missing`] where there is none of that name.
    pub(crate) fn open(
        store: Box<dyn Store>,
        name: &str,
    ) -> Result<(Self, Vec<LayerRecord>), StoreError> {
        let place = Place::of(name);
        let shape = Shape::read(&place.root().of(&*store))?;
        let counters = Counters::read(&place.root().of(&*store))?;
        let slots = shape.layers.iter().map(|layer| Slot { number: layer.slot, new: false });
        let persistence = Self {
            slots: slots.collect(),
            next_slot: shape.next_slot,
            store,
            name: name.to_string(),
            place,
            counters,
            pending: Batch::new(),
            next_entry: counters.next_entry,
            refused: None,
            ended: None,
        };
        Ok((persistence, shape.layers))
    }

    /// The scopes of the layers' records, bottom first.
    pub(crate) fn layer_scopes(&self) -> impl Iterator<Item = Scope> {
        self.slots.iter().map(|slot| self.place.layer(slot.number))
    }

    /// For what one operation puts into the inbox and the outbox.
    pub(crate) fn entries(&self) -> Entries {
        Entries::new(&self.place)
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &*self.store
    }

    pub(crate) const fn place(&self) -> &Place {
        &self.place
    }

    /// Writes what `draft` and the layers changed since `before`.
    ///
    /// # Errors
    /// Nothing of it is in force then, or, after [`StoreError::InDoubt`], nothing more is done until
    /// the store is opened anew.
    pub(crate) fn commit_operation(
        &mut self,
        stack: &mut Stack,
        before: &State,
        draft: Draft,
        when: When,
    ) -> Result<State, Error> {
        let mut batch = draft.entries.map(Entries::into_batch).unwrap_or_default();
        for (position, slot) in stack.positions().zip(&self.slots) {
            let scope = self.place.layer(slot.number);
            let mut writer = if slot.new { batch.new_scope(scope) } else { batch.scope(scope) };
            stack.call(position, |layer| layer.save(&mut writer))?;
        }
        if draft.reshaped {
            records::register(&mut batch, &self.name);
            let layers = self.slots.iter().zip(stack.descriptors());
            let layers = layers
                .map(|(slot, descriptor)| LayerRecord::new(slot.number, descriptor))
                .collect();
            Shape { next_slot: self.next_slot, layers }.write(&mut batch, &self.place)?;
        }
        draft.state.write(before, &mut batch, &self.place)?;
        match when {
            When::Flushed => {
                batch.fits()?;
                self.pending.extend(batch);
            }
            When::Now => self.commit(&mut batch, draft.state.next_entry)?,
        }
        self.next_entry = draft.state.next_entry;
        for slot in &mut self.slots {
            slot.new = false;
        }
        Ok(draft.state)
    }

    /// As [`flush`](Self::flush), and makes sure that there is room again where there was none: a key
    /// that is used up for a message which the store does not take is gone.
    ///
    /// # Errors
    /// As `flush`; [`StoreError::Full`] and [`StoreError::Io`] while there is no room.
    pub(crate) fn prepare(&mut self) -> Result<(), StoreError> {
        self.flush()?;
        if let Some(bytes) = self.refused {
            let (root, key) = (self.place.root().clone(), b"room");
            let mut batch = Batch::new();
            batch.put(&root, *key, SecretBytes::new(vec![0; bytes]));
            self.commit(&mut batch, self.next_entry)?;
            let mut batch = Batch::new();
            batch.delete(&root, *key);
            self.commit(&mut batch, self.next_entry)?;
            self.refused = None;
        }
        Ok(())
    }

    /// Makes durable what is in force already.
    ///
    /// # Errors
    /// It stays in force here and is tried again.
    pub(crate) fn flush(&mut self) -> Result<(), StoreError> {
        self.usable()?;
        let mut pending = core::mem::take(&mut self.pending);
        let committed = self.commit(&mut pending, self.next_entry);
        if committed.is_err() {
            self.pending = pending;
        }
        committed
    }

    /// Deletes records of the inbox and outbox, also where the store has no room for what is pending.
    ///
    /// # Errors
    /// As [`Store::commit`], and nothing has changed.
    pub(crate) fn forget(
        &mut self,
        edit: impl FnOnce(&mut Batch, &Place),
    ) -> Result<(), StoreError> {
        self.usable()?;
        let mut batch = Batch::new();
        edit(&mut batch, &self.place);
        self.commit(&mut batch, self.counters.next_entry)?;
        if !self.pending.is_empty() {
            self.pending.extend(batch);
        }
        Ok(())
    }

    /// Takes back entries of the outbox that were not handed out.
    pub(crate) fn take_back(&mut self, wires: &[Vec<u8>]) {
        for wire in wires {
            records::forget_sent(&mut self.pending, &self.place, wire);
        }
    }

    /// Where the layers have their records, to be
    /// [restored](Self::restore_slots) if they do not change after all.
    pub(crate) fn slots(&self) -> Vec<Slot> {
        self.slots.clone()
    }

    pub(crate) fn restore_slots(&mut self, slots: Vec<Slot>) {
        self.slots = slots;
    }

    /// A layer comes at `position`.
    pub(crate) fn insert_slot(&mut self, position: usize) {
        self.slots
            .insert(position.min(self.slots.len()), Slot { number: self.next_slot, new: true });
        self.next_slot += 1;
    }

    /// The layer at `position` goes; its records go with the next change.
    pub(crate) fn remove_slot(
        &mut self,
        position: usize,
        batch: &mut Batch,
    ) -> Result<(), StoreError> {
        if let Some(slot) = self.slots.get(position) {
            records::erase_scope(&*self.store, &self.place.layer(slot.number), batch)?;
            self.slots.remove(position);
        }
        Ok(())
    }

    /// Deletes everything of this manager. What is pending need not come first, nor have room.
    ///
    /// # Errors
    /// As [`Store::commit`]; everything in the store is still there then, or in doubt.
    pub(crate) fn erase(mut self) -> Result<(), StoreError> {
        self.usable()?;
        let mut batch = Batch::new();
        let slots = self.slots.iter().map(|slot| slot.number);
        records::erase(&*self.store, &self.place, slots, &mut batch)?;
        batch.delete(&records::index(), self.name.as_str());
        // Not with a new count, which would stay behind.
        self.counters.require(&mut batch, &self.place)?;
        self.store.commit(&batch).map_err(|error| match error {
            StoreError::Overtaken => StoreError::Locked,
            error => error,
        })
    }

    fn usable(&self) -> Result<(), StoreError> {
        match self.ended {
            None => Ok(()),
            Some(Ended::Overtaken) => Err(StoreError::Locked),
            Some(Ended::InDoubt) => {
                Err(StoreError::in_doubt("an earlier change may or may not be in force"))
            }
        }
    }

    /// An empty batch changes nothing.
    fn commit(&mut self, batch: &mut Batch, next_entry: u64) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        // Before the counters, which every commit has: or else what has to fit would grow with every try.
        let bytes = size(batch);
        // Nobody else has committed as this manager.
        self.counters.require(batch, &self.place)?;
        let counters = Counters { commits: self.counters.commits + 1, next_entry };
        counters.write(batch, &self.place)?;
        // A store that panics leaves it open whether the commit is in force.
        self.ended = Some(Ended::InDoubt);
        let result = self.store.commit(batch);
        if !result.as_ref().is_err_and(StoreError::is_in_doubt) {
            self.ended = None;
        }
        match &result {
            Ok(()) => self.counters = counters,
            Err(StoreError::Full | StoreError::Io(_)) => {
                self.refused = Some(self.refused.unwrap_or(0).max(bytes));
            }
            Err(StoreError::Overtaken) => {
                // The other one has moved the ratchets on: this one is an old copy.
                self.ended = Some(Ended::Overtaken);
                return Err(StoreError::Locked);
            }
            Err(_) => {}
        }
        result
    }
}

/// Bytes of all values.
fn size(batch: &Batch) -> usize {
    let put = |change: Change<'_>| match change {
        Change::Put(value) => value.expose().len(),
        Change::Delete => 0,
    };
    batch.changes().map(|(_, _, change)| put(change)).sum::<usize>().min(MAX_VALUE_LEN)
}
