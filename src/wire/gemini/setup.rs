//! `setup`, the first message of a connection, and what each model takes in it.
//!
//! In:       what the agent is to be.
//! Out:      one JSON text, built once per connection.
//! Bounds:   none of its own: all of it comes from the configuration.
//! Not here: what follows `setupComplete` (`client`).
//!
//! A field a model does not take closes the connection with 1007, or, worse, `setupComplete` never
//! comes. So [`ModelRules`] holds what each model takes, and nothing else is sent.

use serde_json::{Map, Value, json};

use super::tools::declared_schema;

/// What a session is to be; the model's own rules decide what of it is said.
#[derive(Clone, Copy, Debug)]
pub struct SetupFacts<'a> {
    /// `models/M`, a bare `M`, or a full resource name.
    pub model: &'a str,
    /// One of the prebuilt voices, spelled exactly; `None`: the model's own.
    pub voice: Option<&'a str>,
    /// Who the agent is and how it behaves; empty: nothing is said.
    pub system: &'a str,
    /// How the session can be taken up again on another connection.
    pub resume: Resume<'a>,
    /// How long the model thinks, where a model lets us choose.
    pub thinking: Option<ThinkingLevel>,
    /// Compress the context as it fills; without it an audio session ends after 15 minutes.
    pub compress: bool,
    /// Ask for the text of what is heard and said.
    pub transcripts: bool,
    /// The caller's speech cuts the model off.
    pub barge_in: bool,
    /// How the server finds speech.
    pub vad: Vad,
    /// What the model may call; empty: nothing is said.
    pub functions: &'a [Function<'a>],
}

impl<'a> SetupFacts<'a> {
    /// What a telephone call asks of `model`: everything that makes a session last, nothing that
    /// changes who the agent is.
    pub fn phone_call(model: &'a str) -> SetupFacts<'a> {
        SetupFacts {
            model,
            voice: None,
            system: "",
            resume: Resume::Fresh,
            thinking: None,
            compress: true,
            transcripts: true,
            barge_in: true,
            vad: Vad::default(),
            functions: &[],
        }
    }
}

/// `setup.sessionResumption`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resume<'a> {
    /// Not asked for: the second try after a first setup died with 1008.
    Off,
    /// A fresh session that can be resumed.
    #[default]
    Fresh,
    /// The session this handle stands for.
    Handle(&'a str),
}

/// `thinkingConfig.thinkingLevel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThinkingLevel {
    /// Hardly at all.
    Minimal,
    /// Little.
    Low,
    /// Some.
    Medium,
    /// Long.
    High,
}

impl ThinkingLevel {
    fn name(self) -> &'static str {
        match self {
            ThinkingLevel::Minimal => "MINIMAL",
            ThinkingLevel::Low => "LOW",
            ThinkingLevel::Medium => "MEDIUM",
            ThinkingLevel::High => "HIGH",
        }
    }
}

/// `realtimeInputConfig.automaticActivityDetection`; `None` leaves the server's default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vad {
    /// How readily speech is taken to begin.
    pub start: Option<Sensitivity>,
    /// How readily speech is taken to end.
    pub end: Option<Sensitivity>,
    /// Speech needed before its start counts, in milliseconds.
    pub prefix_padding_ms: Option<u32>,
    /// Silence needed before its end counts, in milliseconds: 500 to 800 keeps sentences whole.
    pub silence_ms: Option<u32>,
}

impl Vad {
    /// The server's defaults throughout.
    pub const SERVER_DEFAULT: Vad =
        Vad { start: None, end: None, prefix_padding_ms: None, silence_ms: None };
}

impl Default for Vad {
    /// For the telephone: quick to hear a caller, half a second of silence to end a sentence.
    fn default() -> Vad {
        Vad {
            start: Some(Sensitivity::High),
            end: Some(Sensitivity::High),
            prefix_padding_ms: Some(20),
            silence_ms: Some(500),
        }
    }
}

/// How readily a change is believed. There are only these two; any other word is fatal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sensitivity {
    /// At the least sign.
    High,
    /// Only when it is clear.
    Low,
}

