//! Staging changes of the group, and bringing them into force.

use alloc::{collections::BTreeSet, sync::Arc, vec::Vec};

use cc_core::{Bundle, Kind, MemberId, random};

use crate::{
    CascadingCipherManager, Change, ChangeId, ChangeSummary, Confirmed, Error, Recipients,
    change_parts::{NewBundle, check_roster, expect_fit, stage},
    key_packages::{blame, read_all},
    persistence::When,
    state::{Intent, Staged, State},
};

/// The key packages of a change that adds nobody.
const NOBODY: [&[u8]; 0] = [];

impl CascadingCipherManager {
    /// The change that waits to be confirmed or discarded. With a store it survives a restart: the
    /// program then does not know whether the delivery service took the commit, and asks it.
    #[must_use]
    pub fn staged_change(&self) -> Option<&Change> {
        self.state.staged.as_ref().map(|staged| &staged.change)
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
        let added = self.read_bundles(bundles)?;
        let members = self.stack.member_ids();
        let removed = added.iter().map(|(id, _)| *id).filter(|id| members.contains(id)).collect();
        self.stage_intent(Intent { added, removed, update: false }, |_| {})
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
    /// [`Error::RemovesSelf`] for removals; [`Error::PairwiseInGroup`]; [`Error::KeyPackage`] with the
    /// index of a key package bundle that is malformed, does not verify, was put together from several,
    /// or is of somebody who is in the group or in the list already.
    pub fn change<B: AsRef<[u8]>>(
        &mut self,
        key_packages: impl IntoIterator<Item = B>,
        remove: impl IntoIterator<Item = MemberId>,
    ) -> Result<Change, Error> {
        self.expect_group_layer()?;
        let added = self.read_bundles(key_packages)?;
        let removed: BTreeSet<_> = remove.into_iter().collect();
        let update = added.is_empty() && removed.is_empty();
        self.stage_intent(Intent { added, removed, update }, |_| {})
    }

    /// Stages what is left to do of the changes of this member that commits of others
    /// [overtook](ChangeSummary::superseded), and the update of this member's own secrets. About whom
    /// another change decided since, by adding or removing it, nothing is left to do. `None` where
    /// nothing is left.
    ///
    /// # Errors
    /// As [`change`](Self::change): a key package may have expired. Then
    /// [`forget_overtaken`](Self::forget_overtaken), and stage what is wanted.
    pub fn restage(&mut self) -> Result<Option<Change>, Error> {
        let Some(intent) = self.state.overtaken.as_deref() else { return Ok(None) };
        self.stage_intent(intent.clone(), |state| state.overtaken = None).map(Some)
    }

    /// Gives up what is left to do of the changes that were overtaken.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn forget_overtaken(&mut self) -> Result<(), Error> {
        self.transact(When::Now, |_, _, draft| {
            draft.state.overtaken = None;
            Ok(())
        })
    }

    /// Brings the staged change into force: the delivery service accepted its commit. Gives the welcome
    /// for those whom the change added; with a store it is in the [outbox](Self::outbox) too.
    ///
    /// # Errors
    /// [`Error::NoSuchChange`] when it is not staged (any more).
    pub fn confirm(&mut self, change: ChangeId) -> Result<Confirmed, Error> {
        let staged = self.expect_staged(change)?;
        let committer = self.member_id();
        self.transact(When::Now, |stack, _, draft| {
            for position in stack.group_positions() {
                stack.call_group(position, |group| group.confirm_change())?;
            }
            let members = check_roster(stack)?;
            draft.state.confirm(&staged, &members);
            if let Some(welcome) = &staged.welcome {
                draft.send(welcome, stack.epoch(), &Recipients::Members(staged.added.clone()))?;
            }
            Ok(())
        })?;
        let summary = ChangeSummary {
            id: change,
            committer,
            added: staged.added.clone(),
            removed: staged.removed.clone(),
            removed_self: false,
            superseded: None,
            leave_again: self.is_leaving(),
        };
        Ok(Confirmed { summary, welcome: staged.welcome.clone() })
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

    /// Stages what `intent` is for, with the removal of those who asked to leave. `settle` changes what
    /// else the staged change settles.
    pub(crate) fn stage_intent(
        &mut self,
        intent: Intent,
        settle: impl FnOnce(&mut State),
    ) -> Result<Change, Error> {
        self.expect_group_layer()?;
        if let Some(staged) = &self.state.staged {
            return Err(Error::ChangeStaged(staged.id()));
        }
        let members = self.stack.member_ids();
        for member in &intent.removed {
            if Some(*member) == self.member_id() {
                return Err(Error::RemovesSelf);
            }
            if !members.contains(member) {
                return Err(Error::NoSuchMember(*member));
            }
        }
        let leaving = self.state.requests.leaving().filter(|member| members.contains(member));
        let removed: BTreeSet<_> = intent.removed.iter().copied().chain(leaving).collect();
        let removed: Vec<_> = removed.into_iter().collect();
        // Who adds the first member founds the group.
        let size = members.len().max(1) + intent.added.len() - removed.len();
        expect_fit(self.stack.layers().iter(), size)?;
        self.transact(When::Now, |stack, reports, draft| {
            let bundles =
                read_all(stack, intent.added.iter().map(|(_, bundle)| bundle.as_slice()))?;
            expect_new(&bundles, &members, &removed)?;
            let id = ChangeId(random::array()?);
            let staged = stage(stack, id, &bundles, &removed);
            let (commit, welcome) = staged.map_err(|error| blame(error, &bundles))?;
            let commit = stack.seal(Kind::Commit, &commit.encode()?, &[], reports)?;
            let welcome = Bundle::new(Kind::Welcome, stack.id(), welcome);
            let welcome = (!bundles.is_empty()).then(|| welcome.encode()).transpose()?;
            let mut added: Vec<_> = bundles.iter().map(|bundle| bundle.id).collect();
            added.sort_unstable();
            let change = Change { id, commit };
            draft.state.remember_own(&change.commit);
            let staged = Staged { change: change.clone(), welcome, added, removed, intent };
            draft.state.staged = Some(Arc::new(staged));
            settle(&mut draft.state);
            Ok(change)
        })
    }

    /// The members whose bundles these are.
    fn read_bundles<B: AsRef<[u8]>>(
        &self,
        bundles: impl IntoIterator<Item = B>,
    ) -> Result<Vec<(MemberId, Vec<u8>)>, Error> {
        let bundles: Vec<_> = bundles.into_iter().map(|bundle| bundle.as_ref().to_vec()).collect();
        let read = read_all(&self.stack, bundles.iter().map(Vec::as_slice))?;
        Ok(read.iter().map(|bundle| bundle.id).zip(bundles).collect())
    }

    fn expect_staged(&self, change: ChangeId) -> Result<Arc<Staged>, Error> {
        match &self.state.staged {
            Some(staged) if staged.id() == change => Ok(Arc::clone(staged)),
            _ => Err(Error::NoSuchChange(change)),
        }
    }
}

/// Nobody is added who is in the group and stays, and nobody twice.
fn expect_new(
    bundles: &[NewBundle],
    members: &BTreeSet<MemberId>,
    removed: &[MemberId],
) -> Result<(), Error> {
    let mut added = BTreeSet::new();
    for (index, bundle) in bundles.iter().enumerate() {
        let stays = members.contains(&bundle.id) && !removed.contains(&bundle.id);
        if stays || !added.insert(bundle.id) {
            return Err(Error::of_key_package(index, Error::AlreadyMember(bundle.id)));
        }
    }
    Ok(())
}
