//! What the model says.
//!
//! In:       the text of one WebSocket message, which may have come as text or as binary.
//! Out:      one [`ServerMessage`], borrowed from the text; its audio, part by part.
//! Bounds:   those of `wire::json`; nothing is allocated.
//! Not here: base64 to PCM (`wire::base64`), what follows from a message (`call`).
//!
//! Every field is read for itself: the server may put several into one message. Fields we do not
//! know, and words of an enum we do not know, are passed over.

use std::time::Duration;

use super::super::json::{JsonError, Kind, MessageError, NameSpare, Scanner, Text};
use super::super::plain::Plain;

/// The rate of model audio that does not name one.
pub const DEFAULT_AUDIO_RATE_HZ: u32 = 24_000;

/// A message from the model. `None`, `false` or an empty iterator: the message does not have it.
#[derive(Clone, Debug, Default)]
pub struct ServerMessage<'b> {
    /// Streaming may begin.
    pub setup_complete: bool,
    /// The session's id; Vertex only.
    pub session_id: Option<Text<'b>>,
    /// The model has begun or goes on to speak: see [`audio_parts`](Self::audio_parts).
    pub model_turn: bool,
    /// The caller spoke over the model: what was generated is void, wherever it is held.
    pub interrupted: bool,
    /// No more audio comes for this answer.
    pub generation_complete: bool,
    /// The turn is over; may lag by the time the audio takes to play.
    pub turn_complete: bool,
    /// Why it is over, when it is not for the usual reason.
    pub turn_complete_reason: Option<Text<'b>>,
    /// The model waits for the caller to go on.
    pub waiting_for_input: bool,
    /// Whether more is to come without anybody speaking.
    pub interaction: Option<Interaction>,
    /// What the caller was heard to say: a piece, to be joined to those before.
    pub input_transcription: Option<Transcription<'b>>,
    /// What the model says: a piece, to be joined to those before.
    pub output_transcription: Option<Transcription<'b>>,
    /// The connection ends in so much time. A time that cannot be read counts as none left.
    pub go_away: Option<Duration>,
    /// Whether and how the session can be resumed from here.
    pub resumption: Option<Resumption<'b>>,
    /// The server's own detector; not from every model.
    pub voice_activity: Option<SpeechEdge>,
    /// What was spent so far.
    pub usage: Option<Usage>,
    /// Fatal for this attempt.
    pub error: Option<ServerError<'b>>,
    /// `serverContent.modelTurn.parts`, read through.
    parts: Parts<'b>,
    /// `toolCall.functionCalls`, read through.
    function_calls: Option<&'b str>,
    /// `toolCallCancellation.ids`, read through.
    cancelled_ids: Option<&'b str>,
}

/// `interactionStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interaction {
    /// More comes.
    InProgress,
    /// Nothing comes until somebody speaks.
    Idle,
    /// Another word.
    Unknown,
}

/// A piece of text of what was spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Transcription<'b> {
    /// The piece.
    pub text: Text<'b>,
    /// The model says that nothing will be added. Not dependable.
    pub finished: Option<bool>,
}

/// `sessionResumptionUpdate`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Resumption<'b> {
    /// The handle; may be empty.
    pub handle: Text<'b>,
    /// Literally `true` in the message.
    pub resumable: bool,
    /// The last of our messages that the handle covers; Vertex only.
    pub last_consumed: Option<u64>,
}

impl<'b> Resumption<'b> {
    /// The handle, if a session may be resumed with it.
    pub fn usable_handle(&self) -> Option<Text<'b>> {
        (self.resumable && !self.handle.is_empty()).then_some(self.handle)
    }
}

/// `voiceActivity.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpeechEdge {
    /// The caller begins to speak.
    Start,
    /// The caller has stopped.
    End,
}

/// `usageMetadata`, in the names of either surface; 0 where a count is not told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// What went in.
    pub prompt_tokens: u64,
    /// What came out.
    pub response_tokens: u64,
    /// All of it.
    pub total_tokens: u64,
}

