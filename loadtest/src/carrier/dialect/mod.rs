//! What is said on an open stream, by carrier: the client's messages, and strictly what it takes
//! from a server.
//!
//! In:       the fields of a message to be said; a message as it came.
//! Out:      a [`Wire`] message; an [`Order`] with decoded audio, or the [`Violation`].
//! Bounds:   none of its own; the link bounds a message.
//! Not here: when anything is said or played (`carrier::phone`, `carrier::playout`).
//!
//! | room | whose |
//! |---|---|
//! | `twilio` | Twilio's and SignalWire's messages up |
//! | `telnyx`, `exotel` | their messages up |
//! | `envelope` | what those four take: one shape, four ways to name the stream |
//! | `plivo`, `vonage`, `jambonz`, `web` | both ways |

use super::Carrier;
use super::ids::Ids;
use super::playout::{QUEUE_NANOS_MAX, Reached};
use super::record::Formats;
use crate::clock::{MILLIS, Nanos};
use crate::format::{Coding, Format};

mod envelope;
mod exotel;
mod jambonz;
mod plivo;
mod telnyx;
mod twilio;
mod vonage;
mod web;

/// A message as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wire {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
}

/// What a server wants of the phone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Play this, in the stream's format.
    Media(Vec<u8>),
    /// Return this mark once all before it was played.
    Mark(String),
    /// Throw away what is queued.
    Clear,
    /// Return the marks that wait (jambonz).
    ClearMarks,
    /// Play a key's tones (SignalWire).
    Key,
    /// Speak from now on (browser).
    Ready,
    /// To be shown to a person, or known (browser).
    Note,
    /// End the stream (jambonz).
    Disconnect,
}

/// What a server did that its carrier does not accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Violation {
    /// A binary frame where all is text.
    Binary,
    /// A message before the server was told the name of the stream.
    BeforeStart,
    /// Not JSON, or fields missing, extra, doubled or of the wrong type.
    Shape,
    /// An event that the carrier does not know.
    UnknownEvent,
    /// Another stream's name, or none where one is needed.
    WrongStreamId,
    /// A payload that is not standard base64 with padding, empty, or ends within a sample.
    Payload,
    /// Audio said to be in another format than that of the stream.
    WrongFormat,
    /// A piece of audio shorter or longer than the carrier takes, or not of its step.
    PieceSize,
    /// More audio queued than the carrier keeps.
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
            | Violation::WrongStreamId
            | Violation::Payload
            | Violation::WrongFormat
            | Violation::PieceSize => 31951,
        }
    }
}

/// What becomes of waiting marks when the queue is thrown away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarksAtClear {
    /// They come back.
    Return,
    /// They do not.
    Drop,
}

/// One side of a stream, in the words of its carrier.
pub struct Dialect {
    carrier: Carrier,
    ids: Ids,
    /// The caller's number, and the number called.
    numbers: [String; 2],
    formats: Formats,
    parameters: Vec<(String, String)>,
    /// What a browser shows.
    token: Option<String>,
    /// Messages so far that carry a number.
    sequence: u64,
}

impl Dialect {
    /// The words of one call, before its stream is open.
    pub fn new(carrier: Carrier, ids: Ids, from: &str, to: &str) -> Dialect {
        Dialect {
            carrier,
            ids,
            numbers: [from.to_string(), to.to_string()],
            formats: Formats::both(carrier.default_format()),
            parameters: Vec::new(),
            token: None,
            sequence: 0,
        }
    }

    /// Whose they are.
    pub fn carrier(&self) -> Carrier {
        self.carrier
    }

    /// The audio on the stream.
    pub fn formats(&self) -> Formats {
        self.formats
    }

    /// Another stream of the same call.
    pub fn renew(&mut self, ids: Ids) {
        self.ids = ids;
    }

