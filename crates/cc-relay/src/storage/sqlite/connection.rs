//! The schema, and the connections.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

use super::{OpenError, SqliteError, StorageError, file_error};

/// The version of the schema, in `PRAGMA user_version`.
const VERSION: i64 = 2;
/// Reads at the same time.
const READERS: usize = 4;

/// `kind` is one of `logs::Kind`, of which those of mailboxes are the greater ones: a group and a mailbox may have
/// the same address. Hours are the relay's. `oldest` is that of the first item that is kept, `request` the id of
/// the append whose last item it is.
const SCHEMA: &str = "
CREATE TABLE clock (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    relay INTEGER NOT NULL,
    wall INTEGER NOT NULL
) STRICT;
CREATE TABLE logs (
    number INTEGER PRIMARY KEY,
    log BLOB NOT NULL,
    kind INTEGER NOT NULL,
    head INTEGER NOT NULL,
    last_commit INTEGER NOT NULL,
    forgotten INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    touched INTEGER NOT NULL,
    oldest INTEGER
) STRICT;
CREATE UNIQUE INDEX logs_log ON logs (log, kind >= 3);
CREATE INDEX logs_touched ON logs (kind, touched);
CREATE INDEX logs_oldest ON logs (oldest) WHERE oldest IS NOT NULL;
CREATE INDEX logs_bytes ON logs (bytes) WHERE kind = 1;
CREATE TABLE items (
    log INTEGER NOT NULL,
    position INTEGER NOT NULL,
    is_commit INTEGER NOT NULL,
    hour INTEGER NOT NULL,
    request BLOB,
    bytes BLOB NOT NULL,
    PRIMARY KEY (log, position)
) STRICT;
CREATE TABLE epochs (
    log INTEGER NOT NULL,
    hash BLOB NOT NULL,
    ended INTEGER,
    PRIMARY KEY (log, hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX epochs_ended ON epochs (log, ended);
CREATE TABLE packages (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    mailbox BLOB NOT NULL,
    last_resort INTEGER NOT NULL,
    hour INTEGER NOT NULL,
    bytes BLOB NOT NULL
) STRICT;
CREATE INDEX packages_mailbox ON packages (mailbox, last_resort, number);
CREATE INDEX packages_hour ON packages (hour);
CREATE TABLE answers (
    id BLOB PRIMARY KEY,
    hour INTEGER NOT NULL,
    answer BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX answers_hour ON answers (hour);
CREATE TABLE claims (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    mailbox BLOB NOT NULL,
    hour INTEGER NOT NULL,
    answer BLOB NOT NULL
) STRICT;
CREATE INDEX claims_mailbox ON claims (mailbox, number);
CREATE INDEX claims_hour ON claims (hour);
";

pub(super) fn open_writer(path: &Path) -> Result<Connection, OpenError> {
    let open = || -> Result<(Connection, i64), rusqlite::Error> {
        let connection = Connection::open(path)?;
        configure(&connection)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        // An answer is durable: the log is synced with every transaction.
        connection.pragma_update(None, "synchronous", "full")?;
        // What is deleted is overwritten.
        connection.pragma_update(None, "secure_delete", true)?;
        let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version == 0 {
            let schema =
                format!("BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;");
            connection.execute_batch(&schema)?;
            return Ok((connection, VERSION));
        }
        Ok((connection, version))
    };
    match open().map_err(|error| file_error(path, error))? {
        (connection, VERSION) => Ok(connection),
        (_, version) => Err(OpenError::Version { path: path.display().to_string(), version }),
    }
}

/// Makes the file if there is none, and gives its path without links. For the user who runs the relay alone;
/// SQLite gives the files beside it the same mode.
pub(super) fn create(path: &Path) -> std::io::Result<PathBuf> {
    let mut options = std::fs::File::options();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?;
    path.canonicalize()
}

fn configure(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "temp_store", "memory")
}

/// Connections that read.
#[derive(Debug)]
pub(super) struct Readers {
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Semaphore,
    path: PathBuf,
}

impl Readers {
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let first = open_reader(path).map_err(|error| file_error(path, error))?;
        Ok(Self {
            idle: Arc::new(Mutex::new(vec![first])),
            permits: Semaphore::new(READERS),
            path: path.to_owned(),
        })
    }

    /// Reads in one transaction, on a thread that may block.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, SqliteError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let permit = self.permits.acquire().await;
        let _permit = permit.map_err(|error| StorageError(error.to_string()))?;
        let (idle, path) = (Arc::clone(&self.idle), self.path.clone());
        let task = tokio::task::spawn_blocking(move || {
            let connection = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut connection = match connection {
                Some(connection) => connection,
                None => open_reader(&path)?,
            };
            let transaction = connection.transaction()?;
            let result = read(&transaction)?;
            transaction.finish()?;
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            Ok::<T, SqliteError>(result)
        });
        let result = task.await.map_err(|error| StorageError(error.to_string()))?;
        result.map_err(SqliteError::into_storage_error)
    }
}

fn open_reader(path: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    configure(&connection)?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What happens where the power fails no test can show: this is what SQLite promises it for.
    #[test]
    fn the_log_is_synced_with_every_transaction() {
        let folder = tempfile::tempdir().unwrap();
        let writer = open_writer(&folder.path().join("relay.db")).unwrap();
        let pragma = |name| writer.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        assert_eq!(pragma("synchronous").unwrap(), 2, "full");
        assert_eq!(pragma("secure_delete").unwrap(), 1);
    }
}
