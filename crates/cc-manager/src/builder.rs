//! Building a stack.

use alloc::{boxed::Box, vec::Vec};

use cc_core::{CipherLayer, store::Store};

use crate::{
    CascadingCipherManager, Error,
    persistence::Persistence,
    stack::{Clock, Reports},
};

/// Collects layers, bottom first.
#[must_use = "nothing is built until build()"]
#[derive(Default)]
pub struct ManagerBuilder {
    layers: Vec<Box<dyn CipherLayer>>,
    clock: Option<Clock>,
}

impl ManagerBuilder {
    /// Puts `layer` on top of those already there.
    pub fn layer(mut self, layer: impl CipherLayer) -> Self {
        self.layers.push(Box::new(layer));
        self
    }

    /// Puts `layers` on top of those already there, the first of them lowest.
    pub fn layers(mut self, layers: impl IntoIterator<Item = Box<dyn CipherLayer>>) -> Self {
        self.layers.extend(layers);
        self
    }

    /// Measures the time of each layer with `clock`, which gives the time since some fixed moment.
    /// With the `std` feature the system's monotonic clock is used where none is given (not on
    /// `wasm32-unknown-unknown`, which has none).
    pub fn clock(mut self, clock: fn() -> core::time::Duration) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Validates the stack and builds the manager, with its state in memory: it ends with the manager.
    ///
    /// # Errors
    /// [`Error::Stack`] for a stack that cannot work, [`Error::Layer`] for a layer that cannot work in
    /// its place. Both say what to change.
    pub fn build(self) -> Result<CascadingCipherManager, Error> {
        let reports = Reports::new(self.clock.or_else(default_clock));
        CascadingCipherManager::assemble(self.layers, reports, None)
    }

    /// As [`build`](Self::build), with the state in `store` under `name`, where
    /// [`open`](CascadingCipherManager::open) finds it again. Many managers share a store as
    /// `Arc<Mutex<_>>`.
    ///
    /// Every operation is one [commit](Store::commit), over all layers, before a ciphertext or a
    /// plaintext is handed out. So a program may be killed at any point and go on: what was not handed
    /// out did not happen, and what was may be in the [inbox](CascadingCipherManager::inbox), the
    /// [outbox](CascadingCipherManager::outbox) or the
    /// [staged change](CascadingCipherManager::staged_change), until the application says that it is
    /// done with it.
    ///
    /// # Errors
    /// As [`build`](Self::build); [`Error::Store`], with [`StoreError::Exists`](cc_core::store::StoreError::Exists) where there is a
    /// manager of that name; [`Error::Layer`] with [`Misuse`](cc_core::LayerErrorKind::Misuse) for a
    /// layer that cannot be kept in a store.
    pub fn create(
        self,
        store: impl Store + 'static,
        name: &str,
    ) -> Result<CascadingCipherManager, Error> {
        let reports = Reports::new(self.clock.or_else(default_clock));
        let persistence = Persistence::create(Box::new(store), name, self.layers.len())?;
        CascadingCipherManager::assemble(self.layers, reports, Some(persistence))
    }
}

impl core::fmt::Debug for ManagerBuilder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let names = self.layers.iter().map(|layer| layer.properties().name);
        f.debug_list().entries(names).finish()
    }
}

#[cfg(all(feature = "std", not(all(target_family = "wasm", target_os = "unknown"))))]
pub(crate) fn default_clock() -> Option<Clock> {
    Some(|| {
        static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        START.get_or_init(std::time::Instant::now).elapsed()
    })
}

#[cfg(not(all(feature = "std", not(all(target_family = "wasm", target_os = "unknown")))))]
pub(crate) fn default_clock() -> Option<Clock> {
    None
}
