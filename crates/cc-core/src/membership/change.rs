//! Which changes of a group can be made.

use alloc::collections::BTreeSet;
use core::{error::Error, fmt};

use crate::{LayerError, MemberId, limits::MAX_MEMBERS};

/// Checks that a group of `count` members can make a change: `removed` are members and not `committer`,
/// `added` are none or among the removed, nobody is in either list twice, and at most
/// [`MAX_MEMBERS`] are left. Costs time by the size of the change and not of the group.
///
/// # Errors
/// The [`ChangeError`], which becomes [`Misuse`](crate::LayerErrorKind::Misuse) with the member it is
/// about; for a commit that was received the caller gives [`LayerError::rejected`] instead.
pub fn check_change(
    count: usize,
    is_member: impl Fn(&MemberId) -> bool,
    committer: Option<&MemberId>,
    removed: &[MemberId],
    added: impl IntoIterator<Item = MemberId>,
) -> Result<(), ChangeError> {
    let mut leaving = BTreeSet::new();
    for member in removed {
        if committer == Some(member) {
            return Err(ChangeError::Committer(*member));
        }
        if !is_member(member) {
            return Err(ChangeError::NotAMember(*member));
        }
        if !leaving.insert(*member) {
            return Err(ChangeError::Twice(*member));
        }
    }
    let mut joining = BTreeSet::new();
    for member in added {
        if is_member(&member) && !leaving.contains(&member) {
            return Err(ChangeError::AlreadyAMember(member));
        }
        if !joining.insert(member) {
            return Err(ChangeError::Twice(member));
        }
        if joining.len() > MAX_MEMBERS {
            return Err(ChangeError::TooMany);
        }
    }
    let staying = count.saturating_sub(leaving.len());
    if staying.saturating_add(joining.len()) > MAX_MEMBERS {
        return Err(ChangeError::TooMany);
    }
    Ok(())
}

/// Why a change cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChangeError {
    /// The change removes who makes it.
    Committer(MemberId),
    /// The change removes somebody who is not in the group.
    NotAMember(MemberId),
    /// The change adds somebody who is in the group and stays.
    AlreadyAMember(MemberId),
    /// The change adds or removes somebody twice.
    Twice(MemberId),
    /// More members than [`MAX_MEMBERS`].
    TooMany,
}

impl ChangeError {
    const fn member(&self) -> Option<MemberId> {
        match self {
            Self::Committer(member)
            | Self::NotAMember(member)
            | Self::AlreadyAMember(member)
            | Self::Twice(member) => Some(*member),
            Self::TooMany => None,
        }
    }
}

impl fmt::Display for ChangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Committer(_) => "leave the group instead of removing oneself",
            Self::NotAMember(_) => "only a member can be removed",
            Self::AlreadyAMember(_) => "the member is in the group already",
            Self::Twice(_) => "the change names the member twice",
            Self::TooMany => "too many members: see cc_core::limits::MAX_MEMBERS",
        })
    }
}

impl Error for ChangeError {}

impl From<ChangeError> for LayerError {
    fn from(error: ChangeError) -> Self {
        let misuse = Self::local(crate::LayerErrorKind::Misuse, error);
        match error.member() {
            Some(member) => misuse.about(member),
            None => misuse,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LayerErrorKind;

    const fn id(byte: u8) -> MemberId {
        MemberId::from_bytes([byte; 32])
    }

    /// In a group of the members 1, 2 and 3, by the member 1.
    fn check(removed: &[u8], added: &[u8]) -> Result<(), ChangeError> {
        let removed: alloc::vec::Vec<_> = removed.iter().copied().map(id).collect();
        let added = added.iter().copied().map(id);
        let is_member = |member: &MemberId| (1..=3).any(|byte| id(byte) == *member);
        check_change(3, is_member, Some(&id(1)), &removed, added)
    }

    #[test]
    fn changes_that_cannot_be_made_say_whom_they_are_about() {
        assert_eq!(check(&[], &[]), Ok(()));
        assert_eq!(check(&[2, 3], &[4, 5]), Ok(()));
        assert_eq!(check(&[2], &[2]), Ok(()), "out and in again");
        assert_eq!(check(&[1], &[]), Err(ChangeError::Committer(id(1))));
        assert_eq!(check(&[4], &[]), Err(ChangeError::NotAMember(id(4))));
        assert_eq!(check(&[2, 2], &[]), Err(ChangeError::Twice(id(2))));
        assert_eq!(check(&[], &[3]), Err(ChangeError::AlreadyAMember(id(3))));
        assert_eq!(check(&[], &[4, 4]), Err(ChangeError::Twice(id(4))));
        let error = LayerError::from(ChangeError::Twice(id(4)));
        assert_eq!((error.kind(), error.member()), (LayerErrorKind::Misuse, Some(id(4))));
    }

    #[test]
    fn a_group_has_at_most_so_many_members() {
        let nobody = |_: &MemberId| false;
        let new = |number: usize| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&crate::stack::to_u64(number).to_be_bytes());
            MemberId::from_bytes(id)
        };
        let check = |count, added| check_change(count, nobody, None, &[], (0..added).map(new));
        assert_eq!(check(MAX_MEMBERS - 2, 2), Ok(()));
        assert_eq!(check(MAX_MEMBERS - 2, 3), Err(ChangeError::TooMany));
        assert_eq!(check(0, MAX_MEMBERS + 1), Err(ChangeError::TooMany));
    }
}
