//! One session of the stand-in after its upgrade: listens strictly, records, follows its script.
//! No socket and no clock; the owner brings messages and the time.
//!
//! In:       client messages, the passing of time.
//! Out:      [`Output`]s in order; the record of the session.
//! Bounds:   audio is kept up to [`UPLINK_BYTES_MAX`], other messages up to [`MESSAGES_MAX`];
//!           beyond it the record says so.
//! Not here: the upgrade and the socket (`gemini::server`), what outlives the connection
//!           (`gemini::conversation`), its tools (`tools`).

mod tools;

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::{Value, json};

use super::activity::Detector;
use super::conversation::{Conversations, Course, Rest};
use super::message::{self, Beside};
use super::protocol::{self, ClientMessage, Complaint};
pub use super::record::{Asked, Chunk, Entry, Event, SessionRecord, Spoken, Turn, Uplink};
use super::script::{
    BACKLOG_NANOS_MAX, Dialect, Opcode, SAMPLES_PER_MS, Script, Speech, Step, UNASKED_MS,
};
use crate::clock::{MILLIS, Nanos, SECONDS};
use crate::net::link::Closing;
use crate::schedule::on_grid;
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
    /// End the stream without a close frame.
    Hangup,
    /// Reset the connection.
    Reset,
}

/// A session under way.
pub struct Session {
    script: Arc<Script>,
    conversations: Arc<Conversations>,
    course: Course,
    seed: u64,
    model: String,
    stage: Stage,
    act: Act,
    next_update: Option<Nanos>,
    updates: u64,
    /// When the connection is closed because its announced end has come.
    doom: Option<Nanos>,
    /// Hears whether somebody speaks, where the script says so.
    detector: Option<Detector>,
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
    /// In the middle of a turn.
    Speaking(Box<Speaking>),
    /// The turn is said and plays; `turnComplete` follows at `at`.
    Completing { at: Nanos },
    /// Tools are at work; they are waited for until `until`.
    AwaitingTools { until: Nanos },
}

/// A turn in progress.
struct Speaking {
    speech: Speech,
    voice: ModelVoice,
    began: Nanos,
    /// When it will have been played, if it comes in time.
    played: Nanos,
    /// The next sample.
    sample: u64,
    /// The number of the next chunk.
    chunk: usize,
    /// The first byte of a sample whose second comes with the next chunk.
    odd: Option<u8>,
}

impl Session {
    /// A session that waits for its setup. `seed`: of the voices; `model`: as the setup must name
    /// it.
    pub fn new(
        index: usize,
        conversations: Arc<Conversations>,
        seed: u64,
        model: String,
        now: Nanos,
    ) -> Session {
        Session {
            script: conversations.at_the_door(index),
            course: Course::default(),
            conversations,
            seed,
            model,
            stage: Stage::Fresh,
            act: Act::Idle,
            next_update: None,
            updates: 0,
            doom: None,
            detector: None,
            turns: 0,
            out: VecDeque::new(),
            unsent_chunks: VecDeque::new(),
            record: SessionRecord::new(index, now),
        }
    }

    /// The frame type of this session's messages.
    pub fn opcode(&self) -> Opcode {
        match self.script.framing.opcode {
            Opcode::Alternate if self.record.index.is_multiple_of(2) => Opcode::Text,
            Opcode::Alternate => Opcode::Binary,
            opcode => opcode,
        }
    }

    /// The script that is followed.
    pub fn script(&self) -> &Script {
        &self.script
    }

    /// The client was let in.
    pub fn admitted(&mut self, entry: Entry) {
        self.record.entry = Some(entry);
    }

    /// A text message from the relay.
    pub fn handle_text(&mut self, now: Nanos, text: &str) {
        if self.stage == Stage::Over {
            return;
        }
        match protocol::read(text) {
            Ok(message) => self.handle_message(now, message, text),
            Err(complaint) => self.refuse(now, complaint),
        }
        self.proceed(now);
    }

