//! What crosses a call's border besides bytes and time: who it is, how it opens, what it wishes
//! for, how it ends.
//!
//! Not here: how any of it is done; numbers of frames (`call::tally`).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::facts::{Again, Facts};
use super::session::{Cause, Kind};
use crate::config::{Agent, Carrier, Secret, Tool};
use crate::limits::TOOL_RESULT_BYTES_MAX;
use crate::wire::browser::Who;
use crate::wire::gemini::{CloseClass, tool_error};

/// A call's name in the log, unlike any other of this process and of the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallId(pub u64);

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The two classes of client, apart in log and figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A carrier's media stream.
    Twilio,
    /// A browser, or whoever speaks its protocol.
    Web,
}

impl Class {
    /// Every class, in the order of their counters.
    pub const ALL: [Class; 2] = [Class::Twilio, Class::Web];

    /// The log target and the label of figures.
    pub const fn label(self) -> &'static str {
        match self {
            Class::Twilio => "twilio",
            Class::Web => "web",
        }
    }
}

/// What the upgrade request told about who is calling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Path, query or headers are Twilio's.
    Twilio,
    /// The path is that of another carrier's streams.
    Carrier(Carrier),
    /// The path is the browsers' own.
    Web,
    /// The path is that of copies of both tracks of a call.
    Fork,
    /// Nothing was told: the first message decides.
    Unknown,
}

/// What a call says of itself when it asks to be let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// From a carrier's `start`.
    Twilio {
        /// Whose stream it is.
        carrier: Carrier,
        /// The carrier's name of the call.
        call_sid: String,
        /// The carrier's name of this stream.
        stream_sid: String,
        /// The per-call token of our TwiML.
        token: Option<String>,
        /// Who calls; any text, not always a number.
        from: Option<String>,
        /// Who is called.
        to: Option<String>,
        /// What our answer said of what the journal may know of the call.
        again: Again,
        /// The other parameters of the stream.
        custom: Vec<(String, String)>,
    },
    /// From the `start` of a copy of both tracks of a call.
    Fork {
        /// The carrier's name of the call.
        call_sid: String,
        /// The token of our TwiML, for this copy.
        token: Option<String>,
    },
    /// From a browser's `hello`, or its absence.
    Web {
        /// What the page was given to be let in.
        token: Option<String>,
        /// Rate of the audio it sends, in Hz.
        rate_hz: u32,
        /// The agent it asks for by name.
        agent: Option<String>,
        /// The token of the conversation it goes on with.
        resume: Option<String>,
    },
}

impl Opening {
    /// What the model may know of it.
    pub fn facts(&self) -> Facts {
        match self {
            Opening::Twilio { from, to, custom, .. } => {
                let custom = custom.iter().map(|(name, text)| (name.as_str(), text.as_str()));
                Facts::new(from.as_deref(), to.as_deref(), custom)
            }
            Opening::Fork { .. } | Opening::Web { .. } => Facts::default(),
        }
    }
}

/// Why a call is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No token where one is required: of a call, or of a web client.
    NoToken,
    /// A token that is not ours, of another call, or changed; of a web client, none of those set.
    BadToken,
    /// A token past its expiry.
    ExpiredToken,
    /// A token seen before.
    UsedToken,
    /// No more calls are taken at present.
    Full,
    /// The relay is about to stop.
    Draining,
    /// A quota of the model's was used up a moment ago.
    Quota,
    /// No agent of the name that the web client asks for, or none for web clients.
    NoAgent,
    /// A web client from an address that is on no allow list.
    NotAllowed,
    /// The caller's number has as many calls as it may.
    NumberFull,
    /// The web client's address has as many calls as it may.
    AddressFull,
    /// Every media thread is too late for another call.
    Late,
    /// Too few files may still be opened for another call.
    Descriptors,
}

