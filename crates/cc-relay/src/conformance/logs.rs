//! Logs: order, commits, tokens, and requests that come again.

use std::{collections::BTreeSet, sync::Arc};

use cc_client::{MAX_APPEND, MAX_PAGE, MAX_PAGE_LEN, Page, Position, PublishedPackage, Refusal};

use super::{NOW, append, bytes, commit, id, items, log, read, token};
use crate::storage::{ReadPage, Reader, Storage};

pub(super) async fn positions_ascend_and_pages_are_bounded(storage: &dyn Storage) {
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

pub(super) async fn a_request_is_done_once(storage: &dyn Storage) {
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
    assert_eq!(
        storage.publish(first, super::packages(log, Vec::new()), NOW).await.unwrap(),
        Err(Refusal::Denied)
    );
    let page = read(storage, log, 0, Reader::Token(token(2))).await.unwrap();
    assert_eq!(bytes(&page), [&b"once"[..], b"commit", b"allowed"]);
}

pub(super) async fn commits_follow_one_another(storage: &dyn Storage) {
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

pub(super) async fn a_token_is_for_its_epoch(storage: &dyn Storage) {
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

pub(super) async fn many_at_once_are_in_one_order(storage: Arc<dyn Storage>) {
    const TASKS: usize = 32;
    const EACH: usize = 10;
    let (log, access) = (log(), token(1));
    append(&*storage, commit(log, access, 0, None)).await.unwrap();
    let packages =
        (0..TASKS).map(|n| PublishedPackage { bytes: vec![n as u8], last_resort: false });
    storage.publish(id(), super::packages(log, packages.collect()), NOW).await.unwrap().unwrap();
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
