//! People with several devices, and how far they are trusted.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::common;

use cc_client::{
    Command, Event, Fault, GroupId, MemoryService, OperationId, PersonId, Profile, Trust, Verdict,
};
use common::{Person, group_of, settle};

fn submit(person: &mut Person, command: Command) {
    person.client.submit(OperationId::random().unwrap(), command).unwrap();
}

fn id(person: &Person) -> PersonId {
    person.client.me().person.unwrap()
}

fn trust(person: &mut Person, of: &PersonId) -> Trust {
    person.client.person(of).unwrap().trust
}

/// Links `new` to `old`, and lets it come into all groups.
fn link(old: &mut Person, new: &mut Person, groups: usize) {
    let offer = new.client.offer_device(new.now, groups).unwrap();
    submit(old, Command::Link(offer));
}

fn falls(person: &Person) -> Vec<(PersonId, Trust, Trust)> {
    let events = person.events.iter().filter_map(|event| match event {
        Event::TrustChanged { person, from, to } => Some((*person, *from, *to)),
        _ => None,
    });
    events.collect()
}

#[test]
fn members_know_whose_devices_they_are() {
    let mut service = MemoryService::new();
    let mut people = ["Alice", "Bob", "Charlie"].map(Person::new);
    let [alice, bob, charlie] = &mut people;
    let group = group_of(&mut [alice, bob, charlie], &mut service);
    let ids = [&*alice, bob, charlie].map(id);
    for person in [&mut *alice, bob, charlie] {
        let view = person.client.group(&group).unwrap();
        let mut seen: Vec<_> = view.members.iter().map(|member| member.person.unwrap()).collect();
        seen.sort_unstable();
        let mut expected = ids;
        expected.sort_unstable();
        assert_eq!(seen, expected, "{}", person.name);
        assert_eq!(person.client.people().unwrap().len(), 3);
    }
    let view = bob.client.person(&ids[0]).unwrap();
    assert_eq!((view.name.as_str(), view.devices.len()), ("Alice", 1));
    assert_eq!(view.trust, Trust::Pinned);
    let snapshot = bob.client.views().unwrap().snapshot();
    let groups: Vec<_> = snapshot.groups_with(&ids[0]).map(|group| group.id).collect();
    assert_eq!(groups, [group]);
    assert!(matches!(bob.client.person(&PersonId::random().unwrap()), Err(Fault::NoSuchPerson(_))));
}

