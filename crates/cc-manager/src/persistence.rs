//! One batch for each operation: what the layers and the manager changed goes to the store before
//! anything is handed out.

use alloc::{
    boxed::Box,
    string::{String, ToString as _},
    vec,
    vec::Vec,
};

use cc_core::{
    LayerDescriptor, SecretBytes, random,
    store::{Batch, Change, MAX_VALUE_LEN, Scope, Store, StoreError},
};

use self::slots::Slot;
use crate::{
    Error,
    entries::{self, Entries},
    layers::{LayerMut, failed},
    manager::Also,
    place::{self, Place},
    records::{COUNTERS, Counters, LayerRecord, Shape},
    state::State,
};

mod draft;
mod slots;

pub(crate) use self::{draft::Draft, slots::Slots};

/// Proves that the store has room again.
const ROOM: &[u8] = b"room";

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
    slots: Slots,
    /// What the store has, unless somebody else commits there as this manager; `None` before the first
    /// commit.
    stored: Option<Counters>,
    /// Of this manager, and of none that had or will have its name.
    instance: [u8; 16],
    /// In force here but not yet in the store, and the number of the next entry after it.
    pending: Batch,
    next_entry: u64,
    /// Bytes of a commit that found no room: nothing is sealed until there is.
    refused: Option<usize>,
    ended: Option<Ended>,
    /// Nothing goes into the inbox and the outbox.
    pub(crate) without_mailbox: bool,
}

/// Why nothing more is done until the store is opened anew.
#[derive(Clone, Copy)]
enum Ended {
    /// It is not known whether a commit is in force.
    InDoubt,
    /// Another manager of this name committed.
    Overtaken,
}

