//! A thief with a copy of a member's store, in stacks with a Signal group in them, with MLS above it and
//! without. It opens the copy as the member does, is shown all traffic, and never sends.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::common;

use std::sync::{Arc, Mutex};

use cc_aes_layer::{AesKey, AesLayer};
use cc_core::store::MemoryStore;
use cc_dh_layer::DhLayer;
use cc_manager::{CascadingCipherManager, Catalog, Change};
use cc_mls_layer::MlsLayer;
use cc_signal_layer::{Account, SignalLayer};
use common::{Follow as _, dh, mls};

type Shared = Arc<Mutex<MemoryStore>>;

const NAME: &str = "friends";

struct Person {
    manager: CascadingCipherManager,
    store: Shared,
}

impl Person {
    /// Signal alone above a shared AES key, or four layers.
    fn new(name: &str, founder: bool, with_mls: bool) -> Self {
        let store = Shared::default();
        let key = AesKey::copy_from(&[7; 32]).unwrap();
        let builder = CascadingCipherManager::builder().layer(AesLayer::new(key));
        let signal = SignalLayer::group(Account::generate().unwrap());
        let builder = if with_mls {
            builder.layer(dh()).layer(signal).layer(mls(name, founder))
        } else {
            builder.layer(signal)
        };
        let manager = builder.create(Arc::clone(&store), NAME).unwrap();
        Self { manager, store }
    }

    /// A manager on a copy of the store.
    fn stolen(&self) -> CascadingCipherManager {
        let store = Arc::new(Mutex::new(self.store.lock().unwrap().reopened()));
        let catalog = Catalog::new()
            .with::<AesLayer>()
            .with::<DhLayer>()
            .with::<MlsLayer>()
            .with::<SignalLayer>();
        CascadingCipherManager::open(store, NAME, &catalog).unwrap()
    }
}

/// Alice founded the group, Bob and Charlie joined.
fn three(with_mls: bool) -> Vec<Person> {
    let mut people: Vec<_> =
        ["Alice", "Bob", "Charlie"].map(|name| Person::new(name, name == "Alice", with_mls)).into();
    let bundles: Vec<_> =
        people[1..].iter_mut().map(|person| person.manager.key_package().unwrap()).collect();
    let change = people[0].manager.add_members(bundles).unwrap();
    let welcome = people[0].manager.confirm(change.id()).unwrap().welcome.unwrap();
    for person in &mut people[1..] {
        person.manager.join(&welcome).unwrap();
    }
    people
}

/// Everybody sends once and reads the others.
fn talk(people: &mut [Person]) -> Vec<Vec<u8>> {
    let mut wires = Vec::new();
    for sender in 0..people.len() {
        let wire = people[sender].manager.encrypt("secret").unwrap();
        for reader in (0..people.len()).filter(|reader| *reader != sender) {
            assert_eq!(people[reader].manager.decrypt(&wire).unwrap(), "secret");
        }
        wires.push(wire);
    }
    wires
}

/// The others follow a change; gives its commit.
fn settle(people: &mut [Person], by: usize, change: &Change) -> Vec<u8> {
    for (n, person) in people.iter_mut().enumerate() {
        if n == by {
            person.manager.confirm(change.id()).unwrap();
        } else {
            person.manager.process(&change.commit).unwrap();
        }
    }
    change.commit.clone()
}

fn opened(thief: &mut CascadingCipherManager, wires: &[Vec<u8>]) -> usize {
    wires.iter().filter(|wire| thief.decrypt(wire).is_ok()).count()
}

#[test]
fn what_was_read_stays_closed_and_an_update_heals() {
    for with_mls in [false, true] {
        let mut people = three(with_mls);
        let read = talk(&mut people);
        let mut thief = people[1].stolen();
        // The MLS layer keeps ratchets until its next checkpoint; Signal below it does not.
        assert_eq!(opened(&mut thief, &read), 0);
        assert_eq!(opened(&mut thief, &talk(&mut people)), 2, "all but Bob's own");

        let update = people[1].manager.update().unwrap();
        let commit = settle(&mut people, 1, &update);
        assert!(thief.process(&commit).is_err());
        assert_eq!(opened(&mut thief, &talk(&mut people)), 0);
        for by in [0, 1, 1, 2] {
            let update = people[by].manager.update().unwrap();
            let commit = settle(&mut people, by, &update);
            assert!(thief.process(&commit).is_err());
            assert_eq!(opened(&mut thief, &talk(&mut people)), 0);
        }
    }
}

#[test]
fn a_removal_keeps_the_removed_and_their_thieves_out() {
    for with_mls in [false, true] {
        let mut people = three(with_mls);
        talk(&mut people);
        let mut thief = people[2].stolen();
        let gone = people[2].manager.member_id().unwrap();
        let removal = people[0].manager.remove_members([gone]).unwrap();
        settle(&mut people, 0, &removal);
        let mut removed = people.pop().unwrap();
        let wires = talk(&mut people);
        assert_eq!(opened(&mut thief, &wires), 0);
        assert_eq!(opened(&mut removed.manager, &wires), 0);
    }
}

#[test]
fn all_members_compare_one_authenticator() {
    for with_mls in [false, true] {
        let mut people = three(with_mls);
        let mut before = None;
        for by in [0, 1] {
            let update = people[by].manager.update().unwrap();
            settle(&mut people, by, &update);
            let all: Vec<_> =
                people.iter().map(|person| person.manager.epoch_authenticator()).collect();
            assert!(all[0].is_some() && all.iter().all(|one| *one == all[0]));
            assert_ne!(all[0], before);
            before = all[0];
        }
    }
}
