//! Data of any length in constant memory: STREAM (Hoang, Reyhanitabar, Rogaway and Vizár 2015), in
//! the variant with a 32-bit big-endian counter and a final-chunk byte in the nonce that RustCrypto's
//! `aead-stream` implements as StreamBE32.
//!
//! A stream is a header and one or more chunks:
//!
//! | bytes | field |
//! |---|---|
//! | 1 | version, 1 |
//! | 1 | mode: 1 AES-256 key, 2 AES-128 key, 3 password (AES-256) |
//! | 22, in mode 3 only | salt, memory, passes and lanes of Argon2id, as in a password message |
//! | 32, in mode 3 only | commitment of the password, as in a password message |
//! | 32 | salt of the stream, random |
//! | 32 | commitment of the stream |
//! | 65 536 + 16, any number of times | chunk that is not the last, and its tag |
//! | 0 to 65 536, + 16 | last chunk, and its tag |
//!
//! ```text
//! key[32] ‖ prefix[7] ‖ commitment[32] = HKDF-SHA-256(salt of the stream, ikm = the key,
//!     info = "cascading-cipher/1 aes stream" ‖ all of the header in front of the commitment
//!            ‖ associated data)
//! nonce of chunk i = prefix[7] ‖ i as 4 bytes, big-endian ‖ 1 if it is the last, else 0
//! ```
//!
//! AES-128 takes the first 16 bytes of the key. The chunks have no associated data of their own: the
//! stream's is in their key. The last chunk is empty only in an empty stream, so that a plaintext has
//! one length of stream.
//!
//! Every stream has a key of its own, by which a chunk of another stream fails; within a stream the
//! counter tells apart its chunks, and the last byte of the nonce its end. The commitment tells a
//! wrong key before any work is done, and no second key opens the stream.
//!
//! 2^32 chunks of 64 KiB are 2^48 bytes. The advantage against AES-GCM grows with the square of the
//! 16-byte blocks under one key: (2^30)^2 / 2^128 = 2^-68 after 16 GiB, 2^-40 after all of 2^48.

use alloc::vec::Vec;
use core::{fmt, mem};

use cc_core::random;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{
    AesError, AesKey, Algorithm, Password,
    gcm::TAG_LEN,
    password,
    stream_cipher::{COMMITMENT_LEN, SALT_LEN, StreamCipher},
};

/// Bytes of plaintext in every chunk but the last: 64 KiB.
pub const CHUNK_LEN: usize = 64 << 10;

/// Bytes of a sealed chunk that is not the last: [`CHUNK_LEN`] and a tag of 16.
pub const SEALED_CHUNK_LEN: usize = CHUNK_LEN + TAG_LEN;

/// Bytes of plaintext in the longest stream: 2^48 (256 TiB).
pub const MAX_STREAM_LEN: u64 = (CHUNK_LEN as u64) << 32;

/// What a stream is sealed under: made with `.into()` from `&AesKey` or `&mut Password`.
#[derive(Debug)]
pub enum StreamKey<'a> {
    /// A key.
    Key(&'a AesKey),
    /// A password.
    Password(&'a mut Password),
}

/// Seals a stream piece by piece. Dropped before [`StreamSealer::finish`], it leaves a stream that
/// does not open.
#[must_use = "a stream that is not finished does not open"]
pub struct StreamSealer {
    cipher: StreamCipher,
    chunk: Zeroizing<Vec<u8>>,
}

impl StreamSealer {
    /// Begins a stream and appends its header to `out`: 66 bytes, or 120 under a password.
    /// `associated_data` does not travel; the receiver must know it.
    ///
    /// # Errors
    /// [`AesError::Random`] when the operating system has no randomness, and what
    /// [`Password::seal`] fails with under a password.
    pub fn new<'k>(
        key: impl Into<StreamKey<'k>>,
        associated_data: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Self, AesError> {
        let cipher = begin(key.into(), associated_data, out)?;
        Ok(Self { cipher, chunk: empty_chunk() })
    }

    /// Takes the next piece of plaintext, of any length, and appends the chunks that it completes to
    /// `out`.
    ///
    /// # Errors
    /// [`AesError::TooLong`] beyond [`MAX_STREAM_LEN`].
    pub fn push(&mut self, mut plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), AesError> {
        while !plaintext.is_empty() {
            // Only now is it certain that the chunk is not the last.
            if self.chunk.len() == CHUNK_LEN {
                self.cipher.seal_next(&mut self.chunk)?;
                flush(&mut self.chunk, out);
            }
            plaintext = fill(&mut self.chunk, plaintext, CHUNK_LEN);
        }
        Ok(())
    }

    /// Ends the stream and appends its last chunk to `out`.
    ///
    /// # Errors
    /// [`AesError::TooLong`] beyond [`MAX_STREAM_LEN`].
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), AesError> {
        self.cipher.seal_last(&mut self.chunk)?;
        flush(&mut self.chunk, out);
        Ok(())
    }
}

