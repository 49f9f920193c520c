//! `cascade groups`, `found`, `invite`, `leave`.

use cc_client::Command;
use clap::Args;
use serde_json::json;

use super::{Common, find_group, hint, print};
use crate::{
    error::CliError,
    talk::link::{InviteLink, link_argument},
    untrusted_text::harmless,
};

/// List your groups.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cascade groups
  cascade groups --json")]
pub(crate) struct Groups {
    #[command(flatten)]
    common: Common,
}

/// Found a group.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cascade found Friends")]
pub(crate) struct Found {
    #[command(flatten)]
    common: Common,
    /// What it is called.
    name: String,
}

/// Invite somebody into a group.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cascade invite Friends 'cascade:https://relay.example#AQ...'
  cascade invite Friends bob.link carol.link")]
pub(crate) struct Invite {
    #[command(flatten)]
    common: Common,
    /// The group: its name, or the beginning of its id.
    group: String,
    /// What `cascade link` printed for who is to come, or a file with it; `-` is standard input.
    #[arg(required = true)]
    links: Vec<String>,
}

/// Leave a group. The others let you go when one of them is there.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cascade leave Friends")]
pub(crate) struct Leave {
    #[command(flatten)]
    common: Common,
    /// The group: its name, or the beginning of its id.
    group: String,
}

pub(crate) fn groups(arguments: &Groups) -> Result<(), CliError> {
    let mut session = arguments.common.open()?;
    let snapshot = session.views()?.snapshot();
    for (id, group) in &snapshot.groups {
        let unread = session.unread(id)?;
        if arguments.common.json {
            print(json!({
                "group": id.to_string(),
                "title": group.title,
                "members": group.members.len(),
                "epoch": group.epoch,
                "member": group.epoch.is_some(),
                "unread": unread,
            }))?;
        } else {
            let members = match group.epoch {
                Some(_) => format!("{} members", group.members.len()),
                None => "not a member".to_owned(),
            };
            let short = id.to_string().chars().take(8).collect::<String>();
            print(format_args!(
                "{short}  {}  ({members}, {unread} unread)",
                harmless(&group.title)
            ))?;
        }
    }
    Ok(())
}

pub(crate) fn found(arguments: &Found) -> Result<(), CliError> {
    let mut session = arguments.common.open()?;
    let group = session.found(&arguments.name)?;
    match arguments.common.json {
        true => print(json!({ "group": group.to_string(), "title": arguments.name }))?,
        false => print(group)?,
    }
    let name = harmless(&arguments.name);
    hint(format_args!(
        "bring others in: cascade invite '{name}' LINK, or let them ask: cascade link '{name}'"
    ));
    Ok(())
}

pub(crate) fn invite(arguments: &Invite) -> Result<(), CliError> {
    let links = arguments.links.iter().map(|link| link_argument(link));
    let links = links.collect::<Result<Vec<InviteLink>, _>>()?;
    let mut session = arguments.common.open()?;
    let group = find_group(&mut session, &arguments.group)?;
    let invitations = links.iter().map(|link| session.invite(group, link));
    let invitations = invitations.collect::<Result<Vec<_>, _>>()?;
    arguments.common.finish(&mut session, &invitations)?;
    hint("they are members now, and know it with their next cascade receive");
    Ok(())
}

pub(crate) fn leave(arguments: &Leave) -> Result<(), CliError> {
    let mut session = arguments.common.open()?;
    let group = find_group(&mut session, &arguments.group)?;
    let leave = session.submit(Command::Leave(group))?;
    arguments.common.finish(&mut session, &[leave])?;
    hint("the others are asked to let you go; cascade receive tells when one of them did");
    Ok(())
}
