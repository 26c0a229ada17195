//! The telephone band of any audio, at one rate: what is compared, whatever rate it was heard at.
//!
//! In:       linear PCM at a rate that is a multiple of 1,000 Hz, from 8,000 Hz on.
//! Out:      the band from 300 to 3,400 Hz (ITU-T G.712) at 8 kHz, sample `n` at the same instant
//!           as before; and the power above 4,600 Hz, where the images of an 8 kHz signal lie.
//! Bounds:   transforms of [`BLOCK`] samples at 8 kHz, so the memory is that of the audio.
//! Not here: finding places (`place`), comparing (`compare`).
//!
//! Both filters have linear phase and lie around their sample: they delay nothing. They are flat
//! to 0.0001 dB and stop 100 dB below. Between 3,400 and 4,600 Hz every practical converter has its
//! slope, and nothing is judged. The convolution is done block by block with the Fourier transform
//! (overlap-save); a transform of the same duration has the same bins at every rate, so the change
//! of rate is a change of length, and adds no error of its own.

use std::f64::consts::PI;
use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

/// The rate at which everything is compared, in hertz.
pub(super) const RATE: u32 = 8_000;

/// The band that is compared, in hertz.
pub(super) const BAND_HZ: (f64, f64) = (300.0, 3_400.0);

/// Images are counted from here on, in hertz.
const IMAGES_FROM_HZ: f64 = 4_600.0;

/// The power above the band is summed over so many samples at 8 kHz: 5 ms.
pub(super) const CELL: usize = 40;

/// A transform, in samples at 8 kHz: 256 ms.
const BLOCK: usize = 2048;

/// How far the filters reach to either side, in samples at 8 kHz: 16 ms.
pub(super) const REACH: usize = 128;

/// The new samples of a block: whole cells.
const HOP: usize = (BLOCK - 2 * REACH) / CELL * CELL;

/// From the edge of a band to its stop, in hertz: what 32 ms allow at 100 dB.
const SLOPE_HZ: f64 = 200.0;

/// The shape of the windows: side lobes below -100 dB.
pub(super) const KAISER_BETA: f64 = 10.06;

/// Audio in its band.
#[derive(Clone, Debug, Default)]
pub(super) struct Banded {
    /// 300 to 3,400 Hz at 8 kHz, full scale 32,768.
    pub(super) band: Vec<f32>,
    /// The mean square of what is above 4,600 Hz, by [`CELL`]; empty for audio at 8 kHz.
    pub(super) above: Vec<f32>,
}

/// Takes the band out of audio at one rate.
pub(super) struct Filter {
    /// Samples in so many samples at 8 kHz, over 1,000.
    rate: u32,
    forward: Arc<dyn RealToComplex<f32>>,
    to_band: Arc<dyn ComplexToReal<f32>>,
    to_above: Option<Arc<dyn ComplexToReal<f32>>>,
    band: Vec<f32>,
    above: Vec<f32>,
}

impl Filter {
    /// A filter for audio at `rate`; `None` where the rate is none that can be compared.
    pub(super) fn new(rate: u32, planner: &mut RealFftPlanner<f32>) -> Option<Filter> {
        if rate < RATE || !rate.is_multiple_of(1_000) {
            return None;
        }
        let len = at_rate(BLOCK, rate);
        let (low, high) = (BAND_HZ.0 - SLOPE_HZ / 2.0, BAND_HZ.1 + SLOPE_HZ / 2.0);
        let band = response(RATE, &|x| lowpass(high, RATE, x) - lowpass(low, RATE, x), planner);
        let cut = IMAGES_FROM_HZ + SLOPE_HZ / 2.0;
        let above = match rate == RATE {
            true => Vec::new(),
            false => response(rate, &|x| lowpass(cut, rate, x), planner)
                .into_iter()
                .map(|below| 1.0 - below)
                .collect(),
        };
        Some(Filter {
            rate,
            forward: planner.plan_fft_forward(len),
            to_band: planner.plan_fft_inverse(BLOCK),
            to_above: (rate != RATE).then(|| planner.plan_fft_inverse(len)),
            band,
            above,
        })
    }

    /// The band of `pcm`.
    pub(super) fn apply(&self, pcm: &[i16]) -> Banded {
        let total = (pcm.len() as u64 * u64::from(RATE) / u64::from(self.rate)) as usize;
        let (len, reach, hop) =
            (at_rate(BLOCK, self.rate), at_rate(REACH, self.rate), at_rate(HOP, self.rate));
        let mut result = Banded::default();
        let mut input = self.forward.make_input_vec();
        let mut spectrum = self.forward.make_output_vec();
        let mut output = self.to_band.make_output_vec();
        let mut bins = self.to_band.make_input_vec();
        let mut wide = vec![0.0; if self.to_above.is_some() { len } else { 0 }];
        for block in 0..total.div_ceil(HOP) {
            let from = block * hop;
            for (at, sample) in (from..).zip(&mut input) {
                let heard = at.checked_sub(reach).and_then(|at| pcm.get(at));
                *sample = heard.map_or(0.0, |&it| f32::from(it));
            }
            transform(self.forward.process(&mut input, &mut spectrum));
            for ((bin, &heard), gain) in bins.iter_mut().zip(&spectrum).zip(&self.band) {
                *bin = heard * (gain / len as f32);
            }
            make_real(&mut bins);
            transform(self.to_band.process(&mut bins, &mut output));
            result.band.extend_from_slice(&output[REACH..REACH + HOP]);
            let Some(to_above) = &self.to_above else { continue };
            for (bin, gain) in spectrum.iter_mut().zip(&self.above) {
                *bin *= gain / len as f32;
            }
            make_real(&mut spectrum);
            transform(to_above.process(&mut spectrum, &mut wide));
            let cells = wide[reach..reach + hop].chunks(at_rate(CELL, self.rate));
            result.above.extend(cells.map(mean_square));
        }
        result.band.truncate(total);
        result.above.truncate(total / CELL);
        result
    }
}

