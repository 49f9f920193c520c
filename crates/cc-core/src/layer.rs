//! The contract of a layer.

use alloc::string::String;
use core::any::Any;

use crate::{
    Binding, Buffer, ChainSecret, Contribution, GroupLayer, LayerDescriptor, LayerError, MemberId,
    Secret, StackId,
    store::{ScopeReader, ScopeWriter},
};

/// One cipher or key-agreement protocol with its own keys and state.
///
/// # How the manager drives a layer
/// Sealing: [`contribute`](Self::contribute) is called on all layers, bottom to top, then
/// [`seal`](Self::seal) bottom to top. Opening: [`recall`](Self::recall) bottom to top, on the layers
/// that left a hint, then [`open`](Self::open) top to bottom. Afterwards every layer gets one
/// [`apply`](Self::apply) if all of them succeeded, or one [`revert`](Self::revert) if any failed.
///
/// With a store, [`save`](Self::save) comes before the `apply`, and the `apply` only once the store
/// has what was written.
///
/// # What a layer must keep
/// - Until `apply`, nothing that was staged since the last `apply` may be lost by a `revert`, and
///   after a `revert` of an `open` the next good message opens.
/// - A `revert` after `seal` must never lead to a nonce or message key being used twice: skip it.
/// - It authenticates [`LayerContext::associated_data`] in full.
/// - What a remote attacker can cause is [`LayerError::rejected`] (or
///   [`early`](LayerError::early)), never a panic, and never an allocation beyond the input's size.
pub trait CipherLayer: Any + Send {
    /// What both ends must agree on. Constant over the layer's life.
    fn descriptor(&self) -> LayerDescriptor;

    /// What the layer needs and promises, for validation and for the report.
    fn properties(&self) -> Properties;

    /// The layer takes its place in a stack. Called when the stack is built, and again whenever its
    /// layers change; nothing is in flight then. Staged, as everything else.
    ///
    /// # Errors
    /// [`Misuse`](crate::LayerErrorKind::Misuse) when the layer cannot work in this place.
    fn attach(&mut self, place: &Attachment) -> Result<(), LayerError> {
        let _ = place;
        Ok(())
    }

    /// What this layer hands upwards for the next message, if it contributes to the key cascade.
    ///
    /// The stack keeps the secret until the next message or the next call that may end an epoch: of a group layer, or
    /// by its settings. A layer that forgets secrets as it seals or opens has its last one in memory until then.
    ///
    /// # Errors
    /// [`NotReady`](crate::LayerErrorKind::NotReady) when there is no key yet.
    fn contribute(&mut self) -> Result<Option<Contribution>, LayerError> {
        Ok(None)
    }

    /// The secret that was handed upwards under `hint`, and the epoch it is of. Kept as what
    /// [`contribute`](Self::contribute) gives.
    ///
    /// # Errors
    /// [`Rejected`](crate::LayerErrorKind::Rejected) for a hint that is malformed,
    /// [`Stale`](crate::LayerErrorKind::Stale) for one that is out of the layer's window,
    /// [`Early`](crate::LayerErrorKind::Early) for one that is still to come.
    fn recall(&mut self, hint: &[u8]) -> Result<Recalled, LayerError> {
        let _ = hint;
        Err(LayerError::rejected())
    }

    /// Encrypts the buffer in place.
    ///
    /// # Errors
    /// Any kind but `Rejected`. The buffer is then thrown away.
    fn seal(&mut self, context: &LayerContext<'_>, buffer: &mut Buffer) -> Result<(), LayerError>;

    /// Decrypts the buffer in place.
    ///
    /// # Errors
    /// [`Rejected`](crate::LayerErrorKind::Rejected) for anything wrong with the bytes. The buffer is
    /// then thrown away.
    fn open(
        &mut self,
        context: &LayerContext<'_>,
        buffer: &mut Buffer,
    ) -> Result<Opened, LayerError>;

    /// Keeps everything staged since the last `apply` or `revert`. Cannot fail.
    fn apply(&mut self) {}

    /// Drops everything staged since the last `apply` or `revert`. Cannot fail.
    fn revert(&mut self) {}

    /// Writes the records of the layer that changed since the last `save` that was applied, what is
    /// staged included; all records where [`ScopeWriter::is_new`] says that the store has none.
    ///
    /// The `apply` that follows puts them into force. If a `revert` follows instead, the store is as
    /// it was, and what holds nevertheless (a message key that was skipped) is for the next `save`.
    /// A message leaves the manager only after the state that made it is in the store; so what
    /// [`Restore::restore`] gives may use again what was never saved.
    ///
    /// # Errors
    /// [`Misuse`](crate::LayerErrorKind::Misuse) from a layer that cannot be kept in a store.
    fn save(&mut self, to: &mut ScopeWriter<'_>) -> Result<(), LayerError> {
        let _ = to;
        Err(LayerError::misuse(
            "this layer does not implement CipherLayer::save: leave it out of stacks with a store",
        ))
    }

    /// A value that tells whether two layers use the same long-lived key, so that the second adds
    /// nothing: [`key_commitment`](crate::key_commitment) of it, or of the public key of a pair. `None`
    /// where there is no such key.
    fn key_commitment(&self) -> Option<Secret<32>> {
        None
    }

    /// The layer as a group layer, where it is one.
    fn group(&self) -> Option<&dyn GroupLayer> {
        None
    }

    /// The layer as a group layer, where it is one. `Some` exactly when [`group`](Self::group) is.
    fn group_mut(&mut self) -> Option<&mut dyn GroupLayer> {
        None
    }
}

/// A layer that a store can bring back.
pub trait Restore: CipherLayer + Sized {
    /// The [`id`](LayerDescriptor::id) of its descriptor, by which the store knows the type.
    const ID: &'static str;

