//! Who a member is: a name, and the key pair that signs for it.

use openmls::prelude::{BasicCredential, CredentialWithKey};
use openmls_basic_credential::SignatureKeyPair;
use sha2::{Digest as _, Sha256};

use crate::{
    config::{Ciphersuite, MlsConfig, check_ciphersuite, check_name},
    error::MlsError,
};

/// A member's name and signature key pair: a basic credential, RFC 9420 section 5.3.
///
/// The name is what the member says of itself. Nothing here proves it; people compare
/// [`signature_key`](Self::signature_key) or the epoch authenticator for that.
#[derive(Debug)]
pub struct MlsIdentity {
    name: String,
    ciphersuite: Ciphersuite,
    keys: SignatureKeyPair,
}

impl MlsIdentity {
    /// A new identity with a fresh key pair for the default ciphersuite of [`MlsConfig`].
    ///
    /// # Errors
    /// [`MlsError::Name`] over 4096 bytes of name, [`MlsError::SignatureKey`] without randomness.
    pub fn generate(name: impl Into<String>) -> Result<Self, MlsError> {
        Self::generate_with(name, MlsConfig::default().ciphersuite())
    }

    /// A new identity with a fresh key pair for `ciphersuite`.
    ///
    /// # Errors
    /// As [`generate`](Self::generate), and [`MlsError::Ciphersuite`].
    pub fn generate_with(
        name: impl Into<String>,
        ciphersuite: Ciphersuite,
    ) -> Result<Self, MlsError> {
        let name = name.into();
        check_name(&name)?;
        check_ciphersuite(ciphersuite)?;
        let keys = SignatureKeyPair::new(ciphersuite.signature_algorithm())
            .map_err(|_| MlsError::SignatureKey)?;
        Ok(Self { name, ciphersuite, keys })
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The ciphersuite that the key pair is for.
    #[must_use]
    pub const fn ciphersuite(&self) -> Ciphersuite {
        self.ciphersuite
    }

    /// The public key, as it stands in the leaf node: 32 bytes for Ed25519, 65 for P-256.
    #[must_use]
    pub fn signature_key(&self) -> &[u8] {
        self.keys.public()
    }

    pub(crate) const fn keys(&self) -> &SignatureKeyPair {
        &self.keys
    }

    pub(crate) fn credential(&self) -> CredentialWithKey {
        CredentialWithKey {
            credential: BasicCredential::new(self.name.as_bytes().to_vec()).into(),
            signature_key: self.keys.public().into(),
        }
    }

    pub(crate) fn commitment(&self) -> [u8; 32] {
        commitment(self.ciphersuite, self.signature_key())
    }
}

/// What a member id commits to in this layer: SHA-256 over a label, the ciphersuite and the
/// signature public key.
pub(crate) fn commitment(ciphersuite: Ciphersuite, signature_key: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"cascading-cipher/1 mls member");
    hash.update((ciphersuite as u16).to_be_bytes());
    hash.update(signature_key);
    hash.finalize().into()
}
