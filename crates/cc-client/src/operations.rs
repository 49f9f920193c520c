//! Which commands were given before, by their ids: those that wait, and the last that are settled.
//!
//! A command that waits is in a queue, on its way, or in a claim, and known from there. The ids of settled
//! ones are in blocks, for a record of each would be one more of the store's pages with every message. All
//! are in memory from the first time that one is asked for.

use std::collections::BTreeMap;

use crate::{
    Fault, GroupId, OperationId, RequestId,
    overlay::lock,
    records::{self, FlightRecord, Queued, RequestRecord, Sent},
    state::State,
};

/// Settled commands of one block.
const BLOCK: u64 = 8;
/// Full blocks that are kept at least: 4096 commands.
const BLOCKS: u64 = 512;

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

/// See the module.
pub(crate) struct Operations {
    known: BTreeMap<OperationId, Known>,
    /// The block that is not full.
    last: Vec<(OperationId, CommandDigest)>,
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

    /// A command is settled, and the oldest settled ones are forgotten.
    pub(crate) fn note_settled(&mut self, id: OperationId) -> Result<(), Fault> {
        let number = self.meta.next_settled;
        self.meta.next_settled += 1;
        let (block, scope) = (number / BLOCK, records::settled());
        let begins = number.is_multiple_of(BLOCK);
        if let Some(old) = block.checked_sub(BLOCKS + 1).filter(|_| begins) {
            let key = records::key(old);
            let forgotten: Option<Vec<(OperationId, CommandDigest)>> = self.get(&scope, &key)?;
            let known = &mut self.operations()?.known;
            for (id, _) in forgotten.unwrap_or_default() {
                known.remove(&id);
            }
            self.delete(&scope, key)?;
        }
        let operations = self.operations()?;
        // One that came by another way than a command, as a claim for a device that is linked.
        let known = operations.known.entry(id).or_insert(Known { digest: [0; 8], place: None });
        known.place = None;
        if begins {
            operations.last.clear();
        }
        operations.last.push((id, known.digest));
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
        lock(&self.store)?.changes()?.put(&records::settled(), records::key(block), record);
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
        records::each(store.committed(), &records::settled(), |_, block| {
            let block: Vec<(OperationId, CommandDigest)> = records::decode(&block)?;
            let known =
                block.iter().map(|(id, digest)| (*id, Known { digest: *digest, place: None }));
            operations.known.extend(known);
            operations.last = block;
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
        records::each(store.committed(), &records::flights(), |key, flight| {
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
