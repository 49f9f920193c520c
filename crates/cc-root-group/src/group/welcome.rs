//! The welcome part: what those who are added get of a change. It travels in the clear.

use alloc::{sync::Arc, vec::Vec};

use cc_core::{Buffer, MemberId};
use sha2::{Digest, Sha256};

use crate::{
    DhKeyPair, DhPublicKey, KeyError, MemberKeyPair, MemberPublicKey, Suite,
    codec::{Reader, put_opaque},
    group::{
        generation::Generation,
        invitation::{Address, Recipient, TAG_LEN},
        root::{Root, Step},
        roster::{Entry, Roster, read_entries, write_entries},
    },
    hpke::{self, Sealer, box_len},
    label::label,
    member::Sender,
};

/// A welcome part as it is read: nothing is copied, and one agreement and one decapsulation are all that
/// any number of invitations cost their reader.
pub(crate) struct Welcome<'a> {
    /// Everything before the group, which the group's encryption authenticates.
    front: &'a [u8],
    welcome_key: DhPublicKey,
    commitment: [u8; 32],
    /// Each `tag ‖ masked sender ‖ box with the root`, in the order of tags.
    invitations: &'a [u8],
    /// [`GroupInfo`], under a key from the root.
    group: &'a [u8],
}

/// One member's invitation in a welcome.
pub(crate) struct Invitation<'a> {
    address: Address,
    /// What a reader needs of the sender's key, masked.
    hidden: &'a [u8],
    /// The box with the root.
    sealed: &'a [u8],
}

/// What all who are added learn of the group.
struct GroupInfo<P: MemberPublicKey> {
    generation: u64,
    sender: MemberId,
    before: [u8; 32],
    commit: [u8; 32],
    roster: Roster<P>,
}

/// What a change is, to those who are added.
pub(crate) struct Invited<'a, K: MemberKeyPair> {
    pub(crate) keys: &'a K,
    pub(crate) sender: MemberId,
    pub(crate) step: &'a Step,
    pub(crate) commitment: &'a [u8; 32],
    /// The generation that the change makes.
    pub(crate) next: &'a Generation<K::PublicKey>,
    pub(crate) root: &'a Root,
}

impl<K: MemberKeyPair> Invited<'_, K> {
    /// The welcome part for `added`.
    pub(crate) fn welcome(&self, added: &[Entry<K::PublicKey>]) -> Result<Vec<u8>, KeyError> {
        let suite = self.keys.public_key().suite();
        let sender = Sender::of(self.keys.public_key());
        let welcome_keys = DhKeyPair::generate(suite.curve())?;
        let mut front = welcome_keys.public_key().to_bytes();
        front.extend_from_slice(self.commitment);

        let mut sealer = Sealer::new(self.keys)?;
        let mut invitations = Vec::with_capacity(added.len());
        for entry in added {
            let recipient = Recipient {
                id: &entry.id,
                key: entry.key.diffie_hellman_key(),
                welcome_key: welcome_keys.public_key(),
            };
            let address = Address::derive::<K::PublicKey>(suite, &welcome_keys, &recipient)?;
            let encapsulated = entry.key.encapsulate()?;
            let secret = encapsulated.as_ref().map(|it| &it.secret);
            let mut invitation = Vec::with_capacity(invitation_len(suite));
            invitation.extend_from_slice(&address.tag);
            invitation.extend_from_slice(&address.hide(&sender, secret));
            let info = info::<K::PublicKey>(suite, &self.step.binding, &entry.id);
            let (root, encapsulated) = (self.root.expose(), encapsulated.as_ref());
            let commitment = self.commitment;
            sealer.seal(&entry.key, encapsulated, &info, commitment, root, &mut invitation)?;
            invitations.push(invitation);
        }
        // The order of tags, which is none that tells anything. Two of 65536 have the same tag once in
        // 2^97 welcomes.
        invitations.sort_unstable();
        put_opaque(&mut front, &invitations.concat())?;

        let group = GroupInfo::encode(self.sender, self.step, self.next)?;
        let mut buffer = Buffer::new(&group);
        self.root
            .welcome_key(&self.step.binding)
            .seal(&digest::<K::PublicKey>(&front), &mut buffer)?;
        put_opaque(&mut front, buffer.as_slice())?;
        Ok(front)
    }
}

impl<'a> Welcome<'a> {
    /// Reads a welcome part of a group with keys of `suite`. Only the canonical encoding passes.
    pub(crate) fn decode<P: MemberPublicKey>(
        suite: P::Suite,
        part: &'a [u8],
    ) -> Result<Self, KeyError> {
        let mut reader = Reader::new(part);
        let welcome_key = reader.key()?;
        let commitment = reader.array()?;
        let invitations = reader.opaque()?;
        let rest = reader.rest();
        let front = part.strip_suffix(rest).ok_or(KeyError::Internal)?;
        let mut reader = Reader::new(rest);
        let group = reader.opaque()?;
        reader.end()?;
        let count = invitations.len() / invitation_len(suite);
        if welcome_key.curve() != suite.curve()
            || invitations.len() % invitation_len(suite) != 0
            || !(1..=P::MAX_MEMBERS).contains(&count)
        {
            return Err(KeyError::Rejected);
        }
        Ok(Self { front, welcome_key, commitment, invitations, group })
    }

