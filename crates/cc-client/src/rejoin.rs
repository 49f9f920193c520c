//! Falling out of step with a group, and coming back.

use std::collections::BTreeSet;

use cc_core::{MemberId, Opaque};
use sha2::{Digest as _, Sha256};

use crate::{
    Client, Fault, GroupId, Now, Position, Request, RequestId,
    agenda::Target,
    frame::{self, KeyPackageOffer, Mail, RejoinBody, RejoinRequest},
    mail::MailAddress,
    person,
    recipe::Role,
    records::{self, Asked, EventRecord, PackageRecord, RestoredGroup, Standing},
    seat,
};

mod answering;
mod newcomer;
pub(crate) mod offer;
mod turn;

/// With so many requests to be added anew, one after another without success, it is told.
const MAX_REJOINS: u32 = 8;
/// In place of their number: this member waits for a welcome, and asks for none.
const ASKS_FOR_NOTHING: u32 = u32::MAX;
/// Milliseconds that a member waits for a sign that it is in step, before it asks to be added anew. Twice as long
/// after each request without success, as often as this: up to 17 hours.
const PATIENCE: u64 = 30_000;
const MAX_DOUBLINGS: u32 = 11;
/// The same while there are offers that were not made use of: up to 32 minutes.
const MAX_DOUBLINGS_OFFERED: u32 = 6;
/// Members that are asked for the first time by one request, and for the second time by the next one.
const HELPERS: usize = 3;
/// Members of one group that were asked and whose welcomes may still come.
const MAX_REQUESTS_KEPT: usize = 64;
/// What a device signs its request under.
const REJOIN: &str = "rejoin request";

