//! The model's end of one connection of a simulated call, from `setupComplete` on.
//!
//! Not here: whether what it hears is right (`reference`), how connections follow one another
//! (`world`).

use std::collections::VecDeque;
use std::sync::OnceLock;
use std::time::Duration;

use vocaris::clock::Nanos;

use crate::faults::{Dice, Fault};
use crate::frames::{
    BINARY, CLOSE, PING, TEXT, base64_bytes, close_payload, put_base64, put_frame,
};
use crate::wire::Wire;

/// What one message of the model means to the reference.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) interrupted: bool,
    /// Pieces of audio with their rates.
    pub(crate) audio: Vec<(u32, Vec<u8>)>,
    /// It has audio, though none that can be decoded.
    pub(crate) broken_audio: bool,
    pub(crate) generation_complete: bool,
    pub(crate) turn_complete: bool,
    /// Functions that may be answered, by id, and those that may not be any more.
    pub(crate) tools: Vec<String>,
    pub(crate) taken_back: Vec<String>,
}

impl Content {
    /// In one line.
    pub(crate) fn summary(&self) -> String {
        let flags = [
            ("interrupted", self.interrupted),
            ("broken audio", self.broken_audio),
            ("generation complete", self.generation_complete),
            ("turn complete", self.turn_complete),
        ];
        let set: Vec<_> = flags.iter().filter(|flag| flag.1).map(|flag| flag.0).collect();
        let audio: Vec<_> = self.audio.iter().map(|(hz, bytes)| (*hz, bytes.len())).collect();
        format!("the model: {set:?} {audio:?} {:?}, not {:?}", self.tools, self.taken_back)
    }
}

/// What the relay says to the model.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Audio { rate_hz: u32, pcm_le: Vec<u8> },
    Typed(u32),
    ToolAnswers(Vec<String>),
    Close(u16),
    Other,
}

pub(crate) struct Model {
    pub(crate) wire: Wire<Content>,
    /// When it acts next.
    pub(crate) next_at: Nanos,
    pub(crate) stalled_until: Nanos,
    pub(crate) deaf_until: Nanos,
    /// It has closed, or was closed, or its connection broke: the session is no more.
    pub(crate) is_closed: bool,
    /// Its connection is to be seen as gone by the call.
    pub(crate) is_lost: bool,
    mood: Mood,
    /// What it is about to say, message by message.
    plan: VecDeque<(u64, Act)>,
    ignores_close: bool,
    rate_changes: u32,
    updates_at: Nanos,
    /// When it announces its end, and whether it has.
    rotates_at: Nanos,
}

/// What a model is like from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Well,
    /// Signs of life, and no answer.
    Mute,
    /// Nothing at all.
    Dead,
    /// Signs of life, an answer in ten minutes, and then the end of the connection.
    Quiet,
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Audio { samples: usize },
    GenerationComplete,
    TurnComplete,
    BothComplete,
    Interrupted,
    InterruptedWithAudio,
    Transcript,
    GoAway(&'static str),
}

/// The tools it knows of: one that only looks, one that changes something, one it waits for.
pub(crate) const TOOL_NAMES: [&str; 3] = ["look", "book", "ask"];

/// The rows of the service's close table: code, words, which fault that is.
const CLOSES: &[(Fault, u16, &str)] = &[
    (Fault::CloseKey, 1007, "API key expired. Please renew the API key."),
    (Fault::CloseArgument, 1007, "Request contains an invalid argument."),
    (
        Fault::CloseContentType,
        1007,
        "The audio content type (CONTENT_TYPE_AUDIO) is not supported for this model configuration.",
    ),
    (Fault::CloseField, 1007, "Unknown name \"toolConfig\" at 'setup'"),
    (Fault::CloseNotFound, 1008, "models/X is not found for API version v1beta"),
    (Fault::ClosePolicy, 1008, ""),
    (Fault::CloseNotImplemented, 1008, "Operation is not implemented, or supported, or enabled."),
    (Fault::CloseAborted, 1008, "The operation was aborted."),
    (Fault::CloseInternal, 1011, "Internal error encountered."),
    (Fault::CloseDeadline, 1011, "Deadline expired before operation could complete."),
    (Fault::CloseUnavailable, 1011, "The service is currently unavailable."),
    (Fault::CloseQuota, 1011, "You exceeded your current quota, please check your plan"),
    (Fault::CloseNormal, 1000, ""),
    (Fault::CloseGoingAway, 1001, ""),
    (Fault::CloseRestart, 1012, ""),
    (Fault::CloseTryLater, 1013, ""),
    (Fault::CloseOther, 4000, ""),
];

