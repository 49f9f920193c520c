//! What a relay stands on: who implements [`Storage`] decides where the bytes lie.

mod memory;
mod room;
mod sqlite;

use std::{future::Future, path::Path, pin::Pin, sync::Arc};

use cc_client::{
    AccessHash, Answer, Follows, LogId, MAX_APPEND, MAX_APPEND_LEN, MAX_ITEM_LEN, MAX_PAGE,
    MAX_PAGE_LEN, Page, Position, PublishedPackage, Read, ReadAccess, Refusal, Reply, RequestId,
};

pub use memory::MemoryStorage;
pub use room::{ITEM_COST, Usage};
use room::{NO_ROOM, Room, cost, item_cost};
pub use sqlite::SqliteStorage;

/// What a call to a [`Storage`] gives, some time later.
pub type Task<'a, T> = Pin<Box<dyn Future<Output = Result<T, StorageError>> + Send + 'a>>;

/// Logs with compare-and-append, mailboxes, key packages, and the answers that were given.
///
/// Each method is one transaction: all of it is durable when the task gives its result, or nothing of it ever
/// is (after a [`StorageError`], either). An engine on a server can do each in one statement or one call of
/// a stored function. It knows tokens by their hashes, and proofs were verified before it is asked.
///
/// Groups and mailboxes have addresses of their own: a group's log and a mailbox with the same [`LogId`] have
/// nothing to do with one another. An append with a token, and a read with one, is of a group; an append
/// without, and a read by the owner, of a mailbox.
///
/// Every method that changes something takes the id of its request and keeps the answer: a request that comes
/// again gets that answer and changes nothing. It is kept for [`Retention::age`]; of a claim for
/// [`Retention::claims`], and of one mailbox no more than it may have of key packages; of an append to a group
/// not longer than its items, where these are forgotten because they are too many. An id that was used for
/// another kind of request is refused with [`Refusal::Denied`]. What changed nothing (a refusal, a claim that
/// took no package away) is not kept: it is looked at anew when it comes again.
///
/// `conformance` (with that feature) has the tests that each engine must pass.
pub trait Storage: Send + Sync + 'static {
    /// As [`DeliveryService::append`](cc_client::DeliveryService::append).
    fn append(
        &self,
        id: RequestId,
        append: StoredAppend,
        now: Hour,
    ) -> Task<'_, Result<Position, Refusal>>;

    /// As [`DeliveryService::read`](cc_client::DeliveryService::read). What the owner of a mailbox has read is
    /// deleted.
    fn read(
        &self,
        log: LogId,
        after: Position,
        reader: Reader,
        now: Hour,
    ) -> Task<'_, Result<ReadPage, Refusal>>;

    /// As [`DeliveryService::publish`](cc_client::DeliveryService::publish).
    fn publish(
        &self,
        id: RequestId,
        publish: StoredPublish,
        now: Hour,
    ) -> Task<'_, Result<u32, Refusal>>;

    /// As [`DeliveryService::claim`](cc_client::DeliveryService::claim).
    fn claim(
        &self,
        id: RequestId,
        mailbox: LogId,
        now: Hour,
    ) -> Task<'_, Result<Option<Vec<u8>>, Refusal>>;

    /// Deletes some of what is kept no longer; `true` if there may be more. Each call is short.
    fn expire(&self, now: Hour) -> Task<'_, bool>;

    /// What [`set_clock`](Self::set_clock) was told last; `None` before the first time.
    fn clock(&self) -> Task<'_, Option<ClockRecord>>;

    /// Keeps this, over a restart.
    fn set_clock(&self, clock: ClockRecord) -> Task<'_, ()>;

    /// An error if nothing can be read or written.
    fn check(&self) -> Task<'_, ()>;

    /// How much there is of everything, as of the last write.
    fn usage(&self) -> Usage;
}

/// How far the relay's time was, and what the machine's clock said then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockRecord {
    /// The hour that the methods of [`Storage`] are given.
    pub relay: Hour,
    /// Of the machine's clock.
    pub wall: Hour,
}

