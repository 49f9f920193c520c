//! Layers that were stored once come back and open what was sent to them. A change that this test does
//! not pass locks out whoever has a store.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{collections::BTreeMap, fmt::Write as _};

use cc_core::{
    Attachment, Buffer, ChangeRequest, CipherLayer, GroupLayer, Header, Kind, LayerContext,
    MemberId, NewMember, PartContext, Restore, SecretBytes, StackId, Standing,
    store::{Batch, Change, MemoryStore, Scope, Store},
};
use cc_dh_layer::{Curve, DhKeyPair, DhLayer};

/// Blocks of lines, each block a layer: its name, its records, and messages in the order in which they
/// are to be opened. `confirm` confirms the staged change.
const VERSION_1: &str = include_str!("fixtures/version-1.txt");

fn scope() -> Scope {
    Scope::new("layer")
}

fn transact<T>(f: impl FnOnce(&LayerContext<'_>) -> T) -> T {
    let stack = StackId::of(&[]);
    let binding = Header::new(Kind::Application, &stack, vec![]).binding(&stack, b"ad");
    f(&LayerContext { binding: &binding, position: 0, chain: None })
}

fn parts() -> PartContext<'static> {
    PartContext { binding: [1; 32], position: 0, chain: None, group_below: false, now: None }
}

#[test]
fn stored_layers_come_back() {
    let mut names = vec![];
    for block in VERSION_1.split("\n\n") {
        let lines: Vec<Vec<_>> =
            block.lines().map(|line| line.split_whitespace().collect()).collect();
        let mut batch = Batch::new();
        for line in &lines {
            if let ["record", key, value] = line[..] {
                let value = SecretBytes::new(hex::decode(value).unwrap());
                batch.put(&scope(), hex::decode(key).unwrap(), value);
            }
        }
        let mut store = MemoryStore::new();
        store.commit(&batch).unwrap();
        let mut layer = DhLayer::restore(&scope().of(&store)).unwrap();
        let mut opened = 0;
        for line in &lines {
            match line[..] {
                ["layer", name] => names.push(name),
                ["record", ..] => {}
                ["standing", standing] => {
                    let epoch = standing.parse().map(|epoch| Standing::Member { epoch });
                    assert_eq!(layer.standing(), epoch.unwrap_or(Standing::Removed));
                }
                ["message", wire] => {
                    let mut buffer = Buffer::new(&hex::decode(wire).unwrap());
                    let _ = transact(|context| layer.open(context, &mut buffer)).unwrap();
                    assert_eq!(buffer.as_slice(), b"attack at dawn");
                    opened += 1;
                }
                ["confirm"] => {
                    layer.confirm_change().unwrap();
                    layer.apply();
                }
                _ => panic!("{line:?}"),
            }
        }
        assert!(opened > 0);
    }
    assert_eq!(names.len(), 6, "{names:?}");
}

/// Prints a new file, for a new version of the records.
#[test]
#[ignore = "prints the fixtures of the current version"]
fn print() {
    let mut text = String::new();
    for (name, curve) in [("x25519", Curve::X25519), ("p256", Curve::P256)] {
        let [a, b] = [(); 2].map(|()| DhKeyPair::generate(curve).unwrap());
        let of_a = *a.public_key();
        let mut alice = DhLayer::pairwise(a, *b.public_key()).unwrap();
        let mut bob = DhLayer::pairwise(b, of_a).unwrap();
        block(&mut text, &format!("pairwise-{name}"), &mut alice);
        message(&mut text, &mut bob);

        let [mut alice, mut bob, mut charlie] = [1, 2, 3].map(|id| {
            let mut layer = DhLayer::group(DhKeyPair::generate(curve).unwrap());
            let member = Some(MemberId::from_bytes([id; 32]));
            let founding = id == 1;
            let stack = StackId::of(&[]);
            layer.attach(&Attachment { stack, position: 0, member, founding }).unwrap();
            layer
        });
        let packages = [&mut bob, &mut charlie].map(|layer| layer.key_package(&parts()).unwrap());
        let added: Vec<_> = (2..)
            .zip(&packages)
            .map(|(id, part)| {
                let id = MemberId::from_bytes([id; 32]);
                NewMember { id, part, binding: [0; 32] }
            })
            .collect();
        let change =
            alice.stage_change(&ChangeRequest { added: &added, removed: &[] }, &parts()).unwrap();
        alice.confirm_change().unwrap();
        bob.join(&change.welcome, &parts()).unwrap();
        charlie.join(&change.welcome, &parts()).unwrap();
        let mut late = String::new();
        message(&mut late, &mut bob);
        let change = bob.stage_change(&ChangeRequest::default(), &parts()).unwrap();
        bob.confirm_change().unwrap();
        let _ = alice.process_commit(&change.commit, &parts()).unwrap();
        let _ = charlie.process_commit(&change.commit, &parts()).unwrap();
        let removed = [MemberId::from_bytes([3; 32])];
        let change =
            alice.stage_change(&ChangeRequest { added: &[], removed: &removed }, &parts()).unwrap();
        alice.apply();
        block(&mut text, &format!("group-{name}"), &mut alice);
        text.push_str("standing 2\n");
        text.push_str(&late);
        message(&mut text, &mut bob);
        text.push_str("confirm\n");
        message(&mut text, &mut charlie);
        let _ = charlie.process_commit(&change.commit, &parts()).unwrap();
        let _ = bob.process_commit(&change.commit, &parts()).unwrap();
        message(&mut text, &mut bob);
        block(&mut text, &format!("removed-{name}"), &mut charlie);
        text.push_str("standing removed\n");
        text.push_str(&late);
    }
    println!("{}", text.trim());
}

fn block(text: &mut String, name: &str, layer: &mut DhLayer) {
    let mut batch = Batch::new();
    layer.save(&mut batch.new_scope(scope())).unwrap();
    layer.apply();
    let records: BTreeMap<_, _> = batch.changes().map(|(_, key, change)| (key, change)).collect();
    writeln!(text, "\nlayer {name}").unwrap();
    for (key, change) in records {
        let value = match change {
            Change::Put(value) => value.expose(),
            Change::Delete => unreachable!("there is nothing to delete in a new store"),
        };
        writeln!(text, "record {} {}", hex::encode(key), hex::encode(value)).unwrap();
    }
}

fn message(text: &mut String, layer: &mut DhLayer) {
    let mut buffer = Buffer::new(b"attack at dawn");
    transact(|context| layer.seal(context, &mut buffer)).unwrap();
    writeln!(text, "message {}", hex::encode(buffer.as_slice())).unwrap();
}
