//! Plivo's messages, both ways.
//!
//! In:       the fields of a message; a message as it came.
//! Out:      its JSON text; an [`Order`].
//! Bounds:   none of its own.
//! Not here: when a `checkpoint` is reached (`carrier::playout`).
//!
//! Page audio-streaming-reference: only `start` opens the stream, numbers are numbers (but
//! `timestamp`, Unix milliseconds, is a string), `extra_headers` is text and comes with every
//! `media`. Whether `clearAudio` needs the stream's name is not said alike everywhere: both are
//! taken, another stream's name is not.

use std::borrow::Cow;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;

use super::{Dialect, Order, Violation, audio, mime, present};

/// The time at which every stream begins, in Unix milliseconds: 23 November 2026.
const EPOCH_MS: u64 = 1_795_392_000_000;

/// `name=value;name=value`, as the reference shows it.
fn extra_headers(dialect: &Dialect) -> String {
    let pairs = dialect.parameters.iter().map(|(name, value)| format!("{name}={value}"));
    pairs.collect::<Vec<_>>().join(";")
}

pub(super) fn start(dialect: &Dialect) -> String {
    let Dialect { ids, formats, .. } = dialect;
    json!({
        "event": "start",
        "sequenceNumber": 1,
        "start": {
            "callId": ids.call,
            "streamId": ids.stream,
            "accountId": ids.account,
            "tracks": ["inbound"],
            "mediaFormat": {
                "encoding": mime(formats.up, "audio/x-l16"),
                "sampleRate": formats.up.rate,
            },
        },
        "extra_headers": extra_headers(dialect),
    })
    .to_string()
}

pub(super) fn media(dialect: &Dialect, chunk: u64, timestamp_ms: u64, audio: &[u8]) -> String {
    let Dialect { ids, sequence, .. } = dialect;
    let mut text = String::with_capacity(256 + audio.len().div_ceil(3) * 4);
    write!(
        text,
        concat!(
            r#"{{"event":"media","sequenceNumber":{},"streamId":"{}","media":{{"#,
            r#""track":"inbound","timestamp":"{}","chunk":{},"payload":""#
        ),
        sequence,
        ids.stream,
        EPOCH_MS + timestamp_ms,
        chunk
    )
    .expect("writing to a string cannot fail");
    STANDARD.encode_string(audio, &mut text);
    // Letters, digits and hyphens alone: nothing to escape.
    write!(text, r#""}},"extra_headers":"{}"}}"#, extra_headers(dialect))
        .expect("writing to a string cannot fail");
    text
}

pub(super) fn dtmf(dialect: &Dialect, digit: char) -> String {
    json!({
        "event": "dtmf",
        "sequenceNumber": dialect.sequence,
        "streamId": dialect.ids.stream,
        "dtmf": { "track": "inbound", "digit": digit.to_string(), "timestamp": EPOCH_MS.to_string() },
        "extra_headers": extra_headers(dialect),
    })
    .to_string()
}

/// A checkpoint was played.
pub(super) fn played(dialect: &Dialect, name: &str) -> String {
    let Dialect { ids, sequence, .. } = dialect;
    json!({
        "event": "playedStream",
        "sequenceNumber": sequence,
        "streamId": ids.stream,
        "name": name,
    })
    .to_string()
}

pub(super) fn cleared(dialect: &Dialect) -> String {
    let Dialect { ids, sequence, .. } = dialect;
    json!({ "event": "clearedAudio", "sequenceNumber": sequence, "streamId": ids.stream })
        .to_string()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow, rename = "streamId", default, deserialize_with = "present")]
    stream_id: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    media: Option<Media<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    name: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Media<'a> {
    #[serde(borrow)]
    content_type: Cow<'a, str>,
    sample_rate: u32,
    #[serde(borrow)]
    payload: Cow<'a, str>,
}

pub(super) fn read(dialect: &Dialect, text: &str) -> Result<Order, Violation> {
    let message: Envelope<'_> = serde_json::from_str(text).map_err(|_| Violation::Shape)?;
    let own = message.stream_id.as_deref() == Some(&*dialect.ids.stream);
    if !matches!(&*message.event, "playAudio" | "checkpoint" | "clearAudio") {
        return Err(Violation::UnknownEvent);
    }
    if message.stream_id.is_some() && !own {
        return Err(Violation::WrongStreamId);
    }
    match (&*message.event, message.media, message.name) {
        ("playAudio", Some(media), None) if !own => {
            let down = dialect.formats.down;
            let told = (&*media.content_type, media.sample_rate);
            if told != (mime(down, "audio/x-l16"), down.rate) {
                return Err(Violation::WrongFormat);
            }
            audio(&media.payload)
        }
        ("checkpoint", None, Some(_)) if !own => Err(Violation::WrongStreamId),
        ("checkpoint", None, Some(name)) => Ok(Order::Mark(name.into_owned())),
        ("clearAudio", None, None) => Ok(Order::Clear),
        _ => Err(Violation::Shape),
    }
}
