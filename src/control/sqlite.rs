//! Opening an SQLite file of ours: for its owner alone, with readers beside a writer, its schema
//! brought forward.
//!
//! In:       a path; what the file is, and how its schema came to be.
//! Out:      a connection, or a [`StoreError`] that says what is wrong with the file.
//! Bounds:   [`Kind::busy_timeout`] for another process's transaction.
//! Not here: what stands in the file (`appointments::store`, `conversations::sqlite`).
//!
//! The schema's version is `user_version`, and goes forward only: what a version adds, an older
//! program that runs beside it does not name and does not miss. Newer ones are refused at the
//! start.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::store::{Open, StoreError};

/// Pause before the journal's mode is tried again: SQLite does not wait for that lock by itself.
const MODE_RETRY: Duration = Duration::from_millis(20);

/// A kind of file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    /// Tells it from files of other programs, and of another kind.
    pub(super) application_id: i32,
    /// What brings the schema from each version to the next, from nothing on.
    pub(super) versions: &'static [&'static str],
    /// How long another process's transaction is waited for. Then [`StoreError::Busy`].
    pub(super) busy_timeout: Duration,
    /// `FULL`: a commit is on the disk when it returns. `NORMAL`: it outlives the process at once,
    /// and a power cut after the next checkpoint.
    pub(super) synchronous: &'static str,
}

impl Kind {
    fn version(&self) -> i32 {
        self.versions.len() as i32
    }

    /// Opens the file, checks whose it is, and brings its schema forward; only to be read, it stays
    /// as it is.
    pub(super) fn open(&self, path: &Path, open: Open) -> Result<Connection, StoreError> {
        if open == Open::ReadOnly {
            return self.open_to_read(path);
        }
        let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        if open == Open::OrCreate {
            make(path)?;
            flags |= OpenFlags::SQLITE_OPEN_CREATE;
        }
        let mut connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(self.busy_timeout)?;
        // SQLite falls back to reading only by itself.
        if connection.is_readonly("main")? {
            return Err(StoreError::ReadOnly);
        }
        self.check_owner(&connection)?;
        self.write_ahead(&connection)?;
        connection.pragma_update(None, "synchronous", self.synchronous)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        // What is forgotten is overwritten, too.
        connection.pragma_update(None, "secure_delete", true)?;
        self.bring_forward(&mut connection)?;
        Ok(connection)
    }

    fn open_to_read(&self, path: &Path) -> Result<Connection, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(self.busy_timeout)?;
        self.check_owner(&connection)?;
        Ok(connection)
    }

    /// Whether the file is new, or ours and not too new.
    fn check_owner(&self, connection: &Connection) -> Result<(), StoreError> {
        let value = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
        let (owner, found) = (value("application_id")?, value("user_version")?);
        let tables: i64 =
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        let known = self.version();
        match (owner, tables) {
            (0, 0) if found == 0 => Ok(()),
            (owner, _) if owner != self.application_id => Err(StoreError::NotOurs),
            _ if found > known => Err(StoreError::TooNew { found, known }),
            _ => Ok(()),
        }
    }

    /// Readers beside a writer, and a commit that is one write and one sync.
    fn write_ahead(&self, connection: &Connection) -> Result<(), StoreError> {
        let tries = self.busy_timeout.as_millis() / MODE_RETRY.as_millis();
        for _ in 0..tries {
            let mode = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| {
                row.get::<_, String>(0)
            });
            match mode.map_err(StoreError::from) {
                Ok(mode) if mode == "wal" => return Ok(()),
                // A file system without shared memory, such as a network's.
                Ok(_) => return Err(StoreError::Disk),
                Err(StoreError::Busy) => thread::sleep(MODE_RETRY),
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::Busy)
    }

    fn bring_forward(&self, connection: &mut Connection) -> Result<(), StoreError> {
        let known = self.version();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Another process may have been faster.
        let found: i32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if found == known {
            return Ok(());
        }
        let Some(steps) = usize::try_from(found).ok().and_then(|at| self.versions.get(at..)) else {
            return Err(StoreError::TooNew { found, known });
        };
        for step in steps {
            transaction.execute_batch(step)?;
        }
        transaction.pragma_update(None, "user_version", known)?;
        transaction.pragma_update(None, "application_id", self.application_id)?;
        Ok(transaction.commit()?)
    }
}

/// Brings what was committed into the file itself and empties the log beside it, in which
/// everything stands that was deleted or overwritten meanwhile. Returns whether it did: another
/// process's transaction, beyond [`Kind::busy_timeout`], puts it off.
pub(super) fn empty_log(connection: &Connection) -> Result<bool, StoreError> {
    let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
    let is_put_off: bool = connection.query_row(checkpoint, [], |row| row.get(0))?;
    Ok(!is_put_off)
}

/// Makes the file where there is none, for its owner alone. One that is there stays as it is.
fn make(path: &Path) -> Result<(), StoreError> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            Err(StoreError::ReadOnly)
        }
        Err(error) if error.kind() == io::ErrorKind::StorageFull => Err(StoreError::Full),
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(StoreError::CannotOpen),
        Ok(_) | Err(_) => Ok(()),
    }
}
