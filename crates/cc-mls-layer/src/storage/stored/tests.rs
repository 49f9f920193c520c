//! What the store has of a value in pieces, whatever becomes of the saves.

use cc_core::store::{Batch, Failure, MemoryStore, Scope, Store as _};
use proptest::prelude::*;

use crate::storage::{Kind, Storage};

fn scope() -> Scope {
    Scope::new("layer")
}

fn value_of(storage: &Storage) -> Option<Vec<u8>> {
    storage.get(Kind::MessageSecrets, &0u8).unwrap()
}

/// What the store restores to.
fn restored(store: &MemoryStore) -> Option<Vec<u8>> {
    value_of(&Storage::restore(&scope().of(store)).unwrap())
}

fn pieces(store: &MemoryStore) -> usize {
    scope().of(store).list(&[Kind::SecretsPiece as u8]).unwrap().len()
}

#[derive(Debug, Clone)]
enum Step {
    /// Replaces bytes of the value and stages it.
    Edit {
        at: prop::sample::Index,
        removed: usize,
        inserted: Vec<u8>,
    },
    Delete,
    /// Applies without a save, as a layer without a store does.
    Apply,
    Revert,
    Save(Fate),
    /// As from now on in a store that has nothing yet.
    NewStore,
    Restart,
}

/// What becomes of a save.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// The store takes it.
    Committed,
    /// The store has no room, and it is reverted.
    Failed,
    /// The store has no room, and the next step goes on with what is staged.
    FailedAndOpen,
    /// The store takes it, and the next step goes on with what is staged.
    CommittedAndOpen,
    /// It waits for the next commit, and is applied.
    Pending,
}

fn step() -> impl Strategy<Value = Step> {
    let edit = (any::<prop::sample::Index>(), 0usize..300, 0usize..300, any::<u8>());
    let edit = edit.prop_map(|(at, removed, inserted, seed)| {
        // Often as long as before.
        let inserted = if seed % 2 == 0 { removed } else { inserted };
        let bytes = (0..=u8::MAX).cycle().map(|i| i.wrapping_mul(seed).wrapping_add(seed));
        Step::Edit { at, removed, inserted: bytes.take(inserted).collect() }
    });
    let fate = prop_oneof![
        4 => Just(Fate::Committed),
        2 => Just(Fate::Failed),
        2 => Just(Fate::FailedAndOpen),
        1 => Just(Fate::CommittedAndOpen),
        2 => Just(Fate::Pending),
    ];
    prop_oneof![
        10 => edit,
        1 => Just(Step::Delete),
        2 => Just(Step::Apply),
        1 => Just(Step::Revert),
        10 => fate.prop_map(Step::Save),
        1 => Just(Step::NewStore),
        2 => Just(Step::Restart),
    ]
}

/// A storage beside a store, and what both must have.
struct Model {
    storage: Storage,
    store: MemoryStore,
    new: bool,
    /// Saved and applied, and not yet committed.
    pending: Batch,
    applied: Option<Vec<u8>>,
    now: Option<Vec<u8>>,
    /// In the store, and in what is pending.
    stored: Option<Vec<u8>>,
    waiting: Option<Vec<u8>>,
    /// The store took a save that was not applied: a revert would be wrong.
    committed: bool,
    /// It refused the last save, and nothing was staged since: to apply that would be wrong.
    refused: bool,
}

impl Model {
    fn begin(value: Vec<u8>) -> Self {
        let storage = Storage::default();
        storage.put(Kind::MessageSecrets, &0u8, &value).unwrap();
        Self {
            storage,
            store: MemoryStore::new(),
            new: true,
            pending: Batch::new(),
            applied: None,
            now: Some(value),
            stored: None,
            waiting: None,
            committed: false,
            refused: false,
        }
    }

    fn step(&mut self, step: Step) {
        self.refused &= !matches!(step, Step::Edit { .. } | Step::Delete);
        match step {
            Step::Edit { at, removed, inserted } => {
                let value = self.now.get_or_insert_default();
                let at = at.index(value.len() + 1);
                let end = (at + removed).min(value.len());
                value.splice(at..end, inserted);
                self.storage.put(Kind::MessageSecrets, &0u8, value).unwrap();
            }
            Step::Delete => {
                self.now = None;
                self.storage.delete(Kind::MessageSecrets, &0u8).unwrap();
            }
            Step::Apply if self.refused => {}
            Step::Revert if self.committed => {}
            Step::Apply => self.apply(),
            Step::Revert => self.revert(),
            Step::Save(fate) => self.save(fate),
            Step::NewStore => {
                self.store = MemoryStore::new();
                self.pending = Batch::new();
                (self.stored, self.waiting, self.new) = (None, None, true);
                self.save(Fate::Committed);
            }
            Step::Restart => {
                (self.committed, self.refused) = (false, false);
                self.storage = Storage::restore(&scope().of(&self.store)).unwrap();
                self.pending = Batch::new();
                self.waiting.clone_from(&self.stored);
                self.applied.clone_from(&self.stored);
                self.now.clone_from(&self.stored);
            }
        }
    }

    fn apply(&mut self) {
        self.committed = false;
        self.storage.apply();
        self.applied.clone_from(&self.now);
    }

    fn revert(&mut self) {
        self.refused = false;
        self.storage.revert();
        self.now.clone_from(&self.applied);
    }

    fn save(&mut self, fate: Fate) {
        // Before a storage knows of a store it does not remember what it deletes: no more is staged
        // between the first save and its end.
        let fate =
            if self.new && matches!(fate, Fate::CommittedAndOpen) { Fate::Committed } else { fate };
        let mut batch = Batch::new();
        let to = if self.new { batch.new_scope(scope()) } else { batch.scope(scope()) };
        self.storage.save(&mut { to });
        self.refused = false;
        match fate {
            Fate::Pending => {
                self.pending.extend(batch);
                self.waiting.clone_from(&self.now);
                self.new = false;
                self.apply();
            }
            Fate::Committed | Fate::CommittedAndOpen => {
                let mut all = std::mem::take(&mut self.pending);
                all.extend(batch);
                self.store.commit(&all).unwrap();
                self.stored.clone_from(&self.now);
                self.waiting.clone_from(&self.now);
                self.new = false;
                self.committed = true;
                if matches!(fate, Fate::Committed) {
                    self.apply();
                }
            }
            Fate::Failed | Fate::FailedAndOpen => {
                if !batch.is_empty() {
                    self.store.fail_after(0, Failure::Full);
                    self.store.commit(&batch).unwrap_err();
                }
                self.refused = true;
                if matches!(fate, Fate::Failed) && !self.committed {
                    self.revert();
                }
            }
        }
    }

    fn check(&self) {
        assert_eq!(value_of(&self.storage), self.now);
        assert_eq!(restored(&self.store), self.stored);
        let mut waiting = self.store.reopened();
        waiting.commit(&self.pending).unwrap();
        assert_eq!(restored(&waiting), self.waiting);
        // No piece is left behind, and they do not become ever more.
        let most = self.stored.as_ref().map_or(0, |value| (value.len() + 3) / 128 + 1);
        assert!(pieces(&self.store) <= most);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_has_what_was_committed(
        len in 0usize..3000,
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut model = Model::begin((0u64..).map(|at| (at * 7919).to_be_bytes()[6]).take(len).collect());
        for step in steps {
            model.step(step);
            model.check();
        }
    }
}
