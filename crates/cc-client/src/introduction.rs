//! Members tell one another who they are. What they tell verifies by itself, so anybody may pass it on.

use std::collections::BTreeMap;

use tls_codec::{Size as _, TlsDeserializeBytes, TlsSerializeBytes, TlsSize};

use crate::{
    Client, Fault, GroupId, Now, PersonId, Trust,
    contact::{ContactRecord, DeviceRecord, OwnPerson},
    device::{DeviceCertificate, Revocation},
    frame::{self, Frame, List},
    mail::MailAddress,
    person::{PersonKeys, Relation},
    records::{EventRecord, Work},
    seat,
};

/// People, certificates and revocations in one message.
const MAX_ENTRIES: usize = 128;
/// Messages in a roster.
const MAX_UPDATES: usize = 128;

/// Bytes of a roster at the most: with the welcome, it is one item.
const MAX_ROSTER_LEN: usize = 6 << 20;

/// Bytes of a sealed roster at the most, with what is around the messages in it.
pub(crate) const MAX_SEALED_ROSTER_LEN: usize = MAX_ROSTER_LEN + (4 << 10);

/// Who the members of a group are: what a newcomer is told with its welcome.
pub(crate) type Roster = List<PeopleUpdate, MAX_UPDATES>;

/// What one member tells the others of people.
#[derive(Debug, Clone, Default, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
pub(crate) struct PeopleUpdate {
    pub(crate) people: List<PersonKeys, MAX_ENTRIES>,
    pub(crate) certificates: List<DeviceCertificate, MAX_ENTRIES>,
    pub(crate) revocations: List<Revocation, MAX_ENTRIES>,
    /// Where the devices get their mail.
    pub(crate) addresses: List<MailAddress, MAX_ENTRIES>,
}

impl Client {
    /// This device tells a group who it is, and what else its person has to say of its devices.
    pub(crate) fn introduce(&mut self, group: &GroupId) -> Result<(), Fault> {
        if self.state.own.linking {
            return Ok(());
        }
        self.enqueue(group, None, Work::Introduction)
    }

