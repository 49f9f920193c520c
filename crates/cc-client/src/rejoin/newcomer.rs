//! A device that was added to a group and did not come in.

use cc_core::Opaque;

use super::REJOIN;
use crate::{
    Client, Fault, GroupId, Now, Position,
    command::MAX_REQUESTS,
    frame::{self, Invitation, KeyPackageOffer, Mail, RejoinBody, RejoinRequest},
    mail::MailAddress,
    person,
    recipe::Role,
    records::{self, Asked, PackageRecord, Standing},
    seat,
};

/// Groups that this device was added to and is not in, at a time.
const MAX_ORPHANS: usize = 8;

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
        let asked = packages.iter().filter_map(|(_, package)| package.asked);
        let (of_group, of_others): (Vec<_>, Vec<_>) = asked.partition(|it| it.group == *group);
        let is_in = |group: &GroupId| {
            let known = self.state.groups.get(group);
            known.is_some_and(|record| record.standing != Standing::Removed)
        };
        let orphans = of_others.iter().filter(|asked| !is_in(&asked.group)).count();
        let (own, group) = (self.state.mailbox, *group);
        if orphans >= MAX_ORPHANS
            || self.state.requests.len() >= MAX_REQUESTS
            || to.mailbox() == own
        {
            return Ok(());
        }
        let last = of_group.iter().map(|asked| asked.time.saturating_add(1)).max();
        let time = now.wall.max(last.unwrap_or(0));
        // What was asked before found nobody who could make use of it.
        self.forget_requests(&group)?;
        let seat = self.new_seat(Role::Invited)?;
        let (bundle, expires) = seat::key_package(self.seat(&seat)?, now)?;
        let asked = Some(Asked { group, joined_at, time });
        let package = PackageRecord { seat, expires, asked };
        self.state.put(&records::packages(), frame::package_digest(&bundle), &package)?;
        let offer = KeyPackageOffer { address: self.mail_address()?, bundle: Opaque(bundle) };
        let (turn, epoch) = (0, 0);
        let body = RejoinBody { group, to: to.mailbox(), turn, epoch, joined_at, time, offer };
        let signature = person::sign(&self.identity.device_key()?, REJOIN, &body)?;
        self.send_mail(to, &Mail::Rejoin(RejoinRequest { body, signature })).map(drop)
    }
}
