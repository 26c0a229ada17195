//! The model's leg, outgoing side: what the relay says to the model, as masked WebSocket messages
//! in a [`SendBuf`].
//!
//! Bounds:   [`AGENT_OUTPUT_MAX_BYTES`]: [`AgentLeg::has_room`] is asked before audio and words;
//!           [`REPLAY_BYTES_MAX`]: the oldest is forgotten.
//! Not here: what the model says (`call::from_agent`), the handshake and `setup` (`dial`).

use std::collections::VecDeque;

use crate::buf::{Audio, SendBuf};
use crate::limits::{AGENT_OUTPUT_MAX_BYTES, REPLAY_BYTES_MAX};
use crate::wire::gemini;
use crate::wire::ws::{
    CloseCode, HEADER_BYTES_MAX, MaskKeys, Opcode, Role, apply_mask, header_bytes, write_close,
    write_frame, write_header,
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
    masks: MaskKeys,
}

impl AgentLeg {
    /// A leg whose mask keys follow from `seed`; `None`: from nothing that could be foreseen.
    pub fn new(seed: Option<u64>) -> AgentLeg {
        AgentLeg {
            output: SendBuf::new(),
            held: SendBuf::new(),
            replay: None,
            masks: MaskKeys::new(seed),
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
        self.remember(header_bytes(json_bytes, true) + json_bytes, Says::Audio);
    }

    /// Any other message, as JSON.
    pub fn send_json(&mut self, json: &str) {
        let mask = self.mask();
        write_frame(Role::Client, Opcode::Text, json.as_bytes(), mask, self.output.tail());
        self.remember(header_bytes(json.len(), true) + json.len(), Says::Words);
    }

    /// Keeps the message that was just written, for the case that it is asked for once more.
    fn remember(&mut self, frame_bytes: usize, says: Says) {
        let AgentLeg { output, replay, .. } = self;
        if let Some(replay) = replay {
            let waiting = output.waiting();
            replay.push(&waiting[waiting.len() - frame_bytes..], says);
        }
    }

    /// Audio that has not left for the connection that is given up goes to the next one, whatever
    /// session it has. Whole messages are the same on any connection. The service never had them:
    /// they are not among those it has not consumed.
    pub fn hold_audio(&mut self) {
        let AgentLeg { output, held, replay, .. } = self;
        let taken = output.retract_audio_into(held);
        if let Some(replay) = replay {
            replay.take_back_audio(taken.messages);
        }
    }

    /// Nothing of what was sent is sent once more.
    pub fn forget_replay(&mut self) {
        self.replay = None;
    }

    /// Another connection is up. `transparent`: the service says what it consumes. `resumed`: it
    /// lacks what it has not consumed. Returns how many messages are sent once more: they have been
    /// counted, and another session has no use for them.
    pub fn line_up(&mut self, transparent: bool, resumed: bool) -> u64 {
        let before = self.replay.take();
        self.replay = transparent.then(Replay::default);
        let Some(before) = before.filter(|_| resumed) else { return 0 };
        self.output.tail().extend(&before.bytes);
        if let Some(replay) = &mut self.replay {
            replay.take_over(&before);
        }
        before.messages.len() as u64
    }

    /// Sends what was held for this connection.
    pub fn release_held(&mut self) {
        let AgentLeg { output, held, replay, .. } = self;
        held.retract_audio_by(|message, audio| {
            output.carry(audio, |output| output.tail().extend_from_slice(message));
            if let Some(replay) = replay {
                replay.push(message, Says::Audio);
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
        self.masks.fresh()
    }
}

/// The number of `setup` in the service's count of our messages; what follows is one more each.
/// The service documents a count and not its origin: from the first message of the connection is
/// the plain reading, and has not been verified against the service.
const SETUP_INDEX: u64 = 0;

/// What a message to the model holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    /// The caller's voice.
    Audio,
    /// Anything else.
    Words,
}

/// Messages that the service has not said to have consumed, as they were written.
#[derive(Debug)]
struct Replay {
    bytes: VecDeque<u8>,
    /// The length of each, and what it holds.
    messages: VecDeque<(usize, Says)>,
    /// The number of the oldest one kept.
    first: u64,
}

impl Default for Replay {
    fn default() -> Replay {
        Replay { bytes: VecDeque::new(), messages: VecDeque::new(), first: SETUP_INDEX + 1 }
    }
}

impl Replay {
    fn push(&mut self, message: &[u8], says: Says) {
        self.bytes.extend(message);
        self.messages.push_back((message.len(), says));
        while self.bytes.len() > REPLAY_BYTES_MAX {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((length, _)) = self.messages.pop_front() {
            self.bytes.drain(..length);
            self.first += 1;
        }
    }

    fn consumed(&mut self, index: u64) {
        while !self.messages.is_empty() && self.first <= index {
            self.forget_oldest();
        }
    }

    /// The last `count` messages with audio have not left, and will not.
    fn take_back_audio(&mut self, mut count: u64) {
        let (mut at, mut end) = (self.messages.len(), self.bytes.len());
        while at > 0 && count > 0 {
            at -= 1;
            let (length, says) = self.messages[at];
            if says == Says::Audio {
                self.messages.remove(at);
                self.bytes.drain(end - length..end);
                count -= 1;
            }
            end -= length;
        }
    }

    /// These are sent on a new connection, behind its `setup`.
    fn take_over(&mut self, before: &Replay) {
        self.bytes.extend(&before.bytes);
        self.messages.extend(&before.messages);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_consumed_is_not_sent_again_and_the_rest_in_order() {
        let mut replay = Replay::default();
        for message in ["one", "two", "three"] {
            replay.push(message.as_bytes(), Says::Words);
        }
        replay.consumed(SETUP_INDEX);
        assert_eq!(replay.messages.len(), 3);
        replay.consumed(SETUP_INDEX + 1);
        assert_eq!(replay.bytes, b"twothree");
        let mut next = Replay::default();
        next.take_over(&replay);
        next.consumed(SETUP_INDEX + 1);
        assert_eq!(next.bytes, b"three");
        next.consumed(u64::MAX);
        assert!(next.messages.is_empty() && next.bytes.is_empty());
    }

    #[test]
    fn audio_that_never_left_is_taken_back_and_words_between_it_keep_their_numbers() {
        let mut replay = Replay::default();
        for (message, says) in [
            ("a1", Says::Audio),
            ("words", Says::Words),
            ("a2", Says::Audio),
            ("more", Says::Words),
            ("a3", Says::Audio),
        ] {
            replay.push(message.as_bytes(), says);
        }
        replay.take_back_audio(2);
        assert_eq!(replay.bytes, b"a1wordsmore");
        // The service's third message of ours is the one behind what was taken back.
        replay.consumed(SETUP_INDEX + 2);
        assert_eq!(replay.bytes, b"more");
        replay.take_back_audio(9);
        assert_eq!(replay.bytes, b"more");
    }

    #[test]
    fn a_service_that_never_says_what_it_consumed_costs_no_more_than_the_bound() {
        let mut replay = Replay::default();
        for _ in 0..1_000 {
            replay.push(&[0; 1_000], Says::Words);
            assert!(replay.bytes.len() <= REPLAY_BYTES_MAX);
        }
        replay.consumed(SETUP_INDEX + 999);
        assert_eq!(replay.bytes.len(), 1_000);
    }
}
