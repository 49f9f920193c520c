//! Members that ask to be added anew, of groups in which the first who are asked can do nothing.

use std::sync::{Arc, Mutex};

use cc_core::store::MemoryStore;

use super::{HELPERS, helpers_of_round};
use crate::{
    Call, Client, Command, Event, Failure, Input, LogId, OperationId, Profile, Recipe, Refusal,
    Reply, Request,
    testing::{Stage, client, events, fall_out_of_step},
};

#[test]
fn everybody_is_asked_twice_and_nobody_twice_at_once() {
    let helpers: Vec<LogId> = (0..20).map(|at| LogId::from_bytes([at; 32])).collect();
    for count in 0..helpers.len() {
        let helpers = &helpers[..count];
        for round in 0..8 {
            let asked = helpers_of_round(helpers, round);
            let wanted = if round == 0 { HELPERS } else { 2 * HELPERS };
            assert_eq!(asked.len(), wanted.min(count));
            assert!((1..asked.len()).all(|at| !asked[..at].contains(&asked[at])), "{asked:?}");
            let again = helpers_of_round(helpers, round + 1);
            let new = &asked[..HELPERS.min(count)];
            assert!(new.iter().all(|helper| again.contains(helper)), "{new:?} {again:?}");
        }
    }
}

#[test]
fn who_lost_its_welcome_is_back_after_its_third_request_however_many_there_are() {
    let mut stage = Stage::new();
    let mut people: Vec<Client> = (0..14).map(|at| client(&format!("person {at}"))).collect();
    let group = stage.group(&mut people.iter_mut().collect::<Vec<_>>());
    let mut bob = people.pop().unwrap();
    let mailbox = bob.mailbox();
    fall_out_of_step(&mut bob, group);
    // Three requests, and time for what comes of them.
    for _ in 0..96 {
        while let Some(request) = bob.poll_request(stage.now).unwrap() {
            let result = request.perform(&mut stage.service);
            let _ledger =
                bob.handle(stage.now, Input::Response { id: request.id, result }).unwrap();
        }
        for helper in &mut people {
            while let Some(request) = helper.poll_request(stage.now).unwrap() {
                let welcome = match &request.call {
                    Call::Append(append) => append.access.is_none() && append.log == mailbox,
                    _ => false,
                };
                // The first welcome is lost, and its sender does not know.
                let lost = welcome && bob.state.group(&group).unwrap().rejoins < 2;
                let result = if lost {
                    Ok(Reply::Appended(crate::Position(1)))
                } else {
                    request.perform(&mut stage.service)
                };
                let input = Input::Response { id: request.id, result };
                let _ledger = helper.handle(stage.now, input).unwrap();
            }
        }
        stage.now.mono += 2_500;
        stage.now.wall += 2_500;
    }
    let (view, other) = (bob.group(&group).unwrap(), people[0].group(&group).unwrap());
    // Who is asked a second time by it saw the member being added.
    assert!(view.in_step, "{} requests", bob.state.group(&group).unwrap().rejoins);
    assert_eq!(view.authenticator, other.authenticator);
}

#[test]
fn whom_a_member_invited_it_can_ask_without_having_read_of_them() {
    let mut stage = Stage::new();
    let [mut alice, mut bob, mut carol] = ["Alice", "Bob", "Carol"].map(client);
    let group = stage.group(&mut [&mut alice, &mut bob]);
    let package = carol.key_packages(stage.now, 1).unwrap().remove(0);
    alice.invite(group, package).unwrap();
    stage.settle(&mut [&mut alice]);
    // From here on Alice reads nothing of the group: neither what Carol says of herself, nor that Bob leaves.
    let mut alone = Stage { service: stage.service.fork(), now: stage.now };
    stage.settle(&mut [&mut bob, &mut carol]);
    bob.submit(OperationId::random().unwrap(), Command::Leave(group)).unwrap();
    stage.settle(&mut [&mut bob, &mut carol]);
    alone.now = stage.now;
    alice.submit(OperationId::random().unwrap(), Command::Refresh(group)).unwrap();
    alone.settle(&mut [&mut alice]);
    stage.now = alone.now;
    for _ in 0..4 {
        stage.settle(&mut [&mut alice, &mut bob, &mut carol]);
    }
    let (view, other) = (alice.group(&group).unwrap(), carol.group(&group).unwrap());
    assert!(view.in_step, "Carol brings her back");
    assert_eq!((view.authenticator, view.members.len()), (other.authenticator, 2));
    assert!(bob.group(&group).unwrap().epoch.is_none());
}

/// `client` does all that is to be done now, and `answer` decides what comes of each request, where it does not leave
/// that to the service.
fn turn(
    stage: &mut Stage,
    client: &mut Client,
    mut answer: impl FnMut(&Client, &Request) -> Option<Result<Reply, Failure>>,
) {
    while let Some(request) = client.poll_request(stage.now).unwrap() {
        let result = answer(client, &request);
        let result = result.unwrap_or_else(|| request.perform(&mut stage.service));
        let _ledger = client.handle(stage.now, Input::Response { id: request.id, result }).unwrap();
    }
}

fn submit(client: &mut Client, command: Command) {
    client.submit(OperationId::random().unwrap(), command).unwrap();
}

