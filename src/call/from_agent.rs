//! What the model says, and what follows: its audio, its turns, interruptions, transcripts.
//!
//! In:       WebSocket bytes, cut anywhere; text and binary messages alike.
//! Out:      model audio in the downlink, a barge-in, words for a browser.
//! Bounds:   [`AGENT_MESSAGE_MAX_BYTES`](crate::limits::AGENT_MESSAGE_MAX_BYTES) by the reader.
//! Not here: what is said to the model (`call::agent`), `setup` (`dial`).
//!
//! An `interrupted` is obeyed before anything else in its message: audio beside it is part of what
//! it cancels.

use super::session::Cause;
use super::{
    Audio, Call, Dropped, Ending, LegLife, Life, Nudge, Oddity, Report, Request, Workbench,
};
use crate::clock::Nanos;
use crate::limits::ANSWER_HEARD_MS;
use crate::wire::browser::{ToBrowser, Who};
use crate::wire::gemini::{self, CloseClass, Interaction, ServerMessage, Transcription};
use crate::wire::ws::{CloseCode, Event, MessageReader, Role};

impl Call {
    /// Bytes from the model. Returns how many were used; show the rest again with more behind it.
    pub fn handle_agent_bytes(
        &mut self,
        now: Nanos,
        bytes: &mut [u8],
        bench: &mut Workbench,
    ) -> usize {
        self.now = self.now.max(now);
        self.agent_silent_since = None;
        // Taken out for the loop, so that an event may borrow from it while the call changes.
        let mut reader =
            std::mem::replace(&mut self.agent_reader, MessageReader::new(Role::Server, 0));
        let mut used = 0;
        while self.agent_life != LegLife::Gone {
            match reader.next(&mut bytes[used..]) {
                Ok((Event::NeedMore { .. }, n)) => {
                    used += n;
                    break;
                }
                Ok((event, n)) => {
                    used += n;
                    self.handle_agent_event(event, bench);
                }
                Err(fault) => {
                    if self.agent_life == LegLife::Open {
                        self.tally.note(Oddity::AgentFraming);
                        self.close_agent(fault.close_code());
                        let code = fault.close_code().number();
                        self.recover(Cause::Broke, Ending::ModelBroke { code });
                    }
                    used = bytes.len();
                    break;
                }
            }
        }
        self.agent_reader = reader;
        bench.tidy();
        if self.agent_life == LegLife::Gone { bytes.len() } else { used }
    }

    fn handle_agent_event(&mut self, event: Event<'_>, bench: &mut Workbench) {
        if let Event::Close { code, reason } = event {
            let asked = self.agent_life == LegLife::Closing;
            self.close_agent(code.unwrap_or(CloseCode::NORMAL));
            self.agent_life = LegLife::Gone;
            return self.take_close(asked, code.map(CloseCode::number), reason);
        }
        let (Life::Live { .. } | Life::Swapping { .. }) = self.life else { return };
        match event {
            Event::Text(text) => self.handle_agent_text(text, bench),
            Event::Binary(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => self.handle_agent_text(text, bench),
                Err(_) => self.note_agent(Oddity::AgentMessage),
            },
            Event::Ping(payload) if self.agent_life == LegLife::Open => {
                self.agent.send_pong(payload);
            }
            Event::Ping(_) => {}
            Event::Pong(_) | Event::Partial | Event::NeedMore { .. } | Event::Close { .. } => {}
        }
    }

    /// The model's close; `asked`: it answers ours.
    fn take_close(&mut self, asked: bool, code: Option<u16>, reason: &str) {
        if !asked && let Life::Live { .. } = self.life {
            // A close without a code is the normal one.
            let class = CloseClass::of(Some(code.unwrap_or(1000)), reason);
            self.tally.lines.note_close(code, class);
            return self.recover(Cause::Closed(class), Ending::ModelClosed { code });
        }
        self.note_line_gone();
        self.leave_unless_swapping(Ending::ModelClosed { code });
    }

