//! Layers that a store keeps: whatever happens to the process, what comes back is what was there.

use alloc::{collections::BTreeMap, format, string::ToString, vec, vec::Vec};

use cc_core::store::{Batch, Change, MemoryStore, Scope, Store};
use cc_core::*;
use proptest::prelude::*;

use crate::{
    scenarios::{Person, kind, parts, person},
    *,
};

/// How an operation ends.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    /// It is committed and applied.
    Applied,
    /// The commit fails: it is reverted, and tried again.
    Failed,
    /// The process dies before the commit; it is tried again.
    DiedBefore,
    /// The process dies behind the commit.
    DiedAfter,
}

/// A member and its store.
struct StoredMember {
    person: Person,
    store: MemoryStore,
    new: bool,
}

fn scope() -> Scope {
    Scope::new("layer")
}

fn save(layer: &mut DhLayer, new: bool) -> Batch {
    let mut batch = Batch::new();
    let mut to = if new { batch.new_scope(scope()) } else { batch.scope(scope()) };
    layer.save(&mut to).unwrap();
    batch
}

/// Bytes that a save writes: keys and values.
pub(crate) fn written(layer: &mut DhLayer, new: bool) -> usize {
    let len = |(_, key, change): (_, &[u8], Change<'_>)| match change {
        Change::Put(value) => key.len() + value.expose().len(),
        Change::Delete => key.len(),
    };
    save(layer, new).changes().map(len).sum()
}

fn restore(store: &MemoryStore) -> DhLayer {
    DhLayer::restore(&scope().of(store)).unwrap()
}

impl StoredMember {
    fn new(founding: bool) -> Self {
        // With a place already, and not yet in the store.
        let mut member =
            Self { person: person(Curve::X25519, founding), store: MemoryStore::new(), new: true };
        member.run(Outcome::Applied, |_| ());
        member
    }

    fn run<T>(&mut self, outcome: Outcome, operation: impl Fn(&mut DhLayer) -> T) -> T {
        let result = operation(&mut self.person.layer);
        let batch = save(&mut self.person.layer, self.new);
        match outcome {
            Outcome::Applied | Outcome::DiedAfter => {
                self.store.commit(&batch).unwrap();
                self.new = false;
            }
            Outcome::Failed | Outcome::DiedBefore => {}
        }
        match outcome {
            Outcome::Applied => self.person.layer.apply(),
            Outcome::Failed => self.person.layer.revert(),
            Outcome::DiedBefore | Outcome::DiedAfter => {
                self.person.layer = restore(&self.store.reopened())
            }
        }
        self.check();
        match outcome {
            Outcome::Applied | Outcome::DiedAfter => result,
            Outcome::Failed | Outcome::DiedBefore => self.run(Outcome::Applied, operation),
        }
    }

    /// The store has the layer as it is, and would write nothing.
    fn check(&mut self) {
        let layer = &mut self.person.layer;
        assert!(save(layer, false).is_empty());
        layer.apply();
        let mut restored = restore(&self.store);
        assert_eq!(facts(layer), facts(&mut restored));
        assert_eq!(dump(layer), dump(&mut restored));
    }
}

/// Everything that can be seen of a layer.
fn facts(layer: &mut DhLayer) -> impl PartialEq + core::fmt::Debug + use<> {
    let secret = |result: Result<Option<Contribution>, LayerError>| {
        result.map(|it| it.map(|it| (it.hint, *it.secret.expose()))).map_err(|error| error.kind())
    };
    let public = (layer.standing(), layer.members(), layer.descriptor(), layer.commitment());
    let authenticator = layer.epoch_authenticator();
    let now = secret(layer.contribute());
    let next = secret(layer.next_contribution());
    let recalled: Vec<_> = (0..30u64)
        .map(|number| layer.recall(&number.to_be_bytes()))
        .map(|result| result.map(|it| *it.secret.expose()).map_err(|error| error.kind()))
        .collect();
    let confirmed = layer.confirm_change().map_err(|error| error.kind());
    let confirmed = (confirmed, layer.standing(), layer.members(), secret(layer.contribute()));
    layer.revert();
    layer.discard_change().unwrap();
    let discarded = (layer.standing(), layer.members(), secret(layer.contribute()));
    layer.revert();
    (public, authenticator, now, next, recalled, confirmed, discarded)
}

/// All records of a layer, as a new store gets them.
fn dump(layer: &mut DhLayer) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let batch = save(layer, true);
    layer.revert();
    let record = |(_, key, change): (_, &[u8], Change<'_>)| match change {
        Change::Put(value) => (key.to_vec(), value.expose().to_vec()),
        Change::Delete => panic!("there is nothing to delete in a new store"),
    };
    batch.changes().map(record).collect()
}

