//! Logs and mailboxes.

use std::{cell::Cell, sync::atomic::Ordering};

use cc_client::{AccessHash, Follows, Item, LogId, Page, Position, Refusal, RequestId};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    Hour, ReadPage, Reader, Retention, Room, SqliteError, StorageError, StoredAppend, expiry,
    to_i64, to_u64,
};
use crate::storage::{
    Address, ITEM_COST, MAILBOX_FULL, MAX_PAST_EPOCHS, NO_ROOM, NOT_BEGUN, PageItems, cost,
};

/// Items that are looked at in one statement when old ones are forgotten.
const FORGET_STEP: u32 = 512;
/// Items that one append forgets at the most, for room, and one step of what a mailbox's owner has read.
const FORGET_MOST: u64 = 4096;

/// `Gone` is of a group's log; of a mailbox it is known whether its owner was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Group = 1,
    Gone = 2,
    Mailbox = 3,
    OwnedMailbox = 4,
}

impl Kind {
    pub(super) const fn number(self) -> i64 {
        self as i64
    }
}

/// A row of `logs`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Log {
    pub(super) number: i64,
    kind: Kind,
    head: u64,
    last_commit: Position,
    pub(super) forgotten: u64,
    bytes: u64,
    touched: Hour,
}

pub(super) fn append(
    connection: &Connection,
    id: RequestId,
    append: &StoredAppend,
    now: Hour,
    retention: &Retention,
    room: &Room,
) -> Result<Result<Position, Refusal>, SqliteError> {
    if let Err(refusal) = append.check_size() {
        return Ok(Err(refusal));
    }
    let StoredAppend { log, access, commit, items, .. } = append;
    let address = Address::with_access(*log, access.as_ref());
    let found = find(connection, address)?;
    if let Err(refusal) = admit(connection, found.as_ref(), append, retention)? {
        return Ok(Err(refusal));
    }
    let (used, cost) = (expiry::used(connection)?, cost(items));
    let room = match (&found, access) {
        (Some(_), Some(_)) => make_room(connection, room.to_forget(used, cost), room)?,
        _ => room.for_strangers(used, cost),
    };
    if let Err(refusal) = room {
        return Ok(Err(refusal));
    }
    // As it is after others, and itself maybe, have made room.
    let mut log = match find(connection, address)? {
        Some(log) => log,
        None => create(connection, log, access.as_ref(), now)?,
    };
    let (first, last) = (log.head + 1, items.len().saturating_sub(1));
    let mut insert = connection.prepare_cached(
        "INSERT INTO items (log, position, is_commit, hour, request, bytes)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for (at, item) in items.iter().enumerate() {
        log.head += 1;
        let request = (at == last && access.is_some()).then_some(id.as_bytes());
        let is_commit = commit.is_some();
        insert.execute(params![log.number, to_i64(log.head), is_commit, now.0, request, item])?;
    }
    log.bytes += cost;
    if let Some(Follows { next, .. }) = commit {
        log.last_commit = Position(log.head);
        if let (Kind::Group, Some(next)) = (log.kind, next) {
            begin_epoch(connection, &log, next)?;
        }
    }
    connection
        .prepare_cached(
            "UPDATE logs SET head = ?2, last_commit = ?3, bytes = ?4, touched = ?5,
                oldest = coalesce(oldest, ?5) WHERE number = ?1",
        )?
        .execute(params![
            log.number,
            to_i64(log.head),
            to_i64(log.last_commit.0),
            to_i64(log.bytes),
            now.0
        ])?;
    if log.kind == Kind::Group && log.bytes > retention.log_bytes {
        let surplus = log.bytes - retention.log_bytes;
        let surplus = |position, _, freed| position < first && freed < surplus;
        forget(connection, log.number, true, surplus)?;
    }
    Ok(Ok(Position(log.head)))
}

