//! The commit part and the welcome part, byte by byte. Decoding accepts the canonical encoding only.

use alloc::{format, vec::Vec};

use cc_core::{MemberId, Opaque, decode_list, limits::MAX_MEMBERS};
use sha2::{Digest, Sha256};
use tls_codec::{
    DeserializeBytes, Error, SerializeBytes, TlsDeserializeBytes, TlsSerializeBytes, TlsSize,
};

use crate::{DhError, DhPublicKey, hpke::SealedBox, key::WireKey, roster::WireEntry};

/// For those who are in the group already. Behind it in the part come the 32 bytes of the membership
/// tag.
#[derive(Debug, Clone, PartialEq, Eq, TlsSize, TlsSerializeBytes)]
pub(crate) struct Commit {
    /// The generation it makes.
    pub(crate) generation: u64,
    /// Whose change it is.
    pub(crate) sender: [u8; 32],
    /// In the order of ids.
    pub(crate) removed: Vec<[u8; 32]>,
    /// In the order of ids.
    pub(crate) added: Vec<WireEntry>,
    /// For every member before the change but the sender, in the order of ids: the new root for those
    /// who stay, nothing for those who go.
    pub(crate) boxes: Vec<SealedBox>,
}

impl Commit {
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DhError> {
        decode(bytes)
    }
}

/// For those who are added. It travels in the clear.
#[derive(Debug, Clone, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
pub(crate) struct Welcome {
    /// Everything the roster's encryption authenticates.
    pub(crate) front: WelcomeFront,
    /// The [`WelcomeRoster`], under a key from the root.
    pub(crate) roster: Opaque,
}

#[derive(Debug, Clone, PartialEq, Eq, TlsSize, TlsSerializeBytes)]
pub(crate) struct WelcomeFront {
    /// The key that Auth mode opens under.
    pub(crate) sender: WireKey,
    /// In the order of tags.
    pub(crate) invitations: Vec<Invitation>,
}

/// One new member's part of a welcome.
#[derive(Debug, Clone, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
pub(crate) struct Invitation {
    /// By which the member finds it.
    pub(crate) tag: [u8; 8],
    /// Holds a [`Grant`].
    pub(crate) grant: SealedBox,
}

/// What HPKE seals to a new member. 104 bytes.
#[derive(Debug, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
pub(crate) struct Grant {
    pub(crate) root: [u8; 32],
    pub(crate) generation: u64,
    pub(crate) sender: [u8; 32],
    pub(crate) roster_digest: [u8; 32],
}

impl Grant {
    pub(crate) const LEN: usize = 104;
}

impl Drop for Grant {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.root);
    }
}

/// The members in the order of ids, in a welcome and in a store.
#[derive(Debug, Clone, PartialEq, Eq, TlsSize, TlsSerializeBytes)]
pub(crate) struct WelcomeRoster {
    pub(crate) entries: Vec<WireEntry>,
}

impl Welcome {
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DhError> {
        let welcome: Self = decode(bytes)?;
        let invitations = &welcome.front.invitations;
        // No tag twice: one welcome costs its reader one decapsulation.
        if !ascending(invitations) {
            return Err(DhError::Rejected);
        }
        Ok(welcome)
    }
}

/// A list of at most [`MAX_MEMBERS`], counted while it is read: what a stranger sends as a welcome must
/// not become millions of elements first.
fn members<T: DeserializeBytes>(bytes: &[u8]) -> Result<(Vec<T>, &[u8]), Error> {
    decode_list(bytes, MAX_MEMBERS).map_err(|_| Error::InvalidVectorLength)
}

impl DeserializeBytes for Commit {
    fn tls_deserialize_bytes(bytes: &[u8]) -> Result<(Self, &[u8]), Error> {
        let (generation, rest) = u64::tls_deserialize_bytes(bytes)?;
        let (sender, rest) = <[u8; 32]>::tls_deserialize_bytes(rest)?;
        let (removed, rest) = members(rest)?;
        let (added, rest) = members(rest)?;
        let (boxes, rest) = members(rest)?;
        Ok((Self { generation, sender, removed, added, boxes }, rest))
    }
}

