//! Whole groups, driven through the traits as the manager drives them.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec,
    vec::Vec,
};

use cc_core::*;
use proptest::prelude::*;

use crate::*;

mod phases;

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
    assert_eq!((outcome.committer, &outcome.added[..]), (None, &[charlie.id][..]));
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
        // It may come back by a welcome, and then open what is of a later generation.
        assert_eq!(kind(charlie.open(&wire)), LayerErrorKind::Early);
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
        assert_eq!(alice.process(&change.commit, 2).unwrap().committer, None);
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
            let (opened, recalled) = (bob.open(wire), bob.layer.recall(&secret.hint));
            if readable {
                assert_eq!(opened.unwrap(), b"late", "{age} of {window}");
                assert_eq!(recalled.unwrap().secret, secret.secret);
            } else {
                let epoch = secret.hint.as_slice().try_into().map(u64::from_be_bytes).ok();
                let error = opened.unwrap_err();
                assert_eq!((error.kind(), error.epoch()), (LayerErrorKind::Stale, epoch));
                assert_eq!(kind(recalled), LayerErrorKind::Stale);
            }
        }
        for hint in [&[][..], &[0; 7], &[0; 9]] {
            assert_eq!(kind(bob.layer.recall(hint)), LayerErrorKind::Rejected);
        }
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
        assert_eq!(messages, [("root message", 30)].into());
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
        // One box for the joiner, whose roster is a message, and none for a member.
        let welcome = [("root hpke", 1), ("root message", 1), ("root welcome sender", 1)];
        assert_eq!(change, welcome.into());
        let removal = uses(|| {
            let change = alice.change(&mut [], &[dora.id], 4);
            alice.confirm();
            for member in [&mut bob, &mut charlie, &mut dora] {
                let _ = member.process(&change.commit, 4).unwrap();
            }
        });
        assert_eq!(removal, [("root hpke", 3)].into());

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
        assert_eq!(pairwise, [("root message", 20)].into());
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
        let mut authenticators = BTreeMap::new();
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
            let authenticator = people[actor].layer.epoch_authenticator();
            prop_assert!(authenticator.is_some());
            let epoch = people[actor].epoch();
            let known = *authenticators.entry(epoch).or_insert(authenticator);
            prop_assert_eq!(known, authenticator);
            let wire = people[actor].seal(b"text").unwrap();
            for (i, person) in people.iter_mut().enumerate() {
                if inside.contains(&i) {
                    prop_assert_eq!(&person.secret().secret, &expected.secret);
                    prop_assert_eq!(person.layer.epoch_authenticator(), authenticator);
                    prop_assert_eq!(person.layer.members().len(), inside.len());
                    prop_assert_eq!(person.open(&wire).unwrap(), b"text");
                } else {
                    prop_assert_eq!(person.layer.epoch_authenticator(), None);
                    prop_assert!(person.open(&wire).is_err());
                    prop_assert!(person.layer.recall(&expected.hint).is_err());
                    prop_assert!(person.process(&change.commit, binding).is_err());
                    prop_assert!(person.layer.contribute().is_err());
                }
            }
        }
        let all: BTreeSet<_> = authenticators.values().collect();
        prop_assert_eq!(all.len(), authenticators.len());
    }
}
