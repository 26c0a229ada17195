//! Where in what was said each stretch of what was heard comes from.
//!
//! In:       both, as the band at 8 kHz.
//! Out:      [`Run`]s in the order heard: stretches over which the place heard and the place said
//!           go on together.
//! Bounds:   a block of 20 ms every 10 ms; at most [`REGIONS_MAX`] regions are searched, after that
//!           what has lost its place stays without one.
//! Not here: what lies between two runs (`seams`), how alike they are (`compare`).
//!
//! The voices are noise that depends on the position, so a stretch tells its place. A block is
//! first tried where the block before it says; only where that fails is it looked for. Its place is
//! then measured to a fraction of a sample: the step in place and gain that leaves the least of it
//! unexplained (Gauss and Newton), a few times over. The lag of a run is a line fitted to its
//! blocks around each of them, so a slow drift is followed.

use std::ops::Range;

use super::band::mean_square;
use super::kernel::Kernel;
use super::search::{STRETCH, Search};

/// A block, in samples: 20 ms.
const BLOCK: usize = 160;

/// From one block to the next, in samples: 10 ms.
const HOP: usize = 80;

/// The mean square below which there is nothing to find: 2 of 32,768.
pub(super) const QUIET: f32 = 4.0;

/// Regions searched for one direction of one call.
const REGIONS_MAX: usize = 1024;

/// The longest wait between two searches that find nothing, in blocks: 320 ms.
const PATIENCE_MAX: usize = 32;

/// The share of a block's power that its place must explain.
const EXPLAINED: f64 = 0.36;

/// Further than this a block has left its run, in samples: 75 us, a hundred times what a drift of
/// 50 ppm does from block to block; and more than a search, exact to the sample, is wrong by.
const STEP_MAX: f64 = 0.6;

/// Every so many samples of a block serve to measure its place.
const STRIDE: usize = 4;

/// Blocks to either side that a line is fitted to.
const AROUND: usize = 12;

/// The end of a run is sought in steps of so many samples: 2.5 ms.
const STEP: usize = 20;

/// A block whose place is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Anchor {
    /// Its middle, in samples heard.
    pub(super) at: f64,
    /// What is heard at `at` was said at `at + lag`.
    pub(super) lag: f64,
}

/// A stretch heard in one piece.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Run {
    /// The samples heard.
    pub(super) heard: Range<usize>,
    /// Its blocks; never empty.
    pub(super) anchors: Vec<Anchor>,
    /// How much louder it was heard than said.
    pub(super) gain: f64,
}

impl Run {
    /// The lag at sample `at`: between two blocks, between their lags.
    pub(super) fn lag(&self, at: f64) -> f64 {
        let behind = self.anchors.partition_point(|anchor| anchor.at < at);
        let right = self.anchors[behind.min(self.anchors.len() - 1)];
        let left = self.anchors[behind.saturating_sub(1)];
        if left.at >= at || right.at <= at || left.at == right.at {
            return if right.at <= at { right.lag } else { left.lag };
        }
        left.lag + (right.lag - left.lag) * (at - left.at) / (right.at - left.at)
    }

    /// The place in what was said of sample `at`.
    pub(super) fn said(&self, at: usize) -> f64 {
        at as f64 + self.lag(at as f64)
    }

    /// Where the place `said` of what was said was heard.
    pub(super) fn heard_of(&self, said: f64) -> f64 {
        let near = said - self.anchors[self.anchors.len() / 2].lag;
        said - self.lag(near)
    }

    /// What was said in it.
    pub(super) fn said_range(&self) -> Range<f64> {
        self.said(self.heard.start)..self.said(self.heard.end)
    }
}

/// What is compared, and the tools for it.
pub(super) struct Pair<'a> {
    /// The band of what was said.
    pub(super) said: &'a [f32],
    /// The band of what was heard.
    pub(super) heard: &'a [f32],
    /// Reads what was said between its samples.
    pub(super) kernel: &'a Kernel,
}

