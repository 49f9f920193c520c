//! Commits and proposals count in the epoch whose keys sealed them, and in no other: a thief's copy of
//! a member's state from before an update changes nothing after it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::common;

use std::sync::{Arc, Mutex};

use cc_aes_layer::{AesKey, AesLayer};
use cc_core::store::MemoryStore;
use cc_dh_layer::DhLayer;
use cc_manager::{CascadingCipherManager, Catalog, Error, Incoming, ManagerBuilder};
use cc_mls_layer::MlsLayer;
use cc_signal_layer::{Account, SignalLayer};
use common::{Follow as _, all_read_all, dh, group, mls, settle};

type Shared = Arc<Mutex<MemoryStore>>;

const NAME: &str = "victim";

fn aes() -> AesLayer {
    AesLayer::new(AesKey::copy_from(&[7; 32]).unwrap())
}

fn signal() -> SignalLayer {
    SignalLayer::group(Account::generate().unwrap())
}

fn builder() -> ManagerBuilder {
    CascadingCipherManager::builder()
}

/// Builds a member of this name, which founds the group or not.
type Build = fn(&str, bool) -> ManagerBuilder;

/// Every shape of a stack whose members know the epoch, by name.
fn shapes() -> [(&'static str, Build); 4] {
    [
        ("DH, MLS, AES", common::full),
        ("AES, DH, Signal, MLS", |name, founder| {
            builder().layer(aes()).layer(dh()).layer(signal()).layer(mls(name, founder))
        }),
        ("DH", |_, _| builder().layer(dh())),
        ("MLS", |name, founder| builder().layer(mls(name, founder))),
    ]
}

fn copy(store: &Shared) -> CascadingCipherManager {
    let catalog = Catalog::new()
        .with::<AesLayer>()
        .with::<DhLayer>()
        .with::<SignalLayer>()
        .with::<MlsLayer>();
    let store = Arc::new(Mutex::new(store.lock().unwrap().reopened()));
    CascadingCipherManager::open(store, NAME, &catalog).unwrap()
}

#[test]
fn what_a_thief_has_from_before_an_update_changes_nothing_after_it() {
    for (shape, build) in shapes() {
        let store = Shared::default();
        let victim = build("victim", false).create(Arc::clone(&store), NAME).unwrap();
        let mut all = vec![build("a", true).build().unwrap(), victim];
        all.push(build("c", false).build().unwrap());
        let packages = [all[1].key_package().unwrap(), all[2].key_package().unwrap()];
        let change = all[0].add_members(packages).unwrap();
        let welcome = all[0].confirm(change.id()).unwrap().welcome.unwrap();
        all[1].join(&welcome).unwrap();
        all[2].join(&welcome).unwrap();
        let (a, c) = (all[0].member_id().unwrap(), all[2].member_id().unwrap());

        // The copy is as good as the victim until the next change. Each seals with keys of its own.
        let mut present = copy(&store);
        let asks = present.propose_remove(c);
        let authenticates = !matches!(asks, Err(Error::SenderUnknown));
        assert_eq!(authenticates, shape != "DH");
        if authenticates {
            let asks = asks.unwrap();
            all[0].receive_if(&asks, [], |_| false).unwrap().unwrap_err();
        }
        let commit = copy(&store).remove_members([c]).unwrap().commit;
        all[0].receive_if(&commit, [], |_| false).unwrap().unwrap_err();

        let mut thief = copy(&store);
        let update = all[1].update().unwrap();
        settle(&mut all, 1, &update, &[]);

        let mut sent = vec![
            copy_of(&mut thief, |thief| thief.remove_members([a]).unwrap().commit),
            copy_of(&mut thief, |thief| thief.update().unwrap().commit),
        ];
        if authenticates {
            sent.push(thief.propose_remove(a).unwrap());
            sent.push(thief.leave().unwrap());
        }
        for wire in &sent {
            for receiver in [0, 2] {
                let incoming = all[receiver].receive(wire).unwrap();
                assert!(matches!(incoming, Incoming::Stale { .. }), "{shape}: {incoming:?}");
            }
        }
        for member in &all {
            assert_eq!(member.proposals().count() + member.leaving().count(), 0, "{shape}");
            assert_eq!(member.epoch(), Some(2), "{shape}");
        }
        let sends_itself = all.iter_mut().map(|m| m.encrypt("still here").unwrap()).count();
        assert_eq!(sends_itself, 3);
        all_open(&mut all);
    }
}

/// What the thief makes of a change that it then forgets.
fn copy_of(
    thief: &mut CascadingCipherManager,
    make: impl FnOnce(&mut CascadingCipherManager) -> Vec<u8>,
) -> Vec<u8> {
    let commit = make(thief);
    let staged = thief.staged_change().unwrap().id();
    thief.discard(staged).unwrap();
    commit
}

fn all_open(all: &mut [CascadingCipherManager]) {
    let wire = all[0].encrypt("text").unwrap();
    for member in &mut all[1..] {
        assert_eq!(member.decrypt(&wire).unwrap(), "text");
    }
}

#[test]
fn a_commit_or_proposal_that_is_still_to_come_is_early() {
    let mut all = group(&["a", "b", "c"]);
    let update = all[0].update().unwrap();
    settle(&mut all, 0, &update, &[2]);
    let next = all[1].update().unwrap();
    let leave = all[1].leave().unwrap();
    for wire in [&next.commit, &leave] {
        assert!(matches!(all[2].process(wire), Err(Incoming::Early { epoch: Some(2) })));
    }
    all[2].process(&update.commit).unwrap();
    all[2].process(&leave).unwrap();
    settle(&mut all, 1, &next, &[]);
    all_read_all(&mut all);
}

/// A request that somebody did not receive in time is lost there, and its author is told.
#[test]
fn who_asked_to_leave_too_late_is_told_to_ask_again() {
    let mut all = group(&["a", "b", "c"]);
    let c = all[2].member_id().unwrap();
    let late = all[2].leave().unwrap();
    assert!(all[2].is_leaving());
    let update = all[0].update().unwrap();
    all[0].confirm(update.id()).unwrap();
    for at in [1, 2] {
        let Incoming::Commit(summary) = all[at].process(&update.commit).unwrap() else { panic!() };
        assert_eq!(summary.leave_again, at == 2);
    }
    for at in [0, 1] {
        assert!(matches!(all[at].process(&late), Err(Incoming::Stale { epoch: Some(1) })));
    }
    let again = all[2].leave().unwrap();
    all[0].process(&again).unwrap();
    // Who received it in time does not forget it, whoever commits first.
    let update = all[1].update().unwrap();
    settle(&mut all, 1, &update, &[]);
    assert_eq!(all[0].leaving().collect::<Vec<_>>(), [c]);
    let change = all[0].update().unwrap();
    assert_eq!(all[0].confirm(change.id()).unwrap().summary.removed, [c]);
    let Incoming::Commit(summary) = all[2].process(&change.commit).unwrap() else { panic!() };
    assert!(summary.removed_self && !summary.leave_again && !all[2].is_leaving());
}

#[test]
fn a_request_to_leave_is_taken_back_in_whatever_order_they_come() {
    for reversed in [false, true] {
        let mut all = group(&["a", "b", "c"]);
        let mut requests = [all[2].leave().unwrap(), all[2].cancel_leave().unwrap()];
        assert!(!all[2].is_leaving());
        if reversed {
            requests.reverse();
        }
        for wire in &requests {
            all[0].process(wire).unwrap();
        }
        all[1].process(&requests[0]).unwrap();
        assert_eq!(all[0].leaving().count(), 0);
        let change = all[0].update().unwrap();
        settle(&mut all, 0, &change, &[]);
        assert_eq!(all[2].members().len(), 3);
        all_read_all(&mut all);
    }
}

/// A removed member has no members, in whatever layer.
#[test]
fn a_removed_member_knows_of_no_members() {
    for (shape, build) in shapes() {
        let mut all: Vec<_> = [("a", true), ("b", false), ("c", false)]
            .map(|(name, founder)| build(name, founder).build().unwrap())
            .into();
        let packages = [all[1].key_package().unwrap(), all[2].key_package().unwrap()];
        let change = all[0].add_members(packages).unwrap();
        let welcome = all[0].confirm(change.id()).unwrap().welcome.unwrap();
        all[1].join(&welcome).unwrap();
        all[2].join(&welcome).unwrap();
        assert_eq!(all[2].members().len(), 3, "{shape}");
        let c = all[2].member_id().unwrap();
        let change = all[0].remove_members([c]).unwrap();
        settle(&mut all, 0, &change, &[]);
        assert_eq!(all[2].members(), [], "{shape}");
        assert_eq!(all[2].members_named("c"), [], "{shape}");
        assert_eq!(all[1].members().len(), 2, "{shape}");
    }
}

/// One who commits shows two members two changes. Each follows one that is genuine, and what they compare
/// tells them.
#[test]
fn who_shows_two_members_two_changes_is_found_by_comparing() {
    for (shape, build) in shapes() {
        let mut all: Vec<_> = [("liar", true), ("b", false), ("c", false), ("d", false)]
            .map(|(name, founder)| build(name, founder).build().unwrap())
            .into();
        assert_eq!(all[1].epoch_authenticator(), None, "{shape}");
        let packages: Vec<_> =
            all[1..].iter_mut().map(|member| member.key_package().unwrap()).collect();
        let change = all[0].add_members(packages).unwrap();
        let welcome = all[0].confirm(change.id()).unwrap().welcome.unwrap();
        all[1..].iter_mut().for_each(|member| drop(member.join(&welcome).unwrap()));
        let same = |all: &[CascadingCipherManager]| {
            let said: Vec<_> = all.iter().map(|member| member.epoch_authenticator()).collect();
            assert!(said[0].is_some() && said.iter().all(|other| *other == said[0]), "{shape}");
            said[0]
        };
        let first = same(&all);
        let update = all[2].update().unwrap();
        settle(&mut all, 2, &update, &[]);
        assert_ne!(same(&all), first, "{shape}");

        let shown: Vec<_> = (0..2)
            .map(|_| {
                let change = all[0].update().unwrap();
                all[0].discard(change.id()).unwrap();
                change.commit
            })
            .collect();
        for (member, commit) in [(1, &shown[0]), (2, &shown[1]), (3, &shown[1])] {
            all[member].process(commit).unwrap();
            assert_eq!(all[member].epoch(), Some(3), "{shape}");
        }
        assert_ne!(all[1].epoch_authenticator(), all[2].epoch_authenticator(), "{shape}");
        assert_eq!(all[2].epoch_authenticator(), all[3].epoch_authenticator(), "{shape}");
    }
}

/// Everyday life: what others sent before a removal arrives at the removed member after it.
#[test]
fn what_comes_late_to_a_removed_member_is_stale() {
    for (shape, build) in shapes() {
        let mut all: Vec<_> = [("a", true), ("b", false), ("c", false)]
            .map(|(name, founder)| build(name, founder).build().unwrap())
            .into();
        let packages = [all[1].key_package().unwrap(), all[2].key_package().unwrap()];
        let change = all[0].add_members(packages).unwrap();
        let welcome = all[0].confirm(change.id()).unwrap().welcome.unwrap();
        all[1].join(&welcome).unwrap();
        all[2].join(&welcome).unwrap();
        let (a, c) = (all[0].member_id().unwrap(), all[2].member_id().unwrap());
        // A stack of DH alone takes no proposals.
        let mut late = Vec::new();
        late.extend(all[1].leave().ok());
        late.extend(all[1].propose_remove(a).ok());
        assert_eq!(late.is_empty(), shape == "DH");
        late.push(copy_of(&mut all[1], |b| b.update().unwrap().commit));
        let change = all[0].remove_members([c]).unwrap();
        settle(&mut all, 0, &change, &[]);
        for wire in &late {
            let incoming = all[2].receive(wire).unwrap();
            assert!(matches!(incoming, Incoming::Stale { .. }), "{shape}: {incoming:?}");
        }
    }
}
