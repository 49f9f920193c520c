//! Durable messages: the stack DH -> MLS -> AES in `cc-store-sqlite` beside openmls in
//! `openmls_sqlite_storage`, both in WAL mode: with `synchronous=FULL`, which waits for the disk, and, to see
//! what else there is, with `synchronous=NORMAL`, which does not.
//!
//! `cargo xtask bench store` builds `openmls-sqlite` and names it in `CC_BENCH_OPENMLS`; without that the
//! stack runs alone. Behind `--`: sizes of groups, if not all, or `idle` for the memory of idle groups.
//!
//! The durations of a size are of one run in which both take turns. A message that was opened lies in the
//! inbox, and one that was sealed in the outbox, which openmls does not have; telling that they are done
//! with is one commit for each turn, and not in the durations.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark fails by panicking")]

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    ops::ControlFlow,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use cc_aes_layer::AesLayer;
use cc_core::{
    Secret, SecretBytes,
    store::{Batch, Change, Scope, Store, StoreError},
};
use cc_dh_layer::{Curve, DhKeyPair, DhLayer};
use cc_manager::{CascadingCipherManager, Catalog, ManagerBuilder};
use cc_mls_layer::{MlsIdentity, MlsLayer};
use cc_store_sqlite::{Credential, Durability, SqliteStore};
use measure::Measured;

mod measure;

const TEXT: [u8; 100] = [7; 100];
const SIZES: [usize; 4] = [2, 100, 300, 1000];
/// Turns, and messages in each: enough for three of the MLS layer's checkpoints.
const TURNS: usize = 10;
const MESSAGES: usize = 20;
/// Turns before that: until the write-ahead logs have grown to the size at which SQLite begins again at
/// their front, for a write that makes a file longer takes about twice as long to reach the disk.
const FIRST_TURNS: usize = 26;
/// The stores of the two who talk.
const FILES: [&str; 2] = ["founder.sqlite", "other.sqlite"];
/// Messages of one call.
const BATCH: usize = 100;

const IDLE_GROUPS: usize = 1000;
const IDLE_SIZE: usize = 100;

fn main() {
    let arguments: Vec<_> = env::args().skip(1).filter(|it| it != "--bench").collect();
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["idle"] => idle(directory.path()),
        ["resident", directory] => resident(Path::new(directory)),
        [] => {
            messages(&SIZES, directory.path());
            idle(directory.path());
        }
        ref sizes => {
            let sizes: Vec<_> = sizes.iter().map(|size| size.parse().unwrap()).collect();
            messages(&sizes, directory.path());
        }
    }
}

fn messages(sizes: &[usize], directory: &Path) {
    println!("a commit of one small record: {:.0} us", commit(directory).median());
    let mut openmls = env::var("CC_BENCH_OPENMLS").ok().map(|program| Openmls::start(&program));
    for size in sizes {
        let directory = directory.join(size.to_string());
        let mut stack = Pair::new(*size, &directory);
        if let Some(openmls) = &mut openmls {
            openmls.ask(&format!("group {size} {}", directory.join("openmls").display()));
        }
        for (durability, synchronous) in
            [(Durability::PowerLoss, "FULL"), (Durability::ProcessEnd, "NORMAL")]
        {
            stack = stack.reopened(&directory, durability);
            if let Some(openmls) = &mut openmls {
                openmls.ask(&format!("synchronous {synchronous}"));
            }
            println!("{size} members, {synchronous}");
            compare(&mut stack, openmls.as_mut(), *size, synchronous);
        }
    }
}

