//! When the caller speaks, by level alone: not to be right about every word, but to know when it
//! is quiet, and when a model that does not answer has been spoken to.
//!
//! What counts as loud rises with what the line never falls below: steady noise is no speech.
//! Speech itself falls far below its own level many times a second.
//!
//! In:       caller audio as it arrives, decoded.
//! Out:      since when it has been quiet, how long the last words were.
//! Bounds:   [`SPEECH_LEVEL`], [`SPEECH_MIN_MS`]: less is noise; [`NOISE_LEVEL_MAX`]: more is
//!           speech, however steady.
//! Not here: what the model's own detector hears, which alone decides about barge-in.

use std::time::Duration;

use crate::clock::Nanos;
use crate::limits::{
    NOISE_LEVEL_MAX, NOISE_WINDOW_MS, SPEECH_ABOVE_NOISE, SPEECH_LEVEL, SPEECH_MIN_MS,
    SPEECH_RECENT,
};

/// What is known of the caller's voice.
#[derive(Debug)]
pub(super) struct Ear {
    /// Without speech for so long the caller is silent.
    quiet: Duration,
    /// Loud audio without a pause, in samples; the rate it has.
    loud: u64,
    rate_hz: u32,
    /// When speech was last heard.
    spoke_at: Option<Nanos>,
    floor: Floor,
}

/// The level a line never falls below, as mean of squares: the least of any 20 ms of the last two
/// windows.
#[derive(Debug)]
struct Floor {
    /// The least of the window before, and of this one so far.
    before: u64,
    least: u64,
    /// How much of this window has been heard, in samples.
    heard: u64,
    /// The piece that is being measured: sum of squares, samples.
    energy: u64,
    samples: u64,
}

impl Floor {
    /// Nothing is known: a line counts as silent.
    const UNKNOWN: Floor = Floor { before: 0, least: u64::MAX, heard: 0, energy: 0, samples: 0 };

    fn hear(&mut self, rate_hz: u32, energy: u64, samples: u64) {
        self.energy += energy;
        self.samples += samples;
        if self.samples * 50 < u64::from(rate_hz) {
            return;
        }
        self.least = self.least.min(self.energy / self.samples);
        self.heard += self.samples;
        (self.energy, self.samples) = (0, 0);
        if self.heard * 1_000 >= NOISE_WINDOW_MS * u64::from(rate_hz) {
            (self.before, self.least, self.heard) = (self.least, u64::MAX, 0);
        }
    }

    /// Above this mean of squares is speech.
    fn threshold(&self) -> u64 {
        let floor = self.before.min(self.least).min(NOISE_LEVEL_MAX * NOISE_LEVEL_MAX);
        (floor * SPEECH_ABOVE_NOISE).max(SPEECH_LEVEL * SPEECH_LEVEL)
    }
}

impl Ear {
    /// An ear that takes a caller for silent after so long without speech.
    pub(super) fn new(quiet: Duration) -> Ear {
        Ear { quiet, loud: 0, rate_hz: 0, spoke_at: None, floor: Floor::UNKNOWN }
    }

    /// From now on with this much patience.
    pub(super) fn set_quiet(&mut self, quiet: Duration) {
        self.quiet = quiet;
    }

    /// Another piece of caller audio. Returns whether the caller speaks.
    pub(super) fn hear(&mut self, now: Nanos, rate_hz: u32, pcm: &[i16]) -> bool {
        let square = |&sample: &i16| u64::from(sample.unsigned_abs()).pow(2);
        let (energy, samples): (u64, _) = (pcm.iter().map(square).sum(), pcm.len() as u64);
        self.floor.hear(rate_hz, energy, samples);
        let is_loud = energy > self.floor.threshold() * samples;
        let paused = self.spoke_at.is_some_and(|spoke_at| now >= spoke_at.plus(self.quiet));
        self.rate_hz = rate_hz;
        if is_loud {
            self.loud = if paused && self.loud_ms() >= SPEECH_MIN_MS { 0 } else { self.loud };
            self.loud += samples;
        } else if self.loud_ms() < SPEECH_MIN_MS {
            self.loud = 0;
        }
        let speaks = is_loud && self.loud_ms() >= SPEECH_MIN_MS;
        if speaks {
            self.spoke_at = Some(now);
        }
        speaks
    }

    fn loud_ms(&self) -> u64 {
        self.loud * 1_000 / u64::from(self.rate_hz.max(1))
    }

    /// When speech was last heard.
    pub(super) fn spoke_at(&self) -> Option<Nanos> {
        self.spoke_at
    }

    /// Whether the caller speaks at this moment.
    pub(super) fn hears_speech(&self, now: Nanos) -> bool {
        self.spoke_at.is_some() && now < self.calm_at()
    }

    /// From when on the caller counts as silent.
    pub(super) fn calm_at(&self) -> Nanos {
        self.spoke_at.map_or(Nanos::ZERO, |spoke_at| spoke_at.plus(self.quiet))
    }

