//! The devices of one person as the hosts of one link: each of them reads who asks, and may answer.
//!
//! A link names the mailboxes of those devices that were in the group when it was made, and a request goes to all of
//! them. The device that made it tells the others its keys, and each tells the others what it has answered, in mail
//! that it signs. So none of them has to be at hand for another to be of use, and the first answer counts.

use serde::{Deserialize, Serialize};
use tls_codec::{TlsDeserializeBytes, TlsSerializeBytes, TlsSize};

use super::{
    AdmittedRecord, LinkRecord, RequestRecord, admitted, answered, ended,
    link::{LinkKeys, MAX_LINKS, link_id},
    links,
    received::MAX_ASKED,
    request_id, requests,
};
use crate::{
    Client, Fate, Fault, GroupId, JoinLinkId, JoinRequestId, LogId, Now, OperationId,
    frame::{List, Mail},
    person,
    records::EventRecord,
    seat,
};

/// Devices of one person that a link leads to: so many, that it fits into a QR code.
pub(super) const MAX_HOSTS: usize = 4;
/// Links of which is remembered that they were revoked, until they would have expired.
const MAX_ENDED: usize = 256;
/// What a device signs for the other ones of its person under.
const HOSTS: &str = "join hosts";
/// What becomes of the command that has accepted what another device has declined.
const DECLINED: &str = "another device of yours has declined the request";

/// What one host says to another.
#[derive(Debug, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
pub(crate) struct HostNews {
    pub(super) body: HostBody,
    /// Ed25519 by the device key, over a label and the body.
    pub(super) signature: [u8; 64],
}

/// What is signed of [`HostNews`].
#[derive(Debug, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
pub(super) struct HostBody {
    pub(super) from: [u8; 32],
    /// Whom this copy is for: the mailbox.
    pub(super) to: LogId,
    pub(super) link: JoinLinkId,
    pub(super) word: HostWord,
}

#[derive(Debug, Clone, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
#[repr(u8)]
pub(super) enum HostWord {
    /// There is this link.
    #[tls_codec(discriminant = 1)]
    Made(SharedLink),
    /// Who asks by it was declined.
    #[tls_codec(discriminant = 2)]
    Declined([u8; 32]),
    /// Who asks by it was accepted.
    #[tls_codec(discriminant = 3)]
    Accepted([u8; 32]),
    /// Nothing came of an acceptance: who asked may ask again.
    #[tls_codec(discriminant = 4)]
    Reopened([u8; 32]),
    /// It is over; with when it would have expired.
    #[tls_codec(discriminant = 5)]
    Revoked(u64),
}

/// A link, for another host of it.
#[derive(Debug, Clone, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
pub(super) struct SharedLink {
    pub(super) group: GroupId,
    pub(super) keys: LinkKeys,
    /// Milliseconds since 1970.
    pub(super) expires: u64,
    /// Device by device.
    pub(super) hosts: List<[u8; 32], MAX_HOSTS>,
    pub(super) mailboxes: List<LogId, MAX_HOSTS>,
}

/// The answer that a request had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum GivenAnswer {
    Declined,
    Accepted,
}

impl Client {
    /// The devices, and their mailboxes, that a new link of the group leads to: this one, and others of its person
    /// that are in the group.
    pub(super) fn hosts_in(
        &mut self,
        group: &GroupId,
    ) -> Result<(Vec<[u8; 32]>, Vec<LogId>), Fault> {
        let there = seat::member_ids(self.group_seat(group)?);
        let own = *self.identity.id.as_bytes();
        let (mut hosts, mut mailboxes) = (vec![own], vec![self.mailbox()]);
        for member in self.state.own_contact()?.devices {
            let Some(device) = self.state.device(&member)? else { continue };
            let reached = device.revocation.is_none() && device.address.is_some();
            let is_there = there.iter().any(|known| *known.as_bytes() == member);
            if member != own && is_there && reached && hosts.len() < MAX_HOSTS {
                hosts.push(member);
                mailboxes.push(device.mailbox);
            }
        }
        Ok((hosts, mailboxes))
    }

