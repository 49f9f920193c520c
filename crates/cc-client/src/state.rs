//! What the store has of a client, in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    sync::Mutex,
};

use cc_core::{
    SecretBytes,
    store::{Scope, Store, StoreError},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    AccessToken, EventId, Fault, GroupId, LogId, PersonId, Position, RequestId,
    arrival::Arrival,
    contact::{self, DeviceRecord, OwnPerson},
    identity::Identity,
    mail::{MAIL_KEYS, MailKeys},
    operations::{DoneEvents, Operations, done_events},
    overlay::{SharedStore, lock},
    queue::Queues,
    records::{
        self, EventRecord, FlightRecord, GroupRecord, Meta, RequestRecord, Sent, StoredToken,
    },
};

/// What the store has, and what one transaction makes of it.
pub(crate) struct State {
    pub(crate) meta: Meta,
    /// The address of the identity's mailbox.
    pub(crate) mailbox: LogId,
    pub(crate) groups: BTreeMap<GroupId, GroupRecord>,
    pub(crate) requests: BTreeMap<RequestId, RequestTarget>,
    /// Welcomes that wait for their logs, by their places in the mailbox.
    pub(crate) arrivals: BTreeMap<Position, Arrival>,
    /// What opens mail.
    pub(crate) mail_keys: MailKeys,
    /// Whose device this is.
    pub(crate) own: OwnPerson,
    /// Groups whose record is to be written.
    pub(crate) changed: BTreeSet<GroupId>,
    /// People whose views are to be shown anew.
    pub(crate) changed_people: BTreeSet<PersonId>,
    /// Requests that were made.
    pub(crate) added: Vec<RequestId>,
    /// What waits in groups.
    pub(crate) queues: Queues,
    /// Commands that are known, once one was asked for.
    pub(crate) operations: Option<Operations>,
    /// Commands that are done, of which the application may not have been told.
    pub(crate) done: DoneEvents,
    /// Devices that were asked for.
    pub(crate) devices: Mutex<BTreeMap<[u8; 32], Option<DeviceRecord>>>,
    pub(crate) store: SharedStore,
}

/// What a stored request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestTarget {
    Group(GroupId),
    Mail,
    /// Behind another one.
    MailAfter(RequestId),
    Publish,
    Claim,
}

impl RequestTarget {
    pub(crate) const fn of(record: &RequestRecord) -> Self {
        match record {
            RequestRecord::Mail { .. } => Self::Mail,
            RequestRecord::MailAfter { after, .. } => Self::MailAfter(*after),
            RequestRecord::Publish { .. } => Self::Publish,
            RequestRecord::Claim { .. } => Self::Claim,
        }
    }
}

/// What a client knows at first.
pub(crate) const fn new_meta() -> Meta {
    Meta {
        fence: 0,
        next_event: 1,
        acknowledged: 0,
        next_seat: 0,
        next_settled: 0,
        mailbox_cursor: Position::START,
        packages_wanted: 0,
        packages_there: None,
        packages_expire: None,
        last_resort_expires: None,
    }
}

impl State {
    /// As the last commit left it.
    pub(crate) fn read(shared: &SharedStore, identity: &Identity) -> Result<Self, Fault> {
        let mut store = lock(shared)?;
        let root = records::root();
        let meta: Meta = records::decode(store.read_meta()?)?;
        let done = done_events(&*store, &meta)?;
        let (mut groups, mut requests) = (BTreeMap::new(), BTreeMap::new());
        records::each(&*store, records::groups(), |key, record| {
            groups.insert(records::log_id(key)?, records::decode(&record)?);
            Ok(())
        })?;
        records::each(&*store, records::access(), |key, token| {
            if let Some(group) = groups.get_mut(&records::log_id(key)?) {
                let group: &mut GroupRecord = group;
                group.access = Some(records::decode(&token)?);
            }
            Ok(())
        })?;
        records::each(&*store, records::flights(), |key, record| {
            let group = records::log_id(key)?;
            let flight: FlightRecord = records::decode(&record)?;
            let known: &mut GroupRecord = groups
                .get_mut(&group)
                .ok_or_else(|| StoreError::corrupt("something is on its way to no group"))?;
            let in_flight = flight.in_flight(&known.landed);
            requests.insert(in_flight.request, RequestTarget::Group(group));
            known.in_flight = Some(in_flight);
            Ok(())
        })?;
        records::each(&*store, &records::requests(), |key, record| {
            let record: RequestRecord = records::decode(&record)?;
            requests.insert(records::request_id(key)?, RequestTarget::of(&record));
            Ok(())
        })?;
        let mut arrivals = BTreeMap::new();
        records::each(&*store, &records::arrivals(), |key, record| {
            arrivals.insert(Position(records::number(key)?), records::decode(&record)?);
            Ok(())
        })?;
        let own = records::get(&*store, root, contact::OWN_PERSON)?.ok_or(StoreError::Missing)?;
        let mail_keys = records::get(&*store, root, MAIL_KEYS)?.ok_or(StoreError::Missing)?;
        drop(store);
        let store = SharedStore::clone(shared);
        let (changed, added) = (BTreeSet::new(), Vec::new());
        Ok(Self {
            meta,
            mailbox: identity.mailbox.address(),
            groups,
            requests,
            arrivals,
            mail_keys,
            own,
            changed,
            changed_people: BTreeSet::new(),
            added,
            queues: Queues::default(),
            operations: None,
            done,
            devices: Mutex::default(),
            store,
        })
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
        Ok(lock(&self.store)?.get(records::root(), key)?)
    }

