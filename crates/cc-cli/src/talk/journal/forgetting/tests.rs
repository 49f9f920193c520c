//! A thief of the store, with its key: what was deleted, edited or has run out is not in it.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{Arc, Mutex},
};

use cc_client::{Command, MemoryService, Now, OperationId, Person, Profile, Recipe, turn};
use cc_core::{
    SecretBytes,
    store::{Batch, Change, Scope, Store, StoreError},
};

use super::*;
use crate::talk::journal::{self, Who};

type Records = BTreeMap<(Scope, Vec<u8>), Vec<u8>>;

/// A store whose records a thief has.
#[derive(Clone, Default)]
struct Stolen(Arc<Mutex<Records>>);

impl Stolen {
    /// How many records have this text in them.
    fn has(&self, text: &str) -> usize {
        let records = self.0.lock().unwrap();
        let text = text.as_bytes();
        records.values().filter(|value| value.windows(text.len()).any(|at| at == text)).count()
    }
}

impl Store for Stolen {
    fn get(&self, scope: &Scope, key: &[u8]) -> Result<Option<SecretBytes>, StoreError> {
        let records = self.0.lock().unwrap();
        let value = records.get(&(scope.clone(), key.to_vec()));
        Ok(value.map(|value| SecretBytes::new(value.clone())))
    }

    fn scan(
        &self,
        scope: &Scope,
        prefix: &[u8],
        visit: &mut dyn FnMut(&[u8], SecretBytes) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let records = self.0.lock().unwrap().clone();
        for ((of, key), value) in &records {
            if of == scope
                && key.starts_with(prefix)
                && visit(key, SecretBytes::new(value.clone())).is_break()
            {
                break;
            }
        }
        Ok(())
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        batch.check(self)?;
        let mut records = self.0.lock().unwrap();
        for (scope, key, change) in batch.changes() {
            let key = (scope.clone(), key.to_vec());
            match change {
                Change::Put(value) => records.insert(key, value.expose().to_vec()),
                Change::Delete => records.remove(&key),
            };
        }
        Ok(())
    }
}

/// Alice and Bob, and what a thief has of both.
struct Scene {
    service: MemoryService,
    now: Now,
    group: GroupId,
    people: [Client; 2],
    stores: [Stolen; 2],
}

const ALICE: usize = 0;
const BOB: usize = 1;

impl Scene {
    fn new() -> Self {
        let stores = [Stolen::default(), Stolen::default()];
        let create = |at: usize, name: &str| {
            Client::create(stores[at].clone(), Profile::new(name), Recipe::group()).unwrap()
        };
        let mut people = [create(ALICE, "Alice"), create(BOB, "Bob")];
        let now = Now { wall: 1_790_000_000_000, mono: 0 };
        let group = people[ALICE].found("Friends").unwrap();
        let package = people[BOB].key_packages(now, 1).unwrap().remove(0);
        people[ALICE].invite(group, package).unwrap();
        let mut scene = Self { service: MemoryService::new(), now, group, people, stores };
        scene.settle();
        scene
    }

    /// Everything arrives, and is taken into both journals.
    fn settle(&mut self) {
        for _ in 0..4 {
            for client in &mut self.people {
                let _next = turn(client, &mut self.service, self.now).unwrap();
                loop {
                    let events = client.events(EventId(0), 3).unwrap();
                    let Some((through, _)) = events.last() else { break };
                    let (through, mut draft) = (*through, Draft::default());
                    for (_, event) in events {
                        draft.take(client, self.now.wall, event).unwrap();
                    }
                    client.acknowledge(through, &draft.records().unwrap()).unwrap();
                }
            }
            self.now.mono += 2_000;
            self.now.wall += 2_000;
        }
    }

