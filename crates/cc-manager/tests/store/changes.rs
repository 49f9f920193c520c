//! Changes that are staged, overtaken or asked for, and welcomes, over restarts.

use super::*;

#[test]
fn a_staged_change_survives() {
    let [mut alice, mut bob, mut charlie] = three();
    let mut dave = Person::new("Dave", false);
    let package = dave.manager.key_package().unwrap();
    dave.restart();
    let change = alice.manager.add_members([package]).unwrap();
    alice.restart();
    let staged = alice.manager.staged_change().unwrap().clone();
    assert_eq!(staged, change);
    assert!(matches!(alice.manager.update(), Err(Error::ChangeStaged(id)) if id == change.id()));
    let welcome = alice.manager.confirm(staged.id()).unwrap().welcome.unwrap();
    alice.restart();
    assert!(alice.manager.staged_change().is_none());
    let [entry] = &alice.manager.outbox().unwrap()[..] else { panic!() };
    assert_eq!((entry.kind, entry.epoch), (Kind::Welcome, alice.manager.epoch()));
    assert_eq!(entry.recipients, Recipients::Members(vec![dave.manager.member_id().unwrap()]));
    assert_eq!(entry.bytes, welcome);
    bob.manager.process(&change.commit).unwrap();
    charlie.manager.process(&change.commit).unwrap();
    dave.manager.join(&welcome).unwrap();
    all_read_all(&mut [alice, bob, charlie, dave]);
}

#[test]
fn what_was_overtaken_is_staged_again() {
    let [mut alice, mut bob, mut charlie] = three();
    let [mut dave, mut erin] = ["Dave", "Erin"].map(|name| Person::new(name, false));
    let packages = [&mut dave, &mut erin].map(|joiner| joiner.manager.key_package().unwrap());
    let gone = charlie.manager.member_id().unwrap();
    assert!(alice.manager.restage().unwrap().is_none(), "nothing was overtaken");
    let lost = alice.manager.change(&packages, [gone]).unwrap();
    // Bob adds Dave as well, and is first.
    let won = bob.manager.add_members([&packages[0]]).unwrap();
    let welcome = bob.manager.confirm(won.id()).unwrap().welcome.unwrap();
    let Incoming::Commit(summary) = alice.manager.process(&won.commit).unwrap() else { panic!() };
    assert_eq!(summary.superseded, Some(lost.id()));
    charlie.manager.process(&won.commit).unwrap();
    dave.manager.join(&welcome).unwrap();
    alice.restart();

    let again = alice.manager.restage().unwrap().unwrap();
    let confirmed = alice.manager.confirm(again.id()).unwrap();
    let summary = confirmed.summary;
    assert_eq!(summary.added, [erin.manager.member_id().unwrap()], "Dave is there already");
    assert_eq!(summary.removed, [gone]);
    for person in [&mut bob, &mut dave, &mut charlie] {
        person.manager.process(&again.commit).unwrap();
    }
    charlie.restart();
    assert_eq!(charlie.manager.standing(), Some(Standing::Removed));
    erin.manager.join(confirmed.welcome.unwrap()).unwrap();
    assert!(alice.manager.restage().unwrap().is_none(), "it is done");
    all_read_all(&mut [alice, bob, dave, erin]);
}

#[test]
fn a_change_that_somebody_else_made_is_not_made_again() {
    let [mut alice, mut bob, mut charlie] = three();
    let gone = charlie.manager.member_id().unwrap();
    let _overtaken = alice.manager.remove_members([gone]).unwrap();
    let won = bob.manager.remove_members([gone]).unwrap();
    bob.manager.confirm(won.id()).unwrap();
    alice.manager.process(&won.commit).unwrap();
    assert!(alice.manager.restage().unwrap().is_none());
    // An update is this member's own affair.
    let _overtaken = alice.manager.update().unwrap();
    let won = bob.manager.update().unwrap();
    bob.manager.confirm(won.id()).unwrap();
    alice.manager.process(&won.commit).unwrap();
    let again = alice.manager.restage().unwrap().unwrap();
    alice.manager.discard(again.id()).unwrap();
    assert!(alice.manager.restage().unwrap().is_none(), "discarded on purpose");
    charlie.restart();
}

