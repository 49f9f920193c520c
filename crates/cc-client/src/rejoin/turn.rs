//! What any member may do, done by one.

use cc_core::MemberId;
use sha2::{Digest as _, Sha256};

use crate::{Client, Fault, GroupId, Now, Position, records::Work, seat};

/// Milliseconds between two members who would commit the same thing.
const TURN: u64 = 2_000;

impl Client {
    /// How many members are to try before this one what an item of the log asks of all.
    pub(crate) fn turn_at(&mut self, group: &GroupId, position: Position) -> Result<u64, Fault> {
        let rank = |id: &MemberId| -> [u8; 32] {
            let hash =
                Sha256::new().chain_update(id.as_bytes()).chain_update(position.0.to_be_bytes());
            hash.finalize().into()
        };
        let mine = rank(&self.identity.id);
        let members = seat::member_ids(self.group_seat(group)?);
        let before = members.iter().filter(|id| rank(id) < mine).count();
        Ok(u64::try_from(before).unwrap_or(u64::MAX))
    }

    /// Queues a commit for those who have asked to leave, unless one waits: it is for all who have asked by then. Where it
    /// is on its way already, it is not.
    pub(crate) fn commit_leaves(
        &mut self,
        group: &GroupId,
        turn: u64,
        now: Now,
    ) -> Result<(), Fault> {
        let record = self.state.group(group)?;
        if let Some(number) = record.leaves {
            let sent = record.in_flight.as_ref().is_some_and(|sent| sent.what.concerns(number));
            if !sent && self.state.queued(group, number)?.is_some() {
                return Ok(());
            }
        }
        let number = self.take_turn(group, Work::CommitLeaves, turn, now)?;
        self.state.group_mut(group)?.leaves = number;
        Ok(())
    }

    /// Queues what others may do as well, after `turn` of them, so that not all do it at once; gives its number, `None`
    /// where so much waits already that nothing more is taken.
    pub(crate) fn take_turn(
        &mut self,
        group: &GroupId,
        work: Work,
        turn: u64,
        now: Now,
    ) -> Result<Option<u64>, Fault> {
        let number = self.state.group(group)?.next_queued;
        self.enqueue(group, None, work)?;
        if self.state.group(group)?.next_queued == number {
            // The next command has that number, whatever it is.
            return Ok(None);
        }
        self.timers.due.insert((*group, number), now.mono + turn.min(30) * TURN);
        Ok(Some(number))
    }
}