/// Opens a stream piece by piece.
///
/// It gives out no byte that was not authenticated in its place. That the stream is *complete* is
/// known only when [`StreamOpener::finish`] succeeds: what was given out before an error is the
/// genuine beginning of a stream whose end is missing or was changed, and the caller must throw it
/// away or undo whatever it did with it.
#[must_use = "a stream is complete only when `finish` says so"]
pub struct StreamOpener<'k> {
    state: State<'k>,
    pending: Zeroizing<Vec<u8>>,
}

enum State<'k> {
    Header { key: StreamKey<'k>, associated_data: Vec<u8> },
    Chunks { cipher: StreamCipher, any: bool },
    Failed,
}

impl<'k> StreamOpener<'k> {
    /// Begins to open a stream that was sealed under this key and associated data.
    pub fn new(key: impl Into<StreamKey<'k>>, associated_data: &[u8]) -> Self {
        let state = State::Header { key: key.into(), associated_data: associated_data.to_vec() };
        Self { state, pending: empty_chunk() }
    }

    /// Takes the next piece of the stream, of any length, and appends the plaintext of the chunks
    /// that it completes to `out`.
    ///
    /// # Errors
    /// [`AesError::Rejected`] for bytes that are not a stream under this key and associated data;
    /// [`AesError::Argon2Ceiling`] and [`AesError::OutOfMemory`] as [`Password::open`]. Nothing can be opened after either, and what
    /// `out` got from earlier calls is to be thrown away.
    pub fn push(&mut self, mut sealed: &[u8], out: &mut Vec<u8>) -> Result<(), AesError> {
        // Failed, unless everything below succeeds.
        let mut state = mem::replace(&mut self.state, State::Failed);
        while !sealed.is_empty() {
            state = match state {
                State::Header { key, associated_data } => {
                    let length = Header::len(&self.pending)?;
                    sealed = fill(&mut self.pending, sealed, length);
                    if self.pending.len() < Header::len(&self.pending)? {
                        State::Header { key, associated_data }
                    } else {
                        let cipher = Header(&self.pending).open(key, &associated_data)?;
                        self.pending.clear();
                        State::Chunks { cipher, any: false }
                    }
                }
                State::Chunks { mut cipher, mut any } => {
                    // Only now is it certain that the chunk is not the last.
                    if self.pending.len() == SEALED_CHUNK_LEN {
                        cipher.open_next(&mut self.pending)?;
                        flush(&mut self.pending, out);
                        any = true;
                    }
                    sealed = fill(&mut self.pending, sealed, SEALED_CHUNK_LEN);
                    State::Chunks { cipher, any }
                }
                State::Failed => return Err(AesError::Rejected),
            };
        }
        self.state = state;
        Ok(())
    }

    /// Says that the stream has ended, and appends the plaintext of its last chunk to `out`.
    ///
    /// # Errors
    /// [`AesError::Rejected`] when it is not complete, or an earlier piece was rejected.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), AesError> {
        let State::Chunks { cipher, any } = self.state else {
            return Err(AesError::Rejected);
        };
        cipher.open_last(&mut self.pending)?;
        if any && self.pending.is_empty() {
            return Err(AesError::Rejected);
        }
        flush(&mut self.pending, out);
        Ok(())
    }
}

