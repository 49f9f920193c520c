//! Which commits this member made or processed, so that it recognizes them when the delivery service
//! delivers them once more.

use alloc::{format, sync::Arc, vec::Vec};

use cc_core::part_digest;
use tls_codec::{TlsDeserializeBytes, TlsSerializeBytes, TlsSize};

use crate::state::State;

/// Commits that are remembered; of older ones the layers can still tell that their epoch is over.
const MAX_ENTRIES: usize = 128;

/// The last commits, oldest first, by the digests of their bytes.
#[derive(Clone, Default, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
pub(crate) struct History {
    entries: Vec<Entry>,
}

#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
struct Entry {
    digest: [u8; 32],
    origin: Origin,
}

/// Who made a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
#[repr(u8)]
pub(crate) enum Origin {
    /// This member.
    Own = 1,
    /// Another member, and this one processed it.
    Processed = 2,
}

impl History {
    /// `None` for bytes that this member neither made nor processed lately.
    pub(crate) fn find(&self, wire: &[u8]) -> Option<Origin> {
        let digest = part_digest(wire);
        self.entries.iter().find(|entry| entry.digest == digest).map(|entry| entry.origin)
    }

    fn add(&mut self, wire: &[u8], origin: Origin) {
        if self.entries.len() >= MAX_ENTRIES {
            self.entries.remove(0);
        }
        self.entries.push(Entry { digest: part_digest(wire), origin });
    }
}

impl State {
    /// This member made the commit `wire`.
    pub(crate) fn remember_own(&mut self, wire: &[u8]) {
        Arc::make_mut(&mut self.history).add(wire, Origin::Own);
    }

    /// The commit `wire` of another member was processed.
    pub(crate) fn remember_processed(&mut self, wire: &[u8]) {
        Arc::make_mut(&mut self.history).add(wire, Origin::Processed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_entry_makes_room() {
        let mut state = State::default();
        state.remember_own(b"first");
        for n in 0..MAX_ENTRIES - 1 {
            state.remember_processed(&n.to_be_bytes());
        }
        assert_eq!(state.history.find(b"first"), Some(Origin::Own));
        state.remember_processed(b"last");
        assert_eq!(state.history.find(b"first"), None);
        assert_eq!(state.history.find(b"last"), Some(Origin::Processed));
        assert_eq!(state.history.entries.len(), MAX_ENTRIES);
    }
}
