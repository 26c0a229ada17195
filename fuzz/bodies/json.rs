//! The JSON cursor beside serde_json, an independent reader: what the cursor takes, serde_json
//! takes too and with the same meaning; what serde_json takes, the cursor takes, but for two stated
//! bounds, depth and magnitude.

use serde_json::{Map, Value};
use vocaris::wire::json::{JSON_DEPTH_MAX, JsonError, Kind, NUMBER_MAX, Scanner};

/// Reads a whole text with the cursor, every value of it.
fn read(text: &str) -> Result<Value, JsonError> {
    let mut scanner = Scanner::new(text);
    let value = read_value(&mut scanner)?;
    scanner.finish()?;
    Ok(value)
}

fn read_value(scanner: &mut Scanner<'_>) -> Result<Value, JsonError> {
    Ok(match scanner.kind()? {
        Kind::Object => {
            let mut members = Map::new();
            scanner.enter_object()?;
            while let Some(key) = scanner.next_key()? {
                let value = read_value(scanner)?;
                members.insert(key.to_cow().into_owned(), value);
            }
            Value::Object(members)
        }
        Kind::Array => {
            let mut items = Vec::new();
            scanner.enter_array()?;
            while scanner.next_item()? {
                items.push(read_value(scanner)?);
            }
            Value::Array(items)
        }
        Kind::Text => {
            let text = scanner.text()?;
            let mut unescaped = String::from("+");
            text.unescape_into(&mut unescaped);
            assert_eq!(unescaped[1..], *text.to_cow());
            assert!(text == *text.to_cow(), "a text equals what it stands for");
            Value::String(text.to_cow().into_owned())
        }
        Kind::Number => {
            let raw = scanner.raw(Kind::Number)?;
            serde_json::from_str(raw).unwrap_or_else(|_| panic!("serde_json refuses {raw}"))
        }
        Kind::Bool => Value::Bool(scanner.boolean()?),
        Kind::Null => {
            assert_eq!(scanner.optional(Scanner::text)?, None);
            Value::Null
        }
    })
}

/// Reads a whole text in one step.
pub(super) fn skip(text: &str) -> Result<&str, JsonError> {
    let mut scanner = Scanner::new(text);
    let raw = scanner.skip()?;
    scanner.finish()?;
    Ok(raw)
}

/// The deepest nesting that brackets outside strings could make.
fn brackets(text: &str) -> usize {
    text.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count()
}

/// The magnitude of the number at `at`.
fn magnitude(text: &str, at: usize) -> f64 {
    let rest = &text[at..];
    let end = rest.find(|c: char| !"+-.eE0123456789".contains(c)).unwrap_or(rest.len());
    rest[..end].parse::<f64>().map_or(0.0, f64::abs)
}

/// Both readers on one text; says whether they took it.
pub(super) fn agree(text: &str) -> bool {
    let ours = read(text);
    let skipped = skip(text);
    let theirs = serde_json::from_str::<Value>(text);
    assert_eq!(ours.is_ok(), skipped.is_ok(), "reading and skipping differ on {text:?}");
    if let Ok(raw) = skipped {
        assert_eq!(raw, text.trim_matches([' ', '\t', '\n', '\r']));
    }
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => {
            assert_eq!(ours, theirs, "{text:?}");
            true
        }
        (Ok(_), Err(error)) => panic!("taken, but serde_json says {error}: {text:?}"),
        (Err(error), Ok(_)) => {
            let stated = match error {
                JsonError::TooDeep { .. } => brackets(text) > JSON_DEPTH_MAX as usize,
                JsonError::BadNumber { at } => magnitude(text, at) > NUMBER_MAX,
                _ => false,
            };
            assert!(stated, "refused with {error:?}, but serde_json takes {text:?}");
            false
        }
        (Err(_), Err(_)) => false,
    }
}
