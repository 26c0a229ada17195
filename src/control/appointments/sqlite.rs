//! The book on disk: an SQLite file in which double booking is impossible.
//!
//! In:       bookings, moves, cancellations, each in one transaction.
//! Out:      rows, and [`StoreError`]s.
//! Bounds:   [`BUSY_TIMEOUT`] for another process's transaction; rows by limits of the queries.
//! Not here: what is possible (`hours`), what callers are told (`answers`), bookings whose service
//!           has changed its resource (`homes`).
//!
//! What a confirmed booking takes stands in `occupied`: one row a cell of five minutes and seat,
//! unique. Triggers write and clear those rows with the booking, and refuse the booking where a
//! cell has no seat left: so no statement that adds or moves a booking can make two where there is
//! room for one, whoever sends it. A commit returns once the disk has it (`synchronous=FULL`).
//!
//! The file holds names and numbers: who makes it lets its owner alone read it. Its `-wal` and
//! `-shm` get the same mode, by SQLite.
//!
//! The schema's version is `user_version`; newer ones are refused, older ones brought forward.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};

use super::store::{
    BEHIND_MAX_SECONDS, Booking, Coming, Forgotten, NewBooking, Place, Shown, Status,
};
use crate::control::sqlite::Kind;
use crate::control::store::{Open, StoreError};

/// How long another process's transaction is waited for. Then [`StoreError::Busy`].
const BUSY_TIMEOUT: Duration = Duration::from_secs(3);
/// "Voca" tells our books from other files. A confirmed booking is on the disk.
const BOOK: Kind = Kind {
    application_id: 0x566F_6361,
    versions: &[SCHEMA_1],
    busy_timeout: BUSY_TIMEOUT,
    synchronous: "FULL",
};
/// From nothing to version 1. A booking of 12 hours with buffers of 12 hours takes 432 cells.
const SCHEMA_1: &str = "
CREATE TABLE bookings (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    uid TEXT NOT NULL UNIQUE,
    reference TEXT NOT NULL UNIQUE,
    service TEXT NOT NULL,
    resource TEXT NOT NULL,
    capacity INTEGER NOT NULL CHECK (capacity BETWEEN 1 AND 64),
    starts_at INTEGER NOT NULL,
    ends_at INTEGER NOT NULL CHECK (ends_at > starts_at),
    first_cell INTEGER NOT NULL CHECK (first_cell * 300 <= starts_at),
    end_cell INTEGER NOT NULL
        CHECK (end_cell * 300 >= ends_at AND end_cell - first_cell <= 434),
    name TEXT NOT NULL,
    note TEXT,
    number TEXT,
    call TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('confirmed', 'cancelled')),
    sequence INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;
CREATE INDEX bookings_by_number ON bookings (number, starts_at);
CREATE INDEX bookings_by_call ON bookings (call);
CREATE INDEX bookings_by_end ON bookings (ends_at);

CREATE TABLE occupied (
    resource TEXT NOT NULL,
    cell INTEGER NOT NULL,
    seat INTEGER NOT NULL,
    booking INTEGER NOT NULL REFERENCES bookings (id) ON DELETE CASCADE,
    PRIMARY KEY (resource, cell, seat)
) STRICT, WITHOUT ROWID;
CREATE INDEX occupied_by_booking ON occupied (booking);

CREATE TABLE numbers (n INTEGER PRIMARY KEY) STRICT;
WITH RECURSIVE count (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM count WHERE n < 511)
    INSERT INTO numbers SELECT n FROM count;

CREATE TRIGGER booked AFTER INSERT ON bookings WHEN NEW.status = 'confirmed' BEGIN
    UPDATE bookings SET status = status WHERE id = NEW.id;
END;
CREATE TRIGGER changed
AFTER UPDATE OF status, resource, capacity, first_cell, end_cell ON bookings BEGIN
    DELETE FROM occupied WHERE booking = OLD.id;
    INSERT INTO occupied
    SELECT NEW.resource, NEW.first_cell + cells.n, (
        SELECT min(seats.n) FROM numbers seats
        WHERE seats.n < NEW.capacity
        AND NEW.capacity > (
            SELECT count(*) FROM occupied
            WHERE resource = NEW.resource AND cell = NEW.first_cell + cells.n)
        AND NOT EXISTS (
            SELECT 1 FROM occupied
            WHERE resource = NEW.resource AND cell = NEW.first_cell + cells.n AND seat = seats.n)
    ), NEW.id
    FROM numbers cells
    WHERE NEW.status = 'confirmed' AND cells.n < NEW.end_cell - NEW.first_cell;
