//! Layers that were saved and loaded again: at rest, in the middle of things, and written by earlier
//! versions.

use std::{fs, path::PathBuf};

use alloc::{format, string::String};

use serde_json::{Value, json};

use super::{pairwise::strangers, *};
use crate::message_key::tests::{forget, used};

/// What comes back from the store.
fn reloaded(layer: &SignalLayer) -> SignalLayer {
    let state = layer.export().unwrap();
    let loaded = SignalLayer::load(state.expose()).unwrap();
    assert_eq!(loaded.export().unwrap(), state);
    loaded
}

#[test]
fn two_go_on_after_every_message() {
    let (mut alice, mut bob) = strangers();
    let early = seal(&mut alice, b"early").unwrap();
    for round in 0..6u8 {
        (alice, bob) = (reloaded(&alice), reloaded(&bob));
        let missing = seal(&mut alice, b"missing").unwrap();
        alice = reloaded(&alice);
        let wire = seal(&mut alice, &[round]).unwrap();
        assert_eq!(open(&mut bob, &wire).unwrap(), [round]);
        bob = reloaded(&bob);
        assert_eq!(kind(open(&mut bob, &wire)), LayerErrorKind::Rejected);
        assert_eq!(open(&mut bob, &missing).unwrap(), b"missing");
        let wire = seal(&mut bob, b"answer").unwrap();
        assert_eq!(open(&mut alice, &wire).unwrap(), b"answer");
    }
    assert_eq!(open(&mut reloaded(&bob), &early).unwrap(), b"early");
    assert_eq!(alice.safety_number(b"a", b"b"), reloaded(&bob).safety_number(b"b", b"a"));
}

/// A crash after the bytes were stored and before they were applied repeats no key.
#[test]
fn a_seal_is_saved_before_it_is_applied() {
    let (mut alice, mut bob) = strangers();
    let before = used();
    for _ in 0..3 {
        seal_staged(&mut alice, b"same text").unwrap();
        alice = reloaded(&alice);
    }
    let wire = seal(&mut alice, b"same text").unwrap();
    assert_eq!(used(), before + 4);
    assert_eq!(open(&mut bob, &wire).unwrap(), b"same text");

    let [mut alice, mut bob, mut charlie] = three();
    let before = used();
    for _ in 0..5 {
        seal_staged(&mut alice.layer, b"same text").unwrap();
        alice.restart();
    }
    // With the chain for both in each, for none of them was applied.
    let wire = alice.seal(b"same text");
    assert_eq!(used(), before + 6 * 3);
    for other in [&mut bob, &mut charlie] {
        other.reads(&wire, b"same text", alice.id);
    }
}

#[test]
fn what_is_staged_is_not_saved_by_halves() {
    fn unapplied(layer: &mut SignalLayer) {
        assert_eq!(layer.export().unwrap_err(), Error::Unapplied);
        let error = LayerError::from(layer.export().unwrap_err());
        assert_eq!(error.kind(), LayerErrorKind::Misuse);
        layer.revert();
        layer.export().unwrap();
    }
    let (mut alice, mut bob) = strangers();
    let wire = seal(&mut alice, b"x").unwrap();
    open_staged(&mut bob, &wire, b"ad").unwrap();
    unapplied(&mut bob);

    let [mut alice, mut bob, _] = three();
    let wire = alice.seal(b"x");
    open_staged(&mut bob.layer, &wire, b"ad").unwrap();
    unapplied(&mut bob.layer);
    let mut dora = person(false);
    let added = [NewMember { id: dora.id, part: &dora.package(), binding: [0; 32] }];
    let request = ChangeRequest { added: &added, removed: &[] };
    let change = alice.layer.stage_change(&request, &parts(3)).unwrap();
    unapplied(&mut alice.layer);
    dora.layer.join(&change.welcome, &parts(3)).unwrap();
    unapplied(&mut dora.layer);
    let change = alice.layer.stage_change(&request, &parts(4)).unwrap();
    alice.layer.apply();
    alice.layer.confirm_change().unwrap();
    unapplied(&mut alice.layer);
    alice.layer.discard_change().unwrap();
    unapplied(&mut alice.layer);
    // Still there after all this.
    alice.restart();
    alice.confirm();
    dora.join(&change.welcome, 4).unwrap();
}

