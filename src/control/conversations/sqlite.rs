//! The journal in an SQLite file: for the processes of one host.
//!
//! In:       rows, questions.
//! Out:      rows, [`StoreError`]s.
//! Bounds:   [`BUSY_TIMEOUT`] for another process's transaction, [`JOURNAL_FILE_BYTES_MAX`].
//! Not here: what a row means (`shelf`), which processes live (`alive`).
//!
//! `synchronous=NORMAL` in WAL mode: a commit is in the kernel when it returns, so it outlives the
//! process, killed or not; a power cut takes what was committed since the last checkpoint, and
//! never leaves the file torn. The calls of a host without power are gone anyway.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::alive::Lives;
use super::shelf::{Found, Mark, Row};
use crate::call::CallId;
use crate::config::Secret;
use crate::control::appointments::{Open, StoreError};
use crate::control::sqlite::{Kind, empty_log};
use crate::limits::JOURNAL_FILE_BYTES_MAX;
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

/// Not where another process has claimed the row.
const WRITE: &str = "
INSERT INTO conversations
    (conversation, call_name, holder, mark, written_at, kept_until, ends_at, body)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
ON CONFLICT (conversation) DO UPDATE SET
    call_name = excluded.call_name, mark = excluded.mark, written_at = excluded.written_at,
    kept_until = excluded.kept_until, ends_at = excluded.ends_at, body = excluded.body
WHERE conversations.holder = excluded.holder";

/// See the module.
#[derive(Debug)]
pub(super) struct Sqlite {
    connection: Connection,
    lives: Lives,
}

/// A row as it was found.
struct Standing {
    conversation: String,
    call_name: Option<String>,
    holder: String,
    mark: String,
    ends_unix: i64,
    body: String,
}

/// Whether the file, which is there, can be the journal. Only looked at, it stays as it is.
pub(super) fn try_open(path: &Path) -> Result<(), StoreError> {
    JOURNAL.open(path, Open::ReadOnly).map(drop)
}

impl Sqlite {
    /// Opens the file, or makes it.
    pub(super) fn open(path: &Path) -> Result<Sqlite, StoreError> {
        let connection = JOURNAL.open(path, Open::OrCreate)?;
        let page: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        let pages = JOURNAL_FILE_BYTES_MAX as i64 / page.max(1);
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
        let lives = Lives::begin(path).map_err(|_| StoreError::CannotOpen)?;
        Ok(Sqlite { connection, lives })
    }

    pub(super) fn write(&mut self, now_unix: u64, rows: &[&Row]) -> Result<Vec<bool>, StoreError> {
        let behavior = TransactionBehavior::Immediate;
        let transaction = self.connection.transaction_with_behavior(behavior)?;
        let mut written = Vec::with_capacity(rows.len());
        {
            let mut write = transaction.prepare(WRITE)?;
            for row in rows {
                let changed = write.execute(params![
                    row.conversation.to_string(),
                    row.call_name,
                    self.lives.name(),
                    row.mark.word(),
                    now_unix as i64,
                    row.kept_until_unix as i64,
                    row.ends_unix as i64,
                    row.body.reveal(),
                ])?;
                written.push(changed == 1);
            }
        }
        transaction.commit()?;
        Ok(written)
    }

    pub(super) fn look(&mut self, whose: &Whose, now_unix: u64) -> Result<Found, StoreError> {
        let Some(standing) = find(&self.connection, whose, now_unix)? else {
            return Ok(Found::Nothing);
        };
        Ok(standing.refused(&self.lives).unwrap_or(Found::Waits))
    }

