//! Welcomes that opened, until the log that they name confirms them.
//!
//! Whoever has a key package can make a group of its own with it, and name any log. So a welcome is joined
//! in a stack of its own, and takes a place only when the log knows the token of the welcome's epoch, which
//! only a commit of a member can have told it, and has a commit where the welcome says.

use serde::{Deserialize, Serialize};

use crate::{
    Call, Client, Failure, Fate, Fault, GroupId, Item, Ledger, LogId, Now, Page, Position, Read,
    ReadAccess, Refusal, Reply, Request, RequestId,
    agenda::Target,
    frame::{self, Invitation, item_digest},
    introduction::MAX_SEALED_ROSTER_LEN,
    mail::first_message,
    records::{self, EventRecord, GroupRecord, PackageRecord, Standing},
    seat::{self, OpenedRoster, Place},
    timers::back_off,
};

/// Welcomes that wait for their logs. Past that, the one that was denied most often is given up.
const MAX_ARRIVALS: usize = 32;
/// Answers of a log that does not know the group, after which a welcome is given up: a service that was
/// behind has caught up by then.
const MAX_DENIALS: u32 = 6;

/// A welcome that opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Arrival {
    pub(crate) group: GroupId,
    /// The stack that joined by it.
    seat: String,
    /// The digest of the key package that it is for.
    package: [u8; 32],
    /// Where the commit is, as the welcome says.
    position: Position,
    /// Of the invitation: a second copy is known by it, also one that was sealed anew.
    digest: [u8; 32],
    /// Who the members are, sealed for them.
    roster: Vec<u8>,
    /// The mailbox of who invites.
    inviter: LogId,
}

/// How far an [`Arrival`] is. In memory only.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ArrivalTimer {
    /// When its log is asked (again).
    next: u64,
    attempts: u32,
    denials: u32,
}

/// What an answer of the log says of a welcome.
enum Answered {
    Confirmed,
    /// There is something else in the commit's place.
    Refuted,
    /// The log does not have the group's epoch.
    Unknown,
    /// The answer does not tell.
    Unclear,
}

impl Arrival {
    const fn place(&self) -> Place {
        Place { log: self.group, position: self.position, inviter: self.inviter }
    }

    fn answered(&self, page: &Page) -> Answered {
        if page.head < self.position {
            return Answered::Unknown;
        }
        let mut items = page.items.iter();
        match items.find(|item| item.position == self.position) {
            Some(item) if item.commit => Answered::Confirmed,
            Some(_) => Answered::Refuted,
            None if page.forgotten >= self.position => Answered::Confirmed,
            None => Answered::Unclear,
        }
    }
}

impl Client {
    /// Joins by a welcome for this key package, in a stack of its own, which waits for the log's word.
    pub(crate) fn await_log(
        &mut self,
        item: &Item,
        package: &PackageRecord,
        invitation: &Invitation,
    ) -> Result<Fate, Fault> {
        if invitation.roster.0.len() > MAX_SEALED_ROSTER_LEN {
            // It is kept with others, until their logs answer.
            return Ok(Fate::Malformed);
        }
        let (at, digest) = (item.position, item_digest(&frame::encode(invitation)?));
        if self.state.arrivals.values().any(|arrival| arrival.digest == digest) {
            return Ok(Fate::Duplicate);
        }
        let Some(seat) = self.join_by(package, invitation.welcome.as_slice())? else {
            return Ok(Fate::Forged);
        };
        let arrival = Arrival {
            group: invitation.log,
            seat,
            package: invitation.package,
            position: invitation.position,
            digest,
            roster: invitation.roster.as_slice().to_vec(),
            inviter: invitation.inviter.mailbox(),
        };
        // A welcome does not name its log. Somebody in its epoch does, in the roster.
        let roster = seat::open_roster(
            self.seat(&arrival.seat)?,
            &arrival.place(),
            invitation.roster.as_slice(),
        )?;
        if roster == OpenedRoster::Foreign {
            self.erase_seat(&arrival.seat)?;
            return Ok(Fate::Misaddressed);
        }
        // A mailbox that was put back to an old copy has two items of one position.
        self.drop_arrival(at)?;
        self.state.put(&records::arrivals(), records::key(at.0), &arrival)?;
        self.state.arrivals.insert(at, arrival);
        self.timers.agenda.touch(Target::Arrival(at));
        Ok(Fate::Early)
    }

