//! A device that was added to a group and did not come in.

use std::collections::BTreeSet;

use crate::{
    Client, Fault, GroupId, Now, Position,
    command::MAX_REQUESTS,
    frame::Invitation,
    mail::MailAddress,
    records::{self, Asked, PackageRecord, Standing},
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
        self.ask_as_newcomer(&group, &invitation.inviter, position, now)
    }

    /// Whether this device is not in a group, as far as it knows, and would put no other one out by coming in: where
    /// a copy of it was restored elsewhere, the two would put one another out for ever.
    pub(super) fn may_ask_as_newcomer(&self, group: &GroupId) -> bool {
        let known = self.state.groups.get(group);
        let comes_in = self.state.arrivals.values().any(|arrival| arrival.group == *group);
        known.is_none_or(|group| group.standing == Standing::Removed)
            && !comes_in
            && !self.state.groups.values().any(|group| group.replaced)
    }

    /// Asks a member of a group that this device is not in, and to which it was added there, to add it anew.
    pub(super) fn ask_as_newcomer(
        &mut self,
        group: &GroupId,
        to: &MailAddress,
        joined_at: Position,
        now: Now,
    ) -> Result<(), Fault> {
        let packages = self.state.list::<PackageRecord>(&records::packages(), usize::MAX)?;
        let (mut time, mut orphans, mut old) = (now.wall, BTreeSet::new(), BTreeSet::new());
        for asked in packages.into_iter().filter_map(|(_, package)| package.asked) {
            let known = self.state.groups.get(&asked.group);
            if asked.group == *group {
                time = time.max(asked.time.saturating_add(1));
            } else if known.is_none_or(|record| record.standing == Standing::Removed) {
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
            return Ok(());
        }
        if orphans.union(&old).count() >= MAX_ORPHANS {
            for group in old.difference(&orphans) {
                self.forget_requests(group)?;
            }
        }
        // Who was asked before may answer all the same: anybody may say that it can be asked.
        self.forget_old_requests(&group, 1, MAX_ASKED_AS_NEWCOMER)?;
        self.ask(to, Asked { group, joined_at, time }, 0, 0, now).map(drop)
    }
}
