//! Appointments: what callers book, kept in a file or a database, and shown in a calendar feed.
//!
//! In:       the name of a tool, its arguments, who calls, the time.
//! Out:      an [`Answer`] for the model; the feed's text.
//! Bounds:   each room's own; a call may guess [`GUESSES_MAX`] times at an appointment.
//! Not here: threads, sockets, the model's protocol. What is here blocks on the file or the
//!           database.
//!
//! | file | what it holds |
//! |---|---|
//! | `hours` | which visits are possible: pure arithmetic |
//! | `store` | the book: what both kinds of it do |
//! | `errors` | why the book refuses what its store would take |
//! | `sqlite` | the book in a file |
//! | `postgres` | the book in a database of several hosts |
//! | `homes` | bookings whose service has changed its resource |
//! | `arguments` | what a model passes, checked |
//! | `answers` | the five tools |
//! | `words` | sentences, dates and fields of the answers |
//! | `calendar` | RFC 5545 |
//! | `operator` | what the operator's command shows |
//! | `feed` | the thread that answers `GET /calendar.ics` |
//!
//! **Whose booking is it?** The caller's own are those booked from the same telephone number, as
//! the carrier tells it, or in the same call; and the one whose reference and name the caller says.
//! Numbers that carriers send for withheld ones are nobody's. Whoever guesses is told the same for
//! a wrong reference as for a wrong name, and after [`GUESSES_MAX`] misses in a call nothing more.
//!
//! **Once.** An answer that changed the book is kept with its key, in the same transaction: the
//! same key gets the same answer again, also after a restart. And whoever books what they have
//! booked already, the same service at the same time for the same name, is told so.

mod answers;
mod arguments;
pub mod calendar;
mod errors;
pub mod feed;
mod homes;
pub mod hours;
pub mod operator;
mod postgres;
mod sqlite;
pub mod store;
mod words;

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::config::Appointments as Practice;
use crate::control::store::{Open, StoreError};
pub use errors::{BookError, Reference};
pub use store::{Booking, Status};
use store::{Forgotten, Ledger, Store};

/// Wrong guesses at an appointment in one call. Further ones are not looked up.
pub const GUESSES_MAX: u32 = 5;
/// What one use of a tool may wait for a database, but for the end of its commit. Then it is told
/// that the book cannot be had.
const USE_MAX: Duration = Duration::from_secs(5);
/// Calls whose guesses are remembered; at the bound the oldest is forgotten.
const GUESSERS_MAX: usize = 1024;
/// How long a changing answer is kept for a repeated key.
const ANSWERS_KEPT_SECONDS: i64 = 7 * 24 * 3600;
const DAY_SECONDS: i64 = 24 * 3600;

/// Who calls.
#[derive(Clone, Debug, Default)]
pub struct CallerFacts {
    /// Their number, as the carrier tells it.
    pub number: Option<String>,
    /// The call: unlike every other.
    pub call: String,
    /// Of this use of a tool: the same when it is tried again. Empty: there is none.
    pub key: String,
}

/// What a tool answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Whether it did what was asked.
    pub ok: bool,
    /// What came of it, for counters: a word of the program.
    pub label: &'static str,
    /// For the model: `ok`, `status`, `say`, and what goes with them.
    pub json: Value,
}

/// The book of one practice, open.
#[derive(Debug)]
pub struct Appointments {
    practice: Practice,
    retention_days: Option<u32>,
    store: Store,
    /// Whether coming bookings are where their services take place, as far as that is our part.
    is_home: bool,
    /// Calls that have guessed wrongly, and how often.
    guessers: VecDeque<(String, u32)>,
}

impl Appointments {
    /// Opens the book to book in it, and makes it where there is none. Coming bookings are brought
    /// to where the practice says that their services take place: see `homes`.
    ///
    /// A database that is away for a while does not hinder: it is brought forward, and the bookings
    /// home, before anything else is done there.
    ///
    /// # Errors
    /// What is wrong with it; [`BookError::Clash`] where a booking has no place there.
    pub fn open(
        practice: &Practice,
        store: &crate::config::Store,
    ) -> Result<Appointments, BookError> {
        let mut book = Appointments::open_as(practice, store, Open::OrCreate)?;
        match book.bring_home() {
            Err(error) if error.is_for_now() => {
                log::warn!("event=appointments_away: {error}; it is tried again when it is needed");
            }
            done => done?,
        }
        Ok(book)
    }

    /// Brings coming bookings to the resource of their service, once.
    fn bring_home(&mut self) -> Result<(), BookError> {
        if self.is_home {
            return Ok(());
        }
        let (practice, now_unix) = (&self.practice, Timestamp::now().as_second());
        let homes = self.store.transact(|ledger| homes::bring(ledger, practice, now_unix))?;
        self.is_home = true;
        if homes.moved > 0 {
            log::info!("event=appointments_brought_to_their_resource count={}", homes.moved);
        }
        if homes.stray > 0 {
            log::warn!(
                "event=appointments_of_no_service count={}: their service is not configured any \
                 more, nor their resource: their times can be booked again",
                homes.stray
            );
        }
        Ok(())
    }