    /// Says this to the other hosts of a link.
    pub(super) fn tell_hosts(
        &mut self,
        link: &JoinLinkId,
        hosts: &[[u8; 32]],
        word: &HostWord,
    ) -> Result<(), Fault> {
        for host in self.other_hosts(hosts)? {
            let Some(device) = self.state.device(&host)? else { continue };
            let Some(address) = device.address()? else { continue };
            let (from, to) = (*self.identity.id.as_bytes(), address.mailbox());
            let body = HostBody { from, to, link: *link, word: word.clone() };
            let signature = person::sign(&self.identity.device_key()?, HOSTS, &body)?;
            let _mail = self.send_mail(&address, &Mail::JoinHosts(HostNews { body, signature }))?;
        }
        Ok(())
    }

    /// As [`tell_hosts`](Self::tell_hosts), those of the link of a request.
    pub(super) fn tell_hosts_of(
        &mut self,
        link: &JoinLinkId,
        word: &HostWord,
    ) -> Result<(), Fault> {
        match self.state.get::<LinkRecord>(&links(), link.as_bytes())? {
            Some(record) => self.tell_hosts(link, &record.hosts, word),
            None => Ok(()),
        }
    }

    /// Those of them that are another device of this person and not revoked.
    pub(super) fn other_hosts(&self, hosts: &[[u8; 32]]) -> Result<Vec<[u8; 32]>, Fault> {
        let mut others = Vec::new();
        for host in hosts {
            if self.is_own_device(host)? && *host != *self.identity.id.as_bytes() {
                others.push(*host);
            }
        }
        Ok(others)
    }

    fn is_own_device(&self, member: &[u8; 32]) -> Result<bool, Fault> {
        let device = self.state.device(member)?;
        Ok(device.is_some_and(|device| {
            device.person == self.state.own.id && device.revocation.is_none()
        }))
    }

    /// Mail of another host.
    pub(crate) fn host_news(&mut self, news: HostNews, now: Now) -> Result<Fate, Fault> {
        let HostNews { body, signature } = news;
        let Some(device) = self.state.device(&body.from)? else { return Ok(Fate::Malformed) };
        if device.person != self.state.own.id {
            return Ok(Fate::Malformed);
        }
        let key = device.certificate()?.body.device_key;
        if body.to != self.state.mailbox || !person::signed(&key, HOSTS, &body, &signature) {
            return Ok(Fate::Forged);
        }
        if device.revocation.is_some() {
            return Ok(Fate::Request);
        }
        let HostBody { from, link, word, .. } = body;
        if let HostWord::Made(shared) = word {
            return self.take_link(link, &from, shared, now);
        }
        let record = self.state.get::<LinkRecord>(&links(), link.as_bytes())?;
        if record.as_ref().is_some_and(|record| !record.hosts.contains(&from)) {
            return Ok(Fate::Malformed);
        }
        match (word, record) {
            (HostWord::Revoked(expires), record) => {
                self.note_ended(&link, expires)?;
                if record.is_some() {
                    self.end_link(&link)?;
                }
            }
            (_, None) | (HostWord::Made(_), _) => {}
            (HostWord::Declined(member), Some(_)) => self.was_declined(&link, &member)?,
            (HostWord::Accepted(member), Some(_)) => {
                let request = request_id(&link, &member);
                let known = self.state.get(&answered(&link), request.as_bytes())?;
                if known != Some(GivenAnswer::Declined) {
                    self.was_answered(&request, &link, GivenAnswer::Accepted)?;
                }
            }
            (HostWord::Reopened(member), Some(_)) => self.reopen(&link, &member)?,
        }
        Ok(Fate::Request)
    }

