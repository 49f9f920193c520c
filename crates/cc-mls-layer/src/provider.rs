//! What openmls works with: the cryptography, and this crate's storage.

use openmls_rust_crypto::RustCrypto;
use openmls_traits::OpenMlsProvider;

use crate::{crypto::Crypto, roster::Ids, storage::Storage};

pub(crate) struct Provider {
    crypto: Crypto,
    storage: Storage,
    /// How a leaf names its member.
    pub(crate) ids: Ids,
}

impl Provider {
    pub(crate) fn new(ids: Ids, storage: Storage) -> Self {
        Self { crypto: Crypto::default(), storage, ids }
    }
}

impl OpenMlsProvider for Provider {
    type CryptoProvider = Crypto;
    type RandProvider = RustCrypto;
    type StorageProvider = Storage;

    fn storage(&self) -> &Storage {
        &self.storage
    }

    fn crypto(&self) -> &Crypto {
        &self.crypto
    }

    fn rand(&self) -> &RustCrypto {
        self.crypto.rand()
    }
}
