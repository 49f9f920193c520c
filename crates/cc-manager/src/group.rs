//! Groups: who is in them, and where this member stands.

use alloc::{string::String, vec::Vec};

use cc_core::{MemberId, Standing};
use sha2::{Digest as _, Sha256};

use crate::{CascadingCipherManager, Error, change_parts::key_package, persistence::When};

/// A member of the group, as all layers agree.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct MemberInfo {
    /// Who.
    pub id: MemberId,
    /// The name in the member's credential, where a layer has one. Names are not unique.
    pub name: Option<String>,
}

impl CascadingCipherManager {
    /// This member's id; `None` in a stack without group layers.
    #[must_use]
    pub fn member_id(&self) -> Option<MemberId> {
        self.stack.member()
    }

    /// Where this member stands: outside, in the group at some epoch, or removed. `None` in a stack
    /// without group layers.
    #[must_use]
    pub fn standing(&self) -> Option<Standing> {
        // All group layers move together, so any of them can tell.
        self.stack.groups().next_back().map(|(_, group)| group.standing())
    }

    /// The epoch of the group, if this member is in one.
    #[must_use]
    pub fn epoch(&self) -> Option<u64> {
        self.stack.epoch()
    }

    /// A digest of the group in this epoch, for people to compare: of the stack, the epoch, and what
    /// each group layer has of the history, the members and what they share. It tells nothing about
    /// any key. Members who have the same one have one view of the group; whom somebody showed two
    /// different things, two. `None` outside a group, and in a stack whose layers give none.
    #[must_use]
    pub fn epoch_authenticator(&self) -> Option<[u8; 32]> {
        let epoch = self.stack.epoch()?;
        let mut hash = Sha256::new();
        hash.update(b"cascading-cipher/1 epoch authenticator");
        hash.update(self.stack.id().as_bytes());
        hash.update(epoch.to_be_bytes());
        let mut any = false;
        for (position, group) in self.stack.groups() {
            hash.update(position.to_be_bytes());
            let authenticator = group.epoch_authenticator();
            hash.update([u8::from(authenticator.is_some())]);
            hash.update(authenticator.unwrap_or_default());
            any |= authenticator.is_some();
        }
        any.then(|| hash.finalize().into())
    }

    /// All members, this one included, sorted by id; empty outside a group.
    #[must_use]
    pub fn members(&self) -> Vec<MemberInfo> {
        self.stack.member_infos()
    }

    /// The members with this name: none, one, or the several devices of one person.
    #[must_use]
    pub fn members_named(&self, name: &str) -> Vec<MemberId> {
        let named =
            |member: MemberInfo| (member.name.as_deref() == Some(name)).then_some(member.id);
        self.members().into_iter().filter_map(named).collect()
    }

    /// A new key package bundle for this member, with one part per group layer. It is used once: for
    /// each group or invitation make another.
    ///
    /// # Errors
    /// [`Error::NoGroupLayer`], or [`Error::GroupExists`] once the member is in a group.
    pub fn key_package(&mut self) -> Result<Vec<u8>, Error> {
        self.expect_outside()?;
        self.transact(When::Now, |stack, _, _| key_package(stack))
    }

    /// A key package bundle for a member that is in the group, or was, and is to be added anew: it
    /// missed a commit for good, went back to an old copy of its state, or was removed. Somebody
    /// [readmits](Self::readmit_members) it, and it [joins](Self::receive_welcome) by the welcome, with the same
    /// id. Until then it stays as it is; from now on it takes a welcome, and with it the group that
    /// the welcome is for in place of its state. Any key package of this member that was never used will
    /// do for that (and in a stack without MLS, any at all: the keys in them are the same), so look at
    /// [`Joined`](crate::Joined) before it is in force, with
    /// [`receive_welcome_if`](Self::receive_welcome_if).
    ///
    /// # Errors
    /// [`Error::NoGroupLayer`].
    pub fn rejoin_package(&mut self) -> Result<Vec<u8>, Error> {
        self.expect_group_layer()?;
        self.transact(When::Now, |stack, _, draft| {
            draft.state.rejoining = true;
            key_package(stack)
        })
    }

    /// Takes no welcome any more, after a [`rejoin_package`](Self::rejoin_package) that nobody
    /// answered.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn cancel_rejoin(&mut self) -> Result<(), Error> {
        self.transact(When::Now, |_, _, draft| {
            draft.state.rejoining = false;
            Ok(())
        })
    }

    pub(crate) fn expect_group_layer(&self) -> Result<(), Error> {
        if self.member_id().is_some() { Ok(()) } else { Err(Error::NoGroupLayer) }
    }

    pub(crate) fn expect_outside(&self) -> Result<(), Error> {
        self.expect_group_layer()?;
        if self.stack.groups().all(|(_, group)| group.standing() == Standing::Outside) {
            Ok(())
        } else {
            Err(Error::GroupExists)
        }
    }
}
