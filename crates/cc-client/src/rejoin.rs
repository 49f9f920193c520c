//! Falling out of step with a group, and coming back; and what any member may do, done by one.

use cc_core::{MemberId, Opaque};
use sha2::{Digest as _, Sha256};

use crate::{
    Client, Fate, Fault, GroupId, LogId, Now, Position, Request,
    frame::{self, KeyPackageOffer, MailItem, RejoinBody, RejoinRequest},
    person,
    recipe::Role,
    records::{
        self, EventRecord, PackageRecord, PersonRecord, Queued, RequestRecord, ReturnRecord,
        Standing, Work,
    },
    seat,
};

/// Requests to be added anew, one after another without success.
pub(crate) const MAX_REJOINS: u32 = 8;
/// Milliseconds that a member waits for a sign that it is in step, before it asks to be added anew.
const PATIENCE: u64 = 30_000;
/// Milliseconds between two members who would commit the same thing.
const TURN: u64 = 2_000;
/// Members that are asked at a time; the next request goes to others.
const HELPERS: usize = 3;
/// What a device signs its request under.
const REJOIN: &str = "rejoin request";

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
        for (number, queued) in self.state.queue(group)? {
            let Work::Readmit(offers) = queued.work else { continue };
            let mut waits = Vec::new();
            for offer in offers {
                let bundle = seat::read_offer(&offer)?.bundle;
                let id = seat::package_member(self.group_seat(group)?, bundle.as_slice());
                if id.is_ok_and(|id| added.iter().all(|person| person.id != *id.as_bytes())) {
                    waits.push(offer);
                }
            }
            if waits.is_empty() {
                self.dequeue(group, number)?;
            } else {
                let queued = Queued { operation: queued.operation, work: Work::Readmit(waits) };
                self.state.put_queued(group, number, queued)?;
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
        // Requests to be added anew may still be read: by the welcome that comes of one this member is back.
        self.timers.suspects.remove(group);
        let record = self.state.group_mut(group)?;
        (record.suspect, record.rejoins, record.standing) = (false, 0, Standing::Member);
        Ok(())
    }

    /// Asks to be added anew, where this member has fallen out of step for long enough; gives the first of the
    /// requests.
    pub(crate) fn rejoin_if_due(
        &mut self,
        group: &GroupId,
        now: Now,
    ) -> Result<Option<Request>, Fault> {
        let record = self.state.group(group)?;
        let (standing, rejoins) = (record.standing, record.rejoins);
        let away = matches!(standing, Standing::Rejoining(_) | Standing::Restored(_));
        if !(record.suspect || away) || rejoins >= MAX_REJOINS {
            return Ok(None);
        }
        let at_once = matches!(standing, Standing::Restored(_)) && rejoins == 0;
        let patience = if at_once { 0 } else { PATIENCE << rejoins.min(6) };
        let due = *self.timers.suspects.entry(*group).or_insert(now.mono + patience);
        if due > now.mono {
            return Ok(None);
        }
        self.timers.suspects.remove(group);
        self.ground(group)?;
        let helpers = self.helpers(group)?;
        let record = self.state.group_mut(group)?;
        if !away {
            record.standing = Standing::Rejoining(record.cursor);
            self.state.emit(&EventRecord::Diverged { group: *group })?;
        }
        let record = self.state.group_mut(group)?;
        record.rejoins += 1;
        let first = usize::try_from(rejoins).unwrap_or(0) * HELPERS;
        let count = helpers.len().min(HELPERS);
        let chosen = helpers.iter().cycle().skip(first % helpers.len().max(1)).take(count);
        let chosen: Vec<LogId> = chosen.copied().collect();
        self.ask_helpers(group, &chosen, now)
    }

    /// Whether somebody may still answer a request to be added anew.
    pub(crate) fn may_be_readmitted(&self, group: &GroupId) -> Result<bool, Fault> {
        let packages = self.state.list::<PackageRecord>(&records::packages(), usize::MAX)?;
        Ok(packages.iter().any(|(_, package)| package.rejoins == Some(*group)))
    }

    /// Requests to be added anew to this group are over: nobody comes in by what was in them.
    pub(crate) fn forget_requests(&mut self, group: &GroupId) -> Result<(), Fault> {
        let packages = self.state.list::<PackageRecord>(&records::packages(), usize::MAX)?;
        for (digest, package) in packages {
            if package.rejoins == Some(*group) {
                self.state.delete(&records::packages(), digest)?;
            }
        }
        Ok(())
    }

    /// Asks these members, by their mailboxes, to add this one anew.
    fn ask_helpers(
        &mut self,
        group: &GroupId,
        helpers: &[LogId],
        now: Now,
    ) -> Result<Option<Request>, Fault> {
        if helpers.is_empty() {
            return Ok(None);
        }
        let (bundle, epoch) = self.bundle_to_return(group, now)?;
        let record = self.state.group_mut(group)?;
        record.asked = now.wall.max(record.asked + 1);
        let (time, joined_at, seat) = (record.asked, record.joined_at, record.seat.clone());
        let package = PackageRecord { seat, expires: None, rejoins: Some(*group) };
        self.state.put(&records::packages(), frame::package_digest(&bundle), &package)?;
        let (mailbox, key) = (self.state.meta.mailbox, self.identity.device_key()?);
        let mut first = None;
        for (turn, to) in (0..).zip(helpers) {
            let offer = KeyPackageOffer { mailbox, bundle: Opaque(bundle.clone()) };
            let body = RejoinBody { group: *group, to: *to, turn, epoch, joined_at, time, offer };
            let signature = person::sign(&key, REJOIN, &body)?;
            let item = frame::encode(&MailItem::Rejoin(RejoinRequest { body, signature }))?;
            let id = self.state.add_request(&RequestRecord::Mail { mailbox: *to, item })?;
            first = first.or(Some(id));
        }
        let Some(first) = first else { return Ok(None) };
        self.timers.offer(first, now);
        self.stored_request(first).map(Some)
    }

    /// A key package for coming back, and the epoch that this member believes to be in.
    fn bundle_to_return(&mut self, group: &GroupId, now: Now) -> Result<(Vec<u8>, u64), Fault> {
        if !matches!(self.state.group(group)?.standing, Standing::Restored(_)) {
            let bundle = seat::rejoin_package(self.group_seat(group)?, now)?;
            return Ok((bundle, seat::epoch(self.group_seat(group)?)));
        }
        if self.state.group(group)?.seat.is_empty() {
            self.state.group_mut(group)?.seat = self.new_seat(Role::Invited)?;
        }
        let (bundle, _) = seat::key_package(self.group_seat(group)?, now)?;
        Ok((bundle, 0))
    }

    /// The mailboxes of the other members, in an order of this member's own.
    fn helpers(&mut self, group: &GroupId) -> Result<Vec<LogId>, Fault> {
        let members = match self.state.group(group)?.standing {
            Standing::Restored(_) => {
                let members = self.state.get(&records::restored(), group.as_bytes())?;
                let members: Vec<[u8; 32]> = members.unwrap_or_default();
                members.into_iter().map(MemberId::from_bytes).collect()
            }
            _ => seat::member_ids(self.group_seat(group)?),
        };
        let own = self.identity.id;
        let mut helpers = Vec::new();
        for member in members.into_iter().filter(|member| *member != own) {
            let device = self.state.device(member.as_bytes())?;
            if let Some(device) = device.filter(|device| device.revocation.is_none()) {
                let order = Sha256::new()
                    .chain_update(own.as_bytes())
                    .chain_update(group.as_bytes())
                    .chain_update(member.as_bytes());
                helpers.push((order.finalize(), device.mailbox));
            }
        }
        helpers.sort_unstable();
        Ok(helpers.into_iter().map(|(_, mailbox)| mailbox).collect())
    }

    /// Somebody asks to be added anew.
    pub(crate) fn rejoin_request(
        &mut self,
        request: RejoinRequest,
        now: Now,
    ) -> Result<Fate, Fault> {
        let RejoinRequest { body, signature } = request;
        let group = body.group;
        let known = self.state.groups.get(&group);
        if body.to != self.state.meta.mailbox || known.is_none() {
            return Ok(Fate::Malformed);
        }
        if known.is_none_or(|group| group.standing != Standing::Member) {
            return Ok(Fate::Request);
        }
        let seat = self.group_seat(&group)?;
        seat.set_time(Some(now.seconds()));
        let Ok(member) = seat::package_member(seat, body.offer.bundle.as_slice()) else {
            return Ok(Fate::Malformed);
        };
        let Some(key) = seat::device_key(seat, &member) else { return Ok(Fate::Malformed) };
        if !person::signed(&key, REJOIN, &body, &signature) {
            return Ok(Fate::Forged);
        }
        if self.is_revoked(&member)? {
            return Ok(Fate::Request);
        }
        let scope = records::returns(&group);
        let mut record: ReturnRecord =
            self.state.get(&scope, member.as_bytes())?.unwrap_or_default();
        if body.time <= record.asked {
            return Ok(Fate::Duplicate);
        }
        // Of before the member was added last: it is back. Unless it has asked again since, for the welcome
        // may be lost, or its state.
        let answered = body.joined_at < record.added_at && !record.asked_since;
        (record.asked, record.asked_since) = (body.time, true);
        let under_way = self.state.group(&group)?.in_flight.as_ref();
        let under_way = under_way
            .is_some_and(|sent| record.queued.is_some_and(|number| sent.what.concerns(number)));
        if answered || under_way {
            self.state.put(&scope, *member.as_bytes(), &record)?;
            return Ok(if answered { Fate::Duplicate } else { Fate::Request });
        }
        // The latest request is answered: who asks for ever fills no queue.
        let next = self.state.group(&group)?.next_queued;
        if let Some(waits) = record.queued.replace(next) {
            self.dequeue(&group, waits)?;
        }
        self.state.put(&scope, *member.as_bytes(), &record)?;
        let offer = frame::encode(&body.offer)?;
        self.take_turn(&group, Work::Readmit(vec![offer]), body.turn.into(), now)?;
        Ok(Fate::Request)
    }

    /// Members were added at this position: what they asked before is done.
    pub(crate) fn note_additions(
        &mut self,
        group: &GroupId,
        added: &[PersonRecord],
        position: Position,
    ) -> Result<(), Fault> {
        let scope = records::returns(group);
        for person in added {
            let known: Option<ReturnRecord> = self.state.get(&scope, &person.id)?;
            let asked = known.map_or(0, |known| known.asked);
            let added_at = position;
            let record = ReturnRecord { added_at, asked, asked_since: false, queued: None };
            self.state.put(&scope, person.id, &record)?;
        }
        Ok(())
    }

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

    /// Queues what others may do as well, after `turn` of them, so that not all do it at once.
    pub(crate) fn take_turn(
        &mut self,
        group: &GroupId,
        work: Work,
        turn: u64,
        now: Now,
    ) -> Result<(), Fault> {
        let number = self.state.group(group)?.next_queued;
        self.timers.due.insert((*group, number), now.mono + turn.min(30) * TURN);
        self.enqueue(group, None, work)
    }
}

#[cfg(test)]
mod liar;
