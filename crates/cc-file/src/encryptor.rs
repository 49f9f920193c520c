//! Whom a file is encrypted to.

use std::io::Write;
#[cfg(feature = "parallel")]
use std::{io::Read, num::NonZeroUsize};

use cc_aes_layer::{ChunkSealer, Password};

use crate::{FileError, FileWriter, Header, Recipient};

/// Encrypts files: to recipients, of whom any one opens them; under a passphrase; or to both, so that a
/// recipient needs the passphrase as well.
#[derive(Debug, Default)]
#[must_use]
pub struct Encryptor {
    recipients: Vec<Recipient>,
    passphrase: Option<Password>,
}

impl Encryptor {
    /// To nobody yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// To this recipient as well.
    pub fn recipient(mut self, recipient: Recipient) -> Self {
        self.recipients.push(recipient);
        self
    }

    /// Under this passphrase, with [its parameters](Password::with_params) of Argon2id.
    pub fn passphrase(mut self, passphrase: Password) -> Self {
        self.passphrase = Some(passphrase);
        self
    }

    /// A writer that encrypts into `writer`, in constant memory (about 64 KiB). The header is written at
    /// once.
    ///
    /// # Errors
    /// [`FileError::NobodyToOpen`], [`FileError::TooManyRecipients`], [`FileError::Random`],
    /// [`FileError::OutOfMemory`] for Argon2id, [`FileError::Io`].
    pub fn writer<W: Write>(&self, mut writer: W) -> Result<FileWriter<W>, FileError> {
        Ok(FileWriter::new(self.begin(&mut writer)?, writer))
    }

    /// Encrypts all that `reader` gives into `writer`, and says how many bytes of plaintext there were.
    /// Chunks are encrypted on so many threads, and written in order; memory is constant, about 1 MiB for
    /// each thread. `writer` is not flushed.
    ///
    /// # Errors
    /// As [`Encryptor::writer`], and [`FileError::TooLong`]. What was written is then no file.
    #[cfg(feature = "parallel")]
    pub fn copy(
        &self,
        reader: impl Read,
        mut writer: impl Write,
        threads: NonZeroUsize,
    ) -> Result<u64, FileError> {
        let sealer = self.begin(&mut writer)?;
        crate::parallel::encrypt(sealer, reader, writer, threads)
    }

    /// Writes the headers of the file and of its stream.
    fn begin(&self, writer: &mut impl Write) -> Result<ChunkSealer, FileError> {
        let (header, key) = Header::create(&self.recipients, self.passphrase.as_ref())?;
        let mut bytes = header.to_bytes();
        let sealer = ChunkSealer::new(&key.stream, &key.mac, &mut bytes)?;
        writer.write_all(&bytes)?;
        Ok(sealer)
    }
}
