//! The ratchet at rest: what is small and always there in the record of the session, and records behind `p`:
//!
//! | name | record |
//! |---|---|
//! | `p`, `b`, .. | what the braid collects (`braid/saved.rs`) |
//! | `p`, `e`, 4 epoch | a receiving chain: 32 + 32 keys, 4 number, 4 floor |
//! | `p`, `e`, 4 epoch, 4 block | skipped keys of this chain |

use alloc::collections::VecDeque;

use super::{EpochChain, MAX_EPOCHS, Receiving, Spqr};
use crate::{
    Error,
    braid::{self, Braid},
    codec::{Reader, Writer},
    limits::Limits,
    session::Role,
    skipped::{self, SkippedKeys},
    state::{Records, Source},
};

impl Spqr {
    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.put(self.root.expose());
        writer.u32(self.epoch);
        writer.u32(self.sending_epoch);
        self.sending.write(writer);
        writer.flag(self.next_sending.is_some());
        if let Some(chain) = &self.next_sending {
            chain.write(writer);
        }
        self.braid.write(writer);
        writer.count(self.receiving.len());
        writer.count(self.skipped_len());
    }

    pub(crate) fn write_records(&self, to: &mut Records) {
        to.within(PREFIX, |to| {
            to.within(BRAID, |to| self.braid.write_records(to));
            for Receiving { epoch, chain, skipped } in &self.receiving {
                to.within(EPOCH, |to| {
                    to.within(&epoch.to_be_bytes(), |to| {
                        to.put(b"", |writer| {
                            chain.write(writer);
                            writer.u32(skipped.floor());
                        });
                        skipped.write(to);
                    });
                });
            }
        });
    }

    /// A ratchet without what its records have.
    pub(crate) fn read(reader: &mut Reader<'_>, role: Role) -> Result<(Self, Missing), Error> {
        let (root, epoch, sending_epoch) = (reader.secret()?, reader.u32()?, reader.u32()?);
        let sending = EpochChain::read(reader)?;
        let next_sending = if reader.flag()? { Some(EpochChain::read(reader)?) } else { None };
        let (braid, braid_missing) = Braid::read(reader)?;
        let ratchet = Self {
            role,
            root,
            epoch,
            sending_epoch,
            sending,
            next_sending,
            braid,
            receiving: VecDeque::new(),
        };
        Ok((ratchet, Missing { epochs: reader.u32()?, keys: reader.u32()?, braid: braid_missing }))
    }

    /// All records behind the prefix.
    pub(crate) fn read_records(
        &mut self,
        missing: Missing,
        from: &mut Source,
    ) -> Result<(), Error> {
        from.within(PREFIX, |from| {
            from.within(BRAID, |from| self.braid.read_records(missing.braid, from))?;
            from.within(EPOCH, |from| {
                while let Some(name) = from.next_name() {
                    let prefix = name.first_chunk().ok_or(Error::InvalidState)?;
                    let receiving = from
                        .within(prefix, |from| read_receiving(u32::from_be_bytes(*prefix), from))?;
                    self.receiving.push_back(receiving);
                    if self.receiving.len() > MAX_EPOCHS {
                        return Err(Error::InvalidState);
                    }
                }
                Ok(())
            })
        })?;
        let epochs = u32::try_from(self.receiving.len()).map_err(|_| Error::InvalidState)?;
        let keys = u32::try_from(self.skipped_len()).map_err(|_| Error::InvalidState)?;
        let last = self.receiving.back().map(|receiving| receiving.epoch);
        if (epochs, keys) != (missing.epochs, missing.keys)
            || last != Some(self.epoch)
            || self.skipped_len() > 2 * Limits::MAX_SKIPPED_CAP
            || self.next_sending.is_some() != (self.sending_epoch != self.epoch)
        {
            return Err(Error::InvalidState);
        }
        Ok(())
    }
}

/// How many chains and skipped keys a ratchet had that was read without them.
#[must_use]
pub(crate) struct Missing {
    epochs: u32,
    keys: u32,
    braid: braid::Missing,
}

fn read_receiving(epoch: u32, from: &mut Source) -> Result<Receiving, Error> {
    let (chain, mut skipped) = from.take(b"", |reader| {
        Ok((EpochChain::read(reader)?, SkippedKeys::with_floor(reader.u32()?)))
    })?;
    skipped::read_all(&mut skipped, chain.number(), from)?;
    Ok(Receiving { epoch, chain, skipped })
}

const PREFIX: &[u8] = b"p";
const BRAID: &[u8] = b"b";
const EPOCH: &[u8] = b"e";
