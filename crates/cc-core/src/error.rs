//! What a layer reports when it cannot do what it was asked to.

use alloc::boxed::Box;
use core::{error::Error, fmt};

use crate::{RandomError, store::StoreError};

/// The error of one layer, as the manager sees it.
///
/// Everything a remote attacker can cause is [`LayerErrorKind::Rejected`] and carries no source, so
/// that nobody learns why authentication failed. The other kinds are local, and name their cause.
#[derive(Debug)]
pub struct LayerError {
    kind: LayerErrorKind,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What went wrong, as far as a caller can act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayerErrorKind {
    /// The bytes did not authenticate, were malformed, replayed, or too far out of order.
    Rejected,
    /// The message names a later epoch or generation than this layer has reached. Process the commit
    /// that leads there, then open the message again.
    Early,
    /// The layer has no key yet, no group yet, or was removed from its group.
    NotReady,
    /// The caller asked for something this layer or its state does not allow.
    Misuse,
    /// A documented limit was exceeded by the caller.
    Limit,
    /// The operating system's random generator failed.
    Random,
    /// The store failed, or what it holds does not fit this layer.
    Storage,
    /// The wrapped library failed in a way its documentation rules out.
    Internal,
}

impl LayerError {
    /// The one answer to bad bytes.
    #[must_use]
    pub const fn rejected() -> Self {
        Self { kind: LayerErrorKind::Rejected, source: None }
    }

    /// A local failure with its cause. A `kind` of [`LayerErrorKind::Rejected`] drops the cause.
    pub fn local(kind: LayerErrorKind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        if kind == LayerErrorKind::Rejected {
            return Self::rejected();
        }
        Self { kind, source: Some(source.into()) }
    }

    /// The caller used the layer in a way it does not allow; `advice` says what to change.
    #[must_use]
    pub fn misuse(advice: &'static str) -> Self {
        Self::local(LayerErrorKind::Misuse, advice)
    }

    /// The layer has no keys for this yet; `advice` says what to do first.
    #[must_use]
    pub fn not_ready(advice: &'static str) -> Self {
        Self::local(LayerErrorKind::NotReady, advice)
    }

    /// The message names a later epoch or generation than this layer has reached.
    #[must_use]
    pub const fn early() -> Self {
        Self { kind: LayerErrorKind::Early, source: None }
    }

    /// The store failed, or holds what does not fit this layer.
    pub fn storage(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::local(LayerErrorKind::Storage, source)
    }

    /// What went wrong, as far as a caller can act on it.
    #[must_use]
    pub const fn kind(&self) -> LayerErrorKind {
        self.kind
    }
}

impl fmt::Display for LayerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            LayerErrorKind::Rejected => "the message was rejected",
            LayerErrorKind::Early => {
                "the message belongs to a later epoch: process its commit first"
            }
            LayerErrorKind::NotReady => "the layer is not ready",
            LayerErrorKind::Misuse => "the layer does not allow this",
            LayerErrorKind::Limit => "a limit was exceeded",
            LayerErrorKind::Random => "no randomness",
            LayerErrorKind::Storage => "the layer's state could not be stored or loaded",
            LayerErrorKind::Internal => "the wrapped library failed",
        })?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl Error for LayerError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.source {
            Some(source) => Some(source.as_ref()),
            None => None,
        }
    }
}

impl From<RandomError> for LayerError {
    fn from(error: RandomError) -> Self {
        Self::local(LayerErrorKind::Random, error)
    }
}

impl From<StoreError> for LayerError {
    fn from(error: StoreError) -> Self {
        Self::storage(error)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn a_rejection_has_no_cause() {
        let error = LayerError::local(LayerErrorKind::Rejected, "tag mismatch");
        assert!(error.source().is_none());
        assert_eq!(error.to_string(), "the message was rejected");
    }

    #[test]
    fn a_local_failure_names_its_cause() {
        let error = LayerError::from(RandomError);
        assert_eq!(error.kind(), LayerErrorKind::Random);
        assert!(error.to_string().contains("random generator failed"));
    }
}
