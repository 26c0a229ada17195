//! The calendar, read by a parser that is not ours.

use std::collections::BTreeMap;

use icalendar::parser::{Component, read_calendar, unfold};
use jiff::Timestamp;
use serde_json::json;
use vocaris::control::appointments::Appointments;
use vocaris::control::appointments::feed::Feed;
use vocaris::mail::CalendarPage;

use crate::harness::*;

/// A property's value, and its zone.
fn property(component: &Component<'_>, name: &str) -> (String, Option<String>) {
    let property = component.find_prop(name).unwrap_or_else(|| panic!("no {name}"));
    let zone = property.params.iter().find(|param| param.key == "TZID");
    let zone = zone.and_then(|zone| zone.val.as_ref()).map(|zone| zone.as_str().to_owned());
    (property.val.as_str().to_owned(), zone)
}

fn value(component: &Component<'_>, name: &str) -> String {
    property(component, name).0
}

#[test]
fn a_calendar_program_reads_every_booking_with_its_zone_and_state() {
    let mut desk = Reception::open("calendar");
    let ana = caller("+491701234567", "1");
    let note = "Angst; vor Spritzen, bitte\nvorsichtig \\ \u{1F9B7} — ".to_owned()
        + &"sehr lange Bemerkung ".repeat(9);
    let wish = json!({
        "service": "Check-up", "date": "2027-03-30", "time": "09:00",
        "name": "Änne Größe-Łukasz, Dr.; Müller", "note": note,
    });
    assert_eq!(desk.status(&ana, "book_appointment", wish), "booked");
    desk.book(&caller("", "2"), "2027-03-22", "10:00");
    let moved = json!({"date": "2027-03-23", "time": "11:00"});
    desk.now = "2027-03-02T07:00:00Z".parse().unwrap();
    assert_eq!(desk.status(&caller("", "2"), "reschedule_appointment", moved), "moved");
    desk.book(&caller("", "3"), "2027-03-15", "10:00");
    assert_eq!(desk.status(&caller("", "3"), "cancel_appointment", json!({})), "cancelled");

    let text = desk.book.calendar(desk.now).unwrap();
    assert!(text.ends_with("END:VCALENDAR\r\n"));
    for line in text.split("\r\n") {
        assert!(line.len() <= 75 && !line.contains(['\r', '\n']), "{line}");
        assert!(!line.chars().any(|c| c.is_control()), "{line:?}");
    }
    let unfolded = unfold(&text);
    let calendar = read_calendar(&unfolded).unwrap();
    let own = |name: &str| {
        let property = calendar.properties.iter().find(|property| property.name == name);
        property.unwrap().val.as_str().to_owned()
    };
    assert_eq!((own("VERSION"), own("METHOD")), ("2.0".into(), "PUBLISH".into()));
    assert_eq!(own("X-WR-TIMEZONE"), "Europe/Berlin");
    let events: Vec<&Component<'_>> =
        calendar.components.iter().filter(|one| one.name == "VEVENT").collect();
    let [cancelled, moved, coming] = events[..] else { panic!("{} events", events.len()) };
    let berlin = || Some("Europe/Berlin".to_owned());
    assert_eq!(property(coming, "DTSTART"), ("20270330T090000".into(), berlin()));
    assert_eq!(property(coming, "DTEND"), ("20270330T093000".into(), berlin()));
    assert_eq!(value(coming, "DTSTAMP"), "20270301T070000Z");
    assert_eq!(
        (value(coming, "STATUS"), value(coming, "SEQUENCE")),
        ("CONFIRMED".into(), "0".into())
    );
    let summary = coming.find_prop("SUMMARY").unwrap().val.clone().unescape_text();
    assert_eq!(summary.as_str(), "Check-up: Änne Größe-Łukasz, Dr.; Müller");
    let description = coming.find_prop("DESCRIPTION").unwrap().val.clone().unescape_text();
    assert!(description.as_str().contains("\nTelephone +491701234567\nAngst; vor Spritzen, bitte"));
    assert!(description.as_str().contains("\\ \u{1F9B7} — sehr"), "{}", description.as_str());
    assert_eq!(value(moved, "DTSTART"), "20270323T110000");
    assert_eq!(
        (value(moved, "SEQUENCE"), value(moved, "STATUS")),
        ("1".into(), "CONFIRMED".into())
    );
    assert_eq!(value(moved, "LAST-MODIFIED"), "20270302T070000Z");
    assert_eq!(
        (value(cancelled, "SEQUENCE"), value(cancelled, "STATUS")),
        ("1".into(), "CANCELLED".into())
    );
    let names: std::collections::BTreeSet<String> =
        events.iter().map(|event| value(event, "UID")).collect();
    assert_eq!(names.len(), 3);

    // The next day the same events have the same names; after a month the cancelled one is gone.
    let later: Timestamp = "2027-04-15T00:00:00Z".parse().unwrap();
    let text = desk.book.calendar(later).unwrap();
    let unfolded = unfold(&text);
    let calendar = read_calendar(&unfolded).unwrap();
    let left: Vec<String> = calendar
        .components
        .iter()
        .filter(|one| one.name == "VEVENT")
        .map(|event| value(event, "UID"))
        .collect();
    assert_eq!(left, [value(moved, "UID"), value(coming, "UID")]);
}