    fn handle_agent_text(&mut self, text: &str, bench: &mut Workbench) {
        let Ok(message) = gemini::decode(text) else {
            return self.note_agent(Oddity::AgentMessage);
        };
        if message.interrupted {
            let with_audio = message.audio_parts().next().is_some();
            self.take_interruption(with_audio);
            self.reconsider_farewell();
        }
        self.tell_transcripts(&message);
        self.take_model_audio(&message, bench);
        if message.generation_complete || message.turn_complete {
            self.generating = false;
            if message.turn_complete && !message.interrupted {
                self.review_turn(&message);
            }
            self.complete(message.turn_complete);
        }
        if message.waiting_for_input && !self.line.is_refused {
            self.watch.waits();
        }
        match message.interaction {
            Some(told) => self.in_progress = told == Interaction::InProgress,
            None if message.turn_complete => self.in_progress = false,
            None => {}
        }
        if let Some(update) = &message.resumption {
            let handle = update.usable_handle();
            self.session.updated(handle.map(|handle| handle.to_cow()).as_deref());
            if let (Some(_), Some(index)) = (handle, update.last_consumed) {
                self.agent.consumed(index);
            }
        }
        // Also on a connection that is being closed: what it took back is not to be answered on the
        // next one.
        self.take_tool_calls(&message);
        if self.agent_life == LegLife::Open {
            self.heed(&message);
        }
    }

    /// The model says that the caller spoke over it. An end that is never silent, an announcement
    /// or another machine, lets no answer begin.
    fn take_interruption(&mut self, with_audio: bool) {
        self.generating = false;
        self.watch.interrupted(self.now, self.ear.spoken_ms(self.now));
        let begun_ms = self.audio.as_ref().map_or(0, |Audio { downlink, .. }| {
            let total_ms = self.turns.sent_ms() + downlink.queued_ms();
            total_ms.saturating_sub(downlink.turn_ms())
        });
        let heard_ms = self.heard_ms().saturating_sub(begun_ms);
        self.barge_in(with_audio);
        if !std::mem::take(&mut self.answer_began) {
            return;
        }
        self.unheard_answers =
            if heard_ms < ANSWER_HEARD_MS { self.unheard_answers + 1 } else { 0 };
        let most = self.settings.timers.interruptions;
        if most > 0 && self.unheard_answers >= most {
            self.end(Ending::Machine);
        }
    }

    /// The model's turn is complete: whether it was one. A sentence that breaks off after a moment
    /// is asked to be gone on with, once; a turn without a word though one is owed is asked for,
    /// once: what follows then is for the watch to say.
    fn review_turn(&mut self, message: &ServerMessage<'_>) {
        let Some(Audio { downlink, .. }) = &self.audio else { return };
        let is_quiet = !self.ear.hears_speech(self.now);
        if !self.turns.is_agents() {
            let failed =
                message.turn_complete_reason.is_some_and(|reason| is_failure(&reason.to_cow()));
            if failed && is_quiet && self.watch.is_unasked() {
                self.watch.asked(self.now);
                self.nudge(Nudge::Reply);
            }
            return;
        }
        self.unheard_answers = 0;
        let is_short = u128::from(downlink.turn_ms()) < self.settings.timers.short_turn.as_millis();
        if !is_short {
            self.went_on = false;
        } else if is_quiet && !self.went_on && self.memory.breaks_off() == Some(true) {
            self.went_on = true;
            self.nudge(Nudge::GoOn);
        }
    }

    /// What a message says of the connection itself.
    fn heed(&mut self, message: &ServerMessage<'_>) {
        if let Some(time_left) = message.go_away {
            if self.session.go_away(self.now, time_left) {
                self.requests.push_back(Request::Spare);
            }
            self.report(Report::GoAway { time_left });
        }
        if let Some(error) = &message.error {
            let text = error.message.or(error.status).unwrap_or_default().to_cow();
            let class = match CloseClass::of(Some(1011), &text) {
                CloseClass::Internal => CloseClass::Other,
                told => told,
            };
            self.tally.lines.note_close(None, class);
            self.recover(Cause::Closed(class), Ending::ModelClosed { code: None });
        }
    }

