//! Requests of others, and the answers.

use cc_core::MemberId;

use super::{
    LinkRecord, MAX_JOIN_MESSAGE_LEN, RequestRecord, answered, links, names,
    request::{self, JOIN, JoinBody, JoinRequest, MAX_REQUEST_LEN, SealedJoin},
    request_id, requests,
};
use crate::{
    Client, Fate, Fault, GroupId, JoinLinkId, JoinRequestId, Now, OperationId, Person, PersonId,
    SafetyNumber, Trust,
    command::MAX_REQUESTS,
    device::DeviceCertificate,
    frame::{self, List, MailItem},
    introduction::PeopleUpdate,
    person::{self, PersonKeys, Relation},
    records::{self, EventRecord, Work},
    seat,
};

/// Requests that wait for an answer, of one link and of all.
const MAX_OPEN_OF_LINK: u32 = 32;
const MAX_OPEN: u32 = 256;
/// Requests of one link in all.
const MAX_ASKED: u32 = 1024;

/// Somebody who asks to join a group. All of it was verified: the device and the person have signed that they belong
/// together, and the device has signed the request and made the key package. What the person calls itself is its own
/// choice: compare the safety number.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct JoinRequestView {
    /// The request.
    pub id: JoinRequestId,
    /// The link by which it was made.
    pub link: JoinLinkId,
    /// The group that it is about.
    pub group: GroupId,
    /// Who asks.
    pub from: Person,
    /// What they say with it.
    pub message: String,
    /// When it was read, in milliseconds since 1970.
    pub received: u64,
    /// What this person and the one who asks compare.
    pub safety_number: SafetyNumber,
    /// How far the person is trusted: `None` for one that was never seen, [`Trust::Changed`] where the keys in the
    /// request are not those that are known.
    pub trust: Option<Trust>,
    /// Other people in the group, and this one, whose names look like that of who asks.
    pub resembles: Vec<PersonId>,
}

impl Client {
    /// Those who ask to join, the earliest first. [`Command::AcceptJoin`](crate::Command::AcceptJoin) lets one in, and
    /// [`Command::DeclineJoin`](crate::Command::DeclineJoin) does not. A request is over when who asks has come in by another
    /// way or is revoked, and when this device is not in the group any more.
    ///
    /// # Errors
    /// [`Fault::Store`].
    pub fn join_requests(&self) -> Result<Vec<JoinRequestView>, Fault> {
        let mut views = Vec::new();
        for (id, record) in self.open_requests()? {
            views.push(self.request_view(id, record)?);
        }
        views.sort_by_key(|view| (view.received, view.id));
        Ok(views)
    }

    fn request_view(
        &self,
        id: JoinRequestId,
        record: RequestRecord,
    ) -> Result<JoinRequestView, Fault> {
        let (keys, certificate) = record.who()?;
        let own = self.state.own_contact()?.keys()?;
        let from = certificate.person();
        let name = from.name();
        let person = keys.id();
        let others = self.group(&record.group)?.members;
        let mut resembles: Vec<PersonId> = others
            .iter()
            .filter(|other| names::are_alike(&name, &other.name()))
            .filter_map(|other| other.person.filter(|other| *other != person))
            .collect();
        resembles.sort_unstable();
        resembles.dedup();
        Ok(JoinRequestView {
            id,
            link: record.link,
            group: record.group,
            from,
            message: record.message,
            received: record.received,
            safety_number: SafetyNumber::between(own.current(), keys.current()),
            trust: self.trust_in_asker(&keys, &certificate)?,
            resembles,
        })
    }

    /// How far somebody who asks is trusted, by what is known of the person.
    fn trust_in_asker(
        &self,
        keys: &PersonKeys,
        certificate: &DeviceCertificate,
    ) -> Result<Option<Trust>, Fault> {
        let Some(contact) = self.state.contact(&keys.id())? else { return Ok(None) };
        let known = contact.keys()?;
        // Who has a key of before a replacement may be a thief of it.
        let current = certificate.body.generation >= known.generation()
            || contact.devices.contains(&certificate.body.member);
        Ok(Some(match known.relation(keys) {
            Relation::Same if current && keys.id() == self.state.own.id => Trust::Verified,
            Relation::Same | Relation::Older if current => contact.trust,
            _ => Trust::Changed,
        }))
    }

