//! Contacts and how far they are trusted: what is verified stays so until keys change.

use std::collections::BTreeSet;

use cc_core::{MemberId, SecretBytes};
use cc_primitives::ed25519::SigningKey;

use crate::{
    Client, Fault, GroupId, OperationId, PersonId, Position, SafetyNumber, Trust,
    contact::{ContactRecord, DeviceRecord, OwnPerson, PERSON_KEY},
    device::{DeviceBody, MAX_NAME_LEN, RevocationBody},
    frame,
    person::new_key,
    records::{EventRecord, Standing, Work},
    seat,
    state::State,
};

impl Client {
    /// The numbers were compared, and are the same.
    pub(crate) fn verify_person(
        &mut self,
        id: &PersonId,
        number: &SafetyNumber,
    ) -> Result<(), Fault> {
        if self.safety_number(id)? != *number {
            return Err(Fault::SafetyNumber(*id));
        }
        self.set_trust(id, Trust::Verified)
    }

    /// The person's new keys are taken as they are, without a comparison.
    pub(crate) fn accept_change(&mut self, id: &PersonId) -> Result<(), Fault> {
        match self.state.contact(id)?.ok_or(Fault::NoSuchPerson(*id))?.trust {
            Trust::Changed => self.set_trust(id, Trust::Pinned),
            Trust::Pinned | Trust::Verified => Ok(()),
        }
    }

    fn set_trust(&mut self, id: &PersonId, to: Trust) -> Result<(), Fault> {
        let mut contact = self.state.contact(id)?.ok_or(Fault::NoSuchPerson(*id))?;
        if *id == self.state.own.id || contact.trust == to {
            return Ok(());
        }
        let from = core::mem::replace(&mut contact.trust, to);
        self.state.put_contact(id, &contact)?;
        let mut own = self.state.own.clone();
        own.changed.remove(id);
        self.state.set_own_person(own)?;
        self.state.emit(&EventRecord::TrustChanged { person: *id, from, to })
    }

    /// A member of the group whose trust has fallen.
    pub(crate) fn untrusted_in(&mut self, group: &GroupId) -> Result<Option<PersonId>, Fault> {
        for person in self.state.own.changed.clone() {
            let Some(contact) = self.state.contact(&person)? else { continue };
            let members = contact.devices.iter().map(|member| MemberId::from_bytes(*member));
            if self.has_member(group, &members.collect())? {
                return Ok(Some(person));
            }
        }
        Ok(None)
    }

    fn has_member(&mut self, group: &GroupId, members: &BTreeSet<MemberId>) -> Result<bool, Fault> {
        match self.state.group(group)?.standing {
            Standing::Removed | Standing::Restored(_) => Ok(false),
            Standing::Member | Standing::Rejoining(_) => {
                let there = seat::member_ids(self.group_seat(group)?);
                Ok(there.iter().any(|member| members.contains(member)))
            }
        }
    }

    /// Settles what waits to be said in a group with somebody whose trust has fallen.
    pub(crate) fn refuse_untrusted(&mut self, group: &GroupId) -> Result<(), Fault> {
        let Some(person) = self.untrusted_in(group)? else { return Ok(()) };
        for (number, queued) in self.state.queue(group)? {
            if queued.work.is_said() {
                self.dequeue(group, number)?;
                if let Some(operation) = queued.operation {
                    let refused = EventRecord::Untrusted { operation, person };
                    self.settle(Some(operation), &refused)?;
                }
            }
        }
        Ok(())
    }

    /// Another key in the place of this person's: others go on with the same contact, and are told.
    pub(crate) fn replace_keys(&mut self) -> Result<(), Fault> {
        let (old, new) = (self.person_key()?, new_key()?);
        let mut contact = self.state.own_contact()?;
        let keys = contact.keys()?.replaced(&old, &new).ok_or(Fault::TooLong)?;
        contact.keys = frame::encode(&keys)?;
        self.state.put_secret(PERSON_KEY, SecretBytes::new(new.seed().expose().to_vec()))?;
        let id = self.state.own.id;
        let generation = keys.generation();
        self.renew_certificates(&contact, &new, |body| body.generation = generation)?;
        for member in &contact.devices {
            let Some(mut device) = self.state.device(member)? else { continue };
            if let Some(revocation) = device.revocation()? {
                let body = RevocationBody { generation, ..revocation.body };
                device.revocation = Some(frame::encode(&body.sign(&new)?)?);
            }
            self.state.put_device(member, &device)?;
        }
        for (revocation, (_, stored)) in contact.unclaimed()?.into_iter().zip(&mut contact.revoked)
        {
            let body = RevocationBody { generation, ..revocation.body };
            *stored = frame::encode(&body.sign(&new)?)?;
        }
        self.state.put_contact(&id, &contact)?;
        self.introduce_everywhere()
    }

