//! The chains of an epoch: one's own, and for every other member one to receive from.
//!
//! Each begins from a key that the epoch gives it, and goes forward by the symmetric-key ratchet of
//! the Double Ratchet (section 5.2, `KDF_CK`), as Sender Keys do. A chain ends with its epoch.

use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};

use cc_core::{LayerError, MemberId, Secret};
use cc_primitives::ed25519::VerifyingKey;

use super::member_keys::verifying_key;
use crate::{
    Error, Limits,
    chain_key::ChainKey,
    codec::{Reader, Writer},
    message_key::MessageKey,
    state::{Records, Source},
};

/// How many messages of one sender may be missing before its next one is refused, in one epoch. Of
/// more than [`Limits::max_skip`] only the keys of the latest are kept; the others are given up.
pub(super) const MAX_GAP: u32 = 25_000;

/// A member as the epoch knows it.
pub(super) struct Sender {
    pub(super) id: MemberId,
    pub(super) verifying: VerifyingKey,
    /// Not of this member itself.
    pub(super) chain: Option<ReceivingChain>,
}

/// Somebody else's chain.
pub(super) struct ReceivingChain {
    key: ChainKey,
    /// The number of the next message.
    number: u32,
    /// Some keys of messages before this one were given up.
    given_up: u32,
    skipped: Arc<Skipped>,
}

/// One's own chain.
pub(super) struct SendingChain {
    key: ChainKey,
    number: u32,
}

/// The keys of messages that have not come, in blocks: a copy shares the blocks that are alike.
#[derive(Clone, Default)]
struct Skipped {
    blocks: BTreeMap<u32, Arc<Block>>,
    len: usize,
}

/// Keys by their places in the block, ascending.
#[derive(Default)]
struct Block(Vec<(u8, Secret<32>)>);

impl SendingChain {
    pub(super) fn new(key: Secret<32>) -> Self {
        Self { key: ChainKey::new(key), number: 0 }
    }

    /// The number and the key of the next message, and the chain after it.
    pub(super) fn step(&self) -> Result<(u32, MessageKey, Self), Error> {
        let number = self.number.checked_add(1).ok_or(Error::ChainExhausted)?;
        let (key, message_key) = self.key.step();
        Ok((self.number, message_key, Self { key, number }))
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.put(self.key.secret().expose());
        writer.u32(self.number);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        Ok(Self { key: ChainKey::new(reader.secret()?), number: reader.u32()? })
    }
}

impl ReceivingChain {
    pub(super) fn new(key: Secret<32>) -> Self {
        let skipped = Arc::default();
        Self { key: ChainKey::new(key), number: 0, given_up: 0, skipped }
    }

    /// The key of message `number`, and the chain without it. A duplicate where the key was used,
    /// stale where it was given up or is too far ahead.
    pub(super) fn take(
        &self,
        number: u32,
        epoch: u64,
        limits: &Limits,
    ) -> Result<(MessageKey, Self), LayerError> {
        let Some(gap) = number.checked_sub(self.number) else {
            return self.take_skipped(number, epoch);
        };
        let after = number.checked_add(1).ok_or(LayerError::rejected())?;
        if gap > MAX_GAP {
            return Err(LayerError::stale(Some(epoch)));
        }
        let (mut key, mut skipped, mut given_up) =
            (self.key.duplicate(), self.skipped.clone(), self.given_up);
        for missing in self.number..number {
            let (next, message_key) = key.step();
            if number - missing <= limits.max_skip() {
                Arc::make_mut(&mut skipped).push(missing, &message_key);
            } else {
                given_up = missing + 1;
            }
            key = next;
        }
        let expired = after.saturating_sub(limits.skipped_lifetime());
        while skipped.len > limits.max_skipped()
            || skipped.oldest().is_some_and(|oldest| oldest < expired)
        {
            let Some(dropped) = Arc::make_mut(&mut skipped).drop_oldest() else { break };
            given_up = given_up.max(dropped.saturating_add(1));
        }
        let (key, message_key) = key.step();
        Ok((message_key, Self { key, number: after, given_up, skipped }))
    }

