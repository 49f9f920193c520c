//! What every store must pass. Call it from a test of your own:
//!
//! ```
//! use cc_core::store::{MemoryStore, tests};
//!
//! tests::conformance_persistent(MemoryStore::new, |store| store.reopened());
//! ```
//!
//! It panics with what went wrong.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test suite fails by panicking")]

use alloc::{collections::BTreeMap, format, string::String, vec, vec::Vec};
use core::ops::ControlFlow;

use proptest::{
    collection::vec as vec_of,
    prelude::*,
    test_runner::{Config, TestRunner},
};

use super::{Batch, MAX_NAME_LEN, Scope, Store, StoreError};
use crate::SecretBytes;

/// Everything but persistence. `fresh` gives an empty store, another one each time.
pub fn conformance<S: Store>(mut fresh: impl FnMut() -> S) {
    run(&mut fresh, None);
}

/// Everything. `reopen` closes the store and opens it again, as after a restart.
pub fn conformance_persistent<S: Store>(
    mut fresh: impl FnMut() -> S,
    mut reopen: impl FnMut(S) -> S,
) {
    run(&mut fresh, Some(&mut reopen));
}

type Reopen<'a, S> = Option<&'a mut dyn FnMut(S) -> S>;

fn run<S: Store>(fresh: &mut dyn FnMut() -> S, mut reopen: Reopen<'_, S>) {
    puts_and_deletes(fresh());
    the_last_change_counts(fresh());
    all_or_nothing(fresh());
    nothing_overtaken(fresh());
    scans_in_order(fresh());
    scopes_are_apart(fresh());
    scans_can_stop(fresh());
    odd_lengths(fresh());
    large_values(fresh());
    many_records(fresh());
    if let Some(reopen) = &mut reopen {
        survives_reopening(fresh(), *reopen);
    }
    behaves_as_a_map(fresh, reopen);
}

fn puts_and_deletes(mut store: impl Store) {
    let scope = Scope::new("puts");
    assert_eq!(get(&store, &scope, "a"), None, "a record in an empty store");
    put(&mut store, &scope, "a", "1");
    put(&mut store, &scope, "b", "2");
    assert_eq!(get(&store, &scope, "a").unwrap(), b"1");
    put(&mut store, &scope, "a", "longer than before");
    assert_eq!(get(&store, &scope, "a").unwrap(), b"longer than before", "a value replaced");
    let mut batch = Batch::new();
    batch.delete(&scope, "a");
    batch.delete(&scope, "never there");
    store.commit(&batch).unwrap();
    store.commit(&batch).unwrap();
    assert_eq!(get(&store, &scope, "a"), None, "a record deleted");
    assert_eq!(get(&store, &scope, "b").unwrap(), b"2", "another record was deleted too");
    store.commit(&Batch::new()).unwrap();
    assert_eq!(list(&store, &scope, ""), [("b".into(), b"2".to_vec())]);
}

fn the_last_change_counts(mut store: impl Store) {
    let scope = Scope::new("last");
    let mut batch = Batch::new();
    batch.put(&scope, "put twice", secret("1"));
    batch.put(&scope, "put twice", secret("2"));
    batch.put(&scope, "gone", secret("1"));
    batch.delete(&scope, "gone");
    batch.delete(&scope, "back");
    batch.put(&scope, "back", secret("3"));
    store.commit(&batch).unwrap();
    let expected = [("back".into(), b"3".to_vec()), ("put twice".into(), b"2".to_vec())];
    assert_eq!(list(&store, &scope, ""), expected);
}