impl Model {
    /// A session that is ready; `resumed`: it was one before.
    pub(crate) fn new(now: Nanos, resumed: bool, dice: &mut Dice) -> Model {
        let mut mood = Mood::Well;
        if dice.picks(Fault::Dead, 2) {
            mood = Mood::Dead;
        } else if resumed && dice.picks(Fault::Poisoned, 10) || dice.picks(Fault::Mute, 3) {
            mood = Mood::Mute;
        }
        let mut plan = VecDeque::new();
        if resumed && dice.picks(Fault::RotatedTwice, 30) {
            plan.push_back((20, Act::GoAway("0s")));
        }
        Model {
            wire: Wire::new(),
            next_at: now.plus(Duration::from_millis(dice.random().u64(0..200))),
            stalled_until: now,
            deaf_until: now,
            is_closed: false,
            is_lost: false,
            mood,
            plan,
            ignores_close: dice.picks(Fault::ModelIgnoresClose, 10),
            rate_changes: 0,
            updates_at: now,
            rotates_at: Nanos::NEVER,
        }
    }

    /// A session that says something every now and then, and announces its end after `held`.
    pub(crate) fn quiet(now: Nanos, held: Duration, dice: &mut Dice) -> Model {
        let model = Model::new(now, false, dice);
        let mut model = Model { rotates_at: now.plus(held), mood: Mood::Quiet, ..model };
        model.make_plan(dice);
        model
    }

    /// A session that is there and says nothing.
    pub(crate) fn mute(now: Nanos, dice: &mut Dice) -> Model {
        Model { mood: Mood::Mute, ..Model::new(now, false, dice) }
    }

    /// Whether it is about to announce its end, or has.
    pub(crate) fn is_leaving(&self) -> bool {
        self.mood == Mood::Quiet && self.rotates_at == Nanos::NEVER
    }

    fn be_quiet(&mut self, now: Nanos, dice: &mut Dice) -> u64 {
        if let Some((later, act)) = self.plan.pop_front() {
            self.perform(act, dice);
            return later;
        }
        self.show_life(now, dice);
        if now >= self.rotates_at {
            self.rotates_at = Nanos::NEVER;
            self.make_plan(dice);
            self.plan.push_back((1_000, Act::GoAway("50s")));
            return 100;
        }
        10_000
    }

    pub(crate) fn is_deaf(&self, now: Nanos) -> bool {
        now < self.deaf_until
    }

    /// Does what is due now.
    pub(crate) fn act(&mut self, now: Nanos, dice: &mut Dice) {
        if self.is_closed || self.mood == Mood::Dead {
            return self.next_at = Nanos::NEVER;
        }
        let later = match self.mood {
            Mood::Mute => {
                self.show_life(now, dice);
                900
            }
            Mood::Quiet => self.be_quiet(now, dice),
            _ => self.live(now, dice),
        };
        self.next_at = now.plus(Duration::from_millis(later));
    }

    fn live(&mut self, now: Nanos, dice: &mut Dice) -> u64 {
        if now >= self.updates_at {
            self.updates_at = now.plus(Duration::from_millis(900));
            self.show_life(now, dice);
        }
        if dice.strikes(Fault::ModelStalls, 30) {
            self.stalled_until = now.plus(Duration::from_millis(dice.random().u64(20..3_000)));
        }
        if dice.strikes(Fault::ModelDeaf, 20) {
            self.deaf_until = now.plus(Duration::from_millis(dice.random().u64(20..5_000)));
        }
        if dice.strikes(Fault::QuietAfterGoAway, 10) {
            self.go_away("9.5s", dice);
            self.mood = Mood::Dead;
        }
        self.misbehave(dice);
        if self.is_closed {
            return 1;
        }
        if self.plan.is_empty() {
            self.make_plan(dice);
        } else {
            self.spoil_plan(dice);
        }
        let Some((later, act)) = self.plan.pop_front() else { return 100 };
        self.perform(act, dice);
        later
    }

