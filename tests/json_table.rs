//! Texts that are JSON and texts that are not, by the sections of RFC 8259.

use vocaris::wire::json::{JSON_DEPTH_MAX, JsonError, Kind, NameSpare, Scanner};

fn take(text: &str) -> Result<(), JsonError> {
    let mut scanner = Scanner::new(text);
    scanner.skip()?;
    scanner.finish()
}

#[test]
fn what_the_grammar_has_is_taken() {
    for text in [
        // Section 3: values; section 2: white space around them.
        "true",
        "false",
        "null",
        " null ",
        "\t[\n1 ,\r2 ] ",
        // Section 4: objects, any names, equal ones too.
        "{}",
        "{ }",
        r#"{"a":1}"#,
        r#"{"":0}"#,
        r#"{"a":1,"a":2}"#,
        r#"{"a":{"b":[{}]}}"#,
        // Section 5: arrays.
        "[]",
        "[ ]",
        "[[]]",
        "[1,[2],{\"a\":3}]",
        "[null,true,\"\"]",
        // Section 6: numbers.
        "0",
        "-0",
        "7",
        "-10",
        "1.0",
        "0.001",
        "1e5",
        "1E+5",
        "1e-5",
        "-0.0e-0",
        "0e0",
        "123456789012345678901234567890",
        "1e308",
        "-1e308",
        "1e-999",
        "0e99999",
        "0.1e309",
        "0.00000000000000000000000000000000000000000000000001",
        // Section 7: strings.
        r#""""#,
        r#""a""#,
        r#""\"\\\/\b\f\n\r\t""#,
        r#""\u0041\u00e9\uD834\uDD1E""#,
        "\"\u{7f}\u{80}\u{2028}\u{fffe}\u{10ffff}\"",
        r#""\u0000""#,
        r#""\uDBFF\uDFFF""#,
    ] {
        assert_eq!(take(text), Ok(()), "{text}");
    }
}

#[test]
fn what_the_grammar_has_not_is_refused() {
    for text in [
        "",
        " ",
        "\u{feff}null",
        "nul",
        "nulll",
        "True",
        "NULL",
        "tru e",
        "undefined",
        "NaN",
        "Infinity",
        "-Infinity",
        "'a'",
        "a",
        "/**/1",
        "1 // one",
        "\u{a0}1",
        "\u{b}1",
        "\0",
        // Objects.
        "{",
        "}",
        "{,}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,\"a\":1}",
        "{\"a\":1 \"b\":2}",
        "{a:1}",
        "{1:1}",
        "{\"a\":1,,\"b\":2}",
        "{\"a\"::1}",
        "{\"a\" 1}",
        "{\"a\",1}",
        "{[]:1}",
        "{\"a\":1]",
        "{\"a\":1}}",
        "{\"a\":1}{}",
        "{null:1}",
        "{\"a\":1",
        "{\"a\":",
        "{\"a\"",
        // Arrays.
        "[",
        "]",
        "[,]",
        "[1,]",
        "[,1]",
        "[1,,2]",
        "[1 2]",
        "[1}",
        "[1]]",
        "[1][2]",
        "[:1]",
        "[\"a\":1]",
        "[1",
        "[1,",
        "[[1]",
        // Numbers.
        "-",
        "+1",
        "01",
        "-01",
        "00",
        "1.",
        ".1",
        "-.1",
        "1.e1",
        "1e",
        "1e+",
        "1e1.5",
        "0x1",
        "1_0",
        "1,0",
        "--1",
        "1-",
        "1e1e1",
        "1 e1",
        "0e",
        "1.2.3",
        "1e309",
        "-1e400",
        "1e999999999999",
        "١",
        // Strings.
        "\"",
        "\"a",
        "a\"",
        "\"a\"b",
        "\"\\\"",
        "\"\\",
        "\"\\a\"",
        "\"\\'\"",
        "\"\\x41\"",
        "\"\\U0041\"",
        "\"\\u\"",
        "\"\\u004\"",
        "\"\\u004g\"",
        "\"\\u 041\"",
        "\"\\u+041\"",
        "\"\n\"",
        "\"\t\"",
        "\"\0\"",
        "\"\u{1f}\"",
        "\"\\\n\"",
        // Halves of surrogate pairs.
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\ud800a\"",
        "\"\\ud800\\n\"",
        "\"\\ud800\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\\udc00\\ud800\"",
        "\"\\ud800\\udc0\"",
        "\"\\ud800\\\"",
        "\"\\uDFFF\"",
        "\"\\ud800\\udbff\"",
    ] {
        assert!(take(text).is_err(), "{text:?} was taken");
        assert!(serde_json::from_str::<serde_json::Value>(text).is_err(), "{text:?} is JSON");
        for inside in [format!("[{text}]"), format!("{{\"k\":{text}}}")] {
            if serde_json::from_str::<serde_json::Value>(&inside).is_err() {
                assert!(take(&inside).is_err(), "{inside:?} was taken");
            }
        }
    }
}

