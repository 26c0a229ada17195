//! CPU time and memory of a process, from `/proc`.
//!
//! In:       a process id.
//! Out:      what the kernel has counted; `None` once the process is gone.
//! Bounds:   CPU time comes in ticks, mostly of 10 ms: measure over seconds.
//! Not here: starting and ending processes (`relay`).

use std::fs;

/// CPU time of a process so far, user and system together, in microseconds.
pub fn cpu_us(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    ticks(&stat).map(|ticks| ticks * 1_000_000 / rustix::param::clock_ticks_per_second())
}

/// `utime` and `stime`, proc_pid_stat(5) fields 14 and 15. The name in field 2 may hold anything,
/// so counting begins behind its last parenthesis.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Resident memory now and at its peak, in KiB.
pub fn memory_kib(pid: u32) -> Option<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some((field(&status, "VmRSS:")?, field(&status, "VmHWM:")?))
}

/// Memory of this machine that is free for use without swapping, in KiB.
pub fn available_kib() -> Option<u64> {
    field(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")
}

fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_behind_a_name_with_parentheses() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 1 2 3 4 11 22 0 0 20 0";
        assert_eq!(ticks(stat), Some(33));
    }

    #[test]
    fn this_process_uses_memory() {
        let (now, peak) = memory_kib(std::process::id()).unwrap();
        assert!(now > 0 && peak >= now);
        assert!(available_kib().is_some_and(|free| free > 0));
        assert!(cpu_us(std::process::id()).is_some());
        assert_eq!(cpu_us(u32::MAX), None);
    }
}
