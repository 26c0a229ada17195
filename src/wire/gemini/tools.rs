//! What the model is told of tools: their declarations, and what came of them.
//!
//! In:       schemas as they were written, results as JSON.
//! Out:      schemas in the service's own words; answers in ASCII, of bounded length.
//! Bounds:   [`TOOL_RESPONSE_BYTES_MAX`](super::TOOL_RESPONSE_BYTES_MAX) for a whole message.
//! Not here: running tools (`control::tools`), which call is answered when (`call::tools`).
//!
//! Answers of odd form or length were answered with 1011: so they are plain, small, and ASCII.

use serde_json::{Map, Value, json};

/// One answer in a `toolResponse`.
#[derive(Clone, Copy, Debug)]
pub struct FunctionResponse<'a> {
    /// As the call had it; a call without one is answered without one.
    pub id: Option<&'a str>,
    /// The function.
    pub name: &'a str,
    /// What came of it: of [`tool_output`] or [`tool_error`].
    pub response: &'a str,
    /// Only where the model takes it and did not wait.
    pub scheduling: Option<super::Scheduling>,
}

/// The message that answers these calls.
pub fn tool_responses_json(responses: &[FunctionResponse<'_>]) -> String {
    let mut message = r#"{"toolResponse":{"functionResponses":["#.to_owned();
    for (at, answer) in responses.iter().enumerate() {
        message.push_str(if at == 0 { "{" } else { ",{" });
        if let Some(id) = answer.id {
            message.push_str("\"id\":");
            message.push_str(&ascii(&json!(id)));
            message.push(',');
        }
        message.push_str("\"name\":");
        message.push_str(&ascii(&json!(answer.name)));
        message.push_str(",\"response\":");
        message.push_str(answer.response);
        if let Some(scheduling) = answer.scheduling {
            message.push_str(",\"scheduling\":\"");
            message.push_str(scheduling.name());
            message.push('"');
        }
        message.push('}');
    }
    message.push_str("]}}");
    message
}

/// What a function found, in at most `bytes_max` bytes. What is longer is cut, and says so.
pub fn tool_output(output: &Value, bytes_max: usize) -> String {
    let whole = ascii(&json!({ "output": output }));
    if whole.len() <= bytes_max {
        return whole;
    }
    let text = output.as_str().map_or_else(|| output.to_string(), str::to_owned);
    // Each character takes at most six bytes in the text, and twelve outside the first plane.
    let mut kept = text.len().min(bytes_max);
    loop {
        let beginning = &text[..text.floor_char_boundary(kept)];
        let cut = json!({"output": {"cut_off": true, "beginning": beginning}});
        let cut = ascii(&cut);
        if cut.len() <= bytes_max || kept == 0 {
            return cut;
        }
        kept -= (kept / 4).max(1);
    }
}

/// Why a function could not do it, in a sentence the model can pass on. `details`: what it said
/// itself.
pub fn tool_error(message: &str, details: Option<&Value>, bytes_max: usize) -> String {
    let detailed = details.map(|details| ascii(&json!({"error": message, "details": details})));
    match detailed.filter(|detailed| detailed.len() <= bytes_max) {
        Some(detailed) => detailed,
        None => ascii(&json!({ "error": message })),
    }
}

/// JSON without a byte above 0x7E: everything else is written as `\u` and four digits.
fn ascii(value: &Value) -> String {
    let text = value.to_string();
    if text.bytes().all(|byte| byte < 0x7f) {
        return text;
    }
    let mut plain = String::with_capacity(text.len() * 2);
    // Whatever is not ASCII stands inside a string.
    for character in text.chars() {
        match character {
            ' '..='~' => plain.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    plain.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    plain
}

/// A schema in the words of the service: the names of types in capitals, and nothing for an object
/// without properties, which it refuses.
pub(super) fn declared_schema(schema: &Value) -> Option<Value> {
    let is_empty = |value: &Value| value.as_object().is_none_or(Map::is_empty);
    let properties = schema.get("properties").filter(|properties| !is_empty(properties));
    properties.map(|_| in_capitals(schema))
}

fn in_capitals(schema: &Value) -> Value {
    let Value::Object(words) = schema else { return schema.clone() };
    let words = words.iter().map(|(word, value)| {
        let value = match (word.as_str(), value) {
            ("type", Value::String(name)) => name.to_ascii_uppercase().into(),
            ("items", part) => in_capitals(part),
            ("anyOf", Value::Array(parts)) => parts.iter().map(in_capitals).collect(),
            ("properties", Value::Object(parts)) => {
                let parts = parts.iter().map(|(name, part)| (name.clone(), in_capitals(part)));
                Value::Object(parts.collect())
            }
            (_, other) => other.clone(),
        };
        (word.clone(), value)
    });
    Value::Object(words.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_ascii_and_means_the_same() {
        let output = json!({"when": "Dienstag, fünf Uhr \u{1F600}\u{7f}\u{2028}", "n": [1, null]});
        let told = tool_output(&output, 7_000);
        assert!(told.is_ascii() && !told.contains('\u{7f}'), "{told}");
        let read: Value = serde_json::from_str(&told).unwrap();
        assert_eq!(read, json!({ "output": output }));
    }

    #[test]
    fn an_answer_too_long_is_cut_and_stays_json_at_any_bound() {
        for text in ["x".repeat(50_000), "ü".repeat(20_000), "\u{1F600}\"\\\n".repeat(9_000)] {
            for bytes_max in [64, 100, 1_000, 7_000] {
                let told = tool_output(&json!({ "text": text }), bytes_max);
                assert!(told.len() <= bytes_max && told.is_ascii(), "{}", told.len());
                let read: Value = serde_json::from_str(&told).unwrap();
                assert_eq!(read["output"]["cut_off"], true);
            }
        }
        assert_eq!(tool_error("no", Some(&json!("y".repeat(900))), 500), r#"{"error":"no"}"#);
    }

    #[test]
    fn hostile_ids_and_names_stay_inside_their_strings() {
        let hostile = "\"},{\"\u{0}\nü";
        let message = tool_responses_json(&[
            FunctionResponse { id: Some(hostile), name: hostile, response: "{}", scheduling: None },
            FunctionResponse {
                id: None,
                name: "b",
                response: r#"{"error":"x"}"#,
                scheduling: Some(super::super::Scheduling::WhenIdle),
            },
        ]);
        let read: Value = serde_json::from_str(&message).unwrap();
        let wanted = json!([
            {"id": hostile, "name": hostile, "response": {}},
            {"name": "b", "response": {"error": "x"}, "scheduling": "WHEN_IDLE"},
        ]);
        assert_eq!(read["toolResponse"]["functionResponses"], wanted);
    }

    #[test]
    fn a_schema_is_declared_in_the_services_words() {
        let written = json!({"type": "object", "properties": {
            "type": {"type": "string", "enum": ["string", "b"]},
            "list": {"type": "array", "items": {"type": "integer"}},
            "either": {"anyOf": [{"type": "number"}, {"type": "string"}]}}, "required": ["type"]});
        let declared = json!({"type": "OBJECT", "properties": {
            "type": {"type": "STRING", "enum": ["string", "b"]},
            "list": {"type": "ARRAY", "items": {"type": "INTEGER"}},
            "either": {"anyOf": [{"type": "NUMBER"}, {"type": "STRING"}]}}, "required": ["type"]});
        assert_eq!(declared_schema(&written), Some(declared));
        for nothing in [json!({"type": "object"}), json!({"type": "object", "properties": {}})] {
            assert_eq!(declared_schema(&nothing), None);
        }
    }
}
