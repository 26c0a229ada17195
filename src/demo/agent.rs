//! The demo agent: speaks the protocol of the Gemini Live service, greets, repeats what it heard,
//! and does what keys and a few words ask for by the client's tools.
//!
//! In:       JSON messages of a client, the time.
//! Out:      JSON messages of the service; in the end a close code.
//! Bounds:   those of `demo::ear`, `demo::mouth` and `demo::errand`; [`SENTENCES_MAX`].
//! Not here: sockets, threads, clocks. Speech is not understood, and nothing leaves this machine.
//!
//! As strict as the service where it ends a session: the first message must be `setup`, each
//! message holds one kind, unknown fields and values are fatal (1007).

use std::collections::VecDeque;
use std::time::Duration;

use dsp::kernels::{Isa, Kernels};
use dsp::resample::{Conversion, FilterSet, Resampler};
use jiff::civil::Date;
use serde_json::{Map, Value, json};

use super::ear::{Ear, Heard};
use super::errand::{Act, Errand};
use super::intent::Intent;
use super::mouth::{Mouth, RATE_HZ, Utterance};
use super::speech::{BACK, GREETING, Sentence};
use super::spelling;
use crate::clock::Nanos;
use crate::wire::base64;

/// Between two updates of the resumption handle; they are also how a client knows that the
/// session lives.
const UPDATE_EVERY: Duration = Duration::from_millis(900);
/// Tokens of a second of audio, for the usage figures.
const TOKENS_PER_SECOND: u64 = 25;
/// Sentences that wait behind the one that is said. A further one is not said.
const SENTENCES_MAX: usize = 8;

/// The fields of `setup`. An unknown one ends the session.
const SETUP_FIELDS: [&str; 11] = [
    "model",
    "generationConfig",
    "systemInstruction",
    "tools",
    "realtimeInputConfig",
    "sessionResumption",
    "contextWindowCompression",
    "inputAudioTranscription",
    "outputAudioTranscription",
    "proactivity",
    "historyConfig",
];

/// Why a session ends: the code of its close frame, and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Goodbye {
    pub code: u16,
    pub reason: String,
}

/// The fault of a message: the session is closed with 1007.
fn invalid(reason: impl Into<String>) -> Goodbye {
    Goodbye { code: 1007, reason: reason.into() }
}

fn invalid_argument() -> Goodbye {
    invalid("Request contains an invalid argument.")
}

/// One session.
#[derive(Debug)]
pub(super) struct Agent {
    kernels: Kernels,
    /// Where this machine is.
    today: Date,
    /// `None` until `setup` has come.
    session: Option<Session>,
    ear: Ear,
    mouth: Mouth,
    /// Sentences behind the one that is said.
    to_say: VecDeque<Sentence>,
    /// Down to the 8 kHz of the ear; made for the rate the first audio has.
    down: Option<Down>,
    heard_ms: u64,
    outbox: VecDeque<String>,
    ended: Option<Goodbye>,
}

/// What `setup` asked for.
#[derive(Debug)]
struct Session {
    input_words: bool,
    output_words: bool,
    /// When the next resumption update is due; [`Nanos::NEVER`] if none was asked for.
    update_at: Nanos,
    updates: u64,
    /// Whether the client has asked to be spoken to: its first text, if it is no key, is about
    /// that.
    was_addressed: bool,
    /// Whether it goes on with another.
    is_resumed: bool,
    errand: Errand,
}

#[derive(Debug)]
enum Down {
    /// From 16 kHz.
    From16(Box<Resampler>),
    /// It is 8 kHz already.
    AsItIs,
}

impl Down {
    fn is_from(&self, rate_hz: u32) -> bool {
        matches!((self, rate_hz), (Down::From16(_), 16_000) | (Down::AsItIs, 8000))
    }

    fn from(rate_hz: u32) -> Option<Down> {
        let linear = FilterSet::LinearPhase;
        match rate_hz {
            16_000 => Some(Down::From16(Box::new(Resampler::new(Conversion::Down16To8, linear)))),
            8000 => Some(Down::AsItIs),
            _ => None,
        }
    }
}

impl Agent {
    pub(super) fn new(today: Date) -> Agent {
        Agent {
            kernels: Kernels::detect(Isa::HIGHEST),
            today,
            session: None,
            ear: Ear::new(),
            mouth: Mouth::default(),
            to_say: VecDeque::new(),
            down: None,
            heard_ms: 0,
            outbox: VecDeque::new(),
            ended: None,
        }
    }

