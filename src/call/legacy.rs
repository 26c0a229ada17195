//! What a conversation leaves behind when its phone is gone without a goodbye, and how another
//! stream of the same caller goes on with it.
//!
//! In:       the end of a call; at the next one's opening, what the one before left.
//! Out:      a [`Legacy`]; a session that is taken up again, as after a connection that was lost.
//! Bounds:   those of the memory, of the tools, of a handle; [`RETURNS_MAX`] streams one after the
//!           other.
//! Not here: who may come back, and until when (`accept::comeback`).
//!
//! The caller comes back to silence, whoever was speaking: so the model is told, and asked to go
//! on. What a tool was doing is not waited for; asked for again it goes by the same key, and the
//! answer is the first one.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::memory::Memory;
use super::tools::Tools;
use super::{Audio, Call, CallId, Ending, Life};
use crate::clock::Nanos;
use crate::config::{Agent, Secret};
use crate::limits::RETURNS_MAX;
use crate::wire::browser::ToBrowser;
use crate::wire::gemini;

/// Said to the model once the caller is back.
const BACK: &str = "(A note of the system, the caller did not say this: the caller's connection \
                    was interrupted and is back now. Go on where you were, briefly; do not greet \
                    again.)";

/// What is left of a conversation.
pub struct Legacy {
    /// The newest with which the session can be taken up again.
    pub(super) handle: Option<Secret>,
    pub(super) memory: Memory,
    pub(super) tools: Tools,
    pub(super) has_spoken: bool,
    /// Streams it has had before the one that comes.
    pub(super) returns: u32,
    /// How long it may still go on.
    pub(super) left: Duration,
    pub(super) conversation: CallId,
    /// The carrier's name of the call.
    pub(super) call_sid: Option<String>,
    pub(super) agent: Arc<Agent>,
}

impl Legacy {
    /// The name of the conversation: that of its first stream.
    pub fn conversation(&self) -> CallId {
        self.conversation
    }

    /// Streams it has had before the one that will go on with it.
    pub fn generation(&self) -> u32 {
        self.returns
    }

    /// The carrier's name of the call, where there is one.
    pub fn call_sid(&self) -> Option<&str> {
        self.call_sid.as_deref()
    }

    /// Who answered.
    pub fn agent(&self) -> &Arc<Agent> {
        &self.agent
    }
}

impl fmt::Debug for Legacy {
    /// Without what was said.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Legacy").field("conversation", &self.conversation).finish_non_exhaustive()
    }
}

impl Ending {
    /// Whether the conversation may go on for the caller: nobody has ended it.
    pub const fn may_return(self) -> bool {
        matches!(
            self,
            Ending::PhoneClosed { .. }
                | Ending::PhoneLost
                | Ending::PhoneSilent
                | Ending::MediaTimeout
                | Ending::PhoneStalled
                | Ending::Replaced
                | Ending::Drained
        )
    }
}

impl Call {
    /// What is left of the conversation, for the stream that goes on with it: once, when the call
    /// has ended. `None` where it was ended by somebody, or had not begun.
    pub fn take_legacy(&mut self, ending: Ending) -> Option<Box<Legacy>> {
        let may_return = self.leaves_legacy(ending) && self.is_over();
        let agent = self.tools.agent().filter(|_| may_return)?.clone();
        Some(Box::new(Legacy {
            handle: self.session.take_handle(),
            memory: std::mem::take(&mut self.memory),
            tools: self.tools.bequeath(),
            has_spoken: self.has_spoken,
            returns: self.returns + 1,
            left: self.settings.max_duration.saturating_sub(self.age()),
            conversation: self.conversation,
            call_sid: self.call_sid.clone(),
            agent,
        }))
    }

    /// Whether a call that ends so leaves anything to come back to.
    pub(super) fn leaves_legacy(&self, ending: Ending) -> bool {
        // Of the others nobody asks what follows.
        let is_asked_for = self.is_followed || self.is_on_the_web();
        let has_begun = self.has_spoken && self.tools.agent().is_some();
        ending.may_return() && is_asked_for && has_begun && self.returns < RETURNS_MAX
    }

    /// The token with which the caller comes back; told once the call is up.
    pub fn handle_return_token(&mut self, token: Secret) {
        self.return_token = Some(token);
    }

    /// The call is let in, and goes on with a conversation: in place of its first line it gets one
    /// that takes the session up again.
    pub fn handle_legacy(&mut self, now: Nanos, legacy: Legacy) {
        self.now = self.now.max(now);
        let Life::Waiting { opened_at } = self.life else { return };
        let Legacy {
            handle, memory, tools, has_spoken, returns, left, conversation, agent, ..
        } = legacy;
        (self.memory, self.has_spoken, self.returns) = (memory, has_spoken, returns);
        self.conversation = conversation;
        // Coming back makes no conversation longer.
        self.settings.max_duration = self.settings.max_duration.min(left);
        self.tools.inherit(tools);
        self.take_timers(&agent.timers);
        let hold = self.settings.timers.uplink_hold;
        if let Some(Audio { uplink, .. }) = &mut self.audio {
            uplink.hold(hold, &mut self.tally.uplink);
        }
        self.life = Life::Swapping { opened_at, ending: Ending::ModelLost };
        self.session.inherit(self.now, handle);
        self.waiting_messages.push(gemini::text_json(BACK));
        self.watch.caller_spoke(self.now);
        self.begin_recording();
        self.tell_ready(true);
        self.attend();
    }

    /// A browser hears that the call is up.
    pub(super) fn tell_ready(&mut self, returned: bool) {
        let id = self.id.to_string();
        let token = self.return_token.take();
        self.phone.tell(&ToBrowser::Ready {
            call: &id,
            rate_hz: super::downlink::MODEL_RATE_HZ,
            resume: token.as_ref().map(Secret::reveal),
            returned,
        });
    }
}