/// Seconds of `+hhmm`.
fn offset(text: &str) -> i32 {
    let digits = |from: usize| text[from..from + 2].parse::<i32>().unwrap();
    let size = digits(1) * 3600 + digits(3) * 60;
    if text.starts_with('-') { -size } else { size }
}

#[test]
fn a_zone_without_rules_of_its_own_is_as_the_feed_describes_it() {
    for zone in ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"]
    {
        let text = PRACTICE.replace("Europe/Berlin", zone);
        let mut desk = Reception::with(&text, &format!("zone-{}", zone.replace('/', "-")));
        for at in 0..8 {
            let date = ["02", "09", "16", "23"][at % 4];
            let month = ["03", "04"][at / 4];
            let time = if at % 4 == 0 { "09:00" } else { "10:00" };
            let wish = checkup(&format!("2027-{month}-{date}"), time, "Ana");
            desk.ask(&caller("", &format!("{at}")), "book_appointment", wish);
        }
        let text = desk.book.calendar(desk.now).unwrap();
        let unfolded = unfold(&text);
        let calendar = read_calendar(&unfolded).unwrap();
        let described = calendar.components.iter().find(|one| one.name == "VTIMEZONE").unwrap();
        assert_eq!(value(described, "TZID"), zone);
        // Onset by local time, and what holds from then on.
        let mut onsets = BTreeMap::<String, (i32, i32)>::new();
        for kind in &described.components {
            let offsets =
                (offset(&value(kind, "TZOFFSETFROM")), offset(&value(kind, "TZOFFSETTO")));
            for onset in
                kind.properties.iter().filter(|one| one.name == "DTSTART" || one.name == "RDATE")
            {
                onsets.insert(onset.val.as_str().to_owned(), offsets);
            }
        }
        let zone = jiff::tz::TimeZone::get(zone).unwrap();
        let events = desk.all();
        assert!(events.len() >= 4);
        // Every hour from the first to the last event, by the description and by the real rules.
        let (first, last) = (events[0].start_unix, events[events.len() - 1].end_unix);
        let mut hour = first;
        while hour < last {
            let moment = Timestamp::from_second(hour).unwrap();
            let has_begun = |&(onset, &(before, _)): &(&String, &(i32, i32))| {
                let local = jiff::tz::Offset::from_seconds(before).unwrap().to_datetime(moment);
                *onset <= local.strftime("%Y%m%dT%H%M%S").to_string()
            };
            let by_feed = onsets.iter().rfind(has_begun).map(|(_, &(_, after))| after);
            assert_eq!(by_feed, Some(zone.to_offset(moment).seconds()), "{zone:?} {moment}");
            hour += 3600;
        }
    }
}

#[test]
fn a_feed_is_written_anew_only_when_the_book_has_changed() {
    let path = file("feed");
    let mut desk = Appointments::open(&practice(PRACTICE), &store(path.clone())).unwrap();
    let reader = Appointments::open(&practice(PRACTICE), &store(path)).unwrap();
    let (mut feed, _letters) = Feed::new(reader);
    let now: Timestamp = NOW.parse().unwrap();
    let tag_of = |page: CalendarPage| match page {
        CalendarPage::Text { text, tag } => (text, tag),
        other => panic!("no text but {other:?}"),
    };
    let (empty, first) = tag_of(feed.page(now, None));
    assert!(!empty.contains("VEVENT"));
    let known = format!("\"other\", W/{first}");
    assert!(
        matches!(feed.page(now, Some(&known)), CalendarPage::Unchanged { tag } if tag == first)
    );
    let anybody = caller("", "1");
    let wish = checkup("2027-03-08", "10:00", "Ana");
    assert!(desk.answer(now, "book_appointment", &wish, &anybody).ok);
    let (text, second) = tag_of(feed.page(now, Some(&first)));
    assert!(text.contains("VEVENT") && first != second);
    let (again, third) = tag_of(feed.page(now, None));
    assert_eq!((again, third), (text, second), "the same bookings make the same text");
}
