//! Keys of messages that have not arrived (`MKSKIPPED`, Double Ratchet sections 2.6 and 4).
//!
//! They are grouped by chain, so that a header is tried against one header key per chain and not
//! one per missing message. The current receiving chain keeps its own [`SkippedKeys`]; when the
//! other side ratchets, chain and header key become a [`FormerChain`]. The last few of those are kept
//! without skipped keys as well, so that a message of theirs is known to be a duplicate.

use alloc::collections::VecDeque;

use crate::{
    Error,
    chain_key::ChainKey,
    codec::Reader,
    header::{ENCRYPTED_LEN, Header, HeaderKey},
    limits::Limits,
    message_key::MessageKey,
    state::{Records, Source},
};

/// Skipped keys of one chain.
#[derive(Debug, Default)]
pub(crate) struct SkippedKeys {
    /// In ascending order of message number.
    keys: VecDeque<(u32, MessageKey)>,
    /// Of what is missing below this number, keys were dropped.
    floor: u32,
}

impl SkippedKeys {
    /// Walks `chain` from message `from` to `to`, collecting the last `max` keys in between. Returns
    /// the chain at `to`.
    ///
    /// The caller has checked that the distance is within its limit.
    pub(crate) fn walk(chain: &ChainKey, from: u32, to: u32, max: u32) -> (ChainKey, Self) {
        let mut chain = chain.duplicate();
        let kept_from = to.saturating_sub(max).max(from);
        let mut keys = VecDeque::new();
        for number in from..to {
            let (next, key) = chain.step();
            if number >= kept_from {
                keys.push_back((number, key));
            }
            chain = next;
        }
        let floor = if kept_from > from { kept_from } else { 0 };
        (chain, Self { keys, floor })
    }

    /// Adds the key of a later message.
    pub(crate) fn push(&mut self, number: u32, key: MessageKey) {
        self.keys.push_back((number, key));
    }

    /// The key of a message that the chain has passed.
    ///
    /// # Errors
    /// [`Error::Duplicate`] when it was used, [`Error::Expired`] when it may have been dropped.
    pub(crate) fn get(&self, number: u32) -> Result<&MessageKey, Error> {
        match self.find(number).and_then(|index| self.keys.get(index)) {
            Some((_, key)) => Ok(key),
            None if number < self.floor => Err(Error::Expired),
            None => Err(Error::Duplicate),
        }
    }

    pub(crate) fn remove(&mut self, number: u32) {
        if let Some(index) = self.find(number) {
            self.keys.remove(index);
        }
    }

    /// Adds keys of later messages.
    pub(crate) fn append(&mut self, mut later: Self) {
        self.keys.append(&mut later.keys);
        self.floor = self.floor.max(later.floor);
    }

    pub(crate) fn drop_oldest(&mut self) {
        if let Some((number, _)) = self.keys.pop_front() {
            self.floor = self.floor.max(number.saturating_add(1));
        }
    }

    pub(crate) fn drop_all(&mut self) {
        while !self.is_empty() {
            self.drop_oldest();
        }
    }

