//! Whether an HPKE public key can be encrypted to (RFC 9420 sections 5.1.1 and 7.3, RFC 9180 section 7.1.4).
//!
//! A commit encrypts to the keys of other members. One key among them that cannot be encrypted to makes it fail,
//! whoever commits, until its owner is removed, and the removal may need the same key. So none may come in: not
//! by a key package, not by a leaf or a path of a commit, and nobody joins a group that has one.

use openmls::{
    prelude::{
        HpkeKemType, LeafNode, ParentNode,
        tls_codec::{DeserializeBytes as _, VLBytes},
    },
    treesync::TreeSync,
};
use openmls_traits::{OpenMlsProvider as _, crypto::OpenMlsCrypto as _};

use crate::{config::Ciphersuite, provider::Provider};

/// Whether an encryption to `key` succeeds.
pub(crate) fn is_usable(provider: &Provider, suite: Ciphersuite, key: &[u8]) -> bool {
    match suite.hpke_kem_algorithm() {
        HpkeKemType::DhKem25519 => key.try_into().is_ok_and(|key: [u8; 32]| !is_low_order(key)),
        // HPKE has no other form (RFC 9180 section 7.1.1).
        HpkeKemType::DhKemP256 => cc_primitives::p256::is_point(key),
        // The post-quantum ones check what they must when they encrypt, and are quick enough to be tried.
        _ => provider.crypto().hpke_seal(suite.hpke_config(), key, b"", b"", b"").is_ok(),
    }
}

/// Whether X25519 with this key gives zero for every private key, which HPKE refuses (RFC 7748 section 6.1).
/// The bytes of these keys are public, so nothing here takes constant time.
fn is_low_order(mut key: [u8; 32]) -> bool {
    // The first bit is ignored (RFC 7748 section 5).
    key[31] &= 0x7f;
    LOW_ORDER.contains(&key)
}

/// All encodings of the points of order 1, 2, 4 and 8 on Curve25519 and its twist, the first bit aside.
const LOW_ORDER: [[u8; 32]; 7] = [
    little_endian(0, 0),
    little_endian(1, 0),
    // The two of order 8: section "Check all-zero" of <https://cr.yp.to/ecdh.html>.
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
    // p - 1, p and p + 1, with p = 2^255 - 19.
    little_endian(0xec, 0xff),
    little_endian(0xed, 0xff),
    little_endian(0xee, 0xff),
];

/// 32 bytes: the lowest, then a filling, the last without its first bit.
const fn little_endian(lowest: u8, filling: u8) -> [u8; 32] {
    let mut bytes = [filling; 32];
    bytes[0] = lowest;
    bytes[31] &= 0x7f;
    bytes
}

/// Whether the key of a leaf is usable.
pub(crate) fn leaf_is_usable(provider: &Provider, suite: Ciphersuite, leaf: &LeafNode) -> bool {
    // What `encryption_key` gives shows its bytes to openmls alone, but they are all of its encoding.
    encoded_key(leaf.encryption_key()).is_some_and(|key| is_usable(provider, suite, &key))
}

/// Whether the keys of all parents above `leaf` are usable.
pub(crate) fn path_is_usable(
    provider: &Provider,
    suite: Ciphersuite,
    tree: &TreeSync,
    leaf: u32,
) -> bool {
    parents_are_usable(provider, suite, tree, |parent| is_above(leaf, parent))
}

/// Whether the keys of all parents in the tree are usable.
pub(crate) fn tree_is_usable(provider: &Provider, suite: Ciphersuite, tree: &TreeSync) -> bool {
    parents_are_usable(provider, suite, tree, |_| true)
}

fn parents_are_usable(
    provider: &Provider,
    suite: Ciphersuite,
    tree: &TreeSync,
    of_interest: impl Fn(u32) -> bool,
) -> bool {
    tree.full_parents()
        .filter(|(index, _)| of_interest(index.u32()))
        .all(|(_, parent)| parent_key(parent).is_some_and(|key| is_usable(provider, suite, &key)))
}

/// A parent node begins with its key (section 7.1).
fn parent_key(parent: &ParentNode) -> Option<Vec<u8>> {
    encoded_key(parent)
}

/// The vector that an encoding begins with.
pub(crate) fn encoded_key(node: &impl openmls::prelude::tls_codec::Serialize) -> Option<Vec<u8>> {
    let bytes = node.tls_serialize_detached().ok()?;
    VLBytes::tls_deserialize_bytes(&bytes).ok().map(|(key, _)| key.into())
}

