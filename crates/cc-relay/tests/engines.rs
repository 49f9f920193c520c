//! The engines: each does what a storage must, both do the same, and what is stored survives.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;

use cc_client::{AccessHash, Follows, LogId, Position, PublishedPackage, RequestId};
use cc_relay::{
    conformance,
    storage::{
        self, Hour, MemoryStorage, OpenError, Reader, Retention, SqliteStorage, Storage,
        StoredAppend,
    },
};
use proptest::{collection::vec, option, prelude::*};

#[tokio::test(flavor = "multi_thread")]
async fn memory_does_what_a_storage_must() {
    conformance::run(|retention| Arc::new(MemoryStorage::new(retention))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_does_what_a_storage_must() {
    let folder = tempfile::tempdir().unwrap();
    let opened = std::cell::Cell::new(0);
    conformance::run(|retention| {
        opened.set(opened.get() + 1);
        let path = folder.path().join(format!("{}.db", opened.get()));
        Arc::new(SqliteStorage::open(&path, retention).unwrap())
    })
    .await;
}

/// Nobody waits for all that a busy log has to forget.
#[tokio::test]
async fn a_step_of_expiry_is_short() {
    let folder = tempfile::tempdir().unwrap();
    let storage =
        SqliteStorage::open(&folder.path().join("relay.db"), Retention::default()).unwrap();
    let (log, access) = (LogId::random().unwrap(), AccessHash([1; 32]));
    for _ in 0..40 {
        let items = vec![Vec::new(); 64];
        let append = StoredAppend { log, access: Some(access), commit: None, items };
        let id = RequestId::random().unwrap();
        storage.append(id, append, Hour(0)).await.unwrap().unwrap();
    }
    let later = Hour(Retention::default().age + 1);
    let forgotten = async || {
        let read = storage.read(log, Position(2560), Reader::Token(access), later).await;
        read.unwrap().unwrap().page.forgotten
    };
    assert!(storage.expire(later).await.unwrap());
    let after_one = forgotten().await;
    assert!(Position(0) < after_one && after_one < Position(2560), "{after_one:?}");
    while storage.expire(later).await.unwrap() {}
    assert_eq!(forgotten().await, Position(2560));
}

#[tokio::test]
async fn one_relay_has_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("relay.db");
    let url = format!("sqlite:{}", path.display());
    let first = storage::open(&url, Retention::default()).unwrap();
    let second = storage::open(&url, Retention::default());
    assert!(matches!(second, Err(OpenError::InUse(_))));
    drop(first);
    drop(storage::open(&url, Retention::default()).unwrap());
    for bad in ["sqlite:", "memory:x", "postgres://x", "relay.db", ""] {
        assert!(matches!(storage::open(bad, Retention::default()), Err(OpenError::Url(_))));
    }
    std::fs::write(&path, "no database, but long enough to look like one".repeat(100)).unwrap();
    let damaged = storage::open(&url, Retention::default());
    assert!(matches!(damaged, Err(OpenError::File { .. })));
}

/// One call, with few addresses, tokens and ids, so that they meet.
#[derive(Debug, Clone)]
enum Op {
    Append { id: u8, log: u8, access: Option<u8>, commit: Option<(u8, Option<u8>)>, lens: Vec<u16> },
    Read { log: u8, after: u8, access: Option<u8> },
    Publish { id: u8, log: u8, packages: Vec<(u8, bool)> },
    Claim { id: u8, log: u8 },
    Pass { hours: u8 },
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let (id, log, access) = (any::<u8>(), 0_u8..4, option::of(0_u8..4));
    let commit = option::weighted(0.4, (0_u8..12, option::of(0_u8..4)));
    prop_oneof![
        6 => (id, log.clone(), access.clone(), commit, vec(0_u16..300, 0..4))
            .prop_map(|(id, log, access, commit, lens)| Op::Append { id, log, access, commit, lens }),
        4 => (log.clone(), 0_u8..16, access)
            .prop_map(|(log, after, access)| Op::Read { log, after, access }),
        1 => (id, log.clone(), vec((any::<u8>(), any::<bool>()), 0..4))
            .prop_map(|(id, log, packages)| Op::Publish { id, log, packages }),
        2 => (id, log).prop_map(|(id, log)| Op::Claim { id, log }),
        1 => (0_u8..30).prop_map(|hours| Op::Pass { hours }),
        1 => Just(Op::Reopen),
    ]
}

/// Everything that can be seen of a call.
async fn perform(storage: &dyn Storage, op: &Op, now: Hour) -> String {
    let request = |id: u8| RequestId::from_bytes([id; 16]);
    let log_id = |log: u8| LogId::from_bytes([log; 32]);
    let hash = |token: u8| AccessHash([token; 32]);
    match op.clone() {
        Op::Append { id, log, access, commit, lens } => {
            let append = StoredAppend {
                log: log_id(log),
                access: access.map(hash),
                commit: commit.map(|(after, next)| Follows {
                    after: Position(after.into()),
                    next: next.map(hash),
                }),
                items: lens.iter().map(|len| vec![id; usize::from(*len)]).collect(),
            };
            format!("{:?}", storage.append(request(id), append, now).await.unwrap())
        }
        Op::Read { log, after, access } => {
            let reader = access.map_or(Reader::Owner, |token| Reader::Token(hash(token)));
            let after = Position(after.into());
            format!("{:?}", storage.read(log_id(log), after, reader, now).await.unwrap())
        }
        Op::Publish { id, log, packages } => {
            let package =
                |(byte, last_resort)| PublishedPackage { bytes: vec![byte; 9], last_resort };
            let packages = packages.into_iter().map(package).collect();
            let result = storage.publish(request(id), log_id(log), packages, now).await.unwrap();
            format!("{result:?}")
        }
        Op::Claim { id, log } => {
            format!("{:?}", storage.claim(request(id), log_id(log), now).await.unwrap())
        }
        Op::Pass { .. } | Op::Reopen => {
            while storage.expire(now).await.unwrap() {}
            String::new()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// SQLite, opened anew now and then, does what the engine in memory does.
    #[test]
    fn both_engines_do_the_same(ops in vec(op(), 1..80)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("relay.db");
        let retention = Retention {
            age: 24,
            idle: 40,
            log_bytes: 1000,
            mailbox_bytes: 700,
            packages: 5,
            package_bytes: 40,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let model = MemoryStorage::new(retention);
            let mut engine = SqliteStorage::open(&path, retention).unwrap();
            let mut now = Hour(1000);
            for op in &ops {
                if let Op::Pass { hours } = op {
                    now = Hour(now.0 + u32::from(*hours));
                }
                if matches!(op, Op::Reopen) {
                    drop(engine);
                    engine = SqliteStorage::open(&path, retention).unwrap();
                }
                let expected = perform(&model, op, now).await;
                prop_assert_eq!(perform(&engine, op, now).await, expected, "{:?}", op);
            }
            Ok(())
        })?;
    }
}
