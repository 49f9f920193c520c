//! A second manager that waits for welcomes to the same key packages.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::common;

use std::sync::{Arc, Mutex};

use cc_core::store::{MemoryStore, StoreError};
use cc_manager::{CascadingCipherManager, Error, IncomingWelcome};
use common::{founder, full, joiner};

type Shared = Arc<Mutex<MemoryStore>>;

fn catalog() -> cc_manager::Catalog {
    cc_manager::Catalog::new()
        .with::<cc_aes_layer::AesLayer>()
        .with::<cc_dh_layer::DhLayer>()
        .with::<cc_mls_layer::MlsLayer>()
}

#[test]
fn each_copy_joins_a_group_and_the_waiting_one_stays() {
    let store = Shared::default();
    let mut bob = full("Bob", false).create(Arc::clone(&store), "waiting").unwrap();
    bob.configure::<cc_mls_layer::MlsLayer, ()>(|mut mls| {
        mls.set_last_resort(true);
        Ok(())
    })
    .unwrap();
    let package = bob.key_package().unwrap();
    for at in 0..3 {
        let name = format!("group {at}");
        bob.copy_waiting(&name).unwrap();
        let mut copy = CascadingCipherManager::open(Arc::clone(&store), &name, &catalog()).unwrap();
        assert_eq!(copy.member_id(), bob.member_id());
        let mut alice = founder("Alice");
        let change = alice.add_members([&package]).unwrap();
        let welcome = alice.confirm(change.id()).unwrap().welcome.unwrap();
        assert!(matches!(copy.receive_welcome(&welcome), Ok(IncomingWelcome::Joined(_))));
        let wire = alice.encrypt("hello").unwrap();
        assert_eq!(copy.decrypt(&wire).unwrap(), "hello");
        let wire = copy.encrypt("hello back").unwrap();
        assert_eq!(alice.decrypt(&wire).unwrap(), "hello back");
        assert_eq!(bob.epoch(), None);
    }
    // Each is a manager of its own: one that is gone takes nothing along.
    CascadingCipherManager::open(Arc::clone(&store), "group 0", &catalog())
        .unwrap()
        .erase()
        .unwrap();
    let names = CascadingCipherManager::stored(&store).unwrap();
    assert_eq!(names, ["group 1", "group 2", "waiting"]);
    CascadingCipherManager::open(Arc::clone(&store), "waiting", &catalog()).unwrap();
}

#[test]
fn what_is_in_a_group_is_never_in_two_places() {
    let store = Shared::default();
    let mut alice = full("Alice", true).create(Arc::clone(&store), "alice").unwrap();
    assert!(matches!(alice.copy_waiting("second"), Err(Error::GroupExists)));
    let mut bob = full("Bob", false).create(Arc::clone(&store), "bob").unwrap();
    let change = alice.add_members([bob.key_package().unwrap()]).unwrap();
    let welcome = alice.confirm(change.id()).unwrap().welcome.unwrap();
    bob.receive_welcome(&welcome).unwrap();
    assert!(matches!(bob.copy_waiting("second"), Err(Error::GroupExists)));
    let mut charlie = full("Charlie", false).create(Arc::clone(&store), "charlie").unwrap();
    assert!(matches!(charlie.copy_waiting("bob"), Err(Error::Store(StoreError::Exists))));
    assert!(matches!(joiner("Dora").copy_waiting("dora"), Err(Error::Store(StoreError::Missing))));
    assert_eq!(CascadingCipherManager::stored(&store).unwrap(), ["alice", "bob", "charlie"]);
}