#[test]
fn an_error_says_what_is_wrong_and_where() {
    for (text, error) in [
        ("", JsonError::Ended),
        ("[1,", JsonError::Ended),
        ("\"abc", JsonError::Ended),
        ("-", JsonError::Ended),
        ("tr", JsonError::Ended),
        ("trux", JsonError::Unexpected { at: 3 }),
        ("[1 2]", JsonError::Unexpected { at: 3 }),
        ("{\"a\" 1}", JsonError::Unexpected { at: 5 }),
        ("{\"a\":1,}", JsonError::Unexpected { at: 7 }),
        ("[\"\\q\"]", JsonError::BadEscape { at: 2 }),
        ("[\"ab\u{1}\"]", JsonError::ControlCharacter { at: 4 }),
        ("[-a]", JsonError::BadNumber { at: 1 }),
        ("[1e999]", JsonError::BadNumber { at: 1 }),
        ("01", JsonError::Trailing { at: 1 }),
        ("{} x", JsonError::Trailing { at: 3 }),
    ] {
        assert_eq!(take(text), Err(error), "{text:?}");
    }
}

#[test]
fn nesting_is_taken_to_its_bound_and_refused_beyond_without_recursion() {
    let max = JSON_DEPTH_MAX as usize;
    let nest = |open: &str, close: &str, levels: usize| {
        format!("{}1{}", open.repeat(levels), close.repeat(levels))
    };
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[[],", "]"), ("[{\"a\":[]},", "]")] {
        assert_eq!(take(&nest(open, close, max - 2)), Ok(()));
    }
    assert_eq!(take(&nest("[", "]", max)), Ok(()));
    assert_eq!(take(&nest("{\"a\":", "}", max)), Ok(()));
    assert_eq!(take(&nest("[", "]", max + 1)), Err(JsonError::TooDeep { at: max }));
    assert_eq!(take(&nest("{\"a\":", "}", max + 1)), Err(JsonError::TooDeep { at: 5 * max }));
    // A hundred thousand of them, closed or not.
    assert_eq!(take(&nest("[", "]", 100_000)), Err(JsonError::TooDeep { at: max }));
    assert_eq!(take(&"[".repeat(100_000)), Err(JsonError::TooDeep { at: max }));
    assert_eq!(take(&"{\"a\":".repeat(100_000)), Err(JsonError::TooDeep { at: 5 * max }));
    // Breadth is not depth.
    assert_eq!(take(&format!("[{}[]]", "[],".repeat(100_000))), Ok(()));
}

#[test]
fn the_end_of_each_container_restores_the_kind_of_the_one_around_it() {
    for text in [
        r#"{"a":[{"b":[]},[],{}],"c":{"d":[1,{"e":2}],"f":[[]]},"g":[]}"#,
        r#"[{"a":[]},{"b":{}},[{"c":[{}]}],{}]"#,
    ] {
        assert_eq!(take(text), Ok(()));
        for (at, bracket) in text.char_indices() {
            let wrong = match bracket {
                '}' => "]",
                ']' => "}",
                _ => continue,
            };
            let mut changed = text.to_string();
            changed.replace_range(at..=at, wrong);
            assert!(take(&changed).is_err(), "{changed}");
        }
    }
}

