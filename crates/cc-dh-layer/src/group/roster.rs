//! Who is in a generation, and with which key.

use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};

use cc_core::{
    MemberId,
    limits::MAX_MEMBERS,
    membership::{ChangeError, check_change},
};
use sha2::{Digest, Sha256};

use crate::{Curve, DhError, DhPublicKey};

/// The members of one generation, with keys that are all on one curve. No id occurs twice; a key may.
///
/// They are in shards by the first byte of their ids. A change makes the shards anew that it touches, and
/// shares the others with the roster before it: what it costs in time, memory and records does not grow
/// with the group until the shards do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Roster {
    curve: Curve,
    members: usize,
    shards: BTreeMap<u8, Arc<Shard>>,
}

/// The members whose ids begin with one byte, at least one of them, in the order of ids.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    entries: Vec<Entry>,
    digest: [u8; 32],
}

/// A member and its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: MemberId,
    pub(crate) key: DhPublicKey,
}

impl Roster {
    /// The roster of these members, who are on one curve and in ascending order of ids, as
    /// [`read_entries`] gives them.
    pub(crate) fn new(curve: Curve, entries: &[Entry]) -> Self {
        let shards = entries
            .chunk_by(|one, other| one.shard() == other.shard())
            .filter_map(|shard| {
                let index = shard.first()?.shard();
                Some((index, Arc::new(Shard::new(curve, shard.to_vec()))))
            })
            .collect();
        Self { curve, members: entries.len(), shards }
    }

    /// The roster of these shards, as a store had them; `None` where a member is in the wrong one.
    pub(crate) fn from_shards(curve: Curve, shards: BTreeMap<u8, Arc<Shard>>) -> Option<Self> {
        let fits = |(index, shard): (&u8, &Arc<Shard>)| {
            shard.entries.iter().all(|entry| entry.shard() == *index)
        };
        let members = shards.values().map(|shard| shard.entries.len()).sum();
        let valid = shards.iter().all(fits) && (1..=MAX_MEMBERS).contains(&members);
        valid.then_some(Self { curve, members, shards })
    }

    /// The roster once `removed` left and `added`, who are on its curve, joined.
    pub(crate) fn changed(
        &self,
        committer: Option<&MemberId>,
        removed: &[MemberId],
        added: &[Entry],
    ) -> Result<Self, ChangeError> {
        let ids = added.iter().map(|entry| entry.id);
        let is_member = |id: &MemberId| self.key(id).is_some();
        check_change(self.members, is_member, committer, removed, ids)?;

        let mut touched = BTreeMap::<u8, Vec<Entry>>::new();
        let entries = |index: u8| {
            self.shards.get(&index).map_or_else(Vec::new, |shard| shard.entries.clone())
        };
        for id in removed {
            let index = shard_of(id);
            let shard = touched.entry(index).or_insert_with(|| entries(index));
            shard.retain(|entry| entry.id != *id);
        }
        for entry in added {
            let index = entry.shard();
            touched.entry(index).or_insert_with(|| entries(index)).push(*entry);
        }
        let mut shards = self.shards.clone();
        for (index, mut entries) in touched {
            if entries.is_empty() {
                shards.remove(&index);
            } else {
                entries.sort_unstable_by_key(|entry| entry.id);
                shards.insert(index, Arc::new(Shard::new(self.curve, entries)));
            }
        }
        let members = self.members - removed.len() + added.len();
        Ok(Self { curve: self.curve, members, shards })
    }

    /// How many members there are.
    pub(crate) const fn len(&self) -> usize {
        self.members
    }

    pub(crate) const fn shards(&self) -> &BTreeMap<u8, Arc<Shard>> {
        &self.shards
    }

    pub(crate) fn key(&self, id: &MemberId) -> Option<&DhPublicKey> {
        let entries = &self.shards.get(&shard_of(id))?.entries;
        let at = entries.binary_search_by_key(id, |entry| entry.id).ok()?;
        entries.get(at).map(|entry| &entry.key)
    }

    /// In the order of ids.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.shards.values().flat_map(|shard| &shard.entries)
    }

    /// What all members must agree on: the curve, and every id and key in the order of ids.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"cascading-cipher/1 dh roster");
        hash.update(self.curve.id().to_be_bytes());
        for (index, shard) in &self.shards {
            hash.update([*index]);
            hash.update(shard.digest);
        }
        hash.finalize().into()
    }
}

impl Shard {
    pub(crate) fn new(curve: Curve, entries: Vec<Entry>) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"cascading-cipher/1 dh roster shard");
        hash.update(curve.id().to_be_bytes());
        for entry in &entries {
            hash.update(entry.id.as_bytes());
            hash.update(entry.key.point());
        }
        Self { entries, digest: hash.finalize().into() }
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

impl Entry {
    /// Bytes of an entry with a key on `curve`, as [`write_entries`] writes it.
    pub(crate) const fn encoded_len(curve: Curve) -> usize {
        32 + curve.public_key_len()
    }

    fn shard(&self) -> u8 {
        shard_of(&self.id)
    }
}