/// Other layers than before.
pub(crate) struct Reshaped<'a, 'b> {
    pub(crate) descriptors: &'a [LayerDescriptor],
    pub(crate) slots: Slots,
    /// Deletes the records of layers that are taken out.
    pub(crate) erased: Batch,
    /// Puts more into the same commit.
    pub(crate) with: Option<Also<'b>>,
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
        let mut slots = Slots::default();
        (0..layers).for_each(|position| slots.insert(position));
        Ok(Self {
            store,
            name: name.to_string(),
            place,
            slots,
            stored: None,
            instance: random::array()?,
            pending: Batch::new(),
            next_entry: 0,
            refused: None,
            ended: None,
            without_mailbox: false,
        })
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
        let root = place.root().of(&*store);
        // The counters first: whatever another manager changes after that, the first commit finds.
        let counters = Counters::read(&root)?;
        let shape = Shape::read(&root)?;
        let counters = counters.ok_or_else(|| StoreError::corrupt("a manager has no counters"))?;
        let mut pending = Batch::new();
        if root.get(ROOM)?.is_some() {
            // A crash left it.
            pending.delete(place.root(), ROOM);
        }
        drop(root);
        let list = shape.layers.iter().map(|layer| Slot { number: layer.slot, new: false });
        let persistence = Self {
            slots: Slots { list: list.collect(), next: shape.next_slot },
            store,
            name: name.to_string(),
            place,
            stored: Some(counters),
            instance: counters.instance,
            pending,
            next_entry: counters.next_entry,
            refused: None,
            ended: None,
            without_mailbox: false,
        };
        Ok((persistence, shape.layers))
    }

    /// The scopes of the layers' records, bottom first.
    pub(crate) fn layer_scopes(&self) -> impl Iterator<Item = Scope> {
        self.slots.list.iter().map(|slot| self.place.layer(slot.number))
    }

    /// For what one operation puts into the inbox and the outbox, where they are kept.
    fn entries(&self) -> Option<Entries> {
        (!self.without_mailbox).then(|| Entries::new(&self.place))
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &*self.store
    }

    pub(crate) const fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) const fn slots(&self) -> &Slots {
        &self.slots
    }

    /// Takes the layer at `position` out of `slots`; gives what deletes its records.
    ///
    /// # Errors
    /// As [`Store::scan`].
    pub(crate) fn remove_slot(
        &self,
        slots: &mut Slots,
        position: usize,
    ) -> Result<Batch, StoreError> {
        let mut erased = Batch::new();
        if let Some(slot) = slots.remove(position) {
            place::erase_scope(&*self.store, &self.place.layer(slot.number), &mut erased)?;
        }
        Ok(erased)
    }

    /// Writes what `draft` and the layers changed since `before`.
    ///
    /// # Errors
    /// Nothing of it is in force then, or, after [`StoreError::InDoubt`], nothing more is done until
    /// the store is opened anew.
    pub(crate) fn commit_operation<'a>(
        &mut self,
        layers: impl Iterator<Item = LayerMut<'a>>,
        reshaped: Option<Reshaped<'_, '_>>,
        before: &State,
        draft: Draft,
        when: When,
    ) -> Result<State, Error> {
        let mut batch = draft.entries.map(Entries::into_batch).unwrap_or_default();
        let mut also = None;
        let reshaped = match reshaped {
            None => None,
            Some(Reshaped { descriptors, slots, erased, with }) => {
                also = with;
                batch.extend(erased);
                place::register(&mut batch, &self.name);
                let layers = slots.list.iter().zip(descriptors);
                let layers = layers
                    .map(|(slot, descriptor)| LayerRecord::new(slot.number, descriptor))
                    .collect();
                Shape { next_slot: slots.next, layers }.write(&mut batch, &self.place)?;
                Some(slots)
            }
        };
        let slots = reshaped.as_ref().unwrap_or(&self.slots);
        for (position, (layer, slot)) in (0..).zip(layers.zip(&slots.list)) {
            let scope = self.place.layer(slot.number);
            let mut writer = if slot.new { batch.new_scope(scope) } else { batch.scope(scope) };
            layer.save(&mut writer).map_err(|source| failed(position, layer, source))?;
        }
        draft.state.write(before, &mut batch, &self.place)?;
        if let Some(also) = also {
            also(&mut batch)?;
        }
        match when {
            When::Flushed => {
                batch.fits()?;
                self.pending.extend(batch);
            }
            When::Now => self.commit(&mut batch, draft.state.next_entry)?,
        }
        self.next_entry = draft.state.next_entry;
        if let Some(slots) = reshaped {
            self.slots = slots;
        }
        for slot in &mut self.slots.list {
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
            let root = self.place.root().clone();
            let mut batch = Batch::new();
            batch.put(&root, ROOM, SecretBytes::new(vec![0; bytes]));
            self.commit(&mut batch, self.next_entry)?;
            let mut batch = Batch::new();
            batch.delete(&root, ROOM);
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
        self.commit(&mut batch, self.stored.map_or(0, |stored| stored.next_entry))?;
        if !self.pending.is_empty() {
            self.pending.extend(batch);
        }
        Ok(())
    }

    /// Whether the store still has what this manager left there.
    ///
    /// # Errors
    /// [`StoreError::Locked`] where somebody else committed as this manager, or erased it; as
    /// [`Store::get`].
    pub(crate) fn expect_current(&self) -> Result<(), StoreError> {
        self.usable()?;
        let found = Counters::read(&self.place.root().of(&*self.store))?;
        if found == self.stored { Ok(()) } else { Err(StoreError::Locked) }
    }

    /// Takes back entries of the outbox that were not handed out.
    pub(crate) fn take_back(&mut self, wires: &[Vec<u8>]) {
        for wire in wires {
            entries::forget_sent(&mut self.pending, &self.place, wire);
        }
    }

    /// Puts a second manager with the same records, and nothing in its inbox and outbox, under another
    /// name.
    ///
    /// # Errors
    /// [`StoreError::Exists`] where there is one of that name; as [`Store::commit`].
    pub(crate) fn copy(&mut self, name: &str) -> Result<(), StoreError> {
        self.prepare()?;
        let place = Place::of(name);
        if Shape::exists(&place.root().of(&*self.store))? {
            return Err(StoreError::Exists);
        }
        let mut batch = Batch::new();
        let slots = self.slots.list.iter().map(|slot| slot.number);
        let own = |key: &[u8]| key == COUNTERS || key == ROOM;
        place::copy(&*self.store, &self.place, &place, slots, own, &mut batch)?;
        place::register(&mut batch, name);
        Counters::require(self.stored.as_ref(), &mut batch, &self.place)?;
        Counters::require(None, &mut batch, &place)?;
        let counters = Counters { instance: random::array()?, commits: 1, next_entry: 0 };
        counters.write(&mut batch, &place)?;
        self.store.commit(&batch)
    }

    /// Deletes everything of this manager. What is pending need not come first, nor have room.
    ///
    /// # Errors
    /// As [`Store::commit`]; everything in the store is still there then, or in doubt.
    pub(crate) fn erase(mut self) -> Result<(), StoreError> {
        self.usable()?;
        let mut batch = Batch::new();
        let slots = self.slots.list.iter().map(|slot| slot.number);
        place::erase(&*self.store, &self.place, slots, &mut batch)?;
        batch.delete(&place::index(), self.name.as_str());
        // Not with a new count, which would stay behind.
        Counters::require(self.stored.as_ref(), &mut batch, &self.place)?;
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
        // Nobody else has committed as this manager, and it is the one that was opened.
        Counters::require(self.stored.as_ref(), batch, &self.place)?;
        let commits = self.stored.map_or(0, |stored| stored.commits) + 1;
        let counters = Counters { instance: self.instance, commits, next_entry };
        counters.write(batch, &self.place)?;
        // A store that panics leaves it open whether the commit is in force.
        self.ended = Some(Ended::InDoubt);
        let result = self.store.commit(batch);
        if !result.as_ref().is_err_and(StoreError::is_in_doubt) {
            self.ended = None;
        }
        match &result {
            Ok(()) => self.stored = Some(counters),
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
