//! Which commands were given before, by their ids: those that wait, and the last that are settled.
//!
//! A command that waits is in a queue, on its way, or in a claim, and known from there. The ids of settled
//! ones are in blocks, for a record of each would be one more of the store's pages with every message. All
//! are in memory from the first time that one is asked for.
//!
//! That a command is done is an event. It has no record of its own beside the block, which tells it until it
//! is acknowledged.

use std::collections::BTreeMap;

use cc_core::store::{Store, StoreError};
use serde::{Deserialize, Serialize};

use crate::{
    EventId, Fault, GroupId, OperationId, Position, RequestId,
    overlay::lock,
    records::{self, EventRecord, FlightRecord, Meta, Queued, RequestRecord, Sent},
    state::State,
};

/// Settled commands of one block: it is written with each of them.
const BLOCK: u64 = 8;
/// Full blocks that are kept at least: 4096 commands.
const BLOCKS: u64 = 512;
/// Records for them, which are written again in turn: one that goes and one that comes would be two of the
/// store's pages.
const PLACES: u64 = BLOCKS + 1;

/// The key of a block.
const fn block_key(block: u64) -> [u8; 8] {
    records::key(block % PLACES)
}

/// The digest of a command, which tells another one under the same id.
pub(crate) type CommandDigest = [u8; 8];

/// A command that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) digest: CommandDigest,
    /// Where it waits.
    pub(crate) place: Option<Place>,
}

/// Where a command waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the queue of a group, or on its way from there.
    Queue(GroupId, u64),
    /// For a key package.
    Claim(RequestId),
}

/// A command of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Settled {
    id: OperationId,
    digest: CommandDigest,
    /// `None` where something else became of it, which an event of its own tells.
    done: Option<Done>,
}

/// The event that a command is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Done {
    event: EventId,
    position: Position,
}

/// Events that are not acknowledged and whose records are the blocks: what is done, and where.
pub(crate) type DoneEvents = BTreeMap<EventId, (OperationId, Position)>;

/// See the module.
pub(crate) struct Operations {
    known: BTreeMap<OperationId, Known>,
    /// The block that is not full.
    last: Vec<Settled>,
    /// It is to be written.
    changed: bool,
}

impl State {
    /// What is known of a command.
    pub(crate) fn known(&mut self, id: &OperationId) -> Result<Option<Known>, Fault> {
        Ok(self.operations()?.known.get(id).copied())
    }

    /// A command is given.
    pub(crate) fn note(&mut self, id: OperationId, digest: CommandDigest) -> Result<(), Fault> {
        self.operations()?.known.insert(id, Known { digest, place: None });
        Ok(())
    }

    /// Where a command waits now.
    pub(crate) fn note_place(&mut self, id: &OperationId, place: Place) -> Result<(), Fault> {
        if let Some(known) = self.operations()?.known.get_mut(id) {
            known.place = Some(place);
        }
        Ok(())
    }

    /// A command is settled, as its event tells, and the oldest settled ones are forgotten.
    pub(crate) fn settle(&mut self, id: OperationId, event: &EventRecord) -> Result<(), Fault> {
        let done = match *event {
            EventRecord::Done { operation, position } if operation == id => {
                let event = self.next_event();
                self.done.insert(event, (id, position));
                Some(Done { event, position })
            }
            _ => {
                self.emit(event)?;
                None
            }
        };
        self.operations()?;
        let number = self.meta.next_settled;
        self.meta.next_settled += 1;
        let block = number / BLOCK;
        let begins = number.is_multiple_of(BLOCK);
        if begins && block >= PLACES {
            let forgotten: Option<Vec<Settled>> =
                self.get(records::settled(), &block_key(block))?;
            for Settled { id, done, .. } in forgotten.ok_or_else(missing)? {
                self.operations()?.known.remove(&id);
                let told = done.and_then(|done| self.done.remove_entry(&done.event));
                if let Some((event, (operation, position))) = told {
                    // Not acknowledged yet: it outlives the block.
                    let event_record = EventRecord::Done { operation, position };
                    self.put(records::events(), records::event_key(event), &event_record)?;
                }
            }
        }
        let operations = self.operations()?;
        // One that came by another way than a command, as a claim for a device that is linked.
        let known = operations.known.entry(id).or_insert(Known { digest: [0; 8], place: None });
        known.place = None;
        if begins {
            operations.last.clear();
        }
        operations.last.push(Settled { id, digest: known.digest, done });
        operations.changed = true;
        if self.meta.next_settled.is_multiple_of(BLOCK) { self.write_operations() } else { Ok(()) }
    }

