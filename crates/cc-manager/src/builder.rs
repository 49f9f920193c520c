//! Building a stack.

use alloc::{boxed::Box, vec::Vec};

use cc_core::CipherLayer;

use crate::{
    CascadingCipherManager, Error,
    stack::{Clock, Reports, Stack},
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

    /// Measures the time of each layer with `clock`, which gives the time since some fixed moment.
    /// With the `std` feature the system's monotonic clock is used where none is given (not on
    /// `wasm32-unknown-unknown`, which has none).
    pub fn clock(mut self, clock: fn() -> core::time::Duration) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Validates the stack and builds the manager.
    ///
    /// # Errors
    /// [`Error::Stack`] for a stack that cannot work, [`Error::Layer`] for a layer that cannot work in
    /// its place. Both say what to change.
    pub fn build(self) -> Result<CascadingCipherManager, Error> {
        let clock = self.clock.or_else(default_clock);
        let stack = Stack::new(self.layers).map_err(|(_, error)| error)?;
        Ok(CascadingCipherManager::from_stack(stack, Reports::new(clock)))
    }
}

impl core::fmt::Debug for ManagerBuilder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let names = self.layers.iter().map(|layer| layer.properties().name);
        f.debug_list().entries(names).finish()
    }
}

#[cfg(all(feature = "std", not(all(target_family = "wasm", target_os = "unknown"))))]
fn default_clock() -> Option<Clock> {
    Some(|| {
        static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        START.get_or_init(std::time::Instant::now).elapsed()
    })
}

#[cfg(not(all(feature = "std", not(all(target_family = "wasm", target_os = "unknown")))))]
fn default_clock() -> Option<Clock> {
    None
}
