//! The store.

use core::{fmt, ops::ControlFlow};
use std::{collections::BTreeMap, path::Path};

use cc_core::{
    Secret, SecretBytes,
    store::{Batch, Change, Scope, Store, StoreError},
};
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, config::DbConfig, params};

use crate::{
    Credential, Options,
    connection::{self, blob},
    error::{commit_error, sqlite_error},
    file::{Files, check_format},
    header::Header,
    journal::{self, Journal},
    seal::{Place, Sealer},
};

/// A store in one SQLite file, encrypted at rest.
///
/// It is held by one opener at a time; dropping it lets go of the file.
pub struct SqliteStore {
    // Before the lock, so that SQLite has closed the file when the lock goes.
    connection: Connection,
    files: Files,
    sealer: Sealer,
    generation: u64,
    journal: Journal,
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

    /// Opens the store at `path` if it has reached `min_generation`.
    ///
    /// # Errors
    /// As [`Options::open`]; [`StoreError::RolledBack`] if it has not.
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
        self.generation
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
        if !self.journal.is_empty() {
            self.fold(self.generation, &Batch::new(), None)?;
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
        let (_, generation) = read_journal(&self.connection, &self.sealer)?;
        if generation != self.generation {
            return Err(StoreError::corrupt("the generation is not the one that was written"));
        }
        Ok(())
    }

    pub(crate) fn create_with(
        path: &Path,
        mut credential: Credential,
        options: &Options,
    ) -> Result<Self, StoreError> {
        let files = Files::lock(path)?;
        files.vacant()?;
        let data_key = Secret::random()?;
        let header = Header::new(&mut credential, &data_key)?;
        let sealer = Sealer::new(header.store, data_key);
        let draft = files.draft()?;
        let draw_up = || -> Result<(), StoreError> {
            let connection = connection::connect(&draft)?;
            connection::draw_up(&connection, &sealer.seal_generation(0)?)?;
            header.write(&connection).map_err(sqlite_error)?;
            connection::set_log(&connection)?;
            connection.close().map_err(|(_, error)| sqlite_error(error))
        };
        draw_up().and_then(|()| files.publish(&draft)).inspect_err(|_| {
            // Left behind, it would be removed before the next attempt.
            let _ = std::fs::remove_file(&draft);
        })?;
        let contents = read(&files, credential, options).inspect_err(|_| {
            // Nobody has seen it yet, and the lock is still held.
            let _ = files.remove();
        })?;
        Ok(Self::of(files, contents))
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
        let files = Files::lock(path)?;
        let contents = read(&files, credential, options)?;
        Ok(Self::of(files, contents))
    }

    fn of(files: Files, contents: Contents) -> Self {
        let Contents { connection, sealer, journal, generation } = contents;
        Self { connection, files, sealer, generation, journal, in_doubt: false }
    }

    fn usable(&self) -> Result<(), StoreError> {
        if self.in_doubt {
            return Err(StoreError::in_doubt("a commit failed on its way to the disk"));
        }
        Ok(())
    }

    fn next_generation(&self) -> Result<u64, StoreError> {
        self.generation.checked_add(1).ok_or(StoreError::Full)
    }

    /// Writes `batch` to the journal, as `len` bytes.
    fn append(&mut self, generation: u64, batch: &Batch, len: usize) -> Result<(), StoreError> {
        let entry = self.sealer.seal_entry(generation, &journal::encode(batch, len)?)?;
        let number = self.journal.rows() + 1;
        let result =
            transact(&mut self.connection, |connection| insert_entry(connection, number, &entry));
        self.settle(&result);
        result?;
        self.journal.add(batch, len);
        self.generation = generation;
        Ok(())
    }

    /// Writes what the journal changed, and then `batch`, to the record table.
    ///
    /// A record is longer there than in the journal. Where that finds no room, the journal is written
    /// anew, shorter, so that a full store can still delete.
    fn fold(
        &mut self,
        generation: u64,
        batch: &Batch,
        header: Option<&Header>,
    ) -> Result<(), StoreError> {
        match self.rewrite(generation, batch, header, Journal::default()) {
            Err(StoreError::Full) if !self.in_doubt => {}
            result => return result,
        }
        let rest = self.journal.rest(batch).ok_or(StoreError::Full)?;
        self.rewrite(generation, batch, header, rest)
    }

