//! How late the media threads are: what a frame that arrives now will find under way.
//!
//! A turn that takes long is long for whoever arrives in it, and long turns are met more often than
//! short ones. So the figure weighs each turn's length by the share of time it takes: the length of
//! the turn a frame meets that comes at any moment, zero for the time in which the thread waits. A
//! thread with turns of 0.1 ms that is busy for half of its time is 0.05 ms late, one that is
//! saturated with turns of 50 ms is 50 ms late, and one stall of 100 ms among idle seconds is 5 ms.
//!
//! In:       the beginning and the end of each turn, read from the worker's own clock anyway.
//! Out:      the figure at any moment, for whoever lets calls in, and for the figures page.
//! Bounds:   a turn counts for at most [`TURN_MAX`], so that one pause of the whole machine does
//!           not turn callers away; one that goes on for [`STUCK`] counts as what it is.
//! Not here: from where on calls are turned away (`accept::late`).
//!
//! Each thread writes its own figure, with two plain stores at the beginning of a turn and three at
//! its end; whoever reads may see a turn half written, which is one turn's share off.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Nanos;

/// The time after which a turn counts for 37 % of what it counted at its end.
const MEMORY: Duration = Duration::from_secs(2);
/// A longer turn counts as one of this length: 11 ms, about half of what turns callers away unless
/// the settings say otherwise.
pub const TURN_MAX: Duration = Duration::from_millis(150);
/// A turn that has not ended after so long: the thread is as late as that.
pub const STUCK: Duration = Duration::from_secs(1);
/// One that lasts so long will not end, or its callers' audio is lost anyway: the thread is no
/// thread any more.
pub const HUNG_AFTER: Duration = Duration::from_secs(5);

/// The figures of all media threads, by number.
#[derive(Debug)]
pub struct Lateness {
    loops: Box<[Loop]>,
}

/// One thread's figure, on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Loop {
    /// The figure in nanoseconds at the end of the last turn: the bits of an `f64`.
    level_ns: AtomicU64,
    /// The end of the last turn.
    ended: AtomicU64,
    /// The beginning of the turn under way; zero: there is none.
    began: AtomicU64,
    /// Whether it gets no new calls at present.
    is_spared: AtomicBool,
}

impl Lateness {
    /// For so many threads, none of which has had a turn.
    pub fn new(workers: usize) -> Lateness {
        Lateness { loops: (0..workers).map(|_| Loop::default()).collect() }
    }

    /// A turn of `worker` begins.
    pub fn begin(&self, worker: usize, now: Nanos) {
        self.loops[worker].began.store(now.0.max(1), Ordering::Relaxed);
    }

    /// The turn of `worker` that began at `began` has ended. `due`: since when the first of what it
    /// did was due; time before the end of the last turn was that turn's.
    pub fn end(&self, worker: usize, due: Nanos, began: Nanos, ended: Nanos) {
        let of = &self.loops[worker];
        let last = Nanos(of.ended.load(Ordering::Relaxed));
        let since = due.max(last).min(began);
        let took = ended.since(began).min(TURN_MAX);
        let wait = ended.since(since).min(TURN_MAX);
        let level = level(of, last, ended) + share(took, wait);
        of.level_ns.store(level.to_bits(), Ordering::Relaxed);
        of.ended.store(ended.0, Ordering::Relaxed);
        of.began.store(0, Ordering::Relaxed);
    }

    /// How late `worker` is.
    pub fn of(&self, worker: usize, now: Nanos) -> Duration {
        let of = &self.loops[worker];
        let last = Nanos(of.ended.load(Ordering::Relaxed));
        let began = of.began.load(Ordering::Relaxed);
        let under_way = if began == 0 { Duration::ZERO } else { now.since(Nanos(began)) };
        if under_way >= STUCK {
            return under_way;
        }
        let counted = under_way.min(TURN_MAX);
        Duration::from_nanos((level(of, last, now) + share(counted, counted)) as u64)
    }

    /// The first thread that has been in one turn for more than [`HUNG_AFTER`], and for how long.
    /// One that waits for events is in none, however long that is.
    pub fn hung(&self, now: Nanos) -> Option<(usize, Duration)> {
        self.loops.iter().enumerate().find_map(|(worker, of)| {
            let began = of.began.load(Ordering::Relaxed);
            let busy = now.since(Nanos(began));
            (began > 0 && busy > HUNG_AFTER).then_some((worker, busy))
        })
    }

    /// How many threads there are.
    pub fn workers(&self) -> usize {
        self.loops.len()
    }

    /// Notes whether `worker` gets no new calls because it is late.
    pub fn spare(&self, worker: usize, is_spared: bool) {
        self.loops[worker].is_spared.store(is_spared, Ordering::Relaxed);
    }

