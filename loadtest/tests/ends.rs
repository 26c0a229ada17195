//! How the program ends when things go wrong around it: with a report that says what happened to
//! how many calls, the exit code of it, and nothing left running.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Output, Stdio};

use nobody::Nobody;
use rustix::process::{Pid, Signal, kill_process};

#[path = "support/nobody.rs"]
mod nobody;

fn loadtest(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it to its end: exit code, standard output, standard error.
fn ended(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = loadtest(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// A run of two long calls, once both of them talk.
struct Talking {
    child: Child,
    /// Keeps the pipe open.
    _stderr: BufReader<std::process::ChildStderr>,
}

impl Talking {
    fn start() -> Talking {
        Talking::start_with(&["run", "--calls", "2", "--seconds", "600", "--relay-log"])
    }

    fn start_with(arguments: &[&str]) -> Talking {
        let mut child = loadtest(arguments).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut joined = 0;
        let mut line = String::new();
        while joined < 2 {
            line.clear();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "it ended before the calls talked");
            joined += usize::from(line.contains("event=joined"));
        }
        Talking { child, _stderr: stderr }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The relay: its only child.
    fn relay(&self) -> Pid {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let children = tasks
            .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("children")).ok());
        let all: Vec<i32> = children
            .flat_map(|text| text.split_whitespace().map(str::to_string).collect::<Vec<_>>())
            .map(|pid| pid.parse().unwrap())
            .collect();
        assert_eq!(all.len(), 1, "one relay: {all:?}");
        Pid::from_raw(all[0]).unwrap()
    }

    /// Waits for the end: exit code and standard output.
    fn end(mut self) -> (Option<i32>, String) {
        // What it still says must not fill the pipe.
        let mut stderr = self._stderr;
        let drained = std::thread::spawn(move || {
            let mut rest = Vec::new();
            stderr.read_to_end(&mut rest)
        });
        let mut told = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut told).unwrap();
        let code = self.child.wait().unwrap().code();
        drained.join().unwrap().unwrap();
        (code, told)
    }
}

fn is_running(pid: Pid) -> bool {
    std::path::Path::new(&format!("/proc/{}", pid.as_raw_nonzero())).exists()
}

#[test]
fn ctrl_c_ends_a_run_with_its_report_and_no_orphan() {
    let talking = Talking::start();
    let relay = talking.relay();
    assert!(is_running(relay));
    kill_process(talking.pid(), Signal::INT).unwrap();
    let (code, told) = talking.end();
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("calls        2 made, 0 good"), "{told}");
    assert!(told.contains("2 x cut off by the end of the run"), "{told}");
    assert!(told.contains("stopped by a signal"), "{told}");
    assert!(!is_running(relay), "the relay has outlived the run");
}

#[test]
fn ctrl_c_ends_a_restart_before_the_kill_with_its_report_and_no_orphan() {
    let arguments = ["restart", "--calls", "2", "--before", "600", "--relay-log"];
    let talking = Talking::start_with(&arguments);
    let relay = talking.relay();
    kill_process(talking.pid(), Signal::INT).unwrap();
    let (code, told) = talking.end();
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("PROBLEM      stopped by a signal"), "{told}");
    assert!(told.ends_with("NOT GOOD\n"), "{told}");
    assert!(!is_running(relay), "the relay has outlived the run");
}

#[test]
fn a_report_that_cannot_be_written_is_told_before_anything_is_measured() {
    let file = "/nonexistent/report.json";
    for arguments in [&["compare"][..], &["restart"], &["capacity", "--slo", "lost=0"]] {
        let (code, told, why) = ended(&[arguments, &["--json", file]].concat());
        assert_eq!((code, told.as_str()), (Some(1), ""), "{why}");
        assert!(why.starts_with(&format!("loadtest: {file}: ")), "{why}");
    }
}

/// A relay that takes one stream, and never sends a frame.
fn silent() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut socket = tungstenite::accept(listener.accept().unwrap().0).unwrap();
        while socket.read().is_ok() {}
    });
    address
}

#[test]
fn a_call_to_a_relay_that_never_sends_a_frame_is_no_good_one() {
    let url = format!("ws://{}/twilio/media", silent());
    let arguments = ["call", "--url", &url, "--seconds", "1", "--seed", "7"];
    let (code, told, why) = ended(&arguments);
    assert_eq!(code, Some(1), "{told}{why}");
    assert!(told.contains("1 calls, 0 good") && told.contains("1 x heard nothing"), "{told}{why}");
    assert!(told.contains("own lateness p50 ") && told.ends_with("seed 7\n"), "{told}");
}

#[test]
fn a_relay_that_dies_in_mid_call_ends_the_run_at_once() {
    let talking = Talking::start();
    kill_process(talking.relay(), Signal::KILL).unwrap();
    let (code, told) = talking.end();
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("the relay died"), "{told}");
    assert!(told.contains("calls        2 made, 0 good"), "{told}");
    assert!(told.contains("SIGKILL"), "{told}");
}

