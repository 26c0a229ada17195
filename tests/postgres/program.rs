//! The program on a database: what the operator's commands say, and how it starts.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use vocaris::control::appointments::CallerFacts;

use crate::harness::*;

/// Without anything of the environment that runs the tests.
fn program(url: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vocaris"));
    command.env_clear().env("VOCARIS_SERVER_LISTEN", "127.0.0.1:0").env("VOCARIS_STORE_URL", url);
    command.env("VOCARIS_SERVER_WORKERS", "1").env("VOCARIS_SERVER_PIN", "false");
    command.current_dir(Path::new(env!("CARGO_TARGET_TMPDIR")));
    command
}

fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.output().unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_operator_lists_exports_cancels_and_checks_in_a_database() {
    let Some(server) = server() else { return };
    let database = server.database();
    let url = server.by_socket(&database);
    let (code, said, _) = run(program(&url).args(["check", "--offline"]));
    assert!(code == Some(0) && said.contains("answers; its tables will be made"), "{said}");
    assert_eq!(server.sql(&database, "SELECT to_regclass('vocaris.schema')"), "", "it made them");
    let (code, _, why) = run(program(&url).args(["appointments", "list"]));
    assert!(code == Some(1) && why.contains("holds nothing of vocaris yet"), "{why}");

    let mut book = vocaris::control::appointments::Appointments::open(
        &vocaris::config::Appointments::sample(),
        &store(&url),
    )
    .unwrap();
    let now = jiff::Timestamp::now();
    let caller = CallerFacts { call: "1".to_owned(), ..CallerFacts::default() };
    let mut ask = |tool: &str, wish: serde_json::Value| book.answer(now, tool, &wish, &caller).json;
    let free = ask("check_availability", serde_json::json!({"service": "Consultation"}));
    let mut wish = serde_json::json!({"service": "Consultation", "name": "Ana Li"});
    wish["date"] = free["next"][0]["date"].clone();
    wish["time"] = free["next"][0]["time"].clone();
    let booked = ask("book_appointment", wish);
    let reference = booked["appointment"]["reference"].as_str().unwrap();

    let appointments = |arguments: &[&str]| run(program(&url).arg("appointments").args(arguments));
    let (code, listed, _) = appointments(&["list"]);
    assert!(code == Some(0) && listed.contains(reference), "{listed}");
    let (_, feed, _) = appointments(&["export"]);
    assert!(feed.starts_with("BEGIN:VCALENDAR") && feed.contains("Ana Li"), "{feed}");
    let (code, cancelled, _) = appointments(&["cancel", reference]);
    assert!(code == Some(0) && cancelled.contains("cancelled"), "{cancelled}");
    let (code, said, _) = run(program(&url).args(["check", "--offline"]));
    assert!(code == Some(0) && said.contains("is sound and ours"), "{said}");
}

#[test]
fn what_is_set_wrongly_keeps_the_relay_from_starting_and_says_what_to_do() {
    let Some(server) = server() else { return };
    let url = server.by_port("vocaris", server.port, "nowhere");
    let (code, said, why) = run(&mut program(&url));
    assert_eq!(code, Some(1), "{said}{why}");
    assert!(why.contains("(store.url)") && why.contains("no such database"), "{why}");
    let (code, said, _) = run(program(&url).args(["check", "--offline"]));
    assert!(code == Some(1) && said.contains("error: store: postgres://127.0.0.1:"), "{said}");
}

#[test]
fn a_database_that_is_away_does_not_keep_the_relay_from_starting() {
    let proxy = crate::proxy::Proxy::to(9);
    proxy.set(crate::proxy::Fault::Closed);
    let url = format!("postgres://vocaris@127.0.0.1:{}/d", proxy.port);
    let mut command = program(&url);
    let mut relay = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(relay.stdout.take().unwrap()).lines().map_while(Result::ok);
    let listens = said.into_iter().any(|line| line.starts_with("listening on "));
    relay.kill().unwrap();
    let log = relay.wait_with_output().unwrap();
    let log = text(&log.stderr);
    assert!(listens, "{log}");
    assert!(log.contains("event=appointments_away") && log.contains("cannot be reached"), "{log}");
}
