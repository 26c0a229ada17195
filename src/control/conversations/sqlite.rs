//! The journal in an SQLite file: for the processes of one host.
//!
//! In:       rows, questions.
//! Out:      rows, [`StoreError`]s.
//! Bounds:   [`BUSY_TIMEOUT`] for another process's transaction, [`JOURNAL_FILE_BYTES_MAX`].
//! Not here: what a row means, who may claim it (`shelf`), which processes live (`alive`).
//!
//! `synchronous=NORMAL` in WAL mode: a commit is in the kernel when it returns, so it outlives the
//! process, killed or not; a power cut takes what was committed since the last checkpoint, and
//! never leaves the file torn. The calls of a host without power are gone anyway.
//!
//! The column `generation` came later and counts as no version: a program that does not know it
//! opens the file all the same, so that an older release can be started again.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, named_params, params};

use super::alive::Lives;
use super::shelf::{Holder, Row, StoredRow};
use crate::config::Secret;
use crate::control::sqlite::{Kind, empty_log};
use crate::control::store::{Open, StoreError};
use crate::limits::{JOURNAL_FILE_BYTES_MAX, LEGACY_KEPT};
use crate::mail::Whose;

/// How long another process's transaction is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_millis(500);
/// Rows thrown away by one statement.
const PURGE_MAX: usize = 4_096;

/// "VocJ" tells our journals from other files.
const JOURNAL: Kind = Kind {
    application_id: 0x566F_634A,
    versions: &[SCHEMA_1],
    busy_timeout: BUSY_TIMEOUT,
    synchronous: "NORMAL",
};