impl DeserializeBytes for WelcomeFront {
    fn tls_deserialize_bytes(bytes: &[u8]) -> Result<(Self, &[u8]), Error> {
        let (sender, rest) = WireKey::tls_deserialize_bytes(bytes)?;
        let (invitations, rest) = members(rest)?;
        Ok((Self { sender, invitations }, rest))
    }
}

impl DeserializeBytes for WelcomeRoster {
    fn tls_deserialize_bytes(bytes: &[u8]) -> Result<(Self, &[u8]), Error> {
        let (entries, rest) = members(bytes)?;
        Ok((Self { entries }, rest))
    }
}

/// Whether every tag is greater than the one before it.
pub(crate) fn ascending(invitations: &[Invitation]) -> bool {
    invitations.windows(2).all(|pair| matches!(pair, [a, b] if a.tag < b.tag))
}

/// By what a new member finds its invitation, without showing an observer more than that somebody whose
/// key they must already know is invited.
pub(crate) fn recipient_tag(binding: &[u8; 32], recipient: &DhPublicKey) -> [u8; 8] {
    let digest: [u8; 32] = Sha256::new()
        .chain_update(b"cascading-cipher/1 dh recipient")
        .chain_update(binding)
        .chain_update(recipient.to_bytes())
        .finalize()
        .into();
    digest.first_chunk().copied().unwrap_or_default()
}

/// HPKE's `info` of a box in a commit.
pub(crate) fn commit_info(
    curve: crate::Curve,
    binding: &[u8; 32],
    generation: u64,
    sender: &MemberId,
    recipient: &MemberId,
) -> Vec<u8> {
    [
        b"cascading-cipher/1 dh commit".as_slice(),
        &curve.id().to_be_bytes(),
        binding,
        &generation.to_be_bytes(),
        sender.as_bytes(),
        recipient.as_bytes(),
    ]
    .concat()
}

/// HPKE's `info` of an invitation. Generation and sender are inside, for the new member does not know
/// them before.
pub(crate) fn welcome_info(
    curve: crate::Curve,
    binding: &[u8; 32],
    recipient: &MemberId,
) -> Vec<u8> {
    [
        b"cascading-cipher/1 dh welcome".as_slice(),
        &curve.id().to_be_bytes(),
        binding,
        recipient.as_bytes(),
    ]
    .concat()
}

/// The digest of some of a part's bytes, for what authenticates them.
pub(crate) fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(b"cascading-cipher/1 dh part").chain_update(bytes).finalize().into()
}

pub(crate) fn encode(object: &impl SerializeBytes) -> Result<Vec<u8>, DhError> {
    object.tls_serialize_bytes().map_err(|_| DhError::Internal)
}

/// Reads all of `bytes`; only the canonical encoding passes.
pub(crate) fn decode<T: DeserializeBytes + SerializeBytes>(bytes: &[u8]) -> Result<T, DhError> {
    let object = T::tls_deserialize_exact_bytes(bytes).map_err(|_| DhError::Rejected)?;
    if encode(&object)? == bytes { Ok(object) } else { Err(DhError::Rejected) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Curve, DhKeyPair};

    /// A stranger can send a welcome: the reader stops at the first invitation too many, and does not
    /// look at what comes behind it.
    #[test]
    fn a_list_is_counted_while_it_is_read() {
        let keys = DhKeyPair::generate(Curve::X25519).unwrap();
        // A tag, and two empty strings: 10 bytes each.
        let mut invitations = alloc::vec![0; (MAX_MEMBERS + 1) * 10];
        invitations.extend([0xff; 20]);
        let mut front = WireKey::from(keys.public_key()).tls_serialize_bytes().unwrap();
        front.extend(Opaque(invitations).tls_serialize_bytes().unwrap());
        assert_eq!(
            WelcomeFront::tls_deserialize_bytes(&front).err(),
            Some(Error::InvalidVectorLength)
        );
        front.extend([0]);
        assert_eq!(Welcome::decode(&front).err(), Some(DhError::Rejected));
    }
}
