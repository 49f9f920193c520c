//! The store.

use core::{fmt, ops::ControlFlow};
use std::{collections::BTreeMap, path::Path};

use cc_core::{
    Secret, SecretBytes,
    store::{Batch, Change, Scope, Store, StoreError},
};
use rusqlite::{Connection, OptionalExtension as _, config::DbConfig, params};

use crate::{
    Credential, Options,
    connection::{self, blob},
    digest::RecordsDigest,
    error::sqlite_error,
    file::{FORMAT, Files, check_format},
    header::{Checksum, Header},
    history::{History, Rewrite, digest_of, foreign_records},
    journal,
    seal::{Place, Sealer, Whole},
};

/// A store in one SQLite file, encrypted at rest.
///
/// It is held by one opener at a time; dropping it lets go of the file.
pub struct SqliteStore {
    // Before the lock, so that SQLite has closed the file when the lock goes.
    connection: Connection,
    files: Files,
    sealer: Sealer,
    /// The checksum of the header, to which the state is bound.
    header: Checksum,
    history: History,
    in_doubt: bool,
}

impl SqliteStore {
    /// How to open it, where the defaults do not fit.
    pub fn options() -> Options {
        Options::default()
    }

    /// Opens the store at `path`.
    ///
    /// # Errors
    /// As [`Options::open`].
    pub fn open(path: impl AsRef<Path>, credential: Credential) -> Result<Self, StoreError> {
        Options::default().open(path, credential)
    }

    /// Creates a store at `path`.
    ///
    /// # Errors
    /// As [`Options::create`].
    pub fn create(path: impl AsRef<Path>, credential: Credential) -> Result<Self, StoreError> {
        Options::default().create(path, credential)
    }

    /// Opens the store at `path`, or creates it where there is none.
    ///
    /// # Errors
    /// As [`Options::open_or_create`].
    pub fn open_or_create(
        path: impl AsRef<Path>,
        credential: Credential,
    ) -> Result<Self, StoreError> {
        Options::default().open_or_create(path, credential)
    }

    /// Opens the store at `path` if it has reached `min_generation`, and if its records are those of the
    /// generation that it says: reads all of them. See [`Options::expecting`].
    ///
    /// # Errors
    /// As [`Options::open`]; [`StoreError::RolledBack`] if it has not, [`StoreError::Corrupt`] if records
    /// are missing or not of that generation.
    pub fn open_expecting(
        path: impl AsRef<Path>,
        credential: Credential,
        min_generation: u64,
    ) -> Result<Self, StoreError> {
        Options::default().expecting(min_generation).open(path, credential)
    }

