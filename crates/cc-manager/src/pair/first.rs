//! What a first message turns out to be.

use alloc::boxed::Box;

use cc_core::{DecodeError, MemberId, PairId};

use crate::{CascadingCipherManager, Error, Message};

/// Who is named by a first message. A claim, until the message opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstView {
    /// The pair.
    pub pair: PairId,
    /// Who claims to have begun it.
    pub peer: MemberId,
}

/// What a first message turned out to be.
///
/// Only [`Forged`](Self::Forged) means an attack or damage.
#[derive(Debug)]
#[non_exhaustive]
pub enum IncomingFirst {
    /// Somebody began a pair.
    Begun(Box<AcceptedPair>),
    /// The pair exists: give the bytes to its manager.
    Known(PairId),
    /// It uses keys that are gone, or began a pair that is forgotten.
    Stale,
    /// It was not made for this call: another version of the wire format, another stack, or another kind.
    Foreign(DecodeError),
    /// Forged or damaged, or put together from several. The error is for the local log only.
    Forged(Error),
}

/// A pair that somebody else began.
#[derive(Debug)]
pub struct AcceptedPair {
    /// The pair. It can answer at once.
    pub manager: CascadingCipherManager,
    /// Its first message that was received.
    pub message: Message,
    /// Its name: what comes with the same name is for this manager.
    pub pair: PairId,
    /// Who began it. That it is them, every layer has authenticated by their long-lived keys; whose keys they
    /// are is for the application to know.
    pub peer: MemberId,
}
