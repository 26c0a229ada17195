//! The two forms of a log line: text for people, JSON for machines. Each is one line, whatever a
//! peer has put into it.
//!
//! In:       what is logged: `key=value` pairs, or a sentence, or pairs and then a sentence.
//! Out:      text: `time LEVEL target message`. JSON: `ts` (RFC 3339), `level`, `target`, then
//!           `call`, `event` and `fields` where there are such pairs, and `message` for the rest.
//! Bounds:   the line's own length; a character more for each that is escaped.
//! Not here: what is said of a call (`control::call_log`), where lines go (`server::log_lines`).
//!
//! Pairs are read back out of the message, so that a line is written once for both forms. That is
//! safe because whoever writes a pair quotes and escapes what a peer told: a value cannot look like
//! the next pair. What is no pair is no loss either: it is the `message`.

use std::fmt::Write as _;

use jiff::Timestamp;
use log::{Level, Record};
use serde_json::{Map, Value};

/// Keys whose values are counts or measures. All others are texts, also where they look like a
/// number: a type must not depend on what a caller calls himself.
const NUMBERS: [&str; 12] = [
    "attempt",
    "barge_ins",
    "calls",
    "code",
    "count",
    "late",
    "left_out",
    "measured",
    "rate_hz",
    "status",
    "bytes",
    "lost",
];

/// A line for people, its line feed included. `colored`: the level stands out.
pub fn text(at: Timestamp, record: &Record<'_>, colored: bool) -> String {
    let mut line = format!("{at:.3} ");
    let level = record.level();
    let color = match level {
        Level::Error => "31",
        Level::Warn => "33",
        Level::Info => "32",
        Level::Debug => "34",
        Level::Trace => "36",
    };
    // Writing to a string cannot fail.
    let _ = match colored {
        true => write!(line, "\u{1b}[{color}m{level:<5}\u{1b}[0m"),
        false => write!(line, "{level:<5}"),
    };
    let _ = write!(line, " {} ", record.target());
    for character in record.args().to_string().chars() {
        match breaks_a_line(character) {
            true => line.extend(character.escape_default()),
            false => line.push(character),
        }
    }
    line.push('\n');
    line
}

/// A line for machines, its line feed included.
pub fn json(at: Timestamp, record: &Record<'_>) -> String {
    let message = record.args().to_string();
    let (pairs, rest) = pairs(&message);
    let mut line = Map::new();
    let mut fields = Map::new();
    for (key, value) in pairs {
        match key {
            "call" | "event" => line.insert(key.to_owned(), Value::String(value)),
            _ => fields.insert(key.to_owned(), typed(key, value)),
        };
    }
    let head = [
        ("ts", format!("{at:.6}")),
        ("level", record.level().to_string()),
        ("target", record.target().to_owned()),
    ];
    // The order they are read in best; a map of its own would sort them.
    let mut text = String::from("{");
    let head = head.into_iter().map(|(key, value)| (key, Value::String(value)));
    let event = ["event", "call"].into_iter().filter_map(|key| Some((key, line.remove(key)?)));
    let fields = (!fields.is_empty()).then_some(("fields", Value::Object(fields)));
    let rest = (!rest.is_empty()).then(|| ("message", Value::String(rest.to_owned())));
    for (at, (key, value)) in head.chain(event).chain(fields).chain(rest).enumerate() {
        let comma = if at == 0 { "" } else { "," };
        let _ = write!(text, "{comma}\"{key}\":{value}");
    }
    text.push_str("}\n");
    text
}

/// Whether a terminal or a reader of lines would take this for more than a character.
fn breaks_a_line(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
}

fn typed(key: &str, value: String) -> Value {
    if !NUMBERS.contains(&key) && !key.ends_with("_ms") {
        return Value::String(value);
    }
    value.parse::<u64>().map(Value::from).unwrap_or(Value::String(value))
}

/// The pairs at the front of a message, and what is behind them. A key comes once: what follows its
/// second coming is no pair.
fn pairs(message: &str) -> (Vec<(&str, String)>, &str) {
    let mut pairs: Vec<(&str, String)> = Vec::new();
    let mut rest = message;
    while let Some(Pair { key, value, behind, is_last }) = pair(rest) {
        if pairs.iter().any(|&(known, _)| known == key) {
            break;
        }
        pairs.push((key, value));
        rest = behind;
        if is_last {
            break;
        }
    }
    (pairs, rest)
}

/// A pair, and what is behind it and its space.
struct Pair<'t> {
    key: &'t str,
    value: String,
    behind: &'t str,
    /// A colon ended it: behind it is a sentence.
    is_last: bool,
}

