//! Devices: which member of a group is a device of which person, signed by both, and which no longer is.

use cc_core::{MemberId, Opaque};
use cc_primitives::ed25519::SigningKey;
use tls_codec::{TlsDeserializeBytes, TlsSerializeBytes, TlsSize};

use crate::{
    Fault, LogId, PersonId,
    person::{PersonKeys, sign, signed},
};

/// Bytes of the longest name of a person or device.
pub(crate) const MAX_NAME_LEN: usize = 1024;

/// A person and a device say that they belong together. The person says it of the device's keys, so that
/// nobody has a device that it does not want; the device says it of the person, so that nobody claims the
/// device of somebody else.
#[derive(Debug, Clone, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
pub(crate) struct DeviceCertificate {
    pub(crate) body: DeviceBody,
    /// Over the body, by the person's key of the body's generation.
    pub(crate) person_signature: [u8; 64],
    /// Over the [`Consent`], by the device key.
    pub(crate) device_signature: [u8; 64],
}

/// What the person signs.
#[derive(Debug, Clone, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
pub(crate) struct DeviceBody {
    pub(crate) person: PersonId,
    /// Which of the person's keys signs.
    pub(crate) generation: u16,
    /// What the person is called, in UTF-8.
    pub(crate) person_name: Opaque,
    /// The member id of the device.
    pub(crate) member: [u8; 32],
    /// Where the device gets its mail.
    pub(crate) mailbox: LogId,
    /// Ed25519: the key with which the device signs in the MLS layer, to which its member id commits.
    pub(crate) device_key: [u8; 32],
    /// What the device is called, in UTF-8.
    pub(crate) device_name: Opaque,
    /// Counts what the person has signed: the newest counts.
    pub(crate) serial: u64,
}

/// What the device signs. It holds whichever key the person has.
#[derive(Debug, TlsSize, TlsSerializeBytes)]
struct Consent {
    person: PersonId,
    member: [u8; 32],
    mailbox: LogId,
}

const CERTIFICATE: &str = "device certificate";
const CONSENT: &str = "device consent";
const REVOCATION: &str = "device revocation";

impl DeviceBody {
    /// Signed by the person. The device's signature is still to come.
    pub(crate) fn certify(self, person: &SigningKey) -> Result<DeviceCertificate, Fault> {
        let person_signature = sign(person, CERTIFICATE, &self)?;
        Ok(DeviceCertificate { body: self, person_signature, device_signature: [0; 64] })
    }

    fn consent(&self) -> Consent {
        Consent { person: self.person, member: self.member, mailbox: self.mailbox }
    }
}

impl DeviceCertificate {
    /// Signed by the device as well.
    pub(crate) fn consent(mut self, device: &SigningKey) -> Result<Self, Fault> {
        self.device_signature = sign(device, CONSENT, &self.body.consent())?;
        Ok(self)
    }

    /// The device's name, and others, under another key of the person: the device has agreed before.
    pub(crate) fn renew(&self, person: &SigningKey, body: DeviceBody) -> Result<Self, Fault> {
        let device_signature = self.device_signature;
        Ok(Self { device_signature, ..body.certify(person)? })
    }

    /// Whether the person says so, and its names are names.
    pub(crate) fn is_of_person(&self, keys: &PersonKeys) -> bool {
        let DeviceBody { person, generation, person_name, device_name, .. } = &self.body;
        let names = [person_name, device_name];
        let names =
            names.map(|name| name.0.len() <= MAX_NAME_LEN && core::str::from_utf8(&name.0).is_ok());
        let key = keys.key(*generation).filter(|_| keys.id() == *person);
        names == [true; 2]
            && key.is_some_and(|key| signed(key, CERTIFICATE, &self.body, &self.person_signature))
    }

    /// Whether the device says so: the one with `device_key`, as its group knows it.
    pub(crate) fn is_of_device(&self, device_key: &[u8; 32]) -> bool {
        self.body.device_key == *device_key
            && signed(device_key, CONSENT, &self.body.consent(), &self.device_signature)
    }

    pub(crate) const fn member(&self) -> MemberId {
        MemberId::from_bytes(self.body.member)
    }