/// Lets both take turns.
fn compare(stack: &mut Pair, mut openmls: Option<&mut Openmls>, size: usize, synchronous: &str) {
    let mut sums = <[Measured; 4]>::default();
    let mut recorded = [0; 2];
    for turn in 0..FIRST_TURNS + TURNS {
        if turn == FIRST_TURNS {
            sums = Default::default();
            recorded = [0; 2];
        }
        let [send, receive, their_send, their_receive] = &mut sums;
        let (measured, bytes) = stack.send(MESSAGES);
        send.extend(measured);
        recorded[0] += bytes;
        let (measured, bytes) = stack.receive(MESSAGES);
        receive.extend(measured);
        recorded[1] += bytes;
        if let Some(openmls) = openmls.as_mut() {
            their_send.extend(openmls.ask(&format!("send {MESSAGES}")));
            their_receive.extend(openmls.ask(&format!("receive {MESSAGES}")));
        }
    }
    let [send, receive, their_send, their_receive] = &sums;
    for (name, ours, theirs, recorded) in
        [("send", send, their_send, recorded[0]), ("receive", receive, their_receive, recorded[1])]
    {
        let table = format!("store/{name}, {synchronous}");
        for (series, measured) in [("stack", ours), ("openmls", theirs)] {
            if !measured.nanoseconds.is_empty() {
                let row = size.to_string();
                cc_benches::figure(&table, &row, series, "ns", measured.median() * 1000.0);
                let bytes = measured.bytes_each() as f64;
                cc_benches::figure(&format!("store/files, {name}"), &row, series, "B", bytes);
            }
        }
        let recorded = recorded / (TURNS * MESSAGES) as u64;
        println!(
            "  {name}: {:.0} us, openmls {:.0} us, ratio {:.2}; {recorded} bytes in records, {} \
                 bytes to files, openmls {}",
            ours.median(),
            theirs.median(),
            ours.median() / theirs.median(),
            ours.bytes_each(),
            theirs.bytes_each(),
        );
    }
    let [sealed, opened] = stack.batch();
    for (name, all, single) in [("send", sealed, send), ("receive", opened, receive)] {
        println!(
            "  {name}, {BATCH} in one call: {all:.0} us each, {:.1} times as many",
            single.median() / all
        );
    }
}

/// What the disk alone costs.
fn commit(directory: &Path) -> Measured {
    let mut store = create(&directory.join("commit.sqlite"));
    let scope = Scope::new("scope");
    let (measured, _) = measure::each(0..100u8, |i| {
        let mut batch = Batch::new();
        batch.put(&scope, "record", SecretBytes::new(vec![i; 100]));
        store.commit(&batch).unwrap();
    });
    measured
}

fn create(path: &Path) -> SqliteStore {
    SqliteStore::create(path, credential()).unwrap()
}

fn credential() -> Credential {
    Credential::key(Secret::copy_from(&[1; 32]).unwrap())
}

fn catalog() -> Catalog {
    Catalog::new().with::<DhLayer>().with::<MlsLayer>().with::<AesLayer>()
}

fn stack(name: &str, founder: bool) -> ManagerBuilder {
    let identity = MlsIdentity::generate(name).unwrap();
    let mls =
        if founder { MlsLayer::create("group", identity) } else { MlsLayer::member(identity) };
    CascadingCipherManager::builder()
        .layer(DhLayer::group(DhKeyPair::generate(Curve::X25519).unwrap()))
        .layer(mls.unwrap())
        .layer(AesLayer::inherited())
}

/// The founder and one other of a group in which every member has spoken, both with a store. The others
/// have their state in memory, say one thing, and are gone.
struct Pair {
    founder: CascadingCipherManager,
    other: CascadingCipherManager,
    /// Bytes of the keys and values that the founder wrote, and those of the other.
    written: [Arc<AtomicU64>; 2],
}

