//! A digest of all records, that a change of one brings up to date.
//!
//! ```text
//! digest[32] = XOR over all records of HMAC-SHA-256(digests, scope (16) || id (16) || nonce (24))
//! ```
//!
//! The nonce is that of the sealed record: 24 random bytes, so that it stands for one value in one place,
//! and whatever else was put beside it does not open. This is MSet-XOR-Hash (Clarke, Devadas, van Dijk,
//! Gassend and Suh 2003, section 3.2) of a set, as two records never stand in one place. Whoever writes
//! the file never sees an HMAC nor the digest, which stands in the file sealed; so replacing records by
//! some that were there before, and leaving some out, gives the same digest with a chance of 2^-256.

use cc_core::{Secret, store::StoreError};

use crate::seal::{Place, hmac};

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RecordsDigest([u8; 32]);

const NONCE_LEN: usize = 24;

impl RecordsDigest {
    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, StoreError> {
        match bytes.try_into() {
            Ok(bytes) => Ok(Self(bytes)),
            Err(_) => Err(StoreError::corrupt("a digest of another length")),
        }
    }

    /// Adds the record where it is not in the digest, and takes it out where it is.
    pub(crate) fn toggle(
        &mut self,
        key: &Secret<64>,
        place: Place,
        sealed: &[u8],
    ) -> Result<(), StoreError> {
        let nonce = sealed
            .first_chunk::<NONCE_LEN>()
            .ok_or_else(|| StoreError::corrupt("a record without a nonce"))?;
        let hash = hmac(key, &[&place.scope, &place.id, nonce]);
        self.0.iter_mut().zip(hash).for_each(|(all, one)| *all ^= one);
        Ok(())
    }
}
