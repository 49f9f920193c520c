//! A store that version 1 wrote: later versions open it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::common;

use std::{
    fs,
    path::{Path, PathBuf},
};

use cc_aes_layer::AesLayer;
use cc_core::Secret;
use cc_dh_layer::DhLayer;
use cc_manager::{CascadingCipherManager, Catalog, Error, Standing};
use cc_mls_layer::MlsLayer;
use cc_store_sqlite::{Credential, SqliteStore};
use common::{Follow as _, full, joiner, settle};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn credential() -> Credential {
    Credential::key(Secret::copy_from(&[1; 32]).unwrap())
}

/// Alice in a group with Bob and Charlie, as she has it: an unread message, an unsent one, a staged
/// change, and a proposal. Beside it what Bob sent meanwhile.
#[test]
#[ignore = "writes the fixture"]
fn write_the_fixture() {
    let path = fixture("manager-v1.sqlite");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let _ = fs::remove_file(&path);
    let store = SqliteStore::create(&path, credential()).unwrap();
    let alice = full("Alice", true).create(store, "friends").unwrap();
    let mut all = vec![alice, joiner("Bob"), joiner("Charlie")];
    let packages: Vec<_> =
        all[1..].iter_mut().map(|joiner| joiner.key_package().unwrap()).collect();
    let change = all[0].add_members(packages).unwrap();
    let welcome = all[0].confirm(change.id()).unwrap().welcome.unwrap();
    for joiner in &mut all[1..] {
        joiner.join(&welcome).unwrap();
    }
    all[0].sent([&welcome]).unwrap();
    let update = all[1].update().unwrap();
    settle(&mut all, 1, &update, &[]);
    let wire = all[1].encrypt("unread").unwrap();
    all[0].decrypt(&wire).unwrap();
    all[0].encrypt("unsent").unwrap();
    let leave = all[2].leave().unwrap();
    all[0].process(&leave).unwrap();
    let charlie = all[2].member_id().unwrap();
    let propose = all[1].propose_remove(charlie).unwrap();
    all[0].process(&propose).unwrap();
    let staged = all[0].update().unwrap();
    let message = all[1].encrypt("on the way").unwrap();
    let update = all[1].update().unwrap();
    let lines = [wire, message, update.commit, staged.commit].map(hex::encode);
    fs::write(fixture("manager-v1.txt"), lines.join("\n") + "\n").unwrap();
}

fn open(directory: &Path) -> CascadingCipherManager {
    let path = directory.join("copy.sqlite");
    if !path.exists() {
        fs::copy(fixture("manager-v1.sqlite"), &path).unwrap();
    }
    let store = SqliteStore::open(path, credential()).unwrap();
    let catalog = Catalog::new().with::<AesLayer>().with::<DhLayer>().with::<MlsLayer>();
    CascadingCipherManager::open(store, "friends", &catalog).unwrap()
}

#[test]
fn what_version_1_wrote_opens() {
    let lines = fs::read_to_string(fixture("manager-v1.txt")).unwrap();
    let [read, message, commit, staged] = lines
        .lines()
        .map(|line| hex::decode(line).unwrap())
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut alice = open(directory.path());
    assert_eq!(alice.standing(), Some(Standing::Member { epoch: 2 }));
    let names: Vec<_> = alice.members().into_iter().filter_map(|member| member.name).collect();
    assert_eq!(names.len(), 3);
    let [unread] = alice.inbox().unwrap().try_into().unwrap();
    assert_eq!(unread, "unread");
    assert_eq!(unread.sender(), alice.members_named("Bob").first().copied());
    assert_eq!(alice.outbox().unwrap().len(), 1);
    assert_eq!(alice.staged_change().unwrap().commit, staged);
    assert_eq!(alice.proposals().count(), 1);
    assert_eq!(alice.leaving().collect::<Vec<_>>(), alice.members_named("Charlie"));
    assert!(alice.decrypt(&read).unwrap_err().is_rejected(), "read already");
    assert_eq!(alice.decrypt(&message).unwrap(), "on the way");
    alice.process(&commit).unwrap();
    drop(alice);
    let mut alice = open(directory.path());
    assert_eq!(alice.epoch(), Some(3));
    let again = alice.restage().unwrap().unwrap();
    assert!(matches!(alice.update(), Err(Error::ChangeStaged(_))));
    let summary = alice.confirm(again.id()).unwrap().summary;
    assert_eq!(summary.removed.len(), 1, "Charlie wanted to leave");
    assert_eq!(alice.inbox().unwrap().len(), 2);
}
