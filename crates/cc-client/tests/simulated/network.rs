//! One service, and what it shows to whom.

use cc_client::{
    Append, DeliveryService, Failure, GroupId, LogId, MemoryService, Page, Position, Publish, Read,
    RequestId,
};

pub struct Network {
    pub service: MemoryService,
    pub fork: Option<Fork>,
}

/// One member is shown another log of one group than the others.
pub struct Fork {
    pub member: usize,
    pub group: GroupId,
    pub service: MemoryService,
}

/// The service as one member sees it.
pub struct Seen<'a> {
    pub network: &'a mut Network,
    pub member: usize,
}

impl Network {
    pub fn seen_by(&mut self, member: usize) -> Seen<'_> {
        Seen { network: self, member }
    }
}

impl Seen<'_> {
    fn of(&mut self, log: &LogId) -> &mut MemoryService {
        match &mut self.network.fork {
            Some(fork) if fork.member == self.member && fork.group == *log => &mut fork.service,
            _ => &mut self.network.service,
        }
    }
}

impl DeliveryService for Seen<'_> {
    fn append(&mut self, id: RequestId, append: &Append) -> Result<Position, Failure> {
        self.of(&append.log).append(id, append)
    }

    fn read(&mut self, id: RequestId, read: &Read) -> Result<Page, Failure> {
        self.of(&read.log).read(id, read)
    }

    fn publish(&mut self, id: RequestId, publish: &Publish) -> Result<u32, Failure> {
        self.network.service.publish(id, publish)
    }

    fn claim(&mut self, id: RequestId, mailbox: &LogId) -> Result<Option<Vec<u8>>, Failure> {
        self.network.service.claim(id, mailbox)
    }
}
