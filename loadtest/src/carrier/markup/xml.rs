//! XML answers: Twilio's TwiML, SignalWire's cXML, Telnyx's TeXML, Plivo's XML.
//!
//! In:       a document.
//! Out:      an [`Answer`].
//! Bounds:   [`PARAMETER_CHARS`], [`EXTRA_HEADERS_BYTES_MAX`].
//! Not here: the JSON answers (`markup::json`).
//!
//! Twilio, Telnyx: `<Connect action><Stream url …><Parameter name value/>`; in place of the `action`
//! a `<Redirect>` right behind `<Connect>` asks the same. SignalWire: the same, with `codec` and
//! `authBearerToken` (page cxml/voice/stream). Telnyx: `codec`, `bidirectionalMode`,
//! `bidirectionalCodec`, `bidirectionalSamplingRate` (page texml-verbs/stream). Plivo: `<Stream
//! bidirectional keepCallAlive contentType extraHeaders>` with the URL as its text (page
//! voice/xml/audiostream).

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::{Answer, MarkupError, StreamNoun, is_stream_url};
use crate::carrier::Carrier;
use crate::format::{Coding, Format};

/// Name and value of a `<Parameter>` together must stay below this.
pub(super) const PARAMETER_CHARS: usize = 500;

/// The longest `extraHeaders` of Plivo.
pub(super) const EXTRA_HEADERS_BYTES_MAX: usize = 512;

/// Reads a document.
pub(super) fn read(carrier: Carrier, text: &str, insecure: bool) -> Result<Answer, MarkupError> {
    let mut reader = Reader::from_str(text);
    let mut reading = Reading {
        carrier,
        insecure,
        path: Vec::new(),
        action: None,
        text: String::new(),
        answer: Answer::default(),
    };
    loop {
        match reader.read_event().map_err(|_| MarkupError::Xml)? {
            Event::Start(element) => reading.open(&element)?,
            Event::Empty(element) => {
                reading.open(&element)?;
                if reading.close()? {
                    return Ok(reading.answer);
                }
            }
            Event::End(_) if reading.close()? => return Ok(reading.answer),
            Event::Text(text) => {
                reading.text += &text.decode().map_err(|_| MarkupError::Xml)?;
            }
            Event::GeneralRef(entity) => {
                let name = entity.decode().map_err(|_| MarkupError::Xml)?;
                let text = quick_xml::escape::unescape(&format!("&{name};"))
                    .map_err(|_| MarkupError::Xml)?
                    .into_owned();
                reading.text += &text;
            }
            Event::Eof => return Err(MarkupError::Xml),
            _ => {}
        }
    }
}

/// A document as far as it has been read.
struct Reading {
    carrier: Carrier,
    insecure: bool,
    /// The open elements, outermost first.
    path: Vec<String>,
    /// The `action` of the open `<Connect>`.
    action: Option<String>,
    /// The text of the innermost element so far.
    text: String,
    answer: Answer,
}

impl Reading {
    fn open(&mut self, element: &BytesStart<'_>) -> Result<(), MarkupError> {
        let name = name_of(element)?;
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let plivo = self.carrier == Carrier::Plivo;
        match (path.as_slice(), &*name) {
            ([], "Response") => {}
            ([], _) => return Err(MarkupError::Root),
            (["Response"], "Stream") if plivo => {
                self.answer.verbs.push(name.clone());
                self.answer.stream = Some(plivo_stream(element)?);
            }
            (["Response"], verb) => {
                self.answer.verbs.push(verb.to_string());
                self.action = if verb == "Connect" { attribute(element, "action")? } else { None };
            }
            (["Response", "Connect"], "Stream") if !plivo => {
                let mut stream = self.stream(element)?;
                stream.action.clone_from(&self.action);
                self.answer.stream = Some(stream);
            }
            (["Response", "Connect", "Stream"], "Parameter") => {
                let name = attribute(element, "name")?.ok_or(MarkupError::Parameter)?;
                let value = attribute(element, "value")?.ok_or(MarkupError::Parameter)?;
                if name.chars().count() + value.chars().count() >= PARAMETER_CHARS {
                    return Err(MarkupError::Parameter);
                }
                if let Some(stream) = &mut self.answer.stream {
                    stream.parameters.push((name, value));
                }
            }
            _ => {}
        }
        self.path.push(name);
        self.text.clear();
        Ok(())
    }

