//! The relay under test as a child process: Vocaris in this same program, or another.
//!
//! In:       the program to run ([`Program`]) and the settings it gets by environment.
//! Out:      a running [`Relay`] with its address, its process id, its last words.
//! Bounds:   [`START_WAIT`] until it listens, [`STOP_WAIT`] until it has drained; then it is
//!           killed. [`LAST_LINES`] of what it printed are kept. [`NAMES_TRIED`] for a directory.
//! Not here: what it is asked to do (`run`, `harness`); the floor ([`null`]) and the honest peers
//!           ([`peer`]) that can stand in its place.
//!
//! The child holds the read end of a pipe that only this process can write to. However this
//! process ends, the pipe ends with it, and the child leaves: no orphan keeps a port.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::cores::{self, Cores};
use vocaris::config::Config;
use vocaris::server::{self, log_lines::LogLines};

/// How long a relay may take until it listens.
pub const START_WAIT: Duration = Duration::from_secs(20);

/// How long a relay may take to stop once asked.
pub const STOP_WAIT: Duration = Duration::from_secs(10);

/// Lines of output kept for a report of failure.
pub const LAST_LINES: usize = 40;

/// Names that are tried for a new directory before there is none.
pub const NAMES_TRIED: u32 = 1000;

pub mod null;
pub mod peer;
mod program;

pub use program::{Kind, Program};

/// What the relay prints, followed by its address, once it accepts connections.
const LISTENING: &str = "listening on ";

/// The exit code of a child whose parent has gone.
const ORPHANED: i32 = 3;

/// The hidden subcommand under which a program that calls [`serve`] is a relay.
pub const SUBCOMMAND: &str = "relay";

/// Runs the relay in this process until it is told to stop. Configured by environment alone;
/// `lines` is where its log goes.
pub fn serve(lines: &LogLines) -> Result<(), String> {
    leave_with_parent();
    let config = Config::load(None, std::env::vars_os()).map_err(|errors| errors.to_string())?;
    match server::run(config, lines) {
        ExitCode::SUCCESS => Ok(()),
        _ => Err("the relay failed".into()),
    }
}

/// Ends this process when the parent's end of our standard input closes.
fn leave_with_parent() {
    std::thread::spawn(|| {
        let mut stdin = io::stdin().lock();
        let mut byte = [0];
        while matches!(stdin.read(&mut byte), Ok(1..)) {}
        std::process::exit(ORPHANED);
    });
}

/// What a relay is started with.
#[derive(Clone, Debug, Default)]
pub struct RelayConfig {
    /// The program.
    pub program: Program,
    /// `VOCARIS_…` and other variables, by the names Vocaris knows. Such variables of this process
    /// itself are not inherited.
    pub environment: Vec<(String, OsString)>,
    /// What the relay prints goes on to our standard error.
    pub echo: bool,
    /// Its working directory, which must exist and outlives it; `None`: one of its own, away from
    /// any configuration file of the directory we were called in, and removed with it.
    pub directory: Option<PathBuf>,
    /// The cores it is bound to from its first instruction on; `None`: those of this process.
    pub cores: Option<Cores>,
}

/// A running relay. Dropping it kills it.
pub struct Relay {
    child: Child,
    address: SocketAddr,
    output: Arc<Mutex<VecDeque<String>>>,
    /// Its working directory, where it has one of its own: removed at the end.
    _directory: Option<Directory>,
}

/// Why there is no relay.
#[derive(Debug)]
pub enum RelayError {
    /// The program could not be started.
    Start(io::Error),
    /// It ended before it listened; its last words.
    Died(String),
    /// It did not listen in time; its last words.
    Late(String),
}

impl fmt::Display for RelayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RelayError::Start(error) => write!(f, "the relay cannot be started: {error}"),
            RelayError::Died(words) => write!(f, "the relay ended before it listened:\n{words}"),
            RelayError::Late(words) => {
                let wait = START_WAIT.as_secs();
                write!(f, "the relay does not listen after {wait} s:\n{words}")
            }
        }
    }
}

impl std::error::Error for RelayError {}

