//! One session of the stand-in after its upgrade: listens strictly, records, follows its script.
//! No socket and no clock; the owner brings messages and the time.
//!
//! In:       client messages, the passing of time.
//! Out:      [`Output`]s in order; the record of the session.
//! Bounds:   audio is kept up to [`UPLINK_BYTES_MAX`], other messages up to [`MESSAGES_MAX`];
//!           beyond it the record says so.
//! Not here: the upgrade and the socket (`gemini::server`).

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::{Value, json};

use super::protocol::{self, ClientMessage, Complaint};
use super::script::{Opcode, SAMPLES_PER_MS, Script, Speech, Step};
use crate::clock::{Nanos, SECONDS};
use crate::net::link::Closing;
use crate::signal::ModelVoice;

/// The most caller audio a session remembers: an hour at 16 kHz.
pub const UPLINK_BYTES_MAX: usize = 3600 * 32_000;

/// The most other client messages a session remembers.
pub const MESSAGES_MAX: usize = 4096;

/// The number of the turn whose voice speaks audio that nobody may hear.
const VOID_TURN: usize = usize::MAX;

/// What a session wants done.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// A message in the form of [`Session::opcode`]; `chunk` if it carries audio of a turn, to be
    /// reported by [`Session::chunk_sent`].
    Message {
        /// Its JSON.
        text: String,
        /// True for audio of a turn.
        chunk: bool,
    },
    /// A text message, as it is.
    Text(String),
    /// A binary message, as it is.
    Binary(Vec<u8>),
    /// Bytes below WebSocket.
    Bytes(Vec<u8>),
    /// Read and send nothing more.
    Stall,
    /// Start the closing handshake.
    Close {
        /// The close code.
        code: u16,
        /// The reason.
        reason: String,
    },
    /// Reset the connection.
    Reset,
}

/// What happened in a session.
#[derive(Clone, Debug)]
pub struct SessionRecord {
    /// Its number, in the order of connecting.
    pub index: usize,
    /// When the connection was accepted.
    pub accepted_at: Nanos,
    /// The setup, if one came.
    pub setup: Option<Value>,
    /// When `setupComplete` was sent.
    pub ready_at: Option<Nanos>,
    /// The caller's audio.
    pub uplink: Uplink,
    /// What was said, in order.
    pub spoken: Vec<Spoken>,
    /// Other client messages and when they came.
    pub messages: Vec<(Nanos, Value)>,
    /// What the relay did wrong.
    pub complaints: Vec<Complaint>,
    /// How the relay closed, if it did.
    pub ending: Option<Closing>,
}

/// The caller's audio as it came.
#[derive(Clone, Debug, Default)]
pub struct Uplink {
    /// Samples a second; 0 before the first message.
    pub rate: u32,
    /// All samples.
    pub pcm: Vec<i16>,
    /// When each message came, and how many samples there were with it.
    pub arrivals: Vec<(Nanos, u64)>,
    /// Times the relay said that audio pauses.
    pub stream_ends: u32,
    /// True if [`UPLINK_BYTES_MAX`] was passed and `pcm` is not all there was.
    pub truncated: bool,
}

/// Something the model said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spoken {
    /// A turn.
    Turn(Turn),
    /// `interrupted` was sent: what was not played by now is void.
    Interrupted {
        /// When.
        at: Nanos,
    },
}

/// A turn as it was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Its number within the session; session and number give its voice.
    pub number: usize,
    /// The samples it was to have.
    pub samples: u64,
    /// Every message of it.
    pub chunks: Vec<Chunk>,
    /// True once `generationComplete` was sent.
    pub complete: bool,
}

impl Turn {
    /// The samples that were said.
    pub fn said(&self) -> u64 {
        self.chunks.last().map_or(0, |chunk| chunk.to_sample)
    }
}

/// One message of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// When it was planned.
    pub planned: Nanos,
    /// When it was handed to the socket.
    pub sent: Nanos,
    /// Where it ends, in samples of the turn.
    pub to_sample: u64,
}

