//! Segments: how an attachment is cut, sealed, opened and chained.

use cc_aes_layer::{AesError, AesKey, CHUNK_LEN, StreamOpener, StreamSealer};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{AttachmentError, Keys, SEGMENT_LEN};
use crate::{LogId, Position, padme::padme};

/// The header of a stream under a key, and the tag of a chunk.
const HEADER_LEN: usize = 66;
const TAG_LEN: usize = 16;

/// The least length that is not told apart from a smaller one.
const MIN_PADDED: u64 = 1024;

/// The plaintext of one attachment, padded and cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    padded: u64,
}

impl Layout {
    pub(super) fn of(length: u64) -> Self {
        Self { padded: padme(length.max(MIN_PADDED)) }
    }

    /// At least one.
    pub(super) const fn segments(self) -> u64 {
        self.padded.div_ceil(SEGMENT_LEN as u64)
    }

    /// Bytes of plaintext in the segment behind `before` others, padding included.
    pub(super) fn segment_len(self, before: u64) -> usize {
        let left = self.padded.saturating_sub(before.saturating_mul(SEGMENT_LEN as u64));
        usize::try_from(left).unwrap_or(SEGMENT_LEN).min(SEGMENT_LEN)
    }
}

/// Bytes of a sealed segment of this many bytes.
const fn sealed_len(plaintext: usize) -> usize {
    let chunks = if plaintext == 0 { 1 } else { plaintext.div_ceil(CHUNK_LEN) };
    HEADER_LEN + plaintext + chunks * TAG_LEN
}

impl Keys {
    pub(super) fn seal(&self, at: Position, plaintext: &[u8]) -> Result<Vec<u8>, AttachmentError> {
        let mut sealed = Vec::with_capacity(sealed_len(plaintext.len()));
        let cipher = AttachmentError::Cipher;
        let mut sealer = StreamSealer::new(&self.cipher_key(), &self.context(at), &mut sealed)
            .map_err(cipher)?;
        sealer.push(plaintext, &mut sealed).map_err(cipher)?;
        sealer.finish(&mut sealed).map_err(cipher)?;
        Ok(sealed)
    }

    /// The plaintext of a segment that has `len` bytes.
    pub(super) fn open(
        &self,
        at: Position,
        len: usize,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, AttachmentError> {
        // The length is known beforehand, so that nothing is worked on in vain.
        if sealed.len() != sealed_len(len) {
            return Err(AttachmentError::Rejected);
        }
        let rejected = |error| match error {
            AesError::Rejected => AttachmentError::Rejected,
            error => AttachmentError::Cipher(error),
        };
        let key = self.cipher_key();
        let mut plaintext = Zeroizing::new(Vec::with_capacity(len));
        let mut opener = StreamOpener::new(&key, &self.context(at));
        opener.push(sealed, &mut plaintext).map_err(rejected)?;
        opener.finish(&mut plaintext).map_err(rejected)?;
        Ok(plaintext)
    }

    fn cipher_key(&self) -> AesKey {
        AesKey::aes256(self.derive(b"cc-client/1 attachment key"))
    }

    /// What a segment is bound to: its log, and its place there.
    fn context(&self, at: Position) -> Vec<u8> {
        let label = &b"cc-client/1 attachment segment"[..];
        [label, self.log.as_bytes(), &at.0.to_be_bytes()].concat()
    }
}

/// Where the chain over the sealed segments begins.
pub(super) fn chain_start(log: &LogId) -> [u8; 32] {
    Sha256::new()
        .chain_update(b"cc-client/1 attachment")
        .chain_update(log.as_bytes())
        .finalize()
        .into()
}

/// The chain with one more segment.
pub(super) fn chain(before: &[u8; 32], sealed: &[u8]) -> [u8; 32] {
    let hash = Sha256::new().chain_update(b"cc-client/1 segment").chain_update(before);
    hash.chain_update(sealed).finalize().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn padding_is_that_of_the_paper() {
        // Figure 5 of the paper: of a length's bits all but the top ones are zero.
        for (length, padded) in
            [(1024, 1024), (1025, 1088), (9, 10), (1 << 20, 1 << 20), ((1 << 20) + 1, 1_081_344)]
        {
            assert_eq!(padme(length), padded, "{length}");
        }
    }

    proptest! {
        #[test]
        fn padding_costs_little_and_is_cut_without_a_rest(length in 0u64..=super::super::MAX_ATTACHMENT_LEN) {
            let layout = Layout::of(length);
            prop_assert!(layout.padded >= length);
            prop_assert!(length < 1024 || layout.padded - length <= length / 8);
            let last = layout.segments() - 1;
            let whole = last * SEGMENT_LEN as u64;
            prop_assert_eq!(whole + layout.segment_len(last) as u64, layout.padded);
            prop_assert!(layout.segment_len(last) > 0);
            prop_assert_eq!(layout.segment_len(last + 1), 0);
        }
    }

    #[test]
    fn a_sealed_segment_has_the_length_that_is_expected() {
        let keys =
            Keys { log: LogId::from_bytes([1; 32]), key: cc_core::Secret::take(&mut [2; 32]) };
        for len in [0, 1, CHUNK_LEN, CHUNK_LEN + 1, SEGMENT_LEN] {
            let sealed = keys.seal(Position(1), &vec![7; len]).unwrap();
            assert_eq!(sealed.len(), sealed_len(len));
            assert_eq!(keys.open(Position(1), len, &sealed).unwrap().len(), len);
            assert!(keys.open(Position(2), len, &sealed).is_err());
        }
    }
}
