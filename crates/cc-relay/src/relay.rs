//! What a relay does with a request: limits, proofs, the storage, and who is told.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cc_client::{
    Append, Call, Failure, LogId, MAX_PACKAGE_LEN, MAX_PUBLISH, Position, Publish, Purpose, Read,
    ReadAccess, Refusal, Reply, Request, RequestId,
};

use crate::{
    Clock, Ended,
    clock::{RelayTime, SystemClock},
    followers::{Follower, Followers},
    limits::{Buckets, ClientAddress, Limits},
    metrics::{Metrics, add, call_name, outcome_name},
    storage::{
        Address, Hour, ReadPage, Reader, Storage, StorageError, StoredAppend, StoredPublish,
    },
};

/// A delivery service on a [`Storage`], without a network.
#[derive(Clone)]
pub struct Relay(Arc<Inner>);

struct Inner {
    storage: Arc<dyn Storage>,
    time: RelayTime,
    buckets: Buckets,
    followers: Followers,
    metrics: Metrics,
}

impl Relay {
    /// One on this storage. All that append to the same storage should be the same relay, or else who follows
    /// with one is not told what was appended with another.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>, limits: Limits) -> Self {
        Self::with_clock(storage, limits, SystemClock::new())
    }

    /// One whose time is that of this clock. What is too old is so by the time that relays on this storage were
    /// up; what the clock says has passed between two of them counts for a day at the most.
    #[must_use]
    pub fn with_clock(storage: Arc<dyn Storage>, limits: Limits, clock: impl Clock) -> Self {
        Self(Arc::new(Inner {
            storage,
            time: RelayTime::new(Box::new(clock)),
            buckets: Buckets::new(limits),
            followers: Followers::default(),
            metrics: Metrics::default(),
        }))
    }

    /// Does what a client asks for that is where the relay is, and may begin any number of logs.
    ///
    /// # Errors
    /// [`Failure`]; [`Failure::Unknown`] when the storage failed.
    pub async fn answer(&self, request: Request) -> Result<Reply, Failure> {
        self.answer_to(None, request).await
    }

    /// Does what the client at this address asks for.
    ///
    /// # Errors
    /// As [`answer`](Self::answer).
    pub async fn answer_to(
        &self,
        client: Option<ClientAddress>,
        request: Request,
    ) -> Result<Reply, Failure> {
        let start = Instant::now();
        let Request { id, call } = request;
        let result = match self.call(client, id, &call).await {
            Ok(result) => result.map_err(Failure::Refused),
            Err(error) => {
                tracing::error!(call = call_name(&call), %error, "the storage failed");
                Err(Failure::Unknown)
            }
        };
        let time = start.elapsed();
        self.0.metrics.answered(&call, &result, time);
        tracing::debug!(call = call_name(&call), outcome = outcome_name(&result), ?time);
        result
    }

    /// Deletes what is kept no longer, a little at a time.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn expire(&self) -> Result<(), StorageError> {
        let now = self.0.time.keep(&*self.0.storage).await?;
        while self.0.storage.expire(now).await? {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Whether the storage works.
    ///
    /// # Errors
    /// [`StorageError`] if not.
    pub async fn check(&self) -> Result<(), StorageError> {
        self.0.storage.check().await
    }

    /// What Prometheus reads.
    #[must_use]
    pub fn metrics_text(&self) -> String {
        self.0.metrics.text(self.0.followers.len(), self.0.storage.usage())
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(crate) fn limits(&self) -> &Limits {
        self.0.buckets.limits()
    }

    /// Whether a client may send a request of this length; `Err` has how long it is to wait.
    pub(crate) fn admit(&self, client: ClientAddress, length: usize) -> Result<(), Duration> {
        let admitted = self.0.buckets.request(client, length);
        if admitted.is_err() {
            add(&self.0.metrics.limited, 1);
        }
        admitted
    }

    pub(crate) fn answered(&self, client: ClientAddress, length: usize) {
        self.0.buckets.answered(client, length);
    }

    /// The follower is told of the log that the request reads, from what is there already on.
    pub(crate) async fn follow(&self, follower: &Arc<Follower>, id: RequestId, read: &Read) {
        let followers = &self.0.followers;
        let address = Address::of_read(read);
        let refused = |refusal| match refusal {
            Refusal::Denied => Ended::Denied,
            Refusal::Gone => Ended::Gone,
            _ => Ended::Busy,
        };
        let reader = match reader(id, read) {
            Ok(reader) => reader,
            Err(refusal) => return follower.tell(address, None, Some(refused(refusal))),
        };
        let hash = match reader {
            Reader::Token(hash) => Some(hash),
            Reader::Owner => None,
        };
        // First, or else what is appended between the two is not told.
        followers.follow(follower, read.log, hash);
        // Behind everything: no items are wanted, and of a mailbox nothing is deleted for who has read more than
        // there is.
        let after = Position(u64::MAX);
        let head = match self.now().await {
            Ok(now) => self.0.storage.read(read.log, after, reader, now).await,
            Err(error) => Err(error),
        };
        match head {
            Ok(Ok(ReadPage { page, epoch_over })) => {
                if epoch_over {
                    followers.unfollow(follower, address);
                }
                let head = (page.head > read.after).then_some(page.head);
                if head.is_some() || epoch_over {
                    follower.tell(address, head, epoch_over.then_some(Ended::EpochOver));
                }
            }
            Ok(Err(refusal)) => {
                followers.unfollow(follower, address);
                follower.tell(address, None, Some(refused(refusal)));
            }
            Err(error) => {
                tracing::error!(%error, "the storage failed");
                followers.unfollow(follower, address);
                follower.tell(address, None, Some(Ended::Busy));
            }
        }
    }

    /// As a group's log, and as a mailbox.
    pub(crate) fn unfollow(&self, follower: &Arc<Follower>, log: &LogId) {
        for address in [Address::Group(*log), Address::Mailbox(*log)] {
            self.0.followers.unfollow(follower, address);
        }
    }

    async fn now(&self) -> Result<Hour, StorageError> {
        self.0.time.now(&*self.0.storage).await
    }

    async fn call(
        &self,
        client: Option<ClientAddress>,
        id: RequestId,
        call: &Call,
    ) -> Result<Result<Reply, Refusal>, StorageError> {
        let now = self.now().await?;
        match call {
            Call::Append(append) => self.append(client, id, append, now).await,
            Call::Read(read) => {
                let reader = match reader(id, read) {
                    Ok(reader) => reader,
                    Err(refusal) => return Ok(Err(refusal)),
                };
                let page = self.0.storage.read(read.log, read.after, reader, now).await?;
                Ok(page.map(|read| Reply::Page(read.page)))
            }
            Call::Publish(Publish { mailbox, proof, packages }) => {
                if !proof.verify(mailbox, id, Purpose::Publish(packages)) {
                    return Ok(Err(Refusal::Denied));
                }
                if packages.len() > MAX_PUBLISH
                    || packages.iter().any(|package| package.bytes.len() > MAX_PACKAGE_LEN)
                {
                    return Ok(Err(Refusal::TooLarge));
                }
                let (mailbox, packages) = (*mailbox, packages.clone());
                let added = packages.iter().filter(|package| !package.last_resort).count();
                let room = self.room_for_logs(client);
                let publish = StoredPublish { mailbox, packages, begins: room.is_ok() };
                let remaining = self.0.storage.publish(id, publish, now).await?;
                let begun =
                    remaining.is_ok_and(|remaining| usize::try_from(remaining) == Ok(added));
                let remaining = self.begun(client, room, begun, remaining);
                Ok(remaining.map(|remaining| Reply::Published { remaining }))
            }
            Call::Claim(mailbox) => {
                if let Err(wait) = self.0.buckets.mailbox(*mailbox, 1) {
                    return Ok(Err(self.busy(wait)));
                }
                let package = self.0.storage.claim(id, *mailbox, now).await?;
                Ok(package.map(Reply::Claimed))
            }
        }
    }

    async fn append(
        &self,
        client: Option<ClientAddress>,
        id: RequestId,
        append: &Append,
        now: Hour,
    ) -> Result<Result<Reply, Refusal>, StorageError> {
        let Append { log, access, commit, items } = append;
        let length = items.iter().map(Vec::len).sum();
        let limited = match access {
            Some(_) => self.0.buckets.append(*log, items.len(), length),
            None => self.0.buckets.mailbox(*log, items.len()),
        };
        if let Err(wait) = limited {
            return Ok(Err(self.busy(wait)));
        }
        let access = access.as_ref().map(cc_client::AccessToken::hash);
        let room = self.room_for_logs(client);
        let (log, items_len) = (*log, u64::try_from(items.len()).unwrap_or(u64::MAX));
        let (commit, items, begins) = (*commit, items.clone(), room.is_ok());
        let count = items.len();
        let append = StoredAppend { log, access, commit, items, begins };
        let result = self.0.storage.append(id, append, now).await?;
        // What is at the beginning of a log has begun it.
        let begun = result.is_ok_and(|position| position.0 == items_len);
        let result = self.begun(client, room, begun, result);
        if let Ok(position) = result {
            if access.is_some() {
                self.0.buckets.appended(log, position, count, length);
            }
            let ended = access.is_some() && commit.is_some_and(|commit| commit.next.is_some());
            self.0.followers.moved(log, position, access, ended);
        }
        Ok(result.map(Reply::Appended))
    }

    /// Whether a client may begin a log now; `Err` has how long it is to wait.
    fn room_for_logs(&self, client: Option<ClientAddress>) -> Result<(), Duration> {
        client.map_or(Ok(()), |client| self.0.buckets.may_begin_log(client))
    }

    /// What a request gave that may have begun a log: that counts, and who may not is told when it may.
    fn begun<T>(
        &self,
        client: Option<ClientAddress>,
        room: Result<(), Duration>,
        begun: bool,
        result: Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        if let (Some(client), true) = (client, begun) {
            self.0.buckets.log_begun(client);
        }
        match (result, room) {
            (Err(Refusal::Busy { retry_after }), Err(wait)) => match self.busy(wait) {
                Refusal::Busy { retry_after: wait } => {
                    Err(Refusal::Busy { retry_after: wait.max(retry_after) })
                }
                refusal => Err(refusal),
            },
            (result, _) => result,
        }
    }

    fn busy(&self, wait: Duration) -> Refusal {
        add(&self.0.metrics.limited, 1);
        Refusal::Busy { retry_after: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX) }
    }
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay").finish_non_exhaustive()
    }
}

/// Who reads, as far as it shows that.
fn reader(id: RequestId, read: &Read) -> Result<Reader, Refusal> {
    match &read.access {
        ReadAccess::Token(token) => Ok(Reader::Token(token.hash())),
        ReadAccess::Owner(proof) => {
            if proof.verify(&read.log, id, Purpose::Read(read.after)) {
                Ok(Reader::Owner)
            } else {
                Err(Refusal::Denied)
            }
        }
    }
}