/// From nothing to version 1.
const SCHEMA_1: &str = "
CREATE TABLE conversations (
    conversation TEXT PRIMARY KEY,
    call_name TEXT,
    holder TEXT NOT NULL,
    mark TEXT NOT NULL,
    written_at INTEGER NOT NULL,
    kept_until INTEGER NOT NULL,
    ends_at INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE INDEX conversations_by_call ON conversations (call_name, written_at);
CREATE INDEX conversations_by_age ON conversations (kept_until);
";

/// How often the table has the column that [`ADD_GENERATION`] adds.
const GENERATION_COLUMNS: &str =
    "SELECT count(*) FROM pragma_table_info('conversations') WHERE name = 'generation'";

/// What an older program writes beside us is of no generation, and is its holder's alone.
const ADD_GENERATION: &str =
    "ALTER TABLE conversations ADD COLUMN generation INTEGER NOT NULL DEFAULT 0";

/// States come in their order, for one connection writes them all: their numbers are not kept.
const WRITE: &str = "
INSERT INTO conversations
    (conversation, call_name, holder, generation, mark, written_at, kept_until, ends_at, body)
VALUES (:conversation, :call_name, :us, :generation, :mark, :now, :kept_until, :ends_at, :body)
ON CONFLICT (conversation) DO UPDATE SET
    call_name = excluded.call_name, holder = excluded.holder, generation = excluded.generation,
    mark = excluded.mark, written_at = excluded.written_at, kept_until = excluded.kept_until,
    ends_at = excluded.ends_at, body = excluded.body
WHERE conversations.generation < excluded.generation
    OR (conversations.generation = excluded.generation
        AND conversations.holder = excluded.holder)";

/// Only if it is still as it was found.
const TAKE: &str = "
UPDATE conversations SET holder = :us, generation = generation + 1, mark = 'open',
    written_at = :now, kept_until = max(kept_until, :now + :kept)
WHERE conversation = :conversation AND holder = :holder AND generation = :generation
    AND mark = :mark
RETURNING body";

/// See the module.
#[derive(Debug)]
pub struct Sqlite {
    connection: Connection,
    lives: Lives,
}

/// Whether the file, which is there, can be the journal. Only looked at, it stays as it is.
pub(super) fn try_open(path: &Path) -> Result<(), StoreError> {
    JOURNAL.open(path, Open::ReadOnly).map(drop)
}

/// Adds the column where there is none; of several programs that open the file at once, one does.
fn add_generation(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let columns: i64 = transaction.query_row(GENERATION_COLUMNS, [], |row| row.get(0))?;
    if columns == 0 {
        transaction.execute_batch(ADD_GENERATION)?;
    }
    Ok(transaction.commit()?)
}

impl Sqlite {
    /// See [`super::shelf::Shelf::open`].
    pub(super) fn open(path: &Path) -> Result<Sqlite, StoreError> {
        let mut connection = JOURNAL.open(path, Open::OrCreate)?;
        add_generation(&mut connection)?;
        let page: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        let pages = JOURNAL_FILE_BYTES_MAX as i64 / page.max(1);
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
        let lives = Lives::begin(path).map_err(|_| StoreError::CannotOpen)?;
        Ok(Sqlite { connection, lives })
    }

    /// See [`super::shelf::Shelf::write`].
    pub(super) fn write(&mut self, now_unix: u64, rows: &[&Row]) -> Result<Vec<bool>, StoreError> {
        let behavior = TransactionBehavior::Immediate;
        let transaction = self.connection.transaction_with_behavior(behavior)?;
        let mut written = Vec::with_capacity(rows.len());
        {
            let mut write = transaction.prepare(WRITE)?;
            for row in rows {
                let changed = write.execute(named_params! {
                    ":conversation": row.conversation.to_string(),
                    ":call_name": row.call_name,
                    ":us": self.lives.name(),
                    ":generation": row.generation,
                    ":mark": row.mark.word(),
                    ":now": now_unix as i64,
                    ":kept_until": row.kept_until_unix as i64,
                    ":ends_at": row.ends_unix as i64,
                    ":body": row.body.reveal(),
                })?;
                written.push(changed == 1);
            }
        }
        transaction.commit()?;
        Ok(written)
    }

    /// See [`super::shelf::Shelf::look`].
    pub(super) fn find(
        &mut self,
        whose: &Whose,
        now_unix: u64,
    ) -> Result<Option<StoredRow>, StoreError> {
        let (column, name) = match whose {
            Whose::Call(name) => ("call_name", name.clone()),
            Whose::Conversation(id) => ("conversation", id.to_string()),
        };
        let query = format!(
            "SELECT conversation, call_name, holder, generation, mark, ends_at, \
             CASE mark WHEN 'closed' THEN body END FROM conversations \
             WHERE {column} = ?1 AND kept_until >= ?2 ORDER BY written_at DESC, rowid DESC LIMIT 1"
        );
        let mut query = self.connection.prepare(&query)?;
        let found = query.query_row(params![name, now_unix as i64], |row| {
            let holder: String = row.get(2)?;
            let lives = match holder == self.lives.name() {
                true => Holder::Us,
                false if self.lives.has(&holder) => Holder::Lives,
                false => Holder::Gone,
            };
            let ends_unix = u64::try_from(row.get::<_, i64>(5)?).unwrap_or(0);
            Ok(StoredRow {
                conversation: row.get(0)?,
                call_name: row.get(1)?,
                holder,
                lives,
                generation: u32::try_from(row.get::<_, i64>(3)?).unwrap_or(u32::MAX),
                mark: row.get(4)?,
                left: Duration::from_secs(ends_unix.saturating_sub(now_unix)),
                sequel: row.get(6)?,
            })
        });
        Ok(found.optional()?)
    }

    /// See [`super::shelf::Shelf::claim`].
    pub(super) fn take(
        &mut self,
        found: &StoredRow,
        now_unix: u64,
    ) -> Result<Option<Secret>, StoreError> {
        let mut take = self.connection.prepare(TAKE)?;
        let values = named_params! {
            ":us": self.lives.name(),
            ":now": now_unix as i64,
            ":kept": LEGACY_KEPT.as_secs() as i64,
            ":conversation": found.conversation,
            ":holder": found.holder,
            ":generation": found.generation,
            ":mark": found.mark,
        };
        let mut taken = take.query(values)?;
        let body = taken.next()?.map(|row| row.get(0)).transpose()?;
        // The change is made once all of it was asked for.
        while taken.next()?.is_some() {}
        Ok(body.map(Secret::new))
    }

    /// See [`super::shelf::Shelf::purge`].
    pub(super) fn purge(&mut self, now_unix: u64) -> Result<usize, StoreError> {
        let purged = self.connection.execute(
            "DELETE FROM conversations WHERE rowid IN \
             (SELECT rowid FROM conversations WHERE kept_until < ?1 LIMIT ?2)",
            params![now_unix as i64, PURGE_MAX as i64],
        )?;
        // Put off, it is done with the next purge.
        empty_log(&self.connection)?;
        Ok(purged)
    }
}

#[cfg(test)]
mod tests {
    use super::super::shelf::Mark;
    use super::*;
    use crate::call::CallId;

    const NOW: u64 = 1_000_000;

    fn path(name: &str) -> std::path::PathBuf {
        let path =
            std::env::temp_dir().join(format!("vocaris-journal-{}-{name}", std::process::id()));
        for end in ["", "-wal", "-shm"] {
            let _ =
                std::fs::remove_file(path.with_file_name(format!(
                    "{}{end}",
                    path.file_name().unwrap().to_str().unwrap()
                )));
        }
        path
    }

    fn row(id: u64, mark: Mark, body: &str) -> Row {
        Row {
            conversation: CallId(id),
            call_name: Some(format!("CA{id}")),
            generation: 0,
            state: 1,
            mark,
            kept_until_unix: NOW + 60,
            ends_unix: NOW + 600,
            body: Secret::new(body.to_owned()),
        }
    }

    /// Whether a word stands anywhere in the files of a journal.
    fn is_in_files(path: &Path, word: &str) -> bool {
        let name = path.file_name().unwrap().to_str().unwrap();
        ["", "-wal", "-shm"].iter().any(|end| {
            let bytes = std::fs::read(path.with_file_name(format!("{name}{end}")));
            let bytes = bytes.unwrap_or_default();
            bytes.windows(word.len()).any(|window| window == word.as_bytes())
        })
    }

    #[test]
    fn what_was_forgotten_or_overwritten_stands_in_no_file_any_more() {
        let path = path("words.db");
        let mut shelf = Sqlite::open(&path).unwrap();
        // One that fills pages of its own, and one that shares a page.
        let long = "my-password-is-rosebud ".repeat(2_000);
        let short = "short-of-breath";
        shelf.write(NOW, &[&row(1, Mark::Parted, &long), &row(2, Mark::Open, short)]).unwrap();
        shelf.write(NOW, &[&row(2, Mark::Open, "an-earlier-word")]).unwrap();
        let kept = Row { kept_until_unix: NOW + 600, ..row(3, Mark::Open, "still-going-on") };
        shelf.write(NOW, &[&kept, &row(2, Mark::Open, "the-last-word")]).unwrap();
        let all = ["rosebud", short, "an-earlier-word", "the-last-word", "still-going-on"];
        for word in all {
            assert!(is_in_files(&path, word), "{word}: in the log at least");
        }
        assert_eq!(shelf.purge(NOW), Ok(0));
        let standing = all.map(|word| is_in_files(&path, word));
        assert_eq!(standing, [true, false, false, true, true], "overwritten is gone already");
        assert_eq!(shelf.purge(NOW + 61), Ok(2));
        let standing = all.map(|word| is_in_files(&path, word));
        assert_eq!(standing, [false, false, false, false, true]);
        let whose = Whose::Call("CA3".to_owned());
        assert!(shelf.find(&whose, NOW + 61).unwrap().is_some());
    }

    #[test]
    fn a_reader_puts_the_emptying_of_the_log_off_and_no_longer_than_it_reads() {
        let path = path("reader.db");
        let mut shelf = Sqlite::open(&path).unwrap();
        shelf.write(NOW, &[&row(1, Mark::Parted, "rosebud")]).unwrap();
        let reader = Connection::open(&path).unwrap();
        reader.execute_batch("BEGIN; SELECT count(*) FROM conversations").unwrap();
        assert_eq!(shelf.purge(NOW + 61), Ok(1), "it is deleted all the same");
        assert!(is_in_files(&path, "rosebud"));
        drop(reader);
        assert_eq!(shelf.purge(NOW + 61), Ok(0));
        assert!(!is_in_files(&path, "rosebud"));
    }

    #[test]
    fn a_full_or_read_only_file_takes_nothing_says_so_and_takes_more_when_it_can() {
        let mut shelf = Sqlite::open(&path("full.db")).unwrap();
        shelf.connection.pragma_update_and_check(None, "max_page_count", 1, |_| Ok(())).unwrap();
        let long = row(1, Mark::Open, &"x".repeat(100_000));
        assert_eq!(shelf.write(NOW, &[&long]), Err(StoreError::Full));
        shelf.connection.pragma_update_and_check(None, "max_page_count", 999, |_| Ok(())).unwrap();
        assert_eq!(shelf.write(NOW, &[&long]), Ok(vec![true]));
        shelf.connection.pragma_update(None, "query_only", true).unwrap();
        assert_eq!(shelf.write(NOW, &[&long]), Err(StoreError::ReadOnly));
    }

    #[test]
    fn a_file_of_a_later_version_or_of_another_program_is_left_alone() {
        let later = path("later.db");
        drop(Sqlite::open(&later).unwrap());
        Connection::open(&later).unwrap().pragma_update(None, "user_version", 3).unwrap();
        let refused = Sqlite::open(&later).unwrap_err();
        assert_eq!(refused, StoreError::TooNew { found: 3, known: 1 });
        let foreign = path("foreign.db");
        Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
        assert_eq!(Sqlite::open(&foreign).unwrap_err(), StoreError::NotOurs);
        let garbage = path("garbage.db");
        std::fs::write(&garbage, vec![0x5A; 8192]).unwrap();
        assert_eq!(Sqlite::open(&garbage).unwrap_err(), StoreError::Damaged);
    }

    #[test]
    fn a_file_of_an_older_program_gets_its_column_beside_it_and_the_older_one_can_open_it_again() {
        let path = path("older.db");
        // It makes the file, and knows nothing of the column.
        let open_older = || JOURNAL.open(&path, Open::OrCreate).unwrap();
        let older = open_older();
        let write = |body: &str| {
            let sql = "INSERT INTO conversations (conversation, call_name, holder, mark, \
                       written_at, kept_until, ends_at, body) \
                       VALUES ('0000000000000001', 'CA1', 'x', 'parted', ?1, ?1 + 60, ?1 + 60, ?2) \
                       ON CONFLICT (conversation) DO UPDATE SET body = excluded.body \
                       WHERE conversations.holder = excluded.holder";
            older.execute(sql, params![NOW as i64, body]).unwrap()
        };
        assert_eq!(write("a"), 1);
        let mut newer = Sqlite::open(&path).unwrap();
        assert_eq!(write("b"), 1);
        let found = newer.find(&Whose::Conversation(CallId(1)), NOW).unwrap().unwrap();
        assert_eq!((found.generation, found.lives), (0, Holder::Gone));
        assert_eq!(newer.take(&found, NOW).unwrap().unwrap().reveal(), "b");
        assert_eq!(newer.take(&found, NOW), Ok(None), "it is no longer as it was found");
        assert_eq!(write("late"), 0);
        drop(newer);
        // Back to the older release, and to the newer one once more.
        let sql = "UPDATE conversations SET body = 'c'";
        assert_eq!(open_older().execute(sql, []), Ok(1));
        let mut newer = Sqlite::open(&path).unwrap();
        let found = newer.find(&Whose::Conversation(CallId(1)), NOW).unwrap().unwrap();
        assert_eq!(found.generation, 1, "what it had stands");
        assert_eq!(newer.take(&found, NOW).unwrap().unwrap().reveal(), "c");
    }

    #[test]
    fn only_its_owner_may_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let path = path("mode.db");
        let mut shelf = Sqlite::open(&path).unwrap();
        shelf.write(NOW, &[&row(1, Mark::Open, "a")]).unwrap();
        for end in ["", "-wal", "-shm"] {
            let name = format!("{}{end}", path.file_name().unwrap().to_str().unwrap());
            let mode = std::fs::metadata(path.with_file_name(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{end}");
        }
    }
}
