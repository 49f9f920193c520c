//! The contract of a group-aware layer: members, and how they change.

use alloc::{string::String, vec::Vec};
use core::fmt;

use sha2::{Digest, Sha256};

use crate::{
    ChainSecret, CipherLayer, Contribution, Kind, LayerDescriptor, LayerError, Secret, StackId,
    stack::update_prefixed,
};

/// A layer that knows who is in the group.
///
/// All group layers of a stack change together: the manager asks each, bottom to top, for its part of
/// a bundle, welcome or commit, and each authenticates [`PartContext::binding`], which covers the
/// parts below. Whatever a method changes is staged until [`CipherLayer::apply`].
///
/// # Two-phase changes
/// [`stage_change`](Self::stage_change) leaves the group as it is; messages go on in the old epoch.
/// Then either [`confirm_change`](Self::confirm_change), or [`discard_change`](Self::discard_change)
/// because the delivery service took somebody else's commit. At most one change is staged.
///
/// # Coming back
/// A member that fell out of step (it lost a commit, or went back to an old copy of its state) makes a
/// key package although it is in the group, and somebody removes and adds its id in one change.
/// [`join`](Self::join) then replaces the group as this member had it. That this was asked for, and not
/// forced by somebody who kept an old key package, is for the manager to know.
pub trait GroupLayer: CipherLayer {
    /// A digest of this member's long-lived public keys in this layer. With the commitments of the
    /// other layers it makes the [`MemberId`].
    fn commitment(&self) -> [u8; 32];

    /// Whether this layer was made to found a group.
    fn founds(&self) -> bool {
        false
    }

    /// Where this member stands.
    fn standing(&self) -> Standing;

    /// All members, this one included; empty before the group exists.
    fn members(&self) -> Vec<Member>;

