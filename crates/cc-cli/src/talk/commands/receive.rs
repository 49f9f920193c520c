//! `cascade receive`.

use std::{
    io::{self, Write as _},
    time::{Duration, Instant},
};

use clap::Args;

use super::{Common, find_group};
use crate::{
    error::CliError,
    talk::{
        error::TalkError,
        journal::{Entry, What},
        session::Session,
        show,
    },
    untrusted_text::printable,
};

/// Print what is new: messages, who came and went, what was refused.
#[derive(Debug, Args)]
#[command(after_help = "\
Each entry is printed once: a line counts as printed when it was written, so after a kill at that moment the last ones
may come again, under the same numbers.

Without --follow it ends when all that the relay has was read. With it, it goes on, until --count messages came or
--for seconds have passed.

Examples:
  cascade receive
  cascade receive --follow --json | jq --unbuffered -r .text
  cascade receive --follow --count 1 --group Friends")]
pub(crate) struct Arguments {
    #[command(flatten)]
    common: Common,
    /// Go on with what comes.
    #[arg(long, short)]
    follow: bool,
    /// With --follow, end after so many seconds, with status 6 if there were not as many messages as asked for.
    #[arg(long = "for", value_name = "SECONDS", requires = "follow")]
    duration: Option<u32>,
    /// With --follow, end after so many messages.
    #[arg(long, value_name = "COUNT", requires = "follow")]
    count: Option<u64>,
    /// Print this group alone. What is of others is then skipped for good.
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), CliError> {
    let mut session = arguments.common.open()?;
    let group = match &arguments.group {
        Some(text) => Some(find_group(&mut session, text)?),
        None => None,
    };
    let wanted = |entry: &Entry| group.is_none() || entry.group == group;
    let mut printer = Printer { json: arguments.common.json, messages: 0 };
    if !arguments.follow {
        let caught_up = arguments.common.catch_up(&mut session);
        printer.print(&mut session, wanted)?;
        caught_up?;
        // What others are owed: the welcome of a member that was let in, an answer to one that fell behind.
        let patience = Duration::from_secs(2);
        let _sent = session.wait_until(patience, |_, _| Ok(()), |session| session.unsent() == 0)?;
        return printer.print(&mut session, wanted);
    }
    let end = arguments.duration.map(|seconds| Duration::from_secs(u64::from(seconds)));
    let start = Instant::now();
    loop {
        printer.print(&mut session, wanted)?;
        if arguments.count.is_some_and(|count| printer.messages >= count) {
            return Ok(());
        }
        let left = end.map_or(Duration::MAX, |end| end.saturating_sub(start.elapsed()));
        if left.is_zero() {
            return match arguments.count {
                Some(_) => Err(TalkError::Timeout.into()),
                None => Ok(()),
            };
        }
        let _printed_from_the_journal = session.wait(left)?;
    }
}

struct Printer {
    json: bool,
    /// Messages of others that were printed.
    messages: u64,
}

impl Printer {
    /// Prints the entries that were not, and remembers that.
    fn print(
        &mut self,
        session: &mut Session,
        wanted: impl Fn(&Entry) -> bool,
    ) -> Result<(), CliError> {
        let (first, last) = (session.printed()?.saturating_add(1), session.last_entry()?);
        if first > last {
            return Ok(());
        }
        let (snapshot, me) = (session.views()?.snapshot(), session.me().id);
        let mut stdout = io::stdout().lock();
        for number in first..=last {
            let Some(entry) = session.entry(number)?.filter(&wanted) else { continue };
            if let What::Message(message) = &entry.what {
                if message.from.member() == me {
                    continue;
                }
                self.messages += 1;
            }
            let line = match self.json {
                true => show::json(&snapshot, &entry).to_string(),
                false => show::line(&snapshot, &entry),
            };
            writeln!(stdout, "{}", printable(&line)).map_err(CliError::stdout)?;
        }
        stdout.flush().map_err(CliError::stdout)?;
        drop(stdout);
        Ok(session.set_printed(last)?)
    }
}
