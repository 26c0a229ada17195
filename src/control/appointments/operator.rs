//! What the operator sees of the book: `vocaris appointments list`.
//!
//! In:       bookings.
//! Out:      a line a booking, or JSON.
//! Not here: opening the book, the command line (`main`).

use std::fmt::Write;
use std::ops::Range;

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use super::hours::local;
use super::{Appointments, Booking, Status};
use crate::config::Appointments as Practice;
use crate::control::store::StoreError;

/// Bookings in one list. Beyond it those that begin first are left out.
pub const LIST_MAX: u32 = 100_000;

/// The local days that are listed, as seconds since 1970: from `first`, else today, to the end of
/// `last`, else for ever.
pub fn days(
    practice: &Practice,
    now: Timestamp,
    first: Option<Date>,
    last: Option<Date>,
) -> Range<i64> {
    let midnight = |date: Date| {
        let midnight = practice.time_zone.to_timestamp(date.at(0, 0, 0, 0));
        midnight.map_or(i64::MAX, Timestamp::as_second)
    };
    let first = first.unwrap_or_else(|| practice.time_zone.to_datetime(now).date());
    let until = last.map_or(i64::MAX, |last| midnight(last.saturating_add(1.day())));
    midnight(first)..until
}

/// The bookings that begin within `begins`, as text for people or as JSON.
///
/// # Errors
/// If the book cannot be read.
pub fn list(book: &Appointments, begins: Range<i64>, as_json: bool) -> Result<String, StoreError> {
    let bookings = book.list(begins, LIST_MAX)?;
    let practice = book.practice();
    if as_json {
        let all = bookings.iter().map(|booking| fields(practice, booking)).collect();
        return Ok(format!("{:#}\n", Value::Array(all)));
    }
    let mut text = String::new();
    for booking in &bookings {
        let _ = writeln!(text, "{}", line(practice, booking));
    }
    if bookings.is_empty() {
        text.push_str("no appointments\n");
    }
    Ok(text)
}

/// `2027-01-31 09:30-10:00  K7X4M  confirmed  Check-up  Ana Li  +15550100`.
pub fn line(practice: &Practice, booking: &Booking) -> String {
    let (start, end) = (local(practice, booking.start_unix), local(practice, booking.end_unix));
    let mut line = format!(
        "{}-{}  {}  {:9}  {}  {}  {}",
        start.strftime("%Y-%m-%d %H:%M"),
        end.strftime("%H:%M"),
        booking.reference,
        status(booking),
        booking.service,
        booking.name,
        booking.number.as_deref().unwrap_or("-"),
    );
    if let Some(note) = &booking.note {
        let _ = write!(line, "  ({note})");
    }
    line
}

fn status(booking: &Booking) -> &'static str {
    match booking.status {
        Status::Confirmed => "confirmed",
        Status::Cancelled => "cancelled",
    }
}

fn fields(practice: &Practice, booking: &Booking) -> Value {
    let time = |unix: i64| {
        let at = Timestamp::from_second(unix).unwrap_or(Timestamp::MAX);
        let offset = practice.time_zone.to_offset(at);
        at.display_with_offset(offset).to_string()
    };
    json!({
        "reference": booking.reference,
        "uid": booking.uid,
        "status": status(booking),
        "service": booking.service,
        "starts_at": time(booking.start_unix),
        "ends_at": time(booking.end_unix),
        "name": booking.name,
        "number": booking.number,
        "note": booking.note,
        "sequence": booking.sequence,
        "created_at": time(booking.created_unix),
        "changed_at": time(booking.changed_unix),
    })
}
