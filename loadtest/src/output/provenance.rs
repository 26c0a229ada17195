//! Where a report comes from: program, compiler, machine, time, arguments, settings of the relay.
//!
//! In:       this process, `/proc`, and what the relay was started with.
//! Out:      a [`Provenance`]; what is not known is empty.
//! Bounds:   no secret is in it: a value whose name says that it is one is masked.
//! Not here: what the run measured (`report`).

use std::ffi::OsString;
use std::fs;

use serde::{Deserialize, Serialize};
use vocaris::config::{MASK, Reading, example};

/// Parts of a name that make its value a secret.
const SECRET: [&str; 5] = ["key", "token", "secret", "password", "credential"];

/// A name and its value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Its name.
    pub name: String,
    /// Its value, masked where it is a secret.
    pub value: String,
    /// Somebody has set it; else it is the default.
    pub is_set: bool,
}

/// Where a report comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// When the run began, RFC 3339, UTC.
    pub started_at: String,
    /// How long it took with everything around it, in seconds.
    pub took_s: f64,
    /// The version of the load test, which contains the relay.
    pub version: String,
    /// Its commit.
    pub revision: String,
    /// The compiler.
    pub rustc: String,
    /// The build profile.
    pub profile: String,
    /// What it was built for.
    pub target: String,
    /// The machine.
    pub machine: Machine,
    /// The command line, secrets masked.
    pub command_line: Vec<String>,
    /// Every argument of the load test, given or by default.
    pub load: Vec<Setting>,
    /// Every setting of the relay, given or by default.
    pub relay: Vec<Setting>,
}

/// The machine of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// The name of its CPU.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// It is a virtual machine, as far as its CPU says.
    pub is_virtual: bool,
    /// The kernel's release.
    pub kernel: String,
    /// Memory in KiB.
    pub memory_kib: u64,
    /// Mean of runnable tasks in the minute before the run: what else the machine had to do.
    pub load_before: f64,
}

impl Provenance {
    /// Of a run that begins now in this process.
    pub fn now() -> Provenance {
        let of_build = |value: Option<&str>| value.unwrap_or_default().to_owned();
        let arguments = std::env::args_os().map(|it| it.to_string_lossy().into_owned());
        Provenance {
            started_at: format!("{:.0}", jiff::Timestamp::now()),
            took_s: 0.0,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: of_build(option_env!("LOADTEST_REVISION")),
            rustc: of_build(option_env!("LOADTEST_RUSTC")),
            profile: of_build(option_env!("LOADTEST_PROFILE")),
            target: of_build(option_env!("LOADTEST_TARGET")),
            machine: Machine::this(),
            command_line: masked_line(arguments),
            load: Vec::new(),
            relay: Vec::new(),
        }
    }
}

impl Machine {
    /// This one.
    pub fn this() -> Machine {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpus = read("/proc/cpuinfo");
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let flags = field(&cpus, "flags").unwrap_or_default();
        let memory = field(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
        let load = read("/proc/loadavg");
        Machine {
            cpu: field(&cpus, "model name").unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            is_virtual: flags.split_whitespace().any(|flag| flag == "hypervisor"),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            memory_kib: memory.trim_end_matches("kB").trim().parse().unwrap_or(0),
            load_before: load.split(' ').next().and_then(|it| it.parse().ok()).unwrap_or(0.0),
        }
    }
}

/// True if a value of this name is not to be shown.
fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    SECRET.iter().any(|part| name.contains(part))
}

/// `value`, or what stands for it: all of it where `name` is a secret's, the right side of a
/// NAME=VALUE where that NAME is.
pub fn masked(name: &str, value: &str) -> String {
    match value.split_once('=') {
        _ if is_secret(name) => MASK.to_owned(),
        Some((inner, _)) if is_secret(inner) => format!("{inner}={MASK}"),
        _ => value.to_owned(),
    }
}

