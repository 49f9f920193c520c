//! A key, and messages sealed under it alone.
//!
//! A message is, in this order, with `n` the length of the plaintext:
//!
//! | bytes | AES-256 | AES-128 |
//! |---|---|---|
//! | 24 | nonce of XAES-256-GCM, random | salt, random |
//! | `n` | ciphertext | ciphertext |
//! | 16 | tag | tag |
//!
//! An AES-256 message is plain [XAES-256-GCM](crate::Xaes256Gcm) behind its nonce, which any other
//! implementation of that specification opens.

use alloc::{boxed::Box, vec::Vec};
use core::fmt;

use cc_core::{Buffer, RandomError, Secret, random, with_clean_stack};

use crate::{
    AesError, Xaes256Gcm,
    aes128::SaltedAes128Gcm,
    gcm::{Gcm, TAG_LEN},
};

/// Bytes in front of the ciphertext.
const NONCE_LEN: usize = 24;
pub(crate) const STACK: usize = cc_primitives::aes_gcm::STACK;

/// Bits of the key, and how a message's own key comes from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// XAES-256-GCM. 32-byte keys.
    Aes256,
    /// AES-128-GCM under a key and nonce that HKDF-SHA-256 derives for every message. 16-byte keys.
    Aes128,
}

/// An AES key: 32 bytes for AES-256, or 16 for AES-128.
///
/// Any number of messages may be sealed under it, by any number of people at once: nonces are
/// random, and long enough for that (2^-32 chance of a repetition after 2^80 messages).
///
/// The bytes are overwritten on drop, do not show in `Debug`, and are compared in constant time.
/// There is no `Clone`; [`AesKey::duplicate`] says so in the source.
pub struct AesKey(Inner);

enum Inner {
    Aes256 { key: Secret<32>, cipher: Box<Xaes256Gcm> },
    Aes128 { key: Secret<16>, cipher: SaltedAes128Gcm },
}

impl AesKey {
    /// A new AES-256 key from the operating system's random generator.
    ///
    /// # Errors
    /// [`RandomError`] when the generator fails.
    pub fn generate() -> Result<Self, RandomError> {
        Secret::random().map(Self::aes256)
    }

    /// A new AES-128 key from the operating system's random generator.
    ///
    /// # Errors
    /// [`RandomError`] when the generator fails.
    pub fn generate_128() -> Result<Self, RandomError> {
        Secret::random().map(Self::aes128)
    }

    /// An AES-256 key of these bytes, which must be uniformly random: neither a password nor the
    /// result of a Diffie-Hellman exchange.
    #[must_use]
    pub fn aes256(key: Secret<32>) -> Self {
        let cipher = with_clean_stack::<STACK, _>(|| Box::new(Xaes256Gcm::new(&key)));
        Self(Inner::Aes256 { key, cipher })
    }

    /// An AES-128 key of these bytes, which must be uniformly random: neither a password nor the
    /// result of a Diffie-Hellman exchange.
    #[must_use]
    pub fn aes128(key: Secret<16>) -> Self {
        let cipher = SaltedAes128Gcm::new(&key);
        Self(Inner::Aes128 { key, cipher })
    }

    /// Copies a key of 32 or 16 bytes. `bytes` remains for the caller to overwrite.
    ///
    /// # Errors
    /// [`AesError::KeyLength`] for any other length.
    pub fn copy_from(bytes: &[u8]) -> Result<Self, AesError> {
        Secret::copy_from(bytes)
            .map(Self::aes256)
            .or_else(|| Secret::copy_from(bytes).map(Self::aes128))
            .ok_or(AesError::KeyLength(bytes.len()))
    }