#[test]
fn a_staged_change_survives() {
    let [mut alice, mut bob, mut charlie] = three();
    let mut dora = person(false);
    let package = dora.package();
    for person in [&mut alice, &mut bob, &mut charlie, &mut dora] {
        person.restart();
    }
    let change = alice.try_stage(&[(dora.id, package)], &[charlie.id], 3).unwrap();
    alice.restart();
    // Neither entered nor forgotten.
    assert_eq!((alice.epoch(), alice.layer.members().len()), (2, 3));
    assert_eq!(kind(alice.try_stage(&[], &[], 4)), LayerErrorKind::Misuse);
    alice.confirm();
    let _ = bob.process(&change.commit, 3).unwrap();
    let _ = charlie.process(&change.commit, 3).unwrap();
    dora.join(&change.welcome, 3).unwrap();
    for person in [&mut alice, &mut bob, &mut charlie, &mut dora] {
        person.restart();
    }
    all_to_all(&mut [&mut alice, &mut bob, &mut dora]);
    assert_eq!(charlie.layer.standing(), Standing::Removed);

    let (mut alice, mut bob) = (person(false), person(false));
    let _ = alice.stage(&mut [&mut bob], &[], 1);
    alice.restart();
    alice.discard();
    assert_eq!(alice.layer.standing(), Standing::Outside);
    alice.restart();
    let change = alice.stage(&mut [&mut bob], &[], 2);
    alice.restart();
    alice.confirm();
    bob.join(&change.welcome, 2).unwrap();
    all_to_all(&mut [&mut alice, &mut bob]);
}

/// What was owed, and how often it was sent, and what is to be acknowledged.
#[test]
fn the_repeats_go_on_where_they_were() {
    let [mut alice, mut bob, _] = three();
    let wires: Vec<_> = (0..DISTRIBUTION_REPEATS)
        .map(|_| {
            alice.restart();
            alice.seal(b"x")
        })
        .collect();
    assert!(wires.iter().all(|wire| wire.len() > 2000));
    assert_eq!(alice.seal(b"").len(), 95);
    bob.reads(&wires[1], b"x", alice.id);
    let acknowledging = bob.seal(b"").len();
    bob.restart();
    let sizes: Vec<_> = (0..DISTRIBUTION_REPEATS).map(|_| bob.seal(b"").len()).collect();
    assert_eq!(acknowledging - sizes[usize::from(DISTRIBUTION_REPEATS) - 1], sizes[0] - 95);
    // The first one opens by the state that was owed then.
    bob.restart();
    bob.reads(&wires[0], b"x", alice.id);

    // A state that is owed no longer alone: an older one and a newer one.
    let [mut alice, _, mut charlie] = three();
    let first = alice.seal(b"first");
    let mut dora = person(false);
    let change = alice.stage(&mut [&mut dora], &[], 3);
    alice.confirm();
    dora.join(&change.welcome, 3).unwrap();
    alice.restart();
    let second = alice.seal(b"second");
    dora.reads(&second, b"second", alice.id);
    assert!(dora.open(&first).is_err(), "older than what she was handed");
    let _ = charlie.process(&change.commit, 3).unwrap();
    charlie.reads(&second, b"second", alice.id);
    charlie.reads(&first, b"first", alice.id);
}

#[test]
fn a_state_opens_nothing_that_was_opened_before_it() {
    let (mut alice, mut bob) = strangers();
    for _ in 0..2 {
        let wire = seal(&mut alice, b"hello").unwrap();
        open(&mut bob, &wire).unwrap();
        assert_eq!(kind(open(&mut reloaded(&bob), &wire)), LayerErrorKind::Rejected);
        let answer = seal(&mut bob, b"answer").unwrap();
        open(&mut alice, &answer).unwrap();
        assert_eq!(kind(open(&mut reloaded(&alice), &answer)), LayerErrorKind::Rejected);
    }
    let mut people = three();
    for _ in 0..3 {
        for sender in 0..3 {
            let wire = people[sender].seal(b"x");
            for reader in (0..3).filter(|reader| *reader != sender) {
                people[reader].open(&wire).unwrap();
                let mut stolen = reloaded(&people[reader].layer);
                assert!(open(&mut stolen, &wire).is_err());
            }
        }
    }
    // A state of before it opens it: this is what the applied state is there to replace.
    let [alice, bob, _] = &mut people;
    let wire = alice.seal(b"x");
    let mut stolen = reloaded(&bob.layer);
    assert_eq!(open(&mut stolen, &wire).unwrap(), b"x");
}

#[test]
fn limits_are_kept() {
    let (alice, bob) = (Account::generate().unwrap(), Account::generate().unwrap());
    let limits = Limits::default().with_max_skip(2);
    let (a, bundle) = (*alice.identity(), bob.bundle());
    let mut alice = SignalLayer::initiate(alice, &bundle, Agree::Pqxdh, Limits::default()).unwrap();
    let mut bob = reloaded(&SignalLayer::respond(bob, a, limits));
    let wires: Vec<_> = (0..4).map(|_| seal(&mut alice, b"x").unwrap()).collect();
    assert_eq!(kind(open(&mut bob, &wires[3])), LayerErrorKind::Rejected);
    open(&mut bob, &wires[2]).unwrap();

    let state = bob.export().unwrap();
    for (at, cap) in [
        (3, Limits::MAX_SKIP_CAP as usize),
        (7, Limits::MAX_SKIPPED_CAP),
        (11, Limits::MAX_SESSIONS_CAP),
    ] {
        let mut other = state.expose().to_vec();
        for (limit, loads) in [(cap, true), (cap + 1, false)] {
            other[at..at + 4].copy_from_slice(&u32::try_from(limit).unwrap().to_be_bytes());
            assert_eq!(SignalLayer::load(&other).is_ok(), loads);
        }
    }
}

