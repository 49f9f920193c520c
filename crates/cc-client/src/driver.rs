//! A loop that blocks: the shortest way to a program.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::{
    Client, Command, DeliveryService, Event, EventId, Fault, GroupId, Input, Now, OperationId,
};

/// The system's clocks, for callers that have no other.
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

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Does everything that the client wants of the network now, and gives when to come back, in the
/// caller's `mono` milliseconds.
///
/// # Errors
/// [`Fault`] of the client. What the network does not do is tried again by itself.
pub fn turn<D: DeliveryService + ?Sized>(
    client: &mut Client,
    service: &mut D,
    now: Now,
) -> Result<Option<u64>, Fault> {
    while let Some(request) = client.poll_request(now)? {
        let result = request.perform(service);
        let _ledger = client.handle(now, Input::Response { id: request.id, result })?;
    }
    Ok(client.poll_timeout())
}

impl Client {
    /// Founds a group of this name, with this person in it.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn found(&mut self, title: impl Into<String>) -> Result<GroupId, Fault> {
        let group = GroupId::random()?;
        self.submit(OperationId::random()?, Command::Found { group, title: title.into() })?;
        Ok(group)
    }

    /// Adds who made this key package, as soon as the group is caught up with.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn invite(
        &mut self,
        group: GroupId,
        key_package: impl AsRef<[u8]>,
    ) -> Result<OperationId, Fault> {
        let id = OperationId::random()?;
        let packages = vec![key_package.as_ref().to_vec()];
        self.submit(id, Command::Add { group, packages })?;
        Ok(id)
    }

    /// Sends a message, as soon as the group is caught up with.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn send(
        &mut self,
        group: GroupId,
        content: impl AsRef<[u8]>,
    ) -> Result<OperationId, Fault> {
        let id = OperationId::random()?;
        self.submit(id, Command::Send { group, content: content.as_ref().to_vec() })?;
        Ok(id)
    }

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
