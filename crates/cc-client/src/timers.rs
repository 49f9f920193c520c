//! What is to be tried when. In memory only: after a restart everything is due.

use std::collections::BTreeMap;

use crate::{
    GroupId, LogId, Now, Position, RefreshPolicy, RequestId,
    agenda::{Agenda, Target},
    arrival::ArrivalTimer,
    positions::{Appended, PendingRead},
};

/// Milliseconds until a request without an answer is offered again, at first and at the most.
const RETRY: u64 = 5_000;
const MAX_RETRY: u64 = 60_000;

/// Milliseconds between two reads of a log in which nothing is known to be new, unless set otherwise.
const POLL: u64 = 1_000;

/// Milliseconds between two requests to be added anew to a group of which nothing is known, and groups to which
/// that is asked in that time.
const NEWCOMER: u64 = 12 * 3_600_000;
const MAX_NEWCOMER: usize = 8;

pub(crate) struct Timers {
    /// What is looked at next.
    pub(crate) agenda: Agenda,
    /// Milliseconds between two reads of a log in which nothing is known to be new.
    pub(crate) poll: u64,
    pub(crate) logs: BTreeMap<LogId, LogTimer>,
    /// Other devices of this person are invited to the groups that this one comes into.
    pub(crate) devices_follow: bool,
    /// When members renew their own secrets.
    pub(crate) refresh: Option<RefreshPolicy>,
    /// No group begins with that before.
    pub(crate) next_refresh: u64,
    /// Nor with looking of whom nothing is heard.
    pub(crate) next_look_around: u64,
    /// Until when nobody is asked to be added anew to groups of which nothing is known.
    pub(crate) newcomer: BTreeMap<GroupId, u64>,
    /// Reads that were handed out.
    pub(crate) reads: BTreeMap<RequestId, PendingRead>,
    /// Welcomes that wait for their logs, by their places in the mailbox, and the reads that ask the logs.
    pub(crate) arrivals: BTreeMap<Position, ArrivalTimer>,
    pub(crate) arrival_reads: BTreeMap<RequestId, Position>,
    pub(crate) offers: BTreeMap<RequestId, Offer>,
    /// Where the service said that the last item of what is in flight is.
    pub(crate) appended: BTreeMap<RequestId, Appended>,
    /// How often the service said that it took something.
    pub(crate) appends: u64,
    /// When what the client does of itself is due, by the number of the command.
    pub(crate) due: BTreeMap<(GroupId, u64), u64>,
    /// When a member that may have fallen out of step asks to be added anew.
    pub(crate) suspects: BTreeMap<GroupId, u64>,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            agenda: Agenda::default(),
            poll: POLL,
            devices_follow: true,
            refresh: Some(RefreshPolicy::default()),
            next_refresh: 0,
            next_look_around: 0,
            newcomer: BTreeMap::new(),
            logs: BTreeMap::new(),
            reads: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            arrival_reads: BTreeMap::new(),
            offers: BTreeMap::new(),
            appended: BTreeMap::new(),
            appends: 0,
            due: BTreeMap::new(),
            suspects: BTreeMap::new(),
        }
    }
}

/// One log.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LogTimer {
    /// When the answer to a read is overdue.
    pub(crate) reading: Option<(RequestId, u64)>,
    /// Everything that the service had was read at least once.
    pub(crate) caught_up: bool,
    /// The last position that is known to exist.
    pub(crate) head: Position,
    /// When to look again.
    pub(crate) next_poll: u64,
    /// Answers that did not come, or brought nothing of what there is, one after another.
    pub(crate) failures: u32,
    /// Appends of the present epoch that were refused, one after another.
    pub(crate) refusals: u32,
    /// Nothing is sealed before.
    pub(crate) send_after: u64,
}

/// A request that was handed out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offer {
    /// When to offer it again.
    pub(crate) again: u64,
    pub(crate) attempts: u32,
}

impl Timers {
    pub(crate) fn log(&mut self, log: &LogId) -> &mut LogTimer {
        self.logs.entry(*log).or_default()
    }

    /// Whether a request is to be handed out now; takes note that it was.
    pub(crate) fn offer(&mut self, id: RequestId, now: Now) -> bool {
        let offer = self.offers.entry(id).or_insert(Offer { again: 0, attempts: 0 });
        if offer.again > now.mono {
            return false;
        }
        offer.again = now.mono + back_off(offer.attempts);
        offer.attempts = offer.attempts.saturating_add(1);
        true
    }

    /// Whether a member of a group that this device is not in may be asked now to add it anew.
    pub(crate) fn may_ask_as_newcomer(&mut self, group: &GroupId, now: Now) -> bool {
        self.newcomer.retain(|_, until| *until > now.mono);
        self.newcomer.len() < MAX_NEWCOMER && !self.newcomer.contains_key(group)
    }

