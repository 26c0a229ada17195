//! The calendar feed: iCalendar, RFC 5545, with what RFC 7986 adds for feeds.
//!
//! In:       bookings.
//! Out:      one `VCALENDAR` with the zone's real changes of the clock and an event a booking.
//! Bounds:   [`EVENTS_MAX`] events, from [`PAST_DAYS`] ago on; lines of 75 octets (section 3.1).
//! Not here: who may read it, where it is sent.
//!
//! The same bookings make the same text, byte by byte: `DTSTAMP` is the moment an event was last
//! changed, not the moment the text is written, so that a reader can tell that nothing has changed.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Range;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

use super::store::{Booking, Shown, Status};
use crate::config::Appointments as Practice;

/// Events of one feed. Beyond it those are left out that are cancelled, then those that are over,
/// then those that are farthest from today.
pub const EVENTS_MAX: u32 = 5000;
/// Events that began so many days ago are left out.
pub const PAST_DAYS: i64 = 90;
/// Cancelled ones are shown so many days after the cancellation, so that every reader learns of it.
pub const CANCELLED_SHOWN_DAYS: i64 = 30;
/// How often readers are asked to look.
const REFRESH: &str = "PT5M";
/// Octets of one line, without its end (section 3.1).
const LINE_MAX_OCTETS: usize = 75;
const DAY_SECONDS: i64 = 24 * 3600;

/// Which bookings are shown at `now_unix`: whole days, so that the text changes at most once a day
/// by itself.
pub fn shown(now_unix: i64) -> Shown {
    let today = now_unix - now_unix.rem_euclid(DAY_SECONDS);
    Shown {
        begins_from: today - PAST_DAYS * DAY_SECONDS,
        cancelled_from: today - CANCELLED_SHOWN_DAYS * DAY_SECONDS,
        today,
    }
}

/// The feed of these bookings, which `shown` has chosen.
pub fn write(practice: &Practice, bookings: &[Booking], shown: &Shown) -> String {
    let mut text = String::new();
    let zone = &practice.time_zone;
    let name = practice.zone_name();
    for property in [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//Vocaris//Appointments//EN",
        "CALSCALE:GREGORIAN",
        "METHOD:PUBLISH",
        "NAME:Appointments",
        "X-WR-CALNAME:Appointments",
    ] {
        line(&mut text, property);
    }
    line(&mut text, &format!("X-WR-TIMEZONE:{name}"));
    line(&mut text, &format!("REFRESH-INTERVAL;VALUE=DURATION:{REFRESH}"));
    line(&mut text, &format!("X-PUBLISHED-TTL:{REFRESH}"));
    let ends = bookings.iter().map(|one| one.end_unix);
    let from = bookings.iter().map(|one| one.start_unix).min().unwrap_or(shown.begins_from);
    let until = ends.max().unwrap_or(from);
    time_zone(&mut text, zone, name, from..until);
    for booking in bookings {
        event(&mut text, zone, name, booking);
    }
    line(&mut text, "END:VCALENDAR");
    text
}

/// One booking (section 3.6.1).
fn event(text: &mut String, zone: &TimeZone, zone_name: &str, booking: &Booking) {
    let cancelled = booking.status == Status::Cancelled;
    let changed = utc(booking.changed_unix);
    let mut described = format!("Reference {}", booking.reference);
    if let Some(number) = &booking.number {
        described.push_str("\nTelephone ");
        described.push_str(number);
    }
    if let Some(note) = &booking.note {
        described.push('\n');
        described.push_str(note);
    }
    let summary = format!("{}: {}", booking.service, booking.name);
    for property in [
        "BEGIN:VEVENT".to_owned(),
        format!("UID:{}", booking.uid),
        format!("DTSTAMP:{changed}"),
        format!("CREATED:{}", utc(booking.created_unix)),
        format!("LAST-MODIFIED:{changed}"),
        format!("SEQUENCE:{}", booking.sequence),
        format!("DTSTART{}", moment(zone, zone_name, booking.start_unix)),
        format!("DTEND{}", moment(zone, zone_name, booking.end_unix)),
        format!("SUMMARY:{}", escaped(&summary)),
        format!("DESCRIPTION:{}", escaped(&described)),
        format!("STATUS:{}", if cancelled { "CANCELLED" } else { "CONFIRMED" }),
        format!("TRANSP:{}", if cancelled { "TRANSPARENT" } else { "OPAQUE" }),
        "CLASS:PRIVATE".to_owned(),
        "END:VEVENT".to_owned(),
    ] {
        line(text, &property);
    }
}

