//! Key packages: enough of them in the directory, none that is too old, and one of last resort.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

use crate::common;

use cc_client::{Command, Event, Fate, GroupId, MemoryService, OperationId, Recipe, Verdict};
use common::{Person, settle};

const DAY: u64 = 24 * 3_600_000;

fn invite(host: &mut Person, guest: &Person) -> (GroupId, OperationId) {
    let (group, operation) =
        (host.client.found("A group").unwrap(), OperationId::random().unwrap());
    let invite = Command::Invite { group, mailbox: guest.client.mailbox(), member: None };
    host.client.submit(operation, invite).unwrap();
    (group, operation)
}

#[test]
fn the_one_of_last_resort_lets_in_any_number_of_times() {
    for recipe in [Recipe::group(), Recipe::paranoid()] {
        let mut service = MemoryService::new();
        let [mut alice, mut bob] = ["Alice", "Bob"].map(|name| Person::with(name, recipe.clone()));
        bob.client.publish_key_packages(2).unwrap();
        bob.turn(&mut service);
        assert_eq!(bob.client.unused_key_packages().unwrap(), 3);
        // More than there are, before Bob comes to publish others.
        let groups: Vec<_> = (0..5).map(|_| invite(&mut alice, &bob).0).collect();
        settle(&mut [&mut alice], &mut service);
        bob.restart();
        settle(&mut [&mut alice, &mut bob], &mut service);
        for (at, group) in groups.iter().enumerate() {
            alice.client.send(*group, format!("in {at}")).unwrap();
            bob.client.send(*group, format!("back in {at}")).unwrap();
        }
        settle(&mut [&mut alice, &mut bob], &mut service);
        for (at, group) in groups.iter().enumerate() {
            assert_eq!(bob.read(group), [("Alice".to_owned(), format!("in {at}"))]);
            assert_eq!(alice.read(group), [("Bob".to_owned(), format!("back in {at}"))]);
        }
        let bad = |fate: &Fate| matches!(fate, Fate::Forged | Fate::OrphanWelcome);
        assert!(!bob.fates.iter().any(|(_, _, fate)| bad(fate)));
    }
}

#[test]
fn the_welcome_of_long_ago_does_not_lead_back() {
    let mut service = MemoryService::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(Person::new);
    bob.client.publish_key_packages(1).unwrap();
    bob.turn(&mut service);
    let groups: Vec<_> = (0..2).map(|_| invite(&mut alice, &bob).0).collect();
    settle(&mut [&mut alice, &mut bob], &mut service);
    let group = groups[1];
    let remove = Command::Remove { group, members: vec![bob.client.me().id] };
    alice.client.submit(OperationId::random().unwrap(), remove).unwrap();
    settle(&mut [&mut alice, &mut bob], &mut service);
    assert_eq!(bob.client.group(&group).unwrap().epoch, None);
    // The service shows the mailbox's items again.
    let mailbox = bob.client.mailbox();
    for item in service.log(&mailbox) {
        service.inject(&mailbox, false, item.bytes);
    }
    settle(&mut [&mut alice, &mut bob], &mut service);
    assert_eq!(bob.client.group(&group).unwrap().epoch, None);
    let entered = bob.events.iter().filter(|event| matches!(event, Event::Entered { .. })).count();
    assert_eq!(entered, 2);
}

#[test]
fn they_are_replaced_before_they_expire_and_forgotten_after() {
    let mut service = MemoryService::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(Person::new);
    bob.client.publish_key_packages(4).unwrap();
    bob.turn(&mut service);
    assert_eq!(bob.client.unused_key_packages().unwrap(), 5);
    bob.pass(60 * DAY);
    bob.turn(&mut service);
    assert_eq!(bob.client.unused_key_packages().unwrap(), 5, "not yet");
    bob.pass(15 * DAY);
    bob.turn(&mut service);
    assert_eq!(bob.client.unused_key_packages().unwrap(), 10, "in good time");
    // Bob is away until the first ones have expired, and the directory hands those out before others.
    alice.pass(90 * DAY);
    let (group, operation) = invite(&mut alice, &bob);
    settle(&mut [&mut alice], &mut service);
    bob.pass(15 * DAY);
    settle(&mut [&mut alice, &mut bob], &mut service);
    assert_eq!(bob.client.group(&group).unwrap().members.len(), 2);
    let done = alice.events.iter().filter(|event| {
        matches!(event, Event::Settled { operation: of, verdict: Verdict::Done(_) }
            if *of == operation)
    });
    assert_eq!(done.count(), 1);
    // A week later the expired ones are gone, with their keys.
    bob.pass(60 * DAY);
    bob.turn(&mut service);
    assert!(bob.client.unused_key_packages().unwrap() <= 10);
    assert_eq!(bob.client.forget_expired(bob.now).unwrap(), 0);
}

#[test]
fn any_number_can_be_had_at_once_within_the_bound() {
    let mut bob = Person::new("Bob");
    let now = bob.now;
    let packages = bob.client.key_packages(now, 50).unwrap();
    assert_eq!(packages.len(), 50);
    assert_eq!(bob.client.unused_key_packages().unwrap(), 50);
    assert!(bob.client.key_packages(now, 1_001).is_err());
    assert_eq!(bob.client.unused_key_packages().unwrap(), 50);
}
