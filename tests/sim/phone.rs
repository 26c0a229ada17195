//! The phone of a simulated call: a carrier's media stream, or a browser.
//!
//! Not here: whether what it hears is right (`reference`, `invariants`).

use std::collections::VecDeque;
use std::time::Duration;

use vocaris::clock::Nanos;

use crate::faults::{Dice, Fault};
use crate::frames::{
    BINARY, CLOSE, Frame, PING, PONG, Reader, TEXT, base64_bytes, close_payload, put_base64,
    put_frame,
};
use crate::reference::Sound;
use crate::wire::Wire;

pub(crate) const STREAM: &str = "MZ00000000000000000000000000000051";
const CALL: &str = "CA00000000000000000000000000000051";

/// What one message of the phone means to the reference.
#[derive(Debug)]
pub(crate) enum PhoneSaid {
    /// Nothing that counts.
    Nothing,
    /// Who it is, and what its audio is like.
    Opening(Sound),
    /// Audio, and where the carrier says that it begins.
    Audio { bytes: Vec<u8>, timestamp_ms: Option<u64> },
    /// The carrier's other track.
    OtherTrack(Vec<u8>),
    /// Words, counted from 0.
    Typed(u32),
    /// Goodbye, one way or another: the call must be over.
    End,
}

/// What the phone was told.
#[derive(Debug)]
pub(crate) enum Heard {
    Audio(Vec<u8>),
    Clear,
    Mark { generation: u64, at_ms: u64 },
    Close(u16),
    Other,
}

/// How the phone's part of the call ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    /// It is there.
    No,
    /// It has said goodbye, or broken off.
    SaidGoodbye,
    /// Its connection is to be seen as gone by the call.
    Lost,
}

pub(crate) struct Phone {
    pub(crate) sound: Sound,
    is_browser: bool,
    pub(crate) wire: Wire<PhoneSaid>,
    reader: Reader,
    /// When it acts next.
    pub(crate) next_at: Nanos,
    /// When it hangs up.
    end_at: Nanos,
    step: Step,
    /// It said something before it said who it is.
    is_stranger: bool,
    pub(crate) gone: Gone,
    /// Its network holds back what it says, or takes nothing, until then.
    pub(crate) stalled_until: Nanos,
    pub(crate) deaf_until: Nanos,
    /// Bytes it takes at a time.
    pub(crate) takes: usize,
    /// Samples since it began, and what its clock is ahead of them.
    position: u64,
    ahead_ms: u64,
    chunk: u64,
    /// Frames until it begins or ends to speak.
    frames_left: u32,
    is_loud: bool,
    held: Option<(Vec<u8>, PhoneSaid)>,
    typed: u32,
    /// Marks to be returned, and when.
    marks: VecDeque<(Nanos, String)>,
    /// When it will have played everything.
    pub(crate) dry_at: Nanos,
    ignores_close: bool,
    frame_ms: usize,
    /// It speaks for some seconds in ten minutes, and shows signs of life in between.
    rests: Option<Rest>,
}

/// Frames until the next rest, and signs of life until it is over.
#[derive(Clone, Copy)]
struct Rest {
    frames: u32,
    pings: u32,
}

/// How a caller rests: this many frames are spoken, then so many pings sent, ten seconds apart.
const RESTS: Rest = Rest { frames: 200, pings: 58 };

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Connecting,
    Starting,
    Talking,
    Silent,
    Done,
}

impl Phone {
    pub(crate) fn new(now: Nanos, length: Duration, dice: &mut Dice) -> Phone {
        let is_browser = dice.random().u32(0..4) == 0;
        let rate_hz = *dice.random().choice(&[8_000, 16_000, 16_000, 44_100, 48_000]).unwrap();
        let sound = if is_browser { Sound::pcm(rate_hz) } else { Sound::MULAW };
        let takes_little = dice.picks(Fault::PhoneTakesLittle, 20);
        let frame_ms = *dice.random().choice(&[20, 20, 20, 20, 40, 100]).unwrap();
        Phone {
            sound,
            is_browser,
            wire: Wire::new(),
            reader: Reader::new(false),
            next_at: now,
            end_at: now.plus(length),
            step: Step::Connecting,
            is_stranger: false,
            gone: Gone::No,
            stalled_until: now,
            deaf_until: now,
            takes: if takes_little { dice.random().usize(1..2_000) } else { usize::MAX },
            position: 0,
            ahead_ms: 0,
            chunk: 0,
            frames_left: dice.random().u32(0..100),
            is_loud: false,
            held: None,
            typed: 0,
            marks: VecDeque::new(),
            dry_at: now,
            ignores_close: dice.picks(Fault::PhoneIgnoresClose, 20),
            frame_ms: if is_browser { frame_ms } else { 20 },
            rests: None,
        }
    }

