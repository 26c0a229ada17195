//! JSON answers: Exotel's URL, Vonage's NCCO, jambonz's verbs.
//!
//! In:       a document.
//! Out:      an [`Answer`].
//! Bounds:   [`QUERY_PARAMETERS_MAX`], [`QUERY_BYTES_MAX`].
//! Not here: the XML answers (`markup::xml`).
//!
//! Exotel: `{"url":"wss://user:password@host/path?sample-rate=16000&name=value"}` (page
//! agentstream/stream-voicebot-applet); credentials become `authorization`, the query stays on the
//! URL and becomes custom parameters. Vonage: `[{"action":"connect","endpoint":[{"type":
//! "websocket",…}]}]` (guide websockets). jambonz: `[{"verb":"listen",…}]` (verb listen), whose
//! properties jambonz checks by name.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Answer, MarkupError, StreamNoun, is_stream_url};
use crate::carrier::Carrier;
use crate::format::Format;

/// Custom parameters that Exotel passes on.
pub(super) const QUERY_PARAMETERS_MAX: usize = 3;

/// Their longest text, names included.
pub(super) const QUERY_BYTES_MAX: usize = 256;

/// Reads a document.
pub(super) fn read(carrier: Carrier, text: &str, insecure: bool) -> Result<Answer, MarkupError> {
    let answer = match carrier {
        Carrier::Exotel => exotel(text)?,
        Carrier::Vonage => vonage(text)?,
        _ => jambonz(text)?,
    };
    match &answer.stream {
        Some(stream) if !is_stream_url(&stream.url, insecure) => Err(MarkupError::StreamUrl),
        _ => Ok(answer),
    }
}

#[derive(Deserialize)]
struct Url {
    url: String,
}

fn exotel(text: &str) -> Result<Answer, MarkupError> {
    let Url { url } = serde_json::from_str(text).map_err(|_| MarkupError::Json)?;
    let (scheme, rest) = url.split_once("://").ok_or(MarkupError::StreamUrl)?;
    let authority_len = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_len);
    let (credentials, host) = match authority.rsplit_once('@') {
        Some((credentials, host)) => (Some(credentials), host),
        None => (None, authority),
    };
    let mut stream = StreamNoun::to(format!("{scheme}://{host}{path}"));
    stream.authorization = credentials.map(|it| format!("Basic {}", STANDARD.encode(it)));
    let (mut format, mut custom_bytes) = (Format::L16_8K, 0);
    let query = path.split_once('?').map_or("", |(_, query)| query);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or(MarkupError::Parameter)?;
        if name == "sample-rate" {
            let rate = value.parse().map_err(|_| MarkupError::Format)?;
            format = Format::linear(rate).spoken().ok_or(MarkupError::Format)?;
            continue;
        }
        custom_bytes += pair.len();
        let decoded = (percent_decode(name)?, percent_decode(value)?);
        stream.parameters.push(decoded);
    }
    if stream.parameters.len() > QUERY_PARAMETERS_MAX || custom_bytes > QUERY_BYTES_MAX {
        return Err(MarkupError::Parameter);
    }
    (stream.up, stream.down) = (Some(format), Some(format));
    Ok(Answer { verbs: vec!["url".to_string()], stream: Some(stream) })
}

fn percent_decode(text: &str) -> Result<String, MarkupError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let (byte, used) = match first {
            b'%' => {
                let digits = behind.get(..2).ok_or(MarkupError::Parameter)?;
                let digits = std::str::from_utf8(digits).map_err(|_| MarkupError::Parameter)?;
                (u8::from_str_radix(digits, 16).map_err(|_| MarkupError::Parameter)?, 3)
            }
            b'+' => (b' ', 1),
            byte => (*byte, 1),
        };
        bytes.push(byte);
        rest = &rest[used..];
    }
    String::from_utf8(bytes).map_err(|_| MarkupError::Parameter)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VonageEndpoint {
    #[serde(rename = "type")]
    kind: String,
    uri: String,
    #[serde(rename = "content-type")]
    content_type: String,
    #[serde(default)]
    headers: Map<String, Value>,
}