    /// Mail by which somebody asks to join.
    pub(crate) fn join_requested(
        &mut self,
        sealed: &SealedJoin,
        item_len: usize,
        now: Now,
    ) -> Result<Fate, Fault> {
        if item_len > MAX_REQUEST_LEN {
            return Ok(Fate::Malformed);
        }
        let link = sealed.link;
        let Some(mut record) = self.state.get::<LinkRecord>(&links(), link.as_bytes())? else {
            return Ok(Fate::Malformed);
        };
        if record.expires <= now.wall || !self.lets_people_in(&record.group) {
            return Ok(Fate::Request);
        }
        // Counted without reading them: anybody who has seen a request can send others that do not open.
        let waiting = self.known_links()?.iter().fold(0, |sum: u32, (_, link)| sum + link.open);
        let full = record.open >= MAX_OPEN_OF_LINK || waiting >= MAX_OPEN;
        if full || record.asked >= MAX_ASKED {
            // Nothing is opened for who floods.
            if !core::mem::replace(&mut record.told, true) {
                self.state.put(&links(), *link.as_bytes(), &record)?;
                let group = record.group;
                self.state.emit(&EventRecord::JoinLinkFull { link, group })?;
            }
            return Ok(Fate::Request);
        }
        let Some(request) = request::open(&record.keys, &self.mailbox(), sealed) else {
            return Ok(Fate::Malformed);
        };
        let fate = match self.verified(&record.group, request, now)? {
            Err(fate) => fate,
            Ok(body) => self.keep_request(link, &mut record, body, now)?,
        };
        if fate != Fate::Duplicate {
            // A copy of what was read uses nothing up, whoever sends it and how often.
            record.asked = record.asked.saturating_add(1);
        }
        self.state.put(&links(), *link.as_bytes(), &record)?;
        Ok(fate)
    }

    /// What a request says, if all of it is of who asks; or what it is instead.
    fn verified(
        &mut self,
        group: &GroupId,
        request: JoinRequest,
        now: Now,
    ) -> Result<Result<JoinBody, Fate>, Fault> {
        let JoinRequest { body, signature } = request;
        if body.message.0.len() > MAX_JOIN_MESSAGE_LEN
            || core::str::from_utf8(body.message.as_slice()).is_err()
        {
            return Ok(Err(Fate::Malformed));
        }
        let bundle = body.offer.bundle.as_slice();
        let seat = self.group_seat(group)?;
        if seat::is_expired(seat, bundle, now) {
            // Of another recipe, or too old.
            return Ok(Err(Fate::Malformed));
        }
        let (Ok(member), Some(key)) =
            (seat::package_member(seat, bundle), seat::package_device_key(seat, bundle))
        else {
            return Ok(Err(Fate::Malformed));
        };
        let there = seat::member_ids(seat).contains(&member);
        let certificate = &body.certificate;
        let genuine = certificate.member() == member
            && certificate.is_of_device(&key)
            && body.keys.verify()
            && certificate.is_of_person(&body.keys)
            && certificate.body.mailbox == body.offer.mailbox
            && body.to == self.state.mailbox
            && person::signed(&key, JOIN, &body, &signature);
        let known = self.state.device(member.as_bytes())?;
        let conflicting = known.is_some_and(|known| known.person != body.keys.id());
        Ok(match () {
            () if !genuine || conflicting => Err(Fate::Forged),
            () if there => Err(Fate::Duplicate),
            () if self.is_revoked(&member)? => Err(Fate::Request),
            () => Ok(body),
        })
    }

    /// Keeps a request until it is answered. The first one of a device counts, so that nobody is another person when
    /// it is accepted than when it was looked at.
    fn keep_request(
        &mut self,
        link: JoinLinkId,
        record: &mut LinkRecord,
        body: JoinBody,
        now: Now,
    ) -> Result<Fate, Fault> {
        let member = body.certificate.body.member;
        let id = request_id(&link, &member);
        let waits = self.state.get::<RequestRecord>(&requests(), id.as_bytes())?.is_some();
        if body.link != link {
            return Ok(Fate::Forged);
        }
        if waits || self.state.get::<()>(&answered(&link), &member)?.is_some() {
            return Ok(Fate::Duplicate);
        }
        let from = body.certificate.person();
        let people = PeopleUpdate {
            people: List(vec![body.keys]),
            certificates: List(vec![body.certificate]),
            revocations: List::default(),
        };
        let message = String::from_utf8(body.message.0).unwrap_or_default();
        let request = RequestRecord {
            link,
            group: record.group,
            member,
            received: now.wall,
            answer_key: body.answer_key,
            mailbox: body.offer.mailbox,
            offer: frame::encode(&body.offer)?,
            people: frame::encode(&people)?,
            message: message.clone(),
        };
        self.state.put(&requests(), *id.as_bytes(), &request)?;
        record.open = record.open.saturating_add(1);
        self.state.emit(&EventRecord::JoinRequested {
            request: id,
            group: record.group,
            member,
            person: from.person,
            name: from.name(),
            device: from.device.unwrap_or_default(),
            message,
        })?;
        Ok(Fate::Request)
    }

