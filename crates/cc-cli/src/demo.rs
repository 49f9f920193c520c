//! `cascade demo`: three members and a relay, in processes of their own, over a real socket.

mod member;
mod story;
mod wire;

use std::{
    fmt,
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use clap::Args;

use crate::{
    error::CliError,
    files::signals::{ChildGuard, FolderGuard},
    talk::error::TalkError,
};

/// See it work: three members and a relay on this machine, in a few seconds.
#[derive(Debug, Args)]
#[command(after_help = "\
It makes a temporary folder, starts a relay and the members as processes of their own, and lets them talk over the
loopback interface: a late joiner, a member that is killed, a message that is changed on the wire, a removal. It checks
what it tells: if anything is otherwise, it ends with another status than 0.

Examples:
  cascade demo")]
pub(crate) struct Arguments {}

pub(crate) fn run(_arguments: &Arguments) -> Result<(), CliError> {
    let program = std::env::current_exe().map_err(|error| demo(&error))?;
    let folder = FolderGuard::new().map_err(|error| demo(&error))?;
    let relay = RelayProcess::start(&program, folder.path())?;
    let wire = wire::Wire::start(relay.address).map_err(|error| demo(&error))?;
    let mut teller = Teller { start: Instant::now() };
    story::tell(&program, folder.path(), &relay, &wire, &mut teller)
}

fn demo(error: &dyn fmt::Display) -> TalkError {
    TalkError::Demo(error.to_string())
}

/// This program, without what the surroundings say to other relays and profiles.
fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CASCADE_") || text.starts_with("CC_RELAY_") {
            command.env_remove(&name);
        }
    }
    command
}

/// Prints what happens, with the time.
struct Teller {
    start: Instant,
}

impl Teller {
    fn say(&mut self, text: impl fmt::Display) -> Result<(), CliError> {
        let seconds = self.start.elapsed().as_secs_f32();
        let mut stdout = std::io::stdout().lock();
        let written = writeln!(stdout, "{seconds:>6.2} s  {text}").and_then(|()| stdout.flush());
        written.map_err(CliError::stdout)
    }

    fn chapter(&mut self, text: impl fmt::Display) -> Result<(), CliError> {
        let mut stdout = std::io::stdout().lock();
        let written = writeln!(stdout, "\n{text}").and_then(|()| stdout.flush());
        written.map_err(CliError::stdout)
    }
}

/// `cascade relay`, which is killed when this is dropped.
struct RelayProcess {
    address: SocketAddr,
    store: std::path::PathBuf,
    _child: ChildGuard,
}

impl RelayProcess {
    fn start(program: &Path, folder: &Path) -> Result<Self, TalkError> {
        let store = folder.join("relay.db");
        let mut command = command(program);
        command.args(["relay", "--listen", "127.0.0.1:0", "--store"]);
        command.arg(format!("sqlite:{}", store.display()));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = ChildGuard::spawn(&mut command).map_err(|error| demo(&error))?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout() {
            BufReader::new(stdout).read_line(&mut line).map_err(|error| demo(&error))?;
        }
        let address = line.trim().rsplit("http://").next().and_then(|text| text.parse().ok());
        let address = address.ok_or_else(|| TalkError::Demo("the relay does not listen".into()))?;
        Ok(Self { address, store, _child: child })
    }
}
