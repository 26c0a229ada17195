//! A call between two peers that speak through tungstenite, in virtual time, without a socket.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use dsp::kernels::{Isa, Kernels};
use serde_json::{Value, json};
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Message, WebSocket};
use vocaris::buf::SendBuf;
use vocaris::call::{
    Call, CallId, Door, Ending, Entry, Keep, LineFault, LineTerms, Opening, Report, Request,
    Revival, Settings, Tally, Tape, ToolOrder, Workbench,
};
use vocaris::clock::Nanos;
use vocaris::config::{Agent, Timers};

/// A socket without a network: what the peer wrote, and what it has still to read.
#[derive(Default)]
pub(crate) struct Pipe {
    pub(crate) written: VecDeque<u8>,
    to_read: VecDeque<u8>,
}

impl Read for Pipe {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.to_read.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.to_read.read(into)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One end of a call: the phone, or the model.
pub(crate) struct Peer {
    pub(crate) socket: WebSocket<Pipe>,
    /// Bytes that the call was shown and did not use.
    unread: Vec<u8>,
    /// Everything heard, oldest first.
    pub(crate) heard: Vec<Message>,
    /// Nothing it writes arrives any more.
    pub(crate) cut_off: bool,
    /// It takes nothing: its socket's buffers are full.
    pub(crate) deaf: bool,
}

impl Peer {
    fn new(role: Role) -> Peer {
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        Peer {
            socket: WebSocket::from_raw_socket(Pipe::default(), role, Some(config)),
            unread: Vec::new(),
            heard: Vec::new(),
            cut_off: false,
            deaf: false,
        }
    }

    pub(crate) fn say(&mut self, message: Value) {
        self.socket.send(Message::text(message.to_string())).unwrap();
    }

    pub(crate) fn say_bytes(&mut self, bytes: Vec<u8>) {
        self.socket.send(Message::binary(bytes)).unwrap();
    }

    fn listen(&mut self, output: &mut SendBuf) {
        if self.deaf {
            return;
        }
        let n = output.len_bytes();
        self.socket.get_mut().to_read.extend(output.waiting());
        output.consume(n);
        while let Ok(message) = self.socket.read() {
            self.heard.push(message);
        }
    }

    /// Every JSON text heard so far.
    pub(crate) fn texts(&self) -> Vec<Value> {
        let texts = self.heard.iter().filter_map(|message| message.to_text().ok());
        texts.filter_map(|text| serde_json::from_str(text).ok()).collect()
    }

    /// The code of the close heard, if one was.
    pub(crate) fn close_code(&self) -> Option<u16> {
        self.heard.iter().find_map(|message| match message {
            Message::Close(Some(frame)) => Some(frame.code.into()),
            _ => None,
        })
    }
}

/// A call, its two peers, and the time.
pub(crate) struct Stage {
    pub(crate) call: Call,
    pub(crate) phone: Peer,
    pub(crate) agent: Peer,
    /// Model connections that have been replaced, oldest first.
    pub(crate) former: Vec<Peer>,
    /// Lines asked for and not yet had, oldest first.
    pub(crate) redials: VecDeque<Revival>,
    /// Connections asked for ahead.
    pub(crate) spares: usize,
    /// Tapes given away.
    pub(crate) tapes: Vec<Tape>,
    /// Entries for the journal, and when each was wished for.
    pub(crate) entries: Vec<(Nanos, Entry)>,
    pub(crate) bench: Workbench,
    pub(crate) now: Nanos,
    pub(crate) openings: Vec<Opening>,
    pub(crate) reports: Vec<Report>,
    /// Tools ordered, and orders taken back.
    pub(crate) orders: Vec<ToolOrder>,
    pub(crate) cancelled: Vec<u32>,
    pub(crate) ending: Option<Ending>,
    /// Bytes shown to the call at a time.
    pub(crate) cut: usize,
}

pub(crate) const STREAM: &str = "MZ0000000000000000000000000000000a";

pub(crate) fn terms() -> LineTerms {
    LineTerms {
        uplink_rate_hz: 16_000,
        uplink_ms: 20,
        resumable: true,
        nudge: r#"{"nudge":1}"#.to_owned(),
        go_on: r#"{"go_on":1}"#.to_owned(),
        ..LineTerms::default()
    }
}

fn terms_of(agent: Agent) -> LineTerms {
    let timers = Timers { media_timeout: Duration::ZERO, ..(*agent.timers).clone() };
    let agent = Agent { timers: Arc::new(timers), ..agent };
    LineTerms { agent: Some(Arc::new(agent)), ..terms() }
}

/// What every call here is told. What peers say here is too even for speech, so that a sample
/// missing or doubled is seen: nobody listens for tones.
pub(crate) fn settings() -> Settings {
    let settings = with_timers(|timers| timers.tone = Duration::ZERO);
    Settings { max_duration: Duration::from_secs(3_600), signed: true, ..settings }
}

/// The same with other timers; tones are listened for, unless the change says otherwise. Phones
/// send no audio here but what a test has them say: that alone ends no call, unless the change says
/// so.
pub(crate) fn with_timers(change: impl FnOnce(&mut Timers)) -> Settings {
    let mut timers = Timers { media_timeout: Duration::ZERO, ..Timers::default() };
    change(&mut timers);
    Settings { timers: Arc::new(timers), ..Settings::default() }
}

impl Stage {
    pub(crate) fn new(door: Door) -> Stage {
        Stage::lasting(door, Duration::from_secs(3600))
    }