    /// Opens the book as it is, to look and to cancel; `open` says whether one is made.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn open_as(
        practice: &Practice,
        store: &crate::config::Store,
        open: Open,
    ) -> Result<Appointments, StoreError> {
        Ok(Appointments {
            practice: practice.clone(),
            retention_days: store.retention_days,
            store: Store::open(&store.url, open)?,
            is_home: open != Open::OrCreate,
            guessers: VecDeque::new(),
        })
    }

    /// Answers the tool `tool`. What it says is booked, moved or cancelled is on disk.
    pub fn answer(
        &mut self,
        now: Timestamp,
        tool: &str,
        arguments: &Value,
        caller: &CallerFacts,
    ) -> Answer {
        self.store.bound(USE_MAX);
        answers::answer(self, now, tool, arguments, caller)
    }

    /// The calendar feed.
    ///
    /// # Errors
    /// If the book cannot be read.
    pub fn calendar(&self, now: Timestamp) -> Result<String, StoreError> {
        let shown = calendar::shown(now.as_second());
        let bookings = self.ledger().shown(&shown, calendar::EVENTS_MAX)?;
        Ok(calendar::write(&self.practice, &bookings, &shown))
    }

    /// Bookings that begin within `begins`, in seconds since 1970; cancelled ones too.
    ///
    /// # Errors
    /// If the book cannot be read.
    pub fn list(
        &self,
        begins: std::ops::Range<i64>,
        limit: u32,
    ) -> Result<Vec<Booking>, StoreError> {
        self.ledger().within(begins, limit)
    }

    /// The operator cancels. `None`: there is no such reference.
    ///
    /// # Errors
    /// If the book cannot be written.
    pub fn cancel(
        &mut self,
        now: Timestamp,
        reference: &str,
    ) -> Result<Option<Booking>, StoreError> {
        let reference = reference.to_ascii_uppercase();
        self.store.transact(|ledger| match ledger.by_reference(&reference)? {
            Some(booking) => ledger.cancel(now.as_second(), booking.id).map(Some),
            None => Ok(None),
        })
    }

    /// Forgets what is older than the settings allow, as much as one transaction does: nobody waits
    /// long for it. There may be more, where it says so.
    ///
    /// # Errors
    /// If the book cannot be written.
    pub fn forget(&mut self, now: Timestamp) -> Result<Forgotten, StoreError> {
        let now = now.as_second();
        let ended_before = self.retention_days.map(|days| now - i64::from(days) * DAY_SECONDS);
        let answers_before = now - ANSWERS_KEPT_SECONDS;
        self.store.transact(|ledger| ledger.forget(answers_before, ended_before))
    }

    /// A number that changes when another connection has changed the book.
    ///
    /// # Errors
    /// If the book cannot be read.
    pub fn foreign_changes(&self) -> Result<i64, StoreError> {
        self.store.foreign_changes()
    }

    /// The practice.
    pub fn practice(&self) -> &Practice {
        &self.practice
    }

    fn ledger(&self) -> Ledger<'_> {
        self.store.ledger()
    }

    /// How often this call has guessed wrongly.
    fn guesses(&self, call: &str) -> u32 {
        self.guessers.iter().find(|(known, _)| known == call).map_or(0, |&(_, guesses)| guesses)
    }

    fn count_guess(&mut self, call: &str) {
        if let Some((_, guesses)) = self.guessers.iter_mut().find(|(known, _)| known == call) {
            *guesses += 1;
            return;
        }
        if self.guessers.len() == GUESSERS_MAX {
            self.guessers.pop_front();
        }
        self.guessers.push_back((call.to_owned(), 1));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_disk_that_fills_between_two_bookings_refuses_the_second_until_there_is_room_again() {
        let unique = format!("vocaris-filling-{}.db", std::process::id());
        let path = std::env::temp_dir().join(unique);
        let settings = crate::config::Store::sqlite(path.clone());
        let mut book = Appointments::open(&Practice::sample(), &settings).unwrap();
        let now = Timestamp::now();
        let last_day = hours::last_day(book.practice(), now);
        let ask = |book: &mut Appointments, hour: usize| {
            let wish = json!({
                "service": "Treatment", "date": last_day.to_string(),
                "time": format!("{hour:02}:00"), "name": "Ana", "note": "n".repeat(200),
            });
            let (call, key) = (hour.to_string(), format!("key {hour}"));
            let caller = CallerFacts { number: None, call, key };
            book.answer(now, "book_appointment", &wish, &caller)
        };
        assert_eq!(ask(&mut book, 8).label, "booked");
        let first = book.list(0..i64::MAX, 9).unwrap();

        // The disk is full: not one page more, and the free room of the pages there are is used up.
        let connection = book.store.connection();
        let pages: i64 =
            connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        connection.pragma_update(None, "max_page_count", pages).unwrap();
        let fill = "INSERT INTO answers SELECT 'fill ' || hex(randomblob(20)), '', 0 FROM numbers";
        while connection.execute(fill, []).is_ok() {}
        let fill = "INSERT INTO answers VALUES ('fill ' || hex(randomblob(20)), '', 0)";
        while connection.execute(fill, []).is_ok() {}

        let refused = ask(&mut book, 10);
        assert_eq!((refused.ok, refused.label), (false, "unavailable"));
        assert!(refused.json["say"].as_str().unwrap().contains("Nothing was booked or changed"));
        assert_eq!(book.list(0..i64::MAX, 9).unwrap(), first, "the first one stands");

        let connection = book.store.connection();
        connection.pragma_update(None, "max_page_count", pages + 1000).unwrap();
        assert_eq!(ask(&mut book, 10).label, "booked", "the same wish, with the same key");
        assert_eq!(book.list(0..i64::MAX, 9).unwrap().len(), 2);
        assert_eq!(ask(&mut book, 10).label, "repeated");
        drop(book);
        let again = Appointments::open(&Practice::sample(), &settings).unwrap();
        assert_eq!(again.list(0..i64::MAX, 9).unwrap().len(), 2);
        drop(again);
        std::fs::remove_file(path).unwrap();
    }
}
