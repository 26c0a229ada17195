//! Whether the model answers: an open connection on which it says nothing is the commonest fault.
//!
//! | what | after | then |
//! |---|---|---|
//! | the caller spoke, or was said to have interrupted | `reply` | asked to answer |
//! | it still says nothing | `reply` | another connection, same session |
//! | nor does the session taken up again | `resumed_reply` | a fresh session |
//! | it was asked to greet | `greeting` | asked once more, then as above |
//! | the caller goes on and on, or noise; tool follows tool | `owed` | asked, then as above |
//! | it stopped though nobody had spoken | `phantom` | a fresh session |
//!
//! A session that was taken up again and is spoken to must answer by itself. One that owed an
//! answer already is asked first: the question may have been lost with the old connection.
//! Nobody's connection is given up while he speaks, unless he has been speaking for as long as
//! `owed`.
//! In:       who spoke when, what the model did; [`Timers`].
//! Out:      [`Alarm`]s. An answer is audio: transcripts come from a mute model too. A tool call
//!           stops the time, and it goes on with the tool's answer.
//! Bounds:   [`WAITS_MAX`] times in a row that a model may answer that it waits.
//! Not here: what is done about it (`call::swap`), who counts as speaking (`call::ear`).

use std::sync::Arc;

use super::session::Cause;
use super::tally::Nudge;
use crate::clock::Nanos;
use crate::config::Timers;
use crate::limits::{PHANTOM_SPEECH_MS, WAITS_MAX};

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alarm {
    /// The model is asked for the answer it owes.
    Nudge(Nudge),
    /// Another connection.
    GiveUpLine(Cause),
}

/// Who owes whom an answer.
#[derive(Debug, Default)]
pub(super) struct Watch {
    timers: Arc<Timers>,
    debt: Debt,
    /// How often in a row the model has answered by saying that it waits.
    waits: u32,
    /// When the connection came up.
    up_at: Nanos,
}

/// What the model owes, and what has been done about it.
#[derive(Debug, Default)]
struct Debt {
    /// Since when the model owes an answer, counted from the caller's last word, or from when it
    /// was asked; `None`: it does not.
    since: Option<Nanos>,
    /// The same from the caller's first word. It stands while the model has something done.
    first: Option<Nanos>,
    /// When the caller was last heard.
    spoke_at: Option<Nanos>,
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
    /// The request to greet was lost with its connection.
    greeting_lost: bool,
}

impl Watch {
    /// Nobody owes anything.
    pub(super) fn new(timers: Arc<Timers>) -> Watch {
        Watch { timers, debt: Debt::default(), waits: 0, up_at: Nanos::ZERO }
    }

    /// From now on with the timers of the agent that has been chosen.
    pub(super) fn set_timers(&mut self, timers: Arc<Timers>) {
        self.timers = timers;
    }

    /// The caller speaks, and is not merely talking along. Once the model has been asked to answer
    /// the time runs, whatever the caller adds.
    pub(super) fn caller_spoke(&mut self, now: Nanos) {
        let debt = &mut self.debt;
        debt.spoke_at = Some(now);
        if !debt.nudged || debt.since.is_none() {
            debt.since = Some(now);
            debt.first.get_or_insert(now);
        }
    }

    /// The caller is heard, with the model silent: whoever interrupted it is there.
    pub(super) fn caller_heard(&mut self, now: Nanos) {
        self.debt.phantom_due = None;
        self.caller_spoke(now);
    }

    /// The model says that the caller spoke over it; `spoken_ms`: what we heard of that.
    pub(super) fn interrupted(&mut self, now: Nanos, spoken_ms: u64) {
        self.caller_spoke(now);
        if spoken_ms < PHANTOM_SPEECH_MS {
            self.debt.phantom_due.get_or_insert(now.plus(self.timers.phantom));
        }
    }

    /// The model was asked to speak first.
    pub(super) fn asked_to_greet(&mut self, now: Nanos) {
        self.debt.greeting_due = Some(now.plus(self.timers.greeting));
    }

