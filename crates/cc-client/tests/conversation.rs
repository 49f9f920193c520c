//! People who found, invite, speak, leave and are removed, over an honest service.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

use crate::common;

use cc_client::{Client, Command, Event, MemoryService, OperationId, Recipe, Verdict};
use common::{Person, group_of, settle};

#[test]
fn three_people_speak_leave_and_are_removed() {
    for recipe in [Recipe::group(), Recipe::paranoid()] {
        let mut service = MemoryService::new();
        let mut people = ["Alice", "Bob", "Charlie"].map(|name| Person::with(name, recipe.clone()));
        let [alice, bob, charlie] = &mut people;
        let group = group_of(&mut [alice, bob, charlie], &mut service);
        for person in [&mut *alice, bob, charlie] {
            let view = person.client.group(&group).unwrap();
            assert_eq!((view.title.as_str(), view.members.len()), ("Dev Team", 3));
        }
        let of = |person: &mut Person| person.client.group(&group).unwrap().authenticator;
        assert!(of(alice).is_some());
        assert_eq!(of(alice), of(bob));
        assert_eq!(of(alice), of(charlie));

        alice.client.send(group, "hello").unwrap();
        bob.client.send(group, "hi").unwrap();
        charlie.client.send(group, "hey").unwrap();
        settle(&mut [alice, bob, charlie], &mut service);
        let heard = |person: &Person| {
            let mut read = person.read(&group);
            read.sort();
            read
        };
        let said = |who: &str, what: &str| (who.to_owned(), what.to_owned());
        assert_eq!(heard(alice), [said("Bob", "hi"), said("Charlie", "hey")]);
        assert_eq!(heard(bob), [said("Alice", "hello"), said("Charlie", "hey")]);
        assert_eq!(heard(charlie), [said("Alice", "hello"), said("Bob", "hi")]);

        // Charlie asks to go, and somebody lets him.
        let leave = OperationId::random().unwrap();
        charlie.client.submit(leave, Command::Leave(group)).unwrap();
        settle(&mut [alice, bob, charlie], &mut service);
        assert!(
            charlie.events.iter().any(|event| matches!(event, Event::Left { myself: true, .. }))
        );
        assert_eq!(alice.client.group(&group).unwrap().members.len(), 2);
        // Alice removes Bob.
        let bobs_id = bob.client.me().id;
        let remove = Command::Remove { group, members: vec![bobs_id] };
        alice.client.submit(OperationId::random().unwrap(), remove).unwrap();
        settle(&mut [alice, bob, charlie], &mut service);
        assert!(bob.events.iter().any(|event| matches!(event, Event::Left { myself: true, .. })));
        assert!(bob.client.send(group, "still here?").is_err());
        // Charlie comes back, with the same id.
        let now = charlie.now;
        let package = charlie.client.key_packages(now, 1).unwrap().remove(0);
        alice.client.invite(group, package).unwrap();
        settle(&mut [alice, charlie], &mut service);
        alice.client.send(group, "welcome back").unwrap();
        settle(&mut [alice, charlie], &mut service);
        assert_eq!(charlie.read(&group).last(), Some(&said("Alice", "welcome back")));
    }
}

#[test]
fn one_person_is_the_same_in_many_groups() {
    let mut service = MemoryService::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(Person::new);
    let groups: Vec<_> =
        (0..5).map(|_| group_of(&mut [&mut alice, &mut bob], &mut service)).collect();
    for (at, group) in groups.iter().enumerate() {
        alice.client.send(*group, format!("in {at}")).unwrap();
    }
    settle(&mut [&mut alice, &mut bob], &mut service);
    for (at, group) in groups.iter().enumerate() {
        assert_eq!(bob.read(group), [("Alice".to_owned(), format!("in {at}"))]);
        let members = bob.client.group(group).unwrap().members;
        assert!(members.iter().any(|member| member.id == alice.client.me().id));
    }
    let [a, b] = [&alice, &bob].map(|person| person.client.me().person.unwrap());
    let number = alice.client.safety_number(&b).unwrap();
    assert_eq!(number, bob.client.safety_number(&a).unwrap());
    assert!(number.matches(bob.client.safety_number(&a).unwrap().to_bytes()));
    assert_eq!(number.to_string().split(' ').map(str::len).collect::<Vec<_>>(), [5; 12]);
    assert_ne!(number, alice.client.safety_number(&a).unwrap());
}

