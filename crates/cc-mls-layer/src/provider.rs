//! What openmls works with: the cryptography, and this crate's storage.

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
