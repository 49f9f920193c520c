//! What is to be seen of people: contacts with their devices and marks, in the snapshot as well.

use std::sync::Arc;

use crate::{
    Client, Fault, GroupView, Person, PersonId, SafetyNumber, Snapshot, Trust,
    contact::{self, ContactRecord},
};

/// A person, with all devices that are known of it, as one contact, as it was when this was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PersonView {
    /// Who.
    pub id: PersonId,
    /// What the person calls itself.
    pub name: String,
    /// The devices that are not revoked.
    pub devices: Vec<Person>,
    /// How far this person is trusted. Of oneself: [`Trust::Verified`].
    pub trust: Trust,
    /// The public key that is in force, of which safety numbers are made.
    pub(crate) key: [u8; 32],
}

impl Snapshot {
    /// The groups that the person is in with one of its devices, and this client as well. Looks at all members of
    /// all groups.
    pub fn groups_with(&self, person: &PersonId) -> impl Iterator<Item = &Arc<GroupView>> {
        let is_in = |group: &&Arc<GroupView>| {
            group.members.iter().any(|member| member.person == Some(*person))
        };
        self.groups.values().filter(is_in)
    }

    /// The number to be compared with a person, as [`Client::safety_number`] gives it; `None` for oneself and for
    /// somebody who is not in the snapshot. It is computed by this call, in some milliseconds.
    #[must_use]
    pub fn safety_number(&self, with: &PersonId) -> Option<SafetyNumber> {
        let own = self.people.get(&self.me.person?)?;
        let other = self.people.get(with).filter(|other| other.id != own.id)?;
        Some(SafetyNumber::between(&own.key, &other.key))
    }
}

impl Client {
    /// A contact, or oneself.
    ///
    /// # Errors
    /// [`Fault::NoSuchPerson`] for one of whom no device was seen, [`Fault::Store`].
    pub fn person(&self, id: &PersonId) -> Result<PersonView, Fault> {
        let contact = self.state.contact(id)?.ok_or(Fault::NoSuchPerson(*id))?;
        self.person_view(id, contact)
    }

    /// Everybody of whom a device was seen, oneself included.
    ///
    /// # Errors
    /// [`Fault::Store`].
    pub fn people(&self) -> Result<Vec<PersonId>, Fault> {
        let people = self.state.list::<ContactRecord>(&contact::people(), usize::MAX)?;
        let ids = people.into_iter().filter_map(|(key, _)| key.try_into().ok());
        Ok(ids.map(PersonId::from_bytes).collect())
    }

    /// What is shown of a person; `None` where there is nobody of this id any more.
    pub(crate) fn shown_person(&self, id: &PersonId) -> Result<Option<Arc<PersonView>>, Fault> {
        let contact = self.state.contact(id)?;
        let view = contact.map(|contact| self.person_view(id, contact)).transpose()?;
        Ok(view.map(Arc::new))
    }

    fn person_view(&self, id: &PersonId, contact: ContactRecord) -> Result<PersonView, Fault> {
        let mut devices = Vec::new();
        for member in &contact.devices {
            let mut device = Person::new(*member);
            self.describe(&mut device)?;
            devices.extend(device.person.is_some().then_some(device));
        }
        let own = *id == self.state.own.id;
        let trust = if own { Trust::Verified } else { contact.trust };
        let key = *contact.keys()?.current();
        Ok(PersonView { id: *id, name: contact.name, devices, trust, key })
    }
}