/// So many samples at 8 kHz, at `rate`.
fn at_rate(samples: usize, rate: u32) -> usize {
    samples * (rate as usize / 1_000) / (RATE as usize / 1_000)
}

/// The mean of the squares.
pub(super) fn mean_square(samples: &[f32]) -> f32 {
    samples.iter().map(|it| it * it).sum::<f32>() / samples.len().max(1) as f32
}

/// The lengths of a transform and its buffers come from the same plan.
pub(super) fn transform(done: Result<(), realfft::FftError>) {
    debug_assert!(done.is_ok(), "the lengths of buffers are those of the plan");
}

/// The first and the last bin of a real signal have no imaginary part.
fn make_real(bins: &mut [Complex<f32>]) {
    let last = bins.len() - 1;
    bins[0].im = 0.0;
    bins[last].im = 0.0;
}

/// The gain in each bin of a symmetric filter whose impulse response at sample `x` is `tap(x)`,
/// before the window. One block long, around 0.
fn response(rate: u32, tap: &dyn Fn(f64) -> f64, planner: &mut RealFftPlanner<f32>) -> Vec<f32> {
    let (len, reach) = (at_rate(BLOCK, rate), at_rate(REACH, rate));
    let forward = planner.plan_fft_forward(len);
    let mut taps = forward.make_input_vec();
    for n in 0..=reach {
        let value = tap(n as f64) * kaiser(n as f64 / reach as f64);
        taps[n] = value as f32;
        taps[(len - n) % len] = value as f32;
    }
    let mut bins = forward.make_output_vec();
    transform(forward.process(&mut taps, &mut bins));
    bins.into_iter().map(|bin| bin.re).collect()
}

/// The impulse response of an ideal low pass.
fn lowpass(hertz: f64, rate: u32, x: f64) -> f64 {
    let width = 2.0 * hertz / f64::from(rate);
    width * sinc(width * x)
}

/// sin(pi x) / (pi x).
pub(super) fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) }
}

/// Kaiser's window over -1 to 1.
pub(super) fn kaiser(x: f64) -> f64 {
    if x.abs() >= 1.0 {
        0.0
    } else {
        bessel(KAISER_BETA * (1.0 - x * x).sqrt()) / bessel(KAISER_BETA)
    }
}

/// The modified Bessel function of order 0, by its series: 40 terms are exact for what is asked.
fn bessel(x: f64) -> f64 {
    let mut term = 1.0;
    let mut sum = 1.0;
    for n in 1..40 {
        term *= (x / 2.0 / f64::from(n)).powi(2);
        sum += term;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hertz: f64, rate: u32, samples: usize) -> Vec<i16> {
        let step = 2.0 * PI * hertz / f64::from(rate);
        (0..samples).map(|n| (10_000.0 * (n as f64 * step).sin()).round() as i16).collect()
    }

    fn level_db(samples: &[f32]) -> f64 {
        10.0 * f64::from(mean_square(samples) / 5e7).log10()
    }

    #[test]
    fn a_tone_of_the_band_passes_unchanged_and_undelayed_from_every_rate() {
        for rate in [8_000, 16_000, 24_000, 48_000] {
            let filter = Filter::new(rate, &mut RealFftPlanner::new()).unwrap();
            for hertz in [310.0, 1_000.0, 3_390.0] {
                let heard = filter.apply(&tone(hertz, rate, rate as usize));
                assert_eq!(heard.band.len(), 8_000);
                let said = tone(hertz, RATE, 8_000);
                let wrong: Vec<f32> =
                    heard.band.iter().zip(said).map(|(heard, it)| heard - f32::from(it)).collect();
                assert!(level_db(&wrong[200..7_800]) < -75.0, "{rate} Hz, tone of {hertz} Hz");
                let above = heard.above.iter().skip(8).take(180);
                assert!(above.clone().all(|&it| it < 1.0), "{rate} {hertz}");
            }
        }
    }

    #[test]
    fn what_is_outside_the_band_is_not_heard_and_images_are_counted() {
        for rate in [16_000, 24_000] {
            let filter = Filter::new(rate, &mut RealFftPlanner::new()).unwrap();
            for hertz in [0.0, 90.0, 3_700.0, 4_300.0, 5_000.0, 7_500.0] {
                let heard = filter.apply(&tone(hertz, rate, rate as usize));
                assert!(level_db(&heard.band[200..7_800]) < -75.0, "{rate} Hz: {hertz} Hz");
                let above = level_db(&[heard.above[50].sqrt()]);
                let expected = if hertz > 4_800.0 { above.abs() < 0.1 } else { above < -75.0 };
                assert!(expected, "{rate} Hz: {hertz} Hz is at {above:.1} dB");
            }
        }
    }

    #[test]
    fn rates_that_no_transform_fits_are_refused() {
        for rate in [0, 7_000, 11_025, 44_100] {
            assert!(Filter::new(rate, &mut RealFftPlanner::new()).is_none(), "{rate}");
        }
    }
}
