//! Other relays in Vocaris's place: the floor under load, several in turn, and programs that are no
//! relay at all.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use loadtest::compare::{self, CompareSettings};
use loadtest::judge::Judgement;
use loadtest::relay::peer::{Peer, Workshop};
use loadtest::relay::{Directory, Program, null};
use loadtest::run::{self, RunSettings};

const LOADTEST: &str = env!("CARGO_BIN_EXE_loadtest");

/// A few short calls to `program`.
fn load(program: Program) -> RunSettings {
    RunSettings { calls: 3, seconds: 3, turn_ms: 600, pause_ms: 400, ..RunSettings::new(program) }
}

#[test]
fn the_floor_moves_as_many_frames_as_came_with_tls_and_without() {
    for plain_model in [false, true] {
        let settings = RunSettings { plain_model, ..load(Program::null(LOADTEST)) };
        let report = run::run(&settings).unwrap();
        assert!(report.is_good(), "{report}");
        assert_eq!(report.judged, Judgement::ByCount);
        let settings = &report.recording.relay_settings;
        assert!(settings.iter().any(|it| it.name == "RELAY_LISTEN"), "{settings:?}");
        assert!(settings.iter().all(|it| it.is_set), "none is Vocaris's default: {settings:?}");
        assert_eq!(report.uplink.matched, 3 * 3000 * 16);
        assert!(report.downlink.matched > 0 && report.downlink.matched.is_multiple_of(3 * 4800));
        assert!(report.uplink.corrected.count > 0 && report.downlink.corrected.count > 0);
        assert!(report.call_seconds > 8.0, "{report}");
        assert!(report.relay.unwrap().cpu_us_per_call_second.is_finite(), "{report}");
        for (direction, recorded) in [
            (&report.uplink, &report.recording.uplink),
            (&report.downlink, &report.recording.downlink),
        ] {
            assert!(direction.own_lateness.count > 0, "{report}");
            assert!(!recorded.corrected.histogram().is_empty(), "{report}");
        }
        assert!(report.remarks.iter().any(|remark| remark.contains("by count")), "{report}");
    }
}

#[test]
fn what_is_whole_sample_for_sample_is_whole_by_count() {
    let settings = RunSettings { judged: Judgement::ByCount, ..load(Program::vocaris(LOADTEST)) };
    let report = run::run(&settings).unwrap();
    assert!(report.is_good(), "{report}");
    assert_eq!(report.uplink.matched, 3 * 3000 * 16);
    assert!(report.downlink.matched > 0 && report.downlink.matched.is_multiple_of(3 * 4800));
}

#[test]
fn two_relays_in_turn_come_out_in_one_table() {
    let directory = Directory::new().unwrap();
    let settings = CompareSettings {
        // However late a busy machine makes the load: the latencies count here.
        load: RunSettings { own_lateness_max_us: 60e6, ..load(Program::vocaris(LOADTEST)) },
        relays: vec![Peer::Null, Peer::Vocaris, Peer::Tokio],
        rounds: 1,
        by_content: false,
        workshop: Workshop {
            own: LOADTEST.into(),
            sources: directory.path().join("nowhere"),
            builds: directory.path().join("builds"),
        },
    };
    let mut told = Vec::new();
    let comparison = compare::compare(&settings, |word| told.push(word.to_string()));
    assert!(comparison.is_good(), "{comparison}");
    let names: Vec<&str> = comparison.relays.iter().map(|row| &*row.name).collect();
    assert_eq!(names, ["null", "vocaris"]);
    let vocaris = &comparison.relays[1];
    assert_eq!((vocaris.judged, vocaris.usable), (Judgement::Exact, 1));
    let ratios = vocaris.to_floor.unwrap();
    let known = |ratio: Option<f64>| ratio.is_some_and(|ratio| ratio > 0.0);
    assert!(known(ratios.cpu_us_per_call_second) && known(ratios.uplink.p50), "{comparison}");
    assert_eq!(comparison.skipped.len(), 1);
    assert!(told.iter().any(|word| word.starts_with("tokio: SKIPPED, cargo build")), "{told:?}");
    let json = serde_json::to_value(&comparison).unwrap();
    assert_eq!(json["relays"][1]["judged"], "exact");
    assert_eq!(json["skipped"][0]["name"], "tokio");
}

/// `run` against what a shell script does.
fn run_against(directory: &Path, script: &str) -> Output {
    let file = directory.join("relay.sh");
    fs::write(&file, script).unwrap();
    run_program(&format!("sh {}", file.display()))
}

fn run_program(line: &str) -> Output {
    Command::new(LOADTEST)
        .args(["run", "--calls", "2", "--seconds", "1", "--relay-program", line])
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn a_program_that_is_no_relay_is_told_and_fails_the_run() {
    let directory = Directory::new().unwrap();
    let dies = "echo 'no key' >&2; exit 7";
    let vanishes = "echo listening on 127.0.0.1:1; sleep 0.2";
    // Nothing listens on port 1; it stays until its standard input ends.
    let unreachable = "echo listening on 127.0.0.1:1; trap 'exit 0' TERM; read -r _";
    for (script, expected) in [
        (dies, "ended before it listened:\n  no key"),
        (vanishes, "PROBLEM"),
        (unreachable, "2 x webhook: connection refused"),
    ] {
        let output = run_against(directory.path(), script);
        let said = [&output.stdout[..], &output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains(expected), "{script}:\n{said}");
        assert_eq!(output.status.code(), Some(1), "{script}:\n{said}");
    }
    for (line, expected) in [("/nonexistent/relay", "cannot be started"), (" ", "is empty")] {
        let output = run_program(line);
        let said = String::from_utf8_lossy(&output.stderr).to_string();
        assert!(said.contains(expected), "{line}: {said}");
        assert_eq!(output.status.code(), Some(1), "{line}");
    }
}

#[test]
fn the_floor_is_not_judged_by_what_its_audio_says() {
    let output = Command::new(LOADTEST)
        .args(["run", "--calls", "1", "--seconds", "1", "--relay", "null", "--by-content"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).to_string();
    assert!(said.contains("--by-content: the floor passes no audio on"), "{said}");
    assert_eq!(output.status.code(), Some(1), "{said}");
}

#[test]
fn the_floor_leaves_with_whoever_started_it() {
    let mut child = Command::new(LOADTEST)
        .arg(null::SUBCOMMAND)
        .envs([
            ("RELAY_LISTEN", "127.0.0.1:0"),
            ("RELAY_PUBLIC_URL", "https://relay.test"),
            ("RELAY_GEMINI_URL", "ws://127.0.0.1:9"),
            ("RELAY_GEMINI_MODEL", "models/m"),
            ("GEMINI_API_KEY", "k"),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("listening on 127.0.0.1:"), "{line}");
    drop(child.stdin.take());
    assert!(child.wait().unwrap().code().is_some(), "it ends by itself, not by a signal");
}

#[test]
fn the_floor_says_which_setting_is_missing() {
    let mut child = Command::new(LOADTEST)
        .arg(null::SUBCOMMAND)
        .env_clear()
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Held open: an end of it would be another reason to leave.
    let stdin = child.stdin.take();
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).to_string();
    assert!(said.contains("RELAY_PUBLIC_URL is not set"), "{said}");
}

#[test]
fn the_sources_of_the_peers_are_where_they_are_looked_for() {
    let sources = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("baselines");
    for file in ["tokio/Cargo.toml", "tokio/Cargo.lock", "node/package.json", "node/relay.mjs"] {
        assert!(sources.join(file).is_file(), "{file}");
    }
}