/// `{"error":{…}}`, or a message that is nothing but a code.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ServerError<'b> {
    /// Its number.
    pub code: Option<i64>,
    /// Its name.
    pub status: Option<Text<'b>>,
    /// A sentence.
    pub message: Option<Text<'b>>,
}

/// One piece of audio.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AudioPart<'b> {
    /// Samples per second.
    pub rate_hz: u32,
    /// Base64 of PCM16, little-endian, mono; any number of bytes, odd ones too.
    pub base64: Text<'b>,
}

/// A function the model wants run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ToolCall<'b> {
    /// To be given back with the answer; Vertex may leave it out.
    pub id: Option<Text<'b>>,
    /// The function.
    pub name: Text<'b>,
    /// Its arguments: a JSON object.
    pub args: &'b str,
}

impl<'b> ServerMessage<'b> {
    /// Every piece of audio of the message, in order. Text, thoughts and whatever else a part may
    /// be are left out.
    pub fn audio_parts(&self) -> impl Iterator<Item = AudioPart<'b>> + use<'b> {
        let rest = self.parts.rest.clone().into_iter().flat_map(|rest| items_from(rest, read_part));
        self.parts.first_audio.into_iter().chain(rest.flatten())
    }

    /// The functions to run.
    pub fn tool_calls(&self) -> impl Iterator<Item = ToolCall<'b>> + use<'b> {
        items(self.function_calls, read_tool_call).flatten()
    }

    /// The ids of calls that were taken back: not to be answered any more.
    pub fn tool_cancellations(&self) -> impl Iterator<Item = Text<'b>> + use<'b> {
        items(self.cancelled_ids, Scanner::text)
    }

    /// As if the message had no `serverContent`.
    fn forget_content(&mut self) {
        self.model_turn = false;
        self.parts = Parts::default();
        self.interrupted = false;
        self.generation_complete = false;
        self.turn_complete = false;
        self.turn_complete_reason = None;
        self.waiting_for_input = false;
        self.interaction = None;
        self.input_transcription = None;
        self.output_transcription = None;
    }
}

/// Reads one message.
///
/// # Errors
/// Text that is not JSON, not an object, or a field we use of another kind than it has.
pub fn decode(text: &str) -> Result<ServerMessage<'_>, MessageError> {
    let Some(audio) = read_plain_turn(text) else { return decode_any(text) };
    let parts = Parts { first_audio: Some(audio), rest: None };
    Ok(ServerMessage { model_turn: true, parts, ..ServerMessage::default() })
}

/// Reads a message however it is written.
fn decode_any(text: &str) -> Result<ServerMessage<'_>, MessageError> {
    let mut message = ServerMessage::default();
    let mut has_content = false;
    let mut bare_error = ServerError::default();
    let mut scanner = Scanner::new(text);
    scanner.enter_object()?;
    while let Some(key) = scanner.next_key()? {
        match key.name(&mut NameSpare::new()) {
            "serverContent" => {
                // Of two, only the last counts.
                if std::mem::replace(&mut has_content, true) {
                    message.forget_content();
                }
                scanner.optional(|scanner| read_content(scanner, &mut message))?;
            }
            "setupComplete" => {
                let session_id = scanner.optional(read_setup_complete)?;
                message.setup_complete = session_id.is_some();
                message.session_id = session_id.flatten();
            }
            "toolCall" => {
                message.function_calls = scanner.optional(read_function_calls)?.flatten();
            }
            "toolCallCancellation" => {
                message.cancelled_ids = scanner.optional(read_cancelled_ids)?.flatten();
            }
            "goAway" => message.go_away = scanner.optional(read_go_away)?,
            "sessionResumptionUpdate" => {
                message.resumption = scanner.optional(read_resumption)?;
            }
            "usageMetadata" => message.usage = scanner.optional(read_usage)?,
            "voiceActivity" => {
                message.voice_activity = scanner.optional(read_voice_activity)?.flatten();
            }
            "interactionStatus" => {
                message.interaction = scanner.optional(read_interaction)?.or(message.interaction);
            }
            "error" => message.error = scanner.optional(read_error)?,
            // Common words: of another kind they are fields we do not know.
            "code" if scanner.kind()? == Kind::Number => bare_error.code = Some(scanner.integer()?),
            "status" if scanner.kind()? == Kind::Text => bare_error.status = Some(scanner.text()?),
            "message" if scanner.kind()? == Kind::Text => {
                bare_error.message = Some(scanner.text()?);
            }
            _ => drop(scanner.skip()?),
        }
    }
    scanner.finish()?;
    if message.error.is_none() && bare_error.code.is_some() {
        message.error = Some(bare_error);
    }
    Ok(message)
}

