//! What a [`MemoryStorage`](super::MemoryStorage) keeps, and what each request does to it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::atomic::Ordering,
};

use cc_client::{
    AccessHash, Follows, Item, LogId, Page, Position, PublishedPackage, Refusal, RequestId,
};

use crate::storage::{
    Address, ClockRecord, Hour, ITEM_COST, MAILBOX_FULL, MAX_PAST_EPOCHS, NO_ROOM, NOT_BEGUN,
    Outcome, PageItems, ReadPage, Reader, Retention, Room, StoredAppend, StoredPublish, cost,
    item_cost,
};

#[derive(Debug, Default)]
pub(super) struct Inner {
    logs: BTreeMap<Address, Log>,
    packages: BTreeMap<LogId, VecDeque<(Hour, PublishedPackage)>>,
    pub(super) answers: BTreeMap<RequestId, (Hour, Vec<u8>)>,
    /// Ids of claims whose answers are kept, the oldest first.
    claims: BTreeMap<LogId, VecDeque<RequestId>>,
    pub(super) clock: Option<ClockRecord>,
}

#[derive(Debug)]
struct Log {
    kind: Kind,
    /// What is kept, up to the head.
    items: VecDeque<Stored>,
    head: u64,
    last_commit: Position,
    /// With what each item costs beside.
    bytes: u64,
    /// The last append, or read by the owner of a mailbox.
    touched: Hour,
}

#[derive(Debug)]
enum Kind {
    /// The hash of each epoch's token, and the commit that ended the epoch. The last one goes on.
    Group(VecDeque<(AccessHash, Option<Position>)>),
    Mailbox {
        /// Its owner was there.
        owned: bool,
    },
    Gone,
}

#[derive(Debug)]
struct Stored {
    commit: bool,
    hour: Hour,
    bytes: Vec<u8>,
    /// Of the request, at its last item.
    request: Option<RequestId>,
}