/// A member goes back to a copy of its state, in which message keys are used that were used since. It
/// comes back into the group, with its id.
#[test]
fn a_member_with_an_old_copy_comes_back() {
    let [mut alice, mut bob, mut charlie] = three();
    let old = charlie.copy();
    all_read_all(
        &mut [&mut alice, &mut bob, &mut charlie]
            .map(|person| Person { manager: person.opened(), store: Arc::clone(&person.store) }),
    );
    alice.restart();
    bob.restart();
    let change = alice.manager.update().unwrap();
    assert_eq!(alice.manager.confirm(change.id()).unwrap().welcome, None);
    bob.manager.process(&change.commit).unwrap();

    charlie.store = old;
    charlie.restart();
    let id = charlie.manager.member_id();
    assert!(matches!(charlie.manager.key_package(), Err(Error::GroupExists)));
    let package = charlie.manager.rejoin_package().unwrap();
    charlie.restart();
    let change = bob.manager.readmit_members([&package]).unwrap();
    let confirmed = bob.manager.confirm(change.id()).unwrap();
    let summary = confirmed.summary;
    assert_eq!((summary.added, summary.removed), (vec![id.unwrap()], vec![id.unwrap()]));
    let Incoming::Commit(summary) = alice.manager.process(&change.commit).unwrap() else {
        panic!()
    };
    assert_eq!((summary.added, summary.removed), (vec![id.unwrap()], vec![id.unwrap()]));
    let joined = charlie.manager.join(confirmed.welcome.unwrap()).unwrap();
    assert_eq!(joined.inviter, bob.manager.member_id());
    assert_eq!(charlie.manager.member_id(), id);
    let mut people = [alice, bob, charlie];
    all_read_all(&mut people);
    people.iter_mut().for_each(Person::restart);
    all_read_all(&mut people);
    // It asked once, and was taken in once.
    let change = people[0].manager.update().unwrap();
    people[0].manager.discard(change.id()).unwrap();
    let change = people[0].manager.readmit_members([&package]).unwrap();
    let welcome = people[0].manager.confirm(change.id()).unwrap().welcome.unwrap();
    assert!(matches!(people[2].manager.join(&welcome), Err(IncomingWelcome::Unasked)));
}

/// An old key package of Charlie's is in other hands. He sees where he is led before he goes.
#[test]
fn a_welcome_to_another_group_can_be_refused() {
    let mut charlie = Person::new("Charlie", false);
    let old = charlie.manager.key_package().unwrap();
    let mut alice = Person::new("Alice", true);
    let package = charlie.manager.key_package().unwrap();
    let change = alice.manager.add_members([package]).unwrap();
    let welcome = alice.manager.confirm(change.id()).unwrap().welcome.unwrap();
    charlie.manager.join(&welcome).unwrap();
    let mut mallory = Person::new("Mallory", true);
    let elsewhere = mallory.manager.add_members([old]).unwrap();
    let welcome = mallory.manager.confirm(elsewhere.id()).unwrap().welcome.unwrap();

    let package = charlie.manager.rejoin_package().unwrap();
    let inviter = alice.manager.member_id();
    let by_alice = |joined: &cc_manager::Joined| joined.inviter == inviter;
    let refused = charlie.manager.receive_welcome_if(&welcome, by_alice).unwrap();
    let Err(IncomingWelcome::Joined(refused)) = refused else { panic!() };
    assert_eq!(refused.inviter, mallory.manager.member_id());
    assert_eq!(refused.members.len(), 2);
    let wire = alice.manager.encrypt("still in the old group").unwrap();
    assert_eq!(charlie.manager.decrypt(&wire).unwrap(), "still in the old group");
    let change = alice.manager.readmit_members([package]).unwrap();
    let welcome = alice.manager.confirm(change.id()).unwrap().welcome.unwrap();
    charlie.manager.receive_welcome_if(&welcome, by_alice).unwrap().unwrap();
    all_read_all(&mut [alice, charlie]);
}

