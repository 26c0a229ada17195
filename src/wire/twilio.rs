//! Twilio Media Streams: the carrier's messages up, and the three we may send down.
//!
//! In:       the text of one WebSocket message, any key order, numbers as numbers or strings.
//! Out:      one [`Inbound`], borrowed from the text; JSON appended to the caller's buffer.
//! Bounds:   those of `wire::json`; audio of any length, the message's own bound limits it.
//! Not here: WebSocket frames (`wire::ws`), playout and marks in time (`call`), webhooks
//!           (`wire::form`, `wire::signature`, `wire::twiml`).
//!
//! Twilio answers a message with a missing or an additional field with warning 31951, so each
//! message down has one shape and one writer.

use std::borrow::Cow;
use std::fmt;

use super::base64;
pub use super::json::MessageError;
use super::json::{JsonError, Kind, LenBytes, NameSpare, Scanner, Sink, Text};

/// A message from the carrier.
#[derive(Clone, Debug, PartialEq)]
pub enum Inbound<'b> {
    /// The first message. Nothing may be sent yet: there is no stream id.
    Connected,
    /// The second message, once: the stream, its call and its audio format.
    Start(Start<'b>),
    /// Audio of the caller.
    Media(Media<'b>),
    /// All that was sent before the mark of this name has been played, or thrown away by `clear`.
    Mark {
        /// The name we gave it.
        name: Text<'b>,
    },
    /// A key of the telephone.
    Dtmf {
        /// `0` to `9`, `*`, `#`; whatever else comes is passed on.
        digit: Text<'b>,
    },
    /// The stream or the call is over; the socket closes next, or never visibly.
    Stop,
    /// An event of another name: to be counted, not refused.
    Unknown,
}

/// What the carrier tells once, before the first audio.
#[derive(Clone, Debug, PartialEq)]
pub struct Start<'b> {
    /// `MZ` and 32 hex digits: every message down names it.
    pub stream_sid: Text<'b>,
    /// `CA` and 32 hex digits: the call the token must be for.
    pub call_sid: Text<'b>,
    /// `AC` and 32 hex digits.
    pub account_sid: Option<Text<'b>>,
    /// Whose audio will come.
    pub tracks: Tracks,
    /// How the audio is encoded; `audio/x-mulaw` at 8,000 Hz, one channel, where it is not said.
    pub format: MediaFormat<'b>,
    /// The `<Parameter>`s of our TwiML.
    pub parameters: Parameters<'b>,
}

/// The tracks of a stream. A bidirectional one has the inbound track only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tracks {
    /// What the caller says.
    pub inbound: bool,
    /// What the caller hears.
    pub outbound: bool,
}

/// `start.mediaFormat`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MediaFormat<'b> {
    /// How a sample is written.
    pub encoding: Encoding<'b>,
    /// Samples per second and channel.
    pub rate_hz: u32,
    /// Channels.
    pub channels: u32,
}

impl MediaFormat<'_> {
    /// What Twilio documents as the only format.
    pub const MULAW_8K: MediaFormat<'static> =
        MediaFormat { encoding: Encoding::Mulaw, rate_hz: 8000, channels: 1 };
}

/// How a sample is written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Encoding<'b> {
    /// G.711 mu-law: `audio/x-mulaw`, `audio/mulaw`, `PCMU`.
    Mulaw,
    /// G.711 A-law: `audio/x-alaw`, `audio/alaw`, `PCMA`.
    Alaw,
    /// 16-bit linear: `audio/x-L16`, `audio/L16`, `L16`.
    Linear16,
    /// Another one, as written.
    Other(Text<'b>),
}

/// One piece of audio.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Media<'b> {
    /// Whose audio it is.
    pub track: Track,
    /// Counts the pieces of this track, from 1.
    pub chunk: Option<u64>,
    /// When it begins, in milliseconds since the stream started.
    pub timestamp_ms: Option<u64>,
    /// Base64 of the samples, without any header; decode it with
    /// [`Text::decode_base64_append`], which resolves escapes such as `\/` as well.
    pub payload: Text<'b>,
    /// Counts all messages of the stream, from 1.
    pub sequence: Option<u64>,
}

/// Whose audio a piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Track {
    /// The caller's: also when the message does not say.
    Inbound,
    /// What the caller hears; only in one-way streams.
    Outbound,
    /// A track of another name.
    Unknown,
}

