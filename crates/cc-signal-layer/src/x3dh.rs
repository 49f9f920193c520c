//! X3DH, the Extended Triple Diffie-Hellman agreement (sections 2.2 and 3.3 of its
//! specification), and the classical half of PQXDH.

use alloc::vec::Vec;

use cc_core::Secret;
use zeroize::Zeroizing;

use crate::{
    Error,
    bundle::Bundle,
    curve::{KeyPair, PublicKey},
    identity::{IdentityKey, IdentityKeyPair},
    kdf,
};

/// `F || DH1 || DH2 || DH3 [|| DH4]`, the input of the key derivation. Both sides get the same.
pub(crate) struct Agreement(Zeroizing<Vec<u8>>);

impl Agreement {
    /// The initiator's computation.
    pub(crate) fn initiator(
        ours: &IdentityKeyPair,
        ephemeral: &KeyPair,
        bundle: &Bundle,
    ) -> Result<Self, Error> {
        let signed_prekey = &bundle.signed_prekey.key;
        let mut agreement = Self::start();
        agreement.add(&ours.agreement().agree(signed_prekey)?);
        agreement.add(&ephemeral.agree(bundle.identity.agreement())?);
        agreement.add(&ephemeral.agree(signed_prekey)?);
        if let Some(prekey) = &bundle.one_time_prekey {
            agreement.add(&ephemeral.agree(&prekey.key)?);
        }
        Ok(agreement)
    }

    /// The responder's computation.
    pub(crate) fn responder(
        ours: &IdentityKeyPair,
        signed_prekey: &KeyPair,
        one_time_prekey: Option<&KeyPair>,
        theirs: &IdentityKey,
        ephemeral: &PublicKey,
    ) -> Result<Self, Error> {
        let mut agreement = Self::start();
        agreement.add(&signed_prekey.agree(theirs.agreement())?);
        agreement.add(&ours.agreement().agree(ephemeral)?);
        agreement.add(&signed_prekey.agree(ephemeral)?);
        if let Some(prekey) = one_time_prekey {
            agreement.add(&prekey.agree(ephemeral)?);
        }
        Ok(agreement)
    }

    /// `SK` of X3DH.
    pub(crate) fn finish(self) -> Result<Secret<32>, Error> {
        self.derive(INFO)
    }

    /// Adds one more shared secret.
    pub(crate) fn add(&mut self, shared: &Secret<32>) {
        self.0.extend_from_slice(shared.expose());
    }

    /// `KDF(km)`: HKDF-SHA256 with a salt of zeros and the application's `info`.
    pub(crate) fn derive(self, info: &[u8]) -> Result<Secret<32>, Error> {
        kdf::hkdf(&[0; 32], &self.0, info)
    }

    pub(crate) fn start() -> Self {
        // Room for all, so that no secret is left behind by a reallocation.
        let mut bytes = Zeroizing::new(Vec::with_capacity(32 * 6));
        bytes.extend_from_slice(&[0xff; 32]);
        Self(bytes)
    }
}

const INFO: &[u8] = b"CascadingCipher_CURVE25519_SHA-256";