    pub(crate) fn put_secret(&self, key: &[u8], secret: SecretBytes) -> Result<(), Fault> {
        lock(&self.store)?.changes()?.put(records::root(), key, secret);
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

    /// Sets the token of a group's present epoch.
    pub(crate) fn set_access(
        &mut self,
        id: &GroupId,
        token: Option<AccessToken>,
    ) -> Result<(), Fault> {
        let token = token.map(StoredToken);
        match &token {
            Some(token) => self.put(records::access(), *id.as_bytes(), token)?,
            None => self.delete(records::access(), *id.as_bytes())?,
        }
        self.group_mut(id)?.access = token;
        Ok(())
    }

    pub(crate) fn add_group(&mut self, id: GroupId, record: GroupRecord) {
        self.groups.insert(id, record);
        self.changed.insert(id);
    }

    pub(crate) fn emit(&mut self, event: &EventRecord) -> Result<(), Fault> {
        let key = records::event_key(self.next_event());
        self.put(records::events(), key, event)
    }

    pub(crate) fn next_event(&mut self) -> EventId {
        let number = self.meta.next_event;
        self.meta.next_event += 1;
        EventId(number)
    }

    /// An event that was not acknowledged.
    pub(crate) fn event(&self, id: EventId) -> Result<Option<EventRecord>, Fault> {
        match self.done.get(&id) {
            Some(&(operation, position)) => Ok(Some(EventRecord::Done { operation, position })),
            None => self.get(records::events(), &records::event_key(id)),
        }
    }

    /// An event is acknowledged.
    pub(crate) fn forget_event(&mut self, id: EventId) -> Result<(), Fault> {
        match self.done.remove(&id) {
            // It goes with its block.
            Some(_) => Ok(()),
            None => self.delete(records::events(), records::event_key(id)),
        }
    }

    pub(crate) fn add_request(&mut self, record: &RequestRecord) -> Result<RequestId, Fault> {
        let id = RequestId::random()?;
        self.requests.insert(id, RequestTarget::of(record));
        self.added.push(id);
        self.put(&records::requests(), *id.as_bytes(), record)?;
        Ok(id)
    }

    /// A request that is not to a group's log is over.
    pub(crate) fn end_request(&mut self, id: RequestId) -> Result<(), Fault> {
        match self.requests.remove(&id) {
            Some(_) => self.delete(&records::requests(), *id.as_bytes()),
            None => Ok(()),
        }
    }

    /// Something is on its way to a group's log.
    pub(crate) fn take_off(&mut self, group: &GroupId, flight: &FlightRecord) -> Result<(), Fault> {
        let in_flight = flight.in_flight.clone();
        self.requests.insert(in_flight.request, RequestTarget::Group(*group));
        self.put(records::flights(), *group.as_bytes(), flight)?;
        let record = self.group_mut(group)?;
        record.landed.clear();
        record.in_flight = Some(in_flight);
        Ok(())
    }

    /// Nothing is on its way to a group's log any more: messages that did not land wait again.
    pub(crate) fn ground(&mut self, group: &GroupId) -> Result<Option<RequestId>, Fault> {
        let record = self.group_mut(group)?;
        let Some(in_flight) = record.in_flight.take() else { return Ok(None) };
        record.landed.clear();
        self.requests.remove(&in_flight.request);
        self.delete(records::flights(), *group.as_bytes())?;
        if let Sent::Messages(sent) = in_flight.what {
            for message in sent {
                self.put_queued(group, message.number, message.queued)?;
            }
        }
        Ok(Some(in_flight.request))
    }

    /// A command of a group does not wait any more.
    pub(crate) fn count_off(&mut self, group: &GroupId) -> Result<(), Fault> {
        let record = self.group_mut(group)?;
        record.queued = record.queued.saturating_sub(1);
        Ok(())
    }

    pub(crate) fn write_groups(&mut self, changed: BTreeSet<GroupId>) -> Result<(), Fault> {
        for id in changed {
            if let Some(group) = self.groups.get(&id) {
                self.put(records::groups(), *id.as_bytes(), group)?;
            }
        }
        Ok(())
    }
}
