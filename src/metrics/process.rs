//! The program and its process: version, processor time, memory, descriptors, what waits for its
//! threads.
//!
//! In:       `/proc/self`, where there is one.
//! Out:      [`Build`], [`Process`]; what the system does not tell is `None`.
//! Not here: who asks for it and when (`control`).

use std::fs;
use std::time::Duration;

/// The kernel counts processor time for user space in hundredths of a second, on every machine.
const TICKS_PER_SECOND: f64 = 100.0;

/// What this program is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Build {
    /// The version of the package.
    pub version: &'static str,
    /// The commit it was built from, where the build knew it.
    pub revision: Option<&'static str>,
    /// The machine it was built for.
    pub target: &'static str,
    /// The kernels chosen on this CPU.
    pub kernels: String,
}

/// What the process itself holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Process {
    /// Since it started.
    pub uptime: Duration,
    /// Processor time of all threads, user and system, in seconds.
    pub cpu_seconds: Option<f64>,
    /// Memory it has resident.
    pub resident_bytes: Option<u64>,
    /// Descriptors open.
    pub descriptors: Option<u64>,
    /// Descriptors it may have open.
    pub descriptors_max: Option<u64>,
    /// Media threads.
    pub workers: usize,
    /// Calls on each of them, those that are not yet let in too.
    pub calls_on: Vec<usize>,
    /// Calls there may be in all; 0: not told.
    pub calls_max: usize,
    /// Calls there may be on one worker; 0: not told.
    pub calls_max_per_worker: usize,
    /// Letters waiting, by the thread they wait for.
    pub letters: Vec<(String, usize)>,
}

impl Process {
    /// With what the system tells of this process.
    #[must_use]
    pub fn measured(mut self) -> Process {
        self.cpu_seconds = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(cpu);
        self.resident_bytes =
            fs::read_to_string("/proc/self/status").ok().as_deref().and_then(resident);
        self.descriptors = open_descriptors();
        self.descriptors_max = rlimit::Resource::NOFILE.get_soft().ok();
        self
    }
}

/// Processor seconds out of `/proc/self/stat`: fields 14 and 15, proc(5). The second field is the
/// program's name in parentheses, which may hold anything.
fn cpu(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut times = fields.split(' ').skip(11);
    let mut ticks = || times.next()?.parse::<u64>().ok();
    Some((ticks()? + ticks()?) as f64 / TICKS_PER_SECOND)
}

/// Resident bytes out of `/proc/self/status`.
fn resident(status: &str) -> Option<u64> {
    let (_, rest) = status.split_once("\nVmRSS:")?;
    let kib: u64 = rest.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// Descriptors open. A kernel from 6.2 on says it as the size of the directory; else they are
/// counted, without the one that reads them.
fn open_descriptors() -> Option<u64> {
    const DIRECTORY: &str = "/proc/self/fd";
    let told = fs::metadata(DIRECTORY).ok()?.len();
    if told > 0 {
        return Some(told);
    }
    Some((fs::read_dir(DIRECTORY).ok()?.count() as u64).saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_behind_a_name_that_holds_anything() {
        let stat = "4242 (a) b (c) R 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 8 0 99 1 2";
        assert_eq!(cpu(stat), Some(3.0));
        assert_eq!(cpu("4242 (x) R 1 2"), None);
        assert_eq!(cpu(""), None);
    }

    #[test]
    fn memory_is_told_in_bytes() {
        assert_eq!(resident("Name:\tx\nVmHWM:\t 9 kB\nVmRSS:\t   2048 kB\n"), Some(2 << 20));
        assert_eq!(resident("Name:\tx\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_told_of() {
        let process = Process::default().measured();
        assert!(process.resident_bytes > Some(1 << 20) && process.cpu_seconds.is_some());
        assert!(process.descriptors > Some(2), "the standard streams at least");
        assert!(process.descriptors_max >= process.descriptors);
    }
}
