//! The book: what is booked, in an SQLite file or a PostgreSQL database.
//!
//! In:       bookings, moves, cancellations, each in one transaction.
//! Out:      rows, and [`StoreError`]s.
//! Bounds:   rows by limits of the queries; times by `sqlite` and `postgres`.
//! Not here: how the two keep it; what is possible (`hours`), what callers are told (`answers`),
//!           bookings whose service has changed its resource (`homes`).
//!
//! Whatever keeps it, double booking is refused by the database itself, what is done in one
//! transaction sees nobody else's half-done work, and a transaction that has ended is durable.

use std::ops::Range;
use std::time::Duration;

use super::{postgres, sqlite};
use crate::config::StoreUrl;
use crate::control::database::DatabaseError;
use crate::control::store::{Open, StoreError};

/// Letters and digits of references: 16 that are not mistaken for one another, and make no words.
pub(super) const REFERENCE_LETTERS: &[u8; 16] = b"CFHJKLMRTWXY3479";
/// Characters of a reference: 2^20 of them.
pub const REFERENCE_CHARS: usize = 5;
/// Draws of a reference nobody has. With half of them taken, one booking in a million fails.
const REFERENCE_DRAWS: usize = 20;
/// Bookings, and answers, that one transaction forgets, at least where there are so many.
pub const FORGET_BATCH: usize = 1_000;
/// How long places can be taken behind a visit's end, and more: a buffer is of 12 hours at most.
pub(super) const BEHIND_MAX_SECONDS: i64 = 13 * 3600;

/// How much one transaction has forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forgotten {
    /// Kept answers.
    pub answers: usize,
    /// Bookings.
    pub bookings: usize,
}

impl Forgotten {
    /// Whether there may be more to forget.
    pub fn is_full(self) -> bool {
        self.answers >= FORGET_BATCH || self.bookings >= FORGET_BATCH
    }
}

/// Whether a booking stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It stands.
    Confirmed,
    /// It is off; its time is free again.
    Cancelled,
}

/// A booking as it is kept. Times in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booking {
    /// The row.
    pub id: i64,
    /// The calendar's name of it, for ever.
    pub uid: String,
    /// The caller's name of it.
    pub reference: String,
    /// The service's name when it was booked.
    pub service: String,
    /// Its first second.
    pub start_unix: i64,
    /// The second behind its last.
    pub end_unix: i64,
    /// Who comes.
    pub name: String,
    /// What they said beforehand.
    pub note: Option<String>,
    /// The number they called from; `None` where none was told.
    pub number: Option<String>,
    /// The call in which it was booked.
    pub call: String,
    /// Whether it stands.
    pub status: Status,
    /// How often it was moved or cancelled.
    pub sequence: u32,
    /// When it was booked.
    pub created_unix: i64,
    /// When it was last changed.
    pub changed_unix: i64,
}

/// What a visit takes.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    /// Whose seats.
    pub resource: &'a str,
    /// How many there are.
    pub capacity: u16,
    /// Its first second.
    pub start_unix: i64,
    /// The second behind its last.
    pub end_unix: i64,
    /// The cells it takes, with its buffers.
    pub cells: Range<i64>,
}

/// A visit to be booked.
#[derive(Clone, Debug)]
pub struct NewBooking<'a> {
    /// The service's name.
    pub service: &'a str,
    /// What it takes.
    pub place: Place<'a>,
    /// Who comes.
    pub name: &'a str,
    /// What they said beforehand.
    pub note: Option<&'a str>,
    /// The number they call from, where it is theirs.
    pub number: Option<&'a str>,
    /// The call.
    pub call: &'a str,
}

/// Which bookings a calendar shows. Times in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Those that begin then or later.
    pub begins_from: i64,
    /// Of the cancelled ones, those that were cancelled then or later.
    pub cancelled_from: i64,
    /// The first second of today.
    pub today: i64,
}

