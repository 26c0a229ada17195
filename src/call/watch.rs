//! Whether the model answers: an open connection on which it says nothing is the commonest fault.
//!
//! | what | after | then |
//! |---|---|---|
//! | the caller spoke, or was said to have interrupted | [`REPLY_MAX`] | asked to answer |
//! | it still says nothing | [`REPLY_MAX`] | another connection, same session |
//! | nor does the session taken up again | [`RESUMED_REPLY_MAX`] | a fresh session |
//! | it was asked to greet | [`GREETING_MAX`] | asked once more, then as above |
//! | the caller, or noise, goes on and on | [`OWED_MAX`] | asked to answer |
//! | it stopped though nobody had spoken | [`PHANTOM_MAX`] | a fresh session |
//!
//! In:       who spoke when, what the model did.
//! Out:      [`Alarm`]s. An answer is audio or a tool call: transcripts come from a mute one too.
//! Not here: what is done about it (`call::swap`), who counts as speaking (`call::ear`).

use super::session::Cause;
use crate::clock::Nanos;
use crate::limits::{
    GREETING_MAX, OWED_MAX, PHANTOM_MAX, PHANTOM_SPEECH_MS, REPLY_MAX, RESUMED_REPLY_MAX,
};

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alarm {
    /// The model is asked for the answer it owes.
    Nudge,
    /// Another connection.
    GiveUpLine(Cause),
}

/// Who owes whom an answer.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Since when the model owes an answer, counted from the caller's last word; `None`: it does
    /// not.
    owing_since: Option<Nanos>,
    /// The same from the caller's first word.
    owing_first: Option<Nanos>,
    /// The model was cut off while it spoke: it is told to go on where it is taken up again.
    cut_off: bool,
    /// It has been asked for the answer it owes.
    nudged: bool,
    /// The session was taken up again, and has not been heard since.
    resumed: bool,
    /// It is asked once more to greet then.
    greeting_due: Option<Nanos>,
    /// Its silence after an interruption nobody made is over then.
    phantom_due: Option<Nanos>,
}

impl Watch {
    /// The caller speaks, and is not merely talking along. Once the model has been asked to answer
    /// the time runs, whatever the caller adds.
    pub(super) fn caller_spoke(&mut self, now: Nanos) {
        if !self.nudged {
            self.owing_since = Some(now);
            self.owing_first.get_or_insert(now);
        }
    }

    /// The caller is heard, with the model silent: whoever interrupted it is there.
    pub(super) fn caller_heard(&mut self, now: Nanos) {
        self.phantom_due = None;
        self.caller_spoke(now);
    }

    /// The model says that the caller spoke over it; `spoken_ms`: what we heard of that.
    pub(super) fn interrupted(&mut self, now: Nanos, spoken_ms: u64) {
        self.caller_spoke(now);
        if spoken_ms < PHANTOM_SPEECH_MS {
            self.phantom_due.get_or_insert(now.plus(PHANTOM_MAX));
        }
    }

    /// The model was asked to speak first.
    pub(super) fn asked_to_greet(&mut self, now: Nanos) {
        self.greeting_due = Some(now.plus(GREETING_MAX));
    }

    /// The model speaks, calls a tool, or says that it waits for the caller.
    pub(super) fn answered(&mut self) {
        *self = Watch::default();
    }

    /// The connection is given up; `midway`: the model was speaking.
    pub(super) fn line_gone(&mut self, now: Nanos, midway: bool) {
        if midway || self.greeting_due.is_some() {
            self.owing_since = Some(now);
            self.owing_first.get_or_insert(now);
        }
        self.cut_off |= midway;
        (self.greeting_due, self.phantom_due) = (None, None);
    }

    /// Another connection is up. What is owed is owed on it, from now on.
    pub(super) fn line_up(&mut self, now: Nanos, resumed: bool) {
        self.owing_since = self.owing_since.map(|_| now);
        self.owing_first = self.owing_since;
        (self.resumed, self.nudged) = (resumed, false);
    }

    /// Whether the model was cut off while it spoke; told once.
    pub(super) fn was_cut_off(&mut self) -> bool {
        std::mem::take(&mut self.cut_off)
    }

    /// Whether the model owes an answer.
    pub(super) fn is_owed(&self) -> bool {
        self.owing_since.is_some()
    }

    /// What is due.
    pub(super) fn poll(&mut self, now: Nanos) -> Option<Alarm> {
        if self.greeting_due.take_if(|due| now >= *due).is_some() {
            (self.nudged, self.owing_since) = (true, Some(now));
            return Some(Alarm::Nudge);
        }
        if self.phantom_due.take_if(|due| now >= *due).is_some() {
            return Some(Alarm::GiveUpLine(Cause::Phantom));
        }
        if now < self.reply_due() {
            return None;
        }
        if self.resumed {
            return Some(Alarm::GiveUpLine(Cause::Poisoned));
        }
        if self.nudged {
            return Some(Alarm::GiveUpLine(Cause::Unanswered));
        }
        (self.nudged, self.owing_since, self.owing_first) = (true, Some(now), None);
        Some(Alarm::Nudge)
    }

