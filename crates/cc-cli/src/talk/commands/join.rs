//! `cascade join`, `requests`, `accept`, `decline`.

use cc_client::{Command, JoinAsk, JoinRequestView, Snapshot, Trust};
use clap::Args;
use serde_json::json;

use super::{Common, find_group, hex, print};
use crate::{
    error::CliError,
    talk::{
        error::TalkError,
        link::{GroupLink, link_argument, link_or_file},
        session::Session,
        show::title,
    },
    untrusted_text::harmless,
};

/// Ask to join a group, by a link that a member gave out.
#[derive(Debug, Args)]
#[command(after_help = "\
Who made the link sees your name, your safety number and the message, and lets you in or does not: `cascade receive`
tells. Asking again sends the same request again, and `cascade withdraw` takes it back.

The link is a secret of those who may ask: from a file or standard input, nobody on this machine sees it go by.

Examples:
  cascade join 'cascade:https://relay.example#Ag...'
  cascade join friends.link --message 'Carol, from the workshop'
  ssh alice cascade link Friends | cascade join -")]
pub(crate) struct Join {
    #[command(flatten)]
    common: Common,
    /// What `cascade link GROUP` printed, or a file with it; `-` is standard input.
    link: String,
    /// Shown with your request, at most 1024 bytes.
    #[arg(long, value_name = "TEXT", default_value = "")]
    message: String,
}

/// List those who ask to join your groups.
#[derive(Debug, Args)]
#[command(after_help = "\
By a link that you made on one of your devices, they ask all that you had then. Any of them answers.

A name is the choice of who asks. Compare the safety number with them over a channel you trust; after they are in, it is the
same, and `cascade verify` marks it.

Examples:
  cascade requests
  cascade requests Friends --json
  cascade requests --mine")]
pub(crate) struct Requests {
    #[command(flatten)]
    common: Common,
    /// Of this group alone: its name, or the beginning of its id.
    group: Option<String>,
    /// What you asked for yourself, and what was not answered yet.
    #[arg(long, conflicts_with = "group")]
    mine: bool,
}

/// Take back your own request to join a group.
#[derive(Debug, Args)]
#[command(after_help = "\
Who made the link is told, and cannot let you in any more, unless you ask again. If you were let in at the same moment, you
are removed.

Examples:
  cascade withdraw                 (the only one)
  cascade withdraw 3f9a1c02
  cascade withdraw friends.link")]
pub(crate) struct Withdraw {
    #[command(flatten)]
    common: Common,
    /// The beginning of the id of the request, or the link, or a file with it.
    request: Option<String>,
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
    let link: GroupLink = link_argument(&arguments.link)?;
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
    if arguments.mine {
        let asks = session.client().join_asks()?;
        return asks.iter().try_for_each(|ask| match arguments.common.json {
            true => print(json!({
                "request": ask.id.to_string(),
                "link": ask.link.to_string(),
                "at": ask.asked,
            })),
            false => print(ask_line(ask)),
        });
    }
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

pub(crate) fn withdraw(arguments: &Withdraw) -> Result<(), CliError> {
    let mut session = arguments.common.open()?;
    let ask = find_ask(&mut session, arguments.request.as_deref())?;
    let withdrawn = session.submit(Command::WithdrawJoin(ask.id))?;
    arguments.common.finish(&mut session, &[withdrawn])
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

/// What this device asked for, by the beginning of its id, or by its link; the only one where nothing is given.
///
/// # Errors
/// [`TalkError::NoSuchAsk`], [`TalkError::NoAsk`], [`TalkError::ManyAsks`].
pub(crate) fn find_ask(session: &mut Session, text: Option<&str>) -> Result<JoinAsk, TalkError> {
    let beginning = text.map(str::to_lowercase);
    let link = text.and_then(|text| link_or_file::<GroupLink>(text).ok());
    let is_meant = |ask: &JoinAsk| match (&beginning, &link) {
        (None, _) => true,
        (_, Some(link)) => link.link.id() == ask.link,
        (Some(text), None) => text.len() >= 4 && ask.id.to_string().starts_with(text),
    };
    let mut found = session.client().join_asks()?.into_iter().filter(is_meant);
    match (found.next(), found.next(), text) {
        (Some(ask), None, _) => Ok(ask),
        (None, _, None) => Err(TalkError::NoAsk),
        (None, _, Some(text)) => Err(TalkError::NoSuchAsk(text.to_owned())),
        (Some(_), Some(_), _) => Err(TalkError::ManyAsks),
    }
}

/// What this device asked for, for people to read.
pub(crate) fn ask_line(ask: &JoinAsk) -> String {
    let short = |id: String| id.chars().take(8).collect::<String>();
    format!("{}  by the link {}", short(ask.id.to_string()), short(ask.link.to_string()))
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
        lines
            .push("          CAREFUL: somebody whom you know has a name that looks like it".into());
    }
    lines
}
