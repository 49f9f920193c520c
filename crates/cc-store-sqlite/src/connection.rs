//! The SQLite connection: schema, settings, and the rows that are one of a kind.

use std::path::Path;

use cc_core::store::StoreError;
use rusqlite::{Connection, OpenFlags, config::DbConfig};

use crate::{
    Durability, Options,
    error::sqlite_error,
    file::{APPLICATION_ID, FORMAT},
};

/// Records stand in the order of their scopes, so that one group's records share pages.
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

/// Since format 2.
const JOURNAL: &str = "
    CREATE TABLE journal (
        number INTEGER PRIMARY KEY,
        sealed BLOB NOT NULL
    ) STRICT;
";

/// Makes an empty database a store without a header.
pub(crate) fn draw_up(connection: &Connection, sealed_state: &[u8]) -> Result<(), StoreError> {
    connection
        .execute_batch(&format!(
            "{SCHEMA}{JOURNAL}
             PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={FORMAT};"
        ))
        .and_then(|()| {
            let sql = "INSERT INTO state (one, generation) VALUES (1, ?1)";
            connection.execute(sql, [sealed_state])
        })
        .map(drop)
        .map_err(sqlite_error)
}

pub(crate) fn format(connection: &Connection) -> Result<u32, StoreError> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(sqlite_error)
}

pub(crate) fn has_journal(format: u32) -> bool {
    format >= 2
}

/// Whether there is a digest of the records beside the generation, and the journal is a chain.
pub(crate) fn has_digest(format: u32) -> bool {
    format >= 3
}

/// What makes tables of an earlier format those of this, within the transaction that writes their rows.
pub(crate) fn upgrade(connection: &Connection, format: u32) -> Result<(), StoreError> {
    let journal = if has_journal(format) { "" } else { JOURNAL };
    connection
        .execute_batch(&format!("{journal} PRAGMA user_version={FORMAT};"))
        .map_err(sqlite_error)
}

pub(crate) fn connect(path: &Path) -> Result<Connection, StoreError> {
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
    // What is deleted is overwritten: forward secrecy on disk rests on it. The log, where it is not, is
    // kept at 1 MiB, also after a transaction that made it longer.
    connection
        .execute_batch(
            "PRAGMA locking_mode=EXCLUSIVE; PRAGMA secure_delete=ON; PRAGMA cell_size_check=ON;
             PRAGMA temp_store=MEMORY; PRAGMA fullfsync=ON; PRAGMA checkpoint_fullfsync=ON;
             PRAGMA wal_autocheckpoint=256; PRAGMA journal_size_limit=1048576;",
        )
        .map_err(sqlite_error)?;
    connection.busy_timeout(std::time::Duration::ZERO).map_err(sqlite_error)?;
    Ok(connection)
}

pub(crate) fn set_log(connection: &Connection) -> Result<(), StoreError> {
    let mode: String = connection
        .query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0))
        .map_err(sqlite_error)?;
    if mode == "wal" { Ok(()) } else { Err(StoreError::io("SQLite refuses a write-ahead log")) }
}

/// Moves the log into the database, durably, and empties it.
pub(crate) fn empty_log(connection: &Connection) -> Result<(), StoreError> {
    let busy: bool = connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
        .map_err(sqlite_error)?;
    if busy { Err(StoreError::Locked) } else { Ok(()) }
}

pub(crate) fn set_options(connection: &Connection, options: &Options) -> Result<(), StoreError> {
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

/// The one row of `state`, whose column has kept its name since format 1.
pub(crate) fn sealed_state(connection: &Connection) -> Result<Vec<u8>, StoreError> {
    connection.query_row("SELECT generation FROM state", [], |row| row.get(0)).map_err(sqlite_error)
}

pub(crate) fn blob<'a>(row: &'a rusqlite::Row<'_>, column: usize) -> Result<&'a [u8], StoreError> {
    let value = row.get_ref(column).map_err(sqlite_error)?;
    value.as_blob().map_err(StoreError::corrupt)
}
