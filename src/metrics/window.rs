//! Latencies of the last window: of the last ten to twenty seconds, or since the reader before,
//! where readers come more rarely.
//!
//! In:       what each worker measured between two hand-overs.
//! Out:      the sum over all workers, and each worker's turns apart.
//! Bounds:   two sets of histograms, two small ones a worker.
//! Not here: when figures are gathered (`control`).
//!
//! Several readers share one window without spoiling it for each other: one that asks every second
//! does not leave the others with the last second alone.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::figures::{HIGHEST_NS, Histograms, LOWEST_NS, Stage};
use crate::clock::Nanos;

/// A piece of the window: what is shown is one piece at least, and two at most.
pub const WINDOW_PIECE: Duration = Duration::from_secs(10);

/// What a reader sees.
#[derive(Clone, Debug)]
pub struct Window {
    /// Over how long it was measured.
    pub span: Duration,
    /// Latencies of all workers.
    pub histograms: Box<Histograms>,
    /// Turns of each worker's loop, two significant digits.
    pub turns: Vec<Histogram<u64>>,
}

/// See the module.
#[derive(Debug)]
pub struct Windows {
    current: Window,
    previous: Window,
    /// When `current` began, and when it was last added to.
    begun: Nanos,
    gathered: Nanos,
}

impl Window {
    /// Nothing measured yet.
    pub fn new(workers: usize) -> Window {
        let turns =
            || Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, 2).expect("constant bounds");
        Window {
            span: Duration::ZERO,
            histograms: Box::default(),
            turns: (0..workers).map(|_| turns()).collect(),
        }
    }

    fn add(&mut self, other: &Window) {
        self.span += other.span;
        self.histograms.add(&other.histograms);
        for (sum, part) in self.turns.iter_mut().zip(&other.turns) {
            sum.add(part).expect("equal bounds");
        }
    }

    fn clear(&mut self) {
        self.histograms.clear();
        self.turns.iter_mut().for_each(Histogram::reset);
        self.span = Duration::ZERO;
    }
}

impl Windows {
    /// For so many workers.
    pub fn new(workers: usize) -> Windows {
        let (current, previous) = (Window::new(workers), Window::new(workers));
        Windows { current, previous, begun: Nanos::ZERO, gathered: Nanos::ZERO }
    }

    /// Figures are about to be gathered: a piece that is full becomes the one before.
    pub fn turn(&mut self, now: Nanos) {
        if self.gathered.since(self.begun) >= WINDOW_PIECE {
            self.current.span = self.gathered.since(self.begun);
            std::mem::swap(&mut self.current, &mut self.previous);
            self.current.clear();
            self.begun = self.gathered;
        }
        self.gathered = now;
    }

    /// What `worker` has measured since it was last asked.
    pub fn add(&mut self, worker: usize, histograms: &Histograms) {
        self.current.histograms.add(histograms);
        let turns = &mut self.current.turns[worker];
        turns.add(histograms.of(Stage::Loop)).expect("the same range");
    }

    /// The window as it is now.
    pub fn shown(&self) -> Window {
        let mut shown = self.current.clone();
        shown.span = self.gathered.since(self.begun);
        if shown.span < WINDOW_PIECE {
            shown.add(&self.previous);
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Nanos {
        Nanos::from_millis(second * 1_000)
    }

    fn measured(latency_ms: u64) -> Histograms {
        let mut histograms = Histograms::default();
        histograms.record(Stage::Uplink, Duration::from_millis(latency_ms));
        histograms.record(Stage::Loop, Duration::from_millis(latency_ms));
        histograms
    }

    fn gather(windows: &mut Windows, second: u64, latency_ms: u64) -> (u64, u64) {
        windows.turn(at(second));
        windows.add(1, &measured(latency_ms));
        let shown = windows.shown();
        (shown.span.as_secs(), shown.histograms.of(Stage::Uplink).len())
    }

    #[test]
    fn a_reader_every_second_sees_the_last_ten_to_twenty() {
        let mut windows = Windows::new(2);
        for second in 1..=60 {
            let (span, latencies) = gather(&mut windows, second, 3);
            assert_eq!(span, latencies, "one a second");
            assert!(second < 10 || (10..=20).contains(&span), "{span} s in second {second}");
        }
    }

    #[test]
    fn a_rare_reader_sees_what_came_since_the_reader_before() {
        let mut windows = Windows::new(2);
        for minute in 1..=5 {
            assert_eq!(gather(&mut windows, minute * 60, 3), (60, 1));
        }
    }

    #[test]
    fn each_workers_turns_are_kept_apart_to_two_digits() {
        let mut windows = Windows::new(2);
        gather(&mut windows, 1, 250);
        let shown = windows.shown();
        assert!(shown.turns[0].is_empty());
        let longest_ms = shown.turns[1].max() as f64 / 1e6;
        assert!((longest_ms / 250.0 - 1.0).abs() < 0.02, "{longest_ms}");
    }
}