    /// A message of the client, text or binary alike.
    pub(super) fn handle_message(&mut self, now: Nanos, message: &[u8]) {
        if self.ended.is_some() {
            return;
        }
        if let Err(goodbye) = self.understand(now, message) {
            self.ended = Some(goodbye);
        }
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, now: Nanos) {
        if let Some(session) = &mut self.session
            && session.update_at <= now
        {
            session.update_at = now.plus(UPDATE_EVERY);
            session.updates += 1;
            let update = match self.mouth.is_speaking() {
                true => json!({"resumable": false}),
                false => {
                    json!({"newHandle": format!("demo-{}", session.updates), "resumable": true})
                }
            };
            self.outbox.push_back(json!({ "sessionResumptionUpdate": update }).to_string());
        }
        self.speak(now);
    }

    /// When [`Agent::handle_timeout`] is due.
    pub(super) fn next_timeout(&self) -> Nanos {
        let update_at = self.session.as_ref().map_or(Nanos::NEVER, |session| session.update_at);
        update_at.min(self.mouth.next_timeout())
    }

    /// The next message for the client.
    pub(super) fn poll_message(&mut self) -> Option<String> {
        self.outbox.pop_front()
    }

    /// Whether, and how, the session is to be closed once the messages are out.
    pub(super) fn ended(&self) -> Option<&Goodbye> {
        self.ended.as_ref()
    }

    fn understand(&mut self, now: Nanos, message: &[u8]) -> Result<(), Goodbye> {
        let mut message: Value = serde_json::from_slice(message)
            .map_err(|_| invalid("Invalid JSON payload received."))?;
        spelling::unify(&mut message);
        let message = message.as_object().ok_or_else(invalid_argument)?;
        let (kind, body) = only_entry(message).ok_or_else(invalid_argument)?;
        match (kind, self.session.is_some()) {
            ("setup", false) => self.set_up(now, body),
            ("setup", true) | (_, false) => Err(invalid_argument()),
            ("realtimeInput", true) => self.handle_input(now, body),
            ("clientContent", true) => self.handle_content(now, body),
            ("toolResponse", true) => self.handle_results(now, body),
            ("contextUpdate", true) => Ok(()),
            (unknown, true) => Err(unknown_name(unknown)),
        }
    }

    fn set_up(&mut self, now: Nanos, setup: &Value) -> Result<(), Goodbye> {
        let fields = setup.as_object().ok_or_else(invalid_argument)?;
        if let Some(unknown) = fields.keys().find(|key| !SETUP_FIELDS.contains(&key.as_str())) {
            return Err(unknown_name(unknown));
        }
        let model = setup["model"].as_str().unwrap_or_default();
        if model.strip_prefix("models/").is_none_or(str::is_empty) {
            return Err(invalid("Invalid resource field value in the request."));
        }
        let modalities = &setup["generationConfig"]["responseModalities"];
        if !modalities.is_null() && *modalities != json!(["AUDIO"]) {
            return Err(invalid_argument());
        }
        let resumable = fields.contains_key("sessionResumption");
        self.session = Some(Session {
            input_words: fields.contains_key("inputAudioTranscription"),
            output_words: fields.contains_key("outputAudioTranscription"),
            update_at: if resumable { now } else { Nanos::NEVER },
            updates: 0,
            was_addressed: false,
            is_resumed: setup["sessionResumption"]["handle"].is_string(),
            errand: Errand::new(setup, self.today),
        });
        self.outbox.push_back(json!({"setupComplete": {}}).to_string());
        Ok(())
    }

    fn handle_input(&mut self, now: Nanos, input: &Value) -> Result<(), Goodbye> {
        let input = input.as_object().ok_or_else(invalid_argument)?;
        match only_entry(input).ok_or_else(invalid_argument)? {
            ("audio", blob) => self.handle_audio(now, blob),
            ("audioStreamEnd", Value::Bool(true)) => {
                if let Some(Heard::Ended(speech)) = self.ear.end() {
                    self.repeat(now, &speech);
                }
                Ok(())
            }
            ("text", Value::String(text)) => {
                self.answer_text(now, text, Intent::of(text));
                Ok(())
            }
            ("video", Value::Object(_)) => Ok(()),
            ("audioStreamEnd" | "text" | "video" | "activityStart" | "activityEnd", _) => {
                Err(invalid_argument())
            }
            (unknown, _) => Err(unknown_name(unknown)),
        }
    }

