//! Who is in a generation, and with which key.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    vec::Vec,
};

use cc_core::{MemberId, limits::MAX_MEMBERS};
use sha2::{Digest, Sha256};
use tls_codec::{TlsDeserializeBytes, TlsSerializeBytes, TlsSize};

use crate::{
    Curve, DhError, DhPublicKey,
    key::WireKey,
    wire::{self, WelcomeRoster},
};

/// The members of one generation in the order of their ids. No id and no key occurs twice, and all keys
/// are on one curve.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Roster {
    curve: Curve,
    entries: Vec<Entry>,
}

/// A member and its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: MemberId,
    pub(crate) key: DhPublicKey,
}

impl Roster {
    pub(crate) fn founded_by(id: MemberId, key: DhPublicKey) -> Self {
        Self { curve: key.curve(), entries: alloc::vec![Entry { id, key }] }
    }

    /// The roster of these members. `Err` says what is wrong with them.
    pub(crate) fn new(curve: Curve, mut entries: Vec<Entry>) -> Result<Self, &'static str> {
        if entries.len() > MAX_MEMBERS {
            return Err("too many members: see cc_core::limits::MAX_MEMBERS");
        }
        if entries.iter().any(|entry| entry.key.curve() != curve) {
            return Err("the new member's key is on another curve: all must use the same");
        }
        entries.sort_unstable_by_key(|entry| entry.id);
        if entries.windows(2).any(|pair| matches!(pair, [a, b] if a.id == b.id)) {
            return Err("the member is in the group already");
        }
        let keys: BTreeSet<_> = entries.iter().map(|entry| &entry.key).collect();
        if keys.len() != entries.len() {
            return Err(KEY_IN_USE);
        }
        Ok(Self { curve, entries })
    }

    /// The roster after `removed` went and `added` came.
    pub(crate) fn changed(
        &self,
        removed: &[MemberId],
        added: impl IntoIterator<Item = Entry>,
    ) -> Result<Self, &'static str> {
        let gone: BTreeSet<_> = removed.iter().collect();
        if gone.len() != removed.len() || !gone.iter().all(|id| self.key(id).is_some()) {
            return Err("only a member can be removed, and only once");
        }
        let (left, mut entries): (Vec<_>, Vec<_>) =
            self.entries.iter().copied().partition(|entry| gone.contains(&entry.id));
        let left: BTreeMap<_, _> = left.iter().map(|entry| (&entry.key, &entry.id)).collect();
        for entry in added {
            // Who goes may come back in the same change, with a new key or the old one. Nobody else
            // comes with the key of somebody who goes, and is to go.
            if left.get(&entry.key).is_some_and(|id| **id != entry.id) {
                return Err(KEY_IN_USE);
            }
            entries.push(entry);
        }
        Self::new(self.curve, entries)
    }

    /// [`WelcomeRoster`], which [`decode`](Self::decode) reads.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, DhError> {
        let entries = self.entries.iter().map(WireEntry::from).collect();
        wire::encode(&WelcomeRoster { entries })
    }

    /// Reads a roster that is not empty. Only the canonical encoding passes.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DhError> {
        let WelcomeRoster { entries } = wire::decode(bytes)?;
        let entries = entries.iter().map(Entry::try_from).collect::<Result<Vec<_>, DhError>>()?;
        let curve = entries.first().ok_or(DhError::Rejected)?.key.curve();
        if !entries.is_sorted_by(|a, b| a.id < b.id) {
            return Err(DhError::Rejected);
        }
        Self::new(curve, entries).map_err(|_| DhError::Rejected)
    }

    pub(crate) fn key(&self, id: &MemberId) -> Option<&DhPublicKey> {
        let at = self.entries.binary_search_by_key(id, |entry| entry.id).ok()?;
        self.entries.get(at).map(|entry| &entry.key)
    }

    /// In the order of ids.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What all members must agree on: curve, count, and every id and key in the order of ids.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"cascading-cipher/1 dh roster");
        hash.update(self.curve.id().to_be_bytes());
        hash.update(u64::try_from(self.entries.len()).unwrap_or(u64::MAX).to_be_bytes());
        for entry in &self.entries {
            hash.update(entry.id.as_bytes());
            hash.update(entry.key.point());
        }
        hash.finalize().into()
    }
}

const KEY_IN_USE: &str = "another member has this public key: let the new member make a new one";

/// A member and its key as they travel.
#[derive(Debug, Clone, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
pub(crate) struct WireEntry {
    id: [u8; 32],
    key: WireKey,
}

impl From<&Entry> for WireEntry {
    fn from(entry: &Entry) -> Self {
        Self { id: *entry.id.as_bytes(), key: (&entry.key).into() }
    }
}

impl TryFrom<&WireEntry> for Entry {
    type Error = DhError;

    fn try_from(wire: &WireEntry) -> Result<Self, DhError> {
        Ok(Self { id: MemberId::from_bytes(wire.id), key: (&wire.key).try_into()? })
    }
}