#[test]
fn states_are_small() {
    let (mut alice, mut bob) = strangers();
    for _ in 0..3 {
        let wire = seal(&mut alice, b"x").unwrap();
        open(&mut bob, &wire).unwrap();
        let wire = seal(&mut bob, b"x").unwrap();
        open(&mut alice, &wire).unwrap();
    }
    let mut sizes = String::new();
    for layer in [&alice, &bob] {
        let whole = layer.export().unwrap().expose().len();
        let account = layer.account().export().expose().len();
        assert!(whole < 1024, "{whole} bytes");
        sizes += &format!("pair: {whole} bytes, of which account {account}\n");
    }
    let [mut alice, mut bob, mut charlie] = three();
    for person in [&alice, &bob, &charlie] {
        sizes += &format!("three, nobody spoke: {}\n", person.state().len());
    }
    for _ in 0..6 {
        all_to_all(&mut [&mut alice, &mut bob, &mut charlie]);
    }
    for person in [&alice, &bob, &charlie] {
        sizes += &format!("three, all spoke: {}\n", person.state().len());
    }
    std::println!("{sizes}");
}

#[test]
fn damaged_state_is_refused_or_harmless() {
    let (mut alice, mut bob) = strangers();
    let wire = seal(&mut alice, b"x").unwrap();
    open(&mut bob, &wire).unwrap();
    let first = bob.export().unwrap();
    let wire = seal(&mut alice, b"x").unwrap();
    damage(first.expose(), 1, &wire);

    let [mut alice, mut bob, mut charlie] = three();
    let wire = alice.seal(b"x");
    bob.open(&wire).unwrap();
    let wire = charlie.seal(b"x");
    bob.open(&wire).unwrap();
    let mut dora = person(false);
    // A change, owed states, acknowledgements and skipped keys.
    let _ = bob.stage(&mut [&mut dora], &[], 3);
    for _ in 0..3 {
        alice.seal(b"missing");
    }
    let wire = alice.seal(b"x");
    bob.open(&wire).unwrap();
    let wire = alice.seal(b"x");
    damage(&bob.state(), 5, &wire);
}

/// Cuts everywhere, and flips of every `step`th bit. What still loads is used, and must not panic.
fn damage(state: &[u8], step: usize, wire: &[u8]) {
    for len in 0..state.len() {
        assert_eq!(SignalLayer::load(&state[..len]).unwrap_err(), Error::InvalidState, "{len}");
    }
    let mut longer = state.to_vec();
    longer.push(0);
    assert_eq!(SignalLayer::load(&longer).unwrap_err(), Error::InvalidState);
    for bit in (0..state.len() * 8).step_by(step) {
        let mut flipped = state.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        match SignalLayer::load(&flipped) {
            Ok(mut layer) => {
                assert_eq!(layer.export().unwrap().expose(), flipped, "{bit}");
                let _ = open(&mut layer, wire);
                let _ = seal(&mut layer, b"x");
                let _ = layer.confirm_change();
                layer.apply();
                // A copy of one state after the other seals here.
                forget();
            }
            Err(Error::UnknownVersion(_)) => assert_eq!(bit / 8, 1),
            Err(error) => assert_eq!(error, Error::InvalidState, "{bit}"),
        }
    }
}

#[test]
fn kinds_and_versions_are_told_apart() {
    let (alice, _) = strangers();
    let state = alice.export().unwrap();
    assert_eq!(Account::load(state.expose()).unwrap_err(), Error::InvalidState);
    let account = alice.account().export();
    assert_eq!(SignalLayer::load(account.expose()).unwrap_err(), Error::InvalidState);
    let mut other = state.expose().to_vec();
    other[1] = 2;
    assert_eq!(SignalLayer::load(&other).unwrap_err(), Error::UnknownVersion(2));
    other[1] = 1;
    other[2] = 2;
    assert_eq!(SignalLayer::load(&other).unwrap_err(), Error::InvalidState, "the other mode");
}

