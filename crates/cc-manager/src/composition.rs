//! What follows from the layers of a stack.

use alloc::vec::Vec;

use cc_core::{Attachment, CipherLayer, GroupLayer, LayerDescriptor, MemberId, StackId};

use crate::{
    Error,
    layers::{LayerMut, failed},
};

/// What follows from the layers of a stack.
pub(crate) struct Composition {
    pub(crate) descriptors: Vec<LayerDescriptor>,
    pub(crate) id: StackId,
    /// This member, where there are group layers.
    pub(crate) member: Option<MemberId>,
    /// Some layer was made to found a group.
    founding: bool,
}

impl Composition {
    pub(crate) fn of<'a>(layers: impl Iterator<Item = &'a dyn CipherLayer>) -> Self {
        let (mut descriptors, mut commitments, mut founding) = (Vec::new(), Vec::new(), false);
        for layer in layers {
            descriptors.push(layer.descriptor());
            let group = layer.group();
            commitments.push(group.map(GroupLayer::commitment));
            founding |= group.is_some_and(GroupLayer::founds);
        }
        let known = descriptors.iter().zip(commitments);
        let known: Vec<_> = known.filter_map(|(d, commitment)| Some((d, commitment?))).collect();
        let member = (!known.is_empty()).then(|| MemberId::of(known));
        Self { id: StackId::of(&descriptors), descriptors, member, founding }
    }

    /// Layers that are in no group.
    #[cfg(test)]
    pub(crate) fn new(descriptors: Vec<LayerDescriptor>) -> Self {
        Self { id: StackId::of(&descriptors), descriptors, member: None, founding: false }
    }

    /// Gives each layer its place. Staged.
    pub(crate) fn attach<'a>(
        &self,
        layers: impl Iterator<Item = LayerMut<'a>>,
    ) -> Result<(), Error> {
        let (stack, member, founding) = (self.id, self.member, self.founding);
        (0..).zip(layers).try_for_each(|(position, layer)| {
            let place = Attachment { stack, position, member, founding };
            layer.attach(&place).map_err(|source| failed(position, layer, source))
        })
    }
}