    /// The model was asked for what it owes.
    pub(super) fn asked(&mut self, now: Nanos) {
        let debt = &mut self.debt;
        (debt.nudged, debt.greeting_due) = (true, None);
        (debt.since, debt.first) = (Some(now), Some(now));
    }

    /// The model speaks.
    pub(super) fn answered(&mut self) {
        self.debt = Debt::default();
        self.waits = 0;
    }

    /// The model says that it waits for the caller. One that says nothing else is not believed for
    /// ever.
    pub(super) fn waits(&mut self) {
        if !self.is_owed() {
            return;
        }
        self.waits += 1;
        if self.waits <= WAITS_MAX {
            self.debt = Debt::default();
        }
    }

    /// The model has something done, or can do nothing but wait for that.
    pub(super) fn works(&mut self, now: Nanos) {
        let debt = &mut self.debt;
        if debt.greeting_due.take().is_some() {
            debt.first.get_or_insert(now);
        }
        // Whatever it is, it is not mute.
        (debt.since, debt.phantom_due, debt.resumed) = (None, None, false);
    }

    /// The connection is given up; `midway`: the model was speaking.
    pub(super) fn line_gone(&mut self, now: Nanos, midway: bool) {
        let debt = &mut self.debt;
        debt.greeting_lost |= debt.greeting_due.is_some();
        if midway || debt.greeting_due.is_some() {
            debt.since = Some(now);
            debt.first.get_or_insert(now);
        }
        debt.cut_off |= midway;
        (debt.greeting_due, debt.phantom_due) = (None, None);
    }

    /// Another connection is up. What is owed is owed on it, from now on.
    pub(super) fn line_up(&mut self, now: Nanos, resumed: bool) {
        self.up_at = now;
        let debt = &mut self.debt;
        debt.since = debt.since.map(|_| now);
        debt.first = debt.first.map(|_| now);
        debt.resumed = resumed;
        // A fresh session has been asked for nothing.
        debt.nudged &= resumed;
    }

    /// Whether the model was cut off while it spoke; told once.
    pub(super) fn was_cut_off(&mut self) -> bool {
        std::mem::take(&mut self.debt.cut_off)
    }

    /// Whether the request to greet was lost with its connection; told once.
    pub(super) fn lost_its_greeting(&mut self) -> bool {
        std::mem::take(&mut self.debt.greeting_lost)
    }

    /// Whether the model owes an answer, or its greeting.
    pub(super) fn is_owed(&self) -> bool {
        self.debt.since.is_some() || self.debt.greeting_due.is_some()
    }

    /// Whether it does, and has not been asked for it.
    pub(super) fn is_unasked(&self) -> bool {
        self.is_owed() && !self.debt.nudged
    }

    /// Since when the model has owed something: an answer, or its greeting.
    pub(super) fn owed_from(&self) -> Option<Nanos> {
        let greeting = self
            .debt
            .greeting_due
            .map(|due| Nanos(due.0.saturating_sub(self.timers.greeting.as_nanos() as u64)));
        self.debt.first.or(self.debt.since).or(greeting)
    }

    /// What is due.
    pub(super) fn poll(&mut self, now: Nanos) -> Option<Alarm> {
        if self.debt.greeting_due.take_if(|due| now >= *due).is_some() {
            self.asked(now);
            return Some(Alarm::Nudge(Nudge::Greeting));
        }
        if self.debt.phantom_due.take_if(|due| now >= *due).is_some() {
            return Some(Alarm::GiveUpLine(Cause::Phantom));
        }
        if now < self.reply_due() {
            return None;
        }
        let is_mute = self.is_spoken_to_anew() && now >= self.silence_due();
        match (self.debt.nudged || is_mute, self.debt.resumed) {
            (false, _) => {
                self.asked(now);
                Some(Alarm::Nudge(Nudge::Reply))
            }
            (true, true) => Some(Alarm::GiveUpLine(Cause::Poisoned)),
            (true, false) => Some(Alarm::GiveUpLine(Cause::Unanswered)),
        }
    }

