//! State that survives: managers in stores that are dropped and opened, and stores that fail.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::common;

use std::{
    sync::{Arc, Barrier, Mutex},
    thread,
};

use cc_aes_layer::AesLayer;
use cc_core::{
    SecretBytes,
    store::{Batch, Change as RecordChange, Failure, MemoryStore, Scope, Store, StoreError},
};
use cc_dh_layer::DhLayer;
use cc_manager::{
    CascadingCipherManager, Catalog, Error, Incoming, IncomingWelcome, Kind, LayerErrorKind,
    MessageId, Recipients, Standing,
};
use cc_mls_layer::MlsLayer;
use common::{Follow as _, Tripwire, full};

type Shared = Arc<Mutex<MemoryStore>>;

const NAME: &str = "friends";

fn catalog() -> Catalog {
    Catalog::new().with::<AesLayer>().with::<DhLayer>().with::<MlsLayer>()
}

/// A member and the store it is in.
struct Person {
    manager: CascadingCipherManager,
    store: Shared,
}

impl Person {
    fn new(name: &str, founder: bool) -> Self {
        let store = Shared::default();
        let manager = full(name, founder).create(Arc::clone(&store), NAME).unwrap();
        Self { manager, store }
    }

    /// The program ends, and starts again.
    fn restart(&mut self) {
        self.store = self.copy();
        self.manager = self.opened();
    }

    fn opened(&self) -> CascadingCipherManager {
        CascadingCipherManager::open(Arc::clone(&self.store), NAME, &catalog()).unwrap()
    }

    fn commits(&self) -> u64 {
        self.store.lock().unwrap().commits()
    }

    fn fail_after(&self, successes: u64, failure: Failure) {
        self.store.lock().unwrap().fail_after(successes, failure);
    }

    fn copy(&self) -> Shared {
        Arc::new(Mutex::new(self.store.lock().unwrap().reopened()))
    }

    fn texts(&mut self) -> Vec<String> {
        let inbox = self.manager.inbox().unwrap();
        inbox.iter().map(|message| message.as_str().unwrap().to_string()).collect()
    }
}

/// Alice, who founded the group, Bob and Charlie.
fn three() -> [Person; 3] {
    let mut alice = Person::new("Alice", true);
    let [mut bob, mut charlie] = ["Bob", "Charlie"].map(|name| Person::new(name, false));
    let packages = [&mut bob, &mut charlie].map(|joiner| joiner.manager.key_package().unwrap());
    let change = alice.manager.add_members(packages).unwrap();
    let welcome = alice.manager.confirm(change.id()).unwrap().welcome.unwrap();
    for joiner in [&mut bob, &mut charlie] {
        joiner.manager.join(&welcome).unwrap();
    }
    alice.manager.sent([&welcome]).unwrap();
    [alice, bob, charlie]
}

fn all_read_all(people: &mut [Person]) {
    for sender in 0..people.len() {
        let text = format!("from {sender}");
        let wire = people[sender].manager.encrypt(&text).unwrap();
        people[sender].manager.sent([&wire]).unwrap();
        for receiver in (0..people.len()).filter(|receiver| *receiver != sender) {
            let message = people[receiver].manager.decrypt(&wire).unwrap();
            assert_eq!(message, text);
            people[receiver].manager.acknowledge(message.id()).unwrap();
        }
    }
}

#[test]
fn a_group_lives_on_over_restarts() {
    let mut people = three();
    all_read_all(&mut people);
    people.iter_mut().for_each(Person::restart);
    all_read_all(&mut people);
    let [alice, bob, charlie] = &mut people;
    let change = bob.manager.update().unwrap();
    bob.manager.confirm(change.id()).unwrap();
    alice.manager.process(&change.commit).unwrap();
    charlie.restart();
    charlie.manager.process(&change.commit).unwrap();
    people.iter_mut().for_each(Person::restart);
    all_read_all(&mut people);
    for person in &people {
        assert_eq!(person.manager.epoch(), Some(2));
        assert_eq!(person.manager.members().len(), 3);
    }
}

#[test]
fn the_inbox_keeps_a_message_until_it_is_acknowledged() {
    let [mut alice, mut bob, _] = three();
    let wires = ["one", "two", "three"].map(|text| alice.manager.encrypt(text).unwrap());
    let ids = wires.each_ref().map(|wire| bob.manager.decrypt(wire).unwrap().id().unwrap());
    assert!(ids.is_sorted());
    bob.restart();
    let inbox = bob.manager.inbox().unwrap();
    assert_eq!(inbox.iter().map(|message| message.id().unwrap()).collect::<Vec<_>>(), ids);
    assert!(inbox.iter().all(|message| message.sender() == alice.manager.member_id()));
    assert_eq!(bob.texts(), ["one", "two", "three"]);
    // It was opened: what comes again is a replay.
    assert!(bob.manager.decrypt(&wires[1]).unwrap_err().is_rejected());
    bob.manager.acknowledge([ids[1]]).unwrap();
    bob.manager.acknowledge([ids[1], MessageId::from_u64(99)]).unwrap();
    bob.restart();
    assert_eq!(bob.texts(), ["one", "three"]);
    bob.manager.acknowledge([ids[0], ids[2]]).unwrap();
    bob.restart();
    assert!(bob.texts().is_empty());
    // Numbers are never given again.
    let wire = alice.manager.encrypt("four").unwrap();
    assert!(bob.manager.decrypt(&wire).unwrap().id().unwrap() > ids[2]);
}

