//! What the commits of a store have come to: the record table, and the journal in front of it.

use cc_core::store::{Batch, Change, StoreError};
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use crate::{
    connection::{self, blob},
    digest::RecordsDigest,
    error::{commit_error, sqlite_error},
    file::FORMAT,
    header::{Checksum, Header},
    journal::{self, Journal},
    seal::{Link, Place, Sealer, Whole},
};

pub(crate) struct History {
    /// The digest of the record table.
    pub(crate) records: RecordsDigest,
    pub(crate) journal: Journal,
    /// What the next commit rests on.
    link: Link,
    pub(crate) generation: u64,
}

/// A transaction that writes what the journal changed, and then `batch`, to the record table.
pub(crate) struct Rewrite<'a> {
    pub(crate) generation: u64,
    pub(crate) batch: &'a Batch,
    /// A new header, where it changes.
    pub(crate) header: Option<&'a Header>,
    /// The checksum of the header from then on.
    pub(crate) checksum: &'a Checksum,
    /// The format of the tables until then.
    pub(crate) format: u32,
}

impl History {
    pub(crate) fn read(
        connection: &Connection,
        sealer: &Sealer,
        header: &Checksum,
    ) -> Result<Self, StoreError> {
        let state = connection::sealed_state(connection)?;
        let (generation, records, link, whole) = sealer.open_state(header, &state)?;
        let mut history = Self { records, journal: Journal::default(), link, generation };
        each_entry(connection, |sealed| {
            let generation = history.next_generation()?;
            let (changes, link) = sealer.open_entry(generation, &history.link, sealed)?;
            history.journal.replay(changes.expose())?;
            (history.link, history.generation) = (link, generation);
            Ok(())
        })?;
        if whole == Whole::WithCommit && history.journal.is_empty() {
            return Err(missing_commit());
        }
        Ok(history)
    }

    /// As [`read`](Self::read), of format 1 or 2, which has neither digest nor links.
    pub(crate) fn read_2(
        connection: &Connection,
        sealer: &Sealer,
        format: u32,
    ) -> Result<Self, StoreError> {
        let generation = sealer.open_generation_2(&connection::sealed_state(connection)?)?;
        let records = digest_of(connection, sealer)?;
        let (journal, link) = (Journal::default(), Link::default());
        let mut history = Self { records, journal, link, generation };
        if connection::has_journal(format) {
            each_entry(connection, |sealed| {
                history.generation = history.next_generation()?;
                let changes = sealer.open_entry_2(history.generation, sealed)?;
                history.journal.replay(changes.expose())
            })?;
        }
        Ok(history)
    }

    /// Makes a store that was [read](Self::read_2) one of this format.
    pub(crate) fn upgrade(
        &self,
        connection: &mut Connection,
        sealer: &Sealer,
        checksum: &Checksum,
        format: u32,
    ) -> Result<Self, StoreError> {
        let (generation, batch) = (self.generation, &Batch::new());
        let rewrite = Rewrite { generation, batch, header: None, checksum, format };
        // Whether it is in force is all the same: the next to open the store finds out.
        self.fold(connection, sealer, &rewrite).map_err(|error| match error {
            StoreError::InDoubt(cause) => StoreError::Io(cause),
            error => error,
        })
    }