    /// This layer's part of a new key package bundle, in whatever standing.
    ///
    /// # Errors
    /// [`NotReady`](crate::LayerErrorKind::NotReady) before the layer is attached.
    fn key_package(&mut self, context: &PartContext<'_>) -> Result<Vec<u8>, LayerError>;

    /// What somebody else's part of a key package bundle says. Nothing is verified yet.
    ///
    /// # Errors
    /// [`Rejected`](crate::LayerErrorKind::Rejected) for malformed bytes.
    fn inspect_key_package(&self, part: &[u8]) -> Result<KeyPackageInfo, LayerError>;

    /// Verifies somebody else's part of a key package bundle as [`stage_change`](Self::stage_change)
    /// does, at the time `now` (as [`PartContext::now`]), and stages nothing. Where a layer does not
    /// implement it, the part is looked at only.
    ///
    /// # Errors
    /// [`Rejected`](crate::LayerErrorKind::Rejected) for a part that does not verify.
    fn verify_key_package(
        &self,
        new: &NewMember<'_>,
        now: Option<u64>,
    ) -> Result<KeyPackageInfo, LayerError> {
        let _ = now;
        self.inspect_key_package(new.part)
    }

    /// What all members have in common in this epoch, and nobody else can have: a digest over the
    /// group's history, its roster and what its members share, for people to compare. Two members
    /// whom somebody showed two different things have different ones. `None` outside a group. It
    /// tells nothing about any key.
    fn epoch_authenticator(&self) -> Option<[u8; 32]>;

    /// 32 bytes of the present epoch for a use of the caller's own, under a label of at most 64 bytes:
    /// the same for all its members, and for nobody else. It goes one way and has nothing in common with
    /// the keys of messages: neither tells of the other, and no message changes it. `None` outside a
    /// group, and in a layer that has none.
    ///
    /// # Errors
    /// [`Internal`](crate::LayerErrorKind::Internal).
    fn export_secret(&self, label: &[u8]) -> Result<Option<Secret<32>>, LayerError> {
        let _ = label;
        Ok(None)
    }

    /// What [`export_secret`](Self::export_secret) gives once the staged change is in force. `None`
    /// without one.
    ///
    /// # Errors
    /// [`Internal`](crate::LayerErrorKind::Internal).
    fn export_next_secret(&self, label: &[u8]) -> Result<Option<Secret<32>>, LayerError> {
        let _ = label;
        Ok(None)
    }

    /// Stages a change of the group: `request.added` come, `request.removed` go, and this member
    /// refreshes its own secrets. All key packages are verified against their member ids and
    /// bindings first. Who is in both lists comes back with new keys.
    ///
    /// # Errors
    /// [`Rejected`](crate::LayerErrorKind::Rejected) for a key package that does not verify,
    /// [`Misuse`](crate::LayerErrorKind::Misuse) for a change that cannot be made,
    /// [`NotReady`](crate::LayerErrorKind::NotReady) without a group.
    fn stage_change(
        &mut self,
        request: &ChangeRequest<'_>,
        context: &PartContext<'_>,
    ) -> Result<ChangeParts, LayerError>;

    /// What this layer will hand upwards once the staged change, or the commit or welcome just
    /// processed, is in force. `None` where it contributes nothing, or where this member was removed.
    ///
    /// # Errors
    /// [`NotReady`](crate::LayerErrorKind::NotReady) when there is no such change.
    fn next_contribution(&mut self) -> Result<Option<Contribution>, LayerError>;

    /// The staged change comes into force.
    ///
    /// # Errors
    /// [`NotReady`](crate::LayerErrorKind::NotReady) when there is none.
    fn confirm_change(&mut self) -> Result<(), LayerError>;

    /// The staged change, if there is one, is forgotten.
    ///
    /// # Errors
    /// [`Internal`](crate::LayerErrorKind::Internal) or [`Storage`](crate::LayerErrorKind::Storage).
    fn discard_change(&mut self) -> Result<(), LayerError>;

    /// Somebody else's commit comes into force; a staged change of this member's is discarded.
    ///
    /// # Errors
    /// [`Rejected`](crate::LayerErrorKind::Rejected) for anything wrong with the part,
    /// [`NotReady`](crate::LayerErrorKind::NotReady) outside a group.
    fn process_commit(
        &mut self,
        part: &[u8],
        context: &PartContext<'_>,
    ) -> Result<CommitOutcome, LayerError>;

    /// Whether this layer's part of a welcome is for this member, as far as its public bytes tell: it
    /// names a key package of this member whose keys are still there. `None` where they do not tell.
    /// The answer authenticates nothing.
    fn is_invited(&self, part: &[u8]) -> Option<bool> {
        let _ = part;
        None
    }

    /// Joins a group by this layer's part of a welcome; gives who sent it where the layer knows. The
    /// group that the member was in until now, and a change it had staged there, are forgotten.
    ///
    /// # Errors
    /// [`Stale`](crate::LayerErrorKind::Stale) for a welcome that names no key package of this member,
    /// or one whose keys are gone; [`Rejected`](crate::LayerErrorKind::Rejected) for anything wrong with
    /// the part.
    fn join(
        &mut self,
        part: &[u8],
        context: &PartContext<'_>,
    ) -> Result<Option<MemberId>, LayerError>;
}

/// A member, in all layers: the digest of the commitments of their group layers, so that whoever
/// signs the id signs all the member's long-lived keys. 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct MemberId(#[cfg_attr(feature = "serde", serde(with = "crate::serde_array"))] [u8; 32]);

impl MemberId {
    /// The id of the member whose group layers, bottom first, have these descriptors and commitments.
    #[must_use]
    pub fn of<'a>(commitments: impl IntoIterator<Item = (&'a LayerDescriptor, [u8; 32])>) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"cascading-cipher/1 member");
        for (layer, commitment) in commitments {
            layer.digest_into(&mut hash);
            hash.update(commitment);
        }
        Self(hash.finalize().into())
    }

    /// An id that was encoded with [`as_bytes`](Self::as_bytes).
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemberId({self})")
    }
}

impl fmt::Display for MemberId {
    /// The first 8 bytes in hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(8).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What one layer's part of a key package bundle says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct KeyPackageInfo {
    /// The [`commitment`](GroupLayer::commitment) of who made it.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_array"))]
    pub commitment: [u8; 32],
    /// The name in the credential, where the layer has one.
    pub name: Option<String>,
    /// When it expires, in seconds since 1970, where it does.
    pub expires: Option<u64>,
}

