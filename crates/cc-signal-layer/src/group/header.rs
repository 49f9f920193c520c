//! The header of a group message: who sent it, the place in the sender's chain, and the signature.
//! Only who is in the epoch can read it.

use alloc::boxed::Box;

use cc_core::{Secret, key_use};
use cc_primitives::aes_gcm::LongNonceAesGcm;
use zeroize::Zeroizing;

use crate::{Error, codec::Reader, kdf::Prf, message_key::TAG_LEN, scrub::scrubbed};

pub(super) const SALT_LEN: usize = 16;
pub(super) const ENCRYPTED_LEN: usize = PLAIN_LEN + TAG_LEN;

pub(super) struct Header {
    /// The index of the sender in its epoch.
    pub(super) sender: u32,
    /// The number of the message in the sender's chain.
    pub(super) number: u32,
    pub(super) signature: [u8; 64],
}

/// The header key of an epoch, with its AES key schedule.
pub(super) struct HeaderKey {
    key: Secret<32>,
    aead: Box<LongNonceAesGcm>,
}

/// Hides the number of the epoch: known to all who ever were in the group, so that members who are
/// behind can tell a message of a later epoch from garbage.
pub(super) struct EpochMask {
    key: Secret<32>,
    prf: Prf,
}

impl HeaderKey {
    pub(super) fn new(key: Secret<32>) -> Self {
        let aead = scrubbed(|| Box::new(LongNonceAesGcm::new(key.expose())));
        Self { key, aead }
    }

    pub(super) fn secret(&self) -> &Secret<32> {
        &self.key
    }

    /// `salt` is random and used once.
    pub(super) fn encrypt(
        &self,
        salt: &[u8; SALT_LEN],
        header: &Header,
    ) -> Result<[u8; ENCRYPTED_LEN], Error> {
        key_use::record("signal group header", self.key.expose(), salt);
        let mut encrypted = [0; ENCRYPTED_LEN];
        let (plain, tag) = encrypted.split_at_mut(PLAIN_LEN);
        let fields = [&header.sender.to_be_bytes()[..], &header.number.to_be_bytes()];
        let bytes = fields.into_iter().flatten().chain(&header.signature);
        plain.iter_mut().zip(bytes).for_each(|(byte, value)| *byte = *value);
        let made = self.aead.seal(salt, &[], plain).map_err(|_| Error::Primitive)?;
        tag.copy_from_slice(&made);
        Ok(encrypted)
    }

    pub(super) fn decrypt(
        &self,
        salt: &[u8; SALT_LEN],
        encrypted: &[u8; ENCRYPTED_LEN],
    ) -> Result<Header, Error> {
        let mut reader = Reader::new(encrypted);
        let mut plain = Zeroizing::new(reader.array::<PLAIN_LEN>()?);
        let tag = reader.array::<TAG_LEN>()?;
        self.aead.open(salt, &[], &mut plain[..], &tag).map_err(|_| Error::Undecryptable)?;
        let mut reader = Reader::new(&plain[..]);
        Ok(Header { sender: reader.u32()?, number: reader.u32()?, signature: reader.array()? })
    }
}

impl EpochMask {
    pub(super) fn new(key: Secret<32>) -> Self {
        let prf = Prf::new(&key);
        Self { key, prf }
    }

    pub(super) fn secret(&self) -> &Secret<32> {
        &self.key
    }

    /// Tells whether two members have one mask, and nothing about it.
    pub(super) fn commitment(&self) -> [u8; 32] {
        // No salt is as long.
        *self.prf.evaluate(b"cc-signal/1 mask commitment").expose()
    }

    /// Masks a number, and takes the mask off again.
    pub(super) fn apply(&self, salt: &[u8; SALT_LEN], number: [u8; 8]) -> [u8; 8] {
        let mask = self.prf.evaluate(salt);
        let mut masked = number;
        masked.iter_mut().zip(mask.expose()).for_each(|(byte, mask)| *byte ^= mask);
        masked
    }
}

const PLAIN_LEN: usize = 4 + 4 + 64;
