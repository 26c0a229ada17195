//! The messages of Twilio's client, and of SignalWire's, which differs a little.
//!
//! In:       the fields of a message.
//! Out:      its JSON text, numbers as decimal strings where Twilio writes strings.
//! Bounds:   none of its own.
//! Not here: what comes down (`dialect::envelope`).
//!
//! Twilio: page media-streams/websocket-messages. SignalWire (page cxml/voice/stream, August 2026):
//! version 0.2.0, no top-level `streamSid` in `start` and `media`, no `sequenceNumber` in `mark`,
//! `dtmf.duration` as a number.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Dialect, mime, object};
use crate::carrier::Carrier;

/// The first message.
pub(super) fn connected(dialect: &Dialect) -> String {
    let version = match dialect.carrier {
        Carrier::SignalWire => "0.2.0",
        _ => "1.0.0",
    };
    format!(r#"{{"event":"connected","protocol":"Call","version":"{version}"}}"#)
}

/// The second message.
pub(super) fn start(dialect: &Dialect) -> String {
    let Dialect { ids, formats, .. } = dialect;
    let start = json!({
        "event": "start",
        "sequenceNumber": "1",
        "start": {
            "accountSid": ids.account,
            "streamSid": ids.stream,
            "callSid": ids.call,
            "tracks": ["inbound"],
            "mediaFormat": {
                "encoding": mime(formats.up, "audio/x-L16"),
                "sampleRate": formats.up.rate,
                "channels": 1,
            },
            "customParameters": object(&dialect.parameters),
        },
    });
    named(dialect, start).to_string()
}

/// A message with the stream's name, as Twilio repeats it.
fn named(dialect: &Dialect, mut message: Value) -> Value {
    if dialect.carrier == Carrier::Twilio {
        message["streamSid"] = dialect.ids.stream.as_str().into();
    }
    message
}

pub(super) fn media(dialect: &Dialect, chunk: u64, timestamp_ms: u64, audio: &[u8]) -> String {
    let mut text = String::with_capacity(192 + audio.len().div_ceil(3) * 4);
    write!(
        text,
        concat!(
            r#"{{"event":"media","sequenceNumber":"{}","media":{{"track":"inbound","#,
            r#""chunk":"{}","timestamp":"{}","payload":""#
        ),
        dialect.sequence, chunk, timestamp_ms
    )
    .expect("writing to a string cannot fail");
    STANDARD.encode_string(audio, &mut text);
    if dialect.carrier == Carrier::Twilio {
        text.push_str(r#""},"streamSid":""#);
        text.push_str(&dialect.ids.stream);
        text.push_str(r#""}"#);
    } else {
        text.push_str(r#""}}"#);
    }
    text
}

pub(super) fn dtmf(dialect: &Dialect, digit: char) -> String {
    let mut dtmf = json!({ "track": "inbound_track", "digit": digit.to_string() });
    if dialect.carrier == Carrier::SignalWire {
        dtmf["duration"] = 160.into();
    }
    json!({
        "event": "dtmf",
        "streamSid": dialect.ids.stream,
        "sequenceNumber": dialect.sequence.to_string(),
        "dtmf": dtmf,
    })
    .to_string()
}

pub(super) fn mark(dialect: &Dialect, name: &str) -> String {
    let stream = &dialect.ids.stream;
    let name = Value::from(name);
    let sequence = match dialect.carrier {
        Carrier::Twilio => format!(r#""sequenceNumber":"{}","#, dialect.sequence),
        _ => String::new(),
    };
    format!(r#"{{"event":"mark",{sequence}"streamSid":"{stream}","mark":{{"name":{name}}}}}"#)
}

pub(super) fn stop(dialect: &Dialect) -> String {
    let Dialect { ids, sequence, .. } = dialect;
    json!({
        "event": "stop",
        "sequenceNumber": sequence.to_string(),
        "streamSid": ids.stream,
        "stop": { "accountSid": ids.account, "callSid": ids.call },
    })
    .to_string()
}
