//! Commands of groups that wait, in order. Which there are is in memory, for those groups that were asked
//! for; what they say is in the store, but for those that came with the open transaction: a message that goes
//! out at once is never written here.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Fault, GroupId,
    overlay::lock,
    records::{self, Queued},
    state::State,
};

/// See the module.
#[derive(Default)]
pub(crate) struct Queues {
    numbers: BTreeMap<GroupId, BTreeSet<u64>>,
    /// Commands that came with the open transaction, and whether the store has others in their places.
    new: BTreeMap<(GroupId, u64), (Queued, bool)>,
}

impl State {
    /// The numbers of the first commands that wait in a group, in order.
    pub(crate) fn waiting(&mut self, group: &GroupId, limit: usize) -> Result<Vec<u64>, Fault> {
        Ok(self.numbers(group)?.iter().take(limit).copied().collect())
    }

    /// All commands that wait in a group, in order.
    pub(crate) fn queue(&mut self, group: &GroupId) -> Result<Vec<(u64, Queued)>, Fault> {
        let mut queue = Vec::new();
        for number in self.waiting(group, usize::MAX)? {
            queue.extend(self.queued(group, number)?.map(|queued| (number, queued)));
        }
        Ok(queue)
    }

    /// A command that waits, if it does.
    pub(crate) fn queued(&mut self, group: &GroupId, number: u64) -> Result<Option<Queued>, Fault> {
        if !self.numbers(group)?.contains(&number) {
            return Ok(None);
        }
        match self.queues.new.get(&(*group, number)) {
            Some((queued, _)) => Ok(Some(queued.clone())),
            None => self.get(&records::queue(group), &records::key(number)),
        }
    }

    /// Puts a command into its place, where it takes that of another.
    pub(crate) fn put_queued(
        &mut self,
        group: &GroupId,
        number: u64,
        queued: Queued,
    ) -> Result<(), Fault> {
        let there = !self.numbers(group)?.insert(number);
        let stored = self.queues.new.get(&(*group, number)).map_or(there, |(_, stored)| *stored);
        self.queues.new.insert((*group, number), (queued, stored));
        Ok(())
    }

    /// Takes a command out; `false` where it does not wait.
    pub(crate) fn forget_queued(&mut self, group: &GroupId, number: u64) -> Result<bool, Fault> {
        if !self.numbers(group)?.remove(&number) {
            return Ok(false);
        }
        if self.queues.new.remove(&(*group, number)).is_none_or(|(_, stored)| stored) {
            self.delete(&records::queue(group), records::key(number))?;
        }
        Ok(true)
    }

    /// Writes what came with this transaction and still waits.
    pub(crate) fn write_queues(&mut self) -> Result<(), Fault> {
        for ((group, number), (queued, _)) in core::mem::take(&mut self.queues.new) {
            self.put(&records::queue(&group), records::key(number), &queued)?;
        }
        Ok(())
    }

    fn numbers(&mut self, group: &GroupId) -> Result<&mut BTreeSet<u64>, Fault> {
        if !self.queues.numbers.contains_key(group) {
            let mut numbers = BTreeSet::new();
            records::each(&*lock(&self.store)?, &records::queue(group), |key, _| {
                numbers.insert(records::number(key)?);
                Ok(())
            })?;
            self.queues.numbers.insert(*group, numbers);
        }
        Ok(self.queues.numbers.entry(*group).or_default())
    }
}
