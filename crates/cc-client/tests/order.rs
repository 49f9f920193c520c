//! A service that shows the items of a log in another order than they were appended in, or more of them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::common;

use cc_client::{
    Call, Command, Event, Failure, Fate, GroupId, Input, Item, LogId, MemoryService, OperationId,
    Page, Position,
};
use common::{Person, append_of, group_of, settle};

/// Renews the keys of somebody, who says with it who it is.
fn refresh(person: &mut Person, group: GroupId, service: &mut MemoryService) {
    person.client.submit(OperationId::random().unwrap(), Command::Refresh(group)).unwrap();
    person.turn(service);
    person.pass(2_500);
    person.turn(service);
}

/// The items of a log behind a position.
fn behind(service: &MemoryService, group: GroupId, position: Position) -> Vec<Item> {
    service.log(&group).into_iter().filter(|item| item.position > position).collect()
}

/// Renews the keys of somebody; gives the commit, and where the log ends then.
fn renewal(person: &mut Person, group: GroupId, service: &mut MemoryService) -> (Item, Position) {
    let before = person.client.group(&group).unwrap().cursor;
    refresh(person, group, service);
    let renewed = behind(service, group, before);
    assert!(renewed[0].commit);
    (renewed[0].clone(), renewed.last().unwrap().position)
}

/// Shows these to a reader, at the positions behind what it read; gives the fates.
fn show(
    reader: &mut Person,
    group: GroupId,
    items: impl IntoIterator<Item = Item>,
) -> Vec<(LogId, Position, Fate)> {
    let mut head = reader.client.group(&group).unwrap().cursor;
    let items: Vec<Item> = items
        .into_iter()
        .map(|item| {
            head = head.next();
            Item { position: head, ..item }
        })
        .collect();
    let page = Page { items, head, forgotten: Position::START };
    reader.client.handle(reader.now, Input::Page { log: group, page }).unwrap().fates
}

fn fates(fates: &[(LogId, Position, Fate)], from: Position) -> Vec<(u64, Fate)> {
    fates.iter().map(|(_, position, fate)| (position.0 - from.0, *fate)).collect()
}

/// Messages of the next epoch come before its commit: they are kept, also by a process that is killed, and read
/// when the commit is there.
#[test]
fn messages_before_the_commit_of_their_epoch_are_kept_and_read_behind_it() {
    for killed in [false, true] {
        let mut service = MemoryService::new();
        let [mut alice, mut bob] = ["Alice", "Bob"].map(Person::new);
        let group = group_of(&mut [&mut alice, &mut bob], &mut service);
        let before = bob.client.group(&group).unwrap().cursor;
        let (commit, last) = renewal(&mut alice, group, &mut service);
        for text in ["one", "two"] {
            alice.client.send(group, text).unwrap();
        }
        alice.turn(&mut service);
        let [one, two] = <[Item; 2]>::try_from(behind(&service, group, last)).unwrap();
        let early = show(&mut bob, group, [one, two]);
        assert_eq!(fates(&early, before), [(1, Fate::Early), (2, Fate::Early)]);
        assert!(bob.client.events(cc_client::EventId(0), 9).unwrap().is_empty());
        if killed {
            bob.restart();
        }
        let ledger = show(&mut bob, group, [commit]);
        assert_eq!(
            fates(&ledger, before),
            [(3, Fate::Change), (1, Fate::Message), (2, Fate::Message)]
        );
        bob.take_events();
        let read: Vec<_> = bob.read(&group).into_iter().map(|(_, text)| text).collect();
        assert_eq!(read, ["one", "two"]);
        bob.client.send(group, "in step").unwrap();
        settle(&mut [&mut bob, &mut alice], &mut service);
        assert_eq!(alice.read(&group).len(), 1);
    }
}

/// What is early is bounded: of 300 the oldest are given up, and that is told.
#[test]
fn early_messages_are_bounded_and_those_given_up_are_told() {
    const ALL: usize = 300;
    const KEPT: usize = 256;
    let mut service = MemoryService::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(Person::new);
    let group = group_of(&mut [&mut alice, &mut bob], &mut service);
    let before = bob.client.group(&group).unwrap().cursor;
    let (commit, last) = renewal(&mut alice, group, &mut service);
    for number in 0..ALL {
        alice.client.send(group, format!("{number}")).unwrap();
    }
    alice.turn(&mut service);
    let news = behind(&service, group, last);
    assert_eq!(news.len(), ALL);
    for item in news {
        let fate = show(&mut bob, group, [item]);
        assert!(fate.iter().any(|(_, _, fate)| *fate == Fate::Early));
    }
    show(&mut bob, group, [commit]);
    bob.take_events();
    let read: Vec<_> = bob.read(&group).into_iter().map(|(_, text)| text).collect();
    let kept: Vec<_> = (ALL - KEPT..ALL).map(|number| number.to_string()).collect();
    assert_eq!(read, kept);
    let given_up = bob.events.iter().filter(|event| {
        matches!(event, Event::Unreadable { fate: Fate::TooLate, position, .. } if *position > before)
    });
    assert_eq!(given_up.count(), ALL - KEPT);
}

/// A message whose epoch ended before the log showed it is sealed anew, and then the service shows both copies, in
/// either order: it is read once.
#[test]
fn a_message_that_was_sealed_anew_is_read_once_where_both_copies_come() {
    for old_first in [true, false] {
        let mut service = MemoryService::new();
        let [mut alice, mut bob, mut carol] = ["Alice", "Bob", "Carol"].map(Person::new);
        let group = group_of(&mut [&mut alice, &mut bob, &mut carol], &mut service);
        alice.client.send(group, "twice").unwrap();
        let first = append_of(&mut alice, &mut service);
        let Call::Append(append) = &first.call else { panic!("{:?}", first.call) };
        let old = Item { position: Position::START, commit: false, bytes: append.items[0].clone() };
        let input = Input::Response { id: first.id, result: Err(Failure::Unknown) };
        let _ledger = alice.client.handle(alice.now, input).unwrap();
        refresh(&mut carol, group, &mut service);
        bob.turn(&mut service);
        let before = service.log(&group).len();
        for _ in 0..5 {
            alice.pass(10_000);
            alice.turn(&mut service);
        }
        let news = service.log(&group).split_off(before);
        let [new] = <[Item; 1]>::try_from(news).unwrap();
        assert_ne!(new.bytes, old.bytes);
        let all = if old_first { [old, new] } else { [new, old] };
        let ledger = show(&mut bob, group, all);
        let told: Vec<_> = ledger.iter().map(|(_, _, fate)| *fate).collect();
        assert_eq!(told, [Fate::Message, Fate::Duplicate]);
        bob.take_events();
        assert_eq!(bob.read(&group).len(), 1);
    }
}
