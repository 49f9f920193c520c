//! `cascade chat` at terminals of its own, over a real relay.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::{
    common::{self, talk},
    memory,
};

use std::{
    fs::File,
    io::{Read as _, Write as _},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use common::Folder;
use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use talk::Relay;

/// How long something may take to show on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// One person's screen, which is forgotten when the program is started anew, and profile, which is not.
struct Person {
    profile: PathBuf,
    running: Option<Running>,
}

struct Running {
    child: Child,
    keys: File,
    screen: Arc<Mutex<vt100::Parser>>,
}

impl Person {
    fn new(folder: &Folder, name: &str) -> Self {
        Self { profile: folder.path(name), running: None }
    }

    fn start(&mut self) {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let size = Winsize { ws_row: 40, ws_col: 110, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let terminal = || File::options().read(true).write(true).open(&name).unwrap();
        // setsid takes its terminal from standard input.
        let child = Command::new("setsid")
            .args(["-c", "-w"])
            .arg(common::program())
            .args(["chat", "--profile"])
            .arg(&self.profile)
            .current_dir(self.profile.parent().unwrap())
            .env("TERM", "xterm-256color")
            .stdin(Stdio::from(terminal()))
            .stdout(Stdio::from(terminal()))
            .stderr(Stdio::from(terminal()))
            .spawn()
            .unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(40, 110, 0)));
        let keys = File::from(master);
        let (mut output, shown) = (keys.try_clone().unwrap(), Arc::clone(&screen));
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                shown.lock().unwrap().process(&bytes[..count]);
            }
        });
        self.running = Some(Running { child, keys, screen });
    }

    /// The first start: it asks for two things, and for no more.
    fn begin(&mut self, name: &str, relay: &Relay) {
        self.start();
        self.sees("Your name");
        self.types(name);
        self.sees("The relay");
        self.types(&relay.url());
        self.sees("You are in no group yet");
    }

    fn running(&mut self) -> &mut Running {
        self.running.as_mut().unwrap()
    }

    fn types(&mut self, line: &str) {
        self.presses(&format!("{line}\r"));
    }

    fn presses(&mut self, keys: &str) {
        self.running().keys.write_all(keys.as_bytes()).unwrap();
    }

    fn screen(&mut self) -> String {
        self.running().screen.lock().unwrap().screen().contents()
    }

    fn sees(&mut self, text: &str) {
        self.waits(text, |screen| screen.contains(text));
    }

    fn sees_no_more(&mut self, text: &str) {
        self.waits(text, |screen| !screen.contains(text));
    }

    fn waits(&mut self, what: &str, until: impl Fn(&str) -> bool) {
        let start = Instant::now();
        loop {
            let screen = self.screen();
            if until(&screen) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{what:?}:\n{screen}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The program itself, which setsid has started.
    fn process(&mut self) -> u32 {
        let id = self.running().child.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        // It is no child where setsid had no need to fork.
        children.split_whitespace().next().map_or(id, |of_program| of_program.parse().unwrap())
    }

    /// SIGKILL, to the program itself: setsid would leave it alive.
    fn kill(&mut self) {
        let id = self.process().cast_signed();
        let id = rustix::process::Pid::from_raw(id).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
        self.running.take().unwrap().child.wait().unwrap();
    }

    /// Ctrl-C; the screen that it leaves.
    fn interrupt(&mut self) -> String {
        self.presses("\x03");
        let mut running = self.running.take().unwrap();
        assert_eq!(running.child.wait().unwrap().code(), Some(0));
        thread::sleep(Duration::from_millis(100));
        let screen = running.screen.lock().unwrap();
        assert!(!screen.screen().alternate_screen() && !screen.screen().hide_cursor());
        screen.screen().contents()
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        if self.running.is_some() {
            self.kill();
        }
    }
}

#[test]
fn two_people_talk_and_nothing_is_lost() {
    let folder = Folder::new();
    let mut relay = Relay::start();
    let (mut alice, mut bob) = (Person::new(&folder, "alice"), Person::new(&folder, "bob"));
    alice.begin("Alice", &relay);
    alice.types("/new Dev Team");
    alice.sees("Dev Team (1 members)");
    bob.begin("Bob", &relay);
    bob.types("/link bob.link");
    bob.sees("Your link is in");
    // An invitation is asked about before it counts.
    alice.types("/invite bob.link");
    alice.sees("Invite the device");
    alice.presses("n");
    alice.sees("Nothing was done");
    alice.types("/invite bob.link");
    alice.sees("Invite the device");
    alice.presses("y");
    alice.sees("Dev Team (2 members)");
    bob.sees("Dev Team (2 members)");
    alice.types("hello Bob");
    bob.sees("hello Bob");
    bob.types("hello Alice");
    alice.sees("hello Alice");

    // Bob is killed, and the relay while he is away.
    bob.kill();
    alice.types("while you were away");
    alice.sees("while you were away");
    relay.kill();
    alice.types("while the relay was away");
    alice.sees("while the relay was away");
    alice.sees("OFFLINE");
    relay.restart();
    bob.start();
    for text in ["hello Bob", "hello Alice", "while you were away", "while the relay was away"] {
        bob.sees(text);
    }
    // What was typed just before a kill is sent at the next start.
    relay.kill();
    bob.types("typed before a kill");
    bob.sees("typed before a kill");
    bob.sees("Bob …");
    bob.kill();
    relay.restart();
    bob.start();
    alice.sees("typed before a kill");

    // Ctrl-C leaves the terminal as it was, and everything is there at the next start.
    alice.interrupt();
    bob.types("Alice is not here");
    bob.sees("Alice is not here");
    alice.start();
    for text in ["hello Alice", "while the relay was away", "typed before a kill", "Alice is not"] {
        alice.sees(text);
    }
}

#[test]
fn somebody_who_asks_is_seen_and_let_in() {
    let folder = Folder::new();
    let relay = Relay::start();
    let (mut alice, mut bob) = one_with_a_team(&folder, &relay);
    alice.types("/group-link team.link");
    alice.sees("A link by which others ask");
    bob.types("/join team.link from the choir");
    bob.sees("Asked: who made the link");
    alice.sees("Bob asks to join: from the choir");
    alice.types("/requests");
    alice.sees("never seen");
    alice.presses("q");
    // It is asked about before it counts.
    alice.types("/admit Bob");
    alice.sees("Let them in?");
    alice.presses("n");
    alice.sees("Nothing was done");
    alice.types("/admit Bob");
    alice.sees("Let them in?");
    alice.presses("y");
    alice.sees("Team (2 members)");
    bob.sees("Team (2 members)");
    alice.types("/decline Bob");
    alice.sees("nobody asks to join as");
}

#[test]
fn who_asks_takes_it_back_and_a_newcomer_is_told_what_was_said() {
    let folder = Folder::new();
    let relay = Relay::start();
    let (mut alice, mut bob) = one_with_a_team(&folder, &relay);
    alice.types("said before Bob came");
    alice.sees("said before Bob came");
    alice.types("/group-link team.link");
    alice.sees("A link by which others ask");
    bob.types("/withdraw");
    bob.sees("does not ask to join anything");
    bob.types("/join team.link");
    bob.sees("Asked: who made the link");
    alice.sees("Bob asks to join");
    bob.types("/requests");
    bob.sees("/withdraw ID takes it back");
    bob.presses("q");
    bob.types("/withdraw");
    bob.sees("Withdrawn: who made the link");
    alice.sees("Bob does not ask to join any more");
    alice.types("/admit Bob");
    alice.sees("nobody asks to join as");
    bob.types("/join team.link after all");
    alice.sees("Bob asks to join: after all");
    alice.types("/admit Bob");
    alice.sees("Let them in?");
    alice.presses("y");
    bob.sees("Team (2 members)");
    // What was said before, as the word of who passes it on.
    alice.sees("Bob");
    alice.types("/share Bob 20");
    alice.sees("earlier messages on to Bob?");
    alice.presses("y");
    alice.sees("messages on to Bob.");
    bob.sees("Alice passes on, as written by Alice: said before Bob came");
    // After a restart it is still no message.
    bob.interrupt();
    bob.start();
    bob.sees("passes on, as written by Alice");
}

/// Records of a profile's store in which this text is, for who has the file and the key to it.
fn stolen(person: &Person, text: &str) -> usize {
    use cc_core::{
        Secret,
        store::{Scope, Store as _},
    };
    use cc_store_sqlite::{Credential, SqliteStore};
    let mut key: [u8; 32] = std::fs::read(person.profile.join("key")).unwrap().try_into().unwrap();
    let credential = Credential::key(Secret::take(&mut key));
    let store = SqliteStore::open(person.profile.join("store.sqlite"), credential).unwrap();
    let client = Scope::new("client");
    let mut scopes: Vec<Scope> =
        ["application", "events", "requests", "flights", "settled", "arrivals", "views"]
            .map(|name| client.child(name))
            .into();
    store
        .scan(&client.child("groups"), b"", &mut |group, _| {
            scopes.extend(["queue", "held", "seen"].map(|name| client.child(name).child(group)));
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    let (mut found, mut records) = (0, 0);
    for scope in scopes {
        let mut look = |_: &[u8], record: cc_core::SecretBytes| {
            records += 1;
            let at = record.expose().windows(text.len()).any(|at| at == text.as_bytes());
            found += usize::from(at);
            std::ops::ControlFlow::Continue(())
        };
        store.scan(&scope, b"", &mut look).unwrap();
    }
    assert!(records > 5, "{records}");
    found
}

/// Alice and Bob, in a group.
/// Alice, alone in a group, and Bob.
fn one_with_a_team(folder: &Folder, relay: &Relay) -> (Person, Person) {
    let (mut alice, mut bob) = (Person::new(folder, "alice"), Person::new(folder, "bob"));
    alice.begin("Alice", relay);
    bob.begin("Bob", relay);
    alice.types("/new Team");
    alice.sees("Team (1 members)");
    (alice, bob)
}

fn team_of_two(folder: &Folder, relay: &Relay) -> (Person, Person) {
    let (mut alice, mut bob) = one_with_a_team(folder, relay);
    bob.types("/link bob.link");
    bob.sees("Your link is in");
    alice.types("/invite bob.link");
    alice.sees("Invite the device");
    alice.presses("y");
    bob.sees("Team (2 members)");
    (alice, bob)
}

#[test]
fn who_steals_the_file_and_its_key_finds_no_text_that_has_disappeared() {
    let folder = Folder::new();
    let relay = Relay::start();
    let (mut alice, mut bob) = team_of_two(&folder, &relay);
    alice.types("this stays");
    alice.types("taken back");
    bob.sees("taken back");
    let number = number_of(&alice.screen(), "taken back");
    alice.types(&format!("/delete {number}"));
    bob.sees("(deleted)");
    alice.sees("(deleted)");
    alice.types("/timer 5 the code is 4711");
    bob.sees("the code is 4711");
    let read = Instant::now();
    bob.kill();
    // Bob's program is not there when the time is up. Alice's is.
    assert_eq!(stolen(&bob, "the code is 4711"), 1);
    alice.sees_no_more("the code is 4711");
    alice.interrupt();
    thread::sleep(Duration::from_secs(6).saturating_sub(read.elapsed()));
    bob.start();
    bob.sees("this stays");
    bob.interrupt();
    for person in [&alice, &bob] {
        for (text, records) in [("the code is 4711", 0), ("taken back", 0), ("this stays", 1)] {
            assert_eq!(stolen(person, text), records, "{text}");
        }
    }
}

#[test]
fn what_there_is_to_see_and_do() {
    let folder = Folder::new();
    let relay = Relay::start();
    let (mut alice, mut bob) = team_of_two(&folder, &relay);
    alice.sees("Team (2 members)");
    alice.sees("Members");

    // A file by its path, from one to the other.
    folder.write("notes.txt", "what is in the file");
    alice.types("/attach notes.txt look");
    bob.sees("[file] notes.txt");
    let number = number_of(&bob.screen(), "look");
    bob.types(&format!("/save {number} copy.txt"));
    bob.sees("19 bytes are in copy.txt");
    assert_eq!(folder.read("copy.txt"), b"what is in the file");
    // The name that the sender chose replaces nothing.
    folder.write("notes.txt", "other notes");
    bob.types(&format!("/save {number}"));
    bob.sees("exists");
    assert_eq!(folder.read("notes.txt"), b"other notes");
    bob.presses("\x15");

    // Edits, deletions, reactions.
    alice.types("teh text");
    alice.sees("teh text");
    bob.sees("teh text");
    let number = number_of(&alice.screen(), "teh text");
    alice.types(&format!("/edit {number} the text"));
    bob.sees("the text");
    bob.sees_no_more("teh text");
    let theirs = number_of(&bob.screen(), "the text");
    bob.types(&format!("/react {theirs} fine"));
    alice.sees("fine 1");
    bob.types(&format!("/edit {theirs} not mine"));
    bob.sees("was not sent from this device");
    bob.presses("\x15");

    // The layers, the relay, the tree.
    alice.types(&format!("/report {number}"));
    alice.sees("bytes out");
    alice.sees("MLS (RFC 9420)");
    alice.presses("\x1b");
    alice.sees_no_more("bytes out");
    alice.types(&format!("/seen {number}"));
    alice.sees("Position");
    alice.sees(" bytes, at ");
    alice.presses("\x1b");
    alice.sees_no_more(" bytes, at ");
    alice.types("/tree");
    alice.sees("Ratchet tree");
    alice.presses("\x1b");
    alice.sees_no_more("Ratchet tree");
    alice.types("/help");
    alice.sees("/new TITLE");
    alice.presses("\x1b");
    alice.sees_no_more("/new TITLE");

    // Safety numbers: the same on both sides, then a mark.
    alice.types("/safety Bob");
    alice.sees("The safety number of Alice and Bob");
    let digits = digits(&alice.screen());
    assert_eq!(digits.len(), 60, "{digits}");
    alice.presses("\x1b");
    alice.sees_no_more("The safety number of");
    bob.types("/safety Alice");
    bob.sees("The safety number of Bob and Alice");
    assert_eq!(digits, self::digits(&bob.screen()));
    bob.presses("\x1b");
    bob.sees_no_more("The safety number of");
    alice.types("/verify Bob");
    alice.sees("Does Bob see the same digits?");
    alice.presses("y");
    alice.sees("✓ Bob");

    // Somebody removed does not read what comes after.
    alice.types("/remove Bob");
    alice.sees("Remove Bob");
    alice.presses("y");
    bob.sees("You are not in this group any more");
    alice.sees("Team (1 members)");
    alice.types("among ourselves");
    alice.sees("among ourselves");
    bob.types("still there?");
    bob.sees("you are not in this group any more");
    assert!(!bob.screen().contains("among ourselves"));
}

/// The number in front of the message with this text.
fn number_of(screen: &str, text: &str) -> u64 {
    let lines: Vec<&str> = screen.lines().collect();
    let at = lines.iter().position(|line| line.contains(text)).unwrap();
    let head = lines[..at].iter().rev().find(|line| line.contains('#')).unwrap();
    let number = head.split('#').nth(1).unwrap().split_whitespace().next().unwrap();
    number.parse().unwrap()
}

/// The rows of five digits each.
fn digits(screen: &str) -> String {
    // The first line has the relay's port.
    let page = screen.split_once('\n').unwrap().1;
    let words = page.split(|c: char| !c.is_ascii_digit());
    words.filter(|word| word.len() == 5).collect()
}

/// That of a profile, typed: the program runs for days, and its store is open all the time.
#[test]
fn a_passphrase_that_was_typed_is_gone() {
    let (relay, folder) = (Relay::start(), Folder::new());
    folder.write("pass", memory::PASSPHRASE);
    let url = relay.url();
    let init = ["init", "--name", "Alice", "--relay", &url, "--profile", "alice"];
    folder.succeed(&[&init[..], &["--passphrase-file", "pass"]].concat(), b"");
    let mut alice = Person::new(&folder, "alice");
    alice.start();
    alice.sees("Passphrase:");
    alice.types(memory::PASSPHRASE);
    alice.sees("You are in no group yet");
    assert_eq!(memory::left(alice.process()), 0);
    alice.kill();
}
