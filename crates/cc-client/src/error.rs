//! What can go wrong on this machine. What the network does is a [`Fate`](crate::Fate).

use cc_core::{MemberId, RandomError, store::StoreError};

use crate::{GroupId, JoinLinkId, JoinRequestId, LogId, OperationId, PersonId};

/// Nothing has changed. The same input may be given again, after [`Store`](Self::Store) errors of a
/// store that works again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// Another process has moved this client on. Open the client anew.
    #[error("another process uses this client: open it anew")]
    Fenced,
    /// A stack failed for a reason of its own.
    #[error("a stack failed")]
    Stack(#[source] Box<cc_manager::Error>),
    /// The operating system's random generator failed.
    #[error("no randomness")]
    Random(#[from] RandomError),
    /// The recipe does not work.
    #[error("the recipe does not work: {0}")]
    Recipe(&'static str),
    /// A layer of the recipe failed.
    #[error("a layer of the recipe failed")]
    Layer(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No group of this id.
    #[error("there is no group {0}")]
    NoSuchGroup(GroupId),
    /// Not a member of the group (any more).
    #[error("not a member of group {0}")]
    NotAMember(GroupId),
    /// The address is that of the own mailbox: no group has it as well.
    #[error("the address {0} is in use for something else")]
    AddressInUse(LogId),
    /// The id was used for another command.
    #[error("operation {0} is another command")]
    OperationExists(OperationId),
    /// Bytes that are no invitation of this version.
    #[error("not a key package of this version")]
    KeyPackage,
    /// More than one device says that the mailbox is its own: say which one is to be invited.
    #[error("more than one device says that mailbox {0} is its own: name the device")]
    MailboxClaimed(LogId),
    /// As much waits as is allowed: 10,000 commands in a group, or 4096 requests.
    #[error("too much waits to be sent: try again when some of it is done")]
    QueueFull,
    /// More than fits into one message.
    #[error("longer than a message may be")]
    TooLong,
    /// Nobody whose devices were seen.
    #[error("there is no person {0}")]
    NoSuchPerson(PersonId),
    /// No other device of this person.
    #[error("there is no device {0}")]
    NoSuchDevice(MemberId),
    /// This device has no key that signs for its person: another one has.
    #[error("this device does not sign for its person")]
    NoPersonKey,
    /// The safety number is another one: somebody may be between the two.
    #[error("the safety number of person {0} is another one")]
    SafetyNumber(PersonId),
    /// The person's keys have changed. Accept that, or verify the new ones, before anything is sent.
    #[error("the keys of person {0} have changed")]
    Untrusted(PersonId),
    /// Bytes that are no offer of a new device of this version.
    #[error("not the offer of a device")]
    DeviceOffer,
    /// A person has 64 devices at the most, those that it has revoked included.
    #[error("too many devices")]
    TooManyDevices,
    /// Only a device that is in no group can become another person's.
    #[error("a device that is in groups cannot be linked")]
    CannotLink,
    /// Not a link to join by of this version, or one of this client's own.
    #[error("not a link to join a group by")]
    JoinLink,
    /// The link is no longer good.
    #[error("the link has expired")]
    JoinLinkExpired,
    /// The group has another recipe than this client.
    #[error("the group has other layers than this client")]
    OtherRecipe,
    /// As many links, or requests to join, as there may be.
    #[error("too many links, or requests to join, that are not answered")]
    TooManyJoins,
    /// No such request waits for an answer.
    #[error("there is no request {0}, or it was answered")]
    NoSuchJoinRequest(JoinRequestId),
    /// No such link, or it was revoked.
    #[error("there is no link {0}")]
    NoSuchJoinLink(JoinLinkId),
    /// Not an export of this version, or under another key.
    #[error("not an export, or under another key")]
    Export,
}

impl Fault {
    /// What a failed commit is to the caller.
    pub(crate) fn of_commit(error: StoreError) -> Self {
        match error {
            StoreError::Overtaken => Self::Fenced,
            error => error.into(),
        }
    }
}

impl From<cc_manager::Error> for Fault {
    fn from(error: cc_manager::Error) -> Self {
        match error {
            cc_manager::Error::Store(error) => Self::Store(error),
            error => Self::Stack(Box::new(error)),
        }
    }
}

macro_rules! layer_error {
    ($($error:ty),*) => {
        $(impl From<$error> for Fault {
            fn from(error: $error) -> Self {
                Self::Layer(Box::new(error))
            }
        })*
    };
}

layer_error!(
    cc_aes_layer::AesError,
    cc_dh_layer::DhError,
    cc_mls_layer::MlsError,
    cc_signal_layer::Error
);
