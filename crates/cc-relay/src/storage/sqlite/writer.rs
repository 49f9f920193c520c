//! The thread that writes.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::{SqliteError, StorageError};

/// Writes that wait at the most; who comes later waits for a place.
const QUEUE: usize = 1024;
/// Writes in one transaction at the most.
const BATCH: usize = 256;
/// Bytes of the write-ahead log after which readers are waited for.
const LONGEST_LOG: u64 = 32 << 20;

/// Hands writes to the thread. When it is dropped, the thread does what waits and ends.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Option<mpsc::Sender<Box<dyn Job>>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Writer {
    /// `path` is that of the file, without links.
    pub(super) fn start(connection: Connection, path: &Path) -> io::Result<Self> {
        let log = Log::beside(path, LONGEST_LOG);
        let (queue, jobs) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new().name("relay-writer".into());
        let thread = thread.spawn(move || run(connection, log, jobs))?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Gives the result when it is durable. `work` may run a second time, after what the first run did was
    /// rolled back.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection) -> Result<T, SqliteError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let gone = || StorageError("the writer has ended".into());
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Write { work, result: None, reply });
        self.queue.as_ref().ok_or_else(gone)?.send(job).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // It has nothing to say: what failed was answered.
            let _ended = thread.join();
        }
    }
}

/// A write that waits.
trait Job: Send {
    fn run(&mut self, connection: &Connection) -> Result<(), SqliteError>;
    /// Tells the caller, `Ok` if what [`run`](Self::run) did is durable.
    fn finish(self: Box<Self>, committed: Result<(), StorageError>);
}

struct Write<F, T> {
    work: F,
    result: Option<T>,
    reply: oneshot::Sender<Result<T, StorageError>>,
}

impl<T, F> Job for Write<F, T>
where
    T: Send,
    F: Fn(&Connection) -> Result<T, SqliteError> + Send,
{
    fn run(&mut self, connection: &Connection) -> Result<(), SqliteError> {
        self.result = Some((self.work)(connection)?);
        Ok(())
    }

    fn finish(self: Box<Self>, committed: Result<(), StorageError>) {
        let Self { result, reply, .. } = *self;
        let result = match (committed, result) {
            (Ok(()), Some(result)) => Ok(result),
            (Ok(()), None) => Err(StorageError("a write did not run".into())),
            (Err(error), _) => Err(error),
        };
        // A caller that has gone away needs no answer: the answer is kept under the request's id.
        let _gone = reply.send(result);
    }
}

fn run(mut connection: Connection, mut log: Log, mut jobs: mpsc::Receiver<Box<dyn Job>>) {
    while let Some(first) = jobs.blocking_recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Ok(job) = jobs.try_recv()
        {
            batch.push(job);
        }
        if commit(&mut connection, &mut batch).is_ok() {
            batch.into_iter().for_each(|job| job.finish(Ok(())));
        } else {
            // One that fails must not take the others with it.
            for mut job in batch {
                let result = commit(&mut connection, std::slice::from_mut(&mut job));
                job.finish(result.map_err(SqliteError::into_storage_error));
            }
        }
        log.bound(&connection);
    }
    // The next start reads no log.
    truncate(&connection);
}

/// The write-ahead log.
struct Log {
    path: PathBuf,
    longest: u64,
    /// Its bytes after which it is to be truncated.
    next: u64,
    /// By how much it grows after a failure before that is tried again.
    step: u64,
}

impl Log {
    fn beside(path: &Path, longest: u64) -> Self {
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        Self { path: log.into(), longest, next: longest, step: longest / 4 }
    }

    /// SQLite begins the log anew when nobody reads. Where somebody always does, it would grow without end:
    /// this waits for those who read now, and whoever comes meanwhile reads the file. Who reads for longer
    /// than that is another program, for which not every write can wait.
    fn bound(&mut self, connection: &Connection) {
        let before = self.len();
        if before <= self.next {
            return;
        }
        truncate(connection);
        let after = self.len();
        if after < before {
            (self.next, self.step) = (self.longest, self.longest / 4);
        } else {
            self.next = after.saturating_add(self.step);
            self.step = self.step.saturating_mul(2).min(self.longest);
        }
    }

