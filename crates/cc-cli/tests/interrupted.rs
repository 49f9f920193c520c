//! Killed, interrupted, or out of room, in the middle; and how much memory it takes.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::common;

use std::{
    fs,
    io::{ErrorKind, Write},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use common::{Folder, content, text};
use rustix::process::{Pid, Signal, kill_process};

/// `cascade encrypt -o out` that waits for more input.
fn start(folder: &Folder) -> Child {
    let key = folder.keygen("key.txt", &[]);
    let mut child = Command::new(common::program())
        .args(["encrypt", "-r", &key, "-o", "out"])
        .current_dir(folder.path(""))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.as_mut().unwrap().write_all(&content(5_000_000)).unwrap();
    let temporary = || folder.others(&["key.txt"]).iter().any(|name| name.ends_with(".tmp"));
    let start = Instant::now();
    while !temporary() && start.elapsed() < Duration::from_secs(20) {
        thread::sleep(Duration::from_millis(10));
    }
    assert!(temporary());
    child
}

fn signal(child: &mut Child, signal: Signal) -> std::process::ExitStatus {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    // Open until the end: input that is over would let it finish before it hears of the signal.
    let _input = child.stdin.take();
    kill_process(pid, signal).unwrap();
    child.wait().unwrap()
}

#[test]
fn killed_it_leaves_no_file_of_the_final_name() {
    let folder = Folder::new();
    let mut child = start(&folder);
    signal(&mut child, Signal::KILL);
    assert!(!folder.path("out").exists());
}

/// The command lines of processes that name this path.
fn processes_of(path: &std::path::Path) -> Vec<String> {
    let path = path.to_str().unwrap();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.map(|line| text(&line).replace('\0', " ")).filter(|line| line.contains(path)).collect()
}

/// Neither the relay, nor a member, nor their keys.
#[test]
fn an_interrupted_demonstration_leaves_nothing() {
    use std::io::{BufRead as _, BufReader};
    // While members are made, and while one waits for what comes.
    for (kind, moment) in [
        (Signal::INT, "a relay listens"),
        (Signal::TERM, "Alice, Bob and Carol"),
        (Signal::TERM, "Carol has read it"),
    ] {
        let folder = Folder::new();
        let mut child = Command::new(common::program())
            .arg("demo")
            .env("TMPDIR", folder.path(""))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains(moment)), "{moment}");
        assert!(!processes_of(&folder.path("")).is_empty(), "the relay runs");
        assert_eq!(signal(&mut child, kind).code(), Some(130));
        assert_eq!(folder.others(&[]), [""; 0], "{moment}");
        let start = Instant::now();
        while !processes_of(&folder.path("")).is_empty() {
            assert!(
                start.elapsed() < Duration::from_secs(5),
                "{:?}",
                processes_of(&folder.path(""))
            );
            thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn interrupted_it_leaves_nothing() {
    for kind in [Signal::INT, Signal::TERM, Signal::HUP] {
        let folder = Folder::new();
        let mut child = start(&folder);
        assert_eq!(signal(&mut child, kind).code(), Some(130));
        assert_eq!(folder.others(&["key.txt"]), [""; 0]);
    }
}

#[test]
fn a_full_disk_is_told() {
    let folder = Folder::new();
    let key = folder.keygen("key.txt", &[]);
    let error = folder.fail(1, &["encrypt", "-r", &key, "-o", "/dev/full"], &content(100_000));
    assert!(
        error.contains("cannot write /dev/full") && error.contains("free some space"),
        "{error}"
    );
    let sealed = folder.succeed(&["encrypt", "-r", &key], &content(3_000_000));
    let error = folder.fail(1, &["decrypt", "-i", "key.txt", "-o", "/dev/full"], &sealed);
    assert!(error.contains("cannot write /dev/full"), "{error}");
}

#[test]
fn a_reader_that_goes_away_ends_it() {
    let folder = Folder::new();
    let key = folder.keygen("key.txt", &[]);
    folder.write("in", content(5_000_000));
    let mut child = Command::new(common::program())
        .args(["encrypt", "-r", &key, "in"])
        .current_dir(folder.path(""))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("cannot write standard output"));
}

/// 200 MiB each way in less than 64 MiB. Both cores are at work.
#[test]
fn memory_is_constant() {
    const MIB: usize = 1 << 20;
    let folder = Folder::new();
    let key = folder.keygen("key.txt", &[]);
    let piece = content(MIB);
    let high_water = |arguments: &[&str], pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut child = Command::new(common::program())
            .args(arguments)
            .current_dir(folder.path(""))
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        for piece in pieces {
            match stdin.write_all(piece) {
                Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
                result => result.unwrap(),
            }
        }
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        drop(stdin);
        assert!(child.wait().unwrap().success());
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().to_owned();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap()
    };
    let encrypt = ["encrypt", "-r", &key, "-o", "sealed"];
    let used = high_water(&encrypt, &mut (0..200).map(|_| &piece[..]));
    assert!(used < 64 << 10, "{used} KiB to encrypt");
    let sealed = folder.read("sealed");
    let decrypt = ["decrypt", "-i", "key.txt", "-o", "/dev/null"];
    let used = high_water(&decrypt, &mut sealed.chunks(MIB));
    assert!(used < 64 << 10, "{used} KiB to decrypt");
}