/// A coming booking, as far as its resource matters.
#[derive(Debug)]
pub struct Coming {
    /// The row.
    pub id: i64,
    /// The caller's name of it.
    pub reference: String,
    /// The service's name when it was booked.
    pub service: String,
    /// Where it takes place.
    pub resource: String,
    /// Its first second.
    pub start_unix: i64,
    /// The cells it takes, with its buffers.
    pub cells: Range<i64>,
}

/// The open book.
#[derive(Debug)]
pub enum Store {
    /// A file of this host.
    Sqlite(sqlite::Store),
    /// A database of several.
    Postgres(Box<postgres::Store>),
}

impl Store {
    /// Opens the book, checks it, and brings its schema forward.
    ///
    /// A database that is away for a while is open nevertheless, but for [`Open::Existing`] and
    /// [`Open::ReadOnly`]: it is tried again whenever something is asked.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn open(url: &StoreUrl, open: Open) -> Result<Store, StoreError> {
        match url {
            StoreUrl::Sqlite(path) => sqlite::Store::open(path, open).map(Store::Sqlite),
            StoreUrl::Postgres(settings) => {
                postgres::Store::open(settings, open).map(Box::new).map(Store::Postgres)
            }
        }
    }

    /// Does `work` in one transaction: all of it is durable when this returns, or none of it.
    ///
    /// # Errors
    /// Those of `work`, and of the commit.
    pub fn transact<T, E: From<StoreError> + From<DatabaseError>>(
        &mut self,
        work: impl FnOnce(&Ledger<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        match self {
            Store::Sqlite(store) => store.transact(|ledger| work(&Ledger::Sqlite(*ledger))),
            Store::Postgres(store) => store.transact(|ledger| work(&Ledger::Postgres(ledger))),
        }
    }

    /// To look only.
    pub fn ledger(&self) -> Ledger<'_> {
        match self {
            Store::Sqlite(store) => Ledger::Sqlite(store.ledger()),
            Store::Postgres(store) => Ledger::Postgres(store.ledger()),
        }
    }

    /// What is asked from now on, until this is called again, ends after so long; a file knows no
    /// such wait.
    pub fn bound(&self, at_most: Duration) {
        if let Store::Postgres(store) = self {
            store.bound(at_most);
        }
    }

    #[cfg(test)]
    pub(super) fn connection(&self) -> &rusqlite::Connection {
        match self {
            Store::Sqlite(store) => store.connection(),
            Store::Postgres(_) => panic!("no file"),
        }
    }

    /// A number that changes when another connection has changed the book.
    ///
    /// # Errors
    /// If the book cannot be read.
    pub fn foreign_changes(&self) -> Result<i64, StoreError> {
        match self {
            Store::Sqlite(store) => store.foreign_changes(),
            Store::Postgres(store) => store.changes(),
        }
    }
}