    /// The first messages. From now on the other side knows the stream.
    pub fn open(
        &mut self,
        formats: Formats,
        parameters: &[(String, String)],
        token: Option<&str>,
    ) -> Vec<Wire> {
        self.formats = formats;
        self.parameters = parameters.to_vec();
        self.token = token.map(str::to_string);
        self.sequence = 1;
        let texts = match self.carrier {
            Carrier::Twilio | Carrier::SignalWire => {
                vec![twilio::connected(self), twilio::start(self)]
            }
            Carrier::Telnyx => vec![telnyx::connected(), telnyx::start(self)],
            Carrier::Exotel => vec![exotel::connected(), exotel::start(self)],
            Carrier::Plivo => vec![plivo::start(self)],
            Carrier::Vonage => vec![vonage::connected(self)],
            Carrier::Jambonz => vec![jambonz::preamble(self)],
            Carrier::Web => vec![web::hello(self)],
        };
        texts.into_iter().map(Wire::Text).collect()
    }

    /// True if the phone speaks only after [`Order::Ready`].
    pub fn awaits_ready(&self) -> bool {
        self.carrier == Carrier::Web
    }

    /// True if pieces of audio arrive in their order; Telnyx does not promise it.
    pub fn keeps_order(&self) -> bool {
        self.carrier != Carrier::Telnyx
    }

    /// A piece of caller audio. `chunk`: its number, from 1. `timestamp_ms`: when it was spoken,
    /// since the stream began.
    pub fn media(&mut self, chunk: u64, timestamp_ms: u64, audio: Vec<u8>) -> Wire {
        self.sequence += 1;
        Wire::Text(match self.carrier {
            Carrier::Twilio | Carrier::SignalWire => {
                twilio::media(self, chunk, timestamp_ms, &audio)
            }
            Carrier::Telnyx => telnyx::media(self, chunk, timestamp_ms, &audio),
            Carrier::Exotel => exotel::media(self, chunk, timestamp_ms, &audio),
            Carrier::Plivo => plivo::media(self, chunk, timestamp_ms, &audio),
            Carrier::Vonage | Carrier::Jambonz | Carrier::Web => return Wire::Binary(audio),
        })
    }

    /// A key was pressed.
    pub fn key(&mut self, digit: char) -> Wire {
        self.sequence += 1;
        Wire::Text(match self.carrier {
            Carrier::Twilio | Carrier::SignalWire => twilio::dtmf(self, digit),
            Carrier::Telnyx => telnyx::dtmf(self, digit),
            Carrier::Exotel => exotel::dtmf(self, digit),
            Carrier::Plivo => plivo::dtmf(self, digit),
            Carrier::Vonage => vonage::dtmf(digit),
            Carrier::Jambonz => jambonz::dtmf(digit),
            Carrier::Web => web::key(digit),
        })
    }

    /// A mark comes back; `None` where the carrier says nothing of it.
    pub fn mark(&mut self, mark: &Reached) -> Option<Wire> {
        self.sequence += 1;
        Some(Wire::Text(match self.carrier {
            Carrier::Twilio | Carrier::SignalWire => twilio::mark(self, &mark.name),
            Carrier::Telnyx => telnyx::mark(self, &mark.name),
            Carrier::Exotel => exotel::mark(self, &mark.name),
            Carrier::Plivo => plivo::played(self, &mark.name),
            Carrier::Vonage => vonage::notify(&mark.name),
            Carrier::Jambonz => jambonz::mark(mark),
            Carrier::Web => return None,
        }))
    }

    /// What is said when the queue was thrown away.
    pub fn cleared(&mut self) -> Option<Wire> {
        match self.carrier {
            Carrier::Plivo => {
                self.sequence += 1;
                Some(Wire::Text(plivo::cleared(self)))
            }
            Carrier::Vonage => Some(Wire::Text(vonage::cleared())),
            _ => None,
        }
    }

    /// How much audio the carrier keeps: Vonage 3,072 messages of 20 ms.
    pub fn queue_max(&self) -> Nanos {
        match self.carrier {
            Carrier::Vonage => 3_072 * 20 * MILLIS,
            _ => QUEUE_NANOS_MAX,
        }
    }

