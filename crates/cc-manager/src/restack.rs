//! Changing the layers of a stack. The new stack is made beside the old one, which stays in place until
//! the new one is durable: an error or a panic on the way leaves it as it was.

use alloc::{boxed::Box, vec::Vec};

use cc_core::{CipherLayer, Standing, store::Batch};

use crate::{
    CascadingCipherManager, Error,
    change_parts::expect_fit,
    composition::Composition,
    layers::{LayerMut, Layers, finish_one},
    persistence::{Draft, Persistence, Reshaped, Slots, When},
    validate::validate,
};

impl CascadingCipherManager {
    /// Puts a layer on top. Both ends must do so between the same two messages. What is in the
    /// [outbox](Self::outbox) was made by the stack as it was, which the others no longer have after it:
    /// let them receive that first.
    ///
    /// # Errors
    /// As [`insert_layer`](Self::insert_layer).
    pub fn add_layer(&mut self, layer: impl CipherLayer) -> Result<(), Error> {
        self.insert_layer(self.layer_count(), layer)
    }

    /// Puts a layer at `position`; those from there on move up.
    ///
    /// # Errors
    /// [`Error::Stack`] when the new stack cannot work, [`Error::NoSuchLayer`] beyond the top,
    /// [`Error::ChangeStaged`] while a change is staged, [`Error::GroupExists`] for a group layer in a
    /// stack that has a group, [`Error::PairwiseInGroup`] for a layer for two in a group of more.
    pub fn insert_layer(&mut self, position: usize, layer: impl CipherLayer) -> Result<(), Error> {
        self.restack(Edit::Insert(position, Box::new(layer))).map(drop)
    }

    /// Takes the layer at `position` out of the stack.
    ///
    /// # Errors
    /// As [`insert_layer`](Self::insert_layer).
    pub fn remove_layer(&mut self, position: usize) -> Result<Box<dyn CipherLayer>, Error> {
        self.restack(Edit::Remove(position))?.ok_or(Error::NoSuchLayer(position))
    }

    /// Puts `layer` in the place of the one at `position`, and gives that one back.
    ///
    /// # Errors
    /// As [`insert_layer`](Self::insert_layer).
    pub fn replace_layer(
        &mut self,
        position: usize,
        layer: impl CipherLayer,
    ) -> Result<Box<dyn CipherLayer>, Error> {
        let edit = Edit::Replace(position, Box::new(layer));
        self.restack(edit)?.ok_or(Error::NoSuchLayer(position))
    }

    /// Changes the layers; gives the one that was taken out.
    fn restack(&mut self, mut edit: Edit) -> Result<Option<Box<dyn CipherLayer>>, Error> {
        edit.check_position(self.layer_count())?;
        if let Some(staged) = &self.state.staged {
            return Err(Error::ChangeStaged(staged.id()));
        }
        let in_group = self.stack.groups().any(|(_, group)| group.standing() != Standing::Outside);
        if in_group && edit.is_about_group_layer(self.stack.layers()) {
            return Err(Error::GroupExists);
        }
        let members = self.members().len();
        let Self { stack, state, persistence, .. } = self;
        if let Some(persistence) = &mut *persistence {
            // What is not in the store yet belongs to the layers as they are.
            persistence.prepare()?;
        }

        let slots = persistence.as_ref().map(|persistence| edit.slots(persistence)).transpose()?;
        let mut arrangement = Arrangement { layers: edit.arrange(stack.layers_mut()) };
        validate(arrangement.iter())?;
        expect_fit(arrangement.iter(), members)?;
        let composition = Composition::of(arrangement.iter());
        composition.attach(arrangement.iter_mut())?;
        let mut draft = Draft::new(state, persistence.as_ref());
        draft.state.forget_additions();
        *state = match persistence.as_mut().zip(slots) {
            Some((persistence, (slots, erased))) => {
                let descriptors = &composition.descriptors;
                let reshaped = Reshaped { descriptors, slots, erased, with: None };
                let layers = arrangement.iter_mut();
                persistence.commit_operation(layers, Some(reshaped), state, draft, When::Now)?
            }
            None => draft.state,
        };

        // It is durable: nothing fails from here on.
        arrangement.release();
        let removed = stack.reshape(composition, |layers| edit.apply(layers));
        stack.transaction().commit = true;
        Ok(removed)
    }
}

/// A change of the layers.
enum Edit {
    Insert(usize, Box<dyn CipherLayer>),
    Remove(usize),
    Replace(usize, Box<dyn CipherLayer>),
}

impl Edit {
    fn check_position(&self, count: usize) -> Result<(), Error> {
        match self {
            Self::Insert(position, _) if *position <= count => Ok(()),
            Self::Remove(position) | Self::Replace(position, _) if *position < count => Ok(()),
            Self::Insert(position, _) | Self::Remove(position) | Self::Replace(position, _) => {
                Err(Error::NoSuchLayer(*position))
            }
        }
    }

    fn is_about_group_layer(&self, layers: &Layers) -> bool {
        let is_group = |at: &usize| layers.get(*at).is_some_and(|layer| layer.group().is_some());
        match self {
            Self::Insert(_, new) => new.group().is_some(),
            Self::Remove(position) => is_group(position),
            Self::Replace(position, new) => new.group().is_some() || is_group(position),
        }
    }

    /// The layers as they will be.
    fn arrange<'a>(&'a mut self, layers: impl Iterator<Item = LayerMut<'a>>) -> Vec<LayerMut<'a>> {
        let mut layers: Vec<_> = layers.collect();
        match self {
            Self::Insert(position, new) => layers.insert(*position, new.as_mut()),
            Self::Remove(position) => {
                layers.remove(*position);
            }
            Self::Replace(position, new) => {
                if let Some(place) = layers.get_mut(*position) {
                    *place = new.as_mut();
                }
            }
        }
        layers
    }

    /// Where the layers will have their records, and what deletes those of a layer that is taken out.
    fn slots(&self, persistence: &Persistence) -> Result<(Slots, Batch), Error> {
        let mut slots = persistence.slots().clone();
        let mut erased = Batch::new();
        match self {
            Self::Insert(position, _) => slots.insert(*position),
            Self::Remove(position) => erased = persistence.remove_slot(&mut slots, *position)?,
            Self::Replace(position, _) => {
                erased = persistence.remove_slot(&mut slots, *position)?;
                slots.insert(*position);
            }
        }
        Ok((slots, erased))
    }

    /// Makes the layers what [`arrange`](Self::arrange) gave; gives the one that was taken out.
    fn apply(self, layers: &mut Layers) -> Option<Box<dyn CipherLayer>> {
        match self {
            Self::Insert(position, new) => {
                layers.insert(position, new);
                None
            }
            Self::Remove(position) => layers.remove(position),
            Self::Replace(position, new) => layers.replace(position, new),
        }
    }
}

/// The layers in the order that they are to have. What they staged is reverted when this is dropped, by
/// a panic as well, unless it was released.
struct Arrangement<'a> {
    layers: Vec<LayerMut<'a>>,
}

impl Arrangement<'_> {
    fn iter(&self) -> impl Iterator<Item = &dyn CipherLayer> {
        self.layers.iter().map(|layer| &**layer as &dyn CipherLayer)
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = LayerMut<'_>> {
        self.layers.iter_mut().map(|layer| &mut **layer)
    }

    fn release(mut self) {
        self.layers.clear();
    }
}

impl Drop for Arrangement<'_> {
    fn drop(&mut self) {
        for layer in self.layers.drain(..) {
            finish_one(layer, false);
        }
    }
}