#[test]
fn a_linked_device_is_the_same_contact() {
    let mut service = MemoryService::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(Person::new);
    let mut laptop = Person::of(Profile::new("Nobody yet").with_device("Laptop"));
    let groups: Vec<GroupId> =
        (0..3).map(|_| group_of(&mut [&mut alice, &mut bob], &mut service)).collect();
    let bobs = id(&bob);
    let number = alice.client.safety_number(&bobs).unwrap();
    submit(&mut alice, Command::Verify(bobs, number.clone()));
    let alices = id(&alice);
    submit(&mut bob, Command::Verify(alices, number));
    // Key packages for two groups: into the third it comes by the directory.
    laptop.client.publish_key_packages(2).unwrap();
    laptop.turn(&mut service);
    link(&mut alice, &mut laptop, 2);
    settle(&mut [&mut alice, &mut bob, &mut laptop], &mut service);
    assert!(laptop.events.iter().any(|event| matches!(event,
        Event::Linked { person, name } if *person == alices && name == "Alice")));
    assert_eq!(id(&laptop), alices);
    for group in &groups {
        for person in [&mut alice, &mut bob, &mut laptop] {
            let members = person.client.group(group).unwrap().members;
            let of_alice = members.iter().filter(|member| member.person == Some(alices));
            assert_eq!((members.len(), of_alice.count()), (3, 2), "{}", person.name);
        }
    }
    // One contact with two devices, verified as before, and Bob is told.
    let view = bob.client.person(&alices).unwrap();
    assert_eq!((view.devices.len(), view.trust), (2, Trust::Verified));
    assert_eq!(bob.client.views().unwrap().snapshot().groups_with(&alices).count(), 3);
    assert!(view.devices.iter().any(|device| device.device.as_deref() == Some("Laptop")));
    assert!(bob.events.iter().any(|event| matches!(event,
        Event::DeviceAdded { person, .. } if *person == alices)));
    // The mark of the old device is on the new one.
    assert_eq!(trust(&mut laptop, &bobs), Trust::Verified);
    assert_eq!(
        laptop.client.safety_number(&bobs).unwrap(),
        bob.client.safety_number(&alices).unwrap()
    );

    laptop.client.send(groups[0], "from the laptop").unwrap();
    settle(&mut [&mut alice, &mut bob, &mut laptop], &mut service);
    let from_me = |person: &Person| {
        let mut messages = person.events.iter().filter_map(|event| match event {
            Event::Message { from, from_me, .. } => Some((from.name(), *from_me)),
            _ => None,
        });
        messages.next_back().unwrap()
    };
    assert_eq!(from_me(&alice), ("Alice".to_owned(), true));
    assert_eq!(from_me(&bob), ("Alice".to_owned(), false));

    // The laptop signs for nobody.
    let [mut other, mut third] = ["Other", "Third"].map(Person::new);
    let offer = other.client.offer_device(other.now, 1).unwrap();
    let link = Command::Link(offer);
    let refused = laptop.client.submit(OperationId::random().unwrap(), link);
    assert!(matches!(refused, Err(Fault::NoPersonKey)));
    // Who is in groups is not to be linked.
    assert!(matches!(bob.client.offer_device(bob.now, 1), Err(Fault::CannotLink)));
    // Nothing is an offer that is none.
    let noise = Command::Link(vec![1; 50]);
    let refused = alice.client.submit(OperationId::random().unwrap(), noise);
    assert!(matches!(refused, Err(Fault::DeviceOffer)));

    // The laptop is stolen.
    submit(&mut alice, Command::Revoke(laptop.client.me().id));
    settle(&mut [&mut alice, &mut bob, &mut laptop], &mut service);
    for group in &groups {
        assert_eq!(bob.client.group(group).unwrap().members.len(), 2);
    }
    assert!(laptop.events.iter().any(|event| matches!(event, Event::Left { myself: true, .. })));
    assert_eq!(bob.client.person(&alices).unwrap().devices.len(), 1);
    assert!(bob.events.iter().any(|event| matches!(event, Event::DeviceRevoked { .. })));
    // Who adds it again, does not make it Alice's again; and who comes later hears of it.
    let package = laptop.client.key_packages(laptop.now, 1).unwrap().remove(0);
    bob.client.invite(groups[0], package).unwrap();
    let package = third.client.key_packages(third.now, 1).unwrap().remove(0);
    bob.client.invite(groups[0], package).unwrap();
    settle(&mut [&mut alice, &mut bob, &mut laptop, &mut third], &mut service);
    let stolen = laptop.client.me().id;
    for person in [&mut bob, &mut third] {
        let members = person.client.group(&groups[0]).unwrap().members;
        let member = members.iter().find(|member| member.id == stolen).unwrap();
        assert_eq!(member.person, None, "{}", person.name);
    }
}

#[test]
fn a_mark_falls_when_keys_change_and_nothing_is_sent_until_that_is_accepted() {
    let mut service = MemoryService::new();
    let mut people = ["Alice", "Bob", "Charlie"].map(Person::new);
    let [alice, bob, charlie] = &mut people;
    let group = group_of(&mut [alice, bob, charlie], &mut service);
    let with_charlie = group_of(&mut [alice, charlie], &mut service);
    let (alices, bobs) = (id(alice), id(bob));
    let number = alice.client.safety_number(&bobs).unwrap();
    // Another number verifies nobody.
    let other = alice.client.safety_number(&id(charlie)).unwrap();
    let refused = alice.client.submit(OperationId::random().unwrap(), Command::Verify(bobs, other));
    assert!(matches!(refused, Err(Fault::SafetyNumber(person)) if person == bobs));
    assert_eq!(trust(alice, &bobs), Trust::Pinned);
    submit(alice, Command::Verify(bobs, number.clone()));
    alice.restart();
    assert_eq!(trust(alice, &bobs), Trust::Verified);

    submit(bob, Command::ReplaceKeys);
    // What waits when the change is read does not go either.
    settle(&mut [bob], &mut service);
    let waits = alice.client.send(group, "to whom?").unwrap();
    settle(&mut [alice, charlie, bob], &mut service);
    assert_eq!(id(bob), bobs, "the contact goes on");
    assert_eq!(falls(alice).last(), Some(&(bobs, Trust::Verified, Trust::Changed)));
    assert_eq!(falls(charlie), [(bobs, Trust::Pinned, Trust::Changed)]);
    assert_ne!(alice.client.safety_number(&bobs).unwrap(), number);
    assert!(alice.events.iter().any(|event| matches!(event,
        Event::Settled { operation, verdict: Verdict::Untrusted(person) }
            if *operation == waits && *person == bobs)));
    assert_eq!(bob.read(&group), []);
    assert!(
        matches!(alice.client.send(group, "to whom?"), Err(Fault::Untrusted(person)) if person == bobs)
    );
    alice.restart();
    assert!(matches!(alice.client.send(group, "to whom?"), Err(Fault::Untrusted(_))));
    // Elsewhere life goes on, and the old number is of no use.
    alice.client.send(with_charlie, "hello").unwrap();
    let old = alice.client.submit(OperationId::random().unwrap(), Command::Verify(bobs, number));
    assert!(matches!(old, Err(Fault::SafetyNumber(_))));
    let number = bob.client.safety_number(&alices).unwrap();
    submit(alice, Command::Verify(bobs, number));
    submit(charlie, Command::AcceptChange(bobs));
    assert_eq!((trust(alice, &bobs), trust(charlie, &bobs)), (Trust::Verified, Trust::Pinned));
    alice.client.send(group, "again").unwrap();
    charlie.client.send(group, "and again").unwrap();
    settle(&mut [alice, charlie, bob], &mut service);
    assert_eq!(bob.read(&group).len(), 2);
    // Who comes now sees the new keys first.
    let mut dora = Person::new("Dora");
    let package = dora.client.key_packages(dora.now, 1).unwrap().remove(0);
    alice.client.invite(group, package).unwrap();
    settle(&mut [alice, bob, charlie, &mut dora], &mut service);
    assert_eq!(trust(&mut dora, &bobs), Trust::Pinned);
    assert_eq!(
        dora.client.safety_number(&bobs).unwrap(),
        bob.client.safety_number(&id(&dora)).unwrap()
    );
}

