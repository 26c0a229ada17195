//! What a call does while its model's connection is swapped: the phone goes on as if nothing were,
//! what the caller says waits, and another line is asked for.
//!
//! In:       why the connection cannot go on; what [`Session`](super::session::Session) wishes.
//! Out:      [`Request::Redial`], reports; in the end a call that is live again, or left.
//! Bounds:   [`SWAP_QUEUE_MS`](crate::limits::SWAP_QUEUE_MS) of caller audio,
//! [`SWAP_MESSAGES_MAX`] messages; the session's own.
//! Not here: how often and how long it is tried (`call::session`).

use super::session::{Cause, Swapped, Wish};
use super::watch::Alarm;
use super::{Audio, Call, Ending, LegLife, Life, LineTerms, Oddity, Report, Request};
use crate::clock::Nanos;
use crate::limits::{AGENT_MESSAGE_MAX_BYTES, ECHO_TAIL, SWAP_MESSAGES_MAX};
use crate::wire::ws::{CloseCode, MessageReader, Role};

impl Call {
    /// The model's connection cannot go on. Another is asked for where that may help; else the
    /// call is left with `ending`.
    pub(super) fn recover(&mut self, cause: Cause, ending: Ending) {
        let Life::Live { opened_at } = self.life else { return self.give_up(ending) };
        let cause = self.session.attribute(cause);
        self.tally.note_line_given_up(cause);
        let is_open = matches!(self.agent_life, LegLife::Open | LegLife::Closing);
        let Some(remedy) = self.session.give_up_line(self.now, cause, is_open) else {
            return self.give_up(ending);
        };
        self.close_agent(CloseCode::NORMAL);
        self.life = Life::Swapping { opened_at, ending };
        self.watch.line_gone(self.now, self.generating);
        if !is_open {
            self.cut_off();
        }
        if let Some(audio) = &mut self.audio {
            audio.uplink.hold(&mut self.tally.uplink);
            if remedy.drops_audio {
                audio.uplink.drop_waiting(&mut self.tally.uplink);
            }
        }
        self.report(Report::LineGivenUp { cause });
        self.attend();
    }

    /// There is nothing more to be tried.
    fn give_up(&mut self, ending: Ending) {
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
        if self.now >= self.rotation_due() {
            return self.recover(Cause::GoAway, Ending::ModelClosed { code: None });
        }
        match self.watch.poll(self.now) {
            None => {}
            Some(Alarm::Nudge) => {
                self.tally.lines.nudges += 1;
                self.report(Report::Nudged);
                if !self.nudge.is_empty() {
                    self.agent.send_json(&self.nudge);
                }
            }
            Some(Alarm::GiveUpLine(cause)) => self.recover(cause, Ending::ModelSilent),
        }
    }

    /// When the connection is to be given up because the model announced its end: at a moment
    /// when nobody speaks and nothing is owed, or when time is up.
    fn rotation_due(&self) -> Nanos {
        let is_busy = self.generating || self.watch.is_owed() || self.tools.is_pending();
        self.session.rotation_due((!is_busy).then(|| self.ear.calm_at()))
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
        self.rotation_due().min(self.watch.next_due())
    }

    /// Caller audio, decoded.
    pub(super) fn listen(&mut self, rate_hz: u32, pcm: &[i16]) {
        let speaks = self.ear.hear(self.now, rate_hz, pcm);
        // Who talks along while the model is heard wants no answer; who interrupts it is told of.
        let is_playing = self.audio.as_ref().is_some_and(|Audio { downlink, .. }| {
            let is_fading = self.spoken_to && downlink.dry_at().plus(ECHO_TAIL) > self.now;
            !downlink.is_empty() || is_fading
        });
        if speaks && !is_playing && self.agent_life != LegLife::Absent {
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

    /// The new connection takes the place of the old one.
    pub(super) fn take_line(&mut self, opened_at: Nanos, terms: &LineTerms) {
        // Whatever was left for the old one is lost with it.
        self.lose_agent();
        self.life = Life::Live { opened_at };
        self.agent_life = LegLife::Open;
        self.agent_abandoned = false;
        self.agent_silent_since = None;
        self.agent_reader = MessageReader::new(Role::Server, AGENT_MESSAGE_MAX_BYTES);
        self.agent_oddities = 0;
        self.nudge.clone_from(&terms.nudge);
        if let Some(audio) = &mut self.audio {
            audio.uplink.open(self.now, terms);
        }
        let swapped = self.session.came_up(self.now);
        if let Some(Swapped { kind, cause, since }) = swapped {
            self.tally.note_swap(kind, cause);
            self.report(Report::Swapped { kind, cause, took: self.now.since(since) });
        }
        self.open_conversation(swapped, terms);
    }

    /// What a connection is told first: what was said before, the greeting where none has been
    /// heard, and what waited for it.
    fn open_conversation(&mut self, swapped: Option<Swapped>, terms: &LineTerms) {
        let resumed = swapped.is_some_and(|swapped| swapped.is_resumed());
        self.watch.line_up(self.now, resumed);
        if let Some(seed) = terms.seed.as_deref().filter(|_| !resumed) {
            self.agent.send_json(seed);
        }
        self.tools_line_up(resumed, terms.agent.as_ref());
        if let (Some(greeting), false, false) = (&terms.greeting, self.has_spoken, resumed) {
            self.agent.send_json(greeting);
            self.watch.asked_to_greet(self.now);
        }
        if self.watch.was_cut_off() && resumed && !self.nudge.is_empty() {
            self.tally.lines.nudges += 1;
            self.report(Report::Nudged);
            self.agent.send_json(&self.nudge);
        }
        for message in self.waiting_messages.drain(..) {
            self.agent.send_json(&message);
        }
    }

    /// Says something to the model that is no audio: at once, or when it is back.
    pub(super) fn tell_agent(&mut self, json: String) {
        match self.life {
            Life::Live { .. } if self.agent.has_room(json.len()) => self.agent.send_json(&json),
            Life::Swapping { .. } if self.waiting_messages.len() < SWAP_MESSAGES_MAX => {
                self.waiting_messages.push(json);
            }
            _ => self.tally.note(Oddity::AgentAway),
        }
    }
}
