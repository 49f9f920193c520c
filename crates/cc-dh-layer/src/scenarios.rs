//! Whole groups, driven through the traits as the manager drives them.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec,
    vec::Vec,
};

use cc_core::*;
use proptest::prelude::*;

use crate::*;

const CURVES: [Curve; 2] = [Curve::X25519, Curve::P256];

pub(crate) struct Person {
    pub(crate) id: MemberId,
    pub(crate) layer: DhLayer,
}

fn stack(curve: Curve) -> StackId {
    StackId::of(&[DhLayer::group(DhKeyPair::generate(curve).unwrap()).descriptor()])
}

pub(crate) fn person(curve: Curve, founding: bool) -> Person {
    let mut layer = DhLayer::group(DhKeyPair::generate(curve).unwrap());
    let id = MemberId::of([(&layer.descriptor(), layer.commitment())]);
    let place = Attachment { stack: stack(curve), position: 0, member: Some(id), founding };
    layer.attach(&place).unwrap();
    layer.apply();
    Person { id, layer }
}

pub(crate) fn parts(binding: u8) -> PartContext<'static> {
    PartContext { binding: [binding; 32], position: 0, chain: None, group_below: false, now: None }
}

impl Person {
    fn package(&mut self) -> Vec<u8> {
        self.layer.key_package(&parts(0)).unwrap()
    }

    fn try_change(
        &mut self,
        added: &mut [&mut Person],
        removed: &[MemberId],
        binding: u8,
    ) -> Result<ChangeParts, LayerError> {
        let packages: Vec<_> = added.iter_mut().map(|p| (p.id, p.package())).collect();
        let new: Vec<_> = packages
            .iter()
            .map(|(id, part)| NewMember { id: *id, part, binding: [0; 32] })
            .collect();
        let result =
            self.layer.stage_change(&ChangeRequest { added: &new, removed }, &parts(binding));
        if result.is_ok() {
            self.layer.apply()
        } else {
            self.layer.revert()
        }
        result
    }

    fn change(
        &mut self,
        added: &mut [&mut Person],
        removed: &[MemberId],
        binding: u8,
    ) -> ChangeParts {
        self.try_change(added, removed, binding).unwrap()
    }

    fn confirm(&mut self) {
        self.layer.confirm_change().unwrap();
        self.layer.apply();
    }

    fn process(&mut self, part: &[u8], binding: u8) -> Result<CommitOutcome, LayerError> {
        let result = self.layer.process_commit(part, &parts(binding));
        if result.is_ok() {
            self.layer.apply()
        } else {
            self.layer.revert()
        }
        result
    }

    fn join(&mut self, part: &[u8], binding: u8) -> Result<Option<MemberId>, LayerError> {
        let result = self.layer.join(part, &parts(binding));
        if result.is_ok() {
            self.layer.apply()
        } else {
            self.layer.revert()
        }
        result
    }

    pub(crate) fn seal(&mut self, text: &[u8]) -> Result<Vec<u8>, LayerError> {
        let binding = binding();
        let context = LayerContext { binding: &binding, position: 0, chain: None };
        let mut buffer = Buffer::new(text);
        self.layer.seal(&context, &mut buffer)?;
        Ok(buffer.as_slice().to_vec())
    }

    pub(crate) fn open(&mut self, wire: &[u8]) -> Result<Vec<u8>, LayerError> {
        self.open_at(wire, 0)
    }

    fn open_at(&mut self, wire: &[u8], position: u16) -> Result<Vec<u8>, LayerError> {
        let binding = binding();
        let context = LayerContext { binding: &binding, position, chain: None };
        let mut buffer = Buffer::new(wire);
        self.layer.open(&context, &mut buffer)?;
        Ok(buffer.as_slice().to_vec())
    }

    fn secret(&mut self) -> Contribution {
        self.layer.contribute().unwrap().unwrap()
    }

