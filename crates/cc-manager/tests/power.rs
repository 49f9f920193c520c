//! Two members on machines that lose power while they talk. What one has handed out or read is so after
//! each loss, and everything else can be done again.
//!
//! SQLite's file system is the one of the store's own tests, for this whole program. `CC_FAULTS_SEED` and
//! `CC_FAULTS_ROUNDS` are as there.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;
#[path = "../../cc-store-sqlite/tests/faults/disk.rs"]
mod disk;
#[path = "../../cc-store-sqlite/tests/faults/random.rs"]
mod random;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex},
};

use cc_aes_layer::AesLayer;
use cc_core::{
    LayerErrorKind, Secret,
    key_use::{self, KeyUse},
    store::Batch,
};
use cc_dh_layer::DhLayer;
use cc_manager::{CascadingCipherManager, Catalog, Error, MessageId};
use cc_mls_layer::MlsLayer;
use cc_store_sqlite::{Credential, SqliteStore};
use common::{Follow as _, full, observed::Observed};
use disk::{Disk, Failure, Fault};
use random::{Random, seeds};

const NAME: &str = "chat";
/// What the two do in one round.
const STEPS: usize = 60;

#[test]
fn members_that_lose_power_go_on() {
    talk(40, false);
}

/// What a process finds after the one before it ended, it acts on. Then the power goes.
#[test]
fn members_that_crash_and_lose_power_go_on() {
    talk(40, true);
}

fn talk(rounds: usize, crashes: bool) {
    let disk = Disk::take();
    let mut cuts = 0;
    for seed in seeds(rounds) {
        println!("CC_FAULTS_SEED={seed}");
        let mut world = World::new(&disk, seed, crashes);
        for _ in 0..STEPS {
            world.step();
        }
        world.end();
        cuts += world.cuts;
    }
    println!("{cuts} cuts");
    assert!(cuts > 0);
}

/// The delivery service, which loses nothing, and the two.
struct World<'a> {
    disk: &'a Disk,
    random: Random,
    people: [Person; 2],
    log: Vec<Entry>,
    /// The keys and nonces of all that was handed out.
    uses: BTreeSet<KeyUse>,
    texts: usize,
    cuts: usize,
    /// There is no trouble any more.
    calm: bool,
    /// The trouble is the end of the power, not only an error.
    lasting: bool,
    /// Half of the times it is only the process that ends.
    crashes: bool,
}

struct Entry {
    author: usize,
    wire: Vec<u8>,
    /// None for a commit.
    text: Option<String>,
}

struct Person {
    directory: tempfile::TempDir,
    /// None while the machine is off.
    running: Option<Running>,
    /// The next entry of the log to read.
    cursor: usize,
    /// What the application has seen.
    read: BTreeMap<MessageId, String>,
    /// Of the store, when something last came of it.
    generation: u64,
}

struct Running {
    manager: CascadingCipherManager,
    store: Arc<Mutex<SqliteStore>>,
    committed: Uses,
}

impl Running {
    fn new(
        store: SqliteStore,
        manager: impl FnOnce(Watched) -> Result<CascadingCipherManager, Error>,
    ) -> Result<Self, Error> {
        let (store, committed) = (Arc::new(Mutex::new(store)), Uses::default());
        let uses = Arc::clone(&committed);
        let observe = Box::new(move |_: &Batch| {
            uses.lock().unwrap().extend(key_use::take());
            key_use::start();
        });
        let watched = Observed { store: Arc::clone(&store), observe };
        Ok(Self { manager: manager(watched)?, store, committed })
    }
}

/// Under what something was sealed, in the order of the commits that it came with.
type Uses = Arc<Mutex<Vec<KeyUse>>>;

/// A store whose observer takes down what was sealed before each commit. What is sealed after one that failed is to
/// bring a layer back to where it was, and is thrown away.
type Watched = Observed<Arc<Mutex<SqliteStore>>>;

