//! What a call does while its model's connection is swapped: the phone goes on as if nothing were,
//! what the caller says waits, and another line is asked for.
//!
//! In:       why the connection cannot go on; what [`Session`](super::session::Session) wishes.
//! Out:      [`Request::Redial`], reports; in the end a call that is live again, or left.
//! Bounds:   `uplink_hold` of caller audio and `waiting_messages` of the settings; the session's
//!           own.
//! Not here: how often and how long it is tried (`call::session`).

use std::sync::Arc;

use super::ending::lose;
use super::session::{Cause, Swapped, Wish};
use super::watch::Alarm;
use super::{
    Call, Dropped, Ending, LegLife, Life, LineFacts, LineTerms, Nudge, Oddity, Report, Request,
};
use crate::clock::Nanos;
use crate::config::Timers;
use crate::limits::AGENT_MESSAGE_MAX_BYTES;
use crate::wire::browser::Who;
use crate::wire::gemini::audio_stream_end_json;
use crate::wire::ws::{CloseCode, MessageReader, Role};

impl Call {
    /// The model's connection cannot go on. Another is asked for where that may help; else the
    /// call is left with `ending`.
    pub(super) fn recover(&mut self, cause: Cause, ending: Ending) {
        let Life::Live { opened_at } = self.life else {
            return match self.session.keeps_old() {
                // The old connection, kept until the new one is up, does not last so long.
                true => {
                    self.close_agent(CloseCode::NORMAL);
                    self.session.old_closing(self.now);
                }
                false => self.give_up(ending),
            };
        };
        let cause = self.session.attribute(cause);
        self.tally.note_line_given_up(cause);
        let is_open = matches!(self.agent_life, LegLife::Open | LegLife::Closing);
        let Some(remedy) = self.session.give_up_line(self.now, cause, is_open) else {
            return self.give_up(ending);
        };
        self.agent.hold_audio();
        if !self.session.keeps_old() {
            self.close_agent(CloseCode::NORMAL);
        }
        self.life = Life::Swapping { opened_at, ending };
        // What it was saying may still come whole.
        self.watch.line_gone(self.now, false);
        self.hold.line_gone();
        if !is_open {
            self.cut_off();
        }
        if let Some(audio) = &mut self.audio {
            audio.uplink.hold(self.settings.timers.uplink_hold, &mut self.tally.uplink);
            if remedy.drops_audio {
                audio.uplink.drop_waiting(Dropped::Suspect, &mut self.tally.uplink);
                lose(&mut self.agent.held, Dropped::Suspect, &mut self.tally.uplink);
                self.agent.forget_replay();
            }
        }
        self.report(Report::LineGivenUp { cause });
        self.attend();
    }

    /// There is nothing more to be tried.
    pub(super) fn give_up(&mut self, ending: Ending) {
        self.close_agent(CloseCode::NORMAL);
        self.leave(ending);
    }

    /// The connection that was given up is gone. What still came of it is whole.
    pub(super) fn note_line_gone(&mut self) {
        if let Life::Swapping { .. } = self.life {
            self.cut_off();
            self.session.line_gone(self.now);
            self.attend();
        }
    }

    /// Nothing more comes of the old connection: what it was saying ends here.
    fn cut_off(&mut self) {
        if self.generating {
            self.watch.line_gone(self.now, true);
        }
        self.memory.end_turn(self.generating);
        self.generating = false;
        self.complete(true);
    }

    /// Does what the session wants done by now.
    pub(super) fn attend(&mut self) {
        if let Life::Live { .. } | Life::Swapping { .. } = self.life {
            self.attend_errands();
        }
        if let Life::Live { .. } = self.life {
            self.attend_line();
        }
        if let (Life::Swapping { .. }, true) = (self.life, self.now >= self.agent_close_due()) {
            self.abandon_agent();
            self.cut_off();
            self.session.line_gone(self.now);
        }
        while let Life::Swapping { ending, .. } = self.life {
            match self.session.poll(self.now) {
                None => return,
                Some(Wish::Abandon) => {
                    self.abandon_agent();
                    self.cut_off();
                }
                Some(Wish::Dial(kind)) => {
                    let revival = self.session.revival(kind, || self.memory.summary());
                    self.requests.push_back(Request::Redial(revival));
                }
                Some(Wish::GiveUp) => self.give_up(ending),
            }
        }
    }

