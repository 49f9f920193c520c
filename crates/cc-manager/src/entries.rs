//! The entries of the inbox and the outbox in the store.

use alloc::{collections::BTreeMap, format, string::String, vec::Vec};
use core::ops::ControlFlow;

use cc_core::{
    Buffer, Kind, MemberId, Opaque, Opened, SecretBytes, part_digest,
    store::{Batch, Store, StoreError},
};
use tls_codec::{
    DeserializeBytes as _, SerializeBytes, TlsDeserializeBytes, TlsSerializeBytes, TlsSize,
};

use crate::{
    message::{Message, MessageId},
    outbox::{OutboxEntry, Recipients},
    place::Place,
    records::malformed,
};

/// In front of the plaintext of a received message.
#[derive(TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
struct InboxHead {
    sender: Option<[u8; 32]>,
    sender_name: Option<Opaque>,
    epoch: Option<u64>,
}

/// In front of the bytes to be sent.
#[derive(TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
struct OutboxHead {
    number: u64,
    epoch: Option<u64>,
    /// Empty for everyone.
    recipients: Vec<[u8; 32]>,
}

/// What one operation puts into the inbox and the outbox.
pub(crate) struct Entries {
    place: Place,
    batch: Batch,
}

impl Entries {
    pub(crate) fn new(place: &Place) -> Self {
        Self { place: place.clone(), batch: Batch::new() }
    }

    pub(crate) fn into_batch(self) -> Batch {
        self.batch
    }

    pub(crate) fn receive(
        &mut self,
        number: u64,
        plaintext: &[u8],
        opened: &Opened,
    ) -> Result<(), StoreError> {
        let head = InboxHead {
            sender: opened.sender.map(|sender| *sender.as_bytes()),
            sender_name: opened.sender_name.as_ref().map(|name| name.as_bytes().into()),
            epoch: opened.epoch,
        };
        let value = record(&head, plaintext)?;
        self.batch.put(&self.place.inbox(), number.to_be_bytes(), value);
        Ok(())
    }

    /// Entries are in the order of their numbers.
    pub(crate) fn send(
        &mut self,
        number: u64,
        wire: &[u8],
        epoch: Option<u64>,
        recipients: &Recipients,
    ) -> Result<(), StoreError> {
        let recipients = match recipients {
            Recipients::Everyone => Vec::new(),
            Recipients::Members(members) => members.iter().map(|id| *id.as_bytes()).collect(),
        };
        let value = record(&OutboxHead { number, epoch, recipients }, wire)?;
        self.batch.put(&self.place.outbox(), part_digest(wire), value);
        Ok(())
    }
}

/// At most `limit` messages after the one of this id, oldest first.
pub(crate) fn read_inbox(
    store: &dyn Store,
    place: &Place,
    after: Option<MessageId>,
    limit: usize,
) -> Result<Vec<Message>, StoreError> {
    let mut messages = Vec::new();
    let mut damaged = false;
    store.scan(&place.inbox(), b"", &mut |key, value| {
        if messages.len() == limit {
            return ControlFlow::Break(());
        }
        match read_message(key, &value) {
            Some(message) if message.id() > after => messages.push(message),
            Some(_) => {}
            None => damaged = true,
        }
        if damaged { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if damaged { Err(malformed("an entry of the inbox")) } else { Ok(messages) }
}

fn read_message(key: &[u8], value: &SecretBytes) -> Option<Message> {
    let id = MessageId(u64::from_be_bytes(key.try_into().ok()?));
    let (head, plaintext) = InboxHead::tls_deserialize_bytes(value.expose()).ok()?;
    let name = head.sender_name.map(|name| String::from_utf8(name.0)).transpose().ok()?;
    let mut opened = Opened::default().named(name);
    opened.sender = head.sender.map(MemberId::from_bytes);
    opened.epoch = head.epoch;
    Some(Message::new(Buffer::with_room(plaintext, 0, 0), opened).received(id))
}

/// At most `limit` entries, the oldest of all, oldest first.
pub(crate) fn read_outbox(
    store: &dyn Store,
    place: &Place,
    limit: usize,
) -> Result<Vec<OutboxEntry>, StoreError> {
    let mut entries = BTreeMap::new();
    let mut damaged = false;
    store.scan(&place.outbox(), b"", &mut |_, value| {
        let Some((number, entry)) = read_entry(&value) else {
            damaged = true;
            return ControlFlow::Break(());
        };
        let is_older = entries.last_key_value().is_some_and(|(last, _)| number < *last);
        if entries.len() < limit || is_older {
            entries.insert(number, entry);
        }
        if entries.len() > limit {
            entries.pop_last();
        }
        ControlFlow::Continue(())
    })?;
    if damaged {
        Err(malformed("an entry of the outbox"))
    } else {
        Ok(entries.into_values().collect())
    }
}

fn read_entry(value: &SecretBytes) -> Option<(u64, OutboxEntry)> {
    let (head, wire) = OutboxHead::tls_deserialize_bytes(value.expose()).ok()?;
    let recipients = if head.recipients.is_empty() {
        Recipients::Everyone
    } else {
        Recipients::Members(head.recipients.into_iter().map(MemberId::from_bytes).collect())
    };
    let kind = Kind::of(wire).ok()?;
    let bytes = wire.to_vec();
    Some((head.number, OutboxEntry { kind, epoch: head.epoch, recipients, bytes }))
}

/// Whether these bytes are in the outbox.
pub(crate) fn in_outbox(store: &dyn Store, place: &Place, wire: &[u8]) -> Result<bool, StoreError> {
    Ok(store.get(&place.outbox(), &part_digest(wire))?.is_some())
}

/// In one allocation, so that no copy of a plaintext is left behind.
fn record(head: &impl SerializeBytes, body: &[u8]) -> Result<SecretBytes, StoreError> {
    let head = head.tls_serialize_bytes().map_err(|_| StoreError::TooLong)?;
    let mut record = Vec::with_capacity(head.len() + body.len());
    record.extend_from_slice(&head);
    record.extend_from_slice(body);
    Ok(SecretBytes::new(record))
}

pub(crate) fn forget_received(batch: &mut Batch, place: &Place, id: MessageId) {
    batch.delete(&place.inbox(), id.0.to_be_bytes());
}

pub(crate) fn forget_sent(batch: &mut Batch, place: &Place, wire: &[u8]) {
    batch.delete(&place.outbox(), part_digest(wire));
}
