//! `cascade me`, `rename`, `link`.

use cc_client::Command;
use clap::Args;
use serde_json::json;

use super::{Common, hex, print};
use crate::error::CliError;

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

/// Print the link by which others invite you.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cascade link
  cascade invite Friends \"$(cascade link --profile bob)\"")]
pub(crate) struct Link {
    #[command(flatten)]
    common: Common,
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
    print(format_args!("name    {}", me.name()))?;
    print(format_args!("relay   {relay}"))?;
    print(format_args!("link    {link}"))?;
    if let Some(person) = me.person {
        print(format_args!("person  {person}"))?;
    }
    for device in devices {
        let this = if device.id == me.id { "  (this one)" } else { "" };
        let name = device.device.unwrap_or_default();
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
    match arguments.common.json {
        true => print(json!({ "link": session.link().to_string() }))?,
        false => print(session.link())?,
    }
    // Whoever gets the link is to find a key package.
    arguments.common.finish(&mut session, &[])
}
