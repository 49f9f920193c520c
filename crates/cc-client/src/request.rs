//! What the client wants of the network.

use cc_core::{Opaque, store::StoreError};

use crate::{
    AccessToken, Append, Call, Client, Fault, Follows, GroupId, LogId, Now, OperationId, Position,
    Publish, PublishedPackage, Purpose, Read, ReadAccess, Request, RequestId,
    agenda::Target,
    delivery::{MAX_APPEND, MAX_PAGE_LEN},
    frame::{self, Content, Frame, GroupItem, item_digest},
    positions::PendingRead,
    records::{
        self, CommitRecord, EventRecord, FlightRecord, InFlight, Queued, RequestRecord, Sealed,
        Sent, SentMessage, Standing, StoredToken, Work,
    },
    seat::{self, Staged},
    state::RequestTarget,
};

/// Milliseconds until key packages are looked after again.
const UPKEEP: u64 = 6 * 3_600_000;
/// Bytes of sealed messages after which no more are put into one append.
const MAX_SEALED_LEN: usize = MAX_PAGE_LEN / 2;

impl Client {
    /// The next thing that the network is to do, `None` where nothing is to be done now. It is durable
    /// before it is handed out. What is not answered is offered again later, with the same id and the
    /// same bytes: forgetting an answer costs a retry.
    ///
    /// # Errors
    /// [`Fault`]; nothing has changed then.
    pub fn poll_request(&mut self, now: Now) -> Result<Option<Request>, Fault> {
        self.flush_if_due(now)?;
        self.transact(|client| client.poll_now(now))
    }