impl Pair {
    fn new(size: usize, directory: &Path) -> Self {
        fs::create_dir_all(directory).unwrap();
        let written = <[Arc<AtomicU64>; 2]>::default();
        let [first, second] = [0, 1].map(|i| Counted {
            store: create(&directory.join(FILES[i])),
            written: Arc::clone(&written[i]),
        });
        let mut founder = stack("0", true).create(first, "group").unwrap();
        let mut other = stack("1", false).create(second, "group").unwrap();
        let mut joiners: Vec<_> =
            (2..size).map(|i| stack(&i.to_string(), false).build().unwrap()).collect();
        let mut bundles = vec![other.key_package().unwrap()];
        bundles.extend(joiners.iter_mut().map(|joiner| joiner.key_package().unwrap()));
        let change = founder.add_members(bundles).unwrap();
        let welcome = founder.confirm(change.id()).unwrap().welcome.unwrap();
        other.receive_welcome(&welcome).unwrap();
        let mut hellos = vec![other.encrypt("hello").unwrap()];
        for mut joiner in joiners {
            joiner.receive_welcome(&welcome).unwrap();
            hellos.push(joiner.encrypt("hello").unwrap());
        }
        receive(&mut founder, &hellos);
        receive(&mut other, &hellos[1..]);
        other.sent(&hellos[..1]).unwrap();
        founder.sent([&welcome]).unwrap();
        let mut pair = Self { founder, other, written };
        pair.send(1);
        pair
    }

    fn reopened(self, directory: &Path, durability: Durability) -> Self {
        let Self { founder, other, written } = self;
        drop((founder, other));
        let options = SqliteStore::options().durability(durability);
        let [founder, other] = [0, 1].map(|i| {
            let store = options.open(directory.join(FILES[i]), credential()).unwrap();
            let store = Counted { store, written: Arc::clone(&written[i]) };
            CascadingCipherManager::open(store, "group", &catalog()).unwrap()
        });
        Self { founder, other, written }
    }

    /// What sending costs the founder, and the bytes that its records take.
    fn send(&mut self, count: usize) -> (Measured, u64) {
        let before = self.written[0].load(Ordering::Relaxed);
        let (measured, wires) = measure::each(0..count, |_| self.founder.encrypt(TEXT).unwrap());
        let written = self.written[0].load(Ordering::Relaxed) - before;
        self.founder.sent(&wires).unwrap();
        receive(&mut self.other, &wires);
        (measured, written)
    }

    /// What receiving costs the other one, and the bytes that its records take.
    fn receive(&mut self, count: usize) -> (Measured, u64) {
        let wires = self.founder.encrypt_all(vec![TEXT; count]).unwrap();
        self.founder.sent(&wires).unwrap();
        let before = self.written[1].load(Ordering::Relaxed);
        let (measured, messages) = measure::each(wires, |wire| self.other.decrypt(wire).unwrap());
        let written = self.written[1].load(Ordering::Relaxed) - before;
        self.other.acknowledge(messages.iter().filter_map(|message| message.id())).unwrap();
        (measured, written)
    }

    /// Microseconds for each of the messages of one call, sealed and opened.
    fn batch(&mut self) -> [f64; 2] {
        let (mut sealed, mut opened) = (Measured::default(), Measured::default());
        for _ in 0..TURNS {
            let (measured, mut wires) =
                measure::each([()], |()| self.founder.encrypt_all(vec![TEXT; BATCH]).unwrap());
            sealed.extend(measured);
            let wires = wires.remove(0);
            self.founder.sent(&wires).unwrap();
            let (measured, mut messages) =
                measure::each([()], |()| self.other.receive_all(&wires).unwrap());
            opened.extend(measured);
            let messages = messages.remove(0).into_iter();
            let messages = messages.map(|received| received.unwrap().into_message().unwrap());
            self.other.acknowledge(messages.filter_map(|message| message.id())).unwrap();
        }
        [sealed, opened].map(|measured| measured.median() / BATCH as f64)
    }
}

impl Measured {
    /// Adds more operations of the same kind.
    fn extend(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.nanoseconds.extend(other.nanoseconds);
    }

    /// The median time in microseconds; 0 of none.
    fn median(&self) -> f64 {
        let mut sorted = self.nanoseconds.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).map_or(0.0, |nanoseconds| *nanoseconds as f64 / 1000.0)
    }

    /// Bytes written for each operation.
    fn bytes_each(&self) -> u64 {
        self.bytes.checked_div(self.nanoseconds.len() as u64).unwrap_or(0)
    }
}

fn receive(member: &mut CascadingCipherManager, wires: &[Vec<u8>]) {
    let messages = member.receive_all(wires).unwrap().into_iter();
    let messages = messages.map(|received| received.unwrap().into_message().unwrap());
    member.acknowledge(messages.filter_map(|message| message.id())).unwrap();
}

