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
use vocaris::control::appointments::store::{Status, Store};
use vocaris::control::store::Open;

use crate::clock::{Nanos, SECONDS};
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

/// How long the relay may take to answer: its own tools have 10 s, and 2 s of grace, before the model
/// is told that there is no answer. A session that heard nothing for longer was never answered; of one
/// that ended before nobody can say.
const ANSWER_DUE: Nanos = 13 * SECONDS;

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
    compare(&requests(sessions), &stored)
}

/// What became of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The model was told that it is booked.
    Confirmed,
    /// The model was told anything else.
    Refused,
    /// It was withdrawn, or its session ended before the answer was due, and no later one confirmed
    /// it.
    Cut,
    /// The model waited for its answer until it was overdue.
    Unanswered,
}

/// Every request for a booking, by its name.
fn requests(sessions: &[SessionRecord]) -> Vec<(String, Fate)> {
    // Of an answer that came on a later connection, by the id of the call, which no other has.
    let late: BTreeSet<&str> = sessions
        .iter()
        .flat_map(|it| &it.late_answers)
        .filter(|(_, _, response)| is_confirmed(response))
        .map(|(_, id, _)| id.as_str())
        .collect();
    let fate = |session: &SessionRecord, asked: &Asked| match &asked.answer {
        Some((_, response)) if is_confirmed(response) => Fate::Confirmed,
        Some(_) => Fate::Refused,
        None if late.contains(asked.id.as_str()) => Fate::Confirmed,
        None if asked.withdrawn => Fate::Cut,
        None if session.deaf_at().is_some_and(|at| at < asked.at + ANSWER_DUE) => Fate::Cut,
        None => Fate::Unanswered,
    };
    let name = |asked: &Asked| asked.args["name"].as_str().unwrap_or_default().to_string();
    let all = sessions.iter().flat_map(|session| session.tools.iter().map(move |it| (session, it)));
    let ours = all.filter(|(_, asked)| asked.name == TOOL);
    ours.map(|(session, asked)| (name(asked), fate(session, asked))).collect()
}

