//! The program itself, as a child: what it says, which signals it heeds, how it ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};
use std::thread::JoinHandle;

use tungstenite::{Message, WebSocket};

/// Without a file, a key, or anything else of the environment that runs the tests.
fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vocaris"));
    command.env_clear().env("VOCARIS_SERVER_LISTEN", "127.0.0.1:0");
    command.env("VOCARIS_SERVER_WORKERS", "1").env("VOCARIS_SERVER_PIN", "false");
    // However late the machine makes it, nobody is turned away for that.
    command.env("VOCARIS_LIMITS_MAX_LATENESS", "0s");
    command.current_dir(env!("CARGO_TARGET_TMPDIR"));
    command
}

/// A relay that listens.
struct Relay {
    child: Child,
    address: String,
    /// What it said before it listened.
    banner: String,
    stdout: BufReader<ChildStdout>,
    stderr: Option<ChildStderr>,
}

impl Relay {
    fn start(command: &mut Command) -> Relay {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let (mut banner, mut line) = (String::new(), String::new());
        while !line.starts_with("listening on ") {
            banner.push_str(&line);
            line.clear();
            assert_ne!(stdout.read_line(&mut line).unwrap(), 0, "it ended: {banner}");
        }
        let address = line.trim_start_matches("listening on ").trim().to_owned();
        let stderr = child.stderr.take();
        Relay { child, address, banner, stdout, stderr }
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(name).arg(self.child.id().to_string()).status();
        assert!(status.unwrap().success());
    }

