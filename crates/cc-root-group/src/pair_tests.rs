//! What the keys of a pair must keep, of whatever kind they are. A layer calls it from tests of its own. It panics with
//! what went wrong.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test suite fails by panicking, and its names say what it shows"
)]

use alloc::{boxed::Box, collections::BTreeMap, vec, vec::Vec};

use cc_core::{
    Binding, Buffer, CipherLayer, Header, Initiated, Kind, LayerContext, LayerError,
    LayerErrorKind, PairKeys, PairKeysOf, RestorePairKeys, SecretBytes, StackId,
    store::{Batch, Change, MemoryStore, Scope, Store},
};

#[must_use]
pub const fn of<'a>(identity: &'a [u8], setup: &'a [u8]) -> PairKeysOf<'a> {
    PairKeysOf { identity, setup }
}

fn binding() -> Binding {
    let stack = StackId::of(&[]);
    Header::new(Kind::Application, &stack, vec![]).binding(&stack, b"ad")
}

/// A message from one to the other opens, and what both hand upwards is the same.
pub fn talk(from: &mut dyn CipherLayer, to: &mut dyn CipherLayer) {
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
pub fn begin(alice: &mut impl PairKeys, bob: &mut impl PairKeys) -> [Box<dyn CipherLayer>; 2] {
    let Initiated { layer, setup } = alice.initiate(&of(&bob.identity(), &[])).unwrap();
    let other = bob.accept(&of(&alice.identity(), &setup)).unwrap();
    [layer, other]
}

pub fn a_bundle_and_an_opening_make_one_pair<K: PairKeys>(keys: impl Fn() -> K) {
    let [mut alice, mut bob] = [(); 2].map(|()| keys());
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

/// `other` makes keys of another suite.
pub fn what_is_no_key_of_somebody_else_is_refused<K: PairKeys>(
    keys: impl Fn() -> K,
    other: impl Fn() -> K,
) {
    let [mut alice, mut bob] = [(); 2].map(|()| keys());
    let good = bob.identity();
    let bad = [
        Vec::new(),
        good[..good.len() - 1].to_vec(),
        [&good[..], &[0]].concat(),
        // Of another suite, of none, and one that is all zeros.
        other().identity(),
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
    // Nothing of it was in the way.
    let [mut to_bob, mut to_alice] = begin(&mut alice, &mut bob);
    talk(&mut *to_bob, &mut *to_alice);
}

fn scope() -> Scope {
    Scope::new("keys")
}

/// All records, as a new store gets them.
fn dump(keys: &mut impl PairKeys) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut batch = Batch::new();
    keys.save(&mut batch.new_scope(scope())).unwrap();
    let record = |(_, key, change): (_, &[u8], Change<'_>)| match change {
        Change::Put(value) => (key.to_vec(), value.expose().to_vec()),
        Change::Delete => panic!("there is nothing to delete in a new store"),
    };
    batch.changes().map(record).collect()
}

fn load<K: RestorePairKeys>(records: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<K, LayerError> {
    let mut batch = Batch::new();
    for (key, value) in records {
        batch.put(&scope(), key.as_slice(), SecretBytes::new(value.clone()));
    }
    let mut store = MemoryStore::new();
    store.commit(&batch).unwrap();
    K::restore(&scope().of(&store))
}

pub fn keys_come_back_from_a_store<K: RestorePairKeys>(keys: impl Fn() -> K) {
    let [mut alice, mut bob] = [(); 2].map(|()| keys());
    let mut restored: K = load(&dump(&mut bob)).unwrap();
    assert_eq!(restored.identity(), bob.identity());
    assert_eq!(dump(&mut restored), dump(&mut bob));
    let [mut to_bob, mut to_alice] = begin(&mut alice, &mut restored);
    talk(&mut *to_bob, &mut *to_alice);
    // Long-lived keys never change: what was written once is not written again.
    let mut batch = Batch::new();
    restored.save(&mut batch.scope(scope())).unwrap();
    assert_eq!(batch.changes().count(), 0);
}

pub fn damaged_missing_newer_and_left_over_records_are_refused<K: RestorePairKeys>(
    keys: impl Fn() -> K,
) {
    let records = dump(&mut keys());
    let refused = |records: &BTreeMap<Vec<u8>, Vec<u8>>| {
        let error = load::<K>(records).err().unwrap();
        assert_eq!(error.kind(), LayerErrorKind::Storage);
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
            match load::<K>(&flipped) {
                Ok(mut keys) => assert_eq!(dump(&mut keys), flipped),
                Err(error) => assert_eq!(error.kind(), LayerErrorKind::Storage),
            }
        }
    }
}

/// Declares a test for each of these, for keys of two suites: `pair_tests!(new, [one, another])`.
#[macro_export]
macro_rules! pair_tests {
    ($new:expr, [$one:expr, $other:expr]) => {
        $crate::pair_tests!(@ $new, [$one, $other],
            a_bundle_and_an_opening_make_one_pair
            keys_come_back_from_a_store
            damaged_missing_newer_and_left_over_records_are_refused);

        #[test]
        fn what_is_no_key_of_somebody_else_is_refused() {
            for [suite, other] in [[$one, $other], [$other, $one]] {
                $crate::pair_tests::what_is_no_key_of_somebody_else_is_refused(
                    || $new(suite),
                    || $new(other),
                );
            }
        }
    };
    (@ $new:expr, [$one:expr, $other:expr], $($test:ident)+) => {
        $(#[test]
        fn $test() {
            for suite in [$one, $other] {
                $crate::pair_tests::$test(|| $new(suite));
            }
        })+
    };
}