/// Hours since 1970: all that is kept of the time at which something came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hour(pub u32);

impl Hour {
    /// The hour of these milliseconds since 1970.
    #[must_use]
    pub fn of_millis(millis: u64) -> Self {
        Self(u32::try_from(millis / 3_600_000).unwrap_or(u32::MAX))
    }

    /// So many hours later.
    #[must_use]
    pub fn plus(self, hours: u32) -> Self {
        Self(self.0.saturating_add(hours))
    }

    /// So many hours before.
    #[must_use]
    pub fn minus(self, hours: u32) -> Self {
        Self(self.0.saturating_sub(hours))
    }
}

/// An [`Append`](cc_client::Append) as the storage sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAppend {
    /// Where to.
    pub log: LogId,
    /// The hash of the token; `None` for a mailbox.
    pub access: Option<AccessHash>,
    /// With it this is a commit.
    pub commit: Option<Follows>,
    /// What is appended.
    pub items: Vec<Vec<u8>>,
    /// Whether it may begin a log. Where there is none and it may not, it is refused with [`Refusal::Busy`].
    pub begins: bool,
}

impl StoredAppend {
    /// [`Refusal::TooLarge`] for what [`Append`](cc_client::Append) does not allow.
    ///
    /// # Errors
    /// That refusal.
    pub fn check_size(&self) -> Result<(), Refusal> {
        let Self { commit, items, .. } = self;
        let total = items.iter().fold(0, |total: usize, item| total.saturating_add(item.len()));
        let allowed = !items.is_empty()
            && items.len() <= MAX_APPEND
            && (commit.is_none() || items.len() == 1)
            && items.iter().all(|item| item.len() <= MAX_ITEM_LEN)
            && total <= MAX_APPEND_LEN;
        if allowed { Ok(()) } else { Err(Refusal::TooLarge) }
    }
}

/// A [`Publish`](cc_client::Publish) as the storage sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPublish {
    /// Beside which mailbox.
    pub mailbox: LogId,
    /// What is published.
    pub packages: Vec<PublishedPackage>,
    /// Whether these may be the first ones there. Where there are none and they may not, they are refused with
    /// [`Refusal::Busy`].
    pub begins: bool,
}

/// A log. A group and a mailbox that have the same id are two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Address {
    Group(LogId),
    Mailbox(LogId),
}

impl Address {
    /// What is appended to, or followed, with this access: only a mailbox takes items without.
    pub(crate) const fn with_access(log: LogId, access: Option<&AccessHash>) -> Self {
        match access {
            Some(_) => Self::Group(log),
            None => Self::Mailbox(log),
        }
    }

    /// What is read.
    pub(crate) const fn of_read(read: &Read) -> Self {
        match read.access {
            ReadAccess::Token(_) => Self::Group(read.log),
            ReadAccess::Owner(_) => Self::Mailbox(read.log),
        }
    }

    /// Its id.
    pub(crate) const fn log(self) -> LogId {
        match self {
            Self::Group(log) | Self::Mailbox(log) => log,
        }
    }
}

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// Whoever has the token of this hash.
    Token(AccessHash),
    /// The owner of the mailbox, who has shown it.
    Owner,
}

/// What a reader gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadPage {
    /// What is in the log.
    pub page: Page,
    /// The epoch of the reader's token is over: nothing will be added to what the reader may see.
    pub epoch_over: bool,
}

impl ReadPage {
    /// Of a log to which nobody has appended.
    const EMPTY: Self = Self {
        page: Page { items: Vec::new(), forgotten: Position::START, head: Position::START },
        epoch_over: false,
    };
}