    /// A turn, from its first audio to its completion.
    fn make_plan(&mut self, dice: &mut Dice) {
        let rest = dice.random().u64(20..500);
        if dice.strikes(Fault::InterruptedBefore, 300) {
            self.plan.push_back((20, Act::Interrupted));
            self.plan.push_back((20, Act::TurnComplete));
        }
        if dice.strikes(Fault::Burst, 25) {
            let times = dice.random().usize(1..4);
            for _ in 0..times * 15 {
                self.plan.push_back((5, Act::Audio { samples: 48_000 }));
            }
        } else {
            let chunk_ms = *dice.random().choice(&[20, 40, 40, 40, 100, 200]).unwrap();
            let slow = dice.strikes(Fault::Trickle, 500);
            for _ in 0..dice.random().usize(1..30) {
                let pace = if slow { chunk_ms * 14 / 10 } else { chunk_ms / 4 };
                self.plan.push_back((pace as u64, Act::Audio { samples: 24 * chunk_ms }));
                if dice.random().u32(0..5) == 0 {
                    self.plan.push_back((0, Act::Transcript));
                }
            }
        }
        if dice.random().u32(0..3) == 0 {
            self.plan.push_back((rest, Act::BothComplete));
        } else {
            if !dice.strikes(Fault::GenerationCompleteLost, 300) {
                self.plan.push_back((10, Act::GenerationComplete));
            }
            if !dice.strikes(Fault::TurnCompleteLost, 300) {
                self.plan.push_back((rest, Act::TurnComplete));
            }
        }
        if dice.strikes(Fault::TurnCompleteTwice, 200) {
            self.plan.push_back((20, Act::TurnComplete));
        }
        if dice.strikes(Fault::AudioAfterTurn, 200) {
            self.plan.push_back((20, Act::Audio { samples: 700 }));
        }
        if dice.strikes(Fault::InterruptedAfterTurn, 400) {
            self.plan.push_back((20, Act::Interrupted));
        }
    }

    /// The caller is heard in the middle of it.
    fn spoil_plan(&mut self, dice: &mut Dice) {
        let with_audio = dice.strikes(Fault::InterruptedWithAudio, 40);
        if !with_audio && !dice.strikes(Fault::InterruptedMidway, 80) {
            return;
        }
        self.plan.clear();
        let act = if with_audio { Act::InterruptedWithAudio } else { Act::Interrupted };
        self.plan.push_back((5, act));
        if dice.strikes(Fault::InterruptedTwice, 2_000) {
            self.plan.push_back((5, act));
        }
        if dice.strikes(Fault::LateAudio, 3_000) {
            for _ in 0..dice.random().usize(1..6) {
                let later = dice.random().u64(0..900);
                self.plan.push_back((later, Act::Audio { samples: 960 }));
            }
        }
        let rest = dice.random().u64(50..1_000);
        if !dice.strikes(Fault::TurnCompleteLost, 1_000) {
            self.plan.push_back((rest, Act::TurnComplete));
        }
    }

    fn perform(&mut self, act: Act, dice: &mut Dice) {
        let mut content = Content::default();
        match act {
            Act::Audio { samples } => content.audio = self.audio(samples, dice),
            Act::GenerationComplete => content.generation_complete = true,
            Act::TurnComplete => content.turn_complete = true,
            Act::BothComplete => {
                (content.generation_complete, content.turn_complete) = (true, true);
            }
            Act::Interrupted => content.interrupted = true,
            Act::InterruptedWithAudio => {
                content.interrupted = true;
                content.audio = self.audio(480, dice);
            }
            Act::Transcript => {
                let who = if dice.random().bool() { "input" } else { "output" };
                let text = format!(
                    r#"{{"serverContent":{{"{who}Transcription":{{"text":" word{}"}}}}}}"#,
                    dice.random().u8(..)
                );
                return self.say(&text, Content::default(), false, dice);
            }
            Act::GoAway(left) => return self.go_away(left, dice),
        }
        self.say_content(content, dice);
    }