#[test]
fn the_outbox_keeps_what_is_to_be_sent() {
    let [mut alice, mut bob, _] = three();
    let first = alice.manager.encrypt("one").unwrap();
    let second = alice.manager.encrypt("two").unwrap();
    let leave = alice.manager.leave().unwrap();
    alice.restart();
    let outbox = alice.manager.outbox().unwrap();
    for entry in &outbox {
        assert_eq!((entry.epoch, &entry.recipients), (Some(1), &Recipients::Everyone));
    }
    assert_eq!(outbox[2].kind, Kind::Proposal);
    let outbox = common::wires(outbox);
    assert_eq!(outbox, [first.clone(), second.clone(), leave.clone()]);
    assert_eq!(bob.manager.decrypt(&outbox[1]).unwrap(), "two");
    alice.manager.sent([&second]).unwrap();
    alice.restart();
    assert_eq!(common::wires(alice.manager.outbox().unwrap()), [first.clone(), leave.clone()]);
    alice.manager.sent([&first, &leave, &second]).unwrap();
    assert!(alice.manager.outbox().unwrap().is_empty());
}

#[test]
fn nothing_handed_out_is_forgotten_and_nothing_else_is_written() {
    let [mut alice, mut bob, _] = three();
    let before = (alice.commits(), bob.commits());
    let wire = alice.manager.encrypt("once").unwrap();
    bob.manager.decrypt(&wire).unwrap();
    assert_eq!((alice.commits(), bob.commits()), (before.0 + 1, before.1 + 1));
    assert!(bob.manager.decrypt(&wire).is_err());
    assert!(bob.manager.decrypt("noise").is_err());
    bob.manager.acknowledge(None).unwrap();
    assert_eq!(bob.commits(), before.1 + 1, "a refusal is not written");
}

#[test]
fn a_staged_change_survives() {
    let [mut alice, mut bob, mut charlie] = three();
    let mut dave = Person::new("Dave", false);
    let package = dave.manager.key_package().unwrap();
    dave.restart();
    let change = alice.manager.add_members([package]).unwrap();
    alice.restart();
    let staged = alice.manager.staged_change().unwrap().clone();
    assert_eq!(staged, change);
    assert!(matches!(alice.manager.update(), Err(Error::ChangeStaged(id)) if id == change.id()));
    let welcome = alice.manager.confirm(staged.id()).unwrap().welcome.unwrap();
    alice.restart();
    assert!(alice.manager.staged_change().is_none());
    let [entry] = &alice.manager.outbox().unwrap()[..] else { panic!() };
    assert_eq!((entry.kind, entry.epoch), (Kind::Welcome, alice.manager.epoch()));
    assert_eq!(entry.recipients, Recipients::Members(vec![dave.manager.member_id().unwrap()]));
    assert_eq!(entry.bytes, welcome);
    bob.manager.process(&change.commit).unwrap();
    charlie.manager.process(&change.commit).unwrap();
    dave.manager.join(&welcome).unwrap();
    all_read_all(&mut [alice, bob, charlie, dave]);
}

#[test]
fn what_was_overtaken_is_staged_again() {
    let [mut alice, mut bob, mut charlie] = three();
    let [mut dave, mut erin] = ["Dave", "Erin"].map(|name| Person::new(name, false));
    let packages = [&mut dave, &mut erin].map(|joiner| joiner.manager.key_package().unwrap());
    let gone = charlie.manager.member_id().unwrap();
    assert!(alice.manager.restage().unwrap().is_none(), "nothing was overtaken");
    let lost = alice.manager.change(&packages, [gone]).unwrap();
    // Bob adds Dave as well, and is first.
    let won = bob.manager.add_members([&packages[0]]).unwrap();
    let welcome = bob.manager.confirm(won.id()).unwrap().welcome.unwrap();
    let Incoming::Commit(summary) = alice.manager.process(&won.commit).unwrap() else { panic!() };
    assert_eq!(summary.superseded, Some(lost.id()));
    charlie.manager.process(&won.commit).unwrap();
    dave.manager.join(&welcome).unwrap();
    alice.restart();

    let again = alice.manager.restage().unwrap().unwrap();
    let confirmed = alice.manager.confirm(again.id()).unwrap();
    let summary = confirmed.summary;
    assert_eq!(summary.added, [erin.manager.member_id().unwrap()], "Dave is there already");
    assert_eq!(summary.removed, [gone]);
    for person in [&mut bob, &mut dave, &mut charlie] {
        person.manager.process(&again.commit).unwrap();
    }
    charlie.restart();
    assert_eq!(charlie.manager.standing(), Some(Standing::Removed));
    erin.manager.join(confirmed.welcome.unwrap()).unwrap();
    assert!(alice.manager.restage().unwrap().is_none(), "it is done");
    all_read_all(&mut [alice, bob, dave, erin]);
}