    /// Leaves the innermost element; true if it was the outermost as well.
    fn close(&mut self) -> Result<bool, MarkupError> {
        let is_plivo_stream = self.carrier == Carrier::Plivo && self.path == ["Response", "Stream"];
        if let Some(stream) = self.answer.stream.as_mut().filter(|_| is_plivo_stream) {
            let url = self.text.trim();
            if !is_stream_url(url, self.insecure) {
                return Err(MarkupError::StreamUrl);
            }
            stream.url = url.to_string();
        }
        // What stands behind `<Connect>` runs once the stream is over: sent elsewhere at once, the
        // carrier asks there what follows, as an `action` would have had it.
        if self.path == ["Response", "Redirect"]
            && self.answer.verbs.ends_with(&["Connect".to_string(), "Redirect".to_string()])
            && let Some(stream) = &mut self.answer.stream
        {
            stream.action.get_or_insert_with(|| self.text.trim().to_string());
        }
        self.text.clear();
        self.path.pop();
        Ok(self.path.is_empty())
    }

    fn stream(&self, element: &BytesStart<'_>) -> Result<StreamNoun, MarkupError> {
        let url = attribute(element, "url")?.ok_or(MarkupError::StreamUrl)?;
        // Telnyx says nothing of queries; the other two drop or refuse them.
        let query_fits = self.carrier == Carrier::Telnyx || !url.contains('?');
        if !is_stream_url(&url, self.insecure) || !query_fits {
            return Err(MarkupError::StreamUrl);
        }
        if attribute(element, "track")?.is_some_and(|track| track != "inbound_track") {
            return Err(MarkupError::Track);
        }
        let mut stream = StreamNoun::to(url);
        stream.status_callback = attribute(element, "statusCallback")?;
        match self.carrier {
            Carrier::SignalWire => {
                let codec = attribute(element, "codec")?;
                let format = codec.map(|codec| signalwire_codec(&codec)).transpose()?;
                (stream.up, stream.down) = (format, format);
                stream.authorization =
                    attribute(element, "authBearerToken")?.map(|token| format!("Bearer {token}"));
            }
            Carrier::Telnyx => telnyx_codecs(element, &mut stream)?,
            _ => {}
        }
        Ok(stream)
    }
}

fn signalwire_codec(name: &str) -> Result<Format, MarkupError> {
    match name {
        "PCMU@8000h" | "PCMU" => Ok(Format::PCMU),
        "L16@16000h" => Ok(Format::L16_16K),
        "L16@24000h" => Ok(Format::L16_24K),
        _ => Err(MarkupError::Format),
    }
}

/// `codec` is what Telnyx sends, and the call's own where it is absent or `default`;
/// `bidirectional…` is what it takes: files of MP3 unless the mode says `rtp`. L16 is asked for by
/// public clients with one rate for both ways; the page does not list it.
fn telnyx_codecs(element: &BytesStart<'_>, stream: &mut StreamNoun) -> Result<(), MarkupError> {
    if attribute(element, "bidirectionalMode")?.as_deref() != Some("rtp") {
        return Err(MarkupError::OneWay);
    }
    let rate = match attribute(element, "bidirectionalSamplingRate")?.as_deref() {
        None | Some("8000") => 8_000,
        Some("16000") => 16_000,
        Some("24000") => 24_000,
        Some(_) => return Err(MarkupError::Format),
    };
    let named = |name: &str, rate| match name {
        "PCMU" => Ok(Format { coding: Coding::Mulaw, rate }),
        "PCMA" => Ok(Format { coding: Coding::Alaw, rate }),
        "L16" => Ok(Format::network(rate)),
        _ => Err(MarkupError::Format),
    };
    let down = attribute(element, "bidirectionalCodec")?;
    let down = named(down.as_deref().unwrap_or("PCMU"), rate)?;
    stream.down = Some(down.spoken().ok_or(MarkupError::Format)?);
    stream.up = match attribute(element, "codec")?.as_deref() {
        None | Some("default") => None,
        Some("L16") => Some(Format::network(rate)),
        Some(name) => Some(named(name, 8_000)?),
    };
    Ok(())
}

