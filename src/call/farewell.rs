//! How the model hangs up, or puts the caller through: when what it said last has been heard.
//!
//! ```text
//! called ──> goodbye is said, played, heard ──────────────────> over
//!    ^            │ the caller talks into it      │ and nobody
//!    │            v                               │ answers him
//!    └─ again ── not over, and the model is told <┴─ else
//! ```
//! In:       `end_call`, `transfer_call`, keys that mean either; what is played and heard.
//! Out:      [`Ending::AgentHungUp`], or [`Ending::Transferred`] and the number.
//! Bounds:   [`GOODBYE_WAIT`] for a goodbye to begin, and for an answer to a caller who talks into
//!           it; [`GOODBYE_MAX`] for all of it, and once more for a transfer that is put off.
//! Not here: the TwiML that dials on (`accept`).
//!
//! Heard is what the phone has returned the last mark of; one returned by `clear` does not count
//! (`call::turns`). A caller who goes on talking has not taken leave: the model's goodbye is cut
//! off, and so is the hanging up. A noise that interrupts it hangs up all the same.
//!
//! A model that has said all it had to say is not interrupted, whatever the caller says while that
//! is played. Then nothing ends while he speaks, nor for a while after: a model that answers him
//! takes its wish back, one that lets him have the last word has its way.
//!
//! Who says "okay, thanks" to being put through still wants to be. So a transfer that is talked
//! into is not dropped but put off, once: it follows the model's answer, when that has been heard
//! and nobody has spoken for a while. Another tool that the model calls, or a caller who goes on,
//! calls it off.

use std::sync::Arc;

use serde_json::Value;

use super::tools::Asker;
use super::{Call, Ending, Life, Opening, ToolOutcome, ToolReply};
use crate::clock::Nanos;
use crate::config::{Carrier, Tool, Transfer};
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
    /// The caller has talked into what was said to its end; model audio that had come by then, in
    /// samples: what comes after it answers him.
    talked_into: Option<u64>,
    /// It has been talked into once, and waits for calm.
    is_put_off: bool,
}

impl Farewell {
    /// Whether another wish for `ending` changes nothing. Being put through outdoes being hung up
    /// on; what was talked into gives way to whatever the model wishes next.
    fn covers(&self, ending: Ending) -> bool {
        let is_open = self.is_put_off || self.talked_into.is_some();
        !is_open && (self.ending == ending || self.ending == Ending::Transferred)
    }
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
            false => PUT_THROUGH,
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
        let stands = self.farewell.as_ref().is_some_and(|farewell| farewell.covers(ending));
        let is_outdone = stands && ending == Ending::AgentHungUp && self.transfer_to.is_some();
        let what = if is_outdone { PUT_THROUGH } else { what };
        let told = format!(
            "{what} as soon as what you said has been heard. If you have not told the caller yet, \
             do so now in one short sentence; otherwise say nothing more."
        );
        let json = tool_output(&Value::String(told), TOOL_RESULT_BYTES_MAX);
        let reply = ToolReply { outcome: ToolOutcome::Done, json };
        let scheduling = if spoke { Scheduling::Silent } else { Scheduling::WhenIdle };
        if !stands {
            self.farewell = Some(Farewell {
                ending,
                since: self.now,
                heard_before: self.tally.downlink.samples_in,
                spoke,
                talked_into: None,
                is_put_off: false,
            });
            if ending != Ending::Transferred {
                self.transfer_to = None;
            }
        }
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

    /// Whether the caller can be put through to whom the settings name so.
    pub(super) fn can_put_through(&self, name: &str) -> bool {
        self.can_transfer() && self.transfer_named(name).is_some()
    }

