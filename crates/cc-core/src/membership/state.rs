//! Where a member stands in a group, epoch by epoch.

use crate::{
    Attachment, LayerError, MemberId, Standing,
    membership::{PastEpochs, Placement},
};

/// What a layer knows of one epoch of a group. Cheap to clone.
pub trait Epoch: Clone {
    /// What the late messages of the epoch need once it is over.
    type Past: Clone;

    /// The number of changes since the group was founded.
    fn number(&self) -> u64;

    /// How many members the group has.
    fn members(&self) -> usize;

    /// What is left once the epoch is over.
    fn to_past(&self) -> Self::Past;
}

/// A member's state in a group that changes in two phases, for one layer. Each method makes one step of
/// the [`GroupLayer`](crate::GroupLayer) contract, and leaves the state as it was where it fails.
#[derive(Debug, Clone)]
pub struct GroupState<E: Epoch> {
    member: Option<MemberId>,
    phase: Phase<E>,
    past: PastEpochs<E::Past>,
    change: Option<PendingChange<E>>,
    /// The present phase came by a commit or welcome that is not applied yet.
    pending_arrival: bool,
}

/// Where a member stands, with what its layer knows of the present epoch.
#[derive(Debug, Clone)]
pub enum Phase<E> {
    /// In no group yet.
    Outside,
    /// In a group.
    Member(E),
    /// Removed from one.
    Removed {
        /// The last epoch this member was in.
        last: u64,
    },
}

/// A change of this member's that is neither confirmed nor discarded.
#[derive(Debug, Clone)]
pub struct PendingChange<E> {
    /// The epoch it makes.
    pub next: E,
    /// The group was founded only for this change: without the change there is none.
    pub founds: bool,
}

