//! The cipher of one stream, and how far it has come: what [`stream`](crate::stream) describes.

use alloc::{sync::Arc, vec::Vec};

use cc_core::{kdf::hkdf, with_clean_stack};

use crate::{
    AesError, AesKey,
    gcm::{Gcm, TAG_LEN},
    key::STACK,
};

pub(crate) const SALT_LEN: usize = 32;
pub(crate) const COMMITMENT_LEN: usize = 32;

const PREFIX_LEN: usize = 7;
const NONCE_LEN: usize = cc_primitives::aes_gcm::NONCE_LEN;
const INFO: &[u8] = b"cascading-cipher/1 aes stream";

pub(crate) struct StreamCipher {
    chunks: ChunkCipher,
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
        let chunks = with_clean_stack::<STACK, _>(|| {
            ChunkCipher(Arc::new(Stream { gcm: key.algorithm().gcm(stream_key), prefix: *prefix }))
        });
        let commitment = *commitment.first_chunk().ok_or(AesError::Rejected)?;
        Ok((Self { chunks, position: 0 }, commitment))
    }

    /// The cipher for chunks in any order. Whoever takes it looks after the positions.
    pub(crate) fn into_chunks(self) -> ChunkCipher {
        self.chunks
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
        let tag = self.chunks.seal_detached(self.position, last, chunk)?;
        chunk.extend_from_slice(&tag);
        Ok(())
    }

    fn open(&self, chunk: &mut Vec<u8>, last: bool) -> Result<(), AesError> {
        let len = self.chunks.open(self.position, last, chunk)?.len();
        chunk.truncate(len);
        Ok(())
    }
}

/// The cipher of one stream, for the chunk that it is told: STREAM with a counter of 32 bits (Hoang, Reyhanitabar,
/// Rogaway and Vizár 2015, section 7; `StreamBE32` of the crate `aead-stream`). The nonce of a chunk is
/// `prefix[7] ‖ position (4) ‖ 1 for the last chunk, 0 for another`.
#[derive(Clone)]
pub(crate) struct ChunkCipher(Arc<Stream>);

struct Stream {
    gcm: Gcm,
    prefix: [u8; PREFIX_LEN],
}

impl ChunkCipher {
    /// Encrypts `chunk` but for its last [`TAG_LEN`] bytes, which become the tag.
    pub(crate) fn seal(&self, position: u32, last: bool, chunk: &mut [u8]) -> Result<(), AesError> {
        let (text, tag) = chunk.split_last_chunk_mut::<TAG_LEN>().ok_or(AesError::TooLong)?;
        *tag = self.seal_detached(position, last, text)?;
        Ok(())
    }

    /// Decrypts `chunk` but for the tag at its end, and gives the text.
    pub(crate) fn open<'c>(
        &self,
        position: u32,
        last: bool,
        chunk: &'c mut [u8],
    ) -> Result<&'c mut [u8], AesError> {
        let (text, tag) = chunk.split_last_chunk_mut::<TAG_LEN>().ok_or(AesError::Rejected)?;
        let nonce = self.nonce(position, last);
        with_clean_stack::<STACK, _>(|| self.0.gcm.open(&nonce, b"", text, tag))?;
        Ok(text)
    }

    fn seal_detached(
        &self,
        position: u32,
        last: bool,
        text: &mut [u8],
    ) -> Result<[u8; TAG_LEN], AesError> {
        let nonce = self.nonce(position, last);
        with_clean_stack::<STACK, _>(|| self.0.gcm.seal(&nonce, b"", text))
    }

    fn nonce(&self, position: u32, last: bool) -> [u8; NONCE_LEN] {
        let mut nonce = [0; NONCE_LEN];
        let parts = self.0.prefix.into_iter().chain(position.to_be_bytes()).chain([last.into()]);
        nonce.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
        nonce
    }
}

#[cfg(test)]
mod tests {
    use aead_stream::{NewStream as _, StreamBE32, StreamPrimitive as _};
    use aes_gcm::{Aes256Gcm, KeyInit as _};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn is_the_stream_of_the_library(
            key: [u8; 32],
            prefix: [u8; PREFIX_LEN],
            position: u32,
            last: bool,
            text in prop::collection::vec(any::<u8>(), 0..600),
        ) {
            let theirs = StreamBE32::from_aead(Aes256Gcm::new((&key).into()), (&prefix).into());
            let mut expected = text.clone();
            theirs.encrypt_in_place(position, last, b"", &mut expected).unwrap();
            let ours = ChunkCipher(Arc::new(Stream { gcm: Gcm::aes256(&key), prefix }));
            let mut chunk = [&text[..], &[0; TAG_LEN]].concat();
            ours.seal(position, last, &mut chunk).unwrap();
            prop_assert_eq!(&chunk, &expected);
            prop_assert_eq!(ours.open(position, last, &mut chunk).unwrap(), &text[..]);
            chunk.clone_from(&expected);
            prop_assert!(ours.open(position, !last, &mut chunk).is_err());
        }
    }
}
