//! The messages of Twilio's client: `connected`, `start`, `media`, `dtmf`, `mark`, `stop`.
//!
//! In:       the fields of a message.
//! Out:      its JSON text, numbers as decimal strings where Twilio writes strings.
//! Bounds:   none of its own.
//! Not here: when a message leaves (`twilio::phone`).

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

/// The identifiers of one call and its stream.
#[derive(Clone, Debug)]
pub struct Sids {
    /// `AC` and 32 hex digits.
    pub account: String,
    /// `CA` and 32 hex digits.
    pub call: String,
    /// `MZ` and 32 hex digits.
    pub stream: String,
}

impl Sids {
    /// Identifiers that differ for every `(run, index)` and are the same for the same pair.
    pub fn of(run: u64, index: usize) -> Sids {
        let hex = format!("{run:016x}{index:016x}");
        Sids {
            account: format!("AC{:032x}", 1),
            call: format!("CA{hex}"),
            stream: format!("MZ{hex}"),
        }
    }
}

/// The first message.
pub fn connected() -> String {
    r#"{"event":"connected","protocol":"Call","version":"1.0.0"}"#.to_string()
}

/// The second message.
pub fn start(sids: &Sids, parameters: &[(String, String)]) -> String {
    let parameters: serde_json::Map<_, _> =
        parameters.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    json!({
        "event": "start",
        "sequenceNumber": "1",
        "start": {
            "accountSid": sids.account,
            "streamSid": sids.stream,
            "callSid": sids.call,
            "tracks": ["inbound"],
            "mediaFormat": { "encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1 },
            "customParameters": parameters,
        },
        "streamSid": sids.stream,
    })
    .to_string()
}

/// A piece of caller audio. `timestamp_ms`: when it was spoken, since the stream began.
pub fn media(sids: &Sids, sequence: u64, chunk: u64, timestamp_ms: u64, audio: &[u8]) -> String {
    let mut text = String::with_capacity(192 + audio.len() * 4 / 3);
    write!(
        text,
        concat!(
            r#"{{"event":"media","sequenceNumber":"{}","media":{{"track":"inbound","#,
            r#""chunk":"{}","timestamp":"{}","payload":""#
        ),
        sequence, chunk, timestamp_ms
    )
    .expect("writing to a string cannot fail");
    STANDARD.encode_string(audio, &mut text);
    text.push_str(r#""},"streamSid":""#);
    text.push_str(&sids.stream);
    text.push_str(r#""}"#);
    text
}

/// A key was pressed.
pub fn dtmf(sids: &Sids, sequence: u64, digit: char) -> String {
    json!({
        "event": "dtmf",
        "streamSid": sids.stream,
        "sequenceNumber": sequence.to_string(),
        "dtmf": { "track": "inbound_track", "digit": digit.to_string() },
    })
    .to_string()
}

/// A mark has been reached, or thrown away by `clear`.
pub fn mark(sids: &Sids, sequence: u64, name: &str) -> String {
    json!({
        "event": "mark",
        "sequenceNumber": sequence.to_string(),
        "streamSid": sids.stream,
        "mark": { "name": name },
    })
    .to_string()
}

/// The last message.
pub fn stop(sids: &Sids, sequence: u64) -> String {
    json!({
        "event": "stop",
        "sequenceNumber": sequence.to_string(),
        "streamSid": sids.stream,
        "stop": { "accountSid": sids.account, "callSid": sids.call },
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_strings_where_twilio_writes_strings() {
        let sids = Sids::of(7, 3);
        let text = media(&sids, 2, 1, 62, &[0xFF; 160]);
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["sequenceNumber"], "2");
        assert_eq!(read["media"]["chunk"], "1");
        assert_eq!(read["media"]["timestamp"], "62");
        assert_eq!(read["media"]["payload"].as_str().unwrap().len(), 216);
        assert_eq!(read["streamSid"], sids.stream.as_str());
        let read: serde_json::Value = serde_json::from_str(&start(&sids, &[])).unwrap();
        assert_eq!(read["start"]["mediaFormat"]["sampleRate"], 8000);
        assert_eq!(sids.call.len(), 34);
    }
}
