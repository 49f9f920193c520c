//! Another device of the same person.
//!
//! The new device shows an offer, the old one signs a certificate for it and seals that to a key in the offer.
//! So whoever saw the offer, and nobody else, can make the new device its own.

use cc_core::{MemberId, Opaque, SecretBytes};
use tls_codec::{TlsDeserializeBytes, TlsSerializeBytes, TlsSize};

use crate::{
    Client, Fate, Fault, GroupId, LogId, Now, OperationId, PersonId, Trust,
    contact::{self, ContactRecord, DeviceRecord, LINK_KEY, OwnPerson, PERSON_KEY},
    device::{DeviceBody, DeviceCertificate, MAX_NAME_LEN, Revocation},
    frame::{self, List, Mail},
    hpke::{self, Context, Kem},
    mail::MailAddress,
    person::PersonKeys,
    records::{self, EventRecord, RequestRecord, Standing, Work},
    seat,
};

/// Key packages in an offer at the most.
pub const MAX_OFFERED_PACKAGES: usize = 256;
/// Contacts and titles that a new device is given at the most; others it learns from its groups.
const MAX_GIVEN: usize = 1 << 14;
const CONTEXT: Context<'_> =
    Context { kem: Kem::X25519, info: b"cc-client/1 link", aad: b"", psk: None };

/// What a new device shows to the old one.
#[derive(Debug, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
struct DeviceOffer {
    member: [u8; 32],
    address: MailAddress,
    /// Ed25519.
    device_key: [u8; 32],
    device_name: Opaque,
    /// X25519: what the old device has to say is sealed to it. Who has the offer has it.
    link_key: [u8; 32],
    /// Key package offers: one for each group.
    packages: List<Opaque, MAX_OFFERED_PACKAGES>,
}

/// What the old device says: HPKE (RFC 9180, base mode) to the key in the offer.
#[derive(Debug, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
struct SealedLink {
    encapsulated: Opaque,
    ciphertext: Opaque,
}

/// What makes the new device one of the person's.
#[derive(Debug, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
struct Link {
    keys: PersonKeys,
    /// Without the device's signature, which the device makes itself.
    certificate: DeviceCertificate,
    contacts: List<GivenContact, MAX_GIVEN>,
    titles: List<GivenTitle, MAX_GIVEN>,
}

#[derive(Debug, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
struct GivenContact {
    keys: PersonKeys,
    name: Opaque,
    /// 0 pinned, 1 verified, 2 changed.
    trust: u8,
    certificates: List<DeviceCertificate, { contact::MAX_DEVICES }>,
    revocations: List<Revocation, { contact::MAX_DEVICES }>,
    addresses: List<MailAddress, { contact::MAX_DEVICES }>,
}

#[derive(Debug, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
struct GivenTitle {
    group: LogId,
    title: Opaque,
}

impl Client {
    /// Offers this device to another person, on whose device the bytes are given to
    /// [`Command::Link`](crate::Command::Link). `groups` key packages are in it, at most 256; into more groups
    /// than that the device comes by key packages in the directory. What this device
    /// [asked for](Self::ask_to_join) is withdrawn. Show the offer to nobody else: who has it
    /// can make the device its own. A new offer replaces the one before it, and founding a group ends it.
    ///
    /// # Errors
    /// [`Fault::CannotLink`] on a device that is in groups already.
    pub fn offer_device(&mut self, now: Now, groups: usize) -> Result<Vec<u8>, Fault> {
        self.transact(|client| {
            if !client.state.groups.is_empty() {
                return Err(Fault::CannotLink);
            }
            // Whoever's this device will be then, it is not who has asked.
            client.withdraw_asks()?;
            let (private, public) = hpke::generate(CONTEXT.kem)?;
            let secret = SecretBytes::new(private.expose().to_vec());
            client.state.put_secret(LINK_KEY, secret)?;
            let mut own = client.state.own.clone();
            own.linking = true;
            client.state.set_own_person(own)?;
            let packages = (0..groups.min(MAX_OFFERED_PACKAGES))
                .map(|_| client.new_package(now, false).map(|(package, _)| Opaque(package)))
                .collect::<Result<_, _>>()?;
            frame::encode(&DeviceOffer {
                member: *client.identity.id.as_bytes(),
                address: client.mail_address()?,
                device_key: client.identity.device_key()?.public_key(),
                device_name: client.identity.profile.device.as_bytes().into(),
                link_key: public.try_into().map_err(|_| Fault::CannotLink)?,
                packages: List(packages),
            })
        })
    }

    /// The offer that was made last is good for nothing any more.
    pub(crate) fn withdraw_offer(&mut self) -> Result<(), Fault> {
        if self.state.own.linking {
            self.state.delete(records::root(), LINK_KEY)?;
            let own = OwnPerson { linking: false, ..self.state.own.clone() };
            self.state.set_own_person(own)?;
        }
        Ok(())
    }