impl Sensitivity {
    fn name(self) -> &'static str {
        match self {
            Sensitivity::High => "HIGH",
            Sensitivity::Low => "LOW",
        }
    }
}

/// `tools[].functionDeclarations[]`.
#[derive(Clone, Copy, Debug)]
pub struct Function<'a> {
    /// Letters, digits, `_ . : -`, at most 128.
    pub name: &'a str,
    /// What it does, for the model.
    pub description: &'a str,
    /// Its parameters as a schema; `None`: it takes none.
    pub parameters: Option<&'a Value>,
    /// Whether the model waits for it.
    pub behavior: Behavior,
}

/// Whether the model waits for the answer of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behavior {
    /// It waits.
    Blocking,
    /// It goes on talking.
    NonBlocking,
}

/// When the model takes up the answer of a function it did not wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheduling {
    /// It only remembers it.
    Silent,
    /// When it has finished speaking.
    WhenIdle,
    /// At once.
    Interrupt,
}

impl Scheduling {
    pub(super) fn name(self) -> &'static str {
        match self {
            Scheduling::Silent => "SILENT",
            Scheduling::WhenIdle => "WHEN_IDLE",
            Scheduling::Interrupt => "INTERRUPT",
        }
    }
}

/// What one family of models takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelRules {
    /// `generationConfig.thinkingConfig`.
    pub thinking: Thinking,
    /// How it is asked to speak first.
    pub greeting: Greeting,
    /// Functions it would have to wait for are an error: they are declared `NON_BLOCKING`.
    pub non_blocking_only: bool,
    /// Takes `scheduling` in the answers of functions.
    pub scheduling: bool,
}

/// Whether a model lets us choose how long it thinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thinking {
    /// The field is an error: never sent.
    Never,
    /// Sent only when a level is chosen.
    Optional,
    /// The model does not start without one: `LOW` where none, or `MINIMAL`, is chosen.
    Required,
}

/// How a model is asked to speak first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// `clientContent` with `turnComplete`.
    ClientContent,
    /// `realtimeInput.text`: `clientContent` in a session would close it with 1007.
    RealtimeText,
}

impl ModelRules {
    const LIVE_3_8: ModelRules = ModelRules {
        thinking: Thinking::Never,
        greeting: Greeting::ClientContent,
        non_blocking_only: false,
        scheduling: true,
    };
    const EXTENDED_THINKING_3_8: ModelRules = ModelRules {
        thinking: Thinking::Required,
        greeting: Greeting::ClientContent,
        non_blocking_only: true,
        scheduling: false,
    };
    const LIVE_3_1: ModelRules = ModelRules {
        thinking: Thinking::Optional,
        greeting: Greeting::RealtimeText,
        non_blocking_only: false,
        scheduling: true,
    };
    const NATIVE_AUDIO_2_5: ModelRules = ModelRules {
        // It counts a budget instead of levels; left to the model.
        thinking: Thinking::Never,
        greeting: Greeting::ClientContent,
        non_blocking_only: false,
        scheduling: true,
    };

    /// The rules of `model`, in any of its spellings. A model we do not know is treated as the
    /// current one: nothing optional is sent.
    pub fn of(model: &str) -> ModelRules {
        let name = model.rsplit('/').next().unwrap_or(model);
        if name.contains("extended-thinking") {
            ModelRules::EXTENDED_THINKING_3_8
        } else if name.starts_with("gemini-3.1-") {
            ModelRules::LIVE_3_1
        } else if name.contains("2.5-flash-native-audio") {
            ModelRules::NATIVE_AUDIO_2_5
        } else {
            ModelRules::LIVE_3_8
        }
    }

    fn thinking_level(self, chosen: Option<ThinkingLevel>) -> Option<ThinkingLevel> {
        match (self.thinking, chosen) {
            (Thinking::Never, _) => None,
            (Thinking::Optional, chosen) => chosen,
            (Thinking::Required, None | Some(ThinkingLevel::Minimal)) => Some(ThinkingLevel::Low),
            (Thinking::Required, chosen) => chosen,
        }
    }
}

