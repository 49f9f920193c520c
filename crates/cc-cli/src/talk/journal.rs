//! What this program keeps of what happened: numbered entries, among the records of the client's store, written in
//! the commit that acknowledges the event. So an entry is never lost, and never made twice.

use std::collections::{BTreeMap, BTreeSet};

use cc_client::{
    AppRecord, Client, Event, Fault, GroupId, HistoryEntries, LogId, OperationId, Verdict,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

mod entry;
mod forgetting;
mod forwarded;
mod moved;

pub(crate) use entry::{Entry, Forwarded, LayerLine, Message, MessageState, Unreadable, What, Who};
pub(crate) use forgetting::{Gone, forget_expired, next_expiry, read, set_printed, shown};
pub(crate) use moved::moved;

/// The first byte of every record.
const VERSION: u8 = 1;

/// How far the journal goes, and how far it was printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Heads {
    last: u64,
    printed: u64,
}

/// The entries of one group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct GroupHeads {
    count: u64,
    /// Messages of others behind this entry are unread.
    read: u64,
    unread: u64,
}

/// Entries that are to be written with the next commit.
#[derive(Default)]
pub(crate) struct Draft {
    heads: Option<Heads>,
    groups: BTreeMap<GroupId, GroupHeads>,
    records: Vec<AppRecord>,
    /// Keys of what was passed on.
    forwarded: BTreeSet<Vec<u8>>,
    /// Entries that are new.
    pub(crate) added: Vec<Entry>,
    /// Entries that became others.
    pub(crate) changed: Vec<Entry>,
    /// What became of commands.
    pub(crate) settled: Vec<(OperationId, Verdict)>,
}

impl Draft {
    /// The records for the commit.
    pub(crate) fn records(&self) -> Result<Vec<AppRecord>, Fault> {
        let mut records = self.records.clone();
        if let Some(heads) = &self.heads {
            records.push(put(b"journal".to_vec(), heads)?);
        }
        for (group, heads) in &self.groups {
            records.push(put(group_key(group), heads)?);
        }
        // Of each record the last: a text that is to be forgotten is not written first.
        let last: BTreeMap<Vec<u8>, AppRecord> =
            records.into_iter().map(|record| (record.key.clone(), record)).collect();
        Ok(last.into_values().collect())
    }

    /// A record as it will be.
    fn get<T: DeserializeOwned>(&self, client: &Client, key: &[u8]) -> Result<Option<T>, Fault> {
        match self.records.iter().rev().find(|record| record.key == key) {
            Some(record) => record.value.as_deref().map(decode).transpose(),
            None => get(client, key),
        }
    }

    /// Adds an entry.
    pub(crate) fn add(
        &mut self,
        client: &Client,
        at: u64,
        group: Option<GroupId>,
        what: What,
    ) -> Result<u64, Fault> {
        let heads = match &mut self.heads {
            Some(heads) => heads,
            None => self.heads.insert(get(client, b"journal")?.unwrap_or_default()),
        };
        heads.last += 1;
        let number = heads.last;
        if let Some(group) = group {
            let mut heads = match self.groups.get(&group) {
                Some(heads) => *heads,
                None => get(client, &group_key(&group))?.unwrap_or_default(),
            };
            heads.count += 1;
            if matches!(&what, What::Message(message) if !message.mine) {
                heads.unread += 1;
            }
            self.records.push(put(index_key(&group, heads.count), &number)?);
            self.groups.insert(group, heads);
        }
        if let What::Message(message) = &what
            && message.state == MessageState::Waiting
        {
            self.records.push(put(sent_key(&message.id), &number)?);
        }
        let mut entry = Entry { number, at, group, what };
        if let What::Message(message) = &mut entry.what
            && let Some(after) = message.disappears_after().filter(|_| message.mine)
        {
            message.read_at = Some(at);
            let due = at.saturating_add(u64::from(after).saturating_mul(1000));
            self.expires_at(client, due, number)?;
        }
        self.records.push(put(entry_key(number), &entry)?);
        self.added.push(entry.clone());
        self.note_text(client, &entry)?;
        Ok(number)
    }