    /// The layer as [`CipherLayer::save`] wrote it, in the place that it was attached to.
    ///
    /// # Errors
    /// [`Storage`](crate::LayerErrorKind::Storage) for records that are missing, malformed or of a
    /// newer version of the layer.
    fn restore(from: &ScopeReader<'_>) -> Result<Self, LayerError>;
}

/// A layer with upkeep that a program does while the layer is in a stack: prekeys to rotate, say, or key
/// packages to forget.
pub trait Configure: CipherLayer {
    /// Offers the upkeep, and nothing that moves the layer alone: no messages, no changes of the group,
    /// no other keys.
    type Settings<'a>
    where
        Self: 'a;

    /// What may be changed. It is staged as everything else, except where the method says that it is in
    /// force at once; then it is for the next [`save`](CipherLayer::save).
    fn settings(&mut self) -> Self::Settings<'_>;
}

/// A layer's place in a stack.
#[derive(Debug, Clone, Copy)]
pub struct Attachment {
    /// The whole stack.
    pub stack: StackId,
    /// The layer's position, 0 at the bottom.
    pub position: u16,
    /// This member, where the stack has group layers.
    pub member: Option<MemberId>,
    /// Whether this member founds a group: some layer of the stack was made to.
    pub founding: bool,
}

/// What a layer gets for one message.
#[derive(Debug)]
pub struct LayerContext<'a> {
    /// The digest of everything around the message.
    pub binding: &'a Binding,
    /// The layer's position, 0 at the bottom.
    pub position: u16,
    /// What the layers below contributed, `None` if none of them did.
    pub chain: Option<&'a ChainSecret>,
}

impl LayerContext<'_> {
    /// What the layer authenticates besides its plaintext. 34 bytes.
    #[must_use]
    pub fn associated_data(&self) -> [u8; 34] {
        self.binding.at(self.position)
    }
}

/// The secret behind a hint.
#[derive(Debug, PartialEq, Eq)]
pub struct Recalled {
    /// What the layer handed upwards.
    pub secret: Secret<32>,
    /// The epoch of the group (as in [`Standing::Member`](crate::Standing::Member)) that the secret
    /// is of; `None` in a layer without groups.
    pub epoch: Option<u64>,
}

/// What a layer knows about a message it opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Opened {
    /// Who sealed it, where the layer authenticates a member.
    pub sender: Option<MemberId>,
    /// The name in the sender's credential, where the layer has one.
    pub sender_name: Option<String>,
    /// The epoch of the group (as in [`Standing::Member`](crate::Standing::Member)) whose keys opened
    /// it; `None` in a layer without groups. All group layers of a message must agree, and a commit
    /// or proposal must be of the present one: the manager sees to that.
    pub epoch: Option<u64>,
}

impl Opened {
    /// A message whose sender this layer authenticated.
    #[must_use]
    pub fn by(sender: MemberId) -> Self {
        Self { sender: Some(sender), ..Self::default() }
    }

    /// The same, of this epoch.
    #[must_use]
    pub fn in_epoch(self, epoch: u64) -> Self {
        Self { epoch: Some(epoch), ..self }
    }

    /// The same, with the name in the sender's credential.
    #[must_use]
    pub fn named(self, name: Option<String>) -> Self {
        Self { sender_name: name, ..self }
    }
}

/// What a layer needs from its stack and promises to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Properties {
    /// A name for people, such as `"AES-256-GCM"`.
    pub name: &'static str,
    /// Takes its key from the layers below.
    pub inherits: bool,
    /// Hands a secret to the layers above.
    pub contributes: bool,
    /// Only two parties can ever share it.
    pub pairwise: bool,
    /// Refuses a message that it has opened before.
    pub refuses_replays: bool,
    /// Tells which member sealed a message, and no other member can pretend to be them.
    pub authenticates_sender: bool,
}

impl Properties {
    /// A layer with a key of its own that neither inherits nor contributes.
    #[must_use]
    pub const fn plain(name: &'static str) -> Self {
        Self {
            name,
            inherits: false,
            contributes: false,
            pairwise: false,
            refuses_replays: false,
            authenticates_sender: false,
        }
    }
}