    /// Gives up a welcome where there are too many: one whose log does not know it, or else the oldest.
    pub(crate) fn make_room_for_arrival(&mut self, ledger: &mut Ledger) -> Result<(), Fault> {
        while self.state.arrivals.len() >= MAX_ARRIVALS {
            let denials = |at: &Position| self.timers.arrivals.get(at).map_or(0, |it| it.denials);
            let worst = self.state.arrivals.keys().rev().max_by_key(|at| denials(at)).copied();
            let Some(worst) = worst else { break };
            self.end_arrival(worst, Fate::Unconfirmed, ledger)?;
        }
        Ok(())
    }

    /// The read by which the log of a welcome tells whether it knows the group.
    pub(crate) fn poll_arrival(
        &mut self,
        at: Position,
        now: Now,
    ) -> Result<Option<Request>, Fault> {
        let Some(Arrival { group, seat, position, .. }) = self.state.arrivals.get(&at).cloned()
        else {
            self.timers.arrivals.remove(&at);
            return Ok(None);
        };
        let timer = self.timers.arrivals.entry(at).or_default();
        if timer.next > now.mono {
            return Ok(None);
        }
        timer.next = now.mono.saturating_add(back_off(timer.attempts));
        timer.attempts = timer.attempts.saturating_add(1);
        let token = seat::access(self.seat(&seat)?, &group)?;
        let token = token.ok_or(Fault::Recipe("a stack that joined is in no group"))?;
        let id = RequestId::random()?;
        self.timers.arrival_reads.retain(|_, other| *other != at);
        self.timers.arrival_reads.insert(id, at);
        let after = Position(position.0.saturating_sub(1));
        let access = ReadAccess::Token(token);
        Ok(Some(Request { id, call: Call::Read(Read { log: group, after, access }) }))
    }

    /// When a welcome's log is to be asked again.
    pub(crate) fn arrival_due(&self, at: Position) -> Option<u64> {
        self.timers.arrivals.get(&at).map(|timer| timer.next)
    }

    /// Takes the answer to [`poll_arrival`](Self::poll_arrival); `false` where the request was another one.
    pub(crate) fn arrival_answered(
        &mut self,
        id: RequestId,
        result: &Result<Reply, Failure>,
        now: Now,
        ledger: &mut Ledger,
    ) -> Result<bool, Fault> {
        let Some(at) = self.timers.arrival_reads.remove(&id) else { return Ok(false) };
        self.timers.agenda.touch(Target::Arrival(at));
        let Some(arrival) = self.state.arrivals.get(&at).cloned() else { return Ok(true) };
        let (answered, page) = match result {
            Ok(Reply::Page(page)) => (arrival.answered(page), Some(page)),
            Err(Failure::Refused(Refusal::Denied | Refusal::Gone)) => (Answered::Unknown, None),
            Err(Failure::Refused(Refusal::Busy { retry_after })) => {
                let timer = self.timers.arrivals.entry(at).or_default();
                timer.next = now.mono.saturating_add(*retry_after);
                (Answered::Unclear, None)
            }
            _ => (Answered::Unclear, None),
        };
        let fate = match answered {
            Answered::Unclear => Fate::Early,
            Answered::Refuted => Fate::Unconfirmed,
            Answered::Unknown => {
                let timer = self.timers.arrivals.entry(at).or_default();
                timer.denials = timer.denials.saturating_add(1);
                if timer.denials < MAX_DENIALS { Fate::Early } else { Fate::Unconfirmed }
            }
            Answered::Confirmed => self.arrive(at, &arrival, now)?,
        };
        if fate == Fate::Joined {
            // Its stack is in use from now on.
            self.forget_arrival(at)?;
            if let Some(page) = page {
                self.page_now(&arrival.group, page, now, ledger)?;
            }
            self.end_with(at, fate, ledger)?;
            self.drop_arrivals_of(&arrival.package, ledger)?;
            return Ok(true);
        }
        // The answer was read for this welcome alone.
        let cursor = self.cursor(&arrival.group).unwrap_or_default();
        let items = page.map(|page| page.items.as_slice()).unwrap_or_default();
        for item in items {
            let fate = if item.position <= cursor { Fate::Duplicate } else { Fate::Early };
            ledger.fates.push((arrival.group, item.position, fate));
        }
        if fate.is_final() {
            self.end_arrival(at, fate, ledger)?;
        }
        Ok(true)
    }

