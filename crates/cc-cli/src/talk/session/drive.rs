//! What keeps a session going: requests and answers, what the relay tells, and events into the journal.

use std::{
    sync::mpsc::Sender,
    time::{Duration, Instant},
};

use cc_client::{Attachment, Body, Call, Content, EventId, Failure, Input, OperationId, Reply};
use cc_relay::Ended;

use super::{Connection, EVENTS, Exchange, POLL, POLL_FOLLOWING, Session, Update, Waker};
use crate::{
    error::CliError,
    talk::{
        error::TalkError,
        journal::{self, Draft},
        network::Arrival,
        uploads,
    },
};

/// A wait of any length is cut into these.
const LONGEST: Duration = Duration::from_secs(3600);

impl Session {
    /// Does what is to be done, waits so long for something to happen, and gives what did. Returns as soon as there
    /// is something to show.
    ///
    /// # Errors
    /// [`TalkError::Client`]: the machine, not the network.
    pub(crate) fn wait(&mut self, at_most: Duration) -> Result<Vec<Update>, TalkError> {
        let end = Instant::now().checked_add(at_most);
        loop {
            self.pump()?;
            if !self.updates.is_empty() {
                return Ok(self.updates.drain(..).collect());
            }
            let left =
                end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Ok(Vec::new());
            }
            let due = self
                .client
                .poll_timeout()
                .map(|due| Duration::from_millis(due.saturating_sub(self.clock.now().mono).max(1)));
            let arrival = self.network.next(due.unwrap_or(Duration::MAX).min(left).min(LONGEST));
            match arrival {
                Some(Arrival::Woken) => {
                    self.pump()?;
                    return Ok(self.updates.drain(..).collect());
                }
                Some(arrival) => self.take(arrival)?,
                None => {}
            }
        }
    }

    /// Waits until `done` says so, for so long; `false` if it does not. What happens meanwhile goes to `show`.
    ///
    /// # Errors
    /// As [`wait`](Self::wait), and what `show` gives.
    pub(crate) fn wait_until(
        &mut self,
        patience: Duration,
        mut show: impl FnMut(&mut Self, Update) -> Result<(), CliError>,
        mut done: impl FnMut(&Self) -> bool,
    ) -> Result<bool, CliError> {
        let end = Instant::now().checked_add(patience);
        // Only then it is known what there is to do.
        self.pump()?;
        loop {
            if done(self) {
                return Ok(true);
            }
            let left = end.map_or(LONGEST, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Ok(false);
            }
            // What changes what `done` looks at is not always to be shown.
            for update in self.wait(left.min(Duration::from_millis(20)))? {
                show(self, update)?;
            }
        }
    }

    /// From now on, tells what is exchanged with the relay.
    pub(crate) fn observe(&mut self, observer: Sender<Exchange>) {
        self.exchange = Some(observer);
    }

    pub(crate) fn waker(&self) -> Waker {
        Waker(self.network.sender())
    }

    /// Everything that can be done without waiting.
    pub(super) fn pump(&mut self) -> Result<(), TalkError> {
        loop {
            while let Some(arrival) = self.network.next(Duration::ZERO) {
                if !matches!(arrival, Arrival::Woken) {
                    self.take(arrival)?;
                }
            }
            self.take_events()?;
            self.forget_expired()?;
            let mut asked = false;
            while let Some(request) = self.client.poll_request(self.clock.now())? {
                self.network.request(request);
                asked = true;
            }
            self.take_events()?;
            if !asked {
                return Ok(());
            }
        }
    }

    /// The texts whose time has run out leave the store.
    pub(super) fn forget_expired(&mut self) -> Result<(), TalkError> {
        let now = self.clock.now().wall;
        if journal::next_expiry(&self.client)?.is_some_and(|due| due <= now) {
            let changed = journal::forget_expired(&mut self.client, now)?;
            self.updates.extend(changed.into_iter().map(Update::Changed));
        }
        Ok(())
    }

    fn take(&mut self, arrival: Arrival) -> Result<(), TalkError> {
        match arrival {
            Arrival::Answer { request, result } => self.answered(request, result)?,
            Arrival::Moved(log, head) => {
                if self.heads.get(&log).is_none_or(|known| *known < head) {
                    self.noticed.insert(log, head);
                    self.client.notify(&log);
                }
            }
            Arrival::Ended(log, why) => {
                self.followed.remove(&log);
                if why == Ended::EpochOver {
                    self.client.notify(&log);
                }
            }
            Arrival::Following => {
                self.following = true;
                self.client.set_poll_interval(POLL_FOLLOWING);
                if matches!(self.connection, Connection::Polling | Connection::Offline) {
                    self.client.reconnected();
                }
            }
            Arrival::NotFollowing => {
                self.following = false;
                self.client.set_poll_interval(POLL);
                self.client.reconnected();
            }
            Arrival::UploadMoved { operation, state } => {
                if let Some(upload) = self.uploads.get_mut(&operation) {
                    upload.state = state.expose().to_vec();
                    uploads::keep(&mut self.client, upload)?;
                }
            }
            Arrival::Uploaded { operation, result } => self.uploaded(operation, result)?,
            Arrival::Woken => {}
        }
        let connection = match (self.following, self.answering) {
            (_, Some(false)) => Connection::Offline,
            (true, _) => Connection::Following,
            (false, Some(true)) => Connection::Polling,
            (false, None) => Connection::Connecting,
        };
        if connection != self.connection {
            self.connection = connection;
            self.updates.push_back(Update::Connection(connection));
        }
        Ok(())
    }

    /// The message that says where the attachment is goes with the commit that forgets the upload.
    fn uploaded(
        &mut self,
        operation: OperationId,
        result: Result<Attachment, String>,
    ) -> Result<(), TalkError> {
        let Some(upload) = self.uploads.remove(&operation) else { return Ok(()) };
        let ended = uploads::ended(&self.client, &operation)?;
        let sent = result.and_then(|attachment| {
            let content = Content::new(Body::Attachment { attachment, text: upload.text.clone() });
            let sent = self.send_as(operation, upload.group, &content, ended.clone());
            sent.map_err(|error| error.to_string())
        });
        if let Err(why) = sent {
            self.client.acknowledge(EventId(0), &ended)?;
            self.updates.push_back(Update::UploadFailed(operation, why));
        }
        Ok(())
    }

    fn answered(
        &mut self,
        request: cc_client::Request,
        result: Result<Reply, Failure>,
    ) -> Result<(), TalkError> {
        self.answering = Some(!matches!(result, Err(Failure::Unknown)));
        let id = request.id;
        let mut behind = None;
        if let (Call::Read(read), Ok(Reply::Page(page))) = (&request.call, &result) {
            self.heads.insert(read.log, page.head);
            // The page may have been read before the relay said that there is more.
            let noticed = self.noticed.remove(&read.log);
            behind = noticed.filter(|head| *head > page.head).map(|_| read.log);
            let known = self.followed.get(&read.log);
            let mailbox = read.log == self.client.mailbox();
            if known.is_none_or(|access| !mailbox && *access != read.access) {
                self.followed.insert(read.log, read.access.clone());
                self.network.follow(request.clone());
            }
        }
        if let Some(observer) = &self.exchange {
            let exchange = Exchange { call: request.call, result: result.clone() };
            if observer.send(exchange).is_err() {
                self.exchange = None;
            }
        }
        let _ledger = self.client.handle(self.clock.now(), Input::Response { id, result })?;
        if let Some(log) = behind {
            self.client.notify(&log);
        }
        Ok(())
    }

    /// Takes what happened into the journal.
    pub(super) fn take_events(&mut self) -> Result<(), TalkError> {
        loop {
            let events = self.client.events(EventId(0), EVENTS)?;
            let Some((through, _)) = events.last() else { return Ok(()) };
            let (through, at) = (*through, self.clock.now().wall);
            let mut draft = Draft::default();
            for (_, event) in events {
                draft.take(&self.client, at, event)?;
            }
            let records = draft.records()?;
            self.client.acknowledge(through, &records)?;
            self.tell(draft);
        }
    }

    pub(super) fn tell(&mut self, draft: Draft) {
        let settled = draft.settled.into_iter().map(|(id, verdict)| Update::Settled(id, verdict));
        self.updates.extend(draft.added.into_iter().map(Update::New));
        self.updates.extend(draft.changed.into_iter().map(Update::Changed));
        self.updates.extend(settled);
    }
}
