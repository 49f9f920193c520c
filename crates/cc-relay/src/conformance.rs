//! What every [`Storage`] must do. An engine's own tests call [`run`] with a function that opens an empty one.
//!
//! Panics with what is wrong. [`run`] needs a tokio runtime with several threads.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]
#![allow(clippy::cast_possible_truncation, reason = "small numbers of its own")]
#![allow(clippy::missing_panics_doc, reason = "panics are what it is for")]

use std::{collections::BTreeSet, sync::Arc};

use cc_client::{
    AccessHash, Follows, LogId, MAX_APPEND, MAX_PAGE, MAX_PAGE_LEN, Page, Position,
    PublishedPackage, Refusal, RequestId,
};

use crate::storage::{
    ClockRecord, Hour, ITEM_COST, ReadPage, Reader, Retention, Storage, StoredAppend,
};

const NOW: Hour = Hour(500_000);

/// All of it, each on an empty storage of its own.
pub async fn run(open: impl Fn(Retention) -> Arc<dyn Storage>) {
    let default = || open(Retention::default());
    positions_ascend_and_pages_are_bounded(&*default()).await;
    a_request_is_done_once(&*default()).await;
    commits_follow_one_another(&*default()).await;
    a_token_is_for_its_epoch(&*default()).await;
    a_mailbox_is_its_owners(&*default()).await;
    a_group_takes_no_mailboxs_address(&*default()).await;
    key_packages_are_handed_out_once(&*default()).await;
    many_at_once_are_in_one_order(default()).await;
    the_time_is_kept(&*default()).await;
    the_oldest_is_forgotten(&open).await;
    answers_to_claims_are_bounded(&open).await;
    mailboxes_and_gone_logs_are_not_for_ever(&open).await;
    who_is_at_work_has_room_where_strangers_have_none(&open).await;
}

fn id() -> RequestId {
    RequestId::random().unwrap()
}

fn log() -> LogId {
    LogId::random().unwrap()
}

fn token(number: u8) -> AccessHash {
    AccessHash([number; 32])
}

fn items(log: LogId, access: Option<AccessHash>, items: &[&[u8]]) -> StoredAppend {
    let items = items.iter().map(|item| item.to_vec()).collect();
    StoredAppend { log, access, commit: None, items }
}

fn commit(log: LogId, access: AccessHash, after: u64, next: Option<AccessHash>) -> StoredAppend {
    let commit = Some(Follows { after: Position(after), next });
    StoredAppend { log, access: Some(access), commit, items: vec![b"commit".to_vec()] }
}

async fn append(storage: &dyn Storage, append: StoredAppend) -> Result<u64, Refusal> {
    storage.append(id(), append, NOW).await.unwrap().map(|position| position.0)
}

async fn read(storage: &dyn Storage, log: LogId, after: u64, by: Reader) -> Result<Page, Refusal> {
    let read = storage.read(log, Position(after), by, NOW).await.unwrap();
    read.map(|ReadPage { page, .. }| page)
}

fn bytes(page: &Page) -> Vec<&[u8]> {
    page.items.iter().map(|item| &item.bytes[..]).collect()
}

