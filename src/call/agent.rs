//! The model's leg, outgoing side: what the relay says to the model, as masked WebSocket messages
//! in a [`SendBuf`].
//!
//! Bounds:   [`AGENT_OUTPUT_MAX_BYTES`]: [`AgentLeg::has_room`] is asked before audio and words;
//! [`REPLAY_BYTES_MAX`]: the oldest is forgotten.
//! Not here: what the model says (`call::from_agent`), the handshake and `setup` (`dial`).

use std::collections::VecDeque;

use crate::buf::{Audio, SendBuf};
use crate::limits::{AGENT_OUTPUT_MAX_BYTES, REPLAY_BYTES_MAX};
use crate::wire::gemini;
use crate::wire::ws::{
    CloseCode, HEADER_BYTES_MAX, Opcode, Role, apply_mask, header_bytes, write_close, write_frame,
    write_header,
};

/// The model's leg.
#[derive(Debug)]
pub struct AgentLeg {
    /// What waits to go out.
    pub output: SendBuf,
    /// Audio messages that had not left when their connection ended: for the next one.
    pub held: SendBuf,
    /// What the service may ask for once more; `None`: it does not say what it has consumed.
    replay: Option<Replay>,
    /// Where mask keys come from.
    masks: fastrand::Rng,
}

impl AgentLeg {
    /// A leg whose mask keys follow from `seed`.
    pub fn new(seed: u64) -> AgentLeg {
        AgentLeg {
            output: SendBuf::new(),
            held: SendBuf::new(),
            replay: None,
            masks: fastrand::Rng::with_seed(seed),
        }
    }

    /// Whether a message with so much audio may be added.
    pub fn has_room_for_audio(&self, rate_hz: u32, pcm_bytes: usize) -> bool {
        self.has_room(gemini::audio_json_len(rate_hz, pcm_bytes))
    }

    /// Whether a message of so many bytes may be added.
    pub fn has_room(&self, message_bytes: usize) -> bool {
        self.output.len_bytes() + HEADER_BYTES_MAX + message_bytes <= AGENT_OUTPUT_MAX_BYTES
    }

    /// Audio of the caller: PCM16 little-endian, made of `samples` samples of the phone's.
    pub fn send_audio(&mut self, rate_hz: u32, pcm_le: &[u8], samples: u64) {
        let json_bytes = gemini::audio_json_len(rate_hz, pcm_le.len());
        let mask = self.mask();
        let audio = Audio { messages: 1, bytes: pcm_le.len() as u64, samples };
        self.output.carry(audio, |output| {
            let tail = output.tail();
            tail.reserve(header_bytes(json_bytes, true) + json_bytes);
            write_header(Role::Client, Opcode::Text, true, json_bytes, Some(mask), tail);
            let payload = tail.len();
            gemini::write_audio_json(rate_hz, pcm_le, tail);
            apply_mask(mask, 0, &mut tail[payload..]);
        });
        self.remember(header_bytes(json_bytes, true) + json_bytes);
    }

    /// Any other message, as JSON.
    pub fn send_json(&mut self, json: &str) {
        let mask = self.mask();
        write_frame(Role::Client, Opcode::Text, json.as_bytes(), mask, self.output.tail());
        self.remember(header_bytes(json.len(), true) + json.len());
    }

    /// Keeps the message that was just written, for the case that it is asked for once more.
    fn remember(&mut self, frame_bytes: usize) {
        let AgentLeg { output, replay, .. } = self;
        if let Some(replay) = replay {
            let waiting = output.waiting();
            replay.push(&waiting[waiting.len() - frame_bytes..]);
        }
    }

    /// Audio that has not left for the connection that is given up goes to the next one. Whole
    /// messages are the same on any connection.
    pub fn hold_audio(&mut self) {
        let AgentLeg { output, held, .. } = self;
        output.retract_audio_into(held);
    }

