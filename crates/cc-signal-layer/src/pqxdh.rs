//! PQXDH, the post-quantum extension of X3DH (sections 3.3 and 3.4 of its specification): the
//! same agreement with a secret encapsulated to the responder's post-quantum prekey added.
//!
//! The specification's security considerations ask a KEM whose shared secret does not depend on
//! the public key to put that key into the associated data. ML-KEM's does (FIPS 203 algorithm 17
//! hashes the encapsulation key into it), and the session id covers the ciphertext as well.

use alloc::boxed::Box;

use cc_core::Secret;

use crate::{
    Error,
    entropy::Entropy,
    kem::{CIPHERTEXT_LEN, KemKeyPair, KemPublicKey},
    x3dh::Agreement,
};

/// The initiator's half: the KEM ciphertext to send, and `SK`.
pub(crate) fn initiator(
    mut agreement: Agreement,
    prekey: &KemPublicKey,
    entropy: &mut impl Entropy,
) -> Result<(Box<[u8; CIPHERTEXT_LEN]>, Secret<32>), Error> {
    let (ciphertext, shared) = prekey.encapsulate(entropy)?;
    agreement.add(&shared);
    Ok((ciphertext, agreement.derive(INFO)?))
}

/// The responder's half: `SK`.
pub(crate) fn responder(
    mut agreement: Agreement,
    prekey: &KemKeyPair,
    ciphertext: &[u8; CIPHERTEXT_LEN],
) -> Result<Secret<32>, Error> {
    agreement.add(&prekey.decapsulate(ciphertext));
    agreement.derive(INFO)
}

const INFO: &[u8] = b"CascadingCipher_CURVE25519_SHA-256_ML-KEM-1024";
