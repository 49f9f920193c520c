//! Answers, and what is kept no longer.

use std::cell::Cell;

use cc_client::RequestId;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    Hour, Retention, SqliteError,
    logs::{self, Kind},
};

/// Logs and rows that one step looks at.
const LOGS: u32 = 64;
const ROWS: u32 = 2048;

pub(super) fn answer(
    connection: &Connection,
    id: RequestId,
) -> Result<Option<Vec<u8>>, SqliteError> {
    let mut statement = connection.prepare_cached("SELECT answer FROM answers WHERE id = ?1")?;
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
    let (mut more, left) = (false, Cell::new(ROWS));
    for number in numbers(connection, "SELECT number FROM logs WHERE oldest < ?1 LIMIT ?2", oldest)?
    {
        let takes = |hour| hour < oldest && left.replace(left.get().saturating_sub(1)) > 0;
        logs::forget(connection, number, |_, hour, _| takes(hour))?;
        more = true;
    }
    let silent = "SELECT number FROM logs WHERE kind = 1 AND touched < ?1 LIMIT ?2";
    for number in numbers(connection, silent, idle)? {
        logs::clear(connection, number, Kind::Gone)?;
        more = true;
    }
    for delete in [
        "DELETE FROM logs WHERE number IN (
            SELECT number FROM logs WHERE touched < ?1 AND head = 0 LIMIT ?2)",
        "DELETE FROM packages WHERE number IN (
            SELECT number FROM packages WHERE hour < ?1 LIMIT ?2)",
    ] {
        more |= connection.prepare_cached(delete)?.execute(params![idle.0, ROWS])? > 0;
    }
    let answers =
        "DELETE FROM answers WHERE id IN (SELECT id FROM answers WHERE hour < ?1 LIMIT ?2)";
    more |= connection.prepare_cached(answers)?.execute(params![oldest.0, ROWS])? > 0;
    Ok(more)
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
