//! The program `cc-relay`.

use std::{error::Error as _, process::ExitCode};

use cc_relay::program::{self, EXAMPLES, Options};
use clap::Parser;

/// A relay for Cascading Cipher: it carries sealed messages between the members of groups, and knows no names.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Program {
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    match program::run(Program::parse().options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = error.to_string();
            let mut source = error.source();
            while let Some(cause) = source {
                text.push_str(&format!(": {cause}"));
                source = cause.source();
            }
            eprintln!("cc-relay: {text}");
            ExitCode::FAILURE
        }
    }
}
