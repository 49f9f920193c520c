//! The write-ahead log of the SQLite engine.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use cc_client::{AccessHash, LogId, MAX_ITEM_LEN, Position, RequestId};
use cc_relay::storage::{Hour, Reader, Retention, SqliteStorage, Storage, StoredAppend};

/// Reads that overlap, one of which is always under way, keep the log from being begun anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_reads_without_a_pause_makes_the_log_no_longer() {
    const ROUNDS: u64 = 64;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("relay.db");
    let storage = Arc::new(SqliteStorage::open(&path, Retention::default()).unwrap());
    let (log, access) = (LogId::random().unwrap(), AccessHash([1; 32]));
    let append = async |log, length| {
        let items = vec![vec![7; length]];
        let append = StoredAppend { log, access: Some(access), commit: None, items, begins: true };
        let id = RequestId::random().unwrap();
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
        let wal = std::fs::metadata(path.with_extension("db-wal")).unwrap().len();
        largest = largest.max(wal);
    }
    ended.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
    assert!(largest < 48 << 20, "{largest} bytes");
}