async fn positions_ascend_and_pages_are_bounded(storage: &dyn Storage) {
    let (log, other, access) = (log(), log(), token(1));
    let by = Reader::Token(access);
    let empty = read(storage, log, 0, by).await.unwrap();
    assert_eq!((empty.items.len(), empty.head, empty.forgotten), (0, Position(0), Position(0)));
    assert_eq!(append(storage, items(log, Some(access), &[b"a", b"", b"c"])).await, Ok(3));
    assert_eq!(append(storage, items(other, Some(access), &[b"other"])).await, Ok(1));
    assert_eq!(append(storage, items(log, Some(access), &[b"d"])).await, Ok(4));
    let page = read(storage, log, 1, by).await.unwrap();
    assert_eq!(bytes(&page), [&b""[..], b"c", b"d"]);
    assert_eq!(page.items[0].position, Position(2));
    assert!(page.items.iter().all(|item| !item.commit));
    assert_eq!((page.head, page.forgotten), (Position(4), Position(0)));
    for beyond in [4, 5, u64::MAX] {
        let page = read(storage, log, beyond, by).await.unwrap();
        assert_eq!((page.items.len(), page.head), (0, Position(4)));
    }
    for count in [0, MAX_APPEND + 1] {
        let refused = items(log, Some(access), &vec![&b"x"[..]; count]);
        assert_eq!(append(storage, refused).await, Err(Refusal::TooLarge));
    }
    let mut two = commit(log, access, 0, None);
    two.items.push(Vec::new());
    assert_eq!(append(storage, two).await, Err(Refusal::TooLarge));
    for _ in 0..MAX_PAGE / MAX_APPEND {
        append(storage, items(log, Some(access), &[&b"x"[..]; MAX_APPEND])).await.unwrap();
    }
    let page = read(storage, log, 0, by).await.unwrap();
    assert_eq!((page.items.len(), page.head), (MAX_PAGE, Position(4 + MAX_PAGE as u64)));
    let large = vec![7; MAX_PAGE_LEN + 1];
    append(storage, items(other, Some(access), &[&large])).await.unwrap();
    append(storage, items(other, Some(access), &[&large[2..], b"y", b"z"])).await.unwrap();
    let lengths = |page: Page| page.items.iter().map(|item| item.bytes.len()).collect::<Vec<_>>();
    assert_eq!(lengths(read(storage, other, 0, by).await.unwrap()), [5]);
    assert_eq!(lengths(read(storage, other, 1, by).await.unwrap()), [MAX_PAGE_LEN + 1]);
    assert_eq!(lengths(read(storage, other, 2, by).await.unwrap()), [MAX_PAGE_LEN - 1, 1]);
}

async fn a_request_is_done_once(storage: &dyn Storage) {
    let (log, access) = (log(), token(1));
    let (first, refused) = (id(), id());
    let once = items(log, Some(access), &[b"once"]);
    for _ in 0..3 {
        let done = storage.append(first, once.clone(), NOW).await.unwrap();
        assert_eq!(done, Ok(Position(1)));
        let denied = items(log, Some(token(2)), &[b"denied"]);
        let denied = storage.append(refused, denied, NOW).await.unwrap();
        assert_eq!(denied, Err(Refusal::Denied));
    }
    assert_eq!(append(storage, commit(log, access, 0, Some(token(2)))).await, Ok(2));
    // What was done stays done. What was refused changed nothing, and is looked at anew.
    assert_eq!(storage.append(first, once, NOW).await.unwrap(), Ok(Position(1)));
    for _ in 0..2 {
        let late = items(log, Some(token(2)), &[b"allowed"]);
        assert_eq!(storage.append(refused, late, NOW).await.unwrap(), Ok(Position(3)));
    }
    // The id is of another kind of request.
    assert_eq!(storage.claim(first, log, NOW).await.unwrap(), Err(Refusal::Denied));
    assert_eq!(storage.publish(first, log, Vec::new(), NOW).await.unwrap(), Err(Refusal::Denied));
    let page = read(storage, log, 0, Reader::Token(token(2))).await.unwrap();
    assert_eq!(bytes(&page), [&b"once"[..], b"commit", b"allowed"]);
}

async fn commits_follow_one_another(storage: &dyn Storage) {
    let (log, access) = (log(), token(1));
    let conflict = |head| Err(Refusal::Conflict { head: Position(head) });
    assert_eq!(append(storage, commit(log, access, 3, None)).await, conflict(0));
    assert_eq!(append(storage, commit(log, access, 0, None)).await, Ok(1));
    assert_eq!(append(storage, items(log, Some(access), &[b"a", b"b"])).await, Ok(3));
    assert_eq!(append(storage, commit(log, access, 0, None)).await, conflict(1));
    assert_eq!(append(storage, commit(log, access, 3, None)).await, conflict(1));
    assert_eq!(append(storage, commit(log, access, 1, None)).await, Ok(4));
    assert_eq!(append(storage, commit(log, access, 1, None)).await, conflict(4));
    let page = read(storage, log, 0, Reader::Token(access)).await.unwrap();
    let commits: Vec<bool> = page.items.iter().map(|item| item.commit).collect();
    assert_eq!(commits, [true, false, false, true]);
}

