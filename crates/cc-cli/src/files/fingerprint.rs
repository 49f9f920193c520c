//! `cascade fingerprint`.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use clap::Args;

use super::keys;
use crate::error::CliError;

/// Show the fingerprints of keys, for people to compare.
#[derive(Debug, Args)]
#[command(after_help = "\
Read the digits to each other over a channel you trust: whoever sees the same ones has the same key.

Examples:
  cascade fingerprint cascade1...
  cascade fingerprint -i key.txt")]
pub(crate) struct Arguments {
    /// Public keys.
    #[arg(required_unless_present_any = ["identities", "recipients_file"], value_name = "KEY")]
    keys: Vec<String>,
    /// A file of public keys; may be repeated.
    #[arg(short = 'R', long, value_name = "FILE")]
    recipients_file: Vec<PathBuf>,
    /// A file of secret keys; may be repeated.
    #[arg(short, long = "identity", value_name = "FILE")]
    identities: Vec<PathBuf>,
    /// Take the passphrase of key files from the first line of this file.
    #[arg(long, value_name = "FILE")]
    key_passphrase_file: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), CliError> {
    let mut recipients = Vec::new();
    for key in &arguments.keys {
        recipients.push(keys::recipient(key)?);
    }
    for path in &arguments.recipients_file {
        recipients.extend(keys::recipients(path)?);
    }
    for path in &arguments.identities {
        let identities = keys::identities(path, arguments.key_passphrase_file.as_deref())?;
        recipients.extend(identities.iter().map(|identity| identity.recipient().clone()));
    }
    let mut stdout = io::stdout().lock();
    recipients
        .iter()
        .try_for_each(|key| writeln!(stdout, "{}  {key}", key.fingerprint()))
        .map_err(|source| CliError::Write { name: "standard output".into(), source })
}
