//! The documents that answer the webhooks of carriers other than Twilio, each in its own markup:
//! cXML, TeXML and Plivo's XML, Exotel's JSON, Vonage's NCCO, jambonz' verbs.
//!
//! In:       addresses, the per-call token, parameters, words to say; hostile text among them.
//! Out:      one document, every value escaped as XML, JSON or an address wants it.
//! Bounds:   those of `wire::twiml`; [`PLIVO_HEADERS_MAX`], [`EXOTEL_QUERY_MAX`].
//! Not here: Twilio's documents (`wire::twiml`, whose escaping this shares), which document is due
//!           (`accept`).
//!
//! Written from documentation; not tried with the carriers. Where a carrier carries what comes back
//! with the stream:
//!
//! | carrier | the token comes back |
//! |---|---|
//! | SignalWire, Telnyx | as a `<Parameter>` |
//! | Plivo | in `extraHeaders`, which carry letters and digits only: values are written in hex |
//! | Exotel | in the query of the stream's address, which it keeps |
//! | Vonage | in `headers`, which stand in the first text |
//! | jambonz | in `metadata`, likewise |

use serde_json::{Map, Value, json};

use super::token::TOKEN_BYTES_MAX;
use super::twiml::{self, HEAD, TAIL, push_attribute, push_parameters, push_say};
use crate::config::{AudioFormat, Carrier};

/// Bytes of `extraHeaders` that Plivo carries. What does not fit is left out, the token never.
pub const PLIVO_HEADERS_MAX: usize = 512;

/// Bytes of a query that Exotel keeps, of at most three parameters. Our token and rate fit, for
/// every call whose name needs no escapes; of another the end may be lost, and it is not let in.
pub const EXOTEL_QUERY_MAX: usize = 256;

const _: () = {
    assert!("token=&sample-rate=24000".len() + TOKEN_BYTES_MAX <= EXOTEL_QUERY_MAX);
};

/// What a document that leads a call to our stream needs to know.
#[derive(Clone, Copy, Debug)]
pub struct StreamFacts<'a> {
    /// `wss://HOST/telnyx/media`: absolute, without a query.
    pub stream_url: &'a str,
    /// Where jambonz asks what follows.
    pub after_url: &'a str,
    /// The audio it is asked for, both ways.
    pub format: AudioFormat,
    /// The per-call token.
    pub token: &'a str,
    /// The carrier's name of the call, as the webhook told it.
    pub call: Option<&'a str>,
    /// Who calls.
    pub from: Option<&'a str>,
    /// Who is called.
    pub to: Option<&'a str>,
    /// Said to the caller before anything else. Exotel's document has no place for it.
    pub say_first: Option<&'a str>,
}

/// A document, and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// `text/xml`.
    Xml(String),
    /// `application/json`.
    Json(String),
}

impl Document {
    /// Its text.
    pub fn text(&self) -> &str {
        match self {
            Document::Xml(text) | Document::Json(text) => text,
        }
    }
}

/// Leads the call to our stream, in both directions, in the markup of `carrier`.
pub fn stream(carrier: Carrier, facts: &StreamFacts<'_>) -> Document {
    match carrier {
        Carrier::Twilio | Carrier::SignalWire => Document::Xml(cxml(facts)),
        Carrier::Telnyx => Document::Xml(texml(facts)),
        Carrier::Plivo => Document::Xml(plivo(facts)),
        Carrier::Exotel => Document::Json(json!({ "url": exotel_url(facts) }).to_string()),
        Carrier::Vonage => Document::Json(ncco(facts).to_string()),
        Carrier::Jambonz => Document::Json(verbs(facts).to_string()),
    }
}

