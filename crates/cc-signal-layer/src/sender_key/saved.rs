//! Chains at rest, and copies of them for going back when a store fails.

use alloc::{boxed::Box, vec::Vec};

use super::{
    ReceiverChain, SenderChain,
    message::{chain_id, verifying_key},
};
use crate::{
    Error,
    chain_key::ChainKey,
    codec::{Reader, Writer},
    limits::Limits,
    skipped::SkippedKeys,
    state::{self, Records, Source, State},
};

impl State for SenderChain {
    const KIND: u8 = state::SENDER_CHAIN;

    fn write(&self, to: &mut Records) {
        to.put(b"", |writer| {
            writer.put(self.signing.seed().expose());
            writer.put(self.chain.secret().expose());
            writer.u32(self.number);
        });
        // A record of its own, for it never changes.
        to.put(NAME, |writer| writer.put(&self.sender));
    }

    fn read(from: &mut Source, _: &Limits) -> Result<Self, Error> {
        let (seed, chain, number) =
            from.take(b"", |reader| Ok((reader.secret()?, reader.secret()?, reader.u32()?)))?;
        let sender = from.take(NAME, |reader| Ok(Vec::from(reader.take(reader.remaining())?)))?;
        Self::new(&sender, &seed, ChainKey::new(chain), number)
    }
}

/// The name of the record with the sender's name.
const NAME: &[u8] = b"n";

impl ReceiverChain {
    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.put(self.verifying.as_bytes());
        writer.put(self.chain.secret().expose());
        writer.u32(self.number);
        writer.u32(self.skipped.floor());
        writer.u64(self.revision);
        writer.count(self.skipped.len());
    }

    /// In records by 4 bytes for the block.
    pub(crate) fn write_skipped(&self, to: &mut Records) {
        self.skipped.write(to);
    }

    /// The chain of a sender, and how many skipped keys it had.
    pub(crate) fn read(
        sender: &[u8],
        reader: &mut Reader<'_>,
        limits: &Limits,
    ) -> Result<(Self, u32), Error> {
        let verifying = verifying_key(&reader.array()?)?;
        let chain = Self {
            sender: Box::from(sender),
            id: chain_id(&verifying, sender),
            verifying,
            chain: ChainKey::new(reader.secret()?),
            number: reader.u32()?,
            skipped: SkippedKeys::with_floor(reader.u32()?),
            revision: reader.u64()?,
            limits: *limits,
        };
        Ok((chain, reader.u32()?))
    }

    /// Everything that is left in `from`.
    pub(crate) fn read_skipped(&mut self, count: u32, from: &mut Source) -> Result<(), Error> {
        while let Some(name) = from.next_name() {
            let block = <[u8; 4]>::try_from(&name[..]).map_err(|_| Error::InvalidState)?;
            let block = u32::from_be_bytes(block);
            from.take(&name, |reader| self.skipped.read(block, self.number, reader))?;
        }
        if u32::try_from(self.skipped.len()) != Ok(count) {
            return Err(Error::InvalidState);
        }
        self.enforce();
        Ok(())
    }
}
