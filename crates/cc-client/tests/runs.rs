//! Messages that come and go together: opened and sealed at once, with what they are one by one.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::common;

use cc_client::{
    Call, Client, Command, Event, EventId, Fate, GroupId, Input, Item, MemoryService, OperationId,
    Page, Position, Verdict,
};
use cc_core::store::Failure;
use common::{Disk, Person, append_of, group_of, settle};
use proptest::prelude::*;

fn id() -> OperationId {
    OperationId::random().unwrap()
}

fn commits(person: &Person) -> u64 {
    person.disk.lock().unwrap().commits()
}

/// A group of two, of whom Alice asks for nothing of herself.
fn quiet_pair() -> (MemoryService, [Person; 2], GroupId) {
    let mut service = MemoryService::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(Person::new);
    let group = group_of(&mut [&mut alice, &mut bob], &mut service);
    alice.client.set_poll_interval(600_000);
    alice.turn(&mut service);
    (service, [alice, bob], group)
}

/// The reader as it was, from a copy of its store.
fn twin(person: &Person) -> Person {
    let disk = Disk::new(std::sync::Mutex::new(person.disk.lock().unwrap().reopened()));
    let client = Client::open(Disk::clone(&disk)).unwrap();
    Person::restored(&person.name, disk, client, person.now)
}

fn feed(reader: &mut Person, group: GroupId, items: &[Item], head: Position) {
    let page = Page { items: items.to_vec(), head, forgotten: Position::START };
    let ledger = reader.client.handle(reader.now, Input::Page { log: group, page }).unwrap();
    reader.fates.extend(ledger.fates);
}

/// What comes into the log.
#[derive(Debug, Clone, Copy)]
enum Said {
    /// A message of Alice, or of Carol.
    Text(bool),
    /// Those that the reader has on their way.
    Own,
    Noise,
    Commit,
    /// An item of before once more.
    Again(usize),
}

