//! Which media threads are too late for another call: measured, not guessed from how many they
//! have.
//!
//! A thread above the threshold gets no new calls until it is below half of it; where all are, new
//! calls are turned away. Calls that go on keep their latency that way, whatever made them late:
//! too many callers, a slow machine, a neighbour on it.
//!
//! In:       the threads' own figures (`metrics::lateness`), the setting.
//! Out:      which threads are spared.
//! Bounds:   a call that was promised its place is placed all the same.
//! Not here: what the turned away get (`accept::carrier`, `accept::doors`).

use std::time::Duration;

use crate::clock::Nanos;
use crate::metrics::Lateness;

/// See the module.
#[derive(Debug)]
pub(super) struct Late {
    /// Zero: nobody is ever too late.
    threshold: Duration,
    /// By worker.
    is_late: Vec<bool>,
}

impl Late {
    /// None of so many workers is late.
    pub(super) fn new(threshold: Duration, workers: usize) -> Late {
        Late { threshold, is_late: vec![false; workers] }
    }

    /// From now on with another threshold.
    pub(super) fn set_threshold(&mut self, threshold: Duration) {
        self.threshold = threshold;
    }

    /// Looks at the threads' figures. Returns whether all of them are too late for another call.
    pub(super) fn look(&mut self, now: Nanos, lateness: &Lateness) -> bool {
        if self.threshold.is_zero() {
            self.is_late.fill(false);
            (0..self.is_late.len()).for_each(|worker| lateness.spare(worker, false));
            return false;
        }
        let before = self.is_everywhere();
        for (worker, is_late) in self.is_late.iter_mut().enumerate() {
            let late = lateness.of(worker, now);
            let bound = if *is_late { self.threshold / 2 } else { self.threshold };
            *is_late = late >= bound;
            lateness.spare(worker, *is_late);
        }
        let is_everywhere = self.is_everywhere();
        match (before, is_everywhere) {
            (false, true) => log::warn!(
                "event=late: every media thread is later than {:?}, no new calls are taken until \
                 one is below half of that",
                self.threshold
            ),
            (true, false) => log::info!("event=in_time: new calls are taken again"),
            _ => {}
        }
        is_everywhere
    }

    /// Whether `worker` is too late for another call, as it was when last looked at.
    pub(super) fn is(&self, worker: usize) -> bool {
        self.is_late[worker]
    }

    fn is_everywhere(&self) -> bool {
        !self.is_late.is_empty() && self.is_late.iter().all(|&is_late| is_late)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLD: Duration = Duration::from_millis(10);

    /// Makes `worker` so late at that moment, to a nanosecond.
    fn make_late(lateness: &Lateness, worker: usize, now: Nanos, late: Duration) {
        // Of a time so long ago that nothing is left of it.
        let long_ago = Nanos(1);
        lateness.end(worker, long_ago, long_ago, long_ago);
        // A turn of t counts for t² / 2 s.
        let took = Duration::from_secs_f64((late.as_secs_f64() * 2.0).sqrt());
        let began = Nanos(now.0 - took.as_nanos() as u64);
        lateness.end(worker, began, began, now);
    }

    #[test]
    fn a_late_thread_is_spared_until_it_is_below_half_the_threshold() {
        let (lateness, mut late) = (Lateness::new(1), Late::new(THRESHOLD, 1));
        let mut now = Nanos::from_millis(100_000);
        let mut at = |late_ms: f64| {
            now = now.plus(Duration::from_secs(100));
            make_late(&lateness, 0, now, Duration::from_secs_f64(late_ms / 1e3));
            (late.look(now, &lateness), lateness.is_spared(0))
        };
        assert_eq!(at(9.5), (false, false));
        assert_eq!(at(10.1), (true, true));
        assert_eq!(at(5.5), (true, true), "not yet");
        assert_eq!(at(4.5), (false, false));
        assert_eq!(at(9.5), (false, false), "and from the whole threshold on again");
    }

    #[test]
    fn calls_are_taken_while_one_thread_is_in_time() {
        let (lateness, mut late) = (Lateness::new(2), Late::new(THRESHOLD, 2));
        let now = Nanos::from_millis(100_000);
        let late_enough = THRESHOLD + Duration::from_micros(1);
        make_late(&lateness, 0, now, late_enough);
        assert!(!late.look(now, &lateness));
        assert_eq!((late.is(0), late.is(1)), (true, false));
        make_late(&lateness, 1, now, late_enough);
        assert!(late.look(now, &lateness));
        assert!(!late.look(now.plus(Duration::from_secs(10)), &lateness), "it passes by itself");
    }

    #[test]
    fn without_a_threshold_nobody_is_ever_late() {
        let (lateness, mut late) = (Lateness::new(1), Late::new(Duration::ZERO, 1));
        lateness.begin(0, Nanos(1));
        assert!(!late.look(Nanos::from_millis(60_000), &lateness));
    }
}
