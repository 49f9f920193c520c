//! The client beside the manager that it drives, both on `cc-store-sqlite`, and a client in many groups.
//!
//! `cargo bench -p cc-benches --bench client`. Behind `--`: `messages`, `catching-up` or `groups` for a part.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a benchmark fails by panicking"
)]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command as Process,
    time::Instant,
};

use cc_aes_layer::AesLayer;
use cc_client::{
    Client, Command, EventId, GroupId, Input, MemoryService, Now, OperationId, Profile, Recipe,
};
use cc_core::Secret;
use cc_dh_layer::{Curve, DhKeyPair, DhLayer};
use cc_manager::{CascadingCipherManager, Incoming, ManagerBuilder};
use cc_mls_layer::{MlsIdentity, MlsLayer};
use cc_store_sqlite::{Credential, Durability, SqliteStore};
use measure::Measured;

mod measure;

const TEXT: [u8; 100] = [7; 100];
/// Turns that are measured, and before that those in which the write-ahead log grows to its size.
const TURNS: usize = 15;
const FIRST_TURNS: usize = 15;
/// Messages of a turn.
const MESSAGES: usize = 20;
/// Messages of one call.
const BATCH: usize = 64;

const MISSED: usize = 10_000;
const MISSED_COMMITS: usize = 20;

const GROUPS: usize = 1000;

fn main() {
    let arguments: Vec<_> = env::args().skip(1).filter(|it| it != "--bench").collect();
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["messages"] => messages(directory.path()),
        ["catching-up"] => catching_up(directory.path()),
        ["groups"] => many_groups(directory.path()),
        ["resident", path] => resident(Path::new(path)),
        _ => {
            messages(directory.path());
            catching_up(directory.path());
            many_groups(directory.path());
        }
    }
}

fn credential() -> Credential {
    Credential::key(Secret::copy_from(&[1; 32]).unwrap())
}

fn store(path: &Path, durability: Durability) -> SqliteStore {
    SqliteStore::options().durability(durability).open_or_create(path, credential()).unwrap()
}

/// A client and its clocks.
struct Person {
    client: Client,
    now: Now,
}

impl Person {
    fn new(name: &str, path: &Path, durability: Durability) -> Self {
        let store = store(path, durability);
        let mut client = Client::create(store, Profile::new(name), Recipe::group()).unwrap();
        client.set_refresh_policy(None);
        Self { client, now: Now { wall: 1_790_000_000_000, mono: 0 } }
    }

    fn turn(&mut self, service: &mut MemoryService) {
        while let Some(request) = self.client.poll_request(self.now).unwrap() {
            let result = request.perform(service);
            let input = Input::Response { id: request.id, result };
            let _ledger = self.client.handle(self.now, input).unwrap();
        }
        self.now.mono += 2_000;
        self.now.wall += 2_000;
    }

    /// The program is done with all events.
    fn acknowledge(&mut self) -> usize {
        let mut count = 0;
        while let Some((last, _)) = {
            let events = self.client.events(EventId(0), 1000).unwrap();
            count += events.len();
            events.last().cloned()
        } {
            self.client.acknowledge(last, &[]).unwrap();
        }
        count
    }
}

/// The two in one group.
fn group_of(alice: &mut Person, bob: &mut Person, service: &mut MemoryService) -> GroupId {
    let group = alice.client.found("group").unwrap();
    let package = bob.client.key_packages(bob.now, 1).unwrap().remove(0);
    alice.client.invite(group, package).unwrap();
    for _ in 0..4 {
        alice.turn(service);
        bob.turn(service);
    }
    alice.acknowledge();
    bob.acknowledge();
    group
}

/// The same stack as the recipe has.
fn stack(name: &str, founder: bool) -> ManagerBuilder {
    let identity = MlsIdentity::generate(name).unwrap();
    let mls =
        if founder { MlsLayer::create("group", identity) } else { MlsLayer::member(identity) };
    CascadingCipherManager::builder()
        .layer(DhLayer::group(DhKeyPair::generate(Curve::P256).unwrap()))
        .layer(mls.unwrap())
        .layer(AesLayer::inherited())
}

fn managers(directory: &Path, durability: Durability) -> [CascadingCipherManager; 2] {
    let at = |name: &str| store(&directory.join(name), durability);
    let mut founder = stack("0", true).create(at("founder"), "group").unwrap();
    let mut other = stack("1", false).create(at("other"), "group").unwrap();
    let change = founder.add_members([other.key_package().unwrap()]).unwrap();
    let welcome = founder.confirm(change.id()).unwrap().welcome.unwrap();
    founder.sent([&welcome]).unwrap();
    other.receive_welcome(&welcome).unwrap();
    [founder, other]
}

