//! The client on tokio.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::blocking::millis;
use crate::{
    Append, Call, Client, DeliveryService, Event, EventId, Failure, Fault, Input, LogId,
    MemoryService, Now, Page, Position, Publish, Read, Reply, Request, RequestId,
};

/// Requests that are under way at once.
const MAX_RUNNING: usize = 16;

/// Milliseconds between two looks at what is due and cannot be done yet.
const IDLE: u64 = 20;

/// The calls of [`DeliveryService`], as futures. What they promise is the same; a future that is dropped is
/// a request of which nobody knows whether it was done.
pub trait AsyncDeliveryService: Send + Sync + 'static {
    /// As [`DeliveryService::append`].
    fn append(
        &self,
        id: RequestId,
        append: &Append,
    ) -> impl Future<Output = Result<Position, Failure>> + Send;

    /// As [`DeliveryService::read`].
    fn read(
        &self,
        id: RequestId,
        read: &Read,
    ) -> impl Future<Output = Result<Page, Failure>> + Send;

    /// As [`DeliveryService::publish`].
    fn publish(
        &self,
        id: RequestId,
        publish: &Publish,
    ) -> impl Future<Output = Result<u32, Failure>> + Send;

    /// As [`DeliveryService::claim`].
    fn claim(
        &self,
        id: RequestId,
        mailbox: &LogId,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, Failure>> + Send;
}

/// A client and a service, on tokio: several requests at a time, no thread of its own.
///
/// Each call of the client is a few milliseconds of work and a commit of the store, done where
/// [`next`](Self::next) is polled. Where that is too long for the other tasks, give the driver a
/// current-thread runtime in a thread of its own, and [`Views`](crate::Views) to who shows things.
#[derive(Debug)]
pub struct Driver<S> {
    client: Client,
    service: Arc<S>,
    started: Instant,
    /// Kept here, not in a future: dropping [`Self::next`] stops no request.
    running: JoinSet<(RequestId, Result<Reply, Failure>)>,
    news: mpsc::UnboundedReceiver<LogId>,
    notifier: Notifier,
}

/// Tells a [`Driver`] that a log has something new, from any task or thread: when a push or a stream says
/// so.
#[derive(Debug, Clone)]
pub struct Notifier(mpsc::UnboundedSender<LogId>);

impl Notifier {
    /// The log is read at once. Nothing happens where the driver is gone.
    pub fn notify(&self, log: LogId) {
        let _gone = self.0.send(log);
    }
}

impl<S: AsyncDeliveryService> Driver<S> {
    /// A driver, which does nothing until it is asked for the [next](Self::next) event.
    pub fn new(client: Client, service: impl Into<Arc<S>>) -> Self {
        let (sender, news) = mpsc::unbounded_channel();
        let running = JoinSet::new();
        let notifier = Notifier(sender);
        Self { client, service: service.into(), started: Instant::now(), running, news, notifier }
    }

    /// The client, to send with, and to acknowledge events. What it wants of the network then is done with
    /// [`next`](Self::next).
    pub const fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// For who is told of news.
    #[must_use]
    pub fn notifier(&self) -> Notifier {
        self.notifier.clone()
    }

    /// The client's time: tokio's clock, so that tests can stop it, and the system's for what expires.
    #[must_use]
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Now { wall: millis(wall), mono: millis(self.started.elapsed()) }
    }

    /// Drives everything until something happened, and gives the oldest event that is not acknowledged.
    /// Asking again without [acknowledging](Client::acknowledge) gives the same one.
    ///
    /// Safe to cancel: a future of this that is dropped, as in `select!`, loses neither a request that is
    /// under way nor its answer.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn next(&mut self) -> Result<(EventId, Event), Fault> {
        loop {
            if let Some(event) = self.client.events(EventId(0), 1)?.pop() {
                return Ok(event);
            }
            self.step().await?;
        }
    }

    /// Gives out what the client wants, and waits until an answer came, there is news, or it is time for
    /// something. For loops that take events otherwise than by [`next`](Self::next); as safe to cancel.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn step(&mut self) -> Result<(), Fault> {
        while self.running.len() < MAX_RUNNING {
            let Some(request) = self.client.poll_request(self.now())? else { break };
            let service = Arc::clone(&self.service);
            self.running.spawn(async move { (request.id, perform(&request, &*service).await) });
        }
        // Nothing is taken out of its place before the client has it: between `select!` and the client's
        // commit nothing waits.
        let due = self.client.poll_timeout().filter(|_| self.running.len() < MAX_RUNNING);
        // What is due, and was not given out, waits for something else: for an answer, mostly.
        let soon = self.now().mono.saturating_add(IDLE);
        let due = due.map(|due| self.started + Duration::from_millis(due.max(soon)));
        tokio::select! {
            Some(done) = self.running.join_next() => {
                // Of a service that panicked nothing is known: the client offers the request again.
                if let Ok((id, result)) = done {
                    let _ledger = self.client.handle(self.now(), Input::Response { id, result })?;
                }
            }
            Some(log) = self.news.recv() => self.client.notify(&log),
            () = until(due) => {}
        }
        Ok(())
    }

    /// Stops, and gives the client back. Requests that are under way are forgotten, and made again by the
    /// next driver.
    #[must_use]
    pub fn into_client(self) -> Client {
        self.client
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

async fn perform<S: AsyncDeliveryService>(
    request: &Request,
    service: &S,
) -> Result<Reply, Failure> {
    let id = request.id;
    match &request.call {
        Call::Append(append) => service.append(id, append).await.map(Reply::Appended),
        Call::Read(read) => service.read(id, read).await.map(Reply::Page),
        Call::Publish(publish) => {
            service.publish(id, publish).await.map(|remaining| Reply::Published { remaining })
        }
        Call::Claim(mailbox) => service.claim(id, mailbox).await.map(Reply::Claimed),
    }
}

impl AsyncDeliveryService for MemoryService {
    async fn append(&self, id: RequestId, append: &Append) -> Result<Position, Failure> {
        DeliveryService::append(&mut self.clone(), id, append)
    }

    async fn read(&self, id: RequestId, read: &Read) -> Result<Page, Failure> {
        DeliveryService::read(&mut self.clone(), id, read)
    }

    async fn publish(&self, id: RequestId, publish: &Publish) -> Result<u32, Failure> {
        DeliveryService::publish(&mut self.clone(), id, publish)
    }

    async fn claim(&self, id: RequestId, mailbox: &LogId) -> Result<Option<Vec<u8>>, Failure> {
        DeliveryService::claim(&mut self.clone(), id, mailbox)
    }
}