    /// Whether `worker` gets no new calls because it is late.
    pub fn is_spared(&self, worker: usize) -> bool {
        self.loops[worker].is_spared.load(Ordering::Relaxed)
    }
}

/// What is left at `now` of the level at `last`.
fn level(of: &Loop, last: Nanos, now: Nanos) -> f64 {
    let since = now.since(last).as_secs_f64() / MEMORY.as_secs_f64();
    f64::from_bits(of.level_ns.load(Ordering::Relaxed)) * (-since).exp()
}

/// What a turn adds to the level, in nanoseconds: its share of the time times what it made wait.
fn share(took: Duration, wait: Duration) -> f64 {
    took.as_secs_f64() / MEMORY.as_secs_f64() * wait.as_nanos() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn only_a_turn_that_does_not_end_is_hung() {
        let lateness = Lateness::new(2);
        let at = |seconds: u64| Nanos::from_millis(seconds * 1_000);
        assert_eq!(lateness.hung(at(1_000)), None, "both wait");
        lateness.begin(1, at(1_000));
        assert_eq!(lateness.hung(at(1_005)), None);
        assert_eq!(lateness.hung(at(1_006)), Some((1, Duration::from_secs(6))));
        lateness.end(1, at(1_000), at(1_000), at(1_006));
        assert_eq!(lateness.hung(at(9_000)), None);
        lateness.begin(0, Nanos::ZERO);
        assert!(lateness.hung(at(9)).is_some(), "the first turn counts, too");
    }

    /// Turns of `took_ms`, one every `every_ms`, for ten seconds from `from_ms` on.
    fn turns(lateness: &Lateness, from_ms: u64, every_ms: u64, took_ms: u64) -> Nanos {
        let mut now = from_ms;
        while now < from_ms + 10_000 {
            let began = Nanos(now * MS);
            lateness.begin(0, began);
            lateness.end(0, began, began, Nanos((now + took_ms) * MS));
            now += every_ms;
        }
        Nanos((from_ms + 10_000) * MS)
    }

    fn late_ms(lateness: &Lateness, now: Nanos) -> f64 {
        lateness.of(0, now).as_secs_f64() * 1e3
    }

    #[test]
    fn a_thread_is_as_late_as_the_turn_that_a_frame_meets() {
        for (every, took, expected) in [(100, 1, 0.01), (2, 1, 0.5), (50, 50, 50.0)] {
            let lateness = Lateness::new(1);
            let now = turns(&lateness, 1_000, every, took);
            let late = late_ms(&lateness, now);
            assert!((late / expected - 1.0).abs() < 0.05, "{took} of {every} ms: {late} ms");
        }
    }

    #[test]
    fn one_pause_of_the_machine_is_soon_forgotten_and_never_more_than_a_turn_may_count() {
        let lateness = Lateness::new(1);
        lateness.begin(0, Nanos(MS));
        lateness.end(0, Nanos(MS), Nanos(MS), Nanos(5_001 * MS));
        let turn_max_ms = TURN_MAX.as_secs_f64() * 1e3;
        let counted = turn_max_ms * turn_max_ms / 2_000.0;
        assert_eq!(late_ms(&lateness, Nanos(5_001 * MS)), counted);
        assert!(counted < 0.6 * 20.0, "alone it turns nobody away: {counted} ms");
        assert!(late_ms(&lateness, Nanos(10_001 * MS)) < 2.0);
    }

    #[test]
    fn a_turn_that_does_not_end_shows_while_it_goes_on() {
        let lateness = Lateness::new(2);
        lateness.begin(0, Nanos(MS));
        assert_eq!(late_ms(&lateness, Nanos(101 * MS)), 5.0);
        assert_eq!(late_ms(&lateness, Nanos(3_001 * MS)), 3_000.0);
        assert_eq!(lateness.of(1, Nanos(3_001 * MS)), Duration::ZERO, "the other one waits");
    }

    #[test]
    fn what_was_due_before_its_turn_began_has_waited_and_no_longer_than_since_the_last() {
        let late_if_due = |due_ms| {
            let lateness = Lateness::new(1);
            lateness.end(0, Nanos(0), Nanos(0), Nanos(10 * MS));
            let before = late_ms(&lateness, Nanos(40 * MS));
            lateness.end(0, Nanos(due_ms * MS), Nanos(30 * MS), Nanos(40 * MS));
            late_ms(&lateness, Nanos(40 * MS)) - before
        };
        // A turn of 10 ms in 2 s; its work had waited for 10, 20 and 30 ms at its end.
        for (due_ms, expected) in [(35, 0.05), (20, 0.10), (0, 0.15)] {
            assert!((late_if_due(due_ms) - expected).abs() < 1e-4, "due at {due_ms}");
        }
    }
}
