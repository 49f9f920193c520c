//! Key packages.

use cc_client::{LogId, PublishedPackage, Refusal};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Hour, Retention, SqliteError, to_u64};

pub(super) fn publish(
    connection: &Connection,
    mailbox: &LogId,
    packages: &[PublishedPackage],
    now: Hour,
    retention: &Retention,
) -> Result<Result<u32, Refusal>, SqliteError> {
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
) -> Result<Option<Vec<u8>>, SqliteError> {
    let mut statement = connection.prepare_cached(
        "SELECT number, last_resort, bytes FROM packages WHERE mailbox = ?1
            ORDER BY last_resort, number LIMIT 1",
    )?;
    let row = statement
        .query_row([mailbox.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((number, last_resort, bytes)) = row else { return Ok(None) };
    let (number, last_resort): (i64, bool) = (number, last_resort);
    if !last_resort {
        connection.prepare_cached("DELETE FROM packages WHERE number = ?1")?.execute([number])?;
    }
    Ok(Some(bytes))
}
