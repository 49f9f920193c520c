//! Both modes, driven through the traits as the manager drives them.

mod group;
mod hostile;
mod liar;
mod pairwise;
mod returning;
mod saved;
mod sequences;
mod sizes;
mod thief;
mod uses;
mod versions;

use core::ops::{Deref, DerefMut};

use alloc::{collections::BTreeMap, vec, vec::Vec};

use cc_core::{
    store::{Batch, Change as Write, MemoryStore, Scope, Store, StoreError},
    *,
};

use super::*;

fn binding(ad: &[u8]) -> Binding {
    let stack = StackId::of(&[]);
    Header::new(Kind::Application, &stack, vec![]).binding(&stack, ad)
}

fn kind(result: Result<impl Sized, LayerError>) -> LayerErrorKind {
    result.err().unwrap().kind()
}

fn parts(binding: u8) -> PartContext<'static> {
    PartContext { binding: [binding; 32], position: 0, chain: None, group_below: false, now: None }
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

/// Keeps what succeeded, drops what failed: as a manager without a store.
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

/// A layer and its store.
struct Kept {
    layer: SignalLayer,
    store: MemoryStore,
    /// What the last save wrote: how many records, and the bytes of their names and values.
    written: (usize, usize),
}

impl Kept {
    fn new(layer: SignalLayer) -> Self {
        let mut kept = Self { layer, store: MemoryStore::new(), written: (0, 0) };
        kept.settle(Ok(())).unwrap();
        kept
    }

    /// As a manager with a store: what succeeded is saved and then applied. In the store is all of it,
    /// and nothing else.
    fn settle<T>(&mut self, result: Result<T, LayerError>) -> Result<T, LayerError> {
        let result = result.and_then(|value| Ok(self.save().map(|()| value)?));
        match result {
            Ok(_) => {
                self.layer.apply();
                assert_eq!(everything(&self.layer), self.stored());
            }
            Err(_) => self.layer.revert(),
        }
        result
    }

    fn save(&mut self) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        let mut to = match self.store.is_empty() {
            true => batch.new_scope(scope()),
            false => batch.scope(scope()),
        };
        self.layer.save(&mut to).unwrap();
        let len = |(_, name, change): (_, &[u8], Write<'_>)| match change {
            Write::Put(value) => name.len() + value.expose().len(),
            Write::Delete => name.len(),
        };
        self.written = (batch.len(), batch.changes().map(len).sum());
        self.store.commit(&batch)
    }

    fn seal(&mut self, text: &[u8]) -> Vec<u8> {
        let result = seal_staged(&mut self.layer, text);
        self.settle(result).unwrap()
    }

    /// The text, and the sender where the layer knows it.
    fn open_kept(&mut self, wire: &[u8]) -> Result<(Vec<u8>, Opened), LayerError> {
        let result = open_staged(&mut self.layer, wire, b"ad");
        self.settle(result)
    }

    fn stored(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let records = scope().of(&self.store).list(b"").unwrap();
        records.into_iter().map(|(name, value)| (name, value.expose().to_vec())).collect()
    }

    /// A second layer with the same state, as a thief or a backup has it.
    fn copy(&self) -> Kept {
        let store = self.store.reopened();
        let layer = SignalLayer::restore(&scope().of(&store)).unwrap();
        Kept { layer, store, written: (0, 0) }
    }

    /// As after a crash: all that is left is what was saved.
    fn restart(&mut self) {
        *self = self.copy();
        assert_eq!(everything(&self.layer), self.stored());
    }
}

fn scope() -> Scope {
    Scope::new("layer")
}

/// The records of the layer as it is.
fn everything(layer: &SignalLayer) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut records = Records::default();
    match &layer.mode {
        Mode::Pairwise(pairwise) => {
            write_head(PAIRWISE, *pairwise.limits())(&mut records);
            pairwise.write_all(&mut records);
        }
        Mode::Group(group) => {
            write_head(GROUP, *group.limits())(&mut records);
            group.write_all(&mut records);
        }
    }
    let records = records.into_map().into_iter();
    records.map(|(name, value)| (name, value.expose().to_vec())).collect()
}

/// A member of a group, or one to be.
struct Person {
    id: MemberId,
    kept: Kept,
}

impl Deref for Person {
    type Target = Kept;

    fn deref(&self) -> &Kept {
        &self.kept
    }
}

impl DerefMut for Person {
    fn deref_mut(&mut self) -> &mut Kept {
        &mut self.kept
    }
}

fn person(founding: bool) -> Person {
    let mut layer = SignalLayer::group(Account::generate().unwrap());
    let id = MemberId::of([(&layer.descriptor(), layer.commitment())]);
    let stack = StackId::of(&[layer.descriptor()]);
    layer.attach(&Attachment { stack, position: 0, member: Some(id), founding }).unwrap();
    Person { id, kept: Kept::new(layer) }
}

/// A change as it travels: the commit is sealed.
struct Change {
    commit: Vec<u8>,
    welcome: Vec<u8>,
}

impl Person {
    fn package(&mut self) -> Vec<u8> {
        let part = self.layer.key_package(&parts(0));
        self.settle(part).unwrap()
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
        self.settle(result)
    }

    fn stage(&mut self, added: &mut [&mut Person], removed: &[MemberId], binding: u8) -> Change {
        let packages: Vec<_> = added.iter_mut().map(|new| (new.id, new.package())).collect();
        self.try_stage(&packages, removed, binding).unwrap()
    }

    fn confirm(&mut self) {
        let result = self.layer.confirm_change();
        self.settle(result).unwrap();
    }

    fn discard(&mut self) {
        let result = self.layer.discard_change();
        self.settle(result).unwrap();
    }

    fn process(&mut self, commit: &[u8], binding: u8) -> Result<CommitOutcome, LayerError> {
        let result = open_staged(&mut self.layer, commit, b"ad")
            .and_then(|(part, _)| self.layer.process_commit(&part, &parts(binding)));
        self.settle(result)
    }

    fn join(&mut self, welcome: &[u8], binding: u8) -> Result<Option<MemberId>, LayerError> {
        let result = self.layer.join(welcome, &parts(binding));
        self.settle(result)
    }

    fn open(&mut self, wire: &[u8]) -> Result<(Vec<u8>, MemberId), LayerError> {
        let (text, opened) = self.open_kept(wire)?;
        Ok((text, opened.sender.unwrap()))
    }

    fn reads(&mut self, wire: &[u8], text: &[u8], sender: MemberId) {
        assert_eq!(self.open(wire).unwrap(), (text.to_vec(), sender));
    }

    /// As after a crash; then the layer takes its place in the stack again, which changes nothing.
    fn restart(&mut self) {
        self.kept.restart();
        let stack = StackId::of(&[self.layer.descriptor()]);
        let place = Attachment { stack, position: 0, member: Some(self.id), founding: false };
        let result = self.layer.attach(&place);
        self.settle(result).unwrap();
        assert_eq!(self.written, (0, 0));
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
                assert_eq!(kind(person.open(&wire)), LayerErrorKind::Duplicate, "a replay");
            }
        }
    }
}
