//! How an invited member finds its invitation, and nobody else can tell whom a welcome invites or who
//! sends it.
//!
//! HPKE in Auth mode opens under the sender's public key, so the reader must have that first. A welcome has
//! a key that was drawn for it alone: with it and the invited member's key both sides come to a
//! Diffie-Hellman value, from which they derive a tag, and a mask under which the sender's key travels. Who
//! has seen all the key packages learns nothing from tags, masks and boxes but how many there are. This
//! hides; what authenticates is the box.

use cc_core::{MemberId, Secret, key_use};

use crate::{Curve, DhError, DhKeyPair, DhPublicKey, kdf::Prk};

/// Where an invitation goes.
pub(crate) struct Address {
    /// By which the invited member finds it.
    pub(crate) tag: [u8; TAG_LEN],
    mask: Secret<MASK_LEN>,
}

/// Whom a welcome is for: the keys are the invited member's and the welcome's own.
pub(crate) struct Recipient<'a> {
    pub(crate) id: &'a MemberId,
    pub(crate) key: &'a DhPublicKey,
    pub(crate) welcome_key: &'a DhPublicKey,
}

impl Address {
    /// The address that the holder of one of the two private keys, `keys`, derives with the other public
    /// key.
    pub(crate) fn derive(keys: &DhKeyPair, recipient: &Recipient<'_>) -> Result<Self, DhError> {
        let Recipient { id, key, welcome_key } = recipient;
        let other = if keys.public_key() == *key { welcome_key } else { key };
        let shared = keys.diffie_hellman(other)?;
        let prk = Prk::extract(b"cascading-cipher/1 dh invitation", shared.expose());
        let curve = keys.curve().id().to_be_bytes();
        let fields: [&[u8]; 4] = [&curve, welcome_key.point(), key.point(), id.as_bytes()];
        let tag = *prk.expand(b"invitation tag", &fields).expose();
        Ok(Self { tag, mask: prk.expand(b"invitation sender", &fields) })
    }

    /// The point of the sender's key, masked: as long as the point.
    pub(crate) fn hide(&self, sender: &DhPublicKey) -> alloc::vec::Vec<u8> {
        let (mask, _) = self.mask.expose().split_at(sender.curve().public_key_len());
        key_use::record("dh welcome sender", mask, &[]);
        sender.point().iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect()
    }

    /// The sender's key. A wrong one is found out by the box, which does not open under it.
    pub(crate) fn reveal(&self, curve: Curve, hidden: &[u8]) -> Result<DhPublicKey, DhError> {
        let point: alloc::vec::Vec<u8> =
            hidden.iter().zip(self.mask.expose()).map(|(byte, mask)| byte ^ mask).collect();
        DhPublicKey::from_point(curve, &point).map_err(|_| DhError::Rejected)
    }
}

pub(crate) const TAG_LEN: usize = 16;
/// The longest point, that of P-256.
const MASK_LEN: usize = 65;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_derive_one_address_and_a_second_welcome_another() {
        for curve in [Curve::X25519, Curve::P256] {
            let [welcome, other, recipient, sender] =
                [(); 4].map(|()| DhKeyPair::generate(curve).unwrap());
            let ids = [1, 2].map(|byte| MemberId::from_bytes([byte; 32]));
            let to = |id, welcome_key| Recipient { id, key: recipient.public_key(), welcome_key };
            let address = |keys: &DhKeyPair, to: &Recipient<'_>| Address::derive(keys, to).unwrap();
            let here = to(&ids[0], welcome.public_key());
            let [sent, found] = [&welcome, &recipient].map(|keys| address(keys, &here));
            assert_eq!(sent.tag, found.tag);
            let hidden = sent.hide(sender.public_key());
            assert_eq!(hidden.len(), curve.public_key_len());
            assert_eq!(found.reveal(curve, &hidden).as_ref(), Ok(sender.public_key()));

            for elsewhere in [to(&ids[1], welcome.public_key()), to(&ids[0], other.public_key())] {
                let there = address(&recipient, &elsewhere);
                assert_ne!(there.tag, found.tag);
                assert_ne!(there.reveal(curve, &hidden).as_ref(), Ok(sender.public_key()));
            }
        }
    }
}
