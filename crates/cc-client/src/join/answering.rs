//! The answers to requests: who is let in, who is not, and what is told to who asked.

use cc_core::MemberId;

use super::{
    AdmittedRecord, LinkRecord, RequestRecord, admitted, answered,
    hosts::{GivenAnswer, HostWord},
    links,
    request::{AnswerKey, JoinAnswer},
    requests,
};
use crate::{
    Client, Fault, GroupId, JoinRequestId, Now, OperationId, Person,
    command::MAX_REQUESTS,
    device::DeviceCertificate,
    frame::{self, Mail},
    introduction::PeopleUpdate,
    person::PersonKeys,
    records::{Asker, Work},
};

/// Requests that were accepted of which it is known how who asked is told of them.
const MAX_ADMITTED: usize = 256;

impl Client {
    /// Lets somebody in who asks: the commit is staged when the group was read.
    pub(crate) fn accept_join(
        &mut self,
        id: OperationId,
        request: &JoinRequestId,
    ) -> Result<(), Fault> {
        let record = self.waiting_request(request)?;
        let (offers, people) = (vec![record.offer.clone()], record.people.clone());
        self.enqueue(&record.group, Some(id), Work::Admit { request: *request, offers, people })?;
        self.note_admitted(request, &record)?;
        self.close_request(request, &record, GivenAnswer::Accepted)
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
        self.answer_asker(request, &record.answer_key, &record.address, JoinAnswer::Declined)?;
        self.close_request(request, &record, GivenAnswer::Declined)?;
        self.settle_done(id)
    }

    fn waiting_request(&self, request: &JoinRequestId) -> Result<RequestRecord, Fault> {
        let record = self.state.get(&requests(), request.as_bytes())?;
        record.ok_or(Fault::NoSuchJoinRequest(*request))
    }

    /// The answer goes to who asked. Who is let in gets a welcome in its place.
    pub(super) fn answer_asker(
        &mut self,
        request: &JoinRequestId,
        key: &AnswerKey,
        address: &[u8],
        answer: JoinAnswer,
    ) -> Result<(), Fault> {
        let to = frame::decode(address).map_err(|_| damaged())?;
        self.send_mail(&to, &Mail::JoinAnswer(key.answer(*request, answer)?)).map(drop)
    }

    /// A request has its answer, which the other hosts are told, and another one of the same device under the same
    /// link is not looked at.
    fn close_request(
        &mut self,
        request: &JoinRequestId,
        record: &RequestRecord,
        answer: GivenAnswer,
    ) -> Result<(), Fault> {
        self.state.delete(&requests(), *request.as_bytes())?;
        if self.state.get::<LinkRecord>(&links(), record.link.as_bytes())?.is_none() {
            return Ok(());
        }
        self.state.put(&answered(&record.link), *request.as_bytes(), &answer)?;
        self.one_less_waits(&record.link)?;
        self.tell_hosts_of(
            &record.link,
            &match answer {
                GivenAnswer::Declined => HostWord::Declined(record.member),
                GivenAnswer::Accepted => HostWord::Accepted(record.member),
            },
        )
    }

    /// Keeps how who asked is told of what becomes of it; of too many, those that were read first are forgotten.
    fn note_admitted(
        &mut self,
        request: &JoinRequestId,
        record: &RequestRecord,
    ) -> Result<(), Fault> {
        let known = self.state.list::<AdmittedRecord>(&admitted(), usize::MAX)?;
        if known.len() >= MAX_ADMITTED
            && let Some((oldest, _)) = known.into_iter().min_by_key(|(_, it)| it.request.received)
        {
            self.state.delete(&admitted(), oldest)?;
        }
        let kept = RequestRecord { offer: Vec::new(), message: String::new(), ..record.clone() };
        let record = AdmittedRecord { request: kept, withdrawn: false, elsewhere: false };
        self.state.put(&admitted(), *request.as_bytes(), &record)
    }

    /// Nothing comes of a command. Who was accepted by it is told, and may ask again by the same link.
    pub(crate) fn end_admission(&mut self, work: &Work) -> Result<(), Fault> {
        let Work::Admit { request, .. } = work else { return Ok(()) };
        self.end_admitted(request, Some(JoinAnswer::Lapsed))
    }

    /// Who was accepted has come in by another way meanwhile.
    pub(crate) fn end_needless_admission(&mut self, work: &Work) -> Result<(), Fault> {
        let Work::Admit { request, .. } = work else { return Ok(()) };
        self.end_admitted(request, Some(JoinAnswer::MemberAlready))
    }

    /// A request that was accepted is over; its asker is told, where there is something to tell.
    pub(super) fn end_admitted(
        &mut self,
        request: &JoinRequestId,
        answer: Option<JoinAnswer>,
    ) -> Result<(), Fault> {
        let record = self.state.get::<AdmittedRecord>(&admitted(), request.as_bytes())?;
        let Some(AdmittedRecord { request: record, withdrawn, elsewhere }) = record else {
            return Ok(());
        };
        self.state.delete(&admitted(), *request.as_bytes())?;
        if elsewhere {
            // The other device's answer stands.
            return Ok(());
        }
        self.state.delete(&answered(&record.link), *request.as_bytes())?;
        self.tell_hosts_of(&record.link, &HostWord::Reopened(record.member))?;
        match answer.filter(|_| !withdrawn) {
            Some(answer) => self.answer_asker(request, &record.answer_key, &record.address, answer),
            None => Ok(()),
        }
    }

    /// Who was let in is known from now on as the one that was shown.
    pub(crate) fn learn_admitted(
        &mut self,
        group: &GroupId,
        people: &[u8],
        now: Now,
    ) -> Result<(), Fault> {
        match frame::decode::<PeopleUpdate>(people) {
            Ok(people) => self.learn(group, people, now).map(drop),
            Err(_) => Err(damaged()),
        }
    }
}

impl RequestRecord {
    /// The person and the device.
    pub(super) fn who(&self) -> Result<(PersonKeys, DeviceCertificate), Fault> {
        let people: PeopleUpdate = frame::decode(&self.people).map_err(|_| damaged())?;
        let (keys, certificate) = (people.people.0.into_iter(), people.certificates.0.into_iter());
        keys.zip(certificate).next().ok_or_else(damaged)
    }

    pub(super) fn asker(&self, request: JoinRequestId) -> Result<Asker, Fault> {
        Ok(self.who()?.1.asker(request, self.group))
    }
}

impl DeviceCertificate {
    /// Who it is of, as who asks to join a group.
    pub(super) fn asker(&self, request: JoinRequestId, group: GroupId) -> Asker {
        let from = self.person();
        Asker {
            request,
            group,
            member: self.body.member,
            person: from.person,
            name: from.name(),
            device: from.device.unwrap_or_default(),
        }
    }

    /// Who it is of.
    pub(super) fn person(&self) -> Person {
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
