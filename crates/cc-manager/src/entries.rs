//! The entries of the inbox and the outbox in the store.

use alloc::{collections::BTreeMap, vec::Vec};
use core::ops::ControlFlow;

use cc_core::{
    MemberId, SecretBytes, part_digest,
    store::{Batch, Store, StoreError},
};

use crate::{
    message::{Message, MessageId},
    records::{Place, malformed},
};

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

    /// The sender, if there is one, and the plaintext.
    pub(crate) fn receive(&mut self, number: u64, plaintext: &[u8], sender: Option<MemberId>) {
        let mut value = Vec::with_capacity(33 + plaintext.len());
        value.push(u8::from(sender.is_some()));
        value.extend(sender.iter().flat_map(|sender| sender.as_bytes()));
        value.extend_from_slice(plaintext);
        self.batch.put(&self.place.inbox(), number.to_be_bytes(), SecretBytes::new(value));
    }

    /// The number, by which they are in order, and the bytes.
    pub(crate) fn send(&mut self, number: u64, wire: &[u8]) {
        let value = [&number.to_be_bytes()[..], wire].concat();
        self.batch.put(&self.place.outbox(), part_digest(wire), SecretBytes::new(value));
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
    let (sender, plaintext) = match value.expose().split_first()? {
        (0, plaintext) => (None, plaintext),
        (1, rest) => {
            let (sender, plaintext) = rest.split_first_chunk()?;
            (Some(MemberId::from_bytes(*sender)), plaintext)
        }
        _ => return None,
    };
    Some(Message::new(plaintext.to_vec(), sender).received(id))
}

/// At most `limit` entries, the oldest of all, oldest first.
pub(crate) fn read_outbox(
    store: &dyn Store,
    place: &Place,
    limit: usize,
) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut wires = BTreeMap::new();
    let mut damaged = false;
    store.scan(&place.outbox(), b"", &mut |_, value| {
        let Some((number, wire)) = value.expose().split_first_chunk() else {
            damaged = true;
            return ControlFlow::Break(());
        };
        let number = u64::from_be_bytes(*number);
        if wires.len() < limit || wires.last_key_value().is_some_and(|(last, _)| number < *last) {
            wires.insert(number, wire.to_vec());
        }
        if wires.len() > limit {
            wires.pop_last();
        }
        ControlFlow::Continue(())
    })?;
    if damaged {
        Err(malformed("an entry of the outbox"))
    } else {
        Ok(wires.into_values().collect())
    }
}

pub(crate) fn forget_received(batch: &mut Batch, place: &Place, id: MessageId) {
    batch.delete(&place.inbox(), id.0.to_be_bytes());
}

pub(crate) fn forget_sent(batch: &mut Batch, place: &Place, wire: &[u8]) {
    batch.delete(&place.outbox(), part_digest(wire));
}
