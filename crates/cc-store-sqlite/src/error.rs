//! What SQLite, the file system and the cipher say, in the words of the contract.

use cc_aes_layer::AesError;
use cc_core::store::StoreError;
use rusqlite::{Error, ErrorCode};

pub(crate) fn sqlite_error(error: Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Locked,
        Some(ErrorCode::DiskFull) => StoreError::Full,
        Some(ErrorCode::TooBig) => StoreError::TooLong,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::corrupt(error),
        Some(_) => StoreError::io(error),
        None => match error {
            // A row or column that is not what this version writes.
            Error::QueryReturnedNoRows
            | Error::InvalidColumnType(..)
            | Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..) => StoreError::corrupt(error),
            error => StoreError::io(error),
        },
    }
}

/// A failure of SQLite's COMMIT: before anything was written, or somewhere on the way to the disk.
pub(crate) fn commit_error(error: Error) -> StoreError {
    match error.sqlite_error_code() {
        // The frame that would complete the transaction found no room, and is not there.
        Some(ErrorCode::DiskFull) => StoreError::Full,
        _ => StoreError::in_doubt(error),
    }
}

pub(crate) fn aes_error(error: AesError) -> StoreError {
    match error {
        AesError::Rejected => StoreError::corrupt("a value that does not authenticate"),
        AesError::Random(error) => StoreError::Random(error),
        AesError::TooLong => StoreError::TooLong,
        error => StoreError::io(error),
    }
}