/// A whole message that is one part of a turn, and that part audio, written without escapes.
fn read_plain_turn(text: &str) -> Option<AudioPart<'_>> {
    let mut plain = Plain::new(text);
    plain.eat(b'{')?;
    plain.expect("serverContent")?;
    plain.eat(b'{')?;
    plain.expect("modelTurn")?;
    plain.eat(b'{')?;
    let mut audio = None;
    loop {
        match plain.key()? {
            "parts" => audio = Some(read_plain_part(&mut plain)?),
            // What it does not know, such as `role`.
            _ => drop(plain.word()?),
        }
        if !plain.more_before(b'}')? {
            break;
        }
    }
    plain.eat(b'}')?;
    plain.eat(b'}')?;
    plain.finish()?;
    audio
}

/// A list of one part, and that part audio.
fn read_plain_part<'b>(plain: &mut Plain<'b>) -> Option<AudioPart<'b>> {
    plain.eat(b'[')?;
    plain.eat(b'{')?;
    plain.expect("inlineData")?;
    plain.eat(b'{')?;
    let (mut rate_hz, mut base64) = (None, None);
    loop {
        match plain.key()? {
            "mimeType" => rate_hz = Some(pcm_rate_hz(Text::plain(plain.word()?))?),
            "data" => base64 = Some(Text::plain(plain.word()?)),
            _ => drop(plain.word()?),
        }
        if !plain.more_before(b'}')? {
            break;
        }
    }
    plain.eat(b'}')?;
    plain.eat(b']')?;
    let rate_hz = rate_hz.unwrap_or(DEFAULT_AUDIO_RATE_HZ);
    base64.map(|base64| AudioPart { rate_hz, base64 })
}

/// Reads `serverContent` into `message`.
fn read_content<'b>(
    scanner: &mut Scanner<'b>,
    message: &mut ServerMessage<'b>,
) -> Result<(), JsonError> {
    scanner.enter_object()?;
    while let Some(key) = scanner.next_key()? {
        match key.name(&mut NameSpare::new()) {
            "modelTurn" => {
                let parts = scanner.optional(read_model_turn)?;
                message.model_turn = parts.is_some();
                message.parts = parts.unwrap_or_default();
            }
            "interrupted" => message.interrupted = flag(scanner)?,
            "generationComplete" => message.generation_complete = flag(scanner)?,
            "turnComplete" => message.turn_complete = flag(scanner)?,
            "turnCompleteReason" => {
                message.turn_complete_reason = scanner.optional(enum_text)?.flatten();
            }
            "waitingForInput" => message.waiting_for_input = flag(scanner)?,
            "interactionStatus" => {
                message.interaction = scanner.optional(read_interaction)?.or(message.interaction);
            }
            "inputTranscription" => {
                message.input_transcription = scanner.optional(read_transcription)?;
            }
            "outputTranscription" => {
                message.output_transcription = scanner.optional(read_transcription)?;
            }
            _ => drop(scanner.skip()?),
        }
    }
    Ok(())
}

/// The parts of a turn: the first with audio as it was found, for most messages have one, and the
/// place behind it.
#[derive(Clone, Debug, Default)]
struct Parts<'b> {
    first_audio: Option<AudioPart<'b>>,
    /// Inside the list; what follows has been read through.
    rest: Option<Scanner<'b>>,
}

