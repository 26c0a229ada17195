//! When every frame of a call is planned.
//!
//! In:       what a caller says, and when it pauses.
//! Out:      absolute times, fixed before anything is sent, so that a slow relay cannot slow the
//!           load down and hide its own latency (an open-loop schedule).
//! Bounds:   a call ends with its plan; times are exact to the nanosecond.
//! Not here: the arrival of calls (`load`), sending (`carrier::phone`), the audio (`signal`), the
//!           echo of a line (`carrier::echo`).
//!
//! The media clock of a call begins at 0 with the first sample. A frame is planned for the moment
//! its last sample has been spoken; a burst holds frames back and plans them together.

use serde::Deserialize;

use crate::clock::{MILLIS, Nanos};
use crate::signal::Pauses;

/// The grid of both peers' schedules. Calls are spread evenly over it, and what falls on the same
/// point is sent in one go, so that a peer wakes once a point and not once a frame. Plans lie on
/// the grid: none of it makes a frame late.
pub const TICK: Nanos = MILLIS;

/// The first point of the grid that is not before `at`.
pub fn on_grid(at: Nanos) -> Nanos {
    at.next_multiple_of(TICK)
}

/// Ticks in a millisecond: the unit of every plan, one sample at 8 kHz, one byte of mu-law.
pub const TICKS_PER_MS: u64 = 8;

/// How long a tick lasts.
pub const NANOS_PER_TICK: Nanos = 125_000;

/// The smallest and largest frame Twilio-like peers were seen to send, in bytes of mu-law.
pub const FRAME_BYTES: std::ops::RangeInclusive<usize> = 1..=999;

/// The place of call `index` within the 20 ms of a frame, on the grid. Calls whose arrivals are a
/// multiple of 20 ms apart would otherwise all send in the same instant.
pub fn phase(index: usize) -> Nanos {
    // Steps of the golden section fill the interval evenly for any number of calls.
    let turn = (index as f64 * 0.618_033_988_749_895).fract();
    (turn * (20 * MILLIS) as f64) as Nanos / TICK * TICK
}

/// A hole in the caller's audio: nothing is sent, and `timestamp` jumps over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// Where on the media clock, in milliseconds.
    pub at_ms: u64,
    /// How long, in milliseconds.
    pub len_ms: u64,
}

/// Frames held back and sent together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bursts {
    /// From one pause to the next, in milliseconds.
    pub every_ms: u64,
    /// How long frames are held back; 233 ms was seen on real calls.
    pub pause_ms: u64,
}

/// A line that returns what is heard on it: the hybrid at its end, or a loudspeaker next to the
/// microphone, without anybody to cancel it. ITU-T G.131 names both figures.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineEcho {
    /// From being played to coming back, in milliseconds; up to [`ECHO_DELAY_MS_MAX`].
    pub delay_ms: u64,
    /// The echo loss: so much quieter it comes back, in dB.
    pub loss_db: f64,
}

/// The longest way round a line has: two satellites.
pub const ECHO_DELAY_MS_MAX: u64 = 1000;

/// What one caller sends.
#[derive(Clone, Debug)]
pub struct MediaPlan {
    /// How much is spoken, holes not counted, in milliseconds.
    pub spoken_ms: u64,
    /// The lengths of frames in ticks, in turn, each within [`FRAME_BYTES`]: as mu-law, bytes.
    pub frame_bytes: Vec<usize>,
    /// Frames held back, if any.
    pub bursts: Option<Bursts>,
    /// Holes, in order of time, not overlapping: lost audio and suppressed silence look alike.
    pub holes: Vec<Hole>,
    /// The `timestamp` of the first frame; real streams do not begin at 0.
    pub first_timestamp_ms: u64,
    /// When the caller is quiet. Pauses are sent like speech.
    pub pauses: Pauses,
    /// Keys pressed: when on the media clock, in milliseconds, and which.
    pub keys: Vec<(u64, char)>,
    /// Of every so many frames the last leaves behind the one after it, where the carrier does not
    /// promise their order; 0: none does.
    pub disorder: u64,
    /// Times in which nothing is read: when on the media clock and for how long, in milliseconds,
    /// in order.
    pub reads_nothing: Vec<(u64, u64)>,
    /// What is heard comes back into what is said, if it does.
    pub echo: Option<LineEcho>,
}

impl MediaPlan {
    /// 20 ms frames without pause or hole, for so long.
    pub fn steady(spoken_ms: u64) -> MediaPlan {
        MediaPlan {
            spoken_ms,
            frame_bytes: vec![160],
            bursts: None,
            holes: Vec::new(),
            first_timestamp_ms: 62,
            pauses: Pauses::default(),
            keys: Vec::new(),
            disorder: 0,
            reads_nothing: Vec::new(),
            echo: None,
        }
    }

    /// Silence suppression: after every `speech_ms` of speech `silence_ms` are not sent.
    pub fn suppress_silence(mut self, speech_ms: u64, silence_ms: u64) -> MediaPlan {
        let times = self.spoken_ms.saturating_sub(1) / speech_ms;
        self.holes = (1..=times)
            .map(|k| Hole { at_ms: k * speech_ms + (k - 1) * silence_ms, len_ms: silence_ms })
            .collect();
        self
    }

    /// The frames, in order.
    pub fn frames(&self) -> Frames<'_> {
        assert!(self.frame_bytes.iter().all(|len| FRAME_BYTES.contains(len)));
        Frames { plan: self, next: 0, spoken: 0, clock: 0, hole: 0 }
    }
}

