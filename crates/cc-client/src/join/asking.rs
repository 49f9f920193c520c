//! Asking to join, and what comes of it.

use cc_core::Opaque;
use serde::{Deserialize, Serialize};

use super::{
    AskRecord, MAX_JOIN_MESSAGE_LEN, asks,
    link::{JoinLink, is_for},
    request::{self, AnswerKey, JOIN, JoinAnswer, JoinBody, JoinRequest, SealedReply},
    request_id,
};
use crate::{
    Client, Fate, Fault, JoinLinkId, JoinRequestId, LogId, Now,
    command::MAX_REQUESTS,
    frame::{self, List, MailItem},
    person,
    records::{self, EventRecord, PackageRecord},
    seat,
};

/// Requests of one device that were not answered.
const MAX_ASKS: usize = 32;

/// Something that this device has asked for and that was not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct JoinAsk {
    /// The request.
    pub id: JoinRequestId,
    /// The link by which it was made.
    pub link: JoinLinkId,
    /// The mailboxes of who was asked.
    pub mailboxes: Vec<LogId>,
    /// When, in milliseconds since 1970 by this device's clock.
    pub asked: u64,
}

/// Why nothing comes of a request of this device, though nobody has declined it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum JoinLapse {
    /// Its key package has expired before there was an answer. Ask again, by a new link where that one has expired.
    Expired,
    /// It was accepted, and could not be carried out any more. Ask again.
    NotPossible,
    /// Who was asked says that this device is in the group already, by another way.
    MemberAlready,
}

impl Client {
    /// Asks who made this link to be let into the group. `message` is shown with the request, at most 1024 bytes.
    /// [`Event::Entered`](crate::Event::Entered) tells that the request was accepted, and
    /// [`Event::JoinDeclined`](crate::Event::JoinDeclined) that it was not, and [`Event::JoinLapsed`](crate::Event::JoinLapsed) that
    /// nothing comes of it. Asking again sends the same request again, with the message that it has.
    /// [`Command::WithdrawJoin`](crate::Command::WithdrawJoin) takes it back.
    ///
    /// Who made the link learns who this is, as the members of a group do, and nobody else.
    ///
    /// # Errors
    /// [`Fault::JoinLink`] for a link of one's own, [`Fault::JoinLinkExpired`], [`Fault::OtherRecipe`],
    /// [`Fault::TooLong`] for the message, [`Fault::TooManyJoins`] where 32 requests wait, [`Fault::QueueFull`].
    pub fn ask_to_join(
        &mut self,
        now: Now,
        link: &JoinLink,
        message: &str,
    ) -> Result<JoinRequestId, Fault> {
        self.transact(|client| client.ask_now(now, link, message))
    }

    /// What this device has asked for and that was not answered.
    ///
    /// # Errors
    /// [`Fault::Store`].
    pub fn join_asks(&self) -> Result<Vec<JoinAsk>, Fault> {
        let asks = self.open_asks()?.into_iter();
        Ok(asks
            .map(|(id, AskRecord { link, mailboxes, asked, .. })| JoinAsk {
                id,
                link,
                mailboxes,
                asked,
            })
            .collect())
    }

    fn ask_now(
        &mut self,
        now: Now,
        link: &JoinLink,
        message: &str,
    ) -> Result<JoinRequestId, Fault> {
        if link.mailboxes().contains(&self.mailbox()) {
            return Err(Fault::JoinLink);
        }
        if link.expires() <= now.wall {
            return Err(Fault::JoinLinkExpired);
        }
        if !is_for(link, &self.identity.recipe) {
            return Err(Fault::OtherRecipe);
        }
        if message.len() > MAX_JOIN_MESSAGE_LEN {
            return Err(Fault::TooLong);
        }
        if self.state.requests.len() >= MAX_REQUESTS {
            return Err(Fault::QueueFull);
        }
        let id = request_id(&link.id(), self.identity.id.as_bytes());
        let open = self.open_asks()?;
        let count = open.len();
        match open.into_iter().find(|(known, _)| *known == id) {
            Some((_, mut ask)) => {
                for (mail, mailbox) in ask.mails.iter_mut().zip(&ask.mailboxes) {
                    if !self.state.requests.contains_key(mail) {
                        *mail = self.mail_behind(None, *mailbox, ask.item.clone())?;
                    }
                }
                self.state.put(&asks(), *id.as_bytes(), &ask)?;
            }
            None if count >= MAX_ASKS => return Err(Fault::TooManyJoins),
            None => self.new_ask(now, link, message, id)?,
        }
        Ok(id)
    }