    /// Takes an event into the journal.
    pub(crate) fn take(&mut self, client: &Client, at: u64, event: Event) -> Result<(), Fault> {
        let (group, what) = match event {
            Event::Settled { operation, verdict } => {
                return self.settle(client, at, operation, verdict);
            }
            Event::Message { group, from, from_me, message, position, content } => {
                let (from, state) = (Who::from(&from), MessageState::Sent(position));
                let layers = layers(client, &message);
                let mine = from_me;
                let message = Message::new(from, mine, message, state, content, layers);
                (Some(group), What::Message(message))
            }
            Event::Entered { group, name } => (Some(group), What::Entered { title: name }),
            Event::Joined { group, person } => {
                (Some(group), What::Joined { who: Who::from(&person) })
            }
            Event::Forwarded { group, by, entries: HistoryEntries::Here(entries), .. } => {
                return self.forward(client, at, group, &by, entries);
            }
            Event::Forwarded { group, by, .. } => {
                let description = format!("{} passed on earlier messages in a file", by.name());
                (Some(group), What::Other { description })
            }
            Event::Introduced { group, members } => {
                let members = members.iter().map(Who::from).collect();
                (Some(group), What::Introduced { members })
            }
            Event::Renamed { person, from, to } => (None, What::Renamed { person, from, to }),
            Event::Left { group, person, myself } => {
                (Some(group), What::Left { who: Who::from(&person), myself })
            }
            Event::KeysChanged { group, person } => {
                (Some(group), What::KeysChanged { who: person.as_ref().map(Who::from) })
            }
            Event::Unreadable { log, position, fate } => {
                (group_of(client, log), What::Unreadable { position, why: fate.into() })
            }
            Event::Missed { log, missed } => {
                (group_of(client, log), What::Missed { from: missed.start, to: missed.end })
            }
            Event::RolledBack { log, from, to } => {
                (group_of(client, log), What::RolledBack { from, to })
            }
            Event::OwnKeysReplaced { conflicting } => (None, What::OwnKeysReplaced { conflicting }),
            Event::NotDelivered { why, .. } => (None, What::NotDelivered { why }),
            Event::Diverged { group } => (Some(group), What::Diverged),
            Event::Stranded { group } => (Some(group), What::Stranded),
            Event::Repaired { group, missed } => {
                (Some(group), What::Repaired { from: missed.start, to: missed.end })
            }
            Event::Linked { person, name } => (None, What::Linked { person, name }),
            Event::TrustChanged { person, from, to } => {
                (None, What::TrustChanged { person, from, to })
            }
            Event::DeviceAdded { person, device } => {
                (None, What::DeviceAdded { person, device: Who::from(&device) })
            }
            Event::DeviceRevoked { person, device } => {
                (None, What::DeviceRevoked { person, device: Who::from(&device) })
            }
            Event::ConflictingClaims { device, people } => {
                (None, What::ConflictingClaims { device: Who::from(&device), people })
            }
            Event::JoinRequested { group, request, from, message } => {
                (Some(group), What::JoinRequested { request, who: Who::from(&from), message })
            }
            Event::JoinDeclined { request, .. } => (None, What::JoinDeclined { request }),
            Event::JoinLapsed { request, why, .. } => (None, What::JoinLapsed { request, why }),
            Event::JoinWithdrawn { group, request, from, let_in } => {
                (Some(group), What::JoinWithdrawn { request, who: Who::from(&from), let_in })
            }
            Event::JoinAnswered { group, request, from, accepted } => {
                (Some(group), What::JoinAnswered { request, who: Who::from(&from), accepted })
            }
            Event::JoinLinkFull { group, link } => (Some(group), What::JoinLinkFull { link }),
            other => (None, What::Other { description: format!("{other:?}") }),
        };
        self.add(client, at, group, what).map(drop)
    }

