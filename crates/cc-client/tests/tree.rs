//! The ratchet tree of a group, as its members can look at it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use cc_client::{Command, Fault, GroupId, MemoryService, OperationId, Recipe};
use common::{Person, group_of, settle};

#[test]
fn members_see_one_tree_and_what_a_commit_renewed() {
    for recipe in [Recipe::group(), Recipe::paranoid()] {
        let mut service = MemoryService::new();
        let mut people = ["Alice", "Bob", "Charlie"].map(|name| Person::with(name, recipe.clone()));
        let [alice, bob, charlie] = &mut people;
        let group = group_of(&mut [alice, bob, charlie], &mut service);
        let before = alice.client.ratchet_tree(&group).unwrap().unwrap();
        let names: Vec<_> = before.leaves().filter_map(|(_, leaf)| leaf.name.as_deref()).collect();
        assert_eq!(names.len(), 3);

        let refresh = Command::Refresh(group);
        bob.client.submit(OperationId::random().unwrap(), refresh).unwrap();
        settle(&mut [alice, bob, charlie], &mut service);
        let after = alice.client.ratchet_tree(&group).unwrap().unwrap();
        assert_eq!(after.epoch(), before.epoch() + 1);
        assert!(after.to_text(Some(&before)).contains("● Bob [new key]"));
        assert!(!after.to_text(Some(&before)).contains("● Alice (you) [new key]"));
        for person in [&mut *bob, charlie] {
            let theirs = person.client.ratchet_tree(&group).unwrap().unwrap();
            assert_eq!(theirs.nodes(), after.nodes());
        }

        let members = vec![charlie.client.me().id];
        let remove = Command::Remove { group, members };
        alice.client.submit(OperationId::random().unwrap(), remove).unwrap();
        settle(&mut [alice, bob, charlie], &mut service);
        assert_eq!(charlie.client.ratchet_tree(&group).unwrap(), None);
        let unknown = GroupId::random().unwrap();
        assert!(matches!(alice.client.ratchet_tree(&unknown), Err(Fault::NoSuchGroup(_))));
    }
}