END;

CREATE TABLE answers (
    key TEXT PRIMARY KEY,
    answer TEXT NOT NULL,
    kept_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX answers_by_age ON answers (kept_at);
";

/// The columns of a [`Booking`], in the order of [`booking`].
const COLUMNS: &str = "id, uid, reference, service, starts_at, ends_at, name, note, number, call, \
                       status, sequence, created_at, changed_at";

fn booking(row: &Row<'_>) -> rusqlite::Result<Booking> {
    let status: String = row.get(10)?;
    Ok(Booking {
        id: row.get(0)?,
        uid: row.get(1)?,
        reference: row.get(2)?,
        service: row.get(3)?,
        start_unix: row.get(4)?,
        end_unix: row.get(5)?,
        name: row.get(6)?,
        note: row.get(7)?,
        number: row.get(8)?,
        call: row.get(9)?,
        status: if status == "confirmed" { Status::Confirmed } else { Status::Cancelled },
        sequence: row.get(11)?,
        created_unix: row.get(12)?,
        changed_unix: row.get(13)?,
    })
}

/// The open file.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
}

impl Store {
    /// See [`super::store::Store::open`].
    pub fn open(path: &Path, open: Open) -> Result<Store, StoreError> {
        let connection = BOOK.open(path, open)?;
        check_soundness(&connection)?;
        Ok(Store { connection })
    }

    /// Does `work` in one transaction: all of it is on disk when this returns, or none of it.
    ///
    /// # Errors
    /// Those of `work`, and of the commit.
    pub fn transact<T, E: From<StoreError>>(
        &mut self,
        work: impl FnOnce(&Ledger<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        // Locks before it looks: what it sees is what it changes.
        let behavior = TransactionBehavior::Immediate;
        let begun = self.connection.transaction_with_behavior(behavior);
        let transaction = begun.map_err(StoreError::from)?;
        let done = work(&Ledger(&transaction))?;
        transaction.commit().map_err(StoreError::from)?;
        Ok(done)
    }

    /// To look only.
    pub fn ledger(&self) -> Ledger<'_> {
        Ledger(&self.connection)
    }

    /// A number that changes when another connection has changed the file.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn foreign_changes(&self) -> Result<i64, StoreError> {
        Ok(self.connection.pragma_query_value(None, "data_version", |row| row.get(0))?)
    }

    #[cfg(test)]
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }
}

fn check_soundness(connection: &Connection) -> Result<(), StoreError> {
    let sound: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    (sound == "ok").then_some(()).ok_or(StoreError::Damaged)
}

/// The rows, inside a transaction or outside.
#[derive(Clone, Copy, Debug)]
pub struct Ledger<'c>(&'c Connection);

