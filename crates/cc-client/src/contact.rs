//! What this client keeps of people and their devices.

use std::{
    collections::BTreeSet,
    sync::{LazyLock, PoisonError},
};

use cc_core::{
    MemberId, Secret, SecretBytes,
    store::{Batch, Scope, StoreError},
};
use cc_primitives::ed25519::SigningKey;
use serde::{Deserialize, Serialize};

use crate::{
    Client, Event, Fault, HistoryEntries, LogId, Person, PersonId, Trust,
    device::{DeviceBody, DeviceCertificate, Revocation},
    frame,
    identity::Identity,
    mail::{MAIL_KEYS, MailAddress, MailKeys},
    overlay::lock,
    person::{PersonKeys, new_key},
    records,
    state::State,
};

/// Devices of one person that are known at the same time, with those that it has revoked.
pub(crate) const MAX_DEVICES: usize = 64;
/// Devices of anybody that are kept in memory.
const MAX_KNOWN: usize = 1024;

/// People, by their ids.
pub(crate) fn people() -> Scope {
    records::root().child("people")
}

/// Devices, by their member ids.
pub(crate) fn devices() -> &'static Scope {
    static SCOPE: LazyLock<Scope> = LazyLock::new(|| records::root().child("devices"));
    &SCOPE
}

/// Where the own person is, and what is looked at often.
pub(crate) const OWN_PERSON: &[u8] = b"person";
/// The seed of the own person's key, on the devices that have it.
pub(crate) const PERSON_KEY: &[u8] = b"person key";
/// The seed of the key to which a person seals what makes this device one of its own.
pub(crate) const LINK_KEY: &[u8] = b"link key";

/// What is in memory of people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OwnPerson {
    /// Whose device this is.
    pub(crate) id: PersonId,
    /// What the person is called.
    pub(crate) name: String,
    /// This device has offered itself to another person, and says nothing of itself until it is taken.
    pub(crate) linking: bool,
    /// Whose trust has fallen.
    pub(crate) changed: BTreeSet<PersonId>,
}

/// A person, this one as well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ContactRecord {
    /// The [`PersonKeys`], as they travel.
    pub(crate) keys: Vec<u8>,
    /// From the newest certificate.
    pub(crate) name: String,
    pub(crate) trust: Trust,
    pub(crate) devices: Vec<[u8; 32]>,
    /// Devices that the person has revoked and that never said that they were its own: members, and the
    /// [`Revocation`]s as they travel. They are nobody's until they say so.
    pub(crate) revoked: Vec<([u8; 32], Vec<u8>)>,
}

/// A device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeviceRecord {
    pub(crate) person: PersonId,
    pub(crate) person_name: String,
    pub(crate) name: String,
    pub(crate) mailbox: LogId,
    /// The [`DeviceCertificate`], as it travels.
    pub(crate) certificate: Vec<u8>,
    /// The newest [`MailAddress`], as it travels.
    pub(crate) address: Option<Vec<u8>>,
    /// The [`Revocation`], as it travels.
    pub(crate) revocation: Option<Vec<u8>>,
}

impl ContactRecord {
    pub(crate) fn new(keys: &PersonKeys, name: String) -> Result<Self, Fault> {
        let keys = frame::encode(keys)?;
        let (devices, revoked) = (Vec::new(), Vec::new());
        Ok(Self { keys, name, trust: Trust::Pinned, devices, revoked })
    }

    /// Whether as many devices are known as may be.
    pub(crate) fn is_full(&self) -> bool {
        self.devices.len().saturating_add(self.revoked.len()) >= MAX_DEVICES
    }

    /// The revocations of devices that never said that they were the person's.
    pub(crate) fn unclaimed(&self) -> Result<Vec<Revocation>, Fault> {
        let revoked = self.revoked.iter().map(|(_, revocation)| frame::decode(revocation));
        revoked.collect::<Result<_, _>>().map_err(|_| damaged())
    }

    pub(crate) fn keys(&self) -> Result<PersonKeys, Fault> {
        frame::decode(&self.keys).map_err(|_| damaged())
    }
}