impl Relay {
    /// Starts a relay and waits until it listens.
    pub fn start(config: &RelayConfig) -> Result<Relay, RelayError> {
        let (own, directory) = match &config.directory {
            Some(directory) => (None, directory.clone()),
            None => {
                let own = Directory::new().map_err(RelayError::Start)?;
                let path = own.path.clone();
                (Some(own), path)
            }
        };
        let mut command = Command::new(&config.program.file);
        for (name, _) in std::env::vars_os() {
            let known = name.to_string_lossy();
            if known.starts_with("VOCARIS_")
                || known.starts_with("RELAY_")
                || matches!(&*known, "PORT" | "GEMINI_API_KEY" | "TWILIO_AUTH_TOKEN")
            {
                command.env_remove(name);
            }
        }
        command
            .args(&config.program.arguments)
            .envs(config.environment.iter().map(|(name, value)| {
                let name = config.program.kind.variable(name);
                (name.to_string(), value)
            }))
            // Away from any configuration file of the directory we were called in.
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // A group of its own: Ctrl-C is for this process, which then ends the relay in good order.
        command.process_group(0);
        let mut child = cores::starting_on(config.cores.as_ref(), || command.spawn())
            .map_err(RelayError::Start)?;
        let output = Arc::default();
        let (sender, found) = channel();
        for pipe in [
            child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
            child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
        ]
        .into_iter()
        .flatten()
        {
            listen(pipe, Arc::clone(&output), sender.clone(), config.echo);
        }
        drop(sender);
        match wait_for_address(&found) {
            Ok(address) => Ok(Relay { child, address, output, _directory: own }),
            Err(error) => {
                // It may have ended by itself.
                let _ = child.kill();
                let _ = child.wait();
                let words = last_words(&output);
                Err(match error {
                    RecvTimeoutError::Timeout => RelayError::Late(words),
                    RecvTimeoutError::Disconnected => RelayError::Died(words),
                })
            }
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// True while it has not ended.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it, as the kernel does where memory is short: no signal that it could handle.
    pub fn kill(&mut self) {
        // Without effect once it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The last lines it printed.
    pub fn last_words(&self) -> String {
        last_words(&self.output)
    }

    /// Asks it to stop and waits. An error says what was wrong with its end.
    pub fn stop(mut self) -> Result<(), String> {
        // One that was found to have ended cannot be asked: its number may be another's by now.
        if matches!(self.child.try_wait(), Ok(None)) {
            let pid = rustix::process::Pid::from_child(&self.child);
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let deadline = Instant::now() + STOP_WAIT;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(format!("the relay ended with {status}")),
                Ok(None) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Ok(None) => {
                    let wait = STOP_WAIT.as_secs();
                    return Err(format!(
                        "the relay had to be killed: no end {wait} s after SIGTERM"
                    ));
                }
                Err(error) => return Err(format!("the relay cannot be waited for: {error}")),
            }
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Reads a pipe to its end on a thread of its own, and finds the address in it.
fn listen(
    pipe: Box<dyn Read + Send>,
    output: Arc<Mutex<VecDeque<String>>>,
    found: Sender<SocketAddr>,
    echo: bool,
) {
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if echo {
                eprintln!("relay: {line}");
            }
            if let Some(address) = address_in(&line) {
                // Nobody waits for a second one.
                let _ = found.send(address);
            }
            let mut kept = output.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            if kept.len() == LAST_LINES {
                kept.pop_front();
            }
            kept.push_back(line);
        }
    });
}

/// The address behind `listening on `, with or without a scheme.
fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once(LISTENING)?;
    let rest = rest.split_once("://").map_or(rest, |(_, rest)| rest);
    let word = rest.split_whitespace().next()?;
    word.trim_end_matches(['/', ',', '.', ';']).parse().ok()
}

fn wait_for_address(found: &Receiver<SocketAddr>) -> Result<SocketAddr, RecvTimeoutError> {
    found.recv_timeout(START_WAIT)
}

fn last_words(output: &Mutex<VecDeque<String>>) -> String {
    let kept = output.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    kept.iter().map(|line| format!("  {line}\n")).collect()
}

/// A directory that exists as long as this value.
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// A new, empty directory.
    pub fn new() -> io::Result<Directory> {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let mut left = NAMES_TRIED;
        loop {
            let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let name = format!("vocaris-loadtest-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            left -= 1;
            match std::fs::create_dir(&path) {
                // Left behind by a process that was killed and had our number.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && left > 0 => {}
                made => return made.map(|()| Directory { path }),
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What cannot be removed is left to whoever empties the temporary directory.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_a_line_of_any_form() {
        let address = Some("127.0.0.1:4711".parse().unwrap());
        for line in [
            "listening on 127.0.0.1:4711",
            "[2026-11-23T04:00:00Z INFO vocaris] listening on 127.0.0.1:4711",
            "listening on http://127.0.0.1:4711/",
            "listening on 127.0.0.1:4711, 2 workers",
        ] {
            assert_eq!(address_in(line), address, "{line}");
        }
        assert_eq!(address_in("listening on localhost"), None);
        assert_eq!(address_in("127.0.0.1:4711"), None);
    }

    #[test]
    fn a_program_that_ends_at_once_is_reported_with_its_last_words() {
        let config = RelayConfig { program: "/bin/ls".into(), ..RelayConfig::default() };
        let Err(RelayError::Died(words)) = Relay::start(&config) else {
            panic!("ls does not listen")
        };
        assert!(words.contains(SUBCOMMAND), "{words}");
        let missing = RelayConfig { program: "/nonexistent".into(), ..config };
        assert!(matches!(Relay::start(&missing), Err(RelayError::Start(_))));
    }
}
