//! The share of a recipient, wrapped by HPKE (RFC 9180) in base mode, section 5.1.1: DHKEM(X25519,
//! HKDF-SHA256) or DHKEM(P-256, HKDF-SHA256), HKDF-SHA256 and AES-256-GCM.

use cc_core::{Secret, SecretBytes, key_use, random, with_clean_stack};
use cc_dh_layer::{Curve, DhPublicKey};
use cc_primitives::hpke::HpkePrimitives;
use hpke_rs::{
    Hpke, HpkeError, HpkePrivateKey, HpkePublicKey, Mode,
    hpke_types::{AeadAlgorithm, KdfAlgorithm, KemAlgorithm},
};

use crate::{FileError, Identity, KeyKind, Recipient};

/// The body of the stanza: the encapsulated key, and the ciphertext of the share with its tag.
pub(crate) fn wrap(
    share: &Secret<32>,
    recipient: &Recipient,
    associated_data: &[u8],
) -> Result<Vec<u8>, FileError> {
    let mut hpke = suite(recipient.kind())?;
    let public = HpkePublicKey::new(Vec::from(recipient.key().point()));
    let (encapsulated, ciphertext) = with_clean_stack::<STACK, _>(|| {
        hpke.seal(&public, INFO, associated_data, share.expose(), None, None, None)
    })
    .map_err(|error| match error {
        HpkeError::InsufficientRandomness => FileError::Random(cc_core::RandomError),
        _ => FileError::Internal("HPKE"),
    })?;
    // The library does not show the key and nonce. An encapsulated key that comes only once is of a private
    // key that was drawn only once, and so are they.
    key_use::record("file hpke", &encapsulated, recipient.key().point());
    Ok([encapsulated, ciphertext].concat())
}

/// The share, where the body was wrapped to this identity and under this associated data.
pub(crate) fn unwrap(
    body: &[u8],
    identity: &Identity,
    associated_data: &[u8],
) -> Result<Option<Secret<32>>, FileError> {
    let kind = identity.recipient().kind();
    let curve = identity.recipient().key().curve();
    if Some(body.len()) != body_len(kind) {
        return Ok(None);
    }
    let Some((encapsulated, ciphertext)) = body.split_at_checked(curve.public_key_len()) else {
        return Ok(None);
    };
    // Stricter than the library: the canonical encoding, and no point of low order.
    let Ok(encapsulated) = DhPublicKey::from_point(curve, encapsulated) else {
        return Ok(None);
    };
    let hpke = suite(kind)?;
    let private = HpkePrivateKey::new(identity.keys().private_key().expose().to_vec());
    let opened = with_clean_stack::<STACK, _>(|| {
        let encapsulated = encapsulated.point();
        hpke.open(encapsulated, &private, INFO, associated_data, ciphertext, None, None, None)
    });
    Ok(opened.ok().map(SecretBytes::new).and_then(|share| Secret::copy_from(share.expose())))
}

/// Bytes of the body of a stanza of this kind, where it is known.
pub(crate) const fn body_len(kind: KeyKind) -> Option<usize> {
    let curve = match kind {
        KeyKind::X25519 => Curve::X25519,
        KeyKind::P256 => Curve::P256,
        KeyKind::Unknown(_) => return None,
    };
    Some(curve.public_key_len() + 32 + TAG_LEN)
}

/// The library seeds a generator of its own for every suite that it makes, also to open, and panics when
/// the operating system refuses. Asking first turns a generator that fails into an error.
fn suite(kind: KeyKind) -> Result<Hpke<HpkePrimitives>, FileError> {
    let _: [u8; 32] = random::array()?;
    let kem = match kind {
        KeyKind::X25519 => KemAlgorithm::DhKem25519,
        KeyKind::P256 => KemAlgorithm::DhKemP256,
        KeyKind::Unknown(_) => return Err(FileError::Internal("HPKE")),
    };
    Ok(Hpke::new(Mode::Base, kem, KdfAlgorithm::HkdfSha256, AeadAlgorithm::Aes256Gcm))
}

const INFO: &[u8] = b"cascading-cipher/1 file recipient";
const TAG_LEN: usize = 16;
/// What an encapsulation and the AEAD behind it leave on the stack is within this.
const STACK: usize = 16 << 10;
