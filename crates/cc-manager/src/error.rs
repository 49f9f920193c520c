//! Why the manager did not do what it was asked to.

use alloc::{boxed::Box, string::String};

use cc_core::{DecodeError, LayerError, LayerErrorKind, MemberId, RandomError, store::StoreError};

use crate::{ChangeId, StackProblem};

/// Why the manager did not do what it was asked to. Nothing has changed then, in any layer.
///
/// The text of an error does not repeat that of its source: [`error_chain`](cc_core::error_chain)
/// prints all of them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are not a message for this call and this stack.
    #[error("not a message for this call")]
    Decode(#[from] DecodeError),
    /// A layer failed.
    #[error("layer {position} ({layer}) failed")]
    Layer {
        /// The layer's position, 0 at the bottom.
        position: usize,
        /// The layer's name.
        layer: &'static str,
        /// What the layer said.
        source: LayerError,
    },
    /// A key package bundle cannot be added.
    #[error(
        "key package bundle {index}{} cannot be added",
        .member.map(|id| alloc::format!(" (member {id})")).unwrap_or_default()
    )]
    KeyPackage {
        /// Which bundle of those that were given, the first being 0.
        index: usize,
        /// Whose it is, where that can be told.
        member: Option<MemberId>,
        /// Why.
        source: Box<Error>,
    },
    /// The layers opened their parts, but do not agree on who is in the group or who sent this.
    #[error("the layers do not agree on the members or the sender")]
    Disagreement,
    /// The stack cannot work.
    #[error("this stack cannot work")]
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
    /// To be added, and in the group already, or twice in one change.
    #[error("{0} is in the group already, or added twice: readmit it, or leave it out")]
    AlreadyMember(MemberId),
    /// A member cannot remove itself, for the commit would have to be made by somebody outside.
    #[error(
        "a member cannot commit its own removal: call leave(), and let another member commit it"
    )]
    RemovesSelf,
    /// The member is in a group, or was.
    #[error("this manager is or was in a group: build another one for another group")]
    GroupExists,
    /// A welcome for somebody else, or for a key package of this member whose keys are gone.
    #[error("the welcome is for somebody else, or for a key package that was used or is gone")]
    NotInvited,
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
    /// No layer of a stack for two signs its bundles, or a bundle has no signature: whoever hands it over could
    /// put another person's keys into it.
    #[error("no layer signs the bundle: add one that does, such as Signal")]
    UnsignedBundle,
    /// One's own bundle.
    #[error("this is one's own bundle: a pair is of two people")]
    OwnBundle,
    /// The operating system's random generator failed.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl Error {
    /// The number of this error, for logs and for bindings to other languages. An error that wraps
    /// another one has the number of that one. Numbers are never given to another error;
    /// `docs/errors.md` lists them.
    #[must_use]
    pub fn code(&self) -> u16 {
        match self {
            Self::Decode(source) => source.code(),
            Self::Layer { source, .. } => source.kind().code(),
            Self::KeyPackage { source, .. } => source.code(),
            Self::Stack(problem) => problem.code(),
            Self::Store(source) => source.code(),
            Self::Random(_) => LayerErrorKind::Random.code(),
            Self::Disagreement => 501,
            Self::StaleEpoch { .. } => 502,
            Self::NoSuchLayer(_) => 503,
            Self::NoGroupLayer => 504,
            Self::ChangeStaged(_) => 505,
            Self::NoSuchChange(_) => 506,
            Self::NoSuchMember(_) => 507,
            Self::AlreadyMember(_) => 508,
            Self::RemovesSelf => 509,
            Self::GroupExists => 510,
            Self::PairwiseInGroup { .. } => 511,
            Self::SenderUnknown => 512,
            Self::UnknownLayer { .. } => 513,
            Self::EarlyEpoch { .. } => 514,
            Self::EpochUnknown => 515,
            Self::TooManyProposals(_) => 516,
            Self::NoLayerOfType(_) => 517,
            Self::NotInvited => 518,
            Self::UnsignedBundle => 519,
            Self::OwnBundle => 520,
        }
    }

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

    /// Whether the bytes were refused for good: malformed, forged, damaged, made by this member,
    /// opened before, too old, or for another stack. [`receive`](crate::CascadingCipherManager::receive)
    /// tells which.
    #[must_use]
    pub fn is_rejected(&self) -> bool {
        match self {
            Self::Decode(_) | Self::Disagreement | Self::StaleEpoch { .. } => true,
            Self::Layer { source, .. } => matches!(
                source.kind(),
                LayerErrorKind::Rejected
                    | LayerErrorKind::Own
                    | LayerErrorKind::Duplicate
                    | LayerErrorKind::Stale
            ),
            Self::KeyPackage { source, .. } => source.is_rejected(),
            _ => false,
        }
    }

    /// `source` is about the key package bundle at `index`.
    pub(crate) fn of_key_package(index: usize, source: Self) -> Self {
        let member = match &source {
            Self::AlreadyMember(id) => Some(*id),
            Self::Layer { source, .. } => source.member(),
            _ => None,
        };
        Self::KeyPackage { index, member, source: Box::new(source) }
    }
}
