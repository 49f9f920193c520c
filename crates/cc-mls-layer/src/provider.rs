//! What openmls works with: the cryptography, and this crate's storage.

use std::cell::Cell;

use cc_core::{PartContext, RandomError, random};
use openmls_traits::{OpenMlsProvider, random::OpenMlsRand};

use crate::{clock::Clock, crypto::Crypto, roster::Ids, storage::Storage};

pub(crate) struct Provider {
    crypto: Crypto,
    storage: Storage,
    /// How a leaf names its member.
    pub(crate) ids: Ids,
    pub(crate) clock: Clock,
}

impl Provider {
    pub(crate) fn new(ids: Ids, storage: Storage) -> Self {
        Self { crypto: Crypto::new(), storage, ids, clock: Clock::default() }
    }

    /// The time that the caller gives, or else the clock's, in seconds since 1970.
    pub(crate) fn now(&self, context: &PartContext<'_>) -> u64 {
        context.now.unwrap_or_else(|| self.clock.now())
    }
}

impl OpenMlsProvider for Provider {
    type CryptoProvider = Crypto;
    type RandProvider = Random;
    type StorageProvider = Storage;

    fn storage(&self) -> &Storage {
        &self.storage
    }

    fn crypto(&self) -> &Crypto {
        &self.crypto
    }

    fn rand(&self) -> &Random {
        &Random
    }
}

/// The operating system's generator, as for all other layers.
pub(crate) struct Random;

impl OpenMlsRand for Random {
    type Error = RandomError;

    fn random_array<const N: usize>(&self) -> Result<[u8; N], RandomError> {
        random::array()
    }

    fn random_vec(&self, len: usize) -> Result<Vec<u8>, RandomError> {
        let mut bytes = vec![0; len];
        random::fill(&mut bytes)?;
        Ok(bytes)
    }
}

/// What the sender of a message mixes into its nonce (RFC 9420 section 6.3.1).
pub(crate) type ReuseGuard = [u8; 4];

/// The same for one message, whose reuse guard came from the generator before, in one call with what other layers need.
pub(crate) struct ForMessage<'a> {
    provider: &'a Provider,
    rand: Guarded,
}

impl<'a> ForMessage<'a> {
    pub(crate) const fn new(provider: &'a Provider, guard: ReuseGuard) -> Self {
        Self { provider, rand: Guarded(Cell::new(Some(guard))) }
    }
}

impl OpenMlsProvider for ForMessage<'_> {
    type CryptoProvider = Crypto;
    type RandProvider = Guarded;
    type StorageProvider = Storage;

    fn storage(&self) -> &Storage {
        self.provider.storage()
    }

    fn crypto(&self) -> &Crypto {
        self.provider.crypto()
    }

    fn rand(&self) -> &Guarded {
        &self.rand
    }
}

/// Gives the reuse guard once, for the first array of its length: openmls asks for no other to make a message.
pub(crate) struct Guarded(Cell<Option<ReuseGuard>>);

impl OpenMlsRand for Guarded {
    type Error = RandomError;

    fn random_array<const N: usize>(&self) -> Result<[u8; N], RandomError> {
        let mut bytes = [0; N];
        match self.0.get().filter(|guard| guard.len() == N) {
            Some(guard) => {
                bytes.copy_from_slice(&guard);
                self.0.set(None);
            }
            None => random::fill(&mut bytes)?,
        }
        Ok(bytes)
    }

    fn random_vec(&self, len: usize) -> Result<Vec<u8>, RandomError> {
        Random.random_vec(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reuse_guard_is_given_once() {
        let storage = Storage::default();
        let suite =
            openmls_traits::types::Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519;
        let provider = Provider::new(Ids::SignatureKey(suite), storage);
        let message = ForMessage::new(&provider, [1, 2, 3, 4]);
        let rand = message.rand();
        assert_ne!(rand.random_array().unwrap(), [0; 16]);
        assert_eq!(rand.random_array().unwrap(), [1, 2, 3, 4]);
        // One in 2^32 that it is the same by chance.
        assert_ne!(rand.random_array().unwrap(), [1, 2, 3, 4]);
        assert_eq!(rand.random_vec(7).unwrap().len(), 7);
    }
}
