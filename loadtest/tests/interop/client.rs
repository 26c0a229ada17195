//! Google's own clients as programs: installed once, then run with what they are to do.
//!
//! In:       a [`Client`], a server, a plan of acts.
//! Out:      the [`Account`] of each connection; where a client cannot be had, why not.
//! Bounds:   [`INSTALL_WAIT`], [`TALK_WAIT`]. Programs that take longer are ended.
//! Not here: the acts (`conversation.py`, `conversation.mjs`), the judgement.
//!
//! What is installed goes under Cargo's target directory and stays there for the next run. Its
//! folder is named after the versions, so that other versions are another folder.

use std::ffi::OsStr;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::sync::{Once, OnceLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

/// How long an installation may take: about 15 s are usual. Then the tests are skipped.
pub(crate) const INSTALL_WAIT: Duration = Duration::from_secs(60);

/// How long a conversation may take: 10 s are usual. Then the test fails.
pub(crate) const TALK_WAIT: Duration = Duration::from_secs(60);

/// One of Google's clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    /// `google-genai`.
    Python,
    /// `@google/genai`.
    JavaScript,
}

/// A server to talk with.
pub(crate) struct Server<'s> {
    /// `https://localhost:PORT`.
    pub(crate) origin: String,
    /// The authority to trust, as PEM.
    pub(crate) ca_pem: &'s str,
    /// As an application names it.
    pub(crate) model: &'s str,
    /// The API key.
    pub(crate) key: &'s str,
}

/// What one connection has heard, as the client told its application.
#[derive(Debug, Deserialize)]
pub(crate) struct Account {
    /// All audio, base64.
    audio: String,
    /// Output transcription.
    pub(crate) said: String,
    /// Input transcription.
    pub(crate) heard: String,
    /// Tool calls: id, name, args.
    pub(crate) calls: Vec<Value>,
    /// The time left.
    pub(crate) go_away: Option<String>,
    /// In order.
    pub(crate) events: Vec<String>,
}

impl Account {
    /// All audio, in samples.
    pub(crate) fn pcm(&self) -> Vec<i16> {
        let bytes = STANDARD.decode(&self.audio).expect("the script writes base64");
        bytes.as_chunks::<2>().0.iter().map(|sample| i16::from_le_bytes(*sample)).collect()
    }
}

impl Client {
    /// Has the client do the acts of `plan`. `None`, and a word about it, where there is no such
    /// client to be had.
    ///
    /// # Panics
    /// If the client fails.
    pub(crate) fn converse(self, server: &Server<'_>, plan: &Value) -> Option<Vec<Account>> {
        let folder = match self.installed() {
            Ok(folder) => folder,
            Err(why) => {
                // Print macros would write to the test harness, which keeps it to itself.
                let _ = writeln!(std::io::stderr(), "SKIPPED: interop, {self:?} client: {why}");
                return None;
            }
        };
        let ca_file = folder.join(format!("ca-{}.pem", self::hash(&server.ca_pem)));
        std::fs::write(&ca_file, server.ca_pem).unwrap();
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop");
        let mut command = match self {
            Client::Python => {
                let mut command = Command::new("python3");
                command.arg(scripts.join("conversation.py"));
                command.env("PYTHONPATH", folder).env("PYTHONDONTWRITEBYTECODE", "1");
                command.env("SSL_CERT_FILE", &ca_file);
                command
            }
            Client::JavaScript => {
                let mut command = Command::new("node");
                command.arg(scripts.join("conversation.mjs")).arg(folder);
                command.env("NODE_EXTRA_CA_CERTS", &ca_file);
                command
            }
        };
        command.args([&*server.origin, server.model, server.key]);
        let said = run(&mut command, plan.to_string(), TALK_WAIT);
        // Another run has the authority of another server.
        let _ = std::fs::remove_file(&ca_file);
        let said = said.unwrap_or_else(|why| panic!("{self:?}: {why}"));
        #[derive(Deserialize)]
        struct Told {
            sessions: Vec<Account>,
        }
        let told: Told = serde_json::from_str(&said).unwrap_or_else(|why| panic!("{why}: {said}"));
        Some(told.sessions)
    }

