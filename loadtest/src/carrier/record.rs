//! A call to be made, and what became of it.
//!
//! In:       nothing; the harness writes the one, the caller the other.
//! Out:      [`CallSpec`] and [`CallRecord`].
//! Bounds:   those of the caller.
//! Not here: making the call (`carrier::caller`), judging it (`verify`, `judge`).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

use super::Carrier;
use super::endurance::Endurance;
use super::ids::Ids;
use super::markup::{Answer, MarkupError};
use super::mix::Line;
use super::phone::{Heard, SentFrame};
use super::playout::PlayoutCounts;
use super::target::Target;
use crate::clock::Nanos;
use crate::format::Format;
use crate::net::http::HttpError;
use crate::net::link::Closing;
use crate::schedule::MediaPlan;
use crate::signal::CallerVoice;

/// How a caller leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hangup {
    /// The carrier's last message where it has one, then the closing handshake; in a file `"stop"`.
    #[default]
    #[serde(rename = "stop")]
    StopAndClose,
    /// The closing handshake alone; in a file `"close"`.
    #[serde(rename = "close")]
    CloseOnly,
    /// The connection is reset.
    Reset,
    /// Nothing more is sent, and nothing is closed.
    Silence,
    /// The same, but for the pongs that a socket gives by itself.
    PongsOnly,
}

/// One call to be made.
pub struct CallSpec {
    /// Its number within the run.
    pub index: usize,
    /// Who brings it, and in which format where the relay leaves that open.
    pub line: Line,
    /// Its identifiers.
    pub ids: Ids,
    /// The caller's number.
    pub from: String,
    /// The number called.
    pub to: String,
    /// Where it goes.
    pub target: Arc<Target>,
    /// When it begins.
    pub starts_at: Nanos,
    /// What is said.
    pub media: Arc<MediaPlan>,
    /// The voice that says it.
    pub voice: CallerVoice,
    /// From the last frame to the hang-up.
    pub linger: Nanos,
    /// How it ends.
    pub hangup: Hangup,
    /// What befalls its streams, and what its carrier does then.
    pub endurance: Endurance,
    /// It is read as audio arrives, from its beginning to its end: see [`crate::probes`].
    pub probe: bool,
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The webhook was not answered.
    Webhook(HttpError),
    /// The webhook was answered with another status than 200.
    WebhookStatus(u16),
    /// The webhook's body is not markup that the carrier runs.
    Markup(MarkupError),
    /// The markup has no stream; these are its verbs.
    NoStream(Vec<String>),
    /// The stream's host has no address.
    Unresolved(String),
    /// The upgrade was not answered.
    Handshake(HttpError),
    /// The upgrade was answered with another status than 101 (at Twilio, error 31920).
    Refused(u16),
    /// A 101 that is not one: wrong accept key, extensions nobody asked for, or another
    /// subprotocol than the one asked for.
    BadUpgrade,
    /// A deadline passed.
    Late(&'static str),
    /// The run was stopped.
    Stopped,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The caller left as planned.
    HungUp,
    /// The relay ended the stream first.
    ClosedByRelay(Closing),
    /// The call failed.
    Failed(Failure),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Webhook(error) => write!(f, "webhook: {error}"),
            Failure::WebhookStatus(status) => write!(f, "webhook: answered with status {status}"),
            Failure::Markup(error) => write!(f, "webhook: its answer is none ({error:?})"),
            Failure::NoStream(verbs) => {
                write!(f, "webhook: its answer has no stream, but {}", verbs.join(", "))
            }
            Failure::Unresolved(host) => write!(f, "{host}: no address found"),
            Failure::Handshake(error) => write!(f, "upgrade: {error}"),
            Failure::Refused(status) => write!(f, "upgrade: refused with status {status}"),
            Failure::BadUpgrade => write!(f, "upgrade: accepted in words that mean something else"),
            Failure::Late(what) => write!(f, "{what}: too late"),
            Failure::Stopped => write!(f, "cut off by the end of the run"),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::HungUp => write!(f, "hung up as planned"),
            Outcome::ClosedByRelay(closing) => write!(f, "ended by the relay: {closing}"),
            Outcome::Failed(failure) => failure.fmt(f),
        }
    }
}

/// The request after the stream, and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct After {
    /// The status; 0 if there was no answer.
    pub status: u16,
    /// What follows the stream.
    pub answer: Result<Answer, MarkupError>,
}

/// When the stations of a call were reached.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallTimes {
    /// The call began.
    pub started: Nanos,
    /// The document that named the stream was first asked for.
    pub asked: Option<Nanos>,
    /// The markup was read.
    pub answered: Option<Nanos>,
    /// The upgrade was done.
    pub opened: Option<Nanos>,
    /// The stream ended.
    pub closed: Option<Nanos>,
}