    /// A carrier's phone whose caller hardly speaks: a call of a day.
    pub(crate) fn quiet(now: Nanos, length: Duration, dice: &mut Dice) -> Phone {
        let phone = Phone::new(now, length, dice);
        Phone { sound: Sound::MULAW, is_browser: false, frame_ms: 20, rests: Some(RESTS), ..phone }
    }

    /// One that rests speaks at once, and for some seconds at least.
    pub(crate) fn wake(&mut self, now: Nanos) {
        let Some(rest) = self.rests.as_mut().filter(|rest| rest.frames < RESTS.frames) else {
            return;
        };
        if rest.frames == 0 {
            self.next_at = now;
        }
        *rest = RESTS;
    }

    /// How long it says nothing but that it is there, from now on.
    fn rest(&mut self, dice: &mut Dice) -> Option<u64> {
        let mut rest = self.rests?;
        if rest.frames > 0 {
            rest.frames -= 1;
        } else if rest.pings > 0 {
            rest.pings -= 1;
            self.put(PING, b"here", PhoneSaid::Nothing, false, dice);
        } else {
            rest = RESTS;
        }
        self.rests = Some(rest);
        (rest.frames == 0).then_some(10_000)
    }

    pub(crate) fn is_browser(&self) -> bool {
        self.is_browser
    }

    /// Whether its network lets it take or say anything at this moment.
    pub(crate) fn is_deaf(&self, now: Nanos) -> bool {
        now < self.deaf_until
    }

    fn put(
        &mut self,
        opcode: u8,
        payload: &[u8],
        said: PhoneSaid,
        is_fence: bool,
        dice: &mut Dice,
    ) {
        let mut bytes = Vec::with_capacity(payload.len() + 64);
        let mut mask = || dice.random().u32(..).to_ne_bytes();
        if payload.len() > 20 && opcode < CLOSE && self.chunk % 16 == 3 {
            let keys = [mask(), mask(), mask()];
            if dice.strikes(Fault::InPieces, 2_000) {
                let (head, tail) = payload.split_at(payload.len() / 3);
                put_frame(&mut bytes, false, opcode, Some(keys[0]), head);
                put_frame(&mut bytes, true, PING, Some(keys[1]), b"between");
                put_frame(&mut bytes, true, 0, Some(keys[2]), tail);
                return self.wire.say(&bytes, said, is_fence);
            }
            put_frame(&mut bytes, true, opcode, Some(keys[0]), payload);
        } else {
            put_frame(&mut bytes, true, opcode, Some(mask()), payload);
        }
        self.wire.say(&bytes, said, is_fence);
    }

    fn text(&mut self, text: &str, said: PhoneSaid, is_fence: bool, dice: &mut Dice) {
        self.put(TEXT, text.as_bytes(), said, is_fence, dice);
    }

    /// Does what is due now.
    pub(crate) fn act(&mut self, now: Nanos, dice: &mut Dice) {
        let later = match self.step {
            Step::Connecting => self.connect(dice),
            Step::Starting => self.start(now, dice),
            Step::Talking | Step::Silent => self.talk(now, dice),
            Step::Done => return self.next_at = Nanos::NEVER,
        };
        self.next_at = now.plus(Duration::from_millis(later));
    }

