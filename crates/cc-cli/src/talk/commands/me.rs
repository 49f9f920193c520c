//! `cascade me`, `rename`, `link`.

use std::time::Duration;

use cc_client::Command;
use clap::Args;
use serde_json::json;

use super::{Common, find_group, hex, print};
use crate::{error::CliError, talk::session::Session, untrusted_text::harmless};

/// Show who you are: name, link, devices.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cascade me
  cascade me --json --profile bot")]
pub(crate) struct Me {
    #[command(flatten)]
    common: Common,
}

/// Be called otherwise, on all your devices. The members of your groups are told.
#[derive(Debug, Args)]
#[command(after_help = "\
The name goes to the members alone, sealed. The marks of others stay, for your keys do.

Examples:
  cascade rename 'Alice Liddell'")]
pub(crate) struct Rename {
    #[command(flatten)]
    common: Common,
    /// The name, at most 1024 bytes.
    #[arg(value_parser = parse_name)]
    name: String,
}

/// Bytes of a name.
const MAX_NAME: usize = 1024;

fn parse_name(name: &str) -> Result<String, String> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(format!("a name has 1 to {MAX_NAME} bytes"));
    }
    Ok(name.to_owned())
}

/// Print the link by which others invite you; with a group, one by which others ask to join it.
///
/// A link of your own names your device, and is no secret. A link of a group is one of those who may ask: whoever has
/// it is seen asking, by you, with `cascade requests`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cascade link
  cascade invite Friends \"$(cascade link --profile bob)\"
  cascade link Friends --days 1 > friends.link
  cascade link Friends --list
  cascade link Friends --revoke")]
pub(crate) struct Link {
    #[command(flatten)]
    common: Common,
    /// The group that others may ask to join: its name, or the beginning of its id.
    group: Option<String>,
    /// The link of a group is good for so many days.
    #[arg(long, value_name = "DAYS", default_value_t = 7, requires = "group",
        value_parser = clap::value_parser!(u16).range(1..=365))]
    days: u16,
    /// List your links for the group that lead to this device.
    #[arg(long, requires = "group", conflicts_with = "revoke")]
    list: bool,
    /// End your links for the group, on all your devices; who asked and waits is declined.
    #[arg(long, requires = "group")]
    revoke: bool,
}

pub(crate) fn me(arguments: &Me) -> Result<(), CliError> {
    let mut session = arguments.common.open()?;
    let (me, link, relay) = (session.me(), session.link(), session.relay().to_string());
    let view = me.person.map(|id| session.client().person(&id)).transpose()?;
    let devices = view.map(|view| view.devices).unwrap_or_default();
    if arguments.common.json {
        let devices = devices.iter().map(|device| {
            json!({ "device": hex(device.id.as_bytes()), "name": device.device.as_deref() })
        });
        return print(json!({
            "name": me.name(),
            "device": hex(me.id.as_bytes()),
            "person": me.person.map(|id| id.to_string()),
            "relay": relay,
            "link": link.to_string(),
            "devices": devices.collect::<Vec<_>>(),
        }));
    }
    print(format_args!("name    {}", harmless(&me.name())))?;
    print(format_args!("relay   {relay}"))?;
    print(format_args!("link    {link}"))?;
    if let Some(person) = me.person {
        print(format_args!("person  {person}"))?;
    }
    for device in devices {
        let this = if device.id == me.id { "  (this one)" } else { "" };
        let name = harmless(&device.device.unwrap_or_default());
        print(format_args!(
            "device  {}{}{name}{this}",
            device.id,
            if name.is_empty() { "" } else { "  " }
        ))?;
    }
    Ok(())
}

pub(crate) fn rename(arguments: &Rename) -> Result<(), CliError> {
    let mut session = arguments.common.open()?;
    let renamed = session.submit(Command::Rename(arguments.name.clone()))?;
    arguments.common.finish(&mut session, &[renamed])
}

pub(crate) fn link(arguments: &Link) -> Result<(), CliError> {
    let mut session = arguments.common.open()?;
    if let Some(group) = &arguments.group {
        return group_link(arguments, &mut session, group);
    }
    match arguments.common.json {
        true => print(json!({ "link": session.link().to_string() }))?,
        false => print(session.link())?,
    }
    // Whoever gets the link is to find a key package.
    arguments.common.finish(&mut session, &[])
}

fn group_link(arguments: &Link, session: &mut Session, group: &str) -> Result<(), CliError> {
    let (common, group) = (&arguments.common, find_group(session, group)?);
    if arguments.list || arguments.revoke {
        let mut commands = Vec::new();
        for view in session.client().join_links()?.into_iter().filter(|it| it.group == group) {
            let (id, expires) = (view.link.id(), view.link.expires());
            match (arguments.revoke, common.json) {
                (true, _) => commands.push(session.submit(Command::RevokeJoinLink(id))?),
                (false, true) => print(json!({
                    "id": id.to_string(),
                    "link": session.group_link(view.link).to_string(),
                    "expires": expires,
                    "waiting": view.open,
                    "asked": view.asked,
                }))?,
                (false, false) => print(format_args!(
                    "{}  ({} wait, {} asked)",
                    session.group_link(view.link),
                    view.open,
                    view.asked
                ))?,
            }
        }
        return common.finish(session, &commands);
    }
    let day = Duration::from_secs(24 * 3600);
    let link = session.join_link(group, day * u32::from(arguments.days))?;
    // Your other devices are to know the link before somebody asks by it.
    let told = match link.link.mailboxes() {
        [_, _, ..] => common.finish(session, &[]),
        _ => Ok(()),
    };
    match common.json {
        true => print(json!({
            "link": link.to_string(),
            "id": link.link.id().to_string(),
            "group": group.to_string(),
            "expires": link.link.expires(),
        }))?,
        false => print(link)?,
    }
    told
}
