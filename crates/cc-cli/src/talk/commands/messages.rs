//! `cascade send`, `history`, `save`, `report`.

use std::{
    io::{self, IsTerminal as _, Read as _},
    path::PathBuf,
};

use cc_client::{Body, Content};
use clap::Args;
use serde_json::json;

use super::{Common, find_group, print};
use crate::{
    error::CliError,
    talk::{
        error::TalkError,
        journal::{Entry, Message, MessageState, What},
        session::{Session, content},
        show,
    },
    untrusted_text::called,
};

/// Bytes of a text.
const MAX_TEXT: u64 = 1 << 20;

/// Send a message.
#[derive(Debug, Args)]
#[command(after_help = "\
It ends when the group's log has the message. If the relay cannot be reached in time, the message is kept, and goes with
the next command.

Examples:
  cascade send Friends 'Hello!'
  date | cascade send Friends -
  tail -f log | cascade send Friends - --lines
  cascade send Friends 'The plan' --attach plan.pdf")]
pub(crate) struct Send {
    #[command(flatten)]
    common: Common,
    /// The group: its name, or the beginning of its id.
    group: String,
    /// What to say; standard input for `-`, and if nothing is given there either.
    text: Option<String>,
    /// Each line of standard input is a message.
    #[arg(long)]
    lines: bool,
    /// Send this file with it.
    #[arg(long, value_name = "PATH")]
    attach: Vec<PathBuf>,
}

/// Print what was said in a group.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cascade history Friends
  cascade history Friends --last 1000 --json")]
pub(crate) struct History {
    #[command(flatten)]
    common: Common,
    /// The group: its name, or the beginning of its id.
    group: String,
    /// So many entries at the most.
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    last: u64,
}

/// Save the attachment of a message.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cascade save 12 plan.pdf")]
pub(crate) struct Save {
    #[command(flatten)]
    common: Common,
    /// The message: its number, as history and receive print it.
    message: String,
    /// Where to; `-` for standard output.
    path: PathBuf,
}

/// Show what each layer did with a message, and what the relay saw of it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cascade report 12")]
pub(crate) struct Report {
    #[command(flatten)]
    common: Common,
    /// The message: its number, as history and receive print it.
    message: String,
}

pub(crate) fn send(arguments: &Send) -> Result<(), CliError> {
    let text = match arguments.text.as_deref() {
        Some("-") => None,
        None if !io::stdin().is_terminal() && arguments.attach.is_empty() => None,
        None if arguments.attach.is_empty() => return Err(TalkError::Nothing.into()),
        given => Some(given.unwrap_or_default().to_owned()),
    };
    let texts = match text {
        Some(text) => vec![text],
        None if arguments.lines => standard_input()?.lines().map(str::to_owned).collect(),
        None => vec![standard_input()?.trim_end_matches(['\n', '\r']).to_owned()],
    };
    let mut session = arguments.common.open()?;
    let group = find_group(&mut session, &arguments.group)?;
    let (mut sent, mut texts) = (Vec::new(), texts.into_iter());
    let mut text = texts.next().unwrap_or_default();
    for path in &arguments.attach {
        // The text goes with the first.
        sent.push(session.attach(group, path, &std::mem::take(&mut text))?);
    }
    if arguments.attach.is_empty() && text.is_empty() && texts.len() == 0 {
        return Err(TalkError::Nothing.into());
    }
    for text in Some(text).into_iter().chain(texts).filter(|text| !text.is_empty()) {
        sent.push(session.send(group, &Content::text(text))?);
    }
    let before = session.last_entry()?;
    let result = arguments.common.finish(&mut session, &sent);
    if arguments.common.json {
        let snapshot = session.views()?.snapshot();
        let limit = u64::try_from(sent.len()).unwrap_or(u64::MAX);
        let first = before.saturating_sub(limit);
        for number in first.max(1)..=session.last_entry()? {
            match session.entry(number)? {
                Some(entry) if is_one_of(&entry, &sent) => print(show::json(&snapshot, &entry))?,
                _ => {}
            }
        }
    }
    result
}

