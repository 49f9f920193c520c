//! One person at work: the client, the network, and the journal of what happened. Scripts and the terminal
//! interface both stand on this.
//!
//! A session belongs to one thread and never waits for the network longer than it is told to:
//!
//! ```text
//! let mut session = Session::open(&arguments, patience)?;
//! loop {
//!     for update in session.wait(Duration::from_millis(100))? { /* show it */ }
//!     session.send(group, &Content::text("hello"))?; // kept at once, sent as soon as that is possible
//! }
//! ```
//!
//! [`waker`](Session::waker) lets another thread, as one that reads keys, end a `wait` early.

mod devices;
mod drive;

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    sync::mpsc::Sender,
    time::Duration,
};

use cc_client::{
    AppRecord, Attachment, Call, Client, Command, Content, Download, EventId, Failure, GroupId,
    JoinLink, JoinRequestId, LogId, MessageRef, OperationId, Person, PersonId, Position,
    ReadAccess, Reply, SystemTimeSource, Timeline, Verdict, Views,
};
use cc_relay::RelayUrl;

use super::{
    error::TalkError,
    journal::{self, Draft, Entry, MessageState, What, Who},
    link::{GroupLink, InviteLink},
    network::{Arrival, Network},
    profile::{NewProfile, ProfileArguments},
    uploads::{self, KeptUpload},
};
use crate::error::CliError;

/// Milliseconds between two reads of a log, where the relay tells what is new, and where it does not.
const POLL_FOLLOWING: u64 = 30_000;
const POLL: u64 = 2_000;

/// Key packages that are kept in the directory.
const KEY_PACKAGES: u32 = 8;

/// Events that are taken into the journal by one commit.
const EVENTS: usize = 64;

/// Something that is to be shown.
#[derive(Debug, Clone)]
pub(crate) enum Update {
    /// A new entry of the journal; also one's own message, as soon as it is kept.
    New(Entry),
    /// An entry that is another one now: one's own message that was sent, or refused.
    Changed(Entry),
    /// What became of a command.
    Settled(OperationId, Verdict),
    /// An attachment could not be sent; the text says why.
    UploadFailed(OperationId, String),
    /// How the relay is reached from now on.
    Connection(Connection),
}

/// How the relay is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connection {
    /// Nothing is known yet.
    Connecting,
    /// It tells what is new.
    Following,
    /// It is asked every two seconds.
    Polling,
    /// It does not answer.
    Offline,
}

/// One person at work.
pub(crate) struct Session {
    client: Client,
    relay: RelayUrl,
    network: Network,
    clock: SystemTimeSource,
    /// With what each log is followed.
    followed: BTreeMap<LogId, ReadAccess>,
    /// How far each log went when it was read last.
    heads: BTreeMap<LogId, Position>,
    /// How far the relay said that it goes.
    noticed: BTreeMap<LogId, Position>,
    following: bool,
    answering: Option<bool>,
    connection: Connection,
    /// Attachments that are being sent.
    uploads: BTreeMap<OperationId, KeptUpload>,
    updates: VecDeque<Update>,
    /// Entries of one's own that were told already when they are settled.
    exchange: Option<Sender<Exchange>>,
}

/// One request that was answered, for who wants to know what the relay sees.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    pub(crate) call: Call,
    pub(crate) result: Result<Reply, Failure>,
}

/// Ends a [`Session::wait`] early, from any thread.
#[derive(Debug, Clone)]
pub(crate) struct Waker(Sender<Arrival>);

impl Waker {
    pub(crate) fn wake(&self) {
        // A session that is gone has nothing to wake.
        let _ = self.0.send(Arrival::Woken);
    }
}

impl Session {
    /// Opens a profile; waits so long for another process that has it open.
    ///
    /// # Errors
    /// [`TalkError`], and what there is to say of files and passphrases.
    pub(crate) fn open(profile: &ProfileArguments, patience: Duration) -> Result<Self, CliError> {
        let (client, relay) = profile.open(patience)?;
        Self::start(client, relay)
    }

