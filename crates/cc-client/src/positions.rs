//! What a service says of the positions of a log. It may be wrong, or be put back to an old copy: nothing
//! is skipped for it in silence, and no word of it holds longer than the next one.

use crate::{
    Client, Fault, Ledger, LogId, Now, Page, Position, RequestId, records, records::EventRecord,
};

/// A read that was handed out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PendingRead {
    pub(crate) log: LogId,
    /// How far the log was read then.
    pub(crate) after: Position,
    /// [`Timers::appends`](crate::timers::Timers::appends) then.
    pub(crate) appends: u64,
}

/// Where the service said that an item is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Appended {
    pub(crate) at: Position,
    /// How many such answers there were, with this one.
    pub(crate) count: u64,
}

impl Client {
    /// The answer to a read.
    pub(crate) fn read_answered(
        &mut self,
        read: PendingRead,
        page: &Page,
        now: Now,
        ledger: &mut Ledger,
    ) -> Result<(), Fault> {
        let cursor = self.cursor(&read.log);
        if page.head < read.after && cursor.is_some_and(|cursor| page.head < cursor) {
            self.roll_back(&read.log, page.head)?;
        }
        self.doubt_appended(&read, page.head);
        self.page_now(&read.log, page, now, ledger)
    }

    /// The log ends before what was read of it: the service was put back to an old copy, or shows another
    /// log. What it has now is read from where it may be another one, and what was read is known again.
    fn roll_back(&mut self, log: &LogId, head: Position) -> Result<(), Fault> {
        let from = if *log == self.state.mailbox {
            core::mem::take(&mut self.state.meta.mailbox_cursor)
        } else {
            let record = self.state.group_mut(log)?;
            let from = record.cursor;
            // The token is one of the epoch that this member is in, so that the log has its commits. Where
            // they are at other positions, all of it is read.
            record.cursor = if record.last_commit <= head {
                record.last_commit
            } else {
                record.suspect = true;
                Position::START
            };
            let cursor = record.cursor;
            let again: Vec<_> = record.held.extract_if(.., |(at, _)| *at > cursor).collect();
            let in_flight = record.in_flight.as_ref().map(|sent| sent.request);
            for (at, _) in again {
                self.state.delete(&records::held(log), records::key(at.0))?;
            }
            in_flight.map(|request| self.timers.appended.remove(&request));
            from
        };
        self.state.emit(&EventRecord::RolledBack { log: *log, from, to: head })
    }

    /// What the service said to have taken is not in what it had afterwards: it is offered again.
    fn doubt_appended(&mut self, read: &PendingRead, head: Position) {
        let group = self.state.groups.get(&read.log);
        let Some(in_flight) = group.and_then(|group| group.in_flight.as_ref()) else { return };
        let id: RequestId = in_flight.request;
        let missing = self
            .timers
            .appended
            .get(&id)
            .is_some_and(|appended| appended.count <= read.appends && appended.at > head);
        if missing {
            self.timers.appended.remove(&id);
        }
    }

    /// What the service keeps no longer is missed, and that is told. Commits may have been among it: what
    /// comes next decides.
    pub(crate) fn skip_forgotten(&mut self, log: &LogId, page: &Page) -> Result<(), Fault> {
        let forgotten = page.forgotten.min(page.head);
        let Some(cursor) = self.cursor(log).filter(|cursor| *cursor < forgotten) else {
            return Ok(());
        };
        if *log == self.state.mailbox {
            self.state.meta.mailbox_cursor = forgotten;
        } else {
            let group = self.state.group_mut(log)?;
            (group.cursor, group.suspect) = (forgotten, true);
        }
        self.state.emit(&EventRecord::Missed { log: *log, from: cursor, to: forgotten })
    }
}
