//! The program as a child, and calls through it: a carrier's webhook, its stream, its questions.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tungstenite::{Message, WebSocket};

/// Longer than anything here takes on a busy machine; waiting for it is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A name in the folder of tests that nothing has yet.
pub(crate) fn fresh(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("vocaris-{}-{name}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

/// The program without a file, a key, or anything else of the environment that runs the tests.
/// Started by a shell, which runs `before` first.
pub(crate) fn program(before: &str) -> Command {
    let mut command = Command::new("sh");
    let run = format!("{before} exec {}", env!("CARGO_BIN_EXE_vocaris"));
    command.args(["-c", &run]).env_clear().env("VOCARIS_SERVER_LISTEN", "127.0.0.1:0");
    command.env("VOCARIS_SERVER_WORKERS", "1").env("VOCARIS_SERVER_PIN", "false");
    command.env("VOCARIS_LIMITS_MAX_LATENESS", "0s").env("RUST_LOG", "info");
    command.env("VOCARIS_APPOINTMENTS_ENABLED", "false");
    command.current_dir(env!("CARGO_TARGET_TMPDIR")).stdin(Stdio::null());
    command
}

/// A relay that listens.
pub(crate) struct Relay {
    pub(crate) child: Child,
    pub(crate) address: String,
    stdout: BufReader<ChildStdout>,
    log: Option<JoinHandle<String>>,
}

impl Relay {
    pub(crate) fn start(command: &mut Command) -> Relay {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let log = std::thread::spawn(move || {
            let mut log = String::new();
            stderr.read_to_string(&mut log).unwrap();
            log
        });
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("listening on ") {
            line.clear();
            if stdout.read_line(&mut line).unwrap() == 0 {
                panic!("it ended: {}", log.join().unwrap());
            }
        }
        let address = line.trim_start_matches("listening on ").trim().to_owned();
        Relay { child, address, stdout, log: Some(log) }
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(name).arg(self.child.id().to_string()).status();
        assert!(status.unwrap().success());
    }

    /// Its exit code and its log.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        self.stdout.read_to_string(&mut String::new()).unwrap();
        let code = self.child.wait().unwrap().code();
        (code, self.log.take().unwrap().join().unwrap())
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }
}

/// Nothing is left running, whatever a test came to; of one that failed the log is shown.
impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let (true, Some(log)) = (std::thread::panicking(), self.log.take()) {
            eprintln!("{}", log.join().unwrap_or_default());
        }
    }
}

/// Waits for what the relay does on its own.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "it never came to pass: {what}");
        std::thread::yield_now();
    }
}

pub(crate) fn connect(address: &str) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// One request on a connection of its own: status and body.
pub(crate) fn ask(address: &str, request: &str) -> (u16, String) {
    let mut client = Client::new(address);
    client.ask(request).expect("an answer")
}

pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

pub(crate) fn post(path: &str, form: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}",
        form.len()
    )
}

/// A client that keeps its connection as long as the relay lets it.
pub(crate) struct Client {
    address: String,
    socket: Option<BufReader<TcpStream>>,
}

impl Client {
    pub(crate) fn new(address: &str) -> Client {
        Client { address: address.to_owned(), socket: None }
    }

    /// What was wrong, if there was no whole answer.
    pub(crate) fn ask(&mut self, request: &str) -> Result<(u16, String), String> {
        let address = &self.address;
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => {
                let socket = TcpStream::connect(address).map_err(|error| error.to_string())?;
                socket.set_read_timeout(Some(PATIENCE)).unwrap();
                BufReader::new(socket)
            }
        };
        self.exchange(socket, request).map_err(|error| error.to_string())
    }

    fn exchange(
        &mut self,
        mut socket: BufReader<TcpStream>,
        request: &str,
    ) -> std::io::Result<(u16, String)> {
        socket.get_mut().write_all(request.as_bytes())?;
        let (mut status, mut length, mut stays) = (0, 0, true);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            if socket.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let lower = line.to_ascii_lowercase();
            if status == 0 {
                status = line[9..12].parse().unwrap();
            } else if let Some(value) = lower.strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            } else if lower.trim() == "connection: close" {
                stays = false;
            }
        }
        let mut body = vec![0; length];
        socket.read_exact(&mut body)?;
        self.socket = stays.then_some(socket);
        Ok((status, String::from_utf8(body).unwrap()))
    }
}