async fn a_token_is_for_its_epoch(storage: &dyn Storage) {
    let log = log();
    let (first, second, third, none) = (token(1), token(2), token(3), token(9));
    append(storage, items(log, Some(first), &[b"one"])).await.unwrap();
    append(storage, commit(log, first, 0, Some(second))).await.unwrap();
    append(storage, items(log, Some(second), &[b"two"])).await.unwrap();
    append(storage, commit(log, second, 2, Some(third))).await.unwrap();
    append(storage, items(log, Some(third), &[b"three"])).await.unwrap();
    for (access, last, over) in [(first, 2, true), (second, 4, true), (third, 5, false)] {
        let read = storage.read(log, Position(0), Reader::Token(access), NOW).await.unwrap();
        let ReadPage { page, epoch_over } = read.unwrap();
        assert_eq!(
            (page.head, page.items.len(), epoch_over),
            (Position(last), last as usize, over)
        );
        let beyond = storage.read(log, Position(last), Reader::Token(access), NOW).await.unwrap();
        assert!(beyond.unwrap().page.items.is_empty());
    }
    // Who was removed, or has fallen behind, appends nothing; an outsider even less.
    let conflict = Err(Refusal::Conflict { head: Position(4) });
    for past in [first, second] {
        assert_eq!(append(storage, items(log, Some(past), &[b"late"])).await, conflict);
        assert_eq!(append(storage, commit(log, past, 4, Some(past))).await, conflict);
    }
    let denied = append(storage, items(log, Some(none), &[b"no"])).await;
    assert_eq!(denied, Err(Refusal::Denied));
    let denied = append(storage, commit(log, none, 4, Some(none))).await;
    assert_eq!(denied, Err(Refusal::Denied));
    let refused = read(storage, log, 0, Reader::Token(none)).await;
    assert_eq!(refused.unwrap_err(), Refusal::Denied);
    assert_eq!(append(storage, items(log, Some(third), &[b"yes"])).await, Ok(6));
    // A token that comes again is of the later epoch.
    append(storage, commit(log, third, 4, Some(first))).await.unwrap();
    assert_eq!(append(storage, items(log, Some(first), &[b"again"])).await, Ok(8));
    assert_eq!(read(storage, log, 0, Reader::Token(first)).await.unwrap().head, Position(8));
}

async fn a_mailbox_is_its_owners(storage: &dyn Storage) {
    let mailbox = log();
    let empty = read(storage, mailbox, 0, Reader::Owner).await.unwrap();
    assert_eq!((empty.items.len(), empty.head), (0, Position(0)));
    for text in [&b"a"[..], b"b", b"c"] {
        append(storage, items(mailbox, None, &[text])).await.unwrap();
    }
    let nothing = read(storage, mailbox, 0, Reader::Token(token(1))).await.unwrap();
    assert_eq!((nothing.items.len(), nothing.head), (0, Position(0)));
    let page = read(storage, mailbox, 0, Reader::Owner).await.unwrap();
    assert_eq!(bytes(&page), [&b"a"[..], b"b", b"c"]);
    // What the owner has read is deleted.
    let page = read(storage, mailbox, 2, Reader::Owner).await.unwrap();
    assert_eq!((bytes(&page), page.forgotten), (vec![&b"c"[..]], Position(2)));
    let page = read(storage, mailbox, 0, Reader::Owner).await.unwrap();
    assert_eq!((bytes(&page), page.forgotten), (vec![&b"c"[..]], Position(2)));
    // Who says to have read more than there is has read another log, as of before a copy was put back.
    for beyond in [4, u64::MAX] {
        let page = read(storage, mailbox, beyond, Reader::Owner).await.unwrap();
        assert_eq!((page.items.len(), page.forgotten, page.head), (0, Position(2), Position(3)));
    }
    let page = read(storage, mailbox, 2, Reader::Owner).await.unwrap();
    assert_eq!(bytes(&page), [&b"c"[..]]);
    let page = read(storage, mailbox, 3, Reader::Owner).await.unwrap();
    assert_eq!((page.items.len(), page.forgotten, page.head), (0, Position(3), Position(3)));
    assert_eq!(append(storage, items(mailbox, None, &[b"d"])).await, Ok(4));
}

