//! A process that is killed while it books.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use jiff::{Timestamp, ToSpan};
use serde_json::json;
use vocaris::control::appointments::Appointments;

use crate::book::assert_nothing_overlaps;
use crate::harness::*;

/// Set for the child: the file of the book.
const CHILD: &str = "APPOINTMENTS_TEST_BOOK";
/// How often a process is killed.
const KILLS: usize = 25;

/// Books, moves and cancels without an end, and prints each booking once it is confirmed.
fn book_for_ever(path: PathBuf) -> ! {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut book = Appointments::open(&practice(PRACTICE), &store(path)).unwrap();
    let now: Timestamp = NOW.parse().unwrap();
    let first = now.to_zoned(jiff::tz::TimeZone::UTC).date();
    loop {
        let mut anybody = caller("", &format!("{:x}", random.u64(..)));
        anybody.key = format!("{:x}", random.u64(..));
        let date = first.saturating_add(random.i64(0..60).days()).to_string();
        let time = format!("{:02}:{:02}", random.u8(9..17), random.u8(0..2) * 30);
        let service = ["Check-up", "Surgery", "Course"][random.usize(0..3)];
        let wish = json!({"service": service, "date": date, "time": time, "name": "Ana Li"});
        let answer = book.answer(now, "book_appointment", &wish, &anybody);
        if answer.label != "booked" {
            assert!(["taken", "not_possible"].contains(&answer.label), "{answer:?}");
            continue;
        }
        let its = &answer.json["appointment"];
        let mut line = format!("booked {} {}", its["reference"], anybody.key);
        if random.u8(0..4) == 0 {
            anybody.key = format!("{:x}", random.u64(..));
            let cancelled = book.answer(now, "cancel_appointment", &json!({}), &anybody);
            assert!(cancelled.ok, "{cancelled:?}");
            line = format!("cancelled {} {}", its["reference"], anybody.key);
        }
        // One write: a line is told whole or not at all, or without its end.
        std::io::stdout().write_all(format!("\n{line}\n").as_bytes()).unwrap();
    }
}

fn child(path: &PathBuf) -> Child {
    let this_test = "crash::what_was_confirmed_before_a_kill_is_on_disk_once";
    Command::new(std::env::current_exe().unwrap())
        .args([this_test, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn what_was_confirmed_before_a_kill_is_on_disk_once() {
    if let Some(path) = std::env::var_os(CHILD) {
        book_for_ever(path.into());
    }
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let path = file("crash");
    // By reference: whether it was told to be cancelled, and under which key it was answered.
    let mut told = BTreeMap::<String, (bool, String)>::new();
    for _ in 0..KILLS {
        let mut child = child(&path);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut take = |line: String| {
            let words: Vec<&str> = line.split(' ').collect();
            if let [what @ ("booked" | "cancelled"), reference, key] = words[..] {
                let reference = reference.trim_matches('"').to_owned();
                told.insert(reference, (what == "cancelled", key.to_owned()));
                return true;
            }
            false
        };
        // Killed after some confirmations, in the middle of whatever it does then.
        let mut wanted = random.usize(1..6);
        while wanted > 0 {
            match lines.next() {
                Some(Ok(line)) => wanted -= usize::from(take(line)),
                _ => break,
            }
        }
        for _ in 0..random.usize(0..20_000) {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines.map_while(Result::ok) {
            take(line);
        }

        let mut book = Appointments::open(&practice(PRACTICE), &store(path.clone())).unwrap();
        assert_nothing_overlaps(&book);
        let stored = book.list(0..i64::MAX, 100_000).unwrap();
        for (reference, (is_cancelled, key)) in &told {
            let found: Vec<_> = stored.iter().filter(|one| one.reference == *reference).collect();
            let [only] = found[..] else { panic!("{reference} is there {} times", found.len()) };
            // A cancellation may be on disk that nobody was told of any more, but not the reverse.
            let off = only.status == vocaris::control::appointments::Status::Cancelled;
            assert!(off || !is_cancelled, "{reference} stands again");
            // The answer is kept with it: asked again, nothing is done twice.
            let asked = with_key(&caller("", "again"), key);
            let tool = if *is_cancelled { "cancel_appointment" } else { "book_appointment" };
            let wish = checkup("2027-03-08", "09:00", "Bo");
            let again = book.answer(NOW.parse().unwrap(), tool, &wish, &asked);
            assert_eq!(again.label, "repeated");
            assert_eq!(again.json["appointment"]["reference"], *reference);
        }
        assert_eq!(book.list(0..i64::MAX, 100_000).unwrap().len(), stored.len());
    }
    assert!(told.len() >= KILLS / 2, "only {} bookings were told", told.len());
}
