//! The relays that can stand in Vocaris's place, and how each is got ready.
//!
//! In:       a name, and a [`Workshop`]: where sources are and where may be built.
//! Out:      a [`Program`] to start, or a sentence that says what is missing.
//! Bounds:   [`BUILD_WAIT`] for each step of building; then it is ended. [`LAST_LINES`] of what a
//!           step that failed printed are repeated.
//! Not here: the relays themselves (`relay::null`, `loadtest/baselines`), starting them (`relay`).

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use super::Program;

/// How long one step of building may take.
pub const BUILD_WAIT: Duration = Duration::from_secs(900);

/// Lines repeated of a step that failed.
pub const LAST_LINES: usize = 8;

/// The oldest Node that the relay for it is written for.
pub const NODE_MAJOR_MIN: u32 = 20;

/// A relay by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Vocaris, in this program.
    Vocaris,
    /// The floor, in this program.
    Null,
    /// The floor without TLS to the model.
    NullPlain,
    /// `baselines/tokio`: Rust with tokio-tungstenite.
    Tokio,
    /// `baselines/node`: Node with `ws`.
    Node,
}

impl Peer {
    /// Every one.
    pub const ALL: [Peer; 5] =
        [Peer::Null, Peer::NullPlain, Peer::Vocaris, Peer::Tokio, Peer::Node];