    /// Makes the device that shows this offer one of this person's, and adds it to all groups.
    pub(crate) fn link_device(&mut self, id: OperationId, offer: &[u8]) -> Result<(), Fault> {
        let offer: DeviceOffer = frame::decode(offer).map_err(|_| Fault::DeviceOffer)?;
        let name = core::str::from_utf8(offer.device_name.as_slice());
        if offer.member == *self.identity.id.as_bytes()
            || name.is_err()
            || offer.device_name.0.len() > MAX_NAME_LEN
            || self.state.device(&offer.member)?.is_some()
            || !offer.is_signed()
        {
            return Err(Fault::DeviceOffer);
        }
        let key = self.person_key()?;
        let contact = self.state.own_contact()?;
        if contact.is_full() {
            return Err(Fault::TooManyDevices);
        }
        let keys = contact.keys()?;
        let body = DeviceBody {
            person: self.state.own.id,
            generation: keys.generation(),
            person_name: contact.name.as_bytes().into(),
            member: offer.member,
            mailbox: offer.address.mailbox(),
            device_key: offer.device_key,
            device_name: offer.device_name,
            serial: self.state.next_serial()?,
        };
        let link = Link {
            keys,
            certificate: body.certify(&key)?,
            contacts: List(self.given_contacts()?),
            titles: List(self.given_titles()),
        };
        let mail = Mail::Link(Opaque(seal(&link, &offer.link_key)?));
        let _request = self.send_mail(&offer.address, &mail)?;
        let mut packages = offer.packages.0.into_iter();
        let groups: Vec<_> = self.state.groups.iter().map(|(id, g)| (*id, g.standing)).collect();
        for (group, standing) in groups {
            if standing == Standing::Removed {
                continue;
            }
            match packages.next() {
                Some(package) => {
                    seat::read_offer(package.as_slice()).map_err(|_| Fault::DeviceOffer)?;
                    self.enqueue(&group, None, Work::Add(vec![package.0]))?;
                }
                None => {
                    let operation = Some(id.derived(&group.to_string()));
                    let mailbox = offer.address.mailbox();
                    let member = Some(offer.member);
                    let (digest, attempts) = ([0; 8], 0);
                    let claim = RequestRecord::Claim {
                        group,
                        mailbox,
                        member,
                        operation,
                        digest,
                        attempts,
                    };
                    self.state.add_request(&claim)?;
                }
            }
        }
        self.settle_done(id)
    }

    /// The other devices of this person follow this one into a group that it is in now.
    pub(crate) fn invite_own_devices(&mut self, group: &GroupId) -> Result<(), Fault> {
        if self.state.own.linking || !self.timers.devices_follow {
            return Ok(());
        }
        let there = seat::member_ids(self.group_seat(group)?);
        for member in self.state.own_contact()?.devices {
            let Some(device) = self.state.device(&member)? else { continue };
            let outside = there.iter().all(|known| *known.as_bytes() != member);
            if outside && device.revocation.is_none() {
                let (group, mailbox, member) = (*group, device.mailbox, Some(member));
                let (operation, digest, attempts) = (None, [0; 8], 0);
                let claim =
                    RequestRecord::Claim { group, mailbox, member, operation, digest, attempts };
                self.state.add_request(&claim)?;
            }
        }
        Ok(())
    }

    /// Whether the other devices of this person are invited to each group that this one founds or is invited
    /// to by somebody else, by their key packages in the directory; so it is unless set otherwise. It is not
    /// kept: set it after opening. [`Event::NotDelivered`](crate::Event::NotDelivered) tells of a device that has
    /// no key package there.
    pub const fn set_devices_follow(&mut self, follow: bool) {
        self.timers.devices_follow = follow;
    }

    fn given_contacts(&self) -> Result<Vec<GivenContact>, Fault> {
        let mut given = Vec::new();
        for (_, contact) in self.state.list::<ContactRecord>(&contact::people(), MAX_GIVEN)? {
            let (mut certificates, mut revocations) = (Vec::new(), Vec::new());
            let mut addresses = Vec::new();
            for member in &contact.devices {
                let Some(device) = self.state.device(member)? else { continue };
                certificates.push(device.certificate()?);
                revocations.extend(device.revocation()?);
                addresses.extend(device.address()?);
            }
            revocations.extend(contact.unclaimed()?);
            given.push(GivenContact {
                keys: contact.keys()?,
                name: contact.name.as_bytes().into(),
                trust: match contact.trust {
                    Trust::Pinned => 0,
                    Trust::Verified => 1,
                    Trust::Changed => 2,
                },
                certificates: List(certificates),
                revocations: List(revocations),
                addresses: List(addresses),
            });
        }
        Ok(given)
    }

    fn given_titles(&self) -> Vec<GivenTitle> {
        let groups = self.state.groups.iter().take(MAX_GIVEN);
        let titles = groups.map(|(group, record)| GivenTitle {
            group: *group,
            title: record.title.as_bytes().into(),
        });
        titles.collect()
    }

