//! Which stacks cannot work, and what to change about them.

use alloc::{boxed::Box, vec::Vec};

use cc_core::{CipherLayer, limits::MAX_LAYERS};

/// Why a stack cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StackProblem {
    /// No layers.
    #[error("it has no layers: add at least one")]
    Empty,
    /// Too many layers.
    #[error("it has {0} layers, and {MAX_LAYERS} is the limit: remove some")]
    TooManyLayers(usize),
    /// A layer inherits its key, and nothing below it contributes one.
    #[error(
        "layer {0} inherits its key, and no layer below it contributes one: put a contributing \
         layer (DH, MLS) below it, or give it a key of its own"
    )]
    NothingToInherit(usize),
    /// Two layers use the same key, so that the second adds nothing.
    #[error("layers {0} and {1} share a key: give each its own")]
    SharedKey(usize, usize),
}

pub(crate) fn validate(layers: &[Box<dyn CipherLayer>]) -> Result<(), StackProblem> {
    if layers.is_empty() {
        return Err(StackProblem::Empty);
    }
    if layers.len() > MAX_LAYERS {
        return Err(StackProblem::TooManyLayers(layers.len()));
    }
    let mut contributed = false;
    for (position, layer) in layers.iter().enumerate() {
        let properties = layer.properties();
        if properties.inherits && !contributed {
            return Err(StackProblem::NothingToInherit(position));
        }
        contributed |= properties.contributes;
    }
    let keys: Vec<_> = layers
        .iter()
        .enumerate()
        .filter_map(|(position, layer)| layer.key_commitment().map(|key| (position, key)))
        .collect();
    for (i, (a, key)) in keys.iter().enumerate() {
        if let Some((b, _)) = keys.iter().skip(i + 1).find(|(_, other)| other == key) {
            return Err(StackProblem::SharedKey(*a, *b));
        }
    }
    Ok(())
}
