//! Finds a stretch of audio by correlation.
//!
//! In:       what was said, and a stretch of what was heard, both as the band at 8 kHz.
//! Out:      where in what was said the stretch belongs, to the nearest sample.
//! Bounds:   a search looks at [`REGION`] samples at a time, and the caller says at how many; the
//!           spectra of what was said are not kept.
//! Not here: following what was found (`place`).
//!
//! The measure is the correlation coefficient. Two stretches of the voices' noise, 40 ms of 3.1
//! kHz, have one of 0.06 by chance; the largest by chance over ten minutes stays below 0.4.

use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

use super::band::transform;

/// The stretch that is looked for, in samples: 40 ms.
pub(super) const STRETCH: usize = 320;

/// What one transform sees of what was said, in samples: 2 s.
pub(super) const REGION: usize = 16_384;

/// Places that one transform tells about.
const PLACES: usize = REGION - STRETCH;

/// A correlation coefficient that is no chance.
const CERTAIN: f32 = 0.5;

/// The least energy of a stretch that anything is like: below it there are rounding errors only.
const QUIETEST: f64 = STRETCH as f64 * 4.0;

/// Looks for stretches.
pub(super) struct Search {
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    samples: Vec<f32>,
    stretch: Vec<Complex<f32>>,
    region: Vec<Complex<f32>>,
}

impl Search {
    /// Makes the buffers.
    pub(super) fn new(planner: &mut RealFftPlanner<f32>) -> Search {
        let forward = planner.plan_fft_forward(REGION);
        Search {
            inverse: planner.plan_fft_inverse(REGION),
            samples: forward.make_input_vec(),
            stretch: forward.make_output_vec(),
            region: forward.make_output_vec(),
            forward,
        }
    }

    /// Where `said` sounds like the beginning of `heard`, [`STRETCH`] samples of it. Begins around
    /// `near`, then goes through all of `said`; looks at no more than `regions` regions, and takes
    /// those it has looked at from them.
    pub(super) fn find(
        &mut self,
        said: &[f32],
        heard: &[f32],
        near: usize,
        regions: &mut usize,
    ) -> Option<usize> {
        let stretch = heard.get(..STRETCH)?;
        let energy: f32 = stretch.iter().map(|it| it * it).sum();
        self.samples.fill(0.0);
        self.samples[..STRETCH].copy_from_slice(stretch);
        transform(self.forward.process(&mut self.samples, &mut self.stretch));
        let around = near.min(said.len()).saturating_sub(REGION / 2);
        let all = (0..said.len()).step_by(PLACES);
        for from in std::iter::once(around).chain(all) {
            *regions = regions.checked_sub(1)?;
            if let Some(place) = self.look(&said[from..], energy) {
                return Some(from + place);
            }
        }
        None
    }

    /// The best place in the region at the front of `said`, if it is certain.
    fn look(&mut self, said: &[f32], energy: f32) -> Option<usize> {
        let said = &said[..said.len().min(REGION)];
        self.samples.fill(0.0);
        self.samples[..said.len()].copy_from_slice(said);
        transform(self.forward.process(&mut self.samples, &mut self.region));
        for (region, stretch) in self.region.iter_mut().zip(&self.stretch) {
            *region *= stretch.conj() / REGION as f32;
        }
        let last = self.region.len() - 1;
        self.region[0].im = 0.0;
        self.region[last].im = 0.0;
        transform(self.inverse.process(&mut self.region, &mut self.samples));
        let mut under: f64 = said.iter().take(STRETCH).map(|it| f64::from(it * it)).sum();
        let mut best = (0.0, 0);
        for place in 0..=said.len().checked_sub(STRETCH)? {
            let power = under.max(QUIETEST) as f32;
            let correlation = self.samples[place] / (power * energy).sqrt();
            if correlation > best.0 {
                best = (correlation, place);
            }
            let next = said.get(place + STRETCH).map_or(0.0, |it| f64::from(it * it));
            under += next - f64::from(said[place] * said[place]);
        }
        (best.0 > CERTAIN).then_some(best.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::bits;

    fn noise(seed: u64, len: usize) -> Vec<f32> {
        (0..len as u64).map(|at| f32::from(bits(seed, at) as i16) / 8.0).collect()
    }

    #[test]
    fn a_stretch_is_found_wherever_it_was_said() {
        let mut search = Search::new(&mut RealFftPlanner::new());
        let said = noise(1, 100_000);
        for place in [0, 1, 16_063, 16_064, 50_000, 99_680] {
            for near in [0, 50_000, 99_999, 1_000_000] {
                let mut regions = 8;
                let found = search.find(&said, &said[place..], near, &mut regions);
                assert_eq!(found, Some(place), "from {near}");
            }
        }
    }

    #[test]
    fn what_nobody_said_is_found_nowhere_and_costs_no_more_than_allowed() {
        let mut search = Search::new(&mut RealFftPlanner::new());
        let (said, other) = (noise(1, 100_000), noise(2, 320));
        let mut regions = 100;
        assert_eq!(search.find(&said, &other, 0, &mut regions), None);
        assert_eq!(regions, 100 - 8);
        regions = 3;
        assert_eq!(search.find(&said, &other, 0, &mut regions), None);
        assert_eq!(regions, 0);
        assert_eq!(search.find(&said, &said[99_000..], 99_000, &mut 0), None);
        assert_eq!(search.find(&said, &said[..319], 0, &mut regions), None, "too short");
    }
}
