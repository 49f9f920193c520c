//! What messages cost a client or a manager, without the time of the delivery service in memory.

use std::time::{Duration, Instant};

use cc_benches::processor_time;
use cc_client::{
    Append, DeliveryService, Failure, LogId, MemoryService, Page, Position, Publish, Read,
    RequestId,
};

use crate::measure;

/// What messages cost one of the two, in each round: for each message of it.
#[derive(Default)]
pub(crate) struct Costs {
    pub(crate) wall: Vec<Duration>,
    pub(crate) processor: Vec<Duration>,
    pub(crate) bytes: Vec<u64>,
}

impl Costs {
    /// Measures a round of `count` messages. `work` says how much of its time was the delivery service's.
    pub(crate) fn round(&mut self, count: usize, work: impl FnOnce() -> Duration) {
        let (bytes, processor, start) = (measure::written(), processor_time(), Instant::now());
        let service = work();
        let (wall, processor) = (start.elapsed(), processor_time() - processor);
        let count = count as u32;
        self.wall.push(wall.saturating_sub(service) / count);
        self.processor.push(processor.saturating_sub(service) / count);
        self.bytes.push((measure::written() - bytes) / u64::from(count));
    }
}

/// A delivery service whose own time is told apart: in a process of its own it would take none here.
pub(crate) struct Apart {
    service: MemoryService,
    pub(crate) spent: Duration,
    /// When the message that is on its way was given to the client, and what it took from there until the
    /// client handed it out.
    pub(crate) given: Instant,
    pub(crate) until_handed_out: Duration,
}

impl Apart {
    pub(crate) fn new(service: &MemoryService) -> Self {
        let (spent, until_handed_out) = Default::default();
        Self { service: service.clone(), spent, given: Instant::now(), until_handed_out }
    }

    fn time<T>(&mut self, call: impl FnOnce(&mut MemoryService) -> T) -> T {
        let start = Instant::now();
        let answer = call(&mut self.service);
        self.spent += start.elapsed();
        answer
    }
}

impl DeliveryService for Apart {
    fn append(&mut self, id: RequestId, append: &Append) -> Result<Position, Failure> {
        self.until_handed_out += self.given.elapsed();
        self.time(|service| service.append(id, append))
    }

    fn read(&mut self, id: RequestId, read: &Read) -> Result<Page, Failure> {
        self.time(|service| service.read(id, read))
    }

    fn publish(&mut self, id: RequestId, publish: &Publish) -> Result<u32, Failure> {
        self.time(|service| service.publish(id, publish))
    }

    fn claim(&mut self, id: RequestId, mailbox: &LogId) -> Result<Option<Vec<u8>>, Failure> {
        self.time(|service| service.claim(id, mailbox))
    }
}
