//! Vonage's messages beside its binary audio, both ways.
//!
//! In:       the fields of a message; a message as it came.
//! Out:      its JSON text; an [`Order`].
//! Bounds:   none of its own.
//! Not here: the audio, which is PCM and nothing else.
//!
//! Guide websockets: the headers of the NCCO stand at the top of `websocket:connected`; audio goes
//! both ways in messages of 20 ms. `notify` is a mark whose name is its whole payload.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Dialect, Order, Violation, object, present};

pub(super) fn connected(dialect: &Dialect) -> String {
    let mut message = object(&dialect.parameters);
    message.insert("event".into(), "websocket:connected".into());
    let rate = dialect.formats.up.rate;
    message.insert("content-type".into(), format!("audio/l16;rate={rate}").into());
    Value::Object(message).to_string()
}

pub(super) fn dtmf(digit: char) -> String {
    json!({ "event": "websocket:dtmf", "digit": digit.to_string(), "duration": 260 }).to_string()
}

/// `payload` is the JSON that came with `notify`.
pub(super) fn notify(payload: &str) -> String {
    format!(r#"{{"event":"websocket:notify","payload":{payload}}}"#)
}

pub(super) fn cleared() -> String {
    r#"{"event":"websocket:cleared"}"#.to_string()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Command<'a> {
    #[serde(borrow)]
    action: Cow<'a, str>,
    #[serde(default, deserialize_with = "present")]
    payload: Option<Value>,
}

pub(super) fn read(text: &str) -> Result<Order, Violation> {
    let command: Command<'_> = serde_json::from_str(text).map_err(|_| Violation::Shape)?;
    match (&*command.action, command.payload) {
        ("clear", None) => Ok(Order::Clear),
        ("notify", Some(payload)) if payload.is_object() => Ok(Order::Mark(payload.to_string())),
        ("clear" | "notify", _) => Err(Violation::Shape),
        _ => Err(Violation::UnknownEvent),
    }
}
