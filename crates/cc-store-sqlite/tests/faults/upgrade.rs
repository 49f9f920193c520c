//! A store of an earlier format becomes one of this format, or stays what it was.

use std::{fs, path::Path};

use cc_aes_layer::Argon2Params;
use cc_core::store::{Scope, Store as _, StoreError};
use cc_store_sqlite::{Credential, SqliteStore};

use crate::{
    disk::{Disk, FAILURES, Failure, Fault, Operation},
    random::{Random, seeds},
};

fn open(path: &Path) -> Result<SqliteStore, StoreError> {
    let passphrase = Credential::passphrase_with("format fixture", Argon2Params::LEAST)?;
    SqliteStore::open(path, passphrase)
}

/// Opens a store of version 1 while the disk fails as told, and says what was asked of the disk.
fn upgrade(disk: &Disk, fault: Option<Fault>, power: Option<&mut Random>) -> Vec<Operation> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.sqlite");
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/store-v1.sqlite");
    fs::copy(fixture, &path).unwrap();
    disk.reset();
    disk.plan(fault);
    let opened = open(&path);
    let operations = disk.trace();
    match opened {
        Ok(_) | Err(StoreError::Io(_) | StoreError::Full) => {}
        Err(ref error) => panic!("{fault:?}: {error:?}"),
    }
    if power.is_some() {
        disk.stop();
    }
    drop(opened);
    if let Some(random) = power {
        disk.power_cut(directory.path(), random);
    }
    disk.heal();
    let store = open(&path).unwrap_or_else(|error| panic!("{fault:?}: {error:?}"));
    store.verify().unwrap();
    assert_eq!(store.generation(), 2);
    let name = store.get(&Scope::new("friends"), b"name").unwrap().unwrap();
    assert_eq!(name.expose(), b"Friends of fixtures");
    operations
}

#[test]
fn every_upgrade_fails() {
    let disk = Disk::take();
    let operations = upgrade(&disk, None, None);
    assert!(operations.len() > 20, "{operations:?}");
    for (at, &operation) in operations.iter().enumerate() {
        for failure in FAILURES.into_iter().filter(|failure| failure.fits(operation)) {
            upgrade(&disk, Some(Fault { at, failure, lasting: failure == Failure::Full }), None);
        }
    }
}

#[test]
fn an_upgrade_loses_power() {
    let disk = Disk::take();
    let operations = upgrade(&disk, None, None).len();
    for seed in seeds(100) {
        println!("CC_FAULTS_SEED={seed}");
        let mut random = Random(seed);
        let at = random.below(operations + 1);
        let fault = Fault { at, failure: Failure::Half, lasting: true };
        upgrade(&disk, Some(fault), Some(&mut random));
    }
}