/// A command line without its secrets and without the folder of its program.
fn masked_line(arguments: impl Iterator<Item = String>) -> Vec<String> {
    let mut line: Vec<String> = Vec::new();
    for argument in arguments {
        let shown = match line.last() {
            None => argument.rsplit('/').next().unwrap_or_default().to_owned(),
            Some(before) if before.starts_with("--") && !before.contains('=') => {
                masked(before, &argument)
            }
            _ => match argument.split_once('=') {
                Some((name, value)) => format!("{name}={}", masked(name, value)),
                None => argument,
            },
        };
        line.push(shown);
    }
    line
}

/// Every setting of a relay that was started with these variables, read as the relay reads them.
/// Where that fails, the variables themselves.
pub fn relay_settings(environment: &[(String, OsString)]) -> Vec<Setting> {
    let variables = environment.iter().map(|(name, value)| (name.into(), value.clone()));
    let Ok(reading) = Reading::load(None, variables) else {
        let set = environment.iter().map(|(name, value)| Setting {
            name: name.clone(),
            value: masked(name, &value.to_string_lossy()),
            is_set: true,
        });
        return set.collect();
    };
    let account = reading.account;
    let mut settings: Vec<Setting> = account
        .settings
        .iter()
        .map(|it| Setting { name: it.key.clone(), value: it.value.clone(), is_set: true })
        .collect();
    for entry in example::entries().filter(|entry| entry.is_default) {
        let name = format!("{}.{}", entry.table, entry.name);
        if account.of(&name).is_none() {
            settings.push(Setting { name, value: entry.value.to_owned(), is_set: false });
        }
    }
    settings.sort_by(|a, b| (!a.is_set, &a.name).cmp(&(!b.is_set, &b.name)));
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_of_a_command_line_is_told() {
        let line = [
            "/home/me/target/release/loadtest",
            "run",
            "--relay-env",
            "VOCARIS_ADMIN_TOKEN=hush",
            "--relay-env=VOCARIS_GEMINI_API_KEY=hush",
            "--auth-token=hush",
            "--auth-token",
            "hush",
            "--relay-env",
            "VOCARIS_SERVER_WORKERS=1",
        ];
        let shown = masked_line(line.into_iter().map(String::from));
        assert_eq!(
            shown,
            [
                "loadtest",
                "run",
                "--relay-env",
                "VOCARIS_ADMIN_TOKEN=***",
                "--relay-env=VOCARIS_GEMINI_API_KEY=***",
                "--auth-token=***",
                "--auth-token",
                "***",
                "--relay-env",
                "VOCARIS_SERVER_WORKERS=1",
            ]
        );
    }

    #[test]
    fn a_relays_settings_are_told_whole_and_without_secrets() {
        let variables = [
            ("VOCARIS_GEMINI_API_KEY", "hush"),
            ("TWILIO_AUTH_TOKEN", "hush"),
            ("VOCARIS_SERVER_WORKERS", "3"),
        ];
        let environment = variables.map(|(name, value)| (name.to_string(), value.into()));
        let settings = relay_settings(&environment);
        let of = |name: &str| settings.iter().find(|it| it.name == name).unwrap();
        assert_eq!((of("server.workers").value.as_str(), of("server.workers").is_set), ("3", true));
        assert!(!of("server.drain_timeout").is_set);
        assert!(settings.len() > 50, "{}", settings.len());
        assert!(settings.iter().all(|it| !it.value.contains("hush")));
    }

    #[test]
    fn variables_that_no_relay_understands_are_told_as_they_are() {
        let variables = [("VOCARIS_NO_SUCH", "1"), ("VOCARIS_OTHER_SECRET", "hush")];
        let environment = variables.map(|(name, value)| (name.to_string(), value.into()));
        let settings = relay_settings(&environment);
        assert_eq!(settings[0].value, "1");
        assert_eq!(settings[1].value, MASK);
    }

    #[test]
    fn this_machine_has_a_name_and_a_kernel() {
        let machine = Machine::this();
        assert!(machine.cores > 0 && machine.memory_kib > 0 && !machine.kernel.is_empty());
        let now = Provenance::now();
        assert!(now.started_at.ends_with('Z') && now.started_at.len() == 20, "{}", now.started_at);
        assert!(!now.rustc.is_empty() && !now.profile.is_empty());
    }
}
