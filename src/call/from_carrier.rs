//! What a carrier says, in whichever dialect, and what follows.
//!
//! In:       one WebSocket message of a carrier, text or binary.
//! Out:      caller audio in the uplink, an [`Opening`], marks heard, keys, a hang-up.
//! Bounds:   as `from_phone`; audio out of order by `reorder`.
//! Not here: how carriers spell (`wire::dialect`), browsers (`from_phone`).
//!
//! What ends a call at the carrier's side is its own: Twilio's, SignalWire's, Plivo's, Vonage's and
//! jambonz' calls go on with what our document says next when the stream closes, which is nothing
//! or a hang-up; Exotel's go on with the next applet. Telnyx does not end a call whose socket we
//! close: the `<Hangup/>` behind the stream in our document does, once `<Connect>` is over.

use super::audio::Format;
use super::reorder::Arrival;
use super::tap::Channel;
use super::turns::Echo;
use super::{
    AGAIN, Again, Audio, Call, Class, Door, Dropped, Ending, Facts, Life, Oddity, Opening,
    Workbench,
};
use crate::config::Carrier;
use crate::limits::SID_MAX_BYTES;
use crate::wire::dialect::{Dialect, Outbound, Sign, TWILIO, recognise};
use crate::wire::markup;
use crate::wire::twilio::{Inbound, MarkName, Media, Start, Track};
use crate::wire::ws::CloseCode;

impl Call {
    /// Whose stream it is, once known.
    pub fn carrier(&self) -> Option<Carrier> {
        let dialect = self.dialect.filter(|_| self.class == Some(Class::Twilio));
        dialect.map(|dialect| dialect.carrier)
    }

    /// Notes what a text tells of its sender, until a stream has begun. Returns whether it is a
    /// carrier's.
    pub(super) fn listen_for_carrier(&mut self, text: &str) -> bool {
        match recognise(text) {
            Sign::Greeting(dialect) => self.dialect = Some(dialect),
            // A greeting may have told more than a beginning that is spelt the same.
            Sign::Beginning(dialect) => match self.dialect {
                Some(greeted) if dialect.carrier == Carrier::Twilio => self.dialect = Some(greeted),
                _ => self.dialect = Some(dialect),
            },
            Sign::Stranger => return false,
        }
        true
    }

    pub(super) fn handle_carrier_text(&mut self, text: &str, bench: &mut Workbench) {
        if let Life::Opening { .. } = self.life {
            self.listen_for_carrier(text);
        }
        let Ok(message) = self.dialect.unwrap_or(&TWILIO).decode(text) else {
            return self.handle_phone_nonsense(Oddity::PhoneMessage, CloseCode::INVALID_PAYLOAD);
        };
        if let Life::Opening { .. } = self.life {
            return self.handle_carrier_opening(message);
        }
        match message {
            Inbound::Connected | Inbound::Cleared => {}
            Inbound::Start(_) => self.note_phone(Oddity::PhoneOrder),
            Inbound::Media(media) if self.is_fork => self.take_fork_audio(&media, bench),
            Inbound::Media(media) => self.take_carrier_media(&media, bench),
            Inbound::Mark { name } => self.take_mark(&name.to_cow()),
            Inbound::Dtmf { digit } => self.take_key(&digit.to_cow()),
            Inbound::Stop => {
                self.send_last_words(bench);
                self.end(Ending::CallerHungUp);
            }
            // Counted, but never held against a carrier: it may have learnt a new word.
            Inbound::Unknown => self.tally.note(Oddity::PhoneUnknown),
            Inbound::Complaint => self.tally.note(Oddity::PhoneComplaint),
        }
    }

    /// Before `start` nothing else counts; it is passed over, within the bound on oddities and on
    /// the time to `start`.
    fn handle_carrier_opening(&mut self, message: Inbound<'_>) {
        match message {
            Inbound::Connected => {}
            Inbound::Start(start) => self.open_carrier(&start),
            Inbound::Stop => {
                self.note_phone(Oddity::PhoneOrder);
                self.end(Ending::CallerHungUp);
            }
            Inbound::Unknown => self.note_phone(Oddity::PhoneUnknown),
            Inbound::Complaint => self.note_phone(Oddity::PhoneComplaint),
            Inbound::Media(_) | Inbound::Mark { .. } | Inbound::Dtmf { .. } | Inbound::Cleared => {
                self.note_phone(Oddity::PhoneOrder);
            }
        }
    }