#[test]
fn a_change_that_somebody_else_made_is_not_made_again() {
    let [mut alice, mut bob, mut charlie] = three();
    let gone = charlie.manager.member_id().unwrap();
    let _overtaken = alice.manager.remove_members([gone]).unwrap();
    let won = bob.manager.remove_members([gone]).unwrap();
    bob.manager.confirm(won.id()).unwrap();
    alice.manager.process(&won.commit).unwrap();
    assert!(alice.manager.restage().unwrap().is_none());
    // An update is this member's own affair.
    let _overtaken = alice.manager.update().unwrap();
    let won = bob.manager.update().unwrap();
    bob.manager.confirm(won.id()).unwrap();
    alice.manager.process(&won.commit).unwrap();
    let again = alice.manager.restage().unwrap().unwrap();
    alice.manager.discard(again.id()).unwrap();
    assert!(alice.manager.restage().unwrap().is_none(), "discarded on purpose");
    charlie.restart();
}

/// A member goes back to a copy of its state, in which message keys are used that were used since. It
/// comes back into the group, with its id.
#[test]
fn a_member_with_an_old_copy_comes_back() {
    let [mut alice, mut bob, mut charlie] = three();
    let old = charlie.copy();
    all_read_all(
        &mut [&mut alice, &mut bob, &mut charlie]
            .map(|person| Person { manager: person.opened(), store: Arc::clone(&person.store) }),
    );
    alice.restart();
    bob.restart();
    let change = alice.manager.update().unwrap();
    assert_eq!(alice.manager.confirm(change.id()).unwrap().welcome, None);
    bob.manager.process(&change.commit).unwrap();

    charlie.store = old;
    charlie.restart();
    let id = charlie.manager.member_id();
    assert!(matches!(charlie.manager.key_package(), Err(Error::GroupExists)));
    let package = charlie.manager.rejoin_package().unwrap();
    charlie.restart();
    let change = bob.manager.readmit_members([&package]).unwrap();
    let confirmed = bob.manager.confirm(change.id()).unwrap();
    let summary = confirmed.summary;
    assert_eq!((summary.added, summary.removed), (vec![id.unwrap()], vec![id.unwrap()]));
    let Incoming::Commit(summary) = alice.manager.process(&change.commit).unwrap() else {
        panic!()
    };
    assert_eq!((summary.added, summary.removed), (vec![id.unwrap()], vec![id.unwrap()]));
    let joined = charlie.manager.join(confirmed.welcome.unwrap()).unwrap();
    assert_eq!(joined.inviter, bob.manager.member_id());
    assert_eq!(charlie.manager.member_id(), id);
    let mut people = [alice, bob, charlie];
    all_read_all(&mut people);
    people.iter_mut().for_each(Person::restart);
    all_read_all(&mut people);
    // It asked once, and was taken in once.
    let change = people[0].manager.update().unwrap();
    people[0].manager.discard(change.id()).unwrap();
    let change = people[0].manager.readmit_members([&package]).unwrap();
    let welcome = people[0].manager.confirm(change.id()).unwrap().welcome.unwrap();
    assert!(matches!(people[2].manager.join(&welcome), Err(IncomingWelcome::Unasked)));
}

/// An old key package of Charlie's is in other hands. He sees where he is led before he goes.
#[test]
fn a_welcome_to_another_group_can_be_refused() {
    let mut charlie = Person::new("Charlie", false);
    let old = charlie.manager.key_package().unwrap();
    let mut alice = Person::new("Alice", true);
    let package = charlie.manager.key_package().unwrap();
    let change = alice.manager.add_members([package]).unwrap();
    let welcome = alice.manager.confirm(change.id()).unwrap().welcome.unwrap();
    charlie.manager.join(&welcome).unwrap();
    let mut mallory = Person::new("Mallory", true);
    let elsewhere = mallory.manager.add_members([old]).unwrap();
    let welcome = mallory.manager.confirm(elsewhere.id()).unwrap().welcome.unwrap();

    let package = charlie.manager.rejoin_package().unwrap();
    let inviter = alice.manager.member_id();
    let by_alice = |joined: &cc_manager::Joined| joined.inviter == inviter;
    let refused = charlie.manager.receive_welcome_if(&welcome, by_alice).unwrap();
    let Err(IncomingWelcome::Joined(refused)) = refused else { panic!() };
    assert_eq!(refused.inviter, mallory.manager.member_id());
    assert_eq!(refused.members.len(), 2);
    let wire = alice.manager.encrypt("still in the old group").unwrap();
    assert_eq!(charlie.manager.decrypt(&wire).unwrap(), "still in the old group");
    let change = alice.manager.readmit_members([package]).unwrap();
    let welcome = alice.manager.confirm(change.id()).unwrap().welcome.unwrap();
    charlie.manager.receive_welcome_if(&welcome, by_alice).unwrap().unwrap();
    all_read_all(&mut [alice, charlie]);
}

#[test]
fn no_welcome_is_taken_twice() {
    let person = || {
        let builder = CascadingCipherManager::builder();
        let builder = builder.layer(common::dh()).layer(AesLayer::inherited());
        let store = Shared::default();
        let manager = builder.create(Arc::clone(&store), NAME).unwrap();
        Person { manager, store }
    };
    let (mut alice, mut bob) = (person(), person());
    let change = alice.manager.add_members([bob.manager.key_package().unwrap()]).unwrap();
    let welcome = alice.manager.confirm(change.id()).unwrap().welcome.unwrap();
    bob.manager.join(&welcome).unwrap();
    let update = alice.manager.update().unwrap();
    alice.manager.confirm(update.id()).unwrap();
    bob.manager.process(&update.commit).unwrap();
    bob.manager.rejoin_package().unwrap();
    bob.restart();
    // Who kept the welcome would lead Bob back to the first epoch.
    assert!(matches!(bob.manager.join(&welcome), Err(IncomingWelcome::AlreadyUsed)));
    assert_eq!(bob.manager.epoch(), Some(2));
    bob.manager.cancel_rejoin().unwrap();
    assert!(matches!(bob.manager.join(&welcome), Err(IncomingWelcome::AlreadyUsed)));
    all_read_all(&mut [alice, bob]);
}

