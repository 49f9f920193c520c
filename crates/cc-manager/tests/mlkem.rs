//! Stacks with the ML-KEM layer: a group through a join, an update, a removal and a return, and a pair that
//! renews its keys, both over restarts.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::common;

use std::sync::{Arc, Mutex};

use cc_aes_layer::AesLayer;
use cc_core::store::MemoryStore;
use cc_manager::{CascadingCipherManager, Catalog, Incoming, IncomingWelcome, ManagerBuilder};
use cc_mlkem_layer::{HybridKeyPair, MlKemLayer, ParameterSet};

use common::{dh, mls};

fn keys() -> HybridKeyPair {
    HybridKeyPair::generate(ParameterSet::MlKem768).unwrap()
}

/// DH -> ML-KEM -> MLS -> AES.
fn stack(name: &str, founder: bool) -> ManagerBuilder {
    CascadingCipherManager::builder()
        .layer(dh())
        .layer(MlKemLayer::group(keys()))
        .layer(mls(name, founder))
        .layer(AesLayer::inherited())
}

fn all_read(people: &mut [CascadingCipherManager]) {
    for sender in 0..people.len() {
        let wire = people[sender].encrypt("text").unwrap();
        for (reader, person) in people.iter_mut().enumerate() {
            if reader != sender {
                assert_eq!(person.decrypt(&wire).unwrap(), "text");
            }
        }
    }
}

#[test]
fn a_group_grows_renews_shrinks_and_takes_a_member_back() {
    let catalog = Catalog::new()
        .with::<cc_dh_layer::DhLayer>()
        .with::<MlKemLayer>()
        .with::<cc_mls_layer::MlsLayer>()
        .with::<AesLayer>();
    let store = Arc::new(Mutex::new(MemoryStore::new()));
    let mut alice = stack("alice", true).build().unwrap();
    let mut bob = stack("bob", false).create(Arc::clone(&store), "bob").unwrap();
    let mut charlie = stack("charlie", false).build().unwrap();
    let packages = [bob.key_package().unwrap(), charlie.key_package().unwrap()];
    let change = alice.add_members(packages).unwrap();
    let welcome = alice.confirm(change.id()).unwrap().welcome.unwrap();
    for person in [&mut bob, &mut charlie] {
        assert!(matches!(person.receive_welcome(&welcome).unwrap(), IncomingWelcome::Joined(_)));
    }
    let mut people = [alice, bob, charlie];
    all_read(&mut people);
    let restart = |bob: &mut CascadingCipherManager| {
        *bob = CascadingCipherManager::open(Arc::clone(&store), "bob", &catalog).unwrap();
    };
    restart(&mut people[1]);
    all_read(&mut people);

    let change = people[1].update().unwrap();
    let (commit, id) = (change.commit.clone(), change.id());
    restart(&mut people[1]);
    people[1].confirm(id).unwrap();
    for reader in [0, 2] {
        assert!(matches!(people[reader].receive(&commit).unwrap(), Incoming::Commit(_)));
    }
    all_read(&mut people);

    let id = people[2].member_id().unwrap();
    let change = people[0].remove_members([id]).unwrap();
    let commit = change.commit.clone();
    people[0].confirm(change.id()).unwrap();
    for reader in [1, 2] {
        assert!(matches!(people[reader].receive(&commit).unwrap(), Incoming::Commit(_)));
    }
    restart(&mut people[1]);
    let wire = people[0].encrypt("without charlie").unwrap();
    assert_eq!(people[1].decrypt(&wire).unwrap(), "without charlie");
    assert!(people[2].decrypt(&wire).is_err());

    let package = people[2].rejoin_package().unwrap();
    let change = people[0].add_members([package]).unwrap();
    let commit = change.commit.clone();
    let welcome = people[0].confirm(change.id()).unwrap().welcome.unwrap();
    people[1].receive(&commit).unwrap();
    assert!(matches!(people[2].receive_welcome(&welcome).unwrap(), IncomingWelcome::Joined(_)));
    all_read(&mut people);
}

#[test]
fn a_pair_renews_its_keys_under_inherited_aes() {
    let (a, b) = (keys(), keys());
    let (of_a, of_b) = (a.public_key().clone(), b.public_key().clone());
    let (alice, setup) = MlKemLayer::initiate(a, of_b).unwrap();
    let bob = MlKemLayer::accept(b, of_a, &setup).unwrap();
    let catalog = Catalog::new().with::<MlKemLayer>().with::<AesLayer>();
    let stores = [(); 2].map(|()| Arc::new(Mutex::new(MemoryStore::new())));
    for (layer, store) in [alice, bob].into_iter().zip(&stores) {
        let builder = CascadingCipherManager::builder().layer(layer).layer(AesLayer::inherited());
        drop(builder.create(Arc::clone(store), "pair").unwrap());
    }
    for round in 0..6 {
        for (from, to) in [(0, 1), (1, 0)] {
            let open = |which: usize| {
                CascadingCipherManager::open(Arc::clone(&stores[which]), "pair", &catalog).unwrap()
            };
            let (mut sender, mut reader) = (open(from), open(to));
            if round % 2 == 1 {
                sender.configure::<MlKemLayer, _>(|mut settings| settings.renew()).unwrap();
            }
            // The first is lost, the second comes twice and before the third.
            let [_, second, third] =
                ["lost", "second", "third"].map(|text| sender.encrypt(text).unwrap());
            assert_eq!(reader.decrypt(&third).unwrap(), "third");
            assert_eq!(reader.decrypt(&second).unwrap(), "second");
            assert!(sender.decrypt(&second).is_err());
        }
    }
}
