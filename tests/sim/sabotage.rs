//! Deliberate faults between the call and what judges it: a simulation that does not see them sees
//! nothing.

use std::time::Duration;

use vocaris::clock::Nanos;
use vocaris::config::Timers;

use crate::model::Told;
use crate::phone::{Heard, PhoneSaid};

/// What is spoilt, once, after a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// A piece of the model's audio never reaches the caller.
    DropFrame,
    /// It reaches the caller twice.
    RepeatFrame,
    /// One sample of it is another.
    ChangeSample,
    /// A `clear` is forgotten.
    ForgetClear,
    /// A mark stands 20 ms too late.
    ShiftMark,
    /// A piece of the caller's audio never reaches the model.
    DropUplink,
    /// One sample of it is another.
    ChangeUplink,
    /// A message of the caller is counted that nobody said.
    Miscount,
    /// The model is never told goodbye.
    LeakSession,
    /// Nobody hears that the call is over.
    SwallowEnding,
    /// No timer is ever obeyed.
    LoseTimers,
    /// Nothing is moved for half a second.
    Dawdle,
    /// A model that owes an answer is never asked for it.
    NeverNudge,
    /// It is asked, and nothing follows.
    NeverGiveUp,
}

impl Sabotage {
    pub(crate) const ALL: [Sabotage; 14] = [
        Sabotage::DropFrame,
        Sabotage::RepeatFrame,
        Sabotage::ChangeSample,
        Sabotage::ForgetClear,
        Sabotage::ShiftMark,
        Sabotage::DropUplink,
        Sabotage::ChangeUplink,
        Sabotage::Miscount,
        Sabotage::LeakSession,
        Sabotage::SwallowEnding,
        Sabotage::LoseTimers,
        Sabotage::Dawdle,
        Sabotage::NeverNudge,
        Sabotage::NeverGiveUp,
    ];
}

/// Does it, or nothing.
#[derive(Default)]
pub(crate) struct Saboteur {
    what: Option<Sabotage>,
    /// So many chances are let go by first.
    patience: u32,
    dawdling_since: Option<Nanos>,
}

impl Saboteur {
    pub(crate) fn of(what: Sabotage) -> Saboteur {
        Saboteur { what: Some(what), patience: 2, dawdling_since: None }
    }

    fn is(&self, what: Sabotage) -> bool {
        self.what == Some(what)
    }

    /// Whether it is done now, for the only time.
    fn strikes(&mut self, what: Sabotage) -> bool {
        if !self.is(what) {
            return false;
        }
        if self.patience > 0 {
            self.patience -= 1;
            return false;
        }
        self.what = None;
        true
    }

    pub(crate) fn lets_hear(&mut self, heard: Heard) -> Vec<Heard> {
        match heard {
            Heard::Audio(_) if self.strikes(Sabotage::DropFrame) => vec![],
            Heard::Audio(audio) if self.strikes(Sabotage::RepeatFrame) => {
                vec![Heard::Audio(audio.clone()), Heard::Audio(audio)]
            }
            Heard::Audio(mut audio) if self.strikes(Sabotage::ChangeSample) => {
                audio[0] ^= 1;
                vec![Heard::Audio(audio)]
            }
            Heard::Clear if self.strikes(Sabotage::ForgetClear) => vec![],
            Heard::Mark { generation, at_ms } if self.strikes(Sabotage::ShiftMark) => {
                vec![Heard::Mark { generation, at_ms: at_ms + 20 }]
            }
            heard => vec![heard],
        }
    }

    pub(crate) fn tells_model(&mut self, told: Told) -> Option<Told> {
        match told {
            Told::Audio { .. } if self.strikes(Sabotage::DropUplink) => None,
            Told::Audio { rate_hz, mut pcm_le } if self.strikes(Sabotage::ChangeUplink) => {
                pcm_le[0] ^= 1;
                Some(Told::Audio { rate_hz, pcm_le })
            }
            Told::Close(_) if self.is(Sabotage::LeakSession) => None,
            told => Some(told),
        }
    }

    pub(crate) fn hides_from_reference(&mut self, said: &PhoneSaid) -> bool {
        matches!(said, PhoneSaid::Audio { bytes, .. } if !bytes.is_empty())
            && self.strikes(Sabotage::Miscount)
    }

    pub(crate) fn swallows_ending(&self) -> bool {
        self.is(Sabotage::SwallowEnding)
    }

    pub(crate) fn loses_timer(&self) -> bool {
        self.is(Sabotage::LoseTimers)
    }

    /// Whether it shows only where a model never answers.
    pub(crate) fn needs_mute_model(&self) -> bool {
        self.is(Sabotage::NeverNudge) || self.is(Sabotage::NeverGiveUp)
    }

    /// The patience of the call itself.
    pub(crate) fn spoils(&self, timers: Timers) -> Timers {
        if !self.needs_mute_model() {
            return timers;
        }
        let hour = Duration::from_secs(3_600);
        Timers { reply: hour, resumed_reply: hour, greeting: hour, owed: hour, ..timers }
    }

    /// Whether it looks once as if the model had been asked.
    pub(crate) fn pretends_to_ask(&mut self) -> bool {
        let pretends = self.is(Sabotage::NeverGiveUp) && self.patience > 0;
        self.patience = 0;
        pretends
    }

    pub(crate) fn dawdles(&mut self, now: Nanos) -> bool {
        if !self.is(Sabotage::Dawdle) {
            return false;
        }
        let since = *self.dawdling_since.get_or_insert(now);
        let passed_ms = now.since(since).as_millis();
        (500..1_000).contains(&passed_ms)
    }
}
