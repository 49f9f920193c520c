//! The items of a group's log: what the stack makes of each, and what follows from that.

use std::collections::VecDeque;

use cc_core::Kind;

use crate::{
    Client, Fate, Fault, GroupId, Item, Now, Position,
    command::MAX_TITLE_LEN,
    frame::{self, Content, Frame, FrameError, GroupItem},
    records::{self, EventRecord, SeenRecord, Standing, Work},
    seat::{self, Opened, Outcome, Report},
};

impl Client {
    /// Opens the messages of others with which `items` begins, up to the first item that is anything else:
    /// no message changes what the next one is opened with. A single one is left to [`group_item`].
    ///
    /// [`group_item`]: Self::group_item
    pub(crate) fn open_run(
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

    pub(crate) fn group_item(
        &mut self,
        group: &GroupId,
        item: &Item,
        now: Now,
    ) -> Result<Fate, Fault> {
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
        if self.own_echo(group, item, now)? {
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
    pub(crate) fn opened_item(
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

    pub(crate) fn take_opened(
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
                self.message(group, sender, &bytes, item.position, now)?
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
                self.commit_leaves(group, turn, now)?;
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
        sender: [u8; 32],
        bytes: &[u8],
        position: Position,
        now: Now,
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
                Ok(if self.learn(group, update, now)? { Fate::Request } else { Fate::Forged })
            }
            Ok(Frame::History(content)) => self.passed_on(group, sender, content, position),
            Ok(Frame::Content(content)) => {
                if !self.read_once(group, &sender, &content)? {
                    return Ok(Fate::Duplicate);
                }
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

    /// Takes note of what a member says; `false` where it was read before.
    pub(crate) fn read_once(
        &mut self,
        group: &GroupId,
        sender: &[u8; 32],
        content: &Content,
    ) -> Result<bool, Fault> {
        let scope = records::seen(group);
        let mut seen: SeenRecord = self.state.get(&scope, sender)?.unwrap_or_default();
        if !seen.read(content.number) {
            return Ok(false);
        }
        self.state.put(&scope, *sender, &seen)?;
        let report = match self.opened_report.take() {
            Some(report) => report,
            None => seat::last_report(self.group_seat(group)?),
        };
        self.note_report(content.id, report);
        Ok(true)
    }

    /// A change is in force, made by anybody.
    pub(crate) fn changed(
        &mut self,
        group: &GroupId,
        outcome: Outcome,
        position: Position,
    ) -> Result<(), Fault> {
        self.state.set_access(group, None)?;
        if outcome.superseded {
            // The command is still in the queue, and what is left of it is decided anew.
            self.ground(group)?;
        }
        self.drop_readmissions(group, &outcome.added)?;
        self.note_additions(group, &outcome.added, position)?;
        self.end_requests_to(group, &outcome.added, outcome.committer.as_ref())?;
        self.end_admitted_of(group, &outcome.removed)?;
        let gone = outcome.removed.iter().filter(|member| !outcome.added.contains(member));
        self.hosts_are_gone(group, &gone.copied().collect::<Vec<_>>())?;
        if let Some(committer) = &outcome.committer {
            self.note_sign_of_life(group, committer)?;
        }
        let me = *self.identity.id.as_bytes();
        let readmitted = outcome.added.contains(&me);
        for person in outcome.removed {
            let myself = person == me;
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
                self.end_links_of(group)?;
                let record = self.state.group_mut(group)?;
                (record.standing, record.replaced) = (Standing::Removed, readmitted);
                self.retry_arrivals(group);
            }
        }
        Ok(())
    }

    /// Settles all that is in the queue of a group that this person is no longer in.
    pub(crate) fn abandon(&mut self, group: &GroupId, why: &str) -> Result<(), Fault> {
        for (number, queued) in self.state.queue(group)? {
            self.dequeue(group, number)?;
            self.end_admission(&queued.work)?;
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
}

#[cfg(test)]
mod liar;
