//! `cascade share-history`.

use std::collections::BTreeSet;

use cc_client::{Body, Forwarded, OperationId};
use clap::Args;

use super::{Common, find_group, members::find_devices, print};
use crate::{
    error::CliError,
    talk::{
        error::TalkError,
        journal::{Entry, MessageState, What},
        session::content,
    },
};

/// Bytes of a name that is passed on.
const MAX_NAME: usize = 255;

/// Pass earlier messages of a group on to a member who came later.
#[derive(Debug, Args)]
#[command(after_help = "\
A newcomer has no keys of what was said before. What you pass on is shown there as your word for it, with your name, and
never as a message of who wrote it. Deleted messages, messages that disappear, and what others passed on to you are not
passed on; of a file, the message goes.

Examples:
  cascade share-history Friends Carol
  cascade share-history Friends Carol --last 1000")]
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
    let to = find_devices(&view, &arguments.member)?;
    let entries = passed_on(&session.history(&group, arguments.last)?);
    let count = entries.len();
    let id = OperationId::random().map_err(|_| TalkError::NoRandomness)?;
    let shared = session.client().share_history(id, group, &to, entries)?;
    arguments.common.finish(&mut session, &shared)?;
    if arguments.common.json {
        return print(serde_json::json!({ "passed_on": count }));
    }
    print(format_args!("{count} messages passed on"))
}

/// What of a history is passed on, oldest first.
fn passed_on(history: &[Entry]) -> Vec<Forwarded> {
    let messages = history.iter().filter_map(|entry| match &entry.what {
        What::Message(message) => Some((entry.at, message)),
        _ => None,
    });
    let messages: Vec<_> = messages.collect();
    let deleted =
        messages.iter().filter_map(|(_, message)| match content(&message.content)?.body {
            Body::Deletion { of } if of.sender == message.from.member() => Some(of.message),
            _ => None,
        });
    let deleted: BTreeSet<OperationId> = deleted.collect();
    let stays = messages.into_iter().filter(|(_, message)| {
        let said = content(&message.content);
        let passes = said.is_none_or(|said| {
            said.disappears_after.is_none() && !matches!(said.body, Body::Deletion { .. })
        });
        passes
            && message.gone.is_none()
            && !deleted.contains(&message.id)
            && matches!(message.state, MessageState::Sent(_))
    });
    let forwarded = stays.map(|(at, message)| {
        let mut name = message.from.name.clone();
        while name.len() > MAX_NAME {
            name.pop();
        }
        Forwarded {
            sender: message.from.member(),
            sender_name: name,
            message: message.id,
            wall: at,
            content: message.content.clone(),
        }
    });
    forwarded.collect()
}