    /// When [`poll_request`](Self::poll_request) may have something again, in the caller's `mono`
    /// milliseconds; `None` where only a command or an answer can bring that about.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        let next = self.timers.agenda.next();
        next.into_iter().chain(self.kept_due()).min()
    }

    /// The network has something new for this log: it is read at once.
    pub fn notify(&mut self, log: &LogId) {
        if self.cursor(log).is_some() {
            self.timers.log(log).next_poll = 0;
            self.timers.agenda.touch(Target::Log(*log));
        }
    }

    /// Reads each log every so many milliseconds, where nothing else says that there is something new: 1000
    /// unless set. A driver that is told of new items, and [notifies](Self::notify), sets minutes. It is not
    /// kept: set it after opening.
    pub fn set_poll_interval(&mut self, milliseconds: u64) {
        self.timers.poll = milliseconds.max(1);
    }

    pub(crate) fn poll_now(&mut self, now: Now) -> Result<Option<Request>, Fault> {
        while let Some(target) = self.timers.agenda.take_due(now.mono) {
            let request = match target {
                Target::Log(log) if log == self.state.mailbox => {
                    self.read_if_due(log, self.state.meta.mailbox_cursor, now)?
                }
                Target::Log(group) => self.poll_group(&group, now)?,
                Target::Request(id) => self.poll_stored(id, now)?,
                Target::Arrival(at) => self.poll_arrival(at, now)?,
                Target::Packages => match self.replenish(now)? {
                    Some(id) => self.poll_stored(id, now)?,
                    None => None,
                },
            };
            if request.is_some() {
                // There may be more.
                self.timers.agenda.touch(target);
                return Ok(request);
            }
            let again = match target {
                Target::Log(log) => {
                    let group = self.state.groups.get(&log);
                    let over = group.is_some_and(|group| group.standing == Standing::Removed);
                    let in_flight = group.and_then(|group| group.in_flight.as_ref());
                    let waits = in_flight.map(|sent| sent.request);
                    let waits = waits.filter(|id| {
                        let there = self.state.requests.contains_key(id);
                        there && !self.timers.appended.contains_key(id)
                    });
                    if over { None } else { self.timers.next_look(&log, waits, now) }
                }
                Target::Request(id) if !self.state.requests.contains_key(&id) => {
                    // Of a commit that failed: there is no such request.
                    self.timers.offers.remove(&id);
                    None
                }
                Target::Request(id) => self.timers.offers.get(&id).map(|offer| offer.again),
                Target::Arrival(at) => self.arrival_due(at),
                Target::Packages => Some(now.mono.saturating_add(UPKEEP)),
            };
            self.timers.agenda.look_again(target, again);
        }
        Ok(None)
    }

    /// A request that is not of a group's log.
    fn poll_stored(&mut self, id: RequestId, now: Now) -> Result<Option<Request>, Fault> {
        let due = match self.state.requests.get(&id) {
            None => false,
            // The answer to the other one touches it.
            Some(RequestTarget::MailAfter(other)) if self.state.requests.contains_key(other) => {
                false
            }
            Some(_) => self.timers.offer(id, now),
        };
        if due { self.stored_request(id).map(Some) } else { Ok(None) }
    }

    pub(crate) fn poll_group(
        &mut self,
        group: &GroupId,
        now: Now,
    ) -> Result<Option<Request>, Fault> {
        let Some(record) = self.state.groups.get(group) else { return Ok(None) };
        let (cursor, standing) = (record.cursor, record.standing);
        if standing == Standing::Removed {
            return Ok(None);
        }
        if matches!(standing, Standing::Restored(_)) {
            return self.rejoin_if_due(group, now);
        }
        if let Some(read) = self.read_if_due(*group, cursor, now)? {
            return Ok(Some(read));
        }
        if let Some(request) = self.rejoin_if_due(group, now)? {
            return Ok(Some(request));
        }
        let record = self.state.group(group)?;
        let (in_flight, queued) = (record.in_flight.as_ref().map(|it| it.request), record.queued);
        let timer = *self.timers.log(group);
        if let Some(id) = in_flight {
            let waits = self.state.requests.contains_key(&id);
            let may_go =
                waits && timer.send_after <= now.mono && !self.timers.appended.contains_key(&id);
            return if may_go && self.timers.offer(id, now) {
                self.flight_request(group).map(Some)
            } else {
                Ok(None)
            };
        }
        // Nothing is sealed before everything was read: it would be under an epoch that is over.
        let waits = !timer.caught_up || timer.head > cursor || timer.send_after > now.mono;
        if waits || standing != Standing::Member {
            return Ok(None);
        }
        if queued == 0 {
            self.look_around_if_due(group, now)?;
            self.refresh_if_due(group, now)?;
            if self.state.group(group)?.queued == 0 {
                return Ok(None);
            }
        }
        let request = self.start_work(group, now)?;
        if let Some(request) = &request {
            self.timers.offer(request.id, now);
        }
        Ok(request)
    }

    fn read_if_due(
        &mut self,
        log: LogId,
        after: Position,
        now: Now,
    ) -> Result<Option<Request>, Fault> {
        let timer = self.timers.log(&log);
        if !timer.is_due(after, now) {
            return Ok(None);
        }
        let id = RequestId::random()?;
        let access = if log == self.state.mailbox {
            ReadAccess::Owner(self.identity.mailbox.prove(id, Purpose::Read(after)))
        } else {
            match self.access_token(&log)? {
                Some(token) => ReadAccess::Token(token),
                None => {
                    // Its stack is in no group: there is nothing that this member may read.
                    self.timers.log(&log).failed(now);
                    return Ok(None);
                }
            }
        };
        self.timers.log(&log).started(id, now);
        let appends = self.timers.appends;
        self.timers.reads.retain(|_, other| other.log != log);
        self.timers.reads.insert(id, PendingRead { log, after, appends });
        Ok(Some(Request { id, call: Call::Read(Read { log, after, access }) }))
    }

    pub(crate) fn stored_request(&self, id: RequestId) -> Result<Request, Fault> {
        let record: RequestRecord = self
            .state
            .get(&records::requests(), id.as_bytes())?
            .ok_or_else(|| StoreError::corrupt("a request has no record"))?;
        let call = match record {
            RequestRecord::Mail { mailbox, item }
            | RequestRecord::MailAfter { mailbox, item, .. } => {
                Call::Append(Append { log: mailbox, access: None, commit: None, items: vec![item] })
            }
            RequestRecord::Publish { packages } => {
                let packages: Vec<_> = packages
                    .into_iter()
                    .map(|(bytes, last_resort)| PublishedPackage { bytes, last_resort })
                    .collect();
                let proof = self.identity.mailbox.prove(id, Purpose::Publish(&packages));
                Call::Publish(Publish { mailbox: self.state.mailbox, proof, packages })
            }
            RequestRecord::Claim { mailbox, .. } => Call::Claim(mailbox),
        };
        Ok(Request { id, call })
    }

    /// What is on its way to a group's log, once more.
    fn flight_request(&self, group: &GroupId) -> Result<Request, Fault> {
        let flight: Option<FlightRecord> = self.state.get(records::flights(), group.as_bytes())?;
        let flight = flight.ok_or_else(|| StoreError::corrupt("a request has no record"))?;
        Ok(flight.request(group))
    }

    /// Shows that this person is in the present epoch of a group; `None` where it is not. It is kept, so
    /// that a group is read without opening its stack.
    fn access_token(&mut self, group: &GroupId) -> Result<Option<AccessToken>, Fault> {
        if let Some(StoredToken(token)) = &self.state.group(group)?.access {
            return Ok(Some(token.clone()));
        }
        let token = seat::access(self.group_seat(group)?, group)?;
        if let Some(token) = &token {
            self.state.set_access(group, Some(token.clone()))?;
        }
        Ok(token)
    }

    /// Makes the next request of a group's queue; `None` where nothing in it is due.
    fn start_work(&mut self, group: &GroupId, now: Now) -> Result<Option<Request>, Fault> {
        self.refuse_untrusted(group)?;
        let mut front = self.state.waiting(group, MAX_APPEND)?.into_iter();
        while let Some(number) = front.next() {
            let Some(queued) = self.state.queued(group, number)? else { continue };
            if self.timers.due.get(&(*group, number)).is_some_and(|due| *due > now.mono) {
                continue;
            }
            self.timers.forget_command(group, number);
            if queued.work.is_message() {
                return self.send_messages(group, (number, queued), front).map(Some);
            }
            let work = &queued.work;
            if let Some(request) = self.stage(group, number, queued.operation, work, now)? {
                return Ok(Some(request));
            }
        }
        Ok(None)
    }

    /// Seals the messages at the front of the queue: as many as one append holds.
    fn send_messages(
        &mut self,
        group: &GroupId,
        first: (u64, Queued),
        rest: impl Iterator<Item = u64>,
    ) -> Result<Request, Fault> {
        let (mut wires, mut frames, mut commands, mut len) = (vec![], vec![], vec![], 0);
        let mut contents = vec![];
        let (mut next, mut rest) = (Some(first), rest);
        while let Some((number, queued)) = next {
            // Changes go one by one, in their turn.
            if !queued.work.is_message() || len > MAX_SEALED_LEN {
                break;
            }
            self.state.forget_queued(group, number)?;
            let mut content = None;
            let frame = match &queued.work {
                Work::Content { number, bytes } | Work::History { number, bytes } => {
                    let id = match queued.operation {
                        Some(id) => id,
                        None => OperationId::random()?,
                    };
                    content = Some(id);
                    let said = Content { number: *number, id, bytes: bytes.as_slice().into() };
                    Some(match &queued.work {
                        Work::History { .. } => Frame::History(said),
                        _ => Frame::Content(said),
                    })
                }
                Work::Introduction => Some(self.introduction()?),
                Work::Leave => None,
                _ => {
                    let title = self.state.group(group)?.title.clone();
                    Some(Frame::Title(Opaque(title.into_bytes())))
                }
            };
            match frame {
                Some(frame) => {
                    let frame = frame::encode(&frame)?;
                    len += frame.len();
                    frames.push(frame);
                }
                None => {
                    let seat = self.group_seat(group)?;
                    wires.extend(seat::seal_all(seat, group, core::mem::take(&mut frames))?);
                    wires.push((seat::leave(seat)?, Vec::new()));
                }
            }
            contents.push(content);
            commands.push((number, queued));
            next = match rest.next() {
                Some(number) => self.state.queued(group, number)?.map(|queued| (number, queued)),
                None => None,
            };
        }
        wires.extend(seat::seal_all(self.group_seat(group)?, group, frames)?);
        let (mut items, mut sent) = (Vec::new(), Vec::new());
        for (((wire, report), content), (number, queued)) in
            wires.into_iter().zip(contents).zip(commands)
        {
            if let Some(id) = content {
                self.note_report(id, report);
            }
            let item = frame::encode(&GroupItem::Sealed(Opaque(wire)))?;
            sent.push(SentMessage { digest: item_digest(&item), number, queued });
            items.push(item);
        }
        let epoch = seat::epoch(self.group_seat(group)?);
        let said = sent.iter().filter(|message| message.queued.work.is_said()).count();
        let count = u64::try_from(said).unwrap_or(u64::MAX);
        let record = self.state.group_mut(group)?;
        record.sent_since_refresh = record.sent_since_refresh.saturating_add(count);
        self.launch(group, None, items, epoch, Sent::Messages(sent))
    }

    /// Stages a change; `None`, and the command is settled, where nothing of it is left to do.
    fn stage(
        &mut self,
        group: &GroupId,
        number: u64,
        operation: Option<OperationId>,
        work: &Work,
        now: Now,
    ) -> Result<Option<Request>, Fault> {
        if self.drop_if_withdrawn(group, number, operation, work)? {
            return Ok(None);
        }
        let staged = match self.revoked_in(group, work)? {
            Some(member) => {
                Staged::Refused(format!("the device {member} was revoked by whose it was"))
            }
            None => {
                let latest = self.latest_address()?;
                seat::stage(self.group_seat(group)?, work, latest, now)?
            }
        };
        match staged {
            Staged::Change { id, commit } => {
                let command = Some(Sealed { number, operation });
                let item = frame::encode(&GroupItem::Sealed(Opaque(commit)))?;
                let digest = item_digest(&item);
                let record = self.state.group(group)?;
                let after = record.last_commit;
                let epoch = seat::epoch(self.group_seat(group)?);
                let sent = Sent::Commit { digest, change: id, command };
                self.launch(group, Some(after), vec![item], epoch, sent).map(Some)
            }
            Staged::Nothing => {
                self.dequeue(group, number)?;
                self.end_needless_admission(work)?;
                if let Some(operation) = operation {
                    self.settle(Some(operation), &EventRecord::Superseded { operation })?;
                }
                Ok(None)
            }
            Staged::Refused(why) => {
                self.dequeue(group, number)?;
                self.end_admission(work)?;
                if let Some(operation) = operation {
                    self.settle(Some(operation), &EventRecord::Refused { operation, why })?;
                }
                Ok(None)
            }
        }
    }

    /// A request to a group's log, which is in flight from now on.
    pub(crate) fn launch(
        &mut self,
        group: &GroupId,
        after: Option<Position>,
        items: Vec<Vec<u8>>,
        epoch: u64,
        what: Sent,
    ) -> Result<Request, Fault> {
        let access = self.access_token(group)?.ok_or(Fault::NotAMember(*group))?;
        let commit = match after {
            Some(after) => {
                let next = seat::next_access(self.group_seat(group)?, group)?;
                let next = next.ok_or(Fault::Recipe("a staged change leads to no epoch"))?.hash();
                Some(CommitRecord { after, next })
            }
            None => None,
        };
        let in_flight = InFlight { request: RequestId::random()?, epoch, what };
        let flight = FlightRecord { access: StoredToken(access), commit, items, in_flight };
        self.state.take_off(group, &flight)?;
        Ok(flight.request(group))
    }

    /// Takes a command out of the queue; gives it, if it was there.
    pub(crate) fn dequeue(
        &mut self,
        group: &GroupId,
        number: u64,
    ) -> Result<Option<Queued>, Fault> {
        self.timers.forget_command(group, number);
        let queued = self.state.queued(group, number)?;
        if queued.is_some() {
            self.state.forget_queued(group, number)?;
            self.state.count_off(group)?;
        }
        Ok(queued)
    }

    /// What is in flight is given up: what it was for is still in the queue.
    pub(crate) fn ground(&mut self, group: &GroupId) -> Result<(), Fault> {
        if let Some(request) = self.state.ground(group)? {
            self.timers.offers.remove(&request);
            self.timers.appended.remove(&request);
        }
        Ok(())
    }
}

impl FlightRecord {
    fn request(self, group: &GroupId) -> Request {
        let StoredToken(token) = self.access;
        let follows = |CommitRecord { after, next }| Follows { after, next: Some(next) };
        let (access, commit) = (Some(token), self.commit.map(follows));
        let append = Append { log: *group, access, commit, items: self.items };
        Request { id: self.in_flight.request, call: Call::Append(append) }
    }
}
