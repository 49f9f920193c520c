//! AES-GCM (NIST SP 800-38D) with 96-bit nonces and 128-bit tags.

use alloc::vec::Vec;
use core::fmt;

use aes_gcm::{
    AesGcm as Library, KeyInit as _,
    aead::{
        AeadInOut as _,
        consts::{U12, U16},
    },
    aes::{Aes128Enc, Aes256Enc},
};

use crate::Backend;

/// Bytes of a nonce.
pub const NONCE_LEN: usize = 12;
/// Bytes of a tag.
pub const TAG_LEN: usize = 16;

/// What making a cipher and using it leaves on the stack, key schedules and hash keys, is within this: for
/// [`with_clean_stack`](cc_core::with_clean_stack). Without optimization a cipher is copied from frame to frame.
pub const STACK: usize = if cfg!(debug_assertions) { 32 << 10 } else { 8 << 10 };

/// More than 2^36 - 32 bytes, or associated data of more than 2^61 - 1 (SP 800-38D section 5.2.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

/// The tag is not that of these bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejected;

/// AES-GCM under one key. The key schedule and the hash key are overwritten on drop.
///
/// It is large, and constructors return it by value: who cares for what that leaves on the stack calls them, and
/// drops the result, in [`with_clean_stack`](cc_core::with_clean_stack), or puts it into a box there.
pub struct AesGcm(Inner);

#[expect(clippy::large_enum_variant, reason = "a box is an allocation for every message")]
enum Inner {
    Aes128(Library<Aes128Enc, U12>),
    Aes256(Library<Aes256Enc, U12>),
    #[cfg(all(feature = "std", any(target_arch = "x86_64", target_arch = "aarch64")))]
    Graviola(graviola::aead::AesGcm),
}

impl AesGcm {
    /// AES-128-GCM, for many messages.
    #[must_use]
    pub fn aes128(key: &[u8; 16]) -> Self {
        Self::aes128_by(Backend::in_use(), key)
    }

    /// AES-256-GCM, for many messages.
    #[must_use]
    pub fn aes256(key: &[u8; 32]) -> Self {
        Self::aes256_by(Backend::in_use(), key)
    }

    /// AES-128-GCM, for one message of this length. The same cipher as [`AesGcm::aes128`]; a short message is
    /// done before the faster library has prepared itself.
    #[must_use]
    #[inline]
    pub fn aes128_once(key: &[u8; 16], message_len: usize) -> Self {
        Self::aes128_by(backend_of(message_len), key)
    }

    /// AES-256-GCM, for one message of this length, as [`AesGcm::aes128_once`].
    #[must_use]
    #[inline]
    pub fn aes256_once(key: &[u8; 32], message_len: usize) -> Self {
        Self::aes256_by(backend_of(message_len), key)
    }

    /// Encrypts `bytes` in place and gives their tag. A nonce must never be used twice.
    ///
    /// # Errors
    /// [`TooLong`]; `bytes` are then as they were.
    pub fn seal(
        &self,
        nonce: &[u8; NONCE_LEN],
        associated_data: &[u8],
        bytes: &mut [u8],
    ) -> Result<[u8; TAG_LEN], TooLong> {
        if !fits(associated_data, bytes) {
            return Err(TooLong);
        }
        match &self.0 {
            Inner::Aes128(gcm) => {
                gcm.encrypt_inout_detached(nonce.into(), associated_data, bytes.into())
            }
            Inner::Aes256(gcm) => {
                gcm.encrypt_inout_detached(nonce.into(), associated_data, bytes.into())
            }
            #[cfg(all(feature = "std", any(target_arch = "x86_64", target_arch = "aarch64")))]
            Inner::Graviola(gcm) => {
                let mut tag = [0; TAG_LEN];
                gcm.encrypt(nonce, associated_data, bytes, &mut tag);
                return Ok(tag);
            }
        }
        .map(Into::into)
        .map_err(|_| TooLong)
    }