    fn take_skipped(&self, number: u32, epoch: u64) -> Result<(MessageKey, Self), LayerError> {
        let mut skipped = self.skipped.clone();
        let key = Arc::make_mut(&mut skipped).remove(number).ok_or_else(|| {
            if number < self.given_up {
                LayerError::stale(Some(epoch))
            } else {
                LayerError::duplicate()
            }
        })?;
        let (number, given_up) = (self.number, self.given_up);
        Ok((MessageKey::new(key), Self { key: self.key.duplicate(), number, given_up, skipped }))
    }
}

impl Sender {
    /// The same with another state of its chain.
    pub(super) fn with_chain(&self, chain: ReceivingChain) -> Self {
        Self { id: self.id, verifying: self.verifying.clone(), chain: Some(chain) }
    }

    /// A record with an empty name, and one for each block of skipped keys.
    pub(super) fn write(&self, to: &mut Records) {
        to.put(b"", |writer| {
            writer.put(self.id.as_bytes());
            writer.put(self.verifying.as_bytes());
            if let Some(chain) = &self.chain {
                writer.put(chain.key.secret().expose());
                writer.u32(chain.number);
                writer.u32(chain.given_up);
                writer.count(chain.skipped.len);
            }
        });
        for (number, block) in self.chain.iter().flat_map(|chain| &chain.skipped.blocks) {
            to.put(&number.to_be_bytes(), |writer| {
                for (place, key) in &block.0 {
                    writer.u8(*place);
                    writer.put(key.expose());
                }
            });
        }
    }

    pub(super) fn read(from: &mut Source, limits: &Limits) -> Result<Self, Error> {
        let (mut sender, count) = from.take(b"", |reader| {
            let id = MemberId::from_bytes(reader.array()?);
            let verifying = verifying_key(&reader.array()?)?;
            if reader.remaining() == 0 {
                return Ok((Self { id, verifying, chain: None }, 0));
            }
            let key = ChainKey::new(reader.secret()?);
            let (number, given_up) = (reader.u32()?, reader.u32()?);
            let chain = ReceivingChain { key, number, given_up, skipped: Arc::default() };
            Ok((Self { id, verifying, chain: Some(chain) }, reader.u32()?))
        })?;
        let mut skipped = Skipped::default();
        while let Some(name) = from.next_name() {
            let block = <[u8; 4]>::try_from(&name[..]).map_err(|_| Error::InvalidState)?;
            from.take(&name, |reader| skipped.read(u32::from_be_bytes(block), reader))?;
        }
        if u32::try_from(skipped.len) != Ok(count) {
            return Err(Error::InvalidState);
        }
        if let Some(chain) = &mut sender.chain {
            while skipped.len > limits.max_skipped() {
                let Some(dropped) = skipped.drop_oldest() else { break };
                chain.given_up = chain.given_up.max(dropped.saturating_add(1));
            }
            chain.skipped = Arc::new(skipped);
        } else if skipped.len > 0 {
            return Err(Error::InvalidState);
        }
        Ok(sender)
    }
}

impl Skipped {
    /// Adds the key of a message later than all that are here.
    fn push(&mut self, number: u32, key: &MessageKey) {
        let (block, place) = position(number);
        let block = Arc::make_mut(self.blocks.entry(block).or_default());
        block.0.push((place, key.secret().duplicate()));
        self.len += 1;
    }

    fn remove(&mut self, number: u32) -> Option<Secret<32>> {
        let (number, place) = position(number);
        let index = self.blocks.get(&number)?.0.binary_search_by_key(&place, |(at, _)| *at).ok()?;
        let block = Arc::make_mut(self.blocks.get_mut(&number)?);
        let (_, key) = block.0.remove(index);
        if block.0.is_empty() {
            self.blocks.remove(&number);
        }
        self.len = self.len.saturating_sub(1);
        Some(key)
    }

    /// The number of the first message whose key is here.
    fn oldest(&self) -> Option<u32> {
        let (number, block) = self.blocks.first_key_value()?;
        Some(number * BLOCK + u32::from(block.0.first()?.0))
    }

    /// The number of the message whose key was dropped.
    fn drop_oldest(&mut self) -> Option<u32> {
        let number = self.oldest()?;
        self.remove(number).map(|_| number)
    }

