//! Time as the calls see it: nanoseconds since the process started, never going back.
//!
//! Not here: timers (`worker::timers`), calendar time of appointments.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A moment, in nanoseconds since the [`Clock`] that made it was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(pub u64);

impl Nanos {
    /// The moment the clock was built.
    pub const ZERO: Nanos = Nanos(0);
    /// Later than every moment: a timer that is not set.
    pub const NEVER: Nanos = Nanos(u64::MAX);

    /// The moment `millis` after the clock was built.
    pub const fn from_millis(millis: u64) -> Nanos {
        Nanos(millis * 1_000_000)
    }

    /// This moment and `later` more; [`Nanos::NEVER`] instead of an overflow.
    pub const fn plus(self, later: Duration) -> Nanos {
        let later_ns = later.as_nanos();
        if later_ns > (u64::MAX - self.0) as u128 {
            return Nanos::NEVER;
        }
        Nanos(self.0 + later_ns as u64)
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub const fn since(self, earlier: Nanos) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// The monotonic clock of this process.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Clock {
        Clock { origin: Instant::now() }
    }

    /// Now.
    pub fn now(&self) -> Nanos {
        Nanos(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

/// Calendar time in whole seconds since 1970, for the expiry of tokens.
pub fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_is_not_passed_by_adding_to_it() {
        assert_eq!(Nanos::NEVER.plus(Duration::from_secs(1)), Nanos::NEVER);
        assert_eq!(Nanos::from_millis(2).plus(Duration::from_millis(3)), Nanos::from_millis(5));
    }

    #[test]
    fn an_earlier_moment_is_no_time_after_a_later_one() {
        assert_eq!(Nanos(5).since(Nanos(9)), Duration::ZERO);
        assert_eq!(Nanos(9).since(Nanos(5)), Duration::from_nanos(4));
    }
}