fn said() -> impl Strategy<Value = Said> {
    prop_oneof![
        8 => any::<bool>().prop_map(Said::Text),
        1 => Just(Said::Own),
        1 => Just(Said::Noise),
        1 => Just(Said::Commit),
        1 => (0usize..100).prop_map(Said::Again),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    /// A page gives the fates and the events that its items give one by one.
    #[test]
    fn a_page_is_what_its_items_are(script in proptest::collection::vec(said(), 1..25)) {
        let mut service = MemoryService::new();
        let [mut alice, mut bob, mut carol] = ["Alice", "Bob", "Carol"].map(Person::new);
        let group = group_of(&mut [&mut alice, &mut bob, &mut carol], &mut service);
        for text in ["mine", "mine too", "and mine"] {
            bob.client.send(group, text).unwrap();
        }
        let own = append_of(&mut bob, &mut service);
        let start = service.log(&group).len();
        for said in script {
            match said {
                Said::Text(by_alice) => {
                    let author = if by_alice { &mut alice } else { &mut carol };
                    author.client.send(group, "text").unwrap();
                    author.turn(&mut service);
                }
                Said::Own => drop(own.perform(&mut service)),
                Said::Noise => service.inject(&group, false, vec![1; 40]),
                Said::Commit => {
                    alice.client.submit(id(), Command::Refresh(group)).unwrap();
                    alice.turn(&mut service);
                }
                Said::Again(at) => {
                    let log = service.log(&group);
                    let item = log[at % log.len()].bytes.clone();
                    service.inject(&group, false, item);
                }
            }
            for person in [&mut alice, &mut carol] {
                person.pass(2_500);
            }
        }
        let (mut whole, mut single) = (twin(&bob), twin(&bob));
        let log = service.log(&group);
        let (items, head) = (&log[start..], log.last().unwrap().position);
        feed(&mut whole, group, items, head);
        for item in items {
            feed(&mut single, group, std::slice::from_ref(item), head);
        }
        prop_assert_eq!(whole.fates.len(), items.len());
        prop_assert_eq!(&whole.fates, &single.fates);
        whole.take_events();
        single.take_events();
        prop_assert_eq!(&whole.events, &single.events);
        // Both are where the group is.
        settle(&mut [&mut alice, &mut whole], &mut service);
        alice.client.send(group, "after it").unwrap();
        settle(&mut [&mut alice, &mut whole], &mut service);
        let last = whole.read(&group).pop().unwrap();
        prop_assert_eq!(last.1, "after it");
    }
}

/// A page is one commit, however many messages it has, and one that fails leaves nothing.
#[test]
fn a_page_is_one_commit_and_one_that_fails_comes_again() {
    let mut service = MemoryService::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(Person::new);
    let group = group_of(&mut [&mut alice, &mut bob], &mut service);
    let start = service.log(&group).len();
    let texts: Vec<_> = (0..50).map(|number| format!("text {number}")).collect();
    for text in &texts {
        alice.client.send(group, text).unwrap();
    }
    alice.turn(&mut service);
    let log = service.log(&group);
    let (items, head) = (&log[start..], log.last().unwrap().position);
    assert_eq!(items.len(), 50);
    bob.disk.lock().unwrap().fail_after(0, Failure::Full);
    let page = Page { items: items.to_vec(), head, forgotten: Position::START };
    let input = Input::Page { log: group, page };
    bob.client.handle(bob.now, input.clone()).unwrap_err();
    let before = commits(&bob);
    let ledger = bob.client.handle(bob.now, input).unwrap();
    assert!(ledger.fates.iter().all(|(_, _, fate)| *fate == Fate::Message));
    assert_eq!(commits(&bob), before + 1);
    bob.restart();
    bob.take_events();
    let read: Vec<_> = bob.read(&group).into_iter().map(|(_, text)| text).collect();
    assert_eq!(read, texts);
}

#[test]
fn a_message_that_goes_at_once_is_one_commit_and_its_echo_is_in_the_next() {
    let (mut service, [mut alice, mut bob], group) = quiet_pair();
    alice.pass(2_000);
    alice.turn(&mut service);
    let (before, operation) = (commits(&alice), id());
    let send = Command::Send { group, content: b"at once".to_vec() };
    let request = alice.client.submit_and_poll(alice.now, operation, send.clone()).unwrap();
    let request = request.unwrap();
    assert!(matches!(&request.call, Call::Append(append) if append.log == group));
    assert_eq!(commits(&alice), before + 1);
    // It is durable: a crash costs nothing, and asking again says nothing twice.
    alice.restart();
    alice.client.submit_and_poll(alice.now, operation, send.clone()).unwrap();
    assert!(request.perform(&mut service).is_ok());
    settle(&mut [&mut alice, &mut bob], &mut service);
    assert_eq!(bob.read(&group), [("Alice".to_owned(), "at once".to_owned())]);
    let verdicts = alice.events.iter().filter(|event| {
        matches!(event, Event::Settled { operation: of, verdict: Verdict::Done(_) }
            if *of == operation)
    });
    assert_eq!(verdicts.count(), 1);

    alice.client.set_poll_interval(600_000);
    alice.turn(&mut service);
    let before = commits(&alice);
    for count in 1..=5 {
        alice.client.send_now(&mut service, alice.now, group, "and again").unwrap();
        assert_eq!(commits(&alice), before + count, "the message, and the echo of the one before");
    }
    // The last echo is in the store before anything is told of it.
    let told = alice.client.events(EventId(0), 9).unwrap();
    assert_eq!((told.len(), commits(&alice)), (5, before + 6));
    // A store that is full refuses all of it.
    alice.disk.lock().unwrap().fail_after(0, Failure::Full);
    alice.client.submit_and_poll(alice.now, id(), send).unwrap_err();
    settle(&mut [&mut alice, &mut bob], &mut service);
    assert_eq!(bob.read(&group).len(), 6);
}

/// What was said meanwhile is read first, also where the message is not to wait.
#[test]
fn nothing_goes_at_once_before_all_is_read() {
    let mut service = MemoryService::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(Person::new);
    let group = group_of(&mut [&mut alice, &mut bob], &mut service);
    alice.restart();
    bob.client.submit(id(), Command::Refresh(group)).unwrap();
    settle(&mut [&mut bob], &mut service);
    let send = Command::Send { group, content: b"in the new epoch".to_vec() };
    let first = alice.client.submit_and_poll(alice.now, id(), send).unwrap().unwrap();
    assert!(matches!(&first.call, Call::Read(read) if read.log == group), "{:?}", first.call);
    let input = Input::Response { id: first.id, result: first.perform(&mut service) };
    let _ledger = alice.client.handle(alice.now, input).unwrap();
    settle(&mut [&mut alice, &mut bob], &mut service);
    assert_eq!(bob.read(&group).len(), 1);
}

#[test]
fn each_message_of_a_run_has_a_report_of_its_own() {
    let mut service = MemoryService::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(Person::new);
    let group = group_of(&mut [&mut alice, &mut bob], &mut service);
    let texts: Vec<_> = [1, 500, 3000].map(|len| (id(), vec![b'a'; len])).into();
    let send =
        |(id, text): &(OperationId, Vec<u8>)| (*id, Command::Send { group, content: text.clone() });
    alice.client.submit_all(texts.iter().map(send)).unwrap();
    settle(&mut [&mut alice, &mut bob], &mut service);
    let shortest = texts[0].1.len();
    let report = |person: &Person, id| person.client.layer_report(id).unwrap()[0].clone();
    let first = report(&alice, &texts[0].0).bytes_in - shortest;
    for (id, text) in &texts {
        let (sealed, opened) = (report(&alice, id), report(&bob, id));
        // A length takes one byte to three more where it is greater.
        assert!((text.len() + first..=text.len() + first + 3).contains(&sealed.bytes_in));
        assert_eq!((sealed.bytes_in, sealed.bytes_out), (opened.bytes_out, opened.bytes_in));
    }
}

/// Several messages that go at once are one commit and one append, and their echoes in the next commit.
#[test]
fn many_that_go_at_once_are_one_commit_and_their_echoes_are_in_the_next() {
    let (mut service, [mut alice, mut bob], group) = quiet_pair();
    let texts: Vec<_> = (0..50).map(|number| format!("text {number}")).collect();
    let send = |text: &String| (id(), Command::Send { group, content: text.clone().into() });
    let sends: Vec<_> = texts.iter().map(send).collect();
    let before = commits(&alice);
    let request = alice.client.submit_all_and_poll(alice.now, sends.clone()).unwrap().unwrap();
    assert_eq!(commits(&alice), before + 1);
    assert!(matches!(&request.call, Call::Append(append) if append.items.len() == texts.len()));
    let (result, before) = (request.perform(&mut service), commits(&alice));
    let input = Input::Response { id: request.id, result };
    let _ledger = alice.client.handle(alice.now, input).unwrap();
    while alice.step(&mut service) {}
    let told = alice.client.events(EventId(0), 99).unwrap();
    assert_eq!((told.len(), commits(&alice)), (texts.len(), before + 1));
    // All of it is known, and none of it goes twice.
    alice.restart();
    alice.client.submit_all_and_poll(alice.now, sends).unwrap();
    settle(&mut [&mut alice, &mut bob], &mut service);
    let read: Vec<_> = bob.read(&group).into_iter().map(|(_, text)| text).collect();
    assert_eq!(read, texts);
}

/// What a log showed of this person's own messages waits for the next commit. Killed before it, the client reads
/// it again; and what was told before is told again, and under the same number.
#[test]
fn own_messages_that_were_seen_are_seen_again_if_the_process_is_killed_before_the_next_commit() {
    let (mut service, [mut alice, mut bob], group) = quiet_pair();
    alice.take_events();
    for told in [false, true] {
        let before = commits(&alice);
        let cursor = alice.client.group(&group).unwrap().cursor;
        alice.client.send_now(&mut service, alice.now, group, "hello").unwrap();
        let seen = alice.client.group(&group).unwrap().cursor;
        assert_eq!((seen, commits(&alice)), (cursor.next(), before + 1));
        let events = if told { alice.client.events(EventId(0), 9).unwrap() } else { vec![] };
        alice.restart();
        let found = alice.client.group(&group).unwrap().cursor;
        assert_eq!(found, if told { seen } else { cursor });
        while alice.step(&mut service) {}
        let now = alice.client.events(EventId(0), 9).unwrap();
        assert!(matches!(&now[..], [(_, Event::Settled { verdict: Verdict::Done(_), .. })]));
        assert!(events.is_empty() || events == now);
        alice.client.acknowledge(now[0].0, &[]).unwrap();
        assert_eq!(alice.client.unsent(), 0);
    }
    settle(&mut [&mut alice, &mut bob], &mut service);
    assert_eq!(bob.read(&group).len(), 2);
}

/// It does not wait for long, and a store that does not take it is asked again.
#[test]
fn own_messages_that_were_seen_are_in_the_store_within_a_second() {
    let (mut service, [mut alice, _bob], group) = quiet_pair();
    alice.client.send_now(&mut service, alice.now, group, "hello").unwrap();
    let (before, cursor) = (commits(&alice), alice.client.group(&group).unwrap().cursor);
    assert_eq!(alice.client.poll_timeout(), Some(alice.now.mono + 1_000));
    alice.pass(999);
    assert!(alice.client.poll_request(alice.now).unwrap().is_none());
    assert_eq!(commits(&alice), before);
    alice.pass(1);
    alice.disk.lock().unwrap().fail_after(0, Failure::Full);
    alice.client.poll_request(alice.now).unwrap_err();
    assert!(alice.client.poll_request(alice.now).unwrap().is_none());
    assert_eq!(commits(&alice), before + 1);
    assert!(alice.client.poll_timeout() > Some(alice.now.mono));
    alice.client.send_now(&mut service, alice.now, group, "and again").unwrap();
    alice.disk.lock().unwrap().fail_after(0, Failure::Full);
    alice.client.events(EventId(0), 9).unwrap_err();
    assert_eq!(alice.client.events(EventId(0), 9).unwrap().len(), 2);
    // By closing, too.
    alice.client.send_now(&mut service, alice.now, group, "for good").unwrap();
    assert_eq!(alice.client.group(&group).unwrap().cursor, cursor.next().next());
    let Person { disk, client, .. } = alice;
    client.close();
    let client = Client::open(disk).unwrap();
    assert_eq!(client.group(&group).unwrap().cursor, cursor.next().next());
}

/// Another process was there: what waited is dropped, and read again after what that one did.
#[test]
fn what_waits_for_the_next_commit_is_fenced_as_well() {
    let (mut service, [mut alice, mut bob], group) = quiet_pair();
    alice.client.send_now(&mut service, alice.now, group, "hello").unwrap();
    let mut other = Client::open(Disk::clone(&alice.disk)).unwrap();
    other.send(group, "of the other process").unwrap();
    assert!(matches!(alice.client.events(EventId(0), 9), Err(cc_client::Fault::Fenced)));
    drop(other);
    assert_eq!(alice.client.unsent(), 0, "as before");
    alice.client.poll_request(alice.now).unwrap();
    assert_eq!(alice.client.unsent(), 2, "the message on its way, and that of the other process");
    settle(&mut [&mut alice, &mut bob], &mut service);
    assert_eq!(bob.read(&group).len(), 2);
    let done = |event: &&Event| matches!(event, Event::Settled { verdict: Verdict::Done(_), .. });
    assert_eq!(alice.events.iter().filter(done).count(), 4, "founded, invited, and two messages");
}
