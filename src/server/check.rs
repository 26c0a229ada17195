//! `vocaris check`: what a configuration comes to on this machine.
//!
//! In:       a reading of the configuration, or its errors.
//! Out:      the effective settings, secrets masked, each with where it came from; then findings,
//!           one a line, each that is not good with what to do. No port is listened on, and no file
//!           is made but those that SQLite keeps beside one it looks at.
//! Bounds:   [`SESSION_TIMEOUT`] for the one session with the model, [`STORE_TIMEOUT`] for the
//!           book, and for the journal.
//! Not here: how the session is made (`dial::probe`).

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::bounded;
use dsp::kernels::{Isa, Kernels};

use super::capacity::{TooFewDescriptors, calls_for, calls_wanted, descriptors_each};
use super::exposures::exposures;
use super::preflight;
use crate::accept::Sockets;
use crate::config::{
    Config, ConfigErrors, Place, Reading, Setting, SignatureMode, StoreUrl, example,
};
use crate::control::appointments::Appointments;
use crate::control::conversations;
use crate::control::database::DatabaseError;
use crate::control::store::{Open, StoreError};
use crate::dial::{self, ProbeFault, Probed};

/// How long the one session may take, from the look-up to the close.
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the book, or the journal, may take to be opened.
pub const STORE_TIMEOUT: Duration = Duration::from_secs(10);
/// Where a key stands out of its default's way.
const WHENCE_COLUMN: usize = 60;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grade {
    Good,
    /// It runs, and perhaps not as it was meant.
    Warning,
    Error,
}

/// What was found, and how it is written down.
struct Findings<W> {
    out: W,
    errors: usize,
}

impl<W: Write> Findings<W> {
    fn add(&mut self, grade: Grade, what: impl Display) -> io::Result<()> {
        let mark = match grade {
            Grade::Good => "ok",
            Grade::Warning => "warning",
            Grade::Error => "error",
        };
        self.errors += usize::from(grade == Grade::Error);
        writeln!(self.out, "{mark}: {what}")?;
        self.out.flush()
    }
}

