//! What is kept of a call: its audio, on a tape for the thread that records, and a copy of both
//! tracks of a call that a carrier sends for that purpose.
//!
//! What was said leaves as [`Report::Said`], a turn at a time, once it is final.
//!
//! In:       that the stream has opened, that it was let in, that its tape found nobody.
//! Out:      [`Request::Record`], once the stream has earned it: a call when its model is there, a
//!           copy when it was let in. Until then its audio waits on the tape.
//! Bounds:   those of `call::tap`.
//! Not here: what is put on the tape and when (`call`, `call::from_phone`), files (`record`).

use std::time::Duration;

use super::audio::Format;
use super::memory::Said;
use super::tap::{Channel, Tap, Tape};
use super::{Call, Ending, Life, Oddity, Opening, Report, Request, Workbench};
use crate::clock::Nanos;
use crate::config::Config;
use crate::wire::browser::ToBrowser;
use crate::wire::twilio::{Media, Track};

/// What is kept of every call.
#[derive(Clone, Debug, Default)]
pub struct Keep {
    /// Whether its audio goes to a tape.
    pub recording: bool,
    /// What a web client is told of that before its model speaks; a carrier's caller has heard it
    /// before the stream begins.
    pub consent: Option<String>,
    /// Whether what was said is reported.
    pub transcript: bool,
}

impl From<&Config> for Keep {
    fn from(config: &Config) -> Keep {
        let recording = config.recording.enabled;
        Keep {
            recording,
            consent: config.recording.consent.clone().filter(|_| recording),
            transcript: config.transcripts.enabled,
        }
    }
}

impl Call {
    /// Whether it is no call but a copy of one's both tracks.
    pub fn is_fork(&self) -> bool {
        self.is_fork
    }

    /// The tape that [`Request::Record`] is about.
    pub fn take_tape(&mut self) -> Option<Box<Tape>> {
        self.tape.take()
    }

    /// The latest time it was told.
    pub fn now(&self) -> Nanos {
        self.now
    }

    /// How long ago its stream opened.
    pub fn age(&self) -> Duration {
        self.now.since(self.opened_at)
    }

    /// Nobody reads the tape.
    pub fn stop_recording(&mut self) {
        self.tape = None;
        if let Some(tap) = self.tap.take() {
            self.tally.taps.add(tap.count());
        }
    }

    /// A copy of both tracks is let in.
    pub fn handle_let_in(&mut self, now: Nanos) {
        self.now = self.now.max(now);
        if let (true, Life::Waiting { opened_at }) = (self.is_fork, self.life) {
            self.life = Life::Listening { opened_at };
            self.requests.push_back(Request::Record);
        }
    }

    /// The call that this is a copy of is over. Its own stream was in order: the carrier hears
    /// 1000.
    pub fn handle_original_over(&mut self, now: Nanos) {
        self.now = self.now.max(now);
        if self.is_fork {
            self.end(Ending::CallerHungUp);
        }
    }

    /// The stream has opened: from now on it is on tape, if anything is.
    pub(super) fn begin_tape(&mut self, up: Format, down: Format) {
        if self.settings.keep.recording {
            let (tap, tape) = Tap::new(self.now, up, down, self.settings.playout_lead);
            (self.tap, self.tape) = (Some(Box::new(tap)), Some(Box::new(tape)));
        }
    }

    /// The call has its first model: it is worth a recording, and a web client is told so.
    pub(super) fn begin_recording(&mut self) {
        if self.tape.is_some() {
            self.requests.push_back(Request::Record);
            if let Some(consent) = &self.settings.keep.consent {
                self.phone.tell(&ToBrowser::Notice { code: "recording", message: consent });
            }
        }
    }

    /// What has become final of what was said is told, where anybody wants to know; `all`: the
    /// call is over, and nothing will be added.
    pub(super) fn tell_said(&mut self, all: bool) {
        if !self.settings.keep.transcript {
            return;
        }
        let heard_ms = self.heard_ms();
        if all {
            // What is still playing is not heard to its end.
            self.memory.interrupted(heard_ms);
        }
        let heard_ms = (!all).then_some(heard_ms);
        while let Some(Said { who, at, text, cut }) = self.memory.next_said(heard_ms) {
            let at = at.since(self.opened_at);
            self.report(Report::Said { who, text, cut, at });
        }
    }

    /// Audio of the model leaves for the phone. The first of an answer tells how long the caller
    /// waited for it.
    pub(super) fn note_answer(&mut self) {
        if !std::mem::take(&mut self.answer_due) {
            return;
        }
        if let Some(spoke_at) = self.ear.spoke_at().filter(|&at| at > self.answered_at) {
            self.report(Report::Answered { after: self.now.since(spoke_at) });
        }
        self.answered_at = self.now;
    }

    /// A copy of both tracks has said whose it is, and asks to be let in.
    pub(super) fn open_fork(&mut self, opening: Opening) {
        self.opened_at = self.now;
        self.begin_tape(Format::Mulaw8k, Format::Mulaw8k);
        self.life = Life::Waiting { opened_at: self.now };
        self.requests.push_back(Request::Admit(opening));
    }

    /// Audio of a copy of both tracks.
    pub(super) fn take_fork_audio(&mut self, media: &Media<'_>, bench: &mut Workbench) {
        let Some(tap) = &mut self.tap else { return };
        bench.bytes.clear();
        if media.payload.decode_base64_append(&mut bench.bytes).is_err() {
            return self.note_phone(Oddity::PhoneBase64);
        }
        let channel = match media.track {
            Track::Inbound => Channel::Caller,
            Track::Outbound => Channel::Agent,
            Track::Unknown => return self.note_phone(Oddity::PhoneOrder),
        };
        tap.arrived(self.now, channel, media.timestamp_ms, &bench.bytes);
    }
}