    fn epoch(&self) -> u64 {
        match self.layer.standing() {
            Standing::Member { epoch } => epoch,
            other => panic!("{other:?}"),
        }
    }
}

fn binding() -> Binding {
    let stack = StackId::of(&[]);
    Header::new(Kind::Application, &stack, vec![]).binding(&stack, b"ad")
}

pub(crate) fn kind(result: Result<impl Sized, LayerError>) -> LayerErrorKind {
    result.err().unwrap().kind()
}

/// Alice, Bob and Charlie at generation 2.
fn three(curve: Curve) -> [Person; 3] {
    let (mut alice, mut bob, mut charlie) =
        (person(curve, true), person(curve, false), person(curve, false));
    let change = alice.change(&mut [&mut bob], &[], 1);
    alice.confirm();
    assert_eq!(bob.join(&change.welcome, 1).unwrap(), Some(alice.id));
    let change = bob.change(&mut [&mut charlie], &[], 2);
    bob.confirm();
    let outcome = alice.process(&change.commit, 2).unwrap();
    assert_eq!((outcome.committer, &outcome.added[..]), (Some(bob.id), &[charlie.id][..]));
    charlie.join(&change.welcome, 2).unwrap();
    [alice, bob, charlie]
}

#[test]
fn three_people_talk_and_one_is_removed() {
    for curve in CURVES {
        let [mut alice, mut bob, mut charlie] = three(curve);
        for sender in 0..3 {
            let mut people = [&mut alice, &mut bob, &mut charlie];
            let wire = people[sender].seal(b"hi").unwrap();
            for reader in &mut people {
                assert_eq!(reader.open(&wire).unwrap(), b"hi");
                assert_eq!(reader.layer.members().len(), 3);
            }
        }
        let late = bob.seal(b"late").unwrap();
        let change = alice.change(&mut [], &[charlie.id], 3);
        alice.confirm();
        assert!(!bob.process(&change.commit, 3).unwrap().removed_self);
        let outcome = charlie.process(&change.commit, 3).unwrap();
        assert!(outcome.removed_self);
        assert_eq!(outcome.committer, Some(alice.id));
        assert_eq!(charlie.layer.standing(), Standing::Removed);

        let wire = alice.seal(b"without charlie").unwrap();
        assert_eq!(bob.open(&wire).unwrap(), b"without charlie");
        assert_eq!(kind(charlie.open(&wire)), LayerErrorKind::Rejected);
        assert_eq!(kind(charlie.seal(b"x")), LayerErrorKind::NotReady);
        assert_eq!(charlie.open(&late).unwrap(), b"late");
        assert_eq!(alice.open(&late).unwrap(), b"late");
        assert_eq!(alice.secret().secret, bob.secret().secret);
    }
}

#[test]
fn several_are_added_at_once_and_updates_change_the_root() {
    for curve in CURVES {
        let mut alice = person(curve, true);
        let mut others = [(); 4].map(|()| person(curve, false));
        let change = alice.change(&mut others.each_mut(), &[], 1);
        alice.confirm();
        for other in &mut others {
            assert_eq!(other.join(&change.welcome, 1).unwrap(), Some(alice.id));
        }
        let before = alice.secret();
        let [bob, rest @ ..] = &mut others;
        let change = bob.change(&mut [], &[], 2);
        assert!(change.welcome.is_empty());
        bob.confirm();
        assert_eq!(alice.process(&change.commit, 2).unwrap().committer, Some(bob.id));
        for other in rest {
            let _ = other.process(&change.commit, 2).unwrap();
            assert_eq!(other.secret().secret, bob.secret().secret);
            assert_eq!(other.layer.members(), alice.layer.members());
        }
        assert_ne!(alice.secret().secret, before.secret);
        assert_eq!(alice.secret().hint, 2u64.to_be_bytes());
        assert_eq!(alice.layer.recall(&before.hint).unwrap().secret, before.secret);
    }
}