    /// A call that may last so long.
    pub(crate) fn lasting(door: Door, max_duration: Duration) -> Stage {
        Stage::keeping(door, max_duration, Keep::default())
    }

    /// A call of which so much is kept.
    pub(crate) fn keeping(door: Door, max_duration: Duration, keep: Keep) -> Stage {
        Stage::with(door, Settings { max_duration, keep, ..settings() })
    }

    /// A call with settings of its own.
    pub(crate) fn with(door: Door, settings: Settings) -> Stage {
        let now = Nanos::from_millis(1);
        Stage {
            call: Call::new(now, CallId(7), door, settings, Some(42)),
            phone: Peer::new(Role::Client),
            agent: Peer::new(Role::Server),
            former: Vec::new(),
            redials: VecDeque::new(),
            spares: 0,
            tapes: Vec::new(),
            entries: Vec::new(),
            bench: Workbench::new(Kernels::detect(Isa::Scalar)),
            now,
            openings: Vec::new(),
            reports: Vec::new(),
            orders: Vec::new(),
            cancelled: Vec::new(),
            ending: None,
            cut: usize::MAX,
        }
    }

    /// A carrier's call whose model is ready.
    pub(crate) fn joined() -> Stage {
        Stage::joined_with(settings())
    }

    pub(crate) fn joined_with(settings: Settings) -> Stage {
        let mut stage = Stage::opened_with(settings);
        stage.join();
        stage
    }

    /// A carrier's call that waits for its model.
    pub(crate) fn opened_with(settings: Settings) -> Stage {
        let mut stage = Stage::with(Door::Twilio, settings);
        stage.phone.say(json!({"event": "connected", "protocol": "Call", "version": "1.0.0"}));
        stage.phone.say(start());
        stage.settle();
        stage
    }

    /// A browser's call whose model is ready.
    pub(crate) fn joined_browser() -> Stage {
        let mut stage = Stage::new(Door::Unknown);
        stage.phone.say(json!({"type": "hello", "rate": 16000, "token": "t"}));
        stage.settle();
        stage.join();
        stage
    }

    /// A carrier's call that this agent answers.
    pub(crate) fn joined_as(agent: Agent) -> Stage {
        let mut stage = Stage::new(Door::Twilio);
        stage.phone.say(start());
        stage.settle();
        stage.join_as(agent);
        stage
    }

    pub(crate) fn join_as(&mut self, agent: Agent) {
        self.join_with(&terms_of(agent));
    }

    pub(crate) fn redial_as(&mut self, agent: Agent) -> Revival {
        self.redial_with(&terms_of(agent))
    }

    pub(crate) fn join(&mut self) {
        self.join_with(&terms());
    }

    pub(crate) fn join_with(&mut self, terms: &LineTerms) {
        self.call.handle_line(self.now, terms);
        self.settle();
    }

    /// The line that was asked for is there: a new model takes the old one's place.
    pub(crate) fn redial(&mut self) -> Revival {
        self.redial_with(&terms())
    }