impl Pair<'_> {
    /// Follows what was heard through what was said.
    pub(super) fn runs(&self, search: &mut Search) -> Vec<Run> {
        let mut runs = self.follow(search);
        for run in &mut runs {
            smooth(&mut run.anchors);
        }
        self.find_ends(&mut runs);
        runs
    }

    fn follow(&self, search: &mut Search) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        let mut regions = REGIONS_MAX;
        let mut lag: Option<f64> = None;
        let mut unbroken = false;
        let (mut search_at, mut patience) = (0, 1);
        for at in (0..(self.heard.len() + 1).saturating_sub(BLOCK)).step_by(HOP) {
            if mean_square(&self.heard[at..at + BLOCK]) < QUIET {
                unbroken = false;
                continue;
            }
            let mut placed = lag.and_then(|lag| self.measure(at, lag));
            if placed.is_none() && at >= search_at {
                let near = (at as f64 + lag.unwrap_or(0.0)).max(0.0) as usize;
                let found = search.find(self.said, &self.heard[at..], near, &mut regions);
                if let Some(place) = found {
                    let found = place as f64 - at as f64;
                    lag = Some(found);
                    placed = self.measure(at, found);
                    patience = 1;
                } else {
                    patience = (patience * 2).min(PATIENCE_MAX);
                }
                search_at = at + patience * HOP;
                unbroken = false;
            }
            let Some((exact, gain)) = placed else {
                unbroken = false;
                continue;
            };
            let anchor = Anchor { at: (at + BLOCK / 2) as f64, lag: exact };
            match runs.last_mut() {
                Some(run) if unbroken => {
                    run.gain += (gain - run.gain) / (run.anchors.len() + 1) as f64;
                    run.anchors.push(anchor);
                }
                _ => runs.push(Run { heard: 0..0, anchors: vec![anchor], gain }),
            }
            lag = Some(exact);
            unbroken = true;
        }
        runs
    }

    /// The lag of the block at `at`, close to `lag`, and its gain; `None` if it is not from there.
    fn measure(&self, at: usize, lag: f64) -> Option<(f64, f64)> {
        let block = &self.heard[at..at + BLOCK];
        let mut exact = lag;
        for _ in 0..4 {
            let mut sums = Sums::default();
            let from = at as f64 + exact;
            let places = (0..BLOCK).step_by(STRIDE);
            self.kernel.read_with_slope(self.said, from, places, |place, said, slope| {
                sums.add(block[place].into(), said.into(), slope.into());
            });
            let (gain, step, explained) = sums.solve()?;
            // On the way to its place a block explains less of itself.
            if explained < EXPLAINED / 4.0 || (exact + step - lag).abs() > STEP_MAX {
                return None;
            }
            exact += step;
            if step.abs() < 1e-3 {
                return (explained >= EXPLAINED).then_some((exact, gain));
            }
        }
        None
    }

    /// Lets every run reach as far to both sides as it explains what was heard.
    fn find_ends(&self, runs: &mut [Run]) {
        let middles = |run: &Run| (run.anchors[0].at, run.anchors[run.anchors.len() - 1].at);
        let bounds: Vec<(usize, usize)> =
            runs.iter().map(middles).map(|(first, last)| (first as usize, last as usize)).collect();
        for (n, run) in runs.iter_mut().enumerate() {
            let (first, last) = bounds[n];
            let lowest = n.checked_sub(1).map_or(0, |before| bounds[before].1);
            let highest = bounds.get(n + 1).map_or(self.heard.len(), |behind| behind.0);
            let (mut start, mut end) = (first, last);
            while start >= lowest + STEP && self.cost(run, start - STEP) <= 1.0 {
                start -= STEP;
            }
            while end + STEP <= highest && self.cost(run, end) <= 1.0 {
                end += STEP;
            }
            run.heard = start..end;
        }
        for n in 1..runs.len() {
            let (left, right) = (&runs[n - 1], &runs[n]);
            let both = right.heard.start..left.heard.end;
            if both.is_empty() {
                continue;
            }
            let split = self.split(left, right, both);
            runs[n - 1].heard.end = split;
            runs[n].heard.start = split;
        }
    }

    /// The place where the left run ends best, and the right one begins.
    fn split(&self, left: &Run, right: &Run, both: Range<usize>) -> usize {
        let mut cost: f64 = both.clone().step_by(STEP).map(|at| self.cost(right, at)).sum();
        let mut best = (cost, both.start);
        for at in both.step_by(STEP) {
            cost += self.cost(left, at) - self.cost(right, at);
            if cost < best.0 {
                best = (cost, at + STEP);
            }
        }
        best.1.min(left.heard.end)
    }

    /// How badly a run explains [`STEP`] samples from `at` on: up to 1 they are part of it.
    fn cost(&self, run: &Run, at: usize) -> f64 {
        let mut said = [0.0; STEP];
        self.kernel.read(self.said, run.said(at), &mut said);
        let heard = &self.heard[at..(at + STEP).min(self.heard.len())];
        let gain = run.gain as f32;
        let wrong: f32 = heard.iter().zip(&said).map(|(h, s)| (h - gain * s).powi(2)).sum();
        let loud = mean_square(heard).max(gain * gain * mean_square(&said)).max(QUIET);
        f64::from(wrong / (loud * STEP as f32 * 0.4))
    }
}

