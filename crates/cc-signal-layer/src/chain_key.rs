//! A symmetric-key chain (Double Ratchet section 2.2 and 5.2, `KDF_CK`).

use cc_core::Secret;

use crate::{kdf::Prf, message_key::MessageKey};

/// The 32-byte chain key `CK`.
#[derive(Debug)]
pub(crate) struct ChainKey(Secret<32>);

impl ChainKey {
    pub(crate) fn new(key: Secret<32>) -> Self {
        Self(key)
    }

    /// The next chain key and this position's message key: HMAC-SHA256 of one constant byte each,
    /// 0x02 and 0x01, as section 5.2 recommends.
    pub(crate) fn step(&self) -> (ChainKey, MessageKey) {
        let (message, next) = Prf::new(&self.0).finish_two(&[0x01], &[0x02]);
        (Self(next), MessageKey::new(message))
    }

    pub(crate) fn secret(&self) -> &Secret<32> {
        &self.0
    }

    /// A staged receive walks a copy of the chain.
    pub(crate) fn duplicate(&self) -> Self {
        Self(self.0.duplicate())
    }
}
