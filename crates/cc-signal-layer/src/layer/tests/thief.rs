//! What a thief opens, who has a copy of a member's store (or of its account alone) from some moment, and
//! all traffic. It does what the member does, and never sends.

use super::*;

/// A copy of a member's state. It opens what it can of what it is shown.
struct Thief(Person);

impl Thief {
    fn of(victim: &Person) -> Self {
        Self(Person { id: victim.id, kept: victim.copy() })
    }

    /// Follows a commit as the victim does, where it can.
    fn follows(&mut self, commit: &[u8], binding: u8) -> bool {
        self.0.process(commit, binding).is_ok()
    }

    fn opens(&mut self, wires: &[Vec<u8>]) -> usize {
        wires.iter().filter(|wire| self.0.open(wire).is_ok()).count()
    }
}

/// Everybody sends `count` messages and reads the others'.
fn talk(people: &mut [Person], count: usize) -> Vec<Vec<u8>> {
    let mut wires = Vec::new();
    for sender in 0..people.len() {
        for _ in 0..count {
            let wire = people[sender].seal(b"secret");
            for reader in (0..people.len()).filter(|reader| *reader != sender) {
                let _ = people[reader].open(&wire).unwrap();
            }
            wires.push(wire);
        }
    }
    wires
}

/// `by` changes the group, and the others that stay follow; gives the commit.
fn change(people: &mut Vec<Person>, by: usize, removed: &[usize], binding: u8) -> Vec<u8> {
    let gone: Vec<_> = removed.iter().map(|n| people[*n].id).collect();
    let change = people[by].stage(&mut [], &gone, binding);
    people[by].confirm();
    for n in (0..people.len()).filter(|n| *n != by) {
        let outcome = people[n].process(&change.commit, binding).unwrap();
        assert_eq!(outcome.removed_self, removed.contains(&n));
    }
    let mut index = 0..;
    people.retain(|_| !removed.contains(&index.next().unwrap()));
    change.commit
}

/// The account holds no key that any message of the group was sealed to.
#[test]
fn an_account_alone_opens_nothing() {
    let (mut alice, mut bob) = (person(true), person(false));
    let package = bob.package();
    let first = alice.try_stage(&[(bob.id, package)], &[], 1).unwrap();
    alice.confirm();
    bob.join(&first.welcome, 1).unwrap();
    let mut people = vec![alice, bob];
    let mut traffic = talk(&mut people, 100);
    traffic.push(change(&mut people, 0, &[], 2));
    traffic.extend(talk(&mut people, 100));
    // All that the account's record has, in a layer of its own.
    let stolen = Account::load(people[1].layer.account().export().expose()).unwrap();
    let mut layer = SignalLayer::group(stolen);
    let stack = StackId::of(&[layer.descriptor()]);
    let member = Some(people[1].id);
    layer.attach(&Attachment { stack, position: 0, member, founding: false }).unwrap();
    let mut thief = Person { id: people[1].id, kept: Kept::new(layer) };
    assert_eq!(kind(thief.join(&first.welcome, 1)), LayerErrorKind::Rejected);
    assert!(traffic.iter().all(|wire| thief.open(wire).is_err()));
}

/// Also with the whole state, nothing opens that was read before, in whatever epoch.
#[test]
fn what_was_read_stays_closed() {
    let mut people = Vec::from(three());
    let mut traffic = talk(&mut people, 20);
    let unread = people[0].seal(b"not read yet");
    for (by, binding) in [(0, 3), (2, 4)] {
        traffic.push(change(&mut people, by, &[], binding));
        traffic.extend(talk(&mut people, 20));
    }
    let mut thief = Thief::of(&people[1]);
    assert_eq!(thief.opens(&traffic), 0);
    // What was not read may be of use to somebody, as long as its epoch is kept.
    assert_eq!(thief.opens(&[unread]), 1);
    let mut traffic_of_sender = talk(&mut people, 5);
    let mut thief = Thief::of(&people[1]);
    let own: Vec<_> = traffic_of_sender.drain(5..10).collect();
    assert_eq!(thief.opens(&own), 0, "what the victim sent");
    // And the welcome, which was recorded.
    let mut dora = person(false);
    let invitation = people[0].stage(&mut [&mut dora], &[], 5);
    people[0].confirm();
    dora.join(&invitation.welcome, 5).unwrap();
    let mut thief = Thief::of(&dora);
    assert_eq!(kind(thief.0.join(&invitation.welcome, 5)), LayerErrorKind::Rejected);
}

/// Before the victim's update a thief reads everything, after it nothing of anybody, though it has seen
/// the commit.
#[test]
fn an_update_of_the_victim_heals() {
    let mut people = Vec::from(three());
    talk(&mut people, 3);
    let mut thief = Thief::of(&people[1]);
    let before = talk(&mut people, 2);
    assert_eq!(thief.opens(&before), 4, "all but the victim's own");
    // Somebody else's update does not help: the victim's keys are still the stolen ones.
    let commit = change(&mut people, 0, &[], 3);
    assert!(thief.follows(&commit, 3));
    assert_eq!(thief.opens(&talk(&mut people, 2)), 4);

    let commit = change(&mut people, 1, &[], 4);
    assert!(!thief.follows(&commit, 4));
    assert_eq!(thief.opens(&talk(&mut people, 2)), 0);
    // Nor later, whoever changes what.
    for (by, binding) in [(0, 5), (1, 6), (1, 7), (2, 8)] {
        let commit = change(&mut people, by, &[], binding);
        assert!(!thief.follows(&commit, binding));
        assert_eq!(thief.opens(&talk(&mut people, 1)), 0);
    }
}

