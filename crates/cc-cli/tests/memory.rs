//! What is left of a passphrase in the memory of the program while it goes on.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::common;

use std::{
    collections::HashSet,
    io::{Read as _, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
    thread::{self, JoinHandle},
};

use cc_memory::Memory;
use common::{Folder, content};
use rustix::process::{Pid, Signal, kill_process};

/// Long, so that parts of it are no coincidence; a buffer that grew has left its beginning somewhere.
pub(crate) const PASSPHRASE: &str = "vT3kq9ZrUw7bXe2NsLh5YdMfC8pGjA4oRi6KxWzQ1tBuEnJyHvDm";
const WINDOW: usize = 8;

/// How often a part of the passphrase is in the memory of a process.
pub(crate) fn left(pid: u32) -> usize {
    let parts: HashSet<_> = PASSPHRASE.as_bytes().windows(WINDOW).collect();
    let mut is_first = [false; 256];
    parts.iter().for_each(|part| is_first[usize::from(part[0])] = true);
    let mut found = 0;
    Memory::of(pid).scan(WINDOW, |_, _, bytes| {
        let rows = bytes.windows(WINDOW).filter(|row| is_first[usize::from(row[0])]);
        found += rows.filter(|row| parts.contains(row)).count();
    });
    found
}

/// `cascade`, under way and stopped there: with more content than it can put out, for nobody reads on.
struct UnderWay {
    child: Child,
    /// Whose end is that of the input.
    writer: JoinHandle<ChildStdin>,
}

impl UnderWay {
    fn new(folder: &Folder, arguments: &[&str], input: &[u8]) -> Self {
        let mut child = Command::new(common::program())
            .args(arguments)
            .current_dir(folder.path(""))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
        let writer = thread::spawn(move || {
            // It is killed before it has read all, as a rule.
            let _broken = stdin.write_all(&input);
            stdin
        });
        // More than the header.
        child.stdout.as_mut().unwrap().read_exact(&mut [0; 4096]).unwrap();
        kill_process(Pid::from_child(&child), Signal::STOP).unwrap();
        Self { child, writer }
    }

    /// How often a part of the passphrase is in its memory.
    fn left(mut self) -> usize {
        let left = left(self.child.id());
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        drop(self.writer.join().unwrap());
        left
    }
}

#[test]
fn a_passphrase_from_a_file_is_gone_once_it_was_used() {
    let folder = Folder::new();
    folder.write("pass", format!("{PASSPHRASE}\nand what else is there\n"));
    let content = content(3 << 20);
    // The control: who encrypts has it until all is encrypted.
    assert!(UnderWay::new(&folder, &["encrypt", "--passphrase-file", "pass"], &content).left() > 0);

    let sealed = folder.succeed(&["encrypt", "--passphrase-file", "pass"], &content);
    let sealed = &sealed[..sealed.len() - 1];
    assert_eq!(UnderWay::new(&folder, &["decrypt", "--passphrase-file", "pass"], sealed).left(), 0);

    // That of the keys.
    let with = ["--passphrase-file", "pass"];
    folder.succeed(&[&["keygen", "-o", "key"], &with[..]].concat(), b"");
    let key = folder.succeed(&[&["keygen", "--public", "key"], &with[..]].concat(), b"");
    let sealed = folder.succeed(&["encrypt", "-r", common::text(&key).trim()], &content);
    let sealed = &sealed[..sealed.len() - 1];
    let decrypt = ["decrypt", "-i", "key", "--key-passphrase-file", "pass"];
    assert_eq!(UnderWay::new(&folder, &decrypt, sealed).left(), 0);
}
