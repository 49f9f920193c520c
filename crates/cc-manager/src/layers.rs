//! The layers of a stack: at least one.

use alloc::{boxed::Box, vec::Vec};

use cc_core::{CipherLayer, LayerError};

use crate::{Error, StackProblem};

/// A layer while a stack or an operation has it.
pub(crate) type LayerMut<'a> = &'a mut (dyn CipherLayer + 'static);

/// Layers, bottom first. There is always one, so that no message ever leaves as it came.
pub(crate) struct Layers {
    first: Box<dyn CipherLayer>,
    rest: Vec<Box<dyn CipherLayer>>,
}

impl Layers {
    /// # Errors
    /// [`StackProblem::Empty`] for no layers.
    pub(crate) fn new(
        layers: impl IntoIterator<Item = Box<dyn CipherLayer>>,
    ) -> Result<Self, StackProblem> {
        let mut layers = layers.into_iter();
        let first = layers.next().ok_or(StackProblem::Empty)?;
        Ok(Self { first, rest: layers.collect() })
    }

    pub(crate) fn len(&self) -> usize {
        1 + self.rest.len()
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &dyn CipherLayer> {
        let rest = self.rest.iter().map(AsRef::as_ref);
        core::iter::once(self.first.as_ref()).chain(rest)
    }

    pub(crate) fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = LayerMut<'_>> {
        let rest = self.rest.iter_mut().map(AsMut::as_mut);
        core::iter::once(self.first.as_mut()).chain(rest)
    }

    pub(crate) fn get(&self, position: usize) -> Option<&dyn CipherLayer> {
        match position.checked_sub(1) {
            None => Some(self.first.as_ref()),
            Some(position) => self.rest.get(position).map(AsRef::as_ref),
        }
    }

    pub(crate) fn get_mut(&mut self, position: usize) -> Option<LayerMut<'_>> {
        match position.checked_sub(1) {
            None => Some(self.first.as_mut()),
            Some(position) => self.rest.get_mut(position).map(AsMut::as_mut),
        }
    }

    /// Puts `layer` at `position`, at the top if there are fewer layers.
    pub(crate) fn insert(&mut self, position: usize, layer: Box<dyn CipherLayer>) {
        match position.checked_sub(1) {
            None => self.rest.insert(0, core::mem::replace(&mut self.first, layer)),
            Some(position) => self.rest.insert(position.min(self.rest.len()), layer),
        }
    }

    /// Takes the layer at `position` out; `None` where there is none, or no other one.
    pub(crate) fn remove(&mut self, position: usize) -> Option<Box<dyn CipherLayer>> {
        match position.checked_sub(1) {
            _ if self.rest.is_empty() => None,
            None => Some(core::mem::replace(&mut self.first, self.rest.remove(0))),
            Some(position) if position < self.rest.len() => Some(self.rest.remove(position)),
            Some(_) => None,
        }
    }

    /// Puts `layer` in the place of the one at `position`; `None` where there is none.
    pub(crate) fn replace(
        &mut self,
        position: usize,
        layer: Box<dyn CipherLayer>,
    ) -> Option<Box<dyn CipherLayer>> {
        let place = match position.checked_sub(1) {
            None => &mut self.first,
            Some(position) => self.rest.get_mut(position)?,
        };
        Some(core::mem::replace(place, layer))
    }

    /// Calls [`apply`](CipherLayer::apply) or [`revert`](CipherLayer::revert) on every layer, bottom
    /// to top, also on those above one that panics.
    pub(crate) fn finish(&mut self, apply: bool) {
        let rest = Unfinished { layers: &mut self.rest, apply };
        finish_one(self.first.as_mut(), apply);
        drop(rest);
    }
}

/// The error of the layer at `position`.
pub(crate) fn failed(position: u16, layer: &dyn CipherLayer, source: LayerError) -> Error {
    Error::Layer { position: usize::from(position), layer: layer.properties().name, source }
}

/// Finishes its layers when it is dropped, by a panic as well.
struct Unfinished<'a> {
    layers: &'a mut [Box<dyn CipherLayer>],
    apply: bool,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some((next, rest)) = core::mem::take(&mut self.layers).split_first_mut() {
            let rest = Unfinished { layers: rest, apply: self.apply };
            finish_one(next.as_mut(), self.apply);
            drop(rest);
        }
    }
}

pub(crate) fn finish_one(layer: LayerMut<'_>, apply: bool) {
    if apply {
        layer.apply();
    } else {
        layer.revert();
    }
}

#[cfg(test)]
mod tests {
    use cc_core::{Buffer, LayerContext, LayerDescriptor, Opened, Properties};

    use super::*;

    /// Told apart by its version.
    struct Numbered(u16);

    impl CipherLayer for Numbered {
        fn descriptor(&self) -> LayerDescriptor {
            LayerDescriptor { id: "test.numbered", version: self.0, parameters: Vec::new() }
        }

        fn properties(&self) -> Properties {
            Properties::plain("numbered")
        }

        fn seal(&mut self, _: &LayerContext<'_>, _: &mut Buffer) -> Result<(), LayerError> {
            Ok(())
        }

        fn open(&mut self, _: &LayerContext<'_>, _: &mut Buffer) -> Result<Opened, LayerError> {
            Ok(Opened::default())
        }
    }

    fn layer(number: u16) -> Box<dyn CipherLayer> {
        Box::new(Numbered(number))
    }

    fn numbers(layers: &Layers) -> Vec<u16> {
        let numbers: Vec<_> = layers.iter().map(|layer| layer.descriptor().version).collect();
        let by_position = (0..layers.len()).filter_map(|at| layers.get(at));
        assert!(by_position.map(|layer| layer.descriptor().version).eq(numbers.iter().copied()));
        assert!(layers.get(layers.len()).is_none());
        numbers
    }

    #[test]
    fn there_is_always_one() -> Result<(), StackProblem> {
        assert!(matches!(Layers::new([]), Err(StackProblem::Empty)));
        let mut layers = Layers::new([layer(1)])?;
        assert!(layers.remove(0).is_none() && layers.remove(1).is_none());
        assert!(layers.replace(1, layer(9)).is_none());
        assert_eq!(numbers(&layers), [1]);
        layers.insert(0, layer(0));
        layers.insert(2, layer(3));
        layers.insert(2, layer(2));
        assert_eq!(numbers(&layers), [0, 1, 2, 3]);
        assert!(layers.replace(0, layer(10)).is_some() && layers.replace(3, layer(13)).is_some());
        assert_eq!(numbers(&layers), [10, 1, 2, 13]);
        assert!(layers.remove(4).is_none());
        let removed = [layers.remove(0), layers.remove(1), layers.remove(1)];
        let removed: Vec<_> = removed.iter().flatten().map(|l| l.descriptor().version).collect();
        assert_eq!((removed, numbers(&layers)), (alloc::vec![10, 2, 13], alloc::vec![1]));
        Ok(())
    }
}
