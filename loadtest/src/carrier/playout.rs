//! The playout clock of the phone: what would be audible when, and when marks come back.
//!
//! In:       audio, marks and `clear` with the time they arrived. Time is the caller's.
//! Out:      marks that have been reached; underruns, leftovers, audio beyond the cap.
//! Bounds:   [`QUEUE_NANOS_MAX`] of audio or the carrier's room, what comes beyond it is discarded and counted;
//!           [`MARKS_MAX`] marks, further ones are returned at once.
//! Not here: the audio itself; messages (`carrier::dialect`).
//!
//! The queue plays without pause from the moment it is not empty, so one instant describes it:
//! when it will have been played out. A mark is due at that instant as of its arrival.

use std::collections::VecDeque;

use crate::clock::{MILLIS, Nanos, SECONDS};

/// Ten minutes of audio may wait; Twilio discards the rest with warning 31931. Carriers of whom
/// nothing is known are taken to have as much room.
pub const QUEUE_NANOS_MAX: Nanos = 600 * SECONDS;

/// Marks that may wait to be reached.
pub const MARKS_MAX: usize = 65_536;

/// A queue that ran dry and was filled again this soon was an underrun within speech; a longer
/// pause is a pause.
pub const UNDERRUN_NANOS_MAX: Nanos = 500 * MILLIS;

/// The playout side of one phone.
#[derive(Debug)]
pub struct Playout {
    /// Samples in a second.
    rate: u64,
    /// How much may wait.
    queue_max: Nanos,
    /// When the queue will have been played out; in the past while it is empty.
    dry_at: Nanos,
    /// Marks with the time they are reached, in order.
    marks: VecDeque<(Nanos, Reached)>,
    played_any: bool,
    counts: PlayoutCounts,
}

/// A mark that is to be returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Its name.
    pub name: String,
    /// Thrown away with what was queued, not reached by playing.
    pub cleared: bool,
}

/// What the playout clock has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlayoutCounts {
    /// Samples accepted for playing.
    pub samples: u64,
    /// Samples discarded by `clear`.
    pub cleared_samples: u64,
    /// Samples discarded because there was no more room.
    pub beyond_cap_samples: u64,
    /// Times the queue ran dry within speech.
    pub underruns: u64,
    /// How long those pauses were, together.
    pub underrun_nanos: Nanos,
    /// The most audio that ever waited, as a time.
    pub queue_nanos_max: Nanos,
}

impl Playout {
    /// A clock that plays `rate` samples in a second, with room for ten minutes.
    pub fn new(rate: u32) -> Playout {
        Playout::with_room(rate, QUEUE_NANOS_MAX)
    }

    /// The same with room for `queue_max`.
    pub fn with_room(rate: u32, queue_max: Nanos) -> Playout {
        Playout {
            rate: u64::from(rate.max(1)),
            queue_max,
            dry_at: 0,
            marks: VecDeque::new(),
            played_any: false,
            counts: PlayoutCounts::default(),
        }
    }

    /// Takes so many samples; returns how many were accepted.
    pub fn push(&mut self, now: Nanos, samples: usize) -> usize {
        let waiting = self.dry_at.saturating_sub(now);
        let room = (self.queue_max.saturating_sub(waiting) * self.rate / SECONDS) as usize;
        let taken = samples.min(room);
        self.counts.beyond_cap_samples += (samples - taken) as u64;
        if taken == 0 {
            return 0;
        }
        let pause = now.saturating_sub(self.dry_at);
        if self.played_any && pause > 0 && pause <= UNDERRUN_NANOS_MAX {
            self.counts.underruns += 1;
            self.counts.underrun_nanos += pause;
        }
        self.dry_at = self.dry_at.max(now) + taken as Nanos * SECONDS / self.rate;
        self.played_any = true;
        self.counts.samples += taken as u64;
        self.counts.queue_nanos_max = self.counts.queue_nanos_max.max(self.dry_at - now);
        taken
    }

    /// Takes a mark. It comes back from [`Playout::pop_reached`], at once if nothing is queued.
    pub fn mark(&mut self, now: Nanos, name: String) {
        let due = if self.marks.len() < MARKS_MAX { self.dry_at.max(now) } else { now };
        self.marks.push_back((due, Reached { name, cleared: false }));
    }

    /// Drops what is queued and makes every waiting mark due. Returns the samples not played.
    pub fn clear(&mut self, now: Nanos) -> u64 {
        let left = self.queued_samples(now);
        self.counts.cleared_samples += left;
        self.dry_at = self.dry_at.min(now);
        // What follows a flush is new speech, not the end of a hole.
        self.played_any = false;
        self.clear_marks(now);
        left
    }

    /// Makes every waiting mark due, as one that was not reached.
    pub fn clear_marks(&mut self, now: Nanos) {
        for (due, mark) in &mut self.marks {
            if *due > now {
                *due = now;
                mark.cleared = true;
            }
        }
    }

