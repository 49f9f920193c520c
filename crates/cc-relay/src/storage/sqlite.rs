//! A storage in one SQLite file, with its write-ahead log.
//!
//! One thread writes. All writes that wait when it begins go into one transaction, so that one fsync serves
//! them all, and each is answered after it. Reads have connections of their own, and wait for no write.

mod connection;
mod expiry;
mod logs;
mod packages;
mod writer;

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use cc_client::{LogId, Position, Refusal, RequestId};
use rusqlite::Connection;

use super::{
    ClockRecord, Hour, KeptAnswer, OpenError, Outcome, ReadPage, Reader, Retention, Room, Storage,
    StorageError, StoredAppend, StoredPublish, Task, Usage, kept_answer, read_answer,
};
use connection::Readers;
use logs::ReadOutcome;
use writer::Writer;

/// Keeps everything in one SQLite file.
#[derive(Debug)]
pub struct SqliteStorage {
    readers: Readers,
    writer: Writer,
    bounds: Arc<Bounds>,
    /// Held as long as the storage is used.
    _lock: File,
}

#[derive(Debug)]
struct Bounds {
    retention: Retention,
    room: Room,
}

impl SqliteStorage {
    /// Opens the file, or makes it. Needs a tokio runtime when it is used.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(path: &Path, retention: Retention) -> Result<Self, OpenError> {
        // What SQLite puts beside the file is where a link points to, and so is the lock: two links to one file
        // are one file.
        let path = &connection::create(path).map_err(|error| file_error(path, error))?;
        let lock = lock(path)?;
        let connection = connection::open_writer(path)?;
        let readers = Readers::open(path)?;
        let bounds = Bounds { retention, room: Room::new(&retention) };
        let used = expiry::used(&connection).map_err(|error| file_error(path, error))?;
        bounds.room.count(used, &Ok(()));
        let writer = Writer::start(connection, path).map_err(|error| file_error(path, error))?;
        Ok(Self { readers, writer, bounds: Arc::new(bounds), _lock: lock })
    }

    /// Does what the request asks for, unless it was answered before, and keeps the answer.
    async fn once<T: KeptAnswer + Send + 'static>(
        &self,
        id: RequestId,
        work: impl Fn(&Connection, &Bounds) -> Result<Outcome<T>, SqliteError> + Send + 'static,
        keep: impl Fn(&Connection, &Bounds, &[u8]) -> Result<(), SqliteError> + Send + 'static,
    ) -> Result<Result<T, Refusal>, StorageError> {
        let bounds = Arc::clone(&self.bounds);
        let job = move |connection: &Connection| {
            if let Some(answer) = expiry::answer(connection, id)? {
                return Ok(read_answer(&answer)?);
            }
            let outcome = work(connection, &bounds)?;
            if let Some(answer) = kept_answer(id, &outcome)? {
                keep(connection, &bounds, &answer)?;
            }
            bounds.room.count(expiry::used(connection)?, &outcome.result);
            Ok(outcome.result)
        };
        self.writer.write(job).await
    }
}

