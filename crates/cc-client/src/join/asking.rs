//! Asking to join, and what comes of it.

use cc_core::Opaque;

use super::{
    AskRecord, MAX_JOIN_MESSAGE_LEN, asks,
    link::{JoinLink, is_for},
    request::{self, AnswerKey, JOIN, JoinBody, JoinRequest, SealedDecline},
    request_id,
};
use crate::{
    Client, Fate, Fault, JoinLinkId, JoinRequestId, LogId, Now,
    command::MAX_REQUESTS,
    frame::{self, MailItem},
    person,
    records::{self, EventRecord, PackageRecord, RequestRecord},
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
    /// The mailbox of who was asked.
    pub mailbox: LogId,
    /// When, in milliseconds since 1970 by this device's clock.
    pub asked: u64,
}

impl Client {
    /// Asks who made this link to be let into the group. `message` is shown with the request, at most 1024 bytes.
    /// [`Event::Entered`](crate::Event::Entered) tells that the request was accepted, and
    /// [`Event::JoinDeclined`](crate::Event::JoinDeclined) that it was not. Asking again sends the same request again, with the
    /// message that it has.
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
            .map(|(id, AskRecord { link, mailbox, asked, .. })| JoinAsk {
                id,
                link,
                mailbox,
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
        if link.mailbox() == self.mailbox() {
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
        let item = match open.iter().find(|(known, _)| *known == id) {
            Some((_, ask)) => ask.item.clone(),
            None if open.len() >= MAX_ASKS => return Err(Fault::TooManyJoins),
            None => self.new_ask(now, link, message, id)?,
        };
        self.state.add_request(&RequestRecord::Mail { mailbox: link.mailbox(), item })?;
        Ok(id)
    }

    /// Makes and keeps a request; gives it as it travels.
    fn new_ask(
        &mut self,
        now: Now,
        link: &JoinLink,
        message: &str,
        id: JoinRequestId,
    ) -> Result<Vec<u8>, Fault> {
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
            to: link.mailbox(),
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
        let (link, mailbox) = (link.id(), link.mailbox());
        let ask =
            AskRecord { link, mailbox, answer_key, package, asked: now.wall, item: item.clone() };
        self.state.put(&asks(), *id.as_bytes(), &ask)?;
        Ok(item)
    }

    /// Requests whose key packages are still here: an expired one leads nowhere.
    fn open_asks(&self) -> Result<Vec<(JoinRequestId, AskRecord)>, Fault> {
        let mut open = Vec::new();
        for (key, ask) in self.state.list::<AskRecord>(&asks(), usize::MAX)? {
            if self.state.get::<PackageRecord>(&records::packages(), &ask.package)?.is_some() {
                open.push((JoinRequestId::from_bytes(*records::log_id(&key)?.as_bytes()), ask));
            }
        }
        Ok(open)
    }

    /// Mail that says that a request is declined.
    pub(crate) fn join_declined(&mut self, decline: &SealedDecline) -> Result<Fate, Fault> {
        let id = decline.request;
        let Some(ask) = self.state.get::<AskRecord>(&asks(), id.as_bytes())? else {
            return Ok(Fate::Malformed);
        };
        if !ask.answer_key.is_declined_by(decline) {
            return Ok(Fate::Forged);
        }
        self.state.delete(&asks(), *id.as_bytes())?;
        let package: Option<PackageRecord> = self.state.get(&records::packages(), &ask.package)?;
        if let Some(package) = package {
            self.state.delete(&records::packages(), ask.package)?;
            self.erase_seat(&package.seat)?;
        }
        self.state.emit(&EventRecord::JoinDeclined { request: id, link: ask.link })?;
        Ok(Fate::Request)
    }

    /// These key packages are gone, used or expired: what was asked for with them is over.
    pub(crate) fn end_asks_of(&mut self, package: &[u8]) -> Result<(), Fault> {
        for (key, ask) in self.state.list::<AskRecord>(&asks(), usize::MAX)? {
            if ask.package[..] == *package {
                self.state.delete(&asks(), key)?;
            }
        }
        Ok(())
    }
}
