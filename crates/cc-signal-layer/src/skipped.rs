//! Keys of messages that have not arrived (`MKSKIPPED`, Double Ratchet sections 2.6 and 4).
//!
//! They are grouped by chain, so that a header is tried against one header key per chain and not
//! one per missing message. The current receiving chain keeps its own [`ChainSkips`]; when the
//! other side ratchets, chain and header key move into the [`SkippedStore`].

use alloc::collections::VecDeque;

use crate::{
    Error,
    chain_key::ChainKey,
    codec::{Reader, Writer},
    header::{ENCRYPTED_LEN, HeaderKey},
    limits::Limits,
    message_key::MessageKey,
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

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.count(self.0.len());
        for (number, key) in &self.0 {
            writer.u32(*number);
            writer.put(key.secret().expose());
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let count = reader.count(36, Limits::MAX_SKIPPED_CAP)?;
        let mut keys = VecDeque::<(u32, MessageKey)>::with_capacity(count);
        for _ in 0..count {
            let number = reader.u32()?;
            if keys.back().is_some_and(|(last, _)| *last >= number) {
                return Err(Error::InvalidState);
            }
            keys.push_back((number, MessageKey::new(reader.secret()?)));
        }
        Ok(Self(keys))
    }

    fn find(&self, number: u32) -> Option<usize> {
        self.0.binary_search_by_key(&number, |(n, _)| *n).ok()
    }
}

/// Skipped keys of former receiving chains, oldest chain first.
#[derive(Debug, Default)]
pub(crate) struct SkippedStore(VecDeque<(HeaderKey, ChainSkips)>);

impl SkippedStore {
    /// Keeps what is missing of a chain that has ended.
    pub(crate) fn retire(&mut self, header_key: HeaderKey, keys: ChainSkips) {
        if keys.len() > 0 {
            self.0.push_back((header_key, keys));
        }
    }

    /// The place and the key of a message, newest chain first.
    pub(crate) fn find(&self, header: &[u8; ENCRYPTED_LEN]) -> Option<(Place, &MessageKey)> {
        self.0.iter().enumerate().rev().find_map(|(chain, (header_key, keys))| {
            let number = header_key.decrypt(header)?.number;
            Some((Place { chain, number }, keys.get(number)?))
        })
    }

    pub(crate) fn remove(&mut self, place: Place) {
        if let Some((_, keys)) = self.0.get_mut(place.chain) {
            keys.remove(place.number);
            if keys.len() == 0 {
                self.0.remove(place.chain);
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|(_, keys)| keys.len()).sum()
    }

    /// Drops the oldest `count` keys, and chains that have none left. Returns how many of the
    /// `count` were not there to be dropped.
    pub(crate) fn drop_oldest(&mut self, mut count: usize) -> usize {
        while count > 0 {
            let Some((_, keys)) = self.0.front_mut() else {
                break;
            };
            keys.drop_oldest();
            count -= 1;
            if keys.len() == 0 {
                self.0.pop_front();
            }
        }
        count
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.count(self.0.len());
        for (header_key, keys) in &self.0 {
            writer.put(header_key.secret().expose());
            keys.write(writer);
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let count = reader.count(72, Limits::MAX_SKIPPED_CAP)?;
        let mut store = Self::default();
        let mut total = 0_usize;
        for _ in 0..count {
            let header_key = HeaderKey::new(reader.secret()?);
            let keys = ChainSkips::read(reader)?;
            total = total.saturating_add(keys.len());
            if keys.len() == 0 || total > Limits::MAX_SKIPPED_CAP {
                return Err(Error::InvalidState);
            }
            store.0.push_back((header_key, keys));
        }
        Ok(store)
    }
}

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
        for _ in 0..2 {
            let (_, keys) = ChainSkips::walk(&chain(), 5, 8);
            store.retire(HeaderKey::new(Secret::random().unwrap()), keys);
        }
        assert_eq!(store.drop_oldest(4), 0);
        assert_eq!(store.len(), 2);
        assert_eq!(store.0.len(), 1);
        assert!(store.0[0].1.get(5).is_none());
        assert!(store.0[0].1.get(6).is_some());
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
