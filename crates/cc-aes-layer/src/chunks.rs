//! The chunks of a [`stream`](crate::stream) in any order and on any thread: several at once, or a few
//! from the middle.

use alloc::vec::Vec;
use core::fmt;

use crate::{
    AesError, AesKey, CHUNK_LEN, SEALED_CHUNK_LEN,
    gcm::TAG_LEN,
    stream::{Header, begin},
    stream_cipher::{COMMITMENT_LEN, ChunkCipher, SALT_LEN},
};

/// Bytes of the tag at the end of a chunk.
pub const CHUNK_TAG_LEN: usize = TAG_LEN;

/// Bytes of the header of a stream under an [`AesKey`].
pub const STREAM_HEADER_LEN: usize = 2 + SALT_LEN + COMMITMENT_LEN;

/// Gives out the places of a stream one after the other. Each seals one chunk, on any thread and in any
/// order; the stream is their concatenation in the order in which they were given out.
#[must_use = "a stream without its last chunk does not open"]
pub struct ChunkSealer {
    cipher: ChunkCipher,
    next: u32,
}

impl ChunkSealer {
    /// Begins a stream as [`StreamSealer::new`](crate::StreamSealer::new) does: appends its header to
    /// `out`, [`STREAM_HEADER_LEN`] bytes.
    ///
    /// # Errors
    /// [`AesError::Random`] when the operating system has no randomness.
    pub fn new(key: &AesKey, associated_data: &[u8], out: &mut Vec<u8>) -> Result<Self, AesError> {
        let cipher = begin(key.into(), associated_data, out)?.into_chunks();
        Ok(Self { cipher, next: 0 })
    }

    /// The place of the next chunk, which is not the last.
    ///
    /// # Errors
    /// [`AesError::TooLong`] after 2^32 - 1 of them.
    pub fn next_chunk(&mut self) -> Result<ChunkSeal, AesError> {
        let position = self.next;
        self.next = position.checked_add(1).ok_or(AesError::TooLong)?;
        Ok(ChunkSeal { cipher: self.cipher.clone(), position, last: false })
    }

    /// The place of the last chunk.
    pub fn last_chunk(self) -> ChunkSeal {
        ChunkSeal { cipher: self.cipher, position: self.next, last: true }
    }
}

/// One place in a stream. It seals once, for its nonce is its place.
#[must_use = "a stream in which a chunk is missing does not open"]
pub struct ChunkSeal {
    cipher: ChunkCipher,
    position: u32,
    last: bool,
}

impl ChunkSeal {
    /// Encrypts `chunk` in place: plaintext, and behind it [`CHUNK_TAG_LEN`] bytes of any content that
    /// become the tag. The plaintext has [`CHUNK_LEN`] bytes; in the last chunk 1 to [`CHUNK_LEN`], or none
    /// when the stream has no other.
    ///
    /// # Errors
    /// [`AesError::ChunkLength`] for another length.
    pub fn seal(self, chunk: &mut [u8]) -> Result<(), AesError> {
        if !is_length(chunk.len(), self.position, self.last) {
            return Err(AesError::ChunkLength(chunk.len()));
        }
        self.cipher.seal(self.position, self.last, chunk)
    }
}

/// Opens the chunks of one stream in any order.
///
/// A chunk that opens is genuine and in its place. How long the stream is, only its last chunk tells:
/// one that opens as the last shows that the stream ends with it.
pub struct ChunkOpener(ChunkCipher);

impl ChunkOpener {
    /// The opener of the stream with this header, which is checked.
    ///
    /// # Errors
    /// [`AesError::Rejected`] when the stream was not sealed under this key and associated data.
    pub fn new(
        key: &AesKey,
        associated_data: &[u8],
        header: &[u8; STREAM_HEADER_LEN],
    ) -> Result<Self, AesError> {
        Header(header).open(key.into(), associated_data).map(|cipher| Self(cipher.into_chunks()))
    }

    /// Decrypts the chunk at `position` in place, where it is or is not the last, and gives its plaintext.
    ///
    /// # Errors
    /// [`AesError::Rejected`] for anything but that chunk; its bytes are then overwritten.
    pub fn open<'c>(
        &self,
        position: u32,
        last: bool,
        chunk: &'c mut [u8],
    ) -> Result<&'c mut [u8], AesError> {
        if !is_length(chunk.len(), position, last) {
            return Err(AesError::Rejected);
        }
        self.0.open(position, last, chunk)
    }
}

/// Whether a sealed chunk in this place may have this length: a plaintext has one length of stream.
fn is_length(sealed: usize, position: u32, last: bool) -> bool {
    match sealed.checked_sub(TAG_LEN) {
        None => false,
        Some(CHUNK_LEN) => true,
        Some(0) => last && position == 0,
        Some(_) => last && sealed < SEALED_CHUNK_LEN,
    }
}

impl fmt::Debug for ChunkSealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChunkSealer(next {}, ..)", self.next)
    }
}

impl fmt::Debug for ChunkSeal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChunkSeal({}, last: {}, ..)", self.position, self.last)
    }
}

impl fmt::Debug for ChunkOpener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChunkOpener(..)")
    }
}
