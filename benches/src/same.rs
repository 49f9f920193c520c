//! What openmls is given to do the same work as the layer: the layer's own cryptography, and a storage in memory.

use openmls::prelude::OpenMlsProvider;
use openmls_rust_crypto::OpenMlsRustCrypto;
use openmls_traits::random::OpenMlsRand;

use crate::{
    bare::{Member, bare},
    crypto::Crypto,
    signer::Signing,
    storage::Storage,
};

/// Two members of a group of `size`, all of whom have spoken, in openmls with the layer's cryptography and with its own
/// memory storage.
#[must_use]
pub fn primitives(size: usize) -> (impl Member, impl Member) {
    bare::<Cryptography, Signing>(size)
}

/// The same with a storage to which messages write nothing.
#[must_use]
pub fn unwritten(size: usize) -> (impl Member, impl Member) {
    bare::<Unwritten, Signing>(size)
}

/// The layer's cryptography, and the memory storage that comes with openmls: it writes all message secrets, as JSON,
/// with every message.
struct Cryptography {
    crypto: Crypto,
    others: OpenMlsRustCrypto,
}

impl Default for Cryptography {
    fn default() -> Self {
        Self { crypto: Crypto::new(), others: OpenMlsRustCrypto::default() }
    }
}

impl OpenMlsProvider for Cryptography {
    type CryptoProvider = Crypto;
    type RandProvider = Random;
    type StorageProvider = <OpenMlsRustCrypto as OpenMlsProvider>::StorageProvider;

    fn storage(&self) -> &Self::StorageProvider {
        self.others.storage()
    }

    fn crypto(&self) -> &Crypto {
        &self.crypto
    }

    fn rand(&self) -> &Random {
        &Random
    }
}

/// The layer's cryptography and the layer's storage, to which no message is written: without the layer nobody keeps
/// a journal.
struct Unwritten {
    crypto: Crypto,
    storage: Storage,
}

impl Default for Unwritten {
    fn default() -> Self {
        Self { crypto: Crypto::new(), storage: Storage::default() }
    }
}

impl OpenMlsProvider for Unwritten {
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

/// The system's randomness, as in the layer.
struct Random;

impl OpenMlsRand for Random {
    type Error = cc_core::RandomError;

    fn random_array<const N: usize>(&self) -> Result<[u8; N], Self::Error> {
        cc_core::random::array()
    }

    fn random_vec(&self, len: usize) -> Result<Vec<u8>, Self::Error> {
        let mut bytes = vec![0; len];
        cc_core::random::fill(&mut bytes)?;
        Ok(bytes)
    }
}