    /// Where the client is installed. The first to ask has all clients installed at once.
    fn installed(self) -> &'static Result<PathBuf, String> {
        static BEGUN: Once = Once::new();
        BEGUN.call_once(|| {
            for client in [Client::Python, Client::JavaScript] {
                std::thread::spawn(move || client.install());
            }
        });
        self.install()
    }

    /// Installs the client, once; whoever comes second waits for the first.
    fn install(self) -> &'static Result<PathBuf, String> {
        static INSTALLED: [OnceLock<Result<PathBuf, String>>; 2] =
            [OnceLock::new(), OnceLock::new()];
        INSTALLED[self as usize].get_or_init(|| match self {
            Client::Python => install_python(),
            Client::JavaScript => install_javascript(),
        })
    }
}

fn install_python() -> Result<PathBuf, String> {
    let version = run(Command::new("python3").arg("--version"), String::new(), INSTALL_WAIT)?;
    let pins = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/requirements.txt");
    let pinned = std::fs::read_to_string(pins).map_err(|error| error.to_string())?;
    install("python", &(version, pinned), |folder| {
        let mut command = Command::new("python3");
        command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        command.args(["--no-deps", "--no-compile", "--only-binary=:all:"]);
        command.args(["--retries", "1", "--timeout", "10", "--requirement", pins, "--target"]);
        command.arg(folder);
        command
    })
}

fn install_javascript() -> Result<PathBuf, String> {
    // The platform is npm's; its programs are `npm.cmd` on some.
    let version = run(Command::new("node").arg("--version"), String::new(), INSTALL_WAIT)?;
    let files = ["package.json", "package-lock.json"];
    let pins = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop");
    let read = |file: &str| std::fs::read_to_string(pins.join(file));
    let pinned: Vec<String> =
        files.map(read).into_iter().collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    install("javascript", &(version, &pinned), |folder| {
        for (file, text) in files.iter().zip(&pinned) {
            // What cannot be written, npm reports as missing.
            let _ = std::fs::write(folder.join(file), text);
        }
        let mut command = Command::new("npm");
        command.args(["ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"]);
        command.args(["--fetch-retries=1", "--fetch-timeout=10000"]);
        command.current_dir(folder);
        command
    })
}

/// Has `command` fill a folder named after `versions`, unless that has been done before.
fn install(
    name: &str,
    versions: &impl Hash,
    command: impl FnOnce(&Path) -> Command,
) -> Result<PathBuf, String> {
    let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop");
    let folder = all.join(format!("{name}-{}", hash(versions)));
    if folder.exists() {
        return Ok(folder);
    }
    // Filled under another name: what was left half done is never taken for the whole.
    let filling = all.join(format!("{name}-{}", std::process::id()));
    std::fs::create_dir_all(&filling).map_err(|error| error.to_string())?;
    let done = run(&mut command(&filling), String::new(), INSTALL_WAIT)
        .and_then(|_| std::fs::rename(&filling, &folder).map_err(|error| error.to_string()));
    if done.is_err() {
        // It stays in the target directory, at worst.
        let _ = std::fs::remove_dir_all(&filling);
    }
    done.map(|()| folder)
}

fn hash(of: &impl Hash) -> String {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Runs a program for at most `wait`. Returns what it printed; else, why it failed.
fn run(command: &mut Command, input: String, wait: Duration) -> Result<String, String> {
    let name = Path::new(command.get_program()).file_name().unwrap_or(OsStr::new("")).to_owned();
    let name = name.to_string_lossy().into_owned();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("{name}: {error}"))?;
    let mut pipe = child.stdin.take().expect("it is piped");
    let (sender, ended) = channel();
    std::thread::spawn(move || pipe.write_all(input.as_bytes()));
    for (place, mut pipe) in [
        Box::new(child.stdout.take().expect("it is piped")) as Box<dyn Read + Send>,
        Box::new(child.stderr.take().expect("it is piped")),
    ]
    .into_iter()
    .enumerate()
    {
        let sender = sender.clone();
        std::thread::spawn(move || {
            let mut text = String::new();
            let _ = pipe.read_to_string(&mut text);
            let _ = sender.send((place, text));
        });
    }
    let mut said = [String::new(), String::new()];
    for _ in 0..2 {
        match ended.recv_timeout(wait) {
            Ok((place, text)) => said[place] = text,
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("{name}: not done after {} s", wait.as_secs()));
            }
        }
    }
    let [out, err] = said;
    match child.wait() {
        Ok(status) if status.success() => Ok(out),
        Ok(status) => Err(format!("{name}: {status}\n{}", err.trim())),
        Err(error) => Err(format!("{name}: {error}")),
    }
}