/// A layer for two of version 1, as this code wrote it when the format was new.
#[test]
fn a_pair_of_version_1_goes_on() {
    let fixture = Fixture::read("layer-pair-v1.json");
    let (mut alice, mut bob) = (fixture.layer("alice"), fixture.layer("bob"));
    assert_eq!(kind(open(&mut bob, &fixture.bytes("opened"))), LayerErrorKind::Rejected);
    for name in ["skipped", "late", "next"] {
        assert_eq!(open(&mut bob, &fixture.bytes(name)).unwrap(), name.as_bytes());
    }
    assert_eq!(open(&mut alice, &fixture.bytes("answer")).unwrap(), b"answer");
    for _ in 0..2 {
        let wire = seal(&mut alice, b"on").unwrap();
        assert_eq!(open(&mut bob, &wire).unwrap(), b"on");
        let wire = seal(&mut bob, b"and on").unwrap();
        assert_eq!(open(&mut alice, &wire).unwrap(), b"and on");
    }
    assert_eq!(alice.safety_number(b"a", b"b"), bob.safety_number(b"b", b"a"));
}

/// A group of version 1. Alice is about to put Dora in Charlie's place, who knows it already; Bob has opened a message of
/// hers and missed one before it.
#[test]
fn a_group_of_version_1_goes_on() {
    let fixture = Fixture::read("layer-group-v1.json");
    let [mut alice, mut bob, mut dora] = ["alice", "bob", "dora"].map(|name| Person {
        id: MemberId::from_bytes(fixture.bytes(&format!("{name}_id")).try_into().unwrap()),
        layer: fixture.layer(name),
    });
    assert_eq!((alice.epoch(), bob.epoch()), (1, 1));
    assert_eq!(dora.layer.standing(), Standing::Outside);
    for name in ["skipped", "next"] {
        bob.reads(&fixture.bytes(name), name.as_bytes(), alice.id);
    }
    assert_eq!(kind(bob.open(&fixture.bytes("opened"))), LayerErrorKind::Rejected);
    alice.reads(&fixture.bytes("answer"), b"answer", bob.id);
    alice.confirm();
    let outcome = bob.process(&fixture.bytes("commit"), 2).unwrap();
    assert_eq!((outcome.committer, outcome.added), (Some(alice.id), vec![dora.id]));
    dora.join(&fixture.bytes("welcome"), 2).unwrap();
    for _ in 0..2 {
        all_to_all(&mut [&mut alice, &mut bob, &mut dora]);
    }
    let change = dora.stage(&mut [], &[alice.id], 3);
    dora.confirm();
    assert!(alice.process(&change.commit, 3).unwrap().removed_self);
    let _ = bob.process(&change.commit, 3).unwrap();
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
    let mut alice = SignalLayer::initiate(alice, &bundle, Agree::Pqxdh, limits).unwrap();
    let mut bob = SignalLayer::respond(bob, a, limits);
    let hello = seal(&mut alice, b"hello").unwrap();
    open(&mut bob, &hello).unwrap();
    let answer = seal(&mut bob, b"answer").unwrap();
    let skipped = seal(&mut alice, b"skipped").unwrap();
    let opened = seal(&mut alice, b"opened").unwrap();
    open(&mut bob, &opened).unwrap();
    open(&mut alice, &answer).unwrap();
    let late = seal(&mut alice, b"late").unwrap();
    let last = seal(&mut alice, b"opened").unwrap();
    open(&mut bob, &last).unwrap();
    let answer = seal(&mut bob, b"answer").unwrap();
    let next = seal(&mut alice, b"next").unwrap();
    write_fixture(
        "layer-pair-v1.json",
        &[
            ("alice", alice.export().unwrap().expose()),
            ("bob", bob.export().unwrap().expose()),
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
    let first = bob.seal(b"first");
    alice.open(&first).unwrap();
    let skipped = alice.seal(b"skipped");
    let opened = alice.seal(b"opened");
    bob.open(&opened).unwrap();
    let change = alice.stage(&mut [&mut dora], &[charlie.id], 2);
    let next = alice.seal(b"next");
    let answer = bob.seal(b"answer");
    write_fixture(
        "layer-group-v1.json",
        &[
            ("alice_id", alice.id.as_bytes()),
            ("bob_id", bob.id.as_bytes()),
            ("dora_id", dora.id.as_bytes()),
            ("alice", &alice.state()),
            ("bob", &bob.state()),
            ("dora", &dora.state()),
            ("opened", &opened),
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

    fn layer(&self, name: &str) -> SignalLayer {
        let state = self.bytes(name);
        let layer = SignalLayer::load(&state).unwrap();
        assert_eq!(layer.export().unwrap().expose(), state);
        layer
    }
}

fn write_fixture(name: &str, fields: &[(&str, &[u8])]) {
    let fixture: serde_json::Map<_, _> = fields
        .iter()
        .map(|(name, bytes)| (String::from(*name), json!(hex::encode(bytes))))
        .collect();
    let mut file = serde_json::to_string_pretty(&fixture).unwrap();
    file.push('\n');
    fs::write(fixture_path(name), file).unwrap();
}

fn fixture_path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}
