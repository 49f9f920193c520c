//! A delivery service in memory, for tests and examples: honest, or as bad as a network can be.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    AccessHash, Append, DeliveryService, Failure, Follows, Item, LogId, MAX_APPEND, MAX_ITEM_LEN,
    MAX_PAGE, MAX_PAGE_LEN, Page, Position, Publish, PublishedPackage, Purpose, Read, ReadAccess,
    Refusal, RequestId,
};

/// A delivery service in memory. Clones are the same service.
#[derive(Debug, Clone, Default)]
pub struct MemoryService(Arc<Mutex<Inner>>);

/// What the network does wrong: how often, in a thousand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// A request does not arrive; its sender does not know.
    pub lost_requests: u16,
    /// An answer does not arrive; the request was done.
    pub lost_replies: u16,
    /// A request arrives once more later.
    pub late_copies: u16,
    /// A page comes in another order, with items twice, and without some of them.
    pub shuffled_pages: u16,
    /// The service says that it is busy.
    pub busy: u16,
}

#[derive(Debug, Default, Clone)]
struct Inner {
    /// Groups and mailboxes have addresses of their own.
    logs: BTreeMap<Address, Log>,
    directory: BTreeMap<LogId, VecDeque<PublishedPackage>>,
    /// The answers to the requests that changed something.
    answers: BTreeMap<RequestId, Answer>,
    late: Vec<Late>,
    faults: Faults,
    random: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Address {
    Group(LogId),
    Mailbox(LogId),
}

#[derive(Debug, Clone)]
enum Answer {
    Append(Position),
    Publish(u32),
    Claim(Vec<u8>),
}

/// A copy of a request that is still under way.
#[derive(Debug, Clone)]
struct Late {
    id: RequestId,
    append: Append,
}

#[derive(Debug, Default, Clone)]
struct Log {
    items: Vec<(bool, Vec<u8>)>,
    /// The hash of each epoch's token, and the commit that ended the epoch. Empty for a mailbox.
    epochs: Vec<(AccessHash, Option<Position>)>,
    /// What is up to here is not handed out any more.
    forgotten: Position,
    /// As far as the owner of a mailbox has read, nothing is handed out either.
    read: Position,
}

impl MemoryService {
    /// Does everything, at once, in order.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Does these things wrong from now on. The same seed does the same things wrong to the same calls.
    pub fn set_faults(&self, faults: Faults, seed: u64) {
        let mut inner = self.inner();
        inner.faults = faults;
        inner.random = seed | 1;
    }

    /// A service with the same past that goes its own way from now on: whoever speaks to one does not
    /// see what is sent to the other.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self(Arc::new(Mutex::new(self.inner().clone())))
    }

    /// All items of a group's log, or of a mailbox where there is no such group: what the service sees.
    #[must_use]
    pub fn log(&self, log: &LogId) -> Vec<Item> {
        let inner = self.inner();
        let log = inner.logs.get(&inner.known(log));
        log.map_or_else(Vec::new, |log| log.behind(log.forgotten).collect())
    }

    /// Appends anything, as somebody with access to the log may.
    pub fn inject(&self, log: &LogId, commit: bool, bytes: Vec<u8>) {
        let mut inner = self.inner();
        let address = inner.known(log);
        inner.logs.entry(address).or_default().items.push((commit, bytes));
    }

