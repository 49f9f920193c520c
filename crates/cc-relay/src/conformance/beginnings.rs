//! Who may not begin a log.

use cc_client::{PublishedPackage, Refusal};

use super::{NOW, append, id, items, log, token};
use crate::storage::{Storage, StoredAppend, StoredPublish};

pub(super) async fn who_may_not_begin_a_log_goes_on_with_those_there_are(storage: &dyn Storage) {
    let (group, mailbox, access) = (log(), log(), Some(token(1)));
    let busy = |result: Result<u64, Refusal>| matches!(result, Err(Refusal::Busy { .. }));
    let goes_on = |log, access| StoredAppend { begins: false, ..items(log, access, &[b"x"]) };
    for (log, access) in [(group, access), (mailbox, None)] {
        let request = id();
        let refused = storage.append(request, goes_on(log, access), NOW).await.unwrap();
        assert!(busy(refused.map(|at| at.0)));
        // The refusal is not kept: it goes when it may.
        assert_eq!(append(storage, items(log, access, &[b"first"])).await, Ok(1));
        let later = storage.append(request, goes_on(log, access), NOW).await.unwrap();
        assert_eq!(later.map(|at| at.0), Ok(2));
        assert_eq!(append(storage, goes_on(log, access)).await, Ok(3));
    }
    // A group and a mailbox of one address are two.
    assert!(busy(append(storage, goes_on(group, None)).await));
    let package = PublishedPackage { bytes: vec![1; 3], last_resort: false };
    let publish = async |begins| {
        let packages = vec![package.clone()];
        storage.publish(id(), StoredPublish { mailbox, packages, begins }, NOW).await.unwrap()
    };
    assert!(busy(publish(false).await.map(u64::from)));
    assert_eq!(publish(true).await, Ok(1));
    assert_eq!(publish(false).await, Ok(2));
}
