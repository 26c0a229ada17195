//! What we say to the model after `setup`.
//!
//! In:       PCM, words, answers of functions.
//! Out:      one JSON text per message, exactly one kind of message in each.
//! Bounds:   [`TOOL_RESPONSE_BYTES_MAX`]; audio of any length, 20 to 40 ms is what Google advises.
//! Not here: `setup`, when each message is due (`call`).

use serde_json::{Map, Value, json};

use super::super::base64;
use super::super::json::{LenBytes, Sink};
use super::setup::Scheduling;
use crate::config::{Greeting, ModelRules};

/// Bytes of a whole `toolResponse`: larger ones were answered with 1011. An answer that would be
/// longer is replaced by an error that says so.
pub const TOOL_RESPONSE_BYTES_MAX: usize = 8_000;

/// The target of the upgrade request on the Developer API.
pub fn request_target(api_version: &str) -> String {
    format!("/ws/google.ai.generativelanguage.{api_version}.GenerativeService.BidiGenerateContent")
}

/// The target of the upgrade request on Vertex: a slash stands before the method there.
pub fn vertex_target(api_version: &str) -> String {
    format!("/ws/google.cloud.aiplatform.{api_version}.LlmBidiService/BidiGenerateContent")
}

/// The full name of `model` on Vertex. `project`: `None` with an express key, which names none.
pub fn vertex_model(project: Option<&str>, location: &str, model: &str) -> String {
    let name = model.rsplit('/').next().unwrap_or(model);
    match project {
        Some(project) => {
            format!("projects/{project}/locations/{location}/publishers/google/models/{name}")
        }
        None => format!("publishers/google/models/{name}"),
    }
}

/// Length of the message that carries `pcm_bytes` bytes of audio.
pub fn audio_json_len(rate_hz: u32, pcm_bytes: usize) -> usize {
    let mut head = LenBytes::default();
    put_audio_head(rate_hz, &mut head);
    head.0 + base64::encode_len(pcm_bytes) + AUDIO_TAIL.len()
}

/// Appends the message that carries `pcm_le`: 16-bit, little-endian, mono. The server takes any
/// rate and converts it to its own 16 kHz.
pub fn write_audio_json(rate_hz: u32, pcm_le: &[u8], out: &mut Vec<u8>) {
    out.reserve(audio_json_len(rate_hz, pcm_le.len()));
    put_audio_head(rate_hz, out);
    base64::encode_append(pcm_le, out);
    out.put(AUDIO_TAIL);
}

const AUDIO_TAIL: &[u8] = br#""}}}"#;

fn put_audio_head(rate_hz: u32, sink: &mut impl Sink) {
    sink.put(br#"{"realtimeInput":{"audio":{"mimeType":"audio/pcm;rate="#);
    sink.put_decimal(rate_hz.into());
    sink.put(br#"","data":""#);
}

/// The stream of audio pauses for more than a second: flushes what the server holds. The next
/// audio opens it again.
pub fn audio_stream_end_json() -> &'static str {
    r#"{"realtimeInput":{"audioStreamEnd":true}}"#
}

/// Asks `model` to speak first, moved by `text`, which the caller has not said.
pub fn greeting_json(model: &str, text: &str) -> String {
    match ModelRules::of(model).greeting {
        Greeting::ClientContent => {
            let turn = json!({"role": "user", "parts": [{"text": text}]});
            json!({"clientContent": {"turns": [turn], "turnComplete": true}}).to_string()
        }
        Greeting::RealtimeText => text_json(text),
    }
}

/// Tells `model` what happened before, without asking for an answer. `None`: this model takes it
/// only in the system text of its setup.
pub fn seed_json(model: &str, text: &str) -> Option<String> {
    match ModelRules::of(model).greeting {
        Greeting::ClientContent => {
            let turn = json!({"role": "user", "parts": [{"text": text}]});
            Some(json!({"clientContent": {"turns": [turn], "turnComplete": false}}).to_string())
        }
        Greeting::RealtimeText => None,
    }
}

/// What the caller typed. It counts as activity of the user, as speech would.
pub fn text_json(text: &str) -> String {
    json!({"realtimeInput": {"text": text}}).to_string()
}

/// The answer of a function: what it found.
///
/// `id`: as the call had it; a call without one is answered without one. `scheduling`: only where
/// the model takes it ([`ModelRules::scheduling`]) and did not wait.
pub fn tool_output_json(
    id: Option<&str>,
    name: &str,
    output: &Value,
    scheduling: Option<Scheduling>,
) -> String {
    let message = tool_response_json(id, name, json!({ "output": output }), scheduling);
    if message.len() > TOOL_RESPONSE_BYTES_MAX {
        return tool_error_json(id, name, "the answer is too long");
    }
    message
}

/// The answer of a function: why it could not do it.
pub fn tool_error_json(id: Option<&str>, name: &str, message: &str) -> String {
    tool_response_json(id, name, json!({ "error": message }), None)
}

fn tool_response_json(
    id: Option<&str>,
    name: &str,
    response: Value,
    scheduling: Option<Scheduling>,
) -> String {
    let mut answer = Map::new();
    if let Some(id) = id {
        answer.insert("id".into(), id.into());
    }
    answer.insert("name".into(), name.into());
    answer.insert("response".into(), response);
    if let Some(scheduling) = scheduling {
        answer.insert("scheduling".into(), scheduling.name().into());
    }
    json!({"toolResponse": {"functionResponses": [answer]}}).to_string()
}
