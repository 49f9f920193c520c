//! The welcome part: what those who are added get of a change. It travels in the clear.

use alloc::{sync::Arc, vec::Vec};

use cc_core::{Buffer, MemberId, limits::MAX_MEMBERS};
use sha2::{Digest, Sha256};

use crate::{
    Curve, DhError, DhKeyPair, DhPublicKey,
    codec::{Reader, put_opaque},
    group::{
        generation::Generation,
        invitation::{Address, Recipient, TAG_LEN},
        root::{Root, Step},
        roster::{Entry, Roster, read_entries, write_entries},
    },
    hpke::{self, Sealer, box_len},
};

/// A welcome part as it is read: nothing is copied, and one agreement and one decapsulation are all that
/// any number of invitations cost their reader.
pub(crate) struct Welcome<'a> {
    /// Everything before the group, which the group's encryption authenticates.
    front: &'a [u8],
    welcome_key: DhPublicKey,
    commitment: [u8; 32],
    /// Each `tag ‖ masked point of the sender's key ‖ box with the root`, in the order of tags.
    invitations: &'a [u8],
    /// [`GroupInfo`], under a key from the root.
    group: &'a [u8],
}

/// One member's invitation in a welcome.
pub(crate) struct Invitation<'a> {
    address: Address,
    /// The masked point of the sender's key.
    hidden: &'a [u8],
    /// The box with the root.
    sealed: &'a [u8],
}

/// What all who are added learn of the group.
struct GroupInfo {
    generation: u64,
    sender: MemberId,
    before: [u8; 32],
    commit: [u8; 32],
    roster: Roster,
}

/// What a change is, to those who are added.
pub(crate) struct Invited<'a> {
    pub(crate) keys: &'a DhKeyPair,
    pub(crate) sender: MemberId,
    pub(crate) step: &'a Step,
    pub(crate) commitment: &'a [u8; 32],
    /// The generation that the change makes.
    pub(crate) next: &'a Generation,
    pub(crate) root: &'a Root,
}

impl Invited<'_> {
    /// The welcome part for `added`.
    pub(crate) fn welcome(&self, added: &[Entry]) -> Result<Vec<u8>, DhError> {
        let curve = self.keys.curve();
        let welcome_keys = DhKeyPair::generate(curve)?;
        let mut front = welcome_keys.public_key().to_bytes();
        front.extend_from_slice(self.commitment);

        let mut sealer = Sealer::new(self.keys)?;
        let mut invitations = Vec::with_capacity(added.len());
        for entry in added {
            let recipient = Recipient {
                id: &entry.id,
                key: &entry.key,
                welcome_key: welcome_keys.public_key(),
            };
            let address = Address::derive(&welcome_keys, &recipient)?;
            let mut invitation = Vec::with_capacity(invitation_len(curve));
            invitation.extend_from_slice(&address.tag);
            invitation.extend_from_slice(&address.hide(self.keys.public_key()));
            let info = info(curve, &self.step.binding, &entry.id);
            let root = self.root.expose();
            sealer.seal(&entry.key, &info, self.commitment, root, &mut invitation)?;
            invitations.push(invitation);
        }
        // The order of tags, which is none that tells anything. Two of 65536 have the same tag once in
        // 2^97 welcomes.
        invitations.sort_unstable();
        put_opaque(&mut front, &invitations.concat())?;

        let group = GroupInfo::encode(self.sender, self.step, self.next)?;
        let mut buffer = Buffer::new(&group);
        self.root.welcome_key(&self.step.binding).seal(&digest(&front), &mut buffer)?;
        put_opaque(&mut front, buffer.as_slice())?;
        Ok(front)
    }
}

impl<'a> Welcome<'a> {
    /// Reads a welcome part of a group on `curve`. Only the canonical encoding passes.
    pub(crate) fn decode(curve: Curve, part: &'a [u8]) -> Result<Self, DhError> {
        let mut reader = Reader::new(part);
        let welcome_key = reader.key()?;
        let commitment = reader.array()?;
        let invitations = reader.opaque()?;
        let rest = reader.rest();
        let front = part.strip_suffix(rest).ok_or(DhError::Internal)?;
        let mut reader = Reader::new(rest);
        let group = reader.opaque()?;
        reader.end()?;
        let count = invitations.len() / invitation_len(curve);
        if welcome_key.curve() != curve
            || invitations.len() % invitation_len(curve) != 0
            || !(1..=MAX_MEMBERS).contains(&count)
        {
            return Err(DhError::Rejected);
        }
        Ok(Self { front, welcome_key, commitment, invitations, group })
    }

