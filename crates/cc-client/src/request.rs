//! What the client wants of the network, and what answers do.

use cc_core::Opaque;

use crate::{
    AccessToken, Append, Call, Client, Failure, Fault, Follows, GroupId, LogId, Now, OperationId,
    Position, Publish, PublishedPackage, Purpose, Read, ReadAccess, Refusal, Reply, Request,
    RequestId,
    agenda::Target,
    client::RequestTarget,
    delivery::{MAX_APPEND, MAX_PAGE_LEN},
    frame::{self, Content, Frame, GroupItem, item_digest},
    records::{
        self, CommitRecord, EventRecord, InFlight, Queued, RequestRecord, Sealed, Sent, Standing,
        StoredToken, Work,
    },
    seat::{self, Staged},
};

/// Expired key packages that a directory may hand out before an invitation is given up.
const MAX_CLAIMS: u32 = 16;
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
        self.transact(|client| client.poll_now(now))
    }

    /// When [`poll_request`](Self::poll_request) may have something again, in the caller's `mono`
    /// milliseconds; `None` where only a command or an answer can bring that about.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        self.timers.agenda.next()
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
                Target::Log(log) if log == self.state.meta.mailbox => {
                    self.read_if_due(log, self.state.meta.mailbox_cursor, now)?
                }
                Target::Log(group) => self.poll_group(&group, now)?,
                Target::Request(id) => self.poll_stored(id, now)?,
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
                Target::Request(id) => self.timers.offers.get(&id).map(|offer| offer.again),
                Target::Packages => Some(now.mono.saturating_add(UPKEEP)),
            };
            self.timers.agenda.look_again(target, again);
        }
        Ok(None)
    }

    /// A request that is not of a group's log.
    fn poll_stored(&mut self, id: RequestId, now: Now) -> Result<Option<Request>, Fault> {
        let waits = self.state.requests.contains_key(&id) && self.timers.offer(id, now);
        if waits { self.stored_request(id).map(Some) } else { Ok(None) }
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
                self.stored_request(id).map(Some)
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
            self.refresh_if_due(group, now)?;
            if self.state.group(group)?.queued == 0 {
                return Ok(None);
            }
        }
        let Some(id) = self.start_work(group, now)? else { return Ok(None) };
        self.timers.offer(id, now);
        self.stored_request(id).map(Some)
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
        let access = if log == self.state.meta.mailbox {
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
        self.timers.reads.retain(|_, other| *other != log);
        self.timers.reads.insert(id, log);
        Ok(Some(Request { id, call: Call::Read(Read { log, after, access }) }))
    }

    pub(crate) fn stored_request(&self, id: RequestId) -> Result<Request, Fault> {
        let record: RequestRecord = self
            .state
            .get(&records::requests(), id.as_bytes())?
            .ok_or_else(|| cc_core::store::StoreError::corrupt("a request has no record"))?;
        let call = match record {
            RequestRecord::Append { group, access: StoredToken(token), commit, items } => {
                let follows = |CommitRecord { after, next }| Follows { after, next: Some(next) };
                let (access, commit) = (Some(token), commit.map(follows));
                Call::Append(Append { log: group, access, commit, items })
            }
            RequestRecord::Mail { mailbox, item } => {
                Call::Append(Append { log: mailbox, access: None, commit: None, items: vec![item] })
            }
            RequestRecord::Publish { packages } => {
                let packages: Vec<_> = packages
                    .into_iter()
                    .map(|(bytes, last_resort)| PublishedPackage { bytes, last_resort })
                    .collect();
                let proof = self.identity.mailbox.prove(id, Purpose::Publish(&packages));
                Call::Publish(Publish { mailbox: self.state.meta.mailbox, proof, packages })
            }
            RequestRecord::Claim { mailbox, .. } => Call::Claim(mailbox),
        };
        Ok(Request { id, call })
    }

    /// Shows that this person is in the present epoch of a group; `None` where it is not. It is kept, so
    /// that a group is read without opening its stack.
    fn access_token(&mut self, group: &GroupId) -> Result<Option<AccessToken>, Fault> {
        if let Some(StoredToken(token)) = &self.state.group(group)?.access {
            return Ok(Some(token.clone()));
        }
        let token = seat::access(self.group_seat(group)?, group)?;
        if let Some(token) = &token {
            self.state.group_mut(group)?.access = Some(StoredToken(token.clone()));
        }
        Ok(token)
    }

    /// Makes the next request of a group's queue; `None` where nothing in it is due.
    fn start_work(&mut self, group: &GroupId, now: Now) -> Result<Option<RequestId>, Fault> {
        self.refuse_untrusted(group)?;
        let mut front = self.state.list::<Queued>(&records::queue(group), MAX_APPEND)?.into_iter();
        while let Some((key, queued)) = front.next() {
            let number = queue_number(&key)?;
            if self.timers.due.get(&(*group, number)).is_some_and(|due| *due > now.mono) {
                continue;
            }
            self.timers.forget_command(group, number);
            if queued.work.is_message() {
                return self.send_messages(group, (number, queued), front).map(Some);
            }
            let work = &queued.work;
            if let Some(id) = self.stage(group, number, queued.operation, work, now)? {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// Seals the messages at the front of the queue: as many as one append holds.
    fn send_messages(
        &mut self,
        group: &GroupId,
        first: (u64, Queued),
        rest: impl Iterator<Item = (Vec<u8>, Queued)>,
    ) -> Result<RequestId, Fault> {
        let (mut wires, mut frames, mut commands, mut len) = (vec![], vec![], vec![], 0);
        let rest = rest.map(|(key, queued)| queue_number(&key).map(|number| (number, queued)));
        for next in core::iter::once(Ok(first)).chain(rest) {
            let (number, queued) = next?;
            // Changes go one by one, in their turn.
            if !queued.work.is_message() || len > MAX_SEALED_LEN {
                break;
            }
            let operation = queued.operation;
            commands.push(Sealed { number, operation });
            let frame = match queued.work {
                Work::Content { number, bytes } => {
                    let id = match operation {
                        Some(id) => id,
                        None => OperationId::random()?,
                    };
                    let content = Content { number, id, bytes: Opaque(bytes) };
                    let frame = frame::encode(&Frame::Content(content))?;
                    len += frame.len();
                    frames.push(frame);
                    let seat = self.group_seat(group)?;
                    wires.extend(seat::seal_all(seat, group, core::mem::take(&mut frames))?);
                    // The stack has the report of the last one that it sealed.
                    self.note_report(group, id)?;
                    continue;
                }
                Work::Introduction => self.introduction()?,
                Work::Roster(chunk) => self.roster(group, chunk)?,
                Work::Leave => {
                    let seat = self.group_seat(group)?;
                    wires.extend(seat::seal_all(seat, group, core::mem::take(&mut frames))?);
                    wires.push(seat::leave(seat)?);
                    continue;
                }
                _ => {
                    let title = self.state.group(group)?.title.clone();
                    Frame::Title(Opaque(title.into_bytes()))
                }
            };
            let frame = frame::encode(&frame)?;
            len += frame.len();
            frames.push(frame);
        }
        wires.extend(seat::seal_all(self.group_seat(group)?, group, frames)?);
        let (mut items, mut sent) = (Vec::new(), Vec::new());
        for (wire, command) in wires.into_iter().zip(commands) {
            let item = frame::encode(&GroupItem::Sealed(Opaque(wire)))?;
            sent.push((item_digest(&item), command));
            items.push(item);
        }
        let epoch = seat::epoch(self.group_seat(group)?);
        let count = u64::try_from(sent.len()).unwrap_or(u64::MAX);
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
    ) -> Result<Option<RequestId>, Fault> {
        let staged = seat::stage(self.group_seat(group)?, work, now)?;
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
                if let Some(operation) = operation {
                    self.settle(Some(operation), &EventRecord::Superseded { operation })?;
                }
                Ok(None)
            }
            Staged::Refused(why) => {
                self.dequeue(group, number)?;
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
    ) -> Result<RequestId, Fault> {
        let access = self.access_token(group)?.ok_or(Fault::NotAMember(*group))?;
        let commit = match after {
            Some(after) => {
                let next = seat::next_access(self.group_seat(group)?, group)?;
                let next = next.ok_or(Fault::Recipe("a staged change leads to no epoch"))?.hash();
                Some(CommitRecord { after, next })
            }
            None => None,
        };
        let access = StoredToken(access);
        let append = RequestRecord::Append { group: *group, access, commit, items };
        let request = self.state.add_request(&append)?;
        self.state.group_mut(group)?.in_flight = Some(InFlight { request, epoch, what });
        Ok(request)
    }

    /// Takes a command out of the queue; gives it, if it was there.
    pub(crate) fn dequeue(
        &mut self,
        group: &GroupId,
        number: u64,
    ) -> Result<Option<Queued>, Fault> {
        self.timers.forget_command(group, number);
        let (scope, key) = (records::queue(group), records::key(number));
        let queued = self.state.get::<Queued>(&scope, &key)?;
        if queued.is_some() {
            let record = self.state.group_mut(group)?;
            record.queued = record.queued.saturating_sub(1);
            self.state.delete(&scope, key)?;
        }
        Ok(queued)
    }

    /// What is in flight is given up: what it was for is still in the queue.
    pub(crate) fn ground(&mut self, group: &GroupId) -> Result<(), Fault> {
        if let Some(in_flight) = self.state.group_mut(group)?.in_flight.take() {
            self.timers.offers.remove(&in_flight.request);
            self.timers.appended.remove(&in_flight.request);
            self.state.end_request(in_flight.request)?;
        }
        Ok(())
    }

    /// Takes the answer to a request. One that is not known (answered before, or of another client) does
    /// nothing.
    pub(crate) fn response_now(
        &mut self,
        id: RequestId,
        result: Result<Reply, Failure>,
        now: Now,
    ) -> Result<(), Fault> {
        let Some(target) = self.state.requests.get(&id).copied() else { return Ok(()) };
        self.timers.agenda.touch(match target {
            RequestTarget::Group(group) => Target::Log(group),
            RequestTarget::Mail | RequestTarget::Publish | RequestTarget::Claim => {
                Target::Request(id)
            }
        });
        let settled = match (target, result) {
            (_, Err(Failure::Unknown)) => false,
            (_, Err(Failure::Refused(Refusal::Busy { retry_after }))) => {
                self.timers.delay(id, now.mono.saturating_add(retry_after));
                false
            }
            (RequestTarget::Group(group), Ok(Reply::Appended(position))) => {
                self.appended(&group, id, position);
                false
            }
            (RequestTarget::Group(group), Err(Failure::Refused(refusal))) => {
                self.append_refused(&group, id, refusal, now)?;
                true
            }
            (RequestTarget::Mail, Ok(Reply::Appended(_)) | Err(Failure::Refused(_))) => true,
            (RequestTarget::Publish, Ok(Reply::Published { remaining })) => {
                self.state.meta.packages_there = Some(remaining);
                self.timers.agenda.touch(Target::Packages);
                true
            }
            (RequestTarget::Publish, Err(Failure::Refused(_))) => {
                // The directory takes no more.
                self.state.meta.packages_there = Some(self.state.meta.packages_wanted);
                true
            }
            (RequestTarget::Claim, Ok(Reply::Claimed(package))) => {
                self.claimed(id, package, now)?;
                true
            }
            (RequestTarget::Claim, Err(Failure::Refused(_))) => {
                self.claimed(id, None, now)?;
                true
            }
            // An answer of another kind is none.
            (_, Ok(_)) => false,
        };
        if settled {
            self.timers.offers.remove(&id);
            self.state.end_request(id)?;
        }
        Ok(())
    }

    /// The service says that it took what is in flight. That is a hint, for the log decides, and so it is
    /// not written: after a restart the request is offered again, and the service answers as before.
    fn appended(&mut self, group: &GroupId, id: RequestId, at: Position) {
        self.timers.appended.insert(id, at);
        let timer = self.timers.log(group);
        timer.head = timer.head.max(at);
        timer.accepted();
    }

    fn append_refused(
        &mut self,
        group: &GroupId,
        id: RequestId,
        refusal: Refusal,
        now: Now,
    ) -> Result<(), Fault> {
        let record = self.state.group(group)?;
        let (cursor, last_commit) = (record.cursor, record.last_commit);
        let Some(in_flight) = record.in_flight.clone().filter(|sent| sent.request == id) else {
            return Ok(());
        };
        match refusal {
            Refusal::Conflict { head } if head > cursor => {
                let timer = self.timers.log(group);
                timer.head = timer.head.max(head);
                return Ok(());
            }
            Refusal::Conflict { .. } | Refusal::Denied => {
                let same_epoch = in_flight.epoch == seat::epoch(self.group_seat(group)?);
                let same_commit = match self.state.get(&records::requests(), id.as_bytes())? {
                    Some(RequestRecord::Append { commit: Some(commit), .. }) => {
                        commit.after == last_commit
                    }
                    _ => true,
                };
                if same_epoch && same_commit {
                    // All was read, and still the service takes nothing of this epoch: it has another
                    // one than this member. What waits goes again once that is mended.
                    self.timers.log(group).refused(now);
                    self.state.group_mut(group)?.suspect = true;
                }
                if let Sent::Messages(_) = in_flight.what {
                    self.ground(group)?;
                }
                return Ok(());
            }
            _ => {}
        }
        self.ground(group)?;
        let why = format!("the delivery service refused it: {refusal}");
        let commands = match in_flight.what {
            Sent::Messages(sent) => sent.into_iter().map(|(_, sealed)| sealed).collect(),
            Sent::Commit { command, .. } => {
                seat::discard(self.group_seat(group)?)?;
                Vec::from_iter(command)
            }
        };
        for Sealed { number, operation } in commands {
            self.dequeue(group, number)?;
            if let Some(operation) = operation {
                let why = why.clone();
                self.settle(Some(operation), &EventRecord::Refused { operation, why })?;
            }
        }
        Ok(())
    }

    fn claimed(&mut self, id: RequestId, package: Option<Vec<u8>>, now: Now) -> Result<(), Fault> {
        let record = self.state.get::<RequestRecord>(&records::requests(), id.as_bytes())?;
        let Some(RequestRecord::Claim { group, mailbox, member, operation, attempts }) = record
        else {
            return Ok(());
        };
        let refused = |why: &str| EventRecord::Refused { operation, why: why.to_owned() };
        let offer = package.filter(|bytes| seat::read_offer(bytes).is_ok());
        let Some(offer) = offer else {
            let why = "there is no key package of that person";
            return self.settle(Some(operation), &refused(why));
        };
        if !self.is_offer_of(&group, &offer, member)? {
            let why = "the directory has the key package of somebody else in that place";
            return self.settle(Some(operation), &refused(why));
        }
        if self.is_expired(&group, &offer, now)? && attempts < MAX_CLAIMS {
            // It lay in the directory for too long: the one behind it may be newer.
            let attempts = attempts + 1;
            let claim = RequestRecord::Claim { group, mailbox, member, operation, attempts };
            return self.state.add_request(&claim).map(drop);
        }
        match self.enqueue(&group, Some(operation), Work::Add(vec![offer])) {
            Err(Fault::NotAMember(_) | Fault::NoSuchGroup(_)) => {
                self.settle(Some(operation), &refused("not a member of the group any more"))
            }
            Err(Fault::QueueFull) => {
                self.settle(Some(operation), &refused("too much waits in the group"))
            }
            other => other,
        }
    }

    /// Whether a key package is that of the member who was asked for, if one was.
    fn is_offer_of(
        &mut self,
        group: &GroupId,
        offer: &[u8],
        member: Option<[u8; 32]>,
    ) -> Result<bool, Fault> {
        let Some(member) = member.filter(|_| self.expect_member(group).is_ok()) else {
            return Ok(true);
        };
        let bundle = seat::read_offer(offer)?.bundle;
        let offered = seat::inspect(self.group_seat(group)?, bundle.as_slice());
        Ok(offered.is_ok_and(|offered| *offered.as_bytes() == member))
    }

    fn is_expired(&mut self, group: &GroupId, offer: &[u8], now: Now) -> Result<bool, Fault> {
        if self.expect_member(group).is_err() {
            return Ok(false);
        }
        let bundle = seat::read_offer(offer)?.bundle;
        let expires = seat::expires(self.group_seat(group)?, bundle.as_slice());
        Ok(expires.is_some_and(|expires| expires <= now.seconds()))
    }
}

pub(crate) fn queue_number(key: &[u8]) -> Result<u64, Fault> {
    let key = key.try_into();
    let key = key.map_err(|_| cc_core::store::StoreError::corrupt("a command has no number"))?;
    Ok(u64::from_be_bytes(key))
}
