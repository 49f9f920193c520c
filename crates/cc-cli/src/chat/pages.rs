//! The texts of the pages that cover the conversation.

use std::collections::VecDeque;

use cc_client::{GroupId, Trust};

use super::{
    input::COMMANDS,
    order::{MemberRow, Seen},
};
use crate::talk::journal::{Message, MessageState};

pub(crate) fn help() -> Vec<String> {
    let mut lines = vec![
        "Type and press Enter to send. Lines that begin with / are commands:".into(),
        String::new(),
    ];
    for (name, arguments, what) in COMMANDS {
        lines.push(format!("  {:<24} {what}", format!("/{name} {arguments}")));
    }
    lines.extend(
        [
            "",
            "N is the number in front of a message, NAME the beginning of a name or the number in /members.",
            "",
            "  Tab, Shift-Tab           next group, last group",
            "  PgUp, PgDn               earlier, later; Esc goes to the end",
            "  Up, Down                 what you typed before",
            "  Ctrl-C                   leave the program",
            "",
            "Marks of people: ✓ verified, ! keys have changed, ? not known whose device it is.",
            "Marks of your messages: … waits to be sent, ✓ the relay has it, ✗ was not sent.",
            "Times are UTC.",
        ]
        .map(String::from),
    );
    lines
}

pub(crate) fn link(link: &str) -> Vec<String> {
    vec![
        "Give this to somebody who is to invite you, over a way that nobody else writes to:".into(),
        String::new(),
        link.to_owned(),
        String::new(),
        "Who has it can invite you into groups, and nothing else. The other one types: /invite LINK".into(),
    ]
}

pub(crate) fn group_link(link: &str) -> Vec<String> {
    vec![
        "Give this to those who may ask to join this group. It is good for a week:".into(),
        String::new(),
        link.to_owned(),
        String::new(),
        "Who has it types: /join LINK. You see who asks with /requests, and nobody is in before you let them in with /admit."
            .into(),
    ]
}

pub(crate) const fn mark(trust: Option<Trust>) -> &'static str {
    match trust {
        Some(Trust::Verified) => "✓",
        Some(Trust::Changed) => "!",
        Some(Trust::Pinned) => " ",
        _ => "?",
    }
}

pub(crate) fn members(members: &[MemberRow]) -> Vec<String> {
    let mut lines = Vec::new();
    for (at, row) in members.iter().enumerate() {
        let device =
            row.device_name.as_deref().map(|name| format!(" ({name})")).unwrap_or_default();
        let you = if row.mine { ", you" } else { "" };
        let trust = match row.trust {
            _ if row.mine => "",
            Some(Trust::Verified) => "verified",
            Some(Trust::Changed) => "KEYS HAVE CHANGED",
            Some(Trust::Pinned) => "not verified",
            _ => "not known whose device it is",
        };
        let id: String = row.device.to_string().chars().take(16).collect();
        let number = at + 1;
        lines.push(format!(
            "{number:>3} {} {}{device}{you}  {id}  {trust}",
            mark(row.trust),
            row.name
        ));
    }
    lines.push(String::new());
    lines.push(
        "/safety NAME shows what you compare with somebody, /verify NAME marks as verified.".into(),
    );
    lines
}

pub(crate) fn safety(me: &str, name: &str, number: &str) -> Vec<String> {
    let groups: Vec<&str> = number.split(' ').collect();
    let mut lines = vec![format!("The safety number of {me} and {name}:"), String::new()];
    lines.extend(groups.chunks(4).map(|row| format!("    {}", row.join("  "))));
    lines.extend([
        String::new(),
        format!("{name} sees the same with /safety {me}. Compare over a way that you trust, by voice for example:"),
        "if one digit differs, somebody is between you. It changes when one of you replaces keys.".into(),
    ]);
    lines
}

pub(crate) fn layers(message: &Message) -> Vec<String> {
    if message.layers.is_empty() {
        return vec!["Not known: it waits, or it was sent by another device.".into()];
    }
    let mut lines = vec![
        format!(
            "{:<28} {:>7} {:>9} {:>9} {:>8}",
            "layer", "version", "bytes in", "bytes out", "time"
        ),
        String::new(),
    ];
    for layer in &message.layers {
        let time = layer.microseconds.map_or_else(|| "-".into(), |time| format!("{time} µs"));
        lines.push(format!(
            "{:<28} {:>7} {:>9} {:>9} {time:>8}",
            layer.name, layer.version, layer.bytes_in, layer.bytes_out
        ));
    }
    lines.extend([
        String::new(),
        "The first layer is the innermost: the output of each is the input of the next.".into(),
    ]);
    lines
}

pub(crate) fn seen(seen: &VecDeque<Seen>) -> Vec<String> {
    if seen.is_empty() {
        return vec!["Nothing since this program was started.".into()];
    }
    let mut lines = vec![
        "All that was exchanged with the relay since this program was started, the last first:"
            .into(),
        String::new(),
    ];
    lines.extend(seen.iter().rev().map(|seen| format!("{}  {}", time(seen.at), seen.what)));
    lines
}

pub(crate) fn seen_of(seen: &VecDeque<Seen>, group: GroupId, message: &Message) -> Vec<String> {
    let position = match &message.state {
        MessageState::Sent(position) => position.0,
        MessageState::Waiting => return vec!["Nothing yet: it waits here.".into()],
        MessageState::Refused(_) => return vec!["Nothing: it was not sent.".into()],
    };
    let mut lines = vec![format!("Log        {group}"), format!("Position   {position}")];
    let exchanges = seen.iter().filter_map(|exchange| {
        let (log, items) = exchange.items.as_ref()?;
        let item = items.iter().find(|(at, _)| *log == group && *at == position)?;
        Some((exchange, item.1))
    });
    let before = lines.len();
    for (exchange, length) in exchanges {
        lines.push(format!(
            "Length     {length} bytes, at {}: {}",
            time(exchange.at),
            exchange.what
        ));
    }
    if lines.len() == before {
        lines.push(
            "Length and time are known only for what went by since this program was started."
                .into(),
        );
    }
    lines.extend([
        String::new(),
        "And the network address of this device, and that it knows the token of the group's epoch. Not who wrote it, \
         not who is in the group, not what it says."
            .into(),
    ]);
    lines
}

/// Hours and minutes of the day, UTC.
pub(crate) fn time(at: u64) -> String {
    let seconds = at / 1000;
    format!("{:02}:{:02}", seconds / 3600 % 24, seconds / 60 % 60)
}
