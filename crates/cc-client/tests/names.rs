//! Who people are is for the members of their groups: the delivery service, which keeps every byte that it is ever
//! given, finds no name.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::common;

use cc_aes_layer::AesKey;
use cc_client::{
    Body, Client, Command, Content, Event, Fault, GroupId, MemoryService, OperationId, PersonId,
    Profile, Recipe, Upload,
};
use cc_manager::CascadingCipherManager;
use common::{
    Disk, Person, group_of,
    hoarder::{Hoarder, contains},
    settle,
};

fn submit(person: &mut Person, command: Command) {
    person.client.submit(OperationId::random().unwrap(), command).unwrap();
}

fn person_id(client: &Client) -> PersonId {
    client.me().person.unwrap()
}

fn named(name: &str, device: &str, recipe: &Recipe) -> Person {
    let profile = Profile::new(name).with_device(device);
    let disk = Disk::default();
    let client = Client::create(disk.clone(), profile, recipe.clone()).unwrap();
    let now = cc_client::Now { wall: 1_790_000_000_000, mono: 0 };
    Person::restored(name, disk, client, now)
}

/// The names of a group's members, as somebody sees them.
fn names(person: &Person, group: &GroupId) -> Vec<Option<String>> {
    let view = person.client.group(group).unwrap();
    let mut names: Vec<_> = view.members.iter().map(|member| member.name.clone()).collect();
    names.sort();
    names
}

fn whole_life(recipe: &Recipe) {
    let mut hoarder = Hoarder::default();
    let mut alice = named("Alice Quillfeather", "Alice's telephone", recipe);
    let mut laptop = named("Laptop of Quillfeather", "Alice's laptop", recipe);
    let mut bob = named("Bobby Tumbleweed", "Bobby's pocket watch", recipe);
    let mut carol = named("Caroline Birdwhistle", "Caroline's typewriter", recipe);
    let lone = person_id(&laptop.client);
    // Key packages in the directory, an invitation by them and one by hand.
    for person in [&mut bob, &mut carol] {
        person.client.publish_key_packages(3).unwrap();
    }
    let group = alice.client.found("The Winter Garden").unwrap();
    hoarder.settle(&mut [&mut alice, &mut bob, &mut carol]);
    let mailbox = bob.client.mailbox();
    submit(&mut alice, Command::Invite { group, mailbox, member: None });
    let package = carol.client.key_packages(carol.now, 1).unwrap().remove(0);
    alice.client.invite(group, package).unwrap();
    hoarder.settle(&mut [&mut alice, &mut bob, &mut carol]);
    // What is said, with a file.
    let file = vec![7; 100_000];
    let mut upload = Upload::new("plans of the greenhouse.pdf", "application/pdf").unwrap();
    let attachment = loop {
        let offset = usize::try_from(upload.offset()).unwrap();
        if let Some(attachment) = upload.advance(&mut hoarder, &file[offset..]).unwrap() {
            break attachment;
        }
    };
    let text = "the tomatoes are planted".to_owned();
    let content = Content::new(Body::Attachment { attachment, text }).encode().unwrap();
    bob.client.send(group, content).unwrap();
    // Another device, another key, another name, a device that is lost, and one that moves.
    let offer = laptop.client.offer_device(laptop.now, 1).unwrap();
    submit(&mut alice, Command::Link(offer));
    hoarder.settle(&mut [&mut alice, &mut laptop, &mut bob, &mut carol]);
    submit(&mut alice, Command::Rename("Alice Birdwhistle".into()));
    submit(&mut carol, Command::ReplaceKeys);
    submit(&mut bob, Command::Refresh(group));
    hoarder.settle(&mut [&mut alice, &mut laptop, &mut bob, &mut carol]);
    let view = bob.client.group(&group).unwrap();
    assert_eq!(view.members.len(), 4);
    let (alices, carols) = ("Alice Birdwhistle", "Caroline Birdwhistle");
    let expected = [alices, alices, "Bobby Tumbleweed", carols].map(|name| Some(name.to_owned()));
    for person in [&alice, &laptop, &bob, &carol] {
        assert_eq!(names(person, &group), expected);
    }
    let key = AesKey::generate().unwrap();
    let export = carol.client.export(&key, true).unwrap();
    let disk = Disk::default();
    let client = Client::restore(disk.clone(), &export, &key, carol.now).unwrap();
    let mut moved = Person::restored("Carol", disk, client, carol.now);
    submit(&mut alice, Command::Revoke(laptop.client.me().id));
    submit(&mut bob, Command::Leave(group));
    hoarder.settle(&mut [&mut moved, &mut alice, &mut bob]);
    hoarder.settle(&mut [&mut moved, &mut alice, &mut bob]);
    assert!(moved.client.group(&group).unwrap().in_step);
    assert_eq!(alice.client.group(&group).unwrap().members.len(), 2);

    // It has seen what it must see, and whoever looks for it finds it.
    assert!(hoarder.has_seen(group.as_bytes()) && hoarder.has_seen(mailbox.as_bytes()));
    let texts = [
        "Alice Quillfeather",
        "Quillfeather",
        "Alice's telephone",
        "Alice's laptop",
        "Alice Birdwhistle",
        "Birdwhistle",
        "Bobby Tumbleweed",
        "Bobby's pocket watch",
        "Caroline Birdwhistle",
        "Caroline's typewriter",
        "The Winter Garden",
        "plans of the greenhouse.pdf",
        "application/pdf",
        "the tomatoes are planted",
    ];
    for text in texts {
        assert!(!hoarder.has_seen(text.as_bytes()), "{text} with {recipe:?}");
    }
    for id in [&alice.client, &bob.client, &carol.client].map(person_id).into_iter().chain([lone]) {
        assert!(!hoarder.has_seen(id.as_bytes()), "the id of a person with {recipe:?}");
        assert!(!hoarder.has_seen(id.to_string().as_bytes()));
    }
}

