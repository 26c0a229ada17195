//! Whether what a model says to a tool is what the tool takes.
//!
//! In:       arguments, and the schema the model was given for them.
//! Out:      nothing, or what is wrong, in words the model can act on.
//! Bounds:   the depth of the schema, which the configuration bounds.
//! Not here: what the words mean to the tool: dates that do not exist, names nobody has.
//!
//! A model keeps to a schema most of the time. A service behind a webhook should not have to cope
//! with the rest.

use serde_json::Value;

/// Checks `value` against `schema`.
///
/// # Errors
/// A sentence that says what is wrong, and where.
pub(super) fn check(schema: &Value, value: &Value) -> Result<(), String> {
    check_part(schema, value, "The arguments")
}

fn check_part(schema: &Value, value: &Value, name: &str) -> Result<(), String> {
    let is_true = |word| schema.get(word).and_then(Value::as_bool) == Some(true);
    if value.is_null() && is_true("nullable") {
        return Ok(());
    }
    if let Some(choices) = schema.get("anyOf").and_then(Value::as_array) {
        let fits = choices.iter().any(|choice| check_part(choice, value, name).is_ok());
        return if fits {
            Ok(())
        } else {
            Err(format!("{name} has none of the forms it may have."))
        };
    }
    let wanted = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    let fits = match wanted.to_ascii_lowercase().as_str() {
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => true,
    };
    if !fits {
        return Err(format!("{name} must be of type {wanted}."));
    }
    check_choice(schema, value, name)?;
    check_size(schema, value, name)?;
    if let (Some(items), Value::Array(values)) = (schema.get("items"), value) {
        for (at, value) in values.iter().enumerate() {
            check_part(items, value, &format!("{name}[{at}]"))?;
        }
    }
    check_properties(schema, value)
}

fn check_choice(schema: &Value, value: &Value, name: &str) -> Result<(), String> {
    let Some(choices) = schema.get("enum").and_then(Value::as_array) else { return Ok(()) };
    if choices.contains(value) {
        return Ok(());
    }
    let listed: Vec<_> = choices.iter().filter_map(Value::as_str).collect();
    Err(format!("{name} must be one of: {}.", listed.join(", ")))
}

fn check_size(schema: &Value, value: &Value, name: &str) -> Result<(), String> {
    let (size, least, most) = match value {
        Value::String(text) => (Some(text.chars().count() as f64), "minLength", "maxLength"),
        Value::Array(items) => (Some(items.len() as f64), "minItems", "maxItems"),
        Value::Number(number) => (number.as_f64(), "minimum", "maximum"),
        _ => return Ok(()),
    };
    let bound = |word| schema.get(word).and_then(Value::as_f64);
    let Some(size) = size else { return Ok(()) };
    if bound(least).is_some_and(|least| size < least) {
        return Err(format!("{name} is too small, or too short."));
    }
    if bound(most).is_some_and(|most| size > most) {
        return Err(format!("{name} is too large, or too long."));
    }
    Ok(())
}

fn check_properties(schema: &Value, value: &Value) -> Result<(), String> {
    let Value::Object(values) = value else { return Ok(()) };
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    for name in required.filter_map(Value::as_str) {
        if !values.contains_key(name) {
            return Err(format!("The parameter {name} is missing: ask the caller for it."));
        }
    }
    let Some(known) = schema.get("properties").and_then(Value::as_object) else { return Ok(()) };
    for (name, schema) in known {
        if let Some(value) = values.get(name) {
            check_part(schema, value, &format!("The parameter {name}"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema() -> Value {
        json!({"type": "object", "required": ["day", "people"], "properties": {
            "day": {"type": "STRING", "maxLength": 10},
            "people": {"type": "integer", "minimum": 1, "maximum": 12},
            "area": {"type": "string", "enum": ["inside", "outside"]},
            "names": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
            "child": {"type": "boolean", "nullable": true},
            "when": {"anyOf": [{"type": "string"}, {"type": "number"}]}}})
    }

    #[test]
    fn arguments_that_fit_pass() {
        for fine in [
            json!({"day": "2026-12-01", "people": 4}),
            json!({"day": "", "people": 4.0, "area": "inside", "child": null, "when": 5}),
            json!({"day": "\u{0}\u{1b}", "people": 1, "names": ["a", "b"], "other": {"x": []}}),
        ] {
            assert_eq!(check(&schema(), &fine), Ok(()), "{fine}");
        }
    }

    #[test]
    fn arguments_that_do_not_are_told_by_the_name_of_the_parameter() {
        for (wrong, told) in [
            (json!({"people": 4}), "day is missing"),
            (json!({"day": 5, "people": 4}), "day must be of type"),
            (json!({"day": "x".repeat(11), "people": 4}), "day is too large"),
            (json!({"day": "a", "people": "4"}), "people must be of type"),
            (json!({"day": "a", "people": 4.5}), "people must be of type"),
            (json!({"day": "a", "people": 0}), "people is too small"),
            (json!({"day": "a", "people": 1e300}), "people is too large"),
            (json!({"day": "a", "people": 1, "area": "roof"}), "one of: inside, outside"),
            (json!({"day": "a", "people": 1, "names": ["a", 2]}), "names[1] must be of type"),
            (json!({"day": "a", "people": 1, "child": "no"}), "child must be of type"),
            (json!({"day": "a", "people": 1, "when": []}), "when has none of the forms"),
            (json!({"day": null, "people": 1}), "day must be of type"),
        ] {
            let error = check(&schema(), &wrong).unwrap_err();
            assert!(error.contains(told), "{error} for {wrong}");
        }
    }
}
