//! One's own items, when the log shows them, and when it does not.

use cc_core::Opaque;

use crate::{
    Client, Fault, GroupId, Item, Now, Position,
    frame::{self, GroupItem, Invitation, Mail},
    records::{EventRecord, InFlight, Sealed, Sent, SentMessage, Work},
    seat,
};

/// Epochs after its own in which every member can still read a message, with one to spare.
const READABLE: u64 = 2;

impl Client {
    /// Whether an item is what this person handed to the service; brings it into force then.
    pub(crate) fn own_echo(
        &mut self,
        group: &GroupId,
        item: &Item,
        now: Now,
    ) -> Result<bool, Fault> {
        let record = self.state.group(group)?;
        let Some(in_flight) = &record.in_flight else { return Ok(false) };
        let Some(at) = in_flight.what.place_of(&item.bytes) else { return Ok(false) };
        let position = item.position;
        if let Sent::Messages(_) = in_flight.what {
            self.own_message(group, at, position)?;
            return Ok(true);
        }
        let request = in_flight.request;
        match in_flight.what.clone() {
            Sent::Commit { change, command, .. } => {
                self.timers.offers.remove(&request);
                self.ground(group)?;
                self.own_change(group, change, command, position, now)?;
                Ok(true)
            }
            Sent::Messages(_) => Ok(false),
        }
    }

    /// The log shows the message at this place among those that are on their way.
    fn own_message(&mut self, group: &GroupId, at: usize, position: Position) -> Result<(), Fault> {
        let record = self.state.group_mut(group)?;
        let Some(InFlight { epoch, what: Sent::Messages(sent), .. }) = &mut record.in_flight else {
            return Ok(());
        };
        let (epoch, message, last) = (*epoch, sent.remove(at), sent.is_empty());
        let SentMessage { number, queued, .. } = message;
        record.landed.push(number);
        self.state.count_off(group)?;
        self.timers.forget_command(group, number);
        let current = seat::epoch(self.group_seat(group)?);
        let (operation, leaves) = (queued.operation, queued.work == Work::Leave);
        if current > epoch + READABLE && !leaves {
            // It came so late that others may have had no keys for it any more. Who had takes the second
            // copy for what it is.
            self.put_back(group, number, queued)?;
        } else if leaves && current != epoch {
            // Nobody takes a request of an epoch that is over: it is made anew.
            self.enqueue(group, operation, Work::Leave)?;
        } else if let Some(operation) = operation {
            self.settle(Some(operation), &EventRecord::Done { operation, position })?;
        }
        if last { self.ground(group) } else { Ok(()) }
    }

    pub(crate) fn own_change(
        &mut self,
        group: &GroupId,
        change: [u8; 16],
        command: Option<Sealed>,
        position: Position,
        now: Now,
    ) -> Result<(), Fault> {
        let queued = match &command {
            Some(Sealed { number, .. }) => self.state.queued(group, *number)?,
            None => None,
        };
        let (outcome, welcome) = seat::confirm(self.group_seat(group)?, change)?;
        let added = outcome.added.clone();
        let update = outcome.update;
        if update || !outcome.removed.is_empty() {
            self.refreshed(group)?;
        }
        self.changed(group, outcome, position)?;
        if update {
            // Once more, for who has missed it: nothing else tells the name.
            self.introduce(group)?;
        }
        let Some(Sealed { number, operation }) = command else { return Ok(()) };
        let work = queued.map(|queued| queued.work);
        if let Some(Work::Admit { people, .. }) = &work {
            self.learn_admitted(group, people, now)?;
        }
        let unwanted = match &work {
            Some(work) => self.remove_if_withdrawn(work)?,
            None => false,
        };
        if let (
            Some(Work::Add(offers) | Work::Admit { offers, .. } | Work::Readmit(offers)),
            Some(welcome),
        ) = (work, welcome.filter(|_| !unwanted))
        {
            let roster = self.roster(group)?;
            let inviter = self.mail_address()?;
            let place = seat::Place { log: *group, position, inviter: inviter.mailbox() };
            let roster = seat::seal_roster(self.group_seat(group)?, &place, &roster)?;
            for offer in offers {
                let offer = seat::read_offer(&offer)?;
                let id = seat::package_member(self.group_seat(group)?, offer.bundle.as_slice())?;
                if !added.contains(id.as_bytes()) {
                    continue;
                }
                let invitation = Mail::Invitation(Invitation {
                    package: frame::package_digest(offer.bundle.as_slice()),
                    log: *group,
                    position,
                    welcome: Opaque(welcome.clone()),
                    inviter: inviter.clone(),
                    roster: Opaque(roster.clone()),
                });
                self.note_address(group, &id, &offer.address)?;
                let _request = self.send_mail(&offer.address, &invitation)?;
            }
            self.enqueue(group, None, Work::Title)?;
        }
        self.dequeue(group, number)?;
        match operation {
            Some(operation) => {
                self.settle(Some(operation), &EventRecord::Done { operation, position })
            }
            None => Ok(()),
        }
    }

