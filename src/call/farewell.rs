//! How the model hangs up, or puts the caller through: when what it said last has been heard.
//!
//! ```text
//! called ──> goodbye is said, played, heard ──> over
//!    ^            │ the caller goes on talking
//!    └── again ───┘ (nothing ends; the model is told)
//! ```
//! In:       `end_call`, `transfer_call`, keys that mean either; what is played and heard.
//! Out:      [`Ending::AgentHungUp`], or [`Ending::Transferred`] and the number.
//! Bounds:   [`GOODBYE_WAIT`] for a goodbye to begin, [`GOODBYE_MAX`] for all of it.
//! Not here: the TwiML that dials on (`accept`).
//!
//! Heard is what the phone has returned the last mark of; one returned by `clear` does not count
//! (`call::turns`). A caller who goes on talking has not taken leave: the model's goodbye is cut
//! off, and so is the hanging up. A noise that interrupts it hangs up all the same.

use std::sync::Arc;

use serde_json::Value;

use super::tools::Asker;
use super::{Call, Ending, Life, Opening, ToolOutcome, ToolReply};
use crate::clock::Nanos;
use crate::config::{Tool, Transfer};
use crate::limits::{GOODBYE_MAX, GOODBYE_WAIT, PHANTOM_SPEECH_MS, TOOL_RESULT_BYTES_MAX};
use crate::wire::gemini::{Scheduling, tool_output};

/// The model has taken leave.
#[derive(Debug)]
pub(super) struct Farewell {
    ending: Ending,
    since: Nanos,
    /// Model audio that had come by then, in samples.
    heard_before: u64,
    /// It was saying goodbye already when it asked to hang up.
    spoke: bool,
}

impl Call {
    /// The model hangs up.
    pub(super) fn take_end_call(&mut self, asker: Asker, tool: &Arc<Tool>) {
        self.take_leave(asker, tool, Ending::AgentHungUp, "The call ends");
    }

    /// The model puts the caller through.
    pub(super) fn take_transfer_call(&mut self, asker: Asker, tool: &Arc<Tool>, arguments: &str) {
        let arguments: Value = serde_json::from_str(arguments).unwrap_or_default();
        let to = arguments.get("to").and_then(Value::as_str);
        let transfer = to.and_then(|name| self.transfer_named(name)).cloned();
        let refused = |outcome, message: &str| ToolReply::failed(outcome, message);
        let Some(transfer) = transfer else {
            let reply = refused(
                ToolOutcome::BadArguments,
                "Nobody of this name can be put through \
                to: the parameter \"to\" lists who can.",
            );
            return self.answer_at_once(asker, tool, &reply);
        };
        if !self.can_transfer() {
            let reply = refused(ToolOutcome::Refused, NOT_TRANSFERABLE);
            return self.answer_at_once(asker, tool, &reply);
        }
        let what = match self.is_on_the_web() {
            false => "The caller is put through",
            true => {
                "The caller talks to you from a web page, which cannot be put through: the \
                 conversation ends, and the page says whom to ask for"
            }
        };
        self.transfer_to = Some(transfer.number);
        self.take_leave(asker, tool, Ending::Transferred, what);
    }

    fn take_leave(&mut self, asker: Asker, tool: &Arc<Tool>, ending: Ending, what: &str) {
        // Whoever is saying it, or is still heard saying it, does not say it twice.
        let sounds =
            |audio: &super::Audio| !audio.downlink.is_empty() || audio.downlink.dry_at() > self.now;
        let is_heard = self.has_spoken && self.audio.as_ref().is_some_and(sounds);
        let spoke = self.generating || self.turns.is_agents() || is_heard;
        let told = format!(
            "{what} as soon as what you said has been heard. If you have not told the caller yet, \
             do so now in one short sentence; otherwise say nothing more."
        );
        let json = tool_output(&Value::String(told), TOOL_RESULT_BYTES_MAX);
        let reply = ToolReply { outcome: ToolOutcome::Done, json };
        let scheduling = if spoke { Scheduling::Silent } else { Scheduling::WhenIdle };
        let heard_before = self.tally.downlink.samples_in;
        let farewell = Farewell { ending, since: self.now, heard_before, spoke };
        self.farewell.get_or_insert(farewell);
        self.answer_with(asker, tool, &reply, Some(scheduling));
    }

