//! What the application asks for.

use cc_core::{MemberId, limits::MAX_MESSAGE_LEN};

use crate::{
    AppRecord, Client, EventId, Fault, GroupId, History, JoinLinkId, JoinRequestId, LogId, Now,
    OperationId, PersonId, Position, Request, SafetyNumber,
    operations::Place,
    recipe::Role,
    records::{EventRecord, GroupRecord, Queued, RequestRecord, Standing, Work},
};

mod digest;

/// Commands that wait in one group.
const MAX_QUEUED: u32 = 10_000;
/// What the client has to say of itself, and what it does for the others, that waits beside them.
const MAX_OWN_QUEUED: u32 = 1_000;
/// Bytes of the longest title of a group: it is in a record that is written with every message.
pub(crate) const MAX_TITLE_LEN: usize = 1024;
/// Requests that wait for an answer.
pub(crate) const MAX_REQUESTS: usize = 4_096;

/// Something to be done. Its id makes asking twice harmless.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// Found a group.
    Found {
        /// Its id: [`GroupId::random`].
        group: GroupId,
        /// What it is called, at most 1024 bytes.
        title: String,
    },
    /// Send a message. It waits as text, and is sealed when it goes.
    Send {
        /// Where to.
        group: GroupId,
        /// What.
        content: Vec<u8>,
    },
    /// Pass on what was said before, to newcomers: they are told by [`Event::Forwarded`](crate::Event::Forwarded).
    /// [`Client::share_history`] makes as many of these as it takes.
    ShareHistory {
        /// Where to.
        group: GroupId,
        /// To whom, and what.
        history: History,
    },
    /// Add those who made these [key packages](Client::key_packages).
    Add {
        /// To which group.
        group: GroupId,
        /// One each.
        packages: Vec<Vec<u8>>,
    },
    /// Take a key package of whoever reads this mailbox from the directory, and add them.
    Invite {
        /// To which group.
        group: GroupId,
        /// [`Client::mailbox`] of who is to come.
        mailbox: LogId,
        /// Who is to come, where that is known: a directory that hands out the key package of somebody else
        /// is refused then. Without it, the device that says that the mailbox is its own, where one is known.
        member: Option<MemberId>,
    },
    /// Remove members.
    Remove {
        /// From which group.
        group: GroupId,
        /// Whom.
        members: Vec<MemberId>,
    },
    /// Ask the others to let this person go.
    Leave(GroupId),
    /// Renew this person's secrets in a group.
    Refresh(GroupId),
    /// Do not do a command of the past, if nothing of it was handed to the network yet:
    /// [`Verdict::Cancelled`](crate::Verdict::Cancelled) tells that. Otherwise it is done as it is.
    Cancel(OperationId),
    /// The safety number of this person was compared: it is verified.
    Verify(PersonId, SafetyNumber),
    /// The changed keys of this person are accepted without a comparison.
    AcceptChange(PersonId),
    /// Make the device that gave this [offer](Client::offer_device) one of this person's, and add it to all
    /// groups.
    Link(Vec<u8>),
    /// A device of this person is lost: it is removed from all groups, and everybody is told.
    Revoke(MemberId),
    /// Let [somebody who asks](Client::join_requests) into the group. That cannot be [cancelled](Self::Cancel).
    AcceptJoin(JoinRequestId),
    /// Do not let somebody in who asks. Who asked is told, and cannot ask by the same link again.
    DeclineJoin(JoinRequestId),
    /// Take back what this device [asked for](crate::Client::ask_to_join). Who was asked is told, and cannot let this device
    /// in any more, unless it asks again.
    WithdrawJoin(JoinRequestId),
    /// Nobody asks by this [link](Client::join_links) any more; who waits for an answer is declined.
    RevokeJoinLink(JoinLinkId),
    /// Be called like this from now on, on all devices of this person; at most 1024 bytes. Members of its groups
    /// are told. A device that cannot sign for its person cannot do that.
    Rename(String),
    /// Replace the key that signs for this person, where it may have been stolen. Others are told that it
    /// changed.
    ReplaceKeys,
}

