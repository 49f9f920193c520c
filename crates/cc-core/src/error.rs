//! What a layer reports when it cannot do what it was asked to.

use alloc::boxed::Box;
use core::{error::Error, fmt};

use crate::{MemberId, RandomError, store::StoreError};

/// The error of one layer, as the manager sees it.
///
/// Bytes that do not authenticate are [`LayerErrorKind::Rejected`], which carries no source, so that
/// nobody learns why authentication failed. [`Own`](LayerErrorKind::Own),
/// [`Duplicate`](LayerErrorKind::Duplicate), [`Stale`](LayerErrorKind::Stale) and
/// [`Early`](LayerErrorKind::Early) say what the layer's own records or the public bytes of the
/// message tell anybody: they are everyday life, and an attack must not look like one of them. The
/// other kinds are local, and name their cause as [`source`](Error::source), which the text of the
/// error does not repeat: [`error_chain`] prints both.
#[derive(Debug)]
pub struct LayerError {
    kind: LayerErrorKind,
    epoch: Option<u64>,
    member: Option<MemberId>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What went wrong, as far as a caller can act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum LayerErrorKind {
    /// The bytes did not authenticate or were malformed.
    Rejected,
    /// This member sealed it itself.
    Own,
    /// It was opened before: the key it needs was used and is gone.
    Duplicate,
    /// It belongs to an epoch, or a place in a chain, whose keys are no longer kept or were never
    /// had. [`LayerError::epoch`] is the epoch it names, where it names one.
    Stale,
    /// It names a later epoch or generation than this layer has reached, or needs something that
    /// another message will bring. Open it again then. [`LayerError::epoch`] is the epoch it names,
    /// where it names one.
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

impl LayerErrorKind {
    /// The number of this kind, for logs and for bindings to other languages. Numbers are never given
    /// to another kind; `docs/errors.md` lists them.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::Rejected => 201,
            Self::Own => 202,
            Self::Duplicate => 203,
            Self::Stale => 204,
            Self::Early => 205,
            Self::NotReady => 206,
            Self::Misuse => 207,
            Self::Limit => 208,
            Self::Random => 209,
            Self::Storage => 210,
            Self::Internal => 211,
        }
    }
}

impl LayerError {
    /// The one answer to bad bytes.
    #[must_use]
    pub const fn rejected() -> Self {
        Self::bare(LayerErrorKind::Rejected, None)
    }

    /// The message is one that this member sealed itself.
    #[must_use]
    pub const fn own() -> Self {
        Self::bare(LayerErrorKind::Own, None)
    }

    /// The message was opened before.
    #[must_use]
    pub const fn duplicate() -> Self {
        Self::bare(LayerErrorKind::Duplicate, None)
    }

    /// The keys for the message are no longer kept, or were never had. `epoch` is the one it names.
    #[must_use]
    pub const fn stale(epoch: Option<u64>) -> Self {
        Self::bare(LayerErrorKind::Stale, epoch)
    }

    /// The message names a later epoch or generation than this layer has reached, `epoch`, or needs
    /// something that another message will bring.
    #[must_use]
    pub const fn early(epoch: Option<u64>) -> Self {
        Self::bare(LayerErrorKind::Early, epoch)
    }

    /// A local failure with its cause. A `kind` of [`LayerErrorKind::Rejected`] drops the cause.
    pub fn local(kind: LayerErrorKind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        if kind == LayerErrorKind::Rejected {
            return Self::rejected();
        }
        Self { source: Some(source.into()), ..Self::bare(kind, None) }
    }

    /// The same error, and which member it is about: whose key package does not verify, say.
    #[must_use]
    pub fn about(self, member: MemberId) -> Self {
        Self { member: Some(member), ..self }
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

    /// The store failed, or holds what does not fit this layer.
    pub fn storage(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::local(LayerErrorKind::Storage, source)
    }

    /// What went wrong, as far as a caller can act on it.
    #[must_use]
    pub const fn kind(&self) -> LayerErrorKind {
        self.kind
    }

    /// The epoch that a [`Stale`](LayerErrorKind::Stale) or [`Early`](LayerErrorKind::Early) message
    /// names, where it names one. What a message says of itself is a claim until it is opened.
    #[must_use]
    pub const fn epoch(&self) -> Option<u64> {
        self.epoch
    }

    /// Which member the error is about, where it is about one.
    #[must_use]
    pub const fn member(&self) -> Option<MemberId> {
        self.member
    }

    const fn bare(kind: LayerErrorKind, epoch: Option<u64>) -> Self {
        Self { kind, epoch, member: None, source: None }
    }
}

impl fmt::Display for LayerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            LayerErrorKind::Rejected => "the message was rejected",
            LayerErrorKind::Own => "this member sealed the message itself",
            LayerErrorKind::Duplicate => "the message was opened before",
            LayerErrorKind::Stale => "the keys for the message are gone or were never had",
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
        if let Some(member) = &self.member {
            write!(f, " (member {member})")?;
        }
        Ok(())
    }
}

/// `error` and all its [sources](Error::source) in one line, the outermost first: what a log wants. No
/// error of this workspace repeats the text of its source.
pub fn error_chain(error: &dyn Error) -> impl fmt::Display {
    Chain(error)
}

struct Chain<'a>(&'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
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
        assert_eq!(error.to_string(), "no randomness");
        assert_eq!(
            error_chain(&error).to_string(),
            "no randomness: the operating system's random generator failed"
        );
    }
}
