//! What is to be tried when. In memory only: after a restart everything is due.

use std::collections::BTreeMap;

use crate::{GroupId, LogId, Now, Position, RequestId};

/// Milliseconds until a request without an answer is offered again, at first and at the most.
const RETRY: u64 = 5_000;
const MAX_RETRY: u64 = 60_000;

/// Milliseconds between two reads of a log in which nothing is known to be new.
const POLL: u64 = 1_000;

#[derive(Default)]
pub(crate) struct Timers {
    pub(crate) logs: BTreeMap<LogId, LogTimer>,
    /// Reads that were handed out.
    pub(crate) reads: BTreeMap<RequestId, LogId>,
    pub(crate) offers: BTreeMap<RequestId, Offer>,
    /// When what the client does of itself is due, by the number of the command.
    pub(crate) due: BTreeMap<(GroupId, u64), u64>,
    /// When a member that may have fallen out of step asks to be added anew.
    pub(crate) suspects: BTreeMap<GroupId, u64>,
    /// Which log is looked at next, so that none starves.
    pub(crate) turn: usize,
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
    /// Answers that did not come, one after another.
    pub(crate) failures: u32,
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

    /// The service wants to be left alone for a while.
    pub(crate) fn delay(&mut self, id: RequestId, until: u64) {
        let offer = self.offers.entry(id).or_insert(Offer { again: 0, attempts: 0 });
        offer.again = until;
    }

    /// The earliest moment, in the caller's `mono`, at which something is due.
    pub(crate) fn next(&self) -> Option<u64> {
        let logs = self.logs.values().map(|log| log.reading.map_or(log.next_poll, |(_, at)| at));
        let offers = self.offers.values().map(|offer| offer.again);
        let own = self.due.values().chain(self.suspects.values()).copied();
        logs.chain(offers).chain(own).min()
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

    pub(crate) fn answered(&mut self, head: Position, caught_up: bool, now: Now) {
        self.reading = None;
        self.failures = 0;
        self.head = self.head.max(head);
        self.caught_up |= caught_up;
        self.next_poll = now.mono + POLL;
    }

    pub(crate) fn failed(&mut self, now: Now) {
        self.reading = None;
        self.failures = self.failures.saturating_add(1);
        self.next_poll = now.mono + back_off(self.failures);
    }
}

fn back_off(attempts: u32) -> u64 {
    RETRY.saturating_mul(1 << attempts.min(4)).min(MAX_RETRY)
}
