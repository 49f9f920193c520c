//! `cascade tree`.

use std::{io::Write as _, path::PathBuf};

use cc_client::{AppRecord, EventId, TreeView};
use clap::Args;

use super::{Common, find_group, print};
use crate::{
    error::CliError,
    files::output::Output,
    talk::{error::TalkError, journal},
};

/// Draw the ratchet tree of a group, with what changed since it was drawn last.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cascade tree Friends
  cascade tree Friends --svg tree.svg")]
pub(crate) struct Arguments {
    #[command(flatten)]
    common: Common,
    /// The group: its name, or the beginning of its id.
    group: String,
    /// Write an SVG picture instead; `-` for standard output.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), CliError> {
    let mut session = arguments.common.open()?;
    let group = find_group(&mut session, &arguments.group)?;
    let client = session.client();
    let Some(tree) = client.ratchet_tree(&group)? else {
        return Err(TalkError::Client(cc_client::Fault::NotAMember(group)).into());
    };
    let key = [b"tree ", &group.as_bytes()[..]].concat();
    // One that an earlier version drew is as good as none.
    let earlier: Option<TreeView> =
        client.record(&key)?.and_then(|record| journal::decode(record.expose()).ok());
    if earlier.as_ref() != Some(&tree) {
        let record: AppRecord = journal::put(key, &tree)?;
        client.acknowledge(EventId(0), &[record])?;
    }
    let Some(path) = &arguments.svg else {
        return print(tree.to_text(earlier.as_ref()).trim_end());
    };
    let mut output = Output::open(Some(path))?;
    output
        .write_all(tree.to_svg(earlier.as_ref()).as_bytes())
        .map_err(|error| CliError::write(path, error))?;
    output.commit()
}
