use alloc::{vec, vec::Vec};
use std::collections::{BTreeMap, BTreeSet};

use cc_core::{
    Binding, CipherLayer, Configure, Header as Envelope, Kind, LayerErrorKind, Restore,
    SecretBytes, StackId, key_use,
    store::{Batch, Change, MemoryStore, Scope, Store},
};
use proptest::prelude::*;

use super::*;
use crate::{MlKemError, MlKemLayer};

mod hostile;
mod loss;
mod store;
mod thief;

const SET: ParameterSet = ParameterSet::MlKem768;
/// Bytes that a message adds once its epoch is confirmed.
const OVERHEAD: usize = 17 + 48;

fn keys() -> HybridKeyPair {
    HybridKeyPair::generate(SET).unwrap()
}

/// Alice, who began, and Bob.
fn pair_of(set: ParameterSet) -> [MlKemLayer; 2] {
    let [a, b] = [(); 2].map(|()| HybridKeyPair::generate(set).unwrap());
    let (of_a, of_b) = (a.public_key().clone(), b.public_key().clone());
    let (alice, setup) = MlKemLayer::initiate(a, of_b).unwrap();
    let bob = MlKemLayer::accept(b, of_a, &setup).unwrap();
    // As in a new store: the schedule is the test's.
    let never = Schedule { messages: 0, seconds: 0 };
    [alice, bob].map(|layer| layer.with_schedule(never))
}

fn pair() -> [MlKemLayer; 2] {
    pair_of(SET)
}

fn binding() -> Binding {
    let stack = StackId::of(&[]);
    Envelope::new(Kind::Application, &stack, vec![]).binding(&stack, b"ad")
}

fn seal(layer: &mut MlKemLayer, text: &[u8]) -> Vec<u8> {
    let binding = binding();
    let context = LayerContext { binding: &binding, position: 0, chain: None };
    let mut buffer = Buffer::new(text);
    layer.seal(&context, &mut buffer).unwrap();
    layer.apply();
    buffer.as_slice().to_vec()
}

fn try_open(layer: &mut MlKemLayer, wire: &[u8]) -> Result<Vec<u8>, LayerError> {
    let binding = binding();
    let context = LayerContext { binding: &binding, position: 0, chain: None };
    let mut buffer = Buffer::new(wire);
    layer.open(&context, &mut buffer)?;
    Ok(buffer.as_slice().to_vec())
}

fn open(layer: &mut MlKemLayer, wire: &[u8]) -> Result<Vec<u8>, LayerErrorKind> {
    let result = try_open(layer, wire);
    if result.is_ok() {
        layer.apply()
    } else {
        layer.revert()
    }
    result.map_err(|error| error.kind())
}

/// A message from one to the other, that arrives.
fn send(from: &mut MlKemLayer, to: &mut MlKemLayer) -> usize {
    let wire = seal(from, b"text");
    assert_eq!(open(to, &wire).unwrap(), b"text");
    wire.len() - 4
}

fn renew(layer: &mut MlKemLayer) {
    layer.settings().renew().unwrap();
}

/// What is handed upwards under the same hint on both sides.
fn contributions_agree(one: &mut MlKemLayer, other: &mut MlKemLayer) -> Secret<32> {
    let contribution = one.contribute().unwrap().unwrap();
    assert_eq!(other.recall(&contribution.hint).unwrap().secret, contribution.secret);
    contribution.secret
}

/// All records, as a new store gets them.
fn dump(layer: &mut MlKemLayer) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut batch = Batch::new();
    layer.save(&mut batch.new_scope(scope())).unwrap();
    layer.revert();
    let record = |(_, key, change): (_, &[u8], Change<'_>)| match change {
        Change::Put(value) => (key.to_vec(), value.expose().to_vec()),
        Change::Delete => panic!("there is nothing to delete in a new store"),
    };
    batch.changes().map(record).collect()
}

