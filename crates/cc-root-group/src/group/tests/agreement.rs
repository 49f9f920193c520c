//! Whatever happens: the members of a generation have the same keys, and every state comes back from a store
//! as it was.

use alloc::collections::BTreeMap;

use cc_core::{
    SecretBytes,
    store::{Batch, Change, MemoryStore, Scope, Store},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use super::{
    hostile::{group, parts, stage},
    *,
};
use crate::{group::roster::write_entries, records::Records};

/// A group in a store.
struct Stored<K: MemberKeyPair> {
    id: MemberId,
    group: Group<K>,
    store: MemoryStore,
}

fn scope() -> Scope {
    Scope::new("layer")
}

fn restore<K: MemberKeyPair>(keys: &K, store: &MemoryStore) -> Result<Group<K>, LayerError> {
    let mut records = Records::read(&scope().of(store))?;
    let group = Group::restore(duplicate(keys), &mut records)?;
    records.end()?;
    Ok(group)
}

/// All records, as a new store gets them.
fn dump<K: MemberKeyPair>(group: &mut Group<K>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut batch = Batch::new();
    group.save(&mut batch.new_scope(scope())).unwrap();
    group.revert();
    let record = |(_, key, change): (_, &[u8], Change<'_>)| match change {
        Change::Put(value) => (key.to_vec(), value.expose().to_vec()),
        Change::Delete => panic!("there is nothing to delete in a new store"),
    };
    batch.changes().map(record).collect()
}

impl<K: MemberKeyPair> Stored<K> {
    fn new(suite: SuiteOf<K>, number: u8) -> Self {
        let id = MemberId::from_bytes([number + 1; 32]);
        let mut stored =
            Self { id, group: group(suite, id, number == 0), store: MemoryStore::new() };
        let mut batch = Batch::new();
        stored.group.save(&mut batch.new_scope(scope())).unwrap();
        stored.store.commit(&batch).unwrap();
        stored.group.apply();
        stored
    }

    /// Does `work`, with a failure first where `fails`, and goes on with what the store gives back.
    fn run<T>(&mut self, fails: bool, work: impl Fn(&mut Group<K>) -> T) -> T {
        if fails {
            let before = dump(&mut self.group);
            let _ = work(&mut self.group);
            self.group.revert();
            assert_eq!(dump(&mut self.group), before, "a revert brings back what was");
        }
        let result = work(&mut self.group);
        let mut batch = Batch::new();
        self.group.save(&mut batch.scope(scope())).unwrap();
        self.store.commit(&batch).unwrap();
        self.group.apply();
        let mut restored = restore(&self.group.keys, &self.store).unwrap();
        assert_eq!(dump(&mut restored), dump(&mut self.group));
        assert_eq!(restored.members(), self.group.members());
        assert_eq!(restored.standing(), self.group.standing());
        self.group = restored;
        result
    }
}

/// The members of a generation have one secret and one authenticator and read one another; nobody outside
/// reads anything. Between any two steps a process may end, and any step may fail and be made again.
pub fn all_members_agree_and_a_store_gives_every_state_back<K: MemberKeyPair>(suite: SuiteOf<K>) {
    let steps = prop::collection::vec((0u8..5, 0usize..4, 0usize..4, any::<bool>()), 1..12);
    let result = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(12) })
        .run(&steps, |steps| {
            let mut people: Vec<_> = (0..4).map(|number| Stored::<K>::new(suite, number)).collect();
            let mut inside = vec![0usize];
            for (binding, (step, actor, other, fails)) in (1u8..).zip(steps) {
                let actor = inside[actor % inside.len()];
                let known = inside.contains(&other);
                let (adds, removes) = match step {
                    0 | 1 => (!known, false),
                    2 => (false, known && other != actor),
                    // Out and in again.
                    3 if other != actor => (true, known),
                    _ => (false, false),
                };
                let part = people[other].group.key_package().unwrap();
                let id = people[other].id;
                let new = NewMember { id, part: &part, binding: [0; 32] };
                let (added, removed) = (adds.then_some(new), removes.then_some(id));
                let request =
                    ChangeRequest { added: added.as_slice(), removed: removed.as_slice() };
                let change = people[actor]
                    .run(false, |group| group.stage_change(&request, &parts(binding)).unwrap());
                if step == 4 && other % 2 == 0 {
                    people[actor].run(fails, Group::discard_change);
                    continue;
                }
                people[actor].run(fails, |group| group.confirm_change().unwrap());
                for member in inside.iter().filter(|member| **member != actor) {
                    let outcome = people[*member].run(fails, |group| {
                        group.process_commit(&change.commit, &parts(binding)).unwrap()
                    });
                    prop_assert_eq!(outcome.removed_self, removes && *member == other);
                }
                inside.retain(|member| !removes || *member != other);
                if adds {
                    people[other]
                        .run(fails, |group| group.join(&change.welcome, &parts(binding)).unwrap());
                    inside.push(other);
                }
                let now = people[actor].group.contribute().unwrap();
                let authenticator = people[actor].group.epoch_authenticator();
                let exported = people[actor].group.export_secret(b"label");
                prop_assert!(exported.is_some());
                let message = super::thief::message(&people[actor].group);
                for (number, person) in people.iter().enumerate() {
                    let opens = super::thief::opens(&person.group, &message);
                    prop_assert_eq!(opens, inside.contains(&number));
                    if opens {
                        prop_assert_eq!(&person.group.contribute().unwrap().secret, &now.secret);
                        prop_assert_eq!(person.group.epoch_authenticator(), authenticator);
                        prop_assert_eq!(&person.group.export_secret(b"label"), &exported);
                        prop_assert_eq!(person.group.members().len(), inside.len());
                    } else {
                        prop_assert!(person.group.recall(&now.hint).is_err());
                        prop_assert!(person.group.contribute().is_err());
                        prop_assert!(person.group.export_secret(b"label").is_none());
                    }
                }
            }
            Ok(())
        });
    if let Err(error) = result {
        panic!("{error}");
    }
}

