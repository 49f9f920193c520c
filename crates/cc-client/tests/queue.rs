//! What waits: how much of it may, how it is taken back, and that looking for what is due costs nothing by
//! the number of groups.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

use crate::common;

use cc_client::{
    Call, Command, Event, Fault, Input, LogId, MemoryService, OperationId, Reply, Verdict,
};
use common::{Person, group_of, settle};

fn id() -> OperationId {
    OperationId::random().unwrap()
}

fn verdicts(person: &Person, of: OperationId) -> Vec<Verdict> {
    let settled = person.events.iter().filter_map(|event| match event {
        Event::Settled { operation, verdict } if *operation == of => Some(verdict.clone()),
        _ => None,
    });
    settled.collect()
}

#[test]
fn a_queue_is_bounded_and_goes_on_when_there_is_room() {
    let mut service = MemoryService::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(Person::new);
    let group = group_of(&mut [&mut alice, &mut bob], &mut service);
    let mut waiting = 0;
    while alice.client.send(group, "waits").is_ok() {
        waiting += 1;
        assert!(waiting <= 10_000);
    }
    assert_eq!(waiting, 10_000);
    assert!(matches!(alice.client.send(group, "one more"), Err(Fault::QueueFull)));
    // What the client has to say of itself waits beside them.
    alice.client.submit(id(), Command::ReplaceKeys).unwrap();
    // Nothing of the refused one is left: the same id may be given again.
    let again = id();
    let send = Command::Send { group, content: b"again".to_vec() };
    assert!(matches!(alice.client.submit(again, send.clone()), Err(Fault::QueueFull)));
    for _ in 0..20 {
        alice.step(&mut service);
    }
    alice.client.submit(again, send).unwrap();
    alice.restart();
    for _ in 0..300 {
        alice.step(&mut service);
        alice.pass(100);
    }
    settle(&mut [&mut alice, &mut bob], &mut service);
    assert_eq!(bob.read(&group).len(), 10_001);
    assert_eq!(bob.read(&group).last().unwrap().1, "again");
    assert!(bob.events.iter().any(|event| matches!(event, Event::TrustChanged { .. })));
}

#[test]
fn what_waits_is_cancelled_and_what_went_is_not() {
    let mut service = MemoryService::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(Person::new);
    let group = group_of(&mut [&mut alice, &mut bob], &mut service);
    let (gone, kept, claim) = (id(), id(), id());
    let send = |text: &str| Command::Send { group, content: text.as_bytes().to_vec() };
    alice.client.submit(gone, send("not this one")).unwrap();
    alice.client.submit(kept, send("this one")).unwrap();
    let invite = Command::Invite { group, mailbox: LogId::random().unwrap(), member: None };
    alice.client.submit(claim, invite).unwrap();
    for cancelled in [gone, claim] {
        alice.client.submit(id(), Command::Cancel(cancelled)).unwrap();
        // Once more, and what does not exist: neither does harm.
        alice.client.submit(id(), Command::Cancel(cancelled)).unwrap();
    }
    alice.client.submit(id(), Command::Cancel(id())).unwrap();
    alice.restart();
    settle(&mut [&mut alice, &mut bob], &mut service);
    assert_eq!(verdicts(&alice, gone), [Verdict::Cancelled]);
    assert_eq!(verdicts(&alice, claim), [Verdict::Cancelled]);
    assert_eq!(bob.read(&group), [("Alice".to_owned(), "this one".to_owned())]);

    // Handed out, and not answered.
    let sent = id();
    alice.client.submit(sent, send("on its way")).unwrap();
    alice.pass(10_000);
    let mut append = None;
    while let Some(request) = alice.client.poll_request(alice.now).unwrap() {
        if let Call::Append(_) = request.call {
            append = Some(request);
            break;
        }
        let result = request.perform(&mut service);
        let _ledger =
            alice.client.handle(alice.now, Input::Response { id: request.id, result }).unwrap();
    }
    let cancel = id();
    alice.client.submit(cancel, Command::Cancel(sent)).unwrap();
    assert!(matches!(append.unwrap().perform(&mut service), Ok(Reply::Appended(_))));
    alice.take_events();
    assert_eq!(verdicts(&alice, cancel), [Verdict::Superseded]);
    settle(&mut [&mut alice, &mut bob], &mut service);
    assert!(matches!(verdicts(&alice, sent)[..], [Verdict::Done(_)]));
    assert_eq!(bob.read(&group).len(), 2);
}

#[test]
fn polls_are_as_rare_as_the_driver_wants_and_none_is_due_in_the_past() {
    let mut service = MemoryService::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(Person::new);
    let group = group_of(&mut [&mut alice, &mut bob], &mut service);
    alice.client.set_poll_interval(600_000);
    alice.pass(1_000);
    alice.turn(&mut service);
    alice.pass(590_000);
    assert!(alice.client.poll_request(alice.now).unwrap().is_none());
    let next = alice.client.poll_timeout().unwrap();
    assert!(next > alice.now.mono, "{next} is past {}", alice.now.mono);
    // Something new is read at once.
    bob.client.send(group, "hello").unwrap();
    bob.turn(&mut service);
    alice.client.notify(&group);
    assert_eq!(alice.client.poll_timeout(), Some(0));
    alice.turn(&mut service);
    assert_eq!(alice.read(&group).len(), 1);
    // Who was removed has nothing to ask for.
    let remove = Command::Remove { group, members: vec![alice.client.me().id] };
    bob.client.submit(id(), remove).unwrap();
    settle(&mut [&mut bob, &mut alice], &mut service);
    alice.pass(600_000);
    settle(&mut [&mut alice], &mut service);
    let next = alice.client.poll_timeout().unwrap();
    assert!(next > alice.now.mono - 2_500, "{next} is past {}", alice.now.mono);
}

#[test]
fn a_log_with_much_to_send_leaves_the_others_their_turn() {
    let mut service = MemoryService::new();
    let mut alice = Person::new("Alice");
    let groups: Vec<_> =
        (0..5).map(|at| alice.client.found(format!("group {at}")).unwrap()).collect();
    alice.turn(&mut service);
    for _ in 0..1_000 {
        alice.client.send(groups[0], "much").unwrap();
    }
    for group in &groups[1..] {
        alice.client.send(*group, "little").unwrap();
    }
    let mut appended = Vec::new();
    while appended.len() < 5 {
        let request = alice.client.poll_request(alice.now).unwrap().unwrap();
        let result = request.perform(&mut service);
        if let Call::Append(append) = &request.call {
            appended.push(append.log);
        }
        let _ledger =
            alice.client.handle(alice.now, Input::Response { id: request.id, result }).unwrap();
    }
    appended.sort_unstable();
    appended.dedup();
    assert_eq!(appended.len(), 5, "one append of each group before the second of any");
}