/// Alice is removed and invited again, and the service does not show her the removal.
#[test]
fn who_was_removed_and_invited_again_while_out_of_step_comes_in_by_the_invitation() {
    for invitation_first in [true, false] {
        let mut stage = Stage::new();
        let [mut alice, mut bob, mut carol] = ["Alice", "Bob", "Carol"].map(client);
        let group = stage.group(&mut [&mut alice, &mut bob, &mut carol]);
        let joined_at = alice.group(&group).unwrap().joined_at;
        let package = alice.key_packages(stage.now, 1).unwrap().remove(0);
        submit(&mut bob, Command::Remove { group, members: vec![alice.identity.id] });
        stage.settle(&mut [&mut bob, &mut carol]);
        bob.invite(group, package).unwrap();
        stage.settle(&mut [&mut bob, &mut carol]);
        fall_out_of_step(&mut alice, group);
        // Nobody else does anything any more.
        let mailbox = alice.mailbox();
        for round in 0..40 {
            turn(&mut stage, &mut alice, |alice, request| {
                let Call::Read(read) = &request.call else { return None };
                let old = alice.group(&group).unwrap().joined_at == joined_at;
                if read.log == group && old && read.after == alice.group(&group).unwrap().cursor {
                    return Some(Err(Failure::Refused(Refusal::Denied)));
                }
                let held_back = read.log == mailbox && round < 20 && !invitation_first;
                held_back.then_some(Err(Failure::Unknown))
            });
            stage.now.mono += 2_500;
            stage.now.wall += 2_500;
        }
        let (of_alice, of_bob) = (alice.group(&group).unwrap(), bob.group(&group).unwrap());
        assert!(of_alice.in_step && of_alice.joined_at > joined_at, "{of_alice:?}");
        assert_eq!(of_alice.authenticator, of_bob.authenticator);
        let told = events(&mut alice);
        assert!(told.iter().any(|event| matches!(event, Event::Repaired { .. })), "{told:?}");
    }
}

#[test]
fn who_is_not_answered_says_so_and_asks_ever_more_rarely_but_for_ever() {
    let mut stage = Stage::new();
    let store = Arc::new(Mutex::new(MemoryStore::new()));
    let mut alice =
        Client::create(Arc::clone(&store), Profile::new("Alice"), Recipe::group()).unwrap();
    let mut bob = client("Bob");
    let group = stage.group(&mut [&mut alice, &mut bob]);
    let bobs = bob.mailbox();
    let denied = |_: &Client, request: &Request| match &request.call {
        Call::Read(read) if read.log == group => Some(Err(Failure::Refused(Refusal::Denied))),
        _ => None,
    };
    let mail = |stage: &Stage| stage.service.log(&bobs).len();
    let before = mail(&stage);
    let minutes = |stage: &mut Stage, alice: &mut Client, minutes: u32, step: u32| {
        for _ in 0..minutes / step {
            turn(stage, alice, denied);
            stage.now.mono += u64::from(step) * 60_000;
            stage.now.wall += u64::from(step) * 60_000;
        }
    };
    minutes(&mut stage, &mut alice, 60, 1);
    let stranded = |told: &[Event]| {
        told.iter().filter(|event| matches!(event, Event::Stranded { .. })).count()
    };
    assert_eq!(stranded(&events(&mut alice)), 0);
    minutes(&mut stage, &mut alice, 3 * 60, 1);
    assert_eq!(stranded(&events(&mut alice)), 1);
    let first = mail(&stage) - before;
    assert!((8..=10).contains(&first), "{first} in the first four hours");
    minutes(&mut stage, &mut alice, 10 * 24 * 60, 20);
    let in_days = mail(&stage) - before - first;
    assert!((12..=20).contains(&in_days), "{in_days} in ten days");
    assert_eq!(stranded(&events(&mut alice)), 0, "it is told once");
    // So it is where the process lives for an hour at a time: a wait goes on behind a restart.
    for _ in 0..5 * 24 {
        alice = Client::open(Arc::clone(&store)).unwrap();
        stage.now.mono = 0;
        minutes(&mut stage, &mut alice, 60, 20);
    }
    let restarted = mail(&stage) - before - first - in_days;
    assert!((6..=8).contains(&restarted), "{restarted} in five days");
    // The first that helps brings it back.
    stage.now.mono += 20 * 3_600_000;
    stage.now.wall += 20 * 3_600_000;
    for _ in 0..3 {
        stage.settle(&mut [&mut alice, &mut bob]);
    }
    let (of_alice, of_bob) = (alice.group(&group).unwrap(), bob.group(&group).unwrap());
    assert!(of_alice.in_step && of_alice.authenticator == of_bob.authenticator);
}

#[test]
fn who_asks_without_a_network_keeps_the_latest_request_alone() {
    let mut stage = Stage::new();
    let mut people: Vec<Client> = (0..8).map(|at| client(&format!("person {at}"))).collect();
    let group = stage.group(&mut people.iter_mut().collect::<Vec<_>>());
    let mut bob = people.pop().unwrap();
    fall_out_of_step(&mut bob, group);
    for _ in 0..200 {
        turn(&mut stage, &mut bob, |_, _| Some(Err(Failure::Unknown)));
        stage.now.mono += 600_000;
        stage.now.wall += 600_000;
        assert!(bob.state.requests.len() <= 2 * HELPERS, "{}", bob.state.requests.len());
    }
    let record = bob.state.group(&group).unwrap();
    assert!(record.rejoins > 8, "{}", record.rejoins);
    // What was asked last goes out when there is a network again.
    let mut all: Vec<&mut Client> = people.iter_mut().collect();
    all.push(&mut bob);
    for _ in 0..2 {
        stage.settle(&mut all);
    }
    assert!(bob.group(&group).unwrap().in_step);
}
