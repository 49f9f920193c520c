//! Requests of others, as they come.

use super::{
    LinkRecord, MAX_JOIN_MESSAGE_LEN, RequestRecord, answered,
    hosts::GivenAnswer,
    links,
    request::{self, JOIN, JoinBody, JoinRequest, MAX_REQUEST_LEN, SealedJoin},
    request_id, requests,
};
use crate::{
    Client, Fate, Fault, JoinLinkId, Now,
    frame::{self, List},
    introduction::PeopleUpdate,
    person,
    records::EventRecord,
    seat,
};

/// Requests that wait for an answer, of one link and of all.
const MAX_OPEN_OF_LINK: u32 = 32;
const MAX_OPEN: u32 = 256;
/// Requests of one link in all.
pub(super) const MAX_ASKED: u32 = 1024;

impl Client {
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
        let Some(request) = request::open(&record.keys, &record.mailboxes, sealed) else {
            return Ok(Fate::Malformed);
        };
        let fate = match self.verified(&record, request, now)? {
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
        link: &LinkRecord,
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
        let seat = self.group_seat(&link.group)?;
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
            && certificate.body.mailbox == body.offer.address.mailbox()
            && body.offer.address.is_of_device(&member, &key)
            && body.to.0 == link.mailboxes
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
        if waits || self.state.get::<GivenAnswer>(&answered(&link), id.as_bytes())?.is_some() {
            return Ok(Fate::Duplicate);
        }
        let asker = body.certificate.asker(id, record.group);
        let people = PeopleUpdate {
            people: List(vec![body.keys]),
            certificates: List(vec![body.certificate]),
            revocations: List::default(),
            addresses: List(vec![body.offer.address.clone()]),
        };
        let Ok(message) = String::from_utf8(body.message.0) else { return Ok(Fate::Malformed) };
        let request = RequestRecord {
            link,
            group: record.group,
            member,
            received: now.wall,
            answer_key: body.answer_key,
            address: frame::encode(&body.offer.address)?,
            offer: frame::encode(&body.offer)?,
            people: frame::encode(&people)?,
            message,
        };
        self.state.put(&requests(), *id.as_bytes(), &request)?;
        record.open = record.open.saturating_add(1);
        self.state.emit(&EventRecord::JoinRequested { asker, message: request.message })?;
        Ok(Fate::Request)
    }
}
