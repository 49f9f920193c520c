//! One person, all groups: what survives, and how it changes.

use std::collections::{BTreeMap, VecDeque};

use cc_core::{
    SecretBytes,
    store::{Batch, Store, StoreError},
};
use cc_manager::{CascadingCipherManager, LayerReport};

use crate::{
    Event, EventId, Fault, GroupId, LogId, Now, OperationId, Person, Profile, Recipe,
    agenda::Target,
    contact::{self},
    identity::Identity,
    overlay::{Overlay, SharedStore, lock},
    recipe::Role,
    records,
    snapshot::ViewState,
    state::{RequestTarget, State, new_meta},
    timers::Timers,
};

/// Managers that are kept open; others are opened when they are needed.
const OPEN_SEATS: usize = 64;

/// Milliseconds that what waits for the next commit waits at the most.
const MAX_WAIT: u64 = 1_000;

/// One identity, all its groups, and what they owe and expect of the network.
///
/// A state machine without I/O: [`poll_request`](Self::poll_request) says what it wants of the network,
/// [`handle`](Self::handle) takes what came, [`events`](Self::events) tells what happened, and each of
/// these is at most one commit of the store. It opens no socket, reads no clock and starts no thread.
///
/// Whatever fails with a [`Fault`] has changed nothing.
pub struct Client {
    pub(crate) store: SharedStore,
    pub(crate) identity: Identity,
    pub(crate) state: State,
    seats: Seats,
    pub(crate) timers: Timers,
    /// Memory may be ahead of the store: it is read again before anything else.
    stale: bool,
    pub(crate) view_state: ViewState,
    /// What was done is lost with the process at no harm, for a log shows it again: see
    /// [`may_keep`](Overlay::may_keep).
    pub(crate) repeatable: bool,
    /// Since when something waits for the next commit, by the caller's `mono`.
    pub(crate) kept_since: Option<u64>,
    /// What the layers did with the last messages.
    pub(crate) reports: VecDeque<(OperationId, Vec<LayerReport>)>,
    /// What the layers did with the message that is told of, where it was opened together with others.
    pub(crate) opened_report: Option<Vec<LayerReport>>,
}

#[derive(Default)]
struct Seats {
    open: BTreeMap<String, (u64, CascadingCipherManager)>,
    used: u64,
}

impl Client {
    /// A new person, kept in `store`, who founds and joins groups of this recipe.
    ///
    /// # Errors
    /// [`Fault::Store`], with [`StoreError::Exists`] where the store has a client already.
    pub fn create(
        store: impl Store + 'static,
        profile: Profile,
        recipe: Recipe,
    ) -> Result<Self, Fault> {
        if store.get(records::root(), records::META)?.is_some() {
            return Err(StoreError::Exists.into());
        }
        Self::create_as(store, Identity::generate(profile, recipe)?)
    }

    pub(crate) fn create_as(
        mut store: impl Store + 'static,
        identity: Identity,
    ) -> Result<Self, Fault> {
        let meta = new_meta();
        let mut batch = Batch::new();
        batch.require(records::root(), records::META, None);
        batch.put(records::root(), records::IDENTITY, identity.encode()?);
        contact::create(&mut batch, &identity)?;
        records::put(&mut batch, records::root(), records::META, &meta)?;
        store.commit(&batch)?;
        Self::load(Overlay::shared(store)?, identity)
    }

    /// The person that was [created](Self::create) in `store`.
    ///
    /// # Errors
    /// [`Fault::Store`], with [`StoreError::Missing`] where there is none.
    pub fn open(store: impl Store + 'static) -> Result<Self, Fault> {
        let identity = store.get(records::root(), records::IDENTITY)?;
        let identity = Identity::decode(&identity.ok_or(StoreError::Missing)?)?;
        Self::load(Overlay::shared(store)?, identity)
    }

    /// The person in `store`, or a new one where there is none.
    ///
    /// # Errors
    /// [`Fault::Store`].
    pub fn open_or_create(
        store: impl Store + 'static,
        profile: Profile,
        recipe: Recipe,
    ) -> Result<Self, Fault> {
        match store.get(records::root(), records::META)? {
            Some(_) => Self::open(store),
            None => Self::create(store, profile, recipe),
        }
    }

    /// Gives the store free, for another process or for [`open`](Self::open). There is nothing to save that
    /// must not be lost: what waits for the next commit is committed if the store takes it, and read again
    /// if not.
    pub fn close(self) {
        if let Ok(mut store) = lock(&self.store) {
            let _ = store.flush();
        }
    }

