//! Where a device gets its mail, and the keys that this is sealed to.
//!
//! The key is the device's own, signed by its device key, and a new one takes its place in time. It is not of one key package:
//! who lost its store, and was restored, still reads who invited it, and asks there.

use core::fmt;

use cc_core::{MemberId, Opaque, store::StoreError};
use serde::{Deserialize, Serialize};
use tls_codec::{TlsDeserializeBytes, TlsSerializeBytes, TlsSize};

use crate::{
    Client, Fault, LogId, Now, Recipe,
    contact::DeviceRecord,
    frame,
    hpke::{self, Kem},
    identity::Identity,
    person::{sign, signed},
    recipe::LayerKind,
    records::{self, StoredSecret},
    state::State,
};

/// What a device signs its address under.
const ADDRESS: &str = "mail address";
/// Under which the keys are in the store.
pub(crate) const MAIL_KEYS: &[u8] = b"mail keys";
/// Milliseconds for which mail is sealed to one key: 28 days.
pub(crate) const ROTATION: u64 = 28 * 24 * 3_600_000;
/// Milliseconds by which the clock of a device may be ahead of that of who reads its address: a day.
const AHEAD: u64 = 24 * 3_600_000;
/// Keys that are kept: one opens mail for 84 days after another has taken its place, as long as a key package lives. By their
/// number and not by the clock, for who forgets one that is in use loses invitations.
const KEPT: usize = 4;
/// Keys beside them that are kept of those that were made while the clock was ahead: where it goes back and forth, they do not
/// push out those that others seal to.
const KEPT_EARLY: usize = 12;

/// Where a device gets its mail, and what that is sealed to.
#[derive(Debug, Clone, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
pub(crate) struct MailAddress {
    pub(crate) body: AddressBody,
    /// Ed25519 by the device key, over a label and the body.
    pub(crate) signature: [u8; 64],
}

/// What the device signs.
#[derive(Debug, Clone, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
pub(crate) struct AddressBody {
    pub(crate) member: [u8; 32],
    pub(crate) mailbox: LogId,
    /// The newest counts: milliseconds since 1970 by the device's clock, or one more than the one before. One that is in the
    /// future counts less than all that are not ([`rank`]).
    pub(crate) serial: u64,
    /// As in the registry of HPKE.
    pub(crate) kem: u16,
    pub(crate) key: Opaque,
}

impl AddressBody {
    pub(crate) fn sign(
        self,
        device: &cc_primitives::ed25519::SigningKey,
    ) -> Result<MailAddress, Fault> {
        let signature = sign(device, ADDRESS, &self)?;
        Ok(MailAddress { body: self, signature })
    }
}

/// Of two addresses of one device the one whose serial has the greater rank counts. Who has stolen the device's key could sign
/// the greatest serial of all, which the device could not outnumber: so one of the future is below the others.
pub(crate) const fn rank(serial: u64, now: Now) -> (bool, u64) {
    (serial <= now.wall.saturating_add(AHEAD), serial)
}

impl MailAddress {
    pub(crate) const fn mailbox(&self) -> LogId {
        self.body.mailbox
    }

    /// Whether the member with this device key says so, and has a key to which this version can seal.
    pub(crate) fn is_of_device(&self, member: &MemberId, device_key: &[u8; 32]) -> bool {
        let AddressBody { member: own, key, .. } = &self.body;
        own == member.as_bytes()
            && self.kem().is_some_and(|kem| key.0.len() == kem.public_len())
            && signed(device_key, ADDRESS, &self.body, &self.signature)
    }

    pub(crate) fn kem(&self) -> Option<Kem> {
        Kem::of_id(self.body.kem)
    }
}

/// A key that opens mail, and the address that has it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MailKey {
    /// The [`MailAddress`], as it travels.
    address: Vec<u8>,
    pub(super) kem: u16,
    pub(super) public: Vec<u8>,
    pub(super) private: StoredSecret,
    /// It was made while the clock was ahead, and so before its time.
    early: bool,
}

/// The keys that open mail, the newest last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MailKeys {
    pub(super) keys: Vec<MailKey>,
    /// Since when the newest one is there, in milliseconds since 1970, once a clock was seen.
    since: Option<u64>,
}

impl fmt::Debug for MailKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MailKey(..)")
    }
}

impl MailKeys {
    /// The first one of a device.
    pub(crate) fn create(identity: &Identity) -> Result<Self, Fault> {
        Ok(Self { keys: vec![MailKey::generate(identity, 0)?], since: None })
    }

    /// The address that others are told.
    pub(crate) fn address(&self) -> Result<MailAddress, Fault> {
        let newest = self.keys.last().ok_or_else(damaged)?;
        frame::decode(&newest.address).map_err(|_| damaged())
    }

    /// A serial that counts by this clock, and more than those of before that do.
    fn next_serial(&self, now: Now) -> Result<u64, Fault> {
        let mut next = now.wall;
        for key in &self.keys {
            let address: MailAddress = frame::decode(&key.address).map_err(|_| damaged())?;
            if let (true, serial) = rank(address.body.serial, now) {
                next = next.max(serial.saturating_add(1));
            }
        }
        Ok(next)
    }

