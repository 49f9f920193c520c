//! Reading a file from anywhere.

use std::{
    fmt,
    io::{self, Read, Seek, SeekFrom},
};

use cc_aes_layer::{CHUNK_LEN, ChunkOpener, SEALED_CHUNK_LEN, STREAM_HEADER_LEN};
use zeroize::Zeroizing;

use crate::{
    FileError, FileKey,
    chunk_io::{Lookahead, opener},
    plaintext_len,
    reader::open_or_incomplete,
};

impl FileKey {
    /// A reader that can seek in the plaintext. `reader` is where [`Header::read`](crate::Header::read) left
    /// it. The last chunk is read at once, by which the length of the file is authentic; after that, only
    /// the chunks that are asked for.
    ///
    /// # Errors
    /// [`FileError::Incomplete`], [`FileError::TrailingBytes`], [`FileError::Changed`], [`FileError::Io`].
    pub fn range_reader<R: Read + Seek>(&self, mut reader: R) -> Result<RangeReader<R>, FileError> {
        let stream = reader.stream_position()?;
        let opener = opener(self, &mut reader)?;
        let end = reader.seek(SeekFrom::End(0))?;
        let behind_header = end.saturating_sub(stream);
        let len = plaintext_len(behind_header).ok_or(FileError::Incomplete)?;
        let last = u32::try_from(len.saturating_sub(1) / CHUNK_LEN as u64)
            .map_err(|_| FileError::TooLong)?;
        let mut range = RangeReader {
            opener,
            reader,
            body: stream + STREAM_HEADER_LEN as u64,
            len,
            last,
            at: 0,
            chunk: Zeroizing::new(vec![0; SEALED_CHUNK_LEN]),
            spare: Vec::new(),
            loaded: None,
        };
        range.load(last)?;
        Ok(range)
    }
}

/// The plaintext of a file, in any order. What it gives out is authentic and in its place, and the file is
/// as long as it says; chunks that nobody asked for may be damaged.
pub struct RangeReader<R> {
    opener: ChunkOpener,
    reader: R,
    /// Where the first chunk begins in `reader`.
    body: u64,
    /// Bytes of plaintext.
    len: u64,
    /// The position of the last chunk.
    last: u32,
    /// Where the next byte is read.
    at: u64,
    chunk: Zeroizing<Vec<u8>>,
    /// Of ciphertext.
    spare: Vec<u8>,
    /// The position of the chunk that is in `chunk`, and the length of its plaintext.
    loaded: Option<(u32, usize)>,
}

impl<R: Read + Seek> RangeReader<R> {
    /// Bytes of plaintext.
    #[must_use]
    pub const fn plaintext_len(&self) -> u64 {
        self.len
    }

    /// The plaintext of the chunk at `position`.
    fn load(&mut self, position: u32) -> Result<&[u8], FileError> {
        let len = match self.loaded.take() {
            Some((loaded, len)) if loaded == position => len,
            _ => {
                let offset = u64::from(position) * SEALED_CHUNK_LEN as u64;
                self.reader.seek(SeekFrom::Start(self.body + offset))?;
                let filled = Lookahead::new(&mut self.reader).fill(&mut self.chunk)?;
                let chunk = self.chunk.get_mut(..filled).unwrap_or_default();
                let last = position == self.last;
                open_or_incomplete(&self.opener, position, last, chunk, &mut self.spare)?.len()
            }
        };
        self.loaded = Some((position, len));
        Ok(self.chunk.get(..len).unwrap_or_default())
    }
}

impl<R: Read + Seek> Read for RangeReader<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if bytes.is_empty() || self.at >= self.len {
            return Ok(0);
        }
        let chunk_len = CHUNK_LEN as u64;
        let position =
            u32::try_from(self.at / chunk_len).map_err(|_| FileError::TooLong.into_io())?;
        let offset = usize::try_from(self.at % chunk_len).unwrap_or(CHUNK_LEN);
        let rest = self.load(position).map_err(FileError::into_io)?;
        let rest = rest.get(offset..).unwrap_or_default();
        let count = rest.len().min(bytes.len());
        let (Some(to), Some(from)) = (bytes.get_mut(..count), rest.get(..count)) else {
            return Ok(0);
        };
        to.copy_from_slice(from);
        self.at += count as u64;
        Ok(count)
    }
}

impl<R> Seek for RangeReader<R> {
    /// Anywhere that is not before the beginning. Behind the end there is nothing to read.
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

impl<R> fmt::Debug for RangeReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RangeReader").field("len", &self.len).finish_non_exhaustive()
    }
}