    /// A turn of text that is complete is answered. The first is an instruction to speak, whatever
    /// words are in it, unless it tells of a key.
    fn handle_content(&mut self, now: Nanos, content: &Value) -> Result<(), Goodbye> {
        match &content["turnComplete"] {
            Value::Bool(true) => {}
            Value::Bool(false) | Value::Null => return Ok(()),
            _ => return Err(invalid_argument()),
        }
        let last = content["turns"].as_array().and_then(|turns| turns.last());
        let text = last.and_then(|turn| turn["parts"][0]["text"].as_str()).unwrap_or_default();
        let is_first = self.session.as_ref().is_none_or(|session| !session.was_addressed);
        let intent = if is_first { Intent::of_key(text) } else { Intent::of(text) };
        self.answer_text(now, text, intent);
        Ok(())
    }

    /// Text interrupts what is being said. What it does not ask for with a key or a word is
    /// answered with the greeting, which a session that is taken up again has given already; keys
    /// that mean nothing, with nothing.
    fn answer_text(&mut self, now: Nanos, text: &str, intent: Option<Intent>) {
        let Some(session) = &mut self.session else { return };
        session.was_addressed = true;
        match intent {
            Some(intent) => {
                session.errand.begin(intent);
                self.stop_speaking(now);
                self.run_errand(now);
                self.say_waiting(now);
            }
            None if Intent::is_about_keys(text) => {}
            None => {
                let sentence = if session.is_resumed { BACK } else { GREETING };
                self.stop_speaking(now);
                self.say_next(now, Sentence::recorded(sentence));
            }
        }
    }

    fn handle_results(&mut self, now: Nanos, results: &Value) -> Result<(), Goodbye> {
        let results = results["functionResponses"].as_array().ok_or_else(invalid_argument)?;
        let Some(session) = &mut self.session else { return Ok(()) };
        for result in results {
            let (Some(id), Some(_), Value::Object(_)) =
                (result["id"].as_str(), result["name"].as_str(), &result["response"])
            else {
                return Err(invalid_argument());
            };
            session.errand.result(id, &result["response"]);
        }
        self.run_errand(now);
        Ok(())
    }

    /// Does what the errand wants done.
    fn run_errand(&mut self, now: Nanos) {
        while let Some(act) = self.session.as_mut().and_then(|session| session.errand.poll_act()) {
            match act {
                Act::Say(sentence) => self.say_next(now, sentence),
                Act::Call { id, name, args } => {
                    let call = json!({"id": id, "name": name, "args": args});
                    let message = json!({"toolCall": {"functionCalls": [call]}});
                    self.outbox.push_back(message.to_string());
                }
                Act::Void { id } => {
                    let message = json!({"toolCallCancellation": {"ids": [id]}});
                    self.outbox.push_back(message.to_string());
                }
            }
        }
    }

    fn handle_audio(&mut self, now: Nanos, blob: &Value) -> Result<(), Goodbye> {
        let kind = blob["mimeType"].as_str().unwrap_or_default();
        let rate = kind.strip_prefix("audio/pcm;rate=").and_then(|rate| rate.parse().ok());
        let rate_hz: u32 = rate.ok_or_else(invalid_argument)?;
        if !self.down.as_ref().is_some_and(|down| down.is_from(rate_hz)) {
            self.down = Some(Down::from(rate_hz).ok_or_else(invalid_argument)?);
        }
        let mut bytes = Vec::new();
        let text = blob["data"].as_str().ok_or_else(invalid_argument)?;
        base64::decode_append(text.as_bytes(), &mut bytes).map_err(|_| invalid_argument())?;
        if bytes.len() % 2 != 0 {
            return Err(invalid_argument());
        }
        let mut pcm = vec![0; bytes.len() / 2];
        self.kernels.pcm_from_le(&bytes, &mut pcm);
        self.heard_ms += pcm.len() as u64 * 1000 / u64::from(rate_hz);
        if let Some(Down::From16(resampler)) = &mut self.down {
            pcm = resample(&self.kernels, resampler, &pcm);
        }
        self.listen(now, &pcm);
        Ok(())
    }

    fn listen(&mut self, now: Nanos, pcm_8k: &[i16]) {
        let mut events = Vec::new();
        self.ear.listen(pcm_8k, self.mouth.is_speaking(), |heard| events.push(heard));
        for event in events {
            match event {
                Heard::Began => self.interrupt(now),
                Heard::Ended(speech) => self.repeat(now, &speech),
            }
        }
    }

    /// The caller speaks: the rest of the answer is dropped, and what waits for a tool is void.
    fn interrupt(&mut self, now: Nanos) {
        if !self.stop_speaking(now) {
            return;
        }
        if let Some(session) = &mut self.session {
            session.errand.interrupted();
        }
        self.run_errand(now);
    }

