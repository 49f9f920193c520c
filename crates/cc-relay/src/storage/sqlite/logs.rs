//! Logs and mailboxes.

use cc_client::{AccessHash, Follows, Item, LogId, Page, Position, Refusal};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    Hour, ReadPage, Reader, Retention, SqliteError, StorageError, StoredAppend, to_i64, to_u64,
};
use crate::storage::{MAILBOX_FULL, MAX_PAST_EPOCHS, PageItems};

/// Items that are looked at in one statement when old ones are forgotten.
const FORGET_STEP: u32 = 512;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Group = 1,
    Mailbox = 2,
    Gone = 3,
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
}

pub(super) fn append(
    connection: &Connection,
    append: &StoredAppend,
    now: Hour,
    retention: &Retention,
) -> Result<Result<Position, Refusal>, SqliteError> {
    if let Err(refusal) = append.check_size() {
        return Ok(Err(refusal));
    }
    let StoredAppend { log, access, commit, items } = append;
    let found = find(connection, log)?;
    if let Err(refusal) = admit(connection, found.as_ref(), append, retention)? {
        return Ok(Err(refusal));
    }
    let mut log = match found {
        Some(log) => log,
        None => create(connection, log, access.as_ref(), now)?,
    };
    let first = log.head + 1;
    let mut insert = connection.prepare_cached(
        "INSERT INTO items (log, position, is_commit, hour, bytes) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for item in items {
        log.head += 1;
        insert.execute(params![log.number, to_i64(log.head), commit.is_some(), now.0, item])?;
    }
    log.bytes += total(items);
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
        forget(connection, log.number, |position, _, freed| position < first && freed < surplus)?;
    }
    Ok(Ok(Position(log.head)))
}

/// Whether the log takes this.
fn admit(
    connection: &Connection,
    log: Option<&Log>,
    append: &StoredAppend,
    retention: &Retention,
) -> Result<Result<(), Refusal>, SqliteError> {
    let StoredAppend { access, commit, items, .. } = append;
    let head = log.map_or(Position::START, |log| log.last_commit);
    let conflict = Ok(Err(Refusal::Conflict { head }));
    match (log.map(|log| (log.kind, log)), access) {
        (None, _) | (Some((Kind::Mailbox, _)), None) => {}
        (Some((Kind::Gone, _)), _) => return Ok(Err(Refusal::Gone)),
        (Some((Kind::Group, log)), Some(hash)) => match epoch(connection, log.number, hash)? {
            None => return Ok(Err(Refusal::Denied)),
            Some(Some(_)) => return conflict,
            Some(None) => {}
        },
        (Some((Kind::Group, _)), None) | (Some((Kind::Mailbox, _)), Some(_)) => {
            return Ok(Err(Refusal::Denied));
        }
    }
    if commit.is_some_and(|commit| commit.after != head) {
        return conflict;
    }
    let bytes = log.map_or(0, |log| log.bytes);
    if access.is_none() && bytes.saturating_add(total(items)) > retention.mailbox_bytes {
        return Ok(Err(MAILBOX_FULL));
    }
    Ok(Ok(()))
}

fn total(items: &[Vec<u8>]) -> u64 {
    let total: usize = items.iter().map(Vec::len).sum();
    u64::try_from(total).unwrap_or(u64::MAX)
}

pub(super) enum ReadOutcome {
    Done(Result<ReadPage, Refusal>),
    /// The owner knows better what is there, or has read something: [`tidy_mailbox`] first.
    OwnerChangesLog,
}

