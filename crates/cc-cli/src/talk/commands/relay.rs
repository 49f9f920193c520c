//! `cascade relay`.

use cc_relay::program;
use clap::Args;

use crate::{error::CliError, talk::error::TalkError};

/// Run a relay: it carries sealed messages between members, and knows no names.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cascade relay --store memory:                               (to try it on this machine)
  cascade relay --listen [::]:443 --store sqlite:/var/lib/cascade/relay.db \\
      --tls-cert fullchain.pem --tls-key privkey.pem

It ends on SIGTERM or Ctrl-C, after the requests under way. It may be killed at any time: what it has acknowledged is
on disk.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    options: program::Options,
}

pub(crate) fn run(arguments: Arguments) -> Result<(), CliError> {
    program::run(arguments.options).map_err(|error| {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        TalkError::Serve(text).into()
    })
}
