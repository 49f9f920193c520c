//! A device that was added to a group and did not come in.

use std::collections::BTreeSet;

use crate::{
    Client, Fault, GroupId, Now, Position,
    command::MAX_REQUESTS,
    frame::Invitation,
    mail::MailAddress,
    records::{self, Asked, GroupRecord, PackageRecord, Standing},
};

/// Groups that this device was added to and is not in, at a time.
const MAX_ORPHANS: usize = 8;
/// Members of one of them that were asked and whose welcomes may still come.
const MAX_ASKED_AS_NEWCOMER: usize = 3;
/// Milliseconds after which such a group leaves its place to another one: anybody may say that there is one.
const ORPHANED: u64 = 7 * 24 * 3_600_000;

impl Client {
    /// A welcome came for a key package that is not here any more: of a store that was lost, or by a clock that
    /// is ahead. Its maker is asked for another one, once for each group.
    pub(crate) fn ask_inviter(&mut self, invitation: &Invitation, now: Now) -> Result<(), Fault> {
        let Invitation { log: group, position, .. } = *invitation;
        if group == self.state.mailbox
            || !self.may_ask_as_newcomer(&group)
            || !self.requests_of(&group)?.is_empty()
        {
            return Ok(());
        }
        self.ask_as_newcomer(&group, &invitation.inviter, position, now).map(drop)
    }

    /// Somebody offers to add this device to a group that it is not in. Anybody may do so for a group that is none, so
    /// few are asked.
    pub(super) fn offered_to_newcomer(
        &mut self,
        group: &GroupId,
        to: &MailAddress,
        added_at: Position,
        now: Now,
    ) -> Result<(), Fault> {
        if self.may_ask_as_newcomer(group)
            && self.timers.may_ask_as_newcomer(group, now)
            && self.ask_as_newcomer(group, to, added_at, now)?
        {
            self.timers.asked_as_newcomer(group, now);
        }
        Ok(())
    }

    /// Whether this device is not in a group, as far as it knows, and would put no other one out by coming in: where
    /// a copy of it was restored elsewhere, the two would put one another out for ever.
    fn may_ask_as_newcomer(&self, group: &GroupId) -> bool {
        let known = self.state.groups.get(group);
        let comes_in = self.state.arrivals.values().any(|arrival| arrival.group == *group);
        known.is_none_or(|known| known.standing == Standing::Removed && !known.replaced)
            && !comes_in
            && !self.has_copy()
    }

    /// Whether a copy of this device is in the groups in its place. It asks to be added anew to all of them at once: who
    /// was put out of some, and is in step with another, was put out by a member that made that up.
    fn has_copy(&self) -> bool {
        let groups = || self.state.groups.values();
        let in_step = |group: &GroupRecord| group.standing == Standing::Member && !group.suspect;
        groups().any(|group| group.replaced) && !groups().any(in_step)
    }

    /// Asks a member of a group that this device is not in, and to which it was added there, to add it anew; `false`
    /// where that cannot be done now.
    fn ask_as_newcomer(
        &mut self,
        group: &GroupId,
        to: &MailAddress,
        joined_at: Position,
        now: Now,
    ) -> Result<bool, Fault> {
        let packages = self.state.list::<PackageRecord>(&records::packages(), usize::MAX)?;
        let (mut orphans, mut old) = (BTreeSet::new(), BTreeSet::new());
        for asked in packages.into_iter().filter_map(|(_, package)| package.asked) {
            let known = self.state.groups.get(&asked.group);
            let outside = known.is_none_or(|record| record.standing == Standing::Removed);
            if asked.group != *group && outside {
                let lately = now.wall.abs_diff(asked.time) < ORPHANED;
                let groups = if lately { &mut orphans } else { &mut old };
                groups.insert(asked.group);
            }
        }
        let (own, group) = (self.state.mailbox, *group);
        if orphans.len() >= MAX_ORPHANS
            || self.state.requests.len() >= MAX_REQUESTS
            || to.mailbox() == own
        {
            return Ok(false);
        }
        if orphans.union(&old).count() >= MAX_ORPHANS {
            for group in old.difference(&orphans) {
                self.forget_requests(group)?;
            }
        }
        let time = now.wall.max(self.latest_request(&group)?.saturating_add(1));
        if self.state.groups.contains_key(&group) {
            // Kept also when the request is forgotten.
            self.state.group_mut(&group)?.asked = time;
        }
        // Who was asked before may answer all the same: anybody may say that it can be asked.
        self.forget_old_requests(&group, 1, MAX_ASKED_AS_NEWCOMER)?;
        Ok(self.ask(to, Asked { group, joined_at, time }, 0, now)?.is_some())
    }
}