fn read_model_turn<'b>(scanner: &mut Scanner<'b>) -> Result<Parts<'b>, JsonError> {
    let mut parts = Parts::default();
    scanner.enter_object()?;
    while let Some(key) = scanner.next_key()? {
        match key.name(&mut NameSpare::new()) {
            "parts" => parts = scanner.optional(read_parts)?.unwrap_or_default(),
            _ => drop(scanner.skip()?),
        }
    }
    Ok(parts)
}

fn read_parts<'b>(scanner: &mut Scanner<'b>) -> Result<Parts<'b>, JsonError> {
    let mut parts = Parts::default();
    scanner.enter_array()?;
    while scanner.next_item()? {
        let part = read_part(scanner)?;
        if parts.first_audio.is_none() && part.is_some() {
            parts = Parts { first_audio: part, rest: Some(scanner.clone()) };
        }
    }
    Ok(parts)
}

fn read_function_calls<'b>(scanner: &mut Scanner<'b>) -> Result<Option<&'b str>, JsonError> {
    read_list(scanner, "functionCalls", read_tool_call)
}

fn read_cancelled_ids<'b>(scanner: &mut Scanner<'b>) -> Result<Option<&'b str>, JsonError> {
    read_list(scanner, "ids", Scanner::text)
}

/// The text of the list `name` of an object, each item checked by `read`, so that [`items`] can
/// read them again without an error.
fn read_list<'b, T>(
    scanner: &mut Scanner<'b>,
    name: &str,
    read: fn(&mut Scanner<'b>) -> Result<T, JsonError>,
) -> Result<Option<&'b str>, JsonError> {
    let mut list = None;
    scanner.enter_object()?;
    while let Some(key) = scanner.next_key()? {
        if key != *name {
            scanner.skip()?;
            continue;
        }
        list = scanner.optional(|scanner| {
            let start = scanner.value_start();
            scanner.enter_array()?;
            while scanner.next_item()? {
                read(scanner)?;
            }
            Ok(scanner.between(start))
        })?;
    }
    Ok(list)
}

/// The items of a list that [`read_list`] has read through.
fn items<'b, T>(
    list: Option<&'b str>,
    read: fn(&mut Scanner<'b>) -> Result<T, JsonError>,
) -> impl Iterator<Item = T> + use<'b, T> {
    let inside = list.and_then(|list| {
        let mut scanner = Scanner::new(list);
        scanner.enter_array().ok().map(|()| scanner)
    });
    inside.into_iter().flat_map(move |inside| items_from(inside, read))
}

/// The items that follow in the list `scanner` is in. They have been read through, so no error
/// comes; if one did, it would be the end.
fn items_from<'b, T>(
    mut scanner: Scanner<'b>,
    read: fn(&mut Scanner<'b>) -> Result<T, JsonError>,
) -> impl Iterator<Item = T> + use<'b, T> {
    let mut open = true;
    std::iter::from_fn(move || {
        open = open && scanner.next_item() == Ok(true);
        if open { read(&mut scanner).ok() } else { None }
    })
}

/// A part of a turn; `None` if it is not audio to be heard.
fn read_part<'b>(scanner: &mut Scanner<'b>) -> Result<Option<AudioPart<'b>>, JsonError> {
    let mut audio = None;
    let mut thought = false;
    scanner.enter_object()?;
    while let Some(key) = scanner.next_key()? {
        match key.name(&mut NameSpare::new()) {
            "inlineData" => audio = scanner.optional(read_inline_data)?.flatten(),
            "thought" => thought = flag(scanner)?,
            _ => drop(scanner.skip()?),
        }
    }
    Ok(audio.filter(|_| !thought))
}

