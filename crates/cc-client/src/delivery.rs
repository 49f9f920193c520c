//! What a network must offer: ordered logs, and a directory of key packages.

use crate::{AccessHash, AccessToken, LogId, MailboxProof, Position, RequestId};

/// Items that one [`Page`] holds at the most.
pub const MAX_PAGE: usize = 256;
/// Bytes of items that one [`Page`] holds at the most, unless its first item alone is longer: 4 MiB.
pub const MAX_PAGE_LEN: usize = 4 << 20;
/// Items that one append holds at the most.
pub const MAX_APPEND: usize = 64;
/// Bytes of one item: 16 MiB.
pub const MAX_ITEM_LEN: usize = 16 << 20;
/// Bytes of all items of one append: 16 MiB.
pub const MAX_APPEND_LEN: usize = 16 << 20;

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
/// - Who may use a log (see [`Append::access`] and [`Read::access`]). A log is made by the first append to it.
pub trait DeliveryService {
    /// Appends to a log, and gives the position of the last item.
    ///
    /// # Errors
    /// [`Failure::Refused`] if nothing was and will be appended, [`Failure::Unknown`] where that is not
    /// known.
    fn append(&mut self, id: RequestId, append: &Append) -> Result<Position, Failure>;

    /// Reads a log, at most [`MAX_PAGE`] items. A log that nobody appended to is empty.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    fn read(&mut self, id: RequestId, read: &Read) -> Result<Page, Failure>;

    /// Adds key packages to those that can be claimed of whoever reads the mailbox, and gives how many
    /// there are now, those of last resort not counted.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    fn publish(&mut self, id: RequestId, publish: &Publish) -> Result<u32, Failure>;

    /// Takes one key package of whoever reads `mailbox`; `None` where there is none.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    fn claim(&mut self, id: RequestId, mailbox: &LogId) -> Result<Option<Vec<u8>>, Failure>;
}

/// Items for a log, all or none of which are appended, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// Where to.
    pub log: LogId,
    /// For a group's log, the token of the epoch that the items are of; `None` for a mailbox, to which
    /// everybody may append who knows its address.
    ///
    /// The first append to a log decides which it is, and the first token is the one of the log until a
    /// commit replaces it. An append with the token of an epoch that is over is refused with
    /// [`Refusal::Conflict`], with another one with [`Refusal::Denied`].
    pub access: Option<AccessToken>,
    /// With it this is a commit.
    pub commit: Option<Follows>,
    /// At most [`MAX_APPEND`], of at most [`MAX_ITEM_LEN`] bytes each and [`MAX_APPEND_LEN`] in all. A commit is one
    /// item.
    pub items: Vec<Vec<u8>>,
}

/// What a commit follows, and who may use the log after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Follows {
    /// It is refused with [`Refusal::Conflict`] unless the last commit in the log is the one at this
    /// position, [`Position::START`] where there is none.
    pub after: Position,
    /// The hash of the token of the epoch that the commit begins; `None` if the token stays, as in the log
    /// of an attachment.
    pub next: Option<AccessHash>,
}

/// A wish to read a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Which.
    pub log: LogId,
    /// What was read last.
    pub after: Position,
    /// Why this reader may.
    pub access: ReadAccess,
}

/// Why somebody may read a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadAccess {
    /// A group's log, by the token of an epoch: of the present one everything, of one that is over what there
    /// was up to the commit that ended it, that commit included. So who fell behind comes along, and who was
    /// removed does not.
    Token(AccessToken),
    /// A mailbox, by its owner. The service may delete what is not behind [`Read::after`], but nothing where
    /// the mailbox ends before that: its owner has read what is lost, and not what is there.
    Owner(MailboxProof),
}

/// Key packages for the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Of whom.
    pub mailbox: LogId,
    /// By the owner, for [`Purpose::Publish`](crate::Purpose::Publish).
    pub proof: MailboxProof,
    /// Ones of last resort replace the former ones.
    pub packages: Vec<PublishedPackage>,
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
    /// Everything up to this position is no longer kept; [`Position::START`] where everything is.
    pub forgotten: Position,
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
    Append(Append),
    /// [`DeliveryService::read`].
    Read(Read),
    /// [`DeliveryService::publish`].
    Publish(Publish),
    /// [`DeliveryService::claim`], with the mailbox of who is to be invited.
    Claim(LogId),
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
            Call::Append(append) => service.append(self.id, append).map(Reply::Appended),
            Call::Read(read) => service.read(self.id, read).map(Reply::Page),
            Call::Publish(publish) => {
                service.publish(self.id, publish).map(|remaining| Reply::Published { remaining })
            }
            Call::Claim(mailbox) => service.claim(self.id, mailbox).map(Reply::Claimed),
        }
    }
}
