//! `cascade join`, `requests`, `accept`, `decline`.

use cc_client::{Command, JoinRequestView, Snapshot, Trust};
use clap::Args;
use serde_json::json;

use super::{Common, find_group, hex, print};
use crate::{
    error::CliError,
    talk::{error::TalkError, link::GroupLink, session::Session, show::title},
    untrusted_text::harmless,
};

/// Ask to join a group, by a link that a member gave out.
#[derive(Debug, Args)]
#[command(after_help = "\
Who made the link sees your name, your safety number and the message, and lets you in or does not: `cascade receive`
tells. Asking again sends the same request again.

Examples:
  cascade join 'cascade:https://relay.example#Ag...'
  cascade join \"$(cat friends.link)\" --message 'Carol, from the workshop'")]
pub(crate) struct Join {
    #[command(flatten)]
    common: Common,
    /// What `cascade link GROUP` printed.
    link: String,
    /// Shown with your request, at most 1024 bytes.
    #[arg(long, value_name = "TEXT", default_value = "")]
    message: String,
}

/// List those who ask to join your groups.
#[derive(Debug, Args)]
#[command(after_help = "\
A name is the choice of who asks. Compare the safety number with them over a channel you trust; after they are in, it is the
same, and `cascade verify` marks it.

Examples:
  cascade requests
  cascade requests Friends --json")]
pub(crate) struct Requests {
    #[command(flatten)]
    common: Common,
    /// Of this group alone: its name, or the beginning of its id.
    group: Option<String>,
}

/// Let somebody in who asks to join.
#[derive(Debug, Args)]
#[command(
    visible_alias = "admit",
    after_help = "\
Everybody in the group sees that they join. They read what is sent from then on, and nothing older.

Examples:
  cascade accept Carol
  cascade accept 3f9a1c02"
)]
pub(crate) struct Accept {
    #[command(flatten)]
    common: Common,
    /// The request: the name of who asks, or the beginning of its id.
    #[arg(required = true)]
    requests: Vec<String>,
}

/// Do not let somebody in who asks to join, and tell them.
#[derive(Debug, Args)]
#[command(after_help = "\
They cannot ask by the same link again. `cascade link GROUP --revoke` ends a link that too many have.

Examples:
  cascade decline Carol")]
pub(crate) struct Decline {
    #[command(flatten)]
    common: Common,
    /// The request: the name of who asks, or the beginning of its id.
    #[arg(required = true)]
    requests: Vec<String>,
}

pub(crate) fn join(arguments: &Join) -> Result<(), CliError> {
    let link: GroupLink = arguments.link.parse().map_err(|_| TalkError::Link)?;
    let mut session = arguments.common.open()?;
    let request = session.ask_to_join(&link, &arguments.message)?;
    arguments.common.finish(&mut session, &[])?;
    match arguments.common.json {
        true => print(json!({ "request": request.to_string() })),
        false => print("asked; `cascade receive` tells what comes of it"),
    }
}

pub(crate) fn requests(arguments: &Requests) -> Result<(), CliError> {
    let mut session = arguments.common.open()?;
    arguments.common.catch_up(&mut session)?;
    let group = match &arguments.group {
        Some(text) => Some(find_group(&mut session, text)?),
        None => None,
    };
    let snapshot = session.views()?.snapshot();
    for request in session.client().join_requests()? {
        if group.is_some_and(|group| group != request.group) {
            continue;
        }
        if arguments.common.json {
            print(request_json(&snapshot, &request))?;
        } else {
            request_lines(&snapshot, &request).into_iter().try_for_each(print)?;
        }
    }
    Ok(())
}

pub(crate) fn accept(arguments: &Accept) -> Result<(), CliError> {
    answer(&arguments.common, &arguments.requests, Command::AcceptJoin)
}

pub(crate) fn decline(arguments: &Decline) -> Result<(), CliError> {
    answer(&arguments.common, &arguments.requests, Command::DeclineJoin)
}

fn answer(
    common: &Common,
    which: &[String],
    command: fn(cc_client::JoinRequestId) -> Command,
) -> Result<(), CliError> {
    let mut session = common.open()?;
    common.catch_up(&mut session)?;
    let found = which.iter().map(|text| find_request(&mut session, text));
    let found = found.collect::<Result<Vec<_>, _>>()?;
    let commands = found.iter().map(|request| session.submit(command(request.id)));
    let commands = commands.collect::<Result<Vec<_>, _>>()?;
    common.finish(&mut session, &commands)
}

/// The request of who has this name, or whose id begins like that.
///
/// # Errors
/// [`TalkError::NoSuchRequest`], [`TalkError::ManyRequests`].
pub(crate) fn find_request(
    session: &mut Session,
    text: &str,
) -> Result<JoinRequestView, TalkError> {
    let beginning = text.to_lowercase();
    let is_meant = |request: &JoinRequestView| {
        request.from.name() == text
            || text.len() >= 4 && request.id.to_string().starts_with(&beginning)
    };
    let mut found = session.client().join_requests()?.into_iter().filter(is_meant);
    match (found.next(), found.next()) {
        (Some(request), None) => Ok(request),
        (None, _) => Err(TalkError::NoSuchRequest(text.to_owned())),
        (Some(_), Some(_)) => Err(TalkError::ManyRequests(text.to_owned())),
    }
}

/// How far who asks is known.
const fn known(request: &JoinRequestView) -> &'static str {
    match request.trust {
        Some(Trust::Verified) => "verified",
        Some(Trust::Pinned) => "known, not verified",
        Some(Trust::Changed) => "NOT THE KEYS that are known of this person",
        _ => "never seen",
    }
}

fn request_json(snapshot: &Snapshot, request: &JoinRequestView) -> serde_json::Value {
    json!({
        "request": request.id.to_string(),
        "group": request.group.to_string(),
        "title": title(snapshot, &request.group),
        "name": request.from.name(),
        "device": hex(request.from.id.as_bytes()),
        "person": request.from.person.map(|id| id.to_string()),
        "message": request.message,
        "at": request.received,
        "safety_number": request.safety_number.to_string(),
        "trust": known(request),
        "resembles": request.resembles.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

/// A request for people to read.
pub(crate) fn request_lines(snapshot: &Snapshot, request: &JoinRequestView) -> Vec<String> {
    let short: String = request.id.to_string().chars().take(8).collect();
    let (name, title) = (harmless(&request.from.name()), title(snapshot, &request.group));
    let mut lines =
        vec![format!("{short}  {name} asks to join {}  ({})", harmless(&title), known(request))];
    if !request.message.is_empty() {
        lines.push(format!("          \"{}\"", harmless(&request.message)));
    }
    lines.push(format!("          {}", request.safety_number));
    if !request.resembles.is_empty() {
        lines.push("          CAREFUL: somebody in the group has a name that looks like it".into());
    }
    lines
}