/// Reads one message.
///
/// # Errors
/// Text that is not JSON, a known field of the wrong kind, or a field missing without which the
/// event means nothing: `event`, `start.streamSid`, `start.callSid`, `media.payload`, `mark.name`,
/// `dtmf.digit`, and the object that holds it.
pub fn decode(text: &str) -> Result<Inbound<'_>, MessageError> {
    let mut outline = Outline::read(text)?;
    let event = outline.event.ok_or(MessageError::Missing { field: "event" })?;
    let missing = |field| MessageError::Missing { field };
    match event.name(&mut NameSpare::new()) {
        "connected" => Ok(Inbound::Connected),
        "start" => {
            let mut start = outline.start.take().ok_or(missing("start"))??;
            if start.stream_sid.is_empty() {
                start.stream_sid = outline.stream_sid.unwrap_or_default();
            }
            if start.stream_sid.is_empty() {
                return Err(missing("start.streamSid"));
            }
            Ok(Inbound::Start(start))
        }
        "media" => {
            let media = outline.media.take().ok_or(missing("media"))??;
            Ok(Inbound::Media(Media { sequence: outline.sequence, ..media }))
        }
        "mark" => Ok(Inbound::Mark { name: outline.mark.take().ok_or(missing("mark"))?? }),
        "dtmf" => Ok(Inbound::Dtmf { digit: outline.dtmf.take().ok_or(missing("dtmf"))?? }),
        "stop" => Ok(Inbound::Stop),
        _ => Ok(Inbound::Unknown),
    }
}

/// The top level of a message. The object of each event is read where it stands, before or after
/// `event`; what is wrong with one matters only if the event is its own.
#[derive(Default)]
struct Outline<'b> {
    event: Option<Text<'b>>,
    stream_sid: Option<Text<'b>>,
    sequence: Option<u64>,
    start: Option<Result<Start<'b>, MessageError>>,
    media: Option<Result<Media<'b>, MessageError>>,
    mark: Option<Result<Text<'b>, MessageError>>,
    dtmf: Option<Result<Text<'b>, MessageError>>,
}

impl<'b> Outline<'b> {
    fn read(text: &'b str) -> Result<Outline<'b>, JsonError> {
        let mut outline = Outline::default();
        let mut scanner = Scanner::new(text);
        scanner.enter_object()?;
        while let Some(key) = scanner.next_key()? {
            match key.name(&mut NameSpare::new()) {
                "event" => outline.event = scanner.optional(Scanner::text)?,
                "streamSid" => outline.stream_sid = scanner.optional(Scanner::text)?,
                "sequenceNumber" => outline.sequence = scanner.optional(Scanner::unsigned)?,
                "start" => outline.start = Some(scanner.attempt(read_start)?),
                "media" => outline.media = Some(scanner.attempt(read_media)?),
                "mark" => {
                    outline.mark = Some(scanner.attempt(|scanner| read_one(scanner, "mark.name"))?);
                }
                "dtmf" => {
                    outline.dtmf =
                        Some(scanner.attempt(|scanner| read_one(scanner, "dtmf.digit"))?);
                }
                _ => drop(scanner.skip()?),
            }
        }
        scanner.finish()?;
        Ok(outline)
    }
}

/// The object `media`, without the counter that stands beside it.
fn read_media<'b>(scanner: &mut Scanner<'b>) -> Result<Media<'b>, MessageError> {
    let (mut track, mut chunk, mut timestamp_ms, mut payload) = (Track::Inbound, None, None, None);
    scanner.enter_object()?;
    while let Some(key) = scanner.next_key()? {
        match key.name(&mut NameSpare::new()) {
            "track" => {
                track = scanner.optional(Scanner::text)?.map_or(Track::Inbound, |name| match name
                    .name(&mut NameSpare::new())
                {
                    "inbound" | "inbound_track" => Track::Inbound,
                    "outbound" | "outbound_track" => Track::Outbound,
                    _ => Track::Unknown,
                });
            }
            "chunk" => chunk = scanner.optional(Scanner::unsigned)?,
            "timestamp" => timestamp_ms = scanner.optional(Scanner::unsigned)?,
            "payload" => payload = scanner.optional(Scanner::text)?,
            _ => drop(scanner.skip()?),
        }
    }
    let payload = payload.ok_or(MessageError::Missing { field: "media.payload" })?;
    Ok(Media { track, chunk, timestamp_ms, payload, sequence: None })
}