/// A session under way.
pub struct Session {
    script: Arc<Script>,
    seed: u64,
    model: String,
    opcode: Opcode,
    stage: Stage,
    /// The planned time of the next step: it does not drift with the time steps are done.
    step_at: Nanos,
    next_step: usize,
    act: Act,
    next_update: Option<Nanos>,
    updates: u64,
    greeting_asked: bool,
    turns: usize,
    out: VecDeque<Output>,
    /// Every chunk that waits in `out`: its place in `record.spoken`, its plan, its end.
    unsent_chunks: VecDeque<(usize, Nanos, u64)>,
    record: SessionRecord,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The setup has not come.
    Fresh,
    /// It has come and is answered at that time; `None` never.
    Answering(Option<Nanos>),
    /// `setupComplete` was sent.
    Ready,
    /// Closed or stalled: nothing more happens.
    Over,
}

/// What a step in progress is at.
enum Act {
    /// Between steps.
    Idle,
    /// In the middle of a turn that began at `began`.
    Speaking { speech: Speech, voice: ModelVoice, began: Nanos, sample: u64, chunk: usize },
    /// The turn is said and plays; `turnComplete` follows at `at`.
    Completing { at: Nanos },
}

impl Session {
    /// A session that waits for its setup. `seed`: of the voices; `model`: as the setup must name
    /// it.
    pub fn new(index: usize, script: Arc<Script>, seed: u64, model: String, now: Nanos) -> Session {
        let opcode = match script.framing.opcode {
            Opcode::Alternate if index.is_multiple_of(2) => Opcode::Text,
            Opcode::Alternate => Opcode::Binary,
            opcode => opcode,
        };
        Session {
            script,
            seed,
            model,
            opcode,
            stage: Stage::Fresh,
            step_at: 0,
            next_step: 0,
            act: Act::Idle,
            next_update: None,
            updates: 0,
            greeting_asked: false,
            turns: 0,
            out: VecDeque::new(),
            unsent_chunks: VecDeque::new(),
            record: SessionRecord {
                index,
                accepted_at: now,
                setup: None,
                ready_at: None,
                uplink: Uplink::default(),
                spoken: Vec::new(),
                messages: Vec::new(),
                complaints: Vec::new(),
                ending: None,
            },
        }
    }

    /// The frame type of this session's messages.
    pub fn opcode(&self) -> Opcode {
        self.opcode
    }

    /// The script that is followed.
    pub fn script(&self) -> &Script {
        &self.script
    }

    /// A text message from the relay.
    pub fn handle_text(&mut self, now: Nanos, text: &str) {
        if self.stage == Stage::Over {
            return;
        }
        match protocol::read(text) {
            Ok(message) => self.handle_message(now, message, text),
            Err(complaint) => self.refuse(complaint),
        }
        self.proceed(now);
    }

    /// Notes what the relay did wrong, without closing for it.
    pub fn complain(&mut self, complaint: Complaint) {
        self.record.complaints.push(complaint);
    }

