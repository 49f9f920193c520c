//! The welcome part. It travels in the clear.
//!
//! | bytes | what |
//! |---|---|
//! | 16 | salt of the tags |
//! | 4 | how many are welcome; for each 8 tag, 1648 the welcome key, sealed to the prekeys of its key package |
//! | 4 + n | the group under that key, and 16 tag |
//!
//! A tag tells those who have seen the key package that its owner is invited, and nobody else. Both
//! encryptions authenticate the binding, the second one everything before it as well. The group is
//!
//! | bytes | what |
//! |---|---|
//! | 8 | epoch |
//! | 32 | history of the group, the commit included |
//! | 32 | mask of the epoch numbers |
//! | 32 | joiner secret |
//! | 32 | id of the committer |
//! | 4 | how many members, the newcomers included; for each 32 id, 1824 keys; in the order of ids |
//! | 64 | signature of the committer's identity over binding, SHA-256 of all before the group, and the group |

use alloc::{sync::Arc, vec::Vec};

use cc_core::{
    LayerError, MemberId, Secret,
    limits::{MAX_MEMBERS, MAX_PART_LEN},
};
use sha2::{Digest, Sha256};

use super::{
    commit::put_len,
    header::EpochMask,
    key_schedule::{JoinerSecret, Roster},
    member_keys::{MemberKeys, Prekeys},
    sealing::{self, SEALED_LEN},
    state::Package,
};
use crate::{
    Error, IdentityKey, IdentityKeyPair,
    codec::{Reader, Writer},
    entropy::{Entropy, System},
    kdf,
    message_key::{MessageKey, NO_SALT, OneTimeKey as _, TAG_LEN},
};

/// The group as a newcomer is shown it.
pub(super) struct GroupInfo {
    pub(super) epoch: u64,
    pub(super) history: [u8; 32],
    pub(super) mask: Arc<EpochMask>,
    pub(super) joiner: JoinerSecret,
    pub(super) committer: MemberId,
    pub(super) roster: Arc<Roster>,
}

/// Somebody to be welcomed: who, and its key package's reference and prekeys.
pub(super) struct Invited {
    pub(super) identity: IdentityKey,
    pub(super) reference: [u8; 32],
    pub(super) prekeys: Prekeys,
}

impl GroupInfo {
    /// The welcome part for `invited`.
    pub(super) fn seal(
        &self,
        identity: &IdentityKeyPair,
        binding: &[u8; 32],
        invited: &[Invited],
    ) -> Result<Vec<u8>, Error> {
        let key = Secret::<32>::random()?;
        let group_len = 8 + 32 * 4 + 4 + self.roster.len() * (32 + MemberKeys::LEN) + 64 + TAG_LEN;
        let front_len = SALT_LEN + 4 + invited.len() * (8 + SEALED_LEN);
        let mut part = Vec::with_capacity(front_len + 4 + group_len);
        let salt = System.array()?;
        part.extend_from_slice(&salt);
        put_len(&mut part, invited.len());
        for Invited { identity, reference, prekeys } in invited {
            part.extend_from_slice(&tag(&salt, reference));
            part.extend_from_slice(&sealing::seal(None, identity, prekeys, binding, &key)?);
        }
        let front = front_digest(&part);
        let mut group = self.encode();
        let signature = identity.sign(WELCOME, &[binding, &front, group.expose()]);
        group = {
            let mut writer = Writer::new();
            writer.put(group.expose());
            writer.put(&signature);
            writer.finish()
        };
        put_len(&mut part, group.expose().len() + TAG_LEN);
        let start = part.len();
        part.extend_from_slice(group.expose());
        let body = part.get_mut(start..).ok_or(Error::Primitive)?;
        let tag = group_key(&key)?.encrypt(&NO_SALT, &[&binding[..], &front].concat(), body)?;
        part.extend_from_slice(&tag);
        if part.len() > MAX_PART_LEN {
            return Err(Error::LimitExceeded);
        }
        Ok(part)
    }

    /// Opens a welcome with the key package it is for, which is given as well.
    pub(super) fn open<'a>(
        identity: &IdentityKeyPair,
        me: &MemberId,
        binding: &[u8; 32],
        part: &[u8],
        packages: impl IntoIterator<Item = (u64, &'a Package)>,
    ) -> Result<(u64, Self), LayerError> {
        let mut reader = Reader::new(part);
        let invitation = find_invitation(&mut reader, packages)?;
        let front = part.get(..part.len() - reader.remaining()).ok_or(LayerError::rejected())?;
        let front = front_digest(front);
        let sealed_group = reader.bytes(MAX_PART_LEN)?;
        reader.finish()?;
        let (number, package, sealed) = invitation.ok_or(LayerError::stale(None))?;
        let key = sealing::open(None, identity, &package.secrets.welcome, binding, sealed)?;
        let mut group = zeroize::Zeroizing::new(sealed_group.to_vec());
        let (body, tag) = group.split_last_chunk_mut::<TAG_LEN>().ok_or(LayerError::rejected())?;
        group_key(&key)?.decrypt(&NO_SALT, &[&binding[..], &front].concat(), body, tag)?;

        let (signed, signature) = body.split_last_chunk::<64>().ok_or(LayerError::rejected())?;
        let mut reader = Reader::new(signed);
        let info = Self::read(&mut reader)?;
        reader.finish()?;
        let committer = info.roster.get(&info.committer).ok_or(LayerError::rejected())?;
        committer.identity().verify(WELCOME, &[binding, &front, signed], signature)?;
        let own = info.roster.get(me).ok_or(LayerError::rejected())?;
        if info.committer == *me
            || info.epoch == 0
            || own.identity() != identity.public()
            || !package.secrets.member.fit(own)
        {
            return Err(LayerError::rejected());
        }
        Ok((number, info))
    }