/// Whether a parent, by its number among the parents, is above a leaf. Nodes are numbered as in RFC 9420
/// appendix C: a node of level k ends in a zero and k ones, and what is in front of these is what is in front
/// of the last k bits of the leaves below it.
const fn is_above(leaf: u32, parent: u32) -> bool {
    let node = 2 * parent as u64 + 1;
    let level = node.trailing_ones();
    node >> (level + 1) == (leaf as u64) >> level
}

#[cfg(test)]
mod tests {
    use openmls_traits::crypto::OpenMlsCrypto as _;
    use proptest::prelude::*;

    use super::*;
    use crate::{MlsConfig, roster::Ids, storage::Storage};

    fn provider() -> Provider {
        Provider::new(Ids::ApplicationId, Storage::default())
    }

    fn encrypts(provider: &Provider, suite: Ciphersuite, key: &[u8]) -> bool {
        provider.crypto().hpke_seal(suite.hpke_config(), key, b"", b"", b"secret").is_ok()
    }

    /// A public key of the suite.
    fn key(provider: &Provider, suite: Ciphersuite, seed: u8) -> Vec<u8> {
        provider.crypto().derive_hpke_keypair(suite.hpke_config(), &[seed; 64]).unwrap().public
    }

    #[test]
    fn a_key_is_usable_when_an_encryption_to_it_succeeds() {
        let provider = provider();
        for suite in MlsConfig::ciphersuites() {
            let good = key(&provider, suite, 7);
            assert!(is_usable(&provider, suite, &good), "{suite:?}");
            let len = good.len();
            let mut longer = good.clone();
            longer.push(0);
            let mut bad = vec![vec![], vec![0; len], vec![0xff; len], longer];
            bad.push(good[..len - 1].to_vec());
            bad.push(good[1..].to_vec());
            for bad in bad {
                let says = is_usable(&provider, suite, &bad);
                // 32 bytes of ones are a key of X25519 like any other.
                let encrypts = encrypts(&provider, suite, &bad);
                assert!(says == encrypts, "{suite:?} {bad:?}: {says} {encrypts}");
                assert!(!says || bad[..] == [0xff; 32], "{suite:?} {bad:?}");
            }
        }
    }

    #[test]
    fn no_low_order_point_of_x25519_is_usable() {
        let provider = provider();
        let suite = Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519;
        for point in LOW_ORDER {
            for first_bit in [0, 0x80] {
                let mut point = point;
                point[31] |= first_bit;
                assert!(!is_usable(&provider, suite, &point), "{point:x?}");
                assert!(!encrypts(&provider, suite, &point), "{point:x?}");
            }
        }
    }

    #[test]
    fn a_point_off_the_curve_is_not_usable_nor_one_in_another_form() {
        let provider = provider();
        let suite = Ciphersuite::MLS_128_DHKEMP256_AES128GCM_SHA256_P256;
        let good = key(&provider, suite, 7);
        for at in [0, 1, 33, 64] {
            let mut off = good.clone();
            off[at] ^= 1;
            assert!(!is_usable(&provider, suite, &off), "{at}");
            assert!(!encrypts(&provider, suite, &off), "{at}");
        }
        let compressed = [&[2 + (good[64] & 1)][..], &good[1..33]].concat();
        assert!(!is_usable(&provider, suite, &compressed));
        assert!(!is_usable(&provider, suite, &[0]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn any_bytes_are_usable_exactly_when_they_encrypt(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 32),
                prop::collection::vec(any::<u8>(), 65),
                prop::collection::vec(any::<u8>(), 0..70),
            ],
            suite in prop::sample::select(MlsConfig::ciphersuites()),
        ) {
            let provider = provider();
            prop_assert_eq!(
                is_usable(&provider, suite, &bytes),
                encrypts(&provider, suite, &bytes)
            );
        }
    }

    /// The tree of eight leaves of RFC 9420 appendix C: the parents by their number are the nodes 1, 3, 5
    /// and so on.
    #[test]
    fn the_parents_above_a_leaf_are_those_of_its_direct_path() {
        let above = |leaf| -> Vec<u32> {
            (0..7).filter(|parent| is_above(leaf, *parent)).map(|parent| 2 * parent + 1).collect()
        };
        assert_eq!(above(0), [1, 3, 7]);
        assert_eq!(above(1), [1, 3, 7]);
        assert_eq!(above(3), [3, 5, 7]);
        assert_eq!(above(4), [7, 9, 11]);
        assert_eq!(above(7), [7, 11, 13]);
        assert!(is_above(u32::MAX, (u32::MAX - 1) / 2));
    }
}
