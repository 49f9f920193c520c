//! What each layer of each recommended stack is worth by itself: an attacker has all secrets of all other layers,
//! which is what breaking their primitives would give, and still neither reads nor forges.
//!
//! Two controls: with the secrets of all layers the same attacker reads and forges; and where the layer that is
//! left to it contributes nothing (`hollow.rs`), it does so too.

#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "a test fails by panicking")]

mod attacker;
mod hollow;
mod world;

use attacker::Stolen;
use cc_core::{Buffer, LayerContext};
use world::{World, names};

const TEXT: &[u8] = b"the text that nobody else is to read";

/// What a layer adds to the last message of Alice's.
fn overhead(world: &World, at: usize) -> usize {
    let report = &world.alice.last_report()[at];
    report.bytes_out - report.bytes_in
}

/// Whether an attacker with all secrets of Bob's but those of the layer at `missing` reads a message.
fn reads(world: &mut World, missing: usize, other: &mut Stolen) -> bool {
    let mut stolen = Stolen::from(&world.of_bob);
    let wire = world.alice.encrypt(TEXT).unwrap();
    let overhead = overhead(world, missing);
    let guesses = stolen.attack(&wire, &world.associated_data, missing, overhead, other);
    // And nothing that the layers above leave shows any of it.
    let left = stolen.strip(&wire, &world.associated_data, missing + 1).unwrap();
    let shows = left.windows(8).any(|shown| TEXT.windows(8).any(|part| part == shown));
    // Bob reads it: it was a good one.
    assert_eq!(world.bob_takes(&wire).unwrap(), TEXT);
    shows || guesses.iter().any(|guess| guess == TEXT)
}

/// Whether an attacker with all secrets of Alice's but those of the layer at `missing` makes Bob take a message
/// for hers. In the place of the layer: nothing, framings, those of a genuine message, somebody else's layer.
fn forges(world: &mut World, missing: usize, other: &mut Stolen) -> bool {
    let genuine = world.alice.encrypt(TEXT).unwrap();
    let overhead = overhead(world, missing);
    let of_genuine =
        Stolen::from(&world.of_bob).strip(&genuine, &world.associated_data, missing + 1).unwrap();
    let mut substitutes: Vec<Option<Vec<u8>>> = vec![None, Some(Vec::new())];
    substitutes.push(Some(hollow::framing(overhead)));
    substitutes.push(Some(of_genuine[..overhead].to_vec()));
    let mut forged = Vec::new();
    for front in substitutes {
        let wire = Stolen::from(&world.of_alice).forge(
            b"forged",
            &world.associated_data,
            Some(missing),
            &mut |context, bytes| match &front {
                Some(front) => Some([&front[..], &bytes].concat()),
                None => {
                    let chains = other.own_chains();
                    let chain = chains[missing].as_ref();
                    let context = LayerContext { chain, ..*context };
                    let mut buffer = Buffer::new(&bytes);
                    let sealed = other.layers[missing].seal(&context, &mut buffer);
                    other.layers[missing].apply();
                    sealed.ok().map(|()| buffer.into_vec())
                }
            },
        );
        forged.extend(wire);
    }
    // The genuine layer's bytes as they are, under the layers above anew.
    let wire = Stolen::from(&world.of_alice).forge(
        b"forged",
        &world.associated_data,
        Some(missing),
        &mut |_, _| {
            let mut changed = of_genuine.clone();
            let middle = changed.len() / 2;
            changed[middle] ^= 1;
            Some(changed)
        },
    );
    forged.extend(wire);
    assert!(forged.len() >= 4);
    let taken = forged.iter().any(|wire| world.bob_takes(wire).is_some());
    assert!(taken || world.bob_takes(&genuine).is_some(), "the genuine one still opens");
    taken
}

#[test]
fn whoever_has_all_layers_but_one_reads_nothing_and_forges_nothing() {
    for name in names() {
        let mut world = World::new(name, None);
        // Another group or pair, whose layers serve as somebody else's.
        let elsewhere = World::new(name, None);
        for missing in 0..world.alice.layer_count() {
            let mut other = Stolen::from(&elsewhere.of_bob);
            assert!(!reads(&mut world, missing, &mut other), "{name} {missing}");
            let mut other = Stolen::from(&elsewhere.of_alice);
            assert!(!forges(&mut world, missing, &mut other), "{name} {missing}");
        }
    }
}

/// The first control: the attacker lacks nothing but the secrets of that one layer.
#[test]
fn whoever_has_all_layers_reads_and_forges() {
    for name in names() {
        let mut world = World::new(name, None);
        let wire = world.alice.encrypt(TEXT).unwrap();
        let stripped = Stolen::from(&world.of_bob).strip(&wire, &world.associated_data, 0);
        assert_eq!(stripped.as_deref(), Some(TEXT), "{name}");
        let mut stolen = Stolen::from(&world.of_alice);
        let wire = stolen.forge(b"forged", &world.associated_data, None, &mut |_, _| None).unwrap();
        assert_eq!(world.bob_takes(&wire).as_deref(), Some(&b"forged"[..]), "{name}");
    }
}