/// Nor the other way round: who founds a group at the address of a mailbox, before or after there is one, and closes
/// it to all others, has another log.
async fn a_group_takes_no_mailboxs_address(storage: &dyn Storage) {
    let (address, access) = (log(), token(1));
    for text in [&b"a"[..], b"b"] {
        append(storage, items(address, Some(access), &[text])).await.unwrap();
        append(storage, commit(address, access, 0, None)).await.unwrap_or_default();
        append(storage, items(address, None, &[text])).await.unwrap();
    }
    let page = read(storage, address, 0, Reader::Owner).await.unwrap();
    assert_eq!((bytes(&page), page.head), (vec![&b"a"[..], b"b"], Position(2)));
    let page = read(storage, address, 2, Reader::Owner).await.unwrap();
    assert_eq!((page.items.len(), page.forgotten), (0, Position(2)));
    let page = read(storage, address, 0, Reader::Token(access)).await.unwrap();
    assert_eq!(bytes(&page), [&b"a"[..], b"commit", b"b"]);
    let stranger = items(address, Some(token(2)), &[b"no"]);
    assert_eq!(append(storage, stranger).await, Err(Refusal::Denied));
}

async fn key_packages_are_handed_out_once(storage: &dyn Storage) {
    let (mailbox, other) = (log(), log());
    let package = |byte: u8, last_resort| PublishedPackage { bytes: vec![byte; 3], last_resort };
    let publish = async |id: RequestId, packages: Vec<PublishedPackage>| {
        storage.publish(id, mailbox, packages, NOW).await.unwrap()
    };
    let claim = async |id: RequestId| storage.claim(id, mailbox, NOW).await.unwrap().unwrap();
    assert_eq!(claim(id()).await, None);
    let once = id();
    let three = vec![package(1, false), package(2, false), package(9, true)];
    for _ in 0..2 {
        assert_eq!(publish(once, three.clone()).await, Ok(2));
    }
    let first = id();
    for _ in 0..3 {
        assert_eq!(claim(first).await, Some(vec![1; 3]));
    }
    assert_eq!(publish(once, three.clone()).await, Ok(2), "the first answer");
    assert_eq!(claim(id()).await, Some(vec![2; 3]));
    for _ in 0..3 {
        assert_eq!(claim(id()).await, Some(vec![9; 3]));
    }
    assert_eq!(publish(id(), vec![package(8, true)]).await, Ok(0));
    assert_eq!(claim(id()).await, Some(vec![8; 3]));
    assert_eq!(publish(id(), vec![package(3, false)]).await, Ok(1));
    assert_eq!(claim(id()).await, Some(vec![3; 3]));
    assert_eq!(claim(id()).await, Some(vec![8; 3]));
    assert_eq!(storage.claim(id(), other, NOW).await.unwrap(), Ok(None));
    let many = vec![package(4, false); Retention::default().packages as usize];
    assert_eq!(publish(id(), many.clone()).await, Err(Refusal::TooLarge));
    assert_eq!(publish(id(), many[1..].to_vec()).await, Ok(Retention::default().packages - 1));
    assert_eq!(publish(id(), vec![package(5, false)]).await, Err(Refusal::TooLarge));
    assert_eq!(publish(id(), vec![package(6, true)]).await, Ok(Retention::default().packages - 1));
}

async fn many_at_once_are_in_one_order(storage: Arc<dyn Storage>) {
    const TASKS: usize = 32;
    const EACH: usize = 10;
    let (log, access) = (log(), token(1));
    append(&*storage, commit(log, access, 0, None)).await.unwrap();
    let packages =
        (0..TASKS).map(|n| PublishedPackage { bytes: vec![n as u8], last_resort: false });
    storage.publish(id(), log, packages.collect(), NOW).await.unwrap().unwrap();
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let storage = Arc::clone(&storage);
            tokio::spawn(async move {
                let mut positions = Vec::new();
                for message in 0..EACH {
                    let text = format!("{task}.{message}");
                    let message = items(log, Some(access), &[text.as_bytes()]);
                    positions.push(append(&*storage, message).await.unwrap());
                }
                let won = append(&*storage, commit(log, access, 1, None)).await.is_ok();
                let package = storage.claim(id(), log, NOW).await.unwrap().unwrap();
                (positions, won, package)
            })
        })
        .collect();
    let (mut positions, mut winners, mut packages) = (BTreeSet::new(), 0, BTreeSet::new());
    for task in tasks {
        let (mine, won, package) = task.await.unwrap();
        assert!(mine.is_sorted(), "one client's messages stay in order");
        positions.extend(mine);
        winners += usize::from(won);
        packages.insert(package.expect("one for each"));
    }
    assert_eq!((positions.len(), winners, packages.len()), (TASKS * EACH, 1, TASKS));
    let mut after = 0;
    let mut texts = BTreeSet::new();
    loop {
        let page = read(&*storage, log, after, Reader::Token(access)).await.unwrap();
        let Some(last) = page.items.last() else { break };
        for (item, position) in page.items.iter().zip(after + 1..) {
            assert_eq!(item.position, Position(position));
            texts.insert(item.bytes.clone());
        }
        after = last.position.0;
    }
    assert_eq!((after, texts.len()), (TASKS as u64 * EACH as u64 + 2, TASKS * EACH + 1));
}