/// Forgets so many bytes of the groups that have most.
fn make_room(
    connection: &Connection,
    bytes: u64,
    room: &Room,
) -> Result<Result<(), Refusal>, SqliteError> {
    let (mut freed, count) = (0, Cell::new(0));
    while freed < bytes && count.get() < FORGET_MOST {
        let mut largest = connection.prepare_cached(
            "SELECT number FROM logs WHERE kind = 1 AND bytes > 0 ORDER BY bytes DESC LIMIT 1",
        )?;
        let largest = largest.query_row([], |row| row.get(0)).optional()?;
        let Some(number) = largest else { break };
        let missing = bytes - freed;
        freed += forget(connection, number, true, |_, _, freed| {
            let forgets = freed < missing && count.get() < FORGET_MOST;
            count.set(count.get() + u64::from(forgets));
            forgets
        })?;
    }
    room.forgotten.fetch_add(count.get(), Ordering::Relaxed);
    Ok(if bytes > 0 && freed == 0 { Err(NO_ROOM) } else { Ok(()) })
}

/// Whether the log takes this.
fn admit(
    connection: &Connection,
    log: Option<&Log>,
    append: &StoredAppend,
    retention: &Retention,
) -> Result<Result<(), Refusal>, SqliteError> {
    let StoredAppend { access, commit, items, begins, .. } = append;
    let head = log.map_or(Position::START, |log| log.last_commit);
    let conflict = Ok(Err(Refusal::Conflict { head }));
    match (log.map(|log| (log.kind, log)), access) {
        (Some((Kind::Gone, _)), _) => return Ok(Err(Refusal::Gone)),
        (Some((Kind::Group, log)), Some(hash)) => match epoch(connection, log.number, hash)? {
            None => return Ok(Err(Refusal::Denied)),
            Some(Some(_)) => return conflict,
            Some(None) => {}
        },
        (None, _) if !begins => return Ok(Err(NOT_BEGUN)),
        (None | Some(_), _) => {}
    }
    if commit.is_some_and(|commit| commit.after != head) {
        return conflict;
    }
    let bytes = log.map_or(0, |log| log.bytes);
    if access.is_none() && bytes.saturating_add(cost(items)) > retention.mailbox_bytes {
        return Ok(Err(MAILBOX_FULL));
    }
    Ok(Ok(()))
}

pub(super) enum ReadOutcome {
    Done(Result<ReadPage, Refusal>),
    /// The owner is there for the first time since long, or has read something: [`tidy_mailbox`] first.
    OwnerChangesLog,
}

pub(super) fn read(
    connection: &Connection,
    id: &LogId,
    after: Position,
    reader: Reader,
    now: Hour,
    retention: &Retention,
) -> Result<ReadOutcome, SqliteError> {
    let address = match reader {
        Reader::Token(_) => Address::Group(*id),
        Reader::Owner => Address::Mailbox(*id),
    };
    let found = find(connection, address)?;
    let Some(log) = found else { return Ok(ReadOutcome::Done(Ok(ReadPage::EMPTY))) };
    let refused = |refusal| Ok(ReadOutcome::Done(Err(refusal)));
    let last = match reader {
        Reader::Owner => {
            let untidy = log.forgotten < after.0 && after.0 <= log.head;
            if untidy || log.kind != Kind::OwnedMailbox || is_stale(&log, now, retention) {
                return Ok(ReadOutcome::OwnerChangesLog);
            }
            None
        }
        Reader::Token(_) if log.kind == Kind::Gone => return refused(Refusal::Gone),
        Reader::Token(hash) => match epoch(connection, log.number, &hash)? {
            Some(ended) => ended,
            None => return refused(Refusal::Denied),
        },
    };
    let head = last.unwrap_or(Position(log.head));
    let items = items(connection, &log, after, head)?;
    let forgotten = Position(log.forgotten).min(head);
    let page = Page { items, forgotten, head };
    Ok(ReadOutcome::Done(Ok(ReadPage { page, epoch_over: last.is_some() })))
}

