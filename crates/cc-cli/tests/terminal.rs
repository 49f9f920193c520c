//! The program at a terminal: prompts, progress, and what is not shown.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::common;

use std::{
    fs::File,
    io::{Read, Write},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use common::{Folder, content, text};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// What standard input and output are.
#[derive(Clone, Copy, PartialEq)]
enum Stream {
    Terminal,
    /// This file in the folder, to read; or any, to write.
    File(&'static str),
}

/// Runs `cascade` at a terminal of its own: waits for each text, then types the answer. Gives the status and
/// what the terminal showed.
fn at_terminal(
    folder: &Folder,
    arguments: &[&str],
    [stdin, stdout]: [Stream; 2],
    dialog: &[(&str, &str)],
) -> (Option<i32>, String) {
    // The shell redirects what is not the terminal: setsid takes its terminal from standard input.
    let mut script = format!("exec {}", common::program().display());
    arguments.iter().for_each(|argument| script.push_str(&format!(" '{argument}'")));
    if let Stream::File(name) = stdin {
        script.push_str(&format!(" < {name}"));
    }
    if let Stream::File(name) = stdout {
        script.push_str(&format!(" > {name}"));
    }
    script_at_terminal(folder, &script, dialog)
}

/// The same with a script of the shell.
fn script_at_terminal(
    folder: &Folder,
    script: &str,
    dialog: &[(&str, &str)],
) -> (Option<i32>, String) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let terminal = || File::options().read(true).write(true).open(&name).unwrap();
    let mut child = Command::new("setsid")
        .args(["-c", "-w", "sh", "-c", script])
        .current_dir(folder.path(""))
        .stdin(Stdio::from(terminal()))
        .stdout(Stdio::from(terminal()))
        .stderr(Stdio::from(terminal()))
        .spawn()
        .unwrap();
    let mut master = File::from(master);
    let shown = Arc::new(Mutex::new(Vec::new()));
    let reader = {
        let (mut master, shown) = (master.try_clone().unwrap(), Arc::clone(&shown));
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = master.read(&mut bytes) {
                shown.lock().unwrap().extend_from_slice(&bytes[..count]);
            }
        })
    };
    let start = Instant::now();
    for (expected, answer) in dialog {
        while !text(&shown.lock().unwrap()).contains(expected) {
            let shown = text(&shown.lock().unwrap());
            assert!(start.elapsed() < Duration::from_secs(60), "{expected:?} in {shown:?}");
            thread::sleep(Duration::from_millis(5));
        }
        // The prompt shows before the echo is off.
        thread::sleep(Duration::from_millis(50));
        master.write_all(answer.as_bytes()).unwrap();
        master.write_all(b"\n").unwrap();
    }
    let status = child.wait().unwrap().code();
    reader.join().unwrap();
    let shown = text(&shown.lock().unwrap());
    (status, shown)
}

const TERMINAL: [Stream; 2] = [Stream::Terminal; 2];

#[test]
fn a_passphrase_is_asked_for_twice_and_does_not_show() {
    let folder = Folder::new();
    folder.write("in", "content");
    let encrypt = ["encrypt", "-p", "-o", "sealed", "in"];
    let dialog = [("Passphrase: ", "tRouba4dor"), ("The same again: ", "tRouba4dor")];
    let (status, shown) = at_terminal(&folder, &encrypt, TERMINAL, &dialog);
    assert_eq!(status, Some(0), "{shown}");
    assert!(!shown.contains("tRouba4dor"), "{shown}");
    let decrypt = ["decrypt", "-o", "out", "sealed"];
    let dialog = [("Passphrase of sealed: ", "tRouba4dor")];
    let (status, shown) = at_terminal(&folder, &decrypt, TERMINAL, &dialog);
    assert_eq!(status, Some(0), "{shown}");
    assert_eq!(folder.read("out"), b"content");
    let dialog = [("Passphrase of sealed: ", "another")];
    let (status, shown) = at_terminal(&folder, &decrypt, TERMINAL, &dialog);
    assert!(status == Some(4) && shown.contains("wrong passphrase"), "{shown}");
    let dialog = [("Passphrase: ", "one"), ("The same again: ", "two")];
    let (status, shown) = at_terminal(&folder, &encrypt, TERMINAL, &dialog);
    assert!(status == Some(1) && shown.contains("not the same"), "{shown}");
}

/// The prompt takes the terminal, and the content standard input.
#[test]
fn a_passphrase_is_asked_for_in_a_pipe() {
    let folder = Folder::new();
    folder.write("in", "content");
    let pipe = |input, output| [Stream::File(input), Stream::File(output)];
    let dialog = [("Passphrase: ", "correct"), ("The same again: ", "correct")];
    let (status, shown) = at_terminal(&folder, &["encrypt", "-p"], pipe("in", "sealed"), &dialog);
    assert_eq!(status, Some(0), "{shown}");
    let dialog = [("Passphrase of standard input: ", "correct")];
    let (status, shown) = at_terminal(&folder, &["decrypt"], pipe("sealed", "out"), &dialog);
    assert_eq!(status, Some(0), "{shown}");
    assert_eq!(folder.read("out"), b"content");
}