async fn the_time_is_kept(storage: &dyn Storage) {
    assert_eq!(storage.clock().await.unwrap(), None);
    for hours in [5, 3] {
        let record = ClockRecord { relay: NOW.plus(hours), wall: NOW.minus(hours) };
        storage.set_clock(record).await.unwrap();
        assert_eq!(storage.clock().await.unwrap(), Some(record));
    }
}

async fn the_oldest_is_forgotten(open: &impl Fn(Retention) -> Arc<dyn Storage>) {
    // Two items of four bytes.
    let two = 10 + 2 * ITEM_COST;
    let retention = Retention { age: 10, idle: 100, log_bytes: two, ..Retention::default() };
    let retention = Retention { mailbox_bytes: two, package_bytes: 10, ..retention };
    let storage = open(retention);
    let storage = &*storage;
    let (log, other, mailbox, access) = (log(), log(), log(), token(1));
    let by = Reader::Token(access);
    // By size: of a group the oldest.
    for text in [&b"1111"[..], b"2222", b"3333"] {
        append(storage, items(log, Some(access), &[text])).await.unwrap();
    }
    let page = read(storage, log, 0, by).await.unwrap();
    assert_eq!((bytes(&page), page.forgotten), (vec![&b"2222"[..], b"3333"], Position(1)));
    append(storage, items(log, Some(access), &[&[b'x'; 1000]])).await.unwrap();
    let page = read(storage, log, 0, by).await.unwrap();
    assert_eq!((page.items.len(), page.forgotten, page.head), (1, Position(3), Position(4)));
    // Of a mailbox nothing, but it takes no more.
    for text in [&b"1111"[..], b"2222"] {
        append(storage, items(mailbox, None, &[text])).await.unwrap();
    }
    let busy = append(storage, items(mailbox, None, &[b"3333"])).await;
    assert!(matches!(busy, Err(Refusal::Busy { .. })), "{busy:?}");
    assert_eq!(read(storage, mailbox, 1, Reader::Owner).await.unwrap().items.len(), 1);
    assert_eq!(append(storage, items(mailbox, None, &[b"3333"])).await, Ok(3));
    let package = PublishedPackage { bytes: vec![0; 6], last_resort: false };
    let (published, packages) = (id(), vec![package.clone()]);
    assert_eq!(storage.publish(published, log, packages.clone(), NOW).await.unwrap(), Ok(1));
    let more = storage.publish(id(), log, packages.clone(), NOW).await.unwrap();
    assert_eq!(more, Err(Refusal::TooLarge));
    // By age.
    let expire = async |hour| while storage.expire(Hour(hour)).await.unwrap() {};
    expire(NOW.0 + 10).await;
    assert_eq!(read(storage, log, 0, by).await.unwrap().items.len(), 1);
    expire(NOW.0 + 11).await;
    let page = read(storage, log, 0, by).await.unwrap();
    assert_eq!((page.items.len(), page.forgotten, page.head), (0, Position(4), Position(4)));
    let page = read(storage, mailbox, 1, Reader::Owner).await.unwrap();
    assert_eq!((page.items.len(), page.forgotten), (0, Position(3)));
    // Positions and epochs go on, and an item of today stays.
    let new = items(log, Some(access), &[b"new"]);
    let later = Hour(NOW.0 + 11);
    assert_eq!(storage.append(id(), new, later).await.unwrap(), Ok(Position(5)));
    expire(NOW.0 + 12).await;
    assert_eq!(read(storage, log, 0, by).await.unwrap().items.len(), 1);
    // Answers are forgotten as well; key packages later.
    let again = storage.publish(published, log, packages, NOW).await.unwrap();
    assert_eq!(again, Err(Refusal::TooLarge));
    expire(NOW.0 + 101).await;
    assert_eq!(storage.claim(id(), log, later).await.unwrap(), Ok(None));
    // A silent log is gone, and nobody begins it anew; a mailbox that is empty, and has no visitor, does.
    expire(NOW.0 + 112).await;
    assert_eq!(read(storage, log, 0, by).await.unwrap_err(), Refusal::Gone);
    for access in [access, token(2)] {
        let begun = append(storage, items(log, Some(access), &[b"x"])).await;
        assert_eq!(begun, Err(Refusal::Gone));
    }
    assert_eq!(append(storage, items(mailbox, None, &[b"4444"])).await, Ok(1));
    // Empty items are not free: of the same size, in number as many.
    for _ in 0..3 {
        append(storage, items(other, Some(access), &[b""])).await.unwrap();
    }
    let page = read(storage, other, 0, by).await.unwrap();
    assert_eq!((page.items.len(), page.forgotten), (2, Position(1)));
}