    /// As it is typed and printed.
    pub fn name(self) -> &'static str {
        match self {
            Peer::Vocaris => "vocaris",
            Peer::Null => "null",
            Peer::NullPlain => "null-plain",
            Peer::Tokio => "tokio",
            Peer::Node => "node",
        }
    }

    /// True if the model is to be reached without TLS.
    pub fn wants_plain_model(self) -> bool {
        self == Peer::NullPlain
    }

    /// Settings by which it does what the others do. Vocaris keeps what a caller says into the
    /// greeting until that was heard; no other does, so here it does not wait either.
    pub fn alike(self) -> impl Iterator<Item = (String, OsString)> {
        let hold = ("VOCARIS_TIMERS_GREETING_HOLD".to_string(), OsString::from("0s"));
        (self == Peer::Vocaris).then_some(hold).into_iter()
    }

    /// Builds what is not built.
    ///
    /// # Errors
    /// A sentence that says what is not installed or went wrong.
    pub fn prepare(self, workshop: &Workshop) -> Result<Program, String> {
        match self {
            Peer::Vocaris => Ok(Program::vocaris(&*workshop.own)),
            Peer::Null | Peer::NullPlain => Ok(Program::null(&*workshop.own)),
            Peer::Tokio => tokio(workshop),
            Peer::Node => node(workshop),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Peer, String> {
        let found = Peer::ALL.into_iter().find(|peer| peer.name() == text);
        found.ok_or_else(|| {
            let names = Peer::ALL.map(Peer::name).join(", ");
            format!("there is no relay {text:?}; there are {names}")
        })
    }
}

/// Where relays come from.
#[derive(Clone, Debug)]
pub struct Workshop {
    /// The program that holds Vocaris and the floor.
    pub own: PathBuf,
    /// The directory with `tokio` and `node`.
    pub sources: PathBuf,
    /// A directory for what is built.
    pub builds: PathBuf,
}

impl Workshop {
    /// Sources of this crate, or of `sources`; builds beside this program.
    ///
    /// # Errors
    /// If nobody knows where this program is.
    pub fn of_this_program(sources: Option<PathBuf>) -> Result<Workshop, String> {
        let own = std::env::current_exe().map_err(|error| error.to_string())?;
        let builds = own.with_file_name("baselines");
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("baselines");
        Ok(Workshop { own, sources: sources.unwrap_or(here), builds })
    }
}

fn tokio(workshop: &Workshop) -> Result<Program, String> {
    let manifest = workshop.sources.join("tokio/Cargo.toml");
    let target = workshop.builds.join("tokio");
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args(["build", "--release", "--locked", "--manifest-path"])
        .arg(&manifest)
        .arg("--target-dir")
        .arg(&target);
    step("cargo build", command, &workshop.builds)?;
    Ok(Program::other(target.join("release/relay-tokio"), Vec::new()))
}

fn node(workshop: &Workshop) -> Result<Program, String> {
    check_node()?;
    let (source, build) = (workshop.sources.join("node"), workshop.builds.join("node"));
    let copied = |error| format!("{}: {error}", build.display());
    fs::create_dir_all(&build).map_err(copied)?;
    let packages = fs::read(source.join("package.json")).map_err(copied)?;
    let installed = fs::read(build.join("package.json")).is_ok_and(|it| it == packages)
        && build.join("installed").exists();
    if !installed {
        fs::write(build.join("package.json"), &packages).map_err(copied)?;
        let mut command = Command::new("npm");
        command
            .args(["install", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"])
            .arg("--no-package-lock")
            .current_dir(&build);
        step("npm install", command, &workshop.builds)?;
        fs::write(build.join("installed"), "").map_err(copied)?;
    }
    let relay = build.join("relay.mjs");
    fs::copy(source.join("relay.mjs"), &relay).map_err(copied)?;
    Ok(Program::other("node", vec![relay.into()]))
}

/// Asks Node for its version.
fn check_node() -> Result<(), String> {
    let output = Command::new("node").arg("--version").stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("node is not installed ({error})"))?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_string();
    match major(&version) {
        Some(major) if major >= NODE_MAJOR_MIN => Ok(()),
        _ => Err(format!("node is {version:?}; {NODE_MAJOR_MIN} or later is needed")),
    }
}

/// The first number of a version such as `v20.1.2`.
fn major(version: &str) -> Option<u32> {
    version.strip_prefix('v')?.split('.').next()?.parse().ok()
}

/// Runs one step of building to its end.
fn step(name: &str, mut command: Command, builds: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{name} cannot be run: {error}");
    fs::create_dir_all(builds).map_err(failed)?;
    let log = builds.join(format!("{}.log", name.replace(' ', "-")));
    let output = File::create(&log).map_err(failed)?;
    let errors = output.try_clone().map_err(failed)?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .map_err(|error| format!("{name} cannot be run: {error}"))?;
    let deadline = Instant::now() + BUILD_WAIT;
    let status = loop {
        match child.try_wait().map_err(failed)? {
            Some(status) => break status,
            None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(50)),
            None => {
                // It may have ended by itself.
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("{name} did not end within {} s", BUILD_WAIT.as_secs()));
            }
        }
    };
    if status.success() {
        return Ok(());
    }
    let words = fs::read_to_string(&log).unwrap_or_default();
    let lines: Vec<&str> = words.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n  ");
    Err(format!("{name} failed ({status}):\n  {last}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::Directory;

    #[test]
    fn every_relay_is_found_by_its_name_and_no_other() {
        for peer in Peer::ALL {
            assert_eq!(peer.name().parse(), Ok(peer));
        }
        assert!("pipecat".parse::<Peer>().unwrap_err().contains("null-plain"));
    }

    #[test]
    fn a_version_begins_with_its_major_number() {
        assert_eq!(major("v20.20.2"), Some(20));
        assert_eq!(major("v9"), Some(9));
        assert_eq!(major("20.1"), None);
        assert_eq!(major(""), None);
    }

    #[test]
    fn a_step_that_fails_is_told_with_its_last_words() {
        let directory = Directory::new().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo first; echo the reason >&2; exit 3"]);
        let told = step("a step", command, directory.path()).unwrap_err();
        assert!(told.contains("the reason") && told.contains('3'), "{told}");
        let told = step("a step", Command::new("/nonexistent"), directory.path()).unwrap_err();
        assert!(told.contains("cannot be run"), "{told}");
        assert_eq!(step("a step", Command::new("true"), directory.path()), Ok(()));
    }

    #[test]
    fn sources_that_are_not_there_are_told() {
        let directory = Directory::new().unwrap();
        let workshop = Workshop {
            own: PathBuf::new(),
            sources: directory.path().join("nowhere"),
            builds: directory.path().join("builds"),
        };
        let told = Peer::Tokio.prepare(&workshop).unwrap_err();
        assert!(told.starts_with("cargo build"), "{told}");
    }
}