impl Storage for SqliteStorage {
    fn append(
        &self,
        id: RequestId,
        append: StoredAppend,
        now: Hour,
    ) -> Task<'_, Result<Position, Refusal>> {
        let work = move |connection: &Connection, Bounds { retention, room }: &Bounds| {
            logs::append(connection, id, &append, now, retention, room).map(Outcome::from)
        };
        let keep = move |connection: &Connection, _: &Bounds, answer: &[u8]| {
            expiry::keep_answer(connection, id, now, answer)
        };
        Box::pin(self.once(id, work, keep))
    }

    fn read(
        &self,
        log: LogId,
        after: Position,
        reader: Reader,
        now: Hour,
    ) -> Task<'_, Result<ReadPage, Refusal>> {
        Box::pin(async move {
            let retention = self.bounds.retention;
            let read = move |connection: &Connection| {
                logs::read(connection, &log, after, reader, now, &retention)
            };
            // Another read of the owner may tidy the rest meanwhile, so that nothing is left to free here.
            let mut last_freed = None;
            loop {
                if let ReadOutcome::Done(result) = self.readers.read(read).await? {
                    return Ok(result);
                }
                if last_freed == Some(0) {
                    return Err(StorageError("a mailbox did not change".into()));
                }
                let tidy = move |connection: &Connection| {
                    logs::tidy_mailbox(connection, &log, after, now, &retention)
                };
                last_freed = Some(self.writer.write(tidy).await?);
            }
        })
    }

    fn publish(
        &self,
        id: RequestId,
        publish: StoredPublish,
        now: Hour,
    ) -> Task<'_, Result<u32, Refusal>> {
        let work = move |connection: &Connection, Bounds { retention, room }: &Bounds| {
            packages::publish(connection, &publish, now, retention, room).map(Outcome::from)
        };
        let keep = move |connection: &Connection, _: &Bounds, answer: &[u8]| {
            expiry::keep_answer(connection, id, now, answer)
        };
        Box::pin(self.once(id, work, keep))
    }

    fn claim(
        &self,
        id: RequestId,
        mailbox: LogId,
        now: Hour,
    ) -> Task<'_, Result<Option<Vec<u8>>, Refusal>> {
        let work = move |connection: &Connection, _: &Bounds| packages::claim(connection, &mailbox);
        let keep = move |connection: &Connection, bounds: &Bounds, answer: &[u8]| {
            packages::keep_claim(connection, id, &mailbox, now, answer, &bounds.retention)
        };
        Box::pin(self.once(id, work, keep))
    }

    fn expire(&self, now: Hour) -> Task<'_, bool> {
        let bounds = Arc::clone(&self.bounds);
        let work = move |connection: &Connection| {
            let more = expiry::expire(connection, now, &bounds.retention)?;
            bounds.room.count(expiry::used(connection)?, &Ok(()));
            Ok(more)
        };
        Box::pin(self.writer.write(work))
    }

    fn clock(&self) -> Task<'_, Option<ClockRecord>> {
        Box::pin(self.readers.read(expiry::clock))
    }

    fn set_clock(&self, clock: ClockRecord) -> Task<'_, ()> {
        Box::pin(self.writer.write(move |connection| expiry::set_clock(connection, clock)))
    }

    fn check(&self) -> Task<'_, ()> {
        Box::pin(async move {
            self.readers.read(expiry::check).await?;
            self.writer.write(expiry::check).await
        })
    }

    fn usage(&self) -> Usage {
        self.bounds.room.usage()
    }
}

/// Two relays on one file would not tell each other what was appended.
fn lock(path: &Path) -> Result<File, OpenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(PathBuf::from(name))
        .map_err(|error| file_error(path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(OpenError::InUse(path.display().to_string())),
        Err(std::fs::TryLockError::Error(error)) => Err(file_error(path, error)),
    }
}

