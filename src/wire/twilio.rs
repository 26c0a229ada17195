//! Twilio Media Streams: the carrier's messages up, and the three we may send down. Other carriers
//! spell the same messages their own way: a [`Spelling`] says how.
//!
//! In:       the text of one WebSocket message, any key order, numbers as numbers or strings.
//! Out:      one [`Inbound`], borrowed from the text; JSON appended to the caller's buffer.
//! Bounds:   those of `wire::json`; audio of any length, the message's own bound limits it.
//! Not here: which carrier spells how, and what it is sent (`wire::dialect`), WebSocket frames
//!           (`wire::ws`), playout and marks in time (`call`), webhooks (`wire::form`,
//!           `wire::signature`, `wire::twiml`).
//!
//! Twilio answers a message with a missing or an additional field with warning 31951, so each
//! message down has one shape and one writer.

use std::borrow::Cow;
use std::fmt;

pub use super::json::MessageError;
use super::json::{JsonError, Kind, NameSpare, Scanner, Sink, Text};
use super::plain::Plain;

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
    /// What we asked to be thrown away is; where a carrier says so.
    Cleared,
    /// The carrier could make nothing of a message of ours.
    Complaint,
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
    /// Who calls, where the carrier says it itself.
    pub from: Option<Text<'b>>,
    /// Who is called, likewise.
    pub to: Option<Text<'b>>,
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

/// How a carrier spells the keys of its messages. The objects `start`, `media`, `mark` and `dtmf`,
/// and what `media` holds, are spelt the same by all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spelling {
    /// The stream's name, at the top, in `start`, or at both.
    pub stream_id: &'static str,
    /// The call's name, in `start`.
    pub call_id: &'static str,
    /// The account's name, in `start`.
    pub account_id: &'static str,
    /// The count of all messages, at the top.
    pub sequence: &'static str,
    /// The audio format, in `start`.
    pub media_format: &'static str,
    /// Its rate.
    pub sample_rate: &'static str,
    /// What comes back of our document, in `start`: an object by any of these names.
    pub parameters: &'static [&'static str],
    /// The same at the top, as one text of pairs; `None`: there is none.
    pub headers: Option<&'static str>,
    /// The event that says that the carrier could make nothing of a message of ours.
    pub complaint: Option<&'static str>,
    /// The format where `start` names none.
    pub default_format: MediaFormat<'static>,
    /// What this carrier calls linear PCM besides its common names.
    pub linear_names: &'static [&'static str],
}

/// As Twilio spells them.
pub const SPELLING: Spelling = Spelling {
    stream_id: "streamSid",
    call_id: "callSid",
    account_id: "accountSid",
    sequence: "sequenceNumber",
    media_format: "mediaFormat",
    sample_rate: "sampleRate",
    parameters: &["customParameters"],
    headers: None,
    complaint: None,
    default_format: MediaFormat::MULAW_8K,
    linear_names: &[],
};

/// Reads one message of Twilio.
///
/// # Errors
/// As [`decode_as`].
pub fn decode(text: &str) -> Result<Inbound<'_>, MessageError> {
    decode_as(&SPELLING, text)
}

/// Reads one message, spelt so.
///
/// # Errors
/// Text that is not JSON, a known field of the wrong kind, or a field missing without which the
/// event means nothing: `event`, `start.streamSid`, `start.callSid`, `media.payload`, `mark.name`,
/// `dtmf.digit`, and the object that holds it. Fields are named as Twilio spells them.
pub fn decode_as<'b>(spelling: &Spelling, text: &'b str) -> Result<Inbound<'b>, MessageError> {
    match read_plain_media(spelling, text) {
        Some(media) => Ok(Inbound::Media(media)),
        None => decode_any(spelling, text),
    }
}

/// Reads a message however it is written.
fn decode_any<'b>(spelling: &Spelling, text: &'b str) -> Result<Inbound<'b>, MessageError> {
    let mut outline = Outline::read(spelling, text)?;
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
            if let Some(pairs) = outline.headers {
                start.parameters = Parameters { raw: pairs.raw(), is_pairs: true };
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
        // Of carriers that answer in other words; where others say them they are as unknown.
        "playedStream" | "played" if spelling.headers.is_some() => {
            Ok(Inbound::Mark { name: outline.name.ok_or(missing("name"))? })
        }
        "clearedAudio" if spelling.headers.is_some() => Ok(Inbound::Cleared),
        event if spelling.complaint == Some(event) => Ok(Inbound::Complaint),
        _ => Ok(Inbound::Unknown),
    }
}

