//! Stores that version 1 wrote: later versions open them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::{common, pair};

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use cc_aes_layer::{AesLayer, AesPairKeys};
use cc_core::Secret;
use cc_dh_layer::{Curve, DhKeyPair, DhLayer, DhPairKeys};
use cc_manager::{
    CascadingCipherManager, Catalog, Error, IncomingFirst, PairAccount, PairAccountBuilder,
    Standing,
};
use cc_mlkem_layer::{HybridKeyPair, MlKemPairKeys, ParameterSet};
use cc_mls_layer::MlsLayer;
use cc_signal_layer::{Account, SignalPairKeys};
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

/// Keys of every layer that makes pairs.
fn person() -> PairAccountBuilder {
    PairAccount::builder()
        .keys(DhPairKeys::new(DhKeyPair::generate(Curve::X25519).unwrap()))
        .keys(MlKemPairKeys::new(HybridKeyPair::generate(ParameterSet::MlKem768).unwrap()))
        .keys(SignalPairKeys::new(Account::generate().unwrap()))
        .keys(AesPairKeys::inherited())
}

/// Bob in one pair that Alice began and he answered, with an unread message, an unsent one and one of hers that is
/// late, and in another one that he began with Dora, who has not answered. Beside it what comes next: of Alice, of
/// Dora, and of Charlie, whom he has given a bundle.
#[test]
#[ignore = "writes the fixture"]
fn write_the_fixture_of_pairs() {
    let path = fixture("pairs-v1.sqlite");
    let _ = fs::remove_file(&path);
    let store = Arc::new(Mutex::new(SqliteStore::create(&path, credential()).unwrap()));
    let mut bob = person().create(Arc::clone(&store), "bob").unwrap();
    let [mut alice, mut charlie, mut dora] = [(); 3].map(|()| person().build().unwrap());

    let mut of_alice = alice.initiate(bob.one_time_bundle().unwrap(), "").unwrap();
    let first = of_alice.encrypt("first").unwrap();
    let IncomingFirst::Begun(pair) = bob.accept_first(&first, "alice").unwrap() else { panic!() };
    let mut to_alice = pair.manager;
    let begin = to_alice.inbox().unwrap().remove(0);
    to_alice.acknowledge(begin.id()).unwrap();
    for round in 0..3 {
        let wire = to_alice.encrypt(format!("{round}")).unwrap();
        of_alice.decrypt(&wire).unwrap();
        to_alice.sent([&wire]).unwrap();
        let wire = of_alice.encrypt(format!("{round}")).unwrap();
        let message = to_alice.receive(&wire).unwrap().into_message().unwrap();
        to_alice.acknowledge(message.id()).unwrap();
    }
    let late = of_alice.encrypt("late").unwrap();
    to_alice.decrypt(of_alice.encrypt("unread").unwrap()).unwrap();
    of_alice.decrypt(to_alice.encrypt("unsent").unwrap()).unwrap();
    let next = of_alice.encrypt("next").unwrap();

    let mut to_dora = bob.initiate(dora.one_time_bundle().unwrap(), "dora").unwrap();
    let opening = to_dora.encrypt("hello Dora").unwrap();
    let IncomingFirst::Begun(mut pair) = dora.accept_first(&opening, "").unwrap() else { panic!() };
    let answer = pair.manager.encrypt("hello Bob").unwrap();

    let mut of_charlie = charlie.initiate(bob.one_time_bundle().unwrap(), "").unwrap();
    let charlies = of_charlie.encrypt("it is Charlie").unwrap();
    let lines = [first, late, next, answer, charlies].map(hex::encode);
    fs::write(fixture("pairs-v1.txt"), lines.join("\n") + "\n").unwrap();
}

#[test]
fn pairs_that_version_1_wrote_go_on() {
    let lines = fs::read_to_string(fixture("pairs-v1.txt")).unwrap();
    let lines = lines.lines().map(|line| hex::decode(line).unwrap()).collect::<Vec<_>>();
    let [first, late, next, answer, charlies] = lines.try_into().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("copy.sqlite");
    fs::copy(fixture("pairs-v1.sqlite"), &path).unwrap();
    let open_store = || Arc::new(Mutex::new(SqliteStore::open(&path, credential()).unwrap()));
    let store = open_store();
    let catalog = pair::catalog();
    let pair = |store: &Arc<Mutex<SqliteStore>>, name| {
        CascadingCipherManager::open(Arc::clone(store), name, &catalog).unwrap()
    };

    let mut to_alice = pair(&store, "alice");
    assert!(to_alice.is_pair_answered());
    let [unread] = to_alice.inbox().unwrap().try_into().unwrap();
    assert_eq!(unread, "unread");
    assert_eq!(to_alice.outbox().unwrap().len(), 1);
    assert_eq!(to_alice.decrypt(&next).unwrap(), "next");
    assert_eq!(to_alice.decrypt(&late).unwrap(), "late");
    for read in [&first, &next, &late] {
        assert!(to_alice.decrypt(read).unwrap_err().is_rejected());
    }
    to_alice.encrypt("on").unwrap();

    let mut to_dora = pair(&store, "dora");
    assert!(!to_dora.is_pair_answered());
    let with_opening = to_dora.encrypt("before the answer").unwrap();
    assert_eq!(to_dora.decrypt(&answer).unwrap(), "hello Bob");
    assert!(to_dora.is_pair_answered());
    assert!(to_dora.encrypt("after the answer").unwrap().len() < with_opening.len());

    let mut bob = PairAccount::open(Arc::clone(&store), "bob", &catalog).unwrap();
    let begun = to_alice.pair_id().unwrap();
    let again = bob.accept_first(&first, "again").unwrap();
    assert!(matches!(again, IncomingFirst::Known(of) if of == begun), "{again:?}");
    let IncomingFirst::Begun(begun) = bob.accept_first(&charlies, "charlie").unwrap() else {
        panic!()
    };
    assert_eq!(begun.message, "it is Charlie");
    // Somebody new begins with a bundle of the restored keys.
    let mut erin = person().build().unwrap();
    let hello = erin.initiate(bob.one_time_bundle().unwrap(), "").unwrap().encrypt("Erin").unwrap();
    assert!(matches!(bob.accept_first(&hello, "erin").unwrap(), IncomingFirst::Begun(_)));

    // And this version reads what it has written.
    drop((to_alice, to_dora, bob, begun, store));
    let store = open_store();
    assert_eq!(pair(&store, "alice").inbox().unwrap().len(), 3);
    assert_eq!(pair(&store, "charlie").inbox().unwrap()[0], "it is Charlie");
    assert!(pair(&store, "dora").is_pair_answered());
}
