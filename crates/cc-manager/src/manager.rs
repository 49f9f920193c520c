//! The manager: messages through the stack, and the stack itself.

use alloc::{boxed::Box, collections::BTreeSet, string::String, vec::Vec};
use core::{any::Any, fmt, fmt::Write as _};

use cc_core::{CipherLayer, Kind, MemberId, Standing};

use crate::{
    Error, LayerReport, ManagerBuilder, Message, StackProblem, StackReport,
    change::ChangeId,
    group::expect_fit,
    stack::{Reports, Stack},
    validate::validate,
};

/// Drives one stack of layers for one member (or one end of a pair, or one file).
///
/// Every method that fails leaves every layer as it was.
pub struct CascadingCipherManager {
    pub(crate) stack: Stack,
    pub(crate) reports: Reports,
    /// This member's change that waits for the delivery service.
    pub(crate) staged: Option<Staged>,
    /// Members that asked to be removed.
    pub(crate) leaving: BTreeSet<MemberId>,
}

pub(crate) struct Staged {
    pub(crate) id: ChangeId,
    pub(crate) added: Vec<MemberId>,
    pub(crate) removed: Vec<MemberId>,
}

impl CascadingCipherManager {
    /// Starts a stack: layers are added bottom first.
    pub fn builder() -> ManagerBuilder {
        ManagerBuilder::default()
    }

    pub(crate) fn from_stack(stack: Stack, reports: Reports) -> Self {
        Self { stack, reports, staged: None, leaving: BTreeSet::new() }
    }

    /// Encrypts `plaintext` through all layers, bottom to top.
    ///
    /// # Errors
    /// [`Error::Layer`] when a layer has no key or group yet, [`Error::Decode`] when the plaintext is
    /// over [`MAX_MESSAGE_LEN`](cc_core::limits::MAX_MESSAGE_LEN).
    pub fn encrypt(&mut self, plaintext: impl AsRef<[u8]>) -> Result<Vec<u8>, Error> {
        self.encrypt_with(plaintext, [])
    }

    /// Encrypts `plaintext`, and authenticates `associated_data` with it in every layer. The receiver
    /// must give the same associated data; it does not travel.
    ///
    /// # Errors
    /// As [`encrypt`](Self::encrypt).
    pub fn encrypt_with(
        &mut self,
        plaintext: impl AsRef<[u8]>,
        associated_data: impl AsRef<[u8]>,
    ) -> Result<Vec<u8>, Error> {
        let Self { stack, reports, .. } = self;
        stack.transact(|stack| {
            stack.seal(Kind::Application, plaintext.as_ref(), associated_data.as_ref(), reports)
        })
    }

    /// Decrypts a message through all layers, top to bottom.
    ///
    /// # Errors
    /// [`Error::Decode`] for bytes that are not a message of this stack, [`Error::Layer`] with the
    /// layer that refused it. [`Error::is_early`] tells a message of an epoch that is still to come.
    pub fn decrypt(&mut self, wire: impl AsRef<[u8]>) -> Result<Message, Error> {
        self.decrypt_with(wire, [])
    }

    /// Decrypts a message that was encrypted with `associated_data`.
    ///
    /// # Errors
    /// As [`decrypt`](Self::decrypt).
    pub fn decrypt_with(
        &mut self,
        wire: impl AsRef<[u8]>,
        associated_data: impl AsRef<[u8]>,
    ) -> Result<Message, Error> {
        let Self { stack, reports, .. } = self;
        let (buffer, sender) = stack.transact(|stack| {
            stack.open(Kind::Application, wire.as_ref(), associated_data.as_ref(), reports)
        })?;
        Ok(Message::new(buffer.into_vec(), sender))
    }

    /// Each layer's share of the last message that was sealed or opened, bottom first. Empty before
    /// the first one. After a failure it tells how far the message came.
    #[must_use]
    pub fn last_report(&self) -> &[LayerReport] {
        self.reports.layers()
    }

    /// What the stack is and promises.
    #[must_use]
    pub fn stack_report(&self) -> StackReport {
        let mut stack_id = String::new();
        for byte in self.stack.id().wire() {
            // Writing to a string does not fail.
            let _ = write!(stack_id, "{byte:02x}");
        }
        let properties = || self.stack.layers().iter().map(|layer| layer.properties());
        StackReport {
            stack_id,
            layers: properties()
                .zip(self.stack.descriptors())
                .map(|(properties, descriptor)| (properties.name, descriptor.version))
                .collect(),
            refuses_replays: properties().any(|p| p.refuses_replays),
            cascades_keys: properties().any(|p| p.inherits),
            pairwise: properties().any(|p| p.pairwise),
        }
    }

