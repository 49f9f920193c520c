//! A network that loses, repeats, delays, reorders and lies, and people whose machines are killed: everybody
//! reads everything once, and every item has its fate.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

use crate::common;

use std::collections::{BTreeMap, BTreeSet};

use cc_client::{
    Command, Event, Fate, Faults, GroupId, MemoryService, OperationId, Position, Verdict,
};
use common::{Person, group_of, settle};
use proptest::prelude::*;

/// What was sent in a group by whom, and by whom it was read, in all.
fn check_exactly_once(people: &[Person], group: &GroupId, sent: &BTreeSet<(String, String)>) {
    for person in people {
        let mut counts = BTreeMap::<(String, String), u32>::new();
        for message in person.read(group) {
            *counts.entry(message).or_default() += 1;
        }
        for ((from, text), count) in &counts {
            assert_eq!(*count, 1, "{} read {text:?} of {from} {count} times", person.name);
        }
        for message in sent.iter().filter(|(from, _)| *from != person.name) {
            let unread = person.fates.iter().filter(|(log, _, fate)| {
                log == group
                    && !matches!(
                        fate,
                        Fate::Message
                            | Fate::Change
                            | Fate::OwnEcho
                            | Fate::Duplicate
                            | Fate::Early
                            | Fate::LostRace
                    )
            });
            let unread: Vec<_> = unread.map(|(_, position, fate)| (position.0, *fate)).collect();
            assert!(counts.contains_key(message), "{} lost {message:?}; {unread:?}", person.name);
        }
    }
}