    /// Says no more of this. Returns whether anything was being said.
    fn stop_speaking(&mut self, now: Nanos) -> bool {
        let stopped = self.mouth.stop(now);
        if let Some(said) = stopped {
            self.outbox.push_back(json!({"serverContent": {"interrupted": true}}).to_string());
            self.complete_turn(said.as_millis() as u64);
        }
        stopped.is_some()
    }

    fn complete_turn(&mut self, said_ms: u64) {
        let heard_ms = std::mem::take(&mut self.heard_ms);
        let (prompt, response) =
            (heard_ms * TOKENS_PER_SECOND / 1000, said_ms * TOKENS_PER_SECOND / 1000);
        let message = json!({
            "serverContent": {"turnComplete": true, "interactionStatus": "IDLE"},
            "usageMetadata": {
                "promptTokenCount": prompt,
                "responseTokenCount": response,
                "totalTokenCount": prompt + response,
            },
        });
        self.outbox.push_back(message.to_string());
    }

    /// Says `sentence` behind what is being said, and what waits.
    fn say_next(&mut self, now: Nanos, sentence: Sentence) {
        if self.to_say.len() < SENTENCES_MAX {
            self.to_say.push_back(sentence);
        }
        self.say_waiting(now);
    }

    /// Says what waits, if nothing is being said.
    fn say_waiting(&mut self, now: Nanos) {
        if !self.mouth.is_speaking()
            && let Some(sentence) = self.to_say.pop_front()
        {
            self.say_sentence(now, &sentence);
        }
    }

    fn say_sentence(&mut self, now: Nanos, sentence: &Sentence) {
        let mut pcm_8k = vec![0; sentence.code.len()];
        self.kernels.mulaw_decode(&sentence.code, &mut pcm_8k);
        let mut up = Resampler::new(Conversion::Up8To24, FilterSet::LinearPhase);
        let pcm = resample(&self.kernels, &mut up, &pcm_8k);
        self.mouth.say(now, pcm, &sentence.text);
        self.speak(now);
    }

    /// Says what was heard.
    fn repeat(&mut self, now: Nanos, speech_8k: &[i16]) {
        let text = format!("({:.1} s of speech)", speech_8k.len() as f64 / 8000.0);
        if self.session.as_ref().is_some_and(|session| session.input_words) {
            let words = json!({"serverContent": {"inputTranscription": {"text": text}}});
            self.outbox.push_back(words.to_string());
        }
        let mut up = Resampler::new(Conversion::Up8To24, FilterSet::LinearPhase);
        let pcm = resample(&self.kernels, &mut up, speech_8k);
        self.interrupt(now);
        self.mouth.say(now, pcm, &text);
        self.speak(now);
    }

    /// Sends what is due of the answer.
    fn speak(&mut self, now: Nanos) {
        let with_words = self.session.as_ref().is_some_and(|session| session.output_words);
        let (kernels, outbox) = (&self.kernels, &mut self.outbox);
        let mut finished = None;
        self.mouth.speak(now, |utterance| {
            let content = match utterance {
                Utterance::Audio(pcm) => audio_turn(kernels, pcm),
                Utterance::Words(text) if with_words => {
                    json!({"outputTranscription": {"text": text}})
                }
                Utterance::Words(_) => return,
                Utterance::Generated => json!({"generationComplete": true}),
                Utterance::Finished { said_ms } => {
                    finished = Some(said_ms);
                    return;
                }
            };
            outbox.push_back(json!({ "serverContent": content }).to_string());
        });
        if let Some(said_ms) = finished {
            self.complete_turn(said_ms);
            self.go_on(now);
        }
    }

    /// A sentence has been said: the next, or what waits until all is said.
    fn go_on(&mut self, now: Nanos) {
        self.say_waiting(now);
        if self.mouth.is_speaking() {
            return;
        }
        if let Some(session) = &mut self.session {
            session.errand.all_is_said();
        }
        self.run_errand(now);
    }
}

fn audio_turn(kernels: &Kernels, pcm: &[i16]) -> Value {
    let mut bytes = vec![0; 2 * pcm.len()];
    kernels.pcm_to_le(pcm, &mut bytes);
    let mut text = Vec::with_capacity(base64::encode_len(bytes.len()));
    base64::encode_append(&bytes, &mut text);
    let data = String::from_utf8(text).expect("base64 is ASCII");
    let blob = json!({"mimeType": format!("audio/pcm;rate={RATE_HZ}"), "data": data});
    json!({"modelTurn": {"role": "model", "parts": [{ "inlineData": blob }]}})
}

