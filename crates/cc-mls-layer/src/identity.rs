//! Who a member is: a credential, and the key pair that signs for it.

use cc_core::{Secret, SecretBytes, with_clean_stack};
use cc_primitives::ed25519::SigningKey;
use openmls::prelude::{CredentialWithKey, tls_codec::Serialize as _};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::RustCrypto;
use openmls_traits::{crypto::OpenMlsCrypto as _, signatures::Signer as _, types::SignatureScheme};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroize as _;

use crate::{
    config::{Ciphersuite, MlsConfig, check_ciphersuite},
    credential::{MAX_CHAIN_LEN, MlsCredential},
    error::MlsError,
    key_package_view::MAX_MEMBER_NAME_LEN,
    signer::Signing,
};

/// A member's credential and signature key pair, RFC 9420 section 5.3.
///
/// With a basic credential, the name is what the member says of itself. Nothing here proves it; people
/// compare [`signature_key`](Self::signature_key) or the epoch authenticator for that.
#[derive(Debug)]
pub struct MlsIdentity {
    name: String,
    /// The certificates; none for a basic credential.
    chain: Vec<Vec<u8>>,
    ciphersuite: Ciphersuite,
    keys: Signing,
}

impl MlsIdentity {
    /// Bytes of the longest name: 1024. Nobody with a longer one is let into a group.
    pub const MAX_NAME_LEN: usize = MAX_MEMBER_NAME_LEN;
    /// Bytes of the longest certificate chain: 32 KiB, with 4 bytes of length for each certificate. Nobody
    /// with a longer one is let into a group.
    pub const MAX_CHAIN_LEN: usize = MAX_CHAIN_LEN;

    /// A new identity with a fresh key pair for the default ciphersuite of [`MlsConfig`].
    ///
    /// # Errors
    /// [`MlsError::Name`] over 1024 bytes of name, [`MlsError::SignatureKey`] without randomness.
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
        check_member_name(&name)?;
        check_ciphersuite(ciphersuite)?;
        let keys = signing(|| generate(ciphersuite.signature_algorithm()))?;
        Ok(Self { name, chain: Vec::new(), ciphersuite, keys })
    }

    /// An identity with an X.509 credential: a certificate chain in DER, the member's own first, and
    /// the key pair that the first certificate is for. It has no name; what there is to read stands in
    /// the certificate. Only members with a
    /// [credential policy](MlsConfig::with_credential_policy) take it in.
    ///
    /// For Ed25519 the private key is the seed of 32 bytes (RFC 8032 section 5.1.5) and the public one
    /// has 32; for P-256 the scalar of 32 bytes and an uncompressed point of 65. That the two belong
    /// together is verified, that they belong to the certificate is not.
    ///
    /// # Errors
    /// [`MlsError::Chain`] for no certificate, an empty one, or more than
    /// [`MAX_CHAIN_LEN`](Self::MAX_CHAIN_LEN) bytes; [`MlsError::KeyPair`], [`MlsError::Ciphersuite`].
    pub fn x509(
        chain: Vec<Vec<u8>>,
        ciphersuite: Ciphersuite,
        private_key: &SecretBytes,
        public_key: &[u8],
    ) -> Result<Self, MlsError> {
        check_chain(&chain)?;
        check_ciphersuite(ciphersuite)?;
        let scheme = ciphersuite.signature_algorithm();
        let keys = signing(|| key_pair(scheme, private_key, public_key))?;
        Ok(Self { name: String::new(), chain, ciphersuite, keys })
    }

    /// An identity with a basic credential and a key pair that was made before, so that one person has
    /// the same in many groups. The keys are as in [`x509`](Self::x509).
    ///
    /// # Errors
    /// [`MlsError::Name`], [`MlsError::KeyPair`], [`MlsError::Ciphersuite`].
    pub fn basic(
        name: impl Into<String>,
        ciphersuite: Ciphersuite,
        private_key: &SecretBytes,
        public_key: &[u8],
    ) -> Result<Self, MlsError> {
        let name = name.into();
        check_member_name(&name)?;
        check_ciphersuite(ciphersuite)?;
        let scheme = ciphersuite.signature_algorithm();
        let keys = signing(|| key_pair(scheme, private_key, public_key))?;
        Ok(Self { name, chain: Vec::new(), ciphersuite, keys })
    }

    /// The private key, to be kept in an encrypted store: as [`x509`](Self::x509) takes it.
    ///
    /// # Errors
    /// [`MlsError::KeyPair`] where the library does not give it.
    pub fn private_key(&self) -> Result<SecretBytes, MlsError> {
        let bytes = SecretBytes::new(
            self.keys.pair().tls_serialize_detached().map_err(|_| MlsError::KeyPair)?,
        );
        // In its TLS form a pair begins with the private key: one byte of length, then the key.
        let (len, rest) = bytes.expose().split_first().ok_or(MlsError::KeyPair)?;
        let key = rest.get(..usize::from(*len)).filter(|key| !key.is_empty() && *len < 64);
        Ok(SecretBytes::new(key.ok_or(MlsError::KeyPair)?.to_vec()))
    }

    /// The name; empty with an X.509 credential.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The credential.
    #[must_use]
    pub fn credential(&self) -> MlsCredential {
        if self.chain.is_empty() {
            MlsCredential::Basic { identity: self.name.as_bytes().to_vec() }
        } else {
            MlsCredential::X509 { chain: self.chain.clone() }
        }
    }

    /// The ciphersuite that the key pair is for.
    #[must_use]
    pub const fn ciphersuite(&self) -> Ciphersuite {
        self.ciphersuite
    }

    /// The public key, as it stands in the leaf node: 32 bytes for Ed25519, 65 for P-256.
    #[must_use]
    pub fn signature_key(&self) -> &[u8] {
        self.keys.pair().public()
    }

    /// The identity of a stored layer.
    ///
    /// # Errors
    /// [`MlsError::Name`], [`MlsError::Chain`] or [`MlsError::KeyPair`] for what no identity has.
    pub(crate) fn restore(
        name: String,
        chain: Vec<Vec<u8>>,
        ciphersuite: Ciphersuite,
        keys: StoredKeys,
    ) -> Result<Self, MlsError> {
        check_member_name(&name)?;
        check_ciphersuite(ciphersuite)?;
        if !chain.is_empty() {
            check_chain(&chain)?;
        }
        let keys = signing(|| keys.check(ciphersuite))?;
        Ok(Self { name, chain, ciphersuite, keys })
    }

    pub(crate) fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    pub(crate) const fn keys(&self) -> &SignatureKeyPair {
        self.keys.pair()
    }

    pub(crate) const fn signer(&self) -> &Signing {
        &self.keys
    }

    pub(crate) fn credential_with_key(&self) -> CredentialWithKey {
        CredentialWithKey {
            credential: self.credential().to_mls(),
            signature_key: self.keys.pair().public().into(),
        }
    }

    pub(crate) const fn is_x509(&self) -> bool {
        !self.chain.is_empty()
    }

    pub(crate) fn commitment(&self) -> [u8; 32] {
        commitment(self.ciphersuite, self.signature_key())
    }
}

