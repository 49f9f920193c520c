//! Who is in a generation, and with which key.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    vec::Vec,
};

use cc_core::{
    MemberId,
    membership::{ChangeError, check_change},
};
use sha2::{Digest, Sha256};

use crate::{KeyError, MemberPublicKey, Suite, label::label};

/// The members of one generation, with keys that are all of one suite. No id occurs twice; a key may.
///
/// They are in shards by the first byte of their ids. A change makes the shards anew that it touches, and
/// shares the others with the roster before it: what it costs in time, memory and records does not grow
/// with the group until the shards do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Roster<P: MemberPublicKey> {
    suite: P::Suite,
    members: usize,
    shards: Shards<P>,
}

/// By the first byte of the ids.
pub(crate) type Shards<P> = BTreeMap<u8, Arc<Shard<P>>>;

/// The members whose ids begin with one byte, at least one of them, in the order of ids.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shard<P> {
    entries: Vec<Entry<P>>,
    digest: [u8; 32],
}

/// A member and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry<P> {
    pub(crate) id: MemberId,
    pub(crate) key: P,
}

impl<P: MemberPublicKey> Roster<P> {
    /// The roster of these members, who are of one suite and in ascending order of ids, as
    /// [`read_entries`] gives them.
    pub(crate) fn new(suite: P::Suite, entries: &[Entry<P>]) -> Self {
        let shards = entries
            .chunk_by(|one, other| one.shard() == other.shard())
            .filter_map(|shard| {
                let index = shard.first()?.shard();
                Some((index, Arc::new(Shard::new(suite, shard.to_vec()))))
            })
            .collect();
        Self { suite, members: entries.len(), shards }
    }

    /// The roster of these shards, as a store had them; `None` where a member is in the wrong one.
    pub(crate) fn from_shards(suite: P::Suite, shards: Shards<P>) -> Option<Self> {
        let fits = |(index, shard): (&u8, &Arc<Shard<P>>)| {
            shard.entries.iter().all(|entry| entry.shard() == *index)
        };
        let members = shards.values().map(|shard| shard.entries.len()).sum();
        let valid = shards.iter().all(fits) && (1..=P::MAX_MEMBERS).contains(&members);
        valid.then_some(Self { suite, members, shards })
    }

    /// The roster once `removed` left and `added`, who are of its suite, joined.
    pub(crate) fn changed(
        &self,
        committer: Option<&MemberId>,
        removed: &[MemberId],
        added: &[Entry<P>],
    ) -> Result<Self, ChangeError> {
        let ids = added.iter().map(|entry| entry.id);
        let is_member = |id: &MemberId| self.key(id).is_some();
        check_change(self.members, is_member, committer, removed, ids)?;

        let mut touched = BTreeMap::<u8, Vec<Entry<P>>>::new();
        let entries = |index: u8| {
            self.shards.get(&index).map_or_else(Vec::new, |shard| shard.entries.clone())
        };
        for index in removed.iter().map(shard_of) {
            touched.entry(index).or_insert_with(|| entries(index));
        }
        let removed_ids: BTreeSet<_> = removed.iter().collect();
        for shard in touched.values_mut() {
            shard.retain(|entry| !removed_ids.contains(&entry.id));
        }
        for entry in added {
            let index = entry.shard();
            touched.entry(index).or_insert_with(|| entries(index)).push(entry.clone());
        }
        let mut shards = self.shards.clone();
        for (index, mut entries) in touched {
            if entries.is_empty() {
                shards.remove(&index);
            } else {
                entries.sort_unstable_by_key(|entry| entry.id);
                shards.insert(index, Arc::new(Shard::new(self.suite, entries)));
            }
        }
        let members = self.members - removed.len() + added.len();
        if members > P::MAX_MEMBERS {
            return Err(ChangeError::TooMany);
        }
        Ok(Self { suite: self.suite, members, shards })
    }

    /// How many members there are.
    pub(crate) const fn len(&self) -> usize {
        self.members
    }

    pub(crate) const fn shards(&self) -> &Shards<P> {
        &self.shards
    }

    pub(crate) fn key(&self, id: &MemberId) -> Option<&P> {
        let entries = &self.shards.get(&shard_of(id))?.entries;
        let at = entries.binary_search_by_key(id, |entry| entry.id).ok()?;
        entries.get(at).map(|entry| &entry.key)
    }

    /// In the order of ids.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry<P>> {
        self.shards.values().flat_map(|shard| &shard.entries)
    }

    /// What all members must agree on: the suite, and every id and key in the order of ids.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(label(P::LABEL, "roster"));
        hash.update(self.suite.id().to_be_bytes());
        for (index, shard) in &self.shards {
            hash.update([*index]);
            hash.update(shard.digest);
        }
        hash.finalize().into()
    }
}

impl<P: MemberPublicKey> Shard<P> {
    pub(crate) fn new(suite: P::Suite, entries: Vec<Entry<P>>) -> Self {
        let mut hash = Sha256::new();
        hash.update(label(P::LABEL, "roster shard"));
        hash.update(suite.id().to_be_bytes());
        for entry in &entries {
            hash.update(entry.id.as_bytes());
            hash.update(entry.key.encoded());
        }
        Self { entries, digest: hash.finalize().into() }
    }

