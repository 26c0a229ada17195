//! What is common to the stores of the relay: how one is opened, and why it cannot be had.
//!
//! In:       SQLite's errors, and PostgreSQL's.
//! Out:      a [`StoreError`]: small, and a sentence for the operator.
//! Not here: what a store keeps, and what it refuses because of that (`appointments`,
//!           `conversations`).

use std::fmt;

use rusqlite::ErrorCode;

use super::database::DatabaseError;

/// Whether a store that is not there is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// Yes.
    OrCreate,
    /// No: that is an error.
    Existing,
    /// No, and nothing in it can be changed.
    ReadOnly,
}

/// Why a store cannot be read or written. Nothing was changed, but for
/// [`DatabaseError::Unsure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// There is no such file, or no such folder, or it may not be opened.
    CannotOpen,
    /// Not an SQLite file, or a damaged one.
    Damaged,
    /// The file of another program.
    NotOurs,
    /// Made by a newer version of this program.
    TooNew {
        /// The file's version.
        found: i32,
        /// The newest we know.
        known: i32,
    },
    /// The file or its disk is read-only.
    ReadOnly,
    /// The disk is full.
    Full,
    /// Another process has kept it locked for too long.
    Busy,
    /// The disk or the file system failed.
    Disk,
    /// A constraint of the schema refused the change.
    Refused,
    /// Of a database of several hosts.
    Database(DatabaseError),
    /// Anything else that SQLite has a result code for.
    Other {
        /// That code.
        code: i32,
    },
}

impl StoreError {
    /// Whether it may be over by itself: nothing is set wrongly.
    pub const fn passes(self) -> bool {
        matches!(self, StoreError::Database(error) if error.passes())
    }

    /// Whether a relay that starts goes on without the store: see [`DatabaseError::is_for_now`].
    pub const fn is_for_now(self) -> bool {
        matches!(self, StoreError::Database(error) if error.is_for_now())
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::CannotOpen => f.write_str("it cannot be opened: is the path right?"),
            StoreError::Damaged => f.write_str(
                "it is damaged, or no SQLite file: put a backup in its place, or name another",
            ),
            StoreError::NotOurs => f.write_str("it belongs to another program: name another file"),
            StoreError::TooNew { found, known } => write!(
                f,
                "it was made by a newer version of vocaris (schema {found}, known up to {known})"
            ),
            StoreError::ReadOnly => f.write_str("it cannot be written: it is read-only"),
            StoreError::Full => f.write_str("its disk is full"),
            StoreError::Busy => f.write_str("another process keeps it locked"),
            StoreError::Disk => f.write_str("its disk failed"),
            StoreError::Refused => f.write_str("a rule of its schema refused the change"),
            StoreError::Database(error) => error.fmt(f),
            StoreError::Other { code } => write!(f, "SQLite result code {code}"),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<DatabaseError> for StoreError {
    fn from(error: DatabaseError) -> StoreError {
        match error {
            DatabaseError::Refused => StoreError::Refused,
            other => StoreError::Database(other),
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        match error.sqlite_error_code() {
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => StoreError::CannotOpen,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Damaged,
            Some(ErrorCode::ReadOnly) => StoreError::ReadOnly,
            Some(ErrorCode::DiskFull) => StoreError::Full,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy,
            Some(ErrorCode::SystemIoFailure) => StoreError::Disk,
            Some(ErrorCode::ConstraintViolation) => StoreError::Refused,
            _ => StoreError::Other {
                code: error.sqlite_error().map_or(-1, |error| error.extended_code),
            },
        }
    }
}