impl Refusal {
    /// Every refusal, in the order of their counters.
    pub const ALL: [Refusal; 13] = [
        Refusal::NoToken,
        Refusal::BadToken,
        Refusal::ExpiredToken,
        Refusal::UsedToken,
        Refusal::Full,
        Refusal::Draining,
        Refusal::Quota,
        Refusal::NoAgent,
        Refusal::NotAllowed,
        Refusal::NumberFull,
        Refusal::AddressFull,
        Refusal::Late,
        Refusal::Descriptors,
    ];

    /// The reason in figures, in the log and in the close frame.
    pub const fn label(self) -> &'static str {
        match self {
            Refusal::NoToken => "no_token",
            Refusal::BadToken => "bad_token",
            Refusal::ExpiredToken => "expired_token",
            Refusal::UsedToken => "used_token",
            Refusal::Full => "full",
            Refusal::Draining => "draining",
            Refusal::Quota => "quota",
            Refusal::NoAgent => "no_agent",
            Refusal::NotAllowed => "not_allowed",
            Refusal::NumberFull => "number_full",
            Refusal::AddressFull => "address_full",
            Refusal::Late => "late",
            Refusal::Descriptors => "descriptors",
        }
    }

    /// The close code: 1008 policy, 1013 try again later.
    pub const fn close_code(self) -> u16 {
        match self {
            Refusal::Full
            | Refusal::Draining
            | Refusal::Quota
            | Refusal::NumberFull
            | Refusal::AddressFull
            | Refusal::Late
            | Refusal::Descriptors => 1013,
            _ => 1008,
        }
    }
}

/// What a call needs to know of the model it is joined to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineTerms {
    /// Rate of the caller's audio on its way up, in Hz: 16,000, or 8,000.
    pub uplink_rate_hz: u32,
    /// Audio in one message to the model, in milliseconds: a multiple of a frame's 20.
    pub uplink_ms: usize,
    /// Whether the session can be taken up again: then updates come all the time, and are signs of
    /// life.
    pub resumable: bool,
    /// Whether the service tells how many of our messages it has consumed: those it has not are
    /// sent again when the session is taken up.
    pub transparent: bool,
    /// The message that makes the model speak first, as JSON; sent once in a call's life.
    pub greeting: Option<String>,
    /// The message that tells a fresh session what was said before, as JSON; `None` where there
    /// is nothing to tell, or its `setup` has told it.
    pub seed: Option<String>,
    /// The message that asks a model for its answer that does not give it, as JSON.
    pub nudge: String,
    /// The message that asks a model to go on that broke off, as JSON.
    pub go_on: String,
    /// Who answers: its tools, its transfers, its keys, its timers. `None`: an agent
    /// without any.
    pub agent: Option<Arc<Agent>>,
}

/// How a session goes on, on another connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revival {
    /// The same one.
    Resume {
        /// Its newest handle.
        handle: Secret,
    },
    /// A new one.
    Fresh {
        /// What was said so far; may be empty.
        summary: String,
    },
}

/// Why there is no line to the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineFault {
    /// The name has no address.
    Resolve,
    /// TCP was refused, or TCP, TLS or the upgrade took too long.
    Connect,
    /// TLS failed: not the right server, or no common ground.
    Tls,
    /// The answer to the upgrade was no 101.
    Refused {
        /// The HTTP status that came instead.
        status: u16,
    },
    /// What came is no HTTP, no WebSocket, or no message of the model.
    Broke,
    /// The model closed the session before it was ready.
    Closed {
        /// Its close code; `None` where the connection ended without one.
        code: Option<u16>,
        /// What it meant, by code and text.
        class: CloseClass,
    },
    /// No `setupComplete` in time.
    Timeout,
    /// Too many calls are waiting for a line.
    Full,
    /// The model closed the session because a quota is used up.
    Quota,
    /// The process may open no more sockets.
    NoDescriptor,
    /// There is no access token to prove who we are by.
    NoToken,
}