fn all_or_nothing(mut store: impl Store) {
    let scope = Scope::new("atomic");
    put(&mut store, &scope, "a", "old");
    let too_long = "z".repeat(MAX_NAME_LEN + 1);
    let mut batch = Batch::new();
    batch.put(&scope, "a", secret("new"));
    batch.put(&scope, "b", secret("new"));
    batch.put(&scope, too_long.as_str(), secret("refused"));
    assert!(
        matches!(store.commit(&batch), Err(StoreError::TooLong)),
        "a key of {} bytes must be refused with TooLong: begin with Batch::check",
        too_long.len(),
    );
    assert_eq!(
        list(&store, &scope, ""),
        [("a".into(), b"old".to_vec())],
        "a refused batch left something behind"
    );
    put(&mut store, &scope, "b", "later");
    assert_eq!(get(&store, &scope, "b").unwrap(), b"later", "no commit after a refused one");
    // A batch can be committed again.
    let mut batch = Batch::new();
    batch.put(&scope, "c", secret("again"));
    store.commit(&batch).unwrap();
    store.commit(&batch).unwrap();
    assert_eq!(get(&store, &scope, "c").unwrap(), b"again");
}

fn nothing_overtaken(mut store: impl Store) {
    let scope = Scope::new("required");
    put(&mut store, &scope, "is", "1");
    let mut commit = |requirements: &[(&str, Option<&str>)]| {
        let mut batch = Batch::new();
        batch.put(&scope, "seen", secret("all held"));
        for (key, value) in requirements {
            batch.require(&scope, *key, value.map(secret));
        }
        let result = store.commit(&batch);
        let seen = get(&store, &scope, "seen").is_some();
        assert_eq!(seen, result.is_ok(), "{requirements:?}: {result:?}");
        let mut batch = Batch::new();
        batch.delete(&scope, "seen");
        store.commit(&batch).unwrap();
        match result {
            Ok(()) => true,
            Err(StoreError::Overtaken) => false,
            Err(error) => panic!("a record is not what is required, which is Overtaken: {error}"),
        }
    };
    assert!(commit(&[("is", Some("1"))]));
    assert!(commit(&[("is not", None)]));
    assert!(commit(&[("is", Some("1")), ("is not", None)]));
    assert!(!commit(&[("is", Some("2"))]));
    assert!(!commit(&[("is", Some(""))]));
    assert!(!commit(&[("is", None)]));
    assert!(!commit(&[("is not", Some(""))]));
    assert!(!commit(&[("is", Some("1")), ("is not", Some("1"))]));
    // A batch that changes what it requires: only once.
    let mut batch = Batch::new();
    batch.require(&scope, "is", Some(secret("1")));
    batch.put(&scope, "is", secret("2"));
    store.commit(&batch).unwrap();
    assert!(matches!(store.commit(&batch), Err(StoreError::Overtaken)), "its own change counts");
    assert_eq!(get(&store, &scope, "is").unwrap(), b"2");
}

fn scans_in_order(mut store: impl Store) {
    let scope = Scope::new("scans");
    let keys: [&[u8]; 9] =
        [b"", b"\0", b"a", b"a\0", b"a\xff", b"a\xff\xff", b"ab", b"b", b"\xff\xff"];
    let mut batch = Batch::new();
    for key in keys.iter().rev() {
        batch.put(&scope, *key, SecretBytes::new(key.to_vec()));
    }
    store.commit(&batch).unwrap();
    let mut sorted = keys.map(<[u8]>::to_vec);
    sorted.sort();
    for prefix in [&b""[..], b"\0", b"a", b"a\xff", b"\xff", b"\xff\xff", b"c", b"abc"] {
        let found: Vec<Vec<u8>> = scope
            .of(&store)
            .list(prefix)
            .unwrap()
            .into_iter()
            .map(|(key, value)| {
                assert_eq!(value.expose(), key, "a scan gave another record's value");
                key
            })
            .collect();
        let expected: Vec<Vec<u8>> =
            sorted.iter().filter(|key| key.starts_with(prefix)).cloned().collect();
        assert_eq!(found, expected, "scan of prefix {:?}", prefix.escape_ascii());
    }
}