/// The first message of a connection; nothing else is sent until `setupComplete` has come.
pub fn setup_json(facts: &SetupFacts<'_>) -> String {
    let rules = ModelRules::of(facts.model);
    let mut setup = Map::new();
    let model = if facts.model.contains('/') {
        facts.model.into()
    } else {
        format!("models/{}", facts.model)
    };
    setup.insert("model".into(), model.into());
    setup.insert("generationConfig".into(), generation_config(facts, rules));
    if !facts.system.is_empty() {
        setup.insert("systemInstruction".into(), json!({"parts": [{"text": facts.system}]}));
    }
    if !facts.functions.is_empty() {
        let declared: Vec<Value> =
            facts.functions.iter().map(|function| declaration(function, rules)).collect();
        setup.insert("tools".into(), json!([{"functionDeclarations": declared}]));
    }
    let realtime_input = realtime_input_config(facts);
    if !realtime_input.is_empty() {
        setup.insert("realtimeInputConfig".into(), realtime_input.into());
    }
    match facts.resume {
        Resume::Off => {}
        Resume::Fresh => drop(setup.insert("sessionResumption".into(), json!({}))),
        Resume::Handle(handle) => {
            setup.insert("sessionResumption".into(), json!({"handle": handle}));
        }
    }
    if facts.compress {
        setup.insert("contextWindowCompression".into(), json!({"slidingWindow": {}}));
    }
    if facts.transcripts {
        setup.insert("inputAudioTranscription".into(), json!({}));
        setup.insert("outputAudioTranscription".into(), json!({}));
    }
    json!({ "setup": setup }).to_string()
}

fn generation_config(facts: &SetupFacts<'_>, rules: ModelRules) -> Value {
    let mut config = Map::new();
    config.insert("responseModalities".into(), json!(["AUDIO"]));
    if let Some(voice) = facts.voice {
        let prebuilt = json!({"prebuiltVoiceConfig": {"voiceName": voice}});
        config.insert("speechConfig".into(), json!({ "voiceConfig": prebuilt }));
    }
    if let Some(level) = rules.thinking_level(facts.thinking) {
        config.insert("thinkingConfig".into(), json!({"thinkingLevel": level.name()}));
    }
    Value::Object(config)
}

fn declaration(function: &Function<'_>, rules: ModelRules) -> Value {
    let blocking = function.behavior == Behavior::Blocking && !rules.non_blocking_only;
    let mut declaration = Map::new();
    declaration.insert("name".into(), function.name.into());
    declaration.insert("description".into(), function.description.into());
    // Always stated: the default differs between models.
    declaration
        .insert("behavior".into(), if blocking { "BLOCKING" } else { "NON_BLOCKING" }.into());
    if let Some(parameters) = function.parameters.and_then(declared_schema) {
        declaration.insert("parameters".into(), parameters);
    }
    Value::Object(declaration)
}

fn realtime_input_config(facts: &SetupFacts<'_>) -> Map<String, Value> {
    let mut detection = Map::new();
    if let Some(start) = facts.vad.start {
        let start = format!("START_SENSITIVITY_{}", start.name());
        detection.insert("startOfSpeechSensitivity".into(), start.into());
    }
    if let Some(end) = facts.vad.end {
        let end = format!("END_SENSITIVITY_{}", end.name());
        detection.insert("endOfSpeechSensitivity".into(), end.into());
    }
    if let Some(padding_ms) = facts.vad.prefix_padding_ms {
        detection.insert("prefixPaddingMs".into(), padding_ms.into());
    }
    if let Some(silence_ms) = facts.vad.silence_ms {
        detection.insert("silenceDurationMs".into(), silence_ms.into());
    }
    let mut config = Map::new();
    if !detection.is_empty() {
        config.insert("automaticActivityDetection".into(), detection.into());
    }
    if !facts.barge_in {
        config.insert("activityHandling".into(), "NO_INTERRUPTION".into());
    }
    config
}
