//! AES-128-GCM with random nonces that need no counting.
//!
//! AES-GCM's own nonce of 96 bits may be chosen at random for 2^32 messages under one key, and
//! somebody would have to count them. Here every message gets a random salt of 24 bytes, and from it
//! a key and a nonce of its own:
//!
//! ```text
//! key[16] ‖ nonce[12] = HKDF-SHA-256(salt, ikm = the key, info = "cascading-cipher/1 aes-128 message")
//! ```
//!
//! - Two messages share a derived key *and* nonce only if their salts are equal, chance 2^-32 after
//!   2^80 messages, or if 224 pseudorandom bits are, chance 2^-64 after that many.
//! - Somebody who attacks many messages at once, guessing 128-bit message keys, gains nothing from
//!   their number: a guess can be checked against all messages only if they share the nonce, and
//!   each has a secret one of its own (the reason why TLS 1.3 masks its nonces with a secret).
//! - What remains are the 128 bits of the key itself, to be found by trying 2^128 of them.
//!
//! XAES is not specified for 128-bit keys: its CMAC is a pseudorandom permutation on each half of a
//! derived key and its nonces travel in the clear, which leaves less of a margin at this size.

use core::fmt;

use cc_core::{Secret, kdf::hkdf};

use crate::{
    AesError,
    gcm::{Gcm, TAG_LEN},
};

const INFO: &[u8] = b"cascading-cipher/1 aes-128 message";

/// AES-128-GCM under a key and nonce that are derived afresh for every salt.
pub(crate) struct SaltedAes128Gcm(Secret<16>);

impl SaltedAes128Gcm {
    pub(crate) fn new(key: &Secret<16>) -> Self {
        Self(key.duplicate())
    }

    pub(crate) fn seal(
        &self,
        salt: &[u8; 24],
        associated_data: &[u8],
        bytes: &mut [u8],
    ) -> Result<[u8; TAG_LEN], AesError> {
        let (gcm, nonce) = self.derive(salt, bytes.len());
        gcm.seal(nonce.expose(), associated_data, bytes)
    }

    pub(crate) fn open(
        &self,
        salt: &[u8; 24],
        associated_data: &[u8],
        bytes: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), AesError> {
        let (gcm, nonce) = self.derive(salt, bytes.len());
        gcm.open(nonce.expose(), associated_data, bytes, tag)
    }

    fn derive(&self, salt: &[u8; 24], message_len: usize) -> (Gcm, Secret<12>) {
        let derived = hkdf::<28>(salt, self.0.expose(), &[INFO]);
        let (mut key, mut nonce) = (Secret::zeroed(), Secret::zeroed());
        key.expose_mut().copy_from_slice(&derived.expose()[..16]);
        nonce.expose_mut().copy_from_slice(&derived.expose()[16..]);
        (Gcm::aes128_once(key.expose(), message_len), nonce)
    }
}

impl fmt::Debug for SaltedAes128Gcm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SaltedAes128Gcm(..)")
    }
}
