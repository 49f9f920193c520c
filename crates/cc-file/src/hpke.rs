//! The share of a recipient, wrapped by HPKE (RFC 9180) in base mode, section 5.1.1: DHKEM(X25519,
//! HKDF-SHA256), DHKEM(P-256, HKDF-SHA256) or X-Wing, HKDF-SHA256 and AES-256-GCM.
//!
//! X-Wing (draft-connolly-cfrg-xwing-kem-06, KEM 0x647a) is the hybrid KEM that HPKE has a number for. The groups of the ML-KEM layer seal in AuthPSK mode instead, because they
//! authenticate the sender, which X-Wing has no mode for.

use cc_core::{Secret, SecretBytes, key_use, random, with_clean_stack};
use cc_dh_layer::DhPublicKey;
use cc_primitives::hpke::HpkePrimitives;
use hpke_rs::{
    Hpke, HpkeError, HpkePrivateKey, HpkePublicKey, Mode,
    hpke_types::{AeadAlgorithm, KdfAlgorithm, KemAlgorithm},
};
use hpke_rs_crypto::HpkeCrypto as _;

use crate::{FileError, Identity, KeyKind, Recipient};

/// The body of the stanza: the encapsulated key, and the ciphertext of the share with its tag.
pub(crate) fn wrap(
    share: &Secret<32>,
    recipient: &Recipient,
    associated_data: &[u8],
) -> Result<Vec<u8>, FileError> {
    let mut hpke = suite(recipient.kind())?;
    let point = recipient.to_bytes();
    let public = HpkePublicKey::new(point.clone());
    let (encapsulated, ciphertext) = with_clean_stack::<STACK, _>(|| {
        hpke.seal(&public, INFO, associated_data, share.expose(), None, None, None)
    })
    .map_err(|error| match error {
        HpkeError::InsufficientRandomness => FileError::Random(cc_core::RandomError),
        _ => FileError::Internal("HPKE"),
    })?;
    // The library does not show the key and nonce. An encapsulated key that comes only once is of a private
    // key that was drawn only once, and so are they.
    key_use::record("file hpke", &encapsulated, &point);
    Ok([encapsulated, ciphertext].concat())
}

/// The share, where the body was wrapped to this identity and under this associated data.
pub(crate) fn unwrap(
    body: &[u8],
    identity: &Identity,
    associated_data: &[u8],
) -> Result<Option<Secret<32>>, FileError> {
    let kind = identity.recipient().kind();
    if Some(body.len()) != body_len(kind) {
        return Ok(None);
    }
    let Some((encapsulated, ciphertext)) = body.split_at_checked(encapsulated_len(kind)) else {
        return Ok(None);
    };
    // Stricter than the library: the canonical encoding, and no point of low order. X-Wing hashes the bytes of its
    // X25519 key, and so takes each encoding for another one.
    if kind.curve().is_some_and(|curve| DhPublicKey::from_point(curve, encapsulated).is_err()) {
        return Ok(None);
    }
    let hpke = suite(kind)?;
    let private = HpkePrivateKey::new(identity.private_key().expose().to_vec());
    let opened = with_clean_stack::<STACK, _>(|| {
        hpke.open(encapsulated, &private, INFO, associated_data, ciphertext, None, None, None)
    });
    Ok(opened.ok().map(SecretBytes::new).and_then(|share| Secret::copy_from(share.expose())))
}

/// Bytes of the body of a stanza of this kind, where it is known.
pub(crate) const fn body_len(kind: KeyKind) -> Option<usize> {
    match encapsulated_len(kind) {
        0 => None,
        len => Some(len + 32 + TAG_LEN),
    }
}

/// Bytes of an encapsulated key; 0 where the kind is not known.
const fn encapsulated_len(kind: KeyKind) -> usize {
    match (kind, kind.curve()) {
        (KeyKind::XWing, _) => 1088 + 32,
        (_, Some(curve)) => curve.public_key_len(),
        (_, None) => 0,
    }
}

/// The public key of an X-Wing seed, 1216 bytes.
pub(crate) fn hybrid_public_key(seed: &Secret<32>) -> Result<Vec<u8>, FileError> {
    let made = with_clean_stack::<STACK, _>(|| {
        HpkePrimitives::kem_key_gen_derand(KemAlgorithm::XWingDraft06, seed.expose())
    });
    let (public, private) = made.map_err(|_| FileError::Internal("X-Wing"))?;
    drop(SecretBytes::new(private));
    Ok(public)
}

/// The library seeds a generator of its own for every suite that it makes, also to open, and panics when
/// the operating system refuses. Asking first turns a generator that fails into an error.
fn suite(kind: KeyKind) -> Result<Hpke<HpkePrimitives>, FileError> {
    let _: [u8; 32] = random::array()?;
    let kem = match kind {
        KeyKind::X25519 => KemAlgorithm::DhKem25519,
        KeyKind::P256 => KemAlgorithm::DhKemP256,
        KeyKind::XWing => KemAlgorithm::XWingDraft06,
        KeyKind::Unknown(_) => return Err(FileError::Internal("HPKE")),
    };
    Ok(Hpke::new(Mode::Base, kem, KdfAlgorithm::HkdfSha256, AeadAlgorithm::Aes256Gcm))
}

const INFO: &[u8] = b"cascading-cipher/1 file recipient";
const TAG_LEN: usize = 16;
/// What an encapsulation, by ML-KEM as well, and the AEAD behind it leave on the stack is within this.
const STACK: usize = 64 << 10;
