//! Whose turn it is: the only place where the two directions meet.
//!
//! Audio of the model belongs to a generation. A barge-in voids the generation: what was queued is
//! dropped, what still comes of it is refused, and echoes of its marks count for nothing.
//! Bounds:   `void` of the settings: a lost `turnComplete` cannot mute the model for ever;
//!           [`LATE_MAX`] where none may come.
//! Not here: the queues themselves (`call::downlink`), messages.

use std::time::Duration;

use crate::clock::Nanos;
use crate::limits::{LATE_MAX, MARK_EVERY_MS};
use crate::wire::twilio::MarkName;

/// Who is speaking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Floor {
    /// The caller, or nobody.
    #[default]
    Caller,
    /// The model: its turn is not complete.
    Agent,
    /// The caller spoke over the model, whose cancelled turn is not complete: its audio is refused
    /// until it is, or until then.
    BargedIn { until: Nanos },
}

/// Whose turn it is, and how much of the model's generation was sent and heard. A call starts with
/// the caller's.
#[derive(Debug, Default)]
pub struct Turns {
    floor: Floor,
    /// Counts barge-ins; the audio of each generation is void for the next.
    generation: u32,
    /// Audio of this generation that left for the phone, in milliseconds.
    sent_ms: u64,
    /// Where the last mark of this generation stands.
    marked_ms: u64,
    /// What the caller has heard of this generation, by the last echo.
    heard_ms: u64,
}

/// What an echoed mark told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    /// The caller has heard the audio before it.
    Heard,
    /// It belonged to a voided generation: it was thrown away, not heard.
    Void,
    /// We never sent it.
    Unknown,
}

impl Turns {
    /// Audio of the model has come. Returns whether it may be heard.
    pub fn audio_came(&mut self, now: Nanos) -> bool {
        match self.floor {
            Floor::BargedIn { until } if now < until => false,
            _ => {
                self.floor = Floor::Agent;
                true
            }
        }
    }

    /// Whether the model has the floor.
    pub fn is_agents(&self) -> bool {
        self.floor == Floor::Agent
    }

    /// The model says that the caller spoke over it; `with_audio`: in a message that also carries
    /// audio. The generation is void from here on, whoever had the floor: playback may outlast
    /// the turn. Late audio is to be expected only of a turn that was not complete, and is refused
    /// for `void` at most.
    pub fn interrupted(&mut self, now: Nanos, void: Duration, with_audio: bool) {
        self.generation = self.generation.wrapping_add(1);
        (self.sent_ms, self.marked_ms, self.heard_ms) = (0, 0, 0);
        let void_for = match self.floor {
            Floor::Agent | Floor::BargedIn { .. } => void,
            Floor::Caller if with_audio => LATE_MAX,
            Floor::Caller => return,
        };
        self.floor = Floor::BargedIn { until: now.plus(void_for) };
    }

    /// The model's turn is complete, or its cancelled turn is.
    pub fn turn_completed(&mut self) {
        self.floor = Floor::Caller;
    }

    /// So much audio of this generation has just left. Returns the mark to send behind it, if one
    /// is due: at every [`MARK_EVERY_MS`], and behind the `last` audio of a turn.
    pub fn audio_left(&mut self, ms: u64, last: bool) -> Option<MarkName> {
        self.sent_ms += ms;
        let is_due = last || self.sent_ms >= self.marked_ms + MARK_EVERY_MS;
        is_due.then(|| self.mark_here())
    }

    /// The turn is whole and all of its audio has left: the mark behind it, unless it stands there.
    pub fn all_left(&mut self) -> Option<MarkName> {
        (self.marked_ms < self.sent_ms).then(|| self.audio_left(0, true)).flatten()
    }

    /// A mark behind what has left so far, due or not: for a phone that is to show that it is
    /// there.
    pub fn mark_here(&mut self) -> MarkName {
        self.marked_ms = self.sent_ms;
        MarkName { generation: self.generation, at_ms: self.sent_ms }
    }

    /// The phone has returned a mark.
    pub fn mark_echoed(&mut self, mark: MarkName) -> Echo {
        if mark.generation != self.generation {
            let void = mark.generation < self.generation;
            return if void { Echo::Void } else { Echo::Unknown };
        }
        if mark.at_ms > self.marked_ms {
            return Echo::Unknown;
        }
        self.heard_ms = self.heard_ms.max(mark.at_ms);
        Echo::Heard
    }

    /// Audio of this generation that left for the phone, in milliseconds.
    pub fn sent_ms(&self) -> u64 {
        self.sent_ms
    }

    /// What the caller has heard of this generation by the last mark that came back, in
    /// milliseconds.
    pub fn heard_ms(&self) -> u64 {
        self.heard_ms
    }

    /// Whether every mark of this generation has come back.
    pub fn all_heard(&self) -> bool {
        self.heard_ms == self.sent_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOID: Duration = Duration::from_secs(3);

    #[test]
    fn late_audio_of_a_cancelled_turn_is_refused_until_the_turn_is_complete() {
        let mut turns = Turns::default();
        assert!(turns.audio_came(Nanos(0)));
        turns.interrupted(Nanos(1), VOID, false);
        assert!(!turns.audio_came(Nanos(2)));
        turns.turn_completed();
        assert!(turns.audio_came(Nanos(3)));
    }

    #[test]
    fn an_interruption_after_the_turn_silences_the_rest_but_not_the_next_answer() {
        let mut turns = Turns::default();
        turns.audio_came(Nanos(0));
        turns.turn_completed();
        turns.interrupted(Nanos(1), VOID, false);
        assert!(turns.audio_came(Nanos(2)));
    }

    #[test]
    fn audio_in_the_same_message_belongs_to_the_cancelled_turn() {
        let mut turns = Turns::default();
        turns.interrupted(Nanos(0), VOID, true);
        assert!(!turns.audio_came(Nanos(1)));
    }

    #[test]
    fn a_lost_turn_complete_does_not_mute_the_model_for_ever() {
        let mut turns = Turns::default();
        turns.audio_came(Nanos(0));
        turns.interrupted(Nanos(0), VOID, false);
        turns.interrupted(Nanos(0), VOID, false);
        assert!(!turns.audio_came(Nanos(VOID.as_nanos() as u64 - 1)));
        assert!(turns.audio_came(Nanos(VOID.as_nanos() as u64)));
    }

    #[test]
    fn a_mark_returned_by_clear_was_not_heard() {
        let mut turns = Turns::default();
        assert_eq!(turns.audio_left(20, false), None);
        let mark = turns.audio_left(180, false).unwrap();
        assert_eq!((mark.generation, mark.at_ms), (0, 200));
        turns.interrupted(Nanos(0), VOID, false);
        assert_eq!(turns.mark_echoed(mark), Echo::Void);
        let last = turns.audio_left(40, true).unwrap();
        assert!(!turns.all_heard());
        assert_eq!(turns.mark_echoed(last), Echo::Heard);
        assert!(turns.all_heard());
    }

    #[test]
    fn a_mark_that_was_never_sent_is_told_apart() {
        let mut turns = Turns::default();
        turns.audio_left(200, false);
        assert_eq!(turns.mark_echoed(MarkName { generation: 0, at_ms: 201 }), Echo::Unknown);
        assert_eq!(turns.mark_echoed(MarkName { generation: 9, at_ms: 1 }), Echo::Unknown);
    }
}