    /// Drops the keys of messages before `number`.
    pub(crate) fn drop_before(&mut self, number: u64) {
        while self.keys.front().is_some_and(|(oldest, _)| u64::from(*oldest) < number) {
            self.drop_oldest();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(crate) fn floor(&self) -> u32 {
        self.floor
    }

    pub(crate) fn with_floor(floor: u32) -> Self {
        Self { keys: VecDeque::new(), floor }
    }

    /// For going back when a store fails.
    pub(crate) fn duplicate(&self) -> Self {
        let keys = self.keys.iter().map(|(number, key)| (*number, key.duplicate())).collect();
        Self { keys, floor: self.floor }
    }

    /// A record for every [`BLOCK`] numbers of which some are here: for each 1 byte its number in the
    /// block, 32 key.
    pub(crate) fn write(&self, to: &mut Records) {
        let mut keys = self.keys.iter().peekable();
        while let Some(block) = keys.peek().map(|(number, _)| number / BLOCK) {
            to.put(&block.to_be_bytes(), |writer| {
                while let Some((number, key)) = keys.next_if(|(n, _)| n / BLOCK == block) {
                    writer.u8((number % BLOCK).to_be_bytes()[3]);
                    writer.put(key.secret().expose());
                }
            });
        }
    }

    /// Adds the keys of a block, which must be later than what is here, and of messages before `end`.
    pub(crate) fn read(
        &mut self,
        block: u32,
        end: u32,
        reader: &mut Reader<'_>,
    ) -> Result<(), Error> {
        let first = block.checked_mul(BLOCK).ok_or(Error::InvalidState)?;
        loop {
            let place = u32::from(reader.u8()?);
            let number = first.checked_add(place).ok_or(Error::InvalidState)?;
            let ascends = self.keys.back().is_none_or(|(last, _)| *last < number);
            if place >= BLOCK
                || number >= end
                || !ascends
                || self.keys.len() >= Limits::MAX_SKIPPED_CAP
            {
                return Err(Error::InvalidState);
            }
            self.keys.push_back((number, MessageKey::new(reader.secret()?)));
            if reader.remaining() == 0 {
                return Ok(());
            }
        }
    }

    fn find(&self, number: u32) -> Option<usize> {
        self.keys.binary_search_by_key(&number, |(n, _)| *n).ok()
    }
}

/// All blocks that are left in `from`, with keys of messages before `end`.
pub(crate) fn read_all(keys: &mut SkippedKeys, end: u32, from: &mut Source) -> Result<(), Error> {
    while let Some(name) = from.next_name() {
        let block = <[u8; 4]>::try_from(&name[..]).map_err(|_| Error::InvalidState)?;
        from.take(&name, |reader| keys.read(u32::from_be_bytes(block), end, reader))?;
    }
    Ok(())
}

/// A receiving chain that has ended.
#[derive(Debug)]
pub(crate) struct FormerChain {
    /// How many receiving chains came before it.
    pub(crate) index: u64,
    /// How many message keys were derived from those.
    pub(crate) start: u64,
    /// How many message keys were derived from it.
    pub(crate) end: u32,
    pub(crate) header_key: HeaderKey,
    pub(crate) skipped: SkippedKeys,
}

/// Former receiving chains, oldest first.
#[derive(Debug, Default)]
pub(crate) struct FormerChains(VecDeque<FormerChain>);

impl FormerChains {
    /// Keeps a chain that has ended later than those that are here.
    pub(crate) fn push(&mut self, chain: FormerChain) {
        self.0.push_back(chain);
    }

    /// Its header, where the message with this header is, and its key; newest chain first.
    ///
    /// # Errors
    /// [`Error::Undecryptable`] when it is of none of these chains; otherwise as
    /// [`SkippedKeys::get`].
    pub(crate) fn find(
        &self,
        header: &[u8; ENCRYPTED_LEN],
    ) -> Result<(Header, Location, &MessageKey), Error> {
        for chain in self.0.iter().rev() {
            if let Some(header) = chain.header_key.decrypt(header) {
                let number = header.number;
                if number >= chain.end {
                    return Err(Error::Expired);
                }
                let key = chain.skipped.get(number)?;
                return Ok((header, Location { chain: chain.index, number }, key));
            }
        }
        Err(Error::Undecryptable)
    }

    /// Drops the key of a message that was opened.
    pub(crate) fn remove(&mut self, location: Location) {
        let found = self.0.binary_search_by_key(&location.chain, |chain| chain.index);
        if let Some(chain) = found.ok().and_then(|index| self.0.get_mut(index)) {
            chain.skipped.remove(location.number);
        }
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|chain| chain.skipped.len()).sum()
    }

    /// Drops the oldest `count` keys. Returns how many of the `count` were not there to be dropped.
    pub(crate) fn drop_oldest(&mut self, mut count: usize) -> usize {
        for chain in &mut self.0 {
            while count > 0 && !chain.skipped.is_empty() {
                chain.skipped.drop_oldest();
                count -= 1;
            }
        }
        count
    }

    /// Drops the keys of messages before `position`, counted in all keys that were derived, and the
    /// chains that `current` has left too far behind.
    pub(crate) fn expire(&mut self, position: u64, current: u64) {
        self.0.retain_mut(|chain| {
            chain.skipped.drop_before(position.saturating_sub(chain.start));
            let age = current.saturating_sub(chain.index);
            age <= RECENT_CHAINS || (age <= Limits::MAX_CHAINS && !chain.skipped.is_empty())
        });
    }

    /// For going back when a store fails.
    pub(crate) fn duplicate(&self) -> Self {
        let duplicate = |chain: &FormerChain| FormerChain {
            index: chain.index,
            start: chain.start,
            end: chain.end,
            header_key: chain.header_key.duplicate(),
            skipped: chain.skipped.duplicate(),
        };
        Self(self.0.iter().map(duplicate).collect())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &FormerChain> {
        self.0.iter()
    }
}

/// How many former chains are kept although nothing of them is missing.
pub(crate) const RECENT_CHAINS: u64 = 4;

/// How many message numbers share a record: few enough that a late message rewrites little, enough
/// that a gap is no crowd of records.
const BLOCK: u32 = 32;

/// A message of a former chain.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Location {
    chain: u64,
    number: u32,
}

#[cfg(test)]
mod tests {
    use cc_core::Secret;

