//! What threads see of the groups while the client works.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::common;

use std::{
    ops::ControlFlow,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
};

use cc_client::{
    Client, Command, Fault, MemoryService, OperationId, PersonId, PersonView, Profile, Recipe,
    Snapshot, Trust, Views,
};
use cc_core::{
    SecretBytes,
    store::{Batch, MemoryStore, Scope, Store, StoreError},
};
use common::{Person, group_of, settle};

const fn shared_by_threads<T: Clone + Send + Sync + 'static>() {}
const _: () = shared_by_threads::<Views>();
const _: () = shared_by_threads::<Snapshot>();
const _: () = shared_by_threads::<PersonView>();

/// Tells that a commit began, and waits until it may go on.
type Gate = (mpsc::Sender<()>, mpsc::Receiver<()>);

/// A store that can be told to wait within a commit, and counts what is read of stacks.
#[derive(Default)]
struct Probe {
    inner: MemoryStore,
    gate: Arc<Mutex<Option<Gate>>>,
    stacks_read: Arc<AtomicUsize>,
}

impl Probe {
    fn count(&self, scope: &Scope) {
        if !format!("{scope:?}").contains("client") {
            self.stacks_read.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Store for Probe {
    fn get(&self, scope: &Scope, key: &[u8]) -> Result<Option<SecretBytes>, StoreError> {
        self.count(scope);
        self.inner.get(scope, key)
    }

    fn scan(
        &self,
        scope: &Scope,
        prefix: &[u8],
        visit: &mut dyn FnMut(&[u8], SecretBytes) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.count(scope);
        self.inner.scan(scope, prefix, visit)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        if let Some((entered, leave)) = &*self.gate.lock().unwrap() {
            entered.send(()).unwrap();
            leave.recv().unwrap();
        }
        self.inner.commit(batch)
    }
}

#[test]
fn looking_does_not_wait_for_the_client() {
    let store = Probe::default();
    let gate = Arc::clone(&store.gate);
    let mut client = Client::create(store, Profile::new("Alice"), Recipe::group()).unwrap();
    let views = client.views().unwrap();
    let group = client.found("One").unwrap();
    assert_eq!(views.group(&group).unwrap().members.len(), 1);
    let before = views.snapshot();

    let (entered, has_entered) = mpsc::channel();
    let (go_on, leave) = mpsc::channel();
    *gate.lock().unwrap() = Some((entered, leave));
    let worker = std::thread::spawn(move || {
        let second = client.found("Two").unwrap();
        (client, second)
    });
    // The client is in the middle of a commit, and stays there.
    has_entered.recv().unwrap();
    assert_eq!(*views.snapshot(), *before, "the last commit, not the one under way");
    go_on.send(()).unwrap();
    let (_client, second) = worker.join().unwrap();
    assert_eq!(views.group(&second).unwrap().title, "Two");
    assert_eq!(before.groups.len(), 1, "a snapshot does not change");
}

#[test]
fn no_stack_is_opened_for_a_view() {
    let disk = Arc::new(Mutex::new(Probe::default()));
    let stacks_read = Arc::clone(&disk.lock().unwrap().stacks_read);
    let mut client =
        Client::create(Arc::clone(&disk), Profile::new("Alice"), Recipe::group()).unwrap();
    // More than are kept open.
    let groups: Vec<_> = (0..80).map(|at| client.found(format!("group {at}")).unwrap()).collect();
    drop(client);
    let before = stacks_read.load(Ordering::Relaxed);
    assert!(before > 0, "founding reads stacks");
    let mut client = Client::open(disk).unwrap();
    let views = client.views().unwrap();
    assert_eq!(views.snapshot().groups.len(), 80);
    for (at, group) in groups.iter().enumerate() {
        let view = views.group(group).unwrap();
        assert_eq!((view.title.as_str(), view.members.len()), (&*format!("group {at}"), 1));
        assert_eq!(*view, client.group(group).unwrap());
        assert!(view.authenticator.is_some() && view.in_step);
    }
    assert_eq!(stacks_read.load(Ordering::Relaxed), before, "only the client's own records");
}

#[test]
fn views_follow_members_and_epochs() {
    let mut service = MemoryService::new();
    let mut people = ["Alice", "Bob", "Carol"].map(Person::new);
    let views = people.each_mut().map(|person| person.client.views().unwrap());
    let [alice, bob, carol] = &mut people;
    let group = group_of(&mut [alice, bob, carol], &mut service);
    let check = |people: &[&mut Person], members: usize| {
        let all: Vec<_> = views.iter().map(|views| views.group(&group).unwrap()).collect();
        for (person, view) in people.iter().zip(&all) {
            assert_eq!(**view, person.client.group(&group).unwrap(), "{}", person.name);
            assert_eq!(view.members.len(), members, "{}", person.name);
            assert_eq!(view.authenticator, all[0].authenticator, "{}", person.name);
            assert_eq!(view.epoch, all[0].epoch);
            assert!(view.in_step);
        }
    };
    check(&[alice, bob, carol], 3);
    let before = views[0].group(&group).unwrap();
    alice.client.send(group, "a message changes no members").unwrap();
    settle(&mut [alice, bob, carol], &mut service);
    check(&[alice, bob, carol], 3);
    let after = views[0].group(&group).unwrap();
    assert!(after.cursor > before.cursor);
    assert!(Arc::ptr_eq(&after.members, &before.members), "members are shared, not copied");

    let members = vec![carol.client.me().id];
    bob.client.submit(OperationId::random().unwrap(), Command::Remove { group, members }).unwrap();
    settle(&mut [alice, bob, carol], &mut service);
    check(&[alice, bob], 2);
    let out = views[2].group(&group).unwrap();
    assert_eq!((out.epoch, out.members.len(), out.in_step), (None, 0, false));
    // And back again.
    let package = carol.client.key_packages(carol.now, 1).unwrap().remove(0);
    alice.client.invite(group, package).unwrap();
    settle(&mut [alice, bob, carol], &mut service);
    check(&[alice, bob, carol], 3);
    assert_eq!(
        views[0].group(&group).unwrap().members.len(),
        views[2].snapshot().groups[&group].members.len()
    );
}

#[test]
fn what_another_process_did_is_shown_after_the_fence() {
    let mut service = MemoryService::new();
    let [mut alice, mut bob] = ["Alice", "Bob"].map(Person::new);
    let group = group_of(&mut [&mut alice, &mut bob], &mut service);
    let views = alice.client.views().unwrap();
    let cursor = views.group(&group).unwrap().cursor;
    bob.client.send(group, "read by the other process").unwrap();
    settle(&mut [&mut bob], &mut service);
    let first = std::mem::replace(&mut alice.client, Client::open(alice.disk.clone()).unwrap());
    alice.turn(&mut service);
    assert_eq!(alice.read(&group).len(), 1);
    let mut first = first;
    assert_eq!(views.group(&group).unwrap().cursor, cursor);
    assert!(matches!(first.send(group, "late"), Err(Fault::Fenced)));
    // It has changed nothing, and reads the store anew by itself.
    first.send(group, "now").unwrap();
    assert!(views.group(&group).unwrap().cursor > cursor);
    assert_eq!(*views.group(&group).unwrap(), first.group(&group).unwrap());
}

/// What the snapshot has is what the client says, of everybody and every group.
fn shows_what_is(person: &Person, views: &Views) {
    let snapshot = views.snapshot();
    assert_eq!(snapshot.me, person.client.me());
    let mut people: Vec<PersonId> = person.client.people().unwrap();
    people.sort_unstable();
    assert!(snapshot.people.keys().eq(&people), "{}", person.name);
    let own = person.client.me().person.unwrap();
    for id in people {
        assert_eq!(*snapshot.people[&id], person.client.person(&id).unwrap());
        let number = (id != own).then(|| person.client.safety_number(&id).unwrap());
        assert_eq!(snapshot.safety_number(&id), number);
    }
    for (id, view) in &snapshot.groups {
        assert_eq!(**view, person.client.group(id).unwrap(), "{}", person.name);
    }
}

#[test]
fn views_follow_people() {
    let mut service = MemoryService::new();
    let [mut alice, mut laptop, mut bob, mut carol] =
        ["Alice", "Laptop", "Bob", "Carol"].map(Person::new);
    let everybody = [&mut alice, &mut laptop, &mut bob, &mut carol];
    let views = everybody.map(|person| person.client.views().unwrap());
    let [_, of_laptop, of_bob, _] = &views;
    macro_rules! settled {
        () => {
            settle(&mut [&mut alice, &mut laptop, &mut bob, &mut carol], &mut service);
            for (person, views) in [&alice, &laptop, &bob, &carol].into_iter().zip(&views) {
                shows_what_is(person, views);
            }
        };
    }
    let submit = |person: &mut Person, command: Command| {
        person.client.submit(OperationId::random().unwrap(), command).unwrap();
    };
    assert_eq!(of_bob.snapshot().people.len(), 1, "oneself");
    let both = group_of(&mut [&mut alice, &mut bob], &mut service);
    group_of(&mut [&mut bob, &mut alice, &mut carol], &mut service);
    settled!();
    let alices = alice.client.me().person.unwrap();
    assert_eq!(of_bob.person(&alices).unwrap().trust, Trust::Pinned);
    assert_eq!(of_bob.snapshot().groups_with(&alices).count(), 2);

    let number = of_bob.snapshot().safety_number(&alices).unwrap();
    submit(&mut bob, Command::Verify(alices, number.clone()));
    assert_eq!(of_bob.person(&alices).unwrap().trust, Trust::Verified, "with the commit");
    settled!();
    // A name is another one in all groups, with the message of one.
    let before = of_bob.snapshot();
    submit(&mut alice, Command::Rename("Alicia".into()));
    settled!();
    assert_eq!(of_bob.person(&alices).unwrap().name, "Alicia");
    for group in of_bob.snapshot().groups_with(&alices) {
        assert!(group.members.iter().any(|member| member.name.as_deref() == Some("Alicia")));
    }
    assert_eq!(before.people[&alices].name, "Alice", "a snapshot does not change");

    let laptops = laptop.client.me().person.unwrap();
    let offer = laptop.client.offer_device(laptop.now, 2).unwrap();
    submit(&mut alice, Command::Link(offer));
    settled!();
    assert_eq!(of_bob.person(&alices).unwrap().devices.len(), 2);
    assert_eq!((of_laptop.person(&laptops), of_laptop.snapshot().me.person), (None, Some(alices)));
    submit(&mut alice, Command::Revoke(laptop.client.me().id));
    submit(&mut alice, Command::ReplaceKeys);
    settled!();
    let view = of_bob.person(&alices).unwrap();
    assert_eq!((view.devices.len(), view.trust), (1, Trust::Changed));
    assert_ne!(of_bob.snapshot().safety_number(&alices).unwrap(), number);
    submit(&mut bob, Command::AcceptChange(alices));
    settled!();

    // What changes nobody costs nobody's view; and the first look after a start shows the same.
    let before = of_bob.snapshot();
    bob.client.send(both, "hello").unwrap();
    settled!();
    let after = of_bob.snapshot();
    for (id, view) in &after.people {
        assert!(Arc::ptr_eq(view, &before.people[id]));
    }
    bob.restart();
    let again = bob.client.views().unwrap();
    assert_eq!(again.snapshot().people, after.people);
    shows_what_is(&bob, &again);
}