    /// How many commits and changes of the credential there were. Keep it where a restored backup does
    /// not reach (another device, a server, the key store), and open with
    /// [`open_expecting`](Self::open_expecting).
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.history.generation
    }

    /// Lets `credential` open the store, and the one before no more. Rewrites the wrapped data key
    /// only, and then clears the old one out of the log.
    ///
    /// Copies of the file that were made before still open with the old credential. Somebody who had
    /// both the old credential and the file may have the data key: for them, make a new store.
    ///
    /// # Errors
    /// As [`Store::commit`]. After [`StoreError::InDoubt`] one of the two opens the store.
    pub fn change_credential(&mut self, mut credential: Credential) -> Result<(), StoreError> {
        self.usable()?;
        let store = self.sealer.store();
        let header = Header::wrapping(store, &mut credential, self.sealer.data_key())?;
        self.fold(self.next_generation()?, &Batch::new(), Some(&header))?;
        self.checkpoint().map_err(|error| {
            // The new one opens the store, but the old one may still do so.
            self.in_doubt = true;
            StoreError::in_doubt(error)
        })
    }

    /// Writes everything to its place in the database, as far as there is room, and empties the
    /// write-ahead log, so that nothing deleted is left in the files. When the store is closed that
    /// happens by itself, if it can.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::Full`]: nothing is lost then. [`StoreError::InDoubt`] as for
    /// [`Store::commit`].
    pub fn checkpoint(&mut self) -> Result<(), StoreError> {
        self.usable()?;
        if !self.history.journal.is_empty() {
            self.fold(self.history.generation, &Batch::new(), None)?;
        }
        connection::empty_log(&self.connection)
    }

    /// Reads all pages and opens all records. Takes time in proportion to the file.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for the first thing that is not as it should be.
    pub fn verify(&self) -> Result<(), StoreError> {
        self.usable()?;
        let answer: String = self
            .connection
            .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
            .map_err(sqlite_error)?;
        if answer != "ok" {
            return Err(StoreError::corrupt(answer));
        }
        let mut statement = self
            .connection
            .prepare("SELECT scope, id, sealed FROM record")
            .map_err(sqlite_error)?;
        let mut rows = statement.query([]).map_err(sqlite_error)?;
        while let Some(row) = rows.next().map_err(sqlite_error)? {
            let place = Place {
                scope: row.get(0).map_err(sqlite_error)?,
                id: row.get(1).map_err(sqlite_error)?,
            };
            self.sealer.open(place, blob(row, 2)?)?;
        }
        let found = History::read(&self.connection, &self.sealer, &self.header)?;
        if !found.is_same(&self.history) {
            return Err(StoreError::corrupt("the generation is not the one that was written"));
        }
        if digest_of(&self.connection, &self.sealer)? != self.history.records {
            return Err(foreign_records());
        }
        Ok(())
    }

    pub(crate) fn create_with(
        path: &Path,
        mut credential: Credential,
        options: &Options,
    ) -> Result<Self, StoreError> {
        let mut files = Files::lock(path)?;
        files.vacant()?;
        let data_key = Secret::random()?;
        let header = Header::new(&mut credential, &data_key)?;
        let sealer = Sealer::new(header.store, data_key);
        let draft = files.draft()?;
        let draw_up = || -> Result<(), StoreError> {
            let connection = connection::connect(&draft)?;
            let (state, _) = sealer.seal_state(
                &header.checksum(),
                0,
                &RecordsDigest::default(),
                Whole::Alone,
            )?;
            connection::draw_up(&connection, &state)?;
            header.write(&connection).map_err(sqlite_error)?;
            connection::set_log(&connection)?;
            connection.close().map_err(|(_, error)| sqlite_error(error))
        };
        draw_up().and_then(|()| files.publish(&draft)).inspect_err(|_| {
            // Left behind, it would be removed before the next attempt.
            let _ = std::fs::remove_file(&draft);
        })?;
        match read(&mut files, credential, options) {
            Ok(contents) => Ok(Self::of(files, contents)),
            Err(error) => {
                // Nobody has seen it yet, and the lock is still held.
                let _ = files.remove();
                Err(error)
            }
        }
    }

    pub(crate) fn open_with(
        path: &Path,
        credential: Credential,
        options: &Options,
    ) -> Result<Self, StoreError> {
        // Before the lock leaves its file where nothing else is.
        if !path.try_exists().map_err(StoreError::io)? {
            return Err(StoreError::Missing);
        }
        let mut files = Files::lock(path)?;
        let contents = read(&mut files, credential, options)?;
        Ok(Self::of(files, contents))
    }

    fn of(files: Files, contents: Contents) -> Self {
        let Contents { connection, sealer, header, history } = contents;
        Self { connection, files, sealer, header, history, in_doubt: false }
    }

    fn usable(&self) -> Result<(), StoreError> {
        if self.in_doubt {
            return Err(StoreError::in_doubt("a commit failed on its way to the disk"));
        }
        Ok(())
    }

    fn next_generation(&self) -> Result<u64, StoreError> {
        self.history.generation.checked_add(1).ok_or(StoreError::Full)
    }

    /// Writes what the journal changed, and then `batch`, to the record table.
    fn fold(
        &mut self,
        generation: u64,
        batch: &Batch,
        header: Option<&Header>,
    ) -> Result<(), StoreError> {
        let checksum = header.map_or(self.header, Header::checksum);
        let rewrite = Rewrite { generation, batch, header, checksum: &checksum, format: FORMAT };
        let result = self.history.fold(&mut self.connection, &self.sealer, &rewrite);
        self.settle(&result);
        self.history = result?;
        self.header = checksum;
        Ok(())
    }

    /// A transaction that is neither committed nor rolled back is nobody's to go on with.
    fn settle<T>(&mut self, result: &Result<T, StoreError>) {
        if let Err(error) = result {
            self.in_doubt = error.is_in_doubt() || !self.connection.is_autocommit();
        }
    }
}

/// What locked files hold.
struct Contents {
    connection: Connection,
    sealer: Sealer,
    header: Checksum,
    history: History,
}

