//! A member: a profile of its own, and processes of this program that use it.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{ChildStdout, Command, Stdio},
};

use serde_json::Value;

use crate::{files::signals::ChildGuard, talk::error::TalkError};

pub(crate) struct Member {
    pub(crate) name: &'static str,
    program: PathBuf,
    profile: PathBuf,
}

impl Member {
    /// A new profile, reached by the relay at this address.
    pub(crate) fn new(
        name: &'static str,
        program: &Path,
        folder: &Path,
        relay: &str,
    ) -> Result<Self, TalkError> {
        let member = Self { name, program: program.to_owned(), profile: folder.join(name) };
        member.run(&["init", "--name", name, "--relay", relay, "--without-passphrase"])?;
        Ok(member)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = super::command(&self.program);
        command.args(arguments).arg("--profile").arg(&self.profile).arg("--json");
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// Runs a command of this program, as this member, and gives the lines that it printed.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<Vec<Value>, TalkError> {
        let failed = |why: String| {
            TalkError::Demo(format!("`cascade {}` of {}: {why}", arguments.join(" "), self.name))
        };
        let mut command = self.command(arguments);
        command.stdout(Stdio::piped());
        let output = ChildGuard::spawn(&mut command)
            .and_then(ChildGuard::output)
            .map_err(|error| failed(error.to_string()))?;
        if !output.status.success() {
            return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let lines = text.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().map_err(|error| failed(error.to_string()))
    }

    /// The link by which this member is invited.
    pub(crate) fn link(&self) -> Result<String, TalkError> {
        let lines = self.run(&["link"])?;
        let link = lines.first().and_then(|line| line["link"].as_str());
        link.map(str::to_owned).ok_or_else(|| TalkError::Demo(format!("{} has no link", self.name)))
    }

    /// A process that prints what comes, until it is killed.
    pub(crate) fn follow(&self) -> Result<Follower, TalkError> {
        let mut command = self.command(&["receive", "--follow"]);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let child = ChildGuard::spawn(&mut command);
        let mut child = child.map_err(|error| TalkError::Demo(error.to_string()))?;
        let stdout = child.stdout().ok_or_else(|| TalkError::Demo("no output".into()))?;
        Ok(Follower { child, lines: BufReader::new(stdout) })
    }
}

/// A running `cascade receive --follow`.
pub(crate) struct Follower {
    child: ChildGuard,
    lines: BufReader<ChildStdout>,
}

impl Follower {
    /// The next line that it prints.
    pub(crate) fn next(&mut self) -> Result<Value, TalkError> {
        let mut line = String::new();
        let read = self.lines.read_line(&mut line);
        read.map_err(|error| TalkError::Demo(error.to_string()))?;
        serde_json::from_str(&line).map_err(|_| TalkError::Demo("a member ended".into()))
    }

    /// SIGKILL: it has no time to put anything in order.
    pub(crate) fn kill(mut self) -> Result<(), TalkError> {
        self.child.kill().map_err(|error| TalkError::Demo(error.to_string()))
    }
}
