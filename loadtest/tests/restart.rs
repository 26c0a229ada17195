//! `loadtest restart` as a program: a relay that is killed, what the report says of its calls, and
//! the exit code.

use std::io::Write as _;
use std::process::{Command, Output};

use serde_json::Value;

#[path = "../../tests/postgres/server.rs"]
#[allow(dead_code, reason = "the tests of the database ask more of it")]
mod server;

/// A carrier that asks once a second, whatever a busy machine needs to start a relay, and a caller
/// who stays for long enough to hear the model after the last answer.
const PATIENT: [&str; 6] =
    ["--webhook-retries", "5", "--webhook-retry-after", "1s", "--after", "8"];

/// A caller who does not wait for what does not come.
const BRIEF: [&str; 2] = ["--after", "4"];

/// Runs it with a few calls; its output, and the report.
fn restart(name: &str, arguments: &[&str]) -> (Output, Value) {
    let file = std::env::temp_dir().join(format!("restart-{name}-{}.json", std::process::id()));
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.arg("restart").args(["--ramp", "20", "--before", "3", "--book", "1"]);
    command.args(arguments).arg("--json").arg(&file);
    let output = command.output().expect("the program runs");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| {
        panic!("{error}\n{}", String::from_utf8_lossy(&output.stderr));
    });
    std::fs::remove_file(&file).expect("it was there");
    let mut document: Value = serde_json::from_str(&text).expect("the report is JSON");
    assert_eq!((&document["schema"], &document["kind"]), (&1.into(), &"restart".into()));
    let machine = &document["provenance"]["machine"];
    assert!(machine["kernel"].as_str().is_some_and(|kernel| !kernel.is_empty()), "{machine}");
    (output, document["report"].take())
}

/// What it printed, for a test that fails.
fn told(output: &Output) -> String {
    let streams = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it));
    streams.join("\n")
}

#[test]
fn calls_of_a_relay_that_was_killed_come_back_and_their_bookings_are_on_its_disk() {
    let arguments = [&["--calls", "4", "--within", "10s"], &PATIENT[..]].concat();
    let (output, report) = restart("one", &arguments);
    let told = told(&output);
    assert_eq!((&report["talking"], &report["struck"]), (&4.into(), &4.into()), "{told}");
    assert!(report["listening_after_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{told}");
    assert_eq!((&report["back"], lost(&report)), (&4.into(), 0), "{told}");
    assert_eq!(report["audio"]["bookings"]["confirmed"], 4, "{told}");
    let settings = report["audio"]["recording"]["relay_settings"].as_array().unwrap();
    assert!(settings.iter().any(|it| it["name"] == "journal.enabled"), "{settings:?}");
    assert_eq!((&report["bookings_lost"], &report["bookings_doubled"]), (&0.into(), &0.into()));
    assert_eq!(report["greeted_twice"], 0, "{told}");
    assert_eq!(output.status.code(), Some(0), "{told}");
}

#[test]
fn what_a_process_kept_in_its_memory_alone_is_gone_with_it() {
    let forgets = "VOCARIS_JOURNAL_ENABLED=false";
    let arguments = ["--calls", "4", "--within", "10s", "--relay-env", forgets];
    let (output, report) = restart("forgotten", &[&arguments, &BRIEF[..]].concat());
    let told = told(&output);
    assert_eq!((&report["talking"], &report["struck"]), (&4.into(), &4.into()), "{told}");
    assert_eq!((&report["back"], lost(&report)), (&0.into(), 4), "{told}");
    assert_eq!((&report["bookings_lost"], &report["bookings_doubled"]), (&0.into(), &0.into()));
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("PROBLEM      0 of 4 calls heard the model again"), "{told}");
}

#[test]
fn a_relay_that_nobody_starts_again_in_time_leaves_every_question_without_an_answer() {
    // Asked at once and never again: the process cannot be there yet.
    let arguments = ["--calls", "2", "--webhook-retries", "0", "--ask-after", "0ms"];
    let (output, report) = restart("refused", &[&arguments, &BRIEF[..]].concat());
    let told = told(&output);
    assert_eq!((&report["struck"], &report["back"]), (&2.into(), &0.into()), "{told}");
    assert_eq!(lost(&report), 2, "{told}");
    let reasons = report["lost"].as_object().expect("reasons").keys();
    assert!(reasons.into_iter().all(|reason| reason.starts_with("webhook: ")), "{told}");
    assert_eq!(output.status.code(), Some(1), "{told}");
}

/// One of two hosts behind HAProxy is killed, with these arguments besides.
fn kill_one_of_two(name: &str, arguments: &[&str]) {
    let has_haproxy = Command::new("haproxy").arg("-v").output().is_ok();
    if !has_haproxy {
        // Print macros would write to the test harness, which keeps it to itself.
        let _ = writeln!(std::io::stderr(), "SKIPPED: no HAProxy");
        return;
    }
    let two = ["--calls", "6", "--hosts", "2"];
    let (output, report) = restart(name, &[&two, &PATIENT[..], arguments].concat());
    let told = told(&output);
    assert_eq!(report["talking"], 6, "{told}");
    let struck = report["struck"].as_u64().unwrap();
    assert!((1..6).contains(&struck), "those of one host: {told}");
    assert_eq!((&report["back"], lost(&report)), (&struck.into(), 0), "the other knows: {told}");
    assert!(report["listening_after_ms"].is_null(), "it stays dead: {told}");
    assert_eq!((&report["bookings_lost"], &report["bookings_doubled"]), (&0.into(), &0.into()));
    let good = report["audio"]["calls_good"].as_u64().unwrap();
    assert!(good >= 6 - struck, "who was on the other host ends as planned: {told}");
}

#[test]
fn one_of_two_hosts_behind_haproxy_is_killed_and_the_calls_of_the_other_go_on() {
    kill_one_of_two("two", &[]);
}

#[test]
fn hosts_that_share_a_database_and_no_file_go_on_with_each_others_calls() {
    let Some(server) = server::server() else { return };
    let database = server.by_socket(&server.database());
    kill_one_of_two("database", &["--store-url", &database]);
}

/// Calls that are not back, whatever the reason.
fn lost(report: &Value) -> u64 {
    let reasons = report["lost"].as_object().expect("reasons");
    reasons.values().filter_map(Value::as_u64).sum()
}
