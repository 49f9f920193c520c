//! How a store is opened.

use std::path::Path;

use cc_core::store::StoreError;

use crate::{Credential, SqliteStore};

/// How a store is opened. [`SqliteStore::options`] makes one.
#[derive(Debug, Clone, Default)]
#[must_use = "nothing is opened until open(), create() or open_or_create()"]
pub struct Options {
    pub(crate) durability: Durability,
    pub(crate) max_bytes: Option<u64>,
    pub(crate) min_generation: u64,
}

/// What a commit has survived by the time it returns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// The end of the process, a crash of the system, and a loss of power: one `fsync` per commit
    /// (SQLite's `synchronous=FULL`).
    #[default]
    PowerLoss,
    /// The end of the process only (`synchronous=NORMAL`): no `fsync` per commit. After a crash of the
    /// system or a loss of power the last commits may be missing, all of each or nothing of it.
    ///
    /// **A ratchet whose last commits are missing uses message keys again.** For tests, for state that
    /// can be thrown away, and for machines on which power cannot be lost.
    ProcessEnd,
}

impl Options {
    /// What a commit survives. [`Durability::PowerLoss`] where nothing is said.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Lets the database file grow to this size, rounded down to pages of 4096 bytes; a change beyond
    /// that is [`StoreError::Full`]. The write-ahead log comes on top.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// Refuses a store that has not reached this generation: an old copy was put in its place. See
    /// [`SqliteStore::generation`]. For a generation above 0 it also refuses one with records that are
    /// missing or not of the generation that the store says, for which all of them are read.
    pub fn expecting(mut self, min_generation: u64) -> Self {
        self.min_generation = min_generation;
        self
    }

    /// Opens the store at `path`.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`Locked`](StoreError::Locked), [`Foreign`](StoreError::Foreign),
    /// [`Newer`](StoreError::Newer), [`Corrupt`](StoreError::Corrupt),
    /// [`WrongKey`](StoreError::WrongKey), [`TooCostly`](StoreError::TooCostly), [`RolledBack`](StoreError::RolledBack),
    /// [`Io`](StoreError::Io), also for a file that cannot be written, that has a second name, or whose
    /// lock file is a symbolic link. The file is then as it was.
    pub fn open(
        &self,
        path: impl AsRef<Path>,
        credential: Credential,
    ) -> Result<SqliteStore, StoreError> {
        SqliteStore::open_with(path.as_ref(), credential, self)
    }

    /// Creates a store at `path`, whose directory must exist. On Unix nobody but its owner can read
    /// the file.
    ///
    /// # Errors
    /// [`StoreError::Exists`] where there is anything, [`Locked`](StoreError::Locked),
    /// [`Random`](StoreError::Random), [`Io`](StoreError::Io), [`Full`](StoreError::Full). There is no
    /// store at `path` then, unless the file system does not let it be removed.
    pub fn create(
        &self,
        path: impl AsRef<Path>,
        credential: Credential,
    ) -> Result<SqliteStore, StoreError> {
        SqliteStore::create_with(path.as_ref(), credential, self)
    }

    /// Opens the store at `path`, or creates it where there is none.
    ///
    /// # Errors
    /// As [`open`](Self::open) and [`create`](Self::create).
    pub fn open_or_create(
        &self,
        path: impl AsRef<Path>,
        credential: Credential,
    ) -> Result<SqliteStore, StoreError> {
        if path.as_ref().try_exists().map_err(StoreError::io)? {
            self.open(path, credential)
        } else {
            self.create(path, credential)
        }
    }
}