    use super::*;

    fn chain() -> ChainKey {
        ChainKey::new(Secret::random().unwrap())
    }

    /// A chain with the keys of messages 5 to 7.
    fn former(index: u64) -> FormerChain {
        let (_, skipped) = SkippedKeys::walk(&chain(), 5, 8, 100);
        let header_key = HeaderKey::new(Secret::random().unwrap());
        FormerChain { index, start: index * 8, end: 8, header_key, skipped }
    }

    #[test]
    fn the_oldest_is_dropped_first() {
        let mut chains = FormerChains::default();
        (0..2).for_each(|index| chains.push(former(index)));
        assert_eq!(chains.drop_oldest(4), 0);
        assert_eq!(chains.len(), 2);
        assert_eq!(chains.0[1].skipped.get(5).unwrap_err(), Error::Expired);
        assert!(chains.0[1].skipped.get(6).is_ok());
        chains.remove(Location { chain: 1, number: 6 });
        assert_eq!(chains.0[1].skipped.get(6).unwrap_err(), Error::Duplicate);
        assert_eq!(chains.drop_oldest(4), 3);
        assert_eq!(chains.len(), 0);
    }

    #[test]
    fn keys_expire_by_messages_and_chains_by_chains() {
        let mut chains = FormerChains::default();
        (0..20).for_each(|index| chains.push(former(index)));
        chains.expire(8 * 8 + 6, 20);
        // Of chains 0 to 7 all is gone, of 8 the first key.
        assert_eq!(chains.0.front().map(|chain| (chain.index, chain.skipped.len())), Some((8, 2)));
        assert_eq!(chains.len(), 11 * 3 + 2);
        chains.expire(0, 8 + Limits::MAX_CHAINS);
        assert_eq!(chains.0.len(), 12);
        chains.expire(0, 9 + Limits::MAX_CHAINS);
        assert_eq!(chains.0.len(), 11);
        chains.drop_oldest(usize::MAX);
        chains.expire(0, 20);
        assert_eq!(chains.0.len() as u64, RECENT_CHAINS);
    }

    #[test]
    fn a_walk_collects_what_the_chain_gives() {
        let first = chain();
        let (end, keys) = SkippedKeys::walk(&first, 0, 3, 3);
        let (same, last) = SkippedKeys::walk(&first, 0, 3, 1);
        let mut chain = first;
        for number in 0..3 {
            let (next, key) = chain.step();
            assert_eq!(keys.get(number).unwrap().secret(), key.secret());
            match last.get(number) {
                Ok(kept) => assert_eq!((kept.secret(), number), (key.secret(), 2)),
                Err(error) => assert_eq!(error, Error::Expired),
            }
            chain = next;
        }
        assert_eq!(end.secret(), chain.secret());
        assert_eq!(same.secret(), chain.secret());
        assert_eq!(keys.get(3).unwrap_err(), Error::Duplicate);
    }
}
