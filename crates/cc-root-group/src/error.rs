//! What can go wrong in this crate, outside a stack and inside one.

use cc_core::{LayerError, LayerErrorKind, RandomError};

/// The error of keys and layers used on their own. In a stack it becomes a [`LayerError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The bytes are no public key: wrong length or encoding, a point that is not on the curve, at infinity or
    /// of low order, a coefficient that is not reduced (FIPS 203 section 7.2).
    #[error("not a valid public key")]
    PublicKey,
    /// The bytes are no private key: of another length, zero or not below the group order (P-256).
    #[error("not a valid private key")]
    PrivateKey,
    /// The two keys are on different curves, or of different parameter sets.
    #[error("the two keys have different parameters: both sides must choose the same")]
    SuiteMismatch,
    /// The peer's public key is one's own.
    #[error("the peer's public key is one's own: exchange public keys first")]
    OwnKey,
    /// The operating system's random generator failed.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// Bytes from outside did not authenticate or were malformed. Carries no reason on purpose.
    #[error("rejected")]
    Rejected,
    /// A wrapped library failed in a way its documentation rules out.
    #[error("the wrapped library failed")]
    Internal,
}

impl From<KeyError> for LayerError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Rejected | KeyError::PublicKey => Self::rejected(),
            KeyError::Random(error) => error.into(),
            KeyError::Internal => Self::local(LayerErrorKind::Internal, error),
            KeyError::PrivateKey | KeyError::SuiteMismatch | KeyError::OwnKey => {
                Self::local(LayerErrorKind::Misuse, error)
            }
        }
    }
}
