//! Moving to another device: an export is restored, and everything goes on without an old ratchet.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::common;

use std::{collections::BTreeMap, sync::Arc};

use cc_aes_layer::{AesKey, Argon2Params, Password};
use cc_client::{
    AppRecord, Client, Command, Event, EventId, Fault, GroupId, MemoryService, OperationId, Trust,
};
use cc_core::{key_use, random::Seeded};
use common::{Disk, Person, group_of, settle};

/// The person of an export on another machine, at the same time as `old`.
fn restore(old: &Person, export: &[u8], key: &AesKey) -> Person {
    let disk = Disk::default();
    let client = Client::restore(Arc::clone(&disk), export, key, old.now).unwrap();
    Person::restored(&old.name, disk, client, old.now)
}

fn repaired(person: &Person) -> Vec<GroupId> {
    let events = person.events.iter().filter_map(|event| match event {
        Event::Repaired { group, .. } => Some(*group),
        _ => None,
    });
    let mut groups: Vec<_> = events.collect();
    groups.sort_unstable();
    groups
}

fn is_out(person: &Person, group: &GroupId) -> bool {
    person
        .events
        .iter()
        .any(|event| matches!(event, Event::Left { group: of, myself: true, .. } if of == group))
}

/// Everybody says something in the group, and all others read it once.
fn exchange(people: &mut [&mut Person], service: &mut MemoryService, group: GroupId, what: &str) {
    for person in &mut *people {
        person.client.send(group, format!("{what} of {}", person.name)).unwrap();
    }
    settle(people, service);
    let names: Vec<String> = people.iter().map(|person| person.name.clone()).collect();
    for person in people {
        for name in names.iter().filter(|name| **name != person.name) {
            let message = (name.clone(), format!("{what} of {name}"));
            let read = person.read(&group);
            let count = read.iter().filter(|read| **read == message).count();
            assert_eq!(count, 1, "{} reads {message:?}", person.name);
        }
    }
}

#[test]
fn a_restored_person_is_back_in_all_groups_without_an_old_ratchet() {
    key_use::start();
    let mut service = MemoryService::new();
    let mut people = ["Alice", "Bob", "Charlie"].map(Person::new);
    let [alice, bob, charlie] = &mut people;
    let groups = [
        group_of(&mut [alice, bob, charlie], &mut service),
        group_of(&mut [bob, alice], &mut service),
        group_of(&mut [charlie, alice, bob], &mut service),
    ];
    for group in groups {
        alice.client.send(group, "before").unwrap();
    }
    settle(&mut [alice, bob, charlie], &mut service);
    let bobs = bob.client.me().person.unwrap();
    let number = alice.client.safety_number(&bobs).unwrap();
    let verify = Command::Verify(bobs, number);
    alice.client.submit(OperationId::random().unwrap(), verify).unwrap();
    let record = AppRecord { key: b"draft".to_vec(), value: Some(b"Dear Bob".to_vec()) };
    alice.client.acknowledge(EventId(0), &[record]).unwrap();
    let me = alice.client.me();
    let key = AesKey::generate().unwrap();
    let export = alice.client.export(&key, true).unwrap();
    // Life goes on, and the machine burns. What waits there is lost with it.
    exchange(&mut [alice, bob, charlie], &mut service, groups[0], "after the export");
    alice.client.send(groups[1], "never sent").unwrap();

    let mut new = restore(alice, &export, &key);
    assert_eq!(new.client.me(), me);
    assert_eq!(new.client.group(&groups[0]).unwrap().title, "Dev Team");
    // What is sent now waits until the person is back.
    new.client.send(groups[0], "back soon").unwrap();
    // Killed after each request.
    for _ in 0..30 {
        new.step(&mut service);
        new.restart();
    }
    settle(&mut [&mut new, bob, charlie], &mut service);
    let mut expected = groups.to_vec();
    expected.sort_unstable();
    assert_eq!(repaired(&new), expected);
    for group in groups {
        let [a, b] = [&mut new, bob].map(|person| person.client.group(&group).unwrap());
        assert_eq!(a.authenticator, b.authenticator);
        assert!(a.in_step);
    }
    assert!(bob.read(&groups[0]).contains(&("Alice".to_owned(), "back soon".to_owned())));
    exchange(&mut [&mut new, bob, charlie], &mut service, groups[0], "again");
    exchange(&mut [&mut new, bob], &mut service, groups[1], "again");
    exchange(&mut [&mut new, bob, charlie], &mut service, groups[2], "again");
    // One contact as before, for both sides.
    let view = new.client.person(&bobs).unwrap();
    assert_eq!(view.trust, Trust::Verified);
    assert_eq!(new.client.views().unwrap().snapshot().groups_with(&bobs).count(), 3);
    let view = bob.client.person(&me.person.unwrap()).unwrap();
    assert_eq!((view.trust, view.devices.len()), (Trust::Pinned, 1));
    assert!(bob.events.iter().all(|event| !matches!(event, Event::TrustChanged { .. })));
    assert_eq!(new.client.record(b"draft").unwrap().unwrap().expose(), b"Dear Bob");
    // The new device signs for the person.
    let replace = Command::ReplaceKeys;
    new.client.submit(OperationId::random().unwrap(), replace).unwrap();

    let mut uses = BTreeMap::new();
    for key_use in key_use::take() {
        *uses.entry(key_use).or_insert(0) += 1;
    }
    assert!(uses.len() > 100);
    assert!(uses.values().all(|count| *count == 1), "a key and nonce sealed twice");
}

/// Whatever the ids, which decide whose turn it is to add it.
#[test]
fn an_export_is_restored_while_the_device_lives_and_more_than_once() {
    for seed in 0..8 {
        let _seeded = Seeded::start(seed);
        restored_while_the_device_lives();
    }
}