#[test]
fn a_staged_change_leaves_the_group_as_it_is() {
    let [mut alice, mut bob, mut charlie] = three(Curve::X25519);
    let before = alice.secret().secret;
    let lost = alice.change(&mut [], &[charlie.id], 3);
    assert_eq!(alice.secret().secret, before);
    let next = alice.layer.next_contribution().unwrap().unwrap();
    assert_eq!(next.hint, 3u64.to_be_bytes());
    let wire = alice.seal(b"still in the old one").unwrap();
    assert!(bob.open(&wire).is_ok() && charlie.open(&wire).is_ok());
    assert_eq!(kind(alice.try_change(&mut [], &[], 4)), LayerErrorKind::Misuse);

    // Bob's commit wins: Alice's is discarded by processing it, and too late for everyone else.
    let won = bob.change(&mut [], &[], 4);
    bob.confirm();
    assert_eq!(alice.process(&won.commit, 4).unwrap().committer, Some(bob.id));
    let _ = charlie.process(&won.commit, 4).unwrap();
    assert_eq!(kind(alice.layer.confirm_change()), LayerErrorKind::NotReady);
    assert_eq!(kind(bob.process(&lost.commit, 3)), LayerErrorKind::Rejected);
    assert_eq!(alice.secret().secret, charlie.secret().secret);

    // Discarded by hand.
    let lost = alice.change(&mut [], &[], 5);
    alice.layer.discard_change().unwrap();
    alice.layer.apply();
    assert_eq!(kind(alice.layer.confirm_change()), LayerErrorKind::NotReady);
    assert_eq!(kind(alice.layer.next_contribution()), LayerErrorKind::NotReady);
    let change = alice.change(&mut [], &[charlie.id], 6);
    alice.confirm();
    let _ = bob.process(&change.commit, 6).unwrap();
    assert_eq!(kind(charlie.process(&lost.commit, 6)), LayerErrorKind::Rejected);
    assert!(charlie.process(&change.commit, 6).unwrap().removed_self);
    assert_eq!(alice.epoch(), 4);
    assert_eq!(alice.secret().secret, bob.secret().secret);
}

#[test]
fn a_revert_brings_the_old_state_back() {
    let [mut alice, mut bob, charlie] = three(Curve::X25519);
    let mut dora = person(Curve::X25519, false);
    let before = (bob.epoch(), bob.secret().secret, bob.layer.members());
    let change = alice.change(&mut [&mut dora], &[charlie.id], 3);

    let outcome = bob.layer.process_commit(&change.commit, &parts(3)).unwrap();
    assert_eq!((outcome.added, outcome.removed), (vec![dora.id], vec![charlie.id]));
    let next = bob.layer.next_contribution().unwrap().unwrap().secret;
    bob.layer.revert();
    assert_eq!(before, (bob.epoch(), bob.secret().secret, bob.layer.members()));
    assert_eq!(kind(bob.layer.next_contribution()), LayerErrorKind::NotReady);

    assert_eq!(dora.layer.join(&change.welcome, &parts(3)).unwrap(), Some(alice.id));
    dora.layer.revert();
    assert_eq!(dora.layer.standing(), Standing::Outside);

    alice.layer.confirm_change().unwrap();
    alice.layer.revert();
    assert_eq!(alice.epoch(), 2);
    alice.confirm();
    assert_eq!(alice.epoch(), 3);
    let _ = bob.process(&change.commit, 3).unwrap();
    dora.join(&change.welcome, 3).unwrap();
    assert_eq!(bob.secret().secret, next);
    assert_eq!(dora.secret().secret, alice.secret().secret);
}