pub(super) fn read(
    connection: &Connection,
    id: &LogId,
    after: Position,
    reader: Reader,
) -> Result<ReadOutcome, SqliteError> {
    let log = find(connection, id)?;
    let refused = |refusal| Ok(ReadOutcome::Done(Err(refusal)));
    let (log, last) = match (log, reader) {
        (Some(log), Reader::Owner)
            if log.kind == Kind::Mailbox && log.forgotten >= after.0.min(log.head) =>
        {
            (log, None)
        }
        (_, Reader::Owner) => return Ok(ReadOutcome::OwnerChangesLog),
        (None, Reader::Token(_)) => {
            return Ok(ReadOutcome::Done(Ok(ReadPage::EMPTY)));
        }
        (Some(log), Reader::Token(hash)) => match log.kind {
            Kind::Group => match epoch(connection, log.number, &hash)? {
                Some(ended) => (log, ended),
                None => return refused(Refusal::Denied),
            },
            Kind::Mailbox => return refused(Refusal::Denied),
            Kind::Gone => return refused(Refusal::Gone),
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

/// Makes the log a mailbox, and deletes what its owner has read.
pub(super) fn tidy_mailbox(
    connection: &Connection,
    id: &LogId,
    after: Position,
    now: Hour,
) -> Result<(), SqliteError> {
    let log = match find(connection, id)? {
        Some(log) => log,
        None => create(connection, id, None, now)?,
    };
    if log.kind != Kind::Mailbox {
        clear(connection, log.number, Kind::Mailbox)?;
    }
    forget(connection, log.number, |position, _, _| position <= after.0)
}

/// Nothing is kept of the log but its positions.
pub(super) fn clear(connection: &Connection, number: i64, kind: Kind) -> Result<(), SqliteError> {
    connection.prepare_cached("DELETE FROM items WHERE log = ?1")?.execute([number])?;
    connection.prepare_cached("DELETE FROM epochs WHERE log = ?1")?.execute([number])?;
    connection
        .prepare_cached(
            "UPDATE logs SET kind = ?2, bytes = 0, forgotten = head, oldest = NULL
                WHERE number = ?1",
        )?
        .execute(params![number, kind as i64])?;
    Ok(())
}

/// Deletes items from the first one on, as long as `forgets` says so of position, hour, and the bytes that
/// were deleted already.
pub(super) fn forget(
    connection: &Connection,
    number: i64,
    forgets: impl Fn(u64, Hour, u64) -> bool,
) -> Result<(), SqliteError> {
    let mut first = connection.prepare_cached(
        "SELECT position, hour, length(bytes) FROM items WHERE log = ?1 AND position > ?2
            ORDER BY position LIMIT ?3",
    )?;
    let (mut last, mut freed, mut oldest) = (0, 0, None);
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
            freed += to_u64(row.get(2)?)?;
        }
        if !some {
            break;
        }
    }
    if last == 0 {
        return Ok(());
    }
    connection
        .prepare_cached("DELETE FROM items WHERE log = ?1 AND position <= ?2")?
        .execute(params![number, to_i64(last)])?;
    connection
        .prepare_cached(
            "UPDATE logs SET forgotten = ?2, bytes = bytes - ?3, oldest = ?4 WHERE number = ?1",
        )?
        .execute(params![number, to_i64(last), to_i64(freed), oldest])?;
    Ok(())
}

fn find(connection: &Connection, log: &LogId) -> Result<Option<Log>, SqliteError> {
    let mut statement = connection.prepare_cached(
        "SELECT number, kind, head, last_commit, forgotten, bytes FROM logs WHERE log = ?1",
    )?;
    let row = statement
        .query_row([log.as_bytes()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
        })
        .optional()?;
    let Some((number, kind, head, last_commit, forgotten, bytes)) = row else { return Ok(None) };
    let kind: i64 = kind;
    let kind = [Kind::Group, Kind::Mailbox, Kind::Gone].into_iter().find(|k| *k as i64 == kind);
    Ok(Some(Log {
        number,
        kind: kind.ok_or_else(|| StorageError("a log is of no kind".into()))?,
        head: to_u64(head)?,
        last_commit: Position(to_u64(last_commit)?),
        forgotten: to_u64(forgotten)?,
        bytes: to_u64(bytes)?,
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
        .execute(params![log.as_bytes(), kind as i64, now.0])?;
    let number = connection.last_insert_rowid();
    if let Some(hash) = access {
        connection
            .prepare_cached("INSERT INTO epochs (log, hash) VALUES (?1, ?2)")?
            .execute(params![number, hash.0])?;
    }
    Ok(Log { number, kind, head: 0, last_commit: Position::START, forgotten: 0, bytes: 0 })
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
