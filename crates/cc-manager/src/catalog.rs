//! Which types of layers a store may bring back.

use alloc::{boxed::Box, vec::Vec};
use core::fmt;

use cc_core::{CipherLayer, LayerError, PairKeys, Restore, RestorePairKeys, store::ScopeReader};

/// The types of layers that [`open`](crate::CascadingCipherManager::open) can bring back.
///
/// The manager itself names no layer, so the program lists those that its stacks are made of.
#[derive(Default, Clone)]
pub struct Catalog {
    types: Vec<(&'static str, RestoreFn)>,
    pair_keys: Vec<(&'static str, RestorePairKeysFn)>,
}

type RestorePairKeysFn = fn(&ScopeReader<'_>) -> Result<Box<dyn PairKeys>, LayerError>;

type RestoreFn = fn(&ScopeReader<'_>) -> Result<Box<dyn CipherLayer>, LayerError>;

impl Catalog {
    /// No types.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the layers of type `L`. Of two with the same [`ID`](Restore::ID), the last one counts.
    #[must_use]
    pub fn with<L: Restore>(mut self) -> Self {
        self.types.retain(|(id, _)| *id != L::ID);
        self.types.push((L::ID, |from| Ok(Box::new(L::restore(from)?))));
        self
    }

    /// Adds keys of type `K`, for [`PairAccount::open`](crate::PairAccount::open). The layers that are made of
    /// them are to be listed [with](Self::with) their own type.
    #[must_use]
    pub fn with_pair_keys<K: RestorePairKeys>(mut self) -> Self {
        self.pair_keys.retain(|(id, _)| *id != K::ID);
        self.pair_keys.push((K::ID, |from| Ok(Box::new(K::restore(from)?))));
        self
    }

    /// The type of keys with this id.
    pub(crate) fn find_pair_keys(&self, id: &[u8]) -> Option<(&'static str, RestorePairKeysFn)> {
        self.pair_keys.iter().find(|(known, _)| known.as_bytes() == id).copied()
    }

    /// The type of layer with this id: its proper id, and how it comes back.
    pub(crate) fn find(&self, id: &[u8]) -> Option<(&'static str, RestoreFn)> {
        self.types.iter().find(|(known, _)| known.as_bytes() == id).copied()
    }
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.types.iter().map(|(id, _)| id)).finish()
    }
}
