//! What carriers, browsers and the model say.

use serde_json::Value;
use vocaris::wire::browser;
use vocaris::wire::gemini::{self, CloseClass};
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
        Inbound::Connected | Inbound::Dtmf { .. } | Inbound::Stop | Inbound::Unknown => {}
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