    pub(crate) fn load(store: SharedStore, identity: Identity) -> Result<Self, Fault> {
        let state = State::read(&store, &identity)?;
        let seats = Seats::default();
        let timers = Timers::default();
        let view_state = ViewState::default();
        let reports = VecDeque::new();
        let mut client = Self {
            store,
            identity,
            state,
            seats,
            timers,
            stale: false,
            view_state,
            repeatable: false,
            kept_since: None,
            reports,
            opened_report: None,
        };
        client.touch_all();
        Ok(client)
    }

    /// Everything is to be looked at.
    pub(crate) fn touch_all(&mut self) {
        let agenda = &mut self.timers.agenda;
        let requests = self.state.requests.iter();
        let stored = requests.filter(|(_, target)| !matches!(target, RequestTarget::Group(_)));
        stored.for_each(|(id, _)| agenda.touch(Target::Request(*id)));
        agenda.touch(Target::Log(self.state.mailbox));
        self.state.arrivals.keys().for_each(|at| agenda.touch(Target::Arrival(*at)));
        self.state.groups.keys().for_each(|group| agenda.touch(Target::Log(*group)));
        agenda.touch(Target::Packages);
    }

    /// What a transaction changed is to be looked at.
    fn touch_changed(&mut self) {
        let agenda = &mut self.timers.agenda;
        self.state.changed.iter().for_each(|group| agenda.touch(Target::Log(*group)));
        for id in core::mem::take(&mut self.state.added) {
            if !matches!(self.state.requests.get(&id), None | Some(RequestTarget::Group(_))) {
                agenda.touch(Target::Request(id));
            }
        }
    }

    /// This device, the same in every group, and whose it is.
    #[must_use]
    pub fn me(&self) -> Person {
        self.myself()
    }

    /// Where welcomes to this person go.
    #[must_use]
    pub fn mailbox(&self) -> LogId {
        self.state.mailbox
    }

    /// Runs `f`, and commits all it did at once; or drops all of it.
    pub(crate) fn transact<T>(
        &mut self,
        f: impl FnOnce(&mut Self) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        if self.stale || lock(&self.store)?.is_overtaken() {
            self.state = State::read(&self.store, &self.identity)?;
            self.seats = Seats::default();
            self.kept_since = None;
            self.view_state.forget();
            self.stale = false;
            self.touch_all();
        }
        // Until the commit is known to be in force, memory is ahead of the store.
        self.stale = true;
        self.repeatable = false;
        let before = self.state.meta.clone();
        lock(&self.store)?.begin();
        let value = match f(self) {
            Ok(value) => value,
            Err(fault) => {
                lock(&self.store)?.roll_back();
                return Err(fault);
            }
        };
        self.touch_changed();
        let changed = core::mem::take(&mut self.state.changed);
        let changed_people = core::mem::take(&mut self.state.changed_people);
        let views = self.prepare_views(&changed, &changed_people)?;
        self.state.write_queues()?;
        self.state.write_operations()?;
        self.state.forget_devices()?;
        self.state.write_groups(changed)?;
        let mut store = lock(&self.store)?;
        if !store.has_changes() && self.state.meta == before {
            drop(store);
            self.stale = false;
            self.show_views(views);
            return Ok(value);
        }
        // The count by which of two processes one is refused.
        self.state.meta.fence = before.fence + 1;
        let meta = records::encode(&self.state.meta)?;
        if self.repeatable && store.may_keep() {
            store.keep(meta);
        } else {
            store.commit_all(meta).map_err(Fault::of_commit)?;
            self.kept_since = None;
        }
        drop(store);
        self.stale = false;
        self.show_views(views);
        Ok(value)
    }

    /// Commits what waits for the next commit, where it has waited for so long.
    pub(crate) fn flush_if_due(&mut self, now: Now) -> Result<(), Fault> {
        if self.kept_due().is_some_and(|due| due <= now.mono) {
            lock(&self.store)?.flush().map_err(Fault::of_commit)?;
            self.kept_since = None;
        }
        Ok(())
    }

    /// When what waits for the next commit is committed without one.
    pub(crate) fn kept_due(&self) -> Option<u64> {
        self.kept_since.map(|since| since.saturating_add(MAX_WAIT))
    }

