//! Who may use a group's log: the members of its epoch, and nobody else; and what a member does that the
//! service turns away.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

use crate::common;

use cc_client::{
    AccessHash, AccessToken, Append, Call, Command, DeliveryService, Event, Failure, Fate, Follows,
    GroupId, Input, MemoryService, OperationId, Page, Position, Read, ReadAccess, Refusal, Reply,
    RequestId,
};
use common::{Person, group_of, settle};

/// The token with which this person reads the group now: of a request that is never answered.
fn token(person: &mut Person, group: &GroupId) -> AccessToken {
    person.client.notify(group);
    person.pass(100_000);
    for _ in 0..100 {
        let request = person.client.poll_request(person.now).unwrap().unwrap();
        if let Call::Read(Read { log, access: ReadAccess::Token(token), .. }) = request.call
            && log == *group
        {
            return token;
        }
    }
    panic!("{} does not read", person.name);
}

fn read(service: &mut MemoryService, log: GroupId, access: AccessToken) -> Result<Page, Failure> {
    let access = ReadAccess::Token(access);
    service.read(RequestId::random().unwrap(), &Read { log, after: Position::START, access })
}

fn append(
    service: &mut MemoryService,
    log: GroupId,
    access: AccessToken,
    commit: Option<Follows>,
) -> Result<Position, Failure> {
    let append = Append { log, access: Some(access), commit, items: vec![vec![1; 100]] };
    service.append(RequestId::random().unwrap(), &append)
}

fn refresh(person: &mut Person, group: GroupId) {
    person.client.submit(OperationId::random().unwrap(), Command::Refresh(group)).unwrap();
}

#[test]
fn only_members_of_the_epoch_may_use_the_log() {
    let mut service = MemoryService::new();
    let mut people = ["Alice", "Bob", "Charlie"].map(Person::new);
    let [alice, bob, charlie] = &mut people;
    let group = group_of(&mut [alice, bob, charlie], &mut service);
    let before = token(alice, &group);
    assert_eq!(token(bob, &group), before, "all members have one token");
    assert_eq!(token(charlie, &group), before);
    // Messages leave it as it is.
    alice.client.send(group, "hello").unwrap();
    settle(&mut [alice, bob, charlie], &mut service);
    assert_eq!(token(alice, &group), before);
    let id = charlie.client.me().id;
    let remove = Command::Remove { group, members: vec![id] };
    alice.client.submit(OperationId::random().unwrap(), remove).unwrap();
    settle(&mut [alice, bob], &mut service);
    let after = token(alice, &group);
    assert_eq!(token(bob, &group), after);
    assert_ne!(before, after);
    bob.client.send(group, "without Charlie").unwrap();
    settle(&mut [alice, bob], &mut service);
    // The removed member may read up to the commit that removed it, and append nothing.
    let all = service.log(&group);
    let seen = read(&mut service, group, before.clone()).unwrap();
    assert_eq!(seen.items.last().map(|item| item.commit), Some(true));
    assert!(seen.items.len() < all.len());
    assert_eq!(seen.head, seen.items.last().unwrap().position);
    let refused = append(&mut service, group, before, None);
    assert!(matches!(refused, Err(Failure::Refused(Refusal::Conflict { .. }))));
    // A stranger may nothing.
    let strange = AccessToken::new(cc_core::Secret::random().unwrap());
    assert_eq!(read(&mut service, group, strange.clone()), Err(Failure::Refused(Refusal::Denied)));
    let refused = append(&mut service, group, strange, None);
    assert_eq!(refused, Err(Failure::Refused(Refusal::Denied)));
    // Charlie is told, by what he may still read.
    settle(&mut [charlie], &mut service);
    assert!(charlie.events.iter().any(|event| matches!(event, Event::Left { myself: true, .. })));
    assert!(charlie.read(&group).iter().all(|(_, text)| text != "without Charlie"));
}

#[test]
fn who_fell_behind_reads_epoch_by_epoch() {
    let mut service = MemoryService::new();
    let mut people = ["Alice", "Bob", "Charlie"].map(Person::new);
    let [alice, bob, charlie] = &mut people;
    let group = group_of(&mut [alice, bob, charlie], &mut service);
    for round in 0..7 {
        refresh(if round % 2 == 0 { alice } else { bob }, group);
        alice.client.send(group, format!("round {round}")).unwrap();
        settle(&mut [alice, bob], &mut service);
    }
    charlie.restart();
    charlie.client.send(group, "I was away").unwrap();
    settle(&mut [charlie], &mut service);
    let read: Vec<_> = charlie.read(&group).into_iter().map(|(_, text)| text).collect();
    assert_eq!(read, (0..7).map(|round| format!("round {round}")).collect::<Vec<_>>());
    settle(&mut [alice, bob], &mut service);
    assert_eq!(alice.read(&group).last().unwrap().1, "I was away");
}

#[test]
fn an_answer_to_a_commit_that_is_lost_is_read_in_the_log() {
    for restart in [false, true] {
        let mut service = MemoryService::new();
        let mut people = ["Alice", "Bob"].map(Person::new);
        let [alice, bob] = &mut people;
        let group = group_of(&mut [alice, bob], &mut service);
        let before = token(alice, &group);
        alice.pass(100_000);
        refresh(alice, group);
        // Everything is done and answered, but for the commit.
        loop {
            let request = alice.client.poll_request(alice.now).unwrap().unwrap();
            let result = request.perform(&mut service);
            if matches!(&request.call, Call::Append(append) if append.commit.is_some()) {
                assert!(matches!(result, Ok(Reply::Appended(_))));
                break;
            }
            let _ledger =
                alice.client.handle(alice.now, Input::Response { id: request.id, result }).unwrap();
        }
        if restart {
            alice.restart();
        }
        // Others go on behind the commit that Alice does not know of.
        settle(&mut [bob], &mut service);
        bob.client.send(group, "in the new epoch").unwrap();
        settle(&mut [bob], &mut service);
        settle(&mut [alice, bob], &mut service);
        assert_ne!(token(alice, &group), before);
        assert_eq!(alice.read(&group), [("Bob".to_owned(), "in the new epoch".to_owned())]);
        let of = |person: &mut Person| person.client.group(&group).unwrap().authenticator;
        assert_eq!(of(alice), of(bob));
    }
}

