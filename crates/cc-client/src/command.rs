//! What the application asks for.

use cc_core::{MemberId, limits::MAX_MESSAGE_LEN};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::{
    AppRecord, Client, EventId, Fault, GroupId, LogId, OperationId, Position,
    recipe::Role,
    records::{
        self, EventRecord, GroupRecord, OperationRecord, Queued, RequestRecord, Standing, Work,
    },
};

/// Settled commands whose ids are remembered.
const REMEMBERED: u64 = 4096;

/// Something to be done. Its id makes asking twice harmless.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// Found a group.
    Found {
        /// Its id: [`GroupId::random`].
        group: GroupId,
        /// What it is called.
        title: String,
    },
    /// Send a message. It waits as text, and is sealed when it goes.
    Send {
        /// Where to.
        group: GroupId,
        /// What.
        content: Vec<u8>,
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
}

#[derive(Serialize)]
enum Digested<'a> {
    Found(&'a GroupId, &'a str),
    Send(&'a GroupId, &'a [u8]),
    Add(&'a GroupId, &'a [Vec<u8>]),
    Invite(&'a GroupId, &'a LogId),
    Remove(&'a GroupId, Vec<[u8; 32]>),
    Leave(&'a GroupId),
    Refresh(&'a GroupId),
}

impl Command {
    fn digest(&self) -> Result<[u8; 32], Fault> {
        let digested = match self {
            Self::Found { group, title } => Digested::Found(group, title),
            Self::Send { group, content } => Digested::Send(group, content),
            Self::Add { group, packages } => Digested::Add(group, packages),
            Self::Invite { group, mailbox } => Digested::Invite(group, mailbox),
            Self::Remove { group, members } => {
                Digested::Remove(group, members.iter().map(|id| *id.as_bytes()).collect())
            }
            Self::Leave(group) => Digested::Leave(group),
            Self::Refresh(group) => Digested::Refresh(group),
        };
        let bytes = records::encode(&digested)?;
        Ok(Sha256::new()
            .chain_update(b"cc-client/1 command")
            .chain_update(bytes.expose())
            .finalize()
            .into())
    }
}

impl Client {
    /// Takes a command, durably; an [`Event::Settled`](crate::Event::Settled) tells what became of it.
    /// The same command under the same id again does nothing, as long as its id is remembered: until it
    /// is settled, and 4096 settled ones longer.
    ///
    /// # Errors
    /// [`Fault::OperationExists`] for another command under the same id, [`Fault::NoSuchGroup`],
    /// [`Fault::NotAMember`], [`Fault::TooLong`], [`Fault::KeyPackage`].
    pub fn submit(&mut self, id: OperationId, command: Command) -> Result<(), Fault> {
        self.transact(|client| client.submit_now(id, command))
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
        match self.state.get::<OperationRecord>(&records::operations(), id.as_bytes())? {
            Some(known) if known.digest == digest => return Ok(()),
            Some(_) => return Err(Fault::OperationExists(id)),
            None => {}
        }
        let record = OperationRecord { digest };
        self.state.put(&records::operations(), *id.as_bytes(), &record)?;
        match command {
            Command::Found { group, title } => self.found_now(id, group, title),
            Command::Send { group, content } => {
                if content.len() > MAX_MESSAGE_LEN / 2 {
                    return Err(Fault::TooLong);
                }
                let record = self.state.group_mut(&group)?;
                let number = record.next_message;
                record.next_message += 1;
                self.enqueue(&group, Some(id), Work::Content { number, bytes: content })
            }
            Command::Add { group, packages } => {
                for package in &packages {
                    crate::seat::read_offer(package)?;
                }
                self.enqueue(&group, Some(id), Work::Add(packages))
            }
            Command::Invite { group, mailbox } => {
                self.expect_member(&group)?;
                let claim = RequestRecord::Claim { group, mailbox, operation: id };
                self.state.add_request(&claim).map(drop)
            }
            Command::Remove { group, members } => {
                let members = members.iter().map(|id| *id.as_bytes()).collect();
                self.enqueue(&group, Some(id), Work::Remove(members))
            }
            Command::Leave(group) => self.enqueue(&group, Some(id), Work::Leave),
            Command::Refresh(group) => self.enqueue(&group, Some(id), Work::Refresh),
        }
    }

    fn found_now(&mut self, id: OperationId, group: GroupId, title: String) -> Result<(), Fault> {
        if self.state.groups.contains_key(&group) {
            return Err(Fault::OperationExists(id));
        }
        let seat = self.new_seat(Role::Founder(&title))?;
        self.state.add_group(group, GroupRecord::new(title.clone(), seat, Position::START));
        self.state.emit(&EventRecord::Entered { group, name: title })?;
        self.settle(Some(id), &EventRecord::Done { operation: id, position: Position::START })
    }

    fn expect_member(&self, group: &GroupId) -> Result<(), Fault> {
        match self.state.group(group)?.standing {
            Standing::Removed => Err(Fault::NotAMember(*group)),
            Standing::Member | Standing::Rejoining(_) => Ok(()),
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
        let number = record.next_queued;
        record.next_queued += 1;
        let queued = Queued { operation, work };
        self.state.put(&records::queue(group), records::key(number), &queued)
    }

    /// A command is settled: its event, and the oldest settled one is forgotten.
    pub(crate) fn settle(
        &mut self,
        operation: Option<OperationId>,
        event: &EventRecord,
    ) -> Result<(), Fault> {
        let Some(operation) = operation else { return Ok(()) };
        self.state.emit(event)?;
        let number = self.state.meta.next_settled;
        self.state.meta.next_settled += 1;
        let (scope, key) = (records::settled(), records::key(number));
        self.state.put(&scope, key, &operation)?;
        if let Some(old) = number.checked_sub(REMEMBERED) {
            let key = records::key(old);
            if let Some(oldest) = self.state.get::<OperationId>(&scope, &key)? {
                self.state.delete(&records::operations(), *oldest.as_bytes())?;
            }
            self.state.delete(&scope, key)?;
        }
        Ok(())
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
            next_message: 0,
            in_flight: None,
            held: Vec::new(),
            suspect: false,
            rejoins: 0,
        }
    }
}