impl Client {
    /// Takes a command, durably; an [`Event::Settled`](crate::Event::Settled) tells what became of it.
    /// The same command under the same id again does nothing, as long as its id is remembered: until it
    /// is settled, and 4096 settled ones longer.
    ///
    /// # Errors
    /// [`Fault::OperationExists`] for another command under the same id, [`Fault::AddressInUse`] for a group at the
    /// address of the own mailbox, [`Fault::NoSuchGroup`],
    /// [`Fault::NotAMember`], [`Fault::TooLong`], [`Fault::KeyPackage`], [`Fault::QueueFull`],
    /// [`Fault::MailboxClaimed`] for an invitation that does not say which device is meant;
    /// [`Fault::Untrusted`] for a message to a group with somebody whose keys have changed;
    /// [`Fault::NoSuchPerson`], [`Fault::NoSuchDevice`], [`Fault::SafetyNumber`], [`Fault::DeviceOffer`],
    /// [`Fault::NoSuchJoinRequest`] for one that was answered, [`Fault::NoSuchJoinLink`], and [`Fault::NoPersonKey`] on a
    /// device that cannot sign for its person.
    pub fn submit(&mut self, id: OperationId, command: Command) -> Result<(), Fault> {
        self.transact(|client| client.submit_now(id, command))
    }

    /// Takes a command as [`submit`](Self::submit) does, and gives what [`poll_request`](Self::poll_request)
    /// would, that of the command first, in one commit. Where nothing else is to be done before, a message is
    /// sealed with it, and so is on its way after one commit in place of two.
    ///
    /// # Errors
    /// As [`submit`](Self::submit) and [`poll_request`](Self::poll_request).
    pub fn submit_and_poll(
        &mut self,
        now: Now,
        id: OperationId,
        command: Command,
    ) -> Result<Option<Request>, Fault> {
        self.submit_all_and_poll(now, [(id, command)])
    }

    /// Takes several commands, all or none of them, as [`submit_and_poll`](Self::submit_and_poll) takes one:
    /// messages of one group are sealed and appended together.
    ///
    /// # Errors
    /// As [`submit`](Self::submit) and [`poll_request`](Self::poll_request).
    pub fn submit_all_and_poll(
        &mut self,
        now: Now,
        commands: impl IntoIterator<Item = (OperationId, Command)>,
    ) -> Result<Option<Request>, Fault> {
        self.transact(|client| {
            let mut to = None;
            for (id, command) in commands {
                if let Command::Send { group, .. } = &command {
                    to.get_or_insert(*group);
                }
                client.submit_now(id, command)?;
            }
            let first = match to {
                Some(group) => client.poll_group(&group, now)?,
                None => None,
            };
            match first {
                Some(request) => Ok(Some(request)),
                None => client.poll_now(now),
            }
        })
    }