    pub(crate) fn redial_with(&mut self, terms: &LineTerms) -> Revival {
        let revival = self.redials.pop_front().expect("a line was asked for");
        assert!(self.redials.is_empty(), "one line is asked for at a time");
        // Whoever has the old socket lets it have what waits for it, and drops it.
        self.call.dismiss_agent(self.now);
        self.agent.listen(self.call.agent_output());
        let old = std::mem::replace(&mut self.agent, Peer::new(Role::Server));
        self.former.push(old);
        self.call.handle_line(self.now, terms);
        self.settle();
        revival
    }

    /// The line that was asked for cannot be had.
    pub(crate) fn refuse(&mut self, fault: LineFault) -> Revival {
        let revival = self.redials.pop_front().expect("a line was asked for");
        self.call.handle_no_line(self.now, fault);
        self.settle();
        revival
    }

    /// The model says that its session can be taken up again.
    pub(crate) fn update(&mut self, handle: &str) {
        self.agent.say(update(handle));
        self.settle();
    }

    /// The model closes.
    pub(crate) fn close_agent(&mut self, code: u16, reason: &'static str) {
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        self.agent.socket.close(Some(frame)).unwrap();
        self.settle();
    }

    /// The model's connection breaks.
    pub(crate) fn lose_agent(&mut self) {
        self.call.handle_agent_gone(self.now);
        self.settle();
    }

    /// Lets everything that was said arrive, at the present moment.
    pub(crate) fn settle(&mut self) {
        loop {
            let phone_used = show(&mut self.phone, self.cut, |bytes| {
                self.call.handle_phone_bytes(self.now, bytes, &mut self.bench)
            });
            let agent_used = show(&mut self.agent, self.cut, |bytes| {
                self.call.handle_agent_bytes(self.now, bytes, &mut self.bench)
            });
            let more = self.call.transcode(self.now, &mut self.bench);
            self.collect();
            if !phone_used && !agent_used && !more {
                return;
            }
        }
    }

    /// Lets time pass, calling the call whenever it asked to be called.
    pub(crate) fn pass(&mut self, ms: u64) {
        let until = self.now.plus(Duration::from_millis(ms));
        while self.call.next_timeout() <= until {
            self.now = self.now.max(self.call.next_timeout());
            self.call.handle_timeout(self.now);
            self.settle();
            if self.ending.is_some() && !self.call.needs_phone() && !self.call.needs_agent() {
                break;
            }
        }
        self.now = until;
        self.settle();
    }

    fn collect(&mut self) {
        self.phone.listen(self.call.phone_output());
        self.agent.listen(self.call.agent_output());
        while let Some(request) = self.call.poll_request() {
            match request {
                Request::Admit(opening) => self.openings.push(opening),
                Request::Spare => self.spares += 1,
                Request::Redial(revival) => self.redials.push_back(revival),
                Request::Journal => {
                    self.entries.extend(self.call.take_entry().map(|entry| (self.now, *entry)));
                }
                Request::Record => self.tapes.extend(self.call.take_tape().map(|tape| *tape)),
                Request::RunTool(order) => self.orders.push(*order),
                Request::CancelTool { ticket } => self.cancelled.push(ticket),
                Request::Report(report) => self.reports.push(report),
                Request::Ended(ending) => {
                    assert_eq!(self.ending.replace(ending), None, "a call ends once");
                }
            }
        }
        let tally = self.call.tally();
        assert!(tally.uplink.balances(), "{:?}", tally.uplink);
        assert!(tally.downlink.balances(), "{:?}", tally.downlink);
    }

    pub(crate) fn tally(&self) -> Tally {
        self.call.tally()
    }

    /// Mu-law the phone was sent, whole, in order.
    pub(crate) fn heard_by_caller(&self) -> Vec<u8> {
        let media = self.phone.texts().into_iter().filter(|text| text["event"] == "media");
        media.flat_map(|text| decode64(text["media"]["payload"].as_str().unwrap())).collect()
    }