    /// When [`Session::handle_timeout`] wants to be called next.
    pub fn next_timeout(&self) -> Option<Nanos> {
        match self.stage {
            Stage::Fresh | Stage::Over => None,
            Stage::Answering(at) => at,
            Stage::Ready => [self.next_act(), self.next_update].into_iter().flatten().min(),
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Nanos) {
        if let Stage::Answering(Some(at)) = self.stage
            && at <= now
        {
            self.say(json!({ "setupComplete": {} }).to_string());
            self.stage = Stage::Ready;
            self.record.ready_at = Some(now);
            self.step_at = now;
            let wants_updates =
                self.record.setup.as_ref().is_some_and(|s| s.get("sessionResumption").is_some());
            self.next_update = self.script.updates_every.filter(|_| wants_updates).map(|_| now);
        }
        if let (Stage::Ready, Some(at), Some(every)) =
            (self.stage, self.next_update, self.script.updates_every)
            && at <= now
        {
            self.updates += 1;
            let handle = format!("session-{}-{}", self.record.index, self.updates);
            let update = json!({ "newHandle": handle, "resumable": true });
            self.say(json!({ "sessionResumptionUpdate": update }).to_string());
            self.next_update = Some(at + every);
        }
        self.proceed(now);
    }

    /// The next thing to be done.
    pub fn pop_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// An [`Output::Message`] with `chunk` was handed to the socket.
    pub fn chunk_sent(&mut self, now: Nanos) {
        let Some((place, planned, to_sample)) = self.unsent_chunks.pop_front() else { return };
        if let Spoken::Turn(turn) = &mut self.record.spoken[place] {
            turn.chunks.push(Chunk { planned, sent: now, to_sample });
        }
    }

    /// The record, with the way the session ended.
    pub fn into_record(mut self, ending: Option<Closing>) -> SessionRecord {
        self.record.ending = ending;
        self.record
    }

    fn handle_message(&mut self, now: Nanos, message: ClientMessage, text: &str) {
        match (self.stage, message) {
            (Stage::Fresh, ClientMessage::Setup(setup)) => {
                let judged = protocol::check_setup(&setup, &self.model);
                self.record.setup = Some(setup);
                match judged {
                    Ok(()) => {
                        let at = self.script.setup_after.map(|after| now + after);
                        self.stage = Stage::Answering(at);
                        self.handle_timeout(now);
                    }
                    Err(complaint) => self.refuse(complaint),
                }
            }
            (Stage::Ready, ClientMessage::Audio { rate, pcm }) => self.hear(now, rate, &pcm),
            (Stage::Ready, ClientMessage::Setup(_)) => self.refuse(Complaint::SetupAgain),
            (Stage::Ready, message) => {
                self.greeting_asked |=
                    matches!(message, ClientMessage::Content(_) | ClientMessage::Text(_));
                if let ClientMessage::AudioStreamEnd = message {
                    self.record.uplink.stream_ends += 1;
                }
                if self.record.messages.len() < MESSAGES_MAX {
                    let value = serde_json::from_str(text).unwrap_or_default();
                    self.record.messages.push((now, value));
                }
            }
            (Stage::Fresh | Stage::Answering(_), _) => self.refuse(Complaint::Early),
            (Stage::Over, _) => {}
        }
    }

    fn hear(&mut self, now: Nanos, rate: u32, pcm: &[u8]) {
        let uplink = &mut self.record.uplink;
        if uplink.rate != 0 && uplink.rate != rate {
            return self.refuse(Complaint::Audio);
        }
        uplink.rate = rate;
        if uplink.pcm.len() * 2 + pcm.len() > UPLINK_BYTES_MAX {
            uplink.truncated = true;
            return;
        }
        let (samples, _) = pcm.as_chunks::<2>();
        uplink.pcm.extend(samples.iter().map(|sample| i16::from_le_bytes(*sample)));
        uplink.arrivals.push((now, uplink.pcm.len() as u64));
    }

    /// Closes the session the way the service does on a message it does not take.
    fn refuse(&mut self, complaint: Complaint) {
        self.complain(complaint);
        let reason = "Request contains an invalid argument.".to_string();
        self.end(Output::Close { code: 1007, reason });
    }

    fn end(&mut self, output: Output) {
        self.out.push_back(output);
        self.stage = Stage::Over;
    }

    fn say(&mut self, text: String) {
        self.out.push_back(Output::Message { text, chunk: false });
    }

    /// When the script wants to go on by itself.
    fn next_act(&self) -> Option<Nanos> {
        match &self.act {
            Act::Speaking { speech, began, sample, .. } => Some(began + speech.planned(*sample)),
            Act::Completing { at } => Some(*at),
            Act::Idle => match self.script.steps.get(self.next_step)? {
                Step::AwaitGreeting if !self.greeting_asked => None,
                Step::AwaitUplink { ms } if self.heard_ms() < *ms => None,
                Step::Pause(pause) => Some(self.step_at + pause),
                _ => Some(self.step_at),
            },
        }
    }

    fn heard_ms(&self) -> u64 {
        let uplink = &self.record.uplink;
        uplink.pcm.len() as u64 * 1000 / u64::from(uplink.rate.max(1))
    }

    /// Does every act and step that is due. Ends: each act or step moves the script forward.
    fn proceed(&mut self, now: Nanos) {
        while self.stage == Stage::Ready && self.next_act().is_some_and(|at| at <= now) {
            match self.act {
                Act::Speaking { .. } => self.speak_on(),
                Act::Completing { at } => {
                    self.say(protocol::turn_complete());
                    self.step_at = at;
                    self.act = Act::Idle;
                }
                Act::Idle => self.begin_step(now),
            }
        }
    }

    fn begin_step(&mut self, now: Nanos) {
        let step = self.script.steps[self.next_step].clone();
        self.next_step += 1;
        match step {
            Step::AwaitGreeting | Step::AwaitUplink { .. } => self.step_at = now,
            Step::Pause(pause) => self.step_at += pause,
            Step::Speak(speech) => self.begin_turn(speech),
            Step::Interrupt { audio_ms } => self.interrupt(now, audio_ms),
            Step::GoAway { time_left } => {
                self.say(json!({ "goAway": { "timeLeft": time_left } }).to_string());
            }
            Step::SendText(text) => self.out.push_back(Output::Text(text)),
            Step::SendBinary(bytes) => self.out.push_back(Output::Binary(bytes)),
            Step::SendBytes(bytes) => self.out.push_back(Output::Bytes(bytes)),
            Step::Quiet => self.next_update = None,
            Step::Stall => self.end(Output::Stall),
            Step::Close { code, reason } => self.end(Output::Close { code, reason }),
            Step::Reset => self.end(Output::Reset),
        }
    }

    fn begin_turn(&mut self, speech: Speech) {
        assert!(speech.samples.is_multiple_of(3), "a turn is whole samples at 8 kHz");
        assert!(speech.chunk_samples.iter().all(|&len| len > 0), "a chunk has samples");
        let number = self.turns;
        self.turns += 1;
        let voice = ModelVoice::new(self.seed, self.record.index, number, speech.samples);
        self.record.spoken.push(Spoken::Turn(Turn {
            number,
            samples: speech.samples,
            chunks: Vec::new(),
            complete: false,
        }));
        let began = self.step_at;
        self.act = Act::Speaking { speech, voice, began, sample: 0, chunk: 0 };
    }

    /// Says the next chunk of the turn, and what follows the last one.
    fn speak_on(&mut self) {
        let Act::Speaking { speech, voice, began, sample, chunk } = &mut self.act else { return };
        let planned = *began + speech.planned(*sample);
        let end = speech.cut_after.unwrap_or(speech.samples).min(speech.samples);
        if *sample < end {
            let wanted = speech.chunk_samples[*chunk % speech.chunk_samples.len()];
            let mut pcm = vec![0; wanted.min(end - *sample) as usize];
            voice.speak(*sample, &mut pcm);
            let transcript = speech.transcript.as_deref().filter(|_| *chunk == 0);
            let text = protocol::audio_message(&pcm, transcript);
            *sample += pcm.len() as u64;
            *chunk += 1;
            let to_sample = *sample;
            self.out.push_back(Output::Message { text, chunk: true });
            let place = self.record.spoken.len() - 1;
            self.unsent_chunks.push_back((place, planned, to_sample));
            if to_sample < end {
                return;
            }
        }
        let Act::Speaking { speech, began, .. } = &self.act else { return };
        if speech.cut_after.is_some() {
            self.step_at = planned;
            self.act = Act::Idle;
            return;
        }
        // The end of the turn is told when it has been played, as the service does.
        let at = (*began + speech.duration()).max(planned);
        self.act = Act::Completing { at };
        if let Some(Spoken::Turn(turn)) = self.record.spoken.last_mut() {
            turn.complete = true;
        }
        self.say(protocol::generation_complete());
    }

    fn interrupt(&mut self, now: Nanos, audio_ms: u64) {
        let samples = audio_ms * SAMPLES_PER_MS;
        let void = ModelVoice::new(self.seed, self.record.index, VOID_TURN, samples + SECONDS);
        let mut pcm = vec![0; samples as usize];
        void.speak(0, &mut pcm);
        self.say(protocol::interrupted_message(&pcm));
        self.say(protocol::turn_complete());
        self.record.spoken.push(Spoken::Interrupted { at: now });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::MILLIS;

    fn ready(script: Script) -> Session {
        let mut session = Session::new(0, Arc::new(script), 1, "models/m".into(), 0);
        let setup = json!({ "setup": {
            "model": "models/m",
            "generationConfig": { "responseModalities": ["AUDIO"] },
            "sessionResumption": {},
        }});
        session.handle_text(0, &setup.to_string());
        session
    }

    fn said(session: &mut Session) -> Vec<Value> {
        std::iter::from_fn(|| session.pop_output())
            .filter_map(|output| match output {
                Output::Message { text, .. } => Some(serde_json::from_str(&text).unwrap()),
                _ => None,
            })
            .collect()
    }

    /// Runs to `until`, and returns every message with the time it was said.
    fn run(session: &mut Session, until: Nanos) -> Vec<(Nanos, Value)> {
        let mut all = Vec::new();
        let mut now = 0;
        loop {
            all.extend(said(session).into_iter().map(|message| (now, message)));
            match session.next_timeout() {
                Some(at) if at <= until => now = now.max(at),
                _ => return all,
            }
            session.handle_timeout(now);
        }
    }

    #[test]
    fn a_setup_is_answered_and_followed_by_updates() {
        let mut session = ready(Script::listen());
        let messages = run(&mut session, 2 * SECONDS);
        assert!(messages[0].1["setupComplete"].is_object());
        let updates = messages.iter().filter(|(_, m)| m["sessionResumptionUpdate"].is_object());
        assert_eq!(updates.count(), 3);
    }

    #[test]
    fn a_turn_keeps_its_planned_pace_with_a_head_start() {
        let mut session =
            ready(Script::of(vec![Step::Speak(Speech::real_time(400)), Step::Pause(SECONDS)]));
        let messages = run(&mut session, 5 * SECONDS);
        let audio: Vec<Nanos> = messages
            .iter()
            .filter(|(_, m)| m["serverContent"]["modelTurn"].is_object())
            .map(|&(at, _)| at / MILLIS)
            .collect();
        assert_eq!(audio, [0, 0, 0, 0, 0, 40, 80, 120, 160, 200]);
        let at = |name: &str| {
            messages.iter().find(|(_, m)| m["serverContent"][name] == true).map(|&(at, _)| at)
        };
        assert_eq!(at("generationComplete"), Some(200 * MILLIS));
        assert_eq!(at("turnComplete"), Some(400 * MILLIS));
    }

    #[test]
    fn a_burst_is_faster_than_real_time() {
        let mut session = ready(Script::of(vec![Step::Speak(Speech::burst(4000, 4.0))]));
        let messages = run(&mut session, 5 * SECONDS);
        let last = messages
            .iter()
            .rfind(|(_, m)| m["serverContent"]["modelTurn"].is_object())
            .map(|&(at, _)| at);
        assert_eq!(last, Some(990 * MILLIS));
    }

    #[test]
    fn a_greeting_waits_until_it_is_asked_for() {
        let mut session = ready(Script::converse(1, Speech::real_time(40), 0));
        assert!(run(&mut session, 800 * MILLIS).iter().all(|(_, m)| m["serverContent"].is_null()));
        let content = r#"{"clientContent":{"turns":[],"turnComplete":true}}"#;
        session.handle_text(800 * MILLIS, content);
        assert!(said(&mut session)[0]["serverContent"]["modelTurn"].is_object());
    }

    #[test]
    fn an_interruption_follows_the_cut_and_may_carry_audio_nobody_hears() {
        let mut speech = Speech::real_time(1000);
        speech.cut_after = Some(24 * 100);
        let mut session =
            ready(Script::of(vec![Step::Speak(speech), Step::Interrupt { audio_ms: 40 }]));
        let messages = run(&mut session, SECONDS);
        let interrupted =
            messages.iter().find(|(_, m)| m["serverContent"]["interrupted"] == true).unwrap();
        assert!(interrupted.1["serverContent"]["modelTurn"].is_object());
        assert!(messages.iter().all(|(_, m)| m["serverContent"]["generationComplete"].is_null()));
        session.chunk_sent(1);
        let record = session.into_record(None);
        let Spoken::Turn(turn) = &record.spoken[0] else { panic!("the turn is recorded first") };
        assert!(!turn.complete);
        assert!(matches!(record.spoken[1], Spoken::Interrupted { .. }));
    }

    #[test]
    fn anything_before_setup_complete_ends_the_session() {
        let mut script = Script::listen();
        script.setup_after = None;
        let mut session = ready(script);
        let content = r#"{"clientContent":{"turns":[],"turnComplete":true}}"#;
        session.handle_text(1, content);
        assert!(matches!(session.pop_output(), Some(Output::Close { code: 1007, .. })));
        assert_eq!(session.into_record(None).complaints, [Complaint::Early]);
    }

    #[test]
    fn caller_audio_is_kept_with_its_arrival() {
        let mut session = ready(Script::listen());
        let audio = |data: &str, rate: u32| {
            json!({ "realtimeInput": { "audio":
                { "mimeType": format!("audio/pcm;rate={rate}"), "data": data } } })
            .to_string()
        };
        session.handle_text(5, &audio("AQD//w==", 16_000));
        session.handle_text(9, &audio("AgA=", 16_000));
        session.handle_text(10, &audio("AgA=", 8_000));
        let record = session.into_record(None);
        assert_eq!(record.uplink.pcm, [1, -1, 2]);
        assert_eq!(record.uplink.arrivals, [(5, 2), (9, 3)]);
        assert_eq!(record.complaints, [Complaint::Audio]);
    }
}
