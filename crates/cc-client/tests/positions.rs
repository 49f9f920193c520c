//! A service that is wrong about positions: put back to an old copy, or lying. Nothing is lost in silence, and
//! nobody stops for ever.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

use crate::common;

use cc_client::{
    Call, Command, Event, Fate, GroupId, Input, LogId, MemoryService, OperationId, Page, Position,
    Reply,
};
use common::{Person, group_of, settle};

const FAR: Position = Position(1 << 60);

fn rolled_back(person: &Person, of: &LogId) -> Vec<(Position, Position)> {
    let told = person.events.iter().filter_map(|event| match event {
        Event::RolledBack { log, from, to } if log == of => Some((*from, *to)),
        _ => None,
    });
    told.collect()
}

fn texts(person: &Person, group: &GroupId) -> Vec<String> {
    person.read(group).into_iter().map(|(_, text)| text).collect()
}

/// All requests go to the service, but for the first one that `lie` has an answer for.
fn lie_once(
    person: &mut Person,
    service: &mut MemoryService,
    lie: impl Fn(&Call) -> Option<Reply>,
) -> bool {
    person.pass(100_000);
    let mut lied = false;
    while let Some(request) = person.client.poll_request(person.now).unwrap() {
        let answer = if lied { None } else { lie(&request.call) };
        lied |= answer.is_some();
        let result = answer.map_or_else(|| request.perform(service), Ok);
        let input = Input::Response { id: request.id, result };
        let _ledger = person.client.handle(person.now, input).unwrap();
        if lied {
            break;
        }
    }
    lied
}

#[test]
fn what_a_service_has_after_it_was_put_back_is_read() {
    let mut service = MemoryService::new();
    let mut people = ["Alice", "Bob"].map(Person::new);
    let [alice, bob] = &mut people;
    let group = group_of(&mut [alice, bob], &mut service);
    alice.client.send(group, "before the copy").unwrap();
    settle(&mut [alice, bob], &mut service);
    let mut old = service.fork();
    for number in 0..3 {
        alice.client.send(group, format!("lost {number}")).unwrap();
        settle(&mut [alice], &mut service);
    }
    settle(&mut [bob], &mut service);
    let read = bob.client.group(&group).unwrap().cursor;
    // The old copy is back, and goes on from there.
    bob.client.send(group, "of Bob").unwrap();
    settle(&mut [bob], &mut old);
    alice.client.send(group, "of Alice").unwrap();
    settle(&mut [alice, bob], &mut old);
    let to = Position(read.0 - 3);
    assert_eq!(rolled_back(bob, &group), [(read, to)]);
    // By then Bob's was there, at a place of which Alice had read something else.
    assert_eq!(rolled_back(alice, &group), [(read, to.next())]);
    assert_eq!(texts(alice, &group), ["of Bob"]);
    let all = ["before the copy", "lost 0", "lost 1", "lost 2", "of Alice"];
    assert_eq!(texts(bob, &group), all, "each once");
    for person in [alice, bob] {
        let unread = [Fate::Forged, Fate::TooLate, Fate::Malformed];
        assert!(person.fates.iter().all(|(_, _, fate)| !unread.contains(fate)), "{}", person.name);
        assert!(person.client.group(&group).unwrap().in_step);
    }
}

#[test]
fn a_mailbox_that_was_put_back_is_read() {
    let mut service = MemoryService::new();
    let mut people = ["Alice", "Bob"].map(Person::new);
    let [alice, bob] = &mut people;
    let mut old = service.fork();
    group_of(&mut [alice, bob], &mut service);
    // In the old copy there is none of it; Alice's next invitation is where the first one was.
    settle(&mut [bob], &mut old);
    let group = alice.client.found("Another").unwrap();
    let package = bob.client.key_packages(bob.now, 1).unwrap().remove(0);
    alice.client.invite(group, package).unwrap();
    settle(&mut [alice, bob], &mut old);
    assert_eq!(rolled_back(bob, &bob.client.mailbox()), [(Position(1), Position(0))]);
    assert!(bob.client.group(&group).unwrap().in_step);
}

#[test]
fn a_position_far_ahead_keeps_nobody_from_reading() {
    let mut service = MemoryService::new();
    let mut people = ["Alice", "Bob"].map(Person::new);
    let [alice, bob] = &mut people;
    let group = group_of(&mut [alice, bob], &mut service);
    let mailbox = bob.client.mailbox();
    let ahead = Page { items: Vec::new(), forgotten: FAR, head: FAR };
    for log in [group, mailbox] {
        let lied = lie_once(bob, &mut service, |call| match call {
            Call::Read(read) if read.log == log => Some(Reply::Page(ahead.clone())),
            _ => None,
        });
        assert!(lied);
    }
    alice.client.send(group, "still read").unwrap();
    let other = alice.client.found("Another").unwrap();
    let package = bob.client.key_packages(bob.now, 1).unwrap().remove(0);
    alice.client.invite(other, package).unwrap();
    bob.pass(100_000);
    settle(&mut [alice, bob], &mut service);
    assert_eq!(texts(bob, &group), ["still read"]);
    assert!(bob.client.group(&other).unwrap().in_step);
    for log in [group, mailbox] {
        let missed = bob.events.iter().any(|event| {
            matches!(event,
            Event::Missed { log: of, missed } if *of == log && missed.end == FAR)
        });
        assert!(missed, "the lie is told");
        assert!(rolled_back(bob, &log).iter().any(|(from, _)| *from == FAR), "and its end");
    }
}

#[test]
fn what_a_service_says_to_have_taken_and_has_not_goes_again() {
    let mut service = MemoryService::new();
    let mut people = ["Alice", "Bob"].map(Person::new);
    let [alice, bob] = &mut people;
    let group = group_of(&mut [alice, bob], &mut service);
    for refresh in [false, true] {
        if refresh {
            let refresh = Command::Refresh(group);
            alice.client.submit(OperationId::random().unwrap(), refresh).unwrap();
        } else {
            alice.client.send(group, "taken?").unwrap();
        }
        let lied = lie_once(alice, &mut service, |call| match call {
            Call::Append(append) if append.log == group => Some(Reply::Appended(FAR)),
            _ => None,
        });
        assert!(lied);
        let before = alice.events.len();
        alice.pass(100_000);
        settle(&mut [alice, bob], &mut service);
        let settled =
            alice.events[before..].iter().any(|event| matches!(event, Event::Settled { .. }));
        assert!(settled, "refresh: {refresh}");
    }
    assert_eq!(texts(bob, &group), ["taken?"]);
}
