//! The models we know: what each takes in the message that sets a session up, and what may be
//! tuned in it.
//!
//! In:       a model's name, in any of its spellings.
//! Out:      [`ModelRules`]: the one table that configuration and wire format both go by.
//! Not here: the message itself (`wire::gemini`).
//!
//! A field a model does not take closes the connection with 1007, or, worse, the model never gets
//! ready. So what a model does not take is refused when the configuration is read, and is never
//! sent whatever was asked for.

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
    /// Goes by `silenceDurationMs`; else it takes the field and does as it likes.
    pub silence: bool,
}

/// Whether a model lets us choose how long it thinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thinking {
    /// The field is an error: never sent.
    Never,
    /// Sent only when a level is chosen.
    Optional,
    /// The model does not start without one, and knows no `MINIMAL`: `LOW` where none is chosen.
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
    /// By what a name holds or begins with; the first row that fits. The last fits every name: a
    /// model we do not know is treated as the current one, nothing optional is sent.
    const TABLE: [(Fits, ModelRules); 4] = [
        (
            Fits::Holds("extended-thinking"),
            ModelRules {
                thinking: Thinking::Required,
                greeting: Greeting::ClientContent,
                non_blocking_only: true,
                scheduling: false,
                silence: true,
            },
        ),
        (
            Fits::Begins("gemini-3.1-"),
            ModelRules {
                thinking: Thinking::Optional,
                greeting: Greeting::RealtimeText,
                non_blocking_only: false,
                scheduling: true,
                silence: false,
            },
        ),
        (
            Fits::Holds("2.5-flash-native-audio"),
            ModelRules {
                // It counts a budget instead of levels; left to the model.
                thinking: Thinking::Never,
                greeting: Greeting::ClientContent,
                non_blocking_only: false,
                scheduling: true,
                silence: true,
            },
        ),
        (
            Fits::Begins(""),
            ModelRules {
                thinking: Thinking::Never,
                greeting: Greeting::ClientContent,
                non_blocking_only: false,
                scheduling: true,
                silence: true,
            },
        ),
    ];

    /// The rules of `model`, in any of its spellings.
    pub fn of(model: &str) -> ModelRules {
        let name = model.rsplit('/').next().unwrap_or(model);
        let fits = |fits: &Fits| match fits {
            Fits::Holds(part) => name.contains(part),
            Fits::Begins(start) => name.starts_with(start),
        };
        let row = ModelRules::TABLE.iter().find(|(test, _)| fits(test));
        row.map(|&(_, rules)| rules).expect("the last row fits every name")
    }

    /// Whether the model takes `level`.
    pub fn takes_level(self, level: ThinkingLevel) -> bool {
        match self.thinking {
            Thinking::Never => false,
            Thinking::Optional => true,
            Thinking::Required => level != ThinkingLevel::Minimal,
        }
    }

    /// The level it is told; `None`: none.
    pub fn level_told(self, chosen: Option<ThinkingLevel>) -> Option<ThinkingLevel> {
        let chosen = chosen.filter(|&level| self.takes_level(level));
        match self.thinking {
            Thinking::Required => chosen.or(Some(ThinkingLevel::Low)),
            Thinking::Never | Thinking::Optional => chosen,
        }
    }
}

/// Which names a row of the table is for.
enum Fits {
    Holds(&'static str),
    Begins(&'static str),
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
    /// Every level, the shortest first.
    pub const ALL: [ThinkingLevel; 4] =
        [ThinkingLevel::Minimal, ThinkingLevel::Low, ThinkingLevel::Medium, ThinkingLevel::High];

    /// The service's word for it.
    pub const fn name(self) -> &'static str {
        match self {
            ThinkingLevel::Minimal => "MINIMAL",
            ThinkingLevel::Low => "LOW",
            ThinkingLevel::Medium => "MEDIUM",
            ThinkingLevel::High => "HIGH",
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
    /// The service's word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Sensitivity::High => "HIGH",
            Sensitivity::Low => "LOW",
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

/// `contextWindowCompression`: without it an audio session ends after 15 minutes. `None` leaves
/// the server's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compression {
    /// The context is cut when it is as long as this, in tokens.
    pub trigger_tokens: Option<u32>,
    /// To this, in tokens.
    pub target_tokens: Option<u32>,
}

/// `generationConfig.temperature`, in hundredths: 0 to 200.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Temperature(pub u16);

impl Temperature {
    /// As the service counts it, 0.0 to 2.0.
    pub fn value(self) -> f64 {
        f64::from(self.0) / 100.0
    }
}

/// What of a session may be tuned; the model's own rules decide what of it is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// How freely the model chooses its words; `None`: as it likes.
    pub temperature: Option<Temperature>,
    /// How long it thinks, where it lets us choose.
    pub thinking: Option<ThinkingLevel>,
    /// How the server finds speech.
    pub vad: Vad,
    /// Cutting of the context as it fills; `None`: off.
    pub compression: Option<Compression>,
    /// Whether a session is to be one that can be resumed on another connection.
    pub resumption: bool,
}

impl Default for Tuning {
    /// For the telephone: a session lasts as long as its call.
    fn default() -> Tuning {
        Tuning {
            temperature: None,
            thinking: None,
            vad: Vad::default(),
            compression: Some(Compression::default()),
            resumption: true,
        }
    }
}
