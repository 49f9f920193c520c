//! People and a relay, each in processes of their own.

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

use super::{Folder, program, text};

/// `cascade relay`, on one port for as long as this lives.
pub(crate) struct Relay {
    folder: Folder,
    listen: String,
    child: Option<Child>,
}

impl Relay {
    pub(crate) fn start() -> Self {
        let mut relay =
            Self { folder: Folder::new(), listen: "127.0.0.1:0".to_owned(), child: None };
        relay.restart();
        relay
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Again, on the same port and with what was on disk.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let store = format!("sqlite:{}", self.folder.path("relay.db").display());
        let mut child = Command::new(program())
            .args(["relay", "--store", &store, "--listen", &self.listen])
            .args(["--client-requests", "0", "--log-items", "0", "--mailbox-items", "0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        self.listen = line.trim().rsplit("http://").next().unwrap().to_owned();
        self.child = Some(child);
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.listen)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) struct Person {
    pub(crate) name: String,
    profile: PathBuf,
    /// Removed when this is dropped.
    folder: Folder,
}

impl Person {
    pub(crate) fn new(name: &str, relay: &Relay) -> Self {
        Self::at(name, &relay.url())
    }

    /// Who has no profile yet.
    pub(crate) fn nobody(name: &str) -> Self {
        let folder = Folder::new();
        Self { name: name.to_owned(), profile: folder.path("profile"), folder }
    }

    /// Who reaches the relay at this address.
    pub(crate) fn at(name: &str, url: &str) -> Self {
        let folder = Folder::new();
        let person = Self { name: name.to_owned(), profile: folder.path("profile"), folder };
        person.run(&["init", "--name", name, "--relay", url, "--without-passphrase"]);
        person
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path(name)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(arguments).arg("--json").arg("--profile").arg(&self.profile);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// What people read of a command that succeeds.
    pub(crate) fn plain(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(program());
        command.args(arguments).arg("--profile").arg(&self.profile).stdin(Stdio::null());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// The lines that a command prints that succeeds.
    pub(crate) fn run(&self, arguments: &[&str]) -> Vec<Value> {
        let output = self.command(arguments).output().unwrap();
        let stderr = text(&output.stderr);
        assert!(output.status.success(), "{} {arguments:?}: {stderr}", self.name);
        lines(&output)
    }

    /// As [`run`](Self::run), with standard input.
    pub(crate) fn run_with(&self, arguments: &[&str], input: &str) -> Vec<Value> {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        lines(&output)
    }

    /// What a command says that ends with this status.
    pub(crate) fn fail(&self, status: i32, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {stderr}");
        stderr
    }

    pub(crate) fn link(&self) -> String {
        self.run(&["link"])[0]["link"].as_str().unwrap().to_owned()
    }

    /// Founds a group with all of these in it.
    pub(crate) fn found(&self, group: &str, others: &[&Self]) {
        self.run(&["found", group]);
        let links: Vec<_> = others.iter().map(|other| other.link()).collect();
        let mut arguments = vec!["invite", group];
        arguments.extend(links.iter().map(String::as_str));
        self.run(&arguments);
        for other in others {
            let entered = other.run(&["receive"]);
            assert!(entered.iter().any(|entry| entry["kind"] == "entered"), "{}", other.name);
        }
    }

    /// The texts that were received and not printed before.
    pub(crate) fn receive(&self) -> Vec<String> {
        texts(&self.run(&["receive"]))
    }

    /// Everything that was said in the group, as this person has it.
    pub(crate) fn history(&self, group: &str) -> Vec<String> {
        texts(&self.run(&["history", group, "--last", "100000"]))
    }
}

pub(crate) fn lines(output: &Output) -> Vec<Value> {
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub(crate) fn texts(entries: &[Value]) -> Vec<String> {
    let messages = entries.iter().filter(|entry| entry["kind"] == "message");
    messages.map(|entry| entry["text"].as_str().unwrap_or_default().to_owned()).collect()
}