#[test]
fn a_relay_that_cannot_start_is_told_in_its_own_words() {
    let (code, told, why) = ended(&["run", "--relay-env", "VOCARIS_SERVER_WORKERS=many"]);
    assert_eq!((code, told.as_str()), (Some(1), ""), "{why}");
    assert!(why.contains("ended before it listened") && why.contains("workers"), "{why}");
}

#[test]
fn a_stand_in_that_nobody_dials_is_told() {
    let nobody = Nobody::anywhere();
    let elsewhere = format!("VOCARIS_GEMINI_URL=ws://{}", nobody.address);
    let (code, told, why) =
        ended(&["run", "--calls", "2", "--seconds", "2", "--relay-env", &elsewhere]);
    assert_eq!(code, Some(1), "{told}{why}");
    assert!(told.contains("no session reached the stand-in: nobody dialled it"), "{told}{why}");
    assert!(told.contains("calls        2 made"), "{told}");
}

/// A server that answers every request with this status, `requests` times.
fn refusing(status: &'static str, requests: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(requests) {
            let mut stream = stream.unwrap();
            let mut read = BufReader::new(stream.try_clone().unwrap());
            let mut line = String::new();
            while read.read_line(&mut line).unwrap() > 2 {
                line.clear();
            }
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").unwrap();
        }
    });
    address
}

fn called(url: &str) -> (Option<i32>, String) {
    let (code, told, why) = ended(&["call", "--url", url, "--calls", "3", "--seconds", "1"]);
    (code, told + &why)
}

#[test]
fn calls_to_nobody_or_to_somebody_who_refuses_are_counted_by_what_happened() {
    let bound = Nobody::anywhere();
    let nobody = bound.address;
    let closed = refusing("404 Not Found", 3);
    let forbidden = refusing("403 Forbidden", 3);
    for (url, happened) in [
        (format!("http://{nobody}/twilio/incoming"), "connection refused"),
        (format!("ws://{nobody}/twilio/media"), "connection refused"),
        (format!("http://{closed}/elsewhere"), "answered with status 404"),
        (format!("ws://{forbidden}/twilio/media"), "refused with status 403"),
    ] {
        let (code, told) = called(&url);
        assert_eq!(code, Some(1), "{url}: {told}");
        assert!(told.contains("3 calls, 0 good"), "{url}: {told}");
        let counted = told.lines().any(|line| line.contains("3 x") && line.contains(happened));
        assert!(counted, "{url}: {told}");
    }
}

#[test]
fn a_url_that_is_none_is_told_and_no_call_is_made() {
    for url in ["relay.test", "ftp://relay.test/", "http://"] {
        let (code, told) = called(url);
        assert_eq!(code, Some(1), "{url}: {told}");
        assert!(told.starts_with("loadtest: ") && told.lines().count() == 1, "{url}: {told}");
    }
}

#[test]
fn the_exit_code_tells_whether_bounds_were_kept_broken_or_not_judged() {
    let run = |slo: &str, late_ms: &str| {
        ended(&[
            "run",
            "--calls",
            "2",
            "--seconds",
            "4",
            "--slo",
            slo,
            "--own-lateness-max",
            late_ms,
        ])
    };
    let (code, told, _) = run("failed=0,lost=0,uplink_all.max<=60s", "60000");
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(told.matches(" kept\n").count(), 3, "{told}");
    let (code, told, _) = run("failed=0,cpu<=0us", "60000");
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("SLO cpu<=0us"), "{told}");
    // Nobody is never late at all.
    let (code, told, _) = run("failed=0,uplink_all.max<=60s", "0.000001");
    assert_eq!(code, Some(3), "{told}");
    assert!(told.ends_with("NO VERDICT\n"), "{told}");
}

#[test]
fn usage_that_makes_no_sense_is_exit_code_2_with_the_names_there_are() {
    for arguments in [
        ["run", "--slo", "uplnk.p99<=5ms"],
        ["run", "--slo", "uplink.p99<=5"],
        ["run", "--arrivals", "sometimes"],
        ["run", "--length", "long"],
        ["run", "--relay-cores", "all"],
        ["capacity", "--tolerance", "0"],
    ] {
        let (code, told, why) = ended(&arguments);
        assert_eq!((code, told.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(why.contains("invalid value"), "{arguments:?}: {why}");
    }
    let (code, _, why) = ended(&["capacity"]);
    assert_eq!(code, Some(2));
    assert!(why.contains("--slo"), "{why}");
}

#[test]
fn a_search_says_how_far_it_went_and_why_no_further() {
    let search = |slo: &str| {
        ended(&[
            "capacity",
            "--slo",
            slo,
            "--from",
            "1",
            "--to",
            "1",
            "--hold",
            "1",
            "--repeats",
            "1",
            "--own-lateness-max",
            "60000",
        ])
    };
    let (code, told, why) = search("failed=0,lost=0");
    assert_eq!(code, Some(0), "{told}{why}");
    assert!(told.contains("kept at the largest N tried: 1"), "{told}");
    let (code, told, _) = search("rss_per_call<=0KiB");
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("broken already at the smallest N tried: 1"), "{told}");
}