/// Whoever publishes and claims, over and over, leaves no more than what a mailbox may have.
async fn answers_to_claims_are_bounded(open: &impl Fn(Retention) -> Arc<dyn Storage>) {
    let retention = Retention { package_bytes: 3500, claims: 5, ..Retention::default() };
    let storage = open(retention);
    let mailbox = log();
    let package =
        |number: u8, last_resort| PublishedPackage { bytes: vec![number; 1000], last_resort };
    let claim = async |id, hour| storage.claim(id, mailbox, hour).await.unwrap().unwrap();
    let mut claims = Vec::new();
    for number in 0..5 {
        let packages = vec![package(number, false)];
        assert_eq!(storage.publish(id(), mailbox, packages, NOW).await.unwrap(), Ok(1));
        claims.push(id());
        assert_eq!(claim(claims[usize::from(number)], NOW).await, Some(vec![number; 1000]));
    }
    // The last three are known; who comes again with an older id is given another package, or none.
    for (number, id) in claims.iter().enumerate().skip(2) {
        assert_eq!(claim(*id, NOW).await, Some(vec![number as u8; 1000]));
    }
    assert_eq!(claim(claims[1], NOW).await, None);
    // One that is handed out again and again is not kept for each.
    let last = vec![package(8, true)];
    assert_eq!(storage.publish(id(), mailbox, last, NOW).await.unwrap(), Ok(0));
    let again = id();
    for number in [8, 9] {
        assert_eq!(claim(again, NOW).await, Some(vec![number; 1000]));
        storage.publish(id(), mailbox, vec![package(9, true)], NOW).await.unwrap().unwrap();
    }
    // Answers to claims are kept for hours, and not as long as others.
    while storage.expire(NOW.plus(6)).await.unwrap() {}
    assert_eq!(claim(claims[4], NOW.plus(6)).await, Some(vec![9; 1000]));
}

