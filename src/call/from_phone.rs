//! What the phone's side says, and what follows: whose message it is, and the browser's messages.
//!
//! In:       WebSocket bytes, cut anywhere.
//! Out:      caller audio in the uplink, an [`Opening`], marks heard, a hang-up.
//! Bounds:   [`PHONE_MESSAGE_MAX_BYTES`](crate::limits::PHONE_MESSAGE_MAX_BYTES) by the reader;
//!           [`BROWSER_MESSAGE_MAX_MS`].
//! Not here: a carrier's messages (`from_carrier`), what is said to the phone (`call::phone`).
//!
//! Before the opening, a message that makes no sense ends the call: it is a stranger. After it,
//! such a message is passed over and counted. A message that makes sense but comes too early is
//! passed over and counted at any time.

use super::audio::Format;
use super::phone::NO_MASK;
use super::tap::Channel;
use super::uplink::Uplink;
use super::{
    Audio, Call, Class, Ending, Life, Oddity, Opening, Refusal, Report, Request, Workbench,
};
use crate::call::downlink::{Downlink, MODEL_RATE_HZ};
use crate::clock::Nanos;
use crate::limits::BROWSER_MESSAGE_MAX_MS;
use crate::wire::browser::{self, DEFAULT_RATE_HZ, FromBrowser, ToBrowser};
use crate::wire::gemini;
use crate::wire::json::Text;
use crate::wire::ws::{CloseCode, Event, MessageReader, Role};

impl Call {
    /// Bytes from the phone. Returns how many were used; show the rest again with more behind it.
    pub fn handle_phone_bytes(
        &mut self,
        now: Nanos,
        bytes: &mut [u8],
        bench: &mut Workbench,
    ) -> usize {
        self.now = self.now.max(now);
        self.phone_heard_at = self.now;
        // Taken out for the loop, so that an event may borrow from it while the call changes.
        let mut reader =
            std::mem::replace(&mut self.phone_reader, MessageReader::new(Role::Client, 0));
        let mut used = 0;
        let was_over = self.is_over();
        while self.phone_end.reads() {
            match reader.next(&mut bytes[used..]) {
                Ok((Event::NeedMore { .. }, n)) => {
                    used += n;
                    break;
                }
                Ok((event, n)) => {
                    used += n;
                    self.phone_end.heed(&event, NO_MASK, self.phone.output.tail());
                    self.handle_phone_event(event, bench);
                }
                Err(fault) => {
                    self.phone_end.broke(fault);
                    if !self.is_over() {
                        self.tally.note(Oddity::PhoneFraming);
                        self.end(Ending::PhoneBroke { code: fault.close_code().number() });
                    }
                }
            }
        }
        self.phone_reader = reader;
        if !self.phone_end.reads() {
            // Whatever still comes of a phone that has said goodbye, or cannot be read, is nothing.
            used = bytes.len();
        }
        if was_over && self.phone_end.pass_over(used) {
            self.give_up_phone();
        }
        used
    }

    fn handle_phone_event(&mut self, event: Event<'_>, bench: &mut Workbench) {
        if let Event::Close { code, .. } = event {
            let code = code.map(CloseCode::number);
            self.send_last_words(bench);
            return self.end(Ending::PhoneClosed { code });
        }
        if self.is_over() {
            return;
        }
        if let Event::Text(_) | Event::Binary(_) = event {
            self.pulse.felt(self.now);
        }
        match event {
            Event::Text(text) => self.handle_phone_text(text, bench),
            Event::Binary(bytes) => self.handle_phone_binary(bytes, bench),
            Event::Ping(_)
            | Event::Pong(_)
            | Event::Partial
            | Event::NeedMore { .. }
            | Event::Close { .. } => {}
        }
    }

    fn handle_phone_text(&mut self, text: &str, bench: &mut Workbench) {
        match self.class {
            Some(Class::Twilio) => self.handle_carrier_text(text, bench),
            Some(Class::Web) => self.handle_browser_text(text, bench),
            None => {
                let carrier = self.listen_for_carrier(text);
                self.class = Some(if carrier { Class::Twilio } else { Class::Web });
                self.handle_phone_text(text, bench);
            }
        }
    }