impl DeviceRecord {
    pub(crate) fn new(
        certificate: &DeviceCertificate,
        address: Option<&MailAddress>,
    ) -> Result<Self, Fault> {
        let body = &certificate.body;
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        Ok(Self {
            person: body.person,
            person_name: text(body.person_name.as_slice()),
            name: text(body.device_name.as_slice()),
            mailbox: body.mailbox,
            certificate: frame::encode(certificate)?,
            address: address.map(frame::encode).transpose()?,
            revocation: None,
        })
    }

    pub(crate) fn certificate(&self) -> Result<DeviceCertificate, Fault> {
        frame::decode(&self.certificate).map_err(|_| damaged())
    }

    /// Where its mail goes, if it ever said so.
    pub(crate) fn address(&self) -> Result<Option<MailAddress>, Fault> {
        let address = self.address.as_deref().map(frame::decode);
        address.transpose().map_err(|_| damaged())
    }

    pub(crate) fn revocation(&self) -> Result<Option<Revocation>, Fault> {
        let revocation = self.revocation.as_deref().map(frame::decode);
        revocation.transpose().map_err(|_| damaged())
    }
}

fn damaged() -> Fault {
    StoreError::corrupt("a record of a person is malformed").into()
}

/// A new person with this device.
pub(crate) fn create(batch: &mut Batch, identity: &Identity) -> Result<(), Fault> {
    let person = new_key()?;
    let keys = PersonKeys::first(&person);
    let body = DeviceBody {
        person: keys.id(),
        generation: 0,
        person_name: identity.profile.name.as_bytes().into(),
        member: *identity.id.as_bytes(),
        mailbox: identity.mailbox.address(),
        device_key: identity.device_key()?.public_key(),
        device_name: identity.profile.device.as_bytes().into(),
        serial: 0,
    };
    let certificate = body.certify(&person)?.consent(&identity.device_key()?)?;
    let mut contact = ContactRecord::new(&keys, identity.profile.name.clone())?;
    contact.devices.push(*identity.id.as_bytes());
    let own = OwnPerson {
        id: keys.id(),
        name: identity.profile.name.clone(),
        linking: false,
        changed: BTreeSet::new(),
    };
    records::put(batch, records::root(), OWN_PERSON, &own)?;
    batch.put(records::root(), PERSON_KEY, SecretBytes::new(person.seed().expose().to_vec()));
    records::put(batch, &people(), *keys.id().as_bytes(), &contact)?;
    let mail_keys = MailKeys::create(identity)?;
    records::put(batch, records::root(), MAIL_KEYS, &mail_keys)?;
    let device = DeviceRecord::new(&certificate, Some(&mail_keys.address()?))?;
    records::put(batch, devices(), *identity.id.as_bytes(), &device)
}

impl State {
    pub(crate) fn contact(&self, id: &PersonId) -> Result<Option<ContactRecord>, Fault> {
        self.get(&people(), id.as_bytes())
    }

    pub(crate) fn put_contact(
        &mut self,
        id: &PersonId,
        contact: &ContactRecord,
    ) -> Result<(), Fault> {
        self.changed_people.insert(*id);
        self.put(&people(), *id.as_bytes(), contact)
    }

    pub(crate) fn device(&self, member: &[u8; 32]) -> Result<Option<DeviceRecord>, Fault> {
        self.get(devices(), member)
    }

    /// As [`device`](Self::device), from memory where it was asked for before: with each message, somebody
    /// is named.
    fn known_device(&self, member: &[u8; 32]) -> Result<Option<DeviceRecord>, Fault> {
        if lock(&self.store)?.has_changes_in(devices()) {
            return self.device(member);
        }
        // Nothing is left half done within this lock.
        let mut known = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(device) = known.get(member) {
            return Ok(device.clone());
        }
        let device = self.device(member)?;
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(*member, device.clone());
        Ok(device)
    }

    /// What is in memory of devices is what the transaction that is to be committed makes of them.
    pub(crate) fn forget_devices(&mut self) -> Result<(), Fault> {
        if lock(&self.store)?.has_changes_in(devices()) {
            self.devices.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
        }
        Ok(())
    }

