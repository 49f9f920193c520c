//! When a side begins a new epoch.

/// After how much of either a side begins a new epoch, with the next message that it seals. Each side has a
/// schedule of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// Messages that are sealed in one epoch at most; 0 for no limit.
    pub messages: u64,
    /// Seconds that an epoch lasts at most, by the time that the caller tells; 0 for no limit.
    pub seconds: u64,
}

impl Default for Schedule {
    /// 100 messages or a day.
    fn default() -> Self {
        Self { messages: 100, seconds: 24 * 60 * 60 }
    }
}

/// How far the present epoch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Progress {
    /// Messages that were sealed in it.
    pub(crate) sent: u64,
    /// When it began, in seconds since 1970, or the first time that the caller told later; `None` before.
    pub(crate) since: Option<u64>,
    /// What the caller told last.
    pub(crate) now: Option<u64>,
    /// The caller asked for a new one.
    pub(crate) requested: bool,
}

impl Progress {
    /// The epoch that follows has just begun.
    pub(crate) const fn next(self) -> Self {
        Self { sent: 0, since: self.now, now: self.now, requested: false }
    }

    pub(crate) fn set_time(&mut self, now: u64) {
        self.now = Some(now);
        self.since = self.since.or(Some(now));
    }

    pub(crate) fn is_over(self, schedule: Schedule) -> bool {
        let lasted = match (self.since, self.now) {
            // A clock that was set back does not stop the schedule: the epoch began at the latest now.
            (Some(since), Some(now)) => now.saturating_sub(since.min(now)),
            _ => 0,
        };
        self.requested
            || (schedule.messages > 0 && self.sent >= schedule.messages)
            || (schedule.seconds > 0 && lasted >= schedule.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_over_by_messages_seconds_or_on_request() {
        let schedule = Schedule { messages: 3, seconds: 10 };
        let mut progress = Progress { sent: 2, ..Progress::default() };
        assert!(!progress.is_over(schedule));
        progress.sent = 3;
        assert!(progress.is_over(schedule));
        progress = progress.next();
        assert!(!progress.is_over(schedule));
        progress.set_time(100);
        progress.set_time(109);
        assert!(!progress.is_over(schedule));
        progress.set_time(110);
        assert!(progress.is_over(schedule));
        assert!(!progress.is_over(Schedule { messages: 0, seconds: 0 }));
        progress = progress.next();
        progress.set_time(50);
        assert!(!progress.is_over(schedule), "the clock was set back");
        progress.requested = true;
        assert!(progress.is_over(Schedule { messages: 0, seconds: 0 }));
        assert!(!progress.next().requested);
    }
}
