//! A storage in memory, for tests and demonstrations.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use cc_client::{
    AccessHash, Follows, Item, LogId, Page, Position, PublishedPackage, Refusal, RequestId,
};

use super::{
    Hour, KeptAnswer, MAILBOX_FULL, MAX_PAST_EPOCHS, PageItems, ReadPage, Reader, Retention,
    Storage, StorageError, StoredAppend, Task, kept_answer, read_answer,
};

/// Keeps everything in memory, and nothing over a restart.
#[derive(Debug)]
pub struct MemoryStorage {
    inner: Mutex<Inner>,
    retention: Retention,
}

#[derive(Debug, Default)]
struct Inner {
    logs: BTreeMap<LogId, Log>,
    packages: BTreeMap<LogId, VecDeque<(Hour, PublishedPackage)>>,
    answers: BTreeMap<RequestId, (Hour, Vec<u8>)>,
}

#[derive(Debug)]
struct Log {
    kind: Kind,
    /// What is kept, up to the head.
    items: VecDeque<Stored>,
    head: u64,
    last_commit: Position,
    bytes: u64,
    touched: Hour,
}

#[derive(Debug)]
enum Kind {
    /// The hash of each epoch's token, and the commit that ended the epoch. The last one goes on.
    Group(VecDeque<(AccessHash, Option<Position>)>),
    Mailbox,
    Gone,
}

#[derive(Debug)]
struct Stored {
    commit: bool,
    hour: Hour,
    bytes: Vec<u8>,
}

impl MemoryStorage {
    /// An empty one.
    #[must_use]
    pub fn new(retention: Retention) -> Self {
        Self { inner: Mutex::default(), retention }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what the request asks for, unless it was answered before.
    fn once<T: KeptAnswer>(
        &self,
        id: RequestId,
        now: Hour,
        work: impl FnOnce(&mut Inner) -> Result<T, Refusal>,
    ) -> Result<Result<T, Refusal>, StorageError> {
        let mut inner = self.inner();
        if let Some((_, answer)) = inner.answers.get(&id) {
            return read_answer(answer);
        }
        let result = work(&mut inner);
        if let Some(answer) = kept_answer(id, &result)? {
            inner.answers.insert(id, (now, answer));
        }
        Ok(result)
    }
}

fn ready<'a, T: Send + 'a>(value: Result<T, StorageError>) -> Task<'a, T> {
    Box::pin(std::future::ready(value))
}

impl Storage for MemoryStorage {
    fn append(
        &self,
        id: RequestId,
        append: StoredAppend,
        now: Hour,
    ) -> Task<'_, Result<Position, Refusal>> {
        ready(self.once(id, now, |inner| inner.append(&append, now, &self.retention)))
    }

    fn read(
        &self,
        log: LogId,
        after: Position,
        reader: Reader,
        now: Hour,
    ) -> Task<'_, Result<ReadPage, Refusal>> {
        ready(Ok(self.inner().read(log, after, reader, now)))
    }

    fn publish(
        &self,
        id: RequestId,
        mailbox: LogId,
        packages: Vec<PublishedPackage>,
        now: Hour,
    ) -> Task<'_, Result<u32, Refusal>> {
        let retention = &self.retention;
        ready(self.once(id, now, |inner| inner.publish(mailbox, packages, now, retention)))
    }

    fn claim(
        &self,
        id: RequestId,
        mailbox: LogId,
        now: Hour,
    ) -> Task<'_, Result<Option<Vec<u8>>, Refusal>> {
        ready(self.once(id, now, |inner| Ok(inner.claim(mailbox))))
    }

    fn expire(&self, now: Hour) -> Task<'_, bool> {
        self.inner().expire(now, &self.retention);
        ready(Ok(false))
    }

    fn check(&self) -> Task<'_, ()> {
        ready(Ok(()))
    }
}

impl Inner {
    fn append(
        &mut self,
        append: &StoredAppend,
        now: Hour,
        retention: &Retention,
    ) -> Result<Position, Refusal> {
        append.check_size()?;
        let StoredAppend { log, access, commit, items } = append;
        let length: usize = items.iter().map(Vec::len).sum();
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        let head = self.logs.get(log).map_or(Position::START, |log| log.last_commit);
        match (self.logs.get(log).map(|log| &log.kind), access) {
            (None, _) | (Some(Kind::Mailbox), None) => {}
            (Some(Kind::Gone), _) => return Err(Refusal::Gone),
            (Some(Kind::Group(epochs)), Some(hash)) => {
                match epochs.iter().rfind(|(known, _)| known == hash) {
                    Some((_, None)) => {}
                    Some((_, Some(_))) => return Err(Refusal::Conflict { head }),
                    None => return Err(Refusal::Denied),
                }
            }
            (Some(Kind::Group(_)), None) | (Some(Kind::Mailbox), Some(_)) => {
                return Err(Refusal::Denied);
            }
        }
        if commit.is_some_and(|commit| commit.after != head) {
            return Err(Refusal::Conflict { head });
        }
        let bytes = self.logs.get(log).map_or(0, |log| log.bytes);
        if access.is_none() && bytes + length > retention.mailbox_bytes {
            return Err(MAILBOX_FULL);
        }
        let log = self.logs.entry(*log).or_insert_with(|| Log::new(*access, now));
        for item in items {
            log.items.push_back(Stored {
                commit: commit.is_some(),
                hour: now,
                bytes: item.clone(),
            });
            log.head += 1;
        }
        let head = Position(log.head);
        if let Some(Follows { next, .. }) = commit {
            log.last_commit = head;
            if let (Kind::Group(epochs), Some(next)) = (&mut log.kind, next) {
                if let Some((_, ended)) = epochs.back_mut() {
                    *ended = Some(head);
                }
                epochs.push_back((*next, None));
                if u32::try_from(epochs.len()).unwrap_or(u32::MAX) > MAX_PAST_EPOCHS + 1 {
                    epochs.pop_front();
                }
            }
        }
        log.bytes += length;
        log.touched = now;
        while access.is_some() && log.bytes > retention.log_bytes && log.items.len() > items.len() {
            log.forget_first();
        }
        Ok(head)
    }

