//! `cascade export`, `restore`.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::json;

use super::{Common, hex, print};
use crate::{
    error::CliError,
    files::{
        output::{expect_none, write_secret},
        passphrase::{Source, existing, new},
    },
    talk::{error::TalkError, session::Session},
};

/// Bytes of an export.
const MAX_EXPORT: u64 = 1 << 30;

/// Write all that makes this profile you to a file, under a passphrase: to move to another device, or to keep.
#[derive(Debug, Args)]
#[command(after_help = "\
In it are your keys, groups, marks and history, and nothing with which a message is opened or sent: it is no copy of this
device. Who has the file and its passphrase can take your place, which you see, for this device is put out then.

Examples:
  cascade export alice.export
  cascade export backup/alice.export --export-passphrase-file pass.txt")]
pub(crate) struct Export {
    #[command(flatten)]
    common: Common,
    /// The file; it must not exist.
    file: PathBuf,
    /// Take the passphrase of the export from the first line of this file, instead of asking for it.
    #[arg(long, value_name = "FILE")]
    export_passphrase_file: Option<PathBuf>,
    /// Leave out what was said.
    #[arg(long)]
    without_history: bool,
}

/// Make a profile of what `cascade export` wrote.
#[derive(Debug, Args)]
#[command(after_help = "\
Each group takes you back when one of its members is there: `cascade receive` tells. The device that the export is of is put
out of the groups by that. What was sent between the export and your return is not to be read.

Examples:
  cascade restore alice.export
  cascade restore alice.export --profile new --without-passphrase")]
pub(crate) struct Restore {
    #[command(flatten)]
    common: Common,
    /// The file.
    file: PathBuf,
    /// Take the passphrase of the export from the first line of this file, instead of asking for it.
    #[arg(long, value_name = "FILE")]
    export_passphrase_file: Option<PathBuf>,
    /// Another relay than that of the export, where it has moved with all that it had.
    #[arg(long, value_name = "URL")]
    relay: Option<String>,
    /// Put a random key beside the store, instead of a passphrase: whoever reads the folder reads everything.
    #[arg(long, conflicts_with = "passphrase_file")]
    without_passphrase: bool,
}

pub(crate) fn export(arguments: &Export) -> Result<(), CliError> {
    let mut session = arguments.common.open()?;
    // Before somebody thinks of a passphrase.
    expect_none(&arguments.file)?;
    let mut password = new(&source(arguments.export_passphrase_file.as_deref()))?;
    let export = session.client().export(&mut password, !arguments.without_history);
    let export = export.map_err(TalkError::from)?;
    write_secret(&arguments.file, &export)?;
    if arguments.common.json {
        return print(json!({ "bytes": export.len() }));
    }
    print(format_args!(
        "{} bytes; `cascade restore {}` makes a profile of it",
        export.len(),
        arguments.file.display()
    ))
}

pub(crate) fn restore(arguments: &Restore) -> Result<(), CliError> {
    let common = &arguments.common;
    if common.profile.exists()? {
        return Err(TalkError::ProfileExists(common.profile.folder()?).into());
    }
    let relay = arguments.relay.as_ref();
    let relay = relay.map(|url| url.parse().map_err(|_| TalkError::Relay(url.clone())));
    let export = read(&arguments.file)?;
    let source = source(arguments.export_passphrase_file.as_deref());
    let mut password = existing(&source, "Passphrase of the export", false)?;
    let without = arguments.without_passphrase;
    let mut session =
        Session::restore(&common.profile, &export, &mut password, relay.transpose()?, without)?;
    if common.json {
        print(json!({
            "name": session.me().name(),
            "device": hex(session.me().id.as_bytes()),
            "groups": session.views()?.snapshot().groups.len(),
        }))?;
    } else {
        let groups = session.views()?.snapshot().groups.len();
        print(format_args!(
            "you are {}; {groups} groups are asked to take you back: cascade receive --follow",
            session.me().name()
        ))?;
    }
    // The requests to be taken back are on their way.
    common.finish(&mut session, &[])
}

fn source(file: Option<&Path>) -> Source {
    match file {
        Some(file) => Source::File(file.to_owned()),
        None => Source::Prompt,
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    let name = path.display().to_string();
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_EXPORT).read_to_end(&mut bytes));
    read.map_err(|error| CliError::read(&name, error))?;
    Ok(bytes)
}
