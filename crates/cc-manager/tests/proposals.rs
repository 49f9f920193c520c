//! Proposals: nobody's keep another's out, and none of them makes a commit fail.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::common;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use cc_aes_layer::AesLayer;
use cc_core::{
    CipherLayer as _, Restore as _,
    store::{Batch, Change as RecordChange, MemoryStore, Scope, Store as _},
};
use cc_dh_layer::DhLayer;
use cc_manager::{CascadingCipherManager, Catalog, Error, Incoming, IncomingWelcome, Proposal};
use cc_mls_layer::MlsLayer;
use common::{
    Follow as _, all_read_all, dh, full, group, joiner, mls,
    observed::Observed,
    settle,
    wrapped::{Wishes, Wrapped},
};

#[test]
fn one_members_proposals_keep_nobody_elses_out() {
    let mut all = group(&["a", "b", "c"]);
    for _ in 0..16 {
        let wire = all[1].propose_add(joiner("x").key_package().unwrap()).unwrap();
        all[0].process(&wire).unwrap();
        all[2].process(&wire).unwrap();
    }
    let b = all[1].member_id().unwrap();
    let error = all[1].propose_add(joiner("x").key_package().unwrap()).unwrap_err();
    assert!(matches!(error, Error::TooManyProposals(member) if member == b), "{error}");
    assert_eq!(all[1].proposals().count(), 16);
    // Another member still has its say, and b may still leave.
    let wire = all[2].propose_add(joiner("y").key_package().unwrap()).unwrap();
    all[0].process(&wire).unwrap();
    let wire = all[1].leave().unwrap();
    all[0].process(&wire).unwrap();
    assert_eq!((all[0].proposals().count(), all[0].leaving().count()), (17, 1));
    let change = all[0].commit_proposals().unwrap();
    assert_eq!(all[0].confirm(change.id()).unwrap().summary.added.len(), 17);
}

/// Two members propose the same person, by two key packages.
#[test]
fn whoever_is_proposed_twice_is_added_once() {
    let mut all = group(&["a", "b", "c"]);
    let mut d = joiner("d");
    let packages = [d.key_package().unwrap(), d.key_package().unwrap()];
    for (by, package) in [1, 2].into_iter().zip(&packages) {
        let wire = all[by].propose_add(package).unwrap();
        let again = all[by].propose_add(package).unwrap();
        for receiver in (0..3).filter(|receiver| *receiver != by) {
            all[receiver].process(&wire).unwrap();
            all[receiver].process(&again).unwrap();
        }
    }
    for member in &all {
        let proposed: Vec<_> = member.proposals().map(|proposed| &proposed.proposal).collect();
        assert_eq!(proposed, [&Proposal::Add(packages[0].clone())]);
    }
    let change = all[0].commit_proposals().unwrap();
    let welcome = settle(&mut all, 0, &change, &[]).unwrap();
    d.join(&welcome).unwrap();
    all.push(d);
    all_read_all(&mut all);
}

/// A bundle that no layer would add is not even taken note of.
/// One signature key for two people: each could be added alone.
#[test]
fn two_bundles_that_exclude_one_another_block_nobody() {
    let scope = Scope::new("layer");
    let mut batch = Batch::new();
    mls("x", false).save(&mut batch.new_scope(scope.clone())).unwrap();
    let mut store = MemoryStore::new();
    store.commit(&batch).unwrap();
    let twin = || {
        let layer = MlsLayer::restore(&scope.of(&store)).unwrap();
        let builder = CascadingCipherManager::builder().layer(dh()).layer(layer);
        builder.layer(AesLayer::inherited()).build().unwrap()
    };
    let mut all = group(&["a", "b", "c"]);
    for mut proposed in [twin(), twin(), joiner("y")] {
        let wire = all[1].propose_add(proposed.key_package().unwrap()).unwrap();
        all[0].process(&wire).unwrap();
    }
    let change = all[0].commit_proposals().unwrap();
    assert_eq!(all[0].confirm(change.id()).unwrap().summary.added.len(), 2);
}

#[test]
fn a_bundle_that_does_not_verify_is_not_proposed() {
    let mut all = group(&["a", "b"]);
    let mut c = joiner("c");
    let package = c.key_package().unwrap();
    for at in 0..package.len() {
        let mut flipped = package.clone();
        flipped[at] ^= 4;
        assert!(all[1].propose_add(&flipped).is_err(), "byte {at} of {}", package.len());
    }
    assert_eq!(all[1].proposals().count(), 0);
    let too_long = vec![0; cc_core::limits::MAX_KEY_PACKAGE_LEN + 1];
    assert!(all[1].propose_add(too_long).unwrap_err().is_rejected());
    let wire = all[1].propose_add(&package).unwrap();
    all[0].process(&wire).unwrap();
}

