//! What a webhook answers, as each carrier reads it, as far as a media stream needs it.
//!
//! In:       the body of a response and its content type.
//! Out:      an [`Answer`]: the verbs in order, and the stream to connect to; or what the carrier
//!           would object to.
//! Bounds:   none of its own; the exchange bounds a body.
//! Not here: requesting it (`carrier::webhook`).

use super::Carrier;
use crate::format::Format;

mod json;
mod xml;

/// What a webhook wants done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The names of the verbs, in order.
    pub verbs: Vec<String>,
    /// The stream to connect to, if there is one.
    pub stream: Option<StreamNoun>,
}

/// The stream of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamNoun {
    /// Where to connect, without credentials.
    pub url: String,
    /// What is requested when the stream has ended.
    pub action: Option<String>,
    /// Where stream events are reported.
    pub status_callback: Option<String>,
    /// What the first message has to say: name and value of every parameter, header, item of
    /// metadata or of the query, by whatever name the carrier has for them.
    pub parameters: Vec<(String, String)>,
    /// The caller's audio, where the answer names a format.
    pub up: Option<Format>,
    /// The relay's audio, where the answer names a format.
    pub down: Option<Format>,
    /// The value of `authorization` at the upgrade.
    pub authorization: Option<String>,
    /// Keys that are pressed are reported on the stream.
    pub passes_keys: bool,
}

impl StreamNoun {
    /// A stream to `url` about which nothing is said.
    pub fn to(url: String) -> StreamNoun {
        StreamNoun {
            url,
            action: None,
            status_callback: None,
            parameters: Vec::new(),
            up: None,
            down: None,
            authorization: None,
            passes_keys: true,
        }
    }
}

/// Why a carrier would not run an answer. The numbers are Twilio's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkupError {
    /// 12300: a content type that is not that of the markup.
    ContentType,
    /// 12100: not well-formed XML.
    Xml,
    /// Not JSON, or not of the carrier's shape.
    Json,
    /// 12102: the root element is not `Response`.
    Root,
    /// 31922: the stream's URL is not `wss` and absolute, or has a query where none is allowed.
    StreamUrl,
    /// 31941: a track other than the caller's.
    Track,
    /// A parameter with a name or value missing, not text, too long, or of letters that are not
    /// allowed.
    Parameter,
    /// A format that the carrier does not have, or no callers of ours.
    Format,
    /// The relay would be heard by nobody: not bidirectional, or not as raw audio.
    OneWay,
    /// The call would not wait for the end of the stream.
    NotHeld,
}

/// Reads the answer of a webhook. `insecure`: `ws://` is accepted as well, for a relay without
/// TLS.
///
/// # Errors
/// What the carrier would object to.
pub fn read(
    carrier: Carrier,
    content_type: &str,
    body: &str,
    insecure: bool,
) -> Result<Answer, MarkupError> {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match carrier {
        Carrier::Twilio | Carrier::SignalWire | Carrier::Telnyx | Carrier::Plivo => {
            if !matches!(&*kind, "text/xml" | "application/xml" | "text/html") {
                return Err(MarkupError::ContentType);
            }
            xml::read(carrier, body, insecure)
        }
        Carrier::Exotel | Carrier::Vonage | Carrier::Jambonz | Carrier::Web => {
            if kind != "application/json" {
                return Err(MarkupError::ContentType);
            }
            json::read(carrier, body, insecure)
        }
    }
}

/// True if a stream may be connected to there.
fn is_stream_url(url: &str, insecure: bool) -> bool {
    let rest = url.strip_prefix("wss://");
    let rest = rest.or_else(|| url.strip_prefix("ws://").filter(|_| insecure));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', '?'])) && !url.contains('#')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_carrier_wants_the_content_type_of_its_markup() {
        for (carrier, kind, wanted) in [
            (Carrier::Twilio, "text/xml; charset=utf-8", true),
            (Carrier::Telnyx, "Application/XML", true),
            (Carrier::Plivo, "application/json", false),
            (Carrier::SignalWire, "", false),
            (Carrier::Vonage, "application/json; charset=utf-8", true),
            (Carrier::Exotel, "text/xml", false),
            (Carrier::Jambonz, "", false),
        ] {
            let refused = read(carrier, kind, "", false) == Err(MarkupError::ContentType);
            assert_eq!(refused, !wanted, "{carrier} {kind}");
        }
    }

    #[test]
    fn a_stream_is_absolute_and_secure() {
        for (url, insecure, good) in [
            ("wss://h/a", false, true),
            ("wss://h", false, true),
            ("ws://h/a", false, false),
            ("ws://h/a", true, true),
            ("wss:///a", true, false),
            ("wss://", true, false),
            ("wss://h/a#b", true, false),
            ("https://h/a", true, false),
            ("/a", true, false),
        ] {
            assert_eq!(is_stream_url(url, insecure), good, "{url}");
        }
    }
}
