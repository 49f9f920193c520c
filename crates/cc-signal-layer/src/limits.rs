//! Bounds on what a peer can make us store and compute.

use crate::{
    Error,
    codec::{Reader, Writer},
};

/// Bounds of a session, configurable down, and upwards as far as the caps.
///
/// They are part of the saved state of a [`SignalLayer`](crate::SignalLayer). Everything smaller is
/// saved without them: give them again when such a state is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    max_skip: u32,
    max_skipped: usize,
    skipped_lifetime: u32,
    max_sessions: usize,
}

impl Limits {
    /// How far ahead in a chain the first message may be that arrives of it, whatever
    /// [`Limits::max_skip`] is: without it the peer's next chain would never begin.
    pub const MAX_FIRST_SKIP: u32 = 10_000;
    /// For how many later chains of the peer the key of a missing message is kept.
    pub const MAX_CHAINS: u64 = 100;

    /// The most [`Limits::with_max_skip`] accepts, in messages.
    pub const MAX_SKIP_CAP: u32 = 10_000;
    /// The most [`Limits::with_max_skipped`] accepts, in message keys.
    pub const MAX_SKIPPED_CAP: usize = 20_000;
    /// The most [`Limits::with_skipped_lifetime`] accepts, in messages.
    pub const SKIPPED_LIFETIME_CAP: u32 = 100_000;
    /// The most [`Limits::with_max_sessions`] accepts, in sessions; the number Sesame suggests.
    pub const MAX_SESSIONS_CAP: usize = 40;

    /// How many messages in a row may be missing of one chain before a message is refused, and of a
    /// chain that has ended before the rest of it is given up. At most
    /// [`Limits::MAX_SKIP_CAP`]; a greater number is lowered to it. 1000 by default.
    #[must_use]
    pub fn with_max_skip(self, messages: u32) -> Self {
        Self { max_skip: messages.min(Self::MAX_SKIP_CAP), ..self }
    }

    /// How many keys of missing messages one session keeps; beyond it the oldest is dropped. At
    /// most [`Limits::MAX_SKIPPED_CAP`]; a greater number is lowered to it. 2000 by default.
    #[must_use]
    pub fn with_max_skipped(self, keys: usize) -> Self {
        Self { max_skipped: keys.min(Self::MAX_SKIPPED_CAP), ..self }
    }

    /// For how many later messages of the same session or chain the key of a missing message is kept;
    /// missing ones count, and so they have to be opened within that many. In a pair session it is
    /// kept for [`Limits::MAX_CHAINS`] later chains of the peer at most. (Double Ratchet section 8.4
    /// asks for such a limit, and allows to count events: a layer reads no clock when it receives.)
    /// At most [`Limits::SKIPPED_LIFETIME_CAP`]; a greater number is lowered to it. 2000 by default.
    #[must_use]
    pub fn with_skipped_lifetime(self, messages: u32) -> Self {
        Self { skipped_lifetime: messages.min(Self::SKIPPED_LIFETIME_CAP), ..self }
    }

    /// How many sessions are kept with one peer; beyond it the one unused for longest is dropped.
    /// At least 2, one that each side has begun; at most [`Limits::MAX_SESSIONS_CAP`]. 8 by
    /// default.
    #[must_use]
    pub fn with_max_sessions(self, sessions: usize) -> Self {
        Self { max_sessions: sessions.clamp(2, Self::MAX_SESSIONS_CAP), ..self }
    }

    /// Messages of one chain that may be missing.
    #[must_use]
    pub fn max_skip(&self) -> u32 {
        self.max_skip
    }

    /// Keys of missing messages one session keeps.
    #[must_use]
    pub fn max_skipped(&self) -> usize {
        self.max_skipped
    }

    /// Later messages for which the key of a missing one is kept.
    #[must_use]
    pub fn skipped_lifetime(&self) -> u32 {
        self.skipped_lifetime
    }

    /// Sessions kept with one peer.
    #[must_use]
    pub fn max_sessions(&self) -> usize {
        self.max_sessions
    }
}

impl Limits {
    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.u32(self.max_skip);
        writer.count(self.max_skipped);
        writer.u32(self.skipped_lifetime);
        writer.count(self.max_sessions);
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let count = |n| usize::try_from(n).map_err(|_| Error::InvalidState);
        let read = Self {
            max_skip: reader.u32()?,
            max_skipped: count(reader.u32()?)?,
            skipped_lifetime: reader.u32()?,
            max_sessions: count(reader.u32()?)?,
        };
        let capped = Self::default()
            .with_max_skip(read.max_skip)
            .with_max_skipped(read.max_skipped)
            .with_skipped_lifetime(read.skipped_lifetime)
            .with_max_sessions(read.max_sessions);
        if read == capped { Ok(read) } else { Err(Error::InvalidState) }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_skip: 1000, max_skipped: 2000, skipped_lifetime: 2000, max_sessions: 8 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_go_down_freely_and_up_to_the_caps() {
        let low = Limits::default().with_max_skip(0).with_max_skipped(0).with_max_sessions(0);
        assert_eq!((low.max_skip(), low.max_skipped(), low.max_sessions()), (0, 0, 2));
        let high = Limits::default()
            .with_max_skip(u32::MAX)
            .with_max_skipped(usize::MAX)
            .with_max_sessions(usize::MAX);
        assert_eq!(high.max_skip(), Limits::MAX_SKIP_CAP);
        assert_eq!(high.max_skipped(), Limits::MAX_SKIPPED_CAP);
        assert_eq!(high.max_sessions(), Limits::MAX_SESSIONS_CAP);
    }
}
