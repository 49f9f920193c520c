//! Every recipe plays a conversation with a join, a removal and an update, and tells people of another one apart.

use crate::common;

use cc_client::{Command, Event, MemoryService, OperationId, Recipe, Verdict};
use common::{Person, settle};

#[test]
fn every_recipe_plays_a_conversation() {
    for name in Recipe::NAMES {
        let recipe = Recipe::named(name).unwrap();
        assert_eq!(recipe.name(), Some(name));
        let mut people: Vec<Person> =
            ["Alice", "Bob", "Charlie"].map(|who| Person::with(who, recipe.clone())).into();
        let mut service = MemoryService::new();
        let mut everyone: Vec<&mut Person> = people.iter_mut().collect();
        let group = common::group_of(&mut everyone, &mut service);
        everyone[1].client.send(group, "hello").unwrap();
        settle(&mut everyone, &mut service);
        everyone[0].client.submit(OperationId::random().unwrap(), Command::Refresh(group)).unwrap();
        settle(&mut everyone, &mut service);
        let charlie = everyone[2].client.me().id;
        everyone[0]
            .client
            .submit(
                OperationId::random().unwrap(),
                Command::Remove { group, members: vec![charlie] },
            )
            .unwrap();
        settle(&mut everyone, &mut service);
        // A restart reads the keys of every layer again.
        everyone[0].restart();
        everyone[0].client.send(group, "only us").unwrap();
        settle(&mut everyone, &mut service);
        let said = |from: &str, text: &str| (from.to_owned(), text.to_owned());
        assert_eq!(everyone[1].read(&group), [said("Alice", "only us")], "{name}");
        assert_eq!(everyone[2].read(&group), [said("Bob", "hello")], "{name}");
    }
}

#[test]
fn a_person_of_another_recipe_is_refused_and_told_why() {
    let mut service = MemoryService::new();
    let mut alice = Person::with("Alice", Recipe::post_quantum());
    let mut bob = Person::with("Bob", Recipe::group());
    let group = alice.client.found("Dev Team").unwrap();
    let package = bob.client.key_packages(bob.now, 1).unwrap().remove(0);
    let id = alice.client.invite(group, package).unwrap();
    settle(&mut [&mut alice, &mut bob], &mut service);
    let why = alice.events.iter().find_map(|event| match event {
        Event::Settled { operation, verdict: Verdict::Refused(why) } if *operation == id => {
            Some(why.clone())
        }
        _ => None,
    });
    let why = why.unwrap();
    assert!(why.contains("stack"), "{why}");
    assert!(bob.client.groups().next().is_none());
}