fn is_one_of(entry: &Entry, sent: &[cc_client::OperationId]) -> bool {
    matches!(&entry.what, What::Message(message) if sent.contains(&message.id))
}

fn standard_input() -> Result<String, CliError> {
    let mut text = String::new();
    let mut input = io::stdin().lock().take(MAX_TEXT + 1);
    match input.read_to_string(&mut text) {
        Ok(_) if input.limit() > 0 => Ok(text),
        Ok(_) => Err(TalkError::Text.into()),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(TalkError::Text.into()),
        Err(error) => Err(CliError::read("standard input", error)),
    }
}

pub(crate) fn history(arguments: &History) -> Result<(), CliError> {
    let mut session = arguments.common.open()?;
    let group = find_group(&mut session, &arguments.group)?;
    let snapshot = session.views()?.snapshot();
    let entries = session.history(&group, arguments.last)?;
    if arguments.common.json {
        entries.iter().try_for_each(|entry| print(show::json(&snapshot, entry)))?;
    } else {
        for entry in &entries {
            print(format_args!("#{} {}", entry.number, show::text(entry)))?;
        }
        session.mark_read(&group)?;
    }
    session.set_shown(&entries)?;
    Ok(())
}

pub(crate) fn save(arguments: &Save) -> Result<(), CliError> {
    let session = arguments.common.open()?;
    let message = find_message(&session, &arguments.message)?;
    let attachment = match content(&message.content).map(|content| content.body) {
        Some(Body::Attachment { attachment, .. }) => attachment,
        _ => return Err(TalkError::NoAttachment(arguments.message.clone()).into()),
    };
    session.save(&attachment, &arguments.path).map(drop)
}

pub(crate) fn report(arguments: &Report) -> Result<(), CliError> {
    let session = arguments.common.open()?;
    let message = find_message(&session, &arguments.message)?;
    let position = match &message.state {
        MessageState::Sent(position) => Some(position.0),
        MessageState::Waiting | MessageState::Refused(_) => None,
    };
    let sealed = message.layers.last().map(|top| top.bytes_out.max(top.bytes_in));
    if arguments.common.json {
        let layers = message.layers.iter().enumerate().map(|(position, layer)| {
            json!({
                "position": position,
                "name": layer.name,
                "version": layer.version,
                "bytes_in": layer.bytes_in,
                "bytes_out": layer.bytes_out,
                "microseconds": layer.microseconds,
            })
        });
        return print(json!({
            "message": message.id.to_string(),
            "layers": layers.collect::<Vec<_>>(),
            "relay": { "position": position, "bytes": sealed },
        }));
    }
    let direction = if message.mine { "sealed here" } else { "opened here" };
    let from = called(&message.from.name);
    print(format_args!("message {} of {from}, {direction}", message.id))?;
    if message.layers.is_empty() {
        print(
            "what the layers did with it is not known: it is waiting, or was sent by an earlier run",
        )?;
    }
    for line in show::layers(&message.layers) {
        print(format_args!("  {line}"))?;
    }
    match (position, sealed) {
        (Some(position), Some(sealed)) => print(format_args!(
            "the relay saw: about {sealed} bytes, as item {position} of a log with a random address; when, and from \
             which network address. Not: who, to whom, in which group, what."
        )),
        (Some(position), None) => print(format_args!("the relay has it as item {position}")),
        _ => print("the relay has not seen it"),
    }
}

fn find_message(session: &Session, number: &str) -> Result<Message, TalkError> {
    let missing = || TalkError::NoSuchMessage(number.to_owned());
    let parsed = number.trim_start_matches('#').parse().map_err(|_| missing())?;
    match session.entry(parsed)?.map(|entry| entry.what) {
        Some(What::Message(message)) => Ok(message),
        _ => Err(missing()),
    }
}