fn shard_of(id: &MemberId) -> u8 {
    let [first, ..] = id.as_bytes();
    *first
}

/// `id ‖ point` of each entry.
pub(crate) fn write_entries<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        bytes.extend_from_slice(entry.id.as_bytes());
        bytes.extend_from_slice(entry.key.point());
    }
    bytes
}

/// Reads entries with keys on `curve` that are in ascending order of ids, at most [`MAX_MEMBERS`].
pub(crate) fn read_entries(curve: Curve, bytes: &[u8]) -> Result<Vec<Entry>, DhError> {
    let chunks = bytes.chunks_exact(Entry::encoded_len(curve));
    if !chunks.remainder().is_empty() || chunks.len() > MAX_MEMBERS {
        return Err(DhError::Rejected);
    }
    let mut entries = Vec::<Entry>::with_capacity(chunks.len());
    for chunk in chunks {
        let (id, point) = chunk.split_first_chunk().ok_or(DhError::Rejected)?;
        let id = MemberId::from_bytes(*id);
        if entries.last().is_some_and(|last| last.id >= id) {
            return Err(DhError::Rejected);
        }
        let key = DhPublicKey::from_point(curve, point).map_err(|_| DhError::Rejected)?;
        entries.push(Entry { id, key });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;
    use crate::DhKeyPair;

    const CURVE: Curve = Curve::X25519;

    fn key() -> DhPublicKey {
        *DhKeyPair::generate(CURVE).unwrap().public_key()
    }

    fn id(number: u16) -> MemberId {
        // Few shards, with several members each.
        let mut id = [0; 32];
        id[..2].copy_from_slice(&(number % 512).to_le_bytes());
        id[0] %= 8;
        id[31] = number.to_le_bytes()[0];
        MemberId::from_bytes(id)
    }

    proptest! {
        /// However a roster came about: the same members have the same digest, and others another.
        #[test]
        fn a_roster_depends_on_its_members_alone(
            steps in prop::collection::vec((any::<bool>(), 0u16..40), 1..60),
        ) {
            let key = key();
            let founder = Entry { id: MemberId::from_bytes([255; 32]), key };
            let mut roster = Roster::new(CURVE, &[founder]);
            let mut model = BTreeMap::from([(founder.id, founder)]);
            let mut digests = vec![];
            for (add, number) in steps {
                let id = id(number);
                let result = if add {
                    roster.changed(None, &[], &[Entry { id, key }])
                } else {
                    roster.changed(None, &[id], &[])
                };
                prop_assert_eq!(result.is_ok(), add != model.contains_key(&id));
                let Ok(changed) = result else { continue };
                prop_assert_ne!(changed.digest(), roster.digest());
                let untouched = changed.shards.iter().filter(|(index, shard)| {
                    **index != shard_of(&id) && !Arc::ptr_eq(shard, &roster.shards[*index])
                });
                prop_assert_eq!(untouched.count(), 0, "made anew for nothing");
                roster = changed;
                if add { model.insert(id, Entry { id, key }); } else { model.remove(&id); }
                let entries: Vec<_> = model.values().copied().collect();
                prop_assert_eq!(roster.entries().copied().collect::<Vec<_>>(), entries.clone());
                prop_assert_eq!(&roster, &Roster::new(CURVE, &entries));
                let bytes = write_entries(roster.entries());
                prop_assert_eq!(read_entries(CURVE, &bytes).unwrap(), entries);
                digests.push((roster.digest(), model.keys().copied().collect::<Vec<_>>()));
            }
            for (one, of_one) in &digests {
                for (other, of_other) in &digests {
                    prop_assert_eq!(one == other, of_one == of_other);
                }
            }
        }
    }

    #[test]
    fn another_key_is_another_roster() {
        let entries = [key(), key()].map(|key| vec![Entry { id: id(1), key }]);
        let [one, other] = entries.map(|entries| Roster::new(CURVE, &entries).digest());
        assert_ne!(one, other);
    }

    #[test]
    fn entries_out_of_order_doubled_or_cut_are_refused() {
        let [one, two] = [1, 2].map(|number| Entry { id: id(number), key: key() });
        let (low, high) = if one.id < two.id { (one, two) } else { (two, one) };
        let good = write_entries([&low, &high]);
        assert_eq!(read_entries(CURVE, &good).unwrap(), [low, high]);
        assert!(read_entries(CURVE, &write_entries([&high, &low])).is_err());
        assert!(read_entries(CURVE, &write_entries([&low, &low])).is_err());
        assert!(read_entries(CURVE, &good[1..]).is_err());
        assert!(read_entries(CURVE, &[0; 64]).is_err(), "a key of low order");
        let too_many = vec![0; (MAX_MEMBERS + 1) * Entry::encoded_len(CURVE)];
        assert!(read_entries(CURVE, &too_many).is_err());
        let misplaced = BTreeMap::from([(low.shard() + 1, Arc::new(Shard::new(CURVE, vec![low])))]);
        assert!(Roster::from_shards(CURVE, misplaced).is_none());
        assert!(Roster::from_shards(CURVE, BTreeMap::new()).is_none());
    }
}
