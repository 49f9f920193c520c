//! What the manager reports.

use alloc::string::String;

use cc_core::{DecodeError, LayerError, LayerErrorKind, MemberId, RandomError, store::StoreError};

use crate::{ChangeId, StackProblem};

/// Why the manager did not do what it was asked to. Nothing has changed then, in any layer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are not a message for this call and this stack.
    #[error("not a message for this call: {0}")]
    Decode(#[from] DecodeError),
    /// A layer failed.
    #[error("layer {position} ({layer}): {source}")]
    Layer {
        /// The layer's position, 0 at the bottom.
        position: usize,
        /// The layer's name.
        layer: &'static str,
        /// What the layer said.
        source: LayerError,
    },
    /// The layers opened their parts, but do not agree on who is in the group or who sent this.
    #[error("the layers do not agree on the members or the sender")]
    Disagreement,
    /// The stack cannot work.
    #[error("this stack cannot work: {0}")]
    Stack(#[from] StackProblem),
    /// No layer at this position.
    #[error("there is no layer at position {0}")]
    NoSuchLayer(usize),
    /// No layer of this type.
    #[error("there is no layer of type {0} (there)")]
    NoLayerOfType(&'static str),
    /// A commit or proposal that was sealed under the keys of an epoch that is over.
    #[error("sealed in epoch {epoch}, which is over: the group is in epoch {present}")]
    StaleEpoch {
        /// The epoch whose keys sealed it.
        epoch: u64,
        /// The epoch of the group.
        present: u64,
    },
    /// A commit or proposal of an epoch that is still to come.
    #[error(
        "sealed in epoch {epoch}, and the group is in epoch {present}: process the commits between"
    )]
    EarlyEpoch {
        /// The epoch that it names.
        epoch: u64,
        /// The epoch of the group.
        present: u64,
    },
    /// No layer tells of which epoch a commit or proposal is, so it could be a thief's.
    #[error("no layer of this stack tells epochs: add a group layer that does, such as MLS")]
    EpochUnknown,
    /// One member proposed as much as anybody may in one epoch.
    #[error("{0} proposed as much as anybody may: wait for the next commit")]
    TooManyProposals(MemberId),
    /// A group operation on a stack without a group layer.
    #[error("no layer of this stack knows groups: add one, such as MLS or a DH group")]
    NoGroupLayer,
    /// A change is staged already.
    #[error("change {0} is staged: confirm or discard it first")]
    ChangeStaged(ChangeId),
    /// No such change is staged.
    #[error("change {0} is not staged (any more)")]
    NoSuchChange(ChangeId),
    /// Not a member of the group.
    #[error("{0} is not a member of the group")]
    NoSuchMember(MemberId),
    /// A member cannot remove itself, for the commit would have to be made by somebody outside.
    #[error(
        "a member cannot commit its own removal: call leave(), and let another member commit it"
    )]
    RemovesSelf,
    /// The member is in a group, or was.
    #[error("this manager is or was in a group: build another one for another group")]
    GroupExists,
    /// A welcome by which this member joined before.
    #[error("this member joined by this welcome before: ask for a new one")]
    WelcomeUsed,
    /// A layer for two in a group of more.
    #[error(
        "layer {position} is for two parties, and the group would have {members}: \
         replace it with a group layer"
    )]
    PairwiseInGroup {
        /// The layer's position.
        position: usize,
        /// Members after the change.
        members: usize,
    },
    /// No layer tells who sent a message, so a request to leave could be anybody's.
    #[error("no layer of this stack authenticates senders: let another member remove this one")]
    SenderUnknown,
    /// The store failed. Nothing has changed, unless it is
    /// [in doubt](StoreError::is_in_doubt): then open the store and the manager anew.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store has a layer of a type that the catalog does not list.
    #[error("layer {position} of the store is of type {id:?}: list it with Catalog::with")]
    UnknownLayer {
        /// The layer's position.
        position: usize,
        /// The id of its descriptor.
        id: String,
    },
    /// The operating system's random generator failed.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl Error {
    /// Whether the message belongs to a later epoch than this member has reached: process the commit
    /// that leads there, then open it again.
    #[must_use]
    pub fn is_early(&self) -> bool {
        match self {
            Self::EarlyEpoch { .. } => true,
            Self::Layer { source, .. } => source.kind() == LayerErrorKind::Early,
            _ => false,
        }
    }

    /// Whether the message belongs to an epoch, or a place in a chain, that is over.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        match self {
            Self::StaleEpoch { .. } => true,
            Self::Layer { source, .. } => source.kind() == LayerErrorKind::Stale,
            _ => false,
        }
    }

    /// Whether the bytes were refused: malformed, forged, damaged, replayed, too old, or for another
    /// stack.
    #[must_use]
    pub fn is_rejected(&self) -> bool {
        match self {
            Self::Decode(_) | Self::Disagreement | Self::WelcomeUsed => true,
            Self::Layer { source, .. } => source.kind() == LayerErrorKind::Rejected,
            _ => false,
        }
    }
}
