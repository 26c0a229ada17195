//! How alike what was heard is to what was said, once each stretch lies at its place.
//!
//! In:       the runs of one direction of a call, and what was said and heard.
//! Out:      a [`Likeness`]: gain, noise, frequency response, clicks, drift.
//! Bounds:   transforms of 64 ms; stretches shorter than that are not judged.
//! Not here: gaps (`seams`).
//!
//! What was said is read at the measured places and brought to the loudness heard; the difference
//! is the residual. *SNR* is the power of the signal over that of the residual: one gain and one
//! delay for all frequencies. *SINAD* lets each frequency have its own gain and phase, as a
//! measurement with tones does: of the residual it leaves out what follows the signal in each bin
//! of 15.6 Hz (the coherent part), and the bins' gains are the frequency response. Images above
//! 4,600 Hz count as noise in both. Within 16 ms of a seam nothing is judged.
//!
//! A *click* is a peak of the residual of more than [`CLICK`] times its root mean square over the
//! 60 ms around it, 2 ms to each side left out: what a single wrong sample leaves, and no filter,
//! quantiser or noise does.

use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

use super::band::{BAND_HZ, Banded, CELL, RATE, REACH, mean_square, transform};
use super::place::{Pair, Run, means};

/// A transform, in samples: 64 ms.
const WINDOW: usize = 512;

/// Windows that are needed to tell noise from response.
const WINDOWS_MIN: u64 = 8;

/// How far a click stands out.
const CLICK: f32 = 8.0;

/// The least root mean square that a click stands out from: what rounding to 16 bits leaves.
const FLOOR: f32 = 2.0;

/// Samples in which one click is sought: 20 ms.
const SIGHT: usize = 160;

/// Samples around a peak that belong to it: 2 ms.
const PEAK: usize = 16;

/// A run this long tells about drift, in samples: 0.5 s.
const DRIFT_SAMPLES_MIN: usize = 4_000;

/// What was found in one direction of one call.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Likeness {
    /// Windows judged.
    pub(super) windows: u64,
    /// How much louder it was heard than said, as a factor.
    pub(super) gain: f64,
    /// The mean square of the signal as heard.
    pub(super) signal: f64,
    /// That of everything that does not follow the signal.
    pub(super) noise: f64,
    /// That of the residual.
    pub(super) residual: f64,
    /// The largest gain in the band over the smallest.
    pub(super) response: f64,
    /// Clicks.
    pub(super) clicks: u64,
    /// How much more was heard than said, over what was said; `None` without a long run.
    pub(super) drift: Option<f64>,
}

/// Compares.
pub(super) struct Comparison {
    forward: Arc<dyn RealToComplex<f32>>,
    window: Vec<f32>,
}

impl Comparison {
    /// Makes the window: Blackman and Harris, four terms, side lobes below -92 dB.
    pub(super) fn new(planner: &mut RealFftPlanner<f32>) -> Comparison {
        let term =
            |n: usize, k: usize| (std::f64::consts::TAU * (k * n) as f64 / WINDOW as f64).cos();
        let window = (0..WINDOW)
            .map(|n| 0.35875 - 0.48829 * term(n, 1) + 0.14128 * term(n, 2) - 0.01168 * term(n, 3));
        Comparison {
            forward: planner.plan_fft_forward(WINDOW),
            window: window.map(|it| it as f32).collect(),
        }
    }

    /// Compares what was heard in `runs` with what was said. `images`: the power above the band
    /// counts as noise.
    pub(super) fn compare(
        &self,
        pair: &Pair<'_>,
        runs: &[Run],
        heard: &Banded,
        images: bool,
    ) -> Likeness {
        let mut likeness = Likeness { drift: drift(runs), ..Likeness::default() };
        let pieces: Vec<Piece> = runs.iter().filter_map(|run| Piece::of(pair, run)).collect();
        let products = |of: fn(f32, f32) -> f32| {
            let sums = pieces.iter().map(|piece| {
                let heard = &pair.heard[piece.from..][..piece.said.len()];
                heard.iter().zip(&piece.said).map(|(&h, &s)| f64::from(of(h, s))).sum::<f64>()
            });
            sums.sum::<f64>()
        };
        let power = products(|_, said| said * said);
        if power <= 0.0 {
            return likeness;
        }
        let gain = products(|heard, said| heard * said) / power;
        let mut spectra = Spectra::new();
        let (mut above, mut cells) = (0.0, 0_u64);
        for piece in &pieces {
            let heard_band = &pair.heard[piece.from..][..piece.said.len()];
            let residual: Vec<f32> =
                heard_band.iter().zip(&piece.said).map(|(h, s)| h - gain as f32 * s).collect();
            likeness.clicks += clicks(&residual);
            self.add(&piece.said, &residual, &mut spectra);
            let within = piece.from.div_ceil(CELL)..(piece.from + piece.said.len()) / CELL;
            for &power in heard.above.get(within).unwrap_or_default() {
                above += f64::from(power);
                cells += 1;
            }
        }
        likeness.gain = gain;
        likeness.windows = spectra.windows;
        if spectra.windows >= WINDOWS_MIN {
            spectra.judge(gain, &mut likeness);
            let images = if images && cells > 0 { above / cells as f64 } else { 0.0 };
            likeness.noise += images;
            likeness.residual += images;
        }
        likeness
    }