fn vonage(text: &str) -> Result<Answer, MarkupError> {
    let (verbs, mut actions) = verbs(text, "action")?;
    let mut answer = Answer { verbs, stream: None };
    let place = answer.verbs.iter().position(|verb| verb == "connect");
    let Some(mut connect) = place.map(|place| actions.swap_remove(place)) else {
        return Ok(answer);
    };
    let endpoint = connect.remove("endpoint").ok_or(MarkupError::Json)?;
    let endpoint: [VonageEndpoint; 1] =
        serde_json::from_value(endpoint).map_err(|_| MarkupError::Json)?;
    let [VonageEndpoint { kind, uri, content_type, headers }] = endpoint;
    if kind != "websocket" {
        return Err(MarkupError::Json);
    }
    let format = match &*content_type {
        "audio/l16;rate=8000" => Format::L16_8K,
        "audio/l16;rate=16000" => Format::L16_16K,
        "audio/l16;rate=24000" => Format::L16_24K,
        _ => return Err(MarkupError::Format),
    };
    let mut stream = StreamNoun::to(uri);
    (stream.up, stream.down) = (Some(format), Some(format));
    stream.parameters = texts(headers)?;
    answer.stream = Some(stream);
    Ok(answer)
}

/// What jambonz knows of `listen`; another property makes it refuse the whole answer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "a property that is known may stand there and change nothing")]
struct Listen {
    verb: String,
    id: Option<String>,
    url: String,
    action_hook: Option<Value>,
    auth: Option<Value>,
    bidirectional_audio: Option<Bidirectional>,
    channel: Option<u32>,
    disable_bidirectional_audio: Option<bool>,
    early_media: Option<bool>,
    finish_on_key: Option<String>,
    max_length: Option<f64>,
    #[serde(default)]
    metadata: Map<String, Value>,
    mix_type: Option<String>,
    #[serde(default)]
    pass_dtmf: bool,
    play_beep: Option<bool>,
    sample_rate: Option<u32>,
    timeout: Option<f64>,
    transcribe: Option<Value>,
    ws_auth: Option<WsAuth>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Bidirectional {
    enabled: Option<bool>,
    #[serde(default)]
    streaming: bool,
    sample_rate: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WsAuth {
    username: String,
    password: String,
}

fn jambonz(text: &str) -> Result<Answer, MarkupError> {
    let (verbs, mut objects) = verbs(text, "verb")?;
    let mut answer = Answer { verbs, stream: None };
    let place = answer.verbs.iter().position(|verb| matches!(&**verb, "listen" | "stream"));
    let Some(listen) = place.map(|place| objects.swap_remove(place)) else { return Ok(answer) };
    let listen: Listen =
        serde_json::from_value(Value::Object(listen)).map_err(|_| MarkupError::Json)?;
    if listen.mix_type.is_some_and(|mix| mix != "mono") {
        return Err(MarkupError::Track);
    }
    let back = listen.bidirectional_audio.filter(|back| back.enabled != Some(false));
    let Some(back) = back.filter(|back| back.streaming) else { return Err(MarkupError::OneWay) };
    let format = |rate: Option<u32>| rate.and_then(|rate| Format::linear(rate).spoken());
    let mut stream = StreamNoun::to(listen.url);
    stream.up = Some(format(listen.sample_rate.or(Some(8_000))).ok_or(MarkupError::Format)?);
    // It has no default: what is not said is played at a speed nobody knows.
    stream.down = Some(format(back.sample_rate).ok_or(MarkupError::Format)?);
    stream.passes_keys = listen.pass_dtmf;
    stream.parameters = texts(listen.metadata)?;
    stream.action = listen.action_hook.and_then(|hook| hook.as_str().map(str::to_string));
    stream.authorization = listen.ws_auth.map(|auth| {
        format!("Basic {}", STANDARD.encode(format!("{}:{}", auth.username, auth.password)))
    });
    answer.stream = Some(stream);
    Ok(answer)
}

/// An array of objects, each named by its `key`.
#[expect(clippy::type_complexity, reason = "names beside the objects they were found in")]
fn verbs(text: &str, key: &str) -> Result<(Vec<String>, Vec<Map<String, Value>>), MarkupError> {
    let objects: Vec<Map<String, Value>> =
        serde_json::from_str(text).map_err(|_| MarkupError::Json)?;
    let name = |object: &Map<String, Value>| Some(object.get(key)?.as_str()?.to_string());
    let names = objects.iter().map(name).collect::<Option<_>>().ok_or(MarkupError::Json)?;
    Ok((names, objects))
}

/// Values that are text; our callers carry no others.
fn texts(map: Map<String, Value>) -> Result<Vec<(String, String)>, MarkupError> {
    let text = |(name, value)| match value {
        Value::String(value) => Ok((name, value)),
        _ => Err(MarkupError::Parameter),
    };
    map.into_iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(carrier: Carrier, text: &str) -> Result<StreamNoun, MarkupError> {
        Ok(read(carrier, text, false)?.stream.expect("there is a stream"))
    }

    #[test]
    fn exotels_url_carries_rate_credentials_and_parameters() {
        let url = "wss://k:t@h/exotel/media?sample-rate=16000&token=a%2Eb+c&to=1";
        let found = stream(Carrier::Exotel, &format!(r#"{{"url":"{url}"}}"#)).unwrap();
        assert_eq!(found.url, "wss://h/exotel/media?sample-rate=16000&token=a%2Eb+c&to=1");
        assert_eq!(found.authorization.as_deref(), Some("Basic azp0"));
        assert_eq!((found.up, found.down), (Some(Format::L16_16K), Some(Format::L16_16K)));
        assert_eq!(found.parameters, [("token".into(), "a.b c".into()), ("to".into(), "1".into())]);
        for (url, error) in [
            ("wss://h/a?w=1&x=1&y=1&z=1".to_string(), MarkupError::Parameter),
            (format!("wss://h/a?x={}", "1".repeat(255)), MarkupError::Parameter),
            ("wss://h/a?sample-rate=44100".into(), MarkupError::Format),
            ("ws://h/a".into(), MarkupError::StreamUrl),
            ("nowhere".into(), MarkupError::StreamUrl),
        ] {
            let text = format!(r#"{{"url":"{url}"}}"#);
            assert_eq!(read(Carrier::Exotel, &text, false), Err(error), "{url}");
        }
        assert_eq!(read(Carrier::Exotel, "{}", false), Err(MarkupError::Json));
    }

    const NCCO: &str = r#"[{"action":"talk","text":"Hi"},
        {"action":"connect","eventUrl":["https://h/e"],"endpoint":[{"type":"websocket",
         "uri":"wss://h/vonage/media","content-type":"audio/l16;rate=16000",
         "headers":{"token":"t"}}]}]"#;

    #[test]
    fn an_ncco_connects_one_websocket() {
        let answer = read(Carrier::Vonage, NCCO, false).unwrap();
        assert_eq!(answer.verbs, ["talk", "connect"]);
        let found = answer.stream.unwrap();
        assert_eq!(found.url, "wss://h/vonage/media");
        assert_eq!(found.down, Some(Format::L16_16K));
        assert_eq!(found.parameters, [("token".into(), "t".into())]);
        for (from, to, error) in [
            ("rate=16000", "rate=48000", MarkupError::Format),
            ("\"websocket\"", "\"phone\"", MarkupError::Json),
            ("\"t\"", "1", MarkupError::Parameter),
            ("wss:", "https:", MarkupError::StreamUrl),
            ("\"action\":\"talk\",", "", MarkupError::Json),
            ("]", "", MarkupError::Json),
        ] {
            let read = read(Carrier::Vonage, &NCCO.replacen(from, to, 1), false);
            assert_eq!(read, Err(error), "{to}");
        }
        let busy = read(Carrier::Vonage, r#"[{"action":"talk","text":"Busy"}]"#, false).unwrap();
        assert_eq!(busy.stream, None);
    }

    const LISTEN: &str = r#"[{"verb":"listen","url":"wss://h/jambonz/media","sampleRate":16000,
        "mixType":"mono","passDtmf":true,"actionHook":"/jambonz/after","metadata":{"token":"t"},
        "wsAuth":{"username":"u","password":"p"},
        "bidirectionalAudio":{"enabled":true,"streaming":true,"sampleRate":24000}},
        {"verb":"hangup"}]"#;

    #[test]
    fn jambonz_listens_both_ways_only_where_it_is_told_so() {
        let answer = read(Carrier::Jambonz, LISTEN, false).unwrap();
        assert_eq!(answer.verbs, ["listen", "hangup"]);
        let found = answer.stream.unwrap();
        assert_eq!((found.up, found.down), (Some(Format::L16_16K), Some(Format::L16_24K)));
        assert_eq!(found.parameters, [("token".into(), "t".into())]);
        assert_eq!(found.authorization.as_deref(), Some("Basic dTpw"));
        assert_eq!(found.action.as_deref(), Some("/jambonz/after"));
        for (from, to, error) in [
            ("\"streaming\":true", "\"streaming\":false", MarkupError::OneWay),
            ("\"enabled\":true", "\"enabled\":false", MarkupError::OneWay),
            ("\"mono\"", "\"stereo\"", MarkupError::Track),
            (",\"sampleRate\":24000", "", MarkupError::Format),
            ("16000", "48000", MarkupError::Format),
            ("\"mixType\"", "\"mixtype\"", MarkupError::Json),
        ] {
            let read = read(Carrier::Jambonz, &LISTEN.replacen(from, to, 1), false);
            assert_eq!(read, Err(error), "{to}");
        }
        let plain =
            LISTEN.replace("\"sampleRate\":16000,\n", "").replace("true,\"act", "false,\"act");
        let plain = stream(Carrier::Jambonz, &plain).unwrap();
        assert_eq!((plain.up, plain.passes_keys), (Some(Format::L16_8K), false));
    }
}
