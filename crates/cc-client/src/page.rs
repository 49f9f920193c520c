//! What came: every item of a log gets one fate.

use cc_core::{MemberId, Opaque};
use sha2::{Digest as _, Sha256};

use crate::{
    Client, EventId, Failure, Fate, Fault, GroupId, Item, Ledger, LogId, Now, Page, Position,
    Reply, RequestId,
    event::fate_number,
    frame::{self, Frame, FrameError, GroupItem, Invitation, KeyPackageOffer, MailItem},
    records::{
        self, EventRecord, GroupRecord, InFlight, PackageRecord, PersonRecord, Queued,
        RequestRecord, Sealed, SeenRecord, Sent, Standing, Work,
    },
    seat::{self, Opened, Outcome},
};

/// Items of one group that are kept to be opened again.
const MAX_HELD: usize = 256;
/// Requests to be added anew, one after another without success.
const MAX_REJOINS: u32 = 8;
/// Epochs after its own in which every member can still read a message, with one to spare.
const READABLE: u64 = 2;
/// Milliseconds that a member waits for a sign that it is in step, before it asks to be added anew.
const PATIENCE: u64 = 30_000;
/// Milliseconds between two members who would commit the same thing.
const TURN: u64 = 2_000;

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
    /// Takes what came. All it causes (ratchets, cursor, events, what is to be sent) is one commit.
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
                    Some(log) => match result {
                        Ok(Reply::Page(page)) => client.page_now(&log, &page, now, &mut ledger)?,
                        Ok(_) | Err(_) => client.timers.log(&log).failed(now),
                    },
                    None => client.response_now(id, result, now)?,
                },
            }
            ledger.events = first..EventId(client.state.meta.next_event);
            Ok(ledger)
        })
    }

    fn page_now(
        &mut self,
        log: &LogId,
        page: &Page,
        now: Now,
        ledger: &mut Ledger,
    ) -> Result<(), Fault> {
        let mut retry = false;
        for item in &page.items {
            let Some(cursor) = self.cursor(log) else { break };
            let fate = if item.position <= cursor {
                Fate::Duplicate
            } else if item.position > cursor.next() {
                // Not kept: it will be read again when its turn comes.
                Fate::Early
            } else {
                let fate = if *log == self.state.meta.mailbox {
                    self.state.meta.mailbox_cursor = item.position;
                    self.mail(item, now)?
                } else {
                    self.state.group_mut(log)?.cursor = item.position;
                    self.group_item(log, item, now)?
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
        let Some(cursor) = self.cursor(log) else { return Ok(()) };
        let caught_up = cursor >= page.head;
        self.timers.log(log).answered(page.head, caught_up, now);
        if caught_up && *log != self.state.meta.mailbox {
            self.check_in_flight(log)?;
        }
        Ok(())
    }

    /// How far a log was read; `None` for one that is nobody's here.
    fn cursor(&self, log: &LogId) -> Option<Position> {
        if *log == self.state.meta.mailbox {
            return Some(self.state.meta.mailbox_cursor);
        }
        self.state.groups.get(log).map(|group| group.cursor)
    }

    /// What the application should know of an item that it does not get to see otherwise.
    fn tell(&mut self, log: &LogId, position: Position, fate: Fate) -> Result<(), Fault> {
        match fate {
            Fate::TooLate | Fate::Unsupported | Fate::Forged | Fate::OrphanWelcome => self
                .state
                .emit(&EventRecord::Unreadable { log: *log, position, fate: fate_number(fate) }),
            _ => Ok(()),
        }
    }

    fn group_item(&mut self, group: &GroupId, item: &Item, now: Now) -> Result<Fate, Fault> {
        if item.commit {
            self.state.group_mut(group)?.last_commit = item.position;
        }
        let digest = frame::item_digest(&item.bytes);
        if self.own_echo(group, &digest, item.position, now)? {
            return Ok(Fate::OwnEcho);
        }
        if self.state.group(group)?.standing == Standing::Removed {
            return Ok(Fate::AfterRemoval);
        }
        match frame::decode(&item.bytes) {
            Err(FrameError::Unsupported) => Ok(Fate::Unsupported),
            Err(FrameError::Malformed) => Ok(Fate::Malformed),
            Ok(GroupItem::Rejoin(offer)) => self.rejoin_request(group, offer, item.position, now),
            Ok(GroupItem::Sealed(wire)) => {
                let fate = self.open_sealed(group, wire.as_slice(), item, now)?;
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
        }
    }

    fn open_sealed(
        &mut self,
        group: &GroupId,
        wire: &[u8],
        item: &Item,
        now: Now,
    ) -> Result<Fate, Fault> {
        let joined_at = self.state.group(group)?.joined_at;
        let seat = self.group_seat(group)?;
        let opened = seat::open(seat, group, wire)?;
        Ok(match opened {
            Opened::Message { sender, epoch, bytes } => {
                if epoch == Some(seat::epoch(self.group_seat(group)?)) {
                    self.in_step(group)?;
                }
                self.message(group, sender, &bytes)?
            }
            Opened::Change(outcome) => {
                self.in_step(group)?;
                self.changed(group, outcome, now)?;
                Fate::Change
            }
            Opened::LeaveRequest => {
                self.take_turn(group, Work::CommitLeaves, item.position, now)?;
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
    ) -> Result<Fate, Fault> {
        match frame::decode(bytes) {
            Err(FrameError::Unsupported) => Ok(Fate::Unsupported),
            Err(FrameError::Malformed) => Ok(Fate::Malformed),
            Ok(Frame::Title(title)) => {
                if let Ok(title) = String::from_utf8(title.0) {
                    self.state.group_mut(group)?.title = title;
                }
                Ok(Fate::Request)
            }
            Ok(Frame::Content(content)) => {
                let scope = records::seen(group);
                let mut seen: SeenRecord = self.state.get(&scope, &sender.id)?.unwrap_or_default();
                if !seen.read(content.number) {
                    return Ok(Fate::Duplicate);
                }
                self.state.put(&scope, sender.id, &seen)?;
                self.state.emit(&EventRecord::Message {
                    group: *group,
                    from: sender,
                    message: content.id,
                    content: content.bytes.0,
                })?;
                Ok(Fate::Message)
            }
        }
    }

    /// A change is in force, made by anybody.
    fn changed(&mut self, group: &GroupId, outcome: Outcome, now: Now) -> Result<(), Fault> {
        if outcome.superseded {
            // The command is still in the queue, and what is left of it is decided anew.
            self.ground(group)?;
        }
        self.drop_readmissions(group, &outcome.added)?;
        let me = *self.identity.id.as_bytes();
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
        let rejoining = matches!(self.state.group(group)?.standing, Standing::Rejoining(_));
        if outcome.removed_self && !rejoining {
            self.ground(group)?;
            self.abandon(group, "removed from the group")?;
            self.state.group_mut(group)?.standing = Standing::Removed;
        }
        self.state.group_mut(group)?.refreshed = now.seconds();
        Ok(())
    }

    /// Who is back need not be brought back: a second time would put it out, for its key package is used.
    fn drop_readmissions(&mut self, group: &GroupId, added: &[PersonRecord]) -> Result<(), Fault> {
        if added.is_empty() {
            return Ok(());
        }
        for (key, queued) in self.state.list::<Queued>(&records::queue(group), usize::MAX)? {
            let Work::Readmit(offers) = queued.work else { continue };
            let mut waits = Vec::new();
            for offer in offers {
                let bundle = seat::read_offer(&offer)?.bundle;
                let id = seat::inspect(self.group_seat(group)?, bundle.as_slice());
                if id.is_ok_and(|id| added.iter().all(|person| person.id != *id.as_bytes())) {
                    waits.push(offer);
                }
            }
            let number = crate::request::queue_number(&key)?;
            if waits.is_empty() {
                self.dequeue(group, number)?;
            } else {
                let queued = Queued { operation: queued.operation, work: Work::Readmit(waits) };
                self.state.put(&records::queue(group), records::key(number), &queued)?;
            }
        }
        Ok(())
    }

    /// Settles all that is in the queue of a group that this person is no longer in.
    fn abandon(&mut self, group: &GroupId, why: &str) -> Result<(), Fault> {
        for (key, queued) in self.state.list::<Queued>(&records::queue(group), usize::MAX)? {
            self.dequeue(group, crate::request::queue_number(&key)?)?;
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

    /// Whether an item is what this person handed to the service; brings it into force then.
    fn own_echo(
        &mut self,
        group: &GroupId,
        digest: &[u8; 32],
        position: Position,
        now: Now,
    ) -> Result<bool, Fault> {
        let record = self.state.group(group)?;
        let Some(InFlight { request, epoch, what, .. }) = record.in_flight.clone() else {
            return Ok(false);
        };
        match what {
            Sent::Messages(mut sent) => {
                let Some(at) = sent.iter().position(|(known, _)| known == digest) else {
                    return Ok(false);
                };
                let (_, sealed) = sent.remove(at);
                let scope = records::queue(group);
                let queued = self.state.get::<Queued>(&scope, &records::key(sealed.number))?;
                let current = seat::epoch(self.group_seat(group)?);
                self.dequeue(group, sealed.number)?;
                let leaves = queued.as_ref().is_some_and(|queued| queued.work == Work::Leave);
                if let (Some(queued), true) = (&queued, current > epoch + READABLE && !leaves) {
                    // It came so late that others may have had no keys for it any more. Who had takes the
                    // second copy for what it is.
                    self.state.put(&scope, records::key(sealed.number), queued)?;
                } else if leaves && current != epoch {
                    // Nobody takes a request of an epoch that is over: it is made anew.
                    self.enqueue(group, sealed.operation, Work::Leave)?;
                } else if let Some(operation) = sealed.operation {
                    self.settle(Some(operation), &EventRecord::Done { operation, position })?;
                }
                if sent.is_empty() {
                    self.ground(group)?;
                } else if let Some(in_flight) = &mut self.state.group_mut(group)?.in_flight {
                    in_flight.what = Sent::Messages(sent);
                }
                Ok(true)
            }
            Sent::Commit { digest: known, change, command } if known == *digest => {
                self.timers.offers.remove(&request);
                self.ground(group)?;
                self.own_change(group, change, command, position, now)?;
                Ok(true)
            }
            Sent::Rejoin { digest: known } if known == *digest => {
                self.ground(group)?;
                Ok(true)
            }
            Sent::Commit { .. } | Sent::Rejoin { .. } => Ok(false),
        }
    }

    fn own_change(
        &mut self,
        group: &GroupId,
        change: [u8; 16],
        command: Option<Sealed>,
        position: Position,
        now: Now,
    ) -> Result<(), Fault> {
        let queued = match &command {
            Some(Sealed { number, .. }) => {
                self.state.get::<Queued>(&records::queue(group), &records::key(*number))?
            }
            None => None,
        };
        let (outcome, welcome) = seat::confirm(self.group_seat(group)?, change)?;
        let added: Vec<[u8; 32]> = outcome.added.iter().map(|person| person.id).collect();
        self.changed(group, outcome, now)?;
        let Some(Sealed { number, operation }) = command else { return Ok(()) };
        let work = queued.map(|queued| queued.work);
        if let (Some(Work::Add(offers) | Work::Readmit(offers)), Some(welcome)) = (work, welcome) {
            for offer in offers {
                let offer = seat::read_offer(&offer)?;
                let id = seat::inspect(self.group_seat(group)?, offer.bundle.as_slice())?;
                if !added.contains(id.as_bytes()) {
                    continue;
                }
                let item = frame::encode(&MailItem::Invitation(Invitation {
                    package: frame::package_digest(offer.bundle.as_slice()),
                    log: *group,
                    position,
                    welcome: Opaque(welcome.clone()),
                }))?;
                self.state.add_request(&RequestRecord::Mail { mailbox: offer.mailbox, item })?;
            }
            self.enqueue(group, None, Work::Title)?;
        }
        self.dequeue(group, number)?;
        match operation {
            Some(operation) => {
                self.settle(Some(operation), &EventRecord::Done { operation, position })
            }
            None => Ok(()),
        }
    }

    /// All that the service has was read: what should be there, and is not, goes anew.
    fn check_in_flight(&mut self, group: &GroupId) -> Result<(), Fault> {
        let record = self.state.group(group)?;
        let Some(in_flight) = record.in_flight.clone() else { return Ok(()) };
        let (cursor, last_commit) = (record.cursor, record.last_commit);
        let answered = !self.state.requests.contains_key(&in_flight.request);
        let vanished = answered && in_flight.appended.is_none_or(|at| at <= cursor);
        match in_flight.what {
            Sent::Messages(_) => {
                let epoch = seat::epoch(self.group_seat(group)?);
                if vanished || epoch != in_flight.epoch {
                    // The epoch that they were sealed in is over. Should they arrive all the same, their
                    // numbers tell.
                    self.ground(group)?;
                }
            }
            Sent::Commit { .. } if vanished => {
                // Nothing else was taken in its place, or it would have been discarded: the same bytes
                // go again, behind what the service has as its last commit.
                let commit = seat::staged_commit(self.group_seat(group)?);
                self.ground(group)?;
                if let Some(commit) = commit {
                    let item = frame::encode(&GroupItem::Sealed(Opaque(commit)))?;
                    let items = vec![item];
                    self.launch(group, Some(last_commit), items, in_flight.epoch, in_flight.what)?;
                }
            }
            Sent::Rejoin { .. } if vanished => self.ground(group)?,
            Sent::Commit { .. } | Sent::Rejoin { .. } => {}
        }
        Ok(())
    }

    /// Keeps an item that is early; past the bound the oldest is given up.
    fn hold(&mut self, group: &GroupId, item: &Item) -> Result<(), Fault> {
        let record = self.state.group_mut(group)?;
        if record.held.contains(&item.position) {
            return Ok(());
        }
        record.held.push(item.position);
        let oldest = (record.held.len() > MAX_HELD).then(|| record.held.remove(0));
        let held = HeldItem { commit: item.commit, bytes: item.bytes.clone() };
        self.state.put(&records::held(group), records::key(item.position.0), &held)?;
        match oldest {
            Some(oldest) => {
                self.state.delete(&records::held(group), records::key(oldest.0))?;
                self.tell(group, oldest, Fate::TooLate)
            }
            None => Ok(()),
        }
    }

    /// Opens again what was early.
    fn retry_held(&mut self, log: &LogId, now: Now, ledger: &mut Ledger) -> Result<(), Fault> {
        let Some(record) = self.state.groups.get(log) else { return Ok(()) };
        for position in record.held.clone() {
            let scope = records::held(log);
            let held: Option<HeldItem> = self.state.get(&scope, &records::key(position.0))?;
            let fate = match held {
                None => Fate::TooLate,
                Some(HeldItem { commit, bytes }) => match frame::decode(&bytes) {
                    Ok(GroupItem::Sealed(wire)) => {
                        let item = Item { position, commit, bytes: Vec::new() };
                        self.open_sealed(log, wire.as_slice(), &item, now)?
                    }
                    Ok(GroupItem::Rejoin(_)) | Err(_) => Fate::Malformed,
                },
            };
            if fate.is_final() {
                self.state.delete(&scope, records::key(position.0))?;
                self.state.group_mut(log)?.held.retain(|held| *held != position);
                self.tell(log, position, fate)?;
                ledger.fates.push((*log, position, fate));
            }
        }
        Ok(())
    }

    /// The group goes on in the epoch that this member is in: it has not diverged.
    fn in_step(&mut self, group: &GroupId) -> Result<(), Fault> {
        let record = self.state.group(group)?;
        if !record.suspect && record.rejoins == 0 && record.standing == Standing::Member {
            return Ok(());
        }
        if matches!(record.standing, Standing::Rejoining(_)) {
            seat::cancel_rejoin(self.group_seat(group)?)?;
        }
        self.timers.suspects.remove(group);
        let record = self.state.group_mut(group)?;
        (record.suspect, record.rejoins, record.standing) = (false, 0, Standing::Member);
        Ok(())
    }

    /// Asks to be added anew, where this member has fallen out of step for long enough.
    pub(crate) fn rejoin_if_due(&mut self, group: &GroupId, now: Now) -> Result<(), Fault> {
        let record = self.state.group(group)?;
        let rejoining = matches!(record.standing, Standing::Rejoining(_));
        if !(record.suspect || rejoining) || record.rejoins >= MAX_REJOINS {
            return Ok(());
        }
        let patience = PATIENCE << record.rejoins.min(6);
        let due = *self.timers.suspects.entry(*group).or_insert(now.mono + patience);
        if due > now.mono {
            return Ok(());
        }
        self.timers.suspects.remove(group);
        self.ground(group)?;
        let bundle = seat::rejoin_package(self.group_seat(group)?, now)?;
        let record = self.state.group_mut(group)?;
        if !rejoining {
            record.standing = Standing::Rejoining(record.cursor);
        }
        record.rejoins += 1;
        let seat = record.seat.clone();
        let package = PackageRecord { seat, expires: None, rejoins: Some(*group) };
        self.state.put(&records::packages(), frame::package_digest(&bundle), &package)?;
        if !rejoining {
            self.state.emit(&EventRecord::Diverged { group: *group })?;
        }
        let mailbox = self.state.meta.mailbox;
        let item =
            frame::encode(&GroupItem::Rejoin(KeyPackageOffer { mailbox, bundle: Opaque(bundle) }))?;
        let digest = frame::item_digest(&item);
        let epoch = seat::epoch(self.group_seat(group)?);
        self.launch(group, None, vec![item], epoch, Sent::Rejoin { digest }).map(drop)
    }

    /// Somebody asks to be added anew.
    fn rejoin_request(
        &mut self,
        group: &GroupId,
        offer: KeyPackageOffer,
        position: Position,
        now: Now,
    ) -> Result<Fate, Fault> {
        let seat = self.group_seat(group)?;
        if !seat::may_rejoin(seat, offer.bundle.as_slice()) {
            return Ok(Fate::Malformed);
        }
        let offer = frame::encode(&offer)?;
        self.take_turn(group, Work::Readmit(vec![offer]), position, now)?;
        Ok(Fate::Request)
    }

    /// Queues what any member may do, at a time of this member's own, so that not all do it at once.
    fn take_turn(
        &mut self,
        group: &GroupId,
        work: Work,
        position: Position,
        now: Now,
    ) -> Result<(), Fault> {
        let rank = |id: &MemberId| -> [u8; 32] {
            let hash =
                Sha256::new().chain_update(id.as_bytes()).chain_update(position.0.to_be_bytes());
            hash.finalize().into()
        };
        let mine = rank(&self.identity.id);
        let members = seat::member_ids(self.group_seat(group)?);
        let before = members.iter().filter(|id| rank(id) < mine).count();
        let number = self.state.group(group)?.next_queued;
        let before = u64::try_from(before).unwrap_or(u64::MAX).min(30);
        self.timers.due.insert((*group, number), now.mono + before * TURN);
        self.enqueue(group, None, work)
    }

    /// An item of the mailbox.
    fn mail(&mut self, item: &Item, now: Now) -> Result<Fate, Fault> {
        let MailItem::Invitation(invitation) = match frame::decode(&item.bytes) {
            Err(FrameError::Unsupported) => return Ok(Fate::Unsupported),
            Err(FrameError::Malformed) => return Ok(Fate::Malformed),
            Ok(mail) => mail,
        };
        let Some(package) = self.package_record(&invitation.package)? else {
            return Ok(Fate::OrphanWelcome);
        };
        let Invitation { log, position, welcome, .. } = invitation;
        let known = self.state.groups.get(&log);
        let returns = known.is_some_and(|group| group.standing == Standing::Removed);
        if package.rejoins.is_some_and(|group| group != log)
            || (package.rejoins.is_none() && known.is_some() && !returns)
            || log == self.state.meta.mailbox
        {
            return Ok(Fate::Forged);
        }
        let seat = self.seat(&package.seat)?;
        if !seat::join(seat, welcome.as_slice())? {
            return Ok(Fate::Forged);
        }
        self.state.delete(&records::packages(), invitation.package)?;
        match package.rejoins {
            None => {
                let title = seat::title(self.seat(&package.seat)?);
                let mut record = GroupRecord::new(title.clone(), package.seat, position);
                record.next_message = first_message(now);
                if let Some(former) = self.state.groups.get(&log).cloned() {
                    self.erase_seat(&former.seat)?;
                    record.next_queued = former.next_queued;
                    record.next_message = record.next_message.max(former.next_message);
                }
                self.state.add_group(log, record);
                self.state.emit(&EventRecord::Entered { group: log, name: title })?;
            }
            Some(group) => {
                let record = self.state.group_mut(&group)?;
                let from = match record.standing {
                    Standing::Rejoining(from) => from,
                    Standing::Member | Standing::Removed => record.cursor,
                };
                // What was sent since the commit by which this member came back is held, or not read yet.
                (record.standing, record.joined_at) = (Standing::Member, position);
                (record.suspect, record.rejoins) = (false, 0);
                record.next_message = record.next_message.max(first_message(now));
                self.timers.suspects.remove(&group);
                self.ground(&group)?;
                self.state.emit(&EventRecord::Repaired { group, from, to: position })?;
            }
        }
        let timer = self.timers.log(&log);
        timer.caught_up = false;
        timer.next_poll = now.mono;
        Ok(Fate::Joined)
    }
}

/// Where the numbers of messages begin: behind all that this member may have used before its store was
/// put back to an old copy, which the others would take for second copies.
const fn first_message(now: Now) -> u64 {
    now.wall << 10
}

/// An item that is kept to be opened again.
#[derive(serde::Serialize, serde::Deserialize)]
struct HeldItem {
    commit: bool,
    bytes: Vec<u8>,
}
