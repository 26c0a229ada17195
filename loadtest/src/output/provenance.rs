//! Where a report comes from: program, compiler, machine, time, arguments.
//!
//! In:       this process and `/proc`.
//! Out:      a [`Provenance`]; what is not known is empty.
//! Bounds:   no secret is in it: a value whose name says that it is one is masked.
//! Not here: what the run measured (`report`), the settings of the relay (`recording::settings`).

use std::fs;

use serde::{Deserialize, Serialize};

use crate::recording::settings::{Setting, masked};

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
    fn this_machine_has_a_name_and_a_kernel() {
        let machine = Machine::this();
        assert!(machine.cores > 0 && machine.memory_kib > 0 && !machine.kernel.is_empty());
        let now = Provenance::now();
        assert!(now.started_at.ends_with('Z') && now.started_at.len() == 20, "{}", now.started_at);
        assert!(!now.rustc.is_empty() && !now.profile.is_empty());
    }
}