impl LineFault {
    /// The model closed before it was ready: by code and text.
    pub fn closed(code: Option<u16>, reason: &str) -> LineFault {
        match CloseClass::of(code, reason) {
            CloseClass::Quota => LineFault::Quota,
            class => LineFault::Closed { code, class },
        }
    }

    /// How many labels there are.
    pub const COUNT: usize = 11;

    /// Its place among the counters.
    pub const fn index(self) -> usize {
        match self {
            LineFault::Resolve => 0,
            LineFault::Connect => 1,
            LineFault::Tls => 2,
            LineFault::Refused { .. } => 3,
            LineFault::Broke => 4,
            LineFault::Closed { .. } => 5,
            LineFault::Timeout => 6,
            LineFault::Full => 7,
            LineFault::Quota => 8,
            LineFault::NoDescriptor => 9,
            LineFault::NoToken => 10,
        }
    }

    /// The labels, by [`LineFault::index`].
    pub const LABELS: [&'static str; LineFault::COUNT] = [
        "resolve",
        "connect",
        "tls",
        "refused",
        "broke",
        "closed",
        "timeout",
        "full",
        "quota",
        "no_descriptor",
        "no_access_token",
    ];

    /// Whether another attempt may help: a wrong key, model or field stays wrong.
    pub const fn may_pass(self) -> bool {
        match self {
            LineFault::NoDescriptor
            | LineFault::NoToken
            | LineFault::Resolve
            | LineFault::Connect
            | LineFault::Timeout
            | LineFault::Full => true,
            LineFault::Refused { status } => status == 429 || status >= 500,
            LineFault::Closed { class, .. } => class.may_pass(),
            LineFault::Tls | LineFault::Broke | LineFault::Quota => false,
        }
    }
}

impl fmt::Display for LineFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LineFault::Refused { status } => write!(f, "refused with HTTP {status}"),
            LineFault::Closed { code: Some(code), .. } => write!(f, "closed with {code}"),
            _ => f.write_str(LineFault::LABELS[self.index()]),
        }
    }
}

/// Why a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The carrier's `stop`, or the browser's `bye`.
    CallerHungUp,
    /// The phone's side closed the WebSocket without either.
    PhoneClosed {
        /// Its close code, if it gave one.
        code: Option<u16>,
    },
    /// The phone's connection broke.
    PhoneLost,
    /// Nothing came from the phone for [`crate::limits::PHONE_DEAD`].
    PhoneSilent,
    /// The carrier's socket lives and its stream does not: no audio, mark or key for
    /// `timers.media_timeout`, though it was asked.
    MediaTimeout,
    /// The phone took nothing until [`crate::limits::PHONE_OUTPUT_MAX_BYTES`] were waiting.
    PhoneStalled,
    /// The phone's side sent what is no WebSocket, or nothing we can understand.
    PhoneBroke {
        /// The close code it got.
        code: u16,
    },
    /// The phone's side announced an audio format we do not speak.
    UnknownCodec,
    /// No `start`, or no first message, within [`crate::limits::START_TIMEOUT`].
    NoStart,
    /// Not let in.
    Refused(Refusal),
    /// The model could not be had.
    NoModel(LineFault),
    /// The model ended the session.
    ModelClosed {
        /// Its close code, if it gave one.
        code: Option<u16>,
    },
    /// The model's connection broke.
    ModelLost,
    /// The model did not answer, or nothing at all came from it.
    ModelSilent,
    /// The model's side sent what is no WebSocket, or nothing we can understand.
    ModelBroke {
        /// The close code it got.
        code: u16,
    },
    /// The call was as long as calls may be.
    TooLong,
    /// The relay stopped, and the call outlived the time to drain.
    Drained,
    /// An assertion of ours failed.
    Internal,
    /// A newer stream of the same call took its place.
    Replaced,
    /// The other end never let the model finish: it is a machine.
    Machine,
    /// The agent said goodbye and hung up.
    AgentHungUp,
    /// The caller is put through to somebody else.
    Transferred,
}

/// What the caller gets once the stream is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// The call is over.
    Hangup,
    /// The fallback sentence first.
    Fallback,
}

