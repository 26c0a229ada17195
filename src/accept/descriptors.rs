//! How many descriptors are left, told by the numbers of new ones.
//!
//! The kernel gives each new descriptor the lowest number that is free (POSIX.1-2024, `open`), so a
//! connection with a high number says that all below it are taken: no directory is read, and
//! nothing is counted.
//!
//! In:       the number of each accepted socket.
//! Out:      whether new calls are to be turned away before none is left: each needs several.
//! Bounds:   [`kept_back`] of them are kept for what goes on: answers, lines to the model, files.
//! Not here: raising the limit (`server`), what happens when none is left (`accept::inbound`).

use std::os::fd::RawFd;
use std::time::Duration;

use crate::clock::Nanos;

/// How long new calls are turned away after a connection that got one of the last descriptors.
const SHORT_SHOWN: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Descriptors {
    /// The lowest number that is one of the last.
    last: u64,
    short_until: Nanos,
}

impl Descriptors {
    /// Of a process that may have `limit` open; `None`: nobody knows.
    pub(super) fn new(limit: Option<u64>) -> Descriptors {
        let last = limit.map_or(u64::MAX, |limit| limit - kept_back(limit));
        Descriptors { last, short_until: Nanos::ZERO }
    }

    /// A connection has got `descriptor`.
    pub(super) fn note(&mut self, now: Nanos, descriptor: RawFd) {
        if u64::try_from(descriptor).is_ok_and(|number| number >= self.last) {
            self.short_until = now.plus(SHORT_SHOWN);
        }
    }

    /// Whether too few are left for another call.
    pub(super) fn are_short(&self, now: Nanos) -> bool {
        now < self.short_until
    }
}

/// The last of `limit` descriptors, which no new call begins with.
fn kept_back(limit: u64) -> u64 {
    (limit / 16).clamp(8, 256).min(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_the_last_descriptors_turns_new_calls_away_for_a_moment() {
        let now = Nanos::from_millis(5_000);
        let short = |limit, descriptor| {
            let mut descriptors = Descriptors::new(limit);
            descriptors.note(now, descriptor);
            let later = now.plus(SHORT_SHOWN);
            assert!(!descriptors.are_short(later));
            descriptors.are_short(now)
        };
        for (limit, last) in [(64, 56), (1_024, 960), (65_536, 65_280), (1_048_576, 1_048_320)] {
            assert!(!short(Some(limit), last - 1), "{limit}");
            assert!(short(Some(limit), last), "{limit}");
        }
        assert!(!short(None, RawFd::MAX) && !short(Some(1_024), -1));
        assert!(short(Some(0), 0));
    }
}