impl Client {
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
        if !(record.suspect || away) {
            return Ok(None);
        }
        if rejoins == ASKS_FOR_NOTHING {
            return self.give_up_if_due(group, now).map(|()| None);
        }
        let due = match self.timers.suspects.get(group) {
            Some(due) => *due,
            None => {
                let due = self.next_rejoin(group, now)?;
                self.timers.suspects.insert(*group, due);
                due
            }
        };
        if due > now.mono {
            return Ok(None);
        }
        self.timers.suspects.remove(group);
        self.ground(group)?;
        let mut helpers = self.offers_to_use(group, now)?;
        for helper in helpers_of_round(&self.helpers(group, now)?, rejoins) {
            // Not by the mailbox, which a device that somebody made up may say is its own.
            if helpers.iter().all(|known| known.body.member != helper.body.member) {
                helpers.push(helper);
            }
        }
        let record = self.state.group_mut(group)?;
        record.rejoins = rejoins.saturating_add(1).min(ASKS_FOR_NOTHING - 1);
        if helpers.is_empty() {
            // There may be somebody later.
            record.asked = now.wall.max(record.asked + 1);
        }
        let stranded = record.rejoins == MAX_REJOINS;
        if !away {
            record.standing = Standing::Rejoining(record.cursor);
            self.state.emit(&EventRecord::Diverged { group: *group })?;
        }
        if stranded {
            self.state.emit(&EventRecord::Stranded { group: *group })?;
        }
        self.ask_helpers(group, &helpers, now)
    }

    /// When the next request to be added anew is due. What passed since the last one counts, also where that was
    /// before a restart.
    fn next_rejoin(&self, group: &GroupId, now: Now) -> Result<u64, Fault> {
        let record = self.state.group(group)?;
        let doublings = match record.rejoins {
            0 => {
                let at_once = matches!(record.standing, Standing::Restored(_));
                return Ok(now.mono.saturating_add(if at_once { 0 } else { PATIENCE }));
            }
            rejoins if self.has_offers_to_use(group)? => rejoins.min(MAX_DOUBLINGS_OFFERED),
            rejoins => rejoins.min(MAX_DOUBLINGS),
        };
        let passed = now.wall.saturating_sub(record.asked);
        Ok(now.mono.saturating_add((PATIENCE << doublings).saturating_sub(passed)))
    }

    /// There is a member to ask that was not asked yet: it may be asked earlier than the next request was due.
    pub(crate) fn hasten_rejoin(&mut self, group: &GroupId, now: Now) -> Result<(), Fault> {
        // Who asks for nothing waits there for its welcome, and then gives up.
        let asks = self.state.group(group)?.rejoins != ASKS_FOR_NOTHING;
        if let Some(due) = self.timers.suspects.get(group).copied().filter(|_| asks) {
            let next = self.next_rejoin(group, now)?;
            self.timers.suspects.insert(*group, next.min(due));
            self.timers.agenda.touch(Target::Log(*group));
        }
        Ok(())
    }

    /// The log says that this member was removed and added anew at once. Where it has asked for that, its
    /// welcome is on its way, also where it came back into step before somebody read the request; `false`
    /// where it has not.
    ///
    /// Of a request that was made before this member came in last, which a service withheld, the welcome is
    /// waited for, but none is asked for: it may be a copy of this device elsewhere that asked.
    /// Of one whose key package has expired since it came in, the welcome does not open: it asks for another one.
    pub(crate) fn readmitted(&mut self, group: &GroupId) -> Result<bool, Fault> {
        let asked = self.requests_of(group)?;
        let expired = self.state.group(group)?.request_expired;
        if asked.is_empty() && !expired {
            return Ok(false);
        }
        let members = self.known_members(group)?;
        let mls_group = seat::mls_group(self.group_seat(group)?);
        let known = RestoredGroup { members, mls_group };
        self.state.put(&records::restored(), *group.as_bytes(), &known)?;
        let record = self.state.group_mut(group)?;
        if record.standing == Standing::Member {
            record.standing = Standing::Rejoining(record.cursor);
            let of_before = |(_, it): &(_, PackageRecord)| !it.is_asked_from(record.joined_at);
            if !expired && asked.iter().all(of_before) {
                record.rejoins = ASKS_FOR_NOTHING;
            }
        }
        Ok(true)
    }

    /// A member that was removed, and whose welcome does not come, is out.
    fn give_up_if_due(&mut self, group: &GroupId, now: Now) -> Result<(), Fault> {
        let Standing::Rejoining(removed_at) = self.state.group(group)?.standing else {
            return Ok(());
        };
        if self.group_seat(group)?.epoch().is_some() {
            return Ok(());
        }
        let due = *self.timers.suspects.entry(*group).or_insert(now.mono + 2 * PATIENCE);
        if due <= now.mono {
            self.timers.suspects.remove(group);
            self.ground(group)?;
            self.abandon(group, "removed from the group")?;
            self.end_links_of(group)?;
            // Should the welcome come after all, what is behind it is still to be read.
            let record = self.state.group_mut(group)?;
            (record.standing, record.cursor) = (Standing::Removed, removed_at);
            record.replaced = true;
            self.retry_arrivals(group);
        }
        Ok(())
    }

    /// Requests to be added anew that somebody may still answer, with the digests of their key packages,
    /// oldest first.
    fn requests_of(&self, group: &GroupId) -> Result<Vec<(Vec<u8>, PackageRecord)>, Fault> {
        let packages = self.state.list::<PackageRecord>(&records::packages(), usize::MAX)?;
        let of_group = |package: &PackageRecord| package.asked.is_some_and(|it| it.group == *group);
        let mut asked: Vec<_> = packages.into_iter().filter(|(_, it)| of_group(it)).collect();
        asked.sort_by_key(|(_, package)| package.asked.map(|asked| asked.time));
        Ok(asked)
    }

    /// What the latest request to be added anew to this group had as its time, as far as is known; 0 for none.
    pub(crate) fn latest_request(&self, group: &GroupId) -> Result<u64, Fault> {
        let known = self.state.groups.get(group).map_or(0, |record| record.asked);
        let asked = self.requests_of(group)?;
        let last = asked.last().and_then(|(_, package)| package.asked);
        Ok(known.max(last.map_or(0, |asked| asked.time)))
    }

    /// The key package in a request is gone, by a clock that is ahead: who reads the request all the same adds this member
    /// anew for it, and not for a copy elsewhere.
    pub(crate) fn note_expired_request(&mut self, group: &GroupId) -> Result<(), Fault> {
        if self.state.groups.contains_key(group) {
            self.state.group_mut(group)?.request_expired = true;
        }
        Ok(())
    }

    /// Requests to be added anew to this group are over, and nobody comes in by what was in them: those from before
    /// this device was added at this position. Who is asked may not know where that was.
    pub(crate) fn forget_requests_before(
        &mut self,
        group: &GroupId,
        added_at: Position,
    ) -> Result<(), Fault> {
        for (digest, package) in self.requests_of(group)? {
            if package.is_asked_from(added_at) || package.is_asked_from(Position::START) {
                continue;
            }
            self.state.delete(&records::packages(), digest)?;
            self.erase_seat(&package.seat)?;
        }
        Ok(())
    }

    /// Requests to be added anew to this group are over: nobody comes in by what was in them.
    fn forget_requests(&mut self, group: &GroupId) -> Result<(), Fault> {
        for (digest, package) in self.requests_of(group)? {
            self.state.delete(&records::packages(), digest)?;
            self.erase_seat(&package.seat)?;
        }
        Ok(())
    }

    /// Forgets the oldest requests, where there are more than `most` with `more` new ones.
    fn forget_old_requests(
        &mut self,
        group: &GroupId,
        more: usize,
        most: usize,
    ) -> Result<(), Fault> {
        let asked = self.requests_of(group)?;
        let surplus = (asked.len() + more).saturating_sub(most);
        for (digest, package) in asked.into_iter().take(surplus) {
            self.state.delete(&records::packages(), digest)?;
            self.erase_seat(&package.seat)?;
        }
        Ok(())
    }

    /// What is known of a group without its stack.
    pub(crate) fn restored(&self, group: &GroupId) -> Result<RestoredGroup, Fault> {
        Ok(self.state.get(&records::restored(), group.as_bytes())?.unwrap_or_default())
    }

    /// Asks these members, by their mailboxes, to add this one anew.
    fn ask_helpers(
        &mut self,
        group: &GroupId,
        helpers: &[MailAddress],
        now: Now,
    ) -> Result<Option<Request>, Fault> {
        if helpers.is_empty() {
            return Ok(None);
        }
        self.forget_old_requests(group, helpers.len(), MAX_REQUESTS_KEPT)?;
        // Where the network is away, no more waits for it than the latest request.
        for id in core::mem::take(&mut self.state.group_mut(group)?.asking) {
            self.timers.offers.remove(&id);
            self.state.end_request(id)?;
        }
        if !matches!(self.state.group(group)?.standing, Standing::Restored(_)) {
            seat::discard(self.group_seat(group)?)?;
        }
        let record = self.state.group_mut(group)?;
        record.asked = now.wall.max(record.asked + 1);
        let (time, joined_at) = (record.asked, record.joined_at);
        let asked = Asked { group: *group, joined_at, time };
        let mut asking = Vec::new();
        for (turn, helper) in (0..).zip(helpers) {
            asking.extend(self.ask(helper, asked, turn, now)?);
        }
        let Some(first) = asking.first().copied() else { return Ok(None) };
        self.state.group_mut(group)?.asking = asking;
        self.timers.offer(first, now);
        self.stored_request(first).map(Some)
    }

    /// Asks one member to add this one anew: `turn` others are to have tried before.
    fn ask(
        &mut self,
        to: &MailAddress,
        asked: Asked,
        turn: u8,
        now: Now,
    ) -> Result<Option<RequestId>, Fault> {
        // A stack of its own, which joins by the welcome: that of the group stays as it is until then. And one for
        // each who is asked: who did not read that the member is back puts it out, and its welcome has to open.
        let seat = self.new_seat(Role::Invited)?;
        let latest = self.latest_address()?;
        let (bundle, expires) = seat::key_package(self.seat(&seat)?, latest, now)?;
        let package = PackageRecord { seat, expires, asked: Some(asked) };
        self.state.put(&records::packages(), frame::package_digest(&bundle), &package)?;
        let offer = KeyPackageOffer { address: self.mail_address()?, bundle: Opaque(bundle) };
        let Asked { group, joined_at, time } = asked;
        let body = RejoinBody { group, to: to.mailbox(), turn, joined_at, time, offer };
        let signature = person::sign(&self.identity.device_key()?, REJOIN, &body)?;
        self.send_mail(to, &Mail::Rejoin(RejoinRequest { body, signature }))
    }

    /// The addresses of the other members, in an order of this member's own: those that they told, or else those
    /// at which this member invited them. And those of this person's other devices, which may have come since.
    fn helpers(&mut self, group: &GroupId, now: Now) -> Result<Vec<MailAddress>, Fault> {
        let members = match self.state.group(group)?.standing {
            Standing::Restored(_) => Vec::new(),
            _ => seat::member_ids(self.group_seat(group)?),
        };
        let restored = if members.is_empty() { self.restored(group)?.members } else { Vec::new() };
        let members = members.into_iter().chain(restored.into_iter().map(MemberId::from_bytes));
        let own = self.identity.id;
        let devices = self.state.own_contact()?.devices.into_iter().map(MemberId::from_bytes);
        let members: BTreeSet<MemberId> = members.chain(devices).collect();
        let mut helpers = Vec::new();
        for member in members.into_iter().filter(|member| *member != own) {
            if let Some(address) = self.address_of(group, &member, now)? {
                let order = Sha256::new()
                    .chain_update(own.as_bytes())
                    .chain_update(group.as_bytes())
                    .chain_update(member.as_bytes());
                helpers.push((order.finalize(), address));
            }
        }
        helpers.sort_unstable_by_key(|(order, _)| *order);
        Ok(helpers.into_iter().map(|(_, address)| address).collect())
    }

    /// Where a member is asked: at the address that it told, or else the one at which this member invited it, if its leaf does
    /// not say that it had a later one. `None` for a device that was revoked as well.
    fn address_of(
        &mut self,
        group: &GroupId,
        member: &MemberId,
        now: Now,
    ) -> Result<Option<MailAddress>, Fault> {
        let device = self.state.device(member.as_bytes())?;
        if device.as_ref().is_some_and(|device| device.revocation.is_some()) {
            return Ok(None);
        }
        let told = device.map(|device| device.address()).transpose()?.flatten();
        let invited_at = self.return_record(group, member.as_bytes())?.invited_at;
        let invited_at = invited_at.and_then(|address| frame::decode(&address).ok());
        for address in told.into_iter().chain(invited_at) {
            if !self.is_outdated(group, &address, now)? {
                return Ok(Some(address));
            }
        }
        Ok(None)
    }
}

/// Whom a request goes to, by how many there were before it: those who are next in turn, and those of the
/// request before once more. Who saw the member being added takes its first request for one of before that, and
/// the second one for what it is: the welcome was lost.
fn helpers_of_round<T: Clone + PartialEq>(helpers: &[T], round: u32) -> Vec<T> {
    let first = usize::try_from(round).unwrap_or(0) * HELPERS;
    let mut chosen = Vec::new();
    for at in (first..first + HELPERS).chain(first.saturating_sub(HELPERS)..first) {
        let helper = helpers.get(at % helpers.len().max(1));
        chosen.extend(helper.filter(|helper| !chosen.contains(*helper)).cloned());
    }
    chosen
}

impl PackageRecord {
    /// Whether it was made to come back from where this member came in.
    fn is_asked_from(&self, joined_at: Position) -> bool {
        self.asked.is_some_and(|asked| asked.joined_at == joined_at)
    }
}

#[cfg(test)]
mod liar;
#[cfg(test)]
mod lost;
#[cfg(test)]
mod withheld;
