//! Names and values, as they stand in the file.
//!
//! ```text
//! names[64]  = HKDF-SHA-256(salt = store id, data key, "cascading-cipher/1 store names")
//! values[32] = HKDF-SHA-256(salt = store id, data key, "cascading-cipher/1 store values")
//! digests[64] = HKDF-SHA-256(salt = store id, data key, "cascading-cipher/1 store digests")
//! scope[16] = HMAC-SHA-256(names, 0x01 || scope)
//! id[16]    = HMAC-SHA-256(names, 0x02 || length of scope (4) || scope || key)
//! sealed    = XAES-256-GCM(values, nonce = random[24], value || key || length of key (2),
//!                 ad = "cascading-cipher/1 store record" || store id || scope || id)
//! state     = XAES-256-GCM(values, nonce = random[24], generation (8) || digest of all records (32),
//!                 ad = "cascading-cipher/1 store state" || store id || checksum of the header (32)
//!                      || "and a commit" where the state is not whole without the entry that follows)
//! entry     = XAES-256-GCM(values, nonce = random[24], changes of a commit,
//!                 ad = "cascading-cipher/1 store commit" || store id || generation (8) || link (16))
//! ```
//!
//! The link is the tag of the entry before, or of the state, so that the entries of the journal are a
//! chain: none is of another state of the store, or of another copy that went its own way. The digest
//! is described in [`digest`](crate::digest).
//!
//! The key stands behind the value so that the value, once decrypted, need not be moved.

use cc_aes_layer::AesKey;
use cc_core::{
    Secret, SecretBytes,
    kdf::hkdf,
    store::{Scope, StoreError},
    with_clean_stack,
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::{Zeroize as _, Zeroizing};

use crate::{
    digest::RecordsDigest,
    error::aes_error,
    header::{Checksum, StoreId},
};

/// Where a record stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) scope: Tag,
    pub(crate) id: Tag,
}

pub(crate) type Tag = [u8; 16];

/// What the next commit rests on.
pub(crate) type Link = [u8; 16];

/// What the record table is without the journal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whole {
    /// The store as it was in the generation of the state.
    Alone,
    /// Nothing that ever was: the first entry of the journal belongs to it.
    WithCommit,
}

pub(crate) struct Sealer {
    store: StoreId,
    data_key: Secret<32>,
    /// As long as a block of SHA-256, so that HMAC takes it as it is.
    names: Secret<64>,
    digests: Secret<64>,
    values: AesKey,
}

impl Sealer {
    pub(crate) fn new(store: StoreId, data_key: Secret<32>) -> Self {
        let names = hkdf(&store, data_key.expose(), &[b"cascading-cipher/1 store names"]);
        let values = hkdf(&store, data_key.expose(), &[b"cascading-cipher/1 store values"]);
        let digests = hkdf(&store, data_key.expose(), &[b"cascading-cipher/1 store digests"]);
        Self { store, data_key, names, digests, values: AesKey::aes256(values) }
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
        Place { scope: self.scope(scope), id: self.id(scope, key) }
    }