    /// Mail by which this device becomes one of the sender's.
    pub(crate) fn linked(&mut self, sealed: &[u8]) -> Result<Fate, Fault> {
        if !self.state.own.linking {
            return Ok(Fate::Malformed);
        }
        let secret = self.state.secret(LINK_KEY)?;
        let Some(link) = secret.and_then(|secret| open(sealed, &secret)) else {
            return Ok(Fate::Malformed);
        };
        let member = self.identity.id;
        let certificate = &link.certificate;
        let device = self.identity.device_key()?;
        let genuine = link.keys.verify()
            && certificate.is_of_person(&link.keys)
            && certificate.member() == member
            && certificate.body.mailbox == self.mailbox()
            && certificate.body.device_key == device.public_key();
        if !genuine {
            return Ok(Fate::Forged);
        }
        let id = link.keys.id();
        let mut own = self.state.own.clone();
        let former = core::mem::replace(&mut own.id, id);
        own.name = String::from_utf8_lossy(certificate.body.person_name.as_slice()).into_owned();
        own.linking = false;
        self.state.delete_contact(&former)?;
        self.state.delete(records::root(), PERSON_KEY)?;
        self.state.delete(records::root(), LINK_KEY)?;
        for given in link.contacts.0 {
            if let Some(id) = self.take_contact(&given)? {
                own.changed.insert(id);
            }
        }
        let mut contact = match self.state.contact(&id)? {
            Some(contact) => contact,
            None => ContactRecord::new(&link.keys, String::new())?,
        };
        contact.trust = Trust::Pinned;
        if !contact.devices.contains(member.as_bytes()) {
            contact.devices.push(*member.as_bytes());
        }
        let certificate = link.certificate.consent(&device)?;
        let device = DeviceRecord::new(&certificate, Some(&self.mail_address()?))?;
        contact.name.clone_from(&device.person_name);
        self.state.put_device(member.as_bytes(), &device)?;
        self.state.put_contact(&id, &contact)?;
        own.changed.remove(&id);
        self.state.set_own_person(own)?;
        for GivenTitle { group, title } in link.titles.0 {
            if self.state.groups.contains_key(&group) {
                let title = String::from_utf8_lossy(title.as_slice()).into_owned();
                self.state.group_mut(&group)?.title = title;
            }
        }
        self.state.emit(&EventRecord::Linked { person: id, name: contact.name })?;
        self.introduce_everywhere()?;
        Ok(Fate::Joined)
    }

    /// A contact, as the old device knows it; its id where its trust has fallen.
    fn take_contact(&mut self, given: &GivenContact) -> Result<Option<PersonId>, Fault> {
        let GivenContact { keys, name, trust, certificates, revocations, addresses } = given;
        let name = String::from_utf8_lossy(name.as_slice()).into_owned();
        let mut contact = ContactRecord::new(keys, name)?;
        contact.trust = match trust {
            0 => Trust::Pinned,
            1 => Trust::Verified,
            _ => Trust::Changed,
        };
        let own = *self.identity.id.as_bytes();
        for certificate in certificates.0.iter().filter(|known| known.body.member != own) {
            let member = certificate.body.member;
            let key = &certificate.body.device_key;
            let address = addresses.0.iter().find(|address| {
                address.is_of_device(&certificate.member(), key)
                    && address.mailbox() == certificate.body.mailbox
            });
            let mut device = DeviceRecord::new(certificate, address)?;
            let revocation = revocations.0.iter().find(|known| known.body.member == member);
            device.revocation = revocation.map(frame::encode).transpose()?;
            contact.devices.push(member);
            self.state.put_device(&member, &device)?;
        }
        for revocation in &revocations.0 {
            let member = revocation.body.member;
            if !contact.devices.contains(&member) {
                contact.revoked.push((member, frame::encode(revocation)?));
            }
        }
        self.state.put_contact(&keys.id(), &contact)?;
        Ok((contact.trust == Trust::Changed).then(|| keys.id()))
    }
}

impl DeviceOffer {
    /// Whether the device says where its mail goes.
    fn is_signed(&self) -> bool {
        self.address.is_of_device(&MemberId::from_bytes(self.member), &self.device_key)
    }
}

fn seal(link: &Link, to: &[u8; 32]) -> Result<Vec<u8>, Fault> {
    let plain = SecretBytes::new(frame::encode(link)?);
    let sealed = hpke::seal(&CONTEXT, to, plain.expose())?;
    let hpke::Sealed { encapsulated, ciphertext } = sealed.ok_or(Fault::DeviceOffer)?;
    frame::encode(&SealedLink { encapsulated, ciphertext })
}

fn open(sealed: &[u8], key: &SecretBytes) -> Option<Link> {
    let SealedLink { encapsulated, ciphertext } = frame::decode(sealed).ok()?;
    let key = key.expose().try_into().ok()?;
    let plain = hpke::open(&CONTEXT, key, encapsulated.as_slice(), ciphertext.as_slice());
    frame::decode(plain?.expose()).ok()
}