impl Ledger<'_> {
    /// See [`super::store::Ledger::book`].
    pub fn book(
        &self,
        now_unix: i64,
        uid: &str,
        reference: &str,
        new: &NewBooking<'_>,
    ) -> Result<Booking, StoreError> {
        let place = &new.place;
        self.0
            .prepare(
                "INSERT INTO bookings (uid, reference, service, resource, capacity, starts_at, \
                 ends_at, first_cell, end_cell, name, note, number, call, status, created_at, \
                 changed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'confirmed', ?14, ?14)",
            )?
            .execute(params![
                uid,
                reference,
                new.service,
                place.resource,
                place.capacity,
                place.start_unix,
                place.end_unix,
                place.cells.start,
                place.cells.end,
                new.name,
                new.note,
                new.number,
                new.call,
                now_unix,
            ])?;
        self.by_id(self.0.last_insert_rowid())
    }

    /// See [`super::store::Ledger::move_to`].
    pub fn move_to(
        &self,
        now_unix: i64,
        id: i64,
        place: &Place<'_>,
    ) -> Result<Booking, StoreError> {
        self.0
            .prepare(
                "UPDATE bookings SET resource = ?2, capacity = ?3, starts_at = ?4, ends_at = ?5, \
                 first_cell = ?6, end_cell = ?7, sequence = sequence + 1, changed_at = ?8 \
                 WHERE id = ?1 AND status = 'confirmed'",
            )?
            .execute(params![
                id,
                place.resource,
                place.capacity,
                place.start_unix,
                place.end_unix,
                place.cells.start,
                place.cells.end,
                now_unix,
            ])?;
        self.by_id(id)
    }

    /// See [`super::store::Ledger::cancel`].
    pub fn cancel(&self, now_unix: i64, id: i64) -> Result<Booking, StoreError> {
        self.0
            .prepare(
                "UPDATE bookings SET status = 'cancelled', sequence = sequence + 1, \
                 changed_at = ?2 WHERE id = ?1 AND status = 'confirmed'",
            )?
            .execute(params![id, now_unix])?;
        self.by_id(id)
    }

    /// See [`super::store::Ledger::occupied`].
    pub fn occupied(
        &self,
        resource: &str,
        window: &Range<i64>,
        but: Option<i64>,
    ) -> Result<Vec<u16>, StoreError> {
        let cells = usize::try_from(window.end - window.start).unwrap_or(0);
        let mut counts = vec![0; cells];
        let mut query = self.0.prepare(
            "SELECT cell, count(*) FROM occupied WHERE resource = ?1 AND cell >= ?2 AND cell < ?3 \
             AND booking <> ?4 GROUP BY cell",
        )?;
        let found = params![resource, window.start, window.end, but.unwrap_or(-1)];
        let mut rows = query.query(found)?;
        while let Some(row) = rows.next()? {
            let cell: i64 = row.get(0)?;
            counts[(cell - window.start) as usize] = row.get(1)?;
        }
        Ok(counts)
    }

    /// See [`super::store::Ledger::by_reference`].
    pub fn by_reference(&self, reference: &str) -> Result<Option<Booking>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM bookings WHERE reference = ?");
        Ok(self.0.prepare(&sql)?.query_row([reference], booking).optional()?)
    }

    fn by_id(&self, id: i64) -> Result<Booking, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM bookings WHERE id = ?");
        Ok(self.0.prepare(&sql)?.query_row([id], booking)?)
    }

    /// See [`super::store::Ledger::coming_of`].
    pub fn coming_of(
        &self,
        now_unix: i64,
        number: Option<&str>,
        call: &str,
        limit: u32,
    ) -> Result<Vec<Booking>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM bookings WHERE (number = ?1 OR call = ?2) AND starts_at > ?3 \
             AND status = 'confirmed' ORDER BY starts_at, id LIMIT ?4"
        );
        self.all(&sql, params![number, call, now_unix, limit])
    }

    /// See [`super::store::Ledger::within`].
    pub fn within(&self, begins: Range<i64>, limit: u32) -> Result<Vec<Booking>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM bookings WHERE starts_at >= ?1 AND starts_at < ?2 \
             ORDER BY starts_at DESC, id DESC LIMIT ?3"
        );
        let mut found = self.all(&sql, params![begins.start, begins.end, limit])?;
        found.reverse();
        Ok(found)
    }

    /// See [`super::store::Ledger::shown`].
    pub fn shown(&self, shown: &Shown, limit: u32) -> Result<Vec<Booking>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM bookings \
             WHERE starts_at >= ?1 AND (status = 'confirmed' OR changed_at >= ?2) \
             ORDER BY status = 'cancelled', starts_at < ?3, abs(starts_at - ?3), id LIMIT ?4"
        );
        let Shown { begins_from, cancelled_from, today } = *shown;
        let mut found = self.all(&sql, params![begins_from, cancelled_from, today, limit])?;
        found.sort_by_key(|one| (one.start_unix, one.id));
        Ok(found)
    }

    fn all(&self, sql: &str, arguments: impl rusqlite::Params) -> Result<Vec<Booking>, StoreError> {
        let mut query = self.0.prepare(sql)?;
        let rows = query.query_map(arguments, booking)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// See [`super::store::Ledger::first_answer`].
    pub fn first_answer(&self, key: &str) -> Result<Option<String>, StoreError> {
        let mut query = self.0.prepare("SELECT answer FROM answers WHERE key = ?")?;
        Ok(query.query_row([key], |row| row.get(0)).optional()?)
    }

    /// See [`super::store::Ledger::keep_answer`].
    pub fn keep_answer(&self, now_unix: i64, key: &str, answer: &str) -> Result<(), StoreError> {
        self.0
            .prepare("INSERT INTO answers (key, answer, kept_at) VALUES (?, ?, ?)")?
            .execute(params![key, answer, now_unix])?;
        Ok(())
    }

    /// See [`super::store::Ledger::forget`].
    pub fn forget(
        &self,
        answers_before: i64,
        ended_before: Option<i64>,
    ) -> Result<Forgotten, StoreError> {
        let answers = self.0.execute("DELETE FROM answers WHERE kept_at < ?", [answers_before])?;
        let bookings = match ended_before {
            Some(before) => self.0.execute("DELETE FROM bookings WHERE ends_at < ?", [before])?,
            None => 0,
        };
        Ok(Forgotten { answers, bookings })
    }

    /// See [`super::store::Ledger::coming`].
    pub fn coming(&self, now_unix: i64) -> Result<Vec<Coming>, StoreError> {
        let mut query = self.0.prepare(
            "SELECT id, reference, service, resource, starts_at, first_cell, end_cell \
             FROM bookings WHERE status = 'confirmed' AND end_cell * 300 > ? \
             ORDER BY starts_at, id",
        )?;
        let rows = query.query_map([now_unix], |row| {
            Ok(Coming {
                id: row.get(0)?,
                reference: row.get(1)?,
                service: row.get(2)?,
                resource: row.get(3)?,
                start_unix: row.get(4)?,
                cells: row.get(5)?..row.get(6)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// See [`super::store::Ledger::is_elsewhere`].
    pub fn is_elsewhere(
        &self,
        now_unix: i64,
        service: &str,
        resource: &str,
    ) -> Result<bool, StoreError> {
        let mut query = self.0.prepare(
            "SELECT 1 FROM bookings WHERE ends_at > ? AND end_cell * 300 > ? AND service = ? \
             AND resource <> ? AND status = 'confirmed' LIMIT 1",
        )?;
        Ok(query.exists(params![now_unix - BEHIND_MAX_SECONDS, now_unix, service, resource])?)
    }

    /// See [`super::store::Ledger::leave`].
    pub fn leave(&self, id: i64) -> Result<(), StoreError> {
        self.0.prepare("DELETE FROM occupied WHERE booking = ?")?.execute([id])?;
        Ok(())
    }

    /// See [`super::store::Ledger::arrive`]. A statement that fails is undone alone.
    pub fn arrive(&self, id: i64, resource: &str, capacity: u16) -> Result<(), StoreError> {
        self.0
            .prepare("UPDATE bookings SET resource = ?2, capacity = ?3 WHERE id = ?1")?
            .execute(params![id, resource, capacity])?;
        Ok(())
    }

    /// See [`super::store::Ledger::standing`].
    pub fn standing(
        &self,
        resource: &str,
        cells: &Range<i64>,
    ) -> Result<Option<String>, StoreError> {
        let mut query = self.0.prepare(
            "SELECT reference FROM occupied JOIN bookings ON id = booking \
             WHERE occupied.resource = ? AND cell >= ? AND cell < ? ORDER BY cell, seat LIMIT 1",
        )?;
        let found = params![resource, cells.start, cells.end];
        Ok(query.query_row(found, |row| row.get(0)).optional()?)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::store::Store as Book;
    use super::*;
    use crate::config::StoreUrl;

    fn open(path: &Path, open: Open) -> Result<Book, StoreError> {
        Book::open(&StoreUrl::Sqlite(path.to_owned()), open)
    }

    /// A file of this test's own.
    fn file(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("vocaris-store-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(name);
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(folder.join(format!("{name}{end}")));
        }
        path
    }

    fn place(first_cell: i64, cells: i64, capacity: u16) -> Place<'static> {
        let cells = first_cell..first_cell + cells;
        let (start_unix, end_unix) = (cells.start * 300, cells.end * 300);
        Place { resource: "", capacity, start_unix, end_unix, cells }
    }

    fn visit(place: Place<'_>) -> NewBooking<'_> {
        NewBooking { service: "Visit", place, name: "Ana", note: None, number: None, call: "c" }
    }

    fn book(store: &mut Book, place: Place<'_>) -> Result<Booking, StoreError> {
        store.transact(|ledger| ledger.book(0, &visit(place)))
    }

    #[test]
    fn the_schema_itself_refuses_a_visit_where_no_seat_is_left() {
        let mut store = open(&file("seats.db"), Open::OrCreate).unwrap();
        book(&mut store, place(100, 6, 2)).unwrap();
        book(&mut store, place(103, 6, 2)).unwrap();
        // Nobody looked before: the cells 103 to 105 are full.
        assert_eq!(book(&mut store, place(98, 6, 2)).unwrap_err(), StoreError::Refused);
        assert_eq!(book(&mut store, place(105, 1, 2)).unwrap_err(), StoreError::Refused);
        book(&mut store, place(106, 6, 2)).unwrap();
        book(&mut store, place(94, 9, 2)).unwrap();
        // A smaller capacity counts who is there, wherever they sit.
        assert_eq!(book(&mut store, place(94, 1, 1)).unwrap_err(), StoreError::Refused);
        let counts = store.ledger().occupied("", &(94..113), None).unwrap();
        assert_eq!(counts, [1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 0]);
    }

    #[test]
    fn a_statement_that_goes_around_us_cannot_book_twice_either() {
        let mut store = open(&file("around.db"), Open::OrCreate).unwrap();
        let first = book(&mut store, place(10, 6, 1)).unwrap();
        let second = book(&mut store, place(16, 6, 1)).unwrap();
        let raw = |sql: &str| store.connection().execute(sql, []).map_err(StoreError::from);
        let onto_it = "UPDATE bookings SET first_cell = 15, starts_at = 4500 WHERE id = 2";
        assert_eq!(raw(onto_it), Err(StoreError::Refused));
        let copy = "INSERT INTO bookings SELECT 9, 'u', 'r', service, resource, capacity, \
                    starts_at, ends_at, first_cell, end_cell, name, note, number, call, status, \
                    0, 0, 0 FROM bookings WHERE id = 1";
        assert_eq!(raw(copy), Err(StoreError::Refused));
        let steal = "INSERT INTO occupied VALUES ('', 10, 0, 2)";
        assert_eq!(raw(steal), Err(StoreError::Refused));
        let backwards = "UPDATE bookings SET ends_at = starts_at WHERE id = 1";
        assert_eq!(raw(backwards), Err(StoreError::Refused));
        let all = store.ledger().within(0..i64::MAX, 9).unwrap();
        assert_eq!(all, [first, second]);
        let counts = store.ledger().occupied("", &(9..23), None).unwrap();
        assert_eq!(counts, [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0]);
    }

    #[test]
    fn a_cancelled_visit_frees_its_time_and_a_moved_one_its_old_time() {
        let mut store = open(&file("free.db"), Open::OrCreate).unwrap();
        let first = book(&mut store, place(10, 6, 1)).unwrap();
        let moved = store.transact(|ledger| ledger.move_to(7, first.id, &place(12, 6, 1))).unwrap();
        assert_eq!((moved.sequence, moved.changed_unix, &moved.uid), (1, 7, &first.uid));
        book(&mut store, place(6, 6, 1)).unwrap();
        let cancelled = store.transact(|ledger| ledger.cancel(8, first.id)).unwrap();
        assert_eq!((cancelled.status, cancelled.sequence), (Status::Cancelled, 2));
        book(&mut store, place(12, 6, 1)).unwrap();
        let again = store.transact(|ledger| ledger.cancel(9, first.id)).unwrap();
        assert_eq!((again.sequence, again.changed_unix), (2, 8), "once is enough");
        let unmoved = store.transact(|ledger| ledger.move_to(9, first.id, &place(50, 1, 1)));
        assert_eq!(unmoved.unwrap(), cancelled);
    }

    #[test]
    fn what_a_failed_piece_of_work_had_done_is_undone() {
        let mut store = open(&file("undone.db"), Open::OrCreate).unwrap();
        let failed: Result<(), _> = store.transact(|ledger| {
            ledger.book(0, &visit(place(10, 6, 1)))?;
            ledger.keep_answer(0, "key", "{}")?;
            Err(StoreError::Disk)
        });
        assert_eq!(failed, Err(StoreError::Disk));
        assert_eq!(store.ledger().within(0..i64::MAX, 9).unwrap(), []);
        assert_eq!(store.ledger().first_answer("key").unwrap(), None);
        book(&mut store, place(10, 6, 1)).unwrap();
    }

    #[test]
    fn what_is_too_old_is_forgotten_and_nothing_else() {
        let mut store = open(&file("forget.db"), Open::OrCreate).unwrap();
        book(&mut store, place(10, 6, 1)).unwrap();
        let later = book(&mut store, place(20, 6, 1)).unwrap();
        store.transact(|ledger| ledger.keep_answer(5, "old", "{}")).unwrap();
        store.transact(|ledger| ledger.keep_answer(6, "new", "{}")).unwrap();
        let forgotten = |answers, bookings| Ok(Forgotten { answers, bookings });
        assert_eq!(store.ledger().forget(6, None), forgotten(1, 0));
        assert_eq!(store.ledger().forget(6, Some(20 * 300)), forgotten(0, 1));
        assert_eq!(store.ledger().within(0..i64::MAX, 9).unwrap(), [later]);
        assert_eq!(store.ledger().first_answer("old").unwrap(), None);
        assert!(store.ledger().first_answer("new").unwrap().is_some());
        let counts = store.ledger().occupied("", &(10..21), None).unwrap();
        assert_eq!(counts.iter().sum::<u16>(), 1, "the seats go with the booking");
    }

    #[test]
    fn a_file_that_is_not_ours_damaged_or_too_new_is_told_apart() {
        let failed = |path: &Path| open(path, Open::OrCreate).unwrap_err();
        let garbage = file("garbage.db");
        std::fs::write(&garbage, vec![0x5A; 8192]).unwrap();
        assert_eq!(failed(&garbage), StoreError::Damaged);

        let foreign = file("foreign.db");
        Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
        assert_eq!(failed(&foreign), StoreError::NotOurs);

        let newer = file("newer.db");
        drop(open(&newer, Open::OrCreate).unwrap());
        Connection::open(&newer).unwrap().pragma_update(None, "user_version", 99).unwrap();
        assert_eq!(failed(&newer), StoreError::TooNew { found: 99, known: 1 });

        let torn = file("torn.db");
        let mut store = open(&torn, Open::OrCreate).unwrap();
        for at in 0..200 {
            book(&mut store, place(at * 10, 6, 1)).unwrap();
        }
        store.connection().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        drop(store);
        let mut bytes = std::fs::read(&torn).unwrap();
        let at = bytes.len() / 2;
        bytes[at..at + 4096].fill(0xA5);
        std::fs::write(&torn, bytes).unwrap();
        assert_eq!(failed(&torn), StoreError::Damaged);

        assert_eq!(failed(Path::new("/no/such/folder/a.db")), StoreError::CannotOpen);
        let missing = open(&file("missing.db"), Open::Existing);
        assert_eq!(missing.unwrap_err(), StoreError::CannotOpen);
    }

    #[test]
    fn a_full_or_read_only_disk_books_nothing_and_says_so() {
        let path = file("full.db");
        let mut store = open(&path, Open::OrCreate).unwrap();
        let pages: i64 =
            store.connection().pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        store.connection().pragma_update(None, "max_page_count", pages).unwrap();
        let mut booked = 0;
        let error = loop {
            match book(&mut store, place(booked * 10, 6, 1)) {
                Ok(_) => booked += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(error, StoreError::Full);
        assert_eq!(store.ledger().within(0..i64::MAX, 9999).unwrap().len() as i64, booked);

        let mut read_only = open(&path, Open::Existing).unwrap();
        read_only.connection().pragma_update(None, "query_only", true).unwrap();
        let refused = book(&mut read_only, place(99_999, 1, 1));
        assert_eq!(refused.unwrap_err(), StoreError::ReadOnly);
    }

    #[test]
    fn a_book_is_on_disk_again_after_it_was_closed() {
        let path = file("again.db");
        let booked = book(&mut open(&path, Open::OrCreate).unwrap(), place(1, 6, 1));
        let store = open(&path, Open::Existing).unwrap();
        assert_eq!(store.ledger().within(0..i64::MAX, 9).unwrap(), [booked.unwrap()]);
        let modes = ["journal_mode", "synchronous", "foreign_keys"].map(|name| {
            let value = store
                .connection()
                .pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0));
            format!("{:?}", value.unwrap())
        });
        assert_eq!(modes, ["Text(\"wal\")", "Integer(2)", "Integer(1)"]);
    }

    #[test]
    fn only_its_owner_may_read_a_book_and_what_stands_beside_it() {
        use std::fs::{Permissions, metadata, set_permissions};
        use std::os::unix::fs::PermissionsExt;

        let path = file("mode.db");
        let mut store = open(&path, Open::OrCreate).unwrap();
        book(&mut store, place(1, 6, 1)).unwrap();
        let mode = |end: &str| {
            let beside = path.with_file_name(format!("mode.db{end}"));
            metadata(beside).unwrap().permissions().mode() & 0o777
        };
        assert_eq!(["", "-wal", "-shm"].map(mode), [0o600; 3]);
        drop(store);
        // What the operator has set stays.
        set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        drop(open(&path, Open::OrCreate).unwrap());
        assert_eq!(mode(""), 0o640);
    }
}
