//! Groups: who is in them, how a member joins, and how it follows the changes of others.

use alloc::{string::String, vec::Vec};

use cc_core::{DecodeError, Kind, MemberId, PartList, Standing};
use sha2::{Digest as _, Sha256};

use crate::{
    CascadingCipherManager, Error, Joined, Processed,
    change_parts::{self, key_package, process_commit},
    persistence::When,
    proposing::process_proposal,
    stack::OpenedMessage,
};

/// A member of the group, as all layers agree.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// [readmits](Self::readmit_members) it, and it [joins](Self::join) by the welcome, with the same
    /// id. Until then it stays as it is; from now on it takes a welcome, and with it the group that
    /// the welcome is for in place of its state. Any key package of this member that was never used will
    /// do for that (and in a stack without MLS, any at all: the keys in them are the same), so look at
    /// [`Joined`] before it is in force, with [`join_if`](Self::join_if).
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

    /// Joins a group by the welcome of the change that added this member.
    ///
    /// # Errors
    /// [`Error::GroupExists`] in a group, unless this member asked to be
    /// [added anew](Self::rejoin_package); [`Error::Decode`], [`Error::Layer`] and
    /// [`Error::Disagreement`] for a welcome that is malformed, not for this member, damaged, or put
    /// together from several.
    pub fn join(&mut self, welcome: impl AsRef<[u8]>) -> Result<Joined, Error> {
        self.join_if(welcome, |_| true).map(|joined| joined.unwrap_or_else(|refused| refused))
    }

    /// As [`join`](Self::join), but asks `accept` first. Where it answers no, nothing changes and the
    /// refused group comes back as `Err`. Use it after [`rejoin_package`](Self::rejoin_package), for a
    /// welcome to another group than the one that was asked for replaces the state all the same.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub fn join_if(
        &mut self,
        welcome: impl AsRef<[u8]>,
        accept: impl FnOnce(&Joined) -> bool,
    ) -> Result<Result<Joined, Joined>, Error> {
        if !self.state.rejoining {
            self.expect_outside()?;
        }
        self.transact_if(When::Now, accept, |stack, _, draft| {
            let joined = change_parts::join(stack, welcome.as_ref())?;
            if draft.state.joined.contains(joined.id.as_bytes()) {
                return Err(Error::WelcomeUsed);
            }
            draft.state.join(*joined.id.as_bytes());
            Ok(joined)
        })
    }

    /// Brings somebody else's commit into force, or takes note of a proposal. A change of this
    /// member's that is staged is discarded by a commit, for it was made for the epoch that ends.
    ///
    /// # Errors
    /// [`Error::Decode`], [`Error::Layer`] and [`Error::Disagreement`]; nothing has changed then.
    /// [`Error::is_early`] tells a commit of an epoch that is still to come. A member's own commit is
    /// refused: confirm it.
    pub fn process(&mut self, wire: impl AsRef<[u8]>) -> Result<Processed, Error> {
        self.process_if(wire, |_| true).map(|processed| processed.unwrap_or_else(|never| never))
    }

    /// As [`process`](Self::process), but asks `accept` first. Where it answers no, nothing changes and
    /// the refused content comes back as `Err`; the message can be processed again.
    ///
    /// A member that refuses a commit the others took stays behind in the old epoch.
    ///
    /// # Errors
    /// As [`process`](Self::process).
    pub fn process_if(
        &mut self,
        wire: impl AsRef<[u8]>,
        accept: impl FnOnce(&Processed) -> bool,
    ) -> Result<Result<Processed, Processed>, Error> {
        self.expect_group_layer()?;
        let wire = wire.as_ref();
        let kind = Kind::of(wire)?;
        if !matches!(kind, Kind::Commit | Kind::Proposal) {
            return Err(DecodeError::Kind(kind).into());
        }
        self.transact_if(When::Now, accept, |stack, reports, draft| {
            let OpenedMessage { buffer, sender, .. } = stack.open(kind, wire, &[], reports)?;
            let state = &mut draft.state;
            if kind == Kind::Proposal {
                return process_proposal(stack, state, buffer.as_slice(), sender)
                    .map(Processed::Proposal);
            }
            let list = PartList::decode(buffer.as_slice())?;
            let (mut summary, members) = process_commit(stack, &list, sender)?;
            summary.superseded = state.staged.as_ref().map(|staged| staged.id());
            if summary.removed_self {
                state.leave_group();
            } else {
                summary.leave_again = state.requests.own_leave.leaves;
                state.follow(&members, &summary.added, &summary.removed);
            }
            Ok(Processed::Commit(summary))
        })
    }

    pub(crate) fn expect_group_layer(&self) -> Result<(), Error> {
        if self.member_id().is_some() { Ok(()) } else { Err(Error::NoGroupLayer) }
    }

    fn expect_outside(&self) -> Result<(), Error> {
        self.expect_group_layer()?;
        if self.stack.groups().all(|(_, group)| group.standing() == Standing::Outside) {
            Ok(())
        } else {
            Err(Error::GroupExists)
        }
    }
}
