//! A browser's messages beside its binary audio, both ways: the relay's own protocol, subprotocol
//! `vocaris.v1`.
//!
//! In:       the fields of a message; a message as it came.
//! Out:      its JSON text; an [`Order`].
//! Bounds:   none of its own.
//! Not here: the audio: PCM16, 16 kHz up, 24 kHz down.
//!
//! What the relay tells a person (transcripts, turns, tools) is taken as long as it is an object
//! with a known `type`; its fields may grow.

use serde_json::{Value, json};

use super::{Dialect, Order, Violation};

pub(super) fn hello(dialect: &Dialect) -> String {
    let mut hello = json!({ "type": "hello", "rate": dialect.formats.up.rate });
    if let Some(token) = &dialect.token {
        hello["token"] = token.as_str().into();
    }
    hello.to_string()
}

pub(super) fn key(digit: char) -> String {
    json!({ "type": "key", "digit": digit.to_string() }).to_string()
}

pub(super) fn bye() -> String {
    r#"{"type":"bye"}"#.to_string()
}

pub(super) fn read(text: &str) -> Result<Order, Violation> {
    let message: Value = serde_json::from_str(text).map_err(|_| Violation::Shape)?;
    let kind = message.get("type").and_then(Value::as_str).ok_or(Violation::Shape)?;
    match kind {
        "ready" if message["call"].is_string() && message["rate"] == 24_000 => Ok(Order::Ready),
        "clear" => Ok(Order::Clear),
        "transcript" | "turn" | "tool" | "notice" | "error" | "end" => Ok(Order::Note),
        "ready" => Err(Violation::Shape),
        _ => Err(Violation::UnknownEvent),
    }
}
