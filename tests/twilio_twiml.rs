//! Our TwiML, read back by a small XML reader: what Twilio would find in it.

use vocaris::wire::twiml::{
    self, After, ConnectFacts, FORK_NAME, ForkFacts, PARAMETER_BYTES_MAX, SAY_BYTES_MAX,
};

/// An element as XML has it.
#[derive(Debug, PartialEq)]
struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    children: Vec<Element>,
    text: String,
}

impl Element {
    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn names(&self) -> Vec<&str> {
        self.children.iter().map(|child| child.name.as_str()).collect()
    }
}

/// The document's root. Strict in what our documents use: prolog, elements, attributes in double
/// quotes, the predefined entities, character references. Panics on anything else.
fn read(document: &str) -> Element {
    let body = document
        .strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>")
        .expect("the prolog comes first");
    for character in document.chars() {
        let allowed = matches!(character, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
        assert!(allowed, "{character:?} cannot be in XML");
    }
    let (root, rest) = element(body.trim_start());
    assert_eq!(rest.trim(), "", "one root only");
    assert_eq!(root.name, "Response");
    root
}

/// The element at the front, and what follows it.
fn element(text: &str) -> (Element, &str) {
    let rest = text.strip_prefix('<').expect("an element");
    let name_len = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap();
    let (name, mut rest) = rest.split_at(name_len);
    assert!(!name.is_empty());
    let mut element =
        Element { name: name.into(), attributes: vec![], children: vec![], text: String::new() };
    while let Some(attribute) = rest.strip_prefix(' ') {
        let (key, value) = attribute.split_once("=\"").expect("an attribute");
        assert!(key.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{key}");
        assert!(element.attribute(key).is_none(), "{key} twice");
        let (value, after) = value.split_once('"').expect("its end");
        assert!(!value.contains('<') && !value.contains(['\t', '\n', '\r']), "{value}");
        element.attributes.push((key.into(), unescape(value)));
        rest = after;
    }
    if let Some(after) = rest.strip_prefix("/>") {
        return (element, after);
    }
    rest = rest.strip_prefix('>').expect("the end of the tag");
    loop {
        let text_len = rest.find('<').expect("the end tag");
        element.text.push_str(&unescape(&rest[..text_len]));
        rest = &rest[text_len..];
        if let Some(end) = rest.strip_prefix("</") {
            let after = end.strip_prefix(name).and_then(|end| end.strip_prefix('>'));
            return (element, after.expect("the end tag of the same name"));
        }
        let (child, after) = self::element(rest);
        element.children.push(child);
        rest = after;
    }
}

fn unescape(text: &str) -> String {
    let mut plain = String::new();
    let mut pieces = text.split('&');
    plain.push_str(pieces.next().unwrap());
    for piece in pieces {
        let (entity, rest) = piece.split_once(';').expect("the end of a reference");
        plain.push(match entity {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            number => {
                let code = number.strip_prefix('#').expect("a known entity");
                char::from_u32(code.parse().unwrap()).unwrap()
            }
        });
        plain.push_str(rest);
    }
    plain
}

const AFTER: &str = "https://voice.example.com/twilio/after";
const FACTS: ConnectFacts<'_> = ConnectFacts {
    stream_url: "wss://voice.example.com/twilio/media",
    status_callback: "https://voice.example.com/twilio/stream-status",
    after: After::Action(AFTER),
    parameters: &[
        ("source", "twilio"),
        ("token", "v1.CA0000.1795400000.0a"),
        ("from", "+18005550199"),
        ("to", "+18005550100"),
    ],
    say_first: None,
    fork: None,
};

fn parameters(stream: &Element) -> Vec<(&str, &str)> {
    stream
        .children
        .iter()
        .map(|parameter| {
            assert_eq!(parameter.name, "Parameter");
            assert_eq!(parameter.attributes.len(), 2);
            (parameter.attribute("name").unwrap(), parameter.attribute("value").unwrap())
        })
        .collect()
}

#[test]
fn a_call_is_connected_to_the_stream_and_nothing_else() {
    let root = read(&twiml::connect(&FACTS));
    assert_eq!(root.names(), ["Connect"], "a verb behind it would run after every hang-up");
    let connect = &root.children[0];
    assert_eq!(connect.attributes, [("action".into(), AFTER.into())]);
    assert_eq!(connect.names(), ["Stream"]);
    let stream = &connect.children[0];
    assert_eq!(
        stream.attributes,
        [
            ("url".into(), FACTS.stream_url.into()),
            ("statusCallback".into(), FACTS.status_callback.into())
        ],
        "no track under Connect"
    );
    assert!(!stream.attribute("url").unwrap().contains('?'));
    assert_eq!(parameters(stream), FACTS.parameters);
}

#[test]
fn by_the_verb_behind_the_call_the_same_is_asked_and_nothing_is_spoken() {
    let by_action = read(&twiml::connect(&FACTS));
    let root = read(&twiml::connect(&ConnectFacts { after: After::Verb(AFTER), ..FACTS }));
    assert_eq!(root.names(), ["Connect", "Redirect"]);
    let [connect, redirect] = &root.children[..] else { panic!("{root:?}") };
    assert_eq!(connect.attributes, [], "an action would take the verb's place");
    assert_eq!(connect.children, by_action.children[0].children, "the stream is the same");
    assert_eq!(redirect.attributes, [("method".into(), "POST".into())]);
    assert_eq!((redirect.text.as_str(), redirect.children.len()), (AFTER, 0));
}

#[test]
fn a_copy_of_both_tracks_is_started_before_the_call_is_connected() {
    let stream_url = "wss://voice.example.com/twilio/tracks";
    let fork = Some(ForkFacts { stream_url, token: "v1.fork" });
    let root = read(&twiml::connect(&ConnectFacts { fork, ..FACTS }));
    assert_eq!(root.names(), ["Start", "Connect"]);
    let fork = &root.children[0].children[0];
    assert_eq!(
        fork.attributes,
        [
            ("url".into(), stream_url.into()),
            ("name".into(), FORK_NAME.into()),
            ("track".into(), "both_tracks".into()),
            ("statusCallback".into(), FACTS.status_callback.into())
        ]
    );
    assert_eq!(parameters(fork), [("source", "twilio"), ("token", "v1.fork")], "no numbers");
    let stream = &root.children[1].children[0];
    assert_eq!(stream.attribute("track"), None);
    assert_eq!(parameters(stream), FACTS.parameters);
}

#[test]
fn what_the_caller_must_know_is_said_before_anything_begins() {
    for sentence in ["This call is recorded.", "A & B </Say><Hangup/> \"record\" <this>\u{1}"] {
        let fork = Some(ForkFacts { stream_url: "wss://h/t", token: "t" });
        let facts = ConnectFacts { say_first: Some(sentence), fork, ..FACTS };
        let root = read(&twiml::connect(&facts));
        assert_eq!(root.names(), ["Say", "Start", "Connect"]);
        assert_eq!(root.children[0].text, sentence.replace('\u{1}', "\u{fffd}"));
    }
}

#[test]
fn a_hostile_caller_id_stays_a_value() {
    for hostile in [
        "anonymous",
        "client:o'neil",
        "sip:a&b@example.com;x=\"1\"",
        "\"/></Stream></Connect><Hangup/><!--",
        "]]>&lt;&#60;&amp;",
        "tab\tline\nreturn\r end ",
        "日本 😀 \u{2028}",
        "",
    ] {
        let parameters = [("from", hostile), ("to", hostile)];
        let root = read(&twiml::connect(&ConnectFacts { parameters: &parameters, ..FACTS }));
        assert_eq!(root.names(), ["Connect"]);
        assert_eq!(self::parameters(&root.children[0].children[0]), parameters);
    }
}

#[test]
fn what_xml_cannot_carry_is_replaced() {
    let parameters = [("from", "a\0b\u{1}\u{1f}\u{fffe}\u{ffff}c")];
    let root = read(&twiml::connect(&ConnectFacts { parameters: &parameters, ..FACTS }));
    let stream = &root.children[0].children[0];
    let replaced = "a\u{fffd}b\u{fffd}\u{fffd}\u{fffd}\u{fffd}c";
    assert_eq!(self::parameters(stream), [("from", replaced)]);
}

#[test]
fn every_character_comes_through_or_is_replaced() {
    for code in 0..0x1_0100 {
        let Some(character) = char::from_u32(code) else { continue };
        let text = format!("<{character}>");
        let back = unescape(&twiml::escape(&text));
        let carried = matches!(
            character,
            '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..
        );
        assert_eq!(back == text, carried, "{code:x}");
    }
}

#[test]
fn a_long_parameter_is_cut_and_the_call_goes_on() {
    for character in ["x", "&", "é", "😀"] {
        let long = character.repeat(2_000);
        let parameters = [("from", long.as_str()), (long.as_str(), "value")];
        let document = twiml::connect(&ConnectFacts { parameters: &parameters, ..FACTS });
        let root = read(&document);
        let cut = self::parameters(&root.children[0].children[0]);
        for ((name, value), (whole_name, whole_value)) in cut.iter().zip(parameters) {
            assert!(name.len() + value.len() <= PARAMETER_BYTES_MAX);
            assert!(whole_name.starts_with(name) && whole_value.starts_with(value));
        }
        assert!(cut[0].1.len() + 4 > PARAMETER_BYTES_MAX - "from".len(), "no shorter than needed");
        assert!(document.len() < 64_000);
    }
}

#[test]
fn a_sentence_is_spoken_and_the_call_ends() {
    let root = read(&twiml::say_and_hangup("Sorry & <goodbye>", Some("en-US")));
    assert_eq!(root.names(), ["Say", "Hangup"]);
    assert_eq!(root.children[0].text, "Sorry & <goodbye>");
    assert_eq!(root.children[0].attribute("language"), Some("en-US"));
    let root = read(&twiml::say_and_hangup("é", None));
    assert_eq!(root.children[0].attributes, []);
    let endless = read(&twiml::say_and_hangup(&"é".repeat(SAY_BYTES_MAX), None));
    assert_eq!(endless.children[0].text, "é".repeat(SAY_BYTES_MAX / 2));
}

#[test]
fn a_caller_is_put_through_and_we_are_asked_what_follows() {
    let action = "https://voice.example.com/twilio/after?dialled=1&x=\"<y>\"";
    let root = read(&twiml::dial("+1555<0100>&;", action));
    assert_eq!(root.names(), ["Dial"], "what stands behind it would never be reached");
    let dial = &root.children[0];
    assert_eq!((dial.text.as_str(), dial.attribute("action")), ("+1555<0100>&;", Some(action)));
}

#[test]
fn the_short_documents_say_one_thing() {
    let busy = read(&twiml::busy());
    assert_eq!(busy.names(), ["Reject"]);
    assert_eq!(busy.children[0].attribute("reason"), Some("busy"));
    assert_eq!(read(&twiml::hangup()).names(), ["Hangup"]);
    assert_eq!(read(&twiml::empty()).names(), [""; 0]);
}