    pub(super) fn claim(&mut self, whose: &Whose, now_unix: u64) -> Result<Found, StoreError> {
        // Locks before it looks: what it sees is what it changes.
        let behavior = TransactionBehavior::Immediate;
        let transaction = self.connection.transaction_with_behavior(behavior)?;
        let Some(standing) = find(&transaction, whose, now_unix)? else {
            return Ok(Found::Nothing);
        };
        if let Some(refused) = standing.refused(&self.lives) {
            return Ok(refused);
        }
        let Ok(conversation) = u64::from_str_radix(&standing.conversation, 16).map(CallId) else {
            return Ok(Found::Nothing);
        };
        transaction.execute(
            "UPDATE conversations SET holder = ?2, mark = 'open', written_at = ?3 \
             WHERE conversation = ?1",
            params![standing.conversation, self.lives.name(), now_unix as i64],
        )?;
        transaction.commit()?;
        let Standing { call_name, ends_unix, body, .. } = standing;
        let ends_unix = u64::try_from(ends_unix).unwrap_or(0);
        Ok(Found::Kept { conversation, call_name, ends_unix, body: Secret::new(body) })
    }

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

impl Standing {
    /// Why it cannot be claimed, if it cannot.
    fn refused(&self, lives: &Lives) -> Option<Found> {
        match Mark::of(&self.mark) {
            // Of a later version.
            None => Some(Found::Nothing),
            Some(Mark::Closed) => Some(Found::Over { body: self.body.clone() }),
            Some(Mark::Open) if self.holder != lives.name() && lives.has(&self.holder) => {
                Some(Found::Held)
            }
            Some(Mark::Open | Mark::Parted) => None,
        }
    }
}

fn find(
    connection: &Connection,
    whose: &Whose,
    now_unix: u64,
) -> Result<Option<Standing>, StoreError> {
    let (column, name) = match whose {
        Whose::Call(name) => ("call_name", name.clone()),
        Whose::Conversation(id) => ("conversation", id.to_string()),
    };
    let query = format!(
        "SELECT conversation, call_name, holder, mark, ends_at, body FROM conversations \
         WHERE {column} = ?1 AND kept_until >= ?2 ORDER BY written_at DESC, rowid DESC LIMIT 1"
    );
    let found = connection.prepare(&query)?.query_row(params![name, now_unix as i64], |row| {
        Ok(Standing {
            conversation: row.get(0)?,
            call_name: row.get(1)?,
            holder: row.get(2)?,
            mark: row.get(3)?,
            ends_unix: row.get(4)?,
            body: row.get(5)?,
        })
    });
    Ok(found.optional()?)
}

#[cfg(test)]
mod tests {
    use super::*;

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
            mark,
            kept_until_unix: NOW + 60,
            ends_unix: NOW + 600,
            body: Secret::new(body.to_owned()),
        }
    }

    fn call(id: u64) -> Whose {
        Whose::Call(format!("CA{id}"))
    }

    fn kept(id: u64, body: &str) -> Found {
        Found::Kept {
            conversation: CallId(id),
            call_name: Some(format!("CA{id}")),
            ends_unix: NOW + 600,
            body: Secret::new(body.to_owned()),
        }
    }

    #[test]
    fn what_a_process_wrote_before_it_was_gone_is_claimed_by_one_other() {
        let path = path("one.db");
        let mut first = Sqlite::open(&path).unwrap();
        let rows = [row(1, Mark::Open, "a"), row(1, Mark::Open, "b")];
        assert_eq!(first.write(NOW, &[&rows[0], &rows[1]]), Ok(vec![true, true]));
        let mut second = Sqlite::open(&path).unwrap();
        assert_eq!(second.look(&call(1), NOW), Ok(Found::Held));
        assert_eq!(second.claim(&call(1), NOW), Ok(Found::Held), "its holder lives");
        drop(first);
        let mut third = Sqlite::open(&path).unwrap();
        assert_eq!(second.look(&call(1), NOW), Ok(Found::Waits));
        assert_eq!(second.claim(&Whose::Conversation(CallId(1)), NOW), Ok(kept(1, "b")));
        assert_eq!(third.claim(&call(1), NOW), Ok(Found::Held));
        assert_eq!(second.look(&call(2), NOW), Ok(Found::Nothing));
    }

    #[test]
    fn of_processes_that_ask_at_once_one_goes_on() {
        let path = path("race.db");
        let mut first = Sqlite::open(&path).unwrap();
        let rows: Vec<Row> = (0..20).map(|id| row(id, Mark::Parted, "a")).collect();
        first.write(NOW, &rows.iter().collect::<Vec<_>>()).unwrap();
        let askers: Vec<_> = (0..3)
            .map(|_| {
                let mut shelf = Sqlite::open(&path).unwrap();
                std::thread::spawn(move || {
                    let claims = (0..20).filter(|&id| {
                        matches!(shelf.claim(&call(id), NOW), Ok(Found::Kept { .. }))
                    });
                    (claims.count(), shelf)
                })
            })
            .collect();
        // Each lives until all have asked.
        let done: Vec<_> = askers.into_iter().map(|asker| asker.join().unwrap()).collect();
        assert_eq!(done.iter().map(|(claims, _)| claims).sum::<usize>(), 20);
    }

    #[test]
    fn whose_conversation_was_claimed_cannot_write_it_any_more() {
        let path = path("fence.db");
        let mut first = Sqlite::open(&path).unwrap();
        first.write(NOW, &[&row(1, Mark::Parted, "a")]).unwrap();
        let mut second = Sqlite::open(&path).unwrap();
        assert_eq!(second.claim(&call(1), NOW), Ok(kept(1, "a")));
        let rows = [row(1, Mark::Open, "late"), row(2, Mark::Open, "b")];
        assert_eq!(first.write(NOW, &[&rows[0], &rows[1]]), Ok(vec![false, true]));
        drop(second);
        assert_eq!(first.claim(&call(1), NOW), Ok(kept(1, "a")));
    }

    #[test]
    fn what_was_ended_is_not_gone_on_with_and_what_is_old_is_forgotten() {
        let mut shelf = Sqlite::open(&path("ended.db")).unwrap();
        let later = Row { kept_until_unix: NOW + 90, ..row(2, Mark::Closed, "\"hangup\"") };
        shelf.write(NOW, &[&row(1, Mark::Open, "a"), &later]).unwrap();
        let over = Ok(Found::Over { body: "\"hangup\"".to_owned() });
        assert_eq!(shelf.claim(&call(2), NOW + 90), over);
        assert_eq!(shelf.claim(&call(1), NOW + 61), Ok(Found::Nothing), "its time is over");
        assert_eq!(shelf.purge(NOW + 60), Ok(0));
        assert_eq!(shelf.purge(NOW + 61), Ok(1));
        assert_eq!(shelf.look(&call(2), NOW + 61), over);
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
        assert_eq!(shelf.look(&Whose::Call("CA3".to_owned()), NOW + 61), Ok(Found::Waits));
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
    fn a_newer_conversation_of_a_call_goes_before_an_older_one() {
        let mut shelf = Sqlite::open(&path("newer.db")).unwrap();
        let same =
            |id, body| Row { call_name: Some("CA1".to_owned()), ..row(id, Mark::Open, body) };
        shelf.write(NOW, &[&same(1, "old")]).unwrap();
        shelf.write(NOW + 1, &[&same(2, "new")]).unwrap();
        match shelf.claim(&call(1), NOW + 1) {
            Ok(Found::Kept { body, .. }) => assert_eq!(body.reveal(), "new"),
            other => panic!("{other:?}"),
        }
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
        Connection::open(&later).unwrap().pragma_update(None, "user_version", 2).unwrap();
        let refused = Sqlite::open(&later).unwrap_err();
        assert_eq!(refused, StoreError::TooNew { found: 2, known: 1 });
        let foreign = path("foreign.db");
        Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
        assert_eq!(Sqlite::open(&foreign).unwrap_err(), StoreError::NotOurs);
        let garbage = path("garbage.db");
        std::fs::write(&garbage, vec![0x5A; 8192]).unwrap();
        assert_eq!(Sqlite::open(&garbage).unwrap_err(), StoreError::Damaged);
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