    fn read(
        &mut self,
        log: LogId,
        after: Position,
        reader: Reader,
        now: Hour,
    ) -> Result<ReadPage, Refusal> {
        let last = match reader {
            Reader::Owner => {
                let log = self.logs.entry(log).or_insert_with(|| Log::new(None, now));
                if !matches!(log.kind, Kind::Mailbox) {
                    log.kind = Kind::Mailbox;
                    log.items.clear();
                    log.bytes = 0;
                }
                while log.forgotten() < after && !log.items.is_empty() {
                    log.forget_first();
                }
                None
            }
            Reader::Token(hash) => match self.logs.get(&log).map(|log| &log.kind) {
                None => return Ok(ReadPage::EMPTY),
                Some(Kind::Group(epochs)) => {
                    let epoch = epochs.iter().rfind(|(known, _)| *known == hash);
                    epoch.ok_or(Refusal::Denied)?.1
                }
                Some(Kind::Mailbox) => return Err(Refusal::Denied),
                Some(Kind::Gone) => return Err(Refusal::Gone),
            },
        };
        let Some(log) = self.logs.get(&log) else { return Ok(ReadPage::EMPTY) };
        let forgotten = log.forgotten();
        let head = last.unwrap_or(Position(log.head));
        let mut page = PageItems::new();
        for (position, stored) in (forgotten.0 + 1..).zip(&log.items) {
            let position = Position(position);
            if position > head {
                break;
            }
            if position > after {
                if !page.takes(stored.bytes.len()) {
                    break;
                }
                let bytes = stored.bytes.clone();
                page.push(Item { position, commit: stored.commit, bytes });
            }
        }
        let page = Page { items: page.items, forgotten: forgotten.min(head), head };
        Ok(ReadPage { page, epoch_over: last.is_some() })
    }

    fn publish(
        &mut self,
        mailbox: LogId,
        packages: Vec<PublishedPackage>,
        now: Hour,
        retention: &Retention,
    ) -> Result<u32, Refusal> {
        let replaces = packages.iter().any(|package| package.last_resort);
        let there = self.packages.get(&mailbox).into_iter().flatten().map(|(_, package)| package);
        let kept = there.filter(|package| !(replaces && package.last_resort)).chain(&packages);
        let (count, bytes) = kept.fold((0_u32, 0_u64), |(count, bytes), package| {
            let length = u64::try_from(package.bytes.len()).unwrap_or(u64::MAX);
            (count.saturating_add(1), bytes.saturating_add(length))
        });
        if count > retention.packages || bytes > retention.package_bytes {
            return Err(Refusal::TooLarge);
        }
        let there = self.packages.entry(mailbox).or_default();
        there.retain(|(_, package)| !(replaces && package.last_resort));
        there.extend(packages.into_iter().map(|package| (now, package)));
        let remaining = there.iter().filter(|(_, package)| !package.last_resort).count();
        Ok(u32::try_from(remaining).unwrap_or(u32::MAX))
    }

    fn claim(&mut self, mailbox: LogId) -> Option<Vec<u8>> {
        let there = self.packages.get_mut(&mailbox)?;
        match there.iter().position(|(_, package)| !package.last_resort) {
            Some(at) => there.remove(at).map(|(_, package)| package.bytes),
            None => there.front().map(|(_, package)| package.bytes.clone()),
        }
    }

    fn expire(&mut self, now: Hour, retention: &Retention) {
        let (oldest, idle) = (now.minus(retention.age), now.minus(retention.idle));
        self.answers.retain(|_, (hour, _)| *hour >= oldest);
        for log in self.logs.values_mut() {
            while log.items.front().is_some_and(|item| item.hour < oldest) {
                log.forget_first();
            }
            if matches!(log.kind, Kind::Group(_)) && log.touched < idle {
                log.kind = Kind::Gone;
                log.items.clear();
                log.bytes = 0;
            }
        }
        self.logs.retain(|_, log| log.head > 0 || log.touched >= idle);
        for packages in self.packages.values_mut() {
            packages.retain(|(hour, _)| *hour >= idle);
        }
        self.packages.retain(|_, packages| !packages.is_empty());
    }
}

impl Log {
    fn new(access: Option<AccessHash>, now: Hour) -> Self {
        let kind = match access {
            Some(hash) => Kind::Group(VecDeque::from([(hash, None)])),
            None => Kind::Mailbox,
        };
        Self {
            kind,
            items: VecDeque::new(),
            head: 0,
            last_commit: Position::START,
            bytes: 0,
            touched: now,
        }
    }

    fn forgotten(&self) -> Position {
        Position(self.head - u64::try_from(self.items.len()).unwrap_or(u64::MAX))
    }

    fn forget_first(&mut self) {
        if let Some(item) = self.items.pop_front() {
            self.bytes = self.bytes.saturating_sub(u64::try_from(item.bytes.len()).unwrap_or(0));
        }
    }
}