#[test]
fn late_messages_open_within_the_window_only() {
    for window in [0, 1, 3] {
        let [mut alice, mut bob, _] = three(Curve::X25519);
        bob.layer = bob.layer.keep_past_generations(window);
        let mut sent = vec![(alice.secret(), alice.seal(b"late").unwrap())];
        for round in 0..5 {
            let change = alice.change(&mut [], &[], 10 + round);
            alice.confirm();
            let early = alice.seal(b"early").unwrap();
            assert_eq!(kind(bob.open(&early)), LayerErrorKind::Early);
            assert_eq!(kind(bob.layer.recall(&alice.secret().hint)), LayerErrorKind::Early);
            let _ = bob.process(&change.commit, 10 + round).unwrap();
            assert!(bob.open(&early).is_ok());
            sent.push((alice.secret(), alice.seal(b"late").unwrap()));
        }
        for (age, (secret, wire)) in sent.iter().rev().enumerate() {
            let readable = age <= window;
            assert_eq!(bob.open(wire).is_ok(), readable, "{age} of {window}");
            assert_eq!(bob.layer.recall(&secret.hint).is_ok(), readable);
        }
        for hint in [&[][..], &[0; 7], &[0; 9]] {
            assert_eq!(kind(bob.layer.recall(hint)), LayerErrorKind::Rejected);
        }
    }
}

#[test]
fn who_adds_the_first_member_founds_the_group() {
    let (mut alice, mut bob) = (person(Curve::P256, false), person(Curve::P256, false));
    assert_eq!(kind(alice.seal(b"x")), LayerErrorKind::NotReady);
    assert_eq!(kind(alice.layer.contribute()), LayerErrorKind::NotReady);
    let _ = alice.change(&mut [&mut bob], &[], 1);
    assert_eq!(alice.epoch(), 0);
    assert!(alice.seal(b"the commit is sealed in generation 0").is_ok());
    alice.layer.discard_change().unwrap();
    alice.layer.apply();
    assert_eq!(alice.layer.standing(), Standing::Outside);
    let change = alice.change(&mut [&mut bob], &[], 2);
    alice.confirm();
    bob.join(&change.welcome, 2).unwrap();
    assert_eq!(alice.secret().secret, bob.secret().secret);
}

#[test]
fn attaching_again_changes_nothing() {
    let mut alice = person(Curve::X25519, true);
    assert_eq!(alice.epoch(), 0);
    let before = alice.secret().secret;
    let mut place =
        Attachment { stack: StackId::of(&[]), position: 3, member: Some(alice.id), founding: true };
    alice.layer.attach(&place).unwrap();
    alice.layer.apply();
    assert_eq!(alice.secret().secret, before);

    // Another id is another group, which is only possible alone. Another layer may refuse the place.
    place.member = Some(MemberId::from_bytes([9; 32]));
    alice.layer.attach(&place).unwrap();
    alice.layer.revert();
    assert_eq!(alice.secret().secret, before);
    alice.layer.attach(&place).unwrap();
    alice.layer.apply();
    assert_ne!(alice.secret().secret, before);
    let [mut alice, ..] = three(Curve::X25519);
    assert_eq!(kind(alice.layer.attach(&place)), LayerErrorKind::Misuse);
    place.member = None;
    assert_eq!(kind(alice.layer.attach(&place)), LayerErrorKind::Misuse);
}

#[test]
fn changes_that_cannot_be_made_are_refused() {
    let curve = Curve::X25519;
    let [mut alice, bob, charlie] = three(curve);
    let (alice_id, stranger) = (alice.id, MemberId::from_bytes([1; 32]));
    for removed in [vec![stranger], vec![bob.id, bob.id], vec![alice.id]] {
        assert_eq!(kind(alice.try_change(&mut [], &removed, 3)), LayerErrorKind::Misuse);
    }
    let of_bob = bob.layer.public_key().to_bytes();
    let of_dora = person(curve, false).package();
    let p256 = person(Curve::P256, false).package();
    let new = |id, part| NewMember { id, part, binding: [0; 32] };
    let mut stage = |added: &[NewMember<'_>], removed: &[MemberId]| {
        kind(alice.layer.stage_change(&ChangeRequest { added, removed }, &parts(3)))
    };
    use LayerErrorKind::{Misuse, Rejected};
    assert_eq!(stage(&[new(stranger, &of_bob)], &[]), Misuse, "a key that is there already");
    assert_eq!(stage(&[new(bob.id, &of_dora)], &[]), Misuse, "an id that is there already");
    let of_charlie = charlie.layer.public_key().to_bytes();
    assert_eq!(stage(&[new(stranger, &of_charlie)], &[charlie.id]), Misuse, "the key of who goes");
    assert_eq!(stage(&[new(alice_id, &of_dora)], &[alice_id]), Misuse, "oneself");
    assert_eq!(stage(&[new(stranger, &p256)], &[]), Misuse, "the other curve");
    assert_eq!(stage(&[new(stranger, &[1, 2, 3])], &[]), Rejected);
    let twice = [new(stranger, &of_dora), new(stranger, &of_dora)];
    assert_eq!(stage(&twice, &[]), Misuse);
    assert_eq!(alice.epoch(), 2);
    let _ = alice.change(&mut [], &[], 3);
}

