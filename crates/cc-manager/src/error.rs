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
        matches!(self, Self::Layer { source, .. } if source.kind() == LayerErrorKind::Early)
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