    /// Notes how the call came in: only by our own TwiML is there something behind its stream.
    pub(super) fn note_opening(&mut self, opening: &Opening) {
        if let Opening::Twilio { carrier, token, from, to, .. } = opening {
            let has_token = token.as_ref().is_some_and(|token| !token.is_empty());
            // Of the others none is told to ask.
            let is_twilio = *carrier == Carrier::Twilio;
            self.is_followed = is_twilio && has_token;
            // Anybody can claim a number, and have a token for it where webhooks need no signature.
            // Where they do, and no call comes in without a token, it vouches for the numbers.
            let is_signed = match is_twilio {
                true => self.settings.signed,
                false => self.settings.proven[*carrier as usize],
            };
            let is_vouched = has_token && is_signed;
            let vouched = |told: &Option<String>| told.clone().filter(|_| is_vouched);
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
        if !self.can_put_through(name) {
            return false;
        }
        self.transfer_to = self.transfer_named(name).map(|transfer| transfer.number.clone());
        self.phone.send_clear();
        self.end(Ending::Transferred);
        true
    }

    /// The model says that the caller spoke over it: one who did has not taken leave.
    pub(super) fn reconsider_farewell(&mut self) {
        if self.ear.spoken_ms(self.now) >= PHANTOM_SPEECH_MS {
            self.put_off_farewell(false);
        }
    }

    /// The caller has not taken leave. A hang-up is dropped, and so is a transfer that was put off
    /// before; `spoke`: the model answers the caller already.
    fn put_off_farewell(&mut self, spoke: bool) {
        let Some(farewell) = &mut self.farewell else { return };
        if farewell.ending == Ending::Transferred && !farewell.is_put_off {
            farewell.since = self.now;
            farewell.heard_before = self.tally.downlink.samples_in;
            (farewell.spoke, farewell.talked_into, farewell.is_put_off) = (spoke, None, true);
            return;
        }
        self.farewell = None;
        self.transfer_to = None;
        self.note_to_model(
            "(A note of the system: the caller went on talking, so the call has not been ended. \
             Call the tool again when the caller has finished.)"
                .to_owned(),
        );
    }

    /// The model calls another tool: a transfer that waits for its answer is no longer wished for.
    pub(super) fn call_off_transfer(&mut self) {
        if self.farewell.take_if(|farewell| farewell.is_put_off).is_some() {
            self.transfer_to = None;
        }
    }

    /// Ends the call when its time has come.
    pub(super) fn attend_farewell(&mut self) {
        self.hear_caller_out();
        let Some(farewell) = &self.farewell else { return };
        let ending = farewell.ending;
        match self.life {
            Life::Swapping { .. } => self.leave(ending),
            Life::Live { .. } if self.now >= farewell.since.plus(GOODBYE_MAX) => self.leave(ending),
            Life::Live { .. } if self.is_said(farewell) => {
                let is_calm = self.now >= self.calm_from(farewell);
                self.end_agents_turn();
                if is_calm {
                    self.end_if_played(ending);
                }
            }
            _ => {}
        }
    }

    /// A caller talks into what was said to its end; the model answers him, or does not.
    fn hear_caller_out(&mut self) {
        let Some(farewell) = &self.farewell else { return };
        let samples_in = self.tally.downlink.samples_in;
        if farewell.talked_into.is_some_and(|before| samples_in > before) {
            return self.put_off_farewell(true);
        }
        let spoke_at = self.ear.spoke_at().unwrap_or(Nanos::ZERO);
        let since_ms = spoke_at.since(farewell.since).as_millis() as u64;
        let spoken_ms = self.ear.spoken_ms(self.now).min(since_ms);
        if spoken_ms >= PHANTOM_SPEECH_MS && self.is_said(farewell) {
            let farewell = self.farewell.as_mut().expect("just read");
            farewell.talked_into.get_or_insert(samples_in);
        }
    }

    /// From when on nobody speaks any more, after a goodbye that was talked into.
    fn calm_from(&self, farewell: &Farewell) -> Nanos {
        if farewell.talked_into.is_none() && !farewell.is_put_off {
            return Nanos::ZERO;
        }
        let dry_at = self.audio.as_ref().map_or(self.now, |audio| audio.downlink.dry_at());
        self.ear.calm_at().max(dry_at).plus(GOODBYE_WAIT)
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
                self.played_by().max(self.calm_from(farewell))
            }
            // Frames that leave make it look again.
            true => at_last,
            false if self.generating => at_last,
            false => farewell.since.plus(GOODBYE_WAIT),
        };
        next.min(at_last)
    }
}

/// What happens when the model's words have been heard.
const PUT_THROUGH: &str = "The caller is put through";
/// Told to the model of a call that cannot be put through.
pub(super) const NOT_TRANSFERABLE: &str = "This call came in on a line from which nobody can be \
     put through. Tell the caller so, and offer to take a message.";
