//! A member's process, seen from outside.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::Duration,
};

const STORE: &str = "CC_CRASH_STORE";
const NAME: &str = "CC_CRASH_NAME";
const STACK: &str = "CC_CRASH_STACK";

/// Before each line that a member says, to tell it from what the test runner prints.
pub(crate) const MARK: &str = "! ";
/// The last line of an answer.
pub(crate) const END: &str = ".";

/// Who a process is.
#[derive(Clone)]
pub(crate) struct Part {
    pub(crate) store: PathBuf,
    /// The founder's begins with `founder`.
    pub(crate) name: String,
    pub(crate) stack: String,
}

impl Part {
    pub(crate) fn from_environment() -> Option<Self> {
        let get = |name| std::env::var(name).ok();
        Some(Self { store: get(STORE)?.into(), name: get(NAME)?, stack: get(STACK)? })
    }

    pub(crate) fn store(&self) -> &Path {
        &self.store
    }
}

pub(crate) struct Process {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

/// What came back: the whole answer, or nothing because the process was killed before it was said.
pub(crate) type Answer = Option<Vec<String>>;

impl Process {
    pub(crate) fn start(part: &Part) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "plays_a_member", "--nocapture", "--test-threads=1"])
            .env(STORE, &part.store)
            .env(NAME, &part.name)
            .env(STACK, &part.stack)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                // The runner prints the test's name without a line break.
                if let Some((_, said)) = line.split_once(MARK)
                    && sender.send(said.to_string()).is_err()
                {
                    break;
                }
            }
        });
        Self { child, input, lines }
    }

    /// Says `line`, if there is one, and gives the answer. With `kill`, the process is killed so much
    /// later; what it said until then counts.
    pub(crate) fn ask(&mut self, line: Option<&str>, kill: Option<Duration>) -> Answer {
        if let Some(line) = line {
            // A process that was killed does not take it.
            let _ = writeln!(self.input, "{line}").and_then(|()| self.input.flush());
        }
        if let Some(after) = kill {
            thread::sleep(after);
            self.kill();
        }
        let mut answer = Vec::new();
        loop {
            match self.lines.recv_timeout(Duration::from_secs(60)) {
                Ok(line) if line == END => return Some(answer),
                Ok(line) => answer.push(line),
                Err(RecvTimeoutError::Disconnected) => {
                    assert!(kill.is_some(), "a member ended by itself after {line:?}: {answer:?}");
                    return None;
                }
                Err(RecvTimeoutError::Timeout) => panic!("a member does not answer {line:?}"),
            }
        }
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
