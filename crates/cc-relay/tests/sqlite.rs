//! The files of the SQLite engine.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use cc_client::{AccessHash, LogId, MAX_ITEM_LEN, Position, RequestId};
use cc_relay::storage::{Hour, OpenError, Reader, Retention, SqliteStorage, Storage, StoredAppend};

fn item(log: LogId, bytes: &[u8]) -> StoredAppend {
    let access = Some(AccessHash([1; 32]));
    StoredAppend { log, access, commit: None, items: vec![bytes.to_vec()], begins: true }
}

/// What is not kept is not in the file either, and nobody else reads what is.
#[tokio::test]
async fn what_was_deleted_is_overwritten_and_the_file_is_its_owners() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("relay.db");
    let retention = Retention { age: 10, ..Retention::default() };
    let storage = SqliteStorage::open(&path, retention).unwrap();
    // Short, and so long that it has pages of its own.
    let texts = [b"a word that is looked for".to_vec(), b"looked for as well, ".repeat(1000)];
    for text in &texts {
        let (id, append) = (RequestId::random().unwrap(), item(LogId::random().unwrap(), text));
        storage.append(id, append, Hour(0)).await.unwrap().unwrap();
    }
    #[cfg(unix)]
    for file in ["relay.db", "relay.db-wal", "relay.db-shm"] {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(folder.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    drop(storage);
    let has = |text: &[u8]| {
        let bytes = std::fs::read(&path).unwrap();
        bytes.windows(20).any(|window| window == &text[..20])
    };
    assert!(texts.iter().all(|text| has(text)));
    let storage = SqliteStorage::open(&path, retention).unwrap();
    while storage.expire(Hour(11)).await.unwrap() {}
    drop(storage);
    assert!(!texts.iter().any(|text| has(text)));
}

/// Each frees a part of what was read, and one of them nothing at last.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_owner_reads_twice_at_once() {
    // So many steps of tidying that they take turns, and one of them too many.
    const ITEMS: u64 = 5 * 4096;
    const ONCE: u64 = 64;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("relay.db");
    let storage = SqliteStorage::open(&path, Retention::default()).unwrap();
    let mailbox = LogId::random().unwrap();
    let append = |_| {
        let items = vec![Vec::new(); usize::try_from(ONCE).unwrap()];
        let append = StoredAppend { log: mailbox, access: None, commit: None, items, begins: true };
        storage.append(RequestId::random().unwrap(), append, Hour(0))
    };
    for appended in futures_util::future::join_all((0..ITEMS / ONCE).map(append)).await {
        appended.unwrap().unwrap();
    }
    let read = || storage.read(mailbox, Position(ITEMS), Reader::Owner, Hour(0));
    let (one, two) = tokio::join!(read(), read());
    for read in [one, two] {
        let page = read.unwrap().unwrap().page;
        assert_eq!((page.items.len(), page.forgotten), (0, Position(ITEMS)));
    }
}

/// Its write-ahead log and its lock are beside the file, not beside the link.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_link_to_the_file_is_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (file, link) = (folder.path().join("relay.db"), folder.path().join("link"));
    // There is no file yet.
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let storage = SqliteStorage::open(&link, Retention::default()).unwrap();
    let second = SqliteStorage::open(&file, Retention::default());
    assert!(matches!(second, Err(OpenError::InUse(_))));
    drop(storage);
    let largest = largest_log(&link, &file).await;
    assert!(largest < 48 << 20, "{largest} bytes");
}

/// Reads that overlap, one of which is always under way, keep the log from being begun anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_reads_without_a_pause_makes_the_log_no_longer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("relay.db");
    let largest = largest_log(&path, &path).await;
    assert!(largest < 48 << 20, "{largest} bytes");
}

/// Bytes of the write-ahead log of `file`, opened by this path, while four read without a pause.
async fn largest_log(path: &Path, file: &Path) -> u64 {
    const ROUNDS: u64 = 64;
    let storage = Arc::new(SqliteStorage::open(path, Retention::default()).unwrap());
    let (log, access) = (LogId::random().unwrap(), AccessHash([1; 32]));
    let append = async |log, length| {
        let (id, append) = (RequestId::random().unwrap(), item(log, &vec![7; length]));
        storage.append(id, append, Hour(0)).await.unwrap().unwrap();
    };
    append(log, MAX_ITEM_LEN).await;
    let ended = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (storage, ended) = (Arc::clone(&storage), Arc::clone(&ended));
            tokio::spawn(async move {
                while !ended.load(Ordering::Relaxed) {
                    let read = storage.read(log, Position(0), Reader::Token(access), Hour(0));
                    assert_eq!(read.await.unwrap().unwrap().page.items.len(), 1);
                }
            })
        })
        .collect();
    let other = LogId::random().unwrap();
    let mut largest = 0;
    for _ in 0..ROUNDS {
        append(other, 1 << 20).await;
        let wal = std::fs::metadata(file.with_extension("db-wal")).unwrap().len();
        largest = largest.max(wal);
    }
    ended.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
    largest
}
