//! Writing a file.

use std::{
    fmt,
    io::{self, Write},
};

use cc_aes_layer::{CHUNK_LEN, CHUNK_TAG_LEN, ChunkSeal, ChunkSealer, SEALED_CHUNK_LEN};
use zeroize::Zeroizing;

use crate::FileError;

/// Encrypts what is written to it. A file that is not [finished](FileWriter::finish) does not open.
#[must_use = "a file that is not finished does not open"]
pub struct FileWriter<W> {
    /// `None` after an error: what was written is then no file.
    sealer: Option<ChunkSealer>,
    writer: W,
    chunk: Zeroizing<Vec<u8>>,
}

impl<W: Write> FileWriter<W> {
    pub(crate) fn new(sealer: ChunkSealer, writer: W) -> Self {
        let chunk = Zeroizing::new(Vec::with_capacity(SEALED_CHUNK_LEN));
        Self { sealer: Some(sealer), writer, chunk }
    }

    /// Writes the last chunk, flushes, and gives the inner writer back.
    ///
    /// # Errors
    /// [`FileError::Io`], also after any earlier error.
    pub fn finish(mut self) -> Result<W, FileError> {
        let place = self.sealer.take().ok_or_else(failed_before)?.last_chunk();
        self.seal(place)?;
        self.writer.flush()?;
        Ok(self.writer)
    }

    fn seal(&mut self, place: ChunkSeal) -> Result<(), FileError> {
        self.chunk.extend_from_slice(&[0; CHUNK_TAG_LEN]);
        place.seal(&mut self.chunk)?;
        self.writer.write_all(&self.chunk)?;
        self.chunk.clear();
        Ok(())
    }

    /// Writes a chunk that is full, and not the last.
    fn seal_next(&mut self) -> Result<(), FileError> {
        // Taken, and put back only where everything succeeds.
        let mut sealer = self.sealer.take().ok_or_else(failed_before)?;
        let place = sealer.next_chunk()?;
        self.seal(place)?;
        self.sealer = Some(sealer);
        Ok(())
    }
}

impl<W: Write> Write for FileWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.sealer.is_none() {
            return Err(failed_before());
        }
        // Only with another byte is it certain that the chunk is not the last.
        if self.chunk.len() == CHUNK_LEN && !bytes.is_empty() {
            self.seal_next().map_err(FileError::into_io)?;
        }
        let count = bytes.len().min(CHUNK_LEN - self.chunk.len());
        self.chunk.extend_from_slice(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    /// Flushes the inner writer. The bytes of a chunk that is not full stay here.
    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

fn failed_before() -> io::Error {
    io::Error::other("writing has failed before")
}

impl<W> fmt::Debug for FileWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileWriter(..)")
    }
}
