//! What can go wrong.

use std::io;

use cc_aes_layer::{AesError, Argon2Params};
use cc_core::RandomError;

/// Why a file was not written or not read.
///
/// Whoever opens a file learns here which step refused it. A program that opens files for others over a
/// network should not pass that on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The reader or the writer failed.
    #[error(transparent)]
    Io(io::Error),
    /// The bytes do not begin as a file of this format does.
    #[error("this is not a cascade file")]
    NotAFile,
    /// A file of another version of the format.
    #[error(
        "the file has version {0} of the format, which this version of the program does not read"
    )]
    Version(u16),
    /// The file is protected in a way that is not known here: a later version may.
    #[error("the file is protected in a way that this version of the program does not know")]
    UnknownProtection,
    /// The header breaks a rule of the format.
    #[error("the header of the file is damaged: {0}")]
    Header(&'static str),
    /// Armoured text that breaks a rule of the format.
    #[error("the armoured text is damaged: {0}")]
    Armor(&'static str),
    /// The file ends before it is complete.
    #[error("the file is not complete: its end is missing")]
    Incomplete,
    /// The file goes on after its end.
    #[error("there are bytes after the end of the file")]
    TrailingBytes,
    /// Changed since it was encrypted, or a chunk of another file.
    #[error("the file was changed since it was encrypted")]
    Changed,
    /// A file for recipients, and no identity was given.
    #[error("the file is encrypted to recipients, and no identity was given")]
    NeedsIdentity,
    /// A file under a passphrase, and none was given.
    #[error("the file is encrypted under a passphrase, and none was given")]
    NeedsPassphrase,
    /// An identity was given, and the file has no recipients: whoever demands this protection does not get
    /// less.
    #[error("the file is not encrypted to recipients, but an identity was given")]
    NoRecipients,
    /// A passphrase was given, and the file is under none: whoever demands this protection does not get
    /// less.
    #[error("the file is not encrypted under a passphrase, but one was given")]
    NoPassphrase,
    /// None of the identities is one of the recipients.
    #[error("none of the identities is a recipient of the file")]
    NoMatch,
    /// None of the identities is one of the recipients that are known here, and there are others: a later
    /// version may open the file.
    #[error(
        "none of the identities is a recipient of the file; it has recipients of kinds that this version of the \
         program does not know"
    )]
    NoKnownMatch,
    /// The passphrase is another one, or the header was changed: which of the two cannot be known.
    #[error("wrong passphrase, or the header of the file was changed")]
    WrongPassphrase,
    /// The header was changed since the file was encrypted.
    #[error("the header of the file was changed since it was encrypted")]
    HeaderChanged,
    /// Nobody to encrypt to: neither a recipient nor a passphrase.
    #[error("there is neither a recipient nor a passphrase to encrypt to")]
    NobodyToOpen,
    /// More recipients than [`MAX_RECIPIENTS`](crate::MAX_RECIPIENTS).
    #[error("a file has at most 255 recipients, not {0}")]
    TooManyRecipients(usize),
    /// A text that is not a key, with what is wrong.
    #[error("not a key: {0}")]
    KeyText(&'static str),
    /// A line of a file of keys that is not a key.
    #[error("line {line} of the key file: {reason}")]
    KeyFile {
        /// The number of the line, from 1.
        line: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// The file asks for a costlier run of Argon2id than is accepted. Nothing was run.
    #[error(
        "the passphrase of this file takes Argon2id with {} MiB, {} passes and {} lanes, and at most {} MiB, \
         {} and {} are accepted",
        asked.memory_kib() >> 10, asked.passes(), asked.lanes(),
        ceiling.memory_kib() >> 10, ceiling.passes(), ceiling.lanes()
    )]
    Argon2Ceiling {
        /// What the file asks for.
        asked: Argon2Params,
        /// The most that is accepted.
        ceiling: Argon2Params,
    },
    /// The memory that Argon2id needs could not be had.
    #[error("there is not enough memory for Argon2id")]
    OutOfMemory,
    /// The operating system's random generator failed.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// More than 256 TiB.
    #[error("a file has at most 256 TiB")]
    TooLong,
    /// A library refused what it must accept. A bug here.
    #[error("internal error in {0}")]
    Internal(&'static str),
}

impl FileError {
    /// As an error of a [`Read`](io::Read) or [`Write`](io::Write); the other way is `from`.
    pub(crate) fn into_io(self) -> io::Error {
        let kind = match self {
            Self::Io(error) => return error,
            Self::Incomplete => io::ErrorKind::UnexpectedEof,
            _ => io::ErrorKind::InvalidData,
        };
        io::Error::new(kind, self)
    }
}

/// The error of this crate that one of its readers or writers wrapped, or [`FileError::Io`].
impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        error.downcast().unwrap_or_else(Self::Io)
    }
}

/// Of an operation with the file's own keys, where nothing was refused for the bytes of a file.
impl From<AesError> for FileError {
    fn from(error: AesError) -> Self {
        match error {
            AesError::Random(error) => Self::Random(error),
            AesError::Argon2Ceiling { asked, ceiling } => Self::Argon2Ceiling { asked, ceiling },
            AesError::OutOfMemory => Self::OutOfMemory,
            AesError::TooLong => Self::TooLong,
            AesError::Rejected => Self::Changed,
            _ => Self::Internal("AES"),
        }
    }
}