    /// The invitation of the owner of `keys` as the member `id`, if there is one.
    pub(crate) fn invitation(
        &self,
        keys: &DhKeyPair,
        id: &MemberId,
    ) -> Result<Option<Invitation<'a>>, DhError> {
        let curve = keys.curve();
        let (key, welcome_key) = (keys.public_key(), &self.welcome_key);
        let recipient = Recipient { id, key, welcome_key };
        let address = Address::derive(keys, &recipient).map_err(|_| DhError::Rejected)?;
        let invitation = self
            .invitations
            .chunks_exact(invitation_len(curve))
            .find_map(|invitation| invitation.strip_prefix(&address.tag))
            .and_then(|rest| rest.split_at_checked(curve.public_key_len()));
        Ok(invitation.map(|(hidden, sealed)| Invitation { address, hidden, sealed }))
    }

    /// The generation that the owner of `keys` joins by its invitation as the member `id`, and who
    /// invited it.
    pub(crate) fn open(
        &self,
        invitation: &Invitation<'_>,
        keys: &DhKeyPair,
        id: MemberId,
        binding: &[u8; 32],
    ) -> Result<(Generation, MemberId), DhError> {
        let curve = keys.curve();
        let Invitation { address, hidden, sealed } = invitation;
        let sender_key = address.reveal(curve, hidden)?;
        let info = info(curve, binding, &id);
        let opened = hpke::open(sealed, keys, &sender_key, &info, &self.commitment, Root::LEN)?;
        let root = Root::from_bytes(opened.expose()).ok_or(DhError::Rejected)?;

        let mut buffer = Buffer::new(self.group);
        root.welcome_key(binding).open(&digest(self.front), &mut buffer)?;
        let group = GroupInfo::decode(curve, buffer.as_slice())?;
        let step = Step {
            generation: group.generation,
            binding: *binding,
            before: group.before,
            roster: group.roster.digest(),
        };
        if root.commitment(&step) != self.commitment
            || group.roster.key(&id) != Some(keys.public_key())
            || group.roster.key(&group.sender) != Some(&sender_key)
            || group.sender == id
            || group.generation == 0
        {
            return Err(DhError::Rejected);
        }
        let generation =
            Generation::new(&root, &step, &self.commitment, group.commit, group.roster);
        Ok((generation, group.sender))
    }
}

impl GroupInfo {
    fn encode(sender: MemberId, step: &Step, next: &Generation) -> Result<Vec<u8>, DhError> {
        let roster = write_entries(Arc::as_ref(&next.roster).entries());
        let mut bytes = Vec::with_capacity(8 + 3 * 32 + 4 + roster.len());
        bytes.extend_from_slice(&step.generation.to_be_bytes());
        bytes.extend_from_slice(sender.as_bytes());
        bytes.extend_from_slice(&step.before);
        bytes.extend_from_slice(&next.commit);
        put_opaque(&mut bytes, &roster)?;
        Ok(bytes)
    }

    fn decode(curve: Curve, bytes: &[u8]) -> Result<Self, DhError> {
        let mut reader = Reader::new(bytes);
        let generation = reader.number()?;
        let sender = MemberId::from_bytes(reader.array()?);
        let (before, commit) = (reader.array()?, reader.array()?);
        let roster = Roster::new(curve, &read_entries(curve, reader.opaque()?)?);
        reader.end()?;
        Ok(Self { generation, sender, before, commit, roster })
    }
}

const fn invitation_len(curve: Curve) -> usize {
    TAG_LEN + curve.public_key_len() + box_len(curve, Root::LEN)
}

/// HPKE's `info` of an invitation. Generation and sender are in the group, for the new member does not
/// know them before.
fn info(curve: Curve, binding: &[u8; 32], recipient: &MemberId) -> Vec<u8> {
    [
        b"cascading-cipher/1 dh welcome".as_slice(),
        &curve.id().to_be_bytes(),
        binding,
        recipient.as_bytes(),
    ]
    .concat()
}

fn digest(front: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update(b"cascading-cipher/1 dh welcome front")
        .chain_update(front)
        .finalize()
        .into()
}
