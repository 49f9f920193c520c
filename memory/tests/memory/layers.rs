//! What the other process does: everything is sealed, opened and dropped, in both directions.

use std::sync::{Arc, Mutex};

use cc_aes_layer::{AesKey, AesLayer, Argon2Params, Password, decrypt_stream, encrypt_stream};
use cc_core::{
    CipherLayer, Secret, SecretBytes, random,
    store::{Batch, Scope, Store as _},
};
use cc_dh_layer::{Curve, DhKeyPair, DhLayer};
use cc_manager::{CascadingCipherManager, Catalog, Change, Incoming, IncomingWelcome};
use cc_mlkem_layer::{HybridKeyPair, MlKemLayer, ParameterSet, Schedule};
use cc_mls_layer::{MlsConfig, MlsIdentity, MlsLayer};
use cc_signal_layer::{Account, Agree, Limits, SignalLayer};
use cc_store_sqlite::{Credential, SqliteStore};
use openmls::prelude::MlsGroupState;
use serde_json::Value;

use cc_memory::{Known, Log, LoggedStore, Public, all, part, public_of};

pub(crate) fn run(name: &str, log: &Log) {
    match name {
        "aes" => {
            for bits in [128, 256] {
                let key = if bits == 128 { AesKey::generate_128() } else { AesKey::generate() };
                let key = key.unwrap();
                pair(log, NOTHING, AesLayer::new(key.duplicate()), AesLayer::new(key));
            }
        }
        "aes password" => {
            let password = Secret::<24>::random().unwrap();
            let layer = || {
                let password = Password::new(password.expose()).unwrap();
                AesLayer::password(password.with_params(Argon2Params::LEAST))
            };
            pair(log, NOTHING, layer(), layer());
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
                pair(log, NOTHING, a, b);
            }
        }
        "dh group" => {
            let layer = |_: &str, _| {
                let keys = DhKeyPair::generate(Curve::X25519).unwrap();
                log.public(&keys.public_key().to_bytes());
                DhLayer::group(keys)
            };
            group(
                log,
                |key, value| public_of(ROOT_GROUP, key, value),
                &Catalog::new().with::<DhLayer>(),
                layer,
            );
        }
        "mlkem pair" => {
            let [a, b] = [(); 2].map(|()| mlkem_keys(log));
            let (of_a, of_b) = (a.public_key().clone(), b.public_key().clone());
            let (a, setup) = MlKemLayer::initiate(a, of_b).unwrap();
            log.public(&setup);
            let b = MlKemLayer::accept(b, of_a, &setup).unwrap();
            let schedule = Schedule { messages: 2, seconds: 0 };
            pair(
                log,
                |key, value| public_of(MLKEM, key, value),
                a.with_schedule(schedule),
                b.with_schedule(schedule),
            );
        }
        "mlkem group" => {
            let layer = |_: &str, _| MlKemLayer::group(mlkem_keys(log));
            group(
                log,
                |key, value| public_of(ROOT_GROUP, key, value),
                &Catalog::new().with::<MlKemLayer>(),
                layer,
            );
        }
        "signal group" => {
            let layer = |_: &str, _| {
                let account = Account::generate().unwrap();
                log.public(&account.identity().to_bytes());
                SignalLayer::group(account)
            };
            group(
                log,
                |key, value| public_of(SIGNAL_GROUP, key, value),
                &Catalog::new().with::<SignalLayer>(),
                layer,
            );
        }
        "signal pair" => {
            let (alice, bob) = (Account::generate().unwrap(), Account::generate().unwrap());
            let (of_alice, of_bob) = (*alice.identity(), bob.bundle());
            log.public(&of_bob.to_bytes());
            log.public(&of_alice.to_bytes());
            let limits = Limits::default();
            let alice = SignalLayer::initiate(alice, &of_bob, Agree::Pqxdh, limits).unwrap();
            pair(
                log,
                |key, value| public_of(SIGNAL, key, value),
                alice,
                SignalLayer::respond(bob, of_alice, limits),
            );
        }
        "mls" => {
            // The ratchets of every message are stored.
            let config = MlsConfig::default().with_checkpoint_interval(1);
            let layer = |name: &str, founder| {
                let identity = MlsIdentity::generate(name).unwrap();
                if founder {
                    MlsLayer::create_with("Dev Team", identity, config.clone()).unwrap()
                } else {
                    MlsLayer::member_with(identity, config.clone()).unwrap()
                }
            };
            group(log, public_of_mls, &Catalog::new().with::<MlsLayer>(), layer);
        }
        "sqlite" => sqlite(log),
        other => panic!("no such conversation: {other}"),
    }
}