    /// Reads the log, up to a line that holds `text`.
    fn logged(&self, log: &mut impl BufRead, text: &str) {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "it never said {text:?}");
        }
    }

    fn log(&mut self) -> BufReader<ChildStderr> {
        BufReader::new(self.stderr.take().unwrap())
    }

    /// The status of one request.
    fn ask(&self, path: &str) -> u16 {
        let mut socket = TcpStream::connect(&self.address).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer[9..12].parse().unwrap()
    }

    /// A browser that talks to the demo agent.
    fn call(&self) -> WebSocket<TcpStream> {
        let socket = TcpStream::connect(&self.address).unwrap();
        let url = format!("ws://{}/web", self.address);
        let (mut call, _) = tungstenite::client(url, socket).unwrap();
        call.send(Message::text("{\"type\":\"hello\"}")).unwrap();
        while !call.read().unwrap().is_binary() {}
        call
    }

    /// Its exit code, and the rest of what it said.
    fn end(mut self) -> (Option<i32>, String) {
        let drained: Option<JoinHandle<()>> = self.stderr.take().map(|mut stderr| {
            std::thread::spawn(move || {
                std::io::copy(&mut stderr, &mut std::io::sink()).unwrap();
            })
        });
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        let code = self.child.wait().unwrap().code();
        if let Some(drained) = drained {
            drained.join().unwrap();
        }
        (code, rest)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn without_a_key_two_lines_say_that_it_is_a_demo_and_where() {
    let relay = Relay::start(&mut program());
    let port = relay.address.rsplit(':').next().unwrap();
    let lines: Vec<&str> = relay.banner.lines().collect();
    assert_eq!(lines.len(), 2, "{}", relay.banner);
    assert!(lines[0].contains("demo") && lines[0].contains("GEMINI_API_KEY"), "{}", lines[0]);
    assert!(lines[1].ends_with(&format!("http://localhost:{port}")), "{}", lines[1]);
    assert_eq!(relay.ask("/"), 200);
    relay.signal("-INT");
    let (code, summary) = relay.end();
    assert_eq!(code, Some(0));
    assert!(summary.contains("latency, ms"), "{summary}");
}

#[test]
fn a_hangup_of_its_terminal_ends_nothing_and_is_told() {
    let mut relay = Relay::start(&mut program());
    let mut log = relay.log();
    relay.signal("-HUP");
    relay.logged(&mut log, "event=reloaded changed=none");
    assert_eq!(relay.ask("/readyz"), 200);
    relay.signal("-TERM");
    relay.logged(&mut log, "stopped");
    assert_eq!(relay.end().0, Some(0));
}

#[test]
fn the_first_signal_lets_a_call_go_on_and_the_second_ends_it() {
    let mut relay = Relay::start(&mut program());
    let mut log = relay.log();
    let mut call = relay.call();
    relay.signal("-TERM");
    relay.logged(&mut log, "event=draining calls=1");
    call.send(Message::binary(vec![0; 640])).unwrap();
    while !call.read().unwrap().is_binary() {}
    relay.signal("-TERM");
    let close = loop {
        match call.read().unwrap() {
            Message::Close(close) => break close,
            _ => continue,
        }
    };
    assert_eq!(close.unwrap().reason.as_str(), "drained");
    relay.logged(&mut log, "stopped");
    assert_eq!(relay.end().0, Some(0));
}

#[test]
fn what_cannot_start_says_why_and_with_which_code() {
    let run = |command: &mut Command| -> Output { command.output().unwrap() };
    let wrong = run(program().env("VOCARIS_SERVER_WORKERS", "many").env("PORT", "x"));
    assert_eq!(wrong.status.code(), Some(1));
    let said = text(&wrong.stderr);
    assert!(said.contains("VOCARIS_SERVER_WORKERS") && said.contains("PORT"), "{said}");
    let usage = run(program().arg("--no-such-thing"));
    assert_eq!(usage.status.code(), Some(2));
    let relay = Relay::start(&mut program());
    let taken = run(program().env("VOCARIS_SERVER_LISTEN", &relay.address));
    assert_eq!(taken.status.code(), Some(1));
    let said = text(&taken.stderr);
    assert!(said.contains("server.listen") && said.contains(&relay.address), "{said}");
    relay.signal("-TERM");
    assert_eq!(relay.end().0, Some(0));
}

#[test]
fn few_descriptors_make_few_calls_and_a_warning() {
    let mut limited = Command::new("sh");
    let run = format!("ulimit -n 64; exec {}", env!("CARGO_BIN_EXE_vocaris"));
    limited.env_clear().env("VOCARIS_SERVER_LISTEN", "127.0.0.1:0").args(["-c", &run]);
    limited.env("VOCARIS_SERVER_WORKERS", "1").current_dir(env!("CARGO_TARGET_TMPDIR"));
    let mut relay = Relay::start(&mut limited);
    let mut log = relay.log();
    relay.logged(&mut log, "only 64 files may be open: at most 24 calls instead of 2000");
    relay.signal("-TERM");
    relay.logged(&mut log, "stopped");
    assert_eq!(relay.end().0, Some(0));
}

#[test]
fn a_log_that_nobody_reads_stops_no_request() {
    let relay = Relay::start(program().env("RUST_LOG", "debug"));
    let mut socket = TcpStream::connect(&relay.address).unwrap();
    let form = format!("CallSid=CA1&StreamEvent={}", "x".repeat(70));
    let request = format!(
        "POST /twilio/stream-status HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}",
        form.len()
    );
    // A pipe takes 64 KiB; each of these makes a line of more than 100 bytes.
    const REQUESTS: usize = 900;
    let mut answers = BufReader::new(socket.try_clone().unwrap());
    for _ in 0..REQUESTS {
        socket.write_all(request.as_bytes()).unwrap();
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        assert!(line.starts_with("HTTP/1.1 204 "), "{line}");
        while line != "\r\n" {
            line.clear();
            answers.read_line(&mut line).unwrap();
        }
    }
    assert_eq!(relay.ask("/readyz"), 200);
    relay.signal("-TERM");
    assert_eq!(relay.end().0, Some(0));
}

/// The body of one request.
fn fetch(address: &str, target: &str) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[test]
fn a_relay_that_keeps_calls_on_disk_stops_in_order() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("program-keeps");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let mut command = program();
    for section in ["RECORDING", "TRANSCRIPTS"] {
        command.env(format!("VOCARIS_{section}_ENABLED"), "true");
    }
    let relay = Relay::start(command.current_dir(&folder));
    relay.signal("-TERM");
    assert_eq!(relay.end().0, Some(0));
    let mut left: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["recordings", "transcripts", "vocaris-demo.db"], "the book is closed");
}

