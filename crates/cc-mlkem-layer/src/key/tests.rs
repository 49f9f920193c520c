use alloc::format;

use super::*;

const SETS: [ParameterSet; 2] = [ParameterSet::MlKem768, ParameterSet::MlKem1024];

#[test]
fn a_key_is_read_as_it_was_written_and_nothing_else_is() {
    for (set, len) in SETS.into_iter().zip([1220, 1604]) {
        let key = HybridKeyPair::generate(set).unwrap().public_key().clone();
        let bytes = key.to_bytes();
        assert_eq!(bytes.len(), len);
        assert_eq!(HybridPublicKey::from_bytes(&bytes).unwrap(), key);
        for cut in [0, 1, 2, 3, 4, 5, 36, len / 2, len - 1] {
            assert_eq!(HybridPublicKey::from_bytes(&bytes[..cut]), Err(KeyError::PublicKey));
        }
        let refused = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut other = bytes.clone();
            change(&mut other);
            assert_eq!(HybridPublicKey::from_bytes(&other), Err(KeyError::PublicKey));
        };
        refused(&|bytes| bytes.push(0));
        refused(&|bytes| bytes[1] ^= 1);
        refused(&|bytes| bytes[3] ^= 1);
        // A coefficient that is not reduced, a point of low order, a point with another encoding.
        refused(&|bytes| bytes[4..6].fill(0xff));
        refused(&|bytes| bytes[len - 32..].fill(0));
        refused(&|bytes| bytes[len - 1] |= 0x80);
    }
}

#[test]
fn a_private_key_makes_the_same_key_pair_again() {
    for set in SETS {
        let keys = HybridKeyPair::generate(set).unwrap();
        let private = keys.private_key();
        assert_eq!(private.expose().len(), 96);
        let again = HybridKeyPair::from_private_key(set, private.expose()).unwrap();
        assert_eq!(again.public_key(), keys.public_key());
        for len in [0, 31, 32, 95] {
            let cut = HybridKeyPair::from_private_key(set, &private.expose()[..len]);
            assert_eq!(cut.err(), Some(KeyError::PrivateKey));
        }
        let encapsulated = MemberPublicKey::encapsulate(keys.public_key()).unwrap().unwrap();
        let opened = MemberKeyPair::decapsulate(&again, &encapsulated.ciphertext).unwrap();
        assert_eq!(opened, Some(encapsulated.secret));
    }
}

#[test]
fn nothing_private_shows() {
    let keys = HybridKeyPair::generate(ParameterSet::MlKem768).unwrap();
    let shown = format!("{keys:?}");
    let private = keys.private_key();
    for window in private.expose().windows(8) {
        assert!(!shown.contains(&hex::encode(window)));
        assert!(!shown.contains(&format!("{window:?}")));
    }
    assert!(shown.contains("ML-KEM-768"));
}

#[test]
fn fingerprints_tell_keys_apart_from_both_sides() {
    let [a, b] = [(); 2].map(|()| HybridKeyPair::generate(ParameterSet::MlKem768).unwrap());
    let [a, b] = [a.public_key(), b.public_key()];
    assert_ne!(a.fingerprint(), b.fingerprint());
    assert_eq!(a.fingerprint_with(b), b.fingerprint_with(a));
}
