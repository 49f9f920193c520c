//! Layers by their types, to be looked at and configured.

use core::any::{Any, type_name};

use cc_core::{CipherLayer, GroupLayer, LayerError, Standing};

use crate::{
    CascadingCipherManager, Error, change_parts::check_roster, layers::LayerMut, persistence::When,
    stack::failed,
};

impl CascadingCipherManager {
    /// The layer of type `T`; of several, the bottommost.
    #[must_use]
    pub fn find<T: CipherLayer>(&self) -> Option<&T> {
        self.stack.layers().iter().find_map(downcast)
    }

    /// The layer at `position` (0 at the bottom), if it is a `T`: for stacks with several of a type.
    #[must_use]
    pub fn find_at<T: CipherLayer>(&self, position: usize) -> Option<&T> {
        self.stack.layers().get(position).and_then(downcast)
    }

    /// Lets `change` configure the layer of type `T` (of several, the bottommost): rotate prekeys, say,
    /// or forget key packages. As every operation it is one transaction: with a store the layer is
    /// saved before this returns, and an error or a panic of `change` reverts what it staged.
    ///
    /// Messages and changes of the group belong to the manager's own methods, which keep the layers
    /// together; a layer whose group was moved alone is reverted.
    ///
    /// # Errors
    /// [`Error::NoLayerOfType`]; [`Error::Layer`] with what `change` gave, or with
    /// [`Misuse`](cc_core::LayerErrorKind::Misuse) where it moved the layer alone; [`Error::Store`].
    pub fn configure<T: CipherLayer, R>(
        &mut self,
        change: impl FnOnce(&mut T) -> Result<R, LayerError>,
    ) -> Result<R, Error> {
        let position = self.stack.layers().iter().position(|layer| downcast::<T>(layer).is_some());
        let position = position.ok_or(Error::NoLayerOfType(type_name::<T>()))?;
        self.configure_at(position, change)
    }

    /// As [`configure`](Self::configure), for the layer at `position`.
    ///
    /// # Errors
    /// As [`configure`](Self::configure).
    pub fn configure_at<T: CipherLayer, R>(
        &mut self,
        position: usize,
        change: impl FnOnce(&mut T) -> Result<R, LayerError>,
    ) -> Result<R, Error> {
        self.transact(When::Now, |stack, _, _| {
            let at = u16::try_from(position).map_err(|_| Error::NoSuchLayer(position))?;
            let before = stack.layers().get(position).map(Fixed::of);
            let value = stack.call(at, |layer| match downcast_mut::<T>(layer) {
                Some(layer) => change(layer).map(Some),
                None => Ok(None),
            })?;
            let value = value.ok_or(Error::NoLayerOfType(type_name::<T>()))?;
            let layer = stack.layers().get(position).ok_or(Error::NoSuchLayer(position))?;
            if before != Some(Fixed::of(layer)) {
                let advice = "this layer was moved alone: use the manager's own methods for groups";
                return Err(failed(at, layer, LayerError::misuse(advice)));
            }
            if stack.epoch().is_some() {
                check_roster(stack)?;
            }
            Ok(value)
        })
    }
}

/// What the other layers and the other members rely on.
#[derive(PartialEq)]
struct Fixed {
    descriptor: cc_core::LayerDescriptor,
    properties: cc_core::Properties,
    commitment: Option<[u8; 32]>,
    standing: Option<Standing>,
    authenticator: Option<[u8; 32]>,
}

impl Fixed {
    fn of(layer: &dyn CipherLayer) -> Self {
        let group = layer.group();
        Self {
            descriptor: layer.descriptor(),
            properties: layer.properties(),
            commitment: group.map(GroupLayer::commitment),
            standing: group.map(GroupLayer::standing),
            authenticator: group.and_then(GroupLayer::epoch_authenticator),
        }
    }
}

fn downcast<T: CipherLayer>(layer: &dyn CipherLayer) -> Option<&T> {
    let layer: &dyn Any = layer;
    layer.downcast_ref()
}

fn downcast_mut<T: CipherLayer>(layer: LayerMut<'_>) -> Option<&mut T> {
    let layer: &mut dyn Any = layer;
    layer.downcast_mut()
}