    /// Whether both tell of the same commits. The journals are not compared, for the link stands for them.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (self.generation, self.records, self.link) == (other.generation, other.records, other.link)
    }

    /// Writes `batch` to the journal, as `len` bytes.
    pub(crate) fn append(
        &mut self,
        connection: &mut Connection,
        sealer: &Sealer,
        batch: &Batch,
        len: usize,
    ) -> Result<(), StoreError> {
        let generation = self.next_generation()?;
        let changes = journal::encode(batch, len)?;
        let (entry, link) = sealer.seal_entry(generation, &self.link, &changes)?;
        let number = self.journal.rows() + 1;
        transact(connection, |connection| insert_entry(connection, number, &entry))?;
        self.journal.add(batch, len);
        (self.link, self.generation) = (link, generation);
        Ok(())
    }

    /// What there is after `rewrite`.
    ///
    /// A record is longer in its place than in the journal. Where that finds no room, the journal is
    /// written anew, shorter, so that a full store can still delete.
    pub(crate) fn fold(
        &self,
        connection: &mut Connection,
        sealer: &Sealer,
        rewrite: &Rewrite<'_>,
    ) -> Result<Self, StoreError> {
        match self.rewrite(connection, sealer, rewrite, Journal::default()) {
            Err(StoreError::Full) if connection.is_autocommit() => {
                let rest = self.journal.rest(rewrite.batch).ok_or(StoreError::Full)?;
                self.rewrite(connection, sealer, rewrite, rest)
            }
            result => result,
        }
    }

    /// Writes what the journal changed, and then the batch, to the record table, and leaves `rest` in the
    /// journal.
    fn rewrite(
        &self,
        connection: &mut Connection,
        sealer: &Sealer,
        rewrite: &Rewrite<'_>,
        rest: Journal,
    ) -> Result<Self, StoreError> {
        let Rewrite { generation, batch, header, checksum, format } = *rewrite;
        let (folded, whole) = if rest.is_empty() {
            (generation, Whole::Alone)
        } else {
            (generation.checked_sub(1).ok_or(StoreError::Full)?, Whole::WithCommit)
        };
        let mut records = self.records;
        let link = transact(connection, |connection| {
            if format != FORMAT {
                connection::upgrade(connection, format)?;
            }
            // Before anything is put, so that a store without room finds some.
            connection.execute("DELETE FROM journal", []).map_err(sqlite_error)?;
            let mut delete = connection
                .prepare_cached("DELETE FROM record WHERE scope = ?1 AND id = ?2")
                .map_err(sqlite_error)?;
            let mut places = sealer.places();
            for (scope, key, change) in self.journal.newest(batch) {
                if change == Change::Delete {
                    let place = places.place(scope, key);
                    // What came and went since the last fold was never there.
                    if take_out(connection, sealer, &mut records, place)? {
                        delete.execute(params![place.scope, place.id]).map_err(sqlite_error)?;
                    }
                }
            }
            let mut put = connection
                .prepare_cached(
                    "INSERT INTO record (scope, id, sealed) VALUES (?1, ?2, ?3)
                     ON CONFLICT (scope, id) DO UPDATE SET sealed = excluded.sealed",
                )
                .map_err(sqlite_error)?;
            for (scope, key, change) in self.journal.newest(batch) {
                if let Change::Put(value) = change
                    && rest.get(scope, key).is_none()
                {
                    let place = places.place(scope, key);
                    take_out(connection, sealer, &mut records, place)?;
                    let sealed = sealer.seal(place, key, value)?;
                    put.execute(params![place.scope, place.id, sealed]).map_err(sqlite_error)?;
                    sealer.toggle(&mut records, place, &sealed)?;
                }
            }
            if let Some(header) = header {
                header.write(connection).map_err(sqlite_error)?;
            }
            let (state, mut link) = sealer.seal_state(checksum, folded, &records, whole)?;
            let changed = connection
                .execute("UPDATE state SET generation = ?1", [state])
                .map_err(sqlite_error)?;
            if changed != 1 {
                return Err(StoreError::corrupt("there is no generation"));
            }
            if !rest.is_empty() {
                let (entry, last) = sealer.seal_entry(generation, &link, &rest.encode()?)?;
                insert_entry(connection, 1, &entry)?;
                link = last;
            }
            Ok(link)
        })?;
        Ok(Self { records, journal: rest, link, generation })
    }

    fn next_generation(&self) -> Result<u64, StoreError> {
        self.generation.checked_add(1).ok_or_else(|| StoreError::corrupt("too many commits"))
    }
}

