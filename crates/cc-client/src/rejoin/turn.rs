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
