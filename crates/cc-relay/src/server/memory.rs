//! How much memory requests and answers take, of all clients and of each.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use cc_client::MAX_ANSWER_LEN;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::ClientAddress;

/// How long a request waits for memory.
const PATIENCE: Duration = Duration::from_secs(2);
/// Shares that are remembered before those that nobody uses are forgotten.
const SHARES: usize = 1024;

/// Bytes that are free.
#[derive(Debug)]
pub(super) struct Memory {
    all: Arc<Semaphore>,
    /// What each client may have of it.
    share: usize,
    shares: Mutex<HashMap<ClientAddress, Weak<Semaphore>>>,
}

/// Bytes that are taken as long as this lives.
#[derive(Debug)]
pub(super) struct Taken {
    of_share: OwnedSemaphorePermit,
    of_all: OwnedSemaphorePermit,
}

impl Memory {
    /// So many bytes, of which one client gets a quarter, or else as much as two answers need.
    pub(super) fn new(bytes: usize) -> Self {
        let bytes = bytes.min(Semaphore::MAX_PERMITS);
        Self {
            all: Arc::new(Semaphore::new(bytes)),
            share: (bytes / 4).max(2 * MAX_ANSWER_LEN).min(bytes),
            shares: Mutex::default(),
        }
    }

    /// `None` where there is no room for so many bytes, and none comes.
    pub(super) async fn take(&self, client: ClientAddress, length: usize) -> Option<Taken> {
        let count = u32::try_from(length).ok()?;
        // The client's first: whoever has too much waits for itself, and holds nothing of the others' meanwhile.
        let take = async {
            let of_share = self.share(client).acquire_many_owned(count).await.ok()?;
            let of_all = Arc::clone(&self.all).acquire_many_owned(count).await.ok()?;
            Some(Taken { of_share, of_all })
        };
        timeout(PATIENCE, take).await.ok()?
    }

    fn share(&self, client: ClientAddress) -> Arc<Semaphore> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get(&client).and_then(Weak::upgrade) {
            return share;
        }
        if shares.len() >= SHARES {
            shares.retain(|_, share| share.strong_count() > 0);
        }
        let share = Arc::new(Semaphore::new(self.share));
        shares.insert(client, Arc::downgrade(&share));
        share
    }
}

impl Taken {
    /// Gives back so many bytes.
    pub(super) fn give_back(&mut self, length: usize) {
        drop(self.of_share.split(length));
        drop(self.of_all.split(length));
    }
}