/// Stolen between two updates in a row, the second closes what the first had opened.
#[test]
fn two_updates_in_a_row_expose_nothing() {
    let mut people = Vec::from(three());
    change(&mut people, 1, &[], 3);
    let mut thief = Thief::of(&people[1]);
    let commit = change(&mut people, 1, &[], 4);
    assert!(!thief.follows(&commit, 4));
    assert_eq!(thief.opens(&talk(&mut people, 2)), 0);
}

/// An update that is staged while the state is stolen: its secrets are in the copy, and it is as good as
/// one that was never made. The next one heals.
#[test]
fn a_staged_update_is_stolen_with_the_rest() {
    let mut people = Vec::from(three());
    let staged = people[1].stage(&mut [], &[], 3);
    let mut thief = Thief::of(&people[1]);
    people[1].confirm();
    thief.0.confirm();
    for n in [0, 2] {
        let _ = people[n].process(&staged.commit, 3).unwrap();
    }
    assert_eq!(thief.opens(&talk(&mut people, 1)), 2);
    let commit = change(&mut people, 1, &[], 4);
    assert!(!thief.follows(&commit, 4));
    assert_eq!(thief.opens(&talk(&mut people, 1)), 0);
}

/// After its removal neither the member nor a thief of its state reads anybody.
#[test]
fn a_removal_keeps_out() {
    let mut people = Vec::from(three());
    let mut thief = Thief::of(&people[2]);
    let mut removed = Thief::of(&people[2]);
    let sent_before = people[0].seal(b"before");
    let commit = change(&mut people, 0, &[2], 3);
    assert!(removed.0.process(&commit, 3).unwrap().removed_self);
    let after = talk(&mut people, 3);
    for thief in [&mut thief, &mut removed] {
        assert_eq!(thief.opens(&after), 0);
        assert_eq!(thief.opens(core::slice::from_ref(&sent_before)), 1, "it was a member then");
    }
    // An addition derives onward from what it does not have.
    let mut dora = person(false);
    let invitation = people[0].stage(&mut [&mut dora], &[], 4);
    people[0].confirm();
    let _ = people[1].process(&invitation.commit, 4).unwrap();
    dora.join(&invitation.welcome, 4).unwrap();
    people.push(dora);
    let after = talk(&mut people, 2);
    assert_eq!(thief.opens(&after) + removed.opens(&after), 0);
}

/// A removal that the victim makes heals it as an update does; one that another makes does not.
#[test]
fn a_removal_by_the_victim_heals_it() {
    for (by, expected) in [(1, 0), (0, 2)] {
        let mut people = Vec::from(three());
        let mut thief = Thief::of(&people[1]);
        let commit = change(&mut people, by, &[2], 3);
        assert_eq!(thief.follows(&commit, 3), expected > 0);
        assert_eq!(thief.opens(&talk(&mut people, 2)), expected);
        let commit = change(&mut people, 1, &[], 4);
        assert!(!thief.follows(&commit, 4));
        assert_eq!(thief.opens(&talk(&mut people, 2)), 0);
    }
}

/// An addition alone heals nobody, also not who made it; but the victim's keys are new, so the next
/// change of anybody that is not an addition alone does.
#[test]
fn an_addition_heals_with_the_next_change() {
    let mut people = Vec::from(three());
    let mut thief = Thief::of(&people[1]);
    let mut dora = person(false);
    let invitation = people[1].stage(&mut [&mut dora], &[], 3);
    people[1].confirm();
    for n in [0, 2] {
        let _ = people[n].process(&invitation.commit, 3).unwrap();
    }
    dora.join(&invitation.welcome, 3).unwrap();
    people.push(dora);
    // The commit is the victim's own: the thief takes it in from the side of its own store.
    assert!(!thief.follows(&invitation.commit, 3));
    let commit = change(&mut people, 0, &[], 4);
    assert!(!thief.follows(&commit, 4));
    assert_eq!(thief.opens(&talk(&mut people, 2)), 0);
}

/// A newcomer reads nothing older, and its recorded welcome opens for nobody else.
#[test]
fn a_newcomer_reads_nothing_older() {
    let mut people = Vec::from(three());
    let older = talk(&mut people, 3);
    let mut dora = person(false);
    let invitation = people[0].stage(&mut [&mut dora], &[], 3);
    people[0].confirm();
    let mut before = Thief::of(&people[1]);
    dora.join(&invitation.welcome, 3).unwrap();
    let mut thief = Thief::of(&dora);
    assert_eq!(thief.opens(&older), 0);
    assert!(before.0.join(&invitation.welcome, 3).is_err());
}

/// The keys of the roster are those of the latest commits, whatever the account rotates.
#[test]
fn rotated_prekeys_throw_nobody_out() {
    let mut people = Vec::from(three());
    for binding in 3..7 {
        for person in &mut people {
            person.layer.account_mut().rotate_prekeys().unwrap();
            person.settle(Ok(())).unwrap();
            person.restart();
        }
        let mut new = person(false);
        let by = usize::from(binding) % people.len();
        let package = (new.id, new.package());
        new.layer.account_mut().rotate_prekeys().unwrap();
        new.layer.account_mut().rotate_prekeys().unwrap();
        new.settle(Ok(())).unwrap();
        new.restart();
        let invitation = people[by].try_stage(&[package], &[], binding).unwrap();
        people[by].confirm();
        for n in (0..people.len()).filter(|n| *n != by) {
            let _ = people[n].process(&invitation.commit, binding).unwrap();
        }
        new.join(&invitation.welcome, binding).unwrap();
        people.push(new);
        change(&mut people, 0, &[], binding + 100);
        talk(&mut people, 1);
    }
    assert_eq!(people[0].epoch(), 10);
}