#[test]
fn no_welcome_is_taken_twice() {
    let person = || {
        let builder = CascadingCipherManager::builder();
        let builder = builder.layer(common::dh()).layer(AesLayer::inherited());
        let store = Shared::default();
        let manager = builder.create(Arc::clone(&store), NAME).unwrap();
        Person { manager, store }
    };
    let (mut alice, mut bob) = (person(), person());
    let change = alice.manager.add_members([bob.manager.key_package().unwrap()]).unwrap();
    let welcome = alice.manager.confirm(change.id()).unwrap().welcome.unwrap();
    bob.manager.join(&welcome).unwrap();
    let update = alice.manager.update().unwrap();
    alice.manager.confirm(update.id()).unwrap();
    bob.manager.process(&update.commit).unwrap();
    bob.manager.rejoin_package().unwrap();
    bob.restart();
    // Who kept the welcome would lead Bob back to the first epoch.
    assert!(matches!(bob.manager.join(&welcome), Err(IncomingWelcome::AlreadyUsed)));
    assert_eq!(bob.manager.epoch(), Some(2));
    bob.manager.cancel_rejoin().unwrap();
    assert!(matches!(bob.manager.join(&welcome), Err(IncomingWelcome::AlreadyUsed)));
    all_read_all(&mut [alice, bob]);
}

#[test]
fn nobody_is_moved_to_a_group_it_did_not_ask_for() {
    let [_, mut bob, mut charlie] = three();
    let mut mallory = Person::new("Mallory", true);
    let package = charlie.manager.rejoin_package().unwrap();
    // Of somebody who is a member already.
    assert!(matches!(bob.manager.propose_add(&package), Err(Error::Disagreement)));
    let change = bob.manager.readmit_members([&package]).unwrap();
    let welcome = bob.manager.confirm(change.id()).unwrap().welcome.unwrap();
    charlie.manager.join(&welcome).unwrap();
    // The package is spent, and nothing else is accepted.
    let change = mallory.manager.add_members([&package]).unwrap();
    let welcome = mallory.manager.confirm(change.id()).unwrap().welcome.unwrap();
    assert!(matches!(charlie.manager.join(&welcome), Err(IncomingWelcome::Unasked)));
    charlie.manager.rejoin_package().unwrap();
    assert!(charlie.manager.join(&welcome).is_err(), "a spent package");
}

/// Somebody keeps a request to leave back until its author was added anew.
#[test]
fn an_old_request_to_leave_removes_nobody() {
    let [mut alice, mut bob, mut charlie] = three();
    let old = charlie.manager.leave().unwrap();
    let package = charlie.manager.rejoin_package().unwrap();
    let change = alice.manager.readmit_members([&package]).unwrap();
    let welcome = alice.manager.confirm(change.id()).unwrap().welcome.unwrap();
    bob.manager.process(&change.commit).unwrap();
    charlie.manager.join(&welcome).unwrap();
    for person in [&mut alice, &mut bob] {
        assert!(matches!(person.manager.process(&old), Err(Incoming::Stale { .. })));
        person.restart();
        assert!(matches!(person.manager.process(&old), Err(Incoming::Stale { .. })));
        assert_eq!(person.manager.leaving().count(), 0);
    }
    let new = charlie.manager.leave().unwrap();
    alice.manager.process(&new).unwrap();
    alice.restart();
    assert_eq!(alice.manager.leaving().next(), charlie.manager.member_id());
    let change = alice.manager.update().unwrap();
    assert_eq!(
        alice.manager.confirm(change.id()).unwrap().summary.removed,
        [charlie.manager.member_id().unwrap()]
    );
}