    fn connect(&mut self, dice: &mut Dice) -> u64 {
        self.step = Step::Starting;
        if dice.picks(Fault::StrangerNonsense, 2) {
            self.is_stranger = true;
            self.text("{\"who\":", PhoneSaid::Nothing, true, dice);
        }
        if !self.is_browser {
            if dice.picks(Fault::ConnectedMissing, 20) {
                return 0;
            }
            let connected = r#"{"event":"connected","protocol":"Call","version":"1.0.0"}"#;
            self.text(connected, PhoneSaid::Nothing, true, dice);
            if dice.picks(Fault::AudioBeforeStart, 20) {
                self.text(&media(0, 0, "inbound", &[7; 160]), PhoneSaid::Nothing, true, dice);
            }
        }
        if dice.picks(Fault::StartNever, 3) {
            self.step = Step::Done;
            return 0;
        }
        match dice.picks(Fault::StartLate, 10) {
            true => dice.random().u64(1_000..12_000),
            false => dice.random().u64(0..50),
        }
    }

    fn start(&mut self, now: Nanos, dice: &mut Dice) -> u64 {
        self.step = Step::Talking;
        if self.is_browser {
            let unknown = dice.picks(Fault::WebRateUnknown, 3);
            let rate_hz = if unknown { 12_345 } else { self.sound.rate_hz };
            let hello = format!(r#"{{"type":"hello","rate":{rate_hz},"token":"t"}}"#);
            let said = if unknown { PhoneSaid::End } else { PhoneSaid::Opening(self.sound) };
            if dice.strikes(Fault::TypedTooEarly, 500) {
                self.text(
                    r#"{"type":"hello"}"#,
                    PhoneSaid::Opening(Sound::pcm(16_000)),
                    true,
                    dice,
                );
                self.sound = Sound::pcm(16_000);
                self.text(r#"{"type":"text","text":"early"}"#, PhoneSaid::Nothing, true, dice);
                return 20;
            }
            self.text(&hello, said, true, dice);
            return 20;
        }
        let start = format!(
            r#"{{"event":"start","sequenceNumber":"1","streamSid":"{STREAM}","start":{{"accountSid":"AC1","streamSid":"{STREAM}","callSid":"{CALL}","tracks":["inbound"],"mediaFormat":{{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1}},"customParameters":{{"token":"t1","from":"+18005550199","to":"+18005550100"}}}}}}"#
        );
        self.text(&start, PhoneSaid::Opening(self.sound), true, dice);
        if dice.picks(Fault::StartTwice, 20) {
            self.text(&start, PhoneSaid::Nothing, true, dice);
        }
        self.dry_at = now;
        20
    }

    fn talk(&mut self, now: Nanos, dice: &mut Dice) -> u64 {
        if self.step == Step::Silent {
            return 1_000;
        }
        self.return_marks(now, dice);
        if now >= self.end_at {
            self.hang_up(dice);
            return 1;
        }
        if let Some(rest_ms) = self.rest(dice) {
            return rest_ms;
        }
        if dice.strikes(Fault::PhoneSilent, 1) {
            self.step = Step::Silent;
            return 1_000;
        }
        if dice.strikes(Fault::PhoneStalls, 20) {
            self.stalled_until = now.plus(Duration::from_millis(dice.random().u64(20..4_000)));
        }
        if dice.strikes(Fault::PhoneDeaf, 10) {
            self.deaf_until = now.plus(Duration::from_millis(dice.random().u64(20..20_000)));
        }
        self.say_something_else(dice);
        self.speak(dice);
        self.frame_ms as u64
    }

    /// The next frame of audio.
    fn speak(&mut self, dice: &mut Dice) {
        let bytes = self.frame(dice);
        let timestamp_ms = self.timestamp_ms();
        self.position += (bytes.len() / self.sound.sample_bytes) as u64;
        self.chunk += 1;
        if dice.strikes(Fault::MediaLost, 100) {
            // Lost on the carrier's own way: its clock goes on.
            self.ahead_ms += dice.random().u64(0..3) * 20;
            return;
        }
        if self.is_browser {
            let is_fence = bytes.len() % 2 == 1;
            let said = PhoneSaid::Audio { bytes: bytes.clone(), timestamp_ms: None };
            return self.put(BINARY, &bytes, said, is_fence, dice);
        }
        let mut claimed = timestamp_ms;
        if dice.strikes(Fault::TimestampLeaps, 5) {
            claimed += dice.random().u64(100..100_000);
        } else if dice.strikes(Fault::TimestampBack, 5) {
            claimed = claimed.saturating_sub(dice.random().u64(50..5_000));
        }
        if dice.strikes(Fault::MediaOtherTrack, 100) {
            let text = media(self.chunk, claimed, "outbound", &bytes);
            self.text(&text, PhoneSaid::OtherTrack(bytes.clone()), false, dice);
        }
        let text = if dice.strikes(Fault::TimestampMissing, 50) {
            let said = PhoneSaid::Audio { bytes: bytes.clone(), timestamp_ms: None };
            let text = media_untimed(&bytes);
            return self.text(&text, said, true, dice);
        } else {
            media(self.chunk, claimed, "inbound", &bytes)
        };
        if dice.strikes(Fault::MediaBadBase64, 20) {
            let broken = text.replacen("\"payload\":\"", "\"payload\":\"*", 1);
            return self.text(&broken, PhoneSaid::Nothing, true, dice);
        }
        let said = |bytes: &Vec<u8>| PhoneSaid::Audio {
            bytes: bytes.clone(),
            timestamp_ms: Some(claimed),
        };
        if self.held.is_none() && dice.strikes(Fault::MediaReordered, 50) {
            self.held = Some((text.into_bytes(), said(&bytes)));
            return;
        }
        // Whatever is odd may be the message too many.
        let is_odd = self.held.is_some() || claimed != timestamp_ms;
        self.text(&text, said(&bytes), is_odd, dice);
        if dice.strikes(Fault::MediaDoubled, 50) {
            self.text(&text, said(&bytes), true, dice);
        }
        if let (true, Some((text, said))) = (is_odd, self.held.take()) {
            self.put(TEXT, &text, said, true, dice);
        }
    }

    fn timestamp_ms(&self) -> u64 {
        self.position * 1_000 / u64::from(self.sound.rate_hz) + self.ahead_ms
    }

    fn frame(&mut self, dice: &mut Dice) -> Vec<u8> {
        if self.frames_left == 0 {
            self.is_loud = !self.is_loud;
            self.frames_left = dice.random().u32(2..if self.is_loud { 60 } else { 200 });
        }
        self.frames_left -= 1;
        // Nobody answers a caller who rests: such a one says nothing that asks for an answer.
        self.is_loud &= self.rests.is_none();
        let mut len = self.sound.bytes_of_ms(self.frame_ms);
        if dice.strikes(Fault::MediaEmpty, 20) {
            len = 0;
        } else if !self.is_browser && dice.strikes(Fault::MediaOddLength, 200) {
            len = dice.random().usize(1..900);
        } else if self.is_browser && dice.strikes(Fault::WebHalfSample, 50) {
            len -= 1;
        }
        let mut bytes = vec![0; len];
        dice.random().fill(&mut bytes);
        if !self.is_loud {
            for (n, byte) in bytes.iter_mut().enumerate() {
                *byte = match self.sound.sample_bytes {
                    1 => *byte | 0xfe,
                    _ if n % 2 == 0 => *byte & 0x1f,
                    _ => 0,
                };
            }
        }
        bytes
    }

    fn say_something_else(&mut self, dice: &mut Dice) {
        let nothing = || PhoneSaid::Nothing;
        if dice.strikes(Fault::Pings, 30) {
            let opcode = if dice.random().bool() { PING } else { PONG };
            self.put(opcode, b"are you there", nothing(), false, dice);
        }
        if dice.strikes(Fault::UnknownEvent, 30) {
            let text = format!(r#"{{"event":"e{}","type":"{0}"}}"#, dice.random().u8(..));
            self.text(&text, nothing(), true, dice);
        }
        if dice.strikes(Fault::Nonsense, 20) {
            self.text("{\"event\":\"media\",\"media\":", nothing(), true, dice);
        }
        if dice.strikes(Fault::NonsenseFlood, 2) {
            for _ in 0..300 {
                self.text("no json at all", nothing(), true, dice);
            }
        }
        if self.is_browser {
            return self.say_as_browser(dice);
        }
        if dice.strikes(Fault::WrongOpcode, 20) {
            self.put(BINARY, &[7; 160], nothing(), true, dice);
        }
        if dice.strikes(Fault::KeyTone, 50) {
            let digit = char::from(b"0123456789*#"[dice.random().usize(0..12)]);
            let text = format!(
                r#"{{"event":"dtmf","streamSid":"{STREAM}","sequenceNumber":"5","dtmf":{{"track":"inbound_track","digit":"{digit}"}}}}"#
            );
            self.text(&text, nothing(), true, dice);
        }
        let mut strange = None;
        if dice.strikes(Fault::MarkUnknown, 20) {
            strange = Some(format!("g{}:{}", dice.random().u8(..), dice.random().u16(..)));
        }
        if dice.strikes(Fault::MarkGarbled, 20) {
            strange = Some("g-1:\u{e9}".to_owned());
        }
        if let Some(name) = strange {
            self.text(&mark(&name), nothing(), true, dice);
        }
    }

    fn say_as_browser(&mut self, dice: &mut Dice) {
        if dice.strikes(Fault::TypedText, 100) {
            let number = self.typed;
            self.typed += 1;
            let text = format!(r#"{{"type":"text","text":"typed {number}"}}"#);
            self.text(&text, PhoneSaid::Typed(number), true, dice);
        }
        if dice.strikes(Fault::WebTooLong, 30) {
            let long = vec![1; self.sound.bytes_of_ms(100) + 2];
            self.put(BINARY, &long, PhoneSaid::Nothing, true, dice);
        }
    }

    fn return_marks(&mut self, now: Nanos, dice: &mut Dice) {
        while let Some((_, name)) = self.marks.pop_front_if(|(due, _)| *due <= now) {
            if dice.strikes(Fault::MarkLost, 200) {
                continue;
            }
            let copies = 1 + usize::from(dice.strikes(Fault::MarkTwice, 200));
            for _ in 0..copies {
                self.text(&mark(&name), PhoneSaid::Nothing, true, dice);
            }
        }
    }

    fn hang_up(&mut self, dice: &mut Dice) {
        self.step = Step::Done;
        self.gone = Gone::SaidGoodbye;
        if dice.picks(Fault::PhoneGarbage, 15) {
            let bytes = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
            return self.wire.say(&bytes, PhoneSaid::End, true);
        }
        if dice.picks(Fault::CloseWithCode, 30) {
            let code = *dice.random().choice(&[1000, 1001, 1002, 1006, 1011, 4000]).unwrap();
            return self.put(CLOSE, &close_payload(Some(code), ""), PhoneSaid::End, true, dice);
        }
        if dice.picks(Fault::CloseWithout, 30) {
            return self.put(CLOSE, &[], PhoneSaid::End, true, dice);
        }
        if dice.picks(Fault::PhoneHalfMessage, 30) {
            let text = media(9, self.timestamp_ms(), "inbound", &[3; 160]);
            let mut bytes = Vec::new();
            put_frame(&mut bytes, true, TEXT, Some([1, 2, 3, 4]), text.as_bytes());
            bytes.truncate(dice.random().usize(1..bytes.len()));
            self.wire.say(&bytes, PhoneSaid::Nothing, true);
            return self.gone = Gone::Lost;
        }
        if dice.picks(Fault::PhoneReset, 40) {
            self.wire.break_off();
            return self.gone = Gone::Lost;
        }
        dice.picks(Fault::Stop, 100);
        let stop = match self.is_browser {
            true => r#"{"type":"bye"}"#.to_owned(),
            false => format!(
                r#"{{"event":"stop","streamSid":"{STREAM}","stop":{{"accountSid":"AC1","callSid":"{CALL}"}}}}"#
            ),
        };
        self.text(&stop, PhoneSaid::End, true, dice);
    }

    /// Takes bytes of the relay, and returns what they said.
    pub(crate) fn take(&mut self, now: Nanos, bytes: &[u8], dice: &mut Dice) -> Vec<Heard> {
        self.reader.push(bytes);
        let mut heard = Vec::new();
        while let Some(frame) = self.reader.next() {
            heard.push(self.hear(now, &frame, dice));
        }
        heard
    }

    fn hear(&mut self, now: Nanos, frame: &Frame, dice: &mut Dice) -> Heard {
        match frame.opcode {
            PING => {
                if self.step != Step::Silent {
                    self.put(PONG, &frame.payload, PhoneSaid::Nothing, false, dice);
                }
                Heard::Other
            }
            CLOSE => {
                let code =
                    frame.payload.first_chunk().map_or(1005, |&code| u16::from_be_bytes(code));
                if !self.ignores_close && self.step != Step::Done {
                    self.put(CLOSE, &close_payload(Some(code), ""), PhoneSaid::End, true, dice);
                }
                self.step = Step::Done;
                Heard::Close(code)
            }
            BINARY => self.play(now, frame.payload.clone()),
            TEXT if self.is_browser => {
                let text = std::str::from_utf8(&frame.payload).expect("UTF-8");
                let value: serde_json::Value = serde_json::from_str(text).expect("JSON");
                if value["type"] != "clear" {
                    return Heard::Other;
                }
                self.dry_at = now;
                Heard::Clear
            }
            TEXT => self.hear_carrier(now, &frame.payload, dice),
            _ => Heard::Other,
        }
    }

    fn hear_carrier(&mut self, now: Nanos, text: &[u8], dice: &mut Dice) -> Heard {
        let text = std::str::from_utf8(text).expect("UTF-8");
        if self.is_stranger {
            return Heard::Other;
        }
        let inner = |event: &str, field: &str, name: &str| {
            let head =
                format!(r#"{{"event":"{event}","streamSid":"{STREAM}","{field}":{{"{name}":""#);
            text.strip_prefix(&head).and_then(|rest| rest.strip_suffix("\"}}"))
        };
        if let Some(payload) = inner("media", "media", "payload") {
            return self.play(now, base64_bytes(payload.as_bytes()));
        }
        if let Some(name) = inner("mark", "mark", "name") {
            let late = match dice.strikes(Fault::MarkLate, 300) {
                true => Duration::from_millis(dice.random().u64(50..3_000)),
                false => Duration::ZERO,
            };
            self.marks.push_back((self.dry_at.max(now).plus(late), name.to_owned()));
            let (generation, at_ms) =
                name.strip_prefix('g').and_then(|name| name.split_once(':')).expect("a mark");
            let (generation, at_ms) = (generation.parse().unwrap(), at_ms.parse().unwrap());
            return Heard::Mark { generation, at_ms };
        }
        let clear = format!(r#"{{"event":"clear","streamSid":"{STREAM}"}}"#);
        assert_eq!(text, clear, "a message that a carrier does not know");
        self.dry_at = now;
        // Everything that was to be played is thrown away, and its marks come back.
        for (due, _) in &mut self.marks {
            *due = now;
        }
        Heard::Clear
    }

    fn play(&mut self, now: Nanos, audio: Vec<u8>) -> Heard {
        let sound = self.sound_down();
        let samples = (audio.len() / sound.sample_bytes) as u64;
        let playing = Duration::from_nanos(samples * 1_000_000_000 / u64::from(sound.rate_hz));
        self.dry_at = self.dry_at.max(now).plus(playing);
        Heard::Audio(audio)
    }

    /// What it is played.
    pub(crate) fn sound_down(&self) -> Sound {
        if self.is_browser { Sound::pcm(24_000) } else { Sound::MULAW }
    }
}

fn mark(name: &str) -> String {
    format!(
        r#"{{"event":"mark","sequenceNumber":"4","streamSid":"{STREAM}","mark":{{"name":"{name}"}}}}"#
    )
}

fn media(chunk: u64, timestamp_ms: u64, track: &str, mulaw: &[u8]) -> String {
    let mut text = format!(
        r#"{{"event":"media","sequenceNumber":"{chunk}","media":{{"track":"{track}","chunk":"{chunk}","timestamp":"{timestamp_ms}","payload":""#
    );
    put_base64(&mut text, mulaw, false);
    text.push_str("\"},\"streamSid\":\"");
    text.push_str(STREAM);
    text.push_str("\"}");
    text
}

fn media_untimed(mulaw: &[u8]) -> String {
    let mut text = format!(
        r#"{{"streamSid":"{STREAM}","event":"media","media":{{"track":"inbound","payload":""#
    );
    put_base64(&mut text, mulaw, false);
    text.push_str("\"}}");
    text
}
