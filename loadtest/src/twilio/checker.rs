//! What Twilio accepts from a server on the stream, and nothing else.
//!
//! In:       one message as it came.
//! Out:      a [`Message`] with decoded audio, or the [`Violation`] Twilio would warn about.
//! Bounds:   none of its own; the link bounds a message.
//! Not here: when things are played (`twilio::playout`).
//!
//! A missing or an extra field, an unknown event, a wrong `streamSid` or anything before `start`
//! is warning 31951; a binary frame is 31950. Duplicate fields count as extra.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};

/// A message from the server.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    /// Audio: mu-law bytes at 8 kHz.
    Media(Vec<u8>),
    /// A mark to return.
    Mark(String),
    /// Throw away what is queued.
    Clear,
}

/// What a server did that Twilio does not accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Violation {
    /// A binary frame.
    Binary,
    /// A message before `start` has told the streamSid.
    BeforeStart,
    /// Not JSON, or fields missing, extra, doubled or of the wrong type.
    Shape,
    /// An event Twilio does not know.
    UnknownEvent,
    /// Another streamSid than the one of this stream.
    WrongStreamSid,
    /// A payload that is not standard base64 with padding, or empty.
    Payload,
    /// More than ten minutes of audio queued.
    QueueFull,
    /// The server read so slowly that caller audio had to be thrown away.
    SlowReader,
    /// Bytes that are not WebSocket: masked, reserved bits, fragmented control frames.
    NotWebSocket,
}

impl Violation {
    /// The number in Twilio's error dictionary.
    pub fn code(self) -> u16 {
        match self {
            Violation::Binary => 31950,
            Violation::QueueFull => 31931,
            Violation::SlowReader => 31930,
            Violation::NotWebSocket => 31924,
            Violation::BeforeStart
            | Violation::Shape
            | Violation::UnknownEvent
            | Violation::WrongStreamSid
            | Violation::Payload => 31951,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow, rename = "streamSid")]
    stream_sid: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "present")]
    media: Option<Media<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    mark: Option<Mark<'a>>,
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

/// A field that is there is a value: `null` is not the same as absent.
fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// Reads one text message of the server on the stream `stream_sid`.
pub fn check(text: &str, stream_sid: &str) -> Result<Message, Violation> {
    let envelope: Envelope<'_> = serde_json::from_str(text).map_err(|_| Violation::Shape)?;
    if !matches!(&*envelope.event, "media" | "mark" | "clear") {
        return Err(Violation::UnknownEvent);
    }
    if envelope.stream_sid != stream_sid {
        return Err(Violation::WrongStreamSid);
    }
    match (&*envelope.event, envelope.media, envelope.mark) {
        ("media", Some(media), None) => match STANDARD.decode(&*media.payload) {
            Ok(audio) if !audio.is_empty() => Ok(Message::Media(audio)),
            _ => Err(Violation::Payload),
        },
        ("mark", None, Some(mark)) => Ok(Message::Mark(mark.name.into_owned())),
        ("clear", None, None) => Ok(Message::Clear),
        _ => Err(Violation::Shape),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SID: &str = "MZ0000000000000000000000000000000a";

    fn checked(text: &str) -> Result<Message, Violation> {
        check(&text.replace("SID", SID), SID)
    }

    #[test]
    fn the_three_messages_are_accepted_in_any_key_order() {
        assert_eq!(
            checked(r#"{"event":"media","streamSid":"SID","media":{"payload":"//8="}}"#),
            Ok(Message::Media(vec![0xFF, 0xFF]))
        );
        assert_eq!(
            checked(r#" { "mark" : {"name":"g3:\u0031200"}, "streamSid":"SID","event":"mark"}"#),
            Ok(Message::Mark("g3:1200".into()))
        );
        assert_eq!(checked(r#"{"event":"clear","streamSid":"SID"}"#), Ok(Message::Clear));
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
        assert_eq!(checked(other), Err(Violation::WrongStreamSid));
        assert_eq!(Violation::WrongStreamSid.code(), 31951);
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
}
