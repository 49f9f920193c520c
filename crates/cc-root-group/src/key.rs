//! Key pairs, and public keys that were checked.

use alloc::vec::Vec;
use core::fmt;

use cc_core::{RandomError, Secret, with_clean_stack};
use cc_primitives::{p256, x25519};

use crate::{Curve, Fingerprint, KeyError, MemberPublicKey, PairFingerprint, codec};

/// A private key and its public key. The private key is zeroized on drop and never printed.
pub struct DhKeyPair {
    private: Secret<32>,
    public: DhPublicKey,
}

impl DhKeyPair {
    /// A new key pair from the operating system's generator.
    ///
    /// # Errors
    /// [`KeyError::Random`] when the generator fails.
    pub fn generate(curve: Curve) -> Result<Self, KeyError> {
        for _ in 0..MAX_TRIES {
            match Self::from_private_key(curve, Secret::random()?) {
                Err(KeyError::PrivateKey) => {}
                result => return result,
            }
        }
        Err(KeyError::Random(RandomError))
    }

    /// The key pair with this private key: 32 bytes, for X25519 any (they are clamped on use, RFC 7748
    /// section 5), for P-256 a big-endian scalar between 1 and the group order.
    ///
    /// # Errors
    /// [`KeyError::PrivateKey`] for a P-256 scalar out of range.
    pub fn from_private_key(curve: Curve, private: Secret<32>) -> Result<Self, KeyError> {
        let point = with_clean_stack::<STACK, _>(|| match curve {
            Curve::X25519 => Ok(Point::X25519(x25519::public_key(&private))),
            Curve::P256 => p256::public_key(&private).map(Point::P256).ok_or(KeyError::PrivateKey),
        })?;
        Ok(Self { private, public: DhPublicKey(point) })
    }

    /// The private key, 32 bytes, as [`from_private_key`](Self::from_private_key) takes it. Whoever has
    /// it reads everything and can speak in this member's name.
    #[must_use]
    pub fn private_key(&self) -> &Secret<32> {
        &self.private
    }

    /// The public key, to be given to others.
    #[must_use]
    pub const fn public_key(&self) -> &DhPublicKey {
        &self.public
    }

    /// The curve.
    #[must_use]
    pub const fn curve(&self) -> Curve {
        self.public.curve()
    }

    /// The bare Diffie-Hellman value: 32 bytes, RFC 7748 section 6.1 or the x-coordinate of SP 800-56A
    /// section 5.7.1.2. Not uniformly random: it goes through a KDF before use.
    ///
    /// # Errors
    /// [`KeyError::SuiteMismatch`] for a key of the other curve, [`KeyError::PublicKey`] when the result
    /// does not depend on the private key.
    pub fn diffie_hellman(&self, peer: &DhPublicKey) -> Result<Secret<32>, KeyError> {
        with_clean_stack::<STACK, _>(|| self.agree(peer))
    }

    fn agree(&self, peer: &DhPublicKey) -> Result<Secret<32>, KeyError> {
        match (self.curve(), &peer.0) {
            (Curve::X25519, Point::X25519(point)) => x25519::agree(&self.private, point),
            (Curve::P256, Point::P256(point)) => p256::agree(&self.private, point),
            _ => return Err(KeyError::SuiteMismatch),
        }
        // The keys were checked: only X25519 could refuse one, and no key of low order gets here.
        .ok_or(KeyError::PublicKey)
    }
}

impl fmt::Debug for DhKeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DhKeyPair").field("public", &self.public).finish_non_exhaustive()
    }
}

/// A public key that was checked: canonically encoded, on its curve (or, for X25519, on its twist,
/// which RFC 7748 allows), not the point at infinity and not of low order.
///
/// Bytes become one only through the checks, so whatever takes a `DhPublicKey` need not repeat them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DhPublicKey(Point);