/// The formats of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Formats {
    /// Caller to relay.
    pub up: Format,
    /// Relay to caller.
    pub down: Format,
}

impl Formats {
    /// The same both ways.
    pub fn both(format: Format) -> Formats {
        Formats { up: format, down: format }
    }
}

/// A stream of a call that died, and was followed by another.
#[derive(Clone, Debug)]
pub struct LostStream {
    /// Its audio.
    pub formats: Formats,
    /// When.
    pub times: CallTimes,
    /// How it ended.
    pub closing: Closing,
    /// The first frame of the plan that fell to it.
    pub first_frame: usize,
    /// Every frame sent on it, in order.
    pub sent: Vec<SentFrame>,
    /// See [`CallRecord::said`].
    pub said: Option<Vec<u8>>,
    /// Everything heard on it.
    pub heard: Heard,
    /// What its playout clock counted.
    pub playout: PlayoutCounts,
}

/// What happened to a call. What is said of a stream is said of its last one.
#[derive(Clone, Debug)]
pub struct CallRecord {
    /// Its number within the run.
    pub index: usize,
    /// Who brought it.
    pub carrier: Carrier,
    /// It was read as audio arrived; else the times of arrival are those of reading late.
    pub probe: bool,
    /// The audio on its stream.
    pub formats: Formats,
    /// How it ended.
    pub outcome: Outcome,
    /// The caller fell silent, and left it to the relay to end the call.
    pub fell_silent: bool,
    /// How the relay closed, where it did.
    pub closing: Option<Closing>,
    /// The answer of the webhook.
    pub answer: Option<Answer>,
    /// The last answer to what follows a stream, where the relay closed first and named an
    /// `action`.
    pub after: Option<After>,
    /// Why that question had no answer, if it had none.
    pub unanswered: Option<Failure>,
    /// The streams before the last, each of which died and was followed by the next, in order.
    pub lost: Vec<LostStream>,
    /// When.
    pub times: CallTimes,
    /// The first frame of the plan that fell to this stream.
    pub first_frame: usize,
    /// Every frame sent, in order.
    pub sent: Vec<SentFrame>,
    /// On a line with an echo, the payload of every frame from the first one on, in order: what was
    /// said there depends on what was heard. `None` on any other line: the plan and the voice tell.
    pub said: Option<Vec<u8>>,
    /// Everything heard.
    pub heard: Heard,
    /// What the playout clock counted.
    pub playout: PlayoutCounts,
}

impl CallRecord {
    /// A call of Twilio in which nothing was said, hung up as planned.
    pub fn empty(index: usize) -> CallRecord {
        CallRecord {
            index,
            carrier: Carrier::Twilio,
            probe: true,
            formats: Formats::default(),
            outcome: Outcome::HungUp,
            fell_silent: false,
            closing: None,
            answer: None,
            after: None,
            unanswered: None,
            lost: Vec::new(),
            times: CallTimes::default(),
            first_frame: 0,
            sent: Vec::new(),
            said: None,
            heard: Heard::default(),
            playout: PlayoutCounts::default(),
        }
    }
    /// The streams it had, those that died before it among them.
    pub fn streams(&self) -> usize {
        self.lost.len() + 1
    }

    /// Stream `nth`, from 0 on, as if it had been a call of its own: one that died was closed by
    /// the relay. The record itself where there was no other.
    ///
    /// # Panics
    /// Where there is no such stream.
    pub fn stream(&self, nth: usize) -> Cow<'_, CallRecord> {
        match self.lost.get(nth) {
            None if self.lost.is_empty() => Cow::Borrowed(self),
            None => {
                assert_eq!(nth, self.lost.len(), "a stream that the call had");
                Cow::Owned(CallRecord { lost: Vec::new(), ..self.clone() })
            }
            Some(stream) => {
                let stream = stream.clone();
                Cow::Owned(CallRecord {
                    carrier: self.carrier,
                    probe: self.probe,
                    formats: stream.formats,
                    outcome: Outcome::ClosedByRelay(stream.closing.clone()),
                    closing: Some(stream.closing),
                    times: stream.times,
                    first_frame: stream.first_frame,
                    sent: stream.sent,
                    said: stream.said,
                    heard: stream.heard,
                    playout: stream.playout,
                    ..CallRecord::empty(self.index)
                })
            }
        }
    }

    /// The times of its first stream.
    pub fn first_times(&self) -> CallTimes {
        self.lost.first().map_or(self.times, |stream| stream.times)
    }
}
