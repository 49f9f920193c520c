//! What can go wrong, what to do next, and the status that the program ends with.

use std::{io, path::Path};

use cc_file::FileError;

use crate::talk::error::TalkError;

/// Why a command was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error("cannot read {name}: {source}")]
    Read { name: String, source: io::Error },
    #[error("cannot write {name}: {source}")]
    Write { name: String, source: io::Error },
    #[error("{name}: {source}")]
    File { name: String, source: FileError },
    #[error("{name} exists already")]
    Exists { name: String },
    #[error("refusing to write encrypted bytes to a terminal")]
    BinaryToTerminal,
    #[error("the decrypted content is no plain text, and the output is a terminal")]
    NoTextToTerminal,
    #[error("there is no passphrase: {0}")]
    NoPassphrase(String),
    #[error("the two passphrases are not the same")]
    PassphrasesDiffer,
    #[error("the passphrase in {0} is longer than 4096 bytes")]
    PassphraseTooLong(String),
    #[error("there is nobody to encrypt to")]
    NobodyToOpen,
    #[error("{0}")]
    Range(String),
    #[error("{name} is not one that can be read from anywhere")]
    NotSeekable { name: String },
    #[error("{name} is not text")]
    NotText { name: String },
    #[error("{name} has more than 1 MiB, which no file of keys has")]
    KeyFileTooLong { name: String },
    #[error("standard input is asked for twice")]
    StandardInputTwice,
    #[error(transparent)]
    Talk(#[from] TalkError),
    #[error("{key}: {source}")]
    Key { key: String, source: FileError },
}

impl CliError {
    pub(crate) fn stdout(source: io::Error) -> Self {
        Self::Write { name: "standard output".into(), source }
    }

    pub(crate) fn read(name: &str, source: io::Error) -> Self {
        Self::Read { name: name.into(), source }
    }

    pub(crate) fn write(path: &Path, source: io::Error) -> Self {
        Self::Write { name: path.display().to_string(), source }
    }

    /// An error while `input` was encrypted or decrypted into the output: whichever of the two failed.
    pub(crate) fn copy(input: &str, error: FileError) -> Self {
        match error {
            FileError::Io(error) => match error.downcast::<OutputError>() {
                Ok(OutputError::NoText) => Self::NoTextToTerminal,
                Ok(OutputError::Io { name, source }) => Self::Write { name, source },
                Err(error) => Self::read(input, error),
            },
            source => Self::File { name: input.into(), source },
        }
    }

    /// What to do next.
    pub(crate) fn advice(&self) -> Option<&'static str> {
        Some(match self {
            Self::Exists { .. } => "choose another name: what is there is never overwritten",
            Self::BinaryToTerminal => {
                "use -o FILE or a pipe, -a for text, or -o - to write it all the same"
            }
            Self::NoTextToTerminal => "use -o FILE or a pipe, or -o - to write it all the same",
            Self::NoPassphrase(_) => {
                "run it in a terminal, or give a file with it: --passphrase-file FILE, for exports --export-passphrase-file FILE"
            }
            Self::PassphrasesDiffer => "try again",
            Self::NobodyToOpen => {
                "name a recipient with -r cascade1... or -R FILE, ask for a passphrase with -p, or both"
            }
            Self::Range(_) => "a range is START..END in bytes, START.. or ..END",
            Self::NotSeekable { .. } => {
                "--range takes the path of a file that is not armoured: decrypt it once without -a"
            }
            Self::StandardInputTwice => {
                "give one of the content, the passphrase and the keys by the path of a file"
            }
            Self::NotText { .. } => "a key file is made by cascade keygen",
            Self::Key { .. } => {
                "a recipient is a text that begins with cascade1, as cascade keygen prints it; for a file \
                 of them use -R"
            }
            Self::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "free some space, or choose another place with -o"
            }
            Self::File { source, .. } => return file_advice(source),
            Self::Talk(error) => return error.advice(),
            Self::Read { .. }
            | Self::Write { .. }
            | Self::PassphraseTooLong(_)
            | Self::KeyFileTooLong { .. } => return None,
        })
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::StandardInputTwice
            | Self::NobodyToOpen
            | Self::Range(_)
            | Self::NotSeekable { .. }
            | Self::Key { .. } => 2,
            Self::Talk(error) => error.exit_code(),
            Self::File { source, .. } => match source {
                FileError::NotAFile
                | FileError::Header(_)
                | FileError::Armor(_)
                | FileError::Incomplete
                | FileError::TrailingBytes
                | FileError::Changed
                | FileError::HeaderChanged => 3,
                FileError::NeedsIdentity
                | FileError::NeedsPassphrase
                | FileError::NoRecipients
                | FileError::NoPassphrase
                | FileError::NoMatch
                | FileError::NoKnownMatch
                | FileError::WrongPassphrase => 4,
                FileError::Version(_) | FileError::UnknownProtection => 5,
                _ => 1,
            },
            _ => 1,
        }
    }
}

fn file_advice(error: &FileError) -> Option<&'static str> {
    Some(match error {
        FileError::NotAFile => {
            "what cascade encrypts begins with 0x89 CCF, or with -----BEGIN CASCADE FILE----- where it is \
             armoured"
        }
        FileError::Version(_) | FileError::UnknownProtection => "install a newer cascade",
        FileError::Incomplete => {
            "copy or download it again; what was written so far is not to be used"
        }
        FileError::TrailingBytes
        | FileError::Changed
        | FileError::Header(_)
        | FileError::Armor(_)
        | FileError::HeaderChanged => {
            "get it again from where it came; what was written so far is not to be used"
        }
        FileError::NeedsIdentity => "give the file with your secret key: -i key.txt",
        FileError::NeedsPassphrase => "run it in a terminal, or give --passphrase-file FILE",
        FileError::NoRecipients => {
            "it was not made for your key; if you expect that, leave -i away and you are asked for the \
             passphrase"
        }
        FileError::NoPassphrase => {
            "it does not have the protection that you ask for; if you expect that, leave -p away"
        }
        FileError::NoMatch => {
            "try the secret key that belongs to the public key it was encrypted to: -i OTHER"
        }
        FileError::WrongPassphrase => "try again",
        FileError::Argon2Ceiling { .. } => {
            "if you trust whoever made it, accept the cost with --accept-cost"
        }
        FileError::TooManyRecipients(_) => "encrypt it to fewer, or more than once",
        FileError::KeyFile { .. } => "a key file is made by cascade keygen",
        _ => return None,
    })
}

impl From<cc_client::Fault> for CliError {
    fn from(fault: cc_client::Fault) -> Self {
        Self::Talk(fault.into())
    }
}

/// An error of the output, inside of an [`io::Error`], so that it is told from one of the input.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputError {
    #[error("cannot write {name}: {source}")]
    Io { name: String, source: io::Error },
    #[error("no text")]
    NoText,
}