    /// A stranger's message makes no sense: before the opening that ends the call.
    pub(super) fn handle_phone_nonsense(&mut self, oddity: Oddity, code: CloseCode) {
        self.note_phone(oddity);
        if let Life::Opening { .. } = self.life {
            self.end(Ending::PhoneBroke { code: code.number() });
        }
    }

    /// The phone has said who it is: the queues are made, and it asks to be let in.
    pub(super) fn open(&mut self, class: Class, up: Format, down: Format, opening: Opening) {
        let (from, to) = match &opening {
            Opening::Twilio { from, to, .. } => (from.clone(), to.clone()),
            Opening::Web { .. } | Opening::Fork { .. } => (None, None),
        };
        self.class = Some(class);
        let (lead, queue) = (self.settings.playout_lead, self.settings.timers.downlink_queue);
        let dialect = self.dialect.filter(|_| class == Class::Twilio);
        let chunk = dialect.map_or(1, |dialect| dialect.chunks.frames(down.frame_bytes()));
        self.audio = Some(Audio {
            format: up,
            uplink: Uplink::new(up),
            downlink: Downlink::new(down, lead, queue)
                .in_groups_of(self.settings.playout_group)
                .in_chunks_of(chunk, lead, queue),
        });
        self.opened_at = self.now;
        self.begin_tape(up, down);
        self.life = Life::Waiting { opened_at: self.now };
        let call_sid = self.call_sid.clone();
        let (carrier, rate_hz) = (self.carrier(), up.rate_hz());
        self.report(Report::Opened { class, carrier, call_sid, from, to, rate_hz });
        self.note_opening(&opening);
        self.requests.push_back(Request::Admit(opening));
    }

    fn handle_browser_text(&mut self, text: &str, bench: &mut Workbench) {
        self.phone.speak_browser();
        match browser::decode(text) {
            Ok(FromBrowser::Hello { rate_hz, token, agent, resume }) => {
                let owned = |text: Text<'_>| text.to_cow().into_owned();
                let (token, agent, resume) =
                    (token.map(owned), agent.map(owned), resume.map(owned));
                self.open_browser(Opening::Web { token, rate_hz, agent, resume });
            }
            Ok(FromBrowser::Text { text }) => self.take_typed(&text.to_cow()),
            Ok(FromBrowser::Key { digit }) => self.take_key(&digit.to_cow()),
            Ok(FromBrowser::Bye) => {
                self.send_last_words(bench);
                self.end(Ending::CallerHungUp);
            }
            Ok(FromBrowser::Unknown) => {
                self.handle_phone_nonsense(Oddity::PhoneUnknown, CloseCode::POLICY);
            }
            Err(_) => {
                self.handle_phone_nonsense(Oddity::PhoneMessage, CloseCode::INVALID_PAYLOAD);
            }
        }
    }

    fn open_browser(&mut self, opening: Opening) {
        let (Life::Opening { .. }, &Opening::Web { rate_hz, .. }) = (self.life, &opening) else {
            return self.note_phone(Oddity::PhoneOrder);
        };
        let up = Format::Pcm16 { rate_hz };
        if !Uplink::can_reach(up, self.settings.uplink_rate_hz) {
            self.note_phone(Oddity::PhoneMessage);
            let message = "This sample rate is not supported.";
            self.phone.tell(&ToBrowser::Error { code: "rate", message });
            return self.end(Ending::PhoneBroke { code: CloseCode::UNSUPPORTED.number() });
        }
        let down = Format::Pcm16 { rate_hz: MODEL_RATE_HZ };
        self.open(Class::Web, up, down, opening);
    }

    fn take_typed(&mut self, text: &str) {
        if let Life::Live { .. } | Life::Swapping { .. } = self.life {
            self.tell_agent(gemini::text_json(text));
            self.memory.typed(self.now, text);
            self.watch.caller_spoke(self.now);
        } else {
            self.note_phone(Oddity::PhoneOrder);
            let message = "The agent is not there yet.";
            self.phone.tell(&ToBrowser::Error { code: "not_ready", message });
        }
    }

