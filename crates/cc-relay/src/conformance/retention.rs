//! What is kept how long, and what makes room for what.

use std::sync::Arc;

use cc_client::{Position, PublishedPackage, Refusal};

use super::{NOW, append, bytes, id, items, log, read, token};
use crate::storage::{ClockRecord, Hour, ITEM_COST, Reader, Retention, Storage, StoredAppend};

pub(super) async fn the_time_is_kept(storage: &dyn Storage) {
    assert_eq!(storage.clock().await.unwrap(), None);
    for hours in [5, 3] {
        let record = ClockRecord { relay: NOW.plus(hours), wall: NOW.minus(hours) };
        storage.set_clock(record).await.unwrap();
        assert_eq!(storage.clock().await.unwrap(), Some(record));
    }
}

pub(super) async fn the_oldest_is_forgotten(open: &impl Fn(Retention) -> Arc<dyn Storage>) {
    // Two items of four bytes.
    let two = 10 + 2 * ITEM_COST;
    let retention = Retention { age: 10, idle: 100, log_bytes: two, ..Retention::default() };
    let retention = Retention { mailbox_bytes: two, package_bytes: 10, ..retention };
    let storage = open(retention);
    let storage = &*storage;
    let (log, other, mailbox, access) = (log(), log(), log(), token(1));
    let by = Reader::Token(access);
    // By size: of a group the oldest.
    let first = id();
    let once = async || {
        let append = items(log, Some(access), &[b"1111"]);
        storage.append(first, append, NOW).await.unwrap().map(|position| position.0)
    };
    assert_eq!([once().await, once().await], [Ok(1), Ok(1)]);
    for text in [&b"2222"[..], b"3333"] {
        append(storage, items(log, Some(access), &[text])).await.unwrap();
    }
    let page = read(storage, log, 0, by).await.unwrap();
    assert_eq!((bytes(&page), page.forgotten), (vec![&b"2222"[..], b"3333"], Position(1)));
    // With it goes what was answered: a log that forgets leaves nothing else behind.
    assert_eq!(once().await, Ok(4));
    append(storage, items(log, Some(access), &[b"5555"])).await.unwrap();
    append(storage, items(log, Some(access), &[&[b'x'; 1000]])).await.unwrap();
    let page = read(storage, log, 0, by).await.unwrap();
    assert_eq!((page.items.len(), page.forgotten, page.head), (1, Position(5), Position(6)));
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
    assert_eq!(
        storage.publish(published, super::packages(log, packages.clone()), NOW).await.unwrap(),
        Ok(1)
    );
    let more = storage.publish(id(), super::packages(log, packages.clone()), NOW).await.unwrap();
    assert_eq!(more, Err(Refusal::TooLarge));
    // By age.
    let expire = async |hour| while storage.expire(Hour(hour)).await.unwrap() {};
    expire(NOW.0 + 10).await;
    assert_eq!(read(storage, log, 0, by).await.unwrap().items.len(), 1);
    let again = super::packages(log, packages.clone());
    assert_eq!(storage.publish(published, again, NOW).await.unwrap(), Ok(1), "the first answer");
    expire(NOW.0 + 11).await;
    let page = read(storage, log, 0, by).await.unwrap();
    assert_eq!((page.items.len(), page.forgotten, page.head), (0, Position(6), Position(6)));
    let page = read(storage, mailbox, 1, Reader::Owner).await.unwrap();
    assert_eq!((page.items.len(), page.forgotten), (0, Position(3)));
    // Positions and epochs go on, and each item has its own hour.
    let later = Hour(NOW.0 + 11);
    for (hour, at) in [(later, 7), (later.plus(1), 8)] {
        let new = items(log, Some(access), &[b"new"]);
        assert_eq!(storage.append(id(), new, hour).await.unwrap(), Ok(Position(at)));
    }
    for (hours, kept) in [(21, 2), (22, 1), (23, 0)] {
        expire(NOW.0 + hours).await;
        assert_eq!(read(storage, log, 0, by).await.unwrap().items.len(), kept, "{hours}");
    }
    // Answers are forgotten as well; key packages later.
    let again = storage.publish(published, super::packages(log, packages), NOW).await.unwrap();
    assert_eq!(again, Err(Refusal::TooLarge));
    expire(NOW.0 + 101).await;
    assert_eq!(storage.claim(id(), log, later).await.unwrap(), Ok(None));
    // A silent log is gone, and nobody begins it anew; a mailbox that is empty, and has no visitor, does.
    expire(NOW.0 + 113).await;
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
pub(super) async fn answers_to_claims_are_bounded(open: &impl Fn(Retention) -> Arc<dyn Storage>) {
    let retention = Retention { package_bytes: 3500, claims: 5, ..Retention::default() };
    let storage = open(retention);
    let mailbox = log();
    let package =
        |number: u8, last_resort| PublishedPackage { bytes: vec![number; 1000], last_resort };
    let claim = async |id, hour| storage.claim(id, mailbox, hour).await.unwrap().unwrap();
    let mut claims = Vec::new();
    for number in 0..5 {
        let packages = vec![package(number, false)];
        assert_eq!(
            storage.publish(id(), super::packages(mailbox, packages), NOW).await.unwrap(),
            Ok(1)
        );
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
    assert_eq!(storage.publish(id(), super::packages(mailbox, last), NOW).await.unwrap(), Ok(0));
    let again = id();
    for number in [8, 9] {
        assert_eq!(claim(again, NOW).await, Some(vec![number; 1000]));
        storage
            .publish(id(), super::packages(mailbox, vec![package(9, true)]), NOW)
            .await
            .unwrap()
            .unwrap();
    }
    // Answers to claims are kept for hours, and not as long as others.
    while storage.expire(NOW.plus(6)).await.unwrap() {}
    assert_eq!(claim(claims[4], NOW.plus(6)).await, Some(vec![9; 1000]));
}

pub(super) async fn mailboxes_and_gone_logs_are_not_for_ever(
    open: &impl Fn(Retention) -> Arc<dyn Storage>,
) {
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
pub(super) async fn who_is_at_work_has_room_where_strangers_have_none(
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
    let published =
        storage.publish(id(), super::packages(log(), vec![package]), NOW).await.unwrap();
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
