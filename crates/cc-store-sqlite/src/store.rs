//! The store.

use core::{fmt, ops::ControlFlow};
use std::path::Path;

use cc_core::{
    Secret, SecretBytes,
    store::{Batch, Change, Scope, Store, StoreError},
};
use rusqlite::{
    Connection, OpenFlags, OptionalExtension as _, TransactionBehavior, config::DbConfig, params,
};

use crate::{
    Credential, Durability, Options,
    error::{commit_error, sqlite_error},
    file::{APPLICATION_ID, FORMAT, Files, check_format},
    header::Header,
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
        let store = self.sealer.store();
        let header = Header::wrapping(store, &mut credential, self.sealer.data_key())?;
        self.transact(|connection, _| header.write(connection).map_err(sqlite_error))?;
        self.checkpoint()
    }

    /// Moves the write-ahead log into the database and empties it, so that nothing deleted is left in
    /// it. SQLite moves it every 1000 pages by itself, and when the store is closed.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::Full`]. Nothing is lost then.
    pub fn checkpoint(&mut self) -> Result<(), StoreError> {
        self.usable()?;
        self.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .map_err(sqlite_error)
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
        self.check_generation()
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
            let connection = connect(&draft)?;
            connection.execute_batch(SCHEMA).map_err(sqlite_error)?;
            connection
                .execute_batch(&format!(
                    "PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={FORMAT};"
                ))
                .map_err(sqlite_error)?;
            header.write(&connection).map_err(sqlite_error)?;
            connection
                .execute(
                    "INSERT INTO state (one, generation) VALUES (1, ?1)",
                    [sealer.seal_generation(0)?],
                )
                .map_err(sqlite_error)?;
            set_log(&connection)?;
            connection.close().map_err(|(_, error)| sqlite_error(error))
        };
        draw_up().and_then(|()| files.publish(&draft)).inspect_err(|_| {
            // Left behind, it would be removed before the next attempt.
            let _ = std::fs::remove_file(&draft);
        })?;
        Self::open_locked(files, credential, options)
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
        Self::open_locked(Files::lock(path)?, credential, options)
    }

    fn open_locked(
        files: Files,
        mut credential: Credential,
        options: &Options,
    ) -> Result<Self, StoreError> {
        files.recognize()?;
        let left_log = files.left_log();
        let connection = connect(files.path())?;
        // Until the credential has proved right, a log that a crash left stays where it is. Where there
        // was none, SQLite removes the one that it makes.
        connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, left_log)
            .map_err(sqlite_error)?;
        if connection.is_readonly("main").map_err(sqlite_error)? {
            return Err(StoreError::io("the file cannot be written"));
        }
        // The log may hold a newer format than the database.
        check_format(
            connection
                .query_row("PRAGMA user_version", [], |row| row.get(0))
                .map_err(sqlite_error)?,
        )?;
        let header = Header::read(&connection)?;
        let sealer = Sealer::new(header.store, header.unlock(&mut credential)?);
        let generation = sealer.open_generation(&sealed_generation(&connection)?)?;
        if generation < options.min_generation {
            let expected = options.min_generation;
            return Err(StoreError::RolledBack { found: generation, expected });
        }
        connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)
            .map_err(sqlite_error)?;
        set_log(&connection)?;
        set_options(&connection, options)?;
        Ok(Self { connection, files, sealer, generation, in_doubt: false })
    }

    fn usable(&self) -> Result<(), StoreError> {
        if self.in_doubt {
            return Err(StoreError::in_doubt("a commit failed on its way to the disk"));
        }
        Ok(())
    }

    /// Does `work` and counts the generation, in one transaction.
    fn transact(
        &mut self,
        work: impl FnOnce(&Connection, &Sealer) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.usable()?;
        let generation = self.generation.checked_add(1).ok_or(StoreError::Full)?;
        let sealed_generation = self.sealer.seal_generation(generation)?;
        let run = |connection: &mut Connection, sealer: &Sealer| {
            let transaction = connection
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .map_err(sqlite_error)?;
            work(&transaction, sealer)?;
            let changed = transaction
                .prepare_cached("UPDATE state SET generation = ?1")
                .and_then(|mut statement| statement.execute([sealed_generation]))
                .map_err(sqlite_error)?;
            if changed != 1 {
                return Err(StoreError::corrupt("there is no generation"));
            }
            transaction.commit().map_err(commit_error)
        };
        let result = run(&mut self.connection, &self.sealer);
        match &result {
            Ok(()) => self.generation = generation,
            // A transaction that is neither committed nor rolled back is nobody's to go on with.
            Err(error) => self.in_doubt = error.is_in_doubt() || !self.connection.is_autocommit(),
        }
        result
    }

    fn check_generation(&self) -> Result<(), StoreError> {
        let stored = self.sealer.open_generation(&sealed_generation(&self.connection)?)?;
        if stored != self.generation {
            return Err(StoreError::corrupt("the generation is not the one that was written"));
        }
        Ok(())
    }
}