/// A member that lost its way is removed and added in one change, and takes the group anew.
#[test]
fn who_fell_out_of_step_comes_back() {
    for curve in CURVES {
        let [mut alice, mut bob, mut charlie] = three(curve);
        let lost = alice.change(&mut [], &[], 3);
        alice.confirm();
        let _ = bob.process(&lost.commit, 3).unwrap();
        // Charlie never sees it, and has a change of its own staged.
        let _ = charlie.change(&mut [], &[], 9);
        let before = charlie.secret().secret;
        let id = charlie.id;
        let change = alice.change(&mut [&mut charlie], &[id], 4);
        alice.confirm();
        let outcome = bob.process(&change.commit, 4).unwrap();
        assert_eq!((outcome.added, outcome.removed), (vec![charlie.id], vec![charlie.id]));
        assert!(!outcome.removed_self);
        assert_eq!(kind(charlie.process(&change.commit, 4)), LayerErrorKind::Rejected);

        charlie.layer.join(&change.welcome, &parts(4)).unwrap();
        charlie.layer.revert();
        assert_eq!((charlie.epoch(), charlie.secret().secret), (2, before));
        assert!(charlie.layer.next_contribution().is_ok(), "the staged change is still there");
        charlie.join(&change.welcome, 4).unwrap();
        assert_eq!(kind(charlie.layer.next_contribution()), LayerErrorKind::NotReady);
        assert_eq!(kind(charlie.layer.confirm_change()), LayerErrorKind::NotReady);
        assert_eq!(charlie.layer.members(), alice.layer.members());
        let wire = charlie.seal(b"back").unwrap();
        assert!(alice.open(&wire).is_ok() && bob.open(&wire).is_ok());
        // What it knew of the group before is forgotten.
        assert_eq!(kind(charlie.layer.recall(&2u64.to_be_bytes())), LayerErrorKind::Rejected);

        // Had it been in step, it would see that it went, and that it comes again.
        let change = bob.change(&mut [&mut charlie], &[id], 5);
        bob.confirm();
        let outcome = charlie.process(&change.commit, 5).unwrap();
        assert_eq!((outcome.added, outcome.removed), (vec![charlie.id], vec![charlie.id]));
        assert!(outcome.removed_self);
        charlie.join(&change.welcome, 5).unwrap();
        assert_eq!(charlie.secret().secret, bob.secret().secret);
    }
}

/// The keys and nonces that encrypted while `work` ran, by what they did; none twice.
fn uses(work: impl FnOnce()) -> BTreeMap<&'static str, usize> {
    key_use::start();
    work();
    let uses = key_use::take();
    assert_eq!(uses.iter().collect::<BTreeSet<_>>().len(), uses.len());
    let mut counts = BTreeMap::new();
    uses.iter().for_each(|one| *counts.entry(one.what()).or_default() += 1);
    counts
}