    fn reply_due(&self) -> Nanos {
        let at_last = self.debt.first.map_or(Nanos::NEVER, |first| first.plus(self.timers.owed));
        self.silence_due().min(at_last)
    }

    /// When the model has been silent for too long, however long it may be about it.
    fn silence_due(&self) -> Nanos {
        let (debt, timers) = (&self.debt, &self.timers);
        let Some(since) = debt.since else { return Nanos::NEVER };
        if !debt.nudged && !self.is_spoken_to_anew() {
            return since.plus(timers.reply);
        }
        // What follows is another connection: never in the middle of what he says.
        let patience = if debt.resumed { timers.resumed_reply } else { timers.reply };
        let quiet_at = debt.spoke_at.map_or(Nanos::ZERO, |at| at.plus(timers.quiet));
        since.plus(patience).max(quiet_at)
    }

    /// Whether the session was taken up again, and has been spoken to since: no question of the
    /// caller's can have been lost.
    fn is_spoken_to_anew(&self) -> bool {
        self.debt.resumed && self.debt.spoke_at.is_some_and(|at| at > self.up_at)
    }

    /// When [`Watch::poll`] has something to say, unless something happens before.
    pub(super) fn next_due(&self) -> Nanos {
        let fixed = [self.debt.greeting_due, self.debt.phantom_due];
        fixed.into_iter().flatten().fold(self.reply_due(), Nanos::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLY: Alarm = Alarm::Nudge(Nudge::Reply);

    fn s(seconds: u64) -> Nanos {
        Nanos::from_millis(seconds * 1_000)
    }

    #[test]
    fn a_model_that_stays_silent_is_asked_then_replaced_then_given_up() {
        let mut watch = Watch::default();
        assert_eq!((watch.poll(s(900)), watch.next_due()), (None, Nanos::NEVER));
        watch.caller_spoke(s(10));
        assert_eq!(watch.poll(s(16)), None);
        assert_eq!(watch.poll(s(17)), Some(REPLY));
        watch.caller_spoke(s(20));
        assert_eq!(watch.next_due(), s(24), "hello? does not buy it time");
        assert_eq!(watch.poll(s(24)), Some(Alarm::GiveUpLine(Cause::Unanswered)));
        watch.line_gone(s(24), false);
        watch.line_up(s(25), true);
        assert_eq!(watch.poll(s(32)), None);
        assert_eq!(watch.poll(s(33)), Some(Alarm::GiveUpLine(Cause::Poisoned)));
        watch.line_gone(s(33), false);
        watch.line_up(s(34), false);
        assert_eq!(watch.poll(s(41)), Some(REPLY));
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
        assert_eq!(watch.poll(s(60)), Some(REPLY));
        watch.caller_heard(s(61));
        assert_eq!(watch.poll(s(67)), Some(Alarm::GiveUpLine(Cause::Unanswered)));
    }

    #[test]
    fn a_model_that_does_not_greet_when_asked_twice_is_replaced() {
        let mut watch = Watch::default();
        watch.asked_to_greet(s(0));
        assert_eq!(watch.next_due(), s(4));
        assert_eq!(watch.poll(s(4)), Some(Alarm::Nudge(Nudge::Greeting)));
        assert_eq!(watch.poll(s(10)), None);
        assert_eq!(watch.poll(s(11)), Some(Alarm::GiveUpLine(Cause::Unanswered)));
    }

    #[test]
    fn an_answer_ends_every_wait() {
        let mut watch = Watch::default();
        watch.asked_to_greet(s(0));
        watch.interrupted(s(1), 0);
        watch.line_up(s(1), true);
        assert!(watch.is_owed());
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

    #[test]
    fn a_model_that_calls_tool_after_tool_and_never_speaks_is_asked_then_replaced() {
        let mut watch = Watch::default();
        watch.caller_spoke(s(0));
        let mut alarms = Vec::new();
        for second in 1..=120 {
            match second % 5 {
                0 => watch.works(s(second)),
                // The tool has answered.
                2 => watch.caller_spoke(s(second)),
                _ => {}
            }
            alarms.extend(watch.poll(s(second)).map(|alarm| (second, alarm)));
        }
        assert_eq!(alarms, [(60, REPLY), (120, Alarm::GiveUpLine(Cause::Unanswered))]);
        // And one that never comes back from the first.
        let mut watch = Watch::default();
        watch.caller_spoke(s(0));
        watch.works(s(1));
        assert_eq!(watch.next_due(), s(60));
    }

    #[test]
    fn a_model_that_only_says_that_it_waits_is_not_believed_for_ever() {
        let mut watch = Watch::default();
        for round in 0..u64::from(WAITS_MAX) {
            watch.caller_spoke(s(round * 100));
            watch.waits();
            assert_eq!(watch.next_due(), Nanos::NEVER);
            watch.waits();
        }
        watch.caller_spoke(s(900));
        watch.waits();
        assert_eq!(watch.poll(s(907)), Some(REPLY));
        watch.answered();
        watch.caller_spoke(s(1_000));
        watch.waits();
        assert_eq!(watch.next_due(), Nanos::NEVER, "it spoke meanwhile");
    }

    #[test]
    fn a_session_taken_up_again_that_is_spoken_to_and_mute_is_given_up_unasked() {
        let mut watch = Watch::default();
        watch.line_up(s(1), true);
        watch.caller_spoke(s(10));
        assert_eq!(watch.poll(s(17)), None);
        assert_eq!(watch.next_due(), s(18));
        assert_eq!(watch.poll(s(18)), Some(Alarm::GiveUpLine(Cause::Poisoned)));
    }

    #[test]
    fn a_greeting_lost_with_its_connection_is_known_to_be_owed() {
        let mut watch = Watch::default();
        watch.asked_to_greet(s(0));
        watch.line_gone(s(1), false);
        assert!(watch.is_owed());
        watch.line_up(s(2), true);
        assert!(watch.lost_its_greeting() && !watch.lost_its_greeting());
    }

    #[test]
    fn nobodys_line_is_given_up_while_he_speaks_unless_he_never_stops() {
        let mut watch = Watch::default();
        watch.caller_spoke(s(0));
        assert_eq!(watch.poll(s(7)), Some(REPLY));
        for tenth in 70..=180 {
            let now = Nanos::from_millis(tenth * 100);
            watch.caller_heard(now);
            assert_eq!(watch.poll(now), None, "he speaks");
        }
        assert_eq!(watch.next_due(), Nanos::from_millis(18_300));
        assert_eq!(watch.poll(s(19)), Some(Alarm::GiveUpLine(Cause::Unanswered)));

        let mut watch = Watch::default();
        watch.caller_spoke(s(0));
        assert_eq!(watch.poll(s(7)), Some(REPLY));
        for second in 8..67 {
            watch.caller_heard(s(second));
            assert_eq!(watch.poll(s(second)), None);
        }
        watch.caller_heard(s(67));
        assert_eq!(watch.poll(s(67)), Some(Alarm::GiveUpLine(Cause::Unanswered)));
    }

    #[test]
    fn a_session_taken_up_again_that_owes_an_answer_is_asked_for_it_first() {
        let mut watch = Watch::default();
        watch.caller_spoke(s(1));
        watch.line_gone(s(3), false);
        watch.line_up(s(4), true);
        assert_eq!(watch.poll(s(10)), None);
        assert_eq!(watch.poll(s(11)), Some(REPLY));
        assert_eq!(watch.poll(s(18)), None);
        assert_eq!(watch.poll(s(19)), Some(Alarm::GiveUpLine(Cause::Poisoned)));
    }
}
