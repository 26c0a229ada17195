//! The JSON cursor beside serde_json.

use serde_json::Value;
use vocaris::wire::json::{JsonError, Kind, Scanner};

/// What the cursor takes, serde_json takes too, and means the same by it.
pub(super) fn both_readers(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let ours = read(text);
    let mut scanner = Scanner::new(text);
    let skipped = scanner.skip().and_then(|_| scanner.finish());
    assert_eq!(ours.is_ok(), skipped.is_ok(), "reading and skipping differ");
    let Ok(ours) = ours else { return };
    match serde_json::from_str::<Value>(text) {
        Ok(theirs) => assert_eq!(ours, theirs),
        Err(why) => panic!("taken, and refused by serde_json: {why}"),
    }
}

fn read(text: &str) -> Result<Value, JsonError> {
    let mut scanner = Scanner::new(text);
    let value = read_value(&mut scanner)?;
    scanner.finish()?;
    Ok(value)
}

fn read_value(scanner: &mut Scanner<'_>) -> Result<Value, JsonError> {
    Ok(match scanner.kind()? {
        Kind::Object => {
            let mut members = serde_json::Map::new();
            scanner.enter_object()?;
            while let Some(key) = scanner.next_key()? {
                members.insert(key.to_cow().into_owned(), read_value(scanner)?);
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
        Kind::Text => Value::String(scanner.text()?.to_cow().into_owned()),
        Kind::Number => {
            let raw = scanner.raw(Kind::Number)?;
            serde_json::from_str(raw).unwrap_or_else(|_| panic!("serde_json refuses {raw}"))
        }
        Kind::Bool => Value::Bool(scanner.boolean()?),
        Kind::Null => {
            scanner.optional(Scanner::text)?;
            Value::Null
        }
    })
}