    /// Takes note that one was asked.
    pub(crate) fn asked_as_newcomer(&mut self, group: &GroupId, now: Now) {
        self.newcomer.insert(*group, now.mono.saturating_add(NEWCOMER));
    }

    /// Forgets what was to be done about a group's command.
    pub(crate) fn forget_command(&mut self, group: &GroupId, number: u64) {
        self.due.remove(&(*group, number));
    }

    /// The service wants to be left alone for a while.
    pub(crate) fn delay(&mut self, id: RequestId, until: u64) {
        let offer = self.offers.entry(id).or_insert(Offer { again: 0, attempts: 0 });
        offer.again = until;
    }

    /// When the first of these moments of a log comes after `now`. One that is past waits for something
    /// else to happen, which [touches](Agenda::touch) the log.
    pub(crate) fn next_look(
        &self,
        log: &LogId,
        in_flight: Option<RequestId>,
        now: Now,
    ) -> Option<u64> {
        let timer = self.logs.get(log).copied().unwrap_or_default();
        let read = timer.reading.map_or(timer.next_poll, |(_, overdue)| overdue);
        let offer = in_flight.and_then(|id| Some(self.offers.get(&id)?.again));
        let due = self.due.range((*log, 0)..=(*log, u64::MAX)).map(|(_, at)| *at);
        let all = [Some(read), offer, Some(timer.send_after), self.suspects.get(log).copied()];
        all.into_iter().flatten().chain(due).filter(|at| *at > now.mono).min()
    }

    /// A read of a log had no answer.
    pub(crate) fn failed(&mut self, log: &LogId, now: Now) {
        self.log(log).failed(now);
        self.agenda.touch(Target::Log(*log));
    }

    /// A page of a log was read.
    pub(crate) fn answered(
        &mut self,
        log: &LogId,
        head: Position,
        cursor: Position,
        moved: bool,
        now: Now,
    ) {
        let poll = self.poll;
        self.log(log).answered(head, cursor, moved, poll, now);
        self.agenda.touch(Target::Log(*log));
    }
}

impl LogTimer {
    /// Whether the log is to be read now, by somebody who has read up to `cursor`.
    pub(crate) fn is_due(&self, cursor: Position, now: Now) -> bool {
        match self.reading {
            Some((_, overdue)) => overdue <= now.mono,
            None if self.failures > 0 => self.next_poll <= now.mono,
            None => !self.caught_up || self.head > cursor || self.next_poll <= now.mono,
        }
    }

    pub(crate) fn started(&mut self, id: RequestId, now: Now) {
        self.reading = Some((id, now.mono + back_off(self.failures)));
    }

    /// A page was read up to `cursor`, of a log that ended at `head` for this reader.
    fn answered(&mut self, head: Position, cursor: Position, moved: bool, poll: u64, now: Now) {
        self.reading = None;
        self.next_poll = now.mono.saturating_add(poll);
        if cursor >= head {
            // Whatever was said to be behind it, this reader does not get to see it now.
            (self.head, self.caught_up, self.failures) = (head, true, 0);
        } else if moved {
            (self.head, self.failures) = (self.head.max(head), 0);
        } else {
            // There should be more, and nothing of it came.
            self.head = self.head.max(head);
            self.failures = self.failures.saturating_add(1);
            self.next_poll = now.mono + (POLL << self.failures.min(6)).min(MAX_RETRY);
        }
    }

    /// The service does not let this reader read, or has nothing to say, until then.
    pub(crate) fn delayed(&mut self, until: u64) {
        self.reading = None;
        self.failures = self.failures.max(1);
        self.next_poll = until;
    }

    /// The service took nothing of the epoch that this member is in, although all was read: the next
    /// attempt is later, and the one after it later still.
    pub(crate) fn refused(&mut self, now: Now) {
        self.send_after = now.mono + back_off(self.refusals);
        self.refusals = self.refusals.saturating_add(1);
    }

    /// The service takes what is sent.
    pub(crate) fn accepted(&mut self) {
        (self.refusals, self.send_after) = (0, 0);
    }

    /// Whether all was read is not known any more: the token so far showed nothing that is later.
    pub(crate) fn new_epoch(&mut self) {
        self.caught_up = false;
        self.accepted();
    }

    pub(crate) fn failed(&mut self, now: Now) {
        self.reading = None;
        self.failures = self.failures.saturating_add(1);
        self.next_poll = now.mono + back_off(self.failures);
    }
}

pub(crate) fn back_off(attempts: u32) -> u64 {
    RETRY.saturating_mul(1 << attempts.min(4)).min(MAX_RETRY)
}
