//! A practice to book at, in a database of the tests' own or in a file.
//!
//! In:       a server of [`crate::server`].
//! Out:      settings, books, what is asked of them.

use std::fs;
use std::path::Path;

use jiff::Timestamp;
use serde_json::{Value, json};
use vocaris::config::{self, Config, SourceFile, Store};
use vocaris::control::appointments::{Answer, Appointments, CallerFacts};

pub(crate) use crate::server::{Server, server, text};

/// Monday 1 March 2027, 08:00 in Berlin.
pub(crate) const NOW: &str = "2027-03-01T07:00:00Z";

/// A dentist with one chair, and a course with three places.
pub(crate) const PRACTICE: &str = r#"
[appointments]
enabled = true
time_zone = "Europe/Berlin"
slot = "30m"
notice = "1h"
horizon = "60d"
hours = { mon = ["09:00-12:00", "13:00-17:00"], tue = "09:00-12:00" }
[[appointments.services]]
name = "Check-up"
length = "30m"
buffer_after = "10m"
[[appointments.services]]
name = "Course"
length = "1h"
resource = "room"
capacity = 3
"#;

pub(crate) fn practice(text: &str) -> config::Appointments {
    let file = SourceFile { path: "v.toml".into(), text: text.to_owned() };
    Config::read(Some(&file), []).unwrap().appointments
}

/// The settings of a store at `url`, with other keys of the section.
pub(crate) fn store_with(url: &str, more: &[(&str, &str)]) -> Store {
    let mut settings = vec![("VOCARIS_STORE_URL".into(), url.into())];
    settings.extend(more.iter().map(|&(name, value)| (name.into(), value.into())));
    Config::read(None, settings).unwrap_or_else(|errors| panic!("{url}: {errors}")).store
}

pub(crate) fn store(url: &str) -> Store {
    store_with(url, &[])
}

/// An SQLite file of one test's own, not yet there.
pub(crate) fn file(name: &str) -> String {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("postgres");
    fs::create_dir_all(&folder).unwrap();
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(folder.join(format!("{name}.db{end}")));
    }
    format!("sqlite:{}", folder.join(format!("{name}.db")).display())
}

/// Each kind of store there is on this machine, empty.
pub(crate) fn stores(name: &str) -> Vec<Store> {
    let postgres = server().map(|server| server.by_socket(&server.database()));
    let urls = std::iter::once(file(name)).chain(postgres);
    urls.map(|url| store(&url)).collect()
}

pub(crate) fn open(url: &str) -> Appointments {
    Appointments::open(&practice(PRACTICE), &store(url)).unwrap()
}

pub(crate) fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// Asks for a check-up on a Monday.
pub(crate) fn ask_for(book: &mut Appointments, time: &str, key: &str) -> Answer {
    let caller = CallerFacts { number: None, call: key.to_owned(), key: key.to_owned() };
    book.answer(now(), "book_appointment", &checkup(time), &caller)
}

pub(crate) fn checkup(time: &str) -> Value {
    json!({"service": "Check-up", "date": "2027-03-08", "time": time, "name": "Ana Li"})
}

/// What stands, by reference.
pub(crate) fn references(book: &Appointments) -> Vec<String> {
    let all = book.list(0..i64::MAX, 100_000).unwrap();
    all.into_iter().map(|booking| booking.reference).collect()
}
