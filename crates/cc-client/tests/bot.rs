//! The bot of the examples as a process that is killed, while members write to it, come, go and renew
//! their keys: it answers every message, and each once.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
#[path = "../examples/socket/mod.rs"]
mod socket;

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command as Process, Stdio},
    time::Duration,
};

use cc_client::{Command, LogId, MemoryService, OperationId, SystemTimeSource};
use common::Person;

/// Kills, and messages between two of them. `CC_BOT_KILLS` for more.
fn kills() -> usize {
    std::env::var("CC_BOT_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(12)
}

const MESSAGES: usize = 5;

/// The example, which `cargo test` builds, but not if it is told to build this test alone.
fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let name = format!("examples/durable_bot{}", std::env::consts::EXE_SUFFIX);
    let example = test.parent().unwrap().parent().unwrap().join(name);
    if !example.exists() {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
        let built = Process::new(cargo)
            .args([
                "build",
                "--package",
                "cc-client",
                "--example",
                "durable_bot",
                "--profile",
                profile,
            ])
            .status();
        assert!(built.unwrap().success());
    }
    example
}

fn start(store: &Path, address: &str) -> (Child, LogId) {
    let mut bot = Process::new(example())
        .args([store.as_os_str(), address.as_ref()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(bot.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let hex = line.trim();
    let mut mailbox = [0; 32];
    for (at, byte) in mailbox.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap();
    }
    (bot, LogId::from_bytes(mailbox))
}

#[test]
fn a_bot_that_is_killed_answers_every_message_once() {
    let mut service = MemoryService::new();
    let address = socket::serve(&service).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("bot.store");
    let (mut bot, mailbox) = start(&store, &address);
    let [mut alice, mut bob] = ["Alice", "Bob"].map(Person::new);
    // The bot has the system's clock.
    for person in [&mut alice, &mut bob] {
        person.now.wall = SystemTimeSource::start().now().wall;
    }
    let group = common::group_of(&mut [&mut alice, &mut bob], &mut service);
    let wait = |people: &mut [&mut Person], service: &mut MemoryService, milliseconds: u64| {
        for person in people {
            person.turn(service);
            person.pass(1_000);
        }
        std::thread::sleep(Duration::from_millis(milliseconds));
    };
    // The bot may not have published its key packages yet.
    for attempt in 0..600 {
        if attempt % 20 == 0 {
            let invite = Command::Invite { group, mailbox, member: None };
            alice.client.submit(OperationId::random().unwrap(), invite).unwrap();
        }
        wait(&mut [&mut alice, &mut bob], &mut service, 20);
        if alice.client.group(&group).unwrap().members.len() == 3 {
            break;
        }
    }
    assert_eq!(alice.client.group(&group).unwrap().members.len(), 3);
    let mut sent = Vec::new();
    for kill in 0..kills() {
        for message in 0..MESSAGES {
            let text = format!("{kill}.{message}");
            let person = if message % 2 == 0 { &mut alice } else { &mut bob };
            person.client.send(group, &text).unwrap();
            sent.push(text);
        }
        if kill % 3 == 0 {
            let refresh = Command::Refresh(group);
            bob.client.submit(OperationId::random().unwrap(), refresh).unwrap();
        }
        // Not always at the same point of its work.
        wait(&mut [&mut alice, &mut bob], &mut service, (kill as u64 * 7) % 60);
        bot.kill().unwrap();
        bot.wait().unwrap();
        bot = start(&store, &address).0;
    }
    let mut answers = BTreeMap::new();
    for _ in 0..600 {
        wait(&mut [&mut alice, &mut bob], &mut service, 20);
        answers.clear();
        for (from, text) in alice.read(&group) {
            if let Some(of) = text.strip_prefix("you said: ").filter(|_| from == "Bot") {
                *answers.entry(of.to_owned()).or_insert(0) += 1;
            }
        }
        if sent.iter().all(|text| answers.contains_key(text)) {
            break;
        }
    }
    bot.kill().unwrap();
    bot.wait().unwrap();
    for text in &sent {
        assert_eq!(answers.get(text), Some(&1), "answers to {text}");
    }
    assert_eq!(answers.len(), sent.len());
}
