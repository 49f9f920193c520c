//! Why something was refused, for the local log: events of `tracing`, where the feature is on. Never a
//! key, a plaintext, or the bytes that were received.

use crate::{Error, Incoming, IncomingWelcome};

/// What `receive` answered.
#[cfg(feature = "tracing")]
pub(crate) fn received(incoming: &Incoming) {
    match incoming {
        Incoming::Message(_) | Incoming::Commit(_) | Incoming::Proposal(_) => {}
        Incoming::Forged(error) => forged(error),
        everyday => tracing::debug!(incoming = ?everyday, "not opened"),
    }
}

/// What `receive_welcome` answered.
#[cfg(feature = "tracing")]
pub(crate) fn received_welcome(incoming: &IncomingWelcome) {
    match incoming {
        IncomingWelcome::Joined(_) => {}
        IncomingWelcome::Forged(error) => forged(error),
        everyday => tracing::debug!(incoming = ?everyday, "welcome not taken"),
    }
}

/// An error of this end.
#[cfg(feature = "tracing")]
pub(crate) fn failed(error: &Error) {
    tracing::error!(code = error.code(), error = %cc_core::error_chain(error), "failed");
}

#[cfg(feature = "tracing")]
fn forged(error: &Error) {
    let (position, layer) = match error {
        Error::Layer { position, layer, .. } => (Some(*position), Some(*layer)),
        _ => (None, None),
    };
    tracing::warn!(
        code = error.code(),
        position,
        layer,
        error = %cc_core::error_chain(error),
        "forged or damaged"
    );
}

#[cfg(not(feature = "tracing"))]
pub(crate) fn received(_: &Incoming) {}

#[cfg(not(feature = "tracing"))]
pub(crate) fn received_welcome(_: &IncomingWelcome) {}

#[cfg(not(feature = "tracing"))]
pub(crate) fn failed(_: &Error) {}
