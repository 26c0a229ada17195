//! What a call does while its model's connection is swapped: the phone goes on as if nothing were,
//! what the caller says waits, and another line is asked for.
//!
//! In:       why the connection cannot go on; what [`Session`](super::session::Session) wishes.
//! Out:      [`Request::Redial`], reports; in the end a call that is live again, or left.
//! Bounds:   [`SWAP_QUEUE_MS`](crate::limits::SWAP_QUEUE_MS) of caller audio,
//! [`SWAP_MESSAGES_MAX`] messages; the session's own.
//! Not here: how often and how long it is tried (`call::session`).

use super::session::{Cause, Swapped, Wish};
use super::{Call, Ending, LegLife, Life, LineTerms, Oddity, Report, Request};
use crate::clock::Nanos;
use crate::limits::{AGENT_MESSAGE_MAX_BYTES, SWAP_MESSAGES_MAX};
use crate::wire::ws::{CloseCode, MessageReader, Role};

impl Call {
    /// The model's connection cannot go on. Another is asked for where that may help; else the
    /// call is left with `ending`.
    pub(super) fn recover(&mut self, cause: Cause, ending: Ending) {
        let Life::Live { opened_at } = self.life else { return self.give_up(ending) };
        self.tally.note_line_given_up(cause);
        let is_open = matches!(self.agent_life, LegLife::Open | LegLife::Closing);
        let Some(remedy) = self.session.give_up_line(self.now, cause, is_open) else {
            return self.give_up(ending);
        };
        self.close_agent(CloseCode::NORMAL);
        self.life = Life::Swapping { opened_at, ending };
        self.memory.end_turn(self.turns.is_agents());
        self.complete(true);
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
            self.complete(true);
            self.session.line_gone(self.now);
            self.attend();
        }
    }

    /// Does what the session wants done by now.
    pub(super) fn attend(&mut self) {
        while let Life::Swapping { ending, .. } = self.life {
            match self.session.poll(self.now) {
                None => return,
                Some(Wish::Abandon) => {
                    self.abandon_agent();
                    self.complete(true);
                }
                Some(Wish::Dial(kind)) => {
                    let revival = self.session.revival(kind, || self.memory.summary());
                    self.requests.push_back(Request::Redial(revival));
                }
                Some(Wish::GiveUp) => self.give_up(ending),
            }
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
        if let Some(seed) = terms.seed.as_deref().filter(|_| !resumed) {
            self.agent.send_json(seed);
        }
        if let (Some(greeting), false, false) = (&terms.greeting, self.has_spoken, resumed) {
            self.agent.send_json(greeting);
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
