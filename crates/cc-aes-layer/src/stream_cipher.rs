//! The cipher of one stream, and how far it has come: what [`stream`](crate::stream) describes.

use alloc::{boxed::Box, vec::Vec};

use aead_stream::{NewStream, StreamBE32, StreamPrimitive};
use cc_core::{kdf::hkdf, with_clean_stack};

use crate::{AesError, AesKey, gcm::Gcm, key::STACK};

pub(crate) const SALT_LEN: usize = 32;
pub(crate) const COMMITMENT_LEN: usize = 32;

const PREFIX_LEN: usize = 7;
const INFO: &[u8] = b"cascading-cipher/1 aes stream";

/// Not the library's `EncryptorBE32`, whose last call moves the key schedule out of its box, and leaves
/// it behind there.
pub(crate) struct StreamCipher {
    stream: Box<StreamBE32<Gcm>>,
    /// The number of the next chunk.
    position: u32,
}

impl StreamCipher {
    /// The cipher and the commitment of a stream whose header, up to and with the salt, is `header`.
    pub(crate) fn new(
        key: &AesKey,
        header: &[u8],
        associated_data: &[u8],
    ) -> Result<(Self, [u8; COMMITMENT_LEN]), AesError> {
        let salt = header.last_chunk::<SALT_LEN>().ok_or(AesError::Rejected)?;
        let derived = hkdf::<{ 32 + PREFIX_LEN + COMMITMENT_LEN }>(
            salt,
            key.expose(),
            &[INFO, header, associated_data],
        );
        let (stream_key, rest) =
            derived.expose().split_first_chunk::<32>().ok_or(AesError::Rejected)?;
        let (prefix, commitment) =
            rest.split_first_chunk::<PREFIX_LEN>().ok_or(AesError::Rejected)?;
        let stream = with_clean_stack::<STACK, _>(|| {
            Box::new(StreamBE32::from_aead(key.algorithm().gcm(stream_key), prefix.into()))
        });
        let commitment = *commitment.first_chunk().ok_or(AesError::Rejected)?;
        Ok((Self { stream, position: 0 }, commitment))
    }

    /// Encrypts a chunk that is not the last. [`AesError::TooLong`] after 2^32 - 1 of them.
    pub(crate) fn seal_next(&mut self, chunk: &mut Vec<u8>) -> Result<(), AesError> {
        let next = self.position.checked_add(1).ok_or(AesError::TooLong)?;
        self.seal(chunk, false)?;
        self.position = next;
        Ok(())
    }

    /// Encrypts the last chunk.
    pub(crate) fn seal_last(self, chunk: &mut Vec<u8>) -> Result<(), AesError> {
        self.seal(chunk, true)
    }

    /// Decrypts a chunk that is not the last.
    pub(crate) fn open_next(&mut self, chunk: &mut Vec<u8>) -> Result<(), AesError> {
        let next = self.position.checked_add(1).ok_or(AesError::Rejected)?;
        self.open(chunk, false)?;
        self.position = next;
        Ok(())
    }

    /// Decrypts the last chunk.
    pub(crate) fn open_last(self, chunk: &mut Vec<u8>) -> Result<(), AesError> {
        self.open(chunk, true)
    }

    fn seal(&self, chunk: &mut Vec<u8>, last: bool) -> Result<(), AesError> {
        with_clean_stack::<STACK, _>(|| {
            self.stream.encrypt_in_place(self.position, last, b"", chunk)
        })
        .map_err(|_| AesError::TooLong)
    }

    fn open(&self, chunk: &mut Vec<u8>, last: bool) -> Result<(), AesError> {
        with_clean_stack::<STACK, _>(|| {
            self.stream.decrypt_in_place(self.position, last, b"", chunk)
        })
        .map_err(|_| AesError::Rejected)
    }
}
