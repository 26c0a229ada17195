//! Audio between its samples: interpolation by a windowed sinc.
//!
//! In:       the band at 8 kHz, a place that need not be whole.
//! Out:      samples, and their slope, from that place on.
//! Bounds:   [`TAPS`] products a sample; a table of [`PHASES`] + 1 sets of taps, made once.
//! Not here: where to look (`place`).
//!
//! For audio below 3,600 Hz the error stays below -95 dB. Outside the audio there is silence.

use super::band::{kaiser, sinc};

/// Samples that make one between them.
const TAPS: usize = 64;

/// Places between two samples for which taps are kept; between them they are interpolated.
const PHASES: usize = 512;

/// The taps.
pub(super) struct Kernel {
    table: Vec<[f32; TAPS]>,
}

impl Kernel {
    /// Makes the table.
    pub(super) fn new() -> Kernel {
        let taps = |phase: usize| {
            let fraction = phase as f64 / PHASES as f64;
            std::array::from_fn(|tap| {
                let x = tap as f64 - (TAPS / 2 - 1) as f64 - fraction;
                (sinc(x) * kaiser(x / (TAPS / 2) as f64)) as f32
            })
        };
        Kernel { table: (0..=PHASES).map(taps).collect() }
    }

    /// The taps for a fraction of a sample, and by how much they change per sample.
    fn taps(&self, fraction: f64) -> ([f32; TAPS], [f32; TAPS]) {
        let place = fraction * PHASES as f64;
        let phase = (place as usize).min(PHASES - 1);
        let (left, right) = (&self.table[phase], &self.table[phase + 1]);
        let part = (place - phase as f64) as f32;
        let between = |tap: usize| left[tap] + part * (right[tap] - left[tap]);
        let slope = |tap: usize| (right[tap] - left[tap]) * PHASES as f32;
        (std::array::from_fn(between), std::array::from_fn(slope))
    }

    /// Fills `out` with the audio at `from`, `from` + 1 and so on.
    pub(super) fn read(&self, audio: &[f32], from: f64, out: &mut [f32]) {
        let (first, taps, _) = self.at(from);
        for (n, sample) in out.iter_mut().enumerate() {
            *sample = product(audio, first + n as i64, &taps);
        }
    }

    /// The audio at each of `places`, counted from `from`, and its slope there, to `each`.
    pub(super) fn read_with_slope(
        &self,
        audio: &[f32],
        from: f64,
        places: impl Iterator<Item = usize>,
        mut each: impl FnMut(usize, f32, f32),
    ) {
        let (first, taps, slope) = self.at(from);
        for place in places {
            let at = first + place as i64;
            each(place, product(audio, at, &taps), product(audio, at, &slope));
        }
    }

    fn at(&self, from: f64) -> (i64, [f32; TAPS], [f32; TAPS]) {
        let whole = from.floor();
        let (taps, slope) = self.taps(from - whole);
        (whole as i64 - (TAPS / 2 - 1) as i64, taps, slope)
    }
}

/// The taps times the audio from `first` on, which may lie outside.
fn product(audio: &[f32], first: i64, taps: &[f32; TAPS]) -> f32 {
    let inside = usize::try_from(first).ok().and_then(|first| audio.get(first..first + TAPS));
    if let Some(inside) = inside {
        // Sums side by side: one after the other could not be done several at a time.
        let mut sums = [0.0; 8];
        for (samples, taps) in inside.as_chunks::<8>().0.iter().zip(taps.as_chunks::<8>().0) {
            for (sum, (sample, tap)) in sums.iter_mut().zip(samples.iter().zip(taps)) {
                *sum += sample * tap;
            }
        }
        return sums.iter().sum();
    }
    let sample = |at: i64| usize::try_from(at).ok().and_then(|at| audio.get(at).copied());
    (first..).zip(taps).map(|(at, tap)| sample(at).unwrap_or(0.0) * tap).sum()
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::*;

    #[test]
    fn a_tone_is_read_between_its_samples_with_its_slope() {
        let kernel = Kernel::new();
        for hertz in [300.0, 2_000.0, 3_400.0] {
            let step = 2.0 * PI * hertz / 8_000.0;
            let audio: Vec<f32> = (0..400).map(|n| (n as f64 * step).sin() as f32).collect();
            for from in [100.0, 100.25, 123.456, 200.999] {
                let mut read = [0.0; 50];
                kernel.read(&audio, from, &mut read);
                for (n, read) in read.iter().enumerate() {
                    let wrong = f64::from(*read) - ((from + n as f64) * step).sin();
                    assert!(wrong.abs() < 3e-5, "{hertz} Hz at {from}: {wrong}");
                }
                kernel.read_with_slope(&audio, from, 0..50, |n, _, slope| {
                    let wrong = f64::from(slope) - step * ((from + n as f64) * step).cos();
                    assert!(wrong.abs() < 0.02, "{hertz} Hz at {from}: slope {wrong}");
                });
            }
        }
    }

    #[test]
    fn outside_the_audio_is_silence() {
        let kernel = Kernel::new();
        let mut read = [1.0; 8];
        kernel.read(&[1.0; 100], -200.0, &mut read);
        assert_eq!(read, [0.0; 8]);
        kernel.read(&[1.0; 100], 300.5, &mut read);
        assert_eq!(read, [0.0; 8]);
        kernel.read(&[1.0; 100], 0.0, &mut read);
        assert!((read[0] - 1.0).abs() < 1e-4);
    }
}
