//! Groups through the whole cascade: the source documents' conversation, and what goes wrong in one.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::common;

use cc_manager::{Error, Incoming, Proposal, Standing};
use common::{Follow as _, all_read_all, founder, group, joiner, settle};

#[test]
fn the_conversation_of_three() {
    let mut alice = founder("Alice");
    let mut bob = joiner("Bob");
    let change = alice.add_members([bob.key_package().unwrap()]).unwrap();
    let welcome = alice.confirm(change.id()).unwrap().welcome.unwrap();
    bob.join(&welcome).unwrap();
    let wire = alice.encrypt("Welcome to our secure group chat!").unwrap();
    assert_eq!(bob.decrypt(&wire).unwrap(), b"Welcome to our secure group chat!");
    let wire = bob.encrypt("Thanks, Alice!").unwrap();
    assert_eq!(alice.decrypt(&wire).unwrap(), "Thanks, Alice!");

    let earlier = alice.encrypt("before Charlie").unwrap();
    assert_eq!(bob.decrypt(&earlier).unwrap(), "before Charlie");
    let mut charlie = joiner("Charlie");
    let change = alice.add_members([charlie.key_package().unwrap()]).unwrap();
    let welcome = alice.confirm(change.id()).unwrap().welcome.unwrap();
    let Incoming::Commit(summary) = bob.process(&change.commit).unwrap() else { panic!() };
    assert_eq!(summary.added, [charlie.member_id().unwrap()]);
    assert_eq!(summary.committer, alice.member_id());
    let joined = charlie.join(&welcome).unwrap();
    assert_eq!(joined.inviter, alice.member_id());
    assert!(charlie.decrypt(&earlier).is_err());
    let wire = alice.encrypt("Hi Charlie").unwrap();
    assert_eq!(bob.decrypt(&wire).unwrap(), "Hi Charlie");
    assert_eq!(charlie.decrypt(&wire).unwrap(), "Hi Charlie");

    let mut all = [alice, bob, charlie];
    all_read_all(&mut all);
    assert_eq!(all[0].members(), all[1].members());
    assert_eq!(all[0].members(), all[2].members());
    assert_eq!(all[0].members_named("Charlie"), [all[2].member_id().unwrap()]);

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
fn a_removed_member_that_never_heard_of_it_reads_nothing() {
    let mut all = group(&["a", "b", "c"]);
    let change = {
        let c = all[2].member_id().unwrap();
        all[0].remove_members([c]).unwrap()
    };
    settle(&mut all, 0, &change, &[2]);
    let wire = all[0].encrypt("without c").unwrap();
    let error = all[2].decrypt(&wire).unwrap_err();
    assert!(error.is_early(), "{error}");
    assert_eq!(all[1].decrypt(&wire).unwrap(), "without c");
}

#[test]
fn two_groups_do_not_read_each_other() {
    let mut ours = group(&["a", "b"]);
    let mut theirs = group(&["a", "b"]);
    let wire = ours[0].encrypt("ours").unwrap();
    assert!(theirs[1].decrypt(&wire).is_err());
    assert_eq!(ours[1].decrypt(&wire).unwrap(), "ours");
    all_read_all(&mut theirs);
}

#[test]
fn a_staged_change_is_not_in_force() {
    let mut all = group(&["a", "b"]);
    let epoch = all[0].epoch();
    let mut c = joiner("c");
    let change = all[0].add_members([c.key_package().unwrap()]).unwrap();
    assert_eq!(all[0].epoch(), epoch);
    assert_eq!(all[0].members().len(), 2);
    all_read_all(&mut all);
    assert!(matches!(all[0].update(), Err(Error::ChangeStaged(id)) if id == change.id()));
    all[0].discard(change.id()).unwrap();
    assert!(matches!(all[0].confirm(change.id()), Err(Error::NoSuchChange(_))));
    all_read_all(&mut all);
    let update = all[1].update().unwrap();
    settle(&mut all, 1, &update, &[]);
    all_read_all(&mut all);
    assert_eq!(all[0].epoch(), epoch.map(|epoch| epoch + 1));
}

#[test]
fn of_two_commits_one_wins_and_nobody_is_lost() {
    let mut all = group(&["a", "b", "c"]);
    let mut d = joiner("d");
    let by_a = all[0].update().unwrap();
    let by_b = all[1].add_members([d.key_package().unwrap()]).unwrap();
    // The delivery service takes a's.
    all[0].confirm(by_a.id()).unwrap();
    let Incoming::Commit(summary) = all[1].process(&by_a.commit).unwrap() else { panic!() };
    assert_eq!(summary.superseded, Some(by_b.id()));
    all[2].process(&by_a.commit).unwrap();
    assert!(matches!(all[1].confirm(by_b.id()), Err(Error::NoSuchChange(_))));
    // b's commit comes late and is refused; b stages its intent again.
    assert!(all[2].process(&by_b.commit).is_err());
    assert!(all[0].process(&by_b.commit).is_err());
    all_read_all(&mut all);
    let again = all[1].add_members([d.key_package().unwrap()]).unwrap();
    let welcome = settle(&mut all, 1, &again, &[]).unwrap();
    d.join(&welcome).unwrap();
    all.push(d);
    all_read_all(&mut all);
}

#[test]
fn a_member_leaves_and_another_commits_it() {
    let mut all = group(&["a", "b", "c"]);
    let request = all[2].leave().unwrap();
    let leaver = all[2].member_id().unwrap();
    for member in &mut all[..2] {
        let Incoming::Proposal(proposed) = member.process(&request).unwrap() else { panic!() };
        assert_eq!((proposed.proposer, proposed.proposal), (leaver, Proposal::Leave));
        assert_eq!(member.leaving().collect::<Vec<_>>(), [leaver]);
    }
    assert!(matches!(all[1].process(&request), Err(Incoming::Duplicate)), "a replay");
    all_read_all(&mut all);
    let change = all[1].update().unwrap();
    settle(&mut all, 1, &change, &[]);
    assert_eq!(all[2].standing(), Some(Standing::Removed));
    assert_eq!(all[0].leaving().count(), 0);
    all.pop();
    all_read_all(&mut all);
}

#[test]
fn what_makes_no_sense_is_refused_with_a_reason() {
    let mut all = group(&["a", "b"]);
    let me = all[0].member_id().unwrap();
    assert!(matches!(all[0].remove_members([me]), Err(Error::RemovesSelf)));
    let mut outsider = joiner("x");
    let id = outsider.member_id().unwrap();
    assert!(matches!(all[0].remove_members([id]), Err(Error::NoSuchMember(_))));
    assert!(outsider.encrypt("no group").is_err());
    assert!(outsider.update().is_err());
    assert!(matches!(all[0].key_package(), Err(Error::GroupExists)));
    let update = all[0].update().unwrap();
    let own = all[0].process(&update.commit).unwrap_err();
    assert!(matches!(own, Incoming::Own { change: Some(id) } if id == update.id()));
    all[0].confirm(update.id()).unwrap();
    all[1].process(&update.commit).unwrap();
    assert!(matches!(all[1].process(&update.commit), Err(Incoming::Duplicate)));
    // The same person twice in one change, and a member who is there already.
    let bundle = outsider.key_package().unwrap();
    assert!(all[0].add_members([&bundle, &bundle]).is_err());
    let change = all[0].add_members([&bundle]).unwrap();
    let welcome = settle(&mut all, 0, &change, &[]).unwrap();
    outsider.join(&welcome).unwrap();
    assert!(all[1].add_members([&bundle]).is_err());
    all.push(outsider);
    all_read_all(&mut all);
}

#[test]
fn messages_of_the_epoch_before_still_open() {
    let mut all = group(&["a", "b", "c"]);
    let late = all[0].encrypt("late").unwrap();
    let update = all[1].update().unwrap();
    settle(&mut all, 1, &update, &[]);
    assert_eq!(all[2].decrypt(&late).unwrap(), "late");
    assert!(all[2].decrypt(&late).unwrap_err().is_rejected(), "a replay");
    // A message of the next epoch waits for its commit.
    let update = all[0].update().unwrap();
    settle(&mut all, 0, &update, &[2]);
    let early = all[1].encrypt("early").unwrap();
    assert!(all[2].decrypt(&early).unwrap_err().is_early());
    all[2].process(&update.commit).unwrap();
    assert_eq!(all[2].decrypt(&early).unwrap(), "early");
}

#[test]
fn the_application_may_refuse_a_commit() {
    let mut all = group(&["a", "b"]);
    let mut c = joiner("c");
    let change = all[0].add_members([c.key_package().unwrap()]).unwrap();
    let adds_nobody = |incoming: &Incoming| matches!(incoming, Incoming::Commit(summary) if summary.added.is_empty());
    let declined = all[1].receive_if(&change.commit, [], adds_nobody).unwrap();
    assert!(matches!(declined, Err(Incoming::Commit(summary)) if summary.added.len() == 1));
    assert_eq!(all[1].members().len(), 2);
    all[0].discard(change.id()).unwrap();
    all_read_all(&mut all);
}

#[test]
fn proposals_of_several_members_are_committed_at_once() {
    let mut all = group(&["a", "b", "c", "d"]);
    let ids: Vec<_> = all.iter().map(|member| member.member_id().unwrap()).collect();
    let mut e = joiner("e");
    let bundle = e.key_package().unwrap();
    let wires = [
        all[1].propose_add(&bundle).unwrap(),
        all[2].propose_remove(ids[3]).unwrap(),
        all[3].propose_remove(ids[0]).unwrap(),
        all[3].leave().unwrap(),
    ];
    for (wire, by) in wires.iter().zip([1, 2, 3, 3]) {
        for (i, member) in all.iter_mut().enumerate().filter(|(i, _)| *i != by) {
            let Incoming::Proposal(proposed) = member.process(wire).unwrap() else { panic!() };
            assert_eq!(proposed.proposer, ids[by], "seen by {i}");
            assert!(matches!(member.process(wire), Err(Incoming::Duplicate)), "a replay");
        }
    }
    all_read_all(&mut all);
    assert_eq!(all[0].proposals().count(), 3);
    assert_eq!(all[3].proposals().count(), 3, "their own as well");
    // a cannot commit its own removal; what d asked for comes with any change.
    let change = all[0].commit_proposals().unwrap();
    let confirmed = all[0].confirm(change.id()).unwrap();
    let summary = confirmed.summary;
    assert_eq!(summary.added, [e.member_id().unwrap()]);
    assert_eq!(summary.removed, [ids[3]]);
    for member in &mut all[1..] {
        member.process(&change.commit).unwrap();
        assert_eq!(member.proposals().count(), 0, "they were for that epoch");
    }
    e.join(confirmed.welcome.unwrap()).unwrap();
    all[3] = e;
    all_read_all(&mut all);
}

#[test]
fn proposals_hold_in_their_epoch_only() {
    let mut all = group(&["a", "b", "c"]);
    let c = all[2].member_id().unwrap();
    let late = all[1].propose_remove(c).unwrap();
    let update = all[2].update().unwrap();
    settle(&mut all, 2, &update, &[]);
    assert!(matches!(all[0].process(&late), Err(Incoming::Stale { epoch: Some(1) })));
    assert_eq!(all[1].proposals().count(), 0);
    assert!(matches!(all[1].propose_add(b"noise"), Err(Error::Decode(_))));
    let me = all[1].member_id().unwrap();
    assert!(matches!(all[1].propose_remove(me), Err(Error::RemovesSelf)));
    let stranger = joiner("x").member_id().unwrap();
    assert!(matches!(all[1].propose_remove(stranger), Err(Error::NoSuchMember(_))));
    all_read_all(&mut all);
}
