//! The welcome part. It travels in the clear.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | how many are welcome; for each 8 tag, 4 + n initial message with the welcome key |
//! | 4 + n | the roster under that key, and 16 tag |
//!
//! The initial messages authenticate the binding, the roster's encryption the binding and everything
//! before it. The roster is
//!
//! | bytes | what |
//! |---|---|
//! | 8 | epoch |
//! | 1 | 1 if everybody has a new chain from this epoch on, otherwise 0 |
//! | 32 | id of the committer |
//! | 4 | how many members, the newcomers included; for each 32 id, 4 + n reusable bundle |
//!
//! in the order of ids.

use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};

use cc_core::{
    LayerError, MemberId, Secret,
    limits::{MAX_MEMBERS, MAX_PART_LEN},
};
use sha2::{Digest, Sha256};

use super::{
    Group, Joined, Peer, message::MAX_ENTRY_LEN, message::associated_data, message::put_len,
};
use crate::{
    Bundle, Error, IdentityKey, SenderKeys, Sessions,
    codec::Reader,
    initial_message, kdf,
    message_key::{MessageKey, NO_SALT, TAG_LEN},
};

impl Group {
    /// The welcome for `added`, whose sessions have begun.
    pub(super) fn welcome(
        &self,
        me: MemberId,
        epoch: u64,
        removed: &[MemberId],
        added: &mut [(MemberId, Peer)],
        binding: &[u8; 32],
    ) -> Result<Vec<u8>, LayerError> {
        let key = Secret::<32>::random()?;
        let mut part = Vec::new();
        put_len(&mut part, added.len());
        for (_, peer) in added.iter_mut() {
            part.extend_from_slice(&recipient_tag(binding, peer.sessions.peer()));
            let message = peer.sessions.encrypt(binding, key.expose())?;
            put_len(&mut part, message.len());
            part.extend_from_slice(&message);
        }
        let mut bundles: BTreeMap<_, _> =
            self.state.peers.iter().map(|(id, peer)| (*id, peer.bundle.clone())).collect();
        removed.iter().for_each(|id| drop(bundles.remove(id)));
        bundles.extend(added.iter().map(|(id, peer)| (*id, peer.bundle.clone())));
        bundles.insert(me, Arc::new(self.account.bundle()));
        let mut roster = Vec::new();
        roster.extend_from_slice(&epoch.to_be_bytes());
        roster.push(u8::from(!removed.is_empty()));
        roster.extend_from_slice(me.as_bytes());
        put_len(&mut roster, bundles.len());
        for (id, bundle) in &bundles {
            roster.extend_from_slice(id.as_bytes());
            let bundle = bundle.to_bytes();
            put_len(&mut roster, bundle.len());
            roster.extend_from_slice(&bundle);
        }
        let ad = associated_data(binding, &part);
        let tag = roster_key(&key)?.encrypt(&NO_SALT, &ad, &mut roster)?;
        put_len(&mut part, roster.len() + TAG_LEN);
        part.extend_from_slice(&roster);
        part.extend_from_slice(&tag);
        if part.len() > MAX_PART_LEN {
            return Err(Error::LimitExceeded.into());
        }
        Ok(part)
    }

    pub(super) fn read_welcome(
        &self,
        me: MemberId,
        part: &[u8],
        binding: &[u8; 32],
    ) -> Result<Joined, LayerError> {
        let own = self.account.identity();
        let mut reader = Reader::new(part);
        let mine = recipient_tag(binding, own);
        let mut invitation = None;
        for _ in 0..reader.count(8 + 4, MAX_MEMBERS)? {
            let tag: [u8; 8] = reader.array()?;
            let message = reader.bytes(MAX_ENTRY_LEN)?;
            // The first alone: one welcome costs its reader one agreement.
            if tag == mine && invitation.is_none() {
                invitation = Some(message);
            }
        }
        let front = part.get(..part.len() - reader.remaining()).unwrap_or_default();
        let mut roster = reader.bytes(MAX_PART_LEN)?.to_vec();
        reader.finish()?;

        let invitation = invitation.ok_or(Error::Undecryptable)?;
        let sender = initial_message::claimed_sender(invitation)?.ok_or(Error::Undecryptable)?;
        let begun = Sessions::new(sender, self.limits);
        let (mut key, session) = begun.open(&self.account, binding, invitation)?;
        let key = match <&mut [u8; 32]>::try_from(&mut key[..]) {
            Ok(key) => Secret::take(key),
            Err(_) => return Err(LayerError::rejected()),
        };
        let (body, tag) = roster.split_last_chunk_mut::<TAG_LEN>().ok_or(Error::Undecryptable)?;
        roster_key(&key)?.decrypt(&NO_SALT, &associated_data(binding, front), body, tag)?;

        let mut reader = Reader::new(body);
        let epoch = reader.u64()?;
        // Whoever comes back takes no chain again that it may have had: its account may be an old copy.
        let floor = if reader.flag()? { epoch } else { 0 };
        let committer = MemberId::from_bytes(reader.array()?);
        let mut peers = BTreeMap::new();
        let mut identities = alloc::collections::BTreeSet::new();
        let (mut last, mut listed) = (None, false);
        for _ in 0..reader.count(32 + 4, MAX_MEMBERS)? {
            let id = MemberId::from_bytes(reader.array()?);
            let bundle = Bundle::from_bytes(reader.bytes(Bundle::MAX_LEN)?)?;
            if last.is_some_and(|last| last >= id)
                || !identities.insert(bundle.identity().keys())
                || bundle.is_one_time()
                || !bundle.is_post_quantum()
            {
                return Err(LayerError::rejected());
            }
            last = Some(id);
            if id == me {
                listed = bundle.identity() == own;
            } else {
                peers.insert(id, Peer::new(Arc::new(bundle), self.limits, floor));
            }
        }
        reader.finish()?;
        let inviter = peers.get_mut(&committer).ok_or(Error::Undecryptable)?;
        if !listed || epoch == 0 || inviter.sessions.peer() != &sender {
            return Err(LayerError::rejected());
        }
        let keys = SenderKeys::generate(me.as_bytes(), self.limits)?;
        Ok(Joined { epoch, peers, keys, committer, session })
    }
}

/// By what a newcomer finds its invitation, without showing an observer more than that somebody whose
/// keys they must already know is invited.
fn recipient_tag(binding: &[u8; 32], recipient: &IdentityKey) -> [u8; 8] {
    let digest: [u8; 32] = Sha256::new()
        .chain_update(b"cc-signal/1 recipient")
        .chain_update(binding)
        .chain_update(recipient.keys())
        .finalize()
        .into();
    digest.first_chunk().copied().unwrap_or_default()
}

/// Used once, for the one roster of one welcome.
fn roster_key(key: &Secret<32>) -> Result<MessageKey, Error> {
    Ok(MessageKey::new(kdf::hkdf_expand(key, &[b"cc-signal/1 roster"])?))
}