/// An inherited key is no secret of its own: whoever has what the layers below contribute has it, in whatever layer.
/// So an inherited AES layer is a second cipher around the others, and falls with all of those that contribute.
#[test]
fn an_inherited_key_opens_with_what_is_contributed_below() {
    for name in names() {
        let mut world = World::new(name, None);
        let wire = world.alice.encrypt(TEXT).unwrap();
        let mut stolen = Stolen::from(&world.of_bob);
        let top = stolen.len() - 1;
        assert!(stolen.layers[top].properties().inherits);
        // One that was just made, and knows nothing.
        stolen.layers[top] = Box::new(cc_aes_layer::AesLayer::inherited());
        let opened = stolen.strip(&wire, &world.associated_data, 0);
        assert_eq!(opened.as_deref(), Some(TEXT), "{name}");
    }
}

/// The second control: a layer that contributes nothing is found out, for reading and for forging.
#[test]
fn a_layer_that_contributes_nothing_is_found_out() {
    for name in names() {
        let layers = World::new(name, None).alice.layer_count();
        for hollow in 0..layers {
            let mut world = World::new(name, Some(hollow));
            let elsewhere = World::new(name, Some(hollow));
            let mut other = Stolen::from(&elsewhere.of_bob);
            assert!(reads(&mut world, hollow, &mut other), "{name} {hollow}");
            let mut other = Stolen::from(&elsewhere.of_alice);
            assert!(forges(&mut world, hollow, &mut other), "{name} {hollow}");
        }
    }
}

/// A member has all that members share. Where a layer authenticates senders, no member speaks for another with
/// all of the other's secrets but those of that layer.
#[test]
fn no_member_speaks_for_another_without_the_layer_that_authenticates() {
    let mut tried = 0;
    for name in cc_client::Recipe::NAMES {
        let mut world = World::new(name, None);
        let layers = Stolen::from(&world.of_alice).layers;
        let authenticates: Vec<_> =
            layers.iter().map(|layer| layer.properties().authenticates_sender).collect();
        for (missing, _) in authenticates.iter().enumerate().filter(|(_, yes)| **yes) {
            let mut charlie = Stolen::from(&world.of_charlie);
            let mut alice = Stolen::from(&world.of_alice);
            let wire = alice.forge(
                b"forged",
                &world.associated_data,
                Some(missing),
                &mut |context, bytes| {
                    let mut buffer = Buffer::new(&bytes);
                    charlie.layers[missing].seal(context, &mut buffer).unwrap();
                    charlie.layers[missing].apply();
                    Some(buffer.into_vec())
                },
            );
            assert_eq!(world.bob_takes(&wire.unwrap()), None, "{name} {missing}");
            tried += 1;
        }
    }
    assert_eq!(tried, 4, "MLS three times, and Signal");
}

/// What the broken cipher of the upper layers tells of those below: the exact length of their bytes, and so of
/// the text; and which of their bytes are the same in every message.
#[test]
fn a_broken_layer_tells_the_length_of_what_is_below_and_little_more() {
    for name in names() {
        let mut world = World::new(name, None);
        let layers = world.alice.layer_count();
        for at in 0..layers {
            let mut left = Vec::new();
            for _ in 0..6 {
                let mut stolen = Stolen::from(&world.of_bob);
                let wire = world.alice.encrypt(TEXT).unwrap();
                let report = world.alice.last_report()[at].clone();
                let bytes = stolen.strip(&wire, &world.associated_data, at + 1).unwrap();
                assert_eq!(bytes.len(), report.bytes_out, "{name} {at}");
                left.push(bytes);
            }
            let len = left.iter().map(Vec::len).min().unwrap();
            let same =
                (0..len).filter(|i| left.iter().all(|bytes| bytes[*i] == left[0][*i])).count();
            let expected = match world.alice.last_report()[at].name {
                // The generation.
                "ECDH P-256, group" | "ECDH X25519, group" | "X25519 and ML-KEM-768, group" => 8,
                // The header of a PrivateMessage (RFC 9420 section 6.3): group id, epoch, the digest that binds the
                // stack; and lengths.
                "MLS (RFC 9420)" => 68,
                // A form, and the epochs of both sides.
                "X25519 and ML-KEM-768, pairwise" => 17,
                // What kind of message it is.
                "Signal, pair from a bundle" => 1,
                "Signal, group" | "ECDH P-256, pairwise" | "AES-256-GCM (inherited key)" => 0,
                name => panic!("{name}"),
            };
            assert_eq!(same, expected, "{name} {at}");
        }
    }
}