#[test]
fn a_directory_hands_out_key_packages_and_they_are_replaced() {
    let mut service = MemoryService::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(Person::new);
    bob.client.publish_key_packages(4).unwrap();
    bob.turn(&mut service);
    assert_eq!(bob.client.unused_key_packages().unwrap(), 5, "and one of last resort");
    for _ in 0..3 {
        let group = alice.client.found("A group").unwrap();
        let invite = Command::Invite { group, mailbox: bob.client.mailbox(), member: None };
        alice.client.submit(OperationId::random().unwrap(), invite).unwrap();
        settle(&mut [&mut alice, &mut bob], &mut service);
        assert_eq!(bob.client.group(&group).unwrap().members.len(), 2);
    }
    // Nobody's key packages.
    let group = alice.client.found("A group").unwrap();
    let operation = OperationId::random().unwrap();
    let nobody = cc_client::LogId::random().unwrap();
    alice
        .client
        .submit(operation, Command::Invite { group, mailbox: nobody, member: None })
        .unwrap();
    settle(&mut [&mut alice, &mut bob], &mut service);
    assert!(alice.events.iter().any(|event| matches!(event,
        Event::Settled { operation: of, verdict: Verdict::Refused(_) } if *of == operation)));
}

/// The directory is the liar: it has the key packages of one person in the place of another's.
#[test]
fn a_directory_that_hands_out_somebody_else_is_refused() {
    let mut service = MemoryService::new();
    let [mut alice, mut bob, mut mallory] = ["Alice", "Bob", "Mallory"].map(Person::new);
    mallory.client.publish_key_packages(4).unwrap();
    mallory.turn(&mut service);
    let group = alice.client.found("A group").unwrap();
    let mailbox = mallory.client.mailbox();
    let (refused, taken) = (OperationId::random().unwrap(), OperationId::random().unwrap());
    let member = Some(bob.client.me().id);
    alice.client.submit(refused, Command::Invite { group, mailbox, member }).unwrap();
    settle(&mut [&mut alice, &mut bob, &mut mallory], &mut service);
    assert_eq!(alice.client.group(&group).unwrap().members.len(), 1);
    assert!(alice.events.iter().any(|event| matches!(event,
        Event::Settled { operation, verdict: Verdict::Refused(_) } if *operation == refused)));
    let member = Some(mallory.client.me().id);
    alice.client.submit(taken, Command::Invite { group, mailbox, member }).unwrap();
    settle(&mut [&mut alice, &mut bob, &mut mallory], &mut service);
    assert_eq!(alice.client.group(&group).unwrap().members.len(), 2);
}

#[test]
fn asking_twice_does_it_once() {
    let mut service = MemoryService::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(Person::new);
    let group = group_of(&mut [&mut alice, &mut bob], &mut service);
    let id = OperationId::random().unwrap();
    let send = Command::Send { group, content: b"once".to_vec() };
    for _ in 0..3 {
        alice.client.submit(id, send.clone()).unwrap();
        alice.restart();
    }
    settle(&mut [&mut alice, &mut bob], &mut service);
    alice.client.submit(id, send).unwrap();
    settle(&mut [&mut alice, &mut bob], &mut service);
    assert_eq!(bob.read(&group), [("Alice".to_owned(), "once".to_owned())]);
    let other = Command::Send { group, content: b"twice".to_vec() };
    assert!(
        matches!(alice.client.submit(id, other), Err(cc_client::Fault::OperationExists(of)) if of == id)
    );
}

#[test]
fn two_processes_on_one_store_are_told() {
    let mut service = MemoryService::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(Person::new);
    let group = group_of(&mut [&mut alice, &mut bob], &mut service);
    let mut second = Client::open(alice.disk.clone()).unwrap();
    second.send(group, "from the second process").unwrap();
    assert!(matches!(alice.client.send(group, "from the first"), Err(cc_client::Fault::Fenced)));
    alice.restart();
    settle(&mut [&mut alice, &mut bob], &mut service);
    assert_eq!(bob.read(&group).len(), 1);
}
