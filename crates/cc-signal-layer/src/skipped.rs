//! Keys of messages that have not arrived (`MKSKIPPED`, Double Ratchet sections 2.6 and 4).
//!
//! They are grouped by chain, so that a header is tried against one header key per chain and not
//! one per missing message. The current receiving chain keeps its own [`ChainSkips`]; when the
//! other side ratchets, chain and header key move into the [`SkippedStore`].

use alloc::collections::VecDeque;

use crate::{
    Error,
    chain_key::ChainKey,
    codec::Reader,
    header::{ENCRYPTED_LEN, HeaderKey},
    limits::Limits,
    message_key::MessageKey,
    state::Records,
};

/// Skipped keys of one chain, in ascending order of message number.
#[derive(Debug, Default)]
pub(crate) struct ChainSkips(VecDeque<(u32, MessageKey)>);

impl ChainSkips {
    /// Walks `chain` from message `from` to `to`, collecting the keys in between. Returns the
    /// chain at `to`.
    ///
    /// The caller has checked that the distance is within its limit.
    pub(crate) fn walk(chain: &ChainKey, from: u32, to: u32) -> (ChainKey, Self) {
        let mut chain = chain.duplicate();
        let mut keys = VecDeque::new();
        for number in from..to {
            let (next, key) = chain.step();
            keys.push_back((number, key));
            chain = next;
        }
        (chain, Self(keys))
    }

    pub(crate) fn get(&self, number: u32) -> Option<&MessageKey> {
        let index = self.find(number)?;
        self.0.get(index).map(|(_, key)| key)
    }

    pub(crate) fn remove(&mut self, number: u32) {
        if let Some(index) = self.find(number) {
            self.0.remove(index);
        }
    }

    /// Adds keys of later messages.
    pub(crate) fn append(&mut self, mut later: Self) {
        self.0.append(&mut later.0);
    }

    pub(crate) fn drop_oldest(&mut self) {
        self.0.pop_front();
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// For taking back what a failed store leaves undone.
    pub(crate) fn duplicate(&self) -> Self {
        Self(self.0.iter().map(|(number, key)| (*number, key.duplicate())).collect())
    }

    /// A record for every [`BLOCK`] numbers of which some are here: what `head` is, then for each 1
    /// byte its number in the block, 32 key.
    pub(crate) fn write(&self, head: &[u8], to: &mut Records) {
        let mut keys = self.0.iter().peekable();
        while let Some(block) = keys.peek().map(|(number, _)| number / BLOCK) {
            to.put(&block.to_be_bytes(), |writer| {
                writer.put(head);
                while let Some((number, key)) = keys.next_if(|(n, _)| n / BLOCK == block) {
                    writer.u8((number % BLOCK).to_be_bytes()[3]);
                    writer.put(key.secret().expose());
                }
            });
        }
    }

    /// Adds the keys of a block, which must be later than what is here. What `head` was is read.
    pub(crate) fn read(&mut self, block: u32, reader: &mut Reader<'_>) -> Result<(), Error> {
        let first = block.checked_mul(BLOCK).ok_or(Error::InvalidState)?;
        loop {
            let place = u32::from(reader.u8()?);
            let number = first + place;
            let ascends = self.0.back().is_none_or(|(last, _)| *last < number);
            if place >= BLOCK || !ascends || self.0.len() >= Limits::MAX_SKIPPED_CAP {
                return Err(Error::InvalidState);
            }
            self.0.push_back((number, MessageKey::new(reader.secret()?)));
            if reader.remaining() == 0 {
                return Ok(());
            }
        }
    }

    fn find(&self, number: u32) -> Option<usize> {
        self.0.binary_search_by_key(&number, |(n, _)| *n).ok()
    }
}

/// Skipped keys of former receiving chains, oldest chain first.
#[derive(Debug, Default)]
pub(crate) struct SkippedStore(VecDeque<Former>);

/// A chain that has ended.
#[derive(Debug)]
pub(crate) struct Former {
    /// How many receiving chains came before it.
    pub(crate) chain: u64,
    pub(crate) header_key: HeaderKey,
    pub(crate) keys: ChainSkips,
}

impl SkippedStore {
    /// Keeps what is missing of a chain that has ended, later than those before.
    pub(crate) fn retire(&mut self, former: Former) {
        if former.keys.len() > 0 {
            self.0.push_back(former);
        }
    }

    /// The place and the key of a message, newest chain first.
    pub(crate) fn find(&self, header: &[u8; ENCRYPTED_LEN]) -> Option<(Place, &MessageKey)> {
        self.0.iter().enumerate().rev().find_map(|(chain, former)| {
            let number = former.header_key.decrypt(header)?.number;
            Some((Place { chain, number }, former.keys.get(number)?))
        })
    }

    pub(crate) fn remove(&mut self, place: Place) {
        if let Some(former) = self.0.get_mut(place.chain) {
            former.keys.remove(place.number);
            if former.keys.len() == 0 {
                self.0.remove(place.chain);
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|former| former.keys.len()).sum()
    }

    /// Drops the oldest `count` keys, and chains that have none left. Returns how many of the
    /// `count` were not there to be dropped.
    pub(crate) fn drop_oldest(&mut self, mut count: usize) -> usize {
        while count > 0 {
            let Some(oldest) = self.0.front_mut() else {
                break;
            };
            oldest.keys.drop_oldest();
            count -= 1;
            if oldest.keys.len() == 0 {
                self.0.pop_front();
            }
        }
        count
    }

    pub(crate) fn duplicate(&self) -> Self {
        let former = |former: &Former| Former {
            chain: former.chain,
            header_key: former.header_key.duplicate(),
            keys: former.keys.duplicate(),
        };
        Self(self.0.iter().map(former).collect())
    }

    pub(crate) fn chains(&self) -> impl Iterator<Item = &Former> {
        self.0.iter()
    }
}

/// How many message numbers share a record: few enough that a late message rewrites little, enough
/// that a gap is no crowd of records.
const BLOCK: u32 = 32;

/// Where in a [`SkippedStore`] a key is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    chain: usize,
    number: u32,
}

#[cfg(test)]
mod tests {
    use cc_core::Secret;

    use super::*;

    fn chain() -> ChainKey {
        ChainKey::new(Secret::random().unwrap())
    }

    #[test]
    fn the_oldest_is_dropped_first_and_empty_chains_go() {
        let mut store = SkippedStore::default();
        for chain_number in 0..2 {
            let (_, keys) = ChainSkips::walk(&chain(), 5, 8);
            let header_key = HeaderKey::new(Secret::random().unwrap());
            store.retire(Former { chain: chain_number, header_key, keys });
        }
        assert_eq!(store.drop_oldest(4), 0);
        assert_eq!(store.len(), 2);
        assert_eq!(store.0.len(), 1);
        assert!(store.0[0].keys.get(5).is_none());
        assert!(store.0[0].keys.get(6).is_some());
        assert_eq!(store.drop_oldest(4), 2);
        assert!(store.0.is_empty());
    }

    #[test]
    fn a_walk_collects_what_the_chain_gives() {
        let first = chain();
        let (end, keys) = ChainSkips::walk(&first, 0, 3);
        let mut chain = first;
        for number in 0..3 {
            let (next, key) = chain.step();
            assert_eq!(keys.get(number).unwrap().secret(), key.secret());
            chain = next;
        }
        assert_eq!(end.secret(), chain.secret());
        assert!(keys.get(3).is_none());
    }
}
