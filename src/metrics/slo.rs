//! What one call is held to, and whether it is kept: latency of its frames window by window, and
//! how long its model took to be ready.
//!
//! In:       each latency as it is measured, on the media thread: a comparison and two additions.
//! Out:      a [`Missed`] when a bound was missed, at most one a call and [`TOLD_EVERY`] to be
//!           told; every one is to be counted.
//! Bounds:   [`Bounds`], by the settings; [`WINDOW`].
//! Not here: the log line (`control`), histograms (`figures`).
//!
//! A bound on frames is one on their 99th percentile: it is missed when more than one frame in a
//! hundred of a window was later. The percentile itself need not be known for that.

use std::time::Duration;

use crate::clock::Nanos;

/// Over how long the frames of one call are judged together: 500 frames each way.
pub const WINDOW: Duration = Duration::from_secs(10);
/// How often one call is told of at most.
pub const TOLD_EVERY: Duration = Duration::from_secs(60);
/// Of so many frames of a window, one may be late.
const LATE_ALLOWED: u64 = 100;

/// What is held to a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Frames on their way to the model.
    Uplink,
    /// Frames on their way to the caller.
    Downlink,
    /// From the carrier's `start` until the model is ready.
    Setup,
}

impl Stage {
    /// How many there are.
    pub const COUNT: usize = 3;

    /// The labels, in the order of the counters.
    pub const LABELS: [&'static str; Stage::COUNT] = ["uplink", "downlink", "setup"];

    /// Its label.
    pub const fn label(self) -> &'static str {
        Stage::LABELS[self as usize]
    }
}

/// The bounds, by [`Stage`]; zero: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Of the 99th percentile of a window's frames up, of those down, and of the setup.
    pub of: [Duration; Stage::COUNT],
}

/// A bound that was missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed {
    /// By what.
    pub stage: Stage,
    /// Which bound.
    pub bound: Duration,
    /// How many were measured in the window, and how many of them were beyond the bound.
    pub measured: u32,
    /// See `measured`.
    pub late: u32,
    /// The longest of them.
    pub worst: Duration,
}

/// One call, watched.
#[derive(Clone, Copy, Debug, Default)]
pub struct Watch {
    /// The present window of each direction.
    windows: [Window; 2],
    /// Not before this moment it is told of again.
    told_until: Nanos,
    /// What is to be told.
    untold: Option<Missed>,
}

/// The frames of one direction in one window.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    since: Nanos,
    measured: u32,
    late: u32,
    worst_ns: u64,
}

impl Watch {
    /// One latency. Returns what was missed with it, to be counted.
    pub fn note(
        &mut self,
        bounds: &Bounds,
        stage: Stage,
        now: Nanos,
        latency: Duration,
    ) -> Option<Missed> {
        let bound = bounds.of[stage as usize];
        if bound.is_zero() {
            return None;
        }
        let missed = if let Some(window) = self.windows.get_mut(stage as usize) {
            window.note(stage, bound, now, latency)?
        } else if latency > bound {
            Missed { stage, bound, measured: 1, late: 1, worst: latency }
        } else {
            return None;
        };
        if now >= self.told_until {
            self.told_until = now.plus(TOLD_EVERY);
            self.untold = Some(missed);
        }
        Some(missed)
    }

    /// What is to be told, once.
    pub fn take_untold(&mut self) -> Option<Missed> {
        self.untold.take()
    }
}

impl Window {
    /// Counts one frame; the first one behind the window's end has the window judged.
    fn note(
        &mut self,
        stage: Stage,
        bound: Duration,
        now: Nanos,
        latency: Duration,
    ) -> Option<Missed> {
        let mut missed = None;
        if now.since(self.since) >= WINDOW {
            let Window { measured, late, worst_ns, .. } = *self;
            let worst = Duration::from_nanos(worst_ns);
            let is_missed = u64::from(late) * LATE_ALLOWED > u64::from(measured);
            missed = is_missed.then_some(Missed { stage, bound, measured, late, worst });
            *self = Window { since: now, ..Window::default() };
        }
        self.measured = self.measured.saturating_add(1);
        self.late = self.late.saturating_add(u32::from(latency > bound));
        let latency_ns = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.worst_ns = self.worst_ns.max(latency_ns);
        missed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn bounds() -> Bounds {
        Bounds { of: [40 * MS, 40 * MS, 3_000 * MS] }
    }

    /// Frames every 20 ms from `from_ms` on, for a window; one in `every` is 60 ms late.
    fn window(watch: &mut Watch, from_ms: u64, every: u64) -> Option<Missed> {
        let mut missed = None;
        for frame in 0..500 {
            let latency = if frame % every == 0 { 60 * MS } else { MS };
            let now = Nanos::from_millis(from_ms + frame * 20);
            missed = missed.or(watch.note(&bounds(), Stage::Uplink, now, latency));
        }
        missed
    }

    #[test]
    fn one_late_frame_in_a_hundred_is_allowed_and_two_are_not() {
        let mut watch = Watch::default();
        assert_eq!(window(&mut watch, 100_000, 100), None);
        assert_eq!(window(&mut watch, 110_000, 50), None, "the window before was kept");
        let missed = window(&mut watch, 120_000, 1_000).expect("ten of five hundred were late");
        assert_eq!((missed.stage, missed.measured, missed.late), (Stage::Uplink, 500, 10));
        assert_eq!((missed.worst, missed.bound), (60 * MS, 40 * MS));
    }

    #[test]
    fn every_window_counts_and_one_a_minute_is_told() {
        let mut watch = Watch::default();
        let (mut counted, mut told) = (0, 0);
        for number in 0..13 {
            counted += usize::from(window(&mut watch, 100_000 + number * 10_000, 2).is_some());
            told += usize::from(watch.take_untold().is_some());
        }
        // The first window is judged by the first frame behind it.
        assert_eq!((counted, told), (12, 2));
    }

    #[test]
    fn a_setup_is_judged_at_once_and_a_bound_of_zero_is_none() {
        let mut watch = Watch::default();
        let now = Nanos::from_millis(5_000);
        let mut setup = |bounds: &Bounds, ms: u32| watch.note(bounds, Stage::Setup, now, ms * MS);
        assert_eq!(setup(&bounds(), 3_000), None);
        assert!(setup(&bounds(), 3_001).is_some());
        assert_eq!(setup(&Bounds::default(), 60_000), None);
        assert_eq!(watch.take_untold().map(|missed| missed.worst), Some(3_001 * MS));
        assert_eq!(watch.take_untold(), None);
    }
}