    fn len(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |log| log.len())
    }
}

/// Puts the write-ahead log into the file, if nobody reads for longer than the connection waits.
fn truncate(connection: &Connection) {
    let _busy = connection.pragma_update(None, "wal_checkpoint", "truncate");
}

/// All of them in one transaction, or an error and none.
fn commit(connection: &mut Connection, jobs: &mut [Box<dyn Job>]) -> Result<(), SqliteError> {
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    for job in jobs {
        job.run(&transaction)?;
    }
    Ok(transaction.commit()?)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::storage::sqlite::{connection, to_i64};

    /// Three that are written in one transaction, one of which fails when it has done something.
    #[tokio::test]
    async fn a_write_that_fails_takes_no_other_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("relay.db");
        let connection = connection::open_writer(&path).unwrap();
        connection.execute_batch("CREATE TABLE numbers (number INTEGER)").unwrap();
        let writer = Writer::start(connection, &path).unwrap();
        let (go, goes) = std::sync::mpsc::channel::<()>();
        let goes = std::sync::Mutex::new(goes);
        let waits = writer.write(move |_| {
            let _sender_gone = goes.lock().unwrap().recv();
            Ok(())
        });
        let number = |number: i64| {
            writer.write(move |connection| {
                connection.execute("INSERT INTO numbers VALUES (?1)", [number])?;
                if number == 2 { Err(StorageError("it fails".into()).into()) } else { Ok(number) }
            })
        };
        // All are in the queue before the first one goes on.
        let results = tokio::join!(waits, number(1), number(2), number(3), async { drop(go) });
        let numbers = [results.1, results.2, results.3].map(|result| result.ok());
        assert_eq!(numbers, [Some(1), None, Some(3)]);
        drop(writer);
        let connection = Connection::open(&path).unwrap();
        let mut kept = connection.prepare("SELECT number FROM numbers").unwrap();
        let kept: Result<Vec<i64>, _> = kept.query_map([], |row| row.get(0)).unwrap().collect();
        assert_eq!(kept.unwrap(), [1, 3]);
    }

    static WAITS: AtomicU32 = AtomicU32::new(0);

    /// A program that reads for hours must not make each write wait for it.
    #[test]
    fn who_reads_for_long_is_waited_for_ever_less_often() {
        const LONGEST: u64 = 1 << 20;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("relay.db");
        let mut connection = connection::open_writer(&path).unwrap();
        connection.execute_batch("CREATE TABLE blobs (bytes BLOB)").unwrap();
        let wait = |_| {
            WAITS.fetch_add(1, Ordering::Relaxed);
            false
        };
        connection.busy_handler(Some(wait)).unwrap();
        let mut log = Log::beside(&path, LONGEST);
        let mut write = |kib: u64| {
            let sql = "INSERT INTO blobs VALUES (zeroblob(?1))";
            connection.execute(sql, [to_i64(kib << 10)]).unwrap();
            log.bound(&connection);
            (WAITS.load(Ordering::Relaxed), log.len())
        };
        let other = Connection::open(&path).unwrap();
        other.execute_batch("BEGIN; SELECT count(*) FROM blobs;").unwrap();
        assert_eq!(write(512).0, 0);
        let (mut waits, mut kept) = write(1024);
        assert!(waits > 0 && kept > LONGEST);
        for quarters in [1, 2, 4, 4] {
            // Each puts some pages more into the log.
            for _ in 0..4 * quarters {
                assert_eq!(write(32).0, waits);
            }
            let (again, longer) = write(128 * quarters);
            assert!(waits < again && kept + quarters * LONGEST / 4 < longer, "{quarters}");
            (waits, kept) = (again, longer);
        }
        // When it has ended, the log is short again, and as long at the most as before.
        other.execute_batch("COMMIT").unwrap();
        assert_eq!(write(1500), (waits, 0));
        assert_eq!(write(512).0, waits);
        assert_eq!(write(1024), (waits, 0));
    }
}