/// The digest of the records that are there. Reads all of them.
///
/// # Errors
/// [`StoreError::Corrupt`] where two stand in one place: they would cancel each other out.
pub(crate) fn digest_of(
    connection: &Connection,
    sealer: &Sealer,
) -> Result<RecordsDigest, StoreError> {
    let mut digest = RecordsDigest::default();
    let mut before = None;
    let mut statement = connection
        .prepare("SELECT scope, id, sealed FROM record ORDER BY scope, id")
        .map_err(sqlite_error)?;
    let mut rows = statement.query([]).map_err(sqlite_error)?;
    while let Some(row) = rows.next().map_err(sqlite_error)? {
        let place = Place {
            scope: row.get(0).map_err(sqlite_error)?,
            id: row.get(1).map_err(sqlite_error)?,
        };
        if before.is_some_and(|before| before >= (place.scope, place.id)) {
            return Err(foreign_records());
        }
        before = Some((place.scope, place.id));
        sealer.toggle(&mut digest, place, blob(row, 2)?)?;
    }
    Ok(digest)
}

fn missing_commit() -> StoreError {
    StoreError::corrupt("a commit is missing")
}

pub(crate) fn foreign_records() -> StoreError {
    StoreError::corrupt("records are missing, or older than the rest")
}

/// Takes the record out of the digest, if there is one; says whether there is.
fn take_out(
    connection: &Connection,
    sealer: &Sealer,
    records: &mut RecordsDigest,
    place: Place,
) -> Result<bool, StoreError> {
    let found = connection
        .prepare_cached("SELECT sealed FROM record WHERE scope = ?1 AND id = ?2")
        .map_err(sqlite_error)?
        .query_row(params![place.scope, place.id], |row| {
            Ok(blob(row, 0).and_then(|sealed| sealer.toggle(records, place, sealed)))
        })
        .optional()
        .map_err(sqlite_error)?;
    found.map_or(Ok(false), |taken| taken.map(|()| true))
}

/// Hands out the rows of the journal in their order.
fn each_entry(
    connection: &Connection,
    mut replay: impl FnMut(&[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut statement = connection
        .prepare("SELECT number, sealed FROM journal ORDER BY number")
        .map_err(sqlite_error)?;
    let mut rows = statement.query([]).map_err(sqlite_error)?;
    let mut expected = 1;
    while let Some(row) = rows.next().map_err(sqlite_error)? {
        if row.get::<_, i64>(0).map_err(sqlite_error)? != expected {
            return Err(missing_commit());
        }
        expected += 1;
        replay(blob(row, 1)?)?;
    }
    Ok(())
}

fn transact<T>(
    connection: &mut Connection,
    work: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(sqlite_error)?;
    let result = work(&transaction)?;
    transaction.commit().map_err(commit_error)?;
    Ok(result)
}

fn insert_entry(connection: &Connection, number: i64, entry: &[u8]) -> Result<(), StoreError> {
    connection
        .prepare_cached("INSERT INTO journal (number, sealed) VALUES (?1, ?2)")
        .and_then(|mut statement| statement.execute(params![number, entry]))
        .map(drop)
        .map_err(sqlite_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever writes the file may give it tables that let two records stand in one place, and twice the same one
    /// would not show in the digest.
    #[test]
    fn two_records_in_one_place_have_no_digest() {
        let sealer = Sealer::new([1; 16], cc_core::Secret::random().unwrap());
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE record (scope BLOB, id BLOB, sealed BLOB)").unwrap();
        let put = |id: u8| {
            let row = params![[2_u8; 16], [id; 16], [4_u8; 60]];
            connection.execute("INSERT INTO record VALUES (?1, ?2, ?3)", row).unwrap();
        };
        put(3);
        put(4);
        assert!(digest_of(&connection, &sealer).is_ok());
        put(4);
        let error = digest_of(&connection, &sealer).err().unwrap();
        assert_eq!(error.to_string(), foreign_records().to_string());
    }
}