    /// Another connection is up. `transparent`: the service says what it consumes. `resumed`: it
    /// lacks what it has not consumed. Returns how many messages are sent once more.
    pub fn line_up(&mut self, transparent: bool, resumed: bool) -> u64 {
        let before = self.replay.take();
        self.replay = transparent.then(Replay::default);
        let Some(before) = before.filter(|replay| resumed && !replay.is_empty()) else { return 0 };
        // What had not left is the end of it, and goes on counting as waiting.
        let audio = self.held.waiting_audio();
        self.held.abandon();
        self.output.carry(audio, |output| output.tail().extend(&before.bytes));
        if let Some(replay) = &mut self.replay {
            replay.take_over(&before);
        }
        before.lengths.len() as u64
    }

    /// Sends what was held for this connection.
    pub fn release_held(&mut self) {
        let AgentLeg { output, held, replay, .. } = self;
        held.retract_audio_by(|message, audio| {
            output.carry(audio, |output| output.tail().extend_from_slice(message));
            if let Some(replay) = replay {
                replay.push(message);
            }
        });
        held.abandon();
    }

    /// The service has consumed our messages up to this one.
    pub fn consumed(&mut self, index: u64) {
        if let Some(replay) = &mut self.replay {
            replay.consumed(index);
        }
    }

    /// Answers a ping, unless there is no room: a later one is answered then (RFC 6455 section
    /// 5.5.3).
    pub fn send_pong(&mut self, payload: &[u8]) {
        if !self.has_room(payload.len()) {
            return;
        }
        let mask = self.mask();
        write_frame(Role::Client, Opcode::Pong, payload, mask, self.output.tail());
    }

    /// Says goodbye, so that the service frees the session.
    pub fn send_close(&mut self, code: CloseCode) {
        let mask = self.mask();
        write_close(Role::Client, code, "", mask, self.output.tail());
    }

    fn mask(&mut self) -> [u8; 4] {
        self.masks.u32(..).to_ne_bytes()
    }
}

/// The number of `setup` in the service's count of our messages; what follows is one more each.
/// The service documents a count and not its origin: from the first message of the connection is
/// the plain reading, and has not been verified against the service.
const SETUP_INDEX: u64 = 0;

/// Messages that the service has not said to have consumed, as they were written.
#[derive(Debug)]
struct Replay {
    bytes: VecDeque<u8>,
    lengths: VecDeque<usize>,
    /// The number of the oldest one kept.
    first: u64,
}

impl Default for Replay {
    fn default() -> Replay {
        Replay { bytes: VecDeque::new(), lengths: VecDeque::new(), first: SETUP_INDEX + 1 }
    }
}

impl Replay {
    fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    fn push(&mut self, message: &[u8]) {
        self.bytes.extend(message);
        self.lengths.push_back(message.len());
        while self.bytes.len() > REPLAY_BYTES_MAX {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(length) = self.lengths.pop_front() {
            self.bytes.drain(..length);
            self.first += 1;
        }
    }

    fn consumed(&mut self, index: u64) {
        while !self.is_empty() && self.first <= index {
            self.forget_oldest();
        }
    }

    /// These are sent on a new connection, behind its `setup`.
    fn take_over(&mut self, before: &Replay) {
        self.bytes.extend(&before.bytes);
        self.lengths.extend(&before.lengths);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_consumed_is_not_sent_again_and_the_rest_in_order() {
        let mut replay = Replay::default();
        for message in ["one", "two", "three"] {
            replay.push(message.as_bytes());
        }
        replay.consumed(SETUP_INDEX);
        assert_eq!(replay.lengths.len(), 3);
        replay.consumed(SETUP_INDEX + 1);
        assert_eq!(replay.bytes, b"twothree");
        let mut next = Replay::default();
        next.take_over(&replay);
        next.consumed(SETUP_INDEX + 1);
        assert_eq!(next.bytes, b"three");
        next.consumed(u64::MAX);
        assert!(next.is_empty() && next.bytes.is_empty());
    }

    #[test]
    fn a_service_that_never_says_what_it_consumed_costs_no_more_than_the_bound() {
        let mut replay = Replay::default();
        for _ in 0..1_000 {
            replay.push(&[0; 1_000]);
            assert!(replay.bytes.len() <= REPLAY_BYTES_MAX);
        }
        replay.consumed(SETUP_INDEX + 999);
        assert_eq!(replay.bytes.len(), 1_000);
    }
}