/// A moment behind a property's name: local time with its zone. A local time that comes twice means
/// the first of them (section 3.3.5), so the second is written in UTC.
fn moment(zone: &TimeZone, zone_name: &str, unix: i64) -> String {
    let at = at(unix);
    let local = zone.to_datetime(at);
    let is_second = match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Fold { after, .. } => zone.to_offset(at) == after,
        _ => false,
    };
    match is_second {
        true => format!(":{}", utc(unix)),
        false => format!(";TZID={zone_name}:{}", basic(local)),
    }
}

/// The zone (section 3.6.5) as it is from a year before `events` to two years after them: for each
/// kind of change its first date, and the others as `RDATE`s.
fn time_zone(text: &mut String, zone: &TimeZone, name: &str, events: Range<i64>) {
    let from = at(events.start.saturating_sub(366 * DAY_SECONDS));
    let until = events.end.saturating_add(2 * 366 * DAY_SECONDS);
    // By offset before, offset after, daylight saving and name: when, in the time before.
    let mut changes = BTreeMap::<(i32, i32, bool, String), Vec<DateTime>>::new();
    let in_force = zone.preceding(from).next();
    let later = zone.following(from).take_while(|change| change.timestamp().as_second() < until);
    for change in in_force.iter().cloned().chain(later) {
        let at = change.timestamp();
        let before = zone.to_offset(Timestamp::from_second(at.as_second() - 1).unwrap_or(at));
        let kind = (
            before.seconds(),
            change.offset().seconds(),
            change.dst().is_dst(),
            change.abbreviation().to_owned(),
        );
        changes.entry(kind).or_default().push(before.to_datetime(at));
    }
    if in_force.is_none() {
        // A zone that has never changed.
        let info = zone.to_offset_info(from);
        let offset = info.offset().seconds();
        let begin = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
        changes.insert((offset, offset, false, info.abbreviation().to_owned()), vec![begin]);
    }
    line(text, "BEGIN:VTIMEZONE");
    line(text, &format!("TZID:{name}"));
    for ((before, after, is_dst, abbreviation), dates) in &changes {
        let kind = if *is_dst { "DAYLIGHT" } else { "STANDARD" };
        line(text, &format!("BEGIN:{kind}"));
        line(text, &format!("TZOFFSETFROM:{}", offset(*before)));
        line(text, &format!("TZOFFSETTO:{}", offset(*after)));
        line(text, &format!("TZNAME:{}", escaped(abbreviation)));
        line(text, &format!("DTSTART:{}", basic(dates[0])));
        for date in &dates[1..] {
            line(text, &format!("RDATE:{}", basic(*date)));
        }
        line(text, &format!("END:{kind}"));
    }
    line(text, "END:VTIMEZONE");
}

fn at(unix: i64) -> Timestamp {
    Timestamp::from_second(unix).unwrap_or(Timestamp::MAX)
}

/// `20270131T093000`.
fn basic(at: DateTime) -> String {
    at.strftime("%Y%m%dT%H%M%S").to_string()
}

/// `20270131T083000Z`.
fn utc(unix: i64) -> String {
    format!("{}Z", basic(Offset::UTC.to_datetime(at(unix))))
}

/// `+0530`; seconds where there are any (section 3.3.14).
fn offset(seconds: i32) -> String {
    let (sign, size) = (if seconds < 0 { '-' } else { '+' }, seconds.unsigned_abs());
    let mut text = format!("{sign}{:02}{:02}", size / 3600, size / 60 % 60);
    if !size.is_multiple_of(60) {
        let _ = write!(text, "{:02}", size % 60);
    }
    text
}

/// Text (section 3.3.11): what has a meaning of its own is escaped; other control characters have
/// no place in it.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | ';' | ',' => escaped.extend(['\\', c]),
            '\n' => escaped.push_str("\\n"),
            c if c.is_control() => {}
            c => escaped.push(c),
        }
    }
    escaped
}

/// Appends one content line, folded (section 3.1).
fn line(text: &mut String, content: &str) {
    let mut rest = content;
    let mut room = LINE_MAX_OCTETS;
    while rest.len() > room {
        let (now, later) = rest.split_at(rest.floor_char_boundary(room));
        text.push_str(now);
        text.push_str("\r\n ");
        rest = later;
        // The space counts.
        room = LINE_MAX_OCTETS - 1;
    }
    text.push_str(rest);
    text.push_str("\r\n");
}
