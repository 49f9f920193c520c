//! Changes of a group, as they are handed to the application.

use alloc::vec::Vec;
use core::fmt;

use cc_core::MemberId;

use crate::MemberInfo;

/// A staged change: nothing of it is in force yet.
///
/// Send `commit` to the delivery service. If the delivery service accepts it, call
/// [`confirm`](crate::CascadingCipherManager::confirm), which gives the welcome for the new members. If
/// the delivery service accepted somebody else's commit first,
/// [`receive`](crate::CascadingCipherManager::receive) that commit, which discards this change.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a change does nothing until it is confirmed"]
pub struct Change {
    pub(crate) id: ChangeId,
    /// For those who are in the group already.
    pub commit: Vec<u8>,
}

impl Change {
    /// The change's id, for `confirm` and `discard`.
    #[must_use]
    pub fn id(&self) -> ChangeId {
        self.id
    }
}

/// The random id of one change. 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct ChangeId(
    #[cfg_attr(feature = "serde", serde(with = "cc_core::serde_array"))] pub(crate) [u8; 16],
);

impl ChangeId {
    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for ChangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ChangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChangeId({self})")
    }
}

/// A change of this member's that is in force now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Confirmed {
    /// What the change did.
    pub summary: ChangeSummary,
    /// For all new members; `None` where nobody was added. With a store the welcome is in the
    /// [outbox](crate::CascadingCipherManager::outbox) too.
    pub welcome: Option<Vec<u8>>,
}

/// What a change did once it came into force.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct ChangeSummary {
    /// The change.
    pub id: ChangeId,
    /// Who committed it, where a layer authenticates members.
    pub committer: Option<MemberId>,
    /// Who came, sorted by id.
    pub added: Vec<MemberId>,
    /// Who went, sorted by id.
    pub removed: Vec<MemberId>,
    /// Whether this member was removed.
    pub removed_self: bool,
    /// A change of this member's that was staged and is now discarded:
    /// [`restage`](crate::CascadingCipherManager::restage) stages what is left of it to do.
    pub superseded: Option<ChangeId>,
    /// This member asked to [leave](crate::CascadingCipherManager::leave), and the change does not
    /// remove it: who did not receive the request before this change takes none from an epoch that is
    /// over. Ask again.
    pub leave_again: bool,
}

/// A group that this member [joined](crate::CascadingCipherManager::receive_welcome).
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Joined {
    /// The change that added this member.
    pub id: ChangeId,
    /// Who committed it, where a layer authenticates members.
    pub inviter: Option<MemberId>,
    /// All members, this one included, sorted by id.
    pub members: Vec<MemberInfo>,
}