    /// Writes what became of commands in this transaction.
    pub(crate) fn write_operations(&mut self) -> Result<(), Fault> {
        let Some(operations) = self.operations.as_mut().filter(|it| it.changed) else {
            return Ok(());
        };
        operations.changed = false;
        let block = self.meta.next_settled.saturating_sub(1) / BLOCK;
        let record = records::encode(&operations.last)?;
        lock(&self.store)?.changes()?.put(records::settled(), block_key(block), record);
        Ok(())
    }

    fn operations(&mut self) -> Result<&mut Operations, Fault> {
        let operations = match self.operations.take() {
            Some(operations) => operations,
            None => self.read_operations()?,
        };
        Ok(self.operations.insert(operations))
    }

    /// As the last commit left them: what the open transaction changes, it says. Nothing that is
    /// [kept](crate::overlay::Overlay::keep) settled a command, or they would have been read before.
    fn read_operations(&self) -> Result<Operations, Fault> {
        let store = lock(&self.store)?;
        let mut operations =
            Operations { known: BTreeMap::new(), last: Vec::new(), changed: false };
        let last = block_key(self.meta.next_settled.saturating_sub(1) / BLOCK);
        records::each(store.committed(), records::settled(), |key, block| {
            let block: Vec<Settled> = records::decode(&block)?;
            let known = block.iter().map(|it| (it.id, Known { digest: it.digest, place: None }));
            operations.known.extend(known);
            if key == last {
                operations.last = block;
            }
            Ok(())
        })?;
        let known = &mut operations.known;
        let groups = self.groups.iter();
        for (group, _) in groups.filter(|(id, it)| it.queued > 0 || self.changed.contains(id)) {
            records::each(store.committed(), &records::queue(group), |key, queued| {
                let queued: Queued = records::decode(&queued)?;
                queued.note(group, records::number(key)?, known)
            })?;
        }
        records::each(store.committed(), records::flights(), |key, flight| {
            let group = records::log_id(key)?;
            let flight: FlightRecord = records::decode(&flight)?;
            match flight.in_flight.what {
                Sent::Messages(sent) => sent
                    .iter()
                    .try_for_each(|message| message.queued.note(&group, message.number, known)),
                Sent::Commit { .. } => Ok(()),
            }
        })?;
        records::each(store.committed(), &records::requests(), |key, request| {
            let request = records::decode(&request)?;
            if let RequestRecord::Claim { operation: Some(operation), digest, .. } = request {
                let place = Some(Place::Claim(records::request_id(key)?));
                known.insert(operation, Known { digest, place });
            }
            Ok(())
        })?;
        Ok(operations)
    }
}

/// Every block up to the last one is there, but for those that others have taken the place of.
fn missing() -> StoreError {
    StoreError::corrupt("a block of settled commands is missing")
}

/// The events whose records are the blocks. Reads the blocks that have some.
pub(crate) fn done_events(store: &dyn Store, meta: &Meta) -> Result<DoneEvents, Fault> {
    let mut events = DoneEvents::new();
    let blocks = meta.next_settled.div_ceil(BLOCK);
    for block in (blocks.saturating_sub(PLACES)..blocks).rev() {
        if meta.acknowledged.saturating_add(1) >= meta.next_event {
            break;
        }
        let block: Option<Vec<Settled>> =
            records::get(store, records::settled(), &block_key(block))?;
        let before = events.len();
        let mut done = 0;
        for Settled { id, done: told, .. } in block.ok_or_else(missing)? {
            let Some(Done { event, position }) = told else { continue };
            done += 1;
            if event.0 > meta.acknowledged {
                events.insert(event, (id, position));
            }
        }
        if events.len() - before < done {
            // What is before it was acknowledged as well.
            break;
        }
    }
    Ok(events)
}