fn id() -> OperationId {
    OperationId::random().unwrap()
}

/// Each message from the call that sends it until the log showed it; for the manager, until it is out of
/// the outbox. And until it is read, and the program is done with it.
fn messages(directory: &Path) {
    for (name, durability) in [("FULL", Durability::PowerLoss), ("NORMAL", Durability::ProcessEnd)]
    {
        let directory = directory.join(name);
        fs::create_dir_all(&directory).unwrap();
        let mut service = MemoryService::new();
        let mut alice = Person::new("Alice", &directory.join("alice"), durability);
        let mut bob = Person::new("Bob", &directory.join("bob"), durability);
        let group = group_of(&mut alice, &mut bob, &mut service);
        let [mut founder, mut other] = managers(&directory, durability);
        let mut sums = <[Measured; 8]>::default();
        for turn in 0..FIRST_TURNS + TURNS {
            if turn == FIRST_TURNS {
                sums = Default::default();
            }
            let [
                send,
                receive,
                our_send,
                our_receive,
                batch,
                batch_receive,
                ours,
                our_batch_receive,
            ] = &mut sums;
            let (measured, wires) = measure::each(0..MESSAGES, |_| {
                let wire = founder.encrypt(TEXT).unwrap();
                founder.sent([&wire]).unwrap();
                wire
            });
            extend(send, measured);
            let (measured, _) = measure::each(wires, |wire| {
                let Incoming::Message(message) = other.receive(wire).unwrap() else { panic!() };
                other.acknowledge(message.id()).unwrap();
            });
            extend(receive, measured);
            for _ in 0..MESSAGES {
                let (measured, _) = measure::each([()], |()| {
                    alice.client.send(group, TEXT).unwrap();
                    alice.turn(&mut service);
                });
                extend(our_send, measured);
                // The page is there already: what the network takes is not measured.
                let page = page_of(&mut bob, &mut service, &group);
                let (measured, _) = measure::each([page], |page| {
                    let _ledger = bob.client.handle(bob.now, page).unwrap();
                    bob.acknowledge()
                });
                extend(our_receive, measured);
            }
            alice.acknowledge();

            let (measured, wires) = measure::each([()], |()| {
                let wires = founder.encrypt_all([TEXT; BATCH]).unwrap();
                founder.sent(&wires).unwrap();
                wires
            });
            extend(batch, measured);
            let (measured, _) = measure::each(wires, |wires| {
                let ids = other.receive_all(wires).unwrap().into_iter().map(|incoming| {
                    let Incoming::Message(message) = incoming.unwrap() else { panic!() };
                    message.id()
                });
                let ids: Vec<_> = ids.flatten().collect();
                other.acknowledge(ids).unwrap();
            });
            extend(batch_receive, measured);
            let (measured, _) = measure::each([()], |()| {
                let send = || Command::Send { group, content: TEXT.to_vec() };
                alice.client.submit_all((0..BATCH).map(|_| (id(), send()))).unwrap();
                alice.turn(&mut service);
                alice.acknowledge();
            });
            extend(ours, measured);
            let page = page_of(&mut bob, &mut service, &group);
            let (measured, _) = measure::each([page], |page| {
                let _ledger = bob.client.handle(bob.now, page).unwrap();
                assert!(bob.acknowledge() >= BATCH);
            });
            extend(our_batch_receive, measured);
        }
        println!("{name}");
        let [send, receive, our_send, our_receive, batch, batch_receive, ours, our_batch_receive] =
            &sums;
        for (what, manager, client, count) in [
            ("send", send, our_send, 1.0),
            ("receive", receive, our_receive, 1.0),
            ("send 64 in one call", batch, ours, BATCH as f64),
            ("receive 64 in one call", batch_receive, our_batch_receive, BATCH as f64),
        ] {
            println!(
                "  {what}: manager {:.0} us, client {:.0} us each, ratio {:.2}",
                median(manager) / count,
                median(client) / count,
                median(client) / median(manager)
            );
        }
    }
}

/// The answer to a read of the group: all that the service has for this person.
fn page_of(person: &mut Person, service: &mut MemoryService, group: &GroupId) -> Input {
    person.now.mono += 100_000;
    person.client.notify(group);
    loop {
        let request = person.client.poll_request(person.now).unwrap().unwrap();
        let result = request.perform(service);
        let input = Input::Response { id: request.id, result };
        match &request.call {
            cc_client::Call::Read(read) if read.log == *group => return input,
            _ => {
                let _ledger = person.client.handle(person.now, input).unwrap();
            }
        }
    }
}