    /// This person is called otherwise from now on: by all its certificates, which others are told.
    pub(crate) fn rename(&mut self, name: String) -> Result<(), Fault> {
        if name.len() > MAX_NAME_LEN {
            return Err(Fault::TooLong);
        }
        let (key, mut contact) = (self.person_key()?, self.state.own_contact()?);
        self.renew_certificates(&contact, &key, |body| body.person_name = name.as_bytes().into())?;
        contact.name.clone_from(&name);
        let own = OwnPerson { name, ..self.state.own.clone() };
        self.state.put_contact(&own.id, &contact)?;
        self.state.set_own_person(own)?;
        self.introduce_everywhere()
    }

    /// Signs the certificates of all devices of this person anew, as later ones.
    fn renew_certificates(
        &mut self,
        contact: &ContactRecord,
        key: &SigningKey,
        change: impl Fn(&mut DeviceBody),
    ) -> Result<(), Fault> {
        let serial = self.state.next_serial()?;
        for member in &contact.devices {
            let Some(device) = self.state.device(member)? else { continue };
            let certificate = device.certificate()?;
            let mut body = DeviceBody { serial, ..certificate.body.clone() };
            change(&mut body);
            let renewed = DeviceRecord::new(&certificate.renew(key, body)?, None)?;
            let DeviceRecord { address, revocation, .. } = device;
            let device = DeviceRecord { address, revocation, ..renewed };
            self.state.put_device(member, &device)?;
        }
        Ok(())
    }

    /// A device of this person is no longer one: it leaves all groups, and everybody is told.
    pub(crate) fn revoke(&mut self, device: &MemberId) -> Result<(), Fault> {
        let key = self.person_key()?;
        let contact = self.state.own_contact()?;
        let known = contact.devices.contains(device.as_bytes());
        if !known || *device == self.identity.id {
            return Err(Fault::NoSuchDevice(*device));
        }
        let body = RevocationBody {
            person: self.state.own.id,
            generation: contact.keys()?.generation(),
            member: *device.as_bytes(),
        };
        self.revoke_device(&body.sign(&key)?)?;
        self.introduce_everywhere()?;
        for group in self.groups().collect::<Vec<_>>() {
            if self.has_member(&group, &BTreeSet::from([*device]))? {
                self.enqueue(&group, None, Work::Remove(vec![*device.as_bytes()]))?;
            }
        }
        Ok(())
    }

    /// A device among those that have asked to be added which its person has revoked, be it since it asked. Whom this
    /// person adds by a key package, it adds: as a member of nobody known.
    pub(crate) fn revoked_in(
        &mut self,
        group: &GroupId,
        work: &Work,
    ) -> Result<Option<MemberId>, Fault> {
        let (Work::Admit { offers, .. } | Work::Readmit(offers)) = work else {
            return Ok(None);
        };
        for offer in offers {
            let bundle = seat::read_offer(offer)?.bundle;
            let member = seat::package_member(self.group_seat(group)?, bundle.as_slice());
            if let Ok(member) = member
                && self.is_revoked(&member)?
            {
                return Ok(Some(member));
            }
        }
        Ok(None)
    }

    /// Settles a command that is done without the network.
    pub(crate) fn settle_done(&mut self, operation: OperationId) -> Result<(), Fault> {
        let done = EventRecord::Done { operation, position: Position::START };
        self.settle(Some(operation), &done)
    }
}

impl State {
    /// The number of the next certificate of this person: greater than in all before it.
    pub(crate) fn next_serial(&self) -> Result<u64, Fault> {
        let mut latest = 0;
        for member in self.own_contact()?.devices {
            let Some(device) = self.device(&member)? else { continue };
            latest = latest.max(device.certificate()?.body.serial);
        }
        // Who has stolen the key may have used the greatest one.
        Ok(latest.saturating_add(1))
    }
}