    /// As [`introduce`](Self::introduce), in every group.
    pub(crate) fn introduce_everywhere(&mut self) -> Result<(), Fault> {
        let groups: Vec<GroupId> = self.groups().collect();
        for group in groups {
            match self.introduce(&group) {
                Err(Fault::NotAMember(_)) => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// What [`introduce`](Self::introduce) sends.
    pub(crate) fn introduction(&self) -> Result<Frame, Fault> {
        let mut update = PeopleUpdate::default();
        let contact = self.state.own_contact()?;
        for member in &contact.devices {
            if let Some(device) = self.state.device(member)? {
                update.add(&device)?;
            }
        }
        update.people.0.push(contact.keys()?);
        update.revocations.0.extend(contact.unclaimed()?);
        Ok(Frame::People(update))
    }

    /// Who the members of a group are, as far as is known here.
    pub(crate) fn roster(&mut self, group: &GroupId) -> Result<Roster, Fault> {
        let mut members = seat::member_ids(self.group_seat(group)?);
        members.sort_unstable();
        let (mut roster, mut len) = (Roster::default(), 0);
        for members in members.chunks(MAX_ENTRIES).take(MAX_UPDATES) {
            let (mut update, mut people) = (PeopleUpdate::default(), BTreeMap::new());
            for member in members {
                if self.state.own.linking && *member == self.identity.id {
                    continue;
                }
                let Some(device) = self.state.device(member.as_bytes())? else { continue };
                if let Some(contact) = self.state.contact(&device.person)? {
                    people.insert(device.person, contact.keys()?);
                }
                update.add(&device)?;
            }
            update.people.0.extend(people.into_values());
            len += update.tls_serialized_len();
            if len > MAX_ROSTER_LEN {
                // The others say it themselves, in time.
                break;
            }
            roster.0.push(update);
        }
        Ok(roster)
    }

    /// Takes what a member tells; `false` where something in it is forged. The rest of it counts.
    pub(crate) fn learn(
        &mut self,
        group: &GroupId,
        update: PeopleUpdate,
        now: Now,
    ) -> Result<bool, Fault> {
        let mut genuine = true;
        let mut strangers = BTreeMap::new();
        for keys in update.people.0 {
            let id = keys.id();
            let Some(mut contact) = self.state.contact(&id)? else {
                // Once, for there may be many certificates of one person.
                if keys.verify() {
                    strangers.insert(id, keys);
                } else {
                    genuine = false;
                }
                continue;
            };
            match contact.keys()?.relation(&keys) {
                Relation::Same | Relation::Older => {}
                _ if !keys.verify() => genuine = false,
                Relation::Newer => {
                    contact.keys = frame::encode(&keys)?;
                    self.state.put_contact(&id, &contact)?;
                    self.lower_trust(&id)?;
                    self.tell_owner(&id, false)?;
                }
                Relation::Diverged => {
                    self.lower_trust(&id)?;
                    self.tell_owner(&id, true)?;
                }
            }
        }
        let mut members = Vec::new();
        for certificate in update.certificates.0 {
            genuine &= self.learn_device(group, certificate, &strangers, &mut members)?;
        }
        for address in update.addresses.0 {
            genuine &= self.learn_address(group, &address, now)?;
        }
        if !members.is_empty() {
            self.state.emit(&EventRecord::Introduced { group: *group, members })?;
        }
        for revocation in update.revocations.0 {
            genuine &= self.learn_revocation(&revocation)?;
        }
        Ok(genuine)
    }

    fn learn_device(
        &mut self,
        group: &GroupId,
        certificate: DeviceCertificate,
        strangers: &BTreeMap<PersonId, PersonKeys>,
        introduced: &mut Vec<[u8; 32]>,
    ) -> Result<bool, Fault> {
        let member = certificate.member();
        let Some(device_key) = seat::device_key(self.group_seat(group)?, &member) else {
            // Not a member (any more): nothing tells whose key that is.
            return Ok(true);
        };
        let body = &certificate.body;
        let id = body.person;
        let mut contact = match (self.state.contact(&id)?, strangers.get(&id)) {
            (Some(contact), _) => contact,
            (None, Some(keys)) => ContactRecord::new(keys, String::new())?,
            (None, None) => return Ok(false),
        };
        let keys = contact.keys()?;
        if !certificate.is_of_device(&device_key) || !certificate.is_of_person(&keys) {
            return Ok(false);
        }
        let device = DeviceRecord::new(&certificate, None)?;
        if let Some(known) = self.state.device(&body.member)? {
            // By a key that was replaced nothing changes any more: who has it may be a thief.
            let current = body.generation >= keys.generation();
            let newer = current && known.certificate()?.age() < certificate.age();
            if known.revocation.is_some() {
                // Nothing brings it back.
            } else if known.person != id {
                // The device has agreed to both.
                let device = body.member;
                let people = [known.person, id];
                let told = self.lower_trust(&known.person)? | self.lower_trust(&id)?;
                if told {
                    self.state.emit(&EventRecord::ConflictingClaims { device, people })?;
                }
            } else if newer {
                self.take_name(&id, &mut contact, &certificate)?;
                self.state.put_contact(&id, &contact)?;
                let device = DeviceRecord { address: known.address, ..device };
                self.state.put_device(&body.member, &device)?;
            }
            return Ok(true);
        }
        if body.generation < keys.generation() {
            // From before the key was replaced, or of who has the old key: it gives the person no device. Who
            // has the key signs anew for the devices that stay.
            return Ok(true);
        }
        if let Some(at) = contact.revoked.iter().position(|(member, _)| *member == body.member) {
            // It was revoked before it was seen, and nothing brings it back.
            let (_, revocation) = contact.revoked.remove(at);
            let device = DeviceRecord { revocation: Some(revocation), ..device };
            contact.devices.push(body.member);
            self.state.put_contact(&id, &contact)?;
            self.state.put_device(&body.member, &device)?;
            return Ok(true);
        }
        if contact.is_full() {
            return Ok(true);
        }
        let first = contact.devices.is_empty();
        self.take_name(&id, &mut contact, &certificate)?;
        contact.devices.push(body.member);
        self.state.put_contact(&id, &contact)?;
        self.state.put_device(&body.member, &device)?;
        introduced.push(body.member);
        if !first {
            let device = body.member;
            self.state.emit(&EventRecord::DeviceAdded { person: id, device })?;
        }
        Ok(true)
    }

    /// Where a device gets its mail from now on; `false` where that is forged.
    fn learn_address(
        &mut self,
        group: &GroupId,
        address: &MailAddress,
        now: Now,
    ) -> Result<bool, Fault> {
        let body = &address.body;
        let Some(device) = self.state.device(&body.member)? else { return Ok(true) };
        if address.kem().is_none() {
            // To one of a later version this device has nothing to seal.
            return Ok(true);
        }
        if body.member == *self.identity.id.as_bytes() {
            return self.outnumber_address(address, now);
        }
        let certificate = device.certificate()?;
        let genuine = address.is_of_device(&certificate.member(), &certificate.body.device_key)
            && body.mailbox == device.mailbox;
        if !genuine {
            return Ok(false);
        }
        if self.is_outdated(group, address, now)? {
            // Of who missed the one after it, or wants mail to be sealed to a key that was stolen: they all look the same.
            return Ok(true);
        }
        if device.address()?.is_none_or(|known| known.body.serial != body.serial) {
            let device = DeviceRecord { address: Some(frame::encode(address)?), ..device };
            self.state.put_device(&body.member, &device)?;
        }
        Ok(true)
    }

    /// A person is called as its newest certificate has it.
    fn take_name(
        &mut self,
        id: &PersonId,
        contact: &mut ContactRecord,
        certificate: &DeviceCertificate,
    ) -> Result<(), Fault> {
        let body = &certificate.body;
        for member in contact.devices.iter().filter(|member| **member != body.member) {
            let Some(device) = self.state.device(member)? else { continue };
            if device.certificate()?.age() > certificate.age() {
                return Ok(());
            }
        }
        let to = String::from_utf8_lossy(body.person_name.as_slice()).into_owned();
        let from = core::mem::replace(&mut contact.name, to.clone());
        if from == to || contact.devices.is_empty() {
            return Ok(());
        }
        if *id == self.state.own.id {
            let own = OwnPerson { name: to.clone(), ..self.state.own.clone() };
            self.state.set_own_person(own)?;
        }
        self.state.emit(&EventRecord::Renamed { person: *id, from, to })
    }

    fn learn_revocation(&mut self, revocation: &Revocation) -> Result<bool, Fault> {
        let body = &revocation.body;
        let Some(contact) = self.state.contact(&body.person)? else { return Ok(true) };
        let keys = contact.keys()?;
        if body.generation < keys.generation() {
            // An old one, which counted before, or of who has an old key.
            return Ok(true);
        }
        if !revocation.is_of_person(&keys) {
            return Ok(false);
        }
        self.revoke_device(revocation)?;
        Ok(true)
    }

    /// Keeps a revocation that the person has signed.
    pub(crate) fn revoke_device(&mut self, revocation: &Revocation) -> Result<(), Fault> {
        let body = &revocation.body;
        let Some(mut device) = self.state.device(&body.member)? else {
            // Whose device it is, is for the device to say: the person may have named that of another.
            let Some(mut contact) = self.state.contact(&body.person)? else { return Ok(()) };
            let known = contact.revoked.iter().any(|(member, _)| *member == body.member);
            if !known && !contact.is_full() {
                contact.revoked.push((body.member, frame::encode(revocation)?));
                self.state.put_contact(&body.person, &contact)?;
            }
            return Ok(());
        };
        if device.person != body.person {
            // Somebody else's: that is not this person's to revoke.
            return Ok(());
        }
        let known = device.revocation.replace(frame::encode(revocation)?);
        self.state.put_device(&body.member, &device)?;
        if known.is_none() {
            self.end_requests_of(&body.member)?;
            if body.person == self.state.own.id {
                self.end_links_with(&body.member)?;
            }
            let (person, device) = (body.person, body.member);
            self.state.emit(&EventRecord::DeviceRevoked { person, device })?;
        }
        Ok(())
    }

    /// Somebody has replaced this person's own key, elsewhere.
    fn tell_owner(&mut self, id: &PersonId, conflicting: bool) -> Result<(), Fault> {
        if *id != self.state.own.id {
            return Ok(());
        }
        self.state.emit(&EventRecord::OwnKeysReplaced { conflicting })
    }

    /// Takes the trust in a person back; gives whether there was any.
    pub(crate) fn lower_trust(&mut self, id: &PersonId) -> Result<bool, Fault> {
        if *id == self.state.own.id {
            return Ok(false);
        }
        let Some(mut contact) = self.state.contact(id)? else { return Ok(false) };
        let from = core::mem::replace(&mut contact.trust, Trust::Changed);
        if from == Trust::Changed {
            return Ok(false);
        }
        self.state.put_contact(id, &contact)?;
        let mut own = self.state.own.clone();
        own.changed.insert(*id);
        self.state.set_own_person(own)?;
        self.state.emit(&EventRecord::TrustChanged { person: *id, from, to: Trust::Changed })?;
        Ok(true)
    }
}

impl PeopleUpdate {
    fn add(&mut self, device: &DeviceRecord) -> Result<(), Fault> {
        match device.revocation()? {
            Some(revocation) => self.revocations.0.push(revocation),
            None => {
                self.certificates.0.push(device.certificate()?);
                self.addresses.0.extend(device.address()?);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod liar;