#[test]
fn the_service_sees_no_name_of_a_person_or_device() {
    for recipe in Recipe::NAMES {
        whole_life(&Recipe::named(recipe).unwrap());
    }
}

#[test]
fn a_name_in_a_credential_would_be_found() {
    // The search is one that finds what is there: the credential of a program that drives a stack itself.
    let layers = Recipe::group().layers("Alice Quillfeather", None).unwrap();
    let mut stack = CascadingCipherManager::builder().layers(layers).build().unwrap();
    assert!(contains(&stack.key_package().unwrap(), b"Alice Quillfeather"));
    let mut alice = Person::new("Alice Quillfeather");
    let package = alice.client.key_packages(alice.now, 1).unwrap().remove(0);
    assert!(!contains(&package, b"Quillfeather"));
}

#[test]
fn members_are_told_when_a_name_is_known_and_when_it_changes() {
    let mut service = MemoryService::new();
    let mut people = ["Alice", "Bob", "Carol"].map(Person::new);
    let [alice, bob, carol] = &mut people;
    let group = group_of(&mut [alice, bob], &mut service);
    let package = carol.client.key_packages(carol.now, 1).unwrap().remove(0);
    alice.client.invite(group, package).unwrap();
    settle(&mut [alice], &mut service);
    // Carol is in the group, and has said nothing yet: she is nobody that anybody could name.
    let carols = carol.client.me().id;
    bob.events.clear();
    bob.turn(&mut service);
    let came =
        |event: &&Event| matches!(event, Event::Joined { person, .. } if person.id == carols);
    let Some(Event::Joined { person, .. }) = bob.events.iter().find(came) else { panic!() };
    assert_eq!((person.name.as_deref(), person.person), (None, None));
    let introduced = |person: &Person| {
        let events = person.events.iter().filter_map(|event| match event {
            Event::Introduced { group: at, members } if *at == group => Some(members.clone()),
            _ => None,
        });
        let members = events.flatten().map(|member| member.name.unwrap());
        members.collect::<Vec<_>>()
    };
    settle(&mut [carol, alice, bob], &mut service);
    assert_eq!(introduced(bob), ["Carol"]);
    assert_eq!(introduced(alice), ["Bob", "Carol"]);
    let mut told = introduced(carol);
    told.sort();
    assert_eq!(told, ["Alice", "Bob"], "beside the welcome");

    // Known people come to another group with their names.
    let other = group_of(&mut [alice, bob, carol], &mut service);
    let unnamed = |event: &&Event| matches!(event, Event::Joined { group, person } if *group == other && person.name.is_none());
    assert_eq!(alice.events.iter().find(unnamed), None);

    bob.events.clear();
    submit(carol, Command::Rename("Caroline".into()));
    settle(&mut [carol, alice, bob], &mut service);
    carol.client.send(group, "it is me").unwrap();
    settle(&mut [carol, alice, bob], &mut service);
    assert_eq!(bob.read(&group).last().unwrap(), &("Caroline".into(), "it is me".into()));
    let (person, from, to) = (person_id(&carol.client), "Carol".into(), "Caroline".into());
    let renamed: Vec<_> =
        bob.events.iter().filter(|event| matches!(event, Event::Renamed { .. })).collect();
    assert_eq!(renamed, [&Event::Renamed { person, from, to }], "once, for two groups");
    assert_eq!(bob.client.person(&person).unwrap().name, "Caroline");
    // It stays so, here and there.
    for person in [&mut *carol, bob] {
        person.restart();
        assert!(names(person, &group).contains(&Some("Caroline".into())));
    }
    assert_eq!(carol.client.me().name.as_deref(), Some("Caroline"));
    let long = Command::Rename("x".repeat(1025));
    let refused = carol.client.submit(OperationId::random().unwrap(), long);
    assert!(matches!(refused, Err(Fault::TooLong)));
}

