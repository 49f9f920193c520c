//! The numbers under which layers have their records.

use alloc::vec::Vec;

/// Where each layer has its records, bottom first. A number is never used for a second layer.
#[derive(Clone, Default)]
pub(crate) struct Slots {
    pub(super) list: Vec<Slot>,
    pub(super) next: u32,
}

#[derive(Clone, Copy)]
pub(super) struct Slot {
    pub(super) number: u32,
    /// The store has nothing of this layer yet.
    pub(super) new: bool,
}

impl Slots {
    /// A layer is put in at `position`.
    pub(crate) fn insert(&mut self, position: usize) {
        let slot = Slot { number: self.next, new: true };
        self.list.insert(position.min(self.list.len()), slot);
        self.next += 1;
    }

    pub(super) fn remove(&mut self, position: usize) -> Option<Slot> {
        (position < self.list.len()).then(|| self.list.remove(position))
    }
}