#[test]
fn integers_come_as_numbers_or_as_strings_of_digits() {
    let integer = |text: &str| Scanner::new(text).integer();
    for (text, value) in [
        ("17", 17),
        ("\"17\"", 17),
        ("-3", -3),
        ("\"-3\"", -3),
        ("40.0", 40),
        ("1e3", 1000),
        ("\"007\"", 7),
        ("9223372036854775807", i64::MAX),
        ("\"-9223372036854775808\"", i64::MIN),
    ] {
        assert_eq!(integer(text), Ok(value), "{text}");
    }
    for text in [
        "1.5",
        "\"\"",
        "\"-\"",
        "\"1.0\"",
        "\"1e3\"",
        "\" 1\"",
        "\"+1\"",
        "\"1a\"",
        "\"\\u0031\"",
        "9223372036854775808",
        "1e300",
        "\"9223372036854775808\"",
        "\"١\"",
        "1e999",
    ] {
        assert_eq!(integer(text), Err(JsonError::BadNumber { at: 0 }), "{text}");
    }
    for text in ["true", "{}", "[]", "null"] {
        let wrong = JsonError::WrongKind { at: 0, wanted: Kind::Number };
        assert_eq!(integer(text), Err(wrong), "{text}");
    }
    assert_eq!(Scanner::new(" -1").unsigned(), Err(JsonError::BadNumber { at: 1 }));
    assert_eq!(Scanner::new("\"42\"").unsigned(), Ok(42));
}

#[test]
fn null_stands_for_a_field_left_out_and_other_kinds_are_told() {
    assert_eq!(Scanner::new("null").optional(Scanner::boolean), Ok(None));
    assert_eq!(Scanner::new("true").optional(Scanner::boolean), Ok(Some(true)));
    assert_eq!(
        Scanner::new(" 1").optional(Scanner::boolean),
        Err(JsonError::WrongKind { at: 1, wanted: Kind::Bool })
    );
    assert_eq!(
        Scanner::new("[]").enter_object(),
        Err(JsonError::WrongKind { at: 0, wanted: Kind::Object })
    );
    assert_eq!(
        Scanner::new("{}").enter_array(),
        Err(JsonError::WrongKind { at: 0, wanted: Kind::Array })
    );
    assert_eq!(Scanner::new("{}").text(), Err(JsonError::WrongKind { at: 0, wanted: Kind::Text }));
}

#[test]
fn an_escaped_text_is_what_it_stands_for() {
    let escaped = Scanner::new(r#""a\/\u0062\ud83d\uDE00\n\"\\\b\f\r\t\u00e9""#).text().unwrap();
    let plain = "a/b😀\n\"\\\u{8}\u{c}\r\té";
    assert_eq!(escaped.as_plain(), None);
    assert_eq!(escaped.to_cow(), plain);
    assert_eq!(escaped.to_string(), plain);
    assert!(escaped == *plain);
    assert!(escaped != *"a/b");
    assert_eq!(escaped.name(&mut NameSpare::new()), plain);
    // A text that looks escaped but is a plain one's spelling stays apart.
    assert!(Scanner::new(r#""\\n""#).text().unwrap() == *r"\n");
    let long =
        Scanner::new(r#""\u0061aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa""#)
            .text()
            .unwrap();
    assert_eq!(long.name(&mut NameSpare::new()), "", "longer than every name we know");
}

#[test]
fn base64_is_decoded_from_a_text_with_escapes_too() {
    let decode = |text: &str| {
        let mut bytes = b"<".to_vec();
        let count = Scanner::new(text).text().unwrap().decode_base64_append(&mut bytes);
        count.map(|count| {
            assert_eq!(count + 1, bytes.len());
            bytes[1..].to_vec()
        })
    };
    assert_eq!(decode(r#""\/\/8=""#).unwrap(), [0xff, 0xff]);
    assert_eq!(decode(r#""\u002f\u002F8\u003d""#).unwrap(), [0xff, 0xff]);
    assert_eq!(decode(r#""//8=""#).unwrap(), [0xff, 0xff]);
    assert_eq!(decode(r#""""#).unwrap(), [0; 0]);
    assert!(decode(r#""\/\/8\n""#).is_err());
    assert!(decode(r#""\u0141AAA""#).is_err(), "no character is cut down to one of the alphabet");
}