/// A whole message that is audio, where it is written as carriers do: strings without escapes, whole
/// numbers. What it does not know is passed over where it is a string.
fn read_plain_media<'b>(spelling: &Spelling, text: &'b str) -> Option<Media<'b>> {
    let mut plain = Plain::new(text);
    let (mut event, mut media, mut sequence) = (None, None, None);
    plain.eat(b'{')?;
    loop {
        match plain.key()? {
            "event" => event = Some(plain.word().filter(|event| *event == "media")?),
            "media" => media = Some(read_plain_audio(&mut plain)?),
            key if key == spelling.sequence => sequence = Some(plain.decimal()?),
            _ => drop(plain.word()?),
        }
        if !plain.more_before(b'}')? {
            break;
        }
    }
    plain.finish()?;
    event.and(media).map(|media| Media { sequence, ..media })
}

/// The object `media` of such a message.
fn read_plain_audio<'b>(plain: &mut Plain<'b>) -> Option<Media<'b>> {
    let (mut track, mut chunk, mut timestamp_ms, mut payload) = (None, None, None, None);
    plain.eat(b'{')?;
    loop {
        match plain.key()? {
            "track" => track = Some(track_of(plain.word()?)),
            "chunk" => chunk = Some(plain.decimal()?),
            "timestamp" => timestamp_ms = Some(plain.decimal()?),
            "payload" => payload = Some(Text::plain(plain.word()?)),
            _ => drop(plain.word()?),
        }
        if !plain.more_before(b'}')? {
            break;
        }
    }
    let track = track.unwrap_or(Track::Inbound);
    Some(Media { track, chunk, timestamp_ms, payload: payload?, sequence: None })
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
    headers: Option<Text<'b>>,
    name: Option<Text<'b>>,
}

impl<'b> Outline<'b> {
    fn read(spelling: &Spelling, text: &'b str) -> Result<Outline<'b>, JsonError> {
        let mut outline = Outline::default();
        let mut scanner = Scanner::new(text);
        scanner.enter_object()?;
        while let Some(key) = scanner.next_key()? {
            match key.name(&mut NameSpare::new()) {
                "event" => outline.event = scanner.optional(Scanner::text)?,
                "start" => {
                    outline.start = Some(scanner.attempt(|scanner| read_start(spelling, scanner))?);
                }
                "media" => outline.media = Some(scanner.attempt(read_media)?),
                "mark" => {
                    outline.mark = Some(scanner.attempt(|scanner| read_one(scanner, "mark.name"))?);
                }
                "dtmf" => {
                    outline.dtmf =
                        Some(scanner.attempt(|scanner| read_one(scanner, "dtmf.digit"))?);
                }
                "name" if spelling.headers.is_some() => {
                    outline.name = scanner.optional(Scanner::text)?;
                }
                key if key == spelling.stream_id => {
                    outline.stream_sid = scanner.optional(Scanner::text)?;
                }
                key if key == spelling.sequence => {
                    outline.sequence = scanner.optional(Scanner::unsigned)?;
                }
                key if spelling.headers == Some(key) => {
                    outline.headers = scanner.optional(Scanner::text)?;
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
                let name = scanner.optional(Scanner::text)?;
                let name = name.map(|name| track_of(name.name(&mut NameSpare::new())));
                track = name.unwrap_or(Track::Inbound);
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

fn track_of(name: &str) -> Track {
    match name {
        "inbound" | "inbound_track" => Track::Inbound,
        "outbound" | "outbound_track" => Track::Outbound,
        _ => Track::Unknown,
    }
}

/// The object `start`; its stream id may be empty, as it stands beside the object too.
fn read_start<'b>(
    spelling: &Spelling,
    scanner: &mut Scanner<'b>,
) -> Result<Start<'b>, MessageError> {
    let (mut stream_sid, mut call_sid, mut account_sid) = (None, None, None);
    let (mut from, mut to) = (None, None);
    let mut tracks = Tracks { inbound: true, outbound: false };
    let mut format = spelling.default_format;
    let mut parameters = Parameters::default();
    scanner.enter_object()?;
    while let Some(key) = scanner.next_key()? {
        match key.name(&mut NameSpare::new()) {
            "tracks" => tracks = scanner.optional(read_tracks)?.unwrap_or(tracks),
            // Some carriers have texts in their places, and nobody's number is worth the call.
            "from" => from = scanner.optional(text_or_none)?.flatten(),
            "to" => to = scanner.optional(text_or_none)?.flatten(),
            key if key == spelling.stream_id => stream_sid = scanner.optional(Scanner::text)?,
            key if key == spelling.call_id => call_sid = scanner.optional(Scanner::text)?,
            key if key == spelling.account_id => account_sid = scanner.optional(Scanner::text)?,
            key if key == spelling.media_format => {
                let read = scanner.optional(|scanner| read_format(spelling, scanner))?;
                format = read.unwrap_or(spelling.default_format);
            }
            key if spelling.parameters.contains(&key) => {
                let raw = scanner.optional(|scanner| scanner.raw(Kind::Object))?;
                let read = raw.map_or_else(Parameters::default, Parameters::in_object);
                // Of two spellings the one that says something counts.
                let may_hide = spelling.parameters.len() > 1 && !read.raw.contains('"');
                parameters = if may_hide { parameters } else { read };
            }
            _ => drop(scanner.skip()?),
        }
    }
    let stream_sid = stream_sid.unwrap_or_default();
    let call_sid = call_sid.ok_or(MessageError::Missing { field: "start.callSid" })?;
    Ok(Start { stream_sid, call_sid, account_sid, tracks, format, parameters, from, to })
}

fn text_or_none<'b>(scanner: &mut Scanner<'b>) -> Result<Option<Text<'b>>, JsonError> {
    if scanner.kind()? == Kind::Text {
        return scanner.text().map(Some);
    }
    scanner.skip().map(|_| None)
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

fn read_format<'b>(
    spelling: &Spelling,
    scanner: &mut Scanner<'b>,
) -> Result<MediaFormat<'b>, JsonError> {
    let mut format = spelling.default_format;
    let mut said_hz = None;
    scanner.enter_object()?;
    while let Some(key) = scanner.next_key()? {
        match key.name(&mut NameSpare::new()) {
            "encoding" => {
                if let Some(name) = scanner.optional(Scanner::text)? {
                    (format.encoding, said_hz) = encoding_of(name, spelling.linear_names);
                }
            }
            "channels" => format.channels = scanner.optional(small_unsigned)?.unwrap_or(1),
            key if key == spelling.sample_rate => {
                let default_hz = spelling.default_format.rate_hz;
                format.rate_hz = scanner.optional(small_unsigned)?.unwrap_or(default_hz);
                said_hz = None;
            }
            _ => drop(scanner.skip()?),
        }
    }
    format.rate_hz = said_hz.unwrap_or(format.rate_hz);
    Ok(format)
}

/// The encoding of this name, and the rate where the name says one: `audio/l16;rate=16000`,
/// `L16@16000h`.
pub fn encoding_of<'b>(name: Text<'b>, linear_names: &[&str]) -> (Encoding<'b>, Option<u32>) {
    let mut spare = NameSpare::new();
    let whole = name.name(&mut spare);
    let (written, rest) = whole.split_once([';', '@']).unwrap_or((whole, ""));
    let written = written.trim();
    let is = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(written));
    let encoding = if is(&["audio/x-mulaw", "audio/mulaw", "PCMU"]) {
        Encoding::Mulaw
    } else if is(&["audio/x-alaw", "audio/alaw", "PCMA"]) {
        Encoding::Alaw
    } else if is(&["audio/x-L16", "audio/L16", "L16"]) || is(linear_names) {
        Encoding::Linear16
    } else {
        Encoding::Other(name)
    };
    let rate = rest.trim().trim_start_matches("rate=").trim_end_matches('h');
    (encoding, rate.parse().ok())
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