    /// Forgets every waiting mark.
    pub fn drop_marks(&mut self) {
        self.marks.clear();
    }

    /// The next mark that has been reached by `now`.
    pub fn pop_reached(&mut self, now: Nanos) -> Option<Reached> {
        let &(due, _) = self.marks.front()?;
        if due > now {
            return None;
        }
        self.marks.pop_front().map(|(_, mark)| mark)
    }

    /// When the next mark will be reached.
    pub fn next_mark_at(&self) -> Option<Nanos> {
        self.marks.front().map(|&(due, _)| due)
    }

    /// When everything queued will have been played.
    pub fn dry_at(&self) -> Nanos {
        self.dry_at
    }

    /// Samples not played yet. One that has begun to play is played.
    pub fn queued_samples(&self, now: Nanos) -> u64 {
        self.dry_at.saturating_sub(now) * self.rate / SECONDS
    }

    /// What has been counted.
    pub fn counts(&self) -> PlayoutCounts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NANOS_PER_SAMPLE: Nanos = 125_000;

    fn played(name: &str) -> Option<Reached> {
        Some(Reached { name: name.into(), cleared: false })
    }

    #[test]
    fn a_mark_comes_back_when_the_audio_before_it_has_been_played() {
        let mut playout = Playout::new(8_000);
        playout.push(1000, 160);
        playout.mark(1000, "a".into());
        playout.push(1000, 160);
        playout.mark(2000, "b".into());
        let frame = 160 * NANOS_PER_SAMPLE;
        assert_eq!(playout.next_mark_at(), Some(1000 + frame));
        assert_eq!(playout.pop_reached(999 + frame), None);
        assert_eq!(playout.pop_reached(1000 + frame), played("a"));
        assert_eq!(playout.pop_reached(1000 + frame), None);
        assert_eq!(playout.pop_reached(1000 + 2 * frame), played("b"));
    }

    #[test]
    fn a_mark_on_an_idle_line_comes_back_at_once() {
        let mut playout = Playout::new(8_000);
        playout.mark(77, "idle".into());
        assert_eq!(playout.pop_reached(77), played("idle"));
        playout.push(100, 8);
        let after = 100 + 8 * NANOS_PER_SAMPLE;
        playout.mark(after, "played out".into());
        assert_eq!(playout.pop_reached(after), played("played out"));
    }

    #[test]
    fn clear_returns_every_mark_and_counts_what_was_not_heard() {
        let mut playout = Playout::new(8_000);
        playout.push(0, 800);
        playout.mark(0, "a".into());
        playout.push(0, 800);
        playout.mark(0, "b".into());
        let now = 100 * NANOS_PER_SAMPLE;
        assert_eq!(playout.clear(now), 1500);
        for name in ["a", "b"] {
            let thrown = Reached { name: name.into(), cleared: true };
            assert_eq!(playout.pop_reached(now), Some(thrown));
        }
        assert_eq!(playout.queued_samples(now), 0);
        assert_eq!(playout.counts().cleared_samples, 1500);
        assert_eq!(playout.clear(now), 0);
    }

    #[test]
    fn an_underrun_is_a_short_pause_within_speech_and_not_the_pause_between_two_answers() {
        let mut playout = Playout::new(8_000);
        playout.push(0, 160);
        playout.push(25 * MILLIS, 160);
        assert_eq!(playout.counts().underruns, 1);
        assert_eq!(playout.counts().underrun_nanos, 5 * MILLIS);
        playout.push(45 * MILLIS, 160);
        assert_eq!(playout.counts().underruns, 1, "exactly on time is not late");
        playout.push(2 * SECONDS, 160);
        assert_eq!(playout.counts().underruns, 1);
        playout.clear(2 * SECONDS + MILLIS);
        playout.push(2 * SECONDS + 60 * MILLIS, 160);
        assert_eq!(playout.counts().underruns, 1, "after a flush speech begins anew");
    }

    #[test]
    fn every_rate_plays_in_its_own_time() {
        for rate in [8_000, 16_000, 24_000] {
            let mut playout = Playout::new(rate);
            assert_eq!(playout.push(0, rate as usize), rate as usize);
            assert_eq!(playout.dry_at(), SECONDS);
            assert_eq!(playout.queued_samples(SECONDS / 2), u64::from(rate) / 2);
        }
    }

    #[test]
    fn ten_minutes_may_wait_and_not_a_byte_more() {
        let mut playout = Playout::new(8_000);
        let cap = 600 * 8000;
        assert_eq!(playout.push(0, cap), cap);
        assert_eq!(playout.push(0, 10), 0);
        assert_eq!(playout.push(4 * NANOS_PER_SAMPLE, 10), 4);
        assert_eq!(playout.counts().beyond_cap_samples, 16);
    }
}