    /// Sees to a line that is up: whether it has to be given up, whether the model answers.
    fn attend_line(&mut self) {
        self.attend_hold();
        if self.now >= self.session.ages_at() {
            self.session.aged(self.now);
            self.requests.push_back(Request::Spare);
        }
        if self.now >= self.rotation_due() {
            return self.recover(Cause::GoAway, Ending::ModelClosed { code: None });
        }
        if self.now >= self.stream_end_due() {
            self.stream_ended = true;
            self.tally.lines.stream_ends += 1;
            self.agent.send_json(audio_stream_end_json());
        }
        match self.watch.poll(self.now) {
            None => {}
            Some(Alarm::Nudge(why)) => self.nudge(why),
            Some(Alarm::GiveUpLine(cause)) => self.recover(cause, Ending::ModelSilent),
        }
    }

    /// Asks the model to speak.
    pub(super) fn nudge(&mut self, why: Nudge) {
        let Call { agent, line, .. } = self;
        let json = if why == Nudge::GoOn { &line.go_on } else { &line.nudge };
        if !json.is_empty() && agent.has_room(json.len()) {
            agent.send_json(json);
        }
        self.tally.lines.nudges[why as usize] += 1;
        self.report(Report::Nudged);
    }

    /// When the connection is to be given up because the model announced its end, or because of its
    /// age: at a moment when nobody speaks and nothing is owed, or when time is up.
    fn rotation_due(&self) -> Nanos {
        let is_busy =
            self.generating || self.in_progress || self.watch.is_owed() || self.tools.is_pending();
        self.session.rotation_due((!is_busy).then(|| self.ear.calm_at()))
    }

    /// When the model that owes an answer is told that the caller's words have ended.
    fn stream_end_due(&self) -> Nanos {
        let after = self.settings.timers.stream_end;
        let waits = |audio: &super::Audio| audio.uplink.groups_waiting() > 0;
        if after.is_zero() || self.is_uplink_held() || self.audio.as_ref().is_some_and(waits) {
            // His words are not all there yet.
            return Nanos::NEVER;
        }
        match self.ear.spoke_at() {
            Some(spoke_at) if !self.stream_ended && self.watch.is_owed() => spoke_at.plus(after),
            _ => Nanos::NEVER,
        }
    }

    /// Sees to what the call has under way besides talking.
    fn attend_errands(&mut self) {
        self.attend_tools();
        self.attend_keys();
        self.attend_farewell();
    }

    /// When that is due.
    pub(super) fn errands_due(&self) -> Nanos {
        self.tools_due().min(self.keys_due()).min(self.farewell_due())
    }

    /// When [`Call::attend`] is to be called while the line is up.
    pub(super) fn line_due(&self) -> Nanos {
        self.rotation_due()
            .min(self.watch.next_due())
            .min(self.session.ages_at())
            .min(self.stream_end_due())
            .min(self.hold.next_due())
            .min(self.tools.gate_due(self.now))
    }

    /// Caller audio, decoded.
    pub(super) fn listen(&mut self, rate_hz: u32, pcm: &[i16]) {
        if !self.ear.hear(self.now, rate_hz, pcm) {
            return;
        }
        self.stream_ended = false;
        if self.is_uplink_held() {
            self.hold.heard(pcm.len(), rate_hz);
        }
        self.show_heard(Who::Caller);
        // Who talks along while the model is heard wants no answer; who interrupts it is told of.
        if self.agent_life != LegLife::Absent && !self.is_model_audible() {
            self.watch.caller_heard(self.now);
        }
    }

    /// Whether a line to the model is wanted at this moment. One that comes at any other is to be
    /// dismissed.
    pub fn awaits_line(&self) -> bool {
        match self.life {
            Life::Waiting { .. } => true,
            Life::Swapping { .. } => self.session.awaits_line(),
            _ => false,
        }
    }

    /// Whether the connection to the model is to be dropped though it has not sent everything.
    pub fn has_given_up_agent(&self) -> bool {
        self.given_up || self.agent_abandoned
    }

    /// Another connection is there: the old one, if it was kept so long, is closed. Whoever has its
    /// socket sends what waits for it, and drops it.
    pub fn dismiss_agent(&mut self, now: Nanos) {
        self.now = self.now.max(now);
        let is_there = matches!(self.agent_life, LegLife::Open | LegLife::Closing);
        if let (Life::Swapping { .. }, true) = (self.life, is_there) {
            self.agent.hold_audio();
            self.close_agent(CloseCode::NORMAL);
            self.cut_off();
        }
    }

