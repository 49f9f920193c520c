//! Who is to be told that a log has something new.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use cc_client::{AccessHash, LogId, Position};
use tokio::sync::Notify;

use crate::{Ended, Notice, storage::Address};

/// Logs that one connection follows at the most.
pub(crate) const MAX_FOLLOWED: usize = 4096;

/// Bytes that count for a log that one connection follows: here, with the connection, and for what it is told.
pub(crate) const FOLLOWED_COST: usize = 512;

/// All of them, by log.
#[derive(Debug, Default)]
pub(crate) struct Followers(Mutex<HashMap<Address, Vec<Entry>>>);

#[derive(Debug)]
struct Entry {
    follower: Weak<Follower>,
    access: Option<AccessHash>,
}

/// One connection. What it is to be told is one position a log, so one that does not read costs no memory.
#[derive(Debug, Default)]
pub(crate) struct Follower {
    pending: Mutex<BTreeMap<Address, Pending>>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Pending {
    head: Option<Position>,
    ended: Option<Ended>,
}

impl Followers {
    /// From now on the follower is told of this log. Whoever follows it already follows it anew.
    pub(crate) fn follow(&self, follower: &Arc<Follower>, log: LogId, access: Option<AccessHash>) {
        let address = Address::with_access(log, access.as_ref());
        self.unfollow(follower, address);
        let entry = Entry { follower: Arc::downgrade(follower), access };
        self.logs().entry(address).or_default().push(entry);
    }

    pub(crate) fn unfollow(&self, follower: &Arc<Follower>, address: Address) {
        let mut logs = self.logs();
        if let Some(entries) = logs.get_mut(&address) {
            entries.retain(|entry| {
                entry.follower.strong_count() > 0
                    && !std::ptr::eq(entry.follower.as_ptr(), Arc::as_ptr(follower))
            });
            if entries.is_empty() {
                logs.remove(&address);
            }
        }
        drop(logs);
        // Only now: until here it may have been told something.
        follower.pending().remove(&address);
    }

    /// Something was appended to the log with `access`, up to `head`; `ended` if it is a commit that ended the
    /// epoch of that access. Who follows with another access is not told: it waits for a log that did not exist
    /// and is not its own, or it is of the epoch before or after, and its own epoch is told apart.
    pub(crate) fn moved(
        &self,
        log: LogId,
        head: Position,
        access: Option<AccessHash>,
        ended: bool,
    ) {
        let mut logs = self.logs();
        let address = Address::with_access(log, access.as_ref());
        let Some(entries) = logs.get_mut(&address) else { return };
        entries.retain(|entry| {
            let Some(follower) = entry.follower.upgrade() else { return false };
            if entry.access != access {
                return true;
            }
            follower.tell(address, Some(head), ended.then_some(Ended::EpochOver));
            !ended
        });
        if entries.is_empty() {
            logs.remove(&address);
        }
    }

    /// How many logs are followed.
    pub(crate) fn len(&self) -> usize {
        self.logs().len()
    }

    fn logs(&self) -> MutexGuard<'_, HashMap<Address, Vec<Entry>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Follower {
    /// To be sent as soon as the connection takes it.
    pub(crate) fn tell(&self, address: Address, head: Option<Position>, ended: Option<Ended>) {
        let mut pending = self.pending();
        let entry = pending.entry(address).or_default();
        entry.head = entry.head.max(head);
        entry.ended = entry.ended.or(ended);
        drop(pending);
        self.changed.notify_one();
    }

    /// Waits for something to send.
    pub(crate) async fn next(&self) -> Vec<Notice> {
        loop {
            if let Some((address, Pending { head, ended })) = self.pending().pop_first() {
                let log = address.log();
                let moved = head.map(|head| Notice::Moved { log, head });
                let ended = ended.map(|why| Notice::Ended { log, why });
                return moved.into_iter().chain(ended).collect();
            }
            self.changed.notified().await;
        }
    }

    fn pending(&self) -> MutexGuard<'_, BTreeMap<Address, Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of what waits for who does not read, and of what comes in another order than it was appended in.
    #[tokio::test]
    async fn the_last_position_of_a_log_is_told() {
        let (follower, log) = (Follower::default(), LogId::from_bytes([1; 32]));
        for head in [3, 5, 4] {
            follower.tell(Address::Group(log), Some(Position(head)), None);
        }
        let why = Ended::EpochOver;
        follower.tell(Address::Group(log), None, Some(why));
        let told = [Notice::Moved { log, head: Position(5) }, Notice::Ended { log, why }];
        assert_eq!(follower.next().await, told);
        let more = tokio::time::timeout(std::time::Duration::from_millis(50), follower.next());
        assert!(more.await.is_err());
    }
}
