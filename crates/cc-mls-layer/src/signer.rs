//! Signing with a key that is expanded once: openmls's key pair computes its public key anew for every
//! Ed25519 signature, which takes as long as the signature.

use cc_core::Secret;
use cc_primitives::ed25519::SigningKey;
use openmls::prelude::tls_codec::Serialize as _;
use openmls_basic_credential::SignatureKeyPair;
use openmls_traits::{
    signatures::{Signer, SignerError},
    types::SignatureScheme,
};
use zeroize::Zeroizing;

/// A key pair, and for Ed25519 the key that signs.
#[derive(Debug)]
pub(crate) struct Signing {
    pair: SignatureKeyPair,
    ed25519: Option<SigningKey>,
}

impl Signing {
    pub(crate) const fn pair(&self) -> &SignatureKeyPair {
        &self.pair
    }
}

impl From<SignatureKeyPair> for Signing {
    fn from(pair: SignatureKeyPair) -> Self {
        let ed25519 = seed(&pair).map(|seed| SigningKey::from_seed(&seed));
        Self { pair, ed25519 }
    }
}

impl Signer for Signing {
    fn sign(&self, payload: &[u8]) -> Result<Vec<u8>, SignerError> {
        match &self.ed25519 {
            Some(key) => Ok(key.sign(payload).to_vec()),
            None => self.pair.sign(payload),
        }
    }

    fn signature_scheme(&self) -> SignatureScheme {
        self.pair.signature_scheme()
    }
}

/// The private key of an Ed25519 pair. In its TLS form a pair begins with it: one byte of length, 32 of key.
fn seed(pair: &SignatureKeyPair) -> Option<Secret<32>> {
    if pair.signature_scheme() != SignatureScheme::ED25519 {
        return None;
    }
    let bytes = Zeroizing::new(pair.tls_serialize_detached().ok()?);
    let (len, rest) = bytes.split_first()?;
    (*len == 32).then(|| Secret::copy_from(rest.get(..32)?))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public() -> Vec<u8> {
        SigningKey::from_seed(&Secret::copy_from(&[7; 32]).unwrap()).public_key().to_vec()
    }

    #[test]
    fn signs_what_the_pair_signs() {
        let pair = || SignatureKeyPair::from_raw(SignatureScheme::ED25519, vec![7; 32], public());
        let signing = Signing::from(pair());
        assert!(signing.ed25519.is_some());
        // Ed25519 signatures are deterministic (RFC 8032 section 5.1.6).
        assert_eq!(signing.sign(b"data").unwrap(), pair().sign(b"data").unwrap());
        let other = SignatureKeyPair::new(SignatureScheme::ECDSA_SECP256R1_SHA256).unwrap();
        let other = Signing::from(other);
        assert!(other.ed25519.is_none());
        assert!(!other.sign(b"data").unwrap().is_empty());
    }

    #[test]
    fn shows_no_key() {
        let signing = Signing::from(SignatureKeyPair::from_raw(
            SignatureScheme::ED25519,
            vec![7; 32],
            public(),
        ));
        assert!(!format!("{signing:?}").contains("7, 7, 7"), "{signing:?}");
    }
}
