//! What members do of themselves: not all at once, and not more often than they are to.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

use crate::common;

use cc_client::{Command, Event, GroupId, MemoryService, OperationId, RefreshPolicy};
use common::{Person, group_of, settle};

const DAY: u64 = 24 * 3_600_000;

fn commits(service: &MemoryService, group: &GroupId) -> usize {
    service.log(group).iter().filter(|item| item.commit).count()
}

#[test]
fn one_leave_among_fifty_takes_one_commit_or_few() {
    let mut service = MemoryService::new();
    let mut people: Vec<Person> = (0..50).map(|at| Person::new(&format!("person {at}"))).collect();
    let group = people[0].client.found("Fifty").unwrap();
    let packages: Vec<_> = people[1..]
        .iter_mut()
        .map(|person| {
            let now = person.now;
            person.client.key_packages(now, 1).unwrap().remove(0)
        })
        .collect();
    let add = Command::Add { group, packages };
    people[0].client.submit(OperationId::random().unwrap(), add).unwrap();
    let all = |people: &mut Vec<Person>, service: &mut MemoryService, rounds| {
        for _ in 0..rounds {
            for person in &mut *people {
                person.turn(service);
                person.pass(1_000);
            }
        }
    };
    all(&mut people, &mut service, 3);
    let before = commits(&service, &group);
    people[7].client.submit(OperationId::random().unwrap(), Command::Leave(group)).unwrap();
    all(&mut people, &mut service, 10);
    let made = commits(&service, &group) - before;
    assert!((1..=3).contains(&made), "{made} commits for one leave");
    for (at, person) in people.iter_mut().enumerate().filter(|(at, _)| *at != 7) {
        assert_eq!(person.client.group(&group).unwrap().members.len(), 49, "person {at}");
    }
    assert!(people[7].events.iter().any(|event| matches!(event, Event::Left { myself: true, .. })));
}

#[test]
fn secrets_are_renewed_after_days_and_not_by_all_at_once() {
    let mut service = MemoryService::new();
    let mut people = ["Alice", "Bob", "Charlie", "Dora"].map(Person::new);
    let group = group_of(&mut people.iter_mut().collect::<Vec<_>>(), &mut service);
    let before = commits(&service, &group);
    let mut by_day = Vec::new();
    for _ in 0..12 {
        let now = commits(&service, &group);
        for person in &mut people {
            person.pass(DAY);
        }
        for _ in 0..8 {
            for person in &mut people {
                person.turn(&mut service);
                person.pass(2_000);
            }
        }
        by_day.push(commits(&service, &group) - now);
    }
    let made = commits(&service, &group) - before;
    assert_eq!(made, 4, "each once within 7 to 10.5 days: {by_day:?}");
    assert_eq!(by_day[..6].iter().sum::<usize>(), 0, "none before a week is over: {by_day:?}");
    let authenticators = people.map(|person| {
        let renewed =
            person.events.iter().filter(|event| matches!(event, Event::KeysChanged { .. }));
        assert_eq!(renewed.count(), 4, "{}", person.name);
        person.client.group(&group).unwrap().authenticator
    });
    assert!(authenticators.iter().all(|authenticator| *authenticator == authenticators[0]));
}

#[test]
fn secrets_are_renewed_after_messages_or_never() {
    for policy in [Some(RefreshPolicy { days: 365, messages: 20 }), None] {
        let mut service = MemoryService::new();
        let [mut alice, mut bob] = ["Alice", "Bob"].map(Person::new);
        let group = group_of(&mut [&mut alice, &mut bob], &mut service);
        for person in [&mut alice, &mut bob] {
            person.client.set_refresh_policy(policy);
        }
        let before = commits(&service, &group);
        for number in 0..60 {
            alice.client.send(group, format!("{number}")).unwrap();
            for _ in 0..3 {
                alice.turn(&mut service);
                alice.pass(5_000);
                bob.turn(&mut service);
                bob.pass(5_000);
            }
        }
        if policy.is_none() {
            alice.pass(1_000 * DAY);
        }
        settle(&mut [&mut alice, &mut bob], &mut service);
        let made = commits(&service, &group) - before;
        match policy {
            Some(_) => assert!((2..=3).contains(&made), "{made} by who sent 60 messages"),
            None => assert_eq!(made, 0),
        }
        assert_eq!(bob.read(&group).len(), 60);
    }
}

#[test]
fn a_clock_that_goes_back_renews_nothing() {
    let mut service = MemoryService::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(Person::new);
    let group = group_of(&mut [&mut alice, &mut bob], &mut service);
    let before = commits(&service, &group);
    for _ in 0..5 {
        alice.now.wall -= 300 * DAY;
        settle(&mut [&mut alice, &mut bob], &mut service);
    }
    assert_eq!(commits(&service, &group), before);
}