    /// The invitation of the owner of `keys` as the member `id`, if there is one.
    pub(crate) fn invitation<K: MemberKeyPair>(
        &self,
        keys: &K,
        id: &MemberId,
    ) -> Result<Option<Invitation<'a>>, KeyError> {
        let suite = keys.public_key().suite();
        let (keys, welcome_key) = (keys.diffie_hellman_keys(), &self.welcome_key);
        let key = keys.public_key();
        let recipient = Recipient { id, key, welcome_key };
        let address = Address::derive::<K::PublicKey>(suite, keys, &recipient)
            .map_err(|_| KeyError::Rejected)?;
        let invitation = self
            .invitations
            .chunks_exact(invitation_len(suite))
            .find_map(|invitation| invitation.strip_prefix(&address.tag))
            .and_then(|rest| rest.split_at_checked(Sender::encoded_len(suite)));
        Ok(invitation.map(|(hidden, sealed)| Invitation { address, hidden, sealed }))
    }

    /// The generation that the owner of `keys` joins by its invitation as the member `id`, and who
    /// invited it.
    pub(crate) fn open<K: MemberKeyPair>(
        &self,
        invitation: &Invitation<'_>,
        keys: &K,
        id: MemberId,
        binding: &[u8; 32],
    ) -> Result<(Generation<K::PublicKey>, MemberId), KeyError> {
        let suite = keys.public_key().suite();
        let Invitation { address, hidden, sealed } = invitation;
        let (ciphertext, _) = hpke::split::<K>(suite, sealed, Root::LEN)?;
        let secret = keys.decapsulate(ciphertext)?;
        let secret = secret.as_ref();
        let sender = address.reveal(suite, hidden, secret)?;
        let info = info::<K::PublicKey>(suite, binding, &id);
        let (commitment, len) = (&self.commitment, Root::LEN);
        let opened = hpke::open_with(sealed, keys, secret, &sender, &info, commitment, len)?;
        let root =
            Root::from_bytes(K::PublicKey::LABEL, opened.expose()).ok_or(KeyError::Rejected)?;

        let mut buffer = Buffer::new(self.group);
        root.welcome_key(binding).open(&digest::<K::PublicKey>(self.front), &mut buffer)?;
        let group = GroupInfo::<K::PublicKey>::decode(suite, buffer.as_slice())?;
        let step = Step {
            kind: K::PublicKey::LABEL,
            generation: group.generation,
            binding: *binding,
            before: group.before,
            roster: group.roster.digest(),
        };
        if root.commitment(&step) != self.commitment
            || group.roster.key(&id) != Some(keys.public_key())
            || group.roster.key(&group.sender).map(Sender::of) != Some(sender)
            || group.sender == id
            || group.generation == 0
        {
            return Err(KeyError::Rejected);
        }
        let generation =
            Generation::new(&root, &step, &self.commitment, group.commit, group.roster);
        Ok((generation, group.sender))
    }
}

impl<P: MemberPublicKey> GroupInfo<P> {
    fn encode(sender: MemberId, step: &Step, next: &Generation<P>) -> Result<Vec<u8>, KeyError> {
        let roster = write_entries(Arc::as_ref(&next.roster).entries());
        let mut bytes = Vec::with_capacity(8 + 3 * 32 + 4 + roster.len());
        bytes.extend_from_slice(&step.generation.to_be_bytes());
        bytes.extend_from_slice(sender.as_bytes());
        bytes.extend_from_slice(&step.before);
        bytes.extend_from_slice(&next.commit);
        put_opaque(&mut bytes, &roster)?;
        Ok(bytes)
    }

    fn decode(suite: P::Suite, bytes: &[u8]) -> Result<Self, KeyError> {
        let mut reader = Reader::new(bytes);
        let generation = reader.number()?;
        let sender = MemberId::from_bytes(reader.array()?);
        let (before, commit) = (reader.array()?, reader.array()?);
        let roster = Roster::new(suite, &read_entries(suite, reader.opaque()?)?);
        reader.end()?;
        Ok(Self { generation, sender, before, commit, roster })
    }
}

fn invitation_len(suite: impl Suite) -> usize {
    TAG_LEN + Sender::encoded_len(suite) + box_len(suite, Root::LEN)
}

/// HPKE's `info` of an invitation. Generation and sender are in the group, for the new member does not
/// know them before.
fn info<P: MemberPublicKey>(suite: P::Suite, binding: &[u8; 32], recipient: &MemberId) -> Vec<u8> {
    [
        label(P::LABEL, "welcome").as_slice(),
        &suite.id().to_be_bytes(),
        binding,
        recipient.as_bytes(),
    ]
    .concat()
}

fn digest<P: MemberPublicKey>(front: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update(label(P::LABEL, "welcome front"))
        .chain_update(front)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Curve, DhPublicKey};

    #[test]
    fn an_invitation_is_for_one_member_and_of_one_change() {
        let id = |byte| MemberId::from_bytes([byte; 32]);
        let info =
            |suite, binding, recipient| info::<DhPublicKey>(suite, &[binding; 32], &id(recipient));
        let this = info(Curve::X25519, 1, 2);
        assert_ne!(info(Curve::P256, 1, 2), this);
        assert_ne!(info(Curve::X25519, 9, 2), this);
        assert_ne!(info(Curve::X25519, 1, 9), this);
    }
}
