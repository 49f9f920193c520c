//! The system's clocks, and a loop that sleeps. A browser has neither.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::turn;
use crate::{Client, DeliveryService, Event, EventId, Fault, Now};

/// The system's clocks, for callers that have no other. A browser has others.
#[derive(Debug, Clone, Copy)]
pub struct SystemTimeSource(Instant);

impl SystemTimeSource {
    /// Starts the monotonic one.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Both clocks now.
    #[must_use]
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Now { wall: millis(wall), mono: millis(self.0.elapsed()) }
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Client {
    /// Drives everything until something happened, and gives the oldest event that is not acknowledged.
    /// Asking again without [acknowledging](Self::acknowledge) gives the same one.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn next<D: DeliveryService + ?Sized>(
        &mut self,
        service: &mut D,
    ) -> Result<(EventId, Event), Fault> {
        let clock = SystemTimeSource::start();
        loop {
            if let Some(event) = self.events(EventId(0), 1)?.pop() {
                return Ok(event);
            }
            let again = turn(self, service, clock.now())?;
            if self.events(EventId(0), 1)?.is_empty() {
                let wait = again.unwrap_or(u64::MAX).saturating_sub(clock.now().mono);
                std::thread::sleep(Duration::from_millis(wait.clamp(1, 250)));
            }
        }
    }
}
