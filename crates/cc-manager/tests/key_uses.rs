//! That the recorder of keys and nonces catches a member that goes back: what it sends from an old copy of
//! its state is sealed under message keys that were used before, except where random bytes of the message
//! go into the key or the nonce.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::common;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use cc_aes_layer::{AesKey, AesLayer};
use cc_core::{
    key_use::{self, KeyUse},
    store::MemoryStore,
};
use cc_dh_layer::DhLayer;
use cc_manager::{CascadingCipherManager, Catalog};
use cc_mls_layer::MlsLayer;
use cc_signal_layer::{Account, Agree, Limits, SignalLayer};
use common::{Follow as _, dh, mls};

type Shared = Arc<Mutex<MemoryStore>>;

const NAME: &str = "stack";

fn open(store: &Shared) -> CascadingCipherManager {
    let catalog = Catalog::new()
        .with::<AesLayer>()
        .with::<DhLayer>()
        .with::<MlsLayer>()
        .with::<SignalLayer>();
    CascadingCipherManager::open(Arc::clone(store), NAME, &catalog).unwrap()
}

fn copy(store: &Shared) -> Shared {
    Arc::new(Mutex::new(store.lock().unwrap().reopened()))
}

fn aes() -> AesLayer {
    AesLayer::new(AesKey::copy_from(&[7; 32]).unwrap())
}

/// A member of a group of two, and the other one.
fn group() -> (Shared, CascadingCipherManager) {
    let person = |name, founder| {
        let store = Shared::default();
        let manager = CascadingCipherManager::builder()
            .layer(aes())
            .layer(dh())
            .layer(SignalLayer::group(Account::generate().unwrap()))
            .layer(mls(name, founder))
            .create(Arc::clone(&store), NAME)
            .unwrap();
        (store, manager)
    };
    let ((store, mut alice), (_, mut bob)) = (person("Alice", true), person("Bob", false));
    let change = alice.add_members([bob.key_package().unwrap()]).unwrap();
    let welcome = alice.confirm(change.id()).unwrap().welcome.unwrap();
    bob.join(&welcome).unwrap();
    (store, bob)
}

/// One of two, and the other one.
fn pair() -> (Shared, CascadingCipherManager) {
    let store = Shared::default();
    let (alice, bob) = (Account::generate().unwrap(), Account::generate().unwrap());
    let (identity, bundle) = (*alice.identity(), bob.bundle());
    let limits = Limits::default();
    let manager = |signal| CascadingCipherManager::builder().layer(aes()).layer(signal);
    let alice = SignalLayer::initiate(alice, &bundle, Agree::Pqxdh, limits).unwrap();
    manager(alice).create(Arc::clone(&store), NAME).unwrap();
    (store, manager(SignalLayer::respond(bob, identity, limits)).build().unwrap())
}

/// What sealed the message, which `reader` gets where there is one.
fn send(
    sender: &mut CascadingCipherManager,
    reader: Option<&mut CascadingCipherManager>,
    text: &str,
) -> Vec<KeyUse> {
    key_use::start();
    let wire = sender.encrypt(text).unwrap();
    let uses = key_use::take();
    if let Some(reader) = reader {
        assert_eq!(reader.decrypt(&wire).unwrap(), text);
    }
    uses
}

fn of<'a>(what: &str, uses: &'a [KeyUse]) -> BTreeSet<&'a KeyUse> {
    uses.iter().filter(|one| one.what() == what).collect()
}

/// Sends, restarts and sends, and then sends once more from an old copy. `once` are the ciphers whose keys
/// encrypt once, `random` those that seal under random bytes of each message.
fn go_back((store, mut reader): (Shared, CascadingCipherManager), once: &[&str], random: &[&str]) {
    let mut sent = send(&mut open(&store), Some(&mut reader), "first");
    let old = copy(&store);
    for text in ["second", "third"] {
        let fresh = send(&mut open(&store), Some(&mut reader), text);
        for what in once {
            assert!(!of(what, &fresh).is_empty(), "{what}");
        }
        assert!(fresh.iter().all(|one| !sent.contains(one)), "a restart uses nothing again");
        sent.extend(fresh);
    }
    let again = send(&mut open(&old), None, "other");
    for what in once {
        assert!(!of(what, &again).is_disjoint(&of(what, &sent)), "{what}");
    }
    for what in random {
        assert!(!of(what, &again).is_empty(), "{what}");
        assert!(of(what, &again).is_disjoint(&of(what, &sent)), "{what} has random nonces");
    }
    assert_eq!(of("aes-gcm", &again).len(), 1);
}

#[test]
fn an_old_copy_in_a_group_uses_message_keys_of_mls_again_and_no_random_nonce() {
    go_back(group(), &["mls"], &["aes-gcm", "root message", "signal message"]);
}

#[test]
fn an_old_copy_of_a_session_uses_nothing_again() {
    go_back(pair(), &[], &["aes-gcm", "signal message", "signal header"]);
}