impl Ending {
    /// How many labels there are.
    pub const COUNT: usize = 22;

    /// The labels, by [`Ending::index`].
    pub const LABELS: [&'static str; Ending::COUNT] = [
        "caller_hung_up",
        "phone_closed",
        "phone_lost",
        "phone_silent",
        "phone_stalled",
        "phone_broke",
        "no_start",
        "refused",
        "no_model",
        "model_closed",
        "model_lost",
        "model_silent",
        "model_broke",
        "too_long",
        "drained",
        "internal",
        "replaced",
        "machine",
        "agent_hung_up",
        "transferred",
        "unknown_codec",
        "media_timeout",
    ];

    /// Its place among the counters.
    pub const fn index(self) -> usize {
        match self {
            Ending::CallerHungUp => 0,
            Ending::PhoneClosed { .. } => 1,
            Ending::PhoneLost => 2,
            Ending::PhoneSilent => 3,
            Ending::PhoneStalled => 4,
            Ending::PhoneBroke { .. } => 5,
            Ending::NoStart => 6,
            Ending::Refused(_) => 7,
            Ending::NoModel(_) => 8,
            Ending::ModelClosed { .. } => 9,
            Ending::ModelLost => 10,
            Ending::ModelSilent => 11,
            Ending::ModelBroke { .. } => 12,
            Ending::TooLong => 13,
            Ending::Drained => 14,
            Ending::Internal => 15,
            Ending::Replaced => 16,
            Ending::Machine => 17,
            Ending::AgentHungUp => 18,
            Ending::Transferred => 19,
            Ending::UnknownCodec => 20,
            Ending::MediaTimeout => 21,
        }
    }

    /// The reason in figures and in the log.
    pub const fn label(self) -> &'static str {
        Ending::LABELS[self.index()]
    }

    /// The close code the phone's side gets. A carrier hears 1000 wherever the stream itself was
    /// in order: any other code is an error in its own books.
    pub const fn phone_close_code(self) -> u16 {
        match self {
            Ending::NoStart => 1008,
            Ending::PhoneBroke { code } => code,
            Ending::UnknownCodec => 1003,
            Ending::Refused(refusal) => refusal.close_code(),
            Ending::Internal => 1011,
            _ => 1000,
        }
    }

    /// The close code a browser gets: one that goes by codes alone learns whether to come back.
    pub const fn web_close_code(self) -> u16 {
        match self {
            Ending::NoModel(_) => 1013,
            Ending::ModelClosed { .. }
            | Ending::ModelLost
            | Ending::ModelSilent
            | Ending::ModelBroke { .. } => 1011,
            Ending::Drained => 1012,
            other => other.phone_close_code(),
        }
    }

    /// What the caller gets once the stream is closed. The caller is told when it was our side
    /// that failed, and hung up on when the conversation was over.
    pub const fn afterwards(self) -> Afterwards {
        match self {
            Ending::NoModel(_)
            | Ending::ModelClosed { .. }
            | Ending::ModelLost
            | Ending::ModelSilent
            | Ending::ModelBroke { .. }
            | Ending::PhoneStalled
            | Ending::PhoneBroke { .. }
            | Ending::UnknownCodec
            | Ending::Refused(_)
            | Ending::Drained
            | Ending::Internal => Afterwards::Fallback,
            _ => Afterwards::Hangup,
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::PhoneClosed { code: Some(code) }
            | Ending::ModelClosed { code: Some(code) }
            | Ending::PhoneBroke { code }
            | Ending::ModelBroke { code } => write!(f, "{} ({code})", self.label()),
            Ending::Refused(refusal) => write!(f, "refused ({})", refusal.label()),
            Ending::NoModel(fault) => write!(f, "no_model ({fault})"),
            _ => f.write_str(self.label()),
        }
    }
}

