//! The messages of both sides, as far as this relay reads and writes them.
//!
//! In:       JSON.
//! Out:      values that borrow from it, and the other way round.
//! Bounds:   none of its own; the sockets bound a message.
//! Not here: their order (`call`).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// What Twilio says.
#[derive(Deserialize)]
pub(crate) struct FromPhone<'a> {
    #[serde(borrow)]
    pub(crate) event: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) media: Option<Payload<'a>>,
    #[serde(borrow)]
    pub(crate) start: Option<Start<'a>>,
}

/// Base64 of mu-law.
#[derive(Deserialize, Serialize)]
pub(crate) struct Payload<'a> {
    #[serde(borrow)]
    pub(crate) payload: Cow<'a, str>,
}

/// The names of a stream.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Start<'a> {
    #[serde(borrow)]
    pub(crate) stream_sid: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(crate) custom_parameters: Parameters<'a>,
}

/// The `<Parameter>`s of our TwiML.
#[derive(Default, Deserialize)]
pub(crate) struct Parameters<'a> {
    #[serde(borrow)]
    pub(crate) from: Option<Cow<'a, str>>,
}

/// What is said to Twilio.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ToPhone<'a> {
    event: &'static str,
    stream_sid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    media: Option<Payload<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mark: Option<Mark>,
}

#[derive(Serialize)]
struct Mark {
    name: String,
}

impl<'a> ToPhone<'a> {
    /// Audio.
    pub(crate) fn media(stream_sid: &'a str, payload: &'a str) -> ToPhone<'a> {
        let media = Some(Payload { payload: payload.into() });
        ToPhone { event: "media", stream_sid, media, mark: None }
    }

    /// The end of a turn.
    pub(crate) fn mark(stream_sid: &'a str, name: String) -> ToPhone<'a> {
        ToPhone { event: "mark", stream_sid, media: None, mark: Some(Mark { name }) }
    }

    /// Forget what is queued.
    pub(crate) fn clear(stream_sid: &'a str) -> ToPhone<'a> {
        ToPhone { event: "clear", stream_sid, media: None, mark: None }
    }
}

/// What the model says.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FromModel<'a> {
    pub(crate) setup_complete: Option<serde::de::IgnoredAny>,
    #[serde(borrow)]
    pub(crate) server_content: Option<Content<'a>>,
}

/// Its answer, or a part of it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Content<'a> {
    #[serde(borrow)]
    pub(crate) model_turn: Option<Turn<'a>>,
    #[serde(default)]
    pub(crate) interrupted: bool,
    #[serde(default)]
    pub(crate) turn_complete: bool,
}

/// Parts of an answer.
#[derive(Deserialize)]
pub(crate) struct Turn<'a> {
    #[serde(borrow, default)]
    pub(crate) parts: Vec<Part<'a>>,
}

/// One of them; text has no `inline_data`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Part<'a> {
    #[serde(borrow)]
    pub(crate) inline_data: Option<Blob<'a>>,
}

/// Base64 of PCM.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Blob<'a> {
    #[serde(borrow)]
    pub(crate) mime_type: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) data: Cow<'a, str>,
}

/// Caller audio for the model.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Realtime<'a> {
    realtime_input: Input<'a>,
}

#[derive(Serialize)]
struct Input<'a> {
    audio: Blob<'a>,
}

impl<'a> Realtime<'a> {
    /// PCM at 16 kHz.
    pub(crate) fn audio(data: &'a str) -> Realtime<'a> {
        let audio = Blob { mime_type: "audio/pcm;rate=16000".into(), data: data.into() };
        Realtime { realtime_input: Input { audio } }
    }
}
