//! When the caller's audio waits though the model is there.
//!
//! A caller who says "Hello?" into the moment before the greeting would interrupt it, and hear it
//! begin again. So until the caller has heard the greeting begin, what he says waits. If he then
//! still speaks, all of it goes on: he does interrupt. If he has fallen silent, he has been answered
//! by the greeting, and it is dropped and counted. Where no greeting comes in time, all of it goes on.
//!
//! A model that waits for a tool may close the connection when it hears audio: that waits too, for so
//! long as the settings say, and goes on afterwards.
//!
//! In:       when the model was asked to greet, when it began; whether it waits for a tool.
//! Out:      whether audio waits, and until when.
//! Bounds:   `greeting_hold`, `greeting_heard` and `tool_hold` of the settings; the uplink's ring.
//! Not here: audio that waits because there is no model (`call::swap`).

use std::time::Duration;

use super::{Audio, Call, Dropped, Life};
use crate::clock::Nanos;

/// Why and until when the caller's audio waits.
#[derive(Debug, Default)]
pub(super) struct Hold {
    /// Until the greeting has been heard, or has not come; `None`: nothing is waited for.
    greeting: Option<Greeting>,
    /// Until the tool is done that the model waits for.
    tool_until: Option<Nanos>,
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

    /// Whether the model waits for a tool, or does no longer. Audio waits for `at_most` of it.
    #[allow(dead_code)]
    pub(super) fn tool_pending(&mut self, now: Nanos, is_pending: bool, at_most: Duration) {
        match is_pending {
            true => drop(self.tool_until.get_or_insert(now.plus(at_most))),
            false => self.tool_until = None,
        }
    }

    fn is_on(&self, now: Nanos) -> bool {
        self.greeting.is_some() || self.tool_until.is_some_and(|until| now < until)
    }

    /// When something changes by itself.
    pub(super) fn next_due(&self, now: Nanos) -> Nanos {
        let greeting = self.greeting.map_or(Nanos::NEVER, |greeting| greeting.until);
        let tool = self.tool_until.filter(|&until| now < until);
        greeting.min(tool.unwrap_or(Nanos::NEVER))
    }
}

impl Call {
    /// Whether the caller's audio waits: there is no model, or it is not to hear him yet.
    pub(super) fn is_uplink_held(&self) -> bool {
        !matches!(self.life, Life::Live { .. }) || self.hold.is_on(self.now)
    }

    /// Lets go of what was held back until the greeting was heard.
    pub(super) fn attend_hold(&mut self) {
        let due = |greeting: &mut Greeting| self.now >= greeting.until;
        let Some(Greeting { began, .. }) = self.hold.greeting.take_if(due) else { return };
        let answered = began && !self.ear.hears_speech(self.now);
        if let (true, Some(Audio { uplink, .. })) = (answered, &mut self.audio) {
            uplink.drop_waiting(Dropped::Withheld, &mut self.tally.uplink);
        }
    }
}
