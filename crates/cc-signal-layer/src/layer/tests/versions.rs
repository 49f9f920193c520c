//! Layers that earlier versions of this code saved, and messages they must open.

use std::{fs, path::PathBuf};

use alloc::{format, string::String};

use cc_core::SecretBytes;
use serde_json::{Value, json};

use super::*;

/// A layer for two of version 1, as this code wrote it when the format was new.
#[test]
fn a_pair_of_version_1_goes_on() {
    let fixture = Fixture::read("layer-pair-v1.json");
    let (mut alice, mut bob) = (fixture.layer("alice"), fixture.layer("bob"));
    assert_eq!(kind(bob.open_kept(&fixture.bytes("opened"))), LayerErrorKind::Duplicate);
    for name in ["skipped", "late", "next"] {
        assert_eq!(bob.open_kept(&fixture.bytes(name)).unwrap().0, name.as_bytes());
    }
    assert_eq!(alice.open_kept(&fixture.bytes("answer")).unwrap().0, b"answer");
    for _ in 0..2 {
        let wire = alice.seal(b"on");
        assert_eq!(bob.open_kept(&wire).unwrap().0, b"on");
        let wire = bob.seal(b"and on");
        assert_eq!(alice.open_kept(&wire).unwrap().0, b"and on");
    }
    assert_eq!(alice.layer.safety_number(b"a", b"b"), bob.layer.safety_number(b"b", b"a"));
}

/// A group of version 1. Alice is about to put Dora in Charlie's place, who knows it already; Bob has opened a message of
/// hers, and missed one before it and one of the epoch before.
#[test]
fn a_group_of_version_1_goes_on() {
    let fixture = Fixture::read("layer-group-v1.json");
    let [mut alice, mut bob, mut dora] = ["alice", "bob", "dora"].map(|name| Person {
        id: MemberId::from_bytes(fixture.bytes(&format!("{name}_id")).try_into().unwrap()),
        kept: fixture.layer(name),
    });
    assert_eq!((alice.epoch(), bob.epoch()), (2, 2));
    assert_eq!(dora.layer.standing(), Standing::Outside);
    for name in ["skipped", "past", "next"] {
        bob.reads(&fixture.bytes(name), name.as_bytes(), alice.id);
    }
    assert_eq!(kind(bob.open(&fixture.bytes("opened"))), LayerErrorKind::Duplicate);
    alice.reads(&fixture.bytes("answer"), b"answer", bob.id);
    alice.confirm();
    let outcome = bob.process(&fixture.bytes("commit"), 3).unwrap();
    assert_eq!((outcome.committer, outcome.added), (Some(alice.id), vec![dora.id]));
    dora.join(&fixture.bytes("welcome"), 3).unwrap();
    for _ in 0..2 {
        all_to_all(&mut [&mut alice, &mut bob, &mut dora]);
    }
    let change = dora.stage(&mut [], &[alice.id], 4);
    dora.confirm();
    assert!(alice.process(&change.commit, 4).unwrap().removed_self);
    let _ = bob.process(&change.commit, 4).unwrap();
    all_to_all(&mut [&mut bob, &mut dora]);
}

/// Writes the fixtures. To be run by hand once for every new version of the format, never again for
/// an old one: `cargo test -p cc-signal-layer write_layer_fixtures -- --ignored`.
#[test]
#[ignore = "writes files"]
fn write_layer_fixtures() {
    let (alice, mut bob) = (Account::generate().unwrap(), Account::generate().unwrap());
    bob.replenish(2).unwrap();
    let (a, bundle) = (*alice.identity(), bob.one_time_bundles(1).pop().unwrap());
    let limits = Limits::default();
    let alice = SignalLayer::initiate(alice, &bundle, Agree::Pqxdh, limits).unwrap();
    let mut alice = Kept::new(alice);
    let mut bob = Kept::new(SignalLayer::respond(bob, a, limits));
    let hello = alice.seal(b"hello");
    bob.open_kept(&hello).unwrap();
    let answer = bob.seal(b"answer");
    let skipped = alice.seal(b"skipped");
    let opened = alice.seal(b"opened");
    bob.open_kept(&opened).unwrap();
    alice.open_kept(&answer).unwrap();
    let late = alice.seal(b"late");
    let last = alice.seal(b"opened");
    bob.open_kept(&last).unwrap();
    let answer = bob.seal(b"answer");
    let next = alice.seal(b"next");
    write_fixture(
        "layer-pair-v1.json",
        &[("alice", &alice), ("bob", &bob)],
        &[
            ("opened", &opened),
            ("skipped", &skipped),
            ("late", &late),
            ("answer", &answer),
            ("next", &next),
        ],
    );

    let [mut alice, mut bob, mut charlie, mut dora] = [true, false, false, false].map(person);
    let change = alice.stage(&mut [&mut bob, &mut charlie], &[], 1);
    alice.confirm();
    bob.join(&change.welcome, 1).unwrap();
    let past = alice.seal(b"past");
    let change = alice.stage(&mut [], &[], 2);
    alice.confirm();
    let _ = bob.process(&change.commit, 2).unwrap();
    let skipped = alice.seal(b"skipped");
    let opened = alice.seal(b"opened");
    bob.open(&opened).unwrap();
    let change = alice.stage(&mut [&mut dora], &[charlie.id], 3);
    let next = alice.seal(b"next");
    let answer = bob.seal(b"answer");
    write_fixture(
        "layer-group-v1.json",
        &[("alice", &alice), ("bob", &bob), ("dora", &dora)],
        &[
            ("alice_id", alice.id.as_bytes()),
            ("bob_id", bob.id.as_bytes()),
            ("dora_id", dora.id.as_bytes()),
            ("opened", &opened),
            ("past", &past),
            ("skipped", &skipped),
            ("next", &next),
            ("answer", &answer),
            ("commit", &change.commit),
            ("welcome", &change.welcome),
        ],
    );
}

/// Names, and bytes in hexadecimal.
struct Fixture(Value);

impl Fixture {
    fn read(name: &str) -> Self {
        Self(serde_json::from_slice(&fs::read(fixture_path(name)).unwrap()).unwrap())
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        hex::decode(self.0[name].as_str().unwrap()).unwrap()
    }

    /// A store with these records, and the layer in it.
    fn layer(&self, name: &str) -> Kept {
        let mut batch = Batch::new();
        for (name, value) in self.0[name].as_object().unwrap() {
            let value = hex::decode(value.as_str().unwrap()).unwrap();
            batch.put(&scope(), hex::decode(name).unwrap(), SecretBytes::new(value));
        }
        let mut store = MemoryStore::new();
        store.commit(&batch).unwrap();
        let layer = SignalLayer::restore(&scope().of(&store)).unwrap();
        assert!(!store.is_empty());
        Kept { layer, store, written: (0, 0) }
    }
}

/// Names and values of records.
fn records(kept: &Kept) -> Value {
    let records = kept.stored().into_iter();
    records.map(|(name, value)| (hex::encode(name), json!(hex::encode(value)))).collect()
}

fn write_fixture(name: &str, layers: &[(&str, &Kept)], fields: &[(&str, &[u8])]) {
    let layers = layers.iter().map(|(name, kept)| (String::from(*name), records(kept)));
    let fields =
        fields.iter().map(|(name, bytes)| (String::from(*name), json!(hex::encode(bytes))));
    let fixture: serde_json::Map<_, _> = layers.chain(fields).collect();
    let mut file = serde_json::to_string_pretty(&fixture).unwrap();
    file.push('\n');
    fs::write(fixture_path(name), file).unwrap();
}

fn fixture_path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}