    fn read(&mut self, number: u32, reader: &mut Reader<'_>) -> Result<(), Error> {
        if number > u32::MAX / BLOCK {
            return Err(Error::InvalidState);
        }
        let mut block = Block::default();
        loop {
            let place = reader.u8()?;
            let ascends = block.0.last().is_none_or(|(last, _)| *last < place);
            if u32::from(place) >= BLOCK || !ascends || self.len >= Limits::MAX_SKIPPED_CAP {
                return Err(Error::InvalidState);
            }
            block.0.push((place, reader.secret()?));
            self.len += 1;
            if reader.remaining() == 0 {
                self.blocks.insert(number, Arc::new(block));
                return Ok(());
            }
        }
    }
}

impl Clone for Block {
    fn clone(&self) -> Self {
        Self(self.0.iter().map(|(place, key)| (*place, key.duplicate())).collect())
    }
}

fn position(number: u32) -> (u32, u8) {
    (number / BLOCK, (number % BLOCK).to_be_bytes()[3])
}

/// How many message numbers share a record: few enough that a late message rewrites little.
const BLOCK: u32 = 32;

#[cfg(test)]
mod tests {
    use cc_core::LayerErrorKind;

    use super::*;

    #[test]
    fn a_gap_beyond_the_limit_gives_up_the_oldest_keys() {
        let secret = Secret::<32>::random().unwrap();
        let (mut sending, mut keys) = (SendingChain::new(secret.duplicate()), Vec::new());
        for _ in 0..30 {
            let (_, key, next) = sending.step().unwrap();
            keys.push(key);
            sending = next;
        }
        let limits = Limits::default().with_max_skip(10).with_max_skipped(12);
        let chain = ReceivingChain::new(secret);
        let kind = |chain: &ReceivingChain, number| {
            chain.take(number, 7, &limits).err().map(|error| (error.kind(), error.epoch()))
        };
        let (key, chain) = chain.take(15, 7, &limits).unwrap();
        assert_eq!(key.secret(), keys[15].secret());
        assert_eq!(kind(&chain, 15), Some((LayerErrorKind::Duplicate, None)));
        assert_eq!(kind(&chain, 4), Some((LayerErrorKind::Stale, Some(7))));
        let (key, chain) = chain.take(5, 7, &limits).unwrap();
        assert_eq!(key.secret(), keys[5].secret());
        assert_eq!(kind(&chain, 6), None);
        let (_, chain) = chain.take(20, 7, &limits).unwrap();
        // 6 to 14 and 16 to 19 are 13, one more than may be kept.
        assert_eq!(kind(&chain, 6), Some((LayerErrorKind::Stale, Some(7))));
        let (key, chain) = chain.take(7, 7, &limits).unwrap();
        assert_eq!(key.secret(), keys[7].secret());
        assert_eq!(kind(&chain, 21 + MAX_GAP + 1), Some((LayerErrorKind::Stale, Some(7))));
        assert_eq!(kind(&chain, u32::MAX), Some((LayerErrorKind::Rejected, None)));
        assert_eq!(kind(&chain, 21), None);
    }

    #[test]
    fn skipped_keys_expire_after_later_messages() {
        let limits = Limits::default().with_skipped_lifetime(20);
        let take = |chain: &ReceivingChain, number| {
            chain.take(number, 7, &limits).map(|(_, chain)| chain).map_err(|error| error.kind())
        };
        let mut chain = ReceivingChain::new(Secret::<32>::random().unwrap());
        for number in 3..20 {
            chain = take(&chain, number).unwrap();
        }
        assert!(take(&chain, 0).is_ok());
        chain = take(&chain, 20).unwrap();
        assert_eq!(take(&chain, 0).err(), Some(LayerErrorKind::Stale));
        assert!(take(&chain, 1).is_ok());
        chain = take(&chain, 22).unwrap();
        assert_eq!(chain.skipped.len, 1);
        chain = take(&chain, 1000).unwrap();
        assert_eq!((chain.skipped.len, chain.skipped.oldest()), (19, Some(981)));
        assert_eq!(take(&chain, 21).err(), Some(LayerErrorKind::Stale));
    }
}