const NOTHING: Public = |_, _| Vec::new();

/// The number, the digests of the history, the commit and the roster, and the authenticator:
/// `group/persistence.rs` of `cc-root-group`. The secrets are between them.
const ROOT_GROUP: &[Known] = &[
    part(b"generation", 0..106),
    part(b"generation", 234..266),
    part(b"change", 0..106),
    part(b"change", 234..266),
];

/// Which epoch is answered, and the digest of a header: `pairwise/persistence.rs` of `cc-mlkem-layer`.
const MLKEM: &[Known] = &[part(b"peer", 98..138)];

/// The public keys that a session is bound to, the ratchet key of the peer where this end is to answer (as
/// both are when the session is saved for the last time), and the digests of initial messages.
const SIGNAL: &[Known] = &[
    part(b"s", 0..160),
    Known { kind: b"s", bytes: 214..246, only_if: Some((213, 1)) },
    all(b"ae"),
];

/// The leaf, the tree, hashes of the history, the context, the index of the leaf, digests of commits and
/// counters: `Kind` in `storage.rs` of `cc-mls-layer`.
/// Public keys, digests, the id of this member, and how often it took part: `group/persistence.rs` of
/// `cc-signal-layer`.
const SIGNAL_GROUP: &[Known] = &[
    all(b"b"),
    all(b"nb"),
    part(b"p", 0..32),
    part(b"e", 0..64),
    part(b"n", 0..41),
    part(b"g", 0..33),
];

const MLS: &[Known] = &[
    all(&[2]),
    all(&[4]),
    all(&[5]),
    all(&[6]),
    all(&[7]),
    all(&[11]),
    all(&[33]),
    all(&[36]),
    all(&[37]),
];

/// Also what all members get of a change that is staged, in a form of openmls's own; of one that is discarded they do not.
fn public_of_mls(key: &[u8], value: &[u8]) -> Vec<Vec<u8>> {
    let mut public = public_of(MLS, key, value);
    if let ([GROUP_STATE, ..], Some((_format, state))) = (key, value.split_first()) {
        let state: MlsGroupState = postcard::from_bytes(state).unwrap();
        not_secret(&serde_json::to_value(&state).unwrap(), &mut public);
    }
    public
}

/// `Kind::GroupState` in `storage.rs` of `cc-mls-layer`.
const GROUP_STATE: u8 = 8;

/// All bytes of a state but those of secrets and private keys.
fn not_secret(state: &Value, public: &mut Vec<Vec<u8>>) {
    const SECRET: [&str; 6] = [
        "confirmation_key",
        "group_epoch_secrets",
        "membership_key",
        "private_key",
        "secret_tree",
        "sender_data_secret",
    ];
    match state {
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(name, _)| !SECRET.contains(&name.as_str()));
            fields.for_each(|(_, value)| not_secret(value, public));
        }
        Value::Array(values) => match values.iter().map(byte).collect() {
            Some(bytes) => public.push(bytes),
            None => values.iter().for_each(|value| not_secret(value, public)),
        },
        _ => {}
    }
}

fn byte(value: &Value) -> Option<u8> {
    value.as_u64()?.try_into().ok()
}

fn mlkem_keys(log: &Log) -> HybridKeyPair {
    let keys = HybridKeyPair::generate(ParameterSet::MlKem768).unwrap();
    log.public(&keys.public_key().to_bytes());
    keys
}

/// A conversation of two.
fn pair<L: CipherLayer>(log: &Log, public: Public, alice: L, bob: L) {
    let mut alice = Member::new(log, "alice", public, alice);
    let mut bob = Member::new(log, "bob", public, bob);
    for _ in 0..3 {
        exchange(log, &mut alice, &mut bob);
        exchange(log, &mut bob, &mut alice);
    }
}