impl World<'_> {
    fn new(disk: &Disk, seed: u64, crashes: bool) -> World<'_> {
        disk.reset();
        let mut people = [("Alice", true), ("Bob", false)].map(|(name, founder)| {
            let directory = tempfile::tempdir().unwrap();
            let store = SqliteStore::create(path(&directory), credential()).unwrap();
            let running = Running::new(store, |store| full(name, founder).create(store, NAME));
            let running = Some(running.unwrap());
            Person { directory, running, cursor: 0, read: BTreeMap::new(), generation: 0 }
        });
        let [alice, bob] = people.each_mut().map(|one| &mut one.running.as_mut().unwrap().manager);
        let change = alice.add_members([bob.key_package().unwrap()]).unwrap();
        let welcome = alice.confirm(change.id()).unwrap().welcome.unwrap();
        bob.join(&welcome).unwrap();
        alice.sent([&welcome]).unwrap();
        World {
            disk,
            random: Random(seed),
            people,
            log: Vec::new(),
            uses: BTreeSet::new(),
            texts: 0,
            cuts: 0,
            calm: false,
            lasting: false,
            crashes,
        }
    }

    fn step(&mut self) {
        let who = self.random.below(2);
        match self.random.below(8) {
            0 => self.update(who),
            1 => self.restart(who),
            2 => self.read_again(who),
            3 => self.read(who),
            _ => self.talk(who),
        }
    }

    /// Each has read all that the other said, once, and they go on without trouble.
    fn end(&mut self) {
        self.calm = true;
        for who in [0, 1, 0, 1] {
            self.talk(who);
            self.read(1 - who);
        }
        for who in 0..2 {
            self.restart(who);
            let said = self.log.iter().filter(|entry| entry.author != who);
            let said: Vec<_> = said.filter_map(|entry| entry.text.as_ref()).collect();
            assert!(self.people[who].read.values().eq(said), "by number, in the order of the log");
            let running = self.people[who].running.as_mut().unwrap();
            assert!(running.manager.outbox().unwrap().is_empty());
            assert!(running.manager.inbox().unwrap().is_empty());
            assert!(running.manager.staged_change().is_none());
            running.store.lock().unwrap().verify().unwrap();
        }
    }

    fn talk(&mut self, who: usize) {
        self.read(who);
        let text = format!("text {}", self.texts);
        self.texts += 1;
        loop {
            let (result, uses) = self.act(who, |manager| manager.encrypt(&text));
            let made = match result {
                Some(wire) => Some(wire),
                // It is in the outbox, or it was never made.
                None => self.ask(who, |manager| manager.outbox()).pop().map(|entry| entry.bytes),
            };
            if let Some(wire) = made {
                self.hand_out(uses);
                self.log.push(Entry { author: who, wire: wire.clone(), text: Some(text) });
                while self.act(who, |manager| manager.sent([&wire])).0.is_none() {
                    if self.ask(who, |manager| manager.outbox()).is_empty() {
                        return;
                    }
                }
                return;
            }
        }
    }

    fn update(&mut self, who: usize) {
        self.read(who);
        let (commit, id) = loop {
            let (_, uses) = self.act(who, |manager| manager.update());
            let staged = |manager: &mut CascadingCipherManager| {
                Ok(manager.staged_change().map(|change| (change.commit.clone(), change.id())))
            };
            if let Some(change) = self.ask(who, staged) {
                self.hand_out(uses);
                break change;
            }
        };
        self.log.push(Entry { author: who, wire: commit, text: None });
        let before = self.ask(who, |manager| Ok(manager.epoch()));
        while self.act(who, |manager| manager.confirm(id)).0.is_none() {
            if self.ask(who, |manager| Ok(manager.epoch())) != before {
                break;
            }
        }
    }

    /// Reads all that is new.
    fn read(&mut self, who: usize) {
        while let Some(entry) = self.log.get(self.people[who].cursor) {
            let (wire, text, author) = (entry.wire.clone(), entry.text.clone(), entry.author);
            if author != who {
                match text {
                    Some(text) => self.read_text(who, &wire, &text),
                    None => self.read_commit(who, &wire),
                }
            }
            self.people[who].cursor += 1;
        }
    }

    fn read_text(&mut self, who: usize, wire: &[u8], text: &str) {
        let id = loop {
            let decrypt = |manager: &mut CascadingCipherManager| {
                let message = manager.decrypt(wire)?;
                Ok((message.id().unwrap(), message.as_str().unwrap().to_string()))
            };
            let read = match self.act(who, decrypt).0 {
                Some(read) => Some(read),
                None => self.ask(who, unread).pop(),
            };
            if let Some((id, found)) = read {
                assert_eq!(found, text);
                break id;
            }
        };
        let before = self.people[who].read.insert(id, text.to_string());
        assert!(before.is_none(), "{text} under a number that was there");
        while self.act(who, |manager| manager.acknowledge([id])).0.is_none() {
            if self.ask(who, unread).is_empty() {
                return;
            }
        }
    }

    fn read_commit(&mut self, who: usize, wire: &[u8]) {
        let before = self.ask(who, |manager| Ok(manager.epoch()));
        while self.act(who, |manager| manager.receive(wire)).0.is_none() {
            if self.ask(who, |manager| Ok(manager.epoch())) != before {
                return;
            }
        }
    }

    /// The service delivers something a second time.
    fn read_again(&mut self, who: usize) {
        let before = &self.log[..self.people[who].cursor];
        let entry = before.iter().rfind(|entry| entry.author != who && entry.text.is_some());
        let Some(entry) = entry else { return };
        let wire = entry.wire.clone();
        let refused = self.act(who, |manager| match manager.decrypt(&wire) {
            Err(error) if error.is_rejected() => Ok(()),
            Err(error) => Err(error),
            Ok(_) => panic!("a message was read twice"),
        });
        drop(refused);
    }

    /// Closes the store and opens it again.
    fn restart(&mut self, who: usize) {
        self.trouble(40);
        self.people[who].running = None;
        if self.disk.struck().is_some() && self.lasting {
            self.power_goes(who);
        }
        self.start(who);
    }

    /// Has `who` do something: none where the disk failed or the power went before it was done, and then
    /// what was sealed counts if it turns up afterwards.
    fn act<T>(
        &mut self,
        who: usize,
        act: impl Fn(&mut CascadingCipherManager) -> Result<T, Error>,
    ) -> (Option<T>, Vec<KeyUse>) {
        self.start(who);
        self.trouble(24);
        let running = self.people[who].running.as_mut().unwrap();
        running.committed.lock().unwrap().clear();
        key_use::start();
        let result = act(&mut running.manager);
        let sealed = key_use::take();
        let mut uses = std::mem::take(&mut *running.committed.lock().unwrap());
        if result.is_ok() {
            uses.extend(sealed);
            self.people[who].generation = running.store.lock().unwrap().generation();
        }
        let struck = self.disk.struck().is_some();
        let doubt = matches!(&result, Err(Error::Store(error)) if error.is_in_doubt());
        if struck && (self.lasting || doubt) {
            self.power_goes(who);
        }
        self.disk.heal();
        match result {
            Ok(value) => (Some(value), uses),
            Err(error) if struck && failed_to_store(&error) => (None, uses),
            Err(error) => panic!("{error}"),
        }
    }

    /// What `who` has, after a restart if it needs one.
    fn ask<T>(
        &mut self,
        who: usize,
        ask: impl Fn(&mut CascadingCipherManager) -> Result<T, Error>,
    ) -> T {
        self.start(who);
        ask(&mut self.people[who].running.as_mut().unwrap().manager).unwrap()
    }

    /// Something that was sealed under these leaves the machine.
    fn hand_out(&mut self, uses: Vec<KeyUse>) {
        assert!(!uses.is_empty());
        for one in uses {
            assert!(self.uses.insert(one), "{} used a key and nonce twice", one.what());
        }
    }

    /// Turns the machine on, if it is off, as often as it takes.
    fn start(&mut self, who: usize) {
        while self.people[who].running.is_none() {
            self.trouble(60);
            let person = &mut self.people[who];
            let started = SqliteStore::open(path(&person.directory), credential())
                .map_err(Error::from)
                .and_then(|store| {
                    let generation = store.generation();
                    assert!(generation >= person.generation, "a commit is missing");
                    let catalog =
                        Catalog::new().with::<AesLayer>().with::<DhLayer>().with::<MlsLayer>();
                    Running::new(store, |store| CascadingCipherManager::open(store, NAME, &catalog))
                });
            match started {
                Ok(running) => person.running = Some(running),
                Err(error) if self.disk.struck().is_some() && failed_to_store(&error) => {}
                Err(error) => panic!("{error}"),
            }
            if self.disk.struck().is_some() && self.lasting {
                self.power_goes(who);
            }
            self.disk.heal();
        }
    }

    fn power_goes(&mut self, who: usize) {
        self.cuts += 1;
        let person = &mut self.people[who];
        person.running = None;
        if self.crashes && self.random.below(2) == 0 {
            return self.disk.plan(None);
        }
        let directory = person.directory.path().canonicalize().unwrap();
        self.disk.power_cut(&directory, &mut self.random);
    }

    /// Now and then one of the next operations of the disk is to fail, or the power to go there.
    fn trouble(&mut self, within: usize) {
        if self.calm || self.random.below(3) > 0 {
            return self.disk.plan(None);
        }
        const FAILURES: [Failure; 4] =
            [Failure::Nothing, Failure::Half, Failure::Done, Failure::Full];
        self.lasting = self.random.below(3) > 0;
        let failure = FAILURES[self.random.below(if self.lasting { 3 } else { 4 })];
        let at = self.random.below(within);
        self.disk.plan(Some(Fault { at, failure, lasting: self.lasting }));
    }
}

fn failed_to_store(error: &Error) -> bool {
    match error {
        Error::Store(_) => true,
        Error::Layer { source, .. } => source.kind() == LayerErrorKind::Storage,
        _ => false,
    }
}

fn unread(manager: &mut CascadingCipherManager) -> Result<Vec<(MessageId, String)>, Error> {
    let messages = manager.inbox()?;
    let unread = |message: &cc_manager::Message| {
        (message.id().unwrap(), message.as_str().unwrap().to_string())
    };
    Ok(messages.iter().map(unread).collect())
}

fn path(directory: &tempfile::TempDir) -> PathBuf {
    directory.path().join("store.sqlite")
}

fn credential() -> Credential {
    Credential::key(Secret::copy_from(&[1; 32]).unwrap())
}
