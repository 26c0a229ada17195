//! What a stand-in does in one session.
//!
//! In:       nothing; or TOML, see `gemini::scenario`.
//! Out:      a [`Script`]: how it answers the handshake and the setup, then [`Step`]s in order.
//! Bounds:   a script is finite; after its last step the session listens until the relay closes.
//! Not here: doing it (`gemini::session`).

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::activity::Sensitivity;
use crate::clock::{MILLIS, Nanos, SECONDS};

/// Samples in a millisecond of model audio.
pub const SAMPLES_PER_MS: u64 = 24;

/// The most faults that one conversation meets.
pub const FAULTS_MAX: u32 = 1000;

/// The course of one session.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    /// What answers the upgrade.
    pub handshake: Handshake,
    /// How long `setupComplete` takes; `None`, in a file `"never"`, withholds it.
    #[serde(rename = "setup_after_ms", deserialize_with = "millis_or_never")]
    pub setup_after: Option<Nanos>,
    /// The form of server messages.
    pub framing: Framing,
    /// What else their JSON holds, and how it is spelled.
    pub dialect: Dialect,
    /// The time between two `sessionResumptionUpdate`s, if the setup asked for them; `None`, in a
    /// file `"never"`, sends none.
    #[serde(rename = "updates_every_ms", deserialize_with = "millis_or_never")]
    pub updates_every: Option<Nanos>,
    /// Set: the updates say `"resumable": false`.
    pub not_resumable: bool,
    /// How late pings are answered; `None` answers at once.
    #[serde(rename = "pong_after_ms", deserialize_with = "some_millis")]
    pub pong_after: Option<Nanos>,
    /// A handle whose connection is still open is refused with 1011.
    pub refuses_overlap: bool,
    /// A session taken up by a handle that is sent more audio than time has passed since
    /// `setupComplete`, and [`BACKLOG_NANOS_MAX`], is closed with 1007.
    pub refuses_backlog: bool,
    /// Set: what it says is broken off, with `interrupted`, when it hears speech so loud for so long.
    pub detects_activity: Option<Sensitivity>,
    /// A session that is taken up by a handle goes on with the steps where the connection before
    /// left off, by the same clock; else it begins anew.
    pub carries_on: bool,
    /// What happens after `setupComplete`.
    pub steps: Vec<Step>,
    /// What happens besides, by the clock of the conversation.
    pub faults: Vec<Fault>,
}

/// Audio ahead of time that [`Script::refuses_backlog`] lets pass: frames on their way.
pub const BACKLOG_NANOS_MAX: Nanos = 100 * MILLIS;

/// What answers the upgrade.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Handshake {
    /// 101.
    #[default]
    Accept,
    /// Another status, with a body.
    Refuse {
        /// The status, such as 403 or 503.
        status: u16,
        /// The body.
        body: String,
    },
    /// Nothing at all.
    Silent,
}

/// The form of server messages; their JSON is the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Framing {
    /// Text or binary frames.
    pub opcode: Opcode,
    /// Messages are cut into fragments of so many bytes.
    pub fragment_bytes: Option<usize>,
    /// Spaces and line breaks between tokens.
    pub pretty: bool,
}

/// The frame type of server messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Opcode {
    /// Text in sessions of even number, binary in those of odd number.
    #[default]
    Alternate,
    /// Text frames.
    Text,
    /// Binary frames.
    Binary,
}

/// Liberties of the service that a client has to bear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dialect {
    /// Fields and whole messages that no document knows.
    pub unknown_fields: bool,
    /// Enum values that no document knows.
    pub unknown_enums: bool,
    /// 64-bit integers as strings.
    pub int64_strings: bool,
    /// The URL-safe alphabet of base64, without padding.
    pub url_safe: bool,
    /// Audio is cut between the two bytes of a sample.
    pub odd_bytes: bool,
    /// Parts that the audio of one message is spread over; 0 is 1.
    pub parts: usize,
    /// Audio, transcript, `generationComplete` and usage come in one message where they can.
    pub bundled: bool,
    /// Figures of use beside every piece of audio, not only at the end of a turn.
    pub usage: Usage,
}

impl Default for Dialect {
    fn default() -> Dialect {
        Dialect {
            unknown_fields: false,
            unknown_enums: false,
            int64_strings: false,
            url_safe: false,
            odd_bytes: false,
            parts: 1,
            bundled: false,
            usage: Usage::PerTurn,
        }
    }
}

/// Where `usageMetadata` comes, and in which spelling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Usage {
    /// At the end of each turn, `responseTokenCount`.
    #[default]
    PerTurn,
    /// With every piece of audio, `responseTokenCount`.
    PerChunk,
    /// With every piece of audio, `candidatesTokenCount` as Vertex spells it.
    PerChunkVertex,
}

