//! A delivery service that keeps every byte of it.

use cc_client::{
    Answer, Append, Call, DeliveryService, Failure, Input, LogId, MemoryService, Page, Position,
    Publish, Read, Reply, Request, RequestId,
};

use super::Person;

/// A service, and all that it was given and has answered.
#[derive(Default)]
pub struct Hoarder {
    pub service: MemoryService,
    seen: Vec<u8>,
    /// What was put into mailboxes, each item once for each time that it came.
    pub mail: Vec<(LogId, Vec<u8>)>,
}

impl Hoarder {
    /// As [`settle`](super::settle), over this service.
    pub fn settle(&mut self, people: &mut [&mut Person]) {
        for _ in 0..40 {
            for person in &mut *people {
                while let Some(request) = person.client.poll_request(person.now).unwrap() {
                    let result = request.perform(self);
                    let input = Input::Response { id: request.id, result };
                    let ledger = person.client.handle(person.now, input).unwrap();
                    person.fates.extend(ledger.fates);
                }
                person.take_events();
            }
            people.iter_mut().for_each(|person| person.pass(2_500));
        }
    }

    fn answer(&mut self, id: RequestId, call: Call) -> Result<Reply, Failure> {
        let request = Request { id, call };
        self.seen.extend(request.to_bytes().unwrap());
        let result = request.perform(&mut self.service);
        self.seen.extend(Answer { id, result: result.clone() }.to_bytes().unwrap());
        result
    }

    pub fn has_seen(&self, what: &[u8]) -> bool {
        assert!(what.len() >= 8, "short enough to be there by chance");
        contains(&self.seen, what)
    }
}

impl DeliveryService for Hoarder {
    fn append(&mut self, id: RequestId, append: &Append) -> Result<Position, Failure> {
        if append.access.is_none() {
            self.mail.extend(append.items.iter().map(|item| (append.log, item.clone())));
        }
        match self.answer(id, Call::Append(append.clone()))? {
            Reply::Appended(position) => Ok(position),
            other => panic!("{other:?}"),
        }
    }

    fn read(&mut self, id: RequestId, read: &Read) -> Result<Page, Failure> {
        match self.answer(id, Call::Read(read.clone()))? {
            Reply::Page(page) => Ok(page),
            other => panic!("{other:?}"),
        }
    }

    fn publish(&mut self, id: RequestId, publish: &Publish) -> Result<u32, Failure> {
        match self.answer(id, Call::Publish(publish.clone()))? {
            Reply::Published { remaining } => Ok(remaining),
            other => panic!("{other:?}"),
        }
    }

    fn claim(&mut self, id: RequestId, mailbox: &LogId) -> Result<Option<Vec<u8>>, Failure> {
        match self.answer(id, Call::Claim(*mailbox))? {
            Reply::Claimed(package) => Ok(package),
            other => panic!("{other:?}"),
        }
    }
}

/// Whether `what` is anywhere in `bytes`.
pub fn contains(bytes: &[u8], what: &[u8]) -> bool {
    let (first, rest) = what.split_first().unwrap();
    let mut at = 0;
    while let Some(next) = bytes[at..].iter().position(|byte| byte == first) {
        at += next + 1;
        if bytes[at..].starts_with(rest) {
            return true;
        }
    }
    false
}