#[test]
fn the_operator_lists_exports_and_cancels_beside_a_running_relay() {
    use vocaris::config::{Appointments as Practice, Store};
    use vocaris::control::appointments::{Appointments, CallerFacts};

    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("program-operator");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let appointments = |arguments: &[&str]| -> (Option<i32>, String, String) {
        let mut command = program();
        let output = command.current_dir(&folder).arg("appointments").args(arguments).output();
        let output = output.unwrap();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, _, why) = appointments(&["list"]);
    assert!(code == Some(1) && why.contains("vocaris-demo.db (store.url)"), "{why}");

    let relay = Relay::start(program().current_dir(&folder));
    assert_eq!(appointments(&["list"]), (Some(0), "no appointments\n".to_owned(), String::new()));
    let store = Store::sqlite(folder.join("vocaris-demo.db"));
    let mut book = Appointments::open(&Practice::sample(), &store).unwrap();
    let caller = CallerFacts { call: "1".to_owned(), ..CallerFacts::default() };
    let mut ask = |tool: &str, arguments: serde_json::Value| {
        book.answer(jiff::Timestamp::now(), tool, &arguments, &caller).json
    };
    let free = ask("check_availability", serde_json::json!({"service": "Consultation"}));
    let mut wish = serde_json::json!({"service": "Consultation", "name": "Ana Li"});
    wish["date"] = free["next"][0]["date"].clone();
    wish["time"] = free["next"][0]["time"].clone();
    let booked = ask("book_appointment", wish);
    let reference = booked["appointment"]["reference"].as_str().unwrap();

    let (code, listed, _) = appointments(&["list"]);
    assert_eq!(code, Some(0));
    assert!(listed.contains(reference) && listed.contains("confirmed  Consultation  Ana Li"));
    let (_, listed, _) = appointments(&["list", "--json", "--from", "2020-01-01"]);
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(
        (&listed[0]["reference"], &listed[0]["name"]),
        (&booked["appointment"]["reference"], &"Ana Li".into())
    );
    let (_, before, _) = appointments(&["list", "--to", "2020-01-01"]);
    assert_eq!(before, "no appointments\n");
    let feed = fetch(&relay.address, "/calendar.ics?token=demo");
    assert!(feed.contains("SUMMARY:Consultation: Ana Li\r\n"), "{feed}");
    assert_eq!(appointments(&["export"]), (Some(0), feed, String::new()));

    let (code, cancelled, _) = appointments(&["cancel", &reference.to_lowercase()]);
    assert!(code == Some(0) && cancelled.contains("cancelled"), "{cancelled}");
    let feed = fetch(&relay.address, "/calendar.ics?token=demo");
    assert!(feed.contains("STATUS:CANCELLED\r\n"), "{feed}");
    let (code, _, why) = appointments(&["cancel", "00000"]);
    assert!(code == Some(1) && why.contains("no appointment has the reference 00000"), "{why}");
    assert_eq!(appointments(&["list", "--from", "2027-02-30"]).0, Some(2));
    assert_eq!(appointments(&["forget"]).0, Some(2));
    assert_eq!(appointments(&[]).0, Some(2));
    relay.signal("-TERM");
    assert_eq!(relay.end().0, Some(0));
}

/// What the relay counts under this name.
fn counted(relay: &Relay, name: &str) -> u64 {
    let page = fetch(&relay.address, "/metrics");
    let line = page.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(0, |value| value.trim().parse().unwrap())
}

/// Waits until the relay counts that many under this name: figures are a quarter of a second old.
fn await_count(relay: &Relay, name: &str, count: u64) {
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while counted(relay, name) != count {
        assert!(std::time::Instant::now() < patience, "{name} never came to {count}");
        std::thread::yield_now();
    }
}

/// Reads messages until one is of this type.
fn read_json(call: &mut WebSocket<TcpStream>, key: &str, wanted: &str) -> serde_json::Value {
    loop {
        let message = call.read().unwrap();
        let Ok(text) = message.to_text() else { continue };
        let Ok(json) = serde_json::from_str::<serde_json::Value>(text) else { continue };
        if json[key] == wanted {
            return json;
        }
    }
}

#[test]
fn a_browser_whose_connection_broke_goes_on_with_its_conversation() {
    let relay = Relay::start(&mut program());
    let open = |hello: &str| {
        let socket = TcpStream::connect(&relay.address).unwrap();
        let url = format!("ws://{}/web", relay.address);
        let (mut call, _) = tungstenite::client(url, socket).unwrap();
        call.send(Message::text(hello)).unwrap();
        let ready = read_json(&mut call, "type", "ready");
        (call, ready)
    };
    let (mut call, ready) = open("{\"type\":\"hello\"}");
    assert_eq!(ready.get("returned"), None);
    let greeting = read_json(&mut call, "type", "transcript");
    while !call.read().unwrap().is_binary() {}
    let resume = || serde_json::json!({"type": "hello", "resume": ready["resume"]}).to_string();
    call.get_ref().shutdown(std::net::Shutdown::Both).unwrap();
    await_count(&relay, "vocaris_comebacks_total{outcome=\"kept\"}", 1);
    let (mut back, again) = open(&resume());
    assert_eq!(again["returned"], true);
    assert_ne!(again["call"], ready["call"]);
    while !back.read().unwrap().is_binary() {}
    // And while the relay still believes in the old connection.
    let (mut third, again) = open(&resume());
    assert_eq!(again["returned"], true);
    assert_eq!(read_json(&mut back, "type", "end")["reason"], "replaced");
    assert_ne!(read_json(&mut third, "type", "transcript")["text"], greeting["text"]);
    // Nobody comes back to a conversation that somebody has ended.
    third.send(Message::text("{\"type\":\"bye\"}")).unwrap();
    while !matches!(third.read(), Ok(Message::Close(_)) | Err(_)) {}
    assert_eq!(open(&resume()).1.get("returned"), None);
    await_count(&relay, "vocaris_comebacks_total{outcome=\"taken_up\"}", 2);
    await_count(&relay, "vocaris_comebacks_total{outcome=\"unknown\"}", 1);
    relay.signal("-TERM");
    relay.signal("-TERM");
    assert_eq!(relay.end().0, Some(0));
}

