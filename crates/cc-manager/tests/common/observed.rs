//! A store whose commits are seen by a test.

use std::ops::ControlFlow;

use cc_core::{
    SecretBytes,
    store::{Batch, Scope, Store, StoreError},
};

/// A store, and what is called with each batch before it is committed.
pub struct Observed<S> {
    pub store: S,
    pub observe: Box<dyn FnMut(&Batch) + Send>,
}

impl<S: Store> Store for Observed<S> {
    fn get(&self, scope: &Scope, key: &[u8]) -> Result<Option<SecretBytes>, StoreError> {
        self.store.get(scope, key)
    }

    fn scan(
        &self,
        scope: &Scope,
        prefix: &[u8],
        visit: &mut dyn FnMut(&[u8], SecretBytes) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.store.scan(scope, prefix, visit)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        (self.observe)(batch);
        self.store.commit(batch)
    }
}