fn items(
    connection: &Connection,
    log: &Log,
    after: Position,
    head: Position,
) -> Result<Vec<Item>, SqliteError> {
    let mut statement = connection.prepare_cached(
        "SELECT position, is_commit, bytes FROM items
            WHERE log = ?1 AND position > ?2 AND position <= ?3 ORDER BY position",
    )?;
    let mut rows = statement.query(params![log.number, to_i64(after.0), to_i64(head.0)])?;
    let mut page = PageItems::new();
    while let Some(row) = rows.next()? {
        let bytes = row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
        if !page.takes(bytes.len()) {
            break;
        }
        let position = Position(to_u64(row.get(0)?)?);
        page.push(Item { position, commit: row.get(1)?, bytes: bytes.to_vec() });
    }
    Ok(page.items)
}

/// That the owner was there is written now and then, not with every read.
fn is_stale(log: &Log, now: Hour, retention: &Retention) -> bool {
    log.touched < now.minus(retention.idle / 4)
}

/// The owner was there: what it has read is deleted, some of it with each call. Gives what was freed.
pub(super) fn tidy_mailbox(
    connection: &Connection,
    id: &LogId,
    after: Position,
    now: Hour,
    retention: &Retention,
) -> Result<u64, SqliteError> {
    let Some(log) = find(connection, Address::Mailbox(*id))? else { return Ok(0) };
    let touched = if is_stale(&log, now, retention) { now } else { log.touched };
    connection
        .prepare_cached("UPDATE logs SET kind = ?2, touched = ?3 WHERE number = ?1")?
        .execute(params![log.number, Kind::OwnedMailbox.number(), touched.0])?;
    // Who has read more than there is has read another log: nothing is deleted for it.
    if after.0 > log.head {
        return Ok(0);
    }
    // Others wait to write meanwhile.
    let last = after.0.min(log.forgotten.saturating_add(FORGET_MOST));
    forget(connection, log.number, false, |position, _, _| position <= last)
}

/// Nothing is kept of the group's log but its positions.
pub(super) fn close(connection: &Connection, number: i64) -> Result<(), SqliteError> {
    connection.prepare_cached("DELETE FROM items WHERE log = ?1")?.execute([number])?;
    connection.prepare_cached("DELETE FROM epochs WHERE log = ?1")?.execute([number])?;
    connection
        .prepare_cached(
            "UPDATE logs SET kind = ?2, bytes = 0, forgotten = head, oldest = NULL
                WHERE number = ?1",
        )?
        .execute(params![number, Kind::Gone.number()])?;
    Ok(())
}

/// Deletes items from the first one on, as long as `forgets` says so of position, hour, and what was freed
/// already; with the answers to their requests if told so. Gives what was freed.
pub(super) fn forget(
    connection: &Connection,
    number: i64,
    answers: bool,
    forgets: impl Fn(u64, Hour, u64) -> bool,
) -> Result<u64, SqliteError> {
    let mut first = connection.prepare_cached(
        "SELECT position, hour, length(bytes) FROM items WHERE log = ?1 AND position > ?2
            ORDER BY position LIMIT ?3",
    )?;
    let (mut last, mut freed, mut oldest) = (0, 0_u64, None);
    'all: loop {
        let mut rows = first.query(params![number, to_i64(last), FORGET_STEP])?;
        let mut some = false;
        while let Some(row) = rows.next()? {
            some = true;
            let (position, hour) = (to_u64(row.get(0)?)?, Hour(row.get(1)?));
            if !forgets(position, hour, freed) {
                oldest = Some(hour.0);
                break 'all;
            }
            last = position;
            freed += to_u64(row.get(2)?)? + ITEM_COST;
        }
        if !some {
            break;
        }
    }
    if last == 0 {
        return Ok(0);
    }
    if answers {
        connection
            .prepare_cached(
                "DELETE FROM answers WHERE id IN (SELECT request FROM items
                    WHERE log = ?1 AND position <= ?2 AND request IS NOT NULL)",
            )?
            .execute(params![number, to_i64(last)])?;
    }
    connection
        .prepare_cached("DELETE FROM items WHERE log = ?1 AND position <= ?2")?
        .execute(params![number, to_i64(last)])?;
    connection
        .prepare_cached(
            "UPDATE logs SET forgotten = ?2, bytes = bytes - ?3, oldest = ?4 WHERE number = ?1",
        )?
        .execute(params![number, to_i64(last), to_i64(freed), oldest])?;
    Ok(freed)
}