    /// The new connection takes the place of the old one.
    pub(super) fn take_line(&mut self, opened_at: Nanos, terms: &LineTerms) {
        self.dismiss_agent(self.now);
        // Whatever was left for the old one is lost with it.
        self.lose_agent();
        self.life = Life::Live { opened_at };
        self.agent_life = LegLife::Open;
        self.agent_abandoned = false;
        self.agent_silent_since = None;
        self.agent_reader = MessageReader::new(Role::Server, AGENT_MESSAGE_MAX_BYTES);
        self.agent_oddities = 0;
        self.in_progress = false;
        self.line = LineFacts {
            is_resumable: terms.resumable,
            nudge: terms.nudge.clone(),
            go_on: terms.go_on.clone(),
            is_refused: false,
        };
        if let Some(agent) = &terms.agent {
            self.take_timers(&agent.timers);
        }
        let swapped = self.session.came_up(self.now);
        if let Some(Swapped { kind, cause, since }) = swapped {
            self.tally.note_swap(kind, cause);
            self.report(Report::Swapped { kind, cause, took: self.now.since(since) });
        }
        let resumed = swapped.is_some_and(|swapped| swapped.is_resumed());
        self.open_conversation(resumed, terms);
        self.send_held();
        if let Some(audio) = &mut self.audio {
            audio.uplink.open(self.now, terms);
        }
    }

    /// The timers of the agent that answers.
    pub(super) fn take_timers(&mut self, timers: &Arc<Timers>) {
        self.settings.timers = Arc::clone(timers);
        self.session.set_timers(Arc::clone(timers));
        self.watch.set_timers(Arc::clone(timers));
        self.ear.set_quiet(timers.quiet);
    }

    /// What a connection is told first: what was said before, the greeting where none has been
    /// heard, and what waited for it.
    fn open_conversation(&mut self, resumed: bool, terms: &LineTerms) {
        self.watch.line_up(self.now, resumed);
        if resumed {
            self.memory.expect_repetition();
        }
        let replayed = self.agent.line_up(terms.transparent, resumed);
        self.tally.lines.replayed_messages += replayed;
        if let Some(seed) = terms.seed.as_deref().filter(|_| !resumed) {
            self.agent.send_json(seed);
        }
        self.tools_line_up(resumed, terms.agent.as_ref());
        if let (Some(greeting), false, false) = (&terms.greeting, self.has_spoken, resumed) {
            self.agent.send_json(greeting);
            self.watch.asked_to_greet(self.now);
            self.hold.asked_to_greet(self.now, self.settings.timers.greeting_hold);
        }
        let was_cut_off = self.watch.was_cut_off().then_some(Nudge::CutOff);
        let lost_its_greeting = self.watch.lost_its_greeting().then_some(Nudge::Greeting);
        if let (Some(why), true, false) =
            (was_cut_off.or(lost_its_greeting), resumed, self.line.nudge.is_empty())
        {
            self.watch.asked(self.now);
            self.nudge(why);
        }
        for message in self.waiting_messages.drain(..) {
            self.agent.send_json(&message);
        }
    }

    /// Sends what had been meant for the connection before and had not left, within the bound on
    /// what may wait during a swap.
    fn send_held(&mut self) {
        let hold = self.settings.timers.uplink_hold;
        let spare = self.audio.as_ref().map_or(0, |audio| audio.uplink.spare_samples(hold));
        let dropped = self.agent.held.drop_oldest_audio(spare);
        self.tally.uplink.take_back(dropped);
        self.tally.uplink.drop_samples(Dropped::Overrun, dropped.samples);
        self.agent.release_held();
    }

    /// Says something to the model that is no audio: at once, or when it is back.
    pub(super) fn tell_agent(&mut self, json: String) {
        match self.life {
            Life::Live { .. } if self.agent.has_room(json.len()) => self.agent.send_json(&json),
            Life::Swapping { .. }
                if self.waiting_messages.len() < self.settings.timers.waiting_messages =>
            {
                self.waiting_messages.push(json);
            }
            _ => self.tally.note(Oddity::AgentAway),
        }
    }
}
