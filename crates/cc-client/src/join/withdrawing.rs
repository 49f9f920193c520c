//! Requests that who asked takes back.
//!
//! Who asks forgets the key package at once, so that no welcome for it opens, and says so to who was asked. Where that
//! is read before the commit is on its way, nobody comes in. Later than that a member has come in who has no keys: it
//! is removed again.

use super::{
    AdmittedRecord, AskRecord, RequestRecord, WithdrawnRecord, admitted, answered, asks,
    hosts::GivenAnswer,
    request::{AnswerKey, SealedReply},
    requests, withdrawn,
};
use crate::{
    Client, Fate, Fault, GroupId, JoinRequestId, LogId, OperationId, RequestId,
    command::MAX_REQUESTS,
    frame::{self, MailItem},
    records::{self, EventRecord, PackageRecord, Work},
};

/// Key packages of which is remembered that they were withdrawn.
const MAX_WITHDRAWN: usize = 64;
/// What becomes of the command that has accepted such a request.
const WITHDRAWN: &str = "who asked has withdrawn the request";

impl Client {
    /// This device does not want to be let in any more.
    pub(crate) fn withdraw_join(
        &mut self,
        id: OperationId,
        request: &JoinRequestId,
    ) -> Result<(), Fault> {
        let ask = self.state.get::<AskRecord>(&asks(), request.as_bytes())?;
        let ask = ask.ok_or(Fault::NoSuchJoinRequest(*request))?;
        if self.state.requests.len() >= MAX_REQUESTS {
            return Err(Fault::QueueFull);
        }
        self.withdraw(request, &ask)?;
        self.settle_done(id)
    }

    /// Takes all back that this device has asked for.
    pub(crate) fn withdraw_asks(&mut self) -> Result<(), Fault> {
        for (request, ask) in self.open_asks()? {
            self.withdraw(&request, &ask)?;
        }
        Ok(())
    }

    fn withdraw(&mut self, request: &JoinRequestId, ask: &AskRecord) -> Result<(), Fault> {
        let withdrawal = ask.answer_key.withdrawal(*request)?;
        let item = frame::encode(&MailItem::JoinWithdrawn(withdrawal))?;
        let mut mails = Vec::new();
        for (asked, mailbox) in ask.mails.iter().zip(&ask.mailboxes) {
            mails.push((*mailbox, self.mail_behind(Some(*asked), *mailbox, item.clone())?));
        }
        self.note_withdrawn(request, ask, mails, None)?;
        self.end_ask(request, ask)
    }

    /// A request has had an answer, and another device of who was asked may not have heard of that.
    pub(super) fn note_answered(
        &mut self,
        request: &JoinRequestId,
        ask: &AskRecord,
    ) -> Result<(), Fault> {
        let answered = Some((ask.answer_key.clone(), ask.mailboxes.clone()));
        self.note_withdrawn(request, ask, Vec::new(), answered)
    }

    fn note_withdrawn(
        &mut self,
        request: &JoinRequestId,
        ask: &AskRecord,
        mails: Vec<(LogId, RequestId)>,
        answered: Option<(AnswerKey, Vec<LogId>)>,
    ) -> Result<(), Fault> {
        let package: Option<PackageRecord> = self.state.get(&records::packages(), &ask.package)?;
        if let Some(PackageRecord { expires, .. }) = &package {
            let known = self.state.list::<WithdrawnRecord>(&withdrawn(), usize::MAX)?;
            if known.len() >= MAX_WITHDRAWN
                && let Some((first, _)) = known.into_iter().min_by_key(|(_, it)| it.expires)
            {
                self.state.delete(&withdrawn(), first)?;
            }
            let (request, expires) = (*request, *expires);
            let record = WithdrawnRecord { request, mails, answered, expires };
            self.state.put(&withdrawn(), ask.package, &record)?;
        }
        Ok(())
    }