    /// The person is gone.
    pub(crate) fn delete_contact(&mut self, id: &PersonId) -> Result<(), Fault> {
        self.changed_people.insert(*id);
        self.delete(&people(), *id.as_bytes())
    }

    pub(crate) fn put_device(
        &mut self,
        member: &[u8; 32],
        device: &DeviceRecord,
    ) -> Result<(), Fault> {
        self.changed_people.insert(device.person);
        self.put(devices(), *member, device)
    }

    /// The own person, which changes.
    pub(crate) fn set_own_person(&mut self, own: OwnPerson) -> Result<(), Fault> {
        self.put(records::root(), OWN_PERSON, &own)?;
        self.own = own;
        Ok(())
    }

    /// The devices that say that they get their mail there. Looks at all devices.
    pub(crate) fn owners_of(&self, mailbox: &LogId) -> Result<Vec<[u8; 32]>, Fault> {
        let mut owners = Vec::new();
        for (member, device) in self.list::<DeviceRecord>(devices(), usize::MAX)? {
            if device.mailbox == *mailbox && device.revocation.is_none() {
                owners.extend(<[u8; 32]>::try_from(member));
            }
        }
        Ok(owners)
    }

    /// The own person's record.
    pub(crate) fn own_contact(&self) -> Result<ContactRecord, Fault> {
        self.contact(&self.own.id)?.ok_or_else(damaged)
    }
}

impl Client {
    /// The key that signs for this person.
    ///
    /// # Errors
    /// [`Fault::NoPersonKey`] on a device that was linked, and where the key was replaced elsewhere.
    pub(crate) fn person_key(&self) -> Result<SigningKey, Fault> {
        let seed = self.state.secret(PERSON_KEY)?.ok_or(Fault::NoPersonKey)?;
        let seed = Secret::copy_from(seed.expose()).ok_or_else(damaged)?;
        let key = SigningKey::from_seed(&seed);
        let current = *self.state.own_contact()?.keys()?.current();
        if key.public_key() == current { Ok(key) } else { Err(Fault::NoPersonKey) }
    }

    /// A member with the names of its certificate.
    pub(crate) fn describe(&self, person: &mut Person) -> Result<(), Fault> {
        let device = self.state.known_device(person.id.as_bytes())?;
        let Some(device) = device.filter(|device| device.revocation.is_none()) else {
            return Ok(());
        };
        person.person = Some(device.person);
        person.name = Some(device.person_name);
        person.device = Some(device.name);
        Ok(())
    }

    /// As [`describe`](Self::describe), all whom an event names.
    pub(crate) fn describe_event(&self, event: &mut Event) -> Result<(), Fault> {
        let person = match event {
            Event::Message { from, from_me, .. } => {
                self.describe(from)?;
                *from_me = from.person == Some(self.state.own.id);
                return Ok(());
            }
            Event::Joined { person, .. } | Event::Left { person, .. } => person,
            Event::Forwarded { by, entries, .. } => {
                if let HistoryEntries::Here(entries) = entries {
                    for entry in entries {
                        let mut author = Person::new(*entry.sender.as_bytes());
                        self.describe(&mut author)?;
                        if let Some(name) = author.name {
                            entry.sender_name = name;
                        }
                    }
                }
                by
            }
            Event::Introduced { members, .. } => {
                return members.iter_mut().try_for_each(|member| self.describe(member));
            }
            Event::KeysChanged { person: Some(person), .. } => person,
            Event::DeviceAdded { device, .. }
            | Event::DeviceRevoked { device, .. }
            | Event::ConflictingClaims { device, .. } => device,
            _ => return Ok(()),
        };
        self.describe(person)
    }

    /// Who this is, and which device of theirs.
    pub(crate) fn myself(&self) -> Person {
        let mut me = Person::new(*self.identity.id.as_bytes());
        me.name = Some(self.state.own.name.clone());
        me.person = Some(self.state.own.id);
        me.device = Some(self.identity.profile.device.clone());
        me
    }

    pub(crate) fn is_revoked(&self, member: &MemberId) -> Result<bool, Fault> {
        let device = self.state.device(member.as_bytes())?;
        Ok(device.is_some_and(|device| device.revocation.is_some()))
    }
}
