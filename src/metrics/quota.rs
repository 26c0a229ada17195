//! Until when new calls are turned away because a quota of the model's is used up.
//!
//! A model whose quota is used up closes every session at once: another call would only hear the
//! fallback, and add to what used the quota up. Who sees such a close says so here; who lets calls
//! in looks here first.
//!
//! In:       the time of a close that named a quota.
//! Out:      whether a new call is turned away.
//! Bounds:   [`QUOTA_SHED`] after the last such close; then calls are let in as ever, and the
//!           first of them that is closed so begins it anew.
//! Not here: which closes mean a quota (`wire::gemini`), what a caller is told (`accept`).

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Nanos;
use crate::limits::QUOTA_SHED;

/// See the module. Written once a close, read once a new call.
#[derive(Debug, Default)]
pub struct Quota {
    /// In nanoseconds of the process's clock; zero: it was never used up.
    until: AtomicU64,
    times: AtomicU64,
}

impl Quota {
    /// The model closed a session because a quota is used up.
    pub fn used_up(&self, now: Nanos) {
        let until = now.plus(QUOTA_SHED).0;
        let before = self.until.fetch_max(until, Ordering::Relaxed);
        self.times.fetch_add(u64::from(before <= now.0), Ordering::Relaxed);
    }

    /// Whether new calls are turned away.
    pub fn sheds(&self, now: Nanos) -> bool {
        now.0 < self.until.load(Ordering::Relaxed)
    }

    /// How often that began.
    pub fn times(&self) -> u64 {
        self.times.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_shed_from_a_close_until_the_bound_has_passed_after_the_last_one() {
        let quota = Quota::default();
        let at = |second: u64| Nanos::from_millis(second * 1_000);
        let shed = QUOTA_SHED.as_secs();
        assert!(!quota.sheds(Nanos::ZERO) && !quota.sheds(at(100)));
        quota.used_up(at(100));
        quota.used_up(at(110));
        // A thread whose turn began earlier says so later.
        quota.used_up(at(105));
        assert!(quota.sheds(at(110)) && quota.sheds(at(109 + shed)));
        assert!(!quota.sheds(at(110 + shed)));
        assert_eq!(quota.times(), 1);
        quota.used_up(at(110 + shed));
        assert!(quota.sheds(at(110 + shed)));
        assert_eq!(quota.times(), 2);
    }
}
