//! The log of a whole run of the program, as whoever collects it reads it: every line is an object,
//! whatever a caller says of himself, and none of them holds a secret or a number.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::Message;

const AUTH_TOKEN: &str = "a0b1c2d3e4f5a6b7c8d9e0f1a2b3c4d5";
const API_KEY: &str = "AIzaSyTheKeyThatMustNotBeLogged";
const ADMIN_TOKEN: &str = "the-admin-token-0123456789";
const WRONG_TOKEN: &str = "a-token-somebody-tried-0123";
const WEB_TOKEN: &str = "the-web-token-0123456789";
const TOOL_SECRET: &str = "the-tools-secret-0123456789";
const NUMBER: &str = "+15558675309";
/// What ends lines, quotes and objects, and looks like pairs and like JSON.
const HOSTILE: &str =
    "CA1\n{\"level\":\"ERROR\"}\r call=ff event=forged \"\u{1b}[2J\u{2028}\\ left_out=9";

struct Relay {
    child: Child,
    address: String,
}

impl Relay {
    fn start(name: &str, format: &str, model: u16) -> Relay {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let file = format!(
            "[[agents]]\nname = \"a\"\nnumbers = [\"*\"]\ntools = [\"look_up\"]\n\
             [[tools]]\nname = \"look_up\"\ndescription = \"Looks something up.\"\n\
             url = \"http://127.0.0.1:9/\"\nsecret = \"{TOOL_SECRET}\"\n"
        );
        std::fs::write(folder.join("vocaris.toml"), file).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_vocaris"))
            .env_clear()
            .current_dir(&folder)
            .env("VOCARIS_SERVER_LISTEN", "127.0.0.1:0")
            .env("VOCARIS_SERVER_WORKERS", "1")
            .env("VOCARIS_SERVER_PIN", "false")
            .env("VOCARIS_SERVER_DRAIN_TIMEOUT", "0ms")
            // However late the machine makes it, nobody is turned away for that.
            .env("VOCARIS_LIMITS_MAX_LATENESS", "0s")
            .env("VOCARIS_GEMINI_URL", format!("ws://127.0.0.1:{model}"))
            .env("VOCARIS_TWILIO_SIGNATURE", "warn")
            .env("VOCARIS_ADMIN_TOKEN", ADMIN_TOKEN)
            .env("VOCARIS_WEB_TOKENS", WEB_TOKEN)
            .env("VOCARIS_LOG_FORMAT", format)
            .env("VOCARIS_LOG_SLO_SETUP", "1ms")
            .env("TWILIO_AUTH_TOKEN", AUTH_TOKEN)
            .env("GEMINI_API_KEY", API_KEY)
            .env("RUST_LOG", "trace")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("listening on ") {
            line.clear();
            assert_ne!(said.read_line(&mut line).unwrap(), 0, "it ended");
        }
        let address = line.trim_start_matches("listening on ").trim().to_owned();
        // What it says at its end must be read by somebody.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Relay { child, address }
    }

    /// The status of one request.
    fn ask(&self, head: &str, body: &str) -> u16 {
        self.fetch(head, body)[9..12].parse().unwrap()
    }

