//! Secrets that the stack exports: all members of an epoch have the same one, and nobody else has it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::common;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use cc_aes_layer::{AesKey, AesLayer};
use cc_core::store::MemoryStore;
use cc_dh_layer::DhLayer;
use cc_manager::{CascadingCipherManager, Catalog, Change};
use cc_mls_layer::MlsLayer;
use cc_signal_layer::{Account, SignalLayer};
use common::{
    Follow as _, dh, mls,
    wrapped::{Wishes, Wrapped},
};

type Shared = Arc<Mutex<MemoryStore>>;

const NAME: &str = "friends";

/// Which group layers.
#[derive(Clone, Copy)]
struct Shape {
    dh: bool,
    signal: bool,
    mls: bool,
}

const SHAPES: [Shape; 4] = [
    Shape { dh: true, signal: false, mls: false },
    Shape { dh: false, signal: true, mls: false },
    Shape { dh: true, signal: false, mls: true },
    Shape { dh: true, signal: true, mls: true },
];

struct Person {
    manager: CascadingCipherManager,
    store: Shared,
}

impl Person {
    fn new(name: &str, founder: bool, shape: Shape) -> Self {
        let store = Shared::default();
        let key = AesKey::copy_from(&[7; 32]).unwrap();
        let mut builder = CascadingCipherManager::builder().layer(AesLayer::new(key));
        if shape.dh {
            builder = builder.layer(dh());
        }
        if shape.signal {
            builder = builder.layer(SignalLayer::group(Account::generate().unwrap()));
        }
        if shape.mls {
            builder = builder.layer(mls(name, founder));
        }
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

fn exported(manager: &CascadingCipherManager) -> Option<[u8; 32]> {
    manager.export_secret(b"test", b"context").unwrap().map(|secret| *secret.expose())
}

fn exported_next(manager: &CascadingCipherManager) -> Option<[u8; 32]> {
    manager.export_next_secret(b"test", b"context").unwrap().map(|secret| *secret.expose())
}

/// The secret that all of these have.
fn common_secret(people: &[Person]) -> [u8; 32] {
    let all: Vec<_> = people.iter().map(|person| exported(&person.manager).unwrap()).collect();
    assert!(all.iter().all(|secret| *secret == all[0]));
    all[0]
}

/// The others follow a change; gives the welcome.
fn settle(people: &mut [Person], by: usize, change: &Change) -> Option<Vec<u8>> {
    let next = exported_next(&people[by].manager).unwrap();
    let mut welcome = None;
    for (n, person) in people.iter_mut().enumerate() {
        if n == by {
            welcome = person.manager.confirm(change.id()).unwrap().welcome;
        } else {
            person.manager.process(&change.commit).unwrap();
        }
        assert_eq!(exported_next(&person.manager), None, "nothing is staged");
    }
    assert_eq!(exported(&people[by].manager), Some(next), "as it was foretold");
    welcome
}

/// Alice founded the group, Bob and Charlie joined.
fn three(shape: Shape) -> Vec<Person> {
    let mut people: Vec<_> =
        ["Alice", "Bob", "Charlie"].map(|name| Person::new(name, name == "Alice", shape)).into();
    let bundles: Vec<_> =
        people[1..].iter_mut().map(|person| person.manager.key_package().unwrap()).collect();
    assert_eq!(exported(&people[1].manager), None, "nobody has one outside a group");
    let change = people[0].manager.add_members(bundles).unwrap();
    let welcome = settle(&mut people[..1], 0, &change).unwrap();
    for person in &mut people[1..] {
        person.manager.join(&welcome).unwrap();
    }
    people
}

#[test]
fn all_members_have_one_and_the_committer_knows_the_next() {
    for shape in SHAPES {
        let mut people = three(shape);
        let first = common_secret(&people);
        // Messages leave it as it is, and so does a restart.
        for sender in 0..people.len() {
            let wire = people[sender].manager.encrypt("text").unwrap();
            for reader in (0..people.len()).filter(|reader| *reader != sender) {
                people[reader].manager.decrypt(&wire).unwrap();
            }
        }
        assert_eq!(common_secret(&people), first);
        assert_eq!(exported(&people[1].stolen()), Some(first));
        // Another use, another secret.
        let manager = &people[0].manager;
        let other = |label: &[u8], context: &[u8]| {
            *manager.export_secret(label, context).unwrap().unwrap().expose()
        };
        let others =
            [other(b"test", b"other"), other(b"other", b"context"), other(b"testc", b"ontext")];
        assert!(others.iter().all(|secret| *secret != first));

        let change = people[1].manager.update().unwrap();
        assert_eq!(common_secret(&people), first, "a staged change is not in force");
        // Discarded, and made anew: another next one.
        let discarded = exported_next(&people[1].manager).unwrap();
        assert_eq!(exported_next(&people[1].stolen()), Some(discarded), "after a restart too");
        people[1].manager.discard(change.id()).unwrap();
        assert_eq!(exported_next(&people[1].manager), None);
        let change = people[1].manager.update().unwrap();
        assert_ne!(exported_next(&people[1].manager), Some(discarded));
        settle(&mut people, 1, &change);
        assert_ne!(common_secret(&people), first);
    }
}

/// Who has what one layer exports has nothing: with another secret in any of them it is another one.
#[test]
fn it_takes_the_secrets_of_every_layer() {
    let wishes = [Wishes::default(), Wishes::default()];
    let manager = CascadingCipherManager::builder()
        .layer(Wrapped::new(dh(), &wishes[0]))
        .layer(Wrapped::new(mls("Alice", true), &wishes[1]))
        .build()
        .unwrap();
    let mut seen = BTreeSet::new();
    for secrets in [[1, 2], [9, 2], [1, 9], [2, 1]] {
        for (wishes, secret) in wishes.iter().zip(secrets) {
            *wishes.exported.lock().unwrap() = Some([secret; 32]);
        }
        assert!(seen.insert(exported(&manager).unwrap()), "{secrets:?}");
    }
}

#[test]
fn a_layer_more_or_less_does_not_change_it() {
    let mut people = three(SHAPES[3]);
    let first = common_secret(&people);
    for person in &mut people {
        person.manager.remove_layer(0).unwrap();
        person.manager.add_layer(AesLayer::inherited()).unwrap();
    }
    assert_eq!(common_secret(&people), first);
}

#[test]
fn who_was_removed_and_their_thieves_do_not_have_the_next_one() {
    for shape in SHAPES {
        let mut people = three(shape);
        let before = common_secret(&people);
        let mut thief = people[2].stolen();
        let charlie = people[2].manager.member_id().unwrap();
        let change = people[0].manager.remove_members([charlie]).unwrap();
        settle(&mut people, 0, &change);
        let after = common_secret(&people[..2]);
        assert_ne!(after, before);
        assert_eq!(exported(&people[2].manager), None);
        // Who does not follow the commit stays behind; who does is told to go.
        assert_eq!(exported(&thief), Some(before));
        thief.process(&change.commit).unwrap();
        assert_eq!(exported(&thief), None);
    }
}

#[test]
fn a_newcomer_has_only_the_one_it_came_with() {
    for shape in SHAPES {
        let mut people = three(shape);
        let before = common_secret(&people);
        let mut dora = Person::new("Dora", false, shape);
        let bundle = dora.manager.key_package().unwrap();
        let change = people[0].manager.add_members([bundle]).unwrap();
        let next = exported_next(&people[0].manager).unwrap();
        let welcome = settle(&mut people, 0, &change).unwrap();
        dora.manager.join(&welcome).unwrap();
        people.push(dora);
        assert_eq!(common_secret(&people), next);
        assert_ne!(next, before);
    }
}

#[test]
fn an_update_heals_it_from_a_thief() {
    // An update of a DH group derives its root onward, which heals nothing.
    for shape in SHAPES.into_iter().filter(|shape| shape.signal || shape.mls) {
        let mut people = three(shape);
        let mut thief = people[1].stolen();
        // The member whose keys were stolen renews them; the thief follows as far as it can.
        let change = people[1].manager.update().unwrap();
        settle(&mut people, 1, &change);
        let _refused = thief.receive(&change.commit).unwrap();
        assert_ne!(exported(&thief), Some(common_secret(&people)));
    }
}