    /// True if nothing that may come from a client that keeps to the protocol changes what is said,
    /// or when: only speech and pauses are left of the script.
    pub fn is_alone(&self) -> bool {
        let Script { steps, pong_after, refuses_backlog, detects_activity, .. } = &*self.script;
        let goes_by_the_clock = |step: &Step| matches!(step, Step::Pause(_) | Step::Speak(_));
        self.stage == Stage::Ready
            && !matches!(self.act, Act::AwaitingTools { .. })
            && self.course.faults.is_empty()
            && pong_after.is_none()
            && !refuses_backlog
            && detects_activity.is_none()
            && steps.iter().skip(self.course.next_step).all(goes_by_the_clock)
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
            Stage::Ready => [self.next_act(), self.next_update, self.next_fault(), self.doom]
                .into_iter()
                .flatten()
                .min(),
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Nanos) {
        if let Stage::Answering(Some(at)) = self.stage
            && at <= now
        {
            self.become_ready(now);
        }
        if self.stage == Stage::Ready
            && let (Some(at), Some(every)) = (self.next_update, self.script.updates_every)
            && at <= now
        {
            let update = self.update();
            self.say(message::of_kind(&self.script.dialect, "sessionResumptionUpdate", &update));
            self.next_update = Some(at + every);
        }
        self.proceed(now);
        while self.stage == Stage::Ready && self.next_fault().is_some_and(|at| at <= now) {
            let Some((_, step)) = self.course.faults.pop_front() else { break };
            self.conversations.save(self.record.index, &self.course);
            self.perform(now, step);
        }
        if self.stage == Stage::Ready && self.doom.is_some_and(|at| at <= now) {
            let reason = "Deadline expired before operation could complete.".to_string();
            self.perform(now, Step::Close { code: 1011, reason });
        }
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

    /// The connection is over. What was being said is left to the session that takes it up.
    pub fn end(&mut self, now: Nanos) {
        if self.record.ended_at.is_some() {
            return;
        }
        self.record.ended_at = Some(now);
        self.leave();
        self.stage = Stage::Over;
    }

    /// The record, with the way the session ended.
    pub fn into_record(mut self, ending: Option<Closing>) -> SessionRecord {
        self.record.ending = ending;
        self.record
    }

    fn become_ready(&mut self, now: Nanos) {
        self.stage = Stage::Ready;
        self.record.ready_at = Some(now);
        self.course.take_up(now);
        if let Some(Rest { speech, planned, played }) = self.course.rest.take() {
            self.course.step_at = planned;
            self.begin_turn(speech, Some(played));
        } else if self.course.next_step == 0 {
            self.course.step_at = now;
        }
        self.conversations.save(self.record.index, &self.course);
        let wants_updates =
            self.record.setup.as_ref().is_some_and(|s| s.get("sessionResumption").is_some());
        let every = self.script.updates_every.filter(|_| wants_updates);
        let rides_along = every.is_some() && self.script.dialect.bundled;
        let update = rides_along.then(|| self.update());
        self.next_update = every.map(|every| if rides_along { now + every } else { now });
        self.say(message::setup_complete(&self.script.dialect, update));
        if let Some(unknown) = message::unknown(&self.script.dialect) {
            self.say(unknown);
        }
    }

    /// The next `sessionResumptionUpdate`.
    fn update(&mut self) -> Value {
        self.updates += 1;
        let handle = format!("session-{}-{}", self.record.index, self.updates);
        let resumable = !self.script.not_resumable;
        message::update(&self.script.dialect, &handle, self.updates, resumable)
    }

    fn handle_message(&mut self, now: Nanos, message: ClientMessage, text: &str) {
        match (self.stage, message) {
            (Stage::Fresh, ClientMessage::Setup(setup)) => self.set_up(now, setup),
            (Stage::Ready, ClientMessage::Audio { rate, pcm }) => self.hear(now, rate, &pcm),
            (Stage::Ready, ClientMessage::Setup(_)) => self.refuse(now, Complaint::SetupAgain),
            (Stage::Ready, message) => {
                self.course.greeted |=
                    matches!(message, ClientMessage::Content(_) | ClientMessage::Text(_));
                if self.record.messages.len() < MESSAGES_MAX {
                    let value = serde_json::from_str(text).unwrap_or_default();
                    self.record.messages.push((now, value));
                }
                match message {
                    ClientMessage::AudioStreamEnd => self.record.uplink.stream_ends += 1,
                    ClientMessage::ToolResponse(response) => self.take_results(now, response),
                    _ => {}
                }
            }
            (Stage::Fresh | Stage::Answering(_), _) => self.refuse(now, Complaint::Early),
            (Stage::Over, _) => {}
        }
    }

    fn set_up(&mut self, now: Nanos, setup: Value) {
        let vertex = self.record.entry.is_some_and(|entry| entry.vertex);
        let judged = protocol::check_setup(&setup, &self.model, vertex);
        let handle = setup["sessionResumption"]["handle"].as_str().and_then(session_of);
        self.record.setup = Some(setup);
        if let Err(complaint) = judged {
            return self.refuse(now, complaint);
        }
        let beginning = self.conversations.begin(self.record.index, handle);
        self.record.taken_up_from = handle;
        self.record.conversation = Some(beginning.course.number);
        self.record.apart = beginning.apart;
        self.script = beginning.script;
        self.detector = self.script.detects_activity.map(Detector::new);
        self.course = beginning.course;
        if beginning.overlaps && self.script.refuses_overlap {
            self.complain(Complaint::Overlap);
            let reason = "Internal error encountered.".to_string();
            return self.perform(now, Step::Close { code: 1011, reason });
        }
        self.stage = Stage::Answering(self.script.setup_after.map(|after| now + after));
        self.handle_timeout(now);
    }

    fn hear(&mut self, now: Nanos, rate: u32, pcm: &[u8]) {
        let uplink = &mut self.record.uplink;
        if uplink.rate != 0 && uplink.rate != rate {
            return self.refuse(now, Complaint::Audio);
        }
        uplink.rate = rate;
        if uplink.pcm.len() * 2 + pcm.len() > UPLINK_BYTES_MAX {
            uplink.truncated = true;
            return;
        }
        let (samples, _) = pcm.as_chunks::<2>();
        uplink.pcm.extend(samples.iter().map(|sample| i16::from_le_bytes(*sample)));
        match uplink.arrivals.last_mut() {
            // Read in one go.
            Some((at, heard)) if *at == now => *heard = uplink.pcm.len() as u64,
            _ => uplink.arrivals.push((now, uplink.pcm.len() as u64)),
        }
        self.listen_for_speech(now, pcm);
        let since = now - self.record.ready_at.unwrap_or(now);
        if self.script.refuses_backlog
            && self.record.taken_up_from.is_some()
            && self.heard_ms() * MILLIS > since + BACKLOG_NANOS_MAX
        {
            self.refuse(now, Complaint::Backlog);
        }
    }

    /// Breaks off what it is saying, or what it has said and still plays, if somebody speaks.
    fn listen_for_speech(&mut self, now: Nanos, pcm: &[u8]) {
        let Some(detector) = &mut self.detector else { return };
        let is_audible = match self.act {
            Act::Speaking(_) => true,
            Act::Completing { at } => now < at,
            Act::Idle | Act::AwaitingTools { .. } => false,
        };
        let pcm: Vec<i16> = pcm.as_chunks().0.iter().map(|it| i16::from_le_bytes(*it)).collect();
        if !is_audible {
            detector.forget();
        } else if detector.hear(self.record.uplink.rate, &pcm) {
            self.record.talked_over += 1;
            self.act = Act::Idle;
            self.course.step_at = now;
            self.interrupt(now, 0);
        }
    }

    /// Closes the session the way the service does on a message it does not take.
    fn refuse(&mut self, now: Nanos, complaint: Complaint) {
        self.complain(complaint);
        let reason = "Request contains an invalid argument.".to_string();
        self.perform(now, Step::Close { code: 1007, reason });
    }

    /// Ends the script with what the connection suffers.
    fn suffer(&mut self, now: Nanos, event: Event, output: Output) {
        self.record.events.push((now, event));
        self.out.push_back(output);
        self.leave();
        self.stage = Stage::Over;
    }

    /// Leaves the conversation as it is now to whoever takes it up.
    fn leave(&mut self) {
        let act = std::mem::replace(&mut self.act, Act::Idle);
        if let Act::Speaking(speaking) = act {
            let Speaking { speech, began, played, sample, .. } = *speaking;
            let samples = speech.samples.saturating_sub(sample) / 3 * 3;
            let planned = began + speech.planned(sample);
            let speech = Speech { samples, head_start: 0, cut_after: None, ..speech };
            self.course.step_at = played;
            self.course.rest = (samples > 0).then_some(Rest { speech, planned, played });
        } else if let Act::Completing { at } = act {
            self.course.step_at = at;
        }
        self.conversations.save(self.record.index, &self.course);
        self.conversations.end(self.record.index);
    }

    fn say(&mut self, text: String) {
        self.out.push_back(Output::Message { text, chunk: false });
    }

    /// Nobody who was told nothing asks for a tool: a session made ahead of its call waits with it,
    /// and with what follows.
    fn next_fault(&self) -> Option<Nanos> {
        let (at, step) = self.course.faults.front()?;
        let was_told = self.course.greeted || !self.record.uplink.pcm.is_empty();
        let waits = matches!(step, Step::ToolCall { .. }) && !was_told;
        (!waits).then_some(self.course.began? + at)
    }

    /// When the script wants to go on by itself.
    fn next_act(&self) -> Option<Nanos> {
        let step_at = self.course.step_at;
        match &self.act {
            Act::Speaking(it) => Some(it.began + it.speech.planned(it.sample)),
            Act::Completing { at } => Some(*at),
            Act::AwaitingTools { until } => Some(if self.waits_for_tools() { *until } else { 0 }),
            Act::Idle => match self.script.steps.get(self.course.next_step)? {
                Step::AwaitGreeting if !self.course.greeted && self.heard_ms() < UNASKED_MS => None,
                Step::AwaitUplink { ms } if self.heard_ms() < *ms => None,
                Step::Pause(pause) => Some(step_at + pause),
                _ => Some(step_at),
            },
        }
    }

    fn waits_for_tools(&self) -> bool {
        self.record.tools.iter().any(tools::is_open)
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
                    self.say(message::turn_complete(&self.script.dialect));
                    self.course.step_at = at;
                    self.act = Act::Idle;
                }
                Act::AwaitingTools { .. } => {
                    self.course.step_at = now;
                    self.act = Act::Idle;
                }
                Act::Idle => self.begin_step(now),
            }
        }
    }

    fn begin_step(&mut self, now: Nanos) {
        let step = self.script.steps[self.course.next_step].clone();
        self.course.next_step += 1;
        match step {
            Step::AwaitGreeting | Step::AwaitUplink { .. } => self.course.step_at = now,
            Step::Pause(pause) => self.course.step_at += pause,
            Step::Speak(speech) => self.begin_turn(speech, None),
            Step::AwaitTools { ms } => self.act = Act::AwaitingTools { until: now + ms * MILLIS },
            instant => self.perform(now, instant),
        }
        if self.stage == Stage::Ready {
            self.conversations.save(self.record.index, &self.course);
        }
    }

    /// Does a step that is over in an instant.
    fn perform(&mut self, now: Nanos, step: Step) {
        match step {
            Step::Heard { text } => {
                let content = json!({ "inputTranscription": { "text": text } });
                self.say(message::of_kind(&self.script.dialect, "serverContent", &content));
            }
            Step::Interrupt { audio_ms } => self.interrupt(now, audio_ms),
            Step::GoAway { time_left, enforced } => {
                self.record.events.push((now, Event::GoAway));
                self.doom = enforced.then(|| now + protocol::duration(&time_left).unwrap_or(0));
                let content = json!({ "timeLeft": time_left });
                self.say(message::of_kind(&self.script.dialect, "goAway", &content));
            }
            Step::ToolCall { calls, without_ids } => self.ask_tools(now, &calls, !without_ids),
            Step::CancelTools => self.cancel_tools(),
            Step::SendText(text) => {
                self.note_garbage(now, text.as_bytes());
                self.out.push_back(Output::Text(text));
            }
            Step::SendBinary(bytes) => {
                self.note_garbage(now, &bytes);
                self.out.push_back(Output::Binary(bytes));
            }
            Step::SendBytes(bytes) => {
                self.record.events.push((now, Event::Garbled));
                self.out.push_back(Output::Bytes(bytes));
            }
            Step::Quiet => self.next_update = None,
            Step::Stuck => {
                self.record.events.push((now, Event::Stuck));
                self.course.next_step = self.script.steps.len();
            }
            Step::Stall => self.suffer(now, Event::Stalled, Output::Stall),
            Step::Close { code, reason } => {
                self.suffer(now, Event::Closed(code), Output::Close { code, reason });
            }
            Step::Dismiss { code, reason } => {
                self.suffer(now, Event::Dismissed(code), Output::Close { code, reason });
            }
            Step::Hangup => self.suffer(now, Event::Cut, Output::Hangup),
            Step::Reset => self.suffer(now, Event::Cut, Output::Reset),
            Step::AwaitGreeting
            | Step::AwaitUplink { .. }
            | Step::AwaitTools { .. }
            | Step::Pause(_)
            | Step::Speak(_) => unreachable!("these steps take time: see `begin_step`"),
        }
    }

    /// Notes a message that is not JSON: a client has no use for the connection after it.
    fn note_garbage(&mut self, now: Nanos, message: &[u8]) {
        if serde_json::from_slice::<serde::de::IgnoredAny>(message).is_err() {
            self.record.events.push((now, Event::Garbled));
        }
    }

    /// Begins a turn, or the rest of one that is to have been played at `played`.
    fn begin_turn(&mut self, speech: Speech, played: Option<Nanos>) {
        assert!(speech.samples.is_multiple_of(3), "a turn is whole samples at 8 kHz");
        assert!(speech.chunk_samples.iter().all(|&len| len > 0), "a chunk has samples");
        let number = self.turns;
        self.turns += 1;
        let voice = ModelVoice::new(self.seed, self.record.index, number, speech.samples);
        let voice = if speech.steady { voice.steady() } else { voice };
        self.record.spoken.push(Spoken::Turn(Turn {
            number,
            samples: speech.samples,
            chunks: Vec::new(),
            complete: false,
            continues: played.is_some(),
            steady: speech.steady,
        }));
        let began = on_grid(self.course.step_at);
        if speech.steady {
            self.record.events.push((began, Event::Droned));
        }
        let played = played.unwrap_or(began + speech.duration());
        let speaking = Speaking { speech, voice, began, played, sample: 0, chunk: 0, odd: None };
        self.act = Act::Speaking(Box::new(speaking));
    }

    /// Says the next chunk of the turn, and what follows the last one.
    fn speak_on(&mut self) {
        let Act::Speaking(speaking) = &mut self.act else { return };
        let planned = speaking.began + speaking.speech.planned(speaking.sample);
        let end = speaking.end();
        let dialect = self.script.dialect;
        let mut told = false;
        if speaking.sample < end {
            let is_first = speaking.chunk == 0;
            let bytes = speaking.next_chunk(dialect.odd_bytes);
            let is_last = speaking.sample == end && speaking.speech.cut_after.is_none();
            told = is_last && dialect.bundled;
            let beside = Beside {
                transcript: speaking.speech.transcript.as_deref().filter(|_| is_first),
                generation_complete: told,
                turn_complete: told && speaking.speech.complete_at_once,
                interrupted: false,
            };
            let text = message::audio(&dialect, &bytes, beside);
            let to_sample = speaking.sample - u64::from(speaking.odd.is_some());
            self.out.push_back(Output::Message { text, chunk: true });
            let place = self.record.spoken.len() - 1;
            self.unsent_chunks.push_back((place, planned, to_sample));
            if speaking.sample < end {
                return;
            }
        }
        self.end_turn(planned, told);
    }

    /// The last chunk is said. `told`: `generationComplete` came with it.
    fn end_turn(&mut self, planned: Nanos, told: bool) {
        let Act::Speaking(speaking) = std::mem::replace(&mut self.act, Act::Idle) else { return };
        let Speaking { speech, played, .. } = *speaking;
        if speech.cut_after.is_some() {
            self.course.step_at = planned;
            return;
        }
        let place = self.record.spoken.iter().rposition(|it| matches!(it, Spoken::Turn(_)));
        if let Some(Spoken::Turn(turn)) = place.map(|place| &mut self.record.spoken[place]) {
            turn.complete = true;
        }
        let dialect = self.script.dialect;
        if !told {
            self.say(message::generation_complete(&dialect));
        }
        // The end of the turn is told when it has been played, as the service does, or at once.
        if !speech.complete_at_once {
            self.act = Act::Completing { at: played.max(planned) };
            return;
        }
        if !told {
            self.say(message::turn_complete(&dialect));
        }
        self.course.step_at = planned;
    }

    fn interrupt(&mut self, now: Nanos, audio_ms: u64) {
        // A turn in progress is not gone on with.
        if let Act::Speaking(_) = self.act {
            self.course.step_at = now;
            self.act = Act::Idle;
        }
        let samples = audio_ms * SAMPLES_PER_MS;
        let void = ModelVoice::new(self.seed, self.record.index, VOID_TURN, samples + SECONDS);
        let mut pcm = vec![0; samples as usize];
        void.speak(0, &mut pcm);
        let bytes: Vec<u8> = pcm.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        let dialect: Dialect = self.script.dialect;
        self.say(message::interrupted(&dialect, &bytes));
        self.say(message::turn_complete(&dialect));
        self.record.spoken.push(Spoken::Interrupted { at: now });
    }
}