/// Turns the call away: a busy tone, or `sentence` and then the end. `None`: the carrier's markup
/// has no word for it.
pub fn busy(carrier: Carrier, sentence: Option<&str>) -> Option<Document> {
    Some(match (carrier, sentence) {
        (Carrier::Exotel, _) => return None,
        (Carrier::Plivo, None) => Document::Xml(twiml::document("  <Hangup reason=\"busy\"/>\n")),
        (Carrier::Plivo, Some(sentence)) => {
            let spoken = element("Speak", &[], sentence) + "  <Hangup/>\n";
            Document::Xml(twiml::document(&spoken))
        }
        (Carrier::Twilio | Carrier::SignalWire | Carrier::Telnyx, None) => {
            Document::Xml(twiml::busy())
        }
        (Carrier::Twilio | Carrier::SignalWire | Carrier::Telnyx, Some(sentence)) => {
            Document::Xml(twiml::say_and_hangup(sentence, None))
        }
        // A call whose actions are over is hung up; there is no busy tone.
        (Carrier::Vonage, None) => Document::Json("[]".to_owned()),
        (Carrier::Vonage, Some(sentence)) => Document::Json(json!([talk(sentence)]).to_string()),
        (Carrier::Jambonz, None) => Document::Json(
            json!([{ "verb": "sip:decline", "status": 486, "reason": "Busy Here" }]).to_string(),
        ),
        (Carrier::Jambonz, Some(sentence)) => {
            Document::Json(json!([say(sentence), { "verb": "hangup" }]).to_string())
        }
    })
}

/// What follows a closed stream, where a carrier asks: the end.
pub fn hangup(carrier: Carrier) -> Document {
    match carrier {
        Carrier::Jambonz => Document::Json(json!([{ "verb": "hangup" }]).to_string()),
        Carrier::Vonage | Carrier::Exotel => Document::Json("[]".to_owned()),
        _ => Document::Xml(twiml::hangup()),
    }
}

/// What comes back with the stream, by name.
fn parameters<'a>(carrier: Carrier, facts: &StreamFacts<'a>) -> Vec<(&'a str, &'a str)> {
    let mut parameters = vec![("source", carrier.label()), ("token", facts.token)];
    let known = [("call", facts.call), ("from", facts.from), ("to", facts.to)];
    parameters.extend(known.into_iter().filter_map(|(name, value)| Some((name, value?))));
    parameters
}

fn cxml(facts: &StreamFacts<'_>) -> String {
    let mut xml = String::from(HEAD);
    if let Some(sentence) = facts.say_first {
        push_say(&mut xml, sentence, None);
    }
    let codec = match facts.format {
        AudioFormat::Pcmu => "PCMU@8000h".to_owned(),
        AudioFormat::Pcma => "PCMA@8000h".to_owned(),
        AudioFormat::Linear(rate_hz) => format!("L16@{rate_hz}h"),
    };
    xml.push_str("  <Connect>\n    <Stream");
    push_attribute(&mut xml, "url", facts.stream_url);
    push_attribute(&mut xml, "codec", &codec);
    xml.push_str(">\n");
    push_parameters(&mut xml, &parameters(Carrier::SignalWire, facts));
    xml.push_str("    </Stream>\n  </Connect>\n");
    xml.push_str(TAIL);
    xml
}

/// `<Connect>` blocks until the stream is over; the `<Hangup/>` behind it ends the call, which the
/// end of a socket does not.
fn texml(facts: &StreamFacts<'_>) -> String {
    let mut xml = String::from(HEAD);
    if let Some(sentence) = facts.say_first {
        push_say(&mut xml, sentence, None);
    }
    let (codec, rate) = match facts.format {
        AudioFormat::Pcmu => ("PCMU", None),
        AudioFormat::Pcma => ("PCMA", None),
        AudioFormat::Linear(rate_hz) => ("L16", Some(rate_hz.to_string())),
    };
    xml.push_str("  <Connect>\n    <Stream");
    push_attribute(&mut xml, "url", facts.stream_url);
    push_attribute(&mut xml, "codec", codec);
    // Without the mode, what we send must be mp3.
    push_attribute(&mut xml, "bidirectionalMode", "rtp");
    push_attribute(&mut xml, "bidirectionalCodec", codec);
    if let Some(rate) = rate {
        push_attribute(&mut xml, "bidirectionalSamplingRate", &rate);
    }
    xml.push_str(">\n");
    let down = facts.format.name();
    let mut parameters = parameters(Carrier::Telnyx, facts);
    parameters.push(("down", &down));
    push_parameters(&mut xml, &parameters);
    xml.push_str("    </Stream>\n  </Connect>\n  <Hangup/>\n");
    xml.push_str(TAIL);
    xml
}