/// How long and how much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Hours that items and answers are kept. A client that repeats a request later than that may have it
    /// done twice.
    pub age: u32,
    /// Hours that the answers to claims are kept, which have whole key packages.
    pub claims: u32,
    /// Hours without an append after which a group's log is [gone](Refusal::Gone), and after which key
    /// packages are deleted. After as many more nothing is known of the log. A mailbox that is empty, and that
    /// its owner has not read for so long, begins anew.
    pub idle: u32,
    /// Bytes of items in one group's log, each with [`ITEM_COST`]: of more, the oldest are forgotten.
    pub log_bytes: u64,
    /// Bytes of items in one mailbox, each with [`ITEM_COST`]: more are refused with [`Refusal::Busy`] until its owner reads, so that
    /// nobody can push a welcome out of it.
    pub mailbox_bytes: u64,
    /// Key packages beside one mailbox, and their bytes: more are refused with [`Refusal::TooLarge`].
    pub packages: u32,
    /// Bytes of all of them.
    pub package_bytes: u64,
    /// Bytes of everything. From three quarters of it on, whatever a stranger can do is refused with
    /// [`Refusal::Busy`]: to begin a log, to append to a mailbox, to publish key packages. Groups that are at
    /// work have the rest: when that is full, the log that has the most forgets its oldest items, so that who
    /// has little loses nothing to who takes much.
    pub total_bytes: u64,
}

impl Default for Retention {
    /// 30 days and 256 MiB; a day for answers to claims; a year for logs that are silent; 32 MiB in a mailbox,
    /// 512 key packages of 16 MiB; 16 GiB of everything.
    fn default() -> Self {
        Self {
            age: 30 * 24,
            claims: 24,
            idle: 365 * 24,
            log_bytes: 256 << 20,
            mailbox_bytes: 32 << 20,
            packages: 512,
            package_bytes: 16 << 20,
            total_bytes: 16 << 30,
        }
    }
}

/// Of what may not begin a log. The relay knows how long to wait.
const NOT_BEGUN: Refusal = Refusal::Busy { retry_after: 1_000 };

/// Milliseconds after which a full mailbox may have room.
const MAILBOX_FULL: Refusal = Refusal::Busy { retry_after: 60_000 };

/// Hashes of ended epochs that are kept of one log: with an older token one is refused.
const MAX_PAST_EPOCHS: u32 = 4096;

/// The storage failed: whether the call had an effect is not known.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the storage failed: {0}")]
pub struct StorageError(pub String);

