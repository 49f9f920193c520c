//! A message of a group. 128 bytes and the text, in a group of any size:
//!
//! | bytes | what |
//! |---|---|
//! | 16 | salt: random, the nonce of the header, and mixed into the message key |
//! | 8 | the epoch, masked |
//! | 72 + 16 | the header (4 index of the sender, 4 number in its chain, 64 signature) under the header key of the epoch, and tag |
//! | n + 16 | the text under the message key, and tag |
//!
//! The signature covers the transcript of the epoch, the associated data, salt, sender, number and
//! ciphertext. It is verified before a chain is walked.

use cc_core::{Buffer, LayerError};
use cc_primitives::ed25519::SigningKey;
use sha2::{Digest, Sha256};

use super::{
    epoch::Epoch,
    header::{ENCRYPTED_LEN, EpochMask, Header, SALT_LEN},
    sender::Sender,
};
use crate::{
    Error, Limits,
    codec::Reader,
    entropy::{Entropy, System},
    message_key::{MessageKey, OneTimeKey as _, TAG_LEN},
    scrub::scrubbed,
};

/// What is before the text.
const FRONT_LEN: usize = SALT_LEN + 8 + ENCRYPTED_LEN;

/// What is before the text, taken off a received message.
pub(super) struct Front {
    salt: [u8; SALT_LEN],
    masked: [u8; 8],
    header: [u8; ENCRYPTED_LEN],
}

/// Encrypts the buffer under the key that `chain` gives.
pub(super) fn seal(
    epoch: &Epoch,
    mask: &EpochMask,
    signing: &SigningKey,
    (number, key): (u32, MessageKey),
    ad: &[u8],
    buffer: &mut Buffer,
) -> Result<(), Error> {
    let salt: [u8; SALT_LEN] = System.array()?;
    let ad = associated_data(ad, epoch);
    let tag = scrubbed(|| key.encrypt(&salt, &ad, buffer.as_mut_slice()))?;
    let signed = signed(&ad, &salt, epoch.own, number, buffer.as_slice(), &tag);
    let signature = scrubbed(|| signing.sign(&signed));
    let header = Header { sender: epoch.own, number, signature };
    buffer.prepend(&epoch.header.encrypt(&salt, &header)?);
    buffer.prepend(&mask.apply(&salt, epoch.number.to_be_bytes()));
    buffer.prepend(&salt);
    buffer.append(&tag);
    Ok(())
}

/// Decrypts the buffer, from which `front` was taken: the index of the sender, and the sender with the
/// chain as it is then.
pub(super) fn open(
    epoch: &Epoch,
    front: &Front,
    ad: &[u8],
    buffer: &mut Buffer,
    limits: &Limits,
) -> Result<(usize, Sender), LayerError> {
    let Header { sender: index, number, signature } =
        epoch.header.decrypt(&front.salt, &front.header)?;
    let place = usize::try_from(index).map_err(|_| LayerError::rejected())?;
    let sender = epoch.senders.get(place).ok_or(LayerError::rejected())?;
    let ad = associated_data(ad, epoch);
    let tag = buffer.take_back::<TAG_LEN>().ok_or(LayerError::rejected())?;
    let signed = signed(&ad, &front.salt, index, number, buffer.as_slice(), &tag);
    // The signature first: another member of the group must not make us walk the chain.
    sender.verifying.verify(&signed, &signature).map_err(|_| LayerError::rejected())?;
    let chain = sender.chain.as_ref().ok_or(LayerError::own())?;
    let chain = scrubbed(|| {
        let (key, chain) = chain.take(number, epoch.number, limits)?;
        key.decrypt(&front.salt, &ad, buffer.as_mut_slice(), &tag)?;
        Ok::<_, LayerError>(chain)
    })?;
    Ok((place, sender.with_chain(chain)))
}

impl Front {
    pub(super) fn take(buffer: &mut Buffer) -> Result<Self, Error> {
        let front = buffer.take_front::<FRONT_LEN>().ok_or(Error::Undecryptable)?;
        let mut reader = Reader::new(&front);
        Ok(Self { salt: reader.array()?, masked: reader.array()?, header: reader.array()? })
    }

    /// The epoch that the message claims to be of.
    pub(super) fn epoch(&self, mask: &EpochMask) -> u64 {
        u64::from_be_bytes(mask.apply(&self.salt, self.masked))
    }
}

fn associated_data(ad: &[u8], epoch: &Epoch) -> [u8; 32] {
    Sha256::new()
        .chain_update(b"cc-signal/1 group message")
        .chain_update(epoch.transcript)
        .chain_update(ad)
        .finalize()
        .into()
}

/// What is signed: a label, and SHA-256 of all there is. The associated data is in it although the tag
/// covers it: every member knows the message key, and under a known key other data with the same tag
/// is easy to find.
fn signed(
    ad: &[u8; 32],
    salt: &[u8; SALT_LEN],
    sender: u32,
    number: u32,
    body: &[u8],
    tag: &[u8; TAG_LEN],
) -> [u8; SIGNATURE_LABEL.len() + 32] {
    let digest = Sha256::new()
        .chain_update(ad)
        .chain_update(salt)
        .chain_update(sender.to_be_bytes())
        .chain_update(number.to_be_bytes())
        .chain_update(tag)
        .chain_update(body)
        .finalize();
    let mut signed = [0; SIGNATURE_LABEL.len() + 32];
    let bytes = SIGNATURE_LABEL.iter().chain(digest.iter());
    signed.iter_mut().zip(bytes).for_each(|(byte, value)| *byte = *value);
    signed
}

const SIGNATURE_LABEL: &[u8; 31] = b"cc-signal/1 group message sent ";
