//! Commands are known again by their ids: while they wait, while they are on their way, and when they are
//! settled, after a restart too.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::common;

use cc_client::{
    Command, Event, EventId, Fault, GroupId, Input, MemoryService, OperationId, Page, Position,
    Verdict,
};
use common::{Person, append_of, group_of, settle};

/// Settled commands that are remembered at least.
const REMEMBERED: usize = 4096;
const BATCH: usize = 64;

fn id() -> OperationId {
    OperationId::random().unwrap()
}

fn send(group: GroupId, text: &str) -> Command {
    Command::Send { group, content: text.as_bytes().to_vec() }
}

/// The same again does nothing, and another one is refused.
fn expect_known(person: &mut Person, id: OperationId, command: &Command, group: GroupId) {
    for _ in 0..2 {
        person.client.submit(id, command.clone()).unwrap();
        let other = person.client.submit(id, send(group, "something else"));
        assert!(matches!(other, Err(Fault::OperationExists(known)) if known == id), "{other:?}");
        person.restart();
    }
}

#[test]
fn a_command_is_known_while_it_waits_and_on_its_way_and_settled() {
    let mut service = MemoryService::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(Person::new);
    let group = group_of(&mut [&mut alice, &mut bob], &mut service);
    let first = (id(), send(group, "said once"));
    let second = (id(), Command::Refresh(group));
    for (id, command) in [&first, &second] {
        alice.client.submit(*id, command.clone()).unwrap();
    }
    let expect = |alice: &mut Person| {
        expect_known(alice, first.0, &first.1, group);
        expect_known(alice, second.0, &second.1, group);
    };
    expect(&mut alice);
    let request = append_of(&mut alice, &mut service);
    expect(&mut alice);
    // What is on its way is the same after a restart, to the byte.
    assert_eq!(append_of(&mut alice, &mut service), request);
    settle(&mut [&mut alice, &mut bob], &mut service);
    expect(&mut alice);
    settle(&mut [&mut alice, &mut bob], &mut service);
    assert_eq!(bob.read(&group), [("Alice".to_owned(), "said once".to_owned())]);
    for (of, _) in [&first, &second] {
        let verdicts = alice.events.iter().filter(|event| {
            matches!(event, Event::Settled { operation, verdict: Verdict::Done(_) }
                if operation == of)
        });
        assert_eq!(verdicts.count(), 1);
    }
}

/// A part of what was appended in one go is shown, and then the rest: each message has one verdict, and none
/// goes again.
#[test]
fn what_has_landed_is_known_after_a_restart() {
    let mut service = MemoryService::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(Person::new);
    let group = group_of(&mut [&mut alice, &mut bob], &mut service);
    let commands: Vec<_> = ["one", "two", "three"].map(|text| (id(), send(group, text))).into();
    let start = service.log(&group).len();
    alice.client.submit_all(commands.clone()).unwrap();
    assert!(append_of(&mut alice, &mut service).perform(&mut service).is_ok());
    let items = service.log(&group).split_off(start);
    let head = items.last().unwrap().position;
    for item in [&items[0], &items[1], &items[0]] {
        let page = Page { items: vec![item.clone()], head, forgotten: Position::START };
        let input = Input::Page { log: group, page };
        let _ledger = alice.client.handle(alice.now, input).unwrap();
        alice.restart();
        alice.client.submit_all(commands.clone()).unwrap();
    }
    settle(&mut [&mut alice, &mut bob], &mut service);
    let texts: Vec<_> = bob.read(&group).into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["one", "two", "three"]);
    assert_eq!(service.log(&group).len(), start + 3);
    for (of, _) in &commands {
        let settled =
            |event: &&Event| matches!(event, Event::Settled { operation, .. } if operation == of);
        assert_eq!(alice.events.iter().filter(settled).count(), 1);
    }
}

/// Messages in a log: a commit may come at any time, for members renew their keys on their own.
fn messages(service: &MemoryService, group: &GroupId) -> usize {
    service.log(group).iter().filter(|item| !item.commit).count()
}

#[test]
fn the_last_settled_commands_are_known_and_those_before_are_not() {
    let mut service = MemoryService::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(Person::new);
    let group = group_of(&mut [&mut alice, &mut bob], &mut service);
    // Who renews its keys says once more who it is, which is a message as well.
    alice.client.set_refresh_policy(None);
    let mut commands = Vec::new();
    for batch in 0..(REMEMBERED / BATCH + 2) {
        let batch: Vec<_> =
            (0..BATCH).map(|at| (id(), send(group, &format!("{batch} {at}")))).collect();
        commands.extend(batch.clone());
        alice.client.submit_all(batch).unwrap();
        alice.turn(&mut service);
        alice.take_events();
        alice.pass(1);
    }
    for restart in [false, true] {
        if restart {
            alice.restart();
            alice.client.set_refresh_policy(None);
        }
        let said = messages(&service, &group);
        let last = commands.iter().rev().take(REMEMBERED).cloned();
        alice.client.submit_all(last).unwrap();
        alice.turn(&mut service);
        assert_eq!(messages(&service, &group), said);
    }
    let (of, command) = commands.swap_remove(0);
    let said = messages(&service, &group);
    alice.client.submit(of, command).unwrap();
    alice.turn(&mut service);
    assert_eq!(messages(&service, &group), said + 1);
}

/// That a command is done is told from what remembers the command, and longer than that.
#[test]
fn what_is_done_is_told_until_it_is_acknowledged() {
    let mut service = MemoryService::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(Person::new);
    let group = group_of(&mut [&mut alice, &mut bob], &mut service);
    alice.take_events();
    let mut ids = Vec::new();
    for _ in 0..(REMEMBERED / BATCH + 2) {
        let batch: Vec<_> = (0..BATCH).map(|_| (id(), send(group, "text"))).collect();
        ids.extend(batch.iter().map(|(id, _)| *id));
        alice.client.submit_all(batch).unwrap();
        while alice.step(&mut service) {}
        alice.pass(1);
    }
    let mut done = Vec::new();
    let mut position = Position::START;
    // Some are acknowledged in between, within a block and at its end.
    for (limit, restart) in
        [(REMEMBERED, true), (1, true), (3, true), (7, false), (ids.len(), true)]
    {
        if restart {
            alice.restart();
            while alice.step(&mut service) {}
        }
        let events = alice.client.events(EventId(0), limit).unwrap();
        assert_eq!(events, alice.client.events(EventId(0), limit).unwrap());
        for (_, event) in &events {
            if let Event::Settled { operation, verdict: Verdict::Done(at) } = event {
                assert!(*at > position);
                position = *at;
                done.push(*operation);
            }
        }
        alice.client.acknowledge(events.last().unwrap().0, &[]).unwrap();
    }
    assert_eq!(done, ids);
    alice.restart();
    assert!(alice.client.events(EventId(0), 9).unwrap().is_empty());
}