impl Inner {
    pub(super) fn append(
        &mut self,
        id: RequestId,
        append: &StoredAppend,
        now: Hour,
        retention: &Retention,
        room: &Room,
    ) -> Result<Position, Refusal> {
        append.check_size()?;
        let StoredAppend { log, access, commit, items, begins } = append;
        let cost = cost(items);
        let address = Address::with_access(*log, access.as_ref());
        let found = self.logs.get(&address);
        let head = found.map_or(Position::START, |log| log.last_commit);
        match (found.map(|log| &log.kind), access) {
            (Some(Kind::Gone), _) => return Err(Refusal::Gone),
            (Some(Kind::Group(epochs)), Some(hash)) => {
                match epochs.iter().rfind(|(known, _)| known == hash) {
                    Some((_, None)) => {}
                    Some((_, Some(_))) => return Err(Refusal::Conflict { head }),
                    None => return Err(Refusal::Denied),
                }
            }
            (None, _) if !begins => return Err(NOT_BEGUN),
            (None | Some(Kind::Group(_) | Kind::Mailbox { .. }), _) => {}
        }
        if commit.is_some_and(|commit| commit.after != head) {
            return Err(Refusal::Conflict { head });
        }
        let bytes = found.map_or(0, |log| log.bytes);
        if access.is_none() && bytes.saturating_add(cost) > retention.mailbox_bytes {
            return Err(MAILBOX_FULL);
        }
        if access.is_none() || found.is_none() {
            room.for_strangers(self.used(), cost)?;
        } else {
            self.make_room(room.to_forget(self.used(), cost), room)?;
        }
        let log = self.logs.entry(address).or_insert_with(|| Log::new(*access, now));
        for item in items {
            log.items.push_back(Stored {
                commit: commit.is_some(),
                hour: now,
                bytes: item.clone(),
                request: None,
            });
            log.head += 1;
        }
        if let (Some(last), Some(_)) = (log.items.back_mut(), access) {
            last.request = Some(id);
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
        log.bytes += cost;
        log.touched = now;
        while access.is_some() && log.bytes > retention.log_bytes && log.items.len() > items.len() {
            if let Some(request) = log.forget_first() {
                self.answers.remove(&request);
            }
        }
        Ok(head)
    }

    /// Forgets so many bytes of the groups that have most.
    fn make_room(&mut self, bytes: u64, room: &Room) -> Result<(), Refusal> {
        let mut freed = 0_u64;
        while freed < bytes {
            let groups = self.logs.values_mut().filter(|log| matches!(log.kind, Kind::Group(_)));
            let largest = groups.max_by_key(|log| log.bytes).filter(|log| log.bytes > 0);
            let Some(largest) = largest else { break };
            let before = largest.bytes;
            let request = largest.forget_first();
            freed = freed.saturating_add(before - largest.bytes);
            room.forgotten.fetch_add(1, Ordering::Relaxed);
            if let Some(request) = request {
                self.answers.remove(&request);
            }
        }
        if bytes > 0 && freed == 0 { Err(NO_ROOM) } else { Ok(()) }
    }

    /// Bytes of everything.
    pub(super) fn used(&self) -> u64 {
        let logs = self.logs.values().map(|log| ITEM_COST.saturating_add(log.bytes));
        let packages = self.packages.values().flatten().map(|(_, package)| package.bytes.len());
        let answers = self.answers.values().map(|(_, answer)| answer.len());
        logs.chain(packages.chain(answers).map(item_cost)).fold(0, u64::saturating_add)
    }

    pub(super) fn read(
        &mut self,
        log: LogId,
        after: Position,
        reader: Reader,
        now: Hour,
        retention: &Retention,
    ) -> Result<ReadPage, Refusal> {
        let (address, last) = match reader {
            Reader::Owner => {
                let address = Address::Mailbox(log);
                if let Some(log) = self.logs.get_mut(&address) {
                    if log.touched < now.minus(retention.idle / 4) {
                        log.touched = now;
                    }
                    log.kind = Kind::Mailbox { owned: true };
                    // Who has read more than there is has read another log: nothing is deleted for it.
                    while after.0 <= log.head && log.forgotten() < after && !log.items.is_empty() {
                        log.forget_first();
                    }
                }
                (address, None)
            }
            Reader::Token(hash) => {
                let address = Address::Group(log);
                match self.logs.get(&address).map(|log| &log.kind) {
                    Some(Kind::Group(epochs)) => {
                        let epoch = epochs.iter().rfind(|(known, _)| *known == hash);
                        (address, epoch.ok_or(Refusal::Denied)?.1)
                    }
                    Some(Kind::Gone) => return Err(Refusal::Gone),
                    None | Some(Kind::Mailbox { .. }) => return Ok(ReadPage::EMPTY),
                }
            }
        };
        let Some(log) = self.logs.get(&address) else { return Ok(ReadPage::EMPTY) };
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

    pub(super) fn publish(
        &mut self,
        publish: StoredPublish,
        now: Hour,
        retention: &Retention,
        room: &Room,
    ) -> Result<u32, Refusal> {
        let StoredPublish { mailbox, packages, begins } = publish;
        if !begins && self.packages.get(&mailbox).is_none_or(VecDeque::is_empty) {
            return Err(NOT_BEGUN);
        }
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
        let new = packages.iter().map(|package| item_cost(package.bytes.len()));
        room.for_strangers(self.used(), new.fold(0, u64::saturating_add))?;
        let there = self.packages.entry(mailbox).or_default();
        there.retain(|(_, package)| !(replaces && package.last_resort));
        there.extend(packages.into_iter().map(|package| (now, package)));
        let remaining = there.iter().filter(|(_, package)| !package.last_resort).count();
        Ok(u32::try_from(remaining).unwrap_or(u32::MAX))
    }

    pub(super) fn claim(&mut self, mailbox: LogId) -> Outcome<Option<Vec<u8>>> {
        let there = self.packages.entry(mailbox).or_default();
        let one_time = there.iter().position(|(_, package)| !package.last_resort);
        let package = match one_time {
            Some(at) => there.remove(at).map(|(_, package)| package.bytes),
            None => there.front().map(|(_, package)| package.bytes.clone()),
        };
        Outcome { result: Ok(package), changed: one_time.is_some() }
    }

    /// Forgets the oldest answers to claims of a mailbox that has too many, after this one.
    pub(super) fn bound_claims(&mut self, id: RequestId, mailbox: LogId, retention: &Retention) {
        let Self { claims, answers, .. } = self;
        let claims = claims.entry(mailbox).or_default();
        claims.push_back(id);
        loop {
            let lengths = claims.iter().filter_map(|claim| answers.get(claim));
            let bytes: usize = lengths.map(|(_, answer)| answer.len()).sum();
            let (count, bytes) = (u32::try_from(claims.len()), u64::try_from(bytes));
            let (count, bytes) = (count.unwrap_or(u32::MAX), bytes.unwrap_or(u64::MAX));
            if count <= retention.packages && bytes <= retention.package_bytes {
                break;
            }
            let Some(oldest) = claims.pop_front() else { break };
            answers.remove(&oldest);
        }
    }

    pub(super) fn expire(&mut self, now: Hour, retention: &Retention) {
        let Self { logs, packages, answers, claims, .. } = self;
        let (oldest, idle) = (now.minus(retention.age), now.minus(retention.idle));
        let (claimed, unknown) = (now.minus(retention.claims), idle.minus(retention.idle));
        for claims in claims.values_mut() {
            while let Some(first) = claims.front().copied()
                && answers.get(&first).is_none_or(|(hour, _)| *hour < claimed)
            {
                answers.remove(&first);
                claims.pop_front();
            }
        }
        claims.retain(|_, claims| !claims.is_empty());
        answers.retain(|_, (hour, _)| *hour >= oldest);
        for log in logs.values_mut() {
            while log.items.front().is_some_and(|item| item.hour < oldest) {
                log.forget_first();
            }
            if matches!(log.kind, Kind::Group(_)) && log.touched < idle {
                log.kind = Kind::Gone;
                log.items.clear();
                log.bytes = 0;
            }
        }
        logs.retain(|_, log| match log.kind {
            Kind::Group(_) => true,
            Kind::Gone => log.touched >= unknown,
            Kind::Mailbox { owned } => {
                !log.items.is_empty() || log.touched >= if owned { idle } else { oldest }
            }
        });
        for packages in packages.values_mut() {
            packages.retain(|(hour, _)| *hour >= idle);
        }
        packages.retain(|_, packages| !packages.is_empty());
    }
}

impl Log {
    fn new(access: Option<AccessHash>, now: Hour) -> Self {
        let kind = match access {
            Some(hash) => Kind::Group(VecDeque::from([(hash, None)])),
            None => Kind::Mailbox { owned: false },
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

    /// The id of the request whose last item that was.
    fn forget_first(&mut self) -> Option<RequestId> {
        let item = self.items.pop_front()?;
        self.bytes = self.bytes.saturating_sub(item_cost(item.bytes.len()));
        item.request
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::tests::{self, Epochs};

    impl Epochs for Inner {
        fn commit(&mut self, commit: &StoredAppend) -> Result<Position, Refusal> {
            let (id, retention) = (RequestId::random().unwrap(), Retention::default());
            self.append(id, commit, Hour(0), &retention, &Room::new(&retention))
        }

        fn head(&mut self, log: LogId, token: AccessHash) -> Result<Position, Refusal> {
            let (reader, retention) = (Reader::Token(token), Retention::default());
            let read = self.read(log, Position(u64::MAX), reader, Hour(0), &retention);
            read.map(|read| read.page.head)
        }
    }

    #[test]
    fn the_hashes_of_the_last_epochs_are_kept() {
        tests::the_hashes_of_the_last_epochs_are_kept(&mut Inner::default());
    }
}