#[test]
fn every_message_and_box_has_a_key_and_nonce_of_its_own() {
    for curve in CURVES {
        let mut people = three(curve);
        let messages = uses(|| {
            for person in &mut people {
                (0..10).for_each(|_| drop(person.seal(b"same text").unwrap()));
            }
        });
        assert_eq!(messages, [("dh message", 30)].into());
        let [mut alice, mut bob, mut charlie] = people;
        let mut dora = person(curve, false);
        let change = uses(|| {
            let change = alice.change(&mut [&mut dora], &[], 3);
            alice.confirm();
            for member in [&mut bob, &mut charlie] {
                assert!(!member.process(&change.commit, 3).unwrap().removed_self);
            }
            dora.join(&change.welcome, 3).unwrap();
        });
        // One box for each other member and one for the joiner, whose roster is a message.
        assert_eq!(change, [("dh hpke", 3), ("dh message", 1)].into());

        let [a, b] = [(); 2].map(|()| DhKeyPair::generate(curve).unwrap());
        let (of_a, of_b) = (*a.public_key(), *b.public_key());
        let mut ends = [DhLayer::pairwise(a, of_b).unwrap(), DhLayer::pairwise(b, of_a).unwrap()];
        let pairwise = uses(|| {
            for end in &mut ends {
                let binding = binding();
                let context = LayerContext { binding: &binding, position: 0, chain: None };
                for _ in 0..10 {
                    end.seal(&context, &mut Buffer::new(b"same text")).unwrap();
                }
            }
        });
        assert_eq!(pairwise, [("dh message", 20)].into());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever happens: members have one secret and read each other, nobody outside reads anything.
    #[test]
    fn all_members_of_a_generation_agree(
        steps in proptest::collection::vec((0u8..4, 0usize..6, 0usize..6), 1..25),
    ) {
        let curve = Curve::X25519;
        let mut people: Vec<_> = (0..6).map(|i| person(curve, i == 0)).collect();
        let mut inside = vec![0usize];
        for (binding, (step, actor, other)) in (1u8..).zip(steps) {
            let actor = inside[actor % inside.len()];
            let (mut added, mut removed) = (vec![], vec![]);
            match step {
                0 | 1 if !inside.contains(&other) => added.push(other),
                2 if inside.contains(&other) && other != actor => removed.push(other),
                _ => {}
            }
            let newcomer = added.first().map(|other| (people[*other].id, people[*other].package()));
            let new: Vec<_> = newcomer
                .iter()
                .map(|(id, part)| NewMember { id: *id, part, binding: [0; 32] })
                .collect();
            let gone: Vec<_> = removed.iter().map(|other| people[*other].id).collect();
            let request = ChangeRequest { added: &new, removed: &gone };
            let change = people[actor].layer.stage_change(&request, &parts(binding)).unwrap();
            people[actor].layer.apply();
            if step == 3 && other % 2 == 0 {
                // The delivery service took nothing.
                people[actor].layer.discard_change().unwrap();
                people[actor].layer.apply();
            } else {
                people[actor].confirm();
                for member in inside.iter().filter(|member| **member != actor) {
                    let outcome = people[*member].process(&change.commit, binding).unwrap();
                    prop_assert_eq!(outcome.removed_self, removed.contains(member));
                }
                for other in &added {
                    people[*other].join(&change.welcome, binding).unwrap();
                }
                inside.extend(&added);
                inside.retain(|member| !removed.contains(member));
            }
            let expected = people[actor].secret();
            let wire = people[actor].seal(b"text").unwrap();
            for (i, person) in people.iter_mut().enumerate() {
                if inside.contains(&i) {
                    prop_assert_eq!(&person.secret().secret, &expected.secret);
                    prop_assert_eq!(person.layer.members().len(), inside.len());
                    prop_assert_eq!(person.open(&wire).unwrap(), b"text");
                } else {
                    prop_assert!(person.open(&wire).is_err());
                    prop_assert!(person.layer.recall(&expected.hint).is_err());
                    prop_assert!(person.process(&change.commit, binding).is_err());
                    prop_assert!(person.layer.contribute().is_err());
                }
            }
        }
    }
}