fn plivo_stream(element: &BytesStart<'_>) -> Result<StreamNoun, MarkupError> {
    let is_true = |value: Option<String>| value.as_deref() == Some("true");
    if !is_true(attribute(element, "bidirectional")?) {
        return Err(MarkupError::OneWay);
    }
    if !is_true(attribute(element, "keepCallAlive")?) {
        return Err(MarkupError::NotHeld);
    }
    if attribute(element, "audioTrack")?.is_some_and(|track| track != "inbound") {
        return Err(MarkupError::Track);
    }
    let format = match attribute(element, "contentType")?.as_deref() {
        Some("audio/x-mulaw;rate=8000") => Format::PCMU,
        Some("audio/x-l16;rate=8000") | None => Format::L16_8K,
        Some("audio/x-l16;rate=16000") => Format::L16_16K,
        Some(_) => return Err(MarkupError::Format),
    };
    let mut stream = StreamNoun::to(String::new());
    (stream.up, stream.down) = (Some(format), Some(format));
    stream.status_callback = attribute(element, "statusCallbackUrl")?;
    if let Some(headers) = attribute(element, "extraHeaders")? {
        stream.parameters = extra_headers(&headers)?;
    }
    Ok(stream)
}

/// `name=value,name=value`. The page of the element allows letters and digits; the reference of the
/// stream shows a hyphen as well.
fn extra_headers(text: &str) -> Result<Vec<(String, String)>, MarkupError> {
    if text.len() > EXTRA_HEADERS_BYTES_MAX {
        return Err(MarkupError::Parameter);
    }
    let is_plain = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let pairs = text.split(',').map(|pair| {
        let (name, value) = pair.split_once('=')?;
        (is_plain(name) && is_plain(value)).then(|| (name.to_string(), value.to_string()))
    });
    pairs.collect::<Option<_>>().ok_or(MarkupError::Parameter)
}

fn name_of(element: &BytesStart<'_>) -> Result<String, MarkupError> {
    let name = element.name();
    std::str::from_utf8(name.as_ref()).map(str::to_string).map_err(|_| MarkupError::Xml)
}

