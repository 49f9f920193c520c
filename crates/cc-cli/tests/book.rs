//! The book's chapter on the program, as a shell would run it.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::{
    env, fs,
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
};

const CHAPTER: &str = include_str!("../../../docs/book/src/program.md");
/// The relay's port in the chapter.
const PORT: &str = "4480";

/// The shell blocks, one after the other, but for the installation.
fn script() -> String {
    let mut script = String::new();
    let mut in_block = false;
    for line in CHAPTER.lines() {
        match line {
            "```sh" => in_block = true,
            "```" => in_block = false,
            line if in_block && !line.starts_with("cargo install") => {
                script.push_str(line);
                script.push('\n');
            }
            _ => {}
        }
    }
    script
}

#[test]
fn the_chapter_on_the_program_runs() {
    let program = Path::new(env!("CARGO_BIN_EXE_cascade"));
    let folder = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let script = script().replace(PORT, &free.to_string());
    assert!(script.contains("cascade remove") && script.contains("cascade decrypt"));
    let path = format!("{}:{}", program.parent().unwrap().display(), env::var("PATH").unwrap());
    let log = folder.path().join("log");
    let output = fs::File::create(&log).unwrap();
    // Whatever happens, no relay stays behind.
    let script = format!("trap 'kill -9 $relay 2> /dev/null || true' EXIT\n{script}");
    let status = Command::new("bash")
        .args(["-euxo", "pipefail", "-c", &script])
        .current_dir(folder.path())
        .env("PATH", path)
        .env_remove("CASCADE_PROFILE")
        .env_remove("CASCADE_RELAY")
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .status()
        .unwrap();
    let log = fs::read_to_string(log).unwrap();
    assert!(status.success(), "{status}\n{log}");
    // It went to its end: the last line is the only one that ends the relay in peace.
    let last =
        log.lines().filter(|line| line.starts_with("+ kill ")).find(|line| !line.contains("-9"));
    assert!(last.is_some(), "the end was not reached\n{log}");
}
