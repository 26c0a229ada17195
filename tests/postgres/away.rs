//! A database that goes away, and comes back: what callers are told meanwhile is true.

use std::time::{Duration, Instant};

use vocaris::control::appointments::Appointments;
use vocaris::control::store::{Open, StoreError};

use crate::harness::*;
use crate::proxy::{Fault, Proxy};

/// For a database to be found again: many times the longest pause between two attempts.
const FOUND_MAX: Duration = Duration::from_secs(60);

/// Asks until the book can be had.
fn ask_until_it_is_back(book: &mut Appointments, time: &str, key: &str) -> &'static str {
    let deadline = Instant::now() + FOUND_MAX;
    loop {
        match ask_for(book, time, key).label {
            "unavailable" if Instant::now() < deadline => std::thread::yield_now(),
            label => return label,
        }
    }
}

#[test]
fn a_relay_starts_beside_a_database_that_is_away_and_books_once_it_is_there() {
    let Some(server) = server() else { return };
    let proxy = Proxy::to(server.port);
    proxy.set(Fault::Closed);
    let url = server.by_port("vocaris", proxy.port, &server.database());
    let existing = Appointments::open_as(&practice(PRACTICE), &store(&url), Open::Existing);
    assert!(existing.unwrap_err().passes());
    let mut book = open(&url);
    let told = ask_for(&mut book, "09:00", "key");
    assert_eq!((told.ok, told.label), (false, "unavailable"));
    assert!(told.json["say"].as_str().unwrap().contains("Nothing was booked or changed"));
    proxy.set(Fault::None);
    assert_eq!(ask_until_it_is_back(&mut book, "09:00", "key"), "booked");
}

#[test]
fn a_line_that_stalls_ends_in_an_answer_and_the_next_one_comes_at_once() {
    let Some(server) = server() else { return };
    let proxy = Proxy::to(server.port);
    let mut book = open(&server.by_port("vocaris", proxy.port, &server.database()));
    assert_eq!(ask_for(&mut book, "09:00", "a").label, "booked");
    proxy.set(Fault::Stalled);
    assert_eq!(ask_for(&mut book, "10:00", "b").label, "unavailable");
    proxy.set(Fault::None);
    assert_eq!(ask_until_it_is_back(&mut book, "10:00", "b"), "booked");
    assert_eq!(references(&book).len(), 2);
}

#[test]
fn a_commit_whose_answer_is_lost_is_told_as_what_it_was() {
    let Some(server) = server() else { return };
    let proxy = Proxy::to(server.port);
    let mut book = open(&server.by_port("vocaris", proxy.port, &server.database()));
    proxy.set(Fault::CutAfterCommit);
    assert_eq!(ask_for(&mut book, "09:00", "a").label, "booked", "it was committed");
    assert_eq!(references(&book).len(), 1);
    proxy.set(Fault::CutBeforeCommit);
    assert_eq!(ask_for(&mut book, "10:00", "b").label, "unavailable", "it was not");
    assert_eq!(references(&book).len(), 1);
    assert_eq!(ask_for(&mut book, "10:00", "b").label, "booked");
}

#[test]
fn a_commit_nobody_can_tell_of_is_not_told_as_undone() {
    let Some(server) = server() else { return };
    let proxy = Proxy::to(server.port);
    let mut book = open(&server.by_port("vocaris", proxy.port, &server.database()));
    proxy.set(Fault::CutAfterCommitForGood);
    let told = ask_for(&mut book, "09:00", "a");
    assert_eq!((told.ok, told.label), (false, "unsure"));
    let say = told.json["say"].as_str().unwrap();
    assert!(say.contains("not known whether") && !say.contains("Nothing was"), "{say}");
    proxy.set(Fault::None);
    // The same use of the tool gets the answer that was kept with the booking.
    assert_eq!(ask_until_it_is_back(&mut book, "09:00", "a"), "repeated");
    assert_eq!(references(&book).len(), 1);
}

