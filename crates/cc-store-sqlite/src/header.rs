//! The row that says which store this is and holds its wrapped data key.

use cc_core::{Secret, random, store::StoreError};
use rusqlite::{Connection, params};
use sha2::{Digest as _, Sha256};

use crate::{Credential, error::sqlite_error};

/// What tells a store from every other. Random, not secret.
pub(crate) type StoreId = [u8; 16];

pub(crate) type Checksum = [u8; 32];

/// The version of the header itself, which all formats of the file have in common.
const VERSION: u32 = 1;
/// Bytes of a data key wrapped under a passphrase, the longer way.
const MAX_WRAPPED_LEN: usize = 54 + 24 + 32 + 16;

pub(crate) struct Header {
    pub(crate) store: StoreId,
    kind: u8,
    wrapped: Vec<u8>,
}

impl Header {
    /// The header of a new store.
    pub(crate) fn new(
        credential: &mut Credential,
        data_key: &Secret<32>,
    ) -> Result<Self, StoreError> {
        Self::wrapping(random::array()?, credential, data_key)
    }

    /// The header of a store that exists, for another credential.
    pub(crate) fn wrapping(
        store: StoreId,
        credential: &mut Credential,
        data_key: &Secret<32>,
    ) -> Result<Self, StoreError> {
        let wrapped = credential.wrap(&associated_data(&store), data_key)?;
        Ok(Self { store, kind: credential.kind(), wrapped })
    }

    /// The data key, if this is the credential.
    pub(crate) fn unlock(&self, credential: &mut Credential) -> Result<Secret<32>, StoreError> {
        if credential.kind() != self.kind {
            return Err(StoreError::WrongKey);
        }
        credential.unwrap(&associated_data(&self.store), &self.wrapped)
    }

    pub(crate) fn read(connection: &Connection) -> Result<Self, StoreError> {
        let (store, kind, wrapped, checksum) = connection
            .query_row("SELECT store, kind, wrapped, checksum FROM header", [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get::<_, [u8; 32]>(3)?))
            })
            .map_err(sqlite_error)?;
        let header = Self { store, kind, wrapped };
        if header.wrapped.len() > MAX_WRAPPED_LEN {
            return Err(StoreError::corrupt("a wrapped data key of another length"));
        }
        // Not against people, who can compute it too, but to tell damage from a wrong passphrase.
        if header.checksum() != checksum {
            return Err(StoreError::corrupt("the checksum of the header does not fit"));
        }
        Ok(header)
    }

    pub(crate) fn write(&self, connection: &Connection) -> Result<(), rusqlite::Error> {
        let sql = "INSERT OR REPLACE INTO header (one, store, kind, wrapped, checksum)
                   VALUES (1, ?1, ?2, ?3, ?4)";
        let row = params![self.store, self.kind, self.wrapped, self.checksum()];
        connection.execute(sql, row).map(drop)
    }

    /// What the state of the store is bound to.
    pub(crate) fn checksum(&self) -> Checksum {
        let mut hash = Sha256::new();
        hash.update(b"cascading-cipher/1 store header");
        hash.update(VERSION.to_be_bytes());
        hash.update(self.store);
        hash.update([self.kind]);
        hash.update(&self.wrapped);
        hash.finalize().into()
    }
}

fn associated_data(store: &StoreId) -> Vec<u8> {
    [&b"cascading-cipher/1 store data key"[..], &VERSION.to_be_bytes(), store].concat()
}