    fn settle(
        &mut self,
        client: &Client,
        at: u64,
        operation: OperationId,
        verdict: Verdict,
    ) -> Result<(), Fault> {
        let refusal = match &verdict {
            Verdict::Refused(why) => Some(why.clone()),
            Verdict::Cancelled => Some("it was cancelled".to_owned()),
            Verdict::Untrusted(_) => {
                Some("the keys of a member have changed, and were not verified".to_owned())
            }
            _ => None,
        };
        if let Some(number) = self.get::<u64>(client, &sent_key(&operation))? {
            self.records.push(AppRecord { key: sent_key(&operation), value: None });
            if let Some(mut entry) = self.get::<Entry>(client, &entry_key(number))?
                && let What::Message(message) = &mut entry.what
            {
                message.layers = layers(client, &operation);
                message.state = match (&verdict, refusal) {
                    (_, Some(why)) => MessageState::Refused(why),
                    (Verdict::Done(position), None) => MessageState::Sent(*position),
                    (_, None) => MessageState::Refused("it was no longer to be sent".to_owned()),
                };
                self.records.push(put(entry_key(number), &entry)?);
                self.changed.push(entry.clone());
                self.note_text(client, &entry)?;
            }
        } else if let Some(why) = refusal
            && verdict != Verdict::Cancelled
        {
            self.add(client, at, None, What::Refused { operation, why })?;
        }
        self.settled.push((operation, verdict));
        Ok(())
    }
}

/// The number of the last entry; 0 where there is none.
pub(crate) fn last(client: &Client) -> Result<u64, Fault> {
    Ok(get::<Heads>(client, b"journal")?.unwrap_or_default().last)
}

/// One entry.
pub(crate) fn entry(client: &Client, number: u64) -> Result<Option<Entry>, Fault> {
    get(client, &entry_key(number))
}

/// The last `limit` entries of a group, oldest first.
pub(crate) fn of_group(client: &Client, group: &GroupId, limit: u64) -> Result<Vec<Entry>, Fault> {
    let count = get::<GroupHeads>(client, &group_key(group))?.unwrap_or_default().count;
    let mut entries = Vec::new();
    for at in count.saturating_sub(limit) + 1..=count {
        if let Some(number) = get::<u64>(client, &index_key(group, at))? {
            entries.extend(entry(client, number)?);
        }
    }
    Ok(entries)
}

/// Messages of others in a group that were not [`read`].
pub(crate) fn unread(client: &Client, group: &GroupId) -> Result<u64, Fault> {
    Ok(get::<GroupHeads>(client, &group_key(group))?.unwrap_or_default().unread)
}

/// The last entry that `cascade receive` printed.
pub(crate) fn printed(client: &Client) -> Result<u64, Fault> {
    Ok(get::<Heads>(client, b"journal")?.unwrap_or_default().printed)
}

fn layers(client: &Client, message: &OperationId) -> Vec<LayerLine> {
    let bytes = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let report = client.layer_report(message).unwrap_or_default().iter();
    let line = |layer: &cc_client::LayerReport| LayerLine {
        name: layer.name.to_owned(),
        version: layer.version,
        bytes_in: bytes(layer.bytes_in),
        bytes_out: bytes(layer.bytes_out),
        microseconds: layer
            .elapsed
            .map(|elapsed| u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)),
    };
    report.map(line).collect()
}

/// The mailbox is no group.
fn group_of(client: &Client, log: LogId) -> Option<GroupId> {
    (log != client.mailbox()).then_some(log)
}

fn entry_key(number: u64) -> Vec<u8> {
    [b"entry ", &number.to_be_bytes()[..]].concat()
}

fn group_key(group: &GroupId) -> Vec<u8> {
    [b"group ", &group.as_bytes()[..]].concat()
}

