//! `cascade share`.

use clap::Args;

use super::{Common, find_group, members::find_devices, print};
use crate::{error::CliError, talk::error::TalkError};

/// Pass earlier messages of a group on to a member who came later.
#[derive(Debug, Args)]
#[command(
    visible_alias = "share-history",
    after_help = "\
A newcomer has no keys of what was said before. What you pass on is shown there as your word for it, with your name, and
never as a message of who wrote it. Deleted messages, messages that disappear, and what others passed on to you are not
passed on; of a file, the message goes.

Examples:
  cascade share Friends Carol
  cascade share Friends Carol --last 1000"
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    common: Common,
    /// The group: its name, or the beginning of its id.
    group: String,
    /// To whom: the name, or the beginning of the id of the device or the person.
    member: String,
    /// So many entries of the history at the most.
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    last: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), CliError> {
    let mut session = arguments.common.open()?;
    let group = find_group(&mut session, &arguments.group)?;
    let view = session.client().group(&group)?;
    let me = session.me().id;
    let mut to = find_devices(&view, &arguments.member)?;
    to.retain(|device| *device != me);
    if to.is_empty() {
        return Err(TalkError::Refused("that is this device alone".into()).into());
    }
    let (shared, count) = session.share(group, &to, arguments.last)?;
    arguments.common.finish(&mut session, &shared)?;
    if arguments.common.json {
        return print(serde_json::json!({ "passed_on": count }));
    }
    print(format_args!("{count} messages passed on"))
}