fn check_no_forgeries(people: &[Person]) {
    for person in people {
        let forged = person.fates.iter().filter(|(_, _, fate)| *fate == Fate::Forged).count();
        assert_eq!(forged, 0, "{} took a lossy network for an attack", person.name);
    }
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

/// `count` people in one group for `steps` steps over a bad network.
fn simulate(seed: u64, count: usize, steps: u32) {
    let mut dice = Dice(seed | 1);
    let mut service = MemoryService::new();
    let mut people: Vec<Person> =
        (0..count).map(|at| Person::new(&format!("person {at}"))).collect();
    let group = group_of(&mut people.iter_mut().collect::<Vec<_>>(), &mut service);
    let faults = Faults {
        lost_requests: 80,
        lost_replies: 80,
        late_copies: 60,
        shuffled_pages: 150,
        busy: 30,
    };
    service.set_faults(faults, seed);
    let mut sent = BTreeSet::new();
    for step in 0..steps {
        let at = usize::try_from(dice.below(count as u64)).unwrap();
        let person = &mut people[at];
        match dice.below(100) {
            0..15 => {
                let text = format!("message {step}");
                person.client.send(group, &text).unwrap();
                sent.insert((person.name.clone(), text));
            }
            15..18 => {
                let refresh = Command::Refresh(group);
                person.client.submit(OperationId::random().unwrap(), refresh).unwrap();
            }
            18..23 => person.restart(),
            23..30 => {
                person.now.wall =
                    person.now.wall.wrapping_add(dice.below(1 << 35)).wrapping_sub(1 << 34)
            }
            30..45 => person.now.mono += dice.below(8_000),
            45..50 => person.take_events(),
            _ => {
                person.step(&mut service);
            }
        }
    }
    service.set_faults(Faults::default(), seed);
    settle(&mut people.iter_mut().collect::<Vec<_>>(), &mut service);
    for person in &mut people {
        person.pass(120_000);
    }
    settle(&mut people.iter_mut().collect::<Vec<_>>(), &mut service);
    check_exactly_once(&people, &group, &sent);
    check_no_forgeries(&people);
    let views: Vec<_> =
        people.iter_mut().map(|person| person.client.group(&group).unwrap()).collect();
    for view in &views {
        assert_eq!(view.authenticator, views[0].authenticator, "seed {seed}");
        assert!(view.in_step, "seed {seed}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn everybody_reads_everything_once(seed in any::<u64>()) {
        simulate(seed, 4, 400);
    }
}

#[test]
#[ignore = "long"]
fn many_people_for_long() {
    let seed = std::env::var("CC_CLIENT_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or(1);
    eprintln!("CC_CLIENT_SEED={seed}");
    simulate(seed, 12, 20_000);
}

#[test]
fn changes_that_race_are_all_made() {
    let mut service = MemoryService::new();
    let mut people = ["Alice", "Bob", "Charlie"].map(Person::new);
    let [alice, bob, charlie] = &mut people;
    let group = group_of(&mut [alice, bob, charlie], &mut service);
    let mut newcomers = ["Dora", "Emil", "Fred"].map(Person::new);
    for (person, newcomer) in [&mut *alice, bob, charlie].into_iter().zip(&mut newcomers) {
        let package = newcomer.client.key_packages(newcomer.now, 1).unwrap().remove(0);
        person.client.invite(group, package).unwrap();
    }
    let mut all: Vec<&mut Person> = people.iter_mut().chain(&mut newcomers).collect();
    settle(&mut all, &mut service);
    for person in &mut all {
        assert_eq!(person.client.group(&group).unwrap().members.len(), 6, "{}", person.name);
    }
}

#[test]
fn what_two_want_to_remove_is_settled_for_both() {
    let mut service = MemoryService::new();
    let mut people = ["Alice", "Bob", "Charlie"].map(Person::new);
    let [alice, bob, charlie] = &mut people;
    let group = group_of(&mut [alice, bob, charlie], &mut service);
    let members = vec![charlie.client.me().id];
    for person in [&mut *alice, bob] {
        let remove = Command::Remove { group, members: members.clone() };
        person.client.submit(OperationId::random().unwrap(), remove).unwrap();
    }
    settle(&mut [alice, bob, charlie], &mut service);
    let verdicts = [&*alice, bob].map(|person| {
        let mut settled = person.events.iter().filter_map(|event| match event {
            Event::Settled { verdict, .. } => Some(verdict.clone()),
            _ => None,
        });
        settled.next_back().unwrap()
    });
    assert!(verdicts.contains(&Verdict::Superseded), "{verdicts:?}");
    assert!(verdicts.iter().any(|verdict| matches!(verdict, Verdict::Done(_))), "{verdicts:?}");
}

#[test]
fn a_fake_commit_stops_nobody() {
    let mut service = MemoryService::new();
    let mut people = ["Alice", "Bob"].map(Person::new);
    let [alice, bob] = &mut people;
    let group = group_of(&mut [alice, bob], &mut service);
    // Somebody with access to the log appends noise, and noise that claims to be a commit.
    service.inject(&group, false, vec![7; 100]);
    service.inject(&group, true, vec![1; 100]);
    let real = service.log(&group);
    let mut damaged = real.last().map(|item| item.bytes.clone()).unwrap_or_default();
    damaged.truncate(10);
    service.inject(&group, true, damaged);
    alice.client.send(group, "still here").unwrap();
    let refresh = Command::Refresh(group);
    bob.client.submit(OperationId::random().unwrap(), refresh).unwrap();
    settle(&mut [alice, bob], &mut service);
    assert_eq!(bob.read(&group), [("Alice".to_owned(), "still here".to_owned())]);
    let epochs = [alice, bob].map(|person| person.client.group(&group).unwrap().epoch);
    assert_eq!(epochs[0], epochs[1]);
}

#[test]
fn a_fork_is_told_and_healed() {
    let mut service = MemoryService::new();
    let mut people = ["Alice", "Bob", "Charlie"].map(Person::new);
    let [alice, bob, charlie] = &mut people;
    let group = group_of(&mut [alice, bob, charlie], &mut service);
    // The service shows Charlie another log from here on, in which another commit stands.
    let mut other = service.fork();
    for person in [&mut *alice, charlie] {
        let refresh = Command::Refresh(group);
        person.client.submit(OperationId::random().unwrap(), refresh).unwrap();
    }
    settle(&mut [alice, bob], &mut service);
    settle(&mut [charlie], &mut other);
    let [a, c] = [&mut *alice, charlie].map(|p| p.client.group(&group).unwrap().authenticator);
    assert_ne!(a, c, "two views have two authenticators");
    // Charlie sees the one log again, whose next commit does not follow on his.
    let refresh = Command::Refresh(group);
    alice.client.submit(OperationId::random().unwrap(), refresh).unwrap();
    settle(&mut [alice, bob], &mut service);
    for _ in 0..4 {
        charlie.pass(40_000);
        settle(&mut [alice, bob, charlie], &mut service);
    }
    assert!(charlie.events.iter().any(|event| matches!(event, Event::Diverged { .. })));
    assert!(charlie.events.iter().any(|event| matches!(event, Event::Repaired { .. })));
    alice.client.send(group, "all together again").unwrap();
    settle(&mut [alice, bob, charlie], &mut service);
    let last = ("Alice".to_owned(), "all together again".to_owned());
    assert_eq!(charlie.read(&group).last(), Some(&last));
    assert_eq!(bob.read(&group).last(), Some(&last));
}

#[test]
fn who_comes_back_from_a_longer_fork_reads_all_that_follows() {
    let mut service = MemoryService::new();
    let mut people = ["Alice", "Bob", "Charlie"].map(Person::new);
    let [alice, bob, charlie] = &mut people;
    let group = group_of(&mut [alice, bob, charlie], &mut service);
    let mut other = service.fork();
    for number in 0..30 {
        charlie.client.send(group, format!("to nobody {number}")).unwrap();
        charlie.turn(&mut other);
        charlie.pass(2_500);
    }
    for person in [&mut *alice, charlie] {
        let refresh = Command::Refresh(group);
        person.client.submit(OperationId::random().unwrap(), refresh).unwrap();
    }
    settle(&mut [alice, bob], &mut service);
    settle(&mut [charlie], &mut other);
    assert!(service.log(&group).len() + 20 < other.log(&group).len());
    // The one log is shorter than what Charlie has read, also when he is back.
    charlie.client.send(group, "to all").unwrap();
    let mut sent = Vec::new();
    for number in 0..12 {
        let text = format!("message {number}");
        alice.client.send(group, &text).unwrap();
        sent.push(("Alice".to_owned(), text));
        charlie.pass(40_000);
        settle(&mut [alice, bob, charlie], &mut service);
    }
    assert!(charlie.events.iter().any(|event| matches!(event, Event::Repaired { .. })));
    let repaired = charlie.client.group(&group).unwrap().joined_at;
    let followed = service.log(&group).len() as u64 - repaired.0;
    assert!(followed > 5);
    // All that came behind the commit by which he is back.
    let read = charlie.read(&group);
    let first = sent.iter().position(|message| read.contains(message)).unwrap();
    assert_eq!(read, sent[first..]);
    assert!(first <= 2, "{first}");
    let from_charlie = |person: &Person| {
        person.read(&group).into_iter().filter(|(from, _)| from == "Charlie").collect::<Vec<_>>()
    };
    assert_eq!(from_charlie(bob), [("Charlie".to_owned(), "to all".to_owned())]);
    let epochs = [alice, bob, charlie].map(|person| person.client.group(&group).unwrap().epoch);
    assert_eq!(epochs[0], epochs[2]);
}

#[test]
fn an_addition_comes_into_force_when_its_key_package_is_over() {
    let mut service = MemoryService::new();
    let mut people = ["Alice", "Bob"].map(Person::new);
    let [alice, bob] = &mut people;
    for person in [&mut *alice, bob] {
        // In 2001 by their clocks. A stack that is opened has the system's, until it is told otherwise.
        person.now.wall = 1_000_000_000_000;
    }
    let group = alice.client.found("Dev Team").unwrap();
    let package = bob.client.key_packages(bob.now, 1).unwrap().remove(0);
    alice.client.invite(group, package).unwrap();
    while service.log(&group).is_empty() {
        assert!(alice.step(&mut service));
    }
    alice.restart();
    settle(&mut [alice, bob], &mut service);
    for person in [alice, bob] {
        assert_eq!(person.client.group(&group).unwrap().members.len(), 2, "{}", person.name);
    }
}

#[test]
fn who_is_removed_and_added_again_meanwhile_is_in_the_group() {
    let mut service = MemoryService::new();
    let mut people = ["Alice", "Bob", "Charlie"].map(Person::new);
    let [alice, bob, charlie] = &mut people;
    let group = group_of(&mut [alice, bob, charlie], &mut service);
    alice.client.send(group, "before").unwrap();
    alice.turn(&mut service);
    let members = vec![bob.client.me().id];
    let remove = Command::Remove { group, members };
    alice.client.submit(OperationId::random().unwrap(), remove).unwrap();
    let package = bob.client.key_packages(bob.now, 1).unwrap().remove(0);
    settle(&mut [alice, charlie], &mut service);
    alice.client.invite(group, package).unwrap();
    settle(&mut [alice, charlie], &mut service);
    // Bob reads his mailbox before the group.
    bob.restart();
    alice.client.send(group, "after").unwrap();
    settle(&mut [alice, bob, charlie], &mut service);
    assert!(bob.client.group(&group).unwrap().in_step);
    let said = ["before", "after"].map(|text| ("Alice".to_owned(), text.to_owned()));
    assert_eq!(bob.read(&group), said);
    check_no_forgeries(&people);
}

#[test]
fn who_missed_the_end_of_an_epoch_waits_before_it_sends_again() {
    let mut service = MemoryService::new();
    let mut people = ["Alice", "Bob", "Charlie"].map(Person::new);
    let [alice, bob, charlie] = &mut people;
    let group = group_of(&mut [alice, bob, charlie], &mut service);
    let refresh = Command::Refresh(group);
    alice.client.submit(OperationId::random().unwrap(), refresh).unwrap();
    settle(&mut [alice, bob], &mut service);
    service.forget(&group, Position(service.log(&group).len() as u64));
    charlie.client.send(group, "late").unwrap();
    let mut requests = 0;
    while charlie.step(&mut service) {
        requests += 1;
        assert!(requests < 20, "the same is sent again and again");
    }
    for _ in 0..4 {
        charlie.pass(40_000);
        settle(&mut [alice, bob, charlie], &mut service);
    }
    assert!(charlie.events.iter().any(|event| matches!(event, Event::Missed { .. })));
    assert_eq!(bob.read(&group), [("Charlie".to_owned(), "late".to_owned())]);
}

#[test]
fn who_joins_and_finds_nothing_more_of_the_log_comes_back() {
    let mut service = MemoryService::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(Person::new);
    let group = common::group_of(&mut [&mut alice], &mut service);
    let package = bob.client.key_packages(bob.now, 1).unwrap().remove(0);
    alice.client.invite(group, package).unwrap();
    common::settle(&mut [&mut alice], &mut service);
    // The epoch that Bob joins is over, and what its members said of themselves is gone.
    let refresh = Command::Refresh(group);
    alice.client.submit(OperationId::random().unwrap(), refresh).unwrap();
    common::settle(&mut [&mut alice], &mut service);
    service.forget(&group, Position(service.log(&group).len() as u64));
    for _ in 0..4 {
        common::settle(&mut [&mut alice, &mut bob], &mut service);
    }
    let repaired = bob.events.iter().any(|event| matches!(event, Event::Repaired { .. }));
    assert!(repaired, "{:?}", bob.events);
    let (one, other) = (alice.client.group(&group).unwrap(), bob.client.group(&group).unwrap());
    assert_eq!((one.authenticator, true), (other.authenticator, other.in_step));
}