    fn take_model_audio(&mut self, message: &ServerMessage<'_>, bench: &mut Workbench) {
        for part in message.audio_parts() {
            bench.bytes.clear();
            if part.base64.decode_base64_append(&mut bench.bytes).is_err() {
                self.note_agent(Oddity::AgentBase64);
                continue;
            }
            let Some(Audio { downlink, .. }) = &mut self.audio else { return };
            if bench.bytes.is_empty() {
                continue;
            }
            if self.line.is_refused {
                downlink.refuse(bench.bytes.len(), Dropped::Tone, &mut self.tally);
                continue;
            }
            if !downlink.can_play(part.rate_hz) {
                self.note_agent(Oddity::AgentRate);
                continue;
            }
            let had_floor = self.turns.is_agents();
            let live = !message.interrupted && self.turns.audio_came(self.now);
            if !live {
                downlink.refuse(bench.bytes.len(), Dropped::Late, &mut self.tally);
                continue;
            }
            let from_ms = self.turns.sent_ms() + downlink.queued_ms();
            let samples = downlink.push(self.now, part.rate_hz, bench, &mut self.tally);
            if samples == 0 {
                continue;
            }
            self.memory.audio(from_ms, self.turns.sent_ms() + downlink.queued_ms());
            let steady_ms = downlink.steady_ms();
            (self.has_spoken, self.generating, self.answer_began) = (true, true, true);
            self.watch.answered();
            self.session.was_heard(self.now);
            self.show_heard(Who::Agent);
            if !had_floor {
                self.answer_due = true;
                self.phone.tell_turn(Who::Agent);
            }
            let tone = self.settings.timers.tone;
            if !tone.is_zero() && u128::from(steady_ms) >= tone.as_millis() {
                self.refuse_tone();
            }
        }
    }

    /// What the model says is a tone or noise: nothing of this connection is heard any more, and
    /// another session is begun, unless another connection is being had already.
    fn refuse_tone(&mut self) {
        self.line.is_refused = true;
        let heard_ms = self.heard_ms();
        self.memory.interrupted(heard_ms);
        self.void_answer(Dropped::Tone, false);
        // It is no answer that was cut off.
        self.generating = false;
        self.turns.turn_completed();
        if let Life::Live { .. } = self.life {
            self.recover(Cause::Tone, Ending::ModelSilent);
        }
        self.watch.caller_spoke(self.now);
    }

    /// No more audio comes of this generation, or the whole turn is over.
    pub(super) fn complete(&mut self, turn_complete: bool) {
        let had_floor = self.turns.is_agents();
        if had_floor {
            self.end_agents_turn();
        }
        if turn_complete {
            self.memory.end_turn(false);
            self.tell_said(false);
            self.turns.turn_completed();
            if had_floor {
                self.phone.tell_turn(Who::Caller);
            }
        }
    }

    fn tell_transcripts(&mut self, message: &ServerMessage<'_>) {
        let pieces = [
            (Who::Caller, &message.input_transcription),
            (Who::Agent, &message.output_transcription),
        ];
        for (who, piece) in pieces {
            if who == Who::Agent && self.line.is_refused {
                continue;
            }
            if let Some(Transcription { text, finished }) = piece {
                let is_final = finished.unwrap_or(false);
                match self.memory.add(self.now, who, &text.to_cow()) {
                    Some(text) => {
                        self.tell_said(false);
                        self.phone.tell(&ToBrowser::Transcript { who, text: &text, is_final });
                    }
                    None => self.tally.lines.replayed_transcripts += 1,
                }
            }
        }
    }

    /// `who` is heard on this connection: what was taken for a repetition and was none is shown.
    pub(super) fn show_heard(&mut self, who: Who) {
        if self.memory.expects_repetition_of(who)
            && let Some(text) = self.memory.is_heard(self.now, who)
        {
            self.phone.tell(&ToBrowser::Transcript { who, text: &text, is_final: false });
        }
    }
}

/// Whether a turn ended for a fault of the model's. A word we do not know is one.
fn is_failure(reason: &str) -> bool {
    !matches!(reason, "TURN_COMPLETE_REASON_UNSPECIFIED" | "NEED_MORE_INPUT" | "")
}
