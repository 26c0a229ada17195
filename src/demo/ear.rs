//! Hears when a caller begins and ends to speak, and keeps what they said.
//!
//! In:       8 kHz samples, in pieces of any length.
//! Out:      that speech has begun; later, all of it, and never silence.
//! Bounds:   [`SPEECH_MAX_MS`]; what is said beyond it is forgotten.
//! Not here: what the words mean. Loudness decides, against a noise floor that follows the line.

use std::collections::VecDeque;

/// One frame the decision is made for: 20 ms.
const FRAME_SAMPLES: usize = 160;
const FRAME_MS: usize = 20;
/// Loud frames in a row that are speech; a click is shorter.
const START_FRAMES: usize = 3;
/// The same while we are speaking, when some of what is heard may be our own echo.
const BARGE_IN_FRAMES: usize = 6;
/// Quiet frames in a row that end it: 700 ms, longer than a pause inside a sentence.
const END_FRAMES: usize = 35;
/// Of these, the ones kept: an ending fades.
const TAIL_FRAMES: usize = 10;
/// What was heard before speech was certain, and is kept: the soft first consonant.
const BEFORE_FRAMES: usize = 12;
/// The longest speech that is kept.
pub(super) const SPEECH_MAX_MS: usize = 30_000;
const SPEECH_MAX_SAMPLES: usize = SPEECH_MAX_MS / FRAME_MS * FRAME_SAMPLES;

/// A frame is loud when its effective value, of 32,768, is above this and above
/// [`LOUD_OVER_FLOOR`] times the noise floor.
const LOUD_MIN: f32 = 300.0;
const LOUD_OVER_FLOOR: f32 = 4.0;
/// Both, while we are speaking, times this.
const BARGE_IN_OVER_LOUD: f32 = 2.0;
/// How fast the floor rises in a frame: it doubles in 2.8 s of quiet, or in 14 s of anything, so
/// that a line on which it has become loud falls silent again for us.
const FLOOR_RISE_QUIET: f32 = 1.005;
const FLOOR_RISE_LOUD: f32 = 1.001;
const FLOOR_MIN: f32 = 10.0;

/// What was heard.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The caller has begun to speak.
    Began,
    /// The caller has said this: 8 kHz samples.
    Ended(Vec<i16>),
}

/// The ear of one session.
#[derive(Debug)]
pub(super) struct Ear {
    /// A frame that is not whole yet.
    frame: Vec<i16>,
    /// The last frames before speech, for the beginning of it.
    before: VecDeque<i16>,
    /// The effective value of the line's noise.
    floor: f32,
    /// Frames in a row that speak against the present state: loud ones in silence, quiet ones in
    /// speech.
    against: usize,
    /// What is being said; `None` in silence.
    speech: Option<Vec<i16>>,
}

impl Ear {
    pub(super) fn new() -> Ear {
        Ear {
            frame: Vec::with_capacity(FRAME_SAMPLES),
            before: VecDeque::new(),
            floor: 4.0 * FLOOR_MIN,
            against: 0,
            speech: None,
        }
    }

    /// Takes in samples and calls `heard` with what they bring. `speaking`: whether we are.
    pub(super) fn listen(&mut self, pcm: &[i16], speaking: bool, mut heard: impl FnMut(Heard)) {
        for &sample in pcm {
            self.frame.push(sample);
            if self.frame.len() == FRAME_SAMPLES {
                if let Some(event) = self.judge(speaking) {
                    heard(event);
                }
                self.frame.clear();
            }
        }
    }

    /// No more audio for a while: what has been said so far is all there is.
    pub(super) fn end(&mut self) -> Option<Heard> {
        self.frame.clear();
        self.against = 0;
        self.speech.take().map(Heard::Ended)
    }

    fn judge(&mut self, speaking: bool) -> Option<Heard> {
        let level = effective_value(&self.frame);
        let louder = if speaking { BARGE_IN_OVER_LOUD } else { 1.0 };
        let is_loud = level > louder * LOUD_MIN.max(LOUD_OVER_FLOOR * self.floor);
        let rise = if is_loud { FLOOR_RISE_LOUD } else { FLOOR_RISE_QUIET };
        self.floor = level.min(self.floor * rise).max(FLOOR_MIN);
        match self.speech.is_some() {
            true => self.judge_speech(is_loud),
            false => self.judge_silence(is_loud, speaking),
        }
    }

    fn judge_silence(&mut self, is_loud: bool, speaking: bool) -> Option<Heard> {
        self.against = if is_loud { self.against + 1 } else { 0 };
        self.before.extend(&self.frame);
        let surplus = self.before.len().saturating_sub(BEFORE_FRAMES * FRAME_SAMPLES);
        self.before.drain(..surplus);
        let needed = if speaking { BARGE_IN_FRAMES } else { START_FRAMES };
        if self.against < needed {
            return None;
        }
        self.against = 0;
        self.speech = Some(self.before.drain(..).collect());
        Some(Heard::Began)
    }