/// A store that counts what it is given.
struct Counted {
    store: SqliteStore,
    written: Arc<AtomicU64>,
}

impl Store for Counted {
    fn get(&self, scope: &Scope, key: &[u8]) -> Result<Option<SecretBytes>, StoreError> {
        self.store.get(scope, key)
    }

    fn scan(
        &self,
        scope: &Scope,
        prefix: &[u8],
        visit: &mut dyn FnMut(&[u8], SecretBytes) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.store.scan(scope, prefix, visit)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let bytes: usize = batch
            .changes()
            .map(|(_, key, change)| match change {
                Change::Put(value) => key.len() + value.expose().len(),
                Change::Delete => key.len(),
            })
            .sum();
        self.written.fetch_add(bytes as u64, Ordering::Relaxed);
        self.store.commit(batch)
    }
}

/// The other program.
struct Openmls {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Openmls {
    fn start(program: &str) -> Self {
        let mut process =
            Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Self { input: process.stdin.take(), output, process }
    }

    fn ask(&mut self, line: &str) -> Measured {
        writeln!(self.input.as_ref().unwrap(), "{line}").unwrap();
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        assert!(answer.ends_with('\n'), "openmls stopped at: {line}");
        answer.parse().unwrap()
    }
}

impl Drop for Openmls {
    fn drop(&mut self) {
        // It ends at the end of its input.
        drop(self.input.take());
        let _ = self.process.wait();
    }
}

/// Makes many groups in one store, and lets another process that has seen none of it work with them.
fn idle(directory: &Path) {
    let path = directory.join("idle.sqlite");
    let store = Arc::new(Mutex::new(create(&path)));
    // The same people in every group: a founder does not know what others do with their key packages.
    let bundles: Vec<_> = (1..IDLE_SIZE)
        .map(|i| stack(&i.to_string(), false).build().unwrap().key_package().unwrap())
        .collect();
    for group in 0..IDLE_GROUPS {
        let mut founder = stack("0", true).create(Arc::clone(&store), &group.to_string()).unwrap();
        let change = founder.add_members(&bundles).unwrap();
        let welcome = founder.confirm(change.id()).unwrap().welcome.unwrap();
        founder.sent([&welcome]).unwrap();
    }
    drop(store);
    let bytes = fs::metadata(&path).unwrap().len();
    println!("{IDLE_GROUPS} groups of {IDLE_SIZE}: {} KB each in the file", bytes / 1000 / 1000);
    let status = Command::new(env::current_exe().unwrap())
        .args(["resident".as_ref(), path.as_os_str()])
        .status()
        .unwrap();
    assert!(status.success());
}

/// The memory of a process that works with idle groups, of which it holds one at a time, or all.
fn resident(path: &Path) {
    let catalog = catalog();
    let store = Arc::new(Mutex::new(SqliteStore::open(path, credential()).unwrap()));
    let open =
        |name: &String| CascadingCipherManager::open(Arc::clone(&store), name, &catalog).unwrap();
    println!("  the store is open: {}", memory());
    let names = CascadingCipherManager::stored(&Arc::clone(&store)).unwrap();
    assert_eq!(names.len(), IDLE_GROUPS);
    println!("  and the names are known: {}", memory());
    let (measured, _) = measure::each(&names, |name| {
        let mut group = open(name);
        let wire = group.encrypt(TEXT).unwrap();
        group.sent([wire]).unwrap();
    });
    println!(
        "  and a message went to every group in turn: {}, {:.0} us each to open, send and drop",
        memory(),
        measured.median()
    );
    let held: Vec<_> = names.iter().map(open).collect();
    println!("  and all {} are held: {}", held.len(), memory());
}

fn memory() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = |name| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    match (line("VmRSS:"), line("VmHWM:")) {
        (Some(now), Some(most)) => format!("{now} resident, {most} at most"),
        _ => "unknown".into(),
    }
}
