//! The commands for scripts: text in, lines out, and a status that says how it went.

pub(crate) mod device;
pub(crate) mod groups;
pub(crate) mod init;
pub(crate) mod join;
pub(crate) mod me;
pub(crate) mod members;
pub(crate) mod messages;
pub(crate) mod receive;
pub(crate) mod relay;
pub(crate) mod share;
pub(crate) mod transfer;
pub(crate) mod tree;

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use cc_client::{GroupId, OperationId, Verdict};
use clap::Args;
use serde_json::Value;

use super::{
    error::TalkError,
    profile::ProfileArguments,
    session::{Session, Update},
};
use crate::{error::CliError, untrusted_text::printable};

/// For another process to let the profile go.
const PATIENCE: Duration = Duration::from_secs(10);

/// What all of these commands take.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    #[command(flatten)]
    pub(crate) profile: ProfileArguments,
    /// Seconds to wait for the relay. What was not done then is kept, and done later.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, global = true)]
    pub(crate) timeout: u32,
    /// Print JSON, one object a line.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

impl Common {
    fn open(&self) -> Result<Session, CliError> {
        Session::open(&self.profile, PATIENCE)
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(u64::from(self.timeout))
    }

    /// Reads all that the relay has.
    fn catch_up(&self, session: &mut Session) -> Result<(), CliError> {
        match session.wait_until(self.patience(), |_, _| Ok(()), Session::is_caught_up)? {
            true => Ok(()),
            false => Err(TalkError::Timeout.into()),
        }
    }

    /// Waits until these commands are done, and until all is sent that they brought about.
    fn finish(&self, session: &mut Session, commands: &[OperationId]) -> Result<(), CliError> {
        let start = Instant::now();
        self.settle(session, commands)?;
        // Welcomes go after the change that they are for.
        let left = self.patience().saturating_sub(start.elapsed());
        match session.wait_until(left, |_, _| Ok(()), |session| session.unsent() == 0)? {
            true => Ok(()),
            false => Err(TalkError::Timeout.into()),
        }
    }

    /// Waits until these commands are done.
    fn settle(&self, session: &mut Session, commands: &[OperationId]) -> Result<(), CliError> {
        let open = std::cell::RefCell::new(commands.to_vec());
        let mut failure = None;
        let settled = session.wait_until(
            self.patience(),
            |_, update| {
                match update {
                    Update::Settled(id, verdict) if open.borrow().contains(&id) => {
                        open.borrow_mut().retain(|other| *other != id);
                        failure = failure.take().or(refusal(verdict));
                    }
                    Update::UploadFailed(id, why) if open.borrow().contains(&id) => {
                        open.borrow_mut().retain(|other| *other != id);
                        failure = failure.take().or(Some(why));
                    }
                    _ => {}
                }
                Ok(())
            },
            |_| open.borrow().is_empty(),
        )?;
        match failure {
            Some(why) => Err(TalkError::Refused(why).into()),
            None if settled => Ok(()),
            None => Err(TalkError::Timeout.into()),
        }
    }
}

fn refusal(verdict: Verdict) -> Option<String> {
    match verdict {
        Verdict::Refused(why) => Some(why),
        Verdict::Untrusted(_) => {
            Some("the keys of a member have changed, and were not verified".to_owned())
        }
        Verdict::Cancelled => Some("it was cancelled".to_owned()),
        _ => None,
    }
}

/// Prints a line.
fn print(line: impl std::fmt::Display) -> Result<(), CliError> {
    let line = printable(&line.to_string());
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).map_err(CliError::stdout)
}

/// Says what comes next to somebody at a terminal. Scripts do not see it.
fn hint(text: impl std::fmt::Display) {
    let mut stderr = io::stderr().lock();
    if stderr.is_terminal() {
        // Nothing depends on it.
        let _ = writeln!(stderr, "  {text}");
    }
}

/// The group of this name, or whose id begins like that.
///
/// # Errors
/// [`TalkError::NoSuchGroup`], [`TalkError::ManyGroups`].
pub(crate) fn find_group(session: &mut Session, text: &str) -> Result<GroupId, TalkError> {
    let snapshot = session.views()?.snapshot();
    let named = snapshot.groups.values().filter(|group| group.title == text);
    let mut found: Vec<_> = named.map(|group| (group.id, group.epoch.is_some())).collect();
    if found.is_empty() && text.len() >= 4 {
        let text = text.to_lowercase();
        let like = snapshot.groups.keys().filter(|id| id.to_string().starts_with(&text));
        found = like.map(|id| (*id, true)).collect();
    }
    // One that this person is in goes before those of the past.
    if found.iter().any(|(_, present)| *present) {
        found.retain(|(_, present)| *present);
    }
    match &found[..] {
        [] => Err(TalkError::NoSuchGroup(text.to_owned())),
        [(id, _)] => Ok(*id),
        _ => Err(TalkError::ManyGroups(text.to_owned())),
    }
}

fn hex(bytes: &[u8]) -> Value {
    Value::String(bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}")))
}