    fn open_carrier(&mut self, start: &Start<'_>) {
        let Some(dialect) = self.dialect_here(self.dialect.unwrap_or(&TWILIO)) else {
            return self.handle_phone_nonsense(Oddity::PhoneMessage, CloseCode::POLICY);
        };
        self.dialect = Some(dialect);
        let carrier = dialect.carrier;
        let parameter = |name| {
            let value = start.parameters.get(name)?;
            // Plivo carries letters and digits only.
            let plain = (carrier == Carrier::Plivo).then(|| markup::from_hex(&value)).flatten();
            Some(plain.unwrap_or_else(|| value.into_owned()))
        };
        // The stream of another carrier may know its call by another name than the webhook did.
        let ours = if carrier == Carrier::Twilio { None } else { parameter("call") };
        let call_sid = ours.unwrap_or_else(|| start.call_sid.to_cow().into_owned());
        let stream_sid = start.stream_sid.to_cow().into_owned();
        if call_sid.len() > SID_MAX_BYTES || stream_sid.len() > SID_MAX_BYTES {
            return self.handle_phone_nonsense(Oddity::PhoneMessage, CloseCode::POLICY);
        }
        // Known from here on, so that whoever asks what follows the stream hears why it ended.
        self.call_sid = Some(call_sid.clone());
        let Some(up) = Format::announced(&start.format, dialect.byte_order) else {
            self.note_phone(Oddity::PhoneCodec);
            return self.end(Ending::UnknownCodec);
        };
        if self.is_fork {
            if up != Format::Mulaw8k {
                self.note_phone(Oddity::PhoneCodec);
                return self.end(Ending::UnknownCodec);
            }
            return self.open_fork(Opening::Fork { call_sid, token: parameter("token") });
        }
        // Telnyx plays what we asked to be allowed to send, whatever it sends itself.
        let asked = parameter("down").and_then(|name| asked_format(dialect, &name));
        let down = asked.unwrap_or(up);
        let told = |said: Option<_>| said.map(|text: crate::wire::json::Text<'_>| text.to_string());
        let from = parameter("from").or_else(|| told(start.from));
        let to = parameter("to").or_else(|| told(start.to));
        // Beside our own parameters a binary stream's first text has the carrier's own words.
        let custom = start.parameters.iter().map(|(name, text)| (name.to_cow(), text.to_cow()));
        let custom: Vec<_> = custom.filter(|(name, _)| is_custom(dialect, name)).collect();
        let custom = custom.iter().map(|(name, text)| (&**name, &**text));
        self.phone.speak_carrier(Outbound::of(dialect, &stream_sid, down.told()));
        self.open(
            Class::Twilio,
            up,
            down,
            Opening::Twilio {
                carrier,
                call_sid,
                stream_sid,
                token: parameter("token"),
                from,
                to,
                again: Again::of(parameter(AGAIN).as_deref()),
                custom: Facts::new(None, None, custom).custom,
            },
        );
    }

    /// The dialect of a stream that begins in this one, by its door: a carrier's own takes that
    /// carrier's streams alone, so that whoever comes there has no other's proofs to show. `None`:
    /// there it is a stranger's.
    ///
    /// Where all may come, Twilio's may not while only signed handshakes are believed: it has a
    /// door of its own, where they are looked at, and this one has not.
    fn dialect_here(&self, spoken: &'static Dialect) -> Option<&'static Dialect> {
        let own = match self.door {
            Door::Twilio | Door::Fork => Carrier::Twilio,
            Door::Carrier(carrier) => carrier,
            Door::Unknown => {
                let is_unsigned = spoken.carrier == Carrier::Twilio && self.settings.signed;
                return (!is_unsigned).then_some(spoken);
            }
            Door::Web => return None,
        };
        // SignalWire's beginning may be spelt as Twilio's is: then the door alone tells them apart.
        let is_twilios = |carrier| matches!(carrier, Carrier::Twilio | Carrier::SignalWire);
        let is_own = spoken.carrier == own || (is_twilios(spoken.carrier) && is_twilios(own));
        is_own.then(|| Dialect::of(own))
    }

    fn take_carrier_media(&mut self, media: &Media<'_>, bench: &mut Workbench) {
        bench.bytes.clear();
        if media.payload.decode_base64_append(&mut bench.bytes).is_err() {
            return self.note_phone(Oddity::PhoneBase64);
        }
        if media.track != Track::Inbound {
            return self.drop_carrier_audio(bench.bytes.len(), Dropped::OtherTrack);
        }
        let dialect = self.dialect.unwrap_or(&TWILIO);
        let timestamp_ms = media.timestamp_ms.filter(|_| dialect.keeps_time);
        match media.chunk.filter(|_| dialect.may_reorder) {
            Some(chunk) => self.take_in_order(chunk, timestamp_ms, bench),
            None => self.take_carrier_audio(timestamp_ms, bench),
        }
    }

    /// Audio in `bench.bytes` of a carrier that does not promise to keep its order.
    fn take_in_order(&mut self, chunk: u64, timestamp_ms: Option<u64>, bench: &mut Workbench) {
        match self.reorder.take(self.now, chunk, timestamp_ms, &bench.bytes) {
            Arrival::InOrder => self.take_carrier_audio(timestamp_ms, bench),
            Arrival::Early => self.tally.note(Oddity::PhoneReordered),
            Arrival::Late => {
                self.drop_carrier_audio(bench.bytes.len(), Dropped::OutOfOrder);
                return self.tally.note(Oddity::PhoneReordered);
            }
        }
        self.take_followers(bench);
    }

    fn take_followers(&mut self, bench: &mut Workbench) {
        while let Some(timestamp_ms) = self.reorder.follow(&mut bench.bytes) {
            self.take_carrier_audio(timestamp_ms, bench);
        }
    }

    /// What has waited too long for audio before it goes on without that.
    pub(super) fn let_overdue_follow(&mut self, bench: &mut Workbench) {
        while self.reorder.is_overdue(self.now) {
            self.take_followers(bench);
        }
    }

    /// The call ends: what waits for audio before it is accounted for like the rest.
    pub(super) fn end_reorder(&mut self) {
        let mut bytes = Vec::new();
        self.reorder.end();
        while let Some(timestamp_ms) = self.reorder.follow(&mut bytes) {
            if let Some(Audio { uplink, .. }) = &mut self.audio {
                uplink.push(self.now, &bytes, &mut self.tally);
            }
            if let Some(tap) = &mut self.tap {
                tap.arrived(self.now, Channel::Caller, timestamp_ms, &bytes);
            }
        }
    }

    /// Counts audio that came in and does not go on.
    fn drop_carrier_audio(&mut self, bytes: usize, why: Dropped) {
        let Some(Audio { format, .. }) = &self.audio else { return };
        let samples = (bytes / format.sample_bytes()) as u64;
        self.tally.uplink.messages_in += 1;
        self.tally.uplink.bytes_in += bytes as u64;
        self.tally.uplink.samples_in += samples;
        self.tally.uplink.drop_samples(why, samples);
    }

    /// The caller's audio, in `bench.bytes`, as the carrier encodes it.
    fn take_carrier_audio(&mut self, timestamp_ms: Option<u64>, bench: &mut Workbench) {
        let Some(Audio { format, uplink, .. }) = &mut self.audio else { return };
        let format = *format;
        let odd = timestamp_ms.and_then(|timestamp_ms| {
            let flow = &mut self.tally.uplink;
            uplink.keep_time(self.now, timestamp_ms, bench.bytes.len(), flow)
        });
        uplink.push(self.now, &bench.bytes, &mut self.tally);
        if let Some(tap) = &mut self.tap {
            tap.arrived(self.now, Channel::Caller, timestamp_ms, &bench.bytes);
        }
        if self.is_uplink_held() {
            bench.bytes.truncate(bench.bytes.len() / format.sample_bytes() * format.sample_bytes());
            self.listen_ahead(format, bench);
        }
        match odd {
            // Holes are the network's doing.
            Some(Oddity::PhoneHole) => self.tally.note(Oddity::PhoneHole),
            Some(odd) => self.note_phone(odd),
            None => {}
        }
    }

    /// A binary message of a carrier: audio, where its dialect has it so.
    pub(super) fn handle_carrier_binary(&mut self, audio: &[u8], bench: &mut Workbench) {
        let is_binary = self.dialect.is_some_and(Dialect::is_binary);
        let is_open = !matches!(self.life, Life::Opening { .. });
        if !is_binary || !is_open {
            return self.handle_phone_nonsense(Oddity::PhoneOpcode, CloseCode::UNSUPPORTED);
        }
        bench.bytes.clear();
        bench.bytes.extend_from_slice(audio);
        self.take_carrier_audio(None, bench);
    }

    fn take_mark(&mut self, name: &str) {
        let echo = MarkName::parse(name).map(|mark| self.turns.mark_echoed(mark));
        match echo {
            Some(Echo::Heard) => self.tell_said(false),
            Some(Echo::Void) => {}
            Some(Echo::Unknown) | None => self.note_phone(Oddity::PhoneMark),
        }
    }
}

/// The format of this name, if our documents ask this carrier for it.
fn asked_format(dialect: &Dialect, name: &str) -> Option<Format> {
    let asked = dialect.carrier.formats().iter().find(|format| format.name() == name)?;
    Some(Format::asked(*asked, dialect.byte_order))
}

/// Whether a parameter may be told to the model as one of the operator's own: of a binary stream
/// none, for nothing tells them from the carrier's.
fn is_custom(dialect: &Dialect, name: &str) -> bool {
    let is_ours = dialect.carrier != Carrier::Twilio && matches!(name, "call" | "down");
    !dialect.is_binary() && !is_ours
}
