//! Answers, and what is kept no longer.

use std::cell::Cell;

use cc_client::RequestId;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    ClockRecord, Hour, Retention, SqliteError,
    logs::{self, Kind},
    to_u64,
};

/// Logs and rows that one step looks at.
const LOGS: u32 = 64;
const ROWS: u32 = 2048;

pub(super) fn answer(
    connection: &Connection,
    id: RequestId,
) -> Result<Option<Vec<u8>>, SqliteError> {
    let mut statement = connection.prepare_cached(
        "SELECT answer FROM answers WHERE id = ?1
            UNION ALL SELECT answer FROM claims WHERE id = ?1",
    )?;
    Ok(statement.query_row([id.as_bytes()], |row| row.get(0)).optional()?)
}

pub(super) fn keep_answer(
    connection: &Connection,
    id: RequestId,
    now: Hour,
    answer: &[u8],
) -> Result<(), SqliteError> {
    connection
        .prepare_cached("INSERT INTO answers (id, hour, answer) VALUES (?1, ?2, ?3)")?
        .execute(params![id.as_bytes(), now.0, answer])?;
    Ok(())
}

pub(super) fn expire(
    connection: &Connection,
    now: Hour,
    retention: &Retention,
) -> Result<bool, SqliteError> {
    let (oldest, idle) = (now.minus(retention.age), now.minus(retention.idle));
    let (claimed, unknown) = (now.minus(retention.claims), idle.minus(retention.idle));
    let (mut more, left) = (false, Cell::new(ROWS));
    let takes_one = || left.replace(left.get().saturating_sub(1)) > 0;
    for number in numbers(connection, "SELECT number FROM logs WHERE oldest < ?1 LIMIT ?2", oldest)?
    {
        logs::forget(connection, number, false, |_, hour, _| hour < oldest && takes_one())?;
        more = true;
    }
    let silent = "SELECT number FROM logs WHERE kind = 1 AND touched < ?1 LIMIT ?2";
    for number in numbers(connection, silent, idle)? {
        // Where items are kept for longer than silent logs, it may have any number of them.
        logs::forget(connection, number, false, |_, _, _| takes_one())?;
        if left.get() > 0 {
            logs::close(connection, number)?;
        }
        more = true;
    }
    let empty = |kind| {
        format!(
            "DELETE FROM logs WHERE number IN (SELECT number FROM logs
                WHERE kind = {} AND touched < ?1 AND oldest IS NULL LIMIT ?2)",
            Kind::number(kind)
        )
    };
    for (delete, before) in [
        (empty(Kind::Gone).as_str(), unknown),
        (empty(Kind::Mailbox).as_str(), oldest),
        (empty(Kind::OwnedMailbox).as_str(), idle),
        (
            "DELETE FROM packages WHERE number IN (
                SELECT number FROM packages WHERE hour < ?1 LIMIT ?2)",
            idle,
        ),
        (
            "DELETE FROM answers WHERE id IN (SELECT id FROM answers WHERE hour < ?1 LIMIT ?2)",
            oldest,
        ),
        (
            "DELETE FROM claims WHERE number IN (SELECT number FROM claims WHERE hour < ?1 LIMIT ?2)",
            claimed.max(oldest),
        ),
    ] {
        more |= connection.prepare_cached(delete)?.execute(params![before.0, ROWS])? > 0;
    }
    Ok(more)
}

/// Bytes of the pages that are in use.
pub(super) fn used(connection: &Connection) -> Result<u64, SqliteError> {
    let mut statement = connection.prepare_cached(
        "SELECT (page_count - freelist_count) * page_size
            FROM pragma_page_count, pragma_freelist_count, pragma_page_size",
    )?;
    to_u64(statement.query_row([], |row| row.get(0))?)
}

pub(super) fn clock(connection: &Connection) -> Result<Option<ClockRecord>, SqliteError> {
    let mut statement = connection.prepare_cached("SELECT relay, wall FROM clock")?;
    let clock = statement
        .query_row([], |row| Ok(ClockRecord { relay: Hour(row.get(0)?), wall: Hour(row.get(1)?) }));
    Ok(clock.optional()?)
}

pub(super) fn set_clock(connection: &Connection, clock: ClockRecord) -> Result<(), SqliteError> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO clock (one, relay, wall) VALUES (1, ?1, ?2)")?
        .execute(params![clock.relay.0, clock.wall.0])?;
    Ok(())
}

fn numbers(connection: &Connection, sql: &str, before: Hour) -> Result<Vec<i64>, SqliteError> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![before.0, LOGS], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn check(connection: &Connection) -> Result<(), SqliteError> {
    let mut statement = connection.prepare_cached("SELECT 1 FROM logs LIMIT 1")?;
    statement.exists([])?;
    Ok(())
}