    fn audio(&mut self, samples: usize, dice: &mut Dice) -> Vec<(u32, Vec<u8>)> {
        let mut pieces = vec![samples];
        if dice.strikes(Fault::ManyParts, 300) {
            pieces = vec![samples / 2, 0, samples - samples / 2];
        }
        let mut rate_hz = 24_000;
        if self.rate_changes < 3 && dice.strikes(Fault::OtherRate, 30) {
            rate_hz = *dice.random().choice(&[8_000, 16_000]).unwrap();
            self.rate_changes += 1;
        } else if dice.strikes(Fault::UnknownRate, 20) {
            rate_hz = 11_025;
        }
        pieces
            .into_iter()
            .map(|samples| {
                let mut len = samples * 2;
                if len > 2 && dice.strikes(Fault::OddBytes, 300) {
                    len -= 1;
                }
                let tape = tape();
                let start = dice.random().usize(0..tape.len() - len);
                (rate_hz, tape[start..start + len].to_vec())
            })
            .collect()
    }

    fn say_content(&mut self, mut content: Content, dice: &mut Dice) {
        let url_safe = dice.strikes(Fault::UrlSafe, 500);
        let mut fields = Vec::new();
        if !content.audio.is_empty() {
            let broken = dice.strikes(Fault::ModelBadBase64, 30);
            let mut parts = String::from(r#""modelTurn":{"role":"model","parts":["#);
            for (n, (rate_hz, bytes)) in content.audio.iter().enumerate() {
                let comma = if n > 0 { "," } else { "" };
                parts.push_str(&format!(
                    r#"{comma}{{"inlineData":{{"mimeType":"audio/pcm;rate={rate_hz}","data":""#
                ));
                parts.push_str(if broken { "*" } else { "" });
                put_base64(&mut parts, bytes, url_safe);
                parts.push_str("\"}}");
            }
            parts.push_str("]}");
            fields.push(parts);
            if broken {
                content.audio.clear();
                content.broken_audio = true;
            }
        }
        let flags = [
            ("interrupted", content.interrupted),
            ("generationComplete", content.generation_complete),
            ("turnComplete", content.turn_complete),
            ("waitingForInput", content.turn_complete && dice.strikes(Fault::WaitsForInput, 2_000)),
        ];
        for (name, _) in flags.into_iter().filter(|&(_, is_set)| is_set) {
            fields.push(format!("\"{name}\":true"));
        }
        if dice.random().bool() {
            fields.reverse();
        }
        let text = format!(r#"{{"serverContent":{{{}}}}}"#, fields.join(","));
        let is_odd = content.broken_audio || content.audio.iter().any(|&(hz, _)| hz != 24_000);
        self.say(&text, content, is_odd, dice);
    }

    /// One message in whatever form.
    fn say(&mut self, text: &str, content: Content, is_fence: bool, dice: &mut Dice) {
        let mut text = text.to_owned();
        if text.len() < 10_000 && dice.strikes(Fault::UnknownFields, 500) {
            let more =
                r#","usageMetadata":{"promptTokenCount":"7","x":[1,{"y":null}]},"novel":{}}"#;
            text.truncate(text.len() - 1);
            text.push_str(more);
        }
        if text.len() < 10_000 && dice.strikes(Fault::Pretty, 500) {
            text = pretty(&text);
        }
        let opcode = if dice.strikes(Fault::AsBinary, 1_000) { BINARY } else { TEXT };
        let mut bytes = Vec::with_capacity(text.len() + 64);
        if text.len() < 20_000 && dice.strikes(Fault::AsPieces, 300) {
            let (head, tail) = text.as_bytes().split_at(text.len() / 2);
            put_frame(&mut bytes, false, opcode, None, head);
            put_frame(&mut bytes, true, PING, None, b"p");
            put_frame(&mut bytes, true, 0, None, tail);
        } else {
            put_frame(&mut bytes, true, opcode, None, text.as_bytes());
        }
        self.wire.say(&bytes, content, is_fence);
    }

    fn say_plainly(&mut self, text: &str, dice: &mut Dice) {
        self.say(text, Content::default(), true, dice);
    }

    /// What a session says of itself.
    fn show_life(&mut self, now: Nanos, dice: &mut Dice) {
        self.updates_at = now.plus(Duration::from_millis(900));
        if dice.strikes(Fault::NotResumable, 300) {
            return self.say_plainly(r#"{"sessionResumptionUpdate":{"resumable":false}}"#, dice);
        }
        let mut handle = format!("handle-{}", dice.random().u32(..));
        if dice.strikes(Fault::HandleTooLong, 30) {
            handle = "h".repeat(20_000);
        }
        let text =
            format!(r#"{{"sessionResumptionUpdate":{{"newHandle":"{handle}","resumable":true}}}}"#);
        self.say_plainly(&text, dice);
    }

    fn go_away(&mut self, left: &str, dice: &mut Dice) {
        self.say_plainly(&format!(r#"{{"goAway":{{"timeLeft":"{left}"}}}}"#), dice);
    }

    /// Everything a healthy model does not do.
    fn misbehave(&mut self, dice: &mut Dice) {
        for (fault, left) in
            [(Fault::GoAwayEarly, "50s"), (Fault::GoAwaySoon, "9.5s"), (Fault::GoAwayNow, "0s")]
        {
            if dice.strikes(fault, 20) {
                self.go_away(left, dice);
                if dice.strikes(Fault::GoAwayTwice, 3_000) {
                    self.go_away("0.500s", dice);
                }
            }
        }
        if dice.strikes(Fault::ModelPings, 50) {
            let mut bytes = Vec::new();
            put_frame(&mut bytes, true, PING, None, b"model");
            self.wire.say(&bytes, Content::default(), false);
        }
        if dice.strikes(Fault::ModelNonsense, 60) {
            self.say_plainly(r#"{"serverContent":["#, dice);
        }
        if dice.strikes(Fault::ModelNonsenseFlood, 3) {
            for _ in 0..300 {
                self.say_plainly("[]", dice);
            }
        }
        self.call_tools(dice);
        self.end_session(dice);
    }

    fn call_tools(&mut self, dice: &mut Dice) {
        if !dice.strikes(Fault::ToolCall, 60) {
            return;
        }
        let many = dice.strikes(Fault::ToolCallManyAtOnce, 2_000);
        let mut content = Content::default();
        let mut calls = Vec::new();
        for _ in 0..if many { 3 } else { 1 } {
            let unknown = dice.strikes(Fault::ToolCallUnknown, 1_000);
            let names = if unknown { ["nobody_knows"; 3] } else { TOOL_NAMES };
            let name = *dice.random().choice(&names).unwrap();
            // Few arguments: the same is asked for more than once.
            let mut args = dice.random().u32(..);
            if dice.strikes(Fault::ToolCallAgain, 2_000) {
                args = 1;
            }
            let call = format!(r#""name":"{name}","args":{{"day":{args}}}"#);
            if dice.strikes(Fault::ToolCallWithoutId, 1_000) {
                calls.push(format!("{{{call}}}"));
                continue;
            }
            let id = format!("fc-{}", dice.random().u64(..));
            calls.push(format!(r#"{{"id":"{id}",{call}}}"#));
            content.tools.push(id);
        }
        let text = format!(r#"{{"toolCall":{{"functionCalls":[{}]}}}}"#, calls.join(","));
        let taken_back = content.tools.clone();
        self.say(&text, content, true, dice);
        if dice.strikes(Fault::ToolCallCancelled, 2_000) {
            let ids: Vec<_> = taken_back.iter().map(|id| format!("\"{id}\"")).collect();
            let text = format!(r#"{{"toolCallCancellation":{{"ids":[{}]}}}}"#, ids.join(","));
            self.say(&text, Content { taken_back, ..Content::default() }, true, dice);
        }
    }

    fn end_session(&mut self, dice: &mut Dice) {
        let row = dice.random().usize(0..CLOSES.len());
        let (fault, code, reason) = CLOSES[row];
        // What nothing helps against ends the call: more rarely, or hardly any would go on.
        let is_fatal = matches!(
            fault,
            Fault::CloseKey
                | Fault::CloseField
                | Fault::CloseNotFound
                | Fault::ClosePolicy
                | Fault::CloseQuota
        );
        if dice.strikes(fault, if is_fatal { 60 } else { 250 }) {
            return self.close(Some(code), reason);
        }
        if dice.strikes(Fault::CloseEmpty, 12) {
            return self.close(None, "");
        }
        if dice.strikes(Fault::ModelReset, 25) {
            self.wire.break_off();
            (self.is_closed, self.is_lost) = (true, true);
        } else if dice.strikes(Fault::ModelHalfMessage, 20) {
            let mut bytes = Vec::new();
            let text = r#"{"serverContent":{"turnComplete":true}}"#;
            put_frame(&mut bytes, true, TEXT, None, text.as_bytes());
            bytes.truncate(dice.random().usize(1..bytes.len()));
            self.wire.say(&bytes, Content::default(), true);
            (self.is_closed, self.is_lost) = (true, true);
        } else if dice.strikes(Fault::ModelError, 15) {
            let (status, message) = *dice
                .random()
                .choice(&[
                    ("INTERNAL", "Internal error encountered."),
                    ("RESOURCE_EXHAUSTED", "quota"),
                    ("UNAVAILABLE", "The service is currently unavailable."),
                ])
                .unwrap();
            let text =
                format!(r#"{{"error":{{"code":500,"status":"{status}","message":"{message}"}}}}"#);
            self.say_plainly(&text, dice);
        } else if dice.strikes(Fault::ModelGarbage, 10) {
            self.wire.say(&[0xff; 8], Content::default(), true);
            self.is_closed = true;
        } else if dice.strikes(Fault::ModelTooLong, 10) {
            // More than the relay takes is refused before it has come.
            let head = [0x81, 127, 0, 0, 0, 0, 0x10, 0, 0, 0];
            self.wire.say(&head, Content::default(), true);
            self.is_closed = true;
        }
    }

    fn close(&mut self, code: Option<u16>, reason: &str) {
        let mut bytes = Vec::new();
        put_frame(&mut bytes, true, CLOSE, None, &close_payload(code, reason));
        self.wire.say(&bytes, Content::default(), true);
        self.is_closed = true;
    }

    /// The relay has closed the session.
    pub(crate) fn hear_close(&mut self) {
        if !self.is_closed && !self.ignores_close && self.mood != Mood::Dead {
            self.close(Some(1000), "");
        }
        self.is_closed = true;
    }
}

/// What a message of the relay says.
///
/// # Panics
/// If it is none that the model understands.
pub(crate) fn read(opcode: u8, payload: &[u8]) -> Told {
    if opcode == CLOSE {
        let code = payload.first_chunk().map_or(1005, |&code| u16::from_be_bytes(code));
        return Told::Close(code);
    }
    if opcode != TEXT {
        return Told::Other;
    }
    let text = std::str::from_utf8(payload).expect("UTF-8");
    let audio = text.strip_prefix(r#"{"realtimeInput":{"audio":{"mimeType":"audio/pcm;rate="#);
    if let Some(audio) = audio {
        let (rate_hz, rest) = audio.split_once("\",\"data\":\"").expect("audio has data");
        let base64 = rest.strip_suffix("\"}}}").expect("nothing follows the audio");
        let pcm_le = base64_bytes(base64.as_bytes());
        return Told::Audio { rate_hz: rate_hz.parse().expect("a rate"), pcm_le };
    }
    let value: serde_json::Value = serde_json::from_str(text).expect("JSON");
    let keys = value.as_object().expect("an object");
    assert_eq!(keys.len(), 1, "one kind of message at a time: {text}");
    if let Some(typed) = value["realtimeInput"]["text"].as_str() {
        return typed
            .strip_prefix("typed ")
            .map_or(Told::Other, |number| Told::Typed(number.parse().expect("its number")));
    }
    if let Some(answers) = value["toolResponse"]["functionResponses"].as_array() {
        let ids = answers.iter().filter_map(|answer| answer["id"].as_str());
        return Told::ToolAnswers(ids.map(str::to_owned).collect());
    }
    Told::Other
}

fn pretty(text: &str) -> String {
    let mut pretty = String::with_capacity(text.len() * 2);
    let (mut in_string, mut escaped) = (false, false);
    for letter in text.chars() {
        pretty.push(letter);
        match letter {
            '"' if !escaped => in_string = !in_string,
            '{' | '[' | ',' if !in_string => pretty.push_str("\n  "),
            ':' if !in_string => pretty.push(' '),
            _ => {}
        }
        escaped = letter == '\\' && !escaped;
    }
    pretty
}

/// PCM16 that never repeats: a sample missing, doubled or in another place is seen.
fn tape() -> &'static [u8] {
    static TAPE: OnceLock<Vec<u8>> = OnceLock::new();
    TAPE.get_or_init(|| {
        let mut random = fastrand::Rng::with_seed(24_000);
        (0..150_000)
            .flat_map(|n| {
                let n = f64::from(n);
                let tone = (n * 0.07).sin() * 8_000.0 + (n * n * 1e-6).sin() * 4_000.0;
                (tone as i16 + random.i16(-300..300)).to_le_bytes()
            })
            .collect()
    })
}
