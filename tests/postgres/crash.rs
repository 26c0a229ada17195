//! A process that is killed while it books in a database.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use jiff::ToSpan;
use serde_json::json;
use vocaris::control::appointments::CallerFacts;

use crate::harness::*;

/// Set for the child: the URL of the book.
const CHILD: &str = "POSTGRES_TEST_BOOK";
/// How often a process is killed.
const KILLS: usize = 8;

/// Books without an end, and prints each booking once it is confirmed.
fn book_for_ever(url: &str) -> ! {
    let mut random = fastrand::Rng::new();
    let mut book = open(url);
    let first = now().to_zoned(jiff::tz::TimeZone::UTC).date();
    loop {
        let key = format!("{:x}", random.u64(..));
        let caller = CallerFacts { number: None, call: key.clone(), key: key.clone() };
        let date = first.saturating_add(random.i64(0..8).weeks()).to_string();
        let time = format!("{:02}:{:02}", random.u8(9..17), random.u8(0..2) * 30);
        let wish = json!({"service": "Course", "date": date, "time": time, "name": "Ana Li"});
        let answer = book.answer(now(), "book_appointment", &wish, &caller);
        if answer.label == "booked" {
            let reference = answer.json["appointment"]["reference"].as_str().unwrap();
            // One write: a line is told whole or not at all, or without its end.
            let line = format!("\nbooked {reference} {key}\n");
            std::io::stdout().write_all(line.as_bytes()).unwrap();
        }
    }
}

fn child(url: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["crash::what_was_confirmed_before_a_kill_stands_once", "--exact", "--nocapture"])
        .env(CHILD, url)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn what_was_confirmed_before_a_kill_stands_once() {
    if let Ok(url) = std::env::var(CHILD) {
        book_for_ever(&url);
    }
    let Some(server) = server() else { return };
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let url = server.by_socket(&server.database());
    let mut told = BTreeMap::<String, String>::new();
    for _ in 0..KILLS {
        let mut child = child(&url);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut take = |line: String| match line.split(' ').collect::<Vec<_>>()[..] {
            ["booked", reference, key] => {
                told.insert(reference.to_owned(), key.to_owned()).is_none()
            }
            _ => false,
        };
        let mut wanted = random.usize(1..4);
        while wanted > 0
            && let Some(Ok(line)) = lines.next()
        {
            wanted -= usize::from(take(line));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines.map_while(Result::ok) {
            take(line);
        }

        // Whatever the killed one held is let go of, and what it was answered is answered again.
        let mut book = open(&url);
        let stored = references(&book);
        for (reference, key) in &told {
            let times = stored.iter().filter(|one| *one == reference).count();
            assert_eq!(times, 1, "{reference} is there {times} times");
            let again = ask_for(&mut book, "09:00", key);
            assert_eq!(again.label, "repeated");
            assert_eq!(again.json["appointment"]["reference"], **reference);
        }
        assert_eq!(references(&book), stored);
    }
    assert!(told.len() >= KILLS / 2, "only {} bookings were told", told.len());
}