impl DhPublicKey {
    /// Checks the bytes of a public key on `curve`: 32 bytes for X25519 (RFC 7748 section 5), 65 for
    /// P-256 (SEC 1 section 2.3.3, uncompressed).
    ///
    /// # Errors
    /// [`KeyError::PublicKey`] for anything else, for an encoding that is not the canonical one, for a
    /// point not on the curve, of low order, or at infinity.
    pub fn from_point(curve: Curve, point: &[u8]) -> Result<Self, KeyError> {
        let checked = match curve {
            Curve::X25519 => check_x25519(point).map(Point::X25519),
            Curve::P256 => check_p256(point).map(Point::P256),
        };
        checked.map(Self).ok_or(KeyError::PublicKey)
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote, with the checks of
    /// [`from_point`](Self::from_point).
    ///
    /// # Errors
    /// [`KeyError::PublicKey`] for an unknown curve, a truncated or not canonical encoding, or bytes
    /// left over, and as for `from_point`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        Self::from_wire(bytes)
    }

    /// The key with its curve in front: the [curve id](Curve::id) in 2 bytes, the length of the point
    /// (RFC 9420 section 2.1.2: 1 byte for X25519, 2 for P-256), the point. 35 or 69 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_wire()
    }

    /// Bytes that [`to_bytes`](Self::to_bytes) gives for a key on `curve`.
    pub(crate) const fn encoded_len(curve: Curve) -> usize {
        let (_, prefix_len) = codec::short_len(curve.public_key_len());
        2 + prefix_len + curve.public_key_len()
    }

    /// The curve.
    #[must_use]
    pub const fn curve(&self) -> Curve {
        match self.0 {
            Point::X25519(_) => Curve::X25519,
            Point::P256(_) => Curve::P256,
        }
    }

    /// The bytes of the point alone, as [`from_point`](Self::from_point) takes them.
    #[must_use]
    pub fn point(&self) -> &[u8] {
        match &self.0 {
            Point::X25519(point) => point,
            Point::P256(point) => point,
        }
    }

    /// A text for people to compare over a channel they trust.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self)
    }

    /// A text that two people compare at once: the same from both sides.
    #[must_use]
    pub fn fingerprint_with(&self, other: &Self) -> PairFingerprint {
        PairFingerprint::of(self, other)
    }
}

impl fmt::Debug for DhPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DhPublicKey({}, ", self.curve())?;
        self.point().iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Point {
    // In the order of the curve ids, so that points sort as their encodings do.
    P256([u8; 65]),
    X25519([u8; 32]),
}

/// RFC 7748 section 5 lets implementations accept values not below p and a set top bit. Both would
/// give one key several encodings, and with them several fingerprints and member ids.
fn check_x25519(point: &[u8]) -> Option<[u8; 32]> {
    let point: [u8; 32] = point.try_into().ok()?;
    let below_p = point.iter().rev().lt(P25519.iter().rev());
    (below_p && !LOW_ORDER.contains(&point)).then_some(point)
}

fn check_p256(point: &[u8]) -> Option<[u8; 65]> {
    p256::is_point(point).then(|| point.try_into().ok())?
}

/// 2^255 - 19, little-endian.
const P25519: [u8; 32] = {
    let mut p = [0xff; 32];
    p[0] = 0xed;
    p[31] = 0x7f;
    p
};

/// All canonical u-coordinates of points of order 1, 2, 4 and 8 on the curve and its twist.
/// <https://cr.yp.to/ecdh.html#validate>
const LOW_ORDER: [[u8; 32]; 5] = [
    [0; 32],
    {
        let mut one = [0; 32];
        one[0] = 1;
        one
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
    {
        let mut minus_one = P25519;
        minus_one[0] = 0xec;
        minus_one
    },
];

/// A random scalar is out of range for P-256 once in 2^32.
const MAX_TRIES: usize = 16;
/// What a scalar multiplication leaves on the stack is within this.
const STACK: usize = 16 << 10;

#[cfg(test)]
mod tests;
