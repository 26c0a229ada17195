//! The program as a child, a folder of its own, and a model that tells what it was asked.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use serde_json::Value;
use tungstenite::{Message, WebSocket};

/// Nothing takes so long: a test that waits for more has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the model says each time it hears something: 100 ms.
const VOICE_BYTES: usize = 4800;

/// A folder that nobody else uses.
pub(crate) fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("operate-{name}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// What is in it, with what is below.
pub(crate) fn contents(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        }
        found.insert(path);
    }
    found
}

/// The program in `folder`, with nothing of the environment that runs the tests.
pub(crate) fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vocaris"));
    command.env_clear().env("VOCARIS_SERVER_LISTEN", "127.0.0.1:0");
    command.env("VOCARIS_SERVER_WORKERS", "1").env("VOCARIS_SERVER_PIN", "false");
    // However late the machine makes it, nobody is turned away for that.
    command.env("VOCARIS_LIMITS_MAX_LATENESS", "0s");
    command.current_dir(folder).stdin(Stdio::null());
    command
}

/// Exit code, standard output and standard error of a program that ends by itself.
pub(crate) fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// A relay that listens. It ends with this value.
pub(crate) struct Relay {
    child: Child,
    pub(crate) address: String,
    log: BufReader<ChildStderr>,
    stdout: Option<BufReader<ChildStdout>>,
}

impl Relay {
    pub(crate) fn start(command: &mut Command) -> Relay {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("listening on ") {
            line.clear();
            assert_ne!(stdout.read_line(&mut line).unwrap(), 0, "it ended");
        }
        let address = line.trim_start_matches("listening on ").trim().to_owned();
        Relay { child, address, log, stdout: Some(stdout) }
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(name).arg(self.child.id().to_string()).status();
        assert!(status.unwrap().success());
    }

    /// Reads the log up to a line that holds `text`. Returns everything read.
    pub(crate) fn logged(&mut self, text: &str) -> String {
        let mut read = String::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.log.read_line(&mut line).unwrap(), 0, "never {text:?} in:\n{read}");
            read.push_str(&line);
            if line.contains(text) {
                return read;
            }
        }
    }

    /// Asks for the configuration to be read again. Returns the log up to `text`.
    pub(crate) fn reload(&mut self, text: &str) -> String {
        self.signal("-HUP");
        self.logged(text)
    }

    /// How many reloads the figures count under `result`.
    pub(crate) fn reloads(&self, result: &str) -> u64 {
        let mut socket = TcpStream::connect(&self.address).unwrap();
        socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
        let mut page = String::new();
        socket.read_to_string(&mut page).unwrap();
        let series = format!("vocaris_config_reloads_total{{result=\"{result}\"}} ");
        let value = page.lines().find_map(|line| line.strip_prefix(&series));
        value.map_or(0, |value| value.parse().unwrap())
    }

    /// A browser's call, once its model is ready.
    pub(crate) fn call(&self, token: Option<&str>) -> Result<Call, Refused> {
        call(&self.address, token)
    }

    /// Lets it drain, and returns its exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        self.signal("-TERM");
        self.logged("stopped");
        let mut rest = String::new();
        self.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // A test that failed leaves no relay behind; one that stopped has none.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A call was not let in.
#[derive(Debug)]
pub(crate) struct Refused;

/// A browser's call at `address`, once its model is ready.
pub(crate) fn call(address: &str, token: Option<&str>) -> Result<Call, Refused> {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut socket, _) = tungstenite::client(format!("ws://{address}/web"), socket).unwrap();
    let mut hello = serde_json::json!({"type": "hello"});
    if let Some(token) = token {
        hello["token"] = token.into();
    }
    socket.send(Message::text(hello.to_string())).unwrap();
    loop {
        match socket.read() {
            Ok(Message::Text(text)) if text.contains("\"ready\"") => return Ok(Call { socket }),
            Ok(Message::Close(_)) | Err(_) => return Err(Refused),
            Ok(_) => {}
        }
    }
}

/// A browser that talks.
pub(crate) struct Call {
    socket: WebSocket<TcpStream>,
}

impl Call {
    /// Speaks, and hears the model to its end.
    pub(crate) fn talks(&mut self) {
        self.socket.send(Message::binary(vec![0; 640])).unwrap();
        let mut heard_bytes = 0;
        while heard_bytes < VOICE_BYTES {
            if let Message::Binary(audio) = self.socket.read().unwrap() {
                heard_bytes += audio.len();
            }
        }
        assert_eq!(heard_bytes, VOICE_BYTES);
    }

    /// Hangs up, and waits until the relay has seen it.
    pub(crate) fn hang_up(mut self) {
        self.socket.send(Message::text("{\"type\":\"bye\"}")).unwrap();
        while self.socket.read().is_ok() {}
    }
}

/// A model that answers every caller's audio with audio of its own.
pub(crate) struct Model {
    pub(crate) url: String,
    /// Every message but audio, of all its sessions.
    heard: Receiver<Value>,
}

impl Model {
    pub(crate) fn start() -> Model {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let (tell, heard) = channel();
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let tell = tell.clone();
                std::thread::spawn(move || serve(socket.unwrap(), &tell));
            }
        });
        Model { url, heard }
    }

    /// The next message that has `field`.
    pub(crate) fn heard(&self, field: &str) -> Value {
        loop {
            let mut message = self.heard.recv_timeout(PATIENCE).unwrap();
            if let Some(value) = message.get_mut(field) {
                return value.take();
            }
        }
    }
}

fn serve(socket: TcpStream, tell: &Sender<Value>) {
    let Ok(mut socket) = tungstenite::accept(socket) else { return };
    while let Ok(message) = socket.read() {
        if !message.is_text() && !message.is_binary() {
            continue;
        }
        let message: Value = serde_json::from_slice(&message.into_data()).unwrap();
        let answer = match (message.get("setup"), message.get("realtimeInput")) {
            (Some(_), _) => r#"{"setupComplete":{}}"#.to_owned(),
            (_, Some(input)) if input.get("audio").is_some() => voice(),
            _ => String::new(),
        };
        if message.get("realtimeInput").is_none() {
            let _ = tell.send(message);
        }
        if !answer.is_empty() && socket.send(Message::text(answer)).is_err() {
            return;
        }
    }
}

/// A voice, 24 kHz: [`VOICE_BYTES`] of it.
fn voice() -> String {
    let audio = "AAEA".repeat(VOICE_BYTES / 3);
    format!(
        "{{\"serverContent\":{{\"modelTurn\":{{\"parts\":[{{\"inlineData\":{{\"mimeType\":\
         \"audio/pcm;rate=24000\",\"data\":\"{audio}\"}}}}]}}}}}}"
    )
}
