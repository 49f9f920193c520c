//! What can go wrong on this machine. What the network does is a [`Fate`](crate::Fate).

use cc_core::{MemberId, RandomError, store::StoreError};

use crate::{GroupId, OperationId, PersonId};

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
    /// The id was used for another command.
    #[error("operation {0} is another command")]
    OperationExists(OperationId),
    /// Bytes that are no invitation of this version.
    #[error("not a key package of this version")]
    KeyPackage,
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
