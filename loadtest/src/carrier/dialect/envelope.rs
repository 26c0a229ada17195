//! What Twilio, SignalWire, Telnyx and Exotel accept from a server, and nothing else.
//!
//! In:       one message as it came.
//! Out:      an [`Order`] with decoded audio, or the [`Violation`] the carrier would warn about.
//! Bounds:   none of its own; the link bounds a message.
//! Not here: when things are played (`carrier::playout`).
//!
//! The four share `media`, `mark` and `clear`, and name the stream each in its own way: Twilio and
//! SignalWire by `streamSid`, Exotel by `stream_sid`, Telnyx not at all. At Twilio a missing or an
//! extra field, an unknown event, a wrong `streamSid` or anything before `start` is warning 31951;
//! the others are held to the same. Duplicate fields count as extra.

use std::borrow::Cow;

use serde::Deserialize;

use super::{Order, Violation, audio, present};
use crate::carrier::Carrier;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow, rename = "streamSid", default, deserialize_with = "present")]
    camel_sid: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "stream_sid", default, deserialize_with = "present")]
    snake_sid: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    media: Option<Media<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    mark: Option<Mark<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    dtmf: Option<Dtmf<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Media<'a> {
    #[serde(borrow)]
    payload: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dtmf<'a> {
    #[serde(borrow)]
    digit: Cow<'a, str>,
}

/// Reads one text message of the server on the stream `stream`.
pub(super) fn read(carrier: Carrier, stream: &str, text: &str) -> Result<Order, Violation> {
    let message: Envelope<'_> = serde_json::from_str(text).map_err(|_| Violation::Shape)?;
    let plays_keys = carrier == Carrier::SignalWire;
    match &*message.event {
        "media" | "mark" | "clear" => {}
        "dtmf" if plays_keys => {}
        _ => return Err(Violation::UnknownEvent),
    }
    let (named, other) = match carrier {
        Carrier::Exotel => (message.snake_sid, message.camel_sid),
        _ => (message.camel_sid, message.snake_sid),
    };
    match (named.as_deref(), carrier) {
        (None, Carrier::Telnyx) if other.is_none() => {}
        (Some(_), Carrier::Telnyx) | (None, _) => return Err(Violation::Shape),
        _ if other.is_some() => return Err(Violation::Shape),
        (Some(named), _) if named == stream => {}
        (Some(_), _) => return Err(Violation::WrongStreamId),
    }
    match (&*message.event, message.media, message.mark, message.dtmf) {
        ("media", Some(media), None, None) => audio(&media.payload),
        ("mark", None, Some(mark), None) => Ok(Order::Mark(mark.name.into_owned())),
        ("clear", None, None, None) => Ok(Order::Clear),
        ("dtmf", None, None, Some(dtmf)) if dtmf.digit.len() == 1 => Ok(Order::Key),
        _ => Err(Violation::Shape),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SID: &str = "MZ0000000000000000000000000000000a";

    fn checked(text: &str) -> Result<Order, Violation> {
        read(Carrier::Twilio, SID, &text.replace("SID", SID))
    }

    #[test]
    fn the_three_messages_are_accepted_in_any_key_order() {
        assert_eq!(
            checked(r#"{"event":"media","streamSid":"SID","media":{"payload":"//8="}}"#),
            Ok(Order::Media(vec![0xFF, 0xFF]))
        );
        assert_eq!(
            checked(r#" { "mark" : {"name":"g3:\u0031200"}, "streamSid":"SID","event":"mark"}"#),
            Ok(Order::Mark("g3:1200".into()))
        );
        assert_eq!(checked(r#"{"event":"clear","streamSid":"SID"}"#), Ok(Order::Clear));
    }

    #[test]
    fn a_field_too_many_or_too_few_is_warned_about() {
        for text in [
            r#"{"event":"clear","streamSid":"SID","x":1}"#,
            r#"{"event":"clear","streamSid":"SID","mark":{"name":"a"}}"#,
            r#"{"event":"clear","streamSid":"SID","mark":null}"#,
            r#"{"event":"clear","streamSid":"SID","event":"clear"}"#,
            r#"{"event":"clear"}"#,
            r#"{"event":"clear","streamSid":null}"#,
            r#"{"event":"mark","streamSid":"SID"}"#,
            r#"{"event":"mark","streamSid":"SID","mark":{}}"#,
            r#"{"event":"mark","streamSid":"SID","mark":{"name":7}}"#,
            r#"{"event":"mark","streamSid":"SID","mark":{"name":"a","n":1}}"#,
            r#"{"event":"mark","streamSid":"SID","sequenceNumber":"4","mark":{"name":"a"}}"#,
            r#"{"event":"media","streamSid":"SID","media":{}}"#,
            r#"{"event":"media","streamSid":"SID","media":{"payload":"//8=","track":"outbound"}}"#,
            r#"{"event":"media","streamSid":"SID","media":{"payload":["//8="]}}"#,
            r#"{"event":"media","streamSid":"SID","payload":"//8="}"#,
            r#"{"event":"clear","streamSid":"SID"} x"#,
            r#"{"event":"clear","streamSid":"SID""#,
            r#"["clear"]"#,
            "",
        ] {
            assert_eq!(checked(text), Err(Violation::Shape), "{text}");
        }
    }

    #[test]
    fn foreign_events_and_streams_are_warned_about() {
        let dtmf = r#"{"event":"dtmf","streamSid":"SID"}"#;
        assert_eq!(checked(dtmf), Err(Violation::UnknownEvent));
        let other = r#"{"event":"clear","streamSid":"MZ1"}"#;
        assert_eq!(checked(other), Err(Violation::WrongStreamId));
        assert_eq!(Violation::WrongStreamId.code(), 31951);
        assert_eq!(Violation::Binary.code(), 31950);
    }

    #[test]
    fn a_payload_is_padded_standard_base64_and_not_empty() {
        for payload in ["", "//8", "__8=", "//9=", "/ /8=", "//8=\\n", "=", "a"] {
            let text = format!(
                r#"{{"event":"media","streamSid":"SID","media":{{"payload":"{payload}"}}}}"#
            );
            assert_eq!(checked(&text), Err(Violation::Payload), "{payload}");
        }
    }

    #[test]
    fn each_of_the_four_names_the_stream_in_its_own_way() {
        let carriers = [Carrier::Twilio, Carrier::SignalWire, Carrier::Telnyx, Carrier::Exotel];
        for (text, taken) in [
            (r#"{"event":"clear","streamSid":"SID"}"#, [true, true, false, false]),
            (r#"{"event":"clear","stream_sid":"SID"}"#, [false, false, false, true]),
            (r#"{"event":"clear"}"#, [false, false, true, false]),
            (r#"{"event":"clear","stream_id":"SID"}"#, [false; 4]),
            (r#"{"event":"clear","streamSid":"SID","stream_sid":"SID"}"#, [false; 4]),
            (
                r#"{"event":"dtmf","streamSid":"SID","dtmf":{"digit":"5"}}"#,
                [false, true, false, false],
            ),
        ] {
            let text = text.replace("SID", SID);
            let read = carriers.map(|carrier| read(carrier, SID, &text).is_ok());
            assert_eq!(read, taken, "{text}");
        }
    }
}
