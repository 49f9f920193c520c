//! What the recorder of keys and nonces sees of this crate: everything that seals, and nothing twice.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;

use cc_aes_layer::{
    AesKey, Argon2Params, CHUNK_LEN, Password, Xaes256Gcm, decrypt_stream, encrypt_stream,
};
use cc_core::{
    Buffer, Secret,
    key_use::{self, KeyUse},
};

/// All uses while `work` ran, and how many of them differ.
fn uses(work: impl FnOnce()) -> (usize, usize) {
    key_use::start();
    work();
    let uses = key_use::take();
    (uses.len(), uses.iter().collect::<BTreeSet<&KeyUse>>().len())
}

#[test]
fn every_message_is_one_use() {
    for key in [AesKey::generate().unwrap(), AesKey::generate_128().unwrap()] {
        let mut sealed = Vec::new();
        let sealing = uses(|| {
            for _ in 0..50 {
                sealed.push(key.seal(b"ad", b"text").unwrap());
                let mut buffer = Buffer::new(b"text");
                key.seal_in_place(b"ad", &mut buffer).unwrap();
                sealed.push(buffer.into_vec());
            }
        });
        assert_eq!(sealing, (100, 100));
        let opening = uses(|| sealed.iter().for_each(|wire| drop(key.open(b"ad", wire).unwrap())));
        assert_eq!(opening, (0, 0), "a receiver encrypts nothing");
    }
    let mut password = Password::new("password").unwrap().with_params(Argon2Params::LEAST);
    let sealing = uses(|| (0..10).for_each(|_| drop(password.seal(b"", b"text").unwrap())));
    assert_eq!(sealing, (10, 10));
}

#[test]
fn every_chunk_of_a_stream_is_one_use() {
    for key in [AesKey::generate().unwrap(), AesKey::generate_128().unwrap()] {
        let mut sealed = Vec::new();
        let mut seal = || {
            sealed.clear();
            encrypt_stream(&key, b"ad", &[7; 2 * CHUNK_LEN + 1][..], &mut sealed).unwrap();
        };
        // The same text twice, under the same key.
        assert_eq!(uses(|| (0..2).for_each(|_| seal())), (6, 6));
        let opening = uses(|| {
            decrypt_stream(&key, b"ad", &sealed[..], &mut Vec::new()).unwrap();
        });
        assert_eq!(opening, (0, 0));
    }
}

#[test]
fn a_nonce_that_a_caller_uses_twice_is_seen() {
    let keys = [1, 2].map(|byte| Xaes256Gcm::new(&Secret::copy_from(&[byte; 32]).unwrap()));
    let seal = |key: usize, nonce: u8| {
        keys[key].seal(&[nonce; 24], b"", &mut [0; 4]).unwrap();
    };
    let seals = [(0, 1), (0, 2), (1, 1)];
    assert_eq!(uses(|| seals.into_iter().for_each(|(key, nonce)| seal(key, nonce))), (3, 3));
    let seals = [(0, 1), (1, 1), (0, 1)];
    assert_eq!(uses(|| seals.into_iter().for_each(|(key, nonce)| seal(key, nonce))), (3, 2));
}