/// Damage that the store does not see gives an error, or exactly the group that the records tell of.
pub fn damaged_records_do_no_harm<K: MemberKeyPair>(suite: SuiteOf<K>) {
    let [mut a, mut b, ..] = super::hostile::four::<K>(suite);
    for binding in 2..4 {
        let update = stage(&mut b, &[], &[], binding);
        b.confirm_change().unwrap();
        b.apply();
        let _ = a.process_commit(&update.commit, &parts(binding)).unwrap();
        a.apply();
    }
    let _ = stage(&mut a, &[], &[MemberId::from_bytes([3; 32])], 9);
    let records = dump(&mut a);
    let load = |records: &BTreeMap<Vec<u8>, Vec<u8>>| {
        let mut batch = Batch::new();
        for (key, value) in records {
            batch.put(&scope(), key.as_slice(), SecretBytes::new(value.clone()));
        }
        let mut store = MemoryStore::new();
        store.commit(&batch).unwrap();
        restore(&a.keys, &store)
    };
    assert_eq!(dump(&mut load(&records).unwrap()), records);
    let storage = |records: &BTreeMap<_, _>| {
        load(records).err().map(|error| error.kind()) == Some(LayerErrorKind::Storage)
    };
    for key in records.keys() {
        let mut other = records.clone();
        other.remove(key);
        assert!(storage(&other), "missing");
        for bit in (0..records[key].len() * 8).step_by(records[key].len() / 16 + 1) {
            let mut other = records.clone();
            other.get_mut(key).unwrap()[bit / 8] ^= 1 << (bit % 8);
            match load(&other) {
                Ok(mut group) => assert_eq!(dump(&mut group), other),
                Err(error) => assert_eq!(error.kind(), LayerErrorKind::Storage),
            }
        }
        for len in (0..records[key].len()).step_by(records[key].len() / 16 + 1) {
            let mut other = records.clone();
            other.get_mut(key).unwrap().truncate(len);
            assert!(storage(&other), "{len} of {key:?}");
        }
        let mut other = records.clone();
        other.get_mut(key).unwrap().push(0);
        assert!(storage(&other), "longer");
    }
    let mut other = records;
    other.insert(b"past\0\0\0\0\0\0\0\x09".to_vec(), vec![0, 1]);
    assert!(storage(&other), "left over");
}

/// What a group may become fits into the parts that it takes to shrink it again.
pub fn a_group_has_at_most_so_many_members<K: MemberKeyPair>(suite: SuiteOf<K>) {
    let most = K::PublicKey::MAX_MEMBERS;
    let key = K::generate(suite).unwrap().public_key().clone();
    let entry = |number: usize| {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&number.to_be_bytes());
        Entry { id: MemberId::from_bytes(id), key: key.clone() }
    };
    let entries: Vec<_> = (0..most).map(entry).collect();
    let roster = roster::Roster::new(suite, &entries);
    assert!(matches!(
        roster.changed(None, &[], &[entry(most)]),
        Err(cc_core::membership::ChangeError::TooMany)
    ));
    assert!(roster.changed(None, &[entry(0).id], &[entry(most)]).is_ok());
    let boxes = crate::hpke::box_len(suite, Root::LEN) * most;
    let len = boxes.max(write_entries(roster.entries()).len());
    assert!(len + (1 << 20) < cc_core::limits::MAX_PART_LEN, "{len}");
}
