//! What answers to requests do.

use crate::{
    Client, Failure, Fault, GroupId, LogId, Now, OperationId, Position, Refusal, Reply, RequestId,
    agenda::Target,
    operations::Place,
    positions::Appended,
    records::{
        self, EventRecord, FlightRecord, RequestRecord, Sealed, Sent, SentMessage, Standing, Work,
    },
    seat,
    state::RequestTarget,
};

/// Expired key packages that a directory may hand out before an invitation is given up.
const MAX_CLAIMS: u32 = 16;

impl Client {
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
            RequestTarget::Mail
            | RequestTarget::MailAfter(_)
            | RequestTarget::Publish
            | RequestTarget::Claim => Target::Request(id),
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
            (RequestTarget::Mail | RequestTarget::MailAfter(_), Ok(Reply::Appended(_))) => true,
            (RequestTarget::Mail | RequestTarget::MailAfter(_), Err(Failure::Refused(refusal))) => {
                let mail = self.state.get(&records::requests(), id.as_bytes())?;
                if let Some(
                    RequestRecord::Mail { mailbox, .. } | RequestRecord::MailAfter { mailbox, .. },
                ) = mail
                {
                    let why = refusal.to_string();
                    self.state.emit(&EventRecord::NotDelivered { mailbox, why })?;
                }
                true
            }
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
            self.touch_mail_after(id);
            match target {
                // What was on its way stays until the log decides. After a restart it is offered again, and
                // refused as before.
                RequestTarget::Group(_) => drop(self.state.requests.remove(&id)),
                _ => self.state.end_request(id)?,
            }
        }
        Ok(())
    }

    /// Mail that waits for this one may go.
    fn touch_mail_after(&mut self, id: RequestId) {
        let requests = self.state.requests.iter();
        for (waits, _) in requests.filter(|(_, it)| **it == RequestTarget::MailAfter(id)) {
            self.timers.agenda.touch(Target::Request(*waits));
        }
    }

    /// The service says that it took what is in flight. That is a hint, for the log decides, and so it is
    /// not written: after a restart the request is offered again, and the service answers as before.
    fn appended(&mut self, group: &GroupId, id: RequestId, at: Position) {
        self.timers.appends = self.timers.appends.saturating_add(1);
        let count = self.timers.appends;
        self.timers.appended.insert(id, Appended { at, count });
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
                // What is read next brings another epoch, which ends the wait. If the service no longer has
                // it, the same is not sent again and again.
                let timer = self.timers.log(group);
                timer.head = timer.head.max(head);
                timer.refused(now);
                return Ok(());
            }
            Refusal::Conflict { .. } | Refusal::Denied => {
                let same_epoch = in_flight.epoch == seat::epoch(self.group_seat(group)?);
                let flight: Option<FlightRecord> =
                    self.state.get(records::flights(), group.as_bytes())?;
                let commit = flight.and_then(|flight| flight.commit);
                let same_commit = commit.is_none_or(|commit| commit.after == last_commit);
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
            Sent::Messages(sent) => {
                let sealed = |message: SentMessage| {
                    let SentMessage { number, queued, .. } = message;
                    Sealed { number, operation: queued.operation }
                };
                sent.into_iter().map(sealed).collect()
            }
            Sent::Commit { command, .. } => {
                seat::discard(self.group_seat(group)?)?;
                Vec::from_iter(command)
            }
        };
        for Sealed { number, operation } in commands {
            if let Some(queued) = self.dequeue(group, number)? {
                self.end_admission(&queued.work)?;
            }
            if let Some(operation) = operation {
                let why = why.clone();
                self.settle(Some(operation), &EventRecord::Refused { operation, why })?;
            }
        }
        Ok(())
    }

    fn claimed(&mut self, id: RequestId, package: Option<Vec<u8>>, now: Now) -> Result<(), Fault> {
        let record = self.state.get::<RequestRecord>(&records::requests(), id.as_bytes())?;
        let Some(RequestRecord::Claim { group, mailbox, member, operation, digest, attempts }) =
            record
        else {
            return Ok(());
        };
        let offer = package.filter(|bytes| seat::read_offer(bytes).is_ok());
        let Some(offer) = offer else {
            let why = "there is no key package of that person";
            return self.claim_refused(operation, mailbox, why);
        };
        if !Self::is_offer_of(&offer, &mailbox, member)? {
            let why = "the directory has the key package of somebody else in that place";
            return self.claim_refused(operation, mailbox, why);
        }
        if self.is_expired(&group, &offer, now)? && attempts < MAX_CLAIMS {
            // It lay in the directory for too long: the one behind it may be newer.
            let attempts = attempts + 1;
            let claim =
                RequestRecord::Claim { group, mailbox, member, operation, digest, attempts };
            let request = self.state.add_request(&claim)?;
            if let Some(operation) = operation {
                self.state.note_place(&operation, Place::Claim(request))?;
            }
            return Ok(());
        }
        match self.enqueue(&group, operation, Work::Add(vec![offer])) {
            Err(Fault::NotAMember(_) | Fault::NoSuchGroup(_)) => {
                self.claim_refused(operation, mailbox, "not a member of the group any more")
            }
            Err(Fault::QueueFull) => {
                self.claim_refused(operation, mailbox, "too much waits in the group")
            }
            other => other,
        }
    }

    /// Nobody is invited by a claim.
    fn claim_refused(
        &mut self,
        operation: Option<OperationId>,
        mailbox: LogId,
        why: &str,
    ) -> Result<(), Fault> {
        let why = why.to_owned();
        match operation {
            Some(operation) => {
                self.settle(Some(operation), &EventRecord::Refused { operation, why })
            }
            None => self.state.emit(&EventRecord::NotDelivered { mailbox, why }),
        }
    }

    /// Whether a stack is there by which key packages can be looked at.
    fn has_stack(&self, group: &GroupId) -> bool {
        let group = self.state.groups.get(group);
        group.is_some_and(|it| it.standing != Standing::Removed && !it.seat.is_empty())
    }

    /// Whether an offer says that it is of who reads the mailbox, and of the member who was asked for, if one was. That
    /// it is, is verified before anybody is added.
    fn is_offer_of(offer: &[u8], mailbox: &LogId, member: Option<[u8; 32]>) -> Result<bool, Fault> {
        let address = seat::read_offer(offer)?.address;
        let wanted = member.is_none_or(|member| member == address.body.member);
        Ok(wanted && address.mailbox() == *mailbox)
    }

    fn is_expired(&mut self, group: &GroupId, offer: &[u8], now: Now) -> Result<bool, Fault> {
        if !self.has_stack(group) {
            return Ok(false);
        }
        let bundle = seat::read_offer(offer)?.bundle;
        Ok(seat::is_expired(self.group_seat(group)?, bundle.as_slice(), now))
    }
}

#[cfg(test)]
mod liar;