/// Why no storage was opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Not a URL of a storage that there is.
    #[error("`{0}` is no storage: write sqlite:PATH or memory:")]
    Url(String),
    /// Another process has it.
    #[error("{0} is in use by another relay")]
    InUse(String),
    /// The file is of a later version.
    #[error("{path} has version {version}, which this relay does not know")]
    Version {
        /// Of the file.
        path: String,
        /// Its version.
        version: i64,
    },
    /// The file cannot be opened.
    #[error("{path} cannot be opened")]
    File {
        /// Of the file.
        path: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Opens the storage of this URL: `sqlite:PATH`, or `memory:`, which keeps nothing over a restart.
///
/// # Errors
/// [`OpenError`].
pub fn open(url: &str, retention: Retention) -> Result<Arc<dyn Storage>, OpenError> {
    match url.split_once(':') {
        Some(("sqlite", path)) if !path.is_empty() => {
            Ok(Arc::new(SqliteStorage::open(Path::new(path), retention)?))
        }
        Some(("memory", "")) => Ok(Arc::new(MemoryStorage::new(retention))),
        _ => Err(OpenError::Url(url.to_owned())),
    }
}

/// Collects items of a page, and knows when it is full.
struct PageItems {
    items: Vec<cc_client::Item>,
    room: usize,
}

impl PageItems {
    const fn new() -> Self {
        Self { items: Vec::new(), room: MAX_PAGE_LEN }
    }

    /// Whether an item of this length still fits. The first one always does.
    fn takes(&self, len: usize) -> bool {
        self.items.is_empty() || (self.items.len() < MAX_PAGE && len <= self.room)
    }

    fn push(&mut self, item: cc_client::Item) {
        self.room = self.room.saturating_sub(item.bytes.len());
        self.items.push(item);
    }
}

/// What was answered to a request of one kind, as it is kept.
trait KeptAnswer: Sized {
    fn reply(&self) -> Reply;
    fn from_reply(reply: Reply) -> Option<Self>;
}

impl KeptAnswer for Position {
    fn reply(&self) -> Reply {
        Reply::Appended(*self)
    }

    fn from_reply(reply: Reply) -> Option<Self> {
        if let Reply::Appended(position) = reply { Some(position) } else { None }
    }
}

impl KeptAnswer for u32 {
    fn reply(&self) -> Reply {
        Reply::Published { remaining: *self }
    }

    fn from_reply(reply: Reply) -> Option<Self> {
        if let Reply::Published { remaining } = reply { Some(remaining) } else { None }
    }
}

impl KeptAnswer for Option<Vec<u8>> {
    fn reply(&self) -> Reply {
        Reply::Claimed(self.clone())
    }

    fn from_reply(reply: Reply) -> Option<Self> {
        if let Reply::Claimed(package) = reply { Some(package) } else { None }
    }
}

/// What came of a request, and whether it changed something: only then its answer is kept.
struct Outcome<T> {
    result: Result<T, Refusal>,
    changed: bool,
}

impl<T> From<Result<T, Refusal>> for Outcome<T> {
    /// What is not refused changed something.
    fn from(result: Result<T, Refusal>) -> Self {
        Self { changed: result.is_ok(), result }
    }
}

/// The bytes of an answer to keep; `None` for one that is not kept.
fn kept_answer<T: KeptAnswer>(
    id: RequestId,
    outcome: &Outcome<T>,
) -> Result<Option<Vec<u8>>, StorageError> {
    let Outcome { result: Ok(value), changed: true } = outcome else { return Ok(None) };
    let bytes = Answer { id, result: Ok(value.reply()) }.to_bytes();
    bytes.map(Some).map_err(|error| StorageError(error.to_string()))
}

/// What [`kept_answer`] kept. An answer of another kind is a refusal.
fn read_answer<T: KeptAnswer>(bytes: &[u8]) -> Result<Result<T, Refusal>, StorageError> {
    let answer = Answer::from_bytes(bytes).map_err(|error| StorageError(error.to_string()))?;
    let reply = answer.result.map_err(|_| StorageError("an answer is damaged".into()))?;
    Ok(T::from_reply(reply).ok_or(Refusal::Denied))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What one engine does with a commit, and with a read, of these tokens; positions, or a refusal.
    pub(super) trait Epochs {
        fn commit(&mut self, commit: &StoredAppend) -> Result<Position, Refusal>;
        fn head(&mut self, log: LogId, token: AccessHash) -> Result<Position, Refusal>;
    }

    /// In one transaction: through [`Storage`] each commit would wait for the disk.
    pub(super) fn the_hashes_of_the_last_epochs_are_kept(engine: &mut impl Epochs) {
        let log = LogId::from_bytes([1; 32]);
        let token = |epoch: u64| {
            let mut bytes = [7; 32];
            bytes[..8].copy_from_slice(&epoch.to_be_bytes());
            AccessHash(bytes)
        };
        let last = u64::from(MAX_PAST_EPOCHS) + 1;
        for epoch in 0..last {
            let commit = StoredAppend {
                log,
                access: Some(token(epoch)),
                commit: Some(Follows { after: Position(epoch), next: Some(token(epoch + 1)) }),
                items: vec![Vec::new()],
                begins: true,
            };
            assert_eq!(engine.commit(&commit), Ok(Position(epoch + 1)));
        }
        assert_eq!(engine.head(log, token(0)), Err(Refusal::Denied));
        for epoch in [1, 2, last - 1] {
            assert_eq!(engine.head(log, token(epoch)), Ok(Position(epoch + 1)));
        }
        assert_eq!(engine.head(log, token(last)), Ok(Position(last)));
    }
}