    /// Checks that the stack can work. Building and changing a stack do so too.
    ///
    /// # Errors
    /// [`StackProblem`] says what to change.
    pub fn validate(&self) -> Result<(), StackProblem> {
        validate(self.stack.layers())
    }

    /// How many layers there are.
    #[must_use]
    pub fn layer_count(&self) -> usize {
        self.stack.layers().len()
    }

    /// The layer at `position` (0 at the bottom), if it is a `T`.
    #[must_use]
    pub fn layer<T: CipherLayer>(&self, position: usize) -> Option<&T> {
        let layer: &dyn Any = self.stack.layers().get(position)?.as_ref();
        layer.downcast_ref()
    }

    /// The layer at `position`, if it is a `T`, to be configured. Group and key changes belong to the
    /// manager's own methods, which keep the layers together.
    pub fn layer_mut<T: CipherLayer>(&mut self, position: usize) -> Option<&mut T> {
        let layer: &mut dyn Any = self.stack.layer_mut(position)?;
        layer.downcast_mut()
    }

    /// Puts a layer on top. Both ends must do so between the same two messages.
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
        let regroups = layer.group().is_some();
        self.restack(regroups, |layers| {
            if position > layers.len() {
                return Err(Error::NoSuchLayer(position));
            }
            layers.insert(position, Box::new(layer));
            Ok(Undo::Remove(position))
        })
        .map(drop)
    }

    /// Takes the layer at `position` out of the stack.
    ///
    /// # Errors
    /// As [`insert_layer`](Self::insert_layer).
    pub fn remove_layer(&mut self, position: usize) -> Result<Box<dyn CipherLayer>, Error> {
        let removed = self.restack(self.stack.is_group(position), |layers| {
            if position >= layers.len() {
                return Err(Error::NoSuchLayer(position));
            }
            Ok(Undo::Insert(position, layers.remove(position)))
        })?;
        removed.ok_or(Error::NoSuchLayer(position))
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
        let regroups = layer.group().is_some() || self.stack.is_group(position);
        let replaced = self.restack(regroups, |layers| {
            let old = layers.get_mut(position).ok_or(Error::NoSuchLayer(position))?;
            Ok(Undo::Replace(position, core::mem::replace(old, Box::new(layer))))
        })?;
        replaced.ok_or(Error::NoSuchLayer(position))
    }

    /// Changes the layers and gives the one that went; undoes the change if the new stack cannot work.
    fn restack(
        &mut self,
        regroups: bool,
        edit: impl FnOnce(&mut Vec<Box<dyn CipherLayer>>) -> Result<Undo, Error>,
    ) -> Result<Option<Box<dyn CipherLayer>>, Error> {
        if let Some(staged) = &self.staged {
            return Err(Error::ChangeStaged(staged.id));
        }
        if regroups && self.stack.groups().any(|(_, group)| group.standing() != Standing::Outside) {
            return Err(Error::GroupExists);
        }
        let members = self.members().len();
        let stack = core::mem::replace(&mut self.stack, Stack::of_attached(Vec::new()));
        let mut layers = stack.into_layers();
        // Where the new stack cannot be, the old layers are still in their places.
        let (stack, result) = match edit(&mut layers) {
            Err(error) => (Stack::of_attached(layers), Err(error)),
            Ok(undo) => {
                let new = match expect_fit(&layers, members) {
                    Ok(()) => Stack::new(layers),
                    Err(error) => Err((layers, error)),
                };
                match new {
                    Ok(stack) => (stack, Ok(undo.into_removed())),
                    Err((mut layers, error)) => {
                        undo.run(&mut layers);
                        (Stack::of_attached(layers), Err(error))
                    }
                }
            }
        };
        self.stack = stack;
        result
    }
}

enum Undo {
    Remove(usize),
    Insert(usize, Box<dyn CipherLayer>),
    Replace(usize, Box<dyn CipherLayer>),
}

impl Undo {
    fn into_removed(self) -> Option<Box<dyn CipherLayer>> {
        match self {
            Self::Remove(_) => None,
            Self::Insert(_, layer) | Self::Replace(_, layer) => Some(layer),
        }
    }

    fn run(self, layers: &mut Vec<Box<dyn CipherLayer>>) {
        match self {
            Self::Remove(position) => {
                layers.remove(position);
            }
            Self::Insert(position, layer) => layers.insert(position, layer),
            Self::Replace(position, layer) => {
                if let Some(slot) = layers.get_mut(position) {
                    *slot = layer;
                }
            }
        }
    }
}

impl fmt::Debug for CascadingCipherManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.stack.layers().iter().map(|layer| layer.properties().name);
        f.debug_list().entries(names).finish()
    }
}
