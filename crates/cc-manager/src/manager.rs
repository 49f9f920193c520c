//! The manager: messages through the stack, and the stack itself.

use alloc::{
    boxed::Box,
    string::{String, ToString as _},
    vec::Vec,
};
use core::{any::Any, fmt, fmt::Write as _};

use cc_core::{
    CipherLayer, Kind, Standing,
    store::{Batch, Store, StoreError},
};

use crate::{
    Catalog, Error, LayerReport, ManagerBuilder, Message, StackProblem, StackReport,
    builder::default_clock,
    change_parts::{check_roster, expect_fit},
    persistence::{Persistence, When},
    records,
    stack::{Reports, Stack},
    state::{Draft, State},
    validate::validate,
};

/// Drives one stack of layers for one member (or one end of a pair, or one file).
///
/// Every method that fails leaves every layer as it was. With a store, whatever a method hands out is
/// durable before; see [`create`](ManagerBuilder::create).
pub struct CascadingCipherManager {
    pub(crate) stack: Stack,
    pub(crate) reports: Reports,
    pub(crate) state: State,
    /// Where the state survives; `None` where it is in memory only.
    pub(crate) persistence: Option<Persistence>,
}

impl CascadingCipherManager {
    /// Starts a stack: layers are added bottom first.
    pub fn builder() -> ManagerBuilder {
        ManagerBuilder::default()
    }

    /// Opens the manager that was [created](ManagerBuilder::create) in `store` under `name`. `catalog`
    /// lists the types of its layers.
    ///
    /// Ask for the [`inbox`](Self::inbox), the [`outbox`](Self::outbox) and the
    /// [`staged_change`](Self::staged_change) then: they are what a crash may have left undone.
    ///
    /// Of two managers that are open under one name, the one that was not the last to commit gets
    /// [`StoreError::Locked`] from then on. Do not let it come to that.
    ///
    /// # Errors
    /// [`Error::Store`], with [`StoreError::Missing`] where there is none of that name,
    /// [`Error::UnknownLayer`] for a layer that `catalog` does not list, [`Error::Layer`] for one that
    /// does not come back. The store is as it was.
    pub fn open(store: impl Store + 'static, name: &str, catalog: &Catalog) -> Result<Self, Error> {
        let (persistence, records) = Persistence::open(Box::new(store), name)?;
        let mut layers = Vec::new();
        for ((position, record), scope) in
            records.iter().enumerate().zip(persistence.layer_scopes())
        {
            let (name, restore) = catalog.find(record.id()).ok_or_else(|| Error::UnknownLayer {
                position,
                id: String::from_utf8_lossy(record.id()).into_owned(),
            })?;
            let layer = restore(&scope.of(persistence.store())).map_err(|source| Error::Layer {
                position,
                layer: name,
                source,
            })?;
            if !record.describes(&layer.descriptor()) {
                return Err(StoreError::corrupt("a layer is not the one that was stored").into());
            }
            layers.push(layer);
        }
        validate(&layers)?;
        let stack = Stack::of(layers);
        // Of a group that one was removed from, each layer keeps what it likes.
        if stack.epoch().is_some() {
            check_roster(&stack).map_err(|error| StoreError::corrupt(error.to_string()))?;
        }
        let state = State::read(&persistence.place().root().of(persistence.store()))?;
        Ok(Self {
            stack,
            reports: Reports::new(default_clock()),
            state,
            persistence: Some(persistence),
        })
    }

