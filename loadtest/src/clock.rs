//! One monotonic clock for every peer of a run, so that times taken on both sides compare.
//!
//! In:       nothing.
//! Out:      nanoseconds since the clock was made.
//! Bounds:   584 years.
//! Not here: deadlines and timers (`net::reactor`).

use std::time::{Duration, Instant};

/// Nanoseconds since the [`Clock`] of the run was made.
pub type Nanos = u64;

/// One millisecond in [`Nanos`].
pub const MILLIS: Nanos = 1_000_000;

/// One second in [`Nanos`].
pub const SECONDS: Nanos = 1_000_000_000;

/// The clock of a run. Copies share the epoch.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    epoch: Instant,
}

impl Clock {
    /// A clock that reads 0 now.
    pub fn start() -> Clock {
        Clock { epoch: Instant::now() }
    }

    /// The time now.
    pub fn now(&self) -> Nanos {
        nanos(self.epoch.elapsed())
    }
}

/// A duration in [`Nanos`]; beyond 584 years it stays at the maximum.
pub fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}
