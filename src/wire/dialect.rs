//! The carriers' dialects, one row each: how its messages are spelt, what it is sent, and which
//! sizes it takes. [`recognise`] tells them apart by their first messages.
//!
//! In:       the text of one WebSocket message; a stream's name and format.
//! Out:      a [`Dialect`], an [`Inbound`], and JSON appended to the caller's buffer.
//! Bounds:   those of `wire::json`; sizes of what is sent by [`Chunks`].
//! Not here: what Twilio's messages are (`wire::twilio`, which the JSON dialects share), binary
//!           streams' texts (`wire::pcm_stream`), webhooks (`wire::markup`), when audio leaves and
//!           what a mark means (`call`).
//!
//! Written from the carriers' documentation and from public clients of theirs, and not tried with
//! any of them. By the documentation is the shape of every message; from elsewhere is this:
//!
//! | carrier | from public clients of it | assumed here |
//! |---|---|---|
//! | SignalWire | | L16 is little-endian |
//! | Telnyx | `customParameters` as well; L16 is big-endian | |
//! | Plivo | `played` for `playedStream` | L16 is little-endian |
//! | Exotel | little-endian | four names of `encoding` are linear PCM |
//! | Vonage | little-endian | a `notify` is answered in its place among the audio |
//! | jambonz | `killAudio`, `dtmf` | marks go unused: older releases ignore them |
//!
//! Plivo's `timestamp` is documented as the time of day, so it fills no holes.

use super::base64;
use super::json::{JsonError, Kind, LenBytes, NameSpare, Scanner, Sink, Text};
use super::pcm_stream;
use super::twilio::{
    self, Encoding, Inbound, MarkName, MediaFormat, MessageError, SPELLING, Spelling,
};
use crate::config::Carrier;

/// One carrier's way of speaking.
#[derive(Debug)]
pub struct Dialect {
    /// Whose it is.
    pub carrier: Carrier,
    /// How its messages are spelt; of a binary stream only the default format counts.
    pub spelling: Spelling,
    /// How audio goes down.
    audio: Shape,
    /// A mark, before and behind its name; `None`: it returns none, and time has to tell.
    mark: Option<[&'static str; 2]>,
    /// Throw away what you hold.
    clear: &'static str,
    /// Which sizes of audio it takes.
    pub chunks: Chunks,
    /// How a linear sample's two bytes stand.
    pub byte_order: ByteOrder,
    /// Whether its audio may come in another order than it was spoken in.
    pub may_reorder: bool,
    /// Whether its timestamps tell the audio's own time, so that holes can be filled.
    pub keeps_time: bool,
}

/// How audio goes down. `{stream}`, `{type}` and `{rate}` stand for the stream's own.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// JSON, before and behind the base64.
    Json([&'static str; 2]),
    /// A binary message a chunk.
    Binary,
    /// A binary message for each frame of 20 ms, exactly.
    BinaryFrames,
}

/// Which sizes of audio a carrier takes in one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunks {
    /// No fewer bytes than these.
    pub least_bytes: usize,
    /// A multiple of these.
    pub multiple_bytes: usize,
    /// No more bytes than these.
    pub most_bytes: usize,
}

impl Chunks {
    const ANY: Chunks = Chunks { least_bytes: 1, multiple_bytes: 1, most_bytes: usize::MAX };

    /// How many frames of so many bytes make the smallest chunk; each chunk is a multiple of it.
    ///
    /// Some whole number of frames is a multiple of `multiple_bytes`: of frames of 20 ms, even one
    /// is, wherever a row here asks for it.
    pub const fn frames(self, frame_bytes: usize) -> usize {
        self.least_bytes.div_ceil(frame_bytes)
    }
}

/// How a linear sample's two bytes stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteOrder {
    /// The low byte first.
    Little,
    /// The high byte first: network order, RFC 2586.
    Big,
}

