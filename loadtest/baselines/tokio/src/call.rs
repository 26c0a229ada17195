//! One call: Twilio's stream, the model's session, and the audio between, in one task.
//!
//! In:       the stream after its upgrade.
//! Out:      both connections closed.
//! Bounds:   [`EARLY_FRAMES_MAX`] frames wait for the model, [`SETUP_WAIT`] until it is ready,
//!           [`SEND_WAIT`] for a socket that takes nothing, [`MESSAGE_BYTES_MAX`]: beyond any of
//!           them the call ends.
//! Not here: who may come in (`main`).
//!
//! Twilio queues up to ten minutes and forgets them on `clear`: model audio is passed on as it
//! comes, not paced, one message for each of the model's, and `interrupted` becomes `clear`. A mark
//! follows each turn.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message as PhoneMessage, WebSocket};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt, StreamExt};
use serde::Serialize;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config,
};

use crate::audio::{Downlink, Uplink};
use crate::message::{FromModel, FromPhone, Realtime, ToPhone};
use crate::{READ_BUFFER_BYTES, Settings};

/// The longest message of either side.
pub(crate) const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Frames of 20 ms that wait for the model: ten seconds.
const EARLY_FRAMES_MAX: usize = 500;

/// From the dial to `setupComplete`.
const SETUP_WAIT: Duration = Duration::from_secs(15);

/// How long a socket may take nothing.
const SEND_WAIT: Duration = Duration::from_secs(10);

/// How long the other side's goodbye is waited for.
const GOODBYE_WAIT: Duration = Duration::from_secs(2);

const PATH: &str = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent";

type Model = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Why a call ends otherwise than by a goodbye.
#[derive(Debug)]
enum CallError {
    Phone(axum::Error),
    Model(tungstenite::Error),
    Json(serde_json::Error),
    Base64(base64::DecodeError),
    Late,
    TooEarly,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Phone(error) => write!(f, "phone: {error}"),
            CallError::Model(error) => write!(f, "model: {error}"),
            CallError::Json(error) => write!(f, "a message is not as documented: {error}"),
            CallError::Base64(error) => write!(f, "a payload is not base64: {error}"),
            CallError::Late => write!(f, "the other side took too long"),
            CallError::TooEarly => write!(f, "the caller said too much before the model was ready"),
        }
    }
}

impl From<axum::Error> for CallError {
    fn from(error: axum::Error) -> CallError {
        CallError::Phone(error)
    }
}

impl From<tungstenite::Error> for CallError {
    fn from(error: tungstenite::Error) -> CallError {
        CallError::Model(error)
    }
}

impl From<serde_json::Error> for CallError {
    fn from(error: serde_json::Error) -> CallError {
        CallError::Json(error)
    }
}

impl From<base64::DecodeError> for CallError {
    fn from(error: base64::DecodeError) -> CallError {
        CallError::Base64(error)
    }
}

