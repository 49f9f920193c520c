//! The ratchet at rest: what of it is of one size, and the skipped keys in records of their own.

use cc_core::Secret;

use super::{Ratchet, Receiving, Sending};
use crate::{
    Error,
    chain_key::ChainKey,
    codec::{Reader, Writer},
    curve::{KeyPair, PublicKey},
    header::HeaderKey,
    limits::Limits,
    root_key::RootKey,
    skipped::{ChainSkips, Former, SkippedStore},
    state::{Records, Source},
};

impl Ratchet {
    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.put(self.root.secret().expose());
        match &self.sending {
            Sending::Waiting(pair) => {
                writer.u8(0);
                writer.put(pair.secret().expose());
            }
            Sending::Due(theirs) => {
                writer.u8(1);
                writer.put(theirs.as_bytes());
            }
            Sending::Chain { pair, header_key, chain, number } => {
                writer.u8(2);
                writer.put(pair.secret().expose());
                writer.put(header_key.secret().expose());
                writer.put(chain.secret().expose());
                writer.u32(*number);
            }
        }
        writer.put(self.next_sending.secret().expose());
        writer.u32(self.previous);
        writer.flag(self.receiving.is_some());
        if let Some(receiving) = &self.receiving {
            writer.u64(receiving.place);
            writer.put(receiving.theirs.as_bytes());
            writer.put(receiving.header_key.secret().expose());
            writer.put(receiving.chain.secret().expose());
            writer.u32(receiving.number);
        }
        writer.put(self.next_receiving.secret().expose());
        writer.count(self.skipped_len());
    }

    /// By 8 bytes for the chain and 4 for the block, behind the chain's header key.
    pub(crate) fn write_skipped(&self, to: &mut Records) {
        let current = self.receiving.iter().map(|r| (r.place, &r.header_key, &r.skipped));
        let former = self.skipped.chains().map(|f| (f.chain, &f.header_key, &f.keys));
        for (chain, header_key, keys) in former.chain(current) {
            to.within(&chain.to_be_bytes(), |to| keys.write(header_key.secret().expose(), to));
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<(Self, Missing), Error> {
        let root = RootKey::new(reader.secret()?);
        let sending = match reader.u8()? {
            0 => Sending::Waiting(KeyPair::from_secret(reader.secret()?)),
            1 => Sending::Due(PublicKey::from_bytes(reader.array()?)?),
            2 => Sending::Chain {
                pair: KeyPair::from_secret(reader.secret()?),
                header_key: HeaderKey::new(reader.secret()?),
                chain: ChainKey::new(reader.secret()?),
                number: reader.u32()?,
            },
            _ => return Err(Error::InvalidState),
        };
        let next_sending = HeaderKey::new(reader.secret()?);
        let previous = reader.u32()?;
        let receiving = if reader.flag()? {
            Some(Receiving {
                // No more than 2^32 chains, so that counting on cannot overflow.
                place: u64::from(u32::try_from(reader.u64()?).map_err(|_| Error::InvalidState)?),
                theirs: PublicKey::from_bytes(reader.array()?)?,
                header_key: HeaderKey::new(reader.secret()?),
                chain: ChainKey::new(reader.secret()?),
                number: reader.u32()?,
                skipped: ChainSkips::default(),
            })
        } else {
            None
        };
        let ratchet = Self {
            root,
            sending,
            next_sending,
            previous,
            receiving,
            next_receiving: HeaderKey::new(reader.secret()?),
            skipped: SkippedStore::default(),
        };
        Ok((ratchet, Missing(reader.u32()?)))
    }

    /// Everything that is left in `from`.
    pub(crate) fn read_skipped(
        &mut self,
        Missing(count): Missing,
        from: &mut Source,
    ) -> Result<(), Error> {
        let current = self.receiving.as_ref().map(|receiving| receiving.place);
        while let Some(name) = from.next_name() {
            let place = name.first_chunk().ok_or(Error::InvalidState)?;
            let chain = u64::from_be_bytes(*place);
            let (header_key, keys) = from.within(place, read_chain)?;
            match &mut self.receiving {
                Some(receiving) if Some(chain) == current => {
                    if header_key != *receiving.header_key.secret() {
                        return Err(Error::InvalidState);
                    }
                    receiving.skipped = keys;
                }
                Some(_) if Some(chain) < current => {
                    let header_key = HeaderKey::new(header_key);
                    self.skipped.retire(Former { chain, header_key, keys });
                }
                _ => return Err(Error::InvalidState),
            }
        }
        let here = u32::try_from(self.skipped_len()).map_err(|_| Error::InvalidState)?;
        if here == count && self.skipped_len() <= Limits::MAX_SKIPPED_CAP {
            Ok(())
        } else {
            Err(Error::InvalidState)
        }
    }

    /// For taking back what a failed store leaves undone.
    pub(crate) fn duplicate(&self) -> Self {
        Self {
            root: self.root.duplicate(),
            sending: match &self.sending {
                Sending::Waiting(pair) => Sending::Waiting(pair.duplicate()),
                Sending::Due(theirs) => Sending::Due(*theirs),
                Sending::Chain { pair, header_key, chain, number } => Sending::Chain {
                    pair: pair.duplicate(),
                    header_key: header_key.duplicate(),
                    chain: chain.duplicate(),
                    number: *number,
                },
            },
            next_sending: self.next_sending.duplicate(),
            previous: self.previous,
            receiving: self.receiving.as_ref().map(|receiving| Receiving {
                place: receiving.place,
                theirs: receiving.theirs,
                header_key: receiving.header_key.duplicate(),
                chain: receiving.chain.duplicate(),
                number: receiving.number,
                skipped: receiving.skipped.duplicate(),
            }),
            next_receiving: self.next_receiving.duplicate(),
            skipped: self.skipped.duplicate(),
        }
    }
}

/// How many skipped keys a ratchet had that was read without them.
#[must_use]
pub(crate) struct Missing(u32);

/// The header key and the skipped keys of one chain.
fn read_chain(from: &mut Source) -> Result<(Secret<32>, ChainSkips), Error> {
    let mut keys = ChainSkips::default();
    let mut header_key: Option<Secret<32>> = None;
    while let Some(name) = from.next_name() {
        let block = <[u8; 4]>::try_from(&name[..]).map_err(|_| Error::InvalidState)?;
        let head = from.take(&name, |reader| {
            let head = reader.secret()?;
            keys.read(u32::from_be_bytes(block), reader)?;
            Ok(head)
        })?;
        if header_key.as_ref().is_some_and(|known| *known != head) {
            return Err(Error::InvalidState);
        }
        header_key = Some(head);
    }
    Ok((header_key.ok_or(Error::InvalidState)?, keys))
}