/// The proposal is delivered when the bundle has expired. That is nobody's forgery.
#[test]
fn a_bundle_that_expired_on_its_way_is_a_proposal_that_nobody_commits() {
    let mut all = group(&["a", "b"]);
    let wire = all[1].propose_add(joiner("c").key_package().unwrap()).unwrap();
    all[0].set_time(Some(1 << 40));
    let incoming = all[0].process(&wire).unwrap();
    assert!(matches!(incoming, Incoming::Proposal(_)), "{incoming:?}");
    assert_eq!(all[0].proposals().count(), 0);
    all[0].set_time(None);
    let change = all[0].commit_proposals().unwrap();
    settle(&mut all, 0, &change, &[]);
    all_read_all(&mut all);
}

/// One that verified when it was proposed, and is refused when the change is made.
#[test]
fn a_bundle_that_is_refused_later_keeps_no_other_out() {
    let wishes = Wishes::default();
    let person = |name, founder| {
        let layer = Wrapped::new(mls(name, founder), &wishes);
        CascadingCipherManager::builder().layer(layer).build().unwrap()
    };
    let (mut a, mut b) = (person("a", true), person("b", false));
    let change = a.add_members([b.key_package().unwrap()]).unwrap();
    let welcome = a.confirm(change.id()).unwrap().welcome.unwrap();
    b.join(&welcome).unwrap();
    let (mut good, mut bad) = (person("good", false), person("bad", false));
    for joiner in [&mut bad, &mut good] {
        let wire = b.propose_add(joiner.key_package().unwrap()).unwrap();
        a.process(&wire).unwrap();
    }
    *wishes.refuses.lock().unwrap() = bad.member_id();
    let change = a.commit_proposals().unwrap();
    let confirmed = a.confirm(change.id()).unwrap();
    assert_eq!(confirmed.summary.added, [good.member_id().unwrap()]);
    b.process(&change.commit).unwrap();
    good.join(confirmed.welcome.unwrap()).unwrap();
    all_read_all(&mut [a, b, good]);
}

/// Two people with one signature key: either can be added, but not both.
#[test]
fn two_bundles_that_cannot_be_added_together_keep_no_other_out() {
    let mut all = group(&["a", "b", "c"]);
    let store = Arc::new(Mutex::new(MemoryStore::new()));
    let mut twin = full("twin", false).create(Arc::clone(&store), "name").unwrap();
    let copy = store.lock().unwrap().reopened();
    let catalog = Catalog::new().with::<AesLayer>().with::<DhLayer>().with::<MlsLayer>();
    let mut other = CascadingCipherManager::open(copy, "name", &catalog).unwrap();
    drop(other.replace_layer(0, dh()).unwrap());
    assert_ne!(twin.member_id(), other.member_id());
    let mut good = [joiner("x"), joiner("y")];
    let mut packages = vec![twin.key_package().unwrap(), good[0].key_package().unwrap()];
    packages.extend([other.key_package().unwrap(), good[1].key_package().unwrap()]);
    for package in packages {
        let wire = all[1].propose_add(package).unwrap();
        all[0].process(&wire).unwrap();
    }
    let c = all[2].member_id().unwrap();
    let remove = all[1].propose_remove(c).unwrap();
    all[0].process(&remove).unwrap();
    let change = all[0].commit_proposals().unwrap();
    let confirmed = all[0].confirm(change.id()).unwrap();
    assert_eq!((confirmed.summary.added.len(), confirmed.summary.removed.len()), (3, 1));
    all[1].process(&change.commit).unwrap();
    all.truncate(2);
    for mut member in good.into_iter().chain([twin]) {
        member.join(confirmed.welcome.as_ref().unwrap()).unwrap();
        all.push(member);
    }
    all_read_all(&mut all);
}

/// Bytes of the values that a commit writes.
fn bytes_of(batch: &Batch) -> usize {
    let bytes = batch.changes().map(|(_, _, change)| match change {
        RecordChange::Put(value) => value.expose().len(),
        RecordChange::Delete => 0,
    });
    bytes.sum()
}

