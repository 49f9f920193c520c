//! The mailbox: welcomes, requests of members that come back and of those who want to join, and what makes a device
//! another person's. All of it is sealed to its reader.

mod address;
mod latest;
mod sealed;

use std::collections::VecDeque;

use crate::{
    Client, Fate, Fault, GroupId, Item, Ledger, Now, Position,
    delivery::MAX_ITEM_LEN,
    frame::{self, FrameError, Invitation, Mail, MailItem},
    records::{self, GroupRecord, PackageRecord, Standing},
};

#[cfg(test)]
pub(crate) use address::AddressBody;
pub(crate) use address::{MAIL_KEYS, MailAddress, MailKeys};
pub(crate) use latest::LatestAddress;
pub(crate) use sealed::SealedMail;
#[cfg(test)]
pub(crate) use sealed::{seal, seal_bytes};

/// Invitations to one group that are kept until this member is no longer in it.
const MAX_INVITATIONS: usize = 8;
/// Bytes of them: the longest one, and others.
const MAX_INVITATIONS_LEN: usize = 2 * MAX_ITEM_LEN;

impl Client {
    /// An item of the mailbox.
    pub(crate) fn mail(
        &mut self,
        item: &Item,
        now: Now,
        ledger: &mut Ledger,
    ) -> Result<Fate, Fault> {
        let mail = match frame::decode(&item.bytes) {
            Ok(MailItem::Join(sealed)) => {
                return self.join_requested(&sealed, item.bytes.len(), now);
            }
            Ok(MailItem::JoinWithdrawn(reply)) => return self.join_withdrawn(&reply),
            Ok(MailItem::Sealed(sealed)) => self.open_mail(&sealed),
            Err(error) => Err(error),
        };
        match mail {
            Err(FrameError::Unsupported) => Ok(Fate::Unsupported),
            Err(FrameError::Malformed) => Ok(Fate::Malformed),
            Ok(Mail::Invitation(invitation)) => self.invited(item, &invitation, now, ledger),
            Ok(Mail::Rejoin(request)) => self.rejoin_request(request, now),
            Ok(Mail::RejoinOffer(offer)) => self.rejoin_offered(offer, now),
            Ok(Mail::Link(sealed)) => self.linked(sealed.as_slice()),
            Ok(Mail::JoinAnswer(reply)) => self.join_answered(&reply),
            Ok(Mail::JoinHosts(news)) => self.host_news(news, now),
        }
    }

    /// Keeps an invitation until this member has read that it was removed, or notices that it is out of step. Past the
    /// bounds the oldest is given up: what somebody made up long ago keeps none out.
    fn hold_invitation(
        &mut self,
        group: &GroupId,
        item: &Item,
        ledger: &mut Ledger,
    ) -> Result<Fate, Fault> {
        let scope = records::invitations(group);
        let mut held = VecDeque::from(self.state.list::<Vec<u8>>(&scope, MAX_INVITATIONS)?);
        let mut len = held.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
        while held.len() >= MAX_INVITATIONS
            || len.saturating_add(item.bytes.len()) > MAX_INVITATIONS_LEN
        {
            let Some((key, oldest)) = held.pop_front() else { break };
            len -= oldest.len();
            let (mailbox, position) = (self.mailbox(), Position(records::number(&key)?));
            self.state.delete(&scope, key)?;
            self.tell(&mailbox, position, Fate::Unconfirmed)?;
            ledger.fates.push((mailbox, position, Fate::Unconfirmed));
        }
        self.state.put(&scope, records::key(item.position.0), &item.bytes)?;
        Ok(Fate::Early)
    }

    /// Opens the invitations that were kept for groups that this member is out of step with: it does not get to
    /// read that it was removed.
    pub(crate) fn retry_invitations_of_lost(
        &mut self,
        now: Now,
        ledger: &mut Ledger,
    ) -> Result<(), Fault> {
        let groups = self.state.groups.iter();
        let lost = groups.filter(|(_, group)| group.standing.is_away()).map(|(id, _)| *id);
        for group in lost.collect::<Vec<_>>() {
            self.retry_invitations(&group, now, ledger)?;
        }
        Ok(())
    }

    /// Opens the invitations that were kept for a group that this member is no longer in, or out of step with.
    pub(crate) fn retry_invitations(
        &mut self,
        group: &GroupId,
        now: Now,
        ledger: &mut Ledger,
    ) -> Result<(), Fault> {
        let scope = records::invitations(group);
        for (key, bytes) in self.state.list::<Vec<u8>>(&scope, MAX_INVITATIONS)? {
            if self.state.group(group)?.standing == Standing::Member {
                break;
            }
            self.state.delete(&scope, key.clone())?;
            let position = Position(records::number(&key)?);
            let fate = self.mail(&Item { position, commit: false, bytes }, now, ledger)?;
            if !fate.is_final() {
                // It waits for its log's word from now on, and was called early before.
                continue;
            }
            let mailbox = self.mailbox();
            self.tell(&mailbox, position, fate)?;
            ledger.fates.push((mailbox, position, fate));
        }
        Ok(())
    }

    fn invited(
        &mut self,
        item: &Item,
        invitation: &Invitation,
        now: Now,
        ledger: &mut Ledger,
    ) -> Result<Fate, Fault> {
        let package: Option<PackageRecord> =
            self.state.get(&records::packages(), &invitation.package)?;
        let Invitation { log, position, .. } = *invitation;
        let inviter = invitation.inviter.mailbox();
        let own = self.state.mailbox;
        if [inviter, own].contains(&log) || inviter == own {
            // No group has the address of a mailbox, and nobody invites itself.
            return Ok(Fate::Misaddressed);
        }
        let Some(package) = package else {
            if self.is_withdrawn(&invitation.package)? {
                return Ok(Fate::Request);
            }
            self.ask_inviter(invitation, now)?;
            return Ok(Fate::OrphanWelcome);
        };
        let known = self.state.groups.get(&log);
        let elsewhere = package.asked.is_some_and(|asked| asked.group != log);
        if elsewhere {
            return Ok(Fate::Misaddressed);
        }
        if position == Position::START {
            return Ok(Fate::Forged);
        }
        let is_in = |group: &&GroupRecord| group.standing == Standing::Member;
        if let Some(group) = known.filter(is_in).filter(|_| package.asked.is_none()) {
            // Of who was removed and invited again, and has not read the removal yet.
            let later = position > group.cursor;
            return if later { self.hold_invitation(&log, item, ledger) } else { Ok(Fate::Forged) };
        }
        let reused = self.state.get::<()>(&records::last_resorts(), &invitation.package)?.is_some();
        if reused && known.is_some_and(|group| position <= group.joined_at) {
            // By a key package of last resort, the welcome of long ago still opens. Of the others each opens
            // one, and what an inviter said of positions before does not count.
            return Ok(Fate::Duplicate);
        }
        self.make_room_for_arrival(ledger)?;
        self.await_log(item, &package, invitation)
    }
}

/// Where the numbers of messages begin: behind all that this member may have used before its store was
/// put back to an old copy, which the others would take for second copies.
pub(crate) const fn first_message(now: Now) -> u64 {
    now.wall << 10
}

#[cfg(test)]
mod liar;
#[cfg(test)]
mod thief;
