//! What several tests need: the kernel sets of this CPU, and a spectrum that sees 120 dB.
#![allow(dead_code)]

use std::f64::consts::{PI, TAU};
use std::sync::OnceLock;

use dsp::kernels::{Isa, Kernels};
use dsp::resample::{Conversion, FilterSet, Resampler};

pub(crate) const SETS: [FilterSet; 2] = [FilterSet::LinearPhase, FilterSet::LowDelay];

/// Every kernel set this CPU can run.
pub(crate) fn every_isa() -> Vec<Kernels> {
    let mut sets: Vec<Kernels> = Isa::ALL.into_iter().map(Kernels::detect).collect();
    sets.dedup_by_key(|kernels| kernels.isa());
    sets
}

/// Full-range noise, with full scale and silence well represented; the same for the same seed.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<i16> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            match state >> 60 {
                0 => i16::MIN,
                1 => i16::MAX,
                2 => 0,
                _ => (state >> 24) as i16,
            }
        })
        .collect()
}

/// The sum of tones, each a frequency in hertz and an amplitude, sampled at `hz`.
pub(crate) fn tones(hz: u32, len: usize, tones: &[(f64, f64)]) -> Vec<i16> {
    (0..len)
        .map(|i| {
            let t = i as f64 / f64::from(hz);
            tones.iter().map(|(f, a)| a * (TAU * f * t).sin()).sum::<f64>().round() as i16
        })
        .collect()
}

/// `input` through a fresh resampler, in one piece, by the best kernels here.
pub(crate) fn convert(conversion: Conversion, set: FilterSet, input: &[i16]) -> Vec<i16> {
    let mut resampler = Resampler::new(conversion, set);
    let mut output = vec![0; resampler.output_len(input.len())];
    resampler.process(&Kernels::detect(Isa::Avx512Fp16), input, &mut output);
    output
}

/// Shape of Kaiser's window: side lobes below -140 dB, a main lobe of [`LOBE_BINS`] either side.
const BETA: f64 = 18.0;
/// Bins around a line that belong to it.
pub(crate) const LOBE_BINS: f64 = 7.0;

/// Samples of one measurement.
pub(crate) const MEASURED: usize = 4_096;

/// The window, worked out once.
fn window() -> &'static [f64] {
    static WINDOW: OnceLock<Vec<f64>> = OnceLock::new();
    WINDOW.get_or_init(|| {
        let bessel = |x: f64| {
            let (mut term, mut sum) = (1.0, 1.0);
            for k in 1..60 {
                term *= x * x / 4.0 / f64::from(k * k);
                sum += term;
            }
            sum
        };
        let middle = (MEASURED - 1) as f64 / 2.0;
        let along = |i: usize| (i as f64 - middle) / middle;
        (0..MEASURED)
            .map(|i| bessel(BETA * (1.0 - along(i).powi(2)).max(0.0).sqrt()) / bessel(BETA))
            .collect()
    })
}

/// Amplitude and phase of one frequency in `pcm`; the phase is that of a sine at sample 0.
pub(crate) fn line(pcm: &[i16], hz: u32, frequency: f64) -> (f64, f64) {
    assert_eq!(pcm.len(), MEASURED);
    let window = window();
    let (mut re, mut im) = (0.0, 0.0);
    for (i, (sample, w)) in pcm.iter().zip(window).enumerate() {
        let (sin, cos) = (TAU * frequency * i as f64 / f64::from(hz)).sin_cos();
        re += w * f64::from(*sample) * sin;
        im += w * f64::from(*sample) * cos;
    }
    let gain = 2.0 / window.iter().sum::<f64>();
    ((re * gain).hypot(im * gain), im.atan2(re))
}

/// The amplitude in every bin, from zero to half the rate; a sine of amplitude A shows as A.
pub(crate) struct Spectrum {
    amplitudes: Vec<f64>,
    bin_hz: f64,
    /// Bins that noise of one bin's power spreads over.
    noise_bins: f64,
}

impl Spectrum {
    /// `pcm`: [`MEASURED`] samples.
    pub(crate) fn of(pcm: &[i16], hz: u32) -> Spectrum {
        assert_eq!(pcm.len(), MEASURED);
        let window = window();
        let sum: f64 = window.iter().sum();
        let squares: f64 = window.iter().map(|w| w * w).sum();
        let mut points: Vec<(f64, f64)> =
            pcm.iter().zip(window).map(|(s, w)| (f64::from(*s) * w * 2.0 / sum, 0.0)).collect();
        transform(&mut points);
        let half = pcm.len() / 2;
        Spectrum {
            amplitudes: points[..=half].iter().map(|p| p.0.hypot(p.1)).collect(),
            bin_hz: f64::from(hz) / pcm.len() as f64,
            noise_bins: squares * pcm.len() as f64 / (sum * sum),
        }
    }

    fn is_near(&self, bin: usize, frequency: f64) -> bool {
        (bin as f64 - frequency / self.bin_hz).abs() <= LOBE_BINS
    }

    /// The largest line that is none of `known`.
    pub(crate) fn largest_but(&self, known: &[f64]) -> f64 {
        let others =
            (0..self.amplitudes.len()).filter(|&bin| known.iter().all(|f| !self.is_near(bin, *f)));
        others
            .max_by(|&a, &b| self.amplitudes[a].total_cmp(&self.amplitudes[b]))
            .map_or(0.0, |bin| self.peak(bin))
    }

    /// The amplitude of the line whose highest bin this is: the parabola through it and its
    /// neighbours, in logarithms, where the main lobe of the window is one.
    fn peak(&self, bin: usize) -> f64 {
        let around = |bin: usize| self.amplitudes.get(bin).map(|amplitude| amplitude.ln());
        let (Some(left), Some(top), Some(right)) =
            (bin.checked_sub(1).and_then(around), around(bin), around(bin + 1))
        else {
            return self.amplitudes[bin];
        };
        let curve = left - 2.0 * top + right;
        if !(left <= top && right <= top && curve < 0.0) {
            return self.amplitudes[bin];
        }
        let aside = 0.5 * (left - right) / curve;
        (top - 0.25 * (left - right) * aside).exp()
    }

    /// The power of everything that is not `tone`, as the amplitude of a sine of that power.
    pub(crate) fn rest(&self, tone: f64) -> f64 {
        let others = self.amplitudes.iter().enumerate();
        let power: f64 = others
            .filter(|(bin, _)| !self.is_near(*bin, tone))
            .map(|(_, amplitude)| amplitude * amplitude)
            .sum();
        (power / self.noise_bins).sqrt()
    }
}

/// The discrete Fourier transform in place, unscaled.
fn transform(points: &mut [(f64, f64)]) {
    let len = points.len();
    assert!(len.is_power_of_two());
    for i in 0..len {
        let j = i.reverse_bits() >> (usize::BITS - len.trailing_zeros());
        if i < j {
            points.swap(i, j);
        }
    }
    let mut half = 1;
    while half < len {
        for k in 0..half {
            let (sin, cos) = (-PI * k as f64 / half as f64).sin_cos();
            for i in (k..len).step_by(2 * half) {
                let (a, b) = (points[i], points[i + half]);
                let turned = (b.0 * cos - b.1 * sin, b.0 * sin + b.1 * cos);
                points[i] = (a.0 + turned.0, a.1 + turned.1);
                points[i + half] = (a.0 - turned.0, a.1 - turned.1);
            }
        }
        half *= 2;
    }
}

pub(crate) fn db(ratio: f64) -> f64 {
    20.0 * ratio.log10()
}
