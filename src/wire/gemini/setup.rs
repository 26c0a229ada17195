//! `setup`, the first message of a connection, and what each model takes in it.
//!
//! In:       what the agent is to be.
//! Out:      one JSON text, built once per connection.
//! Bounds:   none of its own: all of it comes from the configuration.
//! Not here: what follows `setupComplete` (`client`).
//!
//! A field a model does not take closes the connection with 1007, or, worse, `setupComplete` never
//! comes. So nothing is sent that [`ModelRules`] does not hold as taken.

use serde_json::{Map, Value, json};

use super::tools::declared_schema;
use crate::config::{Compression, ModelRules, Temperature, ThinkingLevel, Vad};

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
    /// Vertex only: updates also say which of our messages the session holds.
    pub transparent: bool,
    /// How freely the model chooses its words.
    pub temperature: Option<Temperature>,
    /// How long the model thinks, where a model lets us choose.
    pub thinking: Option<ThinkingLevel>,
    /// Compress the context as it fills; `None`: an audio session ends after 15 minutes.
    pub compression: Option<Compression>,
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
            transparent: false,
            temperature: None,
            thinking: None,
            compression: Some(Compression::default()),
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
    if let Some(resumption) = session_resumption(facts) {
        setup.insert("sessionResumption".into(), resumption.into());
    }
    if let Some(compression) = facts.compression {
        setup.insert("contextWindowCompression".into(), context_compression(compression));
    }
    if facts.transcripts {
        setup.insert("inputAudioTranscription".into(), json!({}));
        setup.insert("outputAudioTranscription".into(), json!({}));
    }
    json!({ "setup": setup }).to_string()
}

fn session_resumption(facts: &SetupFacts<'_>) -> Option<Map<String, Value>> {
    let mut resumption = Map::new();
    match facts.resume {
        Resume::Off => return None,
        Resume::Fresh => {}
        Resume::Handle(handle) => drop(resumption.insert("handle".into(), handle.into())),
    }
    if facts.transparent {
        resumption.insert("transparent".into(), true.into());
    }
    Some(resumption)
}

fn context_compression(compression: Compression) -> Value {
    let mut config = Map::new();
    if let Some(tokens) = compression.trigger_tokens {
        config.insert("triggerTokens".into(), tokens.into());
    }
    let mut window = Map::new();
    if let Some(tokens) = compression.target_tokens {
        window.insert("targetTokens".into(), tokens.into());
    }
    config.insert("slidingWindow".into(), window.into());
    config.into()
}

fn generation_config(facts: &SetupFacts<'_>, rules: ModelRules) -> Value {
    let mut config = Map::new();
    config.insert("responseModalities".into(), json!(["AUDIO"]));
    if let Some(voice) = facts.voice {
        let prebuilt = json!({"prebuiltVoiceConfig": {"voiceName": voice}});
        config.insert("speechConfig".into(), json!({ "voiceConfig": prebuilt }));
    }
    if let Some(temperature) = facts.temperature {
        config.insert("temperature".into(), temperature.value().into());
    }
    if let Some(level) = rules.level_told(facts.thinking) {
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
