//! The chain of one direction in one epoch (`KDFChain` and `KDF_SCKA_CK`, Double Ratchet section 5).
//!
//! Ours: the chain is cut into blocks of 4096 messages, each with a chain key from a chain of blocks. Whoever
//! lost millions of messages jumps over whole blocks, so that the number in a header costs little to reach.

use cc_core::Secret;

use crate::{
    Error,
    codec::{Reader, Writer},
    kdf::Prf,
    message_key::MessageKey,
    skipped::SkippedKeys,
};

#[derive(Debug)]
pub(crate) struct EpochChain {
    /// The key that the block after this one is derived from.
    next_block: Secret<32>,
    chain: Secret<32>,
    /// How many message keys were derived.
    number: u32,
}

/// Where a chain goes from its next message.
#[derive(Debug)]
pub(crate) struct Advance {
    chain: Secret<32>,
    number: u32,
    /// Where a block ends.
    next_block: Option<Secret<32>>,
}

impl EpochChain {
    /// How many messages may be missing before one that opens.
    pub(super) const MAX_JUMP: u32 = 1 << 26;

    pub(super) fn new(key: &Secret<32>) -> Self {
        let (next_block, chain) = block(key, 0);
        Self { next_block, chain, number: 0 }
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// `KDF_SCKA_CK(ck, ctr)`: this position's message key; the chain moves on.
    pub(super) fn step(&mut self) -> Result<MessageKey, Error> {
        let (key, advance) = self.peek()?;
        self.apply(advance);
        Ok(key)
    }

    /// As [`EpochChain::step`], and the chain stays until the step is applied.
    pub(super) fn peek(&self) -> Result<(MessageKey, Advance), Error> {
        let inputs = [MESSAGE, CHAIN].map(|constant| input(constant, self.number));
        let (key, chain) = Prf::new(&self.chain).finish_two(&inputs[0], &inputs[1]);
        Ok((MessageKey::new(key), self.advance_by_one(chain)?))
    }

    /// Applies a step of this very chain.
    pub(super) fn apply(&mut self, advance: Advance) {
        self.chain = advance.chain;
        self.number = advance.number;
        if let Some(next_block) = advance.next_block {
            self.next_block = next_block;
        }
    }

    /// The chain at `to`, and the keys of the messages before it: the first `first` and the last `last`.
    ///
    /// The caller has checked that the distance is within [`EpochChain::MAX_JUMP`].
    pub(super) fn walk(
        &self,
        to: u32,
        first: u32,
        last: u32,
    ) -> Result<(Self, SkippedKeys), Error> {
        let (mut chain, mut skipped) = (self.duplicate(), SkippedKeys::default());
        let until = self.number.saturating_add(first).min(to);
        chain.collect(until, &mut skipped)?;
        let from = to.saturating_sub(last).max(until);
        if from > until {
            chain.advance(from)?;
            skipped.append(SkippedKeys::with_floor(from));
        }
        chain.collect(to, &mut skipped)?;
        Ok((chain, skipped))
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.put(self.next_block.expose());
        writer.put(self.chain.expose());
        writer.u32(self.number);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        Ok(Self { next_block: reader.secret()?, chain: reader.secret()?, number: reader.u32()? })
    }

    pub(super) fn duplicate(&self) -> Self {
        Self {
            next_block: self.next_block.duplicate(),
            chain: self.chain.duplicate(),
            number: self.number,
        }
    }

    fn collect(&mut self, to: u32, skipped: &mut SkippedKeys) -> Result<(), Error> {
        while self.number < to {
            let number = self.number;
            skipped.push(number, self.step()?);
        }
        Ok(())
    }

    /// Walks to `to` without the message keys in between, over whole blocks where it can.
    fn advance(&mut self, to: u32) -> Result<(), Error> {
        while self.number / BLOCK < to / BLOCK {
            let number = (self.number / BLOCK + 1) * BLOCK;
            let (next_block, chain) = block(&self.next_block, number / BLOCK);
            *self = Self { next_block, chain, number };
        }
        while self.number < to {
            let chain = Prf::new(&self.chain).finish(&input(CHAIN, self.number));
            self.apply(self.advance_by_one(chain)?);
        }
        Ok(())
    }

    /// To the next message, whose chain key is this one unless a block begins with it.
    fn advance_by_one(&self, chain: Secret<32>) -> Result<Advance, Error> {
        let number = self.number.checked_add(1).ok_or(Error::ChainExhausted)?;
        if number.is_multiple_of(BLOCK) {
            let (next_block, chain) = block(&self.next_block, number / BLOCK);
            return Ok(Advance { chain, number, next_block: Some(next_block) });
        }
        Ok(Advance { chain, number, next_block: None })
    }
}

#[cfg(test)]
impl EpochChain {
    pub(super) fn set_number(&mut self, number: u32) {
        self.number = number;
    }
}

/// The key of the next block, and the chain key of this one.
fn block(key: &Secret<32>, index: u32) -> (Secret<32>, Secret<32>) {
    Prf::new(key).finish_two(&input(NEXT_BLOCK, index), &input(BLOCK_CHAIN, index))
}

fn input(constant: u8, counter: u32) -> [u8; 5] {
    let [a, b, c, d] = counter.to_be_bytes();
    [constant, a, b, c, d]
}

/// Messages of a block.
const BLOCK: u32 = 4096;

/// What is derived from a chain key, by HMAC-SHA-256 as in section 7.2, with 4 bytes of counter behind the constant.
const MESSAGE: u8 = 0x01;
const CHAIN: u8 = 0x02;
/// The same under the key of a block.
const BLOCK_CHAIN: u8 = 0x03;
const NEXT_BLOCK: u8 = 0x04;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_over_blocks_reaches_what_single_steps_reach() {
        let first = EpochChain::new(&Secret::random().unwrap());
        let mut chain = first.duplicate();
        for number in 0..2 * BLOCK + 3 {
            let mut next = chain.duplicate();
            let key = next.step().unwrap();
            if number % 1000 < 2 || number % BLOCK < 2 || number % BLOCK > BLOCK - 2 {
                for (keep_first, keep_last) in [(0, 0), (2, 3), (number, 0), (0, number)] {
                    let (mut at, skipped) = first.walk(number, keep_first, keep_last).unwrap();
                    assert_eq!(at.chain, chain.chain);
                    assert_eq!(at.next_block, chain.next_block);
                    assert_eq!(at.step().unwrap().secret(), key.secret(), "{number}");
                    let kept = (keep_first + keep_last).min(number);
                    assert_eq!(skipped.len(), usize::try_from(kept).unwrap());
                    if kept < number {
                        let dropped = skipped.get(keep_first).unwrap_err();
                        assert_eq!(dropped, Error::Expired);
                    }
                }
            }
            chain = next;
        }
    }

    #[test]
    fn the_longest_jump_is_quick_and_the_end_is_an_error() {
        let mut chain = EpochChain::new(&Secret::random().unwrap());
        chain.advance(EpochChain::MAX_JUMP).unwrap();
        assert_eq!(chain.number(), EpochChain::MAX_JUMP);
        chain.number = u32::MAX;
        assert_eq!(chain.step().unwrap_err(), Error::ChainExhausted);
    }
}
