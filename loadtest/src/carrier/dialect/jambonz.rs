//! jambonz's messages beside its binary audio, both ways.
//!
//! In:       the fields of a message; a message as it came.
//! Out:      its JSON text; an [`Order`].
//! Bounds:   none of its own.
//! Not here: the audio, which is PCM and nothing else.
//!
//! Verb listen: one text first, with the attributes of the call, `sampleRate`, `mixType`, and the
//! verb's metadata; then binary audio. Commands of the server are `killAudio`, `mark`,
//! `clearMarks` and `disconnect`; a mark comes back as played or as cleared.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Dialect, Order, Violation, object, present};
use crate::carrier::playout::Reached;

pub(super) fn preamble(dialect: &Dialect) -> String {
    let Dialect { ids, formats, numbers: [from, to], .. } = dialect;
    let mut message = json!({
        "callSid": ids.call,
        "accountSid": ids.account,
        "applicationSid": ids.account,
        "callId": ids.stream,
        "direction": "inbound",
        "from": from,
        "to": to,
        "callerName": "",
        "callStatus": "in-progress",
        "sipStatus": 200,
        "sampleRate": formats.up.rate,
        "mixType": "mono",
    });
    if let Value::Object(message) = &mut message {
        message.extend(object(&dialect.parameters));
    }
    message.to_string()
}

pub(super) fn dtmf(digit: char) -> String {
    json!({ "event": "dtmf", "dtmf": digit.to_string(), "duration": "1600" }).to_string()
}

pub(super) fn mark(mark: &Reached) -> String {
    let event = if mark.cleared { "cleared" } else { "playout" };
    json!({ "type": "mark", "data": { "name": mark.name, "event": event } }).to_string()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Command<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<Named<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
}

pub(super) fn read(text: &str) -> Result<Order, Violation> {
    let command: Command<'_> = serde_json::from_str(text).map_err(|_| Violation::Shape)?;
    match (&*command.kind, command.data) {
        ("killAudio", None) => Ok(Order::Clear),
        ("mark", Some(mark)) => Ok(Order::Mark(mark.name.into_owned())),
        ("clearMarks", None) => Ok(Order::ClearMarks),
        ("disconnect", None) => Ok(Order::Disconnect),
        ("killAudio" | "mark" | "clearMarks" | "disconnect", _) => Err(Violation::Shape),
        _ => Err(Violation::UnknownEvent),
    }
}
