//! What became of every audio sample of a call.
//!
//! The law, at any moment and in both directions:
//! `samples_in + silence_in = samples_out + dropped + queued`.
//! Samples count at the rate they came in with: uplink that of the phone, downlink the model's.
//! Silence put in for holes, and to fill up the last frame of a turn, is `silence_in`.

use super::session::{Cause, Kind};
use crate::wire::gemini::CloseClass;

use super::tap::TapCount;
use crate::buf::Audio;

/// Why samples that were accepted did not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// The ring was full.
    Overrun,
    /// The caller spoke over it.
    BargeIn,
    /// It belonged to a turn that had been cancelled.
    Late,
    /// The call ended first.
    Ended,
    /// It waited for a model that had closed with 1007, perhaps because of it.
    Suspect,
    /// It was in a message whose connection ended, or took nothing more, first.
    Unsent,
    /// The phone's own track of what it plays, which nobody asked for.
    OtherTrack,
    /// The end of a turn, too short for one more sample at the phone's rate.
    Tail,
    /// The caller said it before the greeting, and not over it.
    Withheld,
    /// It was a tone, or noise, and no speech.
    Tone,
}

impl Dropped {
    /// How many reasons there are.
    pub const COUNT: usize = 10;

    /// The labels, in the order of the counters.
    pub const LABELS: [&'static str; Dropped::COUNT] = [
        "overrun",
        "barge_in",
        "late",
        "ended",
        "suspect",
        "unsent",
        "other_track",
        "tail",
        "withheld",
        "tone",
    ];
}

/// One direction's account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Audio messages that came in.
    pub messages_in: u64,
    /// Bytes of audio in them, decoded.
    pub bytes_in: u64,
    /// Samples in them.
    pub samples_in: u64,
    /// Samples of silence put in for holes and last frames.
    pub silence_in: u64,
    /// Audio messages that went out.
    pub messages_out: u64,
    /// Bytes of audio in them, before base64.
    pub bytes_out: u64,
    /// Samples that went out, counted as they came in. In the account a call gives of itself, only
    /// those whose message has left its send buffer; what has not is `queued`.
    pub samples_out: u64,
    /// Samples dropped, by [`Dropped`].
    pub dropped: [u64; Dropped::COUNT],
    /// Samples that wait.
    pub queued: u64,
}

impl Flow {
    /// Takes audio back that was to go out and did not: it waits, or is dropped.
    pub fn take_back(&mut self, audio: Audio) {
        self.messages_out -= audio.messages;
        self.bytes_out -= audio.bytes;
        self.samples_out -= audio.samples;
    }

    /// Counts `samples` as dropped.
    pub fn drop_samples(&mut self, why: Dropped, samples: u64) {
        self.dropped[why as usize] += samples;
    }

    /// Samples dropped for any reason.
    pub fn dropped_samples(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// Whether every sample that came in is accounted for.
    pub fn balances(&self) -> bool {
        self.samples_in + self.silence_in == self.samples_out + self.dropped_samples() + self.queued
    }

    /// Adds another account to this one.
    pub fn add(&mut self, other: &Flow) {
        self.messages_in += other.messages_in;
        self.bytes_in += other.bytes_in;
        self.samples_in += other.samples_in;
        self.silence_in += other.silence_in;
        self.messages_out += other.messages_out;
        self.bytes_out += other.bytes_out;
        self.samples_out += other.samples_out;
        for (sum, part) in self.dropped.iter_mut().zip(other.dropped) {
            *sum += part;
        }
        self.queued += other.queued;
    }
}

/// What a peer sent that was refused or passed over, message by message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// Phone: no JSON, or not of the carrier's shape.
    PhoneMessage,
    /// Phone: base64 that is none.
    PhoneBase64,
    /// Phone: an event or message type we do not know.
    PhoneUnknown,
    /// Phone: anything but `connected` before `start`, a second `start`, words before the model.
    PhoneOrder,
    /// Phone: what is no WebSocket; the call ended.
    PhoneFraming,
    /// Phone: binary where text is due, or the reverse.
    PhoneOpcode,
    /// Phone: a hole in the timestamps, filled with silence.
    PhoneHole,
    /// Phone: a timestamp that went backwards.
    PhoneBackwards,
    /// Phone: a mark we did not send.
    PhoneMark,
    /// Phone: half a sample at the end of a message.
    PhoneOdd,
    /// Model: no JSON, or not of the model's shape.
    AgentMessage,
    /// Model: base64 that is none.
    AgentBase64,
    /// Model: audio at a rate we do not know.
    AgentRate,
    /// Model: half a sample at the end of a turn.
    AgentOdd,
    /// Model: what is no WebSocket; the session ended.
    AgentFraming,
    /// Model: a tool call though no tool was declared.
    AgentTool,
    /// Model: a message for it that could not wait until it was back.
    AgentAway,
}

impl Oddity {
    /// How many kinds there are.
    pub const COUNT: usize = 17;

