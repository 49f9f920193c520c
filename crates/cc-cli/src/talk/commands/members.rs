//! `cascade members`, `verify`, `remove`.

use cc_client::{Command, GroupView, Person, PersonId, Trust};
use cc_core::MemberId;
use clap::Args;
use serde_json::json;

use super::{Common, find_group, hex, print};
use crate::{
    error::CliError,
    talk::{error::TalkError, session::Session},
    untrusted_text::harmless,
};

/// List the members of a group, with the numbers to compare.
#[derive(Debug, Args)]
#[command(after_help = "\
The safety number is the same for both of you: read it to each other over a channel you trust, then mark it with
`cascade verify`.

Examples:
  cascade members Friends")]
pub(crate) struct Members {
    #[command(flatten)]
    common: Common,
    /// The group: its name, or the beginning of its id.
    group: String,
}

/// Mark somebody as verified, by the safety number that you compared.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cascade verify Bob '12345 67890 ...'
  cascade verify Bob --accept     (changed keys, as they are)")]
pub(crate) struct Verify {
    #[command(flatten)]
    common: Common,
    /// The name, or the beginning of the id.
    person: String,
    /// The 60 digits that the other one reads out.
    #[arg(required_unless_present = "accept", num_args = 1..)]
    number: Vec<String>,
    /// Take the changed keys of this person as they are, without a comparison.
    #[arg(long, conflicts_with = "number")]
    accept: bool,
}

/// Remove somebody from a group, with all devices.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cascade remove Friends Bob")]
pub(crate) struct Remove {
    #[command(flatten)]
    common: Common,
    /// The group: its name, or the beginning of its id.
    group: String,
    /// The name, or the beginning of the id of the device or the person.
    #[arg(required = true)]
    members: Vec<String>,
}

pub(crate) fn members(arguments: &Members) -> Result<(), CliError> {
    let mut session = arguments.common.open()?;
    let group = find_group(&mut session, &arguments.group)?;
    let me = session.me();
    let view = session.client().group(&group)?;
    for member in view.members.iter() {
        let myself = member.id == me.id;
        let mine = me.person.is_some() && member.person == me.person;
        let (mut trust, mut number) = (None, None);
        if let Some(person) = member.person.filter(|_| !mine) {
            trust = Some(session.client().person(&person)?.trust);
            number = Some(session.client().safety_number(&person)?.to_string());
        }
        let mark = match trust {
            _ if myself => "you",
            _ if mine => "you, on another device",
            Some(Trust::Verified) => "verified",
            Some(Trust::Pinned) => "not verified",
            Some(Trust::Changed) => "KEYS CHANGED",
            _ => "not introduced yet",
        };
        if arguments.common.json {
            print(json!({
                "name": member.name(),
                "device": hex(member.id.as_bytes()),
                "person": member.person.map(|id| id.to_string()),
                "myself": myself,
                "trust": mark,
                "safety_number": number,
            }))?;
        } else {
            let short = member.id.to_string().chars().take(8).collect::<String>();
            print(format_args!("{short}  {}  ({mark})", harmless(&member.name())))?;
            if let Some(number) = number {
                print(format_args!("          {number}"))?;
            }
        }
    }
    Ok(())
}

pub(crate) fn verify(arguments: &Verify) -> Result<(), CliError> {
    let mut session = arguments.common.open()?;
    let person = find_person(&mut session, &arguments.person)?;
    let command = if arguments.accept {
        session.submit(Command::AcceptChange(person))?
    } else {
        let number = session.client().safety_number(&person)?;
        let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
        let given = arguments.number.concat();
        if digits(&number.to_string()) != digits(&given) {
            return Err(TalkError::SafetyNumber(given, arguments.person.clone()).into());
        }
        session.verify(person, number)?
    };
    arguments.common.settle(&mut session, &[command])
}

pub(crate) fn remove(arguments: &Remove) -> Result<(), CliError> {
    let mut session = arguments.common.open()?;
    let group = find_group(&mut session, &arguments.group)?;
    let view = session.client().group(&group)?;
    let mut members = Vec::new();
    for text in &arguments.members {
        members.extend(find_devices(&view, text)?);
    }
    let remove = session.submit(Command::Remove { group, members })?;
    arguments.common.finish(&mut session, &[remove])
}

/// The devices in a group of the person of this name, or of the person or device whose id begins like that.
///
/// # Errors
/// [`TalkError::NoSuchPerson`], [`TalkError::ManyPeople`].
pub(crate) fn find_devices(group: &GroupView, text: &str) -> Result<Vec<MemberId>, TalkError> {
    let beginning = text.to_lowercase();
    let is_meant = |member: &&Person| {
        let ids = [Some(hex(member.id.as_bytes())), member.person.map(|id| id.to_string().into())];
        let mut ids = ids.iter().flatten().filter_map(|id| id.as_str());
        member.name() == text || text.len() >= 4 && ids.any(|id| id.starts_with(&beginning))
    };
    let meant: Vec<_> = group.members.iter().filter(is_meant).collect();
    let Some(first) = meant.first() else {
        return Err(TalkError::NoSuchPerson(text.to_owned()));
    };
    let one = meant.iter().all(|member| {
        member.id == first.id || member.person.is_some() && member.person == first.person
    });
    if !one {
        return Err(TalkError::ManyPeople(text.to_owned()));
    }
    Ok(meant.iter().map(|member| member.id).collect())
}

/// The person of this name, or whose id begins like that.
///
/// # Errors
/// [`TalkError::NoSuchPerson`], [`TalkError::ManyPeople`].
pub(crate) fn find_person(session: &mut Session, text: &str) -> Result<PersonId, TalkError> {
    let me = session.me().person;
    let mut found = Vec::new();
    for id in session.client().people()? {
        let like = text.len() >= 4 && id.to_string().starts_with(&text.to_lowercase());
        if Some(id) != me && (like || session.client().person(&id)?.name == text) {
            found.push(id);
        }
    }
    match found[..] {
        [] => Err(TalkError::NoSuchPerson(text.to_owned())),
        [id] => Ok(id),
        _ => Err(TalkError::ManyPeople(text.to_owned())),
    }
}