/// Whichever of two threads commits first goes on; nothing that the other handed out shares a key.
#[test]
fn of_two_threads_with_one_manager_each_only_one_goes_on() {
    let [mut alice, mut bob, _] = three();
    for round in 0..30 {
        let twins = [alice.opened(), alice.opened()];
        let start = Barrier::new(2);
        let sent: Vec<Vec<Vec<u8>>> = thread::scope(|scope| {
            let threads = twins.map(|mut twin| {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    let mut sent = Vec::new();
                    for number in 0..5 {
                        match twin.encrypt(format!("{round}, {number}")) {
                            Ok(wire) => sent.push(wire),
                            Err(Error::Store(StoreError::Locked)) => break,
                            Err(error) => panic!("{error}"),
                        }
                    }
                    sent
                })
            });
            threads.map(|thread| thread.join().unwrap()).into()
        });
        let mut counts: Vec<usize> = sent.iter().map(Vec::len).collect();
        counts.sort_unstable();
        assert_eq!(counts[1], 5, "nobody goes on: {counts:?}");
        for wire in sent.concat() {
            bob.manager.decrypt(&wire).unwrap();
        }
        alice.restart();
        alice.manager.sent(sent.concat()).unwrap();
    }
    let inbox = bob.manager.inbox().unwrap();
    bob.manager.acknowledge(inbox.iter().filter_map(cc_manager::Message::id)).unwrap();
    all_read_all(&mut [alice, bob]);
}

#[test]
fn of_two_managers_under_one_name_only_one_goes_on() {
    let [mut alice, mut bob, _] = three();
    let mut twin = alice.opened();
    let first = alice.manager.encrypt("first").unwrap();
    for _ in 0..2 {
        let error = twin.encrypt("with the same key").unwrap_err();
        assert!(matches!(error, Error::Store(StoreError::Locked)), "{error}");
        assert!(matches!(twin.inbox(), Err(Error::Store(StoreError::Locked))));
    }
    drop(twin);
    let second = alice.manager.encrypt("second").unwrap();
    for (wire, text) in [(first, "first"), (second, "second")] {
        assert_eq!(bob.manager.decrypt(&wire).unwrap(), text);
    }
}

/// What has the name now is another manager, whatever its counters are.
#[test]
fn a_handle_from_before_an_erasure_changes_nothing() {
    let store = Shared::default();
    let create = || {
        CascadingCipherManager::builder()
            .layer(AesLayer::generate().unwrap())
            .create(Arc::clone(&store), NAME)
            .unwrap()
    };
    let first = create();
    let open = || CascadingCipherManager::open(Arc::clone(&store), NAME, &catalog()).unwrap();
    let [mut old, erasing] = [open(), open()];
    first.erase().unwrap();
    let locked = |error: Error| {
        assert!(matches!(error, Error::Store(StoreError::Locked)), "{error}");
    };
    locked(old.inbox().unwrap_err());
    let mut second = create();
    locked(old.encrypt("of the first").unwrap_err());
    let wire = second.encrypt("of the second").unwrap();
    let mut reading = open();
    locked(old.inbox().unwrap_err());
    locked(old.outbox().unwrap_err());
    locked(old.add_layer(AesLayer::generate().unwrap()).unwrap_err());
    locked(erasing.erase().unwrap_err());
    assert_eq!(common::wires(second.outbox().unwrap()), std::slice::from_ref(&wire));
    assert_eq!(reading.decrypt(&wire).unwrap(), "of the second");
}

/// A crash may come between the proof that there is room and its removal.
#[test]
fn a_proof_of_room_that_a_crash_left_is_removed() {
    let [mut alice, ..] = three();
    let root = Scope::new("cascade").child(NAME);
    let mut batch = Batch::new();
    batch.put(&root, "room", SecretBytes::new(vec![0; 100]));
    alice.store.lock().unwrap().commit(&batch).unwrap();
    alice.restart();
    alice.manager.inbox().unwrap();
    assert!(root.of(&alice.store).get(b"room").unwrap().is_none());
}

#[test]
fn inbox_and_outbox_are_read_some_at_a_time() {
    let [mut alice, mut bob, _] = three();
    let texts: Vec<_> = (0..300).map(|n| format!("text {n}")).collect();
    let wires = alice.manager.encrypt_all(&texts).unwrap();
    bob.manager.receive_all(&wires).unwrap();
    let (mut read, mut after) = (Vec::new(), None);
    loop {
        let page = bob.manager.inbox_after(after, 70).unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() == 70 || read.len() + page.len() == 300);
        after = last.id();
        read.extend(page.iter().map(|message| message.as_str().unwrap().to_string()));
    }
    assert_eq!(read, texts);
    assert!(bob.manager.inbox_after(None, 0).unwrap().is_empty());
    let mut sent = Vec::new();
    loop {
        let page = alice.manager.outbox_first(70).unwrap();
        if page.is_empty() {
            break;
        }
        assert!(page.len() == 70 || sent.len() + page.len() == 300);
        alice.manager.sent(&page).unwrap();
        sent.extend(page);
    }
    assert_eq!(common::wires(sent), wires);
    assert!(alice.manager.outbox_first(0).unwrap().is_empty());
}

