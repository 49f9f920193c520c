//! `cascade init`.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use cc_client::Recipe;
use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};
use serde_json::json;

use super::{Common, hex, hint, print};
use crate::{
    error::CliError,
    talk::{
        error::TalkError,
        profile::{DEFAULT_RECIPE, NewProfile},
        session::Session,
    },
};

/// Make a profile: your keys, and where others reach you.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cascade init --name Alice --device Laptop --relay https://relay.example
  cascade init --profile bot --name Bot --relay http://127.0.0.1:4480 --without-passphrase
  cascade init --name Alice --relay https://relay.example --recipe paranoid")]
pub(crate) struct Arguments {
    #[command(flatten)]
    common: Common,
    /// What others see. Asked for at the terminal if it is missing.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// What this device is called, for you and for the members of your groups.
    #[arg(long, value_name = "NAME", default_value = "")]
    device: String,
    /// The relay. Asked for at the terminal if it is missing.
    #[arg(long, env = "CASCADE_RELAY", value_name = "URL")]
    relay: Option<String>,
    /// Put a random key beside the store, instead of a passphrase: whoever reads the folder reads everything.
    #[arg(long, conflicts_with = "passphrase_file")]
    without_passphrase: bool,
    /// The layers of your groups, the same for all members: `post-quantum` (X25519 with ML-KEM-768, MLS, AES), `group` (P-256
    /// in the place of ML-KEM: joins and removals in groups of hundreds are a sixth as long), or `paranoid` (all five layers).
    #[arg(long, value_name = "NAME", default_value = DEFAULT_RECIPE,
        value_parser = recipes())]
    recipe: Recipe,
}

/// Reads the name of a recipe.
fn recipes() -> impl TypedValueParser<Value = Recipe> {
    let names = PossibleValuesParser::new(Recipe::NAMES);
    names.try_map(|name| Recipe::named(&name).ok_or("there is no recipe of this name"))
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), CliError> {
    let common = &arguments.common;
    if common.profile.exists()? {
        return Err(TalkError::ProfileExists(common.profile.folder()?).into());
    }
    let name = match &arguments.name {
        Some(name) => name.clone(),
        None => ask("Your name, as others see it", TalkError::NoName)?,
    };
    let relay = match &arguments.relay {
        Some(relay) => relay.clone(),
        None => ask("The relay (https://HOST)", TalkError::NoRelay)?,
    };
    let relay = relay.parse().map_err(|_| TalkError::Relay(relay))?;
    let (without_passphrase, recipe) = (arguments.without_passphrase, arguments.recipe.clone());
    let device = arguments.device.clone();
    let new = NewProfile { name, device, relay, without_passphrase, recipe };
    let mut session = Session::create(&common.profile, &new)?;
    if common.json {
        print(json!({
            "name": session.me().name(),
            "device": hex(session.me().id.as_bytes()),
            "link": session.link().to_string(),
        }))?;
    } else {
        print(session.link())?;
    }
    // So that others can invite this person from now on.
    common.finish(&mut session, &[])?;
    hint(
        "by this link others invite you; cascade found NAME makes a group, cascade chat shows all",
    );
    Ok(())
}

/// Asks whoever sits at the terminal.
pub(crate) fn ask(question: &str, missing: TalkError) -> Result<String, CliError> {
    let mut line = String::new();
    if io::stdin().is_terminal() {
        let mut stderr = io::stderr().lock();
        let asked = write!(stderr, "{question}: ").and_then(|()| stderr.flush());
        asked.map_err(|source| CliError::Write { name: "standard error".into(), source })?;
        let read = io::stdin().lock().read_line(&mut line);
        read.map_err(|error| CliError::read("standard input", error))?;
    }
    match line.trim() {
        "" => Err(missing.into()),
        line => Ok(line.to_owned()),
    }
}