/// `cargo test -p cc-client --test stacks figures -- --ignored --nocapture`
#[test]
#[ignore = "prints the figures of docs/stacks.md"]
fn figures() {
    const MESSAGES: usize = 2000;
    for name in names() {
        let mut world = World::in_memory(name);
        let layers = world.0.layer_count();
        let mut spent = vec![[0.0; 2]; layers];
        let mut bytes = vec![0; layers];
        let mut wire_len = 0;
        for _ in 0..MESSAGES {
            let wire = world.0.encrypt([7; 100]).unwrap();
            wire_len = wire.len();
            for (at, layer) in world.0.last_report().iter().enumerate() {
                bytes[at] = layer.bytes_out - layer.bytes_in;
                spent[at][0] += layer.elapsed.unwrap().as_secs_f64();
            }
            world.1.decrypt(&wire).unwrap();
            for (at, layer) in world.1.last_report().iter().enumerate() {
                spent[at][1] += layer.elapsed.unwrap().as_secs_f64();
            }
        }
        println!("{name}: 100 bytes of text are {wire_len} on the wire");
        for (at, layer) in world.0.last_report().iter().enumerate() {
            let [seal, open] = spent[at].map(|all| all / MESSAGES as f64 * 1e6);
            println!("  {}: +{} bytes, {seal:.1} us and {open:.1} us", layer.name, bytes[at]);
        }
    }
}

/// What members cost in the recipes for groups of any size: `cargo test --release -p cc-client --test stacks membership --
/// --ignored --nocapture`. Times are the fastest of three.
#[test]
#[ignore = "prints the figures of docs/stacks.md"]
fn membership_figures() {
    println!(
        "recipe         members  package  add: commit  welcome  stage  follow  join   remove: commit  stage  follow  message"
    );
    for members in [3, 50, 500] {
        for name in ["group", "post-quantum"] {
            membership_of(name, members);
        }
    }
}

/// A group of so many, to which one more comes, who goes again.
fn membership_of(name: &str, members: usize) {
    use std::time::Instant;

    use cc_client::Recipe;
    use cc_manager::{CascadingCipherManager, IncomingWelcome};

    let recipe = Recipe::named(name).unwrap();
    let person = |name: &str, founds| {
        let layers = recipe.layers(name, founds).unwrap();
        CascadingCipherManager::builder().layers(layers).build().unwrap()
    };
    let joins = |seat: &mut CascadingCipherManager, welcome: &[u8]| {
        assert!(matches!(seat.receive_welcome(welcome).unwrap(), IncomingWelcome::Joined(_)));
    };
    let mut alice = person("Alice", Some("A group"));
    let mut bob = person("Bob", None);
    let mut bundles = vec![bob.key_package().unwrap()];
    bundles.extend(
        (2..members).map(|at| person(&format!("member {at}"), None).key_package().unwrap()),
    );
    let change = alice.add_members(bundles).unwrap();
    let welcome = alice.confirm(change.id()).unwrap().welcome.unwrap();
    joins(&mut bob, &welcome);
    let millis = |start: Instant| start.elapsed().as_secs_f64() * 1e3;
    let mut fastest = [f64::INFINITY; 5];
    let (mut lengths, mut message) = ([0; 4], 0);
    for round in 0..3 {
        let mut carol = person(&format!("Carol {round}"), None);
        let package = carol.key_package().unwrap();
        lengths[0] = package.len();
        let id = carol.member_id().unwrap();
        let mut took = [0.0; 5];
        let start = Instant::now();
        let change = alice.add_members([&package]).unwrap();
        let (commit, change) = (change.commit.clone(), change.id());
        let welcome = alice.confirm(change).unwrap().welcome.unwrap();
        took[0] = millis(start);
        (lengths[1], lengths[2]) = (commit.len(), welcome.len());
        let start = Instant::now();
        bob.receive(&commit).unwrap();
        took[1] = millis(start);
        let start = Instant::now();
        joins(&mut carol, &welcome);
        took[2] = millis(start);
        let wire = alice.encrypt([7; 100]).unwrap();
        message = wire.len();
        assert_eq!(carol.decrypt(&wire).unwrap(), [7; 100]);
        assert_eq!(bob.decrypt(&wire).unwrap(), [7; 100]);
        let start = Instant::now();
        let change = alice.remove_members([id]).unwrap();
        let (commit, change) = (change.commit.clone(), change.id());
        alice.confirm(change).unwrap();
        took[3] = millis(start);
        lengths[3] = commit.len();
        let start = Instant::now();
        bob.receive(&commit).unwrap();
        took[4] = millis(start);
        fastest.iter_mut().zip(took).for_each(|(best, took)| *best = best.min(took));
    }
    let [package, commit, welcome, removal] = lengths;
    let [stage, follow, join, remove, leave] = fastest;
    println!(
        "{name:<14} {members:>7} {package:>8} {commit:>12} {welcome:>8} {stage:>6.1} {follow:>7.1} {join:>5.1} {removal:>15} {remove:>6.1} {leave:>7.1} {message:>8}"
    );
}