/// One request with a form, and what it is answered with.
fn post(address: &str, path: &str, form: &str) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}",
        form.len()
    );
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_carrier_whose_stream_broke_is_led_back_and_one_whose_caller_hung_up_is_not() {
    let relay = Relay::start(&mut program());
    let stream = |twiml: &str| {
        let (_, rest) = twiml.split_once("name=\"token\" value=\"").expect("a stream's TwiML");
        let token = rest.split('"').next().unwrap();
        let socket = TcpStream::connect(&relay.address).unwrap();
        let url = format!("ws://{}/twilio/media", relay.address);
        let (mut call, _) = tungstenite::client(url, socket).unwrap();
        let start = serde_json::json!({"event": "start", "streamSid": "MZ1", "start": {
            "streamSid": "MZ1", "callSid": "CA1", "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {"token": token}}});
        call.send(Message::text(start.to_string())).unwrap();
        read_json(&mut call, "event", "media");
        call
    };
    let call = stream(&post(&relay.address, "/twilio/incoming", "CallSid=CA1"));
    call.get_ref().shutdown(std::net::Shutdown::Both).unwrap();
    await_count(&relay, "vocaris_comebacks_total{outcome=\"kept\"}", 1);
    let ended = post(&relay.address, "/twilio/after", "CallSid=CA1&CallStatus=completed");
    assert!(ended.contains("<Hangup"), "{ended}");
    let other = post(&relay.address, "/twilio/after", "CallSid=CA2&CallStatus=in-progress");
    assert!(other.contains("<Hangup"), "{other}");
    let again = post(&relay.address, "/twilio/after", "CallSid=CA1&CallStatus=in-progress");
    let mut call = stream(&again);
    await_count(&relay, "vocaris_comebacks_total{outcome=\"taken_up\"}", 1);
    call.send(Message::text("{\"event\":\"stop\",\"streamSid\":\"MZ1\"}")).unwrap();
    while !matches!(call.read(), Ok(Message::Close(_)) | Err(_)) {}
    let over = post(&relay.address, "/twilio/after", "CallSid=CA1&CallStatus=in-progress");
    assert!(over.contains("<Hangup"), "{over}");
    relay.signal("-TERM");
    assert_eq!(relay.end().0, Some(0));
}

#[test]
fn a_browser_comes_back_where_no_new_call_is_taken_and_as_often_as_its_network_breaks() {
    let mut command = program();
    let relay = Relay::start(command.env("VOCARIS_LIMITS_MAX_CALLS", "1"));
    let open = |hello: serde_json::Value| {
        let socket = TcpStream::connect(&relay.address).unwrap();
        let request = tungstenite::http::Request::builder()
            .uri(format!("ws://{}/web", relay.address))
            .header("Host", &relay.address)
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", tungstenite::handshake::client::generate_key())
            .header("Sec-WebSocket-Protocol", "vocaris.v1, vocaris.resume")
            .body(())
            .unwrap();
        let (mut call, _) = tungstenite::client(request, socket).unwrap();
        call.send(Message::text(hello.to_string())).unwrap();
        call
    };
    let mut call = open(serde_json::json!({"type": "hello"}));
    let ready = read_json(&mut call, "type", "ready");
    read_json(&mut call, "type", "transcript");
    while !call.read().unwrap().is_binary() {}
    let hello = serde_json::json!({"type": "hello", "resume": ready["resume"]});
    // The old connection is dead and nobody has told the relay; the next ones break, too, before
    // anything was heard of them.
    for _ in 0..3 {
        drop(open(hello.clone()));
    }
    let mut back = open(hello);
    assert_eq!(read_json(&mut back, "type", "ready")["returned"], true);
    while !back.read().unwrap().is_binary() {}
    // A stranger finds the one place taken, and a forged token opens none.
    for resume in ["", "v1.00.9999999999.00", ready["call"].as_str().unwrap()] {
        let mut other = open(serde_json::json!({"type": "hello", "resume": resume}));
        assert_eq!(read_json(&mut other, "type", "end")["reason"], "refused");
    }
    relay.signal("-TERM");
    relay.signal("-TERM");
    assert_eq!(relay.end().0, Some(0));
}
