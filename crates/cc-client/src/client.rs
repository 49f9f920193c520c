//! One person, all groups: what survives, and how it changes.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::ControlFlow,
};

use cc_core::{
    MemberId, SecretBytes,
    store::{Batch, Scope, Store, StoreError},
};
use cc_manager::{CascadingCipherManager, LayerReport};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Event, EventId, Fault, GroupId, LogId, OperationId, Person, Position, Profile, Recipe,
    RequestId,
    agenda::Target,
    contact::{self, OwnPerson},
    identity::Identity,
    overlay::{Overlay, SharedStore, lock},
    recipe::Role,
    records::{self, EventRecord, GroupRecord, Meta, PersonRecord, RequestRecord},
    snapshot::ViewState,
    timers::Timers,
};

/// Managers that are kept open; others are opened when they are needed.
const OPEN_SEATS: usize = 64;

/// One identity, all its groups, and what they owe and expect of the network.
///
/// A state machine without I/O: [`poll_request`](Self::poll_request) says what it wants of the network,
/// [`handle`](Self::handle) takes what came, [`events`](Self::events) tells what happened, and each of
/// these is one commit of the store. It opens no socket, reads no clock and starts no thread.
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
    /// What the layers did with the last messages.
    pub(crate) reports: VecDeque<(OperationId, Vec<LayerReport>)>,
}

/// What the store has, and what one transaction makes of it.
pub(crate) struct State {
    pub(crate) meta: Meta,
    pub(crate) groups: BTreeMap<GroupId, GroupRecord>,
    pub(crate) requests: BTreeMap<RequestId, RequestTarget>,
    /// Whose device this is.
    pub(crate) own: OwnPerson,
    /// Groups whose record is to be written.
    changed: BTreeSet<GroupId>,
    /// Requests that were made.
    added: Vec<RequestId>,
    store: SharedStore,
}

/// What a stored request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestTarget {
    Group(GroupId),
    Mail,
    Publish,
    Claim,
}