/// What a call wants done outside itself.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// To be let in, and then a line to the model.
    Admit(Opening),
    /// Another line to the model, because the one it had cannot go on. The old connection is gone,
    /// or is to be dropped.
    Redial(Revival),
    /// A connection made ahead: the model has announced the end of the one there is.
    Spare,
    /// To have its audio recorded: somebody takes its tape.
    Record,
    /// To have its state journalled: somebody takes the entry.
    Journal,
    /// To have a tool run, off the media path: [`super::Call::handle_tool_reply`] brings what came
    /// of it.
    RunTool(Box<ToolOrder>),
    /// The model has taken back the call of the tool with this ticket: it need not be begun.
    CancelTool {
        /// Of its order.
        ticket: u32,
    },
    /// To have this said of it in the log.
    Report(Report),
    /// To be told apart from a call that is still going: it has ended, and this is why. The close
    /// frames are written already; the sockets may go when they have left.
    Ended(Ending),
}

/// A tool to be run for a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolOrder {
    /// Its number within the call: comes back with the reply.
    pub ticket: u32,
    /// Which tool.
    pub tool: Arc<Tool>,
    /// A JSON object as the model wrote it, at most [`crate::limits::TOOL_ARGUMENTS_BYTES_MAX`].
    pub arguments: String,
    /// The same for every attempt at the same thing, and for nothing else: whoever has done it for
    /// this key once need not do it again.
    pub key: String,
    /// The name of the conversation: the same on every stream of a caller who comes back.
    pub conversation: CallId,
    /// Who calls; any text, not always a number.
    pub from: Option<String>,
    /// Who is called.
    pub to: Option<String>,
}

/// What came of a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolReply {
    /// How it went.
    pub outcome: ToolOutcome,
    /// What the model is told, as a JSON object with `output` or `error`; ASCII, at most
    /// [`crate::limits::TOOL_RESULT_BYTES_MAX`].
    pub json: String,
}

impl ToolReply {
    /// A tool that did not do it; `message`: what the model can tell the caller.
    pub fn failed(outcome: ToolOutcome, message: &str) -> ToolReply {
        ToolReply { outcome, json: tool_error(message, None, TOOL_RESULT_BYTES_MAX) }
    }
}

/// What the model can tell the caller when too many tools are at work.
pub const TOOLS_BUSY: &str =
    "Too much is being done at the moment. Apologise to the caller and try again a little later.";

/// How a tool went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolOutcome {
    /// It did what it was asked for.
    Done,
    /// It understood, and would or could not: no such slot, no such booking.
    Refused,
    /// There is no such tool, or not for this agent.
    Unknown,
    /// The arguments are not what it takes.
    BadArguments,
    /// Too many tools are at work.
    Busy,
    /// Nobody answers at its address, or the address may not be asked.
    Unreachable,
    /// It did not answer in time. Whether it did what it was asked for is not known.
    TimedOut,
    /// It failed, or its answer is none. Whether it did what it was asked for is not known.
    Failed,
    /// The model took the call back before it was begun.
    Cancelled,
}

impl ToolOutcome {
    /// How many labels there are.
    pub const COUNT: usize = 9;

    /// The labels, in their order.
    pub const LABELS: [&'static str; ToolOutcome::COUNT] = [
        "done",
        "refused",
        "unknown",
        "bad_arguments",
        "busy",
        "unreachable",
        "timed_out",
        "failed",
        "cancelled",
    ];

    /// The word for it in figures and in the log.
    pub const fn label(self) -> &'static str {
        ToolOutcome::LABELS[self as usize]
    }
}