fn resample(kernels: &Kernels, resampler: &mut Resampler, pcm: &[i16]) -> Vec<i16> {
    let mut converted = vec![0; resampler.output_len(pcm.len())];
    resampler.process(kernels, pcm, &mut converted);
    converted
}

/// The one entry of a message that holds one kind.
fn only_entry(object: &Map<String, Value>) -> Option<(&str, &Value)> {
    let (name, value) = object.iter().next().filter(|_| object.len() == 1)?;
    Some((name, value))
}

fn unknown_name(name: &str) -> Goodbye {
    invalid(format!("Invalid JSON payload received. Unknown name \"{name}\": Cannot find field."))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TODAY: Date = jiff::civil::date(2026, 11, 23);
    const SETUP: &str = r#"{"setup":{"model":"models/gemini-3.8-live","sessionResumption":{},
        "inputAudioTranscription":{},"outputAudioTranscription":{}}}"#;
    const GREET: &str = r#"{"clientContent":{"turns":[{"role":"user","parts":[{"text":"Hi"}]}],
        "turnComplete":true}}"#;

    /// A session in a time of its own, and everything it has said.
    struct Session {
        agent: Agent,
        now_ms: u64,
        /// With the time of each.
        said: Vec<(u64, Value)>,
    }

    impl Session {
        fn set_up() -> Session {
            let mut session = Session { agent: Agent::new(TODAY), now_ms: 0, said: Vec::new() };
            session.tell(SETUP);
            assert_eq!(session.said[0].1, json!({"setupComplete": {}}));
            session
        }

        fn now(&self) -> Nanos {
            Nanos::from_millis(self.now_ms)
        }

        fn tell(&mut self, message: &str) {
            self.agent.handle_message(self.now(), message.as_bytes());
            self.collect();
        }

        fn collect(&mut self) {
            while let Some(message) = self.agent.poll_message() {
                self.said.push((self.now_ms, serde_json::from_str(&message).unwrap()));
            }
        }

        fn pass(&mut self, ms: u64) {
            for _ in 0..ms {
                self.now_ms += 1;
                self.agent.handle_timeout(self.now());
                self.collect();
            }
        }

        /// Plays `pcm` to the agent, 20 ms every 20 ms.
        fn play(&mut self, rate_hz: u32, pcm: &[i16]) {
            for frame in pcm.chunks(rate_hz as usize / 50) {
                self.pass(20);
                self.tell(&audio_message(rate_hz, frame));
            }
        }

        /// What `serverContent` said under `field`.
        fn contents(&self, field: &str) -> Vec<&Value> {
            let contents = self.said.iter().map(|(_, message)| &message["serverContent"][field]);
            contents.filter(|value| !value.is_null()).collect()
        }

        fn audio(&self) -> Vec<i16> {
            let mut bytes = Vec::new();
            for turn in self.contents("modelTurn") {
                let blob = &turn["parts"][0]["inlineData"];
                assert_eq!(blob["mimeType"], "audio/pcm;rate=24000");
                let text = blob["data"].as_str().unwrap();
                base64::decode_append(text.as_bytes(), &mut bytes).unwrap();
            }
            bytes.as_chunks::<2>().0.iter().map(|&pair| i16::from_le_bytes(pair)).collect()
        }

        fn words(&self, field: &str) -> String {
            let texts = self.contents(field).into_iter().map(|value| value["text"].as_str());
            texts.map(Option::unwrap).collect()
        }
    }

    fn audio_message(rate_hz: u32, pcm: &[i16]) -> String {
        let bytes: Vec<u8> = pcm.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        let mut message = Vec::new();
        crate::wire::gemini::write_audio_json(rate_hz, &bytes, &mut message);
        String::from_utf8(message).unwrap()
    }

    /// A sound that never repeats itself, loud from its first sample.
    fn sweep(rate_hz: u32, ms: u32) -> Vec<i16> {
        let wave = |n: u32| {
            let seconds = f64::from(n) / f64::from(rate_hz);
            8000.0 * (std::f64::consts::TAU * seconds * (300.0 + 400.0 * seconds)).cos()
        };
        (0..rate_hz / 1000 * ms).map(|n| wave(n) as i16).collect()
    }

    fn silence(rate_hz: u32, ms: u32) -> Vec<i16> {
        vec![0; (rate_hz / 1000 * ms) as usize]
    }

    #[test]
    fn asked_to_speak_first_it_greets_in_words_and_sound() {
        let mut session = Session::set_up();
        session.tell(GREET);
        session.pass(12_000);
        let audio = session.audio();
        assert_eq!(audio.len(), 3 * Sentence::recorded(GREETING).code.len());
        let energy = audio.iter().map(|&sample| f64::from(sample).powi(2)).sum::<f64>();
        let level = (energy / audio.len() as f64).sqrt();
        assert!((1000.0..6000.0).contains(&level), "{level}");
        assert_eq!(session.words("outputTranscription"), GREETING);
        let time_of = |field: &str| {
            let is_it = |(_, said): &&(u64, Value)| said["serverContent"][field] == true;
            session.said.iter().find(is_it).unwrap().0
        };
        let greeting_ms = audio.len() as u64 / 24;
        assert!(time_of("generationComplete") <= greeting_ms * 2 / 7 + 2);
        assert!(time_of("turnComplete").abs_diff(greeting_ms) <= 2);
        let last = &session.said.iter().rfind(|(_, said)| said.get("usageMetadata").is_some());
        assert_eq!(last.unwrap().1["usageMetadata"]["responseTokenCount"], greeting_ms / 40);
    }

    #[test]
    fn what_a_caller_said_is_repeated_as_it_sounded_once_they_stop() {
        for rate_hz in [8000, 16_000] {
            let mut session = Session::set_up();
            let caller = [silence(rate_hz, 500), sweep(rate_hz, 1200)].concat();
            session.play(rate_hz, &caller);
            session.play(rate_hz, &silence(rate_hz, 660));
            assert!(session.audio().is_empty(), "it listens until they stop");
            session.play(rate_hz, &silence(rate_hz, 100));
            session.pass(2000);

            let kernels = Kernels::detect(Isa::HIGHEST);
            let mut heard = caller.clone();
            if rate_hz == 16_000 {
                let mut down = Resampler::new(Conversion::Down16To8, FilterSet::LinearPhase);
                heard = resample(&kernels, &mut down, &caller);
            }
            let mut up = Resampler::new(Conversion::Up8To24, FilterSet::LinearPhase);
            let expected = resample(&kernels, &mut up, &heard[8 * 600..8 * 1600]);
            let repeated = session.audio();
            // The filter's memory of what came before reaches into the first few milliseconds.
            let piece = &expected[240..];
            let found = repeated.windows(piece.len()).any(|window| window == piece);
            assert!(found, "{rate_hz}: {} samples without it", repeated.len());
            let seconds = repeated.len() as f64 / 24_000.0;
            assert_eq!(session.words("inputTranscription"), format!("({seconds:.1} s of speech)"));
            assert_eq!(session.words("outputTranscription"), session.words("inputTranscription"));
            assert_eq!(session.contents("turnComplete").len(), 1);
        }
    }

    #[test]
    fn silence_is_never_repeated() {
        let mut session = Session::set_up();
        session.play(16_000, &silence(16_000, 20_000));
        assert_eq!((session.audio(), session.words("inputTranscription")), (vec![], String::new()));
    }

    #[test]
    fn a_caller_who_speaks_over_it_is_let_speak_and_then_repeated() {
        let mut session = Session::set_up();
        session.tell(GREET);
        session.pass(500);
        session.play(16_000, &sweep(16_000, 400));
        let after = |session: &Session, field: &str| {
            session.said.iter().position(|(_, said)| said["serverContent"][field] == true)
        };
        let interrupted = after(&session, "interrupted").expect("it stops");
        assert_eq!(after(&session, "turnComplete"), Some(interrupted + 1));
        let only_updates = session.said[interrupted + 2..].iter();
        assert!(
            only_updates.clone().all(|(_, said)| said.get("sessionResumptionUpdate").is_some())
        );
        let usage = &session.said[interrupted + 1].1["usageMetadata"];
        let heard_tokens = usage["responseTokenCount"].as_u64().unwrap();
        assert!(
            (12..25).contains(&heard_tokens),
            "{heard_tokens}: what was heard, not what was sent"
        );
        session.play(16_000, &silence(16_000, 800));
        session.pass(1500);
        assert_eq!(session.contents("interrupted").len(), 1);
        assert_eq!(session.contents("turnComplete").len(), 2);
        assert!(session.words("inputTranscription").ends_with("s of speech)"));
    }

    #[test]
    fn it_can_be_interrupted_after_everything_was_sent_and_before_everything_was_heard() {
        let mut session = Session::set_up();
        session.tell(GREET);
        session.pass(4000);
        assert_eq!(session.contents("generationComplete").len(), 1);
        session.play(8000, &sweep(8000, 300));
        assert_eq!(session.contents("interrupted").len(), 1);
    }

    /// With the tools that a booking needs, and the one that hangs up.
    fn with_tools() -> Session {
        let mut session = Session { agent: Agent::new(TODAY), now_ms: 0, said: Vec::new() };
        let names = ["check_availability", "book_appointment", "end_call"];
        let declarations = names.map(|name| json!({"name": name, "behavior": "NON_BLOCKING"}));
        let setup = json!({"setup": {"model": "models/x", "outputAudioTranscription": {},
            "tools": [{ "functionDeclarations": declarations }]}});
        session.tell(&setup.to_string());
        session
    }

    /// Calls and cancellations, oldest first.
    fn calls(session: &Session) -> Vec<String> {
        let of = |message: &Value| {
            let call = &message["toolCall"]["functionCalls"][0];
            let void = message["toolCallCancellation"]["ids"][0].as_str();
            let call = call["name"].as_str().map(|name| format!("{name} {}", call["id"]));
            call.or(void.map(|id| format!("void \"{id}\"")))
        };
        session.said.iter().filter_map(|(_, message)| of(message)).collect()
    }

    fn answer(session: &mut Session, id: u32, response: &Value) {
        let name = "whatever";
        let result = json!({"id": format!("demo-call-{id}"), "name": name, "response": response});
        session.tell(&json!({"toolResponse": {"functionResponses": [result]}}).to_string());
    }

    const KEY_1: &str = r#"{"realtimeInput":{"text":"The caller pressed the keys: 1"}}"#;
    const KEY_9: &str = r#"{"clientContent":{"turns":[{"role":"user","parts":[{"text":
        "The caller pressed the keys: 9"}]}],"turnComplete":true}}"#;

    #[test]
    fn a_key_books_by_the_clients_tools_and_the_booking_is_said() {
        let mut session = with_tools();
        session.tell(GREET);
        session.pass(1000);
        session.tell(KEY_1);
        assert_eq!(session.contents("interrupted").len(), 1, "the greeting has done its work");
        assert_eq!(calls(&session), [r#"check_availability "demo-call-1""#]);
        let free = json!({"output": {"free": ["2026-11-27T10:15"]}});
        answer(&mut session, 1, &free);
        answer(&mut session, 1, &free);
        assert_eq!(calls(&session)[1..], [r#"book_appointment "demo-call-2""#]);
        answer(&mut session, 2, &json!({"output": {"ok": true, "reference": "K7QF"}}));
        session.pass(15_000);
        let words = session.words("outputTranscription");
        let booked = "Booked: Friday 27 November, 10:15, reference K7QF.";
        assert!(words.ends_with(&format!("free time.{booked}")), "{words}");
        assert_eq!((calls(&session).len(), session.contents("turnComplete").len()), (2, 3));
    }

    #[test]
    fn it_hangs_up_when_its_goodbye_has_been_heard() {
        let mut session = with_tools();
        session.tell(KEY_9);
        session.pass(2000);
        assert_eq!(calls(&session), [""; 0]);
        session.pass(2000);
        assert_eq!(calls(&session), [r#"end_call "demo-call-1""#]);
        let at = session.said.iter().rposition(|(_, said)| said.get("toolCall").is_some()).unwrap();
        assert_eq!(session.said[at - 1].1["serverContent"]["turnComplete"], true);
    }

    #[test]
    fn a_caller_who_speaks_while_a_tool_works_voids_the_call() {
        let mut session = with_tools();
        session.tell(KEY_1);
        session.play(16_000, &sweep(16_000, 300));
        let voided = [r#"check_availability "demo-call-1""#, r#"void "demo-call-1""#];
        assert_eq!(calls(&session), voided);
        answer(&mut session, 1, &json!({"output": {"free": ["2026-11-27T10:15"]}}));
        assert_eq!(calls(&session), voided);
        session.tell(r#"{"realtimeInput":{"text":"buchen"}}"#);
        assert_eq!(calls(&session)[2..], [r#"check_availability "demo-call-2""#]);
    }

    #[test]
    fn an_instruction_to_greet_is_no_wish_whatever_words_are_in_it() {
        let mut session = with_tools();
        session.tell(
            r#"{"clientContent":{"turns":[{"role":"user","parts":[{"text":
            "Say hello and offer to book an appointment."}]}],"turnComplete":true}}"#,
        );
        session.pass(12_000);
        assert_eq!(calls(&session), [""; 0]);
        assert_eq!(session.words("outputTranscription"), GREETING);
        let said = session.said.len();
        session.tell(r##"{"realtimeInput":{"text":"The caller pressed the keys: 5#"}}"##);
        assert_eq!(session.said.len(), said, "a key that means nothing");
    }

    #[test]
    fn a_stream_that_pauses_ends_the_sentence_at_once() {
        let mut session = Session::set_up();
        session.play(16_000, &sweep(16_000, 500));
        session.tell(r#"{"realtimeInput":{"audioStreamEnd":true}}"#);
        assert_eq!(session.words("inputTranscription"), "(0.5 s of speech)");
    }

    #[test]
    fn handles_for_resumption_come_every_nine_tenths_of_a_second_if_asked_for() {
        let mut session = Session::set_up();
        session.pass(5000);
        let updates = |session: &Session| {
            let messages = session.said.iter().map(|(_, said)| &said["sessionResumptionUpdate"]);
            messages.filter(|update| !update.is_null()).cloned().collect::<Vec<_>>()
        };
        assert_eq!(updates(&session).len(), 6);
        assert_eq!(updates(&session)[2], json!({"newHandle": "demo-3", "resumable": true}));
        session.tell(GREET);
        session.pass(900);
        assert_eq!(updates(&session).last().unwrap(), &json!({"resumable": false}));

        let mut session = Session { agent: Agent::new(TODAY), now_ms: 0, said: Vec::new() };
        session.tell(r#"{"setup":{"model":"models/x"}}"#);
        session.tell(GREET);
        session.pass(2000);
        assert_eq!((updates(&session).len(), session.words("outputTranscription").len()), (0, 0));
    }

    #[test]
    fn what_the_service_would_refuse_ends_the_session() {
        let first = [
            "{}",
            "hello",
            "[]",
            r#"{"setup":{}}"#,
            r#"{"setup":{"model":"gemini"}}"#,
            r#"{"setup":{"model":"models/x","toolConfig":{}}}"#,
            r#"{"setup":{"model":"models/x","generationConfig":{"responseModalities":["TEXT"]}}}"#,
            r#"{"setup":{"model":"models/x"},"clientContent":{}}"#,
            r#"{"clientContent":{"turnComplete":true}}"#,
            r#"{"realtimeInput":{"audioStreamEnd":true}}"#,
        ];
        for message in first {
            let mut agent = Agent::new(TODAY);
            agent.handle_message(Nanos::ZERO, message.as_bytes());
            assert_eq!(agent.ended().map(|goodbye| goodbye.code), Some(1007), "{message}");
            assert_eq!(agent.poll_message(), None, "{message}");
        }
        let later = [
            SETUP,
            r#"{"realtimeInput":{}}"#,
            r#"{"realtimeInput":{"audio":{}}}"#,
            r#"{"realtimeInput":{"audio":{"mimeType":"audio/pcm","data":""}}}"#,
            r#"{"realtimeInput":{"audio":{"mimeType":"audio/pcm;rate=44100","data":""}}}"#,
            r#"{"realtimeInput":{"audio":{"mimeType":"audio/pcm;rate=8000","data":"AA=="}}}"#,
            r#"{"realtimeInput":{"audio":{"mimeType":"audio/pcm;rate=8000","data":"*"}}}"#,
            r#"{"realtimeInput":{"mediaChunks":[]}}"#,
            r#"{"realtimeInput":{"activityStart":{}}}"#,
            r#"{"realtimeInput":{"text":"a","audioStreamEnd":true}}"#,
            r#"{"clientContent":{"turnComplete":"yes"}}"#,
            r#"{"toolResponse":{}}"#,
            r#"{"toolResponse":{"functionResponses":[{"name":"a","response":{}}]}}"#,
            r#"{"toolResponse":{"functionResponses":[{"id":"1","response":{}}]}}"#,
            r#"{"toolResponse":{"functionResponses":[{"id":"1","name":"a","response":"x"}]}}"#,
            r#"{"somethingElse":{}}"#,
        ];
        for message in later {
            let mut session = Session::set_up();
            session.tell(message);
            let code = session.agent.ended().map(|goodbye| goodbye.code);
            assert_eq!(code, Some(1007), "{message}");
        }
    }

    #[test]
    fn what_it_has_no_use_for_is_taken_in_silence() {
        let mut session = Session::set_up();
        for message in [
            r#"{"toolResponse":{"functionResponses":[]}}"#,
            r#"{"contextUpdate":{}}"#,
            r#"{"clientContent":{"turns":[],"turnComplete":false}}"#,
            r#"{"realtimeInput":{"audioStreamEnd":true}}"#,
        ] {
            session.tell(message);
        }
        assert_eq!((session.said.len(), session.agent.ended()), (1, None));
    }
}