/// The rows, inside a transaction or outside.
#[derive(Clone, Copy, Debug)]
pub enum Ledger<'s> {
    /// Of a file.
    Sqlite(sqlite::Ledger<'s>),
    /// Of a database.
    Postgres(postgres::Ledger<'s>),
}

impl Ledger<'_> {
    /// Books. The reference is new.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where there is no seat.
    pub fn book(&self, now_unix: i64, new: &NewBooking<'_>) -> Result<Booking, StoreError> {
        let (uid, reference) = (fresh_uid(), self.fresh_reference()?);
        match self {
            Ledger::Sqlite(ledger) => ledger.book(now_unix, &uid, &reference, new),
            Ledger::Postgres(ledger) => ledger.book(now_unix, &uid, &reference, new),
        }
    }

    /// Moves a booking that stands.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where there is no seat.
    pub fn move_to(
        &self,
        now_unix: i64,
        id: i64,
        place: &Place<'_>,
    ) -> Result<Booking, StoreError> {
        match self {
            Ledger::Sqlite(ledger) => ledger.move_to(now_unix, id, place),
            Ledger::Postgres(ledger) => ledger.move_to(now_unix, id, place),
        }
    }

    /// Cancels a booking that stands; of one that does not, nothing changes.
    ///
    /// # Errors
    /// Those of the store.
    pub fn cancel(&self, now_unix: i64, id: i64) -> Result<Booking, StoreError> {
        match self {
            Ledger::Sqlite(ledger) => ledger.cancel(now_unix, id),
            Ledger::Postgres(ledger) => ledger.cancel(now_unix, id),
        }
    }

    /// How many visits stand in each cell of `window`; without that of booking `but`.
    ///
    /// # Errors
    /// Those of the store.
    pub fn occupied(
        &self,
        resource: &str,
        window: &Range<i64>,
        but: Option<i64>,
    ) -> Result<Vec<u16>, StoreError> {
        match self {
            Ledger::Sqlite(ledger) => ledger.occupied(resource, window, but),
            Ledger::Postgres(ledger) => ledger.occupied(resource, window, but),
        }
    }

    /// The booking that a caller knows by this name.
    ///
    /// # Errors
    /// Those of the store.
    pub fn by_reference(&self, reference: &str) -> Result<Option<Booking>, StoreError> {
        match self {
            Ledger::Sqlite(ledger) => ledger.by_reference(reference),
            Ledger::Postgres(ledger) => ledger.by_reference(reference),
        }
    }

    /// Bookings that stand, begin after `now_unix`, and were made from this number or in this call;
    /// the next ones first.
    ///
    /// # Errors
    /// Those of the store.
    pub fn coming_of(
        &self,
        now_unix: i64,
        number: Option<&str>,
        call: &str,
        limit: u32,
    ) -> Result<Vec<Booking>, StoreError> {
        match self {
            Ledger::Sqlite(ledger) => ledger.coming_of(now_unix, number, call, limit),
            Ledger::Postgres(ledger) => ledger.coming_of(now_unix, number, call, limit),
        }
    }

    /// Every booking that begins within `begins`, cancelled ones too, in the order of time; those
    /// that begin last where there are more than `limit`.
    ///
    /// # Errors
    /// Those of the store.
    pub fn within(&self, begins: Range<i64>, limit: u32) -> Result<Vec<Booking>, StoreError> {
        match self {
            Ledger::Sqlite(ledger) => ledger.within(begins, limit),
            Ledger::Postgres(ledger) => ledger.within(begins, limit),
        }
    }

    /// The bookings that a calendar shows, in the order of time: those that stand, and those whose
    /// cancellation it still tells of. Where there are more than `limit`, those are left out that
    /// are cancelled, then those that are over, then those that are farthest from today.
    ///
    /// # Errors
    /// Those of the store.
    pub fn shown(&self, shown: &Shown, limit: u32) -> Result<Vec<Booking>, StoreError> {
        match self {
            Ledger::Sqlite(ledger) => ledger.shown(shown, limit),
            Ledger::Postgres(ledger) => ledger.shown(shown, limit),
        }
    }

    /// The answer that was kept for this key.
    ///
    /// # Errors
    /// Those of the store.
    pub fn first_answer(&self, key: &str) -> Result<Option<String>, StoreError> {
        match self {
            Ledger::Sqlite(ledger) => ledger.first_answer(key),
            Ledger::Postgres(ledger) => ledger.first_answer(key),
        }
    }

    /// Keeps the answer for this key.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where there is one.
    pub fn keep_answer(&self, now_unix: i64, key: &str, answer: &str) -> Result<(), StoreError> {
        match self {
            Ledger::Sqlite(ledger) => ledger.keep_answer(now_unix, key, answer),
            Ledger::Postgres(ledger) => ledger.keep_answer(now_unix, key, answer),
        }
    }

    /// Forgets answers kept before `answers_before`, and bookings that ended before `ended_before`;
    /// of each [`FORGET_BATCH`] at least, where there are so many. Returns how many of each.
    ///
    /// # Errors
    /// Those of the store.
    pub fn forget(
        &self,
        answers_before: i64,
        ended_before: Option<i64>,
    ) -> Result<Forgotten, StoreError> {
        match self {
            Ledger::Sqlite(ledger) => ledger.forget(answers_before, ended_before),
            Ledger::Postgres(ledger) => ledger.forget(answers_before, ended_before),
        }
    }

    /// Bookings that stand and are not over, with their buffers; the next ones first.
    ///
    /// # Errors
    /// Those of the store.
    pub fn coming(&self, now_unix: i64) -> Result<Vec<Coming>, StoreError> {
        match self {
            Ledger::Sqlite(ledger) => ledger.coming(now_unix),
            Ledger::Postgres(ledger) => ledger.coming(now_unix),
        }
    }

    /// Whether a booking of `service` that stands and is not over takes places of another resource.
    ///
    /// # Errors
    /// Those of the store.
    pub fn is_elsewhere(
        &self,
        now_unix: i64,
        service: &str,
        resource: &str,
    ) -> Result<bool, StoreError> {
        match self {
            Ledger::Sqlite(ledger) => ledger.is_elsewhere(now_unix, service, resource),
            Ledger::Postgres(ledger) => ledger.is_elsewhere(now_unix, service, resource),
        }
    }

    /// Frees the places that booking `id` takes.
    ///
    /// # Errors
    /// Those of the store.
    pub fn leave(&self, id: i64) -> Result<(), StoreError> {
        match self {
            Ledger::Sqlite(ledger) => ledger.leave(id),
            Ledger::Postgres(ledger) => ledger.leave(id),
        }
    }

    /// Takes the places of booking `id` at another resource. Where that is refused, the rest of the
    /// transaction stands.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where none is left.
    pub fn arrive(&self, id: i64, resource: &str, capacity: u16) -> Result<(), StoreError> {
        match self {
            Ledger::Sqlite(ledger) => ledger.arrive(id, resource, capacity),
            Ledger::Postgres(ledger) => ledger.arrive(id, resource, capacity),
        }
    }

    /// The reference of one that stands at a resource in one of these cells; the first one's.
    ///
    /// # Errors
    /// Those of the store.
    pub fn standing(
        &self,
        resource: &str,
        cells: &Range<i64>,
    ) -> Result<Option<String>, StoreError> {
        match self {
            Ledger::Sqlite(ledger) => ledger.standing(resource, cells),
            Ledger::Postgres(ledger) => ledger.standing(resource, cells),
        }
    }

    /// A reference nobody has.
    fn fresh_reference(&self) -> Result<String, StoreError> {
        for _ in 0..REFERENCE_DRAWS {
            let letters = random_bytes::<REFERENCE_CHARS>()
                .map(|byte| char::from(REFERENCE_LETTERS[usize::from(byte % 16)]));
            let reference = String::from_iter(letters);
            if self.by_reference(&reference)?.is_none() {
                return Ok(reference);
            }
        }
        Err(StoreError::Refused)
    }
}

/// A name that no other booking of the world has.
fn fresh_uid() -> String {
    let digits = random_bytes::<16>().map(|byte| format!("{byte:02x}"));
    format!("{}@vocaris", digits.concat())
}

fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_of_letters_that_are_not_mistaken() {
        let unique = format!("vocaris-reference-{}.db", std::process::id());
        let path = std::env::temp_dir().join(unique);
        let store = Store::open(&StoreUrl::Sqlite(path.clone()), Open::OrCreate).unwrap();
        for _ in 0..100 {
            let reference = store.ledger().fresh_reference().unwrap();
            assert_eq!(reference.len(), REFERENCE_CHARS);
            assert!(reference.bytes().all(|byte| REFERENCE_LETTERS.contains(&byte)));
        }
        drop(store);
        std::fs::remove_file(path).unwrap();
    }
}
