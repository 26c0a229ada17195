//! The calendar feed: who may read it, and how it is answered.

use vocaris::config::{Appointments, Secret};
use vocaris::mail::{AcceptLetter, CalendarLetter, CalendarPage};

use crate::harness::*;

const TOKEN: &str = "0123456789+bcdef";
const TARGET: &str = "/calendar.ics?token=0123456789%2Bbcdef";

fn relay() -> Relay {
    Relay::with(|config| {
        let token = Some(Secret::new(TOKEN.to_owned()));
        let appointments = Appointments::default();
        config.appointments = Appointments { enabled: true, calendar_token: token, ..appointments };
    })
}

fn asked(relay: &Relay) -> (u64, Option<String>) {
    match relay.calendar.wait(PATIENCE) {
        Some(CalendarLetter::Ask { ticket, known }) => (ticket, known),
        other => panic!("no calendar request but {other:?}"),
    }
}

fn text(ticket: u64) -> AcceptLetter {
    let page = CalendarPage::Text { text: "BEGIN:VCALENDAR\r\n".into(), tag: "\"1\"".into() };
    AcceptLetter::Calendar { ticket, page }
}

#[test]
fn whoever_knows_the_token_gets_the_calendar_and_later_hears_that_it_is_the_same() {
    let relay = relay();
    let mut reader = relay.connect();
    reader.send(get(TARGET));
    let (ticket, known) = asked(&relay);
    assert_eq!(known, None);
    relay.post_letter(text(ticket));
    let calendar = reader.response();
    assert_eq!((calendar.status, calendar.body.as_str()), (200, "BEGIN:VCALENDAR\r\n"));
    assert_eq!(calendar.field("content-type"), Some("text/calendar; charset=utf-8"));
    assert_eq!(calendar.field("etag"), Some("\"1\""));
    assert_eq!(calendar.field("cache-control"), Some("private, no-cache"));

    let again =
        format!("GET {TARGET} HTTP/1.1\r\nHost: h.example\r\nIf-None-Match: \"0\", \"1\"\r\n\r\n");
    reader.send(again);
    let (ticket, known) = asked(&relay);
    assert_eq!(known.as_deref(), Some("\"0\", \"1\""));
    let page = CalendarPage::Unchanged { tag: "\"1\"".into() };
    relay.post_letter(AcceptLetter::Calendar { ticket, page });
    let same = reader.response();
    assert_eq!((same.status, same.field("etag")), (304, Some("\"1\"")));

    reader.send(format!("HEAD {TARGET} HTTP/1.1\r\nHost: h.example\r\n\r\n"));
    relay.post_letter(text(asked(&relay).0));
    let head = reader.response_to(true);
    assert_eq!((head.status, head.field("content-length")), (200, Some("17")));
    let bearer = format!(
        "GET /calendar.ics HTTP/1.1\r\nHost: h.example\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    );
    reader.send(bearer);
    relay.post_letter(text(asked(&relay).0));
    assert_eq!(reader.response().status, 200);
}

#[test]
fn without_the_token_nobody_reads_it_and_the_book_is_not_asked() {
    let closed = relay();
    let none = closed.get("/calendar.ics");
    assert_eq!((none.status, none.field("www-authenticate")), (401, Some("Bearer")));
    for query in ["token=", "token=0123456789", "token=0123456789%2Bbcdefx", "token=%2", "token"] {
        let refused = closed.get(&format!("/calendar.ics?{query}"));
        assert_eq!((refused.status, refused.field("www-authenticate")), (401, Some("Bearer")));
        assert!(refused.body.starts_with("{\"error\":\""), "{}", refused.body);
    }
    let faults = &closed.shared.http_faults;
    assert_eq!((faults.of("calendar_no_token"), faults.of("calendar_wrong_token")), (2, 4));
    assert_eq!(closed.post_form(TARGET, "").status, 405);
    assert!(closed.calendar.take().is_none());

    let unset = Relay::with(|config| {
        config.appointments = Appointments { enabled: true, ..Appointments::default() };
    });
    let refused = unset.get(TARGET);
    assert_eq!(refused.status, 403);
    assert!(refused.body.contains("appointments.calendar_token is not set"), "{}", refused.body);
    assert_eq!(unset.shared.http_faults.of("calendar_shut"), 1);
    let off = Relay::with(|config| config.appointments = Appointments::default());
    assert_eq!(off.get(TARGET).status, 404);
}

#[test]
fn a_book_that_cannot_be_read_is_answered_503() {
    let relay = relay();
    let mut reader = relay.connect();
    reader.send(get(TARGET));
    let ticket = asked(&relay).0;
    relay.post_letter(AcceptLetter::Calendar { ticket, page: CalendarPage::Unavailable });
    assert_eq!(reader.response().status, 503);
}
