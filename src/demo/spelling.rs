//! The two spellings of a name in ProtoJSON, `realtimeInput` and `realtime_input`: the service
//! takes both, and its client for Python mixes them within a message.
//!
//! In:       a message of a client.
//! Out:      the same, every name of the protocol spelled the first way.
//! Bounds:   the depth of the message, which its reader bounds.
//! Not here: which names there are (`demo::agent`).

use serde_json::{Map, Value};

/// Fields whose objects are a tool's or an application's: the names inside are theirs.
const FOREIGN: [&str; 3] = ["properties", "parametersJsonSchema", "response"];

/// Spells every name of the protocol as `realtimeInput` is.
pub(super) fn unify(message: &mut Value) {
    match message {
        Value::Object(fields) => {
            if fields.keys().any(|name| name.contains('_')) {
                let renamed = std::mem::take(fields).into_iter();
                *fields =
                    renamed.map(|(name, value)| (camel_case(&name), value)).collect::<Map<_, _>>();
            }
            let own = fields.iter_mut().filter(|(name, _)| !FOREIGN.contains(&name.as_str()));
            own.for_each(|(_, value)| unify(value));
        }
        Value::Array(items) => items.iter_mut().for_each(unify),
        _ => {}
    }
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_of_the_protocol_are_unified_and_those_of_tools_are_kept() {
        let mut message = json!({
            "tool_response": { "functionResponses": [
                { "will_continue": true, "response": { "free_times": { "a_b": 1 } } },
            ]},
            "setup": { "tools": [{ "function_declarations": [
                { "name": "book_it", "parameters": { "properties": { "day_of": {} } } },
            ]}]},
        });
        unify(&mut message);
        let unified = json!({
            "toolResponse": { "functionResponses": [
                { "willContinue": true, "response": { "free_times": { "a_b": 1 } } },
            ]},
            "setup": { "tools": [{ "functionDeclarations": [
                { "name": "book_it", "parameters": { "properties": { "day_of": {} } } },
            ]}]},
        });
        assert_eq!(message, unified);
    }
}
