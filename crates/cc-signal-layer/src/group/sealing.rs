//! One secret for one member, sealed to a pair of its prekeys as the first message of a new PQXDH
//! session is (sections 3.3 and 3.4 of its specification), and nothing after it: there is no session
//! that could be stolen.
//!
//! | bytes | what |
//! |---|---|
//! | 32 | ephemeral key |
//! | 1568 | ML-KEM-1024 ciphertext |
//! | 32 + 16 | the secret, encrypted with AES-256-GCM, and the tag |
//!
//! In a commit the sender's identity takes part (`DH1`), which is known from the commit's message. In
//! a welcome it does not: the inviter is not shown to observers, and signs what the secret opens.

use alloc::vec::Vec;

use cc_core::Secret;
use sha2::{Digest, Sha256};

use super::member_keys::{PrekeyPair, Prekeys};
use crate::{
    Error, IdentityKey, IdentityKeyPair,
    codec::Reader,
    curve::{KeyPair, PublicKey},
    entropy::System,
    kem::CIPHERTEXT_LEN,
    message_key::{MessageKey, NO_SALT, OneTimeKey as _, TAG_LEN},
    scrub::scrubbed,
    x3dh::Agreement,
};

pub(super) const SEALED_LEN: usize = 32 + CIPHERTEXT_LEN + 32 + TAG_LEN;

/// Seals `secret` to the owner of `identity` and `prekeys`; `ad` is authenticated, and says to whom.
pub(super) fn seal(
    sender: Option<&IdentityKeyPair>,
    identity: &IdentityKey,
    prekeys: &Prekeys,
    ad: &[u8],
    secret: &Secret<32>,
) -> Result<Vec<u8>, Error> {
    let ephemeral = KeyPair::generate()?;
    let mut agreement = Agreement::start();
    if let Some(sender) = sender {
        agreement.add(&sender.agreement().agree(&prekeys.curve)?);
    }
    agreement.add(&ephemeral.agree(identity.agreement())?);
    agreement.add(&ephemeral.agree(&prekeys.curve)?);
    let (ciphertext, shared) = prekeys.kem()?.encapsulate(&mut System)?;
    agreement.add(&shared);

    let mut sealed = Vec::with_capacity(SEALED_LEN);
    sealed.extend_from_slice(ephemeral.public().as_bytes());
    sealed.extend_from_slice(&ciphertext[..]);
    let ad = associated_data(ad, &sealed);
    let mut text = zeroize::Zeroizing::new(*secret.expose());
    let tag = scrubbed(|| {
        let key = MessageKey::new(agreement.derive(info(sender.is_some()))?);
        key.encrypt(&NO_SALT, &ad, &mut *text)
    })?;
    sealed.extend_from_slice(&*text);
    sealed.extend_from_slice(&tag);
    Ok(sealed)
}

/// Opens what [`seal`] made. Its length is checked.
pub(super) fn open(
    sender: Option<&IdentityKey>,
    identity: &IdentityKeyPair,
    prekeys: &PrekeyPair,
    ad: &[u8],
    sealed: &[u8],
) -> Result<Secret<32>, Error> {
    let mut reader = Reader::new(sealed);
    let ephemeral = PublicKey::from_bytes(reader.array()?)?;
    let ciphertext = reader.array::<CIPHERTEXT_LEN>()?;
    let mut secret: Secret<32> = reader.secret()?;
    let tag = reader.array::<TAG_LEN>()?;
    reader.finish()?;

    let mut agreement = Agreement::start();
    if let Some(sender) = sender {
        agreement.add(&prekeys.curve.agree(sender.agreement())?);
    }
    agreement.add(&identity.agreement().agree(&ephemeral)?);
    agreement.add(&prekeys.curve.agree(&ephemeral)?);
    agreement.add(&prekeys.kem.decapsulate(&ciphertext));
    let front = sealed.get(..32 + CIPHERTEXT_LEN).ok_or(Error::Malformed)?;
    let ad = associated_data(ad, front);
    scrubbed(|| {
        let key = MessageKey::new(agreement.derive(info(sender.is_some()))?);
        key.decrypt(&NO_SALT, &ad, secret.expose_mut(), &tag)
    })?;
    Ok(secret)
}

fn associated_data(ad: &[u8], front: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update(b"cc-signal/1 sealed secret")
        .chain_update((ad.len() as u64).to_be_bytes())
        .chain_update(ad)
        .chain_update(front)
        .finalize()
        .into()
}

fn info(authenticated: bool) -> &'static [u8] {
    if authenticated { b"cc-signal/1 group commit" } else { b"cc-signal/1 group welcome" }
}