#[test]
fn a_request_is_offered_again_with_the_same_token() {
    let mut service = MemoryService::new();
    let mut people = ["Alice", "Bob"].map(Person::new);
    let [alice, bob] = &mut people;
    let group = group_of(&mut [alice, bob], &mut service);
    alice.client.send(group, "hello").unwrap();
    let mut first = None;
    for _ in 0..6 {
        // The answers do not come, and the process is killed.
        while let Some(request) = alice.client.poll_request(alice.now).unwrap() {
            match &request.call {
                Call::Append(_) => {
                    let first = first.get_or_insert_with(|| request.clone());
                    assert_eq!(first.id, request.id);
                    assert_eq!(first.call, request.call);
                }
                _ => {
                    let result = request.perform(&mut service);
                    let input = Input::Response { id: request.id, result };
                    let _ledger = alice.client.handle(alice.now, input).unwrap();
                }
            }
        }
        alice.restart();
    }
    assert!(first.is_some());
    settle(&mut [alice, bob], &mut service);
    assert_eq!(bob.read(&group), [("Alice".to_owned(), "hello".to_owned())]);
}

/// Requests within a minute of somebody who finds nothing new.
fn requests_a_minute(person: &mut Person, service: &mut MemoryService) -> usize {
    let mut requests = 0;
    for _ in 0..60 {
        while person.step(service) {
            requests += 1;
            assert!(requests < 1_000, "{} asks without end", person.name);
        }
        person.pass(1_000);
    }
    requests
}

#[test]
fn an_insider_that_locks_the_others_out_is_told_of_and_asked_no_end() {
    let mut service = MemoryService::new();
    let mut people = ["Alice", "Bob"].map(Person::new);
    let [alice, bob] = &mut people;
    let group = group_of(&mut [alice, bob], &mut service);
    // Bob's program ends the epoch by rubbish, and keeps the next token to itself.
    let (of_now, of_bob) =
        (token(bob, &group), AccessToken::new(cc_core::Secret::random().unwrap()));
    let last = service.log(&group).iter().rfind(|item| item.commit).unwrap().position;
    let next: AccessHash = of_bob.hash();
    let commit = Some(Follows { after: last, next: Some(next) });
    let at = append(&mut service, group, of_now, commit).unwrap();
    append(&mut service, group, of_bob, None).unwrap();
    alice.events.clear();
    alice.client.send(group, "does this arrive?").unwrap();
    refresh(alice, group);
    let requests = requests_a_minute(alice, &mut service);
    assert!(requests < 150, "{requests} requests a minute");
    alice.take_events();
    assert!(
        alice.fates.iter().any(|(log, position, fate)| (log, *position) == (&group, at)
            && matches!(fate, Fate::Malformed | Fate::Forged | Fate::Early)),
        "what the rubbish was"
    );
    assert!(alice.events.iter().any(|event| matches!(event, Event::Diverged { .. })));
    assert!(!alice.client.group(&group).unwrap().in_step);
    // Nothing of what waited was given up.
    assert!(!alice.events.iter().any(|event| matches!(event, Event::Settled { .. })));
}

#[test]
fn who_is_denied_says_so_and_tries_ever_more_rarely() {
    let mut service = MemoryService::new();
    let mut people = ["Alice", "Bob"].map(Person::new);
    let [alice, bob] = &mut people;
    let group = group_of(&mut [alice, bob], &mut service);
    // A service that knows nothing of this epoch: another log of the same address.
    let mut other = MemoryService::new();
    let strange = AccessToken::new(cc_core::Secret::random().unwrap());
    append(&mut other, group, strange, None).unwrap();
    alice.client.send(group, "hello?").unwrap();
    let requests = requests_a_minute(alice, &mut other);
    assert!(requests < 150, "{requests} requests a minute");
    alice.take_events();
    assert!(alice.events.iter().any(|event| matches!(event, Event::Diverged { .. })));
    // The old one is back, and with it everything.
    alice.pass(120_000);
    settle(&mut [alice, bob], &mut service);
    assert_eq!(bob.read(&group), [("Alice".to_owned(), "hello?".to_owned())]);
}

#[test]
fn what_a_service_no_longer_keeps_is_told() {
    let mut service = MemoryService::new();
    let mut people = ["Alice", "Bob"].map(Person::new);
    let [alice, bob] = &mut people;
    let group = group_of(&mut [alice, bob], &mut service);
    let from = bob.client.group(&group).unwrap().cursor;
    for number in 0..4 {
        alice.client.send(group, format!("message {number}")).unwrap();
        settle(&mut [alice], &mut service);
    }
    service.forget(&group, Position(from.0 + 2));
    settle(&mut [alice, bob], &mut service);
    let told = bob.events.iter().find_map(|event| match event {
        Event::Missed { log, missed } if *log == group => Some(missed.clone()),
        _ => None,
    });
    assert_eq!(told, Some(from..Position(from.0 + 2)));
    let read: Vec<_> = bob.read(&group).into_iter().map(|(_, text)| text).collect();
    assert_eq!(read, ["message 2", "message 3"]);
    assert!(bob.client.group(&group).unwrap().in_step, "the epoch went on");
}
