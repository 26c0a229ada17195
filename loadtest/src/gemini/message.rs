//! The messages of the service: JSON in every form that clients were seen to get.
//!
//! In:       what is to be said, and the [`Dialect`] it is said in.
//! Out:      one JSON text.
//! Bounds:   none of its own.
//! Not here: their order (`gemini::session`), their frames (`gemini::server`).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::script::{Dialect, Usage};

/// What rides in one message with a piece of audio.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beside<'a> {
    /// The words of it.
    pub transcript: Option<&'a str>,
    /// Nothing more of this generation follows.
    pub generation_complete: bool,
    /// Nothing more of this turn follows.
    pub turn_complete: bool,
    /// What was said before is void.
    pub interrupted: bool,
}

/// A message with audio: PCM16 at 24 kHz, little endian.
pub fn audio(dialect: &Dialect, pcm: &[u8], beside: Beside<'_>) -> String {
    let mut text = String::with_capacity(224 + pcm.len() * 4 / 3);
    text.push_str(r#"{"serverContent":{"#);
    if beside.interrupted {
        text.push_str(r#""interrupted":true,"#);
    }
    text.push_str(r#""modelTurn":{"role":"model","parts":["#);
    let parts = dialect.parts.max(1);
    let piece = pcm.len().div_ceil(parts).next_multiple_of(2).max(2);
    for (number, piece) in pcm.chunks(piece).enumerate() {
        if number > 0 {
            text.push(',');
        }
        text.push_str(r#"{"inlineData":{"mimeType":"audio/pcm;rate=24000","data":""#);
        if dialect.url_safe {
            URL_SAFE_NO_PAD.encode_string(piece, &mut text);
        } else {
            STANDARD.encode_string(piece, &mut text);
        }
        text.push_str(r#""}}"#);
    }
    if dialect.unknown_fields {
        text.push_str(r#",{"hologram":{"frames":[1,2]}}"#);
    }
    text.push_str("]}");
    if let Some(transcript) = beside.transcript {
        text.push_str(r#","outputTranscription":"#);
        text.push_str(&json!({ "text": transcript }).to_string());
    }
    if beside.generation_complete {
        text.push_str(r#","generationComplete":true"#);
    }
    if beside.turn_complete {
        text.push_str(r#","turnComplete":true"#);
    }
    text.push('}');
    if dialect.usage != Usage::PerTurn || beside.turn_complete {
        text.push_str(r#","usageMetadata":"#);
        text.push_str(&usage(dialect).to_string());
    }
    text.push('}');
    text
}

/// `setupComplete`, with the first update in the same message if it is `bundled`.
pub fn setup_complete(dialect: &Dialect, bundled: Option<Value>) -> String {
    let mut message = json!({ "setupComplete": {} });
    if dialect.unknown_fields {
        message["setupComplete"]["regionalHint"] = json!("eu");
    }
    if let Some(update) = bundled {
        message["sessionResumptionUpdate"] = update;
    }
    message.to_string()
}

/// What a `sessionResumptionUpdate` holds.
pub fn update(dialect: &Dialect, handle: &str, number: u64, resumable: bool) -> Value {
    let mut update = json!({ "newHandle": handle, "resumable": resumable });
    if dialect.int64_strings {
        update["lastConsumedClientMessageIndex"] = json!(number.to_string());
    }
    if dialect.unknown_fields {
        update["shard"] = Value::Null;
    }
    update
}

/// One message of one kind, such as `sessionResumptionUpdate` or `goAway`.
pub fn of_kind(dialect: &Dialect, kind: &str, content: &Value) -> String {
    let mut message = json!({ kind: content });
    if dialect.unknown_fields {
        message["traceparent"] = json!(["00", { "sampled": true }]);
    }
    message.to_string()
}

/// `interrupted`, with audio in the same message where there is any.
pub fn interrupted(dialect: &Dialect, pcm: &[u8]) -> String {
    if pcm.is_empty() {
        return of_kind(dialect, "serverContent", &json!({ "interrupted": true }));
    }
    audio(dialect, pcm, Beside { interrupted: true, ..Beside::default() })
}

/// `generationComplete`.
pub fn generation_complete(dialect: &Dialect) -> String {
    of_kind(dialect, "serverContent", &json!({ "generationComplete": true }))
}

/// `turnComplete`, with the usage beside it.
pub fn turn_complete(dialect: &Dialect) -> String {
    let mut content = json!({ "turnComplete": true, "interactionStatus": "IDLE" });
    if dialect.unknown_enums {
        content["interactionStatus"] = json!("DAYDREAMING");
        content["turnCompleteReason"] = json!("FORGOT_WHAT_IT_WAS");
    }
    json!({ "serverContent": content, "usageMetadata": usage(dialect) }).to_string()
}

/// A message that no document knows.
pub fn unknown(dialect: &Dialect) -> Option<String> {
    let known = dialect.unknown_fields || dialect.unknown_enums;
    known.then(|| {
        json!({ "voiceActivity": { "type": "ACTIVITY_HUMMING", "audioOffset": "0.500s" },
                "weather": { "degrees": -1.5e2, "wind": [] } })
        .to_string()
    })
}

fn usage(dialect: &Dialect) -> Value {
    let count = |n: u64| if dialect.int64_strings { json!(n.to_string()) } else { json!(n) };
    match dialect.usage {
        Usage::PerTurn | Usage::PerChunk => json!({
            "promptTokenCount": count(120), "responseTokenCount": count(57),
            "totalTokenCount": count(177),
        }),
        Usage::PerChunkVertex => json!({
            "promptTokenCount": count(120), "candidatesTokenCount": count(57),
            "totalTokenCount": count(177), "trafficType": "ON_DEMAND",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn audio_comes_with_what_rides_beside_it() {
        let beside = Beside { transcript: Some("a\"b"), ..Beside::default() };
        let message = read(&audio(&Dialect::default(), &[1, 0, 0xFF, 0xFF], beside));
        let content = &message["serverContent"];
        assert_eq!(content["modelTurn"]["parts"][0]["inlineData"]["data"], "AQD//w==");
        assert_eq!(content["outputTranscription"]["text"], "a\"b");
        assert!(message["usageMetadata"].is_null());
        let message = read(&interrupted(&Dialect::default(), &[0, 0]));
        assert_eq!(message["serverContent"]["interrupted"], true);
        assert!(message["serverContent"]["modelTurn"]["parts"][0].is_object());
    }

    #[test]
    fn every_liberty_is_json_and_shows() {
        let dialect = Dialect {
            unknown_fields: true,
            unknown_enums: true,
            int64_strings: true,
            url_safe: true,
            odd_bytes: true,
            parts: 3,
            bundled: true,
            usage: Usage::PerChunkVertex,
        };
        let beside = Beside { generation_complete: true, ..Beside::default() };
        let message = read(&audio(&dialect, &[0xFB, 0xFF, 1, 0, 0xFE, 0xFF, 9], beside));
        let parts = message["serverContent"]["modelTurn"]["parts"].as_array().unwrap();
        let part = |n: usize| parts[n]["inlineData"]["data"].as_str().unwrap();
        assert_eq!((part(0), part(1)), ("-_8BAA", "_v8J"), "in pieces of whole samples");
        assert_eq!(message["usageMetadata"]["candidatesTokenCount"], "57");
        assert_eq!(message["serverContent"]["generationComplete"], true);
        let turn = read(&turn_complete(&dialect));
        assert_eq!(turn["serverContent"]["interactionStatus"], "DAYDREAMING");
        let update = update(&dialect, "h", 17, true);
        assert_eq!(update["lastConsumedClientMessageIndex"], "17");
        let ready = read(&setup_complete(&dialect, Some(update)));
        assert_eq!(ready["sessionResumptionUpdate"]["newHandle"], "h");
        assert!(read(&unknown(&dialect).unwrap())["weather"].is_object());
    }
}
