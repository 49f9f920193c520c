//! The line that is typed, and what it asks for.

/// A line with a cursor, and the lines that were typed before.
#[derive(Debug, Default)]
pub(crate) struct Editor {
    text: String,
    /// In bytes, between two characters.
    cursor: usize,
    past: Vec<String>,
    /// How far back in the past.
    back: usize,
}

/// Lines that are remembered.
const PAST: usize = 100;

impl Editor {
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// What is in front of the cursor.
    pub(crate) fn before_cursor(&self) -> &str {
        self.text.get(..self.cursor).unwrap_or_default()
    }

    pub(crate) fn insert(&mut self, character: char) {
        self.text.insert(self.cursor, character);
        self.cursor += character.len_utf8();
    }

    pub(crate) fn paste(&mut self, text: &str) {
        text.chars().for_each(|character| self.insert(character));
    }

    pub(crate) fn backspace(&mut self) {
        if let Some(last) = self.before_cursor().chars().next_back() {
            self.cursor -= last.len_utf8();
            self.text.remove(self.cursor);
        }
    }

    pub(crate) fn delete(&mut self) {
        if self.cursor < self.text.len() {
            self.text.remove(self.cursor);
        }
    }

    pub(crate) fn delete_word(&mut self) {
        let kept = self.before_cursor().trim_end();
        let kept = kept.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        self.text.replace_range(kept..self.cursor, "");
        self.cursor = kept;
    }

    pub(crate) fn left(&mut self) {
        let step = self.before_cursor().chars().next_back().map_or(0, char::len_utf8);
        self.cursor -= step;
    }

    pub(crate) fn right(&mut self) {
        let behind = self.text.get(self.cursor..).unwrap_or_default();
        self.cursor += behind.chars().next().map_or(0, char::len_utf8);
    }

    pub(crate) const fn home(&mut self) {
        self.cursor = 0;
    }

    pub(crate) const fn end(&mut self) {
        self.cursor = self.text.len();
    }

    pub(crate) fn set(&mut self, text: &str) {
        text.clone_into(&mut self.text);
        self.cursor = self.text.len();
    }

    /// Takes the line.
    pub(crate) fn take(&mut self) -> String {
        self.cursor = 0;
        self.back = 0;
        let text = core::mem::take(&mut self.text);
        if !text.trim().is_empty() && self.past.last() != Some(&text) {
            self.past.push(text.clone());
            if self.past.len() > PAST {
                self.past.remove(0);
            }
        }
        text
    }

    /// The line before this one.
    pub(crate) fn earlier(&mut self) {
        if self.back < self.past.len() {
            self.back += 1;
            self.show_past();
        }
    }

    /// The line after this one.
    pub(crate) fn later(&mut self) {
        self.back = self.back.saturating_sub(1);
        self.show_past();
    }

    fn show_past(&mut self) {
        let at = self.past.len() - self.back;
        let text = self.past.get(at).cloned().unwrap_or_default();
        self.set(&text);
    }
}

/// What a line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    Nothing,
    Say(String),
    New(String),
    Open(String),
    Link(Option<String>),
    Invite(String),
    GroupLink(Option<String>),
    Join { link: String, text: String },
    Requests,
    Withdraw(Option<String>),
    Share { name: String, last: u64 },
    Admit(String),
    Decline(String),
    Members,
    Safety(String),
    Verify(String),
    Accept(String),
    Remove(String),
    Leave,
    Refresh,
    Attach { path: String, text: String },
    Save { message: u64, path: Option<String> },
    Edit { message: u64, text: String },
    Delete(u64),
    React { message: u64, reaction: String },
    Reply { message: u64, text: String },
    Timer { seconds: u32, text: String },
    Report(u64),
    Seen(Option<u64>),
    Tree,
    Stack,
    Devices,
    Offer(String),
    AddDevice(String),
    Revoke(String),
    Help,
    Quit,
}

/// Entries of the history that are passed on: unless that is said, and at the most.
const SHARED: u64 = 50;
const MAX_SHARED: u64 = 100_000;

