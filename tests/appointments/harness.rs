//! A practice, and callers that use its tools.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Value, json};
use vocaris::config::{self, Config, SourceFile, Store};
use vocaris::control::appointments::{Answer, Appointments, Booking, CallerFacts};

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
holidays = ["2027-03-26..2027-03-29"]
calendar_token = "0123456789abcdef"
hours = { mon = ["09:00-12:00", "13:00-17:00"], tue = "09:00-12:00", sat = "09:00-10:00" }
[[appointments.services]]
name = "Check-up"
length = "30m"
buffer_after = "10m"
[[appointments.services]]
name = "Surgery"
length = "2h"
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

/// A file of one test's own, not yet there.
pub(crate) fn file(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("appointments");
    std::fs::create_dir_all(&folder).unwrap();
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(folder.join(format!("{name}.db{end}")));
    }
    folder.join(format!("{name}.db"))
}

pub(crate) fn store(path: PathBuf) -> Store {
    Store::sqlite(path)
}

/// The book of [`PRACTICE`], and the time.
pub(crate) struct Reception {
    pub(crate) book: Appointments,
    pub(crate) now: Timestamp,
}

impl Reception {
    pub(crate) fn open(name: &str) -> Reception {
        Reception::with(PRACTICE, name)
    }

    pub(crate) fn with(text: &str, name: &str) -> Reception {
        let book = Appointments::open(&practice(text), &store(file(name))).unwrap();
        Reception { book, now: NOW.parse().unwrap() }
    }

    pub(crate) fn ask(&mut self, caller: &CallerFacts, tool: &str, arguments: Value) -> Answer {
        let answer = self.book.answer(self.now, tool, &arguments, caller);
        assert_eq!(answer.json["ok"], answer.ok, "{answer:?}");
        let say = answer.json["say"].as_str().unwrap();
        assert!(!say.is_empty() && say.len() < 500, "{say}");
        assert!(answer.json.to_string().len() < 8 * 1024, "{answer:?}");
        answer
    }

    /// What is asked is done, and comes with this status.
    #[track_caller]
    pub(crate) fn status(&mut self, caller: &CallerFacts, tool: &str, arguments: Value) -> String {
        let answer = self.ask(caller, tool, arguments);
        answer.json["status"].as_str().unwrap().to_owned()
    }

    /// Books a check-up; its reference.
    #[track_caller]
    pub(crate) fn book(&mut self, caller: &CallerFacts, date: &str, time: &str) -> String {
        let answer = self.ask(caller, "book_appointment", checkup(date, time, "Ana Li"));
        assert_eq!(answer.label, "booked", "{answer:?}");
        answer.json["appointment"]["reference"].as_str().unwrap().to_owned()
    }

    pub(crate) fn all(&self) -> Vec<Booking> {
        self.book.list(0..i64::MAX, 100_000).unwrap()
    }
}

pub(crate) fn checkup(date: &str, time: &str, name: &str) -> Value {
    json!({"service": "Check-up", "date": date, "time": time, "name": name})
}

/// Somebody who calls from this number; every use of a tool is a new one.
pub(crate) fn caller(number: &str, call: &str) -> CallerFacts {
    let number = Some(number.to_owned()).filter(|number| !number.is_empty());
    CallerFacts { number, call: call.to_owned(), key: String::new() }
}

pub(crate) fn with_key(caller: &CallerFacts, key: &str) -> CallerFacts {
    CallerFacts { key: key.to_owned(), ..caller.clone() }
}