    /// Decrypts `bytes` in place.
    ///
    /// # Errors
    /// [`Rejected`] where the tag is another; `bytes` are then all zeros, for the faster library decrypts while it
    /// authenticates, and nothing that was not authenticated is to be seen.
    pub fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        associated_data: &[u8],
        bytes: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), Rejected> {
        let opened = fits(associated_data, bytes)
            && match &self.0 {
                Inner::Aes128(gcm) => gcm
                    .decrypt_inout_detached(
                        nonce.into(),
                        associated_data,
                        (&mut *bytes).into(),
                        tag.into(),
                    )
                    .is_ok(),
                Inner::Aes256(gcm) => gcm
                    .decrypt_inout_detached(
                        nonce.into(),
                        associated_data,
                        (&mut *bytes).into(),
                        tag.into(),
                    )
                    .is_ok(),
                #[cfg(all(feature = "std", any(target_arch = "x86_64", target_arch = "aarch64")))]
                Inner::Graviola(gcm) => gcm.decrypt(nonce, associated_data, bytes, tag).is_ok(),
            };
        if opened {
            Ok(())
        } else {
            bytes.fill(0);
            Err(Rejected)
        }
    }

    /// The ciphertext of `text` and its tag behind it, as RFC 5116 section 5.1 has them.
    ///
    /// # Errors
    /// As [`AesGcm::seal`].
    pub fn seal_to_vec(
        &self,
        nonce: &[u8; NONCE_LEN],
        associated_data: &[u8],
        text: &[u8],
    ) -> Result<Vec<u8>, TooLong> {
        let mut sealed = Vec::with_capacity(text.len() + TAG_LEN);
        sealed.extend_from_slice(text);
        let tag = self.seal(nonce, associated_data, &mut sealed)?;
        sealed.extend_from_slice(&tag);
        Ok(sealed)
    }

    /// The text of what [`AesGcm::seal_to_vec`] gave.
    ///
    /// # Errors
    /// As [`AesGcm::open`], and for what is shorter than a tag.
    pub fn open_to_vec(
        &self,
        nonce: &[u8; NONCE_LEN],
        associated_data: &[u8],
        sealed: &[u8],
    ) -> Result<Vec<u8>, Rejected> {
        let (text, tag) = sealed.split_last_chunk().ok_or(Rejected)?;
        let mut opened = text.to_vec();
        self.open(nonce, associated_data, &mut opened, tag)?;
        Ok(opened)
    }

    // Where it is inlined, the cipher is made where it is used; elsewhere its kilobyte is copied there.
    #[inline]
    fn aes128_by(backend: Backend, key: &[u8; 16]) -> Self {
        Self(match backend {
            Backend::Portable => Inner::Aes128(Library::new(key.into())),
            #[cfg(all(feature = "std", any(target_arch = "x86_64", target_arch = "aarch64")))]
            Backend::Graviola => Inner::Graviola(graviola::aead::AesGcm::new(key)),
        })
    }

    #[inline]
    fn aes256_by(backend: Backend, key: &[u8; 32]) -> Self {
        Self(match backend {
            Backend::Portable => Inner::Aes256(Library::new(key.into())),
            #[cfg(all(feature = "std", any(target_arch = "x86_64", target_arch = "aarch64")))]
            Backend::Graviola => Inner::Graviola(graviola::aead::AesGcm::new(key)),
        })
    }
}

/// AES-256-GCM with nonces of 128 bits, which may be chosen at random for any number of messages that a key sees in
/// practice. Always from the portable library, for graviola has 96 bits only. Overwritten on drop, as [`AesGcm`].
pub struct LongNonceAesGcm(Library<Aes256Enc, U16>);

impl LongNonceAesGcm {
    /// The cipher under this key.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self(Library::new(key.into()))
    }

    /// As [`AesGcm::seal`].
    ///
    /// # Errors
    /// As [`AesGcm::seal`].
    pub fn seal(
        &self,
        nonce: &[u8; 16],
        associated_data: &[u8],
        bytes: &mut [u8],
    ) -> Result<[u8; TAG_LEN], TooLong> {
        self.0
            .encrypt_inout_detached(nonce.into(), associated_data, bytes.into())
            .map(Into::into)
            .map_err(|_| TooLong)
    }

    /// As [`AesGcm::open`].
    ///
    /// # Errors
    /// As [`AesGcm::open`].
    pub fn open(
        &self,
        nonce: &[u8; 16],
        associated_data: &[u8],
        bytes: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), Rejected> {
        self.0
            .decrypt_inout_detached(nonce.into(), associated_data, (&mut *bytes).into(), tag.into())
            .map_err(|_| {
                bytes.fill(0);
                Rejected
            })
    }
}

impl fmt::Debug for LongNonceAesGcm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LongNonceAesGcm(..)")
    }
}

/// The library that takes the least time for one message of this length under a new key. With AVX-512 graviola computes
/// 24 powers of the hash key before the first byte, 200 ns in which the portable library has done a short message.
fn backend_of(message_len: usize) -> Backend {
    if message_len <= SHORT { Backend::Portable } else { Backend::in_use() }
}

/// Measured: `docs/performance.md`.
const SHORT: usize = 128;

/// graviola does not look.
fn fits(associated_data: &[u8], bytes: &[u8]) -> bool {
    let within = |len: usize, limit: u64| u64::try_from(len).is_ok_and(|len| len <= limit);
    within(bytes.len(), (1 << 36) - 32) && within(associated_data.len(), (1 << 61) - 1)
}

impl fmt::Debug for AesGcm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AesGcm(..)")
    }
}

#[cfg(test)]
mod tests;
