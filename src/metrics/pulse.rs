//! Whether a thread's loop still turns: since when it has been in its present turn.
//!
//! In:       the thread itself, at both ends of each turn: one relaxed store each.
//! Out:      for how long it has been in one turn, to whoever wonders; nothing while it waits for
//!           events, however long that is.
//! Bounds:   [`STUCK_AFTER`]: a turn that lasts longer is none any more.
//! Not here: how long turns usually are (`figures`); what follows from a thread that is stuck.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Nanos;

/// A turn is a matter of microseconds. One that lasts so long will not end, or its caller's audio is
/// lost anyway.
pub const STUCK_AFTER: Duration = Duration::from_secs(5);

/// See the module. On a cache line of its own: its thread writes it all the time.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Pulse {
    /// When the present turn began, in nanoseconds of the process's clock; zero: the thread waits.
    busy_since: AtomicU64,
}

impl Pulse {
    /// A turn begins.
    pub fn begin(&self, now: Nanos) {
        self.busy_since.store(now.0.max(1), Ordering::Relaxed);
    }

    /// The turn is over: the thread waits for what comes next.
    pub fn rest(&self) {
        self.busy_since.store(0, Ordering::Relaxed);
    }

    /// For how long the thread has been in one turn, where that is more than [`STUCK_AFTER`].
    pub fn stuck_for(&self, now: Nanos) -> Option<Duration> {
        let since = self.busy_since.load(Ordering::Relaxed);
        let busy = now.since(Nanos(since));
        (since > 0 && busy > STUCK_AFTER).then_some(busy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_turn_that_does_not_end_is_stuck() {
        let pulse = Pulse::default();
        let at = |seconds: u64| Nanos::from_millis(seconds * 1_000);
        assert_eq!(pulse.stuck_for(at(1_000)), None, "it waits");
        pulse.begin(at(1_000));
        assert_eq!(pulse.stuck_for(at(1_005)), None);
        assert_eq!(pulse.stuck_for(at(1_006)), Some(Duration::from_secs(6)));
        pulse.rest();
        assert_eq!(pulse.stuck_for(at(9_000)), None);
        pulse.begin(Nanos::ZERO);
        assert!(pulse.stuck_for(at(9)).is_some(), "the first turn counts, too");
    }
}