/// A program that does not give up while the store is full can still be understood afterwards.
#[test]
fn a_store_that_stays_full_uses_no_keys_up() {
    let [mut alice, mut bob, _] = three();
    for _ in 0..1500 {
        alice.fail_after(0, Failure::Full);
        let error = alice.manager.encrypt("again").unwrap_err();
        assert!(matches!(error, Error::Store(StoreError::Full)), "{error}");
    }
    let records = alice.store.lock().unwrap().len();
    let wire = alice.manager.encrypt("at last").unwrap();
    assert_eq!(bob.manager.decrypt(&wire).unwrap(), "at last");
    assert_eq!(alice.store.lock().unwrap().len(), records + 1, "the entry in the outbox");
    let change = alice.manager.update().unwrap();
    alice.manager.confirm(change.id()).unwrap();
    bob.manager.process(&change.commit).unwrap();
}

#[test]
fn nobody_is_moved_to_a_group_it_did_not_ask_for() {
    let [_, mut bob, mut charlie] = three();
    let mut mallory = Person::new("Mallory", true);
    let package = charlie.manager.rejoin_package().unwrap();
    // Of somebody who is a member already.
    assert!(matches!(bob.manager.propose_add(&package), Err(Error::Disagreement)));
    let change = bob.manager.readmit_members([&package]).unwrap();
    let welcome = bob.manager.confirm(change.id()).unwrap().welcome.unwrap();
    charlie.manager.join(&welcome).unwrap();
    // The package is spent, and nothing else is accepted.
    let change = mallory.manager.add_members([&package]).unwrap();
    let welcome = mallory.manager.confirm(change.id()).unwrap().welcome.unwrap();
    assert!(matches!(charlie.manager.join(&welcome), Err(IncomingWelcome::Unasked)));
    charlie.manager.rejoin_package().unwrap();
    assert!(charlie.manager.join(&welcome).is_err(), "a spent package");
}

/// Somebody keeps a request to leave back until its author was added anew.
#[test]
fn an_old_request_to_leave_removes_nobody() {
    let [mut alice, mut bob, mut charlie] = three();
    let old = charlie.manager.leave().unwrap();
    let package = charlie.manager.rejoin_package().unwrap();
    let change = alice.manager.readmit_members([&package]).unwrap();
    let welcome = alice.manager.confirm(change.id()).unwrap().welcome.unwrap();
    bob.manager.process(&change.commit).unwrap();
    charlie.manager.join(&welcome).unwrap();
    for person in [&mut alice, &mut bob] {
        assert!(matches!(person.manager.process(&old), Err(Incoming::Stale { .. })));
        person.restart();
        assert!(matches!(person.manager.process(&old), Err(Incoming::Stale { .. })));
        assert_eq!(person.manager.leaving().count(), 0);
    }
    let new = charlie.manager.leave().unwrap();
    alice.manager.process(&new).unwrap();
    alice.restart();
    assert_eq!(alice.manager.leaving().next(), charlie.manager.member_id());
    let change = alice.manager.update().unwrap();
    assert_eq!(
        alice.manager.confirm(change.id()).unwrap().summary.removed,
        [charlie.manager.member_id().unwrap()]
    );
}

#[test]
fn many_messages_are_one_commit() {
    let [mut alice, mut bob, mut charlie] = three();
    let before = (alice.commits(), bob.commits());
    let texts: Vec<_> = (0..50).map(|n| format!("text {n}")).collect();
    let mut wires = alice.manager.encrypt_all(&texts).unwrap();
    assert_eq!(common::wires(alice.manager.outbox().unwrap()), wires);
    wires.insert(7, b"noise".to_vec());
    let received: Vec<_> =
        bob.manager.receive_all(&wires).unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!((alice.commits(), bob.commits()), (before.0 + 1, before.1 + 1));
    assert!(matches!(received[7], Incoming::Foreign(_)), "a version that there is not");
    let opened: Vec<_> = received.into_iter().filter_map(Incoming::into_message).collect();
    assert_eq!(opened.len(), 50);
    bob.restart();
    assert_eq!(bob.texts(), texts);
    let ids = opened.iter().filter_map(|message| message.id());
    bob.manager.acknowledge(ids).unwrap();
    alice.manager.sent(&wires).unwrap();
    assert!(bob.texts().is_empty() && alice.manager.outbox().unwrap().is_empty());
    // One by one is as good.
    for wire in wires.iter().filter(|wire| *wire != b"noise") {
        charlie.manager.decrypt(wire).unwrap();
    }
    assert_eq!(charlie.texts(), texts);
}

