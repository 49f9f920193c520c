//! Members who fell out of step and come back by a new key package.

use cc_core::store::Failure;

use super::*;
use crate::message_key::tests::used;

/// `by` removes and adds `who` in one change, which the others process. All restart at every step.
fn comes_back(people: &mut [Person], by: usize, who: usize, binding: u8) -> Change {
    let (id, package) = (people[who].id, people[who].package());
    let change = people[by].try_stage(&[(id, package)], &[id], binding).unwrap();
    people[by].restart();
    people[by].confirm();
    let inviter = people[by].id;
    for (n, person) in people.iter_mut().enumerate() {
        if n == who {
            assert_eq!(person.join(&change.welcome, binding).unwrap(), Some(inviter));
        } else if n != by {
            let outcome = person.process(&change.commit, binding).unwrap();
            assert_eq!((&outcome.added[..], &outcome.removed[..]), (&[id][..], &[id][..]));
            assert_eq!((outcome.committer, outcome.removed_self), (Some(inviter), false));
        }
        person.restart();
    }
    let members = people[0].layer.members();
    assert_eq!(members.len(), people.len());
    for person in people.iter() {
        assert_eq!(person.epoch(), people[0].epoch());
    }
    change
}

fn all_read_all(people: &mut [Person]) {
    for _ in 0..2 {
        all_to_all(&mut people.iter_mut().collect::<Vec<_>>());
    }
}

/// Alice, Bob, Charlie and Dora, who all spoke.
fn four() -> Vec<Person> {
    let [mut alice, mut bob, mut charlie] = three();
    let mut dora = person(false);
    let change = alice.stage(&mut [&mut dora], &[], 3);
    alice.confirm();
    for other in [&mut bob, &mut charlie] {
        let _ = other.process(&change.commit, 3).unwrap();
    }
    dora.join(&change.welcome, 3).unwrap();
    let mut people = vec![alice, bob, charlie, dora];
    all_read_all(&mut people);
    people
}

#[test]
fn who_missed_commits_comes_back() {
    let mut people = four();
    for binding in [4, 5] {
        let change = people[0].stage(&mut [], &[], binding);
        people[0].confirm();
        let _ = people[2].process(&change.commit, binding).unwrap();
        let _ = people[3].process(&change.commit, binding).unwrap();
    }
    let wire = people[0].seal(b"in a chain that Bob lacks");
    let _ = people[2].open(&wire).unwrap();
    // A change of his own is forgotten with the rest.
    let _ = people[1].stage(&mut [], &[], 9);
    let change = comes_back(&mut people, 3, 1, 6);
    assert_eq!(kind(people[1].layer.confirm_change()), LayerErrorKind::NotReady);
    assert!(people[1].open(&wire).is_err());
    assert_eq!(kind(people[1].join(&change.welcome, 6)), LayerErrorKind::Rejected, "a replay");
    all_read_all(&mut people);
    // Once more, and by somebody else.
    comes_back(&mut people, 0, 1, 7);
    all_read_all(&mut people);
}

#[test]
fn who_went_back_to_an_old_copy_comes_back() {
    let mut people = four();
    let old = people[1].copy();
    let mut seen = Vec::new();
    for n in 0..3 {
        for sender in 0..4 {
            let wire = people[sender].seal(&[n]);
            for reader in (0..4).filter(|reader| *reader != sender) {
                let _ = people[reader].open(&wire).unwrap();
            }
            seen.push(wire);
        }
    }
    // It must not send until it is back: its chains were used by then.
    people[1].kept = old;
    comes_back(&mut people, 2, 1, 4);
    for person in &mut people {
        assert!(seen.iter().all(|wire| person.open(wire).is_err()));
    }
    all_read_all(&mut people);
    assert!(used() > 0);
}

/// Nobody is out of step, and still it works: whoever comes back may process the commit or not.
#[test]
fn who_comes_back_may_see_its_removal_first() {
    let mut people = four();
    let (id, package) = (people[1].id, people[1].package());
    all_read_all(&mut people);
    let change = people[0].try_stage(&[(id, package)], &[id], 4).unwrap();
    people[0].confirm();
    for person in &mut people[1..] {
        let outcome = person.process(&change.commit, 4).unwrap();
        assert_eq!((outcome.added, outcome.removed), (vec![id], vec![id]));
        assert_eq!(outcome.removed_self, person.id == id);
    }
    assert_eq!(people[1].layer.standing(), Standing::Removed);
    people[1].join(&change.welcome, 4).unwrap();
    all_read_all(&mut people);
}

