//! State that survives: managers in stores that are dropped and opened, and stores that fail.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::common;

use std::{
    sync::{Arc, Barrier, Mutex},
    thread,
};

use cc_aes_layer::AesLayer;
use cc_core::{
    SecretBytes,
    store::{Batch, Change as RecordChange, Failure, MemoryStore, Scope, Store, StoreError},
};
use cc_dh_layer::DhLayer;
use cc_manager::{
    CascadingCipherManager, Catalog, Error, Incoming, IncomingWelcome, Kind, LayerErrorKind,
    MessageId, Recipients, Standing,
};
use cc_mls_layer::MlsLayer;
use common::{Follow as _, Tripwire, full};

mod changes;
mod faults;
mod handles;
mod layers;
mod mailboxes;
mod opening;

type Shared = Arc<Mutex<MemoryStore>>;

const NAME: &str = "friends";

fn catalog() -> Catalog {
    Catalog::new().with::<AesLayer>().with::<DhLayer>().with::<MlsLayer>()
}

/// A member and the store it is in.
struct Person {
    manager: CascadingCipherManager,
    store: Shared,
}

impl Person {
    fn new(name: &str, founder: bool) -> Self {
        let store = Shared::default();
        let manager = full(name, founder).create(Arc::clone(&store), NAME).unwrap();
        Self { manager, store }
    }

    /// The program ends, and starts again.
    fn restart(&mut self) {
        self.store = self.copy();
        self.manager = self.opened();
    }

    fn opened(&self) -> CascadingCipherManager {
        CascadingCipherManager::open(Arc::clone(&self.store), NAME, &catalog()).unwrap()
    }

    fn commits(&self) -> u64 {
        self.store.lock().unwrap().commits()
    }

    fn fail_after(&self, successes: u64, failure: Failure) {
        self.store.lock().unwrap().fail_after(successes, failure);
    }

    fn copy(&self) -> Shared {
        Arc::new(Mutex::new(self.store.lock().unwrap().reopened()))
    }

    fn texts(&mut self) -> Vec<String> {
        let inbox = self.manager.inbox().unwrap();
        inbox.iter().map(|message| message.as_str().unwrap().to_string()).collect()
    }
}

/// Alice, who founded the group, Bob and Charlie.
fn three() -> [Person; 3] {
    let mut alice = Person::new("Alice", true);
    let [mut bob, mut charlie] = ["Bob", "Charlie"].map(|name| Person::new(name, false));
    let packages = [&mut bob, &mut charlie].map(|joiner| joiner.manager.key_package().unwrap());
    let change = alice.manager.add_members(packages).unwrap();
    let welcome = alice.manager.confirm(change.id()).unwrap().welcome.unwrap();
    for joiner in [&mut bob, &mut charlie] {
        joiner.manager.join(&welcome).unwrap();
    }
    alice.manager.sent([&welcome]).unwrap();
    [alice, bob, charlie]
}

fn all_read_all(people: &mut [Person]) {
    for sender in 0..people.len() {
        let text = format!("from {sender}");
        let wire = people[sender].manager.encrypt(&text).unwrap();
        people[sender].manager.sent([&wire]).unwrap();
        for receiver in (0..people.len()).filter(|receiver| *receiver != sender) {
            let message = people[receiver].manager.decrypt(&wire).unwrap();
            assert_eq!(message, text);
            people[receiver].manager.acknowledge(message.id()).unwrap();
        }
    }
}

#[test]
fn a_group_lives_on_over_restarts() {
    let mut people = three();
    all_read_all(&mut people);
    people.iter_mut().for_each(Person::restart);
    all_read_all(&mut people);
    let [alice, bob, charlie] = &mut people;
    let change = bob.manager.update().unwrap();
    bob.manager.confirm(change.id()).unwrap();
    alice.manager.process(&change.commit).unwrap();
    charlie.restart();
    charlie.manager.process(&change.commit).unwrap();
    people.iter_mut().for_each(Person::restart);
    all_read_all(&mut people);
    for person in &people {
        assert_eq!(person.manager.epoch(), Some(2));
        assert_eq!(person.manager.members().len(), 3);
    }
}