    /// Writes what the journal changed, and then `batch`, to the record table, and leaves `rest` in the
    /// journal.
    fn rewrite(
        &mut self,
        generation: u64,
        batch: &Batch,
        header: Option<&Header>,
        rest: Journal,
    ) -> Result<(), StoreError> {
        let Self { connection, sealer, journal, .. } = self;
        let (entry, before) = if rest.is_empty() {
            (None, generation)
        } else {
            let before = generation.checked_sub(1).ok_or(StoreError::Full)?;
            (Some(sealer.seal_entry(generation, &rest.encode()?)?), before)
        };
        let sealed_generation = sealer.seal_generation(before)?;
        let result = transact(connection, |connection| {
            // Before anything is put, so that a store without room finds some.
            connection.execute("DELETE FROM journal", []).map_err(sqlite_error)?;
            let mut delete = connection
                .prepare_cached("DELETE FROM record WHERE scope = ?1 AND id = ?2")
                .map_err(sqlite_error)?;
            for (scope, key, change) in journal.newest(batch) {
                if change == Change::Delete {
                    let place = sealer.place(scope, key);
                    delete.execute(params![place.scope, place.id]).map_err(sqlite_error)?;
                }
            }
            let mut put = connection
                .prepare_cached(
                    "INSERT INTO record (scope, id, sealed) VALUES (?1, ?2, ?3)
                     ON CONFLICT (scope, id) DO UPDATE SET sealed = excluded.sealed",
                )
                .map_err(sqlite_error)?;
            for (scope, key, change) in journal.newest(batch) {
                if let Change::Put(value) = change
                    && rest.get(scope, key).is_none()
                {
                    let place = sealer.place(scope, key);
                    let sealed = sealer.seal(place, key, value)?;
                    put.execute(params![place.scope, place.id, sealed]).map_err(sqlite_error)?;
                }
            }
            if let Some(entry) = entry {
                insert_entry(connection, 1, &entry)?;
            }
            if let Some(header) = header {
                header.write(connection).map_err(sqlite_error)?;
            }
            let changed = connection
                .execute("UPDATE state SET generation = ?1", [sealed_generation])
                .map_err(sqlite_error)?;
            if changed == 1 { Ok(()) } else { Err(StoreError::corrupt("there is no generation")) }
        });
        self.settle(&result);
        result?;
        self.journal = rest;
        self.generation = generation;
        Ok(())
    }

    /// A transaction that is neither committed nor rolled back is nobody's to go on with.
    fn settle(&mut self, result: &Result<(), StoreError>) {
        if let Err(error) = result {
            self.in_doubt = error.is_in_doubt() || !self.connection.is_autocommit();
        }
    }
}

/// What locked files hold.
struct Contents {
    connection: Connection,
    sealer: Sealer,
    journal: Journal,
    generation: u64,
}

fn read(
    files: &Files,
    mut credential: Credential,
    options: &Options,
) -> Result<Contents, StoreError> {
    files.recognize()?;
    let left_log = files.left_log();
    let connection = connection::connect(files.path())?;
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
    let header = Header::read(&connection)?;
    let sealer = Sealer::new(header.store, header.unlock(&mut credential)?);
    let (journal, generation) = if connection::has_journal(format) {
        read_journal(&connection, &sealer)?
    } else {
        let sealed = connection::sealed_generation(&connection)?;
        (Journal::default(), sealer.open_generation(&sealed)?)
    };
    if generation < options.min_generation {
        let expected = options.min_generation;
        return Err(StoreError::RolledBack { found: generation, expected });
    }
    if left_log {
        // What the crash left may be in the system's memory only, and whoever reads it acts on it.
        connection::empty_log(&connection)?;
    }
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)
        .map_err(sqlite_error)?;
    connection::set_log(&connection)?;
    connection::upgrade(&connection, format)?;
    connection::set_options(&connection, options)?;
    Ok(Contents { connection, sealer, journal, generation })
}

fn transact(
    connection: &mut Connection,
    work: impl FnOnce(&Connection) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(sqlite_error)?;
    work(&transaction)?;
    transaction.commit().map_err(commit_error)
}

fn insert_entry(connection: &Connection, number: i64, entry: &[u8]) -> Result<(), StoreError> {
    connection
        .prepare_cached("INSERT INTO journal (number, sealed) VALUES (?1, ?2)")
        .and_then(|mut statement| statement.execute(params![number, entry]))
        .map(drop)
        .map_err(sqlite_error)
}

/// The journal, and the generation that it leads to.
fn read_journal(connection: &Connection, sealer: &Sealer) -> Result<(Journal, u64), StoreError> {
    let mut generation = sealer.open_generation(&connection::sealed_generation(connection)?)?;
    let mut journal = Journal::default();
    let mut statement = connection
        .prepare("SELECT number, sealed FROM journal ORDER BY number")
        .map_err(sqlite_error)?;
    let mut rows = statement.query([]).map_err(sqlite_error)?;
    while let Some(row) = rows.next().map_err(sqlite_error)? {
        if row.get::<_, i64>(0).map_err(sqlite_error)? != journal.rows() + 1 {
            return Err(StoreError::corrupt("a commit is missing"));
        }
        generation =
            generation.checked_add(1).ok_or_else(|| StoreError::corrupt("too many commits"))?;
        journal.replay(sealer.open_entry(generation, blob(row, 1)?)?.expose())?;
    }
    Ok((journal, generation))
}

impl Store for SqliteStore {
    fn get(&self, scope: &Scope, key: &[u8]) -> Result<Option<SecretBytes>, StoreError> {
        self.usable()?;
        match self.journal.get(scope, key) {
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
        let newer =
            self.journal.changes().filter(|(at, key, _)| *at == scope && key.starts_with(prefix));
        for (_, key, change) in newer {
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
        if self.journal.has_room(len) {
            match self.append(generation, batch, len) {
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
        if self.usable().is_ok() && !self.journal.is_empty() {
            let _ = self.fold(self.generation, &Batch::new(), None);
        }
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("path", &self.files.path())
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}
