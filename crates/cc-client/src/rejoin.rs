//! Falling out of step with a group, and coming back; and what any member may do, done by one.

use cc_core::{MemberId, Opaque};
use sha2::{Digest as _, Sha256};

use crate::{
    Client, Fate, Fault, GroupId, Now, Position,
    frame::{self, GroupItem, KeyPackageOffer},
    records::{self, EventRecord, PackageRecord, PersonRecord, Queued, Sent, Standing, Work},
    seat,
};

/// Requests to be added anew, one after another without success.
const MAX_REJOINS: u32 = 8;
/// Milliseconds that a member waits for a sign that it is in step, before it asks to be added anew.
const PATIENCE: u64 = 30_000;
/// Milliseconds between two members who would commit the same thing.
const TURN: u64 = 2_000;

impl Client {
    /// Who is back need not be brought back: a second time would put it out, for its key package is used.
    pub(crate) fn drop_readmissions(
        &mut self,
        group: &GroupId,
        added: &[PersonRecord],
    ) -> Result<(), Fault> {
        if added.is_empty() {
            return Ok(());
        }
        for (key, queued) in self.state.list::<Queued>(&records::queue(group), usize::MAX)? {
            let Work::Readmit(offers) = queued.work else { continue };
            let mut waits = Vec::new();
            for offer in offers {
                let bundle = seat::read_offer(&offer)?.bundle;
                let id = seat::inspect(self.group_seat(group)?, bundle.as_slice());
                if id.is_ok_and(|id| added.iter().all(|person| person.id != *id.as_bytes())) {
                    waits.push(offer);
                }
            }
            let number = crate::request::queue_number(&key)?;
            if waits.is_empty() {
                self.dequeue(group, number)?;
            } else {
                let queued = Queued { operation: queued.operation, work: Work::Readmit(waits) };
                self.state.put(&records::queue(group), records::key(number), &queued)?;
            }
        }
        Ok(())
    }

    /// The group goes on in the epoch that this member is in: it has not diverged.
    pub(crate) fn in_step(&mut self, group: &GroupId) -> Result<(), Fault> {
        let record = self.state.group(group)?;
        if !record.suspect && record.rejoins == 0 && record.standing == Standing::Member {
            return Ok(());
        }
        if matches!(record.standing, Standing::Rejoining(_)) {
            seat::cancel_rejoin(self.group_seat(group)?)?;
        }
        self.timers.suspects.remove(group);
        let record = self.state.group_mut(group)?;
        (record.suspect, record.rejoins, record.standing) = (false, 0, Standing::Member);
        Ok(())
    }

    /// Asks to be added anew, where this member has fallen out of step for long enough.
    pub(crate) fn rejoin_if_due(&mut self, group: &GroupId, now: Now) -> Result<(), Fault> {
        let record = self.state.group(group)?;
        let rejoining = matches!(record.standing, Standing::Rejoining(_));
        if !(record.suspect || rejoining) || record.rejoins >= MAX_REJOINS {
            return Ok(());
        }
        let patience = PATIENCE << record.rejoins.min(6);
        let due = *self.timers.suspects.entry(*group).or_insert(now.mono + patience);
        if due > now.mono {
            return Ok(());
        }
        self.timers.suspects.remove(group);
        self.ground(group)?;
        let bundle = seat::rejoin_package(self.group_seat(group)?, now)?;
        let record = self.state.group_mut(group)?;
        if !rejoining {
            record.standing = Standing::Rejoining(record.cursor);
        }
        record.rejoins += 1;
        let seat = record.seat.clone();
        let package = PackageRecord { seat, expires: None, rejoins: Some(*group) };
        self.state.put(&records::packages(), frame::package_digest(&bundle), &package)?;
        if !rejoining {
            self.state.emit(&EventRecord::Diverged { group: *group })?;
        }
        let mailbox = self.state.meta.mailbox;
        let item =
            frame::encode(&GroupItem::Rejoin(KeyPackageOffer { mailbox, bundle: Opaque(bundle) }))?;
        let digest = frame::item_digest(&item);
        let epoch = seat::epoch(self.group_seat(group)?);
        self.launch(group, None, vec![item], epoch, Sent::Rejoin { digest }).map(drop)
    }

    /// Somebody asks to be added anew.
    pub(crate) fn rejoin_request(
        &mut self,
        group: &GroupId,
        offer: KeyPackageOffer,
        position: Position,
        now: Now,
    ) -> Result<Fate, Fault> {
        let seat = self.group_seat(group)?;
        if !seat::may_rejoin(seat, offer.bundle.as_slice()) {
            return Ok(Fate::Malformed);
        }
        let offer = frame::encode(&offer)?;
        self.take_turn(group, Work::Readmit(vec![offer]), position, now)?;
        Ok(Fate::Request)
    }

    /// Queues what any member may do, at a time of this member's own, so that not all do it at once.
    pub(crate) fn take_turn(
        &mut self,
        group: &GroupId,
        work: Work,
        position: Position,
        now: Now,
    ) -> Result<(), Fault> {
        let rank = |id: &MemberId| -> [u8; 32] {
            let hash =
                Sha256::new().chain_update(id.as_bytes()).chain_update(position.0.to_be_bytes());
            hash.finalize().into()
        };
        let mine = rank(&self.identity.id);
        let members = seat::member_ids(self.group_seat(group)?);
        let before = members.iter().filter(|id| rank(id) < mine).count();
        let number = self.state.group(group)?.next_queued;
        let before = u64::try_from(before).unwrap_or(u64::MAX).min(30);
        self.timers.due.insert((*group, number), now.mono + before * TURN);
        self.enqueue(group, None, work)
    }
}