/// A group that changes in every way, of three in the end, over a layer that contributes nothing.
fn group<L: CipherLayer>(
    log: &Log,
    public: Public,
    catalog: &Catalog,
    layer: impl Fn(&str, bool) -> L,
) {
    let mut alice = Member::new(log, "alice", public, layer("Alice", true));
    let mut bob = Member::new(log, "bob", public, layer("Bob", false));
    let mut charlie = Member::new(log, "charlie", public, layer("Charlie", false));
    invite(log, &mut alice, &mut [], &mut bob);
    exchange(log, &mut alice, &mut bob);
    exchange(log, &mut bob, &mut alice);
    for changes_bob in [true, false] {
        let (one, other) =
            if changes_bob { (&mut bob, &mut alice) } else { (&mut alice, &mut bob) };
        // The first is made in vain.
        let change = one.manager.update().unwrap();
        log.public(&change.commit);
        one.manager.discard(change.id()).unwrap();
        let change = one.manager.update().unwrap();
        apply(log, one, &mut [other], &change);
        exchange(log, one, other);
        exchange(log, other, one);
        bob.restart(catalog);
    }
    invite(log, &mut bob, &mut [&mut alice], &mut charlie);
    exchange(log, &mut charlie, &mut alice);
    let leaves = bob.manager.member_id().unwrap();
    let change = alice.manager.remove_members([leaves]).unwrap();
    apply(log, &mut alice, &mut [&mut charlie, &mut bob], &change);
    exchange(log, &mut alice, &mut charlie);
    for member in [&alice, &charlie] {
        // Identifiers, which are no secrets.
        log.public(member.manager.member_id().unwrap().as_bytes());
    }
    log.public(leaves.as_bytes());
}

fn invite(log: &Log, by: &mut Member, others: &mut [&mut Member], whom: &mut Member) {
    let package = whom.manager.key_package().unwrap();
    log.public(&package);
    let change = by.manager.add_members([package]).unwrap();
    let welcome = apply(log, by, others, &change);
    let joined = whom.manager.receive_welcome(welcome.unwrap()).unwrap();
    assert!(matches!(joined, IncomingWelcome::Joined(_)), "{joined:?}");
}

/// The change comes into force, for all.
fn apply(
    log: &Log,
    by: &mut Member,
    others: &mut [&mut Member],
    change: &Change,
) -> Option<Vec<u8>> {
    log.public(change.id().as_bytes());
    log.public(&change.commit);
    let welcome = by.manager.confirm(change.id()).unwrap().welcome;
    log.public(welcome.as_deref().unwrap_or_default());
    for other in others {
        let commit = other.manager.receive(&change.commit).unwrap();
        assert!(matches!(commit, Incoming::Commit(_)), "{commit:?}");
    }
    if let Some(secret) = by.manager.export_secret(b"test", b"").unwrap() {
        log.secret("exported", secret.expose());
    }
    welcome
}

struct Member {
    name: &'static str,
    store: Arc<Mutex<LoggedStore>>,
    manager: CascadingCipherManager,
}

impl Member {
    fn new(log: &Log, name: &'static str, public: Public, layer: impl CipherLayer) -> Self {
        let store = Arc::new(Mutex::new(log.store(name, public)));
        let manager = CascadingCipherManager::builder().layer(layer);
        let manager = manager.create(Arc::clone(&store), name).unwrap();
        Self { name, store, manager }
    }

    fn restart(&mut self, catalog: &Catalog) {
        let store = Arc::clone(&self.store);
        self.manager = CascadingCipherManager::open(store, self.name, catalog).unwrap();
    }
}

/// Two messages, which come in the wrong order.
fn exchange(log: &Log, from: &mut Member, to: &mut Member) {
    let late = from.manager.encrypt("late").unwrap();
    let wire = from.manager.encrypt("text").unwrap();
    for (wire, text) in [(wire, "text"), (late, "late")] {
        log.public(&wire);
        assert_eq!(to.manager.decrypt(&wire).unwrap(), text);
    }
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