    /// Which of two certificates of one device counts.
    pub(crate) const fn age(&self) -> (u16, u64) {
        (self.body.generation, self.body.serial)
    }
}

/// A device is no longer one of the person's.
#[derive(Debug, Clone, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
pub(crate) struct Revocation {
    pub(crate) body: RevocationBody,
    /// By the person's key of the body's generation.
    pub(crate) signature: [u8; 64],
}

/// What is signed of a [`Revocation`].
#[derive(Debug, Clone, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
pub(crate) struct RevocationBody {
    pub(crate) person: PersonId,
    pub(crate) generation: u16,
    pub(crate) member: [u8; 32],
}

impl RevocationBody {
    pub(crate) fn sign(self, person: &SigningKey) -> Result<Revocation, Fault> {
        let signature = sign(person, REVOCATION, &self)?;
        Ok(Revocation { body: self, signature })
    }
}

impl Revocation {
    /// Whether the person says so, by the key that is in force: who has an old one revokes nothing.
    pub(crate) fn is_of_person(&self, keys: &PersonKeys) -> bool {
        let RevocationBody { person, generation, .. } = &self.body;
        *person == keys.id()
            && *generation == keys.generation()
            && signed(keys.current(), REVOCATION, &self.body, &self.signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::person::new_key;

    #[test]
    fn a_certificate_takes_the_person_and_the_device() {
        let [person, device, thief] = [(); 3].map(|()| new_key().unwrap());
        let keys = PersonKeys::first(&person);
        let device_key = device.public_key();
        let body = DeviceBody {
            person: keys.id(),
            generation: 0,
            person_name: Opaque(b"Alice".to_vec()),
            member: [7; 32],
            mailbox: LogId::from_bytes([8; 32]),
            device_key,
            device_name: Opaque(b"Telephone".to_vec()),
            serial: 1,
        };
        let good = body.clone().certify(&person).unwrap().consent(&device).unwrap();
        assert!(good.is_of_person(&keys) && good.is_of_device(&device_key));
        let bytes = crate::frame::encode(&good).unwrap();
        assert_eq!(crate::frame::decode(&bytes), Ok(good.clone()));
        // Claimed by somebody else, with and without a signature of the device.
        let thiefs = PersonKeys::first(&thief);
        let claim = DeviceBody { person: thiefs.id(), ..body.clone() };
        let mut claimed = claim.clone().certify(&thief).unwrap();
        assert!(claimed.is_of_person(&thiefs) && !claimed.is_of_device(&device_key));
        claimed.device_signature = good.device_signature;
        assert!(!claimed.is_of_device(&device_key));
        let other = DeviceBody { device_key: thief.public_key(), ..claim };
        let other = other.certify(&thief).unwrap().consent(&thief).unwrap();
        assert!(!other.is_of_device(&device_key));
        // Somebody else's signature for the person, and any field that is changed.
        assert!(!body.certify(&thief).unwrap().is_of_person(&keys));
        let changed = |change: fn(&mut DeviceBody)| {
            let mut certificate = good.clone();
            change(&mut certificate.body);
            certificate.is_of_person(&keys)
        };
        assert!(!changed(|body| body.member[0] ^= 1));
        assert!(!changed(|body| body.serial += 1));
        assert!(!changed(|body| body.device_name.0.push(0)));
        assert!(!changed(|body| body.generation = 1));
        assert!(!changed(|body| body.mailbox = LogId::from_bytes([9; 32])));
    }

    #[test]
    fn a_revocation_is_by_the_key_in_force() {
        let [person, next] = [(); 2].map(|()| new_key().unwrap());
        let keys = PersonKeys::first(&person);
        let body = RevocationBody { person: keys.id(), generation: 0, member: [7; 32] };
        let revocation = body.clone().sign(&person).unwrap();
        assert!(revocation.is_of_person(&keys));
        assert!(!body.clone().sign(&next).unwrap().is_of_person(&keys));
        let later = keys.replaced(&person, &next).unwrap();
        assert!(!revocation.is_of_person(&later));
        assert!(RevocationBody { generation: 1, ..body }.sign(&next).unwrap().is_of_person(&later));
    }
}