/// Name, arguments, and what it does; the order is that of the help.
pub(crate) const COMMANDS: &[(&str, &str, &str)] = &[
    ("new", "TITLE", "make a group"),
    ("open", "GROUP", "go to a group, by number or title"),
    ("link", "[FILE]", "show the link by which others invite you, or write it to a file"),
    ("invite", "LINK|FILE", "invite somebody into this group"),
    ("group-link", "[FILE]", "make a link by which others ask to join this group, for a week"),
    ("join", "LINK|FILE [TEXT]", "ask to join a group by its link"),
    ("requests", "", "who asks to join your groups"),
    ("admit", "NAME", "let somebody in who asks"),
    ("decline", "NAME", "do not let somebody in who asks"),
    ("withdraw", "[ID]", "take back what you asked for"),
    ("share", "NAME [COUNT]", "pass earlier messages on to somebody who came later"),
    ("members", "", "who is in this group"),
    ("safety", "NAME", "the safety number that you and somebody compare"),
    ("verify", "NAME", "mark somebody as verified, once you have compared"),
    ("accept", "NAME", "take somebody's changed keys without comparing"),
    ("remove", "NAME", "remove somebody, with all devices"),
    ("leave", "", "leave this group"),
    ("refresh", "", "renew your keys in this group"),
    ("attach", "PATH [TEXT]", "send a file; put quotes around a path with spaces"),
    ("save", "N [PATH]", "save the file of message N"),
    ("edit", "N TEXT", "change a message of yours"),
    ("delete", "N", "take back a message of yours"),
    ("react", "N WORD", "react to a message"),
    ("reply", "N TEXT", "answer a message"),
    ("timer", "SECONDS TEXT", "send what disappears so long after it was read"),
    ("report", "N", "what each layer did with a message"),
    ("seen", "[N]", "what the relay saw, of a message or of everything"),
    ("tree", "", "the ratchet tree of this group"),
    ("stack", "", "the layers of this group, and what they promise"),
    ("devices", "", "your devices"),
    ("offer-device", "FILE", "on a new device: write what an old one needs to take it in"),
    ("add-device", "FILE", "on an old device: take in the one that wrote this file"),
    ("revoke", "DEVICE", "a device of yours is lost"),
    ("help", "", "this page"),
    ("quit", "", "leave the program; what waits is sent next time"),
];

/// What a line asks for, or why it is none.
pub(crate) fn parse(line: &str) -> Result<Line, String> {
    let line = line.trim();
    if line.is_empty() {
        return Ok(Line::Nothing);
    }
    let Some(rest) = line.strip_prefix('/') else { return Ok(Line::Say(line.to_owned())) };
    if rest.starts_with('/') {
        // Two for a text that begins with one.
        return Ok(Line::Say(rest.to_owned()));
    }
    let (name, arguments) = split(rest);
    let usage = || {
        let known = COMMANDS.iter().find(|(known, ..)| *known == name);
        known.map_or_else(
            || format!("there is no /{name}; /help shows what there is"),
            |(name, arguments, _)| format!("write /{name} {arguments}"),
        )
    };
    let needed = || match arguments {
        "" => Err(usage()),
        arguments => Ok(arguments.to_owned()),
    };
    let number = |text: &str| text.trim_start_matches('#').parse::<u64>().map_err(|_| usage());
    let optional = || (!arguments.is_empty()).then(|| arguments.to_owned());
    let on_message = || {
        let (message, text) = split(arguments);
        let message = number(message)?;
        if text.is_empty() { Err(usage()) } else { Ok((message, text.to_owned())) }
    };
    Ok(match name {
        "new" => Line::New(needed()?),
        "open" => Line::Open(needed()?),
        "link" => Line::Link(optional()),
        "invite" => Line::Invite(needed()?),
        "group-link" => Line::GroupLink(optional()),
        "join" => {
            let (link, text) = quoted(arguments);
            if link.is_empty() {
                return Err(usage());
            }
            Line::Join { link: link.to_owned(), text: text.to_owned() }
        }
        "requests" => Line::Requests,
        "withdraw" => Line::Withdraw(optional()),
        "share" => {
            // A name may have spaces, and a number behind it is not part of it.
            let named = needed()?;
            let last = named.rsplit_once(char::is_whitespace);
            match last.and_then(|(name, last)| Some((name, last.parse::<u64>().ok()?))) {
                Some((_, last)) if !(1..=MAX_SHARED).contains(&last) => return Err(usage()),
                Some((name, last)) => Line::Share { name: name.trim().to_owned(), last },
                None => Line::Share { name: named, last: SHARED },
            }
        }
        "admit" => Line::Admit(needed()?),
        "decline" => Line::Decline(needed()?),
        "members" => Line::Members,
        "safety" => Line::Safety(needed()?),
        "verify" => Line::Verify(needed()?),
        "accept" => Line::Accept(needed()?),
        "remove" => Line::Remove(needed()?),
        "leave" => Line::Leave,
        "refresh" => Line::Refresh,
        "attach" => {
            let (path, text) = quoted(arguments);
            if path.is_empty() {
                return Err(usage());
            }
            Line::Attach { path: path.to_owned(), text: text.to_owned() }
        }
        "save" => {
            let (message, path) = split(arguments);
            let path = quoted(path).0;
            let path = (!path.is_empty()).then(|| path.to_owned());
            Line::Save { message: number(message)?, path }
        }
        "edit" => on_message().map(|(message, text)| Line::Edit { message, text })?,
        "delete" => Line::Delete(number(arguments)?),
        "react" => on_message().map(|(message, reaction)| Line::React { message, reaction })?,
        "reply" => on_message().map(|(message, text)| Line::Reply { message, text })?,
        "timer" => {
            let (seconds, text) = on_message()?;
            let seconds = u32::try_from(seconds).map_err(|_| usage())?;
            Line::Timer { seconds, text }
        }
        "report" => Line::Report(number(arguments)?),
        "seen" => Line::Seen(optional().map(|text| number(&text)).transpose()?),
        "tree" => Line::Tree,
        "stack" => Line::Stack,
        "devices" => Line::Devices,
        "offer-device" => Line::Offer(needed()?),
        "add-device" => Line::AddDevice(needed()?),
        "revoke" => Line::Revoke(needed()?),
        "help" => Line::Help,
        "quit" => Line::Quit,
        _ => return Err(usage()),
    })
}