    /// A link that another device of this person has made.
    fn take_link(
        &mut self,
        link: JoinLinkId,
        from: &[u8; 32],
        shared: SharedLink,
        now: Now,
    ) -> Result<Fate, Fault> {
        let SharedLink { group, keys, expires, hosts: List(hosts), mailboxes: List(mailboxes) } =
            shared;
        let own = self.identity.id;
        let whole = hosts.len() == mailboxes.len()
            && hosts.contains(from)
            && hosts.contains(own.as_bytes())
            && mailboxes.contains(&self.state.mailbox)
            && link_id(&keys.public) == link;
        if !whole {
            return Ok(Fate::Malformed);
        }
        if self.state.get::<LinkRecord>(&links(), link.as_bytes())?.is_some() {
            return Ok(Fate::Duplicate);
        }
        self.forget_old_links(now)?;
        let is_over = expires <= now.wall
            || self.state.get::<u64>(&ended(), link.as_bytes())?.is_some()
            || self.known_links()?.len() >= MAX_LINKS;
        // Of one that was revoked meanwhile.
        let is_shared_with_others = self.other_hosts(&hosts)?.len() + 1 != hosts.len();
        if !is_over && !is_shared_with_others {
            let record = LinkRecord {
                group,
                keys,
                mailboxes,
                hosts,
                expires,
                asked: 0,
                open: 0,
                told: false,
            };
            self.state.put(&links(), *link.as_bytes(), &record)?;
        }
        Ok(Fate::Request)
    }

    /// Another device has declined who asks. Where this one has accepted and the commit is on its way, the refusal
    /// counts unless who asked is in before it reads that: a member that cannot open its welcome says so.
    fn was_declined(&mut self, link: &JoinLinkId, member: &[u8; 32]) -> Result<(), Fault> {
        let request = request_id(link, member);
        self.was_answered(&request, link, GivenAnswer::Declined)?;
        let known = self.state.get::<AdmittedRecord>(&admitted(), request.as_bytes())?;
        let Some(AdmittedRecord { request: record, .. }) = known else { return Ok(()) };
        let Some((number, operation)) = self.queued_admission(&record.group, &request)? else {
            return Ok(());
        };
        let in_flight = self.state.group(&record.group)?.in_flight.as_ref();
        if in_flight.is_some_and(|sent| sent.what.concerns(number)) {
            return Ok(());
        }
        self.dequeue(&record.group, number)?;
        self.state.delete(&admitted(), *request.as_bytes())?;
        self.refuse(operation, DECLINED)?;
        self.tell_answered(&request, &record, GivenAnswer::Declined)
    }

    /// A request has its answer, by another device.
    fn was_answered(
        &mut self,
        request: &JoinRequestId,
        link: &JoinLinkId,
        answer: GivenAnswer,
    ) -> Result<(), Fault> {
        self.state.put(&answered(link), *request.as_bytes(), &answer)?;
        let waits = self.state.get::<RequestRecord>(&requests(), request.as_bytes())?;
        let Some(waits) = waits else { return Ok(()) };
        self.state.delete(&requests(), *request.as_bytes())?;
        self.one_less_waits(link)?;
        self.tell_answered(request, &waits, answer)
    }

    /// A request by this link does not wait any more.
    pub(super) fn one_less_waits(&mut self, link: &JoinLinkId) -> Result<(), Fault> {
        let record = self.state.get::<LinkRecord>(&links(), link.as_bytes())?;
        let Some(mut record) = record else { return Ok(()) };
        record.open = record.open.saturating_sub(1);
        record.told &= record.asked >= MAX_ASKED;
        self.state.put(&links(), *link.as_bytes(), &record)
    }

    /// Who was accepted by a link may ask by it again.
    pub(super) fn reopen(&mut self, link: &JoinLinkId, member: &[u8; 32]) -> Result<(), Fault> {
        let request = request_id(link, member);
        let known = self.state.get(&answered(link), request.as_bytes())?;
        if known == Some(GivenAnswer::Accepted) {
            self.state.delete(&answered(link), *request.as_bytes())?;
        }
        Ok(())
    }