fn file_error(
    path: &Path,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> OpenError {
    OpenError::File { path: path.display().to_string(), source: error.into() }
}

/// What SQLite says, or what is wrong with what it gave.
#[derive(Debug, thiserror::Error)]
enum SqliteError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl SqliteError {
    /// What the caller is told: no text of SQLite's has a value in it.
    fn into_storage_error(self) -> StorageError {
        match self {
            Self::Sqlite(error) => StorageError(error.to_string()),
            Self::Storage(error) => error,
        }
    }
}

fn to_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn to_u64(number: i64) -> Result<u64, SqliteError> {
    u64::try_from(number).map_err(|_| StorageError("a number is negative".into()).into())
}

#[cfg(test)]
mod tests {
    use cc_client::{AccessHash, Follows, PublishedPackage};

    use super::*;

    const NOW: Hour = Hour(1000);
    const MAILBOX: LogId = LogId::from_bytes([2; 32]);

    /// How much there is of everything.
    fn rows(connection: &Connection) -> Vec<i64> {
        let counts = ["items", "epochs", "packages", "answers", "claims"];
        let counts = counts.map(|table| format!("SELECT count(*) FROM {table}"));
        let sums = ["head", "last_commit", "bytes", "forgotten"];
        let sums = sums.map(|column| format!("SELECT coalesce(sum({column}), 0) FROM logs"));
        let all = counts.iter().chain(&sums);
        all.map(|sql| connection.query_row(sql, [], |row| row.get(0)).unwrap()).collect()
    }

    async fn perform(storage: &SqliteStorage, call: u8) -> Result<(), StorageError> {
        let id = RequestId::from_bytes([call; 16]);
        match call {
            0 => {
                let append = StoredAppend {
                    log: LogId::from_bytes([1; 32]),
                    access: Some(AccessHash([1; 32])),
                    commit: Some(Follows { after: Position(1), next: Some(AccessHash([2; 32])) }),
                    items: vec![vec![7; 400]],
                    begins: true,
                };
                storage.append(id, append, NOW).await.map(|at| assert_eq!(at, Ok(Position(2))))
            }
            1 => {
                let packages = [false, true];
                let packages =
                    packages.map(|last_resort| PublishedPackage { bytes: vec![3; 9], last_resort });
                let publish =
                    StoredPublish { mailbox: MAILBOX, packages: packages.into(), begins: true };
                storage.publish(id, publish, NOW).await.map(|count| assert_eq!(count, Ok(2)))
            }
            2 => storage
                .claim(id, MAILBOX, NOW)
                .await
                .map(|package| assert_eq!(package, Ok(Some(vec![3; 9])))),
            _ => {
                let read = storage.read(MAILBOX, Position(1), Reader::Owner, NOW).await;
                read.map(|read| assert_eq!(read.unwrap().page.forgotten, Position(1)))
            }
        }
    }

    /// Whichever of its statements fails, and then it can be repeated.
    #[tokio::test]
    async fn a_request_that_fails_halfway_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut failed = Vec::new();
        let statements =
            ["items", "epochs", "packages", "answers", "claims", "logs"].into_iter().flat_map(
                |table| ["INSERT", "UPDATE", "DELETE"].map(|what| format!("{what} ON {table}")),
            );
        for (at, statement) in statements.enumerate() {
            let path = folder.path().join(format!("{at}.db"));
            // An item more makes the log forget the one that it has.
            let retention = Retention { log_bytes: 700, ..Retention::default() };
            let storage = SqliteStorage::open(&path, retention).unwrap();
            let begin = [(LogId::from_bytes([1; 32]), Some(AccessHash([1; 32]))), (MAILBOX, None)];
            for (log, access) in begin {
                let id = RequestId::random().unwrap();
                let after = Follows { after: Position(0), next: None };
                let commit = access.map(|_| after);
                let append =
                    StoredAppend { log, access, commit, items: vec![vec![7; 400]], begins: true };
                storage.append(id, append, NOW).await.unwrap().unwrap();
            }
            let package = PublishedPackage { bytes: vec![3; 9], last_resort: true };
            for packages in
                [vec![package.clone()], vec![PublishedPackage { last_resort: false, ..package }]]
            {
                let publish = StoredPublish { mailbox: MAILBOX, packages, begins: true };
                storage.publish(RequestId::random().unwrap(), publish, NOW).await.unwrap().unwrap();
            }
            let other = Connection::open(&path).unwrap();
            for call in 0..4 {
                let trigger = format!(
                    "CREATE TRIGGER fails BEFORE {statement} BEGIN SELECT RAISE(ABORT, 'no'); END"
                );
                other.execute_batch(&trigger).unwrap();
                let before = rows(&other);
                let result = perform(&storage, call).await;
                if result.is_err() {
                    assert_eq!(rows(&other), before, "{statement}, {call}");
                    failed.push(call);
                }
                other.execute_batch("DROP TRIGGER fails").unwrap();
                perform(&storage, call).await.unwrap();
            }
        }
        // Each statement of each call.
        let count = |call| failed.iter().filter(|failed| **failed == call).count();
        assert_eq!([0, 1, 2, 3].map(count), [7, 3, 2, 2], "{failed:?}");
    }
}