/// Carries a call from its upgrade to its end.
pub(crate) async fn run(mut phone: WebSocket, settings: Arc<Settings>) {
    let joined = match greeted(&mut phone).await {
        Ok(Some((stream_sid, from))) => join(&mut phone, stream_sid, &from, &settings).await,
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = joined {
        eprintln!("relay-tokio: {error}");
    }
    // Whoever has gone already cannot be said goodbye to.
    let _ = timeout(GOODBYE_WAIT, phone.send(PhoneMessage::Close(None))).await;
}

/// Reads up to `start`: the stream's name and the caller's number.
async fn greeted(phone: &mut WebSocket) -> Result<Option<(String, String)>, CallError> {
    while let Some(message) =
        timeout(SETUP_WAIT, phone.next()).await.map_err(|_| CallError::Late)?
    {
        let PhoneMessage::Text(text) = message? else { continue };
        let said: FromPhone<'_> = serde_json::from_str(&text)?;
        if let Some(start) = said.start {
            let from = start.custom_parameters.from.unwrap_or("unknown".into());
            return Ok(Some((start.stream_sid.into_owned(), from.into_owned())));
        }
    }
    Ok(None)
}

async fn join(
    phone: &mut WebSocket,
    stream_sid: String,
    from: &str,
    settings: &Settings,
) -> Result<(), CallError> {
    let mut call = Call {
        stream_sid,
        uplink: Uplink::new(),
        downlink: Downlink::new(),
        turns: 0,
        bytes: Vec::new(),
        base64: String::new(),
    };
    let mut early = Vec::new();
    let setting_up = timeout(SETUP_WAIT, set_up(from, settings));
    tokio::pin!(setting_up);
    let mut model = loop {
        tokio::select! {
            model = &mut setting_up => break model.map_err(|_| CallError::Late)??,
            message = phone.next() => {
                let Some(message) = message else { return Ok(()) };
                match message? {
                    PhoneMessage::Text(_) if early.len() == EARLY_FRAMES_MAX => {
                        return Err(CallError::TooEarly);
                    }
                    PhoneMessage::Text(text) => early.push(text),
                    PhoneMessage::Close(_) => return Ok(()),
                    _ => {}
                }
            }
        }
    };
    let greeting = json!({ "clientContent": {
        "turns": [{ "role": "user", "parts": [{ "text": "Greet the caller." }] }],
        "turnComplete": true,
    } });
    say(&mut model, &greeting).await?;
    let mut over = false;
    for text in early {
        over |= call.hear(&text, &mut model).await?;
    }
    while !over {
        tokio::select! {
            message = phone.next() => match message.transpose()? {
                Some(PhoneMessage::Text(text)) => over = call.hear(&text, &mut model).await?,
                Some(PhoneMessage::Close(_)) | None => over = true,
                Some(_) => {}
            },
            message = model.next() => match message.transpose()? {
                // Text or binary: the service sends both.
                Some(Message::Text(text)) => call.speak(&text, phone).await?,
                Some(Message::Binary(bytes)) => {
                    let text = std::str::from_utf8(&bytes).unwrap_or_default();
                    call.speak(text, phone).await?;
                }
                Some(Message::Close(_)) | None => over = true,
                Some(_) => {}
            },
        }
    }
    // The other side may have gone without a word.
    let _ = timeout(GOODBYE_WAIT, async {
        model.close(None).await?;
        while model.next().await.transpose()?.is_some() {}
        Ok::<(), tungstenite::Error>(())
    })
    .await;
    Ok(())
}

/// Dials the model and sets the session up.
async fn set_up(from: &str, settings: &Settings) -> Result<Model, CallError> {
    let mut request = format!("{}{PATH}", settings.gemini_url).into_client_request()?;
    let key = settings.api_key.parse().map_err(tungstenite::http::Error::from);
    request.headers_mut().insert("x-goog-api-key", key.map_err(tungstenite::Error::from)?);
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .max_message_size(Some(MESSAGE_BYTES_MAX));
    let tls = Connector::Rustls(Arc::clone(&settings.tls));
    // `true`: without Nagle's algorithm.
    let dialled = connect_async_tls_with_config(request, Some(config), true, Some(tls)).await;
    let (mut model, _) = dialled?;
    let text =
        format!("You are a friendly receptionist on the phone. The caller's number is {from}.");
    let setup = json!({ "setup": {
        "model": settings.model,
        "generationConfig": {
            "responseModalities": ["AUDIO"],
            "speechConfig": { "voiceConfig": { "prebuiltVoiceConfig": { "voiceName": "Kore" } } },
        },
        "systemInstruction": { "parts": [{ "text": text }] },
        "contextWindowCompression": { "slidingWindow": {} },
    } });
    say(&mut model, &setup).await?;
    while let Some(message) = model.next().await.transpose()? {
        let (Message::Text(_) | Message::Binary(_)) = &message else { continue };
        let said: FromModel<'_> = serde_json::from_str(message.to_text()?)?;
        if said.setup_complete.is_some() {
            return Ok(model);
        }
    }
    Err(CallError::Model(tungstenite::Error::ConnectionClosed))
}

/// Says something to the model.
async fn say(model: &mut Model, message: &impl Serialize) -> Result<(), CallError> {
    let text = serde_json::to_string(message)?;
    let sent = timeout(SEND_WAIT, model.send(Message::text(text))).await;
    Ok(sent.map_err(|_| CallError::Late)??)
}

/// A call while both sides are there.
struct Call {
    stream_sid: String,
    uplink: Uplink,
    downlink: Downlink,
    turns: u64,
    /// Room for audio, and for its base64.
    bytes: Vec<u8>,
    base64: String,
}

impl Call {
    /// A message of the phone. True if it was the last.
    async fn hear(&mut self, text: &str, model: &mut Model) -> Result<bool, CallError> {
        let said: FromPhone<'_> = serde_json::from_str(text)?;
        if let ("media", Some(media)) = (&*said.event, &said.media) {
            let code = STANDARD.decode(&*media.payload)?;
            self.bytes.clear();
            self.uplink.convert(&code, &mut self.bytes);
            self.base64.clear();
            STANDARD.encode_string(&self.bytes, &mut self.base64);
            say(model, &Realtime::audio(&self.base64)).await?;
        }
        Ok(said.event == "stop")
    }

    /// A message of the model.
    async fn speak(&mut self, text: &str, phone: &mut WebSocket) -> Result<(), CallError> {
        let said: FromModel<'_> = serde_json::from_str(text)?;
        let Some(content) = said.server_content else { return Ok(()) };
        if content.interrupted {
            self.downlink.reset();
            return tell(phone, &ToPhone::clear(&self.stream_sid)).await;
        }
        self.bytes.clear();
        let parts = content.model_turn.into_iter().flat_map(|turn| turn.parts);
        for blob in parts.filter_map(|part| part.inline_data) {
            self.downlink.convert(&STANDARD.decode(&*blob.data)?, &mut self.bytes);
        }
        if !self.bytes.is_empty() {
            self.base64.clear();
            STANDARD.encode_string(&self.bytes, &mut self.base64);
            tell(phone, &ToPhone::media(&self.stream_sid, &self.base64)).await?;
        }
        if content.turn_complete {
            self.turns += 1;
            tell(phone, &ToPhone::mark(&self.stream_sid, format!("turn-{}", self.turns))).await?;
        }
        Ok(())
    }
}

/// Says something to the phone.
async fn tell(phone: &mut WebSocket, message: &ToPhone<'_>) -> Result<(), CallError> {
    let text = serde_json::to_string(message)?;
    let sent = timeout(SEND_WAIT, phone.send(PhoneMessage::Text(text.into()))).await;
    Ok(sent.map_err(|_| CallError::Late)??)
}