fn read_inline_data<'b>(scanner: &mut Scanner<'b>) -> Result<Option<AudioPart<'b>>, JsonError> {
    let mut rate_hz = Some(DEFAULT_AUDIO_RATE_HZ);
    let mut base64 = None;
    scanner.enter_object()?;
    while let Some(key) = scanner.next_key()? {
        match key.name(&mut NameSpare::new()) {
            "mimeType" => {
                let mime_type = scanner.optional(Scanner::text)?;
                rate_hz = mime_type.map_or(Some(DEFAULT_AUDIO_RATE_HZ), pcm_rate_hz);
            }
            "data" => base64 = scanner.optional(Scanner::text)?,
            _ => drop(scanner.skip()?),
        }
    }
    Ok(rate_hz.zip(base64).map(|(rate_hz, base64)| AudioPart { rate_hz, base64 }))
}

/// The rate of `audio/pcm;rate=24000`; `None` if it is not PCM at all.
fn pcm_rate_hz(mime_type: Text<'_>) -> Option<u32> {
    // As nearly every message has it.
    if mime_type.as_plain() == Some("audio/pcm;rate=24000") {
        return Some(24_000);
    }
    let mut spare = NameSpare::new();
    let mut pieces = mime_type.name(&mut spare).split(';').map(str::trim);
    if !pieces.next()?.eq_ignore_ascii_case("audio/pcm") {
        return None;
    }
    let named = pieces
        .filter_map(|piece| piece.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("rate"))
        .and_then(|(_, rate)| rate.trim().parse().ok());
    Some(named.filter(|rate| *rate > 0).unwrap_or(DEFAULT_AUDIO_RATE_HZ))
}

/// A function call; `None` if it has no name, as an answer needs one.
fn read_tool_call<'b>(scanner: &mut Scanner<'b>) -> Result<Option<ToolCall<'b>>, JsonError> {
    let (mut id, mut name, mut args) = (None, None, None);
    scanner.enter_object()?;
    while let Some(key) = scanner.next_key()? {
        match key.name(&mut NameSpare::new()) {
            "id" => id = scanner.optional(Scanner::text)?,
            "name" => name = scanner.optional(Scanner::text)?,
            "args" => args = scanner.optional(|scanner| scanner.raw(Kind::Object))?,
            _ => drop(scanner.skip()?),
        }
    }
    let id = id.filter(|id| !id.is_empty());
    Ok(name.map(|name| ToolCall { id, name, args: args.unwrap_or("{}") }))
}

fn read_setup_complete<'b>(scanner: &mut Scanner<'b>) -> Result<Option<Text<'b>>, JsonError> {
    let mut session_id = None;
    scanner.enter_object()?;
    while let Some(key) = scanner.next_key()? {
        match key.name(&mut NameSpare::new()) {
            "sessionId" => session_id = scanner.optional(Scanner::text)?,
            _ => drop(scanner.skip()?),
        }
    }
    Ok(session_id)
}

fn read_transcription<'b>(scanner: &mut Scanner<'b>) -> Result<Transcription<'b>, JsonError> {
    let mut transcription = Transcription::default();
    scanner.enter_object()?;
    while let Some(key) = scanner.next_key()? {
        match key.name(&mut NameSpare::new()) {
            "text" => transcription.text = scanner.optional(Scanner::text)?.unwrap_or_default(),
            "finished" => transcription.finished = scanner.optional(Scanner::boolean)?,
            _ => drop(scanner.skip()?),
        }
    }
    Ok(transcription)
}

fn read_resumption<'b>(scanner: &mut Scanner<'b>) -> Result<Resumption<'b>, JsonError> {
    let mut resumption = Resumption::default();
    scanner.enter_object()?;
    while let Some(key) = scanner.next_key()? {
        match key.name(&mut NameSpare::new()) {
            "newHandle" => resumption.handle = scanner.optional(Scanner::text)?.unwrap_or_default(),
            "resumable" => resumption.resumable = flag(scanner)?,
            "lastConsumedClientMessageIndex" => {
                resumption.last_consumed = scanner.optional(Scanner::unsigned)?;
            }
            _ => drop(scanner.skip()?),
        }
    }
    Ok(resumption)
}