    /// The answer to one request.
    fn fetch(&self, head: &str, body: &str) -> String {
        let mut socket = TcpStream::connect(&self.address).unwrap();
        let length = body.len();
        let request = format!(
            "{head}Host: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    }

    /// A WebSocket on which these messages are said, until the relay closes it.
    fn converse(&self, path: &str, messages: &[Value]) {
        let url = format!("ws://{}{path}", self.address);
        let (mut socket, _) = tungstenite::connect(url).unwrap();
        for message in messages {
            socket.send(Message::text(message.to_string())).unwrap();
        }
        while socket.read().is_ok() {}
    }

    /// Everything it has logged, once it has stopped.
    fn stop(mut self) -> String {
        let mut stderr = self.child.stderr.take().unwrap();
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let mut log = String::new();
        stderr.read_to_string(&mut log).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{log}");
        log
    }
}

/// A model that hangs up on whoever calls it, so that every failure has its lines.
fn model() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    port
}

/// A model that is ready five milliseconds after it was asked, and says nothing.
fn late_model() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = |socket: TcpStream| {
        let mut session = tungstenite::accept(socket).unwrap();
        let _ = session.read();
        let asked = Instant::now();
        while asked.elapsed() < Duration::from_millis(5) {
            std::thread::yield_now();
        }
        let _ = session.send(Message::text(r#"{"setupComplete":{}}"#));
        while session.read().is_ok() {}
    };
    std::thread::spawn(move || {
        listener
            .incoming()
            .flatten()
            .for_each(|socket| drop(std::thread::spawn(move || answer(socket))));
    });
    port
}

/// What is escaped in a form.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// A run in which every secret is used, rightly and wrongly, and a caller calls himself anything.
fn run(name: &str, format: &str) -> String {
    let relay = Relay::start(name, format, model());
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let body = format!("CallSid={}&From={}&To=%2B1", encoded(HOSTILE), encoded(NUMBER));
    assert_eq!(relay.ask(&format!("POST /twilio/incoming HTTP/1.1\r\n{form}"), &body), 200);
    let body = format!(
        "CallSid={}&StreamEvent=stream-error&StreamError={}",
        encoded(HOSTILE),
        encoded(HOSTILE)
    );
    assert_eq!(relay.ask(&format!("POST /twilio/stream-status HTTP/1.1\r\n{form}"), &body), 204);
    let bearer = |path: &str, token: &str| {
        relay.ask(&format!("GET {path} HTTP/1.1\r\nAuthorization: Bearer {token}\r\n"), "")
    };
    for path in ["/metrics", "/status.json"] {
        assert_eq!((bearer(path, ADMIN_TOKEN), bearer(path, WRONG_TOKEN)), (200, 401));
    }
    let start = |call_sid: &str, from: &str| {
        json!({"event": "start", "sequenceNumber": "1", "streamSid": "MZ1", "start": {
            "accountSid": "AC1", "streamSid": "MZ1", "callSid": call_sid, "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {"source": "twilio", "from": from, "to": "+1"}}})
    };
    let connected = json!({"event": "connected", "protocol": "Call", "version": "1.0.0"});
    for (call_sid, from) in [(HOSTILE, HOSTILE), ("CA0123", NUMBER)] {
        relay.converse("/twilio/media", &[connected.clone(), start(call_sid, from)]);
    }
    for token in [WEB_TOKEN, WRONG_TOKEN] {
        relay.converse("/web", &[json!({"type": "hello", "token": token})]);
    }
    relay.stop()
}

fn holds_no_secret(log: &str) {
    let secrets = [AUTH_TOKEN, API_KEY, ADMIN_TOKEN, WRONG_TOKEN, WEB_TOKEN, TOOL_SECRET];
    for secret in secrets {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
    assert!(!log.contains(&NUMBER[1..]), "the caller's number in {log}");
}

#[test]
fn every_line_for_machines_is_an_object_with_its_call_and_no_secret() {
    let log = run("log-json", "json");
    holds_no_secret(&log);
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}")))
        .collect();
    for line in &lines {
        let ts = line["ts"].as_str().unwrap();
        assert!(ts.parse::<jiff::Timestamp>().is_ok() && ts.ends_with('Z'), "{line}");
        assert!(line["level"].is_string() && line["target"].is_string(), "{line}");
        assert_ne!(line["event"], "forged");
        assert_ne!(line["call"], "ff");
    }
    let of = |target: &str, event: &str| -> Vec<&Value> {
        let is_it = |line: &&Value| line["target"] == target && line["event"] == event;
        lines.iter().filter(is_it).collect()
    };
    // One line for each event of a call's life, under the call's name.
    for (target, event, times) in
        [("twilio", "opened", 2), ("twilio", "ended", 2), ("web", "opened", 2), ("web", "ended", 2)]
    {
        let found = of(target, event);
        assert_eq!(found.len(), times, "{target} {event}: {log}");
        for line in &found {
            assert_eq!(line["call"].as_str().map(str::len), Some(16), "{line}");
        }
    }
    for line in of("twilio", "opened") {
        assert!(of("twilio", "ended").iter().any(|ended| ended["call"] == line["call"]), "{line}");
        assert_eq!(line["fields"]["rate_hz"], 8_000);
    }
    let told = &of("twilio", "webhook")[0]["fields"]["call_sid"];
    assert_eq!(told.as_str().unwrap(), &HOSTILE[..told.as_str().unwrap().len()]);
    assert!(!of("twilio", "stream_error").is_empty() && !of("web", "refused").is_empty(), "{log}");
}

#[test]
fn a_call_whose_model_was_late_is_named_and_counted_once() {
    let relay = Relay::start("log-slo", "json", late_model());
    let url = format!("ws://{}/web", relay.address);
    let (mut call, _) = tungstenite::connect(url).unwrap();
    let hello = json!({"type": "hello", "token": WEB_TOKEN});
    call.send(Message::text(hello.to_string())).unwrap();
    let ready: Value = serde_json::from_str(call.read().unwrap().to_text().unwrap()).unwrap();
    assert_eq!(ready["type"], "ready");
    call.close(None).unwrap();
    while call.read().is_ok() {}
    let head = format!("GET /metrics HTTP/1.1\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n");
    let page = relay.fetch(&head, "");
    assert!(page.contains("vocaris_slo_missed_total{class=\"web\",stage=\"setup\"} 1\n"), "{page}");
    let log = relay.stop();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let missed: Vec<Value> = lines.filter(|line| line["event"] == "slo_missed").collect();
    assert_eq!(missed.len(), 1, "{log}");
    let fields = &missed[0]["fields"];
    assert_eq!((&missed[0]["call"], &missed[0]["target"]), (&ready["call"], &"web".into()));
    assert_eq!((&fields["stage"], &fields["bound_ms"]), (&"setup".into(), &1.into()));
    assert!(fields["worst_ms"].as_u64() >= Some(5), "{fields}");
}

#[test]
fn every_line_for_people_is_one_line_and_holds_no_secret() {
    let log = run("log-text", "text");
    holds_no_secret(&log);
    for line in log.lines() {
        let mut words = line.split_ascii_whitespace();
        let at = words.next().unwrap_or_default();
        assert!(at.parse::<jiff::Timestamp>().is_ok(), "{line:?}");
        let level = words.next().unwrap_or_default();
        assert!(["ERROR", "WARN", "INFO", "DEBUG", "TRACE"].contains(&level), "{line:?}");
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
    assert!(log.contains(" twilio call=") && log.contains(" web call="), "{log}");
}
