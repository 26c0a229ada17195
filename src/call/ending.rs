//! How a call comes to its end: what was said is played out, both legs are told, and what can no
//! longer be sent is counted.
//!
//! In:       why it ends; sockets that are gone.
//! Out:      close frames for both legs, a last entry of the journal, [`Request::Ended`].
//! Bounds:   [`FAREWELL_TIMEOUT`] for the carrier to say that it has played everything.
//! Not here: why calls end (`events`), goodbyes of the model (`farewell`).

use super::audio::Format;
use super::downlink::MODEL_RATE_HZ;
use super::from_phone::{code_for, sentence_for};
use super::phone::NO_MASK;
use super::{Audio, Call, Class, Dropped, Ending, Flow, LegLife, Life, Report, Request};
use crate::buf::SendBuf;
use crate::clock::Nanos;
use crate::limits::FAREWELL_TIMEOUT;
use crate::wire::browser::ToBrowser;
use crate::wire::ws::CloseCode;

impl Call {
    /// The model is gone: what it said is played to its end, then the call is over.
    pub(super) fn leave(&mut self, ending: Ending) {
        match self.life {
            Life::Live { opened_at } | Life::Swapping { opened_at, .. } => {
                self.end_agents_turn();
                self.life = Life::Leaving { opened_at, ending };
                self.end_if_played(ending);
            }
            Life::Opening { .. } | Life::Waiting { .. } | Life::Listening { .. } => {
                self.end(ending);
            }
            Life::Leaving { .. } | Life::Over { .. } => {}
        }
    }

    /// No more audio comes in this turn: its last frame is filled up, or its last mark is sent.
    pub(super) fn end_agents_turn(&mut self) {
        let Some(audio) = &mut self.audio else { return };
        if audio.downlink.end_turn(&mut self.tally)
            && let Some(mark) = self.turns.all_left()
        {
            self.phone.send_mark(mark);
        }
    }

    /// The same, unless another line is being had.
    pub(super) fn leave_unless_swapping(&mut self, ending: Ending) {
        if !matches!(self.life, Life::Swapping { .. }) {
            self.leave(ending);
        }
    }

    /// Ends a call that is being left, once its caller has heard all there was.
    pub(super) fn end_if_played(&mut self, ending: Ending) {
        let Some(audio) = &self.audio else { return self.end(ending) };
        let heard = self.phone.returns_marks() && self.turns.all_heard();
        if audio.downlink.is_empty() && (heard || self.now >= self.played_by()) {
            self.end(ending);
        }
    }

    /// When everything sent must have been played: a carrier gets time to say so itself.
    pub(super) fn played_by(&self) -> Nanos {
        let dry_at = self.audio.as_ref().map_or(self.now, |audio| audio.downlink.dry_at());
        if self.phone.returns_marks() { dry_at.plus(FAREWELL_TIMEOUT) } else { dry_at }
    }

    /// The call is over: both legs are told, what still waits is counted, nothing more is taken.
    pub(super) fn end(&mut self, ending: Ending) {
        let opened_at = match self.life {
            Life::Over { .. } => return,
            Life::Opening { since } => since,
            Life::Waiting { opened_at }
            | Life::Live { opened_at }
            | Life::Listening { opened_at }
            | Life::Swapping { opened_at, .. }
            | Life::Leaving { opened_at, .. } => opened_at,
        };
        self.life = Life::Over { since: self.now };
        if let Some(tap) = &mut self.tap {
            tap.cut(self.now);
            tap.end(self.now);
        }
        if ending.may_return() {
            // What was still to be played he has not heard, wherever he goes on.
            let heard_ms = self.heard_ms();
            self.memory.interrupted(heard_ms);
        }
        self.tell_said(true);
        self.end_reorder();
        lose(&mut self.agent.held, Dropped::Ended, &mut self.tally.uplink);
        if let Some(Audio { uplink, downlink, .. }) = &mut self.audio {
            uplink.end(&mut self.tally.uplink);
            downlink.clear(self.now, Dropped::Ended, &mut self.tally);
        }
        self.close_phone(ending);
        self.close_agent(CloseCode::NORMAL);
        let (uplink, downlink) = (&self.tally.uplink, &self.tally.downlink);
        let format = self.audio.as_ref().map_or(Format::Mulaw8k, |audio| audio.format);
        if !self.is_fork {
            self.requests.push_back(Request::Report(Report::Ended {
                ending,
                lasted: self.now.since(opened_at),
                uplink_ms: uplink.samples_out * 1_000 / u64::from(format.rate_hz()),
                downlink_ms: downlink.samples_out * 1_000 / u64::from(MODEL_RATE_HZ),
                barge_ins: self.tally.barge_ins,
            }));
        }
        self.tell_journal_end(ending);
        self.requests.push_back(Request::Ended(ending));
    }

    /// The phone's socket is gone, and what waited for it is lost with it.
    pub(super) fn lose_phone(&mut self) {
        self.phone_end.lost();
        lose(&mut self.phone.output, Dropped::Unsent, &mut self.tally.downlink);
    }

    /// The phone's socket is to be dropped as it is.
    pub(super) fn give_up_phone(&mut self) {
        self.lose_phone();
        self.given_up = true;
    }

    /// The model's socket is gone, and what waited for it is lost with it.
    pub(super) fn lose_agent(&mut self) {
        self.agent_life = LegLife::Gone;
        lose(&mut self.agent.output, Dropped::Unsent, &mut self.tally.uplink);
    }

    /// The model's socket is to be dropped as it is.
    pub(super) fn abandon_agent(&mut self) {
        self.lose_agent();
        self.agent_abandoned = true;
    }

    pub(super) fn close_phone(&mut self, ending: Ending) {
        if !self.phone_end.may_close() {
            return;
        }
        if let Some(message) = sentence_for(ending) {
            self.phone.tell(&ToBrowser::Error { code: code_for(ending), message });
        }
        self.phone.tell(&ToBrowser::End { reason: ending.label() });
        let code = match self.class {
            Some(Class::Web) => ending.web_close_code(),
            _ => ending.phone_close_code(),
        };
        let code = CloseCode::new(code).unwrap_or(CloseCode::INTERNAL);
        self.phone_end.close(code, ending.label(), NO_MASK, self.phone.output.tail());
    }

    pub(super) fn close_agent(&mut self, code: CloseCode) {
        match self.agent_life {
            LegLife::Open => {
                self.agent.send_close(code);
                self.agent_life = LegLife::Closing;
                self.agent_closed_at = self.now;
            }
            LegLife::Absent => self.agent_life = LegLife::Gone,
            LegLife::Closing | LegLife::Gone => {}
        }
    }
}

/// Counts the audio in what can no longer be sent, and forgets it.
pub(super) fn lose(output: &mut SendBuf, why: Dropped, flow: &mut Flow) {
    let audio = output.waiting_audio();
    flow.take_back(audio);
    flow.drop_samples(why, audio.samples);
    output.abandon();
}
