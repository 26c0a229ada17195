//! Whether what the model says is speech at all: a model that has lost its way may give a loud tone
//! or noise for many seconds. Speech rises and falls many times a second; these do not.
//!
//! In:       model audio as the caller would hear it.
//! Out:      for how long its level has not moved.
//! Bounds:   [`STEADY_LEVEL`]: what is quieter is a pause; [`STEADY_RANGE`].
//! Not here: how long is too long, and what is done then (`call::from_agent`).

use crate::limits::{PTIME_MS, STEADY_LEVEL, STEADY_RANGE};

/// What is known of the level of one answer.
#[derive(Debug, Default)]
pub(super) struct Steady {
    /// The piece that is being measured: sum of squares, samples.
    energy: u64,
    samples: u64,
    /// Loudest and softest piece since the level last moved, as mean of squares.
    most: u64,
    least: u64,
    /// Since then, in milliseconds.
    for_ms: u64,
}

impl Steady {
    /// Another piece of an answer, of any length.
    pub(super) fn hear(&mut self, rate_hz: u32, pcm: &[i16]) {
        let piece = rate_hz as usize * PTIME_MS / 1_000;
        let mut rest = pcm;
        while !rest.is_empty() {
            let missing = piece - self.samples as usize;
            let (head, behind) = rest.split_at(missing.min(rest.len()));
            let square = |&sample: &i16| u64::from(sample.unsigned_abs()).pow(2);
            self.energy += head.iter().map(square).sum::<u64>();
            self.samples += head.len() as u64;
            if self.samples as usize == piece {
                self.measure();
            }
            rest = behind;
        }
    }

    fn measure(&mut self) {
        let level = self.energy / self.samples;
        (self.energy, self.samples) = (0, 0);
        if level < STEADY_LEVEL * STEADY_LEVEL {
            return self.forget();
        }
        (self.most, self.least) = match self.for_ms {
            0 => (level, level),
            _ => (self.most.max(level), self.least.min(level)),
        };
        if self.most > STEADY_RANGE * self.least {
            (self.most, self.least, self.for_ms) = (level, level, 0);
        }
        self.for_ms += PTIME_MS as u64;
    }

    /// For how long the level has not moved, in milliseconds of audio.
    pub(super) fn for_ms(&self) -> u64 {
        self.for_ms
    }

    /// The answer is over.
    pub(super) fn forget(&mut self) {
        *self = Steady::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(mut sample: impl FnMut(usize) -> f64) -> u64 {
        let pcm: Vec<i16> = (0..8_000 * 4).map(|n| sample(n) as i16).collect();
        let (mut steady, mut most) = (Steady::default(), 0);
        for piece in pcm.chunks(333) {
            steady.hear(8_000, piece);
            most = most.max(steady.for_ms());
        }
        most
    }

    #[test]
    fn a_tone_and_noise_are_steady_at_any_level_above_a_whisper() {
        for level in [2_500.0, 8_000.0, 32_000.0] {
            for hz in [100.0, 440.0, 1_000.0, 3_000.0] {
                let tone =
                    |n: usize| (n as f64 * hz * std::f64::consts::TAU / 8_000.0).sin() * level;
                assert!(after(tone) >= 3_900, "{hz} Hz at {level}");
            }
            let mut random = fastrand::Rng::with_seed(1);
            assert!(after(|_| (random.f64() * 2.0 - 1.0) * level) >= 3_900, "noise at {level}");
        }
    }

    #[test]
    fn syllables_and_silence_are_not() {
        // Five syllables a second, each rising and falling.
        let syllables = |n: usize| {
            let envelope = (n as f64 * 2.5 * std::f64::consts::TAU / 8_000.0).sin().abs();
            (n as f64 * 0.3).sin() * 12_000.0 * envelope
        };
        assert!(after(syllables) < 400, "{}", after(syllables));
        assert_eq!(after(|_| 0.0), 0);
        assert_eq!(after(|n| (n as f64).sin() * 200.0), 0);
    }
}