fn plivo(facts: &StreamFacts<'_>) -> String {
    let mut verbs = String::new();
    if let Some(sentence) = facts.say_first {
        verbs += &element("Speak", &[], sentence);
    }
    let content_type = match facts.format {
        AudioFormat::Linear(rate_hz) => format!("audio/x-l16;rate={rate_hz}"),
        AudioFormat::Pcmu | AudioFormat::Pcma => "audio/x-mulaw;rate=8000".to_owned(),
    };
    let mut headers = format!("source=plivo,token={}", to_hex(facts.token));
    for (name, value) in [("from", facts.from), ("to", facts.to)] {
        let Some(value) = value else { continue };
        let header = format!(",{name}={}", to_hex(value));
        if headers.len() + header.len() <= PLIVO_HEADERS_MAX {
            headers += &header;
        }
    }
    let attributes = [
        ("bidirectional", "true"),
        ("keepCallAlive", "true"),
        ("contentType", content_type.as_str()),
        ("extraHeaders", headers.as_str()),
    ];
    verbs += &element("Stream", &attributes, facts.stream_url);
    twiml::document(&verbs)
}

fn element(name: &str, attributes: &[(&str, &str)], text: &str) -> String {
    let mut xml = format!("  <{name}");
    for (attribute, value) in attributes {
        push_attribute(&mut xml, attribute, value);
    }
    let text = &text[..text.floor_char_boundary(twiml::SAY_BYTES_MAX)];
    format!("{xml}>{}</{name}>\n", twiml::escape(text))
}

fn exotel_url(facts: &StreamFacts<'_>) -> String {
    let mut query = format!("token={}", percent(facts.token));
    if facts.format.rate_hz() != 8_000 {
        query += &format!("&sample-rate={}", facts.format.rate_hz());
    }
    format!("{}?{query}", facts.stream_url)
}

fn ncco(facts: &StreamFacts<'_>) -> Value {
    let headers = object(&parameters(Carrier::Vonage, facts));
    let connect = json!({ "action": "connect", "endpoint": [{
        "type": "websocket",
        "uri": facts.stream_url,
        "content-type": format!("audio/l16;rate={}", facts.format.rate_hz()),
        "headers": headers,
    }] });
    Value::Array(facts.say_first.map(talk).into_iter().chain([connect]).collect())
}

fn verbs(facts: &StreamFacts<'_>) -> Value {
    let rate_hz = facts.format.rate_hz();
    let listen = json!({
        "verb": "listen",
        "url": facts.stream_url,
        "actionHook": facts.after_url,
        "mixType": "mono",
        "sampleRate": rate_hz,
        "passDtmf": true,
        "bidirectionalAudio": { "enabled": true, "streaming": true, "sampleRate": rate_hz },
        "metadata": object(&parameters(Carrier::Jambonz, facts)),
    });
    let first = [json!({ "verb": "answer" })].into_iter().chain(facts.say_first.map(say));
    Value::Array(first.chain([listen, json!({ "verb": "hangup" })]).collect())
}

fn talk(sentence: &str) -> Value {
    json!({ "action": "talk", "text": sentence })
}

fn say(sentence: &str) -> Value {
    json!({ "verb": "say", "text": sentence })
}

fn object(parameters: &[(&str, &str)]) -> Map<String, Value> {
    let bounded =
        |value: &str| Value::from(&value[..value.floor_char_boundary(twiml::PARAMETER_BYTES_MAX)]);
    parameters.iter().map(|(name, value)| ((*name).to_owned(), bounded(value))).collect()
}

