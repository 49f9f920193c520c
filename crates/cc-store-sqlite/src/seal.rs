//! Names and values, as they stand in the file.
//!
//! ```text
//! names[64]  = HKDF-SHA-256(salt = store id, data key, "cascading-cipher/1 store names")
//! values[32] = HKDF-SHA-256(salt = store id, data key, "cascading-cipher/1 store values")
//! scope[16] = HMAC-SHA-256(names, 0x01 || scope)
//! id[16]    = HMAC-SHA-256(names, 0x02 || length of scope (4) || scope || key)
//! sealed    = XAES-256-GCM(values, nonce = random[24], value || key || length of key (2),
//!                 ad = "cascading-cipher/1 store record" || store id || scope || id)
//! entry     = XAES-256-GCM(values, nonce = random[24], changes of a commit,
//!                 ad = "cascading-cipher/1 store entry" || store id || generation (8))
//! ```
//!
//! The key stands behind the value so that the value, once decrypted, need not be moved.

use cc_aes_layer::AesKey;
use cc_core::{
    Secret, SecretBytes,
    store::{Scope, StoreError},
};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::{Zeroize as _, Zeroizing};

use crate::{error::aes_error, header::StoreId};

/// Where a record stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) scope: Tag,
    pub(crate) id: Tag,
}

pub(crate) type Tag = [u8; 16];

pub(crate) struct Sealer {
    store: StoreId,
    data_key: Secret<32>,
    /// As long as a block of SHA-256, so that HMAC takes it as it is.
    names: Secret<64>,
    values: AesKey,
}

impl Sealer {
    pub(crate) fn new(store: StoreId, data_key: Secret<32>) -> Self {
        let hkdf = Hkdf::<Sha256>::new(Some(&store), data_key.expose());
        let (mut names, mut values) = (Secret::<64>::zeroed(), Secret::<32>::zeroed());
        // Both are within what HKDF gives (RFC 5869 section 2.3: 255 hashes).
        let _ = hkdf.expand(b"cascading-cipher/1 store names", names.expose_mut());
        let _ = hkdf.expand(b"cascading-cipher/1 store values", values.expose_mut());
        Self { store, data_key, names, values: AesKey::aes256(values) }
    }

    pub(crate) fn store(&self) -> StoreId {
        self.store
    }

    pub(crate) fn data_key(&self) -> &Secret<32> {
        &self.data_key
    }

    pub(crate) fn scope(&self, scope: &Scope) -> Tag {
        self.tag(&[&[1], scope.as_bytes()])
    }

    pub(crate) fn place(&self, scope: &Scope, key: &[u8]) -> Place {
        // A scope over the limit never gets here by commit, and names no record otherwise.
        let length = u32::try_from(scope.as_bytes().len()).unwrap_or(u32::MAX).to_be_bytes();
        let id = self.tag(&[&[2], &length, scope.as_bytes(), key]);
        Place { scope: self.scope(scope), id }
    }

    pub(crate) fn seal(
        &self,
        place: Place,
        key: &[u8],
        value: &SecretBytes,
    ) -> Result<Vec<u8>, StoreError> {
        let key_len = u16::try_from(key.len()).map_err(|_| StoreError::TooLong)?;
        let plaintext = [value.expose(), key, &key_len.to_be_bytes()].concat();
        let plaintext = Zeroizing::new(plaintext);
        self.values.seal(&self.record_data(place), &plaintext).map_err(aes_error)
    }

    /// The key and the value.
    pub(crate) fn open(
        &self,
        place: Place,
        sealed: &[u8],
    ) -> Result<(Vec<u8>, SecretBytes), StoreError> {
        let mut plaintext =
            self.values.open(&self.record_data(place), sealed).map_err(aes_error)?;
        match split(&plaintext) {
            Some((value_len, key)) => {
                plaintext.truncate(value_len);
                // What was cut off is spare capacity, which is overwritten on drop too.
                Ok((key, SecretBytes::new(plaintext)))
            }
            None => {
                plaintext.zeroize();
                Err(StoreError::corrupt("a record without a key"))
            }
        }
    }

    pub(crate) fn seal_entry(
        &self,
        generation: u64,
        changes: &SecretBytes,
    ) -> Result<Vec<u8>, StoreError> {
        self.values.seal(&self.entry_data(generation), changes.expose()).map_err(aes_error)
    }

    pub(crate) fn open_entry(
        &self,
        generation: u64,
        sealed: &[u8],
    ) -> Result<SecretBytes, StoreError> {
        let changes = self.values.open(&self.entry_data(generation), sealed);
        changes.map(SecretBytes::new).map_err(aes_error)
    }

    pub(crate) fn seal_generation(&self, generation: u64) -> Result<Vec<u8>, StoreError> {
        self.values.seal(&self.generation_data(), &generation.to_be_bytes()).map_err(aes_error)
    }

    pub(crate) fn open_generation(&self, sealed: &[u8]) -> Result<u64, StoreError> {
        let bytes = self.values.open(&self.generation_data(), sealed).map_err(aes_error)?;
        match bytes.as_slice().try_into() {
            Ok(bytes) => Ok(u64::from_be_bytes(bytes)),
            Err(_) => Err(StoreError::corrupt("a generation of another length")),
        }
    }

    fn record_data(&self, place: Place) -> Vec<u8> {
        let label = b"cascading-cipher/1 store record";
        [&label[..], &self.store, &place.scope, &place.id].concat()
    }

    fn entry_data(&self, generation: u64) -> Vec<u8> {
        let label = b"cascading-cipher/1 store entry";
        [&label[..], &self.store, &generation.to_be_bytes()].concat()
    }

    fn generation_data(&self) -> Vec<u8> {
        [&b"cascading-cipher/1 store generation"[..], &self.store].concat()
    }

    fn tag(&self, parts: &[&[u8]]) -> Tag {
        let mut mac = Hmac::<Sha256>::new(self.names.expose().into());
        for part in parts {
            mac.update(part);
        }
        let full: [u8; 32] = mac.finalize().into_bytes().into();
        let mut tag = [0; 16];
        tag.copy_from_slice(&full[..16]);
        tag
    }
}

/// The length of the value and the key of a plaintext.
fn split(plaintext: &[u8]) -> Option<(usize, Vec<u8>)> {
    let (rest, key_len) = plaintext.split_last_chunk()?;
    let value_len = rest.len().checked_sub(u16::from_be_bytes(*key_len).into())?;
    Some((value_len, rest.get(value_len..)?.to_vec()))
}