    /// For the places of many records that come scope by scope.
    pub(crate) fn places(&self) -> Places<'_> {
        Places { sealer: self, last: None }
    }

    fn id(&self, scope: &Scope, key: &[u8]) -> Tag {
        // A scope over the limit never gets here by commit, and names no record otherwise.
        let length = u32::try_from(scope.as_bytes().len()).unwrap_or(u32::MAX).to_be_bytes();
        self.tag(&[&[2], &length, scope.as_bytes(), key])
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

    /// Adds a record to the digest, or takes it out of it.
    pub(crate) fn toggle(
        &self,
        digest: &mut RecordsDigest,
        place: Place,
        sealed: &[u8],
    ) -> Result<(), StoreError> {
        digest.toggle(&self.digests, place, sealed)
    }

    /// The sealed changes of a commit, and the link to it.
    pub(crate) fn seal_entry(
        &self,
        generation: u64,
        before: &Link,
        changes: &SecretBytes,
    ) -> Result<(Vec<u8>, Link), StoreError> {
        let data = self.entry_data(generation, before);
        let sealed = self.values.seal(&data, changes.expose()).map_err(aes_error)?;
        let link = link_to(&sealed)?;
        Ok((sealed, link))
    }

    pub(crate) fn open_entry(
        &self,
        generation: u64,
        before: &Link,
        sealed: &[u8],
    ) -> Result<(SecretBytes, Link), StoreError> {
        let changes = self.values.open(&self.entry_data(generation, before), sealed);
        Ok((changes.map(SecretBytes::new).map_err(aes_error)?, link_to(sealed)?))
    }

    /// The sealed state, and the link to it.
    pub(crate) fn seal_state(
        &self,
        header: &Checksum,
        generation: u64,
        records: &RecordsDigest,
        whole: Whole,
    ) -> Result<(Vec<u8>, Link), StoreError> {
        let state = [&generation.to_be_bytes()[..], records.as_bytes()].concat();
        let sealed =
            self.values.seal(&self.state_data(header, whole), &state).map_err(aes_error)?;
        let link = link_to(&sealed)?;
        Ok((sealed, link))
    }

    /// The generation and the digest of the record table, the link to them, and whether they are whole.
    pub(crate) fn open_state(
        &self,
        header: &Checksum,
        sealed: &[u8],
    ) -> Result<(u64, RecordsDigest, Link, Whole), StoreError> {
        let open = |whole| self.values.open(&self.state_data(header, whole), sealed);
        let (state, whole) = match open(Whole::Alone) {
            Ok(state) => (state, Whole::Alone),
            Err(error) => match open(Whole::WithCommit) {
                Ok(state) => (state, Whole::WithCommit),
                Err(_) => return Err(aes_error(error)),
            },
        };
        match state.split_first_chunk() {
            Some((generation, digest)) => {
                let digest = RecordsDigest::from_bytes(digest)?;
                Ok((u64::from_be_bytes(*generation), digest, link_to(sealed)?, whole))
            }
            None => Err(StoreError::corrupt("a state of another length")),
        }
    }

    /// An entry of format 2.
    pub(crate) fn open_entry_2(
        &self,
        generation: u64,
        sealed: &[u8],
    ) -> Result<SecretBytes, StoreError> {
        let label = b"cascading-cipher/1 store entry";
        let data = [&label[..], &self.store, &generation.to_be_bytes()].concat();
        self.values.open(&data, sealed).map(SecretBytes::new).map_err(aes_error)
    }

    /// The generation of formats 1 and 2.
    pub(crate) fn open_generation_2(&self, sealed: &[u8]) -> Result<u64, StoreError> {
        let data = [&b"cascading-cipher/1 store generation"[..], &self.store].concat();
        let bytes = self.values.open(&data, sealed).map_err(aes_error)?;
        match bytes.as_slice().try_into() {
            Ok(bytes) => Ok(u64::from_be_bytes(bytes)),
            Err(_) => Err(StoreError::corrupt("a generation of another length")),
        }
    }

    fn record_data(&self, place: Place) -> Vec<u8> {
        let label = b"cascading-cipher/1 store record";
        [&label[..], &self.store, &place.scope, &place.id].concat()
    }

    fn entry_data(&self, generation: u64, before: &Link) -> Vec<u8> {
        let label = b"cascading-cipher/1 store commit";
        [&label[..], &self.store, &generation.to_be_bytes(), before].concat()
    }

    fn state_data(&self, header: &Checksum, whole: Whole) -> Vec<u8> {
        let rest: &[u8] = match whole {
            Whole::Alone => b"",
            Whole::WithCommit => b"and a commit",
        };
        [&b"cascading-cipher/1 store state"[..], &self.store, header, rest].concat()
    }

    fn tag(&self, parts: &[&[u8]]) -> Tag {
        let full = hmac(&self.names, parts);
        let mut tag = [0; 16];
        tag.copy_from_slice(&full[..16]);
        tag
    }
}

/// Places, one after another.
pub(crate) struct Places<'a> {
    sealer: &'a Sealer,
    /// The last scope, and its tag.
    last: Option<(&'a Scope, Tag)>,
}

impl<'a> Places<'a> {
    pub(crate) fn place(&mut self, scope: &'a Scope, key: &[u8]) -> Place {
        let tag = match self.last {
            Some((last, tag)) if last == scope => tag,
            _ => self.sealer.scope(scope),
        };
        self.last = Some((scope, tag));
        Place { scope: tag, id: self.sealer.id(scope, key) }
    }
}

/// HMAC-SHA-256.
pub(crate) fn hmac(key: &Secret<64>, parts: &[&[u8]]) -> [u8; 32] {
    with_clean_stack::<2048, _>(|| {
        let mut mac = Hmac::<Sha256>::new(key.expose().into());
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    })
}

/// The tag of what was sealed.
fn link_to(sealed: &[u8]) -> Result<Link, StoreError> {
    sealed.last_chunk().copied().ok_or_else(|| StoreError::corrupt("a value without a tag"))
}

/// The length of the value and the key of a plaintext.
fn split(plaintext: &[u8]) -> Option<(usize, Vec<u8>)> {
    let (rest, key_len) = plaintext.split_last_chunk()?;
    let value_len = rest.len().checked_sub(u16::from_be_bytes(*key_len).into())?;
    Some((value_len, rest.get(value_len..)?.to_vec()))
}
