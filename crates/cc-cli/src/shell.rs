//! Completions and manual pages, from the parser.

use std::{io, path::PathBuf};

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::{Cli, error::CliError};

/// Print completions for a shell.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cascade completions bash > ~/.local/share/bash-completion/completions/cascade
  cascade completions zsh > \"${fpath[1]}/_cascade\"")]
pub(crate) struct Completions {
    /// The shell.
    shell: Shell,
}

/// Print the manual page, or write one for every command.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cascade man | man -l -
  cascade man --dir ~/.local/share/man/man1")]
pub(crate) struct Man {
    /// Write the pages of all commands to this directory.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(crate) fn completions(arguments: &Completions) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "cascade", &mut script);
    print(&script)
}

pub(crate) fn man(arguments: &Man) -> Result<(), CliError> {
    match &arguments.dir {
        Some(dir) => clap_mangen::generate_to(Cli::command(), dir)
            .map_err(|error| CliError::write(dir, error)),
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(stdout)?;
            print(&page)
        }
    }
}

fn print(bytes: &[u8]) -> Result<(), CliError> {
    io::Write::write_all(&mut io::stdout(), bytes).map_err(stdout)
}

fn stdout(source: io::Error) -> CliError {
    CliError::Write { name: "standard output".into(), source }
}