#[test]
fn a_server_that_restarts_is_found_again_with_what_it_had_confirmed() {
    let Some(server) = Server::own("restart") else { return };
    let mut book = open(&server.by_socket(&server.database()));
    assert_eq!(ask_for(&mut book, "09:00", "a").label, "booked");
    let asked = ["10:00", "11:00"];
    for (mode, time) in ["fast", "immediate"].into_iter().zip(asked) {
        assert!(server.control("restart", &["-m", mode]), "{mode}");
        // The old connection is found closed, and replaced without a word.
        assert_eq!(ask_for(&mut book, time, time).label, "booked", "{mode}");
    }
    assert_eq!(references(&book).len(), 3);

    assert!(server.control("stop", &["-m", "fast"]));
    assert_eq!(ask_for(&mut book, "13:00", "d").label, "unavailable");
    assert!(book.list(0..i64::MAX, 9).unwrap_err().passes());
    assert!(server.control("start", &[]));
    assert_eq!(ask_until_it_is_back(&mut book, "13:00", "d"), "booked");
    assert_eq!(references(&book).len(), 4);
}

#[test]
fn a_lock_that_somebody_keeps_refuses_for_now_and_books_nothing() {
    let Some(server) = server() else { return };
    let database = server.database();
    let mut book = open(&server.by_socket(&database));
    let url = server.by_socket(&database);
    let store = store(&url);
    let mut other = vocaris::control::appointments::store::Store::open(&store.url, Open::OrCreate);
    let told: Result<_, StoreError> = other.as_mut().unwrap().transact(|ledger| {
        ledger.keep_answer(0, "other", "{}")?;
        Ok(ask_for(&mut book, "09:00", "a"))
    });
    let told = told.unwrap();
    assert_eq!((told.ok, told.label), (false, "unavailable"));
    assert_eq!(ask_for(&mut book, "09:00", "a").label, "booked");
}

#[test]
fn a_connection_that_is_given_up_is_closed_though_nobody_asks_again() {
    let Some(server) = server() else { return };
    let (proxy, database) = (Proxy::to(server.port), server.database());
    let mut book = open(&server.by_port("vocaris", proxy.port, &database));
    let count = format!(
        "SELECT count(*) FROM pg_stat_activity \
         WHERE datname = '{database}' AND application_name = 'vocaris'"
    );
    assert_eq!(ask_for(&mut book, "09:00", "a").label, "booked");
    assert_eq!(server.sql("postgres", &count), "1");
    proxy.set(Fault::Stalled);
    assert_eq!(ask_for(&mut book, "10:00", "b").label, "unavailable");
    let deadline = Instant::now() + FOUND_MAX;
    while server.sql("postgres", &count) != "0" {
        assert!(Instant::now() < deadline, "it is still open");
    }
    proxy.set(Fault::None);
    assert_eq!(ask_until_it_is_back(&mut book, "10:00", "b"), "booked");
    assert_eq!(server.sql("postgres", &count), "1");
}

#[test]
fn a_number_that_was_committed_without_what_was_booked_under_it_confirms_nothing() {
    let Some(server) = server() else { return };
    let (proxy, database) = (Proxy::to(server.port), server.database());
    let mut book = open(&server.by_port("vocaris", proxy.port, &database));
    // As after a crash that has given the number to somebody else: committed, and nothing is there.
    server.sql(
        &database,
        "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         DELETE FROM vocaris.answers; DELETE FROM vocaris.bookings; RETURN NULL; END $$; \
         CREATE CONSTRAINT TRIGGER lose AFTER INSERT ON vocaris.answers DEFERRABLE \
         INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION lose()",
    );
    proxy.set(Fault::CutAfterCommit);
    let told = ask_for(&mut book, "09:00", "a");
    assert_eq!((told.ok, told.label), (false, "unsure"));
    server.sql(&database, "DROP TRIGGER lose ON vocaris.answers");
    assert_eq!(ask_for(&mut book, "09:00", "a").label, "booked");
    assert_eq!(references(&book).len(), 1);
}

#[test]
fn a_relay_starts_beside_a_database_that_takes_no_changes_and_books_once_it_does() {
    let Some(server) = server() else { return };
    let database = server.database();
    let url = server.by_socket(&database);
    drop(open(&url));
    let read_only = format!("ALTER DATABASE {database} SET default_transaction_read_only = on");
    server.sql("postgres", &read_only);
    let mut book = open(&url);
    assert_eq!(ask_for(&mut book, "09:00", "a").label, "unavailable");
    assert_eq!(references(&book).len(), 0);
    let writable = format!("ALTER DATABASE {database} RESET default_transaction_read_only");
    server.sql("postgres", &writable);
    assert_eq!(ask_until_it_is_back(&mut book, "09:00", "a"), "booked");
}
