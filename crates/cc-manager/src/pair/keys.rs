//! The keys of all layers, and what a layer's failure is called.

use alloc::{boxed::Box, vec::Vec};

use cc_core::{LayerError, PairKeys};

use crate::Error;

/// What `of` gives for the keys of each layer with its own one of `parts`, bottom first.
///
/// # Errors
/// [`Error::Layer`], of the first layer that fails.
pub(super) fn each<P, T>(
    keys: &[Box<dyn PairKeys>],
    parts: impl IntoIterator<Item = P>,
    mut of: impl FnMut(&dyn PairKeys, P) -> Result<T, LayerError>,
) -> Result<Vec<T>, Error> {
    let keys = keys.iter().zip(parts).enumerate();
    keys.map(|(position, (keys, part))| {
        of(&**keys, part).map_err(|source| failed(position, &**keys, source))
    })
    .collect()
}

/// As [`each`], where keys change.
pub(super) fn each_mut<P, T>(
    keys: &mut [Box<dyn PairKeys>],
    parts: impl IntoIterator<Item = P>,
    mut of: impl FnMut(&mut dyn PairKeys, P) -> Result<T, LayerError>,
) -> Result<Vec<T>, Error> {
    let keys = keys.iter_mut().zip(parts).enumerate();
    keys.map(|(position, (keys, part))| {
        of(&mut **keys, part).map_err(|source| failed(position, &**keys, source))
    })
    .collect()
}

pub(super) fn failed(position: usize, keys: &dyn PairKeys, source: LayerError) -> Error {
    Error::Layer { position, layer: keys.descriptor().id, source }
}

/// Applies what the keys staged when it is dropped, or reverts it, by a panic as well.
pub(super) struct Staged<'a> {
    pub(super) keys: &'a mut [Box<dyn PairKeys>],
    /// It is in force.
    pub(super) kept: bool,
}

impl<'a> Staged<'a> {
    /// Nothing is, so far.
    pub(super) fn begin(keys: &'a mut [Box<dyn PairKeys>]) -> Self {
        Self { keys, kept: false }
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        for keys in self.keys.iter_mut() {
            if self.kept {
                keys.apply();
            } else {
                keys.revert();
            }
        }
    }
}