/// One frame of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedFrame {
    /// When it leaves, from the start of the media clock.
    pub at: Nanos,
    /// The first tick, counted over everything spoken.
    pub spoken_from: u64,
    /// Its length in ticks.
    pub ticks: usize,
    /// The first tick, counted on the media clock, holes included.
    pub clock_from: u64,
    /// Its `timestamp`.
    pub timestamp_ms: u64,
}

impl PlannedFrame {
    /// The end of the frame on the media clock, in ticks.
    pub fn clock_to(&self) -> u64 {
        self.clock_from + self.ticks as u64
    }
}

/// The frames of a plan, in order.
#[derive(Clone, Debug)]
pub struct Frames<'p> {
    plan: &'p MediaPlan,
    next: usize,
    spoken: u64,
    clock: u64,
    hole: usize,
}

impl Iterator for Frames<'_> {
    type Item = PlannedFrame;

    fn next(&mut self) -> Option<PlannedFrame> {
        let end = self.plan.spoken_ms * TICKS_PER_MS;
        if self.spoken >= end {
            return None;
        }
        let hole = self.plan.holes.get(self.hole);
        if let Some(hole) = hole.filter(|hole| hole.at_ms * TICKS_PER_MS <= self.clock) {
            self.clock += hole.len_ms * TICKS_PER_MS;
            self.hole += 1;
            return self.next();
        }
        let wanted = self.plan.frame_bytes[self.next % self.plan.frame_bytes.len()] as u64;
        // A frame ends at a hole, and with the plan.
        let to_hole = hole.map_or(u64::MAX, |hole| hole.at_ms * TICKS_PER_MS - self.clock);
        let len = wanted.min(end - self.spoken).min(to_hole);
        let frame = PlannedFrame {
            at: self.plan.held_until((self.clock + len) * NANOS_PER_TICK),
            spoken_from: self.spoken,
            ticks: len as usize,
            clock_from: self.clock,
            timestamp_ms: self.plan.first_timestamp_ms + self.clock / TICKS_PER_MS,
        };
        self.next += 1;
        self.spoken += len;
        self.clock += len;
        Some(frame)
    }
}

impl MediaPlan {
    /// When what was spoken at `at` may leave: at once, or at the end of the pause it falls in.
    fn held_until(&self, at: Nanos) -> Nanos {
        let Some(bursts) = self.bursts else { return at };
        let (every, pause) = (bursts.every_ms * MILLIS, bursts.pause_ms * MILLIS);
        let within = at % every;
        // Each period ends with its pause.
        if within > every - pause { at - within + every } else { at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steady_frames_leave_every_20_ms_once_spoken() {
        let plan = MediaPlan::steady(100);
        let frames: Vec<_> = plan.frames().collect();
        assert_eq!(frames.len(), 5);
        for (k, frame) in frames.iter().enumerate() {
            assert_eq!(frame.at, (k as u64 + 1) * 20 * MILLIS);
            assert_eq!(frame.timestamp_ms, 62 + 20 * k as u64);
            assert_eq!(frame.spoken_from, 160 * k as u64);
        }
    }

    #[test]
    fn no_frame_crosses_a_hole_and_the_timestamp_jumps_over_it() {
        let mut plan = MediaPlan::steady(100);
        plan.holes = vec![Hole { at_ms: 50, len_ms: 300 }];
        let frames: Vec<_> = plan.frames().collect();
        assert_eq!(frames[2].ticks, 80);
        assert_eq!(frames[3].timestamp_ms, 62 + 350);
        assert_eq!(frames[3].clock_from, 350 * 8);
        assert_eq!(frames[3].at, 370 * MILLIS);
        let spoken: usize = frames.iter().map(|frame| frame.ticks).sum();
        assert_eq!(spoken, 800);
    }

    #[test]
    fn a_burst_sends_what_was_held_back_in_one_instant() {
        let mut plan = MediaPlan::steady(2000);
        plan.bursts = Some(Bursts { every_ms: 1000, pause_ms: 233 });
        let frames: Vec<_> = plan.frames().collect();
        let together = frames.iter().filter(|frame| frame.at == 1000 * MILLIS).count();
        // Ends of frames at 780, 800 .. 1000 ms.
        assert_eq!(together, 12);
        assert!(frames.is_sorted_by_key(|frame| frame.at));
    }

    #[test]
    fn suppressed_silence_leaves_all_speech_in_place() {
        let plan = MediaPlan::steady(2500).suppress_silence(1000, 400);
        assert_eq!(plan.holes.len(), 2);
        assert_eq!(plan.holes[1], Hole { at_ms: 2400, len_ms: 400 });
        let last = plan.frames().last().unwrap();
        assert_eq!(last.clock_to(), (2500 + 800) * 8);
        assert_eq!(last.spoken_from + last.ticks as u64, 2500 * 8);
    }

    #[test]
    fn odd_frame_sizes_add_up_to_the_whole() {
        let mut plan = MediaPlan::steady(1000);
        plan.frame_bytes = vec![1, 999, 320, 160];
        let frames: Vec<_> = plan.frames().collect();
        assert_eq!(frames.iter().map(|frame| frame.ticks).sum::<usize>(), 8000);
    }

    #[test]
    fn calls_fill_the_frame_interval_evenly_and_lie_on_the_grid() {
        let mut calls_at = [0; 20];
        for at in (0..100).map(phase) {
            assert_eq!(at, on_grid(at));
            calls_at[(at / TICK) as usize] += 1;
        }
        assert!(calls_at.iter().all(|calls| (4..=6).contains(calls)), "{calls_at:?}");
    }
}
