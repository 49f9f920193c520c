//! Layers by their types, to be looked at and configured.

use core::any::{Any, type_name};

use cc_core::{CipherLayer, Configure, LayerError};

use crate::{CascadingCipherManager, Error, layers::LayerMut, persistence::When};

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

    /// Lets `change` configure the layer of type `T` (of several, the bottommost), through its
    /// [settings](Configure::Settings): rotate prekeys, say, or forget key packages. As every operation
    /// it is one transaction: with a store the layer is saved before this returns, and what `change`
    /// staged is reverted where it fails or panics.
    ///
    /// # Errors
    /// [`Error::NoLayerOfType`]; [`Error::Layer`] with what `change` gave; [`Error::Store`].
    pub fn configure<T: Configure, R>(
        &mut self,
        change: impl FnOnce(T::Settings<'_>) -> Result<R, LayerError>,
    ) -> Result<R, Error> {
        let position = self.position_of::<T>().ok_or(Error::NoLayerOfType(type_name::<T>()))?;
        self.configure_at::<T, R>(position, change)
    }

    /// As [`configure`](Self::configure), for the layer at `position`.
    ///
    /// # Errors
    /// As [`configure`](Self::configure); [`Error::NoSuchLayer`].
    pub fn configure_at<T: Configure, R>(
        &mut self,
        position: usize,
        change: impl FnOnce(T::Settings<'_>) -> Result<R, LayerError>,
    ) -> Result<R, Error> {
        let at = u16::try_from(position).map_err(|_| Error::NoSuchLayer(position))?;
        self.transact(When::Now, |stack, _, _| {
            let value = stack.change(at, |layer| match downcast_mut::<T>(layer) {
                Some(layer) => change(layer.settings()).map(Some),
                None => Ok(None),
            })?;
            value.ok_or(Error::NoLayerOfType(type_name::<T>()))
        })
    }

    /// Where the layer of type `T` is; of several, the bottommost.
    pub(crate) fn position_of<T: CipherLayer>(&self) -> Option<usize> {
        self.stack.layers().iter().position(|layer| downcast::<T>(layer).is_some())
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