/// What comes back of our document: names and values, all texts; empty where there is none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parameters<'b> {
    /// A JSON object that has been read through, or pairs.
    raw: &'b str,
    /// Whether it is pairs: `a=1;b=2`, with `,` as good as `;`.
    is_pairs: bool,
}

impl Default for Parameters<'_> {
    fn default() -> Self {
        Parameters { raw: "{}", is_pairs: false }
    }
}

impl<'b> Parameters<'b> {
    /// Those in the object `raw`, which has been read through.
    pub(super) fn in_object(raw: &'b str) -> Parameters<'b> {
        Parameters { raw, is_pairs: false }
    }

    /// The value of the parameter `name`; the last one, if it comes twice.
    pub fn get(&self, name: &str) -> Option<Cow<'b, str>> {
        let last = self.iter().filter(|(key, _)| key == name).last()?;
        Some(last.1.to_cow())
    }

    /// All names and values in their order. What is not a text comes as it is written.
    pub fn iter(&self) -> impl Iterator<Item = (Text<'b>, Text<'b>)> + use<'b> {
        let pairs = if self.is_pairs { self.raw } else { "" };
        let pairs = pairs.trim_matches(['{', '}']).split([';', ',']).filter_map(|pair| {
            let (name, value) = pair.split_once(['=', ':'])?;
            let bare = |text: &'b str| Text::plain(text.trim_matches([' ', '"', '\'', '\\']));
            Some((bare(name), bare(value)))
        });
        let mut scanner = Scanner::new(self.raw);
        // The object was read through once, so no error comes; if one did, it would be the end.
        let mut open = !self.is_pairs && scanner.enter_object().is_ok();
        let members = std::iter::from_fn(move || {
            let member = if open { next_parameter(&mut scanner) } else { None };
            open = member.is_some();
            member
        });
        pairs.chain(members)
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

    pub(super) fn write_to(self, sink: &mut impl Sink) {
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