#[test]
fn all_devices_of_a_person_have_its_name() {
    let mut service = MemoryService::new();
    let [mut alice, mut laptop, mut bob] = ["Alice", "Laptop", "Bob"].map(Person::new);
    let group = group_of(&mut [&mut alice, &mut bob], &mut service);
    let offer = laptop.client.offer_device(laptop.now, 1).unwrap();
    submit(&mut alice, Command::Link(offer));
    settle(&mut [&mut alice, &mut laptop, &mut bob], &mut service);
    submit(&mut alice, Command::Rename("Alicia".into()));
    settle(&mut [&mut alice, &mut laptop, &mut bob], &mut service);
    for person in [&alice, &laptop, &bob] {
        let named = names(person, &group);
        assert_eq!(named.iter().flatten().filter(|name| *name == "Alicia").count(), 2);
    }
    assert_eq!(laptop.client.me().name.as_deref(), Some("Alicia"));
    laptop.restart();
    assert_eq!(laptop.client.me().name.as_deref(), Some("Alicia"));
    // It signs for nobody.
    let refused = Command::Rename("Allie".into());
    let refused = laptop.client.submit(OperationId::random().unwrap(), refused);
    assert!(matches!(refused, Err(Fault::NoPersonKey)));
}

#[test]
fn who_missed_an_introduction_learns_the_name_with_the_next_renewal() {
    let mut service = MemoryService::new();
    let [mut alice, mut bob, mut carol] = ["Alice", "Bob", "Carol"].map(Person::new);
    let group = group_of(&mut [&mut alice, &mut bob], &mut service);
    let package = carol.client.key_packages(carol.now, 1).unwrap().remove(0);
    alice.client.invite(group, package).unwrap();
    settle(&mut [&mut alice], &mut service);
    bob.pass(5_000);
    bob.turn(&mut service);
    assert!(
        matches!(bob.events.last(), Some(Event::Joined { person, .. }) if person.name.is_none())
    );
    settle(&mut [&mut carol, &mut alice], &mut service);
    // What Carol said is gone from the service before Bob asks for it. What Alice says shows him that the epoch goes on:
    // else he would ask to be added anew, and be told the names with the welcome.
    let last = service.log(&group).last().unwrap().position;
    service.forget(&group, last);
    alice.client.send(group, "hello").unwrap();
    settle(&mut [&mut alice], &mut service);
    settle(&mut [&mut bob, &mut carol, &mut alice], &mut service);
    assert!(bob.events.iter().any(|event| matches!(event, Event::Missed { .. })));
    assert_eq!(names(&bob, &group), [None, Some("Alice".into()), Some("Bob".into())]);
    submit(&mut carol, Command::Refresh(group));
    settle(&mut [&mut carol, &mut bob, &mut alice], &mut service);
    let expected = ["Alice", "Bob", "Carol"].map(|name| Some(name.to_owned()));
    assert_eq!(names(&bob, &group), expected);
    assert!(bob.events.iter().any(|event| matches!(event,
        Event::Introduced { members, .. } if members[0].name.as_deref() == Some("Carol"))));
}
