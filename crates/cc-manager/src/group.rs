//! Groups: who is in them, and how they change.

use alloc::{collections::BTreeSet, string::String, sync::Arc, vec::Vec};

use cc_core::{Bundle, DecodeError, Kind, MemberId, PartList, Standing, random};

use crate::{
    CascadingCipherManager, Change, ChangeId, ChangeSummary, Error, Joined, Processed,
    change_parts::{self, NewBundle, check_roster, expect_fit, key_package, process_commit, stage},
    persistence::When,
    proposal::process_proposal,
    state::{Intent, Staged},
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

/// The key packages of a change that adds nobody.
const NOBODY: [&[u8]; 0] = [];

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

    /// The change that waits to be confirmed or discarded. With a store it survives a restart: the
    /// program then does not know whether the delivery service took the commit, and asks it.
    #[must_use]
    pub fn staged_change(&self) -> Option<&Change> {
        self.state.staged.as_ref().map(|staged| &staged.change)
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

    /// Stages the addition of one member per key package bundle.
    ///
    /// # Errors
    /// As [`change`](Self::change).
    pub fn add_members<B: AsRef<[u8]>>(
        &mut self,
        key_packages: impl IntoIterator<Item = B>,
    ) -> Result<Change, Error> {
        self.change(key_packages, [])
    }

    /// Stages the removal and new addition, in one change, of the members who made these
    /// [bundles](Self::rejoin_package). Those who are no members are added.
    ///
    /// # Errors
    /// As [`change`](Self::change).
    pub fn readmit_members<B: AsRef<[u8]>>(
        &mut self,
        bundles: impl IntoIterator<Item = B>,
    ) -> Result<Change, Error> {
        self.expect_group_layer()?;
        let bundles: Vec<B> = bundles.into_iter().collect();
        let ids = bundles
            .iter()
            .map(|bundle| Ok(NewBundle::read(&self.stack, bundle.as_ref())?.id))
            .collect::<Result<Vec<_>, Error>>()?;
        let members = self.member_ids();
        self.change(bundles, ids.into_iter().filter(|id| members.contains(id)))
    }

    /// Stages the removal of members.
    ///
    /// # Errors
    /// As [`change`](Self::change).
    pub fn remove_members(
        &mut self,
        members: impl IntoIterator<Item = MemberId>,
    ) -> Result<Change, Error> {
        self.change(NOBODY, members)
    }

    /// Stages an update of this member's own secrets, which heals the group from a compromise of them,
    /// and removes those who asked to leave.
    ///
    /// # Errors
    /// As [`change`](Self::change).
    pub fn update(&mut self) -> Result<Change, Error> {
        self.change(NOBODY, [])
    }

    /// Stages additions, removals and an update of this member's own secrets in one change. Until it is
    /// confirmed the group goes on as it is.
    ///
    /// # Errors
    /// [`Error::ChangeStaged`] while another change is staged; [`Error::NoSuchMember`] and
    /// [`Error::RemovesSelf`] for removals; [`Error::PairwiseInGroup`]; [`Error::Decode`] and
    /// [`Error::Layer`] for a key package bundle that is malformed, does not verify, or was put
    /// together from several.
    pub fn change<B: AsRef<[u8]>>(
        &mut self,
        key_packages: impl IntoIterator<Item = B>,
        remove: impl IntoIterator<Item = MemberId>,
    ) -> Result<Change, Error> {
        self.expect_group_layer()?;
        if let Some(staged) = &self.state.staged {
            return Err(Error::ChangeStaged(staged.id()));
        }
        let members = self.member_ids();
        let mut removed: BTreeSet<_> =
            self.state.roster.leaving.intersection(&members).copied().collect();
        for member in remove {
            if Some(member) == self.member_id() {
                return Err(Error::RemovesSelf);
            }
            if !members.contains(&member) {
                return Err(Error::NoSuchMember(member));
            }
            removed.insert(member);
        }
        let key_packages = key_packages.into_iter().map(|kp| kp.as_ref().to_vec()).collect();
        let intent = Intent { key_packages, removed: removed.into_iter().collect() };
        self.transact(When::Now, |stack, reports, draft| {
            let bundles = intent
                .key_packages
                .iter()
                .map(|bundle| NewBundle::read(stack, bundle))
                .collect::<Result<Vec<_>, _>>()?;
            let founding_self = usize::from(members.is_empty());
            expect_fit(
                stack.layers(),
                members.len() + founding_self + bundles.len() - intent.removed.len(),
            )?;
            let id = ChangeId(random::array()?);
            let (commit, welcome) = stage(stack, id, &bundles, &intent.removed)?;
            let commit = stack.seal(Kind::Commit, &commit.encode()?, &[], reports)?;
            let welcome = if bundles.is_empty() {
                Vec::new()
            } else {
                Bundle::new(Kind::Welcome, stack.id(), welcome).encode()?
            };
            let mut added: Vec<_> = bundles.iter().map(|bundle| bundle.id).collect();
            added.sort_unstable();
            let change = Change { id, commit, welcome };
            draft.state.staged = Some(Arc::new(Staged { change: change.clone(), added, intent }));
            draft.state.overtaken = None;
            Ok(change)
        })
    }

    /// Stages what is left to do of the change that somebody else's commit
    /// [overtook](ChangeSummary::superseded): the additions of those who are not members yet, the
    /// removals of those who still are, and the update of this member's own secrets. `None` where no
    /// change was overtaken, or where all that it added and removed is done.
    ///
    /// # Errors
    /// As [`change`](Self::change).
    pub fn restage(&mut self) -> Result<Option<Change>, Error> {
        let Some(intent) = self.state.overtaken.clone() else { return Ok(None) };
        let members = self.member_ids();
        let removed: Vec<_> =
            intent.removed.iter().filter(|id| members.contains(id)).copied().collect();
        let mut key_packages = Vec::new();
        for bundle in &intent.key_packages {
            let id = NewBundle::read(&self.stack, bundle)?.id;
            if !members.contains(&id) || removed.contains(&id) {
                key_packages.push(bundle);
            }
        }
        if key_packages.is_empty() && removed.is_empty() && *intent != Intent::default() {
            return self.transact(When::Now, |_, _, draft| {
                draft.state.overtaken = None;
                Ok(None)
            });
        }
        self.change(key_packages, removed).map(Some)
    }

    /// Brings the staged change into force: the delivery service took its commit. With a store the
    /// welcome is in the [outbox](Self::outbox) from now on.
    ///
    /// # Errors
    /// [`Error::NoSuchChange`] when it is not staged (any more).
    pub fn confirm(&mut self, change: ChangeId) -> Result<ChangeSummary, Error> {
        let staged = self.expect_staged(change)?;
        let committer = self.member_id();
        self.transact(When::Now, |stack, _, draft| {
            for position in stack.group_positions() {
                stack.call_group(position, |group| group.confirm_change())?;
            }
            let members = check_roster(stack)?;
            draft.state.staged = None;
            draft.state.settle(stack.epoch().unwrap_or(0), &members, &staged.added);
            if !staged.change.welcome.is_empty() {
                draft.send(&staged.change.welcome);
            }
            Ok(())
        })?;
        Ok(ChangeSummary {
            id: change,
            committer,
            added: staged.added.clone(),
            removed: staged.intent.removed.clone(),
            removed_self: false,
            superseded: None,
        })
    }

    /// Forgets the staged change.
    ///
    /// # Errors
    /// [`Error::NoSuchChange`] when it is not staged (any more).
    pub fn discard(&mut self, change: ChangeId) -> Result<(), Error> {
        self.expect_staged(change)?;
        self.transact(When::Now, |stack, _, draft| {
            for position in stack.group_positions() {
                stack.call_group(position, |group| group.discard_change())?;
            }
            draft.state.staged = None;
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
            let (buffer, sender) = stack.open(kind, wire, &[], reports)?;
            let state = &mut draft.state;
            if kind == Kind::Proposal {
                return process_proposal(stack, state, buffer.as_slice(), sender)
                    .map(Processed::Proposal);
            }
            let list = PartList::decode(buffer.as_slice())?;
            let (mut summary, members) = process_commit(stack, &list, sender)?;
            summary.superseded = state.staged.as_ref().map(|staged| staged.id());
            state.overtake();
            if summary.removed_self {
                state.overtaken = None;
                state.roster = Arc::default();
            } else {
                state.settle(stack.epoch().unwrap_or(0), &members, &summary.added);
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

    fn expect_staged(&self, change: ChangeId) -> Result<Arc<Staged>, Error> {
        match &self.state.staged {
            Some(staged) if staged.id() == change => Ok(Arc::clone(staged)),
            _ => Err(Error::NoSuchChange(change)),
        }
    }

    fn member_ids(&self) -> BTreeSet<MemberId> {
        self.stack.member_ids()
    }
}
