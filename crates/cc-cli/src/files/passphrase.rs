//! Passphrases: asked for at the terminal, or from a file. Never from the command line, where everybody on
//! the machine can see them, and it stays in the history of the shell.

use std::{
    io::{self, BufRead as _, Read as _},
    path::{Path, PathBuf},
};

use cc_aes_layer::{Argon2Params, Password};
use zeroize::Zeroizing;

use super::{input::Input, signals::TerminalGuard};
use crate::error::CliError;

/// Where a passphrase comes from.
pub(crate) enum Source {
    /// Whoever sits at the terminal.
    Prompt,
    /// The first line of a file; `-` is standard input.
    File(PathBuf),
}

impl Source {
    /// What the arguments ask for: `-p` and `--passphrase-file`.
    pub(crate) fn of(prompt: bool, file: Option<&Path>) -> Option<Self> {
        match (prompt, file) {
            (_, Some(path)) => Some(Self::File(path.to_owned())),
            (true, None) => Some(Self::Prompt),
            (false, None) => None,
        }
    }
}

/// A new passphrase, which a person has to type twice.
pub(crate) fn new(source: &Source) -> Result<Password, CliError> {
    password(&new_text(source)?)
}

/// As [`new`], for what takes it as text.
pub(crate) fn new_text(source: &Source) -> Result<Zeroizing<String>, CliError> {
    match source {
        Source::Prompt => {
            let text = prompt("Passphrase")?;
            if *prompt("The same again")? != *text {
                return Err(CliError::PassphrasesDiffer);
            }
            Ok(text)
        }
        Source::File(path) => first_line(path),
    }
}

/// The passphrase of something that exists, as text.
pub(crate) fn existing_text(source: &Source, what: &str) -> Result<Zeroizing<String>, CliError> {
    match source {
        Source::Prompt => prompt(what),
        Source::File(path) => first_line(path),
    }
}

/// A passphrase of something that exists. Unless the cost is accepted, checking it takes 256 MiB and 8
/// passes at most.
pub(crate) fn existing(
    source: &Source,
    what: &str,
    accept_cost: bool,
) -> Result<Password, CliError> {
    let password = password(&existing_text(source, what)?)?;
    Ok(if accept_cost { password.accept_at_most(Argon2Params::MOST) } else { password })
}

fn prompt(what: &str) -> Result<Zeroizing<String>, CliError> {
    let no_terminal =
        |error| CliError::NoPassphrase(format!("there is no terminal to ask at ({error})"));
    // Ctrl-C at the prompt would leave a terminal that does not show what is typed.
    let _guard = TerminalGuard::new().map_err(no_terminal)?;
    rpassword::prompt_password(format!("{what}: ")).map(Zeroizing::new).map_err(no_terminal)
}

fn first_line(path: &Path) -> Result<Zeroizing<String>, CliError> {
    let input = Input::open(Some(path))?;
    let name = input.name().to_owned();
    // Room for all of it, so that nothing is left behind in freed memory.
    let mut line = Zeroizing::new(String::with_capacity(MAX_LEN + 2));
    let mut reader = io::BufReader::with_capacity(1, input.into_reader()).take(MAX_LEN as u64 + 2);
    reader.read_line(&mut line).map_err(|error| CliError::read(&name, error))?;
    let len = line.trim_end_matches(['\n', '\r']).len();
    line.truncate(len);
    if len > MAX_LEN {
        return Err(CliError::PassphraseTooLong(name));
    }
    if len == 0 {
        return Err(CliError::NoPassphrase(format!("the first line of {name} is empty")));
    }
    Ok(line)
}

fn password(text: &str) -> Result<Password, CliError> {
    Password::new(text).map_err(|_| CliError::NoPassphrase("it is empty".into()))
}

const MAX_LEN: usize = 4096;
