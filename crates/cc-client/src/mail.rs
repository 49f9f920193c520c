//! The mailbox: welcomes, requests of members that come back, and what makes a device another person's.

use crate::{
    Client, Fate, Fault, GroupId, Item, Ledger, Now, Position,
    frame::{self, FrameError, Invitation, MailItem},
    records::{self, EventRecord, GroupRecord, PackageRecord, Standing},
    seat,
};

/// Welcomes to one group that are kept until this person is removed from it.
const MAX_WAITING: usize = 4;

impl Client {
    /// An item of the mailbox.
    pub(crate) fn mail(&mut self, item: &Item, now: Now) -> Result<Fate, Fault> {
        match frame::decode(&item.bytes) {
            Err(FrameError::Unsupported) => Ok(Fate::Unsupported),
            Err(FrameError::Malformed) => Ok(Fate::Malformed),
            Ok(MailItem::Invitation(invitation)) => self.invited(invitation, item.position, now),
            Ok(MailItem::Rejoin(request)) => self.rejoin_request(request, now),
            Ok(MailItem::Link(sealed)) => self.linked(sealed.as_slice()),
        }
    }

    /// A welcome, which came at this position of the mailbox.
    fn invited(&mut self, invitation: Invitation, at: Position, now: Now) -> Result<Fate, Fault> {
        let package: Option<PackageRecord> =
            self.state.get(&records::packages(), &invitation.package)?;
        let Some(package) = package else {
            return Ok(Fate::OrphanWelcome);
        };
        let Some(invitation) = self.wait_for_removal(&package, invitation, at)? else {
            return Ok(Fate::Early);
        };
        let Invitation { log, position, welcome, .. } = invitation;
        let known = self.state.groups.get(&log);
        let returns = known.is_some_and(|group| group.standing == Standing::Removed);
        if package.rejoins.is_some_and(|group| group != log)
            || (package.rejoins.is_none() && known.is_some() && !returns)
            || log == self.state.meta.mailbox
        {
            return Ok(Fate::Forged);
        }
        if known.is_some_and(|group| position <= group.joined_at) {
            // By a key package of last resort, the welcome of long ago still opens.
            return Ok(Fate::Duplicate);
        }
        let Some(package) = self.join_by(package, &invitation.package, welcome.as_slice())? else {
            return Ok(Fate::Forged);
        };
        match package.rejoins {
            None => {
                let title = seat::title(self.seat(&package.seat)?);
                let mut record = GroupRecord::new(title.clone(), package.seat, position);
                record.next_message = first_message(now);
                if let Some(former) = self.state.groups.get(&log).cloned() {
                    self.erase_seat(&former.seat)?;
                    record.next_queued = former.next_queued;
                    record.next_message = record.next_message.max(former.next_message);
                }
                self.state.add_group(log, record);
                self.state.emit(&EventRecord::Entered { group: log, name: title })?;
                self.introduce(&log)?;
            }
            Some(group) => {
                let record = self.state.group_mut(&group)?;
                let from = match record.standing {
                    Standing::Rejoining(from) => from,
                    Standing::Restored(from) => {
                        // There is nothing of before that could be read.
                        (record.cursor, record.last_commit) = (position, position);
                        from
                    }
                    Standing::Member | Standing::Removed => record.cursor,
                };
                // What was sent since the commit by which this member came back is to be read. Whatever was
                // read behind it so far was too early, or of another log that the service showed.
                let held = if record.cursor > position {
                    (record.cursor, record.last_commit) = (position, position);
                    core::mem::take(&mut record.held)
                } else {
                    Vec::new()
                };
                (record.standing, record.joined_at) = (Standing::Member, position);
                (record.suspect, record.rejoins, record.access) = (false, 0, None);
                record.next_message = record.next_message.max(first_message(now));
                for (held, _) in held {
                    self.state.delete(&records::held(&group), records::key(held.0))?;
                }
                self.timers.suspects.remove(&group);
                self.ground(&group)?;
                self.state.delete(&records::restored(), *group.as_bytes())?;
                self.state.emit(&EventRecord::Repaired { group, from, to: position })?;
                self.introduce(&group)?;
            }
        }
        let timer = self.timers.log(&log);
        timer.caught_up = false;
        timer.next_poll = now.mono;
        Ok(Fate::Joined)
    }

    /// Keeps a welcome to a group that this person is in, if it is of a commit that was not read yet: who was
    /// removed and added again may read its mailbox first. Only the group's log can tell that it is so, or
    /// anybody with a key package could put another group in the place of this one. Gives back what need not
    /// wait.
    fn wait_for_removal(
        &mut self,
        package: &PackageRecord,
        invitation: Invitation,
        at: Position,
    ) -> Result<Option<Invitation>, Fault> {
        let known = self.state.groups.get(&invitation.log);
        let inside = |group: &&GroupRecord| {
            let inside = matches!(group.standing, Standing::Member | Standing::Rejoining(_));
            inside && invitation.position > group.cursor
        };
        if package.rejoins.is_some() || known.filter(inside).is_none() {
            return Ok(Some(invitation));
        }
        let scope = records::waiting(&invitation.log);
        let kept: Vec<(Vec<u8>, Vec<u8>)> = self.state.list(&scope, usize::MAX)?;
        if let Some(surplus) = (kept.len() + 1).checked_sub(MAX_WAITING) {
            let mailbox = self.state.meta.mailbox;
            for (key, _) in kept.into_iter().take(surplus) {
                let oldest = Position(crate::request::queue_number(&key)?);
                self.state.delete(&scope, key)?;
                self.tell(&mailbox, oldest, Fate::TooLate)?;
            }
        }
        let bytes = frame::encode(&invitation)?;
        self.state.put(&scope, records::key(at.0), &bytes)?;
        Ok(None)
    }

    /// This person was removed from a group: the welcomes that waited for that may be of use now.
    pub(crate) fn retry_invitations(
        &mut self,
        group: &GroupId,
        now: Now,
        ledger: &mut Ledger,
    ) -> Result<(), Fault> {
        let scope = records::waiting(group);
        for (key, bytes) in self.state.list::<Vec<u8>>(&scope, usize::MAX)? {
            let at = Position(crate::request::queue_number(&key)?);
            self.state.delete(&scope, key)?;
            let fate = match frame::decode::<Invitation>(&bytes) {
                Ok(invitation) => self.invited(invitation, at, now)?,
                Err(_) => Fate::Malformed,
            };
            if fate.is_final() {
                let mailbox = self.state.meta.mailbox;
                self.tell(&mailbox, at, fate)?;
                ledger.fates.push((mailbox, at, fate));
            }
        }
        Ok(())
    }
}

/// Where the numbers of messages begin: behind all that this member may have used before its store was
/// put back to an old copy, which the others would take for second copies.
pub(crate) const fn first_message(now: Now) -> u64 {
    now.wall << 10
}
