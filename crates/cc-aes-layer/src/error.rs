//! What can go wrong.

use cc_core::{LayerError, LayerErrorKind, RandomError};

use crate::Argon2Params;

/// Why bytes were not sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AesError {
    /// The one answer to bad bytes: another key or password, other associated data, changed, cut
    /// short, extended, or Argon2id parameters out of all [bounds](Argon2Params).
    #[error("the bytes were not sealed under this key and associated data, or were changed since")]
    Rejected,
    /// The operating system's random generator failed.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// A key of neither 16 nor 32 bytes.
    #[error("an AES key has 16 or 32 bytes, not {0}")]
    KeyLength(usize),
    /// A password of no bytes.
    #[error("the password is empty")]
    EmptyPassword,
    /// Argon2id parameters outside of the documented bounds: see [`Argon2Params`](crate::Argon2Params).
    #[error(
        "Argon2id takes 19456 to 1048576 KiB of memory, 2 to 16 passes and 1 to 16 lanes, not \
         {memory_kib} KiB, {passes} and {lanes}"
    )]
    Argon2Bounds {
        /// Memory in KiB.
        memory_kib: u32,
        /// Passes over the memory.
        passes: u8,
        /// Lanes.
        lanes: u8,
    },
    /// The bytes ask for a costlier run of Argon2id than is accepted. Nothing was run. Where their
    /// sender is trusted, accept it with [`Password::accept_at_most`](crate::Password::accept_at_most).
    #[error(
        "opening this takes Argon2id with {} KiB, {} passes and {} lanes, and {} KiB, {} and {} are \
         accepted: if whoever sealed it is trusted, accept more with accept_at_most",
        asked.memory_kib(), asked.passes(), asked.lanes(),
        ceiling.memory_kib(), ceiling.passes(), ceiling.lanes()
    )]
    Argon2Ceiling {
        /// What the bytes ask for.
        asked: Argon2Params,
        /// The most that is accepted.
        ceiling: Argon2Params,
    },
    /// The memory that Argon2id needs could not be had. Nothing is wrong with the bytes as far as is
    /// known; try again with more memory.
    #[error("no memory for Argon2id")]
    OutOfMemory,
    /// A message or associated data longer than AES-GCM takes (64 GiB, 2 EiB), or a stream longer
    /// than [`MAX_STREAM_LEN`](crate::MAX_STREAM_LEN).
    #[error("longer than AES-GCM takes")]
    TooLong,
    /// A chunk of a length that its place in the stream does not allow. See
    /// [`ChunkSeal::seal`](crate::ChunkSeal::seal).
    #[error("{0} bytes are no chunk for this place in a stream")]
    ChunkLength(usize),
    /// A layer that inherits its key has no layer below it that contributes one.
    #[error(
        "this AES layer takes its key from the layers below, and none of them contributes one: put a \
         DH, Signal or MLS layer below it, or give it a key of its own with AesLayer::new"
    )]
    NothingInherited,
}

impl From<AesError> for LayerError {
    fn from(error: AesError) -> Self {
        let kind = match error {
            // In a stack, parameters that are too costly are a stranger's bytes like any others.
            AesError::Rejected | AesError::Argon2Ceiling { .. } => return Self::rejected(),
            AesError::Random(_) => LayerErrorKind::Random,
            AesError::OutOfMemory | AesError::TooLong => LayerErrorKind::Limit,
            AesError::KeyLength(_)
            | AesError::EmptyPassword
            | AesError::Argon2Bounds { .. }
            | AesError::ChunkLength(_)
            | AesError::NothingInherited => LayerErrorKind::Misuse,
        };
        Self::local(kind, error)
    }
}

/// Why a stream was not sealed or opened.
#[cfg(feature = "std")]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The reader or the writer failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The bytes or the key are at fault. What was written before belongs to a stream that does not
    /// verify: throw it away.
    #[error(transparent)]
    Aes(#[from] AesError),
}

#[cfg(test)]
mod tests {
    use core::error::Error;

    use super::*;

    #[test]
    fn a_rejection_stays_opaque_in_a_stack() {
        let error = LayerError::from(AesError::Rejected);
        assert_eq!(error.kind(), LayerErrorKind::Rejected);
        assert!(error.source().is_none());
    }

    #[test]
    fn local_failures_keep_their_cause() {
        for (error, kind) in [
            (AesError::NothingInherited, LayerErrorKind::Misuse),
            (AesError::TooLong, LayerErrorKind::Limit),
            (AesError::OutOfMemory, LayerErrorKind::Limit),
            (AesError::Random(RandomError), LayerErrorKind::Random),
        ] {
            let layer = LayerError::from(error);
            assert_eq!(layer.kind(), kind);
            assert!(layer.source().is_some());
        }
    }
}