    fn say(&mut self, content: &Content) -> MessageRef {
        let (client, group) = (&mut self.people[ALICE], self.group);
        let id = OperationId::random().unwrap();
        let me: Person = client.me();
        let content = content.encode().unwrap();
        let state = MessageState::Waiting;
        let message = Message::new(Who::from(&me), true, id, state, content.clone(), Vec::new());
        let mut draft = Draft::default();
        draft.add(client, self.now.wall, Some(group), What::Message(message)).unwrap();
        let records = draft.records().unwrap();
        client.answer(EventId(0), &records, id, Command::Send { group, content }).unwrap();
        MessageRef { sender: me.id, message: id }
    }

    fn has(&self, text: &str) -> [usize; 2] {
        [self.stores[ALICE].has(text), self.stores[BOB].has(text)]
    }

    fn gone(&self, whose: usize, id: &MessageRef) -> Option<Gone> {
        let record: Option<TextRecord> = get(&self.people[whose], &text_key(id)).unwrap();
        let entry = journal::entry(&self.people[whose], record.unwrap().entry).unwrap().unwrap();
        match entry.what {
            What::Message(message) => message.gone,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_thief_finds_no_text_whose_time_has_run_out() {
    let mut scene = Scene::new();
    let id = scene.say(&Content::text("the code is 4711").disappearing_after(60));
    let reply = Body::Reply { to: id, text: "and 0815".into() };
    scene.say(&Content::new(reply).disappearing_after(7_200));
    scene.settle();
    assert_eq!(scene.has("the code is 4711"), [1, 1], "of each the one record that is shown");
    let (start, group) = (scene.now.wall, scene.group);
    // Bob looks at it an hour later; until then it stays there.
    scene.now.wall += HOUR;
    assert!(forget_expired(&mut scene.people[BOB], scene.now.wall).unwrap().is_empty());
    let changed = forget_expired(&mut scene.people[ALICE], scene.now.wall).unwrap();
    assert_eq!(changed.len(), 1);
    assert_eq!(scene.has("the code is 4711"), [0, 1]);
    read(&mut scene.people[BOB], &group, scene.now.wall).unwrap();
    assert_eq!(next_expiry(&scene.people[BOB]).unwrap(), Some(scene.now.wall + 60_000));
    // It is looked at once: the time does not begin anew.
    scene.now.wall += 59_999;
    read(&mut scene.people[BOB], &group, scene.now.wall).unwrap();
    set_printed(&mut scene.people[BOB], u64::MAX, scene.now.wall).unwrap();
    assert!(forget_expired(&mut scene.people[BOB], scene.now.wall).unwrap().is_empty());
    assert_eq!(scene.has("the code is 4711"), [0, 1]);
    scene.now.wall += 1;
    // As at the next start.
    let store = scene.stores[BOB].clone();
    scene.people[BOB] = Client::open(store).unwrap();
    assert_eq!(forget_expired(&mut scene.people[BOB], scene.now.wall).unwrap().len(), 1);
    assert_eq!(scene.has("the code is 4711"), [0, 0]);
    assert_eq!(scene.gone(BOB, &id), Some(Gone::Expired));
    assert_eq!(scene.has("and 0815"), [1, 1], "the other one has more time");
    assert!(next_expiry(&scene.people[ALICE]).unwrap() > Some(start));
    scene.now.wall += 3 * HOUR;
    for client in &mut scene.people {
        forget_expired(client, scene.now.wall).unwrap();
        assert_eq!(next_expiry(client).unwrap(), None);
    }
    assert_eq!(scene.has("and 0815"), [0, 0]);
}

#[test]
fn a_thief_finds_no_text_that_was_deleted_or_edited() {
    let mut scene = Scene::new();
    let id = scene.say(&Content::text("teh first text"));
    scene.settle();
    assert_eq!(scene.has("teh first text"), [1, 1]);
    scene.say(&Content::new(Body::Edit { of: id, text: "the second text".into() }));
    assert_eq!(scene.has("teh first text")[ALICE], 1, "until the log has the edit");
    scene.settle();
    assert_eq!((scene.has("teh first text"), scene.has("the second text")), ([0, 0], [1, 1]));
    assert_eq!(scene.gone(BOB, &id), Some(Gone::Edited));
    scene.say(&Content::new(Body::Edit { of: id, text: "the third text".into() }));
    scene.settle();
    assert_eq!((scene.has("the second text"), scene.has("the third text")), ([0, 0], [1, 1]));
    // All of it, and what comes later as well.
    scene.say(&Content::new(Body::Deletion { of: id }));
    scene.say(&Content::new(Body::Edit { of: id, text: "the fourth text".into() }));
    scene.settle();
    assert_eq!((scene.has("the third text"), scene.has("the fourth text")), ([0, 0], [0, 0]));
    assert_eq!(scene.gone(ALICE, &id), Some(Gone::Deleted));
    // In one batch of events.
    let id = scene.say(&Content::text("said and taken back"));
    scene.say(&Content::new(Body::Deletion { of: id }));
    scene.settle();
    assert_eq!(scene.has("said and taken back"), [0, 0]);
}

#[test]
fn nobody_makes_anothers_text_leave() {
    let mut scene = Scene::new();
    let id = scene.say(&Content::text("Alice said so"));
    scene.settle();
    // Bob says that it is deleted, and edited.
    for body in [Body::Deletion { of: id }, Body::Edit { of: id, text: "Bob said so".into() }] {
        let content = Content::new(body).encode().unwrap();
        scene.people[BOB].send(scene.group, content).unwrap();
    }
    scene.settle();
    assert_eq!(scene.has("Alice said so"), [1, 1]);
    assert_eq!(scene.gone(ALICE, &id), None);
}

#[test]
fn what_was_passed_on_leaves_with_the_message_that_it_is_of() {
    let mut scene = Scene::new();
    let texts = ["to be deleted", "to be edited", "to be kept"];
    let ids = texts.map(|text| scene.say(&Content::text(text)));
    scene.settle();
    let (group, to) = (scene.group, [scene.people[BOB].me().id]);
    let copy = |id: &MessageRef, content: &Content| cc_client::Forwarded {
        sender: id.sender,
        sender_name: "Alice".into(),
        message: id.message,
        wall: 0,
        content: content.encode().unwrap(),
    };
    let pass_on = |scene: &mut Scene, entries| {
        let id = OperationId::random().unwrap();
        scene.people[ALICE].share_history(id, group, &to, entries).unwrap();
        scene.settle();
    };
    let mut copies: Vec<_> =
        ids.iter().zip(texts).map(|(id, text)| copy(id, &Content::text(text))).collect();
    // One with a timer, of which nobody knows how much of it is left.
    let timed = MessageRef { message: OperationId::random().unwrap(), ..ids[0] };
    copies.push(copy(&timed, &Content::text("in a minute").disappearing_after(60)));
    pass_on(&mut scene, copies.clone());
    for text in texts {
        assert_eq!(scene.has(text), [1, 2], "Bob has the message and the copy");
    }
    assert_eq!(scene.has("in a minute")[BOB], 0);
    // Bob's own word does nothing to it, and Alice's does.
    let deletion = Content::new(Body::Deletion { of: ids[0] });
    scene.people[BOB].send(group, deletion.encode().unwrap()).unwrap();
    scene.settle();
    assert_eq!(scene.has(texts[0]), [1, 2]);
    scene.say(&deletion);
    scene.say(&Content::new(Body::Edit { of: ids[1], text: "edited".into() }));
    scene.settle();
    assert_eq!((scene.has(texts[0]), scene.has(texts[1])), ([0, 0], [0, 0]));
    assert_eq!(scene.has(texts[2]), [1, 2]);
    // Passed on once more, by a program that has kept it: it was read that it is deleted.
    let again = OperationId::random().unwrap();
    let entries = vec![copies.remove(0)];
    scene.people[BOB].share_history(again, group, &[ids[0].sender], entries).unwrap();
    scene.settle();
    assert_eq!(scene.has(texts[0])[ALICE], 0);
}
