//! A group chat that several people hold in one process, each with a stack of their own.
//!
//! ```text
//! cargo run --release --example secure_group_chat                          plays a built-in conversation
//! cargo run --release --example secure_group_chat -- --stack paranoid      with all five layers
//! cargo run --release --example secure_group_chat -- talk.txt              plays a file
//! cargo run --release --example secure_group_chat < talk.txt               plays its input
//! ```
//!
//! The stacks are the recipes of this crate: `group` (DH, MLS, AES), which is the default, `post-quantum`
//! (ML-KEM, MLS, AES) and `paranoid` (DH, ML-KEM, Signal, MLS, AES).
//!
//! A line is `name: text` (the first name to speak founds the group), `+name` (joins), `-name` (is
//! removed), `~name` (updates their own keys); blank lines and lines that begin with `#` are passed
//! over. Joins on lines that follow one another are one change. A bad line is reported with its number,
//! changes nothing, and makes the exit status 1; the rest is played.

mod room;
mod script;

use std::{
    env,
    ffi::OsString,
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal},
    process::ExitCode,
};

use cc_client::Recipe;
use room::Room;
use script::{Command, parse};

const BUILT_IN: &str = "\
# Alice founds the group, Bob joins.
Alice: is anybody here?
+Bob
Alice: Welcome to our secure group chat!
Bob: Thanks, Alice!
# Charlie joins late: what came before stays closed to him.
+Charlie
Alice: Hi Charlie, we were just talking about you.
Charlie: I cannot read any of that. Good.
# Bob heals the group from a possible theft of his keys.
~Bob
Bob: new keys for everyone
# Charlie is removed.
-Charlie
Alice: Now Charlie reads nothing any more.
Bob: And we go on.
";

fn main() -> ExitCode {
    let arguments = match Arguments::parse(env::args_os().skip(1)) {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("secure_group_chat: {problem}");
            return ExitCode::FAILURE;
        }
    };
    match input(arguments.file).and_then(|input| play(input, arguments.stack)) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(bad) => {
            eprintln!("{bad} bad {}", if bad == 1 { "line" } else { "lines" });
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("secure_group_chat: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What the command line asks for.
struct Arguments {
    stack: Recipe,
    file: Option<OsString>,
}

impl Arguments {
    fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let mut parsed = Self { stack: Recipe::group(), file: None };
        while let Some(argument) = arguments.next() {
            if argument == "--stack" {
                let name = arguments.next().unwrap_or_default();
                let found = name.to_str().and_then(Recipe::named);
                parsed.stack = found.ok_or_else(|| {
                    let names = Recipe::NAMES.join(", ");
                    format!("--stack takes one of {names}, not {:?}", name.display())
                })?;
            } else if argument.to_string_lossy().starts_with("--") || parsed.file.is_some() {
                return Err("usage: secure_group_chat [--stack NAME] [FILE]".to_owned());
            } else {
                parsed.file = Some(argument);
            }
        }
        Ok(parsed)
    }
}

/// The file that is named, or standard input, or where there is neither the built-in conversation.
fn input(file: Option<OsString>) -> io::Result<Box<dyn BufRead>> {
    if let Some(path) = file {
        let file = File::open(&path).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        })?;
        return Ok(Box::new(BufReader::new(file)));
    }
    let mut stdin = io::stdin().lock();
    if stdin.is_terminal() || stdin.fill_buf()?.is_empty() {
        return Ok(Box::new(BUILT_IN.as_bytes()));
    }
    Ok(Box::new(stdin))
}

/// Plays all lines and counts the bad ones.
fn play(mut input: Box<dyn BufRead>, stack: Recipe) -> io::Result<usize> {
    let mut room = Room::new(stack);
    let mut bad = 0;
    let mut complain = |number: usize, problem: &dyn std::fmt::Display| {
        eprintln!("line {number}: {problem}");
        bad += 1;
    };
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let command = match parse(&line) {
            Ok(Some(command)) => command,
            Ok(None) => continue,
            Err(problem) => {
                complain(number, &problem);
                continue;
            }
        };
        // Joins wait for one another; anything else comes after them.
        if !matches!(command, Command::Join(_)) {
            room.let_in().unwrap_or_else(|problem| complain(number, &problem));
        }
        let result = match command {
            Command::Say { name, text } => room.say(name, text),
            Command::Join(name) => room.invite(name),
            Command::Remove(name) => room.remove(name),
            Command::Update(name) => room.update(name),
        };
        result.unwrap_or_else(|problem| complain(number, &problem));
    }
    room.let_in().unwrap_or_else(|problem| complain(0, &problem));
    Ok(bad)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn arguments(given: &[&str]) -> Result<Arguments, String> {
        Arguments::parse(given.iter().map(OsString::from))
    }

    /// A join, an update, a removal, and who reads what: [`Room`] makes a problem of anything unexpected.
    #[test]
    fn the_conversation_is_played_on_every_stack() {
        for name in Recipe::NAMES {
            let Arguments { stack, file } = arguments(&["--stack", name]).unwrap();
            assert_eq!((stack.name(), file), (Some(name), None));
            assert_eq!(play(Box::new(BUILT_IN.as_bytes()), stack).unwrap(), 0, "{name}");
        }
    }

    #[test]
    fn a_bad_line_is_counted_and_the_rest_is_played() {
        let talk = "alice: hi\n-alice\n+bob\nbob: hello\nnobody: hm\n";
        assert_eq!(play(Box::new(talk.as_bytes()), Recipe::group()).unwrap(), 2);
    }

    #[test]
    fn the_command_line_names_a_stack_and_a_file_in_any_order() {
        for given in [["--stack", "paranoid", "talk.txt"], ["talk.txt", "--stack", "paranoid"]] {
            let Arguments { stack, file } = arguments(&given).unwrap();
            assert_eq!((stack, file), (Recipe::paranoid(), Some("talk.txt".into())));
        }
        assert_eq!(arguments(&[]).unwrap().stack, Recipe::group());
        assert!(arguments(&["--stack", "best"]).err().unwrap().contains("post-quantum"));
        assert!(arguments(&["--stack"]).is_err() && arguments(&["--fast"]).is_err());
        assert!(arguments(&["one", "two"]).is_err());
    }
}