/// One thing a session does, when the one before is done.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// Waits for the request to greet, `clientContent` or text; or until the caller has been heard
    /// for [`UNASKED_MS`], because a session begun afresh is not asked again.
    AwaitGreeting,
    /// Waits until the caller has been heard for so many milliseconds altogether.
    AwaitUplink {
        /// Milliseconds of audio.
        ms: u64,
    },
    /// Waits; in a file `pause_ms`.
    #[serde(rename = "pause_ms", deserialize_with = "millis")]
    Pause(Nanos),
    /// Speaks one turn.
    Speak(Speech),
    /// Sends `inputTranscription`: what the caller is said to have said.
    Heard {
        /// The words.
        text: String,
    },
    /// Sends `interrupted` and, in the next message, `turnComplete`.
    Interrupt {
        /// Audio in the same message, in milliseconds: nobody may hear it.
        #[serde(default)]
        audio_ms: u64,
    },
    /// Sends `goAway`.
    GoAway {
        /// The time left, as a protobuf duration such as `50s`.
        time_left: String,
        /// When it has passed, the connection is closed with 1011.
        #[serde(default)]
        enforced: bool,
    },
    /// Asks for tools, all in one message.
    ToolCall {
        /// The calls. In their arguments `{call}` stands for the number of the conversation, `{n}`
        /// for that of the request within it, `{date}` and `{time}` for a time of its own.
        calls: Vec<Invocation>,
        /// The ids are left out.
        #[serde(default)]
        without_ids: bool,
    },
    /// Withdraws every tool call that has not been answered.
    CancelTools,
    /// Waits until every tool call is answered or withdrawn, but not longer than this.
    AwaitTools {
        /// The longest wait, in milliseconds.
        ms: u64,
    },
    /// Sends a text message as it is, JSON or not.
    SendText(String),
    /// Sends a binary message as it is.
    SendBinary(Vec<u8>),
    /// Sends bytes below WebSocket.
    SendBytes(Vec<u8>),
    /// Sends no more updates; listens on.
    Quiet,
    /// Nothing more comes of the steps: it listens, and its updates go on, but it answers nobody.
    Stuck,
    /// Reads nothing more and sends nothing more.
    Stall,
    /// Closes with a code of its own choice.
    Close {
        /// The close code.
        code: u16,
        /// The reason.
        #[serde(default)]
        reason: String,
    },
    /// Closes for a reason that no other connection mends, such as a key or a quota: the relay is to
    /// end the call.
    Dismiss {
        /// The close code.
        code: u16,
        /// The reason.
        reason: String,
    },
    /// Ends the stream without a close frame.
    Hangup,
    /// Resets the connection.
    Reset,
}

impl Step {
    /// True for what is over in an instant.
    pub fn is_instant(&self) -> bool {
        !matches!(
            self,
            Step::AwaitGreeting
                | Step::AwaitUplink { .. }
                | Step::AwaitTools { .. }
                | Step::Pause(_)
                | Step::Speak(_)
        )
    }
}

/// Caller audio after which [`Step::AwaitGreeting`] is over without having been asked.
pub const UNASKED_MS: u64 = 3000;

/// One call of a tool.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invocation {
    /// The tool.
    pub name: String,
    /// Its arguments, an object.
    #[serde(default)]
    pub args: Value,
}

/// Something that happens at a time of its own, whatever the session is doing.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The share of conversations it happens to.
    #[serde(default = "all")]
    pub share: f64,
    /// When, since the conversation began.
    #[serde(rename = "at_ms")]
    pub at: Moment,
    /// From one time to the next, where it happens more than once.
    #[serde(default, rename = "every_ms", deserialize_with = "millis")]
    pub every: Nanos,
    /// How often it happens, up to [`FAULTS_MAX`].
    #[serde(default = "once")]
    pub times: u32,
    /// What: a step that is over in an instant.
    #[serde(rename = "does")]
    pub step: Step,
}

fn all() -> f64 {
    1.0
}

fn once() -> u32 {
    1
}

/// A time of a [`Fault`], in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Moment {
    /// Fixed.
    At(u64),
    /// Anywhere between, chosen by the seed.
    Between([u64; 2]),
}

/// One turn of the model.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "SpeechForm")]
pub struct Speech {
    /// How long the whole turn is, in samples at 24 kHz, a multiple of three.
    pub samples: u64,
    /// Samples in one message; the sizes are used in turn.
    pub chunk_samples: Vec<u64>,
    /// How much faster than real time the audio is sent.
    pub speed: f64,
    /// Audio that is sent at once when the turn begins, before the pace counts.
    pub head_start: Nanos,
    /// What is said in words.
    pub transcript: Option<String>,
    /// Set: after so many samples the turn is cut off, and followed by an [`Step::Interrupt`].
    pub cut_after: Option<u64>,
    /// `turnComplete` comes with `generationComplete`, not when the turn has been played.
    pub complete_at_once: bool,
    /// It is no speech, but noise of one level: a client has no use for the connection.
    pub steady: bool,
}

