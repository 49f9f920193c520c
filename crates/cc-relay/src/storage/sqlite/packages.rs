//! Key packages.

use cc_client::{LogId, PublishedPackage, Refusal, RequestId};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Hour, Outcome, Retention, Room, SqliteError, expiry, to_u64};
use crate::storage::{NOT_BEGUN, StoredPublish, item_cost};

pub(super) fn publish(
    connection: &Connection,
    publish: &StoredPublish,
    now: Hour,
    retention: &Retention,
    room: &Room,
) -> Result<Result<u32, Refusal>, SqliteError> {
    let StoredPublish { mailbox, packages, begins } = publish;
    if !begins {
        let mut any = connection
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM packages WHERE mailbox = ?1)")?;
        if !any.query_row([mailbox.as_bytes()], |row| row.get::<_, bool>(0))? {
            return Ok(Err(NOT_BEGUN));
        }
    }
    let replaces = packages.iter().any(|package| package.last_resort);
    let mut kept = connection.prepare_cached(
        "SELECT count(*), coalesce(sum(length(bytes)), 0), count(*) FILTER (WHERE NOT last_resort)
            FROM packages WHERE mailbox = ?1 AND NOT (last_resort AND ?2)",
    )?;
    let (count, bytes, one_time): (u32, i64, u32) = kept
        .query_row(params![mailbox.as_bytes(), replaces], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
    let count = count.saturating_add(u32::try_from(packages.len()).unwrap_or(u32::MAX));
    let new: usize = packages.iter().map(|package| package.bytes.len()).sum();
    let bytes = to_u64(bytes)?.saturating_add(u64::try_from(new).unwrap_or(u64::MAX));
    if count > retention.packages || bytes > retention.package_bytes {
        return Ok(Err(Refusal::TooLarge));
    }
    let new = packages.iter().map(|package| item_cost(package.bytes.len()));
    let new = new.fold(0, u64::saturating_add);
    if let Err(refusal) = room.for_strangers(expiry::used(connection)?, new) {
        return Ok(Err(refusal));
    }
    if replaces {
        connection
            .prepare_cached("DELETE FROM packages WHERE mailbox = ?1 AND last_resort")?
            .execute([mailbox.as_bytes()])?;
    }
    let mut insert = connection.prepare_cached(
        "INSERT INTO packages (mailbox, last_resort, hour, bytes) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for PublishedPackage { bytes, last_resort } in packages {
        insert.execute(params![mailbox.as_bytes(), last_resort, now.0, bytes])?;
    }
    let added = packages.iter().filter(|package| !package.last_resort).count();
    Ok(Ok(one_time.saturating_add(u32::try_from(added).unwrap_or(u32::MAX))))
}

/// The oldest one that is handed out once, or else the first one of last resort.
pub(super) fn claim(
    connection: &Connection,
    mailbox: &LogId,
) -> Result<Outcome<Option<Vec<u8>>>, SqliteError> {
    let mut statement = connection.prepare_cached(
        "SELECT number, last_resort, bytes FROM packages WHERE mailbox = ?1
            ORDER BY last_resort, number LIMIT 1",
    )?;
    let row = statement
        .query_row([mailbox.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((number, last_resort, bytes)) = row else {
        return Ok(Outcome { result: Ok(None), changed: false });
    };
    let (number, last_resort): (i64, bool) = (number, last_resort);
    if !last_resort {
        connection.prepare_cached("DELETE FROM packages WHERE number = ?1")?.execute([number])?;
    }
    Ok(Outcome { result: Ok(Some(bytes)), changed: !last_resort })
}

/// Keeps the answer to a claim, and forgets the oldest of the mailbox where they are too many.
pub(super) fn keep_claim(
    connection: &Connection,
    id: RequestId,
    mailbox: &LogId,
    now: Hour,
    answer: &[u8],
    retention: &Retention,
) -> Result<(), SqliteError> {
    connection
        .prepare_cached("INSERT INTO claims (id, mailbox, hour, answer) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![id.as_bytes(), mailbox.as_bytes(), now.0, answer])?;
    let mut kept = connection.prepare_cached(
        "SELECT number, length(answer) FROM claims WHERE mailbox = ?1 ORDER BY number DESC",
    )?;
    let mut rows = kept.query([mailbox.as_bytes()])?;
    let (mut count, mut bytes) = (0_u32, 0_u64);
    while let Some(row) = rows.next()? {
        count = count.saturating_add(1);
        bytes = bytes.saturating_add(to_u64(row.get(1)?)?);
        if count > retention.packages || bytes > retention.package_bytes {
            let number: i64 = row.get(0)?;
            drop(rows);
            connection
                .prepare_cached("DELETE FROM claims WHERE mailbox = ?1 AND number <= ?2")?
                .execute(params![mailbox.as_bytes(), number])?;
            break;
        }
    }
    Ok(())
}
