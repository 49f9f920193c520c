//! People for tests that lie in the client's own formats.

use cc_core::{Opaque, store::MemoryStore};

use crate::{
    Client, Event, EventId, Fate, GroupId, Input, LogId, MemoryService, Now, PersonId, Profile,
    Recipe,
    frame::{self, Frame, GroupItem, Mail, MailItem},
    seat,
};

pub(crate) struct Stage {
    pub(crate) service: MemoryService,
    pub(crate) now: Now,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self { service: MemoryService::new(), now: Now { wall: 1_790_000_000_000, mono: 0 } }
    }

    /// Everything happens; gives the fates of the items, by reader.
    pub(crate) fn settle(&mut self, people: &mut [&mut Client]) -> Vec<(usize, LogId, Fate)> {
        let mut fates = Vec::new();
        for _ in 0..20 {
            for (at, client) in people.iter_mut().enumerate() {
                while let Some(request) = client.poll_request(self.now).unwrap() {
                    let result = request.perform(&mut self.service);
                    let input = Input::Response { id: request.id, result };
                    let ledger = client.handle(self.now, input).unwrap();
                    fates.extend(ledger.fates.into_iter().map(|(log, _, fate)| (at, log, fate)));
                }
            }
            self.now.mono += 2_500;
            self.now.wall += 2_500;
        }
        fates
    }

    /// A group of all these, founded by the first.
    pub(crate) fn group(&mut self, people: &mut [&mut Client]) -> GroupId {
        let group = people[0].found("Dev Team").unwrap();
        for at in 1..people.len() {
            let package = people[at].key_packages(self.now, 1).unwrap().remove(0);
            people[0].invite(group, package).unwrap();
        }
        self.settle(people);
        group
    }

    /// `liar` says this in the group, whatever it is; gives the fates that the readers saw.
    pub(crate) fn say(
        &mut self,
        liar: &mut Client,
        group: &GroupId,
        frame: &Frame,
        readers: &mut [&mut Client],
    ) -> Vec<Fate> {
        let frames = vec![frame::encode(frame).unwrap()];
        let sealed = |liar: &mut Client| seat::seal_all(liar.group_seat(group)?, group, frames);
        let wire = liar.transact(sealed).unwrap().remove(0).0;
        let item = frame::encode(&GroupItem::Sealed(Opaque(wire))).unwrap();
        self.service.inject(group, false, item);
        let fates = self.settle(readers);
        fates.into_iter().filter(|(_, log, _)| log == group).map(|(_, _, fate)| fate).collect()
    }
}

pub(crate) fn client(name: &str) -> Client {
    Client::create(MemoryStore::new(), Profile::new(name), Recipe::group()).unwrap()
}

pub(crate) fn id(client: &Client) -> PersonId {
    client.me().person.unwrap()
}

/// What an item of this client's mailbox says, to it alone.
pub(crate) fn read_mail(client: &Client, item: &[u8]) -> Mail {
    match frame::decode(item) {
        Ok(MailItem::Sealed(sealed)) => client.open_mail(&sealed).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// An item with this for this client's mailbox, as anybody can make it.
pub(crate) fn mail_to(client: &Client, mail: &Mail) -> Vec<u8> {
    crate::mail::seal(&client.mail_address().unwrap(), mail).unwrap().unwrap()
}

/// This member believes that it has fallen out of step, as it does when an item of a later epoch does not open.
pub(crate) fn fall_out_of_step(client: &mut Client, group: GroupId) {
    let suspect = |client: &mut Client| {
        client.state.group_mut(&group)?.suspect = true;
        Ok(())
    };
    client.transact(suspect).unwrap();
}

/// All events, which are acknowledged.
pub(crate) fn events(client: &mut Client) -> Vec<Event> {
    let events = client.events(EventId(0), usize::MAX).unwrap();
    if let Some((last, _)) = events.last() {
        client.acknowledge(*last, &[]).unwrap();
    }
    events.into_iter().map(|(_, event)| event).collect()
}
