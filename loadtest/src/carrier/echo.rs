//! A line that returns what the caller hears, later and quieter, into what the caller says.
//!
//! In:       what the phone plays and when it begins to; `clear`; each frame before it is sent.
//! Out:      the frame with the echo in it.
//! Bounds:   what is queued at the phone and has not come back yet is kept, no more.
//! Not here: when audio plays (`carrier::playout`), what a plan says of the line (`schedule`).
//!
//! The echo path is a delay and a loss, both the same for all frequencies: an attenuated copy is
//! what a detector of speech must not fall for. Nothing cancels it, and what returns is not played
//! again. Where the two directions have different rates, each sample returned is the one that
//! played at its time.

use std::collections::VecDeque;

use crate::clock::{MILLIS, Nanos, SECONDS};
use crate::format::Format;
use crate::schedule::LineEcho;
use crate::signal;

/// The way back of one stream.
pub struct EchoPath {
    delay: Nanos,
    gain: f64,
    /// What is played.
    down: Format,
    /// Every sample that plays and may still come back, without a gap.
    line: VecDeque<i16>,
    /// When the first of them plays, in samples.
    from: u64,
}

impl EchoPath {
    /// A line on which nothing has been heard, and what is heard has this format.
    pub fn new(echo: LineEcho, down: Format) -> EchoPath {
        let gain = 10_f64.powf(-echo.loss_db / 20.0);
        EchoPath { delay: echo.delay_ms * MILLIS, gain, down, line: VecDeque::new(), from: 0 }
    }

    /// A payload begins to play at `at`; a payload before it has been played by then.
    pub fn play(&mut self, at: Nanos, payload: &[u8]) {
        let at = self.sample(at);
        if self.line.is_empty() {
            self.from = at;
        }
        // The line is silent between two pieces. Times are cut to whole samples: one more or less.
        let silent = at.saturating_sub(self.from + self.line.len() as u64);
        self.line.extend(std::iter::repeat_n(0, silent as usize));
        self.line.extend(signal::linear(self.down, payload));
    }

    /// What has not been played by now never will.
    pub fn clear(&mut self, now: Nanos) {
        let played = self.sample(now).saturating_sub(self.from);
        self.line.truncate(played as usize);
    }

    /// A payload that is said from `at` on, with what comes back at that time. Frames come in the
    /// order of their time.
    pub fn mix(&mut self, at: Nanos, format: Format, payload: &[u8]) -> Vec<u8> {
        let mut pcm = signal::linear(format, payload);
        let (up, down) = (u64::from(format.rate), u64::from(self.down.rate));
        if let Some(played) = at.checked_sub(self.delay) {
            let first = self.sample(played);
            for (k, sample) in (0..).zip(&mut pcm) {
                let place = (first + k * down / up).checked_sub(self.from);
                let back = place.and_then(|place| self.line.get(place as usize)).copied();
                let back = (f64::from(back.unwrap_or(0)) * self.gain).round() as i16;
                *sample = sample.saturating_add(back);
            }
            self.forget(first + pcm.len() as u64 * down / up);
        }
        let mut mixed = Vec::with_capacity(payload.len());
        format.write(&signal::units(format, pcm), &mut mixed);
        mixed
    }

    /// What played before this sample has come back.
    fn forget(&mut self, before: u64) {
        let gone = before.saturating_sub(self.from).min(self.line.len() as u64);
        self.line.drain(..gone as usize);
        self.from += gone;
    }

    fn sample(&self, at: Nanos) -> u64 {
        at * u64::from(self.down.rate) / SECONDS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Nanos = 20 * MILLIS;

    fn frame(sample: i16, format: Format) -> Vec<u8> {
        let mut payload = Vec::new();
        let pcm = vec![sample; format.frame_samples()];
        format.write(&signal::units(format, pcm), &mut payload);
        payload
    }

    /// The first sample of each of so many frames that say `said`.
    fn returned(path: &mut EchoPath, up: Format, said: i16, frames: u64) -> Vec<i16> {
        let mut first = |n| {
            let mixed = path.mix(n * FRAME, up, &frame(said, up));
            assert_eq!(mixed.len(), up.frame_bytes());
            signal::linear(up, &mixed)[0]
        };
        (0..frames).map(&mut first).collect()
    }

    #[test]
    fn what_is_heard_comes_back_after_the_delay_a_tenth_as_loud_at_20_db() {
        for (up, down) in [
            (Format::L16_8K, Format::L16_8K),
            (Format::L16_16K, Format::L16_24K),
            (Format::L16_8K, Format::L16_16K),
            (Format::L16_16K, Format::L16_8K),
        ] {
            let mut path = EchoPath::new(LineEcho { delay_ms: 60, loss_db: 20.0 }, down);
            path.play(2 * FRAME, &frame(5000, down));
            path.play(4 * FRAME, &frame(-3000, down));
            let heard = returned(&mut path, up, 100, 9);
            assert_eq!(heard, [100, 100, 100, 100, 100, 600, 100, -200, 100], "{up} {down}");
            assert!(path.line.is_empty());
        }
    }

    #[test]
    fn what_was_cleared_does_not_come_back() {
        let format = Format::L16_8K;
        let mut path = EchoPath::new(LineEcho { delay_ms: 40, loss_db: 0.0 }, format);
        path.play(0, &frame(1000, format));
        path.play(FRAME, &frame(2000, format));
        path.play(2 * FRAME, &frame(3000, format));
        path.clear(FRAME);
        path.play(3 * FRAME, &frame(4000, format));
        assert_eq!(returned(&mut path, format, 0, 7), [0, 0, 1000, 0, 0, 4000, 0]);
    }

    #[test]
    fn a_coding_is_left_and_entered_again_and_a_sum_is_clipped() {
        for format in [Format::PCMU, Format::PCMA] {
            let mut path = EchoPath::new(LineEcho { delay_ms: 0, loss_db: 0.0 }, format);
            let said = frame(-1000, format);
            assert_eq!(path.mix(0, format, &said), said, "{format}: nothing has been heard");
            path.play(FRAME, &frame(32_000, format));
            let louder = signal::linear(format, &path.mix(FRAME, format, &frame(9000, format)));
            assert!(louder[0] > 31_000, "{format}: {}", louder[0]);
        }
    }

    #[test]
    fn a_line_keeps_no_more_than_may_still_come_back() {
        let format = Format::PCMU;
        let mut path = EchoPath::new(LineEcho { delay_ms: 120, loss_db: 15.0 }, format);
        for n in 0..500 {
            path.play(n * FRAME, &frame(700, format));
            path.mix(n * FRAME, format, &frame(0, format));
            assert!(path.line.len() <= 8 * 160, "{}", path.line.len());
        }
    }
}