#[test]
fn a_person_goes_on_after_replacing_keys_with_several_devices() {
    let mut service = MemoryService::new();
    let [mut alice, mut laptop, mut bob] = ["Alice", "Laptop", "Bob"].map(Person::new);
    let group = group_of(&mut [&mut alice, &mut bob], &mut service);
    link(&mut alice, &mut laptop, 1);
    settle(&mut [&mut alice, &mut laptop, &mut bob], &mut service);
    let alices = id(&alice);
    for _ in 0..2 {
        submit(&mut alice, Command::ReplaceKeys);
        settle(&mut [&mut alice, &mut laptop, &mut bob], &mut service);
        submit(&mut bob, Command::AcceptChange(alices));
    }
    // Bob counts both as hers, and her laptop has followed without distrusting her.
    assert_eq!(bob.client.person(&alices).unwrap().devices.len(), 2);
    assert_eq!(trust(&mut bob, &alices), Trust::Pinned);
    assert_eq!(trust(&mut laptop, &alices), Trust::Verified);
    laptop.client.send(group, "still me").unwrap();
    settle(&mut [&mut alice, &mut laptop, &mut bob], &mut service);
    assert_eq!(bob.read(&group), [("Alice".to_owned(), "still me".to_owned())]);
    assert_eq!(
        laptop.client.safety_number(&id(&bob)).unwrap(),
        bob.client.safety_number(&alices).unwrap()
    );
}

#[test]
fn the_devices_of_one_person_follow_one_another() {
    let mut service = MemoryService::new();
    let [mut alice, mut laptop, mut bob] = ["Alice", "Laptop", "Bob"].map(Person::new);
    // The two know one another by a group that they are both in.
    alice.client.found("First").unwrap();
    link(&mut alice, &mut laptop, 1);
    settle(&mut [&mut alice, &mut laptop], &mut service);
    laptop.client.publish_key_packages(5).unwrap();
    settle(&mut [&mut alice, &mut laptop], &mut service);
    // A group of her own, and one to which Bob invites her telephone.
    let founded = alice.client.found("Hers").unwrap();
    let invited = group_of(&mut [&mut bob, &mut alice], &mut service);
    settle(&mut [&mut alice, &mut laptop, &mut bob], &mut service);
    for group in [founded, invited] {
        assert!(laptop.client.group(&group).unwrap().in_step);
        assert!(!laptop.client.group(&group).unwrap().title.is_empty());
    }
    assert_eq!(bob.client.group(&invited).unwrap().members.len(), 3);
    bob.client.send(invited, "to both").unwrap();
    settle(&mut [&mut alice, &mut laptop, &mut bob], &mut service);
    for person in [&alice, &laptop] {
        assert_eq!(person.read(&invited).last().unwrap().1, "to both");
    }
    // Unless it should not; and a device without a key package is told of.
    alice.client.set_devices_follow(false);
    let alone = alice.client.found("Alone").unwrap();
    settle(&mut [&mut alice, &mut laptop], &mut service);
    assert_eq!(alice.client.group(&alone).unwrap().members.len(), 1);
    let mut tablet = Person::new("Tablet");
    link(&mut alice, &mut tablet, 9);
    settle(&mut [&mut alice, &mut laptop, &mut tablet, &mut bob], &mut service);
    alice.client.set_devices_follow(true);
    alice.client.found("Another").unwrap();
    settle(&mut [&mut alice, &mut laptop, &mut tablet], &mut service);
    let without = tablet.client.mailbox();
    assert!(alice.events.iter().any(|event| matches!(event,
        Event::NotDelivered { mailbox, .. } if *mailbox == without)));
}
