//! Layers that were stored once come back and open what was sent to them, and public keys and setups are read
//! as they were written. A change that this test does not pass locks out whoever has a store.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fmt::Write as _;

use cc_core::{
    Attachment, Buffer, ChangeRequest, CipherLayer, Configure, GroupLayer, Header, Kind,
    LayerContext, MemberId, NewMember, PartContext, Restore, SecretBytes, StackId,
    store::{Batch, Change, MemoryStore, Scope, Store},
};
use cc_mlkem_layer::{HybridKeyPair, HybridPublicKey, MlKemLayer, ParameterSet};

/// Blocks of lines, each block a layer: its name, its public key, its records, and messages in the order in
/// which they are to be opened. `confirm` confirms the staged change, `accept` makes the layer anew of its
/// private key, the other side's public key and a setup.
const VERSION_1: &str = include_str!("fixtures/version-1.txt");
const TEXT: &[u8] = b"attack at dawn";

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

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
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
                batch.put(&scope(), bytes(key), SecretBytes::new(bytes(value)));
            }
        }
        let mut store = MemoryStore::new();
        store.commit(&batch).unwrap();
        let mut layer = MlKemLayer::restore(&scope().of(&store)).ok();
        let mut opened = 0;
        for line in &lines {
            match line[..] {
                ["layer", name] => names.push(name),
                ["record", ..] => {}
                ["accept", set, private, peer, setup] => {
                    let set =
                        if set == "768" { ParameterSet::MlKem768 } else { ParameterSet::MlKem1024 };
                    let keys = HybridKeyPair::from_private_key(set, &bytes(private)).unwrap();
                    let peer = HybridPublicKey::from_bytes(&bytes(peer)).unwrap();
                    layer = Some(MlKemLayer::accept(keys, peer, &bytes(setup)).unwrap());
                }
                ["key", key] => {
                    assert_eq!(hex::encode(layer.as_ref().unwrap().public_key().to_bytes()), key);
                }
                ["message", wire] => {
                    let layer = layer.as_mut().unwrap();
                    let mut buffer = Buffer::new(&bytes(wire));
                    let _ = transact(|context| layer.open(context, &mut buffer)).unwrap();
                    layer.apply();
                    assert_eq!(buffer.as_slice(), TEXT);
                    opened += 1;
                }
                ["confirm"] => {
                    let layer = layer.as_mut().unwrap();
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
    for (name, set) in [("768", ParameterSet::MlKem768), ("1024", ParameterSet::MlKem1024)] {
        let [a, b] = [(); 2].map(|()| HybridKeyPair::generate(set).unwrap());
        let (of_a, of_b) = (a.public_key().clone(), b.public_key().clone());
        let private = hex::encode(b.private_key().expose());
        let (mut alice, setup) = MlKemLayer::initiate(a, of_b.clone()).unwrap();
        let mut bob = MlKemLayer::accept(b, of_a.clone(), &setup).unwrap();
        let peer = hex::encode(of_a.to_bytes());
        writeln!(text, "\nlayer accepted-{name}").unwrap();
        writeln!(text, "accept {name} {private} {peer} {}", hex::encode(&setup)).unwrap();
        writeln!(text, "key {}", hex::encode(of_b.to_bytes())).unwrap();
        message(&mut text, &mut alice);
        for _ in 0..2 {
            alice.settings().renew().unwrap();
            for swap in [false, true] {
                let (from, to) = if swap { (&mut bob, &mut alice) } else { (&mut alice, &mut bob) };
                let wire = message(&mut String::new(), from);
                let mut buffer = Buffer::new(&wire);
                let _ = transact(|context| to.open(context, &mut buffer)).unwrap();
                to.apply();
            }
        }
        block(&mut text, &format!("pair-{name}"), &mut alice);
        message(&mut text, &mut bob);
        bob.settings().renew().unwrap();
        message(&mut text, &mut bob);

        let [mut alice, mut bob] = [1, 2].map(|id| {
            let mut layer = MlKemLayer::group(HybridKeyPair::generate(set).unwrap());
            let member = Some(MemberId::from_bytes([id; 32]));
            let stack = StackId::of(&[]);
            layer.attach(&Attachment { stack, position: 0, member, founding: id == 1 }).unwrap();
            layer
        });
        let part = bob.key_package(&parts()).unwrap();
        let id = MemberId::from_bytes([2; 32]);
        let added = [NewMember { id, part: &part, binding: [0; 32] }];
        let change =
            alice.stage_change(&ChangeRequest { added: &added, removed: &[] }, &parts()).unwrap();
        alice.confirm_change().unwrap();
        bob.join(&change.welcome, &parts()).unwrap();
        let change = alice.stage_change(&ChangeRequest::default(), &parts()).unwrap();
        alice.apply();
        block(&mut text, &format!("group-{name}"), &mut alice);
        message(&mut text, &mut bob);
        text.push_str("confirm\n");
        let _ = bob.process_commit(&change.commit, &parts()).unwrap();
        message(&mut text, &mut bob);
    }
    println!("{}", text.trim());
}

fn block(text: &mut String, name: &str, layer: &mut MlKemLayer) {
    let mut batch = Batch::new();
    layer.save(&mut batch.new_scope(scope())).unwrap();
    layer.apply();
    writeln!(text, "\nlayer {name}").unwrap();
    writeln!(text, "key {}", hex::encode(layer.public_key().to_bytes())).unwrap();
    for (_, key, change) in batch.changes() {
        let Change::Put(value) = change else {
            unreachable!("there is nothing to delete in a new store")
        };
        writeln!(text, "record {} {}", hex::encode(key), hex::encode(value.expose())).unwrap();
    }
}

fn message(text: &mut String, layer: &mut MlKemLayer) -> Vec<u8> {
    let mut buffer = Buffer::new(TEXT);
    transact(|context| layer.seal(context, &mut buffer)).unwrap();
    layer.apply();
    writeln!(text, "message {}", hex::encode(buffer.as_slice())).unwrap();
    buffer.into_vec()
}
