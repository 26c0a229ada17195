//! What a stand-in does in one session.
//!
//! In:       nothing.
//! Out:      a [`Script`]: how it answers the handshake and the setup, then [`Step`]s in order.
//! Bounds:   a script is finite; after its last step the session listens until the relay closes.
//! Not here: doing it (`gemini::session`).

use crate::clock::{MILLIS, Nanos, SECONDS};

/// Samples in a millisecond of model audio.
pub const SAMPLES_PER_MS: u64 = 24;

/// The course of one session.
#[derive(Clone, Debug)]
pub struct Script {
    /// What answers the upgrade.
    pub handshake: Handshake,
    /// How long `setupComplete` takes; `None` withholds it.
    pub setup_after: Option<Nanos>,
    /// The form of server messages.
    pub framing: Framing,
    /// The time between two `sessionResumptionUpdate`s, if the setup asked for them.
    pub updates_every: Option<Nanos>,
    /// What happens after `setupComplete`.
    pub steps: Vec<Step>,
}

/// What answers the upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// 101.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing {
    /// Text or binary frames.
    pub opcode: Opcode,
    /// Messages are cut into fragments of so many bytes.
    pub fragment_bytes: Option<usize>,
    /// Spaces and line breaks between tokens.
    pub pretty: bool,
}

/// The frame type of server messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// Text in sessions of even number, binary in those of odd number.
    Alternate,
    /// Text frames.
    Text,
    /// Binary frames.
    Binary,
}

/// One thing a session does, when the one before is done.
#[derive(Clone, Debug)]
pub enum Step {
    /// Waits for the request to greet: `clientContent`, or text.
    AwaitGreeting,
    /// Waits until the caller has been heard for so many milliseconds altogether.
    AwaitUplink {
        /// Milliseconds of audio.
        ms: u64,
    },
    /// Waits.
    Pause(Nanos),
    /// Speaks one turn.
    Speak(Speech),
    /// Sends `interrupted` and, in the next message, `turnComplete`.
    Interrupt {
        /// Audio in the same message, in milliseconds: nobody may hear it.
        audio_ms: u64,
    },
    /// Sends `goAway`.
    GoAway {
        /// The time left, as a protobuf duration such as `50s`.
        time_left: String,
    },
    /// Sends a text message as it is, JSON or not.
    SendText(String),
    /// Sends a binary message as it is.
    SendBinary(Vec<u8>),
    /// Sends bytes below WebSocket.
    SendBytes(Vec<u8>),
    /// Sends no more updates; listens on.
    Quiet,
    /// Reads nothing more and sends nothing more.
    Stall,
    /// Closes with a code of its own choice.
    Close {
        /// The close code.
        code: u16,
        /// The reason.
        reason: String,
    },
    /// Resets the connection.
    Reset,
}

/// One turn of the model.
#[derive(Clone, Debug)]
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
        }
    }

    /// The same in a burst, `speed` times as fast as real time.
    pub fn burst(ms: u64, speed: f64) -> Speech {
        Speech { speed, head_start: 0, ..Speech::real_time(ms) }
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

impl Script {
    /// Answers well and does these steps.
    pub fn of(steps: Vec<Step>) -> Script {
        Script {
            handshake: Handshake::Accept,
            setup_after: Some(0),
            framing: Framing { opcode: Opcode::Alternate, fragment_bytes: None, pretty: false },
            updates_every: Some(900 * MILLIS),
            steps,
        }
    }

    /// Only listens.
    pub fn listen() -> Script {
        Script::of(Vec::new())
    }

    /// Greets when asked, then speaks and pauses in turn, `turns` turns in all.
    pub fn converse(turns: usize, speech: Speech, pause: Nanos) -> Script {
        let mut steps = vec![Step::AwaitGreeting];
        for _ in 0..turns {
            steps.extend([Step::Speak(speech.clone()), Step::Pause(pause)]);
        }
        Script::of(steps)
    }
}