fn restored_while_the_device_lives() {
    let mut service = MemoryService::new();
    let mut people = ["Alice", "Bob", "Charlie"].map(Person::new);
    let [alice, bob, charlie] = &mut people;
    let group = group_of(&mut [alice, bob, charlie], &mut service);
    let key = AesKey::generate().unwrap();
    let export = alice.client.export(&key, false).unwrap();
    let mut second = restore(alice, &export, &key);
    settle(&mut [alice, &mut second, bob, charlie], &mut service);
    assert!(is_out(alice, &group), "the older device says that it is out");
    assert_eq!(repaired(&second), [group]);
    exchange(&mut [&mut second, bob, charlie], &mut service, group, "second");
    let mut third = restore(&second, &export, &key);
    settle(&mut [alice, &mut second, &mut third, bob, charlie], &mut service);
    assert!(is_out(&second, &group));
    assert_eq!(repaired(&third), [group]);
    exchange(&mut [&mut third, bob, charlie], &mut service, group, "third");
    // It had asked several, and waits for a minute whether it was one of these who added it anew.
    for _ in 0..4 {
        settle(&mut [&mut second], &mut service);
    }
    assert!(matches!(second.client.send(group, "me too"), Err(Fault::NotAMember(_))));
    assert_eq!(bob.client.group(&group).unwrap().members.len(), 3);
}

#[test]
fn an_export_opens_no_message() {
    let mut service = MemoryService::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(Person::new);
    let group = group_of(&mut [&mut alice, &mut bob], &mut service);
    bob.client.send(group, "before the export").unwrap();
    let key = AesKey::generate().unwrap();
    let export = alice.client.export(&key, false).unwrap();
    bob.client.send(group, "after the export").unwrap();
    settle(&mut [&mut bob], &mut service);
    // A thief of the export and its key sees all that the service has.
    let mut thief = restore(&alice, &export, &key);
    let mut fork = service.fork();
    settle(&mut [&mut thief], &mut fork);
    assert_eq!(thief.read(&group), []);
    assert_eq!(thief.client.group(&group).unwrap().epoch, None);
    // With the help of the members it comes in, which they and the person see; and reads nothing older.
    settle(&mut [&mut thief, &mut bob], &mut service);
    assert_eq!(repaired(&thief), [group]);
    assert_eq!(thief.read(&group), []);
    settle(&mut [&mut alice], &mut service);
    assert!(is_out(&alice, &group));
}

#[test]
fn only_the_key_opens_an_export() {
    let mut alice = Person::new("Alice");
    let now = alice.now;
    alice.client.found("A group").unwrap();
    let [key, other] = [(); 2].map(|()| AesKey::generate().unwrap());
    let export = alice.client.export(&key, true).unwrap();
    let refused = |export: &[u8], key: &AesKey| {
        matches!(Client::restore(Disk::default(), export, key, now), Err(Fault::Export))
    };
    assert!(refused(&export, &other));
    for len in 0..export.len() {
        assert!(refused(&export[..len], &key), "{len}");
    }
    for at in (0..export.len()).step_by(7).chain([0, 1]) {
        let mut damaged = export.clone();
        damaged[at] ^= 1;
        assert!(refused(&damaged, &key), "{at}");
    }
    // A store that has a client already is left alone.
    let full = Client::restore(alice.disk.clone(), &export, &key, now);
    assert!(matches!(full, Err(Fault::Store(_))));

    let mut password = Password::new("a passphrase").unwrap().with_params(Argon2Params::LEAST);
    let export = alice.client.export(&mut password, true).unwrap();
    assert!(refused(&export, &key));
    let mut wrong = Password::new("another").unwrap();
    let restored = Client::restore(Disk::default(), &export, &mut wrong, now);
    assert!(matches!(restored, Err(Fault::Export)));
    let restored = Client::restore(Disk::default(), &export, &mut password, now).unwrap();
    assert_eq!(restored.me(), alice.client.me());
}

#[test]
fn a_device_of_ones_own_helps_where_all_others_that_were_known_have_left() {
    let mut service = MemoryService::new();
    let [mut alice, mut laptop, mut bob] = ["Alice", "Laptop", "Bob"].map(Person::new);
    let submit = |person: &mut Person, command: Command| {
        person.client.submit(OperationId::random().unwrap(), command).unwrap();
    };
    // The two devices know one another, but the laptop is not in the group with Bob.
    alice.client.found("Mine").unwrap();
    let offer = laptop.client.offer_device(laptop.now, 1).unwrap();
    submit(&mut alice, Command::Link(offer));
    settle(&mut [&mut alice, &mut laptop], &mut service);
    alice.client.set_devices_follow(false);
    let group = group_of(&mut [&mut bob, &mut alice], &mut service);
    let key = AesKey::generate().unwrap();
    let export = alice.client.export(&key, true).unwrap();
    // It comes after the export, and then Bob leaves.
    let package = laptop.client.key_packages(laptop.now, 1).unwrap().remove(0);
    bob.client.invite(group, package).unwrap();
    settle(&mut [&mut bob, &mut laptop], &mut service);
    submit(&mut bob, Command::Leave(group));
    settle(&mut [&mut laptop, &mut bob], &mut service);
    settle(&mut [&mut laptop, &mut bob], &mut service);
    assert_eq!(laptop.client.group(&group).unwrap().members.len(), 2);

    let disk = Disk::default();
    let client = Client::restore(disk.clone(), &export, &key, alice.now).unwrap();
    let mut new = Person::restored("Alice", disk, client, alice.now);
    settle(&mut [&mut new, &mut laptop], &mut service);
    let [here, there] = [&new, &laptop].map(|person| person.client.group(&group).unwrap());
    assert!(here.in_step && here.authenticator == there.authenticator);
}