    fn encode(&self) -> cc_core::SecretBytes {
        let mut writer = Writer::new();
        writer.u64(self.epoch);
        writer.put(&self.history);
        writer.put(self.mask.secret().expose());
        writer.put(self.joiner.secret().expose());
        writer.put(self.committer.as_bytes());
        writer.count(self.roster.len());
        for (id, keys) in &*self.roster {
            writer.put(id.as_bytes());
            writer.put(&keys.to_bytes());
        }
        writer.finish()
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let epoch = reader.u64()?;
        let history = reader.array()?;
        let mask = Arc::new(EpochMask::new(reader.secret()?));
        let joiner = JoinerSecret::from_secret(reader.secret()?);
        let committer = MemberId::from_bytes(reader.array()?);
        let count = reader.count(32 + MemberKeys::LEN, MAX_MEMBERS)?;
        let roster = Arc::new(read_roster(reader, count)?);
        Ok(Self { epoch, history, mask, joiner, committer, roster })
    }
}

/// Members in the order of their ids, no two of one identity.
fn read_roster(reader: &mut Reader<'_>, count: usize) -> Result<Roster, Error> {
    let (mut roster, mut identities) = (Roster::new(), alloc::collections::BTreeSet::new());
    for _ in 0..count {
        let id = MemberId::from_bytes(reader.array()?);
        let keys = MemberKeys::read(reader, &id)?;
        let ascends = roster.last_key_value().is_none_or(|(last, _)| *last < id);
        if !ascends || !identities.insert(keys.identity().keys()) {
            return Err(Error::Malformed);
        }
        roster.insert(id, Arc::new(keys));
    }
    Ok(roster)
}

/// Whether a welcome, of which nothing is verified yet, is for one of these key packages.
pub(super) fn is_invited<'a>(
    part: &[u8],
    packages: impl IntoIterator<Item = (u64, &'a Package)>,
) -> Option<bool> {
    let invitation = find_invitation(&mut Reader::new(part), packages).ok()?;
    Some(invitation.is_some())
}

/// The number of the key package that a welcome is for, the key package, and what is sealed to it.
type Invitation<'a, 'b> = (u64, &'a Package, &'b [u8]);

/// Reads the list of who is welcome.
fn find_invitation<'a, 'b>(
    reader: &mut Reader<'b>,
    packages: impl IntoIterator<Item = (u64, &'a Package)>,
) -> Result<Option<Invitation<'a, 'b>>, Error> {
    let salt = reader.array()?;
    let mut packages: Vec<_> = packages
        .into_iter()
        .map(|(number, package)| (tag(&salt, &package.reference), number, package))
        .collect();
    packages.sort_unstable_by_key(|(tag, ..)| *tag);
    let mut invitation = None;
    for _ in 0..reader.count(8 + SEALED_LEN, MAX_MEMBERS)? {
        let (tag, sealed) = (reader.array::<8>()?, reader.take(SEALED_LEN)?);
        // The first alone: one welcome costs its reader one agreement.
        if invitation.is_none()
            && let Ok(place) = packages.binary_search_by_key(&tag, |(tag, ..)| *tag)
        {
            invitation =
                packages.get(place).map(|(_, number, package)| (*number, *package, sealed));
        }
    }
    Ok(invitation)
}

fn tag(salt: &[u8; SALT_LEN], reference: &[u8; 32]) -> [u8; 8] {
    let digest: [u8; 32] = Sha256::new()
        .chain_update(b"cc-signal/1 invited")
        .chain_update(salt)
        .chain_update(reference)
        .finalize()
        .into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    [a, b, c, d, e, f, g, h]
}

fn front_digest(front: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(b"cc-signal/1 welcome front").chain_update(front).finalize().into()
}

/// Used once, for the one group of one welcome.
fn group_key(key: &Secret<32>) -> Result<MessageKey, Error> {
    Ok(MessageKey::new(kdf::hkdf_expand(key, &[b"cc-signal/1 welcome group"])?))
}

/// So that nobody who has not seen a key package can tell that two welcomes are for it.
const SALT_LEN: usize = 16;
const WELCOME: &[u8] = b"group welcome";
