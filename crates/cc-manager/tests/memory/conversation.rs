//! What the other process does: everything is sealed, opened and dropped, in both directions.

use std::sync::{Arc, Mutex};

use cc_aes_layer::{AesKey, AesLayer, Argon2Params, Password, decrypt_stream, encrypt_stream};
use cc_core::{
    CipherLayer, Secret, SecretBytes, random,
    store::{Batch, Scope, Store as _},
};
use cc_dh_layer::{Curve, DhKeyPair, DhLayer};
use cc_manager::CascadingCipherManager;
use cc_mls_layer::{MlsIdentity, MlsLayer};
use cc_signal_layer::{Account, Agree, Limits, SignalLayer};
use cc_store_sqlite::{Credential, SqliteStore};

use crate::{
    common::Follow as _,
    log::{Known, Log, all, part},
};

pub(crate) fn run(name: &str, log: &Log) {
    match name {
        "aes" => {
            for bits in [128, 256] {
                let key = if bits == 128 { AesKey::generate_128() } else { AesKey::generate() };
                let key = key.unwrap();
                pair(log, &[], AesLayer::new(key.duplicate()), AesLayer::new(key));
            }
        }
        "aes password" => {
            let password = Secret::<24>::random().unwrap();
            let layer = || {
                let password = Password::new(password.expose()).unwrap();
                AesLayer::password(password.with_params(Argon2Params::LEAST))
            };
            pair(log, &[], layer(), layer());
        }
        "aes stream" => stream(log),
        "dh pair" => {
            for curve in [Curve::X25519, Curve::P256] {
                let [a, b] = [(); 2].map(|()| DhKeyPair::generate(curve).unwrap());
                let (of_a, of_b) = (*a.public_key(), *b.public_key());
                log.public(&of_a.to_bytes());
                log.public(&of_b.to_bytes());
                let [a, b] = [(a, of_b), (b, of_a)]
                    .map(|(keys, peer)| DhLayer::pairwise(keys, peer).unwrap());
                pair(log, &[], a, b);
            }
        }
        "dh group" => group(log, DH, |_, _| dh_group(log)),
        "signal pair" => {
            let (alice, bob) = (Account::generate().unwrap(), Account::generate().unwrap());
            let (of_alice, of_bob) = (*alice.identity(), bob.bundle());
            log.public(&of_bob.to_bytes());
            log.public(&of_alice.to_bytes());
            let limits = Limits::default();
            let alice = SignalLayer::initiate(alice, &of_bob, Agree::Pqxdh, limits).unwrap();
            pair(log, SIGNAL, alice, SignalLayer::respond(bob, of_alice, limits));
        }
        "mls" => group(log, MLS, |name, founder| {
            let identity = MlsIdentity::generate(name).unwrap();
            if founder {
                MlsLayer::create("Dev Team", identity).unwrap()
            } else {
                MlsLayer::member(identity).unwrap()
            }
        }),
        "sqlite" => sqlite(log),
        other => panic!("no such conversation: {other}"),
    }
}

/// The number, the digests of the history, the commit and the roster, and the authenticator:
/// `group/persistence.rs` of `cc-dh-layer`. The secrets are between them.
const DH: &[Known] = &[
    part(b"generation", 0..106),
    part(b"generation", 234..266),
    part(b"change", 0..106),
    part(b"change", 234..266),
];

/// The public keys that a session is bound to, the ratchet key of the peer where this end is to answer (as
/// both are when the session is saved for the last time), and the digests of initial messages.
const SIGNAL: &[Known] = &[
    part(b"s", 0..160),
    Known { kind: b"s", bytes: 214..246, only_if: Some((213, 1)) },
    all(b"ae"),
];

/// The leaf, the tree, hashes of the history, the context, the index of the leaf, digests of commits and
/// counters: `Kind` in `storage.rs` of `cc-mls-layer`.
const MLS: &[Known] =
    &[all(&[2]), all(&[4]), all(&[5]), all(&[6]), all(&[7]), all(&[11]), all(&[33]), all(&[36])];

fn dh_group(log: &Log) -> DhLayer {
    let keys = DhKeyPair::generate(Curve::X25519).unwrap();
    log.public(&keys.public_key().to_bytes());
    DhLayer::group(keys)
}

