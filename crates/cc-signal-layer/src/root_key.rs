//! The root chain of the Double Ratchet with header encryption (section 4.2, `KDF_RK_HE`).

use cc_core::Secret;

use crate::{
    Error,
    chain_key::ChainKey,
    curve::{KeyPair, PublicKey},
    header::HeaderKey,
    kdf,
};

/// The 32-byte root key `RK`.
#[derive(Debug)]
pub(crate) struct RootKey(Secret<32>);

impl RootKey {
    pub(crate) fn new(key: Secret<32>) -> Self {
        Self(key)
    }

    /// `KDF_RK_HE(rk, DH(ours, theirs))`: the next root key, a chain key, and the header key of
    /// the chain after it.
    ///
    /// Takes `&self`: a receiving step is computed before it is known that the message is genuine.
    pub(crate) fn step(
        &self,
        ours: &KeyPair,
        theirs: &PublicKey,
    ) -> Result<(RootKey, ChainKey, HeaderKey), Error> {
        let shared = ours.agree(theirs)?;
        let okm = kdf::hkdf::<96>(self.0.expose(), shared.expose(), INFO)?;
        Ok((
            Self(kdf::part(okm.expose(), 0)?),
            ChainKey::new(kdf::part(okm.expose(), 1)?),
            HeaderKey::new(kdf::part(okm.expose(), 2)?),
        ))
    }

    pub(crate) fn secret(&self) -> &Secret<32> {
        &self.0
    }

    pub(crate) fn duplicate(&self) -> Self {
        Self(self.0.duplicate())
    }
}

const INFO: &[u8] = b"cc-signal/1 root";
