//! The client beside the manager that it drives, both on `cc-store-sqlite`, and a client in many groups.
//!
//! `cargo bench -p cc-benches --bench client`. Behind `--`: `messages`, `catching-up` or `groups` for a part.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "a benchmark fails by panicking"
)]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command as Process,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use cc_aes_layer::AesLayer;
use cc_client::{
    Client, Command, EventId, GroupId, Input, MemoryService, Now, OperationId, Page, Position,
    Profile, Recipe, turn,
};
use cc_core::{
    Secret, SecretBytes,
    store::{Batch, Scope, Store as _},
};
use cc_dh_layer::{Curve, DhKeyPair, DhLayer};
use cc_manager::{CascadingCipherManager, Incoming, ManagerBuilder};
use cc_mls_layer::{MlsIdentity, MlsLayer};
use cc_store_sqlite::{Credential, Durability, SqliteStore};

use apart::{Apart, Costs};

mod apart;
#[allow(dead_code, reason = "the durations are measured otherwise here")]
mod measure;

const TEXT: [u8; 100] = [7; 100];
/// Turns that are measured, and before that those in which the write-ahead log grows to its size.
const TURNS: usize = 15;
const FIRST_TURNS: usize = 3;
/// Messages of a turn: as many as come between two folds of the store's journal, at either.
const MESSAGES: usize = 200;
/// Messages of one call, and calls of a turn.
const BATCH: usize = 64;
const BATCHES: usize = 10;