/// The object `start`; its stream id may be empty, as it stands beside the object too.
fn read_start<'b>(scanner: &mut Scanner<'b>) -> Result<Start<'b>, MessageError> {
    let (mut stream_sid, mut call_sid, mut account_sid) = (None, None, None);
    let mut tracks = Tracks { inbound: true, outbound: false };
    let mut format = MediaFormat::MULAW_8K;
    let mut parameters = Parameters::default();
    scanner.enter_object()?;
    while let Some(key) = scanner.next_key()? {
        match key.name(&mut NameSpare::new()) {
            "streamSid" => stream_sid = scanner.optional(Scanner::text)?,
            "callSid" => call_sid = scanner.optional(Scanner::text)?,
            "accountSid" => account_sid = scanner.optional(Scanner::text)?,
            "tracks" => tracks = scanner.optional(read_tracks)?.unwrap_or(tracks),
            "mediaFormat" => {
                format = scanner.optional(read_format)?.unwrap_or(MediaFormat::MULAW_8K);
            }
            "customParameters" => {
                let raw = scanner.optional(|scanner| scanner.raw(Kind::Object))?;
                parameters = raw.map_or_else(Parameters::default, |raw| Parameters { raw });
            }
            _ => drop(scanner.skip()?),
        }
    }
    let stream_sid = stream_sid.unwrap_or_default();
    let call_sid = call_sid.ok_or(MessageError::Missing { field: "start.callSid" })?;
    Ok(Start { stream_sid, call_sid, account_sid, tracks, format, parameters })
}

fn read_tracks(scanner: &mut Scanner<'_>) -> Result<Tracks, JsonError> {
    let mut tracks = Tracks::default();
    scanner.enter_array()?;
    while scanner.next_item()? {
        match scanner.text()?.name(&mut NameSpare::new()) {
            "inbound" | "inbound_track" => tracks.inbound = true,
            "outbound" | "outbound_track" => tracks.outbound = true,
            _ => {}
        }
    }
    Ok(tracks)
}

fn read_format<'b>(scanner: &mut Scanner<'b>) -> Result<MediaFormat<'b>, JsonError> {
    let mut format = MediaFormat::MULAW_8K;
    scanner.enter_object()?;
    while let Some(key) = scanner.next_key()? {
        match key.name(&mut NameSpare::new()) {
            "encoding" => {
                format.encoding =
                    scanner.optional(Scanner::text)?.map_or(Encoding::Mulaw, encoding_of);
            }
            "sampleRate" => {
                format.rate_hz = scanner.optional(small_unsigned)?.unwrap_or(8000);
            }
            "channels" => format.channels = scanner.optional(small_unsigned)?.unwrap_or(1),
            _ => drop(scanner.skip()?),
        }
    }
    Ok(format)
}

fn encoding_of(name: Text<'_>) -> Encoding<'_> {
    let mut spare = NameSpare::new();
    let written = name.name(&mut spare);
    let is = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(written));
    if is(&["audio/x-mulaw", "audio/mulaw", "PCMU"]) {
        Encoding::Mulaw
    } else if is(&["audio/x-alaw", "audio/alaw", "PCMA"]) {
        Encoding::Alaw
    } else if is(&["audio/x-L16", "audio/L16", "L16"]) {
        Encoding::Linear16
    } else {
        Encoding::Other(name)
    }
}

fn small_unsigned(scanner: &mut Scanner<'_>) -> Result<u32, JsonError> {
    let at = scanner.value_start();
    u32::try_from(scanner.unsigned()?).map_err(|_| JsonError::BadNumber { at })
}

/// The text of the field `path`, `object.name`, of the object that comes next.
fn read_one<'b>(scanner: &mut Scanner<'b>, path: &'static str) -> Result<Text<'b>, MessageError> {
    let name = path.rsplit('.').next().unwrap_or(path);
    let mut value = None;
    scanner.enter_object()?;
    while let Some(key) = scanner.next_key()? {
        if key == name {
            value = scanner.optional(Scanner::text)?;
        } else {
            scanner.skip()?;
        }
    }
    value.ok_or(MessageError::Missing { field: path })
}

/// `start.customParameters`: names and values, all texts; empty where the message has none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parameters<'b> {
    /// A JSON object that has been read through.
    raw: &'b str,
}

impl Default for Parameters<'_> {
    fn default() -> Self {
        Parameters { raw: "{}" }
    }
}

