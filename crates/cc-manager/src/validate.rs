//! Which stacks cannot work, and what to change about them.

use alloc::vec::Vec;

use cc_core::{CipherLayer, Secret, limits::MAX_LAYERS};

/// Why a stack cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
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

impl StackProblem {
    /// The number of this problem, for logs and for bindings to other languages. Numbers are never
    /// given to another problem; `docs/errors.md` lists them.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Self::Empty => 301,
            Self::TooManyLayers(_) => 302,
            Self::NothingToInherit(_) => 303,
            Self::SharedKey(..) => 304,
        }
    }
}

/// # Errors
/// What is wrong with the stack of these layers, bottom first.
pub(crate) fn validate<'a>(
    layers: impl Iterator<Item = &'a dyn CipherLayer>,
) -> Result<(), StackProblem> {
    let (mut count, mut contributed) = (0, false);
    let mut keys: Vec<(usize, Secret<32>)> = Vec::new();
    for (position, layer) in layers.enumerate() {
        count = position + 1;
        let properties = layer.properties();
        if properties.inherits && !contributed {
            return Err(StackProblem::NothingToInherit(position));
        }
        contributed |= properties.contributes;
        let Some(key) = layer.key_commitment() else { continue };
        if let Some((other, _)) = keys.iter().find(|(_, other)| *other == key) {
            return Err(StackProblem::SharedKey(*other, position));
        }
        keys.push((position, key));
    }
    match count {
        0 => Err(StackProblem::Empty),
        1..=MAX_LAYERS => Ok(()),
        count => Err(StackProblem::TooManyLayers(count)),
    }
}