    /// The stack of a group, or of a key package.
    pub(crate) fn seat(&mut self, name: &str) -> Result<&mut CascadingCipherManager, Fault> {
        let seats = &mut self.seats;
        seats.used += 1;
        let used = seats.used;
        if !seats.open.contains_key(name) {
            if seats.open.len() >= OPEN_SEATS {
                let oldest = seats.open.iter().min_by_key(|(_, (used, _))| *used);
                if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                    seats.open.remove(&oldest);
                }
            }
            let mut manager =
                CascadingCipherManager::open(self.store.clone(), name, &Recipe::catalog())?;
            // The client has an inbox and an outbox of its own, in the same commit.
            manager.set_mailbox(false);
            seats.open.insert(name.to_owned(), (used, manager));
        }
        let seat = seats.open.get_mut(name);
        let (last, manager) = seat.ok_or(Fault::Recipe("a stack was closed while in use"))?;
        *last = used;
        Ok(manager)
    }

    /// The stack, if it is open.
    pub(crate) fn open_seat(&self, name: &str) -> Option<&CascadingCipherManager> {
        self.seats.open.get(name).map(|(_, manager)| manager)
    }

    /// The stack of a group.
    pub(crate) fn group_seat(
        &mut self,
        group: &GroupId,
    ) -> Result<&mut CascadingCipherManager, Fault> {
        let name = self.state.group(group)?.seat.clone();
        self.seat(&name)
    }

    /// A new stack; gives its name.
    pub(crate) fn new_seat(&mut self, role: Role<'_>) -> Result<String, Fault> {
        let name = format!("seat {}", self.state.meta.next_seat);
        self.state.meta.next_seat += 1;
        let mut manager =
            self.identity.recipe.build(&self.identity, role)?.create(self.store.clone(), &name)?;
        manager.set_mailbox(false);
        self.seats.used += 1;
        self.seats.open.insert(name.clone(), (self.seats.used, manager));
        Ok(name)
    }

    /// A copy of a stack that waits for a welcome; gives its name.
    pub(crate) fn copy_seat(&mut self, from: &str) -> Result<String, Fault> {
        let name = format!("seat {}", self.state.meta.next_seat);
        self.state.meta.next_seat += 1;
        self.seat(from)?.copy_waiting(&name)?;
        Ok(name)
    }

    /// The stack is gone with all it knew.
    pub(crate) fn erase_seat(&mut self, name: &str) -> Result<(), Fault> {
        self.seat(name)?;
        match self.seats.open.remove(name) {
            Some((_, manager)) => Ok(manager.erase()?),
            None => Ok(()),
        }
    }

    /// The events after `after` that are not acknowledged, oldest first, at most `limit`. They stay
    /// until they are [acknowledged](Self::acknowledge).
    ///
    /// # Errors
    /// [`Fault::Store`].
    pub fn events(&self, after: EventId, limit: usize) -> Result<Vec<(EventId, Event)>, Fault> {
        // What is told has its number for ever.
        lock(&self.store)?.flush().map_err(Fault::of_commit)?;
        let first = after.0.max(self.state.meta.acknowledged).saturating_add(1);
        let mut events = Vec::new();
        for number in (first..self.state.meta.next_event).take(limit) {
            let Some(record) = self.state.event(EventId(number))? else { continue };
            let mut event = record.into_event()?;
            self.describe_event(&mut event)?;
            events.push((EventId(number), event));
        }
        Ok(events)
    }

    /// The application is done with all events through `through`, and has these records of its own: one
    /// commit for both.
    ///
    /// # Errors
    /// [`Fault::Store`]; nothing has changed then.
    pub fn acknowledge(&mut self, through: EventId, records: &[AppRecord]) -> Result<(), Fault> {
        self.transact(|client| client.acknowledge_now(through, records))
    }

    pub(crate) fn acknowledge_now(
        &mut self,
        through: EventId,
        records: &[AppRecord],
    ) -> Result<(), Fault> {
        let state = &mut self.state;
        let through = through.0.min(state.meta.next_event.saturating_sub(1));
        for number in state.meta.acknowledged.saturating_add(1)..=through {
            state.forget_event(EventId(number))?;
        }
        state.meta.acknowledged = state.meta.acknowledged.max(through);
        let mut store = lock(&self.store)?;
        let batch = store.changes()?;
        for AppRecord { key, value } in records {
            let (scope, key) = (&records::application(), key.clone());
            match value {
                Some(value) => batch.put(scope, key, SecretBytes::new(value.clone())),
                None => batch.delete(scope, key),
            }
        }
        Ok(())
    }

    /// A record of the application.
    ///
    /// # Errors
    /// [`Fault::Store`].
    pub fn record(&self, key: &[u8]) -> Result<Option<SecretBytes>, Fault> {
        Ok(lock(&self.store)?.get(&records::application(), key)?)
    }
}

/// A record that the application keeps in the client's store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppRecord {
    /// Its name, at most 1 KiB.
    pub key: Vec<u8>,
    /// Its value, `None` to delete it.
    pub value: Option<Vec<u8>>,
}

impl core::fmt::Debug for Client {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Client")
            .field("me", &self.identity.id)
            .field("groups", &self.state.groups.len())
            .finish_non_exhaustive()
    }
}
