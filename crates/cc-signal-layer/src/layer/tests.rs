//! Both modes, driven through the traits as the manager drives them.

mod group;
mod hostile;
mod pairwise;
mod saved;
mod sequences;

use alloc::{vec, vec::Vec};

use cc_core::*;

use super::*;

fn binding(ad: &[u8]) -> Binding {
    let stack = StackId::of(&[]);
    Header::new(Kind::Application, &stack, vec![]).binding(&stack, ad)
}

fn kind(result: Result<impl Sized, LayerError>) -> LayerErrorKind {
    result.err().unwrap().kind()
}

fn parts(binding: u8) -> PartContext<'static> {
    PartContext { binding: [binding; 32], position: 0, chain: None, group_below: false }
}

/// Seals without applying.
fn seal_staged(layer: &mut SignalLayer, text: &[u8]) -> Result<Vec<u8>, LayerError> {
    let binding = binding(b"ad");
    let context = LayerContext { binding: &binding, position: 0, chain: None };
    let mut buffer = Buffer::new(text);
    layer.seal(&context, &mut buffer)?;
    Ok(buffer.into_vec())
}

/// Opens without applying.
fn open_staged(
    layer: &mut SignalLayer,
    wire: &[u8],
    ad: &[u8],
) -> Result<(Vec<u8>, Opened), LayerError> {
    let binding = binding(ad);
    let context = LayerContext { binding: &binding, position: 0, chain: None };
    let mut buffer = Buffer::new(wire);
    let opened = layer.open(&context, &mut buffer)?;
    Ok((buffer.into_vec(), opened))
}

/// Keeps what succeeded, drops what failed.
fn settle<T>(layer: &mut SignalLayer, result: Result<T, LayerError>) -> Result<T, LayerError> {
    match result {
        Ok(_) => layer.apply(),
        Err(_) => layer.revert(),
    }
    result
}

fn seal(layer: &mut SignalLayer, text: &[u8]) -> Result<Vec<u8>, LayerError> {
    let result = seal_staged(layer, text);
    settle(layer, result)
}

fn open(layer: &mut SignalLayer, wire: &[u8]) -> Result<Vec<u8>, LayerError> {
    let result = open_staged(layer, wire, b"ad").map(|(text, _)| text);
    settle(layer, result)
}

/// A member of a group, or one to be.
struct Person {
    id: MemberId,
    layer: SignalLayer,
}

fn person(founding: bool) -> Person {
    let mut layer = SignalLayer::group(Account::generate().unwrap());
    let id = MemberId::of([(&layer.descriptor(), layer.commitment())]);
    let stack = StackId::of(&[layer.descriptor()]);
    layer.attach(&Attachment { stack, position: 0, member: Some(id), founding }).unwrap();
    layer.apply();
    Person { id, layer }
}

/// A change as it travels: the commit is sealed.
struct Change {
    commit: Vec<u8>,
    welcome: Vec<u8>,
}

impl Person {
    fn package(&mut self) -> Vec<u8> {
        let part = self.layer.key_package(&parts(0)).unwrap();
        self.layer.apply();
        part
    }

    fn try_stage(
        &mut self,
        packages: &[(MemberId, Vec<u8>)],
        removed: &[MemberId],
        binding: u8,
    ) -> Result<Change, LayerError> {
        let added: Vec<_> = packages
            .iter()
            .map(|(id, part)| NewMember { id: *id, part, binding: [0; 32] })
            .collect();
        let request = ChangeRequest { added: &added, removed };
        let result = self.layer.stage_change(&request, &parts(binding)).and_then(|change| {
            let commit = seal_staged(&mut self.layer, &change.commit)?;
            Ok(Change { commit, welcome: change.welcome })
        });
        settle(&mut self.layer, result)
    }

    fn stage(&mut self, added: &mut [&mut Person], removed: &[MemberId], binding: u8) -> Change {
        let packages: Vec<_> = added.iter_mut().map(|new| (new.id, new.package())).collect();
        self.try_stage(&packages, removed, binding).unwrap()
    }

    fn confirm(&mut self) {
        self.layer.confirm_change().unwrap();
        self.layer.apply();
    }

    fn discard(&mut self) {
        self.layer.discard_change().unwrap();
        self.layer.apply();
    }

    fn process(&mut self, commit: &[u8], binding: u8) -> Result<CommitOutcome, LayerError> {
        let result = open_staged(&mut self.layer, commit, b"ad")
            .and_then(|(part, _)| self.layer.process_commit(&part, &parts(binding)));
        settle(&mut self.layer, result)
    }

    fn join(&mut self, welcome: &[u8], binding: u8) -> Result<Option<MemberId>, LayerError> {
        let result = self.layer.join(welcome, &parts(binding));
        settle(&mut self.layer, result)
    }

    fn seal(&mut self, text: &[u8]) -> Vec<u8> {
        seal(&mut self.layer, text).unwrap()
    }

    fn open(&mut self, wire: &[u8]) -> Result<(Vec<u8>, MemberId), LayerError> {
        let result = open_staged(&mut self.layer, wire, b"ad");
        let (text, opened) = settle(&mut self.layer, result)?;
        Ok((text, opened.sender.unwrap()))
    }

    fn reads(&mut self, wire: &[u8], text: &[u8], sender: MemberId) {
        assert_eq!(self.open(wire).unwrap(), (text.to_vec(), sender));
    }

    fn state(&self) -> Vec<u8> {
        self.layer.export().unwrap().expose().to_vec()
    }

    /// As after a crash: all that is left is the state, which takes its place in the stack again.
    fn restart(&mut self) {
        let state = self.state();
        self.layer = SignalLayer::load(&state).unwrap();
        let stack = StackId::of(&[self.layer.descriptor()]);
        let place = Attachment { stack, position: 0, member: Some(self.id), founding: false };
        self.layer.attach(&place).unwrap();
        self.layer.apply();
        assert_eq!(self.state(), state);
    }

    fn epoch(&self) -> u64 {
        match self.layer.standing() {
            Standing::Member { epoch } => epoch,
            other => panic!("{other:?}"),
        }
    }
}

/// Alice, Bob and Charlie at epoch 2.
fn three() -> [Person; 3] {
    let (mut alice, mut bob, mut charlie) = (person(true), person(false), person(false));
    let change = alice.stage(&mut [&mut bob], &[], 1);
    alice.confirm();
    assert_eq!(bob.join(&change.welcome, 1).unwrap(), Some(alice.id));
    let change = bob.stage(&mut [&mut charlie], &[], 2);
    bob.confirm();
    let outcome = alice.process(&change.commit, 2).unwrap();
    assert_eq!((outcome.committer, &outcome.added[..]), (Some(bob.id), &[charlie.id][..]));
    assert_eq!(charlie.join(&change.welcome, 2).unwrap(), Some(bob.id));
    [alice, bob, charlie]
}

/// Everybody sends once and reads the others.
fn all_to_all(people: &mut [&mut Person]) {
    for sender in 0..people.len() {
        let wire = people[sender].seal(b"hi");
        let id = people[sender].id;
        for (reader, person) in people.iter_mut().enumerate() {
            if reader != sender {
                person.reads(&wire, b"hi", id);
                assert_eq!(kind(person.open(&wire)), LayerErrorKind::Rejected, "a replay");
            }
        }
    }
}
