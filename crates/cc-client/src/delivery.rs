//! What a network must offer: ordered logs, and a directory of key packages.

use crate::{LogId, Position, RequestId};

/// Items that one [`Page`] holds at the most.
pub const MAX_PAGE: usize = 256;
/// Items that one append holds at the most.
pub const MAX_APPEND: usize = 64;
/// Bytes of one item: 16 MiB.
pub const MAX_ITEM_LEN: usize = 16 << 20;

/// Carries bytes between clients: an ordered log for each group, a mailbox for each person (a log with
/// one reader), and key packages of those who can be invited.
///
/// It sees what `docs/security.md` lists, and can drop, delay, repeat and fork, and nothing else.
///
/// # What it must keep
/// - Each log has one order, and an item never moves. Positions are 1, 2, 3...
/// - A request that arrives again under the same id has no second effect and gets the first answer.
/// - A commit is appended only if it follows the commit before it.
/// - A key package is handed out once, unless it is marked as one of last resort.
pub trait DeliveryService {
    /// Appends `items` to `log` in this order, all or none, and gives the position of the last one.
    /// With `after` it is a commit (one item), which is refused with [`Refusal::Conflict`] unless the
    /// last commit in the log is the one at `after` ([`Position::START`] where there is none).
    ///
    /// # Errors
    /// [`Failure::Refused`] if nothing was and will be appended, [`Failure::Unknown`] where that is not
    /// known.
    fn append(
        &mut self,
        id: RequestId,
        log: &LogId,
        after: Option<Position>,
        items: &[Vec<u8>],
    ) -> Result<Position, Failure>;

    /// Reads what follows `after`, at most [`MAX_PAGE`] items. A log that nobody appended to is empty.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    fn read(&mut self, log: &LogId, after: Position) -> Result<Page, Failure>;

    /// Adds key packages to those that can be claimed of whoever reads `mailbox`, and gives how many
    /// there are now, those of last resort not counted.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    fn publish(
        &mut self,
        id: RequestId,
        mailbox: &LogId,
        packages: &[PublishedPackage],
    ) -> Result<u32, Failure>;

    /// Takes one key package of whoever reads `mailbox`; `None` where there is none.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    fn claim(&mut self, id: RequestId, mailbox: &LogId) -> Result<Option<Vec<u8>>, Failure>;
}

/// A key package for the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedPackage {
    /// What whoever claims it gets.
    pub bytes: Vec<u8>,
    /// Handed out when there is no other, and then kept.
    pub last_resort: bool,
}

/// Items of a log, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Ascending positions.
    pub items: Vec<Item>,
    /// The last position of the log when this was read.
    pub head: Position,
}

/// One item of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Where it is.
    pub position: Position,
    /// Whether it was appended as a commit.
    pub commit: bool,
    /// What was appended.
    pub bytes: Vec<u8>,
}

/// Why a request was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It was not done, and will not be.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// No answer, or one that does not tell: it may have been done.
    #[error("it is not known whether the request was done")]
    Unknown,
}

/// Why the service refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The last commit is another one.
    #[error("the last commit is the one at position {}", head.0)]
    Conflict {
        /// Where it is.
        head: Position,
    },
    /// The client may not do that.
    #[error("not allowed")]
    Denied,
    /// The log is no longer there.
    #[error("the log is gone")]
    Gone,
    /// The items are too large or too many.
    #[error("too large")]
    TooLarge,
    /// Not now.
    #[error("busy: try again after {retry_after} ms")]
    Busy {
        /// Milliseconds to wait.
        retry_after: u64,
    },
}

/// What the client wants of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "nothing is sent until a driver does it"]
pub struct Request {
    /// To be given back with the answer. The client knows of what kind the request was.
    pub id: RequestId,
    /// What to do.
    pub call: Call,
}

/// One call of the [`DeliveryService`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// [`DeliveryService::append`].
    Append {
        /// Where to.
        log: LogId,
        /// The commit that this one follows; `None` for messages.
        after: Option<Position>,
        /// In this order.
        items: Vec<Vec<u8>>,
    },
    /// [`DeliveryService::read`].
    Read {
        /// Which log.
        log: LogId,
        /// What was read last.
        after: Position,
    },
    /// [`DeliveryService::publish`].
    Publish {
        /// The own mailbox.
        mailbox: LogId,
        /// New key packages.
        packages: Vec<PublishedPackage>,
    },
    /// [`DeliveryService::claim`].
    Claim {
        /// The mailbox of who is to be invited.
        mailbox: LogId,
    },
}

/// What a call gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Of [`Call::Append`].
    Appended(Position),
    /// Of [`Call::Read`].
    Page(Page),
    /// Of [`Call::Publish`].
    Published {
        /// Key packages that can be claimed.
        remaining: u32,
    },
    /// Of [`Call::Claim`].
    Claimed(Option<Vec<u8>>),
}

impl Request {
    /// Does the call, for drivers that block.
    ///
    /// # Errors
    /// As the call.
    pub fn perform<D: DeliveryService + ?Sized>(&self, service: &mut D) -> Result<Reply, Failure> {
        match &self.call {
            Call::Append { log, after, items } => {
                service.append(self.id, log, *after, items).map(Reply::Appended)
            }
            Call::Read { log, after } => service.read(log, *after).map(Reply::Page),
            Call::Publish { mailbox, packages } => service
                .publish(self.id, mailbox, packages)
                .map(|remaining| Reply::Published { remaining }),
            Call::Claim { mailbox } => service.claim(self.id, mailbox).map(Reply::Claimed),
        }
    }
}
