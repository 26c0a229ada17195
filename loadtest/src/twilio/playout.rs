//! The playout clock of the phone: what would be audible when, and when marks come back.
//!
//! In:       audio, marks and `clear` with the time they arrived. Time is the caller's.
//! Out:      marks that have been reached; underruns, leftovers, audio beyond the cap.
//! Bounds:   [`QUEUE_NANOS_MAX`] of audio, what comes beyond it is discarded and counted;
//!           [`MARKS_MAX`] marks, further ones are returned at once.
//! Not here: the audio itself; messages (`twilio::checker`).
//!
//! The queue plays without pause from the moment it is not empty, so one instant describes it:
//! when it will have been played out. A mark is due at that instant as of its arrival.

use std::collections::VecDeque;

use crate::clock::{MILLIS, Nanos, SECONDS};

/// How long one mu-law byte plays: 8,000 in a second.
pub const NANOS_PER_BYTE: Nanos = 125_000;

/// Ten minutes of audio may wait; Twilio discards the rest with warning 31931.
pub const QUEUE_NANOS_MAX: Nanos = 600 * SECONDS;

/// Marks that may wait to be reached.
pub const MARKS_MAX: usize = 65_536;

/// A queue that ran dry and was filled again this soon was an underrun within speech; a longer
/// pause is a pause.
pub const UNDERRUN_NANOS_MAX: Nanos = 500 * MILLIS;

/// The playout side of one phone.
#[derive(Debug, Default)]
pub struct Playout {
    /// When the queue will have been played out; in the past while it is empty.
    dry_at: Nanos,
    /// Marks with the time they are reached, in order.
    marks: VecDeque<(Nanos, String)>,
    played_any: bool,
    counts: PlayoutCounts,
}

/// What the playout clock has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlayoutCounts {
    /// Bytes accepted for playing.
    pub bytes: u64,
    /// Bytes discarded by `clear`.
    pub cleared_bytes: u64,
    /// Bytes discarded because ten minutes were waiting.
    pub beyond_cap_bytes: u64,
    /// Times the queue ran dry within speech.
    pub underruns: u64,
    /// How long those pauses were, together.
    pub underrun_nanos: Nanos,
    /// The most audio that ever waited, as a time.
    pub queue_nanos_max: Nanos,
}

impl Playout {
    /// Takes audio of `len_bytes`; returns how many bytes were accepted.
    pub fn push(&mut self, now: Nanos, len_bytes: usize) -> usize {
        let waiting = self.dry_at.saturating_sub(now);
        let room = (QUEUE_NANOS_MAX.saturating_sub(waiting) / NANOS_PER_BYTE) as usize;
        let taken = len_bytes.min(room);
        self.counts.beyond_cap_bytes += (len_bytes - taken) as u64;
        if taken == 0 {
            return 0;
        }
        let pause = now.saturating_sub(self.dry_at);
        if self.played_any && pause > 0 && pause <= UNDERRUN_NANOS_MAX {
            self.counts.underruns += 1;
            self.counts.underrun_nanos += pause;
        }
        self.dry_at = self.dry_at.max(now) + taken as Nanos * NANOS_PER_BYTE;
        self.played_any = true;
        self.counts.bytes += taken as u64;
        self.counts.queue_nanos_max = self.counts.queue_nanos_max.max(self.dry_at - now);
        taken
    }

    /// Takes a mark. It comes back from [`Playout::pop_reached`], at once if nothing is queued.
    pub fn mark(&mut self, now: Nanos, name: String) {
        let due = if self.marks.len() < MARKS_MAX { self.dry_at.max(now) } else { now };
        self.marks.push_back((due, name));
    }

    /// Drops what is queued and makes every waiting mark due. Returns the bytes not played.
    pub fn clear(&mut self, now: Nanos) -> u64 {
        let left = self.queued_bytes(now);
        self.counts.cleared_bytes += left;
        self.dry_at = self.dry_at.min(now);
        // What follows a flush is new speech, not the end of a hole.
        self.played_any = false;
        for (due, _) in &mut self.marks {
            *due = now;
        }
        left
    }

    /// The next mark that has been reached by `now`.
    pub fn pop_reached(&mut self, now: Nanos) -> Option<String> {
        match self.marks.front() {
            Some(&(due, _)) if due <= now => self.marks.pop_front().map(|(_, name)| name),
            _ => None,
        }
    }

    /// When the next mark will be reached.
    pub fn next_mark_at(&self) -> Option<Nanos> {
        self.marks.front().map(|&(due, _)| due)
    }

    /// When everything queued will have been played.
    pub fn dry_at(&self) -> Nanos {
        self.dry_at
    }

    /// Bytes not played yet. A byte that has begun to play is played.
    pub fn queued_bytes(&self, now: Nanos) -> u64 {
        self.dry_at.saturating_sub(now) / NANOS_PER_BYTE
    }

    /// What has been counted.
    pub fn counts(&self) -> PlayoutCounts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_comes_back_when_the_audio_before_it_has_been_played() {
        let mut playout = Playout::default();
        playout.push(1000, 160);
        playout.mark(1000, "a".into());
        playout.push(1000, 160);
        playout.mark(2000, "b".into());
        let frame = 160 * NANOS_PER_BYTE;
        assert_eq!(playout.next_mark_at(), Some(1000 + frame));
        assert_eq!(playout.pop_reached(999 + frame), None);
        assert_eq!(playout.pop_reached(1000 + frame), Some("a".into()));
        assert_eq!(playout.pop_reached(1000 + frame), None);
        assert_eq!(playout.pop_reached(1000 + 2 * frame), Some("b".into()));
    }

    #[test]
    fn a_mark_on_an_idle_line_comes_back_at_once() {
        let mut playout = Playout::default();
        playout.mark(77, "idle".into());
        assert_eq!(playout.pop_reached(77), Some("idle".into()));
        playout.push(100, 8);
        let after = 100 + 8 * NANOS_PER_BYTE;
        playout.mark(after, "played out".into());
        assert_eq!(playout.pop_reached(after), Some("played out".into()));
    }

    #[test]
    fn clear_returns_every_mark_and_counts_what_was_not_heard() {
        let mut playout = Playout::default();
        playout.push(0, 800);
        playout.mark(0, "a".into());
        playout.push(0, 800);
        playout.mark(0, "b".into());
        let now = 100 * NANOS_PER_BYTE;
        assert_eq!(playout.clear(now), 1500);
        assert_eq!(playout.pop_reached(now), Some("a".into()));
        assert_eq!(playout.pop_reached(now), Some("b".into()));
        assert_eq!(playout.queued_bytes(now), 0);
        assert_eq!(playout.counts().cleared_bytes, 1500);
        assert_eq!(playout.clear(now), 0);
    }

    #[test]
    fn an_underrun_is_a_short_pause_within_speech_and_not_the_pause_between_two_answers() {
        let mut playout = Playout::default();
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
    fn ten_minutes_may_wait_and_not_a_byte_more() {
        let mut playout = Playout::default();
        let cap = 600 * 8000;
        assert_eq!(playout.push(0, cap), cap);
        assert_eq!(playout.push(0, 10), 0);
        assert_eq!(playout.push(4 * NANOS_PER_BYTE, 10), 4);
        assert_eq!(playout.counts().beyond_cap_bytes, 16);
    }
}
