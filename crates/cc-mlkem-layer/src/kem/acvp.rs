//! The vectors by which NIST validates implementations of ML-KEM: `tests/vectors/acvp.txt` says which.

use alloc::vec::Vec;
use std::collections::BTreeMap;

use cc_core::Secret;
use cc_root_group::Suite as _;
use libcrux_ml_kem::{mlkem768, mlkem1024};
use shake::{ExtendableOutput as _, Shake256, XofReader as _, digest::Update as _};

use super::{DecapsulationKey, encapsulate_with, is_encapsulation_key};
use crate::ParameterSet;

const VECTORS: &str = include_str!("../../tests/vectors/acvp.txt");

/// One line: the parameter set, the number of the test, and its values.
struct Vector {
    set: ParameterSet,
    number: &'static str,
    fields: Vec<&'static str>,
}

impl Vector {
    fn bytes(&self, field: usize) -> Vec<u8> {
        hex::decode(self.fields[field]).unwrap()
    }
}

/// All vectors of a function, of which there are so many for each parameter set.
fn vectors(function: &str, count: usize) -> Vec<Vector> {
    let vectors: Vec<Vector> = VECTORS
        .lines()
        .filter_map(|line| line.strip_prefix(function)?.strip_prefix(' '))
        .map(|line| {
            let mut fields = line.split(' ');
            let set = match fields.next() {
                Some("768") => ParameterSet::MlKem768,
                Some("1024") => ParameterSet::MlKem1024,
                other => panic!("{other:?}"),
            };
            Vector { set, number: fields.next().unwrap(), fields: fields.collect() }
        })
        .collect();
    assert_eq!(vectors.len(), 2 * count, "{function}");
    vectors
}

/// FIPS 203 algorithm 16: the key pair of `d ‖ z`. The expanded decapsulation key is the library's alone.
#[test]
fn key_generation() {
    for vector in vectors("keyGen", 25) {
        let seed = [vector.bytes(0), vector.bytes(1)].concat();
        let key = DecapsulationKey::from_seed(vector.set, Secret::copy_from(&seed).unwrap());
        let seed = seed.try_into().unwrap();
        let expanded = match vector.set {
            ParameterSet::MlKem768 => mlkem768::generate_key_pair(seed).sk().to_vec(),
            ParameterSet::MlKem1024 => mlkem1024::generate_key_pair(seed).sk().to_vec(),
        };
        assert_eq!(shake(&key.encapsulation_key()), vector.bytes(2), "{}", vector.number);
        assert_eq!(shake(&expanded), vector.bytes(3), "{}", vector.number);
    }
}

/// FIPS 203 algorithm 17.
#[test]
fn encapsulation() {
    for vector in vectors("encapsulation", 25) {
        let (key, randomness) = (vector.bytes(0), Secret::copy_from(&vector.bytes(1)).unwrap());
        assert!(is_encapsulation_key(vector.set, &key), "{}", vector.number);
        let made = encapsulate_with(vector.set, &key, &randomness).unwrap();
        assert_eq!(shake(&made.ciphertext), vector.bytes(2), "{}", vector.number);
        assert_eq!(made.secret.expose(), &vector.bytes(3)[..], "{}", vector.number);
    }
}

/// FIPS 203 algorithm 18, with implicit rejection. The vectors have expanded keys, which this crate never reads, so
/// this is the library.
#[test]
fn decapsulation() {
    let mut reasons = BTreeMap::new();
    for vector in vectors("decapsulation", 10) {
        let (key, ciphertext) = (vector.bytes(0), vector.bytes(1));
        assert_eq!(ciphertext.len(), vector.set.ciphertext_len());
        let secret = match vector.set {
            ParameterSet::MlKem768 => mlkem768::decapsulate(
                &<[u8; 2400]>::try_from(key).unwrap().into(),
                &<[u8; 1088]>::try_from(ciphertext).unwrap().into(),
            ),
            ParameterSet::MlKem1024 => mlkem1024::decapsulate(
                &<[u8; 3168]>::try_from(key).unwrap().into(),
                &<[u8; 1568]>::try_from(ciphertext).unwrap().into(),
            ),
        };
        assert_eq!(secret[..], vector.bytes(2), "{}", vector.number);
        *reasons.entry(vector.fields[3]).or_insert(0) += 1;
    }
    assert!(reasons["valid"] > 5 && reasons["modified"] > 5, "{reasons:?}");
}

/// FIPS 203 section 7.2.
#[test]
fn encapsulation_key_check() {
    let mut refused = 0;
    for vector in vectors("encapsulationKeyCheck", 10) {
        let valid = is_encapsulation_key(vector.set, &vector.bytes(0));
        assert_eq!(valid, vector.fields[1] == "valid", "{}", vector.number);
        refused += usize::from(!valid);
    }
    assert!((5..15).contains(&refused), "{refused}");
}

/// FIPS 203 section 7.3: the hash in an expanded key, which this crate computes anew and does not read.
#[test]
fn decapsulation_key_check() {
    let mut refused = 0;
    for vector in vectors("decapsulationKeyCheck", 10) {
        let key = vector.bytes(0);
        let valid = match vector.set {
            ParameterSet::MlKem768 => {
                let key = <[u8; 2400]>::try_from(key).unwrap().into();
                mlkem768::validate_private_key(&key, &[0; 1088].into())
            }
            ParameterSet::MlKem1024 => {
                let key = <[u8; 3168]>::try_from(key).unwrap().into();
                mlkem1024::validate_private_key(&key, &[0; 1568].into())
            }
        };
        assert_eq!(valid, vector.fields[1] == "valid", "{}", vector.number);
        refused += usize::from(!valid);
    }
    assert!((5..15).contains(&refused), "{refused}");
}

/// 32 bytes of SHAKE256.
fn shake(bytes: &[u8]) -> Vec<u8> {
    let mut hash = Shake256::default();
    hash.update(bytes);
    let mut digest = [0; 32];
    hash.finalize_xof().read(&mut digest);
    digest.to_vec()
}
