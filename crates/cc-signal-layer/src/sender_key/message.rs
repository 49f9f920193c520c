//! A Sender Key message and what is computed from its parts.

use alloc::vec::Vec;

use cc_primitives::ed25519::VerifyingKey;
use sha2::{Digest, Sha256};

use crate::{Error, codec::Reader, message_key::TAG_LEN, wire};

/// Which chain a group message is of, if it is one.
pub(crate) fn message_chain_id(message: &[u8]) -> Option<[u8; 8]> {
    let (kind, rest) = message.split_first()?;
    (*kind == wire::SENDER_KEY_MESSAGE).then(|| rest.first_chunk().copied()).flatten()
}

pub(super) fn chain_id(verifying: &VerifyingKey, sender: &[u8]) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..]: [u8; 32] = Sha256::new()
        .chain_update(ID_LABEL)
        .chain_update(verifying.as_bytes())
        .chain_update(sender)
        .finalize()
        .into();
    [a, b, c, d, e, f, g, h]
}

pub(super) fn verifying_key(bytes: &[u8; 32]) -> Result<VerifyingKey, Error> {
    VerifyingKey::from_bytes(bytes).ok_or(Error::InvalidKey)
}

pub(super) fn associated_data(head: &[u8; HEAD_LEN], ad: &[u8]) -> Vec<u8> {
    let mut all = Vec::with_capacity(HEAD_LEN + ad.len());
    all.extend_from_slice(head);
    all.extend_from_slice(ad);
    all
}

/// A message, cut into its parts.
pub(super) struct Parts<'a> {
    pub(super) head: &'a [u8; HEAD_LEN],
    pub(super) body: &'a mut [u8],
    pub(super) tag: &'a [u8; TAG_LEN],
    signature: &'a [u8; SIGNATURE_LEN],
}

impl Parts<'_> {
    pub(super) fn verify(&self, verifying: &VerifyingKey, sender: &[u8], ad: &[u8]) -> bool {
        let signed = signed(sender, ad, self.head, self.body, self.tag);
        verifying.verify(&signed, self.signature).is_ok()
    }
}

pub(super) fn split(message: &mut [u8]) -> Result<Parts<'_>, Error> {
    let (head, rest) = message.split_first_chunk_mut().ok_or(Error::Undecryptable)?;
    let (rest, signature) = rest.split_last_chunk_mut().ok_or(Error::Undecryptable)?;
    let (body, tag) = rest.split_last_chunk_mut().ok_or(Error::Undecryptable)?;
    Ok(Parts { head, body, tag, signature })
}

pub(super) fn number_and_salt(head: &[u8; HEAD_LEN]) -> Result<(u32, [u8; SALT_LEN]), Error> {
    let mut reader = Reader::new(head);
    reader.take(1 + 8)?;
    Ok((reader.u32()?, reader.array()?))
}

/// What is signed. The sender's name is in it, so that a chain is of one sender only. The associated data is
/// in it although the tag covers it: every member knows the message key, and under a known key other data
/// with the same tag is easy to find.
pub(super) fn signed(sender: &[u8], ad: &[u8], head: &[u8], body: &[u8], tag: &[u8]) -> Vec<u8> {
    let len = SIGNATURE_LABEL.len() + 8 + sender.len() + 8 + ad.len();
    let mut all = Vec::with_capacity(len + head.len() + body.len() + tag.len());
    all.extend_from_slice(SIGNATURE_LABEL);
    for part in [sender, ad] {
        all.extend_from_slice(&(part.len() as u64).to_be_bytes());
        all.extend_from_slice(part);
    }
    for part in [head, body, tag] {
        all.extend_from_slice(part);
    }
    all
}

pub(super) type Sealed = ([u8; HEAD_LEN], [u8; TAG_LEN], [u8; SIGNATURE_LEN]);

pub(super) const HEAD_LEN: usize = 1 + 8 + 4 + SALT_LEN;
pub(super) const SALT_LEN: usize = 12;
pub(super) const SIGNATURE_LEN: usize = 64;
const ID_LABEL: &[u8] = b"cc-signal/1 sender key id";
const SIGNATURE_LABEL: &[u8] = b"cc-signal/1 sender key message";
