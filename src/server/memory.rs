//! Whether the memory suffices for the calls that the settings let in.
//!
//! In:       `/proc/meminfo` and the limit of the control group, where the system has them.
//! Out:      a warning at start; nothing is turned away for it.
//! Bounds:   [`CALL_BYTES`] for each call.
//! Not here: what a call holds and its bounds (`limits`), memory in use (`control`).

use std::fs;

/// What one call holds with both legs up and some seconds of the model's audio in its queue. One
/// whose every queue is full holds several times as much.
const CALL_BYTES: u64 = 192 * 1024;

/// Warns if so many calls need more memory than there is.
pub(super) fn check(calls: usize) {
    let needed = CALL_BYTES.saturating_mul(calls as u64);
    if let Some(available) = available().filter(|&available| available < needed) {
        let (needed, available) = (needed >> 20, available >> 20);
        log::warn!(
            "{calls} calls need about {needed} MiB of memory, {available} MiB are available: lower \
             limits.max_calls, or give it more"
        );
    }
}

/// Memory this process may still take; `None` where the system does not tell.
fn available() -> Option<u64> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let of_group =
        left_of_group(&read("/sys/fs/cgroup/memory.max"), &read("/sys/fs/cgroup/memory.current"));
    let of_machine = of_machine(&read("/proc/meminfo"));
    [of_group, of_machine].into_iter().flatten().min()
}

/// `MemAvailable` of `/proc/meminfo`, in bytes.
fn of_machine(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// What a control group's limit leaves; `None`: it has none.
fn left_of_group(max: &str, current: &str) -> Option<u64> {
    let max: u64 = max.trim().parse().ok()?;
    Some(max.saturating_sub(current.trim().parse().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_and_the_group_tell_what_is_left() {
        let meminfo = "MemTotal:       16384000 kB\nMemAvailable:    2048000 kB\nBuffers: 1 kB\n";
        assert_eq!(of_machine(meminfo), Some(2_048_000 * 1024));
        assert_eq!(of_machine("MemAvailable: x kB"), None);
        assert_eq!(left_of_group("1073741824\n", "73741824\n"), Some(1_000_000_000));
        assert_eq!(left_of_group("10", "20"), Some(0));
        assert_eq!((left_of_group("max\n", "5"), left_of_group("", "")), (None, None));
    }
}