/// Twilio.
pub static TWILIO: Dialect = Dialect {
    carrier: Carrier::Twilio,
    spelling: SPELLING,
    audio: Shape::Json([
        r#"{"event":"media","streamSid":"{stream}","media":{"payload":""#,
        r#""}}"#,
    ]),
    mark: Some([r#"{"event":"mark","streamSid":"{stream}","mark":{"name":""#, r#""}}"#]),
    clear: r#"{"event":"clear","streamSid":"{stream}"}"#,
    chunks: Chunks::ANY,
    byte_order: ByteOrder::Little,
    may_reorder: false,
    keeps_time: true,
};

/// SignalWire: Twilio's words; its `start` names the stream inside only.
pub static SIGNALWIRE: Dialect =
    Dialect { carrier: Carrier::SignalWire, audio: TWILIO.audio, mark: TWILIO.mark, ..TWILIO };

/// Telnyx: no stream's name on the way down.
pub static TELNYX: Dialect = Dialect {
    carrier: Carrier::Telnyx,
    spelling: Spelling {
        stream_id: "stream_id",
        call_id: "call_control_id",
        account_id: "user_id",
        sequence: "sequence_number",
        media_format: "media_format",
        sample_rate: "sample_rate",
        parameters: &["custom_parameters", "customParameters"],
        complaint: Some("error"),
        ..SPELLING
    },
    audio: Shape::Json([r#"{"event":"media","media":{"payload":""#, r#""}}"#]),
    mark: Some([r#"{"event":"mark","mark":{"name":""#, r#""}}"#]),
    clear: r#"{"event":"clear"}"#,
    // 20 ms, which is one frame of any format, to 30 s.
    chunks: Chunks { least_bytes: 160, multiple_bytes: 1, most_bytes: 240_000 },
    byte_order: ByteOrder::Big,
    may_reorder: true,
    keeps_time: true,
};

/// Plivo.
pub static PLIVO: Dialect = Dialect {
    carrier: Carrier::Plivo,
    spelling: Spelling {
        stream_id: "streamId",
        call_id: "callId",
        account_id: "accountId",
        headers: Some("extra_headers"),
        default_format: MediaFormat { encoding: Encoding::Linear16, rate_hz: 8_000, channels: 1 },
        ..SPELLING
    },
    audio: Shape::Json([
        r#"{"event":"playAudio","media":{"contentType":"{type}","sampleRate":{rate},"payload":""#,
        r#""}}"#,
    ]),
    mark: Some([r#"{"event":"checkpoint","streamId":"{stream}","name":""#, r#""}"#]),
    clear: r#"{"event":"clearAudio","streamId":"{stream}"}"#,
    chunks: Chunks::ANY,
    byte_order: ByteOrder::Little,
    may_reorder: false,
    keeps_time: false,
};

/// Exotel.
pub static EXOTEL: Dialect = Dialect {
    carrier: Carrier::Exotel,
    spelling: Spelling {
        stream_id: "stream_sid",
        call_id: "call_sid",
        account_id: "account_sid",
        sequence: "sequence_number",
        media_format: "media_format",
        sample_rate: "sample_rate",
        parameters: &["custom_parameters"],
        headers: None,
        complaint: None,
        default_format: MediaFormat { encoding: Encoding::Linear16, rate_hz: 8_000, channels: 1 },
        linear_names: &["audio/x-raw", "raw/slin", "base64", "slin"],
    },
    audio: Shape::Json([
        r#"{"event":"media","stream_sid":"{stream}","media":{"payload":""#,
        r#""}}"#,
    ]),
    mark: Some([r#"{"event":"mark","stream_sid":"{stream}","mark":{"name":""#, r#""}}"#]),
    clear: r#"{"event":"clear","stream_sid":"{stream}"}"#,
    chunks: Chunks { least_bytes: 3_200, multiple_bytes: 320, most_bytes: 100_000 },
    byte_order: ByteOrder::Little,
    may_reorder: false,
    keeps_time: true,
};

/// Vonage. Its buffer holds [`VONAGE_BUFFER_MESSAGES`] of our messages, far more than any lead.
pub static VONAGE: Dialect = Dialect {
    carrier: Carrier::Vonage,
    spelling: Spelling { default_format: LINEAR_16K, ..SPELLING },
    audio: Shape::BinaryFrames,
    mark: Some([r#"{"action":"notify","payload":{"name":""#, r#""}}"#]),
    clear: r#"{"action":"clear"}"#,
    chunks: Chunks::ANY,
    byte_order: ByteOrder::Little,
    may_reorder: false,
    keeps_time: false,
};

/// Messages of 20 ms that Vonage keeps, about 60 s. One more is lost there: the longest lead that
/// can be set is not half of it.
pub const VONAGE_BUFFER_MESSAGES: usize = 3_072;

/// jambonz.
pub static JAMBONZ: Dialect = Dialect {
    carrier: Carrier::Jambonz,
    spelling: Spelling { default_format: LINEAR_16K, ..SPELLING },
    audio: Shape::Binary,
    mark: None,
    clear: r#"{"type":"killAudio"}"#,
    chunks: Chunks::ANY,
    byte_order: ByteOrder::Little,
    may_reorder: false,
    keeps_time: false,
};

/// The subprotocol that jambonz asks for, and must get.
pub const JAMBONZ_SUBPROTOCOL: &str = "audio.jambonz.org";

const LINEAR_16K: MediaFormat<'static> =
    MediaFormat { encoding: Encoding::Linear16, rate_hz: 16_000, channels: 1 };

/// Every dialect, in the order of [`Carrier::ALL`].
pub static ALL: [&Dialect; Carrier::COUNT] =
    [&TWILIO, &SIGNALWIRE, &TELNYX, &PLIVO, &EXOTEL, &VONAGE, &JAMBONZ];

const _: () = {
    // 20 ms of linear PCM at 8, 16 and 24 kHz, in the chunks Exotel wants.
    assert!((320 * EXOTEL.chunks.frames(320)).is_multiple_of(EXOTEL.chunks.multiple_bytes));
    assert!((640 * EXOTEL.chunks.frames(640)).is_multiple_of(EXOTEL.chunks.multiple_bytes));
    assert!((960 * EXOTEL.chunks.frames(960)).is_multiple_of(EXOTEL.chunks.multiple_bytes));
    // What one turn of a worker makes of them.
    assert!(crate::limits::FRAMES_PER_TURN * 960 <= EXOTEL.chunks.most_bytes);
    assert!(crate::limits::FRAMES_PER_TURN * 960 <= TELNYX.chunks.most_bytes);
    assert!(crate::limits::FRAMES_PER_TURN >= EXOTEL.chunks.frames(320));
    let lead_ms = crate::limits::PLAYOUT_LEAD_MAX.as_millis() as usize;
    assert!(lead_ms / crate::limits::PTIME_MS < VONAGE_BUFFER_MESSAGES / 2);
};

impl Dialect {
    /// The dialect of this carrier.
    pub fn of(carrier: Carrier) -> &'static Dialect {
        ALL[carrier as usize]
    }

    /// Whether audio comes and goes in binary messages.
    pub fn is_binary(&self) -> bool {
        !matches!(self.audio, Shape::Json(_))
    }

    /// Whether it says when audio has been played.
    pub fn returns_marks(&self) -> bool {
        self.mark.is_some()
    }

    /// Reads one text of this carrier.
    ///
    /// # Errors
    /// As [`twilio::decode_as`].
    pub fn decode<'b>(&self, text: &'b str) -> Result<Inbound<'b>, MessageError> {
        match self.carrier {
            Carrier::Vonage => pcm_stream::decode_vonage(text),
            Carrier::Jambonz => pcm_stream::decode_jambonz(text),
            _ => twilio::decode_as(&self.spelling, text),
        }
    }
}

/// What a first message tells of its sender.
#[derive(Clone, Copy, Debug)]
pub enum Sign {
    /// A carrier's greeting, which its `start` follows; this far it could be this one's.
    Greeting(&'static Dialect),
    /// The message a stream of this carrier begins with.
    Beginning(&'static Dialect),
    /// Nothing a carrier says.
    Stranger,
}

/// Tells who begins so.
pub fn recognise(text: &str) -> Sign {
    let Ok(Shown { event, version, stream_at_top, start, call, has_rate }) = Shown::read(text)
    else {
        return Sign::Stranger;
    };
    let Some(event) = event else {
        let is_jambonz = call.is_some() && has_rate;
        return if is_jambonz { Sign::Beginning(&JAMBONZ) } else { Sign::Stranger };
    };
    match event.name(&mut NameSpare::new()) {
        "connected" if version.is_some_and(|version| version == "0.2.0") => {
            Sign::Greeting(&SIGNALWIRE)
        }
        "connected" => Sign::Greeting(&TWILIO),
        "websocket:connected" => Sign::Beginning(&VONAGE),
        "start" => match start {
            None => Sign::Stranger,
            Some(Begun::Camel { call_is_twilios }) if stream_at_top || call_is_twilios => {
                Sign::Beginning(&TWILIO)
            }
            Some(Begun::Camel { .. }) => Sign::Beginning(&SIGNALWIRE),
            Some(Begun::Of(dialect)) => Sign::Beginning(dialect),
        },
        _ => Sign::Stranger,
    }
}

/// What of a first message tells carriers apart.
#[derive(Default)]
struct Shown<'b> {
    event: Option<Text<'b>>,
    version: Option<Text<'b>>,
    stream_at_top: bool,
    start: Option<Begun>,
    call: Option<Text<'b>>,
    has_rate: bool,
}

/// What the object `start` tells.
enum Begun {
    /// `streamSid` and `callSid`; whether the latter is one of Twilio's.
    Camel {
        call_is_twilios: bool,
    },
    Of(&'static Dialect),
}

impl<'b> Shown<'b> {
    fn read(text: &'b str) -> Result<Shown<'b>, JsonError> {
        let mut shown = Shown::default();
        let mut scanner = Scanner::new(text);
        scanner.enter_object()?;
        while let Some(key) = scanner.next_key()? {
            match key.name(&mut NameSpare::new()) {
                "event" => shown.event = scanner.optional(Scanner::text)?,
                "version" if scanner.kind()? == Kind::Text => {
                    shown.version = Some(scanner.text()?);
                }
                "callSid" if scanner.kind()? == Kind::Text => shown.call = Some(scanner.text()?),
                "streamSid" => {
                    shown.stream_at_top = true;
                    scanner.skip()?;
                }
                "sampleRate" => {
                    shown.has_rate = true;
                    scanner.skip()?;
                }
                "start" if scanner.kind()? == Kind::Object => shown.start = begun(&mut scanner)?,
                _ => drop(scanner.skip()?),
            }
        }
        scanner.finish()?;
        Ok(shown)
    }
}

fn begun(scanner: &mut Scanner<'_>) -> Result<Option<Begun>, JsonError> {
    let mut begun = None;
    scanner.enter_object()?;
    while let Some(key) = scanner.next_key()? {
        match key.name(&mut NameSpare::new()) {
            "callSid" if scanner.kind()? == Kind::Text => {
                let call_is_twilios = scanner.text()?.raw().starts_with("CA");
                begun = Some(Begun::Camel { call_is_twilios });
                continue;
            }
            "streamSid" | "callSid" => {
                begun = begun.or(Some(Begun::Camel { call_is_twilios: false }));
            }
            "call_control_id" => begun = Some(Begun::Of(&TELNYX)),
            "callId" => begun = Some(Begun::Of(&PLIVO)),
            "call_sid" => begun = Some(Begun::Of(&EXOTEL)),
            _ => {}
        }
        scanner.skip()?;
    }
    Ok(begun)
}

/// What the audio of a stream is called on the way down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its media type.
    pub media_type: &'static str,
    /// Samples a second.
    pub rate_hz: u32,
    /// Bytes of 20 ms.
    pub frame_bytes: usize,
}

impl Told {
    /// Mu-law at 8 kHz.
    pub const MULAW_8K: Told =
        Told { media_type: "audio/x-mulaw", rate_hz: 8_000, frame_bytes: 160 };
}

/// The messages to one stream, prepared when its `start` has come.
#[derive(Clone, Debug)]
pub struct Outbound {
    audio: Carriage,
    /// Before and behind a mark's name.
    mark: Option<[Box<[u8]>; 2]>,
    /// The whole message.
    clear: Box<[u8]>,
}

/// How audio goes down.
#[derive(Clone, Debug)]
enum Carriage {
    /// Before and behind the base64.
    Json([Box<[u8]>; 2]),
    /// In messages of at most so many bytes.
    Binary { piece_bytes: usize },
}

impl Outbound {
    /// The messages to the stream of this name, in this dialect, with audio of this kind.
    pub fn of(dialect: &Dialect, stream_id: &str, told: Told) -> Outbound {
        let filled = |template: &str| {
            let mut message = Vec::new();
            fill(template, stream_id, told, &mut message);
            message.into_boxed_slice()
        };
        Outbound {
            audio: match dialect.audio {
                Shape::Json(ends) => Carriage::Json(ends.map(filled)),
                Shape::Binary => Carriage::Binary { piece_bytes: usize::MAX },
                Shape::BinaryFrames => Carriage::Binary { piece_bytes: told.frame_bytes },
            },
            mark: dialect.mark.map(|ends| ends.map(filled)),
            clear: filled(dialect.clear),
        }
    }

    /// The messages to Twilio's stream `stream_sid`.
    pub fn new(stream_sid: &str) -> Outbound {
        Outbound::of(&TWILIO, stream_sid, Told::MULAW_8K)
    }

    /// Of a binary stream, the most bytes of audio in one message; `None`: audio goes in JSON.
    pub fn piece_bytes(&self) -> Option<usize> {
        match self.audio {
            Carriage::Json(_) => None,
            Carriage::Binary { piece_bytes } => Some(piece_bytes),
        }
    }

    /// Whether the other end returns marks.
    pub fn returns_marks(&self) -> bool {
        self.mark.is_some()
    }

    /// Length of the message that carries so many bytes of audio as JSON.
    pub fn media_json_len(&self, audio_bytes: usize) -> usize {
        match &self.audio {
            Carriage::Json([head, tail]) => {
                head.len() + base64::encode_len(audio_bytes) + tail.len()
            }
            Carriage::Binary { .. } => 0,
        }
    }

    /// Appends the message that carries `audio` as JSON; nothing where audio goes in binary.
    pub fn write_media_json(&self, audio: &[u8], out: &mut Vec<u8>) {
        let Carriage::Json([head, tail]) = &self.audio else { return };
        out.reserve(self.media_json_len(audio.len()));
        out.extend_from_slice(head);
        base64::encode_append(audio, out);
        out.extend_from_slice(tail);
    }

    /// Length of the mark of this name; nothing where no marks are returned.
    pub fn mark_json_len(&self, mark: MarkName) -> usize {
        let Some([head, tail]) = &self.mark else { return 0 };
        let mut name = LenBytes::default();
        mark.write_to(&mut name);
        head.len() + name.0 + tail.len()
    }

    /// Appends the message that asks to be told when all sent so far has been played.
    pub fn write_mark_json(&self, mark: MarkName, out: &mut Vec<u8>) {
        let Some([head, tail]) = &self.mark else { return };
        out.extend_from_slice(head);
        mark.write_to(out);
        out.extend_from_slice(tail);
    }

    /// Length of the message that clears.
    pub fn clear_json_len(&self) -> usize {
        self.clear.len()
    }

    /// Appends the message that makes the carrier throw away what it has not played; a JSON
    /// dialect returns every mark that is outstanding, or none.
    pub fn write_clear_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.clear);
    }
}

/// Writes `template` with the stream's own in its places.
fn fill(template: &str, stream_id: &str, told: Told, out: &mut Vec<u8>) {
    let mut rest = template;
    while let Some((before, from)) = rest.split_once('{') {
        out.put(before.as_bytes());
        let place = ["stream}", "type}", "rate}"].into_iter().find(|p| from.starts_with(p));
        rest = &from[place.map_or(0, str::len)..];
        match place {
            Some("stream}") => out.put_escaped(stream_id),
            Some("type}") => out.put(told.media_type.as_bytes()),
            Some(_) => out.put_decimal(told.rate_hz.into()),
            None => out.put(b"{"),
        }
    }
    out.put(rest.as_bytes());
}