    /// Makes and keeps a request, which goes out.
    fn new_ask(
        &mut self,
        now: Now,
        link: &JoinLink,
        message: &str,
        id: JoinRequestId,
    ) -> Result<(), Fault> {
        // Who asks for itself is nobody else's device.
        self.withdraw_offer()?;
        let (offer, _) = self.new_package(now, false)?;
        let offer = seat::read_offer(&offer)?;
        let package = frame::package_digest(offer.bundle.as_slice());
        let own = self.state.device(self.identity.id.as_bytes())?;
        let own = own.ok_or(Fault::NoSuchDevice(self.identity.id))?;
        let answer_key = AnswerKey::generate()?;
        let body = JoinBody {
            link: link.id(),
            to: List(link.mailboxes().to_vec()),
            answer_key: answer_key.clone(),
            message: Opaque(message.as_bytes().to_vec()),
            keys: self.state.own_contact()?.keys()?,
            certificate: own.certificate()?,
            offer,
        };
        let signature = person::sign(&self.identity.device_key()?, JOIN, &body)?;
        let sealed = request::seal(link, &JoinRequest { body, signature })?;
        let item = frame::encode(&MailItem::Join(sealed))?;
        if item.len() > request::MAX_REQUEST_LEN {
            return Err(Fault::TooLong);
        }
        let (link, mailboxes, asked) = (link.id(), link.mailboxes().to_vec(), now.wall);
        let mut mails = Vec::new();
        for mailbox in &mailboxes {
            // Behind the withdrawal of one before it, which else would be taken for that of this one.
            let after = self.withdrawal_of(&id, mailbox)?;
            mails.push(self.mail_behind(after, *mailbox, item.clone())?);
        }
        let ask = AskRecord { link, mailboxes, answer_key, package, asked, item, mails };
        self.state.put(&asks(), *id.as_bytes(), &ask)
    }

    /// Requests whose key packages are still here: an expired one leads nowhere.
    pub(super) fn open_asks(&self) -> Result<Vec<(JoinRequestId, AskRecord)>, Fault> {
        let mut open = Vec::new();
        for (key, ask) in self.state.list::<AskRecord>(&asks(), usize::MAX)? {
            if self.state.get::<PackageRecord>(&records::packages(), &ask.package)?.is_some() {
                open.push((JoinRequestId::from_bytes(*records::log_id(&key)?.as_bytes()), ask));
            }
        }
        Ok(open)
    }

    /// Mail that says what becomes of a request.
    pub(crate) fn join_answered(&mut self, reply: &SealedReply) -> Result<Fate, Fault> {
        let request = reply.request;
        let Some(ask) = self.state.get::<AskRecord>(&asks(), request.as_bytes())? else {
            return Ok(Fate::Malformed);
        };
        let link = ask.link;
        let event = match ask.answer_key.answer_in(reply) {
            None => return Ok(Fate::Forged),
            Some(None) => return Ok(Fate::Unsupported),
            Some(Some(JoinAnswer::Declined)) => EventRecord::JoinDeclined { request, link },
            Some(Some(JoinAnswer::Lapsed)) => {
                EventRecord::JoinLapsed { request, link, why: JoinLapse::NotPossible }
            }
            Some(Some(JoinAnswer::MemberAlready)) => {
                EventRecord::JoinLapsed { request, link, why: JoinLapse::MemberAlready }
            }
        };
        if ask.mailboxes.len() > 1 {
            self.note_answered(&request, &ask)?;
        }
        self.end_ask(&request, &ask)?;
        self.state.emit(&event)?;
        Ok(Fate::Request)
    }

    /// Nothing comes of a request: its key package opens nothing any more.
    pub(super) fn end_ask(
        &mut self,
        request: &JoinRequestId,
        ask: &AskRecord,
    ) -> Result<(), Fault> {
        self.state.delete(&asks(), *request.as_bytes())?;
        let package: Option<PackageRecord> = self.state.get(&records::packages(), &ask.package)?;
        if let Some(package) = package {
            self.state.delete(&records::packages(), ask.package)?;
            self.erase_seat(&package.seat)?;
        }
        Ok(())
    }

    /// These key packages are gone: what was asked for with them is over, and was not answered where they have
    /// `expired`.
    pub(crate) fn end_asks_of(&mut self, package: &[u8], expired: bool) -> Result<(), Fault> {
        for (key, ask) in self.state.list::<AskRecord>(&asks(), usize::MAX)? {
            if ask.package[..] == *package {
                if expired {
                    let request = JoinRequestId::from_bytes(*records::log_id(&key)?.as_bytes());
                    let (link, why) = (ask.link, JoinLapse::Expired);
                    self.state.emit(&EventRecord::JoinLapsed { request, link, why })?;
                }
                self.state.delete(&asks(), key)?;
            }
        }
        Ok(())
    }
}