    /// Mail that goes when this other one has gone, if that is still under way.
    pub(super) fn mail_behind(
        &mut self,
        after: Option<RequestId>,
        mailbox: LogId,
        item: Vec<u8>,
    ) -> Result<RequestId, Fault> {
        let after = after.filter(|id| self.state.requests.contains_key(id));
        self.state.add_request(&match after {
            Some(after) => records::RequestRecord::MailAfter { mailbox, item, after },
            None => records::RequestRecord::Mail { mailbox, item },
        })
    }

    /// The mail that withdrew this request from there last, as far as that is remembered.
    pub(super) fn withdrawal_of(
        &self,
        request: &JoinRequestId,
        mailbox: &LogId,
    ) -> Result<Option<RequestId>, Fault> {
        let known = self.state.list::<WithdrawnRecord>(&withdrawn(), usize::MAX)?;
        let known = known.into_iter().filter(|(_, it)| it.request == *request);
        let mails = known.flat_map(|(_, it)| it.mails).filter(|(to, _)| to == mailbox);
        let mut last = None;
        for (_, mail) in mails {
            if self.state.requests.contains_key(&mail) {
                last = last.max(Some((self.mails_before(mail)?, mail)));
            }
        }
        Ok(last.map(|(_, mail)| mail))
    }

    /// How many mails one after another this one waits for.
    fn mails_before(&self, mut mail: RequestId) -> Result<usize, Fault> {
        let mut before = 0;
        while let Some(records::RequestRecord::MailAfter { after, .. }) =
            self.state.get(&records::requests(), mail.as_bytes())?
        {
            (mail, before) = (after, before + 1);
        }
        Ok(before)
    }

    /// Whether a welcome is for a key package that was withdrawn: nobody is asked for another one. Where one device of
    /// who was asked had declined before another one let this one in, that one is told, and removes it.
    pub(crate) fn is_withdrawn(&mut self, package: &[u8; 32]) -> Result<bool, Fault> {
        let known = self.state.get::<WithdrawnRecord>(&withdrawn(), package)?;
        let Some(mut record) = known else { return Ok(false) };
        if let Some((key, mailboxes)) = record.answered.take() {
            let withdrawal = key.withdrawal(record.request)?;
            let item = frame::encode(&MailItem::JoinWithdrawn(withdrawal))?;
            for mailbox in mailboxes {
                record.mails.push((mailbox, self.mail_behind(None, mailbox, item.clone())?));
            }
            self.state.put(&withdrawn(), *package, &record)?;
        }
        Ok(true)
    }

    /// Forgets what was withdrawn and would have expired by now.
    pub(crate) fn forget_withdrawn(&mut self, seconds: u64) -> Result<(), Fault> {
        for (key, record) in self.state.list::<WithdrawnRecord>(&withdrawn(), usize::MAX)? {
            if record.expires.is_some_and(|expires| expires < seconds) {
                self.state.delete(&withdrawn(), key)?;
            }
        }
        Ok(())
    }

    /// Mail by which somebody withdraws a request.
    pub(crate) fn join_withdrawn(&mut self, reply: &SealedReply) -> Result<Fate, Fault> {
        let request = reply.request;
        if let Some(waits) = self.state.get::<RequestRecord>(&requests(), request.as_bytes())? {
            if !waits.answer_key.is_withdrawn_by(reply) {
                return Ok(Fate::Forged);
            }
            self.state.delete(&requests(), *request.as_bytes())?;
            self.one_less_waits(&waits.link)?;
            self.tell_withdrawn(&request, &waits, false)?;
            return Ok(Fate::Request);
        }
        let known = self.state.get::<AdmittedRecord>(&admitted(), request.as_bytes())?;
        let Some(known) = known else {
            // Of what another device has answered, which knows the key.
            let answered = self.has_answered(&request)?;
            return Ok(if answered { Fate::Request } else { Fate::Malformed });
        };
        if !known.request.answer_key.is_withdrawn_by(reply) {
            return Ok(Fate::Forged);
        }
        let group = known.request.group;
        let Some((number, operation)) = self.queued_admission(&group, &request)? else {
            self.remove_withdrawn(&request, &known.request)?;
            return Ok(Fate::Request);
        };
        let in_flight = self.state.group(&group)?.in_flight.as_ref();
        if in_flight.is_some_and(|sent| sent.what.concerns(number)) {
            // The log decides whether there is somebody to be removed.
            let record = AdmittedRecord { withdrawn: true, ..known };
            self.state.put(&admitted(), *request.as_bytes(), &record)?;
            return Ok(Fate::Request);
        }
        self.dequeue(&group, number)?;
        self.drop_admission(&request, &known.request, operation)?;
        Ok(Fate::Request)
    }

