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
    /// The first message: `{"type":"hello","rate":16000,"token":"…","agent":"…"}`,
    /// with `"resume":"…"` where it goes on with a conversation.
    Hello {
        /// Rate of the binary messages up; [`DEFAULT_RATE_HZ`] where it is not said.
        rate_hz: u32,
        /// The bearer token of a web client, where one is needed.
        token: Option<Text<'b>>,
        /// The name of the agent to talk to; the default one where it is not said.
        agent: Option<Text<'b>>,
        /// The token of the conversation it goes on with.
        resume: Option<Text<'b>>,
    },
    /// A typed message for the model: `{"type":"text","text":"…"}`.
    Text {
        /// What was typed.
        text: Text<'b>,
    },
    /// A key of the page's keypad: `{"type":"key","digit":"5"}`.
    Key {
        /// `0` to `9`, `*`, `#`; whatever else comes is passed on.
        digit: Text<'b>,
    },
    /// The person hangs up: `{"type":"bye"}`.
    Bye,
    /// Another type, or none: not a browser of ours, or a newer one.
    Unknown,
}

/// Reads one message.
///
/// # Errors
/// Text that is not JSON, a known field of the wrong kind, a `text` message without `text`, a `key`
/// message without `digit`.
pub fn decode(text: &str) -> Result<FromBrowser<'_>, MessageError> {
    let (mut kind, mut rate, mut token, mut agent) = (None, None, None, None);
    let (mut typed, mut digit, mut resume) = (None, None, None);
    let mut scanner = Scanner::new(text);
    scanner.enter_object()?;
    while let Some(key) = scanner.next_key()? {
        match key.name(&mut NameSpare::new()) {
            "type" => kind = scanner.optional(Scanner::text)?,
            "rate" => rate = scanner.optional(rate_hz)?,
            "token" => token = scanner.optional(Scanner::text)?,
            "agent" => agent = scanner.optional(Scanner::text)?,
            "resume" => resume = scanner.optional(Scanner::text)?,
            "text" => typed = scanner.optional(Scanner::text)?,
            "digit" => digit = scanner.optional(Scanner::text)?,
            _ => drop(scanner.skip()?),
        }
    }
    scanner.finish()?;
    match kind.unwrap_or_default().name(&mut NameSpare::new()) {
        "hello" => {
            let rate_hz = rate.unwrap_or(DEFAULT_RATE_HZ);
            Ok(FromBrowser::Hello { rate_hz, token, agent, resume })
        }
        "text" => typed
            .map(|text| FromBrowser::Text { text })
            .ok_or(MessageError::Missing { field: "text" }),
        "key" => digit
            .map(|digit| FromBrowser::Key { digit })
            .ok_or(MessageError::Missing { field: "digit" }),
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

/// How far a tool of the agent has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolState {
    /// The model has asked for it.
    Running,
    /// It has answered.
    Done,
    /// It has answered that it could not, or not at all.
    Failed,
    /// The model wants no answer any more.
    Cancelled,
}

