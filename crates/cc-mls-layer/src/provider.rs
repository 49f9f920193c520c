//! What openmls works with: the RustCrypto primitives, and this crate's storage.

use openmls_rust_crypto::RustCrypto;
use openmls_traits::OpenMlsProvider;

use crate::{roster::Ids, storage::Storage};

pub(crate) struct Provider {
    crypto: RustCrypto,
    storage: Storage,
    /// How a leaf names its member.
    pub(crate) ids: Ids,
}

impl Provider {
    pub(crate) fn new(ids: Ids) -> Self {
        Self { crypto: RustCrypto::default(), storage: Storage::default(), ids }
    }
}

impl OpenMlsProvider for Provider {
    type CryptoProvider = RustCrypto;
    type RandProvider = RustCrypto;
    type StorageProvider = Storage;

    fn storage(&self) -> &Storage {
        &self.storage
    }

    fn crypto(&self) -> &RustCrypto {
        &self.crypto
    }

    fn rand(&self) -> &RustCrypto {
        &self.crypto
    }
}
