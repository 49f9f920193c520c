//! What the client wants of the network, and what answers do.

use cc_core::Opaque;

use crate::{
    AccessToken, Append, Call, Client, Failure, Fault, Follows, GroupId, LogId, Now, OperationId,
    Position, Publish, PublishedPackage, Purpose, Read, ReadAccess, Refusal, Reply, Request,
    RequestId,
    client::RequestTarget,
    delivery::MAX_APPEND,
    frame::{self, Content, Frame, GroupItem, item_digest},
    records::{
        self, CommitRecord, EventRecord, InFlight, Queued, RequestRecord, Sealed, Sent, Standing,
        StoredToken, Work,
    },
    seat::{self, Staged},
};

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
        self.timers.next()
    }

    /// The network has something new for this log: it is read at once.
    pub fn notify(&mut self, log: &LogId) {
        self.timers.log(log).next_poll = 0;
    }

    fn poll_now(&mut self, now: Now) -> Result<Option<Request>, Fault> {
        let waiting: Vec<RequestId> = self.state.requests.keys().copied().collect();
        for id in waiting {
            if self.timers.offer(id, now) {
                return self.stored_request(id).map(Some);
            }
        }
        let mailbox = self.state.meta.mailbox;
        if let Some(read) = self.read_if_due(mailbox, self.state.meta.mailbox_cursor, now)? {
            return Ok(Some(read));
        }
        let groups: Vec<GroupId> = self.state.groups.keys().copied().collect();
        let start = self.timers.turn;
        for step in 0..groups.len() {
            let turn = (start + step) % groups.len();
            let Some(group) = groups.get(turn) else { continue };
            self.timers.turn = turn + 1;
            if let Some(request) = self.poll_group(group, now)? {
                return Ok(Some(request));
            }
        }
        self.replenish(now)
    }

    fn poll_group(&mut self, group: &GroupId, now: Now) -> Result<Option<Request>, Fault> {
        let record = self.state.group(group)?;
        let (cursor, standing) = (record.cursor, record.standing);
        if standing == Standing::Removed {
            return Ok(None);
        }
        if let Some(read) = self.read_if_due(*group, cursor, now)? {
            return Ok(Some(read));
        }
        self.rejoin_if_due(group, now)?;
        if let Some(in_flight) = &self.state.group(group)?.in_flight {
            let id = in_flight.request;
            let waits = self.state.requests.contains_key(&id);
            let may_go = self.timers.log(group).send_after <= now.mono;
            return if waits && may_go && self.timers.offer(id, now) {
                self.stored_request(id).map(Some)
            } else {
                Ok(None)
            };
        }
        let timer = *self.timers.log(group);
        // Nothing is sealed before everything was read: it would be under an epoch that is over.
        let waits = !timer.caught_up || timer.head > cursor || timer.send_after > now.mono;
        if waits || standing != Standing::Member {
            return Ok(None);
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
                // Its stack is in no group: there is nothing that this member may read.
                None => return Ok(None),
            }
        };
        self.timers.log(&log).started(id, now);
        self.timers.reads.retain(|_, other| *other != log);
        self.timers.reads.insert(id, log);
        Ok(Some(Request { id, call: Call::Read(Read { log, after, access }) }))
    }

    fn stored_request(&self, id: RequestId) -> Result<Request, Fault> {
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
        let queue = records::queue(group);
        for (key, queued) in self.state.list::<Queued>(&queue, MAX_APPEND)? {
            let number = queue_number(&key)?;
            if self.timers.due.get(&(*group, number)).is_some_and(|due| *due > now.mono) {
                continue;
            }
            self.timers.due.remove(&(*group, number));
            match &queued.work {
                Work::Content { .. } | Work::Title | Work::Leave => {
                    return self.send_messages(group).map(Some);
                }
                work => {
                    if let Some(id) = self.stage(group, number, queued.operation, work, now)? {
                        return Ok(Some(id));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Seals the messages at the front of the queue.
    fn send_messages(&mut self, group: &GroupId) -> Result<RequestId, Fault> {
        let queue = self.state.list::<Queued>(&records::queue(group), MAX_APPEND)?;
        let title = self.state.group(group)?.title.clone();
        let (mut items, mut sent) = (Vec::new(), Vec::new());
        for (key, queued) in queue {
            let sealed = Sealed { number: queue_number(&key)?, operation: queued.operation };
            let seat = self.group_seat(group)?;
            let wire = match queued.work {
                Work::Content { number, bytes } => {
                    let id = match sealed.operation {
                        Some(id) => id,
                        None => OperationId::random()?,
                    };
                    let content = Content { number, id, bytes: Opaque(bytes) };
                    seat::seal(seat, group, &Frame::Content(content))?
                }
                Work::Title => {
                    seat::seal(seat, group, &Frame::Title(Opaque(title.clone().into_bytes())))?
                }
                Work::Leave => seat::leave(seat)?,
                // Changes go one by one, in their turn.
                Work::Add(_)
                | Work::Readmit(_)
                | Work::Remove(_)
                | Work::Refresh
                | Work::CommitLeaves => break,
            };
            let item = frame::encode(&GroupItem::Sealed(Opaque(wire)))?;
            sent.push((item_digest(&item), sealed));
            items.push(item);
        }
        let epoch = seat::epoch(self.group_seat(group)?);
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
        self.state.group_mut(group)?.in_flight =
            Some(InFlight { request, epoch, what, appended: None });
        Ok(request)
    }

    pub(crate) fn dequeue(&mut self, group: &GroupId, number: u64) -> Result<(), Fault> {
        self.timers.due.remove(&(*group, number));
        self.state.delete(&records::queue(group), records::key(number))
    }

    /// What is in flight is given up: what it was for is still in the queue.
    pub(crate) fn ground(&mut self, group: &GroupId) -> Result<(), Fault> {
        if let Some(in_flight) = self.state.group_mut(group)?.in_flight.take() {
            self.timers.offers.remove(&in_flight.request);
            self.state.end_request(in_flight.request)?;
        }
        Ok(())
    }

    /// Key packages for the directory, where it has too few.
    fn replenish(&mut self, now: Now) -> Result<Option<Request>, Fault> {
        let meta = &self.state.meta;
        let wanted = meta.packages_wanted;
        let there = meta.packages_there.unwrap_or(0);
        let under_way = self.state.requests.values().any(|t| *t == RequestTarget::Publish);
        if wanted == 0 || there > wanted / 2 || under_way {
            return Ok(None);
        }
        let mut packages = Vec::new();
        for _ in there..wanted.min(there + 64) {
            packages.push((self.new_package(now)?, false));
        }
        let id = self.state.add_request(&RequestRecord::Publish { packages })?;
        self.timers.offer(id, now);
        self.stored_request(id).map(Some)
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
        let settled = match (target, result) {
            (_, Err(Failure::Unknown)) => false,
            (_, Err(Failure::Refused(Refusal::Busy { retry_after }))) => {
                self.timers.delay(id, now.mono + retry_after);
                false
            }
            (RequestTarget::Group(group), Ok(Reply::Appended(position))) => {
                self.appended(&group, id, position)?;
                true
            }
            (RequestTarget::Group(group), Err(Failure::Refused(refusal))) => {
                self.append_refused(&group, id, refusal, now)?;
                true
            }
            (RequestTarget::Mail, Ok(Reply::Appended(_)) | Err(Failure::Refused(_))) => true,
            (RequestTarget::Publish, Ok(Reply::Published { remaining })) => {
                self.state.meta.packages_there = Some(remaining);
                true
            }
            (RequestTarget::Publish, Err(Failure::Refused(_))) => {
                // The directory takes no more.
                self.state.meta.packages_there = Some(self.state.meta.packages_wanted);
                true
            }
            (RequestTarget::Claim, Ok(Reply::Claimed(package))) => {
                self.claimed(id, package)?;
                true
            }
            (RequestTarget::Claim, Err(Failure::Refused(_))) => {
                self.claimed(id, None)?;
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

    fn appended(&mut self, group: &GroupId, id: RequestId, at: Position) -> Result<(), Fault> {
        let record = self.state.group_mut(group)?;
        if let Some(in_flight) = record.in_flight.as_mut().filter(|sent| sent.request == id) {
            // A hint: the log decides.
            in_flight.appended = Some(at);
            let timer = self.timers.log(group);
            timer.head = timer.head.max(at);
            timer.accepted();
        }
        Ok(())
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
                if let Sent::Messages(_) | Sent::Rejoin { .. } = in_flight.what {
                    self.ground(group)?;
                }
                return Ok(());
            }
            _ => {}
        }
        self.state.group_mut(group)?.in_flight = None;
        let why = format!("the delivery service refused it: {refusal}");
        let commands = match in_flight.what {
            Sent::Messages(sent) => sent.into_iter().map(|(_, sealed)| sealed).collect(),
            Sent::Commit { command, .. } => {
                seat::discard(self.group_seat(group)?)?;
                Vec::from_iter(command)
            }
            Sent::Rejoin { .. } => Vec::new(),
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

    fn claimed(&mut self, id: RequestId, package: Option<Vec<u8>>) -> Result<(), Fault> {
        let record = self.state.get::<RequestRecord>(&records::requests(), id.as_bytes())?;
        let Some(RequestRecord::Claim { group, operation, .. }) = record else { return Ok(()) };
        let offer = package.filter(|bytes| seat::read_offer(bytes).is_ok());
        let refused = |why: &str| EventRecord::Refused { operation, why: why.to_owned() };
        match offer {
            None => {
                self.settle(Some(operation), &refused("there is no key package of that person"))
            }
            Some(offer) => match self.enqueue(&group, Some(operation), Work::Add(vec![offer])) {
                Err(Fault::NotAMember(_) | Fault::NoSuchGroup(_)) => {
                    self.settle(Some(operation), &refused("not a member of the group any more"))
                }
                other => other,
            },
        }
    }
}

pub(crate) fn queue_number(key: &[u8]) -> Result<u64, Fault> {
    let key = key.try_into();
    let key = key.map_err(|_| cc_core::store::StoreError::corrupt("a command has no number"))?;
    Ok(u64::from_be_bytes(key))
}
