//! Key packages that are outstanding, forgotten, expired, and of last resort.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

use crate::common;

use cc_core::{CipherLayer as _, GroupLayer as _, LayerErrorKind, Standing};
use cc_mls_layer::MlsConfig;
use common::{KeyPackage, Peer, Staged, all_read_all};

/// Alice adds by `package`; what the joiner gets.
fn add(alice: &mut Peer, package: &KeyPackage) -> Staged {
    let staged = alice.stage(std::slice::from_ref(package), &[]).unwrap();
    alice.confirm();
    staged
}

fn remove(alice: &mut Peer, other: &mut Peer) {
    let staged = alice.stage(&[], &[other.id]).unwrap();
    alice.confirm();
    assert!(other.process(&staged).unwrap().removed_self);
}

#[test]
fn several_are_outstanding_and_each_works_once() {
    let mut alice = Peer::founder("Alice");
    let mut bob = Peer::joiner("Bob");
    let packages: Vec<_> = (0..3).map(|_| bob.key_package()).collect();
    let known = bob.layer.key_packages().unwrap();
    assert_eq!(known.len(), 3);
    assert!(known.iter().all(|package| !package.last_resort && package.reference.len() == 32));
    assert!(known.is_sorted_by_key(|package| package.reference.clone()));

    // The last first, the first last.
    for (left, package) in packages.iter().enumerate().rev() {
        let staged = add(&mut alice, package);
        bob.join(&staged).unwrap();
        assert_eq!(bob.layer.key_packages().unwrap().len(), left);
        remove(&mut alice, &mut bob);
        let staged = add(&mut alice, package);
        assert_eq!(bob.join(&staged), Err(LayerErrorKind::Rejected), "a key package used twice");
        assert_eq!(bob.layer.standing(), Standing::Removed);
        let bob_id = bob.id;
        let _ = alice.stage(&[], &[bob_id]).unwrap();
        alice.confirm();
    }
}

#[test]
fn a_forgotten_one_joins_nothing() {
    let mut alice = Peer::founder("Alice");
    let mut bob = Peer::joiner("Bob").stored();
    let old = bob.key_package();
    let reference = bob.layer.key_packages().unwrap().remove(0).reference;
    let new = bob.key_package();

    assert!(bob.layer.forget_key_package(&reference).unwrap());
    assert!(!bob.layer.forget_key_package(&reference).unwrap());
    // Whatever is refused and undone afterwards, it stays forgotten.
    bob.layer.revert();
    assert_eq!(bob.layer.key_packages().unwrap().len(), 1);
    bob.keep().unwrap();
    bob.restart();
    assert_eq!(bob.layer.key_packages().unwrap().len(), 1);

    let staged = alice.stage(&[old], &[]).unwrap();
    assert_eq!(bob.join(&staged), Err(LayerErrorKind::Rejected));
    assert_eq!(bob.layer.standing(), Standing::Outside);
    alice.transact(cc_core::GroupLayer::discard_change).unwrap();
    let staged = add(&mut alice, &new);
    bob.join(&staged).unwrap();
    all_read_all(&mut [alice, bob]);
}

#[test]
fn expired_ones_are_forgotten_when_told() {
    let config = MlsConfig::default().with_key_package_lifetime(0);
    let mut bob = Peer::with("Bob", false, config);
    let package = bob.key_package();
    let mut alice = Peer::founder("Alice");
    assert_eq!(alice.stage(&[package], &[]).map(|_| ()), Err(LayerErrorKind::Rejected));
    assert_eq!(bob.layer.forget_expired_key_packages().unwrap(), 1);
    bob.layer.revert();
    assert_eq!(bob.layer.key_packages().unwrap(), []);
    let _ = alice.stage(&[Peer::joiner("Bob").key_package()], &[]).unwrap();
}

#[test]
fn a_last_resort_one_joins_again_but_never_back() {
    let mut alice = Peer::founder("Alice");
    let mut bob = Peer::joiner("Bob");
    bob.layer.set_last_resort(true);
    let package = bob.key_package();
    bob.layer.set_last_resort(false);
    let known = bob.layer.key_packages().unwrap();
    assert!(known.iter().all(|package| package.last_resort) && known.len() == 1);

    let mut welcomes = Vec::new();
    for _ in 0..3 {
        let staged = add(&mut alice, &package);
        assert_eq!(bob.join(&staged), Ok(Some(alice.id)));
        assert_eq!(bob.layer.key_packages().unwrap(), known);
        let wire = alice.seal(b"again");
        assert!(bob.open(&wire).is_ok());
        remove(&mut alice, &mut bob);
        welcomes.push(staged);
    }
    // Every welcome so far leads to an epoch that is over.
    for staged in &welcomes {
        assert_eq!(bob.join(staged), Err(LayerErrorKind::Rejected));
        assert_eq!(bob.layer.standing(), Standing::Removed);
    }
    let staged = add(&mut alice, &package);
    bob.join(&staged).unwrap();
    all_read_all(&mut [alice, bob]);
}
