//! How an invited member finds its invitation, and nobody else can tell whom a welcome invites or who
//! sends it.
//!
//! HPKE in Auth mode opens under the sender's public key, so the reader must have that first. A welcome has
//! a key that was drawn for it alone: with it and the invited member's key both sides come to a
//! Diffie-Hellman value, from which they derive a tag, and a mask under which the sender's key travels. Who
//! has seen all the key packages learns nothing from tags, masks and boxes but how many there are. This
//! hides; what authenticates is the box.

use alloc::vec::Vec;

use cc_core::{MemberId, Secret, key_use};

use crate::{DhKeyPair, DhPublicKey, KeyError, MemberPublicKey, Prk, Suite, member::Sender};

/// Where an invitation goes.
pub(crate) struct Address {
    /// By which the invited member finds it.
    pub(crate) tag: [u8; TAG_LEN],
    /// From which the mask is derived.
    mask_key: Prk,
}

/// Whom a welcome is for: the keys are the invited member's and the welcome's own.
pub(crate) struct Recipient<'a> {
    pub(crate) id: &'a MemberId,
    pub(crate) key: &'a DhPublicKey,
    pub(crate) welcome_key: &'a DhPublicKey,
}

impl Address {
    /// The address that the holder of one of the two private keys, `keys`, derives with the other public
    /// key. `P` is the kind of key that members have.
    pub(crate) fn derive<P: MemberPublicKey>(
        suite: P::Suite,
        keys: &DhKeyPair,
        recipient: &Recipient<'_>,
    ) -> Result<Self, KeyError> {
        let Recipient { id, key, welcome_key } = recipient;
        let other = if keys.public_key() == *key { welcome_key } else { key };
        let shared = keys.diffie_hellman(other)?;
        let prk = Prk::extract(P::LABEL, "invitation", shared.expose());
        let suite = suite.id().to_be_bytes();
        let fields: [&[u8]; 4] = [&suite, welcome_key.point(), key.point(), id.as_bytes()];
        let tag = *prk.expand("invitation tag", &fields).expose();
        let mask_key = Prk::new(P::LABEL, prk.expand("invitation sender", &fields));
        Ok(Self { tag, mask_key })
    }

    /// What a reader needs of the sender's key, masked: as long as it is. `secret` is that of the box's KEM
    /// ciphertext, where there is one.
    pub(crate) fn hide(&self, sender: &Sender, secret: Option<&Secret<32>>) -> Vec<u8> {
        let bytes = sender.to_bytes();
        let mask = self.mask(secret);
        let (used, _) = mask.expose().split_at(bytes.len().min(MASK_LEN));
        key_use::record("root welcome sender", used, &[]);
        bytes.iter().zip(used).map(|(byte, mask)| byte ^ mask).collect()
    }

    /// The sender's key. A wrong one is found out by the box, which does not open under it.
    pub(crate) fn reveal(
        &self,
        suite: impl Suite,
        hidden: &[u8],
        secret: Option<&Secret<32>>,
    ) -> Result<Sender, KeyError> {
        let mask = self.mask(secret);
        let bytes: Vec<u8> =
            hidden.iter().zip(mask.expose()).map(|(byte, mask)| byte ^ mask).collect();
        Sender::from_bytes(suite, &bytes)
    }

    fn mask(&self, secret: Option<&Secret<32>>) -> Secret<MASK_LEN> {
        let secret = secret.map_or(&[][..], |secret| secret.expose());
        self.mask_key.expand("invitation mask", &[secret])
    }
}

pub(crate) const TAG_LEN: usize = 16;
/// The longest point, that of P-256, and a digest.
const MASK_LEN: usize = 65 + 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Curve;

    #[test]
    fn both_sides_derive_one_address_and_a_second_welcome_another() {
        for curve in [Curve::X25519, Curve::P256] {
            let [welcome, other, recipient, sender] =
                [(); 4].map(|()| DhKeyPair::generate(curve).unwrap());
            let ids = [1, 2].map(|byte| MemberId::from_bytes([byte; 32]));
            let to = |id, welcome_key| Recipient { id, key: recipient.public_key(), welcome_key };
            let address = |keys: &DhKeyPair, to: &Recipient<'_>| {
                Address::derive::<DhPublicKey>(curve, keys, to).unwrap()
            };
            let sender = Sender::of(sender.public_key());
            let here = to(&ids[0], welcome.public_key());
            let [sent, found] = [&welcome, &recipient].map(|keys| address(keys, &here));
            assert_eq!(sent.tag, found.tag);
            let hidden = sent.hide(&sender, None);
            assert_eq!(hidden.len(), curve.public_key_len());
            assert_eq!(found.reveal(curve, &hidden, None).as_ref(), Ok(&sender));

            for elsewhere in [to(&ids[1], welcome.public_key()), to(&ids[0], other.public_key())] {
                let there = address(&recipient, &elsewhere);
                assert_ne!(there.tag, found.tag);
                let secret = Secret::copy_from(&[1; 32]);
                assert_ne!(found.reveal(curve, &hidden, secret.as_ref()).as_ref(), Ok(&sender));
                assert_ne!(there.reveal(curve, &hidden, None).as_ref(), Ok(&sender));
            }
        }
    }
}
