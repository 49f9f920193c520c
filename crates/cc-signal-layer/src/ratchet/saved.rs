//! The ratchet at rest: what of it is of one size in one record, and by 8 bytes for the chain
//!
//! | name | record |
//! |---|---|
//! | (empty) | a former chain: 8 start, 4 end, 4 floor, 32 header key |
//! | 4 block | skipped keys of this chain, former or current |
//!
//! The post-quantum ratchet has records of its own (`spqr/saved.rs`); no index of a chain begins as they do.

use core::cmp::Ordering;

use super::{Ratchet, Receiving, Sending};
use crate::{
    Error,
    chain_key::ChainKey,
    codec::{Reader, Writer},
    curve::{KeyPair, PublicKey},
    header::HeaderKey,
    limits::Limits,
    root_key::RootKey,
    session::Role,
    skipped::{self, FormerChain, FormerChains, SkippedKeys},
    spqr::{self, Spqr},
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
        writer.flag(self.last_sending.is_some());
        if let Some(header_key) = &self.last_sending {
            writer.put(header_key.secret().expose());
        }
        writer.u32(self.previous);
        writer.flag(self.receiving.is_some());
        if let Some(receiving) = &self.receiving {
            writer.u64(receiving.index);
            writer.u64(receiving.start);
            writer.put(receiving.theirs.as_bytes());
            writer.put(receiving.header_key.secret().expose());
            writer.put(receiving.chain.secret().expose());
            writer.u32(receiving.number);
            writer.u32(receiving.skipped.floor());
        }
        writer.put(self.next_receiving.secret().expose());
        writer.count(self.skipped_len());
        writer.count(self.former.iter().count());
        self.spqr.write(writer);
    }

    pub(crate) fn write_chains(&self, to: &mut Records) {
        for chain in self.former.iter() {
            to.within(&chain.index.to_be_bytes(), |to| {
                to.put(b"", |writer| {
                    writer.u64(chain.start);
                    writer.u32(chain.end);
                    writer.u32(chain.skipped.floor());
                    writer.put(chain.header_key.secret().expose());
                });
                chain.skipped.write(to);
            });
        }
        if let Some(receiving) = &self.receiving {
            to.within(&receiving.index.to_be_bytes(), |to| receiving.skipped.write(to));
        }
        self.spqr.write_records(to);
    }

    pub(crate) fn read(reader: &mut Reader<'_>, role: Role) -> Result<(Self, Missing), Error> {
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
        let last_sending =
            if reader.flag()? { Some(HeaderKey::new(reader.secret()?)) } else { None };
        let previous = reader.u32()?;
        let receiving = if reader.flag()? {
            Some(Receiving {
                // No more than 2^32 chains, so that counting on cannot overflow.
                index: u64::from(u32::try_from(reader.u64()?).map_err(|_| Error::InvalidState)?),
                start: reader.u64()?,
                theirs: PublicKey::from_bytes(reader.array()?)?,
                header_key: HeaderKey::new(reader.secret()?),
                chain: ChainKey::new(reader.secret()?),
                number: reader.u32()?,
                skipped: SkippedKeys::with_floor(reader.u32()?),
            })
        } else {
            None
        };
        let next_receiving = HeaderKey::new(reader.secret()?);
        let (keys, chains) = (reader.u32()?, reader.u32()?);
        let (spqr, spqr_missing) = Spqr::read(reader, role)?;
        let ratchet = Self {
            root,
            sending,
            next_sending,
            last_sending,
            previous,
            receiving,
            next_receiving,
            former: FormerChains::default(),
            spqr,
        };
        Ok((ratchet, Missing { keys, chains, spqr: spqr_missing }))
    }

    /// Everything that is left in `from`.
    pub(crate) fn read_chains(&mut self, missing: Missing, from: &mut Source) -> Result<(), Error> {
        self.spqr.read_records(missing.spqr, from)?;
        while let Some(name) = from.next_name() {
            let prefix = name.first_chunk().ok_or(Error::InvalidState)?;
            let index = u64::from_be_bytes(*prefix);
            let receiving = self.receiving.as_mut().ok_or(Error::InvalidState)?;
            from.within(prefix, |from| match index.cmp(&receiving.index) {
                Ordering::Less => {
                    self.former.push(read_former(index, from)?);
                    Ok(())
                }
                Ordering::Equal => {
                    skipped::read_all(&mut receiving.skipped, receiving.number, from)
                }
                Ordering::Greater => Err(Error::InvalidState),
            })?;
        }
        let keys = u32::try_from(self.skipped_len()).map_err(|_| Error::InvalidState)?;
        let chains = u32::try_from(self.former.iter().count()).map_err(|_| Error::InvalidState)?;
        if (keys, chains) == (missing.keys, missing.chains)
            && self.skipped_len() <= Limits::MAX_SKIPPED_CAP
        {
            Ok(())
        } else {
            Err(Error::InvalidState)
        }
    }

    /// For going back when a store fails.
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
            last_sending: self.last_sending.as_ref().map(HeaderKey::duplicate),
            previous: self.previous,
            receiving: self.receiving.as_ref().map(|receiving| Receiving {
                index: receiving.index,
                start: receiving.start,
                theirs: receiving.theirs,
                header_key: receiving.header_key.duplicate(),
                chain: receiving.chain.duplicate(),
                number: receiving.number,
                skipped: receiving.skipped.duplicate(),
            }),
            next_receiving: self.next_receiving.duplicate(),
            former: self.former.duplicate(),
            spqr: self.spqr.duplicate(),
        }
    }
}

/// How many skipped keys and former chains a ratchet had that was read without them.
#[must_use]
pub(crate) struct Missing {
    keys: u32,
    chains: u32,
    spqr: spqr::Missing,
}

fn read_former(index: u64, from: &mut Source) -> Result<FormerChain, Error> {
    let mut chain = from.take(b"", |reader| {
        Ok(FormerChain {
            index,
            start: reader.u64()?,
            end: reader.u32()?,
            skipped: SkippedKeys::with_floor(reader.u32()?),
            header_key: HeaderKey::new(reader.secret()?),
        })
    })?;
    skipped::read_all(&mut chain.skipped, chain.end, from)?;
    Ok(chain)
}