/// `text` in hex digits, for a carrier that takes no other characters.
pub fn to_hex(text: &str) -> String {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    text.bytes().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The text that [`to_hex`] wrote; `None` if it wrote none such.
pub fn from_hex(digits: &str) -> Option<String> {
    let value = |digit: u8| (digit as char).to_digit(16);
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    if !rest.is_empty() || pairs.is_empty() {
        return None;
    }
    let bytes: Option<Vec<u8>> =
        pairs.iter().map(|&[high, low]| Some((value(high)? << 4 | value(low)?) as u8)).collect();
    String::from_utf8(bytes?).ok()
}

/// `text` for a query, RFC 3986 section 2.3: what is not unreserved is escaped.
fn percent(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte));
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVIL: &str = "\"/><Dial>+1900</Dial>&\n\0'\\";

    fn facts(format: AudioFormat) -> StreamFacts<'static> {
        StreamFacts {
            stream_url: "wss://voice.example.com/x/media",
            after_url: "https://voice.example.com/jambonz/after",
            format,
            token: "v1.c.1.ab",
            call: Some("c"),
            from: Some(EVIL),
            to: Some("+2"),
            say_first: Some(EVIL),
        }
    }

    #[test]
    fn hostile_text_stays_where_it_was_put() {
        for carrier in Carrier::ALL {
            let document = stream(carrier, &facts(carrier.formats()[0]));
            match &document {
                Document::Xml(xml) => {
                    assert!(!xml.contains("<Dial>"), "{xml}");
                    assert!(!xml.contains('\0') && xml.ends_with("</Response>\n"), "{xml}");
                }
                Document::Json(text) => {
                    serde_json::from_str::<Value>(text).unwrap();
                }
            }
            for sentence in [None, Some(EVIL)] {
                let Some(document) = busy(carrier, sentence) else { continue };
                assert!(!document.text().contains("<Dial>") || document.text().starts_with('['));
            }
        }
    }

    #[test]
    fn telnyx_is_asked_for_rtp_and_hung_up_behind_the_stream() {
        let Document::Xml(xml) = stream(Carrier::Telnyx, &facts(AudioFormat::Pcmu)) else {
            panic!("not XML")
        };
        assert!(xml.contains("bidirectionalMode=\"rtp\" bidirectionalCodec=\"PCMU\""), "{xml}");
        assert!(xml.contains("</Connect>\n  <Hangup/>\n</Response>"), "{xml}");
        assert!(!xml.contains("track="), "{xml}");
        let Document::Xml(xml) = stream(Carrier::Telnyx, &facts(AudioFormat::Linear(16_000)))
        else {
            panic!("not XML")
        };
        assert!(xml.contains("bidirectionalSamplingRate=\"16000\""), "{xml}");
    }

    #[test]
    fn plivos_headers_are_letters_and_digits_within_their_bound() {
        let long = "+".repeat(300);
        for from in [Some("+18005550199"), Some(long.as_str())] {
            let facts = StreamFacts { from, say_first: None, ..facts(AudioFormat::Pcmu) };
            let Document::Xml(xml) = stream(Carrier::Plivo, &facts) else { panic!("not XML") };
            let headers = xml.split("extraHeaders=\"").nth(1).unwrap().split('"').next().unwrap();
            assert!(headers.len() <= PLIVO_HEADERS_MAX);
            let mut pairs = headers.split(',').map(|pair| pair.split_once('=').unwrap());
            assert!(pairs.clone().all(|(n, v)| {
                n.bytes().chain(v.bytes()).all(|byte| byte.is_ascii_alphanumeric())
            }));
            let token = pairs.find(|(name, _)| *name == "token").unwrap().1;
            assert_eq!(from_hex(token).as_deref(), Some("v1.c.1.ab"));
            assert!(xml.contains(">wss://voice.example.com/x/media</Stream>"), "{xml}");
        }
    }

    #[test]
    fn exotels_query_is_one_it_keeps() {
        let url = |format| exotel_url(&StreamFacts { token: "a b&c", ..facts(format) });
        let bare = "wss://voice.example.com/x/media?token=a%20b%26c";
        assert_eq!(url(AudioFormat::Linear(8_000)), bare);
        assert_eq!(url(AudioFormat::Linear(16_000)), format!("{bare}&sample-rate=16000"));
    }

    #[test]
    fn hex_comes_back_as_it_was_and_nothing_else_is_hex() {
        for text in ["a", "v1.é.😀", "+1"] {
            assert_eq!(from_hex(&to_hex(text)).as_deref(), Some(text));
        }
        for wrong in ["", "0", "0g", "ff", "éé"] {
            assert_eq!(from_hex(wrong), None, "{wrong}");
        }
    }
}