    fn reply_due(&self) -> Nanos {
        let patience = if self.resumed { RESUMED_REPLY_MAX } else { REPLY_MAX };
        let after =
            |since: Option<Nanos>, patience| since.map_or(Nanos::NEVER, |at| at.plus(patience));
        after(self.owing_since, patience).min(after(self.owing_first, OWED_MAX))
    }

    /// When [`Watch::poll`] has something to say, unless something happens before.
    pub(super) fn next_due(&self) -> Nanos {
        let fixed = [self.greeting_due, self.phantom_due];
        fixed.into_iter().flatten().fold(self.reply_due(), Nanos::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Nanos {
        Nanos::from_millis(seconds * 1_000)
    }

    #[test]
    fn a_model_that_stays_silent_is_asked_then_replaced_then_given_up() {
        let mut watch = Watch::default();
        assert_eq!((watch.poll(s(900)), watch.next_due()), (None, Nanos::NEVER));
        watch.caller_spoke(s(10));
        assert_eq!(watch.poll(s(16)), None);
        assert_eq!(watch.poll(s(17)), Some(Alarm::Nudge));
        watch.caller_spoke(s(20));
        assert_eq!(watch.next_due(), s(24), "hello? does not buy it time");
        assert_eq!(watch.poll(s(24)), Some(Alarm::GiveUpLine(Cause::Unanswered)));
        watch.line_gone(s(24), false);
        watch.line_up(s(25), true);
        assert_eq!(watch.poll(s(32)), None);
        assert_eq!(watch.poll(s(33)), Some(Alarm::GiveUpLine(Cause::Poisoned)));
        watch.line_gone(s(33), false);
        watch.line_up(s(34), false);
        assert_eq!(watch.poll(s(41)), Some(Alarm::Nudge));
    }

    #[test]
    fn a_caller_who_goes_on_after_an_interruption_is_no_phantom() {
        let mut watch = Watch::default();
        watch.interrupted(s(1), 100);
        watch.caller_heard(s(2));
        assert_eq!(watch.poll(s(6)), None);
        assert_eq!(watch.next_due(), s(9));
    }

    #[test]
    fn a_line_that_is_never_quiet_does_not_hide_a_mute_model() {
        let mut watch = Watch::default();
        for second in 0..60 {
            watch.caller_heard(s(second));
            assert_eq!(watch.poll(s(second)), None);
        }
        assert_eq!(watch.poll(s(60)), Some(Alarm::Nudge));
        watch.caller_heard(s(61));
        assert_eq!(watch.poll(s(67)), Some(Alarm::GiveUpLine(Cause::Unanswered)));
    }

    #[test]
    fn a_model_that_does_not_greet_when_asked_twice_is_replaced() {
        let mut watch = Watch::default();
        watch.asked_to_greet(s(0));
        assert_eq!(watch.next_due(), s(4));
        assert_eq!(watch.poll(s(4)), Some(Alarm::Nudge));
        assert_eq!(watch.poll(s(10)), None);
        assert_eq!(watch.poll(s(11)), Some(Alarm::GiveUpLine(Cause::Unanswered)));
    }

    #[test]
    fn an_answer_ends_every_wait() {
        let mut watch = Watch::default();
        watch.asked_to_greet(s(0));
        watch.interrupted(s(1), 0);
        watch.line_up(s(1), true);
        watch.answered();
        assert!(!watch.is_owed());
        assert_eq!((watch.poll(s(99)), watch.next_due()), (None, Nanos::NEVER));
    }

    #[test]
    fn only_an_interruption_nobody_made_is_a_phantom() {
        let mut watch = Watch::default();
        watch.interrupted(s(0), 200);
        assert_eq!(watch.poll(s(5)), None);
        let mut watch = Watch::default();
        watch.interrupted(s(0), 199);
        watch.interrupted(s(3), 0);
        assert_eq!(watch.poll(s(5)), Some(Alarm::GiveUpLine(Cause::Phantom)));
    }

    #[test]
    fn an_answer_cut_off_by_a_lost_connection_is_still_owed() {
        let mut watch = Watch::default();
        watch.line_gone(s(0), false);
        assert!(!watch.is_owed());
        watch.line_gone(s(0), true);
        watch.line_up(s(1), false);
        assert_eq!(watch.next_due(), s(8));
    }
}
