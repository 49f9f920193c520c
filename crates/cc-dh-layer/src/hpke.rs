//! HPKE (RFC 9180) in Auth mode, section 5.1.3: only the holder of the sender's private key makes a
//! box that opens under its public key.
//!
//! Suites: DHKEM(X25519, HKDF-SHA256) or DHKEM(P-256, HKDF-SHA256), with HKDF-SHA256 and AES-256-GCM.

use alloc::{format, vec::Vec};

use cc_core::{Opaque, SecretBytes, random};
use hpke_rs::{
    Hpke, HpkeError, HpkePrivateKey, HpkePublicKey, Mode,
    hpke_types::{AeadAlgorithm, KdfAlgorithm, KemAlgorithm},
};
use hpke_rs_rust_crypto::HpkeRustCrypto;
use tls_codec::{TlsDeserializeBytes, TlsSerializeBytes, TlsSize};

use crate::{Curve, DhError, DhKeyPair, DhPublicKey};

/// An encapsulated key and a ciphertext.
#[derive(Debug, Clone, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
pub(crate) struct SealedBox {
    encapsulated: Opaque,
    ciphertext: Opaque,
}

/// Seals boxes in the name of one sender.
pub(crate) struct Sealer {
    hpke: Hpke<HpkeRustCrypto>,
    sender: HpkePrivateKey,
}

impl Sealer {
    pub(crate) fn new(sender: &DhKeyPair) -> Result<Self, DhError> {
        let hpke = suite(Mode::Auth, sender.curve())?;
        Ok(Self { hpke, sender: private(sender) })
    }

    pub(crate) fn seal(
        &mut self,
        recipient: &DhPublicKey,
        info: &[u8],
        associated_data: &[u8],
        plaintext: &[u8],
    ) -> Result<SealedBox, DhError> {
        let (encapsulated, ciphertext) = self
            .hpke
            .seal(
                &public(recipient),
                info,
                associated_data,
                plaintext,
                None,
                None,
                Some(&self.sender),
            )
            .map_err(|error| match error {
                HpkeError::InsufficientRandomness => DhError::Random(cc_core::RandomError),
                _ => DhError::Internal,
            })?;
        Ok(SealedBox { encapsulated: Opaque(encapsulated), ciphertext: Opaque(ciphertext) })
    }
}

impl SealedBox {
    /// Opens a box that holds exactly `len` bytes.
    pub(crate) fn open(
        &self,
        recipient: &DhKeyPair,
        sender: &DhPublicKey,
        info: &[u8],
        associated_data: &[u8],
        len: usize,
    ) -> Result<SecretBytes, DhError> {
        let curve = recipient.curve();
        if self.ciphertext.as_slice().len() != len + TAG_LEN || sender.curve() != curve {
            return Err(DhError::Rejected);
        }
        // Stricter than the library: the canonical encoding, and no point of low order.
        let encapsulated = DhPublicKey::from_point(curve, self.encapsulated.as_slice())
            .map_err(|_| DhError::Rejected)?;
        suite(Mode::Auth, curve)?
            .open(
                encapsulated.point(),
                &private(recipient),
                info,
                associated_data,
                self.ciphertext.as_slice(),
                None,
                None,
                Some(&public(sender)),
            )
            .map(SecretBytes::new)
            .map_err(|_| DhError::Rejected)
    }
}

/// The library seeds a generator of its own for every suite it makes, also to open, and panics when
/// the operating system refuses. Asking first turns a generator that fails into an error.
fn suite(mode: Mode, curve: Curve) -> Result<Hpke<HpkeRustCrypto>, DhError> {
    let _: [u8; 32] = random::array()?;
    let kem = match curve {
        Curve::X25519 => KemAlgorithm::DhKem25519,
        Curve::P256 => KemAlgorithm::DhKemP256,
    };
    Ok(Hpke::new(mode, kem, KdfAlgorithm::HkdfSha256, AeadAlgorithm::Aes256Gcm))
}

fn private(keys: &DhKeyPair) -> HpkePrivateKey {
    HpkePrivateKey::new(keys.private_key().expose().to_vec())
}

fn public(key: &DhPublicKey) -> HpkePublicKey {
    HpkePublicKey::new(Vec::from(key.point()))
}

const TAG_LEN: usize = 16;
