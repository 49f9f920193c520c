//! AES-GCM (NIST SP 800-38D) with 96-bit nonces and 128-bit tags, with a name for the key by which tests see whether
//! a nonce comes twice.

use cc_core::key_use::KeyName;
use cc_primitives::aes_gcm::AesGcm;

use crate::AesError;

/// Bytes of a tag.
pub(crate) const TAG_LEN: usize = cc_primitives::aes_gcm::TAG_LEN;

/// AES-GCM under one key that is used for one message, or for the chunks of one stream.
pub(crate) struct Gcm {
    cipher: AesGcm,
    name: KeyName,
}

impl Gcm {
    /// For chunks.
    pub(crate) fn aes128(key: &[u8; 16]) -> Self {
        Self { cipher: AesGcm::aes128(key), name: KeyName::of(key) }
    }

    /// For chunks.
    pub(crate) fn aes256(key: &[u8; 32]) -> Self {
        Self { cipher: AesGcm::aes256(key), name: KeyName::of(key) }
    }

    /// For one message of this length.
    #[inline]
    pub(crate) fn aes128_once(key: &[u8; 16], message_len: usize) -> Self {
        Self { cipher: AesGcm::aes128_once(key, message_len), name: KeyName::of(key) }
    }

    /// For one message of this length.
    #[inline]
    pub(crate) fn aes256_once(key: &[u8; 32], message_len: usize) -> Self {
        Self { cipher: AesGcm::aes256_once(key, message_len), name: KeyName::of(key) }
    }

    /// Encrypts `bytes` and gives their tag. [`AesError::TooLong`] beyond 2^36 - 32 bytes.
    pub(crate) fn seal(
        &self,
        nonce: &[u8; 12],
        associated_data: &[u8],
        bytes: &mut [u8],
    ) -> Result<[u8; TAG_LEN], AesError> {
        self.name.record("aes-gcm", nonce);
        self.cipher.seal(nonce, associated_data, bytes).map_err(|_| AesError::TooLong)
    }

    /// Decrypts `bytes` if the tag is right, and overwrites them with zeros if it is not.
    pub(crate) fn open(
        &self,
        nonce: &[u8; 12],
        associated_data: &[u8],
        bytes: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), AesError> {
        self.cipher.open(nonce, associated_data, bytes, tag).map_err(|_| AesError::Rejected)
    }
}