    /// The log confirms a welcome: its stack takes the place in the group, if the place is free, or if this
    /// member is out of step or asked for it.
    fn arrive(&mut self, at: Position, arrival: &Arrival, now: Now) -> Result<Fate, Fault> {
        let package: Option<PackageRecord> =
            self.state.get(&records::packages(), &arrival.package)?;
        let Some(package) = package else {
            let unwanted = self.is_withdrawn(&arrival.package)?;
            return Ok(if unwanted { Fate::Request } else { Fate::OrphanWelcome });
        };
        let (group, position) = (arrival.group, arrival.position);
        if !self.is_same_group(&group, &arrival.seat)? {
            return Ok(Fate::Misaddressed);
        }
        match (&package.asked, self.state.groups.get(&group)) {
            (Some(asked), Some(record)) => {
                // Of a request that was made before this member came in last: behind that alone.
                let late = asked.joined_at != record.joined_at && position <= record.joined_at;
                let over = record.standing == Standing::Removed && position < record.cursor;
                if late || over {
                    return Ok(Fate::Duplicate);
                }
                self.return_to(arrival, now)?;
            }
            (None, Some(record)) if record.standing == Standing::Member => {
                // Of who was removed and invited again, and has not read the removal yet.
                let later = position > record.cursor;
                return Ok(if later { Fate::Early } else { Fate::Duplicate });
            }
            // Of a stay before the last one, which its log confirms only now: to the last it was removed after.
            (None, Some(record))
                if record.standing == Standing::Removed && position < record.cursor =>
            {
                return Ok(Fate::Duplicate);
            }
            // Of who is out of step, and was removed and invited again.
            (None, Some(record)) if record.standing.is_away() => {
                if position <= record.joined_at {
                    return Ok(Fate::Duplicate);
                }
                self.return_to(arrival, now)?;
            }
            // By an invitation, or asked for because one could not be opened.
            (_, None) | (None, Some(_)) => {
                self.enter(arrival, now)?;
                // Who was invited by one of its own devices is not the first of them.
                let by = self.state.owners_of(&arrival.inviter)?;
                let own = self.state.own_contact()?.devices;
                if by.iter().all(|by| !own.contains(by)) {
                    self.invite_own_devices(&group)?;
                }
            }
        }
        self.learn_roster(at, arrival, now)?;
        self.use_package(&arrival.package, &package)?;
        let timer = self.timers.log(&group);
        timer.caught_up = false;
        timer.next_poll = now.mono;
        Ok(Fate::Joined)
    }

    /// Whether the stack is in the MLS group that this member's place was in, where there is such a place.
    pub(super) fn is_same_group(&mut self, group: &GroupId, seat: &str) -> Result<bool, Fault> {
        let Some(record) = self.state.groups.get(group) else { return Ok(true) };
        let before = match (record.standing, record.seat.clone()) {
            (Standing::Restored(_), _) => self.restored(group)?.mls_group,
            (_, name) if name.is_empty() => None,
            (_, name) => seat::mls_group(self.seat(&name)?),
        };
        let now = seat::mls_group(self.seat(seat)?);
        Ok(before.is_none_or(|before| now == Some(before)))
    }

    /// Into a group for the first time, or again after a removal.
    fn enter(&mut self, arrival: &Arrival, now: Now) -> Result<(), Fault> {
        let group = arrival.group;
        let title = seat::title(self.seat(&arrival.seat)?);
        let mut record = GroupRecord::new(title.clone(), arrival.seat.clone(), arrival.position);
        record.next_message = first_message(now);
        // Also where the clock went back since: who was asked takes no request that is not later than the last one.
        record.asked = self.latest_request(&group)?;
        if let Some(former) = self.state.groups.get(&group).cloned() {
            // What waits for a welcome with it goes with it. Requests that were made because of this addition may
            // still be read: by the welcome that comes of one this member is back.
            self.forget_requests_before(&group, arrival.position)?;
            if !former.seat.is_empty() {
                self.erase_seat(&former.seat)?;
            }
            record.next_queued = former.next_queued;
            record.next_message = record.next_message.max(former.next_message);
        }
        self.state.add_group(group, record);
        self.state.emit(&EventRecord::Entered { group, name: title })?;
        self.introduce(&group)
    }

