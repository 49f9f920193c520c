//! The commit part. It travels inside a message of the whole stack, this layer's included, so its
//! sender needs no further proof. Those who are added prove themselves.
//!
//! | bytes | what |
//! |---|---|
//! | 32 | binding |
//! | 8 | the epoch it makes |
//! | 4 | how many come; for each 32 id, 32 binding and 32 one-time digest of its key package, 64 signature, 4 + n reusable bundle |
//! | 4 | how many go; for each 32 id |
//!
//! Both lists are in the order of ids.

use alloc::vec::Vec;

use cc_core::{MemberId, limits::MAX_MEMBERS};

use super::{key_package::Newcomer, message::put_len};
use crate::{Bundle, Error, codec::Reader};

pub(super) struct Commit {
    pub(super) binding: [u8; 32],
    pub(super) epoch: u64,
    pub(super) added: Vec<Newcomer>,
    pub(super) removed: Vec<MemberId>,
}

impl Commit {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut part = Vec::new();
        part.extend_from_slice(&self.binding);
        part.extend_from_slice(&self.epoch.to_be_bytes());
        put_len(&mut part, self.added.len());
        for new in &self.added {
            let bundle = new.bundle.to_bytes();
            for field in [&new.id.as_bytes()[..], &new.binding, &new.one_time, &new.signature] {
                part.extend_from_slice(field);
            }
            put_len(&mut part, bundle.len());
            part.extend_from_slice(&bundle);
        }
        put_len(&mut part, self.removed.len());
        for id in &self.removed {
            part.extend_from_slice(id.as_bytes());
        }
        part
    }

    /// Reads a part and verifies everybody who is added.
    pub(super) fn decode(part: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(part);
        let (binding, epoch) = (reader.array()?, reader.u64()?);
        let mut added = Vec::new();
        for _ in 0..reader.count(NEWCOMER_MIN_LEN, MAX_MEMBERS)? {
            let new = Newcomer {
                id: MemberId::from_bytes(reader.array()?),
                binding: reader.array()?,
                one_time: reader.array()?,
                signature: reader.array()?,
                bundle: Bundle::from_bytes(reader.bytes(Bundle::MAX_LEN)?)?,
            };
            new.verify()?;
            added.push(new);
        }
        let mut removed = Vec::new();
        for _ in 0..reader.count(32, MAX_MEMBERS)? {
            removed.push(MemberId::from_bytes(reader.array()?));
        }
        reader.finish()?;
        Ok(Self { binding, epoch, added, removed })
    }
}

const NEWCOMER_MIN_LEN: usize = 32 * 3 + 64 + 4;