/// A [`Speech`] as a file tells it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SpeechForm {
    ms: u64,
    #[serde(default)]
    chunk_samples: Vec<u64>,
    speed: Option<f64>,
    head_start_ms: Option<u64>,
    transcript: Option<String>,
    cut_after_ms: Option<u64>,
    #[serde(default)]
    complete_at_once: bool,
    #[serde(default)]
    steady: bool,
}

impl TryFrom<SpeechForm> for Speech {
    type Error = &'static str;

    fn try_from(form: SpeechForm) -> Result<Speech, &'static str> {
        if form.speed.is_some_and(|speed| !(speed > 0.0 && speed.is_finite())) {
            return Err("speed is a positive number");
        }
        if form.chunk_samples.contains(&0) {
            return Err("a chunk has samples");
        }
        let mut speech = form
            .speed
            .map_or_else(|| Speech::real_time(form.ms), |speed| Speech::burst(form.ms, speed));
        if !form.chunk_samples.is_empty() {
            speech.chunk_samples = form.chunk_samples;
        }
        if let Some(ms) = form.head_start_ms {
            speech.head_start = ms * MILLIS;
        }
        speech.transcript = form.transcript;
        speech.cut_after = form.cut_after_ms.map(|ms| ms * SAMPLES_PER_MS);
        speech.complete_at_once = form.complete_at_once;
        speech.steady = form.steady;
        Ok(speech)
    }
}

impl Speech {
    /// A turn of so many milliseconds in 40 ms messages in real time, 160 ms ahead of it.
    ///
    /// The head start is what a phone needs so that its queue does not run dry between two
    /// messages; it stays below the lead a relay keeps at the phone, so every message is to be
    /// passed on at once.
    pub fn real_time(ms: u64) -> Speech {
        Speech {
            samples: ms * SAMPLES_PER_MS,
            chunk_samples: vec![40 * SAMPLES_PER_MS],
            speed: 1.0,
            head_start: 160 * MILLIS,
            transcript: None,
            cut_after: None,
            complete_at_once: false,
            steady: false,
        }
    }

    /// The same in a burst, `speed` times as fast as real time.
    pub fn burst(ms: u64, speed: f64) -> Speech {
        Speech { speed, head_start: 0, ..Speech::real_time(ms) }
    }

    /// [`Speech::burst`] above real time, else [`Speech::real_time`].
    pub fn at_speed(ms: u64, speed: f64) -> Speech {
        if speed > 1.0 { Speech::burst(ms, speed) } else { Speech::real_time(ms) }
    }

    /// When the message with these samples is planned, from the start of the turn.
    pub fn planned(&self, from_sample: u64) -> Nanos {
        let into = from_sample * SECONDS / (SAMPLES_PER_MS * 1000);
        (into.saturating_sub(self.head_start) as f64 / self.speed) as Nanos
    }

    /// How long the turn plays.
    pub fn duration(&self) -> Nanos {
        self.samples * SECONDS / (SAMPLES_PER_MS * 1000)
    }
}

impl Default for Script {
    fn default() -> Script {
        Script::of(Vec::new())
    }
}

impl Script {
    /// Answers well and does these steps.
    pub fn of(steps: Vec<Step>) -> Script {
        Script {
            handshake: Handshake::Accept,
            setup_after: Some(0),
            framing: Framing::default(),
            dialect: Dialect::default(),
            updates_every: Some(900 * MILLIS),
            not_resumable: false,
            pong_after: None,
            refuses_overlap: false,
            refuses_backlog: false,
            detects_activity: None,
            carries_on: false,
            steps,
            faults: Vec::new(),
        }
    }

    /// Only listens.
    pub fn listen() -> Script {
        Script::of(Vec::new())
    }

    /// Greets when asked, then speaks and pauses in turn, `turns` turns in all.
    pub fn converse(turns: usize, speech: Speech, pause: Nanos) -> Script {
        Script::of(Script::conversation(turns, &speech, pause))
    }

    /// The steps of [`Script::converse`].
    pub fn conversation(turns: usize, speech: &Speech, pause: Nanos) -> Vec<Step> {
        let mut steps = vec![Step::AwaitGreeting];
        for _ in 0..turns {
            steps.extend([Step::Speak(speech.clone()), Step::Pause(pause)]);
        }
        steps
    }
}

fn millis<'de, D: Deserializer<'de>>(from: D) -> Result<Nanos, D::Error> {
    Ok(u64::deserialize(from)?.saturating_mul(MILLIS))
}

fn some_millis<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Nanos>, D::Error> {
    millis(from).map(Some)
}

fn millis_or_never<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Nanos>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "milliseconds, or \"never\"")]
    enum Form {
        After(u64),
        Never(Never),
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Never {
        Never,
    }
    Ok(match Form::deserialize(from)? {
        Form::After(ms) => Some(ms.saturating_mul(MILLIS)),
        Form::Never(Never::Never) => None,
    })
}