    fn handle_phone_binary(&mut self, audio: &[u8], bench: &mut Workbench) {
        if self.class == Some(Class::Twilio) {
            return self.handle_carrier_binary(audio, bench);
        }
        if let Life::Opening { .. } = self.life {
            self.phone.speak_browser();
            let rate_hz = DEFAULT_RATE_HZ;
            self.open_browser(Opening::Web { token: None, rate_hz, agent: None, resume: None });
        }
        let Some(Audio { format, uplink, .. }) = &mut self.audio else { return };
        if audio.len() > format.bytes_of_ms(BROWSER_MESSAGE_MAX_MS) {
            self.note_phone(Oddity::PhoneMessage);
            let message = "One message may hold at most 100 ms of audio.";
            return self.phone.tell(&ToBrowser::Error { code: "audio_too_long", message });
        }
        uplink.push(self.now, audio, &mut self.tally);
        if let Some(tap) = &mut self.tap {
            tap.arrived(self.now, Channel::Caller, None, audio);
        }
        let format = *format;
        if self.is_uplink_held() {
            bench.bytes.clear();
            bench.bytes.extend_from_slice(&audio[..audio.len() / 2 * 2]);
            self.listen_ahead(format, bench);
        }
    }

    /// Listens to the audio in `bench.bytes`, which cannot go on at once: what can is listened to
    /// on its way.
    pub(super) fn listen_ahead(&mut self, format: Format, bench: &mut Workbench) {
        bench.source_pcm.clear();
        format.decode(&bench.kernels, &bench.bytes, &mut bench.source_pcm);
        self.listen(format.rate_hz(), &bench.source_pcm);
        if let Some(audio) = &mut self.audio {
            audio.uplink.note_heard();
        }
    }
}

/// The word a browser is told an ending by: a refusal's own where it was refused.
pub(super) const fn code_for(ending: Ending) -> &'static str {
    match ending {
        Ending::Refused(refusal) => refusal.label(),
        other => other.label(),
    }
}

/// What a browser is told of an ending that is not its own doing.
pub(super) fn sentence_for(ending: Ending) -> Option<&'static str> {
    match ending {
        Ending::CallerHungUp
        | Ending::PhoneClosed { .. }
        | Ending::PhoneLost
        | Ending::AgentHungUp
        | Ending::Transferred => None,
        Ending::PhoneSilent | Ending::MediaTimeout | Ending::PhoneStalled => {
            Some("The connection was too slow.")
        }
        Ending::PhoneBroke { .. } | Ending::UnknownCodec => {
            Some("The relay did not understand this client.")
        }
        Ending::NoStart => Some("The conversation was not begun in time."),
        Ending::Refused(Refusal::Full | Refusal::Quota | Refusal::Late | Refusal::Descriptors) => {
            Some("Every line is busy at present.")
        }
        Ending::Refused(Refusal::AddressFull) => Some("Too many conversations from this address."),
        Ending::Refused(Refusal::Draining) => Some("The relay is being restarted."),
        Ending::Refused(Refusal::NoAgent) => Some("There is no such agent for web clients."),
        Ending::Refused(Refusal::NumberFull) => Some("This number is on the line already."),
        Ending::Refused(_) => Some("This conversation was not let in."),
        Ending::NoModel(_) => Some("The agent cannot be reached at present."),
        Ending::ModelClosed { .. }
        | Ending::ModelLost
        | Ending::ModelSilent
        | Ending::ModelBroke { .. } => Some("The connection to the agent was lost."),
        Ending::TooLong => Some("The conversation was as long as it may be."),
        Ending::Machine => Some("Nobody seems to listen."),
        Ending::Replaced => Some("This conversation goes on elsewhere."),
        Ending::Drained => Some("The relay is being stopped."),
        Ending::Internal => Some("The relay failed in this conversation."),
    }
}