fn scopes_are_apart(mut store: impl Store) {
    let scopes = [
        Scope::new(""),
        Scope::new("a"),
        Scope::new("ab"),
        Scope::new("a").child(""),
        Scope::new("a").child("b"),
        Scope::new("a").indexed(0),
    ];
    let mut batch = Batch::new();
    for (number, scope) in scopes.iter().enumerate() {
        batch.put(scope, "k", secret(&format!("{number}")));
    }
    store.commit(&batch).unwrap();
    for (number, scope) in scopes.iter().enumerate() {
        let expected = format!("{number}").into_bytes();
        assert_eq!(get(&store, scope, "k").unwrap(), expected);
        assert_eq!(list(&store, scope, ""), [("k".into(), expected)], "scan of {scope:?}");
    }
    let mut batch = Batch::new();
    batch.delete(&scopes[1], "k");
    store.commit(&batch).unwrap();
    for (number, scope) in scopes.iter().enumerate() {
        assert_eq!(get(&store, scope, "k").is_some(), number != 1, "{scope:?} after a deletion");
    }
}

fn scans_can_stop(mut store: impl Store) {
    let scope = Scope::new("stops");
    let mut batch = Batch::new();
    for key in ["a", "b", "c"] {
        batch.put(&scope, key, secret(key));
    }
    store.commit(&batch).unwrap();
    let mut seen = 0;
    store
        .scan(&scope, b"", &mut |_, _| {
            seen += 1;
            if seen == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    assert_eq!(seen, 2, "a scan goes on until the visitor breaks, and no longer");
    put(&mut store, &scope, "d", "after a scan that was broken off");
}

fn odd_lengths(mut store: impl Store) {
    let longest = "k".repeat(MAX_NAME_LEN);
    let scope = Scope::new("s".repeat(MAX_NAME_LEN - 4));
    put(&mut store, &scope, "", "");
    put(&mut store, &scope, &longest, "v");
    assert_eq!(get(&store, &scope, "").unwrap(), b"", "an empty value is not a missing record");
    assert_eq!(get(&store, &scope, &longest).unwrap(), b"v");
    assert_eq!(list(&store, &scope, "").len(), 2);
    assert_eq!(list(&store, &scope, "kk").len(), 1);
}

fn large_values(mut store: impl Store) {
    let scope = Scope::new("large");
    for length in [4095, 4096, 65_537, (5 << 20) + 1] {
        let value: Vec<u8> = (0u32..).map(|n| n.to_be_bytes()[3] ^ 0x5a).take(length).collect();
        let mut batch = Batch::new();
        batch.put(&scope, "v", SecretBytes::new(value.clone()));
        store.commit(&batch).unwrap();
        assert!(get(&store, &scope, "v").unwrap() == value, "a value of {length} bytes");
    }
    put(&mut store, &scope, "v", "small again");
    assert_eq!(get(&store, &scope, "v").unwrap(), b"small again");
}

fn many_records(mut store: impl Store) {
    let scope = Scope::new("many");
    let mut batch = Batch::new();
    for number in 0..2000u32 {
        batch.put(&scope, number.to_be_bytes(), secret(&format!("{number}")));
    }
    store.commit(&batch).unwrap();
    let mut batch = Batch::new();
    for number in (0..2000u32).step_by(2) {
        batch.delete(&scope, number.to_be_bytes());
    }
    store.commit(&batch).unwrap();
    let records = scope.of(&store).list(b"").unwrap();
    assert_eq!(records.len(), 1000);
    for ((key, value), number) in records.iter().zip((1u32..).step_by(2)) {
        assert_eq!(key, &number.to_be_bytes());
        assert_eq!(value.expose(), format!("{number}").as_bytes());
    }
}

fn survives_reopening<S: Store>(mut store: S, reopen: &mut dyn FnMut(S) -> S) {
    let scope = Scope::new("reopened");
    for number in 0..5 {
        put(&mut store, &scope, "last", &format!("{number}"));
        put(&mut store, &scope, &format!("{number}"), "");
        store = reopen(store);
        assert_eq!(get(&store, &scope, "last").unwrap(), format!("{number}").as_bytes());
        assert_eq!(list(&store, &scope, "").len(), 2 + number, "records after reopening");
    }
    let mut batch = Batch::new();
    batch.delete(&scope, "0");
    store.commit(&batch).unwrap();
    store = reopen(store);
    assert_eq!(get(&store, &scope, "0"), None, "a deleted record came back");
}

/// One change: scope and key out of a few, so that they meet, and a value or a deletion.
type Step = (u8, Vec<u8>, Option<Vec<u8>>);

fn behaves_as_a_map<S: Store>(fresh: &mut dyn FnMut() -> S, mut reopen: Reopen<'_, S>) {
    let key = vec_of(prop_oneof![Just(0u8), Just(b'a'), Just(0xff)], 0..3);
    let value = proptest::option::weighted(0.7, vec_of(any::<u8>(), 0..40));
    let batch = vec_of((0u8..3, key, value), 1..8);
    let mut runner = TestRunner::new(Config {
        cases: 32,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    });
    // The runner wants `Fn`; the store and the caller's closures are not.
    let stores = core::cell::RefCell::new((fresh, &mut reopen));
    let outcome = runner.run(&vec_of((batch, any::<bool>()), 1..8), |batches| {
        let (fresh, reopen) = &mut *stores.borrow_mut();
        let mut store = fresh();
        let mut model = BTreeMap::new();
        for (steps, again) in &batches {
            store.commit(&batch_of(steps)).map_err(|e| TestCaseError::fail(format!("{e}")))?;
            for (scope, key, value) in steps {
                match value {
                    Some(value) => model.insert((*scope, key.clone()), value.clone()),
                    None => model.remove(&(*scope, key.clone())),
                };
            }
            if let (true, Some(reopen)) = (again, &mut **reopen) {
                store = reopen(store);
            }
            compare(&store, &model)?;
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("the store does not behave as a map: {error}");
    }
}

fn batch_of(steps: &[Step]) -> Batch {
    let mut batch = Batch::new();
    for (scope, key, value) in steps {
        let scope = Scope::new("model").indexed(u32::from(*scope));
        match value {
            Some(value) => batch.put(&scope, key.clone(), SecretBytes::new(value.clone())),
            None => batch.delete(&scope, key.clone()),
        }
    }
    batch
}

fn compare(
    store: &impl Store,
    model: &BTreeMap<(u8, Vec<u8>), Vec<u8>>,
) -> Result<(), TestCaseError> {
    for number in 0..3u8 {
        let scope = Scope::new("model").indexed(u32::from(number));
        for prefix in [vec![], vec![0], vec![b'a'], vec![0xff], vec![0xff, 0xff]] {
            let found: Vec<(Vec<u8>, Vec<u8>)> = scope
                .of(store)
                .list(&prefix)
                .map_err(|e| TestCaseError::fail(format!("{e}")))?
                .into_iter()
                .map(|(key, value)| (key, value.expose().to_vec()))
                .collect();
            let expected: Vec<(Vec<u8>, Vec<u8>)> = model
                .iter()
                .filter(|((scope, key), _)| *scope == number && key.starts_with(&prefix))
                .map(|((_, key), value)| (key.clone(), value.clone()))
                .collect();
            prop_assert_eq!(found, expected);
        }
        for ((_, key), value) in model.iter().filter(|((scope, _), _)| *scope == number) {
            let found = store.get(&scope, key).map_err(|e| TestCaseError::fail(format!("{e}")))?;
            prop_assert_eq!(found.as_ref().map(SecretBytes::expose), Some(value.as_slice()));
        }
    }
    Ok(())
}

fn secret(value: &str) -> SecretBytes {
    SecretBytes::new(value.as_bytes().to_vec())
}

fn put(store: &mut impl Store, scope: &Scope, key: &str, value: &str) {
    let mut batch = Batch::new();
    batch.put(scope, key, secret(value));
    store.commit(&batch).unwrap();
}

fn get(store: &impl Store, scope: &Scope, key: &str) -> Option<Vec<u8>> {
    store.get(scope, key.as_bytes()).unwrap().map(|value| value.expose().to_vec())
}

fn list(store: &impl Store, scope: &Scope, prefix: &str) -> Vec<(String, Vec<u8>)> {
    let records = scope.of(store).list(prefix.as_bytes()).unwrap();
    records
        .into_iter()
        .map(|(key, value)| (String::from_utf8(key).unwrap(), value.expose().to_vec()))
        .collect()
}
