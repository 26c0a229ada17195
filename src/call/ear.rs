//! When the caller speaks, by level alone: not to be right about every word, but to know when it
//! is quiet, and when a model that does not answer has been spoken to.
//!
//! In:       caller audio as it arrives, decoded.
//! Out:      since when it has been quiet, how long the last words were.
//! Bounds:   [`SPEECH_LEVEL`], [`SPEECH_MIN_MS`]: less is noise.
//! Not here: what the model's own detector hears, which alone decides about barge-in.

use crate::clock::Nanos;
use crate::limits::{SAFE_SILENCE, SPEECH_LEVEL, SPEECH_MIN_MS, SPEECH_RECENT};

/// What is known of the caller's voice.
#[derive(Debug, Default)]
pub(super) struct Ear {
    /// Loud audio without a pause, in samples; the rate it has.
    loud: u64,
    rate_hz: u32,
    /// When speech was last heard.
    spoke_at: Option<Nanos>,
}

impl Ear {
    /// Another piece of caller audio. Returns whether the caller speaks.
    pub(super) fn hear(&mut self, now: Nanos, rate_hz: u32, pcm: &[i16]) -> bool {
        let energy: i64 = pcm.iter().map(|&sample| i64::from(sample) * i64::from(sample)).sum();
        let is_loud = energy > SPEECH_LEVEL * SPEECH_LEVEL * pcm.len() as i64;
        let paused = self.spoke_at.is_some_and(|spoke_at| now >= spoke_at.plus(SAFE_SILENCE));
        self.rate_hz = rate_hz;
        if is_loud {
            self.loud = if paused && self.loud_ms() >= SPEECH_MIN_MS { 0 } else { self.loud };
            self.loud += pcm.len() as u64;
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

    /// From when on the caller counts as silent.
    pub(super) fn calm_at(&self) -> Nanos {
        self.spoke_at.map_or(Nanos::ZERO, |spoke_at| spoke_at.plus(SAFE_SILENCE))
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

    fn hear(ear: &mut Ear, from_ms: u64, frames: u64, pcm: &[i16]) -> bool {
        (0..frames).fold(false, |_, n| ear.hear(Nanos::from_millis(from_ms + 20 * n), 8_000, pcm))
    }

    #[test]
    fn a_click_is_no_speech_and_a_word_is() {
        let mut ear = Ear::default();
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
        let mut ear = Ear::default();
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
        let mut ear = Ear::default();
        assert!(!ear.hear(Nanos::ZERO, 8_000, &[]));
        assert_eq!(ear.calm_at(), Nanos::ZERO);
    }
}
