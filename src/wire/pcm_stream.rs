//! The texts of streams whose audio is binary: Vonage's and jambonz'.
//!
//! In:       the text of one WebSocket message.
//! Out:      one [`Inbound`], borrowed from the text, as if a JSON dialect had said it.
//! Bounds:   those of `wire::json`.
//! Not here: audio, which is raw PCM16 in binary messages; what is sent (`wire::dialect`).
//!
//! Both carriers put what our document gave them beside their own words in the first text, so the
//! whole text is the stream's parameters; `call` among them is the name the webhook knew.

use super::json::{Kind, MessageError, NameSpare, Scanner, Text};
use super::twilio::{Encoding, Inbound, MediaFormat, Parameters, Start, Tracks, encoding_of};

/// Reads one text of Vonage: `websocket:connected`, `websocket:dtmf`, `websocket:notify`,
/// `websocket:cleared`.
///
/// # Errors
/// Text that is not JSON, a known field of the wrong kind, or one that is missing: `event`, the
/// `digit` of a key, the `payload.name` of a notification.
pub fn decode_vonage(text: &str) -> Result<Inbound<'_>, MessageError> {
    let (mut event, mut content_type, mut digit, mut name) = (None, None, None, None);
    let (mut call, mut from, mut to) = (None, None, None);
    let mut scanner = Scanner::new(text);
    scanner.enter_object()?;
    while let Some(key) = scanner.next_key()? {
        match key.name(&mut NameSpare::new()) {
            "event" => event = scanner.optional(Scanner::text)?,
            "content-type" => content_type = scanner.optional(Scanner::text)?,
            "digit" => digit = scanner.optional(Scanner::text)?,
            "payload" if scanner.kind()? == Kind::Object => name = name_in(&mut scanner)?,
            "call" if scanner.kind()? == Kind::Text => call = Some(scanner.text()?),
            "from" if scanner.kind()? == Kind::Text => from = Some(scanner.text()?),
            "to" if scanner.kind()? == Kind::Text => to = Some(scanner.text()?),
            _ => drop(scanner.skip()?),
        }
    }
    scanner.finish()?;
    let event = event.ok_or(MessageError::Missing { field: "event" })?;
    match event.name(&mut NameSpare::new()) {
        "websocket:connected" => Ok(Inbound::Start(Start {
            format: content_type.map_or(LINEAR_16K, format_of),
            parameters: Parameters::in_object(text),
            from,
            to,
            ..start(call.unwrap_or_default())
        })),
        "websocket:dtmf" => {
            Ok(Inbound::Dtmf { digit: digit.ok_or(MessageError::Missing { field: "digit" })? })
        }
        "websocket:notify" => {
            let name = name.ok_or(MessageError::Missing { field: "payload.name" })?;
            Ok(Inbound::Mark { name })
        }
        "websocket:cleared" => Ok(Inbound::Cleared),
        _ => Ok(Inbound::Unknown),
    }
}

/// Reads one text of jambonz: the first, which has no `event`, and `dtmf`.
///
/// # Errors
/// Text that is not JSON, a known field of the wrong kind, or `dtmf` without its key.
pub fn decode_jambonz(text: &str) -> Result<Inbound<'_>, MessageError> {
    let (mut event, mut kind, mut digit, mut call, mut rate_hz) = (None, None, None, None, None);
    let (mut from, mut to, mut nested, mut has_token) = (None, None, None, false);
    let (mut channels, mut ours) = (1, None);
    let mut scanner = Scanner::new(text);
    scanner.enter_object()?;
    while let Some(key) = scanner.next_key()? {
        match key.name(&mut NameSpare::new()) {
            "event" => event = scanner.optional(Scanner::text)?,
            "type" if scanner.kind()? == Kind::Text => kind = Some(scanner.text()?),
            "dtmf" if scanner.kind()? == Kind::Text => digit = Some(scanner.text()?),
            "callSid" if scanner.kind()? == Kind::Text => call = Some(scanner.text()?),
            "call" if scanner.kind()? == Kind::Text => ours = Some(scanner.text()?),
            "sampleRate" => rate_hz = scanner.optional(Scanner::unsigned)?,
            "mixType" if scanner.kind()? == Kind::Text => {
                channels = 1 + u32::from(scanner.text()? == "stereo");
            }
            "from" if scanner.kind()? == Kind::Text => from = Some(scanner.text()?),
            "to" if scanner.kind()? == Kind::Text => to = Some(scanner.text()?),
            "token" => {
                has_token = true;
                scanner.skip()?;
            }
            "metadata" | "customerData" if scanner.kind()? == Kind::Object => {
                nested = Some(scanner.raw(Kind::Object)?);
            }
            _ => drop(scanner.skip()?),
        }
    }
    scanner.finish()?;
    match event {
        Some(event) if event == "dtmf" => {
            Ok(Inbound::Dtmf { digit: digit.ok_or(MessageError::Missing { field: "dtmf" })? })
        }
        Some(_) => Ok(Inbound::Unknown),
        // Answers to marks, which we do not send.
        None if kind.is_some() => Ok(Inbound::Unknown),
        None => {
            let call = call.or(ours).ok_or(MessageError::Missing { field: "callSid" })?;
            let whole = nested.filter(|_| !has_token).unwrap_or(text);
            let rate_hz = rate_hz.map_or(LINEAR_16K.rate_hz, |hz| hz.try_into().unwrap_or(0));
            Ok(Inbound::Start(Start {
                format: MediaFormat { rate_hz, channels, ..LINEAR_16K },
                parameters: Parameters::in_object(whole),
                from,
                to,
                ..start(call)
            }))
        }
    }
}

const LINEAR_16K: MediaFormat<'static> =
    MediaFormat { encoding: Encoding::Linear16, rate_hz: 16_000, channels: 1 };

/// A stream is named as its call is: it has no name of its own.
fn start(call: Text<'_>) -> Start<'_> {
    Start {
        stream_sid: call,
        call_sid: call,
        account_sid: None,
        tracks: Tracks { inbound: true, outbound: false },
        format: LINEAR_16K,
        parameters: Parameters::default(),
        from: None,
        to: None,
    }
}

fn format_of(content_type: Text<'_>) -> MediaFormat<'_> {
    let (encoding, rate_hz) = encoding_of(content_type, &[]);
    MediaFormat { encoding, rate_hz: rate_hz.unwrap_or(LINEAR_16K.rate_hz), channels: 1 }
}

/// The `name` in the object that comes next.
fn name_in<'b>(scanner: &mut Scanner<'b>) -> Result<Option<Text<'b>>, MessageError> {
    let mut name = None;
    scanner.enter_object()?;
    while let Some(key) = scanner.next_key()? {
        if key == "name" && scanner.kind()? == Kind::Text {
            name = Some(scanner.text()?);
        } else {
            scanner.skip()?;
        }
    }
    Ok(name)
}
