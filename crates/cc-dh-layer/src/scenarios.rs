//! Whole groups, driven through the traits as the manager drives them.

use alloc::{vec, vec::Vec};

use cc_core::*;

use crate::*;

const CURVES: [Curve; 2] = [Curve::X25519, Curve::P256];

struct Person {
    id: MemberId,
    layer: DhLayer,
}

fn stack(curve: Curve) -> StackId {
    StackId::of(&[DhLayer::group(DhKeyPair::generate(curve).unwrap()).descriptor()])
}

fn person(curve: Curve, founding: bool) -> Person {
    let mut layer = DhLayer::group(DhKeyPair::generate(curve).unwrap());
    let id = MemberId::of([(&layer.descriptor(), layer.commitment())]);
    let place = Attachment { stack: stack(curve), position: 0, member: Some(id), founding };
    layer.attach(&place).unwrap();
    Person { id, layer }
}

fn parts(binding: u8) -> PartContext<'static> {
    PartContext { binding: [binding; 32], position: 0, chain: None, group_below: false }
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

    fn seal(&mut self, text: &[u8]) -> Result<Vec<u8>, LayerError> {
        let binding = binding();
        let context = LayerContext { binding: &binding, position: 0, chain: None };
        let mut buffer = Buffer::new(text);
        self.layer.seal(&context, &mut buffer)?;
        Ok(buffer.as_slice().to_vec())
    }

    fn open(&mut self, wire: &[u8]) -> Result<Vec<u8>, LayerError> {
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

fn kind(result: Result<impl Sized, LayerError>) -> LayerErrorKind {
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