/// The key pair, ready to sign. What making it leaves on the stack would get to the heap with the first value that is
/// made there and has bytes that mean nothing, as an empty option has.
fn signing(pair: impl FnOnce() -> Result<SignatureKeyPair, MlsError>) -> Result<Signing, MlsError> {
    with_clean_stack::<STACK, _>(|| pair().map(Signing::from))
}

/// What making a key pair leaves on the stack is within this.
const STACK: usize = if cfg!(debug_assertions) { 32 << 10 } else { 8 << 10 };

fn generate(scheme: SignatureScheme) -> Result<SignatureKeyPair, MlsError> {
    if scheme != SignatureScheme::ED25519 {
        // By a generator of the library's own.
        return SignatureKeyPair::new(scheme).map_err(|_| MlsError::SignatureKey);
    }
    let seed = Secret::<32>::random().map_err(|_| MlsError::SignatureKey)?;
    let public = SigningKey::from_seed(&seed).public_key();
    Ok(SignatureKeyPair::from_raw(scheme, seed.expose().to_vec(), public.to_vec()))
}

fn check_member_name(name: &str) -> Result<(), MlsError> {
    if name.len() > MAX_MEMBER_NAME_LEN {
        return Err(MlsError::Name { max: MAX_MEMBER_NAME_LEN, len: name.len() });
    }
    Ok(())
}

fn check_chain(chain: &[Vec<u8>]) -> Result<(), MlsError> {
    let complete = !chain.is_empty() && chain.iter().all(|certificate| !certificate.is_empty());
    if !complete
        || chain.iter().map(|certificate| certificate.len() + 4).sum::<usize>()
            > MlsIdentity::MAX_CHAIN_LEN
    {
        return Err(MlsError::Chain);
    }
    Ok(())
}

/// The two halves, if the private one signs what the public one verifies.
fn key_pair(
    scheme: SignatureScheme,
    private_key: &SecretBytes,
    public_key: &[u8],
) -> Result<SignatureKeyPair, MlsError> {
    let len = if scheme == SignatureScheme::ECDSA_SECP384R1_SHA384 { 48 } else { 32 };
    if private_key.expose().len() != len {
        return Err(MlsError::KeyPair);
    }
    let keys =
        SignatureKeyPair::from_raw(scheme, private_key.expose().to_vec(), public_key.to_vec());
    let probe = b"cascading-cipher/1 mls key pair";
    let signature = keys.sign(probe).map_err(|_| MlsError::KeyPair)?;
    RustCrypto::default()
        .verify_signature(scheme, probe, public_key, &signature)
        .map_err(|_| MlsError::KeyPair)?;
    Ok(keys)
}

/// A signature key pair as its serde form has it.
#[derive(Deserialize)]
pub(crate) struct StoredKeys {
    private: Vec<u8>,
    public: Vec<u8>,
    scheme: SignatureScheme,
}

impl StoredKeys {
    fn check(mut self, ciphersuite: Ciphersuite) -> Result<SignatureKeyPair, MlsError> {
        let private = SecretBytes::new(std::mem::take(&mut self.private));
        if self.scheme != ciphersuite.signature_algorithm() {
            return Err(MlsError::KeyPair);
        }
        key_pair(self.scheme, &private, &self.public)
    }
}

impl Drop for StoredKeys {
    fn drop(&mut self) {
        self.private.zeroize();
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