/// Seals all that `reader` gives into `writer`, in constant memory (about 200 KiB), and says how many
/// bytes of plaintext there were.
///
/// # Errors
/// [`StreamError::Io`](crate::StreamError::Io) when the reader or writer fails, and
/// [`StreamError::Aes`](crate::StreamError::Aes) as [`StreamSealer`] does. What was written is then
/// no stream.
#[cfg(feature = "std")]
pub fn encrypt_stream<'k>(
    key: impl Into<StreamKey<'k>>,
    associated_data: &[u8],
    mut reader: impl std::io::Read,
    mut writer: impl std::io::Write,
) -> Result<u64, crate::StreamError> {
    let mut piece = Zeroizing::new(alloc::vec![0; CHUNK_LEN]);
    let mut out = Vec::with_capacity(2 * SEALED_CHUNK_LEN);
    let mut length = 0u64;
    let mut sealer = StreamSealer::new(key, associated_data, &mut out)?;
    while let Some(plaintext) = read_piece(&mut reader, &mut piece)? {
        length = length.saturating_add(u64::try_from(plaintext.len()).unwrap_or(u64::MAX));
        sealer.push(plaintext, &mut out)?;
        writer.write_all(&out)?;
        out.clear();
    }
    sealer.finish(&mut out)?;
    writer.write_all(&out)?;
    writer.flush()?;
    Ok(length)
}

/// Opens the stream that `reader` gives, to its end, into `writer`, in constant memory (about 200
/// KiB), and says how many bytes of plaintext there were.
///
/// # Errors
/// [`StreamError::Io`](crate::StreamError::Io) when the reader or writer fails, and
/// [`StreamError::Aes`](crate::StreamError::Aes) when the stream is not genuine, not complete, or
/// followed by anything. What was written until then is not to be used: write to a temporary file,
/// and give it its name only when this succeeds.
#[cfg(feature = "std")]
pub fn decrypt_stream<'k>(
    key: impl Into<StreamKey<'k>>,
    associated_data: &[u8],
    mut reader: impl std::io::Read,
    mut writer: impl std::io::Write,
) -> Result<u64, crate::StreamError> {
    let mut piece = Zeroizing::new(alloc::vec![0; CHUNK_LEN]);
    let mut out = Zeroizing::new(Vec::with_capacity(2 * SEALED_CHUNK_LEN));
    let mut length = 0u64;
    let mut opener = StreamOpener::new(key, associated_data);
    let mut write = |out: &mut Vec<u8>| {
        length = length.saturating_add(u64::try_from(out.len()).unwrap_or(u64::MAX));
        let written = writer.write_all(out);
        out.clear();
        written
    };
    while let Some(sealed) = read_piece(&mut reader, &mut piece)? {
        opener.push(sealed, &mut out)?;
        write(&mut out)?;
    }
    opener.finish(&mut out)?;
    write(&mut out)?;
    writer.flush()?;
    Ok(length)
}

/// The next bytes of `reader`, or `None` at its end.
#[cfg(feature = "std")]
fn read_piece<'p>(
    reader: &mut impl std::io::Read,
    piece: &'p mut [u8],
) -> std::io::Result<Option<&'p [u8]>> {
    loop {
        match reader.read(piece) {
            Ok(0) => return Ok(None),
            Ok(length) => return Ok(piece.get(..length)),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The cipher of a new stream, whose header goes to `out`.
pub(crate) fn begin(
    key: StreamKey<'_>,
    associated_data: &[u8],
    out: &mut Vec<u8>,
) -> Result<StreamCipher, AesError> {
    let mut header = Vec::with_capacity(Header::MAX_LEN);
    header.push(VERSION);
    let key = match key {
        StreamKey::Key(key) => {
            header.push(mode_of(key));
            key
        }
        StreamKey::Password(password) => {
            header.push(MODE_PASSWORD);
            let (password_header, key) = password.sealing_key()?;
            header.extend_from_slice(&password_header);
            key
        }
    };
    header.extend_from_slice(&random::array::<SALT_LEN>()?);
    let (cipher, commitment) = StreamCipher::new(key, &header, associated_data)?;
    out.extend_from_slice(&header);
    out.extend_from_slice(&commitment);
    Ok(cipher)
}

/// A header, commitment included.
pub(crate) struct Header<'h>(pub(crate) &'h [u8]);

impl Header<'_> {
    const MAX_LEN: usize = 2 + password::HEADER_LEN + SALT_LEN + COMMITMENT_LEN;

    /// Bytes of the header that begins like this: of its first two bytes as long as there are fewer.
    fn len(begin: &[u8]) -> Result<usize, AesError> {
        match begin {
            [] | [VERSION] => Ok(2),
            [VERSION, MODE_AES256 | MODE_AES128, ..] => Ok(2 + SALT_LEN + COMMITMENT_LEN),
            [VERSION, MODE_PASSWORD, ..] => Ok(Self::MAX_LEN),
            _ => Err(AesError::Rejected),
        }
    }

    pub(crate) fn open(
        &self,
        key: StreamKey<'_>,
        associated_data: &[u8],
    ) -> Result<StreamCipher, AesError> {
        let (header, commitment) =
            self.0.split_last_chunk::<COMMITMENT_LEN>().ok_or(AesError::Rejected)?;
        let (begin, rest) = header.split_first_chunk::<2>().ok_or(AesError::Rejected)?;
        let [_, mode] = *begin;
        let key = match key {
            StreamKey::Key(key) if mode == mode_of(key) => key,
            StreamKey::Password(password) if mode == MODE_PASSWORD => {
                password.opening_key(rest.first_chunk().ok_or(AesError::Rejected)?)?
            }
            _ => return Err(AesError::Rejected),
        };
        let (cipher, expected) = StreamCipher::new(key, header, associated_data)?;
        if bool::from(expected.ct_eq(commitment)) { Ok(cipher) } else { Err(AesError::Rejected) }
    }
}