/// For who keeps them itself, in one transaction with what the manager writes.
#[test]
fn without_a_mailbox_nothing_is_kept_of_what_is_said() {
    let [mut alice, mut bob, _] = three();
    alice.manager.encrypt("before").unwrap();
    for person in [&mut alice, &mut bob] {
        person.manager.set_mailbox(false);
    }
    let wires = alice.manager.encrypt_all_with(["one", "two"], b"bound").unwrap();
    let leaves = alice.manager.leave().unwrap();
    assert_eq!(alice.manager.outbox().unwrap().len(), 1, "what was there");
    let before = bob.commits();
    for other in bob.manager.receive_all_with(&wires, b"other").unwrap() {
        assert!(matches!(other.unwrap(), Incoming::Forged(_)));
    }
    let received = bob.manager.receive_all_with(&wires, b"bound").unwrap();
    let opened: Vec<_> =
        received.into_iter().map(|it| it.unwrap().into_message().unwrap()).collect();
    assert!(opened[0] == "one" && opened[1] == "two");
    assert!(opened.iter().all(|message| message.id().is_none()));
    assert_eq!(bob.commits(), before + 1);
    assert!(matches!(bob.manager.receive(&leaves).unwrap(), Incoming::Proposal(_)));
    assert!(bob.manager.inbox().unwrap().is_empty());
    // The ratchets are where they were left, and a manager that is opened keeps a mailbox again.
    bob.restart();
    for again in bob.manager.receive_all_with(&wires, b"bound").unwrap() {
        assert!(matches!(again.unwrap(), Incoming::Duplicate));
    }
    bob.manager.receive(alice.manager.encrypt("kept").unwrap()).unwrap();
    assert_eq!(bob.texts(), ["kept"]);
}

#[test]
fn a_batch_that_the_store_refuses_is_not_handed_out() {
    let [mut alice, mut bob, _] = three();
    alice.fail_after(0, Failure::Full);
    let error = alice.manager.encrypt_all(["lost", "too"]).unwrap_err();
    assert!(matches!(error, Error::Store(StoreError::Full)), "{error}");
    let wires = alice.manager.encrypt_all(["one", "two"]).unwrap();
    assert_eq!(common::wires(alice.manager.outbox().unwrap()), wires, "nothing of what was lost");
    bob.fail_after(0, Failure::Full);
    let error = bob.manager.receive_all(&wires).unwrap_err();
    assert!(matches!(error, Error::Store(StoreError::Full)), "{error}");
    assert_eq!(bob.texts(), ["one", "two"], "as soon as the store works again");
    bob.restart();
    assert_eq!(bob.texts(), ["one", "two"]);
    // A plaintext that no message holds spoils the batch, and nothing else.
    let long = vec![0; cc_core::limits::MAX_MESSAGE_LEN + 1];
    assert!(alice.manager.encrypt_all([b"short".as_slice(), &long]).is_err());
    assert_eq!(common::wires(alice.manager.outbox().unwrap()), wires);
    let wire = alice.manager.encrypt("three").unwrap();
    assert_eq!(bob.manager.decrypt(&wire).unwrap(), "three");
}

/// Every write of a conversation fails once, in each way. What failed did not happen; where it may
/// have, opening the store tells.
#[test]
fn every_write_may_fail() {
    let plain = conversation(&mut three(), None);
    assert!(plain > 20, "{plain} writes");
    for failure in [Failure::Full, Failure::Lost, Failure::Kept] {
        for nth in 0..plain {
            conversation(&mut three(), Some((nth, failure)));
        }
    }
}

/// Lets people talk, and gives the number of writes. The `nth` of them fails.
fn conversation(people: &mut [Person; 3], fault: Option<(u64, Failure)>) -> u64 {
    let mut writes = 0;
    let mut act = |person: &mut Person,
                   done: &dyn Fn(&mut Person) -> bool,
                   act: &dyn Fn(&mut Person) -> Result<(), Error>| {
        let before = person.commits();
        if let Some((nth, failure)) = fault
            && nth >= writes
        {
            person.fail_after(nth - writes, failure);
        }
        if let Err(error) = act(person) {
            let Error::Store(store) = &error else { panic!("{error}") };
            if store.is_in_doubt() {
                // Nothing more until it is opened anew.
                assert!(matches!(act(person), Err(Error::Store(error)) if error.is_in_doubt()));
                person.restart();
            }
            if !done(person) {
                act(person).unwrap();
            }
        }
        person.store.lock().unwrap().fail_after(u64::MAX, Failure::Full);
        assert!(done(person));
        writes += person.commits() - before;
    };
    let epoch = |wanted| move |person: &mut Person| person.manager.epoch() == Some(wanted);
    for (round, text) in ["one", "two"].into_iter().enumerate() {
        let [alice, bob, charlie] = people;
        let reached = u64::try_from(round).unwrap() + 1;
        act(alice, &|p| !p.manager.outbox().unwrap().is_empty(), &|p| {
            p.manager.encrypt(text).map(drop)
        });
        let wire = alice.manager.outbox().unwrap().pop().unwrap();
        act(alice, &|p| p.manager.outbox().unwrap().is_empty(), &|p| p.manager.sent([&wire]));
        for reader in [&mut *bob, &mut *charlie] {
            act(reader, &|p| p.texts() == [text], &|p| p.manager.decrypt(&wire).map(drop));
            let id = reader.manager.inbox().unwrap()[0].id();
            act(reader, &|p| p.texts().is_empty(), &|p| p.manager.acknowledge(id));
        }
        act(bob, &|p| p.manager.staged_change().is_some(), &|p| p.manager.update().map(drop));
        let change = bob.manager.staged_change().unwrap().clone();
        act(alice, &|p| p.manager.staged_change().is_some(), &|p| p.manager.update().map(drop));
        act(bob, &epoch(reached + 1), &|p| p.manager.confirm(change.id()).map(drop));
        for other in [&mut *alice, &mut *charlie] {
            act(other, &epoch(reached + 1), &|p| p.manager.receive(&change.commit).map(drop));
        }
        assert!(alice.manager.staged_change().is_none());
        act(alice, &|p| p.manager.staged_change().is_some(), &|p| p.manager.restage().map(drop));
        let change = alice.manager.staged_change().unwrap().clone();
        act(alice, &|p| p.manager.staged_change().is_none(), &|p| p.manager.discard(change.id()));
    }
    all_read_all(people);
    people.iter_mut().for_each(Person::restart);
    all_read_all(people);
    writes
}

