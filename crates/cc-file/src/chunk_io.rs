//! Chunks from a reader, and how one that does not open is told.

use std::io::{ErrorKind, Read};

use cc_aes_layer::{ChunkOpener, STREAM_HEADER_LEN};

use zeroize::Zeroize as _;

use crate::{FileError, FileKey};

/// A reader that knows whether it is at its end, by one byte that it reads ahead.
pub(crate) struct Lookahead<R> {
    reader: R,
    ahead: Option<u8>,
}

impl<R: Read> Lookahead<R> {
    pub(crate) const fn new(reader: R) -> Self {
        Self { reader, ahead: None }
    }

    /// Fills `bytes` as far as the reader goes, and says how far.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) -> Result<usize, FileError> {
        let mut filled = 0;
        if let (Some(first), Some(ahead)) = (bytes.first_mut(), self.ahead) {
            *first = ahead;
            self.ahead = None;
            filled = 1;
        }
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.reader.read(rest) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(filled)
    }

    /// Whether nothing follows.
    pub(crate) fn at_end(&mut self) -> Result<bool, FileError> {
        if self.ahead.is_none() {
            let mut byte = [0];
            if self.fill(&mut byte)? == 1 {
                let [byte] = byte;
                self.ahead = Some(byte);
            }
        }
        Ok(self.ahead.is_none())
    }
}

/// The opener of the chunks of a file, whose stream begins where `reader` is.
pub(crate) fn opener(key: &FileKey, reader: &mut impl Read) -> Result<ChunkOpener, FileError> {
    let mut header = [0; STREAM_HEADER_LEN];
    if Lookahead::new(reader).fill(&mut header)? < header.len() {
        return Err(FileError::Incomplete);
    }
    ChunkOpener::new(&key.stream, &key.mac, &header).map_err(|_| FileError::Changed)
}

/// Opens a chunk; where it does not open, tells a file that was cut or extended between two chunks from
/// one that was changed. A chunk that does not open is overwritten, so that it is copied to `spare` first,
/// which takes a third of the time of the opening.
pub(crate) fn open<'c>(
    opener: &ChunkOpener,
    position: u32,
    last: bool,
    chunk: &'c mut [u8],
    spare: &mut Vec<u8>,
) -> Result<&'c mut [u8], FileError> {
    spare.clear();
    spare.extend_from_slice(chunk);
    opener.open(position, last, chunk).map_err(|_| {
        let other = opener.open(position, !last, spare).is_ok();
        spare.zeroize();
        match (other, last) {
            (true, true) => FileError::Incomplete,
            (true, false) => FileError::TrailingBytes,
            (false, _) => FileError::Changed,
        }
    })
}
