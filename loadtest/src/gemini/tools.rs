//! Tool calls of the model: what stands in their arguments, and which of them a result is of.
//!
//! In:       a script's arguments; what was asked for, and a result.
//! Out:      arguments; the call.
//! Bounds:   those of the script and the record.
//! Not here: asking and answering (`gemini::session`), the shape of results (`gemini::protocol`).

use serde_json::Value;

use super::protocol::ToolResult;
use super::record::Asked;
use crate::bookings;

/// The call that a result is of.
pub(super) fn asked_for<'a>(tools: &'a mut [Asked], result: &ToolResult) -> Option<&'a mut Asked> {
    tools
        .iter_mut()
        .filter(|asked| asked.name == result.name && asked.answer.is_none() && !asked.withdrawn)
        .find(|asked| match &result.id {
            Some(id) => asked.told_id && asked.id == *id,
            None => !asked.told_id,
        })
}

/// Arguments with the number of the conversation and of the request in place of `{call}`, `{n}`,
/// and a date and time that no other request has in place of `{date}`, `{time}`.
pub(super) fn filled_in(args: &Value, call: usize, n: u32) -> Value {
    match args {
        Value::String(text) => {
            let (date, time) = bookings::slot(call, n);
            let text = text.replace("{call}", &call.to_string()).replace("{n}", &n.to_string());
            Value::String(text.replace("{date}", &date).replace("{time}", &time))
        }
        Value::Array(items) => items.iter().map(|item| filled_in(item, call, n)).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), filled_in(value, call, n)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Null => Value::Object(serde_json::Map::new()),
        other => other.clone(),
    }
}