    pub(crate) fn entries(&self) -> &[Entry<P>] {
        &self.entries
    }
}

impl<P: MemberPublicKey> Entry<P> {
    /// Bytes of an entry with a key of `suite`, as [`write_entries`] writes it.
    pub(crate) fn encoded_len(suite: P::Suite) -> usize {
        32 + suite.public_key_len()
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
pub(crate) fn write_entries<'a, P: MemberPublicKey>(
    entries: impl IntoIterator<Item = &'a Entry<P>>,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        bytes.extend_from_slice(entry.id.as_bytes());
        bytes.extend_from_slice(entry.key.encoded());
    }
    bytes
}

/// Reads entries with keys of `suite` that are in ascending order of ids, at most [`MAX_MEMBERS`](MemberPublicKey::MAX_MEMBERS).
pub(crate) fn read_entries<P: MemberPublicKey>(
    suite: P::Suite,
    bytes: &[u8],
) -> Result<Vec<Entry<P>>, KeyError> {
    let chunks = bytes.chunks_exact(Entry::<P>::encoded_len(suite));
    if !chunks.remainder().is_empty() || chunks.len() > P::MAX_MEMBERS {
        return Err(KeyError::Rejected);
    }
    let mut entries = Vec::<Entry<P>>::with_capacity(chunks.len());
    for chunk in chunks {
        let (id, point) = chunk.split_first_chunk().ok_or(KeyError::Rejected)?;
        let id = MemberId::from_bytes(*id);
        if entries.last().is_some_and(|last| last.id >= id) {
            return Err(KeyError::Rejected);
        }
        let key = P::from_encoded(suite, point).map_err(|_| KeyError::Rejected)?;
        entries.push(Entry { id, key });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;
    use cc_core::limits::MAX_MEMBERS;

    use crate::{Curve, DhKeyPair, DhPublicKey};

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
            let mut roster = Roster::new(CURVE, core::slice::from_ref(&founder));
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
                let entries: Vec<_> = model.values().cloned().collect();
                prop_assert_eq!(roster.entries().cloned().collect::<Vec<_>>(), entries.clone());
                prop_assert_eq!(&roster, &Roster::new(CURVE, &entries));
                let bytes = write_entries(roster.entries());
                prop_assert_eq!(read_entries::<DhPublicKey>(CURVE, &bytes).unwrap(), entries);
                digests.push((roster.digest(), model.keys().copied().collect::<Vec<_>>()));
            }
            for (one, of_one) in &digests {
                for (other, of_other) in &digests {
                    prop_assert_eq!(one == other, of_one == of_other);
                }
            }
        }
    }

    /// Ids can be made to begin with one byte.
    #[test]
    fn members_in_one_shard_cost_about_what_others_do() {
        let key = key();
        let time = |shards: usize| {
            let entry = |number: usize| {
                let mut id = [0; 32];
                id[0] = number.to_le_bytes()[0] % u8::try_from(shards).unwrap_or(u8::MAX);
                id[1..9].copy_from_slice(&number.to_be_bytes());
                Entry { id: MemberId::from_bytes(id), key }
            };
            let mut entries: Vec<_> = (0..12_000).map(entry).collect();
            entries.sort_unstable_by_key(|entry| entry.id);
            let roster = Roster::new(CURVE, &entries);
            let removed: Vec<_> = entries[1..].iter().map(|entry| entry.id).collect();
            let start = std::time::Instant::now();
            assert_eq!(roster.changed(None, &removed, &[]).unwrap().len(), 1);
            start.elapsed()
        };
        let (spread, together) = (time(255), time(1));
        assert!(together < spread * 20, "{together:?} in one shard, {spread:?} in many");
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
        assert_eq!(read_entries::<DhPublicKey>(CURVE, &good).unwrap(), [low.clone(), high.clone()]);
        assert!(read_entries::<DhPublicKey>(CURVE, &write_entries([&high, &low])).is_err());
        assert!(read_entries::<DhPublicKey>(CURVE, &write_entries([&low, &low])).is_err());
        assert!(read_entries::<DhPublicKey>(CURVE, &good[1..]).is_err());
        assert!(read_entries::<DhPublicKey>(CURVE, &[0; 64]).is_err(), "a key of low order");
        let too_many = vec![0; (MAX_MEMBERS + 1) * Entry::<DhPublicKey>::encoded_len(CURVE)];
        assert!(read_entries::<DhPublicKey>(CURVE, &too_many).is_err());
        let misplaced = BTreeMap::from([(low.shard() + 1, Arc::new(Shard::new(CURVE, vec![low])))]);
        assert!(Roster::<DhPublicKey>::from_shards(CURVE, misplaced).is_none());
        assert!(Roster::<DhPublicKey>::from_shards(CURVE, BTreeMap::new()).is_none());
    }
}