/// The products that a block's place and gain follow from.
#[derive(Default)]
struct Sums {
    heard: f64,
    heard_said: f64,
    heard_slope: f64,
    said: f64,
    said_slope: f64,
    slope: f64,
}

impl Sums {
    fn add(&mut self, heard: f64, said: f64, slope: f64) {
        self.heard += heard * heard;
        self.heard_said += heard * said;
        self.heard_slope += heard * slope;
        self.said += said * said;
        self.said_slope += said * slope;
        self.slope += slope * slope;
    }

    /// The gain, the step in place, and the share of the power that both explain.
    fn solve(&self) -> Option<(f64, f64, f64)> {
        let determinant = self.said * self.slope - self.said_slope * self.said_slope;
        if determinant <= 1e-9 * self.said * self.slope || self.heard <= 0.0 {
            return None;
        }
        let gain =
            (self.heard_said * self.slope - self.heard_slope * self.said_slope) / determinant;
        let turned =
            (self.heard_slope * self.said - self.heard_said * self.said_slope) / determinant;
        let explained = (gain * self.heard_said + turned * self.heard_slope) / self.heard;
        (gain > 0.0).then(|| (gain, (turned / gain).clamp(-0.5, 0.5), explained))
    }
}

/// Replaces every lag by that of the line through the blocks around it. The outermost blocks of a
/// run may hold something else in part, and do not count where there are others.
fn smooth(anchors: &mut [Anchor]) {
    let measured = anchors.to_vec();
    let inner = match measured.len() {
        0..6 => 0..measured.len(),
        len => 2..len - 2,
    };
    for (n, anchor) in anchors.iter_mut().enumerate() {
        let from = n.saturating_sub(AROUND).clamp(inner.start, inner.end - 1);
        let to = (n + AROUND + 1).clamp(inner.start + 1, inner.end);
        let points = &measured[from.min(to - 1)..to];
        let (mean_at, mean_lag) = means(points);
        anchor.lag = mean_lag + slope(points, mean_at, mean_lag) * (anchor.at - mean_at);
    }
}

/// The mean place and lag of anchors.
pub(super) fn means(points: &[Anchor]) -> (f64, f64) {
    let count = points.len() as f64;
    let sum = |of: fn(&Anchor) -> f64| points.iter().map(of).sum::<f64>();
    (sum(|it| it.at) / count, sum(|it| it.lag) / count)
}

/// The slope of the line of least squares through anchors with these means.
fn slope(points: &[Anchor], mean_at: f64, mean_lag: f64) -> f64 {
    let (mut across, mut along) = (0.0, 0.0);
    for point in points {
        across += (point.at - mean_at) * (point.lag - mean_lag);
        along += (point.at - mean_at).powi(2);
    }
    if along > 0.0 { across / along } else { 0.0 }
}

/// True if the loudest stretch of some third of `heard` was said in `said`. `regions`: see
/// [`Search::find`].
pub(super) fn recognise(
    search: &mut Search,
    said: &[f32],
    heard: &[f32],
    regions: &mut usize,
) -> bool {
    heard.chunks(heard.len().div_ceil(3).max(1)).any(|third| {
        let powers = third.windows(STRETCH).step_by(STRETCH).map(mean_square).enumerate();
        let loudest = powers.max_by(|left, right| left.1.total_cmp(&right.1));
        loudest.is_some_and(|(place, power)| {
            let stretch = &third[place * STRETCH..];
            power >= QUIET && search.find(said, stretch, 0, regions).is_some()
        })
    })
}