#[test]
fn a_store_has_many_managers_by_name() {
    let store = Shared::default();
    let create = |name: &str| full("Alice", true).create(Arc::clone(&store), name);
    let open = |name: &str| CascadingCipherManager::open(Arc::clone(&store), name, &catalog());
    let names = || CascadingCipherManager::stored(&store).unwrap();
    assert!(names().is_empty());
    let first = create("a").unwrap();
    drop(create("b").unwrap());
    drop(create("").unwrap());
    assert_eq!(names(), ["", "a", "b"]);
    assert!(matches!(create("a"), Err(Error::Store(StoreError::Exists))));
    assert!(matches!(open("c"), Err(Error::Store(StoreError::Missing))));
    open("").unwrap();
    let with_a = store.lock().unwrap().len();
    first.erase().unwrap();
    assert_eq!(names(), ["", "b"]);
    assert!(store.lock().unwrap().len() < with_a);
    assert!(matches!(open("a"), Err(Error::Store(StoreError::Missing))));
    open("b").unwrap().erase().unwrap();
    open("").unwrap().erase().unwrap();
    assert!(store.lock().unwrap().is_empty(), "nothing stays behind");
    create("a").unwrap();
}

#[test]
fn opening_says_what_is_wrong() {
    let store = Shared::default();
    full("Alice", true).create(Arc::clone(&store), NAME).unwrap();
    let open = |catalog: &Catalog| CascadingCipherManager::open(Arc::clone(&store), NAME, catalog);
    let some = Catalog::new().with::<AesLayer>().with::<DhLayer>();
    let Err(Error::UnknownLayer { position: 1, id }) = open(&some) else { panic!() };
    assert_eq!(id, "cc.mls");
    let root = Scope::new("cascade").child(NAME);
    let put = |key: &str, edit: &dyn Fn(&mut Vec<u8>)| {
        let mut value = root.of(&store).get(key.as_bytes()).unwrap().unwrap().expose().to_vec();
        edit(&mut value);
        let mut batch = Batch::new();
        batch.put(&root, key, SecretBytes::new(value));
        store.lock().unwrap().commit(&batch).unwrap();
    };
    put("shape", &|shape| shape[1] = 2);
    let error = open(&catalog()).unwrap_err();
    assert!(matches!(error, Error::Store(StoreError::Newer { version: 2 })), "{error}");
    put("shape", &|shape| shape[1] = 1);
    open(&catalog()).unwrap();
    // Another version of a layer, by its last byte: the parameters of the topmost.
    put("shape", &|shape| *shape.last_mut().unwrap() ^= 1);
    let error = open(&catalog()).unwrap_err();
    assert!(matches!(error, Error::Store(StoreError::Corrupt(_))), "{error}");
}

/// Whatever one record is changed to, opening gives an error or a manager that works.
#[test]
fn no_record_makes_opening_panic() {
    let [mut alice, mut bob, _] = three();
    let wire = alice.manager.encrypt("text").unwrap();
    bob.manager.decrypt(&wire).unwrap();
    let _staged = bob.manager.update().unwrap();
    bob.manager.leave().unwrap();
    let records = records_of(&bob.store);
    assert!(records.len() > 15, "{} records", records.len());
    for (scope, key, value) in &records {
        let mut damaged: Vec<Option<Vec<u8>>> = vec![None, Some(Vec::new())];
        let steps = value.len().div_ceil(40).max(1);
        for at in (0..value.len()).step_by(steps) {
            damaged.push(Some(value[..at].to_vec()));
            let mut flipped = value.clone();
            flipped[at] ^= 0x11;
            damaged.push(Some(flipped));
        }
        damaged.push(Some([value.as_slice(), &[0]].concat()));
        for value in damaged {
            let store = bob.copy();
            let mut batch = Batch::new();
            match value {
                Some(value) => batch.put(scope, key.as_slice(), SecretBytes::new(value)),
                None => batch.delete(scope, key.as_slice()),
            }
            store.lock().unwrap().commit(&batch).unwrap();
            if let Ok(mut opened) = CascadingCipherManager::open(store, NAME, &catalog()) {
                let _ = (opened.inbox(), opened.outbox(), opened.encrypt("x"), opened.update());
            }
        }
    }
}

/// All that a store has: each commit of a recorder goes to a memory store as well.
fn records_of(store: &Shared) -> Vec<(Scope, Vec<u8>, Vec<u8>)> {
    let root = Scope::new("cascade").child(NAME);
    let layers = (0..8).map(|slot| root.child("layer").indexed(slot));
    let scopes = [root.clone(), root.child("inbox"), root.child("outbox"), root.child("proposals")];
    let mut records = Vec::new();
    for scope in scopes.into_iter().chain(layers) {
        for (key, value) in scope.of(store).list(b"").unwrap() {
            records.push((scope.clone(), key, value.expose().to_vec()));
        }
    }
    records
}