/// The first word, and what follows.
fn split(text: &str) -> (&str, &str) {
    let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (first, rest.trim())
}

/// The same, where the first may be in quotes.
fn quoted(text: &str) -> (&str, &str) {
    match text.strip_prefix('"').and_then(|rest| rest.split_once('"')) {
        Some((first, rest)) => (first, rest.trim()),
        None => split(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_texts_or_commands() {
        let say = |text: &str| Ok(Line::Say(text.to_owned()));
        assert_eq!(parse(" hello /x "), say("hello /x"));
        assert_eq!(parse("//etc is a folder"), say("/etc is a folder"));
        assert_eq!(parse("  "), Ok(Line::Nothing));
        assert_eq!(parse("/new Dev Team"), Ok(Line::New("Dev Team".into())));
        let attach = |path: &str, text: &str| {
            Ok(Line::Attach { path: path.to_owned(), text: text.to_owned() })
        };
        assert_eq!(parse("/attach \"my file.png\" look"), attach("my file.png", "look"));
        assert_eq!(parse("/attach a.png"), attach("a.png", ""));
        assert_eq!(parse("/save #7"), Ok(Line::Save { message: 7, path: None }));
        assert_eq!(parse("/edit 7 b c"), Ok(Line::Edit { message: 7, text: "b c".into() }));
        assert_eq!(parse("/seen"), Ok(Line::Seen(None)));
        let share = |name: &str, last| Ok(Line::Share { name: name.to_owned(), last });
        assert_eq!(parse("/share Carol Smith"), share("Carol Smith", 50));
        assert_eq!(parse("/share Carol Smith 7"), share("Carol Smith", 7));
        assert_eq!(parse("/share 2"), share("2", 50));
        assert_eq!(parse("/share Carol 0"), Err("write /share NAME [COUNT]".to_owned()));
        assert_eq!(parse("/withdraw"), Ok(Line::Withdraw(None)));
        assert_eq!(parse("/edit 7"), Err("write /edit N TEXT".to_owned()));
        assert!(parse("/nothing").unwrap_err().contains("/help"));
    }

    /// What the help names is a command, and the other way round.
    #[test]
    fn every_command_is_in_the_help() {
        for (name, ..) in COMMANDS {
            for arguments in ["", "x", "7", "7 x"] {
                if let Err(why) = parse(&format!("/{name} {arguments}")) {
                    assert!(why.starts_with("write /"), "{name}: {why}");
                }
            }
        }
    }

    #[test]
    fn a_line_is_edited_by_characters() {
        let mut editor = Editor::default();
        editor.paste("grüße");
        editor.left();
        editor.left();
        editor.backspace();
        editor.insert('x');
        editor.delete();
        assert_eq!((editor.text(), editor.before_cursor()), ("grxe", "grx"));
        editor.end();
        editor.paste(" zwei drei ");
        editor.delete_word();
        assert_eq!(editor.text(), "grxe zwei ");
        editor.home();
        editor.backspace();
        editor.right();
        assert_eq!(editor.before_cursor(), "g");
        assert_eq!(editor.take(), "grxe zwei ");
        editor.insert('b');
        editor.take();
        editor.earlier();
        editor.earlier();
        editor.earlier();
        assert_eq!(editor.text(), "grxe zwei ");
        editor.later();
        editor.later();
        editor.later();
        assert_eq!(editor.text(), "");
    }
}
