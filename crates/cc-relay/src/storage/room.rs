//! How much room there is, and what things cost.

use std::sync::atomic::{AtomicU64, Ordering};

use cc_client::Refusal;

use super::Retention;

/// How full a storage is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of everything that is kept, with what it takes to keep it.
    pub bytes: u64,
    /// [`Retention::total_bytes`].
    pub limit: u64,
    /// Requests that were refused since it was opened, because there was no room.
    pub refused: u64,
    /// Items that were forgotten since it was opened, so that groups had room.
    pub forgotten: u64,
}

/// What an item counts beside its bytes: its row and index, the answer to its request, and the hash of the epoch
/// that it begins.
pub const ITEM_COST: u64 = 256;

/// What these items count.
pub(super) fn cost(items: &[Vec<u8>]) -> u64 {
    items.iter().map(|item| item_cost(item.len())).fold(0, u64::saturating_add)
}

pub(super) fn item_cost(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX).saturating_add(ITEM_COST)
}

/// Milliseconds after which a relay without room may have some.
pub(super) const NO_ROOM: Refusal = Refusal::Busy { retry_after: 600_000 };

/// What counts how full a storage is.
#[derive(Debug)]
pub(super) struct Room {
    limit: u64,
    used: AtomicU64,
    refused: AtomicU64,
    pub(super) forgotten: AtomicU64,
}

impl Room {
    pub(super) fn new(retention: &Retention) -> Self {
        let (used, refused, forgotten) = <(AtomicU64, AtomicU64, AtomicU64)>::default();
        Self { limit: retention.total_bytes, used, refused, forgotten }
    }

    /// Whether somebody who has nothing here yet may have so much, where so much is used.
    pub(super) fn for_strangers(&self, used: u64, length: u64) -> Result<(), Refusal> {
        if used.saturating_add(length) <= self.limit / 4 * 3 { Ok(()) } else { Err(NO_ROOM) }
    }

    /// How much is to be forgotten for so much more: twice as much as is appended, and some, until there is room.
    pub(super) fn to_forget(&self, used: u64, length: u64) -> u64 {
        let over = used.saturating_add(length).saturating_sub(self.limit);
        over.min(length.saturating_mul(2).saturating_add(1 << 20))
    }

    pub(super) fn count<T>(&self, used: u64, result: &Result<T, Refusal>) {
        self.used.store(used, Ordering::Relaxed);
        if matches!(result, Err(refusal) if *refusal == NO_ROOM) {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn usage(&self) -> Usage {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Usage {
            bytes: get(&self.used),
            limit: self.limit,
            refused: get(&self.refused),
            forgotten: get(&self.forgotten),
        }
    }
}