/// Moves bytes from the front of `from` to `chunk` until that has `full`, and gives what is left.
fn fill<'f>(chunk: &mut Vec<u8>, from: &'f [u8], full: usize) -> &'f [u8] {
    let count = full.saturating_sub(chunk.len()).min(from.len());
    let (taken, left) = from.split_at_checked(count).unwrap_or((from, &[]));
    chunk.extend_from_slice(taken);
    left
}

fn flush(chunk: &mut Vec<u8>, out: &mut Vec<u8>) {
    out.extend_from_slice(chunk);
    // Not wiped but overwritten: by the next chunk, and all of it when dropped.
    chunk.clear();
}

/// Room for a sealed chunk, so that it is never moved and left behind in freed memory.
fn empty_chunk() -> Zeroizing<Vec<u8>> {
    Zeroizing::new(Vec::with_capacity(SEALED_CHUNK_LEN))
}

fn mode_of(key: &AesKey) -> u8 {
    match key.algorithm() {
        Algorithm::Aes256 => MODE_AES256,
        Algorithm::Aes128 => MODE_AES128,
    }
}

impl<'a> From<&'a AesKey> for StreamKey<'a> {
    fn from(key: &'a AesKey) -> Self {
        Self::Key(key)
    }
}

impl<'a> From<&'a mut Password> for StreamKey<'a> {
    fn from(password: &'a mut Password) -> Self {
        Self::Password(password)
    }
}

impl fmt::Debug for StreamSealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamSealer(..)")
    }
}

impl fmt::Debug for StreamOpener<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Header { .. } => "StreamOpener(in the header)",
            State::Chunks { .. } => "StreamOpener(in the chunks)",
            State::Failed => "StreamOpener(failed)",
        })
    }
}

const VERSION: u8 = 1;
const MODE_AES256: u8 = 1;
const MODE_AES128: u8 = 2;
const MODE_PASSWORD: u8 = 3;

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    /// Three chunks, against the digest of what pyca/cryptography 48 makes of the description above.
    #[test]
    fn a_long_stream_has_the_documented_bytes() {
        let key = AesKey::copy_from(&(0..32).collect::<Vec<_>>()).unwrap();
        let mut out = alloc::vec![VERSION, MODE_AES256];
        out.extend(200..232);
        let (cipher, commitment) = StreamCipher::new(&key, &out, b"associated data").unwrap();
        out.extend_from_slice(&commitment);
        let mut sealer = StreamSealer { cipher, chunk: empty_chunk() };
        let plaintext: Vec<u8> =
            (0..150_000u32).map(|i| (i * 7 + i / 251).to_le_bytes()[0]).collect();
        sealer.push(&plaintext, &mut out).unwrap();
        sealer.finish(&mut out).unwrap();
        assert_eq!(
            hex::encode(Sha256::digest(&out)),
            "8ae3584d1f2898d992c1685d92cf8331e559612168816b9b8ca891315575cd10"
        );
    }
}
