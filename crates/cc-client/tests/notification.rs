//! One message decrypted by another process: the store is handed over, never forked.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command as Process, Output, Stdio},
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use cc_client::{
    Client, Event, EventId, GroupId, LogId, MemoryService, Now, Position, Profile, Recipe, turn,
};
use cc_core::{Secret, store::StoreError};
use cc_store_sqlite::{Credential, SqliteStore};
use common::Person;

const KEY: [u8; 32] = [0x5a; 32];

#[derive(Clone, Copy)]
enum Lock {
    Key,
    Passphrase,
}

impl Lock {
    fn credential(self) -> Credential {
        match self {
            Self::Key => Credential::key(Secret::take(&mut { KEY })),
            Self::Passphrase => Credential::passphrase("correct horse").unwrap(),
        }
    }

    fn arguments(self) -> [String; 2] {
        match self {
            Self::Key => ["key".into(), "5a".repeat(32)],
            Self::Passphrase => ["passphrase".into(), "correct horse".into()],
        }
    }
}

/// The example, which `cargo test` builds, but not if it is told to build this test alone: one that was built before
/// may then have another format of the store.
fn example() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        let name = format!("examples/notification{}", std::env::consts::EXE_SUFFIX);
        let example = test.parent().unwrap().parent().unwrap().join(name);
        if !example.exists() {
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let profile = if cfg!(debug_assertions) { "test" } else { "release" };
            let built = Process::new(cargo)
                .args(["build", "--package", "cc-client", "--example", "notification"])
                .args(["--profile", profile])
                .status();
            assert!(built.unwrap().success());
        }
        example
    })
}

/// What a push service would bring: all of the log behind a position.
fn push(service: &MemoryService, log: &LogId, after: Position) -> Vec<u8> {
    let items = service.log(log);
    let head = items.last().map_or(Position::START, |item| item.position);
    let items = items.into_iter().filter(|item| item.position > after);
    let items: Vec<_> = items.map(|item| (item.position, item.commit, item.bytes)).collect();
    postcard::to_stdvec(&(log, items, head)).unwrap()
}

fn start(store: &Path, lock: Lock, pushed: &[u8]) -> Child {
    let mut extension = Process::new(example())
        .arg(store)
        .args(lock.arguments())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    extension.stdin.take().unwrap().write_all(pushed).unwrap();
    extension
}

fn notify(store: &Path, lock: Lock, pushed: &[u8]) -> Output {
    start(store, lock, pushed).wait_with_output().unwrap()
}

struct Telephone {
    path: PathBuf,
    lock: Lock,
    now: Now,
    read: Vec<String>,
}

impl Telephone {
    /// The application is opened, does what is to be done, and is closed again.
    fn use_app(&mut self, service: &mut MemoryService) {
        let store = SqliteStore::open(&self.path, self.lock.credential()).unwrap();
        let mut client = Client::open(store).unwrap();
        self.turn(&mut client, service);
        client.close();
    }

    fn turn(&mut self, client: &mut Client, service: &mut MemoryService) {
        turn(client, service, self.now).unwrap();
        self.now.mono += 2_000;
        for (id, event) in client.events(EventId(0), 1000).unwrap() {
            if let Event::Message { content, .. } = event {
                self.read.push(String::from_utf8(content).unwrap());
            }
            client.acknowledge(id, &[]).unwrap();
        }
    }
}

/// Bob's telephone, closed, in a group with Alice.
fn telephone(
    folder: &Path,
    lock: Lock,
    service: &mut MemoryService,
) -> (Telephone, Person, GroupId) {
    let path = folder.join("bob.store");
    let store = SqliteStore::create(&path, lock.credential()).unwrap();
    let mut bob = Client::create(store, Profile::new("Bob"), Recipe::group()).unwrap();
    let mut alice = Person::new("Alice");
    let mut telephone = Telephone { path, lock, now: alice.now, read: Vec::new() };
    let group = alice.client.found("Two").unwrap();
    let package = bob.key_packages(telephone.now, 1).unwrap().remove(0);
    alice.client.invite(group, package).unwrap();
    for _ in 0..4 {
        alice.turn(service);
        alice.pass(2_000);
        telephone.turn(&mut bob, service);
    }
    assert_eq!(bob.group(&group).unwrap().members.len(), 2);
    // While the application has the store, nobody else gets it.
    let locked = notify(&telephone.path, lock, &push(service, &group, Position::START));
    assert!(!locked.status.success());
    assert!(matches!(
        SqliteStore::open(&telephone.path, lock.credential()),
        Err(StoreError::Locked)
    ));
    bob.close();
    (telephone, alice, group)
}

fn say(alice: &mut Person, service: &mut MemoryService, group: GroupId, text: &str) {
    alice.client.send(group, text).unwrap();
    alice.turn(service);
    alice.pass(2_000);
    alice.turn(service);
}

/// One test after another: a process that is being started has the files of its parent for a moment, and
/// with them the locks of the other tests' stores.
static ALONE: Mutex<()> = Mutex::new(());

fn handed_over(lock: Lock) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut service = MemoryService::new();
    let folder = tempfile::tempdir().unwrap();
    let (mut bob, mut alice, group) = telephone(folder.path(), lock, &mut service);
    say(&mut alice, &mut service, group, "are you there?");
    let head = Position(service.log(&group).len() as u64);
    let pushed = push(&service, &group, Position(head.0 - 1));
    let shown = notify(&bob.path, lock, &pushed);
    eprintln!("{}", String::from_utf8_lossy(&shown.stderr));
    assert_eq!(String::from_utf8_lossy(&shown.stdout), "Alice: are you there?\n");
    // The same push again shows nothing: what was read is read.
    assert_eq!(notify(&bob.path, lock, &pushed).stdout, b"");
    // A push with a gap before it is early, and harms nothing.
    say(&mut alice, &mut service, group, "hello?");
    say(&mut alice, &mut service, group, "well?");
    let gap = push(&service, &group, Position(service.log(&group).len() as u64 - 1));
    let early = notify(&bob.path, lock, &gap);
    assert_eq!(early.stdout, b"");
    assert!(String::from_utf8_lossy(&early.stderr).contains("Early"));
    bob.use_app(&mut service);
    assert_eq!(bob.read, ["are you there?", "hello?", "well?"], "once, and in order");
}

#[test]
fn a_store_with_a_key_is_handed_over() {
    handed_over(Lock::Key);
}

#[test]
fn a_store_with_a_passphrase_is_handed_over() {
    handed_over(Lock::Passphrase);
}

#[test]
fn an_extension_that_is_killed_loses_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut service = MemoryService::new();
    let folder = tempfile::tempdir().unwrap();
    let (mut bob, mut alice, group) = telephone(folder.path(), Lock::Key, &mut service);
    let mut sent = Vec::new();
    for kill in 0..24u64 {
        let text = format!("message {kill}");
        say(&mut alice, &mut service, group, &text);
        sent.push(text);
        let pushed = push(&service, &group, Position::START);
        let mut extension = start(&bob.path, Lock::Key, &pushed);
        std::thread::sleep(Duration::from_micros(kill * 1_300));
        extension.kill().unwrap();
        extension.wait().unwrap();
        if kill % 4 == 3 {
            bob.use_app(&mut service);
            assert_eq!(bob.read, sent);
        }
    }
}