/// What a layer has of an epoch.
#[derive(Debug)]
pub enum Keys<'a, E: Epoch> {
    /// The present epoch.
    Present(&'a E),
    /// An epoch that is over.
    Past(&'a E::Past),
}

impl<E: Epoch> GroupState<E> {
    /// Outside every group, and without a place. Later at most `window` past epochs are kept.
    #[must_use]
    pub const fn new(window: usize) -> Self {
        let past = PastEpochs::new(window);
        Self { member: None, phase: Phase::Outside, past, change: None, pending_arrival: false }
    }

    /// The state that a store gave back; `None` where its pieces cannot belong together.
    #[must_use]
    pub fn restored(
        member: Option<MemberId>,
        phase: Phase<E>,
        past: PastEpochs<E::Past>,
        change: Option<PendingChange<E>>,
    ) -> Option<Self> {
        let consistent = match &phase {
            Phase::Outside => change.is_none() && past.latest().is_none(),
            Phase::Removed { last } => {
                change.is_none() && past.latest().is_none_or(|past| past <= *last)
            }
            Phase::Member(now) => {
                let next = change.as_ref().map(|change| change.next.number());
                past.latest().is_none_or(|past| past < now.number())
                    && next.is_none_or(|next| Some(next) == now.number().checked_add(1))
            }
        };
        let attached = member.is_some() || matches!(phase, Phase::Outside);
        (consistent && attached).then_some(Self {
            member,
            phase,
            past,
            change,
            pending_arrival: false,
        })
    }

    /// This member, where the layer has its place.
    #[must_use]
    pub const fn member(&self) -> Option<MemberId> {
        self.member
    }

    /// Where this member stands.
    #[must_use]
    pub const fn phase(&self) -> &Phase<E> {
        &self.phase
    }

    /// The epochs that are over.
    #[must_use]
    pub const fn past(&self) -> &PastEpochs<E::Past> {
        &self.past
    }

    /// The change that is staged.
    #[must_use]
    pub const fn change(&self) -> Option<&PendingChange<E>> {
        self.change.as_ref()
    }

    /// Keeps at most `window` past epochs from now on.
    pub fn set_window(&mut self, window: usize) {
        self.past.set_limit(window);
    }

    /// As [`GroupLayer::standing`](crate::GroupLayer::standing) gives it.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match &self.phase {
            Phase::Outside => Standing::Outside,
            Phase::Member(now) => Standing::Member { epoch: now.number() },
            Phase::Removed { .. } => Standing::Removed,
        }
    }

    /// This member.
    ///
    /// # Errors
    /// [`NotReady`](crate::LayerErrorKind::NotReady) before the layer is attached.
    pub fn expect_member(&self) -> Result<MemberId, LayerError> {
        self.member.ok_or_else(|| LayerError::not_ready("put the layer into a stack first"))
    }

    /// The present epoch.
    ///
    /// # Errors
    /// [`NotReady`](crate::LayerErrorKind::NotReady) outside a group.
    pub fn present(&self) -> Result<&E, LayerError> {
        match &self.phase {
            Phase::Member(now) => Ok(now),
            Phase::Outside => Err(LayerError::not_ready("found a group or join one first")),
            Phase::Removed { .. } => Err(removed()),
        }
    }

    /// What is kept of the epoch `number`.
    ///
    /// # Errors
    /// [`Early`](crate::LayerErrorKind::Early) for one that is still to come, also to a removed member,
    /// which may come back by a welcome; [`Stale`](crate::LayerErrorKind::Stale) for one that is no
    /// longer kept or was never had; [`NotReady`](crate::LayerErrorKind::NotReady) before the first
    /// group.
    pub fn keys(&self, number: u64) -> Result<Keys<'_, E>, LayerError> {
        let last = match &self.phase {
            Phase::Member(now) if now.number() == number => return Ok(Keys::Present(now)),
            Phase::Member(now) => now.number(),
            Phase::Removed { last } => *last,
            Phase::Outside => {
                return Err(LayerError::not_ready("found a group or join one first"));
            }
        };
        match self.past.get(number) {
            Some(past) => Ok(Keys::Past(past)),
            None => Err(out_of_reach(number, last)),
        }
    }

    /// The present epoch, for a commit that ends the epoch `number`.
    ///
    /// # Errors
    /// [`Stale`](crate::LayerErrorKind::Stale) and [`Early`](crate::LayerErrorKind::Early) for a commit
    /// of another epoch, also to a removed member, which may come back by a welcome;
    /// [`NotReady`](crate::LayerErrorKind::NotReady) before the first group.
    pub fn expect_present(&self, number: u64) -> Result<&E, LayerError> {
        match &self.phase {
            Phase::Member(now) if now.number() == number => Ok(now),
            Phase::Member(now) => Err(out_of_reach(number, now.number())),
            Phase::Removed { last } => Err(out_of_reach(number, *last)),
            Phase::Outside => Err(LayerError::not_ready("found a group or join one first")),
        }
    }

    /// The epoch that a change starts from, and whether it is founded for it: `found` gives the group of
    /// this member alone where there is none yet.
    ///
    /// # Errors
    /// [`Misuse`](crate::LayerErrorKind::Misuse) while a change is staged, or after the last epoch that
    /// has a number; [`NotReady`](crate::LayerErrorKind::NotReady) after a removal; and those of `found`.
    pub fn start_change<F: Into<LayerError>>(
        &self,
        found: impl FnOnce() -> Result<E, F>,
    ) -> Result<(E, bool), LayerError> {
        if self.change.is_some() {
            return Err(LayerError::misuse("confirm or discard the staged change first"));
        }
        let start = match &self.phase {
            Phase::Member(now) => (now.clone(), false),
            Phase::Outside => (found().map_err(Into::into)?, true),
            Phase::Removed { .. } => return Err(removed()),
        };
        if start.0.number() == u64::MAX {
            return Err(LayerError::misuse("no epoch comes after this one"));
        }
        Ok(start)
    }

    /// What attaching the layer at `place` comes to.
    ///
    /// # Errors
    /// Those of [`Placement::new`].
    pub fn place(&self, place: &Attachment) -> Result<Placement, LayerError> {
        let members = match &self.phase {
            Phase::Member(now) => now.members(),
            Phase::Outside | Phase::Removed { .. } => 0,
        };
        Placement::new(place, self.member, self.standing(), members)
    }

    /// The layer has its place, and founds the group `founded` where there is one.
    #[must_use]
    pub fn attached(&self, member: MemberId, founded: Option<E>) -> Self {
        match founded {
            None => Self { member: Some(member), ..self.clone() },
            Some(founded) => Self::entered(member, founded, self.past.limit()),
        }
    }

    /// The change from `start` to `next` is staged; `founds` as [`start_change`](Self::start_change)
    /// gave it.
    #[must_use]
    pub fn with_change(&self, start: E, next: E, founds: bool) -> Self {
        Self {
            phase: Phase::Member(start),
            change: Some(PendingChange { next, founds }),
            pending_arrival: false,
            ..self.clone()
        }
    }

    /// The staged change is in force.
    ///
    /// # Errors
    /// [`NotReady`](crate::LayerErrorKind::NotReady) where there is none.
    pub fn confirmed(&self) -> Result<Self, LayerError> {
        let change = self.change.as_ref().ok_or_else(no_change)?;
        let mut state = self.followed_by(Phase::Member(change.next.clone()));
        state.pending_arrival = false;
        Ok(state)
    }

    /// The staged change is forgotten; `None` where there is none.
    #[must_use]
    pub fn discarded(&self) -> Option<Self> {
        let founds = self.change.as_ref()?.founds;
        let mut state = Self { change: None, ..self.clone() };
        if founds {
            state.phase = Phase::Outside;
        }
        Some(state)
    }

    /// Somebody else's commit made the epoch `next`, or removed this member where there is none.
    #[must_use]
    pub fn advanced(&self, next: Option<E>) -> Self {
        let phase = match (next, &self.phase) {
            (Some(next), _) => Phase::Member(next),
            (None, Phase::Member(now)) => Phase::Removed { last: now.number() },
            (None, phase) => phase.clone(),
        };
        self.followed_by(phase)
    }

    /// This member joined a group. What was known of the group until now, or of one that removed this
    /// member, is forgotten: its epochs may have the same numbers.
    ///
    /// # Errors
    /// [`NotReady`](crate::LayerErrorKind::NotReady) before the layer is attached.
    pub fn joined(&self, epoch: E) -> Result<Self, LayerError> {
        let entered = Self::entered(self.expect_member()?, epoch, self.past.limit());
        Ok(Self { pending_arrival: true, ..entered })
    }

    /// What comes into force next: the epoch of the staged change, or of the commit or welcome that was
    /// processed and is not applied; `None` where that commit removes this member.
    ///
    /// # Errors
    /// [`NotReady`](crate::LayerErrorKind::NotReady) where there is no such change.
    pub fn next(&self) -> Result<Option<&E>, LayerError> {
        match (&self.change, &self.phase) {
            (Some(change), _) => Ok(Some(&change.next)),
            (None, Phase::Member(now)) if self.pending_arrival => Ok(Some(now)),
            (None, Phase::Removed { .. }) if self.pending_arrival => Ok(None),
            _ => Err(no_change()),
        }
    }

    /// What was processed is applied.
    pub fn settle(&mut self) {
        self.pending_arrival = false;
    }

    fn entered(member: MemberId, epoch: E, window: usize) -> Self {
        Self { member: Some(member), phase: Phase::Member(epoch), ..Self::new(window) }
    }

    /// The present epoch is over, and a staged change with it.
    fn followed_by(&self, phase: Phase<E>) -> Self {
        let mut state = Self { phase, change: None, pending_arrival: true, ..self.clone() };
        if let Phase::Member(over) = &self.phase {
            state.past.push(over.number(), over.to_past());
        }
        state
    }
}

fn out_of_reach(number: u64, last: u64) -> LayerError {
    if number > last { LayerError::early(Some(number)) } else { LayerError::stale(Some(number)) }
}

fn removed() -> LayerError {
    LayerError::not_ready("this member was removed from the group")
}

fn no_change() -> LayerError {
    LayerError::not_ready("there is no staged change")
}

#[cfg(test)]
mod tests;
