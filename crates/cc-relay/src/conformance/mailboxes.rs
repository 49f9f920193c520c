//! Mailboxes and the key packages beside them.

use cc_client::{Position, PublishedPackage, Refusal, RequestId};

use super::{NOW, append, bytes, commit, id, items, log, read, token};
use crate::storage::{Reader, Retention, Storage};

pub(super) async fn a_mailbox_is_its_owners(storage: &dyn Storage) {
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
pub(super) async fn a_group_takes_no_mailboxs_address(storage: &dyn Storage) {
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

pub(super) async fn key_packages_are_handed_out_once(storage: &dyn Storage) {
    let (mailbox, other) = (log(), log());
    let package = |byte: u8, last_resort| PublishedPackage { bytes: vec![byte; 3], last_resort };
    let publish = async |id: RequestId, packages: Vec<PublishedPackage>| {
        storage.publish(id, super::packages(mailbox, packages), NOW).await.unwrap()
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
