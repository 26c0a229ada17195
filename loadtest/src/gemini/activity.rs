//! Activity detection: when the model hears somebody speak over it, by level alone.
//!
//! In:       the caller's audio as it arrives.
//! Out:      that there has been speech for long enough.
//! Bounds:   pieces of [`PIECE_MS`]; what does not fill one waits for the rest.
//! Not here: what the session does about it (`gemini::session`).
//!
//! The service's own detector is a secret. This one is deaf to words and knows two figures: how
//! loud, and for how long without a pause. It does not fall for an echo below its level, and does
//! for one above it.

use serde::Deserialize;

/// The pieces that are loud or not, in milliseconds.
pub const PIECE_MS: u32 = 10;

/// What counts as speech; in a file `{ level_dbov = -28.0, speech_ms = 60 }`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sensitivity {
    /// Its level at least: root mean square of a piece over that of the largest square wave
    /// (ITU-T G.100.1).
    pub level_dbov: f64,
    /// For so long without a quieter piece, in milliseconds.
    pub speech_ms: u32,
}

/// A detector at work.
#[derive(Clone, Copy, Debug)]
pub struct Detector {
    sensitivity: Sensitivity,
    /// The piece that is being measured: sum of squares, samples.
    energy: f64,
    samples: u32,
    /// Loud pieces without a quiet one between.
    loud_ms: u32,
}

impl Detector {
    /// One that has heard nothing.
    pub fn new(sensitivity: Sensitivity) -> Detector {
        Detector { sensitivity, energy: 0.0, samples: 0, loud_ms: 0 }
    }

    /// Hears on. True once speech has lasted for long enough; then it begins anew.
    pub fn hear(&mut self, rate: u32, pcm: &[i16]) -> bool {
        let mut is_speech = false;
        for &sample in pcm {
            self.energy += f64::from(sample).powi(2);
            self.samples += 1;
            if self.samples * 1000 >= rate * PIECE_MS {
                is_speech |= self.end_piece();
            }
        }
        is_speech
    }

    /// Forgets what it has heard.
    pub fn forget(&mut self) {
        *self = Detector::new(self.sensitivity);
    }

    fn end_piece(&mut self) -> bool {
        let power = self.energy / f64::from(self.samples) / f64::from(i16::MAX).powi(2);
        let is_loud = 10.0 * power.log10() >= self.sensitivity.level_dbov;
        (self.energy, self.samples) = (0.0, 0);
        self.loud_ms = if is_loud { self.loud_ms + PIECE_MS } else { 0 };
        let is_speech = self.loud_ms >= self.sensitivity.speech_ms;
        if is_speech {
            self.loud_ms = 0;
        }
        is_speech
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Format;
    use crate::signal::{self, CallerVoice, ModelVoice};

    const SENSITIVITY: Sensitivity = Sensitivity { level_dbov: -28.0, speech_ms: 60 };

    /// How often it heard speech in audio at 16 kHz that comes in messages of 20 ms.
    fn count(pcm: &[i16]) -> usize {
        let mut detector = Detector::new(SENSITIVITY);
        pcm.chunks(320).filter(|message| detector.hear(16_000, message)).count()
    }

    #[test]
    fn every_caller_is_heard_and_the_model_15_db_quieter_is_not() {
        for index in 0..100 {
            let mut code = Vec::new();
            CallerVoice::new(1, index).speak_as(Format::PCMU, 0, 8_000, &mut code);
            assert!(count(&signal::uplink(Format::PCMU, &code, 16_000)) >= 5, "caller {index}");
            let mut pcm = vec![0; 24_000];
            ModelVoice::new(1, index, 0, 24_000).speak(0, &mut pcm);
            let heard = signal::downlink(&pcm, Format::L16_8K);
            let back = |loss_db: f64| {
                let gain = 10_f64.powf(-loss_db / 20.0);
                let echo = heard.iter().map(|&it| (f64::from(it) * gain) as i16).collect();
                let mut payload = Vec::new();
                Format::L16_8K.write(&signal::units(Format::L16_8K, echo), &mut payload);
                count(&signal::uplink(Format::L16_8K, &payload, 16_000))
            };
            assert_eq!((back(15.0), back(6.0) > 0), (0, true), "session {index}");
        }
    }

    #[test]
    fn speech_is_loud_for_long_enough_however_it_is_cut() {
        let level = |dbov: f64| (10_f64.powf(dbov / 20.0) * 32_767.0) as i16;
        let of = |spans: &[(i16, usize)]| -> Vec<i16> {
            spans.iter().flat_map(|&(sample, ms)| vec![sample; ms * 16]).collect()
        };
        let (loud, quiet) = (level(-27.9), level(-28.1));
        for (spans, speech) in [
            (vec![(loud, 60)], true),
            (vec![(loud, 50), (quiet, 10), (loud, 50)], false),
            (vec![(quiet, 500)], false),
            (vec![(0, 10), (loud, 60)], true),
        ] {
            let pcm = of(&spans);
            for cut in [1, 7, 160, 320, pcm.len()] {
                let mut detector = Detector::new(SENSITIVITY);
                let heard = pcm.chunks(cut).filter(|it| detector.hear(16_000, it)).count();
                assert_eq!(heard, usize::from(speech), "{spans:?} {cut}");
            }
        }
        let mut detector = Detector::new(SENSITIVITY);
        assert!(!detector.hear(8_000, &[loud; 400]));
        detector.forget();
        assert!(!detector.hear(8_000, &[loud; 400]));
    }
}
