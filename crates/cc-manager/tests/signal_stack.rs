//! Four layers, each with its own keys: AES -> DH -> Signal -> MLS, and a group that talks through them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::common;

use cc_aes_layer::{AesKey, AesLayer};
use cc_manager::{CascadingCipherManager, Error, Incoming, Standing};
use cc_signal_layer::{Account, SignalLayer};
use common::{Follow as _, all_read_all, dh, mls, settle};

/// The AES key that the group has from elsewhere.
const SHARED: [u8; 32] = [7; 32];

fn person(name: &str, founder: bool) -> CascadingCipherManager {
    CascadingCipherManager::builder()
        .layer(AesLayer::new(AesKey::copy_from(&SHARED).unwrap()))
        .layer(dh())
        .layer(SignalLayer::group(Account::generate().unwrap()))
        .layer(mls(name, founder))
        .build()
        .unwrap()
}

/// Alice, who founded the group, and Bob.
fn two() -> [CascadingCipherManager; 2] {
    let (mut alice, mut bob) = (person("Alice", true), person("Bob", false));
    let change = alice.add_members([bob.key_package().unwrap()]).unwrap();
    let welcome = alice.confirm(change.id()).unwrap().welcome.unwrap();
    assert_eq!(bob.join(&welcome).unwrap().inviter, alice.member_id());
    [alice, bob]
}

/// Alice, Bob and Charlie.
fn three() -> Vec<CascadingCipherManager> {
    let mut all = Vec::from(two());
    let mut charlie = person("Charlie", false);
    let change = all[0].add_members([charlie.key_package().unwrap()]).unwrap();
    let welcome = settle(&mut all, 0, &change, &[]).unwrap();
    charlie.join(&welcome).unwrap();
    all.push(charlie);
    all
}

#[test]
fn the_conversation_of_three_through_four_layers() {
    let [mut alice, mut bob] = two();
    let wire = alice.encrypt("Welcome to our secure group chat!").unwrap();
    assert_eq!(bob.decrypt(&wire).unwrap(), "Welcome to our secure group chat!");
    assert!(bob.decrypt(&wire).is_err(), "a replay");
    let earlier = bob.encrypt("Thanks, Alice!").unwrap();
    assert_eq!(alice.decrypt(&earlier).unwrap(), "Thanks, Alice!");

    let mut charlie = person("Charlie", false);
    let change = bob.add_members([charlie.key_package().unwrap()]).unwrap();
    let welcome = bob.confirm(change.id()).unwrap().welcome.unwrap();
    let Incoming::Commit(summary) = alice.process(&change.commit).unwrap() else { panic!() };
    assert_eq!(summary.added, [charlie.member_id().unwrap()]);
    assert_eq!(summary.committer, bob.member_id());
    assert_eq!(charlie.join(&welcome).unwrap().inviter, bob.member_id());
    assert!(charlie.decrypt(&earlier).is_err());

    let mut all = [alice, bob, charlie];
    all_read_all(&mut all);
    all_read_all(&mut all);
    assert_eq!(all[0].members(), all[2].members());
    assert_eq!(all[0].members_named("Charlie"), [all[2].member_id().unwrap()]);
    let update = all[2].update().unwrap();
    settle(&mut all, 2, &update, &[]);
    all_read_all(&mut all);

    let [mut alice, mut bob, mut charlie] = all;
    let change = alice.remove_members(alice.members_named("Charlie")).unwrap();
    alice.confirm(change.id()).unwrap();
    bob.process(&change.commit).unwrap();
    let Incoming::Commit(summary) = charlie.process(&change.commit).unwrap() else { panic!() };
    assert!(summary.removed_self);
    assert_eq!(charlie.standing(), Some(Standing::Removed));
    let wire = alice.encrypt("Charlie is gone").unwrap();
    assert!(charlie.decrypt(&wire).is_err());
    assert!(charlie.encrypt("hello?").is_err());
    assert_eq!(bob.decrypt(&wire).unwrap(), "Charlie is gone");
    all_read_all(&mut [alice, bob]);
}

#[test]
fn lost_messages_and_a_lost_race_do_no_harm() {
    let mut all = three();
    // The messages that carry the chains come in the wrong order, or not at all.
    let wires: Vec<_> = (0..3).map(|n| all[0].encrypt(format!("{n}")).unwrap()).collect();
    for n in [2, 0] {
        assert_eq!(all[1].decrypt(&wires[n]).unwrap(), format!("{n}").as_str());
    }
    assert_eq!(all[2].decrypt(&wires[1]).unwrap(), "1");

    let by_a = all[0].update().unwrap();
    let by_b = all[1].update().unwrap();
    all[0].confirm(by_a.id()).unwrap();
    let Incoming::Commit(summary) = all[1].process(&by_a.commit).unwrap() else { panic!() };
    assert_eq!(summary.superseded, Some(by_b.id()));
    all[2].process(&by_a.commit).unwrap();
    assert!(all[2].process(&by_b.commit).is_err());
    assert!(matches!(all[1].confirm(by_b.id()), Err(Error::NoSuchChange(_))));
    all_read_all(&mut all);

    let change = all[1].update().unwrap();
    all[1].discard(change.id()).unwrap();
    all_read_all(&mut all);
    let request = all[2].leave().unwrap();
    all[0].process(&request).unwrap();
    let change = all[0].update().unwrap();
    settle(&mut all, 0, &change, &[]);
    assert_eq!(all[2].standing(), Some(Standing::Removed));
    all.pop();
    all_read_all(&mut all);
}

#[test]
fn damage_anywhere_is_refused_and_the_good_message_still_opens() {
    let [mut alice, mut bob] = two();
    let mut charlie = person("Charlie", false);
    let package = charlie.key_package().unwrap();
    for at in (0..package.len()).step_by(97) {
        let mut flipped = package.clone();
        flipped[at] ^= 1;
        assert!(alice.add_members([&flipped]).is_err(), "{at}");
    }
    let change = alice.add_members([package]).unwrap();
    let damaged = |wire: &[u8], at: usize| {
        let mut flipped = wire.to_vec();
        flipped[at] ^= 1;
        flipped
    };
    for at in (0..change.commit.len()).step_by(97) {
        assert!(bob.process(damaged(&change.commit, at)).is_err(), "{at}");
    }
    let welcome = alice.confirm(change.id()).unwrap().welcome.unwrap();
    for at in (0..welcome.len()).step_by(97) {
        assert!(charlie.join(damaged(&welcome, at)).is_err(), "{at}");
    }
    bob.process(&change.commit).unwrap();
    charlie.join(&welcome).unwrap();
    let wire = charlie.encrypt("hello").unwrap();
    for at in (0..wire.len()).step_by(61) {
        let mut flipped = wire.clone();
        flipped[at] ^= 1;
        assert!(alice.decrypt(&flipped).is_err(), "{at}");
        assert!(alice.decrypt(&wire[..at]).is_err(), "{at}");
    }
    assert_eq!(alice.decrypt(&wire).unwrap(), "hello");
    all_read_all(&mut [alice, bob, charlie]);
}
