//! `cascade device`.

use std::path::PathBuf;

use cc_client::Command;
use cc_core::MemberId;
use clap::{Args, Subcommand};
use serde_json::json;

use super::{Common, hex, hint, print};
use crate::{
    error::CliError,
    talk::{error::TalkError, session::Session},
    untrusted_text::harmless,
};

/// List your devices, take one more in, or give one up.
///
/// All your devices are one person to others: they keep your mark, and come into all your groups.
#[derive(Debug, Args)]
#[command(after_help = "\
On the new device, `cascade init` makes a profile, and `cascade device offer FILE` writes what an old one needs. Bring the
file over yourself: who else sees it can make the new device its own. On the old one: `cascade device add FILE`. Then, on the
new one, `cascade receive` tells whose it is.

Examples:
  cascade device
  cascade device offer laptop.offer     (on the new device)
  cascade device add laptop.offer       (on the old one)
  cascade device revoke Telephone")]
pub(crate) struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// On a new device: write what an old one needs to take it in.
    Offer {
        /// The file; it must not exist.
        file: PathBuf,
    },
    /// On an old device: take in the one that wrote this file.
    Add {
        /// The file.
        file: PathBuf,
    },
    /// A device is lost: it leaves all groups, everybody is told, and links to join by that it knows are over.
    Revoke {
        /// Its name, or the beginning of its id.
        device: String,
    },
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), CliError> {
    let common = &arguments.common;
    let mut session = common.open()?;
    match &arguments.what {
        None => list(common, &mut session),
        Some(What::Offer { file }) => {
            session.offer_device(file)?;
            common.finish(&mut session, &[])?;
            let file = file.display();
            hint(format_args!(
                "bring {file} to your other device; there: cascade device add {file}"
            ));
            Ok(())
        }
        Some(What::Add { file }) => {
            let added = session.add_device(file)?;
            common.finish(&mut session, &[added])?;
            hint("it is yours from now on; on the new device: cascade receive");
            Ok(())
        }
        Some(What::Revoke { device }) => {
            let device = find_own(&mut session, device)?;
            let revoked = session.submit(Command::Revoke(device))?;
            common.finish(&mut session, &[revoked])
        }
    }
}

fn list(common: &Common, session: &mut Session) -> Result<(), CliError> {
    let me = session.me().id;
    for device in session.own_devices()? {
        let name = device.device.unwrap_or_default();
        if common.json {
            print(json!({
                "device": hex(device.id.as_bytes()),
                "name": name,
                "this": device.id == me,
            }))?;
            continue;
        }
        let this = if device.id == me { "  (this one)" } else { "" };
        print(format_args!("{}  {}{this}", device.id, harmless(&name)))?;
    }
    Ok(())
}

/// Another device of this person, by its name, or the beginning of its id.
///
/// # Errors
/// [`TalkError::NoSuchOwnDevice`], [`TalkError::ManyOwnDevices`].
fn find_own(session: &mut Session, text: &str) -> Result<MemberId, TalkError> {
    let (me, beginning) = (session.me().id, text.to_lowercase());
    let is_meant = |device: &cc_client::Person| {
        let id = device.id.to_string();
        device.device.as_deref() == Some(text) || text.len() >= 4 && id.starts_with(&beginning)
    };
    let devices = session.own_devices()?;
    let mut found =
        devices.into_iter().filter(|device| device.id != me && is_meant(device)).map(|it| it.id);
    match (found.next(), found.next()) {
        (Some(device), None) => Ok(device),
        (None, _) => Err(TalkError::NoSuchOwnDevice(text.to_owned())),
        (Some(_), Some(_)) => Err(TalkError::ManyOwnDevices(text.to_owned())),
    }
}