    /// Seals one message: 40 bytes longer than `plaintext`. `associated_data` does not travel; the
    /// receiver must know it.
    ///
    /// # Errors
    /// [`AesError::Random`] when the operating system has no randomness, [`AesError::TooLong`] beyond
    /// 64 GiB.
    pub fn seal(&self, associated_data: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, AesError> {
        let nonce = random::array::<NONCE_LEN>()?;
        let mut message = Vec::with_capacity(NONCE_LEN + plaintext.len() + TAG_LEN);
        message.extend_from_slice(&nonce);
        message.extend_from_slice(plaintext);
        let body = message.get_mut(NONCE_LEN..).unwrap_or_default();
        let tag = self.seal_detached(&nonce, associated_data, body)?;
        message.extend_from_slice(&tag);
        Ok(message)
    }

    /// Opens what [`AesKey::seal`] made of the same associated data.
    ///
    /// # Errors
    /// [`AesError::Rejected`] for anything else.
    pub fn open(&self, associated_data: &[u8], message: &[u8]) -> Result<Vec<u8>, AesError> {
        let (nonce, rest) = message.split_first_chunk().ok_or(AesError::Rejected)?;
        let (ciphertext, tag) = rest.split_last_chunk().ok_or(AesError::Rejected)?;
        let mut plaintext = ciphertext.to_vec();
        self.open_detached(nonce, associated_data, &mut plaintext, tag)?;
        Ok(plaintext)
    }

    /// [`AesKey::seal`], in place: the nonce is put in front and the tag behind. Where the buffer has
    /// the room for that, nothing is allocated or moved.
    ///
    /// # Errors
    /// As [`AesKey::seal`]; the buffer is then to be thrown away.
    pub fn seal_in_place(
        &self,
        associated_data: &[u8],
        buffer: &mut Buffer,
    ) -> Result<(), AesError> {
        let nonce = buffer.take_random()?;
        let tag = self.seal_detached(&nonce, associated_data, buffer.as_mut_slice())?;
        buffer.prepend(&nonce);
        buffer.append(&tag);
        Ok(())
    }

    /// [`AesKey::open`], in place. Nothing is allocated or moved.
    ///
    /// # Errors
    /// [`AesError::Rejected`]; the buffer is then to be thrown away, and holds no plaintext.
    pub fn open_in_place(
        &self,
        associated_data: &[u8],
        buffer: &mut Buffer,
    ) -> Result<(), AesError> {
        let nonce = buffer.take_front().ok_or(AesError::Rejected)?;
        let tag = buffer.take_back().ok_or(AesError::Rejected)?;
        self.open_detached(&nonce, associated_data, buffer.as_mut_slice(), &tag)
    }

    /// Which of the two it is.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match &self.0 {
            Inner::Aes256 { .. } => Algorithm::Aes256,
            Inner::Aes128 { .. } => Algorithm::Aes128,
        }
    }

    /// The bytes of the key: 32 or 16.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        match &self.0 {
            Inner::Aes256 { key, .. } => key.expose(),
            Inner::Aes128 { key, .. } => key.expose(),
        }
    }

    /// A second copy, for the other end of a conversation.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        match &self.0 {
            Inner::Aes256 { key, .. } => Self::aes256(key.duplicate()),
            Inner::Aes128 { key, .. } => Self::aes128(key.duplicate()),
        }
    }

    fn seal_detached(
        &self,
        nonce: &[u8; NONCE_LEN],
        associated_data: &[u8],
        bytes: &mut [u8],
    ) -> Result<[u8; TAG_LEN], AesError> {
        with_clean_stack::<STACK, _>(|| match &self.0 {
            Inner::Aes256 { cipher, .. } => cipher.seal(nonce, associated_data, bytes),
            Inner::Aes128 { cipher, .. } => cipher.seal(nonce, associated_data, bytes),
        })
    }

    fn open_detached(
        &self,
        nonce: &[u8; NONCE_LEN],
        associated_data: &[u8],
        bytes: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), AesError> {
        with_clean_stack::<STACK, _>(|| match &self.0 {
            Inner::Aes256 { cipher, .. } => cipher.open(nonce, associated_data, bytes, tag),
            Inner::Aes128 { cipher, .. } => cipher.open(nonce, associated_data, bytes, tag),
        })
    }
}

impl Algorithm {
    /// AES-GCM of this size under `key`, or its first half, for many chunks.
    pub(crate) fn gcm(self, key: &[u8; 32]) -> Gcm {
        match self {
            Self::Aes256 => Gcm::aes256(key),
            Self::Aes128 => Gcm::aes128(first_half(key).expose()),
        }
    }

    /// An [`AesKey`] of this size from 32 uniformly random bytes, or the first half of them.
    pub(crate) fn key(self, secret: Secret<32>) -> AesKey {
        match self {
            Self::Aes256 => AesKey::aes256(secret),
            Self::Aes128 => AesKey::aes128(first_half(secret.expose())),
        }
    }
}