    /// How much was spoken lately, in milliseconds; none if that is longer ago than
    /// [`SPEECH_RECENT`].
    pub(super) fn spoken_ms(&self, now: Nanos) -> u64 {
        match self.spoke_at {
            Some(spoke_at) if now < spoke_at.plus(SPEECH_RECENT) => self.loud_ms(),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOUD: [i16; 160] = [4_000; 160];
    const QUIET: [i16; 160] = [40; 160];

    fn ear() -> Ear {
        Ear::new(Duration::from_millis(300))
    }

    fn hear(ear: &mut Ear, from_ms: u64, frames: u64, pcm: &[i16]) -> bool {
        (0..frames).fold(false, |_, n| ear.hear(Nanos::from_millis(from_ms + 20 * n), 8_000, pcm))
    }

    #[test]
    fn a_click_is_no_speech_and_a_word_is() {
        let mut ear = ear();
        assert!(!hear(&mut ear, 0, 2, &LOUD));
        assert!(!hear(&mut ear, 40, 1, &QUIET));
        assert!(!hear(&mut ear, 60, 2, &LOUD));
        assert_eq!(ear.spoken_ms(Nanos::from_millis(100)), 0);
        assert!(hear(&mut ear, 100, 1, &LOUD));
        assert_eq!(ear.calm_at(), Nanos::from_millis(400));
        assert_eq!(ear.spoken_ms(Nanos::from_millis(100)), 60);
    }

    #[test]
    fn a_breath_between_words_does_not_end_them_but_a_pause_does() {
        let mut ear = ear();
        hear(&mut ear, 0, 10, &LOUD);
        hear(&mut ear, 200, 10, &QUIET);
        hear(&mut ear, 400, 5, &LOUD);
        assert_eq!(ear.spoken_ms(Nanos::from_millis(500)), 300);
        hear(&mut ear, 500, 50, &QUIET);
        hear(&mut ear, 1_500, 5, &LOUD);
        assert_eq!(ear.spoken_ms(Nanos::from_millis(1_600)), 100);
        assert_eq!(ear.spoken_ms(Nanos::from_millis(9_000)), 0, "long ago");
    }

    #[test]
    fn an_empty_message_is_silence() {
        let mut ear = ear();
        assert!(!ear.hear(Nanos::ZERO, 8_000, &[]));
        assert_eq!(ear.calm_at(), Nanos::ZERO);
    }

    /// White noise of this level, 20 ms at 8 kHz.
    fn noise(random: &mut fastrand::Rng, rms: f64) -> Vec<i16> {
        // Twelve uniform numbers are nearly a normal one.
        let mut normal = || (0..12).map(|_| random.f64()).sum::<f64>() - 6.0;
        (0..160).map(|_| (normal() * rms) as i16).collect()
    }

    #[test]
    fn steady_noise_is_no_speech_whatever_its_level_and_speech_above_it_is() {
        for rms in [50.0, 200.0, 331.0, 500.0, 1_000.0, 2_000.0, 4_000.0] {
            let (mut ear, mut random) = (ear(), fastrand::Rng::with_seed(7));
            let mut last_spoke_ms = 0;
            for n in 0..1_000 {
                let frame = noise(&mut random, rms);
                if ear.hear(Nanos::from_millis(20 * n), 8_000, &frame) {
                    last_spoke_ms = 20 * n;
                }
            }
            assert!(last_spoke_ms < 2 * NOISE_WINDOW_MS, "{rms}: until {last_spoke_ms} ms");
            // Somebody three times as loud as the noise, and then the noise alone.
            let voice = noise(&mut random, rms.max(330.0) * 3.0);
            assert!(hear(&mut ear, 20_000, 10, &voice), "{rms}");
            assert!(ear.hears_speech(Nanos::from_millis(20_200)));
            let frame = noise(&mut random, rms);
            assert!(!hear(&mut ear, 20_200, 50, &frame), "{rms}");
            assert!(!ear.hears_speech(Nanos::from_millis(21_200)));
        }
    }

    #[test]
    fn noise_too_loud_to_be_any_counts_as_speech() {
        let (mut ear, mut random) = (ear(), fastrand::Rng::with_seed(7));
        for n in 0..1_000 {
            let frame = noise(&mut random, 20_000.0);
            let speaks = ear.hear(Nanos::from_millis(20 * n), 8_000, &frame);
            assert!(speaks || n < 3);
        }
    }

    #[test]
    fn a_talker_with_pauses_between_words_is_heard_however_long_he_talks() {
        let mut ear = ear();
        for word in 0..100 {
            assert!(hear(&mut ear, word * 600, 20, &LOUD), "word {word}");
            hear(&mut ear, word * 600 + 400, 10, &QUIET);
        }
    }

    #[test]
    fn pieces_of_one_sample_are_measured_together() {
        let (mut ear, mut random) = (ear(), fastrand::Rng::with_seed(3));
        let mut spoke = 0;
        for n in 0..400 {
            for sample in noise(&mut random, 1_500.0) {
                let speaks = ear.hear(Nanos::from_millis(20 * n), 8_000, &[sample]);
                spoke += u32::from(speaks && n > 200);
            }
        }
        // Single samples stand out; the level they are held against is that of whole frames.
        assert!(ear.floor.before > 1_000 * 1_000, "{:?}", ear.floor);
        assert!(spoke < 200 * 160 / 4, "{spoke}");
    }
}
