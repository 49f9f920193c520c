//! Reading a file from its beginning.

use std::{
    fmt,
    io::{self, Read},
};
#[cfg(feature = "parallel")]
use std::{io::Write, num::NonZeroUsize};

use cc_aes_layer::{ChunkOpener, SEALED_CHUNK_LEN};
use zeroize::Zeroizing;

use crate::{
    FileError, FileKey,
    chunk_io::{Lookahead, open, opener},
};

impl FileKey {
    /// A reader of the plaintext. `reader` is where [`Header::read`](crate::Header::read) left it.
    ///
    /// # Errors
    /// [`FileError::Incomplete`], [`FileError::Changed`], [`FileError::Io`].
    pub fn reader<R: Read>(&self, mut reader: R) -> Result<FileReader<R>, FileError> {
        let opener = opener(self, &mut reader)?;
        Ok(FileReader {
            state: Some(State { opener, reader: Lookahead::new(reader), position: Some(0) }),
            chunk: Zeroizing::new(vec![0; SEALED_CHUNK_LEN]),
            spare: Vec::new(),
            plaintext: (0, 0),
            failed: false,
        })
    }

    /// Decrypts all that `reader` gives, from where [`Header::read`](crate::Header::read) left it, into
    /// `writer`, and says how many bytes there were. Chunks are decrypted on so many threads, and written in
    /// order; memory is constant, about 1 MiB for each thread. `writer` is not flushed.
    ///
    /// # Errors
    /// As [`FileReader`]. Only authentic bytes were written then, but not all of them: to be thrown away.
    #[cfg(feature = "parallel")]
    pub fn copy(
        &self,
        mut reader: impl Read,
        writer: impl Write,
        threads: NonZeroUsize,
    ) -> Result<u64, FileError> {
        let opener = opener(self, &mut reader)?;
        crate::parallel::decrypt(opener, reader, writer, threads)
    }
}

/// The plaintext of a file. It gives out authentic bytes only, and that they are all of them is known when
/// it has come to its end: an error on the way means that the file is incomplete or was changed, and that
/// what came before is to be thrown away. `FileError::from` says which.
pub struct FileReader<R> {
    /// `None` at the end and after an error.
    state: Option<State<R>>,
    chunk: Zeroizing<Vec<u8>>,
    /// Of ciphertext.
    spare: Vec<u8>,
    /// What of `chunk` is plaintext that has not been read.
    plaintext: (usize, usize),
    failed: bool,
}

struct State<R> {
    opener: ChunkOpener,
    reader: Lookahead<R>,
    /// Of the next chunk, where there can be one.
    position: Option<u32>,
}

impl<R: Read> FileReader<R> {
    fn next_chunk(&mut self, mut state: State<R>) -> Result<(), FileError> {
        let filled = state.reader.fill(&mut self.chunk)?;
        let last = state.reader.at_end()?;
        let position = state.position.ok_or(FileError::TooLong)?;
        let chunk = self.chunk.get_mut(..filled).unwrap_or_default();
        let plaintext = open_or_incomplete(&state.opener, position, last, chunk, &mut self.spare)?;
        self.plaintext = (0, plaintext.len());
        if !last {
            state.position = position.checked_add(1);
            self.state = Some(state);
        }
        Ok(())
    }
}

/// Opens a chunk that may be too short to be one.
pub(crate) fn open_or_incomplete<'c>(
    opener: &ChunkOpener,
    position: u32,
    last: bool,
    chunk: &'c mut [u8],
    spare: &mut Vec<u8>,
) -> Result<&'c mut [u8], FileError> {
    if chunk.len() < cc_aes_layer::CHUNK_TAG_LEN {
        return Err(FileError::Incomplete);
    }
    open(opener, position, last, chunk, spare)
}

impl<R: Read> Read for FileReader<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        while self.plaintext.0 == self.plaintext.1 {
            let Some(state) = self.state.take() else {
                return match self.failed {
                    false => Ok(0),
                    true => Err(io::Error::other("reading has failed before")),
                };
            };
            if let Err(error) = self.next_chunk(state) {
                self.failed = true;
                return Err(error.into_io());
            }
        }
        let (start, end) = self.plaintext;
        let rest = self.chunk.get(start..end).unwrap_or_default();
        let count = rest.len().min(bytes.len());
        let (Some(to), Some(from)) = (bytes.get_mut(..count), rest.get(..count)) else {
            return Ok(0);
        };
        to.copy_from_slice(from);
        self.plaintext.0 += count;
        Ok(count)
    }
}

impl<R> fmt::Debug for FileReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileReader(..)")
    }
}