    /// The labels, in the order of the counters.
    pub const LABELS: [&'static str; Oddity::COUNT] = [
        "phone_message",
        "phone_base64",
        "phone_unknown",
        "phone_order",
        "phone_framing",
        "phone_opcode",
        "phone_hole",
        "phone_backwards",
        "phone_mark",
        "phone_odd",
        "agent_message",
        "agent_base64",
        "agent_rate",
        "agent_odd",
        "agent_framing",
        "agent_tool",
        "agent_away",
    ];
}

/// The whole account of a call, or of many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Caller to model.
    pub uplink: Flow,
    /// Model to caller.
    pub downlink: Flow,
    /// How often the caller spoke over the model.
    pub barge_ins: u64,
    /// Messages refused or passed over, by [`Oddity`].
    pub oddities: [u64; Oddity::COUNT],
    /// Messages whose latency was not measured.
    pub unmeasured: u64,
    /// Events that were not told, for too many waited to be.
    pub unsaid: u64,
    /// What became of the model's connections.
    pub lines: Lines,
    /// What was to be recorded.
    pub taps: TapCount,
}

/// Why a model is asked to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nudge {
    /// It owed the caller an answer.
    Reply,
    /// It had not greeted.
    Greeting,
    /// Its answer was cut off by the end of a connection.
    CutOff,
    /// It broke off in the middle of a sentence.
    GoOn,
}

impl Nudge {
    /// How many reasons there are.
    pub const COUNT: usize = 4;

    /// The labels, in the order of the counters.
    pub const LABELS: [&'static str; Nudge::COUNT] = ["reply", "greeting", "cut_off", "go_on"];
}

/// The account of the model's connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// Connections given up, by [`Cause::index`].
    pub given_up: [u64; Cause::COUNT],
    /// Connections replaced, by [`Kind`] and [`Cause::index`].
    pub swaps: [[u64; Cause::COUNT]; Kind::COUNT],
    /// Times a model was asked to speak, by [`Nudge`].
    pub nudges: [u64; Nudge::COUNT],
    /// Times a model was told that the caller's words had ended.
    pub stream_ends: u64,
    /// Transcripts that a session taken up again gave a second time.
    pub replayed_transcripts: u64,
    /// Messages sent once more, because the service had not consumed them.
    pub replayed_messages: u64,
    /// Closes by the model during a call, by [`Lines::CODES`].
    pub closes_by_code: [u64; Lines::CODES.len()],
    /// The same closes, by [`CloseClass`].
    pub closes_by_class: [u64; CloseClass::COUNT],
}

impl Lines {
    /// The close codes that are told apart: 0 stands for none, and the last for every other.
    pub const CODES: [u16; 9] = [0, 1000, 1001, 1007, 1008, 1011, 1012, 1013, u16::MAX];

    /// The labels of [`Lines::CODES`].
    pub const CODE_LABELS: [&'static str; Lines::CODES.len()] =
        ["none", "1000", "1001", "1007", "1008", "1011", "1012", "1013", "other"];

    /// Counts one close by the model.
    pub fn note_close(&mut self, code: Option<u16>, class: CloseClass) {
        let code = code.unwrap_or(0);
        let place = Lines::CODES.iter().position(|&known| known == code);
        self.closes_by_code[place.unwrap_or(Lines::CODES.len() - 1)] += 1;
        self.closes_by_class[class as usize] += 1;
    }

    /// Adds another account to this one.
    pub fn add(&mut self, other: &Lines) {
        add(&mut self.given_up, &other.given_up);
        for (sum, part) in self.swaps.iter_mut().zip(&other.swaps) {
            add(sum, part);
        }
        add(&mut self.nudges, &other.nudges);
        self.stream_ends += other.stream_ends;
        self.replayed_transcripts += other.replayed_transcripts;
        self.replayed_messages += other.replayed_messages;
        add(&mut self.closes_by_code, &other.closes_by_code);
        add(&mut self.closes_by_class, &other.closes_by_class);
    }
}

fn add(sums: &mut [u64], parts: &[u64]) {
    for (sum, part) in sums.iter_mut().zip(parts) {
        *sum += part;
    }
}

impl Tally {
    /// Counts a connection to the model that was given up.
    pub fn note_line_given_up(&mut self, cause: Cause) {
        self.lines.given_up[cause.index()] += 1;
    }

    /// Counts a connection to the model that took the place of another.
    pub fn note_swap(&mut self, kind: Kind, cause: Cause) {
        self.lines.swaps[kind as usize][cause.index()] += 1;
    }

    /// Counts one oddity.
    pub fn note(&mut self, oddity: Oddity) {
        self.oddities[oddity as usize] += 1;
    }

    /// Adds another account to this one.
    pub fn add(&mut self, other: &Tally) {
        self.uplink.add(&other.uplink);
        self.downlink.add(&other.downlink);
        self.barge_ins += other.barge_ins;
        for (sum, part) in self.oddities.iter_mut().zip(other.oddities) {
            *sum += part;
        }
        self.unmeasured += other.unmeasured;
        self.unsaid += other.unsaid;
        self.lines.add(&other.lines);
        self.taps.add(other.taps);
    }
}
