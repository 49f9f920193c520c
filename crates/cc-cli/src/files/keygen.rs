//! `cascade keygen`.

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
};

use cc_file::{ArmorWriter, Encryptor, FileError, Identity, KeyKind};
use clap::Args;
use zeroize::Zeroizing;

use super::{
    keys, output,
    passphrase::{self, Source},
};
use crate::error::CliError;

/// Make a key pair, or show the public key of one.
#[derive(Debug, Args)]
#[command(after_help = "\
The file with the secret key is for you alone; the public key, which is printed, is for everybody
who is to encrypt to you.

Examples:
  cascade keygen -o key.txt
  cascade keygen -p -o key.txt
  cascade keygen --post-quantum -o key.txt
  cascade keygen --public key.txt")]
pub(crate) struct Arguments {
    /// The file to write the secret key to, which must not exist. Standard output without this.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// A key on the curve P-256 instead of X25519.
    #[arg(long)]
    p256: bool,
    /// A key of X25519 and ML-KEM-768 together: what is encrypted to it stays closed to a quantum computer. The
    /// public key has 1963 characters.
    #[arg(long, conflicts_with = "p256")]
    post_quantum: bool,
    /// Encrypt the file of the secret key under a passphrase, which you are asked for.
    #[arg(short, long)]
    passphrase: bool,
    /// Encrypt the file of the secret key under the passphrase in the first line of this file.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Make nothing: print the public keys of this file of secret keys.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["output", "p256", "passphrase", "post_quantum"])]
    public: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), CliError> {
    if let Some(path) = &arguments.public {
        for identity in keys::identities(path, arguments.passphrase_file.as_deref())? {
            print(format!("{}\n", identity.recipient()).as_bytes())?;
        }
        return Ok(());
    }
    let kind = match (arguments.post_quantum, arguments.p256) {
        (true, _) => KeyKind::XWing,
        (false, true) => KeyKind::P256,
        (false, false) => KeyKind::X25519,
    };
    let name = arguments
        .output
        .as_ref()
        .map_or("standard output".into(), |path| path.display().to_string());
    // Before anybody types anything.
    if let Some(path) = arguments.output.as_ref().filter(|path| path.symlink_metadata().is_ok()) {
        return Err(CliError::Exists { name: path.display().to_string() });
    }
    let file_error = |source| CliError::File { name: name.clone(), source };
    let identity = Identity::generate(kind).map_err(file_error)?;
    let text = key_file(&identity).map_err(file_error)?;
    let passphrase = Source::of(arguments.passphrase, arguments.passphrase_file.as_deref());
    let text = match passphrase {
        Some(source) => {
            let encryptor = Encryptor::new().passphrase(passphrase::new(&source)?);
            Zeroizing::new(encrypt(&encryptor, &text).map_err(file_error)?)
        }
        None => text,
    };
    match &arguments.output {
        Some(path) => output::write_secret(path, &text)?,
        None => print(&text)?,
    }
    if arguments.output.is_some() || !io::stdout().is_terminal() {
        // The key was made: where standard error is closed, it is still in the file.
        let _ = writeln!(io::stderr(), "Public key: {}", identity.recipient());
    }
    Ok(())
}

fn key_file(identity: &Identity) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let secret = identity.to_text()?;
    let mut text = Zeroizing::new(Vec::with_capacity(4096));
    writeln!(text, "# public key: {}", identity.recipient())?;
    text.extend_from_slice(secret.as_bytes());
    text.push(b'\n');
    Ok(text)
}

fn encrypt(encryptor: &Encryptor, text: &[u8]) -> Result<Vec<u8>, FileError> {
    let mut writer = encryptor.writer(ArmorWriter::new(Vec::new())?)?;
    writer.write_all(text)?;
    Ok(writer.finish()?.finish()?)
}

fn print(bytes: &[u8]) -> Result<(), CliError> {
    io::stdout()
        .write_all(bytes)
        .map_err(|source| CliError::Write { name: "standard output".into(), source })
}