impl Store for SqliteStore {
    fn get(&self, scope: &Scope, key: &[u8]) -> Result<Option<SecretBytes>, StoreError> {
        self.usable()?;
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
        let scope = self.sealer.scope(scope);
        let mut found = Vec::new();
        {
            let mut statement = self
                .connection
                .prepare_cached("SELECT id, sealed FROM record WHERE scope = ?1")
                .map_err(sqlite_error)?;
            let mut rows = statement.query([scope]).map_err(sqlite_error)?;
            while let Some(row) = rows.next().map_err(sqlite_error)? {
                let place = Place { scope, id: row.get(0).map_err(sqlite_error)? };
                let (key, value) = self.sealer.open(place, blob(row, 1)?)?;
                if key.starts_with(prefix) {
                    found.push((key, value));
                }
            }
        }
        found.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        for (key, value) in found {
            if visit(&key, value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.usable()?;
        batch.check()?;
        if batch.is_empty() {
            return Ok(());
        }
        self.transact(|connection, sealer| {
            let mut put = connection
                .prepare_cached(
                    "INSERT INTO record (scope, id, sealed) VALUES (?1, ?2, ?3)
                     ON CONFLICT (scope, id) DO UPDATE SET sealed = excluded.sealed",
                )
                .map_err(sqlite_error)?;
            let mut delete = connection
                .prepare_cached("DELETE FROM record WHERE scope = ?1 AND id = ?2")
                .map_err(sqlite_error)?;
            for (scope, key, change) in batch.changes() {
                let place = sealer.place(scope, key);
                match change {
                    Change::Put(value) => {
                        let sealed = sealer.seal(place, key, value)?;
                        put.execute(params![place.scope, place.id, sealed])
                    }
                    Change::Delete => delete.execute(params![place.scope, place.id]),
                }
                .map_err(sqlite_error)?;
            }
            Ok(())
        })
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

/// Records stand in the order of their scopes, so that one group's records share pages and one commit
/// touches few of them.
const SCHEMA: &str = "
    CREATE TABLE header (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        store BLOB NOT NULL,
        kind INTEGER NOT NULL,
        wrapped BLOB NOT NULL,
        checksum BLOB NOT NULL
    ) STRICT;
    CREATE TABLE state (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        generation BLOB NOT NULL
    ) STRICT;
    CREATE TABLE record (
        scope BLOB NOT NULL,
        id BLOB NOT NULL,
        sealed BLOB NOT NULL,
        PRIMARY KEY (scope, id)
    ) STRICT, WITHOUT ROWID;
";

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(sqlite_error)?;
    for (config, on) in [
        // A schema that somebody else changed must not act.
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
    ] {
        connection.set_db_config(config, on).map_err(sqlite_error)?;
    }
    // Exclusive, against programs that do not know the lock file; it also does without shared memory.
    // What is deleted is overwritten: forward secrecy on disk rests on it.
    connection
        .execute_batch(
            "PRAGMA locking_mode=EXCLUSIVE; PRAGMA secure_delete=ON; PRAGMA cell_size_check=ON;
             PRAGMA temp_store=MEMORY; PRAGMA fullfsync=ON; PRAGMA checkpoint_fullfsync=ON;",
        )
        .map_err(sqlite_error)?;
    connection.busy_timeout(std::time::Duration::ZERO).map_err(sqlite_error)?;
    Ok(connection)
}

fn set_log(connection: &Connection) -> Result<(), StoreError> {
    let mode: String = connection
        .query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0))
        .map_err(sqlite_error)?;
    if mode == "wal" { Ok(()) } else { Err(StoreError::io("SQLite refuses a write-ahead log")) }
}

fn set_options(connection: &Connection, options: &Options) -> Result<(), StoreError> {
    let synchronous = match options.durability {
        Durability::PowerLoss => "FULL",
        Durability::ProcessEnd => "NORMAL",
    };
    connection.pragma_update(None, "synchronous", synchronous).map_err(sqlite_error)?;
    if let Some(bytes) = options.max_bytes {
        // SQLite has no more pages than this, and takes 0 for a question.
        let pages = (bytes / PAGE_LEN).clamp(1, 0xffff_fffe);
        connection
            .query_row(&format!("PRAGMA max_page_count={pages}"), [], |_| Ok(()))
            .map_err(sqlite_error)?;
    }
    Ok(())
}

/// SQLite's default since 3.12, and what a new store gets.
const PAGE_LEN: u64 = 4096;

fn sealed_generation(connection: &Connection) -> Result<Vec<u8>, StoreError> {
    connection.query_row("SELECT generation FROM state", [], |row| row.get(0)).map_err(sqlite_error)
}

fn blob<'a>(row: &'a rusqlite::Row<'_>, column: usize) -> Result<&'a [u8], StoreError> {
    let value = row.get_ref(column).map_err(sqlite_error)?;
    value.as_blob().map_err(StoreError::corrupt)
}