    /// All that the service has was read: what should be there, and is not, goes anew.
    pub(crate) fn check_in_flight(&mut self, group: &GroupId) -> Result<(), Fault> {
        let record = self.state.group(group)?;
        let Some(in_flight) = record.in_flight.clone() else { return Ok(()) };
        let (cursor, last_commit) = (record.cursor, record.last_commit);
        let vanished = match self.timers.appended.get(&in_flight.request) {
            Some(appended) => appended.at <= cursor,
            None => !self.state.requests.contains_key(&in_flight.request),
        };
        match in_flight.what {
            Sent::Messages(_) => {
                let epoch = seat::epoch(self.group_seat(group)?);
                if vanished || epoch != in_flight.epoch {
                    // The epoch that they were sealed in is over. Should they arrive all the same, their
                    // numbers tell.
                    self.ground(group)?;
                }
            }
            Sent::Commit { .. } if vanished => {
                // Nothing else was taken in its place, or it would have been discarded: the same bytes
                // go again, behind what the service has as its last commit.
                let commit = seat::staged_commit(self.group_seat(group)?);
                self.ground(group)?;
                if let Some(commit) = commit {
                    let item = frame::encode(&GroupItem::Sealed(Opaque(commit)))?;
                    let items = vec![item];
                    let (epoch, what) = (in_flight.epoch, in_flight.what);
                    let _request = self.launch(group, Some(last_commit), items, epoch, what)?;
                }
            }
            Sent::Commit { .. } => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        Call, Event, Input,
        testing::{Stage, client, events},
    };

    #[test]
    fn a_key_package_that_expires_on_the_way_stops_nobody() {
        let mut stage = Stage::new();
        let [mut alice, mut bob] = ["Alice", "Bob"].map(client);
        let group = alice.found("Dev Team").unwrap();
        let package = bob.key_packages(stage.now, 1).unwrap().remove(0);
        alice.invite(group, package).unwrap();
        // The answer to Alice's commit is lost, and her clock has gone on by a year when she reads the log.
        loop {
            let request = alice.poll_request(stage.now).unwrap().unwrap();
            let sent = matches!(&request.call, Call::Append(append) if append.commit.is_some());
            let result = request.perform(&mut stage.service);
            if sent {
                break;
            }
            let _ledger =
                alice.handle(stage.now, Input::Response { id: request.id, result }).unwrap();
        }
        stage.now.wall += 365 * 24 * 3_600_000;
        let seat = alice.group_seat(&group).unwrap();
        seat.set_time(Some(stage.now.seconds()));
        stage.settle(&mut [&mut alice, &mut bob]);
        assert_eq!(alice.group(&group).unwrap().members.len(), 2);
        let told = events(&mut bob);
        assert!(told.iter().any(|event| matches!(event, Event::Entered { .. })), "{told:?}");
    }
}
