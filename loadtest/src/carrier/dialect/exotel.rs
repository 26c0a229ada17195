//! The messages of Exotel's client.
//!
//! In:       the fields of a message.
//! Out:      its JSON text.
//! Bounds:   none of its own.
//! Not here: what comes down (`dialect::envelope`).
//!
//! Page agentstream/websocket-protocol: snake case, every value a string.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::{Dialect, object};

pub(super) fn connected() -> String {
    r#"{"event":"connected"}"#.to_string()
}

pub(super) fn start(dialect: &Dialect) -> String {
    let Dialect { ids, formats, numbers: [from, to], .. } = dialect;
    json!({
        "event": "start",
        "sequence_number": "1",
        "stream_sid": ids.stream,
        "start": {
            "stream_sid": ids.stream,
            "call_sid": ids.call,
            "account_sid": ids.account,
            "from": from,
            "to": to,
            "custom_parameters": object(&dialect.parameters),
            "media_format": {
                "encoding": "audio/x-raw",
                "sample_rate": formats.up.rate.to_string(),
                "bit_rate": "16",
            },
        },
    })
    .to_string()
}

pub(super) fn media(dialect: &Dialect, chunk: u64, timestamp_ms: u64, audio: &[u8]) -> String {
    let Dialect { ids, sequence, .. } = dialect;
    let mut text = String::with_capacity(192 + audio.len().div_ceil(3) * 4);
    write!(
        text,
        concat!(
            r#"{{"event":"media","sequence_number":"{}","stream_sid":"{}","media":{{"#,
            r#""chunk":"{}","timestamp":"{}","payload":""#
        ),
        sequence, ids.stream, chunk, timestamp_ms
    )
    .expect("writing to a string cannot fail");
    STANDARD.encode_string(audio, &mut text);
    text.push_str(r#""}}"#);
    text
}

pub(super) fn dtmf(dialect: &Dialect, digit: char) -> String {
    json!({
        "event": "dtmf",
        "sequence_number": dialect.sequence.to_string(),
        "stream_sid": dialect.ids.stream,
        "dtmf": { "digit": digit.to_string(), "duration": "100" },
    })
    .to_string()
}

pub(super) fn mark(dialect: &Dialect, name: &str) -> String {
    json!({
        "event": "mark",
        "sequence_number": dialect.sequence.to_string(),
        "stream_sid": dialect.ids.stream,
        "mark": { "name": name },
    })
    .to_string()
}

pub(super) fn stop(dialect: &Dialect) -> String {
    let Dialect { ids, sequence, .. } = dialect;
    json!({
        "event": "stop",
        "sequence_number": sequence.to_string(),
        "stream_sid": ids.stream,
        "stop": { "call_sid": ids.call, "account_sid": ids.account, "reason": "callended" },
    })
    .to_string()
}