fn find(connection: &Connection, address: Address) -> Result<Option<Log>, SqliteError> {
    let mailbox = matches!(address, Address::Mailbox(_));
    let mut statement = connection.prepare_cached(
        "SELECT number, kind, head, last_commit, forgotten, bytes, touched FROM logs
            WHERE log = ?1 AND (kind >= 3) = ?2",
    )?;
    let mut rows = statement.query(params![address.log().as_bytes(), mailbox])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let kind: i64 = row.get(1)?;
    let kind = [Kind::Group, Kind::Gone, Kind::Mailbox, Kind::OwnedMailbox]
        .into_iter()
        .find(|known| known.number() == kind);
    Ok(Some(Log {
        number: row.get(0)?,
        kind: kind.ok_or_else(|| StorageError("a log is of no kind".into()))?,
        head: to_u64(row.get(2)?)?,
        last_commit: Position(to_u64(row.get(3)?)?),
        forgotten: to_u64(row.get(4)?)?,
        bytes: to_u64(row.get(5)?)?,
        touched: Hour(row.get(6)?),
    }))
}

fn create(
    connection: &Connection,
    log: &LogId,
    access: Option<&AccessHash>,
    now: Hour,
) -> Result<Log, SqliteError> {
    let kind = if access.is_some() { Kind::Group } else { Kind::Mailbox };
    connection
        .prepare_cached(
            "INSERT INTO logs (log, kind, head, last_commit, forgotten, bytes, touched)
                VALUES (?1, ?2, 0, 0, 0, 0, ?3)",
        )?
        .execute(params![log.as_bytes(), kind.number(), now.0])?;
    let number = connection.last_insert_rowid();
    if let Some(hash) = access {
        connection
            .prepare_cached("INSERT INTO epochs (log, hash) VALUES (?1, ?2)")?
            .execute(params![number, hash.0])?;
    }
    let last_commit = Position::START;
    Ok(Log { number, kind, head: 0, last_commit, forgotten: 0, bytes: 0, touched: now })
}

/// Of the epoch with this token, the commit that ended it, if one did.
fn epoch(
    connection: &Connection,
    number: i64,
    hash: &AccessHash,
) -> Result<Option<Option<Position>>, SqliteError> {
    let mut statement =
        connection.prepare_cached("SELECT ended FROM epochs WHERE log = ?1 AND hash = ?2")?;
    let ended: Option<Option<i64>> =
        statement.query_row(params![number, hash.0], |row| row.get(0)).optional()?;
    ended.map(|ended| ended.map(|ended| to_u64(ended).map(Position)).transpose()).transpose()
}

/// The commit at the log's head ends the present epoch and begins the next one.
fn begin_epoch(connection: &Connection, log: &Log, next: &AccessHash) -> Result<(), SqliteError> {
    connection
        .prepare_cached("UPDATE epochs SET ended = ?2 WHERE log = ?1 AND ended IS NULL")?
        .execute(params![log.number, to_i64(log.head)])?;
    connection
        .prepare_cached("INSERT OR REPLACE INTO epochs (log, hash) VALUES (?1, ?2)")?
        .execute(params![log.number, next.0])?;
    connection
        .prepare_cached(
            "DELETE FROM epochs WHERE log = ?1 AND ended <= (
                SELECT ended FROM epochs WHERE log = ?1 AND ended IS NOT NULL
                    ORDER BY ended DESC LIMIT 1 OFFSET ?2)",
        )?
        .execute(params![log.number, MAX_PAST_EPOCHS])?;
    Ok(())
}

#[cfg(test)]
mod tests;