    fn judge_speech(&mut self, is_loud: bool) -> Option<Heard> {
        self.against = if is_loud { 0 } else { self.against + 1 };
        let speech = self.speech.as_mut()?;
        // Of the pause that may be the end, only so much is kept until it is known not to be.
        let room = SPEECH_MAX_SAMPLES - speech.len();
        speech.extend(&self.frame[..room.min(FRAME_SAMPLES)]);
        if self.against < END_FRAMES {
            return None;
        }
        self.against = 0;
        let mut speech = self.speech.take()?;
        if speech.len() < SPEECH_MAX_SAMPLES {
            speech.truncate(speech.len() - (END_FRAMES - TAIL_FRAMES) * FRAME_SAMPLES);
        }
        Some(Heard::Ended(speech))
    }
}

/// The effective value around the mean: a microphone's constant offset is no sound.
fn effective_value(frame: &[i16]) -> f32 {
    let count = frame.len() as f32;
    let mean = frame.iter().map(|&sample| f32::from(sample)).sum::<f32>() / count;
    let squares = frame.iter().map(|&sample| (f32::from(sample) - mean).powi(2));
    (squares.sum::<f32>() / count).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(ms: usize, amplitude: f32) -> Vec<i16> {
        let wave = |n| amplitude * (n as f32 * 0.35).sin();
        (0..ms * 8).map(|n| wave(n) as i16).collect()
    }

    fn noise(ms: usize, amplitude: i16) -> Vec<i16> {
        let mut rng = fastrand::Rng::with_seed(7);
        (0..ms * 8).map(|_| rng.i16(-amplitude..=amplitude)).collect()
    }

    fn hear(ear: &mut Ear, pcm: &[i16], speaking: bool) -> Vec<Heard> {
        let mut all = Vec::new();
        ear.listen(pcm, speaking, |heard| all.push(heard));
        all
    }

    #[test]
    fn a_sentence_between_silences_is_heard_once_and_whole() {
        let sentence = tone(1500, 4000.0);
        let pcm = [vec![0; 8000], sentence.clone(), vec![0; 8000]].concat();
        let heard = hear(&mut Ear::new(), &pcm, false);
        let [Heard::Began, Heard::Ended(speech)] = &heard[..] else { panic!("{heard:?}") };
        let start = speech.windows(100).position(|window| *window == sentence[..100]);
        let start = start.expect("its beginning is there");
        assert_eq!(speech[start..start + sentence.len()], sentence);
        let around_ms = (speech.len() - sentence.len()) / 8;
        assert!((200..=460).contains(&around_ms), "{around_ms} ms of silence around it");
    }

    #[test]
    fn pieces_of_any_length_are_heard_alike() {
        let pcm = [vec![0; 3000], tone(700, 3000.0), vec![0; 7000]].concat();
        let whole = hear(&mut Ear::new(), &pcm, false);
        for piece in [1, 7, 80, 160, 801] {
            let mut ear = Ear::new();
            let pieces = pcm.chunks(piece).flat_map(|piece| hear(&mut ear, piece, false));
            assert_eq!(pieces.collect::<Vec<_>>(), whole, "{piece}");
        }
    }

    #[test]
    fn silence_noise_clicks_and_a_constant_offset_are_no_speech() {
        let click = [vec![0; 1600], tone(40, 20_000.0), vec![0; 1600]].concat();
        for pcm in [vec![0; 80_000], vec![5000; 80_000], noise(10_000, 250), click.repeat(20)] {
            assert_eq!(hear(&mut Ear::new(), &pcm, false), []);
        }
    }

    #[test]
    fn a_pause_inside_a_sentence_does_not_end_it() {
        let part = tone(400, 4000.0);
        let pcm = [vec![0; 1600], part.clone(), vec![0; 8 * 600], part, vec![0; 8000]].concat();
        let heard = hear(&mut Ear::new(), &pcm, false);
        assert!(matches!(heard[..], [Heard::Began, Heard::Ended(_)]), "{heard:?}");
    }

    #[test]
    fn a_line_that_becomes_noisy_falls_silent_again() {
        let mut ear = Ear::new();
        hear(&mut ear, &noise(120_000, 2500), false);
        assert_eq!(hear(&mut ear, &noise(60_000, 2500), false), []);
        let pcm = [tone(1000, 20_000.0), noise(2000, 2500)].concat();
        let heard = hear(&mut ear, &pcm, false);
        assert!(matches!(heard[..], [Heard::Began, Heard::Ended(_)]), "still hears a voice");
    }

    #[test]
    fn speech_without_end_is_kept_to_the_bound() {
        let pcm = [tone(45_000, 8000.0), vec![0; 8000]].concat();
        let heard = hear(&mut Ear::new(), &pcm, false);
        let [Heard::Began, Heard::Ended(speech)] = &heard[..] else { panic!("{heard:?}") };
        assert_eq!(speech.len(), SPEECH_MAX_SAMPLES);
    }

    #[test]
    fn an_echo_of_our_own_voice_is_not_taken_for_the_caller() {
        let echo = tone(2000, 700.0);
        assert_eq!(hear(&mut Ear::new(), &echo, true), []);
        assert_eq!(hear(&mut Ear::new(), &echo, false), [Heard::Began]);
        assert_eq!(hear(&mut Ear::new(), &tone(2000, 4000.0), true), [Heard::Began]);
    }

    #[test]
    fn a_stream_that_ends_ends_the_sentence() {
        let mut ear = Ear::new();
        assert_eq!(ear.end(), None);
        hear(&mut ear, &tone(500, 4000.0), false);
        assert_eq!(ear.end(), Some(Heard::Ended(tone(500, 4000.0))));
        assert_eq!(ear.end(), None);
    }
}