/// The pair at the front of `text`.
fn pair(text: &str) -> Option<Pair<'_>> {
    let (key, behind) = text.split_once('=')?;
    let is_key = !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if !is_key {
        return None;
    }
    let (value, behind) = match behind.strip_prefix('"') {
        Some(quoted) => unquoted(quoted)?,
        None => {
            let end = behind.find(' ').unwrap_or(behind.len());
            let end = if behind[..end].ends_with(':') { end - 1 } else { end };
            (behind[..end].to_owned(), &behind[end..])
        }
    };
    let (behind, is_last) = match behind.strip_prefix(':') {
        Some(sentence) => (sentence, true),
        None => (behind, false),
    };
    Some(Pair { key, value, behind: behind.strip_prefix(' ').unwrap_or(behind), is_last })
}

/// The value up to the closing quote, its escapes undone as `escape_debug` makes them, and what is
/// behind it; `None`: there is no such quote, or an escape is none.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut rest = text;
    loop {
        let mut characters = rest.chars();
        match characters.next()? {
            '"' => return Some((value, characters.as_str())),
            '\\' => {
                let escaped = characters.next()?;
                rest = characters.as_str();
                value.push(match escaped {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    '0' => '\0',
                    'u' => {
                        let (code, behind) = rest.strip_prefix('{')?.split_once('}')?;
                        rest = behind;
                        char::from_u32(u32::from_str_radix(code, 16).ok()?)?
                    }
                    '"' | '\'' | '\\' => escaped,
                    _ => return None,
                });
            }
            other => {
                value.push(other);
                rest = characters.as_str();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AT: Timestamp = Timestamp::constant(1_795_430_400, 123_456_789);

    fn as_json(message: &str) -> Value {
        let record = Record::builder().level(Level::Warn).target("twilio").build();
        let args = format_args!("{message}");
        let line = json(AT, &record.to_builder().args(args).build());
        assert!(line.ends_with('\n') && line.matches('\n').count() == 1, "{line:?}");
        serde_json::from_str(&line).unwrap_or_else(|why| panic!("{why}: {line}"))
    }

    fn as_text(message: &str) -> String {
        let record = Record::builder().level(Level::Info).target("web").build();
        text(AT, &record.to_builder().args(format_args!("{message}")).build(), false)
    }

    #[test]
    fn pairs_become_fields_and_a_sentence_stays_a_message() {
        let told =
            as_json("call=2a event=opened call_sid=\"x \\\"y\\\" \\n\" from=112 rate_hz=8000");
        assert_eq!(
            (&told["ts"], &told["level"]),
            (&"2026-11-23T10:40:00.123456Z".into(), &"WARN".into())
        );
        assert_eq!((&told["call"], &told["event"]), (&"2a".into(), &"opened".into()));
        assert_eq!(told["fields"]["call_sid"], "x \"y\" \n");
        assert_eq!(told["fields"]["from"], "112", "a caller's name is a text");
        assert_eq!(told["fields"]["rate_hz"], 8_000);
        assert_eq!(told["message"], Value::Null);
        let told = as_json("event=draining calls=3: no more are taken");
        assert_eq!(
            (&told["fields"]["calls"], &told["message"]),
            (&3.into(), &"no more are taken".into())
        );
        let told = as_json("call=2a event=no_line after_ms=5: event=opened (says the model)");
        assert_eq!(told["message"], "event=opened (says the model)");
        let told = as_json("listening on 127.0.0.1:8080");
        assert_eq!(told["message"], "listening on 127.0.0.1:8080");
        assert_eq!((&told["event"], &told["fields"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn a_pair_that_comes_again_changes_nothing_that_was_told() {
        let told = as_json("call=2a event=ended reason=a call=ff event=opened");
        assert_eq!((&told["call"], &told["event"]), (&"2a".into(), &"ended".into()));
        assert_eq!(told["message"], "call=ff event=opened");
    }

    #[test]
    fn a_line_for_people_is_one_line_and_moves_no_cursor() {
        let line = as_text("event=x\nlevel=ERROR\u{1b}[2J\u{2028}");
        assert_eq!(
            line,
            "2026-11-23T10:40:00.123Z INFO  web event=x\\nlevel=ERROR\\u{1b}[2J\\u{2028}\n"
        );
    }

    proptest! {
        #[test]
        fn whatever_a_peer_tells_the_line_is_json_and_the_fields_are_ours(told in ".*") {
            let shown = told.escape_debug();
            let line = as_json(&format!("call=2a event=opened call_sid=\"{shown}\" rate_hz=1"));
            prop_assert_eq!(&line["fields"]["call_sid"], &Value::String(told.clone()));
            prop_assert_eq!(&line["event"], "opened");
            prop_assert_eq!(&line["fields"]["rate_hz"], 1);
            as_json(&told);
            prop_assert_eq!(as_text(&told).matches('\n').count(), 1);
        }
    }
}