    /// Forgets keys of long ago.
    fn forget_old(&mut self) {
        let (mut kept, mut early) = (0, 0);
        let mut keys = core::mem::take(&mut self.keys);
        keys.reverse();
        keys.retain(|key| {
            let (count, most) =
                if key.early { (&mut early, KEPT_EARLY) } else { (&mut kept, KEPT) };
            *count += 1;
            *count <= most
        });
        keys.reverse();
        self.keys = keys;
    }

    /// The newest key stays, and its address gets this serial.
    fn renumber(&mut self, serial: u64, identity: &Identity) -> Result<(), Fault> {
        let body = AddressBody { serial, ..self.address()?.body };
        let address = frame::encode(&body.sign(&identity.device_key()?)?)?;
        self.keys.last_mut().ok_or_else(damaged)?.address = address;
        Ok(())
    }
}

impl MailKey {
    fn generate(identity: &Identity, serial: u64) -> Result<Self, Fault> {
        let kem = identity.recipe.mail_kem();
        let (private, public) = hpke::generate(kem)?;
        let body = AddressBody {
            member: *identity.id.as_bytes(),
            mailbox: identity.mailbox.address(),
            serial,
            kem: kem.id(),
            key: Opaque(public.clone()),
        };
        let address = frame::encode(&body.sign(&identity.device_key()?)?)?;
        Ok(Self { address, kem: kem.id(), public, private: StoredSecret(private), early: false })
    }
}

impl Recipe {
    /// What mail is sealed with: what a recipe promises against a quantum computer, it promises of who is in a group as well.
    pub(crate) fn mail_kem(&self) -> Kem {
        if self.has(LayerKind::MlKem768) { Kem::XWing } else { Kem::X25519 }
    }
}

impl State {
    fn put_mail_keys(&mut self, keys: MailKeys) -> Result<(), Fault> {
        self.put(records::root(), MAIL_KEYS, &keys)?;
        self.mail_keys = keys;
        Ok(())
    }
}

impl Client {
    /// The address that others are told.
    pub(crate) fn mail_address(&self) -> Result<MailAddress, Fault> {
        self.state.mail_keys.address()
    }

    /// Takes another key for mail where the one that there is has served its time, tells the groups, and forgets keys of long
    /// ago.
    pub(crate) fn renew_mail_key_if_due(&mut self, now: Now) -> Result<(), Fault> {
        let mut keys = self.state.mail_keys.clone();
        let Some(since) = keys.since else {
            keys.since = Some(now.wall);
            return self.state.put_mail_keys(keys);
        };
        if now.wall < since {
            // The clock was ahead, and so may the serial be, which counts for nobody whose clock is right.
            keys.since = Some(now.wall);
            if let (true, _) = rank(keys.address()?.body.serial, now) {
                return self.state.put_mail_keys(keys);
            }
            keys.renumber(keys.next_serial(now)?, &self.identity)?;
            keys.keys.last_mut().ok_or_else(damaged)?.early = true;
            self.tell_address(keys)?;
            return self.renew_later_leaves();
        }
        if now.wall - since < ROTATION {
            return Ok(());
        }
        let serial = keys.next_serial(now)?;
        keys.keys.push(MailKey::generate(&self.identity, serial)?);
        keys.forget_old();
        keys.since = Some(now.wall);
        self.tell_address(keys)
    }

    /// Others know a later address of this device than it has itself: of a store that was lost, or of a copy elsewhere.
    /// The one to which mail can be opened here is made the latest, and told; `false` where the other one is forged.
    pub(crate) fn outnumber_address(
        &mut self,
        told: &MailAddress,
        now: Now,
    ) -> Result<bool, Fault> {
        let mut keys = self.state.mail_keys.clone();
        let own = keys.address()?;
        if rank(told.body.serial, now) < rank(own.body.serial, now) || told.body == own.body {
            return Ok(true);
        }
        let device = self.identity.device_key()?.public_key();
        if told.mailbox() != own.mailbox() || !told.is_of_device(&self.identity.id, &device) {
            return Ok(false);
        }
        let mut serial = keys.next_serial(now)?;
        if let (true, told) = rank(told.body.serial, now) {
            serial = serial.max(told.saturating_add(1));
        }
        keys.renumber(serial, &self.identity)?;
        self.tell_address(keys)?;
        Ok(true)
    }

    /// Takes these keys, and tells the groups the address.
    fn tell_address(&mut self, keys: MailKeys) -> Result<(), Fault> {
        self.state.put_mail_keys(keys)?;
        let (member, address) = (self.identity.id, self.mail_address()?);
        if let Some(device) = self.state.device(member.as_bytes())? {
            let device = DeviceRecord { address: Some(frame::encode(&address)?), ..device };
            self.state.put_device(member.as_bytes(), &device)?;
        }
        self.introduce_everywhere()
    }
}

fn damaged() -> Fault {
    StoreError::corrupt("the keys for mail are malformed").into()
}