    /// Back into a group, in the place of the stack that was out of step.
    fn return_to(&mut self, arrival: &Arrival, now: Now) -> Result<(), Fault> {
        let Arrival { group, position, .. } = *arrival;
        self.ground(&group)?;
        self.drop_all_readmissions(&group)?;
        let former = self.state.group(&group)?.seat.clone();
        if !former.is_empty() {
            self.erase_seat(&former)?;
        }
        let record = self.state.group_mut(&group)?;
        let from = match record.standing {
            Standing::Rejoining(from) => from,
            Standing::Restored(from) => {
                // There is nothing of before that could be read.
                (record.cursor, record.last_commit) = (position, position);
                from
            }
            Standing::Member | Standing::Removed => record.cursor,
        };
        // What was sent since the commit by which this member came back is to be read. Whatever was
        // read behind it so far was too early, or of another log that the service showed.
        let held = if record.cursor > position {
            (record.cursor, record.last_commit) = (position, position);
            core::mem::take(&mut record.held)
        } else {
            Vec::new()
        };
        record.seat.clone_from(&arrival.seat);
        (record.standing, record.joined_at) = (Standing::Member, position);
        (record.suspect, record.rejoins) = (false, 0);
        (record.replaced, record.request_expired) = (false, false);
        record.next_message = record.next_message.max(first_message(now));
        for (held, _) in held {
            self.state.delete(&records::held(&group), records::key(held.0))?;
        }
        self.state.set_access(&group, None)?;
        self.timers.suspects.remove(&group);
        self.state.delete(&records::restored(), *group.as_bytes())?;
        self.forget_offers(&group)?;
        self.state.emit(&EventRecord::Repaired { group, from, to: position })?;
        self.introduce(&group)
    }

    /// What the inviter says of the members, as far as it verifies. The rest is told: it is no reason to stay
    /// outside.
    fn learn_roster(&mut self, at: Position, arrival: &Arrival, now: Now) -> Result<(), Fault> {
        let group = arrival.group;
        let roster =
            seat::open_roster(self.group_seat(&group)?, &arrival.place(), &arrival.roster)?;
        let (mut genuine, updates) = match roster {
            OpenedRoster::Genuine(roster) => (true, roster.0),
            OpenedRoster::Malformed | OpenedRoster::Foreign => (false, Vec::new()),
        };
        for update in updates {
            genuine &= self.learn(&group, update, now)?;
        }
        if genuine { Ok(()) } else { self.tell(&self.mailbox(), at, Fate::Forged) }
    }

    /// Other welcomes for a key package that is used up.
    fn drop_arrivals_of(&mut self, package: &[u8; 32], ledger: &mut Ledger) -> Result<(), Fault> {
        if self.state.get::<PackageRecord>(&records::packages(), package)?.is_some() {
            return Ok(());
        }
        let arrivals = self.state.arrivals.iter();
        let same = arrivals.filter(|(_, arrival)| arrival.package == *package);
        for at in same.map(|(at, _)| *at).collect::<Vec<_>>() {
            self.end_arrival(at, Fate::OrphanWelcome, ledger)?;
        }
        Ok(())
    }

    /// Nothing comes of a welcome.
    fn end_arrival(&mut self, at: Position, fate: Fate, ledger: &mut Ledger) -> Result<(), Fault> {
        self.drop_arrival(at)?;
        self.end_with(at, fate, ledger)
    }

    fn end_with(&mut self, at: Position, fate: Fate, ledger: &mut Ledger) -> Result<(), Fault> {
        let mailbox = self.mailbox();
        self.tell(&mailbox, at, fate)?;
        ledger.fates.push((mailbox, at, fate));
        Ok(())
    }

    fn drop_arrival(&mut self, at: Position) -> Result<(), Fault> {
        match self.forget_arrival(at)? {
            Some(arrival) => self.erase_seat(&arrival.seat),
            None => Ok(()),
        }
    }

    fn forget_arrival(&mut self, at: Position) -> Result<Option<Arrival>, Fault> {
        self.timers.arrivals.remove(&at);
        let arrival = self.state.arrivals.remove(&at);
        if arrival.is_some() {
            self.state.delete(&records::arrivals(), records::key(at.0))?;
        }
        Ok(arrival)
    }

    /// This member is no longer in the group: a welcome that leads back is looked at now.
    pub(crate) fn retry_arrivals(&mut self, group: &GroupId) {
        let arrivals = self.state.arrivals.iter().filter(|(_, arrival)| arrival.group == *group);
        for (at, _) in arrivals {
            self.timers.arrivals.remove(at);
            self.timers.agenda.touch(Target::Arrival(*at));
        }
    }

    /// Whether a welcome waits for its log that was not denied by it.
    pub(crate) fn awaits_log(&self) -> bool {
        let denied = |at| self.timers.arrivals.get(at).is_some_and(|timer| timer.denials > 0);
        self.state.arrivals.keys().any(|at| !denied(at))
    }
}

#[cfg(test)]
mod liar;
#[cfg(test)]
mod misaddressed;
