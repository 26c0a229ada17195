//! Appointments that the model books in a run, held against those in the relay's store.
//!
//! In:       the sessions of a run, the relay's SQLite file or the database of several relays.
//! Out:      the request each booking is made by; a [`BookingReport`], and what is wrong.
//! Bounds:   one booking a conversation; [`SLOTS_A_DAY`] of them on a day.
//! Not here: asking (`gemini::session`), when (`gemini::scenario`).
//!
//! Each booking has a name that no other has, so both sides can be compared by name: a name that
//! stands on disk twice is a double booking, whatever was confirmed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Display;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use vocaris::config::Config;
use vocaris::control::appointments::store::{Open, Status, Store};

use crate::gemini::record::{Asked, SessionRecord};
use crate::report::BookingReport;

/// The tool that books.
pub const TOOL: &str = "book_appointment";

/// Bookings on one day: every five minutes from 8 to 18.
pub const SLOTS_A_DAY: u64 = 120;

/// Days from today to the first booking: none is too soon, whatever the time zone.
const FIRST_DAY: u64 = 2;

/// Days between the first and the second booking of one conversation.
const DAYS_A_ROUND: u64 = 100;

/// Date and time of the `n`th request, from 1 on, of conversation `call`: `YYYY-MM-DD`, `HH:MM`.
pub fn slot(call: usize, n: u32) -> (String, String) {
    let today = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs() / 86_400);
    let round = u64::from(n.saturating_sub(1)) * DAYS_A_ROUND;
    let (year, month, day) = civil(today + FIRST_DAY + round + call as u64 / SLOTS_A_DAY);
    let minutes = 8 * 60 + call as u64 % SLOTS_A_DAY * 5;
    (format!("{year:04}-{month:02}-{day:02}"), format!("{:02}:{:02}", minutes / 60, minutes % 60))
}

/// The date of a day counted from 1970-01-01, in the Gregorian calendar.
fn civil(day: u64) -> (u64, u64, u64) {
    // Counted from 0000-03-01 the leap day is the last of its year, and of its 400 years.
    let day = day + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

/// True if an answer says that the appointment is booked.
fn is_confirmed(response: &Value) -> bool {
    response["output"]["ok"] == true
}

/// Confirmed bookings by name, and how many rows each has.
pub type Stored = BTreeMap<String, u64>;

/// The confirmed bookings in the relay's file.
pub fn stored(file: &Path) -> rusqlite::Result<Stored> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let store = Connection::open_with_flags(file, flags)?;
    let sql = "SELECT name, count(*) FROM bookings WHERE status = 'confirmed' GROUP BY name";
    let mut names = store.prepare(sql)?;
    let counted = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, u32>(1)?.into()));
    names.query_map([], counted)?.collect()
}

/// The confirmed bookings in the store of these settings, a database that several relays share.
///
/// # Errors
/// A setting is wrong, or the store cannot be read.
pub fn stored_in(settings: &[(OsString, OsString)]) -> Result<Stored, String> {
    let config = Config::read(None, settings.to_vec()).map_err(|error| error.to_string())?;
    let store =
        Store::open(&config.store.url, Open::ReadOnly).map_err(|error| error.to_string())?;
    let all = store.ledger().within(0..i64::MAX, u32::MAX).map_err(|error| error.to_string())?;
    let mut stored = Stored::new();
    for booking in all.into_iter().filter(|booking| booking.status == Status::Confirmed) {
        *stored.entry(booking.name).or_default() += 1;
    }
    Ok(stored)
}

/// Compares what was confirmed to the model with what is [`stored`].
pub fn judge<E: Display>(
    sessions: &[SessionRecord],
    stored: Result<Stored, E>,
) -> (BookingReport, Vec<String>) {
    let stored = match stored {
        Ok(stored) => stored,
        Err(error) => {
            return (BookingReport::default(), vec![format!("the bookings on disk: {error}")]);
        }
    };
    let asked: Vec<&Asked> =
        sessions.iter().flat_map(|it| &it.tools).filter(|it| it.name == TOOL).collect();
    compare(&asked, &stored)
}

