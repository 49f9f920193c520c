//! A storage in memory, for tests and demonstrations.

use std::sync::{Mutex, MutexGuard, PoisonError};

use cc_client::{LogId, Position, Refusal, RequestId};

use self::records::Inner;
use super::{
    ClockRecord, Hour, KeptAnswer, Outcome, ReadPage, Reader, Retention, Room, Storage,
    StorageError, StoredAppend, StoredPublish, Task, Usage, kept_answer, read_answer,
};

mod records;

/// Keeps everything in memory, and nothing over a restart.
#[derive(Debug)]
pub struct MemoryStorage {
    inner: Mutex<Inner>,
    retention: Retention,
    room: Room,
}

impl MemoryStorage {
    /// An empty one.
    #[must_use]
    pub fn new(retention: Retention) -> Self {
        Self { inner: Mutex::default(), retention, room: Room::new(&retention) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what the request asks for, unless it was answered before.
    fn once<T: KeptAnswer>(
        &self,
        inner: &mut Inner,
        id: RequestId,
        now: Hour,
        work: impl FnOnce(&mut Inner) -> Outcome<T>,
    ) -> Result<Result<T, Refusal>, StorageError> {
        if let Some((_, answer)) = inner.answers.get(&id) {
            return read_answer(answer);
        }
        let outcome = work(inner);
        if let Some(answer) = kept_answer(id, &outcome)? {
            inner.answers.insert(id, (now, answer));
        }
        self.room.count(inner.used(), &outcome.result);
        Ok(outcome.result)
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
        let work =
            |inner: &mut Inner| inner.append(id, &append, now, &self.retention, &self.room).into();
        ready(self.once(&mut self.inner(), id, now, work))
    }

    fn read(
        &self,
        log: LogId,
        after: Position,
        reader: Reader,
        now: Hour,
    ) -> Task<'_, Result<ReadPage, Refusal>> {
        ready(Ok(self.inner().read(log, after, reader, now, &self.retention)))
    }

    fn publish(
        &self,
        id: RequestId,
        publish: StoredPublish,
        now: Hour,
    ) -> Task<'_, Result<u32, Refusal>> {
        let work =
            |inner: &mut Inner| inner.publish(publish, now, &self.retention, &self.room).into();
        ready(self.once(&mut self.inner(), id, now, work))
    }

    fn claim(
        &self,
        id: RequestId,
        mailbox: LogId,
        now: Hour,
    ) -> Task<'_, Result<Option<Vec<u8>>, Refusal>> {
        let mut inner = self.inner();
        let again = inner.answers.contains_key(&id);
        let answer = self.once(&mut inner, id, now, |inner| inner.claim(mailbox));
        if !again && inner.answers.contains_key(&id) {
            inner.bound_claims(id, mailbox, &self.retention);
        }
        ready(answer)
    }

    fn expire(&self, now: Hour) -> Task<'_, bool> {
        let mut inner = self.inner();
        inner.expire(now, &self.retention);
        self.room.count(inner.used(), &Ok(()));
        ready(Ok(false))
    }

    fn clock(&self) -> Task<'_, Option<ClockRecord>> {
        ready(Ok(self.inner().clock))
    }

    fn set_clock(&self, clock: ClockRecord) -> Task<'_, ()> {
        self.inner().clock = Some(clock);
        ready(Ok(()))
    }

    fn check(&self) -> Task<'_, ()> {
        ready(Ok(()))
    }

    fn usage(&self) -> Usage {
        self.room.usage()
    }
}
