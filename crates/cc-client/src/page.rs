//! What came: every item of a log gets one fate.

use std::collections::VecDeque;

use cc_core::Kind;

use crate::{
    Client, EventId, Failure, Fate, Fault, GroupId, Item, Ledger, LogId, Now, Page, Position,
    Refusal, Reply, RequestId,
    agenda::Target,
    command::MAX_TITLE_LEN,
    event::fate_number,
    frame::{self, Frame, FrameError, GroupItem},
    records::{self, EventRecord, PersonRecord, SeenRecord, Standing, Work},
    seat::{self, Opened, Outcome, Report},
};

/// Items of one group that are kept to be opened again.
const MAX_HELD: usize = 256;
/// Bytes of them.
const MAX_HELD_LEN: u64 = 8 << 20;

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
            | Fate::Unconfirmed => self.state.emit(&EventRecord::Unreadable {
                log: *log,
                position,
                fate: fate_number(fate),
            }),
            _ => Ok(()),
        }
    }

    /// Opens the messages of others with which `items` begins, up to the first item that is anything else:
    /// no message changes what the next one is opened with. A single one is left to [`group_item`].
    ///
    /// [`group_item`]: Self::group_item
    fn open_run(
        &mut self,
        group: &GroupId,
        items: &[Item],
    ) -> Result<VecDeque<(Opened, Report)>, Fault> {
        let record = self.state.group(group)?;
        if record.standing == Standing::Removed || items.len() < 2 {
            return Ok(VecDeque::new());
        }
        let in_flight = record.in_flight.as_ref();
        let mut wires = Vec::new();
        let mut position = items.first().map(|item| item.position);
        for item in items {
            if Some(item.position) != position || item.commit {
                break;
            }
            position = Some(item.position.next());
            let own = in_flight.is_some_and(|sent| sent.what.place_of(&item.bytes).is_some());
            match frame::decode(&item.bytes) {
                Ok(GroupItem::Sealed(wire))
                    if !own && Kind::of(wire.as_slice()) == Ok(Kind::Application) =>
                {
                    wires.push(wire);
                }
                _ => break,
            }
        }
        if wires.len() < 2 {
            return Ok(VecDeque::new());
        }
        Ok(seat::open_messages(self.group_seat(group)?, group, &wires)?.into())
    }

    fn group_item(&mut self, group: &GroupId, item: &Item, now: Now) -> Result<Fate, Fault> {
        if item.commit {
            self.state.group_mut(group)?.last_commit = item.position;
        }
        let decoded = frame::decode(&item.bytes);
        if let Ok(GroupItem::Sealed(wire)) = &decoded
            && !item.commit
            && matches!(Kind::of(wire.as_slice()), Ok(Kind::Commit))
        {
            // Past the service, which lets one commit follow another and takes the token of the next epoch
            // with it. Were it taken, nobody could use the log any more.
            return Ok(Fate::Malformed);
        }
        if self.own_echo(group, item)? {
            return Ok(Fate::OwnEcho);
        }
        if self.state.group(group)?.standing == Standing::Removed {
            return Ok(Fate::AfterRemoval);
        }
        match decoded {
            Err(FrameError::Unsupported) => Ok(Fate::Unsupported),
            Err(FrameError::Malformed) => Ok(Fate::Malformed),
            Ok(GroupItem::Sealed(wire)) => {
                let opened = seat::open(self.group_seat(group)?, group, wire.as_slice())?;
                self.opened_item(group, opened, item, now)
            }
        }
    }

    /// What follows from an item that is the next one of the log.
    fn opened_item(
        &mut self,
        group: &GroupId,
        opened: Opened,
        item: &Item,
        now: Now,
    ) -> Result<Fate, Fault> {
        let fate = self.take_opened(group, opened, item, now)?;
        if fate == Fate::Early {
            self.hold(group, item)?;
        }
        if item.commit && matches!(fate, Fate::Early | Fate::Forged) {
            // The service says that it follows the last commit, and here it does not. But anybody
            // with access to the log can make such an item: what comes next decides.
            self.state.group_mut(group)?.suspect = true;
        }
        Ok(fate)
    }

    fn take_opened(
        &mut self,
        group: &GroupId,
        opened: Opened,
        item: &Item,
        now: Now,
    ) -> Result<Fate, Fault> {
        let joined_at = self.state.group(group)?.joined_at;
        Ok(match opened {
            Opened::Message { sender, epoch, bytes } => {
                if epoch == Some(seat::epoch(self.group_seat(group)?)) {
                    self.in_step(group)?;
                }
                self.message(group, sender, &bytes, item.position)?
            }
            Opened::Change(outcome) => {
                if !outcome.removed_self {
                    self.in_step(group)?;
                }
                self.changed(group, outcome, item.position)?;
                Fate::Change
            }
            Opened::LeaveRequest => {
                let turn = self.turn_at(group, item.position)?;
                self.take_turn(group, Work::CommitLeaves, turn, now)?;
                Fate::Request
            }
            Opened::OtherRequest => Fate::Request,
            Opened::Own => Fate::OwnEcho,
            Opened::Duplicate => Fate::Duplicate,
            Opened::Stale if item.position <= joined_at => Fate::BeforeJoining,
            Opened::Stale if item.commit => Fate::LostRace,
            Opened::Stale => Fate::TooLate,
            Opened::Early => Fate::Early,
            Opened::Foreign => Fate::Malformed,
            Opened::Forged => Fate::Forged,
        })
    }

    fn message(
        &mut self,
        group: &GroupId,
        sender: PersonRecord,
        bytes: &[u8],
        position: Position,
    ) -> Result<Fate, Fault> {
        match frame::decode(bytes) {
            Err(FrameError::Unsupported) => Ok(Fate::Unsupported),
            Err(FrameError::Malformed) => Ok(Fate::Malformed),
            Ok(Frame::Title(title)) => {
                if title.0.len() > MAX_TITLE_LEN {
                    return Ok(Fate::Malformed);
                }
                if let Ok(title) = String::from_utf8(title.0) {
                    self.state.group_mut(group)?.title = title;
                }
                Ok(Fate::Request)
            }
            Ok(Frame::People(update)) => {
                Ok(if self.learn(group, update)? { Fate::Request } else { Fate::Forged })
            }
            Ok(Frame::Content(content)) => {
                let scope = records::seen(group);
                let mut seen: SeenRecord = self.state.get(&scope, &sender.id)?.unwrap_or_default();
                if !seen.read(content.number) {
                    return Ok(Fate::Duplicate);
                }
                self.state.put(&scope, sender.id, &seen)?;
                let report = match self.opened_report.take() {
                    Some(report) => report,
                    None => seat::last_report(self.group_seat(group)?),
                };
                self.note_report(content.id, report);
                self.state.emit(&EventRecord::Message {
                    group: *group,
                    from: sender,
                    message: content.id,
                    position,
                    content: content.bytes.0,
                })?;
                Ok(Fate::Message)
            }
        }
    }

    /// A change is in force, made by anybody.
    pub(crate) fn changed(
        &mut self,
        group: &GroupId,
        outcome: Outcome,
        position: Position,
    ) -> Result<(), Fault> {
        self.state.group_mut(group)?.access = None;
        if outcome.superseded {
            // The command is still in the queue, and what is left of it is decided anew.
            self.ground(group)?;
        }
        self.drop_readmissions(group, &outcome.added)?;
        self.note_additions(group, &outcome.added, position)?;
        let me = *self.identity.id.as_bytes();
        let readmitted = outcome.added.iter().any(|person| person.id == me);
        for person in outcome.removed {
            let myself = person.id == me;
            self.state.emit(&EventRecord::Left { group: *group, person, myself })?;
        }
        for person in outcome.added {
            self.state.emit(&EventRecord::Joined { group: *group, person })?;
        }
        if outcome.update {
            self.state
                .emit(&EventRecord::KeysChanged { group: *group, person: outcome.committer })?;
        }
        if outcome.removed_self {
            self.ground(group)?;
            if !(readmitted && self.readmitted(group)?) {
                self.abandon(group, "removed from the group")?;
                self.state.group_mut(group)?.standing = Standing::Removed;
                self.retry_arrivals(group);
            }
        }
        Ok(())
    }

    /// Settles all that is in the queue of a group that this person is no longer in.
    pub(crate) fn abandon(&mut self, group: &GroupId, why: &str) -> Result<(), Fault> {
        for (number, queued) in self.state.queue(group)? {
            self.dequeue(group, number)?;
            if let Some(operation) = queued.operation {
                let event = match queued.work {
                    Work::Leave => EventRecord::Done { operation, position: Position::START },
                    _ => EventRecord::Refused { operation, why: why.to_owned() },
                };
                self.settle(Some(operation), &event)?;
            }
        }
        Ok(())
    }

    /// Keeps an item that is early; past the bound the oldest is given up.
    fn hold(&mut self, group: &GroupId, item: &Item) -> Result<(), Fault> {
        let record = self.state.group_mut(group)?;
        if record.held.iter().any(|(held, _)| *held == item.position) {
            return Ok(());
        }
        let len = u32::try_from(item.bytes.len()).unwrap_or(u32::MAX);
        record.held.push((item.position, len));
        let bytes =
            |held: &[(Position, u32)]| held.iter().map(|(_, len)| u64::from(*len)).sum::<u64>();
        let mut surplus = Vec::new();
        while record.held.len() > MAX_HELD || bytes(&record.held) > MAX_HELD_LEN {
            surplus.push(record.held.remove(0).0);
        }
        let held = HeldItem { commit: item.commit, bytes: item.bytes.clone() };
        self.state.put(&records::held(group), records::key(item.position.0), &held)?;
        for oldest in surplus {
            self.state.delete(&records::held(group), records::key(oldest.0))?;
            self.tell(group, oldest, Fate::TooLate)?;
        }
        Ok(())
    }

    /// Opens again what was early.
    fn retry_held(&mut self, log: &LogId, now: Now, ledger: &mut Ledger) -> Result<(), Fault> {
        let Some(record) = self.state.groups.get(log) else { return Ok(()) };
        for (position, _) in record.held.clone() {
            let scope = records::held(log);
            let held: Option<HeldItem> = self.state.get(&scope, &records::key(position.0))?;
            let fate = match held {
                None => Fate::TooLate,
                Some(HeldItem { commit, bytes }) => match frame::decode(&bytes) {
                    Ok(GroupItem::Sealed(wire)) => {
                        let item = Item { position, commit, bytes: Vec::new() };
                        let opened = seat::open(self.group_seat(log)?, log, wire.as_slice())?;
                        self.take_opened(log, opened, &item, now)?
                    }
                    Err(_) => Fate::Malformed,
                },
            };
            if fate.is_final() {
                self.state.delete(&scope, records::key(position.0))?;
                self.state.group_mut(log)?.held.retain(|(held, _)| *held != position);
                self.tell(log, position, fate)?;
                ledger.fates.push((*log, position, fate));
            }
        }
        Ok(())
    }
}

/// An item that is kept to be opened again.
#[derive(serde::Serialize, serde::Deserialize)]
struct HeldItem {
    commit: bool,
    bytes: Vec<u8>,
}

#[cfg(test)]
mod liar;