/// Checks, and writes what it finds to `out`. Exit code 0: good; 1: not.
///
/// `offline`: the model is not dialled.
pub fn check(reading: Result<Reading, ConfigErrors>, offline: bool, out: impl Write) -> ExitCode {
    let mut findings = Findings { out, errors: 0 };
    let written = match reading {
        Ok(reading) => all(reading, offline, &mut findings),
        Err(errors) => errors.all().iter().try_for_each(|error| findings.add(Grade::Error, error)),
    };
    let written = written.and_then(|()| match findings.errors {
        0 => writeln!(findings.out, "good"),
        1 => writeln!(findings.out, "not good: 1 error"),
        errors => writeln!(findings.out, "not good: {errors} errors"),
    });
    match (written, findings.errors) {
        (Ok(()), 0) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn all<W: Write>(reading: Reading, offline: bool, findings: &mut Findings<W>) -> io::Result<()> {
    write_settings(&reading, &mut findings.out)?;
    writeln!(findings.out)?;
    sources(&reading, findings)?;
    machine(&reading.config, findings)?;
    files(&reading.config, findings)?;
    store(&reading.config, findings)?;
    journal(&reading.config, findings)?;
    for exposure in exposures(&reading.config) {
        findings.add(Grade::Warning, exposure)?;
    }
    model(reading.config, offline, findings)
}

// ---------------------------------------------------------------------------------- the settings

fn write_settings(reading: &Reading, out: &mut impl Write) -> io::Result<()> {
    let account = &reading.account;
    let mut line = |key: &str, value: &str, whence: &str| {
        let setting = format!("{key} = {value}");
        let setting = setting.trim_end();
        writeln!(out, "{setting:WHENCE_COLUMN$}  # {whence}")
    };
    for entry in example::entries() {
        let key = format!("{}.{}", entry.table, entry.name);
        let is_in_list = is_in_list(entry.table);
        let written = account.of(&key).filter(|_| !is_in_list);
        let effective = effective(&reading.config, &key);
        match (written, effective, entry.is_default) {
            _ if is_in_list => {}
            (Some(Setting { value, place, .. }), ..) => line(&key, value, &place.to_string())?,
            // The port is all that a variable of another name can set.
            (None, Some(value), _) if key == "server.listen" && value != entry.value => {
                line(&key, &value, "PORT")?;
            }
            (None, Some(value), _) => line(&key, &value, "default")?,
            (None, None, true) => line(&key, entry.value, "default")?,
            (None, None, false) => line(&key, "", "not set")?,
        }
    }
    let of_lists = account.settings.iter();
    for Setting { key, value, place, .. } in of_lists
        .filter(|setting| setting.key.rsplit_once('.').is_some_and(|(table, _)| is_in_list(table)))
    {
        line(key, value, &place.to_string())?;
    }
    Ok(())
}

/// Whether there may be several of a table.
fn is_in_list(table: &str) -> bool {
    let lists = ["agents", "tools", "twilio.shared_keys", "appointments.services"];
    lists.iter().any(|list| table == *list || table.starts_with(&format!("{list}.")))
}

/// What a key that is not written comes to where that depends on others.
fn effective(config: &Config, key: &str) -> Option<String> {
    Some(match key {
        "server.listen" => format!("\"{}\"", config.server.listen),
        "gemini.url" => format!("\"{}\"", config.gemini.url),
        "gemini.api_version" => format!("\"{}\"", config.gemini.api_version),
        "twilio.signature" => match config.twilio.signature {
            SignatureMode::Require => "\"require\"".to_owned(),
            SignatureMode::Warn => "\"warn\"".to_owned(),
            SignatureMode::Off => "\"off\"".to_owned(),
        },
        "appointments.enabled" => config.appointments.enabled.to_string(),
        "store.url" => format!("\"sqlite:{}\"", config.store.url),
        _ => return None,
    })
}

// ---------------------------------------------------------------------------------- the findings

fn sources<W: Write>(reading: &Reading, findings: &mut Findings<W>) -> io::Result<()> {
    let settings = &reading.account.settings;
    let by_variables =
        settings.iter().filter(|setting| matches!(setting.place, Place::Variable(_))).count();
    let file = match &reading.file {
        Some(path) => path.display().to_string(),
        None => "no file".to_owned(),
    };
    let (all, agents) = (settings.len(), &reading.config.agents);
    let what =
        format!("configuration: {file}, {all} keys set, {by_variables} of them by variables");
    findings.add(Grade::Good, what)?;
    for agent in agents {
        let tools: Vec<&str> = agent.tools.iter().map(|tool| tool.name.as_str()).collect();
        let what = format!(
            "agent {}: answers {}, {}, tools: {}",
            agent.name,
            agent.numbers.join(" "),
            agent.model,
            if tools.is_empty() { "none".to_owned() } else { tools.join(" ") }
        );
        findings.add(Grade::Good, what)?;
    }
    Ok(())
}

fn machine<W: Write>(config: &Config, findings: &mut Findings<W>) -> io::Result<()> {
    let cores = core_affinity::get_core_ids().unwrap_or_default().len();
    let workers = super::workers(config, cores);
    let descriptors = rlimit::increase_nofile_limit(u64::MAX)
        .or_else(|_| rlimit::Resource::NOFILE.get().map(|(soft, _)| soft))
        .ok();
    let wanted = calls_wanted(config, workers);
    let possible = calls_for(descriptors, descriptors_each(config), wanted);
    match (descriptors, possible < wanted) {
        (_, true) => {
            findings.add(Grade::Warning, TooFewDescriptors { descriptors, possible, wanted })?;
        }
        (Some(limit), false) => {
            let what = format!("descriptors: {limit} may be open, enough for {possible} calls");
            findings.add(Grade::Good, what)?;
        }
        (None, false) => {
            findings.add(Grade::Warning, "descriptors: the system does not tell its limit")?;
        }
    }
    let pins = if config.server.pin && workers <= cores { "each on a core" } else { "not pinned" };
    findings.add(Grade::Good, format!("cores: {cores}; {workers} workers, {pins}"))?;
    let can = |isa: &Isa| Kernels::detect(*isa).isa() == *isa;
    let sets: Vec<&str> = Isa::ALL.into_iter().filter(can).map(Isa::name).collect();
    let chosen = Kernels::detect(config.server.kernels).isa();
    let what = format!("CPU: {} ({}); kernels: {chosen}", std::env::consts::ARCH, sets.join(" "));
    findings.add(Grade::Good, what)
}

fn files<W: Write>(config: &Config, findings: &mut Findings<W>) -> io::Result<()> {
    let problems = preflight::standing(config);
    for problem in &problems {
        findings.add(Grade::Error, problem)?;
    }
    // A relay that runs already holds them.
    for problem in preflight::addresses(config, &Sockets::default()) {
        findings.add(Grade::Warning, format!("{problem}; no matter if that is this relay"))?;
    }
    match problems.is_empty() {
        true => findings.add(Grade::Good, "files, certificates and clock: usable"),
        false => Ok(()),
    }
}

/// The book is opened as it is, and nothing in it can be changed by that.
fn store<W: Write>(config: &Config, findings: &mut Findings<W>) -> io::Result<()> {
    let url = &config.store.url;
    if !config.appointments.enabled || config.store.path().is_some_and(|path| !path.exists()) {
        return match config.appointments.enabled {
            true => findings.add(Grade::Good, format!("store: {url} will be made")),
            false => Ok(()),
        };
    }
    let (practice, settings) = (config.appointments.clone(), config.store.clone());
    let opened = opened_in_time("store", move || {
        Appointments::open_as(&practice, &settings, Open::ReadOnly).map(drop)
    });
    add_opened(findings, format!("store: {url}"), "store.url", opened)
}

/// The journal is opened as it is, and nothing in it can be changed by that.
fn journal<W: Write>(config: &Config, findings: &mut Findings<W>) -> io::Result<()> {
    if !config.journal.enabled {
        return Ok(());
    }
    let url = config.journal.url.clone();
    let what = format!("journal: {url}");
    let key = match &url {
        StoreUrl::Sqlite(path) if !path.exists() => {
            return findings.add(Grade::Good, format!("{what} will be made"));
        }
        StoreUrl::Sqlite(_) => "journal.file",
        StoreUrl::Postgres(_) => "store.url",
    };
    let opened = opened_in_time("journal", move || conversations::try_open(&url));
    add_opened(findings, what, key, opened)
}

type Opened = io::Result<Option<Result<(), StoreError>>>;

/// Opens something that may hang, on a thread of its own: it is not joined, what hangs there ends
/// with the process. `None`: it was not opened within [`STORE_TIMEOUT`].
fn opened_in_time(
    name: &str,
    open: impl FnOnce() -> Result<(), StoreError> + Send + 'static,
) -> Opened {
    let (answer, answered) = bounded(1);
    thread::Builder::new().name(name.into()).spawn(move || answer.send(open()))?;
    Ok(answered.recv_timeout(STORE_TIMEOUT).ok())
}

fn add_opened<W: Write>(
    findings: &mut Findings<W>,
    what: String,
    key: &str,
    opened: Opened,
) -> io::Result<()> {
    match opened {
        Ok(Some(Ok(()))) => findings.add(Grade::Good, format!("{what} is sound and ours")),
        Ok(Some(Err(StoreError::Database(DatabaseError::NoSchema)))) => {
            findings.add(Grade::Good, format!("{what} answers; its tables will be made"))
        }
        Ok(Some(Err(error))) => findings.add(Grade::Error, format!("{what} ({key}): {error}")),
        Ok(None) => {
            let seconds = STORE_TIMEOUT.as_secs();
            findings.add(Grade::Error, format!("{what} ({key}) was not opened within {seconds} s"))
        }
        Err(error) => findings.add(Grade::Error, format!("cannot start a thread: {error}")),
    }
}

fn model<W: Write>(config: Config, offline: bool, findings: &mut Findings<W>) -> io::Result<()> {
    let url = config.gemini.url.clone();
    if config.gemini.is_demo() {
        let what = "model: no key is set, so the embedded demo agent answers: set GEMINI_API_KEY";
        return findings.add(Grade::Warning, what);
    }
    if offline {
        return findings.add(Grade::Good, format!("model: {url} is not dialled (--offline)"));
    }
    if findings.errors > 0 {
        return findings.add(Grade::Warning, format!("model: {url} is not dialled: errors first"));
    }
    let (answer, answered) = bounded(1);
    let config = Arc::new(config);
    let agent = config.agent_for(None).clone();
    // It is not joined: what hangs there ends with the process.
    let spawned = thread::Builder::new().name("probe".into()).spawn(move || {
        let _ = answer.send(dial::probe(&config));
    });
    if let Err(error) = spawned {
        return findings.add(Grade::Error, format!("cannot start a thread: {error}"));
    }
    let resolved = |addresses: &[std::net::SocketAddr]| {
        let shown: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        format!("model: {url} resolves to {}", shown.join(", "))
    };
    match answered.recv_timeout(SESSION_TIMEOUT) {
        Ok(Ok(Probed { addresses, ready_in, closed_with })) => {
            findings.add(Grade::Good, resolved(&addresses))?;
            let (model, ms) = (&agent.model, ready_in.as_millis());
            findings
                .add(Grade::Good, format!("model: a session of {model} was ready in {ms} ms"))?;
            match closed_with {
                Some(code) => {
                    let what = format!("model: closed with 1000, and answered with {code}");
                    findings.add(Grade::Good, what)
                }
                None => {
                    let what = "model: closed with 1000; the service did not answer the close";
                    findings.add(Grade::Good, what)
                }
            }
        }
        Ok(Err(ProbeFault { addresses, words })) => {
            if !addresses.is_empty() {
                findings.add(Grade::Good, resolved(&addresses))?;
            }
            findings.add(Grade::Error, format!("model: no session of {}: {words}", agent.model))
        }
        Err(_) => {
            let seconds = SESSION_TIMEOUT.as_secs();
            let what = format!(
                "model: no session of {} within {seconds} s: check gemini.url, route, firewall, \
                 and where access tokens come from",
                agent.model
            );
            findings.add(Grade::Error, what)
        }
    }
}
