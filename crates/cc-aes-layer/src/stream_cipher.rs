//! The cipher of one stream, and how far it has come: what [`stream`](crate::stream) describes.

use alloc::{sync::Arc, vec::Vec};

use aead_stream::{NewStream, StreamBE32, StreamPrimitive};
use aes_gcm::aead::{self, Buffer};
use cc_core::{kdf::hkdf, with_clean_stack};

use crate::{
    AesError, AesKey,
    gcm::{Gcm, TAG_LEN},
    key::STACK,
};

pub(crate) const SALT_LEN: usize = 32;
pub(crate) const COMMITMENT_LEN: usize = 32;

const PREFIX_LEN: usize = 7;
const INFO: &[u8] = b"cascading-cipher/1 aes stream";

/// Not the library's `EncryptorBE32`, whose last call moves the key schedule out of its box, and leaves
/// it behind there.
pub(crate) struct StreamCipher {
    stream: Arc<StreamBE32<Gcm>>,
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
            Arc::new(StreamBE32::from_aead(key.algorithm().gcm(stream_key), prefix.into()))
        });
        let commitment = *commitment.first_chunk().ok_or(AesError::Rejected)?;
        Ok((Self { stream, position: 0 }, commitment))
    }

    /// The cipher for chunks in any order. Whoever takes it looks after the positions.
    pub(crate) fn into_chunks(self) -> ChunkCipher {
        ChunkCipher(self.stream)
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

/// The cipher of one stream, for the chunk that it is told.
#[derive(Clone)]
pub(crate) struct ChunkCipher(Arc<StreamBE32<Gcm>>);

impl ChunkCipher {
    /// Encrypts `chunk` but for its last [`TAG_LEN`] bytes, which become the tag.
    pub(crate) fn seal(&self, position: u32, last: bool, chunk: &mut [u8]) -> Result<(), AesError> {
        let len = chunk.len().checked_sub(TAG_LEN).ok_or(AesError::TooLong)?;
        let mut chunk = Slice { bytes: chunk, len };
        with_clean_stack::<STACK, _>(|| self.0.encrypt_in_place(position, last, b"", &mut chunk))
            .map_err(|_| AesError::TooLong)
    }

    /// Decrypts `chunk` but for the tag at its end.
    pub(crate) fn open(&self, position: u32, last: bool, chunk: &mut [u8]) -> Result<(), AesError> {
        let len = chunk.len();
        let mut chunk = Slice { bytes: chunk, len };
        with_clean_stack::<STACK, _>(|| self.0.decrypt_in_place(position, last, b"", &mut chunk))
            .map_err(|_| AesError::Rejected)
    }
}

/// The first `len` bytes of a slice, with the others as room to grow.
struct Slice<'s> {
    bytes: &'s mut [u8],
    len: usize,
}

impl AsRef<[u8]> for Slice<'_> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl AsMut<[u8]> for Slice<'_> {
    fn as_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..self.len).unwrap_or_default()
    }
}

impl Buffer for Slice<'_> {
    fn extend_from_slice(&mut self, other: &[u8]) -> aead::Result<()> {
        let end = self.len.checked_add(other.len()).ok_or(aead::Error)?;
        self.bytes.get_mut(self.len..end).ok_or(aead::Error)?.copy_from_slice(other);
        self.len = end;
        Ok(())
    }

    fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
}