    /// What becomes of waiting marks when the queue is thrown away. Plivo confirms only what was
    /// really played; Vonage was seen to forget its notices.
    pub fn marks_at_clear(&self) -> MarksAtClear {
        match self.carrier {
            Carrier::Plivo | Carrier::Vonage | Carrier::Web => MarksAtClear::Drop,
            _ => MarksAtClear::Return,
        }
    }

    /// The last message, where the carrier has one. (Plivo's reference knows no `stop`: its socket
    /// closes.)
    pub fn stop(&mut self) -> Option<Wire> {
        self.sequence += 1;
        Some(Wire::Text(match self.carrier {
            Carrier::Twilio | Carrier::SignalWire => twilio::stop(self),
            Carrier::Telnyx => telnyx::stop(self),
            Carrier::Exotel => exotel::stop(self),
            Carrier::Web => web::bye(),
            Carrier::Plivo | Carrier::Vonage | Carrier::Jambonz => return None,
        }))
    }

    /// Reads one text message of the server.
    ///
    /// # Errors
    /// What the carrier would object to.
    pub fn read_text(&self, text: &str) -> Result<Order, Violation> {
        match self.carrier {
            Carrier::Twilio | Carrier::SignalWire | Carrier::Telnyx | Carrier::Exotel => {
                envelope::read(self.carrier, &self.ids.stream, text)
            }
            Carrier::Plivo => plivo::read(self, text),
            Carrier::Vonage => vonage::read(text),
            Carrier::Jambonz => jambonz::read(text),
            Carrier::Web => web::read(text),
        }
    }

    /// Reads one binary message of the server.
    ///
    /// # Errors
    /// What the carrier would object to.
    pub fn read_binary(&self, bytes: &[u8]) -> Result<Order, Violation> {
        match self.carrier {
            Carrier::Vonage | Carrier::Jambonz | Carrier::Web => {
                let whole = bytes.len().is_multiple_of(self.formats.down.sample_bytes());
                match whole && !bytes.is_empty() {
                    true => Ok(Order::Media(bytes.to_vec())),
                    false => Err(Violation::Payload),
                }
            }
            _ => Err(Violation::Binary),
        }
    }

    /// Whether a piece of audio is one that the carrier takes, by its length alone. Telnyx: 20 ms
    /// to 30 s. Exotel: 3,200 to 100,000 bytes in steps of 320. Vonage: 20 ms.
    ///
    /// # Errors
    /// [`Violation::PieceSize`]; half a sample is [`Violation::Payload`].
    pub fn check_piece(&self, len_bytes: usize) -> Result<(), Violation> {
        let down = self.formats.down;
        let fits = match self.carrier {
            Carrier::Telnyx => {
                (down.bytes_of_ms(20)..=down.bytes_of_ms(30_000)).contains(&len_bytes)
            }
            Carrier::Exotel => {
                len_bytes.is_multiple_of(320) && (3_200..=100_000).contains(&len_bytes)
            }
            Carrier::Vonage => len_bytes == down.frame_bytes(),
            _ => true,
        };
        if !len_bytes.is_multiple_of(down.sample_bytes()) {
            return Err(Violation::Payload);
        }
        fits.then_some(()).ok_or(Violation::PieceSize)
    }
}

/// The MIME type of a format, as Twilio, SignalWire and Plivo name theirs.
fn mime(format: Format, linear: &'static str) -> &'static str {
    match format.coding {
        Coding::Mulaw => "audio/x-mulaw",
        Coding::Alaw => "audio/x-alaw",
        Coding::Linear | Coding::Network => linear,
    }
}

/// Parameters as a JSON object of text.
fn object(parameters: &[(String, String)]) -> serde_json::Map<String, serde_json::Value> {
    parameters.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect()
}

/// Audio from padded standard base64.
fn audio(payload: &str) -> Result<Order, Violation> {
    use base64::Engine as _;
    match base64::engine::general_purpose::STANDARD.decode(payload) {
        Ok(audio) if !audio.is_empty() => Ok(Order::Media(audio)),
        _ => Err(Violation::Payload),
    }
}

/// A field that is there is a value: `null` is not the same as absent.
fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests;