fn compare(asked: &[(String, Fate)], stored: &Stored) -> (BookingReport, Vec<String>) {
    // One that is asked for again, after its answer was lost, is confirmed each time.
    let of = |fate| asked.iter().filter(move |(_, its)| *its == fate).map(|(name, _)| name);
    let confirmed: BTreeSet<_> = of(Fate::Confirmed).collect();
    let open: BTreeSet<_> = of(Fate::Cut).chain(of(Fate::Unanswered)).collect();
    let mut report = BookingReport {
        asked: asked.len() as u64,
        confirmed: of(Fate::Confirmed).count() as u64,
        refused: of(Fate::Refused).count() as u64,
        cut: of(Fate::Cut).count() as u64,
        unanswered: of(Fate::Unanswered).count() as u64,
        stored: stored.values().sum(),
        ..BookingReport::default()
    };
    let missing: Vec<_> = confirmed.iter().filter(|it| !stored.contains_key(**it)).collect();
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
    if let Some(first) = of(Fate::Unanswered).next() {
        let count = report.unanswered;
        problems.push(format!("{count} bookings never answered, such as {first}"));
    }
    if report.refused > 0 {
        problems.push(format!("{} bookings refused, each for a time of its own", report.refused));
    }
    (report, problems)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemini::record::Event;
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

    fn fates(asked: &[(&str, Fate)]) -> Vec<(String, Fate)> {
        asked.iter().map(|&(name, fate)| (name.to_string(), fate)).collect()
    }

    #[test]
    fn what_is_confirmed_and_what_is_stored_are_the_same_or_a_problem() {
        use Fate::{Confirmed, Cut, Refused, Unanswered};
        let stored: Stored = [("a".to_string(), 1), ("b".to_string(), 1)].into();
        let problems = |asked: &[(&str, Fate)]| compare(&fates(asked), &stored).1;
        assert_eq!(problems(&[("a", Confirmed), ("b", Confirmed)]), Vec::<String>::new());
        // An answer that nobody lived to hear leaves it open.
        let open = [("a", Confirmed), ("b", Cut), ("c", Cut)];
        assert_eq!(problems(&open), Vec::<String>::new());
        for (asked, first) in [
            ([("a", Confirmed), ("c", Confirmed)], "1 bookings confirmed and not on disk"),
            ([("a", Confirmed), ("b", Refused)], "1 bookings on disk and not confirmed"),
        ] {
            let problems = problems(&asked);
            assert!(problems.len() == 2 && problems[0].starts_with(first), "{problems:?}");
        }
        let problems = problems(&[("a", Confirmed), ("b", Unanswered)]);
        assert_eq!(problems, ["1 bookings never answered, such as b"]);
    }

    #[test]
    fn what_stands_on_disk_twice_is_a_problem_and_what_is_confirmed_twice_is_not() {
        use Fate::{Confirmed, Cut};
        let asks = fates(&[("a", Confirmed), ("a", Confirmed), ("b", Cut), ("b", Confirmed)]);
        let once: Stored = [("a".to_string(), 1), ("b".to_string(), 1)].into();
        let (report, problems) = compare(&asks, &once);
        assert_eq!(problems, Vec::<String>::new());
        let BookingReport { asked, confirmed, refused, cut, unanswered, stored, lost, doubled } =
            report;
        assert_eq!((asked, confirmed, refused, cut, unanswered, stored), (4, 3, 0, 1, 0, 2));
        assert_eq!((lost, doubled), (0, 0));
        let twice: Stored = [("a".to_string(), 2), ("b".to_string(), 1)].into();
        let (report, problems) = compare(&asks, &twice);
        assert_eq!((report.stored, problems.len()), (3, 1));
        assert_eq!(problems[0], "1 bookings on disk more than once, such as a: 2");
    }

    /// A session that asked for one booking at the time 0, and ended then.
    fn session(answer: Option<Value>, ended_at: Nanos) -> SessionRecord {
        let mut session = SessionRecord::new(0, 0);
        session.ended_at = Some(ended_at);
        session.tools.push(Asked {
            at: 0,
            id: "fc-0-1-0".into(),
            told_id: true,
            name: TOOL.into(),
            args: json!({ "name": "a" }),
            answer: answer.map(|answer| (1, answer)),
            withdrawn: false,
        });
        session
    }

    #[test]
    fn a_request_whose_session_ended_before_its_answer_was_due_is_cut_and_not_unanswered() {
        let ok = || json!({ "output": { "ok": true } });
        let unsure = || json!({ "error": "not known" });
        let fate = |sessions: &[SessionRecord]| requests(sessions)[0].1;
        assert_eq!(fate(&[session(Some(ok()), 1)]), Fate::Confirmed);
        assert_eq!(fate(&[session(Some(unsure()), 1)]), Fate::Refused);
        assert_eq!(fate(&[session(None, ANSWER_DUE - 1)]), Fate::Cut);
        assert_eq!(fate(&[session(None, ANSWER_DUE)]), Fate::Unanswered);
        // It was withdrawn, and is owed no answer.
        let mut withdrawn = session(None, 3 * ANSWER_DUE);
        withdrawn.tools[0].withdrawn = true;
        assert_eq!(fate(&[withdrawn]), Fate::Cut);
        // It says nothing more of use, and hears.
        let mut droning = session(None, 3 * ANSWER_DUE);
        droning.events.push((ANSWER_DUE / 2, Event::Droned));
        assert_eq!(fate(&[droning]), Fate::Unanswered);
        // It goes on, and cannot hear.
        let mut stalled = session(None, 3 * ANSWER_DUE);
        stalled.events.push((ANSWER_DUE / 2, Event::Stalled));
        assert_eq!(fate(&[stalled]), Fate::Cut);
        // Whoever takes the conversation up answers, or does not know.
        for (answer, expected) in [(ok(), Fate::Confirmed), (unsure(), Fate::Cut)] {
            let mut after = SessionRecord::new(1, 0);
            after.late_answers.push((9, "fc-0-1-0".into(), answer));
            assert_eq!(fate(&[session(None, 1), after]), expected);
        }
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