impl ToolState {
    fn name(self) -> &'static str {
        match self {
            ToolState::Running => "running",
            ToolState::Done => "done",
            ToolState::Failed => "failed",
            ToolState::Cancelled => "cancelled",
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
        /// With this token in `hello`, another connection goes on with the conversation.
        resume: Option<&'a str>,
        /// It goes on with the conversation it asked for.
        returned: bool,
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
        /// Tells two uses of one tool apart, within the call.
        id: u32,
        /// Its name.
        name: &'a str,
        /// How far it has come.
        state: ToolState,
        /// What it answered: JSON, passed on as it is.
        result: Option<&'a str>,
    },
    /// What a person is to know before the conversation begins.
    Notice {
        /// A word for programs.
        code: &'a str,
        /// A sentence for people.
        message: &'a str,
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
            ToBrowser::Ready { call, rate_hz, resume, returned } => {
                sink.put(br#"{"type":"ready""#);
                put_field(sink, "call", call);
                sink.put(br#","rate":"#);
                sink.put_decimal(rate_hz.into());
                if let Some(token) = resume {
                    put_field(sink, "resume", token);
                }
                if returned {
                    sink.put(br#","returned":true"#);
                }
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
            ToBrowser::Tool { id, name, state, result } => {
                sink.put(br#"{"type":"tool","id":"#);
                sink.put_decimal(id.into());
                put_field(sink, "name", name);
                put_field(sink, "state", state.name());
                if let Some(json) = result {
                    sink.put(br#","result":"#);
                    sink.put(json.as_bytes());
                }
            }
            ToBrowser::Notice { code, message } => {
                sink.put(br#"{"type":"notice""#);
                put_field(sink, "code", code);
                put_field(sink, "message", message);
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

#[cfg(test)]
mod tests {
    use super::super::json::Kind;
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn the_messages_of_a_browser_are_read() {
        let hello = r#"{"type":"hello","rate":48000,"token":"a\u002eb","agent":"front desk",
            "resume":"v1.1.2.3"}"#;
        let Ok(FromBrowser::Hello {
            rate_hz: 48_000,
            token: Some(token),
            agent: Some(agent),
            resume: Some(resume),
        }) = decode(hello)
        else {
            panic!("{:?}", decode(hello));
        };
        assert_eq!((token.to_cow(), agent.to_cow()), ("a.b".into(), "front desk".into()));
        assert_eq!(resume.to_cow(), "v1.1.2.3");
        assert_eq!(decode(r#" {"type":"bye"} "#), Ok(FromBrowser::Bye));
        let Ok(FromBrowser::Text { text }) =
            decode(r#"{"text":"h\u00e9 \ud83d\ude00","type":"text"}"#)
        else {
            panic!("a text message, its keys in any order");
        };
        assert_eq!(text.to_cow(), "hé 😀");
        for digit in ["0", "9", "*", "#", "whatever"] {
            let key = format!(r#"{{"digit":"{digit}","type":"key"}}"#);
            let Ok(FromBrowser::Key { digit: read }) = decode(&key) else { panic!("{key}") };
            assert_eq!(read.to_cow(), digit);
        }
    }

    #[test]
    fn a_hello_may_leave_out_rate_token_and_agent() {
        let rate_hz = DEFAULT_RATE_HZ;
        let plain = FromBrowser::Hello { rate_hz, token: None, agent: None, resume: None };
        for text in [
            r#"{"type":"hello"}"#,
            r#"{"type":"hello","rate":null,"token":null,"agent":null}"#,
            r#"{"type":"hello","rate":"16000","later":[{}]}"#,
        ] {
            assert_eq!(decode(text), Ok(plain), "{text}");
        }
    }

    #[test]
    fn other_types_are_unknown_and_not_an_error() {
        for text in ["{}", r#"{"type":"wave"}"#, r#"{"type":null}"#, r#"{"event":"connected"}"#] {
            assert_eq!(decode(text), Ok(FromBrowser::Unknown), "{text}");
        }
    }

    #[test]
    fn a_message_that_is_none_is_refused() {
        let missing = MessageError::Missing { field: "text" };
        assert_eq!(decode(r#"{"type":"text"}"#), Err(missing));
        let missing = MessageError::Missing { field: "digit" };
        assert_eq!(decode(r#"{"type":"key"}"#), Err(missing));
        for (text, wanted) in [
            ("[]", Kind::Object),
            (r#"{"type":1}"#, Kind::Text),
            (r#"{"type":"text","text":{}}"#, Kind::Text),
            (r#"{"type":"hello","token":5}"#, Kind::Text),
            (r#"{"type":"hello","agent":[]}"#, Kind::Text),
            (r#"{"type":"key","digit":true}"#, Kind::Text),
            (r#"{"type":"hello","rate":true}"#, Kind::Number),
        ] {
            let error = decode(text).unwrap_err();
            let wrong = matches!(
                error,
                MessageError::Json(JsonError::WrongKind { wanted: told, .. }) if told == wanted
            );
            assert!(wrong, "{error:?} for {text}");
        }
        for rate in ["-1", "4294967296", "1.5", "\"x\"", "1e300"] {
            let error = decode(&format!(r#"{{"type":"hello","rate":{rate}}}"#)).unwrap_err();
            assert!(matches!(error, MessageError::Json(JsonError::BadNumber { .. })), "{rate}");
        }
        let whole = r#"{"type":"text","text":"hé \ud83d\ude00"}"#;
        for end in (0..whole.len()).filter(|end| whole.is_char_boundary(*end)) {
            assert!(decode(&whole[..end]).is_err());
        }
    }

    #[test]
    fn every_message_down_is_json_with_the_fields_of_the_protocol() {
        let hostile = "\"quoted\" \\ back\u{0}\u{1f}\n\r\t</script>\u{2028}é😀";
        let (who, is_final, rate_hz) = (Who::Agent, false, 24_000);
        for (message, value) in [
            (
                ToBrowser::Ready { call: hostile, rate_hz, resume: None, returned: false },
                json!({"type": "ready", "call": hostile, "rate": 24000}),
            ),
            (
                ToBrowser::Ready { call: "1", rate_hz, resume: Some(hostile), returned: true },
                json!({"type": "ready", "call": "1", "rate": 24000, "resume": hostile,
                    "returned": true}),
            ),
            (ToBrowser::Clear, json!({"type": "clear"})),
            (
                ToBrowser::Transcript { who, text: hostile, is_final },
                json!({"type": "transcript", "who": "agent", "text": hostile, "final": false}),
            ),
            (
                ToBrowser::Transcript { who: Who::Caller, text: "", is_final: true },
                json!({"type": "transcript", "who": "caller", "text": "", "final": true}),
            ),
            (ToBrowser::Turn { who }, json!({"type": "turn", "who": "agent"})),
            (
                ToBrowser::Tool { id: 7, name: hostile, state: ToolState::Running, result: None },
                json!({"type": "tool", "id": 7, "name": hostile, "state": "running"}),
            ),
            (
                ToBrowser::Tool {
                    id: u32::MAX,
                    name: "book_appointment",
                    state: ToolState::Done,
                    result: Some(r#"{"output":{"reference":"K7QF"}}"#),
                },
                json!({
                    "type": "tool", "id": u32::MAX, "name": "book_appointment", "state": "done",
                    "result": {"output": {"reference": "K7QF"}},
                }),
            ),
            (
                ToBrowser::Notice { code: "recording", message: hostile },
                json!({"type": "notice", "code": "recording", "message": hostile}),
            ),
            (
                ToBrowser::Error { code: "busy", message: hostile },
                json!({"type": "error", "code": "busy", "message": hostile}),
            ),
            (ToBrowser::End { reason: hostile }, json!({"type": "end", "reason": hostile})),
        ] {
            let mut out = b"before".to_vec();
            message.write_json(&mut out);
            let written = &out[6..];
            assert_eq!(serde_json::from_slice::<Value>(written).unwrap(), value);
            assert_eq!(written.len(), message.json_len());
        }
    }

    #[test]
    fn every_character_survives_a_message_down() {
        for code in 0..0x11_0000 {
            let Some(character) = char::from_u32(code) else { continue };
            // Beyond the ones that are escaped, a step keeps the test short.
            if code > 0x300 && code % 97 != 0 {
                continue;
            }
            let text = character.to_string();
            let mut out = Vec::new();
            ToBrowser::End { reason: &text }.write_json(&mut out);
            let value: Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(value["reason"], text);
        }
    }
}
