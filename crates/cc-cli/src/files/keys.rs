//! Keys from the command line and from files.

use std::{
    io::{self, Read as _},
    path::Path,
};

use cc_file::{
    FileError, Header, Identity, MaybeArmored, Recipient, parse_identities, parse_recipients,
};
use zeroize::Zeroizing;

use super::{
    input::Input,
    passphrase::{self, Source},
};
use crate::error::CliError;

/// A recipient from the command line.
pub(crate) fn recipient(text: &str) -> Result<Recipient, CliError> {
    text.parse().map_err(|source| CliError::Key {
        // A secret key that was typed here by mistake is not shown once more.
        key: if text.to_ascii_lowercase().contains("secret") { "-r".into() } else { text.into() },
        source,
    })
}

/// The recipients in a file.
pub(crate) fn recipients(path: &Path) -> Result<Vec<Recipient>, CliError> {
    let (name, bytes) = read(path)?;
    parse_recipients(text(&name, &bytes)?).map_err(|source| CliError::File { name, source })
}

/// The identities in a file, which may be under a passphrase: from that file, or asked for.
pub(crate) fn identities(
    path: &Path,
    passphrase_file: Option<&Path>,
) -> Result<Vec<Identity>, CliError> {
    let (name, bytes) = read(path)?;
    let bytes = if is_encrypted(&bytes) {
        let source = Source::of(true, passphrase_file).unwrap_or(Source::Prompt);
        decrypt(&bytes, &source, &name)?
    } else {
        bytes
    };
    parse_identities(text(&name, &bytes)?).map_err(|source| CliError::File { name, source })
}

fn is_encrypted(bytes: &[u8]) -> bool {
    bytes.starts_with(&cc_file::MAGIC) || bytes.starts_with(b"-----BEGIN CASCADE FILE")
}

fn decrypt(bytes: &[u8], source: &Source, name: &str) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let file_error = |source| CliError::File { name: name.into(), source };
    let mut reader = MaybeArmored::new(bytes).map_err(|error| file_error(error.into()))?;
    let header = Header::read(&mut reader).map_err(file_error)?;
    if header.layers().recipients() {
        return Err(file_error(FileError::NeedsIdentity));
    }
    let passphrase = passphrase::existing(source, &format!("Passphrase of {name}"), false)?;
    let key = header.unlock(&[], Some(&passphrase)).map_err(file_error)?;
    let mut opened = Zeroizing::new(Vec::with_capacity(bytes.len()));
    let mut reader = key.reader(reader).map_err(file_error)?;
    reader.read_to_end(&mut opened).map_err(|error| file_error(error.into()))?;
    Ok(opened)
}

/// The name and the content of a file of keys.
fn read(path: &Path) -> Result<(String, Zeroizing<Vec<u8>>), CliError> {
    let input = Input::open(Some(path))?;
    let name = input.name().to_owned();
    // Room for the usual file, so that it is not moved and left behind in freed memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(64 << 10));
    let mut reader = io::Read::take(input.into_reader(), MAX_LEN + 1);
    reader.read_to_end(&mut bytes).map_err(|error| CliError::read(&name, error))?;
    if bytes.len() as u64 > MAX_LEN {
        return Err(CliError::KeyFileTooLong { name });
    }
    Ok((name, bytes))
}

fn text<'b>(name: &str, bytes: &'b [u8]) -> Result<&'b str, CliError> {
    std::str::from_utf8(bytes).map_err(|_| CliError::NotText { name: name.into() })
}

const MAX_LEN: u64 = 1 << 20;
