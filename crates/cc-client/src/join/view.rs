//! Those who ask, as a member sees them.

use super::{
    RequestRecord,
    names::{Look, are_alike},
};
use crate::{
    Client, Fault, GroupId, JoinLinkId, JoinRequestId, Person, PersonId, SafetyNumber, Trust,
    contact::{self, ContactRecord},
    device::DeviceCertificate,
    person::{PersonKeys, Relation},
    records,
};

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
    /// Other people who are known here, and this one, whose names look like that of who asks.
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
        let open = self.open_requests()?;
        if open.is_empty() {
            return Ok(Vec::new());
        }
        let mut known = Vec::new();
        for (id, contact) in self.state.list::<ContactRecord>(&contact::people(), usize::MAX)? {
            let id = PersonId::from_bytes(*records::log_id(&id)?.as_bytes());
            known.push((id, Look::of(&contact.name)));
        }
        let mut views = Vec::new();
        for (id, record) in open {
            views.push(self.request_view(id, record, &known)?);
        }
        views.sort_by_key(|view| (view.received, view.id));
        Ok(views)
    }

    fn request_view(
        &self,
        id: JoinRequestId,
        record: RequestRecord,
        known: &[(PersonId, Look)],
    ) -> Result<JoinRequestView, Fault> {
        let (keys, certificate) = record.who()?;
        let own = self.state.own_contact()?.keys()?;
        let from = certificate.person();
        let (look, person) = (Look::of(&from.name()), keys.id());
        let others = known.iter().filter(|(other, _)| *other != person);
        let resembles = others.filter(|(_, name)| are_alike(&look, name)).map(|(id, _)| *id);
        let resembles = resembles.collect();
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
}