impl KeyPackageInfo {
    /// Without a name or an expiry.
    #[must_use]
    pub const fn new(commitment: [u8; 32]) -> Self {
        Self { commitment, name: None, expires: None }
    }
}

/// A member as one layer knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who, in all layers.
    pub id: MemberId,
    /// The name in the member's credential, where the layer has one.
    pub name: Option<String>,
    /// The layer's [`commitment`](GroupLayer::commitment) to the member's keys.
    pub commitment: [u8; 32],
}

/// Where a member stands in the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Standing {
    /// No group yet: found one or join one.
    Outside,
    /// In the group, at this epoch: the number of changes since it was founded.
    Member {
        /// The current epoch.
        epoch: u64,
    },
    /// Removed. Messages of epochs that were seen may still open.
    Removed,
}

/// A member to be added, as one layer sees them.
#[derive(Debug, Clone, Copy)]
pub struct NewMember<'a> {
    /// The member.
    pub id: MemberId,
    /// The layer's part of their key package bundle.
    pub part: &'a [u8],
    /// What the part must be bound to: the parts below it in the same bundle.
    pub binding: [u8; 32],
}

/// A change of the group. With nobody added or removed it is an update of the committer's own keys.
#[derive(Debug, Clone, Copy, Default)]
pub struct ChangeRequest<'a> {
    /// Who comes.
    pub added: &'a [NewMember<'a>],
    /// Who goes.
    pub removed: &'a [MemberId],
}

/// A layer's parts of one staged change.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct ChangeParts {
    /// For those who are in the group already.
    pub commit: Vec<u8>,
    /// For those who are added; empty where nobody is.
    pub welcome: Vec<u8>,
}

/// What a commit did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use]
pub struct CommitOutcome {
    /// Who made it, where the layer authenticates a member.
    pub committer: Option<MemberId>,
    /// Who came.
    pub added: Vec<MemberId>,
    /// Who went.
    pub removed: Vec<MemberId>,
    /// Whether this member is among the removed.
    pub removed_self: bool,
}

/// What a layer gets for its part of a bundle, welcome or commit.
#[derive(Debug)]
pub struct PartContext<'a> {
    /// A digest of the stack, the kind, the change, and all parts below. The layer authenticates it.
    pub binding: [u8; 32],
    /// The layer's position, 0 at the bottom.
    pub position: u16,
    /// For a change, welcome or commit: what the layers below contribute once it is in force, `None`
    /// if none of them does.
    pub chain: Option<&'a ChainSecret>,
    /// Whether group layers are below this one, so that there is something to bind.
    pub group_below: bool,
    /// The time in seconds since 1970, as the caller gives it; `None` leaves it to the layer to ask
    /// the system. Time is read where something is made (a key package, an addition), not by those
    /// who receive it later.
    pub now: Option<u64>,
}

/// The running digest that binds the parts of one bundle, welcome or commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transcript([u8; 32]);

impl Transcript {
    /// Before the bottommost part. `change` is the change's random id, zero for a key package. A
    /// welcome and the commit it came with share one transcript, that of [`Kind::Commit`].
    #[must_use]
    pub fn new(kind: Kind, stack: &StackId, change: &[u8; 16]) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"cascading-cipher/1 parts");
        hash.update([kind as u8]);
        hash.update(stack.as_bytes());
        hash.update(change);
        Self(hash.finalize().into())
    }

    /// Adds the part at `position`: its own digest and that of its counterpart (the welcome part of a
    /// commit part; zero where there is none).
    #[must_use]
    pub fn extend(&self, position: u16, part: &[u8; 32], counterpart: &[u8; 32]) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"cascading-cipher/1 part");
        hash.update(self.0);
        hash.update(position.to_be_bytes());
        hash.update(part);
        hash.update(counterpart);
        Self(hash.finalize().into())
    }

    /// What the next layer authenticates.
    #[must_use]
    pub const fn binding(&self) -> [u8; 32] {
        self.0
    }
}

/// The digest of one part, for [`Transcript::extend`].
#[must_use]
pub fn part_digest(part: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"cascading-cipher/1 part digest");
    update_prefixed(&mut hash, part);
    hash.finalize().into()
}