#[test]
fn a_key_file_under_a_passphrase() {
    let folder = Folder::new();
    let dialog = [("Passphrase: ", "correct"), ("The same again: ", "correct")];
    let (status, shown) = at_terminal(&folder, &["keygen", "-p", "-o", "key"], TERMINAL, &dialog);
    assert_eq!(status, Some(0), "{shown}");
    let key = shown.split("Public key: ").nth(1).unwrap().trim();
    let sealed = folder.succeed(&["encrypt", "-r", key], b"content");
    folder.write("sealed", sealed);
    let decrypt = ["decrypt", "-i", "key", "-o", "out", "sealed"];
    let (status, shown) =
        at_terminal(&folder, &decrypt, TERMINAL, &[("Passphrase of key: ", "correct")]);
    assert_eq!(status, Some(0), "{shown}");
    assert_eq!(folder.read("out"), b"content");
}

#[test]
fn bytes_do_not_go_to_a_terminal() {
    let folder = Folder::new();
    let key = folder.keygen("key.txt", &[]);
    folder.write("in", "plain text, ü\n");
    let (status, shown) = at_terminal(&folder, &["encrypt", "-r", &key, "in"], TERMINAL, &[]);
    assert!(status == Some(1) && shown.contains("refusing"), "{shown}");
    assert!(!shown.contains("CCF"), "{shown}");
    let (status, shown) = at_terminal(&folder, &["encrypt", "-a", "-r", &key, "in"], TERMINAL, &[]);
    assert!(status == Some(0) && shown.contains("BEGIN CASCADE FILE"), "{shown}");
    let forced = ["encrypt", "-r", &key, "-o", "-", "in"];
    let (status, shown) = at_terminal(&folder, &forced, TERMINAL, &[]);
    assert!(status == Some(0) && shown.contains("CCF"), "{shown}");
    // Decrypted text shows; what could do something to the terminal does not.
    folder.succeed(&["encrypt", "-r", &key, "-o", "sealed", "in"], b"");
    let decrypt = ["decrypt", "-i", "key.txt", "sealed"];
    let (status, shown) = at_terminal(&folder, &decrypt, TERMINAL, &[]);
    assert!(status == Some(0) && shown.contains("plain text, ü"), "{shown}");
    folder.write("in", "harmless\x1b]0;title\x07");
    folder.succeed(&["encrypt", "-r", &key, "-o", "sealed", "in"], b"");
    let (status, shown) = at_terminal(&folder, &decrypt, TERMINAL, &[]);
    assert!(status == Some(1) && shown.contains("no plain text"), "{shown}");
    assert!(!shown.contains('\x1b') && !shown.contains("title"), "{shown}");
    let (status, shown) =
        at_terminal(&folder, &[&decrypt[..], &["--range", "8.."]].concat(), TERMINAL, &[]);
    assert!(status == Some(1) && !shown.contains("title"), "{shown}");
}

#[test]
fn progress_shows_where_somebody_looks() {
    let folder = Folder::new();
    let key = folder.keygen("key.txt", &[]);
    folder.write("in", content(30_000_000));
    let encrypt = ["encrypt", "-r", &key, "-o", "sealed", "in"];
    let (status, shown) = at_terminal(&folder, &encrypt, TERMINAL, &[]);
    assert!(status == Some(0) && shown.contains("of 28.61 MiB"), "{shown}");
    let (status, shown) = at_terminal(&folder, &[&encrypt[..], &["-q"]].concat(), TERMINAL, &[]);
    assert_eq!((status, shown.as_str()), (Some(0), ""));
    // Not in a pipe.
    assert!(folder.run(&encrypt).stderr.is_empty());
}

/// Ctrl-C at the prompt leaves no temporary file, and a terminal that shows what is typed.
#[test]
fn interrupted_at_the_prompt() {
    let folder = Folder::new();
    folder.write("in", "content");
    // The shell looks at the terminal afterwards, and is not interrupted itself.
    let script =
        format!("trap : INT; {} encrypt -p -o sealed in; stty -a", common::program().display());
    let (status, shown) = script_at_terminal(&folder, &script, &[("Passphrase: ", "\x03")]);
    assert_eq!(status, Some(0), "{shown}");
    assert!(shown.contains(" echo ") && !shown.contains("-echo "), "{shown}");
    assert_eq!(folder.others(&["in"]), [""; 0]);
}