    /// PCM the model was sent, whole, in order.
    pub(crate) fn heard_by_model(&self) -> Vec<i16> {
        let mut texts: Vec<_> = self.former.iter().flat_map(Peer::texts).collect();
        texts.extend(self.agent.texts());
        let audio = texts.iter().filter_map(|text| text["realtimeInput"]["audio"]["data"].as_str());
        audio.flat_map(|data| samples(&decode64(data))).collect()
    }

    /// The model answers with one sentence, and the caller has heard its first half.
    pub(crate) fn answers_and_is_half_heard(&mut self) {
        self.agent.say(crate::traps::content("We have a table at six and another one at nine."));
        self.agent.say(speech(&voice(96_000, 0)));
        self.agent.say(turn_complete());
        self.settle();
        self.pass(1_900);
        for ms in (200..=2_000).step_by(200) {
            self.phone.say(json!({"event": "mark", "mark": {"name": format!("g0:{ms}")}}));
        }
        self.settle();
    }

    /// What the model says on the connection that is up reaches the caller's ear.
    pub(crate) fn assert_is_listened_to(&mut self) {
        let answer = voice(4_800, 0);
        self.agent.say(speech(&answer));
        self.agent.say(turn_complete());
        self.settle();
        self.pass(500);
        assert!(self.heard_by_caller().ends_with(&crate::downsampled(&answer)));
    }
}

fn show(peer: &mut Peer, cut: usize, mut read: impl FnMut(&mut [u8]) -> usize) -> bool {
    let written = &mut peer.socket.get_mut().written;
    if peer.cut_off {
        written.clear();
    }
    let n = written.len().min(cut);
    peer.unread.extend(written.drain(..n));
    if n == 0 {
        return false;
    }
    let used = read(&mut peer.unread);
    peer.unread.drain(..used);
    true
}

pub(crate) fn start() -> Value {
    json!({"event": "start", "sequenceNumber": "1", "streamSid": STREAM, "start": {
        "accountSid": "AC1", "streamSid": STREAM, "callSid": "CA1", "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {"token": "t1", "from": "+18005550199", "to": "+18005550100"}}})
}

pub(crate) fn media(timestamp_ms: u64, mulaw: &[u8]) -> Value {
    json!({"event": "media", "sequenceNumber": "2", "streamSid": STREAM, "media": {
        "track": "inbound", "chunk": "1", "timestamp": timestamp_ms.to_string(),
        "payload": encode64(mulaw)}})
}

/// The model has said everything it wants to say.
pub(crate) fn turn_complete() -> Value {
    json!({"serverContent": {"generationComplete": true, "turnComplete": true}})
}

/// An update with which the session can be taken up again.
pub(crate) fn update(handle: &str) -> Value {
    json!({"sessionResumptionUpdate": {"newHandle": handle, "resumable": true}})
}

/// A message of the model with this audio.
pub(crate) fn speech(pcm: &[u8]) -> Value {
    json!({"serverContent": {"modelTurn": {"role": "model", "parts": [{"inlineData": {
        "mimeType": "audio/pcm;rate=24000", "data": encode64(pcm)}}]}}})
}

/// PCM16 of a tone with overtones, so that a sample missing or doubled is seen.
pub(crate) fn voice(samples: usize, phase: usize) -> Vec<u8> {
    (0..samples)
        .flat_map(|n| {
            let n = (n + phase) as f64;
            let sample = (n * 0.07).sin() * 9_000.0 + (n * n * 1e-6).sin() * 4_000.0;
            (sample as i16).to_le_bytes()
        })
        .collect()
}

pub(crate) fn samples(bytes: &[u8]) -> Vec<i16> {
    bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64 as in RFC 4648 section 4, not the relay's.
pub(crate) fn encode64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let word = group.iter().fold(0u32, |word, &byte| word << 8 | u32::from(byte));
        let word = word << (8 * (3 - group.len()));
        for digit in 0..4 {
            let index = (word >> (18 - 6 * digit)) as usize & 63;
            text.push(if digit <= group.len() { ALPHABET[index] as char } else { '=' });
        }
    }
    text
}

pub(crate) fn decode64(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (mut word, mut bits) = (0u32, 0);
    for digit in text.trim_end_matches('=').bytes() {
        let value = ALPHABET.iter().position(|&letter| letter == digit).expect("base64");
        word = word << 6 | value as u32;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((word >> bits) as u8);
        }
    }
    bytes
}
