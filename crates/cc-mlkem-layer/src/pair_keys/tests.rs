//! What a bundle and an opening make, what is refused, and what a store has.

use alloc::{boxed::Box, collections::BTreeMap, vec, vec::Vec};

use cc_core::{
    Binding, Buffer, Header, Kind, LayerContext, LayerErrorKind, SecretBytes, StackId,
    store::{Batch, Change, MemoryStore, Scope, Store},
};

use super::*;

const SUITES: [ParameterSet; 2] = [ParameterSet::MlKem768, ParameterSet::MlKem1024];

fn keys(suite: ParameterSet) -> MlKemPairKeys {
    MlKemPairKeys::new(HybridKeyPair::generate(suite).unwrap())
}

fn of<'a>(identity: &'a [u8], setup: &'a [u8]) -> PairKeysOf<'a> {
    PairKeysOf { identity, setup }
}

fn binding() -> Binding {
    let stack = StackId::of(&[]);
    Header::new(Kind::Application, &stack, vec![]).binding(&stack, b"ad")
}

/// A message from one to the other opens, and what both hand upwards is the same.
fn talk(from: &mut dyn CipherLayer, to: &mut dyn CipherLayer) {
    let binding = binding();
    let context = LayerContext { binding: &binding, position: 0, chain: None };
    let mut buffer = Buffer::new(b"text");
    from.seal(&context, &mut buffer).unwrap();
    from.apply();
    assert_ne!(buffer.as_slice(), b"text");
    to.open(&context, &mut buffer).unwrap();
    to.apply();
    assert_eq!(buffer.as_slice(), b"text");
    let contribution = from.contribute().unwrap().unwrap();
    assert_eq!(to.recall(&contribution.hint).unwrap().secret, contribution.secret);
}

/// The layers of both sides, from what they tell each other.
fn begin(alice: &mut MlKemPairKeys, bob: &mut MlKemPairKeys) -> [Box<dyn CipherLayer>; 2] {
    let Initiated { layer, setup } = alice.initiate(&of(&bob.identity(), &[])).unwrap();
    let other = bob.accept(&of(&alice.identity(), &setup)).unwrap();
    [layer, other]
}

#[test]
fn a_bundle_and_an_opening_make_one_pair() {
    for suite in SUITES {
        let [mut alice, mut bob] = [(); 2].map(|()| keys(suite));
        assert!(bob.prekeys(true).unwrap().is_empty() && bob.sign(&[1; 32]).unwrap().is_none());
        let [mut to_bob, mut to_alice] = begin(&mut alice, &mut bob);
        assert_eq!(to_bob.descriptor(), alice.descriptor());
        for _ in 0..3 {
            talk(&mut *to_bob, &mut *to_alice);
            talk(&mut *to_alice, &mut *to_bob);
        }
        let commitment = alice.commitment(&bob.identity()).unwrap();
        assert!(commitment.is_some() && commitment == bob.commitment(&bob.identity()).unwrap());
        assert_ne!(commitment, bob.commitment(&alice.identity()).unwrap());
    }
}