    /// No longer keeps what is up to this position of a log.
    pub fn forget(&self, log: &LogId, through: Position) {
        let mut inner = self.inner();
        let address = inner.known(log);
        inner.logs.entry(address).or_default().forgotten = through;
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing here is left half done by a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// The group's log that is there, or else the mailbox.
    fn known(&self, log: &LogId) -> Address {
        let group = Address::Group(*log);
        if self.logs.contains_key(&group) { group } else { Address::Mailbox(*log) }
    }

    /// Whether something that happens so often in a thousand happens now (xorshift64).
    fn chance(&mut self, per_mille: u16) -> bool {
        per_mille > 0 && self.draw(1000) < usize::from(per_mille)
    }

    fn draw(&mut self, below: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let below = u64::try_from(below.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.random % below).unwrap_or(0)
    }

    /// What goes wrong before a request arrives.
    fn arrive(&mut self) -> Result<(), Failure> {
        while !self.late.is_empty() && self.chance(300) {
            let at = self.draw(self.late.len());
            let Late { id, append } = self.late.swap_remove(at);
            // Nobody waits for this answer.
            let _answer = self.append(id, &append);
        }
        if self.chance(self.faults.lost_requests) {
            return Err(Failure::Unknown);
        }
        if self.chance(self.faults.busy) {
            return Err(Failure::Refused(Refusal::Busy { retry_after: 50 }));
        }
        Ok(())
    }

    /// What goes wrong on the way back.
    fn reply<T>(&mut self, result: Result<T, Failure>) -> Result<T, Failure> {
        if self.chance(self.faults.lost_replies) { Err(Failure::Unknown) } else { result }
    }

    fn append(&mut self, id: RequestId, append: &Append) -> Result<Position, Failure> {
        match self.answers.get(&id) {
            Some(Answer::Append(position)) => return Ok(*position),
            Some(_) => return Err(Failure::Refused(Refusal::Denied)),
            None => {}
        }
        let position = self.append_new(append).map_err(Failure::Refused)?;
        self.answers.insert(id, Answer::Append(position));
        Ok(position)
    }

    fn append_new(&mut self, append: &Append) -> Result<Position, Refusal> {
        let Append { log, access, commit, items } = append;
        let too_many =
            items.is_empty() || items.len() > MAX_APPEND || (commit.is_some() && items.len() != 1);
        if too_many || items.iter().any(|item| item.len() > MAX_ITEM_LEN) {
            return Err(Refusal::TooLarge);
        }
        let address = if access.is_some() { Address::Group(*log) } else { Address::Mailbox(*log) };
        let log = self.logs.entry(address).or_default();
        let head = log.items.iter().rposition(|(commit, _)| *commit);
        let head = head.map_or(Position::START, |at| position(at + 1));
        let hash = access.as_ref().map(crate::AccessToken::hash);
        match hash {
            Some(hash) if log.items.is_empty() => log.epochs = vec![(hash, None)],
            Some(hash) => match log.epochs.iter().rfind(|(known, _)| *known == hash) {
                Some((_, None)) => {}
                Some((_, Some(_))) => return Err(Refusal::Conflict { head }),
                None => return Err(Refusal::Denied),
            },
            None => {}
        }
        if let Some(Follows { after, next }) = commit {
            if head != *after {
                return Err(Refusal::Conflict { head });
            }
            if let (Some(next), Some((_, ended))) = (next, log.epochs.last_mut()) {
                *ended = Some(position(log.items.len() + 1));
                log.epochs.push((*next, None));
            }
        }
        log.items.extend(items.iter().map(|item| (commit.is_some(), item.clone())));
        Ok(position(log.items.len()))
    }

    fn read(&mut self, id: RequestId, read: &Read) -> Result<Page, Refusal> {
        let (address, last) = match &read.access {
            ReadAccess::Owner(proof) => {
                if !proof.verify(&read.log, id, Purpose::Read(read.after)) {
                    return Err(Refusal::Denied);
                }
                let address = Address::Mailbox(read.log);
                // Who has read more than there is has read another log.
                let there = |log: &&mut Log| read.after <= position(log.items.len());
                if let Some(log) = self.logs.get_mut(&address).filter(there) {
                    log.read = log.read.max(read.after);
                }
                (address, None)
            }
            ReadAccess::Token(token) => {
                let address = Address::Group(read.log);
                let log = self.logs.get(&address).filter(|log| !log.items.is_empty());
                let hash = token.hash();
                let epoch = |log: &Log| {
                    let epoch = log.epochs.iter().rfind(|(known, _)| *known == hash);
                    epoch.map(|(_, ended)| *ended).ok_or(Refusal::Denied)
                };
                (address, log.map(epoch).transpose()?.flatten())
            }
        };
        let empty = Log::default();
        Ok(self.logs.get(&address).unwrap_or(&empty).page(read.after, last))
    }
}

impl Log {
    /// What is stored behind a position.
    fn behind(&self, after: Position) -> impl Iterator<Item = Item> {
        let before = usize::try_from(after.0).unwrap_or(usize::MAX);
        let items = self.items.iter().enumerate().skip(before);
        items.map(|(at, (commit, bytes))| Item {
            position: position(at + 1),
            commit: *commit,
            bytes: bytes.clone(),
        })
    }

