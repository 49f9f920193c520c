//! The mailbox: welcomes.

use crate::{
    Client, Fate, Fault, Item, Now,
    frame::{self, FrameError, Invitation, MailItem},
    records::{self, EventRecord, GroupRecord, PackageRecord, Standing},
    seat,
};

impl Client {
    /// An item of the mailbox.
    pub(crate) fn mail(&mut self, item: &Item, now: Now) -> Result<Fate, Fault> {
        let MailItem::Invitation(invitation) = match frame::decode(&item.bytes) {
            Err(FrameError::Unsupported) => return Ok(Fate::Unsupported),
            Err(FrameError::Malformed) => return Ok(Fate::Malformed),
            Ok(mail) => mail,
        };
        let package: Option<PackageRecord> =
            self.state.get(&records::packages(), &invitation.package)?;
        let Some(package) = package else {
            return Ok(Fate::OrphanWelcome);
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
        let seat = self.seat(&package.seat)?;
        if !seat::join(seat, welcome.as_slice())? {
            return Ok(Fate::Forged);
        }
        self.state.delete(&records::packages(), invitation.package)?;
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
            }
            Some(group) => {
                let record = self.state.group_mut(&group)?;
                let from = match record.standing {
                    Standing::Rejoining(from) => from,
                    Standing::Member | Standing::Removed => record.cursor,
                };
                // What was sent since the commit by which this member came back is held, or not read yet.
                (record.standing, record.joined_at) = (Standing::Member, position);
                (record.suspect, record.rejoins, record.access) = (false, 0, None);
                record.next_message = record.next_message.max(first_message(now));
                self.timers.suspects.remove(&group);
                self.ground(&group)?;
                self.state.emit(&EventRecord::Repaired { group, from, to: position })?;
            }
        }
        let timer = self.timers.log(&log);
        timer.caught_up = false;
        timer.next_poll = now.mono;
        Ok(Fate::Joined)
    }
}

/// Where the numbers of messages begin: behind all that this member may have used before its store was
/// put back to an old copy, which the others would take for second copies.
const fn first_message(now: Now) -> u64 {
    now.wall << 10
}
