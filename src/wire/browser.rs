//! The browser's text messages, subprotocol `vocaris.v1`. Audio travels beside them as binary
//! messages: PCM16, little-endian, mono.
//!
//! In:       the text of one WebSocket message.
//! Out:      one [`FromBrowser`], borrowed from the text; a [`ToBrowser`] as JSON.
//! Bounds:   those of `wire::json`.
//! Not here: WebSocket frames (`wire::ws`), whether a token or a rate is acceptable (`accept`,
//!           `call`).

pub use super::json::MessageError;
use super::json::{JsonError, LenBytes, NameSpare, Scanner, Sink, Text};

/// The rate of a browser's audio up that does not name one.
pub const DEFAULT_RATE_HZ: u32 = 16_000;

/// A message from a browser.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FromBrowser<'b> {
    /// The first message: `{"type":"hello","rate":16000,"token":"…"}`.
    Hello {
        /// Rate of the binary messages up; [`DEFAULT_RATE_HZ`] where it is not said.
        rate_hz: u32,
        /// The bearer token of a web client, where one is needed.
        token: Option<Text<'b>>,
    },
    /// A typed message for the model: `{"type":"text","text":"…"}`.
    Text {
        /// What was typed.
        text: Text<'b>,
    },
    /// The person hangs up: `{"type":"bye"}`.
    Bye,
    /// Another type, or none: not a browser of ours, or a newer one.
    Unknown,
}

/// Reads one message.
///
/// # Errors
/// Text that is not JSON, a known field of the wrong kind, or a `text` message without `text`.
pub fn decode(text: &str) -> Result<FromBrowser<'_>, MessageError> {
    let (mut kind, mut rate, mut token, mut typed) = (None, None, None, None);
    let mut scanner = Scanner::new(text);
    scanner.enter_object()?;
    while let Some(key) = scanner.next_key()? {
        match key.name(&mut NameSpare::new()) {
            "type" => kind = scanner.optional(Scanner::text)?,
            "rate" => rate = scanner.optional(rate_hz)?,
            "token" => token = scanner.optional(Scanner::text)?,
            "text" => typed = scanner.optional(Scanner::text)?,
            _ => drop(scanner.skip()?),
        }
    }
    scanner.finish()?;
    match kind.unwrap_or_default().name(&mut NameSpare::new()) {
        "hello" => Ok(FromBrowser::Hello { rate_hz: rate.unwrap_or(DEFAULT_RATE_HZ), token }),
        "text" => typed
            .map(|text| FromBrowser::Text { text })
            .ok_or(MessageError::Missing { field: "text" }),
        "bye" => Ok(FromBrowser::Bye),
        _ => Ok(FromBrowser::Unknown),
    }
}

fn rate_hz(scanner: &mut Scanner<'_>) -> Result<u32, JsonError> {
    let at = scanner.value_start();
    u32::try_from(scanner.unsigned()?).map_err(|_| JsonError::BadNumber { at })
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The person.
    Caller,
    /// The model.
    Agent,
}

impl Who {
    fn name(self) -> &'static str {
        match self {
            Who::Caller => "caller",
            Who::Agent => "agent",
        }
    }
}

/// A message to a browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToBrowser<'a> {
    /// The call is up; binary messages down are of this rate.
    Ready {
        /// The call's id.
        call: &'a str,
        /// Samples per second of the audio down.
        rate_hz: u32,
    },
    /// Stop what is playing and forget what is queued.
    Clear,
    /// What was said.
    Transcript {
        /// By whom.
        who: Who,
        /// A piece of it, or all of it.
        text: &'a str,
        /// Nothing will be added to it.
        is_final: bool,
    },
    /// The floor has changed hands.
    Turn {
        /// Who speaks now.
        who: Who,
    },
    /// A tool of the agent.
    Tool {
        /// Its name.
        name: &'a str,
        /// What it is doing.
        state: &'a str,
    },
    /// Something went wrong.
    Error {
        /// A word for programs.
        code: &'a str,
        /// A sentence for people.
        message: &'a str,
    },
    /// The call is over.
    End {
        /// Why.
        reason: &'a str,
    },
}

impl ToBrowser<'_> {
    /// Length of the message as JSON.
    pub fn json_len(&self) -> usize {
        let mut len = LenBytes::default();
        self.compose(&mut len);
        len.0
    }

    /// Appends the message as JSON.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.reserve(self.json_len());
        self.compose(out);
    }

    fn compose(&self, sink: &mut impl Sink) {
        match *self {
            ToBrowser::Ready { call, rate_hz } => {
                sink.put(br#"{"type":"ready""#);
                put_field(sink, "call", call);
                sink.put(br#","rate":"#);
                sink.put_decimal(rate_hz.into());
            }
            ToBrowser::Clear => sink.put(br#"{"type":"clear""#),
            ToBrowser::Transcript { who, text, is_final } => {
                sink.put(br#"{"type":"transcript""#);
                put_field(sink, "who", who.name());
                put_field(sink, "text", text);
                sink.put(if is_final { br#","final":true"# } else { br#","final":false"# });
            }
            ToBrowser::Turn { who } => {
                sink.put(br#"{"type":"turn""#);
                put_field(sink, "who", who.name());
            }
            ToBrowser::Tool { name, state } => {
                sink.put(br#"{"type":"tool""#);
                put_field(sink, "name", name);
                put_field(sink, "state", state);
            }
            ToBrowser::Error { code, message } => {
                sink.put(br#"{"type":"error""#);
                put_field(sink, "code", code);
                put_field(sink, "message", message);
            }
            ToBrowser::End { reason } => {
                sink.put(br#"{"type":"end""#);
                put_field(sink, "reason", reason);
            }
        }
        sink.put(b"}");
    }
}

/// `,"name":"value"`, the value escaped.
fn put_field(sink: &mut impl Sink, name: &str, value: &str) {
    sink.put(br#",""#);
    sink.put(name.as_bytes());
    sink.put(br#"":""#);
    sink.put_escaped(value);
    sink.put(br#"""#);
}