async fn mailboxes_and_gone_logs_are_not_for_ever(open: &impl Fn(Retention) -> Arc<dyn Storage>) {
    let storage = open(Retention { age: 10, idle: 100, ..Retention::default() });
    let storage = &*storage;
    let (group, unread, owned) = (log(), log(), log());
    append(storage, items(group, Some(token(1)), &[b"x"])).await.unwrap();
    for mailbox in [unread, owned] {
        append(storage, items(mailbox, None, &[b"x"])).await.unwrap();
    }
    read(storage, owned, 1, Reader::Owner).await.unwrap();
    let expire = async |hours| while storage.expire(NOW.plus(hours)).await.unwrap() {};
    let heads = async |hours| {
        let mut heads = Vec::new();
        for mailbox in [unread, owned] {
            let read = storage.read(mailbox, Position(1), Reader::Owner, NOW.plus(hours)).await;
            heads.push(read.unwrap().unwrap().page.head.0);
        }
        heads
    };
    // One that nobody ever read is forgotten with what was in it; one whose owner comes is not.
    expire(11).await;
    assert_eq!(heads(11).await, [0, 1]);
    expire(90).await;
    assert_eq!(heads(90).await, [0, 1]);
    expire(150).await;
    assert_eq!(heads(150).await, [0, 1]);
    expire(300).await;
    assert_eq!(heads(300).await, [0, 0]);
    let gone = async |hours| {
        expire(hours).await;
        append(storage, items(group, Some(token(2)), &[b"y"])).await
    };
    assert_eq!(append(storage, items(group, Some(token(2)), &[b"y"])).await, Ok(1));
    let (other, access) = (log(), token(1));
    let at = |hours| storage.append(id(), items(other, Some(access), &[b"x"]), NOW.plus(hours));
    assert_eq!(at(300).await.unwrap(), Ok(Position(1)));
    expire(401).await;
    assert_eq!(at(401).await.unwrap(), Err(Refusal::Gone));
    expire(500).await;
    assert_eq!(at(500).await.unwrap(), Err(Refusal::Gone));
    assert_eq!(gone(501).await, Ok(1));
    assert_eq!(at(501).await.unwrap(), Ok(Position(1)));
}

/// A stranger takes all that it can get, in every way there is.
async fn who_is_at_work_has_room_where_strangers_have_none(
    open: &impl Fn(Retention) -> Arc<dyn Storage>,
) {
    const TOTAL: u64 = 8 << 20;
    const TRIES: u32 = 2000;
    let storage = open(Retention { total_bytes: TOTAL, ..Retention::default() });
    let storage = &*storage;
    let (group, access, owner) = (log(), token(1), log());
    let message = |number: u32| number.to_be_bytes().to_vec();
    for number in 0..20 {
        append(storage, items(group, Some(access), &[&message(number)])).await.unwrap();
    }
    append(storage, items(owner, None, &[b"welcome"])).await.unwrap();
    let (own, foreign, large) = (log(), token(2), vec![7; 30_000]);
    append(storage, items(own, Some(foreign), &[b"mine"])).await.unwrap();
    let full = async |what: &dyn Fn() -> StoredAppend| {
        for _ in 0..TRIES {
            match append(storage, what()).await {
                Ok(_) => {}
                Err(Refusal::Busy { retry_after }) => return assert!(retry_after > 0),
                Err(other) => panic!("{other:?}"),
            }
        }
        panic!("there was room for everything");
    };
    full(&|| items(log(), Some(foreign), &[&large])).await;
    full(&|| items(log(), None, &[&large])).await;
    full(&|| items(owner, None, &[&large])).await;
    let package = PublishedPackage { bytes: large.clone(), last_resort: false };
    let published = storage.publish(id(), log(), vec![package], NOW).await.unwrap();
    assert!(matches!(published, Err(Refusal::Busy { .. })), "{published:?}");
    assert!(storage.usage().bytes <= TOTAL / 4 * 3, "{:?}", storage.usage());
    assert!(storage.usage().refused >= 4, "{:?}", storage.usage());
    // With a log of its own it goes on, and so does everybody; it takes from itself.
    for number in 20..TRIES {
        append(storage, items(own, Some(foreign), &[&large])).await.unwrap();
        if number % 10 == 0 {
            append(storage, items(group, Some(access), &[&message(number)])).await.unwrap();
        }
    }
    let usage = storage.usage();
    assert!(usage.bytes < TOTAL + TOTAL / 4, "{usage:?}");
    assert!(usage.limit == TOTAL && usage.forgotten > 0, "{usage:?}");
    let mut expected: Vec<_> = (0..20).map(message).collect();
    expected.extend((20..TRIES).step_by(10).map(message));
    let page = read(storage, group, 0, Reader::Token(access)).await.unwrap();
    assert_eq!(page.items.into_iter().map(|item| item.bytes).collect::<Vec<_>>(), expected);
    assert_eq!(bytes(&read(storage, owner, 0, Reader::Owner).await.unwrap())[0], b"welcome");
    // In time there is room again.
    let later = NOW.plus(Retention::default().age + 1);
    while storage.expire(later).await.unwrap() {}
    let new = storage.append(id(), items(log(), Some(foreign), &[&large]), later).await.unwrap();
    assert_eq!(new, Ok(Position(1)));
}
