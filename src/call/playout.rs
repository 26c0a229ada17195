//! When audio leaves for the phone: on absolute deadlines, a lead ahead of the caller's ear.
//!
//! The phone plays what it was sent without a pause; so the moment it runs dry is known, and
//! frames may leave as long as that moment is less than the lead away. Where they leave in groups
//! the phone's buffer sinks by a group's length below the lead before the next one goes: the first
//! audio of an answer still leaves at once, and what comes in while the buffer is low as it comes.
//! In:       the time, how many frames wait, what was sent.
//! Out:      how many frames may leave now, and when the next one may.
//! Bounds:   the lead; [`REBUFFER_MAX`].
//! Not here: bytes.

use std::time::Duration;

use crate::clock::Nanos;
use crate::limits::{PTIME, PTIME_MS, REBUFFER_MS};

/// One frame's playing time.
pub const FRAME: Duration = PTIME;
/// After an underrun, playing goes on after this time even if less than [`REBUFFER_MS`] came.
pub const REBUFFER_MAX: Duration = Duration::from_millis(100);

const REBUFFER_FRAMES: usize = REBUFFER_MS / PTIME_MS;

/// The schedule of one call's playout.
#[derive(Debug)]
pub struct Playout {
    /// How far ahead of the ear the phone is kept filled; at least one frame.
    lead: Duration,
    /// Frames for which there is to be room before any leaves.
    group: usize,
    /// When the phone will have played everything it was sent.
    dry_at: Nanos,
    /// Whether the turn that is playing has had audio: a phone that runs dry inside it stutters.
    mid_turn: bool,
    /// Since when audio has been waiting for [`REBUFFER_MS`] of it; `None`: it need not wait.
    rebuffering_since: Option<Nanos>,
    /// Until when audio was last made to wait on purpose.
    held_until: Nanos,
}

impl Playout {
    /// A schedule that keeps the phone filled `lead` ahead; one frame, if that is more.
    pub fn new(lead: Duration) -> Playout {
        Playout {
            lead: lead.max(FRAME),
            group: 1,
            dry_at: Nanos::ZERO,
            mid_turn: false,
            rebuffering_since: None,
            held_until: Nanos::ZERO,
        }
    }

    /// The same with frames that leave so many at a time while the phone's buffer holds out; no
    /// more than the lead has room for.
    pub fn in_groups_of(self, frames: usize) -> Playout {
        let most = (self.lead.as_nanos() / FRAME.as_nanos()) as usize;
        Playout { group: frames.clamp(1, most), ..self }
    }

    /// How many of the `waiting` frames may leave now. `ended`: no more will come in this turn.
    pub fn frames_due(&mut self, now: Nanos, waiting: usize, ended: bool) -> usize {
        if waiting == 0 || self.is_rebuffering(now, waiting, ended) {
            return 0;
        }
        let ahead = self.dry_at.since(now);
        let room = self.lead.saturating_sub(ahead);
        match (room.as_nanos() / FRAME.as_nanos()) as usize {
            room if room < self.group => 0,
            room => waiting.min(room),
        }
    }

    /// Whether the phone ran dry inside a turn, for longer than a frame, and too little has come
    /// since to go on.
    fn is_rebuffering(&mut self, now: Nanos, waiting: usize, ended: bool) -> bool {
        let dry = self.mid_turn && self.dry_at.plus(FRAME) < now;
        if dry && !ended && waiting < REBUFFER_FRAMES {
            let since = *self.rebuffering_since.get_or_insert(now);
            if now < since.plus(REBUFFER_MAX) {
                return true;
            }
        }
        if self.rebuffering_since.take().is_some() {
            self.held_until = now;
        }
        false
    }

    /// When the frame `ahead` frames behind the next one is allowed to leave, with its group: the
    /// moment from which its wait counts as lateness.
    pub fn due_at(&self, ahead: usize) -> Nanos {
        let frames = FRAME * (ahead + 1).max(self.group) as u32;
        let paced = self.dry_at.plus(frames).0.saturating_sub(self.lead.as_nanos() as u64);
        Nanos(paced).max(self.held_until)
    }

    /// `frames` frames have just left.
    pub fn sent(&mut self, now: Nanos, frames: usize) {
        self.dry_at = self.dry_at.max(now).plus(FRAME * frames as u32);
        self.mid_turn = true;
        self.rebuffering_since = None;
    }

    /// The phone has been told to throw away what it holds.
    pub fn cleared(&mut self, now: Nanos) {
        self.dry_at = now;
        self.turn_ended();
    }