#[test]
fn what_is_no_key_of_somebody_else_is_refused() {
    for (suite, other) in SUITES.into_iter().zip(SUITES.into_iter().rev()) {
        let [mut alice, mut bob] = [(); 2].map(|()| keys(suite));
        let good = bob.identity();
        let bad = [
            Vec::new(),
            good[..good.len() - 1].to_vec(),
            [&good[..], &[0]].concat(),
            // Of another suite, of none, and one that is all zeros.
            keys(other).identity(),
            [&[0xff, 0xff], &good[2..]].concat(),
            [&good[..2], &vec![0; good.len() - 2]].concat(),
        ];
        let setup = alice.initiate(&of(&good, &[])).unwrap().setup;
        for identity in &bad {
            let rejected = |result: Option<LayerError>| {
                assert_eq!(result.unwrap().kind(), LayerErrorKind::Rejected);
            };
            rejected(alice.commitment(identity).err());
            rejected(alice.initiate(&of(identity, &[])).err());
            rejected(alice.accept(&of(identity, &setup)).err());
        }
        let own = alice.identity();
        assert_eq!(alice.initiate(&of(&own, &[])).unwrap_err().kind(), LayerErrorKind::Rejected);
        assert_eq!(alice.accept(&of(&own, &setup)).err().unwrap().kind(), LayerErrorKind::Rejected);
        let with_setup = alice.initiate(&of(&good, b"setup"));
        assert_eq!(with_setup.unwrap_err().kind(), LayerErrorKind::Rejected);
        assert!(alice.verify(&good, &[1; 32], b"").is_ok_and(|signs| !signs));
        assert!(alice.verify(&good, &[1; 32], b"signature").is_err());
        for at in (0..setup.len()).step_by(29) {
            let mut flipped = setup.clone();
            flipped[at] ^= 1;
            for setup in [&flipped, &setup[..at]] {
                let accepted = bob.accept(&of(&alice.identity(), setup));
                assert_eq!(accepted.err().unwrap().kind(), LayerErrorKind::Rejected, "{at}");
            }
        }
        // Nothing of it was in the way.
        let [mut to_bob, mut to_alice] = begin(&mut alice, &mut bob);
        talk(&mut *to_bob, &mut *to_alice);
    }
}

fn scope() -> Scope {
    Scope::new("keys")
}

/// All records, as a new store gets them.
fn dump(keys: &mut MlKemPairKeys) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut batch = Batch::new();
    keys.save(&mut batch.new_scope(scope())).unwrap();
    let record = |(_, key, change): (_, &[u8], Change<'_>)| match change {
        Change::Put(value) => (key.to_vec(), value.expose().to_vec()),
        Change::Delete => panic!("there is nothing to delete in a new store"),
    };
    batch.changes().map(record).collect()
}

fn load(records: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<MlKemPairKeys, LayerError> {
    let mut batch = Batch::new();
    for (key, value) in records {
        batch.put(&scope(), key.as_slice(), SecretBytes::new(value.clone()));
    }
    let mut store = MemoryStore::new();
    store.commit(&batch).unwrap();
    MlKemPairKeys::restore(&scope().of(&store))
}

#[test]
fn keys_come_back_from_a_store() {
    for suite in SUITES {
        let [mut alice, mut bob] = [(); 2].map(|()| keys(suite));
        let mut restored = load(&dump(&mut bob)).unwrap();
        assert_eq!(restored.identity(), bob.identity());
        assert_eq!(dump(&mut restored), dump(&mut bob));
        let [mut to_bob, mut to_alice] = begin(&mut alice, &mut restored);
        talk(&mut *to_bob, &mut *to_alice);
        // Long-lived keys never change: what was written once is not written again.
        let mut batch = Batch::new();
        restored.save(&mut batch.scope(scope())).unwrap();
        assert_eq!(batch.changes().count(), 0);
    }
}

#[test]
fn damaged_missing_newer_and_left_over_records_are_refused() {
    for suite in SUITES {
        let records = dump(&mut keys(suite));
        let refused = |records: &BTreeMap<Vec<u8>, Vec<u8>>| {
            assert_eq!(load(records).unwrap_err().kind(), LayerErrorKind::Storage);
        };
        refused(&BTreeMap::new());
        let mut left_over = records.clone();
        left_over.insert(b"pair-keys-2".to_vec(), vec![0, 1]);
        refused(&left_over);
        for key in records.keys() {
            let with = |change: &dyn Fn(&mut Vec<u8>)| {
                let mut other = records.clone();
                change(other.get_mut(key).unwrap());
                other
            };
            refused(&with(&|record| record[1] = 2));
            refused(&with(&|record| record.push(0)));
            for at in 0..records[key].len() {
                refused(&with(&|record| record.truncate(at)));
                // Another private key, or nothing.
                let flipped = with(&|record| record[at] ^= 1);
                match load(&flipped) {
                    Ok(mut keys) => assert_eq!(dump(&mut keys), flipped),
                    Err(error) => assert_eq!(error.kind(), LayerErrorKind::Storage),
                }
            }
        }
    }
}
