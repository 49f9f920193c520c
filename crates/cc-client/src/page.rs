//! What came: every item of a log gets one fate.

use std::collections::VecDeque;

use crate::{
    Client, EventId, Failure, Fate, Fault, Ledger, LogId, Now, Page, Position, Refusal, Reply,
    RequestId,
    agenda::Target,
    fate::fate_number,
    records::{EventRecord, Standing},
};

/// What came from the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Items of a log, in an answer or pushed. Any part of the log in any order does no harm; only what
    /// follows on what was read moves the cursor.
    Page {
        /// Which.
        log: LogId,
        /// Items.
        page: Page,
    },
    /// The answer to a request.
    Response {
        /// The request.
        id: RequestId,
        /// What came of it; no answer within the caller's patience is [`Failure::Unknown`].
        result: Result<Reply, Failure>,
    },
}

impl Client {
    /// Takes what came. All it causes (ratchets, cursor, events, what is to be sent) is one commit. Where the
    /// log showed nothing but this person's own messages, that is the next commit, which comes before
    /// anything is told of it by [`events`](Self::events), and after a second at the latest: a crash before
    /// it has the log show them again.
    ///
    /// # Errors
    /// [`Fault`]; nothing has changed then, and the same input may be given again.
    pub fn handle(&mut self, now: Now, input: Input) -> Result<Ledger, Fault> {
        self.transact(|client| {
            let mut ledger = Ledger::default();
            let first = EventId(client.state.meta.next_event);
            match input {
                Input::Page { log, page } => client.page_now(&log, &page, now, &mut ledger)?,
                Input::Response { id, result } => match client.timers.reads.remove(&id) {
                    Some(read) => match result {
                        Ok(Reply::Page(page)) => {
                            client.read_answered(read, &page, now, &mut ledger)?
                        }
                        Err(Failure::Refused(refusal)) => {
                            client.read_refused(&read.log, refusal, now)?
                        }
                        Ok(_) | Err(Failure::Unknown) => client.timers.failed(&read.log, now),
                    },
                    None if client.arrival_answered(id, &result, now, &mut ledger)? => {}
                    None => client.response_now(id, result, now)?,
                },
            }
            ledger.events = first..EventId(client.state.meta.next_event);
            let own = |(_, _, fate): &(LogId, Position, Fate)| *fate == Fate::OwnEcho;
            client.repeatable = !ledger.fates.is_empty() && ledger.fates.iter().all(own);
            if client.repeatable {
                client.kept_since.get_or_insert(now.mono);
            }
            Ok(ledger)
        })
    }

    pub(crate) fn page_now(
        &mut self,
        log: &LogId,
        page: &Page,
        now: Now,
        ledger: &mut Ledger,
    ) -> Result<(), Fault> {
        let mut retry = false;
        let before = self.cursor(log);
        self.skip_forgotten(log, page)?;
        let mut run = VecDeque::new();
        for (index, item) in page.items.iter().enumerate() {
            let Some(cursor) = self.cursor(log) else { break };
            let fate = if item.position <= cursor {
                Fate::Duplicate
            } else if item.position > cursor.next() {
                // Not kept: it will be read again when its turn comes.
                Fate::Early
            } else {
                let fate = if *log == self.state.mailbox {
                    self.state.meta.mailbox_cursor = item.position;
                    self.mail(item, now, ledger)?
                } else {
                    self.state.group_mut(log)?.cursor = item.position;
                    if run.is_empty() {
                        run = self.open_run(log, page.items.get(index..).unwrap_or_default())?;
                    }
                    match run.pop_front() {
                        Some((opened, report)) => {
                            self.opened_report = Some(report);
                            let fate = self.opened_item(log, opened, item, now);
                            self.opened_report = None;
                            fate?
                        }
                        None => self.group_item(log, item, now)?,
                    }
                };
                retry |= matches!(fate, Fate::Change | Fate::Message | Fate::OwnEcho);
                self.tell(log, item.position, fate)?;
                fate
            };
            ledger.fates.push((*log, item.position, fate));
        }
        if retry {
            self.retry_held(log, now, ledger)?;
        }
        if self.state.groups.get(log).is_some_and(|group| group.standing == Standing::Removed) {
            self.retry_invitations(log, now, ledger)?;
        }
        if *log == self.state.mailbox {
            self.retry_invitations_of_lost(now, ledger)?;
        }
        let Some(cursor) = self.cursor(log) else { return Ok(()) };
        self.timers.answered(log, page.head, cursor, before != Some(cursor), now);
        if *log == self.state.mailbox {
            return Ok(());
        }
        if self.state.group(log)?.access.is_none() {
            // A new epoch: what is behind its commit is read with another token.
            self.timers.log(log).new_epoch();
        } else if cursor >= page.head {
            self.check_in_flight(log)?;
        }
        Ok(())
    }

    /// The service does not let this person read.
    fn read_refused(&mut self, log: &LogId, refusal: Refusal, now: Now) -> Result<(), Fault> {
        match refusal {
            Refusal::Busy { retry_after } => {
                self.timers.log(log).delayed(now.mono.saturating_add(retry_after));
                self.timers.agenda.touch(Target::Log(*log));
            }
            Refusal::Denied | Refusal::Gone if *log != self.state.mailbox => {
                // A log that does not know the epoch that this member is in is not the one that the
                // member read so far.
                self.timers.failed(log, now);
                if self.state.group(log)?.standing != Standing::Removed {
                    self.state.group_mut(log)?.suspect = true;
                }
            }
            _ => self.timers.failed(log, now),
        }
        Ok(())
    }

    /// How far a log was read; `None` for one that is nobody's here.
    pub(crate) fn cursor(&self, log: &LogId) -> Option<Position> {
        if *log == self.state.mailbox {
            return Some(self.state.meta.mailbox_cursor);
        }
        let group = self.state.groups.get(log)?;
        // Of a group that was restored nothing is read before this member is back.
        (!matches!(group.standing, Standing::Restored(_))).then_some(group.cursor)
    }

    /// What the application should know of an item that it does not get to see otherwise.
    pub(crate) fn tell(
        &mut self,
        log: &LogId,
        position: Position,
        fate: Fate,
    ) -> Result<(), Fault> {
        match fate {
            Fate::TooLate
            | Fate::Unsupported
            | Fate::Forged
            | Fate::OrphanWelcome
            | Fate::Misaddressed
            | Fate::Unconfirmed => self.state.emit(&EventRecord::Unreadable {
                log: *log,
                position,
                fate: fate_number(fate),
            }),
            _ => Ok(()),
        }
    }
}