    fn transfer_named(&self, name: &str) -> Option<&Transfer> {
        let transfers = self.tools.agent().map_or(&[][..], |agent| &agent.transfer);
        transfers.iter().find(|transfer| transfer.name == name)
    }

    /// Whether somebody asks us what follows when the stream is closed; a browser is only told.
    fn can_transfer(&self) -> bool {
        self.is_on_the_web() || self.is_followed
    }

    /// Notes how the call came in: only by our own TwiML is there something behind its stream.
    pub(super) fn note_opening(&mut self, opening: &Opening) {
        if let Opening::Twilio { token, from, to, .. } = opening {
            self.is_followed = token.as_ref().is_some_and(|token| !token.is_empty());
            // Anybody can claim a number; what our own webhook was told, its token vouches for.
            let vouched = |told: &Option<String>| told.clone().filter(|_| self.is_followed);
            let (from, to) = (vouched(from), vouched(to));
            self.tools.meet(from, to);
        }
    }

    /// The number the caller is put through to, once the call has ended with
    /// [`Ending::Transferred`].
    pub fn transfer(&self) -> Option<&str> {
        self.transfer_to.as_deref()
    }

    /// A key of the caller's hangs up at once.
    pub(super) fn hang_up_by_key(&mut self) {
        self.phone.send_clear();
        self.end(Ending::AgentHungUp);
    }

    /// A key of the caller's puts them through at once. Returns whether it can.
    pub(super) fn transfer_by_key(&mut self, name: &str) -> bool {
        let number = self.transfer_named(name).map(|transfer| transfer.number.clone());
        if number.is_none() || !self.can_transfer() {
            return false;
        }
        self.transfer_to = number;
        self.phone.send_clear();
        self.end(Ending::Transferred);
        true
    }

    /// The model says that the caller spoke over it: one who did has not taken leave.
    pub(super) fn reconsider_farewell(&mut self) {
        if self.farewell.is_some() && self.ear.spoken_ms(self.now) >= PHANTOM_SPEECH_MS {
            self.farewell = None;
            self.transfer_to = None;
            self.note_to_model(
                "(A note of the system: the caller went on talking, so the call has not been ended. \
                 Call the tool again when the caller has finished.)"
                    .to_owned(),
            );
        }
    }

    /// Ends the call when its time has come.
    pub(super) fn attend_farewell(&mut self) {
        let Some(farewell) = &self.farewell else { return };
        let ending = farewell.ending;
        match self.life {
            Life::Swapping { .. } => self.leave(ending),
            Life::Live { .. } if self.now >= farewell.since.plus(GOODBYE_MAX) => self.leave(ending),
            Life::Live { .. } if self.is_said(farewell) => {
                self.end_agents_turn();
                self.end_if_played(ending);
            }
            _ => {}
        }
    }

    /// Whether the model has said what it had to say.
    fn is_said(&self, farewell: &Farewell) -> bool {
        let has_spoken = farewell.spoke || self.tally.downlink.samples_in > farewell.heard_before;
        !self.generating && (has_spoken || self.now >= farewell.since.plus(GOODBYE_WAIT))
    }

    /// When [`Call::attend_farewell`] is to be called, unless something happens before.
    pub(super) fn farewell_due(&self) -> Nanos {
        let Some(farewell) = &self.farewell else { return Nanos::NEVER };
        let at_last = farewell.since.plus(GOODBYE_MAX);
        let next = match self.is_said(farewell) {
            true if self.audio.as_ref().is_none_or(|audio| audio.downlink.is_empty()) => {
                self.played_by()
            }
            // Frames that leave make it look again.
            true => at_last,
            false if self.generating => at_last,
            false => farewell.since.plus(GOODBYE_WAIT),
        };
        next.min(at_last)
    }
}

/// Told to the model of a call that cannot be put through.
pub(super) const NOT_TRANSFERABLE: &str = "This call came in on a line from which nobody can be put through. Tell the caller so, and \
     offer to take a message.";
