//! When the caller's audio waits though the model is there.
//!
//! A caller who says "Hello?" into the moment before the greeting would interrupt it, and hear it
//! begin again. So until the caller has heard the greeting begin, what he says waits, as does what
//! he said while the model was being dialled. If he then still speaks, all of it goes on: he does
//! interrupt. If he has fallen silent, it goes by how long he spoke. Up to [`HELLO_SPEECH_MS`] is a
//! hello, which the greeting has answered: it is dropped and counted. More is a wish, and all of it
//! goes on: it is worth an interruption, and nobody says it twice. Where no greeting comes in time,
//! all of it goes on.
//!
//! A model that can do nothing but wait for a tool may close the connection when it hears audio:
//! that waits too, and goes on afterwards.
//!
//! In:       when the model was asked to greet, when it began; whether it waits for a tool.
//! Out:      whether audio waits, and until when.
//! Bounds:   `greeting_hold` and `greeting_heard` of the settings; [`HELLO_SPEECH_MS`]; that on
//!           waiting for a tool (`call::tools`); the uplink's ring.
//! Not here: audio that waits because there is no model (`call::swap`).

use std::time::Duration;

use super::{Audio, Call, Dropped, Life};
use crate::clock::Nanos;
use crate::limits::HELLO_SPEECH_MS;

/// Until when the caller's audio waits for a greeting.
#[derive(Debug, Default)]
pub(super) struct Hold {
    /// Until the greeting has been heard, or has not come; `None`: nothing is waited for.
    greeting: Option<Greeting>,
    /// Speech in the audio that waits, in microseconds.
    speech_us: u64,
    /// Whether audio has been kept waiting since it was last let go.
    is_holding: bool,
}

#[derive(Clone, Copy, Debug)]
struct Greeting {
    until: Nanos,
    /// Whether the caller hears it.
    began: bool,
}

impl Hold {
    /// The model was asked to greet.
    pub(super) fn asked_to_greet(&mut self, now: Nanos, at_most: Duration) {
        if !at_most.is_zero() {
            self.greeting = Some(Greeting { until: now.plus(at_most), began: false });
        }
    }

    /// The first audio of the model leaves for the phone.
    pub(super) fn greeting_began(&mut self, now: Nanos, heard: Duration) {
        if let Some(greeting) = &mut self.greeting {
            *greeting = Greeting { until: now.plus(heard), began: true };
        }
    }

    /// Its line is given up: what is said until there is another is no answer to its beginning.
    pub(super) fn line_gone(&mut self) {
        self.greeting = None;
    }

    /// Speech has come that waits: so many samples of so many a second.
    pub(super) fn heard(&mut self, samples: usize, rate_hz: u32) {
        self.speech_us += samples as u64 * 1_000_000 / u64::from(rate_hz.max(1));
    }

    /// Audio waits, though the model is there.
    pub(super) fn holds(&mut self) {
        self.is_holding = true;
    }

    /// Nothing waits any more. Returns whether something did.
    pub(super) fn let_go(&mut self) -> bool {
        self.speech_us = 0;
        std::mem::take(&mut self.is_holding)
    }

    /// Whether what waits is no more than a hello.
    fn is_hello(&self) -> bool {
        self.speech_us <= HELLO_SPEECH_MS * 1_000
    }

    /// When it is over by itself.
    pub(super) fn next_due(&self) -> Nanos {
        self.greeting.map_or(Nanos::NEVER, |greeting| greeting.until)
    }
}

impl Call {
    /// Whether the caller's audio waits: there is no model, or it is not to hear him yet.
    pub(super) fn is_uplink_held(&self) -> bool {
        !matches!(self.life, Life::Live { .. })
            || self.hold.greeting.is_some()
            || self.tools.is_blocking(self.now)
    }

    /// Lets go of what was held back until the greeting was heard.
    pub(super) fn attend_hold(&mut self) {
        let due = |greeting: &mut Greeting| self.now >= greeting.until;
        let Some(Greeting { began, .. }) = self.hold.greeting.take_if(due) else { return };
        let is_quiet = !self.ear.hears_speech(self.now);
        let answered = began && is_quiet && self.hold.is_hello();
        if let (true, Some(Audio { uplink, .. })) = (answered, &mut self.audio) {
            uplink.drop_waiting(Dropped::Withheld, &mut self.tally.uplink);
        }
    }
}