#[test]
fn layers_come_and_go_in_the_store() {
    let store = Shared::default();
    let mut alice = CascadingCipherManager::builder()
        .layer(AesLayer::generate().unwrap())
        .layer(AesLayer::generate().unwrap())
        .create(Arc::clone(&store), NAME)
        .unwrap();
    let open = |store: &Shared| {
        let copy = store.lock().unwrap().reopened();
        CascadingCipherManager::open(copy, NAME, &catalog()).unwrap()
    };
    let works = |alice: &mut CascadingCipherManager, store: &Shared| {
        let wire = alice.encrypt("text").unwrap();
        assert_eq!(open(store).decrypt(&wire).unwrap(), "text");
        alice.sent([&wire]).unwrap();
    };
    works(&mut alice, &store);
    let size = store.lock().unwrap().len();
    alice.add_layer(AesLayer::generate().unwrap()).unwrap();
    works(&mut alice, &store);
    let removed = alice.remove_layer(0).unwrap();
    works(&mut alice, &store);
    alice.insert_layer(1, AesLayer::generate().unwrap()).unwrap();
    works(&mut alice, &store);
    alice.replace_layer(0, AesLayer::generate().unwrap()).unwrap();
    works(&mut alice, &store);
    alice.remove_layer(2).unwrap();
    works(&mut alice, &store);
    assert_eq!(store.lock().unwrap().len(), size, "records of layers that went");
    drop(removed);

    // A store that fails leaves the stack as it was, in memory and on disk.
    for failure in [Failure::Full, Failure::Lost] {
        let before = alice.stack_report().stack_id;
        store.lock().unwrap().fail_after(0, failure);
        assert!(matches!(alice.add_layer(AesLayer::generate().unwrap()), Err(Error::Store(_))));
        assert_eq!(alice.stack_report().stack_id, before);
        assert_eq!(alice.layer_count(), 2);
        if failure == Failure::Full {
            works(&mut alice, &store);
            alice.remove_layer(1).unwrap();
            works(&mut alice, &store);
            alice.add_layer(AesLayer::generate().unwrap()).unwrap();
            works(&mut alice, &store);
        } else {
            assert!(alice.encrypt("text").is_err(), "in doubt");
            assert_eq!(open(&store).layer_count(), 2);
        }
    }
}

#[test]
fn a_layer_that_cannot_be_kept_is_refused() {
    let store = Shared::default();
    let (tripwire, _) = Tripwire::new();
    let result = CascadingCipherManager::builder()
        .layer(AesLayer::generate().unwrap())
        .layer(tripwire)
        .create(Arc::clone(&store), NAME);
    let Err(Error::Layer { position: 1, source, .. }) = result else { panic!() };
    assert_eq!(source.kind(), LayerErrorKind::Misuse);
    assert!(store.lock().unwrap().is_empty());
}

/// Removed layers leave nothing in a batch but deletions.
#[test]
fn a_message_writes_little() {
    struct Counting(Arc<Mutex<(MemoryStore, usize)>>);
    impl Store for Counting {
        fn get(&self, scope: &Scope, key: &[u8]) -> Result<Option<SecretBytes>, StoreError> {
            self.0.lock().unwrap().0.get(scope, key)
        }
        fn scan(
            &self,
            scope: &Scope,
            prefix: &[u8],
            visit: &mut dyn FnMut(&[u8], SecretBytes) -> std::ops::ControlFlow<()>,
        ) -> Result<(), StoreError> {
            self.0.lock().unwrap().0.scan(scope, prefix, visit)
        }
        fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
            let mut held = self.0.lock().unwrap();
            held.1 = batch
                .changes()
                .map(|(scope, key, change)| {
                    scope.as_bytes().len()
                        + key.len()
                        + match change {
                            RecordChange::Put(value) => value.expose().len(),
                            RecordChange::Delete => 0,
                        }
                })
                .sum();
            held.0.commit(batch)
        }
    }
    let mut written = Vec::new();
    for size in [2, 60] {
        let log = Arc::new(Mutex::new((MemoryStore::new(), 0)));
        let mut alice = full("Alice", true).create(Counting(Arc::clone(&log)), NAME).unwrap();
        let mut others: Vec<_> = (1..size).map(|_| common::joiner("Other")).collect();
        let packages: Vec<_> =
            others.iter_mut().map(|other| other.key_package().unwrap()).collect();
        let change = alice.add_members(packages).unwrap();
        let welcome = alice.confirm(change.id()).unwrap().welcome.unwrap();
        others[0].join(&welcome).unwrap();
        let wire = others[0].encrypt([0; 100]).unwrap();
        alice.encrypt([0; 100]).unwrap();
        let sent = log.lock().unwrap().1;
        alice.decrypt(&wire).unwrap();
        let received = log.lock().unwrap().1;
        println!("{size} members: {sent} bytes to send, {received} to receive");
        written.push((sent, received));
    }
    assert_eq!(written[0], written[1], "independent of the size of the group");
    assert!(written[0].0 < 1200 && written[0].1 < 600, "{written:?}");
}
