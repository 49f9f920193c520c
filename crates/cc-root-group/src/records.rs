//! What the records of this layer have in common. The bytes are in the
//! [crate documentation](crate#bytes-in-a-store).

use alloc::{collections::BTreeMap, vec::Vec};

use cc_core::{
    Secret, SecretBytes,
    store::{ScopeReader, StoreError},
};

const VERSION: u16 = 1;

/// A record: the version, and these fields one behind the other.
pub fn record(fields: &[&[u8]]) -> SecretBytes {
    let version = VERSION.to_be_bytes();
    // Of the right size at once: a vector that grows leaves copies of secrets behind.
    let len = version.len() + fields.iter().map(|field| field.len()).sum::<usize>();
    let mut record = Vec::with_capacity(len);
    record.extend_from_slice(&version);
    fields.iter().for_each(|field| record.extend_from_slice(field));
    SecretBytes::new(record)
}

/// The error of records that are not what a layer writes.
pub fn malformed() -> StoreError {
    StoreError::corrupt("the records of a layer are malformed, or do not belong together")
}

/// All records of a layer, to be taken out one by one.
#[derive(Debug)]
pub struct Records(BTreeMap<Vec<u8>, SecretBytes>);

impl Records {
    /// All records of a layer.
    ///
    /// # Errors
    /// [`Corrupt`](StoreError::Corrupt) where there is no such thing.
    pub fn read(from: &ScopeReader<'_>) -> Result<Self, StoreError> {
        Ok(Self(from.list(b"")?.into_iter().collect()))
    }

    /// The record with this key, which is then no longer among them.
    ///
    /// # Errors
    /// [`Corrupt`](StoreError::Corrupt) where there is no such thing.
    pub fn take(&mut self, key: &[u8]) -> Result<Record, StoreError> {
        let record = self.0.remove(key).map(Record);
        record.ok_or_else(|| StoreError::corrupt("a record of a layer is missing"))
    }

    /// The records whose key is `prefix` with one byte behind it, by that byte.
    pub fn take_indexed(&mut self, prefix: &[u8]) -> Vec<(u8, Record)> {
        let index = |key: &[u8]| match key.strip_prefix(prefix) {
            Some([index]) => Some(*index),
            _ => None,
        };
        self.0
            .extract_if(.., |key, _| index(key).is_some())
            .filter_map(|(key, record)| Some((index(&key)?, Record(record))))
            .collect()
    }

    /// A record that nothing refers to shows that another one is not what it was.
    ///
    /// # Errors
    /// [`Corrupt`](StoreError::Corrupt) where one is left.
    pub fn end(self) -> Result<(), StoreError> {
        if self.0.is_empty() { Ok(()) } else { Err(malformed()) }
    }
}

/// A record that was read.
#[derive(Debug)]
pub struct Record(SecretBytes);

impl Record {
    /// What is behind the version.
    ///
    /// # Errors
    /// [`Newer`](StoreError::Newer) for a version that this one does not know.
    pub fn fields(&self) -> Result<Fields<'_>, StoreError> {
        let mut fields = Fields(self.0.expose());
        match u16::from_be_bytes(fields.array()?) {
            0 => Err(malformed()),
            VERSION => Ok(fields),
            newer => Err(StoreError::Newer { version: newer.into() }),
        }
    }
}

/// The rest of a record. Each method takes something off its front.
#[derive(Debug)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The next `len` bytes.
    ///
    /// # Errors
    /// [`Corrupt`](StoreError::Corrupt) where there is no such thing.
    pub fn slice(&mut self, len: usize) -> Result<&'a [u8], StoreError> {
        let (slice, rest) = self.0.split_at_checked(len).ok_or_else(malformed)?;
        self.0 = rest;
        Ok(slice)
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.0)
    }

    /// The next `N` bytes. Not for secrets.
    ///
    /// # Errors
    /// [`Corrupt`](StoreError::Corrupt) where there is no such thing.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        self.slice(N)?.try_into().map_err(|_| malformed())
    }

    /// The next byte.
    ///
    /// # Errors
    /// [`Corrupt`](StoreError::Corrupt) where there is no such thing.
    pub fn byte(&mut self) -> Result<u8, StoreError> {
        self.array().map(|[byte]| byte)
    }

    /// The next 8 bytes, big-endian.
    ///
    /// # Errors
    /// [`Corrupt`](StoreError::Corrupt) where there is no such thing.
    pub fn number(&mut self) -> Result<u64, StoreError> {
        self.array().map(u64::from_be_bytes)
    }

    /// The next 32 bytes.
    ///
    /// # Errors
    /// [`Corrupt`](StoreError::Corrupt) where there is no such thing.
    pub fn secret(&mut self) -> Result<Secret<32>, StoreError> {
        Secret::copy_from(self.slice(32)?).ok_or_else(malformed)
    }

    /// Nothing is left.
    ///
    /// # Errors
    /// [`Corrupt`](StoreError::Corrupt) where there is no such thing.
    pub fn end(self) -> Result<(), StoreError> {
        if self.0.is_empty() { Ok(()) } else { Err(malformed()) }
    }
}