    /// Lets somebody in who asks: the commit is staged when the group was read.
    pub(crate) fn accept_join(
        &mut self,
        id: OperationId,
        request: &JoinRequestId,
    ) -> Result<(), Fault> {
        let record = self.waiting_request(request)?;
        let (offers, people) = (vec![record.offer.clone()], record.people.clone());
        self.enqueue(&record.group, Some(id), Work::Admit { request: *request, offers, people })?;
        self.close_request(request, &record)
    }

    /// Does not let somebody in, and says so to who asked.
    pub(crate) fn decline_join(
        &mut self,
        id: OperationId,
        request: &JoinRequestId,
    ) -> Result<(), Fault> {
        let record = self.waiting_request(request)?;
        if self.state.requests.len() >= MAX_REQUESTS {
            return Err(Fault::QueueFull);
        }
        self.turn_away(request, &record)?;
        self.close_request(request, &record)?;
        self.settle_done(id)
    }

    fn waiting_request(&self, request: &JoinRequestId) -> Result<RequestRecord, Fault> {
        let record = self.state.get(&requests(), request.as_bytes())?;
        record.ok_or(Fault::NoSuchJoinRequest(*request))
    }

    /// The refusal goes to who asked.
    pub(super) fn turn_away(
        &mut self,
        request: &JoinRequestId,
        record: &RequestRecord,
    ) -> Result<(), Fault> {
        let decline = record.answer_key.decline(*request)?;
        let item = frame::encode(&MailItem::JoinDeclined(decline))?;
        let mailbox = record.mailbox;
        self.state.add_request(&records::RequestRecord::Mail { mailbox, item }).map(drop)
    }

    /// A request has its answer, and another one of the same device under the same link is not looked at.
    fn close_request(
        &mut self,
        request: &JoinRequestId,
        record: &RequestRecord,
    ) -> Result<(), Fault> {
        self.state.delete(&requests(), *request.as_bytes())?;
        let Some(mut link) = self.state.get::<LinkRecord>(&links(), record.link.as_bytes())? else {
            return Ok(());
        };
        self.state.put(&answered(&record.link), record.member, &())?;
        link.open = link.open.saturating_sub(1);
        link.told &= link.asked >= MAX_ASKED;
        self.state.put(&links(), *record.link.as_bytes(), &link)
    }

    /// These have come into the group, by whatever way: they do not ask any more.
    pub(crate) fn end_requests_to(
        &mut self,
        group: &GroupId,
        members: &[[u8; 32]],
    ) -> Result<(), Fault> {
        for (id, link) in if members.is_empty() { Vec::new() } else { self.known_links()? } {
            if link.group == *group {
                self.end_requests(&id, link, members)?;
            }
        }
        Ok(())
    }

    /// This device is revoked: it asks in vain.
    pub(crate) fn end_requests_of(&mut self, member: &[u8; 32]) -> Result<(), Fault> {
        for (id, link) in self.known_links()? {
            self.end_requests(&id, link, &[*member])?;
        }
        Ok(())
    }

    fn end_requests(
        &mut self,
        id: &JoinLinkId,
        mut link: LinkRecord,
        members: &[[u8; 32]],
    ) -> Result<(), Fault> {
        let before = link.open;
        for member in members {
            let request = request_id(id, member);
            if self.state.get::<RequestRecord>(&requests(), request.as_bytes())?.is_some() {
                self.state.delete(&requests(), *request.as_bytes())?;
                link.open = link.open.saturating_sub(1);
            }
        }
        if link.open == before {
            return Ok(());
        }
        link.told &= link.asked >= MAX_ASKED;
        self.state.put(&links(), *id.as_bytes(), &link)
    }

    /// Who was let in is known from now on as the one that was shown.
    pub(crate) fn learn_admitted(&mut self, group: &GroupId, people: &[u8]) -> Result<(), Fault> {
        match frame::decode::<PeopleUpdate>(people) {
            Ok(people) => self.learn(group, people).map(drop),
            Err(_) => Err(damaged()),
        }
    }
}

impl RequestRecord {
    /// The person and the device.
    fn who(&self) -> Result<(PersonKeys, DeviceCertificate), Fault> {
        let people: PeopleUpdate = frame::decode(&self.people).map_err(|_| damaged())?;
        let (keys, certificate) = (people.people.0.into_iter(), people.certificates.0.into_iter());
        keys.zip(certificate).next().ok_or_else(damaged)
    }
}

impl DeviceCertificate {
    /// Who it is of.
    fn person(&self) -> Person {
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        let body = &self.body;
        Person {
            id: MemberId::from_bytes(body.member),
            person: Some(body.person),
            name: Some(text(body.person_name.as_slice())),
            device: Some(text(body.device_name.as_slice())),
        }
    }
}

fn damaged() -> Fault {
    cc_core::store::StoreError::corrupt("a request to join is malformed").into()
}