    /// Takes several commands as [`submit`](Self::submit) does, all or none of them, in one commit.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn submit_all(
        &mut self,
        commands: impl IntoIterator<Item = (OperationId, Command)>,
    ) -> Result<(), Fault> {
        self.transact(|client| {
            commands.into_iter().try_for_each(|(id, command)| client.submit_now(id, command))
        })
    }

    /// Acknowledges all events through `through`, and takes a command that answers them, in one commit:
    /// a bot that is killed answers neither twice nor never.
    ///
    /// # Errors
    /// As [`submit`](Self::submit) and [`acknowledge`](Self::acknowledge).
    pub fn answer(
        &mut self,
        through: EventId,
        records: &[AppRecord],
        id: OperationId,
        command: Command,
    ) -> Result<(), Fault> {
        self.transact(|client| {
            client.acknowledge_now(through, records)?;
            client.submit_now(id, command)
        })
    }

    fn submit_now(&mut self, id: OperationId, command: Command) -> Result<(), Fault> {
        let digest = command.digest()?;
        match self.state.known(&id)? {
            Some(known) if known.digest == digest => return Ok(()),
            Some(_) => return Err(Fault::OperationExists(id)),
            None => self.state.note(id, digest)?,
        }
        match command {
            Command::Found { group, title } => self.found_now(id, group, title),
            Command::Send { group, content } => {
                if content.len() > MAX_MESSAGE_LEN / 2 {
                    return Err(Fault::TooLong);
                }
                if let Some(person) = self.untrusted_in(&group)? {
                    return Err(Fault::Untrusted(person));
                }
                let number = self.number_message(&group)?;
                self.enqueue(&group, Some(id), Work::Content { number, bytes: content })
            }
            Command::ShareHistory { group, history } => self.share_now(id, group, &history),
            Command::Add { group, packages } => {
                for package in &packages {
                    crate::seat::read_offer(package)?;
                }
                self.enqueue(&group, Some(id), Work::Add(packages))
            }
            Command::Invite { group, mailbox, member } => {
                self.expect_member(&group)?;
                if self.state.requests.len() >= MAX_REQUESTS {
                    return Err(Fault::QueueFull);
                }
                let member = match member {
                    Some(member) => Some(*member.as_bytes()),
                    None => match self.state.owners_of(&mailbox)?[..] {
                        [] => None,
                        [owner] => Some(owner),
                        // Any of them may claim what is another's.
                        _ => return Err(Fault::MailboxClaimed(mailbox)),
                    },
                };
                let (operation, attempts) = (Some(id), 0);
                let claim =
                    RequestRecord::Claim { group, mailbox, member, operation, digest, attempts };
                let request = self.state.add_request(&claim)?;
                self.state.note_place(&id, Place::Claim(request))
            }
            Command::Remove { group, members } => {
                let members = members.iter().map(|id| *id.as_bytes()).collect();
                self.enqueue(&group, Some(id), Work::Remove(members))
            }
            Command::Leave(group) => self.enqueue(&group, Some(id), Work::Leave),
            Command::Refresh(group) => self.enqueue(&group, Some(id), Work::Refresh),
            Command::Cancel(operation) => self.cancel_now(id, operation),
            Command::Verify(person, number) => {
                self.verify_person(&person, &number)?;
                self.settle_done(id)
            }
            Command::AcceptChange(person) => {
                self.accept_change(&person)?;
                self.settle_done(id)
            }
            Command::Link(offer) => self.link_device(id, &offer),
            Command::Revoke(device) => {
                self.revoke(&device)?;
                self.settle_done(id)
            }
            Command::Rename(name) => {
                self.rename(name)?;
                self.settle_done(id)
            }
            Command::ReplaceKeys => {
                self.replace_keys()?;
                self.settle_done(id)
            }
            Command::AcceptJoin(request) => self.accept_join(id, &request),
            Command::DeclineJoin(request) => self.decline_join(id, &request),
            Command::WithdrawJoin(request) => self.withdraw_join(id, &request),
            Command::RevokeJoinLink(link) => self.revoke_link(id, &link),
        }
    }

    /// The number of the next message of this member's in a group.
    pub(crate) fn number_message(&mut self, group: &GroupId) -> Result<u64, Fault> {
        let record = self.state.group_mut(group)?;
        let number = record.next_message;
        record.next_message += 1;
        Ok(number)
    }

    fn cancel_now(&mut self, id: OperationId, operation: OperationId) -> Result<(), Fault> {
        let known = self.state.known(&operation)?;
        let cancelled = match known.and_then(|known| known.place) {
            Some(Place::Queue(group, number)) => {
                let in_flight = self.state.groups.get(&group).and_then(|it| it.in_flight.as_ref());
                let handed_out = in_flight.is_some_and(|sent| sent.what.concerns(number));
                // Who asked to join and was accepted has its answer.
                let queued = self.state.queued(&group, number)?;
                let stands = queued.is_some_and(|it| matches!(it.work, Work::Admit { .. }));
                !handed_out && !stands && self.dequeue(&group, number)?.is_some()
            }
            Some(Place::Claim(request)) => {
                let handed_out = self.timers.offers.contains_key(&request);
                let waits = self.state.requests.contains_key(&request);
                if waits && !handed_out {
                    self.state.end_request(request)?;
                }
                waits && !handed_out
            }
            None => false,
        };
        let verdict = if cancelled {
            self.settle(Some(operation), &EventRecord::Cancelled { operation })?;
            EventRecord::Done { operation: id, position: Position::START }
        } else {
            EventRecord::Superseded { operation: id }
        };
        self.settle(Some(id), &verdict)
    }

    fn found_now(&mut self, id: OperationId, group: GroupId, title: String) -> Result<(), Fault> {
        if self.state.groups.contains_key(&group) {
            return Err(Fault::OperationExists(id));
        }
        if group == self.state.mailbox {
            return Err(Fault::AddressInUse(group));
        }
        if title.len() > MAX_TITLE_LEN {
            return Err(Fault::TooLong);
        }
        self.withdraw_offer()?;
        let seat = self.new_seat(Role::Founder(&title))?;
        self.state.add_group(group, GroupRecord::new(title.clone(), seat, Position::START));
        self.state.emit(&EventRecord::Entered { group, name: title })?;
        self.invite_own_devices(&group)?;
        self.settle(Some(id), &EventRecord::Done { operation: id, position: Position::START })
    }

    pub(crate) fn expect_member(&self, group: &GroupId) -> Result<(), Fault> {
        match self.state.group(group)?.standing {
            Standing::Removed => Err(Fault::NotAMember(*group)),
            Standing::Member | Standing::Rejoining(_) | Standing::Restored(_) => Ok(()),
        }
    }

    /// Puts work of a group into its queue; gives nothing, for the log decides.
    pub(crate) fn enqueue(
        &mut self,
        group: &GroupId,
        operation: Option<OperationId>,
        work: Work,
    ) -> Result<(), Fault> {
        self.expect_member(group)?;
        let record = self.state.group_mut(group)?;
        let room = MAX_QUEUED + if operation.is_some() { 0 } else { MAX_OWN_QUEUED };
        if record.queued >= room {
            return match operation {
                Some(_) => Err(Fault::QueueFull),
                // What the client does for the others, another member does as well.
                None => Ok(()),
            };
        }
        let number = record.next_queued;
        record.next_queued += 1;
        if let Some(operation) = operation {
            self.state.note_place(&operation, Place::Queue(*group, number))?;
        }
        self.put_back(group, number, Queued { operation, work })
    }

    /// Puts a command into its place in the queue, which is free.
    pub(crate) fn put_back(
        &mut self,
        group: &GroupId,
        number: u64,
        queued: Queued,
    ) -> Result<(), Fault> {
        let record = self.state.group_mut(group)?;
        record.queued = record.queued.saturating_add(1);
        self.state.put_queued(group, number, queued)
    }

    /// A command is settled: its event, and the oldest settled one is forgotten.
    pub(crate) fn settle(
        &mut self,
        operation: Option<OperationId>,
        event: &EventRecord,
    ) -> Result<(), Fault> {
        let Some(operation) = operation else { return Ok(()) };
        self.state.settle(operation, event)
    }
}

impl GroupRecord {
    /// A group that this person enters, at this position of its log.
    pub(crate) fn new(title: String, seat: String, position: Position) -> Self {
        Self {
            title,
            seat,
            cursor: position,
            last_commit: position,
            joined_at: position,
            standing: Standing::Member,
            access: None,
            next_queued: 0,
            queued: 0,
            leaves: None,
            next_message: 0,
            refreshed: None,
            sent_since_refresh: 0,
            in_flight: None,
            landed: Vec::new(),
            held: Vec::new(),
            suspect: false,
            rejoins: 0,
            replaced: false,
            request_expired: false,
            asked: 0,
            asking: Vec::new(),
            looked: 0,
        }
    }
}
