//! One line of a conversation.

use std::{fmt, str};

/// What a line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command<'a> {
    /// `name: text`
    Say { name: &'a str, text: &'a str },
    /// `+name`
    Join(&'a str),
    /// `-name`
    Remove(&'a str),
    /// `~name`
    Update(&'a str),
}

/// Why a line asks for nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BadLine {
    NotText,
    NoName,
    NoCommand,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotText => "not UTF-8",
            Self::NoName => "there is no name",
            Self::NoCommand => "no such command: write name: text, +name, -name or ~name",
        })
    }
}

/// Reads one line, with or without its end. `None` for a blank line or a comment.
pub(crate) fn parse(line: &[u8]) -> Result<Option<Command<'_>>, BadLine> {
    let line = str::from_utf8(line).map_err(|_| BadLine::NotText)?;
    let line = line.strip_suffix('\n').unwrap_or(line);
    let line = line.strip_suffix('\r').unwrap_or(line);
    let start = line.trim_start();
    if start.is_empty() || start.starts_with('#') {
        return Ok(None);
    }
    let named = |rest: &'_ str| if rest.trim().is_empty() { Err(BadLine::NoName) } else { Ok(()) };
    for (sign, command) in
        [('+', Command::Join as fn(_) -> _), ('-', Command::Remove), ('~', Command::Update)]
    {
        if let Some(rest) = start.strip_prefix(sign) {
            named(rest)?;
            return Ok(Some(command(rest.trim())));
        }
    }
    let (name, text) = start.split_once(':').ok_or(BadLine::NoCommand)?;
    named(name)?;
    Ok(Some(Command::Say { name: name.trim(), text: text.strip_prefix(' ').unwrap_or(text) }))
}