    fn has_answered(&self, request: &JoinRequestId) -> Result<bool, Fault> {
        for (link, _) in self.known_links()? {
            if self.state.get::<GivenAnswer>(&answered(&link), request.as_bytes())?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The command that lets somebody in, where it waits.
    pub(super) fn queued_admission(
        &mut self,
        group: &GroupId,
        request: &JoinRequestId,
    ) -> Result<Option<(u64, Option<OperationId>)>, Fault> {
        let queue = self.state.queue(group)?.into_iter();
        let mut admissions = queue.filter(
            |(_, queued)| matches!(&queued.work, Work::Admit { request: of, .. } if of == request),
        );
        Ok(admissions.next().map(|(number, queued)| (number, queued.operation)))
    }

    /// What was accepted and then withdrawn, if that is so.
    fn withdrawn_admission(
        &self,
        work: &Work,
    ) -> Result<Option<(JoinRequestId, RequestRecord)>, Fault> {
        let Work::Admit { request, .. } = work else { return Ok(None) };
        let known = self.state.get::<AdmittedRecord>(&admitted(), request.as_bytes())?;
        Ok(known.filter(|known| known.withdrawn).map(|known| (*request, known.request)))
    }

    /// Drops a command whose commit lost against another, where its request was withdrawn meanwhile.
    pub(crate) fn drop_if_withdrawn(
        &mut self,
        group: &GroupId,
        number: u64,
        operation: Option<OperationId>,
        work: &Work,
    ) -> Result<bool, Fault> {
        let Some((request, record)) = self.withdrawn_admission(work)? else { return Ok(false) };
        self.dequeue(group, number)?;
        self.drop_admission(&request, &record, operation)?;
        Ok(true)
    }

    /// Somebody was added who has withdrawn the request meanwhile: it gets no welcome, and is removed.
    pub(crate) fn remove_if_withdrawn(&mut self, work: &Work) -> Result<bool, Fault> {
        let Some((request, record)) = self.withdrawn_admission(work)? else { return Ok(false) };
        self.remove_withdrawn(&request, &record)?;
        Ok(true)
    }

    fn remove_withdrawn(
        &mut self,
        request: &JoinRequestId,
        record: &RequestRecord,
    ) -> Result<(), Fault> {
        self.end_admitted(request, None)?;
        if !self.lets_people_in(&record.group) {
            return Ok(());
        }
        self.enqueue(&record.group, None, Work::Remove(vec![record.member]))?;
        self.tell_withdrawn(request, record, true)
    }

    fn drop_admission(
        &mut self,
        request: &JoinRequestId,
        record: &RequestRecord,
        operation: Option<OperationId>,
    ) -> Result<(), Fault> {
        self.refuse(operation, WITHDRAWN)?;
        self.end_admitted(request, None)?;
        self.tell_withdrawn(request, record, false)
    }

    fn tell_withdrawn(
        &mut self,
        request: &JoinRequestId,
        record: &RequestRecord,
        let_in: bool,
    ) -> Result<(), Fault> {
        let asker = record.asker(*request)?;
        self.state.emit(&EventRecord::JoinWithdrawn { asker, let_in })
    }
}