/// Everything that was said and changed meanwhile.
fn catching_up(directory: &Path) {
    let directory = directory.join("catching-up");
    fs::create_dir_all(&directory).unwrap();
    let durability = Durability::PowerLoss;
    let mut service = MemoryService::new();
    let mut alice = Person::new("Alice", &directory.join("alice"), durability);
    let mut bob = Person::new("Bob", &directory.join("bob"), durability);
    let group = group_of(&mut alice, &mut bob, &mut service);
    let [mut founder, mut other] = managers(&directory, durability);
    let mut wires = Vec::new();
    for _ in 0..MISSED_COMMITS {
        let send = || Command::Send { group, content: TEXT.to_vec() };
        let count = MISSED / MISSED_COMMITS;
        alice.client.submit_all((0..count).map(|_| (id(), send()))).unwrap();
        for _ in 0..count / BATCH + 2 {
            alice.turn(&mut service);
        }
        alice.client.submit(id(), Command::Refresh(group)).unwrap();
        alice.turn(&mut service);
        alice.turn(&mut service);
        wires.extend(founder.encrypt_all(vec![TEXT; count]).unwrap());
        let change = founder.update().unwrap();
        wires.push(change.commit.clone());
        founder.confirm(change.id()).unwrap();
    }
    let start = Instant::now();
    let mut read = 0;
    for incoming in other.receive_all(&wires).unwrap() {
        read += usize::from(matches!(incoming.unwrap(), Incoming::Message(_)));
    }
    let manager = start.elapsed();
    assert_eq!(read, MISSED);
    let start = Instant::now();
    bob.turn(&mut service);
    let client = start.elapsed();
    assert!(bob.acknowledge() >= MISSED);
    println!(
        "catching up {MISSED} messages and {MISSED_COMMITS} commits: manager {} ms, client {} ms, \
         ratio {:.2}",
        manager.as_millis(),
        client.as_millis(),
        client.as_secs_f64() / manager.as_secs_f64()
    );
}

/// A client in many groups, opened by a process that has seen none of it.
fn many_groups(directory: &Path) {
    for count in [1, GROUPS] {
        let directory = directory.join(format!("{count} groups"));
        fs::create_dir_all(&directory).unwrap();
        let path: PathBuf = directory.join("alice");
        let mut service = MemoryService::new();
        let mut alice = Person::new("Alice", &path, Durability::ProcessEnd);
        let mut bob = Person::new("Bob", &directory.join("bob"), Durability::ProcessEnd);
        let mut last = None;
        for package in bob.client.key_packages(bob.now, count).unwrap() {
            let group = alice.client.found("group").unwrap();
            alice.client.invite(group, package).unwrap();
            last = Some(group);
        }
        for _ in 0..3 {
            alice.turn(&mut service);
        }
        alice.acknowledge();
        drop((alice.client, bob));
        let status = Process::new(env::current_exe().unwrap())
            .args(["resident".as_ref(), path.as_os_str()])
            .status()
            .unwrap();
        assert!(status.success());
        let client = Client::open(store(&path, Durability::ProcessEnd)).unwrap();
        let mut alice = Person { client, now: alice.now };
        alice.client.set_poll_interval(3_600_000);
        alice.turn(&mut service);
        let group = last.unwrap();
        let mut sends = Measured::default();
        for _ in 0..200 {
            let (measured, _) = measure::each([()], |()| {
                alice.client.send(group, TEXT).unwrap();
                alice.turn(&mut service);
            });
            extend(&mut sends, measured);
        }
        println!("  a message to one of them: {:.0} us", median(&sends));
    }
}

fn resident(path: &Path) {
    let store = store(path, Durability::ProcessEnd);
    let before = resident_kib();
    let start = Instant::now();
    let mut client = Client::open(store).unwrap();
    let opened = start.elapsed();
    let more = || resident_kib().saturating_sub(before);
    println!(
        "{} groups: opened in {:.1} ms, {} KiB resident more than the open store",
        client.groups().count(),
        opened.as_secs_f64() * 1000.0,
        more()
    );
    let now = Now { wall: 1_790_001_000_000, mono: 0 };
    let mut asked = 0;
    while client.poll_request(now).unwrap().is_some() {
        asked += 1;
    }
    println!("  and {asked} requests made: {} KiB more", more());
}

fn extend(all: &mut Measured, measured: Measured) {
    all.bytes += measured.bytes;
    all.nanoseconds.extend(measured.nanoseconds);
}

/// Microseconds.
fn median(measured: &Measured) -> f64 {
    let mut sorted = measured.nanoseconds.clone();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).map_or(0.0, |nanoseconds| *nanoseconds as f64 / 1000.0)
}

fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