#[test]
fn a_proposal_writes_its_own_record_and_is_still_there_after_a_restart() {
    let memory = Arc::new(Mutex::new(MemoryStore::new()));
    let last = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&last);
    let observe = Box::new(move |batch: &Batch| seen.store(bytes_of(batch), Ordering::Relaxed));
    let store = Observed { store: Arc::clone(&memory), observe };
    let mut alice = full("a", true).create(store, "name").unwrap();
    let mut bob = joiner("b");
    let change = alice.add_members([bob.key_package().unwrap()]).unwrap();
    let welcome = alice.confirm(change.id()).unwrap().welcome.unwrap();
    bob.join(&welcome).unwrap();
    let mut written = Vec::new();
    for _ in 0..12 {
        let wire = bob.propose_add(joiner("x").key_package().unwrap()).unwrap();
        alice.process(&wire).unwrap();
        written.push(last.load(Ordering::Relaxed));
    }
    // No other bundle; only the history of what was received grows, by 33 bytes and up to a bound.
    assert!(written[11] < written[0] + 12 * 40, "{written:?}");
    let proposed: Vec<_> = alice.proposals().cloned().collect();
    let store = memory.lock().unwrap().reopened();
    let catalog = Catalog::new().with::<AesLayer>().with::<DhLayer>().with::<MlsLayer>();
    let mut alice = CascadingCipherManager::open(store, "name", &catalog).unwrap();
    assert_eq!(alice.proposals().cloned().collect::<Vec<_>>(), proposed);
    let update = bob.update().unwrap();
    bob.confirm(update.id()).unwrap();
    alice.process(&update.commit).unwrap();
    assert_eq!(alice.proposals().count(), 0, "they were for that epoch");
}

#[test]
fn a_stack_that_knows_no_epochs_takes_no_commits() {
    let wishes = Wishes { mute: true, ..Wishes::default() };
    let person = || {
        let layer = Wrapped::new(dh(), &wishes);
        CascadingCipherManager::builder().layer(layer).build().unwrap()
    };
    let (mut a, mut b) = (person(), person());
    let change = a.add_members([b.key_package().unwrap()]).unwrap();
    let welcome = a.confirm(change.id()).unwrap().welcome.unwrap();
    b.join(&welcome).unwrap();
    let update = a.update().unwrap();
    assert!(matches!(b.receive(&update.commit), Err(Error::EpochUnknown)));
    let wire = a.encrypt("text").unwrap();
    assert_eq!(b.decrypt(&wire).unwrap(), "text", "messages need none");
}

#[test]
fn layers_that_name_two_epochs_are_refused() {
    let wishes = Wishes::default();
    let person = |name, founder| {
        CascadingCipherManager::builder()
            .layer(Wrapped::new(dh(), &wishes))
            .layer(mls(name, founder))
            .layer(AesLayer::inherited())
            .build()
            .unwrap()
    };
    let (mut a, mut b) = (person("a", true), person("b", false));
    let change = a.add_members([b.key_package().unwrap()]).unwrap();
    let welcome = a.confirm(change.id()).unwrap().welcome.unwrap();
    b.join(&welcome).unwrap();
    let wire = a.encrypt("text").unwrap();
    *wishes.epoch.lock().unwrap() = Some(0);
    assert!(matches!(b.decrypt(&wire), Err(Error::Disagreement)));
    *wishes.epoch.lock().unwrap() = None;
    assert_eq!(b.decrypt(&wire).unwrap(), "text");
}

/// Somebody whose own stack says otherwise makes a group of three with a layer for two.
#[test]
fn a_layer_for_two_neither_follows_nor_joins_a_group_of_three() {
    let two = Wishes { pairwise: true, ..Wishes::default() };
    let any = Wishes::default();
    let person = |wishes: &Wishes, name, founder| {
        let layer = Wrapped::new(mls(name, founder), wishes);
        CascadingCipherManager::builder().layer(layer).build().unwrap()
    };
    let (mut a, mut b) = (person(&any, "a", true), person(&two, "b", false));
    let change = a.add_members([b.key_package().unwrap()]).unwrap();
    let welcome = a.confirm(change.id()).unwrap().welcome.unwrap();
    b.join(&welcome).unwrap();
    let mut c = person(&two, "c", false);
    let change = a.add_members([c.key_package().unwrap()]).unwrap();
    let wire = a.encrypt("text").unwrap();
    let welcome = a.confirm(change.id()).unwrap().welcome.unwrap();
    let too_many =
        |error: &Error| matches!(error, Error::PairwiseInGroup { position: 0, members: 3 });
    let incoming = b.process(&change.commit).unwrap_err();
    assert!(matches!(&incoming, Incoming::Forged(error) if too_many(error)), "{incoming:?}");
    let incoming = c.join(&welcome).unwrap_err();
    assert!(matches!(&incoming, IncomingWelcome::Forged(error) if too_many(error)));
    assert_eq!(b.members().len(), 2);
    assert_eq!(b.decrypt(&wire).unwrap(), "text");
}
