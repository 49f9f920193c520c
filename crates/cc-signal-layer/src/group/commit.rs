//! The commit part. It travels inside a message of the whole stack, this layer's included, so its
//! sender needs no further proof. Those who are added prove themselves.
//!
//! | bytes | what |
//! |---|---|
//! | 32 | binding |
//! | 8 | the epoch it makes |
//! | 32 | transcript of the epoch it changes |
//! | 32 | commitment to the joiner secret of the epoch it makes |
//! | 1824 | the committer's new keys |
//! | 4 | how many come; for each 32 id, 32 binding and 32 digest of its key package, 64 signature, 1824 keys |
//! | 4 | how many go; for each 32 id |
//! | 4 | how many follow; for each 1648 the commit secret, sealed to its latest keys |
//!
//! All three lists are in the order of ids. The last has everybody but the committer, and those who
//! come or go; it is empty where a commit adds and does nothing else.

use alloc::vec::Vec;

use cc_core::{MemberId, limits::MAX_MEMBERS};

use super::{key_package::Newcomer, member_keys::MemberKeys, sealing::SEALED_LEN};
use crate::{Error, codec::Reader};

pub(super) struct Commit {
    pub(super) head: CommitHead,
    pub(super) keys: MemberKeys,
    pub(super) added: Vec<Newcomer>,
    pub(super) removed: Vec<MemberId>,
    pub(super) sealed: Vec<Vec<u8>>,
}

/// What is compared before anything is verified.
#[derive(PartialEq, Eq)]
pub(super) struct CommitHead {
    pub(super) binding: [u8; 32],
    pub(super) epoch: u64,
    pub(super) transcript: [u8; 32],
    pub(super) commitment: [u8; 32],
}

impl CommitHead {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        Ok(Self {
            binding: reader.array()?,
            epoch: reader.u64()?,
            transcript: reader.array()?,
            commitment: reader.array()?,
        })
    }
}

impl Commit {
    /// A commit that adds and does nothing else is followed without a new secret.
    pub(super) fn renews(added: usize, removed: usize) -> bool {
        added == 0 || removed > 0
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let Self { head, keys, added, removed, sealed } = self;
        let len = added.len() * Newcomer::LEN + removed.len() * 32 + sealed.len() * SEALED_LEN;
        let mut part = Vec::with_capacity(104 + MemberKeys::LEN + 12 + len);
        part.extend_from_slice(&head.binding);
        part.extend_from_slice(&head.epoch.to_be_bytes());
        part.extend_from_slice(&head.transcript);
        part.extend_from_slice(&head.commitment);
        part.extend_from_slice(&keys.to_bytes());
        put_len(&mut part, added.len());
        added.iter().for_each(|new| new.write(&mut part));
        put_len(&mut part, removed.len());
        removed.iter().for_each(|id| part.extend_from_slice(id.as_bytes()));
        put_len(&mut part, sealed.len());
        sealed.iter().for_each(|sealed| part.extend_from_slice(sealed));
        part
    }

    /// Reads what follows the head, and verifies the committer's keys and everybody who is added.
    pub(super) fn read(
        head: CommitHead,
        committer: &MemberId,
        mut reader: Reader<'_>,
    ) -> Result<Self, Error> {
        let keys = MemberKeys::read(&mut reader, committer)?;
        let mut added = Vec::new();
        for _ in 0..reader.count(Newcomer::LEN, MAX_MEMBERS)? {
            added.push(Newcomer::read(&mut reader)?);
        }
        let mut removed = Vec::new();
        for _ in 0..reader.count(32, MAX_MEMBERS)? {
            removed.push(MemberId::from_bytes(reader.array()?));
        }
        let mut sealed = Vec::new();
        for _ in 0..reader.count(SEALED_LEN, MAX_MEMBERS)? {
            sealed.push(Vec::from(reader.take(SEALED_LEN)?));
        }
        reader.finish()?;
        Ok(Self { head, keys, added, removed, sealed })
    }
}

/// What the sealed commit secret for `member` authenticates: which change, by whom, for whom.
pub(super) fn sealing_data(
    head: &CommitHead,
    committer: &MemberId,
    member: &MemberKeys,
) -> Vec<u8> {
    let fields: [&[u8]; 4] =
        [&head.binding, &head.transcript, committer.as_bytes(), member.digest()];
    fields.concat()
}

pub(super) fn put_len(bytes: &mut Vec<u8>, len: usize) {
    bytes.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
}