    /// What a reader gets at once.
    fn page(&self, after: Position, last: Option<Position>) -> Page {
        let head = position(self.items.len());
        let head = last.map_or(head, |last| last.min(head));
        let forgotten = self.forgotten.max(self.read);
        let (mut room, mut first) = (MAX_PAGE_LEN, true);
        let items = self.behind(after.max(forgotten));
        let items = items.take_while(|item| item.position <= head).take(MAX_PAGE);
        let items = items.take_while(|item| {
            let fits = item.bytes.len() <= room || core::mem::take(&mut first);
            (room, first) = (room.saturating_sub(item.bytes.len()), false);
            fits
        });
        Page { items: items.collect(), forgotten, head }
    }
}

impl DeliveryService for MemoryService {
    fn append(&mut self, id: RequestId, append: &Append) -> Result<Position, Failure> {
        let mut inner = self.inner();
        let faults = inner.faults;
        if inner.chance(faults.late_copies) {
            inner.late.push(Late { id, append: append.clone() });
        }
        inner.arrive()?;
        let result = inner.append(id, append);
        inner.reply(result)
    }

    fn read(&mut self, id: RequestId, read: &Read) -> Result<Page, Failure> {
        let mut inner = self.inner();
        inner.arrive()?;
        let mut page = inner.read(id, read).map_err(Failure::Refused)?;
        let faults = inner.faults;
        if inner.chance(faults.shuffled_pages) && !page.items.is_empty() {
            for _ in 0..page.items.len() {
                let (a, b) = (inner.draw(page.items.len()), inner.draw(page.items.len()));
                page.items.swap(a, b);
            }
            let again = inner.draw(page.items.len());
            page.items.extend(page.items.get(again).cloned());
            let lost = inner.draw(page.items.len());
            page.items.remove(lost);
        }
        inner.reply(Ok(page))
    }

    fn publish(&mut self, id: RequestId, publish: &Publish) -> Result<u32, Failure> {
        let Publish { mailbox, proof, packages } = publish;
        let mut inner = self.inner();
        inner.arrive()?;
        if !proof.verify(mailbox, id, Purpose::Publish(packages)) {
            return Err(Failure::Refused(Refusal::Denied));
        }
        let remaining = match inner.answers.get(&id) {
            Some(Answer::Publish(remaining)) => *remaining,
            Some(_) => return Err(Failure::Refused(Refusal::Denied)),
            None => {
                let there = inner.directory.entry(*mailbox).or_default();
                there.retain(|package| {
                    !package.last_resort || packages.iter().all(|p| !p.last_resort)
                });
                there.extend(packages.iter().cloned());
                let remaining = there.iter().filter(|package| !package.last_resort).count();
                let remaining = u32::try_from(remaining).unwrap_or(u32::MAX);
                inner.answers.insert(id, Answer::Publish(remaining));
                remaining
            }
        };
        inner.reply(Ok(remaining))
    }

    fn claim(&mut self, id: RequestId, mailbox: &LogId) -> Result<Option<Vec<u8>>, Failure> {
        let mut inner = self.inner();
        inner.arrive()?;
        let package = match inner.answers.get(&id) {
            Some(Answer::Claim(package)) => Some(package.clone()),
            Some(_) => return Err(Failure::Refused(Refusal::Denied)),
            None => {
                let there = inner.directory.entry(*mailbox).or_default();
                match there.iter().position(|package| !package.last_resort) {
                    Some(at) => {
                        let package = there.remove(at).map(|package| package.bytes);
                        let answer = package.clone().map(Answer::Claim);
                        inner.answers.extend(answer.map(|answer| (id, answer)));
                        package
                    }
                    None => there.front().map(|package| package.bytes.clone()),
                }
            }
        };
        inner.reply(Ok(package))
    }
}

fn position(count: usize) -> Position {
    Position(u64::try_from(count).unwrap_or(u64::MAX))
}
