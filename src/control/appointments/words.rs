//! Appointments in words: sentences to be said, and the same in fields.
//!
//! Out:      English sentences, short and without symbols, for a model to put into the caller's
//!           language; JSON fields beside them.
//! Not here: what happened (`answers`).

use jiff::civil::{Date, DateTime};
use serde_json::{Value, json};

use super::hours::local;
use super::store::{Booking, Status};
use crate::config::Appointments as Practice;

/// `Tuesday 24 November`, with the year where it is not that of `today`.
pub(super) fn day(date: Date, today: Date) -> String {
    let form = if date.year() == today.year() { "%A %-d %B" } else { "%A %-d %B %Y" };
    date.strftime(form).to_string()
}

/// `09:30`.
pub(super) fn time(at: DateTime) -> String {
    at.strftime("%H:%M").to_string()
}

/// `Tuesday 24 November at 09:30`.
pub(super) fn moment(at: DateTime, today: Date) -> String {
    format!("{} at {}", day(at.date(), today), time(at))
}

/// `K 7 X 4 M`: one by one, as one says it.
pub(super) fn spelt(reference: &str) -> String {
    reference.chars().map(String::from).collect::<Vec<_>>().join(" ")
}

/// `a, b or c`.
pub(super) fn listed(items: &[String], last: &str) -> String {
    match items {
        [] => String::new(),
        [only] => only.clone(),
        [most @ .., end] => format!("{} {last} {end}", most.join(", ")),
    }
}

/// A time that is offered.
pub(super) fn offer(at: DateTime) -> Value {
    json!({
        "date": at.date().to_string(),
        "weekday": at.strftime("%A").to_string(),
        "time": time(at),
    })
}

/// A booking, as its caller may know it.
pub(super) fn appointment(practice: &Practice, booking: &Booking) -> Value {
    let (start, end) = (local(practice, booking.start_unix), local(practice, booking.end_unix));
    json!({
        "reference": booking.reference,
        "service": booking.service,
        "date": start.date().to_string(),
        "weekday": start.strftime("%A").to_string(),
        "time": time(start),
        "until": time(end),
        "name": booking.name,
        "cancelled": booking.status == Status::Cancelled,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_said_with_their_year_only_where_it_is_another() {
        let today = Date::constant(2026, 11, 23);
        let at = Date::constant(2026, 11, 24).at(9, 5, 0, 0);
        assert_eq!(moment(at, today), "Tuesday 24 November at 09:05");
        assert_eq!(day(Date::constant(2027, 1, 4), today), "Monday 4 January 2027");
        assert_eq!(spelt("K7X4M"), "K 7 X 4 M");
        let items = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
        assert_eq!(listed(&items, "or"), "a, b or c");
        assert_eq!(listed(&items[..1], "or"), "a");
    }
}
