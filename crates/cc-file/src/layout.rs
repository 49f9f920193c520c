//! The constants of the format, and lengths.

use cc_aes_layer::{CHUNK_LEN, CHUNK_TAG_LEN, SEALED_CHUNK_LEN, STREAM_HEADER_LEN};

/// How a file begins. The first byte is no text, and line ends that a transfer has changed show at once.
pub const MAGIC: [u8; 8] = *b"\x89CCF\r\n\x1a\n";

/// The version of the format.
pub const VERSION: u16 = 1;

/// The most recipients that a file can have.
pub const MAX_RECIPIENTS: usize = MAX_STANZAS - 1;

/// The most stanzas in a header, passphrase included.
pub(crate) const MAX_STANZAS: usize = 256;

/// The most bytes in the body of a stanza. A wrapped key of the largest ML-KEM has 1 616.
pub(crate) const MAX_STANZA_LEN: usize = 4096;

/// What it takes to open a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layers {
    /// The private key of any one recipient.
    Recipients,
    /// The passphrase.
    Passphrase,
    /// The private key of any one recipient, and the passphrase.
    Both,
}

impl Layers {
    /// Whether a private key is needed.
    #[must_use]
    pub const fn recipients(self) -> bool {
        matches!(self, Self::Recipients | Self::Both)
    }

    /// Whether the passphrase is needed.
    #[must_use]
    pub const fn passphrase(self) -> bool {
        matches!(self, Self::Passphrase | Self::Both)
    }

    pub(crate) const fn id(self) -> u8 {
        match self {
            Self::Recipients => 1,
            Self::Passphrase => 2,
            Self::Both => 3,
        }
    }

    pub(crate) const fn from_id(id: u8) -> Option<Self> {
        match id {
            1 => Some(Self::Recipients),
            2 => Some(Self::Passphrase),
            3 => Some(Self::Both),
            _ => None,
        }
    }
}

/// Bytes of plaintext in a file that has this many bytes behind its header, or `None` where no file has so
/// many.
#[must_use]
pub fn plaintext_len(behind_header: u64) -> Option<u64> {
    let chunks = behind_header.checked_sub(STREAM_HEADER_LEN as u64)?;
    let (full, rest) = (chunks / SEALED_CHUNK_LEN as u64, chunks % SEALED_CHUNK_LEN as u64);
    match rest.checked_sub(CHUNK_TAG_LEN as u64) {
        Some(0) if full > 0 => None,
        Some(rest) => Some(full * CHUNK_LEN as u64 + rest),
        None if rest == 0 && full > 0 => Some(full * CHUNK_LEN as u64),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_around_the_chunk_boundaries() {
        let (header, tag) = (STREAM_HEADER_LEN as u64, CHUNK_TAG_LEN as u64);
        let (chunk, sealed) = (CHUNK_LEN as u64, SEALED_CHUNK_LEN as u64);
        for (behind_header, expected) in [
            (0, None),
            (header, None),
            (header + tag - 1, None),
            (header + tag, Some(0)),
            (header + tag + 1, Some(1)),
            (header + sealed, Some(chunk)),
            (header + sealed + 1, None),
            (header + sealed + tag, None),
            (header + sealed + tag + 1, Some(chunk + 1)),
            (header + 3 * sealed, Some(3 * chunk)),
        ] {
            assert_eq!(plaintext_len(behind_header), expected, "{behind_header}");
        }
    }
}
