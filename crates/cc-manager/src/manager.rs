//! The manager: messages through the stack, and the stack itself.

use alloc::{
    boxed::Box,
    string::{String, ToString as _},
    vec::Vec,
};
use core::{fmt, fmt::Write as _};

use cc_core::{
    CipherLayer, Kind,
    store::{Batch, Store, StoreError},
};

use crate::{
    Catalog, Error, LayerReport, ManagerBuilder, Message, Recipients, StackProblem, StackReport,
    builder::default_clock,
    change_parts::check_roster,
    layers::Layers,
    persistence::{Draft, Persistence, Reshaped, When},
    place,
    receive::open_message,
    stack::{Reports, Stack},
    state::State,
    validate::validate,
};

/// What a manager begins with.
pub(crate) struct Beginning<'a> {
    pub(crate) state: State,
    /// Puts what else is to be in the first commit into its batch.
    pub(crate) with: Option<Also<'a>>,
}

/// Puts more into the batch of a commit.
pub(crate) type Also<'a> = &'a mut dyn FnMut(&mut Batch) -> Result<(), Error>;

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
        let layers = Layers::new(layers)?;
        validate(layers.iter())?;
        let stack = Stack::new(layers);
        // Of a group that one was removed from, each layer keeps what it likes.
        if stack.epoch().is_some() {
            check_roster(&stack).map_err(|error| StoreError::corrupt(error.to_string()))?;
        }
        let state = State::read(persistence.store(), persistence.place())?;
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
        Ok(place::names(store)?)
    }

    /// Puts a second manager of this member, which waits for welcomes to the same key packages, under
    /// another name in the store: one of them joins, and the other keeps what it needs for the next welcome.
    /// For key packages of last resort. Both are the same member, so at most one may be in each group.
    ///
    /// # Errors
    /// [`Error::GroupExists`] for a manager that is in a group or was, whose ratchets must not be in two
    /// places; [`Error::Store`], with [`StoreError::Missing`] for a manager without a store.
    pub fn copy_waiting(&mut self, name: &str) -> Result<(), Error> {
        self.expect_outside()?;
        let persistence = self.persistence.as_mut().ok_or(StoreError::Missing)?;
        Ok(persistence.copy(name)?)
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
        let beginning = Beginning { state: State::default(), with: None };
        Self::assemble_with(layers, reports, persistence, beginning, |_, _, _| Ok(()))
            .map(|(manager, ())| manager)
    }

    /// A manager of these layers, once each has its place and `first` is done: nothing is in the store before.
    pub(crate) fn assemble_with<T>(
        layers: Vec<Box<dyn CipherLayer>>,
        reports: Reports,
        persistence: Option<Persistence>,
        beginning: Beginning<'_>,
        first: impl FnOnce(&mut Stack, &mut Reports, &mut Draft) -> Result<T, Error>,
    ) -> Result<(Self, T), Error> {
        let layers = Layers::new(layers)?;
        validate(layers.iter())?;
        let Beginning { state, with } = beginning;
        let mut manager = Self { stack: Stack::new(layers), reports, state, persistence };
        let Self { stack, reports, state, persistence } = &mut manager;
        let mut places = stack.transaction();
        places.stack.attach()?;
        // In force here, and nowhere else: the manager does not exist yet.
        places.commit = true;
        drop(places);
        let mut transaction = stack.transaction();
        let mut draft = Draft::new(state, persistence.as_ref());
        let value = first(transaction.stack, reports, &mut draft)?;
        *state = match persistence {
            Some(persistence) => {
                let (layers, composition) = transaction.stack.parts_mut();
                let reshaped = Reshaped {
                    descriptors: &composition.descriptors,
                    slots: persistence.slots().clone(),
                    erased: Batch::new(),
                    with,
                };
                // Nothing of the state is in the store.
                let before = State::default();
                persistence.commit_operation(layers, Some(reshaped), &before, draft, When::Now)?
            }
            None => draft.state,
        };
        transaction.commit = true;
        drop(transaction);
        Ok((manager, value))
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
        let mut draft = Draft::new(state, persistence.as_ref());
        let mut transaction = stack.transaction();
        let value = f(transaction.stack, reports, &mut draft)?;
        if !accept(&value) {
            return Ok(Err(value));
        }
        *state = match persistence {
            Some(persistence) => {
                let layers = transaction.stack.layers_mut();
                persistence.commit_operation(layers, None, state, draft, when)?
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
            let bound = draft.state.bound(associated_data);
            let sealed = stack.seal(Kind::Application, plaintext, &bound, reports)?;
            let wire = draft.state.with_opening(sealed)?;
            draft.send(&wire, stack.epoch(), &Recipients::Everyone)?;
            Ok(wire)
        })
    }

    /// Decrypts a message through all layers, top to bottom: for pairs and files, where nothing else
    /// comes. [`receive`](Self::receive) takes whatever comes, and tells everyday life from an attack.
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
        let (wire, associated_data) = (wire.as_ref(), associated_data.as_ref());
        self.transact(When::Now, |stack, reports, draft| {
            open_message(stack, reports, draft, wire, associated_data)
        })
    }

    /// Tells the layers what time it is, in seconds since 1970, until the next call; `None`, as at the
    /// beginning, lets them ask the system. They need it where something is made or verified that
    /// expires, such as a key package.
    pub fn set_time(&mut self, now: Option<u64>) {
        self.stack.now = now;
    }

    /// Each layer's share of the last message that was sealed or opened, bottom first. Empty before
    /// the first one. After a failure it tells how far the message got.
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
        validate(self.stack.layers().iter())
    }

    /// How many layers there are.
    #[must_use]
    pub fn layer_count(&self) -> usize {
        self.stack.layers().len()
    }
}

impl fmt::Debug for CascadingCipherManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.stack.layers().iter().map(|layer| layer.properties().name);
        f.debug_list().entries(names).finish()
    }
}
