//! What can go wrong in this crate, outside a stack and inside one.

use cc_core::{LayerError, LayerErrorKind, RandomError};

/// The error of keys and modes used on their own. In a stack it becomes a [`LayerError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DhError {
    /// The bytes are no public key of the curve: wrong length or encoding, not on the curve, the
    /// point at infinity, or of low order.
    #[error("not a valid public key")]
    PublicKey,
    /// The bytes are no private key of the curve: zero or not below the group order (P-256).
    #[error("not a valid private key")]
    PrivateKey,
    /// The two keys are on different curves.
    #[error("the two keys are on different curves: both sides must choose the same")]
    CurveMismatch,
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

impl From<DhError> for LayerError {
    fn from(error: DhError) -> Self {
        match error {
            DhError::Rejected | DhError::PublicKey => Self::rejected(),
            DhError::Random(error) => error.into(),
            DhError::Internal => Self::local(LayerErrorKind::Internal, error),
            DhError::PrivateKey | DhError::CurveMismatch | DhError::OwnKey => {
                Self::local(LayerErrorKind::Misuse, error)
            }
        }
    }
}