fn load(records: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<MlKemLayer, LayerError> {
    let mut batch = Batch::new();
    for (key, value) in records {
        batch.put(&scope(), key.as_slice(), SecretBytes::new(value.clone()));
    }
    let mut store = MemoryStore::new();
    store.commit(&batch).unwrap();
    MlKemLayer::restore(&scope().of(&store))
}

/// All that a thief of a store has.
fn copy(layer: &mut MlKemLayer) -> MlKemLayer {
    load(&dump(layer)).unwrap()
}

fn scope() -> Scope {
    Scope::new("layer")
}

#[test]
fn both_talk_and_headers_stop_when_they_are_known_to_have_come() {
    for set in [ParameterSet::MlKem768, ParameterSet::MlKem1024] {
        let [mut alice, mut bob] = pair_of(set);
        let setup = header::len_of(set, false);
        let header = header::len_of(set, true);
        assert_eq!(setup, 8 + 32 + cc_root_group::Suite::ciphertext_len(set) + 16);
        // The setup has come: there is no layer of Bob's without it.
        assert_eq!(send(&mut alice, &mut bob), OVERHEAD);
        assert!(!alice.is_peer_confirmed() && !bob.is_peer_confirmed());
        assert_eq!(send(&mut bob, &mut alice), OVERHEAD + header);
        assert!(alice.is_peer_confirmed() && !bob.is_peer_confirmed());
        // The first answer goes to Bob's new key.
        assert_eq!(send(&mut alice, &mut bob), OVERHEAD + header);
        assert!(bob.is_peer_confirmed());
        for _ in 0..3 {
            assert_eq!(send(&mut bob, &mut alice), OVERHEAD);
            assert_eq!(send(&mut alice, &mut bob), OVERHEAD);
        }
        contributions_agree(&mut alice, &mut bob);
        contributions_agree(&mut bob, &mut alice);
    }
}

#[test]
fn a_pair_is_of_two_different_keys_with_the_same_parameters() {
    let (a, b) = (keys(), keys());
    let own = a.public_key().clone();
    assert_eq!(MlKemLayer::initiate(a, own).err(), Some(MlKemError::OwnKey));
    let other = HybridKeyPair::generate(ParameterSet::MlKem1024).unwrap();
    let of_other = other.public_key().clone();
    assert_eq!(MlKemLayer::initiate(b, of_other).err(), Some(MlKemError::SuiteMismatch));
}

#[test]
fn both_sides_have_one_commitment_and_descriptor() {
    let [alice, bob] = pair();
    assert_eq!(alice.key_commitment(), bob.key_commitment());
    assert_ne!(alice.key_commitment(), pair()[0].key_commitment());
    assert_eq!(alice.descriptor(), bob.descriptor());
    assert_ne!(alice.descriptor(), pair_of(ParameterSet::MlKem1024)[0].descriptor());
    assert!(alice.group().is_none() && alice.properties().pairwise);
}

/// After messages, after seconds, and on request: with the next message.
#[test]
fn epochs_begin_on_schedule() {
    let epoch = |layer: &MlKemLayer| match &layer.mode_for_tests() {
        Some(pairwise) => pairwise.state.latest().present.number,
        None => panic!("no pair"),
    };
    let [mut alice, mut bob] = pair();
    send(&mut alice, &mut bob);
    send(&mut bob, &mut alice);
    send(&mut alice, &mut bob);
    send(&mut bob, &mut alice);
    let start = epoch(&alice);
    alice.settings().set_schedule(Schedule { messages: 3, seconds: 60 }).unwrap();
    for expected in [0, 0, 1, 1, 1, 2] {
        send(&mut alice, &mut bob);
        send(&mut bob, &mut alice);
        assert_eq!(epoch(&alice), start + expected);
    }
    alice.settings().set_schedule(Schedule { messages: 0, seconds: 60 }).unwrap();
    for (now, expected) in [(1000, 2), (1059, 2), (1060, 3), (1061, 3), (1120, 4)] {
        alice.settings().set_time(now).unwrap();
        send(&mut alice, &mut bob);
        send(&mut bob, &mut alice);
        assert_eq!(epoch(&alice), start + expected, "{now}");
    }
    renew(&mut alice);
    send(&mut alice, &mut bob);
    assert_eq!(epoch(&alice), start + 5);
    send(&mut alice, &mut bob);
    assert_eq!(epoch(&alice), start + 5);
    let mut group = MlKemLayer::group(keys());
    assert_eq!(group.settings().renew().unwrap_err().kind(), LayerErrorKind::Misuse);
}

/// The secret for the layers above changes when the other side's epoch does.
#[test]
fn contributions_change_with_the_epochs() {
    let [mut alice, mut bob] = pair();
    let mut seen = BTreeSet::new();
    for round in 0..6 {
        for (from, to) in [(0, 1), (1, 0)] {
            let people = [&mut alice, &mut bob];
            let secret = *people[from].contribute().unwrap().unwrap().secret.expose();
            renew(people[from]);
            let wire = seal(people[from], b"text");
            let hint = people[from].contribute().unwrap().unwrap().hint;
            assert_eq!(people[to].recall(&hint).unwrap().secret.expose(), &secret);
            assert_eq!(open(people[to], &wire).unwrap(), b"text");
            seen.insert(secret);
        }
        assert_eq!(seen.len(), 2 * (round + 1));
    }
    for hint in [&[][..], &[0; 9], &[3; 9], &[1; 8], &[1; 10]] {
        let kind = alice.recall(hint).unwrap_err().kind();
        assert_eq!(kind, LayerErrorKind::Rejected, "{hint:?}");
    }
    let hint = |role, number: u64| [&[role][..], &number.to_be_bytes()].concat();
    let mut kind = |hint: Vec<u8>| alice.recall(&hint).unwrap_err().kind();
    assert_eq!(kind(hint(1, 99)), LayerErrorKind::Rejected, "Alice never began it");
    assert_eq!(kind(hint(2, 99)), LayerErrorKind::Early);
    assert_eq!(kind(hint(1, 1)), LayerErrorKind::Stale);
    assert_eq!(kind(hint(2, 1)), LayerErrorKind::Stale);
}

#[test]
fn every_message_has_a_key_and_nonce_of_its_own() {
    let [mut alice, mut bob] = pair();
    key_use::start();
    for _ in 0..5 {
        renew(&mut alice);
        send(&mut alice, &mut bob);
        send(&mut alice, &mut bob);
        send(&mut bob, &mut alice);
    }
    let uses = key_use::take();
    assert_eq!(uses.len(), 15);
    assert_eq!(uses.iter().collect::<BTreeSet<_>>().len(), 15);
}
