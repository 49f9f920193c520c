//! The engines: each does what a storage must, both do the same, and what is stored survives.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use cc_client::{
    AccessHash, AccessToken, Append, Call, DeliveryService as _, Follows, LogId, MailboxKey,
    MemoryService, Position, Publish, PublishedPackage, Purpose, Read, ReadAccess, Refusal, Reply,
    Request, RequestId,
};
use cc_core::Secret;
use cc_relay::{
    Clock, Limits, Rate, Relay, conformance,
    storage::{
        self, ClockRecord, Hour, ITEM_COST, MemoryStorage, OpenError, Reader, Retention,
        SqliteStorage, Storage, StoredAppend, StoredPublish,
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

/// A log of 2560 empty items, of this access, in a SQLite file.
async fn busy_log(
    retention: Retention,
    access: Option<AccessHash>,
) -> (tempfile::TempDir, SqliteStorage, LogId) {
    let folder = tempfile::tempdir().unwrap();
    let storage = SqliteStorage::open(&folder.path().join("relay.db"), retention).unwrap();
    let log = LogId::random().unwrap();
    for _ in 0..40 {
        let items = vec![Vec::new(); 64];
        let append = StoredAppend { log, access, commit: None, items, begins: true };
        let id = RequestId::random().unwrap();
        storage.append(id, append, Hour(0)).await.unwrap().unwrap();
    }
    (folder, storage, log)
}

/// Nobody waits for all that a busy log has to forget.
#[tokio::test]
async fn a_step_of_expiry_is_short() {
    let access = AccessHash([1; 32]);
    let (_folder, storage, log) = busy_log(Retention::default(), Some(access)).await;
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

/// Nor where a log is silent for too long that has items still.
#[tokio::test]
async fn a_silent_log_is_closed_in_short_steps() {
    let access = AccessHash([1; 32]);
    let retention = Retention { idle: 10, age: 100, ..Retention::default() };
    let (_folder, storage, log) = busy_log(retention, Some(access)).await;
    let read = async || {
        let read = storage.read(log, Position(0), Reader::Token(access), Hour(11)).await;
        read.unwrap().map(|read| read.page.forgotten)
    };
    assert!(storage.expire(Hour(11)).await.unwrap());
    let after_one = read().await.unwrap();
    assert!(Position(0) < after_one && after_one < Position(2560), "{after_one:?}");
    while storage.expire(Hour(11)).await.unwrap() {}
    assert_eq!(read().await, Err(Refusal::Gone));
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

/// A clock that is set by hand.
#[derive(Clone, Default)]
struct SetClock(Arc<Mutex<(u64, Duration)>>);

impl Clock for SetClock {
    fn wall(&self) -> u64 {
        self.0.lock().unwrap().0
    }

    fn uptime(&self) -> Duration {
        self.0.lock().unwrap().1
    }
}

/// Only what the relay has seen passing counts: a clock that is wrong at a start, in either direction, and however
/// often, deletes nothing and keeps nothing for ever.
#[tokio::test]
async fn a_wrong_clock_deletes_nothing() {
    const HOUR: u64 = 3_600_000;
    const TODAY: u64 = 500_000;
    const YEAR: u64 = 365 * 24;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("relay.db");
    let clock = SetClock::default();
    let start = |wall: u64| {
        clock.0.lock().unwrap().0 = wall * HOUR;
        let storage = SqliteStorage::open(&path, Retention::default()).unwrap();
        Relay::with_clock(Arc::new(storage), Limits::default(), clock.clone())
    };
    // The wall clock stands still: it is not asked but at a start.
    let pass = |hours: u64| clock.0.lock().unwrap().1 += Duration::from_millis(hours * HOUR);
    let (log, access) = (LogId::random().unwrap(), AccessToken::new(Secret::take(&mut [1; 32])));
    let perform = async |relay: &Relay, call| {
        let request = Request { id: RequestId::random().unwrap(), call };
        relay.answer(request).await.unwrap()
    };
    let append = async |relay: &Relay| {
        let items = vec![b"x".to_vec()];
        let append = Append { log, access: Some(access.clone()), commit: None, items };
        perform(relay, Call::Append(append)).await
    };
    let forgotten = async |relay: &Relay| {
        relay.expire().await.unwrap();
        let access = ReadAccess::Token(access.clone());
        let read = Read { log, after: Position(0), access };
        let Reply::Page(page) = perform(relay, Call::Read(read)).await else { panic!("no page") };
        page.forgotten.0
    };
    let relay = start(TODAY);
    append(&relay).await;
    drop(relay);
    // A year ahead, back, and ahead again: each jump is a day at the most.
    for wall in [TODAY + YEAR, TODAY, TODAY + YEAR, 0, TODAY + YEAR, TODAY] {
        let relay = start(wall);
        assert_eq!(forgotten(&relay).await, 0, "at {wall}");
        drop(relay);
        // Nor by starting again with the same clock.
        assert_eq!(forgotten(&start(wall)).await, 0, "at {wall}");
    }
    // In 1970, what is appended grows old as anywhere, by the time that passes.
    let relay = start(0);
    append(&relay).await;
    let age = u64::from(Retention::default().age);
    pass(age - 4 * 24);
    assert_eq!(forgotten(&relay).await, 0);
    pass(4 * 24 + 1);
    assert_eq!(forgotten(&relay).await, 2);
    append(&relay).await;
    drop(relay);
    // What was up to now is not forgotten at a restart, and hours of short runs add up.
    let mut wall = 1;
    for _ in 0..age {
        let relay = start(wall);
        assert_eq!(forgotten(&relay).await, 2);
        wall += 1;
    }
    assert_eq!(forgotten(&start(wall + 1)).await, 3);
    let storage = SqliteStorage::open(&path, Retention::default()).unwrap();
    let kept = storage.clock().await.unwrap().unwrap();
    assert_eq!(kept.wall, Hour(u32::try_from(wall).unwrap() + 1));
    assert!(matches!(kept, ClockRecord { relay, .. } if relay > Hour(500_000)));
}

/// A relay that is started again and again before an hour is over grows old as the others do.
#[tokio::test]
async fn hours_of_which_a_run_saw_a_part_are_not_lost() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new(Retention::default()));
    let clock = SetClock::default();
    let mut first = None;
    for hour in 0_u32..50 {
        let wall = |minutes: u64| {
            clock.0.lock().unwrap().0 = (500_000 + u64::from(hour)) * 3_600_000 + minutes * 60_000;
        };
        wall(30);
        let relay = Relay::with_clock(Arc::clone(&storage), Limits::default(), clock.clone());
        relay.expire().await.unwrap();
        // Fifty minutes, at the end of which the clock says the next hour.
        clock.0.lock().unwrap().1 += Duration::from_secs(50 * 60);
        wall(80);
        relay.expire().await.unwrap();
        let now = storage.clock().await.unwrap().unwrap().relay;
        let first = *first.get_or_insert(now);
        assert_eq!(now, first.plus(hour));
    }
}

/// The two services in memory, that of the client's tests and that of the relay, keep the same rules.
#[derive(Debug, Clone)]
enum Asked {
    Append { log: u8, access: Option<u8>, commit: Option<(u8, Option<u8>)>, items: u8 },
    Read { log: u8, after: u8, access: Option<u8> },
    Publish { mailbox: u8, last_resort: Vec<bool> },
    Claim { mailbox: u8 },
}

fn asked() -> impl Strategy<Value = (u8, Asked)> {
    let (log, access) = (0_u8..2, option::of(0_u8..3));
    let commit = option::weighted(0.4, (0_u8..8, option::of(0_u8..3)));
    let what = prop_oneof![
        6 => (log.clone(), access.clone(), commit, 0_u8..3)
            .prop_map(|(log, access, commit, items)| Asked::Append { log, access, commit, items }),
        4 => (log.clone(), 0_u8..10, access)
            .prop_map(|(log, after, access)| Asked::Read { log, after, access }),
        1 => (log.clone(), vec(any::<bool>(), 0..4))
            .prop_map(|(mailbox, last_resort)| Asked::Publish { mailbox, last_resort }),
        2 => log.prop_map(|mailbox| Asked::Claim { mailbox }),
    ];
    (any::<u8>(), what)
}

impl Asked {
    /// The request, by somebody who has the keys of the mailboxes.
    fn request(&self, id: u8, keys: &[MailboxKey]) -> Request {
        let id = RequestId::from_bytes([id; 16]);
        let key = |log: u8| &keys[usize::from(log)];
        let token = |token: u8| AccessToken::new(Secret::take(&mut [token + 1; 32]));
        let call = match self.clone() {
            Self::Append { log, access, commit, items } => Call::Append(Append {
                log: key(log).address(),
                access: access.map(token),
                commit: commit.map(|(after, next)| Follows {
                    after: Position(after.into()),
                    next: next.map(|next| token(next).hash()),
                }),
                items: (0..items).map(|item| vec![item; 3]).collect(),
            }),
            Self::Read { log, after, access } => {
                let after = Position(after.into());
                let access = match access {
                    Some(access) => ReadAccess::Token(token(access)),
                    None => ReadAccess::Owner(key(log).prove(id, Purpose::Read(after))),
                };
                Call::Read(Read { log: key(log).address(), after, access })
            }
            Self::Publish { mailbox, last_resort } => {
                let package = |(at, last_resort): (usize, bool)| PublishedPackage {
                    bytes: format!("{at}").into_bytes(),
                    last_resort,
                };
                let packages: Vec<_> = last_resort.into_iter().enumerate().map(package).collect();
                let proof = key(mailbox).prove(id, Purpose::Publish(&packages));
                Call::Publish(Publish { mailbox: key(mailbox).address(), proof, packages })
            }
            Self::Claim { mailbox } => Call::Claim(key(mailbox).address()),
        };
        Request { id, call }
    }
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
                begins: id % 4 != 0,
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
            let publish = StoredPublish { mailbox: log_id(log), packages, begins: id % 4 != 0 };
            let result = storage.publish(request(id), publish, now).await.unwrap();
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
            claims: 12,
            idle: 40,
            log_bytes: 1000 + 6 * ITEM_COST,
            mailbox_bytes: 700 + 4 * ITEM_COST,
            packages: 5,
            package_bytes: 60,
            total_bytes: 1 << 40,
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

    /// A relay and the service of the client's tests give the same answers.
    #[test]
    fn the_service_of_the_clients_tests_does_as_a_relay(asked in vec(asked(), 1..60)) {
        let keys = [(); 2].map(|()| MailboxKey::generate().unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let storage = Arc::new(MemoryStorage::new(Retention::default()));
        let limits = Limits { mailbox_items: Rate::new(0, 0), ..Limits::default() };
        let relay = Relay::new(storage, limits);
        let mut service = MemoryService::new();
        for (id, asked) in &asked {
            let request = asked.request(*id, &keys);
            let theirs = match &request.call {
                Call::Append(append) => service.append(request.id, append).map(Reply::Appended),
                Call::Read(read) => service.read(request.id, read).map(Reply::Page),
                Call::Publish(publish) => service
                    .publish(request.id, publish)
                    .map(|remaining| Reply::Published { remaining }),
                Call::Claim(mailbox) => service.claim(request.id, mailbox).map(Reply::Claimed),
            };
            let ours = runtime.block_on(relay.answer(request));
            prop_assert_eq!(theirs, ours, "{:?}", asked);
        }
    }
}
