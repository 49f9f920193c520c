//! The real program, in a directory of its own.
#![allow(
    dead_code,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests use what they need, and stop where it fails"
)]

pub(crate) mod talk;

use std::{
    fs,
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
};

pub(crate) const CHUNK_LEN: usize = 64 << 10;
pub(crate) const SEALED_LEN: usize = CHUNK_LEN + 16;

pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// What is in it, but for the names that are given.
    pub(crate) fn others(&self, names: &[&str]) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let all = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        all.filter(|name| !names.contains(&name.as_str())).collect()
    }

    /// `cascade` with these arguments, in this directory.
    pub(crate) fn cascade(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.current_dir(self.0.path()).args(arguments);
        command
    }

    /// Runs it without input.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.cascade(arguments).output().unwrap()
    }

    /// Runs it on this input, of which it need not read all.
    pub(crate) fn run_on(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut command = self.cascade(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        thread::scope(|scope| {
            scope.spawn(move || match stdin.write_all(input) {
                Err(error) if error.kind() != ErrorKind::BrokenPipe => panic!("{error}"),
                _ => {}
            });
            child.wait_with_output().unwrap()
        })
    }

    /// Its standard output, when it succeeds.
    pub(crate) fn succeed(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let output = self.run_on(arguments, input);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        output.stdout
    }

    /// Its standard error, when it ends with this status.
    pub(crate) fn fail(&self, status: i32, arguments: &[&str], input: &[u8]) -> String {
        let output = self.run_on(arguments, input);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {stderr}");
        stderr
    }

    /// Makes a key file of this name, and gives the public key.
    pub(crate) fn keygen(&self, name: &str, more: &[&str]) -> String {
        self.succeed(&[&["keygen", "-o", name], more].concat(), b"");
        let text = String::from_utf8(self.succeed(&["keygen", "--public", name], b"")).unwrap();
        text.trim().to_owned()
    }
}

pub(crate) fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_cascade"))
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn content(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251).to_le_bytes()[0] ^ (i >> 16).to_le_bytes()[0]).collect()
}

/// Bytes in front of the first chunk.
pub(crate) fn body(file: &[u8], plaintext_len: usize) -> usize {
    let chunks = plaintext_len.div_ceil(CHUNK_LEN).max(1);
    file.len() - plaintext_len - 16 * chunks
}
