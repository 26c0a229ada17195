//! How many calls there is room for: by the settings, and by the descriptors the system allows.
//!
//! In:       the limits, how many media threads, the limit of open files.
//! Out:      the limit in all that the relay goes by, and a warning where it is a lower one.
//! Not here: memory (`server::memory`), descriptors while the relay runs (`accept::descriptors`).

use std::fmt;

use crate::config::Config;
use crate::limits::{ARRIVALS_MAX, YOUNG_CONNECTIONS_MAX};

/// How many calls `workers` may have, as the settings say.
pub(super) fn calls_wanted(config: &Config, workers: usize) -> usize {
    let wanted = config.limits.max_calls_per_worker.saturating_mul(workers);
    match config.limits.max_calls {
        0 => wanted,
        calls => calls.min(wanted),
    }
}

/// Takes no more calls than there are descriptors for, and says so where that is fewer.
pub(super) fn limit_calls(config: &mut Config, workers: usize, descriptors: Option<u64>) {
    let (each, wanted) = (descriptors_each(config), calls_wanted(config, workers));
    let possible = calls_for(descriptors, each, wanted);
    if possible < wanted {
        log::warn!("{}", TooFewDescriptors { descriptors, possible, wanted });
    }
    config.limits.max_calls = possible;
}

/// Why fewer calls are taken than the settings allow.
pub(super) struct TooFewDescriptors {
    pub(super) descriptors: Option<u64>,
    pub(super) possible: usize,
    pub(super) wanted: usize,
}

impl fmt::Display for TooFewDescriptors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TooFewDescriptors { descriptors, possible, wanted } = self;
        let descriptors = descriptors.unwrap_or(u64::MAX);
        write!(
            f,
            "only {descriptors} files may be open: at most {possible} calls instead of {wanted} \
             are taken; raise the limit (ulimit -n, LimitNOFILE), or lower limits.max_calls"
        )
    }
}

/// As many descriptors as the system allows. Returns how many may be open now; `None` where the
/// system does not say.
pub(super) fn raise_descriptor_limit() -> Option<u64> {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => Some(limit),
        Err(error) => {
            log::warn!("the limit of open descriptors stays as it is: {error}");
            rlimit::Resource::NOFILE.get().ok().map(|(soft, _)| soft)
        }
    }
}

/// What one call has open: the sockets of its phone and its model, its recording, and the socket of
/// a copy of its tracks.
pub(super) fn descriptors_each(config: &Config) -> usize {
    2 + usize::from(config.recording.enabled) + usize::from(config.twilio.both_tracks)
}

/// How many of `wanted` calls the descriptors suffice for, so many `each`; the rest is kept for
/// connections that are not calls, at most as many as their bounds let in, at most a quarter.
pub(super) fn calls_for(descriptors: Option<u64>, each: usize, wanted: usize) -> usize {
    let Some(descriptors) = descriptors else { return wanted };
    let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
    let reserve = (YOUNG_CONNECTIONS_MAX + ARRIVALS_MAX).min(descriptors / 4);
    let possible = ((descriptors - reserve) / each).max(1);
    possible.min(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_calls_are_taken_than_there_are_descriptors_for() {
        assert_eq!(calls_for(None, 2, 4_000), 4_000);
        assert_eq!(calls_for(Some(u64::MAX), 2, 4_000), 4_000);
        assert_eq!(calls_for(Some(1_024), 2, 4_000), 384);
        assert_eq!(calls_for(Some(1_024), 2, 100), 100);
        assert_eq!(calls_for(Some(65_536), 2, 100_000), (65_536 - 8_192) / 2);
        assert_eq!(calls_for(Some(0), 2, 100), 1);
        assert_eq!(calls_for(Some(1_024), 4, 4_000), 192, "recorded from both tracks");
    }
}