    /// Makes a profile, and opens it.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(crate) fn create(profile: &ProfileArguments, new: &NewProfile) -> Result<Self, CliError> {
        let (client, relay) = profile.create(new)?;
        Self::start(client, relay)
    }

    fn start(mut client: Client, relay: RelayUrl) -> Result<Self, CliError> {
        client.set_poll_interval(POLL);
        client.publish_key_packages(KEY_PACKAGES)?;
        let network = Network::start(&relay);
        let mut session = Self {
            client,
            relay,
            network,
            clock: SystemTimeSource::start(),
            followed: BTreeMap::new(),
            heads: BTreeMap::new(),
            noticed: BTreeMap::new(),
            following: false,
            answering: None,
            connection: Connection::Connecting,
            uploads: BTreeMap::new(),
            updates: VecDeque::new(),
            exchange: None,
        };
        let now = session.clock.now();
        session.client.forget_expired(now)?;
        session.forget_expired()?;
        for upload in uploads::all(&session.client)? {
            session.start_upload(upload);
        }
        Ok(session)
    }

    // What there is to see.

    /// This device, and whose it is.
    pub(crate) fn me(&self) -> Person {
        self.client.me()
    }

    /// By what others invite this person.
    pub(crate) fn link(&self) -> InviteLink {
        InviteLink {
            relay: self.relay.clone(),
            mailbox: self.client.mailbox(),
            member: self.client.me().id,
        }
    }

    pub(crate) const fn relay(&self) -> &RelayUrl {
        &self.relay
    }

    /// The groups with their members, for any thread, without waiting for the session.
    pub(crate) fn views(&mut self) -> Result<Views, TalkError> {
        Ok(self.client.views()?)
    }

    /// The client itself, for what is only looked at: people, safety numbers, trees, reports.
    pub(crate) const fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Whether all was read that the relay has.
    pub(crate) fn is_caught_up(&self) -> bool {
        self.client.is_caught_up()
    }

    /// How much waits to be sent.
    pub(crate) fn unsent(&self) -> usize {
        self.client.unsent().saturating_add(self.uploads.len())
    }

    /// The last `limit` entries of a group, oldest first.
    pub(crate) fn history(&self, group: &GroupId, limit: u64) -> Result<Vec<Entry>, TalkError> {
        Ok(journal::of_group(&self.client, group, limit)?)
    }

    /// One entry of the journal.
    pub(crate) fn entry(&self, number: u64) -> Result<Option<Entry>, TalkError> {
        Ok(journal::entry(&self.client, number)?)
    }

    /// Messages of others in a group that nobody has looked at.
    pub(crate) fn unread(&self, group: &GroupId) -> Result<u64, TalkError> {
        Ok(journal::unread(&self.client, group)?)
    }

    /// All of a group was shown.
    pub(crate) fn mark_read(&mut self, group: &GroupId) -> Result<(), TalkError> {
        Ok(journal::read(&mut self.client, group, self.clock.now().wall)?)
    }

    /// The number of the last entry of the journal.
    pub(crate) fn last_entry(&self) -> Result<u64, TalkError> {
        Ok(journal::last(&self.client)?)
    }

    /// The last entry that was printed for a script.
    pub(crate) fn printed(&self) -> Result<u64, TalkError> {
        Ok(journal::printed(&self.client)?)
    }

    /// A script has what was printed up to this entry.
    pub(crate) fn set_printed(&mut self, through: u64) -> Result<(), TalkError> {
        Ok(journal::set_printed(&mut self.client, through, self.clock.now().wall)?)
    }

    /// A script has these entries.
    pub(crate) fn set_shown(&mut self, entries: &[Entry]) -> Result<(), TalkError> {
        Ok(journal::shown(&mut self.client, entries, self.clock.now().wall)?)
    }

    /// Applies an entry, new or changed, to a timeline; what is no message does nothing.
    pub(crate) fn add_to(timeline: &mut Timeline, entry: &Entry) {
        let What::Message(message) = &entry.what else { return };
        let position = match &message.state {
            MessageState::Sent(position) => Some(*position),
            MessageState::Waiting => None,
            MessageState::Refused(_) => return,
        };
        let id = MessageRef { sender: message.from.member(), message: message.id };
        if let Some(content) = content(&message.content) {
            let _applied = timeline.add(id, position, content);
        }
    }

    // What there is to do.

    /// Asks for something; [`Update::Settled`] says what became of it.
    ///
    /// # Errors
    /// [`TalkError::Client`].
    pub(crate) fn submit(&mut self, command: Command) -> Result<OperationId, TalkError> {
        let id = OperationId::random().map_err(|_| TalkError::NoRandomness)?;
        self.client.submit(id, command)?;
        Ok(id)
    }

    /// Founds a group.
    pub(crate) fn found(&mut self, title: &str) -> Result<GroupId, TalkError> {
        let group = GroupId::random().map_err(|_| TalkError::NoRandomness)?;
        self.submit(Command::Found { group, title: title.to_owned() })?;
        Ok(group)
    }

    /// Invites who made this link.
    ///
    /// # Errors
    /// [`TalkError::OtherRelay`], [`TalkError::Client`].
    pub(crate) fn invite(
        &mut self,
        group: GroupId,
        link: &InviteLink,
    ) -> Result<OperationId, TalkError> {
        self.expect_relay(&link.relay)?;
        self.submit(Command::Invite { group, mailbox: link.mailbox, member: Some(link.member) })
    }

    /// A new link by which others ask to join a group.
    ///
    /// # Errors
    /// [`TalkError::Client`].
    pub(crate) fn join_link(
        &mut self,
        group: GroupId,
        valid_for: Duration,
    ) -> Result<GroupLink, TalkError> {
        let valid_for = u64::try_from(valid_for.as_millis()).unwrap_or(u64::MAX);
        let link = self.client.join_link(self.clock.now(), group, valid_for)?;
        Ok(self.group_link(link))
    }

    /// A link for people at this relay.
    pub(crate) fn group_link(&self, link: JoinLink) -> GroupLink {
        GroupLink { relay: self.relay.clone(), link }
    }

    /// Asks to join the group of this link.
    ///
    /// # Errors
    /// [`TalkError::OtherRelay`], [`TalkError::Client`].
    pub(crate) fn ask_to_join(
        &mut self,
        link: &GroupLink,
        message: &str,
    ) -> Result<JoinRequestId, TalkError> {
        self.expect_relay(&link.relay)?;
        Ok(self.client.ask_to_join(self.clock.now(), &link.link, message)?)
    }

    fn expect_relay(&self, relay: &RelayUrl) -> Result<(), TalkError> {
        if *relay == self.relay {
            return Ok(());
        }
        Err(TalkError::OtherRelay { ours: self.relay.to_string(), theirs: relay.to_string() })
    }

    /// Sends a message: it is in the journal, and in the queue, with one commit.
    ///
    /// # Errors
    /// [`TalkError::Client`].
    pub(crate) fn send(
        &mut self,
        group: GroupId,
        content: &Content,
    ) -> Result<OperationId, TalkError> {
        let id = OperationId::random().map_err(|_| TalkError::NoRandomness)?;
        self.send_as(id, group, content, Vec::new())?;
        Ok(id)
    }

    /// As [`send`](Self::send), with what else is to be in the commit.
    fn send_as(
        &mut self,
        id: OperationId,
        group: GroupId,
        content: &Content,
        more: Vec<AppRecord>,
    ) -> Result<(), TalkError> {
        let content = content.encode().map_err(|_| TalkError::Client(cc_client::Fault::TooLong))?;
        let from = Who::from(&self.client.me());
        let (state, layers) = (MessageState::Waiting, Vec::new());
        let message = journal::Message::new(from, true, id, state, content.clone(), layers);
        let mut draft = Draft::default();
        let at = self.clock.now().wall;
        draft.add(&self.client, at, Some(group), What::Message(message))?;
        let records = [draft.records()?, more].concat();
        self.client.answer(EventId(0), &records, id, Command::Send { group, content })?;
        self.tell(draft);
        Ok(())
    }

    /// Sends a file, in the background, and then the message that says where it is. It is kept how far that is: a
    /// later session goes on.
    ///
    /// # Errors
    /// [`CliError::Read`] where there is no such file, [`TalkError::TooManyUploads`].
    pub(crate) fn attach(
        &mut self,
        group: GroupId,
        path: &Path,
        text: &str,
    ) -> Result<OperationId, CliError> {
        let operation = OperationId::random().map_err(|_| TalkError::NoRandomness)?;
        let upload = KeptUpload::new(operation, group, path, text)?;
        uploads::keep(&mut self.client, &upload)?;
        self.start_upload(upload);
        Ok(operation)
    }

    fn start_upload(&mut self, upload: KeptUpload) {
        upload.start(self.network.service(), self.network.sender());
        self.uploads.insert(upload.operation, upload);
    }

    /// Fetches an attachment into a file that gets its name when all of it is there. This blocks.
    ///
    /// # Errors
    /// [`TalkError::Attachment`], [`CliError::Write`].
    pub(crate) fn save(&self, attachment: &Attachment, path: &Path) -> Result<u64, CliError> {
        use crate::files::output::Output;
        let mut output = Output::open(Some(path))?;
        let mut service = self.network.service();
        let written = Download::new(attachment.clone()).run(&mut service, &mut output);
        let shown = attachment.name().to_owned();
        let length = written.map_err(|error| TalkError::Attachment(shown, error))?;
        output.commit()?;
        Ok(length)
    }

    /// Somebody's safety number was compared.
    pub(crate) fn verify(
        &mut self,
        person: PersonId,
        number: cc_client::SafetyNumber,
    ) -> Result<OperationId, TalkError> {
        self.submit(Command::Verify(person, number))
    }
}

/// What a message says, if it is of this format; text that other programs send as it is counts as one.
pub(crate) fn content(bytes: &[u8]) -> Option<Content> {
    match Content::decode(bytes) {
        Ok(content) => Some(content),
        Err(_) => std::str::from_utf8(bytes).ok().map(Content::text),
    }
}