fn index_key(group: &GroupId, at: u64) -> Vec<u8> {
    [b"in ", &group.as_bytes()[..], &at.to_be_bytes()].concat()
}

fn sent_key(message: &OperationId) -> Vec<u8> {
    [b"sent ", &message.as_bytes()[..]].concat()
}

pub(crate) fn put(key: Vec<u8>, value: &impl Serialize) -> Result<AppRecord, Fault> {
    let body = postcard::to_extend(value, vec![VERSION]).map_err(|_| Fault::TooLong)?;
    Ok(AppRecord { key, value: Some(body) })
}

pub(crate) fn get<T: DeserializeOwned>(client: &Client, key: &[u8]) -> Result<Option<T>, Fault> {
    client.record(key)?.map(|record| decode(record.expose())).transpose()
}

/// A record as [`put`] encodes it.
pub(crate) fn decode<T: DeserializeOwned>(record: &[u8]) -> Result<T, Fault> {
    match record.split_first() {
        Some((&VERSION, body)) => postcard::from_bytes(body).map_err(|_| damaged()),
        _ => Err(damaged()),
    }
}

fn damaged() -> Fault {
    cc_core::store::StoreError::corrupt("a record of the program is not one of this version").into()
}

#[cfg(test)]
mod tests {
    use cc_client::{Command, EventId, MemoryService, Now, Profile, Recipe, turn};
    use cc_core::store::MemoryStore;

    use super::*;

    fn take_all(client: &mut Client) -> Draft {
        let mut draft = Draft::default();
        let events = client.events(EventId(0), 100).unwrap();
        let through = events.last().map_or(EventId(0), |(id, _)| *id);
        for (_, event) in events {
            draft.take(client, 0, event).unwrap();
        }
        client.acknowledge(through, &draft.records().unwrap()).unwrap();
        draft
    }

    #[test]
    fn entries_are_numbered_and_what_was_sent_becomes_another() {
        let (store, profile) = (MemoryStore::new(), Profile::new("Alice"));
        let mut client = Client::create(store, profile, Recipe::group()).unwrap();
        let group = client.found("A group").unwrap();
        let draft = take_all(&mut client);
        assert_eq!(draft.added.len(), 1);
        assert_eq!(draft.settled.len(), 1);
        assert!(take_all(&mut client).added.is_empty(), "taken once");

        let id = OperationId::random().unwrap();
        let from = Who::from(&client.me());
        let (state, content) = (MessageState::Waiting, b"hello".to_vec());
        let message = Message::new(from, true, id, state, content.clone(), Vec::new());
        let mut draft = Draft::default();
        let number = draft.add(&client, 0, Some(group), What::Message(message)).unwrap();
        let records = draft.records().unwrap();
        client.answer(EventId(0), &records, id, Command::Send { group, content }).unwrap();
        assert_eq!((number, last(&client).unwrap()), (2, 2));
        let state = |client: &Client| match entry(client, number).unwrap().unwrap().what {
            What::Message(message) => message.state,
            other => panic!("{other:?}"),
        };
        assert_eq!(state(&client), MessageState::Waiting);

        let mut service = MemoryService::new();
        for mono in [0, 2_000, 4_000] {
            let _next = turn(&mut client, &mut service, Now { wall: 0, mono }).unwrap();
        }
        let draft = take_all(&mut client);
        assert_eq!((draft.added.len(), draft.changed.len()), (0, 1));
        assert!(matches!(state(&client), MessageState::Sent(_)));
        assert_eq!(of_group(&client, &group, 10).unwrap().len(), 2);
        assert_eq!(of_group(&client, &group, 1).unwrap()[0].number, 2);
        assert_eq!(unread(&client, &group).unwrap(), 0, "one's own is not unread");
        set_printed(&mut client, 1, 0).unwrap();
        set_printed(&mut client, 0, 0).unwrap();
        assert_eq!(printed(&client).unwrap(), 1, "never back");
    }
}
