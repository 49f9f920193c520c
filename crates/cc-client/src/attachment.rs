//! Attachments: data of any length, in a log of its own, under a key of its own.
//!
//! An attachment is cut into segments of 1 MiB. Each segment is one item of the attachment's log, appended
//! as a commit behind the one before it, so that the log has them once and in order whatever is lost or
//! repeated on the way. A segment is a stream of cc-aes-layer with a fresh salt, under the attachment's key,
//! with the log's address and its own number as associated data. A segment that is sealed a second time,
//! after a crash, has another salt: no key and nonce ever encrypt two plaintexts, whatever became of the
//! file meanwhile.
//!
//! What a message carries is an [`Attachment`]: the log, the key, the length, and the head of a hash chain
//! over all sealed segments. Whoever has the key could make other segments; the chain, which the sender's
//! message authenticates, shows everybody the same ones.
//!
//! The length is padded as Padmé does (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and
//! Communication with PURBs", 2019, section 4), by at most 12 %: the service learns the order of magnitude
//! and a few bits.

mod blocking;
mod download;
mod segment;
mod upload;

use core::fmt;
use std::io;

use cc_core::{Opaque, RandomError, Secret};
use tls_codec::{DeserializeBytes, Error as CodecError, SerializeBytes, Size};

use crate::{AccessToken, Failure, LogId};

pub use download::{Download, DownloadStep};
pub use upload::{Upload, UploadStep};

/// Bytes of plaintext in every segment but the last: 1 MiB. The sealed segment has 322 more.
pub const SEGMENT_LEN: usize = 1 << 20;

/// Bytes of the longest attachment: 2^40 (1 TiB).
pub const MAX_ATTACHMENT_LEN: u64 = 1 << 40;

/// Bytes of a name, and of a media type.
const MAX_TEXT: usize = 255;

/// An attachment that was uploaded: where it is, and the key to it. Whoever has this reads it.
#[derive(PartialEq, Eq)]
pub struct Attachment {
    pub(crate) log: LogId,
    pub(crate) key: Secret<32>,
    pub(crate) length: u64,
    pub(crate) digest: [u8; 32],
    pub(crate) name: String,
    pub(crate) media_type: String,
}

impl Attachment {
    /// The log that holds it, for a service that is to forget it.
    #[must_use]
    pub const fn log(&self) -> LogId {
        self.log
    }

    /// Bytes of the plaintext.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// What its sender calls it, at most 255 bytes. It may be anything: it is no path.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its sender says that it is, as `image/png`; at most 255 bytes.
    #[must_use]
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// The head of the hash chain over its sealed segments. 32 bytes.
    #[must_use]
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}

impl Clone for Attachment {
    fn clone(&self) -> Self {
        Self {
            log: self.log,
            key: self.key.duplicate(),
            length: self.length,
            digest: self.digest,
            name: self.name.clone(),
            media_type: self.media_type.clone(),
        }
    }
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attachment")
            .field("log", &self.log)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

impl Size for Attachment {
    fn tls_serialized_len(&self) -> usize {
        let texts = [&self.name, &self.media_type];
        let texts = texts.map(|text| Opaque::from(text.as_bytes()).tls_serialized_len());
        32 + 32 + 8 + 32 + texts.iter().sum::<usize>()
    }
}

impl SerializeBytes for Attachment {
    fn tls_serialize_bytes(&self) -> Result<Vec<u8>, CodecError> {
        let mut bytes = Vec::with_capacity(self.tls_serialized_len());
        bytes.extend_from_slice(self.log.as_bytes());
        bytes.extend_from_slice(self.key.expose());
        bytes.extend_from_slice(&self.length.to_be_bytes());
        bytes.extend_from_slice(&self.digest);
        for text in [&self.name, &self.media_type] {
            bytes.extend_from_slice(&Opaque::from(text.as_bytes()).tls_serialize_bytes()?);
        }
        Ok(bytes)
    }
}

impl DeserializeBytes for Attachment {
    fn tls_deserialize_bytes(bytes: &[u8]) -> Result<(Self, &[u8]), CodecError> {
        let (log, bytes) = LogId::tls_deserialize_bytes(bytes)?;
        let (key, bytes) = bytes.split_first_chunk::<32>().ok_or(CodecError::EndOfStream)?;
        let (length, bytes) = u64::tls_deserialize_bytes(bytes)?;
        let (digest, bytes) = <[u8; 32]>::tls_deserialize_bytes(bytes)?;
        let (name, bytes) = short_text(bytes)?;
        let (media_type, bytes) = short_text(bytes)?;
        if length > MAX_ATTACHMENT_LEN {
            return Err(CodecError::InvalidInput);
        }
        let key = Secret::take(&mut { *key });
        Ok((Self { log, key, length, digest, name, media_type }, bytes))
    }
}

fn short_text(bytes: &[u8]) -> Result<(String, &[u8]), CodecError> {
    let (text, rest) = Opaque::tls_deserialize_bytes(bytes)?;
    if text.0.len() > MAX_TEXT {
        return Err(CodecError::InvalidVectorLength);
    }
    let text = String::from_utf8(text.0).map_err(|_| CodecError::InvalidInput)?;
    Ok((text, rest))
}

/// Why an attachment cannot be sent or read (now).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachmentError {
    /// What the log has is not what the attachment's sender put there.
    #[error("not what the sender of the attachment put there")]
    Rejected,
    /// The log ends before the attachment does: it was deleted, or not all of it is shown.
    #[error("the attachment is not complete, or no longer there")]
    Incomplete,
    /// The log no longer has the beginning of what was sent: the service keeps less of a log than the
    /// attachment is long, or not as long as the upload took.
    #[error("the delivery service does not keep all of it: too much, or sent over too long a time")]
    NotKept,
    /// The plaintext of an upload that is continued is not the one that it began with.
    #[error("the data changed while it was sent")]
    Changed,
    /// Longer than [`MAX_ATTACHMENT_LEN`], or a name or media type of more than 255 bytes.
    #[error("too long")]
    TooLong,
    /// Bytes that are no saved state of this attachment.
    #[error("not a saved state of this attachment")]
    State,
    /// The delivery service refused, or did not answer. It may be tried again.
    #[error("the delivery service does not answer as it should")]
    Service(#[from] Failure),
    /// The operating system's random generator failed.
    #[error("no randomness")]
    Random(#[from] RandomError),
    /// The cipher failed.
    #[error("the cipher failed")]
    Cipher(#[source] cc_aes_layer::AesError),
    /// The data could not be read or written.
    #[error("the data could not be read or written")]
    Io(#[from] io::Error),
}

/// What all of an attachment's segments have in common.
struct Keys {
    log: LogId,
    key: Secret<32>,
}

impl Keys {
    fn token(&self) -> AccessToken {
        AccessToken::new(self.derive(b"cc-client/1 attachment token"))
    }

    fn derive(&self, label: &[u8]) -> Secret<32> {
        cc_core::kdf::hkdf(self.log.as_bytes(), self.key.expose(), &[label])
    }
}