    /// The names under which managers were created in `store`, in the order of their bytes.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn stored(store: &impl Store) -> Result<Vec<String>, Error> {
        Ok(records::names(store)?)
    }

    /// Deletes all that the store has of this manager, inbox and outbox included. Without a store it
    /// does nothing but drop the manager.
    ///
    /// # Errors
    /// [`Error::Store`]; everything in the store is still there then, or in doubt.
    pub fn erase(self) -> Result<(), Error> {
        self.persistence.map_or(Ok(()), |persistence| Ok(persistence.erase()?))
    }

    /// A manager of these layers, once each has its place.
    pub(crate) fn assemble(
        layers: Vec<Box<dyn CipherLayer>>,
        reports: Reports,
        persistence: Option<Persistence>,
    ) -> Result<Self, Error> {
        validate(&layers)?;
        let mut manager =
            Self { stack: Stack::of(layers), reports, state: State::default(), persistence };
        manager.transact(When::Now, |stack, _, draft| {
            draft.reshaped = true;
            stack.attach()
        })?;
        Ok(manager)
    }

    /// Runs `f`, and keeps what it staged if it succeeds and, where there is a store, the store takes
    /// it; drops it if not, or if `f` panics.
    pub(crate) fn transact<T>(
        &mut self,
        when: When,
        f: impl FnOnce(&mut Stack, &mut Reports, &mut Draft) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.transact_if(when, |_| true, f).map(|kept| kept.unwrap_or_else(|refused| refused))
    }

    /// As [`transact`](Self::transact), but keeps nothing where `accept` refuses what `f` gives, which
    /// comes back as `Err` then.
    pub(crate) fn transact_if<T>(
        &mut self,
        when: When,
        accept: impl FnOnce(&T) -> bool,
        f: impl FnOnce(&mut Stack, &mut Reports, &mut Draft) -> Result<T, Error>,
    ) -> Result<Result<T, T>, Error> {
        let Self { stack, reports, state, persistence } = self;
        if let (Some(persistence), When::Now) = (&mut *persistence, when) {
            persistence.prepare()?;
        }
        let entries = persistence.as_ref().map(Persistence::entries);
        let mut draft = Draft { state: state.clone(), entries, reshaped: false };
        let mut transaction = stack.transaction();
        let value = f(transaction.stack, reports, &mut draft)?;
        if !accept(&value) {
            return Ok(Err(value));
        }
        *state = match persistence {
            Some(persistence) => {
                persistence.commit_operation(transaction.stack, state, draft, when)?
            }
            None => draft.state,
        };
        transaction.commit = true;
        Ok(Ok(value))
    }

    /// Encrypts `plaintext` through all layers, bottom to top.
    ///
    /// # Errors
    /// [`Error::Layer`] when a layer has no key or group yet, [`Error::Decode`] when the plaintext is
    /// over [`MAX_MESSAGE_LEN`](cc_core::limits::MAX_MESSAGE_LEN).
    pub fn encrypt(&mut self, plaintext: impl AsRef<[u8]>) -> Result<Vec<u8>, Error> {
        self.encrypt_with(plaintext, [])
    }

    /// Encrypts `plaintext`, and authenticates `associated_data` with it in every layer. The receiver
    /// must give the same associated data; it does not travel.
    ///
    /// # Errors
    /// As [`encrypt`](Self::encrypt).
    pub fn encrypt_with(
        &mut self,
        plaintext: impl AsRef<[u8]>,
        associated_data: impl AsRef<[u8]>,
    ) -> Result<Vec<u8>, Error> {
        self.encrypt_one(plaintext.as_ref(), associated_data.as_ref(), When::Now)
    }

    pub(crate) fn encrypt_one(
        &mut self,
        plaintext: &[u8],
        associated_data: &[u8],
        when: When,
    ) -> Result<Vec<u8>, Error> {
        self.transact(when, |stack, reports, draft| {
            let wire = stack.seal(Kind::Application, plaintext, associated_data, reports)?;
            draft.send(&wire);
            Ok(wire)
        })
    }

    /// Decrypts a message through all layers, top to bottom.
    ///
    /// # Errors
    /// [`Error::Decode`] for bytes that are not a message of this stack, [`Error::Layer`] with the
    /// layer that refused it. [`Error::is_early`] tells a message of an epoch that is still to come.
    pub fn decrypt(&mut self, wire: impl AsRef<[u8]>) -> Result<Message, Error> {
        self.decrypt_with(wire, [])
    }

    /// Decrypts a message that was encrypted with `associated_data`.
    ///
    /// # Errors
    /// As [`decrypt`](Self::decrypt).
    pub fn decrypt_with(
        &mut self,
        wire: impl AsRef<[u8]>,
        associated_data: impl AsRef<[u8]>,
    ) -> Result<Message, Error> {
        self.decrypt_one(wire.as_ref(), associated_data.as_ref(), When::Now)
    }

    pub(crate) fn decrypt_one(
        &mut self,
        wire: &[u8],
        associated_data: &[u8],
        when: When,
    ) -> Result<Message, Error> {
        self.transact(when, |stack, reports, draft| {
            let (buffer, sender) = stack.open(Kind::Application, wire, associated_data, reports)?;
            let id = draft.receive(buffer.as_slice(), sender);
            let message = Message::new(buffer.into_vec(), sender);
            Ok(match id {
                Some(id) => message.received(id),
                None => message,
            })
        })
    }

    /// Each layer's share of the last message that was sealed or opened, bottom first. Empty before
    /// the first one. After a failure it tells how far the message joined_at.
    #[must_use]
    pub fn last_report(&self) -> &[LayerReport] {
        self.reports.layers()
    }

    /// What the stack is and promises.
    #[must_use]
    pub fn stack_report(&self) -> StackReport {
        let mut stack_id = String::new();
        for byte in self.stack.id().wire() {
            // Writing to a string does not fail.
            let _ = write!(stack_id, "{byte:02x}");
        }
        let properties = || self.stack.layers().iter().map(|layer| layer.properties());
        StackReport {
            stack_id,
            layers: properties()
                .zip(self.stack.descriptors())
                .map(|(properties, descriptor)| (properties.name, descriptor.version))
                .collect(),
            refuses_replays: properties().any(|p| p.refuses_replays),
            cascades_keys: properties().any(|p| p.inherits),
            pairwise: properties().any(|p| p.pairwise),
        }
    }

    /// Checks that the stack can work. Building and changing a stack do so too.
    ///
    /// # Errors
    /// [`StackProblem`] says what to change.
    pub fn validate(&self) -> Result<(), StackProblem> {
        validate(self.stack.layers())
    }

    /// How many layers there are.
    #[must_use]
    pub fn layer_count(&self) -> usize {
        self.stack.layers().len()
    }

    /// The layer at `position` (0 at the bottom), if it is a `T`.
    #[must_use]
    pub fn layer<T: CipherLayer>(&self, position: usize) -> Option<&T> {
        let layer: &dyn Any = self.stack.layers().get(position)?.as_ref();
        layer.downcast_ref()
    }

    /// The layer at `position`, if it is a `T`, to be configured. Group and key changes belong to the
    /// manager's own methods, which keep the layers together.
    pub fn layer_mut<T: CipherLayer>(&mut self, position: usize) -> Option<&mut T> {
        let layer: &mut dyn Any = self.stack.layer_mut(position)?;
        layer.downcast_mut()
    }

    /// Puts a layer on top. Both ends must do so between the same two messages.
    ///
    /// # Errors
    /// As [`insert_layer`](Self::insert_layer).
    pub fn add_layer(&mut self, layer: impl CipherLayer) -> Result<(), Error> {
        self.insert_layer(self.layer_count(), layer)
    }

    /// Puts a layer at `position`; those from there on move up.
    ///
    /// # Errors
    /// [`Error::Stack`] when the new stack cannot work, [`Error::NoSuchLayer`] beyond the top,
    /// [`Error::ChangeStaged`] while a change is staged, [`Error::GroupExists`] for a group layer in a
    /// stack that has a group, [`Error::PairwiseInGroup`] for a layer for two in a group of more.
    pub fn insert_layer(&mut self, position: usize, layer: impl CipherLayer) -> Result<(), Error> {
        let regroups = layer.group().is_some();
        self.restack(regroups, |layers| {
            if position > layers.len() {
                return Err(Error::NoSuchLayer(position));
            }
            layers.insert(position, Box::new(layer));
            Ok(Undo::Remove(position))
        })
        .map(drop)
    }

    /// Takes the layer at `position` out of the stack.
    ///
    /// # Errors
    /// As [`insert_layer`](Self::insert_layer).
    pub fn remove_layer(&mut self, position: usize) -> Result<Box<dyn CipherLayer>, Error> {
        let removed = self.restack(self.stack.is_group(position), |layers| {
            if position >= layers.len() {
                return Err(Error::NoSuchLayer(position));
            }
            Ok(Undo::Insert(position, layers.remove(position)))
        })?;
        removed.ok_or(Error::NoSuchLayer(position))
    }

    /// Puts `layer` in the place of the one at `position`, and gives that one back.
    ///
    /// # Errors
    /// As [`insert_layer`](Self::insert_layer).
    pub fn replace_layer(
        &mut self,
        position: usize,
        layer: impl CipherLayer,
    ) -> Result<Box<dyn CipherLayer>, Error> {
        let regroups = layer.group().is_some() || self.stack.is_group(position);
        let replaced = self.restack(regroups, |layers| {
            let old = layers.get_mut(position).ok_or(Error::NoSuchLayer(position))?;
            Ok(Undo::Replace(position, core::mem::replace(old, Box::new(layer))))
        })?;
        replaced.ok_or(Error::NoSuchLayer(position))
    }

    /// Changes the layers and gives the one that went; undoes the change if the new stack cannot work.
    fn restack(
        &mut self,
        regroups: bool,
        edit: impl FnOnce(&mut Vec<Box<dyn CipherLayer>>) -> Result<Undo, Error>,
    ) -> Result<Option<Box<dyn CipherLayer>>, Error> {
        if let Some(staged) = &self.state.staged {
            return Err(Error::ChangeStaged(staged.id()));
        }
        if regroups && self.stack.groups().any(|(_, group)| group.standing() != Standing::Outside) {
            return Err(Error::GroupExists);
        }
        // What is not in the store yet belongs to the layers as they are.
        if let Some(persistence) = &mut self.persistence {
            persistence.flush()?;
        }
        let members = self.members().len();
        let mut layers = self.take_layers();
        let fits = edit(&mut layers).and_then(|undo| {
            let valid = validate(&layers).map_err(Error::from);
            match valid.and_then(|()| expect_fit(&layers, members)) {
                Ok(()) => Ok(undo),
                Err(error) => {
                    undo.run(&mut layers);
                    Err(error)
                }
            }
        });
        self.stack = Stack::of(layers);
        let undo = fits?;
        let slots = self.persistence.as_ref().map(Persistence::slots);
        let attached = self.reslot(&undo).and_then(|erased| {
            self.transact(When::Now, |stack, _, draft| {
                draft.reshaped = true;
                if let Some(entries) = &mut draft.entries {
                    entries.extend(erased);
                }
                // Key packages are for one stack.
                draft.state.overtaken = None;
                draft.state.forget_additions();
                stack.attach()
            })
        });
        match attached {
            Ok(()) => Ok(undo.into_removed()),
            Err(error) => {
                if let Some((persistence, slots)) = self.persistence.as_mut().zip(slots) {
                    persistence.restore_slots(slots);
                }
                let mut layers = self.take_layers();
                undo.run(&mut layers);
                self.stack = Stack::of(layers);
                Err(error)
            }
        }
    }

    fn take_layers(&mut self) -> Vec<Box<dyn CipherLayer>> {
        core::mem::replace(&mut self.stack, Stack::of(Vec::new())).into_layers()
    }

    /// Gives the layers their places in the store as they now are; gives what is to be deleted there.
    fn reslot(&mut self, undo: &Undo) -> Result<Batch, Error> {
        let mut erased = Batch::new();
        let Some(persistence) = &mut self.persistence else { return Ok(erased) };
        match undo {
            Undo::Remove(position) => persistence.insert_slot(*position),
            Undo::Insert(position, _) => persistence.remove_slot(*position, &mut erased)?,
            Undo::Replace(position, _) => {
                persistence.remove_slot(*position, &mut erased)?;
                persistence.insert_slot(*position);
            }
        }
        Ok(erased)
    }
}

enum Undo {
    Remove(usize),
    Insert(usize, Box<dyn CipherLayer>),
    Replace(usize, Box<dyn CipherLayer>),
}

impl Undo {
    fn into_removed(self) -> Option<Box<dyn CipherLayer>> {
        match self {
            Self::Remove(_) => None,
            Self::Insert(_, layer) | Self::Replace(_, layer) => Some(layer),
        }
    }

    fn run(self, layers: &mut Vec<Box<dyn CipherLayer>>) {
        match self {
            Self::Remove(position) => {
                layers.remove(position);
            }
            Self::Insert(position, layer) => layers.insert(position, layer),
            Self::Replace(position, layer) => {
                if let Some(slot) = layers.get_mut(position) {
                    *slot = layer;
                }
            }
        }
    }
}

impl fmt::Debug for CascadingCipherManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.stack.layers().iter().map(|layer| layer.properties().name);
        f.debug_list().entries(names).finish()
    }
}