impl RequestTarget {
    pub(crate) const fn of(record: &RequestRecord) -> Self {
        match record {
            RequestRecord::Append { group, .. } => Self::Group(*group),
            RequestRecord::Mail { .. } => Self::Mail,
            RequestRecord::Publish { .. } => Self::Publish,
            RequestRecord::Claim { .. } => Self::Claim,
        }
    }
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
        if store.get(&records::root(), records::META)?.is_some() {
            return Err(StoreError::Exists.into());
        }
        let identity = Identity::generate(profile, recipe)?;
        let meta = new_meta(&identity);
        let mut store = store;
        let mut batch = Batch::new();
        batch.require(&records::root(), records::META, None);
        batch.put(&records::root(), records::IDENTITY, identity.encode()?);
        contact::create(&mut batch, &identity)?;
        records::put(&mut batch, &records::root(), records::META, &meta)?;
        store.commit(&batch)?;
        Self::load(Overlay::shared(store), identity)
    }

    /// The person that was [created](Self::create) in `store`.
    ///
    /// # Errors
    /// [`Fault::Store`], with [`StoreError::Missing`] where there is none.
    pub fn open(store: impl Store + 'static) -> Result<Self, Fault> {
        let identity = store.get(&records::root(), records::IDENTITY)?;
        let identity = Identity::decode(&identity.ok_or(StoreError::Missing)?)?;
        Self::load(Overlay::shared(store), identity)
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
        match store.get(&records::root(), records::META)? {
            Some(_) => Self::open(store),
            None => Self::create(store, profile, recipe),
        }
    }

    /// Gives the store free, for another process or for [`open`](Self::open). Whatever a call did was
    /// committed when it returned, so that there is nothing to save.
    pub fn close(self) {
        drop(self);
    }

    pub(crate) fn load(store: SharedStore, identity: Identity) -> Result<Self, Fault> {
        let state = State::read(&store)?;
        let seats = Seats::default();
        let timers = Timers::default();
        let view_state = ViewState::default();
        let reports = VecDeque::new();
        let mut client =
            Self { store, identity, state, seats, timers, stale: false, view_state, reports };
        client.touch_all();
        Ok(client)
    }

    /// Everything is to be looked at.
    fn touch_all(&mut self) {
        let agenda = &mut self.timers.agenda;
        let requests = self.state.requests.iter();
        let stored = requests.filter(|(_, target)| !matches!(target, RequestTarget::Group(_)));
        stored.for_each(|(id, _)| agenda.touch(Target::Request(*id)));
        agenda.touch(Target::Log(self.state.meta.mailbox));
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
        self.state.meta.mailbox
    }

    /// Runs `f`, and commits all it did at once; or drops all of it.
    pub(crate) fn transact<T>(
        &mut self,
        f: impl FnOnce(&mut Self) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        if self.stale {
            self.state = State::read(&self.store)?;
            self.seats = Seats::default();
            self.view_state.forget();
            self.stale = false;
            self.touch_all();
        }
        // Until the commit is known to be in force, memory is ahead of the store.
        self.stale = true;
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
        let views = self.prepare_views(&changed)?;
        self.state.write_groups(changed)?;
        let mut store = lock(&self.store)?;
        if !store.has_changes() && self.state.meta == before {
            store.roll_back();
            drop(store);
            self.stale = false;
            self.show_views(views);
            return Ok(value);
        }
        let batch = self.state.fenced(&before)?;
        store.commit_all(batch).map_err(|error| match error {
            StoreError::Overtaken => Fault::Fenced,
            error => error.into(),
        })?;
        drop(store);
        self.stale = false;
        self.show_views(views);
        Ok(value)
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

    pub(crate) fn has_open_seat(&self, name: &str) -> bool {
        self.seats.open.contains_key(name)
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
        let first = after.0.max(self.state.meta.acknowledged).saturating_add(1);
        let mut events = Vec::new();
        for number in (first..self.state.meta.next_event).take(limit) {
            let key = records::event_key(EventId(number));
            let record = self.state.get::<EventRecord>(&records::events(), &key)?;
            let Some(mut event) = record.map(EventRecord::into_event) else { continue };
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
            state.delete(&records::events(), records::event_key(EventId(number)))?;
        }
        state.meta.acknowledged = state.meta.acknowledged.max(through);
        let mut store = lock(&self.store)?;
        let batch = store.changes()?;
        for AppRecord { key, value } in records {
            let (scope, key) = (records::application(), key.clone());
            match value {
                Some(value) => batch.put(&scope, key, SecretBytes::new(value.clone())),
                None => batch.delete(&scope, key),
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

/// What a client knows at first.
pub(crate) fn new_meta(identity: &Identity) -> Meta {
    Meta {
        fence: 0,
        next_event: 1,
        acknowledged: 0,
        next_seat: 0,
        next_settled: 0,
        mailbox: identity.mailbox.address(),
        mailbox_cursor: Position::START,
        packages_wanted: 0,
        packages_there: None,
        packages_expire: None,
        last_resort_expires: None,
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

impl State {
    fn read(shared: &SharedStore) -> Result<Self, Fault> {
        let store = lock(shared)?;
        let root = records::root();
        let meta = records::get(&*store, &root, records::META)?.ok_or(StoreError::Missing)?;
        let (mut groups, mut requests) = (BTreeMap::new(), BTreeMap::new());
        each(&store, &records::groups(), |key, record| {
            let id = key.try_into().map_err(|_| StoreError::corrupt("a group has no id"))?;
            groups.insert(LogId::from_bytes(id), records::decode(&record)?);
            Ok(())
        })?;
        each(&store, &records::requests(), |key, record| {
            let id = key.try_into().map_err(|_| StoreError::corrupt("a request has no id"))?;
            let record: RequestRecord = records::decode(&record)?;
            requests.insert(RequestId::from_bytes(id), RequestTarget::of(&record));
            Ok(())
        })?;
        let own = records::get(&*store, &root, contact::OWN_PERSON)?.ok_or(StoreError::Missing)?;
        drop(store);
        let store = SharedStore::clone(shared);
        let (changed, added) = (BTreeSet::new(), Vec::new());
        Ok(Self { meta, groups, requests, own, changed, added, store })
    }

    pub(crate) fn get<T: DeserializeOwned>(
        &self,
        scope: &Scope,
        key: &[u8],
    ) -> Result<Option<T>, Fault> {
        records::get(&*lock(&self.store)?, scope, key)
    }

    pub(crate) fn put(
        &self,
        scope: &Scope,
        key: impl Into<Vec<u8>>,
        record: &impl Serialize,
    ) -> Result<(), Fault> {
        records::put(lock(&self.store)?.changes()?, scope, key, record)
    }

    /// A record of the client's that is no structure.
    pub(crate) fn secret(&self, key: &[u8]) -> Result<Option<SecretBytes>, Fault> {
        Ok(lock(&self.store)?.get(&records::root(), key)?)
    }

    pub(crate) fn put_secret(&self, key: &[u8], secret: SecretBytes) -> Result<(), Fault> {
        lock(&self.store)?.changes()?.put(&records::root(), key, secret);
        Ok(())
    }

    pub(crate) fn delete(&self, scope: &Scope, key: impl Into<Vec<u8>>) -> Result<(), Fault> {
        lock(&self.store)?.changes()?.delete(scope, key);
        Ok(())
    }

    /// All records of a scope, in the order of their keys, at most `limit`.
    pub(crate) fn list<T: DeserializeOwned>(
        &self,
        scope: &Scope,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, T)>, Fault> {
        let mut found = Vec::new();
        lock(&self.store)?.scan(scope, b"", &mut |key, value| {
            found.push((key.to_vec(), value));
            if found.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        found.into_iter().map(|(key, value)| Ok((key, records::decode(&value)?))).collect()
    }

    pub(crate) fn group(&self, id: &GroupId) -> Result<&GroupRecord, Fault> {
        self.groups.get(id).ok_or(Fault::NoSuchGroup(*id))
    }

    /// A group that changes.
    pub(crate) fn group_mut(&mut self, id: &GroupId) -> Result<&mut GroupRecord, Fault> {
        let group = self.groups.get_mut(id).ok_or(Fault::NoSuchGroup(*id))?;
        self.changed.insert(*id);
        Ok(group)
    }

    pub(crate) fn add_group(&mut self, id: GroupId, record: GroupRecord) {
        self.groups.insert(id, record);
        self.changed.insert(id);
    }

    pub(crate) fn emit(&mut self, event: &EventRecord) -> Result<(), Fault> {
        let number = self.meta.next_event;
        self.meta.next_event += 1;
        let key = records::event_key(EventId(number));
        self.put(&records::events(), key, event)
    }

    pub(crate) fn add_request(&mut self, record: &RequestRecord) -> Result<RequestId, Fault> {
        let id = RequestId::random()?;
        self.requests.insert(id, RequestTarget::of(record));
        self.added.push(id);
        self.put(&records::requests(), *id.as_bytes(), record)?;
        Ok(id)
    }

    pub(crate) fn end_request(&mut self, id: RequestId) -> Result<(), Fault> {
        match self.requests.remove(&id) {
            Some(_) => self.delete(&records::requests(), *id.as_bytes()),
            None => Ok(()),
        }
    }

    fn write_groups(&mut self, changed: BTreeSet<GroupId>) -> Result<(), Fault> {
        for id in changed {
            if let Some(group) = self.groups.get(&id) {
                self.put(&records::groups(), *id.as_bytes(), group)?;
            }
        }
        Ok(())
    }

    /// The count by which of two processes one is refused.
    fn fenced(&mut self, before: &Meta) -> Result<Batch, Fault> {
        self.meta.fence = before.fence + 1;
        let (root, mut batch) = (records::root(), Batch::new());
        batch.require(&root, records::META, Some(records::encode(before)?));
        records::put(&mut batch, &root, records::META, &self.meta)?;
        Ok(batch)
    }
}

/// Hands each record of a scope to `take`, one at a time.
fn each(
    store: &Overlay,
    scope: &Scope,
    mut take: impl FnMut(&[u8], SecretBytes) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut result = Ok(());
    store.scan(scope, b"", &mut |key, record| {
        result = take(key, record);
        if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    result
}

impl PersonRecord {
    pub(crate) fn new(id: &MemberId, name: Option<String>) -> Self {
        Self { id: *id.as_bytes(), name }
    }

    fn into_person(self) -> Person {
        Person::new(MemberId::from_bytes(self.id), self.name)
    }
}

impl core::fmt::Debug for Client {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Client")
            .field("me", &self.identity.id)
            .field("groups", &self.state.groups.len())
            .finish_non_exhaustive()
    }
}

impl EventRecord {
    fn into_event(self) -> Event {
        use crate::{Verdict, event::fate_from};
        let settled = |operation, verdict| Event::Settled { operation, verdict };
        match self {
            Self::Message { group, from, message, position, content } => {
                let (from, from_me) = (from.into_person(), false);
                Event::Message { group, from, from_me, message, position, content }
            }
            Self::Done { operation, position } => settled(operation, Verdict::Done(position)),
            Self::Superseded { operation } => settled(operation, Verdict::Superseded),
            Self::Cancelled { operation } => settled(operation, Verdict::Cancelled),
            Self::Refused { operation, why } => settled(operation, Verdict::Refused(why)),
            Self::Entered { group, name } => Event::Entered { group, name },
            Self::Joined { group, person } => Event::Joined { group, person: person.into_person() },
            Self::Left { group, person, myself } => {
                Event::Left { group, person: person.into_person(), myself }
            }
            Self::KeysChanged { group, person } => {
                Event::KeysChanged { group, person: person.map(PersonRecord::into_person) }
            }
            Self::Unreadable { log, position, fate } => {
                Event::Unreadable { log, position, fate: fate_from(fate) }
            }
            Self::Missed { log, from, to } => Event::Missed { log, missed: from..to },
            Self::Diverged { group } => Event::Diverged { group },
            Self::Repaired { group, from, to } => Event::Repaired { group, missed: from..to },
            Self::Untrusted { operation, person } => settled(operation, Verdict::Untrusted(person)),
            Self::Linked { person, name } => Event::Linked { person, name },
            Self::TrustChanged { person, from, to } => Event::TrustChanged { person, from, to },
            Self::DeviceAdded { person, device } => {
                Event::DeviceAdded { person, device: device.into_person() }
            }
            Self::DeviceRevoked { person, device } => {
                Event::DeviceRevoked { person, device: device.into_person() }
            }
            Self::ConflictingClaims { device, people } => {
                Event::ConflictingClaims { device: device.into_person(), people }
            }
        }
    }
}