fn first_half(key: &[u8; 32]) -> Secret<16> {
    let mut half = Secret::zeroed();
    half.expose_mut().copy_from_slice(&key[..16]);
    half
}

impl PartialEq for AesKey {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Inner::Aes256 { key: a, .. }, Inner::Aes256 { key: b, .. }) => a == b,
            (Inner::Aes128 { key: a, .. }, Inner::Aes128 { key: b, .. }) => a == b,
            _ => false,
        }
    }
}

impl Eq for AesKey {}

impl fmt::Debug for AesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AesKey({:?}, ..)", self.algorithm())
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    fn keys() -> [AesKey; 2] {
        [AesKey::generate().unwrap(), AesKey::generate_128().unwrap()]
    }

    #[test]
    fn a_message_opens_in_every_way_it_was_sealed() {
        for key in keys() {
            for plaintext in [&b""[..], b"x", &[7; 100_000]] {
                let message = key.seal(b"ad", plaintext).unwrap();
                assert_eq!(message.len(), plaintext.len() + 40);
                assert_eq!(key.open(b"ad", &message).unwrap(), plaintext);

                let mut buffer = Buffer::new(&message);
                key.open_in_place(b"ad", &mut buffer).unwrap();
                assert_eq!(buffer.as_slice(), plaintext);
                key.seal_in_place(b"ad", &mut buffer).unwrap();
                assert_eq!(key.open(b"ad", buffer.as_slice()).unwrap(), plaintext);
            }
        }
    }

    #[test]
    fn every_bit_and_every_byte_counts() {
        for key in keys() {
            let message = key.seal(b"ad", b"plaintext").unwrap();
            for bit in 0..message.len() * 8 {
                let mut changed = message.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(key.open(b"ad", &changed), Err(AesError::Rejected), "bit {bit}");
            }
            for len in 0..message.len() {
                assert_eq!(
                    key.open(b"ad", &message[..len]),
                    Err(AesError::Rejected),
                    "{len} bytes"
                );
            }
            assert_eq!(key.open(b"ad", &[&message[..], &[0]].concat()), Err(AesError::Rejected));
            assert_eq!(key.open(b"ae", &message), Err(AesError::Rejected));
            assert_eq!(key.open(b"", &message), Err(AesError::Rejected));
            for other in keys() {
                assert_eq!(other.open(b"ad", &message), Err(AesError::Rejected));
            }
            assert_eq!(key.open(b"ad", &message).unwrap(), b"plaintext");
        }
    }

    #[test]
    fn a_rejected_buffer_holds_no_plaintext() {
        for key in keys() {
            let mut message = key.seal(b"", b"plaintext").unwrap();
            *message.last_mut().unwrap() ^= 1;
            let mut buffer = Buffer::new(&message);
            assert_eq!(key.open_in_place(b"", &mut buffer), Err(AesError::Rejected));
            assert_eq!(buffer.as_slice(), [0; 9]);
        }
    }

    #[test]
    fn nothing_moves_while_there_is_room() {
        for key in keys() {
            let mut buffer = Buffer::new(&[1; 1000]);
            let before = buffer.as_slice().as_ptr();
            key.seal_in_place(b"", &mut buffer).unwrap();
            assert_eq!(buffer.as_slice()[24..].as_ptr(), before);
            key.open_in_place(b"", &mut buffer).unwrap();
            assert_eq!(buffer.as_slice().as_ptr(), before);
        }
    }

    #[test]
    fn length_chooses_the_algorithm() {
        assert_eq!(AesKey::copy_from(&[1; 32]).unwrap().algorithm(), Algorithm::Aes256);
        assert_eq!(AesKey::copy_from(&[1; 16]).unwrap().algorithm(), Algorithm::Aes128);
        for length in [0, 15, 17, 24, 31, 33] {
            let key = AesKey::copy_from(&alloc::vec![1; length]);
            assert_eq!(key, Err(AesError::KeyLength(length)));
        }
    }

    #[test]
    fn keys_compare_by_content_and_show_nothing() {
        let [a, b] = keys();
        assert_eq!(a, a.duplicate());
        assert_eq!(b, b.duplicate());
        assert_ne!(a, b);
        assert_ne!(a, AesKey::generate().unwrap());
        assert_eq!(format!("{a:?} {b:?}"), "AesKey(Aes256, ..) AesKey(Aes128, ..)");
    }
}
