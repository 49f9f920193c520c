//! The mailbox: welcomes, requests of members that come back, and what makes a device another person's.

use crate::{
    Client, Fate, Fault, GroupId, Item, Ledger, Now, Position,
    frame::{self, FrameError, Invitation, MailItem},
    records::{self, EventRecord, GroupRecord, PackageRecord, Standing},
    rejoin::MAX_REJOINS,
    seat,
};

/// Invitations to one group that are kept until this member is no longer in it.
const MAX_INVITATIONS: usize = 8;

impl Client {
    /// An item of the mailbox.
    pub(crate) fn mail(&mut self, item: &Item, now: Now) -> Result<Fate, Fault> {
        match frame::decode(&item.bytes) {
            Err(FrameError::Unsupported) => Ok(Fate::Unsupported),
            Err(FrameError::Malformed) => Ok(Fate::Malformed),
            Ok(MailItem::Invitation(invitation)) => {
                let log = invitation.log;
                let fate = self.invited(invitation, now)?;
                if fate == Fate::Early { self.hold_invitation(&log, item) } else { Ok(fate) }
            }
            Ok(MailItem::Rejoin(request)) => self.rejoin_request(request, now),
            Ok(MailItem::Link(sealed)) => self.linked(sealed.as_slice()),
        }
    }

    /// Keeps an invitation until this member has read that it was removed.
    fn hold_invitation(&mut self, group: &GroupId, item: &Item) -> Result<Fate, Fault> {
        let scope = records::invitations(group);
        if self.state.list::<Vec<u8>>(&scope, MAX_INVITATIONS)?.len() >= MAX_INVITATIONS {
            return Ok(Fate::Forged);
        }
        self.state.put(&scope, records::key(item.position.0), &item.bytes)?;
        Ok(Fate::Early)
    }

    /// Opens the invitations that were kept for a group that this member is no longer in.
    pub(crate) fn retry_invitations(
        &mut self,
        group: &GroupId,
        now: Now,
        ledger: &mut Ledger,
    ) -> Result<(), Fault> {
        let scope = records::invitations(group);
        for (key, bytes) in self.state.list::<Vec<u8>>(&scope, MAX_INVITATIONS)? {
            if !self.state.group(group)?.is_over() {
                break;
            }
            self.state.delete(&scope, key.clone())?;
            let position = Position(crate::request::queue_number(&key)?);
            let fate = self.mail(&Item { position, commit: false, bytes }, now)?;
            let mailbox = self.mailbox();
            self.tell(&mailbox, position, fate)?;
            ledger.fates.push((mailbox, position, fate));
        }
        Ok(())
    }

    fn invited(&mut self, invitation: Invitation, now: Now) -> Result<Fate, Fault> {
        let package: Option<PackageRecord> =
            self.state.get(&records::packages(), &invitation.package)?;
        let Some(package) = package else {
            return Ok(Fate::OrphanWelcome);
        };
        let Invitation { log, position, welcome, .. } = invitation;
        let known = self.state.groups.get(&log);
        if package.rejoins.is_some_and(|group| group != log) || log == self.state.meta.mailbox {
            return Ok(Fate::Forged);
        }
        if let Some(group) = known.filter(|group| package.rejoins.is_none() && !group.is_over()) {
            // Of who was removed and invited again, and has not read the removal yet.
            let later = position > group.cursor;
            return Ok(if later { Fate::Early } else { Fate::Forged });
        }
        let reused = self.state.get::<()>(&records::last_resorts(), &invitation.package)?.is_some();
        if reused && known.is_some_and(|group| position <= group.joined_at) {
            // By a key package of last resort, the welcome of long ago still opens. Of the others each opens
            // one, and what an inviter said of positions before does not count.
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
                    // What waits for a welcome with it goes with it.
                    self.forget_requests(&log)?;
                    if !former.seat.is_empty() {
                        self.erase_seat(&former.seat)?;
                    }
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
                self.forget_requests(&group)?;
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
}

impl GroupRecord {
    /// Whether this person is not in the group any more, as far as it knows, and has given up coming back.
    fn is_over(&self) -> bool {
        match self.standing {
            Standing::Removed => true,
            Standing::Member => false,
            Standing::Rejoining(_) | Standing::Restored(_) => self.rejoins >= MAX_REJOINS,
        }
    }
}

/// Where the numbers of messages begin: behind all that this member may have used before its store was
/// put back to an old copy, which the others would take for second copies.
pub(crate) const fn first_message(now: Now) -> u64 {
    now.wall << 10
}