const MISSED: usize = 10_000;
const MISSED_COMMITS: usize = 20;
/// Runs of catching up.
const RUNS: usize = 5;

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
        self.pass();
    }

    fn pass(&mut self) {
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

/// A store that the program shares with its manager.
type Shared = Arc<Mutex<SqliteStore>>;

/// Two in one group, and the store of the first.
fn managers(directory: &Path, durability: Durability) -> ([CascadingCipherManager; 2], Shared) {
    let at = |name: &str| store(&directory.join(name), durability);
    let shared = Arc::new(Mutex::new(at("founder")));
    let mut founder = stack("0", true).create(Arc::clone(&shared), "group").unwrap();
    let mut other = stack("1", false).create(at("other"), "group").unwrap();
    let change = founder.add_members([other.key_package().unwrap()]).unwrap();
    let welcome = founder.confirm(change.id()).unwrap().welcome.unwrap();
    founder.sent([&welcome]).unwrap();
    other.receive_welcome(&welcome).unwrap();
    ([founder, other], shared)
}

fn id() -> OperationId {
    OperationId::random().unwrap()
}

/// Two who talk, once as managers and once as clients.
struct Talk {
    founder: CascadingCipherManager,
    other: CascadingCipherManager,
    service: MemoryService,
    alice: Person,
    bob: Person,
    group: GroupId,
    manager: [Costs; 4],
    client: [Costs; 4],
    /// Another manager, whose program reads the echo of what it sends, and keeps a cursor and the id in the same store.
    noting: (CascadingCipherManager, Shared),
    noted: Costs,
    /// Of a send, until the message may go out.
    sealed: [Vec<Duration>; 2],
}

impl Talk {
    fn new(directory: &Path, durability: Durability) -> Self {
        fs::create_dir_all(directory).unwrap();
        let ([founder, other], _) = managers(directory, durability);
        let program = directory.join("program");
        fs::create_dir_all(&program).unwrap();
        let ([noting, _], shared) = managers(&program, durability);
        let noting = (noting, shared);
        let mut service = MemoryService::new();
        let mut alice = Person::new("Alice", &directory.join("alice"), durability);
        let mut bob = Person::new("Bob", &directory.join("bob"), durability);
        let group = group_of(&mut alice, &mut bob, &mut service);
        // Told of what is new, as by a push, and not asking every second.
        for person in [&mut alice, &mut bob] {
            person.client.set_poll_interval(1 << 40);
            person.turn(&mut service);
        }
        let (manager, client, noted, sealed) = Default::default();
        Self { founder, other, service, alice, bob, group, manager, client, noting, noted, sealed }
    }

    fn managers_turn(&mut self) {
        let Self { founder, other, noting: (noting, shared), noted, .. } = self;
        let [send, receive, send_many, receive_many] = &mut self.manager;
        let (mut wires, mut sealed) = (Vec::new(), Duration::ZERO);
        send.round(MESSAGES, || {
            for _ in 0..MESSAGES {
                let start = Instant::now();
                let wire = founder.encrypt(TEXT).unwrap();
                sealed += start.elapsed();
                founder.sent([&wire]).unwrap();
                wires.push(wire);
            }
            Duration::ZERO
        });
        self.sealed[0].push(sealed / MESSAGES as u32);
        receive.round(MESSAGES, || {
            for wire in &wires {
                let Incoming::Message(message) = other.receive(wire).unwrap() else { panic!() };
                other.acknowledge(message.id()).unwrap();
            }
            Duration::ZERO
        });
        let mut batches = Vec::new();
        send_many.round(BATCH * BATCHES, || {
            for _ in 0..BATCHES {
                let wires = founder.encrypt_all([TEXT; BATCH]).unwrap();
                founder.sent(&wires).unwrap();
                batches.push(wires);
            }
            Duration::ZERO
        });
        receive_many.round(BATCH * BATCHES, || {
            for wires in &batches {
                let received = other.receive_all(wires).unwrap();
                let messages = received.into_iter().map(|it| it.unwrap().into_message().unwrap());
                let ids: Vec<_> = messages.filter_map(|message| message.id()).collect();
                other.acknowledge(ids).unwrap();
            }
            Duration::ZERO
        });
        noted.round(MESSAGES, || {
            for position in 0..MESSAGES as u64 {
                let wire = noting.encrypt(TEXT).unwrap();
                noting.sent([&wire]).unwrap();
                assert!(matches!(noting.receive(&wire).unwrap(), Incoming::Own { .. }));
                let known = [&position.to_be_bytes()[..], id().as_bytes()].concat();
                let mut batch = Batch::new();
                batch.put(&Scope::new("program"), "log", SecretBytes::new(known));
                shared.lock().unwrap().commit(&batch).unwrap();
            }
            Duration::ZERO
        });
    }

    fn clients_turn(&mut self) {
        let Self { alice, bob, group, service, .. } = self;
        let [send, receive, send_many, receive_many] = &mut self.client;
        let mut apart = Apart::new(service);
        send.round(MESSAGES, || {
            for _ in 0..MESSAGES {
                apart.given = Instant::now();
                alice.client.send_now(&mut apart, alice.now, *group, TEXT).unwrap();
                alice.pass();
            }
            assert_eq!(alice.acknowledge(), MESSAGES);
            apart.spent
        });
        self.sealed[1].push(apart.until_handed_out / MESSAGES as u32);
        let pages = pushed(bob, service, group, 1);
        receive.round(MESSAGES, || {
            for page in pages {
                let _ledger = bob.client.handle(bob.now, page).unwrap();
                assert_eq!(bob.acknowledge(), 1);
            }
            Duration::ZERO
        });
        let mut apart = Apart::new(service);
        send_many.round(BATCH * BATCHES, || {
            for _ in 0..BATCHES {
                let send = || Command::Send { group: *group, content: TEXT.to_vec() };
                let commands = (0..BATCH).map(|_| (id(), send()));
                let request = alice.client.submit_all_and_poll(alice.now, commands).unwrap();
                let request = request.unwrap();
                let result = request.perform(&mut apart);
                let input = Input::Response { id: request.id, result };
                let _ledger = alice.client.handle(alice.now, input).unwrap();
                turn(&mut alice.client, &mut apart, alice.now).unwrap();
                alice.pass();
                assert_eq!(alice.acknowledge(), BATCH);
            }
            apart.spent
        });
        let pages = pushed(bob, service, group, BATCH);
        receive_many.round(BATCH * BATCHES, || {
            for page in pages {
                let _ledger = bob.client.handle(bob.now, page).unwrap();
                assert_eq!(bob.acknowledge(), BATCH);
            }
            Duration::ZERO
        });
    }

    fn report(&self, durability: &str) {
        let line = |what: &str, manager: &[Duration], client: &[Duration]| {
            let ratios = manager.iter().zip(client);
            let mut ratios: Vec<_> =
                ratios.map(|(one, other)| other.as_secs_f64() / one.as_secs_f64()).collect();
            ratios.sort_by(f64::total_cmp);
            let [manager, client] = [manager, client].map(median_of);
            let table = format!("client/{durability}");
            cc_benches::time(&table, what, "client", client);
            cc_benches::time(&table, what, "manager", manager);
            println!(
                "  {what}: manager {:.1} us, client {:.1} us, ratio {:.2} ({:.2} to {:.2})",
                manager.as_secs_f64() * 1e6,
                client.as_secs_f64() * 1e6,
                ratios[ratios.len() / 2],
                ratios[ratios.len() / 4],
                ratios[ratios.len() * 3 / 4],
            );
        };
        let whats = ["send", "receive", "send 64 in one call", "receive 64 in one call"];
        for ((what, manager), client) in whats.into_iter().zip(&self.manager).zip(&self.client) {
            line(what, &manager.wall, &client.wall);
            line(&format!("{what}, processor"), &manager.processor, &client.processor);
            let [manager, client] = [manager, client]
                .map(|costs| costs.bytes.iter().sum::<u64>() / costs.bytes.len() as u64);
            println!("    bytes written: manager {manager}, client {client}");
            if what == "send" {
                line("send, until it may go out", &self.sealed[0], &self.sealed[1]);
                let what = "send, echo read, cursor and id kept";
                line(what, &self.noted.wall, &self.client[0].wall);
            }
        }
    }
}

/// Messages in a row, by the managers and by the clients in turn: from the call that sends one until it is
/// done with, which for a manager is that it is out of the outbox, and for a client that its echo was read
/// and the program told; and from what came until the program is done with it.
fn messages(directory: &Path) {
    for (name, durability) in [("FULL", Durability::PowerLoss), ("NORMAL", Durability::ProcessEnd)]
    {
        let mut talk = Talk::new(&directory.join(name), durability);
        for turn in 0..FIRST_TURNS + TURNS {
            if turn == FIRST_TURNS {
                (talk.manager, talk.client, talk.noted, talk.sealed) = Default::default();
            }
            if turn % 2 == 0 {
                talk.managers_turn();
                talk.clients_turn();
            } else {
                talk.clients_turn();
                talk.managers_turn();
            }
        }
        println!("{name}, each message: medians of {TURNS} rounds (quartiles of the ratio)");
        talk.report(name);
    }
}

/// What the service has behind what this person has read, as pushes of `count` items.
fn pushed(person: &Person, service: &MemoryService, group: &GroupId, count: usize) -> Vec<Input> {
    let cursor = person.client.group(group).unwrap().cursor;
    let items: Vec<_> = service.log(group).into_iter().filter(|it| it.position > cursor).collect();
    let pages = items.chunks(count).map(|items| {
        let (head, forgotten) = (items.last().unwrap().position, Position::START);
        Input::Page { log: *group, page: Page { items: items.to_vec(), head, forgotten } }
    });
    pages.collect()
}

/// Everything that was said and changed meanwhile: the median of several runs.
fn catching_up(directory: &Path) {
    let mut runs: Vec<_> =
        (0..RUNS).map(|run| catch_up(&directory.join(format!("catching-up {run}")))).collect();
    runs.sort_by(|one, other| one.2.total_cmp(&other.2));
    let (manager, client, ratio) = runs[RUNS / 2];
    let row = format!("catch up {MISSED} messages and {MISSED_COMMITS} commits");
    cc_benches::figure("client/FULL", &row, "client", "ns", client * 1e6);
    cc_benches::figure("client/FULL", &row, "manager", "ns", manager * 1e6);
    println!(
        "catching up {MISSED} messages and {MISSED_COMMITS} commits: manager {manager:.0} ms, client \
         {client:.0} ms, ratio {ratio:.2} ({:.2} to {:.2})",
        runs[0].2,
        runs[RUNS - 1].2
    );
}

/// Milliseconds of the manager and of the client, and their ratio.
fn catch_up(directory: &Path) -> (f64, f64, f64) {
    fs::create_dir_all(directory).unwrap();
    let durability = Durability::PowerLoss;
    let mut service = MemoryService::new();
    let mut alice = Person::new("Alice", &directory.join("alice"), durability);
    let mut bob = Person::new("Bob", &directory.join("bob"), durability);
    let group = group_of(&mut alice, &mut bob, &mut service);
    let ([mut founder, mut other], _) = managers(directory, durability);
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
    let (manager, client) = (manager.as_secs_f64() * 1000.0, client.as_secs_f64() * 1000.0);
    (manager, client, client / manager)
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
        let mut sends = Vec::new();
        for _ in 0..200 {
            let (mut apart, start) = (Apart::new(&service), Instant::now());
            alice.client.send_now(&mut apart, alice.now, group, TEXT).unwrap();
            sends.push(start.elapsed().saturating_sub(apart.spent));
            alice.pass();
        }
        println!("  a message to one of them: {:.0} us", median_of(&sends).as_secs_f64() * 1e6);
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

fn median_of(durations: &[Duration]) -> Duration {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
