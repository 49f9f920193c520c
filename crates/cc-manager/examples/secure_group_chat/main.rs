//! A group chat that several people hold in one process, each with a stack of their own:
//! DH -> MLS -> AES.
//!
//! ```text
//! cargo run --release --example secure_group_chat              plays a built-in conversation
//! cargo run --release --example secure_group_chat talk.txt     plays a file
//! cargo run --release --example secure_group_chat < talk.txt   plays its input
//! ```
//!
//! A line is `name: text` (the first name to speak founds the group), `+name` (joins), `-name` (is
//! removed), `~name` (updates their own keys); blank lines and lines that begin with `#` are passed
//! over. Joins on lines that follow one another are one change. A bad line is reported with its number,
//! changes nothing, and makes the exit status 1; the rest is played.

mod room;
mod script;

use std::{
    env,
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal},
    process::ExitCode,
};

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
    match input().and_then(play) {
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

/// The file that is named, or standard input, or where there is neither the built-in conversation.
fn input() -> io::Result<Box<dyn BufRead>> {
    if let Some(path) = env::args_os().nth(1) {
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
fn play(mut input: Box<dyn BufRead>) -> io::Result<usize> {
    let mut room = Room::default();
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
