//! The JSON cursor against serde_json, an independent reader: what the cursor takes, serde_json
//! takes too and with the same meaning; what serde_json takes, the cursor takes, but for two stated
//! bounds, depth and magnitude.

use proptest::prelude::*;
use serde_json::Value;
use vocaris::wire::json::JsonError;

#[path = "../fuzz/bodies/json.rs"]
mod json;

use json::{agree, skip};

/// Trees of every kind, up to a few levels.
fn trees() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
        "[A-Za-z0-9+/]{0,300}".prop_map(Value::from),
        proptest::collection::vec(any::<char>(), 0..8)
            .prop_map(|chars| Value::from(chars.into_iter().collect::<String>())),
    ];
    leaf.prop_recursive(5, 48, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::hash_map(".{0,12}", inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Pieces that JSON is made of, and pieces that only look like it.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("{"),
        Just("}"),
        Just("["),
        Just("]"),
        Just(","),
        Just(":"),
        Just("\""),
        Just("\\"),
        Just("\"a\":"),
        Just("\"\\u0061\":"),
        Just("\"a\""),
        Just("\"\\ud83d\\ude00\""),
        Just("\"\\ud83d\""),
        Just("\"\\/\""),
        Just("\"\\x\""),
        Just("\"\u{7f}é\""),
        Just("\"\n\""),
        Just("0"),
        Just("-"),
        Just("-0"),
        Just("01"),
        Just("1."),
        Just(".5"),
        Just("1.5e3"),
        Just("1e400"),
        Just("1e-400"),
        Just("0e999"),
        Just("1e308"),
        Just("1.7976931348623157e308"),
        Just("1e"),
        Just("+1"),
        Just("18446744073709551616"),
        Just("true"),
        Just("false"),
        Just("null"),
        Just("nul"),
        Just("NaN"),
        Just(" "),
        Just("\n"),
        Just("\t"),
        Just("\u{b}"),
        Just("\u{feff}"),
        Just("//"),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_text_that_serde_json_writes_reads_the_same(tree in trees()) {
        let compact = tree.to_string();
        let pretty = serde_json::to_string_pretty(&tree).unwrap();
        prop_assert_eq!(agree(&compact), agree(&pretty));
    }

    #[test]
    fn a_text_changed_anywhere_is_taken_by_both_or_by_neither(
        tree in trees(),
        at in any::<prop::sample::Index>(),
        new in any::<char>(),
        kind in 0..4,
    ) {
        let text = tree.to_string();
        let places: Vec<usize> = text.char_indices().map(|(place, _)| place).collect();
        let at = places[at.index(places.len())];
        let (before, after) = text.split_at(at);
        let rest = &after[after.chars().next().map_or(0, char::len_utf8)..];
        match kind {
            0 => agree(before),
            1 => agree(&format!("{before}{rest}")),
            2 => agree(&format!("{before}{new}{rest}")),
            _ => agree(&format!("{before}{new}{after}")),
        };
    }

    #[test]
    fn any_joining_of_pieces_is_taken_by_both_or_by_neither(text in pieces()) {
        agree(&text);
        agree(&format!("[{text}]"));
        agree(&format!("{{\"a\":{text}}}"));
    }

    #[test]
    fn any_number_is_taken_by_both_or_by_neither(
        text in "-?[0-9]{1,25}(\\.[0-9]{0,25})?([eE][+-]?[0-9]{1,4})?",
    ) {
        agree(&text);
    }

    #[test]
    fn any_string_is_taken_by_both_or_by_neither(
        inside in "([a-z]{0,20}|\\\\u[dD][89a-fA-F][0-9a-f]{2}|\\\\u[0-9a-fA-F]{4}|\\\\.|.){0,6}",
    ) {
        agree(&format!("\"{inside}\""));
    }
}

#[test]
fn pieces_that_can_be_json_are_often_json() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let taken = (0..500)
        .filter(|_| agree(&format!("[{}]", pieces().new_tree(&mut runner).unwrap().current())))
        .count();
    assert!(taken > 20, "only {taken} of 500 were JSON: the property above would show little");
}

#[test]
fn every_pair_of_bytes_inside_a_string_is_judged_alike() {
    for first in 0..0x180u32 {
        for second in 0..0x80u32 {
            let (first, second) = (char::from_u32(first).unwrap(), char::from_u32(second).unwrap());
            agree(&format!("\"{first}{second}\""));
        }
    }
}

#[test]
fn a_control_character_is_found_at_every_place_of_a_long_string() {
    for len in [1, 15, 16, 17, 31, 32, 33, 64, 200] {
        for at in 0..len {
            for wrong in ['\0', '\n', '\u{1f}'] {
                let mut inside = vec!['A'; len];
                inside[at] = wrong;
                let text = format!("\"{}\"", inside.iter().collect::<String>());
                assert_eq!(skip(&text), Err(JsonError::ControlCharacter { at: at + 1 }));
                assert!(!agree(&text));
            }
        }
    }
}
