//! The messages of Telnyx's client.
//!
//! In:       the fields of a message.
//! Out:      its JSON text.
//! Bounds:   none of its own.
//! Not here: what comes down (`dialect::envelope`).
//!
//! Page websockets/stream-call-media-over-websocket: `connected` without `protocol`, snake case,
//! `stream_id` at the top of every message, numbers as strings.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::{Dialect, object};
use crate::format::{Coding, Format};

pub(super) fn connected() -> String {
    r#"{"event":"connected","version":"1.0.0"}"#.to_string()
}

fn encoding(format: Format) -> &'static str {
    match format.coding {
        Coding::Mulaw => "PCMU",
        Coding::Alaw => "PCMA",
        Coding::Linear | Coding::Network => "L16",
    }
}

pub(super) fn start(dialect: &Dialect) -> String {
    let Dialect { ids, formats, numbers: [from, to], .. } = dialect;
    // Custom values were seen under both of these names: every other call has the other.
    let custom = match ids.stream.bytes().last().unwrap_or_default() % 2 {
        0 => "custom_parameters",
        _ => "customParameters",
    };
    json!({
        "event": "start",
        "sequence_number": "1",
        "start": {
            "user_id": ids.account,
            "call_control_id": ids.call,
            "call_session_id": ids.account,
            "from": from,
            "to": to,
            "client_state": "",
            "tags": [],
            custom: object(&dialect.parameters),
            "media_format": {
                "encoding": encoding(formats.up),
                "sample_rate": formats.up.rate,
                "channels": 1,
            },
        },
        "stream_id": ids.stream,
    })
    .to_string()
}

pub(super) fn media(dialect: &Dialect, chunk: u64, timestamp_ms: u64, audio: &[u8]) -> String {
    let mut text = String::with_capacity(192 + audio.len().div_ceil(3) * 4);
    write!(
        text,
        concat!(
            r#"{{"event":"media","sequence_number":"{}","media":{{"track":"inbound","#,
            r#""chunk":"{}","timestamp":"{}","payload":""#
        ),
        dialect.sequence, chunk, timestamp_ms
    )
    .expect("writing to a string cannot fail");
    STANDARD.encode_string(audio, &mut text);
    text.push_str(r#""},"stream_id":""#);
    text.push_str(&dialect.ids.stream);
    text.push_str(r#""}"#);
    text
}

pub(super) fn dtmf(dialect: &Dialect, digit: char) -> String {
    json!({
        "event": "dtmf",
        "stream_id": dialect.ids.stream,
        "occurred_at": "2026-11-23T10:00:00.000000Z",
        "sequence_number": dialect.sequence.to_string(),
        "dtmf": { "digit": digit.to_string() },
    })
    .to_string()
}

pub(super) fn mark(dialect: &Dialect, name: &str) -> String {
    json!({
        "event": "mark",
        "sequence_number": dialect.sequence.to_string(),
        "stream_id": dialect.ids.stream,
        "mark": { "name": name },
    })
    .to_string()
}

pub(super) fn stop(dialect: &Dialect) -> String {
    let Dialect { ids, sequence, .. } = dialect;
    json!({
        "event": "stop",
        "sequence_number": sequence.to_string(),
        "stop": { "user_id": ids.account, "call_control_id": ids.call },
        "stream_id": ids.stream,
    })
    .to_string()
}