    /// Adds the windows of one stretch, half over one another.
    fn add(&self, said: &[f32], residual: &[f32], spectra: &mut Spectra) {
        let mut samples = self.forward.make_input_vec();
        let [mut of_said, mut of_residual] =
            [self.forward.make_output_vec(), self.forward.make_output_vec()];
        for from in (0..(said.len() + 1).saturating_sub(WINDOW)).step_by(WINDOW / 2) {
            for (audio, bins) in [(said, &mut of_said), (residual, &mut of_residual)] {
                let windowed = audio[from..].iter().zip(&self.window).map(|(it, by)| it * by);
                samples.iter_mut().zip(windowed).for_each(|(to, it)| *to = it);
                transform(self.forward.process(&mut samples, bins));
            }
            spectra.add(&of_said, &of_residual);
        }
    }
}

/// A run without its edges: what was said, read where it was heard.
struct Piece {
    from: usize,
    said: Vec<f32>,
}

impl Piece {
    fn of(pair: &Pair<'_>, run: &Run) -> Option<Piece> {
        let from = run.heard.start + REACH;
        let len = run.heard.end.checked_sub(REACH)?.checked_sub(from)?;
        let mut said = vec![0.0; len];
        // The lag is taken anew every 5 ms: a drift of 50 ppm turns it by 0.002 samples.
        for (n, cell) in said.chunks_mut(CELL).enumerate() {
            let first = from + n * CELL;
            let lag = run.lag((first + cell.len() / 2) as f64);
            pair.kernel.read(pair.said, first as f64 + lag, cell);
        }
        Some(Piece { from, said })
    }
}

/// Sums over windows, by bin of the band.
struct Spectra {
    windows: u64,
    bins: Vec<Bin>,
}

#[derive(Clone, Copy, Default)]
struct Bin {
    said: f64,
    residual: f64,
    both: Complex<f64>,
}

impl Spectra {
    fn new() -> Spectra {
        let count = Spectra::last() - Spectra::first() + 1;
        Spectra { windows: 0, bins: vec![Bin::default(); count] }
    }

    fn first() -> usize {
        (BAND_HZ.0 * WINDOW as f64 / f64::from(RATE)).ceil() as usize
    }

    fn last() -> usize {
        (BAND_HZ.1 * WINDOW as f64 / f64::from(RATE)).floor() as usize
    }

    fn add(&mut self, said: &[Complex<f32>], residual: &[Complex<f32>]) {
        self.windows += 1;
        let bins = said.iter().zip(residual).skip(Spectra::first());
        for (bin, (said, residual)) in self.bins.iter_mut().zip(bins) {
            let wide = |it: &Complex<f32>| Complex::new(f64::from(it.re), f64::from(it.im));
            let (said, residual) = (wide(said), wide(residual));
            bin.said += said.norm_sqr();
            bin.residual += residual.norm_sqr();
            bin.both += said.conj() * residual;
        }
    }

    /// Tells the part that follows the signal from the rest.
    fn judge(&self, gain: f64, likeness: &mut Likeness) {
        let (mut signal, mut noise, mut residual) = (0.0, 0.0, 0.0);
        let (mut lowest, mut highest) = (f64::MAX, 0.0_f64);
        for bin in self.bins.iter().filter(|bin| bin.said > 0.0) {
            let follows = bin.both / bin.said;
            let of_bin = (follows + gain).norm();
            signal += of_bin * of_bin * bin.said;
            noise += (bin.residual - follows.norm_sqr() * bin.said).max(0.0);
            residual += bin.residual;
            lowest = lowest.min(of_bin);
            highest = highest.max(of_bin);
        }
        // Of so many windows one is spent on the response.
        noise *= self.windows as f64 / (self.windows - 1) as f64;
        // From sums over windows to a mean square: the mean of the window's squares is 0.2580.
        let to_square = 2.0 / (self.windows as f64 * (WINDOW * WINDOW) as f64 * 0.257_963);
        likeness.signal = signal * to_square;
        likeness.noise = noise * to_square;
        likeness.residual = residual * to_square;
        likeness.response = highest / lowest.max(f64::MIN_POSITIVE);
    }
}

/// Counts the peaks that stand out of a residual.
fn clicks(residual: &[f32]) -> u64 {
    let mut count = 0;
    let mut last = None;
    for (n, sight) in residual.chunks(SIGHT).enumerate() {
        let magnitudes = sight.iter().map(|it| it.abs());
        let peak = magnitudes.enumerate().max_by(|left, right| left.1.total_cmp(&right.1));
        let Some((place, height)) = peak else { continue };
        let place = n * SIGHT + place;
        let around =
            place.saturating_sub(SIGHT * 3 / 2)..(place + SIGHT * 3 / 2).min(residual.len());
        let left = &residual[around.start..place.saturating_sub(PEAK).max(around.start)];
        let right = &residual[(place + PEAK).min(around.end)..around.end];
        let samples = (left.len() + right.len()).max(1) as f32;
        let power = mean_square(left) * left.len() as f32 + mean_square(right) * right.len() as f32;
        let stands_out = height > CLICK * (power / samples).sqrt().max(FLOOR);
        if stands_out && last.is_none_or(|last| place > last + 2 * PEAK) {
            count += 1;
            last = Some(place);
        }
    }
    count
}

/// The slope of all long runs together.
fn drift(runs: &[Run]) -> Option<f64> {
    let (mut across, mut along) = (0.0, 0.0);
    for run in runs.iter().filter(|run| run.heard.len() >= DRIFT_SAMPLES_MIN) {
        let (mean_at, mean_lag) = means(&run.anchors);
        for anchor in &run.anchors {
            across += (anchor.at - mean_at) * (anchor.lag - mean_lag);
            along += (anchor.at - mean_at).powi(2);
        }
    }
    (along > 0.0).then(|| -across / along)
}