fn compare(asked: &[&Asked], stored: &Stored) -> (BookingReport, Vec<String>) {
    let name = |asked: &Asked| asked.args["name"].as_str().unwrap_or_default().to_string();
    let mut report = BookingReport {
        asked: asked.len() as u64,
        stored: stored.values().sum(),
        ..BookingReport::default()
    };
    let (mut confirmed, mut open) = (BTreeSet::new(), BTreeSet::new());
    for asked in asked {
        // One that is asked for again, after its answer was lost, is confirmed each time.
        match &asked.answer {
            Some((_, response)) if is_confirmed(response) => {
                report.confirmed += 1;
                confirmed.insert(name(asked));
            }
            Some(_) => report.refused += 1,
            None => {
                report.unanswered += 1;
                open.insert(name(asked));
            }
        }
    }
    let missing: Vec<_> = confirmed.iter().filter(|it| !stored.contains_key(*it)).collect();
    // A request whose answer the model did not live to hear may have been done.
    let is_known = |it: &String| confirmed.contains(it) || open.contains(it);
    let unasked: Vec<_> = stored.keys().filter(|it| !is_known(it)).collect();
    let twice: Vec<_> = stored.iter().filter(|&(_, &rows)| rows > 1).collect();
    (report.lost, report.doubled) = (missing.len() as u64, twice.len() as u64);
    let mut problems = Vec::new();
    if let Some((first, rows)) = twice.first() {
        let count = twice.len();
        problems.push(format!("{count} bookings on disk more than once, such as {first}: {rows}"));
    }
    if let Some(first) = missing.first() {
        let count = missing.len();
        problems.push(format!("{count} bookings confirmed and not on disk, such as {first}"));
    }
    if let Some(first) = unasked.first() {
        let count = unasked.len();
        problems.push(format!("{count} bookings on disk and not confirmed, such as {first}"));
    }
    if report.refused > 0 {
        problems.push(format!("{} bookings refused, each for a time of its own", report.refused));
    }
    (report, problems)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn days_have_the_dates_of_the_calendar() {
        for (day, date) in [
            (0, (1970, 1, 1)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_780, (2026, 11, 23)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(civil(day), date);
        }
    }

    #[test]
    fn no_two_conversations_book_the_same_time() {
        let slots: BTreeSet<_> = (0..1000).map(|call| slot(call, 1)).collect();
        assert_eq!(slots.len(), 1000);
        assert!(slots.iter().all(|(_, time)| ("08:00".."18:00").contains(&&**time)));
    }

    fn asked(name: &str, answer: Option<Value>) -> Asked {
        Asked {
            at: 0,
            id: "1".into(),
            told_id: true,
            name: TOOL.into(),
            args: json!({ "name": name }),
            answer: answer.map(|answer| (0, answer)),
            withdrawn: false,
        }
    }

    #[test]
    fn what_is_confirmed_and_what_is_stored_are_the_same_or_a_problem() {
        let ok = || Some(json!({ "output": { "ok": true } }));
        let stored: Stored = [("a".to_string(), 1), ("b".to_string(), 1)].into();
        let asks = [asked("a", ok()), asked("b", ok())];
        assert_eq!(compare(&asks.iter().collect::<Vec<_>>(), &stored).1, Vec::<String>::new());
        // An answer that nobody heard leaves it open.
        let asks = [asked("a", ok()), asked("b", None), asked("c", None)];
        assert_eq!(compare(&asks.iter().collect::<Vec<_>>(), &stored).1, Vec::<String>::new());
        for (wrong, what) in [
            ([asked("a", ok()), asked("c", ok())], "2 problems"),
            ([asked("a", ok()), asked("b", Some(json!({ "error": "full" })))], "2 problems"),
        ] {
            let (_, problems) = compare(&wrong.iter().collect::<Vec<_>>(), &stored);
            assert_eq!(problems.len(), 2, "{what}: {problems:?}");
        }
    }

    #[test]
    fn what_stands_on_disk_twice_is_a_problem_and_what_is_confirmed_twice_is_not() {
        let ok = || Some(json!({ "output": { "ok": true } }));
        let asks = [asked("a", ok()), asked("a", ok()), asked("b", None), asked("b", ok())];
        let asks: Vec<_> = asks.iter().collect();
        let once: Stored = [("a".to_string(), 1), ("b".to_string(), 1)].into();
        let (report, problems) = compare(&asks, &once);
        assert_eq!(problems, Vec::<String>::new());
        let BookingReport { asked, confirmed, refused, unanswered, stored, lost, doubled } = report;
        assert_eq!((asked, confirmed, refused, unanswered, stored), (4, 3, 0, 1, 2));
        assert_eq!((lost, doubled), (0, 0));
        let twice: Stored = [("a".to_string(), 2), ("b".to_string(), 1)].into();
        let (report, problems) = compare(&asks, &twice);
        assert_eq!((report.stored, problems.len()), (3, 1));
        assert_eq!(problems[0], "1 bookings on disk more than once, such as a: 2");
    }

    #[test]
    fn rows_are_counted_by_name_and_cancelled_ones_are_not() {
        let file = std::env::temp_dir().join(format!("bookings-{}.db", std::process::id()));
        let store = Connection::open(&file).unwrap();
        let rows = "CREATE TABLE bookings (name, status); INSERT INTO bookings VALUES
            ('a', 'confirmed'), ('b', 'confirmed'), ('a', 'confirmed'), ('c', 'cancelled')";
        store.execute_batch(rows).unwrap();
        let found = stored(&file);
        std::fs::remove_file(file).unwrap();
        assert_eq!(found.unwrap(), [("a".to_string(), 2), ("b".to_string(), 1)].into());
    }
}