    /// No more audio will come in this turn.
    pub fn turn_ended(&mut self) {
        self.mid_turn = false;
        self.rebuffering_since = None;
    }

    /// When to ask again while frames are waiting.
    pub fn next_due(&self) -> Nanos {
        match self.rebuffering_since {
            Some(since) => since.plus(REBUFFER_MAX),
            None => self.due_at(0),
        }
    }

    /// When the phone will have played everything it was sent.
    pub fn dry_at(&self) -> Nanos {
        self.dry_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAD: Duration = Duration::from_millis(300);
    const START: Nanos = Nanos::from_millis(1_000);

    fn at(ms: u64) -> Nanos {
        Nanos::from_millis(1_000 + ms)
    }

    #[test]
    fn the_first_audio_leaves_at_once_and_fills_the_lead() {
        let mut playout = Playout::new(LEAD);
        assert_eq!(playout.frames_due(START, 2, false), 2);
        playout.sent(START, 2);
        assert_eq!(playout.frames_due(START, 100, false), 13);
        playout.sent(START, 13);
        assert_eq!(playout.frames_due(START, 87, false), 0);
        assert_eq!(playout.next_due(), at(20));
    }

    #[test]
    fn a_late_loop_sends_what_it_missed_and_keeps_the_schedule() {
        let mut playout = Playout::new(LEAD);
        playout.sent(START, 15);
        assert_eq!(playout.frames_due(at(75), 100, false), 3);
        playout.sent(at(75), 3);
        assert_eq!(playout.next_due(), at(80));
        assert_eq!(playout.dry_at(), at(360));
    }

    #[test]
    fn a_dry_phone_inside_a_turn_waits_for_three_frames_but_not_for_ever() {
        let mut playout = Playout::new(LEAD);
        playout.sent(START, 1);
        assert_eq!(playout.frames_due(at(50), 1, false), 0);
        assert_eq!(playout.frames_due(at(60), 3, false), 3, "enough has come");
        assert_eq!(playout.due_at(0), at(60), "the wait was meant");
        playout.sent(at(60), 3);
        assert_eq!(playout.frames_due(at(200), 1, false), 0);
        assert_eq!(playout.next_due(), at(300));
        assert_eq!(playout.frames_due(at(300), 1, false), 1, "the wait is bounded");
    }

    #[test]
    fn the_rest_of_an_ended_turn_waits_for_nothing() {
        let mut playout = Playout::new(LEAD);
        playout.sent(START, 1);
        assert_eq!(playout.frames_due(at(50), 1, true), 1);
    }

    #[test]
    fn after_a_clear_the_next_answer_starts_at_once() {
        let mut playout = Playout::new(LEAD);
        playout.sent(START, 15);
        playout.cleared(at(40));
        assert_eq!(playout.frames_due(at(41), 1, false), 1);
        assert_eq!(playout.dry_at(), at(40));
    }

    #[test]
    fn groups_leave_when_there_is_room_for_one_and_the_first_audio_at_once() {
        let mut playout = Playout::new(LEAD).in_groups_of(5);
        assert_eq!(playout.frames_due(START, 2, false), 2, "nobody waits for an answer to begin");
        playout.sent(START, 2);
        assert_eq!(playout.frames_due(at(1), 2, false), 2, "the buffer is low");
        playout.sent(at(1), 2);
        assert_eq!(playout.frames_due(at(2), 100, false), 11);
        playout.sent(at(2), 11);
        assert_eq!(playout.next_due(), at(100));
        assert_eq!(playout.frames_due(at(99), 100, false), 0);
        assert_eq!(playout.due_at(2), at(100), "it waits with its group");
        assert_eq!(playout.frames_due(at(100), 100, false), 5);
        playout.sent(at(100), 5);
        assert_eq!(playout.dry_at(), at(400));
    }

    #[test]
    fn a_group_that_the_lead_does_not_hold_is_as_long_as_the_lead() {
        let mut playout = Playout::new(LEAD).in_groups_of(100);
        assert_eq!(playout.frames_due(START, 100, false), 15);
        playout.sent(START, 15);
        assert_eq!(playout.next_due(), at(300));
    }

    #[test]
    fn a_lead_below_a_frame_still_plays() {
        let mut playout = Playout::new(Duration::ZERO);
        assert_eq!(playout.frames_due(START, 5, false), 1);
        playout.sent(START, 1);
        assert_eq!(playout.next_due(), at(20));
        assert_eq!(playout.frames_due(at(22), 1, false), 1, "a late loop is no underrun");
    }
}