impl Speaking {
    /// Where the turn ends or is cut off, in samples.
    fn end(&self) -> u64 {
        self.speech.cut_after.unwrap_or(self.speech.samples).min(self.speech.samples)
    }

    /// The bytes of the next chunk. With `odd` their count is odd as far as that goes.
    fn next_chunk(&mut self, odd: bool) -> Vec<u8> {
        let sizes = &self.speech.chunk_samples;
        let wanted = sizes[self.chunk % sizes.len()];
        let mut pcm = vec![0; wanted.min(self.end() - self.sample) as usize];
        self.voice.speak(self.sample, &mut pcm);
        self.sample += pcm.len() as u64;
        self.chunk += 1;
        let mut bytes = Vec::with_capacity(pcm.len() * 2 + 1);
        let before = self.odd.take();
        bytes.extend(before);
        bytes.extend(pcm.iter().flat_map(|sample| sample.to_le_bytes()));
        // The high byte of the last sample waits; with a byte from before, the count is odd as is.
        if odd && before.is_none() && self.sample < self.end() {
            self.odd = bytes.pop();
        }
        bytes
    }
}

/// The session a handle comes from.
fn session_of(handle: &str) -> Option<usize> {
    handle.strip_prefix("session-")?.split('-').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemini::conversation::Order;

    pub(super) fn ready(script: Script) -> Session {
        let conversations = Conversations::new(vec![Arc::new(script)], Order::OneCall, 1);
        let mut session = Session::new(0, Arc::new(conversations), 1, "models/m".into(), 0);
        session.handle_text(0, &setup(None));
        session
    }

    pub(super) fn setup(handle: Option<&str>) -> String {
        let resumption = handle.map_or(json!({}), |handle| json!({ "handle": handle }));
        let setup = json!({ "setup": {
            "model": "models/m",
            "generationConfig": { "responseModalities": ["AUDIO"] },
            "sessionResumption": resumption,
        }});
        setup.to_string()
    }

    pub(super) fn said(session: &mut Session) -> Vec<Value> {
        std::iter::from_fn(|| session.pop_output())
            .filter_map(|output| match output {
                Output::Message { text, .. } => Some(serde_json::from_str(&text).unwrap()),
                _ => None,
            })
            .collect()
    }

    /// Runs to `until`, and returns every message with the time it was said.
    pub(super) fn run(session: &mut Session, until: Nanos) -> Vec<(Nanos, Value)> {
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
    fn a_session_is_alone_once_only_speech_and_pauses_are_left() {
        let mut session = ready(Script::converse(1, Speech::real_time(40), 0));
        assert!(!session.is_alone(), "a greeting is to be asked for");
        let content = r#"{"clientContent":{"turns":[],"turnComplete":true}}"#;
        session.handle_text(0, content);
        assert!(session.is_alone());
        let steps = vec![Step::Speak(Speech::real_time(40)), Step::Interrupt { audio_ms: 0 }];
        assert!(!ready(Script::of(steps)).is_alone());
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
