//! The key cascade of one message or change.

use alloc::vec::Vec;

use cc_core::{ChainSecret, Contribution};

use crate::composition::Composition;

/// The chain secrets of one message or change: what each layer inherits.
#[derive(Default)]
pub(crate) struct Cascade {
    secrets: Vec<ChainSecret>,
    /// For each position passed, how many of `secrets` lie below it.
    below: Vec<usize>,
}

impl Cascade {
    /// What the layer that is passed next inherits.
    pub(crate) fn top(&self) -> Option<&ChainSecret> {
        self.secrets.last()
    }

    /// What the layer at `position` inherits.
    pub(crate) fn at(&self, position: usize) -> Option<&ChainSecret> {
        let below = self.below.get(position)?;
        self.secrets.get(below.checked_sub(1)?)
    }

    /// Passes the layer at `position`.
    pub(crate) fn next_layer(
        &mut self,
        composition: &Composition,
        position: u16,
        contribution: Option<&Contribution>,
    ) {
        self.below.push(self.secrets.len());
        let Some((contribution, descriptor)) =
            contribution.zip(composition.descriptors.get(usize::from(position)))
        else {
            return;
        };
        let next =
            ChainSecret::extend(self.top(), contribution, &composition.id, descriptor, position);
        self.secrets.push(next);
    }
}