    pub(super) fn refuse(
        &mut self,
        operation: Option<OperationId>,
        why: &str,
    ) -> Result<(), Fault> {
        let Some(operation) = operation else { return Ok(()) };
        self.settle(Some(operation), &EventRecord::Refused { operation, why: why.to_owned() })
    }

    fn tell_answered(
        &mut self,
        request: &JoinRequestId,
        record: &RequestRecord,
        answer: GivenAnswer,
    ) -> Result<(), Fault> {
        let (asker, accepted) = (record.asker(*request)?, answer == GivenAnswer::Accepted);
        self.state.emit(&EventRecord::JoinAnswered { asker, accepted })
    }

    /// Members have come in by a change of another device of this person: of those who asked, nobody is told that
    /// it is there already, for it may be the welcome that it waits for.
    pub(super) fn let_in_elsewhere(
        &mut self,
        group: &GroupId,
        members: &[[u8; 32]],
    ) -> Result<(), Fault> {
        for (link, record) in self.known_links()? {
            for member in members.iter().filter(|_| record.group == *group) {
                let request = request_id(&link, member);
                if self.state.get::<RequestRecord>(&requests(), request.as_bytes())?.is_some() {
                    self.was_answered(&request, &link, GivenAnswer::Accepted)?;
                }
            }
        }
        for (key, record) in self.state.list::<AdmittedRecord>(&admitted(), usize::MAX)? {
            if record.request.group == *group && members.contains(&record.request.member) {
                let record = AdmittedRecord { elsewhere: true, ..record };
                self.state.put(&admitted(), key, &record)?;
            }
        }
        Ok(())
    }

    /// Whether a change is of another device of this person.
    pub(super) fn is_of_other_device(&self, committer: Option<&[u8; 32]>) -> Result<bool, Fault> {
        match committer {
            Some(committer) if committer != self.identity.id.as_bytes() => {
                self.is_own_device(committer)
            }
            _ => Ok(false),
        }
    }

    /// These are not in the group any more: they host no link to it.
    pub(crate) fn hosts_are_gone(
        &mut self,
        group: &GroupId,
        gone: &[[u8; 32]],
    ) -> Result<(), Fault> {
        let own = *self.identity.id.as_bytes();
        for (link, mut record) in if gone.is_empty() { Vec::new() } else { self.known_links()? } {
            let before = record.hosts.len();
            record.hosts.retain(|host| *host == own || !gone.contains(host));
            if record.group == *group && record.hosts.len() != before {
                self.state.put(&links(), *link.as_bytes(), &record)?;
            }
        }
        Ok(())
    }

    /// A device of this person is revoked, and has the keys of these links: they are over.
    pub(crate) fn end_links_with(&mut self, device: &[u8; 32]) -> Result<(), Fault> {
        for (link, record) in self.known_links()? {
            if record.hosts.contains(device) {
                self.note_ended(&link, record.expires)?;
                self.end_link(&link)?;
            }
        }
        Ok(())
    }

    /// Remembers that a link is over: another device may tell of it late, or a service once more.
    pub(super) fn note_ended(&mut self, link: &JoinLinkId, expires: u64) -> Result<(), Fault> {
        let known = self.state.list::<u64>(&ended(), usize::MAX)?;
        if known.len() >= MAX_ENDED
            && let Some((first, _)) = known.into_iter().min_by_key(|(_, expires)| *expires)
        {
            self.state.delete(&ended(), first)?;
        }
        self.state.put(&ended(), *link.as_bytes(), &expires)
    }

    pub(super) fn forget_ended(&mut self, now: Now) -> Result<(), Fault> {
        for (link, expires) in self.state.list::<u64>(&ended(), usize::MAX)? {
            if expires <= now.wall {
                self.state.delete(&ended(), link)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod killer;
#[cfg(test)]
mod liar;
#[cfg(test)]
mod tests;
