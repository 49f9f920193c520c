//! The bot of the examples as a process that is killed, while members write to it, come, go and renew
//! their keys: it answers every message, and each once.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

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

use cc_client::{
    Command, Event, GroupId, LogId, MemoryService, OperationId, SystemTimeSource, Verdict,
};
use common::Person;

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

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
    // `cargo xtask bot-kills` asks for more.
    let (kills, messages) = (number("CC_BOT_KILLS", 12), number("CC_BOT_MESSAGES", 5));
    let mut charlie = Person::new("Charlie");
    charlie.now.wall = alice.now.wall;
    let mut people = [alice, bob, charlie];
    let mut sent: Vec<Sent> = Vec::new();
    for kill in 0..kills {
        for message in 0..messages {
            let (text, by) = (format!("{kill}.{message}"), message % 3);
            let by = if is_member(&people[by], &group) { by } else { 0 };
            let id = people[by].client.send(group, &text).unwrap();
            sent.push(Sent { by, id, text });
        }
        come_and_go(&mut people, &group, kill);
        // Not always at the same point of its work.
        let [alice, bob, charlie] = &mut people;
        wait(&mut [alice, bob, charlie], &mut service, (kill as u64 * 7) % 60);
        bot.kill().unwrap();
        bot.wait().unwrap();
        bot = start(&store, &address).0;
    }
    // As long as something still comes.
    let (mut answers, mut quiet) = (BTreeMap::new(), 0);
    while quiet < 600 && !is_done(&people, &sent, &answers) {
        let [alice, bob, charlie] = &mut people;
        wait(&mut [alice, bob, charlie], &mut service, 20);
        let before = std::mem::take(&mut answers);
        for (from, text) in people[0].read(&group) {
            if let Some(of) = text.strip_prefix("you said: ").filter(|_| from == "Bot") {
                *answers.entry(of.to_owned()).or_insert(0) += 1;
            }
        }
        quiet = if before == answers { quiet + 1 } else { 0 };
    }
    bot.kill().unwrap();
    bot.wait().unwrap();
    let mut done = 0;
    for message in &sent {
        // Who was removed before a message went out is told so.
        let expected = match verdict(&people[message.by], message.id) {
            Some(Verdict::Done(_)) => Some(&1),
            Some(Verdict::Refused(_)) => None,
            verdict => panic!("{}: {verdict:?}", message.text),
        };
        done += usize::from(expected.is_some());
        assert_eq!(answers.get(&message.text), expected, "answers to {}", message.text);
    }
    assert_eq!(answers.len(), done);
    let epoch = people[0].client.group(&group).unwrap().epoch;
    eprintln!("{kills} kills, {done} messages, each answered once, in {epoch:?} epochs");
    assert!(done * 10 >= sent.len() * 9);
}

/// A message to the bot.
struct Sent {
    by: usize,
    id: OperationId,
    text: String,
}

fn verdict(person: &Person, id: OperationId) -> Option<Verdict> {
    person.events.iter().rev().find_map(|event| match event {
        Event::Settled { operation, verdict } if *operation == id => Some(verdict.clone()),
        _ => None,
    })
}

fn is_done(people: &[Person; 3], sent: &[Sent], answers: &BTreeMap<String, u32>) -> bool {
    sent.iter().rev().all(|message| {
        answers.contains_key(&message.text)
            || matches!(verdict(&people[message.by], message.id), Some(Verdict::Refused(_)))
    })
}

fn is_member(person: &Person, group: &GroupId) -> bool {
    person.client.group(group).is_ok_and(|view| view.epoch.is_some())
}

/// Bob renews his keys, Charlie is invited, and is removed or leaves.
fn come_and_go([alice, bob, charlie]: &mut [Person; 3], group: &GroupId, kill: usize) {
    let group = *group;
    let (who, command) = match kill % 6 {
        0 => (bob, Command::Refresh(group)),
        2 if !is_member(charlie, &group) => {
            let packages = charlie.client.key_packages(charlie.now, 1).unwrap();
            (alice, Command::Add { group, packages })
        }
        5 if is_member(charlie, &group) && kill % 12 == 5 => {
            let members = vec![charlie.client.me().id];
            (alice, Command::Remove { group, members })
        }
        5 if is_member(charlie, &group) => (charlie, Command::Leave(group)),
        _ => return,
    };
    who.client.submit(OperationId::random().unwrap(), command).unwrap();
}
