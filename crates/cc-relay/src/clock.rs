//! The relay's time: hours that it has seen passing.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::OnceCell;

use crate::storage::{ClockRecord, Hour, Storage, StorageError};

/// Hours that are believed at a start to have passed since the last one. A clock that is wrong then cannot make
/// everything old.
const LONGEST_PAUSE: u32 = 24;

/// What tells the relay the time.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since 1970, as far as the machine knows.
    fn wall(&self) -> u64;
    /// The time since some moment, which only goes on.
    fn uptime(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Debug)]
pub(crate) struct SystemClock(Instant);

impl SystemClock {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn wall(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn uptime(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Goes on by the time that the relay is up, from where the storage was; at a start by what the clock says has
/// passed, a day at the most.
pub(crate) struct RelayTime {
    clock: Box<dyn Clock>,
    start: OnceCell<(Hour, Duration)>,
}

impl RelayTime {
    pub(crate) fn new(clock: Box<dyn Clock>) -> Self {
        Self { clock, start: OnceCell::new() }
    }

    pub(crate) async fn now(&self, storage: &dyn Storage) -> Result<Hour, StorageError> {
        let start = self.start.get_or_try_init(async || {
            let wall = self.wall();
            let relay = match storage.clock().await? {
                None => wall,
                Some(last) => {
                    let passed = wall.0.saturating_sub(last.wall.0);
                    last.relay.plus(passed.min(LONGEST_PAUSE))
                }
            };
            storage.set_clock(ClockRecord { relay, wall }).await?;
            Ok((relay, self.clock.uptime()))
        });
        let (hour, from) = start.await?;
        let passed = self.clock.uptime().saturating_sub(*from).as_secs() / 3600;
        Ok(hour.plus(u32::try_from(passed).unwrap_or(u32::MAX)))
    }

    /// Keeps how far the time is, if it has gone on.
    pub(crate) async fn keep(&self, storage: &dyn Storage) -> Result<Hour, StorageError> {
        let relay = self.now(storage).await?;
        // Not more often: hours of the clock that are not over would be lost with each start.
        if storage.clock().await?.is_none_or(|last| last.relay < relay) {
            storage.set_clock(ClockRecord { relay, wall: self.wall() }).await?;
        }
        Ok(relay)
    }

    fn wall(&self) -> Hour {
        Hour::of_millis(self.clock.wall())
    }
}