#[test]
fn a_revert_brings_the_group_back() {
    let mut people = four();
    let (id, package) = (people[1].id, people[1].package());
    let change = people[0].try_stage(&[(id, package)], &[id], 4).unwrap();
    let own = people[1].stage(&mut [], &[], 5);
    let before = everything(&people[1].layer);
    for fail_to_save in [false, true] {
        assert_eq!(people[1].layer.join(&change.welcome, &parts(4)).unwrap(), Some(people[0].id));
        assert_eq!(people[1].epoch(), 4);
        if fail_to_save {
            people[1].store.fail_after(0, Failure::Full);
            assert!(people[1].save().is_err());
        }
        people[1].layer.revert();
        assert_eq!(everything(&people[1].layer), before);
    }
    people[0].discard();
    people[1].confirm();
    for n in [0, 2, 3] {
        let _ = people[n].process(&own.commit, 5).unwrap();
    }
    all_read_all(&mut people);
}

#[test]
fn a_message_before_the_commit_is_early() {
    let mut people = four();
    let (id, package) = (people[1].id, people[1].package());
    let change = people[0].try_stage(&[(id, package)], &[id], 4).unwrap();
    people[1].join(&change.welcome, 4).unwrap();
    let back = people[1].seal(b"I am back");
    for n in [0, 2, 3] {
        assert_eq!(kind(people[n].open(&back)), LayerErrorKind::Early);
    }
    people[0].confirm();
    for n in [2, 3] {
        let _ = people[n].process(&change.commit, 4).unwrap();
    }
    for n in [0, 2, 3] {
        people[n].reads(&back, b"I am back", id);
    }
    all_read_all(&mut people);
}

/// What it sent before it went is of the epoch before, and not taken for what it sends now.
#[test]
fn messages_from_before_say_so() {
    let mut people = Vec::from(three());
    let withheld = people[2].seal(b"withheld");
    comes_back(&mut people, 1, 2, 3);
    all_read_all(&mut people);
    let (text, opened) = people[0].open_kept(&withheld).unwrap();
    assert_eq!((&text[..], opened), (&b"withheld"[..], Opened::by(people[2].id).in_epoch(2)));
}

/// The other way round: an old copy does not remember what it opened, and opens it no second time.
#[test]
fn an_old_copy_opens_nothing_again() {
    let mut people = Vec::from(three());
    let old = people[0].copy();
    let seen = people[2].seal(b"seen");
    let charlie = people[2].id;
    people[0].reads(&seen, b"seen", charlie);
    people[0].kept = old;
    comes_back(&mut people, 1, 0, 3);
    assert!(people[0].open(&seen).is_err());
    all_read_all(&mut people);
    assert!(people[0].open(&seen).is_err());
}

#[test]
fn who_may_come_back() {
    let mut people = four();
    let (id, package) = (people[1].id, people[1].package());
    let others = people[2].id;
    // Without its removal, in place of another, and by itself.
    let packages = [(id, package)];
    for removed in [&[][..], &[others][..]] {
        assert_eq!(kind(people[0].try_stage(&packages, removed, 4)), LayerErrorKind::Misuse);
    }
    assert_eq!(kind(people[1].try_stage(&packages, &[id], 4)), LayerErrorKind::Misuse);
    // A commit in which somebody does so.
    let added = [NewMember { id, part: &packages[0].1, binding: [0; 32] }];
    let request = ChangeRequest { added: &added, removed: &[id] };
    let part = people[0].layer.stage_change(&request, &parts(4)).unwrap().commit;
    people[0].layer.revert();
    let wire = people[1].seal(&part);
    assert_eq!(kind(people[2].process(&wire, 4)), LayerErrorKind::Rejected);
    let wire = people[0].seal(&part);
    let outcome = people[2].process(&wire, 4).unwrap();
    assert_eq!((outcome.added, outcome.removed), (vec![id], vec![id]));
}