/// One event of a call's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// Its class is known, and how it opened.
    Opened {
        /// Carrier's or browser's.
        class: Class,
        /// Which carrier's.
        carrier: Option<Carrier>,
        /// The carrier's name of the call, where there is one.
        call_sid: Option<String>,
        /// Who calls.
        from: Option<String>,
        /// Who is called.
        to: Option<String>,
        /// The audio's rate, in Hz.
        rate_hz: u32,
    },
    /// The model is ready.
    Joined {
        /// Since the call opened.
        after: Duration,
    },
    /// The caller spoke over the model.
    BargeIn {
        /// Model audio that was dropped here, in milliseconds.
        dropped_ms: u64,
    },
    /// The model says that it will close the connection.
    GoAway {
        /// When, from now.
        time_left: Duration,
    },
    /// The model's connection is given up, and another is asked for.
    LineGivenUp {
        /// Why.
        cause: Cause,
    },
    /// The model owed an answer, and was asked for it.
    Nudged,
    /// The model is back on another connection.
    Swapped {
        /// The same session, or a new one.
        kind: Kind,
        /// Why there had to be one.
        cause: Cause,
        /// Since the old connection was given up.
        took: Duration,
    },
    /// One turn of one side is final. Never in the log.
    Said {
        /// Whose.
        who: Who,
        /// Its words; of an answer that was cut short, those that were heard.
        text: String,
        /// Whether it was cut short.
        cut: bool,
        /// When it began, since the call opened.
        at: Duration,
    },
    /// The first audio of an answer has left.
    Answered {
        /// Since the caller's last words ended.
        after: Duration,
    },
    /// A key tone.
    Dtmf,
    /// The model has called a tool. Never in the log.
    ToolCalled {
        /// Its name.
        name: String,
        /// What it was called with, as JSON.
        arguments: String,
    },
    /// A tool the model called has been answered.
    Tool {
        /// Its name; of a tool nobody declared, `unknown`.
        name: String,
        /// How it went.
        outcome: ToolOutcome,
        /// Since the model called it.
        took: Duration,
    },
    /// It is over.
    Ended {
        /// Why.
        ending: Ending,
        /// Since it opened.
        lasted: Duration,
        /// Caller audio that reached the model, in milliseconds.
        uplink_ms: u64,
        /// Model audio that left for the caller, in milliseconds.
        downlink_ms: u64,
        /// How often the caller spoke over the model.
        barge_ins: u64,
    },
}

impl Report {
    /// Whether it is kept out of the log: what was said, and what is a figure only.
    pub const fn is_unsaid(&self) -> bool {
        matches!(self, Report::Said { .. } | Report::Answered { .. } | Report::ToolCalled { .. })
    }
}

/// A number this short shows no digit when numbers are redacted: two would be most of it.
const SHORT_NUMBER_DIGITS: usize = 6;

/// What may be shown of a party where numbers are redacted: the last two digits of a number;
/// nothing of what is short or does not end in digits, such as a name.
pub fn shown_digits(party: &str) -> &str {
    let digits = party.bytes().filter(u8::is_ascii_digit).count();
    match party.len().checked_sub(2).and_then(|at| party.get(at..)) {
        Some(last) if digits > SHORT_NUMBER_DIGITS && last.bytes().all(|b| b.is_ascii_digit()) => {
            last
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_key_is_not_tried_again_but_an_overload_is() {
        assert!(!LineFault::closed(Some(1007), "API key expired.").may_pass());
        assert!(!LineFault::closed(Some(1008), "").may_pass());
        assert!(LineFault::closed(Some(1008), "The operation was aborted.").may_pass());
        assert!(!LineFault::closed(Some(1011), "You exceeded your current quota").may_pass());
        assert!(!LineFault::Refused { status: 403 }.may_pass());
        assert!(LineFault::Refused { status: 429 }.may_pass());
        assert!(LineFault::closed(Some(1011), "").may_pass());
    }

    #[test]
    fn a_caller_whose_model_failed_hears_the_fallback() {
        assert_eq!(Ending::ModelLost.afterwards(), Afterwards::Fallback);
        assert_eq!(Ending::NoModel(LineFault::Timeout).afterwards(), Afterwards::Fallback);
        assert_eq!(Ending::CallerHungUp.afterwards(), Afterwards::Hangup);
        assert_eq!(Ending::TooLong.afterwards(), Afterwards::Hangup);
    }
}