fn attribute(element: &BytesStart<'_>, name: &str) -> Result<Option<String>, MarkupError> {
    let found = element.try_get_attribute(name).map_err(|_| MarkupError::Xml)?;
    let value = found.map(|found| found.unescape_value().map(|text| text.into_owned()));
    value.transpose().map_err(|_| MarkupError::Xml)
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
        let answer = read(Carrier::Twilio, CONNECT, false).unwrap();
        assert_eq!(answer.verbs, ["Connect", "Say"]);
        let stream = answer.stream.unwrap();
        assert_eq!(stream.url, "wss://h/twilio/media");
        assert_eq!(stream.action.as_deref(), Some("https://h/twilio/after"));
        assert_eq!(stream.status_callback.as_deref(), Some("https://h/s?a=1&b=2"));
        let first = ("from".to_string(), "+1<2>\"3\"".to_string());
        assert_eq!(stream.parameters, [first, ("token".into(), "v1".into())]);
    }

    #[test]
    fn what_follows_is_asked_by_the_action_or_by_a_redirect_right_behind() {
        let say = "<Say>Sorry.</Say>";
        let redirect = "<Redirect method=\"POST\">https://h/later?a=1&amp;b=2</Redirect>";
        let action = " action=\"https://h/twilio/after\"";
        let asked =
            |document: &str| read(Carrier::Twilio, document, false).unwrap().stream.unwrap().action;
        let both = CONNECT.replace(say, redirect);
        assert_eq!(asked(&both).as_deref(), Some("https://h/twilio/after"));
        let verb = both.replace(action, "");
        assert_eq!(asked(&verb).as_deref(), Some("https://h/later?a=1&b=2"));
        let spoken = CONNECT.replace(say, &format!("{say}{redirect}")).replace(action, "");
        assert_eq!(asked(&spoken), None);
    }

    #[test]
    fn what_kills_a_real_call_is_refused() {
        for (from, to, error) in [
            ("/media\"", "/media?source=twilio\"", MarkupError::StreamUrl),
            ("url=\"wss", "url=\"ws", MarkupError::StreamUrl),
            ("url=", "track=\"both_tracks\" url=", MarkupError::Track),
            ("value=\"v1\"", "", MarkupError::Parameter),
            ("Response", "Answer", MarkupError::Root),
            ("</Response>", "", MarkupError::Xml),
            ("</Connect>", "</Other>", MarkupError::Xml),
        ] {
            for carrier in [Carrier::Twilio, Carrier::SignalWire] {
                let read = read(carrier, &CONNECT.replace(from, to), false);
                assert_eq!(read, Err(error), "{to}");
            }
        }
        assert_eq!(read(Carrier::Twilio, "", false), Err(MarkupError::Xml));
    }

    #[test]
    fn a_document_without_a_stream_is_only_verbs() {
        for carrier in [Carrier::Twilio, Carrier::Plivo] {
            let hangup = read(carrier, "<Response><Hangup/></Response>", false).unwrap();
            assert_eq!((hangup.verbs, hangup.stream), (vec!["Hangup".to_string()], None));
            assert_eq!(read(carrier, "<Response/>", false).unwrap(), Answer::default());
        }
    }

    #[test]
    fn signalwire_names_its_codec_and_its_bearer() {
        let with = |attributes: &str| {
            read(
                Carrier::SignalWire,
                &CONNECT.replace("url=", &format!("{attributes} url=")),
                false,
            )
        };
        let stream = with("codec=\"L16@24000h\" authBearerToken=\"t\"").unwrap().stream.unwrap();
        assert_eq!((stream.up, stream.down), (Some(Format::L16_24K), Some(Format::L16_24K)));
        assert_eq!(stream.authorization.as_deref(), Some("Bearer t"));
        assert_eq!(with("").unwrap().stream.unwrap().up, None);
        assert_eq!(with("codec=\"OPUS\""), Err(MarkupError::Format));
    }

    #[test]
    fn telnyx_takes_raw_audio_only_where_it_is_told_so() {
        let with = |attributes: &str| {
            read(Carrier::Telnyx, &CONNECT.replace("url=", &format!("{attributes} url=")), false)
        };
        assert_eq!(with(""), Err(MarkupError::OneWay));
        for (attributes, up, down) in [
            ("", None, Format::PCMU),
            ("bidirectionalCodec=\"PCMA\"", None, Format::PCMA),
            ("codec=\"default\"", None, Format::PCMU),
            (
                "codec=\"PCMA\" bidirectionalCodec=\"L16\" bidirectionalSamplingRate=\"16000\"",
                Some(Format::PCMA),
                Format::network(16_000),
            ),
            (
                "codec=\"L16\" bidirectionalCodec=\"L16\" bidirectionalSamplingRate=\"16000\"",
                Some(Format::network(16_000)),
                Format::network(16_000),
            ),
        ] {
            let stream = with(&format!("bidirectionalMode=\"rtp\" {attributes}"));
            let stream = stream.unwrap().stream.unwrap();
            assert_eq!((stream.up, stream.down), (up, Some(down)), "{attributes}");
        }
        for wrong in ["bidirectionalCodec=\"OPUS\"", "bidirectionalSamplingRate=\"16000\""] {
            let read = with(&format!("bidirectionalMode=\"rtp\" {wrong}"));
            assert_eq!(read, Err(MarkupError::Format), "{wrong}");
        }
    }

    const PLIVO: &str = r#"<Response>
        <Stream bidirectional="true" keepCallAlive="true" contentType="audio/x-mulaw;rate=8000"
                extraHeaders="token=ab-1,to=18005550100">
          wss://h/plivo/media?a=1&amp;b=2
        </Stream></Response>"#;

    #[test]
    fn plivos_stream_is_a_verb_with_its_url_inside() {
        let answer = read(Carrier::Plivo, PLIVO, false).unwrap();
        assert_eq!(answer.verbs, ["Stream"]);
        let stream = answer.stream.unwrap();
        assert_eq!(stream.url, "wss://h/plivo/media?a=1&b=2");
        assert_eq!((stream.up, stream.down), (Some(Format::PCMU), Some(Format::PCMU)));
        let token = ("token".to_string(), "ab-1".to_string());
        assert_eq!(stream.parameters, [token, ("to".into(), "18005550100".into())]);
        for (from, to, error) in [
            (" bidirectional=\"true\"", "", MarkupError::OneWay),
            ("keepCallAlive=\"true\"", "", MarkupError::NotHeld),
            ("mulaw;rate=8000", "mulaw;rate=16000", MarkupError::Format),
            ("token=ab-1", "token=a.b", MarkupError::Parameter),
            ("token=ab-1", "token", MarkupError::Parameter),
            ("wss://h", "h", MarkupError::StreamUrl),
        ] {
            assert_eq!(read(Carrier::Plivo, &PLIVO.replace(from, to), false), Err(error), "{to}");
        }
    }
}