impl<'b> Parameters<'b> {
    /// The value of the parameter `name`; the last one, if it comes twice.
    pub fn get(&self, name: &str) -> Option<Cow<'b, str>> {
        let last = self.iter().filter(|(key, _)| key == name).last()?;
        Some(last.1.to_cow())
    }

    /// All names and values in their order. What is not a text comes as it is written.
    pub fn iter(&self) -> impl Iterator<Item = (Text<'b>, Text<'b>)> + use<'b> {
        let mut scanner = Scanner::new(self.raw);
        // The object was read through once, so no error comes; if one did, it would be the end.
        let mut open = scanner.enter_object().is_ok();
        std::iter::from_fn(move || {
            let member = if open { next_parameter(&mut scanner) } else { None };
            open = member.is_some();
            member
        })
    }
}

fn next_parameter<'b>(scanner: &mut Scanner<'b>) -> Option<(Text<'b>, Text<'b>)> {
    let name = scanner.next_key().ok()??;
    let value = match scanner.kind().ok()? {
        Kind::Text => scanner.text().ok()?,
        _ => Text::plain(scanner.skip().ok()?),
    };
    Some((name, value))
}

/// The messages to one stream, prepared when its `start` has come.
#[derive(Clone, Debug)]
pub struct Outbound {
    /// `{"event":"media","streamSid":"MZ…","media":{"payload":"`
    media_head: Box<[u8]>,
    /// `{"event":"mark","streamSid":"MZ…","mark":{"name":"`
    mark_head: Box<[u8]>,
    /// The whole message.
    clear: Box<[u8]>,
}

/// What closes the text, the inner object and the message.
const TAIL: &[u8] = br#""}}"#;

impl Outbound {
    /// The messages to the stream `stream_sid`.
    pub fn new(stream_sid: &str) -> Outbound {
        let message = |event: &str, rest: &str| {
            let mut message = Vec::new();
            message.put(br#"{"event":""#);
            message.put(event.as_bytes());
            message.put(br#"","streamSid":""#);
            message.put_escaped(stream_sid);
            message.put(rest.as_bytes());
            message.into_boxed_slice()
        };
        Outbound {
            media_head: message("media", r#"","media":{"payload":""#),
            mark_head: message("mark", r#"","mark":{"name":""#),
            clear: message("clear", r#""}"#),
        }
    }

    /// Length of the `media` message that carries `mulaw_bytes` of audio.
    pub fn media_json_len(&self, mulaw_bytes: usize) -> usize {
        self.media_head.len() + base64::encode_len(mulaw_bytes) + TAIL.len()
    }

    /// Appends the `media` message that carries `mulaw`: mu-law, 8 kHz, played in order.
    pub fn write_media_json(&self, mulaw: &[u8], out: &mut Vec<u8>) {
        out.reserve(self.media_json_len(mulaw.len()));
        out.extend_from_slice(&self.media_head);
        base64::encode_append(mulaw, out);
        out.extend_from_slice(TAIL);
    }

    /// Length of the `mark` message of this name.
    pub fn mark_json_len(&self, mark: MarkName) -> usize {
        let mut name = LenBytes::default();
        mark.write_to(&mut name);
        self.mark_head.len() + name.0 + TAIL.len()
    }

    /// Appends the `mark` message that asks to be told when all sent so far has been played.
    pub fn write_mark_json(&self, mark: MarkName, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.mark_head);
        mark.write_to(out);
        out.extend_from_slice(TAIL);
    }

    /// Length of the `clear` message.
    pub fn clear_json_len(&self) -> usize {
        self.clear.len()
    }

    /// Appends the `clear` message: the carrier throws away what it has not played, and returns
    /// every mark that is outstanding.
    pub fn write_clear_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.clear);
    }
}

/// The name of a mark: `g3:1200`, so that an echo tells whether what it speaks of still counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkName {
    /// The generation of the audio before the mark; each barge-in begins a new one.
    pub generation: u32,
    /// How much of that generation has been played where the mark stands, in milliseconds.
    pub at_ms: u64,
}

impl MarkName {
    /// Reads a name as [`fmt::Display`] writes it; `None` if it is not one of ours.
    pub fn parse(name: &str) -> Option<MarkName> {
        let (generation, at_ms) = name.strip_prefix('g')?.split_once(':')?;
        let decimal = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
        if !decimal(generation) || !decimal(at_ms) {
            return None;
        }
        Some(MarkName { generation: generation.parse().ok()?, at_ms: at_ms.parse().ok()? })
    }

    fn write_to(self, sink: &mut impl Sink) {
        sink.put(b"g");
        sink.put_decimal(self.generation.into());
        sink.put(b":");
        sink.put_decimal(self.at_ms);
    }
}

impl fmt::Display for MarkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "g{}:{}", self.generation, self.at_ms)
    }
}