/// The token in a `<Connect>` document.
pub(crate) fn token_in(twiml: &str) -> Result<String, String> {
    let after = twiml.split("name=\"token\" value=\"").nth(1).ok_or_else(|| twiml.to_owned())?;
    Ok(after.split('"').next().unwrap().to_owned())
}

/// A carrier's stream.
pub(crate) struct Stream {
    socket: WebSocket<TcpStream>,
    chunk: u64,
}

impl Stream {
    /// Opens the stream of a call whose webhook was answered with `token`.
    pub(crate) fn open(address: &str, call_sid: &str, token: &str) -> Result<Stream, String> {
        Stream::open_with(address, call_sid, &[("token", token)])
    }

    /// The same with all the parameters that the webhook's answer gave.
    pub(crate) fn open_with(
        address: &str,
        call_sid: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Stream, String> {
        let parameters: Vec<String> =
            parameters.iter().map(|(name, value)| format!("\"{name}\":\"{value}\"")).collect();
        let parameters = parameters.join(",");
        let socket = TcpStream::connect(address).map_err(|error| error.to_string())?;
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let url = format!("ws://{address}/twilio/media");
        let (mut socket, _) =
            tungstenite::client(url, socket).map_err(|error| error.to_string())?;
        let start = format!(
            "{{\"event\":\"start\",\"sequenceNumber\":\"1\",\"streamSid\":\"MZ{call_sid}\",\
             \"start\":{{\"accountSid\":\"AC1\",\"streamSid\":\"MZ{call_sid}\",\
             \"callSid\":\"{call_sid}\",\"tracks\":[\"inbound\"],\"mediaFormat\":{{\
             \"encoding\":\"audio/x-mulaw\",\"sampleRate\":8000,\"channels\":1}},\
             \"customParameters\":{{{parameters}}}}}}}"
        );
        let connected = "{\"event\":\"connected\",\"protocol\":\"Call\",\"version\":\"1.0.0\"}";
        for text in [connected.to_owned(), start] {
            socket.send(Message::text(text)).map_err(|error| error.to_string())?;
        }
        Ok(Stream { socket, chunk: 0 })
    }

    /// Says 20 ms of silence.
    pub(crate) fn speak(&mut self) -> Result<(), String> {
        self.chunk += 1;
        let payload = format!("{}w==", "/".repeat(213));
        let media = format!(
            "{{\"event\":\"media\",\"sequenceNumber\":\"{}\",\"streamSid\":\"MZ\",\"media\":{{\
             \"track\":\"inbound\",\"chunk\":\"{}\",\"timestamp\":\"{}\",\"payload\":\"{payload}\"}}}}",
            self.chunk + 1,
            self.chunk,
            (self.chunk - 1) * 20,
        );
        self.socket.send(Message::text(media)).map_err(|error| error.to_string())
    }

    /// Waits for the agent's next audio. An end is an error, with its reason.
    pub(crate) fn hear(&mut self) -> Result<(), String> {
        loop {
            match self.socket.read().map_err(|error| error.to_string())? {
                Message::Text(text) if text.contains("\"event\":\"media\"") => return Ok(()),
                Message::Close(close) => return Err(format!("closed: {close:?}")),
                _ => {}
            }
        }
    }

    /// Waits for the relay's close; its reason.
    pub(crate) fn closed(&mut self) -> String {
        loop {
            if let Message::Close(close) = self.socket.read().unwrap() {
                return close.unwrap().reason.as_str().to_owned();
            }
        }
    }

    /// The caller hangs up.
    pub(crate) fn hang_up(&mut self) -> Result<(), String> {
        let stop = "{\"event\":\"stop\",\"sequenceNumber\":\"9\",\"streamSid\":\"MZ\",\
                    \"stop\":{\"accountSid\":\"AC1\",\"callSid\":\"CA1\"}}";
        self.socket.send(Message::text(stop)).map_err(|error| error.to_string())
    }
}
