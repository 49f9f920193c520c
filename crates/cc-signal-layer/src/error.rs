//! What can go wrong.

use cc_core::RandomError;

/// An error of this crate.
///
/// What a remote attacker can cause while a message is opened is [`Error::Undecryptable`]: there is
/// nothing to learn from the reason. [`Error::Own`], [`Error::Duplicate`], [`Error::Expired`] and
/// [`Error::TooFarAhead`] are told of a message whose header, or signature, has proved who made it,
/// and are everyday life. The other variants tell the local caller what to do differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The message is damaged, forged or for somebody else, or of a session or chain that is not
    /// known, or no longer.
    #[error("the message cannot be opened")]
    Undecryptable,
    /// The message is one's own.
    #[error("this side sent the message itself")]
    Own,
    /// The message was opened before: its key was used and is gone.
    #[error("the message was opened before")]
    Duplicate,
    /// The message comes so late that its key is no longer kept. It may have been opened before.
    #[error("the key of the message is no longer kept")]
    Expired,
    /// So many messages before this one are missing that it cannot be opened yet. It can once
    /// [`Limits::max_skip`](crate::Limits::max_skip) reaches it from a message that was opened;
    /// the peer's next chain opens in any case.
    #[error("too many messages before this one are missing")]
    TooFarAhead,
    /// A public key is not canonical, of low order, or otherwise not acceptable.
    #[error("the public key is not acceptable")]
    InvalidKey,
    /// A signature on a key does not verify.
    #[error("a signature does not verify")]
    InvalidSignature,
    /// The bytes are not an encoding of what they were said to be.
    #[error("the bytes are not a valid encoding")]
    Malformed,
    /// The bytes begin with a version this code does not know.
    #[error("version {0} is not known")]
    UnknownVersion(u8),
    /// Saved state does not decode, or contradicts itself.
    #[error("the saved state is not valid")]
    InvalidState,
    /// The bundle has no post-quantum prekey, and PQXDH was asked for.
    #[error("the bundle has no post-quantum prekey")]
    NoPostQuantumPrekey,
    /// The bundle or state belongs to another identity than the expected one.
    #[error("this belongs to another identity")]
    WrongIdentity,
    /// There is no session to send in: begin one with the peer's bundle.
    #[error("there is no session with this peer")]
    NoSession,
    /// 2^32 - 1 messages were sent in one chain without an answer.
    #[error("the sending chain is exhausted")]
    ChainExhausted,
    /// The staged change was made from a state that is not the present one.
    #[error("the staged change is stale")]
    Stale,
    /// A documented limit would be exceeded.
    #[error("a limit would be exceeded")]
    LimitExceeded,
    /// A primitive refused its input, for example a message of more than 64 GiB.
    #[error("a cryptographic primitive refused its input")]
    Primitive,
    /// The operating system's random generator failed.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl Error {
    /// What opening a message tells: that it is everyday life, or nothing.
    pub(crate) fn of_opening(self) -> Self {
        match self {
            Self::Own | Self::Duplicate | Self::Expired | Self::TooFarAhead => self,
            _ => Self::Undecryptable,
        }
    }

    /// What reading from a store tells: whatever is wrong inside, the caller can do nothing with the detail.
    pub(crate) fn of_store(self) -> Self {
        match self {
            Self::UnknownVersion(_) => self,
            _ => Self::InvalidState,
        }
    }
}