fn read_go_away(scanner: &mut Scanner<'_>) -> Result<Duration, JsonError> {
    let mut time_left = Duration::ZERO;
    scanner.enter_object()?;
    while let Some(key) = scanner.next_key()? {
        match key.name(&mut NameSpare::new()) {
            "timeLeft" => {
                let text = scanner.optional(Scanner::text)?.unwrap_or_default();
                time_left = parse_duration(text.name(&mut NameSpare::new())).unwrap_or_default();
            }
            _ => drop(scanner.skip()?),
        }
    }
    Ok(time_left)
}

/// A Duration of ProtoJSON: whole seconds, at most nine digits of fraction, `s`.
fn parse_duration(text: &str) -> Option<Duration> {
    let decimal =
        |digits: &str| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    let seconds = text.strip_suffix('s')?;
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
    if !decimal(whole) || !decimal(fraction) || fraction.len() > 9 {
        return None;
    }
    let scale = 10u32.pow(9 - fraction.len() as u32);
    Some(Duration::new(whole.parse().ok()?, fraction.parse::<u32>().ok()? * scale))
}

fn read_voice_activity(scanner: &mut Scanner<'_>) -> Result<Option<SpeechEdge>, JsonError> {
    let mut edge = None;
    scanner.enter_object()?;
    while let Some(key) = scanner.next_key()? {
        match key.name(&mut NameSpare::new()) {
            // Vertex uses the longer name.
            "type" | "voiceActivityType" => {
                let word = scanner.optional(enum_text)?.flatten().unwrap_or_default();
                edge = match word.name(&mut NameSpare::new()) {
                    "ACTIVITY_START" => Some(SpeechEdge::Start),
                    "ACTIVITY_END" => Some(SpeechEdge::End),
                    _ => None,
                };
            }
            _ => drop(scanner.skip()?),
        }
    }
    Ok(edge)
}

fn read_interaction(scanner: &mut Scanner<'_>) -> Result<Interaction, JsonError> {
    let word = enum_text(scanner)?.unwrap_or_default();
    Ok(match word.name(&mut NameSpare::new()) {
        "IN_PROGRESS" => Interaction::InProgress,
        "IDLE" => Interaction::Idle,
        _ => Interaction::Unknown,
    })
}

fn read_usage(scanner: &mut Scanner<'_>) -> Result<Usage, JsonError> {
    let mut usage = Usage::default();
    scanner.enter_object()?;
    while let Some(key) = scanner.next_key()? {
        let count = match key.name(&mut NameSpare::new()) {
            "promptTokenCount" => &mut usage.prompt_tokens,
            "responseTokenCount" | "candidatesTokenCount" => &mut usage.response_tokens,
            "totalTokenCount" => &mut usage.total_tokens,
            _ => {
                scanner.skip()?;
                continue;
            }
        };
        *count = scanner.optional(Scanner::unsigned)?.unwrap_or_default();
    }
    Ok(usage)
}

fn read_error<'b>(scanner: &mut Scanner<'b>) -> Result<ServerError<'b>, JsonError> {
    let mut error = ServerError::default();
    scanner.enter_object()?;
    while let Some(key) = scanner.next_key()? {
        match key.name(&mut NameSpare::new()) {
            "code" => error.code = scanner.optional(Scanner::integer)?,
            "status" => error.status = scanner.optional(Scanner::text)?,
            "message" => error.message = scanner.optional(Scanner::text)?,
            _ => drop(scanner.skip()?),
        }
    }
    Ok(error)
}

fn flag(scanner: &mut Scanner<'_>) -> Result<bool, JsonError> {
    Ok(scanner.optional(Scanner::boolean)?.unwrap_or(false))
}

/// A word of an enum; `None` for a number, which ProtoJSON allows and we do not know.
fn enum_text<'b>(scanner: &mut Scanner<'b>) -> Result<Option<Text<'b>>, JsonError> {
    if scanner.kind()? == Kind::Number {
        scanner.skip()?;
        return Ok(None);
    }
    scanner.text().map(Some)
}