/// A conversation of two.
fn pair(log: &Log, known: &'static [Known], alice: impl CipherLayer, bob: impl CipherLayer) {
    let mut alice = manager(log, "alice", known, alice);
    let mut bob = manager(log, "bob", known, bob);
    for _ in 0..3 {
        exchange(log, &mut alice, &mut bob);
        exchange(log, &mut bob, &mut alice);
    }
}

/// A group of two that change it, over a layer that contributes nothing.
fn group<L: CipherLayer>(log: &Log, known: &'static [Known], layer: impl Fn(&str, bool) -> L) {
    let mut alice = manager(log, "alice", known, layer("Alice", true));
    let mut bob = manager(log, "bob", known, layer("Bob", false));
    let package = bob.key_package().unwrap();
    log.public(&package);
    let change = alice.add_members([package]).unwrap();
    let welcome = alice.confirm(change.id()).unwrap().welcome.unwrap();
    log.public(change.id().as_bytes());
    log.public(&change.commit);
    log.public(&welcome);
    bob.join(&welcome).unwrap();
    exchange(log, &mut alice, &mut bob);
    exchange(log, &mut bob, &mut alice);
    for changes_bob in [true, false] {
        let (one, other) =
            if changes_bob { (&mut bob, &mut alice) } else { (&mut alice, &mut bob) };
        let change = one.update().unwrap();
        one.confirm(change.id()).unwrap();
        log.public(change.id().as_bytes());
        log.public(&change.commit);
        other.process(&change.commit).unwrap();
        exchange(log, one, other);
        exchange(log, other, one);
    }
    for member in [&alice, &bob] {
        // Identifiers, which are no secrets.
        log.public(member.member_id().unwrap().as_bytes());
    }
}

fn manager(
    log: &Log,
    name: &'static str,
    known: &'static [Known],
    layer: impl CipherLayer,
) -> CascadingCipherManager {
    let store = Arc::new(Mutex::new(log.store(name, known)));
    CascadingCipherManager::builder().layer(layer).create(store, name).unwrap()
}

fn exchange(log: &Log, from: &mut CascadingCipherManager, to: &mut CascadingCipherManager) {
    let wire = from.encrypt("text").unwrap();
    log.public(&wire);
    let message = to.decrypt(&wire).unwrap();
    assert_eq!(message, "text");
}

fn stream(log: &Log) {
    let plaintext = vec![1; 200_000];
    for key in [AesKey::generate().unwrap(), AesKey::generate_128().unwrap()] {
        log.secret("key", key.expose());
        let (mut sealed, mut opened) = (Vec::new(), Vec::new());
        encrypt_stream(&key, b"", plaintext.as_slice(), &mut sealed).unwrap();
        decrypt_stream(&key, b"", sealed.as_slice(), &mut opened).unwrap();
        assert_eq!(opened, plaintext);
    }
}

fn sqlite(log: &Log) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.sqlite");
    let key = Secret::<32>::random().unwrap();
    let passphrase = Secret::<32>::random().unwrap();
    log.secret("key", key.expose());
    log.secret("passphrase", passphrase.expose());
    let with_passphrase =
        || Credential::passphrase_with(passphrase.expose(), Argon2Params::LEAST).unwrap();
    let mut store = SqliteStore::create(&path, Credential::key(key.duplicate())).unwrap();
    for number in 0..3 {
        let mut batch = Batch::new();
        for record in 0u8..20 {
            let mut value = vec![0; 64];
            random::fill(&mut value).unwrap();
            log.secret(&format!("record {record}, {number}"), &value);
            batch.put(&Scope::new("s"), [record], SecretBytes::new(value));
        }
        store.commit(&batch).unwrap();
        store.checkpoint().unwrap();
    }
    store.change_credential(with_passphrase()).unwrap();
    drop(store);
    let store = SqliteStore::open(&path, with_passphrase()).unwrap();
    assert_eq!(Scope::new("s").of(&store).list(b"").unwrap().len(), 20);
    assert!(store.get(&Scope::new("s"), &[1]).unwrap().is_some());
}
