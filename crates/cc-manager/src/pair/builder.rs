//! How an account begins.

use alloc::{boxed::Box, vec::Vec};
use core::fmt;

use cc_core::{PairKeys, store::Store};

use super::{PairAccount, persistence::AccountStore};
use crate::{Error, records::AcceptedPairs};

/// Collects the keys of an account, those of the bottom layer first.
#[must_use = "nothing is built until build()"]
#[derive(Default)]
pub struct PairAccountBuilder {
    keys: Vec<Box<dyn PairKeys>>,
}

impl PairAccountBuilder {
    /// Puts `keys` on top of those already there.
    pub fn keys(mut self, keys: impl PairKeys) -> Self {
        self.keys.push(Box::new(keys));
        self
    }

    /// Puts `keys` on top of those already there, the first of them lowest.
    pub fn all_keys(mut self, keys: impl IntoIterator<Item = Box<dyn PairKeys>>) -> Self {
        self.keys.extend(keys);
        self
    }

    /// An account in memory, whose pairs are in memory as well.
    ///
    /// # Errors
    /// [`Error::Stack`] for no keys or too many; [`Error::UnsignedBundle`] where no layer signs.
    pub fn build(self) -> Result<PairAccount, Error> {
        PairAccount::assemble(self.keys, AcceptedPairs::default(), None)
    }

    /// An account in `store` under `name`; its pairs are in the same store.
    ///
    /// # Errors
    /// As [`build`](Self::build); [`Error::Store`], with
    /// [`StoreError::Exists`](cc_core::store::StoreError::Exists) where there is an account of that name.
    pub fn create(
        self,
        store: impl Store + Clone + 'static,
        name: &str,
    ) -> Result<PairAccount, Error> {
        let store = AccountStore::create(store, name)?;
        let mut account = PairAccount::assemble(self.keys, AcceptedPairs::default(), Some(store))?;
        account.save()?;
        Ok(account)
    }
}

impl fmt::Debug for PairAccountBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|keys| keys.descriptor().id)).finish()
    }
}