fn load(records: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<DhLayer, LayerError> {
    let mut batch = Batch::new();
    for (key, value) in records {
        batch.put(&scope(), key.as_slice(), SecretBytes::new(value.clone()));
    }
    let mut store = MemoryStore::new();
    store.commit(&batch).unwrap();
    DhLayer::restore(&scope().of(&store))
}

/// A member with two past generations and a staged change.
fn busy() -> DhLayer {
    let [mut alice, mut bob] = [true, false].map(|founding| person(Curve::P256, founding));
    let part = bob.layer.key_package(&parts(0)).unwrap();
    let added = [NewMember { id: bob.id, part: &part, binding: [0; 32] }];
    for request in [ChangeRequest { added: &added, removed: &[] }, ChangeRequest::default()] {
        let _ = alice.layer.stage_change(&request, &parts(1)).unwrap();
        alice.layer.confirm_change().unwrap();
    }
    let _ = alice.layer.stage_change(&ChangeRequest::default(), &parts(2)).unwrap();
    alice.layer.apply();
    alice.layer
}

fn pair() -> DhLayer {
    let [own, peer] = [(); 2].map(|()| DhKeyPair::generate(Curve::P256).unwrap());
    DhLayer::pairwise(own, *peer.public_key()).unwrap()
}

fn storage_error(records: &BTreeMap<Vec<u8>, Vec<u8>>) -> alloc::string::String {
    let error = load(records).err().unwrap();
    assert_eq!(error.kind(), LayerErrorKind::Storage);
    cc_core::error_chain(&error).to_string()
}

#[test]
fn missing_newer_and_left_over_records_are_refused() {
    assert!(storage_error(&BTreeMap::new()).contains("missing"));
    for mut layer in [busy(), pair()] {
        let records = dump(&mut layer);
        for key in records.keys() {
            let mut missing = records.clone();
            missing.remove(key);
            // A missing part of the roster shows by the digest.
            let error = storage_error(&missing);
            assert!(error.contains("missing") || error.contains("malformed"));
            for (version, word) in [(0, "malformed"), (2, "format 2")] {
                let mut other = records.clone();
                other.get_mut(key).unwrap()[1] = version;
                assert!(storage_error(&other).contains(word));
            }
            let mut longer = records.clone();
            longer.get_mut(key).unwrap().push(0);
            assert!(storage_error(&longer).contains("malformed"));
        }
        let mut left_over = records.clone();
        left_over.insert(b"past\0\0\0\0\0\0\0\x09".to_vec(), vec![0, 1]);
        assert!(storage_error(&left_over).contains("malformed"));
    }
    // A public key that is not that of the private key: behind version, mode and curve.
    let [mut records, other] = [(); 2].map(|()| dump(&mut busy()));
    let point = 5..5 + Curve::P256.public_key_len();
    records.get_mut(&b"layer"[..]).unwrap()[point.clone()]
        .copy_from_slice(&other[&b"layer"[..]][point]);
    assert!(storage_error(&records).contains("malformed"));
    // Each whole, but of two members.
    let mut mixed = dump(&mut busy());
    mixed.extend(dump(&mut busy()).into_iter().filter(|(key, _)| key == b"generation"));
    assert!(storage_error(&mixed).contains("do not belong together"));
}

#[test]
fn no_secret_shows() {
    for mut layer in [busy(), pair()] {
        let records = dump(&mut layer);
        let restored = load(&records).unwrap();
        let shown = format!("{layer:?} {restored:?} {:?}", save(&mut layer, true));
        for value in records.values().flat_map(|value| value.windows(16)) {
            let public = hex::encode(layer.public_key().to_bytes());
            let text = hex::encode(value);
            assert!(public.contains(&text) || !shown.contains(&text), "{text}");
            // Also as a part of a longer list.
            assert!(!shown.contains(format!("{value:?}").trim_matches(['[', ']'])));
        }
    }
}

#[test]
fn a_pair_is_written_once_and_goes_on() {
    for curve in [Curve::X25519, Curve::P256] {
        let [a, b] = [(); 2].map(|()| DhKeyPair::generate(curve).unwrap());
        let of_a = *a.public_key();
        let private = *a.private_key().expose();
        let mut alice = DhLayer::pairwise(a, *b.public_key()).unwrap();
        let bob = DhLayer::pairwise(b, of_a).unwrap();
        let records = dump(&mut alice);
        assert!(!records.values().any(|it| it.windows(32).any(|window| window == private)));
        let id = MemberId::from_bytes([0; 32]);
        let mut people = [load(&records).unwrap(), bob].map(|layer| Person { id, layer });
        assert_eq!(people[0].layer.descriptor(), alice.descriptor());
        assert_eq!(people[0].layer.public_key(), alice.public_key());
        for _ in 0..2 {
            let wire = people[0].seal(b"text").unwrap();
            assert_eq!(people[1].open(&wire).unwrap(), b"text");
            assert_eq!(kind(people[0].open(&wire)), LayerErrorKind::Rejected);
            people.reverse();
        }
        assert_eq!(people[0].layer.key_commitment(), people[1].layer.key_commitment());
        assert!(save(&mut people[0].layer, false).is_empty());
    }
}

/// The window is set on a layer, not by an operation: the next save has it.
#[test]
fn the_window_is_kept() {
    let mut member = StoredMember::new(true);
    member.person.layer = restore(&member.store).keep_past_generations(7);
    member.run(Outcome::DiedAfter, |_| ());
    let records = dump(&mut member.person.layer);
    assert_eq!(records[b"group".as_slice()][2], 7);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Damage that the store does not see gives an error, or exactly the layer that the records tell of.
    #[test]
    fn damaged_records_do_no_harm(
        group in any::<bool>(),
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        bit in 0..8u8,
        truncate in any::<bool>(),
    ) {
        let mut records = dump(&mut if group { busy() } else { pair() });
        let which = which.index(records.len());
        let value = records.values_mut().nth(which).unwrap();
        let at = at.index(value.len());
        if truncate {
            value.truncate(at);
        } else {
            value[at] ^= 1 << bit;
        }
        match load(&records) {
            Ok(mut layer) => prop_assert_eq!(dump(&mut layer), records),
            Err(error) => prop_assert_eq!(error.kind(), LayerErrorKind::Storage),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Members whose processes die and whose stores fail at any point are still one group.
    #[test]
    fn a_group_survives_crashes_and_failures(
        steps in prop::collection::vec((0u8..6, 0usize..4, 0usize..4), 1..20),
        ends in prop::collection::vec(
            prop::sample::select(vec![Outcome::Applied, Outcome::Failed, Outcome::DiedBefore, Outcome::DiedAfter]),
            32,
        ),
    ) {
        let mut ends = ends.into_iter().cycle();
        let mut end = || ends.next().unwrap();
        let mut people: Vec<_> = (0..4).map(|i| StoredMember::new(i == 0)).collect();
        let mut inside = vec![0usize];
        for (binding, (step, actor, other)) in (1u8..).zip(steps) {
            let actor = inside[actor % inside.len()];
            let known = inside.contains(&other);
            let (adds, removes) = match step {
                0 | 1 => (!known, false),
                2 => (false, known && other != actor),
                // Out and in again, in step or not.
                3 | 4 if other != actor => (true, known),
                _ => (false, false),
            };
            let part = people[other].run(end(), |layer| layer.key_package(&parts(0)).unwrap());
            let id = people[other].person.id;
            let new = NewMember { id, part: &part, binding: [0; 32] };
            let (added, removed) = (adds.then_some(new), removes.then_some(id));
            let request =
                ChangeRequest { added: added.as_slice(), removed: removed.as_slice() };
            let change = people[actor].run(end(), |layer| {
                layer.stage_change(&request, &parts(binding)).unwrap()
            });
            if step == 5 && other % 2 == 0 {
                people[actor].run(end(), |layer| layer.discard_change().unwrap());
            } else {
                people[actor].run(end(), |layer| layer.confirm_change().unwrap());
                for member in inside.iter().copied().filter(|member| *member != actor) {
                    if step == 4 && member == other {
                        continue;
                    }
                    let outcome = people[member].run(end(), |layer| {
                        layer.process_commit(&change.commit, &parts(binding)).unwrap()
                    });
                    prop_assert_eq!(outcome.removed_self, removes && member == other);
                }
                inside.retain(|member| !removes || *member != other);
                if adds {
                    people[other].run(end(), |layer| {
                        layer.join(&change.welcome, &parts(binding)).unwrap()
                    });
                    inside.push(other);
                }
            }
            let wire = people[actor].person.seal(b"text").unwrap();
            for (i, stored) in people.iter_mut().enumerate() {
                let opened = stored.person.open(&wire);
                if inside.contains(&i) {
                    prop_assert_eq!(opened.unwrap(), b"text");
                    prop_assert_eq!(stored.person.layer.members().len(), inside.len());
                } else {
                    prop_assert!(opened.is_err());
                }
                stored.check();
            }
        }
    }
}
