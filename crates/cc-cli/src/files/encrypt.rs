//! `cascade encrypt`.

use std::{
    io::{self, Write as _},
    num::NonZeroUsize,
    path::PathBuf,
    thread,
};

use cc_file::{ArmorWriter, Encryptor, FileError, Recipient};
use clap::Args;

use super::{
    input::Input,
    keys,
    output::Output,
    passphrase::{self, Source},
    progress,
};
use crate::error::CliError;

/// Encrypt a file or standard input.
#[derive(Debug, Args)]
#[command(after_help = "\
With several recipients, any one of them can decrypt. With a recipient and a passphrase, both are
needed: the secret key and the passphrase.

Examples:
  cascade encrypt -r cascade1... -o report.pdf.cascade report.pdf
  cascade encrypt -R team.txt report.pdf > report.pdf.cascade
  cascade encrypt -p -r cascade1... -o both.cascade report.pdf
  echo hello | cascade encrypt -a -r cascade1...")]
pub(crate) struct Arguments {
    /// A public key to encrypt to; may be repeated.
    #[arg(short, long = "recipient", value_name = "KEY")]
    recipients: Vec<String>,
    /// A file of public keys to encrypt to, one in a line; may be repeated.
    #[arg(short = 'R', long, value_name = "FILE")]
    recipients_file: Vec<PathBuf>,
    /// Encrypt under a passphrase, which you are asked for.
    #[arg(short, long)]
    passphrase: bool,
    /// Encrypt under the passphrase in the first line of this file (- for standard input).
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Write text instead of bytes.
    #[arg(short, long)]
    armor: bool,
    /// Where to write; - for standard output, which is also where it goes without this.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Show no progress.
    #[arg(short, long)]
    quiet: bool,
    /// What to encrypt; - for standard input, which is also what is read without this.
    input: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), CliError> {
    let mut encryptor = Encryptor::new();
    let recipients = recipients(arguments)?;
    let hybrid = recipients.iter().filter(|key| key.kind().is_post_quantum()).count();
    if hybrid > 0 && hybrid < recipients.len() {
        // The file is as closed as its weakest way in.
        let _ = writeln!(
            io::stderr(),
            "cascade: not all recipients have post-quantum keys: a quantum computer opens the file by the others"
        );
    }
    for recipient in recipients {
        encryptor = encryptor.recipient(recipient);
    }
    let mut output = Output::open(arguments.output.as_deref())?;
    if output.is_terminal() && !arguments.armor {
        return Err(CliError::BinaryToTerminal);
    }
    let input = Input::open(arguments.input.as_deref())?;
    if let Some(source) = Source::of(arguments.passphrase, arguments.passphrase_file.as_deref()) {
        encryptor = encryptor.passphrase(passphrase::new(&source)?);
    }
    let name = input.name().to_owned();
    let bar = progress::bar(input.len(), arguments.quiet || output.is_terminal());
    let reader = bar.wrap_read(input.into_reader());
    let result = (|| {
        if arguments.armor {
            let mut armor = ArmorWriter::new(&mut output)?;
            encryptor.copy(reader, &mut armor, threads())?;
            armor.finish()?;
        } else {
            encryptor.copy(reader, &mut output, threads())?;
        }
        output.flush()?;
        Ok(())
    })();
    bar.finish_and_clear();
    result.map_err(|error| match error {
        FileError::NobodyToOpen => CliError::NobodyToOpen,
        error => CliError::copy(&name, error),
    })?;
    output.commit()
}

/// As many as there are processors.
pub(crate) fn threads() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

fn recipients(arguments: &Arguments) -> Result<Vec<Recipient>, CliError> {
    let mut recipients = Vec::new();
    for text in &arguments.recipients {
        recipients.push(keys::recipient(text)?);
    }
    for path in &arguments.recipients_file {
        recipients.extend(keys::recipients(path)?);
    }
    if recipients.is_empty() && !arguments.passphrase && arguments.passphrase_file.is_none() {
        return Err(CliError::NobodyToOpen);
    }
    Ok(recipients)
}
