//! TwiML as Twilio reads it, as far as a media stream needs it.
//!
//! In:       the body of a webhook's response.
//! Out:      the verbs in order, the stream to connect to, and what Twilio would object to.
//! Bounds:   none of its own; the exchange bounds a body.
//! Not here: requesting it (`twilio::caller`).

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// A TwiML document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Twiml {
    /// The names of the verbs, in order.
    pub verbs: Vec<String>,
    /// The stream under `<Connect>`, if there is one.
    pub stream: Option<StreamNoun>,
}

/// `<Connect><Stream>`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamNoun {
    /// Where to connect.
    pub url: String,
    /// What is requested when the stream has ended.
    pub action: Option<String>,
    /// Where stream events are reported.
    pub status_callback: Option<String>,
    /// Name and value of every `<Parameter>`.
    pub parameters: Vec<(String, String)>,
}

/// Why Twilio would not run a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TwimlError {
    /// 12100: not well-formed XML.
    Xml,
    /// 12102: the root element is not `Response`.
    Root,
    /// 31922: the stream's URL is not `wss` and absolute, or carries a query.
    StreamUrl,
    /// 31941: a track other than `inbound_track` under `<Connect>`.
    Track,
    /// A name and value of 500 characters or more together, or one of them missing.
    Parameter,
}

/// Reads a document. `insecure`: `ws://` is accepted as well, for a relay without TLS.
pub fn parse(text: &str, insecure: bool) -> Result<Twiml, TwimlError> {
    let mut reader = Reader::from_str(text);
    let mut path: Vec<String> = Vec::new();
    let mut twiml = Twiml::default();
    let mut action = None;
    loop {
        match reader.read_event().map_err(|_| TwimlError::Xml)? {
            Event::Start(element) => {
                let name = name_of(&element)?;
                open(&path, &name, &element, &mut action, &mut twiml, insecure)?;
                path.push(name);
            }
            Event::Empty(element) => {
                let name = name_of(&element)?;
                open(&path, &name, &element, &mut action, &mut twiml, insecure)?;
                if path.is_empty() {
                    path.push(name);
                    break;
                }
            }
            Event::End(_) => {
                path.pop();
                if path.is_empty() {
                    return Ok(twiml);
                }
            }
            Event::Eof => break,
            _ => {}
        }
    }
    // The loop ends here only on `<Response/>` or on a document cut short.
    if path == ["Response"] && twiml.verbs.is_empty() { Ok(twiml) } else { Err(TwimlError::Xml) }
}

fn open(
    path: &[String],
    name: &str,
    element: &BytesStart<'_>,
    action: &mut Option<String>,
    twiml: &mut Twiml,
    insecure: bool,
) -> Result<(), TwimlError> {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match (path.as_slice(), name) {
        ([], "Response") => {}
        ([], _) => return Err(TwimlError::Root),
        (["Response"], verb) => {
            twiml.verbs.push(verb.to_string());
            *action = if verb == "Connect" { attribute(element, "action")? } else { None };
        }
        (["Response", "Connect"], "Stream") => {
            twiml.stream = Some(stream(element, action.clone(), insecure)?);
        }
        (["Response", "Connect", "Stream"], "Parameter") => {
            let name = attribute(element, "name")?.ok_or(TwimlError::Parameter)?;
            let value = attribute(element, "value")?.ok_or(TwimlError::Parameter)?;
            if name.chars().count() + value.chars().count() >= 500 {
                return Err(TwimlError::Parameter);
            }
            if let Some(stream) = &mut twiml.stream {
                stream.parameters.push((name, value));
            }
        }
        _ => {}
    }
    Ok(())
}

fn stream(
    element: &BytesStart<'_>,
    action: Option<String>,
    insecure: bool,
) -> Result<StreamNoun, TwimlError> {
    let url = attribute(element, "url")?.ok_or(TwimlError::StreamUrl)?;
    let scheme_fits = url.starts_with("wss://") || insecure && url.starts_with("ws://");
    if !scheme_fits || url.contains(['?', '#']) {
        return Err(TwimlError::StreamUrl);
    }
    if attribute(element, "track")?.is_some_and(|track| track != "inbound_track") {
        return Err(TwimlError::Track);
    }
    let status_callback = attribute(element, "statusCallback")?;
    Ok(StreamNoun { url, action, status_callback, parameters: Vec::new() })
}

fn name_of(element: &BytesStart<'_>) -> Result<String, TwimlError> {
    let name = element.name();
    std::str::from_utf8(name.as_ref()).map(str::to_string).map_err(|_| TwimlError::Xml)
}

fn attribute(element: &BytesStart<'_>, name: &str) -> Result<Option<String>, TwimlError> {
    let found = element.try_get_attribute(name).map_err(|_| TwimlError::Xml)?;
    let value = found.map(|found| found.unescape_value().map(|text| text.into_owned()));
    value.transpose().map_err(|_| TwimlError::Xml)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONNECT: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
        <Response>
          <Connect action="https://h/twilio/after">
            <Stream url="wss://h/twilio/media" statusCallback="https://h/s?a=1&amp;b=2">
              <Parameter name="from" value="+1&lt;2&gt;&quot;3&quot;"/>
              <Parameter name="token" value="v1"/>
            </Stream>
          </Connect>
          <Say>Sorry.</Say>
        </Response>"#;

    #[test]
    fn a_stream_with_its_parameters_is_read_unescaped() {
        let twiml = parse(CONNECT, false).unwrap();
        assert_eq!(twiml.verbs, ["Connect", "Say"]);
        let stream = twiml.stream.unwrap();
        assert_eq!(stream.url, "wss://h/twilio/media");
        assert_eq!(stream.action.as_deref(), Some("https://h/twilio/after"));
        assert_eq!(stream.status_callback.as_deref(), Some("https://h/s?a=1&b=2"));
        let first = ("from".to_string(), "+1<2>\"3\"".to_string());
        assert_eq!(stream.parameters, [first, ("token".into(), "v1".into())]);
    }

    #[test]
    fn what_kills_a_real_call_is_refused() {
        let with = |from: &str, to: &str| parse(&CONNECT.replace(from, to), false);
        assert_eq!(with("/media\"", "/media?source=twilio\""), Err(TwimlError::StreamUrl));
        assert_eq!(with("url=\"wss", "url=\"ws"), Err(TwimlError::StreamUrl));
        let track = "track=\"both_tracks\" url=";
        assert_eq!(with("url=", track), Err(TwimlError::Track));
        assert_eq!(with("value=\"v1\"", ""), Err(TwimlError::Parameter));
        assert_eq!(with("Response", "Answer"), Err(TwimlError::Root));
        assert_eq!(with("</Response>", ""), Err(TwimlError::Xml));
        assert_eq!(with("</Connect>", "</Other>"), Err(TwimlError::Xml));
        assert_eq!(parse("", false), Err(TwimlError::Xml));
    }

    #[test]
    fn a_document_without_a_stream_is_only_verbs() {
        let hangup = parse("<Response><Hangup/></Response>", false).unwrap();
        assert_eq!((hangup.verbs, hangup.stream), (vec!["Hangup".to_string()], None));
        assert_eq!(parse("<Response/>", false).unwrap(), Twiml::default());
    }
}
