//! What carriers, browsers and the model say.

use serde_json::Value;
use vocaris::wire::browser;
use vocaris::wire::dialect::{self, Outbound, Sign, Told};
use vocaris::wire::gemini::{self, CloseClass};
use vocaris::wire::markup;
use vocaris::wire::twilio::{self, Inbound, MarkName};

/// Whatever we take is JSON by another reader too.
fn is_json(text: &str) {
    if let Err(why) = serde_json::from_str::<Value>(text) {
        panic!("taken, and refused by serde_json: {why}");
    }
}

/// A carrier's message.
pub(super) fn twilio(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(message) = twilio::decode(text) else { return };
    is_json(text);
    match message {
        Inbound::Media(media) => {
            let mut audio = Vec::new();
            if let Ok(decoded) = media.payload.decode_base64_append(&mut audio) {
                assert_eq!(decoded, audio.len());
                assert!(audio.len() <= text.len() * 3 / 4 + 3);
            }
        }
        Inbound::Start(start) => {
            for (name, value) in start.parameters.iter() {
                let name = name.to_cow();
                assert!(start.parameters.get(&name).is_some());
                drop(value.to_cow());
            }
        }
        Inbound::Mark { name } => {
            MarkName::parse(&name.to_cow());
        }
        Inbound::Connected
        | Inbound::Dtmf { .. }
        | Inbound::Stop
        | Inbound::Cleared
        | Inbound::Complaint
        | Inbound::Unknown => {}
    }
}

/// A message of any carrier, read in every dialect: the first byte tells nothing.
pub(super) fn dialects(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if !matches!(dialect::recognise(text), Sign::Stranger) {
        is_json(text);
    }
    for dialect in dialect::ALL {
        let Ok(message) = dialect.decode(text) else { continue };
        is_json(text);
        let Inbound::Start(start) = message else { continue };
        for (name, value) in start.parameters.iter() {
            let name = name.to_cow();
            assert!(start.parameters.get(&name).is_some(), "{name}");
            markup::from_hex(&value.to_cow());
        }
        let stream = start.stream_sid.to_cow();
        let outbound = Outbound::of(dialect, &stream, Told::MULAW_8K);
        let mut said = Vec::new();
        outbound.write_clear_json(&mut said);
        is_json(std::str::from_utf8(&said).expect("ours is UTF-8"));
        assert_eq!(said.len(), outbound.clear_json_len());
    }
}

/// A browser's message.
pub(super) fn browser(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if browser::decode(text).is_ok() {
        is_json(text);
    }
}

/// The model's message, or the reason of its close.
pub(super) fn gemini(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    CloseClass::of(Some(1011), text);
    let Ok(message) = gemini::decode(text) else { return };
    is_json(text);
    for part in message.audio_parts() {
        let mut audio = Vec::new();
        if let Ok(decoded) = part.base64.decode_base64_append(&mut audio) {
            assert_eq!(decoded, audio.len());
        }
    }
    for call in message.tool_calls() {
        is_json(call.args);
        drop(call.name.to_cow());
    }
    message.tool_cancellations().for_each(|id| drop(id.to_cow()));
}