fn read(
    files: &mut Files,
    mut credential: Credential,
    options: &Options,
) -> Result<Contents, StoreError> {
    files.recognize()?;
    let left_log = files.left_log();
    let mut connection = connection::connect(files.path())?;
    // Until the credential has proved right, a log that a crash left stays where it is. Where there
    // was none, SQLite removes the one that it makes.
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, left_log)
        .map_err(sqlite_error)?;
    if connection.is_readonly("main").map_err(sqlite_error)? {
        return Err(StoreError::io("the file cannot be written"));
    }
    // The log may hold a newer format than the database.
    let format = connection::format(&connection)?;
    check_format(format)?;
    connection::check_schema(&connection)?;
    let header = Header::read(&connection)?;
    let sealer = Sealer::new(header.store, header.unlock(&mut credential)?);
    let header = header.checksum();
    let mut history = if connection::has_digest(format) {
        History::read(&connection, &sealer, &header)?
    } else {
        History::read_2(&connection, &sealer, format)?
    };
    if history.generation < options.min_generation {
        let (found, expected) = (history.generation, options.min_generation);
        return Err(StoreError::RolledBack { found, expected });
    }
    if options.min_generation > 0
        && connection::has_digest(format)
        && digest_of(&connection, &sealer)? != history.records
    {
        return Err(foreign_records());
    }
    if left_log {
        // What the crash left may be in the system's memory only, and whoever reads it acts on it.
        connection::empty_log(&connection)?;
    }
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)
        .map_err(sqlite_error)?;
    connection::set_log(&connection)?;
    if !connection::has_digest(format) {
        history = history.upgrade(&mut connection, &sealer, &header, format)?;
    }
    connection::set_options(&connection, options)?;
    Ok(Contents { connection, sealer, header, history })
}

impl Store for SqliteStore {
    fn get(&self, scope: &Scope, key: &[u8]) -> Result<Option<SecretBytes>, StoreError> {
        self.usable()?;
        match self.history.journal.get(scope, key) {
            Some(Change::Put(value)) => return Ok(Some(value.duplicate())),
            Some(Change::Delete) => return Ok(None),
            None => {}
        }
        let place = self.sealer.place(scope, key);
        let sealed: Option<Vec<u8>> = self
            .connection
            .prepare_cached("SELECT sealed FROM record WHERE scope = ?1 AND id = ?2")
            .and_then(|mut statement| {
                statement.query_row(params![place.scope, place.id], |row| row.get(0)).optional()
            })
            .map_err(sqlite_error)?;
        let Some(sealed) = sealed else { return Ok(None) };
        let (found, value) = self.sealer.open(place, &sealed)?;
        if found != key {
            return Err(StoreError::corrupt("a record of another key"));
        }
        Ok(Some(value))
    }

    /// Opens all records of the scope and keeps those that match until the last one is visited, for
    /// they stand in the order of their ids, which says nothing about their keys.
    fn scan(
        &self,
        scope: &Scope,
        prefix: &[u8],
        visit: &mut dyn FnMut(&[u8], SecretBytes) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.usable()?;
        let mut found = BTreeMap::new();
        {
            let tag = self.sealer.scope(scope);
            let mut statement = self
                .connection
                .prepare_cached("SELECT id, sealed FROM record WHERE scope = ?1")
                .map_err(sqlite_error)?;
            let mut rows = statement.query([tag]).map_err(sqlite_error)?;
            while let Some(row) = rows.next().map_err(sqlite_error)? {
                let place = Place { scope: tag, id: row.get(0).map_err(sqlite_error)? };
                let (key, value) = self.sealer.open(place, blob(row, 1)?)?;
                if key.starts_with(prefix) {
                    found.insert(key, value);
                }
            }
        }
        let newer = self.history.journal.changes_in(scope);
        for (key, change) in newer.filter(|(key, _)| key.starts_with(prefix)) {
            match change {
                Change::Put(value) => found.insert(key.to_vec(), value.duplicate()),
                Change::Delete => found.remove(key),
            };
        }
        for (key, value) in found {
            if visit(&key, value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.usable()?;
        batch.check(self)?;
        if batch.is_empty() {
            return Ok(());
        }
        let generation = self.next_generation()?;
        let len = journal::encoded_len(batch);
        if self.history.journal.has_room(len) {
            let result = self.history.append(&mut self.connection, &self.sealer, batch, len);
            self.settle(&result);
            match result {
                // There may be room for the records, without what else the journal holds.
                Err(StoreError::Full) if !self.in_doubt => {}
                result => return result,
            }
        }
        self.fold(generation, batch, None)
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        // What fails here is done when the store is used again.
        if self.usable().is_ok() && !self.history.journal.is_empty() {
            let _ = self.fold(self.history.generation, &Batch::new(), None);
        }
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("path", &self.files.path())
            .field("generation", &self.history.generation)
            .finish_non_exhaustive()
    }
}
