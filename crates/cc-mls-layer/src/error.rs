//! What this crate's own calls report. What a remote party can cause is [`LayerError::rejected`].

use cc_core::{LayerError, LayerErrorKind};
use openmls::{
    framing::errors::{MessageDecryptionError, SecretTreeError},
    group::{MlsGroupStateError, ProcessMessageError, ValidationError},
};

/// Why a call of this crate failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MlsError {
    /// The cryptography in use does not implement this ciphersuite.
    #[error("ciphersuite {0:?} is not supported here")]
    Ciphersuite(openmls_traits::types::Ciphersuite),
    /// A name is longer than it may be.
    #[error("a name has at most {max} bytes, this one has {len}")]
    Name {
        /// Bytes allowed.
        max: usize,
        /// Bytes given.
        len: usize,
    },
    /// What a leaf is to say is longer than it may be.
    #[error("a leaf says at most {max} bytes, these are {len}")]
    LeafData {
        /// Bytes allowed.
        max: usize,
        /// Bytes given.
        len: usize,
    },
    /// A value of the configuration is out of its bounds.
    #[error("{0}")]
    Config(&'static str),
    /// The signature key could not be generated.
    #[error("the signature key could not be generated")]
    SignatureKey,
    /// A private signature key that does not belong to the public one, or is none of the ciphersuite.
    #[error("the private signature key does not belong to the public one")]
    KeyPair,
    /// A certificate chain that is empty, has an empty certificate, or is longer than it may be.
    #[error("the certificate chain is empty, has an empty certificate, or is too long")]
    Chain,
    /// There is no group yet, or this member was removed.
    #[error("this member is in no group")]
    NoGroup,
    /// An exported secret has at most 65535 bytes.
    #[error("a secret of {0} bytes cannot be exported")]
    ExportLength(usize),
    /// The exporter label that this layer uses itself.
    #[error("this exporter label is the layer's own: take another")]
    ReservedLabel,
    /// The layer's stored state could not be read or written.
    #[error("the stored state could not be read or written: {0}")]
    Storage(String),
    /// openmls failed in a way that its documentation rules out.
    #[error("openmls: {0}")]
    Library(String),
}

impl From<MlsError> for LayerError {
    fn from(error: MlsError) -> Self {
        let kind = match &error {
            MlsError::NoGroup => LayerErrorKind::NotReady,
            MlsError::Storage(_) => LayerErrorKind::Storage,
            MlsError::Library(_) => LayerErrorKind::Internal,
            MlsError::SignatureKey => LayerErrorKind::Random,
            MlsError::Name { .. } | MlsError::LeafData { .. } | MlsError::ExportLength(_) => {
                LayerErrorKind::Limit
            }
            MlsError::Ciphersuite(_)
            | MlsError::Config(_)
            | MlsError::KeyPair
            | MlsError::Chain
            | MlsError::ReservedLabel => LayerErrorKind::Misuse,
        };
        Self::local(kind, error)
    }
}

impl From<crate::storage::StorageError> for MlsError {
    fn from(error: crate::storage::StorageError) -> Self {
        Self::Storage(error.to_string())
    }
}

impl From<crate::storage::StorageError> for LayerError {
    fn from(error: crate::storage::StorageError) -> Self {
        storage(error)
    }
}

/// Why openmls did not read a message to `epoch`: what the layer's own records explain, or `Rejected`.
pub(crate) fn refusal<E>(error: &ProcessMessageError<E>, epoch: u64) -> LayerError {
    use SecretTreeError::{SecretReuseError, TooDistantInTheFuture, TooDistantInThePast};
    match error {
        ProcessMessageError::ValidationError(ValidationError::NoPastEpochData)
        | ProcessMessageError::GroupStateError(MlsGroupStateError::UseAfterEviction) => {
            LayerError::stale(Some(epoch))
        }
        ProcessMessageError::ValidationError(ValidationError::UnableToDecrypt(
            MessageDecryptionError::SecretTreeError(error),
        )) => match error {
            SecretReuseError => LayerError::duplicate(),
            TooDistantInThePast => LayerError::stale(Some(epoch)),
            TooDistantInTheFuture => LayerError::early(Some(epoch)),
            _ => LayerError::rejected(),
        },
        _ => LayerError::rejected(),
    }
}

/// openmls failed where nothing remote is to blame.
pub(crate) fn internal(error: impl std::fmt::Display) -> LayerError {
    MlsError::Library(error.to_string()).into()
}

/// The store failed, or holds what it should not.
pub(crate) fn storage(error: impl std::fmt::Display) -> LayerError {
    MlsError::Storage(error.to_string()).into()
}
